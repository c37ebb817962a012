//! `dummy`: makes records, for trying things out.
//!
//! The record is fixed; its time is now, or counts from `start_time_*`. Ends by itself after `samples`.

use std::time::{Duration, SystemTime};

use firelane_conf::Diagnostic;
use firelane_conf::units::OnOff;
use firelane_core::{
    AckOn, BoxFuture, BuildCx, Input, InputConfig, InputCx, InputError, InputPlugin, Stability,
};
use firelane_record::{MapWriter, RecordsBuf, Timestamp, json};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::serve::{warn, without_effect};

/// The plugin.
pub static PLUGIN: InputPlugin =
    InputPlugin::new::<Config>("dummy", "Makes records for tests", Stability::Stable);

/// Properties of `[INPUT] Name dummy`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Config {
    /// The record, a JSON object.
    #[serde(default = "default_record")]
    dummy: String,
    /// The metadata, a JSON object.
    #[serde(default = "empty_object")]
    metadata: String,
    /// Number of samples after which it ends; 0: never.
    #[serde(default)]
    samples: u64,
    /// Samples a second.
    #[serde(default = "one")]
    rate: u64,
    /// Records a sample.
    #[serde(default = "one")]
    copies: u64,
    /// Seconds between samples; with `interval_nsec`, instead of `rate`.
    #[serde(default)]
    interval_sec: u64,
    /// Nanoseconds between samples, added to `interval_sec`.
    #[serde(default)]
    interval_nsec: u64,
    /// Seconds of the first record's time; -1: now.
    #[serde(default = "minus_one")]
    start_time_sec: i64,
    /// Nanoseconds of the first record's time.
    #[serde(default = "minus_one")]
    start_time_nsec: i64,
    /// Give every record the time of the first.
    #[serde(default)]
    fixed_timestamp: OnOff,
    /// Send the first sample at once, not after the first interval.
    #[serde(default)]
    flush_on_startup: OnOff,
    /// A switch of Fluent Bit's own tests: no effect.
    #[expect(dead_code, reason = "named in a warning")]
    test_hang_on_exit: Option<OnOff>,
}

fn default_record() -> String {
    r#"{"message":"dummy"}"#.into()
}

fn empty_object() -> String {
    "{}".into()
}

fn one() -> u64 {
    1
}

fn minus_one() -> i64 {
    -1
}

impl InputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Box<dyn Input>, Vec<Diagnostic>> {
        without_effect(
            cx,
            &[("test_hang_on_exit", "it is a switch of Fluent Bit's own tests")],
        );
        let body = object(&self.dummy).unwrap_or_else(|| {
            warn(
                cx,
                "dummy",
                "not a JSON object, `{\"message\":\"dummy\"}` is sent instead",
            );
            object(&default_record()).unwrap_or_else(|| vec![0x80])
        });
        let metadata = object(&self.metadata).unwrap_or_else(|| {
            warn(cx, "metadata", "not a JSON object, none is sent");
            vec![0x80]
        });
        let interval = Duration::from_secs(self.interval_sec) + Duration::from_nanos(self.interval_nsec);
        let rate = Duration::from_secs(1) / u32::try_from(self.rate.max(1)).unwrap_or(u32::MAX);
        let given = self.start_time_sec >= 0 || self.start_time_nsec >= 0;
        Ok(Box::new(Dummy {
            body,
            metadata: (metadata != [0x80]).then_some(metadata),
            samples: self.samples,
            copies: self.copies.clamp(1, COPIES_MAX),
            interval: if interval.is_zero() { rate } else { interval },
            start: given.then(|| {
                let nanos = u32::try_from(self.start_time_nsec.max(0)).unwrap_or(0);
                Timestamp::new(self.start_time_sec.max(0), nanos).unwrap_or_default()
            }),
            fixed: self.fixed_timestamp.0,
            at_once: self.flush_on_startup.0,
        }))
    }
}

/// Most records a sample.
const COPIES_MAX: u64 = 1_000_000;

fn object(text: &str) -> Option<Vec<u8>> {
    let mut map = MapWriter::new();
    json::object_to_map(text.as_bytes(), &mut map).ok()?;
    let mut out = Vec::new();
    map.write(&mut out);
    Some(out)
}

struct Dummy {
    body: Vec<u8>,
    metadata: Option<Vec<u8>>,
    samples: u64,
    copies: u64,
    interval: Duration,
    start: Option<Timestamp>,
    fixed: bool,
    at_once: bool,
}

impl Dummy {
    /// The time of a record made `since` the start.
    fn time(&self, first: Timestamp, since: Duration) -> Timestamp {
        if self.fixed {
            return first;
        }
        let nanos = u64::from(first.nanos) + u64::from(since.subsec_nanos());
        let carry = nanos / 1_000_000_000;
        let secs = first.secs.saturating_add((since.as_secs() + carry) as i64);
        Timestamp {
            secs,
            nanos: (nanos % 1_000_000_000) as u32,
        }
    }

    async fn generate(self, cx: InputCx) -> Result<(), InputError> {
        let stream = cx.ingest.stream(AckOn::Append);
        let begun = Instant::now();
        let first = self
            .start
            .unwrap_or_else(|| Timestamp::from_system(SystemTime::now()));
        let start = if self.at_once {
            begun
        } else {
            begun + self.interval
        };
        let mut tick = interval_at(start, self.interval.max(Duration::from_nanos(1)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut buf = RecordsBuf::default();
        let mut sample = 0;
        while self.samples == 0 || sample < self.samples {
            tokio::select! {
                _ = tick.tick() => {}
                () = cx.stop.draining() => return Ok(()),
            }
            let time = self.time(first, begun.elapsed());
            for _ in 0..self.copies {
                buf.push(time, self.metadata.as_deref(), &self.body);
            }
            sample += 1;
            // An error means that the engine has ended: so does this.
            if cx.append(&stream, &cx.tag, buf.take()).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Input for Dummy {
    fn run(self: Box<Self>, cx: InputCx) -> BoxFuture<'static, Result<(), InputError>> {
        Box::pin(self.generate(cx))
    }
}
