//! What leaves memory when it gets tight, and in which order.
//!
//! A frame goes that nobody has claimed, the oldest first, but for those that a route is about to read:
//! `near` bytes behind each read position stay. So what stays is that, and what is newest, which routes
//! that keep up read next. (To let the newest go first reads a little less from disk, but leaves scraps
//! in memory, each of which holds the whole buffer that it was read into.)
//!
//! Frames without a block are put into blocks, to be written; the frames of written blocks leave. Order
//! is kept: a new block holds neighbours only, but for frames of inputs that have memory enough, which
//! are other streams. Durable frames, which have a block from the start, should have partitions of their
//! own: they end the runs.

use std::sync::Arc;

use crate::block::{BLOCK_BYTES, Block};
use crate::frame::Guard;
use crate::partition::{Item, Partition, State};

/// What [`Partition::spill`] did.
#[derive(Debug)]
pub struct Spilled<G> {
    /// Bytes of records that have left memory.
    pub freed: usize,
    /// Blocks to be written; their frames can leave afterwards.
    pub blocks: Vec<Arc<Block<G>>>,
}

/// Frames that may go together.
struct Candidate<G> {
    /// Bytes of frames from the last read position before it to its first frame; of a written block to
    /// its last: a block that is larger than memory must be able to go.
    distance: usize,
    bytes: usize,
    /// The written block that they are in; else they need one.
    block: Option<Arc<Block<G>>>,
    /// Places among the slots.
    slots: Vec<usize>,
    /// Whether it may go: nobody holds a frame of it.
    free: bool,
}

impl<G: Guard> Partition<G> {
    /// Brings about `bytes_max` bytes of records out of memory, or on the way to the disk. `near` bytes
    /// behind each read position stay. `chosen` says whose frames may go; `may_write`, whether there is
    /// room on disk for new blocks.
    pub fn spill(
        &self,
        bytes_max: usize,
        near: usize,
        may_write: bool,
        chosen: impl Fn(&G) -> bool,
    ) -> Spilled<G> {
        let mut state = self.lock();
        let mut candidates = candidates(&state, near, &chosen);
        let may_go = |candidate: &Candidate<G>| candidate.free && (may_write || candidate.block.is_some());
        candidates.retain(|candidate| may_go(candidate) && candidate.distance >= near);
        candidates.sort_by_key(|candidate| candidate.slots.first().copied());
        let mut spilled = Spilled {
            freed: 0,
            blocks: Vec::new(),
        };
        let (mut bytes, mut fresh) = (0, Vec::new());
        let mut gone = Vec::new();
        for candidate in candidates {
            if bytes >= bytes_max {
                break;
            }
            bytes += candidate.bytes;
            match &candidate.block {
                Some(block) => {
                    spilled.freed += candidate.bytes;
                    evict(&mut state, block, &candidate.slots, &mut gone);
                }
                None => fresh.push(candidate),
            }
        }
        // In the order of the log, as the numbers of their records grow.
        fresh.sort_by_key(|candidate| candidate.slots.first().copied());
        for candidate in fresh {
            if let Some(block) = self.adopt(&state, &candidate.slots) {
                spilled.blocks.push(block);
            }
        }
        gone.into_iter().for_each(|index| state.take_out(index));
        spilled
    }

    /// Puts frames that nobody else has into a block of their own.
    fn adopt(&self, state: &State<G>, slots: &[usize]) -> Option<Arc<Block<G>>> {
        let mut frames = slots
            .iter()
            .filter_map(|&at| state.slots.get(at)?.frame())
            .peekable();
        let block = self.new_block(frames.peek()?.first);
        frames.for_each(|frame| {
            block.take(frame);
        });
        (!block.seal()).then_some(block)
    }
}

/// Puts a written block in the place of its last frame. Slots of the others go to `gone`.
fn evict<G: Guard>(state: &mut State<G>, block: &Arc<Block<G>>, slots: &[usize], gone: &mut Vec<u64>) {
    let Some((&last, others)) = slots.split_last() else {
        return;
    };
    let leaving = slots.iter().filter_map(|&at| state.slots.get(at)?.frame());
    let guards: Vec<G> = leaving.filter_map(|frame| frame.evicted()).collect();
    gone.extend(
        others
            .iter()
            .filter_map(|&at| state.slots.get(at))
            .map(|slot| slot.index),
    );
    if let Some(slot) = state.slots.get_mut(last) {
        block.set_cold(slot.index, guards.into_iter());
        slot.item = Item::Cold(block.clone());
    }
}

fn candidates<G: Guard>(state: &State<G>, near: usize, chosen: &impl Fn(&G) -> bool) -> Vec<Candidate<G>> {
    let mut positions: Vec<u64> = state.readers.iter().map(|reader| reader.next).collect();
    positions.sort_unstable();
    let mut positions = positions.into_iter().peekable();
    let mut found: Vec<Candidate<G>> = Vec::new();
    // Of written blocks: where in `found`, by identity. Their frames may lie between others.
    let mut by_block = std::collections::HashMap::new();
    let mut run: Option<Candidate<G>> = None;
    let mut distance = 0;
    for (at, slot) in state.slots.iter().enumerate() {
        while positions.next_if(|&next| next <= slot.index).is_some() {
            distance = 0;
            found.extend(run.take());
        }
        let frame = match &slot.item {
            Item::Frame(frame) => frame,
            Item::Gone => continue,
            Item::Cold(_) => {
                found.extend(run.take());
                continue;
            }
        };
        let bytes = frame.records.len();
        distance += bytes;
        let wanted = frame.look(chosen).unwrap_or(false);
        // The partition has one; a block that is to be written has another.
        let held = Arc::strong_count(frame) > 1;
        match frame.home() {
            Some((block, _)) => {
                found.extend(run.take());
                let known = *by_block.entry(block.id()).or_insert_with(|| {
                    found.push(Candidate::new(distance, Some(block.clone()), block.is_written()));
                    found.len() - 1
                });
                if let Some(candidate) = found.get_mut(known) {
                    candidate.add(at, bytes);
                    candidate.distance = distance;
                    candidate.free &= wanted && !held;
                }
            }
            None if held || distance < near => found.extend(run.take()),
            None if !wanted => {}
            None => {
                let open = run.get_or_insert_with(|| Candidate::new(distance, None, true));
                open.add(at, bytes);
                if open.bytes >= BLOCK_BYTES {
                    found.extend(run.take());
                }
            }
        }
    }
    // The last frames are those that were just appended; they may go too.
    found.extend(run);
    found
}

impl<G> Candidate<G> {
    fn new(distance: usize, block: Option<Arc<Block<G>>>, free: bool) -> Self {
        Self {
            distance,
            bytes: 0,
            block,
            slots: Vec::new(),
            free,
        }
    }

    fn add(&mut self, at: usize, bytes: usize) {
        self.slots.push(at);
        self.bytes += bytes;
    }
}
