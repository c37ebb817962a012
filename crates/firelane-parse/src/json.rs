//! `format json`: one object per text.
//!
//! Blanks before it and text behind it are accepted; a second JSON value is not. The time is looked up
//! after the decoders ran; a time that does not fit stays where it is.

use firelane_record::json::{object_to_map, to_msgpack};
use firelane_record::{MapWriter, Timestamp, msgpack};

use crate::decoders::Decoders;
use crate::time::TimeRule;
use crate::{Parser, Unparsed};

/// A JSON parser.
#[derive(Debug, Default)]
pub(crate) struct Json {
    pub(crate) time: Option<TimeRule>,
    pub(crate) decoders: Decoders,
}

impl Parser for Json {
    fn parse(&self, text: &[u8], out: &mut MapWriter) -> Result<Option<Timestamp>, Unparsed> {
        let mark = out.mark();
        let end = object_to_map(text, out).map_err(|_| Unparsed)?;
        let rest = text.get(end..).unwrap_or_default().trim_ascii();
        if !rest.is_empty() && to_msgpack(rest, &mut Vec::new()).is_ok() {
            out.rewind(mark);
            return Err(Unparsed);
        }
        if !self.decoders.is_empty() {
            self.decoders.run(out, mark);
        }
        Ok(self.time.as_ref().and_then(|rule| take_time(rule, out, mark)))
    }
}

/// Reads the time in the first field of its name, and takes that away unless it is kept.
fn take_time(rule: &TimeRule, out: &mut MapWriter, mark: (usize, u32)) -> Option<Timestamp> {
    let pairs = &out.pairs()[mark.0..];
    let mut at = mark.0;
    for (key, value) in msgpack::bare_pairs(pairs, out.count() - mark.1) {
        let len = key.len() + value.len();
        if msgpack::str_bytes(key) == Some(&rule.key) {
            let time = rule.read(msgpack::str_bytes(value)?)?;
            if !rule.keep {
                out.remove_pair(at..at + len);
            }
            return Some(time);
        }
        at += len;
    }
    None
}
