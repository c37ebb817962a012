//! Where credentials come from: the official chain, or the endpoint that was named, and the role around them.

use std::error::Error;
use std::time::{Duration, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_types::date_time::{DateTime, Format};
use serde::Deserialize;

use super::clock::Clock;
use super::credentials::Wanted;
use super::denied::Denial;
use super::endpoint::{Flags, endpoint_of_env};
use super::sdk::{self, Trace};
use super::{AwsEndpoint, Service};
use crate::proxy::process_env;

/// Longest time to get credentials, by whatever way.
const LIMIT: Duration = Duration::from_secs(15);
/// Longest text of an error.
const TEXT_MAX: usize = 1000;

/// Asks for what is `wanted`; STS is asked in `region`. A second time where STS has told that our clock is
/// off.
///
/// # Errors
/// What was tried, each with its reason.
pub(super) async fn ask(wanted: &Wanted, region: &str, clock: &Clock) -> Result<Credentials, String> {
    let trace = Trace::default();
    let asking = async {
        let before = clock.ahead();
        let found = ask_once(wanted, region, clock, &trace).await;
        if found.is_ok() || clock.ahead() == before {
            return found;
        }
        trace.clear();
        ask_once(wanted, region, clock, &trace).await
    };
    let found = tokio::time::timeout(LIMIT, asking).await;
    let why = match found {
        Ok(Ok(credentials)) => return Ok(credentials),
        Ok(Err(why)) => why,
        Err(_) => format!("no answer within {} s", LIMIT.as_secs()),
    };
    let mut text = hidden(why);
    if let Some(tried) = trace.text() {
        text = format!("{text}; asked: {tried}");
    }
    text = short(text);
    if text.contains("not authorized to perform: ") {
        text = format!("{text}; {}", Denial::read(&text).help());
    }
    Err(text)
}

/// Without the password of an address, and without what a process of the user's says of its secrets. Other
/// texts are the SDK's own, which hold none; in them `session token: …` would lose its reason.
fn hidden(text: String) -> String {
    match text.contains('@') || text.contains("external process") {
        true => firelane_conf::redact::text(&text),
        false => text,
    }
}

fn short(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

async fn ask_once(
    wanted: &Wanted,
    region: &str,
    clock: &Clock,
    trace: &Trace,
) -> Result<Credentials, String> {
    let base = match &wanted.credentials_endpoint {
        Some(url) => SharedCredentialsProvider::new(from_endpoint(url, trace).await?),
        None => SharedCredentialsProvider::new(chain(wanted, region, clock, trace).await),
    };
    let provider = match &wanted.role_arn {
        Some(role) => role_provider(wanted, role, region, base, clock, trace).await?,
        None => base,
    };
    provider
        .provide_credentials()
        .await
        .map_err(|error| told(&error, wanted))
}

/// Our region in place of the chain's own search for one, which asks the instance where nothing else is set.
async fn chain(wanted: &Wanted, region: &str, clock: &Clock, trace: &Trace) -> DefaultCredentialsChain {
    let flags = sts_flags();
    let config = ProviderConfig::without_region()
        .with_use_fips(Some(flags.fips))
        .with_use_dual_stack(Some(flags.dual_stack))
        .with_time_source(clock.clone())
        .with_http_client(sdk::client(trace, clock));
    let mut chain = DefaultCredentialsChain::builder()
        .configure(config)
        .region(Region::new(region.to_owned()));
    if let Some(profile) = &wanted.profile {
        chain = chain.profile_name(profile);
    }
    chain.build().await
}

/// FIPS and dual stack of STS; neither where its endpoint is given.
fn sts_flags() -> Flags {
    match endpoint_of_env(Service::STS.env_name, &process_env) {
        Some(_) => Flags::default(),
        None => Flags::of_env(&process_env),
    }
}

async fn role_provider(
    wanted: &Wanted,
    role: &str,
    region: &str,
    base: SharedCredentialsProvider,
    clock: &Clock,
    trace: &Trace,
) -> Result<SharedCredentialsProvider, String> {
    let own = wanted.sts_endpoint.clone();
    let endpoint = own.or_else(|| endpoint_of_env(Service::STS.env_name, &process_env));
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(sdk::client(trace, clock))
        .time_source(clock.clone())
        .region(Region::new(region.to_owned()));
    config = match endpoint {
        Some(text) => {
            let endpoint = AwsEndpoint::parse(&text, None).map_err(|error| error.to_string())?;
            config.endpoint_url(endpoint.url())
        }
        None => {
            let flags = Flags::of_env(&process_env);
            config.use_fips(flags.fips).use_dual_stack(flags.dual_stack)
        }
    };
    let mut provider = AssumeRoleProvider::builder(role)
        .session_name(format!("firelane-{}", std::process::id()))
        .configure(&config.build());
    if let Some(id) = &wanted.external_id {
        provider = provider.external_id(id);
    }
    Ok(SharedCredentialsProvider::new(
        provider.build_from_provider(base).await,
    ))
}

/// An error of the SDK in words: its causes one behind the other, none twice.
fn told(error: &CredentialsError, wanted: &Wanted) -> String {
    if matches!(error, CredentialsError::CredentialsNotLoaded(_)) {
        let profile = match &wanted.profile {
            Some(profile) => format!("profile `{profile}`"),
            None => "the profile files".to_owned(),
        };
        return format!(
            "found none in the environment (AWS_ACCESS_KEY_ID), {profile}, a web identity \
             (AWS_WEB_IDENTITY_TOKEN_FILE), the container's endpoint \
             (AWS_CONTAINER_CREDENTIALS_RELATIVE_URI), the instance (IMDS)"
        );
    }
    let mut parts: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        next = cause.source();
    }
    match parts.is_empty() {
        true => error.to_string(),
        false => parts.join(": "),
    }
}

/// The answer of a container credentials endpoint
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    access_key_id: String,
    secret_access_key: String,
    #[serde(alias = "SessionToken")]
    token: Option<String>,
    expiration: Option<String>,
}

