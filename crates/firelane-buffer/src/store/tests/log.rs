//! Commits, checkpoints and compaction, where no disk fails.

use std::sync::Arc;

use firelane_record::set::RecordSet;

use super::*;
use crate::disk::{Disk, DiskFile, RealDisk};
use crate::store::format::{self, Kind};
use crate::store::segments::write_checkpoint;
use crate::store::{Group, LoadError, Progress, Settled, route_number, segment_name};

fn settled(block: u64, route: &str, from: u32, to: u32) -> Settled {
    let route = Arc::from(route);
    Settled {
        block,
        route,
        from,
        to,
    }
}

fn write(store: &mut Store<MemoryDisk>, id: u64) {
    let group = Group {
        blocks: &[block(id)],
        ..Group::default()
    };
    store.commit(&group).unwrap();
}

#[test]
fn settlements_of_a_block_in_the_same_group() {
    let disk = MemoryDisk::default();
    let (mut store, recovery) = open(&disk, 1 << 20);
    assert_eq!((recovery.epoch, recovery.next_id), (1, 1));
    let blocks = [block(1), block(2)];
    let group = Group {
        blocks: &blocks,
        settled: &[
            settled(1, "a", 0, 2),
            settled(1, "a", 2, 3),
            settled(1, "b", 4, 5),
            settled(9, "a", 0, 1),
        ],
        done: &[2, 9],
    };
    store.commit(&group).unwrap();
    assert_eq!(store.live(), 1);
    assert!(matches!(store.blocks().load(2), Err(LoadError::Gone)));
    let (_, recovery) = open(&disk, 1 << 20);
    assert_eq!(ids(&recovery), [1]);
    let sets = [
        ("a".into(), RecordSet::range(0, 3)),
        ("b".into(), RecordSet::range(4, 5)),
    ];
    assert_eq!(recovery.blocks[0].settled, sets);
    assert_eq!((recovery.epoch, recovery.next_id), (2, 3));
    assert!(recovery.notes.is_empty());
}

#[test]
fn a_real_folder() {
    let root = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(root.path()).unwrap();
    let options = StoreOptions {
        segment_bytes: 500,
        delete_damaged: false,
    };
    let (mut store, _) = Store::open(disk.clone(), options).unwrap();
    for id in 1..=9 {
        let group = Group {
            blocks: &[block(id)],
            settled: &[settled(id, "a", 0, 1)],
            done: if id % 3 == 0 { &[] } else { &[1, 2, 4, 5, 7, 8] },
        };
        store.commit(&group).unwrap();
    }
    while store.compact(1 << 20, |_, _| {}).unwrap() {}
    let sizes = disk
        .list()
        .unwrap()
        .into_iter()
        .map(|name| disk.open(&name).unwrap().len().unwrap());
    assert_eq!(store.bytes(), sizes.sum());
    drop(store);
    let (mut store, recovery) = Store::open(disk.clone(), options).unwrap();
    assert_eq!((ids(&recovery), recovery.notes.len()), (vec![3, 6, 9], 0));
    for id in [3, 6, 9] {
        assert_eq!(store.blocks().load(id).unwrap(), block(id));
    }
    let group = Group {
        done: &[3, 6, 9],
        ..Group::default()
    };
    store.commit(&group).unwrap();
    store.close();
    assert!(disk.list().unwrap().is_empty());
}

#[test]
fn numbers_go_on_when_no_block_is_left() {
    let disk = MemoryDisk::default();
    let (mut store, _) = open(&disk, 1);
    for id in 1..20 {
        write(&mut store, id);
        let group = Group {
            done: &[id],
            ..Group::default()
        };
        store.commit(&group).unwrap();
    }
    assert_eq!(store.segments(), 1);
    let (mut store, recovery) = open(&disk, 1);
    assert_eq!(
        (recovery.epoch, recovery.next_id, recovery.blocks.len()),
        (2, 20, 0)
    );
    store.commit(&Group::default()).unwrap();
    let (store, recovery) = open(&disk, 1);
    assert_eq!((recovery.epoch, recovery.next_id), (3, 20));
    store.close();
    assert!(disk.list().unwrap().is_empty());
}

