//! `GetShardIterator` and `GetRecords`.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::json;

use super::{ARN, SHARD, argument, get, missing, number_of, sequence, shard_at, shard_id, stream_name};
use crate::cloud::{Answer, Cloud, Inner, ok};
use crate::error::ApiError;
use crate::params::{Params, Rule, absent, validation};
use crate::service::Service;
use crate::store::block::Stored;
use crate::store::read::{Page, Record, by_number, each};
use crate::store::segment::Frames;
use crate::store::series::{SeriesId, Source};
use crate::time;

/// An iterator holds for so long.
const ITERATOR_MS: i64 = 5 * 60 * 1000;
/// Most bytes of an answer's records.
const BYTES_MAX: usize = 10 << 20;
/// Frames that a call looks at, at most.
const SOURCES_MAX: usize = 256;

impl Cloud {
    /// All records of a data stream, shard by shard, each in the order in which they came; none where there
    /// is no such stream.
    ///
    /// # Errors
    /// The system's, where the data cannot be read.
    pub async fn kinesis_records(&self, stream: &str) -> std::io::Result<Vec<Vec<u8>>> {
        let shards = self.0.store.look(|state| {
            let stream = state.catalog.data_streams.get(stream)?;
            Some(stream.shards.clone())
        });
        let mut all = Vec::new();
        for series in shards.unwrap_or_default() {
            all.extend(self.series_records(series).await?);
        }
        Ok(all)
    }

    /// All records of a delivery stream, in the order in which they came; none where there is no such stream.
    ///
    /// # Errors
    /// The system's, where the data cannot be read.
    pub async fn firehose_records(&self, stream: &str) -> std::io::Result<Vec<Vec<u8>>> {
        let found = self.0.store.look(|state| {
            let stream = state.catalog.delivery_streams.get(stream)?;
            Some(stream.series)
        });
        match found {
            Some(series) => self.series_records(series).await,
            None => Ok(Vec::new()),
        }
    }

    async fn series_records(&self, series: SeriesId) -> std::io::Result<Vec<Vec<u8>>> {
        let sources = self.0.store.look(|state| {
            let series = state.series.get(&series);
            series.map(|series| series.sources().collect::<Vec<_>>())
        });
        let read = self.0.read(Service::Kinesis, move |frames| {
            let mut all = Vec::new();
            for source in sources.unwrap_or_default() {
                each(frames, &source, |_, stored| all.push(stored.data.to_vec()))?;
            }
            Ok(all)
        });
        read.await.map_err(|error| std::io::Error::other(error.message))
    }
}

/// Where the next records are read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Iterator {
    issued: i64,
    shard: usize,
    number: u64,
    stream: String,
}

impl Iterator {
    fn text(&self) -> String {
        let Self {
            issued,
            shard,
            number,
            stream,
        } = self;
        URL_SAFE.encode(format!("{issued}:{shard}:{number}:{stream}"))
    }

    fn read(text: &str) -> Option<Self> {
        let plain = String::from_utf8(URL_SAFE.decode(text).ok()?).ok()?;
        let mut parts = plain.splitn(4, ':');
        let mut next = || parts.next();
        Some(Self {
            issued: next()?.parse().ok()?,
            shard: next()?.parse().ok()?,
            number: next()?.parse().ok()?,
            stream: next()?.to_owned(),
        })
    }
}

pub(super) async fn iterator(cloud: &Arc<Inner>, mut params: Params, now: i64) -> Answer {
    let name = stream_name(&mut params)?;
    let shard_name = params.required("ShardId", SHARD)?;
    let kinds = [
        "AT_SEQUENCE_NUMBER",
        "AFTER_SEQUENCE_NUMBER",
        "TRIM_HORIZON",
        "LATEST",
        "AT_TIMESTAMP",
    ];
    let kind = params.word("ShardIteratorType", &kinds)?;
    let start = params.text("StartingSequenceNumber", Rule::any(1, 129))?;
    let timestamp = params.take("Timestamp").and_then(|value| value.as_f64());
    params.check()?;
    let Some(kind) = kind else {
        return Err(validation(Service::Kinesis, vec![absent("ShardIteratorType")])
            .err()
            .unwrap_or_else(|| argument("ShardIteratorType is missing")));
    };
    let stream = get(cloud, &name)?;
    let shard = shard_at(&shard_name).filter(|at| *at < stream.shards.len());
    let no_shard = || {
        let account = &cloud.options.account;
        let text = format!("Shard {shard_name} in stream {name} under account {account} does not exist");
        ApiError::bad("ResourceNotFoundException", text)
    };
    let shard = shard.ok_or_else(no_shard)?;
    let series = stream.shards.get(shard).copied().ok_or_else(no_shard)?;
    let next = cloud.store.look(|state| {
        state
            .series
            .get(&series)
            .map(super::super::store::series::Series::next_seq)
    });
    let next = next.ok_or_else(|| missing(cloud, &name))?;
    let given = || {
        let start = start
            .as_deref()
            .ok_or_else(|| argument("StartingSequenceNumber is missing."))?;
        let number = number_of(start, shard).filter(|number| *number <= next);
        let text = format!(
            "StartingSequenceNumber {start} used in GetShardIterator on shard {shard_name} in stream {name} under account {} is invalid.",
            cloud.options.account
        );
        number.ok_or_else(|| argument(text))
    };
    let number = match kind.as_str() {
        "TRIM_HORIZON" => 0,
        "LATEST" => next,
        "AT_SEQUENCE_NUMBER" => given()?,
        "AFTER_SEQUENCE_NUMBER" => given()? + 1,
        _ => {
            let seconds = timestamp.ok_or_else(|| argument("Timestamp is missing."))?;
            at_time(cloud, series, (seconds * 1000.0) as i64)
                .await?
                .unwrap_or(next)
        }
    };
    let iterator = Iterator {
        issued: now,
        shard,
        number,
        stream: name,
    };
    ok(&json!({"ShardIterator": iterator.text()}))
}

