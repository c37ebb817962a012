//! The run plan: what the agent sets up around the containers of a task, before and while it starts them.
//!
//! Source: amazon-ecs-agent 1.105.1, `agent/engine/docker_task_engine.go`, `agent/api/task/task.go`.

pub mod capabilities;
pub mod order;

use serde_json::{Map, Value as Json, json};

use crate::context::Context;
use crate::firelens::{
    BUFFER_LIMIT, Dialect, External, FORWARD_PORT, Mode, external, metadata_enabled, s3_object,
    secret_provider, secret_variable, socket_owner,
};
use crate::taskdef::{Container, TaskDefinition};
use crate::text::Text;
use order::Wait;

/// A plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The router.
    pub router: String,
    /// `bridge`, `awsvpc`, or what else the task says.
    pub network_mode: String,
    /// Whether records get the ECS fields.
    pub metadata: bool,
    /// The router's folder as the agent sees it.
    pub agent_dir: String,
    /// The same folder as the host sees it.
    pub host_dir: String,
    /// `uid:gid`, `uid:agent`, or nothing where the socket's folder is left as it is made.
    pub socket_owner: String,
    /// Bucket and key of the router's own configuration.
    pub s3_config: Option<(String, String)>,
    /// Stores that secret log options come from, sorted: `asm`, `ssm`.
    pub secret_providers: Vec<String>,
    /// Containers, in the order of the definition.
    pub containers: Vec<Planned>,
    /// Names in an order in which they start.
    pub start_order: Vec<String>,
    /// Secrets that are fetched before anything starts.
    pub secrets: Vec<Fetched>,
    /// Files that are fetched before anything starts.
    pub files: Vec<Fetched>,
    /// Attributes that an instance must have.
    pub attributes: Vec<&'static str>,
}

/// A container of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Its name.
    pub name: String,
    /// The driver that Docker is given; nothing where it is Docker's own default.
    pub driver: String,
    /// The driver's options, sorted; only for users of the router.
    pub log_options: Option<Vec<(String, String)>>,
    /// Variables that FireLens adds, sorted.
    pub env: Vec<(String, String)>,
    /// Everything it waits for.
    pub waits: Vec<Wait>,
    /// What FireLens added to that.
    pub implicit: Vec<Wait>,
    /// Mounts that FireLens adds; only for the router.
    pub binds: Option<Vec<String>>,
}

/// Something that is fetched, by whose permission, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// ARN or name.
    pub from: String,
    /// `asm`, `ssm`, `s3`.
    pub provider: &'static str,
    /// The container that gets it.
    pub container: String,
    /// The variable or path where it arrives.
    pub to: String,
    /// `execution` or `task`.
    pub role: &'static str,
}

/// Plans a task that [`crate::firelens::generate`] takes.
///
/// # Errors
/// The agent's words for a Docker version that is none.
pub fn plan(task: &TaskDefinition, context: &Context) -> Result<Option<Plan>, String> {
    let Some((_, router)) = task.router() else {
        return Ok(None);
    };
    let Some(firelens) = &router.firelens_configuration else {
        return Ok(None);
    };
    let s3_config = match external(firelens) {
        Some(External::S3(arn)) => s3_object(arn.as_str()),
        _ => None,
    };
    let user = router.user.as_ref().map_or("", Text::as_str);
    let containers: Result<Vec<_>, String> = task
        .containers
        .iter()
        .map(|container| planned(task, context, container))
        .collect();
    let name = |index: usize| {
        task.containers
            .get(index)
            .map(|container| container.name().to_string())
    };
    Ok(Some(Plan {
        router: router.name().to_string(),
        network_mode: Mode::of(task).name().to_string(),
        metadata: metadata_enabled(firelens),
        agent_dir: clean(&format!(
            "{}/firelens/{}",
            context.agent_data_dir, context.task_id
        )),
        host_dir: host_dir(context),
        socket_owner: socket_owner(user).unwrap_or_default(),
        s3_config: s3_config.map(|(bucket, key)| (bucket.to_string(), key.to_string())),
        secret_providers: providers(task),
        containers: containers?,
        start_order: order::start(task).into_iter().filter_map(name).collect(),
        secrets: secrets(task),
        files: files(task),
        attributes: capabilities::required(task)
            .into_iter()
            .map(|need| need.name)
            .collect(),
    }))
}

fn host_dir(context: &Context) -> String {
    format!("{}/data/firelens/{}", context.data_dir_on_host, context.task_id)
}

/// Go's `filepath.Join` for a path without dots: no double slashes.
fn clean(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !out.ends_with('/') {
            out.push(c);
        }
    }
    out
}

