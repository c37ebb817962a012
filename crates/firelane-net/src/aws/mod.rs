//! AWS: the official credential chain and signing (`aws-config`, `aws-sigv4`) over our own HTTP client,
//! and thin calls on bodies that are encoded already.
//!
//! ```text
//! AwsSettings + ClientTls + NetConfig -> AwsClient -> Response (any status)
//! Response -> Failure::of -> what it means
//! ```
//!
//! A client finds region and credentials at its first request, not when it is built. Credentials are
//! shared by all clients of the process that ask for the same ones, and renewed ahead of their end. A
//! request that was refused for its time or for expired credentials is signed again and sent a second
//! time; other retries are the caller's.

mod chain;
mod client;
mod clock;
mod codes;
mod credentials;
mod denied;
mod endpoint;
mod failure;
mod region;
mod sdk;
mod service;
mod sign;
mod sources;
mod xml;

pub use client::{AwsClient, AwsError, AwsSettings, BodyHash, user_agent};
pub use endpoint::{Endpoint as AwsEndpoint, EndpointError, Partition};
pub use failure::{Class, Failure};
pub use service::Service;
pub use sources::{Sources, encoded};
pub use xml::element;
