//! A draft against a plain list of pairs: after any edits both hold the same fields.

use proptest::prelude::*;

use super::*;
use crate::Records;

type Model = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Debug, Clone)]
enum Edit {
    Push(String, Vec<u8>),
    PushPairs(Vec<(String, Vec<u8>)>),
    Set(String, Vec<u8>),
    Remove(String),
    RemovePrefix(String),
    RetainPrefix(String),
    Rename(String, String),
    InsertAfter(usize, String, Vec<u8>),
    CopyAfter(usize, String),
    ToStart(String),
    ToEnd(String),
    ReplaceAll(Vec<(String, Vec<u8>)>),
    Prepend(Vec<(String, Vec<u8>)>),
    Index,
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]{0,2}", Just("k".repeat(40))]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(vec![0xc0]),
        Just(vec![0x92, 1, 0x81, 0xa1, b'x', 2]),
        any::<u64>().prop_map(|n| {
            let mut out = Vec::new();
            msgpack::write_uint(&mut out, n);
            out
        }),
        "[a-z]{0,40}".prop_map(|text| raw_str(text.as_bytes())),
    ]
}

fn pairs() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    prop::collection::vec((key(), value()), 0..4)
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (key(), value()).prop_map(|(k, v)| Edit::Push(k, v)),
        pairs().prop_map(Edit::PushPairs),
        (key(), value()).prop_map(|(k, v)| Edit::Set(k, v)),
        key().prop_map(Edit::Remove),
        key().prop_map(Edit::RemovePrefix),
        key().prop_map(Edit::RetainPrefix),
        (key(), key()).prop_map(|(a, b)| Edit::Rename(a, b)),
        (0usize..6, key(), value()).prop_map(|(i, k, v)| Edit::InsertAfter(i, k, v)),
        (0usize..6, key()).prop_map(|(i, k)| Edit::CopyAfter(i, k)),
        key().prop_map(Edit::ToStart),
        key().prop_map(Edit::ToEnd),
        pairs().prop_map(Edit::ReplaceAll),
        pairs().prop_map(Edit::Prepend),
        Just(Edit::Index),
    ]
}

fn raw_str(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    msgpack::write_str(&mut out, text);
    out
}

fn map_of(pairs: &[(String, Vec<u8>)]) -> MapWriter {
    let mut map = MapWriter::new();
    for (key, value) in pairs {
        map.raw(key.as_bytes(), value);
    }
    map
}

fn owned(pairs: &[(String, Vec<u8>)]) -> Model {
    pairs
        .iter()
        .map(|(k, v)| (raw_str(k.as_bytes()), v.clone()))
        .collect()
}

fn starts(raw: &[u8], prefix: &str) -> bool {
    msgpack::text(raw).unwrap().starts_with(prefix.as_bytes())
}

fn partition(model: &mut Model, prefix: &str) -> Model {
    let (chosen, rest) = std::mem::take(model)
        .into_iter()
        .partition(|(k, _)| starts(k, prefix));
    *model = rest;
    chosen
}

/// Runs one edit on both.
fn apply(draft: &mut Draft<'_>, model: &mut Model, edit: &Edit) {
    match edit {
        Edit::Push(k, v) => {
            draft.push(k.as_bytes(), v);
            model.push((raw_str(k.as_bytes()), v.clone()));
        }
        Edit::PushPairs(list) => {
            let map = map_of(list);
            draft.push_pairs(map.pairs(), map.count());
            model.extend(owned(list));
        }
        Edit::Set(k, v) => {
            draft.set(k.as_bytes(), v);
            model.retain(|(key, _)| *key != raw_str(k.as_bytes()));
            model.push((raw_str(k.as_bytes()), v.clone()));
        }
        Edit::Remove(k) => {
            draft.remove(k.as_bytes());
            model.retain(|(key, _)| *key != raw_str(k.as_bytes()));
        }
        Edit::RemovePrefix(p) => {
            draft.remove_where(|key| key.starts_with(p.as_bytes()));
            model.retain(|(key, _)| !starts(key, p));
        }
        Edit::RetainPrefix(p) => {
            draft.retain_where(|key| key.starts_with(p.as_bytes()));
            model.retain(|(key, _)| starts(key, p));
        }
        Edit::Rename(a, b) => {
            draft.rename(a.as_bytes(), b.as_bytes());
            for (key, _) in model.iter_mut().filter(|(key, _)| *key == raw_str(a.as_bytes())) {
                *key = raw_str(b.as_bytes());
            }
        }
        Edit::InsertAfter(i, k, v) => {
            draft.insert_after(*i, k.as_bytes(), v);
            model.insert((i + 1).min(model.len()), (raw_str(k.as_bytes()), v.clone()));
        }
        Edit::CopyAfter(i, k) => {
            draft.copy_after(*i, k.as_bytes());
            if let Some((_, v)) = model.get(*i).cloned() {
                model.insert(i + 1, (raw_str(k.as_bytes()), v));
            }
        }
        Edit::ToStart(p) => {
            draft.move_to_start_where(|key| key.starts_with(p.as_bytes()));
            let chosen = partition(model, p);
            model.splice(0..0, chosen);
        }
        Edit::ToEnd(p) => {
            draft.move_to_end_where(|key| key.starts_with(p.as_bytes()));
            let chosen = partition(model, p);
            model.extend(chosen);
        }
        Edit::ReplaceAll(list) => {
            draft.replace_all(&map_of(list));
            *model = owned(list);
        }
        Edit::Prepend(list) => {
            draft.prepend(&map_of(list));
            model.splice(0..0, owned(list));
        }
        Edit::Index => draft.index(),
    }
}

