//! What several groups of rules need: short forms of findings, and what is known of the task around them.

use firelane_conf::{Class, Diagnostic, Span};

use super::Subject;
use crate::firelens::Mode;
use crate::firelens::refuse::Stage;
use crate::taskdef::{Container, Int, TaskDefinition};

/// What is refused, or loses everything.
pub(super) fn error(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(code, Class::Init, message).at(span)
}

/// What loses or exposes something under conditions.
pub(super) fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic::warning(code, message).at(span)
}

/// What is worth knowing.
pub(super) fn note(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic::note(code, message).at(span)
}

/// Whether only containers are given, as Terraform has them: the rest of the task is written elsewhere.
pub(super) fn is_fragment(task: &TaskDefinition) -> bool {
    let TaskDefinition {
        family,
        network_mode,
        requires_compatibilities,
        cpu,
        memory,
        task_role_arn,
        execution_role_arn,
        runtime_platform,
        volumes,
        containers: _,
        arn,
        revision,
        span: _,
        extra,
    } = task;
    let texts = [
        family,
        network_mode,
        cpu,
        memory,
        task_role_arn,
        execution_role_arn,
        arn,
    ];
    let no_text = texts.into_iter().all(Option::is_none) && runtime_platform.is_none() && revision.is_none();
    no_text && requires_compatibilities.is_empty() && volumes.is_empty() && extra.is_empty()
}

/// The network mode, unless only the deployment knows it.
pub(super) fn mode(task: &TaskDefinition) -> Option<Mode> {
    let open = task.network_mode.as_ref().is_some_and(|mode| mode.open);
    (!open && !is_fragment(task)).then(|| Mode::of(task))
}

/// Largest number that is calculated with: sums of it stay far from overflow.
const NUMBER_MAX: i64 = 1 << 40;

/// A number that is given and known.
pub(super) fn known(number: &Option<Int>) -> Option<i64> {
    let number = number.as_ref()?.known()?;
    Some(number.clamp(-NUMBER_MAX, NUMBER_MAX))
}

/// Whether a container is known to be essential; not where only the deployment knows.
pub(super) fn is_surely_essential(container: &Container) -> bool {
    match &container.essential {
        None => true,
        Some(flag) => flag.known() == Some(true),
    }
}

/// Where the task definition asks for a launch type.
pub(super) fn asked(task: &TaskDefinition, launch_type: &str) -> Option<Span> {
    let mut asked = task.requires_compatibilities.iter();
    asked.find(|name| name.is(launch_type)).map(|name| name.span)
}

/// When Fargate refuses, with its words: at once if the definition asks for Fargate, else when it is to run
/// there.
pub(super) fn fargate_says(subject: &Subject<'_>, text: &str) -> String {
    match asked(subject.task, "FARGATE") {
        Some(_) => Stage::Register.says(text),
        None => Stage::Run.says("Task definition does not support launch_type FARGATE."),
    }
}

/// Words in backticks with commas: `a`, `b`.
pub(super) fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.into_iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

/// Whether a path, cleaned, is `parent` or inside of it.
pub(super) fn is_below(path: &str, parent: &str) -> bool {
    let path = clean(path);
    path == parent
        || parent == "/"
        || path
            .strip_prefix(parent)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// A path without empty and dot parts and without a slash at its end.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_deployment_knows_raises_nothing() {
        let template = "
Parameters:
  P: {Type: String}
  N: {Type: Number}
Resources:
  Task:
    Type: AWS::ECS::TaskDefinition
    Properties:
      Family: !Ref P
      NetworkMode: !Ref P
      RequiresCompatibilities: [!Ref P]
      Cpu: !Ref P
      Memory: !Ref P
      Volumes: [{Name: !Ref P}]
      RuntimePlatform: {OperatingSystemFamily: !Ref P}
      ContainerDefinitions:
        - Name: log_router
          Image: !Ref P
          Essential: !Ref P
          Memory: !Ref N
          MemoryReservation: !Ref N
          User: !Ref P
          StopTimeout: !Ref N
          RestartPolicy: {Enabled: !Ref P, RestartAttemptPeriod: !Ref N}
          PortMappings: [{ContainerPort: !Ref N, HostPort: !Ref N}]
          MountPoints: [{SourceVolume: !Ref P, ContainerPath: !Ref P}]
          HealthCheck: {Command: [!Ref P], Interval: !Ref N, Timeout: !Ref N, Retries: !Ref N}
          LogConfiguration: {LogDriver: !Ref P, Options: !Ref P}
          FirelensConfiguration:
            Type: fluentbit
            Options: {config-file-type: file, config-file-value: !Ref P}
        - Name: !Ref P
          Image: !Sub '${P}:1'
          Memory: !Ref N
          Command: [!Sub '${P} x']
          DependsOn: [{ContainerName: !Ref P, Condition: !Ref P}]
          Environment: [{Name: !Ref P, Value: !Ref P}]
          LogConfiguration:
            LogDriver: awsfirelens
            Options: {Name: stdout, log-driver-buffer-limit: !Ref N}
";
        let codes: Vec<String> = (717..=764)
            .chain([798])
            .map(|code| format!("FL{code:04}"))
            .collect();
        let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
        let found = crate::lint::testing::lint(template, &codes);
        assert_eq!(found, "");
    }

    #[test]
    fn paths_are_compared_as_docker_does() {
        assert_eq!(clean("/var//run/./"), "/var/run");
        assert_eq!(clean("/a/../var/run"), "/var/run");
        assert!(is_below("/var/run/", "/var"));
        assert!(is_below("/var", "/"));
        assert!(!is_below("/variable", "/var"));
    }
}
