//! A running pipeline: the chain, the log and the ends of its routes that inputs touch.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use firelane_buffer::{Append, Cursor, Guard, Partition, RouteId, Routing};
use firelane_core::{
    AckOn, BoxFuture, Counter, Hold, IngestError, InputCounts, OutputCounts, Reason, Sink, Stream, Ticket,
};
use firelane_record::{Records, Tag};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

use crate::budget::{Budget, Charge, FRAME_OVERHEAD, InputBudget};
use crate::chain::{Chain, Routed, Run};
use crate::journal::Journal;
use crate::ledger::IngestCounts;
use crate::shares::Overflow;

/// What hangs on a frame: its charge to the budget while it is in memory, the tickets of inputs that wait
/// until it is on disk, and of those that wait for delivery.
#[derive(Debug)]
pub struct FrameGuard {
    budget: Arc<InputBudget>,
    charge: Option<Charge>,
    on_disk: Vec<Hold>,
    on_release: Vec<Hold>,
}

impl FrameGuard {
    /// What hangs on a copy that was read back from disk.
    pub(crate) fn copy(budget: &Arc<InputBudget>, bytes: usize) -> Self {
        Self {
            budget: budget.clone(),
            charge: Some(budget.charge(bytes)),
            on_disk: Vec::new(),
            on_release: Vec::new(),
        }
    }

    /// Whether its input reads it again after a restart, unless it is delivered before.
    pub fn waits_for_delivery(&self) -> bool {
        !self.on_release.is_empty()
    }

    /// The budget of the input that the frame came from.
    pub fn budget(&self) -> &InputBudget {
        &self.budget
    }
}

impl Guard for FrameGuard {
    fn released(self) {
        drop(self.charge);
        let holds = self.on_disk.into_iter().chain(self.on_release);
        holds.for_each(Hold::close);
    }

    fn durable(&mut self) {
        self.on_disk.drain(..).for_each(Hold::close);
        if self.budget.is_kept() && !self.budget.acks_on_delivery() {
            self.on_release.drain(..).for_each(Hold::close);
        }
    }

    fn evicted(mut self) -> Option<Self> {
        self.charge = None;
        let waits = !self.on_disk.is_empty() || !self.on_release.is_empty();
        waits.then_some(self)
    }
}

/// The end of a route that appends and the control side touch.
#[derive(Debug)]
pub struct RouteEnd {
    /// Instance name or alias.
    pub name: Arc<str>,
    /// Its name in the log on disk: the same as long as it is the same destination.
    pub key: Arc<str>,
    /// Its counters.
    pub counts: Arc<OutputCounts>,
    /// What it has settled, by partition. Here, so that a route that begins anew goes on where it was.
    pub(crate) cursors: Mutex<Vec<Cursor>>,
    /// Wakes the route's loop.
    pub wake: Notify,
    /// It was woken because a limit is half used, and has not looked yet.
    pub hurry: AtomicBool,
    /// Its destination is dead: [`crate::shares`] says when.
    pub dead: AtomicBool,
    /// `storage.total_limit_size` in bytes.
    pub share: Option<usize>,
    /// What becomes of records beyond that.
    pub overflow: Overflow,
    /// Rounds of the route's loop: whether it moves.
    pub(crate) beats: Counter,
    /// When its oldest unsettled record was appended, in the pipeline's milliseconds, and so much later as
    /// the output waits by itself for more; `u64::MAX` if there is none.
    pub oldest: AtomicU64,
}

impl RouteEnd {
    /// The end of a route that has done nothing yet.
    pub fn new(name: Arc<str>, key: Arc<str>, share: Option<usize>, overflow: Overflow) -> Self {
        Self {
            name,
            key,
            cursors: Mutex::default(),
            counts: Arc::default(),
            wake: Notify::new(),
            hurry: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            share,
            overflow,
            beats: Counter::default(),
            oldest: AtomicU64::new(u64::MAX),
        }
    }
}

