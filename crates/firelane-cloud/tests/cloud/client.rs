//! A small HTTP client: one request a connection, everything as bytes.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest that anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// As text, names in lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The code of an error, in whichever form.
    pub(crate) fn code(&self) -> String {
        let text = self.text();
        match text
            .split_once("<Code>")
            .and_then(|(_, rest)| rest.split_once("</Code>"))
        {
            Some((code, _)) => code.to_owned(),
            None => self.json()["__type"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

/// A signature in form only: for endpoints that verify none.
pub(crate) fn signed(service: &str) -> String {
    format!(
        "authorization: AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=00\r\nx-amz-date: 20260101T000000Z\r\n"
    )
}

/// Sends bytes and reads until the peer closes; `None` where it closes without an answer.
pub(crate) async fn raw(address: SocketAddr, request: &[u8]) -> Option<Answer> {
    let talk = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The endpoint may answer and close before it has read everything.
        let _ = stream.write_all(request).await;
        let mut seen = Vec::new();
        let _ = stream.read_to_end(&mut seen).await;
        seen
    };
    let seen = tokio::time::timeout(PATIENCE, talk).await.expect("an end");
    parse(&seen)
}

fn parse(seen: &[u8]) -> Option<Answer> {
    let seen = seen
        .strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        .unwrap_or(seen);
    let at = seen.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&seen[..at]).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = seen[at + 4..].to_vec();
    let body = if head.contains("transfer-encoding: chunked") {
        dechunk(&body)
    } else {
        body
    };
    Some(Answer { status, head, body })
}

fn dechunk(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(at) = body.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..at]).unwrap(), 16).unwrap();
        out.extend_from_slice(&body[at + 2..at + 2 + size]);
        body = &body[(at + 4 + size).min(body.len())..];
    }
    out
}

/// A request with headers (each ends in a line end) and a body.
pub(crate) fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let host = if headers.contains("host: ") {
        ""
    } else {
        "host: 127.0.0.1\r\n"
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\n{host}connection: close\r\n{headers}content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A call of a JSON service.
pub(crate) async fn call(address: SocketAddr, target: &str, body: &Value) -> Option<Answer> {
    let service = match target.split('_').next() {
        Some("Logs") => "logs",
        Some("Firehose") => "firehose",
        Some("Kinesis") => "kinesis",
        _ => "ssm",
    };
    let headers = format!(
        "{}x-amz-target: {target}\r\ncontent-type: application/x-amz-json-1.1\r\n",
        signed(service)
    );
    raw(
        address,
        &request("POST", "/", &headers, body.to_string().as_bytes()),
    )
    .await
}

/// A request to S3.
pub(crate) async fn s3(address: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let headers = format!("{}{headers}", signed("s3"));
    raw(address, &request(method, path, &headers, body))
        .await
        .expect("an answer")
}
