//! Destinations that fail: nothing is lost, repeated or cut off; what an explicit rule drops is counted with
//! its reason.

use std::thread;
use std::time::{Duration, Instant};

use firelane_testkit::forward::{message, numbered};
use firelane_testkit::{Answer, Forward, Router, Sink, free_port, until};

use crate::{PATIENCE, numbers, router};

const SERVICE: &str =
    "    Flush 0.2\n    Grace 10\n    firelane.spill_path off\n    scheduler.base 1\n    scheduler.cap 2\n";

fn http_output(sink: &Sink, more: &str) -> String {
    let port = sink.port();
    format!(
        "[OUTPUT]\n    Name http\n    Match *\n    Host 127.0.0.1\n    Port {port}\n    Format json_lines\n{more}"
    )
}

fn unix_input(limit: &str) -> String {
    format!("[INPUT]\n    Name forward\n    unix_path {{dir}}/in.sock\n    Mem_Buf_Limit {limit}\n")
}

/// Sends `count` numbered records over one connection that must never break.
#[track_caller]
fn send(router: &Router, name: &str, count: u64, pad: usize) {
    let mut client = Forward::unix(&router.path("in.sock")).unwrap();
    for sequence in numbers(name, count) {
        let sent = client.send(&message("app", numbered(&sequence, pad)), PATIENCE);
        sent.unwrap_or_else(|error| panic!("disconnected at {sequence}: {error}\n{}", router.log()));
    }
}

/// Scenario: the destination refuses for 5 s under load, by closing connections, then by 503. 40 MB meet a
/// limit of 5.
/// Guarantees: no loss, no repeat, no disconnect, bounded memory.
#[test]
fn a_refusing_destination_costs_nothing() {
    const EACH: u64 = 40_000;
    let sink = Sink::start_with(Answer::Close);
    let conf = format!(
        "[SERVICE]\n{SERVICE}{}{}",
        unix_input("5MB"),
        http_output(&sink, "")
    );
    let router = router().start(&conf);
    thread::scope(|scope| {
        let clients: Vec<_> = ["a", "b"]
            .map(|name| scope.spawn(|| send(&router, name, EACH, 450)))
            .into();
        thread::sleep(Duration::from_secs(3));
        sink.answer(Answer::Status(503));
        thread::sleep(Duration::from_secs(2));
        assert!(
            !clients.iter().all(|client| client.is_finished()),
            "40 MB were taken beyond a limit of 5"
        );
        sink.answer(Answer::Status(200));
    });
    sink.wait_for(2 * EACH, PATIENCE);
    let (_, peak) = router.memory();
    assert!(peak < 48 << 20, "{} MiB at its highest", peak >> 20);
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.ledgers().all_delivered("http.0", 2 * EACH);
    sink.assert_once(numbers("a", EACH).chain(numbers("b", EACH)));
    assert!(sink.refused() > 0);
}

/// Scenario: SIGTERM comes while a client writes; the client goes on and hangs up.
#[test]
fn a_drain_reads_what_clients_still_send() {
    const RECORDS: u64 = 20_000;
    let sink = Sink::start();
    let router = router().start(&format!(
        "[SERVICE]\n{SERVICE}{}{}",
        unix_input("50MB"),
        http_output(&sink, "")
    ));
    thread::scope(|scope| {
        let client = scope.spawn(|| send(&router, "a", RECORDS, 200));
        sink.wait_for(1, PATIENCE);
        router.terminate();
        client.join().expect("a client that is never cut off");
    });
    let ended = router.wait_end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.ledgers().all_delivered("http.0", RECORDS);
    sink.assert_once(numbers("a", RECORDS));
}

/// Scenario: an open connection that is silent does not hold up the end for the whole grace period.
#[test]
fn a_drain_ends_after_a_quiet_period() {
    let sink = Sink::start();
    let router = router().start(&format!(
        "[SERVICE]\n{SERVICE}{}{}",
        unix_input("5MB"),
        http_output(&sink, "")
    ));
    let mut client = Forward::unix(&router.path("in.sock")).unwrap();
    client
        .send(&message("app", numbered("one", 10)), PATIENCE)
        .unwrap();
    sink.wait_for(1, PATIENCE);
    let ended = router.stop();
    assert!(
        ended.took < Duration::from_secs(8),
        "it took {:?} of a grace period of 10 s",
        ended.took
    );
    ended.ledgers().all_delivered("http.0", 1);
}

