//! Text of a log line to a map: parsers, and the regular expressions that filters and parsers share.
//!
//! A [`Parser`] writes pairs into a [`MapWriter`] and may give the time of the event; text that it does not
//! fit leaves the map untouched. Regular expressions are Fluent Bit's dialect (Onigmo, Ruby syntax). Not
//! here: joining lines, clocks (the present is an argument), I/O.

pub mod regex;

mod json;
mod logfmt;
mod ltsv;
mod regex_parser;

pub mod timefmt;

mod decoders;
mod escapes;
mod time;
mod types;
mod zones;

pub mod config;
pub mod registry;

mod builtin;

pub mod fuzz;

pub use regex::{Regex, RegexError};
pub use registry::Parsers;

use firelane_record::{MapWriter, Timestamp};

/// Tells the present.
pub type Clock = fn() -> Timestamp;

/// Reads the text of one line.
pub trait Parser: Send + Sync {
    /// Appends the pairs of `text` to `out` and gives its time, if it holds one.
    ///
    /// # Errors
    /// [`Unparsed`] where the text is not of this form; `out` is then as it was.
    fn parse(&self, text: &[u8], out: &mut MapWriter) -> Result<Option<Timestamp>, Unparsed>;
}

/// The text is not of the parser's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text is not of the parser's form")]
pub struct Unparsed;

#[cfg(test)]
mod tests;
