//! Which permissions follow from what.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(kind: &str, options: Json, want: &[&str]) {
    let needs = of_json(&with_options(kind, options));
    let mut want: Vec<_> = want
        .iter()
        .map(|text| text.replace("R:A", "us-west-2:111122223333"))
        .collect();
    want.sort();
    assert_eq!(pairs(&needs.task), want, "{:?}", needs.diagnostics);
}

#[test]
fn cloudwatch() {
    let options = json!({"Name": "cloudwatch_logs", "log_group_name": "g", "log_stream_name": "s"});
    let want = [
        "logs:PutLogEvents arn:aws:logs:R:A:log-group:g:log-stream:s",
        "logs:CreateLogStream arn:aws:logs:R:A:log-group:g:*",
    ];
    check("fluentbit", options, &want);
    // Retention is set only where the group may be made.
    let options = json!({"Name": "cloudwatch_logs", "log_group_name": "g", "log_stream_name": "s",
        "log_retention_days": "7"});
    check("fluentbit", options, &want);
    let options = json!({"Name": "cloudwatch", "region": "cn-north-1",
        "log_group_name": "/$(ecs_cluster)/$(tag)",
        "log_stream_name": "$(ecs_task_id)", "auto_create_group": "true", "new_log_group_tags": "a=b",
        "default_log_group_name": "other"});
    let needs = of_json(&with_options("fluentbit", options));
    let arn = "arn:aws-cn:logs:cn-north-1:111122223333:log-group";
    let mut want = Vec::new();
    for group in ["/prod/*", "other"] {
        for action in ["CreateLogGroup", "CreateLogStream", "DescribeLogStreams"] {
            want.push(format!("logs:{action} {arn}:{group}:*"));
        }
        // The stream's default is covered by the stream's pattern.
        want.push(format!("logs:PutLogEvents {arn}:{group}:log-stream:*"));
        want.push(format!("logs:TagResource {arn}:{group}"));
    }
    want.sort();
    assert_eq!(pairs(&needs.task), want);
    let options = json!({"Name": "cloudwatch_logs", "log_group_name": "g", "log_stream_prefix": "p-",
        "log_group_template": "app-$kubernetes['ns']", "log_stream_template": "$TAG[1].$x"});
    let needs = of_json(&with_options("fluentbit", options));
    let allowed = pairs(&needs.task);
    for resource in ["g:log-stream:p-*", "app-*:log-stream:p-*", "app-*:log-stream:*.*"] {
        let covered = format!("logs:PutLogEvents arn:aws:logs:us-west-2:111122223333:log-group:{resource}");
        let wider = covered.replace("p-*", "*.*");
        assert!(
            allowed.contains(&covered) || allowed.contains(&wider),
            "{allowed:?}"
        );
    }
}

#[test]
fn streams_and_buckets() {
    let options = json!({"Name": "kinesis_firehose", "delivery_stream": "d", "region": "us-gov-west-1"});
    check(
        "fluentbit",
        options,
        &["firehose:PutRecordBatch arn:aws-us-gov:firehose:us-gov-west-1:111122223333:deliverystream/d"],
    );
    check(
        "fluentbit",
        json!({"Name": "kinesis", "stream": "k", "region": "${AWS_REGION}"}),
        &["kinesis:PutRecords arn:aws:kinesis:R:A:stream/k"],
    );
    check(
        "fluentbit",
        json!({"Name": "s3", "bucket": "b", "canned_acl": "private"}),
        &[
            "s3:PutObject arn:aws:s3:::b/fluent-bit-logs/*",
            "s3:PutObjectAcl arn:aws:s3:::b/fluent-bit-logs/*",
            "s3:AbortMultipartUpload arn:aws:s3:::b/fluent-bit-logs/*",
        ],
    );
    check(
        "fluentbit",
        json!({"Name": "s3", "bucket": "b", "use_put_object": "on", "s3_key_format": "/all.log",
            "static_file_path": "true"}),
        &["s3:PutObject arn:aws:s3:::b/all.log"],
    );
    check(
        "fluentbit",
        json!({"Name": "s3", "bucket": "b", "total_file_size": "10M", "s3_key_format": "/all.log"}),
        &["s3:PutObject arn:aws:s3:::b/all.log*"],
    );
}

