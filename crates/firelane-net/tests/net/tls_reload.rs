//! TLS: files that change while connections come and go; keys under a password.

use std::path::Path;
use std::time::Duration;

use firelane_net::{
    ClientTls, Connector, Endpoint, ListenAddr, Listener, NetConfig, ServerTls, Stream, TlsConfig,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::certs::{Certs, issue};

/// A server that echoes every byte, plus one; its port.
async fn serve(config: &TlsConfig) -> u16 {
    let tls = ServerTls::build_with(config, Duration::ZERO).unwrap();
    let address = ListenAddr::tcp("127.0.0.1", 0);
    let listener = Listener::bind(address, Some(tls), &NetConfig::default())
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let incoming = listener.accept().await;
            tokio::spawn(async move {
                let (mut stream, _) = incoming.establish().await.ok()?;
                loop {
                    let byte = stream.read_u8().await.ok()?;
                    stream.write_u8(byte + 1).await.ok()?;
                    stream.flush().await.ok()?;
                }
                #[expect(unreachable_code, reason = "gives the block its type")]
                Some(())
            });
        }
    });
    port
}

fn connector(config: &TlsConfig, port: u16) -> Connector {
    let tls = ClientTls::build_with(config, Duration::ZERO).unwrap();
    Connector::new(Endpoint::tcp("localhost", port), Some(tls), &NetConfig::default()).unwrap()
}

async fn exchange(stream: &mut Stream) -> std::io::Result<u8> {
    stream.write_u8(7).await?;
    stream.flush().await?;
    stream.read_u8().await
}

/// Whether a new connection can be made and used.
async fn works(connector: &Connector) -> bool {
    match connector.connect().await {
        Ok(mut stream) => exchange(&mut stream).await.is_ok(),
        Err(_) => false,
    }
}

#[tokio::test]
async fn new_connections_use_renewed_certificates_and_old_ones_go_on() {
    let certs = Certs::new(&["localhost"]);
    let port = serve(&certs.server()).await;
    let client = connector(&certs.client(), port);
    let mut kept = client.connect().await.unwrap();
    assert_eq!(exchange(&mut kept).await.unwrap(), 8);
    let before = std::fs::read(certs.path("ca.pem")).unwrap();
    // A new authority, too: the client's `tls.ca_file` has to follow as well as the server's files.
    certs.renew(&["localhost"]);
    assert!(works(&client).await);
    assert_eq!(
        exchange(&mut kept).await.unwrap(),
        8,
        "the old connection goes on"
    );
    // Who knows the old authority only is refused now: the server has really changed.
    std::fs::write(certs.path("old-ca.pem"), before).unwrap();
    let old = TlsConfig {
        ca_file: Some(certs.path("old-ca.pem")),
        ..TlsConfig::default()
    };
    assert!(!works(&connector(&old, port)).await);
}

#[tokio::test]
async fn a_broken_file_keeps_what_was_read_before() {
    let certs = Certs::new(&["localhost"]);
    let port = serve(&certs.server()).await;
    let client = connector(&certs.client(), port);
    let good = std::fs::read(certs.path("server.pem")).unwrap();
    std::fs::write(certs.path("server.pem"), &good[..good.len() / 2]).unwrap();
    std::fs::write(certs.path("ca.pem"), "nothing").unwrap();
    assert!(works(&client).await);
    std::fs::remove_file(certs.path("server.key")).unwrap();
    assert!(works(&client).await);
    // A certificate without its key, as in the middle of a renewal.
    let others = Certs::new(&["localhost"]);
    std::fs::copy(others.path("server.pem"), certs.path("server.pem")).unwrap();
    assert!(works(&client).await);
    std::fs::copy(others.path("server.key"), certs.path("server.key")).unwrap();
    std::fs::copy(others.path("ca.pem"), certs.path("ca.pem")).unwrap();
    assert!(works(&client).await);
    assert!(works(&connector(&others.client(), port)).await);
}

