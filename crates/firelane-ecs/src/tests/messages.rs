//! Every message as people read it: a snapshot of each code, and a check that none is left out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use firelane_conf::{Diagnostic, SourceId, Sources};

use crate::context::{Context, Given, LaunchType};
use crate::iam;
use crate::init::{self, Request};
use crate::lint::testing::{lint, lint_with};
use crate::source::Grammar;
use crate::taskdef::{Options, load};

fn rendered(name: &str, text: &str, found: &[Diagnostic]) -> String {
    let mut sources = Sources::default();
    sources.add(Path::new(name), text.to_string());
    let all: Vec<_> = found
        .iter()
        .map(|diagnostic| diagnostic.render(&sources))
        .collect();
    all.join("\n")
}

#[test]
fn reading() {
    let codes = &["FL0501", "FL0502", "FL0503", "FL0504", "FL0505", "FL0507"];
    insta::assert_snapshot!(
        "broken_json",
        lint("{\"family\": \"web\",\n \"cpu\": 256 // units\n}", codes)
    );
    insta::assert_snapshot!("broken_yaml", lint("family: web\n  cpu: 256\n", codes));
    insta::assert_snapshot!("no_definition", lint("{\"services\": {}}", codes));
    insta::assert_snapshot!(
        "wrong_values",
        lint(
            "{\"family\": \"web\", \"family\": \"web2\", \"memory\": 512, \"Cpu\": \"256\", \
            \"containerDefinitions\": \
             [\n{\"name\": \"a\", \"image\": \"i\", \"memory\": \"64\", \"essential\": \"true\", \
             \"portMapings\": []}\n]}",
            codes
        )
    );
    insta::assert_snapshot!(
        "several_definitions",
        lint(
            "Resources:\n  A: {Type: AWS::ECS::TaskDefinition}\n  B: {Type: AWS::ECS::TaskDefinition}\n",
            codes
        )
    );
}

#[test]
fn contexts() {
    let text = "{\"cluter\": \"x\"}";
    let (_, warnings) = Given::read(SourceId(1), text, Grammar::Json).unwrap();
    insta::assert_snapshot!("context_key", rendered("context.json", text, &warnings));
    let text = "{\"launchType\": \"LAMBDA\", \"revision\": \"new\", \"cluster\": []}";
    let errors = Given::read(SourceId(1), text, Grammar::Json).unwrap_err();
    insta::assert_snapshot!("context_values", rendered("context.json", text, &errors));
}

/// A template with one mistake of each kind.
const TEMPLATE: &str = "Transform: AWS::Serverless-2016-10-31
Parameters:
  Image: {Type: String}
  Size: {Type: Number, Default: big}
Mappings:
  Sizes: {prod: {Cpu: '512'}}
Conditions:
  IsProd: !Equals [!Ref Image, prod]
Resources:
  Ring: {Type: 'AWS::S3::Bucket', Properties: {BucketName: !Ref Round}}
  Round: {Type: 'AWS::S3::Bucket', Properties: {BucketName: !Ref Ring}}
  Task:
    Type: AWS::ECS::TaskDefinition
    Properties:
      Family: !If [IsProd, web, test]
      Cpu: !FindInMap [Sizes, test, Cpu]
      Memory: !Select [0]
      ContainerDefinitions:
      - {Name: !Ref Ring, Image: !Ref Image, User: !Sub '${HOSTNAME}'}
";

/// A task whose policies leave something to say.
const POLICIES: &str = "Parameters:
  Stream: {Type: String}
Resources:
  Task:
    Type: AWS::ECS::TaskDefinition
    Properties:
      ContainerDefinitions:
      - Name: log_router
        Image: r
        FirelensConfiguration: {Type: fluentbit, Options: {config-file-type: s3, config-file-value: x}}
      - Name: a
        Image: a
        Secrets: [{Name: K, ValueFrom: 'arn:aws:secretsmanager:r:1:secret:x-AbCdEf'}]
        LogConfiguration:
          LogDriver: awsfirelens
          Options: {Name: kinesis_firehose, region: r, delivery_stream: !Ref Stream}
      - Name: b
        Image: b
        LogConfiguration:
          LogDriver: awsfirelens
          Options: {Name: cloudwatch, region: r, log_group_name: $(tag), log_stream_name: s}
      - Name: c
        Image: c
        LogConfiguration:
          LogDriver: awsfirelens
          Options: {Name: http, aws_auth: 'on', Host: h}
";

