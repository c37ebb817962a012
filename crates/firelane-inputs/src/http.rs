//! `http`: records by HTTP POST, as JSON or as a form.
//!
//! The tag is the value of `tag_key` in the record, else the path (`/app/web.log` → `app_web.log`), else `tag`. A body is
//! taken whole or not at all: what is not readable is answered 400 and nothing of it is kept. The answer is sent when the
//! records are in the log; under back-pressure it waits. Bodies may be compressed (`gzip`, `deflate`, `zstd`).
//! Not here: HTTP/2, OAuth 2.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use firelane_conf::units::{ByteSize, Interval, Located, OnOff, Words};
use firelane_conf::{Class, Diagnostic};
use firelane_core::{
    AckOn, BoxFuture, BuildCx, Input, InputConfig, InputCx, InputError, InputPlugin, Stability,
};
use firelane_net::compress::decompress;
use firelane_net::listen::ListenAddr;
use firelane_net::server::{self, ServerCounts, ServerOptions, ServerRequest, ServerResponse};
use firelane_net::{Encoding, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use firelane_record::accessor::Accessor;
use firelane_record::json::to_msgpack;
use firelane_record::msgpack::{self, Reader, Token};
use firelane_record::{MapWriter, RecordsBuf, Tag, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::watch;

use crate::serve::{Server, refuse, without_effect};

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
    /// Most connections at once; 0: 4096.
    #[serde(default)]
    max_connections: usize,
    /// The same under its newer name; wins.
    #[serde(rename = "http_server.max_connections")]
    server_max_connections: Option<usize>,
    /// How long an idle connection is kept.
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
        if let Some(idle) = self.idle_timeout {
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
                let text = format!("`success_header`: `{name} {value}` is no header");
                return Err(Diagnostic::error("FL0311", Class::Init, text)
                    .at(given.span)
                    .plugin(cx.instance));
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
        let seen = Arc::new(ServerCounts::default());
        let (sender, told) = watch::channel(false);
        // Requests of clients that are still busy are taken; then the socket closes.
        let tell = async {
            cx.stop.draining().await;
            tokio::time::sleep(cx.quiet).await;
            let _ = sender.send(true);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = server::serve(listener, options, Arc::new(handler), seen.clone(), told) => {}
            () = tell => {}
            () = cx.stop.over() => {}
        }
        Ok(())
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
    let runs = match decode(settings, cx, &request) {
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

/// Why a request is refused.
type Refusal = (StatusCode, &'static str);
/// Records by tag, in the order of their first record.
type Runs = Vec<(Tag, RecordsBuf)>;

const BAD: StatusCode = StatusCode::BAD_REQUEST;

/// The records of a request by their tags, or none of them.
fn decode(settings: &Settings, cx: &InputCx, request: &ServerRequest) -> Result<Runs, Refusal> {
    if request.method != Method::POST {
        return Err((BAD, "invalid HTTP method"));
    }
    let kind = request.headers.get(header::CONTENT_TYPE);
    let kind = kind.ok_or((BAD, "header 'Content-Type' is not set"))?;
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_json = kind.eq_ignore_ascii_case("application/json");
    if !is_json && !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err((BAD, "invalid 'Content-Type'"));
    }
    let body = plain_body(settings, request)?;
    if body.is_empty() {
        return Err((BAD, "no payload found"));
    }
    let address = settings
        .address_key
        .as_deref()
        .zip(forwarded_for(&request.headers));
    let mut sorter = Sorter {
        tag_key: settings.tag_key.as_ref(),
        tag: path_tag(&request.path).unwrap_or_else(|| cx.tag.clone()),
        address,
        now: Timestamp::from_system(SystemTime::now()),
        runs: Vec::new(),
        by_tag: HashMap::new(),
        map: MapWriter::new(),
    };
    if is_json {
        sorter.json(&body)?;
    } else {
        sorter.form(&body)?;
    }
    Ok(sorter.runs)
}

/// The body, decompressed.
fn plain_body(settings: &Settings, request: &ServerRequest) -> Result<Bytes, Refusal> {
    let Some(name) = request.headers.get(header::CONTENT_ENCODING) else {
        return Ok(request.body.clone());
    };
    let name = name.to_str().unwrap_or_default();
    if name.eq_ignore_ascii_case("identity") {
        return Ok(request.body.clone());
    }
    let unknown = (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unknown 'Content-Encoding'");
    let encoding = Encoding::by_name(name).ok_or(unknown)?;
    decompress(encoding, &request.body, settings.body_max)
        .map_err(|_| (BAD, "the compressed body is damaged, or too large"))
}

/// The tag of a path: without the leading `/`, everything but letters, digits, `.` and `_` replaced by `_`.
fn path_tag(path: &str) -> Option<Tag> {
    let path = path.strip_prefix('/').unwrap_or(path);
    clean_tag(path.as_bytes()).filter(|_| !path.is_empty())
}

fn clean_tag(text: &[u8]) -> Option<Tag> {
    let clean = |&byte: &u8| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') {
            byte
        } else {
            b'_'
        }
    };
    Tag::new(text.iter().map(clean).collect::<Vec<_>>()).ok()
}

/// The first address of `X-Forwarded-For`.
fn forwarded_for(headers: &HeaderMap) -> Option<&[u8]> {
    let text = headers.get("x-forwarded-for")?.as_bytes();
    let first = text.split(|&byte| byte == b',').next()?.trim_ascii();
    (!first.is_empty()).then_some(first)
}

/// Sorts records by tag.
struct Sorter<'a> {
    tag_key: Option<&'a Accessor>,
    /// The tag of records that bring none.
    tag: Tag,
    /// A pair for each record that has no such key.
    address: Option<(&'a [u8], &'a [u8])>,
    now: Timestamp,
    runs: Runs,
    by_tag: HashMap<Tag, usize>,
    map: MapWriter,
}

const NO_RECORDS: Refusal = (BAD, "unable to process records");

impl Sorter<'_> {
    /// Objects and arrays of objects, behind each other.
    fn json(&mut self, text: &[u8]) -> Result<(), Refusal> {
        let (mut rest, mut value) = (text.trim_ascii(), Vec::new());
        while !rest.is_empty() {
            value.clear();
            let len = to_msgpack(rest, &mut value).map_err(|_| NO_RECORDS)?;
            rest = rest[len..].trim_ascii_start();
            let mut reader = Reader::new(&value);
            match reader.token() {
                Some(Token::Map(_)) => self.record(&value)?,
                Some(Token::Array(count)) => {
                    for _ in 0..count {
                        self.record(reader.value().ok_or(NO_RECORDS)?)?;
                    }
                }
                _ => return Err(NO_RECORDS),
            }
        }
        Ok(())
    }

    /// `a=1&b=x%20y` as one record of texts.
    fn form(&mut self, text: &[u8]) -> Result<(), Refusal> {
        let mut map = MapWriter::new();
        for pair in text.split(|&byte| byte == b'&') {
            let Some(at) = memchr::memchr(b'=', pair) else {
                continue;
            };
            let (key, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
            if !key.is_empty() {
                map.str(key, &percent_decoded(value));
            }
        }
        if map.count() == 0 {
            return Err(NO_RECORDS);
        }
        let mut body = Vec::new();
        map.write(&mut body);
        self.record(&body)
    }

    /// Appends one record to the run of its tag.
    fn record(&mut self, body: &[u8]) -> Result<(), Refusal> {
        let Some((Token::Map(count), head)) = msgpack::read(body) else {
            return Err(NO_RECORDS);
        };
        let own = self.tag_key.and_then(|key| key.lookup_str(body));
        let tag = own.and_then(clean_tag);
        let index = self.run(tag.as_ref());
        let run = &mut self.runs[index].1;
        match self.address {
            Some((key, address)) if !has_key(body, key) => {
                self.map.clear();
                self.map.str(key, address);
                let map = &self.map;
                run.push_with(self.now, None, |out| {
                    msgpack::write_map_head(out, count.saturating_add(1));
                    out.extend_from_slice(&body[head..]);
                    out.extend_from_slice(map.pairs());
                });
            }
            _ => run.push(self.now, None, body),
        }
        Ok(())
    }

    /// The index of a tag's run.
    fn run(&mut self, tag: Option<&Tag>) -> usize {
        let tag = tag.unwrap_or(&self.tag);
        if let Some(&index) = self.by_tag.get(tag) {
            return index;
        }
        let index = self.runs.len();
        self.runs.push((tag.clone(), RecordsBuf::default()));
        self.by_tag.insert(tag.clone(), index);
        index
    }
}

fn has_key(body: &[u8], key: &[u8]) -> bool {
    msgpack::pairs(body).any(|(name, _)| msgpack::str_bytes(name) == Some(key))
}

/// `+` is a blank, `%41` a byte; a text with a broken `%` stays as it is.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match byte {
            b'+' => out.push(b' '),
            b'%' => match (digit(bytes.next()), digit(bytes.next())) {
                (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
                _ => return text.to_vec(),
            },
            byte => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use firelane_record::text;

    use super::*;

    fn sorter<'a>(key: Option<&'a Accessor>, address: Option<(&'a [u8], &'a [u8])>) -> Sorter<'a> {
        Sorter {
            tag_key: key,
            tag: Tag::new("path").unwrap(),
            address,
            now: Timestamp::default(),
            runs: Vec::new(),
            by_tag: HashMap::new(),
            map: MapWriter::new(),
        }
    }

    /// `tag: record` for each.
    fn print(sorter: Sorter<'_>) -> Vec<String> {
        let mut lines = Vec::new();
        for (tag, mut run) in sorter.runs {
            for event in run.take().events() {
                let mut out = Vec::new();
                text::write_value(&mut out, event.body);
                lines.push(format!("{tag}: {}", String::from_utf8_lossy(&out)));
            }
        }
        lines
    }

    #[track_caller]
    fn json(key: Option<&str>, sent: &str, want: &[&str]) {
        let key = key.map(|key| Accessor::parse(key).unwrap());
        let mut sorter = sorter(key.as_ref(), None);
        sorter.json(sent.as_bytes()).unwrap();
        assert_eq!(print(sorter), want, "{sent}");
    }

    #[test]
    fn json_bodies() {
        json(None, "{\"a\":1}", &[r#"path: {"a"=>1}"#]);
        json(
            None,
            "[{\"a\":1},{\"a\":2}] {\"a\":3}\n",
            &[r#"path: {"a"=>1}"#, r#"path: {"a"=>2}"#, r#"path: {"a"=>3}"#],
        );
        json(None, "[]", &[]);
        let sent = "[{\"t\":\"x y\"},{\"t\":5},{\"t\":\"x y\",\"n\":2}]";
        let want = [
            r#"x_y: {"t"=>"x y"}"#,
            r#"x_y: {"t"=>"x y", "n"=>2}"#,
            r#"path: {"t"=>5}"#,
        ];
        json(Some("t"), sent, &want);
        json(
            Some("$k['t']"),
            "{\"k\":{\"t\":\"in\"}}",
            &[r#"in: {"k"=>{"t"=>"in"}}"#],
        );
    }

    #[test]
    fn bad_json_gives_nothing() {
        for sent in ["no", "{\"a\":1", "7", "[1]", "[{\"a\":1},2]", "{\"a\":1} no"] {
            assert!(sorter(None, None).json(sent.as_bytes()).is_err(), "{sent}");
        }
    }

    #[test]
    fn forms() {
        let mut form = sorter(None, None);
        form.form(b"a=1&b=x%20y+z&=no&c&d=%zz&e=").unwrap();
        assert_eq!(
            print(form),
            [r#"path: {"a"=>"1", "b"=>"x y z", "d"=>"%zz", "e"=>""}"#]
        );
        assert!(sorter(None, None).form(b"none").is_err());
    }

    #[test]
    fn the_address_is_added_once() {
        let mut adds = sorter(None, Some((b"from", b"10.0.0.7")));
        adds.json(b"{\"a\":1}{\"from\":\"x\"}").unwrap();
        assert_eq!(
            print(adds),
            [r#"path: {"a"=>1, "from"=>"10.0.0.7"}"#, r#"path: {"from"=>"x"}"#]
        );
        let mut headers = HeaderMap::new();
        assert_eq!(forwarded_for(&headers), None);
        headers.insert(
            "x-forwarded-for",
            HeaderValue::from_static(" 10.0.0.7 , 10.0.0.8"),
        );
        assert_eq!(forwarded_for(&headers), Some(&b"10.0.0.7"[..]));
    }

    #[test]
    fn tags_of_paths() {
        let tag = |path| path_tag(path).map(|tag| tag.to_text().into_owned());
        assert_eq!(tag("/app/web-1.log"), Some("app_web_1.log".into()));
        assert_eq!(tag("/"), None);
        assert_eq!(tag(""), None);
    }
}
