//! Routes under memory pressure, with outputs that are slow, failing or dead, on a clock that jumps.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy exempts only the tests themselves"
)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use firelane_buffer::RouteId;
use firelane_core::{
    AckOn, BoxFuture, Cause, CauseKind, Chunk, DeliverCx, Ingest, InputCx, Limits, Order, Outcome, Output,
    OutputCounts, Phase, Reason, StopSource,
};
use firelane_engine::budget::{Budget, InputBudget};
use firelane_engine::chain::{Chain, Matcher};
use firelane_engine::pipeline::{InputSink, Layout, Pipeline, RouteEnd};
use firelane_engine::retry::{RetryLimit, Schedule};
use firelane_engine::route::{Leftover, Route, RouteSetup, Window};
use firelane_engine::shares::Overflow;
use firelane_record::pattern::Match;
use firelane_record::set::RecordSet;
use firelane_record::{Records, RecordsBuf, Tag, Timestamp, msgpack};
use tokio::task::JoinHandle;

/// An input's limit in bytes.
const LIMIT: usize = 100_000;
const HOUR: Duration = Duration::from_secs(3600);

/// Says what becomes of delivery `n`, and how long it takes.
type Behave = dyn Fn(u64) -> (Duration, Option<Outcome>) + Send + Sync;

/// An output as a test wants it.
struct Fake {
    behave: Box<Behave>,
    tries: AtomicU64,
    ordered: bool,
}

impl Output for Fake {
    fn limits(&self) -> Limits {
        Limits {
            order: if self.ordered {
                Order::PerStream
            } else {
                Order::Any
            },
            in_flight_max: 2,
            ..Limits::default()
        }
    }

    fn deliver(&self, _: Chunk, _: DeliverCx) -> BoxFuture<'_, Outcome> {
        let (takes, outcome) = (self.behave)(self.tries.fetch_add(1, Ordering::Relaxed));
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            outcome.unwrap_or(Outcome::Delivered)
        })
    }
}

fn fake(behave: impl Fn(u64) -> (Duration, Option<Outcome>) + Send + Sync + 'static) -> Arc<Fake> {
    Arc::new(Fake {
        behave: Box::new(behave),
        tries: AtomicU64::new(0),
        ordered: false,
    })
}

/// One that takes chunk after chunk, so that others wait behind it.
fn ordered(behave: impl Fn(u64) -> (Duration, Option<Outcome>) + Send + Sync + 'static) -> Arc<Fake> {
    Arc::new(Fake {
        behave: Box::new(behave),
        tries: AtomicU64::new(0),
        ordered: true,
    })
}

fn failure(after: Option<Duration>) -> Option<Outcome> {
    Some(Outcome::Retry {
        done: RecordSet::none(),
        refused: RecordSet::none(),
        after,
        why: Cause::new(CauseKind::Connect, "nobody listens"),
    })
}

fn fast() -> Arc<Fake> {
    fake(|_| (Duration::ZERO, None))
}

fn dead() -> Arc<Fake> {
    fake(|_| (Duration::ZERO, failure(None)))
}

/// A pipeline whose outputs take all tags, and one input.
struct World {
    pipeline: Arc<Pipeline>,
    stop: StopSource,
    routes: Vec<JoinHandle<Leftover>>,
    cx: InputCx,
    budget: Arc<InputBudget>,
}

