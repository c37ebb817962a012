//! `file` in a temporary folder.

use std::path::Path;

use firelane_core::{Chunk, Outcome, Part};
use firelane_record::{RecordsBuf, Timestamp};

use crate::{build, chunk, deliver, refusal, retried, tag};

/// `{"a": 1, "s": "x, \"y\"", "f": 1.5, "n": nil, "m": {"k": [1]}}`, the record of the golden cases.
fn golden() -> Chunk {
    let mut buf = RecordsBuf::default();
    let body = b"\x85\xa1a\x01\xa1s\xa6x, \"y\"\xa1f\xcb\x3f\xf8\0\0\0\0\0\0\xa1n\xc0\xa1m\x81\xa1k\x91\x01";
    let time = Timestamp {
        secs: 1_700_000_000,
        nanos: 123_456_789,
    };
    buf.push(time, None, body);
    Chunk::new(vec![Part {
        tag: tag("t"),
        records: buf.take(),
    }])
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

async fn written(properties: &[(&str, &str)], rounds: usize) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let mut all = vec![("path", path), ("file", "out.txt")];
    all.extend_from_slice(properties);
    let output = build("file", &all);
    for _ in 0..rounds {
        assert_eq!(deliver(&output, golden()).await, Outcome::Delivered);
    }
    text(&dir.path().join("out.txt"))
}

#[tokio::test]
async fn every_format_prints_as_fluent_bit_does() {
    let json = r#"{"a":1,"s":"x, \"y\"","f":1.5,"n":null,"m":{"k":[1]}}"#;
    let csv = "1700000000.123456789,1,\"x, \"y\"\",1.500000,nil,{\"k\"=>[1]}\n";
    let ltsv = "\"time\":1700000000.123457\t\"a\":1\t\"s\":\"x, \"y\"\"\t\"f\":1.500000\t\"n\":nil\t\"m\":{\"k\"=>[1]}\n";
    for (properties, want) in [
        (&[][..], format!("t: [1700000000.123456789, {json}]\n")),
        (&[("format", "plain")], format!("{json}\n")),
        (&[("format", "csv")], csv.to_owned()),
        (
            &[("format", "csv"), ("delimiter", "tab")],
            csv.replacen(',', "\t", 2)
                .replace(",1.5", "\t1.5")
                .replace(",nil,", "\tnil\t"),
        ),
        (&[("format", "ltsv")], ltsv.to_owned()),
        (
            &[
                ("format", "template"),
                ("template", "{time} used={a} s={s} no={zz}"),
            ],
            "1700000000.123457 used=1 s=x, \"y\" no={zz}\n".to_owned(),
        ),
    ] {
        assert_eq!(written(properties, 1).await, want, "{properties:?}");
    }
}

#[tokio::test]
async fn csv_names_stand_once_in_a_file() {
    let got = written(&[("format", "csv"), ("csv_column_names", "on")], 2).await;
    let lines: Vec<_> = got.lines().collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0], "timestamp,\"a\",\"s\",\"f\",\"n\",\"m\"");
    assert_eq!(lines[1], lines[2]);
}

#[tokio::test]
async fn without_a_name_the_tag_is_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let output = build("file", &[("path", path), ("format", "plain"), ("mkdir", "on")]);
    for name in ["app.web", "a/b", "../../escape"] {
        assert_eq!(deliver(&output, chunk(name, &["x"])).await, Outcome::Delivered);
    }
    for name in ["app.web", "a/b", "_/_/escape"] {
        assert_eq!(
            text(&dir.path().join(name)),
            "{\"n\":0,\"log\":\"x\"}\n",
            "{name}"
        );
    }
}

/// Scenario: a tag whose path is a folder already, and one that a link leads out of `path`. Guarantees: they
/// are given up, the output goes on.
#[cfg(unix)]
#[tokio::test]
async fn tags_that_cannot_be_files_stop_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    std::os::unix::fs::symlink("..", logs.join("up")).unwrap();
    let output = build(
        "file",
        &[
            ("path", logs.to_str().unwrap()),
            ("format", "plain"),
            ("mkdir", "on"),
        ],
    );
    assert_eq!(deliver(&output, chunk("a/b", &["x"])).await, Outcome::Delivered);
    for (tag, want) in [("a", "directory"), ("up/x", "leads out of `path`")] {
        let Outcome::Discard { why, .. } = deliver(&output, chunk(tag, &["x"])).await else {
            panic!("{tag} is not given up");
        };
        assert!(why.text.contains(want), "{}", why.text);
    }
    assert!(!dir.path().join("x").exists());
    assert_eq!(deliver(&output, chunk("b", &["x"])).await, Outcome::Delivered);
}

#[tokio::test]
async fn a_rotated_file_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let output = build("file", &[("path", path), ("file", "f"), ("format", "plain")]);
    assert_eq!(deliver(&output, chunk("t", &["a"])).await, Outcome::Delivered);
    std::fs::rename(dir.path().join("f"), dir.path().join("f.1")).unwrap();
    assert_eq!(deliver(&output, chunk("t", &["b"])).await, Outcome::Delivered);
    assert_eq!(text(&dir.path().join("f.1")), "{\"n\":0,\"log\":\"a\"}\n");
    assert_eq!(text(&dir.path().join("f")), "{\"n\":0,\"log\":\"b\"}\n");
}

#[tokio::test]
async fn a_missing_folder_is_tried_again_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no").to_str().unwrap().to_owned();
    let output = build("file", &[("path", &path), ("file", "f")]);
    let why = retried(&deliver(&output, chunk("t", &["a"])).await);
    assert!(
        why.text.starts_with(&format!("cannot open {path}/f: ")),
        "{}",
        why.text
    );
    std::fs::create_dir(&path).unwrap();
    assert_eq!(deliver(&output, chunk("t", &["a"])).await, Outcome::Delivered);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_tried_again() {
    let output = build("file", &[("path", "/dev"), ("file", "full")]);
    let why = retried(&deliver(&output, chunk("t", &["a"])).await);
    assert!(why.text.starts_with("cannot write /dev/full: "), "{}", why.text);
}

#[test]
fn what_is_later_work_is_refused_by_name() {
    let want = "`rotate on`: not supported yet; logrotate can do it, it is followed";
    assert_eq!(refusal("file", &[("rotate", "on")]), want);
    let want = "`file $app`: record fields in file names are not supported yet";
    assert_eq!(refusal("file", &[("file", "$app")]), want);
    let want = "`format xml`: use out_file, plain, csv, ltsv, template or msgpack";
    assert_eq!(refusal("file", &[("format", "xml")]), want);
}
