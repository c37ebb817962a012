//! What an endpoint holds, for people: a list with counts, and records as lines. The same for a folder of
//! data ([`Local`], whether an endpoint runs on it or not) and for a running endpoint ([`Remote`]).
//!
//! Lines come by their times as far as they were there at the first question, and then, for those who ask
//! on, in the order in which they come. Objects of S3 are cut into lines; gzip and zstd are decompressed.

mod client;
mod page;

use serde::{Deserialize, Serialize};

use crate::kinesis::shard_label;
use crate::store::State;
use crate::store::read::Place;
use crate::store::series::Totals;

pub use client::{Local, Remote, ViewError};
pub(crate) use page::Plan;

/// Kinds of what holds records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A log group of CloudWatch Logs.
    LogGroup,
    /// A delivery stream of Firehose.
    DeliveryStream,
    /// A data stream of Kinesis.
    DataStream,
    /// A bucket of S3.
    Bucket,
}

impl Kind {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::LogGroup => "log group",
            Self::DeliveryStream => "delivery stream",
            Self::DataStream => "data stream",
            Self::Bucket => "bucket",
        }
    }
}

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The log stream or the shard; empty where there are none.
    pub part: String,
    /// Events, records or objects.
    pub count: u64,
    /// Bytes of them, as they were sent.
    pub bytes: u64,
    /// The last one's time, in ms since the epoch.
    pub last_ms: Option<i64>,
}

/// Which records are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Of what.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Only this log stream.
    pub stream: Option<String>,
    /// Only lines with this text.
    pub grep: Option<String>,
    /// Only from this time on, in ms since the epoch; of objects: put since then.
    pub since_ms: Option<i64>,
}

/// A record, or a line of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The event's time, else when it came, in ms since the epoch.
    pub time_ms: i64,
    /// Log stream, shard or key of the object.
    pub part: String,
    /// The text; what is not UTF-8 is replaced.
    pub text: String,
}

/// Some lines, and where to go on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page {
    /// In order.
    pub lines: Vec<Line>,
    /// For the next question.
    pub position: Position,
    /// Whether there is more by now.
    pub more: bool,
}

/// How far a reader has come. The default is the beginning.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Position {
    /// Numbers up to which each series was there at the first question: read by time.
    #[serde(default)]
    ends: Vec<(u64, u64)>,
    /// The last of those that was given.
    #[serde(default)]
    after: Option<(i64, u64, u64)>,
    /// Those are all given; from their ends on it goes by number.
    #[serde(default)]
    follows: bool,
    /// The last object: when it was put, its key, and the bytes of it that were given.
    #[serde(default)]
    object: Option<(i64, String, u64)>,
}

impl Position {
    fn place(&self) -> Option<Place> {
        let (time, series, seq) = self.after?;
        Some(Place { time, series, seq })
    }
}

/// Everything that holds records.
pub(crate) fn list(state: &State) -> Vec<Listed> {
    let mut out = Vec::new();
    let mut add = |kind, name: &str, part: String, totals: Totals| {
        out.push(Listed {
            kind,
            name: name.to_owned(),
            part,
            count: totals.count,
            bytes: totals.payload,
            last_ms: totals.times().map(|(_, last)| last),
        });
    };
    let totals = |series: &u64| {
        state
            .series
            .get(series)
            .map(|series| series.totals)
            .unwrap_or_default()
    };
    let catalog = &state.catalog;
    for (name, group) in &catalog.groups {
        for (stream, place) in &group.streams {
            add(Kind::LogGroup, name, stream.clone(), totals(&place.series));
        }
        if group.streams.is_empty() {
            add(Kind::LogGroup, name, String::new(), Totals::default());
        }
    }
    for (name, stream) in &catalog.delivery_streams {
        add(Kind::DeliveryStream, name, String::new(), totals(&stream.series));
    }
    for (name, stream) in &catalog.data_streams {
        for (at, series) in stream.shards.iter().enumerate() {
            add(Kind::DataStream, name, shard_label(at), totals(series));
        }
    }
    for (name, bucket) in &catalog.buckets {
        let sizes = bucket
            .objects
            .values()
            .flat_map(|object| object.files.iter().map(|(_, size)| size));
        out.push(Listed {
            kind: Kind::Bucket,
            name: name.clone(),
            part: String::new(),
            count: bucket.objects.len() as u64,
            bytes: sizes.sum(),
            last_ms: bucket.objects.values().map(|object| object.modified).max(),
        });
    }
    out
}
