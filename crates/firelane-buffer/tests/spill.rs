//! The log with frames that leave memory, against a model: however frames are spilled, evicted and read
//! back, and however often a route begins anew, every route gets each of its records, in order per
//! stream, never one that it has settled, and everything is released at the end.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy exempts only the tests themselves"
)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use firelane_buffer::store::format::BlockImage;
use firelane_buffer::{
    Append, Batcher, Block, Claim, Cursor, Grouping, Guard, Limits, Partition, ReadEnd, RouteId, Routing,
};
use firelane_record::{Records, RecordsBuf, Tag, Timestamp, msgpack};
use proptest::prelude::*;

const ROUTES: u16 = 3;

/// Counts the frames that are in memory, and those that are not released.
#[derive(Debug)]
struct Alive {
    memory: Option<Arc<AtomicUsize>>,
    open: Option<Arc<AtomicUsize>>,
    /// A copy is released like the rest and counts only as memory.
    durable: bool,
}

impl Alive {
    fn leave(&mut self) {
        if let Some(memory) = self.memory.take() {
            memory.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Guard for Alive {
    fn released(mut self) {
        self.leave();
        if let Some(open) = self.open.take() {
            open.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn durable(&mut self) {
        self.durable = true;
    }

    fn evicted(mut self) -> Option<Self> {
        assert!(self.durable, "only what is on disk leaves memory");
        self.leave();
        Some(self)
    }
}

/// One step of a run.
#[derive(Debug, Clone)]
enum Step {
    /// Stream, tag (which chooses the routes), records, durable.
    Append(u8, u8, u32, bool),
    /// A route reads about so many bytes and claims them.
    Read(u16, usize),
    /// A route settles its oldest or newest claim, all of it or but one record.
    Settle(u16, bool, bool),
    /// The commit thread: writes what is full, brings so many bytes out of memory.
    Spill(usize, usize),
    /// A route begins anew; its claims are gone.
    Anew(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u8..3, 0u8..7, 1u32..9, any::<bool>()).prop_map(|(s, t, n, d)| Step::Append(s, t, n, d)),
        3 => (0..ROUTES, 1usize..400).prop_map(|(r, n)| Step::Read(r, n)),
        3 => (0..ROUTES, any::<bool>(), any::<bool>()).prop_map(|(r, o, p)| Step::Settle(r, o, p)),
        3 => (0usize..600, 0usize..100).prop_map(|(n, near)| Step::Spill(n, near)),
        1 => (0..ROUTES).prop_map(Step::Anew),
    ];
    prop::collection::vec(step, 1..80)
}

/// The routes of tag `n`: its bits, 1 to 7.
fn routing(tag: u8) -> Arc<Routing> {
    let routes = (0..ROUTES).filter(|bit| (tag + 1) & (1 << bit) != 0).map(RouteId);
    Arc::new(Routing::new(routes.collect()))
}

fn tag(n: u8) -> Tag {
    Tag::new([b'a' + n]).unwrap()
}

fn routing_of(tag: &Tag) -> Arc<Routing> {
    routing(tag.as_bytes()[0] - b'a')
}

#[derive(Default)]
struct Reader {
    cursor: Cursor,
    claims: Vec<Claim<Alive>>,
    settled: HashSet<u32>,
    /// Numbers in the order in which they were read, since it last began.
    seen: Vec<u32>,
}

struct World {
    partitions: [Partition<Alive>; 2],
    /// Two cursors for each route.
    readers: Vec<[Reader; 2]>,
    disk: HashMap<u64, BlockImage>,
    pending: Vec<Arc<Block<Alive>>>,
    memory: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    next: u32,
    /// Numbers by route, partition and stream.
    want: BTreeMap<(u16, usize, u8), Vec<u32>>,
}

impl World {
    fn new() -> Self {
        let ids = Arc::default();
        let partition = |n| Partition::new(n, ROUTES, Arc::clone(&ids));
        Self {
            partitions: [partition(0), partition(1)],
            readers: (0..ROUTES).map(|_| Default::default()).collect(),
            disk: HashMap::new(),
            pending: Vec::new(),
            memory: Arc::default(),
            open: Arc::default(),
            next: 0,
            want: BTreeMap::new(),
        }
    }

    fn append(&mut self, stream: u8, tag_number: u8, count: u32, durable: bool) {
        let at = usize::from(durable);
        let routing = routing(tag_number);
        let mut buf = RecordsBuf::default();
        for _ in 0..count {
            let mut body = vec![0x81, 0xa1, b'n'];
            msgpack::write_uint(&mut body, self.next.into());
            buf.push(Timestamp::default(), None, &body);
            for route in routing.routes() {
                self.want
                    .entry((route.0, at, stream))
                    .or_default()
                    .push(self.next);
            }
            self.next += 1;
        }
        self.memory.fetch_add(1, Ordering::SeqCst);
        self.open.fetch_add(1, Ordering::SeqCst);
        let append = Append {
            stream: stream.into(),
            now: 5,
            tag: tag(tag_number),
            records: buf.take(),
            routing,
            guard: Alive {
                memory: Some(self.memory.clone()),
                open: Some(self.open.clone()),
                durable: false,
            },
            durable,
        };
        self.partitions[at].append(append, |_| {});
    }

    /// Reads and claims; true when there is no more.
    fn read(&mut self, route: u16, at: usize, bytes: usize) -> bool {
        let reader = &mut self.readers[usize::from(route)][at];
        let partition = &self.partitions[at];
        let mut frames = Vec::new();
        let cursor = &mut reader.cursor;
        let end = partition.read(RouteId(route), bytes, 1, &mut frames, |range| cursor.pass(range));
        let dry = matches!(end, ReadEnd::Dry);
        if let ReadEnd::Cold(block) = end {
            let image = self.disk.get(&block.id()).expect("a cold block is on disk");
            let memory = self.memory.clone();
            let copy = |wall_ms: u64, _: &Records| {
                assert_eq!(wall_ms, 1005);
                memory.fetch_add(1, Ordering::SeqCst);
                let guard = Alive {
                    memory: Some(memory.clone()),
                    open: None,
                    durable: true,
                };
                (wall_ms - 1000, guard)
            };
            let revived = partition.revive(&block, image, RouteId(route), cursor, routing_of, copy);
            frames.extend(revived);
        }
        let mut batcher = Batcher::new(Limits::default());
        let mut closed = Vec::new();
        for frame in &frames {
            for part in reader.cursor.gaps_of(frame) {
                batcher.offer_part(0, frame, part, &Grouping::All, 0, &mut closed);
            }
        }
        batcher.close_opened_by(u64::MAX, &mut closed);
        for claim in closed {
            for part in claim.parts() {
                reader.seen.extend(numbers(part.records()));
            }
            reader.claims.push(claim);
        }
        let settled = &reader.settled;
        assert!(
            reader
                .claims
                .iter()
                .flat_map(claimed)
                .all(|n| !settled.contains(&n)),
            "a record was read again that is settled"
        );
        dry
    }

    fn settle(&mut self, route: u16, at: usize, oldest: bool, partly: bool) {
        let reader = &mut self.readers[usize::from(route)][at];
        if reader.claims.is_empty() {
            return;
        }
        let claim = reader
            .claims
            .remove(if oldest { 0 } else { reader.claims.len() - 1 });
        let total = claim.records();
        let done = if partly && total > 1 {
            firelane_record::set::RecordSet::range(1, total)
        } else {
            firelane_record::set::RecordSet::all()
        };
        let (cursor, settled) = (&mut reader.cursor, &mut reader.settled);
        let partition = &self.partitions[at];
        let mut gone = Vec::new();
        let rest = claim.split(&done, |part| {
            let (from, to) = part.range();
            settled.extend(numbers(part.records()));
            let done = cursor.settle(partition, part.frame(), from, to);
            if done.block {
                gone.push(done.home.unwrap().0.id());
            }
        });
        reader.claims.extend(rest);
        for id in gone {
            self.disk.remove(&id);
            self.pending.retain(|block| block.id() != id);
        }
    }

    fn spill(&mut self, bytes: usize, near: usize) {
        for partition in &self.partitions {
            let before = self.memory.load(Ordering::SeqCst);
            let spilled = partition.spill(bytes, near, true, |_| true);
            assert_eq!(spilled.freed > 0, self.memory.load(Ordering::SeqCst) < before);
            self.pending.extend(partition.take_blocks());
            self.pending.extend(spilled.blocks);
        }
        // Sometimes what was chosen is written later.
        if !bytes.is_multiple_of(3) {
            for block in self.pending.drain(..).filter(|block| block.is_needed()) {
                self.disk.insert(block.id(), block.image(1, |ms| ms + 1000));
                block.set_written();
            }
        }
    }

    fn anew(&mut self, route: u16) {
        for (reader, partition) in self.readers[usize::from(route)].iter_mut().zip(&self.partitions) {
            reader.claims.clear();
            reader.seen.clear();
            partition.rewind(RouteId(route));
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Append(stream, tag, count, durable) => self.append(stream, tag, count, durable),
            Step::Read(route, bytes) => {
                self.read(route, bytes % 2, bytes);
            }
            Step::Settle(route, oldest, partly) => {
                let at = usize::from(!self.readers[usize::from(route)][1].claims.is_empty());
                self.settle(route, at, oldest, partly);
            }
            Step::Spill(bytes, near) => self.spill(bytes, near),
            Step::Anew(route) => self.anew(route),
        }
    }

    /// Every record that was read since the route last began came in the order of its stream.
    fn check_order(&self) {
        for ((route, at, _), want) in &self.want {
            let place: HashMap<u32, usize> = want.iter().enumerate().map(|(i, n)| (*n, i)).collect();
            let seen = &self.readers[usize::from(*route)][*at].seen;
            let places: Vec<usize> = seen.iter().filter_map(|n| place.get(n).copied()).collect();
            assert!(
                places.windows(2).all(|two| two[0] < two[1]),
                "route {route}: {places:?}"
            );
        }
    }

    fn finish(&mut self) {
        for route in 0..ROUTES {
            for at in 0..2 {
                while !self.read(route, at, 300) {}
                while !self.readers[usize::from(route)][at].claims.is_empty() {
                    self.settle(route, at, true, false);
                }
            }
        }
    }
}

fn claimed(claim: &Claim<Alive>) -> Vec<u32> {
    claim
        .parts()
        .iter()
        .flat_map(|part| numbers(part.records()))
        .collect()
}

fn numbers(records: &Records) -> Vec<u32> {
    let number = |event: firelane_record::Event<'_>| {
        let (_, value) = msgpack::pairs(event.body).next().unwrap();
        match msgpack::read(value) {
            Some((msgpack::Token::Int(n), _)) => n as u32,
            other => panic!("{other:?}"),
        }
    };
    records.events().map(number).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("FIRELANE_SOAK").is_some() { 50_000 } else { 700 }))]
    #[test]
    fn nothing_is_lost_or_repeated_between_memory_and_disk(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
            world.check_order();
        }
        world.finish();
        world.check_order();
        for ((route, at, _), want) in &world.want {
            let settled = &world.readers[usize::from(*route)][*at].settled;
            prop_assert!(want.iter().all(|n| settled.contains(n)), "route {route} misses some");
        }
        prop_assert_eq!(world.open.load(Ordering::SeqCst), 0, "not all was released");
        prop_assert_eq!(world.memory.load(Ordering::SeqCst), 0);
        prop_assert!(world.disk.is_empty(), "blocks that nobody needs: {:?}", world.disk.keys());
        prop_assert!(world.partitions.iter().all(|partition| partition.frames() == 0));
    }
}
