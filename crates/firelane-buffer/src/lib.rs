//! The log: records are appended once and read by every route at its own pace.
//!
//! ```text
//!  inputs ──append──▶ Partition: frame frame frame frame …      (a frame: one run of one tag)
//!                        ▲ Cursor of route A   ▲ Cursor of route B
//!                        │ read                │
//!                     Batcher: cuts to Limits, by group ──▶ Claim ─▶ delivered ─▶ settle ─▶ frame released
//! ```
//!
//! - A frame is released, and its guard with it, when every route it was routed to has settled all its
//!   records.
//! - What a route has settled is an interval set over the partition's record numbers ([`Cursor`]).
//! - A [`Claim`] is a duty: it is settled by value, wholly or in part.
//!
//! Frames are in memory, on disk, or both. On disk they are in a [`Block`], together with others of their
//! partition; the [`store`] writes and reads blocks. Frames of a durable input join a block when they are
//! appended; others when memory gets tight ([`Partition::spill`]). A block that is written may take the
//! place of its frames in memory, as one entry of the order. A route that comes to it loads it, and reads
//! a copy that is its own. So memory holds what is new, what routes have claimed, and a few words for
//! each 256 KiB on disk, however many routes read the log and however slow one of them is.
//!
//! Not here: tokio, clocks (times are arguments), threads. Files are reached through [`Disk`].

pub mod batch;
pub mod block;
pub mod claim;
pub mod cursor;
pub mod disk;
pub mod frame;
pub mod limits;
pub mod partition;
pub mod spill;
pub mod store;

pub use batch::{Batcher, GroupKey, Grouping};
pub use block::Block;
pub use claim::{Claim, ClaimPart};
pub use cursor::Cursor;
pub use disk::Disk;
pub use frame::{Done, Frame, Guard, RouteId, Routing};
pub use limits::{Limits, Order};
pub use partition::{Append, FoundBlock, Lost, Partition, ReadEnd};
pub use spill::Spilled;
#[doc(hidden)]
pub use store::fuzz_segment;
pub use store::{Group, Settled, Store, StoreOptions};
