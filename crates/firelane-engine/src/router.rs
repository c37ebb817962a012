//! A running router: start, reload, drain.
//!
//! Start: outputs open, inputs open (sockets bound), then everything runs; the first failure stops the start
//! with nothing announced. Reload: inputs whose section did not change run on, their connections untouched;
//! the new pipeline takes their appends while the old one drains. Drain: inputs read what is still coming,
//! then routes deliver what is in the log, until the grace period ends; what is left is counted.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use firelane_buffer::RouteId;
use firelane_buffer::store::recover::Recovered;
use firelane_conf::StorageConfig;
use firelane_core::{Counter, OutputCounts, Phase, Reason, Stop, StopSource};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{error, warn};

use crate::budget::Budget;
use crate::build::{Plan, PlannedInput, PlannedOutput};
use crate::chain::{Chain, FilterSlot};
use crate::inputs::{self, Inputs};
use crate::journal::Journal;
use crate::ledger::{IngestCounts, IngestLedger, RouteLedger};
use crate::pipeline::{Current, Layout, Pipeline, RouteEnd};
use crate::route::{Leftover, Route, RouteSetup, Window};
use crate::status::{Status, route_ledger};
use crate::storage;

/// Why a router did not start or reload: the instance and what happened to it.
#[derive(Debug, thiserror::Error)]
#[error("{instance}: {message}")]
#[non_exhaustive]
pub struct StartError {
    /// Instance name or alias.
    pub instance: String,
    /// `input` or `output`.
    pub kind: &'static str,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Place of its section.
    pub span: Option<firelane_conf::Span>,
}

/// What the handles of a router share.
pub(crate) struct Shared {
    pub(crate) inputs: Mutex<Inputs>,
    pub(crate) current: Current,
    pub(crate) budget: Arc<Budget>,
    pub(crate) counts: Arc<IngestCounts>,
    /// Pipelines that a reload has replaced and that still deliver.
    pub(crate) replaced: Mutex<Vec<Arc<Pipeline>>>,
    /// Counters of all outputs that a reload has replaced.
    pub(crate) past: Mutex<Vec<Arc<OutputCounts>>>,
    /// The log on disk, if there is one.
    pub(crate) journal: Option<Arc<Journal>>,
    pub(crate) started: Instant,
    pub(crate) reloads: Counter,
    pub(crate) ready: AtomicBool,
    /// An input that ends the process has ended.
    pub(crate) ended: Notify,
}

