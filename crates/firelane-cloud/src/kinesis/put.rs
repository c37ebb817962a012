//! `PutRecord` and `PutRecords`, without a tree of values.
//!
//! 500 records a request. A record is its data and its key: 10 MiB now, 1 MiB by the classic limits; a
//! request 10 MiB, or 5.

use std::sync::Arc;

use firelane_record::json::RawString;
use md5::{Digest, Md5};
use serde_json::json;

use super::{NAME, argument, get, make, missing, name_of, sequence, shard_id, shard_of};
use crate::cloud::{Answer, Call, Inner, Limits, ok};
use crate::error::ApiError;
use crate::faults::Fault;
use crate::firehose::{decode, decoded_len};
use crate::params::{Rule, absent, fault, members, validation};
use crate::service::Service;
use crate::store::State;
use crate::store::block::Batch;
use crate::store::catalog::Tags;
use crate::wire::Reader;

/// Most records of a request.
const RECORDS_MAX: usize = 500;
const KEY: Rule = Rule::any(1, 256);
/// Bodies above this are read on the blocking pool.
const LARGE: usize = 64 << 10;
const MIB: usize = 1 << 20;

/// Most bytes of a record and of a request.
fn limits(limits: Limits) -> (usize, usize) {
    match limits {
        Limits::Current => (10 * MIB, 10 * MIB),
        Limits::Classic => (MIB, 5 * MIB),
    }
}

#[derive(Debug, Default)]
struct Record<'a> {
    data: Option<RawString<'a>>,
    key: Option<String>,
    hash: Option<String>,
}

#[derive(Debug, Default)]
struct Request<'a> {
    name: Option<String>,
    arn: Option<String>,
    records: Option<Vec<Record<'a>>>,
    count: usize,
}

/// Reads one member of a record; false where it is another.
fn member<'a>(record: &mut Record<'a>, reader: &mut Reader<'a>, key: &[u8]) -> Result<bool, ApiError> {
    match key {
        b"Data" | b"PartitionKey" | b"ExplicitHashKey" if reader.null()? => {}
        b"Data" => record.data = Some(reader.string()?),
        b"PartitionKey" => record.key = Some(reader.text()?),
        b"ExplicitHashKey" => record.hash = Some(reader.text()?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn read(body: &[u8], is_batch: bool) -> Result<Request<'_>, ApiError> {
    let mut request = Request::default();
    let mut single = Record::default();
    let mut reader = Reader::new(body)?;
    reader.object(|reader, key| match key {
        b"StreamName" => {
            request.name = Some(reader.text()?);
            Ok(())
        }
        b"StreamARN" => {
            request.arn = Some(reader.text()?);
            Ok(())
        }
        b"Records" if is_batch => {
            let records = request.records.insert(Vec::new());
            let count = &mut request.count;
            *count = 0;
            reader.list(|reader| {
                let mut record = Record::default();
                reader.object(|reader, key| match member(&mut record, reader, key)? {
                    true => Ok(()),
                    false => reader.skip(),
                })?;
                *count += 1;
                if records.len() <= RECORDS_MAX {
                    records.push(record);
                }
                Ok(())
            })
        }
        _ if !is_batch && member(&mut single, reader, key)? => Ok(()),
        _ => reader.skip(),
    })?;
    reader.end()?;
    if !is_batch {
        request.records = Some(vec![single]);
        request.count = 1;
    }
    Ok(request)
}

/// The stream's name, if everything has the right form.
fn validate(request: &Request<'_>, is_batch: bool, record_max: usize) -> Result<String, ApiError> {
    let mut faults = Vec::new();
    let name = match (&request.name, &request.arn) {
        (Some(name), _) => name.clone(),
        (None, Some(arn)) => name_of(arn).to_owned(),
        (None, None) => return Err(argument("Either StreamName or StreamARN should be provided.")),
    };
    let found = NAME.faults(&name);
    faults.extend(found.iter().map(|text| fault("StreamName", &name, text)));
    let records = request.records.as_deref();
    let records = members("Records", records, request.count, RECORDS_MAX, &mut faults);
    for (index, record) in records.iter().enumerate() {
        let prefix = match is_batch {
            true => format!("records.{}.member.", index + 1),
            false => String::new(),
        };
        record.validate(&prefix, record_max, &mut faults);
    }
    validation(Service::Kinesis, faults)?;
    Ok(name)
}

impl Record<'_> {
    fn validate(&self, prefix: &str, record_max: usize, faults: &mut Vec<String>) {
        let member = |name: &str| format!("{prefix}{name}");
        match &self.key {
            None => faults.push(absent(&member("partitionKey"))),
            Some(key) => {
                let found = KEY.faults(key);
                faults.extend(found.iter().map(|text| fault(&member("partitionKey"), key, text)));
            }
        }
        match self.data {
            None => faults.push(absent(&member("data"))),
            Some(data) if decoded_len(data) > record_max => {
                let constraint = format!("Member must have length less than or equal to {record_max}");
                faults.push(fault(&member("data"), "java.nio.HeapByteBuffer", &constraint));
            }
            Some(_) => {}
        }
        if let Some(hash) = self.hash.as_deref().filter(|hash| hash_key(hash).is_none()) {
            let constraint = "Member must satisfy regular expression pattern: 0|([1-9]\\d{0,38})";
            faults.push(fault(&member("explicitHashKey"), hash, constraint));
        }
    }

    fn hash(&self) -> u128 {
        match self.hash.as_deref().and_then(hash_key) {
            Some(hash) => hash,
            None => {
                let key = self.key.as_deref().unwrap_or_default();
                u128::from_be_bytes(Md5::digest(key.as_bytes()).into())
            }
        }
    }
}

