//! The log against a model: whatever is appended and however it is cut, every route gets each of its records
//! exactly once and in order per group, no batch breaks a limit, and frames are released when all routes have
//! settled them.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy exempts only the tests themselves"
)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use firelane_buffer::{
    Append, Batcher, Claim, Cursor, GroupKey, Grouping, Guard, Limits, Partition, RouteId, Routing,
};
use firelane_record::set::RecordSet;
use firelane_record::{RecordsBuf, Tag, Timestamp, msgpack};
use proptest::prelude::*;

/// Counts the frames that are alive.
struct Alive(Arc<AtomicUsize>);

impl Guard for Alive {
    fn released(self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One run of the model: tag number, route bits (1, 2 or 3) and the seconds of its events.
#[derive(Debug, Clone)]
struct Run {
    tag: u8,
    routes: u8,
    times: Vec<i64>,
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let run = (0u8..3, 1u8..4, prop::collection::vec(0i64..100, 1..12));
    prop::collection::vec(
        run.prop_map(|(tag, routes, times)| Run { tag, routes, times }),
        1..20,
    )
}

fn body(number: u32) -> Vec<u8> {
    let mut out = vec![0x81, 0xa1, b'n'];
    msgpack::write_uint(&mut out, number.into());
    out
}

fn number(body: &[u8]) -> u32 {
    let (_, value) = msgpack::pairs(body).next().unwrap();
    match msgpack::read(value) {
        Some((msgpack::Token::Int(n), _)) => n as u32,
        other => panic!("{other:?}"),
    }
}

struct World {
    partition: Partition<Alive>,
    alive: Arc<AtomicUsize>,
    /// Numbers routed to each route, by tag, in order.
    want: [BTreeMap<u8, Vec<u32>>; 2],
}

fn world(runs: &[Run]) -> World {
    let partition = Partition::new(0, 2, Arc::default());
    let alive = Arc::new(AtomicUsize::new(0));
    let mut want = [BTreeMap::new(), BTreeMap::new()];
    let mut next = 0;
    for run in runs {
        let mut buf = RecordsBuf::default();
        let routes: Vec<u16> = (0..2).filter(|bit| run.routes & (1 << bit) != 0).collect();
        for &secs in &run.times {
            buf.push(Timestamp { secs, nanos: 0 }, None, &body(next));
            for &route in &routes {
                want[usize::from(route)]
                    .entry(run.tag)
                    .or_insert_with(Vec::new)
                    .push(next);
            }
            next += 1;
        }
        alive.fetch_add(1, Ordering::SeqCst);
        let append = Append {
            stream: 1,
            now: 0,
            tag: Tag::new([b'a' + run.tag]).unwrap(),
            records: buf.take(),
            routing: Arc::new(Routing::new(routes.iter().map(|&route| RouteId(route)).collect())),
            guard: Alive(alive.clone()),
            durable: false,
        };
        partition.append(append, |_| {});
    }
    World {
        partition,
        alive,
        want,
    }
}

fn read_all(world: &World, route: u16, limits: Limits, cursor: &mut Cursor) -> Vec<Claim<Alive>> {
    let mut batcher = Batcher::new(limits);
    let (mut frames, mut closed) = (Vec::new(), Vec::new());
    world
        .partition
        .read(RouteId(route), usize::MAX, 1, &mut frames, |range| {
            cursor.pass(range)
        });
    for frame in &frames {
        batcher.offer(0, frame, &Grouping::Tag, 0, &mut closed);
    }
    batcher.close_opened_by(0, &mut closed);
    closed
}

fn check_limits(claim: &Claim<Alive>, limits: &Limits) {
    let events: Vec<_> = claim
        .parts()
        .iter()
        .flat_map(|part| part.records().events())
        .collect();
    assert_eq!(events.len(), claim.records() as usize);
    assert!(claim.records() <= limits.records_max);
    assert!(
        claim.bytes() <= limits.bytes_max || claim.records() == 1,
        "{} bytes",
        claim.bytes()
    );
    let times = events.iter().map(|event| event.time.secs);
    let span = times.clone().max().unwrap() - times.min().unwrap();
    if let Some(max) = limits.span_max {
        assert!((span as u64) < max.as_secs(), "span {span}");
    }
}

proptest! {
    #[test]
    fn every_record_reaches_its_routes_once(
        runs in runs(),
        records_max in 1u32..20,
        bytes_max in 10usize..200,
        span in prop::option::of(1u64..50),
        refuse in any::<u64>(),
    ) {
        let world = world(&runs);
        for route in 0..2u16 {
            let span_max = span.map(Duration::from_secs);
            let limits = Limits { bytes_max, records_max, span_max, ..Limits::default() };
            let mut cursor = Cursor::new();
            let mut got: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
            let mut sent: HashMap<u32, u32> = HashMap::new();
            for claim in read_all(&world, route, limits, &mut cursor) {
                check_limits(&claim, &limits);
                let GroupKey::Tag(tag) = claim.key().clone() else { panic!("grouped by tag") };
                let events = claim.parts().iter().flat_map(|part| part.records().events());
                let numbers: Vec<u32> = events.map(|event| number(event.body)).collect();
                got.entry(tag.as_bytes()[0] - b'a').or_default().extend(&numbers);
                // Some records of the chunk are done at first; the rest comes again, and only the rest.
                let mut done = RecordSet::none();
                for index in (0..claim.records()).filter(|index| refuse >> (index % 64) & 1 == 0) {
                    done.insert(index);
                    *sent.entry(numbers[index as usize]).or_default() += 1;
                }
                let mut settle = |part: &firelane_buffer::ClaimPart<Alive>| {
                    let (from, to) = part.range();
                    cursor.settle(&world.partition, part.frame(), from, to);
                };
                if let Some(rest) = claim.split(&done, &mut settle) {
                    for event in rest.parts().iter().flat_map(|part| part.records().events()) {
                        *sent.entry(number(event.body)).or_default() += 1;
                    }
                    rest.settle(&mut settle);
                }
            }
            prop_assert_eq!(&got, &world.want[usize::from(route)]);
            prop_assert!(sent.values().all(|&times| times == 1), "each record was sent once: {:?}", sent);
            prop_assert_eq!(sent.len(), got.values().map(Vec::len).sum::<usize>());
        }
        prop_assert_eq!(world.alive.load(Ordering::SeqCst), 0, "all frames are released");
        prop_assert_eq!(world.partition.frames(), 0);
    }

    #[test]
    fn a_frame_lives_until_its_last_route_settled_it(runs in runs()) {
        let world = world(&runs);
        let both = runs.iter().filter(|run| run.routes == 3).count();
        let second = runs.iter().filter(|run| run.routes == 2).count();
        let mut cursor = Cursor::new();
        for claim in read_all(&world, 0, Limits::default(), &mut cursor) {
            claim.settle(|part| {
                let (from, to) = part.range();
                cursor.settle(&world.partition, part.frame(), from, to);
            });
        }
        prop_assert_eq!(world.alive.load(Ordering::SeqCst), both + second);
        let records: usize = runs.iter().map(|run| run.times.len()).sum();
        prop_assert_eq!(cursor.low_water(), records as u64);
    }
}

/// Guarantees: of many open batches the largest that may go, or that of one group, is closed, and no other;
/// claims say when their batches were opened.
#[test]
fn single_batches_are_closed() {
    let run = |tag, count: i64| Run {
        tag,
        routes: 1,
        times: (0..count).collect(),
    };
    let world = world(&[run(0, 2), run(1, 9), run(2, 5)]);
    let mut batcher = Batcher::new(Limits::default());
    let (mut frames, mut closed) = (Vec::new(), Vec::new());
    world
        .partition
        .read(RouteId(0), usize::MAX, 1, &mut frames, |_| {});
    for (now, frame) in (7..).zip(&frames) {
        batcher.offer(0, frame, &Grouping::Tag, now, &mut closed);
    }
    let key = |tag: &str| GroupKey::Tag(Tag::new(tag).unwrap());
    batcher.close_group(&key("d"), &mut closed);
    assert!(closed.is_empty() && batcher.is_open(&key("b")));
    batcher.close_largest(|tag| *tag != key("b"), &mut closed);
    batcher.close_largest(|_| true, &mut closed);
    batcher.close_group(&key("a"), &mut closed);
    batcher.close_largest(|_| true, &mut closed);
    let got: Vec<_> = closed
        .iter()
        .map(|claim| (claim.key().clone(), claim.records(), claim.opened()))
        .collect();
    assert_eq!(got, [(key("c"), 5, 9), (key("b"), 9, 8), (key("a"), 2, 7)]);
    assert!(!batcher.is_open(&key("b")) && batcher.bytes() == 0);
    let mut cursor = Cursor::new();
    for claim in closed {
        claim.settle(|part| {
            let (from, to) = part.range();
            cursor.settle(&world.partition, part.frame(), from, to);
        });
    }
}

#[test]
fn a_route_is_woken_once_its_threshold_is_reached() {
    let world = world(&[]);
    let append = |bytes: usize| {
        let mut buf = RecordsBuf::default();
        let mut text = vec![0x81, 0xa1, b'n'];
        msgpack::write_str(&mut text, &vec![b'x'; bytes]);
        buf.push(Timestamp::default(), None, &text);
        world.alive.fetch_add(1, Ordering::SeqCst);
        let mut woken = 0;
        let append = Append {
            stream: 1,
            now: 0,
            tag: Tag::new("a").unwrap(),
            records: buf.take(),
            routing: Arc::new(Routing::new(vec![RouteId(0)])),
            guard: Alive(world.alive.clone()),
            durable: false,
        };
        world.partition.append(append, |_| woken += 1);
        woken
    };
    assert_eq!(append(10), 1, "an idle route is woken by the first byte");
    assert_eq!(append(10), 0, "and then left alone until it has read");
    let mut frames = Vec::new();
    world
        .partition
        .read(RouteId(0), usize::MAX, 1000, &mut frames, |_| {});
    assert_eq!(frames.len(), 2);
    assert_eq!(append(500), 0);
    assert_eq!(append(600), 1);
}
