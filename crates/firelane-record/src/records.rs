//! A checked run of events of one tag, as raw bytes.
//!
//! `records = event*`, `event = [time, body] | [[time, metadata], body]`, time as in
//! [`Timestamp::from_token`], metadata and body maps. Bytes are never rewritten on arrival:
//! [`Records::events`] gives the parts of either shape, and an output that needs one shape rewrites only the
//! others.

use bytes::Bytes;

use crate::msgpack::{self, Fault, Reader, Token};
use crate::time::Timestamp;

/// Which forms of event a run holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// All `[time, body]`.
    V1,
    /// All `[[time, metadata], body]`.
    V2,
    /// Both.
    Mixed,
}

impl Shape {
    fn join(self, other: Self) -> Self {
        if self == other { self } else { Self::Mixed }
    }
}

/// Why bytes are not a run of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordsError {
    /// Not MessagePack, or cut short.
    #[error("entry {index}: {fault}")]
    Msgpack {
        /// Index of the entry, from 0.
        index: u32,
        /// What is wrong.
        fault: Fault,
    },
    /// Not an array of two.
    #[error("entry {index} is not an array of time and record")]
    NotAnEntry {
        /// Index of the entry, from 0.
        index: u32,
    },
    /// The time is of a type, ext or nanosecond value that is none.
    #[error("entry {index} has no valid time")]
    Time {
        /// Index of the entry, from 0.
        index: u32,
    },
    /// The metadata is not a map.
    #[error("entry {index} has metadata that are not a map")]
    Metadata {
        /// Index of the entry, from 0.
        index: u32,
    },
    /// The record is not a map.
    #[error("entry {index} has a record that is not a map")]
    Record {
        /// Index of the entry, from 0.
        index: u32,
    },
}

/// Checked events. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    bytes: Bytes,
    count: u32,
    shape: Shape,
    groups: bool,
}

/// One event of a run, as slices of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// When it happened.
    pub time: Timestamp,
    /// Raw metadata map; `None` in the `[time, body]` shape.
    pub metadata: Option<&'a [u8]>,
    /// Raw body map.
    pub body: &'a [u8],
    /// The whole entry.
    pub raw: &'a [u8],
}

impl<'a> Event<'a> {
    /// The raw metadata map if it holds anything.
    pub fn metadata_filled(&self) -> Option<&'a [u8]> {
        self.metadata
            .filter(|raw| !matches!(msgpack::read(raw), Some((Token::Map(0), _))))
    }
}

/// Reads and checks the entry at `at`: the event and the offset behind it.
#[inline]
fn entry(buf: &[u8], at: usize, index: u32) -> Result<(Event<'_>, usize), RecordsError> {
    let msgpack = |fault| RecordsError::Msgpack { index, fault };
    let end = msgpack::skip(buf, at).map_err(msgpack)?;
    let raw = &buf[at..end];
    let mut reader = Reader::new(raw);
    if reader.token() != Some(Token::Array(2)) {
        return Err(RecordsError::NotAnEntry { index });
    }
    let first = reader.token().ok_or(RecordsError::NotAnEntry { index })?;
    let (time, metadata) = if first == Token::Array(2) {
        let time = reader.token().ok_or(RecordsError::Time { index })?;
        let metadata = reader
            .value()
            .filter(|raw| is_map(raw))
            .ok_or(RecordsError::Metadata { index })?;
        (time, Some(metadata))
    } else {
        (first, None)
    };
    let time = Timestamp::from_token(&time).ok_or(RecordsError::Time { index })?;
    let body = raw
        .get(reader.at()..)
        .filter(|raw| is_map(raw))
        .ok_or(RecordsError::Record { index })?;
    Ok((
        Event {
            time,
            metadata,
            body,
            raw,
        },
        end,
    ))
}

#[inline]
fn is_map(raw: &[u8]) -> bool {
    matches!(raw.first(), Some(0x80..=0x8f | 0xde | 0xdf))
}

impl Records {
    /// No events.
    pub fn empty() -> Self {
        Self {
            bytes: Bytes::new(),
            count: 0,
            shape: Shape::V1,
            groups: false,
        }
    }

    /// Checks a whole run; an error names the first bad entry.
    pub fn parse(bytes: Bytes) -> Result<Self, RecordsError> {
        match Self::parse_prefix(bytes) {
            (records, None) => Ok(records),
            (_, Some(error)) => Err(error),
        }
    }

    /// Checks a run up to its first bad entry: what is good before it, and what is wrong with it.
    pub fn parse_prefix(mut bytes: Bytes) -> (Self, Option<RecordsError>) {
        let (mut at, mut count, mut groups) = (0, 0u32, false);
        let mut shape: Option<Shape> = None;
        let mut failed = None;
        while at < bytes.len() {
            match entry(&bytes, at, count) {
                Ok((event, end)) => {
                    let this = if event.metadata.is_some() {
                        Shape::V2
                    } else {
                        Shape::V1
                    };
                    shape = Some(shape.map_or(this, |shape| shape.join(this)));
                    groups |= event.time.is_group_marker();
                    count = count.saturating_add(1);
                    at = end;
                }
                Err(error) => {
                    failed = Some(error);
                    bytes.truncate(at);
                    break;
                }
            }
        }
        (
            Self {
                bytes,
                count,
                shape: shape.unwrap_or(Shape::V1),
                groups,
            },
            failed,
        )
    }

    /// How many events.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Which forms of event it holds.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Whether it holds Fluent Bit's group markers.
    pub fn has_groups(&self) -> bool {
        self.groups
    }