fn world(outputs: &[Arc<Fake>]) -> World {
    let total = Budget::new(1 << 30);
    let matcher = Matcher {
        pattern: Some(Match::new("*")),
        regex: None,
    };
    let chain = Chain::new(Vec::new(), vec![matcher; outputs.len()]);
    let ends = (0..outputs.len()).map(|n| {
        RouteEnd::new(
            format!("fake.{n}").into(),
            format!("fake.{n}").into(),
            None,
            Overflow::Block,
        )
    });
    let pipeline = Arc::new(Pipeline::new(
        chain,
        ends.collect(),
        Layout {
            width: 1,
            durable: false,
            backlog: false,
        },
        Arc::default(),
        total.clone(),
        None,
    ));
    let (stop, watch) = StopSource::new();
    let route = |(id, output): (usize, &Arc<Fake>)| {
        let setup = RouteSetup {
            id: RouteId(id as u16),
            output: output.clone(),
            flush: Duration::from_secs(1),
            retry_limit: RetryLimit::Unlimited,
            schedule: Schedule { base: 5, cap: 2000 },
            age_max: None,
            window: Window {
                bytes: usize::MAX,
                backlog: usize::MAX,
            },
        };
        tokio::spawn(Route::new(setup, pipeline.clone(), watch.clone()).run())
    };
    let routes = outputs.iter().enumerate().map(route).collect();
    let counts: Arc<firelane_core::InputCounts> = Arc::default();
    let budget = InputBudget::new("fake.0".into(), Some(LIMIT), total, counts.clone());
    let sink = InputSink {
        current: Arc::new(RwLock::new(pipeline.clone())),
        budget: budget.clone(),
        counts: counts.clone(),
        routable: true,
    };
    let cx = InputCx {
        name: "fake.0".into(),
        tag: Tag::new("t").unwrap(),
        tag_given: None,
        ingest: Ingest::new(Arc::new(sink)),
        stop: watch,
        counts,
        quiet: Duration::ZERO,
    };
    World {
        pipeline,
        stop,
        routes,
        cx,
        budget,
    }
}

impl World {
    fn counts(&self, route: usize) -> &OutputCounts {
        &self.pipeline.routes[route].counts
    }

    /// Appends `frames` frames of one record of `size` bytes each; fails if that takes longer than `limit`.
    async fn feed(
        &self,
        frames: usize,
        size: usize,
        limit: Duration,
    ) -> Result<(), tokio::time::error::Elapsed> {
        let stream = self.cx.ingest.stream(AckOn::Append);
        let feed = async {
            for _ in 0..frames {
                let _ticket = self.cx.append(&stream, &self.cx.tag, record(size)).await.unwrap();
            }
        };
        tokio::time::timeout(limit, feed).await
    }

    /// Drains for at most a minute; gives what each route left.
    async fn end(&mut self) -> Vec<u64> {
        self.stop.advance(Phase::Draining);
        let mut left = Vec::new();
        for route in std::mem::take(&mut self.routes) {
            let over = tokio::time::sleep(Duration::from_secs(60));
            tokio::pin!(route, over);
            let leftover = tokio::select! {
                leftover = &mut route => leftover,
                () = over => {
                    self.stop.advance(Phase::Over);
                    route.await
                }
            };
            left.push(leftover.unwrap().buffered);
        }
        for (end, left) in self.pipeline.routes.iter().zip(&left) {
            let accounted = end.counts.proc_records.get() + end.counts.dropped.total() + left;
            assert_eq!(end.counts.routed.get(), accounted, "the ledger of {}", end.name);
        }
        left
    }
}

fn record(size: usize) -> Records {
    let mut body = vec![0x81, 0xa1, b'x'];
    msgpack::write_str(&mut body, &vec![b'x'; size]);
    let mut buf = RecordsBuf::default();
    buf.push(Timestamp { secs: 1, nanos: 0 }, None, &body);
    buf.take()
}

/// Guarantees: who is slow, even beyond the time after which a failing one is dead, loses nothing.
#[tokio::test(start_paused = true)]
async fn a_slow_output_is_waited_for() {
    let slow = ordered(|_| (Duration::from_secs(15), None));
    let mut world = world(&[slow, fast()]);
    world.feed(2000, 450, HOUR).await.unwrap();
    assert_eq!(world.end().await, [0, 0]);
    let delivered = [0, 1].map(|route| world.counts(route).proc_records.get());
    assert_eq!(delivered, [2000, 2000]);
    assert!(world.cx.counts.pauses.get() > 0, "the limit was never met");
}

