//! Keys of `[SERVICE]` that change what outputs write.

use std::fs;

use firelane_testkit::forward::{message, record};
use firelane_testkit::{Forward, until};

use crate::{PATIENCE, router};

/// The line that `stdout` prints of a record with a NaN and a letter beyond ASCII.
fn printed(service: &str) -> String {
    let input = "[INPUT]\n    Name forward\n    unix_path {dir}/in.sock\n";
    let output = "[OUTPUT]\n    Name stdout\n    Match *\n    Format json_lines\n    json_date_key off\n";
    let router = router().start(&format!("[SERVICE]\n    Flush 0.1\n{service}{input}{output}"));
    let mut bytes = message("app", record(&[("n", "?"), ("s", "\u{e9}")]));
    // The testkit has no doubles: one takes the place of the text `?`.
    let at = bytes.windows(2).position(|pair| pair == [0xa1, b'?']).unwrap();
    bytes.splice(at..at + 2, [&[0xcb][..], &f64::NAN.to_be_bytes()].concat());
    Forward::unix(&router.path("in.sock"))
        .unwrap()
        .send(&bytes, PATIENCE)
        .unwrap();
    let stdout = router.path("stdout.txt");
    let line = until("the record is printed", PATIENCE, || {
        let text = fs::read_to_string(&stdout).ok()?;
        text.lines().find(|line| line.starts_with('{')).map(String::from)
    });
    assert_eq!(router.stop().code, Some(0));
    line
}

#[test]
fn numbers_and_letters_are_written_as_asked() {
    assert_eq!(printed(""), "{\"n\":null,\"s\":\"\\u00e9\"}");
    let both = "    json.convert_nan_to_null off\n    json.escape_unicode off\n";
    assert_eq!(printed(both), "{\"n\":nan,\"s\":\"\u{e9}\"}");
}
