//! `test_partial`: an output into a file of JSON lines that fails as its records say in their field `act`.
//!
//! | `act` | What becomes of it |
//! |---|---|
//! | `refuse` | this record is refused for good, the others of the chunk are taken |
//! | `later` | this record fails at the first try and is taken at the second, the others are taken |
//! | `panic` | the first try of the chunk panics before anything is taken |
//! | `hang` | the delivery of the chunk never ends, until it is given up; nothing of it is taken |
//! | `slow` | the chunk takes as long as the property `slow` says |

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use firelane_conf::Diagnostic;
use firelane_conf::units::Interval;
use firelane_core::{
    BoxFuture, BuildCx, Cause, CauseKind, Chunk, DeliverCx, GroupBy, Limits, Order, Outcome, Output,
    OutputConfig, OutputPlugin, Stability,
};
use firelane_record::json::JsonOptions;
use firelane_record::msgpack;
use firelane_record::set::RecordSet;
use schemars::JsonSchema;
use serde::Deserialize;

/// A delivery that takes longer has hung.
const DEADLINE: Duration = Duration::from_secs(8);

/// `[OUTPUT] Name test_partial`
pub(crate) static PLUGIN: OutputPlugin = OutputPlugin::new::<Config>(
    "test_partial",
    "fails as its records say",
    Stability::Experimental,
);

/// Properties of `[OUTPUT] Name test_partial`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Config {
    /// The file that gets what is taken, a JSON object a line.
    path: String,
    /// How long a chunk with a record that says `slow` takes.
    slow: Interval,
    /// Most records in a chunk.
    records_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "partial.json".into(),
            slow: Interval(Duration::from_secs(1)),
            records_max: u32::MAX,
        }
    }
}

impl OutputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        let workers = cx.workers.unwrap_or(1).max(1);
        let limits = Limits {
            records_max: self.records_max,
            in_flight_max: workers,
            order: if workers == 1 {
                Order::PerStream
            } else {
                Order::Any
            },
            ..Limits::default()
        };
        Ok(Arc::new(Partial {
            path: cx.service.base.join(self.path),
            slow: self.slow.0,
            limits,
        }))
    }
}

struct Partial {
    path: PathBuf,
    slow: Duration,
    limits: Limits,
}

impl Output for Partial {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    fn group_by(&self) -> GroupBy {
        GroupBy::All
    }

    fn deliver(&self, chunk: Chunk, cx: DeliverCx) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let is_first = cx.attempt == 0;
            let has = |act: &[u8]| acts(&chunk).any(|own| own == Some(act));
            assert!(!(is_first && has(b"panic")), "told to panic");
            if has(b"hang") {
                std::future::pending::<()>().await;
            }
            if has(b"slow") {
                tokio::time::sleep(self.slow).await;
            }
            let refused = those(&chunk, b"refuse");
            let later = if is_first {
                those(&chunk, b"later")
            } else {
                RecordSet::none()
            };
            let done = refused.union(&later).complement(chunk.records());
            if let Err(error) = self.write(&chunk, &done) {
                return Outcome::retry(Cause::new(CauseKind::Io, error.to_string()));
            }
            if !later.is_none() {
                return Outcome::Retry {
                    done,
                    refused,
                    after: None,
                    why: Cause::new(CauseKind::Unavailable, "told to fail once"),
                };
            }
            if refused.is_none() {
                return Outcome::Delivered;
            }
            Outcome::Discard {
                records: refused,
                why: Cause::new(CauseKind::Refused, "told to refuse"),
            }
        })
    }
}

impl Partial {
    /// Appends the records in `set`, in one write.
    fn write(&self, chunk: &Chunk, set: &RecordSet) -> std::io::Result<()> {
        let json = JsonOptions::new(false);
        let mut lines = Vec::new();
        for (index, (_, event)) in (0..).zip(chunk.events()) {
            if set.contains(index) {
                json.encode_body(event.body, &mut lines);
                lines.push(b'\n');
            }
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.write_all(&lines)
    }
}

/// The field `act` of each record.
fn acts(chunk: &Chunk) -> impl Iterator<Item = Option<&[u8]>> {
    chunk.events().map(|(_, event)| {
        let mut pairs = msgpack::pairs(event.body);
        let (_, value) = pairs.find(|(key, _)| msgpack::text(key) == Some(b"act"))?;
        msgpack::text(value)
    })
}

/// The records that say `act`.
fn those(chunk: &Chunk, act: &[u8]) -> RecordSet {
    let mut set = RecordSet::none();
    for (index, _) in (0..).zip(acts(chunk)).filter(|(_, own)| *own == Some(act)) {
        set.insert(index);
    }
    set
}
