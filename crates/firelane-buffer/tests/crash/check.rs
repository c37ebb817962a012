//! What must hold after a restart and in the end.

use std::collections::{BTreeMap, BTreeSet};

use firelane_buffer::store::recover::{Note, Recovered, Recovery};
use firelane_buffer::store::{LoadError, Location, Store, segment_sequence};
use firelane_record::set::RecordSet;

use crate::world::{Item, ROUTES, World, within};

impl World {
    /// The process dies or the power fails; what comes back is checked.
    pub(crate) fn crash(&mut self) {
        self.store = None;
        self.pending = Default::default();
        self.outage();
        let recovery = self.open();
        self.quiet();
        let recovery = if self.rng.chance(1, 4) {
            self.open_twice(recovery)
        } else {
            recovery
        };
        self.check(&recovery);
        self.loud();
    }

    fn outage(&mut self) {
        if self.rng.chance(2, 3) {
            self.disk.power_loss();
            if self.mode.rot && self.rng.chance(1, 2) {
                self.flip_bytes();
            }
        } else {
            self.say(|| "killed".to_string());
            self.disk.restart();
        }
    }

    fn flip_bytes(&mut self) {
        for _ in 0..self.rng.between(1, 3) {
            let files: Vec<_> = self
                .disk
                .files()
                .into_iter()
                .filter(|file| !file.1.is_empty())
                .collect();
            if files.is_empty() {
                return;
            }
            let (name, bytes) = self.rng.pick(&files);
            let offset = self.rng.below(bytes.len());
            let mask = 1 << self.rng.below(8);
            self.say(|| format!("rot in {name} at {offset}"));
            self.disk.rot(&name, offset, mask);
            let Some(segment) = segment_sequence(&name) else {
                continue;
            };
            let hit = |at: &Location| at.segment == segment && holds(at, offset as u64);
            for item in self.items.values_mut().chain(self.gone.values_mut().flatten()) {
                item.rotten |= item.place.as_ref().is_some_and(hit);
            }
        }
    }

    /// Opens the log, over errors and more crashes.
    fn open(&mut self) -> Recovery {
        for attempt in 0.. {
            if attempt >= 3 {
                self.quiet();
            } else if self.rng.chance(1, 4) {
                self.disk.die_in(self.rng.below(6));
            }
            let opened = Store::open(self.disk.clone(), self.options);
            if self.disk.is_dead() {
                drop(opened);
                self.outage();
                continue;
            }
            self.disk.restart();
            match opened {
                Ok((store, recovery)) => {
                    self.store = Some(store);
                    return recovery;
                }
                Err(error) => assert!(attempt < 3, "recovery fails: {error}"),
            }
        }
        unreachable!("the loop ends by itself")
    }

    /// After a power loss all is as durable as it will be: opening changes nothing.
    fn open_twice(&mut self, recovery: Recovery) -> Recovery {
        let mut opened = vec![recovery];
        for _ in 0..2 {
            self.store = None;
            self.disk.power_loss();
            opened.push(self.open_calmly());
        }
        let [_, first, second] = &opened[..] else {
            unreachable!("three of them")
        };
        if !self.mode.rot {
            assert_eq!(first.blocks, second.blocks, "another start finds other blocks");
            assert_eq!((first.epoch, first.next_id), (second.epoch, second.next_id));
        }
        opened.remove(2)
    }

    fn open_calmly(&mut self) -> Recovery {
        let (store, recovery) = Store::open(self.disk.clone(), self.options).expect("nothing fails");
        self.store = Some(store);
        recovery
    }

