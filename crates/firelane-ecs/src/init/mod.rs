//! `init`: a new task definition with a log router, or one that is there amended.
//!
//! What is written follows the advice that the checks of this crate give: the router first and essential, its
//! own log elsewhere, a health check where the generated configuration has the input for it, the other
//! containers waiting for it. An amended text keeps every byte that is not about that.

mod amend;
mod edit;
mod fault;
mod output;
mod place;
mod shape;

#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;

use firelane_conf::{Diagnostic, SourceId};
use serde_json::{Map, Value as Json, json};

use crate::context::{EXAMPLE_ACCOUNT, LaunchType, partition};
use crate::firelens::Dialect;
use crate::source::Grammar;
use crate::taskdef::{Form, Loaded, Options, load};
use output::Facts;
use shape::Mode;

/// MiB of a new task.
const TASK_MEMORY: i64 = 512;

/// What is wished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Where the logs go: a short name (`firehose`, `cloudwatch`) or the name of an output plugin.
    pub to: String,
    /// Options of the output. A value `secret:ARN` or `secret:PARAMETER`, or the ARN of a secret or
    /// parameter, goes to `secretOptions`.
    pub options: Vec<(String, String)>,
    /// The containers whose logs go there. None given: a new definition has one `app`, of an existing one
    /// all but the router are meant.
    pub containers: Vec<String>,
    /// The kind of router.
    pub kind: Dialect,
    /// The launch type; Fargate for a new definition.
    pub launch_type: Option<LaunchType>,
    /// The logical id of the task definition in a template.
    pub resource: Option<String>,
    /// The region of destinations in AWS and of the router's own log.
    pub region: Option<String>,
    /// The family of a new definition; else the name of its first container.
    pub family: Option<String>,
}

/// A text and what there is to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The whole text.
    pub text: String,
    /// What was done, and what is left to do.
    pub notes: Vec<String>,
}

/// An option from the command line, `KEY=VALUE`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_option(argument: &str) -> Result<(String, String), Box<Diagnostic>> {
    match argument.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_string(), value.to_string())),
        _ => {
            let message = format!("`{argument}` is not of the form KEY=VALUE");
            let help = "write for example `delivery_stream=my-stream`";
            Err(Box::new(fault::option(message).help(help)))
        }
    }
}

/// Whether an error is a mistake of ours and not of the text.
pub(crate) fn is_internal(error: &Diagnostic) -> bool {
    error.code == fault::INTERNAL
}

/// A whole new task definition, as JSON for `register-task-definition`.
///
/// # Errors
/// Everything that is wrong with the wish.
pub fn create(request: &Request) -> Result<Written, Vec<Diagnostic>> {
    let launch = request.launch_type.unwrap_or(LaunchType::Fargate);
    let mut containers: Vec<&str> = Vec::new();
    for name in &request.containers {
        if !containers.contains(&name.as_str()) {
            containers.push(name);
        }
    }
    if containers.is_empty() {
        containers.push("app");
    }
    let family = request.family.as_deref().unwrap_or(containers[0]);
    let mut faults = bad_names(&containers, family);
    let option = request
        .options
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case("region"));
    let given = request
        .region
        .clone()
        .or_else(|| option.map(|(_, value)| value.clone()));
    let region = given.clone().unwrap_or_else(|| "us-east-1".into());
    let facts = Facts {
        group: Json::String(format!("/ecs/{family}")),
        family: Some(family.to_string()),
        region: Json::String(region.clone()),
        default_region: given.is_none(),
        memory: Some(TASK_MEMORY),
        users: containers.len(),
    };
    let chosen = match output::choose(request, &facts) {
        Ok(chosen) => chosen,
        Err(mut more) => {
            faults.append(&mut more);
            return Err(faults);
        }
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    let task = definition(request, launch, family, &region, &containers, &facts, &chosen);
    let mut text = serde_json::to_string_pretty(&task).unwrap_or_default();
    text.push('\n');
    check(&text, Grammar::Json, None, shape::ROUTER, &containers).map_err(|fault| vec![*fault])?;
    let mut notes = vec![
        "replace the image of each container and the account in the role ARNs".to_string(),
        format!(
            "the router is `{}`; it starts first and stops last",
            shape::ROUTER
        ),
    ];
    notes.extend(chosen.notes.iter().cloned());
    notes.extend(output::execution_note(true, &chosen));
    Ok(Written { text, notes })
}

