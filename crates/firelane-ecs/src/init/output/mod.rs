//! From a destination and the user's options to the options and secrets of a log configuration.

mod fluentbit;
mod fluentd;

use firelane_conf::{Class, Diagnostic};
use serde_json::Value as Json;

use super::{Request, fault};
use crate::destinations;
use crate::firelens::Dialect;

/// Most entries that Docker is told to keep while the router is away; its own default, 1048576, could take
/// all memory there is.
const BUFFER_LIMIT_MAX: i64 = 65_536;
/// Fewest; a burst must fit.
const BUFFER_LIMIT_MIN: i64 = 4_096;
/// Longest record that Docker makes of a line, as a part of a MiB.
const LINES_IN_MIB: i64 = 64;
/// Options that the agent takes for itself.
const AGENT: [&str; 3] = ["include-pattern", "exclude-pattern", BUFFER_OPTION];
const BUFFER_OPTION: &str = "log-driver-buffer-limit";
/// The agent takes less.
const BUFFER_LIMIT_END: u64 = 536_870_912;

/// What is known of the task.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Facts {
    /// Its family, if the file says it.
    pub(super) family: Option<String>,
    /// A log group for it.
    pub(super) group: Json,
    /// Its region.
    pub(super) region: Json,
    /// Whether nobody said which region.
    pub(super) default_region: bool,
    /// Its memory in MiB, if the file says it.
    pub(super) memory: Option<i64>,
    /// How many containers send to the router.
    pub(super) users: usize,
}

impl Facts {
    /// The limit of each container's buffer in Docker: today's Docker counts records, which the task's memory
    /// must hold even if each is as long as can be.
    fn buffer_limit(&self) -> String {
        let users = i64::try_from(self.users).unwrap_or(i64::MAX).max(1);
        let memory = self.memory.unwrap_or(i64::MAX).max(0);
        let limit = memory.saturating_mul(LINES_IN_MIB) / users;
        let limit = limit.clamp(BUFFER_LIMIT_MIN, BUFFER_LIMIT_MAX);
        // A round number: the power of two below.
        (1_i64 << limit.ilog2()).to_string()
    }
}

/// What goes into a log configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Chosen {
    /// Options, the output's name first.
    pub(super) options: Vec<(String, Json)>,
    /// Secret options: name, where the value comes from.
    pub(super) secrets: Vec<(String, String)>,
    /// What is left to do.
    pub(super) notes: Vec<String>,
}

/// The value of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Plain(String),
    /// An ARN or a parameter's name.
    Secret(String),
}

/// The user's options.
#[derive(Debug, Default)]
struct Given {
    entries: Vec<(String, Value)>,
    /// Whether the case of names does not count.
    any_case: bool,
}

impl Given {
    fn get(&self, key: &str) -> Option<&Value> {
        let fits = |known: &str| known == key || (self.any_case && known.eq_ignore_ascii_case(key));
        self.entries
            .iter()
            .find(|(known, _)| fits(known))
            .map(|(_, value)| value)
    }

    fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    fn has_any(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.has(key))
    }

    /// The value, unless it is a secret.
    fn plain(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::Plain(text) => Some(text),
            Value::Secret(_) => None,
        }
    }

    /// Whether it is set, and not to a word for no.
    fn is_on(&self, key: &str) -> bool {
        let off = |text: &str| {
            ["off", "false", "no"]
                .iter()
                .any(|no| no.eq_ignore_ascii_case(text))
        };
        self.has(key) && !self.plain(key).is_some_and(off)
    }
}

/// The options of a log configuration.
pub(super) fn choose(request: &Request, facts: &Facts) -> Result<Chosen, Vec<Diagnostic>> {
    let mut faults = Vec::new();
    let given = read(request, &mut faults);
    let chosen = match request.kind {
        Dialect::FluentBit => fluentbit::choose(&request.to, &given, facts, &mut faults),
        Dialect::Fluentd => fluentd::choose(&request.to, &given, facts, &mut faults),
    };
    match chosen {
        Some(mut chosen) if faults.is_empty() => {
            if !given.has(BUFFER_OPTION) {
                chosen
                    .options
                    .push((BUFFER_OPTION.into(), facts.buffer_limit().into()));
            }
            Ok(chosen)
        }
        _ => Err(faults),
    }
}

