//! `firelane buffer`: what a router left on disk, seen, checked and put back through the real binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use firelane_testkit::forward::{message, numbered};
use firelane_testkit::{Answer, Ended, Forward, Router, RouterBuilder, Sink, free_port, until};
use serde_json::Value;
use tempfile::TempDir;

use crate::{PATIENCE, binary, numbers, router};

/// `firelane buffer COMMAND PATH …`
#[track_caller]
fn buffer(command: &str, path: &Path, more: &[&str]) -> Ended {
    let path = path.to_str().unwrap();
    let builder = RouterBuilder::new(binary()).args(&["buffer", command, path]);
    builder.args(more).run()
}

/// The same, which must succeed; gives what it printed.
#[track_caller]
fn told(command: &str, path: &Path, more: &[&str]) -> String {
    let ended = buffer(command, path, more);
    assert_eq!(ended.code, Some(0), "{command} {more:?}: {}", ended.stderr);
    ended.stdout
}

#[track_caller]
fn list(path: &Path) -> Value {
    serde_json::from_str(&told("ls", path, &["--format", "json"])).unwrap()
}

/// The sum of the records in files of dead letters.
#[track_caller]
fn dead(path: &Path) -> u64 {
    let list = list(path);
    let files = list["dead_letters"]["files"].as_array().unwrap();
    files.iter().map(|file| file["records"].as_u64().unwrap()).sum()
}

#[track_caller]
fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The numbers of printed records, sorted.
#[track_caller]
fn sequences(text: &str) -> Vec<String> {
    let lines = lines(text);
    let number = |line: &Value| {
        let body = line["record"].as_object().unwrap();
        let mut texts = body.values().filter_map(Value::as_str);
        let number = texts.find(|text| text.starts_with("a-")).unwrap();
        number.to_string()
    };
    let mut all: Vec<_> = lines.iter().map(number).collect();
    all.sort_unstable();
    all
}

fn conf(store: &Path, input: &str, output: &str) -> String {
    let store = store.display();
    format!(
        "[SERVICE]\n    Flush 0.2\n    Grace 1\n    scheduler.base 1\n    scheduler.cap 2\n    storage.path {store}\n\
         [INPUT]\n    Name forward\n    unix_path {{dir}}/in.sock\n{input}{output}"
    )
}

fn http(port: u16) -> String {
    format!(
        "[OUTPUT]\n    Name http\n    Match *\n    Host 127.0.0.1\n    Port {port}\n    Format json_lines\n"
    )
}

#[track_caller]
fn send(router: &Router, count: u64) {
    let mut client = Forward::unix(&router.path("in.sock")).unwrap();
    for sequence in numbers("a", count) {
        client
            .send(&message("app", numbered(&sequence, 20)), PATIENCE)
            .unwrap();
    }
}

/// The one segment with this text in it.
#[track_caller]
fn segment_with(store: &Path, text: &str) -> (PathBuf, usize) {
    let files = fs::read_dir(store.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let place = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        let at = bytes
            .windows(text.len())
            .position(|part| part == text.as_bytes())?;
        Some((path, at))
    };
    files.into_iter().find_map(place).unwrap()
}

/// Scenario: the destination is away until the end of the run; then a byte of the log is flipped.
/// Guarantees: every command shows all records, and names the damage.
#[test]
fn what_waits_is_listed_printed_exported_and_checked() {
    let folder = TempDir::new().unwrap();
    let store = folder.path().join("store");
    let running = router().start(&conf(&store, "", &http(free_port())));
    send(&running, 100);
    running.stop().ledgers();

    let text = told("ls", &store, &[]);
    assert!(
        text.contains("100 records wait") && text.contains("no dead letters"),
        "{text}"
    );
    let listed = list(&store);
    assert_eq!(listed["waiting"]["tags"][0]["tag"], "app");
    assert_eq!(listed["waiting"]["tags"][0]["records"], 100);
    let want: Vec<_> = numbers("a", 100).collect();
    assert_eq!(sequences(&told("cat", &store, &[])), want);
    assert_eq!(sequences(&told("export", &store, &[])), want);
    assert_eq!(sequences(&told("export", &store.join("log"), &[])), want);
    assert_eq!(lines(&told("cat", &store, &["--limit", "3"])).len(), 3);
    assert_eq!(told("cat", &store, &["--tag", "b*"]), "");
    assert_eq!(told("cat", &store, &["--dead"]), "");
    let raw = told("export", &store, &["--format", "msgpack", "--tag", "a*"]);
    assert!(
        want.iter()
            .all(|number| raw.matches(number.as_str()).count() == 1)
    );
    assert_eq!(buffer("export", &store, &["--format", "msgpack"]).code, Some(64));
    let text = told("fsck", &store, &[]);
    assert!(text.contains("nothing is damaged"), "{text}");

    let (segment, at) = segment_with(&store, "a-0000050");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let ended = buffer("fsck", &store, &[]);
    assert_eq!(ended.code, Some(75), "{}{}", ended.stdout, ended.stderr);
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert!(
        ended.stdout.contains(&format!("log/{name}: offset ")),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("records are damaged, "), "{}", ended.stdout);
    assert!(buffer("fsck", &segment, &[]).stdout.contains(name));
}

