//! Decoding of what Docker sends: 64 KiB of messages of about 450 bytes.
#![expect(missing_docs, reason = "criterion's macros make undocumented items")]

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use firelane_forward::{ServerOptions, Session};
use firelane_record::{Timestamp, msgpack};

fn message() -> Vec<u8> {
    let mut out = vec![0x94];
    msgpack::write_str(&mut out, b"web-firelens-0123456789abcdef0123456789abcdef");
    Timestamp {
        secs: 1_700_000_000,
        nanos: 5,
    }
    .write(&mut out);
    msgpack::write_map_head(&mut out, 4);
    let line = [b'x'; 256];
    let id = [b'0'; 64];
    for (key, value) in [
        ("container_id", &id[..]),
        ("container_name", b"/web"),
        ("source", b"stdout"),
        ("log", &line),
    ] {
        msgpack::write_str(&mut out, key.as_bytes());
        msgpack::write_str(&mut out, value);
    }
    out.push(0x80);
    out
}

fn decode(c: &mut Criterion) {
    let one = message();
    let count = 64 * 1024 / one.len();
    let block = one.repeat(count);
    let options = Arc::new(ServerOptions {
        message_size_max: 6_144_000,
        auth: None,
    });
    let mut group = c.benchmark_group("forward");
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function("decode messages", |b| {
        let mut session = Session::new(options.clone(), [0; 32]);
        b.iter(|| {
            session.input().extend_from_slice(&block);
            let mut records = 0;
            while let Some(run) = session.receive().expect("the messages are good") {
                records += run.records.count();
            }
            assert_eq!(records as usize, count);
        });
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
