//! The server: limits, slow clients, stopping.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use firelane_net::server::{self, ServerOptions, ServerRequest, ServerResponse, Watcher};
use firelane_net::{Endpoint, HttpClient, ListenAddr, Listener, NetConfig, ServerTls};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::certs::Certs;
use crate::peer::post;

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    broken: AtomicU64,
    too_large: AtomicU64,
}

impl Watcher for Counts {
    fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    fn broken(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }

    fn too_large(&self) {
        self.too_large.fetch_add(1, Ordering::Relaxed);
    }
}

struct Running {
    port: u16,
    counts: Arc<Counts>,
    stop: watch::Sender<bool>,
    task: JoinHandle<usize>,
}

fn options() -> ServerOptions {
    ServerOptions {
        body_max: 1000,
        header_timeout: Duration::from_millis(200),
        body_timeout: Duration::from_millis(200),
        grace: Duration::from_millis(300),
        ..ServerOptions::default()
    }
}

async fn start(options: ServerOptions, tls: Option<ServerTls>) -> Running {
    let net = NetConfig::default();
    let listener = Listener::bind(ListenAddr::tcp("127.0.0.1", 0), tls, &net)
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = watch::channel(false);
    let counts = Arc::new(Counts::default());
    let task = tokio::spawn(server::serve(
        listener,
        options,
        Arc::new(echo),
        counts.clone(),
        stopped,
    ));
    Running {
        port,
        counts,
        stop,
        task,
    }
}

async fn echo(request: ServerRequest) -> ServerResponse {
    if request.path == "/hang" {
        std::future::pending::<()>().await;
    }
    let text = format!(
        "{} {} {:?} {}",
        request.method,
        request.path,
        request.query,
        request.body.len()
    );
    ServerResponse::text(StatusCode::CREATED, text)
}

/// Writes raw bytes and reads until the server hangs up.
async fn raw(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset behind the answer is fine: what came before counts.
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(10), read)
        .await
        .expect("the server hangs up");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn requests_are_answered_and_connections_kept() {
    let server = start(options(), None).await;
    let endpoint = Endpoint::tcp("127.0.0.1", server.port);
    let client = HttpClient::new(endpoint, None, &NetConfig::default(), None).unwrap();
    for _ in 0..3 {
        let response = client.send(post("hello")).await.unwrap();
        assert_eq!(response.status, 201);
        assert_eq!(response.body, "POST /in Some(\"x=1\") 5");
    }
    assert_eq!(server.counts.connections.load(Ordering::Relaxed), 1);
    server.stop.send(true).unwrap();
    assert_eq!(server.task.await.unwrap(), 0, "nothing was cut off");
}

