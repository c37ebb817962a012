//! Fluent Bit's outputs: checked against the table of what they take.

use firelane_conf::Diagnostic;
use serde_json::Value as Json;

use super::{
    AGENT, Chosen, Facts, Given, Value, assemble, is_variable, near, placeholder, refuse_own,
    refuse_plain_secret, region_note, require, task_role_note,
};
use crate::destinations::{self, DESTINATIONS, Destination};
use crate::firelens::Dialect;
use crate::init::fault;

/// Short names, and the outputs they stand for.
const SHORT: &[(&str, &str)] = &[
    ("cloudwatch", "cloudwatch_logs"),
    ("elasticsearch", "es"),
    ("firehose", "kinesis_firehose"),
    ("kinesis", "kinesis_streams"),
    ("newrelic", "nrlogs"),
    ("otlp", "opentelemetry"),
];
/// Options that say where to send, other than `host`.
const ADDRESSES: &[&str] = &["host", "cloud_id", "unix_path", "upstream"];
/// Outputs that have an address by themselves, or wait for others to connect.
const NO_ADDRESS: &[&str] = &["datadog", "prometheus_exporter", "vivo_exporter"];

type Default = (&'static str, Json);

pub(super) fn choose(to: &str, given: &Given, facts: &Facts, faults: &mut Vec<Diagnostic>) -> Option<Chosen> {
    let short = SHORT.iter().find(|(short, _)| short.eq_ignore_ascii_case(to));
    let Some(destination) = destinations::find(short.map_or(to, |(_, name)| name)) else {
        faults.push(unknown(to));
        return None;
    };
    for (key, value) in &given.entries {
        option(destination, to, key, value, faults);
    }
    let defaults = defaults(destination, given, facts);
    let mut wanted = destination.required.to_vec();
    if needs_address(destination) && !given.has_any(ADDRESSES) {
        wanted.insert(0, &["host"]);
    }
    let is_secret = |key: &str| destination.is_secret(key);
    require(to, &wanted, &defaults, given, &is_secret, faults);
    rules(destination, to, given, &defaults, faults);
    let notes = notes(destination, given, &defaults, facts);
    let mut chosen = assemble(("Name", destination.name), given, defaults);
    chosen.notes = notes;
    Some(chosen)
}

fn unknown(to: &str) -> Diagnostic {
    let shorts = SHORT.iter().map(|(short, _)| *short);
    let names = DESTINATIONS.iter().map(|destination| destination.name);
    let help = near(to, shorts.chain(names)).unwrap_or_else(|| {
        "for example: firehose, kinesis, cloudwatch, s3, opensearch, datadog, splunk, loki, newrelic, http, \
         forward; any output of Fluent Bit goes"
            .to_string()
    });
    fault::destination(format!("there is no output `{to}`")).help(help)
}

fn option(destination: &Destination, to: &str, key: &str, value: &Value, faults: &mut Vec<Diagnostic>) {
    if refuse_own(key, Dialect::FluentBit, faults) || AGENT.contains(&key) {
        return;
    }
    if !destination.knows(key) {
        let known = destination.suggestions().chain(AGENT);
        let help = near(key, known).or_else(|| {
            let others: Vec<_> = destinations::who_knows(key).map(|other| other.name).collect();
            (!others.is_empty()).then(|| format!("outputs that have it: {}", others.join(", ")))
        });
        let help = help.unwrap_or_else(|| format!("it has {}", destination.options.join(", ")));
        faults.push(fault::option(format!("`{}` has no option `{key}`", destination.name)).help(help));
        return;
    }
    if let Value::Plain(text) = value
        && destination.is_secret(key)
        && !is_variable(text)
    {
        refuse_plain_secret(key, to, faults);
    }
    if key.eq_ignore_ascii_case("tls") && !destination.tls {
        let message = format!("`{}` has no switch `tls`", destination.name);
        faults.push(fault::option(message).help("leave it out"));
    }
}

/// Options that need others, or exclude them.
fn rules(
    destination: &Destination,
    to: &str,
    given: &Given,
    defaults: &[Default],
    faults: &mut Vec<Diagnostic>,
) {
    for (switch, needed) in destination.needs {
        let defaulted = |key: &&'static str| defaults.iter().any(|(known, _)| known == key);
        if given.is_on(switch) && !given.has_any(needed) && !needed.iter().any(defaulted) {
            let message = format!("`{switch}` needs {}", needed.join(" or "));
            let more = placeholder(needed[0], destination.is_secret(needed[0]));
            faults.push(fault::missing(message).help(format!("firelane init --to {to} … {more}")));
        }
    }
    for (one, other) in destination.exclusive {
        if given.is_on(one) && given.is_on(other) {
            let message = format!("`{one}` and `{other}` exclude each other");
            faults.push(fault::option(message).help("leave one out"));
        }
    }
}

fn needs_address(destination: &Destination) -> bool {
    destination.network && destination.target.contains(&"host") && !NO_ADDRESS.contains(&destination.name)
}

/// What is safe to assume.
fn defaults(destination: &Destination, given: &Given, facts: &Facts) -> Vec<Default> {
    let mut all: Vec<Default> = Vec::new();
    if destination.service.is_some() && destination.options.contains(&"region") {
        all.push(("region", facts.region.clone()));
    }
    match destination.name {
        "cloudwatch" | "cloudwatch_logs" => {
            all.push(("log_group_name", facts.group.clone()));
            if !given.has("log_stream_name") {
                all.push(("log_stream_prefix", "from-fluent-bit-".into()));
            }
            all.push(("auto_create_group", "true".into()));
        }
        "s3" => {
            if !given.has_any(&["upload_chunk_size", "use_put_object"]) {
                all.push(("total_file_size", "50M".into()));
            }
            all.push(("upload_timeout", "5m".into()));
        }
        "datadog" => {
            all.push(("host", "http-intake.logs.datadoghq.com".into()));
            all.push(("tls", "on".into()));
            all.push(("provider", "ecs".into()));
            all.push(("dd_message_key", "log".into()));
            all.push(("compress", "gzip".into()));
        }
        "splunk" => all.push(("tls", "on".into())),
        "opensearch" | "es" => search(given, facts, &mut all),
        "loki" => {
            let job = facts.family.as_deref().unwrap_or("firelens");
            all.push(("labels", format!("job={job}").into()));
        }
        "http" => all.push(("format", "json".into())),
        _ => {}
    }
    let signs = |key| given.is_on(key) || all.iter().any(|(known, _)| *known == key);
    let aws = destination.aws_switch().is_some_and(signs);
    if aws && destination.options.contains(&"aws_region") && all.iter().all(|(key, _)| *key != "aws_region") {
        all.push(("aws_region", facts.region.clone()));
    }
    all.retain(|(key, _)| !given.has(key));
    all
}

/// OpenSearch and Elasticsearch: one's own, or Amazon's, which takes signatures instead of passwords.
fn search(given: &Given, facts: &Facts, all: &mut Vec<Default>) {
    if given.has_any(&["cloud_id", "upstream"]) {
        all.push(("suppress_type_name", "on".into()));
        return;
    }
    let host = given.plain("host").unwrap_or_default();
    if let Some((region, service)) = amazon(host) {
        all.push(("port", "443".into()));
        if !given.has("http_user") {
            all.push(("aws_auth", "on".into()));
            let region = region.map_or_else(|| facts.region.clone(), Json::from);
            all.push(("aws_region", region));
            if service == "aoss" {
                all.push(("aws_service_name", service.into()));
            }
        }
    }
    all.push(("tls", "on".into()));
    all.push(("suppress_type_name", "on".into()));
}

/// Region and service of a host of Amazon's: `….REGION.es.amazonaws.com`, `….aos.REGION.on.aws`.
fn amazon(host: &str) -> Option<(Option<&str>, &str)> {
    let parts: Vec<&str> = host.split('.').collect();
    let part = |index: usize| parts.get(index).copied();
    if let Some(service) = parts.iter().position(|part| matches!(*part, "es" | "aoss"))
        && part(service + 1) == Some("amazonaws")
    {
        return Some((part(service.checked_sub(1)?), part(service)?));
    }
    let at = parts.iter().position(|part| *part == "aos")?;
    (part(at + 2) == Some("on") && part(at + 3) == Some("aws")).then_some((part(at + 1), "es"))
}

fn notes(destination: &Destination, given: &Given, defaults: &[Default], facts: &Facts) -> Vec<String> {
    let defaulted = |key: &str| defaults.iter().find(|(known, _)| *known == key);
    let mut notes = Vec::new();
    let region = ["region", "aws_region"].iter().find_map(|key| defaulted(key));
    let host = given.plain("host").unwrap_or_default();
    if amazon(host).is_none() && region.is_some_and(|(_, region)| *region == facts.region) {
        notes.extend(region_note(facts));
    }
    for (key, _) in given.entries.iter().filter(|(key, _)| destination.ignores(key)) {
        notes.push(format!(
            "`{}` takes `{key}` but does not heed it",
            destination.name
        ));
    }
    let open = needs_address(destination) && destination.tls && !given.has("unix_path");
    if open && !given.has("tls") && defaulted("tls").is_none() {
        let name = destination.name;
        notes.push(format!(
            "`{name}` sends without encryption: add tls=on if the other side takes it"
        ));
    }
    let signs = destination
        .aws_switch()
        .is_none_or(|switch| given.is_on(switch) || defaulted(switch).is_some());
    if signs {
        let serverless =
            defaulted("aws_service_name").is_some() || given.plain("aws_service_name") == Some("aoss");
        notes.extend(task_role_note(destination, serverless));
    }
    if destination.runtime == destinations::Runtime::Go && destination.service.is_none() {
        let name = destination.name;
        notes.push(format!("`{name}` is no part of the image: use one that has it"));
    }
    notes
}
