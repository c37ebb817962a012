//! Limits, order, and what is sent again, for arbitrary records and failures.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::model::is_left_out;
use super::*;

/// Events of each request that records become, by both ways of writing them: as the value of a key, or as
/// the whole record, whose JSON has ten bytes more.
fn check(records: &[Record], want: &[usize]) {
    let place = Place {
        group: "g".to_owned(),
        stream: "s".to_owned(),
    };
    let sizes = |log_key, records: &[Record]| {
        let plan = encode::plan(&messages(Dialect::FluentBit, log_key), &place, &chunk(records));
        let events = |put: &encode::Put| {
            let body: serde_json::Value = serde_json::from_slice(&put.body.bytes).unwrap();
            let events = body["logEvents"].as_array().unwrap().len();
            assert_eq!(events, put.records.len());
            events
        };
        plan.puts.iter().map(events).collect::<Vec<_>>()
    };
    assert_eq!(sizes(Some("log"), records), want);
    let mut shorter = records.to_vec();
    for (_, text) in &mut shorter {
        let text = text.as_mut().unwrap();
        text.truncate(text.len().saturating_sub(r#"{"log":""}"#.len()));
    }
    assert_eq!(sizes(None, &shorter), want);
}

fn sized(sizes: &[usize]) -> Vec<Record> {
    let text = |size: &usize| (NOW, Some(vec![b'x'; *size]));
    sizes.iter().map(text).collect()
}

#[test]
fn requests_are_full_to_the_byte() {
    check(&sized(&[600_000, 448_524]), &[2]);
    check(&sized(&[600_000, 448_525]), &[1, 1]);
    check(&sized(&[524_236, 524_262, 1_000_000]), &[2, 1]);
    check(&sized(&[1_000_000, 1_000_000]), &[1, 1]);
    // An event over the limit has its rest in an event of its own.
    check(&sized(&[1_000_001]), &[2]);
    check(&sized(&[1_048_524]), &[2]);
    check(&sized(&[1_048_525]), &[1, 1]);
    check(&sized(&[20; 10_001]), &[10_000, 1]);
}

#[test]
fn escapes_do_not_count() {
    let line = (NOW, Some(vec![b'"'; 1_022]));
    let place = Place {
        group: "g".to_owned(),
        stream: "s".to_owned(),
    };
    let plan = |count| {
        let records = vec![line.clone(); count];
        encode::plan(
            &messages(Dialect::FluentBit, Some("log")),
            &place,
            &chunk(&records),
        )
    };
    let sizes: Vec<_> = plan(1_001).puts.iter().map(|put| put.records.len()).collect();
    assert_eq!(sizes, [1_000, 1], "1,000 × 1,048 bytes fit, 1,001 do not");
}

#[test]
fn a_request_spans_less_than_a_day() {
    let day = 24 * 3600 * 1000;
    let at = |times: &[i64]| -> Vec<Record> {
        times
            .iter()
            .map(|time| (NOW + time, Some(vec![b'x'; 40])))
            .collect()
    };
    check(&at(&[0, day - 1]), &[2]);
    check(&at(&[0, day]), &[1, 1]);
    check(&at(&[day, 1, 0, day - 1]), &[3, 1]);
    check(&at(&[2 * day, day, 0, day + 5]), &[1, 2, 1]);
}

fn millis() -> impl Strategy<Value = i64> {
    let hour = 3600 * 1000;
    prop_oneof![
        8 => (-50i64..50).prop_map(|by| NOW + by),
        3 => (-30i64..30).prop_map(move |by| NOW + by * hour),
        2 => (-20i64..3).prop_map(move |by| NOW + by * 24 * hour + by),
        1 => Just(0),
        1 => Just(-1),
        1 => Just(i64::MAX / 1000),
    ]
}

fn text() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        6 => ".{0,40}".prop_map(|text| Some(text.into_bytes())),
        3 => vec(any::<u8>(), 0..60).prop_map(Some),
        1 => ("[é\\\\\"\u{1f600}a\n]{5}", 1usize..1_000)
            .prop_map(|(text, times)| Some(text.repeat(times).into_bytes())),
        1 => Just(Some(Vec::new())),
        1 => Just(None),
    ]
}

/// The message of a record, by other means than the output's.
fn message(text: &[u8], with_key: bool) -> String {
    let mut raw = Vec::new();
    firelane_record::msgpack::write_str(&mut raw, text);
    let mut json = Vec::new();
    JsonOptions::new(true).encode_value(&raw, &mut json);
    let json = String::from_utf8(json).unwrap();
    if with_key {
        serde_json::from_str(&json).unwrap()
    } else {
        format!("{{\"log\":{json}}}")
    }
}

