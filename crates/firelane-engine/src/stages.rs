//! Runs stages: filters with memory. What a stage holds keeps the tickets of its runs open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use firelane_core::{AckOn, Emit, FilterCounts, Hold, Scope, Stage};
use firelane_record::draft::{Draft, Scratch};
use firelane_record::{Records, RecordsBuf, Tag};

use crate::budget::InputBudget;
use crate::chain::Run;
use crate::ledger::IngestCounts;

/// Makes an instance of a stage.
pub type MakeStage = Box<dyn Fn() -> Box<dyn Stage> + Send + Sync>;

/// A stage in the pipeline, with its instances.
pub struct StageSlot {
    make: MakeStage,
    scope: Scope,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    instances: HashMap<(u64, Option<Tag>), Instance>,
    scratch: Scratch,
}

/// One instance and what hangs on the records it holds.
struct Instance {
    stage: Box<dyn Stage>,
    holds: Vec<Hold>,
    held: u64,
    /// Of the last run: what expired records go on with.
    stream: u64,
    ack_on: AckOn,
    tag: Tag,
    budget: Arc<InputBudget>,
}

impl StageSlot {
    /// A slot whose instances `make` makes.
    pub fn new(make: MakeStage) -> Self {
        let scope = make().scope();
        Self {
            make,
            scope,
            state: Mutex::default(),
        }
    }

    /// Pushes a run; gives what comes out of the stage now, with the tickets it carries.
    pub fn push(&self, run: Run, filter: &FilterCounts, counts: &IngestCounts) -> Run {
        let Run {
            stream,
            tag,
            records,
            budget,
            holds,
            ack_on,
        } = run;
        let key = match self.scope {
            Scope::PerStream => (stream, Some(tag.clone())),
            Scope::PerInstance => (0, None),
        };
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { instances, scratch } = &mut *guard;
        let instance = instances.entry(key).or_insert_with(|| Instance {
            stage: (self.make)(),
            holds: Vec::new(),
            held: 0,
            stream,
            ack_on,
            tag: tag.clone(),
            budget: budget.clone(),
        });
        instance.holds.extend(holds);
        instance.stream = stream;
        instance.tag = tag.clone();
        filter.records.add(records.count().into());
        filter.bytes.add(records.len() as u64);
        let mut out = RecordsBuf::with_capacity(records.len());
        let mut emit = Emit::new(&mut out);
        for event in records.events() {
            instance.stage.push(Draft::new(&event, scratch), &mut emit);
        }
        let tally = emit.tally();
        filter.drop_records.add(tally.dropped);
        filter.add_records.add(tally.created);
        let records = instance.account(records.count().into(), tally, out.take(), counts);
        let holds = instance.carry(&records);
        Run {
            stream,
            tag,
            records,
            budget,
            holds,
            ack_on,
        }
    }

    /// Emits what has waited long enough at `now`.
    pub fn expire(&self, now: Instant, counts: &IngestCounts) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.instances.retain(|_, instance| {
            if instance.stage.deadline().is_some_and(|deadline| deadline <= now) {
                let mut out = RecordsBuf::default();
                let mut emit = Emit::new(&mut out);
                instance.stage.expire(now, &mut emit);
                let tally = emit.tally();
                let records = instance.account(0, tally, out.take(), counts);
                let holds = instance.carry(&records);
                let (stream, ack_on) = (instance.stream, instance.ack_on);
                let (tag, budget) = (instance.tag.clone(), instance.budget.clone());
                runs.push(Run {
                    stream,
                    tag,
                    records,
                    budget,
                    holds,
                    ack_on,
                });
            }
            // One per connection and tag: those without records are not kept.
            self.scope == Scope::PerInstance || instance.held > 0
        });
        runs
    }

    /// When [`StageSlot::expire`] should be called next.
    pub fn deadline(&self) -> Option<Instant> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state
            .instances
            .values()
            .filter_map(|instance| instance.stage.deadline())
            .min()
    }
}

impl Instance {
    /// Counts what became of `pushed` records. Held is what is not accounted for otherwise.
    fn account(
        &mut self,
        pushed: u64,
        tally: firelane_core::stage::Tally,
        out: Records,
        counts: &IngestCounts,
    ) -> Records {
        counts.created.add(tally.created);
        counts.joined.add(tally.joined);
        counts.dropped.add(firelane_core::Reason::Filtered, tally.dropped);
        let left = u64::from(out.count()) + tally.joined + tally.dropped;
        let held = (self.held + pushed + tally.created).saturating_sub(left);
        counts.held.add(held);
        counts.held.sub(self.held);
        self.held = held;
        out
    }

    /// The tickets that go on with what was emitted; closes them where nothing is left to wait for.
    fn carry(&mut self, emitted: &Records) -> Vec<Hold> {
        match (self.held, emitted.is_empty()) {
            (0, false) => std::mem::take(&mut self.holds),
            (0, true) => {
                std::mem::take(&mut self.holds).into_iter().for_each(Hold::close);
                Vec::new()
            }
            (_, false) => self.holds.iter().map(Hold::share).collect(),
            (_, true) => Vec::new(),
        }
    }
}
