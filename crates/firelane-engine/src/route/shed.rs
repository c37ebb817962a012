//! What a route gives up: over its share, and after a reload.

use firelane_buffer::Claim;
use firelane_core::Reason;
use tokio::time::Instant;
use tracing::error;

use super::settle::Settling;
use super::{Route, Waiting};
use crate::pipeline::FrameGuard;
use crate::shares::Verdict;

/// What one pass over a route's claims did.
#[derive(Debug, Default)]
struct Pass {
    records: u64,
    /// Other routes need older records too: what is behind them is not in the way yet.
    shared: bool,
}

impl Route {
    /// Gives up the oldest records that stand in the way of routes that work; [`crate::shares`] has the rule.
    pub(super) fn shed(&mut self, now: Instant) {
        if !self.outage.is_dead(now) || self.pipeline.retired().is_some() {
            return;
        }
        let pipeline = self.pipeline.clone();
        // While there is room on disk, records go there.
        if !pipeline.budget.any_over() || pipeline.may_spill() {
            return;
        }
        let me = self.setup.id;
        let inputs = pipeline.budget.inputs();
        let needed = || inputs.iter().any(|input| pipeline.in_the_way(me, input));
        let mut records = 0;
        self.sheds = true;
        while needed() {
            let pass = self.prune();
            records += pass.records;
            if pass.shared || !needed() || !self.read_on() {
                break;
            }
        }
        self.sheds = false;
        if records == 0 {
            return;
        }
        let end = self.end();
        end.counts.dropped.add(Reason::OverShare, records);
        if self.outage.tell_shed() {
            let name = &self.end().name;
            error!(target: "output", instance = %name, records,
                "its destination fails and its records fill the memory that other outputs need: the oldest are dropped until \
                 it takes records again (counted as over_share); mend the destination, or give more memory \
                 (`Mem_Buf_Limit`, `firelane.memory_limit`)");
        }
    }

    /// Takes the runs that stand in the way out of all claims, oldest first.
    fn prune(&mut self) -> Pass {
        let mut pass = Pass::default();
        self.waiting.sort_by_key(|waiting| waiting.claim.oldest());
        for Waiting { at, claim } in std::mem::take(&mut self.waiting) {
            let key = claim.key().clone();
            match self.prune_claim(claim, &mut pass) {
                Some(claim) => self.waiting.push(Waiting { at, claim }),
                None => {
                    self.busy.remove(&key);
                }
            }
        }
        for claim in std::mem::take(&mut self.ready) {
            let claim = self.prune_claim(claim, &mut pass);
            self.ready.extend(claim);
        }
        pass
    }

    fn prune_claim(&mut self, claim: Claim<FrameGuard>, pass: &mut Pass) -> Option<Claim<FrameGuard>> {
        let (me, pipeline) = (self.setup.id, self.pipeline.clone());
        let mut settling = Settling::new(self);
        let rest = claim.without(|part| match pipeline.verdict(me, part.frame()) {
            Verdict::Leaves => {
                let (from, to) = part.range();
                pass.records += u64::from(to - from);
                settling.part(part);
                true
            }
            Verdict::Shared => {
                pass.shared = true;
                false
            }
            Verdict::Stays => false,
        });
        settling.finish();
        rest
    }

    /// Makes claims of more of the log; false when there is no more.
    pub(super) fn read_on(&mut self) -> bool {
        let before = self.ready.len();
        self.read(false, before + 1);
        if self.ready.len() == before {
            let mut closed = Vec::new();
            self.batcher.close_opened_by(u64::MAX, &mut closed);
            self.ready.extend(closed);
        }
        self.ready.len() > before
    }

    /// A reload has put another pipeline in place of this one. Its dead routes give up what they have when
    /// their time in peace is over and the memory is needed.
    pub(super) fn give_way(&mut self, now: Instant) {
        let peace_over = self.pipeline.retired().is_some_and(|left| left.is_zero());
        let tight = self.pipeline.budget.is_tight() && !self.pipeline.may_spill();
        if !peace_over || !self.outage.is_dead(now) || !tight {
            return;
        }
        let mut records = 0;
        self.sheds = true;
        loop {
            let waiting = self.waiting.drain(..).map(|waiting| waiting.claim);
            let claims: Vec<_> = waiting.chain(self.ready.drain(..)).collect();
            for claim in claims {
                records += u64::from(claim.records());
                self.busy.remove(claim.key());
                self.settle_all(claim);
            }
            if !self.read_on() {
                break;
            }
        }
        self.sheds = false;
        if records > 0 {
            let end = self.end();
            end.counts.dropped.add(Reason::Stopped, records);
            error!(target: "output", instance = %end.name, records,
                "a reload has ended this output, its destination still fails, and the memory is needed: its records are dropped \
                 (counted as stopped)");
        }
    }
}