    /// The raw bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The events in order.
    pub fn events(&self) -> Events<'_> {
        Events {
            buf: &self.bytes,
            at: 0,
        }
    }

    /// The events `from..to` (indexes) as a run of their own that shares the bytes.
    pub fn slice(&self, from: u32, to: u32) -> Self {
        if from == 0 && to >= self.count {
            return self.clone();
        }
        if from >= to.min(self.count) {
            return Self::empty();
        }
        let mut events = self.events();
        for _ in 0..from {
            events.next();
        }
        let start = events.at;
        let mut count = 0;
        while from + count < to && events.next().is_some() {
            count += 1;
        }
        let bytes = self.bytes.slice(start..events.at);
        Self {
            bytes,
            count,
            shape: self.shape,
            groups: self.groups,
        }
    }
}

/// Iterator over the events of a run.
#[derive(Debug, Clone)]
pub struct Events<'a> {
    buf: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Events<'a> {
    type Item = Event<'a>;

    #[inline]
    fn next(&mut self) -> Option<Event<'a>> {
        // Checked at parse, so the only failure left is the end.
        let (event, end) = entry(self.buf, self.at, 0).ok()?;
        self.at = end;
        Some(event)
    }
}

/// Builds a run event by event.
#[derive(Debug, Default)]
pub struct RecordsBuf {
    bytes: Vec<u8>,
    count: u32,
    shape: Option<Shape>,
    groups: bool,
}

impl RecordsBuf {
    /// An empty run with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Appends an event whose parts are checked MessagePack: `body` a raw map, `metadata` a raw map or none.
    #[inline]
    pub fn push(&mut self, time: Timestamp, metadata: Option<&[u8]>, body: &[u8]) {
        self.push_with(time, metadata, |out| out.extend_from_slice(body));
    }

    /// Appends an event whose body `write` appends: exactly one map.
    #[inline]
    pub fn push_with(&mut self, time: Timestamp, metadata: Option<&[u8]>, write: impl FnOnce(&mut Vec<u8>)) {
        self.bytes.push(0x92);
        if let Some(metadata) = metadata {
            self.bytes.push(0x92);
            time.write(&mut self.bytes);
            self.bytes.extend_from_slice(metadata);
        } else {
            time.write(&mut self.bytes);
        }
        let start = self.bytes.len();
        write(&mut self.bytes);
        debug_assert!(is_map(&self.bytes[start..]), "the body of an event is a map");
        self.note(metadata.is_some(), time.is_group_marker());
    }

    /// Appends a checked entry as it is.
    #[inline]
    pub fn push_event(&mut self, event: &Event<'_>) {
        self.bytes.extend_from_slice(event.raw);
        self.note(event.metadata.is_some(), event.time.is_group_marker());
    }

    /// Appends `[time, body]` from one slice that holds a checked time and a checked map behind each other,
    /// as a Message-mode frame does.
    #[inline]
    pub fn push_time_and_body(&mut self, time_and_body: &[u8]) {
        self.bytes.push(0x92);
        self.bytes.extend_from_slice(time_and_body);
        self.note(false, false);
    }

    /// Appends a whole run.
    pub fn extend(&mut self, records: &Records) {
        if records.is_empty() {
            return;
        }
        self.bytes.extend_from_slice(&records.bytes);
        self.count = self.count.saturating_add(records.count);
        self.shape = Some(
            self.shape
                .map_or(records.shape, |shape| shape.join(records.shape)),
        );
        self.groups |= records.groups;
    }

    fn note(&mut self, v2: bool, marker: bool) {
        let this = if v2 { Shape::V2 } else { Shape::V1 };
        self.shape = Some(self.shape.map_or(this, |shape| shape.join(this)));
        self.groups |= marker;
        self.count = self.count.saturating_add(1);
    }

    /// Makes room for `bytes` more.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Events so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The run, leaving this empty.
    pub fn take(&mut self) -> Records {
        let done = std::mem::take(self);
        Records {
            bytes: done.bytes.into(),
            count: done.count,
            shape: done.shape.unwrap_or(Shape::V1),
            groups: done.groups,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Records {
        let mut buf = RecordsBuf::default();
        let time = Timestamp { secs: 7, nanos: 8 };
        buf.push(time, None, &[0x81, 0xa1, b'a', 1]);
        buf.push(time, Some(&[0x80]), &[0x81, 0xa1, b'b', 2]);
        buf.push(time, None, &[0x80]);
        buf.take()
    }

    #[test]
    fn a_built_run_parses_to_itself() {
        let run = sample();
        let parsed = Records::parse(run.bytes().clone()).unwrap();
        assert_eq!(parsed, run);
        assert_eq!((run.count(), run.shape()), (3, Shape::Mixed));
        let bodies: Vec<_> = run.events().map(|event| event.body.to_vec()).collect();
        assert_eq!(
            bodies,
            [vec![0x81, 0xa1, b'a', 1], vec![0x81, 0xa1, b'b', 2], vec![0x80]]
        );
    }

    #[test]
    fn the_good_prefix_is_kept() {
        let mut bytes = sample().bytes().to_vec();
        let good = bytes.len();
        bytes.extend_from_slice(&[0x92, 0x01, 0xa1, b'x']);
        let (records, error) = Records::parse_prefix(bytes.into());
        assert_eq!((records.len(), records.count()), (good, 3));
        assert_eq!(error, Some(RecordsError::Record { index: 3 }));
    }

    #[test]
    fn a_slice_holds_its_events() {
        let run = sample();
        let middle = run.slice(1, 2);
        assert_eq!(middle.count(), 1);
        assert_eq!(middle.events().next().unwrap().body, [0x81, 0xa1, b'b', 2]);
        assert_eq!(run.slice(0, 9), run);
        assert_eq!(run.slice(3, 3).count(), 0);
    }
}
