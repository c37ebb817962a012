//! The listener of the monitoring server, with its limits: connections at once, time for a request.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Most connections at once; more wait in the system's backlog.
const CONNECTIONS_MAX: usize = 256;
/// Longest time from the start, or from the last byte of an answer, to the end of the next request.
const REQUEST_MAX: Duration = Duration::from_secs(90);
/// Wait after the system ran out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound address whose clients are limited.
pub(crate) struct Guarded {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    limit: Duration,
}

impl Guarded {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            limit: REQUEST_MAX,
        }
    }
}

impl axum::serve::Listener for Guarded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed.
        let slot = self.slots.clone().acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let connection = Connection {
                        stream,
                        limit: self.limit,
                        deadline: Box::pin(tokio::time::sleep(self.limit)),
                        _slot: slot,
                    };
                    return (connection, peer);
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails to read once its client has taken too long for a request.
pub(crate) struct Connection {
    stream: TcpStream,
    limit: Duration,
    deadline: Pin<Box<Sleep>>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if written.is_ready() {
            let limit = self.limit;
            self.deadline.as_mut().reset(Instant::now() + limit);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    /// A server of one connection at a time; its port.
    async fn serve(limit: Duration) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let guarded = Guarded {
            slots: Arc::new(Semaphore::new(1)),
            limit,
            ..Guarded::new(listener)
        };
        let app = axum::Router::new().route("/", get(|| async { "hello" }));
        tokio::spawn(async move { axum::serve(guarded, app).await });
        port
    }

    async fn connect(port: u16) -> TcpStream {
        TcpStream::connect(("127.0.0.1", port)).await.unwrap()
    }

    async fn answer(stream: &mut TcpStream) -> String {
        let mut seen = Vec::new();
        while !seen.ends_with(b"hello") {
            seen.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8_lossy(&seen).into_owned()
    }

    #[tokio::test]
    async fn slow_requests_end_and_free_their_place() {
        let port = serve(Duration::from_millis(200)).await;
        let mut slow = connect(port).await;
        slow.write_all(b"GET / HTT").await.unwrap();
        // Waits for the place of the slow one, who is cut off though a byte comes now and then.
        let mut next = connect(port).await;
        next.write_all(ASK).await.unwrap();
        let drips = async {
            while slow.write_all(b"P").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let both = async { tokio::join!(answer(&mut next), drips) };
        let (answer, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    #[tokio::test]
    async fn connections_are_kept_from_request_to_request() {
        let port = serve(Duration::from_secs(60)).await;
        let mut client = connect(port).await;
        for _ in 0..3 {
            client.write_all(ASK).await.unwrap();
            assert!(answer(&mut client).await.contains("hello"));
        }
    }
}
