//! What a route has left: all that it has not settled, in memory and on disk.

use std::sync::PoisonError;

use firelane_buffer::{ReadEnd, RouteId};

use crate::pipeline::Pipeline;

/// Bytes that are read at once.
const STEP: usize = 4 * 1024 * 1024;

impl Pipeline {
    /// Counts the records that `route` has not settled. Reads the tables of blocks on disk. Blocks the
    /// thread.
    pub(crate) fn left(&self, route: RouteId) -> u64 {
        let mut left = 0;
        for (index, partition) in self.partitions.iter().enumerate() {
            partition.rewind(route);
            let mut frames = Vec::new();
            loop {
                let end = partition.read(route, STEP, usize::MAX, &mut frames, |_| {});
                let cursors = self.routes[usize::from(route.0)].cursors.lock();
                let cursors = cursors.unwrap_or_else(PoisonError::into_inner);
                for frame in frames.drain(..) {
                    left += cursors[index]
                        .gaps_of(&frame)
                        .map(|(from, to)| u64::from(to - from))
                        .sum::<u64>();
                }
                drop(cursors);
                match end {
                    ReadEnd::Full => {}
                    ReadEnd::Dry => break,
                    ReadEnd::Cold(block) => left += self.left_of_block(route, index, &block),
                }
            }
        }
        left
    }

    fn left_of_block(
        &self,
        route: RouteId,
        index: usize,
        block: &firelane_buffer::Block<crate::pipeline::FrameGuard>,
    ) -> u64 {
        let table = self
            .journal
            .as_ref()
            .and_then(|journal| journal.table(block.id()).ok());
        let table = table.unwrap_or_default();
        let cursors = self.routes[usize::from(route.0)].cursors.lock();
        let cursors = cursors.unwrap_or_else(PoisonError::into_inner);
        let (mut at, mut left) = (0, 0);
        for entry in &table.entries {
            let first = block.number(at);
            at += entry.count;
            if self.routing_of(&entry.tag, table.only.as_deref()).leads_to(route) {
                let gaps = cursors[index].gaps(first..first + u64::from(entry.count));
                left += gaps.map(|gap| gap.end - gap.start).sum::<u64>();
            }
        }
        left
    }
}
