//! TLS for every input with a socket.

use firelane_net::{ClientTls, Connector, Endpoint, NetConfig, Stream, TlsConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::certs::Certs;
use crate::{build, closed, one_record, start};

const INPUTS: [&str; 3] = ["forward", "http", "tcp"];

fn trusting(certs: &Certs) -> TlsConfig {
    TlsConfig {
        ca_file: Some(certs.path("ca.pem")),
        ..TlsConfig::default()
    }
}

fn known(certs: &Certs) -> TlsConfig {
    TlsConfig {
        crt_file: Some(certs.path("client.pem")),
        key_file: Some(certs.path("client.key")),
        ..trusting(certs)
    }
}

async fn connect(port: u16, config: &TlsConfig) -> Result<Stream, firelane_net::ConnectError> {
    let tls = ClientTls::build(config).unwrap();
    let endpoint = Endpoint::tcp("localhost", port);
    let connector = Connector::new(endpoint, Some(tls), &NetConfig::default()).unwrap();
    connector.connect().await
}

/// Sends one record if the server lets us.
async fn send(name: &str, port: u16, config: &TlsConfig) -> Option<Stream> {
    let mut stream = connect(port, config).await.ok()?;
    stream.write_all(&one_record(name)).await.ok()?;
    stream.flush().await.ok()?;
    Some(stream)
}

/// Scenario: each input, over TLS; beside it clients without TLS, without trust, and of an old version.
/// Guarantees: the honest one's record is taken, of the others nothing.
#[tokio::test]
async fn every_input_speaks_tls() {
    let (certs, others) = (Certs::new(), Certs::new());
    let (crt, key) = (certs.text("server.pem"), certs.text("server.key"));
    for name in INPUTS {
        let properties = [
            ("tls", "on"),
            ("tls.crt_file", crt.as_str()),
            ("tls.key_file", &key),
            ("tls.min_version", "TLSv1.3"),
        ];
        let running = start(name, &properties).await;
        let mut plain = TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
        plain.write_all(&one_record(name)).await.unwrap();
        closed(&mut plain).await;
        let old = TlsConfig {
            max_version: Some("TLSv1.2".into()),
            ..trusting(&certs)
        };
        assert!(connect(running.port, &old).await.is_err(), "{name}: TLS 1.2");
        let stranger = trusting(&others);
        assert!(
            connect(running.port, &stranger).await.is_err(),
            "{name}: a forged server"
        );
        let _honest = send(name, running.port, &trusting(&certs)).await.unwrap();
        running.wait_for(1).await;
        assert_eq!(running.end().await, (1, 3), "{name}");
    }
}

#[tokio::test]
async fn every_input_can_demand_certificates() {
    let (certs, others) = (Certs::new(), Certs::new());
    let (crt, key, ca) = (
        certs.text("server.pem"),
        certs.text("server.key"),
        certs.text("ca.pem"),
    );
    for name in INPUTS {
        let properties = [
            ("tls", "on"),
            ("tls.crt_file", crt.as_str()),
            ("tls.key_file", &key),
            ("tls.ca_file", &ca),
            ("tls.verify_client_cert", "on"),
        ];
        let running = start(name, &properties).await;
        let foreign = TlsConfig {
            ca_file: Some(certs.path("ca.pem")),
            ..known(&others)
        };
        for config in [trusting(&certs), foreign] {
            // In TLS 1.3 the client's handshake is done before it is refused.
            if let Some(mut stream) = send(name, running.port, &config).await {
                closed(&mut stream).await;
            }
        }
        let _honest = send(name, running.port, &known(&certs)).await.unwrap();
        running.wait_for(1).await;
        assert_eq!(running.end().await, (1, 2), "{name}");
    }
}

#[test]
fn errors_and_warnings_never_show_the_password() {
    let certs = Certs::new();
    let (crt, key) = (certs.text("server.pem"), certs.text("server.key"));
    let properties = |key: &str, passwd: &str| {
        [
            ("tls", "on".to_owned()),
            ("tls.crt_file", crt.clone()),
            ("tls.key_file", key.to_owned()),
            ("tls.key_passwd", passwd.to_owned()),
        ]
    };
    let given = properties(&key, "hunter2");
    let given: Vec<_> = given.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let (_, warnings) = build("tcp", &given).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].message.starts_with("`tls.key_passwd`"),
        "{warnings:?}"
    );
    assert!(!format!("{warnings:?}").contains("hunter2"));

    std::fs::write(
        certs.path("encrypted.key"),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    let given = properties(&certs.text("encrypted.key"), "hunter2");
    let given: Vec<_> = given.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let errors = build("tcp", &given).err().unwrap();
    assert!(errors[0].message.contains("encrypted.key"), "{errors:?}");
    assert!(!format!("{errors:?}").contains("hunter2"), "{errors:?}");
}
