//! Inputs: where records come from.

use std::sync::Arc;

use firelane_record::Tag;

use crate::{BoxFuture, Ingest, InputCounts, Stop};

/// A source of records. It is built without effects, opened once, then run until told to stop.
///
/// Contract:
/// - It stops *reading* when [`Ingest::append`] waits; it never closes a client for back-pressure.
/// - Bad bytes end at most the connection (or file) that sent them, and are counted.
/// - Every record it decodes is counted in [`InputCounts::received`] by the input itself, and then either
///   appended or counted as dropped with a [`crate::Reason`].
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
