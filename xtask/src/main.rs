//! Repository chores: `cargo xtask tidy` checks the rules that a compiler does not, `cargo test` runs it too.
//! `cargo xtask docs` writes the pages that are made of tables.

mod codes;
mod dependencies;
mod docs;
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
        "docs" => match docs::write(root) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
        other => {
            eprintln!("unknown task `{other}`; there are `tidy` and `docs`");
            ExitCode::from(64)
        }
    }
}
