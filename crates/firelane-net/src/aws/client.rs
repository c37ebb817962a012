//! A client for one service in one region.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use ::http::{HeaderName, HeaderValue, header};
use tokio::sync::OnceCell;

use super::credentials::Source;
use super::sign::{Signer, hash};
use super::{AwsEndpoint, Failure, Service};
use crate::connect::Endpoint;
use crate::http::{HttpClient, HttpError, Request, Response};
use crate::net_config::NetConfig;
use crate::tls::ClientTls;

/// Most bytes of an answer that are kept by default: answers to 500 records are some 60 KiB.
const ANSWER_KEPT: usize = 1 << 20;
/// Bodies from here on are hashed on the CPU pool.
const HASH_INLINE_MAX: usize = 256 << 10;

/// What the user said about the AWS side of a plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AwsSettings {
    /// `region`; else the environment, the profile, the instance.
    pub region: Option<String>,
    /// `profile`
    pub profile: Option<String>,
    /// `role_arn`: assume it.
    pub role_arn: Option<String>,
    /// `external_id` for `role_arn`.
    pub external_id: Option<String>,
    /// `sts_endpoint`: host, or URL.
    pub sts_endpoint: Option<String>,
    /// `endpoint`: host, or URL.
    pub endpoint: Option<String>,
    /// `port` for an `endpoint` without one.
    pub port: Option<u16>,
    /// `credentials_endpoint` of the Go plugins: where to ask for credentials instead of the chain.
    pub credentials_endpoint: Option<String>,
    /// The `User-Agent`.
    pub user_agent: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AwsError {
    /// The connection.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// No credentials, no region, no usable endpoint.
    #[error("{0}")]
    Setup(String),
}

impl AwsError {
    /// The service may have taken the request.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Http(error) if error.is_ambiguous())
    }
}

/// Signs and sends requests to one service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AwsClient {
    inner: Arc<Inner>,
    answer_kept: usize,
    response_timeout: Option<Duration>,
}

#[derive(Debug)]
struct Inner {
    service: Service,
    settings: AwsSettings,
    tls: ClientTls,
    net: NetConfig,
    source: Source,
    ready: OnceCell<Ready>,
    /// Seconds that the service's clock is ahead of ours.
    skew: AtomicI64,
}

#[derive(Debug)]
struct Ready {
    region: String,
    http: HttpClient,
    host: HeaderValue,
    scheme: &'static str,
}

impl AwsClient {
    /// A client; nothing is asked before its first request.
    pub fn new(service: Service, settings: AwsSettings, tls: ClientTls, net: NetConfig) -> Self {
        let inner = Inner {
            service,
            settings,
            tls,
            net,
            source: Source::default(),
            ready: OnceCell::new(),
            skew: AtomicI64::new(0),
        };
        Self {
            inner: Arc::new(inner),
            answer_kept: ANSWER_KEPT,
            response_timeout: None,
        }
    }

    /// Time for a whole answer; else that of [`HttpClient`].
    #[must_use]
    pub fn response_timeout(mut self, limit: Duration) -> Self {
        self.response_timeout = Some(limit);
        self
    }

    /// Keeps up to `bytes` of each answer.
    #[must_use]
    pub fn answer_kept(mut self, bytes: usize) -> Self {
        self.answer_kept = bytes;
        self
    }

    /// The service it calls.
    pub fn service(&self) -> &Service {
        &self.inner.service
    }

