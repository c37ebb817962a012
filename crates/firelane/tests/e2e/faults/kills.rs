//! SIGKILL at random moments, and what may come twice after it: records that the destination took within the
//! last commit interval before the kill. The destination's own log tells which those are.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use firelane_testkit::{Act, Destination, Router, RouterBuilder, until};
use tempfile::TempDir;

use super::{SERVICE, http_output};
use crate::{PATIENCE, binary, numbers};

/// Longest time from an answer to the moment when a restart knows of it.
pub(super) const COMMIT: Duration = Duration::from_secs(1);

/// A small generator (xorshift64*); its seed is printed, so that a failure can be tried again.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Seeded by `FIRELANE_SEED`, else by the time.
    pub(crate) fn new() -> Self {
        let given = std::env::var("FIRELANE_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let seed: u64 = given.unwrap_or(now.as_nanos() as u64) | 1;
        eprintln!("FIRELANE_SEED={seed}");
        Self(seed)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) % limit
    }
}

/// A life of a router that was killed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    born: Instant,
    pub(super) killed: Instant,
    dead: Instant,
}

/// Starts a router in `folder`, kills it at a random moment of its first 2 s, and starts the next one there;
/// the last one lives.
#[track_caller]
pub(super) fn kill_often(binary: &Path, conf: &str, folder: TempDir, times: u64) -> (Router, Vec<Life>) {
    let (mut dice, mut folder, mut lives) = (Dice::new(), folder, Vec::new());
    for _ in 0..times {
        let born = Instant::now();
        let router = RouterBuilder::in_folder(binary, folder).start(conf);
        thread::sleep(Duration::from_millis(50 + dice.below(1950)));
        let killed = Instant::now();
        let (log, left) = router.kill();
        // Shown if the test fails.
        eprintln!("{log}");
        lives.push(Life {
            born,
            killed,
            dead: Instant::now(),
        });
        folder = left;
    }
    let router = RouterBuilder::in_folder(binary, folder).start(conf);
    // Before that a signal would end it as it ends any process.
    until("the last router runs", PATIENCE, || {
        router.log().contains("started").then_some(())
    });
    (router, lives)
}

/// Records that may come again after the kills, and how often.
pub(super) fn may_come_again(destination: &Destination, lives: &[Life]) -> BTreeMap<String, u32> {
    let mut again = BTreeMap::new();
    for request in destination.requests() {
        let Some((_, answered)) = request.answer.filter(|_| request.is_taken()) else {
            continue;
        };
        let life = lives
            .iter()
            .find(|life| (life.born..=life.dead).contains(&request.at));
        if life.is_some_and(|life| answered + COMMIT >= life.killed) {
            for sequence in request.sequences {
                *again.entry(sequence).or_default() += 1;
            }
        }
    }
    again
}

/// Appends numbered lines to a file for about 12 s; the first half is there at once. Gives when each was
/// written.
pub(super) fn write_lines(path: &Path, count: u64) -> Vec<Instant> {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    let mut times = Vec::new();
    let pad = "x".repeat(200);
    for (n, sequence) in (0..).zip(numbers("a", count)) {
        file.write_all(format!("{{\"seq\":\"{sequence}\",\"log\":\"{pad}\"}}\n").as_bytes())
            .unwrap();
        times.push(Instant::now());
        if n >= count / 2 && n % 10 == 0 {
            thread::sleep(Duration::from_secs(12) / (count as u32 / 20));
        }
    }
    times
}

/// `tail` with a database over `in.log`.
pub(super) fn tail(more: &str) -> String {
    format!(
        "[INPUT]\n    Name tail\n    Path {{dir}}/in.log\n    DB {{dir}}/in.db\n    Parser json\n    \
         Read_from_Head On\n    Refresh_Interval 1\n{more}"
    )
}

/// Kills a router that follows a growing file; every line is delivered, and those that come twice are
/// `allowed` by the lives, the times of the lines and the destination.
pub(super) fn kill_tail(
    more: &str,
    service: &str,
    destination: Destination,
    allowed: impl Fn(&Destination, &[Life], &[Instant]) -> BTreeMap<String, u32>,
) {
    const LINES: u64 = 10_000;
    let conf = format!(
        "[SERVICE]\n{SERVICE}{service}{}{}",
        tail(more),
        http_output(destination.port(), "")
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.log");
    let (router, lives, times) = thread::scope(|scope| {
        let writer = scope.spawn(|| write_lines(&file, LINES));
        until("the file is there", PATIENCE, || file.exists().then_some(()));
        let (router, lives) = kill_often(&binary(), &conf, folder, 10);
        (router, lives, writer.join().unwrap())
    });
    destination.wait_for(LINES, PATIENCE);
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ledgers = ended.ledgers();
    assert_eq!(ledgers.output("http.0").get("dropped"), 0);
    destination.assert_taken(numbers("a", LINES), &allowed(&destination, &lives, &times));
}

/// Scenario: SIGKILL, 10 times, while `tail` with a database is mid-file; records are in memory.
/// The destination takes everything: a chunk that waits for its retry would hold the position back.
/// Guarantees: every line is delivered; what comes twice was answered within a second before a kill.
#[test]
fn sigkill_while_tail_is_mid_file() {
    let destination = Destination::start(|_| Act::After(Duration::from_millis(10)));
    kill_tail("", "", destination, |destination, lives, _| {
        may_come_again(destination, lives)
    });
}
