//! The configuration as a tree: sections of entries, each with its place.

use crate::diag::Diagnostic;
use crate::span::{Span, Spanned};

/// What a section is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SectionKind {
    /// `[SERVICE]`
    Service,
    /// `[PARSER]`
    Parser,
    /// `[MULTILINE_PARSER]`
    MultilineParser,
    /// `[STREAM_TASK]`
    Stream,
    /// `[PLUGINS]`
    Plugins,
    /// `[UPSTREAM]`
    Upstream,
    /// `[CUSTOM]`
    Custom,
    /// `[INPUT]`
    Input,
    /// `[FILTER]`
    Filter,
    /// `[OUTPUT]`
    Output,
    /// Any other name: accepted and ignored, as Fluent Bit does, with a warning.
    Other,
}

impl SectionKind {
    /// The name in classic files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "SERVICE",
            Self::Parser => "PARSER",
            Self::MultilineParser => "MULTILINE_PARSER",
            Self::Stream => "STREAM_TASK",
            Self::Plugins => "PLUGINS",
            Self::Upstream => "UPSTREAM",
            Self::Custom => "CUSTOM",
            Self::Input => "INPUT",
            Self::Filter => "FILTER",
            Self::Output => "OUTPUT",
            Self::Other => "OTHER",
        }
    }

    /// From a header's text. Fluent Bit compares over the text's own length only, so a prefix selects the
    /// first kind that starts so.
    pub fn from_header(text: &str) -> Self {
        const ORDER: [(&str, SectionKind); 10] = [
            ("service", SectionKind::Service),
            ("parser", SectionKind::Parser),
            ("multiline_parser", SectionKind::MultilineParser),
            ("stream_processor", SectionKind::Stream),
            ("plugins", SectionKind::Plugins),
            ("upstream_servers", SectionKind::Upstream),
            ("customs", SectionKind::Custom),
            ("inputs", SectionKind::Input),
            ("filters", SectionKind::Filter),
            ("outputs", SectionKind::Output),
        ];
        let text = text.to_ascii_lowercase();
        if text == "stream_task" {
            return Self::Stream;
        }
        let found = ORDER
            .iter()
            .find(|(name, _)| !text.is_empty() && name.starts_with(&text));
        found.map_or(Self::Other, |(_, kind)| *kind)
    }
}

/// One property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key in lower case.
    pub key: Spanned<String>,
    /// The value, variables replaced.
    pub value: Spanned<String>,
}

/// One section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What it is.
    pub kind: SectionKind,
    /// Place of its header.
    pub span: Span,
    /// Its properties in order; keys may repeat.
    pub entries: Vec<Entry>,
    /// Place of a `processors` block (YAML), if it has one.
    pub processors: Option<Span>,
}

impl Section {
    /// An empty section.
    pub fn new(kind: SectionKind, span: Span) -> Self {
        Self {
            kind,
            span,
            entries: Vec::new(),
            processors: None,
        }
    }

    /// The property `key` (lower case); the last one where it repeats.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.key.value == key)
    }

    /// All properties `key`, in order.
    pub fn get_all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.key.value == key)
    }

    /// The property `name`.
    pub fn name(&self) -> Option<&Entry> {
        self.get("name")
    }

    /// Splits the properties `keys` off into a section of their own.
    pub fn take(&mut self, keys: &[&str]) -> Self {
        self.take_where(|key| keys.contains(&key))
    }

    /// Splits the properties whose key fits off into a section of their own.
    pub fn take_where(&mut self, fits: impl Fn(&str) -> bool) -> Self {
        let (taken, left) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(|entry| fits(&entry.key.value));
        self.entries = left;
        Self {
            entries: taken,
            processors: None,
            ..*self
        }
    }

    /// Moves the numbers of the files its places are in.
    pub fn shift(&mut self, offset: u32) {
        self.span.shift(offset);
        for entry in &mut self.entries {
            entry.key.span.shift(offset);
            entry.value.span.shift(offset);
        }
    }

    /// Adds a property.
    pub fn push(&mut self, key: &str, value: &str, span: Span) {
        let key = Spanned::new(key.to_ascii_lowercase(), span);
        self.entries.push(Entry {
            key,
            value: Spanned::new(value.to_string(), span),
        });
    }
}

/// A whole configuration, files included, variables replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// `[SERVICE]`, all of them merged; repeated keys are kept, the last one counts.
    pub service: Option<Section>,
    /// Parsers, of the main file (YAML) and of the files it names.
    pub parsers: Vec<Section>,
    /// Multiline parsers, likewise.
    pub multiline_parsers: Vec<Section>,
    /// Inputs in file order.
    pub inputs: Vec<Section>,
    /// Filters in file order.
    pub filters: Vec<Section>,
    /// Outputs in file order.
    pub outputs: Vec<Section>,
    /// `[PLUGINS]`, `[STREAM_TASK]`, `[UPSTREAM]`, `[CUSTOM]`.
    pub others: Vec<Section>,
    /// What was found on the way that does not stop the start.
    pub warnings: Vec<Diagnostic>,
}

impl Config {
    /// Adds a section to the list of its kind.
    pub fn add(&mut self, section: Section) {
        match section.kind {
            SectionKind::Service => match &mut self.service {
                Some(service) => service.entries.extend(section.entries),
                None => self.service = Some(section),
            },
            SectionKind::Parser => self.parsers.push(section),
            SectionKind::MultilineParser => self.multiline_parsers.push(section),
            SectionKind::Input => self.inputs.push(section),
            SectionKind::Filter => self.filters.push(section),
            SectionKind::Output => self.outputs.push(section),
            _ => self.others.push(section),
        }
    }
}
