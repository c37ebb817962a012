//! `test_hold`: a filter that holds every record for a while and joins nothing. What multiline and partial
//! messages will do to tickets, without their rules.

use std::time::{Duration, Instant};

use firelane_conf::Diagnostic;
use firelane_conf::units::Interval;
use firelane_core::plugin::BuiltFilter;
use firelane_core::{BuildCx, Emit, FilterConfig, FilterPlugin, Scope, Stability, Stage};
use firelane_record::{Draft, RecordsBuf};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[FILTER] Name test_hold`
pub(crate) static PLUGIN: FilterPlugin = FilterPlugin::new::<Config>(
    "test_hold",
    "holds every record for a while",
    Stability::Experimental,
);

/// Properties of `[FILTER] Name test_hold`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Config {
    /// How long the oldest record is held. All that came since goes on with it.
    hold: Interval,
}

impl FilterConfig for Config {
    fn build(self, _cx: &BuildCx<'_>) -> Result<BuiltFilter, Vec<Diagnostic>> {
        let hold = self.hold.0;
        let make = move || -> Box<dyn Stage> {
            Box::new(Hold {
                hold,
                records: RecordsBuf::default(),
                since: None,
            })
        };
        Ok(BuiltFilter::Stage(Box::new(make)))
    }
}

struct Hold {
    hold: Duration,
    records: RecordsBuf,
    since: Option<Instant>,
}

impl Stage for Hold {
    fn scope(&self) -> Scope {
        Scope::PerStream
    }

    fn push(&mut self, record: Draft<'_>, _out: &mut Emit<'_>) {
        self.since.get_or_insert_with(Instant::now);
        record.write(&mut self.records);
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.since? + self.hold)
    }

    fn expire(&mut self, _now: Instant, out: &mut Emit<'_>) {
        self.since = None;
        for event in self.records.take().events() {
            out.event(&event);
        }
    }
}