/// What the stream must hold of some records: time and message, in order.
fn expected(records: &[Record], with_key: bool) -> Vec<(i64, String)> {
    let mut want: Vec<_> = records
        .iter()
        .filter(|(time, _)| *time >= 0 && !is_left_out(*time, None))
        .filter_map(|(time, text)| Some((*time, message(text.as_ref()?, with_key))))
        .filter(|(_, message)| !message.is_empty())
        .collect();
    want.sort_by_key(|(time, _)| *time);
    want
}

/// Joins the parts of records again.
#[track_caller]
fn check_events(events: Vec<(i64, String)>, want: &[(i64, String)]) {
    let mut events = events.into_iter();
    for (time, message) in want {
        let mut joined = String::new();
        while joined.len() < message.len() {
            let (at, part) = events.next().expect("there are more events");
            assert_eq!(at, *time);
            assert!(joined.is_empty() || part.len() == message.len() - joined.len() || part.len() > 900_000);
            joined.push_str(&part);
        }
        assert!(joined == *message, "{:.80} is not {:.80}", joined, message);
    }
    assert_eq!(events.next(), None);
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Scenario: any records: sizes, empty and huge ones, bytes that are no text, times of all kinds.
    /// Guarantees: no limit of the service is broken; each record is one event, or several that join to it,
    /// in the order of the times; what is not there was refused by name.
    #[test]
    fn every_record_is_one_event_and_no_limit_is_broken(
        mut records in vec((millis(), text()), 0..40),
        huge in prop::option::weighted(0.4, (millis(), "[é\\\\\"\u{1f600}a\n]{5}", 20_000usize..90_000)),
        with_key in any::<bool>(),
    ) {
        records.extend(huge.map(|(time, text, times)| (time, Some(text.repeat(times).into_bytes()))));
        let model = Arc::new(Model::with("g", Some("s")));
        let logs = logs(&model, with_key.then_some("log"), streams_only());
        let outcome = run(deliver(&logs, &records));
        prop_assert_eq!(&model.state().violations, &[""; 0]);
        check_events(model.events("g", "s"), &expected(&records, with_key));
        let is_blank = |text: &Option<Vec<u8>>| {
            if with_key { text.as_ref().is_some_and(Vec::is_empty) } else { text.is_none() }
        };
        let bad = |(time, text): &Record| {
            *time < 0 || (with_key && text.is_none()) || (!is_blank(text) && is_left_out(*time, None))
        };
        let bad_ones = (0u32..).zip(&records).filter(|(_, record)| bad(record));
        let refused: RecordSet = bad_ones.map(|(at, _)| at).collect();
        match outcome {
            Outcome::Delivered => prop_assert!(refused.is_none()),
            Outcome::Discard { records, .. } => prop_assert_eq!(records, refused),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// Scenario: calls fail in all ways; what an outcome leaves comes again, as the engine does.
    /// Guarantees: in the end each record is there, once unless an answer was lost, in order.
    #[test]
    fn failures_lose_nothing_and_repeat_only_what_was_lost(
        sizes in vec(prop_oneof![4 => 1usize..200, 1 => 200_000usize..700_000], 1..12),
        faults in vec((0usize..6, 0usize..5, 0usize..5), 0..6),
    ) {
        let kinds = [
            Fault::Status(500, "InternalFailure"),
            Fault::Status(400, "ThrottlingException"),
            Fault::Lost,
            Fault::Unsent,
            Fault::Stranger,
        ];
        let puts = [PutLogEvents; 3];
        let operations = [&puts[..], &[CreateLogStream, CreateLogGroup, PutRetentionPolicy]].concat();
        let mut model = Model::default();
        for (operation, nth, kind) in &faults {
            model = model.fault(operations[*operation], *nth, kinds[*kind]);
        }
        let model = Arc::new(model);
        let logs = logs(&model, Some("log"), everything());
        let text = |(at, size): (usize, &usize)| format!("{at}:{}", "x".repeat(*size));
        let texts: Vec<String> = sizes.iter().enumerate().map(text).collect();
        let mut left = lines(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let mut ambiguous = 0;
        for _ in 0..40 {
            match run(deliver(&logs, &left)) {
                Outcome::Delivered => {
                    left.clear();
                    break;
                }
                Outcome::Retry { done, refused, why, .. } => {
                    prop_assert!(refused.is_none());
                    ambiguous += usize::from(why.ambiguous);
                    let mut at = 0;
                    left.retain(|_| {
                        at += 1;
                        !done.contains(at - 1)
                    });
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert!(left.is_empty());
        prop_assert_eq!(&model.state().violations, &[""; 0]);
        let mut there = super::texts(&model);
        let repeated = there.len() - texts.len();
        prop_assert!(ambiguous > 0 || repeated == 0);
        // Whatever came twice came in order both times.
        let mut seen = std::collections::HashSet::new();
        there.retain(|text| seen.insert(text.clone()));
        prop_assert_eq!(there, texts);
    }
}
