//! The log on disk: what was acknowledged outlives a kill, a restart and a damaged file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use firelane_testkit::forward::{message, record};
use firelane_testkit::{AckClient, Acked, Act, Destination, RouterBuilder, until};

use super::kills::{COMMIT, Dice, Life, kill_often, kill_tail, may_come_again};
use super::{SERVICE, connect, faulty_binary, http_output, unix_input};
use crate::{PATIENCE, binary, numbers};

/// A log on disk.
const STORAGE: &str = "    storage.path {dir}/log\n";
/// An input whose records go there.
const FILESYSTEM: &str = "    storage.type filesystem\n";

/// The long forms are asked for.
pub(crate) fn soak() -> bool {
    std::env::var_os("FIRELANE_SOAK").is_some_and(|value| value == "1")
}

fn conf(filter: &str, output: &str) -> String {
    let input = unix_input(FILESYSTEM);
    format!("[SERVICE]\n{SERVICE}{STORAGE}{input}{filter}{output}")
}

fn client(folder: &Path, name: &str, pause: u64) -> AckClient {
    AckClient {
        socket: folder.join("in.sock"),
        name: name.into(),
        records: 10,
        pad: 200,
        pause: Duration::from_millis(pause),
    }
}

/// Takes 10 ms for a request, and answers 503 to every seventh.
fn slow_and_busy() -> Destination {
    Destination::start(|n| match n % 7 {
        3 => Act::Status(503),
        _ => Act::After(Duration::from_millis(10)),
    })
}

/// Kills a router `times` times under three clients that want acks.
fn kill_under_acks(binary: &Path, filter: &str, times: u64) {
    let destination = slow_and_busy();
    let conf = conf(filter, &http_output(destination.port(), ""));
    let folder = tempfile::tempdir().unwrap();
    let over = AtomicBool::new(false);
    let names = ["a", "b", "c"];
    let clients = names.map(|name| client(folder.path(), name, 5));
    let (router, lives, acked) = thread::scope(|scope| {
        let over = &over;
        let threads = clients
            .each_ref()
            .map(|client| scope.spawn(move || client.run(|_| over.load(Ordering::Relaxed))));
        let (router, lives) = kill_often(binary, &conf, folder, times);
        over.store(true, Ordering::Relaxed);
        let acked: Vec<Acked> = threads.map(|thread| thread.join().expect("a client")).into();
        (router, lives, acked)
    });
    let all: u64 = acked.iter().map(|acked| acked.records).sum();
    destination.wait_for(all, PATIENCE);
    let ended = router.stop();
    let mut again = may_come_again(&destination, &lives);
    for (sequence, n) in acked.iter().flat_map(|acked| &acked.again) {
        *again.entry(sequence.clone()).or_default() += n;
    }
    let wanted = names
        .iter()
        .zip(&acked)
        .flat_map(|(name, acked)| numbers(name, acked.records));
    destination.assert_taken(wanted, &again);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.ledgers().output("http.0").get("buffered"), 0);
}

/// Scenario: SIGKILL at random moments, 20 times in a row (200 with `FIRELANE_SOAK=1`), under clients that
/// want acks and send again what they got none for.
/// Guarantees: what was acknowledged is delivered. What comes twice was answered within the last commit
/// interval before a kill, or was sent twice by its client.
#[test]
fn sigkill_20_times_with_acks() {
    kill_under_acks(&binary(), "", if soak() { 200 } else { 20 });
}

/// Scenario: the same while a filter holds the records of the last 200 ms, as joining messages will.
/// Guarantees: the same: what is only in the filter is not acknowledged.
#[test]
fn sigkill_while_a_filter_holds_records() {
    let filter = "[FILTER]\n    Name test_hold\n    Match *\n    Hold 200ms\n";
    kill_under_acks(&faulty_binary(), filter, if soak() { 100 } else { 10 });
}

/// Scenario: SIGKILL, 10 times, while `tail` with a database is in the middle of a file.
/// Guarantees: every line is delivered; what comes twice was answered, or read, just before a kill.
#[test]
fn sigkill_while_tail_is_mid_file_with_a_log() {
    let allowed = |destination: &Destination, lives: &[Life], times: &[Instant]| {
        let mut again: BTreeMap<String, u32> = may_come_again(destination, lives);
        for life in lives {
            // `tail` looks four times a second at least.
            let read = COMMIT + Duration::from_millis(500);
            let lines = numbers("a", times.len() as u64).zip(times);
            for (sequence, _) in lines.filter(|(_, at)| **at + read >= life.killed && **at <= life.killed) {
                *again.entry(sequence).or_default() += 1;
            }
        }
        again
    };
    kill_tail(FILESYSTEM, STORAGE, slow_and_busy(), allowed);
}

/// How a router ends that has undelivered records.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Stop,
    Kill,
}

/// Runs a router until `chunks` chunks of ten records are acknowledged; the destination is away. Gives its
/// folder.
fn leave_behind(destination: &Destination, output: &str, chunks: u64, end: End) -> tempfile::TempDir {
    assert_eq!(destination.taken(), 0);
    let conf = conf("", output).replace("Grace 10", "Grace 1");
    let folder = tempfile::tempdir().unwrap();
    let client = client(folder.path(), "a", 0);
    let router = RouterBuilder::in_folder(binary(), folder).start(&conf);
    let sent = std::cell::Cell::new(0);
    let acked = client.run(|_| sent.replace(sent.get() + 1) >= chunks);
    assert_eq!(
        acked.again,
        BTreeMap::new(),
        "the router lost a connection:\n{}",
        router.log()
    );
    if end == End::Kill {
        return router.kill().1;
    }
    let ended = router.stop();
    let ledgers = ended.ledgers();
    assert_eq!(ledgers.ingest.get("appended"), acked.records);
    assert_eq!(ledgers.output("http.0").get("delivered"), 0);
    ended.into_folder()
}

