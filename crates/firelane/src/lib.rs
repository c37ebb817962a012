//! The program, without its allocator: the binary is one call. Called `fluent-bit` it takes Fluent Bit's
//! command line, exit codes and texts.
//!
//! It is a library so that tests can run the very same program with plugins of their own: see
//! `examples/faulty-router`.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod cli;
mod compat;
mod exit;

mod cmd;
#[cfg(feature = "control")]
mod control;
#[cfg(not(feature = "control"))]
#[path = "without_control.rs"]
mod control;
mod prepare;
mod registry;

mod cpu;
mod log;
mod outside;
mod privileges;
mod remote;
mod report;
mod sarif;
mod say;
mod signals;

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use compat::Request;
use firelane_engine::Tables;

pub use registry::TABLES;

/// The version of Fluent Bit whose behaviour is followed.
const FLUENT_BIT_VERSION: &str = "5.1.1";

/// Runs the program that the command line asks for, with these plugins.
pub fn main_with(tables: &'static Tables) -> ExitCode {
    registry::set(tables);
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    match Path::new(&name).file_name().and_then(OsStr::to_str) {
        Some("fluent-bit") => {
            let args = args.map(|arg| arg.to_string_lossy().into_owned());
            ExitCode::from(fluent_bit(compat::parse(args)))
        }
        // What the image is called by: see `cmd/ecs_init` and `cmd/probe`.
        Some("entrypoint.sh" | "fluent_bit_init_entrypoint.sh") => cmd::ecs_init::entrypoint(args).into(),
        Some("fluent_bit_init_process") => cmd::ecs_init::process().into(),
        Some(name @ ("sh" | "curl" | "nc")) => ExitCode::from(cmd::probe::run(name, args)),
        _ => cli::run().into(),
    }
}

fn fluent_bit(request: Request) -> u8 {
    match request {
        Request::Router(args) => {
            let (exit, stage) = cmd::router::run(&args);
            exit.fluent_bit(stage)
        }
        Request::Version => {
            let own = env!("CARGO_PKG_VERSION");
            said(&format!("Fluent Bit v{FLUENT_BIT_VERSION} (firelane {own})\n"))
        }
        Request::Help => said(compat::HELP),
        Request::PluginHelp(kind, name) => u8::from(cmd::plugins::show(&name, Some(kind)) != exit::Exit::Ok),
        Request::Bad(text) => {
            say::line(&log::line("error", &text));
            say::error(compat::HELP);
            1
        }
    }
}

/// Writes a text to standard output; the exit code.
fn said(text: &str) -> u8 {
    u8::from(say::out(text) != exit::Exit::Ok)
}
