//! TLS: who is trusted, what is refused, and what the errors say.

use firelane_net::{
    ClientTls, ConnectError, Connector, Endpoint, ListenAddr, Listener, NetConfig, ServerTls, TlsConfig,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::certs::Certs;

/// One connection between the two configurations, with a byte each way; both sides' errors.
async fn connect(client: &TlsConfig, server: &TlsConfig, host: &str) -> Result<(), ConnectError> {
    let net = NetConfig::default();
    let tls = ServerTls::build(server).unwrap();
    let listener = Listener::bind(ListenAddr::tcp("127.0.0.1", 0), Some(tls), &net)
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.establish().await.ok()?;
        let byte = stream.read_u8().await.ok()?;
        stream.write_u8(byte + 1).await.ok()?;
        stream.flush().await.ok()
    });
    let tls = ClientTls::build(client).unwrap();
    let connector = Connector::new(Endpoint::tcp(host, port), Some(tls), &net).unwrap();
    let mut stream = connector.connect().await?;
    // In TLS 1.3 a server refuses a client's certificate only after the client's handshake is done.
    let exchange = async {
        stream.write_u8(7).await?;
        stream.flush().await?;
        stream.read_u8().await
    };
    let answer = exchange.await.map_err(|source| ConnectError::Tls {
        endpoint: "late".to_owned(),
        source,
    })?;
    assert_eq!((answer, serve.await.unwrap()), (8, Some(())));
    Ok(())
}

#[tokio::test]
async fn a_trusted_name_is_accepted() {
    let certs = Certs::new(&["localhost", "127.0.0.1"]);
    connect(&certs.client(), &certs.server(), "localhost")
        .await
        .unwrap();
    connect(&certs.client(), &certs.server(), "127.0.0.1")
        .await
        .unwrap();
    let folder = TlsConfig {
        ca_file: None,
        ca_path: Some(certs.folder().to_owned()),
        ..certs.client()
    };
    connect(&folder, &certs.server(), "localhost").await.unwrap();
}

#[tokio::test]
async fn a_wrong_name_is_refused_unless_it_is_waived() {
    let certs = Certs::new(&["logs.example.com"]);
    let error = connect(&certs.client(), &certs.server(), "localhost")
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
    let waived = TlsConfig {
        verify_hostname: Some(false.into()),
        ..certs.client()
    };
    connect(&waived, &certs.server(), "localhost").await.unwrap();
    let vhost = TlsConfig {
        vhost: Some("logs.example.com".to_owned()),
        ..certs.client()
    };
    connect(&vhost, &certs.server(), "localhost").await.unwrap();
}

#[tokio::test]
async fn an_untrusted_chain_is_refused_unless_verify_is_off() {
    let (certs, others) = (Certs::new(&["localhost"]), Certs::new(&["localhost"]));
    let any_name = TlsConfig {
        verify_hostname: Some(false.into()),
        ..others.client()
    };
    for client in [&others.client(), &any_name] {
        let error = connect(client, &certs.server(), "localhost").await.unwrap_err();
        assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    }
    let off = TlsConfig {
        verify: false.into(),
        ..TlsConfig::default()
    };
    connect(&off, &certs.server(), "localhost").await.unwrap();
    assert_eq!(
        TlsConfig {
            tls: true.into(),
            ..off
        }
        .unsupported(firelane_net::Side::Client, |_| false)
        .len(),
        1,
        "it is warned about"
    );
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let certs = Certs::expired(&["localhost"]);
    let error = connect(&certs.client(), &certs.server(), "localhost")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("certificate expired"), "{error}");
    // The same for a client's.
    let good = Certs::new(&["localhost"]);
    let strict = TlsConfig {
        ca_file: Some(certs.path("ca.pem")),
        ..good.strict_server()
    };
    let late = TlsConfig {
        ca_file: Some(good.path("ca.pem")),
        ..certs.known_client()
    };
    assert!(connect(&late, &strict, "localhost").await.is_err());
}

#[tokio::test]
async fn versions_must_meet() {
    let certs = Certs::new(&["localhost"]);
    let highest = |version: &str, base: TlsConfig| TlsConfig {
        max_version: Some(version.to_owned()),
        ..base
    };
    let lowest = |version: &str, base: TlsConfig| TlsConfig {
        min_version: Some(version.to_owned()),
        ..base
    };
    let old = highest("TLSv1.2", certs.client());
    connect(&old, &certs.server(), "localhost").await.unwrap();
    let new = lowest("1.3", certs.server());
    assert!(connect(&old, &new, "localhost").await.is_err());
    connect(&certs.client(), &new, "localhost").await.unwrap();
    // And the other way round.
    let old = highest("TLSv1.2", certs.server());
    let new = lowest("TLSv1.3", certs.client());
    assert!(connect(&new, &old, "localhost").await.is_err());
    connect(&certs.client(), &old, "localhost").await.unwrap();
}

#[tokio::test]
async fn a_client_certificate_can_be_demanded() {
    let certs = Certs::new(&["localhost"]);
    let strict = certs.strict_server();
    connect(&certs.known_client(), &strict, "localhost")
        .await
        .unwrap();
    assert!(
        connect(&certs.client(), &strict, "localhost").await.is_err(),
        "none"
    );
    let others = Certs::new(&["localhost"]);
    let foreign = TlsConfig {
        ca_file: Some(certs.path("ca.pem")),
        ..others.known_client()
    };
    assert!(
        connect(&foreign, &strict, "localhost").await.is_err(),
        "of another authority"
    );
}

#[track_caller]
fn refused(config: &TlsConfig, want: &str) {
    let error = ClientTls::build(config).unwrap_err().to_string();
    assert!(error.contains(want), "{error}");
}

#[test]
fn errors_name_the_file_and_the_way_out() {
    let certs = Certs::new(&["localhost"]);
    let encrypted = certs.path("encrypted.key");
    let pem = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    std::fs::write(&encrypted, pem).unwrap();
    let base = certs.client();
    let own = |crt: &str, key: &str| TlsConfig {
        crt_file: Some(certs.path(crt)),
        key_file: Some(certs.path(key)),
        ..base.clone()
    };
    refused(
        &TlsConfig {
            ca_file: Some(certs.path("no.pem")),
            ..base.clone()
        },
        "no.pem`: No such file",
    );
    refused(
        &TlsConfig {
            ca_file: Some(certs.path("server.key")),
            ..base.clone()
        },
        "holds no PEM certificate",
    );
    refused(
        &own("client.pem", "client.pem"),
        "client.pem` holds no PEM private key",
    );
    refused(&own("client.pem", "encrypted.key"), "set `tls.key_passwd`");
    refused(
        &own("client.pem", "server.key"),
        "client.pem` holds an unusable certificate",
    );
    refused(
        &TlsConfig {
            key_file: None,
            ..own("client.pem", "x")
        },
        "`tls.key_file` is not",
    );
    refused(
        &TlsConfig {
            min_version: Some("SSLv3".into()),
            ..base.clone()
        },
        "use `TLSv1.2` or `TLSv1.3`",
    );
    refused(
        &TlsConfig {
            max_version: Some("TLSv1.1".into()),
            ..base.clone()
        },
        "only broken protocol versions",
    );
    refused(
        &TlsConfig {
            vhost: Some("a b".into()),
            ..base.clone()
        },
        "`a b` is no name",
    );
    let server = ServerTls::build(&base).unwrap_err().to_string();
    assert!(
        server.contains("set `tls.crt_file` and `tls.key_file`"),
        "{server}"
    );
}
