//! Credentials: found by the official chain, shared by everybody in the process who wants the same ones,
//! renewed ahead of their end.
//!
//! Deliveries never wait for a renewal that is not needed yet: old credentials that still hold are given
//! while one task fetches new ones. Those who must wait share one fetch. A failure is remembered for a
//! moment, so that many chunks do not ask a server that is down, each for itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::date_time::{DateTime, Format};
use aws_smithy_types::error::display::DisplayErrorContext;
use serde::Deserialize;

use super::{AwsEndpoint, AwsSettings, sdk};

/// They are renewed this long before they end, or at the last quarter of their life where that is shorter.
const RENEW_AHEAD: Duration = Duration::from_secs(300);
/// Credentials that end sooner are not given any more.
const SPARE: Duration = Duration::from_secs(5);
/// Longest time to get them, by whatever way.
const FETCH_LIMIT: Duration = Duration::from_secs(15);
/// How long a failure is remembered.
const FAILURE_KEPT: Duration = Duration::from_secs(2);

/// What decides which credentials somebody gets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    profile: Option<String>,
    role_arn: Option<String>,
    external_id: Option<String>,
    sts_endpoint: Option<String>,
    credentials_endpoint: Option<String>,
    /// Of STS; empty where no role is assumed.
    region: String,
}

impl Wanted {
    /// What a client with `settings` in `region` wants.
    pub(super) fn new(settings: &AwsSettings, region: &str) -> Self {
        let region = if settings.role_arn.is_some() { region } else { "" };
        Self {
            profile: settings.profile.clone(),
            role_arn: settings.role_arn.clone(),
            external_id: settings.external_id.clone(),
            sts_endpoint: settings.sts_endpoint.clone(),
            credentials_endpoint: settings.credentials_endpoint.clone(),
            region: region.to_owned(),
        }
    }
}

/// A source of credentials with what it gave last.
#[derive(Debug)]
pub(super) struct Source {
    wanted: Wanted,
    state: Mutex<State>,
    /// Held by the one who fetches.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    kept: Option<Kept>,
    failed: Option<(Instant, String)>,
    renews: bool,
}

#[derive(Debug, Clone)]
struct Kept {
    credentials: Credentials,
    /// From here on new ones are fetched.
    renew_at: Option<SystemTime>,
}

impl Kept {
    fn new(credentials: Credentials) -> Self {
        let now = SystemTime::now();
        let renew_at = credentials.expiry().map(|end| {
            let life = end.duration_since(now).unwrap_or_default();
            end - RENEW_AHEAD.min(life / 4)
        });
        Self {
            credentials,
            renew_at,
        }
    }

    fn holds(&self, now: SystemTime) -> bool {
        self.credentials.expiry().is_none_or(|end| end > now + SPARE)
    }
}

static SOURCES: Mutex<Option<HashMap<Wanted, Weak<Source>>>> = Mutex::new(None);

