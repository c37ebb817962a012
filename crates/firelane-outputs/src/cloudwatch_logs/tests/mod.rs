//! The output against the model of the service: what is created, and what failures mean.

mod limits;

use std::sync::Arc;

use firelane_core::{Cause, CauseKind, Chunk, DeliverCx, Limits, Outcome, OutputCounts, Part, StopSource};
use firelane_record::accessor::Accessor;
use firelane_record::json::JsonOptions;
use firelane_record::set::RecordSet;
use firelane_record::{MapWriter, RecordsBuf, Tag, Timestamp};

use super::Logs;
use super::api::Operation::{self, CreateLogGroup, CreateLogStream, PutLogEvents, PutRetentionPolicy};
use super::encode;
use super::message::{Dialect, Messages};
use super::model::{Fault, Model, NOW};
use super::names::{Kind, Name, Names, Place};
use super::streams::{Creation, Streams};
use super::task::TaskSource;

/// Text of the key `log`, none for a record without it; and the time in milliseconds.
type Record = (i64, Option<Vec<u8>>);

fn messages(dialect: Dialect, log_key: Option<&str>) -> Messages {
    Messages {
        dialect,
        json: JsonOptions::new(true),
        log_key: log_key.map(Accessor::key),
    }
}

fn logs(model: &Arc<Model>, log_key: Option<&str>, creation: Creation) -> Logs {
    let name = |kind, text| Name::parse(kind, text, false, "default").unwrap();
    Logs {
        limits: Limits::default(),
        names: Names::new(
            name(Kind::Group, "g"),
            name(Kind::Stream, "s"),
            TaskSource::new(None),
        ),
        messages: Arc::new(messages(Dialect::FluentBit, log_key)),
        log_key: log_key.unwrap_or_default().to_owned(),
        streams: Streams::new("cloudwatch_logs.0", creation),
        api: Box::new(model.clone()),
    }
}

fn streams_only() -> Creation {
    Creation {
        streams: true,
        ..Creation::default()
    }
}

fn everything() -> Creation {
    Creation {
        groups: true,
        retention_days: Some(14),
        class: Some("INFREQUENT_ACCESS"),
        tags: vec![
            ("team".to_owned(), "a b".to_owned()),
            ("x".to_owned(), String::new()),
        ],
        ..streams_only()
    }
}

fn chunk(records: &[Record]) -> Chunk {
    let mut buf = RecordsBuf::default();
    for (millis, text) in records {
        let mut map = MapWriter::new();
        if let Some(text) = text {
            map.str(b"log", text);
        }
        let time = Timestamp {
            secs: millis.div_euclid(1000),
            nanos: millis.rem_euclid(1000) as u32 * 1_000_000,
        };
        buf.push_with(time, None, |out| map.write(out));
    }
    Chunk::new(vec![Part {
        tag: Tag::new("t").unwrap(),
        records: buf.take(),
    }])
}

fn lines(texts: &[&str]) -> Vec<Record> {
    let line = |(at, text): (i64, &&str)| (NOW + at, Some(text.as_bytes().to_vec()));
    (0..).zip(texts).map(line).collect()
}

async fn deliver(logs: &Logs, records: &[Record]) -> Outcome {
    let (_source, stop) = StopSource::new();
    let cx = DeliverCx {
        name: "cloudwatch_logs.0".into(),
        attempt: 0,
        stop,
        counts: Arc::new(OutputCounts::default()),
    };
    logs.send(chunk(records), cx).await
}

