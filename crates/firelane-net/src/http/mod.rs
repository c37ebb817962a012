//! A pooled HTTP/1.1 client for one destination.
//!
//! Wire: `Content-Length` always, never chunked; header names in title case (`User-Agent`), in the order
//! given, after `Host` (port left out for 80 and 443); redirects are not followed. A body is one [`Bytes`],
//! handed to the socket as it is.
//!
//! Each request ends: connecting within `net.connect_timeout`; writing while bytes move at least every
//! `net.io_timeout` (60 s where 0), at most [`WRITE_MAX`]; the whole response within [`RESPONSE_LIMIT`] or
//! what [`HttpClient::response_timeout`] says. Of a response body `response_limit` bytes are kept, the rest
//! is read and thrown away up to [`DRAIN_MAX`], beyond that the connection is closed.
//!
//! On failure the error says whether the peer may have taken the request ([`HttpError::is_ambiguous`]). Where
//! it cannot have (a pooled connection turned out closed before the request was out whole), one fresh
//! connection is tried before the caller hears of it. No other retries here.

mod client;

use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method};
use bytes::Bytes;

use crate::connect::ConnectError;

pub use client::{DRAIN_MAX, HttpClient, RESPONSE_KEPT, RESPONSE_LIMIT, WRITE_MAX};

/// A request to the client's destination.
#[derive(Debug, Clone)]
pub struct Request {
    /// `POST` for nearly everything.
    pub method: Method,
    /// Path and query, beginning with `/`.
    pub target: String,
    /// Headers in the order to send them. `Host`, `Content-Length` and `Connection` are added here.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The whole body.
    pub body: Bytes,
}

/// A response.
#[derive(Debug, Clone)]
pub struct Response {
    /// 100–999.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// The beginning of its body, up to the client's `response_limit`.
    pub body: Bytes,
    /// There was more body than was kept.
    pub is_cut: bool,
}

/// What a request was doing when its time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Sending the request. It is incomplete, so the peer cannot have taken it.
    Write,
    /// Waiting for the response's head. The peer may have taken the request.
    Response,
    /// Reading the response's body.
    Body,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Write => "writing the request",
            Self::Response => "waiting for the response",
            Self::Body => "reading the response",
        })
    }
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No connection (name, network, proxy, TLS). Nothing was sent.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A deadline passed.
    #[error("{endpoint}: no progress {phase} within {} s", .limit.as_secs_f32())]
    Timeout {
        /// Where to.
        endpoint: String,
        /// What it was doing.
        phase: Phase,
        /// The limit.
        limit: Duration,
    },
    /// The connection ended before the whole request was written: the peer cannot have taken it.
    #[error("{endpoint}: connection closed before the request was sent: {reason}")]
    Unsent {
        /// Where to.
        endpoint: String,
        /// What happened to the connection.
        reason: String,
    },
    /// The connection ended after the request was written: the peer may have taken it or not.
    #[error("{endpoint}: connection closed before the response came: {reason}")]
    Lost {
        /// Where to.
        endpoint: String,
        /// What happened to the connection.
        reason: String,
    },
    /// The peer's answer is not HTTP, or its head is too large. It may have taken the request.
    #[error("{endpoint}: unreadable response: {reason}")]
    Protocol {
        /// Where to.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The request cannot be written: its target is no path.
    #[error("`{target}` is no request target: {reason}")]
    Target {
        /// What was asked for.
        target: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl HttpError {
    /// The peer may have taken the request although there is no response: sending it again may repeat it.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Lost { .. } | Self::Protocol { .. } => true,
            Self::Timeout { phase, .. } => *phase != Phase::Write,
            Self::Connect(_) | Self::Unsent { .. } | Self::Target { .. } => false,
        }
    }
}
