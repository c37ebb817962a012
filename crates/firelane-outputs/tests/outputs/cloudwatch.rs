//! `cloudwatch_logs` and `cloudwatch`: what is taken, refused and warned about. What they send is tested
//! beside them, against a model of the service, and by golden cases.

use firelane_core::{GroupBy, Order};
use firelane_record::{Records, RecordsBuf, Timestamp, json};

use crate::{build, refusal, tag, try_build};

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let base = [
        ("region", "us-east-1"),
        ("log_group_name", "/ecs/web"),
        ("log_stream_name", "s"),
    ];
    let is_given = |key: &str| more.iter().any(|(name, _)| *name == key);
    let mut all: Vec<_> = base.into_iter().filter(|(key, _)| !is_given(key)).collect();
    all.extend(more.iter().filter(|(_, value)| *value != "NONE"));
    all
}

#[test]
fn both_names_take_the_options_of_both() {
    let all = [
        ("log_group_name", "/ecs/$(ecs_cluster)"),
        ("log_stream_name", "$(tag[0])/$(container['name'])"),
        ("log_group_template", "/app/$svc['name']"),
        ("log_stream_template", "$TAG[1].$source"),
        ("default_log_group_name", "none"),
        ("default_log_stream_name", "/none"),
        ("log_key", "log"),
        ("log_format", "json/emf"),
        ("auto_create_group", "true"),
        ("auto_create_stream", "true"),
        ("log_retention_days", "365"),
        ("log_group_class", "infrequent_access"),
        ("new_log_group_tags", "team=blue, stage = prod,,empty"),
        ("role_arn", "arn:aws:iam::1:role/r"),
        ("external_id", "x"),
        ("sts_endpoint", "https://sts.example"),
        ("credentials_endpoint", "http://169.254.170.2/v2/credentials/1"),
        ("profile", "p"),
        ("endpoint", "http://localhost"),
        ("port", "4566"),
        ("extra_user_agent", "team-blue"),
        ("auto_retry_requests", "false"),
        ("add_entity", "false"),
    ];
    for name in ["cloudwatch_logs", "cloudwatch", "CloudWatch_Logs"] {
        let (output, warnings) = try_build(name, &with(&all), None).unwrap();
        assert_eq!(warnings.len(), 0, "{name}: {warnings:?}");
        assert_eq!(output.group_by(), GroupBy::Record);
    }
}

#[test]
fn both_names_show_the_same_properties() {
    let properties = |name: &str| {
        let plugin = firelane_outputs::OUTPUTS
            .iter()
            .find(|plugin| plugin.name == name)
            .unwrap();
        plugin.schema().get("properties").cloned().unwrap()
    };
    assert_eq!(properties("cloudwatch"), properties("cloudwatch_logs"));
    assert!(properties("cloudwatch").get("log_group_name").is_some());
}

#[test]
fn what_cannot_be_is_refused() {
    let retention = "`log_retention_days 10`: the service knows only 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, \
        365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653 days; 0: for ever";
    let long = format!("{}=v", "k".repeat(129));
    let long_want = format!(
        "`new_log_group_tags {long}`: tag `{}`: a key has 128 characters at most, a value 256",
        "k".repeat(129)
    );
    for (properties, want) in [
        (
            &[("log_group_name", "NONE")][..],
            "`log_group_name`: is needed: the log group to send to",
        ),
        (
            &[("log_stream_name", "NONE")],
            "`log_stream_name`: is needed, or `log_stream_prefix`: the log stream to send to",
        ),
        (
            &[("log_stream_prefix", "p-")],
            "`log_stream_prefix p-`: not together with `log_stream_name`: give one of them",
        ),
        (
            &[("log_group_name", "my group")],
            "`log_group_name my group`: ' ' cannot be in the name: letters, digits and `_/.#-` only",
        ),
        (
            &[("log_stream_name", "$(tag[one])")],
            "`log_stream_name $(tag[one])`: `$(tag[one])`: a part of the tag is written `$(tag[0])`",
        ),
        (
            &[("log_stream_template", "$a:b")],
            "`log_stream_template $a:b`: a variable ends at `.`, blank, `,`, `\"` or the end at column 3",
        ),
        (
            &[("default_log_group_name", "$(tag)")],
            "`default_log_group_name $(tag)`: it cannot have variables: it is for records that lack them",
        ),
        (&[("log_retention_days", "10")], retention),
        (
            &[("log_group_class", "cold")],
            "`log_group_class cold`: use STANDARD or INFREQUENT_ACCESS",
        ),
        (&[("new_log_group_tags", long.as_str())], long_want.as_str()),
        (
            &[("new_log_group_tags", "AWS:x=1")],
            "`new_log_group_tags AWS:x=1`: tag `AWS:x`: letters, digits, blanks and `_.:/=+-@` only, and no key \
             that begins with `aws:`",
        ),
        (
            &[("log_format", "json\u{7}")],
            "`log_format json\u{7}`: it cannot be sent in a header: printable ASCII only",
        ),
        (
            &[("endpoint", "localhost/path")],
            "`endpoint localhost/path`: only a host and a port",
        ),
    ] {
        for name in ["cloudwatch_logs", "cloudwatch"] {
            assert_eq!(refusal(name, &with(properties)), want);
        }
    }
}

