//! Segments that are torn, damaged or put together.

use proptest::prelude::*;

use super::*;
use crate::disk::Disk;
use crate::store::format::{FRAME_HEADER, Kind, MARK, SEGMENT_HEADER, segment_header, write_frame};
use crate::store::recover::Note;
use crate::store::scan::{Piece, ScanError, scan};
use crate::store::{Group, LoadError, Settled, segment_name};

/// A segment of four frames, and where each begins, with the end.
fn segment() -> (Vec<u8>, Vec<usize>) {
    let mut out = segment_header(1).to_vec();
    let mut at = vec![out.len()];
    for number in 0..4 {
        let image = block(number);
        let mut meta = Vec::new();
        image.write_meta(&mut meta);
        write_frame(&mut out, (1, 0), Kind::Block, &meta, image.data());
        at.push(out.len());
    }
    (out, at)
}

/// Offsets of whole frames, and the rest as `(offset, length, torn)`.
type Pieces = (Vec<usize>, Vec<(usize, usize, bool)>);

fn pieces(bytes: &[u8]) -> Pieces {
    let disk = MemoryDisk::default();
    disk.put("a", bytes.to_vec());
    let (mut frames, mut rest) = (Vec::new(), Vec::new());
    let result = scan(&disk.open("a").unwrap(), |piece| match piece {
        Piece::Frame(found) => frames.push(found.offset as usize),
        Piece::Damaged { offset, len } => rest.push((offset as usize, len as usize, false)),
        Piece::Torn { offset, len } => rest.push((offset as usize, len as usize, true)),
    });
    assert_eq!(result.unwrap(), 1);
    (frames, rest)
}

