//! From a configuration tree to a plan: every plugin built, nothing opened. `firelane check` stops here.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use firelane_conf::{Class, Config, Diagnostic, Section, Span, StorageConfig};
use firelane_core::plugin::{BuiltFilter, Warnings};
use firelane_core::{BuildCx, FilterPlugin, Input, InputPlugin, Output, OutputPlugin, Service};
use firelane_parse::Parsers;
use firelane_parse::regex::Regex;
use firelane_record::Tag;
use firelane_record::pattern::Match;

use crate::chain::{FilterKind, Matcher};
use crate::inputs::fingerprint;
use crate::properties::{self, FilterCore, InputCore, OutputCore, StorageType};
use crate::retry::{RetryLimit, Schedule};
use crate::shares::Overflow;
use crate::stages::StageSlot;

/// The plugins that exist.
#[derive(Clone, Copy)]
pub struct Tables {
    /// Inputs.
    pub inputs: &'static [&'static InputPlugin],
    /// Filters.
    pub filters: &'static [&'static FilterPlugin],
    /// Outputs.
    pub outputs: &'static [&'static OutputPlugin],
}

/// Everything built, nothing opened.
pub struct Plan {
    pub(crate) inputs: Vec<PlannedInput>,
    pub(crate) filters: Vec<PlannedFilter>,
    pub(crate) outputs: Vec<PlannedOutput>,
    pub(crate) flush: Duration,
    pub(crate) grace: Option<Duration>,
    pub(crate) schedule: Schedule,
    pub(crate) memory_limit: Option<usize>,
    pub(crate) partitions: usize,
    /// Whether any input is durable.
    pub(crate) durable: bool,
    pub(crate) storage: StorageConfig,
}

/// Settings of the service that the engine needs.
#[derive(Debug, Clone)]
pub struct EngineService {
    /// What plugins see.
    pub service: Service,
    /// `grace`; `None` for ever.
    pub grace: Option<Duration>,
    /// `scheduler.base` and `scheduler.cap`.
    pub schedule: Schedule,
    /// Memory budget in bytes; `None`: from the cgroup.
    pub memory_limit: Option<usize>,
    /// Partitions of the log.
    pub partitions: usize,
    /// The log on disk.
    pub storage: StorageConfig,
    /// Whether Fluent Bit's tolerance is wanted: an alias that is taken is a warning and no error.
    pub tolerant: bool,
}

pub(crate) struct PlannedInput {
    pub(crate) name: Arc<str>,
    pub(crate) plugin: &'static str,
    pub(crate) input: Box<dyn Input>,
    pub(crate) tag: Tag,
    pub(crate) tag_given: Option<Tag>,
    pub(crate) mem_buf_limit: Option<usize>,
    pub(crate) routable: bool,
    /// Its records go to disk before they are acknowledged.
    pub(crate) durable: bool,
    /// `ack_on delivery`
    pub(crate) ack_on_delivery: bool,
    pub(crate) span: Span,
    pub(crate) fingerprint: String,
}

pub(crate) struct PlannedFilter {
    pub(crate) name: Arc<str>,
    pub(crate) matcher: Matcher,
    pub(crate) kind: FilterKind,
}

pub(crate) struct PlannedOutput {
    pub(crate) name: Arc<str>,
    /// Its name in the log on disk.
    pub(crate) key: Arc<str>,
    pub(crate) output: Arc<dyn Output>,
    pub(crate) matcher: Matcher,
    pub(crate) retry_limit: RetryLimit,
    pub(crate) share: Option<usize>,
    pub(crate) overflow: Overflow,
    pub(crate) age_max: Option<Duration>,
    pub(crate) span: Span,
}

/// Builds one kind of section: what the three kinds share.
struct Builder<'a> {
    service: &'a Service,
    config: &'a Config,
    storage: &'a StorageConfig,
    parsers: &'a Arc<Parsers>,
    tolerant: bool,
    /// Names of instances, with their kind.
    names: HashSet<(&'static str, Arc<str>)>,
    /// Names of outputs in the log on disk.
    keys: HashSet<Arc<str>>,
    warnings: Warnings,
    errors: Vec<Diagnostic>,
}

