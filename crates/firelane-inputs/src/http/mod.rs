//! `http`: records by HTTP POST, as JSON or as a form.
//!
//! The tag is the value of `tag_key` in the record, else the path (`/app/web.log` → `app_web.log`), else
//! `tag`. A body is taken whole or not at all: what is not readable is answered 400 and nothing of it is
//! kept. The answer is sent when the records are in the log; under back-pressure it waits. Bodies may be
//! compressed (`gzip`, `deflate`, `zstd`). Not here: HTTP/2, OAuth 2.

mod decode;

use std::sync::Arc;

use firelane_conf::Diagnostic;
use firelane_conf::units::{ByteSize, Interval, Located, OnOff, Words};
use firelane_core::{
    AckOn, BoxFuture, BuildCx, Input, InputConfig, InputCounts, InputCx, InputError, InputPlugin, Stability,
};
use firelane_net::listen::ListenAddr;
use firelane_net::server::{self, ServerOptions, ServerRequest, ServerResponse, Watcher};
use firelane_net::{HeaderName, HeaderValue, Method, StatusCode};
use firelane_record::accessor::Accessor;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::watch;

use crate::serve::{Server, refuse, refuse_at, without_effect};

/// The plugin.
pub static PLUGIN: InputPlugin =
    InputPlugin::new::<Config>("http", "Records by HTTP POST", Stability::Stable).network();

/// Properties of `[INPUT] Name http`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Config {
    /// Address to listen on.
    #[serde(default = "any_address")]
    listen: String,
    /// Port to listen on.
    #[serde(default = "default_port")]
    port: u16,
    /// Field whose text is the tag: a name, or an accessor such as `$a['b']`.
    tag_key: Option<Located<String>>,
    /// Largest body, also after decompression.
    #[serde(default = "default_max")]
    buffer_max_size: ByteSize,
    /// The same under its newer name; wins.
    #[serde(rename = "http_server.buffer_max_size")]
    server_buffer_max_size: Option<ByteSize>,
    /// Status of success: 200, 201 or 204.
    #[serde(default = "created")]
    successful_response_code: u16,
    /// `name value`: a header of every answer; repeatable.
    #[serde(default)]
    success_header: Vec<Located<Words<2>>>,
    /// Add the first address of `X-Forwarded-For` to each record.
    #[serde(default)]
    add_remote_addr: OnOff,
    /// Key of that address.
    #[serde(default = "remote_addr")]
    remote_addr_key: String,
    /// Answer `GET /health`.
    #[serde(default)]
    enable_health_endpoint: OnOff,
    /// Most connections at once. Default, and at 0: 4096, or three quarters of the files that the process may
    /// open.
    #[serde(default)]
    max_connections: usize,
    /// The same under its newer name; wins.
    #[serde(rename = "http_server.max_connections")]
    server_max_connections: Option<usize>,
    /// How long an idle connection is kept, and how long the header of a request may take. Default, and at 0:
    /// 30s.
    #[serde(rename = "http_server.idle_timeout")]
    idle_timeout: Option<Interval>,
    /// HTTP/2 is not taken: no effect.
    #[expect(dead_code, reason = "named in a warning")]
    http2: Option<OnOff>,
    /// HTTP/2 is not taken: no effect.
    #[serde(rename = "http_server.http2")]
    #[expect(dead_code, reason = "named in a warning")]
    server_http2: Option<OnOff>,
    /// Buffers grow by themselves: no effect.
    #[expect(dead_code, reason = "named in a warning")]
    buffer_chunk_size: Option<ByteSize>,
    /// Buffers grow by themselves: no effect.
    #[serde(rename = "http_server.buffer_chunk_size")]
    #[expect(dead_code, reason = "named in a warning")]
    server_buffer_chunk_size: Option<ByteSize>,
    /// Every connection is a task of its own: no effect.
    #[expect(dead_code, reason = "named in a warning")]
    workers: Option<u32>,
    /// Every connection is a task of its own: no effect.
    #[serde(rename = "http_server.workers")]
    #[expect(dead_code, reason = "named in a warning")]
    server_workers: Option<u32>,
    /// There is no queue between connections and the log: no effect.
    #[serde(rename = "http_server.ingress_queue_event_limit")]
    #[expect(dead_code, reason = "named in a warning")]
    queue_events: Option<u64>,
    /// There is no queue between connections and the log: no effect.
    #[serde(rename = "http_server.ingress_queue_byte_limit")]
    #[expect(dead_code, reason = "named in a warning")]
    queue_bytes: Option<ByteSize>,
    /// Used by clients only: no effect.
    #[expect(dead_code, reason = "named in a warning")]
    host: Option<String>,
}

