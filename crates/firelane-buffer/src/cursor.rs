//! What one route has settled of one partition.

use std::ops::Range;
use std::sync::Arc;

use firelane_record::set::IntervalSet;

use crate::frame::{Done, Frame, Guard};
use crate::partition::Partition;

/// The settled record numbers of one route in one partition. Its low-water mark is the first record that is
/// not settled.
#[derive(Debug, Default)]
pub struct Cursor {
    settled: IntervalSet,
}

impl Cursor {
    /// Nothing settled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records `range` are not for this route, or were settled before this start.
    pub fn pass(&mut self, range: Range<u64>) {
        self.settled.insert(range);
    }

    /// Whether nothing is settled or passed at or behind the start of a frame: the usual case.
    pub fn is_fresh<G: Guard>(&self, frame: &Frame<G>) -> bool {
        self.settled.end() <= frame.first
    }

    /// What is not settled of the records `range`.
    pub fn gaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        self.settled.gaps(range)
    }

    /// What is not settled of a frame, as indexes in it.
    pub fn gaps_of<G: Guard>(&self, frame: &Frame<G>) -> impl Iterator<Item = (u32, u32)> {
        let first = frame.first;
        self.settled
            .gaps(frame.range())
            .map(move |gap| ((gap.start - first) as u32, (gap.end - first) as u32))
    }

    /// What is settled of a frame, as indexes in it.
    pub fn settled_of<G: Guard>(&self, frame: &Frame<G>) -> Vec<(u32, u32)> {
        let mut settled = Vec::new();
        let mut at = 0;
        for (from, to) in self.gaps_of(frame) {
            if at < from {
                settled.push((at, from));
            }
            at = to;
        }
        let count = frame.records.count();
        if at < count {
            settled.push((at, count));
        }
        settled
    }

    /// Settles the records `from..to` (indexes in the frame).
    pub fn settle<G: Guard>(
        &mut self,
        partition: &Partition<G>,
        frame: &Arc<Frame<G>>,
        from: u32,
        to: u32,
    ) -> Done<G> {
        let whole = frame.range();
        let home = frame.home().cloned();
        self.settled
            .insert(whole.start + u64::from(from)..whole.start + u64::from(to));
        let covered = self.settled.is_covered(whole);
        let block = home.as_ref().filter(|(block, _)| covered && block.part_done());
        if let Some((block, _)) = block {
            partition.remove_block(block);
        }
        let block = block.is_some();
        if covered && frame.done_for_route() && !frame.is_copy() {
            partition.remove(frame);
        }
        Done {
            frame: covered,
            home,
            block,
        }
    }

    /// The first record number that is not settled.
    pub fn low_water(&self) -> u64 {
        self.settled.low_water()
    }
}
