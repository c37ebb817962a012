//! What a destination holds and does not show yet: parts of unfinished uploads ([`Outcome::Parked`]).
//!
//! Such records are settled, since the output answers for them over a kill, and count as parked until
//! [`Output::finish`] says what became of them. A group is finished when its time is over: an open batch of
//! it goes out first, as the last part. At the end of a drain every group is.
//!
//! [`Outcome::Parked`]: firelane_core::Outcome::Parked
//! [`Output::finish`]: firelane_core::Output::finish

use std::collections::HashMap;
use std::time::Duration;

use firelane_buffer::{Claim, GroupKey};
use firelane_core::{Cause, CauseKind, Finished, Phase, Reason, Rest};
use firelane_record::set::RecordSet;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{error, warn};

use super::outage::Tell;
use super::settle::{DRAIN_RETRY, DRAIN_RETRY_MAX};
use super::{FAR, Route};
use crate::pipeline::FrameGuard;

/// The groups of which something is parked.
#[derive(Default)]
pub(super) struct ParkedGroups {
    due: HashMap<GroupKey, Due>,
    finishing: JoinSet<(GroupKey, Finished)>,
    /// By task, so that a panic is known by its group.
    running: Vec<(tokio::task::Id, GroupKey)>,
}

/// When a group must be finished.
#[derive(Debug, Clone, Copy)]
struct Due {
    at: Instant,
    /// Failed tries so far.
    attempt: u32,
    /// When what was parked since the last try began must be finished.
    noted: Option<Instant>,
}

impl Due {
    fn new(at: Instant) -> Self {
        Self {
            at,
            attempt: 0,
            noted: None,
        }
    }
}

impl ParkedGroups {
    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    pub(super) fn is_finishing(&self) -> bool {
        !self.finishing.is_empty()
    }

    fn runs(&self, key: &GroupKey) -> bool {
        self.running.iter().any(|(_, running)| running == key)
    }

    pub(super) async fn join_next(&mut self) -> Option<Result<(GroupKey, Finished), (GroupKey, JoinError)>> {
        let done = self.finishing.join_next_with_id().await?;
        let id = done.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let at = self.running.iter().position(|(running, _)| *running == id);
        let key = at.map(|at| self.running.swap_remove(at).1);
        match (done, key) {
            (Ok((_, done)), _) => Some(Ok(done)),
            (Err(error), Some(key)) => Some(Err((key, error))),
            (Err(_), None) => None,
        }
    }

    pub(super) async fn shutdown(&mut self) {
        self.finishing.shutdown().await;
    }
}

impl Route {
    /// Asks the output what is parked: of an earlier run, or of a route before this one. The ledger knows it.
    pub(super) async fn take_up_parked(&mut self) {
        let now = Instant::now();
        for parked in self.setup.output.parked().await {
            self.note_parked(parked.group, now, parked.until);
        }
    }

    fn note_parked(&mut self, key: GroupKey, now: Instant, until: Duration) {
        let at = now + until.min(FAR);
        let due = self.parked.due.entry(key).or_insert(Due::new(at));
        due.at = due.at.min(at);
        due.noted = Some(due.noted.map_or(at, |noted| noted.min(at)));
    }

    /// A delivery was parked.
    pub(super) fn park(
        &mut self,
        claim: Claim<FrameGuard>,
        refused: &RecordSet,
        until: Duration,
        why: Option<Cause>,
    ) {
        let counts = self.counts().clone();
        let key = claim.key().clone();
        self.concurrency.delivered();
        self.works();
        self.busy.remove(&key);
        let (refused, parked) = claim.divide(refused);
        if let Some(parked) = parked {
            counts.parked.add(parked.records().into());
            self.note_parked(key, Instant::now(), until);
            self.settle_all(parked);
        }
        if let Some(refused) = refused {
            let (name, records) = (&self.end().name, refused.records());
            let cause = why.map_or_else(String::new, |why| why.text);
            error!(target: "output", instance = %name, records, cause, "some records were refused for good and are given up");
            self.give_up(refused, Reason::Refused, &cause);
            counts.errors.add(1);
        }
    }

    /// Closes the batches of groups that are due: what is in them belongs to what is finished.
    pub(super) fn close_parked(&mut self, now: Instant, closed: &mut Vec<Claim<FrameGuard>>) {
        let due = self.parked.due.iter().filter(|(_, due)| due.at <= now);
        for (key, _) in due {
            if !self.busy.contains(key) {
                self.batcher.close_group(key, closed);
            }
        }
    }

    /// Whether records of the group are on their way, or about to be.
    fn is_under_way(&self, key: &GroupKey) -> bool {
        let waits = |key: &GroupKey| self.waiting.iter().any(|waiting| waiting.claim.key() == key);
        let goes = self.in_flight.iter().any(|(_, claim)| claim.key() == key);
        // A chunk that has failed may wait for long: what is parked is finished without it.
        goes || !waits(key) && self.ready.iter().any(|claim| claim.key() == key)
    }