fn definition(
    request: &Request,
    launch: LaunchType,
    family: &str,
    region: &str,
    containers: &[&str],
    facts: &Facts,
    chosen: &output::Chosen,
) -> Json {
    let mode = match launch {
        LaunchType::External => Mode::Bridge,
        _ => Mode::Awsvpc,
    };
    let role = |name: &str| {
        let partition = partition(region);
        Json::String(format!(
            "arn:{partition}:iam::{EXAMPLE_ACCOUNT}:role/{family}-{name}"
        ))
    };
    let stop = shape::APP_STOP_TIMEOUT;
    let mut all = vec![shape::router(request.kind, mode, facts, stop)];
    let condition = if shape::has_health_check(request.kind, mode) {
        "HEALTHY"
    } else {
        "START"
    };
    all.extend(containers.iter().map(|name| {
        json!({
            "name": name,
            "image": "public.ecr.aws/nginx/nginx:stable",
            "essential": true,
            "stopTimeout": stop,
            "dependsOn": [shape::dependency(shape::ROUTER, condition)],
            "logConfiguration": shape::log_configuration(chosen),
        })
    }));
    let mut task = Map::new();
    task.insert("family".into(), family.into());
    task.insert("taskRoleArn".into(), role("task"));
    task.insert("executionRoleArn".into(), role("execution"));
    let network = if mode == Mode::Bridge { "bridge" } else { "awsvpc" };
    task.insert("networkMode".into(), network.into());
    task.insert("requiresCompatibilities".into(), json!([launch.name()]));
    task.insert("cpu".into(), "256".into());
    task.insert("memory".into(), TASK_MEMORY.to_string().into());
    task.insert("containerDefinitions".into(), Json::Array(all));
    Json::Object(task)
}

/// A task definition with a router that gets the logs of its containers: the same text, amended.
///
/// # Errors
/// Everything that is wrong with the wish, or the file, or why the file cannot be amended.
pub fn amend(
    request: &Request,
    file: SourceId,
    text: &str,
    grammar: Grammar,
) -> Result<Written, Vec<Diagnostic>> {
    amend::amend(request, file, text, grammar)
}

/// The names that ECS refuses.
fn bad_names(containers: &[&str], family: &str) -> Vec<Diagnostic> {
    let fits = |name: &str| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=255).contains(&name.len()) && name.bytes().all(good)
    };
    let mut faults = Vec::new();
    for name in containers.iter().chain([&family]).filter(|name| !fits(name)) {
        let message = format!("`{name}` is no name for a container or family");
        let help = "a name has 1 to 255 letters, digits, `-` and `_`";
        faults.push(fault::container(message).help(help));
    }
    if containers.contains(&shape::ROUTER) {
        let message = format!("`{}` is the name of the router", shape::ROUTER);
        faults.push(fault::container(message).help("name the container whose logs are sent"));
    }
    faults
}

/// Whether a written text has the router and its users, by the model.
fn check(
    text: &str,
    grammar: Grammar,
    resource: Option<&str>,
    router: &str,
    users: &[&str],
) -> Result<(), Box<Diagnostic>> {
    let options = Options {
        resource: resource.map(str::to_string),
        ..Options::default()
    };
    let Loaded { task: Some(task), .. } = load(SourceId(0), text, grammar, &options) else {
        // What a template makes of its conditions is not for here; its text was compared value by value.
        return match resource {
            Some(_) => Ok(()),
            None => Err(Box::new(fault::internal(
                "what was written is no task definition",
            ))),
        };
    };
    let found = task.router().map(|(_, container)| container.name());
    let lost = |name: &&&str| task.container(name).is_some_and(|user| !user.uses_firelens());
    let message = if found.is_some_and(|name| name != router) {
        "what was written has another router".to_string()
    } else if let Some(name) = users.iter().find(lost) {
        format!("`{name}` would not send its logs to the router")
    } else {
        return Ok(());
    };
    Err(Box::new(fault::internal(message)))
}

/// How a JSON value of the API is spelled in a file.
fn spelled(value: &Json, form: Form) -> Json {
    match value {
        Json::Object(map) => {
            let pair = |(key, value): (&String, &Json)| {
                // An intrinsic stays one; options are the user's own words.
                let own = key == "options" || key == "Ref" || key.starts_with("Fn::");
                let value = if own { value.clone() } else { spelled(value, form) };
                let key = if key.starts_with("Fn::") {
                    key.clone()
                } else {
                    form.written(key)
                };
                (key, value)
            };
            Json::Object(map.iter().map(pair).collect())
        }
        Json::Array(items) => items.iter().map(|item| spelled(item, form)).collect(),
        scalar => scalar.clone(),
    }
}
