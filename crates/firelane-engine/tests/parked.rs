//! Records that a destination holds and does not show yet: when routes ask to finish them, and how they stand
//! in the ledger. On a clock that jumps.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy exempts only the tests themselves"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use firelane_buffer::RouteId;
use firelane_core::{
    AckOn, BoxFuture, Cause, CauseKind, Chunk, DeliverCx, Finished, Group, Ingest, Limits, Outcome, Output,
    OutputCounts, Parked, Phase, Reason, Rest, Sink, StopSource,
};
use firelane_engine::budget::{Budget, InputBudget};
use firelane_engine::chain::{Chain, Matcher};
use firelane_engine::pipeline::{InputSink, Layout, Pipeline, RouteEnd};
use firelane_engine::retry::{RetryLimit, Schedule};
use firelane_engine::route::{Leftover, Route, RouteSetup, Window};
use firelane_engine::shares::Overflow;
use firelane_record::pattern::Match;
use firelane_record::set::RecordSet;
use firelane_record::{RecordsBuf, Tag, Timestamp};
use tokio::task::JoinHandle;
use tokio::time::Instant;

const LINGER: Duration = Duration::from_secs(600);

/// What the next finish does.
#[derive(Clone, Copy)]
enum Step {
    Show,
    Fail,
    Lose,
}

#[derive(Default)]
struct State {
    parked: u64,
    steps: VecDeque<Step>,
    /// When each delivery and each finish came, with the records of it.
    delivered: Vec<(Duration, u32)>,
    finished: Vec<(Duration, u64, bool)>,
    left_behind: u64,
    closed: u32,
}

/// Parks all chunks; finishes by steps, then well.
struct Fake {
    state: Mutex<State>,
    start: Instant,
    until: Duration,
    refused: RecordSet,
}

impl Output for Fake {
    fn limits(&self) -> Limits {
        Limits {
            records_max: 10,
            linger: Some(LINGER),
            in_flight_max: 4,
            ..Limits::default()
        }
    }

    fn deliver(&self, chunk: Chunk, _: DeliverCx) -> BoxFuture<'_, Outcome> {
        let mut state = self.state.lock().unwrap();
        let refused = self.refused.count(chunk.records());
        state.parked += u64::from(chunk.records() - refused);
        state.delivered.push((self.start.elapsed(), chunk.records()));
        let outcome = Outcome::Parked {
            refused: self.refused.clone(),
            until: self.until.saturating_sub(chunk.waited()),
            why: Some(Cause::new(CauseKind::Refused, "no")),
        };
        Box::pin(async { outcome })
    }

    fn parked(&self) -> BoxFuture<'_, Vec<Parked>> {
        let records = self.state.lock().unwrap().left_behind;
        let parked = Parked {
            group: Group::Tag(tag()),
            records,
            until: Duration::ZERO,
        };
        let parked = if records > 0 { vec![parked] } else { Vec::new() };
        Box::pin(async { parked })
    }

    fn finish(&self, group: Group, give_up: bool, _: DeliverCx) -> BoxFuture<'_, Finished> {
        assert_eq!(group, Group::Tag(tag()));
        let mut state = self.state.lock().unwrap();
        let parked = state.parked;
        state.finished.push((self.start.elapsed(), parked, give_up));
        let why = Cause::new(CauseKind::Unavailable, "not now");
        let finished = match state.steps.pop_front().unwrap_or(Step::Show) {
            Step::Fail if !give_up => Finished {
                rest: Rest::Retry { after: None, why },
                ..Finished::default()
            },
            Step::Show => Finished {
                delivered: parked,
                bytes: parked,
                ..Finished::default()
            },
            Step::Fail | Step::Lose => Finished {
                lost: parked,
                lost_why: Some(why),
                ..Finished::default()
            },
        };
        if finished.rest == Rest::Nothing {
            state.parked = 0;
        }
        Box::pin(async { finished })
    }

    fn close(&self, _: DeliverCx) -> BoxFuture<'_, ()> {
        self.state.lock().unwrap().closed += 1;
        Box::pin(async {})
    }
}

fn tag() -> Tag {
    Tag::new("t").unwrap()
}

struct World {
    output: Arc<Fake>,
    pipeline: Arc<Pipeline>,
    sink: Arc<dyn Sink>,
    stop: StopSource,
    route: JoinHandle<Leftover>,
}

