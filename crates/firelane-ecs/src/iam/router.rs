//! The task role: outputs of containers and of the router's configuration, init process, debug image, ECS
//! Exec.

use firelane_conf::{Config, Section, Span};

use crate::taskdef::{Container, TaskDefinition};
use crate::text::Text;

use super::arn::{Scope, s3_object};
use super::build::{Builder, Grant, To};
use super::names::Dialect;
use super::outputs::{self, Output};
use super::{Reason, fluentd, notes};

/// Every output of the task.
pub(super) fn outputs(builder: &mut Builder<'_>, task: &TaskDefinition, config: Option<&Config>) {
    let kind = task.router().and_then(|(_, router)| {
        let configuration = router.firelens_configuration.as_ref()?;
        configuration.kind.as_ref()?.known()
    });
    for (_, container) in task.users() {
        let Some(output) = of_container(container, kind == Some("fluentd")) else {
            continue;
        };
        if output.plugin.contains("${") {
            let message = format!("which plugin {} sends by is not known here", output.who);
            let help = "write its name into the task definition";
            builder
                .diagnostics
                .push(notes::unknown(message, help, Some(output.span)));
        } else if kind == Some("fluentd") {
            fluentd::fluentd(builder, &output);
        } else {
            outputs::fluent_bit(builder, &output);
        }
    }
    for section in config.into_iter().flat_map(|config| &config.outputs) {
        if let Some(output) = of_section(section) {
            outputs::fluent_bit(builder, &output);
        }
    }
}

/// A container's log options; `None` without a plugin: such a container has no output of its own.
fn of_container(container: &Container, fluentd: bool) -> Option<Output> {
    let log = container.log_configuration.as_ref()?;
    let options = log.options.iter();
    let mut options: Vec<_> = options
        .map(|(key, value)| (key.value.clone(), value.clone()))
        .collect();
    for secret in &log.secret_options {
        let name = secret.name.as_ref()?;
        let text = format!("${{{}}}", name.as_str());
        options.push((name.value.clone(), Text::new(text, name.span)));
    }
    let key = if fluentd { "@type" } else { "Name" };
    let plugin = options.iter().rev().find(|(known, _)| known == key)?.1.clone();
    Some(Output {
        plugin: plugin.value,
        who: format!("container `{}`", container.name()),
        span: plugin.span,
        options,
    })
}

fn of_section(section: &Section) -> Option<Output> {
    let name = section.name()?;
    let entries = section.entries.iter();
    let options = entries.map(|entry| {
        let value = Text::new(entry.value.value.clone(), entry.value.span);
        (entry.key.value.clone(), value)
    });
    let label = section.get("alias").unwrap_or(name);
    Some(Output {
        plugin: name.value.value.clone(),
        who: format!("the configuration's output `{}`", label.value.value),
        span: name.value.span,
        options: options.collect(),
    })
}

/// The init process fetches files of the environment; the debug image stores dumps
/// (`aws-for-fluent-bit`: `init/fluent_bit_init_process.go`, `scripts/core_uploader.sh`).
pub(super) fn init(builder: &mut Builder<'_>, task: &TaskDefinition, configured: bool) {
    let Some((_, router)) = task.router() else { return };
    let mut unread: Option<Span> = None;
    for pair in &router.environment {
        let (Some(name), Some(value)) = (&pair.name, &pair.value) else {
            continue;
        };
        let lower = name.as_str();
        if !["aws_fluent_bit_init_s3", "aws_fluent_bit_init_S3"]
            .iter()
            .any(|word| lower.contains(word))
        {
            continue;
        }
        unread = unread.or(Some(value.span));
        let text = format!(
            "the init process of container `{}` fetches it (`{lower}`)",
            router.name()
        );
        fetch(builder, To::Task, value, text);
    }
    if let Some(span) = unread.filter(|_| !configured) {
        let what = "a file that the init process fetches";
        builder.diagnostics.push(notes::unread(what, Some(span)));
    }
    external(builder, router, configured);
    dumps(builder, router);
}

/// The router's own file: its outputs are the task role's.
fn external(builder: &mut Builder<'_>, router: &Container, configured: bool) {
    let configuration = router.firelens_configuration.as_ref();
    let file = configuration.and_then(|firelens| firelens.options.get("config-file-value"));
    if let Some(file) = file.filter(|_| !configured) {
        builder
            .diagnostics
            .push(notes::unread("the router's own file", Some(file.span)));
    }
}

fn dumps(builder: &mut Builder<'_>, router: &Container) {
    let image = router.image.as_ref().map_or("", Text::as_str);
    let tag = image.rsplit('/').next().and_then(|name| name.split_once(':'));
    let debug = tag.is_some_and(|(_, tag)| tag.contains("debug"));
    let known = &builder.known;
    let Some(&bucket) = known.env.get("S3_BUCKET").filter(|_| debug) else {
        return;
    };
    let name = known.name(bucket, Dialect::Plain).pattern;
    let prefix = known
        .env
        .get("S3_KEY_PREFIX")
        .map(|prefix| known.name(prefix, Dialect::Plain));
    let prefix = prefix.map_or("issue".into(), |prefix| prefix.pattern);
    let prefix = prefix.trim_matches('/');
    let text = format!(
        "the debug image of container `{}` stores dumps there",
        router.name()
    );
    let grant = Grant {
        sid: "StoreDumps",
        actions: &["s3:PutObject"],
        resource: Scope::task().global("s3", &format!("{name}/{prefix}/*")),
        reason: Reason {
            text,
            span: Some(bucket.span),
        },
        wildcard: None,
    };
    builder.grant(To::Task, grant);
}

/// Reading an object of S3, and finding out where its bucket is.
pub(super) fn fetch(builder: &mut Builder<'_>, to: To, arn: &Text, text: String) {
    let Some((bucket, object)) = s3_object(arn.as_str()) else {
        let wanted = "arn:aws:s3:::BUCKET/KEY";
        let note = notes::bad_arn("the file", arn.as_str(), wanted, Some(arn.span));
        builder.diagnostics.push(note);
        return;
    };
    let span = Some(arn.span);
    for (sid, actions, resource) in [
        ("ReadFiles", &["s3:GetObject"], object),
        ("LocateBuckets", &["s3:GetBucketLocation"], bucket),
    ] {
        let reason = Reason {
            text: text.clone(),
            span,
        };
        let grant = Grant {
            sid,
            actions,
            resource,
            reason,
            wildcard: None,
        };
        builder.grant(to, grant);
    }
}

/// The channel of ECS Exec (`docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html`).
pub(super) fn exec(builder: &mut Builder<'_>) {
    if !builder.options.exec {
        return;
    }
    let grant = Grant {
        sid: "EcsExec",
        actions: &[
            "ssmmessages:CreateControlChannel",
            "ssmmessages:CreateDataChannel",
            "ssmmessages:OpenControlChannel",
            "ssmmessages:OpenDataChannel",
        ],
        resource: "*".into(),
        reason: Reason {
            text: "ECS Exec opens a shell in the containers".into(),
            span: None,
        },
        wildcard: Some("these actions know no resource"),
    };
    builder.grant(To::Task, grant);
}
