//! A running router: start, reload, drain.
//!
//! Start: outputs open, inputs open (sockets bound), then everything runs; the first failure stops the start
//! with nothing announced. Reload: inputs whose section did not change run on, their connections untouched;
//! the new pipeline takes their appends while the old one drains. Drain: inputs read what is still coming,
//! then routes deliver what is in the log, until the grace period ends; what is left is counted.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use firelane_conf::StorageConfig;
use firelane_core::{Counter, OutputCounts, Phase, StopSource};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::budget::Budget;
use crate::build::{Plan, PlannedInput, PlannedOutput};
use crate::inputs::{self, Inputs};
use crate::journal::Journal;
use crate::ledger::{IngestCounts, IngestLedger, RouteLedger};
use crate::pipeline::{Current, Pipeline};
use crate::routes::{Routes, build_routes, finish};
use crate::status::Status;
use crate::storage::{self, OpenStorage};

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

/// How long a client must be silent to count as done while draining.
pub(crate) const QUIET: Duration = Duration::from_millis(250);
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
        let (storage, recovered) = storage::open_with_thread(&plan.storage, &budget)
            .await
            .map_err(no_storage)?;
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
        if let Some(storage) = self.storage {
            storage.close().await;
        }
        ended(self.shared, routes, &pipelines)
    }
}

/// What there is to say when all routes have ended and the log is closed.
fn ended(shared: Arc<Shared>, routes: Vec<RouteLedger>, pipelines: &[Arc<Pipeline>]) -> Ended {
    Ended {
        kept: shared.journal.as_ref().is_some_and(|journal| journal.keeps()),
        unsaved: pipelines.iter().map(|pipeline| pipeline.unsaved()).sum(),
        ingest: Status { shared }.ingest_ledger(),
        routes,
    }
}

fn no_storage(error: storage::StorageError) -> StartError {
    StartError {
        instance: "storage".into(),
        kind: "the",
        message: error.message,
        help: Some(error.help),
        span: None,
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
