//! The reading thread step by step over real files, and the whole input over a double of the engine.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use firelane_core::{Hold, Ingest, IngestError, Sink, StopSource};
use firelane_record::{Records, Tag, msgpack};

use super::batch::Outbox;
use super::lines::LongLines;
use super::positions::DbOptions;
use super::*;

const DB: DbOptions = DbOptions {
    sync: "OFF",
    journal_mode: "MEMORY",
    locking: false,
    compare_filename: false,
};

fn settings(patterns: &[String], db: Option<PathBuf>) -> Settings {
    Settings {
        patterns: patterns.to_vec(),
        exclude: Vec::new(),
        refresh: Duration::from_millis(50),
        from_head: true,
        new_from_head: true,
        rotate_wait: Duration::from_secs(5),
        ignore_older: None,
        ignore_active_older: false,
        line_max: 100,
        long: LongLines::Split,
        turn_bytes: (1 << 20, 1 << 20),
        exit_on_eof: false,
        db: db.map(|path| (path, DB)),
    }
}

fn form() -> Form {
    Form {
        key: b"log".to_vec(),
        path_key: None,
        offset_key: None,
        parser: None,
        skip_empty: false,
    }
}

fn texts(records: &Records) -> Vec<String> {
    let log = |body| {
        msgpack::pairs(body)
            .find(|(key, _)| msgpack::text(key) == Some(b"log"))
            .unwrap()
            .1
    };
    let text = |body| String::from_utf8_lossy(msgpack::text(log(body)).unwrap()).into_owned();
    records.events().map(|event| text(event.body)).collect()
}

fn append(path: &Path, text: &str) {
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A tailer in the test's hand.
struct Rig {
    tailer: Tailer,
    out: Outbox,
    batches: mpsc::Receiver<Message>,
    now: Instant,
}

impl Rig {
    fn new(settings: Settings, room: usize) -> Self {
        let positions = settings
            .db
            .as_ref()
            .map(|(path, options)| Positions::open(path, options).unwrap());
        let naming = Naming::new(&Tag::new("t").unwrap(), None);
        let parts = (settings, form(), naming);
        let (sender, batches) = mpsc::channel(room);
        let tailer = Tailer::new("tail.0".into(), Arc::default(), parts, positions);
        Self {
            tailer,
            out: Outbox::new(sender),
            batches,
            now: Instant::now(),
        }
    }

    fn of(dir: &Path, pattern: &str) -> Self {
        Self::new(settings(&[dir.join(pattern).display().to_string()], None), 64)
    }

    fn durable(dir: &Path, pattern: &str) -> Self {
        Self::new(
            settings(
                &[dir.join(pattern).display().to_string()],
                Some(dir.join("pos.db")),
            ),
            64,
        )
    }

    /// Looks at everything once; the lines that came, and the last mark.
    fn look(&mut self) -> (Vec<String>, Option<Mark>) {
        self.tailer.check_paths(self.now, &mut self.out);
        self.tailer.scan(self.now);
        self.tailer.poll(&mut self.out);
        self.drain()
    }

    fn drain(&mut self) -> (Vec<String>, Option<Mark>) {
        let (mut lines, mut mark) = (Vec::new(), None);
        self.out.flush();
        while let Ok(message) = self.batches.try_recv() {
            if let Message::Batch(batch) = message {
                lines.extend(texts(&batch.records));
                mark = Some(batch.mark);
            }
            self.out.flush();
        }
        (lines, mark)
    }

    /// Looks, and takes all that came for delivered.
    fn deliver(&mut self) -> Vec<String> {
        let (lines, mark) = self.look();
        if let Some(mark) = mark {
            self.tailer.settled(mark);
        }
        self.tailer.save();
        lines
    }
}

#[test]
fn lines_come_as_the_file_grows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    append(&path, "one\ntwo\npart");
    let mut rig = Rig::of(dir.path(), "*.log");
    assert_eq!(rig.look().0, ["one", "two"]);
    assert_eq!(rig.look().0, [""; 0]);
    append(&path, "ial\nthree\n");
    assert_eq!(rig.look().0, ["partial", "three"]);
}

#[test]
fn files_of_the_start_are_read_from_their_end_and_later_ones_from_their_head() {
    let dir = tempfile::tempdir().unwrap();
    append(&dir.path().join("a.log"), "old\n");
    let pattern = dir.path().join("*.log").display().to_string();
    let mut rig = Rig::new(
        Settings {
            from_head: false,
            ..settings(&[pattern], None)
        },
        64,
    );
    assert_eq!(rig.look().0, [""; 0]);
    append(&dir.path().join("a.log"), "new\n");
    append(&dir.path().join("b.log"), "other head\n");
    assert_eq!(rig.look().0, ["new", "other head"]);
}