#[tokio::test]
async fn tls_carries_the_same() {
    let certs = Certs::new(&["localhost"]);
    let server = start(options(), Some(ServerTls::build(&certs.server()).unwrap())).await;
    let tls = firelane_net::ClientTls::build(&certs.client()).unwrap();
    let endpoint = Endpoint::tcp("localhost", server.port);
    let client = HttpClient::new(endpoint, Some(tls), &NetConfig::default(), None).unwrap();
    assert_eq!(client.send(post("hello")).await.unwrap().status, 201);
    let answer = raw(server.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(
        !answer.contains("HTTP/1.1 2"),
        "plain text on a TLS port: {answer:?}"
    );
    assert_eq!(server.counts.broken.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let server = start(options(), None).await;
    let announced = raw(
        server.port,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n",
    )
    .await;
    assert!(announced.starts_with("HTTP/1.1 413 "), "{announced}");
    let mut chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..3 {
        chunked.extend(format!("190\r\n{}\r\n", "x".repeat(400)).bytes());
    }
    let streamed = raw(server.port, &chunked).await;
    assert!(streamed.starts_with("HTTP/1.1 413 "), "{streamed}");
    assert_eq!(server.counts.too_large.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn slow_and_broken_clients_are_cut_off() {
    let server = start(options(), None).await;
    let no_end = raw(server.port, b"POST / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
    assert!(!no_end.contains("HTTP/1.1 2"), "{no_end}");
    let no_body = raw(
        server.port,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf",
    )
    .await;
    assert!(no_body.starts_with("HTTP/1.1 408 "), "{no_body}");
    let garbage = raw(server.port, b"\x16\x03\x01\x02\x00\x01\r\n\r\n").await;
    assert!(!garbage.contains("HTTP/1.1 2"), "{garbage}");
    let huge = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let huge = raw(server.port, huge.as_bytes()).await;
    assert!(huge.starts_with("HTTP/1.1 431 "), "{huge}");
}

/// Writes `head`, then one byte of `drip` after the other, until the server hangs up; its answer.
async fn trickle(port: u16, head: &str, drip: u8) -> String {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    to.write_all(head.as_bytes()).await.unwrap();
    let drips = tokio::spawn(async move {
        while to.write_all(&[drip]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut answer = Vec::new();
    let read = from.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(10), read)
        .await
        .expect("the server hangs up");
    drips.abort();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn clients_that_trickle_are_cut_off() {
    // Scenario: a byte every 20 ms, for ever: no pause is long. Guarantees: the whole is limited too.
    let server = start(options(), None).await;
    let head = trickle(server.port, "POST / HTTP/1.1\r\nHost: x\r\nX-Slow: ", b'x').await;
    assert!(!head.contains("HTTP/1.1 2"), "{head}");
    let body = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n";
    let body = trickle(server.port, body, b'x').await;
    assert!(body.starts_with("HTTP/1.1 408 "), "{body}");
}

#[tokio::test]
async fn unfinished_bodies_give_way_when_there_are_many() {
    // Scenario: a body takes longer than `patience`. Guarantees: it is cut off beyond the mark only.
    for (unfinished_mark, want) in [(50, "HTTP/1.1 408 "), (500, "HTTP/1.1 201 ")] {
        let options = ServerOptions {
            unfinished_mark,
            patience: Duration::from_millis(50),
            body_timeout: Duration::from_secs(60),
            ..options()
        };
        let server = start(options, None).await;
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        let head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 202\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        for piece in [&[b'x'; 100][..], &[b'x'; 101], b"x"] {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let _ = stream.write_all(piece).await;
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with(want), "{answer}");
    }
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let server = start(options(), None).await;
    let headers: String = (0..101).map(|n| format!("X-{n}: y\r\n")).collect();
    let answer = raw(server.port, format!("GET / HTTP/1.1\r\n{headers}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn health_checks_of_a_tls_port_are_no_faults() {
    let certs = Certs::new(&["localhost"]);
    let server = start(options(), Some(ServerTls::build(&certs.server()).unwrap())).await;
    drop(TcpStream::connect(("127.0.0.1", server.port)).await.unwrap());
    // One that says something wrong is, and comes later: the first is done by then or soon.
    raw(server.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.stop.send(true).unwrap();
    server.task.await.unwrap();
    assert_eq!(server.counts.broken.load(Ordering::Relaxed), 1);
    assert_eq!(server.counts.connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn the_limit_of_connections_holds() {
    // Scenario: one connection allowed and held idle. Guarantees: the second is served once the first is cut
    // off.
    let server = start(
        ServerOptions {
            connections_max: 1,
            ..options()
        },
        None,
    )
    .await;
    let _holder = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    let answer = raw(
        server.port,
        b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}

#[tokio::test]
async fn stopping_cuts_off_what_does_not_end() {
    let server = start(
        ServerOptions {
            header_timeout: Duration::from_secs(60),
            ..options()
        },
        None,
    )
    .await;
    let mut stuck = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    stuck
        .write_all(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut idle = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    idle.read_u8().await.unwrap();
    server.stop.send(true).unwrap();
    assert_eq!(
        server.task.await.unwrap(),
        1,
        "the idle one is closed in order, the stuck one is cut off"
    );
}
