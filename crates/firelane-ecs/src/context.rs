//! What a task definition does not say: cluster, task, launch type, instance. Every key has a default.

use std::collections::BTreeMap;

use firelane_conf::{Class, Diagnostic, SourceId, suggest};

use crate::source::{self, Grammar, Node, Value};
use crate::taskdef::TaskDefinition;
use crate::text::Text;

/// Where a task runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaunchType {
    /// Instances with the open agent.
    Ec2,
    /// Fargate.
    Fargate,
    /// ECS Anywhere.
    External,
}

impl LaunchType {
    /// From `EC2`, `FARGATE`, `EXTERNAL`; managed instances behave as EC2.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "EC2" | "MANAGED_INSTANCES" => Some(Self::Ec2),
            "FARGATE" => Some(Self::Fargate),
            "EXTERNAL" => Some(Self::External),
            _ => None,
        }
    }

    /// The API's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "EC2",
            Self::Fargate => "FARGATE",
            Self::External => "EXTERNAL",
        }
    }
}

/// What a context file says; `None` where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// Name of the cluster.
    pub cluster: Option<String>,
    /// ARN of the task.
    pub task_arn: Option<String>,
    /// Id of the task, the end of its ARN.
    pub task_id: Option<String>,
    /// Revision of the task definition.
    pub revision: Option<i64>,
    /// Region.
    pub region: Option<String>,
    /// Account, 12 digits.
    pub account: Option<String>,
    /// Launch type.
    pub launch_type: Option<LaunchType>,
    /// Fargate platform version.
    pub platform_version: Option<String>,
    /// EC2 instance; empty when the agent does not know it.
    pub ec2_instance_id: Option<String>,
    /// The agent's own view of its data folder.
    pub agent_data_dir: Option<String>,
    /// The same folder's parent on the host.
    pub data_dir_on_host: Option<String>,
    /// Version of the Docker server.
    pub docker_server_version: Option<String>,
    /// The agent's setting `ECS_ENABLE_FIRELENS_ASYNC`.
    pub firelens_async: Option<bool>,
    /// The router's address in bridge mode.
    pub firelens_bridge_ip: Option<String>,
    /// Values of secrets by their `valueFrom`.
    pub secret_values: BTreeMap<String, String>,
}

/// Keys of a context file.
const KEYS: &[&str] = &[
    "account",
    "agentDataDir",
    "cluster",
    "dataDirOnHost",
    "description",
    "dockerServerVersion",
    "ec2InstanceId",
    "firelensAsync",
    "firelensBridgeIp",
    "launchType",
    "platformVersion",
    "region",
    "revision",
    "secretValues",
    "taskArn",
    "taskId",
];

impl Given {
    /// Reads a context file, JSON or YAML.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(
        file: SourceId,
        text: &str,
        grammar: Grammar,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut found = Vec::new();
        let root = source::read(file, text, grammar, &mut found).map_err(|error| vec![*error])?;
        if !matches!(root.value, Value::Map(_)) {
            let message = format!("a context is a map of names and values, this is {}", root.kind());
            return Err(vec![*bad(&root, message)]);
        }
        let mut given = Self::default();
        for pair in root.pairs() {
            if let Err(diagnostic) = given.set(&pair.key.value, &pair.value) {
                let diagnostic = *diagnostic;
                found.push(match KEYS.contains(&pair.key.value.as_str()) {
                    true => diagnostic,
                    false => diagnostic.at(pair.key.span),
                });
            }
        }
        let failed = found.iter().any(|d| d.severity == firelane_conf::Severity::Error);
        if failed { Err(found) } else { Ok((given, found)) }
    }

    fn set(&mut self, key: &str, node: &Node) -> Result<(), Box<Diagnostic>> {
        let text = || match node.value {
            Value::Null => Ok(None),
            _ => node
                .scalar()
                .map(|text| Some(text.to_string()))
                .ok_or_else(|| bad(node, format!("`{key}` is {}, a text is expected", node.kind()))),
        };
        match key {
            "cluster" => self.cluster = text()?,
            "taskArn" => self.task_arn = text()?,
            "taskId" => self.task_id = text()?,
            "region" => self.region = text()?,
            "account" => self.account = text()?,
            "platformVersion" => self.platform_version = text()?,
            "ec2InstanceId" => self.ec2_instance_id = text()?,
            "agentDataDir" => self.agent_data_dir = text()?,
            "dataDirOnHost" => self.data_dir_on_host = text()?,
            "dockerServerVersion" => self.docker_server_version = text()?,
            "firelensBridgeIp" => self.firelens_bridge_ip = text()?,
            "revision" => {
                let number = node.scalar().and_then(|text| text.parse().ok());
                let number = number.ok_or_else(|| bad(node, "`revision` is a whole number"))?;
                self.revision = Some(number);
            }
            "launchType" => {
                let known = node.scalar().and_then(LaunchType::from_name);
                let known = known.ok_or_else(|| bad(node, "`launchType` is EC2, FARGATE or EXTERNAL"))?;
                self.launch_type = Some(known);
            }
            "firelensAsync" => match node.scalar() {
                Some("true") => self.firelens_async = Some(true),
                Some("false") => self.firelens_async = Some(false),
                _ => return Err(bad(node, "`firelensAsync` is true or false")),
            },
            "secretValues" => {
                for pair in node.pairs() {
                    let value = pair.value.scalar();
                    let value = value.ok_or_else(|| bad(&pair.value, "the value of a secret is a text"))?;
                    self.secret_values
                        .insert(pair.key.value.clone(), value.to_string());
                }
            }
            "description" => {}
            other => {
                let near = suggest::nearest(other, KEYS.iter().copied());
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known are {}", KEYS.join(", ")),
                };
                let message = format!("unknown key `{other}` in the context");
                return Err(Box::new(Diagnostic::warning("FL0509", message).help(help)));
            }
        }
        Ok(())
    }
}

