//! The commit thread: it alone writes to the log. Each round takes what is there (blocks of durable inputs,
//! settlements), brings records out of memory where it is tight, and writes and syncs all of it together.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use firelane_buffer::disk::RealDisk;
use firelane_buffer::store::Progress;
use firelane_buffer::store::format::BlockImage;
use firelane_buffer::{Block, Group, RouteId, Settled, Store};
use tracing::{error, info};

use crate::journal::{Journal, Until};
use crate::pipeline::{FrameGuard, Pipeline};

/// Shortest time from the start of one round to that of the next: what comes meanwhile shares a sync.
const ROUND: Duration = Duration::from_millis(5);
/// Longest time between two rounds: to tidy up.
const IDLE: Duration = Duration::from_secs(10);
/// The same while memory is tight and nothing could leave it: somebody may let go of it.
const TIGHT: Duration = Duration::from_millis(50);
/// Bytes that are written and synced together.
const GROUP_BYTES: usize = 2 * 1024 * 1024;
/// Wait after a write that failed.
const FAILED_WAIT: Duration = Duration::from_millis(500);
/// Shortest time between two log lines about one trouble.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// Bytes copied out of sparse segments in one round.
const COMPACT_BYTES: u64 = 2 * 1024 * 1024;
/// With so many bytes on disk it is looked run by run what is needed of them, and how often.
const ASSESS_BYTES: u64 = 64 * 1024 * 1024;
const ASSESS_EVERY: Duration = Duration::from_secs(10);
/// Records behind each read position that stay in memory, in bytes.
const NEAR: usize = 2 * 1024 * 1024;

/// Starts the thread. It ends after [`Journal::end`].
pub(crate) fn start(journal: Arc<Journal>, store: Store<RealDisk>) -> io::Result<JoinHandle<()>> {
    let writer = Writer {
        journal: journal.clone(),
        store,
        blocks: Vec::new(),
        settled: Vec::new(),
        done: Vec::new(),
        trouble: None,
        assessed: Instant::now(),
    };
    let thread = std::thread::Builder::new()
        .name("commit".into())
        .spawn(move || writer.run())?;
    journal.set_thread(thread.thread());
    Ok(thread)
}

/// A block on its way to the disk.
struct Pending {
    block: Arc<Block<FrameGuard>>,
    /// The pipeline whose clock its frames have.
    pipeline: Arc<Pipeline>,
}

/// Writes fail.
struct Trouble {
    since: Instant,
    told: Instant,
}

struct Writer {
    journal: Arc<Journal>,
    store: Store<RealDisk>,
    blocks: Vec<Pending>,
    settled: Vec<Settled>,
    done: Vec<u64>,
    trouble: Option<Trouble>,
    /// When it was last looked what is needed.
    assessed: Instant,
}

/// Says so when the thread dies of a bug, and that nothing can be written any more.
struct Bell(Arc<Journal>);

impl Drop for Bell {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.note(self.0.bytes(), true);
            error!(target: "storage", "a bug: the commit thread has ended; nothing durable is acknowledged any more, restart the router and report it");
        }
    }
}

impl Writer {
    fn run(mut self) {
        let _bell = Bell(self.journal.clone());
        loop {
            let start = Instant::now();
            let until = self.journal.until();
            let worked = self.round(until == Until::Empty);
            if until == Until::Empty && (!worked || self.trouble.is_some()) {
                self.store.close();
                return;
            }
            let wait = match &self.trouble {
                Some(_) => FAILED_WAIT,
                None if worked => ROUND.saturating_sub(start.elapsed()),
                None if self.journal.budget.excess() > 0 => TIGHT,
                None => IDLE,
            };
            self.rest(wait, worked);
        }
    }

    /// Sleeps; somebody who rings ends that, but not the pause between two rounds.
    fn rest(&self, wait: Duration, worked: bool) {
        let end = Instant::now() + wait;
        loop {
            let ringing = self.journal.answer();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || (ringing && !worked && self.trouble.is_none()) {
                return;
            }
            if worked || self.trouble.is_some() {
                std::thread::sleep(left);
            } else {
                std::thread::park_timeout(left);
            }
        }
    }

    /// One round. False when there was nothing to do.
    fn round(&mut self, all: bool) -> bool {
        // In this order: what is settled belongs to blocks that are found now, or were before.
        let queue = self.journal.take_queue();
        self.settled.extend(queue.settled);
        self.done.extend(queue.done);
        let pipelines = self.journal.attached();
        for pipeline in &pipelines {
            for (index, partition) in pipeline.partitions.iter().enumerate() {
                let blocks = partition.take_blocks();
                for block in blocks.iter().filter(|_| pipeline.may_refuse()) {
                    self.settled_before(pipeline, index, block);
                }
                self.take(pipeline, blocks);
            }
        }
        let mut worked = self.write();
        // First what is on disk leaves memory, then more is written.
        for _ in 0..2 {
            worked |= self.spill(&pipelines, all);
            worked |= self.write();
        }
        if !worked && self.trouble.is_none() {
            worked = self.compact();
        }
        let full = self.trouble.is_some() || !self.has_room();
        self.journal.note(self.store.bytes(), full);
        worked
    }

    fn take(&mut self, pipeline: &Arc<Pipeline>, blocks: Vec<Arc<Block<FrameGuard>>>) {
        self.blocks.extend(blocks.into_iter().map(|block| Pending {
            block,
            pipeline: pipeline.clone(),
        }));
    }

    fn has_room(&self) -> bool {
        self.store.bytes() < self.journal.limit()
    }