/// The user's options, plain and secret.
fn read(request: &Request, faults: &mut Vec<Diagnostic>) -> Given {
    let mut given = Given {
        entries: Vec::new(),
        any_case: request.kind == Dialect::FluentBit,
    };
    for (key, value) in &request.options {
        let key = key.trim();
        if given.has(key) {
            faults.push(fault::option(format!("`{key}` is given twice")).help("leave one out"));
            continue;
        }
        if value.is_empty() || value.contains(['\n', '\r']) {
            let what = if value.is_empty() {
                "no value"
            } else {
                "a value of several lines"
            };
            let help = "the router's configuration takes one line for each option";
            faults.push(fault::option(format!("`{key}` has {what}")).help(help));
            continue;
        }
        if key.eq_ignore_ascii_case(BUFFER_OPTION)
            && !value.parse::<u64>().is_ok_and(|limit| limit < BUFFER_LIMIT_END)
        {
            let help = format!("it is a whole number below {BUFFER_LIMIT_END}");
            faults.push(fault::option(format!("`{key}` cannot be `{value}`")).help(help));
            continue;
        }
        given.entries.push((key.to_string(), value_of(value)));
    }
    given
}

fn value_of(value: &str) -> Value {
    let secret = value.strip_prefix("secret:").filter(|from| !from.is_empty());
    match secret {
        Some(from) => Value::Secret(from.to_string()),
        None if is_secret_arn(value) => Value::Secret(value.to_string()),
        None => Value::Plain(value.to_string()),
    }
}

/// Whether it is the ARN of a secret or of a parameter.
fn is_secret_arn(value: &str) -> bool {
    let mut parts = value.splitn(6, ':');
    if parts.next() != Some("arn") || parts.next().is_none() {
        return false;
    }
    let service = parts.next();
    let resource = parts.nth(2).unwrap_or_default();
    match service {
        Some("secretsmanager") => resource.starts_with("secret:"),
        Some("ssm") => resource.starts_with("parameter/"),
        _ => false,
    }
}

/// Whether a value is an environment variable of the router, which is no secret in the definition.
fn is_variable(value: &str) -> bool {
    value.starts_with("${") && value.ends_with('}') && value.matches("${").count() == 1
}

/// Refuses secrets that stand there for all to read.
fn refuse_plain_secret(key: &str, to: &str, faults: &mut Vec<Diagnostic>) {
    let message = format!("`{key}` is a secret and would stand in the task definition for all to read");
    let help = format!(
        "put it into Secrets Manager or the Parameter Store and give its ARN, which goes to `secretOptions`: \
         firelane init --to {to} {key}=arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME"
    );
    faults.push(fault::secret(message).help(help));
}

/// What a person would put for the value of an option.
fn placeholder(key: &str, secret: bool) -> String {
    let last = key.rsplit(['_', '.']).next().unwrap_or(key).to_ascii_uppercase();
    match key {
        _ if secret => format!("{key}=secret:ARN"),
        "delivery_stream" | "stream" => format!("{key}=NAME"),
        _ => format!("{key}={last}"),
    }
}

