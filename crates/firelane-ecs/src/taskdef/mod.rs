//! A task definition, whichever way it was written; every value keeps its place.
//!
//! Fields and their meaning: the API reference of `RegisterTaskDefinition`
//! (`docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html`).

mod document;
mod field;
pub mod form;

use crate::text::{Text, TextMap};
use field::model;

pub use document::{Loaded, Options, load};
pub(crate) use field::UNKNOWN_FIELD;
pub use field::{Extra, Flag, Int};
pub use form::Form;

model! {
    /// A task definition.
    pub struct TaskDefinition {
        /// Its name.
        family: Option<Text> = "family",
        /// `awsvpc`, `bridge`, `host`, `none`, `default`; none given means bridge on Linux.
        network_mode: Option<Text> = "networkMode",
        /// `EC2`, `FARGATE`, `EXTERNAL`, `MANAGED_INSTANCES`.
        requires_compatibilities: Vec<Text> = "requiresCompatibilities",
        /// CPU units or vCPU of the task.
        cpu: Option<Text> = "cpu",
        /// MiB or GB of the task.
        memory: Option<Text> = "memory",
        /// The role of the containers.
        task_role_arn: Option<Text> = "taskRoleArn",
        /// The role of the agent.
        execution_role_arn: Option<Text> = "executionRoleArn",
        /// Operating system and processor.
        runtime_platform: Option<RuntimePlatform> = "runtimePlatform",
        /// Volumes.
        volumes: Vec<Volume> = "volumes",
        /// Containers, in order.
        containers: Vec<Container> = "containerDefinitions",
        /// Its ARN; `describe-task-definition` gives it.
        arn: Option<Text> = "taskDefinitionArn",
        /// Its revision; `describe-task-definition` gives it.
        revision: Option<Int> = "revision",
    } passes [
        "compatibilities", "deregisteredAt", "enableFaultInjection", "ephemeralStorage",
        "inferenceAccelerators", "ipcMode", "pidMode", "placementConstraints", "proxyConfiguration",
        "registeredAt", "registeredBy", "requiresAttributes", "status", "tags",
    ];

    /// Operating system and processor.
    pub struct RuntimePlatform {
        /// `LINUX`, or one of the `WINDOWS_SERVER_…`.
        os: Option<Text> = "operatingSystemFamily",
        /// `X86_64`, `ARM64`.
        cpu: Option<Text> = "cpuArchitecture",
    } passes [];

    /// A volume.
    pub struct Volume {
        /// Its name.
        name: Option<Text> = "name",
        /// A folder of the host.
        host: Option<HostVolume> = "host",
    } passes [
        "configuredAtLaunch", "dockerVolumeConfiguration", "efsVolumeConfiguration",
        "fsxWindowsFileServerVolumeConfiguration", "s3filesVolumeConfiguration",
    ];

    /// A folder of the host.
    pub struct HostVolume {
        /// Its path; none: an empty folder that lives as long as the task.
        source_path: Option<Text> = "sourcePath",
    } passes [];

    /// A container.
    pub struct Container {
        /// Its name.
        name: Option<Text> = "name",
        /// Its image.
        image: Option<Text> = "image",
        /// Credentials of a private registry.
        repository_credentials: Option<RepositoryCredentials> = "repositoryCredentials",
        /// Whether the task ends with it; not given means true.
        essential: Option<Flag> = "essential",
        /// Hard limit in MiB.
        memory: Option<Int> = "memory",
        /// Soft limit in MiB.
        memory_reservation: Option<Int> = "memoryReservation",
        /// User, `uid` or `uid:gid`.
        user: Option<Text> = "user",
        /// Environment variables.
        environment: Vec<KeyValue> = "environment",
        /// Files of environment variables on S3.
        environment_files: Vec<EnvironmentFile> = "environmentFiles",
        /// Environment variables whose values are secrets.
        secrets: Vec<Secret> = "secrets",
        /// Containers that must have come so far before this one starts.
        depends_on: Vec<Dependency> = "dependsOn",
        /// Seconds that containers wait for this one.
        start_timeout: Option<Int> = "startTimeout",
        /// Seconds between SIGTERM and SIGKILL.
        stop_timeout: Option<Int> = "stopTimeout",
        /// Health check.
        health_check: Option<HealthCheck> = "healthCheck",
        /// Published ports.
        port_mappings: Vec<PortMapping> = "portMappings",
        /// Mounted volumes.
        mount_points: Vec<MountPoint> = "mountPoints",
        /// Volumes of other containers.
        volumes_from: Vec<VolumeFrom> = "volumesFrom",
        /// Links, `name[:alias]`; bridge mode only.
        links: Vec<Text> = "links",
        /// Restart after an exit.
        restart_policy: Option<RestartPolicy> = "restartPolicy",
        /// Whether the root file system is read-only.
        read_only_root: Option<Flag> = "readonlyRootFilesystem",
        /// Replaces the image's entry point.
        entry_point: Vec<Text> = "entryPoint",
        /// Replaces the image's command.
        command: Vec<Text> = "command",
        /// Log driver.
        log_configuration: Option<LogConfiguration> = "logConfiguration",
        /// Marks the log router.
        firelens_configuration: Option<FirelensConfiguration> = "firelensConfiguration",
        /// Labels.
        docker_labels: TextMap = "dockerLabels",
    } passes [
        "cpu", "credentialSpecs", "disableNetworking", "dnsSearchDomains", "dnsServers",
        "dockerSecurityOptions", "extraHosts", "hostname", "interactive", "linuxParameters", "privileged",
        "pseudoTerminal", "resourceRequirements", "systemControls", "ulimits", "versionConsistency",
        "workingDirectory",
    ];

    /// Credentials of a private registry.
    pub struct RepositoryCredentials {
        /// ARN of the secret.
        parameter: Option<Text> = "credentialsParameter",
    } passes [];

    /// An environment variable.
    pub struct KeyValue {
        /// Its name.
        name: Option<Text> = "name",
        /// Its value.
        value: Option<Text> = "value",
    } passes [];

    /// A file of environment variables.
    pub struct EnvironmentFile {
        /// `s3`.
        kind: Option<Text> = "type",
        /// ARN of the object.
        value: Option<Text> = "value",
    } passes [];

    /// A secret: an environment variable, or an option of a log driver.
    pub struct Secret {
        /// The variable's or option's name.
        name: Option<Text> = "name",
        /// ARN in Secrets Manager or the Parameter Store, or a parameter's name.
        value_from: Option<Text> = "valueFrom",
    } passes [];

    /// A dependency on another container.
    pub struct Dependency {
        /// The other container.
        container: Option<Text> = "containerName",
        /// `START`, `COMPLETE`, `SUCCESS`, `HEALTHY`.
        condition: Option<Text> = "condition",
    } passes [];

    /// A health check.
    pub struct HealthCheck {
        /// `CMD` or `CMD-SHELL`, then the command.
        command: Vec<Text> = "command",
        /// Seconds between checks, 5 to 300 (30).
        interval: Option<Int> = "interval",
        /// Seconds for one check, 2 to 60 (5).
        timeout: Option<Int> = "timeout",
        /// Failures until it counts as unhealthy, 1 to 10 (3).
        retries: Option<Int> = "retries",
        /// Seconds without counting at the start, 0 to 300 (0).
        start_period: Option<Int> = "startPeriod",
    } passes [];

    /// A published port.
    pub struct PortMapping {
        /// Port in the container.
        container_port: Option<Int> = "containerPort",
        /// Port on the host.
        host_port: Option<Int> = "hostPort",
        /// Several ports in the container, `from-to`.
        container_port_range: Option<Text> = "containerPortRange",
        /// `tcp`, `udp`.
        protocol: Option<Text> = "protocol",
    } passes ["appProtocol", "name"];

    /// A mounted volume.
    pub struct MountPoint {
        /// The volume.
        volume: Option<Text> = "sourceVolume",
        /// Where it is mounted.
        path: Option<Text> = "containerPath",
        /// Whether it is read-only.
        read_only: Option<Flag> = "readOnly",
    } passes [];

    /// All volumes of another container.
    pub struct VolumeFrom {
        /// The other container.
        container: Option<Text> = "sourceContainer",
        /// Whether they are read-only.
        read_only: Option<Flag> = "readOnly",
    } passes [];

    /// Restart after an exit.
    pub struct RestartPolicy {
        /// Whether it is on.
        enabled: Option<Flag> = "enabled",
        /// Exit codes that are not restarted.
        ignored_exit_codes: Vec<Int> = "ignoredExitCodes",
        /// Seconds that it must have run, 60 to 1800 (300).
        attempt_period: Option<Int> = "restartAttemptPeriod",
    } passes [];

    /// Log driver of a container.
    pub struct LogConfiguration {
        /// The driver.
        driver: Option<Text> = "logDriver",
        /// Its options.
        options: TextMap = "options",
        /// Options whose values are secrets.
        secret_options: Vec<Secret> = "secretOptions",
    } passes [];

    /// Marks the log router of a task.
    pub struct FirelensConfiguration {
        /// `fluentbit`, `fluentd`.
        kind: Option<Text> = "type",
        /// Options.
        options: TextMap = "options",
    } passes [];
}