fn any_address() -> String {
    "0.0.0.0".into()
}

fn default_port() -> u16 {
    9880
}

fn default_max() -> ByteSize {
    ByteSize(4_000_000)
}

fn created() -> u16 {
    201
}

fn remote_addr() -> String {
    "REMOTE_ADDR".into()
}

const TASKS: &str = "every connection is a task of its own";
const BUFFERS: &str = "buffers grow with what comes, up to `buffer_max_size`";
const QUEUE: &str = "there is no queue between a connection and the log: the answer waits";
const HTTP1: &str = "only HTTP/1.1 is taken";
const UNUSED: &[(&str, &str)] = &[
    ("http2", HTTP1),
    ("http_server.http2", HTTP1),
    ("buffer_chunk_size", BUFFERS),
    ("http_server.buffer_chunk_size", BUFFERS),
    ("workers", TASKS),
    ("http_server.workers", TASKS),
    ("http_server.ingress_queue_event_limit", QUEUE),
    ("http_server.ingress_queue_byte_limit", QUEUE),
    ("host", "a server listens on `listen`"),
];

impl InputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Box<dyn Input>, Vec<Diagnostic>> {
        without_effect(cx, UNUSED);
        let mut errors = Vec::new();
        let server = Server::read(cx, ListenAddr::tcp(&self.listen, self.port));
        let server = server.map_err(|error| errors.extend(error));
        let tag_key = self.tag_key(cx).map_err(|error| errors.push(error));
        let answer = self.answer(cx).map_err(|error| errors.push(error));
        let (Ok(server), Ok(tag_key), Ok(answer)) = (server, tag_key, answer) else {
            return Err(errors);
        };
        let max = self.server_buffer_max_size.unwrap_or(self.buffer_max_size);
        let body_max = usize::try_from(max.0).unwrap_or(usize::MAX);
        let mut options = ServerOptions {
            body_max,
            ..ServerOptions::default()
        };
        match self.server_max_connections.unwrap_or(self.max_connections) {
            0 => {}
            most => options.connections_max = most,
        }
        if let Some(idle) = self.idle_timeout.filter(|idle| !idle.0.is_zero()) {
            options.header_timeout = idle.0;
        }
        let settings = Settings {
            tag_key,
            answer,
            body_max,
            address_key: self.add_remote_addr.0.then(|| self.remote_addr_key.into_bytes()),
            health: self.enable_health_endpoint.0,
        };
        Ok(Box::new(Http {
            server,
            options,
            settings,
        }))
    }
}

impl Config {
    fn tag_key(&self, cx: &BuildCx<'_>) -> Result<Option<Accessor>, Diagnostic> {
        let Some(given) = &self.tag_key else {
            return Ok(None);
        };
        let accessor = Accessor::parse(given.value.trim());
        let accessor = accessor.map_err(|error| {
            refuse(cx, "tag_key", &format!("invalid record accessor: {error}")).help("for example `$a['b']`")
        })?;
        Ok(Some(accessor))
    }

