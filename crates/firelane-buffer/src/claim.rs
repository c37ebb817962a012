//! Claims: the duty to deliver a batch.

use std::sync::Arc;

use firelane_record::Records;
use firelane_record::set::RecordSet;

use crate::batch::GroupKey;
use crate::frame::{Frame, Guard};

/// A run of records of one frame within a claim.
#[derive(Debug)]
pub struct ClaimPart<G> {
    pub(crate) partition: usize,
    pub(crate) frame: Arc<Frame<G>>,
    /// Index in the frame of the first record.
    pub(crate) from: u32,
    pub(crate) records: Records,
}

impl<G> Clone for ClaimPart<G> {
    fn clone(&self) -> Self {
        let Self {
            partition,
            frame,
            from,
            records,
        } = self;
        Self {
            partition: *partition,
            frame: frame.clone(),
            from: *from,
            records: records.clone(),
        }
    }
}

impl<G: Guard> ClaimPart<G> {
    /// The partition it came from.
    pub fn partition(&self) -> usize {
        self.partition
    }

    /// Its frame.
    pub fn frame(&self) -> &Arc<Frame<G>> {
        &self.frame
    }

    /// The records.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The records as indexes in the frame.
    pub fn range(&self) -> (u32, u32) {
        (self.from, self.from + self.records.count())
    }
}

/// A batch that one route must deliver, or give up by name. Consumed by [`Claim::settle`] or
/// [`Claim::split`].
#[derive(Debug)]
#[must_use = "a claim must be settled"]
pub struct Claim<G> {
    key: GroupKey,
    parts: Vec<ClaimPart<G>>,
    records: u32,
    bytes: usize,
    oldest: u64,
    opened: u64,
    attempt: u32,
}

impl<G: Guard> Claim<G> {
    /// A claim on a batch that was opened at `opened`.
    pub(crate) fn new(key: GroupKey, parts: Vec<ClaimPart<G>>, opened: u64) -> Self {
        let records = parts.iter().map(|part| part.records.count()).sum();
        let bytes = parts.iter().map(|part| part.records.len()).sum();
        let oldest = parts
            .iter()
            .map(|part| part.frame.appended)
            .min()
            .unwrap_or(u64::MAX);
        Self {
            key,
            parts,
            records,
            bytes,
            oldest,
            opened,
            attempt: 0,
        }
    }

    /// The group of its records.
    pub fn key(&self) -> &GroupKey {
        &self.key
    }

    /// Its runs, in order.
    pub fn parts(&self) -> &[ClaimPart<G>] {
        &self.parts
    }

    /// Number of records.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Bytes of raw records.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When its oldest frame was appended, in milliseconds of the caller's clock.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    /// When its batch was opened, in milliseconds of the caller's clock.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Failed deliveries so far.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Counts a failed delivery.
    pub fn failed(&mut self) {
        self.attempt = self.attempt.saturating_add(1);
    }

    /// Every record has left through a door: calls `settle` for each run.
    pub fn settle(self, mut settle: impl FnMut(&ClaimPart<G>)) {
        self.parts.iter().for_each(&mut settle);
    }

    /// The records in `done` (indexes in the claim) have left: calls `settle` for their runs and gives the
    /// claim on the rest, if any.
    pub fn split(self, done: &RecordSet, mut settle: impl FnMut(&ClaimPart<G>)) -> Option<Self> {
        let mut rest = Vec::new();
        let mut base = 0;
        for part in &self.parts {
            let count = part.records.count();
            for (from, to, is_done) in done.runs(base, base + count) {
                let (from, to) = (from - base, to - base);
                let piece = ClaimPart {
                    from: part.from + from,
                    records: part.records.slice(from, to),
                    ..part.clone()
                };
                if is_done {
                    settle(&piece);
                } else {
                    rest.push(piece);
                }
            }
            base += count;
        }
        let (attempt, opened) = (self.attempt, self.opened);
        (!rest.is_empty()).then(|| Self {
            attempt,
            ..Self::new(self.key, rest, opened)
        })
    }

    /// Divides it into the claim on the records in `set` (indexes in the claim) and the claim on the others.
    pub fn divide(self, set: &RecordSet) -> (Option<Self>, Option<Self>) {
        let (attempt, opened, key) = (self.attempt, self.opened, self.key.clone());
        let mut inside = Vec::new();
        let outside = self.split(set, |part| inside.push(part.clone()));
        let inside = (!inside.is_empty()).then(|| Self {
            attempt,
            ..Self::new(key, inside, opened)
        });
        (inside, outside)
    }

    /// Takes out the runs that have left through a door: those that `left` says so of, having settled them.
    /// Gives the claim on the rest, if any.
    pub fn without(self, mut left: impl FnMut(&ClaimPart<G>) -> bool) -> Option<Self> {
        let (attempt, opened) = (self.attempt, self.opened);
        let mut rest = self.parts;
        rest.retain(|part| !left(part));
        (!rest.is_empty()).then(|| Self {
            attempt,
            ..Self::new(self.key, rest, opened)
        })
    }

    /// Cuts it before the run that would bring it over `bytes_max`; the first run always stays. Gives the
    /// claim on the rest, if any.
    pub fn cut(mut self, bytes_max: usize) -> (Self, Option<Self>) {
        let mut bytes = 0;
        let over = self.parts.iter().position(|part| {
            bytes += part.records.len();
            bytes > bytes_max
        });
        let Some(at) = over.map(|at| at.max(1)).filter(|&at| at < self.parts.len()) else {
            return (self, None);
        };
        let (attempt, opened, key) = (self.attempt, self.opened, self.key.clone());
        let rest = self.parts.split_off(at);
        let part = |key, parts| Self {
            attempt,
            ..Self::new(key, parts, opened)
        };
        (part(self.key, self.parts), Some(part(key, rest)))
    }
}
