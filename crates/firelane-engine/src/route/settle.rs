//! What becomes of a delivery: settled, sent again, or given up by name.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use firelane_buffer::{Claim, ClaimPart, Settled};
use firelane_core::{Cause, Outcome, Reason};
use firelane_record::set::RecordSet;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::outage::Tell;
use super::{Route, Waiting};
use crate::pipeline::{FrameGuard, Pipeline, retained_bytes};

/// Wait before a retry while draining: the schedule's seconds would not fit the grace period.
const DRAIN_RETRY: Duration = Duration::from_millis(500);
/// Longest wait while draining, if the destination asks for more (`Retry-After`).
const DRAIN_RETRY_MAX: Duration = Duration::from_secs(2);

impl Route {
    pub(super) fn settle(&mut self, claim: Claim<FrameGuard>, outcome: Outcome) {
        let counts = self.counts().clone();
        match outcome {
            Outcome::Delivered => {
                counts.proc_records.add(claim.records().into());
                counts.proc_bytes.add(claim.bytes() as u64);
                self.works();
                self.release(claim);
            }
            Outcome::Discard { records, why } => {
                let total = claim.records();
                let refused = u64::from(records.count(total));
                counts.dropped.add(Reason::Refused, refused);
                // Last: whoever sees the error sees what it cost.
                counts.errors.add(1);
                counts.proc_records.add(u64::from(total) - refused);
                counts
                    .proc_bytes
                    .add(bytes_of(&claim, &records.complement(total)));
                let name = &self.end().name;
                error!(target: "output", instance = %name, records = refused, cause = %why, "refused for good, records dropped");
                self.works();
                self.release(claim);
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
                if let Some(rest) = self.settle_some(claim, &done, &refused) {
                    self.retry(rest, after, &why);
                } else {
                    self.busy.remove(&key);
                }
            }
        }
    }

    /// The destination has answered for some records: an outage is over.
    fn works(&mut self) {
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
    ) -> Option<Claim<FrameGuard>> {
        let counts = self.counts().clone();
        let total = claim.records();
        let refused_count = u64::from(refused.count(total));
        if !done.is_none() {
            counts.proc_records.add(u64::from(done.count(total)));
            counts.proc_bytes.add(bytes_of(&claim, done));
        }
        if refused_count > 0 {
            counts.dropped.add(Reason::Refused, refused_count);
            counts.errors.add(1);
        }
        let gone = done.union(refused);
        if gone.count(total) == 0 {
            return Some(claim);
        }
        self.works();
        let mut settling = Settling::new(self);
        let rest = claim.split(&gone, |part| settling.part(part));
        settling.finish();
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
        let last = !self.setup.retry_limit.allows(attempt);
        let tell = self.outage.failed(now, last || attempt > 1);
        if last {
            counts.dropped.add(Reason::RetriesExhausted, records.into());
            counts.retries_failed.add(1);
            error!(target: "output", instance = %name, records, cause = %why, "retries used up, records dropped");
            self.release(claim);
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

    /// The drain has begun, or a long outage is over: retries run at once.
    pub(super) fn hurry_retries(&mut self) {
        let now = Instant::now();
        for waiting in &mut self.waiting {
            waiting.at = now;
        }
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