    fn check(&mut self, recovery: &Recovery) {
        self.say(|| format!("recovered {recovery:?}"));
        let found: BTreeSet<u64> = recovery.blocks.iter().map(|block| block.id).collect();
        assert_eq!(found.len(), recovery.blocks.len(), "a block twice");
        let place = |block: &Recovered| (block.epoch, block.partition, block.order);
        assert!(recovery.blocks.is_sorted_by_key(place), "out of order");
        for (id, item) in self.items.iter().filter(|(_, item)| item.is_owed()) {
            assert!(found.contains(id), "block {id} is lost: {item:?}");
        }
        if !self.mode.rot {
            self.check_notes(&recovery.notes);
            assert!(
                recovery.next_id > self.id_floor,
                "ids begin again at {}",
                recovery.next_id
            );
            assert!(
                recovery.epoch > self.epoch_floor,
                "epoch {} comes again",
                recovery.epoch
            );
        }
        let mut before = std::mem::take(&mut self.items);
        for block in &recovery.blocks {
            let mut item = self.identify(block, &mut before);
            self.check_settled(block, &mut item);
            self.check_load(&mut item);
            self.items.insert(block.id, item);
        }
        for item in before.into_values() {
            self.gone
                .entry((item.image.id, item.image.epoch))
                .or_default()
                .push(item);
        }
        self.next_id = recovery.next_id;
        self.epoch = recovery.epoch;
        self.orders = [0; 2];
        self.note_places();
        self.find_done();
    }

    /// Which of the blocks that were written it is: one from before the crash, or an older one.
    fn identify(&mut self, block: &Recovered, before: &mut BTreeMap<u64, Item>) -> Item {
        let loaded = self.store.as_ref().expect("it is open").blocks().load(block.id);
        let fits = |item: &Item| {
            let place = (item.image.epoch, item.image.partition, item.image.order);
            place == (block.epoch, block.partition, block.order)
                && loaded
                    .as_ref()
                    .map_or(true, |image| Self::same(item, image).is_ok())
        };
        if let Some(item) = before.remove(&block.id) {
            if fits(&item) {
                return item;
            }
            assert!(
                !item.is_owed() || self.mode.rot,
                "{loaded:?} is found in place of {item:?}"
            );
            self.gone
                .entry((block.id, item.image.epoch))
                .or_default()
                .push(item);
        }
        let gone = self.gone.entry((block.id, block.epoch)).or_default();
        let at = gone
            .iter()
            .position(fits)
            .unwrap_or_else(|| panic!("nobody wrote {loaded:?}: {gone:?}"));
        let mut item = gone.remove(at);
        // Of those that come back with a rotten checkpoint, not even the place is known any more.
        item.rotten |= self.mode.rot && loaded.is_err();
        assert!(self.mode.rot || !item.done_safe, "block {} comes again", block.id);
        item
    }

    /// Routes were done with some before the crash.
    fn find_done(&mut self) {
        for (id, item) in &mut self.items {
            let records = item.image.records();
            item.done = item.now.iter().all(|set| set.is_all(records));
            if item.done {
                self.pending.done.push(*id);
            }
        }
    }

    fn check_settled(&self, block: &Recovered, item: &mut Item) {
        let records = item.image.records();
        item.now = std::array::from_fn(|_| RecordSet::none());
        for (name, set) in &block.settled {
            let route = ROUTES.iter().position(|route| **route == **name);
            let route = route.unwrap_or_else(|| panic!("no such route: {name}"));
            let settled = item.rotten || within(set, &item.ever[route], records);
            assert!(settled, "{block:?} was not settled: {item:?}");
            item.now[route] = set.clone();
        }
        for (route, name) in ROUTES.iter().enumerate() {
            let kept = within(&item.safe[route], &item.now[route], records);
            assert!(
                kept || self.mode.rot,
                "{name} gets records again: {block:?}, {item:?}"
            );
            if self.mode.rot {
                item.safe[route] = item.now[route].clone();
            }
        }
    }

    fn check_load(&self, item: &mut Item) {
        let store = self.store.as_ref().expect("it is open");
        match store.blocks().load(item.image.id) {
            Ok(image) => Self::same(item, &image).expect("what was written is read"),
            Err(LoadError::Damaged(at)) => {
                // A write that failed may look whole until the power fails; and with the checkpoint rotten,
                // one that was given up comes back.
                let unsure = self.mode.rot || self.mode.faults.writes > 0;
                let expected = item.rotten || (unsure && !item.acked);
                assert!(expected, "{at:?} is damaged: {item:?}");
                item.rotten = true;
            }
            Err(error) => panic!("{error}: {item:?}"),
        }
    }

