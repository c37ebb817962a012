//! The keys of `[SERVICE]`, typed.

use std::time::Duration;

use crate::diag::{Class, Diagnostic};
use crate::storage::StorageConfig;
use crate::suggest::nearest;
use crate::tree::{Entry, Section};
use crate::units::{ByteSize, Interval, OnOff};

/// Settings of the service. Source: Fluent Bit's `src/flb_config.c`, observed.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceConfig {
    /// `flush`: longest wait of a record before its chunk goes out.
    pub flush: Duration,
    /// `grace`: time to drain at the end; `None` for ever.
    pub grace: Option<Duration>,
    /// `log_level`
    pub log_level: String,
    /// `log_file`
    pub log_file: Option<String>,
    /// `http_server`
    pub http_server: bool,
    /// `http_listen`; `None` when it is not set.
    pub http_listen: Option<String>,
    /// `http_port`
    pub http_port: u16,
    /// `health_check`
    pub health_check: bool,
    /// `hc_errors_count`
    pub hc_errors_count: u64,
    /// `hc_retry_failure_count`
    pub hc_retry_failure_count: u64,
    /// `hc_period`
    pub hc_period: Duration,
    /// `hot_reload`
    pub hot_reload: bool,
    /// `scheduler.base`, in seconds.
    pub scheduler_base: u64,
    /// `scheduler.cap`, in seconds.
    pub scheduler_cap: u64,
    /// `storage.*` and what is ours beside it.
    pub storage: StorageConfig,
    /// `storage.metrics`
    pub storage_metrics: bool,
    /// `json.escape_unicode`
    pub escape_unicode: bool,
    /// `json.convert_nan_to_null`; on by default, unlike Fluent Bit: bare `nan` is no JSON.
    pub nan_to_null: bool,
    /// `firelane.memory_limit`: bytes of records in memory; `None`: from the cgroup.
    pub memory_limit: Option<u64>,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            flush: Duration::from_secs(1),
            grace: Some(Duration::from_secs(5)),
            log_level: "info".into(),
            log_file: None,
            http_server: false,
            http_listen: None,
            http_port: 2020,
            health_check: false,
            hc_errors_count: 5,
            hc_retry_failure_count: 5,
            hc_period: Duration::from_secs(60),
            hot_reload: false,
            scheduler_base: 5,
            scheduler_cap: 2000,
            storage: StorageConfig::default(),
            storage_metrics: false,
            escape_unicode: true,
            nan_to_null: true,
            memory_limit: None,
        }
    }
}

/// Keys that Fluent Bit has and that do nothing here, with the reason. A `*` at the end stands for any rest.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    (
        "daemon",
        "not run in the background: let the supervisor of the container do that",
    ),
    (
        "storage.backlog.flush_on_shutdown",
        "what is on disk is always delivered while the router drains, as far as time allows",
    ),
    ("storage.trim_files", "a segment of the log is removed as a whole"),
    ("streams_file", "the stream processor comes with a later version"),
    ("plugins_file", "shared objects are not loaded"),
    (
        "dns.mode",
        "names are resolved by the built-in resolver, over UDP and then TCP",
    ),
    ("dns.resolver", "names are resolved by the built-in resolver"),
    ("dns.prefer_ipv4", "set `net.dns.prefer_ipv4` on the output"),
    ("dns.prefer_ipv6", "set `net.dns.prefer_ipv6` on the output"),
    ("coro_stack_size", "there are no coroutine stacks here"),
    ("hot_reload.ensure_thread_safety", "reload is always safe here"),
    ("hot_reload.timeout", "a reload ends within 30 s"),
    ("enable_chunk_trace", "chunk traces are not supported"),
    ("multiline_buffer_limit", "multiline comes with a later version"),
    (
        "sp.convert_from_str_to_num",
        "the stream processor comes with a later version",
    ),
    ("flush.adaptive*", "chunks go out as soon as they are full"),
    ("security.fips_mode", "FIPS mode is not supported"),
];

/// Words of `log_level`.
pub const LEVELS: &[&str] = &["off", "error", "warn", "warning", "info", "debug", "trace"];