#[test]
fn templates() {
    let codes = &[
        "FL0511", "FL0512", "FL0513", "FL0514", "FL0515", "FL0516", "FL0517", "FL0518",
    ];
    insta::assert_snapshot!("templates", lint(TEMPLATE, codes));
}

#[test]
fn values_for_no_template() {
    let text = "{\"family\": \"web\", \"containerDefinitions\": []}";
    let mut options = Options::default();
    options.env.params.push(("Image".into(), "x".into()));
    let loaded = load(SourceId(1), text, Grammar::Json, &options);
    insta::assert_snapshot!(
        "param_for_no_template",
        rendered("task.json", text, &loaded.diagnostics)
    );
}

fn policies(task: &str) -> String {
    let loaded = load(SourceId(1), task, Grammar::Yaml, &Options::default());
    let task_definition = loaded.task.unwrap();
    let context = Context::new(&Given::default(), &task_definition);
    let needs = iam::needs(&task_definition, &context, None, &iam::Options::default());
    rendered("task.yaml", task, &needs.diagnostics)
}

#[test]
fn policies_and_what_they_cannot_hold() {
    insta::assert_snapshot!("policies", policies(POLICIES));
    let text = "{\"Version\": \"2012-10-17\", \"Statement\": [{\"Action\": \"s3:*\"}]}";
    let errors = iam::parse_policy(SourceId(1), text).unwrap_err();
    insta::assert_snapshot!("bad_policy", rendered("policy.json", text, &errors));
    let text = "{\"Statement\": {\"Effect\": \"Allow\", \"NotAction\": \"iam:*\", \"Resource\": \"*\", \
    \"Condition\": {}}}";
    let policy = iam::parse_policy(SourceId(1), text).unwrap();
    insta::assert_snapshot!("unjudged_policy", rendered("policy.json", text, &policy.notes));
}

fn refused(to: &str, options: &[&str], containers: &[&str], text: Option<(&str, Grammar)>) -> String {
    let options = options.iter().map(|option| init::parse_option(option));
    let options: Vec<_> = match options.collect::<Result<_, _>>() {
        Ok(options) => options,
        Err(error) => return rendered("", "", &[*error]),
    };
    let request = Request {
        to: to.into(),
        options,
        containers: containers.iter().map(|name| (*name).to_string()).collect(),
        ..Request::default()
    };
    match text {
        None => rendered("", "", &init::create(&request).unwrap_err()),
        Some((text, grammar)) => {
            let errors = init::amend(&request, SourceId(1), text, grammar).unwrap_err();
            rendered("task", text, &errors)
        }
    }
}

#[test]
fn wishes_that_cannot_be_met() {
    let json = "{\"family\": \"web\", \"containerDefinitions\": [{\"name\": \"app\"}]}";
    let fluentd = "{\"family\": \"web\", \"containerDefinitions\": [{\"name\": \"r\", \
    \"firelensConfiguration\": \
        {\"type\": \"fluentd\"}}, {\"name\": \"app\"}]}";
    insta::assert_snapshot!("init_output", refused("firehos", &[], &[], None));
    insta::assert_snapshot!("init_option", refused("stdout", &["formt=json"], &[], None));
    insta::assert_snapshot!("init_pair", refused("stdout", &["format"], &[], None));
    insta::assert_snapshot!("init_missing", refused("firehose", &[], &[], None));
    insta::assert_snapshot!("init_secret", refused("datadog", &["apikey=0123"], &[], None));
    insta::assert_snapshot!(
        "init_file",
        refused("stdout", &[], &[], Some(("{}", Grammar::Json)))
    );
    insta::assert_snapshot!(
        "init_container",
        refused("stdout", &[], &["ap"], Some((json, Grammar::Json)))
    );
    insta::assert_snapshot!(
        "init_router",
        refused("stdout", &[], &[], Some((fluentd, Grammar::Json)))
    );
    let spot = "family: w\ncontainerDefinitions: [name: app]\n";
    insta::assert_snapshot!(
        "init_spot",
        refused("stdout", &[], &[], Some((spot, Grammar::Yaml)))
    );
}

const USER: &str = "- {name: app, image: a, memory: 64, logConfiguration: {logDriver: awsfirelens, \
options: {Name: stdout}}}\n";

fn router(firelens: &str, more: &str) -> String {
    format!(
        "family: web\ncontainerDefinitions:\n- {{name: log_router, image: r, memory: 64, \
        firelensConfiguration: \
         {firelens}{more}}}\n{USER}"
    )
}