impl Shared {
    pub(crate) fn inputs(&self) -> MutexGuard<'_, Inputs> {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn replaced(&self) -> MutexGuard<'_, Vec<Arc<Pipeline>>> {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn pipeline(&self) -> Arc<Pipeline> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The routes of one pipeline, running.
struct Routes {
    stop: Arc<StopSource>,
    pipeline: Arc<Pipeline>,
    tasks: Vec<JoinHandle<Option<Leftover>>>,
}

/// A pipeline that delivers what it has and then ends.
struct Draining {
    stop: Arc<StopSource>,
    pipeline: Arc<Pipeline>,
    ledgers: JoinHandle<Vec<RouteLedger>>,
}

/// How a router ended.
#[derive(Debug, Clone, Default)]
pub struct Ended {
    /// The ingest ledger.
    pub ingest: IngestLedger,
    /// The ledger of every route, those of earlier configurations first.
    pub routes: Vec<RouteLedger>,
    /// What is left is on disk and will be delivered by the next run, but for `unsaved`.
    pub kept: bool,
    /// Records that are left and not on disk, each counted once.
    pub unsaved: u64,
}

impl Ended {
    /// Records that were not delivered.
    pub fn left(&self) -> u64 {
        self.routes.iter().map(|route| route.buffered).sum()
    }

    /// Whether the next run will deliver all that is left.
    pub fn is_safe(&self) -> bool {
        self.left() == 0 || (self.kept && self.unsaved == 0)
    }

    /// Records dropped by routes.
    pub fn lost(&self) -> u64 {
        self.routes.iter().map(RouteLedger::lost).sum()
    }

    /// Whether all ledgers balance.
    pub fn balances(&self) -> bool {
        self.ingest.balances() && self.routes.iter().all(RouteLedger::balances)
    }
}

/// A running router.
pub struct Router {
    shared: Arc<Shared>,
    routes: Routes,
    /// Pipelines that a reload has replaced.
    draining: Vec<Draining>,
    grace: Option<Duration>,
    storage: Option<OpenStorage>,
    storage_config: StorageConfig,
}

/// The log on disk of a running router.
struct OpenStorage {
    journal: Arc<Journal>,
    thread: std::thread::JoinHandle<()>,
    folder: storage::Folder,
}

impl OpenStorage {
    /// Writes what is there, and ends.
    async fn close(self) {
        let Self {
            journal,
            thread,
            folder,
        } = self;
        journal.end();
        let end = move || {
            if thread.join().is_err() {
                error!(target: "storage", "a bug: the commit thread has panicked");
            }
            folder.close();
        };
        // It cannot be cancelled before the process ends.
        let _ = tokio::task::spawn_blocking(end).await;
    }
}

/// How long a client must be silent to count as done while draining.
pub(crate) const QUIET: Duration = Duration::from_millis(250);
/// Longest time between two looks at what stages hold.
const STAGE_POLL: Duration = Duration::from_millis(100);
/// A time behind every deadline of a stage.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long a replaced pipeline may hold up its successor, for the sake of order.
pub(crate) const HANDOVER: Duration = Duration::from_secs(5);

impl Router {
    /// Opens everything in `plan` and starts it.
    pub async fn start(mut plan: Plan) -> Result<Self, StartError> {
        let counts = Arc::new(IngestCounts::default());
        let inputs = std::mem::take(&mut plan.inputs);
        let limit = plan.memory_limit.unwrap_or_else(crate::budget::default_limit);
        let grace = plan.grace;
        let storage_config = plan.storage.clone();
        let budget = Budget::new(limit);
        let (storage, recovered) = open_storage(&plan, &budget).await?;
        open_outputs(&plan.outputs).await?;
        let journal = storage.as_ref().map(|storage| storage.journal.clone());
        let shared_by_routes = (counts.clone(), budget.clone(), journal.clone());
        let routes = build_routes(plan, shared_by_routes, recovered, None).await;
        let shared = Arc::new(Shared {
            inputs: Mutex::default(),
            current: Arc::new(RwLock::new(routes.pipeline.clone())),
            budget,
            counts,
            replaced: Mutex::default(),
            past: Mutex::default(),
            journal,
            started: Instant::now(),
            reloads: Counter::default(),
            ready: AtomicBool::new(false),
            ended: Notify::new(),
        });
        let mut opened = Vec::new();
        for mut input in inputs {
            open_input(&mut input).await?;
            opened.push(input);
        }
        let running = opened
            .into_iter()
            .map(|input| inputs::spawn(&shared, input))
            .collect();
        shared.inputs().running = running;
        shared.ready.store(true, std::sync::atomic::Ordering::Release);
        Ok(Self {
            shared,
            routes,
            draining: Vec::new(),
            grace,
            storage,
            storage_config,
        })
    }

    /// A handle that sees this router.
    pub fn status(&self) -> Status {
        Status {
            shared: self.shared.clone(),
        }
    }

    /// Waits until an input whose end ends the process has ended.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = self.shared.clone();
        async move { shared.ended.notified().await }
    }

    /// Puts `plan` in place of what runs. Inputs whose section is the same run on. An error leaves the old
    /// pipeline running, but an input that was changed and could not be opened again is gone, and named.
    pub async fn reload(&mut self, mut plan: Plan) -> Result<(), StartError> {
        open_outputs(&plan.outputs).await?;
        if plan.storage != self.storage_config {
            warn!(target: "reload", "`storage.*` or `firelane.*` of [SERVICE] has changed: that takes effect at the next start");
            plan.storage = self.storage_config.clone();
        }
        let inputs = std::mem::take(&mut plan.inputs);
        self.grace = plan.grace;
        let (mut fresh, gone) = self.shared.inputs().replace(inputs);
        inputs::retire(&self.shared, gone).await;
        let mut failed = None;
        let mut opened = Vec::new();
        for mut input in fresh.drain(..) {
            match open_input(&mut input).await {
                Ok(()) => opened.push(input),
                Err(error) => failed = Some(error),
            }
        }
        let old_done = Arc::new(Notify::new());
        let shared = &self.shared;
        let shared = (
            shared.counts.clone(),
            shared.budget.clone(),
            shared.journal.clone(),
        );
        let next = build_routes(plan, shared, Vec::new(), Some(old_done.clone())).await;
        self.replace(next, old_done);
        let started: Vec<_> = opened
            .into_iter()
            .map(|input| inputs::spawn(&self.shared, input))
            .collect();
        self.shared.inputs().running.extend(started);
        self.shared.reloads.add(1);
        failed.map_or(Ok(()), Err)
    }

    /// Puts `next` in place of the pipeline that takes the appends. The old one delivers what it has.
    fn replace(&mut self, next: Routes, old_done: Arc<Notify>) {
        let pipeline = next.pipeline.clone();
        *self
            .shared
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner) = pipeline;
        self.shared.inputs().forget_routes();
        let old = std::mem::replace(&mut self.routes, next);
        old.pipeline.expire(Instant::now() + FAR);
        // Without an end of the grace period the memory decides alone.
        old.pipeline.retire(self.grace.unwrap_or_default());
        self.shared.budget.unblock_all();
        old.stop.advance(Phase::Draining);
        let (shared, pipeline) = (self.shared.clone(), old.pipeline.clone());
        shared.replaced().push(pipeline.clone());
        let counts = pipeline.routes.iter().map(|route| route.counts.clone());
        shared
            .past
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(counts);
        let task = async move {
            let ledgers = finish(old.pipeline.clone(), old.tasks).await;
            shared
                .replaced()
                .retain(|known| !Arc::ptr_eq(known, &old.pipeline));
            old_done.notify_one();
            ledgers
        };
        self.draining.push(Draining {
            stop: old.stop,
            pipeline,
            ledgers: tokio::spawn(task),
        });
    }

