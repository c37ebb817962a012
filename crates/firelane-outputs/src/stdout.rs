//! `stdout`: records on standard output, for people and for tests.
//!
//! By default as Fluent Bit prints MessagePack, `[n] tag: [[secs.nanos, {metadata}], {"key"=>value, …}]`, `n`
//! from 0 in each chunk; or JSON. A chunk is one write, so chunks of two outputs never mix.
//!
//! On failure (the reader is gone) the chunk is tried again. A reader that stalls holds up this output alone.

use std::io::Write as _;
use std::sync::Arc;

use firelane_conf::Diagnostic;
use firelane_core::{
    BoxFuture, BuildCx, Cause, CauseKind, Chunk, DeliverCx, Limits, Outcome, Output, OutputConfig,
    OutputPlugin, Stability,
};
use firelane_record::text;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::payload::{Format, Log, Payload, logs};
use crate::settings::{refuse, serial};

/// `[OUTPUT] Name stdout`
pub static PLUGIN: OutputPlugin =
    OutputPlugin::new::<Config>("stdout", "prints records on standard output", Stability::Stable);

/// Properties of `[OUTPUT] Name stdout`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// `msgpack` (default: readable MessagePack), `json`, `json_lines` or `json_stream`.
    format: Option<String>,
    /// Key of the date in JSON formats; `false` leaves it out. Default `date`.
    json_date_key: Option<String>,
    /// `double` (default), `epoch`, `epoch_ms`, `iso8601` or `java_sql_timestamp`.
    json_date_format: Option<String>,
}

impl OutputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        let format = match self.format.as_deref() {
            None => Format::Msgpack,
            Some(name) => Format::by_name(name).map_err(|reason| vec![refuse(cx, "format", &reason)])?,
        };
        let payload = Payload::new(
            cx,
            format,
            self.json_date_key.as_deref(),
            self.json_date_format.as_deref(),
        );
        Ok(Arc::new(Stdout {
            limits: serial(cx),
            payload: Arc::new(payload),
        }))
    }
}

struct Stdout {
    limits: Limits,
    payload: Arc<Payload>,
}

/// What appears on standard output for a chunk.
fn print(payload: &Payload, chunk: &Chunk) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.estimate(chunk));
    match payload.format() {
        Format::Msgpack => {
            for (index, Log { tag, event, .. }) in logs(chunk).enumerate() {
                // Writing to a Vec cannot fail.
                let _ = write!(out, "[{index}] ");
                out.extend_from_slice(tag.as_bytes());
                out.extend_from_slice(b": [[");
                event.time.write_text(&mut out);
                out.extend_from_slice(b", ");
                text::write_value(&mut out, event.metadata.unwrap_or(&[0x80]));
                out.extend_from_slice(b"], ");
                text::write_value(&mut out, event.body);
                out.extend_from_slice(b"]\n");
            }
        }
        Format::JsonLines => payload.encode(chunk, &mut out),
        Format::Json | Format::JsonStream => {
            payload.encode(chunk, &mut out);
            out.push(b'\n');
        }
    }
    out
}

impl Output for Stdout {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn deliver(&self, chunk: Chunk, _cx: DeliverCx) -> BoxFuture<'_, Outcome> {
        let payload = self.payload.clone();
        Box::pin(async move {
            let write = move || {
                let block = print(&payload, &chunk);
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(&block).and_then(|()| stdout.flush())
            };
            match tokio::task::spawn_blocking(write).await {
                Ok(Ok(())) => Outcome::Delivered,
                // How much of it was printed cannot be known.
                Ok(Err(error)) => {
                    let text = format!("cannot write to standard output: {error}");
                    Outcome::retry(Cause::ambiguous(CauseKind::Io, text))
                }
                Err(_) => Outcome::retry(Cause::new(CauseKind::Panic, "the encoder panicked")),
            }
        })
    }
}
