//! A live policy against the needs.

use super::*;

fn role() -> Role {
    let options = json!({"Name": "cloudwatch_logs", "log_group_name": "g", "log_stream_prefix": "p-"});
    of_json(&with_options("fluentbit", options)).task
}

fn policy(statement: Json) -> Policy {
    let document = json!({"Version": "2012-10-17", "Statement": statement});
    parse_policy(SourceId(1), &document.to_string()).unwrap()
}

/// `missing` and `excess` as texts.
#[track_caller]
fn check(statement: Json, missing: &[&str], excess: &[&str]) {
    let diff = diff(&policy(statement), &role());
    let found: Vec<_> = diff
        .missing
        .iter()
        .map(|m| {
            let why = match m.why {
                Why::NotAllowed => "not allowed",
                Why::Denied(_) => "denied",
                Why::BareLogGroup => "bare",
            };
            format!("{} {why}", m.action)
        })
        .collect();
    assert_eq!(found, missing);
    let found: Vec<_> = diff
        .excess
        .iter()
        .map(|e| format!("{} {} {}", e.action, e.resource, e.needed.len()))
        .collect();
    assert_eq!(found, excess);
}

const GROUP: &str = "arn:aws:logs:us-west-2:111122223333:log-group:g:*";
const STREAM: &str = "arn:aws:logs:us-west-2:111122223333:log-group:g:log-stream:p-*";

#[test]
fn what_is_missing_and_what_is_too_much() {
    let put = json!({"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": STREAM});
    let create = json!({"Effect": "Allow", "Action": ["LOGS:createlogstream"], "Resource": [GROUP]});
    check(json!([put, create]), &[], &[]);
    check(put.clone(), &["logs:CreateLogStream not allowed"], &[]);
    check(
        json!([]),
        &[
            "logs:CreateLogStream not allowed",
            "logs:PutLogEvents not allowed",
        ],
        &[],
    );
    // Wide ones are told with what of them is needed.
    check(
        json!({"Effect": "Allow", "Action": "logs:*", "Resource": "*"}),
        &[],
        &["logs:* * 2"],
    );
    check(
        json!([put, create, {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}]),
        &[],
        &["s3:GetObject arn:aws:s3:::b/* 0"],
    );
    check(
        json!({"Effect": "Allow", "Resource": GROUP,
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"]}),
        &[],
        &[&format!("logs:PutLogEvents {GROUP} 1")],
    );
    // A stream of one task is not all of them.
    let one = STREAM.replace("p-*", "p-1");
    let narrow = json!({"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": one});
    check(json!([narrow, create]), &["logs:PutLogEvents not allowed"], &[]);
    let bare =
        json!({"Effect": "Allow", "Action": "logs:CreateLogStream", "Resource": &GROUP[..GROUP.len() - 2]});
    check(json!([put, bare]), &["logs:CreateLogStream bare"], &[]);
}

#[test]
fn denials_win() {
    let all = json!({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"});
    let deny = json!({"Effect": "Deny", "Action": "logs:Create*", "Resource": "*"});
    check(
        json!([all, deny]),
        &["logs:CreateLogStream denied"],
        &["all but iam:* * 0"],
    );
    let elsewhere = json!({"Effect": "Deny", "Action": "*", "NotResource": "arn:aws:logs:us-west-2:*"});
    check(json!([all, elsewhere]), &[], &["all but iam:* * 0"]);
    let conditional = json!({"Effect": "Deny", "Action": "*", "Resource": "*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}}});
    check(json!([all, conditional]), &[], &["all but iam:* * 0"]);
    let notes = policy(json!([all, conditional])).notes;
    assert_eq!(
        notes.iter().map(|note| note.code).collect::<Vec<_>>(),
        ["FL0608", "FL0608"]
    );
}

/// An account that nobody told may be the policy's.
#[test]
fn an_unknown_account_is_the_policys() {
    let options = json!({"Name": "firehose", "region": "us-west-2", "delivery_stream": "d"});
    let text = with_options("fluentbit", options).to_string();
    let (needs, _) = of_text(&text, &Given::default(), &Options::default());
    let resource = "arn:aws:firehose:us-west-2:111122223333:deliverystream/d";
    let live = policy(json!({"Effect": "Allow", "Action": "firehose:PutRecordBatch", "Resource": resource}));
    assert_eq!(diff(&live, &needs.task), Diff::default());
    assert!(allows(&live, "firehose:PutRecordBatch", resource));
}

#[test]
fn wrappers_of_the_cli_are_read() {
    let statement = json!({"Effect": "Allow", "Action": "a:B", "Resource": "*"});
    let document = json!({"Version": "2012-10-17", "Statement": statement});
    for text in [
        json!({"RoleName": "r", "PolicyName": "p", "PolicyDocument": document}),
        json!({"PolicyVersion": {"Document": document, "VersionId": "v1"}}),
        json!({"policy": document}),
        json!([{"PolicyDocument": document}]),
    ] {
        let policy = parse_policy(SourceId(1), &text.to_string()).unwrap();
        assert_eq!(policy.statements.len(), 1, "{text}");
    }
}

#[test]
fn what_is_no_policy_is_said() {
    for (text, want) in [
        ("{", ""),
        ("[]x", ""),
        ("{\"a\": 1}", "this is no policy: a map without `Statement`"),
        (
            r#"{"Statement": {"Effect": "allow", "Action": "a:B", "Resource": "*"}}"#,
            "a statement without an effect",
        ),
        (
            r#"{"Statement": {"Effect": "Allow", "Resource": "*"}}"#,
            "a statement without `Action`",
        ),
        (
            r#"{"Statement": {"Effect": "Allow", "Action": 1, "Resource": "*"}}"#,
            "`Action` holds a number, a text is expected",
        ),
        (
            r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "a:B"}}"#,
            "a statement with a principal is no part of a role's policy",
        ),
    ] {
        let found = parse_policy(SourceId(1), text).unwrap_err();
        assert!(found[0].message.contains(want), "{found:?}");
    }
    let long = json!({"Statement": {"Effect": "Allow", "Action": "a:B", "Resource": "?".repeat(2049)}});
    let found = parse_policy(SourceId(1), &long.to_string()).unwrap_err();
    assert_eq!(found[0].message, "`Resource` has 2049 bytes, the limit is 2048");
    // The longest that is taken is compared without trouble.
    let long = json!({"Effect": "Allow", "Action": "firehose:Put*", "Resource": "?".repeat(2048)});
    assert!(!diff(&policy(long), &role()).is_empty());
}
