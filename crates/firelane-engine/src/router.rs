//! A running router: start, reload, drain.
//!
//! Start: outputs open, inputs open (sockets bound), then everything runs; the first failure stops the start
//! with nothing announced. Reload: inputs whose section did not change run on, their connections untouched;
//! the new pipeline takes their appends while the old one drains. Drain: inputs read what is still coming,
//! then routes deliver what is in the log, until the grace period ends; what is left is counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use firelane_buffer::RouteId;
use firelane_core::{Counter, Ingest, InputCounts, InputCx, Phase, Stop, StopSource};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::budget::{Budget, InputBudget};
use crate::build::{Plan, PlannedInput, PlannedOutput};
use crate::chain::{Chain, FilterSlot};
use crate::ledger::{IngestCounts, IngestLedger, RouteLedger};
use crate::pipeline::{Current, InputSink, Pipeline, RouteEnd};
use crate::route::{Leftover, Route, RouteSetup};
use crate::status::{Status, route_ledger};

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

/// An input that runs.
pub(crate) struct Running {
    pub(crate) name: Arc<str>,
    pub(crate) plugin: &'static str,
    pub(crate) counts: Arc<InputCounts>,
    pub(crate) budget: Arc<InputBudget>,
    /// Its section as text: what a reload compares.
    fingerprint: String,
    stop: StopSource,
    task: JoinHandle<()>,
}

/// What the handles of a router share.
pub(crate) struct Shared {
    pub(crate) inputs: Mutex<Vec<Running>>,
    pub(crate) current: Current,
    pub(crate) budget: Arc<Budget>,
    pub(crate) counts: Arc<IngestCounts>,
    /// Counters of inputs that a reload ended.
    pub(crate) retired: Mutex<Vec<Arc<InputCounts>>>,
    pub(crate) started: Instant,
    pub(crate) reloads: Counter,
    pub(crate) ready: AtomicBool,
    closed: Arc<AtomicBool>,
    /// An input that ends the process has ended.
    pub(crate) ended: Notify,
}

impl Shared {
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
    tasks: Vec<JoinHandle<Leftover>>,
}

/// How a router ended.
#[derive(Debug, Clone, Default)]
pub struct Ended {
    /// The ingest ledger.
    pub ingest: IngestLedger,
    /// The ledger of every route, those of earlier configurations first.
    pub routes: Vec<RouteLedger>,
}

