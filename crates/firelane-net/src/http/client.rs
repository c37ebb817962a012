//! The client itself: pool, exchange, deadlines.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ::http::header::{CONNECTION, HOST, PROXY_AUTHORIZATION};
use ::http::{HeaderMap, HeaderValue, Uri};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{HttpError, Phase, Request, Response};
use crate::connect::{Connector, Endpoint};
use crate::net_config::{NetConfig, NetError};
use crate::proxy::Proxy;
use crate::stream::{Counted, Moved};
use crate::tls::ClientTls;

/// Bytes of a response body that are kept by default, as Fluent Bit's buffer.
pub const RESPONSE_KEPT: usize = 4096;
/// Time for a whole response by default (`http.response_timeout`).
pub const RESPONSE_LIMIT: Duration = Duration::from_secs(60);
/// Longest time to write a request, however it moves.
pub const WRITE_MAX: Duration = Duration::from_secs(600);
/// Most bytes of a response body that are read to keep a connection.
pub const DRAIN_MAX: usize = 1 << 20;
/// Largest head of a response.
const HEAD_MAX: usize = 64 << 10;
/// Most idle connections.
const IDLE_MAX: usize = 64;
/// Longest wait until a pooled connection says that it is ready.
const READY_LIMIT: Duration = Duration::from_secs(1);

/// A client for one destination. Cheap to clone; clones share the pool.
#[derive(Clone)]
pub struct HttpClient {
    inner: Arc<Inner>,
    response_limit: usize,
    response_timeout: Duration,
}

struct Inner {
    connector: Connector,
    host: HeaderValue,
    /// `http://host:port` in front of the target, where a proxy wants it.
    origin: Option<String>,
    proxy_authorization: Option<HeaderValue>,
    keepalive: bool,
    idle_limit: Duration,
    uses_max: u32,
    io_limit: Duration,
    /// `net.io_timeout`, where it is set.
    io_timeout: Option<Duration>,
    slots: Option<Semaphore>,
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    /// Used last at the end.
    idle: Vec<Idle>,
    has_reaper: bool,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient")
            .field("connector", &self.inner.connector)
            .finish_non_exhaustive()
    }
}

impl HttpClient {
    /// A client without connections; the first request opens one.
    pub fn new(
        endpoint: Endpoint,
        tls: Option<ClientTls>,
        net: &NetConfig,
        proxy: Option<Proxy>,
    ) -> Result<Self, NetError> {
        let is_tls = tls.is_some();
        let connector = Connector::new(endpoint, tls, net)?.with_proxy(proxy);
        let origin = connector
            .plain_proxy()
            .map(|_| format!("http://{}", connector.endpoint()));
        let authorization = connector
            .plain_proxy()
            .and_then(|proxy| proxy.authorization.as_deref());
        let inner = Inner {
            host: host_header(connector.endpoint(), is_tls),
            proxy_authorization: authorization.and_then(|value| HeaderValue::from_str(value).ok()),
            origin,
            keepalive: bool::from(net.keepalive),
            idle_limit: net.idle_limit(),
            uses_max: net.keepalive_max_recycle,
            io_limit: net.io_limit(),
            io_timeout: Some(Duration::from(net.io_timeout)).filter(|limit| !limit.is_zero()),
            slots: match net.max_worker_connections {
                0 => None,
                most => Some(Semaphore::new(most as usize)),
            },
            pool: Mutex::default(),
            connector,
        };
        Ok(Self {
            inner: Arc::new(inner),
            response_limit: RESPONSE_KEPT,
            response_timeout: RESPONSE_LIMIT,
        })
    }

    /// Keeps up to `bytes` of each response body.
    #[must_use]
    pub fn response_limit(mut self, bytes: usize) -> Self {
        self.response_limit = bytes;
        self
    }

    /// Time for a whole response, from the end of the request; zero means [`RESPONSE_LIMIT`].
    #[must_use]
    pub fn response_timeout(mut self, limit: Duration) -> Self {
        self.response_timeout = if limit.is_zero() { RESPONSE_LIMIT } else { limit };
        self
    }

    /// Where to.
    pub fn endpoint(&self) -> &Endpoint {
        self.inner.connector.endpoint()
    }

    /// The `Host` header that it sends.
    pub fn host(&self) -> &HeaderValue {
        &self.inner.host
    }

