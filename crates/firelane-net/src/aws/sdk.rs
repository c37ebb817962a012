//! Our HTTP client as the one that `aws-config` asks credentials with: no second stack for sockets and TLS.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::http::header::{AUTHORIZATION, HOST};
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
use super::{AwsEndpoint, Class, Failure};
use crate::connect::Endpoint;
use crate::http::{HttpClient, HttpError, Phase, Request, Response};
use crate::page;

/// Time for a connection and for an answer, unless the caller sets less.
const LIMIT: Duration = Duration::from_secs(5);
/// Most calls that are noted.
const TRACE_MAX: usize = 16;

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

/// An HTTP client for the SDK. `clock` is set by answers that refuse a request for its time. What is
/// asked of STS goes to `sts` where that is given.
pub(super) fn client(trace: &Trace, clock: &Clock, sts: Option<AwsEndpoint>) -> SharedHttpClient {
    let (trace, clock) = (trace.clone(), clock.clone());
    http_client_fn(move |settings, _| {
        SharedHttpConnector::new(Caller {
            trace: trace.clone(),
            clock: clock.clone(),
            sts: sts.clone(),
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
    sts: Option<AwsEndpoint>,
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
        let (mut place, target) = page::parts(request.uri()).map_err(|error| user(error.to_string()))?;
        let mut message = message(&request, target).map_err(user)?;
        if let Some(sts) = self.sts.filter(|_| is_for_sts(&message)) {
            send_to(&sts, &place, &mut message);
            place = sts;
        }
        let client = page::client(&place, self.connect).map_err(user)?;
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

/// Of all that the chain asks, only STS has forms with an action.
fn is_for_sts(message: &Request) -> bool {
    message.method == Method::POST && message.body.starts_with(b"Action=")
}

/// A signature holds for the name that was signed, so that is kept as `Host`.
fn send_to(place: &AwsEndpoint, signed: &AwsEndpoint, message: &mut Request) {
    let is_signed = message.headers.iter().any(|(name, _)| name == AUTHORIZATION);
    if !is_signed || place == signed {
        return;
    }
    let default = if signed.is_tls { 443 } else { 80 };
    let host = match signed.port == default {
        true => signed.host.clone(),
        false => format!("{}:{}", signed.host, signed.port),
    };
    if let Ok(host) = HeaderValue::from_str(&host) {
        message.headers.retain(|(name, _)| name != HOST);
        message.headers.push((HOST, host));
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

/// Gets a page.
pub(super) async fn get(url: &str, trace: &Trace) -> Result<Response, String> {
    let (place, target) = page::parts(url).map_err(|error| error.to_string())?;
    let client = page::client(&place, LIMIT)?.response_timeout(LIMIT);
    let answer = exchange(&client, &place, page::request(target), trace).await;
    answer.map_err(|_| "there is no answer".to_owned())
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

    #[test]
    fn signed_requests_keep_their_host_elsewhere() {
        let place = |text| AwsEndpoint::parse(text, None).unwrap();
        let (mine, theirs) = (
            place("http://127.0.0.1:4566"),
            place("https://sts.us-east-1.amazonaws.com"),
        );
        let request = |body: &'static str, headers: &[(HeaderName, &'static str)]| Request {
            method: Method::POST,
            target: "/".to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
                .collect(),
            body: Bytes::from_static(body.as_bytes()),
        };
        let host = |mut message: Request, from: &AwsEndpoint| {
            send_to(&mine, from, &mut message);
            let found = message.headers.iter().find(|(name, _)| name == HOST);
            found.map(|(_, value)| value.to_str().unwrap().to_owned())
        };
        let web = request("Action=AssumeRoleWithWebIdentity&Version=2011-06-15", &[]);
        assert!(is_for_sts(&web) && !is_for_sts(&request("{}", &[])));
        assert_eq!(host(web, &theirs), None);
        let role = || request("Action=AssumeRole", &[(AUTHORIZATION, "AWS4-HMAC-SHA256 x")]);
        assert_eq!(
            host(role(), &theirs).as_deref(),
            Some("sts.us-east-1.amazonaws.com")
        );
        assert_eq!(
            host(role(), &place("http://sts.test:81")).as_deref(),
            Some("sts.test:81")
        );
        assert_eq!(host(role(), &mine), None);
    }
}