/// Guarantees: one failure is no death, however long the destination asks to be left alone.
#[tokio::test(start_paused = true)]
async fn an_output_that_failed_once_is_waited_for() {
    let busy = fake(|n| {
        (
            Duration::ZERO,
            failure(Some(Duration::from_secs(50))).filter(|_| n % 20 == 0),
        )
    });
    let mut world = world(&[busy, fast()]);
    world.feed(2000, 450, HOUR).await.unwrap();
    assert_eq!(world.end().await, [0, 0]);
    assert_eq!(world.counts(0).dropped.total(), 0);
}

/// Guarantees: also with frames that are smaller than their bookkeeping, a dead output stops no other, and
/// keeps its share.
#[tokio::test(start_paused = true)]
async fn a_dead_output_gives_way_with_small_frames() {
    let mut world = world(&[dead(), fast()]);
    // It is dead after 10 or 11 s; from then on nothing waits.
    world.feed(5000, 20, Duration::from_secs(15)).await.unwrap();
    let retained = world.counts(0).retained_bytes.get() as usize;
    assert!(
        (LIMIT / 3..=LIMIT).contains(&retained),
        "{retained} bytes are kept"
    );
    world.end().await;
    assert_eq!(world.counts(1).proc_records.get(), 5000);
    assert_eq!(
        world.counts(0).dropped.get(Reason::OverShare),
        world.counts(0).dropped.total()
    );
}

/// Guarantees: two dead ones that keep the same records stop no other either.
#[tokio::test(start_paused = true)]
async fn two_dead_outputs_give_way() {
    let mut world = world(&[dead(), dead(), fast()]);
    world.feed(2000, 450, Duration::from_secs(60)).await.unwrap();
    world.end().await;
    assert_eq!(world.counts(2).proc_records.get(), 2000);
}

/// Guarantees: who asks for a pause of an hour stops nobody for an hour.
#[tokio::test(start_paused = true)]
async fn a_long_pause_is_like_death() {
    let mut world = world(&[fake(|_| (Duration::ZERO, failure(Some(HOUR)))), fast()]);
    world.feed(2000, 450, Duration::from_secs(90)).await.unwrap();
    world.end().await;
    assert_eq!(world.counts(1).proc_records.get(), 2000);
}

/// Guarantees: an output that dies while every input waits already makes room, though nothing is appended and
/// no delivery ends.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_an_append_that_cannot_come() {
    let after = |n| Some(if n < 2 { Duration::from_secs(1) } else { 100 * HOUR });
    let dying = fake(move |n| (Duration::ZERO, failure(after(n))));
    let mut world = world(&[dying, fast()]);
    world.feed(2000, 450, Duration::from_secs(60)).await.unwrap();
    world.end().await;
    assert_eq!(world.counts(1).proc_records.get(), 2000);
}

/// Guarantees: batches that wait for time alone go out while all inputs wait.
#[tokio::test(start_paused = true)]
async fn the_last_batches_before_a_limit_go_out() {
    let slow = fake(|_| (Duration::from_millis(900), None));
    let mut world = world(&[slow]);
    for _ in 0..20 {
        world.feed(300, 450, Duration::from_secs(60)).await.unwrap();
    }
    assert_eq!(world.end().await, [0]);
}

/// Guarantees: with no other output to gain from it, nothing is given up.
#[tokio::test(start_paused = true)]
async fn a_lone_dead_output_makes_the_input_wait() {
    for outputs in [vec![dead()], vec![dead(), dead()]] {
        let mut world = world(&outputs);
        assert!(world.feed(2000, 450, HOUR).await.is_err());
        assert_eq!(world.counts(0).dropped.total(), 0);
        // The append that waited was given up with its record.
        let counts = &world.cx.counts;
        let taken = world.counts(0).routed.get();
        assert_eq!(
            (counts.received.get(), counts.dropped.get(Reason::Stopped)),
            (taken + 1, 1)
        );
        world.budget.close();
        let stream = world.cx.ingest.stream(AckOn::Append);
        assert!(world.cx.append(&stream, &world.cx.tag, record(1)).await.is_err());
        assert_eq!(counts.dropped.get(Reason::Stopped), 2);
        let left = world.end().await;
        assert!(left.iter().all(|&left| left == taken));
    }
}

