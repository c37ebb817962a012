//! Repository chores: `cargo xtask tidy` checks the rules that a compiler does not, `cargo test` runs it too.
//! `cargo xtask docs` writes the pages that are made of tables. `cargo xtask sbom TARGET` prints the bill of
//! materials of the binary for a target such as `x86_64-unknown-linux-gnu`.

mod codes;
mod dependencies;
mod docs;
mod metadata;
mod sbom;
mod spdx;
mod supply;
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
        "sbom" => {
            let target = std::env::args()
                .nth(2)
                .unwrap_or_else(|| "x86_64-unknown-linux-gnu".into());
            match sbom::sbom(root, &target) {
                Ok(bill) => {
                    print!("{bill}");
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("{error}");
                    ExitCode::FAILURE
                }
            }
        }
        other => {
            eprintln!("unknown task `{other}`; there are `tidy`, `docs` and `sbom`");
            ExitCode::from(64)
        }
    }
}