#[test]
fn a_checkpoint_in_parts_counts_when_it_is_whole() {
    let disk = MemoryDisk::default();
    let (mut store, _) = open(&disk, 1 << 20);
    (1..=7).for_each(|id| write(&mut store, id));
    let group = Group {
        settled: &[settled(3, "a", 1, 2), settled(7, "a", 0, 5)],
        done: &[2, 5],
        ..Group::default()
    };
    store.commit(&group).unwrap();
    let (_, whole) = open(&disk, 1 << 20);
    // The settlements get lost, the checkpoint behind tells all of them.
    store.live.remove(&6);
    let mut segment = format::segment_header(2).to_vec();
    let mut meta = Vec::new();
    format::write_routes(&mut meta, 0, &store.routes);
    format::write_frame(&mut segment, (2, 0), Kind::Routes, &meta, std::iter::empty());
    let begin = segment.len();
    write_checkpoint(&mut segment, 2, (4, 99), &store.live, 2);
    let parts = segment.windows(4).filter(|four| *four == format::MARK).count() - 1;
    assert_eq!(parts, 2);
    disk.put(&segment_name(2), segment.clone());
    let (_, recovery) = open(&disk, 1 << 20);
    assert_eq!(ids(&recovery), [1, 3, 4, 7]);
    let without = |id: &u64| whole.blocks.iter().find(|block| block.id == *id).unwrap().clone();
    assert_eq!(
        recovery.blocks,
        [1, 3, 4, 7].iter().map(without).collect::<Vec<_>>()
    );
    assert_eq!((recovery.epoch, recovery.next_id), (5, 99));
    // Without its last part it says nothing: 6 is still there.
    segment.truncate(begin + (segment.len() - begin) / 2 + 10);
    disk.put(&segment_name(2), segment);
    let (_, recovery) = open(&disk, 1 << 20);
    assert_eq!(ids(&recovery), [1, 3, 4, 6, 7]);
}

#[test]
fn compaction_moves_what_is_needed_and_passes_over_what_is_damaged() {
    let disk = MemoryDisk::default();
    let (mut store, _) = open(&disk, 1200);
    (1..=12).for_each(|id| write(&mut store, id));
    // In each of the first two segments one block is left, that of the first is damaged.
    let of = |store: &Store<MemoryDisk>, id| store.blocks().place(id).unwrap();
    let first: Vec<u64> = (1..=12).filter(|id| of(&store, *id).segment == 1).collect();
    let second: Vec<u64> = (1..=12).filter(|id| of(&store, *id).segment == 2).collect();
    let group = Group {
        done: &[&first[1..], &second[1..]].concat(),
        settled: &[settled(second[0], "a", 0, 2)],
        ..Group::default()
    };
    store.commit(&group).unwrap();
    let at = of(&store, first[0]);
    let mut bytes = disk.get(&segment_name(1)).unwrap();
    bytes[at.offset as usize + 60] ^= 1;
    disk.put(&segment_name(1), bytes);
    let before = store.bytes();
    let hollow = |image: &mut BlockImage, _: Progress<'_>| image.entries[0].hollow();
    assert!(store.compact(1 << 20, hollow).unwrap());
    assert!(!store.compact(1 << 20, |_, _| {}).unwrap());
    assert!(of(&store, second[0]).segment > 2);
    assert!(store.bytes() < before);
    let mut moved = block(second[0]);
    moved.entries[0].hollow();
    assert_eq!(store.blocks().load(second[0]).unwrap(), moved);
    let (_, recovery) = open(&disk, 1200);
    let found = recovery
        .blocks
        .iter()
        .find(|block| block.id == second[0])
        .unwrap();
    assert_eq!(found.settled, [("a".into(), RecordSet::range(0, 2))]);
}

#[test]
fn routes_beyond_the_last_number_get_none() {
    let mut routes: Vec<Arc<str>> = vec!["a".into(); usize::from(format::ROUTES_MAX) - 1];
    assert_eq!(
        route_number(&mut routes, &"b".into()),
        Some(format::ROUTES_MAX - 1)
    );
    assert_eq!(route_number(&mut routes, &"c".into()), None);
    assert_eq!(
        route_number(&mut routes, &"b".into()),
        Some(format::ROUTES_MAX - 1)
    );
}

#[test]
fn a_full_disk_gets_room_when_all_is_done() {
    let disk = MemoryDisk::default();
    let (mut store, _) = open(&disk, 1 << 20);
    (1..=3).for_each(|id| write(&mut store, id));
    let bytes = disk.get(&segment_name(1)).unwrap();
    let group = Group {
        blocks: &[block(4)],
        done: &[1, 2],
        ..Group::default()
    };
    disk.fail_after(0);
    store.commit(&group).unwrap_err();
    assert_eq!(disk.get(&segment_name(1)).unwrap(), bytes, "the part is cut off");
    disk.fail_after(0);
    let last = Group {
        done: &[1, 2, 3],
        ..group
    };
    store.commit(&last).unwrap_err();
    assert!(
        disk.list().unwrap().is_empty(),
        "nothing is needed: {:?}",
        disk.list()
    );
    store.commit(&last).unwrap();
    assert_eq!((store.live(), store.segments()), (1, 1));
    let (_, recovery) = open(&disk, 1 << 20);
    assert_eq!((ids(&recovery), recovery.next_id), (vec![4], 5));
}
