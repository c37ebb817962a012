//! Plain connections for `tcp` and `forward`: a small pool, writes and reads with deadlines.
//!
//! At most as many idle connections as there are workers. One that was idle too long, was used often enough
//! (`net.keepalive_max_recycle`) or was closed by the peer meanwhile is not used again.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use firelane_core::{Cause, CauseKind};
use firelane_net::{Connector, NetConfig, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// Longest time to write a block, however it moves.
const WRITE_MAX: Duration = Duration::from_secs(600);
/// Longest time for a TLS goodbye; nothing depends on it.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// Unasked bytes of the peer that are thrown away before a connection counts as strange.
const UNASKED_MAX: usize = 64 * 1024;

/// Connections to one destination.
pub(crate) struct Wire {
    connector: Connector,
    idle: Mutex<Vec<Connection>>,
    idle_max: usize,
    idle_limit: Duration,
    uses_max: u32,
    io_limit: Duration,
    slots: Option<Semaphore>,
}

/// An open connection, taken out of the pool.
pub(crate) struct Connection {
    stream: Stream,
    uses: u32,
    since: Instant,
}

/// How far a block got before its connection failed.
#[derive(Debug)]
pub(crate) struct Broken {
    /// Bytes that the system took over; the peer has them, or not.
    pub(crate) written: usize,
    /// What happened.
    pub(crate) source: io::Error,
}

impl Wire {
    /// A pool of `workers` connections; the first block opens one.
    pub(crate) fn new(connector: Connector, net: &NetConfig, workers: usize) -> Self {
        let slots =
            (net.max_worker_connections > 0).then(|| Semaphore::new(net.max_worker_connections as usize));
        Self {
            connector,
            idle: Mutex::default(),
            idle_max: if bool::from(net.keepalive) {
                workers.max(1)
            } else {
                0
            },
            idle_limit: net.idle_limit(),
            uses_max: net.keepalive_max_recycle,
            io_limit: net.io_limit(),
            slots,
        }
    }

    /// Where to, for messages.
    pub(crate) fn place(&self) -> String {
        self.connector.endpoint().to_string()
    }

    /// Longest wait for bytes.
    pub(crate) fn io_limit(&self) -> Duration {
        self.io_limit
    }

    /// A turn to use a connection, where `net.max_worker_connections` limits them.
    pub(crate) async fn turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        match &self.slots {
            Some(slots) => slots.acquire().await.ok(),
            None => None,
        }
    }

    /// An idle connection that the peer has not closed.
    pub(crate) async fn reuse(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle().pop()?;
            let is_fresh = self.idle_limit.is_zero() || connection.since.elapsed() < self.idle_limit;
            if is_fresh && connection.is_alive().await {
                return Some(connection);
            }
        }
    }

    /// A new connection.
    pub(crate) async fn open(&self) -> Result<Connection, Cause> {
        let stream = self.connector.connect().await;
        let stream = stream.map_err(|error| Cause::new(CauseKind::Connect, error.to_string()))?;
        Ok(Connection {
            stream,
            uses: 0,
            since: Instant::now(),
        })
    }

    /// Gives a connection back after a block that went well, or closes it.
    pub(crate) async fn give_back(&self, mut connection: Connection) {
        connection.uses += 1;
        connection.since = Instant::now();
        let used_up = self.uses_max > 0 && connection.uses >= self.uses_max;
        if !used_up {
            let mut idle = self.idle();
            if idle.len() < self.idle_max {
                return idle.push(connection);
            }
        }
        connection.close().await;
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Writes a block; each step within `limit`.
    pub(crate) async fn write(&mut self, block: &[u8], limit: Duration) -> Result<(), Broken> {
        let mut written = 0;
        let all = async {
            while written < block.len() {
                match timeout(limit, self.stream.write(&block[written..])).await {
                    Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(Ok(n)) => written += n,
                    Ok(Err(error)) => return Err(error),
                    Err(_) => return Err(stalled("written", limit)),
                }
            }
            let flushed = timeout(limit, self.stream.flush()).await;
            flushed.unwrap_or_else(|_| Err(stalled("written", limit)))
        };
        let result = timeout(WRITE_MAX, all).await;
        result
            .unwrap_or_else(|_| Err(stalled("written", WRITE_MAX)))
            .map_err(|source| Broken { written, source })
    }

    /// Reads what is there, waiting up to `limit`; 0 at the end.
    pub(crate) async fn read(&mut self, buffer: &mut [u8], limit: Duration) -> io::Result<usize> {
        let read = timeout(limit, self.stream.read(buffer)).await;
        read.unwrap_or_else(|_| Err(stalled("read", limit)))
    }

    /// Says goodbye; a failure changes nothing any more.
    pub(crate) async fn close(mut self) {
        let _ = timeout(CLOSE_MAX, self.stream.shutdown()).await;
    }

    /// Whether the peer has not closed it. What it sent unasked is thrown away.
    async fn is_alive(&mut self) -> bool {
        let mut unasked = [0; 4096];
        let mut seen = 0;
        while seen < UNASKED_MAX {
            match timeout(Duration::ZERO, self.stream.read(&mut unasked)).await {
                Err(_) => return true,
                Ok(Ok(n)) if n > 0 => seen += n,
                Ok(_) => return false,
            }
        }
        false
    }
}

fn stalled(what: &str, limit: Duration) -> io::Error {
    let text = format!("no byte could be {what} within {} s", limit.as_secs_f32());
    io::Error::new(io::ErrorKind::TimedOut, text)
}

/// The class of a broken connection.
pub(crate) fn kind_of(error: &io::Error) -> CauseKind {
    match error.kind() {
        io::ErrorKind::TimedOut => CauseKind::Timeout,
        _ => CauseKind::Unavailable,
    }
}
