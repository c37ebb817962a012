//! Which gzip compressor is best in size × time on JSON log lines of about 480 B in bodies of 2 MB.
//!
//! `cargo run --release -p firelane-net --example compressors [FILE]`; FILE holds JSON lines of your own.

use std::io::Write;
use std::time::Instant;

/// Body size.
const BODY: usize = 2_000_000;
/// Runs; the fastest counts.
const RUNS: usize = 15;

fn main() -> std::io::Result<()> {
    let body = match std::env::args().nth(1) {
        Some(path) => std::fs::read(path)?,
        None => sample(),
    };
    let body = &body[..body.len().min(BODY)];
    let records = body.iter().filter(|byte| **byte == b'\n').count().max(1);
    println!("{} bytes, {records} lines", body.len());
    println!(
        "{:<18} {:>9} {:>8} {:>8} {:>12}",
        "compressor", "bytes", "ratio", "µs/line", "size × time"
    );
    for level in [1, 2, 3, 6] {
        let mut compressor =
            libdeflater::Compressor::new(libdeflater::CompressionLvl::new(level).unwrap_or_default());
        let mut out = vec![0; compressor.gzip_compress_bound(body.len())];
        show(&format!("libdeflate {level}"), body, records, || {
            compressor.gzip_compress(body, &mut out).unwrap_or_default()
        });
    }
    for level in [1, 2, 3, 6] {
        show(&format!("zlib-rs {level}"), body, records, || {
            let out = Vec::with_capacity(body.len() / 4);
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(level));
            encoder
                .write_all(body)
                .and_then(|()| encoder.finish())
                .map_or(0, |out| out.len())
        });
    }
    for level in [1, 3] {
        let mut compressor = zstd::bulk::Compressor::new(level)?;
        let mut out = vec![0; zstd::zstd_safe::compress_bound(body.len())];
        show(&format!("zstd {level}"), body, records, || {
            compressor
                .compress_to_buffer(body, &mut out[..])
                .unwrap_or_default()
        });
    }
    Ok(())
}

fn show(name: &str, body: &[u8], records: usize, mut run: impl FnMut() -> usize) {
    let (mut best, mut size) = (f64::MAX, 0);
    for _ in 0..RUNS {
        let begun = Instant::now();
        size = run();
        best = best.min(begun.elapsed().as_secs_f64());
    }
    let micros = best * 1e6 / records as f64;
    let ratio = body.len() as f64 / size as f64;
    println!(
        "{name:<18} {size:>9} {ratio:>8.2} {micros:>8.2} {:>12.2}",
        micros / ratio
    );
}

/// Lines as containers write them: much repetition, some numbers and words that differ.
fn sample() -> Vec<u8> {
    let words = [
        "request",
        "completed",
        "connection",
        "refused",
        "user",
        "cache",
        "miss",
        "hit",
        "upstream",
        "timeout",
        "order",
        "payment",
        "accepted",
        "retrying",
        "shard",
        "replica",
        "checkpoint",
        "flushed",
        "queue",
        "drained",
    ];
    let mut state = 17u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut out = Vec::with_capacity(BODY + 1000);
    while out.len() < BODY {
        let mut text = String::new();
        for _ in 0..24 {
            text.push_str(words[random() as usize % words.len()]);
            text.push(' ');
        }
        let line = format!(
            "{{\"date\":1769{:06}.{:06},\"container_id\":\"{:016x}{:016x}\",\"container_name\":\"/app-{}\",\
             \"source\":\"stdout\",\
             \"log\":\"2026-01-02T03:04:{:02}.{:03}Z INFO [worker-{}] {text}id={:08x} took={}us\",\
             \"ecs_cluster\":\"prod\",\
             \"ecs_task_arn\":\"arn:aws:ecs:eu-central-1:123456789012:task/prod/\
             0123456789abcdef0123456789abcdef\"}}\n",
            random() % 1_000_000,
            random() % 1_000_000,
            0xfeed_u64,
            0xbeef_u64,
            random() % 3,
            random() % 60,
            random() % 1000,
            random() % 8,
            random(),
            random() % 100_000,
        );
        out.extend_from_slice(line.as_bytes());
    }
    out
}
