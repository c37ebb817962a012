//! Memory: one budget for the process, one for each input. Over it an input stops reading; no client is
//! closed.
//!
//! Two thresholds: the *limit* stops the reading until there is room. Above the *pace* mark (a small part
//! of the limit) an append only gives way for a few milliseconds for each 64 KiB, so that delivery comes
//! first for the CPU and memory stays small while a destination keeps up; a burst, or a destination that
//! is away, still gets the whole limit.

use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use firelane_buffer::{RouteId, Routing};
use firelane_core::{BoxFuture, InputCounts};
use tokio::sync::Notify;
use tracing::{info, warn};

/// Retained bytes above which appends give way to delivery.
const PACE_BYTES: usize = 12 * 1024 * 1024;
/// Longest that an append gives way for each [`PACE_STEP`] of its bytes: a stream then brings at least 16
/// MB/s.
const PACE_WAIT: Duration = Duration::from_millis(4);
/// Bytes of an append for which it gives way once.
const PACE_STEP: usize = 64 * 1024;
/// Most steps of one append.
const PACE_STEPS_MAX: usize = 64;
/// Bookkeeping of a frame beside its records, charged with it.
pub const FRAME_OVERHEAD: usize = 320;

/// Bytes in use against a limit.
#[derive(Debug)]
struct Level {
    limit: usize,
    used: AtomicUsize,
}

impl Level {
    fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            used: AtomicUsize::new(0),
        }
    }

    fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    fn half(&self) -> usize {
        (self.limit / 2).max(1)
    }

    fn is_over(&self) -> bool {
        self.used() >= self.limit
    }

    /// Whether less than a sixteenth is free: what makes room goes on so far, so that it need not start
    /// again for every record.
    fn is_full(&self) -> bool {
        self.used() >= self.limit - self.limit / 16
    }

    fn is_pressed(&self) -> bool {
        self.used() >= self.half()
    }

    /// Whether five eighths are in use: records leave for the disk, if there is one.
    fn is_tight(&self) -> bool {
        self.used() >= self.limit / 8 * 5
    }

    /// Bytes that should leave for the disk: down to half.
    fn excess(&self) -> usize {
        if !self.is_tight() {
            return 0;
        }
        self.used().saturating_sub(self.limit / 2)
    }

    /// Adds `bytes`; gives the marks that this crossed: half, the limit.
    fn add(&self, bytes: usize) -> (bool, bool) {
        let before = self.used.fetch_add(bytes, Ordering::AcqRel);
        let crosses = |mark: usize| before < mark && before + bytes >= mark;
        (crosses(self.half()), crosses(self.limit))
    }

    /// Takes `bytes` away; gives the marks that this crossed downwards: half, the limit.
    fn sub(&self, bytes: usize) -> (bool, bool) {
        let before = self.used.fetch_sub(bytes, Ordering::AcqRel);
        let crosses = |mark: usize| before >= mark && before - bytes < mark;
        (crosses(self.half()), crosses(self.limit))
    }
}

/// The process's budget for records in memory.
#[derive(Debug)]
pub struct Budget {
    level: Level,
    /// Records were released: whoever waits looks again.
    room: Notify,
    /// Inputs that use half of their own limit, and all of it.
    pressed_inputs: AtomicIsize,
    over_inputs: AtomicIsize,
    /// Routes whose destination is dead.
    dead_routes: AtomicIsize,
    /// What is on disk outlives the process.
    kept: AtomicBool,
    /// Routes that are over their own limit and stop the inputs that feed them, one bit each.
    blocking: AtomicU64,
    /// What routes collect that wait for more by design: no reason to slow anybody down.
    collected: AtomicUsize,
    /// The smallest of all limits, its own and the inputs'.
    smallest: AtomicUsize,
    /// Its inputs.
    inputs: Mutex<Vec<Weak<InputBudget>>>,
}

/// What one route collects; gone with it.
#[derive(Debug)]
pub struct Collecting {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Collecting {
    /// It holds so many bytes now.
    pub fn set(&mut self, bytes: usize) {
        let collected = &self.budget.collected;
        if bytes >= self.bytes {
            collected.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            collected.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            level: Level::new(limit),
            room: Notify::new(),
            pressed_inputs: AtomicIsize::new(0),
            over_inputs: AtomicIsize::new(0),
            dead_routes: AtomicIsize::new(0),
            kept: AtomicBool::new(false),
            blocking: AtomicU64::new(0),
            collected: AtomicUsize::new(0),
            smallest: AtomicUsize::new(limit.max(1)),
            inputs: Mutex::default(),
        })
    }

    /// For a route that collects for longer than a flush: what it tells here does not count for the pace.
    pub fn collecting(self: &Arc<Self>) -> Collecting {
        Collecting {
            budget: self.clone(),
            bytes: 0,
        }
    }

    /// From how many bytes on appends give way to delivery.
    fn pace_mark(&self) -> usize {
        PACE_BYTES + self.collected.load(Ordering::Relaxed)
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.level.used()
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.level.limit
    }

