//! Moves blocks out of segments of which little is needed.

use std::io;

use super::format::{BlockImage, SettledRange};
use super::{Group, Settled, Store};
use crate::disk::Disk;

impl<D: Disk> Store<D> {
    /// Copies needed blocks out of the segment that holds the fewest of them, up to about `bytes_max`, where
    /// more than half of that segment is not needed. `hollow` empties the runs of a block that no route
    /// needs any more. True when there may be more to do.
    pub fn compact(&mut self, bytes_max: u64, mut hollow: impl FnMut(&mut BlockImage)) -> io::Result<bool> {
        let active = self.active.as_ref().map(|active| active.sequence);
        let sparse = self.segments.iter().filter(|(sequence, segment)| {
            segment.live > 0 && segment.live_bytes * 2 < segment.bytes && active != Some(**sequence)
        });
        let mut sparse: Vec<(u64, u64)> = sparse
            .map(|(&sequence, segment)| (segment.live_bytes, sequence))
            .collect();
        sparse.sort_unstable();
        for (_, victim) in sparse {
            // One of which nothing can be read is in nobody's way.
            let (images, settled) = self.take_out(victim, bytes_max, &mut hollow);
            if !images.is_empty() {
                self.commit(&Group {
                    blocks: &images,
                    settled: &settled,
                    done: &[],
                })?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Needed blocks of a segment, and what is settled of them.
    fn take_out(
        &self,
        victim: u64,
        bytes_max: u64,
        hollow: &mut impl FnMut(&mut BlockImage),
    ) -> (Vec<BlockImage>, Vec<Settled>) {
        let (mut images, mut settled, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (&id, live) in self.live.iter().filter(|(_, live)| live.at.segment == victim) {
            // One that is damaged stays where it is: whoever loads it says so.
            let Ok(mut image) = self.blocks.load(id) else {
                continue;
            };
            hollow(&mut image);
            bytes += live.at.len;
            images.push(image);
            let mut ranges = Vec::new();
            live.ranges(id, &mut ranges);
            settled.extend(ranges.into_iter().filter_map(|range| self.named(range)));
            if bytes >= bytes_max {
                break;
            }
        }
        (images, settled)
    }

    fn named(&self, range: SettledRange) -> Option<Settled> {
        let route = self.routes.get(usize::from(range.route?))?.clone();
        let SettledRange { block, from, to, .. } = range;
        Some(Settled {
            block,
            route,
            from,
            to,
        })
    }
}
