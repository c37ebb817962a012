//! `firelane init`: a task definition with a log router, new or amended.

use std::path::{Path, PathBuf};

use firelane_conf::{Files as _, RealFiles, Sources};
use firelane_ecs::context::LaunchType;
use firelane_ecs::firelens::Dialect;
use firelane_ecs::init::{self, Request};
use firelane_ecs::source::Grammar;

use super::task::unreadable;
use crate::exit::Exit;
use crate::{report, say};

/// What is wished.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct InitArgs {
    /// Where the logs go: firehose, kinesis, cloudwatch, s3, opensearch, datadog, splunk, loki, newrelic,
    /// http, forward, or any other output plugin.
    #[arg(long)]
    to: String,
    /// Options of the output; `apikey=arn:aws:secretsmanager:…` becomes a secret option.
    #[arg(value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// Amend this task definition or template instead of printing a new one.
    #[arg(long, value_name = "FILE")]
    add_to: Option<PathBuf>,
    /// Print the amended text and leave the file as it is.
    #[arg(long, requires = "add_to")]
    dry_run: bool,
    /// The containers whose logs go there; repeatable. Not given: all but the router.
    #[arg(long = "container", value_name = "NAME")]
    containers: Vec<String>,
    /// The kind of router: fluentbit or fluentd.
    #[arg(long = "type", value_name = "TYPE", default_value = "fluentbit", value_parser = kind)]
    kind: Dialect,
    /// Launch type: EC2, FARGATE or EXTERNAL.
    #[arg(long, value_parser = launch_type)]
    launch_type: Option<LaunchType>,
    /// Logical id of the task definition, where a template has several.
    #[arg(long, value_name = "ID")]
    resource: Option<String>,
    /// Region of destinations in AWS and of the router's own log.
    #[arg(long)]
    region: Option<String>,
    /// Family of a new definition; else the name of its first container.
    #[arg(long, conflicts_with = "add_to")]
    family: Option<String>,
}

fn kind(text: &str) -> Result<Dialect, String> {
    Dialect::from_name(text).ok_or_else(|| "write fluentbit or fluentd".to_string())
}

fn launch_type(text: &str) -> Result<LaunchType, String> {
    LaunchType::from_name(text).ok_or_else(|| "write EC2, FARGATE or EXTERNAL".to_string())
}

/// Writes or prints a definition.
pub(crate) fn run(args: InitArgs) -> Exit {
    let mut sources = Sources::default();
    let mut options = Vec::new();
    for argument in &args.options {
        match init::parse_option(argument) {
            Ok(option) => options.push(option),
            Err(error) => {
                report::print(&[*error], &sources);
                return Exit::Usage;
            }
        }
    }
    let request = Request {
        to: args.to,
        options,
        containers: args.containers,
        kind: args.kind,
        launch_type: args.launch_type,
        resource: args.resource,
        region: args.region,
        family: args.family,
    };
    let Some(path) = args.add_to else {
        return match init::create(&request) {
            Ok(written) => said(&written.text, &written.notes),
            Err(errors) => {
                report::print(&errors, &sources);
                Exit::Config
            }
        };
    };
    let text = match RealFiles.read(&path) {
        Ok(text) => text,
        Err(error) => {
            report::print(&[unreadable(&path, &error)], &sources);
            return Exit::NoInput;
        }
    };
    let file = sources.add(&path, text.clone());
    match init::amend(&request, file, &text, Grammar::of(&path, &text)) {
        Ok(written) if args.dry_run => said(&written.text, &written.notes),
        Ok(written) => save(&path, &text, &written.text, &written.notes),
        Err(errors) => {
            report::print(&errors, &sources);
            Exit::Config
        }
    }
}

fn said(text: &str, notes: &[String]) -> Exit {
    notes.iter().for_each(|note| say::line(&format!("note: {note}")));
    say::out(text)
}

/// Replaces the file by one beside it, so that it is never half written.
fn save(path: &Path, before: &str, text: &str, notes: &[String]) -> Exit {
    if before == text {
        say::line(&format!("{}: nothing to change", path.display()));
        return Exit::Ok;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.firelane-{}", std::process::id()));
    let written = std::fs::write(&beside, text)
        .and_then(|()| std::fs::metadata(path))
        .and_then(|file| std::fs::set_permissions(&beside, file.permissions()))
        .and_then(|()| std::fs::rename(&beside, std::fs::canonicalize(path)?));
    if let Err(error) = written {
        // What could not be renamed is of no use.
        let _ = std::fs::remove_file(&beside);
        say::line(&format!(
            "error[FL0017]: cannot write `{}`: {error}",
            path.display()
        ));
        return Exit::Open;
    }
    notes.iter().for_each(|note| say::line(&format!("note: {note}")));
    say::line(&format!(
        "{}: written; `firelane check` tells what is left",
        path.display()
    ));
    Exit::Ok
}