/// The log driver that sends to the router.
pub const AWSFIRELENS: &str = "awsfirelens";

impl Container {
    /// Its name, or nothing.
    pub fn name(&self) -> &str {
        self.name.as_ref().map_or("", Text::as_str)
    }

    /// Where to point at it: its name.
    pub fn name_span(&self) -> firelane_conf::Span {
        self.name.as_ref().map_or(self.span, |name| name.span)
    }

    /// Its log driver.
    pub fn driver(&self) -> Option<&Text> {
        self.log_configuration.as_ref()?.driver.as_ref()
    }

    /// Whether it sends its log to the router.
    pub fn uses_firelens(&self) -> bool {
        self.driver().is_some_and(|driver| driver.is(AWSFIRELENS))
    }

    /// Whether the task ends with it; true where it is not said or not known.
    pub fn is_essential(&self) -> bool {
        self.essential.as_ref().and_then(Flag::known).unwrap_or(true)
    }

    /// Whether it waits for another container in any way: by `dependsOn`, links or volumes.
    pub fn waits_for(&self, name: &str) -> bool {
        self.predecessors().any(|other| other == name)
    }

    /// The containers it waits for: by `dependsOn`, then volumes, then links.
    pub fn predecessors(&self) -> impl Iterator<Item = &str> {
        let explicit = self.depends_on.iter().filter_map(|dep| dep.container.as_ref());
        let volumes = self
            .volumes_from
            .iter()
            .filter_map(|from| from.container.as_ref());
        let links = self.links.iter().map(|link| link_target(link.as_str()));
        explicit.chain(volumes).map(Text::as_str).chain(links)
    }
}

