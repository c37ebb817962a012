//! Data Firehose: delivery streams that keep what is put. Nothing is delivered onwards: a destination is
//! taken and described, and the records stay here to be read (`firelane logs --delivery-stream`).
//!
//! Limits: 500 records and 4 MiB a request, 1,000 KiB a record before base64.
//! <https://docs.aws.amazon.com/firehose/latest/APIReference/>

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use firelane_record::json::RawString;
use serde_json::{Value, json};

use crate::cloud::{Answer, Call, Cloud, Inner, done, ok};
use crate::error::ApiError;
use crate::faults::Fault;
use crate::params::{Params, Rule, absent, fault, members, serialization, validation};
use crate::service::Service;
use crate::store::State;
use crate::store::block::Batch;
use crate::store::catalog::{DeliveryStream, Tags};
use crate::store::series::SeriesId;
use crate::time;
use crate::wire::Reader;

pub(crate) const OPERATIONS: &[&str] = &[
    "CreateDeliveryStream",
    "DeleteDeliveryStream",
    "DescribeDeliveryStream",
    "ListDeliveryStreams",
    "ListTagsForDeliveryStream",
    "PutRecord",
    "PutRecordBatch",
];

const NAME: Rule = Rule {
    min: 1,
    max: 64,
    chars: Some(("[a-zA-Z0-9_.-]+", |c| {
        c.is_ascii_alphanumeric() || "_.-".contains(c)
    })),
};
/// Most records of a request.
const RECORDS_MAX: usize = 500;
/// Most bytes of a record.
const RECORD_MAX: usize = 1_024_000;
/// Most bytes of a request's records.
const BYTES_MAX: usize = 4 << 20;
/// Bodies above this are read on the blocking pool.
const LARGE: usize = 64 << 10;

pub(crate) async fn call(cloud: &Arc<Inner>, call: Call) -> Answer {
    match call.operation.as_str() {
        "PutRecord" => return put_record(cloud, call).await,
        "PutRecordBatch" => return put_batch(cloud, call).await,
        _ => {}
    }
    let params = Params::read(Service::Firehose, &call.body)?;
    match call.operation.as_str() {
        "CreateDeliveryStream" => create(cloud, params, call.now).await,
        "DeleteDeliveryStream" => delete(cloud, params).await,
        "DescribeDeliveryStream" => describe(cloud, params),
        "ListDeliveryStreams" => list(cloud, params),
        "ListTagsForDeliveryStream" => tags(cloud, params),
        other => Err(crate::server::unknown_operation(Service::Firehose, other)),
    }
}

fn missing(cloud: &Inner, name: &str) -> ApiError {
    let account = &cloud.options.account;
    let text = format!("Firehose {name} under account {account} not found.");
    ApiError::bad("ResourceNotFoundException", text)
}

/// Makes a stream; false where it is there.
pub(crate) fn make(
    state: &mut State,
    name: &str,
    now: i64,
    kind: &str,
    destination: Option<(String, Value)>,
    tags: Tags,
) -> bool {
    if state.catalog.delivery_streams.contains_key(name) {
        return false;
    }
    let stream = DeliveryStream {
        created: now,
        series: state.new_series(),
        kind: kind.to_owned(),
        destination,
        tags,
    };
    state.put("", name, &stream);
    state.catalog.delivery_streams.insert(name.to_owned(), stream);
    true
}

impl Cloud {
    /// Makes a delivery stream, if there is none of this name.
    pub async fn make_delivery_stream(&self, name: &str) {
        let now = time::now_ms();
        let change = |state: &mut State| make(state, name, now, "DirectPut", None, Tags::new());
        self.0.store.change(change).await;
    }
}

