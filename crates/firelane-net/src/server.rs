//! A small HTTP/1.1 server over a [`Listener`]: for inputs that take records by HTTP.
//!
//! Limits: [`ServerOptions`]. A body beyond its limit is answered 413, a header beyond [`HEAD_MAX`] 431, a
//! client that takes too long for its header or between two pieces of its body is cut off. Other clients
//! notice nothing. A handler may take its time: that is back-pressure, and only its own connection waits.
//! When told to stop, it closes idle connections, lets requests in flight finish, and cuts off what is left
//! at the deadline. Not here: chunked responses, HTTP/2, routes.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{CONNECTION, CONTENT_LENGTH};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming as Arriving};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::listen::{Incoming, Listener, Peer};

/// Largest header of a request.
pub const HEAD_MAX: usize = 64 << 10;

/// Bounds of a server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Largest body, in bytes as sent; more is answered 413.
    pub body_max: usize,
    /// Longest time for the header of a request; also how long an idle connection is kept.
    pub header_timeout: Duration,
    /// Longest time between two pieces of a body.
    pub body_timeout: Duration,
    /// Most connections at once; more wait in the backlog.
    pub connections_max: usize,
    /// Keep connections open between requests.
    pub keepalive: bool,
    /// After the signal to stop: longest time for requests in flight.
    pub grace: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            body_max: 4 << 20,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            connections_max: 4096,
            keepalive: true,
            grace: Duration::from_secs(5),
        }
    }
}

/// A request with its whole body.
#[derive(Debug)]
pub struct ServerRequest {
    /// As sent.
    pub method: Method,
    /// Without query; begins with `/`.
    pub path: String,
    /// Behind the `?`.
    pub query: Option<String>,
    /// As sent.
    pub headers: HeaderMap,
    /// As sent: still compressed where `Content-Encoding` says so.
    pub body: Bytes,
    /// Who sent it.
    pub peer: Peer,
}

/// A response.
#[derive(Debug, Clone)]
pub struct ServerResponse {
    /// Its status.
    pub status: StatusCode,
    /// Headers beside `Content-Length`, `Date` and `Connection`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The whole body.
    pub body: Bytes,
}

impl ServerResponse {
    /// A response without body.
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// A response in plain text.
    pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        let plain = HeaderValue::from_static("text/plain");
        Self {
            status,
            headers: vec![(::http::header::CONTENT_TYPE, plain)],
            body: text.into(),
        }
    }
}

/// Answers requests. Every async closure from request to response is one.
pub trait Handler: Send + Sync + 'static {
    /// The answer. Dropped where the client hangs up first.
    fn handle(&self, request: ServerRequest) -> impl Future<Output = ServerResponse> + Send;
}

impl<F, Answer> Handler for F
where
    F: Fn(ServerRequest) -> Answer + Send + Sync + 'static,
    Answer: Future<Output = ServerResponse> + Send,
{
    fn handle(&self, request: ServerRequest) -> impl Future<Output = ServerResponse> + Send {
        self(request)
    }
}

/// Told what a server sees, as it happens: for metrics.
pub trait Watcher: Send + Sync + 'static {
    /// A connection was accepted.
    fn connected(&self);
    /// A connection ended by an error: handshake, malformed or slow request, reset.
    fn broken(&self);
    /// A request was refused because of its size; its connection ends.
    fn too_large(&self);
}

/// Serves until `stop` turns true (or its sender is gone), then finishes within `options.grace`.
/// Returns how many connections were cut off.
///
/// # Cancel safety
/// When dropped, all connections are cut off.
pub async fn serve<H: Handler, W: Watcher>(
    listener: Listener,
    options: ServerOptions,
    handler: Arc<H>,
    watcher: Arc<W>,
    mut stop: watch::Receiver<bool>,
) -> usize {
    let slots = Arc::new(Semaphore::new(
        options.connections_max.clamp(1, Semaphore::MAX_PERMITS),
    ));
    let mut tasks = JoinSet::new();
    loop {
        let slot = tokio::select! {
            biased;
            () = told(&mut stop) => break,
            slot = slots.clone().acquire_owned() => slot,
        };
        let incoming = tokio::select! {
            biased;
            () = told(&mut stop) => break,
            incoming = listener.accept() => incoming,
        };
        watcher.connected();
        while tasks.try_join_next().is_some() {}
        let (options, handler) = (options.clone(), handler.clone());
        let (watcher, stop) = (watcher.clone(), stop.clone());
        tasks.spawn(async move {
            let _slot = slot;
            connection(incoming, &options, &*handler, &*watcher, stop).await;
        });
    }
    drop(listener);
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(options.grace, all).await.is_ok() {
        return 0;
    }
    let left = tasks.len();
    tasks.shutdown().await;
    left
}