const KEYS: &[&str] = &[
    "firelane.memory_limit",
    "firelane.spill_path",
    "firelane.storage_limit",
    "flush",
    "grace",
    "hc_errors_count",
    "hc_period",
    "hc_retry_failure_count",
    "health_check",
    "hot_reload",
    "http_listen",
    "http_port",
    "http_server",
    "json.convert_nan_to_null",
    "json.escape_unicode",
    "log_file",
    "log_level",
    "parsers_file",
    "scheduler.base",
    "scheduler.cap",
    "storage.backlog.mem_limit",
    "storage.checksum",
    "storage.delete_irrecoverable_chunks",
    "storage.inherit",
    "storage.keep.rejected",
    "storage.max_chunks_up",
    "storage.metrics",
    "storage.path",
    "storage.rejected.limit",
    "storage.rejected.path",
    "storage.sync",
    "storage.type",
];

impl ServiceConfig {
    /// Reads a `[SERVICE]` section. Unknown keys and bad booleans, which Fluent Bit passes over in silence,
    /// become warnings.
    pub fn from_section(section: Option<&Section>) -> (Self, Vec<Diagnostic>) {
        let mut config = Self::default();
        let mut found = Vec::new();
        for entry in section.iter().flat_map(|section| &section.entries) {
            config.apply(entry, &mut found);
        }
        config.scheduler_cap = config.scheduler_cap.max(config.scheduler_base);
        (config, found)
    }

    fn apply(&mut self, entry: &Entry, found: &mut Vec<Diagnostic>) {
        let text = entry.value.value.as_str();
        match entry.key.value.as_str() {
            "flush" => match text.parse::<Interval>() {
                Ok(flush) if !flush.0.is_zero() => self.flush = flush.0,
                _ => found.push(bad(
                    entry,
                    "invalid flush value",
                    "write seconds above 0, for example `Flush 1`",
                )),
            },
            "grace" => match text.parse::<i64>() {
                Ok(grace) => self.grace = u64::try_from(grace).ok().map(Duration::from_secs),
                Err(_) => found.push(bad(
                    entry,
                    "invalid grace value",
                    "write whole seconds, or -1 for ever",
                )),
            },
            "log_level" => match LEVELS.iter().any(|level| level.eq_ignore_ascii_case(text)) {
                true => self.log_level = text.to_string(),
                false => found.push(bad(
                    entry,
                    "invalid log level",
                    "use off, error, warn, info, debug or trace",
                )),
            },
            "log_file" => self.log_file = Some(text.to_string()),
            "http_server" => on(entry, &mut self.http_server, found),
            "http_listen" => self.http_listen = Some(text.to_string()),
            "http_port" => number(entry, &mut self.http_port, found),
            "health_check" => on(entry, &mut self.health_check, found),
            "hc_errors_count" => number(entry, &mut self.hc_errors_count, found),
            "hc_retry_failure_count" => number(entry, &mut self.hc_retry_failure_count, found),
            "hc_period" => time(entry, &mut self.hc_period, found),
            "hot_reload" => on(entry, &mut self.hot_reload, found),
            "scheduler.base" => number(entry, &mut self.scheduler_base, found),
            "scheduler.cap" => number(entry, &mut self.scheduler_cap, found),
            "storage.metrics" => on(entry, &mut self.storage_metrics, found),
            "json.escape_unicode" => on(entry, &mut self.escape_unicode, found),
            "json.convert_nan_to_null" => on(entry, &mut self.nan_to_null, found),
            "firelane.memory_limit" => bytes(entry, &mut self.memory_limit, found),
            "parsers_file" => {}
            key if self.storage.apply(key, entry, found) => {}
            key => found.push(without_effect(entry, key)),
        }
    }
}

fn is_key(known: &str, key: &str) -> bool {
    known == key
        || known
            .strip_suffix('*')
            .is_some_and(|start| key.starts_with(start))
}

/// A value that does nothing, with the reason.
pub(crate) fn no_effect(entry: &Entry, what: &str, reason: &str) -> Diagnostic {
    Diagnostic::warning("FL0421", format!("`{what}` has no effect: {reason}")).at(entry.key.span)
}

