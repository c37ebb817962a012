//! Rendered texts as a person reads them.

use super::*;

/// Router with init files, a file on S3 in its own configuration, secrets, and one container for each of the
/// usual destinations.
pub(super) const FULL: &str = r#"{
  "family": "shop",
  "taskRoleArn": "arn:aws:iam::111122223333:role/shop-task",
  "requiresCompatibilities": ["FARGATE"],
  "containerDefinitions": [
    {
      "name": "log_router",
      "image": "111122223333.dkr.ecr.us-west-2.amazonaws.com/mirror/aws-for-fluent-bit:init-3.0.0",
      "firelensConfiguration": {"type": "fluentbit", "options": {
        "config-file-type": "s3", "config-file-value": "arn:aws:s3:::conf/extra.conf"}},
      "environment": [{"name": "aws_fluent_bit_init_s3_1", "value": "arn:aws:s3:::conf/parsers.conf"}],
      "logConfiguration": {"logDriver": "awslogs", "options": {
        "awslogs-group": "router", "awslogs-region": "us-west-2", "awslogs-create-group": "true",
        "awslogs-stream-prefix": "firelens"}}
    },
    {
      "name": "web",
      "image": "nginx:1.27",
      "environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::conf/web.env"}],
      "secrets": [{"name": "DB", "valueFrom": "/shop/db"}],
      "logConfiguration": {"logDriver": "awsfirelens", "options": {
        "Name": "cloudwatch_logs", "region": "us-west-2", "log_group_name": "/ecs/web",
        "log_stream_prefix": "web-", "auto_create_group": "true", "log_retention_days": "7"}}
    },
    {
      "name": "audit",
      "image": "audit",
      "logConfiguration": {"logDriver": "awsfirelens", "options": {
        "Name": "s3", "region": "us-west-2", "bucket": "audit-logs", "total_file_size": "1M",
        "s3_key_format": "/audit/$TAG[1]/%Y/%m/%d/$UUID.gz",
        "role_arn": "arn:aws:iam::444455556666:role/writer", "external_id": "x1"}}
    },
    {
      "name": "worker",
      "image": "worker",
      "logConfiguration": {"logDriver": "awsfirelens", "options": {
        "Name": "datadog", "TLS": "on"}, "secretOptions": [
        {"name": "apikey",
          "valueFrom": "arn:aws:secretsmanager:us-west-2:111122223333:secret:dd:key::"}]}
    }
  ]
}
"#;

#[test]
fn a_full_task_in_every_form() {
    let (needs, sources) = of_text(FULL, &given(), &Options::default());
    let notes: Vec<_> = needs.diagnostics.iter().map(|d| d.render(&sources)).collect();
    insta::with_settings!({snapshot_path => "../snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("full_json", render(&needs, Format::Json, &sources));
        insta::assert_snapshot!("full_cloudformation", render(&needs, Format::CloudFormation, &sources));
        insta::assert_snapshot!("full_terraform", render(&needs, Format::Terraform, &sources));
        insta::assert_snapshot!("full_notes", notes.concat());
    });
}

/// Guarantees: the template is YAML, and says the same as the JSON once CloudFormation has filled it in.
#[test]
fn the_template_says_the_same() {
    let (needs, sources) = of_text(FULL, &given(), &Options::default());
    let template = render(&needs, Format::CloudFormation, &sources);
    let root = crate::source::read(SourceId(1), &template, Grammar::Yaml, &mut Vec::new()).unwrap();
    let roles = root.get("Resources").unwrap();
    for (id, role) in [("TaskRole", &needs.task), ("ExecutionRole", &needs.execution)] {
        let properties = roles.get(id).unwrap().get("Properties").unwrap();
        let policy = &properties.get("Policies").unwrap().items()[0];
        let statements = policy.get("PolicyDocument").unwrap().get("Statement").unwrap();
        let mut found = Vec::new();
        for statement in statements.items() {
            for action in statement.get("Action").unwrap().items() {
                for resource in statement.get("Resource").unwrap().items() {
                    let text = resource.get("Fn::Sub").unwrap_or(resource).scalar().unwrap();
                    let text = text
                        .replace("${AWS::Partition}", "aws")
                        .replace("${AWS::Region}", "us-west-2")
                        .replace("${AWS::AccountId}", ACCOUNT);
                    found.push(format!("{} {text}", action.scalar().unwrap()));
                }
            }
        }
        found.sort();
        assert_eq!(found, pairs(role));
    }
}

/// Words of a deployment stay words in JSON, become references in a template, and stay texts for Terraform.
#[test]
fn open_words_in_every_form() {
    let options = json!({"Name": "firehose", "region": "us-west-2", "delivery_stream": "x"});
    let task = with_options("fluentbit", options).to_string();
    let loaded = load(SourceId(1), &task, Grammar::Json, &taskdef::Options::default());
    let mut task = loaded.task.unwrap();
    let log = task.containers[1].log_configuration.as_mut().unwrap();
    for (key, text) in &mut log.options.entries {
        if key.value == "delivery_stream" {
            (text.value, text.open) = ("${Stream}".into(), true);
        }
    }
    let context = Context::new(&Given::default(), &task);
    let needs = needs(&task, &context, None, &Options::default());
    let sources = Sources::default();
    let resource = &needs.task.statements[0].resources[0];
    assert!(resource.is_open());
    assert_eq!(
        resource.arn,
        "arn:aws:firehose:us-west-2:*:deliverystream/${Stream}"
    );
    let template = render(&needs, Format::CloudFormation, &sources);
    let line = "!Sub \"arn:aws:firehose:us-west-2:${AWS::AccountId}:deliverystream/${Stream}\"";
    assert!(template.contains(line), "{template}");
    let terraform = render(&needs, Format::Terraform, &sources);
    let line = "us-west-2:${data.aws_caller_identity.current.account_id}:deliverystream/$${Stream}\"";
    assert!(terraform.contains(line), "{terraform}");
    let codes: Vec<_> = needs.diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["FL0601", "FL0602"]);
    // An account that is not known is no condition in JSON.
    assert!(
        trust_document(&needs.task.trust)["Statement"][0]
            .get("Condition")
            .is_none()
    );
}

/// Nothing of an option ends a comment or a text.
#[test]
fn texts_cannot_break_out() {
    let options = json!({
        "Name": "cloudwatch_logs", "region": "us-west-2",
        "log_group_name": "a\"\n      Effect: Deny\u{2028}%{x}\\", "log_stream_name": "s"
    });
    let needs = of_json(&with_options("fluentbit", options));
    let sources = Sources::default();
    for format in [Format::CloudFormation, Format::Terraform] {
        let text = render(&needs, format, &sources);
        assert!(!text.contains("\n      Effect: Deny"), "{text}");
        assert!(!text.contains("\"%{"), "{text}");
    }
    let template = render(&needs, Format::CloudFormation, &sources);
    crate::source::read(SourceId(1), &template, Grammar::Yaml, &mut Vec::new()).unwrap();
}
