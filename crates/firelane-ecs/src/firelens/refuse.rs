//! Definitions that ECS refuses before there is a configuration, each with the words it says so.
//!
//! Sources: texts of the agent from its own code (`agent/api/task/task.go`, `agent/taskresource/firelens`,
//! `ecs-agent/utils`), texts of the API as users have published them.

use std::collections::HashSet;

use firelane_conf::{Class, Diagnostic, Span, suggest};

use super::{Dialect, EXCLUDE, External, INCLUDE, external, is_arn, log_options, s3_object, socket_owner};
use crate::context::{Context, LaunchType};
use crate::taskdef::{Container, FirelensConfiguration, TaskDefinition, link_target};
use crate::text::Text;

/// When ECS refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `RegisterTaskDefinition`.
    Register,
    /// `RunTask`, or a service that starts a task.
    Run,
    /// The agent takes the task: it stops at once with the text.
    TaskInit,
    /// The agent makes the router's files: the text is the task's stop reason.
    ResourceCreate,
    /// The agent makes a container: the text is the container's stop reason.
    ContainerCreate,
}

impl Stage {
    /// Moment and words, for people.
    pub fn says(self, text: &str) -> String {
        match self {
            Self::Register => format!("RegisterTaskDefinition fails with ClientException: {text}"),
            Self::Run => format!("RunTask fails: {text}"),
            Self::TaskInit => format!("the task stops before it starts: {text}"),
            Self::ResourceCreate => format!("the task stops before its router starts: {text}"),
            Self::ContainerCreate => format!("the container is not made: {text}"),
        }
    }
}

fn refuse(
    code: &'static str,
    span: Span,
    message: impl Into<String>,
    stage: Stage,
    text: &str,
    help: &str,
) -> Diagnostic {
    Diagnostic::error(code, Class::Init, message)
        .at(span)
        .outcome(stage.says(text))
        .help(help)
}

/// Everything for which ECS refuses the task. Parts that only the deployment knows refuse nothing.
pub fn check(task: &TaskDefinition, context: &Context) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let routers: Vec<_> = task
        .containers
        .iter()
        .filter_map(|container| Some((container, container.firelens_configuration.as_ref()?)))
        .collect();
    pairing(task, &routers, &mut found);
    if let Some((router, firelens)) = routers.first() {
        kind(firelens, context, &mut found);
        config_file(firelens, context, &mut found);
        if let Some(user) = &router.user {
            owner(user, context, &mut found);
        }
        let kind = firelens.kind.as_ref();
        if let Some(dialect) = kind.and_then(|kind| Dialect::from_name(kind.as_str())) {
            output_keys(task, dialect, &mut found);
        }
    }
    crate::lint::refused_options(task, &mut found);
    references(task, context, &mut found);
    cycle(task, context, &mut found);
    found
}

/// Several routers: the API refuses them, in words that are not public. Nothing stops the generation: the
/// agent would take the first one for the configuration.
pub fn several_routers(task: &TaskDefinition, found: &mut Vec<Diagnostic>) {
    let mut routers = task
        .containers
        .iter()
        .filter(|container| container.firelens_configuration.is_some());
    let (Some(first), Some(second)) = (routers.next(), routers.next()) else {
        return;
    };
    let message = format!("two log routers: `{}` and `{}`", first.name(), second.name());
    let outcome =
        "RegisterTaskDefinition refuses it, in words that are not public: a task has one log router";
    let help = "keep one; a second destination needs no second router, but another output";
    let span = second
        .firelens_configuration
        .as_ref()
        .map_or(second.span, |firelens| firelens.span);
    let diagnostic = Diagnostic::error("FL0703", Class::Init, message).at(span);
    found.push(diagnostic.outcome(outcome).help(help));
}