#[test]
fn signed_services() {
    let host = "search-my-logs-abc123.us-west-2.es.amazonaws.com";
    check("fluentbit", json!({"Name": "es", "host": host}), &[]);
    let domain = [
        "es:ESHttpPost arn:aws:es:R:A:domain/my-logs/*",
        "es:ESHttpPut arn:aws:es:R:A:domain/my-logs/*",
    ];
    check(
        "fluentbit",
        json!({"Name": "es", "host": host, "aws_auth": "on"}),
        &domain,
    );
    check(
        "fluentbit",
        json!({"Name": "http", "Host": host, "aws_auth": "on", "aws_service": "es"}),
        &domain,
    );
    check(
        "fluentbit",
        json!({"Name": "opensearch", "host": "x1y2.us-west-2.aoss.amazonaws.com", "aws_auth": "On",
            "aws_service_name": "aoss", "aws_region": "us-west-2"}),
        &["aoss:APIAccessAll arn:aws:aoss:R:A:collection/x1y2"],
    );
    check(
        "fluentbit",
        json!({"Name": "prometheus_remote_write", "host": "h", "aws_auth": "true",
            "uri": "/workspaces/ws-1/api/v1/remote_write"}),
        &["aps:RemoteWrite arn:aws:aps:R:A:workspace/ws-1"],
    );
    check(
        "fluentbit",
        json!({"Name": "http", "host": "a1.execute-api.us-west-2.amazonaws.com", "aws_auth": "on",
            "aws_service": "execute-api", "uri": "/v1/logs?x=y"}),
        &["execute-api:Invoke arn:aws:execute-api:R:A:a1/v1/POST/logs"],
    );
    let cluster = "arn:aws:kafka:us-west-2:111122223333:cluster/k/u-1";
    check(
        "fluentbit",
        json!({"Name": "kafka", "brokers": "b", "topics": "t1, t2", "aws_msk_iam": "on",
            "aws_msk_iam_cluster_arn": cluster}),
        &[
            "kafka-cluster:Connect arn:aws:kafka:R:A:cluster/k/u-1",
            "kafka-cluster:DescribeTopic arn:aws:kafka:R:A:topic/k/u-1/t1",
            "kafka-cluster:DescribeTopic arn:aws:kafka:R:A:topic/k/u-1/t2",
            "kafka-cluster:WriteData arn:aws:kafka:R:A:topic/k/u-1/t1",
            "kafka-cluster:WriteData arn:aws:kafka:R:A:topic/k/u-1/t2",
        ],
    );
    let options = json!({"Name": "http", "host": "h", "aws_auth": "on", "aws_service": "sqs"});
    let needs = of_json(&with_options("fluentbit", options));
    assert_eq!(needs.diagnostics[0].code, "FL0604");
}

#[test]
fn fluentd() {
    check(
        "fluentd",
        json!({"@type": "kinesis_firehose", "region": "us-west-2", "delivery_stream_name": "d"}),
        &["firehose:PutRecordBatch arn:aws:firehose:R:A:deliverystream/d"],
    );
    check(
        "fluentd",
        json!({"@type": "s3", "s3_bucket": "b", "s3_region": "us-west-2", "path": "logs/${tag}/%Y/"}),
        &[
            "s3:PutObject arn:aws:s3:::b/logs/*",
            "s3:GetObject arn:aws:s3:::b/logs/*",
            "s3:ListBucket arn:aws:s3:::b",
        ],
    );
    check(
        "fluentd",
        json!({"@type": "cloudwatch_logs", "log_group_name": "g", "use_tag_as_stream": "true",
            "auto_create_stream": "true"}),
        &[
            "logs:PutLogEvents arn:aws:logs:R:A:log-group:g:log-stream:*",
            "logs:CreateLogGroup arn:aws:logs:R:A:log-group:g:*",
            "logs:CreateLogStream arn:aws:logs:R:A:log-group:g:*",
            "logs:DescribeLogStreams arn:aws:logs:R:A:log-group:g:*",
            "logs:DescribeLogGroups arn:aws:logs:R:A:log-group:*",
        ],
    );
}

