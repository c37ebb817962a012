//! Memory: one budget for the process, one for each input. Over it an input stops reading; no client is
//! closed.
//!
//! Two thresholds: the *limit* stops the reading until there is room. Above the *pace* mark (a small part of
//! the limit) an append only gives way for a few milliseconds, so that delivery comes first for the CPU and
//! memory stays small while a destination keeps up; a burst, or a destination that is away, still gets the
//! whole limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use firelane_core::{BoxFuture, InputCounts};
use tokio::sync::Notify;
use tracing::{info, warn};

/// Retained bytes above which appends give way to delivery.
const PACE_BYTES: usize = 12 * 1024 * 1024;
/// Longest that one append gives way.
const PACE_WAIT: Duration = Duration::from_millis(4);
/// Bookkeeping of a frame beside its records, charged with it.
pub const FRAME_OVERHEAD: usize = 320;

/// Bytes in use against a limit.
#[derive(Debug)]
struct Level {
    limit: usize,
    used: AtomicUsize,
}

impl Level {
    fn over(&self) -> bool {
        self.used.load(Ordering::Acquire) >= self.limit
    }
}

/// The process's budget for records in memory.
#[derive(Debug)]
pub struct Budget {
    level: Level,
    /// Records were released: whoever waits looks again.
    room: Notify,
    /// Releases so far; tells a destination that keeps up from one that is away.
    releases: AtomicU64,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        let level = Level {
            limit: limit.max(1),
            used: AtomicUsize::new(0),
        };
        Arc::new(Self {
            level,
            room: Notify::new(),
            releases: AtomicU64::new(0),
        })
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.level.used.load(Ordering::Acquire)
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.level.limit
    }
}

/// The part of the budget that one input uses.
#[derive(Debug)]
pub struct InputBudget {
    name: Arc<str>,
    level: Level,
    total: Arc<Budget>,
    paused: AtomicBool,
    counts: Arc<InputCounts>,
}

impl InputBudget {
    /// The budget of the input `name`; `limit` is its `Mem_Buf_Limit` in bytes, if it has one.
    pub fn new(
        name: Arc<str>,
        limit: Option<usize>,
        total: Arc<Budget>,
        counts: Arc<InputCounts>,
    ) -> Arc<Self> {
        let limit = limit.filter(|&limit| limit > 0).unwrap_or(usize::MAX);
        let level = Level {
            limit,
            used: AtomicUsize::new(0),
        };
        Arc::new(Self {
            name,
            level,
            total,
            paused: AtomicBool::new(false),
            counts,
        })
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.level.used.load(Ordering::Acquire)
    }

    /// The input's own limit in bytes; `None` without one.
    pub fn limit(&self) -> Option<usize> {
        (self.level.limit != usize::MAX).then_some(self.level.limit)
    }

    /// The limit that binds first, in bytes.
    pub fn effective_limit(&self) -> usize {
        self.level.limit.min(self.total.level.limit)
    }

    /// Whether the input must stop reading.
    pub fn is_over(&self) -> bool {
        self.level.over() || self.total.level.over()
    }

    /// Whether half of a limit is in use: batches go out without waiting for more.
    pub fn under_pressure(&self) -> bool {
        let half = |level: &Level| level.used.load(Ordering::Acquire) >= level.limit / 2;
        half(&self.level) || half(&self.total.level)
    }

    /// Charges a frame. The charge is given back when it is dropped.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        let bytes = bytes + FRAME_OVERHEAD;
        self.level.used.fetch_add(bytes, Ordering::AcqRel);
        self.total.level.used.fetch_add(bytes, Ordering::AcqRel);
        Charge {
            budget: self.clone(),
            bytes,
        }
    }

    /// `None` when there is room; else a future that ends when there is.
    pub fn ready(self: &Arc<Self>) -> Option<BoxFuture<'static, ()>> {
        if self.is_over() {
            let budget = self.clone();
            return Some(Box::pin(async move { budget.room().await }));
        }
        None
    }

    /// How long an append should give way to delivery, if at all.
    pub fn pace(self: &Arc<Self>) -> Option<BoxFuture<'static, ()>> {
        let mark = PACE_BYTES.min(self.effective_limit() / 2);
        if self.total.used() < mark {
            return None;
        }
        let budget = self.clone();
        Some(Box::pin(async move {
            let below = async {
                loop {
                    let room = budget.total.room.notified();
                    if budget.total.used() < mark {
                        return;
                    }
                    room.await;
                }
            };
            // Out of time is the usual end: the append goes on.
            let _ = tokio::time::timeout(PACE_WAIT, below).await;
        }))
    }

    async fn room(&self) {
        if !self.paused.swap(true, Ordering::AcqRel) {
            self.counts.pauses.add(1);
            self.counts.paused.set(1);
            let limit = self.effective_limit();
            warn!(target: "input", instance = %self.name, used = self.used(), limit, "paused (mem buf overlimit), clients wait");
        }
        loop {
            let room = self.total.room.notified();
            if !self.is_over() {
                break;
            }
            room.await;
        }
        if self.paused.swap(false, Ordering::AcqRel) {
            self.counts.paused.set(0);
            info!(target: "input", instance = %self.name, "resume (mem buf overlimit)");
        }
    }
}

/// Bytes charged to an input; given back on drop.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<InputBudget>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.level.used.fetch_sub(self.bytes, Ordering::AcqRel);
        self.budget
            .total
            .level
            .used
            .fetch_sub(self.bytes, Ordering::AcqRel);
        self.budget.total.releases.fetch_add(1, Ordering::Relaxed);
        self.budget.total.room.notify_waiters();
    }
}

/// The budget where no option sets it: half of the memory limit of the cgroup, else a quarter of the
/// machine's memory, but at most 2 GiB and at least 16 MiB.
pub fn default_limit() -> usize {
    let half = cgroup_limit().map(|limit| limit / 2);
    let quarter = || machine_memory().map(|bytes| bytes / 4);
    half.or_else(quarter)
        .unwrap_or(512 << 20)
        .clamp(16 << 20, 2 << 30)
}

/// The memory limit of this process's cgroup (v2, then v1), if it has one.
fn cgroup_limit() -> Option<usize> {
    let read = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
    let limit =
        read("/sys/fs/cgroup/memory.max").or_else(|| read("/sys/fs/cgroup/memory/memory.limit_in_bytes"))?;
    // Version 1 says "no limit" with a number near 2^63.
    (limit < 1 << 50).then_some(limit)
}

fn machine_memory() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(limit: usize, total: &Arc<Budget>) -> Arc<InputBudget> {
        InputBudget::new("test.0".into(), Some(limit), total.clone(), Arc::default())
    }

    #[tokio::test]
    async fn an_input_waits_until_its_charge_is_given_back() {
        let total = Budget::new(1 << 30);
        let budget = input(1000, &total);
        let charge = budget.charge(1000);
        assert!(budget.is_over());
        let waiting = budget.ready().unwrap();
        let task = tokio::spawn(waiting);
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
        drop(charge);
        task.await.unwrap();
        assert_eq!(
            (budget.used(), total.used(), budget.counts.pauses.get()),
            (0, 0, 1)
        );
    }

    #[test]
    fn the_total_binds_inputs_without_a_limit() {
        let total = Budget::new(500);
        let one = input(0, &total);
        let other = input(0, &total);
        let _charge = one.charge(500);
        assert!(other.is_over() && other.under_pressure());
        assert_eq!(other.limit(), None);
    }

    #[test]
    fn the_default_limit_is_sane() {
        assert!((16 << 20..=2 << 30).contains(&default_limit()));
    }
}
