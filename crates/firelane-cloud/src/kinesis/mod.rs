//! Kinesis Data Streams: streams and shards; `put.rs` takes records, `read.rs` gives them.
//!
//! A stream is ACTIVE as soon as it is made; its shards never split or merge, so every record stays where
//! its key puts it. KPL aggregates are records like others. Throughput per shard is not limited;
//! `--throttle` and `--partial` give those errors.
//! <https://docs.aws.amazon.com/kinesis/latest/APIReference/>

mod put;
mod read;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cloud::{Answer, Call, Cloud, Inner, done, ok};
use crate::error::ApiError;
use crate::params::{Params, Rule};
use crate::service::Service;
use crate::store::State;
use crate::store::catalog::{DataStream, Tags};
use crate::time;

pub(crate) use read::shard_label;

pub(crate) const OPERATIONS: &[&str] = &[
    "CreateStream",
    "DeleteStream",
    "DescribeStream",
    "DescribeStreamSummary",
    "GetRecords",
    "GetShardIterator",
    "ListShards",
    "ListStreams",
    "ListTagsForStream",
    "PutRecord",
    "PutRecords",
];

const NAME: Rule = Rule {
    min: 1,
    max: 128,
    chars: Some(("[a-zA-Z0-9_.-]+", |c| {
        c.is_ascii_alphanumeric() || "_.-".contains(c)
    })),
};
const SHARD: Rule = Rule {
    min: 1,
    max: 128,
    chars: Some(("[a-zA-Z0-9_.-]+", |c| {
        c.is_ascii_alphanumeric() || "_.-".contains(c)
    })),
};
const ARN: Rule = Rule::any(1, 2048);
/// Most shards of a stream.
const SHARDS_MAX: i64 = 500;
/// Shards of a stream on demand.
const ON_DEMAND_SHARDS: usize = 4;

pub(crate) async fn call(cloud: &Arc<Inner>, call: Call) -> Answer {
    match call.operation.as_str() {
        "PutRecord" => return put::put_record(cloud, call).await,
        "PutRecords" => return put::put_records(cloud, call).await,
        _ => {}
    }
    let params = Params::read(Service::Kinesis, &call.body)?;
    match call.operation.as_str() {
        "CreateStream" => create(cloud, params, call.now).await,
        "DeleteStream" => delete(cloud, params).await,
        "DescribeStream" => describe(cloud, params),
        "DescribeStreamSummary" => summary(cloud, params),
        "GetRecords" => read::records(cloud, params, call.now).await,
        "GetShardIterator" => read::iterator(cloud, params, call.now).await,
        "ListShards" => list_shards(cloud, params),
        "ListStreams" => list(cloud, params),
        "ListTagsForStream" => tags(cloud, params),
        other => Err(crate::server::unknown_operation(Service::Kinesis, other)),
    }
}

fn missing(cloud: &Inner, name: &str) -> ApiError {
    let account = &cloud.options.account;
    let text = format!("Stream {name} under account {account} not found.");
    ApiError::bad("ResourceNotFoundException", text)
}

fn argument(message: impl Into<String>) -> ApiError {
    ApiError::bad("InvalidArgumentException", message)
}

/// The name in a stream's ARN, or the text as it is.
fn name_of(arn: &str) -> &str {
    arn.rsplit_once(":stream/").map_or(arn, |(_, name)| name)
}

/// The stream's name, given as such or by its ARN.
fn stream_name(params: &mut Params) -> Result<String, ApiError> {
    let name = params.text("StreamName", NAME)?;
    let arn = params.text("StreamARN", ARN)?;
    match (name, arn) {
        (Some(name), _) => Ok(name),
        (None, Some(arn)) => Ok(name_of(&arn).to_owned()),
        (None, None) => Err(argument("Either StreamName or StreamARN should be provided.")),
    }
}

/// Makes a stream; false where it is there.
pub(crate) fn make(state: &mut State, name: &str, now: i64, shards: usize, mode: &str, tags: Tags) -> bool {
    if state.catalog.data_streams.contains_key(name) {
        return false;
    }
    let stream = DataStream {
        created: now,
        mode: mode.to_owned(),
        shards: (0..shards).map(|_| state.new_series()).collect(),
        tags,
    };
    state.put("", name, &stream);
    state.catalog.data_streams.insert(name.to_owned(), stream);
    true
}

impl Cloud {
    /// Makes a data stream with so many shards (1 to 500), if there is none of this name.
    pub async fn make_data_stream(&self, name: &str, shards: usize) {
        let (now, shards) = (time::now_ms(), shards.clamp(1, SHARDS_MAX as usize));
        let change = |state: &mut State| make(state, name, now, shards, "PROVISIONED", Tags::new());
        self.0.store.change(change).await;
    }
}

