//! The chain of credentials and the search for a region, as the environment of a process says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::aws_mock::{Answer, Mock, Seen, assumed, aws_call, credentials, xml_error};
use crate::aws_sigv4::Verifier;
use crate::certs::Certs;

/// A service that says whose keys signed a request, where and with which token, if the signature is right.
pub(crate) async fn service() -> Mock {
    Mock::new(|_, seen: &Seen| {
        let scope = seen.scope();
        let region: &'static str = match scope[2].as_str() {
            "us-east-1" => "us-east-1",
            "eu-west-1" => "eu-west-1",
            _ => "ap-south-2",
        };
        let verifier = Verifier {
            secret: format!("secret-of-{}", scope[0]),
            region,
            service: "logs",
        };
        match verifier.verify(seen) {
            Ok(()) => {
                let token = seen.header("x-amz-security-token").unwrap_or("none");
                Answer::new(200, format!("{} {region} {token}", scope[0]))
            }
            Err(why) => Answer::new(400, why),
        }
    })
    .await
}

/// An environment, as it is built up.
pub(crate) struct Env(pub(crate) Vec<(String, String)>);

impl Env {
    /// Without the instance, whose address does not answer here.
    pub(crate) fn new(service: &Mock) -> Self {
        Self(Vec::new())
            .with("AWS_REGION", "eu-west-1")
            .with("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", &service.url())
            .with("AWS_EC2_METADATA_DISABLED", "true")
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.retain(|(own, _)| own != name);
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.retain(|(own, _)| own != name);
        self
    }

    pub(crate) fn keys(self, id: &str) -> Self {
        self.with("AWS_ACCESS_KEY_ID", id)
            .with("AWS_SECRET_ACCESS_KEY", &format!("secret-of-{id}"))
    }

    pub(crate) async fn call(&self, arguments: &[&str]) -> String {
        let env: Vec<_> = self
            .0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let mut words = arguments.to_vec();
        words.push("call");
        aws_call(&env, &words).await.join("\n")
    }
}

