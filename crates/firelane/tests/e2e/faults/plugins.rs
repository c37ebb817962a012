//! Outputs and filters that fail, through `examples/faulty-router`: the same contracts as those that ship.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use firelane_testkit::forward::{forward_with_ack, message, numbered, record};
use firelane_testkit::{Act, Destination, Ended, Router, until};

use super::{SERVICE, connect, faulty, http_output, send, unix_input};
use crate::{PATIENCE, numbers};

const PARTIAL: &str = "[OUTPUT]\n    Name test_partial\n    Match *\n    Path out.json\n";

fn conf(outputs: &str) -> String {
    format!("[SERVICE]\n{SERVICE}{}{outputs}", unix_input(""))
}

/// Sends records in one write: number and what the output is to do with each.
fn send_acts(router: &Router, acts: &[(&str, &str)]) {
    let mut bytes = Vec::new();
    for (sequence, act) in acts {
        bytes.extend(message("app", record(&[("seq", sequence), ("act", act)])));
    }
    connect(router).send(&bytes, PATIENCE).unwrap();
}

/// How often each number stands in the file of the output.
fn written(text: &str) -> BTreeMap<String, u32> {
    let mut count = BTreeMap::new();
    for rest in text.split("\"seq\":\"").skip(1) {
        let sequence = rest.split('"').next().unwrap_or_default();
        *count.entry(sequence.to_string()).or_default() += 1;
    }
    count
}

fn written_so_far(router: &Router) -> BTreeMap<String, u32> {
    written(&fs::read_to_string(router.path("out.json")).unwrap_or_default())
}

/// Waits until the output has `n` different records.
#[track_caller]
fn wait_written(router: &Router, n: usize) {
    until(&format!("{n} records in the file"), PATIENCE, || {
        (written_so_far(router).len() >= n).then_some(())
    });
}

fn once(wanted: impl IntoIterator<Item = String>) -> BTreeMap<String, u32> {
    wanted.into_iter().map(|sequence| (sequence, 1)).collect()
}

fn in_file(ended: &Ended) -> BTreeMap<String, u32> {
    written(&String::from_utf8_lossy(&ended.read("out.json")))
}

/// Scenario: of a chunk of 1000, every tenth is refused for good, and every tenth fails once.
/// Guarantees: a refusal costs those that are refused and no other; what was taken is not sent again.
#[test]
fn single_records_are_refused() {
    const RECORDS: u64 = 1000;
    let acts = |n: u64| match n % 10 {
        3 => "refuse",
        7 => "later",
        _ => "",
    };
    let all: Vec<_> = (0..)
        .zip(numbers("a", RECORDS))
        .map(|(n, own)| (own, acts(n)))
        .collect();
    let router = faulty().start(&conf(PARTIAL));
    let pairs: Vec<_> = all.iter().map(|(own, act)| (own.as_str(), *act)).collect();
    send_acts(&router, &pairs);
    wait_written(&router, 900);
    let ended = router.stop();
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    let ledgers = ended.ledgers();
    let output = ledgers.output("test_partial.0");
    assert_eq!(ledgers.ingest.get("received"), RECORDS);
    assert_eq!(
        (
            output.get("delivered"),
            output.get("dropped.refused") + output.get("dead_lettered")
        ),
        (900, 100)
    );
    let taken = all
        .into_iter()
        .filter(|(_, act)| *act != "refuse")
        .map(|(own, _)| own);
    assert_eq!(in_file(&ended), once(taken));
}

/// Scenario: the output panics over one chunk, before it takes anything.
/// Guarantees: the chunk is sent again, nothing is lost or twice; other chunks and other outputs go on.
#[test]
fn an_output_that_panics() {
    let destination = Destination::start(|_| Act::Accept);
    let outputs = format!(
        "{}    Workers 2\n    Records_Max 1\n{}",
        PARTIAL,
        http_output(destination.port(), "")
    );
    let router = faulty().start(&conf(&outputs));
    send_acts(
        &router,
        &[("a", ""), ("b", "panic"), ("c", ""), ("d", "panic"), ("e", "")],
    );
    destination.wait_for(5, PATIENCE);
    wait_written(&router, 5);
    send_acts(&router, &[("f", "")]);
    destination.wait_for(6, PATIENCE);
    wait_written(&router, 6);
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ledgers = ended.ledgers();
    ledgers.all_delivered("test_partial.0", 6);
    ledgers.all_delivered("http.1", 6);
    let all = || ["a", "b", "c", "d", "e", "f"].map(String::from);
    assert_eq!(in_file(&ended), once(all()));
    destination.assert_once(all());
    assert!(ended.stderr.contains("the output panicked"), "{}", ended.stderr);
}

