//! A route: one task that reads the log for one output, cuts batches, delivers, retries and settles.
//!
//! The task alone owns the route's state. Deliveries run as tasks of their own and come back as events; a
//! delivery that panics is a failed delivery, its claim never left the route.
//!
//! In an outage (`outage.rs`) one delivery is under way at a time, a chunk that was never tried waits longer
//! with every failure, and batches grow until they are full: a destination that is away gets few requests.

mod give_up;
mod outage;
mod parked;
mod read;
mod settle;
mod shed;
mod window;

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use firelane_buffer::{Batcher, Claim, ClaimPart, GroupKey, Order, RouteId};
use firelane_core::{
    CLOSE_MAX, Cause, CauseKind, Chunk, DeliverCx, Outcome, Output, OutputCounts, Part, Phase, Stop,
};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::error;

use self::give_up::Burial;
use self::outage::Outage;
use self::parked::ParkedGroups;
use self::read::Loaded;
use self::window::Concurrency;
use crate::budget::Collecting;
use crate::pipeline::{FrameGuard, Pipeline, RouteEnd};
use crate::retry::{RetryLimit, Rng, Schedule};

/// What a route is made of.
#[derive(Clone)]
pub struct RouteSetup {
    /// Its number in the pipeline.
    pub id: RouteId,
    /// The output.
    pub output: Arc<dyn Output>,
    /// The service's `Flush`: the linger of outputs that set none.
    pub flush: Duration,
    /// How often a chunk is sent again.
    pub retry_limit: RetryLimit,
    /// When it is sent again.
    pub schedule: Schedule,
    /// How old a record may get before it is given up for age (`retry.max_age`); `None`: any age.
    pub age_max: Option<Duration>,
    /// What it holds at most.
    pub window: Window,
}

/// Bytes of records that a route holds at most, beside one chunk: in batches, under way, and waiting.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// In all; `usize::MAX` where nothing can be read again from disk.
    pub bytes: usize,
    /// While it reads what an earlier run has left (`storage.backlog.mem_limit`).
    pub backlog: usize,
}

/// A claim that waits for its time.
struct Waiting {
    at: Instant,
    claim: Claim<FrameGuard>,
}

/// A route's state.
pub struct Route {
    setup: RouteSetup,
    pipeline: Arc<Pipeline>,
    stop: Stop,
    batcher: Batcher<FrameGuard>,
    linger: Duration,
    /// Closed batches in order.
    ready: VecDeque<Claim<FrameGuard>>,
    waiting: Vec<Waiting>,
    in_flight: Vec<(tokio::task::Id, Claim<FrameGuard>)>,
    /// Groups with a chunk under way or waiting for its retry, under `Order::PerStream`.
    busy: HashSet<GroupKey>,
    deliveries: JoinSet<Outcome>,
    /// Records on their way to the dead letters.
    burials: JoinSet<std::io::Result<()>>,
    burying: Vec<Burial>,
    concurrency: Concurrency,
    /// What the destination holds and does not show yet.
    parked: ParkedGroups,
    /// At most one block is read from disk at a time: order.
    loads: JoinSet<Loaded>,
    rng: Rng,
    outage: Outage,
    /// Retries were told that the drain has begun.
    hurried: bool,
    /// It reads only to give up: no window counts.
    sheds: bool,
    /// What it collects, for the pace.
    collecting: Collecting,
}

/// What a route left behind when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leftover {
    /// Records that were neither delivered nor dropped by name.
    pub buffered: u64,
}

/// Later than anything happens.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// Closed batches that a route keeps beyond those under way, in multiples of `in_flight_max`.
const READY_MAX: usize = 2;
/// How often a dead route looks whether it must give something up.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Delivers; what takes longer than the output's own deadlines can explain has hung, and counts as lost on
/// its way.
async fn deliver_in_time(output: &dyn Output, chunk: Chunk, cx: DeliverCx) -> Outcome {
    let deadline = output.deadline();
    match tokio::time::timeout(deadline, output.deliver(chunk, cx)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let text = format!("the delivery hung for {} s and was given up", deadline.as_secs());
            Outcome::retry(Cause::ambiguous(CauseKind::Timeout, text))
        }
    }
}