#[test]
fn a_renamed_file_is_read_to_its_end_and_the_new_one_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("a.log"), dir.path().join("a.log.1"));
    append(&path, "one\n");
    let mut rig = Rig::of(dir.path(), "a.log");
    assert_eq!(rig.look().0, ["one"]);
    fs::rename(&path, &moved).unwrap();
    append(&moved, "late\ncut off");
    append(&path, "new\n");
    assert_eq!(rig.look().0, ["late", "new"]);
    rig.now += Duration::from_secs(6);
    assert_eq!(
        rig.look().0,
        ["cut off"],
        "what waited for its line end goes on when the file is left"
    );
    assert_eq!(rig.tailer.files(), 1);
    append(&moved, "too late\n");
    assert_eq!(rig.look().0, [""; 0]);
}

#[test]
fn a_renamed_file_that_still_matches_is_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("a.log"), dir.path().join("a.log.1"));
    append(&path, "one\n");
    let mut rig = Rig::of(dir.path(), "a.log*");
    assert_eq!(rig.look().0, ["one"]);
    fs::rename(&path, &moved).unwrap();
    append(&path, "new\n");
    assert_eq!(rig.look().0, ["new"]);
    rig.now += Duration::from_secs(6);
    append(&moved, "late\n");
    assert_eq!(rig.look().0, ["late"]);
    assert_eq!(rig.tailer.files(), 2);
}

#[test]
fn a_truncated_file_is_read_from_its_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    append(&path, "one\ntwo\nhalf");
    let mut rig = Rig::of(dir.path(), "a.log");
    assert_eq!(rig.look().0, ["one", "two"]);
    fs::write(&path, "new\n").unwrap();
    let (lines, mark) = rig.look();
    assert_eq!(lines, ["half", "new"]);
    assert_eq!(mark.map(|mark| (mark.life, mark.offset)), Some((1, 4)));
}

#[test]
fn a_file_cut_and_refilled_between_two_looks_is_read_from_its_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    append(&path, "one\ntwo\n");
    let mut rig = Rig::of(dir.path(), "a.log");
    assert_eq!(rig.look().0, ["one", "two"]);
    fs::write(&path, "abc\ndef\nghi\n").unwrap();
    assert_eq!(rig.look().0, ["abc", "def", "ghi"]);
}

#[test]
fn reading_stops_while_there_is_no_room_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.log", "b.log", "c.log"] {
        append(&dir.path().join(name), &format!("{name}\n"));
    }
    let pattern = dir.path().join("*.log").display().to_string();
    let mut rig = Rig::new(settings(&[pattern], None), 1);
    rig.tailer.scan(rig.now);
    rig.tailer.poll(&mut rig.out);
    assert!(rig.out.is_full());
    rig.tailer.poll(&mut rig.out);
    assert_eq!(rig.drain().0, ["a.log", "b.log"]);
    assert_eq!(rig.look().0, ["c.log"]);
}

#[test]
fn what_was_not_delivered_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    append(&path, "one\n");
    let mut rig = Rig::durable(dir.path(), "a.log");
    assert_eq!(rig.deliver(), ["one"]);
    append(&path, "two\n");
    assert_eq!(
        rig.look().0,
        ["two"],
        "read, but not delivered when the process is killed"
    );
    drop(rig);
    append(&path, "three\n");
    assert_eq!(Rig::durable(dir.path(), "a.log").deliver(), ["two", "three"]);
    assert_eq!(Rig::durable(dir.path(), "a.log").deliver(), [""; 0]);
}

#[test]
fn a_file_renamed_while_nothing_ran_is_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("a.log"), dir.path().join("a.log.1"));
    append(&path, "one\n");
    assert_eq!(Rig::durable(dir.path(), "a.log").deliver(), ["one"]);
    append(&path, "two\n");
    fs::rename(&path, &moved).unwrap();
    append(&path, "new\n");
    let mut rig = Rig::durable(dir.path(), "a.log");
    let mut lines = rig.deliver();
    lines.sort();
    assert_eq!(lines, ["new", "two"]);
}

#[test]
fn a_position_of_another_file_with_the_same_inode_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    append(&path, "one\ntwo\n");
    assert_eq!(Rig::durable(dir.path(), "a.log").deliver(), ["one", "two"]);
    // As long as before, so that the size alone does not tell.
    fs::write(&path, "abc\ndef\nghi\n").unwrap();
    assert_eq!(Rig::durable(dir.path(), "a.log").deliver(), ["abc", "def", "ghi"]);
}

#[test]
fn the_row_of_a_file_that_is_left_goes_when_all_was_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    append(&path, "one\n");
    let mut rig = Rig::durable(dir.path(), "a.log");
    let (_, mark) = rig.look();
    fs::remove_file(&path).unwrap();
    rig.look();
    rig.now += Duration::from_secs(6);
    rig.look();
    assert_eq!(rig.tailer.files(), 0);
    let rows = || {
        Positions::open(&dir.path().join("pos.db"), &DB)
            .unwrap()
            .all()
            .unwrap()
            .len()
    };
    rig.tailer.save();
    assert_eq!(rows(), 1, "its last line is on its way");
    rig.tailer.settled(mark.unwrap());
    rig.tailer.save();
    assert_eq!(rows(), 0);
}