    /// The answer of success.
    fn answer(&self, cx: &BuildCx<'_>) -> Result<ServerResponse, Diagnostic> {
        let status = match self.successful_response_code {
            200 => StatusCode::OK,
            201 => StatusCode::CREATED,
            204 => StatusCode::NO_CONTENT,
            other => {
                let reason = format!("{other} is not supported; write 200, 201 or 204");
                return Err(refuse(cx, "successful_response_code", &reason));
            }
        };
        let mut answer = ServerResponse::empty(status);
        for given in &self.success_header {
            let [name, value, ..] = given.value.0.as_slice() else {
                continue;
            };
            let pair = (
                HeaderName::try_from(name.as_str()),
                HeaderValue::try_from(value.as_str()),
            );
            let (Ok(name), Ok(value)) = pair else {
                let reason = format!("`{name} {value}` is no header");
                return Err(refuse_at(cx, given.span, "success_header", &reason));
            };
            answer.headers.push((name, value));
        }
        Ok(answer)
    }
}

struct Settings {
    tag_key: Option<Accessor>,
    answer: ServerResponse,
    body_max: usize,
    address_key: Option<Vec<u8>>,
    health: bool,
}

struct Http {
    server: Server,
    options: ServerOptions,
    settings: Settings,
}

impl Input for Http {
    fn open(&mut self) -> BoxFuture<'_, Result<(), InputError>> {
        Box::pin(self.server.open())
    }

    fn run(self: Box<Self>, cx: InputCx) -> BoxFuture<'static, Result<(), InputError>> {
        Box::pin(self.serve(cx))
    }
}

impl Http {
    async fn serve(self, cx: InputCx) -> Result<(), InputError> {
        let Self {
            server,
            options,
            settings,
        } = self;
        let listener = server.take().await?;
        let (settings, handler_cx) = (Arc::new(settings), cx.clone());
        let stream = cx.ingest.stream(AckOn::Append);
        let handler = move |request: ServerRequest| {
            let (settings, cx, stream) = (settings.clone(), handler_cx.clone(), stream.clone());
            async move { answer(&settings, &cx, &stream, request).await }
        };
        let seen = Arc::new(Seen(cx.counts.clone()));
        let (sender, told) = watch::channel(false);
        // Requests of clients that are still busy are taken; then the socket closes.
        let tell = async {
            cx.stop.draining().await;
            tokio::time::sleep(cx.quiet).await;
            let _ = sender.send(true);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = server::serve(listener, options, Arc::new(handler), seen, told) => {}
            () = tell => {}
            () = cx.stop.over() => {}
        }
        Ok(())
    }
}

/// Puts what the server sees into the input's counters.
struct Seen(Arc<InputCounts>);

impl Watcher for Seen {
    fn connected(&self) {
        self.0.connections.add(1);
    }

    fn broken(&self) {
        self.0.faults.add(1);
    }

    fn too_large(&self) {
        self.0.faults.add(1);
    }
}

/// Takes the records of one request.
async fn answer(
    settings: &Settings,
    cx: &InputCx,
    stream: &firelane_core::Stream,
    request: ServerRequest,
) -> ServerResponse {
    if settings.health && request.method == Method::GET && request.path == "/health" {
        let plain = ServerResponse::text(StatusCode::OK, "{\"status\":\"ok\"}\n");
        return plain;
    }
    let runs = match decode::decode(settings, cx, &request) {
        Ok(runs) => runs,
        Err((status, reason)) => {
            cx.counts.faults.add(1);
            tracing::debug!(target: "input", instance = %cx.name, peer = %request.peer, reason, "request refused");
            return ServerResponse::text(status, format!("error: {reason}\n"));
        }
    };
    let mut tickets = Vec::with_capacity(runs.len());
    for (tag, mut run) in runs {
        match cx.append(stream, &tag, run.take()).await {
            Ok(ticket) => tickets.push(ticket),
            Err(error) => {
                return ServerResponse::text(StatusCode::SERVICE_UNAVAILABLE, format!("error: {error}\n"));
            }
        }
    }
    for ticket in tickets {
        if let Err(error) = ticket.wait().await {
            return ServerResponse::text(StatusCode::SERVICE_UNAVAILABLE, format!("error: {error}\n"));
        }
    }
    settings.answer.clone()
}
