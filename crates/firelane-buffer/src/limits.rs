//! What an output takes at once.

use std::time::Duration;

/// Whether chunks may overtake each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// A group's next chunk waits until the previous one is settled, retries included.
    PerStream,
    /// Chunks may be delivered side by side and out of order.
    Any,
}

/// The limits that chunks are cut to. The engine never hands out a chunk beyond them, except that one record
/// is never split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of raw records in a chunk.
    pub bytes_max: usize,
    /// Records in a chunk.
    pub records_max: u32,
    /// Distance of the first to the last event time in a chunk.
    pub span_max: Option<Duration>,
    /// Longest wait for more records before a chunk goes out; `None`: the service's `Flush`.
    pub linger: Option<Duration>,
    /// Whether chunks may overtake each other.
    pub order: Order,
    /// Chunks under way at once; at least 1.
    pub in_flight_max: usize,
}

impl Default for Limits {
    /// As Fluent Bit's chunks: about 2 MB, one at a time.
    fn default() -> Self {
        Self {
            bytes_max: 2_000_000,
            records_max: u32::MAX,
            span_max: None,
            linger: None,
            order: Order::PerStream,
            in_flight_max: 1,
        }
    }
}
