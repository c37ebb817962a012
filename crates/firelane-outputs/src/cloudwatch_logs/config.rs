//! Properties of `cloudwatch_logs` and `cloudwatch`.

use std::borrow::Cow;
use std::sync::Arc;

use firelane_conf::Diagnostic;
use firelane_conf::units::OnOff;
use firelane_core::{BuildCx, Limits, Order, Output, OutputConfig};
use firelane_net::HeaderValue;
use firelane_net::aws::{AwsSettings, Service};
use firelane_record::accessor::{Accessor, Template};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use super::Logs;
use super::api::Remote;
use super::encode::EVENTS_MAX;
use super::message::{Dialect, Messages};
use super::names::{Kind, Name, Names};
use super::streams::{Creation, Streams};
use super::task::TaskSource;
use crate::payload::plain_json;
use crate::settings::{refuse, warn};

/// Days that a group may keep its events (API reference, `PutRetentionPolicy`).
const RETENTION_DAYS: [i64; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];
/// Most tags of a group, and characters of their keys and values.
const TAGS_MAX: (usize, usize, usize) = (50, 128, 256);
/// Chunks under way at once, of different streams.
const IN_FLIGHT: usize = 4;
/// Raw bytes of a chunk: what makes one full request of records as JSON; with `log_key` less of them is sent.
const CHUNK_BYTES: usize = 900_000;
const CHUNK_BYTES_WITH_KEY: usize = 2_000_000;

/// Properties of `[OUTPUT] Name cloudwatch_logs`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// AWS region; where absent that of the environment, the profile or the instance.
    region: Option<String>,
    /// Log group. May hold variables: `$(tag)`, `$(tag[0])`, `$(key)`, `$(key['sub'])`, `$(uuid)` (one for
    /// the run), `$(ecs_task_id)`, `$(ecs_cluster)`, `$(ecs_task_arn)`. What they bring and a name cannot
    /// hold becomes a dot.
    log_group_name: Option<String>,
    /// Log stream, with the same variables. This or `log_stream_prefix`.
    log_stream_name: Option<String>,
    /// Log stream: this and the tag behind it.
    log_stream_prefix: Option<String>,
    /// Log group by record accessors, `/app/$svc['name']`. `log_group_name` where a part is missing.
    log_group_template: Option<String>,
    /// Log stream by record accessors. `log_stream_name` or `log_stream_prefix` where a part is missing.
    log_stream_template: Option<String>,
    /// Log group where a variable is missing. Default `fluentbit-default`.
    default_log_group_name: Option<String>,
    /// Log stream where a variable is missing. Default `/fluentbit-default`.
    default_log_stream_name: Option<String>,
    /// Send only the value of this key: a string as it is, anything else as JSON. Records without it are
    /// refused.
    log_key: Option<String>,
    /// Text of the header `x-amzn-logs-format`: `json/emf` where the messages are embedded metrics.
    log_format: Option<String>,
    /// Create a group that is not there. Default off.
    auto_create_group: Option<OnOff>,
    /// Create streams. Default on.
    auto_create_stream: Option<OnOff>,
    /// Days that events are kept in groups created here: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400,
    /// 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653; 0 (default): for ever.
    log_retention_days: Option<i64>,
    /// Class of groups created here: `STANDARD` or `INFREQUENT_ACCESS`.
    log_group_class: Option<String>,
    /// Tags of groups created here: `key=value,key2=value2`.
    new_log_group_tags: Option<String>,
    /// Has no effect: it is for records of metric inputs (`cpu`, `mem`), of which there are none.
    metric_namespace: Option<String>,
    /// Has no effect: it is for records of metric inputs (`cpu`, `mem`), of which there are none.
    metric_dimensions: Option<String>,
    /// Role to assume.
    role_arn: Option<String>,
    /// External id for `role_arn`.
    external_id: Option<String>,
    /// Host or URL of STS, for `role_arn`.
    sts_endpoint: Option<String>,
    /// Where to ask for credentials, in place of the usual places.
    credentials_endpoint: Option<String>,
    /// Profile of the AWS configuration files.
    profile: Option<String>,
    /// Host or URL in place of the service's own; with `http://` there is no TLS.
    endpoint: Option<String>,
    /// Port of an `endpoint` without one. Default 443.
    port: Option<u16>,
    /// Text behind `aws-fluent-bit-plugin-` in the `User-Agent`.
    extra_user_agent: Option<String>,
    /// Send a request a second time at once where it certainly did not arrive. One that may have arrived is
    /// left to the ordinary schedule of retries. Default on.
    auto_retry_requests: Option<OnOff>,
    /// Has no effect: entities are made of Kubernetes metadata.
    add_entity: Option<OnOff>,
}

