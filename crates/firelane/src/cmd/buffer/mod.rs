//! `firelane buffer`: the log on disk and the dead letters, from outside.

mod cat;
mod fsck;
mod ls;
mod place;
mod replay;
mod text;

use std::io;
use std::path::{Path, PathBuf};

use firelane_buffer::store::inspect::Unread;
use firelane_record::Match;

use crate::exit::Exit;
use crate::say;

/// What is done with the log.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Buffer {
    /// List what is on disk: segments, records that wait, dead letters.
    Ls {
        #[command(flatten)]
        path: PathArg,
        /// How it is written.
        #[arg(long, value_enum, default_value = "human")]
        format: ls::Format,
    },
    /// Print the records that wait, or the dead letters, as lines of JSON.
    Cat {
        #[command(flatten)]
        path: PathArg,
        #[command(flatten)]
        select: Select,
        /// End after so many records.
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
    },
    /// Check every checksum, and say what a start would make of what is damaged.
    Fsck {
        #[command(flatten)]
        path: PathArg,
    },
    /// Write all records that wait, or all dead letters, to standard output.
    Export {
        #[command(flatten)]
        path: PathArg,
        #[command(flatten)]
        select: Select,
        /// `json`: lines as of `cat`. `msgpack`: the entries as they are on disk, behind each other, as
        /// PackedForward has them; tags are lost, so it needs `--tag`.
        #[arg(long, value_enum, default_value = "json", requires_if("msgpack", "tag"))]
        format: cat::Format,
    },
    /// Put dead letters back into the log, for the output that gave them up: the next start of the router
    /// delivers them. The router must be stopped.
    Replay {
        #[command(flatten)]
        path: PathArg,
        /// Only those of the output with this name or key, as `ls` prints them.
        #[arg(long, value_name = "NAME")]
        route: Option<String>,
        /// Only those with this reason, such as `refused`.
        #[arg(long, value_name = "REASON")]
        reason: Option<String>,
        /// Say what would be moved, and move nothing; the router may run.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Where to look.
#[derive(Debug, clap::Args)]
pub(crate) struct PathArg {
    /// The folder of `storage.path`, or a folder of segments, or one segment (`*.seg`).
    path: PathBuf,
}

/// Which records.
#[derive(Debug, clap::Args)]
pub(crate) struct Select {
    /// Only records whose tag matches, as in `Match`: `*` stands for any text.
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    tag: Option<Match>,
    /// Only what the output of this key has not settled; of dead letters, those of the output of this name or
    /// key.
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// The dead letters, not the log.
    #[arg(long)]
    dead: bool,
}

fn pattern(text: &str) -> Result<Match, std::convert::Infallible> {
    Ok(Match::new(text))
}

/// Why a command ends.
#[derive(Debug)]
struct Trouble {
    code: &'static str,
    text: String,
    help: &'static str,
    exit: Exit,
}

impl Trouble {
    /// There is no log.
    fn nothing(path: &Path) -> Self {
        Self {
            code: "FL0021",
            text: format!("no log in `{}`", path.display()),
            help: "PATH is the folder of `storage.path`, a folder of segments, or one file `*.seg`",
            exit: Exit::NoInput,
        }
    }

    /// The system does not give it.
    fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self {
            code: "FL0022",
            text: format!("cannot read `{}`: {error}", path.display()),
            help: "it takes the rights of the user that the router runs as",
            exit: Exit::NoInput,
        }
    }

    /// A router runs.
    fn locked(lock: &Path) -> Self {
        Self {
            code: "FL0023",
            text: format!("a router uses this folder: `{}` is locked", lock.display()),
            help: "stop the router, replay, start it again; `--dry-run` works while it runs",
            exit: Exit::Open,
        }
    }

    /// Nothing can be put back.
    fn unwritable(path: &Path, error: &io::Error) -> Self {
        Self {
            code: "FL0024",
            text: format!("cannot put dead letters back in `{}`: {error}", path.display()),
            help: "what was not moved lies where it was; mend the cause and replay again",
            exit: Exit::Open,
        }
    }

    fn tell(&self) -> Exit {
        let Self { code, text, help, .. } = self;
        say::line(&format!("error[{code}]: {text}\n   help: {help}"));
        self.exit
    }
}

/// Does what is asked for.
pub(crate) fn run(command: Buffer) -> Exit {
    let done = match command {
        Buffer::Ls { path, format } => ls::run(&path.path, format),
        Buffer::Cat { path, select, limit } => cat::run(&path.path, &select, cat::Format::Json, limit),
        Buffer::Fsck { path } => fsck::run(&path.path),
        Buffer::Export { path, select, format } => cat::run(&path.path, &select, format, None),
        Buffer::Replay {
            path,
            route,
            reason,
            dry_run,
        } => replay::run(&path.path, &replay::Wanted { route, reason }, dry_run),
    };
    done.unwrap_or_else(|trouble| trouble.tell())
}

/// Says what could not be read; the exit code of a command that should have read it.
fn tell_unread(unread: Unread) -> Exit {
    let Unread { damaged, gone } = unread;
    if gone > 0 {
        let what = text::number(gone, "block", "blocks");
        say::line(&format!(
            "note: {what} went while the log was read: delivered, or moved by the router"
        ));
    }
    if damaged > 0 {
        let what = text::number(damaged, "part is", "parts are");
        say::line(&format!(
            "warning: {what} damaged and left out: `firelane buffer fsck` says where"
        ));
        return Exit::LeftOver;
    }
    Exit::Ok
}
