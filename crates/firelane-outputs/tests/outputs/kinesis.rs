//! The properties of the four names of Firehose and Kinesis. What they send is tested beside the encoder,
//! against a model of the APIs; requests with signatures by the golden cases.

use firelane_core::{GroupBy, Order};
use firelane_outputs::OUTPUTS;

use crate::{refusal, try_build};

const NAMES: [(&str, &str); 4] = [
    ("firehose", "delivery_stream"),
    ("kinesis_firehose", "delivery_stream"),
    ("kinesis", "stream"),
    ("kinesis_streams", "stream"),
];
const C: &str = "kinesis_streams";
const GO: &str = "kinesis";

/// The texts of the warnings of a configuration that builds.
#[track_caller]
fn warnings(name: &str, properties: &[(&str, &str)]) -> Vec<String> {
    match try_build(name, &with_stream(name, properties), None) {
        Ok((_, warnings)) => warnings.into_iter().map(|warning| warning.message).collect(),
        Err(errors) => panic!("{errors:?}"),
    }
}

fn with_stream<'a>(name: &str, properties: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let stream = NAMES.iter().find(|(known, _)| *known == name).unwrap().1;
    [(stream, "app-logs")].iter().chain(properties).copied().collect()
}

#[test]
fn each_name_takes_the_options_of_both_plugins() {
    let all = [
        ("region", "eu-west-1"),
        ("data_keys", "a, b"),
        ("time_key", "ts"),
        ("time_key_format", "%L %f %3N"),
        ("replace_dots", "_"),
        ("compression", "ZSTD"),
        ("role_arn", "arn:aws:iam::123456789012:role/logs"),
        ("external_id", "x"),
        ("endpoint", "http://127.0.0.1:4566"),
        ("sts_endpoint", "sts.eu-west-1.amazonaws.com"),
        ("credentials_endpoint", "http://127.0.0.1:51679/creds"),
        ("port", "443"),
        ("profile", "dev"),
        ("extra_user_agent", "mine/1.0"),
        ("auto_retry_requests", "true"),
        ("net.io_timeout", "10"),
        ("tls.verify", "on"),
    ];
    for (name, _) in NAMES {
        assert_eq!(warnings(name, &all), [""; 0], "{name}");
        assert_eq!(warnings(name, &[("simple_aggregation", "on")]), [""; 0], "{name}");
        assert_eq!(warnings(name, &[("log_key", "log")]), [""; 0], "{name}");
    }
    for name in [C, GO] {
        let own = [
            ("partition_key", "a->b"),
            ("append_newline", "true"),
            ("aggregation", "true"),
            ("http_request_timeout", "30"),
        ];
        assert_eq!(warnings(name, &own), [""; 0], "{name}");
    }
}

/// Guarantees: the manual page of a Go plugin's name has the same properties as that of the C plugin's.
#[test]
fn both_names_show_their_properties() {
    let properties = |name| {
        let plugin = OUTPUTS.iter().find(|plugin| plugin.name == name).unwrap();
        let schema = plugin.schema();
        schema.get("properties").unwrap().clone()
    };
    for (go, c) in [("firehose", "kinesis_firehose"), ("kinesis", "kinesis_streams")] {
        assert_eq!(properties(go), properties(c));
        let time_key = &properties(go)["time_key"]["description"];
        assert!(
            time_key.as_str().is_some_and(|text| text.contains("last key")),
            "{time_key}"
        );
    }
}

#[test]
fn what_has_no_effect_is_said() {
    let concurrency = [
        ("experimental_concurrency", "10"),
        ("experimental_concurrency_retries", "4"),
    ];
    let said = warnings(GO, &concurrency);
    assert!(said[0].contains("`workers N` sets how many"), "{said:?}");
    assert!(said[1].contains("`retry_limit N`"), "{said:?}");
    for (properties, key) in [
        (&[("auto_retry_requests", "off")][..], "auto_retry_requests"),
        (&[("external_id", "x")], "external_id"),
        (&[("time_key_format", "%F")], "time_key_format"),
        (&[("log_key", "l"), ("data_keys", "a")], "data_keys"),
        (&[("log_key", "l"), ("time_key", "t")], "time_key"),
        (&[("tls", "off")], "tls"),
    ] {
        let said = warnings(GO, properties);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with(&format!("`{key} ")), "{said:?}");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    for (name, stream) in NAMES {
        assert!(
            refusal(name, &[]).contains(&format!("`{stream}`: is required")),
            "{name}"
        );
        let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/app";
        assert!(refusal(name, &[(stream, arn)]).contains("no ARN"), "{name}");
    }
    for (properties, want) in [
        (&[("compression", "arrow")][..], "let Firehose convert"),
        (&[("compression", "lz4")], "use gzip, snappy, zlib or zstd"),
        (&[("log_key", "l"), ("time_key", "t")], "cannot go with `log_key`"),
        (
            &[("aggregation", "on"), ("simple_aggregation", "on")],
            "leave one out",
        ),
        (
            &[("partition_key", "k"), ("simple_aggregation", "on")],
            "use `aggregation`",
        ),
        (&[("partition_key", "a->")], "a key is missing"),
        (&[("endpoint", "ftp://x")], "http"),
        (&[("partition_keys", "k")], "partition_key"),
    ] {
        let text = refusal(C, &with_stream(C, properties));
        assert!(text.contains(want), "{properties:?}: {text}");
    }
    // Firehose has no partition keys.
    let text = refusal("firehose", &with_stream("firehose", &[("partition_key", "k")]));
    assert!(text.contains("partition_key"), "{text}");
}

/// Guarantees: many calls at once by default; one after the other, in order, where that was asked for.
#[test]
fn workers_say_how_much_is_under_way() {
    let limits = |properties: &[(&str, &str)], workers| {
        let (output, _) = try_build(C, &with_stream(C, properties), workers).unwrap();
        assert_eq!(output.group_by(), GroupBy::All);
        let limits = output.limits();
        (limits.in_flight_max, limits.order, limits.records_max)
    };
    assert_eq!(limits(&[], None), (16, Order::Any, 500));
    assert_eq!(limits(&[], Some(0)), (16, Order::Any, 500));
    assert_eq!(limits(&[], Some(1)), (1, Order::PerStream, 500));
    assert_eq!(limits(&[], Some(3)), (3, Order::Any, 500));
    assert_eq!(limits(&[("aggregation", "on")], None), (4, Order::Any, u32::MAX));
}
