//! Destinations that refuse, hang, break off and come back. The router's own settings decide how long a case
//! takes: those with default settings wait as long as a user would.

use std::thread;
use std::time::{Duration, Instant};

use firelane_testkit::forward::{forward_with_ack, numbered, record};
use firelane_testkit::{Act, Destination, Request, free_port, until};

use super::{SERVICE, connect, http_output, monitor, send, stop_after_all, unix_input};
use crate::{PATIENCE, numbers, router};

const MS: Duration = Duration::from_millis(1);

/// Scenario: nobody listens for 20 s, and all settings have their defaults.
/// Guarantees: 0 lost, 0 twice, 0 ambiguous, and the client never waits.
#[test]
fn refused_for_20_s_by_default_settings() {
    const RECORDS: u64 = 2200;
    let (destination, admin) = (Destination::closed(), free_port());
    let conf = format!(
        "[SERVICE]\n{}{}{}",
        monitor(admin),
        unix_input(""),
        http_output(destination.port(), "")
    );
    let router = router().start(&conf);
    thread::scope(|scope| {
        scope.spawn(|| send(&router, "a", RECORDS, 100, 10 * MS));
        thread::sleep(Duration::from_secs(20));
        destination.open();
    });
    // A retry may be due only 41 s after the one before it.
    destination.wait_for(RECORDS, 2 * PATIENCE);
    assert_eq!(
        router.metric(admin, "firelane_output_ambiguous_chunks_total", ""),
        0.0
    );
    stop_after_all(router, &destination, RECORDS);
    destination.assert_once(numbers("a", RECORDS));
    assert_eq!(destination.count(|request| !request.is_taken()), 0);
}

/// Scenario: every tenth request is answered 503; 20 tags make many requests.
/// Guarantees: 0 lost, 0 twice.
#[test]
fn a_tenth_answered_503() {
    const CLIENTS: u64 = 20;
    const EACH: u64 = 100;
    let destination = Destination::start(|n| {
        if n % 10 == 3 {
            Act::Status(503)
        } else {
            Act::Accept
        }
    });
    let conf = format!(
        "[SERVICE]\n{SERVICE}{}{}",
        unix_input(""),
        http_output(destination.port(), "    header_tag X-Tag\n")
    );
    let router = router().start(&conf);
    let names: Vec<String> = (0..CLIENTS).map(|n| format!("c{n}")).collect();
    thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| send(&router, name, EACH, 100, 10 * MS));
        }
    });
    destination.wait_for(CLIENTS * EACH, PATIENCE);
    stop_after_all(router, &destination, CLIENTS * EACH);
    destination.assert_once(names.iter().flat_map(|name| numbers(name, EACH)));
    let refused = destination.count(|request| request.answer.is_some_and(|(status, _)| status == 503));
    assert!(refused >= 5, "only {refused} requests met a 503");
}

/// What a case of [`broken_off`] may send again.
struct Broken {
    destination: Destination,
    ambiguous: u64,
}

/// Sends `count` records of `pad` bytes to a destination whose requests 0, 2 and 4 end so; each record must
/// be taken once.
fn broken_off(act: Act, count: u64, pad: usize, more: &str) -> Broken {
    let destination = Destination::start(move |n| if [0, 2, 4].contains(&n) { act } else { Act::Accept });
    let admin = free_port();
    let conf = format!(
        "[SERVICE]\n{SERVICE}{}{}{}",
        monitor(admin),
        unix_input(""),
        http_output(destination.port(), more)
    );
    let router = router().start(&conf);
    let half = count / 2;
    send(&router, "a", half, pad, Duration::ZERO);
    destination.wait_for(half, PATIENCE);
    send(&router, "b", half, pad, Duration::ZERO);
    destination.wait_for(count, PATIENCE);
    // Five requests at least, so that all three faults have come.
    let mut more = 0;
    while destination.requests().len() < 6 {
        send(&router, &format!("m{more}"), 1, pad, Duration::ZERO);
        more += 1;
        destination.wait_for(count + more, PATIENCE);
    }
    let ambiguous = router.metric(admin, "firelane_output_ambiguous_chunks_total", "");
    stop_after_all(router, &destination, count + more);
    let own = ["a", "b"].into_iter().flat_map(|name| numbers(name, half));
    destination.assert_once(own.chain((0..more).map(|n| format!("m{n}-0000000"))));
    Broken {
        destination,
        ambiguous: ambiguous as u64,
    }
}

