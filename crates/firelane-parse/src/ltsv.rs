//! `format ltsv`: `label:value` separated by tabs (<http://ltsv.org>).
//!
//! A label has letters, digits, `_`, `.` and `-`; where something else stands the reading ends, and what
//! came before it counts. A time that does not fit makes the whole text unfit.

use firelane_record::{MapWriter, Timestamp};

use crate::decoders::Decoders;
use crate::time::TimeRule;
use crate::types::Types;
use crate::{Parser, Unparsed};

/// An LTSV parser.
#[derive(Debug, Default)]
pub(crate) struct Ltsv {
    pub(crate) time: Option<TimeRule>,
    pub(crate) types: Types,
    pub(crate) decoders: Decoders,
}

impl Parser for Ltsv {
    fn parse(&self, text: &[u8], out: &mut MapWriter) -> Result<Option<Timestamp>, Unparsed> {
        let mark = out.mark();
        let read = self.fields(text, out);
        self.decoders.finish(out, mark, read)
    }
}

fn is_label(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

impl Ltsv {
    fn fields(&self, text: &[u8], out: &mut MapWriter) -> Result<Option<Timestamp>, Unparsed> {
        let (mut rest, mut time) = (text, None);
        loop {
            let len = rest.iter().take_while(|byte| is_label(**byte)).count();
            let (label, behind) = rest.split_at(len);
            let Some(behind) = behind.strip_prefix(b":") else {
                return Ok(time);
            };
            let end = behind
                .iter()
                .position(|byte| matches!(byte, 0 | b'\t' | b'\n' | b'\r'));
            let (value, behind) = behind.split_at(end.unwrap_or(behind.len()));
            if !label.is_empty() {
                time = self.field(label, value, out)?.or(time);
            }
            match behind.strip_prefix(b"\t") {
                Some(next) => rest = next,
                None => return Ok(time),
            }
        }
    }

    fn field(&self, label: &[u8], value: &[u8], out: &mut MapWriter) -> Result<Option<Timestamp>, Unparsed> {
        let rule = self
            .time
            .as_ref()
            .filter(|rule| rule.key == label && !value.is_empty());
        let mut time = None;
        if let Some(rule) = rule {
            time = Some(rule.read(value).ok_or(Unparsed)?);
            if !rule.keep {
                return Ok(time);
            }
        }
        if self.types.is_empty() {
            out.str(label, value);
        } else {
            self.types.write(out, label, value);
        }
        Ok(time)
    }
}
