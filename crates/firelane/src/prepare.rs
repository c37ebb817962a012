//! From arguments to a plan: the very code of `router`, `check` and `--dry-run`, stopping before any effect.

use std::sync::Arc;
use std::time::SystemTime;

use firelane_conf::{
    Class, Config, Diagnostic, Loaded, Section, SectionKind, ServiceConfig, Severity, Sources, Span,
};
use firelane_core::Service;
use firelane_engine::retry::Schedule;
use firelane_engine::{EngineService, Plan};
use firelane_parse::Parsers;
use firelane_record::Timestamp;

use crate::compat::{CliKind, RouterArgs};
use crate::outside::Outside;
use crate::registry::tables;
use crate::report::Bad;

/// Everything that a router needs, built, with nothing opened.
pub(crate) struct Prepared {
    /// The pipeline.
    pub(crate) plan: Plan,
    /// Service settings.
    pub(crate) service: ServiceConfig,
    /// Where the port of the monitoring server stands.
    pub(crate) monitor: Option<Span>,
    /// What was found on the way.
    pub(crate) warnings: Vec<Diagnostic>,
    /// The texts.
    pub(crate) sources: Sources,
}

/// Loads and builds what `args` ask for.
pub(crate) fn prepare(args: &RouterArgs) -> Result<Prepared, Bad> {
    let Loaded { mut config, sources } = load(args)?;
    command_line(&mut config, args);
    let mut found = std::mem::take(&mut config.warnings);
    let (mut service, notes) = ServiceConfig::from_section(config.service.as_ref());
    found.extend(notes);
    override_service(&mut service, args, &mut found);
    found.extend(not_yet(&config, &service));
    let parsers = parsers(&config, &mut found);
    let engine = engine_service(&service, args);
    match firelane_engine::plan(&config, tables(), &engine, &Arc::new(parsers)) {
        Ok((plan, warnings)) => {
            found.extend(warnings);
            if found
                .iter()
                .any(|diagnostic| diagnostic.severity == Severity::Error)
            {
                return Err(Bad::new(found, sources));
            }
            Ok(Prepared {
                plan,
                service,
                monitor: monitor(&config, args),
                warnings: found,
                sources,
            })
        }
        Err(errors) => {
            found.extend(errors);
            found.sort_by_key(|diagnostic| std::cmp::Reverse(diagnostic.severity));
            Err(Bad::new(found, sources))
        }
    }
}

fn load(args: &RouterArgs) -> Result<Loaded, Bad> {
    let bad = |failure: firelane_conf::Failure| Bad::new(failure.diagnostics, failure.sources);
    let outside = Outside::new(&args.given, args.offline);
    let mut loaded = match &args.config {
        Some(path) => firelane_conf::load(path, &outside, &outside).map_err(bad)?,
        None => Loaded::default(),
    };
    for path in &args.parsers {
        let more = firelane_conf::load_parsers(path, &outside, &outside).map_err(bad)?;
        // Places in these files lie behind those of the main ones.
        let offset = loaded.sources.append(&more.sources);
        let Config {
            mut parsers,
            mut multiline_parsers,
            mut warnings,
            ..
        } = more.config;
        parsers
            .iter_mut()
            .chain(&mut multiline_parsers)
            .for_each(|section| section.shift(offset));
        warnings.iter_mut().for_each(|warning| warning.shift(offset));
        loaded.config.parsers.extend(parsers);
        loaded.config.multiline_parsers.extend(multiline_parsers);
        loaded.config.warnings.extend(warnings);
    }
    let notes = outside.left_out().into_iter().map(|name| {
        let text = format!("`{name}` is not looked into: only a router fetches it");
        Diagnostic::note("FL0415", text).help("`firelane router --dry-run` fetches it and starts nothing")
    });
    loaded.config.warnings.extend(notes);
    Ok(loaded)
}

/// Sections of the command line come before those of the file.
fn command_line(config: &mut Config, args: &RouterArgs) {
    let of = |kind: CliKind, section_kind: SectionKind| {
        let sections = args.sections.iter().filter(move |section| section.kind == kind);
        let sections = sections.map(move |cli| {
            let mut section = Section::new(section_kind, Span::default());
            section.push("name", &cli.name, Span::default());
            for (key, value) in &cli.properties {
                section.push(key, value, Span::default());
            }
            section
        });
        sections.collect::<Vec<_>>()
    };
    config.inputs.splice(0..0, of(CliKind::Input, SectionKind::Input));
    config
        .filters
        .splice(0..0, of(CliKind::Filter, SectionKind::Filter));
    config
        .outputs
        .splice(0..0, of(CliKind::Output, SectionKind::Output));
}

