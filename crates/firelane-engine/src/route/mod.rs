//! A route: one task that reads the log for one output, cuts batches, delivers, retries and settles.
//!
//! The task alone owns the route's state. Deliveries run as tasks of their own and come back as events; a
//! delivery that panics is a failed delivery, its claim never left the route.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use firelane_buffer::{Batcher, Claim, ClaimPart, Cursor, Frame, GroupKey, Grouping, Order, RouteId};
use firelane_core::{
    Cause, CauseKind, Chunk, DeliverCx, Group, GroupBy, Outcome, Output, OutputCounts, Part, Phase, Reason,
    Stop,
};
use firelane_record::set::RecordSet;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, error, warn};

use crate::pipeline::{FrameGuard, Pipeline, RouteEnd};
use crate::retry::{RetryLimit, Rng, Schedule};

/// What a route is made of.
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
    cursors: Vec<Cursor>,
    batcher: Batcher<FrameGuard>,
    linger: Duration,
    /// Closed batches in order.
    ready: VecDeque<Claim<FrameGuard>>,
    waiting: Vec<Waiting>,
    in_flight: Vec<(tokio::task::Id, Claim<FrameGuard>)>,
    /// Groups with a chunk under way or waiting for its retry, under `Order::PerStream`.
    busy: HashSet<GroupKey>,
    deliveries: JoinSet<Outcome>,
    rng: Rng,
    /// The last failure that was logged, so that an outage is one line and not thousands.
    failing: bool,
}

/// What a route left behind when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leftover {
    /// Records that were neither delivered nor dropped by name.
    pub buffered: u64,
}

/// Closed batches that a route keeps beyond those under way, in multiples of `in_flight_max`.
const READY_MAX: usize = 2;
/// Wait before a retry while draining: the schedule's seconds would not fit the grace period.
const DRAIN_RETRY: Duration = Duration::from_millis(500);

impl Route {
    /// A route at the start of the log.
    pub fn new(setup: RouteSetup, pipeline: Arc<Pipeline>, stop: Stop) -> Self {
        let limits = setup.output.limits();
        let seed = std::process::id().into();
        Self {
            cursors: pipeline.partitions.iter().map(|_| Cursor::new()).collect(),
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
            rng: Rng::new(seed),
            failing: false,
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
        loop {
            let draining = self.stop.phase() >= Phase::Draining;
            self.shed(end);
            self.read(draining);
            self.close_due(draining, end);
            self.launch();
            self.note_oldest(end);
            if draining && self.is_empty() || self.stop.phase() == Phase::Over {
                break;
            }
            let timer = self.next_timer();
            let stop = self.stop.clone();
            tokio::select! {
                () = end.wake.notified() => {}
                Some(done) = self.deliveries.join_next_with_id(), if !self.deliveries.is_empty() => {
                    self.finished(done);
                }
                () = tokio::time::sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => {}
                () = stop.draining(), if !draining => self.hurry_retries(),
                () = stop.over(), if draining => {}
            }
        }
        self.abandon().await
    }

    /// Reads the log while there is room for more batches.
    fn read(&mut self, draining: bool) {
        let in_flight_max = self.batcher.limits().in_flight_max.max(1);
        let bytes_max = self.batcher.limits().bytes_max;
        let grouping = self.setup.output.group_by();
        let output = self.setup.output.clone();
        let key_of = move |tag: &firelane_record::Tag, event: &firelane_record::Event<'_>| -> Group {
            output.group(tag, event)
        };
        let now = self.pipeline.now();
        let mut frames: Vec<Arc<Frame<FrameGuard>>> = Vec::new();
        let mut closed = Vec::new();
        for index in 0..self.pipeline.partitions.len() {
            while self.ready.len() < in_flight_max * READY_MAX {
                let partition = &self.pipeline.partitions[index];
                let open = self.batcher.bytes();
                // Idle: the first byte wakes the route and starts the linger; else a full batch does.
                let wake_at = if draining || open == 0 {
                    1
                } else {
                    bytes_max.saturating_sub(open).max(1)
                };
                let cursor = &mut self.cursors[index];
                partition.read(self.setup.id, bytes_max, wake_at, &mut frames, |range| {
                    cursor.pass(range)
                });
                if frames.is_empty() {
                    break;
                }
                let grouping = match grouping {
                    GroupBy::All => Grouping::All,
                    GroupBy::Tag => Grouping::Tag,
                    GroupBy::Record => Grouping::Record(&key_of),
                };
                for frame in frames.drain(..) {
                    self.batcher.offer(index, &frame, &grouping, now, &mut closed);
                }
                self.ready.extend(closed.drain(..));
            }
        }
        self.arm();
    }

