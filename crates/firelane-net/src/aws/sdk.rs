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

use super::AwsEndpoint;
use crate::connect::Endpoint;
use crate::http::{HttpClient, HttpError, Phase, Request};
use crate::net_config::NetConfig;
use crate::proxy::{Proxy, process_env};
use crate::tls::ClientTls;

/// Most bytes of an answer: credentials are some KiB.
const ANSWER_MAX: usize = 256 << 10;
/// Time for a connection and for an answer, unless the caller sets less.
const LIMIT: Duration = Duration::from_secs(5);

/// An HTTP client for the SDK; it speaks TLS with `tls`.
pub(super) fn client(tls: ClientTls) -> SharedHttpClient {
    http_client_fn(move |settings, _| {
        SharedHttpConnector::new(Caller {
            tls: tls.clone(),
            connect: settings.connect_timeout().unwrap_or(LIMIT),
            read: settings.read_timeout().unwrap_or(LIMIT),
        })
    })
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
    connect: Duration,
    read: Duration,
) -> Result<HttpResponse, ConnectorError> {
    let user = |text: String| ConnectorError::user(text.into());
    let uri = request.uri().to_owned();
    let at = uri.find("://").map_or(0, |at| at + 3);
    let path = uri[at..].find('/').map_or(uri.len(), |slash| at + slash);
    let place = AwsEndpoint::parse(&uri[..path], None).map_err(|error| user(error.to_string()))?;
    let target = if path == uri.len() {
        "/".to_owned()
    } else {
        uri[path..].to_owned()
    };
    let net = NetConfig {
        connect_timeout: connect.into(),
        ..NetConfig::default()
    };
    let endpoint = Endpoint::tcp(&place.host, place.port);
    let proxy = Proxy::choose(None, &endpoint, place.is_tls, &net, &process_env);
    let proxy = proxy.map_err(|error| user(error.to_string()))?;
    let client = HttpClient::new(endpoint, place.is_tls.then_some(tls), &net, proxy);
    let client = client.map_err(|error| user(error.to_string()))?;
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
    let answer = client
        .response_limit(ANSWER_MAX)
        .response_timeout(read)
        .send(message)
        .await;
    let answer = answer.map_err(|error| failure(error))?;
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

fn failure(error: HttpError) -> ConnectorError {
    match &error {
        HttpError::Timeout {
            phase: Phase::Write | Phase::Response | Phase::Body,
            ..
        } => ConnectorError::timeout(error.into()),
        _ => ConnectorError::io(error.into()),
    }
}