    /// Without bit rot, only what nobody relied on is damaged.
    fn check_notes(&self, notes: &[Note]) {
        for note in notes {
            let (file, offset, len) = match note {
                Note::Torn { file, offset, len } => (file, *offset, *len),
                Note::Damaged {
                    file, offset, len, ..
                } => (file, *offset, *len),
                Note::Again { .. } => continue,
                other => panic!("{other:?}"),
            };
            let segment = segment_sequence(file).expect("a segment");
            let owed = self.items.values().filter(|item| item.is_owed());
            for item in owed {
                let apart = item.place.is_none_or(|at| {
                    at.segment != segment || at.offset + at.len <= offset || offset + len <= at.offset
                });
                assert!(apart, "{note:?} is about {item:?}");
            }
        }
    }

    /// Looks at a block that is live.
    pub(crate) fn load_one(&mut self) {
        let ids: Vec<u64> = self.live_ids().into_iter().collect();
        if ids.is_empty() {
            return;
        }
        let id = self.rng.pick(&ids);
        let mut item = self.items[&id].clone();
        self.quiet();
        self.check_load(&mut item);
        let store = self.store.as_ref().expect("it is open");
        assert!(item.rotten || store.blocks().table(id).is_ok_and(|table| table.id == id));
        self.loud();
    }

    pub(crate) fn commit_and_check(&mut self) {
        if self.commit() {
            self.check_trimmed();
        }
    }

    /// Without failures, only segments with needed blocks are there, and the last.
    fn check_trimmed(&self) {
        let Some(store) = &self.store else { return };
        if self.mode.faults.writes > 0 || self.mode.full || self.mode.rot || self.disk.is_dead() {
            return;
        }
        let blocks = store.blocks();
        let places = self.items.keys().filter_map(|id| blocks.place(*id));
        let needed: BTreeSet<u64> = places.map(|at| at.segment).collect();
        assert!(
            store.segments() <= needed.len() + 1,
            "{} segments",
            store.segments()
        );
    }

    /// Everything is delivered: the log is empty, and so is its folder when it is closed.
    pub(crate) fn finish(&mut self) {
        self.quiet();
        self.disk.restart();
        let mut bytes = 0;
        for attempt in 0.. {
            self.settle_all();
            let images = self.pending.blocks.iter().map(|id| &self.items[id].image);
            let group: usize = images
                .map(|image| image.bytes() + 100 + 60 * image.entries.len())
                .sum();
            bytes = group + 30 * self.pending.settled.len();
            if self.mode.full && attempt == 2 {
                self.disk.set_capacity(Some(bytes + 4000));
            }
            if self.commit() {
                break;
            }
            assert!(attempt < 4, "commits fail for ever");
        }
        let store = self.store.take().expect("it is open");
        assert_eq!((store.live(), store.segments()), (0, 1), "nothing is needed");
        let limit = self.options.segment_bytes as usize + bytes + 2000;
        assert!(
            store.bytes() <= limit as u64,
            "{} bytes for nothing",
            store.bytes()
        );
        let files = self.disk.files();
        let files: Vec<(String, usize)> = files
            .into_iter()
            .map(|(name, bytes)| (name, bytes.len()))
            .filter(|file| !file.0.ends_with(".bad"))
            .collect();
        let ours: usize = files.iter().map(|file| file.1).sum();
        // A damaged file that could not be put away stays.
        let counted = store.bytes() as usize == ours || self.mode.rot;
        assert!(counted, "bytes are counted: {} are {files:?}", store.bytes());
        if self.rng.chance(1, 2) {
            store.close();
            let files = self.disk.files();
            // Parts of writes that were cut off may have been put aside, and stay.
            let empty = files.iter().all(|file| file.0.ends_with(".bad"));
            assert!(empty || self.mode.rot, "a closed log leaves {files:?}");
            self.epoch_floor = 0;
            self.id_floor = 0;
        }
        if self.rng.chance(1, 2) {
            self.disk.power_loss();
        }
        let recovery = self.open_calmly();
        self.check(&recovery);
        assert!(self.items.is_empty(), "after the end there is {:?}", self.items);
    }
}

fn holds(at: &Location, offset: u64) -> bool {
    (at.offset..at.offset + at.len).contains(&offset)
}
