//! Entries for the fuzz targets, beside what they test: each asserts invariants and panics only on a bug.

use bytes::Bytes;

use crate::json::{JsonOptions, Scan, Scanner, to_msgpack};
use crate::msgpack::{self, Fault, Walker};
use crate::{Draft, Records, RecordsBuf, Scratch, text};

/// MessagePack of any bytes: the walk in one piece and in two agree, and what is good prints.
pub fn fuzz_msgpack(data: &[u8]) {
    let whole = msgpack::skip(data, 0);
    let middle = data.len() / 2;
    let mut walker = Walker::new(0);
    let first = walker.walk(&data[..middle]);
    match first {
        Err(Fault::Incomplete { .. }) => assert_eq!(walker.walk(data), whole, "a split walk ends elsewhere"),
        done => assert_eq!(done, whole, "more bytes changed the end of a value"),
    }
    if let Ok(end) = whole {
        let mut out = Vec::new();
        JsonOptions::default().encode_value(&data[..end], &mut out);
        assert!(std::str::from_utf8(&out).is_ok(), "JSON is UTF-8");
        text::write_value(&mut out, &data[..end]);
    }
    let (records, _) = Records::parse_prefix(Bytes::copy_from_slice(data));
    assert_eq!(records.events().count(), records.count() as usize);
    let mut scratch = Scratch::new();
    let mut copy = RecordsBuf::default();
    for event in records.events() {
        let mut draft = Draft::new(&event, &mut scratch);
        draft.index();
        draft.write(&mut copy);
    }
    assert_eq!(
        copy.take().bytes(),
        records.bytes(),
        "untouched records are written as they came"
    );
}

/// JSON of any bytes: what reads as MessagePack prints, and what is printed reads to the same print.
pub fn fuzz_json(data: &[u8]) {
    let mut raw = Vec::new();
    let used = to_msgpack(data, &mut raw);
    let mut scanner = Scanner::new();
    let scanned = scanner.finish(data);
    if let Ok(used) = used {
        assert!(
            matches!(scanned, Scan::Value(range) if range.end == used),
            "the scan ends elsewhere"
        );
        assert_eq!(msgpack::skip(&raw, 0), Ok(raw.len()), "one whole value");
        let print = |raw: &[u8]| {
            let mut out = Vec::new();
            JsonOptions::default().encode_value(raw, &mut out);
            out
        };
        let printed = print(&raw);
        let mut again = Vec::new();
        assert_eq!(
            to_msgpack(&printed, &mut again),
            Ok(printed.len()),
            "what is printed reads"
        );
        // The first print may replace bytes and round doubles; from then on nothing changes.
        let twice = print(&again);
        let mut third = Vec::new();
        assert_eq!(to_msgpack(&twice, &mut third), Ok(twice.len()));
        assert_eq!(print(&third), twice, "a second print differs");
    } else {
        assert!(raw.is_empty(), "an error leaves nothing");
    }
    while let Scan::Value(range) = scanner.scan(data) {
        assert!(range.start < range.end);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn msgpack(data in prop::collection::vec(any::<u8>(), 0..200)) {
            super::fuzz_msgpack(&data);
        }

        #[test]
        fn json(data in "[\\[\\]{},:\"0-9eE.+\\- a\\\\u\u{e9}\u{1}\u{7f}truefalsn]{0,30}") {
            super::fuzz_json(data.as_bytes());
        }

        #[test]
        fn json_of_bytes(data in prop::collection::vec(any::<u8>(), 0..60)) {
            super::fuzz_json(&data);
            let quoted = [b"\"", &data[..], b"\""].concat();
            super::fuzz_json(&quoted);
        }
    }
}
