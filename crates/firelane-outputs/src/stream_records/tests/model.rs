//! The two APIs as a plain function: takes a call, holds every documented limit against it, gives its
//! entries. Shares no code and no number with the encoder.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use firelane_core::HttpRequest;
use firelane_net::{Encoding, compress};
use md5::{Digest, Md5};
use serde_json::Value;

use super::super::{Coding, Target};

/// What a call holds, once per entry.
pub(super) struct Entry {
    pub(super) data: Vec<u8>,
    /// Empty for Firehose.
    pub(super) key: String,
}

/// Takes a call apart; panics where AWS would refuse it.
pub(super) fn take(target: Target, request: &HttpRequest) -> Vec<Entry> {
    let header = |name: &str| {
        let found = request.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    };
    let (action, stream, call_max, entry_max) = match target {
        Target::Firehose => (
            "Firehose_20150804.PutRecordBatch",
            "DeliveryStreamName",
            4 * 1024 * 1024,
            1000 * 1024,
        ),
        Target::Kinesis => (
            "Kinesis_20131202.PutRecords",
            "StreamName",
            5 * 1024 * 1024,
            1024 * 1024,
        ),
    };
    assert_eq!((request.method, request.target.as_str()), ("POST", "/"));
    assert_eq!(header("X-Amz-Target"), Some(action));
    assert_eq!(header("Content-Type"), Some("application/x-amz-json-1.1"));
    assert!(request.body.len() <= call_max, "a call of {}", request.body.len());
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    let body = body.as_object().expect("an object");
    assert_eq!(body.keys().collect::<Vec<_>>(), [stream, "Records"]);
    assert_eq!(body[stream], "st-1");
    let records = body["Records"].as_array().expect("a list");
    assert!((1..=500).contains(&records.len()), "{} entries", records.len());
    records
        .iter()
        .map(|record| entry(target, record, entry_max))
        .collect()
}

fn entry(target: Target, record: &Value, entry_max: usize) -> Entry {
    let text = |name: &str| record[name].as_str().expect("a text").to_owned();
    let data = STANDARD.decode(text("Data")).expect("base64");
    let key = match target {
        Target::Firehose => {
            assert_eq!(record.as_object().map(serde_json::Map::len), Some(1));
            String::new()
        }
        Target::Kinesis => text("PartitionKey"),
    };
    let chars = key.chars().count();
    assert!(
        target == Target::Firehose || (1..=256).contains(&chars),
        "{chars}"
    );
    let size = data.len() + key.len();
    assert!(size <= entry_max, "an entry of {size}");
    Entry { data, key }
}

/// An answer to a call; `None`: the entry was taken.
pub(super) fn answer(target: Target, entries: &[Option<&str>]) -> Vec<u8> {
    let failed = entries.iter().flatten().count();
    let (count, list, good) = match target {
        Target::Firehose => (
            "FailedPutCount",
            "RequestResponses",
            serde_json::json!({"RecordId": "r-1"}),
        ),
        Target::Kinesis => (
            "FailedRecordCount",
            "Records",
            serde_json::json!({"SequenceNumber": "49", "ShardId": "shardId-000000000000"}),
        ),
    };
    let one = |code: &Option<&str>| match code {
        None => good.clone(),
        Some(code) => serde_json::json!({"ErrorCode": code, "ErrorMessage": "said the model"}),
    };
    let answers: Vec<_> = entries.iter().map(one).collect();
    serde_json::to_vec(&serde_json::json!({count: failed, "EncryptionType": "NONE", list: answers})).unwrap()
}

/// The data before it was compressed.
pub(super) fn unpack(coding: Option<Coding>, data: &[u8]) -> Vec<u8> {
    let limit = 64 << 20;
    let known = |encoding| compress::decompress(encoding, data, limit).unwrap().to_vec();
    match coding {
        None => data.to_vec(),
        Some(Coding::Gzip) => known(Encoding::Gzip),
        Some(Coding::Zlib) => known(Encoding::Deflate),
        Some(Coding::Zstd) => known(Encoding::Zstd),
        Some(Coding::Snappy) => snap::raw::Decoder::new().decompress_vec(data).unwrap(),
    }
}

/// What a consumer library finds in an entry: the records of an aggregate, else the entry itself.
pub(super) fn deaggregate(entry: &Entry) -> Vec<Vec<u8>> {
    let Some(rest) = entry.data.strip_prefix(&[0xf3, 0x89, 0x9a, 0xc2]) else {
        return vec![entry.data.clone()];
    };
    let (message, sum) = rest.split_at(rest.len() - 16);
    assert_eq!(Md5::digest(message)[..], *sum, "the MD5 of an aggregate");
    let (mut keys, mut records) = (Vec::new(), Vec::new());
    for (field, bytes) in fields(message) {
        match field {
            1 => keys.push(String::from_utf8(bytes.expect("a text").to_vec()).unwrap()),
            3 => records.push(bytes.expect("a message").to_vec()),
            other => panic!("field {other}"),
        }
    }
    assert!(records.len() > 1, "an aggregate of one");
    assert!(
        entry.data.len() + entry.key.len() <= 50 * 1024,
        "{}",
        entry.data.len()
    );
    let data = |record: Vec<u8>| {
        let (mut index, mut data) = (None, None);
        for (field, bytes) in fields(&record) {
            match (field, bytes) {
                (1, None) => index = Some(0),
                (3, Some(bytes)) => data = Some(bytes.to_vec()),
                other => panic!("{other:?}"),
            }
        }
        // A consumer drops what by its own key belongs to another shard than the entry.
        assert_eq!(keys[index.expect("an index")], entry.key);
        data.expect("data")
    };
    records.into_iter().map(data).collect()
}

/// The fields of a message: number, and its bytes; `None` for the number 0.
fn fields(mut message: &[u8]) -> Vec<(u64, Option<&[u8]>)> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let value = varint(&mut message);
        if tag & 7 == 0 {
            assert_eq!(value, 0);
            found.push((tag >> 3, None));
            continue;
        }
        assert_eq!(tag & 7, 2);
        let (bytes, rest) = message.split_at(value as usize);
        found.push((tag >> 3, Some(bytes)));
        message = rest;
    }
    found
}

fn varint(message: &mut &[u8]) -> u64 {
    let (mut n, mut shift) = (0, 0);
    loop {
        let (&byte, rest) = message.split_first().expect("a number");
        *message = rest;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return n;
        }
        shift += 7;
    }
}
