//! The addresses that ECS and EC2 have, which only a network of the test's own can have too.

use std::process::Stdio;

use crate::aws_chain::{Env, service};
use crate::aws_mock::{Answer, Mock, PATIENCE, credentials};

/// Says that the test runs in a network of its own.
const OWN_NETWORK: &str = "FIRELANE_TEST_OWN_NETWORK";

/// Where the machine does not let the test be tried: told, and a failure in CI.
fn left_out(why: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "cannot be tried here: {why}"
    );
    eprintln!("left out: {why}");
}

/// Scenario: the addresses that ECS and EC2 have, in a network of the test's own. Needs root, so the test
/// starts itself there.
#[tokio::test]
async fn addresses_of_containers_and_instances() {
    if std::env::var_os(OWN_NETWORK).is_some() {
        return in_a_network_of_its_own().await;
    }
    let inside = tokio::process::Command::new("unshare")
        .args(["--net", "sh", "-c"])
        .arg(
            "ip link set lo up && ip addr add 169.254.170.2/32 dev lo && \
             ip addr add 169.254.169.254/32 dev lo && exec \"$0\" \"$@\"",
        )
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "aws_network::addresses_of_containers_and_instances",
            "--nocapture",
        ])
        .env(OWN_NETWORK, "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let Ok(ended) = tokio::time::timeout(PATIENCE, inside).await.expect("in time") else {
        return left_out("there is no unshare");
    };
    let (said, errors) = (
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr),
    );
    if !said.contains("running 1 test") {
        return left_out(&format!("no rights, or no `ip`: {errors}"));
    }
    assert!(ended.status.success(), "{said}{errors}");
}

async fn in_a_network_of_its_own() {
    let service = service().await;
    let agent = Mock::at("169.254.170.2:80", |_, seen| match seen.target.as_str() {
        "/v2/credentials/the-id" => credentials("AKTASK", 3600),
        _ => Answer::new(400, "{}"),
    })
    .await;
    let want = "ok 200 AKTASK eu-west-1 token-of-AKTASK";
    let relative = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
    let env = Env::new(&service).with(relative, "/v2/credentials/the-id");
    assert_eq!(env.call(&[]).await, want);
    // It is beside us: no proxy stands between.
    let proxied = Env(env.0.clone())
        .with("HTTP_PROXY", "http://127.0.0.1:1")
        .with("NO_PROXY", &format!("127.0.0.1:{}", service.port));
    assert_eq!(proxied.call(&[]).await, want);
    let named = env.without(relative).with("AWS_REGION", "eu-west-1");
    let said = named.call(&["credentials_endpoint=/v2/credentials/the-id"]).await;
    assert_eq!(said, want);
    assert_eq!(agent.count(), 3);
    let instance = Mock::at("169.254.169.254:80", |_, seen| match seen.target.as_str() {
        "/latest/api/token" => Answer::new(200, "t").header("x-aws-ec2-metadata-token-ttl-seconds", "60"),
        target if target.ends_with("region") => Answer::new(200, "us-east-1"),
        _ => Answer::new(404, ""),
    })
    .await;
    let anywhere = named
        .keys("AKENV")
        .without("AWS_REGION")
        .without("AWS_EC2_METADATA_DISABLED");
    assert_eq!(anywhere.call(&[]).await, "ok 200 AKENV us-east-1 none");
    assert!(instance.count() >= 2);
}