/// Router and users need each other.
fn pairing(
    task: &TaskDefinition,
    routers: &[(&Container, &FirelensConfiguration)],
    found: &mut Vec<Diagnostic>,
) {
    let open = |container: &Container| container.driver().is_some_and(|driver| driver.open);
    match (routers, task.users().next()) {
        ([], None) => {}
        ([], Some((_, user))) => {
            let text = "When awsfirelens log driver is specified in log configuration, a firelens configuration \
                        object must be configured in one of the containers.";
            let span = user.driver().map_or(user.span, |driver| driver.span);
            let message = format!(
                "container `{}` logs to `awsfirelens`, but no container is a log router",
                user.name()
            );
            let help = "add a router container with `firelensConfiguration: {type: fluentbit}`; \
                        `firelane init --add-to FILE` does it";
            found.push(refuse("FL0702", span, message, Stage::Register, text, help));
        }
        ([(_, firelens), ..], None) if !task.containers.iter().any(open) => {
            let text = "When a firelensConfiguration object is specified, at least one container has to be \
                        configured with the awsfirelens log driver.";
            let message = "there is a log router, but no container logs to `awsfirelens`";
            let help =
                "set `logConfiguration.logDriver` of the containers to `awsfirelens`, or take the router out";
            found.push(refuse(
                "FL0701",
                firelens.span,
                message,
                Stage::Register,
                text,
                help,
            ));
        }
        _ => {}
    }
}

fn resource_init(context: &Context, why: &str) -> String {
    format!(
        "resource cannot be initialized for task {}: unable to initialize firelens resource: {why}",
        context.task_arn
    )
}

fn kind(firelens: &FirelensConfiguration, context: &Context, found: &mut Vec<Diagnostic>) {
    let help = "write `fluentbit` or `fluentd`";
    let Some(kind) = &firelens.kind else {
        let message = "the log router has no `type`";
        let diagnostic = Diagnostic::error("FL0704", Class::Init, message).at(firelens.span);
        let outcome =
            "RegisterTaskDefinition refuses it, in words that are not public: the field is required";
        found.push(diagnostic.outcome(outcome).help(help));
        return;
    };
    if kind
        .known()
        .is_some_and(|kind| Dialect::from_name(kind).is_none())
    {
        let name = kind.as_str();
        let near = suggest::nearest(name, ["fluentbit", "fluentd"]);
        let help = near.map_or_else(|| help.to_string(), |near| format!("did you mean `{near}`?"));
        let text = resource_init(context, &format!("unsupported firelens config type {name}"));
        let message = format!("no log router is of type `{name}`");
        found.push(refuse(
            "FL0705",
            kind.span,
            message,
            Stage::TaskInit,
            &text,
            &help,
        ));
    }
}

fn config_file(firelens: &FirelensConfiguration, context: &Context, found: &mut Vec<Diagnostic>) {
    let Some(kind) = firelens.options.get("config-file-type") else {
        return;
    };
    let parsing = |why: &str| resource_init(context, &format!("error parsing firelens options: {why}"));
    if kind.known().is_some_and(|kind| kind != "s3" && kind != "file") {
        let value = kind.as_str();
        let text = parsing(&format!(
            "invalid value {value} is specified for option config-file-type"
        ));
        let message = format!("`config-file-type` is `{value}`");
        let help =
            "write `file` for a path in the router's image or volumes, or `s3` for the ARN of an object";
        found.push(refuse("FL0706", kind.span, message, Stage::TaskInit, &text, help));
        return;
    }
    if firelens.options.get("config-file-value").is_none() {
        let text = parsing("option config-file-type is specified but config-file-value is not specified");
        let message = "`config-file-type` without `config-file-value`";
        let help = "add `config-file-value`: the path, or the ARN of the object";
        found.push(refuse("FL0707", kind.span, message, Stage::TaskInit, &text, help));
    }
    if let Some(External::S3(value)) = external(firelens) {
        if context.launch_type == LaunchType::Fargate {
            let dialect = firelens
                .kind
                .as_ref()
                .and_then(|kind| Dialect::from_name(kind.as_str()));
            found.push(s3_on_fargate(kind.span, dialect));
        }
        object(value, found);
    }
}

fn s3_on_fargate(span: Span, dialect: Option<Dialect>) -> Diagnostic {
    let text = "The specified platform does not satisfy the task definition's required capabilities.";
    let message = "Fargate does not fetch the router's configuration from S3";
    let help = match dialect {
        Some(Dialect::Fluentd) => {
            "put the file into the router's image, or onto a volume such as EFS, and write \
             `config-file-type: file`"
        }
        _ => {
            "put the file into the router's image and write `config-file-type: file`; or take the image \
             `aws-for-fluent-bit:init-latest` and set the environment variable `aws_fluent_bit_init_s3_1` to \
             the object's ARN: the task role then needs `s3:GetObject` and `s3:GetBucketLocation`"
        }
    };
    refuse("FL0708", span, message, Stage::Run, text, help)
}

