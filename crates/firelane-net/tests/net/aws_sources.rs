//! Objects, secrets and parameters, from services that answer as AWS does.

use crate::aws_mock::{Answer, Mock, Seen, aws_call, xml_error};
use crate::aws_sigv4::Verifier;

/// What `aws-call` says where all of AWS is `mock`.
async fn said(mock: &Mock, arguments: &[&str]) -> String {
    let url = mock.url();
    let env = [
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AK"),
        ("AWS_SECRET_ACCESS_KEY", "secret-of-AK"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    aws_call(&env, arguments).await.join("\n")
}

/// The region that a request was signed for, if the signature is right.
fn region(seen: &Seen, service: &'static str) -> Option<&'static str> {
    ["us-east-1", "eu-west-1"].into_iter().find(|region| {
        let secret = "secret-of-AK".to_owned();
        Verifier {
            secret,
            region,
            service,
        }
        .verify(seen)
        .is_ok()
    })
}

#[tokio::test]
async fn an_object() {
    let s3 = Mock::new(|_, seen| {
        assert_eq!(region(seen, "s3"), Some("us-east-1"));
        match seen.target.as_str() {
            "/my.bucket/fluent%20bit/extra%2Bmore.conf" => Answer::new(200, "[OUTPUT]"),
            other => Answer::new(404, other),
        }
    })
    .await;
    let object = said(&s3, &["object", "my.bucket", "fluent bit/extra+more.conf"]).await;
    assert_eq!(object, "ok [OUTPUT]");
    assert_eq!(s3.seen()[0].header("user-agent"), Some("firelane"));
}

#[tokio::test]
async fn an_object_in_another_region() {
    let moved = "<Error><Code>PermanentRedirect</Code><Message>other endpoint</Message></Error>";
    let malformed = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>wrong region</Message>\
                     <Region>eu-west-1</Region></Error>";
    for elsewhere in [
        Answer::new(301, moved).header("x-amz-bucket-region", "eu-west-1"),
        Answer::new(307, "").header("x-amz-bucket-region", "eu-west-1"),
        Answer::new(400, malformed),
    ] {
        let s3 = Mock::new(move |_, seen| match region(seen, "s3") {
            Some("eu-west-1") => Answer::new(200, "found"),
            _ => elsewhere.clone(),
        })
        .await;
        assert_eq!(said(&s3, &["object", "b", "k"]).await, "ok found");
        assert_eq!(s3.count(), 2);
    }
}

#[tokio::test]
async fn an_object_that_is_sent_around() {
    // Scenario: S3 names a region each time. Guarantees: no loop.
    let s3 = Mock::new(|_, _| {
        xml_error(301, "PermanentRedirect", "elsewhere").header("x-amz-bucket-region", "eu-west-1")
    })
    .await;
    let text = said(&s3, &["object", "b", "k"]).await;
    assert_eq!(text, "error s3://b/k: 301 PermanentRedirect: elsewhere");
    assert_eq!(s3.count(), 2);
}

#[tokio::test]
async fn objects_that_cannot_be_had() {
    let s3 = Mock::new(|_, seen| {
        if seen.text().contains("GetCallerIdentity") {
            return Answer::new(200, "<Arn>arn:aws:sts::1:assumed-role/task/s</Arn>");
        }
        match seen.target.as_str() {
            "/b/missing" => xml_error(404, "NoSuchKey", "The specified key does not exist."),
            "/b/denied" => xml_error(403, "AccessDenied", "Access Denied"),
            "/b/named" => xml_error(
                403,
                "AccessDenied",
                "User: arn:aws:sts::1:assumed-role/task/s is not authorized to perform: s3:GetObject on resource: \
                 &quot;arn:aws:s3:::b/named&quot; because no identity-based policy allows the s3:GetObject action",
            ),
            "/b/large" => Answer::new(200, vec![b'#'; (32 << 20) + 1]),
            _ => Answer::new(500, ""),
        }
    })
    .await;
    let missing = said(&s3, &["object", "b", "missing"]).await;
    assert_eq!(
        missing,
        "error s3://b/missing: 404 NoSuchKey: The specified key does not exist."
    );
    let denied = said(&s3, &["object", "b", "denied"]).await;
    assert_eq!(
        denied,
        "error s3://b/denied: 403 AccessDenied: Access Denied; role task may not s3:GetObject on arn:aws:s3:::b/denied; \
         missing: {\"Effect\":\"Allow\",\"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::b/denied\"}; \
         `firelane iam TASK` prints the whole policy"
    );
    let named = said(&s3, &["object", "b", "named"]).await;
    let statement =
        "missing: {\"Effect\":\"Allow\",\"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::b/named\"}";
    assert!(
        named.contains("role task may not s3:GetObject on arn:aws:s3:::b/named; "),
        "{named}"
    );
    assert!(named.contains(statement), "{named}");
    let large = said(&s3, &["object", "b", "large"]).await;
    assert_eq!(large, "error s3://b/large is larger than 33554432 bytes");
}

const ARN: &str = "arn:aws:secretsmanager:eu-west-1:1:secret:db-AbCdEf";

#[tokio::test]
async fn secrets() {
    let manager = Mock::new(|_, seen| {
        assert_eq!(
            seen.header("x-amz-target"),
            Some("secretsmanager.GetSecretValue")
        );
        let body = seen.text();
        let place = region(seen, "secretsmanager");
        match (place, body.as_str()) {
            (Some("us-east-1"), r#"{"SecretId":"plain"}"#) => {
                Answer::new(200, r#"{"Name":"plain","SecretString":"p\u00fc\n"}"#)
            }
            (Some("us-east-1"), r#"{"SecretId":"binary"}"#) => {
                Answer::new(200, r#"{"Name":"binary","SecretBinary":"AA=="}"#)
            }
            (Some("eu-west-1"), body) if body.contains(ARN) => {
                let version = match (body.contains("AWSPREVIOUS"), body.contains("v-7")) {
                    (true, true) => "both",
                    (true, false) => "previous",
                    (false, true) => "seven",
                    (false, false) => "current",
                };
                let value = format!(r#"{{\"key\":\"{version}\",\"port\":5432}}"#);
                Answer::new(200, format!(r#"{{"ARN":"{ARN}","SecretString":"{value}"}}"#))
            }
            _ => Answer::new(
                400,
                r#"{"__type":"ResourceNotFoundException","Message":"Secrets Manager can't find the specified secret."}"#,
            ),
        }
    })
    .await;
    let secret = async |id: &str| said(&manager, &["secret", id]).await;
    // To the last byte.
    assert_eq!(secret("plain").await, "ok pü\n");
    assert_eq!(secret(ARN).await, r#"ok {"key":"current","port":5432}"#);
    assert_eq!(secret(&format!("{ARN}:key::")).await, "ok current");
    assert_eq!(secret(&format!("{ARN}:port::")).await, "ok 5432");
    assert_eq!(secret(&format!("{ARN}:key:AWSPREVIOUS:")).await, "ok previous");
    assert_eq!(secret(&format!("{ARN}:key::v-7")).await, "ok seven");
    assert_eq!(secret(&format!("{ARN}:key:AWSPREVIOUS:v-7")).await, "ok both");
    // The words of the ECS agent.
    assert_eq!(
        secret(&format!("{ARN}:none::")).await,
        format!("error {ARN}: retrieved secret from Secrets Manager did not contain json key none")
    );
    assert_eq!(
        secret("gone").await,
        "error fetching secret data from AWS Secrets Manager: gone: 400 ResourceNotFoundException: Secrets Manager can't \
         find the specified secret."
    );
    assert_eq!(secret("binary").await, "error binary: it is binary, not text");
    let before = manager.count();
    assert!(
        secret(&format!("{ARN}:key"))
            .await
            .contains("stand all of :json-key:")
    );
    assert_eq!(manager.count(), before);
}

#[tokio::test]
async fn parameters() {
    let ssm = Mock::new(|_, seen| {
        assert_eq!(seen.header("x-amz-target"), Some("AmazonSSM.GetParameters"));
        let asked: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
        assert_eq!(asked["WithDecryption"], true);
        let names: Vec<&str> = asked["Names"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        let place = region(seen, "ssm").unwrap();
        let (bad, good): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.starts_with("bad"));
        // In an order of its own.
        let found: Vec<_> = good
            .iter()
            .rev()
            .map(|name| match name.split_once(':') {
                Some((name, version)) => {
                    serde_json::json!({"Name": name, "Selector": format!(":{version}"), "Value": format!("v{version}")})
                }
                None => serde_json::json!({"Name": name, "Value": format!("{name}@{place}")}),
            })
            .collect();
        let answer = serde_json::json!({"Parameters": found, "InvalidParameters": bad});
        Answer::new(200, answer.to_string())
    })
    .await;
    let parameters = async |names: &[&str]| {
        let mut words = vec!["parameters"];
        words.extend(names);
        said(&ssm, &words).await
    };
    let names: Vec<String> = (0..23).map(|n| format!("/app/p{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let want: Vec<String> = names.iter().map(|name| format!("{name}@us-east-1")).collect();
    assert_eq!(parameters(&names).await, format!("ok {}", want.join("|")));
    let sizes: Vec<usize> = ssm
        .seen()
        .iter()
        .map(|seen| seen.text().matches("/app/p").count())
        .collect();
    assert_eq!(sizes, [10, 10, 3]);
    // A call for each region, each name once.
    let arn = "arn:aws:ssm:eu-west-1:1:parameter/deep/x";
    let before = ssm.count();
    assert_eq!(
        parameters(&["x", arn, "x", "arn:aws:ssm:us-east-1:1:parameter/x", "x:3"]).await,
        "ok x@us-east-1|/deep/x@eu-west-1|x@us-east-1|x@us-east-1|v3"
    );
    assert!(ssm.count() - before <= 3);
    assert_eq!(
        parameters(&["good", "bad-1", "bad-2"]).await,
        "error fetching secret data from SSM Parameter Store in the default region: invalid parameters: bad-1,bad-2"
    );
    assert_eq!(
        parameters(&["arn:aws:ssm:eu-west-1:1:parameter/bad"]).await,
        "error fetching secret data from SSM Parameter Store in eu-west-1: invalid parameters: bad"
    );
}

#[tokio::test]
async fn parameters_that_are_denied() {
    let ssm = Mock::new(|_, _| {
        Answer::new(
            400,
            r#"{"__type":"AccessDeniedException","Message":"User: arn:aws:sts::1:assumed-role/task/s is not authorized to perform: ssm:GetParameters on resource: arn:aws:ssm:us-east-1:1:parameter/x because no identity-based policy allows the ssm:GetParameters action"}"#,
        )
    })
    .await;
    let text = said(&ssm, &["parameters", "x"]).await;
    assert!(
        text.contains(
            "role task may not ssm:GetParameters on arn:aws:ssm:us-east-1:1:parameter/x; missing: {"
        ),
        "{text}"
    );
    assert_eq!(ssm.count(), 1);
}

#[tokio::test]
async fn answers_that_are_no_answers() {
    let odd = Mock::new(|_, _| Answer::new(200, "<html>")).await;
    for words in [&["secret", "x"][..], &["parameters", "x"]] {
        let text = said(&odd, words).await;
        assert!(text.starts_with("error ") && text.contains("line 1"), "{text}");
    }
    // A service that does not give what it was asked for.
    let other = Mock::new(|_, _| Answer::new(200, r#"{"Parameters":[{"Name":"y","Value":"v"}]}"#)).await;
    let text = said(&other, &["parameters", "x"]).await;
    assert_eq!(
        text,
        "error fetching secret data from SSM Parameter Store: invalid parameters: x"
    );
}