/// `credentials_endpoint` of the Go plugins: a URL, or a path on ECS's address.
async fn from_endpoint(text: &str, trace: &Trace) -> Result<Credentials, String> {
    let url = if text.starts_with('/') {
        format!("http://169.254.170.2{text}")
    } else {
        text.to_owned()
    };
    let answer = sdk::get(&url, trace).await;
    let answer = answer.map_err(|error| format!("`credentials_endpoint`: {error}"))?;
    if answer.status != 200 {
        return Err(format!("`credentials_endpoint` answered {}", answer.status));
    }
    // No text of the parser: it may quote what it read.
    let answer: Answer = serde_json::from_slice(&answer.body)
        .map_err(|_| "`credentials_endpoint` answered with something that is no credentials".to_owned())?;
    let end = match &answer.expiration {
        Some(text) => Some(end(text).ok_or_else(|| {
            format!("`credentials_endpoint`: the expiration `{text}` is no time as in 2030-01-31T12:00:00Z")
        })?),
        None => None,
    };
    let name = "credentials_endpoint";
    Ok(Credentials::new(
        answer.access_key_id,
        answer.secret_access_key,
        answer.token,
        end,
        name,
    ))
}

fn end(text: &str) -> Option<SystemTime> {
    let end = DateTime::from_str(text, Format::DateTimeWithOffset).ok()?;
    let seconds = u64::try_from(end.secs()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_times_after_1970() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(end("1970-01-01T00:01:00Z"), at(60));
        assert_eq!(end("1970-01-01T01:01:00+01:00"), at(60));
        assert_eq!(end("1970-01-01T00:01:00.5Z"), at(60));
        for text in ["", "soon", "1969-01-01T00:00:00Z", "1700000000"] {
            assert_eq!(end(text), None, "{text}");
        }
    }

    #[test]
    fn secrets_are_hidden_and_reasons_are_not() {
        let is = |text: &str, want| assert_eq!(hidden(text.to_owned()), want);
        is(
            "invalid full URI: http://me:pw@h/",
            "invalid full URI: http://***@h/",
        );
        is(
            "external process failed: token=abc",
            "external process failed: token=***",
        );
        is(
            "failed to load IMDS session token: refused",
            "failed to load IMDS session token: refused",
        );
    }

    #[test]
    fn long_errors_are_cut_between_characters() {
        let text = short("ü".repeat(TEXT_MAX));
        assert!(text.ends_with("ü…") && text.len() <= TEXT_MAX + 3);
        assert_eq!(short("short".to_owned()), "short");
    }
}