fn bad(node: &Node, message: impl Into<String>) -> Box<Diagnostic> {
    Box::new(Diagnostic::error("FL0510", Class::BadValue, message).at(node.span))
}

/// Everything about the place where a task runs, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Name of the cluster.
    pub cluster: String,
    /// ARN of the task.
    pub task_arn: String,
    /// Id of the task.
    pub task_id: String,
    /// Revision of the task definition.
    pub revision: i64,
    /// Region.
    pub region: String,
    /// Account, if anything tells it.
    pub account: Option<String>,
    /// Launch type.
    pub launch_type: LaunchType,
    /// Fargate platform version, if given.
    pub platform_version: Option<String>,
    /// EC2 instance; empty when unknown.
    pub ec2_instance_id: String,
    /// The agent's own view of its data folder.
    pub agent_data_dir: String,
    /// Its parent on the host.
    pub data_dir_on_host: String,
    /// Version of the Docker server.
    pub docker_server_version: String,
    /// Whether Docker connects to the router in the background.
    pub firelens_async: bool,
    /// The router's address in bridge mode.
    pub firelens_bridge_ip: String,
    /// Values of secrets by their `valueFrom`.
    pub secret_values: BTreeMap<String, String>,
}

/// A task id of the form that ECS gives.
const TASK_ID: &str = "0123456789abcdef0123456789abcdef";
/// The region where nothing tells another.
pub const DEFAULT_REGION: &str = "us-east-1";
/// The account of AWS's own examples.
pub const EXAMPLE_ACCOUNT: &str = "123456789012";

impl Context {
    /// What was given, completed from the task definition and by defaults.
    pub fn new(given: &Given, task: &TaskDefinition) -> Self {
        let given = given.clone();
        let arn = given
            .task_arn
            .as_deref()
            .or(task.arn.as_ref().and_then(Text::known));
        let region = given.region.clone();
        let region = region.or_else(|| arn.and_then(|arn| arn_part(arn, 3)));
        let region = region.unwrap_or_else(|| DEFAULT_REGION.into());
        let account = given.account.clone().or_else(|| account(&given, task));
        let launch_type = given.launch_type.unwrap_or_else(|| launch_type(task));
        let cluster = given
            .cluster
            .clone()
            .or_else(|| cluster(given.task_arn.as_deref()?));
        let cluster = cluster.unwrap_or_else(|| "default".into());
        let id = given.task_arn.as_deref().and_then(|arn| arn.rsplit('/').next());
        let id = given.task_id.as_deref().or(id).unwrap_or(TASK_ID).to_string();
        let task_arn = given.task_arn.clone().unwrap_or_else(|| {
            let account = account.as_deref().unwrap_or(EXAMPLE_ACCOUNT);
            format!(
                "arn:{}:ecs:{region}:{account}:task/{cluster}/{id}",
                partition(&region)
            )
        });
        let default_instance = match launch_type {
            LaunchType::Ec2 => "i-0123456789abcdef0",
            _ => "",
        };
        let revision = task.revision.as_ref().and_then(super::taskdef::Int::known);
        Self {
            // The agent takes the id from the ARN.
            task_id: task_arn.rsplit('/').next().unwrap_or_default().to_string(),
            cluster,
            task_arn,
            revision: given.revision.or(revision).unwrap_or(1),
            region,
            account,
            launch_type,
            platform_version: given.platform_version,
            ec2_instance_id: given.ec2_instance_id.unwrap_or_else(|| default_instance.into()),
            agent_data_dir: given.agent_data_dir.unwrap_or_else(|| "/data".into()),
            data_dir_on_host: given.data_dir_on_host.unwrap_or_else(|| "/var/lib/ecs".into()),
            docker_server_version: given.docker_server_version.unwrap_or_else(|| "25.0.8".into()),
            firelens_async: given.firelens_async.unwrap_or(true),
            firelens_bridge_ip: given.firelens_bridge_ip.unwrap_or_else(|| "172.17.0.2".into()),
            secret_values: given.secret_values,
        }
    }

