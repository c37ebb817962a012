//! Stages: filters that hold records back or make new ones (multiline, partial messages, throttle, lua).

use std::time::Instant;

use firelane_record::{Draft, Event, RecordsBuf, Timestamp};

/// Whose state a stage keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One instance per stream and tag: order within it is what the stage joins by.
    PerStream,
    /// One instance for all; it takes a whole run per lock, never a lock per record.
    PerInstance,
}

/// A filter with memory. What it holds keeps the ticket of its run open, so nothing that is only here is ever
/// acknowledged.
pub trait Stage: Send + 'static {
    /// Whose state it keeps.
    fn scope(&self) -> Scope;

    /// Takes a record: emits it, holds it, or joins it to what it holds.
    fn push(&mut self, record: Draft<'_>, out: &mut Emit<'_>);

    /// When [`Stage::expire`] wants to be called, if it holds anything.
    fn deadline(&self) -> Option<Instant>;

    /// Emits what has waited long enough; at the drain `now` lies behind every deadline.
    fn expire(&mut self, now: Instant, out: &mut Emit<'_>);
}

/// Where a stage puts records that go on to the next filter.
#[derive(Debug)]
pub struct Emit<'a> {
    out: &'a mut RecordsBuf,
    /// Records that went into a record emitted here (beyond the first), or were held and are now gone: the
    /// ledger's `joined`.
    joined: u64,
    /// Records that the stage made itself: the ledger's `created`.
    created: u64,
}

impl<'a> Emit<'a> {
    /// Emits into `out`.
    pub fn new(out: &'a mut RecordsBuf) -> Self {
        Self {
            out,
            joined: 0,
            created: 0,
        }
    }

    /// A record that goes on.
    pub fn draft(&mut self, record: &Draft<'_>) {
        record.write(self.out);
    }

    /// An event that was held and goes on as it was.
    pub fn event(&mut self, event: &Event<'_>) {
        self.out.push_event(event);
    }

    /// A record joined of `parts` records that were pushed; `body` is one checked map.
    pub fn joined(&mut self, parts: u64, time: Timestamp, metadata: Option<&[u8]>, body: &[u8]) {
        self.joined += parts.saturating_sub(1);
        self.out.push(time, metadata, body);
    }

    /// A record that was not pushed.
    pub fn created(&mut self, time: Timestamp, metadata: Option<&[u8]>, body: &[u8]) {
        self.created += 1;
        self.out.push(time, metadata, body);
    }

    /// `(joined, created)` so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.joined, self.created)
    }
}
