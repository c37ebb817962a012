//! A connection, whatever carries it, and the bytes it moved.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_rustls::TlsStream;

/// A connection that we opened or accepted. `Unpin`; `tokio::io::split` it for two tasks.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stream {
    /// TCP, `TCP_NODELAY` set.
    Tcp(TcpStream),
    /// A unix socket.
    #[cfg(unix)]
    Unix(UnixStream),
    /// TLS over TCP, handshake done.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Waits until there is something to read (or the end), so that a buffer need not be held meanwhile.
    /// For TLS it returns when encrypted bytes came; the read may then still wait.
    ///
    /// # Cancel safety
    /// Nothing is read.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            #[cfg(unix)]
            Self::Unix(stream) => stream.readable().await,
            Self::Tls(stream) => stream.get_ref().0.readable().await,
        }
    }

    /// Writes and flushes all of `bytes`; fails with `TimedOut` once the peer takes nothing for `stall`.
    ///
    /// # Cancel safety
    /// When dropped, an unknown part is written: the connection cannot be used further.
    pub async fn send(&mut self, mut bytes: &[u8], stall: Duration) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = within(stall, self.write(bytes)).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(count..).unwrap_or_default();
        }
        within(stall, self.flush()).await
    }

    /// Reads once into the spare room of `buffer` (4 KiB more where it is full); 0 at the end of the stream.
    /// Fails with `TimedOut` where nothing comes for `stall`.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn receive(&mut self, buffer: &mut BytesMut, stall: Duration) -> io::Result<usize> {
        if buffer.len() == buffer.capacity() {
            buffer.reserve(4096);
        }
        within(stall, self.read_buf(buffer)).await
    }
}

async fn within<T>(stall: Duration, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(stall, step)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

macro_rules! each {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            Stream::Tcp($inner) => $call,
            #[cfg(unix)]
            Stream::Unix($inner) => $call,
            Stream::Tls($inner) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, inner => inner.is_write_vectored())
    }
}

/// How many plain bytes a [`Counted`] stream has moved; shows progress and whether a request got out whole.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    read: AtomicU64,
    written: AtomicU64,
}

impl Moved {
    /// Bytes that the stream took over for sending. They may still be on their way.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Grows with each byte in either direction.
    pub(crate) fn total(&self) -> u64 {
        self.read.load(Ordering::Acquire).wrapping_add(self.written())
    }
}

/// A stream that counts.
#[derive(Debug)]
pub(crate) struct Counted {
    stream: Stream,
    moved: Arc<Moved>,
}

impl Counted {
    pub(crate) fn new(stream: Stream) -> (Self, Arc<Moved>) {
        let moved = Arc::new(Moved::default());
        (
            Self {
                stream,
                moved: moved.clone(),
            },
            moved,
        )
    }

    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let count = ready!(result)?;
        self.moved.written.fetch_add(count as u64, Ordering::Release);
        Poll::Ready(Ok(count))
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let count = buf.filled().len().saturating_sub(before);
        self.moved.read.fetch_add(count as u64, Ordering::Release);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_that_stalls_ends_the_call() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (_silent, _) = listener.accept().await.unwrap();
        let mut stream = Stream::Tcp(stream);
        let stall = Duration::from_millis(50);
        let mut buffer = BytesMut::new();
        let error = stream.receive(&mut buffer, stall).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = stream.send(&vec![0; 32 << 20], stall).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
