//! Our own command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::cmd;
use crate::cmd::buffer::Buffer;
use crate::cmd::check::{Checks, Format};
use crate::cmd::ecs_init::EcsInit;
use crate::compat::RouterArgs;
use crate::control::check::CheckArgs;
use crate::control::{self, Control, TaskArgs};
use crate::exit::Exit;

/// Log router for containers: a drop-in for Fluent Bit on FireLens, and the tools around it.
///
/// The same binary called `fluent-bit` takes Fluent Bit's own command line.
#[derive(Debug, Parser)]
#[command(name = "firelane", version, after_help = exit_codes())]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the log router.
    Router(Box<Router>),
    /// List everything that is wrong with task definitions, templates and configurations, without running
    /// them.
    Check {
        /// Task definitions (JSON), CloudFormation templates (YAML, JSON), configurations (classic, YAML).
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// How the result is written.
        #[arg(long, value_enum, default_value = "human")]
        format: Format,
        /// `warnings`: fail on warnings too.
        #[arg(long, value_parser = ["warnings"])]
        deny: Option<String>,
        #[command(flatten)]
        task: Box<CheckArgs>,
    },
    /// Look into the log on disk and the dead letters (`storage.path`): list, print, check, export, put back.
    Buffer {
        #[command(subcommand)]
        command: Buffer,
    },
    /// Prepare a router in an ECS task as the init process of AWS's images does: the task's metadata
    /// become variables, files of S3 that the environment names (`aws_fluent_bit_init_s3_1` …) are
    /// included.
    EcsInit(EcsInit),
    /// Ask a running router whether all is well; for health checks inside the image.
    Health {
        /// What to ask.
        #[arg(default_value = "http://127.0.0.1:2020/api/v1/health")]
        url: String,
    },
    /// List the plugins, or show the properties of one.
    Plugins {
        #[command(subcommand)]
        show: Option<Show>,
    },
    #[command(flatten)]
    Control(Control),
}

#[derive(Debug, Subcommand)]
enum Show {
    /// Show the properties of a plugin.
    Show {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, clap::Args)]
struct Router {
    /// Configuration file, classic or YAML (by its ending).
    #[arg(short, long, conflicts_with = "task")]
    config: Option<PathBuf>,
    /// Task definition or template: run what ECS would generate for it, with its secrets and its file in
    /// S3 fetched by your credentials.
    #[arg(long, value_name = "FILE")]
    task: Option<PathBuf>,
    #[command(flatten)]
    context: Box<TaskArgs>,
    /// File of parsers; repeatable.
    #[arg(short = 'R', long = "parser")]
    parsers: Vec<PathBuf>,
    /// Seconds between flushes; overrides the file.
    #[arg(short, long)]
    flush: Option<String>,
    /// Write the log to this file.
    #[arg(short, long)]
    log_file: Option<PathBuf>,
    /// Folder to change to before the configuration is read.
    #[arg(short, long)]
    workdir: Option<PathBuf>,
    /// Turn the monitoring server on.
    #[arg(short = 'H', long)]
    http: bool,
    /// Address of the monitoring server.
    #[arg(long)]
    http_listen: Option<String>,
    /// Port of the monitoring server.
    #[arg(short = 'P', long)]
    http_port: Option<String>,
    /// Take reload requests over the monitoring server.
    #[arg(short = 'Y', long)]
    hot_reload: bool,
    /// Log more; repeatable.
    #[arg(short, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Log errors only.
    #[arg(short, long)]
    quiet: bool,
    /// Check the configuration and end.
    #[arg(short = 'D', long)]
    dry_run: bool,
    /// Started as root: become this user before anything is opened; `NAME|UID[:GROUP|GID]`. The variable
    /// `FIRELANE_USER` says the same.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
}

impl From<Router> for RouterArgs {
    fn from(router: Router) -> Self {
        let http = router.http || router.http_listen.is_some() || router.http_port.is_some();
        Self {
            config: router.config,
            parsers: router.parsers,
            flush: router.flush,
            log_file: router.log_file,
            workdir: router.workdir,
            http,
            http_listen: router.http_listen,
            http_port: router.http_port,
            hot_reload: router.hot_reload,
            verbose: router.verbose,
            quiet: router.quiet,
            dry_run: router.dry_run,
            user: router.user,
            ..Self::default()
        }
    }
}

fn exit_codes() -> String {
    let lines = Exit::ALL
        .iter()
        .map(|(exit, about)| format!("  {:3}  {about}", exit.number()));
    format!("Exit codes:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done where standard output is closed.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok };
        }
    };
    match cli.command {
        Command::Router(router) => run_router(*router),
        Command::Check {
            files,
            format,
            deny,
            task,
        } => cmd::check::run(&Checks {
            files,
            format,
            deny_warnings: deny.is_some(),
            task: *task,
        }),
        Command::Buffer { command } => cmd::buffer::run(command),
        Command::EcsInit(args) => cmd::ecs_init::run(&args),
        Command::Health { url } => cmd::probe::health(&url),
        Command::Plugins { show: None } => cmd::plugins::list(),
        Command::Plugins {
            show: Some(Show::Show { name }),
        } => cmd::plugins::show(&name, None),
        Command::Control(command) => command.run(),
    }
}

fn run_router(router: Router) -> Exit {
    let task = router.task.clone().map(|file| (file, router.context.clone()));
    let mut args = RouterArgs::from(router);
    if let Some((file, context)) = task {
        match control::router_task::given(&file, &context) {
            Ok((config, given)) => (args.config, args.given) = (Some(config), given),
            Err(exit) => return exit,
        }
    }
    if args.config.is_none() {
        crate::report::usage("`firelane router` needs a configuration: `-c FILE`, or `--task FILE`");
        return Exit::Usage;
    }
    cmd::router::run(&args).0
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
