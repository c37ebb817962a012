//! An output at its `storage.total_limit_size`: what `storage.overflow` says happens, and nothing else.

use std::thread;
use std::time::Duration;

use firelane_testkit::forward::{message, numbered};
use firelane_testkit::{Destination, Ended, RouterBuilder, until};

use super::{SERVICE, connect, http_output, send, unix_input};
use crate::{PATIENCE, binary, numbers, router};

const STORAGE: &str = "    storage.path {dir}/store\n";
/// Records that are sent, each of about 500 bytes and 320 of bookkeeping.
const COUNT: u64 = 1000;
const PAD: usize = 450;

/// A file that takes everything, beside the output that is tried.
fn file() -> &'static str {
    "[OUTPUT]\n    Name file\n    Match *\n    Path {dir}\n    File all.txt\n"
}

fn conf(destination: &Destination, overflow: &str, storage: &str) -> String {
    let more = format!("    Workers 1\n    storage.total_limit_size 100k\n{overflow}");
    let output = http_output(destination.port(), &more);
    let service = SERVICE.replace("Grace 10", "Grace 1");
    format!(
        "[SERVICE]\n{service}{storage}{}{output}{}",
        unix_input(""),
        file()
    )
}

/// Sends everything while the destination is away, and stops when the file has it.
fn overflow(destination: &Destination, conf: &str) -> Ended {
    assert_eq!(destination.taken(), 0);
    let router = router().start(conf);
    send(&router, "a", COUNT, PAD, Duration::from_micros(200));
    until("the other output has everything", PATIENCE, || {
        let text = std::fs::read_to_string(router.path("all.txt")).ok()?;
        (text.lines().count() as u64 == COUNT).then_some(())
    });
    router.stop()
}

/// Starts again with the destination there; gives the numbers that it gets.
fn what_was_kept(ended: Ended, destination: &Destination, conf: &str, count: u64) -> Vec<String> {
    destination.open();
    let router = RouterBuilder::in_folder(binary(), ended.into_folder()).start(conf);
    destination.wait_for(count, PATIENCE);
    let ledgers = router.stop().ledgers();
    assert_eq!(ledgers.ingest.get("recovered"), count);
    assert_eq!(ledgers.output("http.0").get("delivered"), count);
    assert_eq!(ledgers.output("file.1").get("routed"), 0, "the file had them");
    destination.order()
}

/// Scenario: ten times the limit for a destination that is away, under each policy that gives records up;
/// then a restart with the destination there. Guarantees: what is given up is counted, as dropped or as
/// dead letters, and is what the policy says; the limit holds, but for what was under way; the other
/// output has everything.
#[test]
fn what_is_over_the_limit_goes_as_the_policy_says() {
    for policy in ["drop_oldest", "drop_newest", "dead_letter", ""] {
        let destination = Destination::closed();
        let line = match policy {
            "" => String::new(),
            word => format!("    storage.overflow {word}\n"),
        };
        let conf = conf(&destination, &line, STORAGE);
        let ended = overflow(&destination, &conf);
        let ledgers = ended.ledgers();
        ledgers.all_delivered("file.1", COUNT);
        let tried = ledgers.output("http.0");
        let (over, dead) = (tried.get("dropped.over_limit"), tried.get("dead_lettered"));
        let left = tried.get("buffered");
        assert_eq!(tried.get("routed"), COUNT);
        assert_eq!(over + dead + left, COUNT, "{policy}: {}", ended.stderr);
        assert_eq!(
            (over > 0, dead > 0),
            (policy.starts_with("drop"), !policy.starts_with("drop")),
            "{policy}"
        );
        // 100 kB are about 120 records, and less where several share a run.
        assert!((20..300).contains(&left), "{policy}: {left} are left");
        let kept = what_was_kept(ended, &destination, &conf, left);
        let wanted: Vec<String> = match policy {
            "drop_newest" => numbers("a", left).collect(),
            _ => numbers("a", COUNT).skip((COUNT - left) as usize).collect(),
        };
        assert_eq!(kept, wanted, "{policy}");
    }
}

/// Scenario: the same with `block`, and a client that goes on when the destination is back.
/// Guarantees: the client waits at the limit and is not cut off; nothing is given up.
#[test]
fn a_blocking_limit_makes_clients_wait() {
    let destination = Destination::closed();
    let conf = conf(
        &destination,
        "    storage.overflow block\n",
        "    firelane.spill_path off\n",
    );
    let router = router().start(&conf.replace("Grace 1\n", "Grace 10\n"));
    let mut client = connect(&router);
    let sent = std::sync::atomic::AtomicU64::new(0);
    thread::scope(|scope| {
        let write = scope.spawn(|| {
            for sequence in numbers("a", COUNT) {
                client
                    .send(&message("app", numbered(&sequence, PAD)), PATIENCE)
                    .unwrap();
                sent.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        });
        until("the input waits", PATIENCE, || {
            router.log().contains("paused (mem buf overlimit)").then_some(())
        });
        // The socket's own buffer may take some more, not everything.
        thread::sleep(Duration::from_millis(300));
        assert!(
            sent.load(std::sync::atomic::Ordering::SeqCst) < COUNT,
            "nobody waits"
        );
        destination.open();
        write.join().unwrap();
    });
    destination.wait_for(COUNT, PATIENCE);
    let ended = router.stop();
    ended.ledgers().all_delivered("http.0", COUNT);
    destination.assert_once(numbers("a", COUNT));
}
