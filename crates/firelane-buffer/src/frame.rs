//! A frame: one run of one tag in the log, and the routes that still need it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use firelane_record::{Records, Tag};

use crate::block::Block;

/// A route: one output instance reading the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u16);

/// The routes that a tag leads to, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routing(Box<[RouteId]>);

impl Routing {
    /// A routing to `routes`.
    pub fn new(mut routes: Vec<RouteId>) -> Self {
        routes.sort_unstable();
        routes.dedup();
        Self(routes.into())
    }

    /// The routes.
    pub fn routes(&self) -> &[RouteId] {
        &self.0
    }

    /// Whether `route` is one of them.
    pub fn leads_to(&self, route: RouteId) -> bool {
        self.0.contains(&route)
    }
}

/// What hangs on a frame: the bytes charged to a budget, the holds on tickets.
pub trait Guard: Send + Sized + 'static {
    /// Every route has settled the frame. Not called for a frame that is dropped before.
    fn released(self);

    /// The frame is durable.
    fn durable(&mut self) {}

    /// The frame's records leave memory; they are on disk. Gives what must wait until it is released.
    fn evicted(self) -> Option<Self> {
        Some(self)
    }
}

/// One run of one tag in the log.
#[derive(Debug)]
pub struct Frame<G> {
    /// Place in its partition's order of frames.
    pub(crate) index: u64,
    /// Number of its first record in the partition.
    pub(crate) first: u64,
    /// When it was appended, in milliseconds of the caller's clock.
    pub(crate) appended: u64,
    pub(crate) stream: u64,
    pub(crate) tag: Tag,
    pub(crate) records: Records,
    pub(crate) routing: Arc<Routing>,
    /// Routes that have not settled it.
    open: AtomicU32,
    guard: Mutex<Option<G>>,
    /// The block that has it on disk, or will have, and the number of its first record there.
    home: OnceLock<(Arc<Block<G>>, u32)>,
    /// Read back from disk for one route: it stands in no partition.
    copy: bool,
}

/// What a settlement finished.
#[derive(Debug)]
pub struct Done<G> {
    /// The frame is settled for this route.
    pub frame: bool,
    /// The frame's block and the number of the frame's first record there.
    pub home: Option<(Arc<Block<G>>, u32)>,
    /// With it the whole block is done with.
    pub block: bool,
}

impl<G: Guard> Frame<G> {
    pub(crate) fn new(place: Place, tag: Tag, records: Records, routing: Arc<Routing>, guard: G) -> Self {
        let open = routing.routes().len() as u32;
        Self::with(place, tag, records, (routing, open), guard, false)
    }

    /// A frame that was read back from `block` for one route.
    pub(crate) fn copy(
        place: Place,
        tag: Tag,
        records: Records,
        routing: Arc<Routing>,
        guard: G,
        home: (Arc<Block<G>>, u32),
    ) -> Self {
        let frame = Self::with(place, tag, records, (routing, 1), guard, true);
        frame.set_home(home);
        frame
    }

    fn with(
        place: Place,
        tag: Tag,
        records: Records,
        (routing, open): (Arc<Routing>, u32),
        guard: G,
        copy: bool,
    ) -> Self {
        let Place {
            index,
            first,
            appended,
            stream,
        } = place;
        Self {
            index,
            first,
            appended,
            stream,
            tag,
            records,
            routing,
            open: AtomicU32::new(open),
            guard: Mutex::new(Some(guard)),
            home: OnceLock::new(),
            copy,
        }
    }

    /// The run.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Its tag.
    pub fn tag(&self) -> &Tag {
        &self.tag
    }

    /// The stream it belongs to.
    pub fn stream(&self) -> u64 {
        self.stream
    }

    /// When it was appended, in milliseconds of the caller's clock.
    pub fn appended(&self) -> u64 {
        self.appended
    }

    /// The routes it was routed to.
    pub fn routing(&self) -> &Routing {
        &self.routing
    }

    /// Routes that have not settled it; 1 for a copy that was read back from disk.
    pub fn open_routes(&self) -> u32 {
        self.open.load(Ordering::Acquire)
    }

    /// Whether it was read back from disk: others may need the original too.
    pub fn is_copy(&self) -> bool {
        self.copy
    }

    /// The block that has it, and the number of its first record there.
    pub fn home(&self) -> Option<&(Arc<Block<G>>, u32)> {
        self.home.get()
    }

    /// Puts it into a block; only while nobody but the partition has it.
    pub(crate) fn set_home(&self, home: (Arc<Block<G>>, u32)) {
        // A frame has one home; it is never given a second one.
        let _ = self.home.set(home);
    }

    /// Looks at what hangs on it; `None` once it is released.
    pub fn look<T>(&self, look: impl FnOnce(&G) -> T) -> Option<T> {
        let guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        guard.as_ref().map(look)
    }

    /// It is durable.
    pub(crate) fn durable(&self) {
        if let Some(guard) = &mut *self.guard.lock().unwrap_or_else(PoisonError::into_inner) {
            guard.durable();
        }
    }

    /// Its records leave memory.
    pub(crate) fn evicted(&self) -> Option<G> {
        let guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner).take();
        guard.and_then(G::evicted)
    }

    /// The record numbers it covers.
    pub(crate) fn range(&self) -> std::ops::Range<u64> {
        self.first..self.first + u64::from(self.records.count())
    }

    /// One route is done with it. True when it was the last one: the frame is released.
    pub(crate) fn done_for_route(&self) -> bool {
        if self.open.fetch_sub(1, Ordering::AcqRel) != 1 {
            return false;
        }
        if let Some(guard) = self.guard.lock().unwrap_or_else(PoisonError::into_inner).take() {
            guard.released();
        }
        true
    }
}

/// Where and when a frame stands in its partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) index: u64,
    pub(crate) first: u64,
    pub(crate) appended: u64,
    pub(crate) stream: u64,
}
