use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use firelane_record::{RecordsBuf, Tag, Timestamp};
use tempfile::TempDir;

use super::check::{Fault, Then, What};
use super::replay::{Replay, Returned};
use super::totals::{Graves, RouteSum, Sum, Totals};
use super::*;
use crate::disk::RealDisk;
use crate::store::dead::DeadLetters;
use crate::store::{Group, Settled};

fn entry(tag: &str, count: u32, wall_ms: u64) -> Entry {
    let mut records = RecordsBuf::default();
    for n in 0..count {
        let secs = i64::from(n);
        records.push(
            Timestamp { secs, nanos: 0 },
            None,
            &[0x81, 0xa1, b'n', n as u8 & 0x7f],
        );
    }
    let records = records.take();
    Entry {
        stream: 1,
        wall_ms,
        tag: Tag::new(tag).unwrap(),
        count,
        len: records.len() as u32,
        records: Some(records),
    }
}

fn block(id: u64, entries: Vec<Entry>) -> BlockImage {
    BlockImage {
        id,
        epoch: 1,
        partition: 0,
        order: id * 1000,
        only: None,
        entries,
    }
}

fn only(key: &str, image: BlockImage) -> BlockImage {
    let only = Some(key.into());
    BlockImage { only, ..image }
}

fn settled(block: u64, route: &str, from: u32, to: u32) -> Settled {
    Settled {
        block,
        route: route.into(),
        from,
        to,
    }
}

fn blocks(images: &[BlockImage]) -> Group<'_> {
    Group {
        blocks: images,
        ..Group::default()
    }
}

/// A log: block 1 is done with, 2 partly settled by `a`, 3 for `b` alone and partly settled by it.
fn log(root: &Path, segment_bytes: u64) -> Store<RealDisk> {
    let options = StoreOptions {
        segment_bytes,
        ..StoreOptions::default()
    };
    let (mut store, _) = Store::open(RealDisk::new(root).unwrap(), options).unwrap();
    let one = block(1, vec![entry("x", 5, 100)]);
    let two = block(2, vec![entry("x", 10, 200), entry("y", 20, 300)]);
    let three = only("b", block(3, vec![entry("y", 8, 400)]));
    for image in [one, two, three] {
        store.commit(&blocks(&[image])).unwrap();
    }
    store
        .commit(&Group {
            settled: &[settled(2, "a", 5, 12), settled(3, "b", 0, 3)],
            done: &[1],
            ..Group::default()
        })
        .unwrap();
    store
}

fn names(root: &Path) -> Vec<String> {
    RealDisk::looking(root).list().unwrap()
}

/// Flips bits of one byte.
fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x55;
    fs::write(path, bytes).unwrap();
}

/// Where frames begin, by kind.
fn frames(root: &Path, name: &str) -> Vec<(Kind, usize, usize)> {
    let mut frames = Vec::new();
    let file = RealDisk::looking(root).open(name).unwrap();
    scan(&file, |piece| {
        if let Piece::Frame(found) = piece {
            let len = found.head.frame_len() as usize;
            frames.push((found.head.kind, found.offset as usize, len));
        }
    })
    .unwrap();
    frames
}

fn faults(root: &Path) -> Vec<Fault> {
    let disk = RealDisk::looking(root);
    let inspection = Inspection::open(Look::new(&disk)).unwrap();
    let mut faults = Vec::new();
    check::log(&inspection, |fault| faults.push(fault)).unwrap();
    faults
}

const FIRST: &str = "0000000000000001.seg";