    /// Stops: drains inputs, then routes, within the grace period. `hurry` ends it at once.
    pub async fn stop(self, hurry: impl Future<Output = ()> + Send) -> Ended {
        use std::sync::atomic::Ordering;
        self.shared.ready.store(false, Ordering::Release);
        let start = tokio::time::Instant::now();
        let (half, deadline) = (
            self.grace.map(|grace| start + grace / 2),
            self.grace.map(|grace| start + grace),
        );
        tokio::pin!(hurry);
        let mut gone = self.shared.inputs().take();
        let hurried = tokio::select! {
            () = inputs::drain(&mut gone) => false,
            () = until(half) => {
                warn!(target: "engine", "inputs were still reading when half of the grace period was over");
                false
            }
            () = &mut hurry => true,
        };
        inputs::end(&self.shared, gone).await;

        let Routes {
            stop,
            pipeline,
            tasks,
        } = self.routes;
        pipeline.expire(Instant::now() + FAR);
        stop.advance(Phase::Draining);
        let mut draining = self.draining;
        draining.iter().for_each(|old| old.pipeline.hurry());
        draining.push(Draining {
            stop,
            pipeline: pipeline.clone(),
            ledgers: tokio::spawn(finish(pipeline, tasks)),
        });
        if !hurried {
            tokio::select! {
                () = all_finished(&draining) => {}
                () = until(deadline) => {}
                () = &mut hurry => {}
            }
        }
        for pipeline in &draining {
            pipeline.stop.advance(Phase::Over);
        }
        let mut routes = Vec::new();
        let mut pipelines = Vec::new();
        for Draining {
            pipeline, ledgers, ..
        } in draining
        {
            routes.extend(ledgers.await.unwrap_or_default());
            pipelines.push(pipeline);
        }
        let kept = self
            .shared
            .journal
            .as_ref()
            .is_some_and(|journal| journal.keeps());
        if let Some(storage) = self.storage {
            storage.close().await;
        }
        let status = Status {
            shared: self.shared.clone(),
        };
        Ended {
            ingest: status.ingest_ledger(),
            routes,
            kept,
            unsaved: pipelines.iter().map(|pipeline| pipeline.unsaved()).sum(),
        }
    }
}

