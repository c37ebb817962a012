//! A client for one service in one region.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::http::{HeaderName, HeaderValue, header};
use tokio::sync::OnceCell;

use super::clock::Clock;
use super::credentials::{FAILURE_KEPT, Kept, Source, Wanted};
use super::denied::Denial;
use super::endpoint::{Flags, endpoint_of_env};
use super::region::region;
use super::sign::{Signer, hash};
use super::{AwsEndpoint, Class, Failure, Partition, Service, xml};
use crate::connect::Endpoint;
use crate::http::{HttpClient, HttpError, Request, Response};
use crate::net_config::NetConfig;
use crate::page;
use crate::proxy::{Proxy, process_env};
use crate::tls::ClientTls;

/// Most bytes of an answer that are kept by default: answers to 500 records are some 60 KiB.
const ANSWER_KEPT: usize = 1 << 20;
/// Bodies from here on are hashed on the CPU pool.
const HASH_INLINE_MAX: usize = 256 << 10;

/// Time to find out who we are.
const CALLER_LIMIT: Duration = Duration::from_secs(5);
/// How long nobody asks again who we are, where that could not be found out.
const CALLER_PAUSE: Duration = Duration::from_secs(60);

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
    ready: OnceCell<Ready>,
    /// Why it is not ready, and since when.
    failed: Mutex<Option<(Instant, String)>>,
    clock: Clock,
    /// Who we are, asked when the service did not say so in a denial; and when that was.
    caller: tokio::sync::Mutex<Option<(Instant, Option<String>)>>,
}

#[derive(Debug)]
struct Ready {
    region: String,
    source: Arc<Source>,
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
            ready: OnceCell::new(),
            failed: Mutex::default(),
            clock: Clock::default(),
            caller: tokio::sync::Mutex::default(),
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
        self.send_hashed(request, None).await
    }

    /// [`send`](Self::send) with the hash of the body, for who has made it where the body was made.
    pub async fn send_hashed(&self, request: Request, hash: Option<BodyHash>) -> Result<Response, AwsError> {
        let ready = self.inner.ready().await?;
        let hash = match hash {
            Some(hash) => hash,
            None => body_hash(&request).await,
        };
        let mut second = false;
        loop {
            let kept = ready.source.get().await.map_err(AwsError::Setup)?;
            let ahead = self.inner.clock.ahead();
            let mut signed = request.clone();
            if !signed.headers.iter().any(|(name, _)| name == header::USER_AGENT)
                && let Ok(agent) = HeaderValue::from_str(&self.inner.settings.user_agent)
            {
                signed.headers.push((header::USER_AGENT, agent));
            }
            let signer = Signer {
                service: &self.inner.service,
                region: &ready.region,
                credentials: &kept.credentials,
                time: Clock::time(ahead),
                host: &ready.host,
                scheme: ready.scheme,
            };
            let headers = signer.headers(&signed, hash.0.clone()).map_err(AwsError::Setup)?;
            signed.headers.extend(headers);
            let mut http = ready.http.clone().response_limit(self.answer_kept);
            if let Some(limit) = self.response_timeout {
                http = http.response_timeout(limit);
            }
            let response = http.send(signed).await?;
            if second || !self.inner.mend(ready, &response, ahead, &kept) {
                return Ok(response);
            }
            second = true;
        }
    }

    /// What to do about a denial, in a sentence: who may not do what, and the statement that is missing.
    /// Asks STS who we are where the service did not say. Not every service names the `action`, as in
    /// `s3:PutObject`, and the `resource`: what stands behind `arn:PARTITION:`.
    pub async fn explain(&self, failure: &Failure, action: Option<&str>, resource: Option<&str>) -> String {
        let mut denial = Denial::read(&failure.message);
        denial.action = denial.action.or_else(|| action.map(ToOwned::to_owned));
        if denial.resource.is_none()
            && let (Some(rest), Ok(ready)) = (resource, self.inner.ready().await)
        {
            let partition = Partition::of(&ready.region).name;
            denial.resource = Some(format!("arn:{partition}:{rest}"));
        }
        if denial.caller.is_none() {
            denial.caller = self.caller().await;
        }
        denial.help()
    }

    /// Who we are, asked once, or again after a while where there was no answer.
    async fn caller(&self) -> Option<String> {
        let mut known = self.inner.caller.lock().await;
        if let Some((at, caller)) = known.as_ref()
            && (caller.is_some() || at.elapsed() < CALLER_PAUSE)
        {
            return caller.clone();
        }
        let caller = self.ask_caller().await;
        *known = Some((Instant::now(), caller.clone()));
        caller
    }

    async fn ask_caller(&self) -> Option<String> {
        let settings = AwsSettings {
            endpoint: self.inner.settings.sts_endpoint.clone(),
            port: None,
            ..self.inner.settings.clone()
        };
        // The plugin's own authorities may be those of one private service.
        let sts = Self::new(Service::STS, settings, page::tls().ok()?, self.inner.net.clone());
        let request = Request {
            method: ::http::Method::POST,
            target: "/".to_owned(),
            headers: vec![(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/x-www-form-urlencoded"),
            )],
            body: bytes::Bytes::from_static(b"Action=GetCallerIdentity&Version=2011-06-15"),
        };
        let answer = tokio::time::timeout(CALLER_LIMIT, Box::pin(sts.send(request)))
            .await
            .ok()?
            .ok()?;
        let text = String::from_utf8_lossy(&answer.body);
        xml::element(&text, "Arn")
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

/// The SHA-256 of a request's body, as signatures want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyHash(String);

impl BodyHash {
    /// Of `body`: about 0.7 ms for a megabyte, so not on a thread that reads sockets.
    pub fn of(body: &[u8]) -> Self {
        Self(hash(body))
    }
}

async fn body_hash(request: &Request) -> BodyHash {
    if request.body.len() <= HASH_INLINE_MAX {
        return BodyHash::of(&request.body);
    }
    let body = request.body.clone();
    match tokio::task::spawn_blocking(move || BodyHash::of(&body)).await {
        Ok(hash) => hash,
        Err(_) => BodyHash::of(&request.body),
    }
}

impl Inner {
    async fn ready(&self) -> Result<&Ready, AwsError> {
        let prepare = || async {
            if let Some(why) = self.fresh_failure() {
                return Err(AwsError::Setup(why));
            }
            let prepared = self.prepare().await;
            if let Err(error) = &prepared {
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((Instant::now(), error.to_string()));
            }
            prepared
        };
        self.ready.get_or_try_init(prepare).await
    }

    /// Those who wait for the same search do not each search again.
    fn fresh_failure(&self) -> Option<String> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, why) = failed.as_ref()?;
        (at.elapsed() < FAILURE_KEPT).then(|| why.clone())
    }

    async fn prepare(&self) -> Result<Ready, AwsError> {
        let region = region(&self.settings).await.map_err(AwsError::Setup)?;
        let endpoint = self.endpoint(&region).map_err(AwsError::Setup)?;
        let place = Endpoint::tcp(&endpoint.host, endpoint.port);
        let setup = |error: String| AwsError::Setup(error);
        let proxy = Proxy::choose(None, &place, endpoint.is_tls, &self.net, &process_env);
        let proxy = proxy.map_err(|error| setup(error.to_string()))?;
        let tls = endpoint.is_tls.then(|| self.tls.clone());
        let http = HttpClient::new(place, tls, &self.net, proxy).map_err(|error| setup(error.to_string()))?;
        Ok(Ready {
            source: Source::shared(Wanted::new(&self.settings, &region), &region),
            region,
            host: http.host().clone(),
            http,
            scheme: if endpoint.is_tls { "https" } else { "http" },
        })
    }

    /// The option, else the variables that the SDKs know, else the service's own host.
    fn endpoint(&self, region: &str) -> Result<AwsEndpoint, String> {
        if let Some(text) = &self.settings.endpoint {
            let endpoint = AwsEndpoint::parse(text, self.settings.port);
            return endpoint.map_err(|error| format!("`endpoint`: {error}"));
        }
        if let Some(url) = endpoint_of_env(self.service.env_name, &process_env) {
            let endpoint = AwsEndpoint::parse(&url, None);
            return endpoint.map_err(|error| format!("AWS_ENDPOINT_URL: {error}"));
        }
        let flags = Flags::of_env(&process_env)?;
        let mut endpoint = AwsEndpoint::of(&self.service.host_prefix, region, flags.fips, flags.dual_stack);
        endpoint.port = self.settings.port.unwrap_or(endpoint.port);
        Ok(endpoint)
    }

    /// Whether a second try may help: with the service's time, if the request was signed with one that
    /// was `ahead` of ours by so much, or with other credentials than those that were `used`.
    fn mend(&self, ready: &Ready, response: &Response, ahead: i64, used: &Kept) -> bool {
        let failure = Failure::of(response).filter(|failure| failure.class == Class::Credentials);
        let Some(failure) = failure else {
            return false;
        };
        let set = self.clock.set_by(&response.headers, ahead);
        if let Some(ahead) = set {
            tracing::warn!(
                target: "aws",
                "{}: our clock is {} s off; requests are signed with the service's time",
                self.service.title,
                -ahead
            );
        }
        // A clock that is behind has kept credentials beyond their end.
        if set.is_none() || failure.code.starts_with("ExpiredToken") {
            return ready.source.forget(used) || set.is_some();
        }
        true
    }
}