async fn create(cloud: &Arc<Inner>, mut params: Params, now: i64) -> Answer {
    let name = params.required("DeliveryStreamName", NAME)?;
    let kind = params.word(
        "DeliveryStreamType",
        &[
            "DirectPut",
            "KinesisStreamAsSource",
            "MSKAsSource",
            "DatabaseAsSource",
        ],
    )?;
    let tags = params.tag_list("Tags")?.into_iter().collect();
    params.check()?;
    let kind = kind.unwrap_or_else(|| "DirectPut".into());
    if kind != "DirectPut" {
        let text = format!("The local endpoint has DirectPut only, not {kind}");
        return Err(ApiError::bad("InvalidArgumentException", text));
    }
    let destinations = [
        "S3",
        "ExtendedS3",
        "Redshift",
        "Elasticsearch",
        "Amazonopensearchservice",
        "Splunk",
        "HttpEndpoint",
        "AmazonOpenSearchServerless",
        "Snowflake",
        "Iceberg",
    ];
    let mut given = destinations.iter().filter_map(|name| {
        let value = params.take(&format!("{name}DestinationConfiguration"))?;
        Some(((*name).to_owned(), value))
    });
    let destination = given.next();
    if given.next().is_some() {
        let text = "Exactly one destination configuration is supported for a Firehose";
        return Err(ApiError::bad("InvalidArgumentException", text));
    }
    let change = |state: &mut State| make(state, &name, now, &kind, destination, tags);
    if cloud.store.change(change).await {
        let arn = cloud.arn(Service::Firehose, &format!("deliverystream/{name}"));
        ok(&json!({"DeliveryStreamARN": arn}))
    } else {
        let account = &cloud.options.account;
        let text = format!("Firehose {name} under accountId {account} already exists");
        Err(ApiError::bad("ResourceInUseException", text))
    }
}

async fn delete(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let name = params.required("DeliveryStreamName", NAME)?;
    params.check()?;
    let change = cloud.store.change(|state| {
        let stream = state.catalog.delivery_streams.remove(&name);
        let stream = stream.ok_or_else(|| missing(cloud, &name))?;
        state.delete::<DeliveryStream>("", &name);
        state.drop_series(stream.series);
        Ok(())
    });
    change.await?;
    done()
}

fn describe(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let name = params.required("DeliveryStreamName", NAME)?;
    params.check()?;
    let stream = cloud
        .store
        .look(|state| state.catalog.delivery_streams.get(&name).cloned());
    let stream = stream.ok_or_else(|| missing(cloud, &name))?;
    let mut destination = json!({"DestinationId": "destinationId-000000000001"});
    if let Some((kind, value)) = stream.destination {
        // A plain S3 destination is described as both.
        if kind == "S3" || kind == "ExtendedS3" {
            destination["S3DestinationDescription"] = value.clone();
            destination["ExtendedS3DestinationDescription"] = value;
        } else {
            destination[format!("{kind}DestinationDescription")] = value;
        }
    }
    let created = time::seconds(stream.created);
    ok(&json!({"DeliveryStreamDescription": {
        "DeliveryStreamName": name,
        "DeliveryStreamARN": cloud.arn(Service::Firehose, &format!("deliverystream/{name}")),
        "DeliveryStreamStatus": "ACTIVE",
        "DeliveryStreamEncryptionConfiguration": {"Status": "DISABLED"},
        "DeliveryStreamType": stream.kind,
        "VersionId": "1",
        "CreateTimestamp": created,
        "LastUpdateTimestamp": created,
        "Destinations": [destination],
        "HasMoreDestinations": false,
    }}))
}

fn list(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let limit = params.number("Limit", 1, 10_000)?.unwrap_or(10) as usize;
    let start = params.text("ExclusiveStartDeliveryStreamName", NAME)?;
    let kind = params.text("DeliveryStreamType", Rule::any(0, 64))?;
    params.check()?;
    let (names, more) = cloud.store.look(|state| {
        let all = state.catalog.delivery_streams.iter();
        let wanted = all.filter(|(name, stream)| {
            start.as_ref().is_none_or(|start| *name > start)
                && kind.as_ref().is_none_or(|kind| stream.kind == *kind)
        });
        let mut names: Vec<_> = wanted.map(|(name, _)| name.clone()).take(limit + 1).collect();
        let more = names.len() > limit;
        names.truncate(limit);
        (names, more)
    });
    ok(&json!({"DeliveryStreamNames": names, "HasMoreDeliveryStreams": more}))
}

