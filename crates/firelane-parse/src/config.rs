//! `[PARSER]` sections to parsers.

use std::sync::Arc;

use firelane_conf::units::OnOff;
use firelane_conf::{Class, Diagnostic, Section, suggest};
use jiff::tz::TimeZone;

use crate::decoders::Decoders;
use crate::json::Json;
use crate::logfmt::Logfmt;
use crate::ltsv::Ltsv;
use crate::regex::Regex;
use crate::regex_parser::RegexParser;
use crate::time::{TimeRule, Zone, offset};
use crate::timefmt::TimeFormat;
use crate::types::Types;
use crate::{Clock, Parser};

/// All properties of a parser.
const KEYS: &[&str] = &[
    "name",
    "format",
    "regex",
    "skip_empty_values",
    "time_key",
    "time_format",
    "time_keep",
    "time_strict",
    "time_offset",
    "time_system_timezone",
    "time_zone",
    "types",
    "decode_field",
    "decode_field_as",
    "logfmt_no_bare_keys",
];

/// What a section makes.
pub struct Defined {
    /// Its name.
    pub name: String,
    /// The parser.
    pub parser: Arc<dyn Parser>,
    /// What was found that does not stop the start: properties and types that do not exist.
    pub warnings: Vec<Diagnostic>,
}

