//! `firelane check FILE…`: everything that is wrong with task definitions, templates and configurations,
//! without running them.

use std::path::{Path, PathBuf};

use firelane_conf::{Diagnostic, Files as _, RealFiles, Severity, Sources};

use crate::compat::RouterArgs;
use crate::control::check::{CheckArgs, definitions};
use crate::exit::Exit;
use crate::prepare::prepare;
use crate::say;
use crate::{report, sarif};

/// How the result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people, on standard error.
    Human,
    /// One JSON array on standard output.
    Json,
    /// One SARIF 2.1.0 log on standard output, for code scanning.
    Sarif,
}

/// How it is checked.
pub(crate) struct Checks {
    /// Files of any kind.
    pub(crate) files: Vec<PathBuf>,
    /// How the result is written.
    pub(crate) format: Format,
    /// Whether a warning fails.
    pub(crate) deny_warnings: bool,
    /// For task definitions.
    pub(crate) task: CheckArgs,
}

/// What was found in one file, or about one task definition of it.
pub(crate) struct Found {
    /// The file, and which of its task definitions.
    pub(crate) name: String,
    /// What was found.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The texts.
    pub(crate) sources: Sources,
    /// What it comes to.
    pub(crate) exit: Exit,
}

/// Checks every file; the worst result is the exit code.
pub(crate) fn run(checks: &Checks) -> Exit {
    if checks.task.is_given() && !checks.files.iter().any(|file| is_task(file)) {
        let text = "options for task definitions are given, but none of the files is one";
        say::line(&format!("warning[FL0019]: {text}\n   help: leave them out"));
    }
    let mut worst = Exit::Ok;
    let mut all = Vec::new();
    for file in &checks.files {
        for found in check(file, checks) {
            let warned = found.diagnostics.iter().any(|d| d.severity == Severity::Warning);
            worst = worst.max(match found.exit {
                Exit::Ok if warned && checks.deny_warnings => Exit::Config,
                exit => exit,
            });
            if checks.format == Format::Human {
                report::print(&found.diagnostics, &found.sources);
                let summary = report::summary(&found.name, &found.diagnostics);
                worst = worst.max(say::out(&format!("{summary}\n")));
            }
            all.push(found);
        }
    }
    let each = || {
        let all = all.iter();
        all.flat_map(|found| {
            found
                .diagnostics
                .iter()
                .map(|diagnostic| (diagnostic, &found.sources))
        })
    };
    let text = match checks.format {
        Format::Human => return worst,
        Format::Json => {
            let list = each().map(|(diagnostic, sources)| report::json(diagnostic, sources));
            serde_json::Value::Array(list.collect())
        }
        Format::Sarif => sarif::log(each()),
    };
    worst.max(say::out(&format!("{text}\n")))
}

fn check(file: &Path, checks: &Checks) -> Vec<Found> {
    match is_task(file) {
        true => definitions(file, &checks.task),
        false => vec![configuration(file)],
    }
}

/// Whether a file holds a task definition or a template, and not a configuration of the router.
fn is_task(path: &Path) -> bool {
    let ending = path
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default();
    match ending.to_ascii_lowercase().as_str() {
        "json" | "template" => true,
        "conf" => false,
        _ => {
            let text = RealFiles.read(path).unwrap_or_default();
            let words = [
                "Resources:",
                "containerDefinitions:",
                "ContainerDefinitions:",
                "taskDefinition:",
            ];
            let starts = |line: &str| words.iter().any(|word| line.trim_start().starts_with(word));
            text.trim_start().starts_with('{') || text.lines().any(starts)
        }
    }
}

/// What is found in a configuration of the router.
fn configuration(file: &Path) -> Found {
    let name = file.display().to_string();
    let args = RouterArgs {
        config: Some(file.to_path_buf()),
        offline: true,
        ..RouterArgs::default()
    };
    match prepare(&args) {
        Ok(prepared) => Found {
            name,
            diagnostics: prepared.warnings,
            sources: prepared.sources,
            exit: Exit::Ok,
        },
        Err(bad) => Found {
            name,
            diagnostics: bad.diagnostics,
            sources: bad.sources,
            exit: bad.exit,
        },
    }
}
