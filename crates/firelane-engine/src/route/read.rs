//! Reads the log: frames in memory at once, blocks on disk by a thread that may wait for it.

use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};

use firelane_buffer::store::LoadError;
use firelane_buffer::store::format::BlockImage;
use firelane_buffer::{Block, Frame, Grouping, ReadEnd};
use firelane_core::{Group, GroupBy, Reason};
use tracing::{error, warn};

use super::{Route, Window};
use crate::pipeline::FrameGuard;

/// Wait before a block is tried again that the system did not give.
const LOAD_AGAIN: std::time::Duration = std::time::Duration::from_millis(500);

/// What a route may hold at least, in bytes.
const WINDOW_MIN: usize = 32 * 1024;

/// A block that was read for this route, or not.
pub(super) struct Loaded {
    partition: usize,
    block: Arc<Block<FrameGuard>>,
    /// The table alone where the records are damaged.
    image: Result<BlockImage, Option<BlockImage>>,
}

impl Route {
    /// Reads the log until there are `ready_max` closed batches, or enough is held.
    pub(super) fn read(&mut self, draining: bool, ready_max: usize) {
        if self.is_loading() {
            return;
        }
        let backlog = self.pipeline.backlog();
        // What an earlier run has left comes first, for the sake of order.
        let live = (0..self.pipeline.partitions.len()).filter(|index| Some(*index) != backlog);
        let order: Vec<usize> = backlog.into_iter().chain(live).collect();
        for index in order {
            if self.read_partition(index, draining, ready_max).is_break() {
                break;
            }
        }
        self.arm();
    }

    fn read_partition(&mut self, index: usize, draining: bool, ready_max: usize) -> ControlFlow<()> {
        let bytes_max = self.batcher.limits().bytes_max;
        let mut frames: Vec<Arc<Frame<FrameGuard>>> = Vec::new();
        while self.ready.len() < ready_max && !self.holds_enough(index) {
            let open = self.batcher.bytes();
            // Idle: the first byte wakes the route and starts the linger; else a full batch does.
            let wake_at = if draining || open == 0 {
                1
            } else {
                bytes_max.saturating_sub(open).max(1)
            };
            let pipeline = self.pipeline.clone();
            let end = {
                let mut cursors = self.end().cursors.lock().unwrap_or_else(PoisonError::into_inner);
                let cursor = &mut cursors[index];
                let bytes = self.room(index).clamp(1, bytes_max);
                pipeline.partitions[index].read(self.setup.id, bytes, wake_at, &mut frames, |range| {
                    cursor.pass(range);
                })
            };
            let dry = frames.is_empty();
            self.offer(index, frames.drain(..));
            match end {
                ReadEnd::Cold(block) => {
                    self.load(index, block);
                    return ControlFlow::Break(());
                }
                ReadEnd::Dry if dry => return ControlFlow::Continue(()),
                ReadEnd::Dry | ReadEnd::Full => {}
            }
        }
        // Others wait until the backlog was read.
        if Some(index) == self.pipeline.backlog() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Puts frames into batches, without what is settled of them.
    fn offer(&mut self, index: usize, frames: impl Iterator<Item = Arc<Frame<FrameGuard>>>) {
        let output = self.setup.output.clone();
        let key_of = move |tag: &firelane_record::Tag, event: &firelane_record::Event<'_>| -> Group {
            output.group(tag, event)
        };
        let grouping = match self.setup.output.group_by() {
            GroupBy::All => Grouping::All,
            GroupBy::Tag => Grouping::Tag,
            GroupBy::Record => Grouping::Record(&key_of),
        };
        let now = self.pipeline.now();
        let mut closed = Vec::new();
        let pipeline = self.pipeline.clone();
        let end = &pipeline.routes[usize::from(self.setup.id.0)];
        let cursors = end.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        let cursor = &cursors[index];
        for frame in frames {
            if cursor.is_fresh(&frame) {
                self.batcher.offer(index, &frame, &grouping, now, &mut closed);
                continue;
            }
            for part in cursor.gaps_of(&frame) {
                self.batcher
                    .offer_part(index, &frame, part, &grouping, now, &mut closed);
            }
        }
        drop(cursors);
        for claim in closed {
            self.push_ready(claim);
        }
    }

    fn is_loading(&self) -> bool {
        !self.loads.is_empty()
    }