fn tags(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let name = params.required("DeliveryStreamName", NAME)?;
    params.check()?;
    let stream = cloud
        .store
        .look(|state| state.catalog.delivery_streams.get(&name).cloned());
    let stream = stream.ok_or_else(|| missing(cloud, &name))?;
    let tags = stream
        .tags
        .iter()
        .map(|(key, value)| json!({"Key": key, "Value": value}));
    ok(&json!({"Tags": tags.collect::<Vec<_>>(), "HasMoreTags": false}))
}

/// A put request as it stands in its body.
#[derive(Debug, Default)]
struct Request<'a> {
    stream: Option<String>,
    /// At most one more than is allowed; `None` inside for a record without data.
    records: Option<Vec<Option<RawString<'a>>>>,
    count: usize,
}

fn read<'a>(body: &'a [u8], is_batch: bool) -> Result<Request<'a>, ApiError> {
    let mut request = Request::default();
    let mut reader = Reader::new(body)?;
    reader.object(|reader, key| match key {
        b"DeliveryStreamName" => {
            request.stream = Some(reader.text()?);
            Ok(())
        }
        b"Records" if is_batch => {
            let records = request.records.insert(Vec::new());
            let count = &mut request.count;
            *count = 0;
            reader.list(|reader| {
                let data = data(reader)?;
                *count += 1;
                if records.len() <= RECORDS_MAX {
                    records.push(data);
                }
                Ok(())
            })
        }
        b"Record" if !is_batch => {
            request.records = Some(vec![data(reader)?]);
            request.count = 1;
            Ok(())
        }
        _ => reader.skip(),
    })?;
    reader.end()?;
    Ok(request)
}

fn data<'a>(reader: &mut Reader<'a>) -> Result<Option<RawString<'a>>, ApiError> {
    let mut data = None;
    reader.object(|reader, key| {
        if key == b"Data" && !reader.null()? {
            data = Some(reader.string()?);
            Ok(())
        } else if key == b"Data" {
            Ok(())
        } else {
            reader.skip()
        }
    })?;
    Ok(data)
}

/// Appends the bytes of a base64 string; nothing where it is none.
pub(crate) fn decode(text: RawString<'_>, out: &mut Vec<u8>) -> Result<(), ApiError> {
    let bad = || serialization("Data is not base64");
    let mut unescaped = Vec::new();
    let text = if text.escaped {
        // `\/` stands for a slash with some encoders.
        text.unescape_into(&mut unescaped);
        unescaped.as_slice()
    } else {
        text.raw
    };
    let start = out.len();
    out.resize(start + base64::decoded_len_estimate(text.len()), 0);
    let place = out.get_mut(start..).unwrap_or_default();
    let written = STANDARD.decode_slice(text, place).map_err(|_| bad())?;
    out.truncate(start + written);
    Ok(())
}

/// Bytes that a base64 text stands for, without decoding it.
pub(crate) fn decoded_len(text: RawString<'_>) -> usize {
    let padding = text
        .raw
        .iter()
        .rev()
        .take(2)
        .filter(|byte| **byte == b'=')
        .count();
    (text.raw.len() / 4 * 3).saturating_sub(padding)
}