    /// Whether half of this budget or of an input's is in use: batches go out without waiting for more.
    pub fn is_pressed(&self) -> bool {
        self.level.is_pressed() || self.pressed_inputs.load(Ordering::Acquire) > 0
    }

    /// Whether an input must wait.
    pub fn any_over(&self) -> bool {
        self.level.is_over() || self.over_inputs.load(Ordering::Acquire) > 0
    }

    /// Whether what is in memory slows down what comes.
    pub fn is_tight(&self) -> bool {
        self.is_pressed() || self.used() >= self.pace_mark()
    }

    /// Bytes of records that should leave for the disk, for the sake of this budget or of an input's.
    pub fn excess(&self) -> usize {
        let inputs = self.inputs();
        let own = inputs.iter().map(|input| input.level.excess()).max();
        own.unwrap_or(0).max(self.level.excess())
    }

    /// The smallest of all limits, in bytes: its own, and those of inputs that are there.
    pub fn smallest_limit(&self) -> usize {
        self.smallest.load(Ordering::Relaxed)
    }

    /// A route is over its own limit: inputs that feed it wait.
    pub fn block(&self, route: RouteId) {
        self.blocking.fetch_or(bit(route), Ordering::AcqRel);
    }

    /// It is below its limit again.
    pub fn unblock(&self, route: RouteId) {
        if self.blocking.fetch_and(!bit(route), Ordering::AcqRel) & bit(route) != 0 {
            self.room.notify_waiters();
        }
    }

    /// Another pipeline has other routes.
    pub fn unblock_all(&self) {
        self.blocking.store(0, Ordering::Release);
        self.room.notify_waiters();
    }

    /// What is on disk outlives the process.
    pub fn set_kept(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// A route's destination has died, or lives again.
    pub fn note_dead(&self, dead: bool) {
        self.dead_routes
            .fetch_add(if dead { 1 } else { -1 }, Ordering::AcqRel);
    }

    /// The budgets of the inputs that are there.
    pub fn inputs(&self) -> Vec<Arc<InputBudget>> {
        let mut inputs = self.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        inputs.retain(|input| input.strong_count() > 0);
        inputs.iter().filter_map(Weak::upgrade).collect()
    }
}

/// The part of the budget that one input uses.
#[derive(Debug)]
pub struct InputBudget {
    name: Arc<str>,
    level: Level,
    total: Arc<Budget>,
    paused: AtomicBool,
    /// Nothing is taken any more.
    closed: AtomicBool,
    /// Its records go to disk before they are acknowledged (`storage.type filesystem`).
    durable: AtomicBool,
    /// They are acknowledged only when every output is done with them (`ack_on delivery`).
    ack_on_delivery: AtomicBool,
    /// Routes of the current pipeline that its records lead to, one bit each; those above share the last.
    feeds: AtomicU64,
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
        let budget = Arc::new(Self {
            name,
            level: Level::new(limit.filter(|&limit| limit > 0).unwrap_or(usize::MAX)),
            total,
            paused: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            durable: AtomicBool::new(false),
            ack_on_delivery: AtomicBool::new(false),
            feeds: AtomicU64::new(0),
            counts,
        });
        let mut inputs = budget.total.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        inputs.retain(|input| input.strong_count() > 0);
        inputs.push(Arc::downgrade(&budget));
        let limits = inputs
            .iter()
            .filter_map(Weak::upgrade)
            .map(|input| input.level.limit);
        let smallest = limits.fold(budget.total.level.limit, usize::min);
        budget.total.smallest.store(smallest, Ordering::Relaxed);
        drop(inputs);
        budget
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.level.used()
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
        self.level.is_over() || self.total.level.is_over() || self.is_blocked()
    }

    /// Whether a route that it feeds is over its own limit.
    fn is_blocked(&self) -> bool {
        let blocking = self.total.blocking.load(Ordering::Acquire);
        blocking & self.feeds.load(Ordering::Relaxed) != 0
    }

    /// The limits that are all but reached: the input's own, the process's.
    pub fn full(&self) -> (Option<usize>, Option<usize>) {
        let full = |level: &Level| level.is_full().then_some(level.limit);
        (full(&self.level), full(&self.total.level))
    }

    /// Whether half of a limit is in use: batches go out without waiting for more.
    pub fn under_pressure(&self) -> bool {
        self.level.is_pressed() || self.total.level.is_pressed()
    }

    /// Whether what is on disk outlives the process.
    pub fn is_kept(&self) -> bool {
        self.total.kept.load(Ordering::Relaxed)
    }

    /// Whether its records go to disk before they are acknowledged.
    pub fn is_durable(&self) -> bool {
        self.durable.load(Ordering::Relaxed)
    }

    /// Its records go to disk before they are acknowledged.
    pub fn set_durable(&self) {
        self.durable.store(true, Ordering::Relaxed);
    }