#[test]
fn old_files_are_not_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    append(&path, "one\n");
    let hour = Duration::from_secs(3600);
    let file = fs::File::options().append(true).open(&path).unwrap();
    file.set_modified(SystemTime::now() - 2 * hour).unwrap();
    let pattern = path.display().to_string();
    let mut rig = Rig::new(
        Settings {
            ignore_older: Some(hour),
            ..settings(&[pattern], None)
        },
        64,
    );
    assert_eq!(rig.look().0, [""; 0]);
    append(&path, "two\n");
    assert_eq!(rig.look().0, ["one", "two"]);
}

/// An engine that keeps the tickets of what it took.
#[derive(Default)]
struct Engine {
    taken: Mutex<Vec<(String, Hold)>>,
}

impl Sink for Engine {
    fn append(&self, stream: &Stream, _: &Tag, records: Records) -> Result<Ticket, IngestError> {
        let (ticket, hold) = match stream.ack_on() {
            AckOn::Delivery => Ticket::open(),
            AckOn::Append => (Ticket::closed(), Ticket::open().1),
        };
        self.taken.lock().unwrap().push((texts(&records).join(","), hold));
        Ok(ticket)
    }

    fn ready(&self) -> Option<BoxFuture<'static, ()>> {
        None
    }
}

/// An opened input over `a.log`, and what it runs with.
async fn opened(settings: Settings) -> (Box<Tail>, InputCx, Arc<Engine>, StopSource) {
    let mut tail = Box::new(Tail {
        settings,
        form: form(),
        tag_regex: None,
        positions: None,
    });
    tail.open().await.unwrap();
    let engine = Arc::new(Engine::default());
    let (source, stop) = StopSource::new();
    let cx = InputCx {
        name: "tail.0".into(),
        tag: Tag::new("t").unwrap(),
        tag_given: None,
        ingest: Ingest::new(engine.clone()),
        stop,
        counts: Arc::default(),
        quiet: Duration::ZERO,
    };
    (tail, cx, engine, source)
}

/// Runs the input until the engine holds a run, lets `end` do with it, and stops.
async fn run_once(dir: &Path, end: impl FnOnce(Vec<(String, Hold)>)) -> Vec<String> {
    let patterns = [dir.join("a.log").display().to_string()];
    let (tail, cx, engine, source) = opened(settings(&patterns, Some(dir.join("pos.db")))).await;
    let counts = cx.counts.clone();
    let running = tokio::spawn(tail.run(cx));
    while engine.taken.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    source.advance(Phase::Draining);
    let held = std::mem::take(&mut *engine.taken.lock().unwrap());
    let lines = held.iter().map(|(lines, _)| lines.clone()).collect();
    end(held);
    running.await.unwrap().unwrap();
    assert_eq!(counts.received.get(), 2);
    lines
}

#[tokio::test]
async fn positions_move_when_tickets_close_and_not_when_they_are_abandoned() {
    let dir = tempfile::tempdir().unwrap();
    append(&dir.path().join("a.log"), "one\ntwo\n");
    let lost = run_once(dir.path(), drop).await;
    assert_eq!(lost, ["one,two"]);
    let close = |held: Vec<(String, Hold)>| held.into_iter().for_each(|(_, hold)| hold.close());
    let again = run_once(dir.path(), close).await;
    assert_eq!(again, ["one,two"], "what was given up is read again");
    append(&dir.path().join("a.log"), "three\nfour\n");
    assert_eq!(run_once(dir.path(), close).await, ["three,four"]);
}

#[tokio::test]
async fn exit_on_eof_ends_the_input_with_the_last_line() {
    let dir = tempfile::tempdir().unwrap();
    append(&dir.path().join("a.log"), "one\nno line end");
    let patterns = [dir.path().join("*.log").display().to_string()];
    let (tail, cx, engine, _source) = opened(Settings {
        exit_on_eof: true,
        ..settings(&patterns, None)
    })
    .await;
    assert!(tail.ends_process());
    tail.run(cx).await.unwrap();
    let taken: Vec<_> = engine
        .taken
        .lock()
        .unwrap()
        .iter()
        .map(|(lines, _)| lines.clone())
        .collect();
    assert_eq!(taken, ["one", "no line end"]);
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&[], Some(dir.path().join("none/pos.db")));
    let mut tail = Tail {
        settings,
        form: form(),
        tag_regex: None,
        positions: None,
    };
    let error = tail.open().await.unwrap_err();
    assert!(error.message.starts_with("cannot open database"), "{error}");
    assert!(error.message.contains("none/pos.db"), "{error}");
}