/// Chain, log and routes of one configuration.
pub struct Pipeline {
    /// Filters and routing.
    pub chain: Chain,
    /// The log: partitions for inputs whose records are in memory first, as many for durable ones, and
    /// one for what an earlier run has left on disk.
    pub partitions: Vec<Partition<FrameGuard>>,
    layout: Layout,
    /// Its place in the order of all that is in the log on disk.
    pub(crate) log_epoch: u64,
    /// The log on disk, if there is one.
    pub(crate) journal: Option<Arc<Journal>>,
    /// What copies that are read back from disk are charged to.
    pub(crate) copies: Arc<InputBudget>,
    /// The routes, by number.
    pub routes: Vec<RouteEnd>,
    /// Counters of the chain and the log; kept over a reload.
    pub counts: Arc<IngestCounts>,
    /// The process's budget.
    pub budget: Arc<Budget>,
    /// Zero of its clock.
    pub epoch: Instant,
    /// A reload has replaced it: when its time to deliver in peace is over, in its milliseconds; `u64::MAX`
    /// before.
    retired: AtomicU64,
    unrouted: Mutex<Vec<Tag>>,
}

/// What a frame of `records` is charged with, to the budgets and to each of its routes alike.
pub(crate) fn retained_bytes(records: &Records) -> u64 {
    retained_len(records.len())
}

/// The same for `len` bytes of records.
pub(crate) fn retained_len(len: usize) -> u64 {
    (len + FRAME_OVERHEAD) as u64
}

/// Which partitions there are.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Partitions for inputs whose records are in memory first, at least one.
    pub width: usize,
    /// As many for durable inputs.
    pub durable: bool,
    /// One more for what an earlier run has left.
    pub backlog: bool,
}

/// Milliseconds that the pipeline's clock is ahead of its start, so that records of an earlier run have a
/// time on it too: 30 days.
const CLOCK_START: u64 = 30 * 24 * 3600 * 1000;

/// Both clocks at one moment, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wall {
    now: u64,
    wall: u64,
}

impl Wall {
    /// Milliseconds since 1970 of a time on the pipeline's clock.
    pub(crate) fn of(self, time: u64) -> u64 {
        self.wall.saturating_sub(self.now.saturating_sub(time))
    }

    /// The time on the pipeline's clock of milliseconds since 1970; what lies ahead is now.
    pub(crate) fn back(self, wall: u64) -> u64 {
        self.now.saturating_sub(self.wall.saturating_sub(wall))
    }
}

/// Tags without an output that are named in a warning; later ones are only counted.
const UNROUTED_NAMED_MAX: usize = 64;

impl Pipeline {
    /// A pipeline with an empty log.
    pub fn new(
        chain: Chain,
        routes: Vec<RouteEnd>,
        layout: Layout,
        counts: Arc<IngestCounts>,
        budget: Arc<Budget>,
        journal: Option<Arc<Journal>>,
    ) -> Self {
        let width = layout.width.max(1);
        let layout = Layout { width, ..layout };
        let count = width * (1 + usize::from(layout.durable)) + usize::from(layout.backlog);
        let ids = journal.as_ref().map(|journal| journal.ids.clone());
        let ids = ids.unwrap_or_default();
        let partition = |number| Partition::new(number as u16, routes.len() as u16, ids.clone());
        let partitions: Vec<_> = (0..count).map(partition).collect();
        for route in &routes {
            let cursors = partitions.iter().map(|_| Cursor::new()).collect();
            *route.cursors.lock().unwrap_or_else(PoisonError::into_inner) = cursors;
        }
        let copies = InputBudget::new("(read back)".into(), None, budget.clone(), Arc::default());
        Self {
            chain,
            partitions,
            layout,
            log_epoch: journal.as_ref().map_or(0, |journal| journal.next_epoch()),
            journal,
            copies,
            routes,
            counts,
            budget,
            epoch: Instant::now(),
            retired: AtomicU64::new(u64::MAX),
            unrouted: Mutex::default(),
        }
    }

    /// The partition for what an earlier run has left.
    pub fn backlog(&self) -> Option<usize> {
        self.layout.backlog.then(|| self.partitions.len() - 1)
    }

    fn partition_of(&self, stream: u64, durable: bool) -> usize {
        let Layout { width, .. } = self.layout;
        stream as usize % width + if durable { width } else { 0 }
    }

    /// Whether a route may refuse new records.
    pub(crate) fn may_refuse(&self) -> bool {
        let refuses = |route: &RouteEnd| route.overflow == Overflow::DropNewest && route.share.is_some();
        self.routes.iter().any(refuses)
    }

    /// Both clocks now.
    pub(crate) fn wall(&self) -> Wall {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Wall {
            now: self.now(),
            wall: since.map_or(0, |since| since.as_millis() as u64),
        }
    }

    /// Milliseconds on the pipeline's clock.
    pub fn now(&self) -> u64 {
        CLOCK_START + self.epoch.elapsed().as_millis() as u64
    }

