//! Cuts the log into batches: by group, to an output's limits. The one tested place where a destination's
//! limits on count, bytes and time span are kept.

use std::collections::HashMap;
use std::sync::Arc;

use firelane_record::{Event, Records, Tag, Timestamp};

use crate::claim::{Claim, ClaimPart};
use crate::frame::{Frame, Guard};
use crate::limits::Limits;

/// What may share a batch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum GroupKey {
    /// Anything.
    All,
    /// Records of one tag.
    Tag(Tag),
    /// Records of one key: log stream, key prefix, topic.
    Key(Box<[u8]>),
}

/// How records are put into groups.
pub enum Grouping<'a> {
    /// All in one.
    All,
    /// By tag.
    Tag,
    /// By what the function says of each record.
    Record(&'a dyn Fn(&Tag, &Event<'_>) -> GroupKey),
}

/// Most groups that are open at once; beyond it the one that was used longest ago is closed.
pub const GROUPS_MAX: usize = 1024;

#[derive(Debug)]
struct Open<G> {
    parts: Vec<ClaimPart<G>>,
    bytes: usize,
    records: u32,
    /// When the batch was opened and last added to, in milliseconds of the caller's clock.
    opened: u64,
    used: u64,
    /// Earliest and latest event, kept only where the limits have a span.
    span: Option<(Timestamp, Timestamp)>,
}

/// The open batches of one route.
#[derive(Debug)]
pub struct Batcher<G> {
    limits: Limits,
    open: HashMap<GroupKey, Open<G>>,
    /// Counts additions: the order of use.
    clock: u64,
}

impl<G: Guard> Batcher<G> {
    /// A batcher that keeps `limits`.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            open: HashMap::new(),
            clock: 0,
        }
    }

    /// The limits it keeps.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes another limit of bytes for what comes; a batch that is over it already is closed at its next
    /// record.
    pub fn set_bytes_max(&mut self, bytes: usize) {
        self.limits.bytes_max = bytes.max(1);
    }

    /// Adds a frame; batches that it fills go to `closed`, in order.
    pub fn offer(
        &mut self,
        partition: usize,
        frame: &Arc<Frame<G>>,
        grouping: &Grouping<'_>,
        now: u64,
        closed: &mut Vec<Claim<G>>,
    ) {
        let all = (0, frame.records.count());
        self.offer_part(partition, frame, all, grouping, now, closed);
    }

    /// Adds the records `from..to` (indexes) of a frame.
    pub fn offer_part(
        &mut self,
        partition: usize,
        frame: &Arc<Frame<G>>,
        (from, to): (u32, u32),
        grouping: &Grouping<'_>,
        now: u64,
        closed: &mut Vec<Claim<G>>,
    ) {
        let part = frame.records.slice(from, to);
        let key_of = match grouping {
            Grouping::All => return self.add(GroupKey::All, partition, frame, (from, &part), now, closed),
            Grouping::Tag => {
                let key = GroupKey::Tag(frame.tag.clone());
                return self.add(key, partition, frame, (from, &part), now, closed);
            }
            Grouping::Record(key_of) => key_of,
        };
        // Neighbours of one group stay one run.
        let mut run: Option<(GroupKey, u32)> = None;
        let mut index = 0;
        for event in part.events() {
            let key = key_of(&frame.tag, &event);
            if run.as_ref().is_none_or(|(open, _)| *open != key)
                && let Some((open, start)) = run.replace((key, index))
            {
                let records = part.slice(start, index);
                self.add(open, partition, frame, (from + start, &records), now, closed);
            }
            index += 1;
        }
        if let Some((key, start)) = run {
            let records = part.slice(start, index);
            self.add(key, partition, frame, (from + start, &records), now, closed);
        }
    }

    fn add(
        &mut self,
        key: GroupKey,
        partition: usize,
        frame: &Arc<Frame<G>>,
        (from, records): (u32, &Records),
        now: u64,
        closed: &mut Vec<Claim<G>>,
    ) {
        let mut from = from;
        let mut rest = records.clone();
        while !rest.is_empty() {
            let limits = self.limits;
            let open = self.slot(&key, now, closed);
            let fits = open.fits(&rest, &limits);
            if fits == 0 {
                self.close(&key, closed);
                continue;
            }
            let piece = rest.slice(0, fits);
            open.push(partition, frame, from, piece, &limits);
            let full = open.bytes >= limits.bytes_max || open.records >= limits.records_max;
            rest = rest.slice(fits, rest.count());
            from += fits;
            if full || !rest.is_empty() {
                self.close(&key, closed);
            }
        }
    }

    fn slot(&mut self, key: &GroupKey, now: u64, closed: &mut Vec<Claim<G>>) -> &mut Open<G> {
        if self.open.len() >= GROUPS_MAX && !self.open.contains_key(key) {
            let idle = self
                .open
                .iter()
                .min_by_key(|(_, open)| open.used)
                .map(|(key, _)| key.clone());
            if let Some(idle) = idle {
                self.close(&idle, closed);
            }
        }
        self.clock += 1;
        let open = self.open.entry(key.clone()).or_insert_with(|| Open {
            parts: Vec::new(),
            bytes: 0,
            records: 0,
            opened: now,
            used: 0,
            span: None,
        });
        open.used = self.clock;
        open
    }

    fn close(&mut self, key: &GroupKey, closed: &mut Vec<Claim<G>>) {
        if let Some((key, open)) = self.open.remove_entry(key)
            && !open.parts.is_empty()
        {
            closed.push(Claim::new(key, open.parts, open.opened));
        }
    }

    /// Closes the batches that were opened at or before `opened_by`, oldest first.
    pub fn close_opened_by(&mut self, opened_by: u64, closed: &mut Vec<Claim<G>>) {
        let mut due: Vec<_> = self
            .open
            .iter()
            .filter(|(_, open)| open.opened <= opened_by)
            .map(|(key, open)| (open.oldest(), open.opened, key.clone()))
            .collect();
        due.sort_unstable_by_key(|(oldest, opened, _)| (*oldest, *opened));
        for (_, _, key) in due {
            self.close(&key, closed);
        }
    }

    /// Closes the batch that holds the oldest record.
    pub fn close_oldest(&mut self, closed: &mut Vec<Claim<G>>) {
        let oldest = self
            .open
            .iter()
            .min_by_key(|(_, open)| open.oldest())
            .map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.close(&key, closed);
        }
    }

    /// Closes the batch with the most bytes of those that `may` be closed.
    pub fn close_largest(&mut self, may: impl Fn(&GroupKey) -> bool, closed: &mut Vec<Claim<G>>) {
        let open = self.open.iter().filter(|(key, _)| may(key));
        let largest = open.max_by_key(|(_, open)| (open.bytes, std::cmp::Reverse(open.oldest())));
        if let Some(key) = largest.map(|(key, _)| key.clone()) {
            self.close(&key, closed);
        }
    }

    /// Closes the batch of `key`, if one is open.
    pub fn close_group(&mut self, key: &GroupKey, closed: &mut Vec<Claim<G>>) {
        self.close(key, closed);
    }

    /// Whether a batch of `key` is open.
    pub fn is_open(&self, key: &GroupKey) -> bool {
        self.open.contains_key(key)
    }

    /// When the first of the open batches was opened.
    pub fn opened(&self) -> Option<u64> {
        self.open.values().map(|open| open.opened).min()
    }

    /// When the oldest frame in an open batch was appended.
    pub fn oldest(&self) -> Option<u64> {
        self.open.values().map(Open::oldest).min()
    }

    /// Bytes in open batches.
    pub fn bytes(&self) -> usize {
        self.open.values().map(|open| open.bytes).sum()
    }
}

