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

/// Where a stage puts records that go on to the next filter, and says what became of the others.
#[derive(Debug)]
pub struct Emit<'a> {
    out: &'a mut RecordsBuf,
    tally: Tally,
}

/// What a stage did beyond passing records on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Pushed records that are now part of another one.
    pub joined: u64,
    /// Records that the stage made itself.
    pub created: u64,
    /// Pushed records that the stage's rule dropped.
    pub dropped: u64,
}

impl<'a> Emit<'a> {
    /// Emits into `out`.
    pub fn new(out: &'a mut RecordsBuf) -> Self {
        Self {
            out,
            tally: Tally::default(),
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
        self.tally.joined += parts.saturating_sub(1);
        self.out.push(time, metadata, body);
    }

    /// A record that was not pushed.
    pub fn created(&mut self, time: Timestamp, metadata: Option<&[u8]>, body: &[u8]) {
        self.tally.created += 1;
        self.out.push(time, metadata, body);
    }

    /// `n` pushed records that the stage's rule drops.
    pub fn dropped(&mut self, n: u64) {
        self.tally.dropped += n;
    }

    /// What was said so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }
}
