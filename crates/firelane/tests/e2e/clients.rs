//! Well-behaved clients: order per connection, acks.

use std::thread;
use std::time::Duration;

use firelane_testkit::forward::{forward_with_ack, message, numbered, record};
use firelane_testkit::{Forward, Router, Sink};

use crate::{PATIENCE, numbers, router};

fn start(sink: &Sink) -> Router {
    let input = "[INPUT]\n    Name forward\n    unix_path {dir}/in.sock\n    Mem_Buf_Limit 5MB\n";
    let port = sink.port();
    let output =
        format!("    Name http\n    Match *\n    Host 127.0.0.1\n    Port {port}\n    Format json_lines\n");
    router().start(&format!("[SERVICE]\n    Flush 0.2\n{input}[OUTPUT]\n{output}"))
}

/// Scenario: 20 connections with tags of their own, each message in a write by itself, as Docker does.
/// Guarantees: each connection's records arrive once and in order.
#[test]
fn order_is_kept_per_connection() {
    const EACH: u64 = 500;
    let sink = Sink::start();
    let router = start(&sink);
    let names: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
    thread::scope(|scope| {
        for name in &names {
            let path = router.path("in.sock");
            scope.spawn(move || {
                let mut client = Forward::unix(&path).unwrap();
                for sequence in numbers(name, EACH) {
                    client
                        .send(&message(name, numbered(&sequence, 100)), PATIENCE)
                        .unwrap();
                }
            });
        }
    });
    let all = EACH * names.len() as u64;
    sink.wait_for(all, PATIENCE);
    let ended = router.stop();
    ended.ledgers().all_delivered("http.0", all);
    let order = sink.order();
    for name in &names {
        let own = |sequence: &&String| sequence.split_once('-').is_some_and(|(client, _)| client == name);
        let got: Vec<&String> = order.iter().filter(own).collect();
        assert!(
            got.iter().copied().eq(&numbers(name, EACH).collect::<Vec<_>>()),
            "{name}: {} records",
            got.len()
        );
    }
}

/// Guarantees: each chunk is acknowledged in order, with the very text that was sent.
#[test]
fn acks_come_in_order() {
    let sink = Sink::start();
    let router = start(&sink);
    let mut client = Forward::unix(&router.path("in.sock")).unwrap();
    let chunks = ["p8n9gmxTQVC8/nh2wlKKeQ==", "two", "three"];
    let (mut sent, mut wanted) = (Vec::new(), Vec::new());
    for chunk in chunks {
        sent.extend(forward_with_ack("app", &[numbered(chunk, 10)], chunk));
        wanted.extend(record(&[("ack", chunk)]).bytes());
    }
    client.send(&sent, PATIENCE).unwrap();
    let mut got = Vec::new();
    while got.len() < wanted.len() {
        let bytes = client.receive(Duration::from_secs(20)).expect("an ack");
        assert!(!bytes.is_empty(), "the connection was closed");
        got.extend(bytes);
    }
    assert_eq!(got, wanted);
    sink.wait_for(3, PATIENCE);
    let ended = router.stop();
    ended.ledgers().all_delivered("http.0", 3);
    sink.assert_once(chunks.map(String::from));
}