pub(crate) fn written(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn keys_of_the_environment() {
    let service = service().await;
    let env = Env::new(&service).keys("AKENV");
    assert_eq!(env.call(&[]).await, "ok 200 AKENV eu-west-1 none");
    let env = env.with("AWS_SESSION_TOKEN", "T1");
    assert_eq!(env.call(&["region=us-east-1"]).await, "ok 200 AKENV us-east-1 T1");
}

#[tokio::test]
async fn profiles() {
    let service = service().await;
    let sts = Mock::new(|_, seen| {
        assert_eq!(seen.scope()[0], "AKBASE");
        assumed("AssumeRole", "AKROLE")
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path();
    let script = written(
        files,
        "process.sh",
        "#!/bin/sh\necho '{\"Version\":1,\"AccessKeyId\":\"AKPROC\",\"SecretAccessKey\":\"secret-of-AKPROC\"}'\n",
    );
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let keys = |id| format!("aws_access_key_id={id}\naws_secret_access_key=secret-of-{id}\n");
    let credentials = format!("[default]\n{}[base]\n{}", keys("AKDEF"), keys("AKBASE"));
    let config = format!(
        "[default]\nregion=us-east-1\n[profile other]\n{}region=ap-south-2\n\
         [profile role]\nrole_arn=arn:aws:iam::1:role/r\nsource_profile=base\nexternal_id=X1\n\
         [profile process]\ncredential_process={script}\n\
         [profile sulky]\ncredential_process=/bin/false\n",
        keys("AKOTHER")
    );
    let env = Env::new(&service)
        .with(
            "AWS_SHARED_CREDENTIALS_FILE",
            &written(files, "credentials", &credentials),
        )
        .with("AWS_CONFIG_FILE", &written(files, "config", &config))
        .with("AWS_ENDPOINT_URL_STS", &sts.url())
        .with("PATH", "/usr/bin:/bin");
    assert_eq!(env.call(&[]).await, "ok 200 AKDEF eu-west-1 none");
    assert_eq!(
        env.call(&["profile=other"]).await,
        "ok 200 AKOTHER eu-west-1 none"
    );
    assert_eq!(
        env.call(&["profile=process"]).await,
        "ok 200 AKPROC eu-west-1 none"
    );
    let by_role = "ok 200 AKROLE eu-west-1 token-of-AKROLE";
    assert_eq!(env.call(&["profile=role"]).await, by_role);
    assert!(sts.seen()[0].text().contains("ExternalId=X1"));
    let other = Env(env.0.clone())
        .with("AWS_PROFILE", "other")
        .without("AWS_REGION");
    assert_eq!(other.call(&[]).await, "ok 200 AKOTHER ap-south-2 none");
    assert_eq!(
        other.call(&["profile=default"]).await,
        "ok 200 AKDEF us-east-1 none"
    );
    // Not there, or broken: by name.
    let missing = env.call(&["profile=nobody"]).await;
    assert!(
        missing.starts_with("error no AWS credentials: ") && missing.contains("nobody"),
        "{missing}"
    );
    let sulky = env.call(&["profile=sulky"]).await;
    assert!(sulky.contains("external process exited"), "{sulky}");
}

#[tokio::test]
async fn files_in_the_home_folder() {
    let service = service().await;
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".aws")).unwrap();
    let text = "[default]\naws_access_key_id=AKHOME\naws_secret_access_key=secret-of-AKHOME\n";
    written(home.path(), ".aws/credentials", text);
    let env = Env::new(&service).with("HOME", home.path().to_str().unwrap());
    assert_eq!(env.call(&[]).await, "ok 200 AKHOME eu-west-1 none");
}

#[tokio::test]
async fn a_web_identity() {
    let service = service().await;
    let sts = Mock::new(|_, seen| {
        // It is not signed: the token is the proof.
        assert_eq!(seen.header("authorization"), None);
        match seen.text().contains("WebIdentityToken=the-token") {
            true => assumed("AssumeRoleWithWebIdentity", "AKWEB"),
            false => xml_error(400, "InvalidIdentityToken", "No OpenIDConnect provider found"),
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let env = Env::new(&service)
        .with("AWS_ENDPOINT_URL_STS", &sts.url())
        .with("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod")
        .with(
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            &written(folder.path(), "token", "the-token"),
        );
    assert_eq!(env.call(&[]).await, "ok 200 AKWEB eu-west-1 token-of-AKWEB");
    assert!(sts.seen()[0].text().contains("role%2Fpod"));
    written(folder.path(), "token", "another");
    let refused = env.call(&[]).await;
    assert!(
        refused.contains("InvalidIdentityToken: No OpenIDConnect provider found"),
        "{refused}"
    );
    let env = env.with("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token");
    let missing = env.call(&[]).await;
    assert!(missing.contains("No such file"), "{missing}");
}

#[tokio::test]
async fn the_container_endpoint() {
    let service = service().await;
    let keys = Mock::new(
        |_, seen: &Seen| match (seen.target.as_str(), seen.header("authorization")) {
            ("/open", None) => credentials("AKOPEN", 3600),
            ("/creds?x=1", Some("Basic abc")) => credentials("AKCONT", 3600),
            ("/broken", _) => Answer::new(
                500,
                r#"{"code":"InternalServerError","message":"agent is not ready","HTTPErrorCode":500}"#,
            ),
            _ => Answer::new(
                400,
                r#"{"code":"InvalidIdInRequest","message":"CredentialsV2Request: no"}"#,
            ),
        },
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    let full = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let env = Env::new(&service).with(full, &format!("{}/open", keys.url()));
    assert_eq!(env.call(&[]).await, "ok 200 AKOPEN eu-west-1 token-of-AKOPEN");
    // A proxy for everything else does not see it.
    let proxied = Env(env.0.clone())
        .with("HTTP_PROXY", "http://127.0.0.1:1")
        .with("NO_PROXY", &format!("127.0.0.1:{}", service.port));
    assert_eq!(proxied.call(&[]).await, "ok 200 AKOPEN eu-west-1 token-of-AKOPEN");
    // A token, or a file with one.
    let env = env.with(full, &format!("{}/creds?x=1", keys.url()));
    let by_token = Env(env.0.clone()).with("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic abc");
    let want = "ok 200 AKCONT eu-west-1 token-of-AKCONT";
    assert_eq!(by_token.call(&[]).await, want);
    let by_file = Env(env.0.clone()).with(
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        &written(folder.path(), "token", "Basic abc"),
    );
    assert_eq!(by_file.call(&[]).await, want);
    // Failures in the endpoint's words.
    let place = format!("127.0.0.1:{} answered", keys.port);
    let refused = env.call(&[]).await;
    assert!(
        refused.contains(&format!(
            "{place} 400 InvalidIdInRequest: CredentialsV2Request: no"
        )),
        "{refused}"
    );
    // A source that fails ends the search: a task does not take the role of its instance.
    let instance = instance().await;
    let broken = Env(env.0.clone())
        .with(full, &format!("{}/broken", keys.url()))
        .without("AWS_EC2_METADATA_DISABLED")
        .with("AWS_EC2_METADATA_SERVICE_ENDPOINT", &instance.url());
    let broken = broken.call(&[]).await;
    assert!(
        broken.contains(&format!("{place} 500 InternalServerError")),
        "{broken}"
    );
    assert_eq!(instance.count(), 0);
    // Hosts that credentials are never asked of without TLS.
    let foreign = env.with(full, "http://192.0.2.1/creds").call(&[]).await;
    assert!(foreign.contains("192.0.2.1"), "{foreign}");
}

#[tokio::test]
async fn a_stuck_container_endpoint_is_named() {
    let service = service().await;
    let keys = Mock::new(|_, _| Answer::never()).await;
    let env = Env::new(&service).with("AWS_CONTAINER_CREDENTIALS_FULL_URI", &keys.url());
    let begun = Instant::now();
    let said = env.call(&[]).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let place = format!("127.0.0.1:{}", keys.port);
    assert!(
        said.starts_with("error no AWS credentials: no answer within 15 s"),
        "{said}"
    );
    assert!(said.contains(&format!("asked: {place}: no ")), "{said}");
}

/// IMDSv2: no answer without a token.
async fn instance() -> Mock {
    Mock::new(|_, seen: &Seen| {
        let has_token = seen.header("x-aws-ec2-metadata-token") == Some("the-token");
        match (seen.method.as_str(), seen.target.as_str()) {
            ("PUT", "/latest/api/token") => {
                Answer::new(200, "the-token").header("x-aws-ec2-metadata-token-ttl-seconds", "21600")
            }
            _ if !has_token => Answer::new(401, ""),
            (_, target) if target.ends_with("/placement/region") => Answer::new(200, "ap-south-2"),
            (_, target) if target.ends_with("/security-credentials/") => Answer::new(200, "role"),
            (_, target) if target.ends_with("/security-credentials/role") => {
                let end = "2999-01-01T00:00:00Z";
                Answer::new(
                    200,
                    format!(
                        r#"{{"Code":"Success","LastUpdated":"2026-01-01T00:00:00Z","Type":"AWS-HMAC","AccessKeyId":"AKEC2","SecretAccessKey":"secret-of-AKEC2","Token":"TEC2","Expiration":"{end}"}}"#
                    ),
                )
            }
            _ => Answer::new(404, ""),
        }
    })
    .await
}

#[tokio::test]
async fn the_instance() {
    let (service, instance) = (service().await, instance().await);
    let env = Env::new(&service)
        .without("AWS_EC2_METADATA_DISABLED")
        .with("AWS_EC2_METADATA_SERVICE_ENDPOINT", &instance.url());
    assert_eq!(env.call(&[]).await, "ok 200 AKEC2 eu-west-1 TEC2");
    assert!(instance.seen().iter().any(|seen| seen.method == "PUT"));
    let anywhere = env.without("AWS_REGION");
    assert_eq!(anywhere.call(&[]).await, "ok 200 AKEC2 ap-south-2 TEC2");
    // Whoever knows the region does not ask the instance for it.
    let before = instance.count();
    assert_eq!(
        anywhere.call(&["region=us-east-1"]).await,
        "ok 200 AKEC2 us-east-1 TEC2"
    );
    let asked = &instance.seen()[before..];
    assert!(
        asked.iter().all(|seen| !seen.target.contains("region")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn the_first_that_answers_is_taken() {
    let (service, instance) = (service().await, instance().await);
    let keys = Mock::new(|_, _| credentials("AKCONT", 3600)).await;
    let sts = Mock::new(|_, _| assumed("AssumeRoleWithWebIdentity", "AKWEB")).await;
    let folder = tempfile::tempdir().unwrap();
    let profile = "[default]\naws_access_key_id=AKPROF\naws_secret_access_key=secret-of-AKPROF\n";
    let mut env = Env::new(&service)
        .without("AWS_EC2_METADATA_DISABLED")
        .keys("AKENV")
        .with(
            "AWS_SHARED_CREDENTIALS_FILE",
            &written(folder.path(), "c", profile),
        )
        .with(
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            &written(folder.path(), "t", "token"),
        )
        .with("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod")
        .with("AWS_ENDPOINT_URL_STS", &sts.url())
        .with("AWS_CONTAINER_CREDENTIALS_FULL_URI", &keys.url())
        .with("AWS_EC2_METADATA_SERVICE_ENDPOINT", &instance.url());
    for (id, next) in [
        ("AKENV", "AWS_ACCESS_KEY_ID"),
        ("AKPROF", "AWS_SHARED_CREDENTIALS_FILE"),
        ("AKWEB", "AWS_WEB_IDENTITY_TOKEN_FILE"),
        ("AKCONT", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        ("AKEC2", ""),
    ] {
        let said = env.call(&[]).await;
        assert!(said.starts_with(&format!("ok 200 {id} ")), "{id}: {said}");
        env = env.without(next);
    }
    // The endpoint that a plugin names comes before all.
    let env = env.keys("AKENV");
    let said = env.call(&[&format!("credentials_endpoint={}", keys.url())]).await;
    assert_eq!(said, "ok 200 AKCONT eu-west-1 token-of-AKCONT");
}

#[tokio::test]
async fn nothing_at_all() {
    let service = service().await;
    let said = Env::new(&service).call(&[]).await;
    for part in [
        "AWS_ACCESS_KEY_ID",
        "profile",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "IMDS",
        "taskRoleArn",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = Env::new(&service).without("AWS_REGION").call(&[]).await;
    assert!(said.starts_with("error no region: set `region`"), "{said}");
}

#[tokio::test]
async fn a_role_around_the_chain() {
    let service = service().await;
    let sts = Mock::new(|_, seen: &Seen| {
        let verifier = Verifier {
            secret: "secret-of-AKENV".to_owned(),
            region: "eu-west-1",
            service: "sts",
        };
        assert_eq!(verifier.verify(seen), Ok(()));
        let text = seen.text();
        match text.contains("Action=AssumeRole") && text.contains("ExternalId=the-id") {
            true => assumed("AssumeRole", "AKROLE"),
            false => xml_error(
                403,
                "AccessDenied",
                "User: arn:aws:sts::1:assumed-role/task/s is not authorized to perform: sts:AssumeRole on \
                 resource: arn:aws:iam::2:role/logs",
            ),
        }
    })
    .await;
    let env = Env::new(&service).keys("AKENV");
    let (role, endpoint) = (
        "role_arn=arn:aws:iam::2:role/logs",
        format!("sts_endpoint={}", sts.url()),
    );
    let said = env.call(&[role, "external_id=the-id", &endpoint]).await;
    assert_eq!(said, "ok 200 AKROLE eu-west-1 token-of-AKROLE");
    let form = sts.seen()[0].text();
    assert!(
        form.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A2%3Arole%2Flogs"),
        "{form}"
    );
    // Without the id STS refuses, and the text says what is missing.
    let said = env.call(&[role, &endpoint]).await;
    assert!(said.contains("403 AccessDenied"), "{said}");
    let missing = "role task may not sts:AssumeRole on arn:aws:iam::2:role/logs; missing: \
                   {\"Effect\":\"Allow\",\"Action\":\"sts:AssumeRole\",\"Resource\":\"arn:aws:iam::2:role/logs\"}";
    assert!(said.contains(missing), "{said}");
    // The variable of the SDKs serves where the option is not set.
    let env = env.with("AWS_ENDPOINT_URL_STS", &sts.url());
    let said = env.call(&[role, "external_id=the-id"]).await;
    assert_eq!(said, "ok 200 AKROLE eu-west-1 token-of-AKROLE");
}

#[tokio::test]
async fn endpoints_with_tls() {
    // Scenario: endpoints with certificates of an own authority, which SSL_CERT_FILE names. A text without
    // a scheme means TLS.
    let certs = Certs::new(&["localhost"]);
    let sts = Mock::tls(&certs.server(), |_, _| assumed("AssumeRole", "AKROLE")).await;
    let logs = Mock::tls(&certs.server(), |_, seen| {
        Answer::new(200, seen.scope()[0].clone())
    })
    .await;
    let authority = certs.path("ca.pem");
    let env = Env(Vec::new())
        .keys("AKENV")
        .with("AWS_REGION", "eu-west-1")
        .with("AWS_EC2_METADATA_DISABLED", "true")
        .with("SSL_CERT_FILE", authority.to_str().unwrap());
    let logs_at = format!("localhost:{}", logs.port);
    let said = env.call(&[&format!("endpoint={logs_at}")]).await;
    assert_eq!(said, "ok 200 AKENV");
    assert_eq!(logs.seen()[0].header("host"), Some(logs_at.as_str()));
    let role = "role_arn=arn:aws:iam::2:role/logs";
    let (endpoint, sts_endpoint) = (
        format!("endpoint=https://{logs_at}"),
        format!("sts_endpoint=https://localhost:{}/", sts.port),
    );
    let said = env.call(&[role, &endpoint, &sts_endpoint]).await;
    assert_eq!(said, "ok 200 AKROLE");
    let strangers = env.without("SSL_CERT_FILE");
    let said = strangers.call(&[&endpoint]).await;
    assert!(
        said.starts_with("error ") && said.contains("certificate"),
        "{said}"
    );
}

#[tokio::test]
async fn a_role_with_a_clock_that_is_off() {
    // Scenario: STS refuses the signature for its time. Guarantees: it is asked again with its own time.
    let service = service().await;
    let sts = Mock::new(|at, _| match at {
        0 => xml_error(403, "SignatureDoesNotMatch", "Signature expired").dated(3600),
        _ => assumed("AssumeRole", "AKROLE").dated(3600),
    })
    .await;
    let env = Env::new(&service).keys("AKENV");
    let endpoint = format!("sts_endpoint={}", sts.url());
    let said = env.call(&["role_arn=arn:aws:iam::2:role/logs", &endpoint]).await;
    assert_eq!(said, "ok 200 AKROLE eu-west-1 token-of-AKROLE");
    let dates: Vec<_> = sts
        .seen()
        .iter()
        .map(|seen| seen.header("x-amz-date").unwrap().to_owned())
        .collect();
    assert!(dates.len() == 2 && dates[0] != dates[1], "{dates:?}");
}

#[tokio::test]
async fn the_region_of_the_task() {
    let service = service().await;
    let task = Mock::new(|_, seen: &Seen| match seen.target.as_str() {
        "/v4/id/task" => Answer::new(200, r#"{"TaskARN":"arn:aws:ecs:us-east-1:1:task/c/t"}"#),
        _ => Answer::new(404, ""),
    })
    .await;
    let uri = "ECS_CONTAINER_METADATA_URI_V4";
    let env = Env::new(&service)
        .keys("AKENV")
        .without("AWS_REGION")
        .with(uri, &format!("{}/v4/id", task.url()));
    assert_eq!(env.call(&[]).await, "ok 200 AKENV us-east-1 none");
    let env = env.with(uri, &format!("{}/v4/none", task.url()));
    let said = env.call(&[]).await;
    let asked = format!("asked: 127.0.0.1:{} answered 404", task.port);
    assert!(
        said.starts_with("error no region") && said.contains(&asked),
        "{said}"
    );
    let env = env.with("AWS_DEFAULT_REGION", "eu-west-1");
    assert_eq!(env.call(&[]).await, "ok 200 AKENV eu-west-1 none");
}

#[tokio::test]
async fn many_wait_for_one_search_for_the_region() {
    // Scenario: the task's metadata do not answer. Guarantees: ten callers hear of it together, not one
    // after the other.
    let task = Mock::new(|_, _| Answer::never()).await;
    let env = [
        ("ECS_CONTAINER_METADATA_URI_V4", task.url()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ];
    let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let begun = Instant::now();
    let said = aws_call(&env, &["call", "10"]).await;
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    assert_eq!((said.len(), task.count()), (10, 1));
    let place = format!("127.0.0.1:{}", task.port);
    assert!(said.iter().all(|line| line.contains(&place)), "{said:?}");
}
