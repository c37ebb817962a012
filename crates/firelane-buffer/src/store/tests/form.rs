//! What is written is read.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::store::format::*;
use crate::store::{segment_name, segment_sequence};

fn runs() -> impl Strategy<Value = Vec<Entry>> {
    let one = (any::<u64>(), any::<u64>(), "[a-c.]{0,4}", 1u32..5, 0u8..4);
    let entry = one.prop_map(|(stream, wall_ms, tag, count, form)| {
        let records = (form > 0).then(|| run(count, &"x".repeat(form.into())));
        let tag = Tag::new(tag).unwrap();
        Entry {
            stream,
            wall_ms,
            tag,
            count,
            len: records.as_ref().map_or(0, |records| records.len() as u32),
            records,
        }
    });
    prop::collection::vec(entry, 0..6)
}

fn images() -> impl Strategy<Value = BlockImage> {
    let head = (any::<u64>(), any::<u64>(), any::<u16>(), any::<u64>());
    let only = prop::option::of("[a-zé]{1,9}");
    (head, only, runs()).prop_map(|((id, epoch, partition, order), only, entries)| BlockImage {
        id,
        epoch,
        partition,
        order,
        only: only.map(Into::into),
        entries,
    })
}

fn ranges() -> impl Strategy<Value = Vec<SettledRange>> {
    let route = prop::option::of(0..ROUTES_MAX);
    let one = (any::<u64>(), route, any::<u32>(), any::<u32>());
    let one = one.prop_map(|(block, route, from, to)| SettledRange {
        block,
        route,
        from,
        to,
    });
    prop::collection::vec(one, 0..9)
}

proptest! {
    #[test]
    fn blocks(image in images(), cut in any::<prop::sample::Index>()) {
        let mut meta = Vec::new();
        image.write_meta(&mut meta);
        let data: Bytes = image.data().flatten().copied().collect::<Vec<u8>>().into();
        prop_assert_eq!(data.len(), image.bytes());
        prop_assert_eq!(&BlockImage::read(&meta, Some(&data)).unwrap(), &image);
        let mut table = image.clone();
        table.entries.iter_mut().for_each(|entry| entry.records = None);
        prop_assert_eq!(&BlockImage::read(&meta, None).unwrap(), &table);
        prop_assert!(BlockImage::read(&meta[..cut.index(meta.len())], None).is_err());
        if !data.is_empty() {
            let short = data.slice(..cut.index(data.len()));
            prop_assert!(BlockImage::read(&meta, Some(&short)).is_err());
        }
    }

    #[test]
    fn settlements_and_checkpoints(
        settled in ranges(),
        needed in prop::collection::vec(any::<u64>(), 0..9),
        last in any::<bool>(),
        (epoch, next_id) in any::<(u64, u64)>(),
    ) {
        let mut meta = Vec::new();
        write_settled(&mut meta, &settled);
        prop_assert_eq!(read_settled(&meta), Some(settled.clone()));
        prop_assert_eq!(read_settled(&meta[1..]), None);
        let checkpoint = Checkpoint { last, epoch, next_id, needed, settled };
        meta.clear();
        checkpoint.write_meta(&mut meta);
        prop_assert_eq!(Checkpoint::read(&meta), Some(checkpoint));
        prop_assert_eq!(Checkpoint::read(&meta[..meta.len() - 1]), None);
    }

    #[test]
    fn routes(first in any::<u16>(), names in prop::collection::vec("[a-zé]{0,9}", 0..9)) {
        let mut meta = Vec::new();
        write_routes(&mut meta, first, &names);
        let names: Vec<Box<str>> = names.into_iter().map(Into::into).collect();
        prop_assert_eq!(read_routes(&meta), Some((first, names)));
        meta.push(0);
        prop_assert_eq!(read_routes(&meta), None);
    }

    #[test]
    fn epitaphs(texts in any::<[String; 3]>(), attempts in any::<u32>(), wall_ms in any::<u64>()) {
        let [route, reason, cause] = texts.map(Into::into);
        let epitaph = Epitaph { route, reason, cause, attempts, wall_ms };
        let mut meta = Vec::new();
        epitaph.write_meta(&mut meta);
        meta.extend_from_slice(b"rest");
        prop_assert_eq!(Epitaph::read(&meta), Some((epitaph, &b"rest"[..])));
    }

    #[test]
    fn frames_count_only_where_they_were_written(
        meta in prop::collection::vec(any::<u8>(), 0..40),
        data in prop::collection::vec(any::<u8>(), 0..40),
        base in 0u64..1000,
        flip in any::<prop::sample::Index>(),
    ) {
        let mut out = b"before".to_vec();
        write_frame(&mut out, (9, base), Kind::Settled, &meta, data.chunks(7));
        let (frame, at) = (&out[6..], base + 6);
        let head = read_head((9, at), frame).unwrap();
        prop_assert_eq!(head.frame_len() as usize, frame.len());
        prop_assert_eq!((head.kind, head.meta as usize), (Kind::Settled, meta.len()));
        prop_assert_eq!(head.data_crc, crc32c::crc32c(&data));
        prop_assert_eq!(head.meta_crc, crc32c::crc32c(&meta));
        prop_assert_eq!(read_head((8, at), frame), None);
        prop_assert_eq!(read_head((9, at + 1), frame), None);
        let mut damaged = frame[..FRAME_HEADER].to_vec();
        damaged[flip.index(FRAME_HEADER)] ^= 4;
        prop_assert_eq!(read_head((9, at), &damaged), None);
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let data = Bytes::from(bytes.clone());
        let _ = BlockImage::read(&bytes, Some(&data));
        let _ = (read_settled(&bytes), Checkpoint::read(&bytes), read_routes(&bytes), Epitaph::read(&bytes));
        let _ = (read_head((1, 32), &bytes), read_segment_header(&bytes));
    }
}

