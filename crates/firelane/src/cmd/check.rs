//! `firelane check FILE…`: everything that is wrong with task definitions, templates and configurations,
//! without running them.

use std::path::{Path, PathBuf};

use firelane_conf::{Diagnostic, Severity, Sources};

use super::task::{Pseudo, Task, TaskArgs, is_task};
use crate::compat::RouterArgs;
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
    /// Whether ECS's quotas count.
    pub(crate) quota: bool,
    /// For task definitions.
    pub(crate) task: TaskArgs,
}

/// What was found in one file, or about one task definition of it.
struct Found {
    name: String,
    diagnostics: Vec<Diagnostic>,
    sources: Sources,
    exit: Exit,
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
    if !is_task(file) {
        return vec![configuration(file)];
    }
    let task = Task::read(file, &checks.task, Pseudo::Open);
    let several = task.several();
    if several.is_empty() || checks.task.resource.is_some() {
        return vec![definition(file.display().to_string(), task, checks.quota)];
    }
    // What is wrong with the template is said with the first of its task definitions.
    let mut said: Vec<Diagnostic> = Vec::new();
    let one = |id: String| {
        let name = format!("{} ({id})", file.display());
        let args = TaskArgs {
            resource: Some(id),
            ..checks.task.clone()
        };
        let mut found = definition(name, Task::read(file, &args, Pseudo::Open), checks.quota);
        found.diagnostics.retain(|diagnostic| !said.contains(diagnostic));
        said.extend(found.diagnostics.iter().cloned());
        found
    };
    several.into_iter().map(one).collect()
}

/// What is found about a task definition.
fn definition(name: String, task: Task, quota: bool) -> Found {
    let diagnostics = task.check(quota);
    Found {
        name,
        exit: task.exit(&diagnostics),
        diagnostics,
        sources: task.sources,
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
