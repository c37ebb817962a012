//! JSON: MessagePack to JSON text as Fluent Bit prints it, and JSON text to MessagePack.
//!
//! Printing rules: nothing is sorted; of repeated keys the last one is written, at its place, so a record's
//! own `date` beats the injected one. Integers are exact; doubles are `%.16g`, whole ones `%.1f`. With
//! `json.escape_unicode` (default) all that is not ASCII is `\uxxxx`. Where Fluent Bit prints invalid JSON we
//! do not: `nan` and `inf` are `null` (unless `json.convert_nan_to_null off` is written), extensions are hex
//! text, keys that are no strings are quoted.
//!
//! The [`Lexer`] is the one JSON lexer of the workspace; [`Scanner`] finds the ends of values in a growing
//! buffer.

pub(crate) mod date;
mod encode;
mod escape;
mod lex;
pub(crate) mod number;
mod read;
mod scan;

pub use date::DateFormat;
pub use encode::JsonOptions;
pub(crate) use encode::hex;
pub use lex::{JsonError, JsonErrorKind, Lexer, Number, RawString, Token};
pub use read::{DEPTH_MAX, object_to_map, to_msgpack};
pub use scan::{Scan, Scanner};
