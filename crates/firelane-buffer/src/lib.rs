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
//! Frames are in memory. The disk form reads and writes through [`Disk`] and takes the place of the frames'
//! bytes; cursors, batches and claims stay as they are. Not here: tokio, clocks (times are arguments),
//! threads.

pub mod batch;
pub mod claim;
pub mod cursor;
pub mod disk;
pub mod frame;
pub mod limits;
pub mod partition;
pub mod store;

pub use batch::{Batcher, GroupKey, Grouping};
pub use claim::{Claim, ClaimPart};
pub use cursor::Cursor;
pub use disk::Disk;
pub use frame::{Frame, Guard, RouteId, Routing};
pub use limits::{Limits, Order};
pub use partition::{Append, Partition};
pub use store::{Group, Settled, Store, StoreOptions};