fn without_effect(entry: &Entry, key: &str) -> Diagnostic {
    if let Some((_, reason)) = WITHOUT_EFFECT.iter().find(|(known, _)| is_key(known, key)) {
        return no_effect(entry, key, reason);
    }
    let known = KEYS.iter().copied().chain(
        WITHOUT_EFFECT
            .iter()
            .map(|(known, _)| known.trim_end_matches('*')),
    );
    let warning = Diagnostic::warning("FL0420", format!("unknown key `{key}` in [SERVICE] is ignored"));
    let warning = warning.at(entry.key.span);
    match nearest(key, known) {
        Some(near) => warning.help(format!("did you mean `{near}`?")),
        None => warning,
    }
}

/// A value that is wrong.
pub(crate) fn bad(entry: &Entry, message: &str, help: &str) -> Diagnostic {
    let message = format!("{message}: `{}`", entry.value.value);
    Diagnostic::error("FL0305", Class::CoreValue, message)
        .at(entry.value.span)
        .help(help)
}

pub(crate) fn on(entry: &Entry, to: &mut bool, found: &mut Vec<Diagnostic>) {
    match entry.value.value.parse::<OnOff>() {
        Ok(on) => *to = on.0,
        Err(error) => {
            *to = false;
            let text = format!("`{}`: {error}; it counts as off", entry.key.value);
            found.push(Diagnostic::warning("FL0422", text).at(entry.value.span));
        }
    }
}

pub(crate) fn number<T: std::str::FromStr>(entry: &Entry, to: &mut T, found: &mut Vec<Diagnostic>) {
    match entry.value.value.trim().parse() {
        Ok(number) => *to = number,
        Err(_) => found.push(bad(
            entry,
            &format!("`{}` needs a whole number", entry.key.value),
            "write digits only",
        )),
    }
}

/// A size in bytes; 0 is none.
pub(crate) fn bytes(entry: &Entry, to: &mut Option<u64>, found: &mut Vec<Diagnostic>) {
    match entry.value.value.parse::<ByteSize>() {
        Ok(size) => *to = Some(size.0).filter(|&size| size > 0),
        Err(error) => {
            let help = format!("for example `{} 64M`", entry.key.value);
            found.push(bad(entry, &error.to_string(), &help));
        }
    }
}

fn time(entry: &Entry, to: &mut Duration, found: &mut Vec<Diagnostic>) {
    match entry.value.value.parse::<Interval>() {
        Ok(time) => *to = time.0,
        Err(error) => found.push(bad(entry, &error.to_string(), "for example `HC_Period 60`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Span;
    use crate::tree::SectionKind;

    fn read(lines: &[(&str, &str)]) -> (ServiceConfig, Vec<&'static str>) {
        let mut section = Section::new(SectionKind::Service, Span::default());
        for (key, value) in lines {
            section.push(key, value, Span::default());
        }
        let (config, found) = ServiceConfig::from_section(Some(&section));
        (config, found.iter().map(|found| found.code).collect())
    }

    #[test]
    fn every_key_is_known() {
        for key in KEYS {
            let value = if *key == "storage.checksum" { "on" } else { "1" };
            let (_, codes) = read(&[(key, value)]);
            assert!(
                !codes.contains(&"FL0420") && !codes.contains(&"FL0421"),
                "{key}: {codes:?}"
            );
        }
        for (key, _) in WITHOUT_EFFECT {
            assert_eq!(read(&[(key, "1")]).1, ["FL0421"], "{key}");
        }
        assert_eq!(read(&[("flush.adaptive.min_interval", "1")]).1, ["FL0421"]);
        assert_eq!(read(&[("flsh", "1")]).1, ["FL0420"]);
    }

    #[test]
    fn switches_and_levels() {
        let (config, codes) = read(&[("json.convert_nan_to_null", "off"), ("storage.metrics", "on")]);
        assert_eq!(
            (config.nan_to_null, config.storage_metrics, codes),
            (false, true, vec![])
        );
        assert!(ServiceConfig::default().nan_to_null);
        assert_eq!(read(&[("log_level", "Debug")]).0.log_level, "Debug");
        assert_eq!(read(&[("log_level", "loud")]).1, ["FL0305"]);
        assert_eq!(read(&[("storage.metrics", "1")]).1, ["FL0422"]);
    }
}