/// Scenario: a log that somebody has open. Guarantees: what waits is told as a start would find it, and
/// nothing is changed.
#[test]
fn a_log_in_use_is_listed() {
    let root = TempDir::new().unwrap();
    let store = log(root.path(), u64::MAX);
    let before = fs::read(root.path().join(FIRST)).unwrap();
    let disk = RealDisk::looking(root.path());
    let inspection = Inspection::open(Look::new(&disk)).unwrap();
    let mut segments = Vec::new();
    inspection.segments(|segment| segments.push(segment)).unwrap();
    assert_eq!(
        segments,
        [SegmentSummary {
            file: FIRST.into(),
            bytes: before.len() as u64,
            blocks: 3,
            needed_blocks: 2,
            records: 43,
            needed: 35,
            needed_bytes: 38 * 15,
            times: Some((200, 400)),
            ..SegmentSummary::default()
        }]
    );
    let totals = Totals::of(&inspection).unwrap();
    let tags: Vec<_> = totals
        .tags
        .iter()
        .map(|(tag, sum)| (tag.to_text(), sum.records))
        .collect();
    assert_eq!(tags, [("x".into(), 10), ("y".into(), 25)]);
    let sum = Sum {
        records: 35,
        bytes: 38 * 15,
    };
    assert_eq!(
        (totals.sum, totals.blocks, totals.times),
        (sum, 2, Some((200, 400)))
    );
    let route = |key: &str| totals.routes[key];
    assert_eq!(route("a"), RouteSum { settled: 7, alone: 0 });
    assert_eq!(route("b"), RouteSum { settled: 3, alone: 5 });
    let mut left = Vec::new();
    let unread = inspection.blocks(true, |needed| {
        for (range, entry) in needed.runs() {
            assert_eq!(entry.records.as_ref().unwrap().count(), entry.count);
            left.extend(range.filter(|&n| needed.is_left(n)).map(|n| (needed.image.id, n)));
        }
        ControlFlow::Continue(())
    });
    assert_eq!(unread.unwrap(), Unread::default());
    let want: Vec<_> = (0..30).map(|n| (2, n)).chain((3..8).map(|n| (3, n))).collect();
    assert_eq!(left, want);
    assert_eq!(fs::read(root.path().join(FIRST)).unwrap(), before);
    drop(store);
}

/// Scenario: a segment goes between the look at the tables and at the records. Guarantees: no error.
#[test]
fn what_vanishes_meanwhile_is_counted() {
    let root = TempDir::new().unwrap();
    let _store = log(root.path(), u64::MAX);
    let disk = RealDisk::looking(root.path());
    let inspection = Inspection::open(Look::new(&disk)).unwrap();
    fs::remove_file(root.path().join(FIRST)).unwrap();
    let unread = inspection.blocks(true, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(unread, Unread { damaged: 0, gone: 2 });
    inspection.segments(|_| panic!("it is gone")).unwrap();
    assert!(Inspection::open(Look::new(&disk)).unwrap().notes().is_empty());
}

/// Scenario: everything that makes a start rename, remove or write files. Guarantees: looking does not; it
/// tells what a start would do.
#[test]
fn looking_changes_nothing() {
    let root = TempDir::new().unwrap();
    drop(log(root.path(), 1));
    let files = names(root.path());
    assert!(files.len() > 2, "{files:?}");
    flip(&root.path().join(&files[0]), 3);
    let second = frames(root.path(), &files[1]);
    let (_, at, _) = *second.iter().find(|frame| frame.0 == Kind::Checkpoint).unwrap();
    flip(&root.path().join(&files[1]), at + 1);
    fs::write(root.path().join("00000000000000ff.seg"), b"FIRE").unwrap();
    let all = |root: &Path| -> Vec<(String, Vec<u8>)> {
        let read = |name: String| (name.clone(), fs::read(root.join(name)).unwrap());
        names(root).into_iter().map(read).collect()
    };
    let before = all(root.path());
    let found = faults(root.path());
    assert_eq!(all(root.path()), before);
    let kept = |fault: &Fault| match &fault.then {
        Then::WholeFile(Some(bad)) | Then::SetAside(Some(bad)) => bad.clone(),
        _ => panic!("{fault:?}"),
    };
    let kept = [kept(&found[0]), kept(&found[1])];
    assert_eq!(found[2].what, What::CutOff);
    let disk = RealDisk::new(root.path()).unwrap();
    drop(Store::open(disk, StoreOptions::default()).unwrap());
    let after = names(root.path());
    assert!(kept.iter().all(|bad| after.contains(bad)), "{kept:?}: {after:?}");
}

/// Guarantees: a clean log is clean, and no flipped byte is missed, wherever it is.
#[test]
fn every_flipped_byte_is_found() {
    let root = TempDir::new().unwrap();
    drop(log(root.path(), u64::MAX));
    assert_eq!(faults(root.path()), []);
    let path = root.path().join(FIRST);
    let whole = fs::read(&path).unwrap();
    let (_, last, _) = *frames(root.path(), FIRST).last().unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, bytes).unwrap();
        let found = faults(root.path());
        // Nobody reads the last four bytes of the header. A last frame that claims to be longer looks cut
        // off.
        let unseen = (28..32).contains(&at);
        let lengths = (last + 8..last + 16).contains(&at);
        assert_eq!(found.len(), usize::from(!unseen), "{at}: {found:?}");
        if !unseen && !lengths {
            assert!(found[0].what.is_damage(), "{at}: {found:?}");
            let held = found[0].offset..found[0].offset + found[0].len;
            assert!(held.contains(&(at as u64)), "{at}: {found:?}");
        }
    }
}

