//! Single cases.

use firelane_core::CauseKind;

use super::*;

/// The data of all entries as texts.
fn texts(settings: Settings, records: &[&str]) -> Vec<String> {
    let (target, coding) = (settings.target, settings.coding);
    let output = StreamRecords::new(settings);
    let requests = output.encode(&chunk(records));
    let entries = requests.iter().flat_map(|request| model::take(target, request));
    entries
        .map(|entry| String::from_utf8(model::unpack(coding, &entry.data)).unwrap())
        .collect()
}

#[track_caller]
fn check(settings: Settings, record: &str, want: &str) {
    assert_eq!(texts(settings, &[record]), [want]);
}

const RECORD: &str = r#"{"log":"a \"b\"\té\n","b.c":{"x.y":1,"l":[{"q.r":2}]},"a":3.0,"h":"<&>"}"#;

#[test]
fn the_body_is_what_the_api_wants() {
    let output = StreamRecords::new(settings(Target::Firehose, Dialect::C));
    let requests = output.encode(&chunk(&[r#"{"a":1}"#, r#"{"a":2}"#]));
    let want = r#"{"DeliveryStreamName":"st-1","Records":[{"Data":"eyJhIjoxfQo="},{"Data":"eyJhIjoyfQo="}]}"#;
    assert_eq!(requests.len(), 1);
    assert_eq!(&requests[0].body[..], want.as_bytes());
    assert_eq!(requests[0].covers, RecordSet::range(0, 2));
}

#[test]
fn the_name_decides_about_json_and_newlines() {
    let c = "{\"log\":\"a \\\"b\\\"\\t\\u00e9\\n\",\"b.c\":{\"x.y\":1,\"l\":[{\"q.r\":2}]},\"a\":3.0,\"h\":\"<&>\"}\n";
    let go = "{\"a\":3,\"b.c\":{\"l\":[{\"q.r\":2}],\"x.y\":1},\"h\":\"\\u003c\\u0026\\u003e\",\"log\":\"a \\\"b\\\"\\té\\n\"}";
    for target in [Target::Firehose, Target::Kinesis] {
        check(settings(target, Dialect::C), RECORD, c);
    }
    check(
        settings(Target::Firehose, Dialect::Go),
        RECORD,
        &format!("{go}\n"),
    );
    check(settings(Target::Kinesis, Dialect::Go), RECORD, go);
}

#[test]
fn log_key_is_one_value() {
    let with = |dialect, key: &str| Settings {
        log_key: Some(key.to_owned()),
        ..settings(Target::Firehose, dialect)
    };
    check(with(Dialect::C, "log"), RECORD, "a \\\"b\\\"\\t\\u00e9\\n\n");
    check(with(Dialect::Go, "log"), RECORD, "a \"b\"\té\n\n");
    check(with(Dialect::C, "a"), RECORD, "3.0\n");
    check(with(Dialect::Go, "a"), RECORD, "3\n");
    check(
        with(Dialect::Go, "b.c"),
        RECORD,
        "{\"l\":[{\"q.r\":2}],\"x.y\":1}\n",
    );
    // Of a repeated key the last one; a key that only begins like it is another.
    check(
        with(Dialect::C, "log"),
        r#"{"lo":1,"log":2,"log":3,"logs":4}"#,
        "3\n",
    );
    assert_eq!(texts(with(Dialect::C, "log"), &[r#"{"lo":1}"#]), [""; 0]);
}

#[test]
fn records_are_shaped() {
    let base = || settings(Target::Kinesis, Dialect::Go);
    let dots = Settings {
        replace_dots: Some("_".to_owned()),
        ..base()
    };
    check(
        dots,
        r#"{"a.b":{"c.d.e":[{".f":"g.h"}]},"n":1.5}"#,
        r#"{"a_b":{"c_d_e":[{"_f":"g.h"}]},"n":1.5}"#,
    );
    let keys = |time| Settings {
        data_keys: Some(vec!["b".to_owned(), "c".to_owned()]),
        time,
        ..base()
    };
    check(
        keys(None),
        r#"{"a":1,"c":2,"b":{"a":3}}"#,
        r#"{"b":{"a":3},"c":2}"#,
    );
    let time = |pattern, fractions| {
        Some(TimeField {
            key: "t".to_owned(),
            format: TimeFormat::new(pattern, fractions),
        })
    };
    check(
        keys(time("%T.%L %f", Fractions::Go)),
        r#"{"a":1,"b":2}"#,
        r#"{"b":2,"t":"06:07:08.123 123456"}"#,
    );
    let c = Settings {
        time: time("%FT%T.%3N", Fractions::FluentBit),
        ..settings(Target::Firehose, Dialect::C)
    };
    // The time is the last key, in place of the record's own.
    check(
        c,
        r#"{"t":"own","a":1}"#,
        "{\"a\":1,\"t\":\"2024-03-05T06:07:08.123\"}\n",
    );
    let dotted = Settings {
        replace_dots: Some("-".to_owned()),
        log_key: Some("a-b".to_owned()),
        ..settings(Target::Firehose, Dialect::Go)
    };
    check(dotted, r#"{"a.b":"x.y"}"#, "x.y\n");
}

#[test]
fn joined_lines_end_as_in_fluent_bit() {
    let joined = |target, dialect| Settings {
        join: Join::Lines,
        newline: true,
        ..settings(target, dialect)
    };
    let records = [r#"{"a":1}"#, r#"{"a":2}"#];
    for (target, dialect, want) in [
        (Target::Firehose, Dialect::C, "{\"a\":1}\n{\"a\":2}\n\n"),
        (Target::Firehose, Dialect::Go, "{\"a\":1}\n{\"a\":2}\n"),
        (Target::Kinesis, Dialect::C, "{\"a\":1}\n{\"a\":2}\n"),
    ] {
        assert_eq!(texts(joined(target, dialect), &records), [want]);
    }
}

/// A record `{"log":"xxx…"}` whose JSON has `size` bytes.
fn sized(size: usize) -> String {
    let frame = r#"{"log":""}"#.len();
    format!(r#"{{"log":"{}"}}"#, "x".repeat(size - frame))
}

#[test]
fn an_entry_may_be_as_large_as_aws_says() {
    for (target, max) in [(Target::Firehose, 1_024_000), (Target::Kinesis, (1 << 20) - 8)] {
        let (fits, over) = (sized(max - 1), sized(max));
        let c = texts(settings(target, Dialect::C), &[&fits, &over]);
        assert_eq!(c, [format!("{fits}\n")], "the newline counts");
        let go = Settings {
            newline: true,
            ..settings(target, Dialect::Go)
        };
        let go = texts(go, &[&fits, &over]);
        assert_eq!(go[0].len(), max);
        assert_eq!(go[1], format!("{}[Truncated...]\n", &over[..max - 15]));
    }
}

#[test]
fn a_cut_is_between_characters() {
    let log_key = || Settings {
        log_key: Some("log".to_owned()),
        ..settings(Target::Firehose, Dialect::Go)
    };
    for pad in 0..4 {
        let text = format!("{}{}", "x".repeat(pad), "😀".repeat(300_000));
        let cut = &texts(log_key(), &[&format!(r#"{{"log":"{text}"}}"#)])[0];
        let kept = cut.strip_suffix("[Truncated...]\n").unwrap();
        assert!(
            text.starts_with(kept) && cut.len() > 1_024_000 - 4,
            "{}",
            cut.len()
        );
    }
}

/// Guarantees: what was left out is named, with the reason that it has; markers are no records.
#[test]
fn what_no_call_carries_has_a_reason() {
    let with = Settings {
        log_key: Some("log".to_owned()),
        ..settings(Target::Kinesis, Dialect::C)
    };
    let output = StreamRecords::new(with);
    let mut buf = RecordsBuf::default();
    let mut push = |secs, record: &str| {
        let mut body = Vec::new();
        to_msgpack(record.as_bytes(), &mut body).unwrap();
        buf.push(Timestamp { secs, nanos: 0 }, Some(&[0x80]), &body);
    };
    push(0xffff_ffff, r#"{"group":1}"#);
    push(1, r#"{"log":"good"}"#);
    push(2, r#"{"other":1}"#);
    push(3, &sized(2_000_000));
    push(0xffff_fffe, "{}");
    let chunk = chunk_of(buf);
    let requests = output.encode(&chunk);
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].covers, RecordSet::range(1, 2));
    let uncovered = output.uncovered(&chunk, &requests[0].covers.complement(5));
    assert_eq!(uncovered.done, RecordSet::from_iter([0, 4]));
    let want = "1 records are over the 1048576 bytes that Kinesis takes; \
                1 records have no `log`, which is the `log_key`";
    assert_eq!(uncovered.why.as_deref(), Some(want));
}

#[test]
fn partition_keys_that_json_must_escape_arrive() {
    let with = Settings {
        partition_key: Some(vec!["k".to_owned()]),
        ..settings(Target::Kinesis, Dialect::Go)
    };
    let output = StreamRecords::new(with);
    let requests = output.encode(&chunk(&[r#"{"k":"a\"\\\u0001é"}"#]));
    assert_eq!(model::take(Target::Kinesis, &requests[0])[0].key, "a\"\\\u{1}é");
}

#[test]
fn order_within_a_key_survives_aggregation() {
    let with = Settings {
        partition_key: Some(vec!["k".to_owned()]),
        join: Join::Kpl,
        ..settings(Target::Kinesis, Dialect::Go)
    };
    let records: Vec<_> = (0..900)
        .map(|n| {
            format!(
                r#"{{"k":"{}","n":{n},"pad":"{}"}}"#,
                n % 3,
                "x".repeat(n * 7 % 400)
            )
        })
        .chain([format!(r#"{{"k":"0","n":900,"pad":"{}"}}"#, "y".repeat(80_000))])
        .chain([r#"{"k":"0","n":901}"#.to_owned()])
        .collect();
    let records: Vec<_> = records.iter().map(String::as_str).collect();
    let requests = StreamRecords::new(with).encode(&chunk(&records));
    let mut last = std::collections::HashMap::new();
    let mut count = 0;
    for entry in requests
        .iter()
        .flat_map(|request| model::take(Target::Kinesis, request))
    {
        for data in model::deaggregate(&entry) {
            let record: serde_json::Value = serde_json::from_slice(&data).unwrap();
            assert_eq!(record["k"], entry.key.as_str());
            let n = record["n"].as_u64().unwrap();
            assert!(last.insert(entry.key.clone(), n).is_none_or(|last| last < n));
            count += 1;
        }
    }
    assert_eq!(count, 902);
}

fn three(join: Join) -> (StreamRecords, HttpRequest) {
    let with = Settings {
        join,
        ..settings(Target::Kinesis, Dialect::C)
    };
    let output = StreamRecords::new(with);
    let mut requests = output.encode(&chunk(&[r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#]));
    (output, requests.remove(0))
}

#[track_caller]
fn check_answer(status: u16, body: &[u8], want: impl Fn(&Judgement) -> bool) {
    let (output, request) = three(Join::Never);
    let got = judge(&output, &request, status, body);
    assert!(want(&got), "{got:?}");
}

#[test]
fn answers_have_their_meaning() {
    let slow = Some("ProvisionedThroughputExceededException");
    let broken = Some("InternalFailure");
    let answer = |entries: &[Option<&str>]| model::answer(Target::Kinesis, entries);
    check_answer(200, &answer(&[None; 3]), |got| *got == Judgement::Accepted);
    check_answer(200, &answer(&[None, slow, broken]), |got| {
        let Judgement::Partial { again, refused, why } = got else {
            return false;
        };
        let text = "Kinesis took 1 of 3 entries: ProvisionedThroughputExceededException: said the model";
        refused.is_none()
            && *again == RecordSet::range(1, 3)
            && why.kind == CauseKind::Throttled
            && why.text == text
    });
    check_answer(
        200,
        &answer(&[broken, None, None]),
        |got| matches!(got, Judgement::Partial { why, .. } if why.kind == CauseKind::Unavailable),
    );
    check_answer(200, &answer(&[slow; 3]), |got| {
        matches!(got, Judgement::Throttled { .. })
    });
    check_answer(200, &answer(&[broken; 3]), |got| {
        matches!(got, Judgement::Unavailable(_))
    });
    // Anything that cannot be the service's own answer: sent again, perhaps twice.
    let another = answer(&[None, slow]);
    for body in [
        b"<html>Log in</html>",
        &b""[..],
        b"{}",
        br#"{"FailedRecordCount":1}"#,
        &another,
    ] {
        check_answer(
            200,
            body,
            |got| matches!(got, Judgement::Unavailable(why) if why.ambiguous),
        );
    }
    let error = |code: &str| format!(r#"{{"__type":"{code}","message":"no"}}"#).into_bytes();
    check_answer(400, &error("ProvisionedThroughputExceededException"), |got| {
        matches!(got, Judgement::Throttled { .. })
    });
    for mendable in [
        "ResourceNotFoundException",
        "AccessDeniedException",
        "KMSDisabledException",
    ] {
        check_answer(400, &error(mendable), |got| {
            matches!(got, Judgement::Unavailable(_))
        });
    }
    check_answer(400, &error("ValidationException"), |got| {
        matches!(got, Judgement::Refused(_))
    });
    check_answer(500, b"", |got| matches!(got, Judgement::Unavailable(_)));
}

/// Guarantees: an entry of several records fails with all of them.
#[test]
fn units_fail_as_a_whole() {
    let (output, request) = three(Join::Kpl);
    assert_eq!(request.units, [RecordSet::range(0, 3)]);
    let with = Settings {
        partition_key: Some(vec!["k".to_owned()]),
        join: Join::Kpl,
        ..settings(Target::Kinesis, Dialect::C)
    };
    let records = ["{\"k\":1}", "{\"k\":2}", "{\"k\":1}", "{\"k\":3}"];
    let requests = StreamRecords::new(with).encode(&chunk(&records));
    let body = model::answer(Target::Kinesis, &[Some("InternalFailure"), None, None]);
    let Judgement::Partial { again, .. } = judge(&output, &requests[0], 200, &body) else {
        panic!("one of three entries failed");
    };
    assert_eq!(again, RecordSet::from_iter([0, 2]));
}

#[test]
fn a_hostile_answer_is_no_more_than_an_answer() {
    let deep = "[".repeat(100_000).into_bytes();
    let many = format!(
        r#"{{"FailedRecordCount":1,"Records":[{}{{}}]}}"#,
        "{},".repeat(100_000)
    );
    for body in [&deep[..], many.as_bytes(), b"\xff\xfe", b"}}}}"] {
        check_answer(
            200,
            body,
            |got| matches!(got, Judgement::Unavailable(why) if why.ambiguous),
        );
    }
}