    /// Tells the log when to wake this route next.
    fn arm(&self) {
        let open = self.batcher.bytes();
        let bytes_max = self.batcher.limits().bytes_max;
        let full = self.ready.len() >= self.batcher.limits().in_flight_max.max(1) * READY_MAX;
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

    /// Closes batches whose linger is over, or all under pressure or while draining.
    fn close_due(&mut self, draining: bool, end: &RouteEnd) {
        let mut closed = Vec::new();
        let idle = self.in_flight.is_empty() && self.ready.is_empty();
        if draining {
            self.batcher.close_opened_by(u64::MAX, &mut closed);
        } else {
            // Under pressure nothing waits only for time: the oldest batch goes as soon as the output is
            // free.
            if end.hurry.swap(false, Ordering::AcqRel) && idle {
                self.batcher.close_oldest(&mut closed);
            }
            let due = self.pipeline.now().checked_sub(self.linger.as_millis() as u64);
            if let Some(due) = due {
                self.batcher.close_opened_by(due, &mut closed);
            }
        }
        self.ready.extend(closed);
    }

    /// Starts deliveries while there is room for them.
    fn launch(&mut self) {
        let limits = *self.batcher.limits();
        let ordered = limits.order == Order::PerStream;
        let now = Instant::now();
        while self.in_flight.len() < limits.in_flight_max.max(1) {
            let due = self
                .waiting
                .iter()
                .enumerate()
                .filter(|(_, w)| w.at <= now)
                .min_by_key(|(_, w)| w.at);
            let claim = match due.map(|(i, _)| i) {
                Some(i) => self.waiting.swap_remove(i).claim,
                None => {
                    let free = |claim: &Claim<FrameGuard>| !ordered || !self.busy.contains(claim.key());
                    let Some(i) = self.ready.iter().position(free) else {
                        return;
                    };
                    let Some(claim) = self.ready.remove(i) else { return };
                    claim
                }
            };
            if ordered {
                self.busy.insert(claim.key().clone());
            }
            self.deliver(claim);
        }
    }

    fn deliver(&mut self, claim: Claim<FrameGuard>) {
        let part = |part: &ClaimPart<FrameGuard>| Part {
            tag: part.frame().tag().clone(),
            records: part.records().clone(),
        };
        let chunk = Chunk::new(claim.parts().iter().map(part).collect());
        let end = self.end();
        let cx = DeliverCx {
            name: end.name.clone(),
            attempt: claim.attempt(),
            stop: self.stop.clone(),
            counts: end.counts.clone(),
        };
        let output = self.setup.output.clone();
        self.counts().in_flight.add(1);
        let task = self
            .deliveries
            .spawn(async move { output.deliver(chunk, cx).await });
        self.in_flight.push((task.id(), claim));
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
    }

    fn settle(&mut self, claim: Claim<FrameGuard>, outcome: Outcome) {
        let counts = self.counts().clone();
        let key = claim.key().clone();
        match outcome {
            Outcome::Delivered => {
                counts.proc_records.add(claim.records().into());
                counts.proc_bytes.add(claim.bytes() as u64);
                if std::mem::take(&mut self.failing) {
                    debug!(target: "output", instance = %self.end().name, "delivers again");
                }
                self.settle_all(claim);
                self.busy.remove(&key);
            }
            Outcome::Discard { records, why } => {
                let total = claim.records();
                let refused = u64::from(records.count(total));
                counts.dropped.add(Reason::Refused, refused);
                // Last: whoever sees the error sees what it cost.
                counts.errors.add(1);
                counts.proc_records.add(u64::from(total) - refused);
                let name = &self.end().name;
                error!(target: "output", instance = %name, records = refused, cause = %why, "refused for good, records dropped");
                self.settle_all(claim);
                self.busy.remove(&key);
            }
            Outcome::Retry {
                done,
                refused,
                after,
                why,
            } => {
                if why.ambiguous {
                    counts.ambiguous.add(1);
                }
                if let Some(rest) = self.settle_some(claim, &done, &refused) {
                    self.retry(rest, after, &why);
                } else {
                    self.busy.remove(&key);
                }
            }
        }
    }

    /// Settles what a failed delivery achieved, and gives the claim on the rest.
    fn settle_some(
        &mut self,
        claim: Claim<FrameGuard>,
        done: &RecordSet,
        refused: &RecordSet,
    ) -> Option<Claim<FrameGuard>> {
        let counts = self.counts().clone();
        let total = claim.records();
        let refused_count = u64::from(refused.count(total));
        counts.proc_records.add(u64::from(done.count(total)));
        if refused_count > 0 {
            counts.dropped.add(Reason::Refused, refused_count);
            counts.errors.add(1);
        }
        let gone = done.union(refused);
        if gone.count(total) == 0 {
            return Some(claim);
        }
        let (cursors, pipeline) = (&mut self.cursors, &self.pipeline);
        claim.split(&gone, |part| settle_part(cursors, pipeline, &counts, part))
    }

    fn settle_all(&mut self, claim: Claim<FrameGuard>) {
        let counts = self.counts().clone();
        let (cursors, pipeline) = (&mut self.cursors, &self.pipeline);
        claim.settle(|part| settle_part(cursors, pipeline, &counts, part));
    }

    /// Schedules the rest of a failed chunk, or gives it up by name.
    fn retry(&mut self, mut claim: Claim<FrameGuard>, after: Option<Duration>, why: &Cause) {
        claim.failed();
        let counts = self.counts().clone();
        let name = self.end().name.clone();
        if !self.setup.retry_limit.allows(claim.attempt()) {
            let records = claim.records();
            counts.dropped.add(Reason::RetriesExhausted, records.into());
            counts.retries_failed.add(1);
            error!(target: "output", instance = %name, records, cause = %why, "retries used up, records dropped");
            self.busy.remove(&claim.key().clone());
            self.settle_all(claim);
            return;
        }
        counts.retries.add(1);
        counts.retried_records.add(claim.records().into());
        let wait = if self.stop.phase() >= Phase::Draining {
            DRAIN_RETRY
        } else {
            after.unwrap_or_else(|| self.setup.schedule.wait(claim.attempt(), self.rng.draw()))
        };
        if !std::mem::replace(&mut self.failing, true) || claim.attempt() > 1 {
            let (attempt, records) = (claim.attempt(), claim.records());
            warn!(target: "output", instance = %name, attempt, records, wait_s = wait.as_secs_f32(), cause = %why, "chunk will be retried");
        }
        self.waiting.push(Waiting {
            at: Instant::now() + wait,
            claim,
        });
    }

    /// The drain has begun: retries run at once.
    fn hurry_retries(&mut self) {
        let now = Instant::now();
        for waiting in &mut self.waiting {
            waiting.at = now;
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        let full = self.in_flight.len() >= self.batcher.limits().in_flight_max.max(1);
        let retry = self
            .waiting
            .iter()
            .map(|waiting| waiting.at)
            .min()
            .filter(|_| !full);
        let linger = self.batcher.opened().map(|opened| {
            self.pipeline.epoch + Duration::from_millis(opened) + self.linger + Duration::from_millis(1)
        });
        [retry, linger.map(Instant::from_std)].into_iter().flatten().min()
    }

    fn is_empty(&self) -> bool {
        let unread = |partition: &firelane_buffer::Partition<_>| partition.unread(self.setup.id) > 0;
        self.ready.is_empty()
            && self.waiting.is_empty()
            && self.in_flight.is_empty()
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
        end.oldest.store(oldest, Ordering::Relaxed);
    }

    /// Discards the oldest records down to the route's share: others wait for the memory.
    fn shed(&mut self, end: &RouteEnd) {
        let to = end.shed_to.swap(usize::MAX, Ordering::AcqRel);
        if to == usize::MAX {
            return;
        }
        let mut dropped = 0;
        while end.counts.retained_bytes.get() as usize > to {
            let Some(claim) = self.oldest_waiting() else { break };
            dropped += u64::from(claim.records());
            self.settle_all(claim);
        }
        if dropped > 0 {
            end.counts.dropped.add(Reason::OverShare, dropped);
            error!(target: "output", instance = %end.name, records = dropped, share_bytes = to,
                "over its share of the memory while other outputs wait: its oldest records are dropped");
        }
    }

    /// Takes the oldest claim that is not under way.
    fn oldest_waiting(&mut self) -> Option<Claim<FrameGuard>> {
        let retry = self
            .waiting
            .iter()
            .enumerate()
            .min_by_key(|(_, w)| w.claim.oldest())
            .map(|(i, _)| i);
        if let Some(i) = retry {
            let claim = self.waiting.swap_remove(i).claim;
            self.busy.remove(claim.key());
            return Some(claim);
        }
        if self.ready.is_empty() {
            self.read(false);
        }
        if self.ready.is_empty() {
            let mut closed = Vec::new();
            self.batcher.close_oldest(&mut closed);
            self.ready.extend(closed);
        }
        self.ready.pop_front()
    }

    /// The end: what is left is counted, never acknowledged.
    async fn abandon(mut self) -> Leftover {
        self.deliveries.shutdown().await;
        let mut closed = Vec::new();
        self.batcher.close_opened_by(u64::MAX, &mut closed);
        let claims = self
            .ready
            .iter()
            .chain(&closed)
            .chain(self.waiting.iter().map(|waiting| &waiting.claim));
        let claims = claims.chain(self.in_flight.iter().map(|(_, claim)| claim));
        let mut buffered: u64 = claims.map(|claim| u64::from(claim.records())).sum();
        for partition in &self.pipeline.partitions {
            let mut frames = Vec::new();
            partition.read(self.setup.id, usize::MAX, usize::MAX, &mut frames, |_| {});
            buffered += frames
                .iter()
                .map(|frame| u64::from(frame.records().count()))
                .sum::<u64>();
        }
        Leftover { buffered }
    }
}

/// Settles one run of a claim in the route's cursor.
fn settle_part(
    cursors: &mut [Cursor],
    pipeline: &Pipeline,
    counts: &OutputCounts,
    part: &ClaimPart<FrameGuard>,
) {
    let (from, to) = part.range();
    let frame = part.frame();
    let bytes = frame.records().len() as u64;
    if cursors[part.partition()].settle(&pipeline.partitions[part.partition()], frame, from, to) {
        counts.retained_bytes.sub(bytes);
    }
}
