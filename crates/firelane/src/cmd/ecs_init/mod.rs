//! `firelane ecs-init`: what the init process of AWS's `init` images does before the router starts
//! (reference: aws-for-fluent-bit, use case "init process for Fluent Bit on ECS").
//!
//! The task's metadata become variables, files of S3 and of mounts that the environment names are
//! included beside the main configuration, files of parsers become `-R` options. Written are
//! `fluent-bit-init.conf` and `invoke_fluent_bit.sh`; in our image there is no shell, so the router is
//! started at once, with the same variables and arguments ([`entrypoint`]).
//!
//! Better than the original: the number in a variable's name is the order; files of equal names do not
//! overwrite each other; a file of parsers and other sections is both; all mistakes are told at once, and
//! a failure ends with an exit code.

mod metadata;
mod plan;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::plan::{Source, Wanted, quoted};
use crate::exit::Exit;
use crate::{remote, say};

/// Where the image has its main configuration.
const MAIN: &str = "/fluent-bit/etc/fluent-bit.conf";
/// The router in the image.
const ROUTER: &str = "/fluent-bit/bin/fluent-bit";
/// The folder of AWS's init images.
const FOLDER: &str = "/init";
/// Where to write when that cannot be written to (a read-only root).
const SPARE: &str = "/tmp/firelane-init";

/// Arguments of `firelane ecs-init`.
#[derive(Debug, clap::Args)]
pub(crate) struct EcsInit {
    /// Folder to write to.
    #[arg(long, default_value = FOLDER)]
    folder: PathBuf,
    /// The main configuration, included before the others.
    #[arg(short, long, default_value = MAIN)]
    config: PathBuf,
    /// The router that the script starts.
    #[arg(long, default_value = ROUTER)]
    router: PathBuf,
    /// Become the router instead of leaving it to the script.
    #[arg(long)]
    exec: bool,
}

/// How the router is to be started.
struct Start {
    variables: Vec<(String, String)>,
    arguments: Vec<OsString>,
}

/// Runs the init process.
pub(crate) fn run(args: &EcsInit) -> Exit {
    let start = match prepare(&args.folder, &args.config) {
        Ok(start) => start,
        Err((exit, text)) => return failed(exit, &text),
    };
    let script = args.folder.join("invoke_fluent_bit.sh");
    if let Err(error) = fs::write(&script, start.script(&args.router)) {
        return failed(
            Exit::Open,
            &format!("cannot write `{}`: {error}", script.display()),
        );
    }
    if args.exec {
        return start.exec(&args.router);
    }
    say::line(&format!("firelane ecs-init: wrote {}", script.display()));
    Exit::Ok
}

/// Runs under the name that it has in AWS's init images: everything in its place.
pub(crate) fn process() -> Exit {
    run(&EcsInit {
        folder: FOLDER.into(),
        config: MAIN.into(),
        router: ROUTER.into(),
        exec: false,
    })
}

/// The entry point of the image: the init process where the environment asks for it, then the router.
pub(crate) fn entrypoint(rest: impl Iterator<Item = OsString>) -> Exit {
    let version = env!("CARGO_PKG_VERSION");
    say::line(&format!("firelane Container Image Version {version}"));
    let asked = std::env::vars_os().any(|(name, _)| {
        let name = name.to_string_lossy().to_ascii_lowercase();
        name.contains("aws_fluent_bit_init_s3") || name.contains("aws_fluent_bit_init_file")
    });
    let plain = || Start {
        variables: Vec::new(),
        arguments: ["-c", MAIN].map(OsString::from).to_vec(),
    };
    let start = if asked {
        prepare(&writable(), Path::new(MAIN))
    } else {
        Ok(plain())
    };
    match start {
        Ok(mut start) => {
            start.arguments.extend(rest);
            start.exec(Path::new(ROUTER))
        }
        Err((exit, text)) => failed(exit, &text),
    }
}

fn writable() -> PathBuf {
    let probe = Path::new(FOLDER).join(".firelane");
    let is_writable = fs::write(&probe, b"")
        .and_then(|()| fs::remove_file(&probe))
        .is_ok();
    if is_writable { FOLDER } else { SPARE }.into()
}

fn failed(exit: Exit, text: &str) -> Exit {
    say::line(&format!("firelane ecs-init: {text}"));
    exit
}

type Failure = (Exit, String);

/// Reads the environment, fetches the files, writes the configuration.
fn prepare(folder: &Path, main: &Path) -> Result<Start, Failure> {
    let wanted = plan::wanted(std::env::vars()).map_err(|errors| (Exit::Config, errors.join("\n  ")))?;
    let mut variables = vec![("FLB_AWS_USER_AGENT".to_owned(), "ecs-init".to_owned())];
    variables.extend(task()?.into_iter().map(|(name, value)| (name.to_owned(), value)));
    let region = variables.iter().find(|(name, _)| name == "AWS_REGION");
    let region = region.map(|(_, value)| value.clone());
    fs::create_dir_all(folder)
        .map_err(|error| (Exit::Open, format!("cannot make `{}`: {error}", folder.display())))?;
    let conf = folder.join("fluent-bit-init.conf");
    let mut arguments: Vec<OsString> = vec!["-c".into(), conf.clone().into()];
    let mut text = format!("@INCLUDE {}\n", main.display());
    for (at, wanted) in wanted.iter().enumerate() {
        let path = fetch(wanted, at, folder, region.as_deref())?;
        let (include, parsers) = parts(wanted, &path)?;
        if let Some(path) = include {
            let _ = writeln!(text, "@INCLUDE {}", path.display());
        }
        if let Some(path) = parsers {
            arguments.extend(["-R".into(), path.into()]);
        }
    }
    fs::write(&conf, text)
        .map_err(|error| (Exit::Open, format!("cannot write `{}`: {error}", conf.display())))?;
    Ok(Start { variables, arguments })
}