fn planned(task: &TaskDefinition, context: &Context, container: &Container) -> Result<Planned, String> {
    let uses = container.uses_firelens();
    let mut env = Vec::new();
    let dialect = dialect(container);
    if let Some(dialect) = dialect {
        env = router_env(task, context);
        if dialect == Dialect::Fluentd {
            env.push(("FLUENT_UID".to_string(), "0".to_string()));
        }
    }
    let host = match Mode::of(task) {
        Mode::Awsvpc => Some("127.0.0.1"),
        Mode::Bridge => Some(context.firelens_bridge_ip.as_str()),
        Mode::Other(_) => None,
    };
    if let Some(host) = host.filter(|_| uses) {
        env.push(("FLUENT_HOST".to_string(), host.to_string()));
        env.push(("FLUENT_PORT".to_string(), FORWARD_PORT.to_string()));
    }
    env.sort();
    let implicit = order::implicit(task, container);
    let mut waits = order::explicit(container);
    waits.extend(implicit.iter().cloned());
    let driver = match uses {
        true => "fluentd".to_string(),
        false => container
            .driver()
            .map_or(String::new(), |driver| driver.value.clone()),
    };
    Ok(Planned {
        name: container.name().to_string(),
        driver,
        log_options: if uses {
            Some(log_options(container, context)?)
        } else {
            None
        },
        env,
        waits,
        implicit,
        binds: dialect.map(|dialect| binds(container, dialect, context)),
    })
}

/// The language of a router; nothing for other containers.
fn dialect(container: &Container) -> Option<Dialect> {
    let kind = container.firelens_configuration.as_ref()?.kind.as_ref()?;
    Dialect::from_name(kind.as_str())
}

fn binds(container: &Container, dialect: Dialect, context: &Context) -> Vec<String> {
    let dir = host_dir(context);
    let mut binds = vec![
        format!("{dir}/config/fluent.conf:{}", dialect.config_path()),
        format!("{dir}/socket/:/var/run/"),
    ];
    let firelens = container.firelens_configuration.as_ref();
    if let Some(External::S3(_)) = firelens.and_then(external) {
        binds.push(format!("{dir}/config/external.conf:{}", dialect.external_path()));
    }
    binds
}

/// The secret log options of all users, with the index of their container.
fn secret_options(task: &TaskDefinition) -> impl Iterator<Item = (usize, &Text, &Text)> {
    task.users().flat_map(|(index, container)| {
        let secrets = container
            .log_configuration
            .iter()
            .flat_map(|log| &log.secret_options);
        secrets.filter_map(move |secret| Some((index, secret.name.as_ref()?, secret.value_from.as_ref()?)))
    })
}

fn router_env(task: &TaskDefinition, context: &Context) -> Vec<(String, String)> {
    let value = |from: &Text| match context.secret_values.get(from.as_str()) {
        Some(value) => value.clone(),
        None => format!("${{secret:{}}}", from.as_str()),
    };
    secret_options(task)
        .map(|(index, name, from)| (secret_variable(name.as_str(), index), value(from)))
        .collect()
}

fn providers(task: &TaskDefinition) -> Vec<String> {
    let all = secret_options(task).map(|(_, _, from)| secret_provider(from.as_str()).to_string());
    all.collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// The options of Docker's `fluentd` driver, sorted.
fn log_options(container: &Container, context: &Context) -> Result<Vec<(String, String)>, String> {
    let socket = clean(&format!("{}/socket/fluent.sock", host_dir(context)));
    let asynchronous = match at_least_20_10(&context.docker_server_version)? {
        true => "fluentd-async",
        false => "fluentd-async-connect",
    };
    let mut options = vec![
        ("fluentd-address".to_string(), format!("unix://{socket}")),
        (asynchronous.to_string(), context.firelens_async.to_string()),
        ("fluentd-sub-second-precision".to_string(), "true".to_string()),
        (
            "tag".to_string(),
            format!("{}-firelens-{}", container.name(), context.task_id),
        ),
    ];
    let log = container.log_configuration.as_ref();
    if let Some(limit) = log.and_then(|log| log.options.get(BUFFER_LIMIT)) {
        options.push(("fluentd-buffer-limit".to_string(), limit.value.clone()));
    }
    options.sort();
    Ok(options)
}

/// Whether a version of Docker is 20.10.0 or later; a pre-release is earlier than its release.
fn at_least_20_10(version: &str) -> Result<bool, String> {
    let bad = || {
        format!(
            "unable to determine whether the Docker server version is at least 20.10.0: `{version}` is no version \
             of three numbers"
        )
    };
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let pre = version.split('+').next().is_some_and(|rest| rest.contains('-'));
    let numbers: Option<Vec<u64>> = core.split('.').map(|part| part.parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[major, minor, patch]) => {
            let (this, first) = ((major, minor, patch), (20, 10, 0));
            Ok(this > first || (this == first && !pre))
        }
        _ => Err(bad()),
    }
}

fn secrets(task: &TaskDefinition) -> Vec<Fetched> {
    let router = task.router().map_or("", |(_, router)| router.name());
    let fetched = |from: &Text, container: &str, to: String| Fetched {
        from: from.value.clone(),
        provider: secret_provider(from.as_str()),
        container: container.to_string(),
        to,
        role: "execution",
    };
    let log = secret_options(task)
        .map(|(index, name, from)| fetched(from, router, secret_variable(name.as_str(), index)));
    let env = task.containers.iter().flat_map(|container| {
        let secrets = container.secrets.iter();
        secrets.filter_map(move |secret| {
            let (name, from) = (secret.name.as_ref()?, secret.value_from.as_ref()?);
            Some(fetched(from, container.name(), name.value.clone()))
        })
    });
    log.chain(env).collect()
}