/// `retry.max_age` where neither it nor `Retry_Limit` is set.
const AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Bytes of a chunk of Fluent Bit, which `storage.max_chunks_up` counts.
const CHUNK_BYTES: usize = 2_000_000;

/// A section taken apart.
struct Parts {
    name: Arc<str>,
    core: Section,
    network: Section,
    own: Section,
}

/// Builds everything in `config`. Lists all errors; warnings come with the plan.
pub fn plan(
    config: &Config,
    tables: &Tables,
    service: &EngineService,
    parsers: &Arc<Parsers>,
) -> Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut builder = Builder {
        service: &service.service,
        config,
        storage: &service.storage,
        parsers,
        tolerant: service.tolerant,
        names: HashSet::new(),
        keys: HashSet::new(),
        warnings: Warnings::default(),
        errors: Vec::new(),
    };
    let inputs: Vec<_> = config
        .inputs
        .iter()
        .enumerate()
        .filter_map(|(n, s)| builder.input(tables.inputs, n, s))
        .collect();
    let filters: Vec<_> = config
        .filters
        .iter()
        .enumerate()
        .filter_map(|(n, s)| builder.filter(tables.filters, n, s))
        .collect();
    let lone = config.inputs.len() == 1 && config.outputs.len() == 1;
    let outputs: Vec<_> = config
        .outputs
        .iter()
        .enumerate()
        .filter_map(|(n, s)| builder.output(tables.outputs, n, s, lone))
        .collect();
    let Builder { warnings, errors, .. } = builder;
    if !errors.is_empty() {
        return Err(errors);
    }
    let durable = inputs.iter().any(|input| input.durable);
    let plan = Plan {
        inputs,
        filters,
        outputs,
        flush: service.service.flush,
        grace: service.grace,
        schedule: service.schedule,
        memory_limit: service.memory_limit,
        partitions: service.partitions,
        durable,
        storage: service.storage.clone(),
    };
    Ok((plan, warnings.take()))
}

