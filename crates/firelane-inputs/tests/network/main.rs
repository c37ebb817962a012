//! The inputs with a socket, run whole over loopback against a double of the engine.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy exempts only the tests themselves"
)]

mod certs;
mod limits;
mod tls;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firelane_conf::{Diagnostic, Section, SectionKind, Span};
use firelane_core::plugin::Warnings;
use firelane_core::{
    BoxFuture, BuildCx, Ingest, IngestError, Input, InputCounts, InputCx, Phase, Service, Sink, StopSource,
    Ticket,
};
use firelane_inputs::INPUTS;
use firelane_parse::Parsers;
use firelane_record::{Records, Tag, Timestamp, msgpack};
use tokio::io::AsyncReadExt;
use tokio::sync::Notify;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Takes everything at once, unless it is full.
#[derive(Default)]
struct Engine {
    records: Mutex<u64>,
    taken: Notify,
    full: AtomicBool,
    emptied: Arc<Notify>,
}

impl Sink for Engine {
    fn append(&self, _: &firelane_core::Stream, _: &Tag, records: Records) -> Result<Ticket, IngestError> {
        *self.records.lock().unwrap() += u64::from(records.count());
        self.taken.notify_one();
        Ok(Ticket::closed())
    }

    fn ready(&self) -> Option<BoxFuture<'static, ()>> {
        let emptied = self.emptied.clone();
        let full = self.full.load(Ordering::SeqCst);
        full.then(|| Box::pin(async move { emptied.notified().await }) as BoxFuture<'static, ()>)
    }
}

/// A running input.
struct Running {
    port: u16,
    engine: Arc<Engine>,
    counts: Arc<InputCounts>,
    stop: StopSource,
    task: tokio::task::JoinHandle<()>,
}

fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// An input and its warnings, or what is wrong.
type Built = Result<(Box<dyn Input>, Vec<Diagnostic>), Vec<Diagnostic>>;

/// Builds an input as the engine does.
fn build(name: &str, properties: &[(&str, &str)]) -> Built {
    let plugin = INPUTS.iter().find(|plugin| plugin.answers_to(name)).unwrap();
    let mut section = Section::new(SectionKind::Input, Span::default());
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
        workers: None,
        parsers: &Arc::new(Parsers::default()),
        service: &Service::default(),
        warnings: &warnings,
    };
    let input = plugin.build(&own, &cx)?;
    Ok((input, warnings.take()))
}

async fn start(name: &str, properties: &[(&str, &str)]) -> Running {
    let port = free_port();
    let text = port.to_string();
    let mut all = vec![("listen", "127.0.0.1"), ("port", text.as_str())];
    all.extend_from_slice(properties);
    let (mut input, _) = build(name, &all).unwrap_or_else(|errors| panic!("{errors:?}"));
    input.open().await.unwrap();
    let engine = Arc::new(Engine::default());
    let (source, stop) = StopSource::new();
    let counts = Arc::<InputCounts>::default();
    let cx = InputCx {
        name: format!("{name}.0").into(),
        tag: Tag::new("t").unwrap(),
        tag_given: None,
        ingest: Ingest::new(engine.clone()),
        stop,
        counts: counts.clone(),
        quiet: Duration::from_millis(50),
    };
    let task = tokio::spawn(async move { input.run(cx).await.unwrap() });
    Running {
        port,
        engine,
        counts,
        stop: source,
        task,
    }
}

impl Running {
    /// Waits until so many records came.
    async fn wait_for(&self, records: u64) {
        let all = async {
            while *self.engine.records.lock().unwrap() < records {
                self.engine.taken.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, all)
            .await
            .expect("the records come");
    }

    /// Ends it; records and faults of its life.
    async fn end(self) -> (u64, u64) {
        self.stop.advance(Phase::Draining);
        self.stop.advance(Phase::Over);
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("it ends")
            .unwrap();
        let records = *self.engine.records.lock().unwrap();
        (records, self.counts.faults.get())
    }
}

/// A message of the Forward protocol with one record.
fn message(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    msgpack::write_array_head(&mut out, 3);
    msgpack::write_str(&mut out, b"app");
    Timestamp {
        secs: 1_700_000_000,
        nanos: 0,
    }
    .write(&mut out);
    msgpack::write_map_head(&mut out, 1);
    msgpack::write_str(&mut out, b"log");
    msgpack::write_str(&mut out, text.as_bytes());
    out
}

/// One record in the words of an input.
fn one_record(name: &str) -> Vec<u8> {
    match name {
        "forward" => message("hello"),
        "http" => b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}"
            .to_vec(),
        _ => b"{\"a\":1}".to_vec(),
    }
}

/// Reads until the peer hangs up.
async fn closed(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut all = Vec::new();
    let read = stream.read_to_end(&mut all);
    let _ = tokio::time::timeout(PATIENCE, read)
        .await
        .expect("the connection is closed");
    all
}