fn files(task: &TaskDefinition) -> Vec<Fetched> {
    let mut files = Vec::new();
    let mut add = |from: &Text, container: &Container, to: &str, role| {
        files.push(Fetched {
            from: from.value.clone(),
            provider: "s3",
            container: container.name().to_string(),
            to: to.to_string(),
            role,
        });
    };
    for container in &task.containers {
        let firelens = container.firelens_configuration.as_ref();
        if let (Some(External::S3(arn)), Some(dialect)) = (firelens.and_then(external), dialect(container)) {
            add(arn, container, dialect.external_path(), "execution");
        }
        for file in container
            .environment_files
            .iter()
            .filter_map(|file| file.value.as_ref())
        {
            add(file, container, "environment", "execution");
        }
        for variable in container.environment.iter().filter(|_| firelens.is_some()) {
            let (Some(name), Some(value)) = (&variable.name, &variable.value) else {
                continue;
            };
            if name
                .as_str()
                .to_ascii_lowercase()
                .contains("aws_fluent_bit_init_s3")
            {
                let file = value.as_str().rsplit('/').next().unwrap_or_default();
                add(
                    value,
                    container,
                    &format!("/init/fluent-bit-init-s3-files/{file}"),
                    "task",
                );
            }
        }
    }
    files
}

impl Plan {
    /// As JSON, in the shape of the golden cases' `expected-runtime.json`, and more.
    pub fn to_json(&self) -> Json {
        let containers: Map<_, _> = self
            .containers
            .iter()
            .map(|container| (container.name.clone(), container.to_json()))
            .collect();
        let needs_execution = self.s3_config.is_some() || !self.secret_providers.is_empty();
        let mut json = json!({
            "firelensContainer": self.router,
            "effectiveNetworkMode": self.network_mode,
            "ecsMetadataEnabled": self.metadata,
            "agentResourceDir": self.agent_dir,
            "hostResourceDir": self.host_dir,
            "configFile": format!("{}/config/fluent.conf", self.host_dir),
            "configFileMode": "0644",
            "socketDir": format!("{}/socket", self.host_dir),
            "socketDirOwner": self.socket_owner,
            "logSecretProviders": self.secret_providers,
            "needsExecutionRole": needs_execution,
            "requiresAttributes": self.attributes,
            "startOrder": self.start_order,
            "stopOrder": self.start_order.iter().rev().collect::<Vec<_>>(),
            "secrets": self.secrets.iter().map(Fetched::to_json).collect::<Vec<_>>(),
            "files": self.files.iter().map(Fetched::to_json).collect::<Vec<_>>(),
            "containers": containers,
        });
        if let (Some((bucket, key)), Some(map)) = (&self.s3_config, json.as_object_mut()) {
            map.insert("s3Config".into(), json!({"bucket": bucket, "key": key}));
            map.insert(
                "s3ConfigFile".into(),
                format!("{}/config/external.conf", self.host_dir).into(),
            );
        }
        json
    }
}

impl Fetched {
    fn to_json(&self) -> Json {
        json!({
            "from": self.from,
            "provider": self.provider,
            "container": self.container,
            "to": self.to,
            "role": self.role,
        })
    }
}

fn pairs(pairs: &[(String, String)]) -> Json {
    Json::Object(
        pairs
            .iter()
            .map(|(key, value)| (key.clone(), value.clone().into()))
            .collect(),
    )
}

fn waits(waits: &[Wait]) -> Json {
    let wait = |wait: &Wait| json!({"containerName": wait.container, "condition": wait.condition});
    waits.iter().map(wait).collect()
}

impl Planned {
    fn to_json(&self) -> Json {
        let mut json = json!({
            "name": self.name,
            "logDriver": self.driver,
            "injectedEnv": pairs(&self.env),
            "dependsOn": waits(&self.waits),
            "implicitDependsOn": waits(&self.implicit),
        });
        let Some(map) = json.as_object_mut() else {
            return json;
        };
        if let Some(options) = &self.log_options {
            map.insert("logOptions".into(), pairs(options));
        }
        if let Some(binds) = &self.binds {
            map.insert("binds".into(), json!(binds));
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_docker() {
        assert_eq!(at_least_20_10("25.0.8"), Ok(true));
        assert_eq!(at_least_20_10("20.10.0"), Ok(true));
        assert_eq!(at_least_20_10("20.10.0-rc1"), Ok(false));
        assert_eq!(at_least_20_10("19.03.13-ce"), Ok(false));
        assert_eq!(at_least_20_10("20.10.7-ce"), Ok(true));
        assert!(at_least_20_10("20.10").is_err());
    }
}
