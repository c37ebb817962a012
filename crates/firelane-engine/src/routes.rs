//! The routes of a pipeline: started, watched, begun anew, ended with their ledgers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use firelane_buffer::RouteId;
use firelane_buffer::store::recover::Recovered;
use firelane_conf::StorageConfig;
use firelane_core::{Reason, Stop, StopSource};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::error;

use crate::budget::Budget;
use crate::build::{Plan, PlannedFilter, PlannedOutput};
use crate::chain::{Chain, FilterSlot};
use crate::journal::Journal;
use crate::ledger::{IngestCounts, RouteLedger};
use crate::pipeline::{Layout, Pipeline, RouteEnd};
use crate::route::{Leftover, Route, RouteSetup, Window};
use crate::router::HANDOVER;
use crate::status::route_ledger;

/// The routes of one pipeline, running.
pub(crate) struct Routes {
    pub(crate) stop: Arc<StopSource>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) tasks: Vec<JoinHandle<Option<Leftover>>>,
}

/// Longest time between two looks at what stages hold.
const STAGE_POLL: Duration = Duration::from_millis(100);
fn chain(filters: Vec<PlannedFilter>, outputs: &[PlannedOutput]) -> Chain {
    let slot = |filter: PlannedFilter| FilterSlot {
        name: filter.name,
        matcher: filter.matcher,
        kind: filter.kind,
        counts: Arc::default(),
    };
    let matchers = outputs.iter().map(|output| output.matcher.clone()).collect();
    Chain::new(filters.into_iter().map(slot).collect(), matchers)
}

/// Starts the routes of `plan`. With `after`, they begin to deliver when the pipeline before them is done.
pub(crate) async fn build_routes(
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
    let chain = chain(filters, &outputs);
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
    take_up_parked(&outputs, &pipeline).await;
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

/// What an earlier run has left parked at destinations comes into the ledgers: it was never counted as
/// delivered.
async fn take_up_parked(outputs: &[PlannedOutput], pipeline: &Pipeline) {
    for (output, end) in outputs.iter().zip(&pipeline.routes) {
        let parked = output.output.parked().await;
        let records = parked.iter().map(|parked| parked.records).sum();
        pipeline.counts.recovered.add(records);
        pipeline.counts.appended.add(records);
        end.counts.routed.add(records);
        end.counts.parked.add(records);
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
pub(crate) async fn finish(
    pipeline: Arc<Pipeline>,
    tasks: Vec<JoinHandle<Option<Leftover>>>,
) -> Vec<RouteLedger> {
    let mut ledgers = Vec::new();
    for (end, task) in pipeline.routes.iter().zip(tasks) {
        let counts = &end.counts;
        let leftover = task.await.ok().flatten().unwrap_or_else(|| {
            // The route took what it knew with it: what is not accounted for is lost by the bug.
            let known = counts.proc_records.get() + counts.parked.get() + counts.dropped.total();
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
    use std::sync::RwLock;

    use firelane_core::Phase;
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
