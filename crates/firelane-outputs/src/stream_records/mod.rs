//! What `kinesis_firehose`, `firehose`, `kinesis_streams` and `kinesis` share: records as texts, base64
//! within JSON, some hundred in a call.
//!
//! ```text
//! record ─▶ Texts: JSON, or the value of log_key, and a newline ─▶ compressed ─▶ an entry, or a part of one
//!        ─▶ Pack: {"StreamName":…,"Records":[{"Data":"<base64>","PartitionKey":"…"},…]}
//! ```
//!
//! Each service answers to two names with the same properties. Where Fluent Bit's own plugin (written in C)
//! and the Go plugin of aws-for-fluent-bit differ, the name decides ([`Dialect`]).
//!
//! Limits, kept by construction: 500 entries; Firehose 4 MiB and 1,024,000 bytes an entry, Kinesis 5 MiB and
//! 1 MiB with the partition key. The limits of calls are kept for the whole body, base64 included: AWS does
//! not say which is meant. A record over the limit is refused (C) or cut (Go, and C where records are
//! compressed, as Fluent Bit does).
//!
//! On failure: the services answer for each entry, and only those that failed are sent again. A call that was
//! throttled altogether ends the round. Nothing is given up but by the whole call being refused.
//!
//! Order: Firehose keeps none, Kinesis only that of one partition key. So many calls are under way at once,
//! unless `workers 1` asks for one after the other; then what follows a failed record waits for it, as
//! far as it is not in the same call.
//!
//! Better than Fluent Bit: `log_key` is compared whole, values that are no strings are JSON, the newline
//! stays behind a cut record, a cut is between characters, `time_key` needs not stand in `data_keys`.
//! Deliberately not here: Arrow and Parquet, explicit hash keys.

mod aggregate;
mod config;
pub(crate) mod judge;
mod keys;
mod lines;
mod pack;
mod press;
mod text;

#[cfg(test)]
mod tests;

use firelane_core::{
    ChunkView, GroupBy, HttpOutput, HttpRequest, HttpResponse, Judgement, Limits, Uncovered,
};
use firelane_net::aws::Service;
use firelane_record::json::JsonOptions;
use firelane_record::set::RecordSet;
use firelane_record::{Event, TimeFormat};

pub(crate) use config::{Common, Own, config};

use keys::{Draw, Keys};
use pack::{Covered, Pack};
use press::{Press, Presses};
use text::{Scratch, Texts};

pub use press::Coding;

/// Whose habits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Fluent Bit's own plugins.
    C,
    /// The Go plugins of aws-for-fluent-bit.
    Go,
}

/// The service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Amazon Data Firehose, `PutRecordBatch`.
    Firehose,
    /// Kinesis Data Streams, `PutRecords`.
    Kinesis,
}

/// Entries of a call, for both services.
const ENTRIES_MAX: usize = 500;

impl Target {
    fn service(self) -> Service {
        match self {
            Self::Firehose => Service::FIREHOSE,
            Self::Kinesis => Service::KINESIS,
        }
    }

    /// Bytes of an entry before base64; in Kinesis with its partition key.
    fn entry_max(self) -> usize {
        match self {
            Self::Firehose => 1_024_000,
            Self::Kinesis => 1 << 20,
        }
    }

    /// Bytes of a call.
    fn body_max(self) -> usize {
        match self {
            Self::Firehose => 4 << 20,
            Self::Kinesis => 5 << 20,
        }
    }

    /// Value of `X-Amz-Target`.
    fn action(self) -> &'static str {
        match self {
            Self::Firehose => "Firehose_20150804.PutRecordBatch",
            Self::Kinesis => "Kinesis_20131202.PutRecords",
        }
    }
}

/// How records become entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Join {
    /// Each is one.
    #[default]
    Never,
    /// Many texts behind each other (`simple_aggregation`).
    Lines,
    /// Many in the format of the Kinesis Producer Library (`aggregation`).
    Kpl,
}

/// A time that is put into records.
#[derive(Debug, Clone)]
pub struct TimeField {
    /// `time_key`
    pub key: String,
    /// `time_key_format`
    pub format: TimeFormat,
}

/// What the user asked for, understood.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The service.
    pub target: Target,
    /// Whose habits.
    pub dialect: Dialect,
    /// Name of the stream.
    pub stream: String,
    /// How JSON is printed in [`Dialect::C`].
    pub json: JsonOptions,
    /// Only the value of this key.
    pub log_key: Option<String>,
    /// Only these keys.
    pub data_keys: Option<Vec<String>>,
    /// A time, as the last key.
    pub time: Option<TimeField>,
    /// What stands in place of `.` in keys.
    pub replace_dots: Option<String>,
    /// A newline behind each record.
    pub newline: bool,
    /// How entries are compressed.
    pub coding: Option<Coding>,
    /// How records become entries.
    pub join: Join,
    /// Path to the value that is the partition key; else keys are random.
    pub partition_key: Option<Vec<String>>,
    /// Any number, different in each process.
    pub seed: u64,
    /// What a chunk may hold.
    pub limits: Limits,
}