    /// Sends a request, signed; the answer may have any status. `Host`, `User-Agent`, `X-Amz-Date`,
    /// `Authorization` and what else the signature needs are added. Signed and sent a second time where
    /// it was refused for its time or its credentials.
    pub async fn send(&self, request: Request) -> Result<Response, AwsError> {
        let ready = self.inner.ready().await?;
        let hash = body_hash(&request).await;
        let mut second = false;
        loop {
            let credentials = self
                .inner
                .source
                .get(&self.inner.settings)
                .await
                .map_err(AwsError::Setup)?;
            let mut signed = request.clone();
            if !signed.headers.iter().any(|(name, _)| name == header::USER_AGENT)
                && let Ok(agent) = HeaderValue::from_str(&self.inner.settings.user_agent)
            {
                signed.headers.push((header::USER_AGENT, agent));
            }
            let signer = Signer {
                service: &self.inner.service,
                region: &ready.region,
                credentials: &credentials,
                time: self.inner.now(),
                host: &ready.host,
                scheme: ready.scheme,
            };
            let headers = signer.headers(&signed, hash.clone()).map_err(AwsError::Setup)?;
            signed.headers.extend(headers);
            let mut http = ready.http.clone().response_limit(self.answer_kept);
            if let Some(limit) = self.response_timeout {
                http = http.response_timeout(limit);
            }
            let response = http.send(signed).await?;
            if second || !self.inner.mend(&response, &credentials).await {
                return Ok(response);
            }
            second = true;
        }
    }

    /// An AWS JSON 1.1 call: `target` as in `Logs_20140328.PutLogEvents`.
    pub async fn call(&self, target: &str, body: impl Into<bytes::Bytes>) -> Result<Response, AwsError> {
        let name = HeaderName::from_static("x-amz-target");
        let target = HeaderValue::from_str(target).map_err(|error| AwsError::Setup(error.to_string()))?;
        let kind = HeaderValue::from_static("application/x-amz-json-1.1");
        self.send(Request {
            method: ::http::Method::POST,
            target: "/".to_owned(),
            headers: vec![(header::CONTENT_TYPE, kind), (name, target)],
            body: body.into(),
        })
        .await
    }
}

async fn body_hash(request: &Request) -> String {
    if request.body.len() <= HASH_INLINE_MAX {
        return hash(&request.body);
    }
    let body = request.body.clone();
    match tokio::task::spawn_blocking(move || hash(&body)).await {
        Ok(hash) => hash,
        Err(_) => hash(&request.body),
    }
}

impl Inner {
    async fn ready(&self) -> Result<&Ready, AwsError> {
        self.ready.get_or_try_init(|| async { self.prepare() }).await
    }

    fn prepare(&self) -> Result<Ready, AwsError> {
        let region = self.settings.region.clone();
        let region = region.or_else(|| std::env::var("AWS_REGION").ok());
        let region = region.ok_or_else(|| AwsError::Setup("no `region`".to_owned()))?;
        let endpoint = match &self.settings.endpoint {
            Some(text) => AwsEndpoint::parse(text, self.settings.port)
                .map_err(|error| AwsError::Setup(error.to_string()))?,
            None => AwsEndpoint::of(&self.service.host_prefix, &region, false, false),
        };
        let place = Endpoint::tcp(&endpoint.host, endpoint.port);
        let tls = endpoint.is_tls.then(|| self.tls.clone());
        let http = HttpClient::new(place, tls, &self.net, None)
            .map_err(|error| AwsError::Setup(error.to_string()))?;
        let host = http.host().clone();
        let scheme = if endpoint.is_tls { "https" } else { "http" };
        Ok(Ready {
            region,
            http,
            host,
            scheme,
        })
    }

    fn now(&self) -> SystemTime {
        let skew = self.skew.load(Ordering::Relaxed);
        let by = Duration::from_secs(skew.unsigned_abs());
        if skew < 0 {
            SystemTime::now() - by
        } else {
            SystemTime::now() + by
        }
    }

    /// Whether a second try with other credentials or another time may help.
    async fn mend(&self, response: &Response, used: &aws_credential_types::Credentials) -> bool {
        let headers = response
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let Some(failure) = Failure::read(response.status, headers, &response.body) else {
            return false;
        };
        if failure.class != super::Class::Credentials {
            return false;
        }
        self.source.forget(used).await;
        true
    }
}
