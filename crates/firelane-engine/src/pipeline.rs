//! A running pipeline: the chain, the log and the ends of its routes that inputs touch.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use firelane_buffer::{Append, Guard, Partition};
use firelane_core::{
    AckOn, BoxFuture, Hold, IngestError, InputCounts, OutputCounts, Reason, Sink, Stream, Ticket,
};
use firelane_record::{Records, Tag};
use tokio::sync::Notify;
use tracing::warn;

use crate::budget::{Charge, InputBudget};
use crate::chain::{Chain, Routed, Run};
use crate::ledger::IngestCounts;

/// What hangs on a frame: its charge to the budget, and the tickets of inputs that wait for delivery.
#[derive(Debug)]
pub struct FrameGuard {
    charge: Charge,
    holds: Vec<Hold>,
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
    /// Batches shall go out without waiting for more.
    pub hurry: AtomicBool,
    /// Over its share while others wait: discard the oldest records down to so many bytes. `usize::MAX`: no.
    pub shed_to: AtomicUsize,
    /// `storage.total_limit_size` in bytes.
    pub share: Option<usize>,
    /// When its oldest unsettled record was appended, in the pipeline's milliseconds; `u64::MAX` if there is
    /// none.
    pub oldest: std::sync::atomic::AtomicU64,
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
    /// Zero of its clock.
    pub epoch: Instant,
    unrouted: Mutex<Vec<Tag>>,
}

/// Tags without an output that are named in a warning; later ones are only counted.
const UNROUTED_NAMED_MAX: usize = 64;

impl Pipeline {
    /// A pipeline with an empty log of `partitions` partitions.
    pub fn new(chain: Chain, routes: Vec<RouteEnd>, partitions: usize, counts: Arc<IngestCounts>) -> Self {
        let partitions = (0..partitions.max(1))
            .map(|_| Partition::new(routes.len() as u16))
            .collect();
        Self {
            chain,
            partitions,
            routes,
            counts,
            epoch: Instant::now(),
            unrouted: Mutex::default(),
        }
    }

    /// Milliseconds on the pipeline's clock.
    pub fn now(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
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
        let bytes = records.len() as u64;
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
    pub fn expire(&self, now: Instant) -> Option<Instant> {
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

    /// Half of a budget is in use: batches go out without waiting for more; a route over its share gives way
    /// where another one is held up by it.
    fn relieve(&self, budget: &InputBudget) {
        for route in &self.routes {
            if !route.hurry.swap(true, Ordering::AcqRel) {
                route.wake.notify_one();
            }
        }
        if !budget.is_over() || self.routes.len() < 2 {
            return;
        }
        let equal = budget.effective_limit() / self.routes.len();
        let retained = |route: &RouteEnd| route.counts.retained_bytes.get() as usize;
        let within = |route: &RouteEnd| retained(route) <= route.share.unwrap_or(equal);
        if !self.routes.iter().any(within) {
            return;
        }
        for route in self.routes.iter().filter(|route| !within(route)) {
            route
                .shed_to
                .store(route.share.unwrap_or(equal), Ordering::Release);
            route.wake.notify_one();
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
    /// The drain has ended: nothing is taken any more.
    pub closed: Arc<AtomicBool>,
    /// `Routable false`: records are read and discarded.
    pub routable: bool,
}

impl Sink for InputSink {
    fn append(&self, stream: &Stream, tag: &Tag, records: Records) -> Result<Ticket, IngestError> {
        let count = u64::from(records.count());
        if self.closed.load(Ordering::Acquire) {
            self.counts.dropped.add(Reason::Stopped, count);
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
            pipeline.relieve(&self.budget);
        }
        Ok(ticket)
    }

    fn ready(&self) -> Option<BoxFuture<'static, ()>> {
        self.budget.ready()
    }

    fn pace(&self) -> Option<BoxFuture<'static, ()>> {
        self.budget.pace()
    }
}