impl Builder<'_> {
    fn input(&mut self, table: &[&'static InputPlugin], n: usize, section: &Section) -> Option<PlannedInput> {
        let names = table.iter().map(|plugin| plugin.name);
        let plugin = self.find(
            table,
            |plugin, name| plugin.answers_to(name),
            names,
            "input",
            section,
        )?;
        let name = self.named("input", section, plugin.name, n);
        self.in_instance(&name, |builder| {
            let parts = builder.take_apart(section, properties::INPUT, plugin.network, &name);
            builder.planned_input(plugin, n, section, parts)
        })
    }

    fn planned_input(
        &mut self,
        plugin: &'static InputPlugin,
        n: usize,
        section: &Section,
        parts: Parts,
    ) -> Option<PlannedInput> {
        let core: InputCore = self.core(&parts)?;
        let tag_given = self.tag(core.tag.as_deref(), section)?;
        let default = Tag::new(format!("{}.{n}", plugin.name));
        let tag = tag_given.clone().or(default.ok())?;
        let inherited = self.storage.inherited_type();
        let storage_type = core.storage_type.or(inherited.and_then(StorageType::named));
        let durable = storage_type == Some(StorageType::Filesystem);
        if storage_type == Some(StorageType::Memrb) {
            self.warn(
                section,
                "storage.type",
                "FL0401",
                "`memrb` drops the oldest records; here the input waits instead",
            );
        }
        let cx = self.cx(&parts, section, None);
        match plugin.build(&parts.own, &cx) {
            Ok(input) => Some(PlannedInput {
                name: parts.name,
                plugin: plugin.name,
                input,
                tag,
                tag_given,
                mem_buf_limit: if durable {
                    Some(self.storage.chunks_up_max.saturating_mul(CHUNK_BYTES))
                } else {
                    core.mem_buf_limit
                        .map(|size| usize::try_from(size.0).unwrap_or(usize::MAX))
                },
                durable,
                ack_on_delivery: core.ack_on == Some(properties::AckWord::Delivery),
                routable: core.routable.is_none_or(|on| on.0),
                span: section.span,
                fingerprint: fingerprint(section, self.config),
            }),
            Err(errors) => self.fail(errors),
        }
    }

    fn filter(
        &mut self,
        table: &[&'static FilterPlugin],
        n: usize,
        section: &Section,
    ) -> Option<PlannedFilter> {
        let names = table.iter().map(|plugin| plugin.name);
        let plugin = self.find(
            table,
            |plugin, name| plugin.answers_to(name),
            names,
            "filter",
            section,
        )?;
        let name = self.named("filter", section, plugin.name, n);
        self.in_instance(&name, |builder| {
            let parts = builder.take_apart(section, properties::FILTER, plugin.network, &name);
            builder.planned_filter(plugin, section, parts)
        })
    }

    fn planned_filter(
        &mut self,
        plugin: &'static FilterPlugin,
        section: &Section,
        parts: Parts,
    ) -> Option<PlannedFilter> {
        let core: FilterCore = self.core(&parts)?;
        let matcher = self.matcher(core.pattern.as_deref(), core.match_regex.as_deref(), section)?;
        if matcher.pattern.is_none() && matcher.regex.is_none() {
            let name = parts.name.clone();
            let text = format!("NO match rule for {name} filter instance, unloading.");
            let help = "add `Match *`, or the tags it is for";
            let error = Diagnostic::error("FL0204", Class::Init, text)
                .at(section.span)
                .help(help);
            return self.fail(vec![error]);
        }
        let cx = self.cx(&parts, section, None);
        match plugin.build(&parts.own, &cx) {
            Ok(built) => {
                let kind = match built {
                    BuiltFilter::Filter(filter) => FilterKind::Filter(filter),
                    BuiltFilter::Stage(make) => FilterKind::Stage(StageSlot::new(make)),
                };
                Some(PlannedFilter {
                    name: parts.name,
                    matcher,
                    kind,
                })
            }
            Err(errors) => self.fail(errors),
        }
    }

    fn output(
        &mut self,
        table: &[&'static OutputPlugin],
        n: usize,
        section: &Section,
        lone: bool,
    ) -> Option<PlannedOutput> {
        let names = table.iter().map(|plugin| plugin.name);
        let plugin = self.find(
            table,
            |plugin, name| plugin.answers_to(name),
            names,
            "output",
            section,
        )?;
        let name = self.named("output", section, plugin.name, n);
        self.in_instance(&name, |builder| {
            let parts = builder.take_apart(section, properties::OUTPUT, plugin.network, &name);
            builder.planned_output(plugin, section, lone, parts)
        })
    }

    /// The output's name in the log on disk: its alias, else what says where it sends. So the same
    /// destination has the same name after a restart, wherever its section stands.
    fn key(&mut self, section: &Section, plugin: &str, alias: Option<&str>) -> Arc<str> {
        let name = alias.map_or_else(
            || format!("{plugin}#{:016x}", properties::destination(section)),
            String::from,
        );
        let mut key: Arc<str> = name.as_str().into();
        let mut copy = 1;
        while !self.keys.insert(key.clone()) {
            copy += 1;
            key = format!("{name}+{copy}").into();
        }
        key
    }

    fn planned_output(
        &mut self,
        plugin: &'static OutputPlugin,
        section: &Section,
        lone: bool,
        parts: Parts,
    ) -> Option<PlannedOutput> {
        let core: OutputCore = self.core(&parts)?;
        let mut matcher = self.matcher(core.pattern.as_deref(), core.match_regex.as_deref(), section)?;
        if matcher.pattern.is_none() && matcher.regex.is_none() {
            if lone {
                matcher.pattern = Some(Match::new("*"));
            } else {
                self.warn(section, "name", "FL0402", "no `Match`: this output gets nothing");
            }
        }
        let alone = self.config.outputs.len() == 1;
        let limited = core.total_limit_size.is_some();
        let (overflow, warning) = Overflow::choose(core.overflow, limited, alone, self.storage.buries());
        if let Some(text) = warning {
            self.warn(section, "storage.overflow", "FL0403", text);
        }
        // Somebody who says how often has said how long.
        let age_max = match core.retry_limit {
            Some(_) => core.max_age.map(|age| age.0),
            None => Some(core.max_age.map_or(AGE_MAX, |age| age.0)),
        };
        let cx = self.cx(&parts, section, core.workers);
        match plugin.build(&parts.own, &cx) {
            Ok(output) => Some(PlannedOutput {
                key: self.key(section, plugin.name, core.alias.as_deref()),
                name: parts.name,
                output,
                matcher,
                retry_limit: core
                    .retry_limit
                    .as_deref()
                    .map_or(RetryLimit::Unlimited, RetryLimit::parse),
                share: core
                    .total_limit_size
                    .filter(|size| size.0 > 0)
                    .map(|size| usize::try_from(size.0).unwrap_or(usize::MAX)),
                overflow,
                age_max,
                span: section.span,
            }),
            Err(errors) => self.fail(errors),
        }
    }

    /// Runs one step of building an instance, whose name then stands in everything that the step found.
    fn in_instance<T>(&mut self, name: &str, step: impl FnOnce(&mut Self) -> T) -> T {
        let (known, before) = (self.errors.len(), self.warnings.take());
        let done = step(self);
        let mut found = self.warnings.take();
        for diagnostic in self.errors[known..].iter_mut().chain(&mut found) {
            diagnostic.plugin.get_or_insert_with(|| name.into());
        }
        before
            .into_iter()
            .chain(found)
            .for_each(|warning| self.warnings.push(warning));
        done
    }

    fn find<P>(
        &mut self,
        table: &[&'static P],
        answers: impl Fn(&P, &str) -> bool,
        names: impl Iterator<Item = &'static str>,
        kind: &str,
        section: &Section,
    ) -> Option<&'static P> {
        let Some(name) = section.name() else {
            let text = format!("section '{kind}' is missing the 'name' property");
            let help = format!("add `Name` with the plugin, for example `Name {}`", example(kind));
            let error = Diagnostic::error("FL0201", Class::Missing, text)
                .at(section.span)
                .help(help);
            return self.fail(vec![error]);
        };
        let found = table
            .iter()
            .find(|plugin| answers(plugin, &name.value.value))
            .copied();
        if found.is_none() {
            let given = &name.value.value;
            let text = format!("section '{given}' tried to instance a plugin name that doesn't exist");
            let near = firelane_conf::suggest::nearest(given, names);
            let near = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
            let help = format!("{near}`firelane plugins` lists all {kind}s");
            let error = Diagnostic::error("FL0202", Class::UnknownPlugin, text)
                .at(name.value.span)
                .help(help);
            return self.fail(vec![error]);
        }
        found
    }

    fn take_apart(&mut self, section: &Section, core: &[&str], network: bool, name: &Arc<str>) -> Parts {
        let mut own = section.clone();
        for (entry, times) in properties::last_wins(&mut own, core, network) {
            let text = format!("`{}` is set {times} times: the last one counts", entry.key.value);
            self.warnings
                .push(Diagnostic::warning("FL0407", text).at(entry.key.span));
        }
        own.take(&["name"]);
        for (key, reason) in properties::WITHOUT_EFFECT {
            if !own.take(&[key]).entries.is_empty() {
                self.warn(section, key, "FL0403", reason);
            }
        }
        let core = own.take(core);
        let split = if network {
            own.take_where(properties::is_network)
        } else {
            own.take(&[])
        };
        Parts {
            name: name.clone(),
            core,
            network: split,
            own,
        }
    }

    fn core<T: serde::de::DeserializeOwned>(&mut self, parts: &Parts) -> Option<T> {
        let core = parts.core.parse::<T>(&parts.name).map_err(|errors| {
            errors
                .into_iter()
                .map(|error| error.class(Class::CoreValue))
                .collect::<Vec<_>>()
        });
        core.map_or_else(|errors| self.fail(errors), Some)
    }

    fn cx<'b>(&'b self, parts: &'b Parts, section: &'b Section, workers: Option<usize>) -> BuildCx<'b> {
        BuildCx {
            instance: &parts.name,
            section,
            network: &parts.network,
            workers,
            parsers: self.parsers,
            service: self.service,
            warnings: &self.warnings,
        }
    }

    fn tag(&mut self, text: Option<&str>, section: &Section) -> Option<Option<Tag>> {
        match text.map(Tag::new).transpose() {
            Ok(tag) => Some(tag),
            Err(error) => {
                let span = section.get("tag").map_or(section.span, |entry| entry.value.span);
                self.fail(vec![
                    Diagnostic::error("FL0203", Class::CoreValue, error.to_string()).at(span),
                ])
            }
        }
    }

    fn matcher(&mut self, pattern: Option<&str>, regex: Option<&str>, section: &Section) -> Option<Matcher> {
        let regex = match regex.map(Regex::new).transpose() {
            Ok(regex) => regex.map(Arc::new),
            Err(error) => {
                let span = section
                    .get("match_regex")
                    .map_or(section.span, |entry| entry.value.span);
                let text = format!("invalid regular expression: {error}");
                return self.fail(vec![Diagnostic::error("FL0206", Class::CoreValue, text).at(span)]);
            }
        };
        Some(Matcher {
            pattern: pattern.map(Match::new),
            regex,
        })
    }

    /// The name of an instance: the alias, else the plugin with its number among the sections of its kind
    /// (`http.0`). No two of a kind have the same: they would share their lines in log and metrics.
    fn named(&mut self, kind: &'static str, section: &Section, plugin: &str, n: usize) -> Arc<str> {
        let alias = section.get("alias");
        let wanted = alias.map_or_else(|| format!("{plugin}.{n}"), |alias| alias.value.value.clone());
        if self.names.insert((kind, wanted.as_str().into())) {
            return wanted.into();
        }
        let span = alias.map_or(section.span, |alias| alias.value.span);
        let text = format!("another {kind} is called `{wanted}`");
        if !self.tolerant {
            let error = Diagnostic::error("FL0210", Class::CoreValue, text).at(span);
            let help = "give one of them another `Alias`: names stand in logs and metrics";
            self.errors.push(error.help(help).plugin(wanted.as_str()));
            return wanted.into();
        }
        let mut own = format!("{plugin}.{n}");
        while !self.names.insert((kind, own.as_str().into())) {
            own.push('_');
        }
        let text = format!("{text}: this one is called `{own}`");
        let warning = Diagnostic::warning("FL0404", text).at(span);
        self.warnings.push(warning.plugin(own.as_str()));
        own.into()
    }

    fn warn(&mut self, section: &Section, key: &str, code: &'static str, reason: &str) {
        let entry = section.get(key);
        let span = entry.map_or(section.span, |entry| entry.key.span);
        let value = entry.map_or(String::new(), |entry| {
            format!("`{} {}`: ", entry.key.value, entry.value.value)
        });
        self.warnings
            .push(Diagnostic::warning(code, format!("{value}{reason}")).at(span));
    }

    fn fail<T>(&mut self, errors: Vec<Diagnostic>) -> Option<T> {
        self.errors.extend(errors);
        None
    }
}

fn example(kind: &str) -> &'static str {
    match kind {
        "input" => "forward",
        "filter" => "grep",
        _ => "stdout",
    }
}

impl Plan {
    /// Number of inputs, filters and outputs.
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.inputs.len(), self.filters.len(), self.outputs.len())
    }

    /// Names of outputs whose `Retry_Limit` is absent.
    pub fn unlimited_retries(&self) -> Vec<Arc<str>> {
        let unlimited = self
            .outputs
            .iter()
            .filter(|output| output.retry_limit == RetryLimit::Unlimited);
        unlimited.map(|output| output.name.clone()).collect()
    }
}

/// The base folder of a configuration file.
pub fn base_of(path: &std::path::Path) -> PathBuf {
    path.parent().map_or_else(|| PathBuf::from("."), PathBuf::from)
}