/// Waits for the signal to stop, or the end of whoever could give it.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn connection<H: Handler, W: Watcher>(
    incoming: Incoming,
    options: &ServerOptions,
    handler: &H,
    watcher: &W,
    mut stop: watch::Receiver<bool>,
) {
    let broken = |error: &dyn std::fmt::Display, peer: &Peer| {
        watcher.broken();
        tracing::debug!(%error, %peer, "http connection ended by an error");
    };
    let peer = incoming.peer.clone();
    let (stream, _) = match incoming.establish().await {
        Ok(established) => established,
        Err(error) => return broken(&error, &peer),
    };
    let service = service_fn(|request| answer(request, &peer, options, handler, watcher));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(HEAD_MAX)
        .max_header_size(HEAD_MAX)
        .keep_alive(options.keepalive)
        .title_case_headers(true);
    let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = told(&mut stop) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        broken(&error, &peer);
    }
}

async fn answer<H: Handler, W: Watcher>(
    request: ::http::Request<Arriving>,
    peer: &Peer,
    options: &ServerOptions,
    handler: &H,
    watcher: &W,
) -> Result<::http::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = match whole(body, options).await {
        Ok(body) => body,
        Err(refused) => {
            let (status, text) = match refused {
                Refused::TooLarge => {
                    watcher.too_large();
                    (StatusCode::PAYLOAD_TOO_LARGE, "body too large\n")
                }
                Refused::TooSlow => (StatusCode::REQUEST_TIMEOUT, "body too slow\n"),
                Refused::Broken => (StatusCode::BAD_REQUEST, "body incomplete\n"),
            };
            // The rest of the body is still on its way: this connection cannot be used again.
            let mut response = rendered(ServerResponse::text(status, text));
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
            return Ok(response);
        }
    };
    let request = ServerRequest {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        headers: head.headers,
        body,
        peer: peer.clone(),
    };
    Ok(rendered(handler.handle(request).await))
}

enum Refused {
    TooLarge,
    TooSlow,
    Broken,
}

async fn whole(mut body: Arriving, options: &ServerOptions) -> Result<Bytes, Refused> {
    let announced = body.size_hint().exact();
    if announced.is_some_and(|bytes| bytes > options.body_max as u64) {
        return Err(Refused::TooLarge);
    }
    let (mut first, mut all) = (Bytes::new(), BytesMut::new());
    loop {
        let frame = tokio::time::timeout(options.body_timeout, body.frame()).await;
        let frame = match frame.map_err(|_| Refused::TooSlow)? {
            None => break,
            Some(frame) => frame.map_err(|_| Refused::Broken)?,
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.len() + data.len() > options.body_max {
            return Err(Refused::TooLarge);
        }
        if first.is_empty() && all.is_empty() {
            first = data; // small bodies come in one piece: no copy
            continue;
        }
        if all.is_empty() {
            // What is announced is bounded, but memory is only taken for what has come, doubling.
            all.reserve((first.len() + data.len()) * 2);
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

fn rendered(response: ServerResponse) -> ::http::Response<Full<Bytes>> {
    let length = response.body.len();
    let mut out = ::http::Response::new(Full::new(response.body));
    *out.status_mut() = response.status;
    let headers = out.headers_mut();
    for (name, value) in response.headers {
        headers.append(name, value);
    }
    if response.status != StatusCode::NO_CONTENT {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    out
}
