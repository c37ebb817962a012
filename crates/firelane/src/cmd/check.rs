//! `firelane check FILE…`: everything that is wrong with configurations, without running them.

use std::path::PathBuf;

use firelane_conf::Severity;

use crate::compat::RouterArgs;
use crate::exit::Exit;
use crate::prepare::prepare;
use crate::report;
use crate::say;

/// How the result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people, on standard error.
    Human,
    /// One JSON array on standard output.
    Json,
}

/// Checks every file; the worst result is the exit code.
pub(crate) fn run(files: &[PathBuf], format: Format, deny_warnings: bool) -> Exit {
    let mut worst = Exit::Ok;
    let mut all = Vec::new();
    for file in files {
        let args = RouterArgs {
            config: Some(file.clone()),
            ..RouterArgs::default()
        };
        let (diagnostics, sources, exit) = match prepare(&args) {
            Ok(prepared) => (prepared.warnings, prepared.sources, Exit::Ok),
            Err(bad) => (bad.diagnostics, bad.sources, bad.exit),
        };
        let warned = diagnostics
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Warning);
        let exit = if exit == Exit::Ok && warned && deny_warnings {
            Exit::Config
        } else {
            exit
        };
        match format {
            Format::Human => {
                report::print(&diagnostics, &sources);
                let summary = report::summary(&file.display().to_string(), &diagnostics);
                worst = worst.max(say::out(&format!("{summary}\n")));
            }
            Format::Json => all.extend(
                diagnostics
                    .iter()
                    .map(|diagnostic| report::json(diagnostic, &sources)),
            ),
        }
        worst = worst.max(exit);
    }
    if format == Format::Json {
        worst = worst.max(say::out(&format!("{}\n", serde_json::Value::Array(all))));
    }
    worst
}