/// Reports what is missing, with a command that has it all. `wanted` are lists of which one option is needed.
fn require(
    to: &str,
    wanted: &[&[&str]],
    defaults: &[(&str, Json)],
    given: &Given,
    is_secret: &dyn Fn(&str) -> bool,
    faults: &mut Vec<Diagnostic>,
) {
    let lacks = |list: &&&[&str]| !given.has_any(list) && !defaults.iter().any(|(key, _)| list.contains(key));
    let missing: Vec<_> = wanted
        .iter()
        .filter(lacks)
        .map(|list| list.join(" or "))
        .collect();
    // What is missing may be what was misspelt.
    if missing.is_empty() || faults.iter().any(|fault| fault.class == Class::UnknownProperty) {
        return;
    }
    let argument = |list: &&[&str]| match list.iter().find(|key| given.has(key)) {
        Some(key) => match given.plain(key).filter(|_| !is_secret(key)) {
            Some(value) => format!("{key}={value}"),
            None => format!("{key}=secret:ARN"),
        },
        None => placeholder(list[0], is_secret(list[0])),
    };
    let (regions, others): (Vec<_>, Vec<_>) = wanted.iter().partition(|list| list[0] == "region");
    let arguments: Vec<_> = others.into_iter().chain(regions).map(argument).collect();
    let help = format!("firelane init --to {to} {}", arguments.join(" "));
    faults.push(fault::missing(format!("`{to}` needs {}", missing.join(" and "))).help(help));
}

/// The user's options, then the defaults for what is not among them.
fn assemble(head: (&str, &str), given: &Given, defaults: Vec<(&str, Json)>) -> Chosen {
    let mut chosen = Chosen::default();
    chosen.options.push((head.0.into(), head.1.into()));
    for (key, value) in &given.entries {
        match value {
            Value::Plain(text) => chosen.options.push((key.clone(), text.as_str().into())),
            Value::Secret(from) => chosen.secrets.push((key.clone(), from.clone())),
        }
    }
    let defaults = defaults.into_iter().filter(|(key, _)| !given.has(key));
    chosen
        .options
        .extend(defaults.map(|(key, value)| (key.to_string(), value)));
    chosen
}

/// The nearest name, as help.
fn near<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    firelane_conf::suggest::nearest(given, known).map(|near| format!("did you mean `{near}`?"))
}

/// Options that FireLens writes by itself.
fn refuse_own(key: &str, kind: Dialect, faults: &mut Vec<Diagnostic>) -> bool {
    let fits = |own: &str| own.eq_ignore_ascii_case(key);
    let help = if fits(kind.output_key()) {
        "`--to` says which output it is"
    } else if kind == Dialect::FluentBit && (fits("match") || fits("match_regex")) {
        "each container's output gets that container's logs"
    } else {
        return false;
    };
    faults.push(fault::option(format!("`{key}` is written by FireLens itself")).help(help));
    true
}

/// A region nobody chose.
fn region_note(facts: &Facts) -> Option<String> {
    let region = facts.region.as_str().filter(|_| facts.default_region)?;
    Some(format!(
        "the region is `{region}` as none was given: `--region` sets another"
    ))
}

/// What the execution role must be able to do for a new router and for secrets.
pub(super) fn execution_note(new: bool, chosen: &Chosen) -> Option<String> {
    let group = new.then_some("the router's log group");
    let secrets = (!chosen.secrets.is_empty()).then_some("the secrets");
    let all: Vec<_> = group.into_iter().chain(secrets).collect();
    let all = Some(all.join(" and ")).filter(|all| !all.is_empty())?;
    Some(format!(
        "the execution role needs {all}: `firelane iam FILE` prints the policies"
    ))
}

/// What the task role must be able to do for an output.
fn task_role_note(destination: &destinations::Destination, serverless: bool) -> Option<String> {
    use destinations::Service;
    let actions = match destination.service? {
        Service::CloudWatchLogs => "logs:CreateLogGroup, logs:CreateLogStream and logs:PutLogEvents",
        Service::Firehose => "firehose:PutRecordBatch",
        Service::Kinesis => "kinesis:PutRecords",
        Service::S3 => "s3:PutObject",
        Service::OpenSearch if serverless => "aoss:APIAccessAll",
        Service::OpenSearch => "es:ESHttpPost",
        Service::ManagedPrometheus => "aps:RemoteWrite",
        Service::Kafka => "kafka-cluster:Connect and kafka-cluster:WriteData",
        Service::Named => return None,
    };
    Some(format!(
        "the task role needs {actions}: `firelane iam FILE` prints the policies"
    ))
}
