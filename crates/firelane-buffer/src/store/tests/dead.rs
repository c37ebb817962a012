//! Dead letters.

use super::*;
use crate::disk::Disk;
use crate::store::dead::DeadLetters;
use crate::store::dead::read;
use crate::store::format::Epitaph;
use crate::store::scan::{Piece, scan};
use crate::store::segment_name;

fn epitaph() -> Epitaph {
    Epitaph {
        route: "s3.0".into(),
        reason: "refused".into(),
        cause: "403 Forbidden".into(),
        attempts: 4,
        wall_ms: 1_700_000_000_000,
    }
}

#[test]
fn they_are_read_with_the_reason() {
    let disk = MemoryDisk::default();
    let mut letters = DeadLetters::open(disk.clone(), 1 << 30).unwrap();
    assert_eq!(letters.bury(&epitaph(), &block(1)).unwrap(), 0);
    assert_eq!(letters.bury(&epitaph(), &block(2)).unwrap(), 0);
    assert_eq!(letters.records(), 10);
    assert_eq!(
        letters.bytes() as usize,
        disk.get(&segment_name(1)).unwrap().len()
    );
    let mut found = Vec::new();
    let file = disk.open(&segment_name(1)).unwrap();
    scan(&file, |piece| {
        if let Piece::Frame(frame) = piece {
            found.push(read(&frame.meta).unwrap());
        }
    })
    .unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].0, epitaph());
    assert_eq!((found[1].1.id, found[1].1.records()), (2, 5));
    let again = DeadLetters::open(disk, 1 << 30).unwrap();
    assert_eq!((again.records(), again.bytes()), (10, letters.bytes()));
}

#[test]
fn the_oldest_go_beyond_the_limit() {
    let disk = MemoryDisk::default();
    let mut letters = DeadLetters::open(disk.clone(), 4000).unwrap();
    let (mut buried, mut gone) = (0, 0);
    for number in 0..100 {
        gone += letters.bury(&epitaph(), &block(number)).unwrap();
        buried += 5;
        assert!(letters.bytes() <= 4000, "{} bytes", letters.bytes());
        assert_eq!(letters.records() + gone, buried);
    }
    assert!(
        letters.records() >= 25,
        "most of the limit is used: {}",
        letters.bytes()
    );
    let files: usize = disk
        .list()
        .unwrap()
        .iter()
        .map(|name| disk.get(name).unwrap().len())
        .sum();
    assert_eq!(files as u64, letters.bytes());
}

#[test]
fn one_that_is_larger_than_the_limit_is_kept() {
    let mut letters = DeadLetters::open(MemoryDisk::default(), 10).unwrap();
    assert_eq!(letters.bury(&epitaph(), &block(1)).unwrap(), 0);
    assert_eq!(letters.bury(&epitaph(), &block(2)).unwrap(), 5);
    assert_eq!(letters.records(), 5);
}

#[test]
fn an_error_leaves_what_was_buried_and_no_litter() {
    let disk = MemoryDisk::default();
    let mut letters = DeadLetters::open(disk.clone(), 1 << 30).unwrap();
    letters.bury(&epitaph(), &block(1)).unwrap();
    let before = disk.get(&segment_name(1)).unwrap();
    disk.fail_after(0);
    letters.bury(&epitaph(), &block(2)).unwrap_err();
    assert_eq!(disk.get(&segment_name(1)).unwrap(), before, "the part is cut off");
    // A file is begun, its header or its first letter fails: it goes.
    for appends in [0, 1, 0, 1] {
        disk.fail_after(appends);
        letters.bury(&epitaph(), &block(2)).unwrap_err();
        assert_eq!(disk.list().unwrap(), [segment_name(1)]);
    }
    letters.bury(&epitaph(), &block(2)).unwrap();
    assert_eq!((letters.records(), disk.list().unwrap().len()), (10, 2));
    let again = DeadLetters::open(disk, 1 << 30).unwrap();
    assert_eq!((again.records(), again.bytes()), (10, letters.bytes()));
}

#[test]
fn a_torn_letter_is_not_counted_and_not_written_behind() {
    let disk = MemoryDisk::default();
    let mut letters = DeadLetters::open(disk.clone(), 1 << 30).unwrap();
    letters.bury(&epitaph(), &block(1)).unwrap();
    letters.bury(&epitaph(), &block(2)).unwrap();
    let mut bytes = disk.get(&segment_name(1)).unwrap();
    bytes.truncate(bytes.len() - 200);
    disk.put(&segment_name(1), bytes.clone());
    disk.put("0000000000000007.seg", b"no".to_vec());
    let mut again = DeadLetters::open(disk.clone(), 1 << 30).unwrap();
    assert_eq!(again.records(), 5);
    again.bury(&epitaph(), &block(3)).unwrap();
    assert_eq!(disk.get(&segment_name(1)).unwrap(), bytes);
    assert!(disk.get("0000000000000008.seg").is_some());
}
