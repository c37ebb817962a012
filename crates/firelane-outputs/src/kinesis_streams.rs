//! `kinesis_streams`: Kinesis Data Streams (`PutRecords`), as Fluent Bit's own plugin does it.
//!
//! Limits: 500 entries and 5 MiB a call, 1 MiB an entry with its partition key: those of every region and
//! stream. Data: the record as JSON and a newline, base64. Partition keys are random, so that records spread
//! over the shards, or a value of the record (`partition_key`). The order of records of one key is kept with
//! `workers 1` alone, and not within a call of which a part failed: Kinesis itself does not promise that. The
//! rest, failures too, is in [`crate::stream_records`]; the same service with the habits of the Go plugin is
//! [`crate::kinesis`].

use std::sync::Arc;

use firelane_conf::Diagnostic;
use firelane_conf::units::{Interval, OnOff};
use firelane_core::{BuildCx, Output, OutputConfig, OutputPlugin, Stability};

use crate::settings::warn;
use crate::stream_records::{Dialect, Own, Target, config};

/// `[OUTPUT] Name kinesis_streams`
pub static PLUGIN: OutputPlugin = OutputPlugin::new::<Config>(
    "kinesis_streams",
    "sends records to Kinesis Data Streams",
    Stability::Beta,
)
.network();

config! {
    /// Properties of `[OUTPUT] Name kinesis_streams` and `Name kinesis`. Up to 16 calls are under way at once
    /// (4 where records are joined); `workers` sets another number, `workers 1` keeps the order of records of
    /// one partition key.
    {
        /// Name of the stream. Required.
        stream: Option<String>,
        /// Key whose value is the partition key, `outer->inner` for a nested one. At most 256 bytes of it are
        /// taken. Records that have no text or number there get a random key, as all do without this.
        partition_key: Option<String>,
        /// Puts a newline behind each record. Default on; off under the name `kinesis`.
        append_newline: Option<OnOff>,
        /// Joins records in the format of the Kinesis Producer Library, 50 KiB each, for consumers that take
        /// them apart. With `partition_key` only records of one key are joined. Default off.
        aggregation: Option<OnOff>,
        /// Calls are concurrent anyway: `workers` sets how many.
        experimental_concurrency: Option<u32>,
        /// Goes with `experimental_concurrency`; `retry_limit` says how often records are sent again.
        experimental_concurrency_retries: Option<u32>,
        /// Longest time for a whole call. Default: that of the connection, 60s without an answer.
        http_request_timeout: Option<Interval>,
    }
}

impl Config {
    pub(crate) fn build_as(
        mut self,
        dialect: Dialect,
        cx: &BuildCx<'_>,
    ) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        let others = [
            (
                "experimental_concurrency",
                self.experimental_concurrency,
                "has no effect: calls are concurrent anyway, `workers N` sets how many",
            ),
            (
                "experimental_concurrency_retries",
                self.experimental_concurrency_retries,
                "has no effect: `retry_limit N` says how often records are sent again",
            ),
        ];
        for (key, given, reason) in others {
            if given.is_some() {
                warn(cx, key, reason);
            }
        }
        let own = Own {
            target: Target::Kinesis,
            dialect,
            stream: self.stream.take(),
            stream_property: "stream",
            stream_max: 128,
            newline: self.append_newline.map_or(dialect == Dialect::C, bool::from),
            aggregation: self.aggregation.is_some_and(bool::from),
            partition_key: self.partition_key.take(),
            request_timeout: self.http_request_timeout,
        };
        self.common().build(own, cx)
    }
}

impl OutputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        self.build_as(Dialect::C, cx)
    }
}