proptest! {
    #[test]
    fn a_cut_spares_what_stands_before(cut in any::<prop::sample::Index>()) {
        let (bytes, at) = segment();
        let cut = SEGMENT_HEADER + cut.index(bytes.len() - SEGMENT_HEADER + 1);
        let (frames, rest) = pieces(&bytes[..cut]);
        let whole = at[1..].iter().filter(|end| **end <= cut).count();
        prop_assert_eq!(&frames[..], &at[..whole]);
        let torn = (cut > at[whole]).then(|| (at[whole], cut - at[whole], true));
        prop_assert_eq!(rest, torn.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_flipped_bit_spares_other_frames(offset in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (mut bytes, at) = segment();
        let offset = SEGMENT_HEADER + offset.index(bytes.len() - SEGMENT_HEADER);
        bytes[offset] ^= 1 << bit;
        let hit = at[1..].iter().filter(|end| **end <= offset).count();
        let (frames, rest) = pieces(&bytes);
        let others: Vec<usize> = (0..4).filter(|number| *number != hit).map(|number| at[number]).collect();
        if rest.is_empty() {
            // In the records: whoever reads them finds out.
            prop_assert_eq!(&frames[..], &at[..4]);
        } else {
            prop_assert_eq!(frames, others);
            prop_assert_eq!(rest, [(at[hit], at[hit + 1] - at[hit], hit == 3)]);
        }
    }

    #[test]
    fn bytes_put_in_between_count_for_nothing(
        noise in prop::collection::vec(any::<u8>(), 1..100),
        frame in 0usize..4,
    ) {
        let (bytes, at) = segment();
        // What stands behind is not where it was written.
        let spliced = [&bytes[..at[frame]], &noise, &bytes[at[frame]..]].concat();
        let (frames, rest) = pieces(&spliced);
        prop_assert_eq!(&frames[..], &at[..frame]);
        prop_assert_eq!(rest, [(at[frame], spliced.len() - at[frame], true)]);
    }
}

#[test]
fn a_frame_behind_much_noise_is_found() {
    let mut out = segment_header(1).to_vec();
    out.resize(200_000, 0xee);
    // One across two windows.
    let at = SEGMENT_HEADER + 1 + 64 * 1024 - 2;
    out[at..at + 4].copy_from_slice(&MARK);
    write_frame(&mut out, (1, 0), Kind::Settled, b"meta", std::iter::empty());
    let expected = (
        vec![200_000],
        vec![(SEGMENT_HEADER, 200_000 - SEGMENT_HEADER, false)],
    );
    assert_eq!(pieces(&out), expected);
}

#[test]
fn records_that_look_like_frames_cost_little() {
    // Each tells of megabytes that would have to be read to see that they are none.
    let mut out = segment_header(1).to_vec();
    let mut head = [0; FRAME_HEADER];
    head[..4].copy_from_slice(&MARK);
    head[4] = 1;
    head[8..12].copy_from_slice(&2_000_000u32.to_le_bytes());
    (0..100_000).for_each(|_| out.extend_from_slice(&head));
    let (frames, rest) = pieces(&out);
    assert_eq!((frames.len(), rest.len()), (0, 1));
}

#[test]
fn a_header_that_is_none() {
    let disk = MemoryDisk::default();
    for bytes in [&b""[..], b"FIRELANE", &[7; 40]] {
        disk.put("a", bytes.to_vec());
        let result = scan(&disk.open("a").unwrap(), |_| {});
        assert!(matches!(result, Err(ScanError::Header(_))));
    }
}

/// A log of three blocks in one segment.
fn log() -> (MemoryDisk, Vec<u8>) {
    let disk = MemoryDisk::default();
    let (mut store, _) = open(&disk, 1 << 20);
    let blocks = [block(1), block(2), block(3)];
    let group = Group {
        blocks: &blocks,
        ..Group::default()
    };
    store.commit(&group).unwrap();
    let bytes = disk.get(&segment_name(1)).unwrap();
    (disk, bytes)
}

#[test]
fn a_damaged_header_costs_no_block() {
    let (disk, mut bytes) = log();
    bytes[3] ^= 1;
    disk.put(&segment_name(1), bytes);
    let (store, recovery) = open(&disk, 1 << 20);
    assert_eq!(ids(&recovery), [1, 2, 3]);
    assert_eq!(store.blocks().load(2).unwrap(), block(2));
    let [
        Note::Damaged {
            offset: 0,
            len: 32,
            kept: Some(kept),
            ..
        },
    ] = &recovery.notes[..]
    else {
        panic!("{:?}", recovery.notes);
    };
    assert_eq!(disk.get(kept).unwrap().len(), 32);
}

#[test]
fn damaged_records_are_told_when_they_are_read_or_at_the_start() {
    let (disk, mut bytes) = log();
    let (store, _) = open(&disk, 1 << 20);
    let at = store.blocks().place(2).unwrap();
    bytes[(at.offset + at.len) as usize - 1] ^= 1;
    disk.put(&segment_name(1), bytes);
    assert!(matches!(store.blocks().load(2), Err(LoadError::Damaged(place)) if place == at));
    assert_eq!(store.blocks().table(2).unwrap().records(), 5);
    let (_, recovery) = open(&disk, 1 << 20);
    assert_eq!(ids(&recovery), [1, 3]);
    let kept = Some(format!("0000000000000001-{:x}.bad", at.offset));
    let file = segment_name(1);
    let (offset, len) = (at.offset, at.len);
    assert_eq!(
        recovery.notes,
        [Note::Damaged {
            file,
            offset,
            len,
            kept
        }]
    );
}

#[test]
fn a_file_that_is_no_segment_is_put_aside_and_a_newer_one_is_left() {
    let (disk, _) = log();
    disk.put(&segment_name(2), b"nonsense".to_vec());
    disk.put(&segment_name(3), segment_header(1).to_vec());
    let mut newer = segment_header(4);
    newer[8] = 9;
    let crc = crc32c::crc32c(&newer[..24]);
    newer[24..28].copy_from_slice(&crc.to_le_bytes());
    disk.put(&segment_name(4), newer.to_vec());
    disk.put("notes.txt", b"mine".to_vec());
    disk.put("0000000000000005.new", b"half".to_vec());
    let (_, recovery) = open(&disk, 1 << 20);
    assert_eq!((ids(&recovery).len(), recovery.notes.len()), (3, 3));
    let names = disk.list().unwrap();
    let expected = [
        "0000000000000001.seg",
        "0000000000000002.bad",
        "0000000000000003.bad",
        "0000000000000004.seg",
        "notes.txt",
    ];
    assert_eq!(names, expected);
}

/// A log with block 1 in its first segment, and in the second a checkpoint and that block again.
fn moved(epoch: u64) -> MemoryDisk {
    let disk = MemoryDisk::default();
    let (mut store, _) = open(&disk, 1);
    let settled = [Settled {
        block: 1,
        route: "a".into(),
        from: 0,
        to: 5,
    }];
    let group = Group {
        blocks: &[block(1)],
        settled: &settled,
        ..Group::default()
    };
    store.commit(&group).unwrap();
    let first = disk.get(&segment_name(1)).unwrap();
    let again = BlockImage { epoch, ..block(1) };
    let group = Group {
        blocks: &[again],
        ..Group::default()
    };
    store.commit(&group).unwrap();
    // The removal was not durable.
    disk.put(&segment_name(1), first);
    disk
}

#[test]
fn of_two_copies_the_older_counts_while_it_is_whole() {
    let disk = moved(1);
    let (store, recovery) = open(&disk, 1 << 20);
    assert_eq!((ids(&recovery), recovery.notes.len()), (vec![1], 0));
    let at = store.blocks().place(1).unwrap();
    assert_eq!(at.segment, 1);
    let mut bytes = disk.get(&segment_name(1)).unwrap();
    bytes[(at.offset + at.len) as usize - 1] ^= 1;
    disk.put(&segment_name(1), bytes);
    let (store, _) = open(&disk, 1 << 20);
    assert_eq!(store.blocks().place(1).unwrap().segment, 2);
    assert_eq!(store.blocks().load(1).unwrap(), block(1));
}

#[test]
fn another_block_with_the_same_number_inherits_nothing() {
    // As after a log was emptied and its old files came back.
    let (store, recovery) = open(&moved(7), 1 << 20);
    assert_eq!((ids(&recovery), recovery.blocks[0].epoch), (vec![1], 7));
    assert!(recovery.blocks[0].settled.is_empty());
    assert_eq!(store.blocks().place(1).unwrap().segment, 2);
}
