//! The router's end of the log on disk: what inputs, routes and the commit thread share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::Thread;

use firelane_buffer::Settled;
use firelane_buffer::disk::RealDisk;
use firelane_buffer::store::dead::DeadLetters;
use firelane_buffer::store::format::{BlockImage, Epitaph};
use firelane_buffer::store::{Blocks, LoadError};

use crate::budget::Budget;
use crate::pipeline::Pipeline;

/// What waits to be written down.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) settled: Vec<Settled>,
    pub(crate) done: Vec<u64>,
}

/// How far the commit thread is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Until {
    /// On and on.
    Told,
    /// All records that are in memory are on disk, if they can be, and then end.
    Empty,
}

/// The log on disk. The commit thread (`commit.rs`) alone writes to it.
pub struct Journal {
    blocks: Arc<Blocks<RealDisk>>,
    dead: Option<Mutex<DeadLetters<RealDisk>>>,
    /// Identities of blocks.
    pub(crate) ids: Arc<AtomicU64>,
    /// The next pipeline's epoch: its blocks come behind those of all before it.
    epochs: AtomicU64,
    pub(crate) budget: Arc<Budget>,
    /// It outlives the process.
    keeps: bool,
    queue: Mutex<Queue>,
    pub(crate) pipelines: Mutex<Vec<Weak<Pipeline>>>,
    thread: OnceLock<Thread>,
    rung: AtomicBool,
    ending: AtomicBool,
    /// Bytes on disk, and the most it may have.
    bytes: AtomicU64,
    limit: u64,
    /// Nothing more can be written.
    full: AtomicBool,
    /// Records of dead letters that are there.
    buried: AtomicU64,
}

impl Journal {
    pub(crate) fn new(
        blocks: Arc<Blocks<RealDisk>>,
        dead: Option<DeadLetters<RealDisk>>,
        budget: Arc<Budget>,
        (epoch, next_id): (u64, u64),
        (keeps, limit): (bool, u64),
    ) -> Arc<Self> {
        let buried = dead.as_ref().map_or(0, DeadLetters::records);
        Arc::new(Self {
            blocks,
            dead: dead.map(Mutex::new),
            ids: Arc::new(AtomicU64::new(next_id)),
            epochs: AtomicU64::new(epoch),
            budget,
            keeps,
            queue: Mutex::default(),
            pipelines: Mutex::default(),
            thread: OnceLock::new(),
            rung: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            limit,
            full: AtomicBool::new(false),
            buried: AtomicU64::new(buried),
        })
    }

    /// Whether what is in it is there after a restart.
    pub fn keeps(&self) -> bool {
        self.keeps
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that it may have; `u64::MAX`: as the disk allows.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether nothing more can be written: inputs wait at the limits of memory.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Records in the folder of dead letters; `None`: there is none.
    pub fn buried(&self) -> Option<u64> {
        self.dead.as_ref().map(|_| self.buried.load(Ordering::Relaxed))
    }

    pub(crate) fn note(&self, bytes: u64, full: bool) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.full.store(full, Ordering::Relaxed);
    }

    pub(crate) fn next_epoch(&self) -> u64 {
        self.epochs.fetch_add(1, Ordering::Relaxed)
    }

    /// Its blocks leave memory and come back through this pipeline too.
    pub(crate) fn attach(&self, pipeline: &Arc<Pipeline>) {
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        pipelines.retain(|known| known.strong_count() > 0);
        pipelines.push(Arc::downgrade(pipeline));
    }

    pub(crate) fn attached(&self) -> Vec<Arc<Pipeline>> {
        let pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        pipelines.iter().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn set_thread(&self, thread: &Thread) {
        // Started once.
        let _ = self.thread.set(thread.clone());
    }

    /// There is something to do.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Whether somebody has rung since the last call.
    pub(crate) fn answer(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.ring();
    }

    pub(crate) fn until(&self) -> Until {
        if self.ending.load(Ordering::Acquire) {
            Until::Empty
        } else {
            Until::Told
        }
    }

    /// Takes down what a route has settled, and the blocks that are done with by it.
    pub(crate) fn settle(&self, settled: &mut Vec<Settled>, done: &mut Vec<u64>) {
        if settled.is_empty() && done.is_empty() {
            return;
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.settled.append(settled);
        queue.done.append(done);
        drop(queue);
        self.ring();
    }

    pub(crate) fn take_queue(&self) -> Queue {
        std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads a block. Blocks the thread.
    pub(crate) fn load(&self, id: u64) -> Result<BlockImage, LoadError> {
        self.blocks.load(id)
    }

    /// Reads a block's table of runs. Blocks the thread.
    pub(crate) fn table(&self, id: u64) -> Result<BlockImage, LoadError> {
        self.blocks.table(id)
    }

    /// Puts records that are given up into the folder of dead letters, durably. Blocks the thread.
    pub(crate) fn bury(&self, epitaph: &Epitaph, image: &BlockImage) -> std::io::Result<()> {
        let Some(dead) = &self.dead else {
            return Err(std::io::Error::other("there is no folder for dead letters"));
        };
        let mut dead = dead.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = dead.bury(epitaph, image)?;
        self.buried.store(dead.records(), Ordering::Relaxed);
        if gone > 0 {
            tracing::error!(target: "storage", records = gone, "the oldest dead letters were deleted: `storage.rejected.limit` is reached");
        }
        Ok(())
    }
}
