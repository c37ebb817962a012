//! Credentials: found by the official chain, shared, renewed ahead of their end.

use std::time::{Duration, SystemTime};

use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use tokio::sync::Mutex;

use super::AwsSettings;
use crate::tls::{ClientTls, TlsConfig};

/// They are renewed this long before they end.
const RENEW_AHEAD: Duration = Duration::from_secs(300);
/// Longest time to get them.
const FETCH_LIMIT: Duration = Duration::from_secs(15);

/// A source of credentials with what it gave last.
#[derive(Debug, Default)]
pub(super) struct Source {
    kept: Mutex<Option<Credentials>>,
}

impl Source {
    /// Credentials that are good for some time.
    pub(super) async fn get(&self, settings: &AwsSettings) -> Result<Credentials, String> {
        let mut kept = self.kept.lock().await;
        let soon = SystemTime::now() + RENEW_AHEAD;
        if let Some(credentials) = &*kept
            && credentials.expiry().is_none_or(|end| end > soon)
        {
            return Ok(credentials.clone());
        }
        let fetch = tokio::time::timeout(FETCH_LIMIT, fetch(settings));
        let fresh = fetch
            .await
            .map_err(|_| format!("no credentials within {} s", FETCH_LIMIT.as_secs()))??;
        *kept = Some(fresh.clone());
        Ok(fresh)
    }

    /// Forgets what was refused.
    pub(super) async fn forget(&self, refused: &Credentials) {
        let mut kept = self.kept.lock().await;
        if kept
            .as_ref()
            .is_some_and(|kept| kept.access_key_id() == refused.access_key_id())
        {
            *kept = None;
        }
    }
}

async fn fetch(settings: &AwsSettings) -> Result<Credentials, String> {
    let config = TlsConfig {
        tls: true.into(),
        ..TlsConfig::default()
    };
    let tls = ClientTls::build(&config).map_err(|error| error.to_string())?;
    let config = ProviderConfig::without_region().with_http_client(super::sdk::client(tls));
    let mut chain =
        aws_config::default_provider::credentials::DefaultCredentialsChain::builder().configure(config);
    if let Some(profile) = &settings.profile {
        chain = chain.profile_name(profile);
    }
    let chain = chain.build().await;
    chain
        .provide_credentials()
        .await
        .map_err(|error| error.to_string())
}
