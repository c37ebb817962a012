//! A disk that is full, and a share of the disk that is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use firelane_testkit::forward::{message, numbered};
use firelane_testkit::{AckClient, Act, Destination, RouterBuilder, until};

use super::durable::soak;
use super::{SERVICE, connect, http_output, left_out, unix_input, with_mount};
use crate::{PATIENCE, numbers, router};

const STORAGE: &str = "    storage.path {dir}/log\n";
const FILESYSTEM: &str = "    storage.type filesystem\n";

/// Gives the router a disk of 8 MiB at `log`, which goes with it.
fn with_small_disk(builder: RouterBuilder) -> Result<RouterBuilder, String> {
    let script = "mount -t tmpfs -o size=8m tmpfs log && exec \"$@\"";
    fs::create_dir_all(builder.dir().join("log")).unwrap();
    with_mount(builder, script)
}

/// Scenario: 20 MB meet a disk of 8 and a destination that is away; it comes back.
/// Guarantees: the router lives and says that the disk is full; clients wait for their acks and are not cut
/// off; in the end all is delivered, once.
#[test]
fn a_full_disk_makes_clients_wait() {
    const CHUNKS: u64 = 200;
    let destination = Destination::closed();
    let builder = match with_small_disk(router()) {
        Ok(builder) => builder,
        Err(why) => return left_out("a full disk", &why),
    };
    let output = http_output(destination.port(), "");
    let router = builder.start(&format!(
        "[SERVICE]\n{SERVICE}{STORAGE}{}{output}",
        unix_input(FILESYSTEM)
    ));
    let client = AckClient {
        socket: router.path("in.sock"),
        name: "a".into(),
        records: 100,
        pad: 1000,
        pause: Duration::ZERO,
    };
    let acked = thread::scope(|scope| {
        let sent = std::sync::atomic::AtomicU64::new(0);
        let next = move || sent.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let client = scope.spawn(move || client.run(|_| next() >= CHUNKS));
        until("the disk is full", PATIENCE, || {
            let log = router.log().to_lowercase();
            (log.contains("no space left") || log.contains("full")).then_some(())
        });
        assert!(!client.is_finished(), "20 MB were acknowledged with 8 MB of disk");
        destination.open();
        client.join().expect("a client")
    });
    assert_eq!(
        acked.again,
        BTreeMap::new(),
        "the client was cut off:\n{}",
        router.log()
    );
    destination.wait_for(acked.records, PATIENCE);
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.ledgers().all_delivered("http.0", acked.records);
    destination.assert_once(numbers("a", acked.records));
}

/// The numbers `a-…` that stand in the files of a folder.
fn in_files(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found = BTreeSet::new();
    for entry in entries {
        let bytes = fs::read(entry.path()).unwrap_or_default();
        let number = |window: &[u8]| {
            let is_one = window.starts_with(b"a-") && window[2..].iter().all(u8::is_ascii_digit);
            is_one.then(|| String::from_utf8_lossy(window).into_owned())
        };
        found.extend(bytes.windows(9).filter_map(number));
    }
    found
}

/// Scenario: of two outputs one refuses for 15 s (60 with `FIRELANE_SOAK=1`); ten times its share comes.
/// Guarantees: the other one has each record within 2 s; of the refusing one nothing is lost: it is delivered
/// when it comes back, or stands among the dead letters.
#[test]
fn one_output_refuses_ten_times_its_share() {
    const PAD: usize = 1000;
    // 10 MB over the whole time: shares of 1 MB.
    let seconds = if soak() { 60 } else { 15 };
    let count: u64 = 10_000;
    let (refusing, well) = (Destination::closed(), Destination::start(|_| Act::Accept));
    let share = "    storage.total_limit_size 1M\n";
    let outputs = http_output(refusing.port(), share) + &http_output(well.port(), share);
    let conf = format!("[SERVICE]\n{SERVICE}{STORAGE}{}{outputs}", unix_input(FILESYSTEM));
    let router = router().start(&conf);
    let mut client = connect(&router);
    let (start, mut sent) = (Instant::now(), Vec::new());
    for (n, sequence) in (0..).zip(numbers("a", count)) {
        client
            .send(&message("app", numbered(&sequence, PAD)), PATIENCE)
            .unwrap();
        sent.push(Instant::now());
        let due = start + Duration::from_secs(seconds) * n / count as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    drop(client);
    well.wait_for(count, Duration::from_secs(2));
    let mut lag = Duration::ZERO;
    for request in well.requests() {
        let (_, at) = request.answer.expect("an answer");
        for sequence in request.sequences {
            let n: usize = sequence[2..].parse().unwrap();
            lag = lag.max(at.saturating_duration_since(sent[n]));
        }
    }
    assert!(
        lag < Duration::from_secs(2),
        "the other output was {lag:?} late\n{}",
        router.log()
    );
    refusing.open();
    refusing.wait_for(1, PATIENCE);
    let ended = router.stop();
    let ledgers = ended.ledgers();
    ledgers.all_delivered("http.1", count);
    well.assert_once(numbers("a", count));
    let owed = ledgers.output("http.0");
    assert_eq!(
        (owed.get("routed"), owed.get("dropped"), owed.get("buffered")),
        (count, 0, 0)
    );
    assert_eq!(owed.get("delivered"), refusing.taken());
    let taken: BTreeSet<String> = refusing.order().into_iter().collect();
    let rest: Vec<String> = numbers("a", count).filter(|own| !taken.contains(own)).collect();
    assert_eq!(owed.get("dead_lettered"), rest.len() as u64);
    let folder = ended.into_folder();
    let kept = in_files(&folder.path().join("log/rejected"));
    let lost = rest.iter().filter(|own| !kept.contains(*own)).count();
    assert_eq!(lost, 0, "records that were neither delivered nor set aside");
}