/// The `User-Agent` of Fluent Bit: `base`, `-` and where it runs: `FLB_AWS_USER_AGENT` (`none` for
/// nothing); else `ecs` by the metadata's variable, `k8s` in a pod. Fluent Bit learns the last from its
/// filter; each pod has a variable too.
pub fn user_agent(base: &str, env: &dyn Fn(&str) -> Option<String>) -> String {
    let is_set = |name| env(name).is_some_and(|value| !value.is_empty());
    let place = match env("FLB_AWS_USER_AGENT").filter(|given| !given.is_empty()) {
        Some(given) => given,
        None if is_set("ECS_CONTAINER_METADATA_URI_V4") => "ecs".to_owned(),
        None if is_set("KUBERNETES_SERVICE_HOST") => "k8s".to_owned(),
        None => "none".to_owned(),
    };
    // Control characters are no part of a header.
    let can_be_sent = place.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    match can_be_sent && !place.eq_ignore_ascii_case("none") {
        true => format!("{base}-{place}"),
        false => base.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(pairs: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| {
            pairs
                .iter()
                .find(|(own, _)| *own == name)
                .map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn agents_say_where_they_run() {
        let ecs = ("ECS_CONTAINER_METADATA_URI_V4", "http://169.254.170.2/v4/x");
        assert_eq!(user_agent("p", &env(&[])), "p");
        let pod = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
        assert_eq!(user_agent("p", &env(&[pod, ecs])), "p-ecs");
        assert_eq!(user_agent("p", &env(&[pod])), "p-k8s");
        for none in ["None", "a\r\nX: y"] {
            assert_eq!(user_agent("p", &env(&[ecs, ("FLB_AWS_USER_AGENT", none)])), "p");
        }
        assert_eq!(
            user_agent("p", &env(&[ecs, ("FLB_AWS_USER_AGENT", "ecs-init")])),
            "p-ecs-init"
        );
    }
}