    /// Brings records out of memory, as far as a limit is near; all of them at the end of a log that is kept.
    fn spill(&mut self, pipelines: &[Arc<Pipeline>], all: bool) -> bool {
        let mut worked = false;
        let may_write = self.trouble.is_none() && self.has_room();
        let all = all && self.journal.keeps();
        for pipeline in pipelines {
            for (index, partition) in pipeline.partitions.iter().enumerate() {
                let excess = if all {
                    usize::MAX
                } else {
                    self.journal.budget.excess()
                };
                if excess == 0 {
                    return worked;
                }
                let near = if all {
                    0
                } else {
                    NEAR.min(self.journal.budget.smallest_limit() / 8)
                };
                let bytes = excess.min(GROUP_BYTES * 2);
                let spilled = partition.spill(bytes, near, may_write, |guard| match all {
                    // What its input reads again needs no second home.
                    true => !guard.waits_for_delivery(),
                    false => guard.budget().wants_room(),
                });
                worked |= spilled.freed > 0 || !spilled.blocks.is_empty();
                for block in &spilled.blocks {
                    self.settled_before(pipeline, index, block);
                }
                self.take(pipeline, spilled.blocks);
            }
        }
        worked
    }

    /// What routes had settled of frames, or refused, before those joined a block: nobody has written
    /// that down.
    fn settled_before(&mut self, pipeline: &Pipeline, partition: usize, block: &Block<FrameGuard>) {
        block.each(|frame, at| {
            for route in pipeline.chain.routing(frame.tag()).routes() {
                let end = &pipeline.routes[usize::from(route.0)];
                let cursors = end.cursors.lock().unwrap_or_else(PoisonError::into_inner);
                let settled = cursors[partition].settled_of(frame);
                self.settled.extend(settled.into_iter().map(|(from, to)| Settled {
                    block: block.id(),
                    route: end.key.clone(),
                    from: at + from,
                    to: at + to,
                }));
            }
        });
    }

    /// Writes what waits, in groups. Settlements go with the last of them: their blocks are written then.
    fn write(&mut self) -> bool {
        self.blocks.retain(|pending| pending.block.is_needed());
        if self.blocks.is_empty() && self.settled.is_empty() && self.done.is_empty() {
            return false;
        }
        let mut worked = false;
        loop {
            let room = self.has_room();
            let images = if room { self.images() } else { Vec::new() };
            let last = images.len() == self.blocks.len() || !room;
            let none = (Vec::new(), Vec::new());
            let (settled, done) = if last {
                (std::mem::take(&mut self.settled), std::mem::take(&mut self.done))
            } else {
                none
            };
            if images.is_empty() && settled.is_empty() && done.is_empty() {
                return worked;
            }
            let result = self.store.commit(&Group {
                blocks: &images,
                settled: &settled,
                done: &done,
            });
            if let Err(error) = result {
                self.settled.extend(settled);
                self.forget_settled();
                self.failed(&error);
                return worked;
            }
            self.works();
            worked = true;
            for pending in self.blocks.drain(..images.len()) {
                pending.block.set_written();
            }
            if last {
                return worked;
            }
        }
    }

    /// While nothing can be written: settlements of blocks that are gone need not be kept.
    fn forget_settled(&mut self) {
        let waiting: HashSet<u64> = self.blocks.iter().map(|pending| pending.block.id()).collect();
        let store = &self.store;
        self.settled
            .retain(|settled| waiting.contains(&settled.block) || store.has(settled.block));
    }

    /// The first blocks that wait, about a group's bytes of them.
    fn images(&self) -> Vec<BlockImage> {
        let mut bytes = 0;
        let mut images = Vec::new();
        for Pending { block, pipeline } in &self.blocks {
            if bytes >= GROUP_BYTES {
                break;
            }
            let wall = pipeline.wall();
            let image = block.image(pipeline.log_epoch, |appended| wall.of(appended));
            bytes += image.bytes();
            images.push(image);
        }
        images
    }

    fn failed(&mut self, error: &io::Error) {
        let now = Instant::now();
        let trouble = self.trouble.get_or_insert(Trouble {
            since: now,
            told: now - TELL_EVERY,
        });
        if now.saturating_duration_since(trouble.told) >= TELL_EVERY {
            trouble.told = now;
            let since_s = now.saturating_duration_since(trouble.since).as_secs();
            error!(target: "storage", %error, since_s,
                "cannot write to the log: nothing is acknowledged that needs it, inputs wait when memory is used up; make room, \
                 or mend the disk");
        }
    }

    fn works(&mut self) {
        if let Some(trouble) = self.trouble.take() {
            let lasted_s = trouble.since.elapsed().as_secs_f32();
            info!(target: "storage", lasted_s, "the log can be written again");
        }
    }

    /// Makes room of what nobody needs: by segment, and within blocks by run where much is on disk.
    fn compact(&mut self) -> bool {
        let pipelines = self.journal.attached();
        let hollow = |image: &mut BlockImage, progress: Progress<'_>| {
            let (mut at, only) = (0, image.only.clone());
            for entry in &mut image.entries {
                let (from, to) = (at, at + entry.count);
                at = to;
                let needs = |pipeline: &Arc<Pipeline>| {
                    let routing = pipeline.routing_of(&entry.tag, only.as_deref());
                    let settled = |route: &RouteId| {
                        let key = &pipeline.routes[usize::from(route.0)].key;
                        progress.is_settled(key, from, to)
                    };
                    routing.routes().is_empty() || !routing.routes().iter().all(settled)
                };
                if !pipelines.is_empty() && !pipelines.iter().any(needs) {
                    entry.hollow();
                }
            }
        };
        if self.store.bytes() > ASSESS_BYTES && self.assessed.elapsed() > ASSESS_EVERY {
            self.assessed = Instant::now();
            self.store.assess(hollow);
        }
        match self.store.compact(COMPACT_BYTES, hollow) {
            Ok(more) => more,
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }
}