async fn create(cloud: &Arc<Inner>, mut params: Params, now: i64) -> Answer {
    let name = params.required("StreamName", NAME)?;
    let shards = params.number("ShardCount", 1, i64::MAX)?;
    let mode = params.take("StreamModeDetails");
    let tags = params.tag_map("Tags")?;
    params.check()?;
    let mode = mode.as_ref().and_then(|mode| mode.get("StreamMode")?.as_str());
    let mode = mode.unwrap_or("PROVISIONED").to_owned();
    let count = match (mode.as_str(), shards) {
        ("ON_DEMAND", None) => ON_DEMAND_SHARDS,
        ("ON_DEMAND", Some(_)) => {
            let text = "ShardCount must not be provided in an ON_DEMAND stream creation request.";
            return Err(ApiError::bad("ValidationException", text));
        }
        ("PROVISIONED", None) => {
            let text = "ShardCount must be provided for PROVISIONED streams.";
            return Err(ApiError::bad("ValidationException", text));
        }
        ("PROVISIONED", Some(shards)) if shards > SHARDS_MAX => {
            let text =
                format!("This request would exceed the shard limit of {SHARDS_MAX} for the local endpoint.");
            return Err(ApiError::bad("LimitExceededException", text));
        }
        ("PROVISIONED", Some(shards)) => usize::try_from(shards).unwrap_or(1),
        (other, _) => return Err(argument(format!("Unknown StreamMode {other}"))),
    };
    let change = |state: &mut State| make(state, &name, now, count, &mode, tags);
    if cloud.store.change(change).await {
        done()
    } else {
        let text = format!(
            "Stream {name} under account {} already exists.",
            cloud.options.account
        );
        Err(ApiError::bad("ResourceInUseException", text))
    }
}

async fn delete(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let name = stream_name(&mut params)?;
    params.check()?;
    let change = cloud.store.change(|state| {
        let stream = state.catalog.data_streams.remove(&name);
        let stream = stream.ok_or_else(|| missing(cloud, &name))?;
        state.delete::<DataStream>("", &name);
        stream.shards.iter().for_each(|series| state.drop_series(*series));
        Ok(())
    });
    change.await?;
    done()
}

fn get(cloud: &Inner, name: &str) -> Result<DataStream, ApiError> {
    let stream = cloud
        .store
        .look(|state| state.catalog.data_streams.get(name).cloned());
    stream.ok_or_else(|| missing(cloud, name))
}

fn describe(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let name = stream_name(&mut params)?;
    let limit = params.number("Limit", 1, 10_000)?.unwrap_or(100) as usize;
    let start = params.text("ExclusiveStartShardId", SHARD)?;
    params.check()?;
    let stream = get(cloud, &name)?;
    let (shards, more) = shard_page(&stream, start.as_deref(), limit);
    let mut out = described(cloud, &name, &stream);
    out["Shards"] = json!(shards);
    out["HasMoreShards"] = json!(more);
    ok(&json!({"StreamDescription": out}))
}

fn summary(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let name = stream_name(&mut params)?;
    params.check()?;
    let stream = get(cloud, &name)?;
    let mut out = described(cloud, &name, &stream);
    out["OpenShardCount"] = json!(stream.shards.len());
    out["ConsumerCount"] = json!(0);
    ok(&json!({"StreamDescriptionSummary": out}))
}

fn described(cloud: &Inner, name: &str, stream: &DataStream) -> Value {
    json!({
        "StreamName": name,
        "StreamARN": cloud.arn(Service::Kinesis, &format!("stream/{name}")),
        "StreamStatus": "ACTIVE",
        "StreamModeDetails": {"StreamMode": stream.mode},
        "RetentionPeriodHours": 24,
        "StreamCreationTimestamp": time::seconds(stream.created),
        "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
        "EncryptionType": "NONE",
    })
}

/// A page of shards behind `start`, and whether there are more.
fn shard_page(stream: &DataStream, start: Option<&str>, limit: usize) -> (Vec<Value>, bool) {
    let count = stream.shards.len();
    let wanted = (0..count).filter(|at| start.is_none_or(|start| *shard_id(*at) > *start));
    let shards: Vec<_> = wanted.clone().take(limit).map(|at| shard(at, count)).collect();
    let more = wanted.count() > shards.len();
    (shards, more)
}

fn shard(at: usize, count: usize) -> Value {
    let (from, to) = hash_range(at, count);
    json!({
        "ShardId": shard_id(at),
        "HashKeyRange": {"StartingHashKey": from.to_string(), "EndingHashKey": to.to_string()},
        "SequenceNumberRange": {"StartingSequenceNumber": sequence(at, 0)},
    })
}

