//! `null`: takes everything and forgets it. For tests and for measuring what comes before it.
//!
//! Fluent Bit formats the records here when `format` is set, to measure the formatting; this one never does.

use std::sync::Arc;

use firelane_conf::Diagnostic;
use firelane_core::{
    BoxFuture, BuildCx, Chunk, DeliverCx, GroupBy, Limits, Outcome, Output, OutputConfig, OutputPlugin,
    Stability,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::settings::{limits, warn};

/// `[OUTPUT] Name null`
pub static PLUGIN: OutputPlugin =
    OutputPlugin::new::<Config>("null", "throws records away", Stability::Stable);

/// Properties of `[OUTPUT] Name null`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Taken for compatibility; nothing is formatted.
    format: Option<String>,
    /// Taken for compatibility; nothing is formatted.
    json_date_format: Option<String>,
    /// Taken for compatibility; nothing is formatted.
    json_date_key: Option<String>,
}

impl OutputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        let idle = [
            ("format", self.format.is_some()),
            ("json_date_format", self.json_date_format.is_some()),
            ("json_date_key", self.json_date_key.is_some()),
        ];
        for (key, _) in idle.iter().filter(|(_, is_set)| *is_set) {
            warn(cx, key, "has no effect: nothing is formatted");
        }
        Ok(Arc::new(Null {
            limits: limits(cx, 1),
        }))
    }
}

struct Null {
    limits: Limits,
}

impl Output for Null {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn group_by(&self) -> GroupBy {
        GroupBy::All
    }

    fn deliver(&self, _chunk: Chunk, _cx: DeliverCx) -> BoxFuture<'_, Outcome> {
        Box::pin(async { Outcome::Delivered })
    }
}
