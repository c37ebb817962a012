//! `forward` against a fake server.

use firelane_core::{CauseKind, Outcome};
use firelane_record::msgpack::{self, Reader};
use sha2::{Digest, Sha512};

use crate::peers::{self, Acks};
use crate::{build, chunk, deliver, refusal, retried};

fn hex(parts: &[&[u8]]) -> String {
    let digest = Sha512::digest(parts.concat());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn at(port: u16, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all = vec![("port".to_owned(), port.to_string())];
    all.extend(
        more.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
    );
    all
}

fn output(properties: &[(String, String)]) -> std::sync::Arc<dyn firelane_core::Output> {
    let properties: Vec<_> = properties.iter().map(|(key, value)| (&**key, &**value)).collect();
    build("forward", &properties)
}

/// Waits until `count` messages came.
async fn messages(server: &peers::Server<Vec<u8>>, count: usize) -> Vec<Vec<u8>> {
    while server.seen().len() < count {
        tokio::task::yield_now().await;
    }
    server.seen()
}

#[tokio::test]
async fn plain_messages_need_no_answer() {
    let server = peers::forward(Acks::Never, None, None).await;
    let output = output(&at(server.address.port(), &[]));
    for _ in 0..2 {
        assert_eq!(deliver(&output, chunk("app", &["x"])).await, Outcome::Delivered);
    }
    let seen = messages(&server, 2).await;
    let mut want = b"\x92\xa3app\x91\x92".to_vec();
    want.extend_from_slice(b"\xd7\x00\x65\x53\xf1\x00\x00\x00\x00\x01\x82\xa1n\x00\xa3log\xa1x");
    assert_eq!(seen, [want.clone(), want]);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn acknowledged_chunks_are_delivered_on_one_connection() {
    let server = peers::forward(Acks::Right, None, None).await;
    let output = output(&at(server.address.port(), &[("require_ack_response", "on")]));
    for text in ["x", "y"] {
        assert_eq!(deliver(&output, chunk("app", &[text])).await, Outcome::Delivered);
    }
    assert_eq!((server.seen().len(), server.connections()), (2, 1));
}

#[tokio::test]
async fn messages_per_record_are_all_acknowledged() {
    let server = peers::forward(Acks::Right, None, None).await;
    let properties = [("require_ack_response", "on"), ("tag", "svc.$log")];
    let output = output(&at(server.address.port(), &properties));
    assert_eq!(
        deliver(&output, chunk("app", &["x", "y", "z"])).await,
        Outcome::Delivered
    );
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen[1].starts_with(b"\x94\xa5svc.y"), "{:?}", seen[1]);
}

#[tokio::test]
async fn without_the_right_acknowledgement_the_chunk_goes_again() {
    for (acks, kind) in [
        (Acks::Wrong, CauseKind::Protocol),
        (Acks::Close, CauseKind::Unavailable),
        (Acks::Never, CauseKind::Timeout),
    ] {
        let server = peers::forward(acks, None, None).await;
        let properties = [("require_ack_response", "on"), ("net.io_timeout", "1s")];
        let output = output(&at(server.address.port(), &properties));
        let why = retried(&deliver(&output, chunk("app", &["x"])).await);
        assert_eq!((why.kind, why.ambiguous), (kind, true), "{acks:?}: {why}");
    }
}

fn helo() -> Vec<u8> {
    b"\x92\xa4HELO\x83\xa5nonce\xc4\x05nonce\xa4auth\xc4\x04auth\xa9keepalive\xc3".to_vec()
}

/// Checks the PING of user `u` with password `p` and key `secret`, and answers it.
fn pong(raw: &[u8]) -> Vec<u8> {
    let mut reader = Reader::new(raw);
    reader.token();
    let fields: Vec<_> = std::iter::from_fn(|| reader.value())
        .map(|raw| msgpack::text(raw).unwrap())
        .collect();
    let [kind, host, salt, digest, user, password] = fields[..] else {
        panic!("a PING has six fields");
    };
    let good = kind == b"PING"
        && user == b"u"
        && digest == hex(&[salt, host, b"nonce", b"secret"]).as_bytes()
        && password == hex(&[b"auth", b"u", b"p"]).as_bytes()
        && salt.len() == 16;
    let mut out = vec![0x95];
    msgpack::write_str(&mut out, b"PONG");
    msgpack::write_bool(&mut out, good);
    let proof = hex(&[salt, b"server", b"nonce", b"secret"]);
    for text in ["mismatch", "server", &proof] {
        msgpack::write_str(&mut out, text.as_bytes());
    }
    out
}

#[tokio::test]
async fn the_handshake_comes_once_per_connection() {
    let server = peers::forward(Acks::Right, Some(helo()), Some(pong)).await;
    let who = [
        ("shared_key", "secret"),
        ("username", "u"),
        ("password", "p"),
        ("require_ack_response", "on"),
    ];
    let output = output(&at(server.address.port(), &who));
    for text in ["x", "y"] {
        assert_eq!(deliver(&output, chunk("app", &[text])).await, Outcome::Delivered);
    }
    assert_eq!((server.seen().len(), server.connections()), (2, 1));
}

#[tokio::test]
async fn a_wrong_password_or_an_impostor_is_an_error_of_its_own() {
    let server = peers::forward(Acks::Right, Some(helo()), Some(pong)).await;
    let who = [("shared_key", "secret"), ("username", "u"), ("password", "wrong")];
    let why = retried(&deliver(&output(&at(server.address.port(), &who)), chunk("app", &["x"])).await);
    assert_eq!((why.kind, why.ambiguous), (CauseKind::Auth, false));
    assert!(why.text.ends_with("the server refuses us: mismatch"), "{why}");

    let liar: peers::Pong = |_| b"\x95\xa4PONG\xc3\xa0\xa6server\xa200".to_vec();
    let server = peers::forward(Acks::Right, Some(helo()), Some(liar)).await;
    let who = [("shared_key", "secret")];
    let why = retried(&deliver(&output(&at(server.address.port(), &who)), chunk("app", &["x"])).await);
    assert!(
        why.text.ends_with("the server does not know the shared key"),
        "{why}"
    );
    assert!(server.seen().is_empty(), "nothing was told to it");
}

#[tokio::test]
async fn nobody_there_is_tried_again() {
    let port = peers::closed_port().await.port();
    let why = retried(&deliver(&output(&at(port, &[])), chunk("app", &["x"])).await);
    assert_eq!((why.kind, why.ambiguous), (CauseKind::Connect, false));
}

#[cfg(unix)]
#[tokio::test]
async fn unix_sockets_take_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fluent.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let output = build("forward", &[("unix_path", path.to_str().unwrap())]);
    let read = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 6];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut head)
            .await
            .unwrap();
        head
    };
    let (outcome, head) = tokio::join!(deliver(&output, chunk("app", &["x"])), read);
    assert_eq!((outcome, &head), (Outcome::Delivered, b"\x92\xa3app\x91"));
}

#[test]
fn what_cannot_go_together_is_refused_by_name() {
    for (properties, want) in [
        (
            &[("upstream", "nodes.conf")][..],
            "`upstream nodes.conf`: several nodes are not supported yet; name one with `host`",
        ),
        (&[("compress", "zstd")], "`compress zstd`: use text or gzip"),
        (
            &[("compress", "gzip"), ("time_as_integer", "on")],
            "`compress gzip`: cannot be used with `time_as_integer`",
        ),
        (
            &[("compress", "gzip"), ("tag", "$app")],
            "`compress gzip`: cannot be used with a `tag` that is made per record",
        ),
        (
            &[("password", "p")],
            "`password`: needs `shared_key`, or `empty_shared_key on`",
        ),
    ] {
        assert_eq!(refusal("forward", properties), want);
    }
}