fn object(value: &Text, found: &mut Vec<Diagnostic>) {
    let Some(arn) = value.known() else { return };
    let help = "write `arn:aws:s3:::bucket/path/file.conf`";
    if !is_arn(arn) {
        let message = format!("`config-file-value` is `{arn}`, which is no ARN");
        found.push(refuse(
            "FL0709",
            value.span,
            message,
            Stage::Register,
            "Invalid arn syntax.",
            help,
        ));
    } else if s3_object(arn).is_none() {
        let text = format!(
            "unable to download firelens s3 config file: unable to parse bucket and key from s3 arn: \
             invalid s3 arn: {arn}"
        );
        let message = format!("`config-file-value` is `{arn}`, which names no object on S3");
        found.push(refuse(
            "FL0710",
            value.span,
            message,
            Stage::ResourceCreate,
            &text,
            help,
        ));
    }
}

fn owner(user: &Text, context: &Context, found: &mut Vec<Diagnostic>) {
    let Some(name) = user.known().filter(|name| !name.is_empty()) else {
        return;
    };
    if let Err(why) = socket_owner(name) {
        let folder = format!("{}/firelens/{}", context.agent_data_dir, context.task_id);
        let text = format!(
            "unable to initialize resource directory {folder}: unable to set socket directory ownership: {why}"
        );
        let message = format!("the router's `user` is `{name}`");
        let help = "write the number: `0`, `1000`, `1000:1000`";
        found.push(refuse(
            "FL0711",
            user.span,
            message,
            Stage::ResourceCreate,
            &text,
            help,
        ));
    }
}

/// Options that belong to an output need the option that names it.
fn output_keys(task: &TaskDefinition, dialect: Dialect, found: &mut Vec<Diagnostic>) {
    let key = dialect.output_key();
    for options in log_options(task, dialect) {
        let container = options.container;
        let own = |(name, _): &&(String, String)| ![INCLUDE, EXCLUDE].contains(&name.as_str());
        let has_key = options.options.iter().any(|(name, _)| name == key);
        let Some((option, _)) = options.options.iter().find(own).filter(|_| !has_key) else {
            continue;
        };
        let text = format!(
            "unable to generate firelens config file: unable to generate firelens config: unable to apply \
             log options of container {} to firelens config: missing output key {key} which is required for \
             firelens configuration of type {}",
            container.name(),
            dialect.name()
        );
        let (span, message, help) = missing_key(container, option, dialect);
        found.push(refuse(
            "FL0712",
            span,
            message,
            Stage::ResourceCreate,
            &text,
            &help,
        ));
    }
}

/// Place, message and help for a container without output key.
fn missing_key(container: &Container, option: &str, dialect: Dialect) -> (Span, String, String) {
    let key = dialect.output_key();
    let log = container.log_configuration.as_ref();
    let name = container.name();
    if !container.uses_firelens() {
        let driver = container.driver().map_or("", Text::as_str);
        let message = format!(
            "container `{name}` has secret options for `{driver}`, which the agent takes for options of the log router"
        );
        let span = log.and_then(|log| Some(log.secret_options.first()?.span));
        let help = "give the value as a plain option of that driver, log over the router as the others do, or \
                    move the container to a task without a router";
        return (span.unwrap_or(container.span), message, help.to_string());
    }
    let wrong_case = log.and_then(|log| {
        let written = log.options.iter().map(|(key, _)| key);
        written
            .into_iter()
            .find(|written| written.value.eq_ignore_ascii_case(key))
    });
    if let Some(written) = wrong_case {
        let message = format!(
            "container `{name}` has `{}` for `{key}`: the agent minds the case",
            written.value
        );
        return (written.span, message, format!("write `{key}`"));
    }
    let other = match dialect {
        Dialect::FluentBit => "@type",
        Dialect::Fluentd => "Name",
    };
    let written = log.and_then(|log| log.options.entry(option).or_else(|| log.options.entry(other)));
    let span = written.map_or(container.name_span(), |(key, _)| key.span);
    let message = format!("container `{name}` has log options, but none that names the output plugin");
    let has_other = log.is_some_and(|log| log.options.get(other).is_some());
    let help = match has_other {
        true => format!("a router of type {} wants `{key}`, not `{other}`", dialect.name()),
        false => format!("add `{key}`, for example `\"{key}\": \"cloudwatch_logs\"`"),
    };
    (span, message, help)
}