    /// A time on the pipeline's clock as an instant.
    pub fn instant(&self, time: u64) -> Instant {
        self.epoch + Duration::from_millis(time.saturating_sub(CLOCK_START))
    }

    /// A reload has replaced it; it delivers what it has, in peace for `grace`.
    pub fn retire(&self, grace: Duration) {
        let until = self.now().saturating_add(grace.as_millis() as u64);
        self.retired.store(until.min(u64::MAX - 1), Ordering::Release);
    }

    /// The router ends: what a replaced pipeline still has is sent like everything else.
    pub fn hurry(&self) {
        self.retired.store(u64::MAX, Ordering::Release);
        self.routes.iter().for_each(|route| route.wake.notify_one());
    }

    /// Whether records that do not fit into memory go to disk.
    pub(crate) fn may_spill(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| !journal.is_full())
    }

    /// Records that are in memory alone, each counted once.
    pub(crate) fn unsaved(&self) -> u64 {
        self.partitions.iter().map(Partition::unsaved).sum()
    }

    /// Whether a reload has replaced it, and how long its time in peace still is.
    pub fn retired(&self) -> Option<Duration> {
        let until = self.retired.load(Ordering::Acquire);
        (until != u64::MAX).then(|| Duration::from_millis(until.saturating_sub(self.now())))
    }

    /// Appends a run to the log. Tickets of inputs that wait for no more than that close here.
    fn append(&self, routed: Routed) {
        let Routed { run, routing } = routed;
        let Run {
            stream,
            tag,
            records,
            budget,
            mut holds,
            ack_on,
        } = run;
        let count = u64::from(records.count());
        if routing.routes().is_empty() {
            self.counts.unrouted.add(count);
            self.warn_unrouted(&tag);
            holds.into_iter().for_each(Hold::close);
            return;
        }
        self.counts.appended.add(count);
        budget.note(&routing);
        let bytes = retained_bytes(&records);
        let mut refusing = Vec::new();
        let Some(routing) = self.admit(&routing, count, bytes, &mut refusing) else {
            holds.into_iter().for_each(Hold::close);
            return;
        };
        let durable = self.layout.durable && budget.is_durable();
        // What is on disk is not lost: whoever waits for delivery need not wait longer than for that.
        let (now, on_disk, on_release) = match (durable, ack_on) {
            _ if budget.acks_on_delivery() => (Vec::new(), Vec::new(), std::mem::take(&mut holds)),
            (true, _) => (Vec::new(), std::mem::take(&mut holds), Vec::new()),
            (false, AckOn::Append) => (std::mem::take(&mut holds), Vec::new(), Vec::new()),
            (false, AckOn::Delivery) => (Vec::new(), Vec::new(), std::mem::take(&mut holds)),
        };
        let guard = FrameGuard {
            charge: Some(budget.charge(records.len())),
            budget,
            on_disk,
            on_release,
        };
        let append = Append {
            stream,
            now: self.now(),
            tag,
            records,
            routing,
            guard,
            durable,
        };
        let index = self.partition_of(stream, durable);
        let refusing: Vec<_> = refusing
            .iter()
            .map(|id| &self.routes[usize::from(id.0)].cursors)
            .map(|cursors| cursors.lock().unwrap_or_else(PoisonError::into_inner))
            .collect();
        let numbers = self.partitions[index].append(append, |route| {
            self.routes[usize::from(route.0)].wake.notify_one()
        });
        // A block does not know who refused its records; the routes themselves do.
        for mut cursors in refusing {
            cursors[index].pass(numbers.clone());
        }
        if let Some(journal) = self.journal.as_ref().filter(|_| durable) {
            journal.ring();
        }
        now.into_iter().for_each(Hold::close);
    }

    /// Counts a run for its routes and gives those that take it: not one that is over its limit and drops
    /// what is new. `None`: nobody takes it.
    fn admit(
        &self,
        routing: &Arc<Routing>,
        count: u64,
        bytes: u64,
        refusing: &mut Vec<RouteId>,
    ) -> Option<Arc<Routing>> {
        for &id in routing.routes() {
            let route = &self.routes[usize::from(id.0)];
            route.counts.routed.add(count);
            let over = route
                .share
                .is_some_and(|share| route.counts.retained_bytes.get() >= share as u64);
            if !over {
                route.counts.retained_bytes.add(bytes);
                continue;
            }
            match route.overflow {
                Overflow::DropNewest => {
                    route.counts.dropped.add(Reason::OverLimit, count);
                    refusing.push(id);
                    continue;
                }
                Overflow::Block => self.budget.block(id),
                Overflow::DropOldest | Overflow::DeadLetter => route.wake.notify_one(),
            }
            route.counts.retained_bytes.add(bytes);
        }
        if refusing.is_empty() {
            return Some(routing.clone());
        }
        let taking = routing.routes().iter().filter(|id| !refusing.contains(id));
        let taking = Routing::new(taking.copied().collect());
        (!taking.routes().is_empty()).then(|| Arc::new(taking))
    }

    /// A route has settled something: inputs that it has stopped may go on.
    pub(crate) fn unblock(&self, id: RouteId) {
        let route = &self.routes[usize::from(id.0)];
        if route.overflow == Overflow::Block
            && let Some(share) = route.share
            && self.retired().is_none()
            && (route.counts.retained_bytes.get() as usize) < share - share / 16
        {
            self.budget.unblock(id);
        }
    }

    /// Lets stages emit what has waited long enough at `now`. Gives the time of the next call, if any stage
    /// holds records.
    pub fn expire(&self, now: std::time::Instant) -> Option<std::time::Instant> {
        self.chain
            .expire(now, &self.counts, &mut |routed| self.append(routed));
        self.chain.deadline()
    }

    pub(crate) fn warn_unrouted(&self, tag: &Tag) {
        let mut named = self.unrouted.lock().unwrap_or_else(PoisonError::into_inner);
        if named.len() < UNROUTED_NAMED_MAX && !named.contains(tag) {
            named.push(tag.clone());
            warn!(target: "engine", %tag, "no output matches this tag: its records are counted as unrouted");
        }
    }

    /// A limit is half used: batches go out without waiting for more, and routes look whether they must give
    /// something up (see [`crate::shares`]). They look again on every event of their own.
    fn relieve(&self) {
        for route in &self.routes {
            if !route.hurry.swap(true, Ordering::AcqRel) {
                route.wake.notify_one();
            }
        }
    }
}