fn hash_key(text: &str) -> Option<u128> {
    let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    text.parse().ok().filter(|_| plain)
}

/// What comes of a record: its shard and its place among those of the request, or a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stored { shard: usize, at: u32 },
    Throttled { shard: usize },
    Internal,
}

/// What is stored in each shard, and what comes of each record.
#[derive(Debug)]
struct Prepared {
    batches: Vec<Option<Batch>>,
    fates: Vec<Fate>,
}

fn prepare(
    request: Request<'_>,
    fate: &mut crate::faults::Fate,
    (now, shards, is_batch): (i64, usize, bool),
    (record_max, bytes_max): (usize, usize),
) -> Result<Prepared, ApiError> {
    let mut batches: Vec<Option<Batch>> = (0..shards).map(|_| None).collect();
    let mut fates = Vec::with_capacity(request.count);
    let mut bytes = 0;
    for record in request.records.unwrap_or_default() {
        let (Some(data), Some(key)) = (record.data, &record.key) else {
            continue;
        };
        let shard = shard_of(record.hash(), shards);
        if is_batch && fate.record_fails() {
            bytes += decoded_len(data) + key.len();
            fates.push(match fate.flip() {
                true => Fate::Internal,
                false => Fate::Throttled { shard },
            });
            continue;
        }
        let Some(place) = batches.get_mut(shard) else {
            continue;
        };
        let batch = place.get_or_insert_with(|| Batch::with_capacity(decoded_len(data)));
        let at = batch.summary.count;
        let mut decoded = Ok(());
        let size = batch.push(now, now, key.as_bytes(), |out| decoded = decode(data, out));
        decoded?;
        if size > record_max {
            return Err(argument(format!(
                "Record size (data and partition key) exceeds {record_max} bytes"
            )));
        }
        bytes += size;
        fates.push(Fate::Stored { shard, at });
    }
    if bytes > bytes_max {
        return Err(argument(format!(
            "Records size exceeds {} MB limit",
            bytes_max / MIB
        )));
    }
    Ok(Prepared { batches, fates })
}

