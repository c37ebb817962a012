//! The entry of the fuzz target `segment`: a log of any bytes.

use std::collections::BTreeMap;

use firelane_record::set::RecordSet;
use firelane_record::{RecordsBuf, Tag, Timestamp};

use super::format::{self, BlockImage, Entry, Kind};
use super::memory::MemoryDisk;
use super::recover::Recovery;
use super::{Group, LoadError, Settled, Store, StoreOptions, segment_name};

/// Opens a log of one or two segments, reads it, writes to it and opens it again: nothing panics, and nothing
/// that was read or written changes.
///
/// The first byte says what the others are: the bytes of the segments (bit 0), or frames that get true
/// checksums; and whether there are two segments (bit 1).
pub fn fuzz_segment(data: &[u8]) {
    let Some((&form, data)) = data.split_first() else {
        return;
    };
    let disk = MemoryDisk::default();
    let middle = if form & 2 == 0 { data.len() } else { data.len() / 2 };
    let (first, second) = data.split_at(middle);
    for (sequence, part) in [(1, first), (2, second)] {
        let bytes = if form & 1 == 0 {
            sealed(sequence, part)
        } else {
            part.to_vec()
        };
        disk.put(&segment_name(sequence), bytes);
    }
    let (mut store, before) = open(&disk);
    let images = load(&store, &before);
    if before.next_id == u64::MAX {
        return;
    }
    let new = block(before.next_id, before.epoch);
    let done = images.keys().next().copied();
    let settled = images.iter().next_back().map(|(&id, image)| Settled {
        block: id,
        route: "fuzz".into(),
        from: 0,
        to: image.records() / 2,
    });
    let group = Group {
        blocks: std::slice::from_ref(&new),
        settled: settled.as_slice(),
        done: done.as_slice(),
    };
    store.commit(&group).expect("a disk in memory takes it");
    store.compact(4096, |_, _| {}).expect("a disk in memory takes it");
    drop(store);
    let (store, after) = open(&disk);
    let again = load(&store, &after);
    assert_eq!(again.get(&new.id), Some(&new), "what was committed is read");
    assert!(
        done.is_none_or(|id| !again.contains_key(&id)),
        "what is done with is gone"
    );
    for (id, image) in images.iter().filter(|(id, _)| Some(**id) != done) {
        assert_eq!(again.get(id), Some(image), "a block changes");
        let settled = settled.as_ref().filter(|settled| settled.block == *id);
        let (old, now) = (sets(&before, *id), sets(&after, *id));
        let mut expected = old;
        if let Some(settled) = settled.filter(|settled| settled.to > 0) {
            let set = expected.entry("fuzz".into()).or_insert_with(RecordSet::none);
            set.insert_range(settled.from..settled.to);
        }
        assert_eq!(now, expected, "settlements change");
    }
    assert!(after.epoch > before.epoch || before.epoch == u64::MAX);
}

fn open(disk: &MemoryDisk) -> (Store<MemoryDisk>, Recovery) {
    let options = StoreOptions {
        segment_bytes: 512,
        delete_damaged: false,
    };
    let (store, recovery) = Store::open(disk.clone(), options).expect("damage is no error");
    let order = recovery
        .blocks
        .iter()
        .map(|block| (block.epoch, block.partition, block.order));
    assert!(order.is_sorted());
    (store, recovery)
}

/// Every block that can be read.
fn load(store: &Store<MemoryDisk>, recovery: &Recovery) -> BTreeMap<u64, BlockImage> {
    let mut images = BTreeMap::new();
    for block in &recovery.blocks {
        assert!(block.id < recovery.next_id || block.id == u64::MAX);
        match store.blocks().load(block.id) {
            Ok(image) => {
                let table = store.blocks().table(block.id).expect("its table is read too");
                assert_eq!((table.id, table.records()), (block.id, image.records()));
                assert!(images.insert(block.id, image).is_none(), "a block twice");
            }
            Err(LoadError::Damaged(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    images
}

fn sets(recovery: &Recovery, id: u64) -> BTreeMap<String, RecordSet> {
    let of = recovery.blocks.iter().filter(|block| block.id == id);
    of.flat_map(|block| &block.settled)
        .filter(|(_, set)| !set.is_none())
        .map(|(name, set)| (name.to_string(), set.clone()))
        .collect()
}

fn block(id: u64, epoch: u64) -> BlockImage {
    let mut records = RecordsBuf::default();
    records.push(Timestamp::default(), None, &[0x81, 0xa1, b'a', 1]);
    BlockImage {
        id,
        epoch,
        entries: vec![Entry::new(
            1,
            2,
            Tag::new("app").expect("a short tag"),
            records.take(),
        )],
        ..BlockImage::default()
    }
}

/// A segment of frames, each of `kind:u8 meta_len:u16 data_len:u16 meta data`; of kind 0, bytes as they are.
fn sealed(sequence: u64, mut data: &[u8]) -> Vec<u8> {
    let mut out = format::segment_header(sequence).to_vec();
    while let Some((&[kind, m0, m1, d0, d1], rest)) = data.split_first_chunk() {
        let meta_len = usize::from(u16::from_le_bytes([m0, m1])).min(rest.len());
        let (meta, rest) = rest.split_at(meta_len);
        let data_len = usize::from(u16::from_le_bytes([d0, d1])).min(rest.len());
        let (payload, rest) = rest.split_at(data_len);
        match Kind::from_byte(kind) {
            Some(kind) => format::write_frame(&mut out, (sequence, 0), kind, meta, std::iter::once(payload)),
            None => {
                out.extend_from_slice(meta);
                out.extend_from_slice(payload);
            }
        }
        data = rest;
    }
    out
}