fn world(steps: &[Step], until: Duration, retry_limit: RetryLimit, refused: RecordSet) -> World {
    let state = State {
        steps: steps.iter().copied().collect(),
        ..State::default()
    };
    world_with(state, until, retry_limit, refused)
}

fn world_with(state: State, until: Duration, retry_limit: RetryLimit, refused: RecordSet) -> World {
    let output = Arc::new(Fake {
        state: Mutex::new(state),
        start: Instant::now(),
        until,
        refused,
    });
    let budget = Budget::new(1 << 30);
    let matcher = Matcher {
        pattern: Some(Match::new("*")),
        regex: None,
    };
    let end = RouteEnd::new("fake.0".into(), "fake.0".into(), None, Overflow::Block);
    let layout = Layout {
        width: 1,
        durable: false,
        backlog: false,
    };
    let chain = Chain::new(Vec::new(), vec![matcher]);
    let pipeline = Pipeline::new(chain, vec![end], layout, Arc::default(), budget.clone(), None);
    let pipeline = Arc::new(pipeline);
    let counts: Arc<firelane_core::InputCounts> = Arc::default();
    let sink = InputSink {
        current: Arc::new(RwLock::new(pipeline.clone())),
        budget: InputBudget::new("in.0".into(), None, budget, counts.clone()),
        counts,
        routable: true,
    };
    let (stop, watch) = StopSource::new();
    let setup = RouteSetup {
        id: RouteId(0),
        output: output.clone(),
        flush: Duration::from_secs(1),
        retry_limit,
        schedule: Schedule { base: 5, cap: 5 },
        age_max: None,
        window: Window {
            bytes: usize::MAX,
            backlog: usize::MAX,
        },
    };
    let route = tokio::spawn(Route::new(setup, pipeline.clone(), watch).run());
    World {
        output,
        pipeline,
        sink: Arc::new(sink),
        stop,
        route,
    }
}

impl World {
    fn counts(&self) -> &OutputCounts {
        &self.pipeline.routes[0].counts
    }

    /// Appends a run of `count` records of about `size` bytes.
    fn feed(&self, count: u32, size: usize) {
        let mut buf = RecordsBuf::default();
        for _ in 0..count {
            let mut body = vec![0x81, 0xa1, b'x'];
            firelane_record::msgpack::write_str(&mut body, &vec![b'x'; size]);
            buf.push(Timestamp { secs: 1, nanos: 0 }, None, &body);
        }
        let stream = Ingest::new(self.sink.clone()).stream(AckOn::Append);
        assert!(self.sink.append(&stream, &tag(), buf.take()).is_ok());
    }

    /// Delivered, parked and lost records.
    fn ledger(&self) -> (u64, u64, u64) {
        let counts = self.counts();
        (
            counts.proc_records.get(),
            counts.parked.get(),
            counts.dropped.get(Reason::UploadLost),
        )
    }

    fn finishes(&self) -> Vec<(u64, u64)> {
        let state = self.output.state.lock().unwrap();
        state
            .finished
            .iter()
            .map(|(at, records, _)| (at.as_secs(), *records))
            .collect()
    }

    /// Drains, for `limit` at most; the ledger balances.
    async fn end(mut self, limit: Duration) -> (u64, (u64, u64, u64)) {
        self.stop.advance(Phase::Draining);
        let left = match tokio::time::timeout(limit, &mut self.route).await {
            Ok(left) => left,
            Err(_) => {
                self.stop.advance(Phase::Over);
                (&mut self.route).await
            }
        };
        let left = left.unwrap().buffered;
        let counts = self.counts();
        let out = counts.proc_records.get() + counts.parked.get() + counts.dropped.total() + left;
        assert_eq!(counts.routed.get(), out);
        assert_eq!(self.output.state.lock().unwrap().closed, 1);
        (left, self.ledger())
    }
}