/// Scenario: of two outputs one is dead, and 15 MB meet a limit of 5.
/// Guarantees: the other gets everything, at once; what the dead one owes is named.
#[test]
fn a_dead_output_stops_no_other() {
    const RECORDS: u64 = 30_000;
    let (dead, live) = (Sink::start_with(Answer::Close), Sink::start());
    let outputs = http_output(&dead, "") + &http_output(&live, "");
    let service = SERVICE.replace("Grace 10", "Grace 1");
    let router = router().start(&format!("[SERVICE]\n{service}{}{outputs}", unix_input("5MB")));
    let start = Instant::now();
    send(&router, "a", RECORDS, 450);
    live.wait_for(RECORDS, PATIENCE);
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "held up for {:?}",
        start.elapsed()
    );
    let ended = router.stop();
    live.assert_once(numbers("a", RECORDS));
    let ledgers = ended.ledgers();
    assert_eq!(ledgers.output("http.1").get("delivered"), RECORDS);
    let owed = ledgers.output("http.0");
    assert_eq!((owed.get("routed"), owed.get("delivered")), (RECORDS, 0));
    assert!(dead.refused() > 0);
}

/// Scenario: of two outputs one takes 0.3 s for each request, and 9 MB meet a limit of 1.
/// Guarantees: who is slow loses nothing; the client waits.
#[test]
fn a_slow_output_beside_another_loses_nothing() {
    const RECORDS: u64 = 20_000;
    let sink = Sink::start_with(Answer::After(Duration::from_millis(300)));
    let file = "[OUTPUT]\n    Name file\n    Match *\n    Path {dir}\n    File out.txt\n";
    let outputs = http_output(&sink, "") + file;
    let router = router().start(&format!("[SERVICE]\n{SERVICE}{}{outputs}", unix_input("1M")));
    send(&router, "a", RECORDS, 450);
    sink.wait_for(RECORDS, PATIENCE);
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    sink.assert_once(numbers("a", RECORDS));
    let ledgers = ended.ledgers();
    for output in ["http.0", "file.1"] {
        ledgers.all_delivered(output, RECORDS);
    }
}

/// Scenario: frames of one small record, 1000 a second, meet a limit of 100 KB and an output where nobody
/// listens.
/// Guarantees: the other output goes on for good; the log has few lines of the outage.
#[test]
fn small_frames_pass_a_dead_output() {
    let port = free_port();
    let outputs = format!(
        "[OUTPUT]\n    Name http\n    Match *\n    Host 127.0.0.1\n    Port {port}\n\
         [OUTPUT]\n    Name file\n    Match *\n    Path {{dir}}\n    File out.txt\n"
    );
    let input = "[INPUT]\n    Name dummy\n    Rate 1000\n    Mem_Buf_Limit 100k\n";
    let service = SERVICE.replace("Grace 10", "Grace 1");
    let router = router()
        .args(&["router", "-c", "router.conf"])
        .file("router.conf", &format!("[SERVICE]\n{service}{input}{outputs}"))
        .spawn();
    until("the living output goes on", PATIENCE, || {
        let out = std::fs::read(router.path("out.txt")).unwrap_or_default();
        (out.iter().filter(|&&byte| byte == b'\n').count() > 3000).then_some(())
    });
    let ended = router.stop();
    let (ledgers, log) = (ended.ledgers(), &ended.stderr);
    assert!(ledgers.output("http.0").get("dropped.over_share") > 0, "{log}");
    assert_eq!(ledgers.output("file.1").get("dropped"), 0);
    let lines = |text: &str| log.matches(text).count();
    assert_eq!(
        (lines("will be retried"), lines("the oldest are dropped")),
        (1, 1),
        "{log}"
    );
}

