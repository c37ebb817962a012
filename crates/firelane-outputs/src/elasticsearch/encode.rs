//! Requests of a chunk. Pure, but for the clock of `current_time_index`.

use std::time::SystemTime;

use firelane_core::{Chunk, HttpRequest};
use firelane_record::accessor::{Accessor, Template};
use firelane_record::json::JsonOptions;
use firelane_record::set::RecordSet;
use firelane_record::{Event, Tag, TimeFormat, Timestamp, msgpack};
use sha2::{Digest, Sha256};

use crate::squeeze::Squeeze;

/// Longest prefix that a record may give.
const PREFIX_MAX: usize = 128;
/// Longest id that Elasticsearch takes, in bytes.
const ID_MAX: usize = 512;

/// What is done with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Index,
    Update,
    Upsert,
}

/// Where the name of the index comes from.
pub(super) enum Index {
    /// A `strftime` pattern of the current time.
    Pattern(TimeFormat),
    /// A record accessor template; the plain text where a part is missing.
    Template(Template, String),
    /// `logstash_format`.
    Logstash {
        prefix: String,
        key: Option<Accessor>,
        separator: String,
        date: TimeFormat,
        /// Of the current time instead of the event's.
        now: bool,
    },
}

/// Where the id of a document comes from.
pub(super) enum Id {
    None,
    /// A hash of the document.
    Hash {
        upper: bool,
    },
    /// A value of the record.
    Key(Accessor),
}

/// Turns chunks into requests.
pub(super) struct Encoder {
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) operation: Operation,
    pub(super) index: Index,
    /// `_type`, unless suppressed.
    pub(super) kind: Option<String>,
    pub(super) id: Id,
    pub(super) time_key: String,
    pub(super) time_format: TimeFormat,
    pub(super) time_nanos: bool,
    pub(super) tag_key: Option<String>,
    pub(super) replace_dots: bool,
    pub(super) json: JsonOptions,
    pub(super) squeeze: Option<Squeeze>,
}

/// Buffers of one chunk.
#[derive(Default)]
struct Scratch {
    index: Vec<u8>,
    /// A document whose hash stands before it.
    document: Vec<u8>,
    map: Vec<u8>,
    /// The time as it stands in a document, and whose it is: many records of a chunk share it.
    lead: Vec<u8>,
    lead_of: Option<Timestamp>,
}

impl Encoder {
    pub(super) fn requests(&self, chunk: &Chunk) -> Vec<HttpRequest> {
        self.requests_at(chunk, Timestamp::from_system(SystemTime::now()))
    }

    fn requests_at(&self, chunk: &Chunk, now: Timestamp) -> Vec<HttpRequest> {
        let mut covers = RecordSet::none();
        let mut write = |out: &mut Vec<u8>| {
            out.reserve(chunk.bytes() + chunk.bytes() / 4 + chunk.records() as usize * 128);
            let mut scratch = Scratch::default();
            for (at, (tag, event)) in (0..).zip(chunk.events()) {
                if event.time.is_group_marker() {
                    continue;
                }
                if self.document(tag, &event, now, &mut scratch, out) {
                    covers.insert_range(at..at + 1);
                }
            }
        };
        let (body, coding) = match &self.squeeze {
            Some(squeeze) => squeeze.body(&mut write),
            None => {
                let mut body = Vec::new();
                write(&mut body);
                (body.into(), None)
            }
        };
        if covers.count(chunk.records()) == 0 {
            return Vec::new();
        }
        let mut headers = self.headers.clone();
        headers.extend(coding.map(|coding| ("Content-Encoding".to_owned(), coding.name().to_owned())));
        vec![HttpRequest {
            method: "POST",
            target: self.target.clone(),
            headers,
            body,
            covers,
            units: Vec::new(),
        }]
    }