fn one_event(body: &[u8]) -> Records {
    let mut buf = RecordsBuf::default();
    buf.push(Timestamp { secs: 5, nanos: 6 }, None, body);
    buf.take()
}

proptest! {
    #[test]
    fn any_edits_agree_with_a_list(
        start in pairs(),
        edits in prop::collection::vec(edit(), 0..6),
    ) {
        let mut body = Vec::new();
        map_of(&start).write(&mut body);
        let records = one_event(&body);
        let event = records.events().next().unwrap();
        let mut scratch = Scratch::new();
        let mut draft = Draft::new(&event, &mut scratch);
        let mut model = owned(&start);
        for edit in &edits {
            apply(&mut draft, &mut model, edit);
            let fields: Model = draft.fields().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(&fields, &model);
            prop_assert_eq!(draft.len(), model.len());
            for probe in ["", "a", "ab"] {
                let last = model.iter().rfind(|(k, _)| *k == raw_str(probe.as_bytes()));
                prop_assert_eq!(draft.get(probe.as_bytes()), last.map(|(_, v)| &v[..]));
            }
        }
        let mut out = RecordsBuf::default();
        draft.write(&mut out);
        let written = Records::parse(out.take().bytes().clone()).unwrap();
        let event = written.events().next().unwrap();
        let got: Model = msgpack::pairs(event.body).map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
        prop_assert_eq!(got, model);
    }
}

#[test]
fn an_untouched_record_is_written_as_it_came() {
    // An integer time and a long head, which a rewrite would change.
    let raw = [0xdc, 0, 2, 0x07, 0xde, 0, 1, 0xa1, b'a', 1];
    let records = Records::parse(raw.to_vec().into()).unwrap();
    let event = records.events().next().unwrap();
    let mut scratch = Scratch::new();
    let mut draft = Draft::new(&event, &mut scratch);
    assert_eq!(draft.remove(b"b"), 0);
    assert_eq!(draft.remove_where(|key| key == b"c"), 0);
    draft.move_to_end_where(|key| key == b"c");
    assert!(draft.is_untouched());
    let mut out = RecordsBuf::default();
    draft.write(&mut out);
    assert_eq!(&out.take().bytes()[..], raw);
}

#[test]
fn metadata_and_time_are_edited() {
    let records = one_event(&[0x80]);
    let event = records.events().next().unwrap();
    let mut scratch = Scratch::new();
    let mut draft = Draft::new(&event, &mut scratch);
    assert_eq!(draft.metadata(), None);
    draft.add_metadata(b"a", &[1]);
    draft.add_metadata(b"b", &[2]);
    draft.set_time(Timestamp { secs: 9, nanos: 0 });
    let mut out = RecordsBuf::default();
    draft.write(&mut out);
    let records = out.take();
    let event = records.events().next().unwrap();
    assert_eq!(event.time.secs, 9);
    assert_eq!(event.metadata, Some(&[0x82, 0xa1, b'a', 1, 0xa1, b'b', 2][..]));
    assert_eq!(event.body, [0x80]);
}

#[test]
fn the_scratch_forgets_the_last_record() {
    let records = one_event(&[0x81, 0xa1, b'a', 1]);
    let event = records.events().next().unwrap();
    let mut scratch = Scratch::new();
    let mut draft = Draft::new(&event, &mut scratch);
    draft.push_str(b"x", b"y");
    draft.rename(b"a", b"b");
    let draft = Draft::new(&event, &mut scratch);
    assert!(draft.is_untouched());
    assert_eq!(draft.get(b"a"), Some(&[1][..]));
    assert_eq!(draft.len(), 1);
}