/// Guarantees: records are counted, and it is told what a start does, by where the damage is.
#[test]
fn damage_is_told_with_its_consequences() {
    let root = TempDir::new().unwrap();
    drop(log(root.path(), u64::MAX));
    let path = root.path().join(FIRST);
    let whole = fs::read(&path).unwrap();
    let found = frames(root.path(), FIRST);
    let block = |n: usize| {
        *found
            .iter()
            .filter(|frame| frame.0 == Kind::Block)
            .nth(n)
            .unwrap()
    };
    let one = |damage: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let found = faults(root.path());
        assert_eq!(found.len(), 1, "{found:?}");
        let fault = found.into_iter().next().unwrap();
        (fault.what, fault.records, fault.then)
    };
    let kept = |at: usize| Then::SetAside(Some(format!("0000000000000001-{at:x}.bad")));
    let (_, at, len) = block(1);
    let data = |bytes: &mut Vec<u8>| bytes[at + len - 1] ^= 1;
    assert_eq!(one(&data), (What::Records, Some(30), kept(at)));
    let head = |bytes: &mut Vec<u8>| bytes[at + 17] ^= 1;
    assert_eq!(one(&head), (What::Head, Some(30), kept(at)));
    let mark = |bytes: &mut Vec<u8>| bytes[at] ^= 1;
    assert_eq!(one(&mark), (What::Head, None, kept(at)));
    let (_, at, len) = block(0);
    let done = |bytes: &mut Vec<u8>| bytes[at + len - 1] ^= 1;
    assert_eq!(one(&done), (What::Records, Some(5), Then::NotNeeded));
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 3);
    assert_eq!(one(&cut), (What::CutOff, None, Then::PassedOver));
    let zeros = |bytes: &mut Vec<u8>| bytes.extend([0; 100_000]);
    assert_eq!(one(&zeros), (What::CutOff, None, Then::PassedOver));
    let noise = |bytes: &mut Vec<u8>| bytes.extend([7; 1000]);
    assert_eq!(one(&noise), (What::Head, None, Then::PassedOver));
}

/// Scenario: damaged records in a segment that is not the newest. Guarantees: a start does not look there,
/// and the check says when it is found.
#[test]
fn damage_in_an_older_segment_is_found_by_who_reads_it() {
    let root = TempDir::new().unwrap();
    drop(log(root.path(), 1));
    let files = names(root.path());
    let holds = |name: &String| {
        frames(root.path(), name)
            .iter()
            .any(|frame| frame.0 == Kind::Block)
    };
    let name = files.iter().find(|name| holds(name)).unwrap();
    let all = frames(root.path(), name);
    let (_, at, len) = *all.iter().find(|frame| frame.0 == Kind::Block).unwrap();
    flip(&root.path().join(name), at + len - 1);
    let found = faults(root.path());
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].records, &found[0].then), (Some(30), &Then::Dropped));
    let disk = RealDisk::looking(root.path());
    let inspection = Inspection::open(Look::new(&disk)).unwrap();
    let unread = inspection.blocks(true, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(unread, Unread { damaged: 1, gone: 0 });
}

