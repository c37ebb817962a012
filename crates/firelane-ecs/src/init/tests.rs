use std::fmt::Write as _;

use super::*;

fn request(to: &str, options: &[&str]) -> Request {
    Request {
        to: to.into(),
        options: options
            .iter()
            .map(|option| parse_option(option).unwrap())
            .collect(),
        ..Request::default()
    }
}

fn firehose() -> Request {
    request("firehose", &["delivery_stream=app-logs"])
}

fn grammar_of(text: &str) -> Grammar {
    Grammar::of(std::path::Path::new("-"), text)
}

/// Amends twice: the second time must change nothing.
#[track_caller]
fn amended(request: &Request, text: &str) -> Written {
    let written = amend(request, SourceId(1), text, grammar_of(text)).unwrap();
    let again = amend(request, SourceId(1), &written.text, grammar_of(text)).unwrap();
    assert_eq!(again.text, written.text, "not the same when run twice");
    written
}

fn shown(written: &Written) -> String {
    let mut out = written.text.clone();
    for note in &written.notes {
        let _ = writeln!(out, "# {note}");
    }
    out
}

fn faults(result: Result<Written, Vec<Diagnostic>>) -> String {
    let mut out = String::new();
    for fault in result.unwrap_err() {
        let line = fault.span.map_or(0, |span| span.line);
        let help = fault.help.unwrap_or_default();
        let _ = writeln!(out, "{} line {line}: {}\n  {help}", fault.code, fault.message);
    }
    out
}

#[test]
fn a_new_definition() {
    insta::assert_snapshot!(shown(&create(&firehose()).unwrap()));
}

#[test]
fn a_new_definition_with_a_secret_on_ec2() {
    let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:datadog-Ab12Cd:key::";
    let apikey = format!("apikey={arn}");
    let request = Request {
        containers: vec!["web".into(), "worker".into(), "web".into()],
        launch_type: Some(LaunchType::Ec2),
        region: Some("eu-west-1".into()),
        family: Some("shop".into()),
        ..request("datadog", &[&apikey, "dd_service=shop"])
    };
    insta::assert_snapshot!(shown(&create(&request).unwrap()));
}

#[test]
fn a_new_definition_with_fluentd_on_the_bridge() {
    let request = Request {
        kind: Dialect::Fluentd,
        launch_type: Some(LaunchType::External),
        ..request("firehose", &["delivery_stream_name=app-logs"])
    };
    insta::assert_snapshot!(shown(&create(&request).unwrap()));
}

/// The options that each destination gets.
#[test]
fn options_of_destinations() {
    let cases: &[(&str, &[&str])] = &[
        ("kinesis", &["stream=logs"]),
        ("cloudwatch", &[]),
        ("cloudwatch", &["log_group_name=/x", "log_stream_name=y"]),
        ("s3", &["bucket=logs"]),
        (
            "opensearch",
            &["host=search-x.eu-west-1.es.amazonaws.com", "index=logs"],
        ),
        ("opensearch", &["host=abc.us-east-1.aoss.amazonaws.com"]),
        (
            "opensearch",
            &[
                "host=os.example.com",
                "http_user=u",
                "http_passwd=secret:/os/passwd",
            ],
        ),
        (
            "splunk",
            &["host=splunk.example.com", "splunk_token=secret:/splunk/token"],
        ),
        ("loki", &["host=loki.example.com", "port=3100"]),
        ("newrelic", &["license_key=secret:/nr/key"]),
        ("http", &["host=logs.example.com", "tls=on"]),
        ("forward", &["host=collector.example.com"]),
        (
            "Firehose",
            &[
                "delivery_stream=x",
                "Region=eu-west-1",
                "log-driver-buffer-limit=1024",
            ],
        ),
        ("http", &["host=x", "aws_auth=on", "aws_service=osis"]),
        ("stdout", &[]),
        ("datadog", &["apikey=${DD_KEY}", "tls=off"]),
    ];
    let mut out = String::new();
    for (to, options) in cases {
        let written = create(&request(to, options)).unwrap();
        let task: Json = serde_json::from_str(&written.text).unwrap();
        let log = &task["containerDefinitions"][1]["logConfiguration"];
        let _ = writeln!(out, "{to} {}", options.join(" "));
        for (key, value) in log["options"].as_object().unwrap() {
            let _ = writeln!(out, "    {key} = {}", value.as_str().unwrap());
        }
        if let Some(secrets) = log.get("secretOptions") {
            let _ = writeln!(out, "    {secrets}");
        }
        for note in &written.notes[2..written.notes.len() - 1] {
            let _ = writeln!(out, "    # {note}");
        }
    }
    insta::assert_snapshot!(out);
}