/// Waits until all have finished, without taking their ledgers.
async fn all_finished(pipelines: &[Draining]) {
    while !pipelines.iter().all(|pipeline| pipeline.ledgers.is_finished()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn open_outputs(outputs: &[PlannedOutput]) -> Result<(), StartError> {
    for output in outputs {
        output.output.open().await.map_err(|error| StartError {
            instance: output.name.to_string(),
            kind: "output",
            message: error.message,
            help: error.help,
            span: Some(output.span),
        })?;
    }
    Ok(())
}

async fn open_input(input: &mut PlannedInput) -> Result<(), StartError> {
    let (name, span) = (input.name.to_string(), input.span);
    input.input.open().await.map_err(|error| StartError {
        instance: name,
        kind: "input",
        message: error.message,
        help: error.help,
        span: Some(span),
    })
}

/// Opens the log on disk and starts its thread. Gives what an earlier run has left, too.
async fn open_storage(
    plan: &Plan,
    budget: &Arc<Budget>,
) -> Result<(Option<OpenStorage>, Vec<Recovered>), StartError> {
    let (config, budget) = (plan.storage.clone(), budget.clone());
    let open = move || -> Result<_, storage::StorageError> {
        let Some(opened) = storage::open(&config)? else {
            return Ok((None, Vec::new()));
        };
        let storage::Opened {
            store,
            recovery,
            dead,
            limit,
            folder,
        } = opened;
        if folder.keeps {
            budget.set_kept();
        }
        let numbers = (recovery.epoch, recovery.next_id);
        let journal = Journal::new(store.blocks(), dead, budget, numbers, (folder.keeps, limit));
        let thread = crate::commit::start(journal.clone(), store);
        let thread = thread.map_err(|error| storage::StorageError {
            message: format!("cannot start the thread that writes the log: {error}"),
            help: "look at the limits of processes and threads".into(),
        })?;
        let storage = OpenStorage {
            journal,
            thread,
            folder,
        };
        Ok((Some(storage), recovery.blocks))
    };
    let opened = tokio::task::spawn_blocking(open).await;
    let failed = |message: String, help: Option<String>| StartError {
        instance: "storage".into(),
        kind: "the",
        message,
        help,
        span: None,
    };
    match opened {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(error)) => Err(failed(error.message, Some(error.help))),
        Err(error) => Err(failed(error.to_string(), None)),
    }
}

/// Starts the routes of `plan`. With `after`, they begin to deliver when the pipeline before them is done.
async fn build_routes(
    plan: Plan,
    (counts, budget, journal): (Arc<IngestCounts>, Arc<Budget>, Option<Arc<Journal>>),
    recovered: Vec<Recovered>,
    after: Option<Arc<Notify>>,
) -> Routes {
    let Plan {
        filters,
        outputs,
        flush,
        schedule,
        partitions,
        durable,
        storage,
        ..
    } = plan;
    let slot = |filter: crate::build::PlannedFilter| FilterSlot {
        name: filter.name,
        matcher: filter.matcher,
        kind: filter.kind,
        counts: Arc::default(),
    };
    let matchers = outputs.iter().map(|output| output.matcher.clone()).collect();
    let chain = Chain::new(filters.into_iter().map(slot).collect(), matchers);
    let end = |output: &PlannedOutput| {
        let (name, key) = (output.name.clone(), output.key.clone());
        RouteEnd::new(name, key, output.share, output.overflow)
    };
    let ends: Vec<_> = outputs.iter().map(end).collect();
    let layout = Layout {
        width: partitions,
        durable: durable && journal.as_ref().is_some_and(|journal| journal.keeps()),
        backlog: !recovered.is_empty(),
    };
    let on_disk = journal.is_some();
    let pipeline = Arc::new(Pipeline::new(chain, ends, layout, counts, budget, journal));
    if let Some(journal) = &pipeline.journal {
        journal.attach(&pipeline);
    }
    if !recovered.is_empty() {
        let pipeline = pipeline.clone();
        let restore = move || pipeline.restore(&recovered);
        if let Err(error) = tokio::task::spawn_blocking(restore).await {
            error!(target: "storage", %error, "a bug: what an earlier run has left was not taken up; it stays on disk");
        }
    }
    let (stop, watch) = StopSource::new();
    let spawn = |(id, output): (usize, PlannedOutput)| {
        let window = window(&output, on_disk, &storage);
        let setup = RouteSetup {
            id: RouteId(id as u16),
            output: output.output,
            flush,
            retry_limit: output.retry_limit,
            schedule,
            age_max: output.age_max,
            window,
        };
        tokio::spawn(keep_route(setup, pipeline.clone(), watch.clone(), after.clone()))
    };
    let tasks = outputs.into_iter().enumerate().map(spawn).collect();
    tokio::spawn(expire_stages(pipeline.clone(), watch));
    Routes {
        stop: Arc::new(stop),
        pipeline,
        tasks,
    }
}

/// Closed batches and open ones that a route may hold, in multiples of what is under way.
const WINDOW_CHUNKS: usize = 4;

/// What a route may hold: a few chunks for each that is under way. Limits of memory may say less.
fn window(output: &PlannedOutput, on_disk: bool, storage: &StorageConfig) -> Window {
    let limits = output.output.limits();
    let chunks = limits.in_flight_max.max(1) * WINDOW_CHUNKS;
    Window {
        bytes: if on_disk {
            limits.bytes_max.saturating_mul(chunks)
        } else {
            usize::MAX
        },
        backlog: usize::try_from(storage.backlog_mem_limit).unwrap_or(usize::MAX),
    }
}

/// Lets stages emit what has waited long enough, and everything at the drain.
async fn expire_stages(pipeline: Arc<Pipeline>, stop: Stop) {
    loop {
        let next = pipeline.expire(Instant::now());
        let wait = next.map_or(STAGE_POLL, |next| {
            next.saturating_duration_since(Instant::now()).min(STAGE_POLL)
        });
        tokio::select! {
            () = tokio::time::sleep(wait.max(Duration::from_millis(5))), if pipeline.chain.has_stages() => {}
            () = stop.draining() => return,
        }
    }
}

/// Shortest and longest wait before a route that has panicked begins anew.
const ANEW_MIN: Duration = Duration::from_secs(1);
const ANEW_MAX: Duration = Duration::from_secs(30);
/// How often the watchdog looks.
const WATCH_EVERY: Duration = Duration::from_secs(30);
/// Looks in a row that find a route standing still before it begins anew.
const STILL_MAX: u32 = 2;

/// Runs a route to its end. One that panics, or stands still, begins anew: from what it has settled.
async fn keep_route(
    setup: RouteSetup,
    pipeline: Arc<Pipeline>,
    stop: Stop,
    after: Option<Arc<Notify>>,
) -> Option<Leftover> {
    if let Some(after) = after {
        // Order over a reload: the old pipeline delivers first, but not for ever.
        tokio::select! {
            () = async { after.notified().await; after.notify_one() } => {}
            () = tokio::time::sleep(HANDOVER) => {}
            () = stop.draining() => {}
        }
    }
    let end = &pipeline.routes[usize::from(setup.id.0)];
    let mut wait = ANEW_MIN;
    loop {
        let started = Instant::now();
        let route = Route::new(setup.clone(), pipeline.clone(), stop.clone());
        let mut task = tokio::spawn(route.run());
        tokio::select! {
            ended = &mut task => match ended {
                Ok(leftover) => return Some(leftover),
                Err(error) => error!(target: "engine", instance = %end.name, %error, "a bug: the route of this output has failed and begins anew; please report it"),
            },
            () = stands_still(end) => {
                error!(target: "engine", instance = %end.name, "a bug: the route of this output stands still and begins anew; please report it");
                task.abort();
                // A panic of its own changes nothing any more.
                let _ = task.await;
            }
        }
        end.counts.in_flight.set(0);
        pipeline
            .partitions
            .iter()
            .for_each(|partition| partition.rewind(setup.id));
        if started.elapsed() > ANEW_MAX * 2 {
            wait = ANEW_MIN;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.over() => {
                let (pipeline, id) = (pipeline.clone(), setup.id);
                let left = tokio::task::spawn_blocking(move || pipeline.left(id)).await.ok()?;
                return Some(Leftover { buffered: left });
            }
        }
        wait = (wait * 2).min(ANEW_MAX);
    }
}

/// The watchdog: ends when a route that has records does not even answer when it is woken.
async fn stands_still(end: &RouteEnd) {
    let (mut beats, mut still) = (u64::MAX, 0);
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        let now = end.beats.get();
        still = if now == beats { still + 1 } else { 0 };
        beats = now;
        if still >= STILL_MAX {
            return;
        }
        // Who sleeps wakes up: that also mends a call that got lost.
        end.wake.notify_one();
    }
}