/// The output, without its connections.
pub struct StreamRecords {
    target: Target,
    title: &'static str,
    limits: Limits,
    texts: Texts,
    keys: Keys,
    join: Join,
    presses: Option<Presses>,
    /// A body up to its first entry.
    head: Vec<u8>,
    /// Behind the last of joined lines comes one more newline.
    blank_line: bool,
}

/// What encoding a chunk needs; made once for all its records.
struct Tools {
    scratch: Scratch,
    draw: Draw,
    press: Option<Press>,
}

impl StreamRecords {
    /// The output that `settings` describe.
    pub fn new(settings: Settings) -> Self {
        let target = settings.target;
        let mut head = Vec::new();
        head.extend_from_slice(match target {
            Target::Firehose => b"{\"DeliveryStreamName\":",
            Target::Kinesis => b"{\"StreamName\":",
        });
        JsonOptions::new(true).encode_str(settings.stream.as_bytes(), &mut head);
        head.extend_from_slice(b",\"Records\":[");
        Self {
            target,
            title: target.service().title,
            limits: settings.limits,
            keys: match target {
                Target::Firehose => Keys::none(),
                Target::Kinesis => Keys::new(settings.partition_key.as_deref(), settings.seed),
            },
            join: settings.join,
            presses: settings.coding.map(Presses::new),
            head,
            blank_line: target == Target::Firehose && settings.dialect == Dialect::C,
            texts: Texts::new(settings),
        }
    }

    fn tools(&self) -> Tools {
        Tools {
            scratch: Scratch::default(),
            draw: self.keys.draw(),
            press: self.presses.as_ref().and_then(Presses::take),
        }
    }

    /// One entry per record.
    fn each(&self, chunk: ChunkView<'_>, tools: &mut Tools, pack: &mut Pack<'_>) {
        let Tools { scratch, draw, press } = tools;
        for (index, event) in records(chunk) {
            if !self.texts.write(&event, scratch) {
                continue;
            }
            draw.find(&event);
            let room = self.target.entry_max() - draw.key().len();
            if let Some(data) = self.texts.fit(&mut scratch.text, room, press.as_mut()) {
                pack.add(data, draw.key(), Covered::One(index));
            }
        }
    }
}

/// The records of a chunk with their indexes, without the markers around groups.
fn records<'a>(chunk: ChunkView<'a>) -> impl Iterator<Item = (u32, Event<'a>)> {
    let events = (0..).zip(chunk.events());
    events
        .map(|(index, (_, event))| (index, event))
        .filter(|(_, event)| !event.time.is_group_marker())
}

impl HttpOutput for StreamRecords {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn group_by(&self) -> GroupBy {
        GroupBy::All
    }

    fn encode(&self, chunk: ChunkView<'_>) -> Vec<HttpRequest> {
        let mut pack = Pack::new(self.target, &self.head, chunk);
        let mut tools = self.tools();
        match self.join {
            Join::Never => self.each(chunk, &mut tools, &mut pack),
            Join::Lines => self.joined(chunk, &mut tools, &mut pack),
            Join::Kpl => self.aggregated(chunk, &mut tools, &mut pack),
        }
        if let (Some(presses), Some(press)) = (&self.presses, tools.press) {
            presses.give(press);
        }
        pack.finish()
    }

    fn uncovered(&self, chunk: ChunkView<'_>, uncovered: &RecordSet) -> Uncovered {
        let mut done = uncovered.complement(chunk.records());
        let (mut lacking, mut large) = (0, 0);
        let mut scratch = Scratch::default();
        for (index, event) in records(chunk) {
            done.insert(index);
            if !uncovered.contains(index) {
                continue;
            }
            if self.texts.write(&event, &mut scratch) {
                large += 1;
            } else {
                lacking += 1;
            }
        }
        let mut reasons = Vec::new();
        if large > 0 {
            let (limit, title) = (self.target.entry_max(), self.title);
            reasons.push(format!(
                "{large} records are over the {limit} bytes that {title} takes"
            ));
        }
        if lacking > 0 {
            let key = self.texts.log_key();
            reasons.push(format!(
                "{lacking} records have no `{key}`, which is the `log_key`"
            ));
        }
        Uncovered {
            // What is neither a record nor covered is a marker.
            done: done.complement(chunk.records()),
            why: (!reasons.is_empty()).then(|| reasons.join("; ")),
        }
    }

    fn judge(&self, request: &HttpRequest, response: &HttpResponse<'_>) -> Judgement {
        judge::judge(self.target, request, response)
    }
}