/// Properties of `[OUTPUT] Name cloudwatch`: those of `cloudwatch_logs`. Records print as Go prints them, and
/// one line end behind the value of `log_key` is taken off.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct GoConfig(Config);

impl JsonSchema for GoConfig {
    fn schema_name() -> Cow<'static, str> {
        "GoConfig".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Config::json_schema(generator)
    }
}

impl OutputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        self.output(cx, Dialect::FluentBit)
    }
}

impl OutputConfig for GoConfig {
    fn build(self, cx: &BuildCx<'_>) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        self.0.output(cx, Dialect::Go)
    }
}

/// An option that was given and is not empty: Fluent Bit reads empty ones as absent.
fn given(option: &Option<String>) -> Option<&str> {
    option.as_deref().filter(|text| !text.is_empty())
}

fn is_on(option: Option<OnOff>, default: bool) -> bool {
    option.map_or(default, bool::from)
}

impl Config {
    fn output(self, cx: &BuildCx<'_>, dialect: Dialect) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        let mut errors = Vec::new();
        self.idle(cx);
        let group = self.group(cx).map_err(|error| errors.push(error));
        let stream = self.stream(cx).map_err(|error| errors.push(error));
        let creation = self.creation(cx).map_err(|more| errors.extend(more));
        let format = header(cx, "log_format", given(&self.log_format)).map_err(|error| errors.push(error));
        let agent = self.user_agent(cx).map_err(|error| errors.push(error));
        let settings = self.settings(agent.unwrap_or_default());
        let client = crate::aws::client(cx, Service::LOGS, settings).map_err(|more| errors.extend(more));
        let (Ok(group), Ok(stream), Ok(creation), Ok(format), Ok(client), true) =
            (group, stream, creation, format, client, errors.is_empty())
        else {
            return Err(errors);
        };
        let log_key = given(&self.log_key);
        let limits = Limits {
            bytes_max: log_key.map_or(CHUNK_BYTES, |_| CHUNK_BYTES_WITH_KEY),
            records_max: EVENTS_MAX as u32,
            order: Order::PerStream,
            in_flight_max: cx.workers.unwrap_or(IN_FLIGHT).max(1),
            ..Limits::default()
        };
        let messages = Messages {
            dialect,
            json: plain_json(cx),
            log_key: log_key.map(Accessor::key),
        };
        Ok(Arc::new(Logs {
            limits,
            names: Names::new(group, stream, TaskSource::of_process()),
            messages: Arc::new(messages),
            log_key: log_key.unwrap_or_default().to_owned(),
            streams: Streams::new(cx.instance, creation),
            api: Box::new(Remote {
                client,
                format,
                second_try: is_on(self.auto_retry_requests, true),
            }),
        }))
    }