impl Ended {
    /// Records that are still in memory and so lost with the process.
    pub fn left(&self) -> u64 {
        self.routes.iter().map(|route| route.buffered).sum()
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
    /// Pipelines that a reload has replaced and that still drain.
    draining: Vec<(Arc<StopSource>, JoinHandle<Vec<RouteLedger>>)>,
    grace: Option<Duration>,
}

/// How long a client must be silent to count as done while draining.
const QUIET: Duration = Duration::from_millis(250);
/// Longest time between two looks at what stages hold.
const STAGE_POLL: Duration = Duration::from_millis(100);
/// A time behind every deadline of a stage.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long a replaced pipeline may hold up its successor, for the sake of order.
const HANDOVER: Duration = Duration::from_secs(5);

impl Router {
    /// Opens everything in `plan` and starts it.
    pub async fn start(mut plan: Plan) -> Result<Self, StartError> {
        let counts = Arc::new(IngestCounts::default());
        let inputs = std::mem::take(&mut plan.inputs);
        let limit = plan.memory_limit.unwrap_or_else(crate::budget::default_limit);
        let grace = plan.grace;
        open_outputs(&plan.outputs).await?;
        let routes = build_routes(plan, counts.clone(), None);
        let shared = Arc::new(Shared {
            inputs: Mutex::default(),
            current: Arc::new(RwLock::new(routes.pipeline.clone())),
            budget: Budget::new(limit),
            counts,
            retired: Mutex::default(),
            started: Instant::now(),
            reloads: Counter::default(),
            ready: AtomicBool::new(false),
            closed: Arc::default(),
            ended: Notify::new(),
        });
        let mut opened = Vec::new();
        for mut input in inputs {
            open_input(&mut input).await?;
            opened.push(input);
        }
        let running = opened
            .into_iter()
            .map(|input| spawn_input(&shared, input))
            .collect();
        *shared.inputs.lock().unwrap_or_else(PoisonError::into_inner) = running;
        shared.ready.store(true, std::sync::atomic::Ordering::Release);
        Ok(Self {
            shared,
            routes,
            draining: Vec::new(),
            grace,
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
        let inputs = std::mem::take(&mut plan.inputs);
        self.grace = plan.grace;
        let (kept, mut fresh) = self.match_inputs(inputs);
        let gone = self.take_inputs(&kept);
        retire(&self.shared, gone).await;
        let mut failed = None;
        let mut opened = Vec::new();
        for mut input in fresh.drain(..) {
            match open_input(&mut input).await {
                Ok(()) => opened.push(input),
                Err(error) => failed = Some(error),
            }
        }
        let old_done = Arc::new(Notify::new());
        let next = build_routes(plan, self.shared.counts.clone(), Some(old_done.clone()));
        *self
            .shared
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner) = next.pipeline.clone();
        let old = std::mem::replace(&mut self.routes, next);
        old.pipeline.expire(Instant::now() + FAR);
        old.stop.advance(Phase::Draining);
        let task = async move {
            let ledgers = finish(old.pipeline, old.tasks).await;
            old_done.notify_one();
            ledgers
        };
        self.draining.push((old.stop, tokio::spawn(task)));
        let started: Vec<_> = opened
            .into_iter()
            .map(|input| spawn_input(&self.shared, input))
            .collect();
        self.shared
            .inputs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(started);
        self.shared.reloads.add(1);
        failed.map_or(Ok(()), Err)
    }

    /// Splits planned inputs into those that run already (by fingerprint) and those to start.
    fn match_inputs(&self, planned: Vec<PlannedInput>) -> (Vec<String>, Vec<PlannedInput>) {
        let running = self.shared.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free: HashMap<&str, usize> = HashMap::new();
        for input in running.iter().filter(|input| !input.task.is_finished()) {
            *free.entry(&input.fingerprint).or_default() += 1;
        }
        let (mut kept, mut fresh) = (Vec::new(), Vec::new());
        for input in planned {
            match free.get_mut(input.fingerprint.as_str()) {
                Some(n) if *n > 0 => {
                    *n -= 1;
                    kept.push(input.fingerprint);
                }
                _ => fresh.push(input),
            }
        }
        (kept, fresh)
    }

    /// Takes the running inputs that are not in `kept` out of the list.
    fn take_inputs(&self, kept: &[String]) -> Vec<Running> {
        let mut kept = kept.to_vec();
        let mut running = self.shared.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = Vec::new();
        let mut stay = Vec::new();
        for input in running.drain(..) {
            match kept.iter().position(|print| *print == input.fingerprint) {
                Some(at) => {
                    kept.swap_remove(at);
                    stay.push(input);
                }
                None => gone.push(input),
            }
        }
        *running = stay;
        gone
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
        let mut gone = self.take_inputs(&[]);
        let hurried = tokio::select! {
            () = drain_inputs(&mut gone) => false,
            () = until(half) => {
                warn!(target: "engine", "inputs were still reading when half of the grace period was over");
                false
            }
            () = &mut hurry => true,
        };
        for input in &gone {
            input.stop.advance(Phase::Over);
        }
        end_tasks(&mut gone).await;
        self.shared.closed.store(true, Ordering::Release);
        let counts = gone.iter().map(|input| input.counts.clone());
        self.shared
            .retired
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(counts);

        let Routes {
            stop,
            pipeline,
            tasks,
        } = self.routes;
        pipeline.expire(Instant::now() + FAR);
        stop.advance(Phase::Draining);
        let (mut stops, mut pipelines): (Vec<_>, Vec<_>) = self.draining.into_iter().unzip();
        stops.push(stop);
        pipelines.push(tokio::spawn(finish(pipeline, tasks)));
        if !hurried {
            tokio::select! {
                () = all_finished(&pipelines) => {}
                () = until(deadline) => {}
                () = &mut hurry => {}
            }
        }
        for stop in &stops {
            stop.advance(Phase::Over);
        }
        let mut routes = Vec::new();
        for task in pipelines {
            routes.extend(task.await.unwrap_or_default());
        }
        let status = Status {
            shared: self.shared.clone(),
        };
        Ended {
            ingest: status.ingest_ledger(),
            routes,
        }
    }
}

/// Tells inputs that the drain has begun and waits for them.
async fn drain_inputs(inputs: &mut [Running]) {
    for input in inputs.iter() {
        input.stop.advance(Phase::Draining);
    }
    for input in inputs {
        // A panic is reported by the task's own error; nothing is left to wait for.
        let _ = (&mut input.task).await;
    }
}

/// Waits until every task has finished, without taking its result.
async fn all_finished<T>(tasks: &[JoinHandle<T>]) {
    while !tasks.iter().all(JoinHandle::is_finished) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Ends what is left of inputs that were told to stop.
async fn end_tasks(inputs: &mut [Running]) {
    for input in inputs {
        if input.task.is_finished() {
            continue;
        }
        if tokio::time::timeout(QUIET, &mut input.task).await.is_err() {
            input.task.abort();
            // Aborted: nothing more comes of it.
            let _ = (&mut input.task).await;
        }
    }
}

/// Drains inputs that a reload ended.
async fn retire(shared: &Arc<Shared>, mut gone: Vec<Running>) {
    for input in &gone {
        input.stop.advance(Phase::Draining);
    }
    for input in &mut gone {
        // Clients that never fall silent are cut after the handover time, having been read up to then.
        if tokio::time::timeout(HANDOVER, &mut input.task).await.is_err() {
            input.stop.advance(Phase::Over);
        }
    }
    end_tasks(&mut gone).await;
    let counts = gone.iter().map(|input| input.counts.clone());
    shared
        .retired
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend(counts);
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

/// Starts the routes of `plan`. With `after`, they begin to deliver when the pipeline before them is done.
fn build_routes(plan: Plan, counts: Arc<IngestCounts>, after: Option<Arc<Notify>>) -> Routes {
    let Plan {
        filters,
        outputs,
        flush,
        schedule,
        partitions,
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
    let end = |output: &PlannedOutput| RouteEnd {
        name: output.name.clone(),
        counts: Arc::default(),
        wake: Notify::new(),
        hurry: AtomicBool::new(false),
        shed_to: AtomicUsize::new(usize::MAX),
        share: output.share,
        oldest: AtomicU64::new(u64::MAX),
    };
    let ends = outputs.iter().map(end).collect();
    let pipeline = Arc::new(Pipeline::new(chain, ends, partitions, counts));
    let (stop, watch) = StopSource::new();
    let spawn = |(id, output): (usize, PlannedOutput)| {
        let setup = RouteSetup {
            id: RouteId(id as u16),
            output: output.output,
            flush,
            retry_limit: output.retry_limit,
            schedule,
        };
        let route = Route::new(setup, pipeline.clone(), watch.clone());
        tokio::spawn(run_route(route, watch.clone(), after.clone()))
    };
    let tasks = outputs.into_iter().enumerate().map(spawn).collect();
    tokio::spawn(expire_stages(pipeline.clone(), watch));
    Routes {
        stop: Arc::new(stop),
        pipeline,
        tasks,
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

async fn run_route(route: Route, stop: Stop, after: Option<Arc<Notify>>) -> Leftover {
    if let Some(after) = after {
        // Order over a reload: the old pipeline delivers first, but not for ever.
        tokio::select! {
            () = async { after.notified().await; after.notify_one() } => {}
            () = tokio::time::sleep(HANDOVER) => {}
            () = stop.draining() => {}
        }
    }
    route.run().await
}

/// Waits for all routes of a pipeline and writes their ledgers.
async fn finish(pipeline: Arc<Pipeline>, tasks: Vec<JoinHandle<Leftover>>) -> Vec<RouteLedger> {
    let mut ledgers = Vec::new();
    for (end, task) in pipeline.routes.iter().zip(tasks) {
        let leftover = task.await.unwrap_or_else(|error| {
            error!(target: "engine", instance = %end.name, %error, "a route ended by a panic");
            Leftover { buffered: 0 }
        });
        ledgers.push(route_ledger(&end.name, &end.counts, leftover.buffered));
    }
    ledgers
}

fn spawn_input(shared: &Arc<Shared>, planned: PlannedInput) -> Running {
    let PlannedInput {
        name,
        plugin,
        input,
        tag,
        tag_given,
        mem_buf_limit,
        routable,
        fingerprint,
        ..
    } = planned;
    let counts: Arc<InputCounts> = Arc::default();
    let budget = InputBudget::new(name.clone(), mem_buf_limit, shared.budget.clone(), counts.clone());
    let sink = InputSink {
        current: shared.current.clone(),
        budget: budget.clone(),
        counts: counts.clone(),
        closed: shared.closed.clone(),
        routable,
    };
    let (stop, watch) = StopSource::new();
    let cx = InputCx {
        name: name.clone(),
        tag,
        tag_given,
        ingest: Ingest::new(Arc::new(sink)),
        stop: watch,
        counts: counts.clone(),
        quiet: QUIET,
    };
    let ends_process = input.ends_process();
    let (shared, label) = (shared.clone(), name.clone());
    let task = tokio::spawn(async move {
        if let Err(error) = input.run(cx).await {
            let help = error.help.as_deref().unwrap_or("");
            error!(target: "input", instance = %label, %error, help, "the input has ended");
        } else if ends_process {
            info!(target: "input", instance = %label, "end of input");
        }
        if ends_process {
            shared.ended.notify_one();
        }
    });
    Running {
        name,
        plugin,
        counts,
        budget,
        fingerprint,
        stop,
        task,
    }
}
