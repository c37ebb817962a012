//! A chunk as the bytes that `http`, `tcp` and `stdout` share: JSON in three arrangements, or MessagePack.
//!
//! Straight from the raw records into one buffer, sized by estimate; no tree of values.

use firelane_core::{BuildCx, Chunk};
use firelane_record::Event;
use firelane_record::json::{self, DateFormat, JsonOptions};

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
        let mut json = plain_json(cx);
        let off = |key: &&str| {
            ["false", "off", "no"]
                .iter()
                .any(|word| key.eq_ignore_ascii_case(word))
        };
        json.date_key = Some(key.unwrap_or("date"))
            .filter(|key| !off(key))
            .map(Into::into);
        if let Some(name) = date {
            match DateFormat::by_name(name) {
                Some(format) => json.date_format = format,
                None => warn(cx, "json_date_format", "no such format, `double` is used"),
            }
        }
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
                for (index, (_, event)) in chunk.events().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    json::write_event(out, &event, &self.json);
                }
                out.push(b']');
            }
            Format::JsonLines => {
                for (_, event) in chunk.events() {
                    json::write_event(out, &event, &self.json);
                    out.push(b'\n');
                }
            }
            Format::JsonStream => chunk
                .events()
                .for_each(|(_, event)| json::write_event(out, &event, &self.json)),
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
    JsonOptions {
        escape_unicode: cx.service.escape_unicode,
        nan_to_null: cx.service.nan_to_null,
        date_key: None,
        ..JsonOptions::default()
    }
}

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
