//! The control side's commands: `check`, `render`, `iam`, `init` on task definitions and templates.

use std::fs;
use std::path::PathBuf;

use firelane_testkit::Ended;
use serde_json::Value;

use crate::{root, router, vectors};

/// Runs the binary beside some files.
fn run(files: &[(&str, &str)], args: &[&str]) -> Ended {
    let builder = files
        .iter()
        .fold(router(), |builder, (name, text)| builder.file(name, text));
    builder.args(args).run()
}

fn golden(case: &str, file: &str) -> String {
    let path: PathBuf = vectors().join("ecs").join(case).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const TEMPLATE: &str = "Parameters:
  Stream: {Type: String}
Resources:
  Task:
    Type: AWS::ECS::TaskDefinition
    Properties:
      Family: web
      NetworkMode: awsvpc
      TaskRoleArn: !GetAtt Role.Arn
      ContainerDefinitions:
        - Name: log_router
          Image: public.ecr.aws/aws-observability/aws-for-fluent-bit:stable
          MemoryReservation: 100
          FirelensConfiguration: {Type: fluentbit}
        - Name: app
          Image: app
          MemoryReservation: 100
          LogConfiguration:
            LogDriver: awsfirelens
            Options: {Name: kinesis_firehose, region: us-west-2, delivery_stream: !Ref Stream}
  Other:
    Type: AWS::ECS::TaskDefinition
    Properties: {Family: other, ContainerDefinitions: [{Name: a, Image: a}]}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {}
";

/// Guarantees: standard output holds the configuration and nothing else, also where something is to be said.
#[test]
fn render_prints_the_golden_bytes() {
    let case = "fluentbit-awsvpc-fargate-firehose";
    let (task, context) = (golden(case, "task-definition.json"), golden(case, "context.json"));
    let files = [("task.json", task.as_str()), ("context.json", context.as_str())];
    let ended = run(&files, &["render", "task.json", "--context", "context.json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, golden(case, "expected.conf"));
    let plan = run(
        &files,
        &["render", "task.json", "--context", "context.json", "--runtime"],
    );
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan["startOrder"], serde_json::json!(["log_router", "app"]));
    let mermaid = run(&files, &["render", "task.json", "--graph"]);
    assert!(mermaid.stdout.starts_with("flowchart LR"), "{}", mermaid.stdout);
    let svg = run(&files, &["render", "task.json", "--graph=svg"]);
    assert!(
        svg.stdout.starts_with("<svg") && svg.stdout.contains("my-stream"),
        "{}",
        svg.stdout
    );
}

/// Guarantees: without a context the cluster, task and instance of an example stand there, of the right
/// shape.
#[test]
fn render_needs_no_context() {
    let task = golden("fluentbit-bridge-cloudwatch", "task-definition.json");
    let ended = run(&[("task.json", &task)], &["render", "task.json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stdout.contains("Record ecs_cluster default\n"),
        "{}",
        ended.stdout
    );
    assert!(
        ended
            .stdout
            .contains("Record ecs_task_arn arn:aws:ecs:us-east-1:111122223333:task/default/")
    );
}

#[test]
fn a_template_is_asked_for_what_it_leaves_open() {
    let files = [("stack.yaml", TEMPLATE)];
    let several = run(&files, &["render", "stack.yaml"]);
    assert_eq!(several.code, Some(78));
    assert!(
        several
            .stderr
            .contains("choose one with `--resource`: Task, Other"),
        "{}",
        several.stderr
    );
    let all = run(&files, &["check", "stack.yaml"]);
    for name in ["stack.yaml (Task): ", "stack.yaml (Other): "] {
        assert!(all.stdout.contains(name), "{}", all.stdout);
    }
    let wrong = run(&files, &["check", "stack.yaml", "--resource", "Tsk"]);
    assert!(wrong.stderr.contains("it has Task, Other"), "{}", wrong.stderr);
    let open = run(&files, &["render", "stack.yaml", "--resource", "Task"]);
    assert_eq!(open.code, Some(0), "{}", open.stderr);
    assert!(
        open.stdout.contains("    delivery_stream ${Stream}\n"),
        "{}",
        open.stdout
    );
    assert!(
        open.stderr.contains("pass `--param Stream=VALUE`"),
        "{}",
        open.stderr
    );
    let args = [
        "render",
        "stack.yaml",
        "--resource",
        "Task",
        "--param",
        "Stream=logs",
    ];
    let filled = run(&files, &args);
    assert!(
        filled.stdout.contains("    delivery_stream logs\n"),
        "{}",
        filled.stdout
    );
    let none = run(
        &[("task.json", r#"{"family": "x", "containerDefinitions": []}"#)],
        &["render", "task.json"],
    );
    assert_eq!(none.code, Some(78));
    assert!(none.stderr.contains("no log router"), "{}", none.stderr);
}

/// Guarantees: what ECS says stands in the message, and exit codes tell missing files from wrong ones.
#[test]
fn check_says_what_ecs_says() {
    let case = "fluentbit-missing-output-key";
    let task = golden(case, "task-definition.json");
    let ended = run(&[("task.json", &task)], &["check", "task.json"]);
    assert_eq!(ended.code, Some(78));
    assert!(
        ended.stderr.contains(golden(case, "expected-error.txt").trim()),
        "{}",
        ended.stderr
    );
    assert_eq!(run(&[], &["check", "nothing.json"]).code, Some(66));
    let broken = run(&[("task.json", "{\"family\": \"x\",}")], &["check", "task.json"]);
    assert_eq!(broken.code, Some(78));
    assert!(broken.stderr.contains("task.json:1:15"), "{}", broken.stderr);
}

#[test]
fn check_speaks_json_and_sarif() {
    let task = golden("fluentbit-missing-output-key", "task-definition.json");
    let files = [("task.json", task.as_str())];
    let json = run(&files, &["check", "task.json", "--format", "json"]);
    let list: Vec<Value> = serde_json::from_str(&json.stdout).unwrap();
    let missing = list.iter().find(|one| one["code"] == "FL0712").expect("FL0712");
    assert_eq!(
        (&missing["severity"], &missing["file"]),
        (&"error".into(), &"task.json".into())
    );
    let sarif = run(&files, &["check", "task.json", "--format", "sarif"]);
    let log: Value = serde_json::from_str(&sarif.stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let result = log["runs"][0]["results"].as_array().unwrap();
    let result = result
        .iter()
        .find(|one| one["ruleId"] == "FL0712")
        .expect("FL0712");
    let region = &result["locations"][0]["physicalLocation"]["region"];
    assert_eq!(region["startLine"], missing["line"]);
    let rules = log["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    assert!(rules.iter().any(|rule| rule["id"] == "FL0712"));
}

/// Guarantees: warnings fail only where they are denied; quotas can be left out.
#[test]
fn warnings_and_quotas() {
    let containers: Vec<_> = (0..11)
        .map(|n| format!(r#"{{"name": "c{n}", "image": "i", "memory": 64}}"#))
        .collect();
    let task = format!(
        r#"{{"family": "x", "containerDefinitions": [{}], "famly": 1}}"#,
        containers.join(",")
    );
    let files = [("task.json", task.as_str())];
    let quota = run(&files, &["check", "task.json"]);
    assert_eq!(quota.code, Some(78), "{}", quota.stderr);
    assert!(quota.stderr.contains("FL0724"), "{}", quota.stderr);
    let free = run(&files, &["check", "task.json", "--no-quota"]);
    assert_eq!(free.code, Some(0), "{}", free.stderr);
    let denied = run(
        &files,
        &["check", "task.json", "--no-quota", "--deny", "warnings"],
    );
    assert_eq!(denied.code, Some(78), "{}", denied.stderr);
}

/// Guarantees: a policy that `iam` prints has nothing missing and nothing in excess.
#[test]
fn iam_agrees_with_itself() {
    let task = golden("fluentbit-secret-options", "task-definition.json");
    let firehose = golden("fluentbit-awsvpc-fargate-firehose", "task-definition.json");
    for (task, role) in [(&firehose, "task"), (&task, "execution")] {
        let policy = run(&[("task.json", task)], &["iam", "task.json", "--role", role]);
        assert_eq!(policy.code, Some(0), "{}", policy.stderr);
        let files = [
            ("task.json", task.as_str()),
            ("policy.json", policy.stdout.as_str()),
        ];
        let diff = run(
            &files,
            &[
                "iam",
                "task.json",
                "--role",
                role,
                "--diff",
                "policy.json",
                "--deny",
                "excess",
            ],
        );
        assert_eq!(diff.code, Some(0), "{}", diff.stdout);
    }
    let wide =
        r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "logs:*", "Resource": "*"}}"#;
    let files = [("task.json", firehose.as_str()), ("policy.json", wide)];
    let diff = run(&files, &["iam", "task.json", "--diff", "policy.json"]);
    assert_eq!(diff.code, Some(78));
    let told = &diff.stdout;
    assert!(told.contains("missing  firehose:PutRecordBatch on arn:aws:firehose:us-west-2:111122223333:deliverystream/my-stream"), "{told}");
    assert!(told.contains("excess   logs:* on *"), "{told}");
}

/// Guarantees: what `init` writes or amends is what `check` has nothing against.
#[test]
fn what_init_writes_passes() {
    let created = run(
        &[],
        &[
            "init",
            "--to",
            "firehose",
            "delivery_stream=logs",
            "region=us-west-2",
        ],
    );
    assert_eq!(created.code, Some(0), "{}", created.stderr);
    let checked = run(
        &[("task.json", &created.stdout)],
        &["check", "task.json", "--deny", "warnings"],
    );
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let plain = "{\n  \"family\": \"web\",\n  \"containerDefinitions\": [\n    {\"name\": \"app\", \"image\": \"nginx\", \"memory\": 128}\n  ]\n}\n";
    let args = ["init", "--to", "stdout", "--add-to", "task.json", "--dry-run"];
    let amended = run(&[("task.json", plain)], &args);
    assert_eq!(amended.code, Some(0), "{}", amended.stderr);
    let checked = run(&[("task.json", &amended.stdout)], &["check", "task.json"]);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let refused = run(&[], &["init", "--to", "datadog", "apikey=0123abcd"]);
    assert_eq!(refused.code, Some(78));
    assert!(
        !refused.stderr.contains("0123abcd"),
        "a secret is repeated: {}",
        refused.stderr
    );
}

/// Every task definition and template of `examples/ecs` passes `check` and renders.
#[test]
fn every_example_of_a_task_is_clean() {
    let mut count = 0;
    for entry in fs::read_dir(root().join("examples/ecs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.to_str().unwrap();
        let checked = run(&[], &["check", name, "--deny", "warnings"]);
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
        for command in [
            &["render", name][..],
            &["render", name, "--runtime"],
            &["iam", name],
        ] {
            let ended = run(&[], command);
            assert_eq!(ended.code, Some(0), "{command:?}: {}", ended.stderr);
        }
        count += 1;
    }
    assert!(count >= 2, "{count} examples");
}
