//! Encoding of a call of Kinesis: 500 records as Docker's driver sends them, about 512 bytes of JSON each.
#![expect(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use firelane_core::{Chunk, HttpOutput, Limits, Part};
use firelane_outputs::stream_records::{Coding, Dialect, Join, Settings, StreamRecords, Target};
use firelane_record::json::JsonOptions;
use firelane_record::{MapWriter, RecordsBuf, Tag, Timestamp};

const RECORDS: u32 = 500;
const LINE: &str = "2026-01-02T03:04:05.678Z INFO  com.example.shop.checkout.OrderService [http-nio-8080-exec-7] order 81723 \
    accepted for customer 5521 in 12.4 ms, total 118.20 EUR, items 3, warehouse fra-2, carrier standard, trace 4bf92f3577b3";

fn chunk() -> Chunk {
    let mut buf = RecordsBuf::default();
    for n in 0..RECORDS {
        let mut map = MapWriter::new();
        map.str(
            b"container_id",
            b"9781cd2a4f0e4d0b8f3a9781cd2a4f0e4d0b8f3a9781cd2a4f0e4d0b8f3a0123",
        );
        map.str(b"container_name", b"/ecs-web-7-app-c4a1");
        map.str(b"source", b"stdout");
        map.str(b"log", LINE.as_bytes());
        map.str(b"ecs_task_definition", b"web:7");
        let time = Timestamp {
            secs: 1_700_000_000 + i64::from(n),
            nanos: 1,
        };
        buf.push_with(time, None, |out| map.write(out));
    }
    Chunk::new(vec![Part {
        tag: Tag::new("app").expect("a tag"),
        records: buf.take(),
    }])
}

fn settings() -> Settings {
    Settings {
        target: Target::Kinesis,
        dialect: Dialect::C,
        stream: "stream".to_owned(),
        json: JsonOptions::default(),
        log_key: None,
        data_keys: None,
        time: None,
        replace_dots: None,
        newline: true,
        coding: None,
        join: Join::Never,
        partition_key: None,
        seed: 1,
        limits: Limits::default(),
    }
}

fn benches(criterion: &mut Criterion) {
    let chunk = chunk();
    let mut group = criterion.benchmark_group("stream_records");
    group.throughput(Throughput::Elements(u64::from(RECORDS)));
    let plain = settings();
    let go = Settings {
        dialect: Dialect::Go,
        ..settings()
    };
    let field = Settings {
        partition_key: Some(vec!["container_id".to_owned()]),
        ..settings()
    };
    let kpl = Settings {
        join: Join::Kpl,
        ..settings()
    };
    let gzip = Settings {
        coding: Some(Coding::Gzip),
        ..settings()
    };
    for (name, settings) in [
        ("plain", plain),
        ("go", go),
        ("partition_key", field),
        ("kpl", kpl),
        ("gzip", gzip),
    ] {
        let output = StreamRecords::new(settings);
        group.bench_function(name, |bencher| bencher.iter(|| output.encode(black_box(&chunk))));
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