#[test]
fn wishes_that_are_refused() {
    let long = "x".repeat(256);
    let cases: &[(&str, &[&str])] = &[
        ("firehose", &[]),
        ("firehos", &["delivery_stream=x"]),
        ("firehose", &["delivery_streem=x"]),
        ("firehose", &["delivery_stream=x", "bucket=y"]),
        ("firehose", &["delivery_stream=x", "Name=y", "match=*"]),
        ("firehose", &["delivery_stream=x", "Delivery_Stream=y"]),
        ("firehose", &["delivery_stream=x", "log_key=log", "time_key=time"]),
        ("firehose", &["delivery_stream="]),
        ("firehose", &["delivery_stream=x", "log-driver-buffer-limit=1m"]),
        ("firehose", &["delivery_stream=x", "tls=on"]),
        ("datadog", &["apikey=0123456789"]),
        ("datadog", &[]),
        ("splunk", &["splunk_token=secret:x"]),
        ("http", &["host=x", "aws_auth=on"]),
        ("newrelic", &[]),
    ];
    let mut out = String::new();
    for (to, options) in cases {
        let _ = writeln!(out, "{to} {}", options.join(" "));
        out += &faults(create(&request(to, options)));
    }
    let fluentd = |to: &str, options: &[&str]| Request {
        kind: Dialect::Fluentd,
        ..request(to, options)
    };
    out += &faults(create(&fluentd("forward", &["host=x"])));
    out += &faults(create(&fluentd("splunk", &["hec_token=abc", "@type=x"])));
    let named = Request {
        containers: vec!["a b".into(), shape::ROUTER.into(), long],
        ..firehose()
    };
    out += &faults(create(&named));
    assert!(parse_option("x").is_err() && parse_option("=x").is_err());
    insta::assert_snapshot!(out);
}

const LINES: &str = r#"{
  "family": "web",
  "networkMode": "awsvpc",
  "containerDefinitions": [
    {
      "name": "app",
      "image": "nginx",
      "stopTimeout": 45,
      "logConfiguration": {
        "logDriver": "awslogs",
        "options": {
          "awslogs-region": "eu-west-1"
        }
      },
      "cpu": 0
    }
  ]
}
"#;
const TABS: &str = r#"{
	"containerDefinitions": [{
		"name": "app",
		"dependsOn": []
	}, {
		"name": "db"
	}]
}"#;
const LIST: &str = r#"[
    {"name": "app", "image": "x"},
    {
        "name": "b"
    }
]
"#;
const DESCRIBED: &str = r#"{
  "taskDefinition": {
    "taskDefinitionArn": "arn:aws:ecs:eu-north-1:111122223333:task-definition/web:3",
    "containerDefinitions": [
      {
        "name": "app",
        "dependsOn": [{"containerName": "x", "condition": "START"}]
      }
    ],
    "networkMode": "host",
    "memory": "0.125GB"
  }
}
"#;

/// Scenario: JSON in the manners that people and tools have.
/// Guarantees: each keeps its manner; what was there stays.
#[test]
fn json_in_every_manner() {
    let crlf = LIST.replace('\n', "\r\n");
    let cases = [
        LINES,
        TABS,
        r#"{"family":"web","containerDefinitions":[{"name":"app","image":"x"}]}"#,
        r#"{ "containerDefinitions": [ { "name": "app" } ] }"#,
        &crlf,
        DESCRIBED,
    ];
    let mut out = String::new();
    for case in cases {
        let _ = writeln!(
            out,
            "-----\n{}",
            shown(&amended(&firehose(), case)).replace('\r', "\\r")
        );
    }
    insta::assert_snapshot!(out);
}

const TEMPLATE: &str = "\
# The shop.
Parameters:
  AppName: {Type: String}   # its name