fn override_service(service: &mut ServiceConfig, args: &RouterArgs, found: &mut Vec<Diagnostic>) {
    let mut section = Section::new(SectionKind::Service, Span::default());
    let path = args.storage_path.clone();
    let overrides = [
        ("flush", &args.flush),
        ("http_port", &args.http_port),
        ("storage.path", &path),
    ];
    for (key, value) in overrides {
        if let Some(value) = value {
            section.push(key, value, Span::default());
        }
    }
    let (given, notes) = ServiceConfig::from_section(Some(&section));
    found.extend(notes);
    if args.flush.is_some() {
        service.flush = given.flush;
    }
    if args.http_port.is_some() {
        service.http_port = given.http_port;
    }
    service.storage.path = path.or(service.storage.path.take());
    service.http_server |= args.http;
    service.http_listen = args.http_listen.clone().or(service.http_listen.take());
    service.hot_reload |= args.hot_reload;
    if let Some(file) = &args.log_file {
        service.log_file = Some(file.display().to_string());
    }
}

fn monitor(config: &Config, args: &RouterArgs) -> Option<Span> {
    let service = config.service.as_ref().filter(|_| args.http_port.is_none())?;
    let entry = service.get("http_port").or_else(|| service.get("http_server"))?;
    Some(entry.value.span)
}

/// What the configuration asks for and this version does not have.
fn not_yet(config: &Config, service: &ServiceConfig) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for section in config.inputs.iter().chain(&config.filters).chain(&config.outputs) {
        if let Some(span) = section.processors {
            let text = "`processors` are not supported yet";
            let help = "use filters instead: they take the same options, with a `match`";
            found.push(Diagnostic::error("FL0207", Class::Init, text).at(span).help(help));
        }
    }
    for section in &config.others {
        let (what, help) = match section.kind {
            SectionKind::Stream => ("the stream processor", "use filters, or delete the section"),
            SectionKind::Upstream => ("upstream lists", "name one host in the output"),
            SectionKind::Custom => ("custom plugins", "delete the section"),
            _ => continue,
        };
        let text = format!("{what} ([{}]) is not supported yet", section.kind.name());
        found.push(
            Diagnostic::error("FL0208", Class::Init, text)
                .at(section.span)
                .help(help),
        );
    }
    for section in &config.multiline_parsers {
        let text = "multiline parsers are not supported yet: this one is not used";
        found.push(Diagnostic::warning("FL0414", text).at(section.span));
    }
    if service.storage.path.is_none() {
        let inherited = service.storage.inherited_type() == Some("filesystem");
        let all = config.service.iter().filter(|_| inherited);
        for section in config.inputs.iter().chain(all) {
            let entry = section
                .get("storage.type")
                .filter(|entry| entry.value.value.eq_ignore_ascii_case("filesystem"));
            if let Some(entry) = entry {
                let text = "`storage.type filesystem` needs `storage.path` in [SERVICE]";
                let help = "add `storage.path` with a folder, or delete the line";
                found.push(
                    Diagnostic::error("FL0209", Class::Init, text)
                        .at(entry.value.span)
                        .help(help),
                );
            }
        }
    }
    found
}

/// The built-in parsers and those of the configuration.
fn parsers(config: &Config, found: &mut Vec<Diagnostic>) -> Parsers {
    let clock = || Timestamp::from_system(SystemTime::now());
    let mut parsers = Parsers::built_in(clock);
    for section in &config.parsers {
        match parsers.define(section, clock) {
            Ok(warnings) => found.extend(warnings),
            Err(errors) => found.extend(errors),
        }
    }
    parsers
}

fn engine_service(service: &ServiceConfig, args: &RouterArgs) -> EngineService {
    let base = args
        .config
        .as_deref()
        .map_or_else(|| ".".into(), firelane_engine::build::base_of);
    EngineService {
        service: Service {
            flush: service.flush,
            escape_unicode: service.escape_unicode,
            nan_to_null: service.nan_to_null,
            base,
        },
        grace: service.grace,
        schedule: Schedule {
            base: service.scheduler_base,
            cap: service.scheduler_cap,
        },
        memory_limit: service
            .memory_limit
            .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        partitions: crate::cpu::workers(),
        storage: service.storage.clone(),
        tolerant: args.fluent_bit,
    }
}
