//! What `s3` takes and what it refuses. Objects are tried end to end, in `firelane/tests/e2e/s3.rs`.

use std::time::Duration;

use firelane_core::Order;

use super::{refusal, try_build};

const BUCKET: (&str, &str) = ("bucket", "logs");

#[track_caller]
fn refused(property: (&str, &str), word: &str) {
    let message = refusal("s3", &[BUCKET, property]);
    assert!(
        message.contains(property.0) && message.contains(word),
        "{message}"
    );
}

#[test]
fn what_s3_cannot_do_is_refused_by_name() {
    let message = refusal("s3", &[]);
    assert!(message.contains("`bucket`"), "{message}");
    refused(("total_file_size", "999999"), "1M");
    refused(("total_file_size", "51G"), "50G");
    refused(("upload_chunk_size", "5242879"), "5242880");
    refused(("upload_chunk_size", "50000001"), "50000000");
    refused(("upload_timeout", "0"), "1s");
    refused(("s3_key_format", "logs/$TAG"), "begin with `/`");
    refused(("compression", "lz4"), "gzip");
    refused(("format", "arrow"), "not supported");
    refused(("compression", "arrow"), "not supported");
    refused(("format", "csv"), "json_lines");
    refused(("format", "otlp_json"), "json_lines");
    refused(("sse", "kms"), "aws:kms");
    refused(("content_type", "a\u{7f}"), "header");
    refused(("blob_database_file", "x.db"), "blobs");
    refused(("authorization_endpoint_bearer_token", "x"), "blobs");
    for name in ["arn:aws:s3:eu-west-1:1:accesspoint/x", "a/b", "..", "a b"] {
        let message = refusal("s3", &[("bucket", name)]);
        assert!(message.contains("letters, digits"), "{message}");
    }
    let twice = [BUCKET, ("total_file_size", "20M"), ("upload_chunk_size", "11M")];
    assert!(refusal("s3", &twice).contains("half"));
    let put = [BUCKET, ("use_put_object", "on"), ("total_file_size", "1001M")];
    assert!(refusal("s3", &put).contains("1G"));
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_is_in_other_builds() {
    refused(("format", "parquet"), "--features parquet");
    refused(("compression", "Parquet"), "--features parquet");
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_wants_whole_objects_and_records() {
    refused(("format", "parquet"), "use_put_object on");
    refused(("compression", "Parquet"), "use_put_object on");
    let whole = [BUCKET, ("use_put_object", "on"), ("format", "parquet")];
    let built = |more: &[(&str, &str)]| {
        let properties: Vec<_> = whole.iter().chain(more).copied().collect();
        try_build("s3", &properties, None)
    };
    for (property, word) in [
        (("log_key", "log"), "columns"),
        (("json_date_key", "__more__"), "another"),
        (("compression", "arrow"), "not supported"),
    ] {
        let message = built(&[property]).map(|_| ()).unwrap_err()[0].message.clone();
        assert!(
            message.contains(property.0) && message.contains(word),
            "{message}"
        );
    }
    let (output, warnings) = built(&[("compression", "zstd")]).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(output.limits().bytes_max, 64 << 20, "a chunk is a file");
    let (_, warnings) = built(&[("upload_chunk_size", "6M")]).unwrap();
    assert!(warnings[0].message.contains("no parts"), "{warnings:?}");
    let small = [BUCKET, ("total_file_size", "2M"), ("compression", "parquet")];
    let (_, warnings) = try_build("s3", &small, None).unwrap();
    assert!(warnings[0].message.contains("`format parquet`"), "{warnings:?}");
    let both = [BUCKET, ("format", "json"), ("compression", "parquet")];
    assert!(refusal("s3", &both).contains("something else"));
}

#[track_caller]
fn warned(property: (&str, &str), word: &str) {
    let (_, warnings) = try_build("s3", &[BUCKET, property], None).unwrap();
    let found = warnings
        .iter()
        .any(|warning| warning.message.contains(property.0) && warning.message.contains(word));
    assert!(found, "{property:?}: {warnings:?}");
}

#[test]
fn what_means_less_than_it_says_is_warned_about() {
    warned(("store_dir", "x"), "storage.path");
    warned(("store_dir_limit_size", "1G"), "storage.total_limit_size");
    warned(("quarantine_dir_limit_size", "1G"), "storage.rejected.limit");
    warned(("retry_exhausted_action", "quarantine"), "dead letters");
    warned(("preserve_data_ordering", "off"), "order");
    warned(("auto_retry_requests", "off"), "no effect");
    warned(("part_size", "25M"), "upload_chunk_size");
    warned(("sse_kms_key_id", "k"), "sse aws:kms");
    warned(("json_date_format", "rfc"), "iso8601");
    let fixed = [BUCKET, ("static_file_path", "on"), ("s3_key_format", "/a/$TAG")];
    let (_, warnings) = try_build("s3", &fixed, None).unwrap();
    assert!(warnings[0].message.contains("replaces"), "{warnings:?}");
    let (_, warnings) = try_build("s3", &[BUCKET], None).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn chunks_wait_for_the_timeout_and_keep_the_order_of_a_tag() {
    let limits = |properties: &[(&str, &str)], workers| {
        let properties: Vec<_> = [BUCKET].iter().chain(properties).copied().collect();
        let (output, _) = try_build("s3", &properties, workers).unwrap();
        output.limits()
    };
    let usual = limits(&[], None);
    assert_eq!((usual.order, usual.in_flight_max), (Order::PerStream, 8));
    assert_eq!(usual.linger, Some(Duration::from_secs(600)));
    assert!((5 << 20..6 << 20).contains(&usual.bytes_max), "{usual:?}");
    let other = limits(&[("upload_timeout", "1m"), ("upload_chunk_size", "10M")], Some(2));
    assert_eq!(
        (other.linger, other.in_flight_max),
        (Some(Duration::from_secs(60)), 2)
    );
    assert!(other.bytes_max > 10_000_000);
    let put = limits(&[("total_file_size", "2M")], None);
    assert_eq!(put.bytes_max, 2_000_000);
}
