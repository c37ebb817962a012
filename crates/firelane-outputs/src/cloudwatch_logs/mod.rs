//! `cloudwatch_logs` and `cloudwatch`: Amazon CloudWatch Logs, under the names of Fluent Bit's C plugin and
//! of the older Go plugin. Both take the options of both; where they differ the name decides: `cloudwatch`
//! prints records as Go does and takes the line end off the value of `log_key`.
//!
//! Limits: see `encode.rs`; requests keep them by construction, counted as the service counts. Group and
//! stream are found for each record, so a request holds one stream. Events stand in the order of their
//! times; chunks of a stream follow each other, whatever `workers` says.
//!
//! On failure: throttling, 5xx, denials and a missing group are tried again, and only what is not taken yet
//! is sent again. A stream that has gone is created again at once. Events that the service leaves out for
//! their times, requests that it refuses (400), and records without the `log_key` are refused by name. A 200
//! without a request id is not believed.
//!
//! Better than the plugins that came before: a message over the limit becomes several events, nothing is cut
//! off; a chunk for a stream that was deleted is not dropped; events that were left out are not lost in
//! silence; the byte limit counts what the service counts, so requests are full; `log_key` matches exactly,
//! and values that are no strings arrive whole.
//!
//! A record whose message would be empty (`{}`, an empty `log_key`) counts as delivered: the service takes
//! no empty message, and there is nothing to lose.
//!
//! Deliberately not here: metrics made of `cpu` and `mem` records (there are no such inputs), entities (they
//! need Kubernetes), `SEND_FAILURE_TIMEOUT` (a router does not end because a destination is away), looking
//! for streams before they are created.

pub(crate) mod api;
mod config;
mod direct;
mod encode;
mod message;
#[cfg(test)]
mod model;
mod names;
mod send;
mod streams;
mod task;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use firelane_core::{
    BoxFuture, Chunk, DeliverCx, Group, GroupBy, Limits, Outcome, Output, OutputPlugin, Stability,
};
use firelane_record::{Event, Tag};

pub use config::{Config, GoConfig};

/// `[OUTPUT] Name cloudwatch_logs`
pub static PLUGIN: OutputPlugin = OutputPlugin::new::<Config>(
    "cloudwatch_logs",
    "sends records to Amazon CloudWatch Logs",
    Stability::Beta,
)
.network();

/// `[OUTPUT] Name cloudwatch`
pub static GO_PLUGIN: OutputPlugin = OutputPlugin::new::<GoConfig>(
    "cloudwatch",
    "sends records to Amazon CloudWatch Logs as the Go plugin of that name does",
    Stability::Beta,
)
.network();

/// Longest time of a delivery: its round, and a last request with all its own deadlines.
const DEADLINE: Duration = Duration::from_secs(1200);

/// The output.
struct Logs {
    limits: Limits,
    names: names::Names,
    messages: Arc<message::Messages>,
    /// For messages.
    log_key: String,
    streams: streams::Streams,
    api: Box<dyn api::Api>,
}

impl Output for Logs {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn group_by(&self) -> GroupBy {
        self.names.group_by()
    }

    fn group(&self, tag: &Tag, event: &Event<'_>) -> Group {
        Group::Key(self.names.key(tag, event).into())
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    fn deliver(&self, chunk: Chunk, cx: DeliverCx) -> BoxFuture<'_, Outcome> {
        Box::pin(self.send(chunk, cx))
    }
}
