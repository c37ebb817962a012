//! The outputs against fake destinations on loopback and real files.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy exempts only the tests themselves"
)]

mod cloudwatch;
mod file;
mod forward;
mod http;
mod kinesis;
mod peers;
mod s3;
mod secrets;
mod tcp;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use firelane_conf::{Diagnostic, Section, SectionKind, Span};
use firelane_core::plugin::Warnings;
use firelane_core::{BuildCx, Chunk, DeliverCx, Outcome, Output, OutputCounts, Part, Service, StopSource};
use firelane_outputs::OUTPUTS;
use firelane_parse::Parsers;
use firelane_record::{MapWriter, RecordsBuf, Tag, Timestamp, msgpack};

/// An output and its warnings, or what is wrong.
type Built = Result<(Arc<dyn Output>, Vec<Diagnostic>), Vec<Diagnostic>>;

/// Builds an output as the engine does: the properties `tls*` and `net.*` split off where the plugin takes
/// them.
fn try_build(name: &str, properties: &[(&str, &str)], workers: Option<usize>) -> Built {
    let plugin = OUTPUTS.iter().find(|plugin| plugin.answers_to(name)).unwrap();
    let mut section = Section::new(SectionKind::Output, Span::default());
    for (key, value) in properties {
        section.push(key, value, Span::default());
    }
    let mut own = section.clone();
    let is_network = |key: &str| key == "tls" || key.starts_with("tls.") || key.starts_with("net.");
    let network = own.take_where(|key| plugin.network && is_network(key));
    let warnings = Warnings::default();
    let cx = BuildCx {
        instance: &format!("{name}.0"),
        section: &section,
        network: &network,
        workers,
        parsers: &Arc::new(Parsers::default()),
        service: &Service::default(),
        warnings: &warnings,
    };
    let output = plugin.build(&own, &cx)?;
    Ok((output, warnings.take()))
}

#[track_caller]
fn build(name: &str, properties: &[(&str, &str)]) -> Arc<dyn Output> {
    match try_build(name, properties, None) {
        Ok((output, _)) => output,
        Err(errors) => panic!("{errors:?}"),
    }
}

/// The first error of a configuration that must not build.
#[track_caller]
fn refusal(name: &str, properties: &[(&str, &str)]) -> String {
    match try_build(name, properties, None) {
        Ok(_) => panic!("{name} {properties:?} was built"),
        Err(errors) => errors[0].message.clone(),
    }
}

fn tag(text: &str) -> Tag {
    Tag::new(text).unwrap()
}

/// Records `{"n": index, "log": text}` from 1700000000.000000001 on.
fn part(name: &str, texts: &[&str]) -> Part {
    let mut buf = RecordsBuf::default();
    for (index, text) in texts.iter().enumerate() {
        let mut map = MapWriter::new();
        msgpack::write_uint(map.key(b"n"), index as u64);
        map.str(b"log", text.as_bytes());
        let time = Timestamp {
            secs: 1_700_000_000,
            nanos: index as u32 + 1,
        };
        buf.push_with(time, None, |out| map.write(out));
    }
    Part {
        tag: tag(name),
        records: buf.take(),
    }
}

fn chunk(name: &str, texts: &[&str]) -> Chunk {
    Chunk::new(vec![part(name, texts)])
}

async fn deliver(output: &Arc<dyn Output>, chunk: Chunk) -> Outcome {
    let (_source, stop) = StopSource::new();
    let cx = DeliverCx {
        name: "test.0".into(),
        attempt: 0,
        stop,
        counts: Arc::new(OutputCounts::default()),
    };
    let done = tokio::time::timeout(Duration::from_secs(20), output.deliver(chunk, cx)).await;
    done.expect("a delivery ends")
}

/// The cause of an outcome that asks for a retry of everything.
#[track_caller]
fn retried(outcome: &Outcome) -> firelane_core::Cause {
    match outcome {
        Outcome::Retry {
            done, refused, why, ..
        } if done.is_none() && refused.is_none() => why.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn null_takes_everything() {
    let (output, warnings) = try_build("null", &[("format", "json")], None).unwrap();
    assert_eq!(deliver(&output, chunk("t", &["a"])).await, Outcome::Delivered);
    assert_eq!(
        warnings[0].message,
        "`format json`: has no effect: nothing is formatted"
    );
}

#[tokio::test]
async fn stdout_delivers() {
    let output = build("stdout", &[("format", "json_lines")]);
    assert_eq!(
        deliver(&output, chunk("t", &["a line of the test `stdout_delivers`"])).await,
        Outcome::Delivered
    );
}

#[test]
fn workers_mean_chunks_at_once_and_one_keeps_the_order() {
    let limits = |name, workers| {
        let (output, _) = try_build(name, &[], workers).unwrap();
        let limits = output.limits();
        (limits.in_flight_max, limits.order)
    };
    use firelane_core::Order::{Any, PerStream};
    assert_eq!(limits("http", None), (2, Any));
    assert_eq!(limits("http", Some(1)), (1, PerStream));
    assert_eq!(limits("tcp", Some(4)), (4, Any));
    assert_eq!(limits("stdout", Some(4)), (1, PerStream));
    assert_eq!(limits("file", None), (1, PerStream));
    assert_eq!(limits("null", None), (1, PerStream));
}