    /// Says what does nothing.
    fn idle(&self, cx: &BuildCx<'_>) {
        for (key, option) in [
            ("metric_namespace", &self.metric_namespace),
            ("metric_dimensions", &self.metric_dimensions),
        ] {
            if option.is_some() {
                let reason =
                    "has no effect: it is for records of the inputs `cpu` and `mem`, which are not here";
                warn(cx, key, reason);
            }
        }
        if is_on(self.add_entity, false) {
            warn(
                cx,
                "add_entity",
                "has no effect: entities are made of Kubernetes metadata",
            );
        }
        if !is_on(self.auto_create_group, false) {
            for (key, is_set) in [
                (
                    "log_retention_days",
                    self.log_retention_days.is_some_and(|days| days != 0),
                ),
                ("log_group_class", given(&self.log_group_class).is_some()),
                ("new_log_group_tags", given(&self.new_log_group_tags).is_some()),
            ] {
                if is_set {
                    warn(
                        cx,
                        key,
                        "has no effect: `auto_create_group` is off, so no group is created here",
                    );
                }
            }
        }
        if given(&self.external_id).is_some() && given(&self.role_arn).is_none() {
            warn(cx, "external_id", "has no effect without `role_arn`");
        }
    }

    fn group(&self, cx: &BuildCx<'_>) -> Result<Name, Diagnostic> {
        let Some(text) = given(&self.log_group_name) else {
            return Err(refuse(
                cx,
                "log_group_name",
                "is needed: the log group to send to",
            ));
        };
        let default = self.default_name(cx, "default_log_group_name", Kind::Group)?;
        let name = Name::parse(Kind::Group, text, false, default)
            .map_err(|reason| refuse(cx, "log_group_name", &reason))?;
        self.finish(cx, name, "log_group_template", "default_log_group_name")
    }

    fn stream(&self, cx: &BuildCx<'_>) -> Result<Name, Diagnostic> {
        let (key, text, is_prefix) = match (given(&self.log_stream_name), given(&self.log_stream_prefix)) {
            (Some(name), None) => ("log_stream_name", name, false),
            (None, Some(prefix)) => ("log_stream_prefix", prefix, true),
            (Some(_), Some(_)) => {
                let reason = "not together with `log_stream_name`: give one of them";
                return Err(refuse(cx, "log_stream_prefix", reason));
            }
            (None, None) => {
                let reason = "is needed, or `log_stream_prefix`: the log stream to send to";
                return Err(refuse(cx, "log_stream_name", reason));
            }
        };
        let default = self.default_name(cx, "default_log_stream_name", Kind::Stream)?;
        let name =
            Name::parse(Kind::Stream, text, is_prefix, default).map_err(|reason| refuse(cx, key, &reason))?;
        self.finish(cx, name, "log_stream_template", "default_log_stream_name")
    }

    /// The name where a variable is missing, checked.
    fn default_name(&self, cx: &BuildCx<'_>, key: &str, kind: Kind) -> Result<&str, Diagnostic> {
        let (option, default) = match kind {
            Kind::Group => (&self.default_log_group_name, "fluentbit-default"),
            Kind::Stream => (&self.default_log_stream_name, "/fluentbit-default"),
        };
        let text = given(option).unwrap_or(default);
        match Name::parse(kind, text, false, "") {
            Ok(_) if !text.contains("$(") => Ok(text),
            Ok(_) => Err(refuse(
                cx,
                key,
                "it cannot have variables: it is for records that lack them",
            )),
            Err(reason) => Err(refuse(cx, key, &reason)),
        }
    }

    /// Adds the template; a default name that is never used is warned about.
    fn finish(
        &self,
        cx: &BuildCx<'_>,
        name: Name,
        template_key: &str,
        default_key: &str,
    ) -> Result<Name, Diagnostic> {
        if !name.may_miss() && cx.section.get(default_key).is_some() {
            warn(
                cx,
                default_key,
                "has no effect: the name has no variables that a record may lack",
            );
        }
        let option = match template_key {
            "log_group_template" => &self.log_group_template,
            _ => &self.log_stream_template,
        };
        let template = given(option).map(Template::parse).transpose();
        let template = template.map_err(|error| refuse(cx, template_key, &error.to_string()))?;
        Ok(name.with_template(template))
    }