/// The task's variables; none outside of ECS.
fn task() -> Result<Vec<(&'static str, String)>, Failure> {
    let Ok(uri) = std::env::var("ECS_CONTAINER_METADATA_URI_V4") else {
        say::line(
            "firelane ecs-init: not in an ECS task (no ECS_CONTAINER_METADATA_URI_V4): no variables of the task",
        );
        return Ok(Vec::new());
    };
    let answer = remote::get(&format!("{uri}/task"));
    let answer =
        answer.map_err(|error| (Exit::NoInput, format!("the task metadata cannot be had: {error}")))?;
    metadata::variables(&answer).map_err(|error| (Exit::NoInput, error))
}

/// The file on this machine.
fn fetch(wanted: &Wanted, at: usize, folder: &Path, region: Option<&str>) -> Result<PathBuf, Failure> {
    let (bucket, key) = match &wanted.source {
        Source::File(path) => return Ok(path.clone()),
        Source::S3 { bucket, key } => (bucket, key),
    };
    let text = remote::object(bucket, key, region)
        .map_err(|error| (Exit::NoInput, format!("`{}`: {error}", wanted.variable)))?;
    let files = folder.join("fluent-bit-init-s3-files");
    let name = key.rsplit('/').next().unwrap_or(key);
    // `..` is no name that a key could bring here: its last part would be that whole part.
    let name = if matches!(name, "." | "..") { "file" } else { name };
    let mut path = files.join(name);
    if path.exists() {
        path = files.join(format!("{}-{name}", at + 1));
    }
    let write = || {
        fs::create_dir_all(&files)?;
        fs::write(&path, &text)
    };
    write().map_err(|error| (Exit::Open, format!("cannot write `{}`: {error}", path.display())))?;
    Ok(path)
}

/// What of a file is included, and what is a file of parsers: the file itself, or a part of it beside the
/// copy.
fn parts(wanted: &Wanted, path: &Path) -> Result<(Option<PathBuf>, Option<PathBuf>), Failure> {
    let unreadable = |error: std::io::Error| {
        let (reason, help) = firelane_conf::files::unreadable(&error);
        (
            Exit::NoInput,
            format!("`{}`: {}: {reason} ({help})", wanted.variable, path.display()),
        )
    };
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let split = plan::split(&text);
    match (split.rest, split.parsers) {
        (None, Some(_)) => Ok((None, Some(path.to_owned()))),
        (_, None) => Ok((Some(path.to_owned()), None)),
        (Some(rest), Some(parsers)) => {
            let beside = |end: &str, text: &str| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let folder = path.parent().unwrap_or(Path::new("."));
                let own = folder.join(format!("{name}.{end}.conf"));
                fs::write(&own, text).map(|()| own)
            };
            let parsers = beside("parsers", &parsers).map_err(unreadable)?;
            Ok((Some(beside("rest", &rest).map_err(unreadable)?), Some(parsers)))
        }
    }
}

impl Start {
    /// The same for a shell.
    fn script(&self, router: &Path) -> String {
        let mut text = String::new();
        for (name, value) in &self.variables {
            let _ = writeln!(text, "export {name}={}", quoted(value));
        }
        let _ = write!(text, "exec {}", quoted(&router.to_string_lossy()));
        for argument in &self.arguments {
            let _ = write!(text, " {}", quoted(&argument.to_string_lossy()));
        }
        text.push('\n');
        text
    }

    /// Becomes the router. The process stays the same, so that it is still the container's first one.
    fn exec(self, router: &Path) -> Exit {
        let mut command = Command::new(router);
        command.args(&self.arguments).envs(self.variables);
        let error = command.exec();
        failed(
            Exit::Open,
            &format!("cannot start `{}`: {error}", router.display()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_starts_the_router() {
        let start = Start {
            variables: vec![
                ("ECS_CLUSTER".to_owned(), "prod".to_owned()),
                ("X".to_owned(), "a b".to_owned()),
            ],
            arguments: ["-c", "/init/x.conf", "-R", "/a b"].map(OsString::from).to_vec(),
        };
        assert_eq!(
            start.script(Path::new(ROUTER)),
            "export ECS_CLUSTER=prod\nexport X='a b'\n\
             exec /fluent-bit/bin/fluent-bit -c /init/x.conf -R '/a b'\n"
        );
    }

    #[test]
    fn a_file_of_both_becomes_two() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("both.conf");
        fs::write(&path, "[PARSER]\nName a\n[OUTPUT]\nName null\n").unwrap();
        let wanted = Wanted {
            variable: "v".to_owned(),
            source: Source::File(path.clone()),
        };
        let (rest, parsers) = parts(&wanted, &path).unwrap();
        assert_eq!(
            fs::read_to_string(rest.unwrap()).unwrap(),
            "\n\n[OUTPUT]\nName null\n"
        );
        assert_eq!(
            fs::read_to_string(parsers.unwrap()).unwrap(),
            "[PARSER]\nName a\n\n\n"
        );
        let missing = parts(&wanted, Path::new("/nowhere/x")).unwrap_err();
        assert_eq!(missing.0, Exit::NoInput);
        assert!(missing.1.contains("no such file"), "{}", missing.1);
    }
}