#[test]
fn a_role_of_its_own() {
    let role = "arn:aws:iam::444455556666:role/w";
    let options = json!({"Name": "kinesis_firehose", "delivery_stream": "d", "role_arn": role});
    let needs = of_json(&with_options("fluentbit", options));
    assert_eq!(pairs(&needs.task), [format!("sts:AssumeRole {role}")]);
    let assumed = &needs.assumed[0];
    assert_eq!(
        pairs(&assumed.role),
        ["firehose:PutRecordBatch arn:aws:firehose:us-west-2:444455556666:deliverystream/d"]
    );
    let trust = trust_document(&assumed.role.trust);
    let want = "arn:aws:iam::111122223333:role/TaskRole";
    assert_eq!(trust["Statement"][0]["Principal"]["AWS"], want);
}

#[test]
fn configuration_and_options() {
    let text = with_options("fluentbit", json!({})).to_string();
    let loaded = load(SourceId(1), &text, Grammar::Json, &taskdef::Options::default());
    let task = loaded.task.unwrap();
    let context = Context::new(&given(), &task);
    let mut section = firelane_conf::Section::new(firelane_conf::SectionKind::Output, Span::default());
    for (key, value) in [("Name", "firehose"), ("delivery_stream", "app-${ENV}")] {
        section.push(key, value, Span::default());
    }
    let mut config = Config::default();
    config.add(section);
    let options = Options {
        exec: true,
        ..Options::default()
    };
    let needs = needs(&task, &context, Some(&config), &options);
    let pairs = pairs(&needs.task);
    assert!(pairs.contains(
        &"firehose:PutRecordBatch arn:aws:firehose:us-west-2:111122223333:deliverystream/app-*".to_string()
    ));
    assert!(pairs.contains(&"ssmmessages:OpenDataChannel *".to_string()));
    let exec = needs.task.statements.iter().find(|s| s.sid == "EcsExec").unwrap();
    assert!(exec.wildcard.is_some());
}

/// Secrets, images, logs: each form of each.
#[test]
fn execution_role() {
    let task = json!({"family": "f", "containerDefinitions": [{
        "name": "a", "image": "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn/team/app@sha256:00",
        "repositoryCredentials": {"credentialsParameter":
            "arn:aws:secretsmanager:us-west-2:111122223333:secret:hub-AbCdEf"},
        "secrets": [
            {"name": "A", "valueFrom": "arn:aws:secretsmanager:us-west-2:111122223333:secret:x/y:key::"},
            {"name": "B", "valueFrom": "arn:aws:ssm:us-west-2:111122223333:parameter/p/q"},
            {"name": "C", "valueFrom": "plain"},
            {"name": "D", "valueFrom": "/p/r"},
            {"name": "E", "valueFrom": "arn:aws:kms:us-west-2:111122223333:key/1"},
        ],
        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "g"}},
    }]});
    let options = Options {
        secret_keys: vec!["arn:aws:kms:us-west-2:111122223333:key/2".into()],
        ..Options::default()
    };
    let (needs, _) = of_text(&task.to_string(), &given(), &options);
    let logs = "arn:aws:logs:us-west-2:111122223333:log-group:g";
    let repository = "arn:aws-cn:ecr:cn-north-1:111122223333:repository/team/app";
    assert_eq!(
        pairs(&needs.execution),
        [
            &format!("ecr:BatchCheckLayerAvailability {repository}"),
            &format!("ecr:BatchGetImage {repository}"),
            "ecr:GetAuthorizationToken *",
            &format!("ecr:GetDownloadUrlForLayer {repository}"),
            "kms:Decrypt arn:aws:kms:us-west-2:111122223333:key/2",
            &format!("logs:CreateLogStream {logs}:*"),
            &format!("logs:PutLogEvents {logs}:log-stream:*"),
            "secretsmanager:GetSecretValue arn:aws:secretsmanager:us-west-2:111122223333:secret:hub-AbCdEf",
            "secretsmanager:GetSecretValue arn:aws:secretsmanager:us-west-2:111122223333:secret:x/y-??????",
            "ssm:GetParameters arn:aws:ssm:us-west-2:111122223333:parameter/p/q",
            "ssm:GetParameters arn:aws:ssm:us-west-2:111122223333:parameter/p/r",
            "ssm:GetParameters arn:aws:ssm:us-west-2:111122223333:parameter/plain",
        ]
    );
    assert!(needs.diagnostics.iter().any(|d| d.code == "FL0606"));
    assert!(needs.task.statements.is_empty() && policy_document(&needs.task).is_none());
}

