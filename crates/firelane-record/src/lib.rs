//! One log event as bytes.
//!
//! An event is `[time, map]` or `[[time, metadata], map]` in MessagePack. It is checked once, when it
//! arrives ([`Records::parse`]), and stays raw bytes from then on: iterating, editing ([`Draft`]) and
//! encoding to JSON work on slices, and cannot fail. Strings are bytes: logs are not always UTF-8.
//!
//! Not here: sockets, clocks, threads, allocation per record.

pub mod accessor;
pub mod draft;
#[doc(hidden)]
pub mod fuzz;
pub mod json;
pub mod map;
pub mod msgpack;
pub mod pattern;
pub mod records;
pub mod set;
pub mod strftime;
pub mod tag;
pub mod text;
pub mod time;

pub use draft::{Draft, Scratch};
pub use map::MapWriter;
pub use pattern::Match;
pub use records::{Event, Records, RecordsBuf, RecordsError, Shape};
pub use strftime::{Fractions, TimeFormat};
pub use tag::{Tag, TagError};
pub use time::Timestamp;