/// Guarantees: a dead destination is asked seldom, whatever the pressure, and gets all once it lives.
#[tokio::test(start_paused = true)]
async fn an_outage_is_no_storm() {
    for ordered in [false, true] {
        let lives = Arc::new(AtomicBool::new(false));
        let asked = lives.clone();
        let output = Arc::new(Fake {
            behave: Box::new(move |_| {
                let lives = asked.load(Ordering::Relaxed);
                (Duration::ZERO, failure(None).filter(|_| !lives))
            }),
            tries: AtomicU64::new(0),
            ordered,
        });
        let mut world = world(std::slice::from_ref(&output));
        assert!(world.feed(2000, 450, HOUR).await.is_err());
        let tries = output.tries.load(Ordering::Relaxed);
        assert!(tries < 150, "{tries} tries in an hour");
        lives.store(true, Ordering::Relaxed);
        world.feed(1000, 450, HOUR).await.unwrap();
        assert_eq!(world.end().await, [0]);
    }
}

/// Guarantees: a chunk that always fails holds up no other for long.
#[tokio::test(start_paused = true)]
async fn a_bad_chunk_holds_up_no_other() {
    let bad = fake(|n| {
        (
            Duration::ZERO,
            failure(Some(Duration::from_secs(5))).filter(|_| n == 0 || n % 3 == 0),
        )
    });
    let mut world = world(&[bad]);
    world.feed(3000, 450, Duration::from_secs(120)).await.unwrap();
    assert_eq!(world.end().await, [0]);
}

/// Guarantees: after a reload, a dead output gives its memory back, by name; a slow one delivers all.
#[tokio::test(start_paused = true)]
async fn a_replaced_pipeline_gives_way_only_where_it_is_dead() {
    let slow = fake(|_| (Duration::from_secs(12), None));
    for (output, lost) in [(dead(), true), (slow, false)] {
        let mut world = world(&[output]);
        assert!(world.feed(2000, 450, Duration::from_millis(10)).await.is_err());
        world.pipeline.retire(Duration::from_secs(5));
        world.stop.advance(Phase::Draining);
        let routed = world.counts(0).routed.get();
        let routes = std::mem::take(&mut world.routes);
        for route in routes {
            let ended = tokio::time::timeout(Duration::from_secs(120), route).await;
            assert_eq!(ended.unwrap().unwrap().buffered, 0);
        }
        let counts = world.counts(0);
        let want = if lost { (0, routed) } else { (routed, 0) };
        assert_eq!(
            (counts.proc_records.get(), counts.dropped.get(Reason::Stopped)),
            want
        );
        assert_eq!(world.budget.used(), 0);
    }
}

/// Guarantees: bytes of a chunk that arrived in part are counted.
#[tokio::test(start_paused = true)]
async fn delivered_bytes_count_partial_chunks() {
    let first = Mutex::new(true);
    let partial = fake(move |_| {
        let outcome = Outcome::Retry {
            done: RecordSet::range(0, 1),
            refused: RecordSet::range(1, 2),
            after: Some(Duration::from_secs(1)),
            why: Cause::new(CauseKind::Throttled, "later"),
        };
        (
            Duration::ZERO,
            std::mem::take(&mut *first.lock().unwrap()).then_some(outcome),
        )
    });
    let mut world = world(&[partial]);
    world.feed(3, 450, HOUR).await.unwrap();
    assert_eq!(world.end().await, [0]);
    let counts = world.counts(0);
    let size = record(450).len() as u64;
    assert_eq!(
        (counts.proc_records.get(), counts.proc_bytes.get()),
        (2, 2 * size)
    );
}