    /// Whether its records are acknowledged only when every output is done with them.
    pub fn acks_on_delivery(&self) -> bool {
        self.ack_on_delivery.load(Ordering::Relaxed)
    }

    /// Its records are acknowledged only when every output is done with them.
    pub fn set_ack_on_delivery(&self) {
        self.ack_on_delivery.store(true, Ordering::Relaxed);
    }

    /// Whether its records should leave for the disk.
    pub fn wants_room(&self) -> bool {
        self.level.is_tight() || self.total.level.is_tight()
    }

    /// Takes nothing more: appends that wait end with an error.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.total.room.notify_waiters();
    }

    /// Whether nothing is taken any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Notes where its records lead.
    pub fn note(&self, routing: &Routing) {
        let bits = routing.routes().iter().fold(0, |bits, route| bits | bit(*route));
        if self.feeds.load(Ordering::Relaxed) & bits != bits {
            self.feeds.fetch_or(bits, Ordering::Relaxed);
        }
    }

    /// Another pipeline: where its records lead is not known.
    pub fn forget_routes(&self) {
        self.feeds.store(0, Ordering::Relaxed);
    }

    /// Whether its records lead to `route`, or may, while nothing is known.
    pub fn feeds(&self, route: RouteId) -> bool {
        let known = self.feeds.load(Ordering::Relaxed);
        known == 0 || known & bit(route) != 0
    }

    /// Charges a frame. The charge is given back when it is dropped.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        let bytes = bytes + FRAME_OVERHEAD;
        let (pressed, over) = self.level.add(bytes);
        self.total
            .pressed_inputs
            .fetch_add(pressed.into(), Ordering::AcqRel);
        self.total.over_inputs.fetch_add(over.into(), Ordering::AcqRel);
        self.total.level.add(bytes);
        Charge {
            budget: self.clone(),
            bytes,
        }
    }

    /// `None` when there is room, or nothing is taken any more; else a future that ends then.
    pub fn ready(self: &Arc<Self>) -> Option<BoxFuture<'static, ()>> {
        if self.is_over() && !self.is_closed() {
            let budget = self.clone();
            return Some(Box::pin(async move { budget.room().await }));
        }
        None
    }

    /// How long an append should give way to delivery, if at all.
    pub fn pace(self: &Arc<Self>, bytes: usize) -> Option<BoxFuture<'static, ()>> {
        let mark = self.total.pace_mark().min(self.effective_limit() / 2);
        // What a dead destination holds does not leave for waiting.
        if self.total.used() < mark || self.total.dead_routes.load(Ordering::Relaxed) > 0 {
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
            let steps = (bytes / PACE_STEP).clamp(1, PACE_STEPS_MAX) as u32;
            let _ = tokio::time::timeout(PACE_WAIT * steps, below).await;
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
            if !self.is_over() || self.is_closed() {
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

impl Charge {
    /// The budget of the input that it is charged to.
    pub fn budget(&self) -> &InputBudget {
        &self.budget
    }
}

/// A route's bit among those that an input feeds.
fn bit(route: RouteId) -> u64 {
    1 << route.0.min(63)
}

impl Drop for Charge {
    fn drop(&mut self) {
        let total = &self.budget.total;
        let (pressed, over) = self.budget.level.sub(self.bytes);
        total.pressed_inputs.fetch_sub(pressed.into(), Ordering::AcqRel);
        total.over_inputs.fetch_sub(over.into(), Ordering::AcqRel);
        total.level.sub(self.bytes);
        total.room.notify_waiters();
    }
}

/// The budget where no option sets it: three eighths of the memory limit of the cgroup, else a quarter of the
/// machine's memory, but at most 2 GiB and at least 16 MiB.
pub fn default_limit() -> usize {
    let part = cgroup_limit().map(|limit| limit / 8 * 3);
    let quarter = || machine_memory().map(|bytes| bytes / 4);
    part.or_else(quarter)
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

    #[tokio::test]
    async fn closing_ends_the_wait_without_room() {
        let total = Budget::new(1 << 30);
        let budget = input(1000, &total);
        let _charge = budget.charge(1000);
        let task = tokio::spawn(budget.ready().unwrap());
        tokio::task::yield_now().await;
        budget.close();
        task.await.unwrap();
        assert!(budget.ready().is_none() && budget.is_over());
    }

    #[test]
    fn the_process_knows_that_an_input_is_pressed() {
        let total = Budget::new(1 << 30);
        let budget = input(1000, &total);
        let state = || (total.is_pressed(), total.any_over());
        let first = budget.charge(500 - FRAME_OVERHEAD);
        assert_eq!(state(), (true, false));
        let second = budget.charge(500 - FRAME_OVERHEAD);
        assert_eq!(state(), (true, true));
        drop(first);
        assert_eq!(state(), (true, false));
        drop(second);
        assert_eq!(state(), (false, false));
        assert_eq!(total.inputs().len(), 1);
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
