//! A chunk as requests `PutLogEvents`, which obey the service's limits by construction.
//!
//! Events stand in the order of their times, those of one time as they came. A request ends at 10,000
//! events, at 1,048,576 bytes as the service counts them (the message's UTF-8, 26 for each event), or before
//! the first event that is a day younger than its first one. A message above 1,000,000 bytes becomes several
//! events of one time, one behind the other, whose texts join to it: the plugins that came before cut its
//! end off.
//!
//! ```text
//! {"logGroupName":"g","logStreamName":"s","logEvents":[{"timestamp":1,"message":"…"},…]}
//! ```

use bytes::Bytes;
use firelane_core::Chunk;
use firelane_net::aws::BodyHash;
use firelane_record::Timestamp;
use firelane_record::json::{DateFormat, JsonOptions};

use super::api::Payload;
use super::direct::Direct;
use super::message::{Message, Messages, cut};
use super::names::Place;

/// Most events of a request (API reference of `PutLogEvents`, like all of these).
pub(super) const EVENTS_MAX: usize = 10_000;
/// Most bytes of a request as the service counts them.
pub(super) const BYTES_MAX: usize = 1_048_576;
/// What the service adds for each event.
pub(super) const EVENT_OVERHEAD: usize = 26;
/// Most bytes of a message. The service takes 1 MB with its addition; Fluent Bit stays at a million.
pub(super) const MESSAGE_MAX: usize = 1_000_000;
/// The times of a request lie in less than this, in milliseconds.
pub(super) const SPAN_MAX: i64 = 24 * 3600 * 1000;

/// Room for an event's text beside its record's: `{"timestamp":…,"message":""},` and some escapes.
const EVENT_TEXT: usize = 64;
const CLOSE: &[u8] = b"]}";

/// One request.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) body: Payload,
    /// For each event the record (index in the chunk) that it is of, or a part of.
    pub(super) records: Vec<u32>,
    /// The next request goes on with the last record.
    pub(super) goes_on: bool,
}

/// A chunk, encoded.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) puts: Vec<Put>,
    /// Records (indexes) with nothing that could be sent: blank, or markers of groups.
    pub(super) blank: Vec<u32>,
    /// Records (indexes) without the key of `log_key`.
    pub(super) without_key: Vec<u32>,
    /// Records (indexes) from before 1970, which the request could not carry.
    pub(super) timeless: Vec<u32>,
}

/// A log event.
struct Entry<'a> {
    time: Timestamp,
    index: u32,
    body: &'a [u8],
}

/// The requests for a chunk, all of whose records go to `place`.
pub(super) fn plan(messages: &Messages, place: &Place, chunk: &Chunk) -> Plan {
    let mut plan = Plan::default();
    let entries = entries(chunk, &mut plan);
    let mut packer = Packer::new(place, chunk);
    let mut scratch = Vec::new();
    let mut direct = Direct::default();
    for entry in &entries {
        let write = |out: &mut Vec<u8>| direct.write(messages, entry.body, out);
        if messages.log_key.is_none() && packer.add_direct(entry.time, entry.index, write) {
            continue;
        }
        match messages.of(entry.body, &mut scratch) {
            Message::Text(text) => packer.add(entry.time, text, entry.index),
            Message::Blank => plan.blank.push(entry.index),
            Message::NoKey => plan.without_key.push(entry.index),
        }
    }
    packer.close(false);
    plan.puts = packer.puts;
    plan
}

/// The log events in the order of their times; what can be none is put aside.
fn entries<'a>(chunk: &'a Chunk, plan: &mut Plan) -> Vec<Entry<'a>> {
    let mut entries = Vec::with_capacity(chunk.records() as usize);
    for (index, (_, event)) in (0..).zip(chunk.events()) {
        if event.time.is_group_marker() {
            plan.blank.push(index);
        } else if event.time.secs < 0 {
            plan.timeless.push(index);
        } else {
            entries.push(Entry {
                time: event.time,
                index,
                body: event.body,
            });
        }
    }
    if !entries.is_sorted_by_key(|entry| entry.time.millis()) {
        entries.sort_by_key(|entry| entry.time.millis());
    }
    entries
}

/// Puts events into requests.
struct Packer {
    /// Everything before the first event.
    head: Vec<u8>,
    /// Bytes that the requests will probably have in all.
    estimate: usize,
    puts: Vec<Put>,
    body: Vec<u8>,
    records: Vec<u32>,
    /// Bytes of the open request as the service counts them.
    counted: usize,
    /// Time of its first event.
    first: i64,
    escape: JsonOptions,
}

