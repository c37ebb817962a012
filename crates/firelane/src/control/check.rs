//! Task definitions for `firelane check`.

use std::path::Path;

use firelane_conf::Diagnostic;

use super::task::{Pseudo, Task, TaskArgs};
use crate::cmd::check::Found;

/// Options for task definitions.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Leave out ECS's quotas, such as ten containers in a task.
    #[arg(long)]
    no_quota: bool,
    #[command(flatten)]
    task: TaskArgs,
}

impl CheckArgs {
    /// Whether anything is said.
    pub(crate) fn is_given(&self) -> bool {
        self.task.is_given()
    }
}

/// What is found in the task definitions of a file.
pub(crate) fn definitions(file: &Path, args: &CheckArgs) -> Vec<Found> {
    let task = Task::read(file, &args.task, Pseudo::Open);
    let several = task.several();
    if several.is_empty() || args.task.resource.is_some() {
        return vec![definition(file.display().to_string(), task, !args.no_quota)];
    }
    // What is wrong with the template is said with the first of its task definitions.
    let mut said: Vec<Diagnostic> = Vec::new();
    let one = |id: String| {
        let name = format!("{} ({id})", file.display());
        let task = TaskArgs {
            resource: Some(id),
            ..args.task.clone()
        };
        let mut found = definition(name, Task::read(file, &task, Pseudo::Open), !args.no_quota);
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