impl<G: Guard> Open<G> {
    fn oldest(&self) -> u64 {
        self.parts.first().map_or(u64::MAX, |part| part.frame.appended)
    }

    /// How many of `records` fit behind what is there; at least one into an empty batch.
    fn fits(&self, records: &Records, limits: &Limits) -> u32 {
        let room_bytes = limits.bytes_max.saturating_sub(self.bytes);
        let room_records = limits.records_max.saturating_sub(self.records);
        if records.len() <= room_bytes && records.count() <= room_records && limits.span_max.is_none() {
            return records.count();
        }
        let mut span = self.span;
        let (mut count, mut bytes) = (0, 0);
        for event in records.events() {
            bytes += event.raw.len();
            let wider = widen(span, event.time);
            let over = bytes > room_bytes || count >= room_records || exceeds(wider, limits);
            if over && !(count == 0 && self.parts.is_empty()) {
                break;
            }
            span = Some(wider);
            count += 1;
            if over {
                break;
            }
        }
        count
    }

    fn push(
        &mut self,
        partition: usize,
        frame: &Arc<Frame<G>>,
        from: u32,
        records: Records,
        limits: &Limits,
    ) {
        if limits.span_max.is_some() {
            for event in records.events() {
                self.span = Some(widen(self.span, event.time));
            }
        }
        self.bytes += records.len();
        self.records += records.count();
        self.parts.push(ClaimPart {
            partition,
            frame: frame.clone(),
            from,
            records,
        });
    }
}

fn widen(span: Option<(Timestamp, Timestamp)>, time: Timestamp) -> (Timestamp, Timestamp) {
    span.map_or((time, time), |(first, last)| (first.min(time), last.max(time)))
}

fn exceeds((first, last): (Timestamp, Timestamp), limits: &Limits) -> bool {
    let nanos = |time: Timestamp| i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos);
    limits
        .span_max
        .is_some_and(|max| nanos(last) - nanos(first) >= max.as_nanos() as i128)
}
