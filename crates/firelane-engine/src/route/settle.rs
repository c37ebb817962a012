//! What becomes of a delivery: settled, sent again, or given up by name.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use firelane_buffer::{Claim, ClaimPart, RouteId, Settled};
use firelane_core::{Cause, Outcome, Reason};
use firelane_record::set::RecordSet;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::outage::Tell;
use super::{Route, Waiting};
use crate::pipeline::{FrameGuard, Pipeline, retained_bytes};

/// Wait before a retry while draining: the schedule's seconds would not fit the grace period.
pub(super) const DRAIN_RETRY: Duration = Duration::from_millis(500);
/// Longest wait while draining, if the destination asks for more (`Retry-After`).
pub(super) const DRAIN_RETRY_MAX: Duration = Duration::from_secs(2);

impl Route {
    pub(super) fn settle(&mut self, claim: Claim<FrameGuard>, outcome: Outcome) {
        let counts = self.counts().clone();
        match outcome {
            Outcome::Delivered => {
                counts.proc_records.add(claim.records().into());
                counts.proc_bytes.add(claim.bytes() as u64);
                self.concurrency.delivered();
                self.works();
                self.release(claim);
            }
            Outcome::Parked { refused, until, why } => self.park(claim, &refused, until, why),
            Outcome::Discard { records, why } => {
                let total = claim.records();
                let refused = records.count(total);
                let delivered = records.complement(total);
                counts.proc_records.add(u64::from(total - refused));
                counts.proc_bytes.add(bytes_of(&claim, &delivered));
                let name = &self.end().name;
                error!(target: "output", instance = %name, records = refused, cause = %why, "refused for good, records given up");
                self.works();
                self.busy.remove(claim.key());
                let (delivered, refused) = claim.divide(&delivered);
                if let Some(delivered) = delivered {
                    self.settle_all(delivered);
                }
                if let Some(refused) = refused {
                    self.give_up(refused, Reason::Refused, &why.text);
                }
                // Last: whoever sees the error sees what it cost.
                counts.errors.add(1);
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
                let key = claim.key().clone();
                self.concurrency.failed(why.kind);
                if let Some(rest) = self.settle_some(claim, &done, &refused, &why) {
                    self.retry(rest, after, &why);
                } else {
                    self.busy.remove(&key);
                }
            }
        }
    }

    /// The destination has answered for some records: an outage is over.
    pub(super) fn works(&mut self) {
        let Some(over) = self.outage.settled(Instant::now()) else {
            return;
        };
        if over.told {
            let lasted_s = over.lasted.as_secs_f32();
            info!(target: "output", instance = %self.end().name, lasted_s, failures = over.failures, "delivers again");
        }
        if over.was_dead {
            self.hurry_retries();
        }
    }

    /// Settles what a failed delivery achieved, and gives the claim on the rest.
    fn settle_some(
        &mut self,
        claim: Claim<FrameGuard>,
        done: &RecordSet,
        refused: &RecordSet,
        why: &Cause,
    ) -> Option<Claim<FrameGuard>> {
        let counts = self.counts().clone();
        let total = claim.records();
        if done.count(total) == 0 && refused.count(total) == 0 {
            return Some(claim);
        }
        self.works();
        counts.proc_records.add(u64::from(done.count(total)));
        counts.proc_bytes.add(bytes_of(&claim, done));
        // What both name was delivered.
        let left = done.complement(total);
        let refused: RecordSet = refused
            .runs(0, total)
            .filter(|run| run.2)
            .map(|run| run.0..run.1)
            .collect();
        let gone = done.union(&refused);
        let (gone, rest) = claim.divide(&gone);
        let (mut at, mut kept) = (0, RecordSet::none());
        for index in (0..total).filter(|&index| done.contains(index) || refused.contains(index)) {
            if left.contains(index) {
                kept.insert(at);
            }
            at += 1;
        }
        let (refused, delivered) = gone.map_or((None, None), |gone| gone.divide(&kept));
        if let Some(delivered) = delivered {
            self.settle_all(delivered);
        }
        if let Some(refused) = refused {
            counts.errors.add(1);
            let name = &self.end().name;
            error!(target: "output", instance = %name, records = refused.records(), cause = %why, "some records were refused for good and are given up");
            self.give_up(refused, Reason::Refused, &why.text);
        }
        rest
    }

    /// Settles a whole claim whose group may go on.
    fn release(&mut self, claim: Claim<FrameGuard>) {
        self.busy.remove(claim.key());
        self.settle_all(claim);
    }

    pub(super) fn settle_all(&mut self, claim: Claim<FrameGuard>) {
        let mut settling = Settling::new(self);
        claim.settle(|part| settling.part(part));
        settling.finish();
    }