/// Buries letters of 1, 2, … records, for `a` and `b` in turn.
fn bury(root: &Path, count: u32) {
    let mut dead = DeadLetters::open(RealDisk::new(root).unwrap(), u64::MAX).unwrap();
    for n in 1..=count {
        let (key, reason) = [("a", "refused"), ("b", "too_old")][n as usize % 2];
        let epitaph = Epitaph {
            route: format!("http.{key}").into(),
            reason: reason.into(),
            cause: format!("letter {n}").into(),
            attempts: n,
            wall_ms: u64::from(n),
        };
        let image = only(key, block(0, vec![entry("x", n, 7)]));
        dead.bury(&epitaph, &image).unwrap();
    }
}

/// What is in a folder of dead letters: key and records of each, all of which can be read.
fn buried(root: &Path) -> Vec<(String, u32)> {
    let disk = RealDisk::looking(root);
    let mut all = Vec::new();
    let unread = letters(Look::new(&disk), true, |_, letter| {
        assert!(letter.image.entries[0].records.is_some());
        all.push((letter.image.only.clone().unwrap().into(), letter.image.records()));
        ControlFlow::Continue(())
    });
    assert_eq!(unread.unwrap(), Unread::default());
    all
}

/// What waits in a log for one route alone: the key and how many records.
fn waiting(root: &Path) -> Vec<(String, u32, u64)> {
    let disk = RealDisk::looking(root);
    let inspection = Inspection::open(Look::new(&disk)).unwrap();
    let mut all = Vec::new();
    inspection
        .blocks(true, |needed| {
            let key = needed.image.only.as_deref().unwrap_or("-");
            all.push((
                key.to_string(),
                needed.image.records(),
                needed.image.entries[0].wall_ms,
            ));
            ControlFlow::Continue(())
        })
        .unwrap();
    all
}

fn replay(root: &Path, take: impl Fn(&Letter) -> bool) -> Returned {
    let dead = RealDisk::new(&root.join("dead")).unwrap();
    let (mut replay, _) = Replay::open(RealDisk::new(&root.join("log")).unwrap()).unwrap();
    let mut sum = Returned::default();
    replay
        .folder(&dead, 900, take, |file| {
            sum.letters += file.letters;
            sum.records += file.records;
            sum.left += file.left;
            sum.damaged += file.damaged;
        })
        .unwrap();
    sum
}

#[test]
fn dead_letters_are_told_apart() {
    let root = TempDir::new().unwrap();
    bury(root.path(), 5);
    let disk = RealDisk::looking(root.path());
    assert!(holds_letters(Look::new(&disk)).unwrap());
    let graves = Graves::of(Look::new(&disk), |_| true).unwrap();
    assert_eq!(
        (
            graves.files.len(),
            graves.files[0].letters,
            graves.files[0].records
        ),
        (1, 5, 15)
    );
    let told: Vec<_> = graves.graves.iter().collect();
    let (grave, sum) = told[1];
    assert_eq!(
        (&*grave.route, &*grave.reason, &*sum.cause),
        ("http.b", "too_old", "letter 5")
    );
    assert_eq!((sum.letters, sum.records, sum.times), (3, 9, Some((1, 5))));
    let log_root = TempDir::new().unwrap();
    let _store = log(log_root.path(), u64::MAX);
    assert!(!holds_letters(Look::new(&RealDisk::looking(log_root.path()))).unwrap());
}

/// Guarantees: what is put back is in the log, for its route alone; the rest stays; nothing is there twice.
#[test]
fn letters_go_back_into_the_log() {
    let root = TempDir::new().unwrap();
    let (log_root, dead_root) = (root.path().join("log"), root.path().join("dead"));
    bury(&dead_root, 4);
    drop(log(&log_root, u64::MAX));
    // Of a replay that was killed.
    fs::write(dead_root.join("0000000000000001.tmp"), b"x").unwrap();
    let returned = replay(root.path(), |letter| letter.image.only.as_deref() == Some("a"));
    let want = Returned {
        letters: 2,
        records: 6,
        left: 2,
        damaged: 0,
    };
    assert_eq!(returned, want);
    assert_eq!(buried(&dead_root), [("b".into(), 1), ("b".into(), 3)]);
    let old = [("-".into(), 30, 200), ("b".into(), 8, 400)];
    let mut want = old.to_vec();
    want.extend([("a".into(), 2, 900), ("a".into(), 4, 900)]);
    assert_eq!(waiting(&log_root), want);
    // More letters come, then all go back.
    bury(&dead_root, 1);
    assert_eq!(replay(root.path(), |_| true).records, 5);
    assert_eq!(names(&dead_root), Vec::<String>::new());
    want.extend([("b".into(), 1, 900), ("b".into(), 3, 900), ("b".into(), 1, 900)]);
    assert_eq!(waiting(&log_root), want);
    assert_eq!(faults(&log_root), []);
    assert_eq!(replay(root.path(), |_| true), Returned::default());
}

