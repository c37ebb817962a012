//! Any records under any settings: no limit is crossed, each record arrives once, what failed is sent again.

use firelane_record::{MapWriter, msgpack};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// How a record is made.
#[derive(Debug, Clone)]
struct Spec {
    text: Text,
    has_log: bool,
    key: Option<String>,
    v2: bool,
    is_marker: bool,
}

#[derive(Debug, Clone)]
enum Text {
    Bytes(Vec<u8>),
    Unicode(String),
    /// So many bytes; `noise` does not compress.
    Large {
        size: usize,
        noise: bool,
    },
}

impl Text {
    /// The bytes behind `id=N;`, without newlines, which would end a joined line.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Unicode(text) => text.clone().into_bytes(),
            Self::Large { size, noise: false } => b"abcdefgh".repeat(size / 8),
            Self::Large { size, noise: true } => {
                let mut state = *size as u64;
                let mut draw = || {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    b' ' + (state >> 57) as u8 % 95
                };
                (0..*size).map(|_| draw()).collect()
            }
        };
        bytes
            .iter_mut()
            .filter(|byte| **byte == b'\n')
            .for_each(|byte| *byte = b'n');
        bytes
    }
}

fn specs() -> impl Strategy<Value = Vec<Spec>> {
    let small = prop_oneof![
        vec(any::<u8>(), 0..80).prop_map(Text::Bytes),
        "\\PC{0,40}".prop_map(Text::Unicode),
    ];
    let size = prop_oneof![
        900_000_usize..1_200_000,
        1_023_950_usize..1_024_050,
        1_048_480_usize..1_048_600,
        40_000_usize..60_000,
        2_000_000_usize..3_000_000,
    ];
    let large = (size, any::<bool>()).prop_map(|(size, noise)| Text::Large { size, noise });
    let spec = |text| {
        (
            text,
            prop::bool::weighted(0.9),
            option::of("[a-c]{1,2}|\\PC{0,300}"),
            any::<bool>(),
            prop::bool::weighted(0.05),
        )
    };
    let make = |(text, has_log, key, v2, is_marker)| Spec {
        text,
        has_log,
        key,
        v2,
        is_marker,
    };
    let small = vec(spec(small.boxed()).prop_map(make), 0..30);
    let large = vec(spec(large.boxed()).prop_map(make), 0..4);
    (small, large, 1_usize..40).prop_map(|(small, mut all, times)| {
        // More than a call takes, and what is large somewhere between.
        let many = small.iter().cycle().take(small.len() * times).cloned();
        all.extend(many);
        let half = all.len() / 2;
        all.rotate_left(half);
        all
    })
}

fn all_settings() -> impl Strategy<Value = Settings> {
    let codings = [
        None,
        None,
        Some(Coding::Gzip),
        Some(Coding::Zlib),
        Some(Coding::Zstd),
        Some(Coding::Snappy),
    ];
    (
        any::<bool>(),
        any::<bool>(),
        select(vec![Join::Never, Join::Lines, Join::Kpl]),
        select(codings.to_vec()),
        any::<bool>(),
        any::<bool>(),
        any::<u64>(),
    )
        .prop_map(|(firehose, go, join, coding, log_key, own_keys, seed)| {
            let target = if firehose {
                Target::Firehose
            } else {
                Target::Kinesis
            };
            let dialect = if go { Dialect::Go } else { Dialect::C };
            let base = settings(target, dialect);
            // What `build` refuses cannot be.
            let join = if firehose && join == Join::Kpl {
                Join::Never
            } else {
                join
            };
            let own_keys = own_keys && !firehose && join != Join::Lines;
            Settings {
                newline: base.newline || join == Join::Lines,
                join,
                coding,
                log_key: log_key.then(|| "log".to_owned()),
                partition_key: own_keys.then(|| vec!["k".to_owned()]),
                seed,
                ..base
            }
        })
}

/// Records `{"a": index, "log": "id=index;…", "k": …}`; `only` those of these indexes.
fn chunk_from(specs: &[Spec], only: &RecordSet) -> Chunk {
    let mut buf = RecordsBuf::default();
    for (index, spec) in (0..).zip(specs).filter(|(index, _)| only.contains(*index)) {
        let mut map = MapWriter::new();
        msgpack::write_uint(map.key(b"a"), u64::from(index));
        if spec.has_log {
            let mut log = format!("id={index};").into_bytes();
            log.extend_from_slice(&spec.text.bytes());
            map.str(b"log", &log);
        }
        if let Some(key) = &spec.key {
            map.str(b"k", key.as_bytes());
        }
        let metadata: Option<&[u8]> = spec.v2.then_some(&[0x80]);
        let mut time = time();
        if spec.is_marker {
            time = Timestamp {
                secs: 0xffff_fffe,
                nanos: 0,
            };
        }
        buf.push_with(time, metadata, |out| map.write(out));
    }
    chunk_of(buf)
}

/// The index of the record that a text was made of, whole or cut.
fn index_of(settings: &Settings, text: &[u8]) -> u32 {
    let start: &[u8] = if settings.log_key.is_some() {
        b"id="
    } else {
        b"{\"a\":"
    };
    let rest = text.strip_prefix(start).expect("a record's beginning");
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let index = std::str::from_utf8(&rest[..digits]).unwrap().parse().unwrap();
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    if settings.log_key.is_none() && !body.ends_with(b"[Truncated...]") {
        let value: serde_json::Value = serde_json::from_slice(body).expect("JSON");
        assert_eq!(value["a"], index);
    }
    index
}