Resources:
  LogGroup:
    Type: AWS::Logs::LogGroup
  Task:
    Type: AWS::ECS::TaskDefinition
    Properties:
      Family: !Ref AppName
      NetworkMode: awsvpc
      ContainerDefinitions:
        # The shop itself.
        - Name: !Sub '${AppName}-web'   # open
          Image: !If [Prod, 'a:1', 'a:2']
          LogConfiguration:   # to be replaced
            # here too
            LogDriver: awslogs
            Options:
              awslogs-group: !Ref LogGroup
          # Environment of the shop.
          Environment:
            - Name: A
              Value: |
                two
                lines

        - Name: sidecar
          DependsOn:
            - ContainerName: x
              Condition: START   # first
        - !If [Prod, {Name: extra}, !Ref AWS::NoValue]

  Other:
    Type: AWS::S3::Bucket   # last
";

#[test]
fn a_template_in_yaml() {
    insta::assert_snapshot!(shown(&amended(&request("cloudwatch", &[]), TEMPLATE)));
    let request = Request {
        containers: vec!["sidecar".into()],
        region: Some("eu-west-1".into()),
        ..firehose()
    };
    insta::assert_snapshot!("one_container_of_a_template", shown(&amended(&request, TEMPLATE)));
}

const FOUR: &str = "\
Resources:
    Task:
        Type: AWS::ECS::TaskDefinition
        Properties:
            ContainerDefinitions:
            -   Name: app
                Image: x
            -   Name: b";
const IN_JSON: &str = r#"{"Resources": {
  "Task": {
    "Type": "AWS::ECS::TaskDefinition",
    "Properties": {
      "Family": {"Ref": "Name"},
      "ContainerDefinitions": [
        {"Name": "app"}
      ]
    }
  }
}}
"#;

/// Scenario: dashes under the key, four columns, flow maps, a template in JSON, YAML for the command line.
#[test]
fn yaml_in_every_manner() {
    let cases = [
        FOUR,
        "family: web\ncontainerDefinitions:\n- name: app\n  dependsOn:\n",
        "family: web\r\ncontainerDefinitions:\r\n- name: 'app'\r\n  dependsOn: []\r\n# end\r\n",
        "Resources: {T: {Type: 'AWS::ECS::TaskDefinition',\n  \
         Properties: {ContainerDefinitions: [{Name: a}]}}}\n",
        "Family: web\nContainerDefinitions: [{\"Name\": \"app\", \"Image\": x},\n  {\"Name\": b, }]\n",
        "---\n- name: app\n  image: x\n  logConfiguration: {logDriver: none}  # off\n",
        IN_JSON,
    ];
    let mut out = String::new();
    for case in cases {
        let written = amended(&firehose(), case);
        let _ = writeln!(out, "-----\n{}", written.text.replace('\r', "\\r"));
    }
    insta::assert_snapshot!(out);
}

#[test]
fn a_router_that_is_there_is_used() {
    let text = r#"{
  "networkMode": "bridge",
  "containerDefinitions": [
    {"name": "app", "dependsOn": [{"containerName": "logs", "condition": "HEALTHY"}]},
    {"name": "logs", "firelensConfiguration": {"type": "fluentbit"},
      "dependsOn": [{"containerName": "mesh", "condition": "START"}]},
    {"name": "mesh", "logConfiguration": {"logDriver": "awsfirelens", "options": {"Name": "stdout"}}},
    {"name": "job", "dependsOn": [{"containerName": "logs", "condition": "COMPLETE"}]}
  ]
}
"#;
    insta::assert_snapshot!(shown(&amended(&firehose(), text)));
}