impl Route {
    /// A route at the start of the log.
    pub fn new(setup: RouteSetup, pipeline: Arc<Pipeline>, stop: Stop) -> Self {
        let limits = setup.output.limits();
        // Neither routes nor containers may retry in step.
        let seed = RandomState::new().hash_one(setup.id.0);
        let collecting = pipeline.budget.collecting();
        Self {
            linger: limits.linger.unwrap_or(setup.flush),
            batcher: Batcher::new(limits),
            setup,
            pipeline,
            stop,
            ready: VecDeque::new(),
            waiting: Vec::new(),
            in_flight: Vec::new(),
            busy: HashSet::new(),
            deliveries: JoinSet::new(),
            burials: JoinSet::new(),
            burying: Vec::new(),
            concurrency: Concurrency::new(limits.in_flight_max),
            parked: ParkedGroups::default(),
            loads: JoinSet::new(),
            rng: Rng::new(seed),
            outage: Outage::default(),
            hurried: false,
            sheds: false,
            collecting,
        }
    }

    fn end(&self) -> &RouteEnd {
        &self.pipeline.routes[usize::from(self.setup.id.0)]
    }

    fn counts(&self) -> &Arc<OutputCounts> {
        &self.end().counts
    }

    /// Runs until the drain is done or over. Ends with what is left in the log, counted.
    pub async fn run(mut self) -> Leftover {
        let pipeline = self.pipeline.clone();
        let end = &pipeline.routes[usize::from(self.setup.id.0)];
        self.take_up_parked().await;
        loop {
            let draining = self.stop.phase() >= Phase::Draining;
            let now = Instant::now();
            end.hurry.store(false, Ordering::Release);
            if self.hurries() && !std::mem::replace(&mut self.hurried, true) {
                self.hurry_retries();
            }
            self.tell_dead(end, self.outage.is_dead(now));
            self.shed(now);
            self.give_way(now);
            self.keep_limit();
            end.beats.add(1);
            self.read(draining, self.ready_max());
            self.close_due(draining, now);
            self.launch(now);
            self.finish_due(draining, now);
            self.note_oldest(end);
            self.tell_collected();
            if draining && self.is_empty() || self.stop.phase() == Phase::Over {
                break;
            }
            let timer = self.next_timer(now);
            let stop = self.stop.clone();
            tokio::select! {
                () = end.wake.notified() => {}
                Some(done) = self.deliveries.join_next_with_id(), if !self.deliveries.is_empty() => {
                    self.finished(done);
                }
                Some(done) = self.burials.join_next_with_id(), if !self.burials.is_empty() => {
                    self.buried(done);
                }
                Some(done) = self.parked.join_next(), if self.parked.is_finishing() => {
                    self.finished_parked(done);
                }
                Some(loaded) = self.loads.join_next(), if !self.loads.is_empty() => {
                    match loaded {
                        Ok(loaded) => self.loaded(loaded),
                        Err(error) => error!(target: "engine", instance = %end.name, %error, "a bug: a block was not read"),
                    }
                }
                () = tokio::time::sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => {}
                () = stop.draining(), if !draining => {}
                () = stop.over(), if draining => {}
            }
        }
        self.tell_dead(end, false);
        // Longer than its time nobody waits for it.
        let _ = tokio::time::timeout(CLOSE_MAX, self.setup.output.close(self.cx(0))).await;
        self.abandon().await
    }

    /// Tells the other routes and the budget.
    fn tell_dead(&self, end: &RouteEnd, dead: bool) {
        if end.dead.swap(dead, Ordering::AcqRel) != dead {
            self.pipeline.budget.note_dead(dead);
        }
    }

    /// Whether the router ends and time is short. A pipeline that a reload has replaced delivers in peace.
    fn hurries(&self) -> bool {
        self.stop.phase() >= Phase::Draining && self.pipeline.retired().is_none()
    }

    fn in_flight_max(&self) -> usize {
        self.batcher.limits().in_flight_max.max(1)
    }

    fn ready_max(&self) -> usize {
        self.in_flight_max() * READY_MAX
    }

    /// Tells the log when to wake this route next.
    fn arm(&self) {
        let open = self.batcher.bytes();
        let bytes_max = self.batcher.limits().bytes_max;
        let full = self.ready.len() >= self.ready_max() || self.is_full() || !self.loads.is_empty();
        let wake_at = match (full, open) {
            // A settlement wakes the route; more input need not.
            (true, _) => usize::MAX,
            (false, 0) => 1,
            (false, _) => bytes_max.saturating_sub(open).max(1),
        };
        for partition in &self.pipeline.partitions {
            if partition.wake_at(self.setup.id, wake_at) && !full {
                self.end().wake.notify_one();
            }
        }
    }

