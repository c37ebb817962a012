//! Slow and hostile clients: who is cut off, and who never is.

use std::sync::atomic::Ordering;
use std::time::Duration;

use firelane_forward::auth::digest;
use firelane_record::msgpack::{self, Token};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::certs::Certs;
use crate::{closed, message, start};

/// The handshakes' limit in these tests.
const LIMIT: &str = "0.3";
/// Well beyond it.
const BEYOND: Duration = Duration::from_millis(900);

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// Reads the HELO and makes the PING that proves `key`, and `user` with `password`.
async fn ping(stream: &mut TcpStream, key: &str, user: &str, password: &str) -> Vec<u8> {
    let mut helo = vec![0; 1024];
    let count = stream.read(&mut helo).await.unwrap();
    helo.truncate(count);
    let mut reader = msgpack::Reader::new(&helo);
    assert_eq!(reader.token(), Some(Token::Array(2)));
    assert_eq!(reader.token(), Some(Token::Str(b"HELO")));
    let options = helo[reader.at()..].to_vec();
    let option = |name: &[u8]| {
        let found = msgpack::pairs(&options).find(|(key, _)| msgpack::text(key) == Some(name));
        msgpack::text(found.unwrap().1).unwrap().to_vec()
    };
    let proof = digest(&[&option(b"auth"), user.as_bytes(), password.as_bytes()]);
    let key = digest(&[b"salt", b"client", &option(b"nonce"), key.as_bytes()]);
    let mut out = vec![0x96];
    for text in ["PING", "client", "salt", &key, user, &proof] {
        msgpack::write_str(&mut out, text.as_bytes());
    }
    out
}

#[tokio::test]
async fn a_tls_handshake_that_never_comes_ends() {
    let certs = Certs::new();
    let (crt, key) = (certs.text("server.pem"), certs.text("server.key"));
    let properties = [
        ("tls", "on"),
        ("tls.crt_file", crt.as_str()),
        ("tls.key_file", &key),
        ("net.accept_timeout", LIMIT),
    ];
    for name in ["forward", "http", "tcp"] {
        let running = start(name, &properties).await;
        let mut silent = connect(running.port).await;
        let mut begun = connect(running.port).await;
        begun.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
        closed(&mut silent).await;
        closed(&mut begun).await;
        assert_eq!(running.end().await, (0, 2), "{name}");
    }
}

#[tokio::test]
async fn a_forward_handshake_that_never_ends_is_ended() {
    let properties = [("shared_key", "key"), ("net.accept_timeout", LIMIT)];
    let running = start("forward", &properties).await;
    let mut silent = connect(running.port).await;
    let mut trickling = connect(running.port).await;
    let drips = async {
        let part = ping(&mut trickling, "key", "", "").await;
        for byte in part.iter().take(100) {
            if trickling.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        closed(&mut trickling).await;
    };
    let (helo, ()) = tokio::join!(closed(&mut silent), drips);
    assert!(helo.starts_with(b"\x92\xa4HELO"), "{helo:?}");
    assert_eq!(running.end().await, (0, 2));
}

/// Scenario: clients that have proved the key, or need not, are silent for long; one inside a message.
/// Guarantees: none is closed, and what they say later is taken.
#[tokio::test]
async fn silent_clients_are_kept() {
    let bytes = message("hello");
    let (head, tail) = bytes.split_at(10);
    let secured = [("shared_key", "key"), ("net.accept_timeout", LIMIT)];
    for properties in [&secured[..], &secured[1..]] {
        let running = start("forward", properties).await;
        let (mut idle, mut inside) = (connect(running.port).await, connect(running.port).await);
        for stream in [&mut idle, &mut inside] {
            if properties.len() == 2 {
                let ping = ping(stream, "key", "", "").await;
                stream.write_all(&ping).await.unwrap();
            }
        }
        inside.write_all(head).await.unwrap();
        tokio::time::sleep(BEYOND).await;
        idle.write_all(&bytes).await.unwrap();
        inside.write_all(tail).await.unwrap();
        running.wait_for(2).await;
        assert_eq!(running.end().await, (2, 0));
    }
}

/// Scenario: the engine is full for longer than every limit. Guarantees: no client is closed for it.
#[tokio::test]
async fn back_pressure_closes_nobody() {
    let properties = [("shared_key", "key"), ("net.accept_timeout", LIMIT)];
    let running = start("forward", &properties).await;
    running.engine.full.store(true, Ordering::SeqCst);
    let mut client = connect(running.port).await;
    let mut bytes = ping(&mut client, "key", "", "").await;
    for _ in 0..10 {
        bytes.extend(message("hello"));
    }
    client.write_all(&bytes).await.unwrap();
    tokio::time::sleep(BEYOND).await;
    running.engine.full.store(false, Ordering::SeqCst);
    running.engine.emptied.notify_waiters();
    client.write_all(&message("more")).await.unwrap();
    running.wait_for(11).await;
    assert_eq!(running.end().await, (11, 0));
}

#[tokio::test]
async fn only_who_knows_key_user_and_password_is_heard() {
    let properties = [
        ("shared_key", "key"),
        ("security.users", "bob pw"),
        ("security.users", "eve \"p w\""),
    ];
    let running = start("forward", &properties).await;
    let wrong = [
        ("nope", "bob", "pw"),
        ("key", "bob", "no"),
        ("key", "eve", "pw"),
        ("key", "mallory", "pw"),
        ("key", "", ""),
    ];
    for (key, user, password) in wrong {
        let mut client = connect(running.port).await;
        let mut bytes = ping(&mut client, key, user, password).await;
        bytes.extend(message("forged"));
        client.write_all(&bytes).await.unwrap();
        let pong = closed(&mut client).await;
        assert!(pong.starts_with(b"\x95\xa4PONG\xc2"), "{user}: {pong:?}");
    }
    for (user, password) in [("bob", "pw"), ("eve", "p w")] {
        let mut client = connect(running.port).await;
        let mut bytes = ping(&mut client, "key", user, password).await;
        bytes.extend(message("honest"));
        client.write_all(&bytes).await.unwrap();
        let mut pong = [0; 7];
        client.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"\x95\xa4PONG\xc3");
    }
    running.wait_for(2).await;
    assert_eq!(running.end().await, (2, 5));
}
