//! The engine: it joins inputs, filters and outputs of a configuration into a running router.
//!
//! ```text
//! config ──build──▶ Plan ──router──▶ inputs ─▶ chain (fused filters) ─▶ log ─▶ one route per output
//! ```
//!
//! It knows no plugin: it sees the contracts of `firelane-core` and the tables that the binary hands it.

pub mod build;
mod commit;
mod inputs;
pub mod journal;
mod left;
pub mod properties;
mod restore;
pub mod router;
mod routes;
pub mod status;
pub mod storage;

pub mod budget;
pub mod chain;
pub mod ledger;
pub mod pipeline;
pub mod retry;
pub mod route;
pub mod shares;
pub mod stages;

pub use build::{EngineService, Plan, Tables, plan};
pub use ledger::{IngestLedger, RouteLedger};
pub use router::{Ended, Router, StartError};
pub use status::Status;
