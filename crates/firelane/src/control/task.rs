//! A task definition as the commands of the control side take it: the file, where it runs, the router's
//! own file.

use std::io;
use std::path::{Path, PathBuf};

use firelane_conf::{Class, Config, Diagnostic, Files, RealFiles, Severity, Sources};
use firelane_ecs::cfn::Env;
use firelane_ecs::context::{Context, DEFAULT_REGION, EXAMPLE_ACCOUNT, Given};
use firelane_ecs::firelens::{Dialect, External, external};
use firelane_ecs::lint::{self, Subject};
use firelane_ecs::source::Grammar;
use firelane_ecs::taskdef::{Loaded, Options, TaskDefinition, load};

use crate::exit::Exit;
use crate::report;
use crate::say;

/// What says which task definition is meant and where it runs.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct TaskArgs {
    /// Logical id of the task definition, where a template has several.
    #[arg(long, value_name = "ID")]
    pub(crate) resource: Option<String>,
    /// Value of a template's parameter, or of what else only the deployment knows: `LogGroup=/ecs/web`,
    /// `TaskRole.Arn=arn:…`; repeatable.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) params: Vec<(String, String)>,
    /// JSON or YAML file with what a definition does not say: cluster, taskArn, launchType, region and so on.
    #[arg(long, value_name = "FILE")]
    pub(crate) context: Option<PathBuf>,
    /// Region; else that of the context, else us-east-1.
    #[arg(long)]
    pub(crate) region: Option<String>,
    /// Account, 12 digits; else that of the context or of a role.
    #[arg(long)]
    pub(crate) account: Option<String>,
    /// Launch type: EC2, FARGATE or EXTERNAL; else that of the context, else what the definition asks for
    /// first.
    #[arg(long, value_parser = launch_type)]
    pub(crate) launch_type: Option<firelane_ecs::context::LaunchType>,
    /// The file that `config-file-value` names, here; else a file of that name beside the definition.
    #[arg(long, value_name = "FILE")]
    pub(crate) router_config: Option<PathBuf>,
}

impl TaskArgs {
    /// Whether anything is said.
    pub(crate) fn is_given(&self) -> bool {
        let texts = [&self.resource, &self.region, &self.account];
        let files = [&self.context, &self.router_config];
        texts.into_iter().any(Option::is_some)
            || files.into_iter().any(Option::is_some)
            || self.launch_type.is_some()
            || !self.params.is_empty()
    }
}

/// `NAME=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.trim().to_string(), value.to_string()))
}

fn launch_type(text: &str) -> Result<firelane_ecs::context::LaunchType, String> {
    firelane_ecs::context::LaunchType::from_name(text)
        .ok_or_else(|| "write EC2, FARGATE or EXTERNAL".to_string())
}

/// What stands for the region and the account of a template where nothing gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pseudo {
    /// Nothing: they stay open.
    Open,
    /// Those of an example.
    Example,
}

/// A task definition, read.
pub(crate) struct Task {
    /// The texts.
    pub(crate) sources: Sources,
    /// What the file holds.
    pub(crate) loaded: Loaded,
    /// Where it runs.
    pub(crate) context: Context,
    /// The router's own configuration, if its file was found.
    pub(crate) config: Option<Config>,
    /// What was found while reading.
    pub(crate) diagnostics: Vec<Diagnostic>,
    missing: bool,
}

impl Task {
    /// Reads the file and everything that belongs to it.
    pub(crate) fn read(path: &Path, args: &TaskArgs, pseudo: Pseudo) -> Self {
        let mut reading = Reading::default();
        let given = reading.given(args);
        let (name, text) = reading.text(path);
        let file = reading.sources.add(&name, text.clone());
        let options = Options {
            resource: args.resource.clone(),
            env: env(&given, args, pseudo),
        };
        let mut loaded = match reading.missing {
            false => load(file, &text, Grammar::of(path, &text), &options),
            true => Loaded::default(),
        };
        reading.diagnostics.append(&mut loaded.diagnostics);
        let empty = TaskDefinition::default();
        let context = Context::new(&given, loaded.task.as_ref().unwrap_or(&empty));
        let folder = path.parent().unwrap_or(Path::new(""));
        let config = loaded
            .task
            .as_ref()
            .and_then(|task| reading.config(task, folder, args));
        Self {
            sources: reading.sources,
            loaded,
            context,
            config,
            diagnostics: reading.diagnostics,
            missing: reading.missing,
        }
    }

