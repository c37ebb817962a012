//! `firelane render TASK`: the configuration that ECS would generate, byte for byte; the run plan; the graph.

use std::path::Path;

use firelane_conf::{Class, Diagnostic};
use firelane_ecs::{firelens, graph, lint, plan, render};

use super::task::{Pseudo, Task, TaskArgs, hint};
use crate::exit::Exit;
use crate::report;
use crate::say;

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// `fluent.conf`.
    Configuration,
    /// The run plan as JSON.
    Runtime,
    /// The route of the logs.
    Graph(Picture),
}

/// How a graph is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Picture {
    /// Text for Mermaid.
    Mermaid,
    /// A picture.
    Svg,
}

/// Prints what is asked for.
pub(crate) fn run(path: &Path, args: &TaskArgs, what: What) -> Exit {
    let task = Task::read(path, args, Pseudo::Example);
    let definition = match task.or_exit() {
        Ok(definition) => definition,
        Err(exit) => return exit,
    };
    report::print(&task.diagnostics, &task.sources);
    if definition.router().is_none() && definition.users().next().is_none() {
        let help = "give one container a `firelensConfiguration`; `firelane init --add-to FILE` does it";
        let message = "the task has no log router, so ECS generates no configuration";
        let nothing = Diagnostic::error("FL0013", Class::Missing, message)
            .at(definition.span)
            .help(help);
        report::print(&[nothing], &task.sources);
        return Exit::Config;
    }
    let generated = match firelens::generate(definition, &task.context) {
        Ok(generated) => generated,
        Err(refused) => {
            report::print(&refused, &task.sources);
            return task.exit(&refused);
        }
    };
    if let Some(subject) = task.subject(true) {
        let mut open = Vec::new();
        lint::open::check(&subject, &mut open);
        report::print(&open, &task.sources);
    }
    hint(path, &task);
    match what {
        What::Configuration => say::out(&render::text(&generated)),
        What::Runtime => match plan::plan(definition, &task.context) {
            Ok(Some(plan)) => say::out(&format!("{:#}\n", plan.to_json())),
            Ok(None) => Exit::Config,
            Err(why) => {
                say::line(&format!(
                    "error[FL0014]: {why}\n   help: correct `dockerServerVersion` in the context"
                ));
                Exit::Config
            }
        },
        What::Graph(picture) => {
            let graph = graph::build(definition, &task.context, &generated, task.config.as_ref());
            match picture {
                Picture::Mermaid => say::out(&graph::mermaid(&graph)),
                Picture::Svg => say::out(&graph::svg(&graph)),
            }
        }
    }
}
