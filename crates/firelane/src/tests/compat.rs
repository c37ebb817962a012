//! `compat/compat.toml` against the plugins: each property is tried with some values, and what comes of it
//! must be what the table says.

use std::sync::Arc;

use firelane_conf::{Config, Diagnostic, Section, SectionKind, ServiceConfig, Span};
use firelane_core::Service;
use firelane_engine::EngineService;
use firelane_engine::retry::Schedule;
use firelane_parse::Parsers;
use firelane_record::Timestamp;

use crate::registry::TABLES;

const TABLE: &str = include_str!("../../../../compat/compat.toml");

/// Values of all kinds: most properties take one of them.
const VALUES: [&str; 25] = [
    "on",
    "off",
    "1",
    "200",
    "text",
    "a b",
    "log x",
    "json",
    "full",
    "memory",
    "127.0.0.1",
    "TLSv1.2",
    "gzip",
    "POST",
    "0644",
    "$a",
    "Key_exists a",
    "AND",
    "{\"a\":1}",
    "iso8601",
    "create",
    "name:Zm91bmQuaW8kYWJjJGRlZg==",
    "STANDARD",
    "20M",
    "/a",
];

/// What comes of a property with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// There is no such property.
    Unknown,
    /// The value does not suit it, or something beside it is wrong.
    Unfit,
    /// An error says that it is not supported.
    Refused,
    /// A warning names it.
    Warned,
    /// Nothing is said.
    Taken,
}

#[derive(Clone, Copy)]
struct Plugin<'a> {
    kind: &'a str,
    name: &'a str,
}

impl Plugin<'_> {
    fn section_kind(self) -> SectionKind {
        match self.kind {
            "input" => SectionKind::Input,
            "filter" => SectionKind::Filter,
            _ => SectionKind::Output,
        }
    }

    /// What it needs to be built.
    fn needs(self) -> &'static [(&'static str, &'static str)] {
        match (self.kind, self.name) {
            ("input", "tail") => &[("path", "app.log")],
            ("input", _) => &[],
            ("output", "firehose" | "kinesis_firehose") => &[("match", "*"), ("delivery_stream", "app")],
            ("output", "kinesis" | "kinesis_streams") => &[("match", "*"), ("stream", "app")],
            ("output", "cloudwatch" | "cloudwatch_logs") => {
                &[("match", "*"), ("log_group_name", "g"), ("log_stream_name", "s")]
            }
            ("output", "s3") => &[("match", "*"), ("bucket", "b")],
            ("filter", "parser") => &[("match", "*"), ("key_name", "log"), ("parser", "json")],
            _ => &[("match", "*")],
        }
    }

    fn try_value(self, key: &str, value: &str) -> Fate {
        let mut section = Section::new(self.section_kind(), Span::default());
        let mut lines = vec![("name", self.name)];
        let beside: Vec<_> = beside(key)
            .iter()
            .filter(|(name, _)| *name != "aws_service" || self.name == "http")
            .collect();
        let needs = self.needs().iter();
        lines.extend(needs.filter(|(name, _)| !beside.iter().any(|(other, _)| other == name)));
        lines.extend(beside);
        lines.retain(|(name, _)| *name != key && !(key == "log_stream_prefix" && *name == "log_stream_name"));
        lines.push((key, value));
        for (key, value) in lines {
            section.push(key, value, Span::default());
        }
        let mut config = Config::default();
        config.add(section);
        let clock = || Timestamp::default();
        let parsers = Arc::new(Parsers::built_in(clock));
        match firelane_engine::plan(&config, &TABLES, &service(), &parsers) {
            Ok((_, warnings)) if warnings.iter().any(|warning| names(warning, key)) => Fate::Warned,
            Ok(_) => Fate::Taken,
            Err(errors) => match errors
                .iter()
                .find(|error| names(error, key))
                .map(|error| error.code)
            {
                Some("FL0301") => Fate::Unknown,
                None | Some("FL0303") => Fate::Unfit,
                Some(_) => Fate::Refused,
            },
        }
    }
}

/// What the signing outputs want beside it.
const AWS: &[(&str, &str)] = &[("aws_auth", "on"), ("aws_service", "es")];

/// What a property means nothing without.
fn beside(key: &str) -> &'static [(&'static str, &'static str)] {
    match key {
        "body_key" => &[("headers_key", "$h")],
        "headers_key" => &[("body_key", "$b")],
        "username" | "password" | "self_hostname" | "security.users" => &[("shared_key", "k")],
        "aws_external_id" | "aws_profile" | "aws_region" | "aws_role_arn" | "aws_service"
        | "aws_service_name" | "aws_sts_endpoint" | "aws_auth" => AWS,
        "http_passwd" => &[("http_user", "u")],
        "json_date_key" | "json_date_format" => &[("format", "json_lines")],
        "separator" => &[("format", "none")],
        "delimiter" | "label_delimiter" => &[("format", "ltsv")],
        "csv_column_names" => &[("format", "csv")],
        "template" => &[("format", "template")],
        "external_id" => &[("role_arn", "arn:aws:iam::123456789012:role/logs")],
        "time_key_format" => &[("time_key", "time")],
        "log_group_class" | "log_retention_days" | "new_log_group_tags" => &[("auto_create_group", "on")],
        "default_log_group_name" => &[("log_group_name", "$(k)")],
        "default_log_stream_name" => &[("log_stream_name", "$(k)")],
        _ => &[],
    }
}