    /// Reads a block on a thread that may wait.
    fn load(&mut self, partition: usize, block: Arc<Block<FrameGuard>>) {
        let Some(journal) = self.pipeline.journal.clone() else {
            return;
        };
        let name = self.end().name.clone();
        self.loads.spawn(async move {
            loop {
                let (journal, id) = (journal.clone(), block.id());
                let read = move || match journal.load(id) {
                    Ok(image) => Ok(Ok(image)),
                    Err(LoadError::Io(error)) => Err(error),
                    Err(error) => {
                        error!(target: "storage", %error, "records cannot be read back");
                        Ok(Err(journal.table(id).ok()))
                    }
                };
                match tokio::task::spawn_blocking(read).await {
                    Ok(Ok(image)) => {
                        return Loaded {
                            partition,
                            block,
                            image,
                        };
                    }
                    Ok(Err(error)) => {
                        warn!(target: "storage", instance = %name, %error, "records cannot be read back now, trying again");
                    }
                    Err(error) => {
                        warn!(target: "storage", instance = %name, %error, "records cannot be read back now, trying again");
                    }
                }
                tokio::time::sleep(LOAD_AGAIN).await;
            }
        });
    }

    /// A block is there: its frames go into batches.
    pub(super) fn loaded(&mut self, loaded: Loaded) {
        let Loaded {
            partition,
            block,
            image,
        } = loaded;
        let pipeline = self.pipeline.clone();
        let log = &pipeline.partitions[partition];
        let end = &pipeline.routes[usize::from(self.setup.id.0)];
        let mut cursors = end.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        let cursor = &mut cursors[partition];
        match image {
            Ok(image) => {
                let wall = pipeline.wall();
                let only = image.only.clone();
                let frames = log.revive(
                    &block,
                    &image,
                    self.setup.id,
                    cursor,
                    |tag| pipeline.routing_of(tag, only.as_deref()),
                    |wall_ms, records| {
                        let guard = FrameGuard::copy(&pipeline.copies, records.len());
                        (wall.back(wall_ms), guard)
                    },
                );
                drop(cursors);
                self.offer(partition, frames.into_iter());
            }
            Err(table) => {
                let table = table.unwrap_or_default();
                let only = table.only.clone();
                let (lost, done) = log.give_up_block(&block, &table, self.setup.id, cursor, |tag| {
                    pipeline.routing_of(tag, only.as_deref())
                });
                drop(cursors);
                end.counts.dropped.add(Reason::Damaged, lost.records);
                end.counts
                    .retained_bytes
                    .sub(lost.bytes + lost.frames * crate::budget::FRAME_OVERHEAD as u64);
                let mut done: Vec<u64> = done.then_some(block.id()).into_iter().collect();
                if let Some(journal) = &pipeline.journal {
                    journal.settle(&mut Vec::new(), &mut done);
                }
                error!(target: "output", instance = %end.name, records = lost.records, "records on disk are damaged and dropped");
            }
        }
    }

    /// Bytes of records that it may hold beside those that it holds, of partition `index`.
    fn room(&self, index: usize) -> usize {
        let Window { bytes, backlog } = self.setup.window;
        if bytes == usize::MAX || self.sheds {
            return usize::MAX;
        }
        // What is held cannot leave memory: no input's limit may be full of it.
        // Who collects for long has use for more, but below half of a limit, from where on it must hurry.
        let eighths = if self.is_patient() { 3 } else { 2 };
        let part = self.pipeline.budget.smallest_limit() / 8 * eighths / self.pipeline.routes.len().max(1);
        let bytes = bytes.min(part.max(WINDOW_MIN));
        let limit = match self.pipeline.backlog() == Some(index) {
            true => bytes.min(backlog.max(self.batcher.limits().bytes_max)),
            false => bytes,
        };
        limit.saturating_sub(self.held_bytes())
    }

    /// Whether it holds as many records as it may to read more of partition `index`.
    fn holds_enough(&self, index: usize) -> bool {
        self.room(index) == 0
    }

    /// Whether it holds as many records as it may, wherever they come from.
    pub(super) fn is_full(&self) -> bool {
        (0..self.pipeline.partitions.len()).any(|index| self.holds_enough(index))
    }

    pub(super) fn held_bytes(&self) -> usize {
        let ready = self
            .ready
            .iter()
            .chain(self.waiting.iter().map(|waiting| &waiting.claim));
        let claims = ready.chain(self.in_flight.iter().map(|(_, claim)| claim));
        claims.map(firelane_buffer::Claim::bytes).sum::<usize>() + self.batcher.bytes()
    }
}
