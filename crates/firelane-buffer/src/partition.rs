//! A partition: frames in the order of their append, and one read position per route.
//!
//! A frame whose records are on disk may leave memory (`spill.rs`); its block then stands in the order where
//! the last of its frames stood. A route that comes there loads the block and reads it from a copy.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firelane_record::{Records, Tag};

use crate::block::{BLOCK_BYTES, Block};
use crate::cursor::Cursor;
use crate::frame::{Frame, Guard, Place, RouteId, Routing};
use crate::store::format::BlockImage;

/// Frames in the order of their append. The lock is held for a push or a few clones, never for I/O.
#[derive(Debug)]
pub struct Partition<G> {
    number: u16,
    /// Identities of blocks, unique over all partitions of a log.
    ids: Arc<AtomicU64>,
    state: Mutex<State<G>>,
}

#[derive(Debug)]
pub(crate) struct State<G> {
    /// By index, with holes.
    pub(crate) slots: VecDeque<Slot<G>>,
    /// Slots that are gone and not removed yet.
    gone: usize,
    /// Index of the next slot.
    next_index: u64,
    /// Number of the next record.
    next: u64,
    pub(crate) readers: Vec<Reader>,
    /// The block that takes frames.
    open: Option<Arc<Block<G>>>,
    /// Blocks that are full and not taken for writing.
    full: Vec<Arc<Block<G>>>,
}

#[derive(Debug)]
pub(crate) struct Slot<G> {
    pub(crate) index: u64,
    pub(crate) item: Item<G>,
}

#[derive(Debug)]
pub(crate) enum Item<G> {
    Frame(Arc<Frame<G>>),
    /// Frames that have left memory.
    Cold(Arc<Block<G>>),
    /// Released, or left memory.
    Gone,
}

/// One route's read position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader {
    /// Index of the next slot to read.
    pub(crate) next: u64,
    /// Bytes appended for this route behind the position; a hint once blocks were read from disk.
    unread: usize,
    /// The append that brings `unread` to this many bytes wakes the route.
    wake_at: usize,
}

/// What is appended.
#[derive(Debug)]
pub struct Append<G> {
    /// Stream it belongs to.
    pub stream: u64,
    /// Milliseconds of the caller's clock.
    pub now: u64,
    /// Its tag.
    pub tag: Tag,
    /// The run.
    pub records: Records,
    /// The routes it leads to: at least one.
    pub routing: Arc<Routing>,
    /// Released with the frame.
    pub guard: G,
    /// It goes to disk: somebody must call [`Partition::take_blocks`].
    pub durable: bool,
}

/// Why a read stopped.
#[derive(Debug)]
pub enum ReadEnd<G> {
    /// Nothing is left to read.
    Dry,
    /// Enough was read.
    Full,
    /// The next records are on disk, in this block, which counts as read: load it and give it to
    /// [`Partition::revive`].
    Cold(Arc<Block<G>>),
}

/// A block that was found on disk.
#[derive(Debug)]
pub struct FoundBlock {
    /// Its identity.
    pub id: u64,
    /// Number of its records.
    pub records: u32,
    /// When its first run was appended, in milliseconds of the caller's clock.
    pub appended: u64,
    /// Pairs of a run and a route that has not settled it: at least one.
    pub open: u64,
    /// Bytes for each route that needs some.
    pub bytes: Vec<(RouteId, usize)>,
}

