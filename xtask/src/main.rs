//! Repository chores: `cargo xtask tidy` checks the rules that a compiler does not. `cargo test` runs it too.

mod codes;
mod dependencies;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let task = std::env::args().nth(1).unwrap_or_default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    match task.as_str() {
        "tidy" => {
            let faults = tidy::check(root);
            for fault in &faults {
                eprintln!("{fault}");
            }
            if faults.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        other => {
            eprintln!("unknown task `{other}`; there is `tidy`");
            ExitCode::from(64)
        }
    }
}