/// The grammar of policies that IAM checks when one is put.
#[track_caller]
fn check_grammar(document: &Json) {
    assert_eq!(document["Version"], "2012-10-17");
    let mut sids = std::collections::BTreeSet::new();
    for statement in document["Statement"].as_array().unwrap() {
        let keys: Vec<_> = statement.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["Sid", "Effect", "Action", "Resource"]);
        let sid = statement["Sid"].as_str().unwrap();
        assert!(!sid.is_empty() && sid.bytes().all(|b| b.is_ascii_alphanumeric()) && sids.insert(sid));
        for action in statement["Action"].as_array().unwrap() {
            let (service, name) = action.as_str().unwrap().split_once(':').unwrap();
            assert!(
                service
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{service}"
            );
            assert!(
                name.bytes().all(|b| b.is_ascii_alphanumeric()) && name.as_bytes()[0].is_ascii_uppercase()
            );
        }
        let resources = statement["Resource"].as_array().unwrap();
        assert!(!resources.is_empty() && resources.is_sorted_by_key(|r| r.as_str().unwrap()));
        for resource in resources
            .iter()
            .filter_map(Json::as_str)
            .filter(|text| *text != "*")
        {
            let fields: Vec<_> = resource.splitn(6, ':').collect();
            assert!(
                fields.len() == 6 && fields[0] == "arn" && fields[1].starts_with("aws"),
                "{resource}"
            );
            let account = fields[4];
            let digits = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
            assert!(digits || matches!(account, "" | "*"), "{resource}");
            assert!(!fields[5].is_empty(), "{resource}");
        }
    }
}

/// Scenario: a task with everything. Guarantees: every policy follows the grammar and does not differ from
/// the needs it came from.
#[test]
fn every_role_of_a_full_task_is_in_order() {
    let (needs, _) = of_text(golden::FULL, &given(), &Options::default());
    for role in [&needs.task, &needs.execution, &needs.assumed[0].role] {
        check_grammar(&policy_document(role).unwrap());
        assert!(diff(&live(role), role).is_empty());
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9/_-]{0,8}[a-z0-9]"
}

fn output() -> impl Strategy<Value = Json> {
    prop_oneof![
        (name(), name(), any::<bool>()).prop_map(|(group, stream, create)| json!({
            "Name": "cloudwatch_logs", "log_group_name": group, "log_stream_prefix": stream,
            "auto_create_group": create.to_string()})),
        name().prop_map(|stream| json!({"Name": "kinesis_firehose", "delivery_stream": stream})),
        name().prop_map(|stream| json!({"Name": "kinesis_streams", "stream": stream})),
        (name(), name()).prop_map(|(bucket, key)| json!({
            "Name": "s3", "bucket": bucket.replace('/', "-"), "s3_key_format": format!("/{key}/$TAG")})),
    ]
}