/// Waits for all routes of a pipeline and writes their ledgers.
async fn finish(pipeline: Arc<Pipeline>, tasks: Vec<JoinHandle<Option<Leftover>>>) -> Vec<RouteLedger> {
    let mut ledgers = Vec::new();
    for (end, task) in pipeline.routes.iter().zip(tasks) {
        let counts = &end.counts;
        let leftover = task.await.ok().flatten().unwrap_or_else(|| {
            // The route took what it knew with it: what is not accounted for is lost by the bug.
            let known = counts.proc_records.get() + counts.dropped.total();
            counts
                .dropped
                .add(Reason::Bug, counts.routed.get().saturating_sub(known));
            Leftover { buffered: 0 }
        });
        ledgers.push(route_ledger(&end.name, counts, leftover.buffered));
    }
    ledgers
}

#[cfg(test)]
mod tests {
    use firelane_core::{AckOn, BoxFuture, Chunk, DeliverCx, Group, GroupBy, Limits, Outcome, Output, Sink};
    use firelane_record::{Event, RecordsBuf, Tag, Timestamp};

    use super::*;
    use crate::chain::Matcher;
    use crate::pipeline::InputSink;
    use crate::retry::{RetryLimit, Schedule};

    /// An output that panics where the route asks it something.
    struct Broken;

