//! What one route has settled of one partition.

use std::sync::Arc;

use firelane_record::set::IntervalSet;

use crate::frame::{Frame, Guard};
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

    /// Records `range` are not for this route.
    pub fn pass(&mut self, range: std::ops::Range<u64>) {
        self.settled.insert(range);
    }

    /// Settles the records `from..to` (indexes in the frame). True when this settled the frame for this
    /// route.
    pub fn settle<G: Guard>(
        &mut self,
        partition: &Partition<G>,
        frame: &Arc<Frame<G>>,
        from: u32,
        to: u32,
    ) -> bool {
        let whole = frame.range();
        self.settled
            .insert(whole.start + u64::from(from)..whole.start + u64::from(to));
        if !self.settled.is_covered(whole) {
            return false;
        }
        if frame.done_for_route() {
            partition.remove(frame);
        }
        true
    }

    /// The first record number that is not settled.
    pub fn low_water(&self) -> u64 {
        self.settled.low_water()
    }
}