    /// Starts to finish groups whose time is over; in a drain those of which nothing is left to send.
    pub(super) fn finish_due(&mut self, draining: bool, now: Instant) {
        if self.parked.due.is_empty() {
            return;
        }
        let at_end = draining && self.nothing_unread();
        let room = self.in_flight_max().saturating_sub(self.parked.running.len());
        let due = self.parked.due.iter().filter(|(key, due)| {
            let over = due.at <= now || (at_end && due.attempt == 0);
            over && !self.parked.runs(key) && !self.is_under_way(key)
        });
        let due: Vec<_> = due
            .take(room)
            .map(|(key, due)| (key.clone(), due.attempt))
            .collect();
        for (key, attempt) in due {
            let give_up = !self.setup.retry_limit.allows(attempt + 1);
            let (output, cx) = (self.setup.output.clone(), self.cx(attempt));
            if let Some(due) = self.parked.due.get_mut(&key) {
                due.noted = None;
            }
            let group = key.clone();
            let task = self.parked.finishing.spawn(async move {
                let limit = output.deadline();
                let finish = output.finish(group.clone(), give_up, cx);
                let done = tokio::time::timeout(limit, finish).await;
                (group, done.unwrap_or_else(|_| hung(limit)))
            });
            self.parked.running.push((task.id(), key));
        }
    }

    /// When a group must be finished next. Those under way come back as events.
    pub(super) fn next_finish(&self, now: Instant) -> Option<Instant> {
        let due = self.parked.due.iter();
        let idle = due.filter(|(key, due)| {
            !self.parked.runs(key) && !(due.at <= now && (self.is_under_way(key) || self.is_crowded()))
        });
        idle.map(|(_, due)| due.at).min()
    }

    /// As many groups are being finished as may be: the next one waits for one of them.
    fn is_crowded(&self) -> bool {
        self.parked.running.len() >= self.in_flight_max()
    }

    pub(super) fn finished_parked(&mut self, done: Result<(GroupKey, Finished), (GroupKey, JoinError)>) {
        let (key, finished) = match done {
            Ok(done) => done,
            Err((key, error)) => {
                error!(target: "output", instance = %self.end().name, %error, "the output panicked, it will finish its upload later");
                let why = Cause::new(CauseKind::Panic, "the output panicked");
                let rest = Rest::Retry { after: None, why };
                (
                    key,
                    Finished {
                        rest,
                        ..Finished::default()
                    },
                )
            }
        };
        self.count_finished(&finished);
        let now = Instant::now();
        // It may have been parked while this try was already over.
        let noted = self.parked.due.get(&key).and_then(|due| due.noted);
        let at = match finished.rest {
            Rest::Nothing => noted,
            Rest::Until(until) => {
                Some(noted.map_or(now + until.min(FAR), |noted| noted.min(now + until.min(FAR))))
            }
            Rest::Retry { after, why } => return self.finish_later(&key, now, after, &why),
        };
        match at {
            Some(at) => self.parked.due.insert(key, Due::new(at)),
            None => self.parked.due.remove(&key),
        };
    }

    fn count_finished(&mut self, finished: &Finished) {
        let counts = self.counts().clone();
        let (name, gone) = (self.end().name.clone(), finished.delivered + finished.lost);
        if gone == 0 {
            return;
        }
        if gone > counts.parked.get() {
            error!(target: "engine", instance = %name, "a bug: more records were finished than were parked");
        }
        counts.parked.sub(gone.min(counts.parked.get()));
        counts.proc_records.add(finished.delivered);
        counts.proc_bytes.add(finished.bytes);
        if finished.lost > 0 {
            counts.dropped.add(Reason::UploadLost, finished.lost);
            let cause = finished.lost_why.as_ref().map_or("", |why| &why.text);
            error!(target: "output", instance = %name, records = finished.lost, cause,
                "an unfinished upload is gone, its records are lost (counted as upload_lost)");
            counts.errors.add(1);
        }
        self.works();
    }

    fn finish_later(&mut self, key: &GroupKey, now: Instant, after: Option<Duration>, why: &Cause) {
        let hurries = self.hurries();
        let Some(due) = self.parked.due.get_mut(key) else {
            return;
        };
        due.attempt = due.attempt.saturating_add(1);
        let attempt = due.attempt;
        let wait = if hurries {
            after.unwrap_or(DRAIN_RETRY).clamp(DRAIN_RETRY, DRAIN_RETRY_MAX)
        } else {
            after.unwrap_or_else(|| self.setup.schedule.wait(attempt, self.rng.draw()))
        };
        // What was parked meanwhile may be due earlier.
        due.at = due.noted.map_or(now + wait, |noted| noted.min(now + wait));
        let counts = self.counts().clone();
        counts.retries.add(1);
        if why.ambiguous {
            counts.ambiguous.add(1);
        }
        let (name, wait_s) = (self.end().name.clone(), wait.as_secs_f32());
        match self.outage.failed(now, attempt > 1) {
            Tell::Nothing => {}
            Tell::Begun => {
                warn!(target: "output", instance = %name, attempt, wait_s, cause = %why, "an upload is not finished, it will be tried again");
            }
            Tell::GoesOn(failures, since) => {
                let since_s = since.as_secs();
                warn!(target: "output", instance = %name, failures, since_s, cause = %why, "still fails, uploads will be finished later");
            }
        }
    }

    pub(super) fn nothing_unread(&self) -> bool {
        let id = self.setup.id;
        let unread = self.pipeline.partitions.iter().any(|log| log.unread(id) > 0);
        !unread && self.loads.is_empty() && self.stop.phase() >= Phase::Draining
    }

    /// The drain has begun, or an outage is over: what could not be finished is tried at once.
    pub(super) fn hurry_parked(&mut self, now: Instant) {
        for due in self.parked.due.values_mut().filter(|due| due.attempt > 0) {
            due.at = now;
        }
    }
}

fn hung(limit: Duration) -> Finished {
    let text = format!("finishing hung for {} s and was given up", limit.as_secs());
    let why = Cause::ambiguous(CauseKind::Timeout, text);
    let rest = Rest::Retry { after: None, why };
    Finished {
        rest,
        ..Finished::default()
    }
}