/// Actions and resources.
type Probes = Vec<(&'static str, String)>;

/// What an output may touch, and what it may not, by the letter of its options.
fn probes(options: &Json) -> (Probes, Probes) {
    let text = |key: &str| options[key].as_str().unwrap_or_default().to_string();
    let arn = |service: &str, name: String| format!("arn:aws:{service}:us-west-2:{ACCOUNT}:{name}");
    match text("Name").as_str() {
        "cloudwatch_logs" => {
            let (group, stream) = (text("log_group_name"), text("log_stream_prefix"));
            let events = arn(
                "logs",
                format!("log-group:{group}:log-stream:{stream}app-firelens-1"),
            );
            let other = arn("logs", format!("log-group:{group}:log-stream:0{stream}"));
            let elsewhere = arn("logs", format!("log-group:{group}0:log-stream:{stream}"));
            let create = (
                "logs:CreateLogGroup",
                arn("logs", format!("log-group:{group}:log-stream:")),
            );
            let (mut yes, mut no) = (
                vec![
                    ("logs:PutLogEvents", events.clone()),
                    ("logs:CreateLogStream", events.clone()),
                ],
                vec![
                    ("logs:PutLogEvents", other),
                    ("logs:PutLogEvents", elsewhere),
                    ("logs:DeleteLogGroup", events),
                ],
            );
            let side = if text("auto_create_group") == "true" {
                &mut yes
            } else {
                &mut no
            };
            side.push(create);
            (yes, no)
        }
        "s3" => {
            let (bucket, key) = (text("bucket"), text("s3_key_format").replace("$TAG", "app"));
            let object = format!("arn:aws:s3:::{bucket}{key}-objectAbCdEf12");
            let no = vec![
                ("s3:GetObject", object.clone()),
                ("s3:PutObject", format!("arn:aws:s3:::{bucket}0{key}")),
                ("s3:PutObject", format!("arn:aws:s3:::{bucket}/0{key}")),
            ];
            (vec![("s3:PutObject", object)], no)
        }
        plugin => {
            let (action, service, name) = match plugin {
                "kinesis_firehose" => ("firehose:PutRecordBatch", "firehose", text("delivery_stream")),
                _ => ("kinesis:PutRecords", "kinesis", text("stream")),
            };
            let kind = if service == "firehose" {
                "deliverystream"
            } else {
                "stream"
            };
            let resource = arn(service, format!("{kind}/{name}"));
            let no = vec![
                (action, format!("{resource}0")),
                (action, resource.replace("us-west-2", "us-west-1")),
                ("firehose:DeleteDeliveryStream", resource.clone()),
            ];
            (vec![(action, resource)], no)
        }
    }
}

proptest! {
    /// Scenario: a task with one output of any kind. Guarantees: its policy follows the grammar, allows what
    /// the output calls and nothing beside; the policy does not differ from the needs it came from.
    #[test]
    fn needs_are_allowed_and_nothing_else(options in output()) {
        let needs = of_json(&with_options("fluentbit", options.clone()));
        check_grammar(&policy_document(&needs.task).unwrap());
        let policy = live(&needs.task);
        let (yes, no) = probes(&options);
        for (action, resource) in yes {
            prop_assert!(allows(&policy, action, &resource), "{action} {resource}");
            prop_assert!(allows(&policy, &action.to_ascii_uppercase(), &resource));
        }
        for (action, resource) in no {
            prop_assert!(!allows(&policy, action, &resource), "{action} {resource}");
        }
        prop_assert!(diff(&policy, &needs.task).is_empty());
    }

    /// Guarantees: whatever a policy text is, reading it does not panic.
    #[test]
    fn any_text_is_read(text in r#"[\[\]{}":,a-zA-Z* \n]{0,60}"#) {
        let _ = parse_policy(SourceId(1), &text);
    }
}
