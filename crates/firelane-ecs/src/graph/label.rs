//! What stands in the boxes: titles and targets of outputs, log drivers, inputs; one line for each filter.

use firelane_conf::Section;

use crate::context::{Context, LaunchType};
use crate::destinations::{self, looks_secret};
use crate::firelens::{Dialect, Grep};
use crate::taskdef::Container;
use crate::text::Text;

/// Looks an option up by its name in lower case.
pub(super) type Get<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Options of Fluentd's outputs that say where they send, most telling first.
const FLUENTD_TARGETS: &[&str] = &[
    "delivery_stream_name",
    "stream_name",
    "log_group_name",
    "s3_bucket",
    "bucket",
    "endpoint",
    "host",
    "default_topic",
    "topic",
    "path",
];

/// An output: the service, where in it, and the region if it is another than the task's.
pub(super) fn output(plugin: &str, get: Get<'_>, dialect: Dialect, context: &Context) -> Vec<String> {
    let known = destinations::find(plugin);
    let mut lines = vec![known.map_or_else(|| plugin.to_string(), |known| known.title.to_string())];
    let (targets, most) = match (dialect, known) {
        (Dialect::Fluentd, _) => (FLUENTD_TARGETS, 1),
        (Dialect::FluentBit, Some(known)) => (known.target, 2),
        (Dialect::FluentBit, None) => (["host", "endpoint"].as_slice(), 1),
    };
    let secret = |option: &str| known.map_or_else(|| looks_secret(option), |known| known.is_secret(option));
    let found = targets.iter().filter(|option| !secret(option));
    let found = found
        .filter_map(|option| get(option))
        .filter(|value| !value.is_empty());
    lines.extend(found.take(most).map(|value| public(&value)));
    if let Some(region) = get("region").filter(|region| *region != context.region && !region.is_empty()) {
        lines.push(format!("in {region}"));
    }
    lines
}

/// An address without user, password and query: they hold keys.
fn public(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else {
        return match value.split_once('?') {
            Some((path, _)) if value.starts_with('/') => format!("{path}?…"),
            _ => value.to_string(),
        };
    };
    let (address, query) = match rest.split_once('?') {
        Some((address, _)) => (address, "?…"),
        None => (rest, ""),
    };
    let (host, path) = match address.find('/') {
        Some(at) => address.split_at(at),
        None => (address, ""),
    };
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}{query}")
}

/// Where a container's log goes that does not use the router.
pub(super) fn driver(container: &Container, context: &Context) -> Vec<String> {
    let option = |name: &str| {
        let log = container.log_configuration.as_ref()?;
        let value = log.options.get(name)?.as_str();
        (!value.is_empty()).then(|| public(value))
    };
    let Some(driver) = container.driver() else {
        return match context.launch_type {
            LaunchType::Fargate => vec!["not kept".to_string(), "no log driver".to_string()],
            _ => vec!["Docker's default driver".to_string()],
        };
    };
    let (title, target) = match driver.as_str() {
        "awslogs" => ("Amazon CloudWatch Logs", option("awslogs-group")),
        "splunk" => ("Splunk", option("splunk-url")),
        "fluentd" => ("Fluentd", option("fluentd-address")),
        "gelf" => ("GELF", option("gelf-address")),
        "syslog" => ("Syslog", option("syslog-address")),
        "json-file" => ("JSON files of the instance", None),
        "journald" => ("journald of the instance", None),
        "none" => ("not kept", None),
        other => (other, None),
    };
    let mut lines = vec![title.to_string()];
    lines.extend(target);
    if let Some(region) = option("awslogs-region").filter(|region| *region != context.region) {
        lines.push(format!("in {region}"));
    }
    lines
}

/// A container: its name, its driver, whether it is the router.
pub(super) fn container(container: &Container) -> Vec<String> {
    let driver = container.driver().map_or("no log driver", Text::as_str);
    let driver = match container.firelens_configuration {
        Some(_) => format!("router, {driver}"),
        None => driver.to_string(),
    };
    vec![container.name().to_string(), driver]
}

/// An input: plugin, and what it reads or where it listens.
pub(super) fn input(plugin: &str, get: Get<'_>) -> Vec<String> {
    let mut lines = vec![plugin.to_string()];
    let listen = || Some(format!("{}:{}", get("listen").unwrap_or_default(), get("port")?));
    let what = ["path", "unix_path", "systemd_filter"];
    let what = what.iter().find_map(|option| get(option));
    lines.extend(what.or_else(listen).map(|what| public(&what)));
    lines
}

/// A filter of the router's own file.
pub(super) fn filter(section: &Section) -> String {
    const TELLING: &[&str] = &[
        "parser",
        "regex",
        "exclude",
        "multiline.parser",
        "operation",
        "call",
        "rate",
        "record",
        "add",
        "rename",
    ];
    let name = section.name().map_or("?", |name| name.value.value.as_str());
    let mut all = TELLING.iter();
    let found = all.find_map(|option| Some((*option, section.get(option)?)));
    match found {
        Some(("parser" | "multiline.parser" | "operation" | "call", entry)) => {
            format!("{name}: {}", entry.value.value)
        }
        // A value may be a secret: its key is enough.
        Some((option @ ("record" | "add" | "rename"), entry)) => {
            let key = entry.value.value.split_whitespace().next().unwrap_or_default();
            format!("{name}: {option} {key}")
        }
        Some((option, entry)) => format!("{name}: {option} {}", entry.value.value),
        None => name.to_string(),
    }
}

/// A filter that the agent writes.
pub(super) fn grep(verb: &str, grep: &Grep) -> String {
    format!("grep: {verb} {}", grep.pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_addresses_are_left_out() {
        assert_eq!(
            public("https://me:pw@h.example/a?token=1"),
            "https://h.example/a?…"
        );
        assert_eq!(public("/v1/input?api_key=1"), "/v1/input?…");
        assert_eq!(public("https://h.example?x@y"), "https://h.example?…");
        assert_eq!(public("/ecs/web"), "/ecs/web");
        assert_eq!(public("tcp://10.0.0.1:24224"), "tcp://10.0.0.1:24224");
    }
}