/// The indexes of the records in an entry, in order.
fn found(settings: &Settings, entry: &model::Entry) -> Vec<u32> {
    let unpack = |data: &[u8]| model::unpack(settings.coding, data);
    let texts: Vec<Vec<u8>> = match settings.join {
        Join::Never => vec![unpack(&entry.data)],
        Join::Kpl => model::deaggregate(entry)
            .iter()
            .map(|data| unpack(data))
            .collect(),
        Join::Lines => {
            let text = unpack(&entry.data);
            let lines = text.split_inclusive(|&byte| byte == b'\n');
            lines.filter(|line| *line != b"\n").map(<[u8]>::to_vec).collect()
        }
    };
    texts.iter().map(|text| index_of(settings, text)).collect()
}

/// The records that each entry of a call says to hold.
fn units(request: &HttpRequest) -> Vec<Vec<u32>> {
    let list = |set: &RecordSet| {
        let runs = set.runs(0, u32::MAX).filter(|run| run.2);
        runs.flat_map(|(from, to, _)| from..to).collect::<Vec<_>>()
    };
    if request.units.is_empty() {
        list(&request.covers)
            .into_iter()
            .map(|index| vec![index])
            .collect()
    } else {
        request.units.iter().map(list).collect()
    }
}

/// Whether a record may be missing.
fn may_lack(settings: &Settings, spec: &Spec) -> bool {
    let lacks_key = settings.log_key.is_some() && !spec.has_log;
    let refuses = settings.dialect == Dialect::C && settings.coding.is_none();
    spec.is_marker || lacks_key || (refuses && matches!(spec.text, Text::Large { .. }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Guarantees: every call is one that AWS takes; every record is in exactly one entry, which says so;
    /// only what may be missing is missing.
    #[test]
    fn calls_obey_the_api_and_carry_each_record_once(settings in all_settings(), specs in specs()) {
        let output = StreamRecords::new(settings.clone());
        let chunk = chunk_from(&specs, &RecordSet::all());
        let mut seen = vec![0; specs.len()];
        for request in output.encode(&chunk) {
            let entries = model::take(settings.target, &request);
            let units = units(&request);
            prop_assert_eq!(entries.len(), units.len());
            let mut covered = RecordSet::none();
            for (entry, unit) in entries.iter().zip(&units) {
                prop_assert_eq!(&found(&settings, entry), unit);
                unit.iter().for_each(|&index| {
                    seen[index as usize] += 1;
                    covered.insert(index);
                });
            }
            prop_assert_eq!(covered, request.covers);
        }
        for (index, spec) in specs.iter().enumerate() {
            let fits = seen[index] == 1 || (seen[index] == 0 && may_lack(&settings, spec));
            prop_assert!(fits, "record {} came {} times: {:?}", index, seen[index], spec.text.bytes().len());
            prop_assert!(seen[index] == 0 || !spec.is_marker);
        }
    }

    /// Guarantees: a service that takes only a part of what it is sent gets every record once, because only
    /// what it refused is sent again.
    #[test]
    fn only_what_failed_is_sent_again(
        settings in all_settings(),
        specs in vec(any::<u8>(), 1..60),
        dice in vec(0_u8..4, 1..50),
    ) {
        let spec = |byte: &u8| Spec {
            text: Text::Bytes(vec![b'x'; usize::from(*byte) * 20]),
            has_log: true,
            key: Some((byte % 5).to_string()),
            v2: false,
            is_marker: false,
        };
        let specs: Vec<_> = specs.iter().cycle().take(specs.len() * 12).map(spec).collect();
        let total = specs.len() as u32;
        let output = StreamRecords::new(settings.clone());
        let mut dice = dice.iter().cycle();
        let (mut stored, mut left) = (vec![0; specs.len()], RecordSet::range(0, total));
        let mut rounds = 0;
        while !left.is_none() {
            rounds += 1;
            prop_assert!(rounds < 500, "it makes no progress");
            // As the engine does: what is left is a chunk with indexes of its own.
            let chunk = chunk_from(&specs, &left);
            let order = left.runs(0, total).filter(|run| run.2).flat_map(|(from, to, _)| from..to);
            let order: Vec<_> = order.collect();
            for request in output.encode(&chunk) {
                let entries = model::take(settings.target, &request);
                let fails = |round: u8| rounds < 100 && round == 0;
                let codes: Vec<_> = entries
                    .iter()
                    .map(|_| fails(*dice.next().unwrap()).then_some("ServiceUnavailableException"))
                    .collect();
                for (entry, _) in entries.iter().zip(&codes).filter(|(_, code)| code.is_none()) {
                    found(&settings, entry).iter().for_each(|&index| stored[index as usize] += 1);
                }
                let body = model::answer(settings.target, &codes);
                let failed = match judge(&output, &request, 200, &body) {
                    Judgement::Accepted => RecordSet::none(),
                    Judgement::Partial { again, refused, .. } if refused.is_none() => again,
                    Judgement::Unavailable(_) => request.covers.clone(),
                    other => return Err(TestCaseError::fail(format!("{other:?}"))),
                };
                let outside = request.covers.complement(order.len() as u32);
                let done = failed.union(&outside).complement(order.len() as u32);
                let mut rest = left.complement(total);
                for (from, to, _) in done.runs(0, order.len() as u32).filter(|run| run.2) {
                    (from..to).for_each(|at| rest.insert(order[at as usize]));
                }
                left = rest.complement(total);
            }
        }
        prop_assert!(stored.iter().all(|&count| count == 1), "{:?}", stored);
    }
}
