//! What an instance must be able to do for a task to be placed on it: attributes that its agent advertises.
//!
//! Source: amazon-ecs-agent, `agent/app/agent_capability.go`; versions from its changelog.

use firelane_conf::Span;

use crate::firelens::{BUFFER_LIMIT, Dialect, External, external, secret_provider};
use crate::taskdef::TaskDefinition;
use crate::text::Text;

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// Its name.
    pub name: &'static str,
    /// The first agent that has it, where that is not older than all agents in use.
    pub since: Option<&'static str>,
    /// What asks for it.
    pub span: Span,
}

/// Every attribute that the log router of a task asks for, in the order of the definition.
pub fn required(task: &TaskDefinition) -> Vec<Capability> {
    let mut all: Vec<Capability> = Vec::new();
    let mut add = |name, since, span| {
        if !all.iter().any(|known| known.name == name) {
            all.push(Capability { name, since, span });
        }
    };
    for container in &task.containers {
        if let Some(firelens) = &container.firelens_configuration {
            let kind = firelens.kind.as_ref().map_or("", Text::as_str);
            match Dialect::from_name(kind) {
                Some(Dialect::FluentBit) => add("ecs.capability.firelens.fluentbit", None, firelens.span),
                Some(Dialect::Fluentd) => add("ecs.capability.firelens.fluentd", None, firelens.span),
                None => {}
            }
            match external(firelens) {
                Some(External::File(value)) => {
                    add(
                        "ecs.capability.firelens.options.config.file",
                        Some("1.31.0"),
                        value.span,
                    );
                }
                Some(External::S3(value)) => {
                    add(
                        "ecs.capability.firelens.options.config.s3",
                        Some("1.31.0"),
                        value.span,
                    );
                }
                None => {}
            }
            let other = |user: &&Text| {
                user.known()
                    .is_some_and(|user| !matches!(user, "" | "0" | "root"))
            };
            if let Some(user) = container.user.as_ref().filter(other) {
                add("ecs.capability.firelens.non-root-user", Some("1.96.0"), user.span);
            }
        }
        let Some(log) = container
            .log_configuration
            .as_ref()
            .filter(|_| container.uses_firelens())
        else {
            continue;
        };
        add(
            "com.amazonaws.ecs.capability.logging-driver.awsfirelens",
            None,
            log.span,
        );
        if let Some((key, _)) = log.options.entry(BUFFER_LIMIT) {
            let name = "ecs.capability.logging-driver.awsfirelens.log-driver-buffer-limit";
            add(name, Some("1.55.0"), key.span);
        }
        for from in log
            .secret_options
            .iter()
            .filter_map(|secret| secret.value_from.as_ref())
        {
            let name = match secret_provider(from.as_str()) {
                "asm" => "ecs.capability.secrets.asm.bootstrap.log-driver",
                _ => "ecs.capability.secrets.ssm.bootstrap.log-driver",
            };
            add(name, None, from.span);
        }
    }
    all
}
