//! firelane with plugins that fail on command, for the fault suite (`tests/e2e/faults`): the very same
//! program otherwise. `cargo test` builds it beside the tests.

mod hold;
mod partial;

use std::process::ExitCode;
use std::sync::LazyLock;

use firelane_engine::Tables;

#[global_allocator]
static ALLOCATOR: firelane_alloc::MiMalloc = firelane_alloc::MiMalloc;

static WITH_FAULTS: LazyLock<Tables> = LazyLock::new(|| Tables {
    filters: with(firelane::TABLES.filters, &hold::PLUGIN),
    outputs: with(firelane::TABLES.outputs, &partial::PLUGIN),
    ..firelane::TABLES
});

/// The table and one more, for as long as the process lives.
fn with<P>(table: &[&'static P], more: &'static P) -> &'static [&'static P] {
    let all: Vec<_> = table.iter().copied().chain([more]).collect();
    Box::leak(all.into_boxed_slice())
}

fn main() -> ExitCode {
    firelane_alloc::tune();
    firelane::main_with(&WITH_FAULTS)
}
