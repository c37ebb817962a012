//! The encoder and the judge against a model of the two APIs.

mod cases;
mod model;
mod properties;

use firelane_core::{Chunk, HttpOutput, HttpRequest, HttpResponse, Judgement, Limits, Part};
use firelane_record::json::{JsonOptions, to_msgpack};
use firelane_record::{Fractions, RecordsBuf, Tag, TimeFormat, Timestamp};

use super::*;

fn settings(target: Target, dialect: Dialect) -> Settings {
    Settings {
        target,
        dialect,
        stream: "st-1".to_owned(),
        json: JsonOptions::default(),
        log_key: None,
        data_keys: None,
        time: None,
        replace_dots: None,
        newline: target == Target::Firehose || dialect == Dialect::C,
        coding: None,
        join: Join::Never,
        partition_key: None,
        seed: 42,
        limits: Limits::default(),
    }
}

fn time() -> Timestamp {
    Timestamp {
        secs: 1_709_618_828,
        nanos: 123_456_789,
    }
}

fn chunk_of(mut buf: RecordsBuf) -> Chunk {
    Chunk::new(vec![Part {
        tag: Tag::new("app").unwrap(),
        records: buf.take(),
    }])
}

/// A chunk of records in JSON.
fn chunk(records: &[&str]) -> Chunk {
    let mut buf = RecordsBuf::default();
    for record in records {
        let mut body = Vec::new();
        to_msgpack(record.as_bytes(), &mut body).unwrap();
        buf.push(time(), None, &body);
    }
    chunk_of(buf)
}

fn judge(output: &StreamRecords, request: &HttpRequest, status: u16, body: &[u8]) -> Judgement {
    let response = HttpResponse {
        status,
        headers: &[],
        body,
    };
    output.judge(request, &response)
}
