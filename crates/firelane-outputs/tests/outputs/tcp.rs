//! `tcp` against a reader.

use firelane_core::{CauseKind, Outcome};
use firelane_record::set::RecordSet;

use crate::peers;
use crate::{build, chunk, deliver, part, retried};
use firelane_core::Chunk;

/// What a reader got in all, once the output is gone and its connections are closed.
async fn all_of(server: &peers::Server<Vec<u8>>, connections: usize) -> Vec<u8> {
    while server.seen().len() < connections {
        tokio::task::yield_now().await;
    }
    server.seen().concat()
}

#[tokio::test]
async fn lines_follow_each_other_on_one_connection() {
    let server = peers::reader().await;
    let port = server.address.port().to_string();
    let properties = [
        ("port", &*port),
        ("format", "json_lines"),
        ("json_date_key", "off"),
    ];
    let output = build("tcp", &properties);
    assert_eq!(
        deliver(&output, chunk("t", &["a", "b"])).await,
        Outcome::Delivered
    );
    assert_eq!(deliver(&output, chunk("t", &["c"])).await, Outcome::Delivered);
    drop(output);
    let want = "{\"n\":0,\"log\":\"a\"}\n{\"n\":1,\"log\":\"b\"}\n{\"n\":0,\"log\":\"c\"}\n";
    assert_eq!(String::from_utf8(all_of(&server, 1).await).unwrap(), want);
}

#[tokio::test]
async fn msgpack_is_the_default() {
    let server = peers::reader().await;
    let port = server.address.port().to_string();
    let output = build("tcp", &[("port", &*port)]);
    assert_eq!(deliver(&output, chunk("t", &["a"])).await, Outcome::Delivered);
    drop(output);
    let bytes = all_of(&server, 1).await;
    assert_eq!(bytes[..4], [0x92, 0x92, 0xd7, 0x00]);
    assert_eq!(bytes[12..], *b"\x80\x82\xa1n\x00\xa3log\xa1a");
}

#[tokio::test]
async fn raw_messages_stand_alone_and_missing_ones_are_counted() {
    let server = peers::reader().await;
    let port = server.address.port().to_string();
    let output = build("tcp", &[("port", &*port), ("raw_message_key", "$log")]);
    let mut other = firelane_record::RecordsBuf::default();
    other.push(
        firelane_record::Timestamp::default(),
        None,
        &[0x81, 0xa1, b'x', 1],
    );
    let without = firelane_core::Part {
        tag: crate::tag("t"),
        records: other.take(),
    };
    let mixed = Chunk::new(vec![part("t", &["a"]), without, part("t", &["b"])]);
    let outcome = deliver(&output, mixed).await;
    assert!(
        matches!(&outcome, Outcome::Discard { records, .. } if *records == RecordSet::range(1, 2)),
        "{outcome:?}"
    );
    drop(output);
    assert_eq!(all_of(&server, 1).await, b"a\nb\n");
}

#[tokio::test]
async fn without_keepalive_each_chunk_has_its_connection() {
    let server = peers::reader().await;
    let port = server.address.port().to_string();
    let output = build("tcp", &[("port", &*port), ("net.keepalive", "off")]);
    for _ in 0..2 {
        assert_eq!(deliver(&output, chunk("t", &["a"])).await, Outcome::Delivered);
    }
    all_of(&server, 2).await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_closed_port_and_a_stalled_peer_are_tried_again() {
    let port = peers::closed_port().await.port().to_string();
    let why = retried(&deliver(&build("tcp", &[("port", &*port)]), chunk("t", &["a"])).await);
    assert_eq!((why.kind, why.ambiguous), (CauseKind::Connect, false));

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let output = build("tcp", &[("port", &*port), ("net.io_timeout", "1s")]);
    let long = "x".repeat(32 << 20);
    let why = retried(&deliver(&output, chunk("t", &[&long])).await);
    assert_eq!((why.kind, why.ambiguous), (CauseKind::Timeout, true));
}
