//! What the ECS agent makes of a task with a log router: the sections of the generated configuration.
//!
//! Source: amazon-ecs-agent 1.105.1, `agent/taskresource/firelens` and `agent/api/task/task.go`. One rule
//! is ours: the agent walks its containers in random order, we in the order of the task definition.

mod names;
pub mod refuse;

use firelane_conf::Diagnostic;

use crate::context::{Context, LaunchType};
use crate::taskdef::{Container, FirelensConfiguration, TaskDefinition};
use crate::text::Text;

pub use names::{go_bool, is_arn, s3_object, secret_provider, socket_owner};

/// The router's language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// Fluent Bit.
    #[default]
    FluentBit,
    /// Fluentd.
    Fluentd,
}

impl Dialect {
    /// From `firelensConfiguration.type`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "fluentbit" => Some(Self::FluentBit),
            "fluentd" => Some(Self::Fluentd),
            _ => None,
        }
    }

    /// The word in `firelensConfiguration.type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::FluentBit => "fluentbit",
            Self::Fluentd => "fluentd",
        }
    }

    /// The option that names the output plugin; case counts.
    pub fn output_key(self) -> &'static str {
        match self {
            Self::FluentBit => "Name",
            Self::Fluentd => "@type",
        }
    }

    /// Where the generated file is mounted in the router.
    pub fn config_path(self) -> &'static str {
        match self {
            Self::FluentBit => "/fluent-bit/etc/fluent-bit.conf",
            Self::Fluentd => "/fluentd/etc/fluent.conf",
        }
    }

    /// Where a file from S3 is mounted in the router.
    pub fn external_path(self) -> &'static str {
        match self {
            Self::FluentBit => "/fluent-bit/etc/external.conf",
            Self::Fluentd => "/fluentd/etc/external.conf",
        }
    }

    /// The pattern of a container's own tags.
    pub fn container_match(self, container: &str) -> String {
        match self {
            Self::FluentBit => format!("{container}-firelens*"),
            Self::Fluentd => format!("{container}-firelens**"),
        }
    }

    /// How the configuration refers to a variable of the router's environment.
    fn variable(self, name: &str) -> String {
        match self {
            Self::FluentBit => format!("${{{name}}}"),
            Self::Fluentd => format!("\"#{{ENV['{name}']}}\""),
        }
    }
}

/// The network mode as the agent's generator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// A network of the task's own: the router listens on loopback.
    Awsvpc,
    /// Docker's bridge: the router listens on its own address.
    Bridge,
    /// `host`, `none` or another: no TCP listener, nothing injected.
    Other(String),
}

impl Mode {
    /// Of a task. Where the mode is left to the deployment: as if it was not given.
    pub fn of(task: &TaskDefinition) -> Self {
        match task.network_mode.as_ref().and_then(Text::known) {
            Some("awsvpc") => Self::Awsvpc,
            None | Some("" | "bridge") => Self::Bridge,
            Some(other) => Self::Other(other.to_string()),
        }
    }

    /// Its word.
    pub fn name(&self) -> &str {
        match self {
            Self::Awsvpc => "awsvpc",
            Self::Bridge => "bridge",
            Self::Other(name) => name,
        }
    }

    /// The address of the TCP listener, if there is one.
    pub fn listen(&self) -> Option<&'static str> {
        match self {
            Self::Awsvpc => Some("127.0.0.1"),
            Self::Bridge => Some("0.0.0.0"),
            Self::Other(_) => None,
        }
    }
}

/// Port of the router's Forward listener.
pub const FORWARD_PORT: u16 = 24224;
/// Port of the router's health listener.
pub const HEALTH_PORT: u16 = 8877;
/// Tag of health messages.
pub const HEALTH_TAG: &str = "firelens-healthcheck";
/// The router's socket, in the router.
pub const SOCKET: &str = "/var/run/fluent.sock";
/// The option for Docker's own buffer; it never reaches the configuration.
pub const BUFFER_LIMIT: &str = "log-driver-buffer-limit";
/// Option with a pattern that lines must have.
pub const INCLUDE: &str = "include-pattern";
/// Option with a pattern that lines must not have.
pub const EXCLUDE: &str = "exclude-pattern";

/// A section: plugin, tag or match, options sorted by the bytes of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The plugin.
    pub plugin: String,
    /// Tag of an input, match of an output.
    pub tag: Option<String>,
    /// Options.
    pub options: Vec<(String, String)>,
}

/// A filter that keeps or drops lines of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grep {
    /// Which records it looks at.
    pub tag: String,
    /// The pattern, on the field `log`.
    pub pattern: String,
}