    /// Closes batches whose linger is over, the oldest one under pressure, or all while draining.
    fn close_due(&mut self, draining: bool, now: Instant) {
        let mut closed = Vec::new();
        // What is on disk comes block by block: a patient output makes large chunks of it in a drain too.
        if draining && (!self.is_patient() || self.nothing_unread()) {
            self.batcher.close_opened_by(u64::MAX, &mut closed);
        } else {
            // Under pressure nothing waits only for time: the oldest batch goes as soon as the output is
            // free.
            if self.pipeline.budget.is_pressed() || self.is_full() {
                if self.is_patient() && !self.outage.is_on() {
                    self.close_some(&mut closed);
                } else if self.is_idle() {
                    self.batcher.close_oldest(&mut closed);
                }
            }
            self.close_parked(now, &mut closed);
            let due = self.pipeline.now().checked_sub(self.linger.as_millis() as u64);
            if let Some(due) = due.filter(|_| self.lingers_until().is_none_or(|at| at <= now)) {
                self.batcher.close_opened_by(due, &mut closed);
            }
        }
        self.ready.extend(closed);
    }

    fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.ready.is_empty() && self.waiting.is_empty()
    }

    /// Whether the output collects for longer than a flush: it has many open batches, large and small ones.
    pub(super) fn is_patient(&self) -> bool {
        self.batcher.limits().linger.is_some()
    }

    /// What a patient output holds by design: its open batches, and as much under way as one of its chunks.
    fn tell_collected(&mut self) {
        if self.is_patient() {
            let open = self.batcher.bytes();
            let under_way = (self.held_bytes() - open).min(self.batcher.limits().bytes_max);
            self.collecting.set(open + under_way);
        }
    }

    /// A patient output must make room: its largest batches go, until half of what it holds is under way.
    fn close_some(&mut self, closed: &mut Vec<Claim<FrameGuard>>) {
        let free = self.ready.iter().filter(|claim| !self.busy.contains(claim.key()));
        let under_way = self.in_flight.len() + free.count();
        let claims = self.in_flight.iter().map(|(_, claim)| claim).chain(&self.ready);
        let mut bytes: usize = claims.map(Claim::bytes).sum();
        for _ in under_way..self.launch_max() {
            if bytes >= self.batcher.bytes() {
                return;
            }
            let before = closed.len();
            self.batcher.close_largest(|key| !self.busy.contains(key), closed);
            bytes += closed[before..].iter().map(Claim::bytes).sum::<usize>();
        }
    }

    /// In an outage: when a batch may be closed that is not full. Not before what is closed was tried.
    fn lingers_until(&self) -> Option<Instant> {
        let next = self.outage.next_try()?;
        Some(if self.ready.is_empty() { next } else { next + FAR })
    }

    /// Starts deliveries while there is room for them.
    fn launch(&mut self, now: Instant) {
        while self.in_flight.len() < self.launch_max() {
            let due = self.waiting.iter().enumerate().filter(|(_, w)| w.at <= now);
            let due = due.min_by_key(|(_, w)| (w.at, w.claim.oldest()));
            let claim = match due.map(|(i, _)| i) {
                Some(i) => self.waiting.swap_remove(i).claim,
                None => {
                    let may_try = self.outage.next_try().is_none_or(|at| at <= now) || self.hurries();
                    let Some(i) = self.first_free().filter(|_| may_try) else {
                        return;
                    };
                    let Some(claim) = self.ready.remove(i) else { return };
                    claim
                }
            };
            if self.is_ordered() {
                self.busy.insert(claim.key().clone());
            }
            let claim = self.small_try(claim, now);
            self.deliver(claim);
        }
    }

    fn launch_max(&self) -> usize {
        if self.outage.is_on() && !self.hurries() {
            1
        } else {
            self.concurrency.limit().min(self.in_flight_max())
        }
    }

    fn is_ordered(&self) -> bool {
        self.batcher.limits().order == Order::PerStream
    }

    /// The first closed batch whose group has nothing under way that it must wait for.
    fn first_free(&self) -> Option<usize> {
        let ordered = self.is_ordered();
        self.ready
            .iter()
            .position(|claim| !ordered || !self.busy.contains(claim.key()))
    }

    /// What is under way cannot be given up: what a dead route tries is at most half of its share, where
    /// there are others.
    fn small_try(&mut self, claim: Claim<FrameGuard>, now: Instant) -> Claim<FrameGuard> {
        if self.pipeline.routes.len() < 2 || self.hurries() || !self.outage.is_dead(now) {
            return claim;
        }
        let limit =
            |part: &ClaimPart<FrameGuard>| part.frame().look(|guard| guard.budget().effective_limit());
        let Some(limit) = claim.parts().first().and_then(limit) else {
            return claim;
        };
        let (first, rest) = claim.cut(self.pipeline.share(self.setup.id, limit) / 2);
        if let Some(rest) = rest {
            self.ready.push_front(rest);
        }
        first
    }

    fn deliver(&mut self, claim: Claim<FrameGuard>) {
        let part = |part: &ClaimPart<FrameGuard>| Part {
            tag: part.frame().tag().clone(),
            records: part.records().clone(),
        };
        let waited = self.pipeline.now().saturating_sub(claim.opened());
        let chunk = Chunk::new(claim.parts().iter().map(part).collect());
        let chunk = chunk.after(Duration::from_millis(waited));
        let cx = self.cx(claim.attempt());
        let output = self.setup.output.clone();
        self.counts().in_flight.add(1);
        let task = self
            .deliveries
            .spawn(async move { deliver_in_time(&*output, chunk, cx).await });
        self.in_flight.push((task.id(), claim));
    }

    fn cx(&self, attempt: u32) -> DeliverCx {
        let end = self.end();
        DeliverCx {
            name: end.name.clone(),
            attempt,
            stop: self.stop.clone(),
            counts: end.counts.clone(),
        }
    }

    /// A delivery has ended; one that panicked is a failed one.
    fn finished(&mut self, done: Result<(tokio::task::Id, Outcome), tokio::task::JoinError>) {
        let (id, outcome) = match done {
            Ok(done) => done,
            Err(error) => {
                error!(target: "output", instance = %self.end().name, %error, "the output panicked, its chunk will be sent again");
                (
                    error.id(),
                    Outcome::retry(Cause::new(CauseKind::Panic, "the output panicked")),
                )
            }
        };
        let Some(at) = self.in_flight.iter().position(|(known, _)| *known == id) else {
            return;
        };
        let (_, claim) = self.in_flight.swap_remove(at);
        self.counts().in_flight.sub(1);
        self.settle(claim, outcome);
        self.batcher.set_bytes_max(self.setup.output.limits().bytes_max);
    }

    fn next_timer(&self, now: Instant) -> Option<Instant> {
        let room = self.in_flight.len() < self.launch_max();
        let retry = self.waiting.iter().map(|waiting| waiting.at).min();
        let first_try = self.outage.next_try().filter(|_| self.first_free().is_some());
        let linger = self.batcher.opened().map(|opened| {
            let due = self.pipeline.instant(opened + 1) + self.linger;
            self.lingers_until().map_or(due, |at| at.max(due))
        });
        let dead = self.outage.is_dead(now);
        let look = (dead && (self.pipeline.budget.any_over() || self.pipeline.retired().is_some()))
            .then(|| now + LOOK_EVERY);
        [
            retry.filter(|_| room),
            first_try.filter(|_| room),
            linger,
            look,
            self.next_finish(now),
            self.outage.dies_at().filter(|_| !dead),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn is_empty(&self) -> bool {
        let unread = |partition: &firelane_buffer::Partition<_>| partition.unread(self.setup.id) > 0;
        self.ready.is_empty()
            && self.waiting.is_empty()
            && self.in_flight.is_empty()
            && self.loads.is_empty()
            && self.burying.is_empty()
            && self.parked.is_empty()
            && self.batcher.bytes() == 0
            && !self.pipeline.partitions.iter().any(unread)
    }

    fn note_oldest(&self, end: &RouteEnd) {
        let claims = self
            .ready
            .iter()
            .chain(self.waiting.iter().map(|waiting| &waiting.claim));
        let claims = claims
            .chain(self.in_flight.iter().map(|(_, claim)| claim))
            .map(Claim::oldest);
        let oldest = claims.chain(self.batcher.oldest()).min().unwrap_or(u64::MAX);
        // What an output that collects for long waits for by itself is not late.
        let linger = self.batcher.limits().linger.unwrap_or_default();
        let oldest = oldest.saturating_add(linger.as_millis() as u64);
        end.oldest.store(oldest, Ordering::Relaxed);
    }

    /// Puts a closed batch behind the others.
    fn push_ready(&mut self, claim: Claim<FrameGuard>) {
        self.ready.push_back(claim);
    }

    /// The end: what is left is counted, never acknowledged.
    async fn abandon(mut self) -> Leftover {
        self.deliveries.shutdown().await;
        self.parked.shutdown().await;
        self.loads.shutdown().await;
        // They are being written: what they say must stand in the ledger.
        while let Some(done) = self.burials.join_next_with_id().await {
            self.buried(done);
        }
        let pipeline = self.pipeline.clone();
        let id = self.setup.id;
        drop(self);
        // Nothing is held any more: all that is not settled is read again, and counted.
        tokio::task::spawn_blocking(move || Leftover {
            buffered: pipeline.left(id),
        })
        .await
        .unwrap_or(Leftover { buffered: 0 })
    }
}
