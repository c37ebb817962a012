//! `random`: records `{"rand_value": n}` with a random number of 64 bits.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use firelane_conf::Diagnostic;
use firelane_core::{
    AckOn, BoxFuture, BuildCx, Input, InputConfig, InputCx, InputError, InputPlugin, Stability,
};
use firelane_record::{RecordsBuf, Timestamp, msgpack};
use schemars::JsonSchema;
use serde::Deserialize;

/// The plugin.
pub static PLUGIN: InputPlugin = InputPlugin::new::<Config>("random", "Random numbers", Stability::Stable);

/// Properties of `[INPUT] Name random`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Config {
    /// Number of records after which it ends; -1: never.
    #[serde(default = "endless")]
    samples: i64,
    /// Seconds between records.
    #[serde(default = "one")]
    interval_sec: u64,
    /// Nanoseconds between records, added to `interval_sec`.
    #[serde(default)]
    interval_nsec: u64,
}

fn endless() -> i64 {
    -1
}

fn one() -> u64 {
    1
}

impl InputConfig for Config {
    fn build(self, _: &BuildCx<'_>) -> Result<Box<dyn Input>, Vec<Diagnostic>> {
        let interval = Duration::from_secs(self.interval_sec) + Duration::from_nanos(self.interval_nsec);
        let interval = if interval.is_zero() {
            Duration::from_secs(1)
        } else {
            interval
        };
        Ok(Box::new(Random {
            samples: u64::try_from(self.samples).ok(),
            interval,
        }))
    }
}

struct Random {
    samples: Option<u64>,
    interval: Duration,
}

impl Random {
    async fn generate(self, cx: InputCx) -> Result<(), InputError> {
        let stream = cx.ingest.stream(AckOn::Append);
        let keys = RandomState::new();
        let mut buf = RecordsBuf::default();
        let mut n = 0u64;
        while self.samples.is_none_or(|samples| n < samples) {
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                () = cx.stop.draining() => break,
            }
            let time = Timestamp::from_system(SystemTime::now());
            buf.push_with(time, None, |out| {
                msgpack::write_map_head(out, 1);
                msgpack::write_str(out, b"rand_value");
                msgpack::write_uint(out, keys.hash_one(n));
            });
            n += 1;
            // An error means that the engine has ended: so does this.
            if cx.append(&stream, &cx.tag, buf.take()).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

impl Input for Random {
    fn run(self: Box<Self>, cx: InputCx) -> BoxFuture<'static, Result<(), InputError>> {
        Box::pin(self.generate(cx))
    }
}
