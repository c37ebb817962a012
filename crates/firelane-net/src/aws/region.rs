//! The region: what is configured, else the environment, the task, the profile, the instance.

use std::time::Duration;

use aws_config::BehaviorVersion;

use super::AwsSettings;
use super::clock::Clock;
use super::sdk::{self, Trace};
use crate::proxy::process_env;

/// Longest time to find it.
const LIMIT: Duration = Duration::from_secs(10);
/// Longest name of a region.
const LENGTH_MAX: usize = 40;

/// The region of a client.
///
/// # Errors
/// There is none, with what to do.
pub(super) async fn region(settings: &AwsSettings) -> Result<String, String> {
    if let Some(region) = settings.region.as_deref().filter(|region| !region.is_empty()) {
        return checked(region, "`region`");
    }
    for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
        if let Some(region) = process_env(name).filter(|region| !region.is_empty()) {
            return checked(&region, name);
        }
    }
    let trace = Trace::default();
    match tokio::time::timeout(LIMIT, found(settings, &trace)).await {
        Ok(Some(region)) => checked(&region, "what this machine says"),
        _ => {
            let asked = trace
                .text()
                .map_or_else(String::new, |text| format!("; asked: {text}"));
            Err(format!(
                "no region: set `region`, or the variable AWS_REGION{asked}"
            ))
        }
    }
}

/// It becomes part of a host name.
fn checked(region: &str, from: &str) -> Result<String, String> {
    let region = region.trim();
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match !region.is_empty() && region.len() <= LENGTH_MAX && region.bytes().all(is_name) {
        true => Ok(region.to_owned()),
        false => Err(format!(
            "{from}: `{region}` is no region; they look like `us-east-1`"
        )),
    }
}

async fn found(settings: &AwsSettings, trace: &Trace) -> Option<String> {
    if let Some(uri) = process_env("ECS_CONTAINER_METADATA_URI_V4")
        && let Some(region) = of_task(&uri, trace).await
    {
        return Some(region);
    }
    let client = sdk::client(trace, &Clock::default(), None);
    let mut chain = aws_config::defaults(BehaviorVersion::latest())
        .http_client(client)
        .no_credentials();
    if let Some(profile) = &settings.profile {
        chain = chain.profile_name(profile);
    }
    let config = chain.load().await;
    config.region().map(|region| region.as_ref().to_owned())
}

/// The region in the ARN of the task that we run in.
async fn of_task(uri: &str, trace: &Trace) -> Option<String> {
    let answer = sdk::get(&format!("{uri}/task"), trace).await.ok()?;
    let task: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    let arn = task.get("TaskARN")?.as_str()?;
    arn.split(':')
        .nth(3)
        .filter(|region| !region.is_empty())
        .map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_regions() {
        for name in ["us-east-1", " eusc-de-east-1\n", "us-gov-west-1"] {
            assert_eq!(checked(name, "x").as_deref(), Ok(name.trim()));
        }
        for other in ["us-east-1.example.org/", "US-EAST-1", "", "a b"] {
            let error = checked(other, "AWS_REGION").unwrap_err();
            assert!(error.starts_with("AWS_REGION: `"), "{error}");
        }
        assert!(checked(&"a".repeat(41), "x").is_err());
    }
}
