//! Cases that show what is still missing. They are written against what the router must do and fail today:
//! the file is not in the list of modules until they pass.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use firelane_testkit::forward::{message, numbered, record};
use firelane_testkit::{Act, Destination, Forward};

use super::{SERVICE, connect, faulty, http_output, unix_input};
use crate::{PATIENCE, numbers, router};

/// Scenario: SIGTERM under the load of eight clients that connect anew for every message, for a second more.
/// Guarantees: a connection that was made is read to its end; later ones are refused, so the client knows.
#[test]
fn connections_made_after_sigterm_are_read_or_refused() {
    let destination = Destination::start(|_| Act::Accept);
    let conf = format!(
        "[SERVICE]\n{}{}",
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
    destination.assert_once(sent.iter().cloned());
    ended.ledgers().all_delivered("http.0", sent.len() as u64);
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
