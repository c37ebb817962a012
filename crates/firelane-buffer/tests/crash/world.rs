//! The model: what a router's commit thread does, and what it knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use firelane_buffer::store::format::{BlockImage, Entry};
use firelane_buffer::store::{Group, Location, Progress, Settled, Store, StoreOptions};
use firelane_record::set::RecordSet;
use firelane_record::{Records, RecordsBuf, Tag, Timestamp, msgpack};

use crate::rng::Rng;
use crate::sim::{Faults, SimDisk};

pub(crate) const ROUTES: [&str; 3] = ["alpha", "beta", "gamma"];

/// What a run is about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mode {
    pub(crate) faults: Faults,
    /// In so many of 1000 steps the process dies or the power fails.
    pub(crate) crashes: usize,
    /// Bytes flip while the power is off.
    pub(crate) rot: bool,
    /// The disk has little room.
    pub(crate) full: bool,
}

/// A block and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) image: BlockImage,
    /// A commit with it returned Ok.
    pub(crate) acked: bool,
    /// Some commit tried to write it.
    pub(crate) tried: bool,
    /// By route: settled in this process, settled by a commit that returned Ok, settled at any time.
    pub(crate) now: [RecordSet; 3],
    pub(crate) safe: [RecordSet; 3],
    pub(crate) ever: [RecordSet; 3],
    /// Every route is done with it; a commit that said so returned Ok.
    pub(crate) done: bool,
    pub(crate) done_safe: bool,
    /// Where it stood when that was last durable.
    pub(crate) place: Option<Location>,
    /// Bit rot was met in it.
    pub(crate) rotten: bool,
}

impl Item {
    fn new(image: BlockImage) -> Self {
        let none = || std::array::from_fn(|_| RecordSet::none());
        Self {
            image,
            acked: false,
            tried: false,
            now: none(),
            safe: none(),
            ever: none(),
            done: false,
            done_safe: false,
            place: None,
            rotten: false,
        }
    }

    /// It must be found. What all routes were done with before a crash may be found or not.
    pub(crate) fn is_owed(&self) -> bool {
        let records = self.image.records();
        let delivered = self.ever.iter().all(|set| set.is_all(records));
        self.acked && !delivered && !self.rotten
    }
}

/// What the commit thread has not written yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pending {
    pub(crate) blocks: Vec<u64>,
    pub(crate) settled: Vec<Settled>,
    pub(crate) done: Vec<u64>,
}

