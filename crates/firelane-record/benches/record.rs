//! What the data path does to one record: walk, edit, print. The record is what Docker's driver sends for a
//! line of 270 bytes, about 430 bytes; with the three fields that ECS adds it is 563.
#![expect(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use firelane_record::json::{DateFormat, JsonOptions, to_msgpack};
use firelane_record::{Draft, MapWriter, Match, Records, RecordsBuf, Scratch, Tag, Timestamp};

const LINE: &str = "2026-01-02T03:04:05.678Z INFO  com.example.shop.checkout.OrderService [http-nio-8080-exec-7] order 81723 \
    accepted for customer 5521 in 12.4 ms, total 118.20 EUR, items 3, warehouse fra-2, carrier standard, \
    trace 4bf92f3577b34da6a3ce929d0e0e4736 span 00f067aa0ba902b7 flags 01 retries 0";

fn docker_body() -> MapWriter {
    let mut body = MapWriter::new();
    body.str(
        b"container_id",
        b"9781cd2a4f0e4d0b8f3a9781cd2a4f0e4d0b8f3a9781cd2a4f0e4d0b8f3a0123",
    );
    body.str(b"container_name", b"/ecs-web-7-app-c4a1");
    body.str(b"source", b"stdout");
    body.str(b"log", LINE.as_bytes());
    body
}

fn added() -> MapWriter {
    let mut added = MapWriter::new();
    added.str(b"ecs_cluster", b"demo-cluster");
    added.str(
        b"ecs_task_arn",
        b"arn:aws:ecs:us-east-1:123456789012:task/demo-cluster/0f1e2d3c4b5a",
    );
    added.str(b"ecs_task_definition", b"web:7");
    added
}

fn run_of(bodies: &[&MapWriter]) -> Records {
    let mut body = MapWriter::new();
    for pairs in bodies {
        for (key, value) in firelane_record::msgpack::bare_pairs(pairs.pairs(), pairs.count()) {
            body.raw_pair(key, value);
        }
    }
    let mut raw = Vec::new();
    body.write(&mut raw);
    let mut run = RecordsBuf::default();
    run.push(
        Timestamp {
            secs: 1_700_000_000,
            nanos: 123_456_789,
        },
        None,
        &raw,
    );
    run.take()
}

fn benches(criterion: &mut Criterion) {
    let plain = run_of(&[&docker_body()]);
    let full = run_of(&[&docker_body(), &added()]);
    let constant = added();
    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Bytes(plain.len() as u64));

    group.bench_function("parse (walk and check)", |bencher| {
        bencher.iter(|| Records::parse(black_box(plain.bytes()).clone()));
    });

    let mut scratch = Scratch::new();
    let mut out = RecordsBuf::with_capacity(66 << 10);
    let event = plain.events().next().expect("one event");
    group.bench_function("draft: append 3 and write", |bencher| {
        bencher.iter(|| {
            if out.len() > 64 << 10 {
                out = RecordsBuf::with_capacity(66 << 10);
            }
            let mut draft = Draft::new(black_box(&event), &mut scratch);
            draft.push_pairs(constant.pairs(), constant.count());
            draft.write(&mut out);
        });
    });
    group.bench_function("draft: remove 1, append 3 and write", |bencher| {
        bencher.iter(|| {
            if out.len() > 64 << 10 {
                out = RecordsBuf::with_capacity(66 << 10);
            }
            let mut draft = Draft::new(black_box(&event), &mut scratch);
            draft.remove(b"source");
            draft.push_pairs(constant.pairs(), constant.count());
            draft.write(&mut out);
        });
    });

    let event = full.events().next().expect("one event");
    let mut text = Vec::with_capacity(4096);
    for (name, format) in [("double", DateFormat::Double), ("iso8601", DateFormat::Iso8601)] {
        let options = JsonOptions::default().with_date("date", format);
        group.bench_function(format!("json: print, date {name}"), |bencher| {
            bencher.iter(|| {
                text.clear();
                options.encode_event(black_box(&event), &mut text);
                black_box(&text);
            });
        });
    }
    let mut printed = Vec::new();
    JsonOptions::default().encode_event(&event, &mut printed);
    let mut raw = Vec::with_capacity(4096);
    group.bench_function("json: read", |bencher| {
        bencher.iter(|| {
            raw.clear();
            to_msgpack(black_box(&printed), &mut raw)
        });
    });

    let tag = Tag::new("web-firelens-0123456789abcdef").expect("a short tag");
    let pattern = Match::new("*-firelens*");
    group.bench_function("match: *-firelens*", |bencher| {
        bencher.iter(|| pattern.matches(black_box(&tag)))
    });
    group.finish();
}

criterion_group!(record, benches);
criterion_main!(record);