    /// Sends a request and reads the response, whatever its status.
    ///
    /// Waits for a free connection where `net.max_worker_connections` are busy.
    ///
    /// # Cancel safety
    /// When dropped, the connection in use is closed; the peer may have taken the request.
    pub async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let _slot = match &self.inner.slots {
            Some(slots) => slots.acquire().await.ok(),
            None => None,
        };
        if let Some(pooled) = self.inner.take_idle().await {
            match self.exchange(pooled, &request).await {
                // Every other pooled connection is as old: a fresh one is the safe second try.
                Err(HttpError::Unsent { .. }) => {}
                other => return other,
            }
        }
        let fresh = self.inner.open().await?;
        self.exchange(fresh, &request).await
    }

    async fn exchange(&self, mut connection: Connection, request: &Request) -> Result<Response, HttpError> {
        let inner = &self.inner;
        let message = inner.message(request)?;
        let sending = Sending {
            inner,
            started: connection.moved.written(),
            body: request.body.len() as u64,
        };
        let moved = connection.moved.clone();
        let answer = connection.sender.try_send_request(message);
        // Fluent Bit's I/O time-out ends the wait for a response too, where it is set.
        let limit = inner
            .io_timeout
            .map_or(self.response_timeout, |io| io.min(self.response_timeout));
        let response = match sending.watch(answer, &moved, limit).await? {
            Ok(response) => response,
            Err(mut failed) => {
                let unsent = failed.take_message().is_some();
                return Err(sending.failed(failed.into_error(), unsent, &moved));
            }
        };
        let (head, body) = response.into_parts();
        let read = read_body(body, self.response_limit);
        let read = tokio::time::timeout(limit, read)
            .await
            .map_err(|_| sending.timeout(Phase::Body, limit))?;
        let kept = read.map_err(|error| sending.failed(error, false, &moved))?;
        // An answer before the end of the request (413 for example): cut off, or the rest would still be
        // written.
        if kept.whole && sending.is_out(&moved) {
            connection.uses += 1;
            let worn = inner.uses_max != 0 && connection.uses >= inner.uses_max;
            if inner.keepalive && !worn && !says_close(&head.headers) {
                Inner::put_idle(inner, connection);
            } else {
                connection.retire();
            }
        }
        Ok(Response {
            status: head.status.as_u16(),
            headers: head.headers,
            body: kept.body,
            is_cut: kept.is_cut,
        })
    }
}

impl Inner {
    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self) -> Result<Connection, HttpError> {
        let stream = self.connector.connect().await?;
        let (stream, moved) = Counted::new(stream);
        let mut builder = http1::Builder::new();
        builder
            .title_case_headers(true)
            .max_buf_size(HEAD_MAX)
            .max_header_size(HEAD_MAX);
        let (sender, driver) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unsent(&error))?;
        let driver = tokio::spawn(async move {
            // Its end is seen by the request in flight, or by the next one.
            let _ = driver.await;
        });
        Ok(Connection {
            sender,
            moved,
            uses: 0,
            driver: Some(driver),
        })
    }

    /// The youngest idle connection that is still open.
    async fn take_idle(&self) -> Option<Connection> {
        loop {
            let Idle {
                mut connection,
                since,
            } = self.pool().idle.pop()?;
            if since.elapsed() < self.idle_limit && !connection.sender.is_closed() {
                let ready = tokio::time::timeout(READY_LIMIT, connection.sender.ready()).await;
                if matches!(ready, Ok(Ok(()))) {
                    return Some(connection);
                }
            } else {
                connection.retire();
            }
        }
    }

    fn put_idle(inner: &Arc<Self>, connection: Connection) {
        let mut pool = inner.pool();
        if pool.idle.len() >= IDLE_MAX || inner.idle_limit.is_zero() {
            return connection.retire();
        }
        pool.idle.push(Idle {
            connection,
            since: Instant::now(),
        });
        if !pool.has_reaper {
            pool.has_reaper = true;
            tokio::spawn(reap(Arc::downgrade(inner), inner.idle_limit));
        }
    }

    fn message(&self, request: &Request) -> Result<::http::Request<Full<Bytes>>, HttpError> {
        let absolute = self
            .origin
            .as_ref()
            .map(|origin| format!("{origin}{}", request.target));
        let target = absolute.as_deref().unwrap_or(&request.target);
        let target = Uri::try_from(target).map_err(|error| HttpError::Target {
            target: firelane_conf::redact::text(&request.target),
            reason: error.to_string(),
        })?;
        let mut message = ::http::Request::new(Full::new(request.body.clone()));
        *message.method_mut() = request.method.clone();
        *message.uri_mut() = target;
        let headers = message.headers_mut();
        headers.reserve(request.headers.len() + 3);
        headers.insert(HOST, self.host.clone());
        for (name, value) in &request.headers {
            if name == HOST {
                headers.insert(HOST, value.clone());
            } else if name != ::http::header::CONTENT_LENGTH && name != ::http::header::TRANSFER_ENCODING {
                headers.append(name.clone(), value.clone());
            }
        }
        if let Some(value) = &self.proxy_authorization {
            headers.insert(PROXY_AUTHORIZATION, value.clone());
        }
        let connection = if self.keepalive { "keep-alive" } else { "close" };
        headers.insert(CONNECTION, HeaderValue::from_static(connection));
        headers.insert(
            ::http::header::CONTENT_LENGTH,
            HeaderValue::from(request.body.len()),
        );
        Ok(message)
    }

    fn unsent(&self, error: &hyper::Error) -> HttpError {
        HttpError::Unsent {
            endpoint: self.connector.endpoint().to_string(),
            reason: reason(error),
        }
    }
}