/// Scenario: everybody looks into the log while a durable input fills it and an output drains it.
/// Guarantees: no error, nothing is damaged, and the router loses nothing by it.
#[test]
fn a_running_router_can_be_looked_at() {
    const RECORDS: u64 = 3000;
    let folder = TempDir::new().unwrap();
    let store = folder.path().join("store");
    let sink = Sink::start_with(Answer::After(Duration::from_millis(300)));
    let input = "    storage.type filesystem\n";
    let running = router().start(&conf(&store, input, &http(sink.port())));
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| send(&running, RECORDS));
        while !sender.is_finished() {
            let text = told("fsck", &store, &[]);
            assert!(text.contains("nothing is damaged"), "{text}");
            told("ls", &store, &[]);
            told("cat", &store, &[]);
        }
    });
    sink.wait_for(RECORDS, PATIENCE);
    running.stop().ledgers().all_delivered("http.0", RECORDS);
    sink.assert_once(numbers("a", RECORDS));
    assert!(told("ls", &store, &[]).contains("no records wait"));
}

/// Scenario: a destination refuses records, is mended, and gets them by a replay; before, the router is
/// started once without that output.
/// Guarantees: dead letters are seen, moved only while no router runs, kept while no output has their key,
/// and delivered once.
#[test]
fn dead_letters_are_replayed_once() {
    let folder = TempDir::new().unwrap();
    let store = folder.path().join("store");
    let sink = Sink::start_with(Answer::Status(400));
    let conf = |output: &str| conf(&store, "", output);
    let running = router().start(&conf(&http(sink.port())));
    send(&running, 50);
    until("dead letters", PATIENCE, || (dead(&store) == 50).then_some(()));
    let ended = buffer("replay", &store, &[]);
    assert_eq!(ended.code, Some(71), "{}", ended.stdout);
    assert!(
        ended.stderr.contains("error[FL0023]: a router uses this folder"),
        "{}",
        ended.stderr
    );
    assert!(told("replay", &store, &["--dry-run"]).contains("50 records of "));
    running.stop().ledgers();

    let text = told("ls", &store, &[]);
    assert!(
        text.contains("no records wait") && text.contains("refused"),
        "{text}"
    );
    let printed = told("cat", &store, &["--dead"]);
    assert_eq!(sequences(&printed), numbers("a", 50).collect::<Vec<_>>());
    let letter = &lines(&printed)[0];
    assert_eq!(
        (&letter["route"], &letter["reason"]),
        (&"http.0".into(), &"refused".into())
    );
    assert_eq!(sequences(&told("export", &store.join("rejected"), &[])).len(), 50);
    let text = told("replay", &store, &["--reason", "too_old"]);
    assert!(text.contains("there are no such dead letters"), "{text}");
    assert!(told("replay", &store, &["--dry-run"]).contains("would be moved"));
    assert_eq!(dead(&store), 50);
    let text = told("replay", &store, &["--route", "http.0"]);
    assert!(
        text.contains("50 records of ") && text.contains("http#"),
        "{text}"
    );
    assert_eq!(fs::read_dir(store.join("rejected")).unwrap().count(), 0);
    assert_eq!(sequences(&told("cat", &store, &[])).len(), 50);

    let running = router().start(&conf("[OUTPUT]\n    Name null\n    Match *\n"));
    let ended = running.stop();
    let log = &ended.stderr;
    assert_eq!(
        log.matches("an output that is not in the configuration").count(),
        1,
        "{log}"
    );
    assert_eq!(ended.ledgers().ingest.get("unrouted"), 0);
    assert_eq!(list(&store)["waiting"]["records"], 50);

    sink.answer(Answer::Status(200));
    let running = router().start(&conf(&http(sink.port())));
    sink.wait_for(50, PATIENCE);
    running.stop().ledgers();
    sink.assert_once(numbers("a", 50));
    let text = told("ls", &store, &[]);
    assert_eq!(text, "no records wait\nno dead letters\n");
    assert_eq!(told("replay", &store, &[]), "there are no dead letters\n");
}

/// Guarantees: a wrong path is said so, with what would be right.
#[test]
fn a_path_without_a_log_is_an_error() {
    let folder = TempDir::new().unwrap();
    for path in [folder.path().to_path_buf(), folder.path().join("none")] {
        for command in ["ls", "cat", "fsck", "export", "replay"] {
            let ended = buffer(command, &path, &[]);
            assert_eq!(ended.code, Some(66), "{command}");
            let want = format!("error[FL0021]: no log in `{}`", path.display());
            assert!(
                ended.stderr.contains(&want) && ended.stderr.contains("storage.path"),
                "{}",
                ended.stderr
            );
        }
    }
}
