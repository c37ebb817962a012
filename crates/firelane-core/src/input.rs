//! Inputs: where records come from.

use std::sync::Arc;

use firelane_record::{Records, Tag};

use crate::{BoxFuture, Ingest, IngestError, InputCounts, Reason, Stop, Stream, Ticket};

/// A source of records. It is built without effects, opened once, then run until told to stop.
///
/// Contract:
/// - It stops *reading* when [`InputCx::append`] waits; it never closes a client for back-pressure.
/// - Bad bytes end at most the connection (or file) that sent them, and are counted.
/// - Every record it decodes goes through [`InputCx::append`], which counts it as received, or is counted by
///   the input in [`InputCounts::received`] and as dropped with a [`Reason`].
/// - In [`crate::Phase::Draining`] a generator ends at once; a server reads on until its clients have hung up
///   or were quiet for [`InputCx::quiet`]; at [`crate::Phase::Over`] everything ends.
pub trait Input: Send + 'static {
    /// Takes what it needs from the outside: binds sockets, opens files and databases. Called once, before
    /// any input runs, so that a failure stops the start and nothing was announced.
    fn open(&mut self) -> BoxFuture<'_, Result<(), InputError>> {
        Box::pin(async { Ok(()) })
    }

    /// Runs until it has nothing more to give or is told to stop. An error ends this input alone.
    fn run(self: Box<Self>, cx: InputCx) -> BoxFuture<'static, Result<(), InputError>>;

    /// Whether the end of this input ends the whole process (standard input, Fluent Bit's behaviour).
    fn ends_process(&self) -> bool {
        false
    }
}

/// What a running input is given.
#[derive(Clone)]
pub struct InputCx {
    /// Instance name (`forward.0`) or alias, for messages.
    pub name: Arc<str>,
    /// The tag for records that bring none: the property `tag`, else the instance name.
    pub tag: Tag,
    /// The property `tag` as it was given, if it was.
    pub tag_given: Option<Tag>,
    /// Where records go.
    pub ingest: Ingest,
    /// When to stop.
    pub stop: Stop,
    /// This input's counters.
    pub counts: Arc<InputCounts>,
    /// How long a client must have been silent to count as done while draining.
    pub quiet: std::time::Duration,
}

impl InputCx {
    /// Counts a run as received and appends it, waiting while the memory budget is used up: not calling this
    /// is what stops the reading. An empty run gives a closed ticket.
    ///
    /// # Errors
    /// The engine takes no more. The records are counted as dropped and must not be acknowledged.
    ///
    /// # Cancel safety
    /// Cancelled while it waits, nothing was taken; the records are counted as dropped.
    pub async fn append(&self, stream: &Stream, tag: &Tag, records: Records) -> Result<Ticket, IngestError> {
        let mut pending = Pending {
            counts: &self.counts,
            records: records.count().into(),
        };
        self.counts.received.add(pending.records);
        let ticket = self.ingest.append(stream, tag, records).await?;
        pending.records = 0;
        Ok(ticket)
    }

    /// Counts `pieces` of what was read that are no records: received, dropped, and faults.
    pub fn malformed(&self, pieces: u64) {
        self.counts.received.add(pieces);
        self.counts.dropped.add(Reason::Malformed, pieces);
        self.counts.faults.add(pieces);
    }
}

/// Received records that the engine has not taken. However the append ends, they are counted.
struct Pending<'a> {
    counts: &'a InputCounts,
    records: u64,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.counts.dropped.add(Reason::Stopped, self.records);
    }
}

/// Why an input could not start or go on.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct InputError {
    /// What happened, with the address, path or file it happened to.
    pub message: String,
    /// What the user can do about it.
    pub help: Option<String>,
}

impl InputError {
    /// An error from its text.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use firelane_record::{RecordsBuf, Timestamp};

    use super::*;
    use crate::{AckOn, Sink, StopSource};

    /// Never has room; takes nothing once it is closed.
    #[derive(Default)]
    struct Full {
        closed: AtomicBool,
    }

    impl Sink for Full {
        fn append(&self, _: &Stream, _: &Tag, _: Records) -> Result<Ticket, IngestError> {
            Err(IngestError::Stopped)
        }

        fn ready(&self) -> Option<BoxFuture<'static, ()>> {
            let wait = || Box::pin(tokio::time::sleep(Duration::from_millis(1))) as BoxFuture<'static, ()>;
            (!self.closed.load(Ordering::Relaxed)).then(wait)
        }
    }

    fn two_records() -> Records {
        let mut buf = RecordsBuf::default();
        for secs in 0..2 {
            buf.push(Timestamp { secs, nanos: 0 }, None, &[0x80]);
        }
        buf.take()
    }

    /// Guarantees: a run whose append was refused, or given up while it waited, is accounted for.
    #[tokio::test]
    async fn what_is_not_taken_is_counted() {
        let sink = Arc::new(Full::default());
        let cx = InputCx {
            name: "test.0".into(),
            tag: Tag::new("t").expect("a tag"),
            tag_given: None,
            ingest: Ingest::new(sink.clone()),
            stop: StopSource::new().1,
            counts: Arc::default(),
            quiet: Duration::ZERO,
        };
        let stream = cx.ingest.stream(AckOn::Append);
        let given_up = cx.append(&stream, &cx.tag, two_records());
        assert!(
            tokio::time::timeout(Duration::from_millis(5), given_up)
                .await
                .is_err()
        );
        sink.closed.store(true, Ordering::Relaxed);
        assert!(cx.append(&stream, &cx.tag, two_records()).await.is_err());
        assert_eq!(
            (cx.counts.received.get(), cx.counts.dropped.get(Reason::Stopped)),
            (4, 4)
        );
    }
}