#[test]
fn what_does_nothing_is_named() {
    let properties = [
        ("metric_namespace", "n"),
        ("metric_dimensions", "a,b;c"),
        ("add_entity", "on"),
        ("log_retention_days", "7"),
        ("log_group_class", "STANDARD"),
        ("new_log_group_tags", "a=b"),
        ("external_id", "x"),
        ("default_log_group_name", "d"),
        ("default_log_stream_name", "d"),
    ];
    let (_, warnings) = try_build("cloudwatch_logs", &with(&properties), None).unwrap();
    let texts: Vec<_> = warnings.iter().map(|warning| warning.message.as_str()).collect();
    let metrics = "has no effect: it is for records of the inputs `cpu` and `mem`, which are not here";
    let group = "has no effect: `auto_create_group` is off, so no group is created here";
    let plain = "has no effect: the name has no variables that a record may lack";
    assert_eq!(
        texts,
        [
            format!("`metric_namespace n`: {metrics}"),
            format!("`metric_dimensions a,b;c`: {metrics}"),
            "`add_entity on`: has no effect: entities are made of Kubernetes metadata".to_owned(),
            format!("`log_retention_days 7`: {group}"),
            format!("`log_group_class STANDARD`: {group}"),
            format!("`new_log_group_tags a=b`: {group}"),
            "`external_id x`: has no effect without `role_arn`".to_owned(),
            format!("`default_log_group_name d`: {plain}"),
            format!("`default_log_stream_name d`: {plain}"),
        ]
    );
}

#[test]
fn chunks_are_cut_by_stream_and_keep_their_order() {
    let limits = |properties: &[(&'static str, &'static str)], workers| {
        let (output, _) = try_build("cloudwatch_logs", &with(properties), workers).unwrap();
        (output.limits(), output.group_by())
    };
    let (plain, group) = limits(&[], None);
    assert_eq!(
        (plain.order, plain.records_max, group),
        (Order::PerStream, 10_000, GroupBy::All)
    );
    let (many, group) = limits(
        &[("log_stream_name", "NONE"), ("log_stream_prefix", "p/")],
        Some(9),
    );
    assert_eq!(
        (many.order, many.in_flight_max, group),
        (Order::PerStream, 9, GroupBy::Tag)
    );
    let (key, _) = limits(&[("log_key", "log")], None);
    assert!(key.bytes_max > plain.bytes_max);
}

#[test]
fn records_of_one_stream_share_a_key() {
    let output = build("cloudwatch", &with(&[("log_stream_name", "$(tag).$(source)")]));
    assert_eq!(output.group_by(), GroupBy::Record);
    let key = |of: &str, record: &str| {
        let mut raw = Vec::new();
        json::to_msgpack(record.as_bytes(), &mut raw).unwrap();
        let mut buf = RecordsBuf::default();
        buf.push(Timestamp::default(), None, &raw);
        let records: Records = buf.take();
        output.group(&tag(of), &records.events().next().unwrap())
    };
    let one = key("a", r#"{"source":"stdout","log":"x"}"#);
    assert_eq!(key("a", r#"{"log":"y","source":"stdout"}"#), one);
    assert_ne!(key("a", r#"{"source":"stderr"}"#), one);
    assert_ne!(key("b", r#"{"source":"stdout"}"#), one);
}
