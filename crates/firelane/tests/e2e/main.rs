//! The router from outside: the binary, its files, its sockets. `FIRELANE_BIN` names the binary to test (the
//! test command gives the release build); without it, the one that Cargo built beside these tests.
//!
//! Every test that runs a router to its end reads both ledgers, which must balance.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy exempts only the tests themselves"
)]

mod bad_input;
mod buffer;
mod cli;
mod clients;
mod control;
mod corpus;
mod docs;
mod examples;
mod faults;
mod hostile;
mod monitor;
mod pressure;
mod reload;
mod s3;
mod service;

use std::path::{Path, PathBuf};
use std::time::Duration;

use firelane_testkit::RouterBuilder;

/// Longest that anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
fn binary() -> PathBuf {
    let built = || env!("CARGO_BIN_EXE_firelane").into();
    std::env::var_os("FIRELANE_BIN").map_or_else(built, PathBuf::from)
}

/// The binary under test in an empty folder.
fn router() -> RouterBuilder {
    RouterBuilder::new(binary())
}

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("crates/firelane")
        .to_path_buf()
}

/// The golden cases: beside the repository, or where `FIRELANE_VECTORS` says.
fn vectors() -> PathBuf {
    let beside = || root().join("../shared/vectors");
    let folder = std::env::var_os("FIRELANE_VECTORS").map_or_else(beside, PathBuf::from);
    assert!(
        folder.is_dir(),
        "the golden cases are not there: {}",
        folder.display()
    );
    folder
}

/// The numbers of a client's records: `name-0000000`, ...
fn numbers(name: &str, count: u64) -> impl Iterator<Item = String> {
    (0..count).map(move |n| format!("{name}-{n:07}"))
}
