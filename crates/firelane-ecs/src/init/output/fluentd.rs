//! Fluentd's outputs. Each is a gem of its own with options of its own, so only what must be there is known.

use firelane_conf::Diagnostic;
use serde_json::Value as Json;

use super::{
    AGENT, Chosen, Facts, Given, Value, assemble, refuse_own, refuse_plain_secret, region_note, require,
};
use crate::destinations::looks_secret;
use crate::firelens::Dialect;
use crate::init::fault;

/// An output.
struct Output {
    /// The names that `--to` takes; the first is the shown one.
    names: &'static [&'static str],
    /// `@type`.
    kind: &'static str,
    /// Of each list one option must be set.
    required: &'static [&'static [&'static str]],
    /// The option of the region.
    region: Option<&'static str>,
    /// The gem that the image must have.
    gem: Option<&'static str>,
}

/// From the documentation of the plugins.
const OUTPUTS: &[Output] = &[
    Output {
        names: &["firehose", "kinesis_firehose"],
        kind: "kinesis_firehose",
        required: &[&["delivery_stream_name"]],
        region: Some("region"),
        gem: Some("fluent-plugin-kinesis"),
    },
    Output {
        names: &["kinesis", "kinesis_streams"],
        kind: "kinesis_streams",
        required: &[&["stream_name"]],
        region: Some("region"),
        gem: Some("fluent-plugin-kinesis"),
    },
    Output {
        names: &["cloudwatch", "cloudwatch_logs"],
        kind: "cloudwatch_logs",
        required: &[],
        region: Some("region"),
        gem: Some("fluent-plugin-cloudwatch-logs"),
    },
    Output {
        names: &["s3"],
        kind: "s3",
        required: &[&["s3_bucket"]],
        region: Some("s3_region"),
        gem: Some("fluent-plugin-s3"),
    },
    Output {
        names: &["opensearch"],
        kind: "opensearch",
        required: &[&["host", "hosts"]],
        region: None,
        gem: Some("fluent-plugin-opensearch"),
    },
    Output {
        names: &["es", "elasticsearch"],
        kind: "elasticsearch",
        required: &[&["host", "hosts", "cloud_id"]],
        region: None,
        gem: Some("fluent-plugin-elasticsearch"),
    },
    Output {
        names: &["datadog"],
        kind: "datadog",
        required: &[&["api_key"]],
        region: None,
        gem: Some("fluent-plugin-datadog"),
    },
    Output {
        names: &["splunk", "splunk_hec"],
        kind: "splunk_hec",
        required: &[&["hec_host", "full_url"], &["hec_token"]],
        region: None,
        gem: Some("fluent-plugin-splunk-hec"),
    },
    Output {
        names: &["loki"],
        kind: "loki",
        required: &[&["url"]],
        region: None,
        gem: Some("fluent-plugin-grafana-loki"),
    },
    Output {
        names: &["newrelic", "nrlogs"],
        kind: "newrelic",
        required: &[&["license_key", "api_key"]],
        region: None,
        gem: Some("fluent-plugin-newrelic"),
    },
    Output {
        names: &["http"],
        kind: "http",
        required: &[&["endpoint"]],
        region: None,
        gem: None,
    },
    Output {
        names: &["file"],
        kind: "file",
        required: &[&["path"]],
        region: None,
        gem: None,
    },
    Output {
        names: &["stdout"],
        kind: "stdout",
        required: &[],
        region: None,
        gem: None,
    },
    Output {
        names: &["null"],
        kind: "null",
        required: &[],
        region: None,
        gem: None,
    },
];

pub(super) fn choose(to: &str, given: &Given, facts: &Facts, faults: &mut Vec<Diagnostic>) -> Option<Chosen> {
    if to == "forward" {
        let help = "its servers are sections, which options cannot give: write the output into a file and \
                    name that with `config-file-type` and `config-file-value`";
        faults.push(fault::destination("Fluentd's `forward` does not fit into a task definition").help(help));
        return None;
    }
    if to.is_empty() || to.contains(char::is_whitespace) {
        faults.push(fault::destination(format!("there is no output `{to}`")).help("give the name of one"));
        return None;
    }
    for (key, value) in &given.entries {
        if refuse_own(key, Dialect::Fluentd, faults) || AGENT.contains(&key.as_str()) {
            continue;
        }
        if matches!(value, Value::Plain(_)) && looks_secret(key) {
            refuse_plain_secret(key, to, faults);
        }
    }
    let Some(output) = OUTPUTS.iter().find(|output| output.names.contains(&to)) else {
        let mut chosen = assemble(("@type", to), given, Vec::new());
        chosen.notes.push(format!(
            "nothing is known here of an output `{to}`: look up its options and its gem"
        ));
        return Some(chosen);
    };
    let defaults = defaults(output, given, facts);
    require(to, output.required, &defaults, given, &looks_secret, faults);
    let mut notes = Vec::new();
    if output.region.is_some_and(|region| !given.has(region)) {
        notes.extend(region_note(facts));
    }
    if let Some(gem) = output.gem {
        notes.push(format!(
            "the image of plain Fluentd lacks {gem}: build one that has it"
        ));
    }
    if output.region.is_some() {
        notes.push("the task role needs permission to send: `firelane iam FILE` prints the policies".into());
    }
    let mut chosen = assemble(("@type", output.kind), given, defaults);
    chosen.notes = notes;
    Some(chosen)
}

fn defaults(output: &Output, given: &Given, facts: &Facts) -> Vec<(&'static str, Json)> {
    let region = output.region.map(|key| (key, facts.region.clone()));
    let mut all: Vec<_> = region.into_iter().collect();
    if output.kind == "cloudwatch_logs" {
        if !given.has_any(&["log_group_name_key", "use_tag_as_group"]) {
            all.push(("log_group_name", facts.group.clone()));
        }
        if !given.has_any(&["log_stream_name", "log_stream_name_key"]) {
            all.push(("use_tag_as_stream", "true".into()));
        }
        all.push(("auto_create_stream", "true".into()));
    }
    all.retain(|(key, _)| !given.has(key));
    all
}
