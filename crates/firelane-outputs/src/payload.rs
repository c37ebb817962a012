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
    /// `json_date_key` and `json_date_format` as they were written; an unknown format is warned about and read as
    /// `double`, as Fluent Bit does.
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

/// JSON without a date, by the service's rules for strings.
pub(crate) fn plain_json(cx: &BuildCx<'_>) -> JsonOptions {
    JsonOptions::new(cx.service.escape_unicode)
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
