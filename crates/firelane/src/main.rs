//! The one binary: the program with its own plugins, and the allocator.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: firelane_alloc::MiMalloc = firelane_alloc::MiMalloc;

fn main() -> ExitCode {
    firelane_alloc::tune();
    firelane::main_with(&firelane::TABLES)
}