fn list_shards(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let token = params.text("NextToken", Rule::any(1, 1_048_576))?;
    let limit = params.number("MaxResults", 1, 10_000)?.unwrap_or(1000) as usize;
    let start = params.text("ExclusiveStartShardId", SHARD)?;
    if params.take("ShardFilter").is_some() {
        return Err(argument(
            "The local endpoint has no ShardFilter: its shards are all open.",
        ));
    }
    // A token names the stream too.
    let (name, start) = match token {
        Some(token) => {
            let bad = || argument("The NextToken is not valid.");
            let (name, start) = token.split_once('/').ok_or_else(bad)?;
            (name.to_owned(), Some(start.to_owned()))
        }
        None => (stream_name(&mut params)?, start),
    };
    params.check()?;
    let stream = get(cloud, &name)?;
    let (shards, more) = shard_page(&stream, start.as_deref(), limit);
    let last = shards.last().and_then(|shard| shard.get("ShardId")?.as_str());
    let next = last.filter(|_| more).map(|last| format!("{name}/{last}"));
    let mut answer = json!({"Shards": shards});
    if let Some(next) = next {
        answer["NextToken"] = json!(next);
    }
    ok(&answer)
}

fn list(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let limit = params.number("Limit", 1, 10_000)?.unwrap_or(100) as usize;
    let start = params.text("ExclusiveStartStreamName", NAME)?;
    let token = params.text("NextToken", Rule::any(1, 1_048_576))?;
    params.check()?;
    let start = token.or(start);
    let (names, summaries, more) = cloud.store.look(|state| {
        let all = state.catalog.data_streams.iter();
        let mut wanted = all.filter(|(name, _)| start.as_ref().is_none_or(|start| *name > start));
        let page: Vec<_> = wanted.by_ref().take(limit).collect();
        let summaries: Vec<_> = page
            .iter()
            .map(|(name, stream)| {
                json!({
                    "StreamName": name,
                    "StreamARN": cloud.arn(Service::Kinesis, &format!("stream/{name}")),
                    "StreamStatus": "ACTIVE",
                    "StreamModeDetails": {"StreamMode": stream.mode},
                    "StreamCreationTimestamp": time::seconds(stream.created),
                })
            })
            .collect();
        let names: Vec<_> = page.into_iter().map(|(name, _)| name.clone()).collect();
        (names, summaries, wanted.next().is_some())
    });
    let next = names.last().filter(|_| more).cloned();
    let mut answer = json!({"StreamNames": names, "HasMoreStreams": more, "StreamSummaries": summaries});
    if let Some(next) = next {
        answer["NextToken"] = json!(next);
    }
    ok(&answer)
}

fn tags(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let name = stream_name(&mut params)?;
    params.check()?;
    let stream = get(cloud, &name)?;
    let tags = stream
        .tags
        .iter()
        .map(|(key, value)| json!({"Key": key, "Value": value}));
    ok(&json!({"Tags": tags.collect::<Vec<_>>(), "HasMoreTags": false}))
}

fn shard_id(at: usize) -> String {
    format!("shardId-{at:012}")
}

fn shard_at(id: &str) -> Option<usize> {
    id.strip_prefix("shardId-")?.parse().ok()
}

/// Hash keys of a shard, both ends included: the 128 bits in equal parts.
fn hash_range(at: usize, count: usize) -> (u128, u128) {
    if count <= 1 {
        return (0, u128::MAX);
    }
    let (at, count) = (at as u128, count as u128);
    let width = hash_width(count);
    let end = if at + 1 == count {
        u128::MAX
    } else {
        (at + 1) * width - 1
    };
    (at * width, end)
}

/// The shard of a hash key.
fn shard_of(hash: u128, count: usize) -> usize {
    if count <= 1 {
        return 0;
    }
    let of = (hash / hash_width(count as u128)) as usize;
    of.min(count - 1)
}

/// Hash keys of each shard but the last, which may have some more.
fn hash_width(count: u128) -> u128 {
    (u128::MAX - count + 1) / count + 1
}

/// The sequence number of a shard's record.
fn sequence(shard: usize, number: u64) -> String {
    format!("496{shard:05}{number:048}")
}

/// The record's number in a sequence number of this shard.
fn number_of(sequence: &str, shard: usize) -> Option<u64> {
    let prefix = format!("496{shard:05}");
    let digits = sequence
        .strip_prefix(&prefix)
        .filter(|digits| digits.len() == 48)?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shards_cover_every_hash_key_once(hash: u128, count in 1usize..600) {
            let at = shard_of(hash, count);
            let (from, to) = hash_range(at, count);
            prop_assert!((from..=to).contains(&hash));
            prop_assert_eq!(hash_range(0, count).0, 0);
            prop_assert_eq!(hash_range(count - 1, count).1, u128::MAX);
            if at > 0 {
                prop_assert_eq!(hash_range(at - 1, count).1 + 1, from);
            }
        }

        #[test]
        fn sequence_numbers_come_back(shard in 0usize..500, number: u64) {
            let text = sequence(shard, number);
            prop_assert_eq!(text.len(), 56);
            prop_assert_eq!(number_of(&text, shard), Some(number));
            prop_assert_eq!(number_of(&text, shard + 1), None);
            prop_assert!(sequence(shard, number.saturating_add(1)) >= text);
        }
    }
}
