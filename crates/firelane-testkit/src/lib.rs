//! Helpers for tests that see the router from outside: a process under test, a fake HTTP destination, a
//! forward client, the ledgers of the exit lines.
//!
//! Everything here is blocking and plain `std`, and shares no code with the product: a codec that was tested
//! against itself would prove nothing. A helper that cannot go on panics, naming what it waited for and what
//! the router said.

pub mod acks;
pub mod destination;
pub mod forward;
pub mod http;
pub mod ledger;
pub mod router;
pub mod s3;
pub mod sink;
pub mod wait;
mod wire;

pub use acks::{AckClient, Acked};
pub use destination::{Act, Destination, Request};
pub use forward::{Forward, Value};
pub use ledger::{Ledger, Ledgers};
pub use router::{Ended, Router, RouterBuilder};
pub use s3::{Fault, Op, S3};
pub use sink::{Answer, Sink};
pub use wait::{free_port, until};