#[test]
fn files_that_are_refused() {
    let router =
        |kind: &str| format!("{{\"name\": \"r\", \"firelensConfiguration\": {{\"type\": \"{kind}\"}}}}");
    let list = |all: &[&str]| format!("[\n{}\n]", all.join(",\n"));
    let app = "{\"name\": \"app\"}";
    let type_of = "Type: AWS::ECS::TaskDefinition";
    let cases = [
        list(&[app, &router("fluentd")]),
        list(&[app, &router("vector")]),
        list(&[app, &router("fluentbit"), &router("fluentbit")]),
        list(&[&router("fluentbit")]),
        list(&[]),
        list(&["{\"name\": \"log_router\"}", app]),
        "{\"a\": 1}".to_string(),
        "{\"a\": 1".to_string(),
        format!("Resources:\n  A: {{{type_of}}}\n"),
        format!("Resources:\n  A: {{{type_of}}}\n  B: {{{type_of}}}\n"),
        "Resources:\n  A: {Type: AWS::S3::Bucket}\n".to_string(),
        format!("Resources:\n  A:\n    {type_of}\n    Properties:\n      ContainerDefinitions: !Ref X\n"),
        "containerDefinitions:\n- name: app\n  logConfiguration: !If [A, {}, {}]\n".to_string(),
        "x: &x {name: app}\ncontainerDefinitions:\n- *x\n".to_string(),
        "x: &x\n- name: app\ncontainerDefinitions: *x\n".to_string(),
        "runtimePlatform: {operatingSystemFamily: WINDOWS_SERVER_2022_FULL}\ncontainerDefinitions: []"
            .to_string(),
    ];
    let mut out = String::new();
    for case in &cases {
        out += &faults(amend(&firehose(), SourceId(1), case, grammar_of(case)));
    }
    let named = Request {
        containers: vec!["ap".into(), "r".into(), "other".into()],
        ..request("datadog", &[])
    };
    out += &faults(amend(
        &named,
        SourceId(1),
        &list(&[app, &router("fluentbit")]),
        Grammar::Json,
    ));
    let resource = Request {
        resource: Some("B".into()),
        ..firehose()
    };
    out += &faults(amend(&resource, SourceId(1), &list(&[app]), Grammar::Json));
    out += &faults(amend(&resource, SourceId(1), &cases[8], Grammar::Yaml));
    insta::assert_snapshot!(out);
}

/// Scenario: first elements with a tag or an anchor, dashes under the key or deeper, a last text of several
/// lines with and without a line end, comments behind all.
/// Guarantees: the texts come back but for whole new lines.
#[test]
fn yaml_at_its_edges() {
    let cases = [
        "containerDefinitions:\n- !If [A, {name: x}, {name: y}]\n- name: app\n",
        "containerDefinitions:\n  - !If [A, {name: x}, {name: y}]\n  - name: app\n",
        "containerDefinitions: &all   # all\n- &app   # app\n  name: app\n",
        "containerDefinitions:\n- &app {name: app}\n- name: b\n  image: \"x\n    y\"   # two lines\n",
        "containerDefinitions:\n-\n  name: app\n  dependsOn:   # none\n  image: x\n",
        "containerDefinitions:\n  - name: app\n    image: |\n      x\n      y",
        "containerDefinitions:\n  - name: app\n    image: |+\n      x\n\nfamily: web\n",
        "containerDefinitions:\n  - name: app\n    image: >-\n      x\n      y\n\n\n# end",
        "? containerDefinitions\n: - name: app\n",
        "containerDefinitions:\n  - image: x y\n      z   # two\n    name: app # x\n    # y\nfamily: web\n",
        "%YAML 1.2\n---\ncontainerDefinitions:\n- name: app\n...\n",
    ];
    let mut out = String::new();
    for case in cases {
        let request = request("null", &["log-driver-buffer-limit=1"]);
        match amend(&request, SourceId(1), case, Grammar::Yaml) {
            Ok(written) => {
                assert_eq!(amended(&request, case).text, written.text);
                let (start, rest) = written.text.split_once("- name: log_router").expect(case);
                let (_, rest) = rest.split_once("awslogs-create-group: \"true\"").expect(case);
                let _ = writeln!(out, "-----\n{start}- name: log_router …{rest}");
            }
            Err(faults) => {
                let _ = writeln!(out, "-----\n{case}=> {}: {}", faults[0].code, faults[0].message);
            }
        }
    }
    insta::assert_snapshot!(out);
}

#[test]
fn aliases_elsewhere_do_no_harm() {
    let text =
        "x-env: &env\n  - name: A\n    value: b\ncontainerDefinitions:\n- name: app\n  environment: *env\n";
    let written = amended(&firehose(), text);
    assert!(
        written.text.contains("environment: *env\n  logConfiguration:"),
        "{}",
        written.text
    );
}

#[test]
fn keys_in_pascal_case_end_at_the_users_words() {
    let value = json!({"options": {"Name": "x"}, "secretOptions": [{"valueFrom": "y"}], "a": {"Ref": "r"}});
    let want = json!({"Options": {"Name": "x"}, "SecretOptions": [{"ValueFrom": "y"}], "A": {"Ref": "r"}});
    assert_eq!(spelled(&value, Form::Cfn), want);
    assert_eq!(spelled(&value, Form::Cli), value);
}
