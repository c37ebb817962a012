//! Configuration: text to a tree with places, to typed values.
//!
//! ```text
//! files ──classic | yaml──▶ Config (sections, entries, all with file:line:column) ──Section::parse──▶ typed
//! ```
//!
//! Both of Fluent Bit's grammars behave as it does, including its limits, except that every error is listed
//! and not only the first, and that each one names its place. Not here: which plugins exist and what they
//! accept.

pub mod diag;
pub mod span;
pub mod tree;

pub mod classic;
pub mod env;
pub mod files;
pub mod load;
pub mod yaml;

pub mod redact;
pub mod section;
pub mod service;
pub mod storage;
pub mod suggest;
pub mod units;

pub use diag::{Class, Diagnostic, Severity};
pub use files::{Files, RealFiles};
pub use load::{Failure, Loaded, load, load_parsers};
pub use service::ServiceConfig;
pub use span::{SourceId, Sources, Span, Spanned};
pub use storage::StorageConfig;
pub use tree::{Config, Entry, Section, SectionKind};

#[doc(hidden)]
pub fn fuzz_classic(data: &[u8]) {
    load::fuzz(data, "main.conf");
}

#[doc(hidden)]
pub fn fuzz_yaml(data: &[u8]) {
    load::fuzz(data, "main.yaml");
}