    /// The partition of its region.
    pub fn partition(&self) -> &'static str {
        partition(&self.region)
    }
}

/// The partition of a region (`docs.aws.amazon.com/general/latest/gr/rande.html`).
pub fn partition(region: &str) -> &'static str {
    const PREFIXES: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-isob-", "aws-iso-b"),
        ("us-isof-", "aws-iso-f"),
        ("us-iso-", "aws-iso"),
        ("eu-isoe-", "aws-iso-e"),
        ("eusc-", "aws-eusc"),
    ];
    let found = PREFIXES.iter().find(|(prefix, _)| region.starts_with(prefix));
    found.map_or("aws", |(_, partition)| partition)
}

/// The domain that ends the addresses of a partition.
pub fn url_suffix(partition: &str) -> &'static str {
    match partition {
        "aws-cn" => "amazonaws.com.cn",
        "aws-iso" => "c2s.ic.gov",
        "aws-iso-b" => "sc2s.sgov.gov",
        "aws-iso-e" => "cloud.adc-e.uk",
        "aws-iso-f" => "csp.hci.ic.gov",
        "aws-eusc" => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

/// A part of `arn:partition:service:region:account:resource`, from 0; nothing where it is empty.
pub fn arn_part(arn: &str, index: usize) -> Option<String> {
    let part = arn
        .strip_prefix("arn:")
        .and_then(|_| arn.splitn(6, ':').nth(index))?;
    (!part.is_empty()).then(|| part.to_string())
}

fn account(given: &Given, task: &TaskDefinition) -> Option<String> {
    let arns = [&task.arn, &task.task_role_arn, &task.execution_role_arn];
    let arns = arns.into_iter().filter_map(|arn| arn.as_ref()?.known());
    let all = given.task_arn.as_deref().into_iter().chain(arns);
    let digits = |account: &String| account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    all.filter_map(|arn| arn_part(arn, 4)).find(digits)
}

fn cluster(task_arn: &str) -> Option<String> {
    let mut parts = task_arn.rsplit('/');
    let (_, cluster) = (parts.next()?, parts.next()?);
    (!cluster.contains(':')).then(|| cluster.to_string())
}

fn launch_type(task: &TaskDefinition) -> LaunchType {
    let all: Vec<_> = task
        .requires_compatibilities
        .iter()
        .filter_map(|name| LaunchType::from_name(name.known()?))
        .collect();
    all.first().copied().unwrap_or(LaunchType::Ec2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_follow_what_is_known() {
        let given = Given {
            task_arn: Some("arn:aws-cn:ecs:cn-north-1:111122223333:task/prod/ab".into()),
            ..Given::default()
        };
        let context = Context::new(&given, &TaskDefinition::default());
        assert_eq!(
            (context.region.as_str(), context.cluster.as_str()),
            ("cn-north-1", "prod")
        );
        assert_eq!(
            (context.task_id.as_str(), context.account.as_deref()),
            ("ab", Some("111122223333"))
        );
        assert_eq!(context.partition(), "aws-cn");
        let old = Given {
            task_arn: Some("arn:aws:ecs:us-west-2:111122223333:task/ab".into()),
            ..Given::default()
        };
        assert_eq!(Context::new(&old, &TaskDefinition::default()).cluster, "default");
    }

    #[test]
    fn unknown_keys_are_named() {
        let text = r#"{"cluter": "x", "launchType": "FARGATE"}"#;
        let (given, found) = Given::read(SourceId(1), text, Grammar::Json).unwrap();
        assert_eq!(given.launch_type, Some(LaunchType::Fargate));
        assert_eq!(found[0].help.as_deref(), Some("did you mean `cluster`?"));
        assert!(Given::read(SourceId(1), r#"{"launchType": "LAMBDA"}"#, Grammar::Json).is_err());
    }
}