/// Scenario: the end comes while an input waits for memory that nobody gives back.
/// Guarantees: what was read and not taken is counted.
#[test]
fn the_ledger_balances_after_an_end_under_back_pressure() {
    let port = free_port();
    let output = format!("[OUTPUT]\n    Name http\n    Match *\n    Host 127.0.0.1\n    Port {port}\n");
    let service = SERVICE.replace("Grace 10", "Grace 1");
    for input in [
        "Name dummy\n    Rate 2000\n    Mem_Buf_Limit 20k\n",
        "Name random\n    Interval_Sec 0\n    Interval_NSec 500000\n    Mem_Buf_Limit 20k\n",
    ] {
        let conf = format!("[SERVICE]\n{service}[INPUT]\n    {input}{output}");
        let router = router()
            .args(&["router", "-c", "router.conf"])
            .file("router.conf", &conf)
            .spawn();
        until("the input waits", PATIENCE, || {
            router.log().contains("paused (mem buf overlimit)").then_some(())
        });
        let ledgers = router.stop().ledgers();
        assert_eq!(ledgers.ingest.get("dropped.stopped"), 1, "{input}: {ledgers:?}");
    }
    let conf = format!("[SERVICE]\n{service}{}{output}", unix_input("200k"));
    let router = router().start(&conf);
    let mut client = Forward::unix(&router.path("in.sock")).unwrap();
    while client
        .send(&message("app", numbered("a", 450)), Duration::from_secs(1))
        .is_ok()
    {}
    let ledgers = router.stop().ledgers();
    assert!(ledgers.ingest.get("dropped.stopped") > 0, "{ledgers:?}");
}

/// Sends 100 records to a destination that answers so; gives the ledger of the output.
#[track_caller]
fn dropped(status: u16, more: &str) -> (firelane_testkit::Ledger, u64) {
    let (sink, admin) = (Sink::start_with(Answer::Status(status)), free_port());
    let server = format!("    HTTP_Server On\n    HTTP_Listen 127.0.0.1\n    HTTP_Port {admin}\n");
    let conf = format!(
        "[SERVICE]\n{SERVICE}{server}{}{}",
        unix_input("5MB"),
        http_output(&sink, more)
    );
    let router = router().start(&conf);
    send(&router, "a", 100, 10);
    until("the records are dropped", PATIENCE, || {
        (router.metric(admin, "fluentbit_output_dropped_records_total", "http.0") >= 100.0).then_some(())
    });
    let ended = router.stop();
    let ledgers = ended.ledgers();
    assert_eq!(ledgers.ingest.get("appended"), 100);
    (ledgers.output("http.0").clone(), sink.requests())
}

#[test]
fn an_explicit_retry_limit_is_obeyed_and_counted() {
    let (ledger, requests) = dropped(503, "    Retry_Limit 1\n");
    assert_eq!(
        ledger.get("dropped.retries_exhausted") + ledger.get("dead_lettered"),
        100,
        "{ledger:?}"
    );
    assert!(requests >= 2, "one try and one retry, {requests} were seen");
}

#[test]
fn a_refusal_for_good_is_counted_and_not_retried() {
    let (ledger, _) = dropped(400, "");
    assert_eq!(
        ledger.get("dropped.refused") + ledger.get("dead_lettered"),
        100,
        "{ledger:?}"
    );
}

/// Scenario: no output takes the tag.
#[test]
fn records_without_an_output_are_counted() {
    let outputs = "[OUTPUT]\n    Name stdout\n    Match other\n[OUTPUT]\n    Name null\n    Match another\n";
    let router = router().start(&format!("[SERVICE]\n{SERVICE}{}{outputs}", unix_input("5MB")));
    send(&router, "a", 100, 10);
    let ended = router.stop();
    let ledgers = ended.ledgers();
    assert_eq!(
        (ledgers.ingest.get("received"), ledgers.ingest.get("unrouted")),
        (100, 100)
    );
    assert_eq!(
        ended.stderr.matches("no output matches").count(),
        1,
        "warned once for the tag:\n{}",
        ended.stderr
    );
}
