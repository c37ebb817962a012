//! Records that a route gives up: into the folder of dead letters where there is one, else dropped;
//! always counted under a reason.

use std::io;

use firelane_buffer::store::format::{BlockImage, Entry, Epitaph};
use firelane_buffer::{Claim, ClaimPart};
use firelane_core::Reason;
use tokio::time::Instant;
use tracing::error;

use super::{Route, Waiting};
use crate::pipeline::FrameGuard;
use crate::shares::Overflow;

/// Dead letters that are being written at once.
const BURIALS_MAX: usize = 4;

/// Records on their way to the dead letters.
pub(super) struct Burial {
    id: tokio::task::Id,
    claim: Claim<FrameGuard>,
    reason: Reason,
}

impl Route {
    /// Gives `claim` up under `reason`; `cause` says what happened, for people.
    pub(super) fn give_up(&mut self, claim: Claim<FrameGuard>, reason: Reason, cause: &str) {
        let journal = self.pipeline.journal.clone();
        let Some(journal) = journal.filter(|journal| journal.buried().is_some()) else {
            self.drop_claim(claim, reason);
            return;
        };
        let wall = self.pipeline.wall();
        let epitaph = Epitaph {
            route: self.end().name.as_ref().into(),
            reason: reason.label().into(),
            cause: cause.into(),
            attempts: claim.attempt(),
            wall_ms: wall.of(self.pipeline.now()),
        };
        let entry = |part: &ClaimPart<FrameGuard>| {
            Entry::new(
                part.frame().stream(),
                wall.of(part.frame().appended()),
                part.frame().tag().clone(),
                part.records().clone(),
            )
        };
        let image = BlockImage {
            only: Some(self.end().key.as_ref().into()),
            entries: claim.parts().iter().map(entry).collect(),
            ..BlockImage::default()
        };
        let task = self
            .burials
            .spawn_blocking(move || journal.bury(&epitaph, &image));
        self.burying.push(Burial {
            id: task.id(),
            claim,
            reason,
        });
    }

    fn drop_claim(&mut self, claim: Claim<FrameGuard>, reason: Reason) {
        self.counts().dropped.add(reason, claim.records().into());
        self.settle_all(claim);
    }

    /// Dead letters were written, or could not be.
    pub(super) fn buried(&mut self, done: Result<(tokio::task::Id, io::Result<()>), tokio::task::JoinError>) {
        let (id, result) = match done {
            Ok(done) => done,
            Err(error) => (error.id(), Err(io::Error::other(error))),
        };
        let Some(at) = self.burying.iter().position(|burial| burial.id == id) else {
            return;
        };
        let Burial { claim, reason, .. } = self.burying.swap_remove(at);
        match result {
            Ok(()) => {
                self.counts().dead_lettered.add(claim.records().into());
                self.settle_all(claim);
            }
            Err(error) => {
                let (name, records) = (&self.end().name, claim.records());
                error!(target: "output", instance = %name, records, %error, "dead letters cannot be written, records dropped");
                self.drop_claim(claim, reason);
            }
        }
    }

    /// Bytes of records that are on their way to the dead letters.
    fn burying_bytes(&self) -> usize {
        self.burying.iter().map(|burial| burial.claim.bytes()).sum()
    }

    /// Gives up the oldest records while more than `storage.total_limit_size` wait, where that is the policy.
    pub(super) fn keep_limit(&mut self) {
        let end = self.end();
        let gives_up = matches!(end.overflow, Overflow::DropOldest | Overflow::DeadLetter);
        let Some(limit) = end.share.filter(|_| gives_up) else {
            return;
        };
        let mut records = 0;
        self.sheds = true;
        while self.burying.len() < BURIALS_MAX {
            let leaving = self.burying_bytes();
            let waits = self.end().counts.retained_bytes.get() as usize;
            let excess = waits.saturating_sub(leaving).saturating_sub(limit);
            if excess == 0 {
                break;
            }
            let Some(claim) = self.take_oldest(excess) else {
                if !self.read_on() {
                    break;
                }
                continue;
            };
            records += claim.records();
            if self.end().overflow == Overflow::DeadLetter {
                self.give_up(claim, Reason::OverLimit, "storage.total_limit_size was reached");
            } else {
                self.drop_claim(claim, Reason::OverLimit);
            }
        }
        self.sheds = false;
        if records > 0 && self.outage.tell_limit(Instant::now()) {
            let name = &self.end().name;
            error!(target: "output", instance = %name, records, limit,
                "`storage.total_limit_size` is reached: the oldest records are given up (counted as over_limit, or as dead letters); \
                 mend the destination, or give it more");
        }
    }

    /// The oldest records that are not under way, about `bytes` of them.
    fn take_oldest(&mut self, bytes: usize) -> Option<Claim<FrameGuard>> {
        let waiting = self.waiting.iter().enumerate();
        let waiting = waiting.min_by_key(|(_, waiting)| waiting.claim.oldest());
        let oldest = waiting.map(|(at, waiting)| (at, waiting.claim.oldest()));
        let ready = self.ready.front().map(Claim::oldest);
        if let Some((at, _)) = oldest.filter(|(_, oldest)| ready.is_none_or(|ready| *oldest <= ready)) {
            let Waiting { at, claim } = self.waiting.swap_remove(at);
            let (claim, rest) = claim.cut(bytes);
            match rest {
                Some(claim) => self.waiting.push(Waiting { at, claim }),
                None => {
                    self.busy.remove(claim.key());
                }
            }
            return Some(claim);
        }
        let (claim, rest) = self.ready.pop_front()?.cut(bytes);
        if let Some(rest) = rest {
            self.ready.push_front(rest);
        }
        Some(claim)
    }
}