impl<G: Guard> Partition<G> {
    /// An empty partition read by `routes` routes, numbered from 0.
    pub fn new(number: u16, routes: u16, ids: Arc<AtomicU64>) -> Self {
        let reader = Reader {
            next: 0,
            unread: 0,
            wake_at: 1,
        };
        let readers = vec![reader; usize::from(routes)];
        Self {
            number,
            ids,
            state: Mutex::new(State {
                slots: VecDeque::new(),
                gone: 0,
                next_index: 0,
                next: 0,
                readers,
                open: None,
                full: Vec::new(),
            }),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State<G>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn new_block(&self, order: u64) -> Arc<Block<G>> {
        Arc::new(Block::new(
            self.ids.fetch_add(1, Ordering::Relaxed),
            self.number,
            order,
        ))
    }

    /// Appends a run and calls `wake` for each route that waits for it. Gives the numbers of its records.
    pub fn append(&self, append: Append<G>, mut wake: impl FnMut(RouteId)) -> std::ops::Range<u64> {
        let Append {
            stream,
            now,
            tag,
            records,
            routing,
            guard,
            durable,
        } = append;
        debug_assert!(
            !routing.routes().is_empty(),
            "a frame without a route would never be released"
        );
        let bytes = records.len();
        let mut state = self.lock();
        let place = Place {
            index: state.next_index,
            first: state.next,
            appended: now,
            stream,
        };
        state.next_index += 1;
        state.next += u64::from(records.count());
        let frame = Arc::new(Frame::new(place, tag, records, routing.clone(), guard));
        if durable {
            self.put_in_block(&mut state, &frame);
        }
        state.slots.push_back(Slot {
            index: place.index,
            item: Item::Frame(frame),
        });
        for &route in routing.routes() {
            let Some(reader) = state.readers.get_mut(usize::from(route.0)) else {
                continue;
            };
            if reader.add(bytes) {
                wake(route);
            }
        }
        place.first..state.next
    }

    fn put_in_block(&self, state: &mut State<G>, frame: &Arc<Frame<G>>) {
        let block = state.open.take().unwrap_or_else(|| self.new_block(frame.first));
        if block.take(frame) < BLOCK_BYTES {
            state.open = Some(block);
        } else if !block.seal() {
            state.full.push(block);
        }
    }

    /// Takes the blocks that are to be written, in order.
    pub fn take_blocks(&self) -> Vec<Arc<Block<G>>> {
        let mut state = self.lock();
        let mut blocks = std::mem::take(&mut state.full);
        if let Some(open) = state.open.take()
            && !open.seal()
        {
            blocks.push(open);
        }
        blocks.retain(|block| block.is_needed());
        blocks
    }

    /// Puts a block that was found on disk at the end; calls `wake` for each route that needs it. Gives the
    /// numbers of its records.
    pub fn push_found(&self, found: FoundBlock, mut wake: impl FnMut(RouteId)) -> std::ops::Range<u64> {
        let mut state = self.lock();
        let (index, first) = (state.next_index, state.next);
        state.next_index += 1;
        state.next += u64::from(found.records);
        let block = Block::found(&found, self.number, first);
        block.set_cold(index, std::iter::empty());
        state.slots.push_back(Slot {
            index,
            item: Item::Cold(Arc::new(block)),
        });
        for (route, bytes) in found.bytes {
            if let Some(reader) = state.readers.get_mut(usize::from(route.0))
                && reader.add(bytes)
            {
                wake(route);
            }
        }
        first..state.next
    }

    /// Reads frames for `route` into `out`, about `bytes_max` of them. Also sets when the next append wakes
    /// the route: at `wake_at` unread bytes.
    ///
    /// `passed` is called with the record range of every frame that is not for this route.
    pub fn read(
        &self,
        route: RouteId,
        bytes_max: usize,
        wake_at: usize,
        out: &mut Vec<Arc<Frame<G>>>,
        mut passed: impl FnMut(std::ops::Range<u64>),
    ) -> ReadEnd<G> {
        let mut state = self.lock();
        let State { slots, readers, .. } = &mut *state;
        let Some(reader) = readers.get_mut(usize::from(route.0)) else {
            return ReadEnd::Dry;
        };
        let (mut taken, mut end) = (0, ReadEnd::Full);
        let mut at = slots.partition_point(|slot| slot.index < reader.next);
        while taken < bytes_max {
            let Some(slot) = slots.get(at) else {
                end = ReadEnd::Dry;
                break;
            };
            at += 1;
            reader.next = slot.index + 1;
            match &slot.item {
                Item::Gone => {}
                Item::Frame(frame) if frame.routing.leads_to(route) => {
                    taken += frame.records.len();
                    out.push(frame.clone());
                }
                Item::Frame(frame) => passed(frame.range()),
                Item::Cold(block) => {
                    end = ReadEnd::Cold(block.clone());
                    break;
                }
            }
        }
        reader.unread = match end {
            ReadEnd::Dry => 0,
            _ => reader.unread.saturating_sub(taken).max(1),
        };
        reader.wake_at = wake_at.max(reader.unread + 1);
        end
    }

    /// Makes frames of a block that was loaded, for `route`: those that it needs and has not settled.
    /// `routing` says where a tag leads; `frame` gives an entry's time on the caller's clock and what
    /// hangs on the frame.
    pub fn revive(
        &self,
        block: &Arc<Block<G>>,
        image: &BlockImage,
        route: RouteId,
        cursor: &mut Cursor,
        mut routing: impl FnMut(&Tag) -> Arc<Routing>,
        mut frame: impl FnMut(u64, &Records) -> (u64, G),
    ) -> Vec<Arc<Frame<G>>> {
        let (mut at, mut bytes) = (0, 0);
        let mut frames = Vec::new();
        for entry in &image.entries {
            let first = block.number(at);
            let range = first..first + u64::from(entry.count);
            let here = at;
            at += entry.count;
            let leads = routing(&entry.tag);
            let Some(records) = entry.records.as_ref().filter(|_| leads.leads_to(route)) else {
                cursor.pass(range);
                continue;
            };
            if cursor.gaps(range).next().is_none() {
                continue;
            }
            bytes += records.len();
            let (appended, guard) = frame(entry.wall_ms, records);
            let place = Place {
                index: 0,
                first,
                appended,
                stream: entry.stream,
            };
            let home = (block.clone(), here);
            let (tag, records) = (entry.tag.clone(), records.clone());
            frames.push(Arc::new(Frame::copy(place, tag, records, leads, guard, home)));
        }
        let mut state = self.lock();
        if let Some(reader) = state.readers.get_mut(usize::from(route.0)) {
            reader.unread = reader.unread.saturating_sub(bytes);
        }
        frames
    }

    /// Gives up what `route` needs of a block whose table is known and whose records cannot be read:
    /// settles it all. Gives how many records that were, and whether the block is done with.
    pub fn give_up_block(
        &self,
        block: &Arc<Block<G>>,
        table: &BlockImage,
        route: RouteId,
        cursor: &mut Cursor,
        mut routing: impl FnMut(&Tag) -> Arc<Routing>,
    ) -> (Lost, bool) {
        let (mut at, mut lost, mut done) = (0, Lost::default(), false);
        for entry in &table.entries {
            let first = block.number(at);
            let range = first..first + u64::from(entry.count);
            at += entry.count;
            let open: u64 = cursor.gaps(range.clone()).map(|gap| gap.end - gap.start).sum();
            cursor.pass(range);
            if routing(&entry.tag).leads_to(route) && open > 0 {
                lost.records += open;
                lost.frames += 1;
                lost.bytes += u64::from(entry.len);
                done |= block.part_done();
            }
        }
        if done {
            self.remove_block(block);
        }
        (lost, done)
    }

    /// Lets `route` read everything again that it has not settled: its task has begun anew.
    pub fn rewind(&self, route: RouteId) {
        let mut state = self.lock();
        if let Some(reader) = state.readers.get_mut(usize::from(route.0)) {
            *reader = Reader {
                next: 0,
                unread: reader.unread.max(1),
                wake_at: 1,
            };
        }
    }

    /// Wakes `route` at the next append that brings its unread bytes to `wake_at`; true when they are there
    /// already.
    pub fn wake_at(&self, route: RouteId, wake_at: usize) -> bool {
        let mut state = self.lock();
        let Some(reader) = state.readers.get_mut(usize::from(route.0)) else {
            return false;
        };
        if reader.unread >= wake_at.max(1) {
            return true;
        }
        reader.wake_at = wake_at.max(1);
        false
    }

    /// Bytes appended for `route` that it has not read: 0 when there are none, else a hint.
    pub fn unread(&self, route: RouteId) -> usize {
        self.lock()
            .readers
            .get(usize::from(route.0))
            .map_or(0, |reader| reader.unread)
    }

    /// When the oldest frame that is not released was appended.
    pub fn oldest(&self) -> Option<u64> {
        let state = self.lock();
        state.slots.iter().find_map(|slot| match &slot.item {
            Item::Frame(frame) => Some(frame.appended),
            Item::Cold(block) => Some(block.appended()),
            Item::Gone => None,
        })
    }

    /// Number of blocks whose frames have left memory.
    pub fn cold(&self) -> usize {
        let state = self.lock();
        let cold = state
            .slots
            .iter()
            .filter(|slot| matches!(slot.item, Item::Cold(_)));
        cold.count()
    }

    /// Number of frames in memory that are not released.
    pub fn frames(&self) -> usize {
        self.lock().slots.iter().filter_map(Slot::frame).count()
    }

    /// Records in memory that are not on disk.
    pub fn unsaved(&self) -> u64 {
        let state = self.lock();
        let frames = state.slots.iter().filter_map(Slot::frame);
        let saved = |frame: &Frame<G>| frame.home().is_some_and(|(block, _)| block.is_written());
        let unsaved = frames.filter(|frame| !saved(frame));
        unsaved.map(|frame| u64::from(frame.records.count())).sum()
    }

    /// Takes a released frame out.
    pub(crate) fn remove(&self, frame: &Frame<G>) {
        self.lock().take_out(frame.index);
    }

    /// Takes a block out that is done with.
    pub(crate) fn remove_block(&self, block: &Block<G>) {
        if let Some(slot) = block.slot() {
            self.lock().take_out(slot);
        }
    }
}

/// What a route lost with a block that cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Records.
    pub records: u64,
    /// Runs they were in.
    pub frames: u64,
    /// Bytes of those runs.
    pub bytes: u64,
}

impl Reader {
    /// More to read; true when the route must be woken.
    fn add(&mut self, bytes: usize) -> bool {
        self.unread += bytes;
        let wakes = self.unread >= self.wake_at;
        if wakes {
            self.wake_at = usize::MAX;
        }
        wakes
    }
}

impl<G> Slot<G> {
    pub(crate) fn frame(&self) -> Option<&Arc<Frame<G>>> {
        match &self.item {
            Item::Frame(frame) => Some(frame),
            Item::Cold(_) | Item::Gone => None,
        }
    }
}

impl<G> State<G> {
    /// Leaves a hole at `index`; holes in front go, and all of them when they are most.
    pub(crate) fn take_out(&mut self, index: u64) {
        let at = self.slots.partition_point(|slot| slot.index < index);
        let Some(slot) = self.slots.get_mut(at).filter(|slot| slot.index == index) else {
            return;
        };
        if matches!(std::mem::replace(&mut slot.item, Item::Gone), Item::Gone) {
            return;
        }
        self.gone += 1;
        while matches!(self.slots.front(), Some(slot) if matches!(slot.item, Item::Gone)) {
            self.slots.pop_front();
            self.gone -= 1;
        }
        self.close_holes();
    }

    fn close_holes(&mut self) {
        if self.gone > 64 && self.gone * 2 > self.slots.len() {
            self.slots.retain(|slot| !matches!(slot.item, Item::Gone));
            self.gone = 0;
        }
    }
}
