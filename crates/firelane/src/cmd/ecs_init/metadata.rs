//! What the task says of itself: endpoint version 4 of the task metadata
//! (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-response.html>).

use serde::Deserialize;

/// The parts of `/task` that become variables.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Task {
    cluster: String,
    #[serde(rename = "TaskARN")]
    task_arn: String,
    family: String,
    revision: String,
    availability_zone: String,
    launch_type: String,
}

/// Variables in the order in which AWS's init process exports them, empty ones left out.
///
/// # Errors
/// The answer is no JSON object, or its ARN is none.
pub(super) fn variables(answer: &[u8]) -> Result<Vec<(&'static str, String)>, String> {
    let task: Task = serde_json::from_slice(answer)
        .map_err(|error| format!("the task metadata cannot be read: {error}"))?;
    // arn:PARTITION:ecs:REGION:ACCOUNT:task/[CLUSTER/]ID
    let mut parts = task.task_arn.splitn(6, ':');
    let (region, resource) = match (parts.nth(3), parts.nth(1)) {
        (Some(region), Some(resource)) if !region.is_empty() => (region, resource),
        _ => {
            return Err(format!(
                "the task metadata have no ARN of a task, but `{}`",
                task.task_arn
            ));
        }
    };
    let id = resource.rsplit('/').next().unwrap_or(resource);
    let cluster = task.cluster.rsplit('/').next().unwrap_or(&task.cluster);
    let definition = match (task.family.as_str(), task.revision.as_str()) {
        ("", _) => String::new(),
        (family, revision) => format!("{family}:{revision}"),
    };
    let all = [
        ("AWS_REGION", region.to_owned()),
        ("AWS_AVAILABILITY_ZONE", task.availability_zone),
        ("ECS_CLUSTER", cluster.to_owned()),
        ("ECS_TASK_ARN", task.task_arn.clone()),
        ("ECS_TASK_ID", id.to_owned()),
        ("ECS_FAMILY", task.family),
        ("ECS_LAUNCH_TYPE", task.launch_type),
        ("ECS_REVISION", task.revision),
        ("ECS_TASK_DEFINITION", definition),
    ];
    Ok(all.into_iter().filter(|(_, value)| !value.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &str, want: &[(&str, &str)]) {
        let got = variables(answer.as_bytes()).unwrap();
        let got: Vec<_> = got.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn on_fargate_the_cluster_is_an_arn() {
        check(
            r#"{"Cluster":"arn:aws:ecs:eu-west-1:1:cluster/prod","TaskARN":"arn:aws:ecs:eu-west-1:1:task/prod/abc",
                "Family":"web","Revision":"7","AvailabilityZone":"eu-west-1b","LaunchType":"FARGATE","Containers":[]}"#,
            &[
                ("AWS_REGION", "eu-west-1"),
                ("AWS_AVAILABILITY_ZONE", "eu-west-1b"),
                ("ECS_CLUSTER", "prod"),
                ("ECS_TASK_ARN", "arn:aws:ecs:eu-west-1:1:task/prod/abc"),
                ("ECS_TASK_ID", "abc"),
                ("ECS_FAMILY", "web"),
                ("ECS_LAUNCH_TYPE", "FARGATE"),
                ("ECS_REVISION", "7"),
                ("ECS_TASK_DEFINITION", "web:7"),
            ],
        );
    }

    #[test]
    fn what_is_empty_is_left_out() {
        check(
            r#"{"Cluster":"c","TaskARN":"arn:aws-cn:ecs:cn-north-1:1:task/abc","Family":"f","Revision":"1"}"#,
            &[
                ("AWS_REGION", "cn-north-1"),
                ("ECS_CLUSTER", "c"),
                ("ECS_TASK_ARN", "arn:aws-cn:ecs:cn-north-1:1:task/abc"),
                ("ECS_TASK_ID", "abc"),
                ("ECS_FAMILY", "f"),
                ("ECS_REVISION", "1"),
                ("ECS_TASK_DEFINITION", "f:1"),
            ],
        );
    }

    #[test]
    fn other_answers_are_errors() {
        assert!(variables(b"<html>").unwrap_err().contains("cannot be read"));
        assert!(variables(b"{}").unwrap_err().contains("no ARN"));
    }
}