impl Packer {
    fn new(place: &Place, chunk: &Chunk) -> Self {
        let escape = JsonOptions::new(false);
        let mut head = b"{\"logGroupName\":".to_vec();
        escape.encode_str(place.group.as_bytes(), &mut head);
        head.extend_from_slice(b",\"logStreamName\":");
        escape.encode_str(place.stream.as_bytes(), &mut head);
        head.extend_from_slice(b",\"logEvents\":[");
        Self {
            head,
            estimate: chunk.bytes() + chunk.bytes() / 4 + chunk.records() as usize * EVENT_TEXT,
            puts: Vec::new(),
            body: Vec::new(),
            records: Vec::new(),
            counted: 0,
            first: 0,
            escape,
        }
    }

    /// Adds a record's message, in parts if it is too long for one event.
    fn add(&mut self, time: Timestamp, mut text: &[u8], record: u32) {
        let mut is_part = false;
        while text.len() > MESSAGE_MAX {
            let (part, rest) = text.split_at(cut(text, MESSAGE_MAX));
            self.event(time, part, record, is_part);
            text = rest;
            is_part = true;
        }
        self.event(time, text, record, is_part);
    }

    fn event(&mut self, time: Timestamp, text: &[u8], record: u32, is_part: bool) {
        let cost = text.len() + EVENT_OVERHEAD;
        if self.is_full(time, cost) {
            self.close(is_part);
        }
        self.begin(time, text.len());
        self.escape.escape(text, &mut self.body);
        self.end(record, cost);
    }

    /// Adds an event whose message `write` appends, already escaped; it gives the message's length. False,
    /// and nothing is added, where it cannot, or where the message is too long for one event.
    fn add_direct(
        &mut self,
        time: Timestamp,
        record: u32,
        write: impl FnOnce(&mut Vec<u8>) -> Option<usize>,
    ) -> bool {
        if self.is_full(time, 0) {
            self.close(false);
        }
        let mark = self.body.len();
        self.begin(time, 0);
        let Some(len) = write(&mut self.body).filter(|&len| len <= MESSAGE_MAX) else {
            self.body.truncate(mark);
            return false;
        };
        let cost = len + EVENT_OVERHEAD;
        if self.is_full(time, cost) {
            // It stands behind a comma at the end of a request that has no room for it.
            let event = self.body.split_off(mark);
            self.close(false);
            self.open(time.millis(), event.len());
            self.body.extend_from_slice(&event[1..]);
        }
        self.end(record, cost);
        true
    }

    /// Whether there is an open request, and an event of that time and size does not fit into it.
    fn is_full(&self, time: Timestamp, cost: usize) -> bool {
        !self.records.is_empty()
            && (self.records.len() >= EVENTS_MAX
                || self.counted + cost > BYTES_MAX
                || time.millis() - self.first >= SPAN_MAX)
    }

    /// Writes an event up to its message, in a new request where none is open.
    fn begin(&mut self, time: Timestamp, needs: usize) {
        if self.records.is_empty() {
            self.open(time.millis(), needs);
        } else {
            self.body.push(b',');
        }
        self.body.extend_from_slice(b"{\"timestamp\":");
        DateFormat::EpochMs.write(&mut self.body, time);
        self.body.extend_from_slice(b",\"message\":\"");
    }

    /// Ends an event.
    fn end(&mut self, record: u32, cost: usize) {
        self.body.extend_from_slice(b"\"}");
        self.counted += cost;
        self.records.push(record);
    }

    fn open(&mut self, millis: i64, needs: usize) {
        self.first = millis;
        self.body.clear();
        let likely = self.estimate.min(BYTES_MAX + BYTES_MAX / 4).max(needs);
        self.body.reserve_exact(self.head.len() + likely + EVENT_TEXT);
        self.body.extend_from_slice(&self.head);
    }

    /// Ends the open request, if there is one.
    fn close(&mut self, goes_on: bool) {
        if self.records.is_empty() {
            return;
        }
        self.body.extend_from_slice(CLOSE);
        self.estimate = self.estimate.saturating_sub(self.body.len());
        let body = Bytes::from(std::mem::take(&mut self.body));
        self.puts.push(Put {
            // Made here, while the body is in the processor's cache.
            body: Payload {
                hash: Some(BodyHash::of(&body)),
                bytes: body,
            },
            records: std::mem::take(&mut self.records),
            goes_on,
        });
        self.counted = 0;
    }
}
