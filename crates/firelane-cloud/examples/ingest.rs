//! How fast the endpoint takes bodies: real requests over loopback, everything in one process.
//!
//! ```text
//! cargo run --release -p firelane-cloud --example ingest -- [KIND] [SECONDS] [CONNECTIONS]
//! ```
//!
//! KIND is `logs`, `kinesis`, `firehose` or `s3`. Prints MB (10^6 bytes) of request bodies per second until
//! everything is on disk. The clients cost CPU too: they send bytes that were made before, and read only as
//! much of the answers as they must.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark: it ends where something is wrong"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use firelane_cloud::{Endpoint, Missing, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A line such as a web server writes.
fn line(n: usize) -> String {
    format!(
        "203.0.113.{} - - [25/Nov/2026:01:48:28 +0000] \\\"GET /api/v1/items/{}?page={} HTTP/1.1\\\" 200 {} \\\"-\\\" \\\"Mozilla/5.0 (X11; Linux x86_64) request={:016x}\\\"",
        n % 250,
        n * 7919 % 100_000,
        n % 13,
        n * 31 % 50_000,
        (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    )
}

/// Base64 without a table of its own being worth it: made once.
fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn body(kind: &str, connection: usize, now: u128) -> Vec<u8> {
    let lines = (0..4000).map(|n| line(n + connection * 4000));
    match kind {
        "logs" => {
            let mut size = 0;
            let events = lines.take_while(|line| {
                size += line.len() + 26;
                size < 1_000_000
            });
            let events: Vec<_> = events
                .map(|line| format!("{{\"timestamp\":{now},\"message\":\"{line}\"}}"))
                .collect();
            format!(
                "{{\"logGroupName\":\"g\",\"logStreamName\":\"s{connection}\",\"logEvents\":[{}]}}",
                events.join(",")
            )
            .into_bytes()
        }
        "s3" => lines.collect::<Vec<_>>().join("\n").into_bytes(),
        _ => {
            // Records of eight lines, as an aggregating router makes them.
            let all: Vec<_> = lines.collect();
            let records = all
                .chunks(8)
                .map(|eight| base64((eight.join("\n") + "\n").as_bytes()));
            let key = if kind == "kinesis" {
                ",\"PartitionKey\":\"k\""
            } else {
                ""
            };
            let records: Vec<_> = records
                .map(|data| format!("{{\"Data\":\"{data}\"{key}}}"))
                .collect();
            let name = if kind == "kinesis" {
                "StreamName"
            } else {
                "DeliveryStreamName"
            };
            format!(
                "{{\"{name}\":\"d{connection}\",\"Records\":[{}]}}",
                records.join(",")
            )
            .into_bytes()
        }
    }
}

fn request(kind: &str, connection: usize, now: u128) -> (Vec<u8>, u64) {
    let body = body(kind, connection, now);
    let (line, target) = match kind {
        "logs" => (
            "POST /".to_string(),
            "x-amz-target: Logs_20140328.PutLogEvents\r\n",
        ),
        "kinesis" => (
            "POST /".to_string(),
            "x-amz-target: Kinesis_20131202.PutRecords\r\n",
        ),
        "firehose" => (
            "POST /".to_string(),
            "x-amz-target: Firehose_20150804.PutRecordBatch\r\n",
        ),
        _ => (format!("PUT /bucket/{connection}"), ""),
    };
    let head = format!(
        "{line} HTTP/1.1\r\nhost: x\r\n{target}authorization: AWS4-HMAC-SHA256 \
         Credential=K/20260101/us-east-1/{kind}/aws4_request, SignedHeaders=host, Signature=0\r\n\
         x-amz-date: 20260101T000000Z\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let size = body.len() as u64;
    ([head.into_bytes(), body].concat(), size)
}

async fn client(address: SocketAddr, request: Vec<u8>, size: u64, end: Instant, sent: Arc<AtomicU64>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = vec![0; 256 << 10];
    while Instant::now() < end {
        stream.write_all(&request).await.unwrap();
        let (mut have, mut wanted) = (0, usize::MAX);
        while have < wanted {
            let read = stream.read(&mut answer[have..]).await.unwrap();
            assert!(read > 0, "the endpoint closed");
            have += read;
            let head = String::from_utf8_lossy(&answer[..have.min(2000)]).to_ascii_lowercase();
            if let Some(at) = head.find("\r\n\r\n") {
                assert!(head.starts_with("http/1.1 200"), "{head}");
                let length = head.split("content-length: ").nth(1).unwrap();
                wanted = at + 4 + length.split("\r\n").next().unwrap().parse::<usize>().unwrap();
            }
        }
        sent.fetch_add(size, Ordering::Relaxed);
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut args = std::env::args().skip(1);
    let kind = args.next().unwrap_or_else(|| "logs".into());
    let seconds = args.next().map_or(5, |text| text.parse().unwrap());
    let connections = args.next().map_or(4, |text| text.parse().unwrap());
    let options = Options {
        missing: Missing::Create,
        ..Options::default()
    };
    let endpoint = Endpoint::start("127.0.0.1:0", options).await.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let sent = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    let mut clients = tokio::task::JoinSet::new();
    for connection in 0..connections {
        let (request, size) = request(&kind, connection, now);
        clients.spawn(client(endpoint.address(), request, size, end, sent.clone()));
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    endpoint.stop().await.unwrap();
    let took = begin.elapsed().as_secs_f64();
    let bytes = sent.load(Ordering::Relaxed);
    println!(
        "{kind}: {:.0} MB/s ({:.0} MB in {took:.1} s, {connections} connections)",
        bytes as f64 / 1e6 / took,
        bytes as f64 / 1e6
    );
}