fn service() -> EngineService {
    EngineService {
        service: Service::default(),
        grace: None,
        schedule: Schedule { base: 5, cap: 2000 },
        memory_limit: None,
        partitions: 1,
        storage: firelane_conf::StorageConfig::default(),
        tolerant: false,
    }
}

/// Whether the message has the property in quotes, perhaps with its value behind it.
fn names(diagnostic: &Diagnostic, key: &str) -> bool {
    ['`', '\''].iter().any(|quote| {
        let start = format!("{quote}{key}");
        let mut hits = diagnostic.message.match_indices(&start);
        hits.any(|(at, _)| diagnostic.message[at + start.len()..].starts_with([*quote, ' ']))
    })
}

fn try_service(key: &str) -> Fate {
    let mut section = Section::new(SectionKind::Service, Span::default());
    section.push(key, "1", Span::default());
    let (_, found) = ServiceConfig::from_section(Some(&section));
    match found
        .iter()
        .find(|found| found.code != "FL0305")
        .map(|found| found.code)
    {
        Some("FL0420") => Fate::Unknown,
        Some("FL0421") => Fate::Warned,
        _ => Fate::Taken,
    }
}

/// What is wrong with a line of the table, given what came of each value.
fn judge(key: &str, state: &str, fates: &[Fate]) -> Option<&'static str> {
    let some = |wanted: Fate| fates.contains(&wanted);
    // TLS is built from files: only whether the property is known can be tried here.
    let needs_files = key.starts_with("tls.");
    match state.split(": ").next() {
        Some("supported" | "partial") if some(Fate::Unknown) => Some("it is unknown"),
        Some("supported" | "partial") if !needs_files && !some(Fate::Taken) => Some("it is never taken"),
        Some("supported" | "partial") => None,
        Some("warned") if !some(Fate::Warned) => Some("no warning names it"),
        Some("warned") => None,
        Some("refused") if !some(Fate::Unknown) && !some(Fate::Refused) => Some("it is not refused"),
        Some("refused") => None,
        _ => Some("there is no such state"),
    }
}

fn table() -> toml::Table {
    TABLE.parse().expect("compat.toml is TOML")
}

fn each_section(mut visit: impl FnMut(&str, &str, &toml::Table)) {
    for (kind, value) in &table() {
        let Some(sections) = value.as_table() else {
            continue;
        };
        if kind == "service" {
            visit(kind, "", sections);
            continue;
        }
        for (name, value) in sections {
            visit(kind, name, value.as_table().expect("a section"));
        }
    }
}

/// Guarantees: no property is accepted in silence, and none is unknown that the table promises.
#[test]
fn the_table_is_true() {
    let mut faults = Vec::new();
    each_section(|kind, name, properties| {
        let plugins: &[&str] = match (kind, name) {
            ("input", "common") => &["dummy", "tail"],
            ("filter", "common") => &["grep"],
            ("output", "common") => &["null", "http"],
            ("input", "network") => &["forward", "tcp", "http"],
            ("output", "network") => &["http"],
            _ => &[name],
        };
        for (key, state) in properties {
            let (state, lower) = (state.as_str().unwrap_or_default(), key.to_ascii_lowercase());
            for name in plugins {
                let mut fates = Vec::new();
                // Whether a property is known does not depend on its value: one value that shows the
                // state is enough.
                for value in VALUES {
                    let plugin = Plugin { kind, name };
                    fates.push(match kind {
                        "service" => try_service(&lower),
                        _ => plugin.try_value(&lower, value),
                    });
                    if kind == "service" || judge(&lower, state, &fates).is_none() {
                        break;
                    }
                }
                if let Some(fault) = judge(&lower, state, &fates) {
                    faults.push(format!("{kind} {name} {key} ({state}): {fault}: {fates:?}"));
                }
            }
        }
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Guarantees: a new plugin comes with its properties in the table.
#[test]
fn every_plugin_has_a_section() {
    let mut listed = Vec::new();
    each_section(|kind, name, _| listed.push(format!("{kind} {name}")));
    let inputs = TABLES
        .inputs
        .iter()
        .map(|plugin| format!("input {}", plugin.name));
    let filters = TABLES
        .filters
        .iter()
        .map(|plugin| format!("filter {}", plugin.name));
    let outputs = TABLES
        .outputs
        .iter()
        .map(|plugin| format!("output {}", plugin.name));
    for plugin in inputs.chain(filters).chain(outputs) {
        assert!(
            listed.contains(&plugin),
            "compat.toml has no section for {plugin}"
        );
    }
}
