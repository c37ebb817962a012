//! A block: frames of one partition that are written to disk together. Once it is written, its frames may
//! leave memory; the block then stands in the partition in their place.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::frame::{Frame, Guard};
use crate::partition::FoundBlock;
use crate::store::format::{BlockImage, Entry};

/// A block takes no more frames when it has so many bytes.
pub const BLOCK_BYTES: usize = 256 * 1024;

/// Frames that are written to disk together.
#[derive(Debug)]
pub struct Block<G> {
    id: u64,
    partition: u16,
    /// Number of its first record in the partition.
    order: u64,
    /// Pairs of a frame and a route that has not settled it; one more while it takes frames.
    open: AtomicU64,
    written: AtomicBool,
    /// When its first frame was appended, in milliseconds of the caller's clock.
    appended: AtomicU64,
    /// Its place among the partition's slots once its frames have left memory.
    slot: AtomicU64,
    state: Mutex<State<G>>,
}

#[derive(Debug)]
struct State<G> {
    /// What is still to be written.
    frames: Vec<Arc<Frame<G>>>,
    records: u32,
    bytes: usize,
    /// Where the numbers of its records jump: number in the block, number in the partition. The records of a
    /// partition that others own lie between.
    jumps: Vec<(u32, u64)>,
    /// What hangs on frames that have left memory.
    guards: Vec<G>,
}

/// No slot.
const NOWHERE: u64 = u64::MAX;

impl<G: Guard> Block<G> {
    /// An empty block that takes frames.
    pub(crate) fn new(id: u64, partition: u16, order: u64) -> Self {
        Self {
            id,
            partition,
            order,
            open: AtomicU64::new(1),
            written: AtomicBool::new(false),
            appended: AtomicU64::new(NOWHERE),
            slot: AtomicU64::new(NOWHERE),
            state: Mutex::new(State {
                frames: Vec::new(),
                records: 0,
                bytes: 0,
                jumps: Vec::new(),
                guards: Vec::new(),
            }),
        }
    }

    /// A block that was found on disk.
    pub(crate) fn found(found: &FoundBlock, partition: u16, order: u64) -> Self {
        let block = Self::new(found.id, partition, order);
        let records = found.records;
        block.open.store(found.open, Ordering::Release);
        block.appended.store(found.appended, Ordering::Release);
        block.written.store(true, Ordering::Release);
        let mut state = block.state();
        state.records = records;
        state.jumps.push((0, order));
        drop(state);
        block
    }

    fn state(&self) -> MutexGuard<'_, State<G>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its identity in the log.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Number of records.
    pub fn records(&self) -> u32 {
        self.state().records
    }

    /// When its first frame was appended, in milliseconds of the caller's clock.
    pub fn appended(&self) -> u64 {
        self.appended.load(Ordering::Acquire)
    }

    /// Whether some route has not settled all of its frames.
    pub fn is_needed(&self) -> bool {
        self.open.load(Ordering::Acquire) > 0
    }

    /// Whether it is on disk.
    pub fn is_written(&self) -> bool {
        self.written.load(Ordering::Acquire)
    }

    /// Takes a frame that nobody else has yet. Gives its bytes so far.
    pub(crate) fn take(self: &Arc<Self>, frame: &Arc<Frame<G>>) -> usize {
        let mut state = self.state();
        let at = state.records;
        self.appended.fetch_min(frame.appended, Ordering::AcqRel);
        let expected = state
            .jumps
            .last()
            .map(|&(from, number)| number + u64::from(at - from));
        if expected != Some(frame.first) {
            state.jumps.push((at, frame.first));
        }
        state.records += frame.records.count();
        state.bytes += frame.records.len();
        self.open
            .fetch_add(u64::from(frame.open_routes()), Ordering::AcqRel);
        frame.set_home((self.clone(), at));
        state.frames.push(frame.clone());
        state.bytes
    }

    /// It takes no more frames. True where all of them are settled already.
    pub(crate) fn seal(&self) -> bool {
        self.part_done()
    }

    /// A route is done with a frame, or the block is sealed. True when nothing is open any more.
    pub(crate) fn part_done(&self) -> bool {
        if self.open.fetch_sub(1, Ordering::AcqRel) != 1 {
            return false;
        }
        let mut state = self.state();
        // Nothing is left to write; what is written is not read again.
        state.frames = Vec::new();
        let guards = std::mem::take(&mut state.guards);
        drop(state);
        guards.into_iter().for_each(Guard::released);
        true
    }

    /// Calls `visit` for each frame that is to be written, with the number of its first record in the block.
    pub fn each(&self, mut visit: impl FnMut(&Frame<G>, u32)) {
        let mut at = 0;
        for frame in &self.state().frames {
            visit(frame, at);
            at += frame.records.count();
        }
    }

    /// The block as it is written. `wall_ms` gives a frame's time in milliseconds since 1970.
    pub fn image(&self, epoch: u64, wall_ms: impl Fn(u64) -> u64) -> BlockImage {
        let state = self.state();
        let entry = |frame: &Arc<Frame<G>>| {
            Entry::new(
                frame.stream,
                wall_ms(frame.appended),
                frame.tag.clone(),
                frame.records.clone(),
            )
        };
        BlockImage {
            id: self.id,
            epoch,
            partition: self.partition,
            order: self.order,
            only: None,
            entries: state.frames.iter().map(entry).collect(),
        }
    }

    /// It is on disk and synced: its frames may leave memory.
    pub fn set_written(&self) {
        let frames = std::mem::take(&mut self.state().frames);
        self.written.store(true, Ordering::Release);
        frames.iter().for_each(|frame| frame.durable());
    }

    /// Its frames have left memory; `slot` stands for them.
    pub(crate) fn set_cold(&self, slot: u64, guards: impl Iterator<Item = G>) {
        self.slot.store(slot, Ordering::Release);
        self.state().guards.extend(guards);
    }

    pub(crate) fn slot(&self) -> Option<u64> {
        Some(self.slot.load(Ordering::Acquire)).filter(|&slot| slot != NOWHERE)
    }

    /// The number in the partition of the block's record `at`.
    pub fn number(&self, at: u32) -> u64 {
        let state = self.state();
        let jump = state.jumps.partition_point(|&(from, _)| from <= at);
        let (from, number) = jump
            .checked_sub(1)
            .and_then(|jump| state.jumps.get(jump))
            .copied()
            .unwrap_or((0, self.order));
        number + u64::from(at - from)
    }
}
