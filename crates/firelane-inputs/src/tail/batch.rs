//! What goes from the reading thread to the engine's side.

use std::collections::VecDeque;

use firelane_record::{Records, Tag};
use tokio::sync::mpsc;

/// A position: everything of file `key` before `offset` is safe once the records before it are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) key: u64,
    pub(super) life: u32,
    pub(super) offset: u64,
}

/// Records of one file and the position behind them.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) tag: Tag,
    pub(super) records: Records,
    /// Lines that `skip_long_lines` left out.
    pub(super) skipped: u64,
    pub(super) mark: Mark,
}

/// What the reading thread says.
#[derive(Debug)]
pub(super) enum Message {
    Batch(Batch),
    /// Nothing more comes of this file.
    Closed(u64),
}

/// Messages on their way; the ones that found no room wait here.
pub(super) struct Outbox {
    sender: mpsc::Sender<Message>,
    waiting: VecDeque<Message>,
}

impl Outbox {
    /// An empty outbox.
    pub(super) fn new(sender: mpsc::Sender<Message>) -> Self {
        Self {
            sender,
            waiting: VecDeque::new(),
        }
    }

    /// Whether reading must wait. One read may add one batch and one end beyond that.
    pub(super) fn is_full(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends a message, or lets it wait.
    pub(super) fn push(&mut self, message: Message) {
        self.waiting.push_back(message);
        self.flush();
    }

    /// Sends what fits.
    pub(super) fn flush(&mut self) {
        while let Some(message) = self.waiting.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(message)) = self.sender.try_send(message) {
                self.waiting.push_front(message);
                return;
            }
        }
    }
}
