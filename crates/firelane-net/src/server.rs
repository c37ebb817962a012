//! A small HTTP/1.1 server over a [`Listener`]: for inputs that take records by HTTP.
//!
//! Limits: [`ServerOptions`]. A body beyond its limit is answered 413, a header beyond [`HEAD_MAX`] 431, a
//! client that takes too long for its header, between two pieces of its body or for all of it is cut off.
//! Other clients notice nothing. A handler may take its time: that is back-pressure, and only its own
//! connection waits. When told to stop, it closes idle connections, lets requests in flight finish, and cuts
//! off what is left at the deadline. Not here: chunked responses, HTTP/2, routes.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::header::{CONNECTION, CONTENT_LENGTH};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming as Arriving};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::limits::{self, Part, Slots, Unfinished};
use crate::listen::{HandshakeError, Incoming, Listener, Peer};

/// Largest header of a request.
pub const HEAD_MAX: usize = 64 << 10;

/// Bytes per second that a body comes in at least, beside its first [`ServerOptions::body_timeout`].
pub const BODY_RATE: u32 = 1024;

/// Bounds of a server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Largest body, in bytes as sent; more is answered 413.
    pub body_max: usize,
    /// Longest time for the header of a request; also how long an idle connection is kept.
    pub header_timeout: Duration,
    /// Longest time between two pieces of a body, and for all of one beside the time of [`BODY_RATE`].
    pub body_timeout: Duration,
    /// Beyond so many bytes of unfinished bodies, those that take longer than `patience` are cut off.
    pub unfinished_mark: usize,
    /// Longest time of a body while so much is unfinished.
    pub patience: Duration,
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
            unfinished_mark: Unfinished::MARK,
            patience: Duration::from_secs(10),
            connections_max: limits::connections_max().min(4096),
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
    let slots = Slots::new(options.connections_max);
    let unfinished = Unfinished::new(options.unfinished_mark);
    let mut tasks = JoinSet::new();
    loop {
        let slot = tokio::select! {
            biased;
            () = told(&mut stop) => break,
            slot = slots.take(listener.address()) => slot,
        };
        let incoming = tokio::select! {
            biased;
            () = told(&mut stop) => break,
            incoming = listener.accept() => incoming,
        };
        watcher.connected();
        while tasks.try_join_next().is_some() {}
        let (options, handler) = (options.clone(), handler.clone());
        let (watcher, stop, unfinished) = (watcher.clone(), stop.clone(), unfinished.clone());
        tasks.spawn(async move {
            let _slot = slot;
            let server = Server {
                options: &options,
                handler: &*handler,
                watcher: &*watcher,
                unfinished: &unfinished,
            };
            server.connection(incoming, stop).await;
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

/// What every connection of a server needs.
struct Server<'s, H, W> {
    options: &'s ServerOptions,
    handler: &'s H,
    watcher: &'s W,
    unfinished: &'s Arc<Unfinished>,
}

impl<H: Handler, W: Watcher> Server<'_, H, W> {
    async fn connection(&self, incoming: Incoming, mut stop: watch::Receiver<bool>) {
        let options = self.options;
        let broken = |error: &dyn std::fmt::Display, peer: &Peer| {
            self.watcher.broken();
            tracing::debug!(%error, %peer, "http connection ended by an error");
        };
        let peer = incoming.peer.clone();
        let (stream, _) = match incoming.establish().await {
            Ok(established) => established,
            Err(HandshakeError::Silent { .. }) => return,
            Err(error) => return broken(&error, &peer),
        };
        let service = service_fn(|request| self.answer(request, &peer));
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

    async fn answer(
        &self,
        request: ::http::Request<Arriving>,
        peer: &Peer,
    ) -> Result<::http::Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = match whole(body, self.options, self.unfinished.part()).await {
            Ok(body) => body,
            Err(refused) => {
                let (status, text) = match refused {
                    Refused::TooLarge => {
                        self.watcher.too_large();
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
        Ok(rendered(self.handler.handle(request).await))
    }
}

enum Refused {
    TooLarge,
    TooSlow,
    Broken,
}

async fn whole(mut body: Arriving, options: &ServerOptions, mut part: Part) -> Result<Bytes, Refused> {
    let announced = body.size_hint().exact();
    if announced.is_some_and(|bytes| bytes > options.body_max as u64) {
        return Err(Refused::TooLarge);
    }
    let (mut first, mut all) = (Bytes::new(), BytesMut::new());
    let begun = Instant::now();
    loop {
        let so_far = first.len() + all.len();
        part.set(so_far);
        if part.is_over() && begun.elapsed() > options.patience {
            return Err(Refused::TooSlow);
        }
        let earned = options.body_timeout + Duration::from_secs(so_far as u64) / BODY_RATE;
        let left = earned.saturating_sub(begun.elapsed()).min(options.body_timeout);
        let frame = tokio::time::timeout(left, body.frame()).await;
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
