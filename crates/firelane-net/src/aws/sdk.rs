//! Our HTTP client as the one that `aws-config` asks credentials with: no second stack for sockets and TLS.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Method};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

use super::clock::Clock;
use super::{AwsEndpoint, Class, EndpointError, Failure};
use crate::connect::Endpoint;
use crate::http::{HttpClient, HttpError, Phase, Request, Response};
use crate::net_config::NetConfig;
use crate::proxy::{Proxy, process_env};
use crate::tls::{ClientTls, TlsConfig};

/// Most bytes of an answer: credentials are some KiB.
const ANSWER_MAX: usize = 256 << 10;
/// Time for a connection and for an answer, unless the caller sets less.
const LIMIT: Duration = Duration::from_secs(5);
/// Most calls that are noted.
const TRACE_MAX: usize = 16;

/// TLS with the system's roots.
pub(super) fn tls() -> Result<ClientTls, String> {
    let config = TlsConfig {
        tls: true.into(),
        ..TlsConfig::default()
    };
    ClientTls::build(&config).map_err(|error| error.to_string())
}

/// What was asked and what came of it, for the text of an error. Paths are left out: some are secrets.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `place` is asked; gives the number of the note, unless there are enough.
    fn begin(&self, place: &AwsEndpoint) -> Option<usize> {
        let mut lines = self.lines();
        let at = lines.len();
        if at == TRACE_MAX {
            return None;
        }
        lines.push(format!(
            "{}: no answer yet",
            Endpoint::tcp(&place.host, place.port)
        ));
        Some(at)
    }

    /// What came of it; an empty text for success.
    fn end(&self, at: Option<usize>, text: String) {
        let mut lines = self.lines();
        if let Some(line) = at.and_then(|at| lines.get_mut(at)) {
            *line = text;
        }
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        self.lines().clear();
    }

    /// What has failed or is not answered, each once.
    pub(super) fn text(&self) -> Option<String> {
        let mut told: Vec<String> = Vec::new();
        for line in self.lines().iter().filter(|line| !line.is_empty()) {
            if !told.contains(line) {
                told.push(line.clone());
            }
        }
        (!told.is_empty()).then(|| told.join(", "))
    }
}

/// An HTTP client for the SDK. `clock` is set by answers that refuse a request for its time.
pub(super) fn client(trace: &Trace, clock: &Clock) -> SharedHttpClient {
    let (trace, clock) = (trace.clone(), clock.clone());
    http_client_fn(move |settings, _| {
        SharedHttpConnector::new(Caller {
            trace: trace.clone(),
            clock: clock.clone(),
            connect: settings.connect_timeout().unwrap_or(LIMIT),
            read: settings.read_timeout().unwrap_or(LIMIT),
        })
    })
}

/// One connection for each call: there are few.
#[derive(Debug, Clone)]
struct Caller {
    trace: Trace,
    clock: Clock,
    connect: Duration,
    read: Duration,
}

impl HttpConnector for Caller {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let caller = self.clone();
        HttpConnectorFuture::new(async move { caller.send(request).await })
    }
}

impl Caller {
    async fn send(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let user = |text: String| ConnectorError::user(text.into());
        let (place, target) = parts(request.uri()).map_err(|error| user(error.to_string()))?;
        let message = message(&request, target).map_err(user)?;
        let client = connect(&place, self.connect).map_err(user)?;
        let client = client.response_timeout(self.read);
        let ahead = self.clock.ahead();
        let answer = exchange(&client, &place, message, &self.trace).await?;
        if Failure::of(&answer).is_some_and(|failure| failure.class == Class::Credentials) {
            self.clock.set_by(&answer.headers, ahead);
        }
        let status = StatusCode::try_from(answer.status).map_err(|error| user(error.to_string()))?;
        let mut response = HttpResponse::new(status, SdkBody::from(answer.body));
        for (name, value) in &answer.headers {
            if let Ok(value) = value.to_str() {
                response
                    .headers_mut()
                    .append(name.as_str().to_owned(), value.to_owned());
            }
        }
        Ok(response)
    }
}

/// The SDK's request as ours.
fn message(request: &HttpRequest, target: String) -> Result<Request, String> {
    let header = |(name, value): (&str, &str)| {
        Some((
            HeaderName::from_bytes(name.as_bytes()).ok()?,
            HeaderValue::from_str(value).ok()?,
        ))
    };
    let body = request.body().bytes();
    Ok(Request {
        method: Method::from_bytes(request.method().as_bytes()).map_err(|error| error.to_string())?,
        target,
        headers: request.headers().iter().filter_map(header).collect(),
        body: body.map(Bytes::copy_from_slice).unwrap_or_default(),
    })
}

