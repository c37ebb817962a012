//! What each filter costs per record: a draft begun, the filter, the record written. The record is what
//! Docker's driver sends for a line of 200 bytes.
#![expect(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use firelane_conf::{Section, SectionKind, Span};
use firelane_core::plugin::{BuiltFilter, Warnings};
use firelane_core::{BuildCx, Fate, Filter, FilterCounts, FilterCx, Service};
use firelane_filters::FILTERS;
use firelane_parse::Parsers;
use firelane_record::{Draft, MapWriter, Records, RecordsBuf, Scratch, Tag, Timestamp};

const LINE: &[u8] = b"2026-01-02T03:04:05.678Z INFO  com.example.shop.OrderService [http-nio-8080-exec-7] order 81723 \
    accepted for customer 5521 in 12.4 ms, total 118.20 EUR, items 3, warehouse fra-2, carrier standard, retries 0";

const CASES: &[(&str, &[(&str, &str)])] = &[
    (
        "record_modifier",
        &[
            ("record", "ecs_cluster demo"),
            ("record", "ecs_task_definition web:7"),
        ],
    ),
    ("grep", &[("exclude", "log DEBUG")]),
    (
        "modify",
        &[("rename", "source stream"), ("remove", "container_id")],
    ),
];

fn records() -> Records {
    let mut body = MapWriter::new();
    body.str(
        b"container_id",
        b"9781cd2a4f0e4d0b8f3a9781cd2a4f0e4d0b8f3a9781cd2a4f0e4d0b8f3a0123",
    );
    body.str(b"container_name", b"/ecs-web-7-app-c4a1");
    body.str(b"source", b"stdout");
    body.str(b"log", LINE);
    let mut run = RecordsBuf::default();
    for secs in 0..100 {
        run.push_with(Timestamp { secs, nanos: 0 }, None, |out| body.write(out));
    }
    run.take()
}

fn filter(name: &str, properties: &[(&str, &str)]) -> Box<dyn Filter> {
    let mut section = Section::new(SectionKind::Filter, Span::default());
    for (key, value) in properties {
        section.push(key, value, Span::default());
    }
    let network = Section::new(SectionKind::Filter, Span::default());
    let (parsers, service, warnings) = (Arc::<Parsers>::default(), Service::default(), Warnings::default());
    let cx = BuildCx {
        instance: name,
        section: &section,
        network: &network,
        workers: None,
        parsers: &parsers,
        service: &service,
        warnings: &warnings,
    };
    let plugin = FILTERS
        .iter()
        .find(|plugin| plugin.name == name)
        .expect("a filter of the table");
    match plugin.build(&section, &cx) {
        Ok(BuiltFilter::Filter(filter)) => filter,
        _ => panic!("{name} is no plain filter"),
    }
}

fn filters(c: &mut Criterion) {
    let (records, tag, counts) = (
        records(),
        Tag::new("app").expect("short"),
        Arc::new(FilterCounts::default()),
    );
    let mut group = c.benchmark_group("filter");
    group.throughput(Throughput::Elements(u64::from(records.count())));
    for (name, properties) in CASES {
        let filter = filter(name, properties);
        let cx = FilterCx {
            tag: &tag,
            counts: &counts,
        };
        let mut scratch = Scratch::new();
        group.bench_function(*name, |b| {
            b.iter(|| {
                let mut out = RecordsBuf::with_capacity(2 * records.len());
                for event in records.events() {
                    let mut draft = Draft::new(&event, &mut scratch);
                    if filter.edit(&mut draft, &cx) == Fate::Keep {
                        draft.write(&mut out);
                    }
                }
                black_box(out.take())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, filters);
criterion_main!(benches);
