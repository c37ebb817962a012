//! The plugin API: what an input, a filter, a stage and an output promise, and what they are given.
//!
//! Plugins know no engine and no other plugin: they see this crate. The engine knows no plugin: it sees the
//! same. A record leaves only through a named door: [`Fate`], [`Outcome`] and [`Reason`] are those doors.

pub mod ingest;
pub mod input;
pub mod stop;
pub mod ticket;

pub mod filter;
pub mod stage;

pub mod chunk;
pub mod http_output;
pub mod outcome;
pub mod output;

pub mod counts;
pub mod plugin;

pub use chunk::{Chunk, ChunkView, Part};
pub use counts::{Counter, Dropped, FilterCounts, InputCounts, OutputCounts, Reason};
pub use filter::{Fate, Filter, FilterCx};
pub use firelane_buffer::{GroupKey as Group, Limits, Order};
pub use http_output::{HttpOutput, HttpRequest, HttpResponse, Judgement, Uncovered};
pub use ingest::{AckOn, Ingest, IngestError, Sink, Stream};
pub use input::{Input, InputCx, InputError};
pub use outcome::{Cause, CauseKind, Finished, Outcome, Rest};
pub use output::{CLOSE_MAX, DeliverCx, GroupBy, Output, OutputError, Parked};
pub use plugin::{
    BuildCx, FilterConfig, FilterPlugin, InputConfig, InputPlugin, OutputConfig, OutputPlugin, Service,
    Stability,
};
pub use stage::{Emit, Scope, Stage};
pub use stop::{Phase, Stop, StopSource};
pub use ticket::{Hold, Ticket, TicketError};

use std::future::Future;
use std::pin::Pin;

/// A boxed future: one allocation per chunk or per append that waits, never per record.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
