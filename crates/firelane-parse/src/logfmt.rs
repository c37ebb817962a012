//! `format logfmt`: `key=value key="quoted value" bare` (<https://brandur.org/logfmt>).
//!
//! A bare key is true, and so is one without value (`k=`); `k=""` is an empty text. Escapes in quotes are
//! resolved, but with `types` values stay as they are and bare keys are empty texts. The reading ends
//! with the line. A time that does not fit makes the whole text unfit.

use firelane_record::{MapWriter, Timestamp, msgpack};

use crate::decoders::Decoders;
use crate::escapes;
use crate::time::TimeRule;
use crate::types::Types;
use crate::{Parser, Unparsed};

/// A logfmt parser.
#[derive(Debug, Default)]
pub(crate) struct Logfmt {
    pub(crate) time: Option<TimeRule>,
    pub(crate) types: Types,
    pub(crate) decoders: Decoders,
    /// A bare key makes the text unfit.
    pub(crate) no_bare_keys: bool,
}

impl Parser for Logfmt {
    fn parse(&self, text: &[u8], out: &mut MapWriter) -> Result<Option<Timestamp>, Unparsed> {
        let mark = out.mark();
        let read = self.fields(text, out);
        self.decoders.finish(out, mark, read)
    }
}

/// A value as it stands in the text.
enum Value<'t> {
    /// No `=` behind the key.
    Bare,
    Plain(&'t [u8]),
    Quoted {
        raw: &'t [u8],
        escaped: bool,
    },
}

fn is_ident(byte: u8) -> bool {
    byte > b' ' && byte != b'=' && byte != b'"'
}

fn ident(text: &[u8]) -> (&[u8], &[u8]) {
    let len = text.iter().take_while(|byte| is_ident(**byte)).count();
    text.split_at(len)
}

impl Logfmt {
    fn fields(&self, text: &[u8], out: &mut MapWriter) -> Result<Option<Timestamp>, Unparsed> {
        let (mut rest, mut time) = (text, None);
        loop {
            let start = rest.iter().position(|byte| is_ident(*byte));
            let Some(start) = start else { return Ok(time) };
            let (key, behind) = ident(&rest[start..]);
            let (value, behind) = value(behind);
            time = self.field(key, &value, out)?.or(time);
            if matches!(behind.first(), Some(b'\r' | b'\n')) {
                return Ok(time);
            }
            rest = behind;
        }
    }

    fn field(
        &self,
        key: &[u8],
        value: &Value<'_>,
        out: &mut MapWriter,
    ) -> Result<Option<Timestamp>, Unparsed> {
        let raw = match value {
            Value::Bare if self.no_bare_keys => return Err(Unparsed),
            Value::Bare => &[],
            Value::Plain(raw) | Value::Quoted { raw, .. } => *raw,
        };
        let rule = self
            .time
            .as_ref()
            .filter(|rule| rule.key == key && !raw.is_empty());
        let mut time = None;
        if let Some(rule) = rule {
            time = Some(rule.read(raw).ok_or(Unparsed)?);
            if !rule.keep {
                return Ok(time);
            }
        }
        if !self.types.is_empty() {
            self.types.write(out, key, raw);
            return Ok(time);
        }
        match value {
            Value::Bare | Value::Plain([]) => msgpack::write_bool(out.key(key), true),
            Value::Quoted { raw, escaped: true } => {
                let mut text = Vec::with_capacity(raw.len());
                escapes::escaped_utf8(raw, &mut text);
                out.str(key, &text);
            }
            Value::Plain(raw) | Value::Quoted { raw, .. } => out.str(key, raw),
        }
        Ok(time)
    }
}

/// The value at the start of `text`, if an `=` stands there, and what is behind it.
fn value(text: &[u8]) -> (Value<'_>, &[u8]) {
    let Some(text) = text.strip_prefix(b"=") else {
        return (Value::Bare, text);
    };
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let (value, behind) = ident(text);
        return (Value::Plain(value), behind);
    };
    let (mut at, mut escaped) = (0, false);
    while let Some(hit) = memchr::memchr2(b'"', b'\\', quoted.get(at..).unwrap_or_default()) {
        at += hit;
        if quoted[at] == b'"' {
            let raw = &quoted[..at];
            return (Value::Quoted { raw, escaped }, &quoted[at + 1..]);
        }
        escaped = true;
        at += 2;
    }
    (Value::Quoted { raw: quoted, escaped }, &[])
}
