//! The local AWS endpoint: the calls that router and task make, on this machine, with AWS's own checks,
//! limits, errors and pages.
//!
//! ```text
//! socket ─ guard.rs ─▶ server.rs: service, signature (auth.rs), fate (faults.rs)
//!                        ├─ logs/ kinesis/ firehose.rs   events, records: wire.rs to a Batch, no trees
//!                        ├─ secrets.rs ssm.rs sts.rs ecr.rs
//!                        ├─ s3/                          objects, streamed to files
//!                        └─ admin.rs                     /_firelane: what is there, records as lines, faults
//!                               ▼
//!                        store/: State under one lock ─▶ one thread: zstd segments, SQLite index
//! ```
//!
//! A library: [`Endpoint::start`] on a given or a free port, [`Cloud`] to seed it, to read what came and to
//! put faults in while it runs, [`Endpoint::stop`]. `firelane aws` is a thin command around it, `firelane
//! logs` one around [`view`].
//!
//! Bounds: 1,024 connections, 16 MiB for a JSON body, 5 GiB for a part of S3, 512 MiB of bodies in memory,
//! 64 MiB of records that wait for the disk. Not here: IAM (every signature that holds may do everything),
//! encryption, regions (resources are the same in all), costs.

mod admin;
mod auth;
mod cloud;
mod ecr;
mod endpoint;
mod error;
mod faults;
mod firehose;
pub mod fuzz;
mod guard;
mod kinesis;
mod logs;
mod params;
mod s3;
mod secrets;
mod server;
mod service;
mod ssm;
mod store;
mod sts;
mod time;
mod uri;
mod wire;
mod xml;

pub mod view;

pub use cloud::{Cloud, Created, Credentials, Limits, Missing, Options};
pub use endpoint::{Endpoint, StartError};
pub use faults::{BadShare, Fault, Faults, Injected, Share};
pub use logs::Event;
pub use service::{Service, UnknownService};
pub use store::OpenError;