    /// What the rules look at, if there is a task definition.
    pub(crate) fn subject(&self, quota: bool) -> Option<Subject<'_>> {
        Some(Subject {
            task: self.loaded.task.as_ref()?,
            context: &self.context,
            form: self.loaded.form,
            template: self.loaded.template.as_ref().zip(self.loaded.resource.as_deref()),
            config: self.config.as_ref(),
            quota,
        })
    }

    /// The task definitions of a template that has several, none of them chosen.
    pub(crate) fn several(&self) -> Vec<String> {
        let template = self.loaded.template.as_ref();
        let template = template.filter(|_| self.loaded.resource.is_none());
        let ids = template
            .into_iter()
            .flat_map(|template| template.task_definitions());
        let ids: Vec<_> = ids.map(|(id, _)| id.to_string()).collect();
        if ids.len() > 1 { ids } else { Vec::new() }
    }

    /// Everything that is found: while reading and by the rules.
    pub(crate) fn check(&self, quota: bool) -> Vec<Diagnostic> {
        let mut found = self.diagnostics.clone();
        if let Some(subject) = self.subject(quota) {
            found.extend(lint::check(&subject));
        }
        lint::sort(&mut found);
        found
    }

    /// The task definition, or the exit code after everything that is wrong was said.
    pub(crate) fn or_exit(&self) -> Result<&TaskDefinition, Exit> {
        let failed = self.diagnostics.iter().any(|d| d.severity == Severity::Error);
        match &self.loaded.task {
            Some(task) if !failed => Ok(task),
            _ => {
                report::print(&self.diagnostics, &self.sources);
                Err(self.exit(&self.diagnostics))
            }
        }
    }

    /// The exit code for what was found.
    pub(crate) fn exit(&self, found: &[Diagnostic]) -> Exit {
        match found.iter().any(|d| d.severity == Severity::Error) {
            true if self.missing => Exit::NoInput,
            true => Exit::Config,
            false => Exit::Ok,
        }
    }
}

/// Values for a template: the context's and the command line's.
fn env(given: &Given, args: &TaskArgs, pseudo: Pseudo) -> Env {
    let from_arn = |index| {
        let arn = given.task_arn.as_deref()?;
        firelane_ecs::context::arn_part(arn, index)
    };
    let example = |text: &str| (pseudo == Pseudo::Example).then(|| text.to_string());
    let region = given.region.clone().or_else(|| from_arn(3));
    let account = given.account.clone().or_else(|| from_arn(4));
    Env {
        params: args.params.clone(),
        region: region.or_else(|| example(DEFAULT_REGION)),
        account: account.or_else(|| example(EXAMPLE_ACCOUNT)),
    }
}

#[derive(Default)]
struct Reading {
    sources: Sources,
    diagnostics: Vec<Diagnostic>,
    missing: bool,
}

impl Reading {
    /// A file's text; nothing, and an error, where it cannot be read.
    fn text(&mut self, path: &Path) -> (PathBuf, String) {
        match RealFiles.read(path) {
            Ok(text) => (path.to_path_buf(), text),
            Err(error) => {
                self.missing = true;
                self.diagnostics.push(unreadable(path, &error));
                (path.to_path_buf(), String::new())
            }
        }
    }

    fn given(&mut self, args: &TaskArgs) -> Given {
        let mut given = Given::default();
        if let Some(path) = &args.context {
            let (name, text) = self.text(path);
            let file = self.sources.add(&name, text.clone());
            if !self.missing {
                match Given::read(file, &text, Grammar::of(path, &text)) {
                    Ok((read, warnings)) => {
                        given = read;
                        self.diagnostics.extend(warnings);
                    }
                    Err(errors) => self.diagnostics.extend(errors),
                }
            }
        }
        given.region = args.region.clone().or(given.region);
        given.account = args.account.clone().or(given.account);
        given.launch_type = args.launch_type.or(given.launch_type);
        given
    }

