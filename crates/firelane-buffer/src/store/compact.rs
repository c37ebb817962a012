//! Moves blocks out of segments of which little is needed.

use std::io;
use std::sync::Arc;

use super::format::{BlockImage, SettledRange};
use super::{Group, Live, Settled, Store};
use crate::disk::Disk;

/// What routes have durably settled of one block.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    live: &'a Live,
    routes: &'a [Arc<str>],
}

impl Progress<'_> {
    /// Whether `route` has settled the records `from..to` of the block.
    pub fn is_settled(&self, route: &str, from: u32, to: u32) -> bool {
        let named = |number: u16| {
            self.routes
                .get(usize::from(number))
                .is_some_and(|name| &**name == route)
        };
        let set = self.live.settled.iter().find(|(number, _)| named(**number));
        set.is_some_and(|(_, set)| set.runs(from, to).all(|run| run.2))
    }
}

impl<D: Disk> Store<D> {
    /// Looks how much of the blocks of full segments is needed, run by run, so that [`Store::compact`]
    /// finds those of which little is. `hollow` is that of `compact`; only tables are read.
    pub fn assess(&mut self, mut hollow: impl FnMut(&mut BlockImage, Progress<'_>)) {
        let active = self.active.as_ref().map(|active| active.sequence);
        let mut needed = Vec::new();
        for (&id, live) in self
            .live
            .iter()
            .filter(|(_, live)| active != Some(live.at.segment))
        {
            // One that cannot be read stays as it is.
            let Ok(mut table) = self.blocks.table(id) else {
                continue;
            };
            let before = table.len();
            let progress = Progress {
                live,
                routes: &self.routes,
            };
            hollow(&mut table, progress);
            needed.push((id, live.at.len.saturating_sub(before - table.len())));
        }
        for (id, bytes) in needed {
            let Some(live) = self.live.get_mut(&id) else {
                continue;
            };
            if let Some(segment) = self.segments.get_mut(&live.at.segment) {
                segment.live_bytes = segment.live_bytes.saturating_sub(live.needed) + bytes;
            }
            live.needed = bytes;
        }
    }

    /// Copies needed blocks out of the segment that holds the fewest of them, up to about `bytes_max`, where
    /// more than half of that segment is not needed. `hollow` empties the runs of a block that no route
    /// needs any more ([`super::format::Entry::hollow`]). True when there may be more to do.
    pub fn compact(
        &mut self,
        bytes_max: u64,
        mut hollow: impl FnMut(&mut BlockImage, Progress<'_>),
    ) -> io::Result<bool> {
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
        hollow: &mut impl FnMut(&mut BlockImage, Progress<'_>),
    ) -> (Vec<BlockImage>, Vec<Settled>) {
        let (mut images, mut settled, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (&id, live) in self.live.iter().filter(|(_, live)| live.at.segment == victim) {
            // One that is damaged stays where it is: whoever loads it says so.
            let Ok(mut image) = self.blocks.load(id) else {
                continue;
            };
            let progress = Progress {
                live,
                routes: &self.routes,
            };
            hollow(&mut image, progress);
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