/// The pipeline that appends go to; replaced by a reload.
pub type Current = Arc<RwLock<Arc<Pipeline>>>;

/// One input's end of the engine.
pub struct InputSink {
    /// Where appends go.
    pub current: Current,
    /// Its part of the memory budget.
    pub budget: Arc<InputBudget>,
    /// Its counters.
    pub counts: Arc<InputCounts>,
    /// `Routable false`: records are read and discarded.
    pub routable: bool,
}

impl Sink for InputSink {
    fn append(&self, stream: &Stream, tag: &Tag, records: Records) -> Result<Ticket, IngestError> {
        let count = u64::from(records.count());
        if self.budget.is_closed() {
            return Err(IngestError::Stopped);
        }
        self.counts.records.add(count);
        self.counts.bytes.add(records.len() as u64);
        // The guard is held over the append, so that a reload never sees a late append to the old pipeline.
        let pipeline = self.current.read().unwrap_or_else(PoisonError::into_inner);
        if !self.routable {
            pipeline.counts.dropped.add(Reason::Filtered, count);
            return Ok(Ticket::closed());
        }
        let ack_on = stream.ack_on();
        let durable = self.budget.is_durable() && pipeline.layout.durable;
        let waits = durable || ack_on == AckOn::Delivery || self.budget.acks_on_delivery();
        let (ticket, holds) = if waits || pipeline.chain.may_hold(tag) {
            let (ticket, hold) = Ticket::open();
            (ticket, vec![hold])
        } else {
            (Ticket::closed(), Vec::new())
        };
        let (tag, budget) = (tag.clone(), self.budget.clone());
        let run = Run {
            stream: stream.id(),
            tag,
            records,
            budget,
            holds,
            ack_on,
        };
        pipeline
            .chain
            .run(run, &pipeline.counts, &mut |routed| pipeline.append(routed));
        if self.budget.under_pressure() {
            pipeline.relieve();
            if let Some(journal) = pipeline.journal.as_ref().filter(|_| self.budget.wants_room()) {
                journal.ring();
            }
        }
        Ok(ticket)
    }

    fn ready(&self) -> Option<BoxFuture<'static, ()>> {
        self.budget.ready()
    }

    fn pace(&self, bytes: usize) -> Option<BoxFuture<'static, ()>> {
        self.budget.pace(bytes)
    }
}
