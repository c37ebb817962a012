//! The control side and the local AWS endpoint: what a running router does not need. The feature `control`,
//! on by default; the image's binary is built without it, and has [the other side of this
//! interface](../without_control.rs) instead.

mod aws;
pub(crate) mod check;
mod iam;
mod init;
mod logs;
mod render;
pub(crate) mod router_task;
mod task;

use std::path::PathBuf;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::exit::Exit;
use crate::say;

pub(crate) use task::TaskArgs;

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Control {
    /// Print the configuration that ECS would generate for a task, byte for byte.
    Render {
        /// Task definition or template.
        file: PathBuf,
        /// Print the run plan instead, as JSON.
        #[arg(long, conflicts_with = "graph")]
        runtime: bool,
        /// Print the route of the logs instead.
        #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "mermaid", require_equals = true)]
        graph: Option<render::Picture>,
        #[command(flatten)]
        task: Box<TaskArgs>,
    },
    /// Print the least-privilege policies of a task's two roles, or compare one with a live policy.
    Iam {
        /// Task definition or template.
        file: PathBuf,
        #[command(flatten)]
        wanted: Box<iam::IamArgs>,
        #[command(flatten)]
        task: Box<TaskArgs>,
    },
    /// Write a task definition with a log router, or add one to a definition that is there.
    Init(Box<init::InitArgs>),
    /// Run the local AWS endpoint: CloudWatch Logs, Firehose, Kinesis, S3, Secrets Manager, SSM, STS and
    /// ECR's token, with AWS's limits and errors, and with faults on demand.
    Aws(Box<aws::AwsArgs>),
    /// List what a local AWS endpoint holds, or print its records.
    Logs(Box<logs::LogsArgs>),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff).
    Man,
}

impl Control {
    /// Does what it says.
    pub(crate) fn run(self) -> Exit {
        match self {
            Self::Render {
                file,
                runtime,
                graph,
                task,
            } => {
                let what = match (graph, runtime) {
                    (Some(picture), _) => render::What::Graph(picture),
                    (None, true) => render::What::Runtime,
                    (None, false) => render::What::Configuration,
                };
                render::run(&file, &task, what)
            }
            Self::Iam { file, wanted, task } => iam::run(&file, &task, &wanted),
            Self::Init(args) => init::run(*args),
            Self::Aws(args) => aws::run(*args),
            Self::Logs(args) => logs::run(&args),
            Self::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "firelane", &mut script);
                say::out(&String::from_utf8_lossy(&script))
            }
            Self::Man => {
                let mut page = Vec::new();
                match clap_mangen::Man::new(Cli::command()).render(&mut page) {
                    Ok(()) => say::out(&String::from_utf8_lossy(&page)),
                    Err(_) => Exit::Failed,
                }
            }
        }
    }
}