/// Builds the parser of a `[PARSER]` section, variables replaced. `clock` tells the present, for times
/// without year.
///
/// # Errors
/// All that is wrong with it.
pub fn define(section: &Section, clock: Clock) -> Result<Defined, Vec<Diagnostic>> {
    let mut reader = Reader {
        section,
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let name = reader.text("name").map(str::to_string);
    if name.is_none() {
        reader.missing("no parser 'name' found", "give the parser a `Name`");
    }
    reader.unknown_keys();
    let parser = reader.parser(name.as_deref().unwrap_or_default(), clock);
    match (name, parser) {
        (Some(name), Some(parser)) if reader.errors.is_empty() => Ok(Defined {
            name,
            parser,
            warnings: reader.warnings,
        }),
        _ => Err(reader.errors),
    }
}

struct Reader<'s> {
    section: &'s Section,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl<'s> Reader<'s> {
    /// The value of a key; empty counts as absent, as in Fluent Bit.
    fn text(&self, key: &str) -> Option<&'s str> {
        let value = self.section.get(key)?.value.value.as_str();
        (!value.is_empty()).then_some(value)
    }

    fn missing(&mut self, text: &str, help: &str) {
        let error = Diagnostic::error("FL0320", Class::Init, text).at(self.section.span);
        self.errors.push(error.help(help));
    }

    fn bad(&mut self, key: &str, text: String, help: Option<&str>) {
        let span = self
            .section
            .get(key)
            .map_or(self.section.span, |entry| entry.value.span);
        let error = Diagnostic::error("FL0321", Class::Init, text).at(span);
        self.errors.push(match help {
            Some(help) => error.help(help),
            None => error,
        });
    }

    fn unknown_keys(&mut self) {
        for entry in &self.section.entries {
            if KEYS.contains(&entry.key.value.as_str()) {
                continue;
            }
            let text = format!("unknown parser property `{}` is ignored", entry.key.value);
            let warning = Diagnostic::warning("FL0423", text).at(entry.key.span);
            self.warnings
                .push(match suggest::nearest(&entry.key.value, KEYS.iter().copied()) {
                    Some(near) => warning.help(format!("did you mean `{near}`?")),
                    None => warning,
                });
        }
    }

    fn on(&mut self, key: &str, default: bool) -> bool {
        let Some(text) = self.text(key) else {
            return default;
        };
        match text.parse::<OnOff>() {
            Ok(on) => on.0,
            Err(error) => {
                self.bad(key, format!("`{key}`: {error}"), None);
                default
            }
        }
    }

    fn parser(&mut self, name: &str, clock: Clock) -> Option<Arc<dyn Parser>> {
        let Some(format) = self.text("format") else {
            let text = format!("no parser 'format' found for '{name}'");
            self.missing(&text, "add `Format` with json, regex, ltsv or logfmt");
            return None;
        };
        let (time, types, decoders) = (self.time(clock), self.types(), self.decoders());
        match format.to_ascii_lowercase().as_str() {
            "json" => Some(Arc::new(Json { time, decoders })),
            "ltsv" => Some(Arc::new(Ltsv {
                time,
                types,
                decoders,
            })),
            "logfmt" => Some(Arc::new(Logfmt {
                time,
                types,
                decoders,
                no_bare_keys: self.on("logfmt_no_bare_keys", false),
            })),
            "regex" => {
                let skip_empty = self.on("skip_empty_values", true);
                let regex = self.regex(name)?;
                Some(Arc::new(RegexParser {
                    regex,
                    skip_empty,
                    time,
                    types,
                    decoders,
                }))
            }
            other => {
                let text = format!("parser '{name}': invalid format `{other}`");
                self.bad("format", text, Some("write json, regex, ltsv or logfmt"));
                None
            }
        }
    }

    fn regex(&mut self, name: &str) -> Option<Regex> {
        let Some(pattern) = self.text("regex") else {
            let text = format!("no parser 'regex' found for '{name}'");
            self.missing(
                &text,
                "add `Regex` with a pattern that has named groups: (?<key>...)",
            );
            return None;
        };
        match Regex::new(pattern) {
            Ok(regex) => Some(regex),
            Err(error) => {
                let text = format!("parser '{name}': invalid regular expression `{pattern}`: {error}");
                self.bad("regex", text, None);
                None
            }
        }
    }

    fn time(&mut self, clock: Clock) -> Option<TimeRule> {
        let (keep, strict) = (self.on("time_keep", false), self.on("time_strict", true));
        let zone = self.zone();
        let Some(format) = self.text("time_format") else {
            if self.text("time_zone").is_some() {
                self.bad("time_zone", "`time_zone` requires `time_format`".into(), None);
            }
            return None;
        };
        match TimeFormat::new(format) {
            Ok(format) => Some(TimeRule {
                key: self.text("time_key").unwrap_or("time").as_bytes().to_vec(),
                format,
                keep,
                strict,
                zone: zone.unwrap_or(Zone::Fixed(0)),
                clock,
            }),
            Err(error) => {
                let text = format!("`time_format` `{format}`: {error}");
                self.bad(
                    "time_format",
                    text,
                    Some("it takes the conversions of strptime, and `%L`"),
                );
                None
            }
        }
    }

    fn zone(&mut self) -> Option<Zone> {
        let system = self.on("time_system_timezone", false);
        let given = self.text("time_offset");
        if let Some(name) = self.text("time_zone") {
            if system || given.is_some() {
                let text = "`time_zone` cannot be combined with `time_offset` or `time_system_timezone`";
                self.bad("time_zone", text.into(), Some("keep one of them"));
            }
            let zone = TimeZone::get(name);
            if zone.is_err() {
                let text = format!("invalid or unavailable time zone `{name}`");
                self.bad(
                    "time_zone",
                    text,
                    Some("write a name of the system's zone data, such as Europe/Paris"),
                );
            }
            return zone.ok().map(Zone::Place);
        }
        if system {
            return Some(Zone::Place(TimeZone::system()));
        }
        let given = given?;
        let seconds = offset(given);
        if seconds.is_none() {
            let text = format!("`time_offset` `{given}` is no distance from UTC");
            self.bad("time_offset", text, Some("write +hhmm or -hhmm"));
        }
        seconds.map(Zone::Fixed)
    }

    fn types(&mut self) -> Types {
        let Some(text) = self.text("types") else {
            return Types::default();
        };
        let (types, bad) = Types::parse(text);
        for word in bad {
            let text = format!("`types`: `{word}` is taken as text");
            let warning = Diagnostic::warning("FL0424", text);
            let warning = match self.section.get("types") {
                Some(entry) => warning.at(entry.value.span),
                None => warning,
            };
            let help = "write key:type with string, integer, float, bool or hex";
            self.warnings.push(warning.help(help));
        }
        types
    }

    fn decoders(&mut self) -> Decoders {
        let mut decoders = Decoders::default();
        for entry in &self.section.entries {
            let replaces = match entry.key.value.as_str() {
                "decode_field_as" => true,
                "decode_field" => false,
                _ => continue,
            };
            if let Err(reason) = decoders.add(replaces, &entry.value.value) {
                let text = format!("`{}`: {reason}", entry.key.value);
                let error = Diagnostic::error("FL0322", Class::Init, text).at(entry.value.span);
                self.errors
                    .push(error.help("for example `Decode_Field_As json log`"));
            }
        }
        decoders
    }
}
