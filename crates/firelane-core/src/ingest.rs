//! The way from an input into the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use firelane_record::{Records, Tag};

use crate::{BoxFuture, Ticket};

/// When the ticket of an append closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AckOn {
    /// When the records are in the log (and synced, where the log is on disk). What Forward acks wait for.
    #[default]
    Append,
    /// When every route has settled them. What tail offsets wait for.
    Delivery,
}

/// One ordered sequence of records: an (input, connection or file) pair. Order is kept within a stream and
/// tag.
#[derive(Debug, Clone)]
pub struct Stream {
    id: u64,
    ack_on: AckOn,
}

impl Stream {
    /// Unique in this process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// When tickets of this stream close.
    pub fn ack_on(&self) -> AckOn {
        self.ack_on
    }
}

/// What the engine implements: takes runs of records.
pub trait Sink: Send + Sync {
    /// Filters, routes and appends a run. Never waits: the run that crosses a limit is kept. Takes nothing
    /// more once it was closed.
    fn append(&self, stream: &Stream, tag: &Tag, records: Records) -> Result<Ticket, IngestError>;

    /// `None` when there is room for more; else a future that ends when there is, or when nothing more is
    /// taken.
    fn ready(&self) -> Option<BoxFuture<'static, ()>>;

    /// A short wait by which a run of `bytes` gives way to delivery, when the engine wants one; `None`:
    /// go on at once.
    fn pace(&self, bytes: usize) -> Option<BoxFuture<'static, ()>> {
        let _ = bytes;
        None
    }
}

/// The engine will take no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The engine has ended its drain; the records were not taken and must not be acknowledged.
    #[error("the router has stopped taking records")]
    Stopped,
}

/// An input's handle on the engine. Cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    sink: Arc<dyn Sink>,
}

static STREAMS: AtomicU64 = AtomicU64::new(1);

impl Ingest {
    /// A handle over an engine, or a test double.
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self { sink }
    }

    /// Opens a stream: one per connection or file.
    pub fn stream(&self, ack_on: AckOn) -> Stream {
        Stream {
            id: STREAMS.fetch_add(1, Ordering::Relaxed),
            ack_on,
        }
    }

    /// What [`crate::InputCx::append`] does, without the counting.
    pub(crate) async fn append(
        &self,
        stream: &Stream,
        tag: &Tag,
        records: Records,
    ) -> Result<Ticket, IngestError> {
        if records.is_empty() {
            return Ok(Ticket::closed());
        }
        if let Some(wait) = self.sink.pace(records.len()) {
            wait.await;
        }
        while let Some(wait) = self.sink.ready() {
            wait.await;
        }
        self.sink.append(stream, tag, records)
    }

    /// Whether an append would wait now.
    pub fn is_full(&self) -> bool {
        self.sink.ready().is_some()
    }
}
