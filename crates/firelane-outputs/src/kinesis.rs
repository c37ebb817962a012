//! `kinesis`: Kinesis Data Streams, as the Go plugin of aws-for-fluent-bit does it.
//!
//! As [`crate::kinesis_streams`], with all of its properties, but: no newline behind records without
//! `append_newline`; JSON has its keys sorted and `<`, `>`, `&` escaped; `log_key` sends a string as it is;
//! what is over the limit is cut, with `[Truncated...]` at its end.

use std::sync::Arc;

use firelane_conf::Diagnostic;
use firelane_core::{BuildCx, Output, OutputConfig, OutputPlugin, Stability};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kinesis_streams;
use crate::stream_records::Dialect;

/// `[OUTPUT] Name kinesis`
pub static PLUGIN: OutputPlugin = OutputPlugin::new::<Config>(
    "kinesis",
    "sends records to Kinesis Data Streams, as the Go plugin does",
    Stability::Beta,
)
.network();

/// Properties of `[OUTPUT] Name kinesis`: those of `kinesis_streams`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Config(kinesis_streams::Config);

impl OutputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        self.0.build_as(Dialect::Go, cx)
    }
}