    /// The router's own configuration: the file that was named, or one of its name beside the definition.
    fn config(&mut self, task: &TaskDefinition, folder: &Path, args: &TaskArgs) -> Option<Config> {
        let firelens = task.router()?.1.firelens_configuration.as_ref()?;
        let dialect = Dialect::from_name(firelens.kind.as_ref()?.as_str())?;
        let beside = external(firelens).and_then(|external| {
            let (External::File(value) | External::S3(value)) = external;
            let name = value
                .known()?
                .rsplit('/')
                .next()
                .filter(|name| !name.is_empty())?;
            Some(folder.join(name))
        });
        if let (Some(path), None) = (&args.router_config, external(firelens)) {
            let message = format!(
                "`{}` is not looked into: the router has no `config-file-value`",
                path.display()
            );
            let help = "ECS gives the router no file of yours without it";
            self.diagnostics
                .push(Diagnostic::warning("FL0018", message).help(help));
            return None;
        }
        let path = match &args.router_config {
            Some(path) => path.clone(),
            None => beside.filter(|path| path.is_file())?,
        };
        if dialect == Dialect::Fluentd {
            let message = format!(
                "`{}` is a configuration of Fluentd: it is not looked into",
                path.display()
            );
            self.diagnostics.push(Diagnostic::note("FL0012", message));
            return None;
        }
        let files = Shipped;
        let env = std::collections::HashMap::<String, String>::new();
        let (loaded, found) = match firelane_conf::load(&path, &files, &env) {
            Ok(loaded) => (Some(loaded.config), (loaded.sources, Vec::new())),
            Err(failure) => (None, (failure.sources, failure.diagnostics)),
        };
        let (sources, mut diagnostics) = found;
        let offset = self.sources.append(&sources);
        diagnostics
            .iter_mut()
            .for_each(|diagnostic| diagnostic.shift(offset));
        self.diagnostics.append(&mut diagnostics);
        loaded.map(|config| shifted(config, offset))
    }
}

/// A configuration whose places are in files that stand `offset` further behind.
fn shifted(mut config: Config, offset: u32) -> Config {
    let lists = [
        &mut config.parsers,
        &mut config.multiline_parsers,
        &mut config.inputs,
        &mut config.filters,
        &mut config.outputs,
        &mut config.others,
    ];
    let sections = lists.into_iter().flatten().chain(config.service.iter_mut());
    sections.for_each(|section| section.shift(offset));
    config
        .warnings
        .iter_mut()
        .for_each(|warning| warning.shift(offset));
    config
}

/// A file that cannot be read, and why.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    let (reason, help) = firelane_conf::files::unreadable(error);
    let message = format!("cannot read `{}`: {reason}", path.display());
    Diagnostic::error("FL0011", Class::NoFile, message).help(help)
}

/// The files of this machine, and those that the router's image ships: they are taken for empty here.
struct Shipped;

impl Shipped {
    fn ships(path: &Path) -> bool {
        let folders = ["/fluent-bit/", "/ecs/", "/fluentd/"];
        !path.exists() && folders.iter().any(|folder| path.starts_with(folder))
    }
}

impl Files for Shipped {
    fn read(&self, path: &Path) -> io::Result<String> {
        if Self::ships(path) {
            Ok(String::new())
        } else {
            RealFiles.read(path)
        }
    }

    fn exists(&self, path: &Path) -> bool {
        Self::ships(path) || RealFiles.exists(path)
    }

    fn identity(&self, path: &Path) -> Option<String> {
        if Self::ships(path) {
            Some(path.display().to_string())
        } else {
            RealFiles.identity(path)
        }
    }

    fn glob(&self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        RealFiles.glob(pattern)
    }
}

/// Says how many other findings a command left unsaid.
pub(crate) fn hint(path: &Path, task: &Task) {
    let found = task.check(true);
    if found.iter().any(|d| d.severity != Severity::Note) {
        let summary = report::summary(&path.display().to_string(), &found);
        say::line(&format!("{summary}; `firelane check` tells them"));
    }
}