/// A generated configuration before it is text, in the order of its sections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// Its language.
    pub dialect: Dialect,
    /// Inputs.
    pub inputs: Vec<Section>,
    /// What containers want to keep.
    pub includes: Vec<Grep>,
    /// What containers want to drop.
    pub excludes: Vec<Grep>,
    /// Fields that every record gets, sorted; none: no filter.
    pub metadata: Vec<(String, String)>,
    /// The user's file, included behind the filters.
    pub external: Option<String>,
    /// Outputs.
    pub outputs: Vec<Section>,
}

/// The log options of one container, those from secrets as references, the buffer limit left out.
#[derive(Debug, Clone, PartialEq)]
pub struct LogOptions<'a> {
    /// The container.
    pub container: &'a Container,
    /// Key, value; sorted by the bytes of the key.
    pub options: Vec<(String, String)>,
}

/// The name of the router's variable that holds a secret: the index is the container's place in the task.
pub fn secret_variable(option: &str, container: usize) -> String {
    format!("{option}_{container}")
}

/// The log options of every container that the agent collects: of all users of the router, and, as it
/// does, of containers with another driver that has secret options.
pub fn log_options(task: &TaskDefinition, dialect: Dialect) -> Vec<LogOptions<'_>> {
    let containers = task.containers.iter().enumerate();
    containers
        .filter_map(|(index, container)| {
            let log = container.log_configuration.as_ref()?;
            let uses = container.uses_firelens();
            if !uses && log.secret_options.is_empty() {
                return None;
            }
            let mut options = std::collections::BTreeMap::new();
            let plain = log.options.iter().filter(|_| uses);
            for (key, value) in plain.filter(|(key, _)| key.value != BUFFER_LIMIT) {
                options.insert(key.value.clone(), value.value.clone());
            }
            for name in log
                .secret_options
                .iter()
                .filter_map(|secret| secret.name.as_ref())
            {
                let variable = secret_variable(name.as_str(), index);
                options.insert(name.value.clone(), dialect.variable(&variable));
            }
            Some(LogOptions {
                container,
                options: options.into_iter().collect(),
            })
        })
        .collect()
}

/// Whether records get the ECS fields: on by default, off for anything that Go does not take for a boolean.
pub fn metadata_enabled(firelens: &FirelensConfiguration) -> bool {
    match firelens.options.get("enable-ecs-log-metadata") {
        None => true,
        Some(text) => go_bool(text.as_str()).unwrap_or(false),
    }
}

/// Where a user's own configuration comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum External<'a> {
    /// A path in the router's image or volumes.
    File(&'a Text),
    /// ARN of an object on S3.
    S3(&'a Text),
}

/// The user's own configuration, if type and value are given and the type is known.
pub fn external(firelens: &FirelensConfiguration) -> Option<External<'_>> {
    let kind = firelens.options.get("config-file-type")?;
    let value = firelens.options.get("config-file-value")?;
    match kind.as_str() {
        "file" => Some(External::File(value)),
        "s3" => Some(External::S3(value)),
        _ => None,
    }
}

/// Half of the router's memory, at least 1, else 25; in MB. The soft limit counts before the hard one.
pub fn buffer_megabytes(router: &Container) -> i64 {
    let known = |limit: &Option<crate::taskdef::Int>| limit.as_ref().and_then(crate::taskdef::Int::known);
    let soft = known(&router.memory_reservation).filter(|mib| *mib > 0);
    let limit = soft.or_else(|| known(&router.memory).filter(|mib| *mib > 0));
    match limit.unwrap_or(0) / 2 {
        0 => 25,
        half => half,
    }
}

/// Generates the configuration.
///
/// # Errors
/// Everything for which ECS refuses the task before there is a configuration.
pub fn generate(task: &TaskDefinition, context: &Context) -> Result<Generated, Vec<Diagnostic>> {
    let refused = refuse::check(task, context);
    let router = task.router().map(|(_, router)| router);
    let firelens = router.and_then(|router| router.firelens_configuration.as_ref());
    let dialect = firelens
        .and_then(|firelens| firelens.kind.as_ref())
        .and_then(|kind| Dialect::from_name(kind.as_str()));
    let (Some(router), Some(firelens), Some(dialect), true) = (router, firelens, dialect, refused.is_empty())
    else {
        return Err(refused);
    };
    let mode = Mode::of(task);
    let mut generated = Generated {
        dialect,
        inputs: inputs(dialect, &mode, router),
        includes: Vec::new(),
        excludes: Vec::new(),
        metadata: Vec::new(),
        external: external(firelens).map(|external| match external {
            External::File(path) => path.value.clone(),
            External::S3(_) => dialect.external_path().to_string(),
        }),
        outputs: Vec::new(),
    };
    if metadata_enabled(firelens) {
        generated.metadata = metadata(task, context);
    }
    if dialect == Dialect::FluentBit && mode.listen().is_some() {
        generated.outputs.push(section("null", Some(HEALTH_TAG), &[]));
    }
    for options in log_options(task, dialect) {
        generated.add(options);
    }
    Ok(generated)
}