/// Volumes and links of containers that are not there.
fn references(task: &TaskDefinition, context: &Context, found: &mut Vec<Diagnostic>) {
    let init = |why: String| {
        format!(
            "resource cannot be initialized for task {}: {why}",
            context.task_arn
        )
    };
    let names: HashSet<_> = task.containers.iter().map(Container::name).collect();
    let help = |name: &str| match suggest::nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "name a container of this task".to_string(),
    };
    for container in &task.containers {
        let sources = container
            .volumes_from
            .iter()
            .filter_map(|from| from.container.as_ref());
        for source in sources.filter(|name| name.known().is_some_and(|name| !names.contains(name))) {
            let name = source.as_str();
            let text = init(format!("could not find volume source container with name {name}"));
            let message = format!(
                "`volumesFrom` of `{}` names a container that is not there: `{name}`",
                container.name()
            );
            found.push(refuse(
                "FL0713",
                source.span,
                message,
                Stage::TaskInit,
                &text,
                &help(name),
            ));
        }
        for link in container.links.iter().filter(|link| !link.open) {
            let (target, text) = (link_target(link.as_str()), link.as_str());
            let why = match text.matches(':').count() {
                0 | 1 if names.contains(target) => continue,
                0 | 1 => format!("could not find container for link {text}"),
                _ => "invalid link format".to_string(),
            };
            let message = format!("the link `{text}` of `{}` leads nowhere", container.name());
            found.push(refuse(
                "FL0714",
                link.span,
                message,
                Stage::TaskInit,
                &init(why),
                &help(target),
            ));
        }
    }
}

/// Containers that wait for each other in a circle, or for one that is not there.
fn cycle(task: &TaskDefinition, context: &Context, found: &mut Vec<Diagnostic>) {
    let text = format!(
        "TaskDependencyError: Task dependencies cannot be resolved, taskArn: {}",
        context.task_arn
    );
    let names: HashSet<_> = task.containers.iter().map(Container::name).collect();
    let mut missing = false;
    for container in &task.containers {
        let targets = container
            .depends_on
            .iter()
            .filter_map(|dep| dep.container.as_ref());
        for target in targets.filter(|name| name.known().is_some_and(|name| !names.contains(name))) {
            missing = true;
            let name = target.as_str();
            let message = format!(
                "`{}` depends on a container that is not there: `{name}`",
                container.name()
            );
            let near = suggest::nearest(name, names.iter().copied());
            let help = near.map_or_else(
                || "name a container of this task".to_string(),
                |near| format!("did you mean `{near}`?"),
            );
            let api = format!("Cannot depend on container + '{name}' because it does not exist");
            let both = format!("{}; an agent would say: {text}", Stage::Register.says(&api));
            let diagnostic = Diagnostic::error("FL0715", Class::Init, message).at(target.span);
            found.push(diagnostic.outcome(both).help(help));
        }
    }
    if missing {
        return;
    }
    if let Some(circle) = crate::plan::order::circle(task) {
        let first = circle.first().copied().unwrap_or_default();
        let at = task.containers.get(first);
        let span = at.map_or(task.span, |container| {
            container
                .depends_on
                .first()
                .map_or(container.name_span(), |dep| dep.span)
        });
        let names: Vec<_> = circle
            .iter()
            .chain([&first])
            .filter_map(|index| task.containers.get(*index))
            .map(|container| format!("`{}`", container.name()))
            .collect();
        let message = format!(
            "containers wait for each other in a circle: {}",
            names.join(" → ")
        );
        let help = "take one of these dependencies out";
        found.push(refuse("FL0716", span, message, Stage::TaskInit, &text, help));
    }
}