/// Sends a request and notes what came of it.
async fn exchange(
    client: &HttpClient,
    place: &AwsEndpoint,
    message: Request,
    trace: &Trace,
) -> Result<Response, ConnectorError> {
    let note = trace.begin(place);
    let answer = client.send(message).await;
    trace.end(
        note,
        match &answer {
            Ok(answer) => Failure::of(answer).map_or_else(String::new, |failure| {
                format!("{} answered {failure}", client.endpoint())
            }),
            Err(error) => error.to_string(),
        },
    );
    answer.map_err(failure)
}

/// Where a URL leads, and its path with the query.
fn parts(url: &str) -> Result<(AwsEndpoint, String), EndpointError> {
    let at = url.find("://").map_or(0, |at| at + 3);
    let path = url[at..].find('/').map_or(url.len(), |slash| at + slash);
    let target = if path == url.len() { "/" } else { &url[path..] };
    Ok((AwsEndpoint::parse(&url[..path], None)?, target.to_owned()))
}

/// Gets a page.
pub(super) async fn get(url: &str, trace: &Trace) -> Result<Response, String> {
    let (place, target) = parts(url).map_err(|error| error.to_string())?;
    let client = connect(&place, LIMIT)?.response_timeout(LIMIT);
    let request = Request {
        method: Method::GET,
        target,
        headers: Vec::new(),
        body: Bytes::new(),
    };
    let answer = exchange(&client, &place, request, trace).await;
    answer.map_err(|_| "there is no answer".to_owned())
}

fn connect(place: &AwsEndpoint, limit: Duration) -> Result<HttpClient, String> {
    let net = NetConfig {
        connect_timeout: limit.into(),
        keepalive: false.into(),
        ..NetConfig::default()
    };
    let endpoint = Endpoint::tcp(&place.host, place.port);
    let proxy = match is_near(&place.host) {
        true => None,
        false => Proxy::choose(None, &endpoint, place.is_tls, &net, &process_env)
            .map_err(|error| error.to_string())?,
    };
    let tls = place.is_tls.then(tls).transpose()?;
    let client = HttpClient::new(endpoint, tls, &net, proxy).map_err(|error| error.to_string())?;
    Ok(client.response_limit(ANSWER_MAX))
}

/// This machine, or what stands beside it (container and instance metadata): never behind a proxy, and
/// their tokens are none of its business.
fn is_near(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_link_local(),
        // fd00:ec2::/32 is that of the instance and of EKS.
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback() || ip.is_unicast_link_local() || ip.segments()[..2] == [0xfd00, 0xec2]
        }
        Err(_) => bare.eq_ignore_ascii_case("localhost"),
    }
}

fn failure(error: HttpError) -> ConnectorError {
    match &error {
        HttpError::Timeout {
            phase: Phase::Write | Phase::Response | Phase::Body,
            ..
        } => ConnectorError::timeout(error.into()),
        _ => ConnectorError::io(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_two_parts() {
        let (place, target) = parts("http://[::1]:80/a?b=/c").unwrap();
        assert_eq!((place.host.as_str(), target.as_str()), ("[::1]", "/a?b=/c"));
        let (place, target) = parts("https://host").unwrap();
        assert_eq!((place.port, place.is_tls, target.as_str()), (443, true, "/"));
        assert!(parts("ftp://host/").is_err());
    }

    #[test]
    fn neighbours_are_known() {
        for host in [
            "127.0.0.1",
            "169.254.170.2",
            "169.254.169.254",
            "[::1]",
            "[fd00:ec2::254]",
            "LocalHost",
        ] {
            assert!(is_near(host), "{host}");
        }
        for host in ["10.0.0.1", "sts.us-east-1.amazonaws.com", "[fd00:ec3::254]"] {
            assert!(!is_near(host), "{host}");
        }
    }

    #[test]
    fn a_trace_is_bounded_and_tells_each_failure_once() {
        let trace = Trace::default();
        let place = AwsEndpoint::parse("http://h:1", None).unwrap();
        assert_eq!(trace.text(), None);
        let first = trace.begin(&place);
        trace.end(first, String::new());
        for _ in 0..50 {
            let note = trace.begin(&place);
            trace.end(note, "refused".to_owned());
        }
        assert_eq!(trace.text().as_deref(), Some("refused"));
        trace.clear();
        trace.begin(&place);
        assert_eq!(trace.text().as_deref(), Some("h:1: no answer yet"));
        assert_eq!(trace.lines().len(), 1);
    }
}