/// Reads, checks, finds the stream (or makes it) and stores. Gives the first numbers per shard, and the
/// fates.
async fn put(cloud: &Arc<Inner>, mut call: Call, is_batch: bool) -> Result<(Vec<u64>, Vec<Fate>), ApiError> {
    let limits = limits(cloud.options.limits);
    let now = call.now;
    let body = call.body.clone();
    let inner = cloud.clone();
    // The stream's shards must be known before its records are spread; the name stands anywhere in the body.
    let mut work = move || -> Result<_, ApiError> {
        let request = read(&body, is_batch)?;
        let name = validate(&request, is_batch, limits.0)?;
        let known = inner.store.look(|state| {
            let stream = state.catalog.data_streams.get(&name);
            stream.map(|stream| stream.shards.len())
        });
        let shards = match known {
            Some(shards) => shards,
            None if inner.is_creating() => super::ON_DEMAND_SHARDS,
            None => return Err(missing(&inner, &name)),
        };
        let prepared = prepare(request, &mut call.fate, (now, shards, is_batch), limits)?;
        Ok((name, prepared))
    };
    let (name, prepared) = if call.body.len() <= LARGE {
        work()?
    } else {
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| ApiError::internal(Service::Kinesis, &error))??
    };
    let stream = match get(cloud, &name) {
        Err(_) if cloud.is_creating() => {
            let shards = prepared.batches.len();
            let change = |state: &mut State| make(state, &name, now, shards, "ON_DEMAND", Tags::new());
            if cloud.store.change(change).await {
                cloud.note_created("data stream", &name);
            }
            get(cloud, &name)?
        }
        found => found?,
    };
    if stream.shards.len() != prepared.batches.len() {
        let text = format!("Stream {name} is being replaced.");
        return Err(ApiError::bad("ResourceInUseException", text));
    }
    let bytes = prepared
        .batches
        .iter()
        .flatten()
        .map(|batch| batch.bytes.len())
        .sum();
    let room = cloud.store.room(bytes).await;
    let mut room = Some(room.map_err(|error| ApiError::internal(Service::Kinesis, &error))?);
    let firsts = cloud.store.look(|state| {
        let places = stream.shards.iter().zip(prepared.batches);
        let firsts = places.map(|(series, batch)| match batch {
            // All of the room goes with the first: it is given back when that is written.
            Some(batch) => state.append(*series, batch, room.take().unwrap_or_default()),
            None => Some(0),
        });
        firsts.collect::<Option<Vec<u64>>>()
    });
    cloud.store.appended();
    let firsts = firsts.ok_or_else(|| missing(cloud, &name))?;
    Ok((firsts, prepared.fates))
}

pub(super) async fn put_record(cloud: &Arc<Inner>, call: Call) -> Answer {
    let (firsts, fates) = put(cloud, call, false).await?;
    match fates.first() {
        Some(Fate::Stored { shard, at }) => {
            let first = firsts.get(*shard).copied().unwrap_or_default();
            ok(&json!({
                "ShardId": shard_id(*shard),
                "SequenceNumber": sequence(*shard, first + u64::from(*at)),
                "EncryptionType": "NONE",
            }))
        }
        _ => Err(ApiError::new(500, "InternalFailure", "Internal service failure.")),
    }
}

