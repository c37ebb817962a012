//! The store against a model: what was appended is read, in memory and on disk, after restarts and merges.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::Store;
use super::block::Batch;
use super::catalog::{DataStream, Tags};
use super::read::{Page, Place, Record, by_number, by_time, search};
use super::segment::Frames;
use super::series::{Room, SeriesId};
use super::writer::MERGE;

const ALL: Page = Page {
    records: usize::MAX,
    bytes: usize::MAX,
};

fn open(root: &Path) -> Store {
    Store::open_with(root, Duration::from_millis(1)).unwrap()
}

/// Two series that outlive the store, as shards of a stream.
fn series(store: &Store) -> Vec<SeriesId> {
    store.look(|state| {
        if let Some(stream) = state.catalog.data_streams.get("s") {
            return stream.shards.clone();
        }
        let shards = vec![state.new_series(), state.new_series()];
        let stream = DataStream {
            created: 0,
            mode: String::new(),
            shards: shards.clone(),
            tags: Tags::new(),
        };
        state.put("", "s", &stream);
        state.catalog.data_streams.insert("s".into(), stream);
        shards
    })
}

fn append(store: &Store, id: SeriesId, records: &[(i64, String)]) -> u64 {
    let mut batch = Batch::with_capacity(0);
    for (time, text) in records {
        batch.push(*time, 1, b"key", |out| out.extend_from_slice(text.as_bytes()));
    }
    let first = store
        .look(|state| state.append(id, batch, Room::default()))
        .unwrap();
    store.appended();
    first
}

