//! A running pipeline: the chain, the log and the ends of its routes that inputs touch.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use firelane_buffer::{Append, Guard, Partition};
use firelane_core::{
    AckOn, BoxFuture, Hold, IngestError, InputCounts, OutputCounts, Reason, Sink, Stream, Ticket,
};
use firelane_record::{Records, Tag};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

use crate::budget::{Budget, Charge, FRAME_OVERHEAD, InputBudget};
use crate::chain::{Chain, Routed, Run};
use crate::ledger::IngestCounts;

/// What hangs on a frame: its charge to the budget, and the tickets of inputs that wait for delivery.
#[derive(Debug)]
pub struct FrameGuard {
    charge: Charge,
    holds: Vec<Hold>,
}

impl FrameGuard {
    /// The budget of the input that the frame came from.
    pub fn budget(&self) -> &InputBudget {
        self.charge.budget()
    }
}

impl Guard for FrameGuard {
    fn released(self) {
        drop(self.charge);
        self.holds.into_iter().for_each(Hold::close);
    }
}

/// The end of a route that appends and the control side touch.
#[derive(Debug)]
pub struct RouteEnd {
    /// Instance name or alias.
    pub name: Arc<str>,
    /// Its counters.
    pub counts: Arc<OutputCounts>,
    /// Wakes the route's loop.
    pub wake: Notify,
    /// It was woken because a limit is half used, and has not looked yet.
    pub hurry: AtomicBool,
    /// Its destination is dead: [`crate::shares`] says when.
    pub dead: AtomicBool,
    /// `storage.total_limit_size` in bytes.
    pub share: Option<usize>,
    /// When its oldest unsettled record was appended, in the pipeline's milliseconds; `u64::MAX` if there is
    /// none.
    pub oldest: AtomicU64,
}

impl RouteEnd {
    /// The end of a route that has done nothing yet.
    pub fn new(name: Arc<str>, share: Option<usize>) -> Self {
        Self {
            name,
            counts: Arc::default(),
            wake: Notify::new(),
            hurry: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            share,
            oldest: AtomicU64::new(u64::MAX),
        }
    }
}

/// Chain, log and routes of one configuration.
pub struct Pipeline {
    /// Filters and routing.
    pub chain: Chain,
    /// The log.
    pub partitions: Vec<Partition<FrameGuard>>,
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
    (records.len() + FRAME_OVERHEAD) as u64
}

/// Tags without an output that are named in a warning; later ones are only counted.
const UNROUTED_NAMED_MAX: usize = 64;

impl Pipeline {
    /// A pipeline with an empty log of `partitions` partitions.
    pub fn new(
        chain: Chain,
        routes: Vec<RouteEnd>,
        partitions: usize,
        counts: Arc<IngestCounts>,
        budget: Arc<Budget>,
    ) -> Self {
        let partitions = (0..partitions.max(1))
            .map(|_| Partition::new(routes.len() as u16))
            .collect();
        Self {
            chain,
            partitions,
            routes,
            counts,
            budget,
            epoch: Instant::now(),
            retired: AtomicU64::new(u64::MAX),
            unrouted: Mutex::default(),
        }
    }

    /// Milliseconds on the pipeline's clock.
    pub fn now(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
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
        for route in routing.routes() {
            let counts = &self.routes[usize::from(route.0)].counts;
            counts.routed.add(count);
            counts.retained_bytes.add(bytes);
        }
        let done = if ack_on == AckOn::Append {
            std::mem::take(&mut holds)
        } else {
            Vec::new()
        };
        let guard = FrameGuard {
            charge: budget.charge(records.len()),
            holds,
        };
        let partition = &self.partitions[stream as usize % self.partitions.len()];
        let append = Append {
            stream,
            now: self.now(),
            tag,
            records,
            routing,
            guard,
        };
        partition.append(append, |route| {
            self.routes[usize::from(route.0)].wake.notify_one()
        });
        done.into_iter().for_each(Hold::close);
    }

    /// Lets stages emit what has waited long enough at `now`. Gives the time of the next call, if any stage
    /// holds records.
    pub fn expire(&self, now: std::time::Instant) -> Option<std::time::Instant> {
        self.chain
            .expire(now, &self.counts, &mut |routed| self.append(routed));
        self.chain.deadline()
    }

    fn warn_unrouted(&self, tag: &Tag) {
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
        let (ticket, holds) = if ack_on == AckOn::Delivery || pipeline.chain.may_hold(tag) {
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