/// Scenario: Kubernetes' way to renew a mounted secret: `..data` is a link to a folder, and a new link is
/// renamed over it.
#[cfg(unix)]
#[tokio::test]
async fn swapped_links_are_seen() {
    use std::os::unix::fs::symlink;

    let mount = tempfile::tempdir().unwrap();
    let at = |name: &str| mount.path().join(name);
    let fill = |name: &str| {
        std::fs::create_dir(at(name)).unwrap();
        issue(&at(name), &["localhost"], 4096);
    };
    fill("..one");
    symlink("..one", at("..data")).unwrap();
    for file in ["ca.pem", "server.pem", "server.key"] {
        symlink(Path::new("..data").join(file), at(file)).unwrap();
    }
    let config = TlsConfig {
        crt_file: Some(at("server.pem")),
        key_file: Some(at("server.key")),
        ..TlsConfig::default()
    };
    let trusts = |file: &str| TlsConfig {
        ca_file: Some(at(file)),
        ..TlsConfig::default()
    };
    let port = serve(&config).await;
    let follows = connector(&trusts("ca.pem"), port);
    assert!(works(&follows).await);
    fill("..two");
    symlink("..two", at("..new")).unwrap();
    std::fs::rename(at("..new"), at("..data")).unwrap();
    assert!(works(&follows).await);
    assert!(!works(&connector(&trusts("..one/ca.pem"), port)).await);
    assert!(works(&connector(&trusts("..two/ca.pem"), port)).await);
}

#[tokio::test]
async fn whom_a_server_trusts_is_renewed_too() {
    let (certs, others) = (Certs::new(&["localhost"]), Certs::new(&["localhost"]));
    let port = serve(&certs.strict_server()).await;
    let ours = connector(&certs.known_client(), port);
    let theirs = TlsConfig {
        ca_file: Some(certs.path("old-ca.pem")),
        ..others.known_client()
    };
    std::fs::copy(certs.path("ca.pem"), certs.path("old-ca.pem")).unwrap();
    let theirs = connector(&theirs, port);
    assert!(works(&ours).await && !works(&theirs).await);
    std::fs::copy(others.path("ca.pem"), certs.path("ca.pem")).unwrap();
    // No session of before lets the old client in.
    assert!(!works(&ours).await && works(&theirs).await);
}

#[tokio::test]
async fn a_key_under_a_password_serves() {
    let certs = Certs::new(&["localhost"]);
    let pem = std::fs::read_to_string(certs.path("server.key")).unwrap();
    std::fs::write(certs.path("server.key"), encrypted(&pem, "hunter2")).unwrap();
    let config = |password: Option<&str>| TlsConfig {
        key_passwd: password.map(Into::into),
        ..certs.server()
    };
    let port = serve(&config(Some("hunter2"))).await;
    assert!(works(&connector(&certs.client(), port)).await);
    for (password, want) in [
        (None, "set `tls.key_passwd`"),
        (Some("hunter3"), "does not open it"),
    ] {
        let error = ServerTls::build(&config(password)).unwrap_err().to_string();
        assert!(error.contains(want) && error.contains("server.key"), "{error}");
        assert!(!error.contains("hunter"), "{error}");
    }
    let shown = format!("{:?}", config(Some("hunter2")));
    assert!(!shown.contains("hunter"), "{shown}");
}

#[test]
fn a_password_without_effect_is_told() {
    let certs = Certs::new(&["localhost"]);
    let config = TlsConfig {
        tls: true.into(),
        key_passwd: Some("hunter2".into()),
        ..certs.server()
    };
    let told = config.unsupported(firelane_net::Side::Server, |_| false);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, "tls.key_passwd");
    let pem = std::fs::read_to_string(certs.path("server.key")).unwrap();
    std::fs::write(certs.path("server.key"), encrypted(&pem, "hunter2")).unwrap();
    assert!(
        config
            .unsupported(firelane_net::Side::Server, |_| false)
            .is_empty()
    );
}

/// The PKCS#8 key of a PEM text, under a password.
fn encrypted(pem: &str, password: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use pkcs8::pkcs5::pbes2;

    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(body).unwrap();
    let params = pbes2::Parameters::pbkdf2_sha256_aes256cbc(1000, &[1; 8], &[2; 16]).unwrap();
    let key = pkcs8::PrivateKeyInfo::try_from(der.as_slice()).unwrap();
    let key = key.encrypt_with_params(params, password).unwrap();
    let text = STANDARD.encode(key.as_bytes());
    format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{text}\n-----END ENCRYPTED PRIVATE KEY-----\n")
}