#[track_caller]
fn retried(outcome: &Outcome) -> Cause {
    match outcome {
        Outcome::Retry {
            done, refused, why, ..
        } if done.is_none() && refused.is_none() => why.clone(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check_calls(model: &Model, want: &[Operation]) {
    assert_eq!(model.state().calls, want);
    assert_eq!(model.state().violations, [""; 0]);
}

fn texts(model: &Model) -> Vec<String> {
    model.events("g", "s").into_iter().map(|event| event.1).collect()
}

#[tokio::test]
async fn a_stream_is_created_once() {
    let model = Arc::new(Model::with("g", None));
    let logs = logs(&model, Some("log"), streams_only());
    assert_eq!(deliver(&logs, &lines(&["a", "b"])).await, Outcome::Delivered);
    assert_eq!(deliver(&logs, &lines(&["c"])).await, Outcome::Delivered);
    check_calls(&model, &[CreateLogStream, PutLogEvents, PutLogEvents]);
    assert_eq!(texts(&model), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_missing_group_is_created_with_all_that_was_said_of_it() {
    let model = Arc::new(Model::default());
    let logs = logs(&model, Some("log"), everything());
    assert_eq!(deliver(&logs, &lines(&["a"])).await, Outcome::Delivered);
    check_calls(
        &model,
        &[
            CreateLogStream,
            CreateLogGroup,
            PutRetentionPolicy,
            CreateLogStream,
            PutLogEvents,
        ],
    );
    let state = model.state();
    let group = &state.groups["g"];
    assert_eq!(
        (group.retention, group.class.as_deref()),
        (Some(14), Some("INFREQUENT_ACCESS"))
    );
    assert_eq!(group.tags, Some(serde_json::json!({"team": "a b", "x": ""})));
}

#[tokio::test]
async fn without_leave_a_missing_group_is_waited_for() {
    let model = Arc::new(Model::default());
    let logs = logs(&model, Some("log"), streams_only());
    let why = retried(&deliver(&logs, &lines(&["a"])).await);
    assert!(
        why.text
            .ends_with("create group `g`, or set `auto_create_group on`"),
        "{}",
        why.text
    );
    check_calls(&model, &[CreateLogStream]);
}

/// Scenario: many chunks of new streams of a group that is not there come at once.
/// Guarantees: one call creates the group, one its retention; each stream is created once it is there.
#[tokio::test]
async fn creation_happens_once_however_many_wait() {
    let model = Arc::new(Model::default());
    let streams = Streams::new("cloudwatch_logs.0", everything());
    let place = |at: usize| Place {
        group: "g".to_owned(),
        stream: format!("s{}", at % 4),
    };
    let places: Vec<_> = (0..32).map(place).collect();
    let all = places.iter().map(|place| streams.ensure(&model, place));
    let mut waiting: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        waiting.retain_mut(|one| match one.as_mut().poll(cx) {
            std::task::Poll::Ready(done) => {
                assert_eq!(done, Ok(()));
                false
            }
            std::task::Poll::Pending => true,
        });
        if waiting.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    let state = model.state();
    let count = |operation| state.calls.iter().filter(|call| **call == operation).count();
    assert_eq!((count(CreateLogGroup), count(PutRetentionPolicy)), (1, 1));
    assert!((5..=8).contains(&count(CreateLogStream)), "{:?}", state.calls);
    assert_eq!(state.groups["g"].streams.len(), 4);
}

#[tokio::test]
async fn a_stream_that_has_gone_is_created_again_at_once() {
    let model = Arc::new(Model::with("g", None));
    let logs = logs(&model, Some("log"), everything());
    assert_eq!(deliver(&logs, &lines(&["a"])).await, Outcome::Delivered);
    model.state().groups.clear();
    model.state().calls.clear();
    assert_eq!(deliver(&logs, &lines(&["b"])).await, Outcome::Delivered);
    check_calls(
        &model,
        &[
            PutLogEvents,
            CreateLogStream,
            CreateLogGroup,
            PutRetentionPolicy,
            CreateLogStream,
            PutLogEvents,
        ],
    );
    assert_eq!(texts(&model), ["b"]);
}

#[tokio::test]
async fn a_role_that_may_only_write_writes() {
    let denied = Fault::Status(400, "AccessDeniedException");
    let model = Model::with("g", Some("s")).fault(CreateLogStream, 0, denied);
    let model = Arc::new(model.fault(CreateLogStream, 1, denied));
    let logs = logs(&model, Some("log"), streams_only());
    assert_eq!(deliver(&logs, &lines(&["a"])).await, Outcome::Delivered);
    check_calls(&model, &[CreateLogStream, PutLogEvents]);
    model.state().groups.get_mut("g").unwrap().streams.clear();
    let why = retried(&deliver(&logs, &lines(&["b"])).await);
    assert_eq!(why.kind, CauseKind::Auth);
    assert!(why.text.contains("AccessDeniedException"), "{}", why.text);
}

#[tokio::test]
async fn a_retention_that_cannot_be_set_does_not_hold_up_logs() {
    let denied = Fault::Status(400, "AccessDeniedException");
    let model = Arc::new(Model::default().fault(PutRetentionPolicy, 0, denied));
    let logs = logs(&model, Some("log"), everything());
    assert_eq!(deliver(&logs, &lines(&["a"])).await, Outcome::Delivered);
    // For a while only: it is tried again.
    let busy = Fault::Status(400, "ThrottlingException");
    let model = Arc::new(Model::default().fault(PutRetentionPolicy, 0, busy));
    let logs = self::logs(&model, Some("log"), everything());
    assert_eq!(
        retried(&deliver(&logs, &lines(&["a"])).await).kind,
        CauseKind::Throttled
    );
    assert_eq!(deliver(&logs, &lines(&["a"])).await, Outcome::Delivered);
    assert_eq!(model.state().groups["g"].retention, Some(14));
}

#[tokio::test]
async fn a_group_that_is_refused_makes_records_wait() {
    let never = Fault::Status(400, "InvalidParameterException");
    let model = Arc::new(Model::default().fault(CreateLogGroup, 0, never));
    let logs = logs(&model, Some("log"), everything());
    assert_eq!(
        retried(&deliver(&logs, &lines(&["a"])).await).kind,
        CauseKind::Unavailable
    );
    assert_eq!(deliver(&logs, &lines(&["a"])).await, Outcome::Delivered);
}

#[tokio::test]
async fn streams_that_are_not_to_be_created_are_not() {
    let model = Arc::new(Model::with("g", Some("s")));
    let logs = logs(&model, Some("log"), Creation::default());
    assert_eq!(deliver(&logs, &lines(&["a"])).await, Outcome::Delivered);
    check_calls(&model, &[PutLogEvents]);
    model.state().groups.get_mut("g").unwrap().streams.clear();
    let why = retried(&deliver(&logs, &lines(&["b"])).await);
    assert!(
        why.text
            .ends_with("`auto_create_stream` is off: create stream `s` of group `g`"),
        "{}",
        why.text
    );
}

#[tokio::test]
async fn failures_have_their_causes() {
    for (fault, kind, ambiguous) in [
        (
            Fault::Status(500, "InternalFailure"),
            CauseKind::Unavailable,
            false,
        ),
        (
            Fault::Status(503, "ServiceUnavailableException"),
            CauseKind::Unavailable,
            false,
        ),
        (
            Fault::Status(400, "ThrottlingException"),
            CauseKind::Throttled,
            false,
        ),
        (
            Fault::Status(400, "OperationAbortedException"),
            CauseKind::Unavailable,
            false,
        ),
        (
            Fault::Status(400, "ExpiredTokenException"),
            CauseKind::Auth,
            false,
        ),
        (
            Fault::Status(403, "AccessDeniedException"),
            CauseKind::Auth,
            false,
        ),
        (
            Fault::Status(400, "ResourceAlreadyExistsException"),
            CauseKind::Protocol,
            true,
        ),
        (Fault::Stranger, CauseKind::Protocol, true),
        (Fault::Lost, CauseKind::Unavailable, true),
        (Fault::Unsent, CauseKind::Connect, false),
    ] {
        let model = Arc::new(Model::with("g", None).fault(PutLogEvents, 0, fault));
        let logs = logs(&model, Some("log"), streams_only());
        let why = retried(&deliver(&logs, &lines(&["a"])).await);
        assert_eq!((why.kind, why.ambiguous), (kind, ambiguous), "{fault:?}");
        assert_eq!(deliver(&logs, &lines(&["a"])).await, Outcome::Delivered);
        check_calls(&model, &[CreateLogStream, PutLogEvents, PutLogEvents]);
    }
}

#[tokio::test]
async fn what_the_service_refuses_is_refused_by_name() {
    let never = Fault::Status(400, "InvalidParameterException");
    let model = Arc::new(Model::with("g", None).fault(PutLogEvents, 0, never));
    let logs = logs(&model, Some("log"), streams_only());
    let Outcome::Discard { records, why } = deliver(&logs, &lines(&["a", "b"])).await else {
        panic!("400 is for good");
    };
    assert!(records.is_all(2));
    assert_eq!(
        why.text,
        "CloudWatch Logs answered 400 InvalidParameterException: scripted (request 00000000-model)"
    );
    // In the days of sequence tokens this said that the events were there already.
    let model = Model::with("g", None).fault(
        PutLogEvents,
        0,
        Fault::Status(400, "DataAlreadyAcceptedException"),
    );
    let logs = self::logs(&Arc::new(model), Some("log"), streams_only());
    assert_eq!(deliver(&logs, &lines(&["a"])).await, Outcome::Delivered);
}

#[tokio::test]
async fn events_of_bad_times_are_refused_and_the_rest_is_there() {
    let model = Arc::new(Model::with("g", None));
    model.state().groups.get_mut("g").unwrap().retention = Some(5);
    let logs = logs(&model, Some("log"), streams_only());
    let hour = 3600 * 1000;
    let record = |hours: i64, text: &str| (NOW + hours * hour, Some(text.as_bytes().to_vec()));
    let records = [
        record(3, "new"),
        record(0, "now"),
        record(-24 * 15, "old"),
        record(-24 * 6, "expired"),
        record(1, "soon"),
    ];
    let Outcome::Discard { records, why } = deliver(&logs, &records).await else {
        panic!("some are refused");
    };
    let want: RecordSet = [0u32, 2, 3].into_iter().collect();
    assert_eq!(records, want);
    assert!(
        why.text
            .starts_with("stream `s` of group `g`: of 1 events the service takes none"),
        "{}",
        why.text
    );
    assert_eq!(texts(&model), ["now", "soon"]);
}

#[tokio::test]
async fn blank_records_are_delivered_and_those_without_the_key_are_not() {
    let model = Arc::new(Model::with("g", None));
    let logs = logs(&model, Some("log"), streams_only());
    let blank = || (NOW, Some(Vec::new()));
    assert_eq!(deliver(&logs, &[blank(), blank()]).await, Outcome::Delivered);
    check_calls(&model, &[]);
    let records = [
        blank(),
        (NOW, None),
        (NOW, Some(b"a".to_vec())),
        (-1, Some(b"b".to_vec())),
    ];
    let Outcome::Discard { records, why } = deliver(&logs, &records).await else {
        panic!("two are refused");
    };
    assert_eq!(records, [1u32, 3].into_iter().collect());
    assert_eq!(why.text, "1 records have no key `log` to send");
    assert_eq!(texts(&model), ["a"]);
}

/// Scenario: a chunk of three requests, the second of which fails; then the rest of it.
/// Guarantees: what was taken is done, and not sent again.
#[tokio::test]
async fn only_the_rest_is_sent_again() {
    let model = Model::with("g", None).fault(PutLogEvents, 1, Fault::Status(503, "ServiceUnavailable"));
    let model = Arc::new(model);
    let logs = logs(&model, Some("log"), streams_only());
    let long = |c: &str| c.repeat(600_000);
    let records = lines(&[&long("a"), &long("b"), "", &long("c")]);
    let Outcome::Retry { done, refused, .. } = deliver(&logs, &records).await else {
        panic!("the second request failed");
    };
    assert_eq!((done, refused.is_none()), ([0u32, 2].into_iter().collect(), true));
    assert_eq!(
        deliver(&logs, &[records[1].clone(), records[3].clone()]).await,
        Outcome::Delivered
    );
    let firsts: String = texts(&model).iter().map(|text| &text[..1]).collect();
    assert_eq!(firsts, "abc");
}

/// Scenario: a record of four parts, whose third part's request fails.
/// Guarantees: it is not done, and its parts join to it when it comes again.
#[tokio::test]
async fn a_record_of_many_parts_is_done_with_the_last() {
    let model = Model::with("g", None).fault(PutLogEvents, 2, Fault::Status(500, "InternalFailure"));
    let model = Arc::new(model);
    let logs = logs(&model, Some("log"), streams_only());
    let long: String = (0..).map(|n: u32| format!("é{n} ")).take(400_000).collect();
    let records = lines(&["first", &long, "last"]);
    let Outcome::Retry { done, .. } = deliver(&logs, &records).await else {
        panic!("the third request failed");
    };
    assert_eq!(done, RecordSet::range(0, 1));
    model
        .state()
        .groups
        .get_mut("g")
        .unwrap()
        .streams
        .get_mut("s")
        .unwrap()
        .clear();
    assert_eq!(deliver(&logs, &records[1..]).await, Outcome::Delivered);
    let texts = texts(&model);
    assert!(texts.len() > 3 && texts.iter().all(|text| text.len() <= encode::MESSAGE_MAX));
    assert_eq!(texts.concat(), format!("{long}last"));
    check_no_violations(&model);
}

#[track_caller]
fn check_no_violations(model: &Model) {
    assert_eq!(model.state().violations, [""; 0]);
}
