//! Our HTTP client as the one that `aws-config` asks credentials with: no second stack for sockets and TLS.

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

use super::{AwsEndpoint, EndpointError};
use crate::connect::Endpoint;
use crate::http::{HttpClient, HttpError, Phase, Request, Response};
use crate::net_config::NetConfig;
use crate::proxy::{Proxy, process_env};
use crate::tls::{ClientTls, TlsConfig};

/// Most bytes of an answer: credentials are some KiB.
const ANSWER_MAX: usize = 256 << 10;
/// Time for a connection and for an answer, unless the caller sets less.
const LIMIT: Duration = Duration::from_secs(5);

/// TLS with the system's roots.
pub(super) fn tls() -> Result<ClientTls, String> {
    let config = TlsConfig {
        tls: true.into(),
        ..TlsConfig::default()
    };
    ClientTls::build(&config).map_err(|error| error.to_string())
}

/// An HTTP client for the SDK.
pub(super) fn client() -> Result<SharedHttpClient, String> {
    let tls = tls()?;
    Ok(http_client_fn(move |settings, _| {
        SharedHttpConnector::new(Caller {
            tls: tls.clone(),
            connect: settings.connect_timeout().unwrap_or(LIMIT),
            read: settings.read_timeout().unwrap_or(LIMIT),
        })
    }))
}

/// One connection for each call: there are few.
#[derive(Debug)]
struct Caller {
    tls: ClientTls,
    connect: Duration,
    read: Duration,
}

impl HttpConnector for Caller {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (tls, connect, read) = (self.tls.clone(), self.connect, self.read);
        HttpConnectorFuture::new(async move { call(request, tls, connect, read).await })
    }
}

async fn call(
    request: HttpRequest,
    tls: ClientTls,
    connect_limit: Duration,
    read: Duration,
) -> Result<HttpResponse, ConnectorError> {
    let user = |text: String| ConnectorError::user(text.into());
    let (place, target) = parts(request.uri()).map_err(|error| user(error.to_string()))?;
    let client = connect(&place, place.is_tls.then_some(tls), connect_limit).map_err(user)?;
    let method = Method::from_bytes(request.method().as_bytes()).map_err(|error| user(error.to_string()))?;
    let header = |(name, value): (&str, &str)| {
        Some((
            HeaderName::from_bytes(name.as_bytes()).ok()?,
            HeaderValue::from_str(value).ok()?,
        ))
    };
    let headers = request.headers().iter().filter_map(header).collect();
    let body = request
        .body()
        .bytes()
        .map(Bytes::copy_from_slice)
        .unwrap_or_default();
    let message = Request {
        method,
        target,
        headers,
        body,
    };
    let answer = client.response_timeout(read).send(message).await;
    let answer = answer.map_err(failure)?;
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

/// Where a URL leads, and its path with the query.
fn parts(url: &str) -> Result<(AwsEndpoint, String), EndpointError> {
    let at = url.find("://").map_or(0, |at| at + 3);
    let path = url[at..].find('/').map_or(url.len(), |slash| at + slash);
    let target = if path == url.len() { "/" } else { &url[path..] };
    Ok((AwsEndpoint::parse(&url[..path], None)?, target.to_owned()))
}

/// Gets a page.
pub(super) async fn get(url: &str) -> Result<Response, String> {
    let (place, target) = parts(url).map_err(|error| error.to_string())?;
    let tls = place.is_tls.then(tls).transpose()?;
    let client = connect(&place, tls, LIMIT)?.response_timeout(LIMIT);
    let request = Request {
        method: Method::GET,
        target,
        headers: Vec::new(),
        body: Bytes::new(),
    };
    client.send(request).await.map_err(|error| error.to_string())
}

fn connect(place: &AwsEndpoint, tls: Option<ClientTls>, limit: Duration) -> Result<HttpClient, String> {
    let net = NetConfig {
        connect_timeout: limit.into(),
        ..NetConfig::default()
    };
    let endpoint = Endpoint::tcp(&place.host, place.port);
    let proxy = Proxy::choose(None, &endpoint, place.is_tls, &net, &process_env);
    let proxy = proxy.map_err(|error| error.to_string())?;
    let client = HttpClient::new(endpoint, tls, &net, proxy).map_err(|error| error.to_string())?;
    Ok(client.response_limit(ANSWER_MAX))
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
