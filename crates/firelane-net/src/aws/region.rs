//! The region: what is configured, else the environment, the task, the profile, the instance.

use std::time::Duration;

use aws_config::BehaviorVersion;

use super::AwsSettings;
use super::clock::Clock;
use super::sdk::{self, Trace};
use crate::proxy::process_env;

/// Longest time to find it.
const LIMIT: Duration = Duration::from_secs(10);

/// The region of a client.
///
/// # Errors
/// There is none, with what to do.
pub(super) async fn region(settings: &AwsSettings) -> Result<String, String> {
    if let Some(region) = settings.region.clone().filter(|region| !region.is_empty()) {
        return Ok(region);
    }
    let given = ["AWS_REGION", "AWS_DEFAULT_REGION"]
        .into_iter()
        .filter_map(process_env);
    if let Some(region) = given.into_iter().find(|region| !region.is_empty()) {
        return Ok(region);
    }
    let trace = Trace::default();
    match tokio::time::timeout(LIMIT, found(settings, &trace)).await {
        Ok(Some(region)) => Ok(region),
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

async fn found(settings: &AwsSettings, trace: &Trace) -> Option<String> {
    if let Some(uri) = process_env("ECS_CONTAINER_METADATA_URI_V4")
        && let Some(region) = of_task(&uri, trace).await
    {
        return Some(region);
    }
    let client = sdk::client(trace, &Clock::default());
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