/// Scenario: three requests are read and never answered.
/// Guarantees: 0 lost; what comes twice is those requests, counted as ambiguous, and only those.
#[test]
fn a_destination_that_hangs() {
    let broken = broken_off(Act::Hang, 1000, 200, "    http.response_timeout 1s\n");
    let lost = broken.destination.count(Request::is_lost);
    assert_eq!((lost, broken.ambiguous), (3, 3));
}

/// Scenario: three connections are reset when half of a body of 2 MB was read.
/// Guarantees: 0 lost, 0 twice: nobody has read a whole request without answering it.
#[test]
fn connections_reset_within_the_body() {
    let broken = broken_off(Act::ResetMidBody, 5000, 2000, "");
    let (lost, half) = (
        broken.destination.count(Request::is_lost),
        broken.destination.count(|request| !request.whole),
    );
    assert_eq!((lost, half), (0, 3));
}

/// Scenario: three connections are reset when the whole body was read, before the answer.
/// Guarantees: 0 lost; what comes twice is those requests, counted as ambiguous, and only those.
#[test]
fn connections_reset_after_the_body() {
    let broken = broken_off(Act::ResetAfterBody, 1000, 200, "");
    let lost = broken.destination.count(Request::is_lost);
    assert_eq!((lost, broken.ambiguous), (3, 3));
}

/// Scenario: the destination restarts twice under load: its connections end, then nobody listens for 1 s.
/// Guarantees: 0 lost; each record is taken by one answered request.
#[test]
fn a_destination_that_restarts() {
    const RECORDS: u64 = 20_000;
    let destination = Destination::start(|_| Act::After(20 * MS));
    let conf = format!(
        "[SERVICE]\n{SERVICE}{}{}",
        unix_input(""),
        http_output(destination.port(), "")
    );
    let router = router().start(&conf);
    let parts: Vec<String> = (0..20).map(|part| format!("p{part}")).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            for part in &parts {
                send(&router, part, RECORDS / 20, 200, Duration::ZERO);
                thread::sleep(100 * MS);
            }
        });
        for _ in 0..2 {
            let seen = destination.taken();
            destination.wait_for(seen + 1, PATIENCE);
            destination.close();
            thread::sleep(Duration::from_secs(1));
            destination.open();
        }
    });
    destination.wait_for(RECORDS, PATIENCE);
    stop_after_all(router, &destination, RECORDS);
    destination.assert_once(parts.iter().flat_map(|part| numbers(part, RECORDS / 20)));
}

/// Scenario: 429 and 503 with `Retry-After`, 2 s each.
/// Guarantees: nothing comes earlier, 0 lost, 0 twice.
#[test]
fn retry_after_is_obeyed() {
    const WAIT: u64 = 2;
    let acts = [Act::Later(429, WAIT), Act::Later(503, WAIT)];
    let destination = Destination::start(move |n| acts.get(n as usize).copied().unwrap_or(Act::Accept));
    let conf = format!(
        "[SERVICE]\n{SERVICE}{}{}",
        unix_input(""),
        http_output(destination.port(), "")
    );
    let router = router().start(&conf);
    send(&router, "a", 100, 10, Duration::ZERO);
    destination.wait_for(100, PATIENCE);
    stop_after_all(router, &destination, 100);
    destination.assert_once(numbers("a", 100));
    let first = |request: &&Request| request.sequences.contains(&"a-0000000".to_string());
    let times: Vec<Instant> = destination
        .requests()
        .iter()
        .filter(first)
        .map(|own| own.at)
        .collect();
    assert!(times.len() >= 2, "{} requests", times.len());
    for pair in times.windows(2) {
        let waited = pair[1] - pair[0];
        assert!(
            waited >= Duration::from_secs(WAIT),
            "asked again after {waited:?}"
        );
    }
}