/// Closes idle connections in time; ends when none is left or the client is gone.
async fn reap(inner: Weak<Inner>, limit: Duration) {
    let mut wait = limit;
    loop {
        tokio::time::sleep(wait).await;
        let Some(inner) = inner.upgrade() else { return };
        let mut pool = inner.pool();
        let now = Instant::now();
        let expired = pool
            .idle
            .iter()
            .take_while(|idle| now - idle.since >= limit)
            .count();
        for idle in pool.idle.drain(..expired) {
            idle.connection.retire();
        }
        let Some(oldest) = pool.idle.first() else {
            pool.has_reaper = false;
            return;
        };
        wait = limit
            .saturating_sub(now - oldest.since)
            .max(Duration::from_millis(1));
    }
}

/// An open connection. Dropped while busy it is cut off; see [`retire`](Self::retire).
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    moved: Arc<Moved>,
    uses: u32,
    driver: Option<JoinHandle<()>>,
}

impl Connection {
    /// Closes an idle connection in order: its task ends by itself once the sender is gone.
    fn retire(mut self) {
        self.driver = None;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

/// A request on its way, for saying how far it got.
struct Sending<'a> {
    inner: &'a Inner,
    /// The connection's count of written bytes before it.
    started: u64,
    body: u64,
}

impl Sending<'_> {
    /// The last byte may be out. Errs on the side of yes: the head's length is not known.
    fn is_out(&self, moved: &Moved) -> bool {
        let written = moved.written() - self.started;
        written > 0 && written >= self.body
    }

    /// Waits for the response's head; `limit` runs from the moment that the request was seen to be out.
    async fn watch<F: Future>(
        &self,
        answer: F,
        moved: &Moved,
        limit: Duration,
    ) -> Result<F::Output, HttpError> {
        let mut answer = std::pin::pin!(answer);
        let io_limit = self.inner.io_limit;
        let tick = (io_limit.min(limit) / 8).clamp(Duration::from_millis(1), Duration::from_secs(1));
        let begun = Instant::now();
        let (mut total, mut changed, mut out_since) = (moved.total(), begun, None);
        loop {
            if let Ok(answer) = tokio::time::timeout(tick, &mut answer).await {
                return Ok(answer);
            }
            let now = Instant::now();
            if moved.total() != total {
                (total, changed) = (moved.total(), now);
            }
            if out_since.is_none() && self.is_out(moved) {
                out_since = Some(now);
            }
            match out_since {
                Some(since) if now - since >= limit => return Err(self.timeout(Phase::Response, limit)),
                None if now - changed >= io_limit => return Err(self.timeout(Phase::Write, io_limit)),
                None if now - begun >= WRITE_MAX => return Err(self.timeout(Phase::Write, WRITE_MAX)),
                _ => {}
            }
        }
    }

    fn timeout(&self, phase: Phase, limit: Duration) -> HttpError {
        HttpError::Timeout {
            endpoint: self.inner.connector.endpoint().to_string(),
            phase,
            limit,
        }
    }

    fn failed(&self, error: hyper::Error, unsent: bool, moved: &Moved) -> HttpError {
        let endpoint = self.inner.connector.endpoint().to_string();
        if unsent || !self.is_out(moved) {
            self.inner.unsent(&error)
        } else if error.is_parse() || error.is_parse_too_large() {
            HttpError::Protocol {
                endpoint,
                reason: reason(&error),
            }
        } else {
            HttpError::Lost {
                endpoint,
                reason: reason(&error),
            }
        }
    }
}

struct Kept {
    body: Bytes,
    is_cut: bool,
    /// Read to its end, so that the connection can be used again.
    whole: bool,
}

async fn read_body(mut body: Incoming, keep: usize) -> hyper::Result<Kept> {
    let (mut first, mut rest, mut seen) = (Bytes::new(), BytesMut::new(), 0usize);
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame?.into_data() else {
            continue;
        };
        let room = keep.saturating_sub(seen);
        seen = seen.saturating_add(data.len());
        data.truncate(room);
        if first.is_empty() && rest.is_empty() {
            first = data; // nearly always all there is: no copy
        } else if !data.is_empty() {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
        if seen > keep.saturating_add(DRAIN_MAX) {
            break;
        }
    }
    let whole = seen <= keep.saturating_add(DRAIN_MAX);
    let body = if rest.is_empty() { first } else { rest.freeze() };
    Ok(Kept {
        body,
        is_cut: seen > keep,
        whole,
    })
}

fn says_close(headers: &HeaderMap) -> bool {
    let says = |value: &HeaderValue| {
        value
            .to_str()
            .is_ok_and(|text| text.to_ascii_lowercase().contains("close"))
    };
    headers.get_all(CONNECTION).iter().any(says)
}

fn host_header(endpoint: &Endpoint, is_tls: bool) -> HeaderValue {
    let text = match endpoint {
        Endpoint::Tcp { port, .. } => {
            let text = endpoint.to_string();
            let default = if is_tls { 443 } else { 80 };
            match text.rsplit_once(':') {
                Some((host, _)) if *port == default => host.to_owned(),
                _ => text,
            }
        }
        #[cfg(unix)]
        Endpoint::Unix(_) => "localhost".to_owned(),
    };
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("localhost"))
}

/// The error with its causes: hyper's own words alone ("connection error") say little.
fn reason(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
