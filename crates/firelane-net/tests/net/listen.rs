//! Binding: its errors, its socket files.

use firelane_net::listen::{BindError, parse_unix_perm};
use firelane_net::{ListenAddr, Listener, NetConfig};

async fn bind(address: ListenAddr) -> Result<Listener, BindError> {
    Listener::bind(address, None, &NetConfig::default()).await
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let first = bind(ListenAddr::tcp("127.0.0.1", 0)).await.unwrap();
    let port = first.local_addr().unwrap().port();
    let error = bind(ListenAddr::tcp("127.0.0.1", port)).await.unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!("cannot listen on 127.0.0.1:{port}: address already in use")
    );
    assert!(error.help().contains("another port"));
}

#[tokio::test]
async fn an_address_of_another_machine_is_refused() {
    let error = bind(ListenAddr::tcp("192.0.2.1", 0)).await.unwrap_err();
    assert!(matches!(error, BindError::Io { .. }), "{error:?}");
}

#[test]
fn modes_are_octal() {
    assert_eq!(parse_unix_perm("0660").unwrap(), 0o660);
    assert_eq!(parse_unix_perm("777").unwrap(), 0o777);
    for bad in ["", "8", "rw", "-1", "+7", "10000"] {
        assert!(parse_unix_perm(bad).is_err(), "{bad}");
    }
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};

    use firelane_net::{Connector, Endpoint, Peer, Stream};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_socket_file_comes_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap()); // left by an earlier run
        let listener = bind(ListenAddr::unix(&path, Some(0o620))).await.unwrap();
        let found = std::fs::metadata(&path).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o777, 0o620);

        let connector = Connector::new(Endpoint::unix(&path), None, &NetConfig::default()).unwrap();
        let mut client = connector.connect().await.unwrap();
        client.write_all(b"hello").await.unwrap();
        let (mut stream, peer) = listener.accept().await.establish().await.unwrap();
        let mut got = [0; 5];
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!((&got, peer), (b"hello", Peer::Unix));
        assert!(matches!(stream, Stream::Unix(_)));
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn anothers_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.sock");
        let old = bind(ListenAddr::unix(&path, None)).await.unwrap();
        let new = bind(ListenAddr::unix(&path, None)).await.unwrap();
        drop(old);
        assert!(path.exists(), "the new listener's file");
        drop(new);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn other_files_are_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.txt");
        std::fs::write(&path, "precious").unwrap();
        let error = bind(ListenAddr::unix(&path, None)).await.unwrap_err();
        assert!(matches!(error, BindError::NotASocket { .. }), "{error:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        let missing = bind(ListenAddr::unix(folder.path().join("no/in.sock"), None))
            .await
            .unwrap_err();
        assert!(matches!(missing, BindError::NoFolder { .. }), "{missing:?}");
    }
}