/// Waits until everything is on disk.
fn written(store: &Store) {
    let begin = Instant::now();
    while store.look(|state| {
        let in_memory = |series: &super::series::Series| {
            series
                .sources()
                .any(|source| matches!(source, super::series::Source::Memory(_)))
        };
        !state.queue.is_empty() || state.series.values().any(in_memory)
    }) {
        assert!(begin.elapsed() < Duration::from_secs(20), "it is never written");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn read_all(store: &Store, id: SeriesId, backwards: bool, page: Page) -> (Vec<Record>, bool) {
    let sources = store.look(|state| {
        let sources = state.series[&id].sources();
        sources.map(|source| (id, source)).collect::<Vec<_>>()
    });
    let mut frames = Frames::new(store.shared().layout.segments());
    by_time(&mut frames, sources, page, backwards, |_, _| true).unwrap()
}

fn text(record: &Record) -> String {
    String::from_utf8(record.data.clone()).unwrap()
}

/// Scenario: a stream that is written a hundred times, each time for itself. Guarantees: it has few frames,
/// on disk too, and every record with its number.
#[test]
fn small_frames_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = series(&store)[0];
    for n in 0..100 {
        assert_eq!(append(&store, id, &[(n, format!("event {n}"))]), n as u64);
        written(&store);
    }
    let frames = |store: &Store| store.look(|state| state.series[&id].frames.len());
    let begin = Instant::now();
    while frames(&store) > 2 * MERGE {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "{} frames",
            frames(&store)
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    store.close().unwrap();
    drop(store);
    let store = open(folder.path());
    assert!(frames(&store) <= 2 * MERGE, "{} frames", frames(&store));
    let (records, more) = read_all(&store, id, false, ALL);
    assert!(!more);
    let texts: Vec<_> = records.iter().map(text).collect();
    assert_eq!(texts, (0..100).map(|n| format!("event {n}")).collect::<Vec<_>>());
    assert!(records.iter().map(|record| record.place.seq).eq(0..100));
}

/// Guarantees: the room of what waits comes back when it is written, so that no writer waits for ever.
#[tokio::test]
async fn room_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = series(&store)[0];
    for _ in 0..20 {
        let mut batch = Batch::with_capacity(0);
        batch.push(0, 0, b"", |out| out.extend_from_slice(&vec![b'x'; 8 << 20]));
        let room = store.room(batch.bytes.len()).await.unwrap();
        store.look(|state| state.append(id, batch, room)).unwrap();
        store.appended();
    }
    written(&store);
    let begin = Instant::now();
    while store.shared().room.available_permits() < super::WAITING_MAX {
        assert!(begin.elapsed() < Duration::from_secs(20), "room is lost");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What is done to a store.
#[derive(Debug, Clone)]
enum Act {
    Append(usize, Vec<(i64, String)>),
    Write,
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    let records = prop::collection::vec((0i64..50, "[a-c]{0,6}"), 1..8);
    prop_oneof![
        6 => (0usize..2, records).prop_map(|(at, records)| Act::Append(at, records)),
        1 => Just(Act::Write),
        1 => Just(Act::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Guarantees: by number, by time both ways, in pages and searched, the store gives what a list would.
    #[test]
    fn it_reads_like_a_list(
        acts in prop::collection::vec(act(), 1..30), size in 1usize..9, from in 0u64..40,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        let ids = series(&store);
        let mut model: HashMap<SeriesId, Vec<(i64, String)>> = HashMap::new();
        for act in acts {
            match act {
                Act::Append(at, records) => {
                    let known = model.entry(ids[at]).or_default();
                    prop_assert_eq!(append(&store, ids[at], &records), known.len() as u64);
                    known.extend(records);
                }
                Act::Write => written(&store),
                Act::Reopen => {
                    store.close().unwrap();
                    drop(store);
                    store = open(folder.path());
                    prop_assert_eq!(&series(&store), &ids);
                }
            }
        }
        for (id, known) in model {
            compare(&store, id, &known, size, from);
        }
    }
}

/// Compares a series with the list of what was appended to it.
fn compare(store: &Store, id: SeriesId, known: &[(i64, String)], size: usize, from: u64) {
    type Row = (i64, u64, String);
    let numbered = known
        .iter()
        .zip(0..)
        .map(|((time, text), seq)| (*time, seq, text.clone()));
    let by_number_want: Vec<Row> = numbered.skip(from as usize).take(size).collect();
    let numbered = known
        .iter()
        .zip(0..)
        .map(|((time, text), seq)| (*time, seq, text.clone()));
    let mut want: Vec<Row> = numbered.collect();
    want.sort();
    let row = |record: &Record| (record.place.time, record.place.seq, text(record));
    let rows = |records: &[Record]| records.iter().map(row).collect::<Vec<Row>>();
    let page = Page {
        records: size,
        bytes: usize::MAX,
    };
    let (first, more) = read_all(store, id, false, page);
    assert_eq!(rows(&first), &want[..size.min(want.len())]);
    assert!(more || want.len() <= size);
    let (last, _) = read_all(store, id, true, page);
    let newest: Vec<_> = want.iter().rev().take(size).cloned().collect();
    assert_eq!(rows(&last), newest);
    // A page of few bytes is a beginning too, and never empty.
    let few = Page {
        records: usize::MAX,
        bytes: 60,
    };
    let (few, _) = read_all(store, id, false, few);
    assert!(!few.is_empty());
    assert_eq!(rows(&few), &want[..few.len()]);
    let mut frames = Frames::new(store.shared().layout.segments());
    let sources = store.look(|state| state.series[&id].sources_from(from, 100));
    let (records, next) = by_number(&mut frames, id, &sources, from, page).unwrap();
    assert_eq!(rows(&records), by_number_want);
    assert_eq!(next, from + by_number_want.len() as u64);
    let finder = memchr::memmem::Finder::new("ab");
    let sources = store.look(|state| {
        let sources = state.series[&id].sources();
        sources.map(|source| (id, source)).collect::<Vec<_>>()
    });
    let searched = search(
        &mut frames,
        sources,
        ALL,
        (false, Some(&finder)),
        |_: &Place, _| true,
    );
    let (hits, _) = searched.unwrap();
    assert_eq!(
        hits.len(),
        known.iter().filter(|(_, text)| text.contains("ab")).count()
    );
}
