//! What became of a chunk.

use std::fmt;
use std::time::Duration;

use firelane_record::set::RecordSet;

/// The end of one delivery. Indexes in the sets count the chunk's records from 0.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an outcome settles a claim"]
pub enum Outcome {
    /// The destination has all of it.
    Delivered,
    /// Some or all of it must be sent again.
    Retry {
        /// What the destination has already; never sent again.
        done: RecordSet,
        /// What the destination will never take; discarded under `why`.
        refused: RecordSet,
        /// When the destination asked to be left alone so long (`Retry-After`); else the back-off decides.
        after: Option<Duration>,
        /// What went wrong.
        why: Cause,
    },
    /// The destination refused `records` for good; it has the rest.
    Discard {
        /// What was refused.
        records: RecordSet,
        /// What went wrong.
        why: Cause,
    },
}

impl Outcome {
    /// Everything again, after the back-off.
    pub fn retry(why: Cause) -> Self {
        Self::Retry {
            done: RecordSet::none(),
            refused: RecordSet::none(),
            after: None,
            why,
        }
    }

    /// Nothing of it was taken or ever will be.
    pub fn discard_all(why: Cause) -> Self {
        Self::Discard {
            records: RecordSet::all(),
            why,
        }
    }
}

/// The class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CauseKind {
    /// No connection: name resolution, refusal, TLS.
    Connect,
    /// No answer in time.
    Timeout,
    /// The destination asked for less.
    Throttled,
    /// The destination is not able to take it now.
    Unavailable,
    /// The destination will never take it.
    Refused,
    /// Shared key, password, token or certificate.
    Auth,
    /// The answer makes no sense.
    Protocol,
    /// A local file or the system.
    Io,
    /// A bug of ours: the output panicked.
    Panic,
}

/// Why a delivery failed, for people and for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The class.
    pub kind: CauseKind,
    /// What happened, with address and status.
    pub text: String,
    /// The whole request may have arrived (the answer was lost), so sending it again may duplicate it.
    pub ambiguous: bool,
}

impl Cause {
    /// A cause whose request certainly was not taken.
    pub fn new(kind: CauseKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            ambiguous: false,
        }
    }

    /// A cause whose request may have been taken.
    pub fn ambiguous(kind: CauseKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            ambiguous: true,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