#[test]
fn refusals() {
    let ours = |text: &str, code: &str| lint(text, &[code]);
    let alone = router("{type: fluentbit}", "").replace(USER, "");
    insta::assert_snapshot!("router_alone", ours(&alone, "FL0701"));
    let users = format!("family: web\ncontainerDefinitions:\n{USER}");
    insta::assert_snapshot!("users_alone", ours(&users, "FL0702"));
    let two = router("{type: fluentbit}", "")
        + "- {name: second, image: r, firelensConfiguration: {type: fluentd}}\n";
    insta::assert_snapshot!("two_routers", ours(&two, "FL0703"));
    insta::assert_snapshot!("no_type", ours(&router("{}", ""), "FL0704"));
    insta::assert_snapshot!("bad_type", ours(&router("{type: fluent-bit}", ""), "FL0705"));
    let file = |options: &str| router(&format!("{{type: fluentbit, options: {{{options}}}}}"), "");
    insta::assert_snapshot!(
        "file_type",
        ours(&file("config-file-type: S3, config-file-value: x"), "FL0706")
    );
    insta::assert_snapshot!("file_value", ours(&file("config-file-type: file"), "FL0707"));
    let s3 = file("config-file-type: s3, config-file-value: 'arn:aws:s3:::b/k'");
    let fargate = Given {
        launch_type: Some(LaunchType::Fargate),
        ..Given::default()
    };
    insta::assert_snapshot!("s3_on_fargate", lint_with(&s3, &["FL0708"], &fargate, None));
    insta::assert_snapshot!(
        "s3_url",
        ours(
            &file("config-file-type: s3, config-file-value: 's3://b/k'"),
            "FL0709"
        )
    );
    let bucket = file("config-file-type: s3, config-file-value: 'arn:aws:s3:::b'");
    insta::assert_snapshot!("s3_bucket", ours(&bucket, "FL0710"));
    insta::assert_snapshot!(
        "user",
        ours(&router("{type: fluentbit}", ", user: fluent"), "FL0711")
    );
    let key = router("{type: fluentbit}", "").replace("Name: stdout", "name: stdout");
    insta::assert_snapshot!("output_key", ours(&key, "FL0712"));
    let other = router("{type: fluentbit}", "")
        + "- {name: s, image: s, logConfiguration: {logDriver: splunk, secretOptions: [{name: \
        splunk-token, valueFrom: x}]}}\n";
    insta::assert_snapshot!("other_driver", ours(&other, "FL0712"));
    let volumes = router("{type: fluentbit}", ", volumesFrom: [{sourceContainer: ap}]");
    insta::assert_snapshot!("volumes", ours(&volumes, "FL0713"));
    insta::assert_snapshot!(
        "links",
        ours(&router("{type: fluentbit}", ", links: ['a:b:c', apq]"), "FL0714")
    );
    let depends = router(
        "{type: fluentbit}",
        ", dependsOn: [{containerName: ap, condition: START}]",
    );
    insta::assert_snapshot!("depends", ours(&depends, "FL0715"));
    let circle = router(
        "{type: fluentbit}",
        ", dependsOn: [{containerName: app, condition: START}]",
    )
    .replace(
        "name: app,",
        "name: app, dependsOn: [{containerName: log_router, condition: START}],",
    );
    insta::assert_snapshot!("circle", ours(&circle, "FL0716"));
    let blank = router("{type: fluentbit}", "").replace("Name: stdout", "Name: stdout, format json: lines");
    insta::assert_snapshot!("blank", ours(&blank, "FL0770"));
}

fn files(folder: &Path, out: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => files(&path, out)?,
            false => out.push(path),
        }
    }
    Ok(())
}

/// The codes in a text, in double quotes or in brackets.
fn codes<'a>(text: &'a str, open: char, close: char) -> impl Iterator<Item = String> + 'a {
    text.split(open).filter_map(move |part| {
        let code = part.split(close).next()?;
        let digits = code.strip_prefix("FL")?;
        (digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| code.to_string())
    })
}

/// Guarantees: whoever adds a code adds its text for people to look at.
#[test]
fn every_code_has_a_snapshot() {
    let mut all = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all).unwrap();
    let (mut made, mut shown) = (BTreeSet::new(), BTreeSet::new());
    for path in all {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.to_string_lossy();
        if name.ends_with(".snap") {
            shown.extend(codes(&text, '[', ']'));
        } else if !name.contains("/tests") {
            made.extend(codes(text.split("#[cfg(test)]").next().unwrap(), '"', '"'));
        }
    }
    // An error of our own, which no input makes.
    made.remove("FL0619");
    let missing: Vec<_> = made.difference(&shown).collect();
    assert!(made.len() > 100 && missing.is_empty(), "{missing:?}");
}