impl Generated {
    fn add(&mut self, options: LogOptions<'_>) {
        let tag = self.dialect.container_match(options.container.name());
        let mut plugin = None;
        let mut rest = Vec::new();
        for (key, value) in options.options {
            let pattern = |pattern| Grep {
                tag: tag.clone(),
                pattern,
            };
            match key.as_str() {
                key if key == self.dialect.output_key() => plugin = Some(value),
                INCLUDE => self.includes.push(pattern(value)),
                EXCLUDE => self.excludes.push(pattern(value)),
                _ => rest.push((key, value)),
            }
        }
        if let Some(plugin) = plugin {
            self.outputs.push(Section {
                plugin,
                tag: Some(tag),
                options: rest,
            });
        }
    }
}

fn section(plugin: &str, tag: Option<&str>, options: &[(&str, &str)]) -> Section {
    let options = options
        .iter()
        .map(|(key, value)| ((*key).to_string(), (*value).to_string()));
    Section {
        plugin: plugin.to_string(),
        tag: tag.map(str::to_string),
        options: options.collect(),
    }
}

fn inputs(dialect: Dialect, mode: &Mode, router: &Container) -> Vec<Section> {
    let port = FORWARD_PORT.to_string();
    let mut inputs = Vec::new();
    match dialect {
        Dialect::FluentBit => {
            let limit = format!("{}MB", buffer_megabytes(router));
            let socket = [("Mem_Buf_Limit", limit.as_str()), ("unix_path", SOCKET)];
            inputs.push(section("forward", None, &socket));
            if let Some(listen) = mode.listen() {
                inputs.push(section("forward", None, &[("Listen", listen), ("Port", &port)]));
                let health = [("Listen", "127.0.0.1"), ("Port", &HEALTH_PORT.to_string())];
                inputs.push(section("tcp", Some(HEALTH_TAG), &health));
            }
        }
        Dialect::Fluentd => {
            inputs.push(section("unix", None, &[("path", SOCKET)]));
            if let Some(listen) = mode.listen() {
                inputs.push(section("forward", None, &[("bind", listen), ("port", &port)]));
            }
        }
    }
    inputs
}

fn metadata(task: &TaskDefinition, context: &Context) -> Vec<(String, String)> {
    let family = task.family.as_ref().map_or("", Text::as_str);
    let mut fields = Vec::new();
    if context.launch_type == LaunchType::Ec2 && !context.ec2_instance_id.is_empty() {
        fields.push(("ec2_instance_id", context.ec2_instance_id.clone()));
    }
    fields.push(("ecs_cluster", context.cluster.clone()));
    fields.push(("ecs_task_arn", context.task_arn.clone()));
    fields.push(("ecs_task_definition", format!("{family}:{}", context.revision)));
    fields
        .into_iter()
        .map(|(key, value)| (key.to_string(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Given;
    use crate::source::Grammar;
    use crate::taskdef::{Options, load};

    /// Guarantees: of several routers the first one gives language, memory and options of the configuration.
    #[test]
    fn the_first_router_counts() {
        let text = "
family: web
containerDefinitions:
- {name: a, image: i, memory: 100, firelensConfiguration: {type: fluentbit}}
- {name: b, image: i, memory: 900, firelensConfiguration: {type: fluentd}}
- {name: app, image: i, logConfiguration: {logDriver: awsfirelens, options: {Name: stdout}}}
";
        let loaded = load(
            firelane_conf::SourceId(1),
            text,
            Grammar::Yaml,
            &Options::default(),
        );
        let task = loaded.task.unwrap();
        let context = Context::new(&Given::default(), &task);
        let generated = generate(&task, &context).unwrap();
        assert_eq!(generated.dialect, Dialect::FluentBit);
        assert_eq!(generated.inputs[0].options[0].1, "50MB");
        let plan = crate::plan::plan(&task, &context).unwrap().unwrap();
        // The last one counts for the start order.
        assert_eq!(plan.containers[2].implicit[0].container, "b");
        assert_eq!(plan.router, "a");
        assert!(
            plan.containers[1]
                .env
                .contains(&("FLUENT_UID".into(), "0".into()))
        );
    }
}
