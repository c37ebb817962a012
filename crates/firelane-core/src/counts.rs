//! Counters of plugin instances. Written once per run or chunk, never per record; read by the monitoring
//! server and by the ledgers. Names follow Fluent Bit's metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why records left other than by delivery. Each is a door with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A filter's rule said so (grep, an empty record_modifier result).
    Filtered,
    /// The bytes were no record.
    Malformed,
    /// Metrics and traces, which this router does not carry.
    NotLogs,
    /// Its tags led in a circle.
    TagLoop,
    /// The destination refused them for good.
    Refused,
    /// The explicit `Retry_Limit` was used up.
    RetriesExhausted,
    /// Its route was over its share of the budget while others waited.
    OverShare,
    /// The grace period ended first.
    Stopped,
    /// They waited longer than `retry.max_age`.
    TooOld,
    /// `storage.total_limit_size` was reached, and the policy drops.
    OverLimit,
    /// What was on disk is not what was written.
    Damaged,
    /// They were in parts of an upload that the destination has thrown away.
    UploadLost,
    /// A bug of ours, counted so that it shows.
    Bug,
}

impl Reason {
    /// All reasons, in the order of [`Reason::index`].
    pub const ALL: [Self; 13] = [
        Self::Filtered,
        Self::Malformed,
        Self::NotLogs,
        Self::TagLoop,
        Self::Refused,
        Self::RetriesExhausted,
        Self::OverShare,
        Self::Stopped,
        Self::TooOld,
        Self::OverLimit,
        Self::Damaged,
        Self::UploadLost,
        Self::Bug,
    ];

    /// Position in tables of counters.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The label in metrics and in the ledgers.
    pub fn label(self) -> &'static str {
        match self {
            Self::Filtered => "filtered",
            Self::Malformed => "malformed",
            Self::NotLogs => "not_logs",
            Self::TagLoop => "tag_loop",
            Self::Refused => "refused",
            Self::RetriesExhausted => "retries_exhausted",
            Self::OverShare => "over_share",
            Self::Stopped => "stopped",
            Self::TooOld => "too_old",
            Self::OverLimit => "over_limit",
            Self::Damaged => "damaged",
            Self::UploadLost => "upload_lost",
            Self::Bug => "bug",
        }
    }
}

/// Records dropped, by reason.
#[derive(Debug, Default)]
pub struct Dropped([AtomicU64; Reason::ALL.len()]);

impl Dropped {
    /// Counts `n` records.
    pub fn add(&self, reason: Reason, n: u64) {
        if n > 0 {
            self.0[reason.index()].fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Records dropped under `reason`.
    pub fn get(&self, reason: Reason) -> u64 {
        self.0[reason.index()].load(Ordering::Relaxed)
    }

    /// Records dropped in all.
    pub fn total(&self) -> u64 {
        Reason::ALL.iter().map(|&reason| self.get(reason)).sum()
    }
}

/// A counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes `n` away; for gauges.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// Sets it; for gauges.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of an input. `received` and `dropped` are written by the input's own decoder, the rest by the
/// engine.
#[derive(Debug, Default)]
pub struct InputCounts {
    /// Records decoded, good ones and those then dropped; the ledger's left side.
    pub received: Counter,
    /// Records handed to the engine (`fluentbit_input_records_total`).
    pub records: Counter,
    /// Bytes handed to the engine (`fluentbit_input_bytes_total`).
    pub bytes: Counter,
    /// Records the decoder dropped, by reason.
    pub dropped: Dropped,
    /// Connections opened so far.
    pub connections: Counter,
    /// Connections ended for a fault of the peer.
    pub faults: Counter,
    /// Times the reading stopped for back-pressure.
    pub pauses: Counter,
    /// 1 while the reading stands still for back-pressure.
    pub paused: Counter,
    /// Files opened (tail).
    pub files_opened: Counter,
    /// Files closed (tail).
    pub files_closed: Counter,
    /// Files rotated (tail).
    pub files_rotated: Counter,
}

/// Counters of a filter, written by the engine.
#[derive(Debug, Default)]
pub struct FilterCounts {
    /// Records seen.
    pub records: Counter,
    /// Bytes seen.
    pub bytes: Counter,
    /// Records added.
    pub add_records: Counter,
    /// Records dropped.
    pub drop_records: Counter,
    /// Bytes dropped.
    pub drop_bytes: Counter,
}

/// Counters of an output, written by its route.
#[derive(Debug, Default)]
pub struct OutputCounts {
    /// Records routed to it; the ledger's left side.
    pub routed: Counter,
    /// Records delivered.
    pub proc_records: Counter,
    /// Bytes delivered.
    pub proc_bytes: Counter,
    /// Chunks refused for good.
    pub errors: Counter,
    /// Chunks to be sent again.
    pub retries: Counter,
    /// Records in them.
    pub retried_records: Counter,
    /// Chunks whose retries were used up.
    pub retries_failed: Counter,
    /// Records dropped, by reason.
    pub dropped: Dropped,
    /// Records in the folder of dead letters.
    pub dead_lettered: Counter,
    /// Requests whose answer was lost: sent again, perhaps twice there.
    pub ambiguous: Counter,
    /// Gauge: records that the destination holds and does not show yet (parts of unfinished uploads).
    pub parked: Counter,
    /// Gauge: bytes of records that wait for this output.
    pub retained_bytes: Counter,
    /// Gauge: chunks under way.
    pub in_flight: Counter,
}