pub(crate) struct World {
    pub(crate) mode: Mode,
    pub(crate) rng: Rng,
    pub(crate) disk: SimDisk,
    pub(crate) options: StoreOptions,
    pub(crate) store: Option<Store<SimDisk>>,
    pub(crate) items: BTreeMap<u64, Item>,
    /// Blocks that are not known any more, by identity and epoch. An emptied log begins to count again.
    pub(crate) gone: BTreeMap<(u64, u64), Vec<Item>>,
    pub(crate) pending: Pending,
    pub(crate) next_id: u64,
    pub(crate) epoch: u64,
    pub(crate) orders: [u64; 2],
    /// Numbers that were told before: none of these may come again.
    pub(crate) id_floor: u64,
    pub(crate) epoch_floor: u64,
    pub(crate) records: u64,
    pub(crate) trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64, mode: Mode, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        let options = StoreOptions {
            segment_bytes: rng.pick(&[200, 700, 2000, 2000, 8000]),
            delete_damaged: rng.chance(1, 4),
        };
        let disk = SimDisk::new(rng.next(), trace);
        if mode.full {
            disk.set_capacity(Some(rng.between(4000, 16_000)));
        }
        Self {
            mode,
            rng,
            disk,
            options,
            store: None,
            items: BTreeMap::new(),
            gone: BTreeMap::new(),
            pending: Pending::default(),
            next_id: 1,
            epoch: 1,
            orders: [0; 2],
            id_floor: 0,
            epoch_floor: 0,
            records: 0,
            trace,
        }
    }

    pub(crate) fn say(&self, text: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{}", text());
        }
    }

    pub(crate) fn quiet(&self) {
        self.disk.set_faults(Faults::default());
    }

    pub(crate) fn loud(&self) {
        self.disk.set_faults(self.mode.faults);
    }

    fn run_of(&mut self) -> Records {
        let mut buf = RecordsBuf::default();
        for _ in 0..self.rng.between(1, 5) {
            let mut body = vec![0x82, 0xa1, b'n'];
            msgpack::write_uint(&mut body, self.records);
            body.extend_from_slice(&[0xa1, b'x']);
            let filler = self.rng.below(24);
            msgpack::write_str(&mut body, &vec![b'.'; filler]);
            let time = Timestamp {
                secs: 7,
                nanos: self.records as u32,
            };
            buf.push(time, self.rng.chance(1, 5).then_some(&[0x80]), &body);
            self.records += 1;
        }
        buf.take()
    }

    /// New records become a block.
    pub(crate) fn append(&mut self) {
        let partition = self.rng.below(2);
        let order = self.orders[partition];
        let mut entries = Vec::new();
        for _ in 0..self.rng.between(1, 4) {
            let records = self.run_of();
            let tag = self.rng.pick(&["app", "app", "web.firelens", ""]);
            entries.push(Entry::new(
                self.rng.below(3) as u64,
                1_700_000_000_000 + self.records,
                Tag::new(tag).unwrap(),
                records,
            ));
        }
        self.orders[partition] += entries.iter().map(|entry| u64::from(entry.count)).sum::<u64>();
        let image = BlockImage {
            id: self.next_id,
            epoch: self.epoch,
            partition: partition as u16,
            order,
            only: self.rng.chance(1, 8).then(|| "beta".into()),
            entries,
        };
        self.say(|| format!("append block {} of {} records", image.id, image.records()));
        self.pending.blocks.push(image.id);
        self.items.insert(image.id, Item::new(image));
        self.next_id += 1;
    }

    fn open_ids(&self) -> Vec<u64> {
        let open = |(id, item): (&u64, &Item)| (!item.done).then_some(*id);
        self.items.iter().filter_map(open).collect()
    }

    /// A route delivers some records of a block.
    pub(crate) fn settle_some(&mut self) {
        let ids = self.open_ids();
        if ids.is_empty() {
            return;
        }
        // Mostly the oldest: that is the order in which routes read.
        let front = ids.len().min(3);
        let id = if self.rng.chance(2, 3) {
            ids[self.rng.below(front)]
        } else {
            self.rng.pick(&ids)
        };
        let route = self.rng.below(3);
        let records = self.items[&id].image.records();
        let (from, to) = if self.rng.chance(1, 2) {
            (0, records)
        } else {
            let from = self.rng.below(records as usize) as u32;
            (from, from + 1 + self.rng.below((records - from) as usize) as u32)
        };
        self.settle(id, route, from, to);
    }

    pub(crate) fn settle(&mut self, id: u64, route: usize, from: u32, to: u32) {
        self.say(|| format!("settle {id} {} {from}..{to}", ROUTES[route]));
        let item = self.items.get_mut(&id).unwrap();
        item.now[route].insert_range(from..to);
        item.ever[route].insert_range(from..to);
        self.pending.settled.push(Settled {
            block: id,
            route: Arc::from(ROUTES[route]),
            from,
            to,
        });
        let records = item.image.records();
        if item.rotten || item.now.iter().all(|set| set.is_all(records)) {
            item.done = true;
            self.pending.done.push(id);
        }
    }

    pub(crate) fn settle_all(&mut self) {
        for id in self.open_ids() {
            for route in 0..ROUTES.len() {
                if !self.items[&id].done {
                    self.settle(id, route, 0, self.items[&id].image.records());
                }
            }
        }
    }

    /// Writes what is pending; keeps it all after an error.
    pub(crate) fn commit(&mut self) -> bool {
        let Some(store) = &mut self.store else {
            return false;
        };
        let pending = self.pending.clone();
        let images: Vec<BlockImage> = pending
            .blocks
            .iter()
            .map(|id| self.items[id].image.clone())
            .collect();
        let result = store.commit(&Group {
            blocks: &images,
            settled: &pending.settled,
            done: &pending.done,
        });
        self.say(|| format!("commit {:?} done {:?}: {result:?}", pending.blocks, pending.done));
        for id in &pending.blocks {
            self.items.get_mut(id).unwrap().tried = true;
        }
        if let Err(error) = result {
            let empty = self.store.as_ref().is_some_and(|store| store.live() == 0);
            if empty && error.kind() == std::io::ErrorKind::StorageFull {
                // The disk was full, so all that was done with is gone, with its numbers.
                (self.id_floor, self.epoch_floor) = (0, 0);
            }
            return false;
        }
        self.pending = Pending::default();
        self.epoch_floor = self.epoch_floor.max(self.epoch);
        for id in pending.blocks {
            self.items.get_mut(&id).unwrap().acked = true;
            self.id_floor = self.id_floor.max(id);
        }
        for settled in pending.settled {
            let route = ROUTES.iter().position(|name| **name == *settled.route).unwrap();
            let item = self.items.get_mut(&settled.block).unwrap();
            item.safe[route].insert_range(settled.from..settled.to);
        }
        for id in pending.done {
            let mut item = self.items.remove(&id).unwrap();
            item.done_safe = true;
            self.gone.entry((id, item.image.epoch)).or_default().push(item);
        }
        self.note_places();
        true
    }

    /// Where blocks stand now, all of it durable.
    pub(crate) fn note_places(&mut self) {
        let Some(store) = &self.store else { return };
        let blocks = store.blocks();
        for (id, item) in self.items.iter_mut().filter(|(_, item)| item.acked) {
            item.place = blocks.place(*id).or(item.place);
        }
    }

    /// Moves blocks out of sparse segments, without the runs that no route needs.
    pub(crate) fn compact(&mut self) {
        let Some(store) = &mut self.store else { return };
        let items = &self.items;
        let bytes_max = self.rng.pick(&[1, 500, 10_000]);
        let hollow = |image: &mut BlockImage, progress: Progress<'_>| {
            let Some(item) = items.get(&image.id) else { return };
            let mut at = 0;
            for entry in &mut image.entries {
                let range = (at, at + entry.count);
                at = range.1;
                let known = (0..item.now.len()).all(|n| progress.is_settled(ROUTES[n], range.0, range.1));
                let settled = item.now.iter().all(|set| covers(set, range.0, range.1));
                assert!(settled || !known, "more is settled than was told");
                if known {
                    entry.hollow();
                }
            }
        };
        store.assess(hollow);
        let result = store.compact(bytes_max, hollow);
        self.say(|| format!("compact: {result:?}"));
        if result.is_ok() {
            self.note_places();
        }
    }

    /// Whether a block is what was written, but for runs that nobody needs.
    pub(crate) fn same(item: &Item, found: &BlockImage) -> Result<(), String> {
        let want = &item.image;
        let head = |image: &BlockImage| {
            (
                image.id,
                image.epoch,
                image.partition,
                image.order,
                image.only.clone(),
            )
        };
        if head(want) != head(found) || want.entries.len() != found.entries.len() {
            return Err(format!(
                "another block: {:?} is not {:?}",
                head(found),
                head(want)
            ));
        }
        let mut at = 0;
        for (want, found) in want.entries.iter().zip(&found.entries) {
            let range = (at, at + want.count);
            at = range.1;
            let table = |entry: &Entry| (entry.stream, entry.wall_ms, entry.tag.clone(), entry.count);
            if table(want) != table(found) {
                return Err(format!("another run: {found:?} is not {want:?}"));
            }
            let bytes = |entry: &Entry| {
                entry
                    .records
                    .as_ref()
                    .map(|records| Bytes::clone(records.bytes()))
            };
            let hollow = found.records.is_none();
            if hollow && !item.ever.iter().all(|set| covers(set, range.0, range.1)) {
                return Err(format!("the run {range:?} is hollow and needed"));
            }
            if !hollow && bytes(want) != bytes(found) {
                return Err(format!("other records in the run {range:?}"));
            }
        }
        Ok(())
    }

    /// Ids of blocks that the store knows, for a look at all of them.
    pub(crate) fn live_ids(&self) -> BTreeSet<u64> {
        let Some(store) = &self.store else {
            return BTreeSet::new();
        };
        let blocks = store.blocks();
        self.items
            .keys()
            .copied()
            .filter(|id| blocks.place(*id).is_some())
            .collect()
    }
}

pub(crate) fn covers(set: &RecordSet, from: u32, to: u32) -> bool {
    set.runs(from, to).all(|run| run.2)
}

/// Whether `larger` holds all of `smaller`, of so many records.
pub(crate) fn within(smaller: &RecordSet, larger: &RecordSet, records: u32) -> bool {
    smaller
        .runs(0, records)
        .filter(|run| run.2)
        .all(|(from, to, _)| covers(larger, from, to))
}