#[test]
fn a_long_cause_is_cut_at_a_character() {
    let epitaph = Epitaph {
        route: "route".into(),
        reason: "refused".into(),
        cause: "é".repeat(5000).into(),
        attempts: 1,
        wall_ms: 2,
    };
    let mut meta = Vec::new();
    epitaph.write_meta(&mut meta);
    let (read, _) = Epitaph::read(&meta).unwrap();
    assert_eq!(read.cause.len(), 4096);
    assert!(epitaph.cause.starts_with(&*read.cause));
}

#[test]
fn a_table_with_too_many_records_is_refused() {
    let mut image = block(1);
    image.entries = vec![entry("a", run(1, "")), entry("a", run(1, ""))];
    image.entries[0].count = u32::MAX;
    let mut meta = Vec::new();
    image.write_meta(&mut meta);
    assert!(BlockImage::read(&meta, None).is_err());
}

#[test]
fn segment_headers() {
    let header = segment_header(77);
    assert_eq!(read_segment_header(&header), Ok(77));
    assert_eq!(read_segment_header(&header[..31]), Err(HeaderError::NotASegment));
    let mut other = header;
    other[8] = 2;
    assert_eq!(read_segment_header(&other), Err(HeaderError::NotASegment));
    let crc = crc32c::crc32c(&other[..24]);
    other[24..28].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(read_segment_header(&other), Err(HeaderError::Version(2)));
}

#[test]
fn only_names_that_are_written_are_segments() {
    for sequence in [0, 1, 0xabcdef, u64::MAX / 2] {
        assert_eq!(segment_sequence(&segment_name(sequence)), Some(sequence));
    }
    for name in [
        "1.seg",
        "000000000000000A.seg",
        "+00000000000000a.seg",
        "000000000000000a.bad",
        "000000000000000a.seg.seg",
        "00000000000000000a.seg",
        "ffffffffffffffff.seg",
        "000000000000000g.seg",
        "",
    ] {
        assert_eq!(segment_sequence(name), None, "{name}");
    }
}
