use std::collections::BTreeSet;

use firelane_conf::suggest::nearest;

use super::*;

fn of(name: &str) -> &'static Destination {
    find(name).unwrap()
}

fn strictly_rises(names: &[&str]) -> bool {
    names.windows(2).all(|pair| pair[0] < pair[1])
}

#[test]
fn the_table_is_sorted_and_every_name_is_one_output() {
    let names: Vec<_> = DESTINATIONS.iter().map(|destination| destination.name).collect();
    assert!(strictly_rises(&names), "{names:?}");
    let mut seen = BTreeSet::new();
    for destination in DESTINATIONS {
        for name in destination.aliases.iter().chain([&destination.name]) {
            assert!(seen.insert(name), "{name} twice");
            assert_eq!(find(name), Some(destination));
            assert_eq!(find(&name.to_uppercase()), Some(destination));
        }
    }
}

#[test]
fn options_are_in_lower_case_sorted_and_not_generic() {
    for destination in DESTINATIONS {
        let (name, options) = (destination.name, destination.options);
        assert!(strictly_rises(options), "{name}: {options:?}");
        for option in options {
            assert_eq!(option.to_ascii_lowercase(), *option, "{name}");
            assert!(
                !holds(GENERIC, option) && !holds(NETWORK, option),
                "{name}: {option}"
            );
        }
    }
    assert!(strictly_rises(GENERIC) && strictly_rises(NETWORK));
}

#[test]
fn every_option_named_is_known() {
    for destination in DESTINATIONS {
        let required = destination.required.iter().copied().flatten();
        let needs = destination
            .needs
            .iter()
            .flat_map(|(switch, needed)| needed.iter().chain([switch]));
        let exclusive = destination.exclusive.iter().flat_map(|(a, b)| [a, b]);
        let others = destination.secrets.iter().chain(destination.target);
        for option in required.chain(needs).chain(exclusive).chain(others) {
            assert!(destination.knows(option), "{}: {option}", destination.name);
        }
        if let Some(switch) = destination.aws_switch() {
            assert!(holds(destination.options, switch), "{}", destination.name);
        }
        assert!(!destination.aws_auth || destination.service.is_some());
    }
}

#[test]
fn what_looks_secret_is_listed() {
    for destination in DESTINATIONS {
        for option in destination.options.iter().filter(|option| looks_secret(option)) {
            assert!(
                destination.secrets.contains(option),
                "{}: {option}",
                destination.name
            );
        }
    }
}

#[test]
fn options_are_known_in_any_case_and_by_prefix() {
    assert!(of("cloudwatch_logs").knows("log_key"));
    assert!(of("cloudwatch_logs").knows("Log_Group_Name"));
    assert!(!of("cloudwatch_logs").knows("log_stream_nam"));
    assert!(!of("cloudwatch_logs").knows("default_log_group_name"));
    assert!(of("cloudwatch").knows("default_log_group_name"));
    assert!(of("kafka").knows("rdkafka.Security.Protocol"));
    assert!(!of("kafka").knows("rdkafka."));
    assert!(!of("kafka").knows("rdkafké"));
    assert!(of("http").knows("aws_region") && of("http").knows("oauth2.scope"));
    assert!(of("es").knows("net.keepalive") && of("es").knows("Match"));
    assert!(!of("es").knows("tls.verify_client_cert"));
    assert_eq!(of("elasticsearch").name, "es");
    assert_eq!(find("lib"), None);
}

#[test]
fn a_connection_s_options_mean_nothing_where_none_is_opened() {
    assert!(of("stdout").knows("host") && of("stdout").ignores("Host"));
    assert!(of("cloudwatch").ignores("net.keepalive"));
    assert!(!of("datadog").ignores("host") && !of("stdout").ignores("match"));
    assert!(of("datadog").tls && !of("cloudwatch_logs").tls);
}

#[test]
fn unknown_options_stop_the_core_alone() {
    assert!(of("s3").refuses_unknown());
    assert!(!of("firehose").refuses_unknown() && !of("pgsql").refuses_unknown());
}

#[test]
fn the_nearest_option_is_suggested() {
    let guess = |name: &str, option: &str| nearest(option, of(name).suggestions());
    assert_eq!(
        guess("cloudwatch_logs", "log_stream_nam"),
        Some("log_stream_name")
    );
    assert_eq!(
        guess("kinesis_firehose", "delivery-stream"),
        Some("delivery_stream")
    );
    assert_eq!(guess("datadog", "api_key"), Some("apikey"));
    assert_eq!(guess("stdout", "hsot"), None);
    assert_eq!(guess("kafka", "rdkafka"), None);
}

#[test]
fn an_option_leads_to_its_outputs() {
    let names = |option| who_knows(option).map(|found| found.name).collect::<Vec<_>>();
    assert_eq!(names("default_log_group_name"), ["cloudwatch"]);
    assert_eq!(names("data_keys"), ["firehose", "kinesis"]);
    assert_eq!(names("delivery_stream"), ["firehose", "kinesis_firehose"]);
    assert!(names("match").is_empty());
}

#[test]
fn services_are_called_always_or_by_a_switch() {
    let switch = |name| (of(name).service, of(name).aws_switch());
    assert_eq!(switch("s3"), (Some(Service::S3), None));
    assert_eq!(
        switch("opensearch"),
        (Some(Service::OpenSearch), Some("aws_auth"))
    );
    assert_eq!(switch("kafka"), (Some(Service::Kafka), Some("aws_msk_iam")));
    assert_eq!(switch("stdout"), (None, None));
}

#[test]
fn secrets_are_told_from_what_is_about_them() {
    for option in [
        "http_passwd",
        "password",
        "splunk_token",
        "apikey",
        "api_key",
        "license_key",
        "licenseKey",
        "client_secret",
        "oauth2.client_secret",
        "shared_key",
        "tls.key_passwd",
        "Bearer_Token",
        "rdkafka.sasl.password",
    ] {
        assert!(looks_secret(option), "{option}");
    }
    for option in [
        "token_url",
        "oauth2.token_url",
        "tls.key_file",
        "partition_key",
        "message_key",
        "log_key",
        "time_key",
        "empty_shared_key",
        "workload_identity_token_file",
        "access_key_id",
        "tenant_id_key",
        "",
    ] {
        assert!(!looks_secret(option), "{option}");
    }
    assert!(of("slack").is_secret("Webhook") && of("es").is_secret("cloud_auth"));
    assert!(of("http").is_secret("tls.key_passwd") && !of("td").is_secret("table"));
}