/// The stream's name and the records, if everything keeps the limits.
fn validate(request: &Request<'_>, is_batch: bool) -> Result<String, ApiError> {
    let mut faults = Vec::new();
    match &request.stream {
        None => faults.push(absent("DeliveryStreamName")),
        Some(name) => {
            let found = NAME.faults(name);
            faults.extend(found.iter().map(|text| fault("DeliveryStreamName", name, text)));
        }
    }
    let name = if is_batch { "Records" } else { "Record" };
    let records = request.records.as_deref();
    let records = members(name, records, request.count, RECORDS_MAX, &mut faults);
    for (index, data) in records.iter().enumerate() {
        let member = match is_batch {
            true => format!("records.{}.member.data", index + 1),
            false => "record.data".into(),
        };
        match data {
            None => faults.push(absent(&member)),
            Some(data) if !data.escaped && decoded_len(*data) > RECORD_MAX => {
                let constraint = format!("Member must have length less than or equal to {RECORD_MAX}");
                faults.push(fault(&member, "java.nio.HeapByteBuffer", &constraint));
            }
            Some(_) => {}
        }
    }
    validation(Service::Firehose, faults)?;
    Ok(request.stream.clone().unwrap_or_default())
}

/// What came of a record.
type Fates = Vec<Option<(&'static str, &'static str)>>;

/// Reads and checks a request: its stream, what is stored, and what came of each record.
fn prepare(mut call: Call, is_batch: bool) -> Result<(String, Batch, Fates), ApiError> {
    let request = read(&call.body, is_batch)?;
    let stream = validate(&request, is_batch)?;
    let records = request.records.unwrap_or_default();
    let mut batch = Batch::with_capacity(call.body.len());
    let (mut bytes, mut fates) = (0, Vec::with_capacity(records.len()));
    for data in records.into_iter().flatten() {
        if is_batch && call.fate.record_fails() {
            bytes += decoded_len(data);
            fates.push(Some(failure(call.fate.flip())));
            continue;
        }
        let mut decoded = Ok(());
        let size = batch.push(call.now, call.now, b"", |out| decoded = decode(data, out));
        decoded?;
        if size > RECORD_MAX {
            let constraint = format!("Member must have length less than or equal to {RECORD_MAX}");
            let faults = vec![fault(
                "records.member.data",
                "java.nio.HeapByteBuffer",
                &constraint,
            )];
            validation(Service::Firehose, faults)?;
        }
        bytes += size;
        fates.push(None);
    }
    if bytes > BYTES_MAX {
        let text = "Records size exceeds 4 MB limit";
        return Err(ApiError::bad("InvalidArgumentException", text));
    }
    Ok((stream, batch, fates))
}

fn failure(internal: bool) -> (&'static str, &'static str) {
    match internal {
        true => ("InternalFailure", "Internal Service Failure"),
        false => ("ServiceUnavailableException", "Slow down."),
    }
}

async fn prepared(call: Call, is_batch: bool) -> Result<(String, Batch, Fates), ApiError> {
    if call.body.len() <= LARGE {
        return prepare(call, is_batch);
    }
    let prepared = tokio::task::spawn_blocking(move || prepare(call, is_batch)).await;
    prepared.map_err(|error| ApiError::internal(Service::Firehose, &error))?
}

async fn series(cloud: &Inner, name: &str, now: i64) -> Result<SeriesId, ApiError> {
    let known = |state: &mut State| {
        state
            .catalog
            .delivery_streams
            .get(name)
            .map(|stream| stream.series)
    };
    if let Some(series) = cloud.store.look(known) {
        return Ok(series);
    }
    if !cloud.is_creating() {
        return Err(missing(cloud, name));
    }
    let change = |state: &mut State| make(state, name, now, "DirectPut", None, Tags::new());
    if cloud.store.change(change).await {
        cloud.note_created("delivery stream", name);
    }
    cloud.store.look(known).ok_or_else(|| missing(cloud, name))
}

async fn store(cloud: &Inner, name: &str, batch: Batch, now: i64) -> Result<(), ApiError> {
    let series = series(cloud, name, now).await?;
    if batch.summary.count > 0 {
        let room = cloud.store.room(batch.bytes.len()).await;
        let room = room.map_err(|error| ApiError::internal(Service::Firehose, &error))?;
        let stored = cloud.store.look(|state| state.append(series, batch, room));
        stored.ok_or_else(|| missing(cloud, name))?;
        cloud.store.appended();
    }
    Ok(())
}