    impl Output for Broken {
        fn limits(&self) -> Limits {
            Limits::default()
        }

        fn group_by(&self) -> GroupBy {
            GroupBy::Record
        }

        fn group(&self, _: &Tag, _: &Event<'_>) -> Group {
            panic!("a bug")
        }

        fn deliver(&self, _: Chunk, _: DeliverCx) -> BoxFuture<'_, Outcome> {
            Box::pin(async { Outcome::Delivered })
        }
    }

    /// Guarantees: a route that panics again and again loses nothing.
    #[tokio::test(start_paused = true)]
    async fn a_route_that_panics_leaves_a_ledger_that_balances() {
        let all = Matcher {
            pattern: Some(firelane_record::pattern::Match::new("*")),
            regex: None,
        };
        let budget = Budget::new(1 << 20);
        let chain = Chain::new(Vec::new(), vec![all]);
        let overflow = crate::shares::Overflow::Block;
        let ends = vec![RouteEnd::new("broken.0".into(), "broken".into(), None, overflow)];
        let layout = Layout {
            width: 1,
            durable: false,
            backlog: false,
        };
        let pipeline = Pipeline::new(chain, ends, layout, Arc::default(), budget.clone(), None);
        let pipeline = Arc::new(pipeline);
        let counts: Arc<firelane_core::InputCounts> = Arc::default();
        let sink = InputSink {
            current: Arc::new(RwLock::new(pipeline.clone())),
            budget: crate::budget::InputBudget::new("test.0".into(), None, budget, counts.clone()),
            counts,
            routable: true,
        };
        let (source, watch) = StopSource::new();
        let setup = RouteSetup {
            id: RouteId(0),
            output: Arc::new(Broken),
            flush: Duration::from_secs(1),
            retry_limit: RetryLimit::Unlimited,
            schedule: Schedule { base: 5, cap: 2000 },
            age_max: None,
            window: Window {
                bytes: usize::MAX,
                backlog: usize::MAX,
            },
        };
        let mut buf = RecordsBuf::default();
        buf.push(Timestamp { secs: 1, nanos: 0 }, None, &[0x80]);
        let sink: Arc<dyn Sink> = Arc::new(sink);
        let stream = firelane_core::Ingest::new(sink.clone()).stream(AckOn::Append);
        assert!(sink.append(&stream, &Tag::new("t").unwrap(), buf.take()).is_ok());
        let task = tokio::spawn(keep_route(setup, pipeline.clone(), watch, None));
        tokio::time::sleep(Duration::from_secs(10)).await;
        source.advance(Phase::Over);
        let ledgers = finish(pipeline, vec![task]).await;
        assert_eq!((ledgers[0].dropped.len(), ledgers[0].buffered), (0, 1));
        assert!(ledgers[0].balances());
    }
}