    /// Appends one record; not where it has no id and the operation needs one.
    fn document(
        &self,
        tag: &Tag,
        event: &Event<'_>,
        now: Timestamp,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> bool {
        let from = out.len();
        let is_hashed = matches!(self.id, Id::Hash { .. });
        if is_hashed {
            let mut document = std::mem::take(&mut scratch.document);
            document.clear();
            self.write_document(tag, event, scratch, &mut document);
            scratch.document = document;
        }
        out.extend_from_slice(self.operation.opening());
        self.write_index(tag, event, now, scratch);
        self.json.encode_str(&scratch.index, out);
        if let Some(kind) = &self.kind {
            out.extend_from_slice(b",\"_type\":");
            self.json.encode_str(kind.as_bytes(), out);
        }
        let has_id = self.write_id(event, &scratch.document, out);
        if !has_id && matches!(self.operation, Operation::Update | Operation::Upsert) {
            out.truncate(from);
            return false;
        }
        out.extend_from_slice(b"}}\n");
        let (before, after) = self.operation.wrapper();
        out.extend_from_slice(before);
        if is_hashed {
            out.extend_from_slice(&scratch.document);
        } else {
            self.write_document(tag, event, scratch, out);
        }
        out.extend_from_slice(after);
        out.push(b'\n');
        true
    }

    /// Appends time, tag, record.
    fn write_document(&self, tag: &Tag, event: &Event<'_>, scratch: &mut Scratch, out: &mut Vec<u8>) {
        let body = if self.replace_dots {
            scratch.map.clear();
            undotted(event.body, &mut scratch.map);
            &scratch.map[..]
        } else {
            event.body
        };
        let from = out.len();
        if !has_key(body, &self.time_key) {
            if scratch.lead_of != Some(event.time) {
                scratch.lead.clear();
                self.write_time(event.time, &mut scratch.lead);
                scratch.lead_of = Some(event.time);
            }
            out.push(b'{');
            out.extend_from_slice(&scratch.lead);
        }
        if let Some(key) = self.tag_key.as_ref().filter(|key| !has_key(body, key)) {
            out.push(if out.len() == from { b'{' } else { b',' });
            self.json.encode_str(key.as_bytes(), out);
            out.push(b':');
            self.json.encode_str(tag.as_bytes(), out);
        }
        let start = out.len();
        self.json.encode_body(body, out);
        if start == from {
            return;
        }
        // The record's own pairs follow: its brace becomes the comma before them.
        match &out[start..] {
            b"{}" => {
                out.truncate(start);
                out.push(b'}');
            }
            _ => out[start] = b',',
        }
    }

    fn write_time(&self, time: Timestamp, out: &mut Vec<u8>) {
        let mut text = Vec::new();
        self.time_format.write(&mut text, time);
        let fraction = if self.time_nanos {
            format!(".{:09}Z", time.nanos)
        } else {
            format!(".{:03}Z", time.nanos / 1_000_000)
        };
        text.extend_from_slice(fraction.as_bytes());
        self.json.encode_str(self.time_key.as_bytes(), out);
        out.push(b':');
        self.json.encode_str(&text, out);
    }

    fn write_index(&self, tag: &Tag, event: &Event<'_>, now: Timestamp, scratch: &mut Scratch) {
        let out = &mut scratch.index;
        out.clear();
        match &self.index {
            Index::Pattern(format) => format.write(out, now),
            Index::Template(template, fallback) => {
                if !template.render(tag, event, &[], out) {
                    out.clear();
                    out.extend_from_slice(fallback.as_bytes());
                }
            }
            Index::Logstash {
                prefix,
                key,
                separator,
                date,
                now: of_now,
            } => {
                let own = key.as_ref().and_then(|key| key.lookup_str(event));
                match own.filter(|own| !own.is_empty()) {
                    Some(own) => out.extend_from_slice(own.get(..PREFIX_MAX).unwrap_or(own)),
                    None => out.extend_from_slice(prefix.as_bytes()),
                }
                out.extend_from_slice(separator.as_bytes());
                date.write(out, if *of_now { now } else { event.time });
            }
        }
    }

    fn write_id(&self, event: &Event<'_>, document: &[u8], out: &mut Vec<u8>) -> bool {
        let from = out.len();
        out.extend_from_slice(b",\"_id\":");
        match &self.id {
            Id::None => {}
            Id::Hash { upper } => {
                out.push(b'"');
                hash(document, *upper, out);
                out.push(b'"');
                return true;
            }
            Id::Key(accessor) => {
                let text = accessor.lookup(event).and_then(msgpack::text);
                if let Some(text) = text.filter(|text| !text.is_empty() && text.len() <= ID_MAX) {
                    self.json.encode_str(text, out);
                    return true;
                }
            }
        }
        out.truncate(from);
        false
    }
}

impl Operation {
    fn opening(self) -> &'static [u8] {
        match self {
            Self::Create => b"{\"create\":{\"_index\":",
            Self::Index => b"{\"index\":{\"_index\":",
            Self::Update | Self::Upsert => b"{\"update\":{\"_index\":",
        }
    }

    fn wrapper(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Self::Create | Self::Index => (b"", b""),
            Self::Update => (b"{\"doc\":", b"}"),
            Self::Upsert => (b"{\"doc_as_upsert\":true,\"doc\":", b"}"),
        }
    }
}

