//! Outputs: where records go.

use std::sync::Arc;
use std::time::Duration;

use firelane_record::{Event, Tag};

use crate::{BoxFuture, Chunk, Finished, Group, Limits, Outcome, OutputCounts, Stop};

/// What may share a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupBy {
    /// Anything.
    All,
    /// Records of one tag.
    #[default]
    Tag,
    /// Records for which [`Output::group`] gives equal keys.
    Record,
}

/// A destination.
///
/// Contract:
/// - `deliver` has a deadline on everything outside, and never loses a record silently: what is not
///   [`Outcome::Delivered`] is named.
/// - A chunk may come again after [`Outcome::Retry`], without the records that were `done`.
/// - It may be called up to [`Limits::in_flight_max`] times at once.
pub trait Output: Send + Sync + 'static {
    /// What it takes at once. Asked again after deliveries: `bytes_max` may change, as an output learns how
    /// large its records become. An output with a `linger` of its own collects for long: under pressure its
    /// largest batches go first, several at once.
    fn limits(&self) -> Limits;

    /// What may share a chunk.
    fn group_by(&self) -> GroupBy {
        GroupBy::Tag
    }

    /// The key of a record; asked only under [`GroupBy::Record`].
    fn group(&self, tag: &Tag, _event: &Event<'_>) -> Group {
        Group::Tag(tag.clone())
    }

    /// Takes what it needs from the outside before the first chunk (a folder, a key file). Destinations that
    /// may be away are not asked here.
    fn open(&self) -> BoxFuture<'_, Result<(), OutputError>> {
        Box::pin(async { Ok(()) })
    }

    /// Longest time that a delivery may take, all of its own deadlines together: what takes longer has hung
    /// and is given up, to be sent again.
    fn deadline(&self) -> Duration {
        Duration::from_secs(600)
    }

    /// Delivers a chunk.
    fn deliver(&self, chunk: Chunk, cx: DeliverCx) -> BoxFuture<'_, Outcome>;

    /// What is parked ([`Outcome::Parked`]), with what an earlier run has left parked. Asked once before the
    /// first chunk, so that it stands in the ledger, and again when a route begins anew.
    fn parked(&self) -> BoxFuture<'_, Vec<Parked>> {
        Box::pin(async { Vec::new() })
    }

    /// Finishes what is parked of `group` and due: called when its time is over, and for all groups at the
    /// end of a drain ([`DeliverCx::stop`] says which). `give_up`: this is the last try, and what cannot be
    /// finished is given up.
    fn finish(&self, _group: Group, _give_up: bool, _cx: DeliverCx) -> BoxFuture<'_, Finished> {
        Box::pin(async { Finished::default() })
    }

    /// Called once at the end of a drain, when nothing is under way: tidy up outside. It is not waited for
    /// longer than [`CLOSE_MAX`].
    fn close(&self, _cx: DeliverCx) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// Longest that [`Output::close`] may take.
pub const CLOSE_MAX: Duration = Duration::from_secs(3);

/// Something that is parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Its group.
    pub group: Group,
    /// Records, those of an earlier run included.
    pub records: u64,
    /// When it must be finished at the latest, from now.
    pub until: Duration,
}

/// What a delivery is given.
#[derive(Clone)]
pub struct DeliverCx {
    /// Instance name or alias, for messages.
    pub name: Arc<str>,
    /// 0 at the first try, then 1, 2, …
    pub attempt: u32,
    /// When to give up waiting.
    pub stop: Stop,
    /// This output's counters.
    pub counts: Arc<OutputCounts>,
}

/// Chunks up to this many bytes are encoded where they are; larger ones on the CPU pool.
const ENCODE_INLINE_MAX: usize = 64 * 1024;

impl DeliverCx {
    /// Runs an encoding or compression job over `chunk` away from the I/O workers, unless it is small.
    ///
    /// # Errors
    /// `None` where the job panicked; the caller answers with a retry of kind panic.
    pub async fn encode<T, F>(&self, chunk: &Chunk, job: F) -> Option<T>
    where
        T: Send + 'static,
        F: FnOnce(&Chunk) -> T + Send + 'static,
    {
        if chunk.bytes() <= ENCODE_INLINE_MAX {
            return Some(job(chunk));
        }
        let chunk = chunk.clone();
        tokio::task::spawn_blocking(move || job(&chunk)).await.ok()
    }
}

/// Why an output could not start.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct OutputError {
    /// What happened, with the path or address it happened to.
    pub message: String,
    /// What the user can do about it.
    pub help: Option<String>,
}

impl OutputError {
    /// An error from its text and what to do about it.
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: Some(help.into()),
        }
    }
}
