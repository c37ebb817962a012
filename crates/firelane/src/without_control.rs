//! The binary without the feature `control`: the same interface as [`control`](../control/mod.rs), whose
//! commands say where they are.

use crate::exit::Exit;
use crate::report;

/// What says which task definition is meant: nothing here.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct TaskArgs {}

/// What stands behind a command that is not here.
#[derive(Debug, clap::Args)]
pub(crate) struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<std::ffi::OsString>,
}

/// The commands, by name.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Control {
    #[command(hide = true, disable_help_flag = true)]
    Render(Rest),
    #[command(hide = true, disable_help_flag = true)]
    Iam(Rest),
    #[command(hide = true, disable_help_flag = true)]
    Init(Rest),
    #[command(hide = true, disable_help_flag = true)]
    Aws(Rest),
    #[command(hide = true, disable_help_flag = true)]
    Logs(Rest),
    #[command(hide = true, disable_help_flag = true)]
    Completions(Rest),
    #[command(hide = true, disable_help_flag = true)]
    Man(Rest),
}

impl Control {
    /// Says where it is.
    pub(crate) fn run(self) -> Exit {
        let name = match self {
            Self::Render(_) => "render",
            Self::Iam(_) => "iam",
            Self::Init(_) => "init",
            Self::Aws(_) => "aws",
            Self::Logs(_) => "logs",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
        };
        absent(&format!("`firelane {name}`"))
    }
}

/// Says that something is not in this binary.
fn absent(what: &str) -> Exit {
    report::usage(&format!(
        "{what} is not in this binary, which is the router alone: {HELP}"
    ));
    Exit::Usage
}

/// Where everything is.
const HELP: &str = "run it with the whole `firelane`, built with its default features \
                    (`cargo install --path crates/firelane`)";

pub(crate) mod check {
    //! Task definitions for `firelane check`.

    use std::path::Path;

    use firelane_conf::{Class, Diagnostic, Sources};

    use crate::cmd::check::Found;
    use crate::exit::Exit;

    /// Options for task definitions: none here.
    #[derive(Debug, clap::Args)]
    pub(crate) struct CheckArgs {}

    impl CheckArgs {
        /// Whether anything is said.
        pub(crate) fn is_given(&self) -> bool {
            false
        }
    }

    /// One error: they cannot be read here.
    pub(crate) fn definitions(file: &Path, _: &CheckArgs) -> Vec<Found> {
        let name = file.display().to_string();
        let message = format!("`{name}` is a task definition, and this binary is the router alone");
        let error = Diagnostic::error("FL0020", Class::BadValue, message).help(super::HELP);
        vec![Found {
            name,
            diagnostics: vec![error],
            sources: Sources::default(),
            exit: Exit::Config,
        }]
    }
}

pub(crate) mod router_task {
    //! `firelane router --task FILE`.

    use std::path::{Path, PathBuf};

    use super::TaskArgs;
    use crate::exit::Exit;
    use crate::outside::Given;

    /// Not here.
    pub(crate) fn given(_: &Path, _: &TaskArgs) -> Result<(PathBuf, Given), Exit> {
        Err(super::absent("`--task`"))
    }
}
