//! Ends under load, and processes that live for a moment: the last line is delivered.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use firelane_testkit::forward::{message, numbered};
use firelane_testkit::{Act, Destination, Forward, until};

use super::{connect, http_output, unix_input};
use crate::{PATIENCE, numbers, router};

/// How long clients go on after SIGTERM.
const GO_ON: Duration = Duration::from_secs(1);

/// Scenario: SIGTERM under the load of four clients, who go on writing for a second over their connections;
/// `Grace` has its default.
/// Guarantees: no client is cut off, and all that was written is delivered, once.
#[test]
fn clients_write_on_for_a_second_after_sigterm() {
    let destination = Destination::start(|_| Act::After(Duration::from_millis(20)));
    let conf = format!(
        "[SERVICE]\n{}{}",
        unix_input(""),
        http_output(destination.port(), "")
    );
    let router = router().start(&conf);
    let over = AtomicBool::new(false);
    let names = ["a", "b", "c", "d"];
    let write = |name: &str| {
        let (mut client, mut sent) = (connect(&router), 0);
        while !over.load(Ordering::Relaxed) {
            let bytes = message(name, numbered(&format!("{name}-{sent:07}"), 200));
            let result = client.send(&bytes, PATIENCE);
            result.unwrap_or_else(|error| panic!("cut off after {sent}: {error}\n{}", router.log()));
            sent += 1;
            thread::sleep(Duration::from_millis(1));
        }
        sent
    };
    let sent: Vec<u64> = thread::scope(|scope| {
        let clients = names.map(|name| scope.spawn(move || write(name)));
        destination.wait_for(100, PATIENCE);
        router.terminate();
        thread::sleep(GO_ON);
        over.store(true, Ordering::Relaxed);
        clients.map(|client| client.join().expect("a client")).into()
    });
    let ended = router.wait_end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.ledgers().all_delivered("http.0", sent.iter().sum());
    let all = names
        .iter()
        .zip(&sent)
        .flat_map(|(name, sent)| numbers(name, *sent));
    destination.assert_once(all);
}

/// Tasks of [`a_process_of_10_ms`].
const TASKS: u64 = 200;
/// Tasks at once.
const SIDE_BY_SIDE: usize = 8;
const STDOUT: &str = "[OUTPUT]\n    Name stdout\n    Match *\n    Format json_lines\n";

/// Scenario: 200 tasks whose process writes for 10 ms and ends; in half of them the router reads its pipe, in
/// the others a log driver writes to the router's socket, hangs up, and SIGTERM comes at once.
/// Guarantees: every line is delivered, the last one too, each time.
#[test]
fn a_process_of_10_ms() {
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    match next.fetch_add(1, Ordering::Relaxed) {
                        TASKS.. => break,
                        task if task % 2 == 0 => piped_task(task),
                        task => driver_task(task),
                    }
                }
            });
        }
    });
}

fn piped_task(task: u64) {
    let script = "for n in 0 1 2 3; do printf '{\"seq\":\"a-%07d\"}\\n' $n; done; sleep 0.01; \
                  printf '{\"seq\":\"a-0000004\"}\\n'";
    let mut process = Command::new("/bin/sh")
        .args(["-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pipe = process.stdout.take().unwrap();
    let ended = router()
        .stdin(pipe)
        .file(
            "router.conf",
            &format!("[SERVICE]\n    Flush 1\n[INPUT]\n    Name stdin\n{STDOUT}"),
        )
        .args(&["router", "-c", "router.conf"])
        .run();
    process.wait().unwrap();
    check_task(task, &ended);
}

fn driver_task(task: u64) {
    let router = router().start(&format!("[SERVICE]\n    Flush 1\n{}{STDOUT}", unix_input("")));
    let mut driver = connect(&router);
    let born = Instant::now();
    for sequence in numbers("a", 5) {
        driver
            .send(&message("app", numbered(&sequence, 10)), PATIENCE)
            .unwrap();
        thread::sleep(Duration::from_millis(2));
    }
    drop(driver);
    let lived = born.elapsed();
    check_task(task, &router.stop());
    assert!(lived >= Duration::from_millis(10), "{lived:?}");
}

#[track_caller]
fn check_task(task: u64, ended: &firelane_testkit::Ended) {
    assert_eq!(ended.code, Some(0), "task {task}: {}", ended.stderr);
    ended.ledgers().all_delivered("stdout.0", 5);
    for sequence in numbers("a", 5) {
        let seen = ended.stdout.matches(&format!("\"seq\":\"{sequence}\"")).count();
        assert_eq!(
            seen, 1,
            "task {task}, {sequence}:\n{}\n{}",
            ended.stdout, ended.stderr
        );
    }
}

/// Scenario: SIGTERM while the destination refuses; it comes back within the grace period.
/// Guarantees: what was buffered is delivered, once.
#[test]
fn a_destination_that_comes_back_during_the_drain() {
    const RECORDS: u64 = 1000;
    let destination = Destination::closed();
    let service = "    Flush 0.1\n    Grace 20\n";
    let conf = format!(
        "[SERVICE]\n{service}{}{}",
        unix_input(""),
        http_output(destination.port(), "")
    );
    let router = router().start(&conf);
    super::send(&router, "a", RECORDS, 100, Duration::ZERO);
    until("the destination was tried", PATIENCE, || {
        router.log().contains("will be retried").then_some(())
    });
    router.terminate();
    thread::sleep(Duration::from_secs(1));
    destination.open();
    let ended = router.wait_end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.ledgers().all_delivered("http.0", RECORDS);
    destination.assert_once(numbers("a", RECORDS));
}

/// Scenario: SIGTERM under the load of eight clients that connect anew for every message, for a second more.
/// Guarantees: a connection that was made is read to its end; later ones are refused, so the client knows.
#[test]
fn connections_made_after_sigterm_are_read_or_refused() {
    let destination = Destination::start(|_| Act::Accept);
    let conf = format!(
        "[SERVICE]\n    Grace 60\n{}{}",
        unix_input(""),
        http_output(destination.port(), "")
    );
    let router = router().start(&conf);
    let over = AtomicBool::new(false);
    let socket = router.path("in.sock");
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let write = |name: &str| {
        let mut sent = Vec::new();
        for sequence in numbers(name, u64::MAX) {
            if over.load(Ordering::Relaxed) {
                break;
            }
            let bytes = message(name, numbered(&sequence, 100));
            let result = Forward::unix(&socket).and_then(|mut client| client.send(&bytes, PATIENCE));
            if result.is_ok() {
                sent.push(sequence);
            }
            thread::sleep(Duration::from_millis(1));
        }
        sent
    };
    let sent: Vec<String> = thread::scope(|scope| {
        let clients = names.map(|name| {
            let write = &write;
            scope.spawn(move || write(name))
        });
        destination.wait_for(100, PATIENCE);
        router.terminate();
        thread::sleep(Duration::from_secs(1));
        over.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .flat_map(|client| client.join().expect("a client"))
            .collect()
    });
    let ended = router.wait_end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("were still reading"), "{}", ended.stderr);
    destination.assert_once(sent.iter().cloned());
    ended.ledgers().all_delivered("http.0", sent.len() as u64);
}
