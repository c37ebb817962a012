//! `tcp`: the records of a chunk as one block of bytes on a TCP connection, with or without TLS.
//!
//! Bytes: MessagePack as Fluent Bit stores it (default), JSON as an array, lines or objects behind each
//! other, or with `raw_message_key` the bare text of one field and a newline per record.
//!
//! On failure: the block is sent again whole. There are no answers, so what the system took over counts as
//! delivered, and a block that broke off in the middle may arrive twice (counted as ambiguous). Use `forward`
//! with `require_ack_response` where that matters.

use std::sync::Arc;

use firelane_conf::Diagnostic;
use firelane_core::{
    BoxFuture, BuildCx, Cause, CauseKind, Chunk, DeliverCx, GroupBy, Limits, Outcome, Output, OutputConfig,
    OutputPlugin, Stability,
};
use firelane_net::Endpoint;
use firelane_record::accessor::Accessor;
use firelane_record::msgpack;
use firelane_record::set::RecordSet;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::payload::{Format, Payload};
use crate::settings::{Network, limits, refuse};
use crate::wire::{Wire, kind_of};

/// `[OUTPUT] Name tcp`
pub static PLUGIN: OutputPlugin =
    OutputPlugin::new::<Config>("tcp", "sends records over TCP", Stability::Beta).network();

/// Properties of `[OUTPUT] Name tcp`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Host name or address; 127.0.0.1 where absent.
    host: Option<String>,
    /// Port; 5170 where absent or 0.
    port: Option<u16>,
    /// `msgpack` (default), `json`, `json_lines` or `json_stream`.
    format: Option<String>,
    /// Key of the date in JSON formats; `false` leaves it out. Default `date`.
    json_date_key: Option<String>,
    /// `double` (default), `epoch`, `epoch_ms`, `iso8601` or `java_sql_timestamp`.
    json_date_format: Option<String>,
    /// Record accessor of a text that is sent, with a newline, in place of the record. Records without it are
    /// counted as refused.
    raw_message_key: Option<String>,
}

impl OutputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        let network = Network::read(cx)?;
        let format = match self.format.as_deref() {
            None => Format::Msgpack,
            Some(name) => Format::by_name(name).map_err(|reason| vec![refuse(cx, "format", &reason)])?,
        };
        let raw = self.raw_message_key.as_deref().map(Accessor::parse).transpose();
        let raw = raw.map_err(|error| vec![refuse(cx, "raw_message_key", &error.to_string())])?;
        let endpoint = Endpoint::tcp(
            self.host.as_deref().unwrap_or("127.0.0.1"),
            self.port.filter(|&port| port != 0).unwrap_or(5170),
        );
        let limits = limits(cx, 2);
        let wire = Wire::new(
            network.connector(cx, endpoint)?,
            &network.net,
            limits.in_flight_max,
        );
        let payload = Payload::new(
            cx,
            format,
            self.json_date_key.as_deref(),
            self.json_date_format.as_deref(),
        );
        Ok(Arc::new(Tcp {
            limits,
            wire,
            block: Arc::new(Block { payload, raw }),
        }))
    }
}

struct Tcp {
    limits: Limits,
    wire: Wire,
    block: Arc<Block>,
}

/// How a chunk becomes bytes.
struct Block {
    payload: Payload,
    raw: Option<Accessor>,
}

impl Block {
    /// The bytes, and the records that are not in them.
    fn encode(&self, chunk: &Chunk) -> (Vec<u8>, RecordSet) {
        let mut missing = RecordSet::none();
        let mut out = Vec::new();
        let Some(raw) = &self.raw else {
            out.reserve(self.payload.estimate(chunk));
            self.payload.encode(chunk, &mut out);
            return (out, missing);
        };
        for (index, (_, event)) in (0..).zip(chunk.events()) {
            match raw.lookup(&event).and_then(msgpack::text) {
                Some(text) => {
                    out.extend_from_slice(text);
                    out.push(b'\n');
                }
                None => missing.insert(index),
            }
        }
        (out, missing)
    }
}

impl Tcp {
    async fn send(&self, chunk: Chunk, cx: DeliverCx) -> Outcome {
        let block = self.block.clone();
        let Some((bytes, missing)) = cx.encode(&chunk, move |chunk| block.encode(chunk)).await else {
            return Outcome::retry(Cause::new(CauseKind::Panic, "the encoder panicked"));
        };
        if !bytes.is_empty()
            && let Err(why) = self.write(&bytes).await
        {
            return Outcome::Retry {
                done: RecordSet::none(),
                refused: missing,
                after: None,
                why,
            };
        }
        if missing.is_none() {
            return Outcome::Delivered;
        }
        let text = format!(
            "{} records without `raw_message_key`",
            missing.count(chunk.records())
        );
        Outcome::Discard {
            records: missing,
            why: Cause::new(CauseKind::Refused, text),
        }
    }

    async fn write(&self, bytes: &[u8]) -> Result<(), Cause> {
        let _turn = self.wire.turn().await;
        let mut connection = match self.wire.reuse().await {
            Some(connection) => connection,
            None => self.wire.open().await?,
        };
        if let Err(broken) = connection.write(bytes, self.wire.io_limit()).await {
            return Err(Cause {
                kind: kind_of(&broken.source),
                text: format!("{}: {}", self.wire.place(), broken.source),
                ambiguous: broken.written > 0,
            });
        }
        self.wire.give_back(connection).await;
        Ok(())
    }
}

impl Output for Tcp {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn group_by(&self) -> GroupBy {
        GroupBy::All
    }

    fn deliver(&self, chunk: Chunk, cx: DeliverCx) -> BoxFuture<'_, Outcome> {
        Box::pin(self.send(chunk, cx))
    }
}
