//! What the monitoring server and the exit line see of a running router.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use firelane_core::{FilterCounts, InputCounts, OutputCounts};

use crate::ledger::{IngestLedger, RouteLedger, add_dropped};
use crate::router::Shared;

/// One input.
#[derive(Clone)]
pub struct InputStatus {
    /// Instance name or alias.
    pub name: Arc<str>,
    /// Plugin name.
    pub plugin: &'static str,
    /// Its counters.
    pub counts: Arc<InputCounts>,
    /// Bytes of its records in memory.
    pub mem_bytes: usize,
    /// `Mem_Buf_Limit` in bytes, if set.
    pub mem_limit: Option<usize>,
    /// Whether it stands still for back-pressure.
    pub over_limit: bool,
}

/// One filter.
#[derive(Clone)]
pub struct FilterStatus {
    /// Instance name or alias.
    pub name: Arc<str>,
    /// Its counters.
    pub counts: Arc<FilterCounts>,
}

/// One output.
#[derive(Clone)]
pub struct OutputStatus {
    /// Instance name or alias.
    pub name: Arc<str>,
    /// Its counters.
    pub counts: Arc<OutputCounts>,
    /// How long its oldest record has waited, beyond what the output waits by itself for more; zero if none
    /// waits.
    pub oldest: Duration,
}

/// The log.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogStatus {
    /// Frames that are not released.
    pub frames: usize,
    /// Bytes in use of the process's budget.
    pub used: usize,
    /// The process's budget in bytes.
    pub limit: usize,
    /// Blocks that are on disk and not in memory.
    pub cold: usize,
    /// The log on disk, if there is one.
    pub disk: Option<DiskStatus>,
}

/// The log on disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskStatus {
    /// Bytes of its files.
    pub used: u64,
    /// Bytes that it may have; `None`: as the disk allows.
    pub limit: Option<u64>,
    /// Nothing more can be written.
    pub full: bool,
    /// Records in the folder of dead letters, if there is one.
    pub dead_letters: Option<u64>,
}

/// A handle that sees a running router. Cheap to clone.
#[derive(Clone)]
pub struct Status {
    pub(crate) shared: Arc<Shared>,
}

impl Status {
    /// The inputs, in order; also those that are ending.
    pub fn inputs(&self) -> Vec<InputStatus> {
        let inputs = self.shared.inputs();
        let status = |input: &crate::inputs::InputInfo| InputStatus {
            name: input.name.clone(),
            plugin: input.plugin,
            counts: input.counts.clone(),
            mem_bytes: input.budget.used(),
            mem_limit: input.budget.limit(),
            over_limit: input.budget.is_over(),
        };
        inputs.infos().map(status).collect()
    }

    /// The filters, in order.
    pub fn filters(&self) -> Vec<FilterStatus> {
        let pipeline = self.shared.pipeline();
        let status = |slot: &crate::chain::FilterSlot| FilterStatus {
            name: slot.name.clone(),
            counts: slot.counts.clone(),
        };
        pipeline.chain.filters().iter().map(status).collect()
    }

    /// The outputs, in order.
    pub fn outputs(&self) -> Vec<OutputStatus> {
        outputs(&self.shared.pipeline())
    }

    /// Counters of all outputs of earlier configurations, so that sums do not go backwards.
    pub fn past_outputs(&self) -> Vec<Arc<OutputCounts>> {
        let past = self.shared.past.lock();
        past.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Outputs of earlier configurations that still have records.
    pub fn replaced_outputs(&self) -> Vec<OutputStatus> {
        let replaced = self.shared.replaced();
        let outputs = replaced.iter().flat_map(|pipeline| outputs(pipeline));
        outputs
            .filter(|output| output.counts.retained_bytes.get() > 0 || output.counts.parked.get() > 0)
            .collect()
    }

    /// The log.
    pub fn log(&self) -> LogStatus {
        let pipeline = self.shared.pipeline();
        let disk = self.shared.journal.as_ref().map(|journal| DiskStatus {
            used: journal.bytes(),
            limit: Some(journal.limit()).filter(|&limit| limit != u64::MAX),
            full: journal.is_full(),
            dead_letters: journal.buried(),
        });
        LogStatus {
            disk,
            cold: pipeline
                .partitions
                .iter()
                .map(firelane_buffer::Partition::cold)
                .sum(),
            frames: pipeline
                .partitions
                .iter()
                .map(firelane_buffer::Partition::frames)
                .sum(),
            used: self.shared.budget.used(),
            limit: self.shared.budget.limit(),
        }
    }

    /// The ingest ledger now. It balances at rest; while records are on their way it may be ahead on the
    /// left.
    pub fn ingest_ledger(&self) -> IngestLedger {
        let counts = &self.shared.counts;
        let filtered = firelane_core::Reason::Filtered;
        let mut ledger = IngestLedger {
            created: counts.created.get(),
            recovered: counts.recovered.get(),
            filtered: counts.dropped.get(filtered),
            joined: counts.joined.get(),
            unrouted: counts.unrouted.get(),
            held: counts.held.get(),
            appended: counts.appended.get(),
            ..IngestLedger::default()
        };
        add_dropped(&mut ledger.dropped, &counts.dropped, Some(filtered));
        let inputs = self.shared.inputs();
        let live = inputs.infos().map(|input| &input.counts);
        for input in live.chain(&inputs.ended) {
            ledger.received += input.received.get();
            ledger.filtered += input.dropped.get(filtered);
            add_dropped(&mut ledger.dropped, &input.dropped, Some(filtered));
        }
        ledger
    }

    /// How long the router has run.
    pub fn uptime(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// Reloads so far.
    pub fn reloads(&self) -> u64 {
        self.shared.reloads.get()
    }

    /// Whether all inputs are open and the router takes records.
    pub fn is_ready(&self) -> bool {
        self.shared.ready.load(Ordering::Acquire)
    }
}

/// The outputs of a pipeline, in order.
fn outputs(pipeline: &crate::pipeline::Pipeline) -> Vec<OutputStatus> {
    let now = pipeline.now();
    let log = pipeline
        .partitions
        .iter()
        .filter_map(firelane_buffer::Partition::oldest)
        .min();
    let status = |route: &crate::pipeline::RouteEnd| {
        // What the route has not read yet is in the log only.
        let waits = route.counts.retained_bytes.get() > 0;
        let known = route.oldest.load(Ordering::Relaxed);
        let oldest = if known == u64::MAX && waits {
            log.unwrap_or(u64::MAX)
        } else {
            known
        };
        OutputStatus {
            name: route.name.clone(),
            counts: route.counts.clone(),
            oldest: Duration::from_millis(if waits { now.saturating_sub(oldest) } else { 0 }),
        }
    };
    pipeline.routes.iter().map(status).collect()
}

/// The ledger of a route that has ended with `buffered` records left.
pub(crate) fn route_ledger(name: &str, counts: &OutputCounts, buffered: u64) -> RouteLedger {
    let mut ledger = RouteLedger {
        name: name.to_string(),
        routed: counts.routed.get(),
        delivered: counts.proc_records.get(),
        parked: counts.parked.get(),
        dead_lettered: counts.dead_lettered.get(),
        dropped: Vec::new(),
        buffered,
    };
    add_dropped(&mut ledger.dropped, &counts.dropped, None);
    ledger
}