/// Scenario: of three letters one is damaged. Guarantees: the others go back, its bytes stay.
#[test]
fn damaged_letters_are_set_aside() {
    let root = TempDir::new().unwrap();
    let dead_root = root.path().join("dead");
    bury(&dead_root, 3);
    let (_, at, len) = frames(&dead_root, FIRST)[1];
    flip(&dead_root.join(FIRST), at + len - 1);
    let disk = RealDisk::looking(&dead_root);
    let mut found = Vec::new();
    check::letters(Look::new(&disk), |fault| found.push(fault)).unwrap();
    assert_eq!(
        (found.len(), found[0].records, &found[0].then),
        (1, Some(2), &Then::Letter)
    );
    let unread = letters(Look::new(&disk), true, |_, _| ControlFlow::Continue(())).unwrap();
    assert_eq!(unread.damaged, 1);
    let mut bytes = fs::read(dead_root.join(FIRST)).unwrap();
    let end = bytes.len();
    bytes.extend(b"cut off");
    fs::write(dead_root.join(FIRST), bytes).unwrap();
    let returned = replay(root.path(), |_| true);
    assert_eq!((returned.records, returned.damaged), (4, 1));
    let bad = [at, end].map(|at| format!("0000000000000001-{at:x}.bad"));
    let mut kept = names(&dead_root);
    kept.sort_by_key(String::len);
    assert_eq!(kept, bad);
    assert_eq!(fs::read(dead_root.join(&bad[0])).unwrap().len(), len);
}

/// A folder in which one kind of change fails.
struct Failing {
    disk: RealDisk,
    fails: &'static str,
}

impl Failing {
    fn new(root: &Path, fails: &'static str) -> Self {
        let disk = RealDisk::new(root).unwrap();
        Self { disk, fails }
    }

    fn may(&self, change: &str) -> io::Result<()> {
        match self.fails == change {
            true => Err(io::Error::other("the disk is gone")),
            false => Ok(()),
        }
    }
}

impl Disk for Failing {
    type File = <RealDisk as Disk>::File;

    fn create(&self, name: &str) -> io::Result<Self::File> {
        self.may("create")?;
        self.disk.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Self::File> {
        self.disk.open(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.may("remove")?;
        self.disk.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.may("rename")?;
        self.disk.rename(from, to)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_names()
    }
}

/// Scenario: the log cannot be written; then the letters cannot be removed, or their file not be changed.
/// Guarantees: they may be there twice, never not at all.
#[test]
fn a_replay_that_fails_loses_nothing() {
    let root = TempDir::new().unwrap();
    let (log_root, dead_root) = (root.path().join("log"), root.path().join("dead"));
    bury(&dead_root, 2);
    let failing = |log: &'static str, dead: &'static str, keys: &str| {
        let (mut replay, _) = Replay::open(Failing::new(&log_root, log)).unwrap();
        let take = |letter: &Letter| keys.contains(letter.image.only.as_deref().unwrap());
        let dead = Failing::new(&dead_root, dead);
        assert!(
            replay
                .folder(&dead, 9, take, |_| panic!("nothing is moved"))
                .is_err()
        );
        assert_eq!(buried(&dead_root).len(), 2);
        waiting(&log_root).len()
    };
    assert_eq!(failing("create", "", "ab"), 0);
    assert_eq!(failing("", "remove", "ab"), 2);
    assert_eq!(failing("", "rename", "a"), 3);
    assert_eq!(replay(root.path(), |_| true).letters, 2);
    assert_eq!((waiting(&log_root).len(), names(&dead_root)), (5, vec![]));
}
