//! From a line to a record.
//!
//! ```text
//! plain            { PATH_KEY: path, OFFSET_KEY: offset, KEY: line }
//! parsed           { what the parser found…, PATH_KEY: path, OFFSET_KEY: offset }
//! piece of a line { as plain…, "partial_message": "true", "partial_id": …, "partial_ordinal": "1",
//! "partial_last": "false" }
//! ```
//! The marks of a piece are those of Docker's log driver, so what joins those joins these.

use std::sync::Arc;

use firelane_parse::Parser;
use firelane_record::{MapWriter, RecordsBuf, Timestamp, msgpack};

use super::lines::{Line, Part};
use super::positions::FileId;

/// What the records of an input look like.
pub(super) struct Form {
    /// `key`
    pub(super) key: Vec<u8>,
    /// `path_key`
    pub(super) path_key: Option<Vec<u8>>,
    /// `offset_key`
    pub(super) offset_key: Option<Vec<u8>>,
    /// `parser`
    pub(super) parser: Option<Arc<dyn Parser>>,
    /// `skip_empty_lines`
    pub(super) skip_empty: bool,
}

impl Form {
    /// The raw path pair of a file, or nothing.
    pub(super) fn path_pair(&self, path: &[u8]) -> Vec<u8> {
        let mut pair = Vec::new();
        if let Some(key) = &self.path_key {
            msgpack::write_str(&mut pair, key);
            msgpack::write_str(&mut pair, path);
        }
        pair
    }

    /// Appends the record of `line`; false where it is left out.
    #[inline]
    pub(super) fn push(
        &self,
        line: &Line<'_>,
        of: &Origin<'_>,
        map: &mut MapWriter,
        out: &mut RecordsBuf,
    ) -> bool {
        if self.skip_empty && line.text.is_empty() && line.part.is_none() {
            return false;
        }
        if let (Some(parser), None) = (&self.parser, line.part) {
            map.clear();
            if let Ok(time) = parser.parse(line.text, map) {
                let extra = u32::from(!of.path_pair.is_empty()) + u32::from(self.offset_key.is_some());
                out.push_with(time.unwrap_or(of.now), None, |out| {
                    msgpack::write_map_head(out, map.count() + extra);
                    out.extend_from_slice(map.pairs());
                    self.origin(line, of, out);
                });
                return true;
            }
        }
        out.push_with(of.now, None, |out| {
            let extra = u32::from(!of.path_pair.is_empty()) + u32::from(self.offset_key.is_some());
            let marks = if line.part.is_some() { MARKS } else { 0 };
            msgpack::write_map_head(out, 1 + extra + marks);
            self.origin(line, of, out);
            msgpack::write_str(out, &self.key);
            msgpack::write_str(out, line.text);
            if let Some(part) = line.part {
                write_marks(part, of.file, out);
            }
        });
        true
    }

    #[inline]
    fn origin(&self, line: &Line<'_>, of: &Origin<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(of.path_pair);
        if let Some(key) = &self.offset_key {
            msgpack::write_str(out, key);
            msgpack::write_uint(out, line.offset);
        }
    }
}

/// Where lines come from.
pub(super) struct Origin<'a> {
    /// The time for lines that bring none.
    pub(super) now: Timestamp,
    /// [`Form::path_pair`] of the file.
    pub(super) path_pair: &'a [u8],
    /// The file.
    pub(super) file: FileId,
}

/// Pairs that [`write_marks`] appends.
const MARKS: u32 = 4;

fn write_marks(part: Part, file: FileId, out: &mut Vec<u8>) {
    let mut pair = |key: &[u8], value: &[u8]| {
        msgpack::write_str(out, key);
        msgpack::write_str(out, value);
    };
    pair(b"partial_message", b"true");
    pair(
        b"partial_id",
        format!("{:x}-{:x}-{:x}", file.device, file.inode, part.line).as_bytes(),
    );
    pair(b"partial_ordinal", part.ordinal.to_string().as_bytes());
    pair(b"partial_last", if part.last { b"true" } else { b"false" });
}

#[cfg(test)]
mod tests {
    use firelane_parse::Unparsed;
    use firelane_record::json::JsonOptions;

    use super::*;

    /// `digits message`: the time and the rest.
    struct Dated;

    impl Parser for Dated {
        fn parse(&self, text: &[u8], out: &mut MapWriter) -> Result<Option<Timestamp>, Unparsed> {
            let text = std::str::from_utf8(text).map_err(|_| Unparsed)?;
            let (secs, message) = text.split_once(' ').ok_or(Unparsed)?;
            out.str(b"m", message.as_bytes());
            Ok(Some(Timestamp {
                secs: secs.parse().map_err(|_| Unparsed)?,
                nanos: 0,
            }))
        }
    }

    /// What `line` of a file `p` becomes: seconds and body.
    fn record(form: &Form, line: &Line<'_>) -> Option<(i64, String)> {
        let pair = form.path_pair(b"p");
        let file = FileId {
            device: 1,
            inode: 0xab,
        };
        let of = Origin {
            now: Timestamp { secs: 9, nanos: 0 },
            path_pair: &pair,
            file,
        };
        let mut out = RecordsBuf::default();
        form.push(line, &of, &mut MapWriter::new(), &mut out).then(|| {
            let records = out.take();
            let event = records.events().next().unwrap();
            let mut json = Vec::new();
            JsonOptions::default().encode_body(event.body, &mut json);
            (event.time.secs, String::from_utf8(json).unwrap())
        })
    }

    #[track_caller]
    fn check(form: &Form, line: &Line<'_>, want: Option<(i64, &str)>) {
        assert_eq!(
            record(form, line),
            want.map(|(secs, json)| (secs, json.to_owned()))
        );
    }

    fn line(text: &str) -> Line<'_> {
        Line {
            text: text.as_bytes(),
            offset: 18,
            part: None,
        }
    }

    fn plain() -> Form {
        Form {
            key: b"log".to_vec(),
            path_key: None,
            offset_key: None,
            parser: None,
            skip_empty: false,
        }
    }

    #[test]
    fn origin_stands_before_a_plain_line_and_behind_a_parsed_one() {
        check(&plain(), &line("x"), Some((9, r#"{"log":"x"}"#)));
        let keys = Form {
            path_key: Some(b"file".to_vec()),
            offset_key: Some(b"off".to_vec()),
            ..plain()
        };
        check(&keys, &line("x"), Some((9, r#"{"file":"p","off":18,"log":"x"}"#)));
        let parsed = Form {
            parser: Some(Arc::new(Dated)),
            ..keys
        };
        check(
            &parsed,
            &line("7 hello"),
            Some((7, r#"{"m":"hello","file":"p","off":18}"#)),
        );
        check(
            &parsed,
            &line("broken"),
            Some((9, r#"{"file":"p","off":18,"log":"broken"}"#)),
        );
    }

    #[test]
    fn empty_lines_are_skipped_when_asked() {
        check(&plain(), &line(""), Some((9, r#"{"log":""}"#)));
        check(
            &Form {
                skip_empty: true,
                ..plain()
            },
            &line(""),
            None,
        );
    }

    #[test]
    fn a_piece_is_marked_as_docker_does() {
        let part = Some(Part {
            line: 16,
            ordinal: 2,
            last: true,
        });
        let want = concat!(
            r#"{"log":"x","partial_message":"true","partial_id":"1-ab-10","#,
            r#""partial_ordinal":"2","partial_last":"true"}"#
        );
        check(&plain(), &Line { part, ..line("x") }, Some((9, want)));
    }
}
