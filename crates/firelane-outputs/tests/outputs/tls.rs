//! `tcp` and `http` over TLS: the right certificate, and one that nobody vouches for.

use std::path::{Path, PathBuf};

use firelane_core::{CauseKind, Outcome};
use firelane_net::{ListenAddr, Listener, NetConfig, ServerTls, TlsConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{build, chunk, deliver, retried};

/// Writes `ca.pem`, and `server.pem` with `server.key` for 127.0.0.1.
fn certificates(folder: &Path) -> (PathBuf, TlsConfig) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &ca)
        .unwrap();
    let file = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let config = TlsConfig {
        crt_file: Some(file("server.pem", server.pem())),
        key_file: Some(file("server.key", key.serialize_pem())),
        ..TlsConfig::default()
    };
    (file("ca.pem", ca.pem()), config)
}

/// A TLS server that answers whatever it reads first with `answer` and gives what it read.
async fn server(config: &TlsConfig, answer: &'static [u8]) -> (u16, tokio::task::JoinHandle<Vec<u8>>) {
    let tls = ServerTls::build(config).unwrap();
    let listener = Listener::bind(ListenAddr::tcp("127.0.0.1", 0), Some(tls), &NetConfig::default())
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let Ok((mut stream, _)) = listener.accept().await.establish().await else {
            return Vec::new();
        };
        let mut seen = vec![0; 4096];
        let count = stream.read(&mut seen).await.unwrap();
        stream.write_all(answer).await.unwrap();
        stream.flush().await.unwrap();
        seen.truncate(count);
        seen
    });
    (port, task)
}

#[tokio::test]
async fn records_go_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, config) = certificates(folder.path());
    let ca = ca.to_str().unwrap();
    let (port, seen) = server(&config, b"").await;
    let port = port.to_string();
    let output = build(
        "tcp",
        &[
            ("port", &port),
            ("tls", "on"),
            ("tls.ca_file", ca),
            ("raw_message_key", "log"),
        ],
    );
    assert_eq!(
        deliver(&output, chunk("t", &["secret"])).await,
        Outcome::Delivered
    );
    assert_eq!(seen.await.unwrap(), b"secret\n");

    let (port, seen) = server(&config, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let port = port.to_string();
    let output = build("http", &[("port", &port), ("tls", "on"), ("tls.ca_file", ca)]);
    assert_eq!(deliver(&output, chunk("t", &["x"])).await, Outcome::Delivered);
    assert!(seen.await.unwrap().starts_with(b"POST / HTTP/1.1\r\n"));
}

#[tokio::test]
async fn an_unknown_certificate_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (_, config) = certificates(folder.path());
    let other = tempfile::tempdir().unwrap();
    let (stranger, _) = certificates(other.path());
    let (port, seen) = server(&config, b"").await;
    let port = port.to_string();
    let ca = stranger.to_str().unwrap();
    let output = build("tcp", &[("port", &port), ("tls", "on"), ("tls.ca_file", ca)]);
    let why = retried(&deliver(&output, chunk("t", &["secret"])).await);
    assert_eq!((why.kind, why.ambiguous), (CauseKind::Connect, false), "{why}");
    assert!(seen.await.unwrap().is_empty(), "nothing was told to it");
}