async fn put_record(cloud: &Arc<Inner>, call: Call) -> Answer {
    let now = call.now;
    let (name, batch, _) = prepared(call, false).await?;
    store(cloud, &name, batch, now).await?;
    ok(&json!({"RecordId": record_id(cloud), "Encrypted": false}))
}

async fn put_batch(cloud: &Arc<Inner>, call: Call) -> Answer {
    let now = call.now;
    let (name, batch, fates) = prepared(call, true).await?;
    store(cloud, &name, batch, now).await?;
    let failed = fates.iter().flatten().count();
    cloud
        .injector
        .count(Service::Firehose, Fault::Partial, failed as u64);
    let id = record_id(cloud);
    let responses = fates.iter().enumerate().map(|(index, fate)| match fate {
        None => json!({"RecordId": format!("{id}{index:03}")}),
        Some((code, message)) => json!({"ErrorCode": code, "ErrorMessage": message}),
    });
    ok(&json!({
        "FailedPutCount": failed,
        "Encrypted": false,
        "RequestResponses": responses.collect::<Vec<_>>(),
    }))
}

fn record_id(cloud: &Inner) -> String {
    cloud.letters(180, false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::faults::{Faults, Injector, Share};
    use crate::store::block::records;

    fn call(data: &[Vec<u8>], faults: Faults) -> Call {
        let records: Vec<_> = data
            .iter()
            .map(|data| json!({"Data": STANDARD.encode(data)}))
            .collect();
        let body = json!({"DeliveryStreamName": "d", "Records": records}).to_string();
        Call {
            operation: "PutRecordBatch".into(),
            body: body.into(),
            now: 1,
            fate: Injector::new(1, faults).next(Service::Firehose),
        }
    }

    #[track_caller]
    fn refused(data: &[Vec<u8>], code: &str, words: &str) {
        let error = prepare(call(data, Faults::none()), true).unwrap_err();
        assert_eq!(error.code, code);
        assert!(error.message.contains(words), "{}", error.message);
    }

    #[test]
    fn limits() {
        refused(
            &vec![vec![1]; 501],
            "ValidationException",
            "less than or equal to 500",
        );
        refused(&[], "ValidationException", "greater than or equal to 1");
        refused(
            &[vec![0; RECORD_MAX + 1]],
            "ValidationException",
            "'records.1.member.data' failed to satisfy constraint: Member must have length less than or equal to 1024000",
        );
        refused(
            &vec![vec![0; 900_000]; 5],
            "InvalidArgumentException",
            "4 MB limit",
        );
        assert!(prepare(call(&[vec![0; RECORD_MAX]], Faults::none()), true).is_ok());
        assert!(prepare(call(&vec![vec![1]; 500], Faults::none()), true).is_ok());
    }

    proptest! {
        /// Guarantees: each record is stored or has an error code, never both.
        #[test]
        fn records_are_stored_or_failed(
            data in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..80),
            percent in 0u8..=100,
        ) {
            let share = Share::percent(f64::from(percent)).unwrap();
            let faults = Faults::none().with(None, Fault::Partial, share);
            let (_, batch, fates) = prepare(call(&data, faults), true).unwrap();
            let stored: Vec<_> = records(&batch.bytes).map(|record| record.data.to_vec()).collect();
            let kept = data.iter().zip(&fates).filter(|(_, fate)| fate.is_none());
            let kept: Vec<_> = kept.map(|(data, _)| data.clone()).collect();
            prop_assert_eq!(stored, kept);
            prop_assert_eq!(fates.len(), data.len());
        }

        #[test]
        fn lengths_are_told_without_decoding(data in prop::collection::vec(any::<u8>(), 0..100)) {
            let text = STANDARD.encode(&data);
            let raw = RawString { raw: text.as_bytes(), escaped: false };
            prop_assert_eq!(decoded_len(raw), data.len());
        }
    }
}
