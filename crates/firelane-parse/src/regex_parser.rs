//! `format regex`: the named groups of a pattern.
//!
//! The pattern must match somewhere and have at least one group. Empty groups, and those that took no
//! part, are left out (`skip_empty_values off`: those that took part are kept). A time that does not fit
//! is left out; the rest stays.

use std::cell::RefCell;

use firelane_record::{MapWriter, Timestamp};

use crate::decoders::Decoders;
use crate::regex::{Regex, Slots};
use crate::time::TimeRule;
use crate::types::Types;
use crate::{Parser, Unparsed};

/// A parser by a regular expression.
#[derive(Debug)]
pub(crate) struct RegexParser {
    pub(crate) regex: Regex,
    pub(crate) skip_empty: bool,
    pub(crate) time: Option<TimeRule>,
    pub(crate) types: Types,
    pub(crate) decoders: Decoders,
}

thread_local! {
    /// One set per thread, not one per record.
    static SLOTS: RefCell<Slots> = RefCell::default();
}

impl Parser for RegexParser {
    fn parse(&self, text: &[u8], out: &mut MapWriter) -> Result<Option<Timestamp>, Unparsed> {
        // Group 0 is the whole match.
        if self.regex.groups() < 2 {
            return Err(Unparsed);
        }
        let mark = out.mark();
        let time = SLOTS.with_borrow_mut(|slots| {
            if !self.regex.captures(text, slots) {
                return Err(Unparsed);
            }
            Ok(self.fields(text, slots, out))
        })?;
        if !self.decoders.is_empty() {
            self.decoders.run(out, mark);
        }
        Ok(time)
    }
}

impl RegexParser {
    fn fields(&self, text: &[u8], slots: &Slots, out: &mut MapWriter) -> Option<Timestamp> {
        let mut time = None;
        for (name, group) in self.regex.names() {
            let value = slots.get(*group).and_then(|(start, end)| text.get(start..end));
            let value = value.unwrap_or_default();
            if value.is_empty() && self.skip_empty {
                continue;
            }
            let rule = self.time.as_ref().filter(|rule| rule.key == name.as_bytes());
            if let Some(rule) = rule {
                let read = rule.read(value);
                time = read.or(time);
                if read.is_none() || !rule.keep {
                    continue;
                }
            }
            if self.types.is_empty() {
                out.str(name.as_bytes(), value);
            } else {
                self.types.write(out, name.as_bytes(), value);
            }
        }
        time
    }
}
