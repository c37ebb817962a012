//! The entry of the fuzz target `cloud`: requests of any bytes.

use std::sync::OnceLock;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{Request, header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::cloud::{Cloud, Missing, Options};
use crate::guard::Cut;
use crate::server::{self, Server};
use crate::time;

/// Most requests of one input.
const REQUESTS_MAX: usize = 8;
/// Longest wait for an answer, on a machine that does something else too.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between requests.
const BETWEEN: &[u8] = b"\n%%\n";

/// Requests one after the other to an endpoint with nothing in it: each is answered to its end, as its
/// service answers, and none breaks the endpoint.
///
/// ```text
/// create                     makes what is missing; may be left out
/// METHOD TARGET [SERVICE]    with a service it is signed, in form
/// name: value                headers, up to an empty line
///
/// body
/// %%                         on a line of its own, before the next one
/// ```
///
/// `@NOW` stands for the time in milliseconds, `@ID` for the id of an upload, the iterator or the token
/// in the last answer that had one.
pub fn fuzz_requests(data: &[u8]) {
    let (missing, mut rest) = match data.strip_prefix(b"create\n") {
        Some(rest) => (Missing::Create, rest),
        None => (Missing::Refuse, data),
    };
    let mut requests = Vec::new();
    while !rest.is_empty() && requests.len() < REQUESTS_MAX {
        let (one, next) = cut(rest, BETWEEN);
        // Most inputs are no requests, and a folder costs a hundred times as much.
        if request(one).is_some() {
            requests.push(one);
        }
        rest = next;
    }
    if requests.is_empty() {
        return;
    }
    runtime().block_on(async {
        let options = Options {
            missing,
            ..Options::default()
        };
        let cloud = Cloud::open(options).expect("a temporary folder");
        // As if it was about to end: what hangs is cut off at once.
        let (_stop, stopped) = watch::channel(true);
        let server = Server::new(cloud.0.clone(), stopped);
        let (now, mut id) = (time::now_ms().to_string(), "x".to_owned());
        for bytes in requests {
            let bytes = replaced(&replaced(bytes, b"@NOW", &now), b"@ID", &id);
            let Some(request) = request(&bytes) else { continue };
            let answer = tokio::time::timeout(PATIENCE, answered(&cloud, &server, request)).await;
            let answer = answer.expect("an answer comes");
            id = id_in(&answer).unwrap_or(id);
        }
        cloud.0.store.close().expect("what was taken is written");
    });
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.expect("threads")
    })
}

/// One request; nothing where hyper would have refused it.
fn request(bytes: &[u8]) -> Option<Request<Body>> {
    let (head, body) = cut(bytes, b"\n\n");
    let mut lines = head.split(|&byte| byte == b'\n');
    let mut first = lines.next()?.split(|&byte| byte == b' ');
    let mut request = Request::builder().method(first.next()?).uri(first.next()?);
    if let Some(service) = first.next().and_then(|name| std::str::from_utf8(name).ok()) {
        let signature = format!(
            "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/{service}/aws4_request, \
             SignedHeaders=host, Signature=00"
        );
        request = request
            .header(header::AUTHORIZATION, signature)
            .header("x-amz-date", "20260101T000000Z");
    }
    for line in lines {
        let (name, value) = cut(line, b": ");
        request = request.header(name, value);
    }
    let mut request = request.body(Body::from(Bytes::copy_from_slice(body))).ok()?;
    // As hyper gives it: true, or absent.
    let headers = request.headers_mut();
    if !headers.contains_key(header::TRANSFER_ENCODING) {
        headers.insert(header::CONTENT_LENGTH, body.len().into());
    } else {
        headers.remove(header::CONTENT_LENGTH);
    }
    Some(request)
}

/// What stands before a mark and behind it.
fn cut<'a>(bytes: &'a [u8], mark: &[u8]) -> (&'a [u8], &'a [u8]) {
    match bytes.windows(mark.len()).position(|some| some == mark) {
        Some(at) => (&bytes[..at], &bytes[at + mark.len()..]),
        None => (bytes, &[]),
    }
}

fn replaced(mut bytes: &[u8], mark: &[u8], by: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    while let Some(at) = bytes.windows(mark.len()).position(|some| some == mark) {
        out.extend_from_slice(&bytes[..at]);
        out.extend_from_slice(by.as_bytes());
        bytes = &bytes[at + mark.len()..];
    }
    out.extend_from_slice(bytes);
    out
}

/// What the next request may ask with.
fn id_in(answer: &str) -> Option<String> {
    let marks = [
        ("<UploadId>", '<'),
        ("\"ShardIterator\":\"", '"'),
        ("\"nextToken\":\"", '"'),
        ("\"NextToken\":\"", '"'),
    ];
    marks.iter().find_map(|(mark, end)| {
        let (_, rest) = answer.split_once(mark)?;
        Some(rest.split_once(*end)?.0.to_owned())
    })
}

/// Sends a request and checks its answer; gives its body.
async fn answered(cloud: &Cloud, server: &Server, request: Request<Body>) -> String {
    let is_json = request.headers().contains_key("x-amz-target");
    let response = server::handle(State(server.clone()), ConnectInfo(Cut::default()), request).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    let is_faulty = cloud.injected().iter().next().is_some();
    let text = String::from_utf8_lossy(&body);
    assert!(is_faulty || head.status != 500, "the endpoint failed: {text}");
    // An unknown target that is signed for another service gets that one's error.
    if is_json && !body.is_empty() && !text.starts_with('<') {
        let json = serde_json::from_slice::<serde_json::Value>(&body);
        json.unwrap_or_else(|error| panic!("{error}: {text}"));
    }
    let is_error = head.status.is_client_error() || head.status.is_server_error();
    if is_error && !body.is_empty() {
        let names = ["__type", "<Code>", "\"error\""];
        assert!(
            names.iter().any(|name| text.contains(name)),
            "an error without a name: {text}"
        );
    }
    text.into_owned()
}
