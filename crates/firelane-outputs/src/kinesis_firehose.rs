//! `kinesis_firehose`: Amazon Data Firehose (`PutRecordBatch`), as Fluent Bit's own plugin does it.
//!
//! Limits: 500 entries and 4 MiB a call, 1,024,000 bytes an entry. Data: the record as JSON and a newline,
//! base64. With `simple_aggregation` a blank line ends each entry, as in Fluent Bit. The rest, failures too,
//! is in [`crate::stream_records`]; the same service with the habits of the Go plugin is [`crate::firehose`].

use std::sync::Arc;

use firelane_conf::Diagnostic;
use firelane_core::{BuildCx, Output, OutputConfig, OutputPlugin, Stability};

use crate::stream_records::{Dialect, Own, Target, config};

/// `[OUTPUT] Name kinesis_firehose`
pub static PLUGIN: OutputPlugin = OutputPlugin::new::<Config>(
    "kinesis_firehose",
    "sends records to Amazon Data Firehose",
    Stability::Beta,
)
.network();

config! {
    /// Properties of `[OUTPUT] Name kinesis_firehose` and `Name firehose`. Up to 16 calls are under way at
    /// once (4 with `simple_aggregation`); `workers` sets another number.
    {
        /// Name of the delivery stream. Required.
        delivery_stream: Option<String>,
    }
}

impl Config {
    pub(crate) fn build_as(
        mut self,
        dialect: Dialect,
        cx: &BuildCx<'_>,
    ) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        let own = Own {
            target: Target::Firehose,
            dialect,
            stream: self.delivery_stream.take(),
            stream_property: "delivery_stream",
            stream_max: 64,
            newline: true,
            aggregation: false,
            partition_key: None,
            request_timeout: None,
        };
        self.common().build(own, cx)
    }
}

impl OutputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        self.build_as(Dialect::C, cx)
    }
}
