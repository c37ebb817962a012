//! A chunk as the bytes that `http`, `tcp` and `stdout` share: JSON in three arrangements, or MessagePack.
//!
//! Straight from the raw records into one buffer, sized by estimate; no tree of values.

use firelane_core::{BuildCx, Chunk};
use firelane_record::json::{DateFormat, JsonOptions};
use firelane_record::{Event, Tag};

use crate::settings::warn;

/// How the records of a chunk stand beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One array.
    Json,
    /// An object and a newline each.
    JsonLines,
    /// Objects, nothing between them.
    JsonStream,
    /// `[[time, metadata], record]` behind each other, as Fluent Bit stores them.
    Msgpack,
}

impl Format {
    /// By its name in `format`.
    pub(crate) fn by_name(name: &str) -> Result<Self, String> {
        match name.to_ascii_lowercase().as_str() {
            "json" => Ok(Self::Json),
            "json_lines" => Ok(Self::JsonLines),
            "json_stream" => Ok(Self::JsonStream),
            "msgpack" => Ok(Self::Msgpack),
            "gelf" | "otlp_json" | "otlp_json_pretty" => Err("this format is not supported yet".to_owned()),
            _ => Err("use json, json_lines, json_stream or msgpack".to_owned()),
        }
    }
}

/// A format with its options.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    format: Format,
    json: JsonOptions,
}

impl Payload {
    /// `json_date_key` and `json_date_format` as they were written; an unknown format is warned about and
    /// read as `double`, as Fluent Bit does.
    pub(crate) fn new(cx: &BuildCx<'_>, format: Format, key: Option<&str>, date: Option<&str>) -> Self {
        let format_of = |name: &str| {
            let known = DateFormat::from_name(name);
            if known.is_none() {
                warn(cx, "json_date_format", "no such format, `double` is used");
            }
            known.unwrap_or_default()
        };
        let key_is_off = |key: &str| {
            ["false", "off", "no"]
                .iter()
                .any(|word| key.eq_ignore_ascii_case(word))
        };
        let date_format = date.map(format_of).unwrap_or_default();
        let json = match key.unwrap_or("date") {
            key if key_is_off(key) => plain_json(cx),
            key => plain_json(cx).with_date(key, date_format),
        };
        if format == Format::Msgpack {
            for (name, _) in [("json_date_key", key), ("json_date_format", date)]
                .iter()
                .filter(|(_, v)| v.is_some())
            {
                warn(cx, name, "has no effect with `format msgpack`");
            }
        }
        Self { format, json }
    }

    /// Bytes that `chunk` probably needs: JSON has quotes and a date that MessagePack has not.
    pub(crate) fn estimate(&self, chunk: &Chunk) -> usize {
        match self.format {
            Format::Msgpack => chunk.bytes() + chunk.records() as usize * 4,
            _ => chunk.bytes() + chunk.bytes() / 4 + chunk.records() as usize * 64,
        }
    }

    /// Appends the records of `chunk`.
    pub(crate) fn encode(&self, chunk: &Chunk, out: &mut Vec<u8>) {
        match self.format {
            Format::Json => {
                out.push(b'[');
                for log in logs(chunk) {
                    self.json.encode_event_of_group(&log.event, log.group, out);
                    out.push(b',');
                }
                match out.last_mut() {
                    Some(last @ b',') => *last = b']',
                    _ => out.push(b']'),
                }
            }
            Format::JsonLines => {
                for log in logs(chunk) {
                    self.json.encode_event_of_group(&log.event, log.group, out);
                    out.push(b'\n');
                }
            }
            Format::JsonStream => {
                logs(chunk).for_each(|log| self.json.encode_event_of_group(&log.event, log.group, out));
            }
            Format::Msgpack => chunk.events().for_each(|(_, event)| write_v2(&event, out)),
        }
    }

    /// The `Content-Type` that Fluent Bit gives it.
    pub(crate) fn content_type(&self) -> &'static str {
        match self.format {
            Format::Json | Format::JsonStream => "application/json",
            Format::JsonLines => "application/x-ndjson",
            Format::Msgpack => "application/msgpack",
        }
    }

    /// Which one it is.
    pub(crate) fn format(&self) -> Format {
        self.format
    }
}

/// JSON without a date, by the service's rules for strings and numbers.
pub(crate) fn plain_json(cx: &BuildCx<'_>) -> JsonOptions {
    JsonOptions::new(cx.service.escape_unicode).with_nan_to_null(cx.service.nan_to_null)
}

/// A log event of a chunk.
pub(crate) struct Log<'a> {
    /// Its tag.
    pub(crate) tag: &'a Tag,
    /// The event.
    pub(crate) event: Event<'a>,
    /// Attributes of the group that it stands in (OTLP resource and scope), a raw map.
    pub(crate) group: Option<&'a [u8]>,
}

/// The log events of a chunk without the markers around groups, which are no events of anybody.
pub(crate) fn logs(chunk: &Chunk) -> impl Iterator<Item = Log<'_>> {
    let mut group = None;
    chunk.events().filter_map(move |(tag, event)| {
        if event.time.is_group_marker() {
            group = (event.time.secs == GROUP_START).then_some(event.body);
            return None;
        }
        Some(Log { tag, event, group })
    })
}