    /// Schedules the rest of a failed chunk, or gives it up by name.
    fn retry(&mut self, mut claim: Claim<FrameGuard>, after: Option<Duration>, why: &Cause) {
        claim.failed();
        let counts = self.counts().clone();
        let name = self.end().name.clone();
        let (attempt, records) = (claim.attempt(), claim.records());
        let now = Instant::now();
        let last = self.is_last(&claim);
        let tell = self.outage.failed(now, last.is_some() || attempt > 1);
        if let Some(reason) = last {
            counts.retries_failed.add(1);
            error!(target: "output", instance = %name, records, cause = %why, reason = reason.label(), "no more retries, records given up");
            self.busy.remove(claim.key());
            self.give_up(claim, reason, &why.text);
            return;
        }
        counts.retries.add(1);
        counts.retried_records.add(records.into());
        let wait = if self.hurries() {
            after.unwrap_or(DRAIN_RETRY).clamp(DRAIN_RETRY, DRAIN_RETRY_MAX)
        } else {
            after.unwrap_or_else(|| self.setup.schedule.wait(attempt, self.rng.draw()))
        };
        match tell {
            Tell::Nothing => {}
            Tell::Begun => {
                let wait_s = wait.as_secs_f32();
                warn!(target: "output", instance = %name, attempt, records, wait_s, cause = %why, "chunk will be retried");
            }
            Tell::GoesOn(failures, since) => {
                let since_s = since.as_secs();
                warn!(target: "output", instance = %name, failures, since_s, cause = %why, "still fails, chunks will be retried");
            }
        }
        self.waiting.push(Waiting {
            at: now + wait,
            claim,
        });
    }

    /// Why a chunk that has failed is not sent again.
    fn is_last(&self, claim: &Claim<FrameGuard>) -> Option<Reason> {
        if !self.setup.retry_limit.allows(claim.attempt()) {
            return Some(Reason::RetriesExhausted);
        }
        let age = self.pipeline.now().saturating_sub(claim.oldest());
        // Without a place for dead letters age alone loses nothing.
        let journal = self.pipeline.journal.as_ref();
        let max = self
            .setup
            .age_max
            .filter(|_| journal.is_some_and(|journal| journal.buried().is_some()));
        max.is_some_and(|max| u128::from(age) > max.as_millis())
            .then_some(Reason::TooOld)
    }

    /// The drain has begun, or a long outage is over: retries run at once.
    pub(super) fn hurry_retries(&mut self) {
        let now = Instant::now();
        for waiting in &mut self.waiting {
            waiting.at = now;
        }
        self.hurry_parked(now);
    }
}

/// Bytes of the records in `set` (indexes in the claim).
fn bytes_of(claim: &Claim<FrameGuard>, set: &RecordSet) -> u64 {
    let (mut base, mut bytes) = (0, 0);
    for part in claim.parts() {
        let count = part.records().count();
        for (from, to, _) in set.runs(base, base + count).filter(|(_, _, is_in)| *is_in) {
            bytes += part.records().slice(from - base, to - base).len() as u64;
        }
        base += count;
    }
    bytes
}

/// Settles runs in a route's cursors, and takes that down for the log on disk.
pub(super) struct Settling {
    pipeline: Arc<Pipeline>,
    route: usize,
    settled: Vec<Settled>,
    done: Vec<u64>,
}

impl Settling {
    pub(super) fn new(route: &Route) -> Self {
        Self {
            pipeline: route.pipeline.clone(),
            route: usize::from(route.setup.id.0),
            settled: Vec::new(),
            done: Vec::new(),
        }
    }

    pub(super) fn part(&mut self, part: &ClaimPart<FrameGuard>) {
        let (from, to) = part.range();
        let frame = part.frame();
        let bytes = retained_bytes(frame.records());
        let end = &self.pipeline.routes[self.route];
        let partition = &self.pipeline.partitions[part.partition()];
        let mut cursors = end.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        let done = cursors[part.partition()].settle(partition, frame, from, to);
        drop(cursors);
        if done.frame {
            end.counts.retained_bytes.sub(bytes);
            self.pipeline.unblock(RouteId(self.route as u16));
        }
        let Some((block, at)) = done.home else { return };
        if done.block {
            self.done.push(block.id());
        } else {
            self.settled.push(Settled {
                block: block.id(),
                route: end.key.clone(),
                from: at + from,
                to: at + to,
            });
        }
    }

    pub(super) fn finish(mut self) {
        if let Some(journal) = &self.pipeline.journal {
            journal.settle(&mut self.settled, &mut self.done);
        }
    }
}
