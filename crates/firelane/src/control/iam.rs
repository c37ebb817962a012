//! `firelane iam TASK`: the policies of its two roles, and what a live policy lacks or has too much.

use std::path::{Path, PathBuf};

use firelane_conf::{Files as _, RealFiles, Severity, Sources};
use firelane_ecs::iam::{self, Diff, Needs, Options, Reason, Role, Why};

use super::task::{Pseudo, Task, TaskArgs, unreadable};
use crate::exit::Exit;
use crate::{report, say};

/// The form of the policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// One document with policy, trust policy and reasons of every role.
    Json,
    /// Resources of a CloudFormation template, YAML.
    Cloudformation,
    /// Terraform.
    Terraform,
}

/// One of the two roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Which {
    /// The role of the containers.
    Task,
    /// The role of ECS on their behalf.
    Execution,
}

/// What is wanted.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct IamArgs {
    /// The form of the policies.
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
    /// Print the policy of one role alone, as `aws iam put-role-policy` takes it; with `--diff`: the role
    /// whose policy the file is.
    #[arg(long, value_enum)]
    role: Option<Which>,
    /// Print the trust policy of `--role` instead.
    #[arg(long, requires = "role", conflicts_with = "diff")]
    trust: bool,
    /// Compare a policy (JSON, as `aws iam get-role-policy` prints it) with what the role needs, by
    /// default the task role: what is missing fails, what is too much is said.
    #[arg(long, value_name = "FILE")]
    diff: Option<PathBuf>,
    /// With `--diff`: `excess` fails on what is too much, too.
    #[arg(long, value_parser = ["excess"], requires = "diff")]
    deny: Option<String>,
    /// ARN of a customer's key that secrets and files on S3 are encrypted with; repeatable.
    #[arg(long = "secret-key", value_name = "ARN")]
    secret_keys: Vec<String>,
    /// ARN of a customer's key that buckets of the output `s3` encrypt with; repeatable.
    #[arg(long = "bucket-key", value_name = "ARN")]
    bucket_keys: Vec<String>,
    /// Let ECS Exec open a shell in the containers.
    #[arg(long)]
    exec: bool,
}

/// Prints policies, or a comparison.
pub(crate) fn run(path: &Path, args: &TaskArgs, wanted: &IamArgs) -> Exit {
    let mut task = Task::read(path, args, Pseudo::Open);
    if let Err(exit) = task.or_exit() {
        return exit;
    }
    let Some(definition) = &task.loaded.task else {
        return Exit::Config;
    };
    let options = Options {
        secret_keys: wanted.secret_keys.clone(),
        bucket_keys: wanted.bucket_keys.clone(),
        exec: wanted.exec,
    };
    let needs = iam::needs(definition, &task.context, task.config.as_ref(), &options);
    let mut found = task.diagnostics.clone();
    found.extend(needs.diagnostics.iter().cloned());
    report::print(&found, &task.sources);
    if found.iter().any(|d| d.severity == Severity::Error) {
        return Exit::Config;
    }
    if let Some(policy) = &wanted.diff {
        return compare(policy, &needs, wanted, &mut task.sources);
    }
    let Some(which) = wanted.role else {
        let format = match wanted.format {
            Format::Json => iam::Format::Json,
            Format::Cloudformation => iam::Format::CloudFormation,
            Format::Terraform => iam::Format::Terraform,
        };
        return say::out(&iam::render(&needs, format, &task.sources));
    };
    let role = role(&needs, which);
    let document = match wanted.trust {
        true => Some(iam::trust_document(&role.trust)),
        false => iam::policy_document(role),
    };
    match document {
        Some(document) => say::out(&format!("{document:#}\n")),
        None => {
            say::line("the role needs no permission, and IAM takes no policy without statements");
            Exit::Ok
        }
    }
}

fn role(needs: &Needs, which: Which) -> &Role {
    match which {
        Which::Task => &needs.task,
        Which::Execution => &needs.execution,
    }
}

/// Tells a live policy and the needs of a role apart.
fn compare(path: &Path, needs: &Needs, wanted: &IamArgs, sources: &mut Sources) -> Exit {
    let text = match RealFiles.read(path) {
        Ok(text) => text,
        Err(error) => {
            report::print(&[unreadable(path, &error)], sources);
            return Exit::NoInput;
        }
    };
    let file = sources.add(path, text.clone());
    let policy = match iam::parse_policy(file, &text) {
        Ok(policy) => policy,
        Err(errors) => {
            report::print(&errors, sources);
            return Exit::Config;
        }
    };
    report::print(&policy.notes, sources);
    let which = wanted.role.unwrap_or(Which::Task);
    let diff = iam::diff(&policy, role(needs, which));
    let exit = say::out(&told(&diff, sources));
    let fails = !diff.missing.is_empty() || (wanted.deny.is_some() && !diff.excess.is_empty());
    exit.max(if fails { Exit::Config } else { Exit::Ok })
}

/// A comparison for people: one line for each permission, with its place and reason.
fn told(diff: &Diff, sources: &Sources) -> String {
    let mut out = String::new();
    for missing in &diff.missing {
        let why = match missing.why {
            Why::NotAllowed => String::new(),
            Why::Denied(span) => match sources.place(span) {
                Some(place) => format!(", denied at {place}"),
                None => ", denied".to_string(),
            },
            Why::BareLogGroup => ": the policy names the group without `:*` behind it".to_string(),
        };
        out.push_str(&format!(
            "missing  {} on {}{why}\n",
            missing.action, missing.resource
        ));
        for reason in &missing.reasons {
            out.push_str(&format!("         because {}\n", because(reason, sources)));
        }
    }
    for excess in &diff.excess {
        let place = sources
            .place(excess.span)
            .map_or(String::new(), |place| format!(" ({place})"));
        out.push_str(&format!(
            "excess   {} on {}{place}\n",
            excess.action, excess.resource
        ));
        match excess.needed.as_slice() {
            [] => out.push_str("         nothing of it is needed\n"),
            needed => {
                for (action, resource) in needed {
                    out.push_str(&format!("         needed of it: {action} on {resource}\n"));
                }
            }
        }
    }
    if diff.is_empty() {
        out.push_str("the policy allows what is needed, and nothing else\n");
    }
    out
}

fn because(reason: &Reason, sources: &Sources) -> String {
    match reason.span.and_then(|span| sources.place(span)) {
        Some(place) => format!("{} ({place})", reason.text),
        None => reason.text.clone(),
    }
}