/// Seconds of the marker that begins a group.
const GROUP_START: i64 = 0xFFFF_FFFF;

/// Appends an event in the shape `[[time, metadata], record]`, whichever it came in.
pub(crate) fn write_v2(event: &Event<'_>, out: &mut Vec<u8>) {
    if event.metadata.is_some() {
        return out.extend_from_slice(event.raw);
    }
    out.extend_from_slice(&[0x92, 0x92]);
    event.time.write(out);
    out.push(0x80);
    out.extend_from_slice(event.body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use firelane_core::Part;
    use firelane_record::{MapWriter, RecordsBuf, Timestamp, msgpack};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn payload(format: Format) -> Payload {
        let json = JsonOptions::new(true).with_date("date", DateFormat::Epoch);
        Payload { format, json }
    }

    fn time(secs: i64) -> Timestamp {
        Timestamp { secs, nanos: 0 }
    }

    /// A record `{"n": n, "s": text}`, with or without empty metadata.
    fn push(buf: &mut RecordsBuf, n: u8, text: &[u8], v2: bool) {
        let mut map = MapWriter::new();
        map.raw(b"n", &[n & 0x7f]);
        map.str(b"s", text);
        let metadata: Option<&[u8]> = v2.then_some(&[0x80]);
        buf.push_with(time(7), metadata, |out| map.write(out));
    }

    fn chunk(bufs: Vec<RecordsBuf>) -> Chunk {
        let tag = Tag::new("t").unwrap();
        let part = |mut buf: RecordsBuf| Part {
            tag: tag.clone(),
            records: buf.take(),
        };
        Chunk::new(bufs.into_iter().map(part).collect())
    }

    #[track_caller]
    fn check(format: Format, chunk: &Chunk, want: &str) {
        let mut out = Vec::new();
        payload(format).encode(chunk, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), want);
    }

    #[test]
    fn nothing_is_an_empty_array() {
        check(Format::Json, &chunk(Vec::new()), "[]");
        check(Format::JsonLines, &chunk(Vec::new()), "");
    }

    #[test]
    fn groups_give_their_attributes_and_no_records() {
        let mut buf = RecordsBuf::default();
        buf.push(time(0xFFFF_FFFF), Some(&[0x80]), &[0x81, 0xa1, b'r', 1]);
        push(&mut buf, 1, b"in", true);
        buf.push(time(0xFFFF_FFFE), Some(&[0x80]), &[0x80]);
        push(&mut buf, 2, b"out", false);
        let chunk = chunk(vec![buf]);
        assert_eq!(chunk.records(), 4);
        let mut out = Vec::new();
        payload(Format::JsonLines).encode(&chunk, &mut out);
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains(r#""group_attributes":{"r":1}"#), "{text}");
        assert_eq!(lines[1], r#"{"date":7,"n":2,"s":"out"}"#);
    }

    #[test]
    fn estimates_hold_for_usual_records() {
        let mut buf = RecordsBuf::default();
        for n in 0..100 {
            push(
                &mut buf,
                n,
                &b"GET /index.html 200 12ms \"agent\" ".repeat(10),
                false,
            );
        }
        let chunk = chunk(vec![buf]);
        for format in [
            Format::Json,
            Format::JsonLines,
            Format::JsonStream,
            Format::Msgpack,
        ] {
            let mut out = Vec::new();
            payload(format).encode(&chunk, &mut out);
            let estimate = payload(format).estimate(&chunk);
            assert!(out.len() <= estimate, "{format:?}: {} over {estimate}", out.len());
        }
    }

    proptest! {
        #[test]
        fn every_record_appears_once_in_order(
            records in vec((any::<u8>(), vec(any::<u8>(), 0..40), any::<bool>()), 0..40),
            cut in 0usize..40,
        ) {
            let mut bufs = vec![RecordsBuf::default(), RecordsBuf::default()];
            for (at, (n, text, v2)) in records.iter().enumerate() {
                push(&mut bufs[usize::from(at >= cut)], *n, text, *v2);
            }
            let chunk = chunk(bufs);
            let mut lines = Vec::new();
            payload(Format::JsonLines).encode(&chunk, &mut lines);
            let lines = String::from_utf8(lines).unwrap();
            prop_assert_eq!(lines.lines().count(), records.len());
            for (line, (n, ..)) in lines.lines().zip(&records) {
                let want = format!("{{\"date\":7,\"n\":{},", n & 0x7f);
                prop_assert!(line.starts_with(&want), "{}", line);
            }
            let mut packed = Vec::new();
            payload(Format::Msgpack).encode(&chunk, &mut packed);
            let back = firelane_record::Records::parse(packed.into()).unwrap();
            prop_assert_eq!(back.count() as usize, records.len());
            for (event, (_, text, _)) in back.events().zip(&records) {
                prop_assert!(event.metadata.is_some());
                let (_, last) = msgpack::pairs(event.body).last().unwrap();
                prop_assert_eq!(msgpack::text(last), Some(&text[..]));
            }
        }
    }
}