/// 128 bits of SHA-256, as a UUID prints.
fn hash(document: &[u8], upper: bool, out: &mut Vec<u8>) {
    let digits = if upper {
        b"0123456789ABCDEF"
    } else {
        b"0123456789abcdef"
    };
    for (at, byte) in Sha256::digest(document).iter().take(16).enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.push(digits[usize::from(byte >> 4)]);
        out.push(digits[usize::from(byte & 15)]);
    }
}

fn has_key(map: &[u8], key: &str) -> bool {
    msgpack::pairs(map).any(|(raw, _)| msgpack::text(raw) == Some(key.as_bytes()))
}

/// Copies a map with `_` for each `.` in its keys, at all depths.
fn undotted(map: &[u8], out: &mut Vec<u8>) {
    let mut reader = msgpack::Reader::new(map);
    copy_value(&mut reader, out, 0);
}

/// Deeper values are copied as they are; records are never as deep.
const DEPTH_MAX: usize = 64;

fn copy_value(reader: &mut msgpack::Reader<'_>, out: &mut Vec<u8>, depth: usize) {
    let at = *reader;
    let count = match reader.token() {
        Some(msgpack::Token::Map(count)) if depth < DEPTH_MAX => {
            msgpack::write_map_head(out, count);
            count
        }
        Some(msgpack::Token::Array(count)) if depth < DEPTH_MAX => {
            msgpack::write_array_head(out, count);
            for _ in 0..count {
                copy_value(reader, out, depth + 1);
            }
            return;
        }
        _ => {
            *reader = at;
            return out.extend_from_slice(reader.value().unwrap_or(&[0xc0]));
        }
    };
    for _ in 0..count {
        let key = reader.value().unwrap_or(&[0xc0]);
        match msgpack::text(key) {
            Some(text) if text.contains(&b'.') => {
                let text: Vec<u8> = text.iter().map(|&b| if b == b'.' { b'_' } else { b }).collect();
                msgpack::write_str(out, &text);
            }
            _ => out.extend_from_slice(key),
        }
        copy_value(reader, out, depth + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firelane_core::Part;
    use firelane_record::{Fractions, MapWriter, RecordsBuf};

    fn encoder() -> Encoder {
        Encoder {
            target: "/_bulk".to_owned(),
            headers: Vec::new(),
            operation: Operation::Create,
            index: Index::Pattern(TimeFormat::new("logs-%Y", Fractions::None)),
            kind: None,
            id: Id::None,
            time_key: "@timestamp".to_owned(),
            time_format: TimeFormat::new("%Y-%m-%dT%H:%M:%S", Fractions::None),
            time_nanos: false,
            tag_key: None,
            replace_dots: false,
            json: JsonOptions::new(false),
            squeeze: None,
        }
    }

    /// Records of strings, and one marker of a group before them.
    fn chunk(records: &[&[(&str, &str)]]) -> Chunk {
        let mut buf = RecordsBuf::default();
        for pairs in records {
            let mut map = MapWriter::new();
            for (key, value) in *pairs {
                map.str(key.as_bytes(), value.as_bytes());
            }
            let time = Timestamp {
                secs: 1_709_618_828,
                nanos: 123_456_789,
            };
            buf.push_with(time, None, |out| map.write(out));
        }
        Chunk::new(vec![Part {
            tag: Tag::new("app").unwrap(),
            records: buf.take(),
        }])
    }

    #[track_caller]
    fn check(encoder: &Encoder, records: &[&[(&str, &str)]], want: &str) -> RecordSet {
        let now = Timestamp {
            secs: 1_800_000_000,
            nanos: 0,
        };
        let requests = encoder.requests_at(&chunk(records), now);
        let text = requests.first().map_or_else(String::new, |request| {
            String::from_utf8_lossy(&request.body).into_owned()
        });
        assert_eq!(text, want);
        requests
            .first()
            .map_or_else(RecordSet::none, |request| request.covers.clone())
    }

    #[test]
    fn an_action_and_a_document_each() {
        let want = "{\"create\":{\"_index\":\"logs-2027\"}}\n\
                    {\"@timestamp\":\"2024-03-05T06:07:08.123Z\",\"log\":\"a\"}\n\
                    {\"create\":{\"_index\":\"logs-2027\"}}\n\
                    {\"@timestamp\":\"2024-03-05T06:07:08.123Z\"}\n";
        check(&encoder(), &[&[("log", "a")], &[]], want);
    }

    #[test]
    fn the_records_own_keys_win() {
        let own = Encoder {
            tag_key: Some("tag".to_owned()),
            ..encoder()
        };
        let want = "{\"create\":{\"_index\":\"logs-2027\"}}\n{\"@timestamp\":\"mine\",\"tag\":\"x\"}\n";
        check(&own, &[&[("@timestamp", "mine"), ("tag", "x")]], want);
        let want = "{\"create\":{\"_index\":\"logs-2027\"}}\n\
                    {\"@timestamp\":\"2024-03-05T06:07:08.123Z\",\"tag\":\"app\",\"a\":\"b\"}\n";
        check(&own, &[&[("a", "b")]], want);
    }

    #[test]
    fn names_of_indexes() {
        let logstash = |key: Option<&str>| Encoder {
            index: Index::Logstash {
                prefix: "pre".to_owned(),
                key: key.map(Accessor::key),
                separator: "-".to_owned(),
                date: TimeFormat::new("%Y.%m.%d", Fractions::None),
                now: false,
            },
            ..encoder()
        };
        let line = |index: &str, rest: &str| {
            format!(
                "{{\"create\":{{\"_index\":\"{index}\"}}}}\n{{\"@timestamp\":\"2024-03-05T06:07:08.123Z\"{rest}}}\n"
            )
        };
        check(&logstash(None), &[&[]], &line("pre-2024.03.05", ""));
        check(
            &logstash(Some("app")),
            &[&[("app", "web")]],
            &line("web-2024.03.05", ",\"app\":\"web\""),
        );
        check(&logstash(Some("app")), &[&[]], &line("pre-2024.03.05", ""));
        let template = Encoder {
            index: Index::Template(Template::parse("x-$app").unwrap(), "plain".to_owned()),
            ..encoder()
        };
        check(
            &template,
            &[&[("app", "web")]],
            &line("x-web", ",\"app\":\"web\""),
        );
        check(&template, &[&[]], &line("plain", ""));
    }

    #[test]
    fn an_update_needs_an_id() {
        let update = Encoder {
            operation: Operation::Upsert,
            id: Id::Key(Accessor::key("id")),
            kind: Some("_doc".to_owned()),
            ..encoder()
        };
        let want = "{\"update\":{\"_index\":\"logs-2027\",\"_type\":\"_doc\",\"_id\":\"7\"}}\n\
                    {\"doc_as_upsert\":true,\"doc\":{\"@timestamp\":\"2024-03-05T06:07:08.123Z\",\"id\":\"7\"}}\n";
        let covers = check(&update, &[&[("id", "7")], &[("log", "no id")]], want);
        assert_eq!(covers.count(2), 1);
        assert!(check(&update, &[&[("log", "no id")]], "").is_none());
    }

    #[test]
    fn ids_are_made_of_the_document() {
        let id = |encoder: &Encoder, text| {
            let requests = encoder.requests_at(&chunk(&[&[("log", text)]]), Timestamp::default());
            let body = String::from_utf8_lossy(&requests[0].body).into_owned();
            let (_, rest) = body.split_once("\"_id\":\"").unwrap();
            rest.split_once('"').unwrap().0.to_owned()
        };
        let lower = Encoder {
            id: Id::Hash { upper: false },
            ..encoder()
        };
        let upper = Encoder {
            id: Id::Hash { upper: true },
            ..encoder()
        };
        assert_eq!(id(&lower, "a"), id(&lower, "a"));
        assert_ne!(id(&lower, "a"), id(&lower, "b"));
        assert_eq!(id(&lower, "a").to_uppercase(), id(&upper, "a"));
        assert_eq!(id(&lower, "a").len(), 36);
    }

    #[test]
    fn dots_in_keys_are_replaced_at_all_depths() {
        let mut inner = Vec::new();
        MapWriter::new().write(&mut inner);
        let mut deep = MapWriter::new();
        deep.str(b"b.c", b"v.v");
        let mut raw = Vec::new();
        deep.write(&mut raw);
        let mut map = MapWriter::new();
        map.raw(b"a.x", &raw);
        map.raw(b"l", &[0x91, 0x81, 0xa2, b'.', b'k', 1]);
        let mut raw = Vec::new();
        map.write(&mut raw);
        let mut out = Vec::new();
        undotted(&raw, &mut out);
        let mut json = Vec::new();
        JsonOptions::new(false).encode_body(&out, &mut json);
        assert_eq!(
            String::from_utf8_lossy(&json),
            r#"{"a_x":{"b_c":"v.v"},"l":[{"_k":1}]}"#
        );
    }
}