/// The number of the first record that came at `ms` or later.
async fn at_time(cloud: &Inner, series: SeriesId, ms: i64) -> Result<Option<u64>, ApiError> {
    let source = cloud.store.look(|state| {
        let mut sources = state.series.get(&series)?.sources();
        sources.find(|source| source.summary().arrived >= ms)
    });
    let Some(source) = source else { return Ok(None) };
    let read = move |frames: &mut Frames| {
        let mut found = None;
        each(frames, &source, |seq, stored: &Stored<'_>| {
            if stored.arrival >= ms && found.is_none() {
                found = Some(seq);
            }
        })?;
        Ok(found)
    };
    cloud.read(Service::Kinesis, read).await
}

pub(super) async fn records(cloud: &Arc<Inner>, mut params: Params, now: i64) -> Answer {
    let token = params.required("ShardIterator", Rule::any(1, 512))?;
    let limit = params.number("Limit", 1, 10_000)?.unwrap_or(10_000) as usize;
    params.text("StreamARN", ARN)?;
    params.check()?;
    let at = Iterator::read(&token).ok_or_else(|| argument("Invalid ShardIterator."))?;
    if now - at.issued > ITERATOR_MS {
        let text = format!(
            "Iterator expired. The iterator was created at time {} while right now it is {} which is further in the future than the tolerated delay of {ITERATOR_MS} milliseconds.",
            time::iso_seconds(at.issued),
            time::iso_seconds(now)
        );
        return Err(ApiError::bad("ExpiredIteratorException", text));
    }
    let stream = get(cloud, &at.stream)?;
    let series = stream.shards.get(at.shard).copied();
    let series = series.ok_or_else(|| missing(cloud, &at.stream))?;
    let (sources, last): (Vec<Source>, i64) = cloud.store.look(|state| {
        let series = state
            .series
            .get(&series)
            .ok_or_else(|| missing(cloud, &at.stream))?;
        Ok::<_, ApiError>((series.sources_from(at.number, SOURCES_MAX), series.totals.arrived))
    })?;
    let page = Page {
        records: limit,
        bytes: BYTES_MAX,
    };
    let end = sources.last().map_or(at.number, Source::end);
    let start = at.number;
    let read = cloud.read(Service::Kinesis, move |frames| {
        by_number(frames, series, &sources, start, page)
    });
    let (records, next) = read.await?;
    let behind = records
        .last()
        .filter(|_| next < end)
        .map_or(0, |record| last - record.arrival);
    let shown = records.iter().map(|record| shown(at.shard, record));
    let following = Iterator {
        issued: now,
        number: next,
        ..at.clone()
    };
    ok(&json!({
        "Records": shown.collect::<Vec<_>>(),
        "NextShardIterator": following.text(),
        "MillisBehindLatest": behind.max(i64::from(next < end)),
        "ChildShards": [],
    }))
}

fn shown(shard: usize, record: &Record) -> serde_json::Value {
    json!({
        "SequenceNumber": sequence(shard, record.place.seq),
        "ApproximateArrivalTimestamp": time::seconds(record.arrival),
        "Data": STANDARD.encode(&record.data),
        "PartitionKey": String::from_utf8_lossy(&record.key),
        "EncryptionType": "NONE",
    })
}

/// The id of a shard, for those who read the store.
pub(crate) fn shard_label(at: usize) -> String {
    shard_id(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterators_come_back_and_junk_does_not() {
        let iterator = Iterator {
            issued: 1_767_323_045_678,
            shard: 3,
            number: 99,
            stream: "a.b-c".into(),
        };
        assert_eq!(Iterator::read(&iterator.text()), Some(iterator));
        for junk in ["", "AAAA", "é", "MTox"] {
            assert_eq!(Iterator::read(junk), None, "{junk}");
        }
    }
}