/// Scenario: of two destinations one refuses for 5 s while records come all the time.
/// Guarantees: the other gets each record within 2 s; in the end both have all, once.
#[test]
fn one_of_two_destinations_refuses() {
    const RECORDS: u64 = 500;
    let (refusing, well) = (Destination::closed(), Destination::start(|_| Act::Accept));
    let outputs = http_output(refusing.port(), "") + &http_output(well.port(), "");
    let router = router().start(&format!("[SERVICE]\n{SERVICE}{}{outputs}", unix_input("")));
    let start = Instant::now();
    let mut client = connect(&router);
    for (n, sequence) in (1..).zip(numbers("a", RECORDS)) {
        let record = firelane_testkit::forward::numbered(&sequence, 50);
        let bytes = firelane_testkit::forward::message("app", record);
        client.send(&bytes, PATIENCE).unwrap();
        if n % 100 == 0 {
            well.wait_for(n, Duration::from_secs(2));
        }
        thread::sleep(10 * MS);
    }
    drop(client);
    assert!(start.elapsed() >= Duration::from_secs(5));
    assert_eq!(refusing.taken(), 0);
    refusing.open();
    refusing.wait_for(RECORDS, PATIENCE);
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ledgers = ended.ledgers();
    for (output, destination) in [("http.0", &refusing), ("http.1", &well)] {
        ledgers.all_delivered(output, RECORDS);
        destination.assert_once(numbers("a", RECORDS));
    }
}

/// Scenario: an answer comes 3 s after the request, the response timeout is 1 s, and the router is told to
/// stop meanwhile.
/// Guarantees: a stop loses nothing to a slow answer: the request is sent again and is ambiguous.
#[test]
fn a_stop_while_an_answer_is_late() {
    let destination = Destination::start(|n| if n == 0 { Act::Hang } else { Act::Accept });
    let conf = format!(
        "[SERVICE]\n{SERVICE}{}{}",
        unix_input(""),
        http_output(destination.port(), "    http.response_timeout 1s\n")
    );
    let router = router().start(&conf);
    send(&router, "a", 10, 10, Duration::ZERO);
    until("the request is read", PATIENCE, || {
        (destination.count(Request::is_lost) == 1).then_some(())
    });
    stop_after_all(router, &destination, 10);
    destination.assert_once(numbers("a", 10));
}

/// Scenario: `ack_on delivery`, with records in memory and on disk, while the destination is away.
/// Guarantees: no ack before the destination has the records, and one as soon as it has.
#[test]
fn acks_can_wait_for_the_destination() {
    for more in ["", "    storage.type filesystem\n"] {
        let destination = Destination::closed();
        let conf = format!(
            "[SERVICE]\n{SERVICE}    storage.path {{dir}}/store\n{}{}",
            unix_input(&format!("    ack_on delivery\n{more}")),
            http_output(destination.port(), "")
        );
        let router = router().start(&conf);
        let mut client = connect(&router);
        let bytes = forward_with_ack("app", &[numbered("a", 10)], "one");
        client.send(&bytes, PATIENCE).unwrap();
        let early = client.receive(Duration::from_millis(500));
        assert!(early.is_err(), "acked before the delivery: {early:?}");
        destination.open();
        assert_eq!(
            client.receive(PATIENCE).unwrap(),
            record(&[("ack", "one")]).bytes()
        );
        assert_eq!(destination.taken(), 1);
        drop(client);
        router.stop().ledgers().all_delivered("http.0", 1);
    }
}