/// The container of a link `name[:alias]`.
pub fn link_target(link: &str) -> &str {
    link.split(':').next().unwrap_or(link)
}

impl TaskDefinition {
    /// The router, its index among the containers: the first container with a `firelensConfiguration`, as the
    /// agent takes it for the configuration.
    pub fn router(&self) -> Option<(usize, &Container)> {
        let mut all = self.containers.iter().enumerate();
        all.find(|(_, container)| container.firelens_configuration.is_some())
    }

    /// The containers that send their log to the router, with their index.
    pub fn users(&self) -> impl Iterator<Item = (usize, &Container)> {
        let all = self.containers.iter().enumerate();
        all.filter(|(_, container)| container.uses_firelens())
    }

    /// A container by name.
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name() == name)
    }

    /// Whether it is for Windows.
    pub fn is_windows(&self) -> bool {
        let os = self
            .runtime_platform
            .as_ref()
            .and_then(|platform| platform.os.as_ref());
        os.and_then(Text::known)
            .is_some_and(|os| os.to_ascii_uppercase().starts_with("WINDOWS"))
    }

    /// As the body of `RegisterTaskDefinition`; parts that only the deployment knows stand in it as `${…}`.
    pub fn to_json(&self) -> serde_json::Value {
        let mut json = field::print_object(self);
        if let Some(map) = json.as_object_mut() {
            // It is what makes a text a task definition.
            map.entry("containerDefinitions")
                .or_insert_with(|| serde_json::json!([]));
        }
        json
    }
}
