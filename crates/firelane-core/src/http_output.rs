//! What most outputs implement: two pure functions over HTTP. The only send loop is the driver in
//! `firelane-outputs`.

use std::time::Duration;

use bytes::Bytes;
use firelane_record::set::RecordSet;

use crate::{Cause, ChunkView, GroupBy, Limits};

/// One request and the records it carries.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// `POST`, `PUT` …
    pub method: &'static str,
    /// Path and query.
    pub target: String,
    /// Header names and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body, compressed already where that was asked for.
    pub body: Bytes,
    /// Which records of the chunk it carries.
    pub covers: RecordSet,
    /// The records in each entry of the body, where entries hold several and the destination answers for
    /// each entry. Empty where an entry is a record, and where answers are for the whole request.
    pub units: Vec<RecordSet>,
}

/// An answer.
#[derive(Debug)]
pub struct HttpResponse<'a> {
    /// The status code.
    pub status: u16,
    /// Header names (lower case) and values.
    pub headers: &'a [(String, String)],
    /// The body, cut at the driver's limit.
    pub body: &'a [u8],
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// All of the request was taken.
    Accepted,
    /// The rest of the request was taken.
    Partial {
        /// Records of the chunk that may be taken another time.
        again: RecordSet,
        /// Records that never will be.
        refused: RecordSet,
        /// What the destination said.
        why: Cause,
    },
    /// Too fast: again, not before `after` where it was given.
    Throttled {
        /// `Retry-After`.
        after: Option<Duration>,
        /// What the destination said.
        why: Cause,
    },
    /// Not now: again after the back-off.
    Unavailable(Cause),
    /// Never.
    Refused(Cause),
}

/// What is to be said of records that no request covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncovered {
    /// Those that need no request and count as delivered: markers that are no records of anybody.
    pub done: RecordSet,
    /// Why the others are refused, for people; `None` for a general text.
    pub why: Option<String>,
}

/// An output over HTTP.
pub trait HttpOutput: Send + Sync + 'static {
    /// What it takes at once.
    fn limits(&self) -> Limits;

    /// What may share a chunk: all of one tag, or anything. Keys per record are for outputs of their own.
    fn group_by(&self) -> GroupBy {
        GroupBy::Tag
    }

    /// The requests for a chunk, mostly one; exact sizes are known only here. Runs on the CPU pool. Records
    /// that no request covers are discarded as refused: nothing could be made of them. Group markers need not
    /// be covered.
    fn encode(&self, chunk: ChunkView<'_>) -> Vec<HttpRequest>;

    /// What to say of `records` of a chunk, which no request covers; group markers are no records of anybody.
    /// Asked only where there are any.
    fn uncovered(&self, chunk: ChunkView<'_>, records: &RecordSet) -> Uncovered {
        let mut done = RecordSet::none();
        for (at, (_, event)) in (0..).zip(chunk.events()) {
            if event.time.is_group_marker() && records.contains(at) {
                done.insert(at);
            }
        }
        Uncovered { done, why: None }
    }

    /// What an answer means.
    fn judge(&self, request: &HttpRequest, response: &HttpResponse<'_>) -> Judgement;
}