    fn creation(&self, cx: &BuildCx<'_>) -> Result<Creation, Vec<Diagnostic>> {
        let mut errors = Vec::new();
        let retention_days = match self.log_retention_days.unwrap_or(0) {
            0 => None,
            days if RETENTION_DAYS.contains(&days) => u32::try_from(days).ok(),
            _ => {
                let days: Vec<_> = RETENTION_DAYS.iter().map(i64::to_string).collect();
                let reason = format!("the service knows only {} days; 0: for ever", days.join(", "));
                errors.push(refuse(cx, "log_retention_days", &reason));
                None
            }
        };
        let class = match given(&self.log_group_class)
            .map(str::to_ascii_uppercase)
            .as_deref()
        {
            None => None,
            Some("STANDARD") => Some("STANDARD"),
            Some("INFREQUENT_ACCESS") => Some("INFREQUENT_ACCESS"),
            Some(_) => {
                errors.push(refuse(cx, "log_group_class", "use STANDARD or INFREQUENT_ACCESS"));
                None
            }
        };
        let tags = tags(given(&self.new_log_group_tags).unwrap_or_default()).unwrap_or_else(|reason| {
            errors.push(refuse(cx, "new_log_group_tags", &reason));
            Vec::new()
        });
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Creation {
            groups: is_on(self.auto_create_group, false),
            streams: is_on(self.auto_create_stream, true),
            retention_days,
            class,
            tags,
        })
    }

    fn user_agent(&self, cx: &BuildCx<'_>) -> Result<String, Diagnostic> {
        let Some(extra) = given(&self.extra_user_agent) else {
            return Ok(String::new());
        };
        let text = format!("aws-fluent-bit-plugin-{extra}");
        header(cx, "extra_user_agent", Some(&text)).map(|_| text)
    }

    fn settings(&self, user_agent: String) -> AwsSettings {
        let own = |option: &Option<String>| given(option).map(str::to_owned);
        AwsSettings {
            region: own(&self.region),
            profile: own(&self.profile),
            role_arn: own(&self.role_arn),
            external_id: own(&self.external_id),
            sts_endpoint: own(&self.sts_endpoint),
            endpoint: own(&self.endpoint),
            port: self.port.filter(|&port| port != 0),
            credentials_endpoint: own(&self.credentials_endpoint),
            user_agent,
        }
    }
}

/// A text as the value of a header.
fn header(cx: &BuildCx<'_>, key: &str, text: Option<&str>) -> Result<Option<HeaderValue>, Diagnostic> {
    let value = text.map(HeaderValue::from_str).transpose();
    value.map_err(|_| refuse(cx, key, "it cannot be sent in a header: printable ASCII only"))
}

/// Tags as `key=value,key2=value2`; blanks around them and empty keys do not count, the last of equal keys
/// does.
fn tags(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut tags: Vec<(String, String)> = Vec::new();
    for pair in text.split(',') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (key.trim(), value.trim());
        if key.is_empty() {
            continue;
        }
        let (_, key_max, value_max) = TAGS_MAX;
        if key.chars().count() > key_max || value.chars().count() > value_max {
            return Err(format!(
                "tag `{key}`: a key has {key_max} characters at most, a value {value_max}"
            ));
        }
        let good = |c: char| c.is_alphanumeric() || " _.:/=+-@".contains(c);
        if !key.chars().chain(value.chars()).all(good) || key.to_ascii_lowercase().starts_with("aws:") {
            return Err(format!(
                "tag `{key}`: letters, digits, blanks and `_.:/=+-@` only, and no key that begins with `aws:`"
            ));
        }
        tags.retain(|(known, _)| known != key);
        tags.push((key.to_owned(), value.to_owned()));
    }
    if tags.len() > TAGS_MAX.0 {
        return Err(format!("a group has {} tags at most", TAGS_MAX.0));
    }
    Ok(tags)
}