pub(super) async fn put_records(cloud: &Arc<Inner>, call: Call) -> Answer {
    let (firsts, fates) = put(cloud, call, true).await?;
    let failed = fates
        .iter()
        .filter(|fate| !matches!(fate, Fate::Stored { .. }))
        .count();
    cloud
        .injector
        .count(Service::Kinesis, Fault::Partial, failed as u64);
    let records = fates.iter().map(|fate| match fate {
        Fate::Stored { shard, at } => {
            let first = firsts.get(*shard).copied().unwrap_or_default();
            json!({"ShardId": shard_id(*shard), "SequenceNumber": sequence(*shard, first + u64::from(*at))})
        }
        Fate::Throttled { shard } => json!({
            "ErrorCode": "ProvisionedThroughputExceededException",
            "ErrorMessage": format!("Rate exceeded for shard {}.", shard_id(*shard)),
        }),
        Fate::Internal => json!({
            "ErrorCode": "InternalFailure",
            "ErrorMessage": "Internal service failure.",
        }),
    });
    ok(&json!({
        "FailedRecordCount": failed,
        "Records": records.collect::<Vec<_>>(),
        "EncryptionType": "NONE",
    }))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;
    use crate::faults::{Faults, Injector, Share};
    use crate::store::block::records;

    fn body(data: &[(Vec<u8>, String)]) -> String {
        let records: Vec<_> = data
            .iter()
            .map(|(data, key)| json!({"Data": STANDARD.encode(data), "PartitionKey": key}))
            .collect();
        json!({"Records": records, "StreamName": "s"}).to_string()
    }

    fn run(data: &[(Vec<u8>, String)], faults: Faults, which: Limits) -> Result<Prepared, ApiError> {
        let body = body(data);
        let request = read(body.as_bytes(), true)?;
        let limits = limits(which);
        assert_eq!(validate(&request, true, limits.0)?, "s");
        let mut fate = Injector::new(3, faults).next(Service::Kinesis);
        prepare(request, &mut fate, (1, 3, true), limits)
    }

    #[track_caller]
    fn refused(data: &[(Vec<u8>, String)], which: Limits, code: &str, words: &str) {
        let error = run(data, Faults::none(), which).unwrap_err();
        assert_eq!(error.code, code);
        assert!(error.message.contains(words), "{}", error.message);
    }

    #[test]
    fn both_kinds_of_limits() {
        let of = |size: usize| (vec![0; size], "k".to_string());
        let validation = "ValidationException";
        refused(
            &vec![of(1); 501],
            Limits::Current,
            validation,
            "less than or equal to 500",
        );
        refused(
            &[of(MIB + 1)],
            Limits::Classic,
            validation,
            "less than or equal to 1048576",
        );
        refused(
            &[of(MIB)],
            Limits::Classic,
            "InvalidArgumentException",
            "data and partition key",
        );
        refused(
            &vec![of(MIB - 1); 6],
            Limits::Classic,
            "InvalidArgumentException",
            "5 MB limit",
        );
        refused(
            &vec![of(MIB); 11],
            Limits::Current,
            "InvalidArgumentException",
            "10 MB limit",
        );
        refused(
            &[(vec![1], String::new())],
            Limits::Current,
            validation,
            "records.1.member.partitionKey",
        );
        assert!(run(&vec![of(MIB - 1); 5], Faults::none(), Limits::Classic).is_ok());
        assert!(run(&[of(9 * MIB)], Faults::none(), Limits::Current).is_ok());
    }

    proptest! {
        /// Guarantees: each record is in the shard that its key says, once, or has a code.
        #[test]
        fn records_are_spread_by_their_keys(
            data in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), "[a-z]{1,8}"), 1..80),
            percent in 0u8..=100,
        ) {
            let share = Share::percent(f64::from(percent)).unwrap();
            let faults = Faults::none().with(None, Fault::Partial, share);
            let prepared = run(&data, faults, Limits::Current).unwrap();
            prop_assert_eq!(prepared.fates.len(), data.len());
            let stored: Vec<Vec<_>> = prepared
                .batches
                .iter()
                .map(|batch| batch.iter().flat_map(|batch| records(&batch.bytes)).collect())
                .collect();
            for ((data, key), fate) in data.iter().zip(&prepared.fates) {
                if let Fate::Stored { shard, at } = fate {
                    let record = stored[*shard][*at as usize];
                    prop_assert_eq!((record.data, record.key), (data.as_slice(), key.as_bytes()));
                }
            }
            let count = prepared.fates.iter().filter(|fate| matches!(fate, Fate::Stored { .. })).count();
            prop_assert_eq!(stored.iter().map(Vec::len).sum::<usize>(), count);
        }
    }

    #[test]
    fn explicit_hash_keys() {
        assert_eq!(hash_key("0"), Some(0));
        assert_eq!(hash_key(&u128::MAX.to_string()), Some(u128::MAX));
        for bad in ["", "01", "-1", "x", "340282366920938463463374607431768211456"] {
            assert_eq!(hash_key(bad), None, "{bad}");
        }
    }
}
