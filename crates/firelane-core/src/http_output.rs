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

    /// What an answer means.
    fn judge(&self, request: &HttpRequest, response: &HttpResponse<'_>) -> Judgement;
}
