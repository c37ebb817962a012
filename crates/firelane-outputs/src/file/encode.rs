//! A chunk as the lines of a file. Pure.

use std::io::Write as _;

use firelane_core::Chunk;
use firelane_record::json::JsonOptions;
use firelane_record::msgpack::{self, Token};
use firelane_record::{Event, Tag, text};

use crate::payload::logs;

/// How a record becomes a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// `tag: [secs.nanos, {json}]`
    Default,
    /// `{json}`
    Plain,
    /// `secs.nanos,value,value`; the names of the first record in front of a new file where `names`.
    Csv { delimiter: Vec<u8>, names: bool },
    /// `"time":secs<TAB>"key":value`
    Ltsv { delimiter: Vec<u8>, label: Vec<u8> },
    /// `[[time, metadata], record]` behind each other, no newlines.
    Msgpack,
    /// Text with `{key}` in it.
    Template(Vec<Piece>),
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Vec<u8>),
    /// `{time}`
    Time,
    /// `{key}`
    Key(Vec<u8>),
}

/// Splits a template; braces without a partner are text.
pub(super) fn pieces(template: &str) -> Vec<Piece> {
    let mut list = Vec::new();
    let mut rest = template;
    while let Some((before, (key, after))) = rest
        .split_once('{')
        .and_then(|(before, inside)| Some((before, inside.split_once('}')?)))
    {
        if !before.is_empty() {
            list.push(Piece::Text(before.into()));
        }
        list.push(match key {
            "time" => Piece::Time,
            key => Piece::Key(key.into()),
        });
        rest = after;
    }
    if !rest.is_empty() {
        list.push(Piece::Text(rest.into()));
    }
    list
}

/// Turns chunks into lines.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) form: Form,
    pub(super) json: JsonOptions,
}

impl Lines {
    /// Appends all records; calls `end` behind each, which may take from `out` what is there. `is_new`:
    /// the file is empty.
    ///
    /// # Errors
    /// The first of `end`.
    pub(super) fn encode<E>(
        &self,
        chunk: &Chunk,
        is_new: bool,
        out: &mut Vec<u8>,
        mut end: impl FnMut(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Form::Csv {
            delimiter,
            names: true,
        } = &self.form
            && is_new
            && let Some(first) = logs(chunk).next()
        {
            out.extend_from_slice(b"timestamp");
            for (key, _) in msgpack::pairs(first.event.body) {
                out.extend_from_slice(delimiter);
                text::write_value(out, key);
            }
            out.push(b'\n');
        }
        for (tag, event) in chunk.events() {
            if !event.time.is_group_marker() || self.form == Form::Msgpack {
                self.line(tag, &event, out);
            }
            end(out)?;
        }
        Ok(())
    }

    fn line(&self, tag: &Tag, event: &Event<'_>, out: &mut Vec<u8>) {
        match &self.form {
            Form::Default => {
                out.extend_from_slice(tag.as_bytes());
                out.extend_from_slice(b": [");
                seconds(event, out);
                out.extend_from_slice(b", ");
                self.json.encode_body(event.body, out);
                out.extend_from_slice(b"]\n");
            }
            Form::Plain => {
                self.json.encode_body(event.body, out);
                out.push(b'\n');
            }
            Form::Csv { delimiter, .. } => {
                seconds(event, out);
                for (_, value) in msgpack::pairs(event.body) {
                    out.extend_from_slice(delimiter);
                    text::write_value(out, value);
                }
                out.push(b'\n');
            }
            Form::Ltsv { delimiter, label } => {
                out.extend_from_slice(b"\"time\"");
                out.extend_from_slice(label);
                double(event, out);
                for (key, value) in msgpack::pairs(event.body) {
                    out.extend_from_slice(delimiter);
                    text::write_value(out, key);
                    out.extend_from_slice(label);
                    text::write_value(out, value);
                }
                out.push(b'\n');
            }
            Form::Msgpack => crate::payload::write_v2(event, out),
            Form::Template(pieces) => {
                pieces.iter().for_each(|piece| fill(piece, event, out));
                out.push(b'\n');
            }
        }
    }
}

fn fill(piece: &Piece, event: &Event<'_>, out: &mut Vec<u8>) {
    match piece {
        Piece::Text(text) => out.extend_from_slice(text),
        Piece::Time => double(event, out),
        Piece::Key(key) => {
            let is_it = |(name, value)| (msgpack::text(name) == Some(key)).then_some(value);
            match msgpack::pairs(event.body).filter_map(is_it).last() {
                Some(value) => match msgpack::read(value) {
                    Some((Token::Str(text) | Token::Bin(text), _)) => out.extend_from_slice(text),
                    _ => text::write_value(out, value),
                },
                None => {
                    out.push(b'{');
                    out.extend_from_slice(key);
                    out.push(b'}');
                }
            }
        }
    }
}

/// `secs.nanos`
pub(crate) fn seconds(event: &Event<'_>, out: &mut Vec<u8>) {
    event.time.write_text(out);
}

/// As C's `%f` prints the seconds.
fn double(event: &Event<'_>, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{:.6}", event.time.to_f64());
}