/// Scenario: a router ends, by SIGTERM or SIGKILL, while its destination is away, and another one starts in
/// its place.
/// Guarantees: what was left is delivered once and in order.
#[test]
fn a_restart_delivers_what_was_left() {
    for end in [End::Stop, End::Kill] {
        let destination = Destination::closed();
        let output = http_output(destination.port(), "    Workers 1\n");
        let folder = leave_behind(&destination, &output, 100, end);
        destination.open();
        let late = client(folder.path(), "b", 0);
        let router = RouterBuilder::in_folder(binary(), folder).start(&conf("", &output));
        late.run(|acked| acked > 0);
        destination.wait_for(1010, PATIENCE);
        let ended = router.stop();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let ledgers = ended.ledgers();
        assert_eq!(ledgers.output("http.0").get("delivered"), destination.taken());
        let order = destination.order();
        let old: Vec<_> = order
            .iter()
            .filter(|sequence| sequence.starts_with('a'))
            .cloned()
            .collect();
        assert_eq!(
            old,
            numbers("a", 1000).collect::<Vec<_>>(),
            "lost, twice or out of order"
        );
    }
}

/// The files below a folder that are not empty, the largest first.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            match entry.metadata().unwrap() {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.len() > 0 => found.push((kind.len(), entry.path())),
                _ => {}
            }
        }
    }
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// Scenario: bytes of a segment are flipped in three places while no router runs.
/// Guarantees: the router starts, names the file, delivers everything but what stood in those places, once,
/// and its ledgers balance.
#[test]
fn flipped_bytes_cost_only_themselves() {
    let destination = Destination::closed();
    let output = http_output(destination.port(), "");
    let folder = leave_behind(&destination, &output, 500, End::Stop);
    let segment = files(&folder.path().join("log"))
        .into_iter()
        .next()
        .expect("a segment");
    let mut bytes = fs::read(&segment).unwrap();
    assert!(bytes.len() > 1_000_000, "{} bytes of 5000 records", bytes.len());
    let mut dice = Dice::new();
    for part in [2, 5, 8] {
        let at = bytes.len() / 10 * part + dice.below(1000) as usize;
        bytes[at..at + 16].iter_mut().for_each(|byte| *byte ^= 0x55);
    }
    fs::write(&segment, bytes).unwrap();
    destination.open();
    let router = RouterBuilder::in_folder(binary(), folder).start(&conf("", &output));
    // Three of about 500 appends are damaged, and a commit may have joined some of them.
    destination.wait_for(4000, PATIENCE);
    let late = client(router.dir(), "b", 0);
    late.run(|acked| acked > 0);
    destination.wait_for(4010, PATIENCE);
    let ended = router.stop();
    ended.ledgers();
    let taken: BTreeSet<String> = destination.order().into_iter().collect();
    let lost = numbers("a", 5000)
        .filter(|sequence| !taken.contains(sequence))
        .count();
    assert!(
        (1..=1000).contains(&lost),
        "{lost} records are lost to 48 flipped bytes:\n{}",
        ended.stderr
    );
    let late = taken.iter().filter(|sequence| sequence.starts_with('b')).cloned();
    let kept = numbers("a", 5000).filter(|sequence| taken.contains(sequence));
    destination.assert_once(kept.chain(late.collect::<Vec<_>>()));
    let name = segment.file_name().unwrap().to_string_lossy().into_owned();
    assert!(
        ended.stderr.contains(&name),
        "`{name}` is not named:\n{}",
        ended.stderr
    );
}

/// Scenario: of a chunk some records are taken and others fail, within one message and as messages of their
/// own; SIGKILL more than a commit interval later, before the retry.
/// Guarantees: a restart sends only those that failed.
#[test]
fn a_restart_knows_which_records_of_a_chunk_were_taken() {
    let output = "[OUTPUT]\n    Name test_partial\n    Match *\n    Path out.json\n";
    let conf = conf("", output).replace("scheduler.base 1\n    scheduler.cap 2", "scheduler.base 4");
    let router = RouterBuilder::new(faulty_binary()).start(&conf);
    let mut bytes = Vec::new();
    // Ten messages of ten records for each tag: mixed, all taken, all failed.
    for (n, sequence) in (0..).zip(numbers("a", 300)) {
        let (tag, act) = match n / 10 % 3 {
            0 => ("mixed", if n % 2 == 0 { "later" } else { "" }),
            1 => ("taken", ""),
            _ => ("failed", "later"),
        };
        bytes.extend(message(tag, record(&[("seq", &sequence), ("act", act)])));
    }
    connect(&router).send(&bytes, PATIENCE).unwrap();
    let written = |folder: &Path| {
        let text = fs::read_to_string(folder.join("out.json")).unwrap_or_default();
        text.matches("\"seq\"").count()
    };
    until("the first half is taken", PATIENCE, || {
        (written(router.dir()) == 150).then_some(())
    });
    thread::sleep(COMMIT);
    let (log, folder) = router.kill();
    assert_eq!(
        written(folder.path()),
        150,
        "the retry came too early for this test:\n{log}"
    );
    let router = RouterBuilder::in_folder(faulty_binary(), folder).start(&conf);
    until("the rest is taken", PATIENCE, || {
        (written(router.dir()) >= 300).then_some(())
    });
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.ledgers().output("test_partial.0").get("delivered"), 150);
    let text = String::from_utf8_lossy(&ended.read("out.json")).into_owned();
    for sequence in numbers("a", 300) {
        let times = text.matches(&format!("\"seq\":\"{sequence}\"")).count();
        assert_eq!(times, 1, "{sequence}");
    }
}
