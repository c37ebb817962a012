//! A frame: one run of one tag in the log, and the routes that still need it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use firelane_record::{Records, Tag};

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

/// What hangs on a frame: the bytes charged to a budget, the hold on a ticket.
pub trait Guard: Send + 'static {
    /// Every route has settled the frame. Not called for a frame that is dropped before.
    fn released(self);
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
}

impl<G: Guard> Frame<G> {
    pub(crate) fn new(place: Place, tag: Tag, records: Records, routing: Arc<Routing>, guard: G) -> Self {
        let open = AtomicU32::new(routing.routes().len() as u32);
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
            open,
            guard: Mutex::new(Some(guard)),
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

    /// Routes that have not settled it.
    pub fn open_routes(&self) -> u32 {
        self.open.load(Ordering::Acquire)
    }

    /// Looks at what hangs on it; `None` once it is released.
    pub fn look<T>(&self, look: impl FnOnce(&G) -> T) -> Option<T> {
        let guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        guard.as_ref().map(look)
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