/// Scenario: a delivery never ends; the output has a second worker, and there is another output.
/// Guarantees: all other chunks and the other output go on; the stop does not wait beyond `Grace`; what hangs
/// is counted as left.
#[test]
fn an_output_that_hangs() {
    let destination = Destination::start(|_| Act::Accept);
    let outputs = format!(
        "{}    Workers 2\n    Records_Max 1\n{}",
        PARTIAL,
        http_output(destination.port(), "")
    );
    let router = faulty().start(&conf(&outputs).replace("Grace 10", "Grace 2"));
    send_acts(&router, &[("a", ""), ("b", "hang"), ("c", "")]);
    destination.wait_for(3, PATIENCE);
    wait_written(&router, 2);
    send(&router, "more", 100, 10, Duration::ZERO);
    destination.wait_for(103, PATIENCE);
    wait_written(&router, 102);
    let ended = router.stop();
    assert!(ended.took < Duration::from_secs(6), "it took {:?}", ended.took);
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    let ledgers = ended.ledgers();
    ledgers.all_delivered("http.1", 103);
    let hanging = ledgers.output("test_partial.0");
    assert_eq!((hanging.get("delivered"), hanging.get("buffered")), (102, 1));
    destination.assert_once(numbers("more", 100).chain(["a", "b", "c"].map(String::from)));
    assert_eq!(
        in_file(&ended),
        once(numbers("more", 100).chain(["a", "c"].map(String::from)))
    );
}

/// Scenario: an output takes 1 s for a chunk, another one nothing.
/// Guarantees: the quick one has all records before the slow one has its first.
#[test]
fn a_slow_output_holds_up_no_other() {
    let destination = Destination::start(|_| Act::Accept);
    let outputs = format!("{PARTIAL}    Slow 5s\n{}", http_output(destination.port(), ""));
    let router = faulty().start(&conf(&outputs));
    send_acts(&router, &[("a", "slow")]);
    send(&router, "b", 100, 10, Duration::ZERO);
    destination.wait_for(101, Duration::from_secs(4));
    assert!(written_so_far(&router).is_empty(), "the slow output was quick");
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ledgers = ended.ledgers();
    ledgers.all_delivered("test_partial.0", 101);
    ledgers.all_delivered("http.1", 101);
    assert_eq!(in_file(&ended), once(numbers("b", 100).chain(["a".to_string()])));
}

/// Scenario: a filter holds a client's messages for 1 s, as joining messages will.
/// Guarantees: no ack while they are held; a stop lets them go on, and nothing is lost.
#[test]
fn what_a_filter_holds_is_not_acked() {
    let destination = Destination::start(|_| Act::Accept);
    let hold = "[FILTER]\n    Name test_hold\n    Match *\n    Hold 1s\n";
    let outputs = format!("{hold}{}", http_output(destination.port(), ""));
    let router = faulty().start(&conf(&outputs));
    let mut client = connect(&router);
    let start = Instant::now();
    let bytes = forward_with_ack("app", &[numbered("a", 10), numbered("b", 10)], "one");
    client.send(&bytes, PATIENCE).unwrap();
    assert_eq!(
        client.receive(PATIENCE).unwrap(),
        record(&[("ack", "one")]).bytes()
    );
    let held = start.elapsed();
    assert!(held >= Duration::from_secs(1), "acked after {held:?}");
    destination.wait_for(2, PATIENCE);
    client
        .send(&forward_with_ack("app", &[numbered("c", 10)], "two"), PATIENCE)
        .unwrap();
    router.terminate();
    assert_eq!(
        client.receive(PATIENCE).unwrap(),
        record(&[("ack", "two")]).bytes()
    );
    drop(client);
    let ended = router.wait_end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.ledgers().all_delivered("http.0", 3);
    destination.assert_once(["a", "b", "c"].map(String::from));
}

/// Scenario: of two outputs one has a delivery that never ends, and what comes is ten times the memory limit.
/// Guarantees: the other output gets everything all the same; a hanging output counts as dead, as a refusing
/// one does, or a watchdog ends its delivery.
#[test]
fn an_output_that_hangs_at_the_memory_limit() {
    const RECORDS: u64 = 5000;
    let destination = Destination::start(|_| Act::Accept);
    let outputs = format!(
        "[OUTPUT]\n    Name test_partial\n    Match *\n    Path out.json\n{}",
        http_output(destination.port(), "")
    );
    let service = SERVICE.replace("Grace 10", "Grace 1");
    let conf = format!(
        "[SERVICE]\n{service}{}{outputs}",
        unix_input("    Mem_Buf_Limit 200k\n")
    );
    let router = faulty().start(&conf);
    let mut client = connect(&router);
    let hang = message("app", record(&[("seq", "hang"), ("act", "hang")]));
    client.send(&hang, PATIENCE).unwrap();
    destination.wait_for(1, PATIENCE);
    for sequence in numbers("a", RECORDS) {
        let sent = client.send(&message("app", numbered(&sequence, 400)), PATIENCE);
        sent.unwrap_or_else(|error| panic!("stopped at {sequence}: {error}\n{}", router.log()));
    }
    destination.wait_for(RECORDS + 1, PATIENCE);
    let ended = router.stop();
    ended.ledgers().all_delivered("http.1", RECORDS + 1);
    destination.assert_once(numbers("a", RECORDS).chain(["hang".to_string()]));
}
