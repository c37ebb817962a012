//! `firehose`: Amazon Data Firehose, as the Go plugin of aws-for-fluent-bit does it.
//!
//! As [`crate::kinesis_firehose`], with its properties, but: JSON has its keys sorted and `<`, `>`, `&`
//! escaped; `log_key` sends a string as it is; what is over the limit is cut, `[Truncated...]` at its end.

use std::sync::Arc;

use firelane_conf::Diagnostic;
use firelane_core::{BuildCx, Output, OutputConfig, OutputPlugin, Stability};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kinesis_firehose;
use crate::stream_records::Dialect;

/// `[OUTPUT] Name firehose`
pub static PLUGIN: OutputPlugin = OutputPlugin::new::<Config>(
    "firehose",
    "sends records to Amazon Data Firehose, as the Go plugin does",
    Stability::Beta,
)
.network();

/// Properties of `[OUTPUT] Name firehose`: those of `kinesis_firehose`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Config(kinesis_firehose::Config);

impl OutputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        self.0.build_as(Dialect::Go, cx)
    }
}
