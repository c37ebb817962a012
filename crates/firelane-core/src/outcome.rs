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
    /// The destination holds it but shows it only after [`Output::finish`](crate::Output::finish): a part of
    /// an unfinished upload. It is settled, survives a kill of the process by the output's own means, and
    /// counts as parked until it is finished.
    Parked {
        /// What the destination will never take; discarded under `why`. All else is parked.
        refused: RecordSet,
        /// When its group must be finished at the latest, from now.
        until: Duration,
        /// Why records were refused.
        why: Option<Cause>,
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

/// What [`Output::finish`](crate::Output::finish) achieved for a group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Finished {
    /// Records that were parked and that the destination now shows.
    pub delivered: u64,
    /// Bytes of them, as they were in the log.
    pub bytes: u64,
    /// Records that were parked and are lost, because the destination has thrown away what it held.
    pub lost: u64,
    /// Why they are lost.
    pub lost_why: Option<Cause>,
    /// What is still parked.
    pub rest: Rest,
}

/// What is still parked of a group.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Rest {
    /// Nothing.
    #[default]
    Nothing,
    /// Something that must be finished in so long at the latest.
    Until(Duration),
    /// Something that could not be finished now.
    Retry {
        /// When the destination asked to be left alone so long; else the back-off decides.
        after: Option<Duration>,
        /// What went wrong.
        why: Cause,
    },
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
