//! A peer that does what a script says, and tells what it read.

use std::time::Duration;

use firelane_net::{Endpoint, HttpClient, NetConfig, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the peer does with one connection.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// Reads one whole request.
    Read,
    /// Reads so many bytes.
    ReadSome(usize),
    /// Writes this.
    Write(&'static str),
    /// Does nothing until the client hangs up.
    Hang,
}

/// Each script is one connection, in order; what was read in each comes back.
pub(crate) async fn play(scripts: Vec<Vec<Step>>) -> (Endpoint, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let mut seen = Vec::new();
        for script in scripts {
            let (stream, _) = listener.accept().await.unwrap();
            seen.push(run(stream, &script).await);
        }
        seen
    });
    (Endpoint::tcp("127.0.0.1", port), task)
}

async fn run(mut stream: TcpStream, script: &[Step]) -> String {
    let mut seen = Vec::new();
    for step in script {
        match step {
            Step::Read => seen.extend(request(&mut stream).await),
            Step::ReadSome(count) => {
                let mut bytes = vec![0; *count];
                stream.read_exact(&mut bytes).await.unwrap();
                seen.extend(bytes);
            }
            // A client that has hung up already is part of some scripts.
            Step::Write(text) => drop(stream.write_all(text.as_bytes()).await),
            Step::Hang => drop(stream.read_to_end(&mut Vec::new()).await),
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// One request as bytes: its header, and as much body as that announces.
pub(crate) async fn request(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => seen.push(byte),
            Err(_) => return seen,
        }
    }
    let head = String::from_utf8_lossy(&seen).to_ascii_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next());
    let mut body = vec![0; length.map_or(0, |text| text.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    seen.extend(body);
    seen
}

pub(crate) fn post(body: impl Into<bytes::Bytes>) -> Request {
    Request {
        method: http::Method::POST,
        target: "/in?x=1".to_owned(),
        headers: vec![(
            http::header::USER_AGENT,
            http::HeaderValue::from_static("Fluent-Bit"),
        )],
        body: body.into(),
    }
}

/// A client with short limits, for peers that do not answer.
pub(crate) fn impatient(endpoint: Endpoint) -> HttpClient {
    let net = NetConfig {
        io_timeout: Duration::from_millis(150).into(),
        ..NetConfig::default()
    };
    HttpClient::new(endpoint, None, &net, None)
        .unwrap()
        .response_timeout(Duration::from_millis(150))
}
