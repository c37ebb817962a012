//! From a line to a record.
//!
//! ```text
//! plain            { PATH_KEY: path, OFFSET_KEY: offset, KEY: line }
//! parsed           { what the parser found…, PATH_KEY: path, OFFSET_KEY: offset }
//! piece of a line  { as plain…, "partial_message": "true", "partial_id": …, "partial_ordinal": "1", "partial_last": "false" }
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