async fn sleep(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

/// Guarantees: what is parked is finished when its time is over, with the records that came meanwhile.
#[tokio::test(start_paused = true)]
async fn a_group_is_finished_when_it_is_due() {
    let world = world(
        &[],
        Duration::from_secs(100),
        RetryLimit::Unlimited,
        RecordSet::none(),
    );
    world.feed(10, 100);
    sleep(50).await;
    assert_eq!(world.ledger(), (0, 10, 0));
    assert_eq!(world.counts().retained_bytes.get(), 0, "they have left the log");
    world.feed(1, 10);
    sleep(49).await;
    assert_eq!(world.ledger(), (0, 10, 0), "the last one waits in its batch");
    sleep(2).await;
    assert_eq!(world.ledger(), (11, 0, 0));
    assert_eq!(world.finishes(), [(100, 11)]);
    assert_eq!(world.end(LINGER).await, (0, (11, 0, 0)));
}

/// Guarantees: a finish that fails is tried again by the schedule, and what is lost is counted as that.
#[tokio::test(start_paused = true)]
async fn finishes_that_fail_are_tried_again() {
    let steps = [Step::Fail, Step::Fail, Step::Lose];
    let world = world(
        &steps,
        Duration::from_secs(10),
        RetryLimit::Unlimited,
        RecordSet::none(),
    );
    world.feed(10, 100);
    sleep(60).await;
    assert_eq!(world.ledger(), (0, 0, 10));
    assert_eq!(world.finishes(), [(10, 10), (16, 10), (22, 10)]);
    world.feed(10, 100);
    sleep(11).await;
    assert_eq!(world.ledger(), (10, 0, 10));
    world.end(LINGER).await;
}

/// Guarantees: an explicit `Retry_Limit` is obeyed: the last try is told that it is the last.
#[tokio::test(start_paused = true)]
async fn the_last_try_gives_up() {
    let steps = [Step::Fail, Step::Fail, Step::Fail];
    let world = world(&steps, Duration::ZERO, RetryLimit::Times(1), RecordSet::none());
    world.feed(10, 100);
    sleep(60).await;
    assert_eq!(world.finishes().len(), 2);
    assert_eq!(world.ledger(), (0, 0, 10));
    world.end(LINGER).await;
}

/// Guarantees: a drain finishes everything at once; what cannot be finished stays parked, in the ledger too.
#[tokio::test(start_paused = true)]
async fn a_drain_finishes_all() {
    let far = Duration::from_secs(3600);
    let world = world(&[], far, RetryLimit::Unlimited, RecordSet::none());
    world.feed(10, 100);
    world.feed(3, 10);
    sleep(1).await;
    let start = Instant::now();
    assert_eq!(world.end(LINGER).await, (0, (13, 0, 0)));
    assert!(start.elapsed() < Duration::from_secs(1));

    let world = self::world(&[Step::Fail; 100], far, RetryLimit::Unlimited, RecordSet::none());
    world.feed(10, 100);
    sleep(1).await;
    assert_eq!(world.end(Duration::from_secs(5)).await, (0, (0, 10, 0)));
}

/// Guarantees: refused records of a chunk that was parked are given up, the others are parked.
#[tokio::test(start_paused = true)]
async fn refused_records_are_not_parked() {
    let refused = RecordSet::range(0, 2);
    let world = world(&[], Duration::ZERO, RetryLimit::Unlimited, refused);
    world.feed(10, 100);
    sleep(1).await;
    assert_eq!(world.ledger(), (8, 0, 0));
    assert_eq!(world.counts().dropped.get(Reason::Refused), 2);
    world.end(LINGER).await;
}

/// Guarantees: what an earlier run has left is finished at once, though nothing new comes.
#[tokio::test(start_paused = true)]
async fn what_is_left_behind_is_finished() {
    let state = State {
        parked: 7,
        left_behind: 7,
        ..State::default()
    };
    let world = world_with(state, LINGER, RetryLimit::Unlimited, RecordSet::none());
    // As the start of a pipeline does.
    world.counts().routed.add(7);
    world.counts().parked.add(7);
    sleep(1).await;
    assert_eq!(world.ledger(), (7, 0, 0));
    assert_eq!(world.finishes(), [(0, 7)]);
    world.end(LINGER).await;
}

/// Guarantees: a route does not wake for nothing while something is parked and due later.
#[tokio::test(start_paused = true)]
async fn nothing_spins() {
    let world = world(
        &[Step::Fail; 3],
        Duration::from_secs(100),
        RetryLimit::Unlimited,
        RecordSet::none(),
    );
    world.feed(10, 100);
    sleep(300).await;
    let deliveries = world.output.state.lock().unwrap().delivered.len();
    assert_eq!((deliveries, world.finishes().len()), (1, 4));
    world.end(LINGER).await;
}