impl Source {
    /// The process's source for `wanted`.
    pub(super) fn shared(wanted: Wanted) -> Arc<Self> {
        let mut sources = SOURCES.lock().unwrap_or_else(PoisonError::into_inner);
        let sources = sources.get_or_insert_default();
        if let Some(source) = sources.get(&wanted).and_then(Weak::upgrade) {
            return source;
        }
        sources.retain(|_, source| source.strong_count() > 0);
        let source = Arc::new(Self {
            wanted: wanted.clone(),
            state: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        });
        sources.insert(wanted, Arc::downgrade(&source));
        source
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Credentials that hold.
    ///
    /// # Errors
    /// What was tried, each with its reason.
    pub(super) async fn get(self: &Arc<Self>) -> Result<Credentials, String> {
        if let Some(credentials) = self.kept() {
            return Ok(credentials);
        }
        let _turn = self.turn.lock().await;
        // Who had the turn before may have fetched them, or have failed.
        if let Some(credentials) = self.kept() {
            return Ok(credentials);
        }
        if let Some((at, why)) = &self.state().failed
            && at.elapsed() < FAILURE_KEPT
        {
            return Err(why.clone());
        }
        self.fetch().await
    }

    /// What there is and holds; renewed on the side where it is time for that.
    fn kept(self: &Arc<Self>) -> Option<Credentials> {
        let now = SystemTime::now();
        let mut state = self.state();
        let kept = state.kept.clone().filter(|kept| kept.holds(now))?;
        if kept.renew_at.is_some_and(|at| at <= now) && !state.renews {
            state.renews = true;
            let source = self.clone();
            tokio::spawn(async move {
                let _turn = source.turn.lock().await;
                if let Err(why) = source.fetch().await {
                    tracing::warn!(target: "aws", "credentials could not be renewed, the old ones still hold: {why}");
                }
                source.state().renews = false;
            });
        }
        Some(kept.credentials)
    }

    async fn fetch(&self) -> Result<Credentials, String> {
        let found = tokio::time::timeout(FETCH_LIMIT, ask(&self.wanted)).await;
        let found = found.unwrap_or_else(|_| Err(format!("no answer within {} s", FETCH_LIMIT.as_secs())));
        let mut state = self.state();
        match found {
            Ok(credentials) => {
                state.failed = None;
                state.kept = Some(Kept::new(credentials.clone()));
                Ok(credentials)
            }
            Err(why) => {
                let why = format!(
                    "no AWS credentials: {why}; in an ECS task they come from the task role (`taskRoleArn`)"
                );
                state.failed = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    /// Forgets what a service has refused, unless there are newer ones.
    pub(super) fn forget(&self, refused: &Credentials) {
        let mut state = self.state();
        let same = |kept: &Kept| {
            let own = &kept.credentials;
            own.access_key_id() == refused.access_key_id() && own.session_token() == refused.session_token()
        };
        if state.kept.as_ref().is_some_and(same) {
            state.kept = None;
        }
    }
}

/// The chain, and the role around it.
async fn ask(wanted: &Wanted) -> Result<Credentials, String> {
    let http = sdk::client()?;
    let base = match &wanted.credentials_endpoint {
        Some(url) => {
            let found = from_endpoint(url).await?;
            SharedCredentialsProvider::new(found)
        }
        None => {
            let region = (!wanted.region.is_empty()).then(|| Region::new(wanted.region.clone()));
            let config = ProviderConfig::without_region()
                .with_region(region)
                .with_http_client(http.clone());
            let mut chain = DefaultCredentialsChain::builder().configure(config);
            if let Some(profile) = &wanted.profile {
                chain = chain.profile_name(profile);
            }
            SharedCredentialsProvider::new(chain.build().await)
        }
    };
    let provider = match &wanted.role_arn {
        Some(role) => role_provider(wanted, role, base, http).await?,
        None => base,
    };
    let found = provider.provide_credentials().await;
    found.map_err(|error| firelane_conf::redact::text(&DisplayErrorContext(&error).to_string()))
}

async fn role_provider(
    wanted: &Wanted,
    role: &str,
    base: SharedCredentialsProvider,
    http: SharedHttpClient,
) -> Result<SharedCredentialsProvider, String> {
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::new(wanted.region.clone()));
    if let Some(text) = &wanted.sts_endpoint {
        let endpoint = AwsEndpoint::parse(text, None).map_err(|error| error.to_string())?;
        config = config.endpoint_url(endpoint.url());
    }
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
async fn from_endpoint(text: &str) -> Result<Credentials, String> {
    let url = if text.starts_with('/') {
        format!("http://169.254.170.2{text}")
    } else {
        text.to_owned()
    };
    let answer = sdk::get(&url).await?;
    if answer.status != 200 {
        return Err(format!("`credentials_endpoint` answered {}", answer.status));
    }
    let answer: Answer = serde_json::from_slice(&answer.body)
        .map_err(|error| format!("`credentials_endpoint` gave no credentials: {error}"))?;
    let end = answer
        .expiration
        .as_deref()
        .map(|text| DateTime::from_str(text, Format::DateTime));
    let end = end
        .transpose()
        .map_err(|error| format!("`credentials_endpoint`: {error}"))?;
    let end = end.map(|end| SystemTime::UNIX_EPOCH + Duration::from_secs(end.secs().unsigned_abs()));
    let name = "credentials_endpoint";
    Ok(Credentials::new(
        answer.access_key_id,
        answer.secret_access_key,
        answer.token,
        end,
        name,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(id: &str, life: Option<Duration>) -> Credentials {
        let end = life.map(|life| SystemTime::now() + life);
        Credentials::new(id, "secret", None, end, "test")
    }

    fn source(role: &str) -> Arc<Source> {
        let settings = AwsSettings {
            role_arn: Some(role.to_owned()),
            ..AwsSettings::default()
        };
        Source::shared(Wanted::new(&settings, "us-east-1"))
    }

    #[test]
    fn equal_wishes_share_a_source() {
        let (one, same, other) = (source("share-a"), source("share-a"), source("share-b"));
        assert!(Arc::ptr_eq(&one, &same));
        assert!(!Arc::ptr_eq(&one, &other));
    }

    #[test]
    fn they_are_renewed_ahead_of_their_end() {
        let long = Kept::new(credentials("a", Some(Duration::from_secs(3600))));
        let end = long.credentials.expiry().unwrap();
        assert_eq!(end.duration_since(long.renew_at.unwrap()).unwrap(), RENEW_AHEAD);
        let short = Kept::new(credentials("a", Some(Duration::from_secs(60))));
        let left = short
            .credentials
            .expiry()
            .unwrap()
            .duration_since(short.renew_at.unwrap())
            .unwrap();
        assert!(left <= Duration::from_secs(15), "{left:?}");
        assert!(short.holds(SystemTime::now()));
        assert!(!short.holds(SystemTime::now() + Duration::from_secs(56)));
        let endless = Kept::new(credentials("a", None));
        assert!(
            endless.renew_at.is_none() && endless.holds(SystemTime::now() + Duration::from_secs(1 << 32))
        );
    }

    #[test]
    fn only_what_was_refused_is_forgotten() {
        let source = source("forget");
        source.state().kept = Some(Kept::new(credentials("new", None)));
        source.forget(&credentials("old", None));
        assert!(source.state().kept.is_some());
        source.forget(&credentials("new", None));
        assert!(source.state().kept.is_none());
    }

    #[tokio::test]
    async fn a_failure_is_remembered_for_a_moment() {
        let settings = AwsSettings {
            // Nobody listens on port 1.
            credentials_endpoint: Some("http://127.0.0.1:1/x".to_owned()),
            ..AwsSettings::default()
        };
        let source = Source::shared(Wanted::new(&settings, ""));
        let first = source.get().await.unwrap_err();
        assert!(
            first.contains("no AWS credentials: ") && first.contains("127.0.0.1:1"),
            "{first}"
        );
        let at = source.state().failed.as_ref().map(|(at, _)| *at);
        assert_eq!(source.get().await.unwrap_err(), first);
        assert_eq!(source.state().failed.as_ref().map(|(at, _)| *at), at);
    }
}
