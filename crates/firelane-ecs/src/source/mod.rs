//! JSON and YAML to one tree in which every value knows its place, in characters and in bytes.
//!
//! The short forms of CloudFormation's intrinsics (`!Sub x`) come out as the long ones (`{"Fn::Sub":
//! "x"}`), so nothing behind this module knows which of the two grammars a text was written in.

mod json;
mod place;
mod yaml;

use std::ops::Range;
use std::path::Path;

use firelane_conf::{Class, Diagnostic, SourceId, Span, Spanned};

pub use place::Places;

/// Deepest nesting that is taken.
pub const DEPTH_MAX: usize = 64;
/// Most values that one file may hold: aliases of YAML make a small text large.
pub const NODES_MAX: usize = 1 << 20;

/// The grammar of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grammar {
    /// JSON (RFC 8259).
    Json,
    /// YAML, as CloudFormation takes it.
    Yaml,
}

impl Grammar {
    /// By the file's ending; else by the first character: a JSON text starts with a brace or bracket.
    pub fn of(name: &Path, text: &str) -> Self {
        let ending = name.extension().and_then(|ending| ending.to_str());
        match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("yaml" | "yml") => Self::Yaml,
            Some("json") => Self::Json,
            _ if text.trim_start().starts_with(['{', '[']) => Self::Json,
            _ => Self::Yaml,
        }
    }
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Its place; of a list or map: where it opens.
    pub span: Span,
    /// The bytes of the text that it takes, quotes and brackets included. What an intrinsic or a
    /// parameter gave has the range of where it is used.
    pub range: Range<usize>,
    /// Written in YAML without quotes.
    pub plain: bool,
    /// A text in which parts stand as `${…}` that only the deployment knows.
    pub open: bool,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, or nothing.
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number as written.
    Number(String),
    /// A text.
    String(String),
    /// A list.
    List(Vec<Node>),
    /// A map in the order written; keys may stand there twice.
    Map(Vec<Pair>),
}

/// One entry of a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The key.
    pub key: Spanned<String>,
    /// The bytes of the key, quotes included.
    pub key_range: Range<usize>,
    /// The value.
    pub value: Node,
}

impl Node {
    /// A value at a place.
    pub fn new(value: Value, span: Span, range: Range<usize>) -> Self {
        Self {
            value,
            span,
            range,
            plain: false,
            open: false,
        }
    }

    /// The value of a map's key, the last one where it stands there twice.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let pairs = self.pairs().iter().rev();
        pairs
            .clone()
            .find(|pair| pair.key.value == key)
            .map(|pair| &pair.value)
    }

    /// The entries of a map; of anything else none.
    pub fn pairs(&self) -> &[Pair] {
        match &self.value {
            Value::Map(pairs) => pairs,
            _ => &[],
        }
    }

    /// The elements of a list; of anything else none.
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// A scalar as text: what CloudFormation makes of numbers and booleans where a text is wanted.
    pub fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) | Value::Number(text) => Some(text),
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            _ => None,
        }
    }

    /// A scalar as text with nothing left open.
    pub fn known(&self) -> Option<&str> {
        self.scalar().filter(|_| !self.open)
    }

    /// What it is, for messages: "a text", "a list".
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// How many values it holds, itself included.
    pub fn size(&self) -> usize {
        match &self.value {
            Value::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Value::Map(pairs) => 1 + pairs.iter().map(|pair| pair.value.size()).sum::<usize>(),
            _ => 1,
        }
    }
}

/// Reads a text. Keys that stand twice in a map are warned about.
///
/// # Errors
/// What breaks the grammar, at its place.
pub fn read(
    file: SourceId,
    text: &str,
    grammar: Grammar,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Node, Box<Diagnostic>> {
    let node = match grammar {
        Grammar::Json => json::read(file, text)?,
        Grammar::Yaml => yaml::read(file, text)?,
    };
    twice(&node, warnings);
    Ok(node)
}

fn twice(node: &Node, warnings: &mut Vec<Diagnostic>) {
    let pairs = node.pairs();
    let mut seen = std::collections::HashMap::new();
    for pair in pairs {
        if let Some(first) = seen.insert(pair.key.value.as_str(), pair.key.span) {
            let message = format!(
                "key `{}` stands twice in one map: the last value counts",
                pair.key.value
            );
            let help = format!("delete one of them; the first is in line {}", first.line);
            warnings.push(
                Diagnostic::warning("FL0503", message)
                    .at(pair.key.span)
                    .help(help),
            );
        }
        twice(&pair.value, warnings);
    }
    node.items().iter().for_each(|item| twice(item, warnings));
}

pub(crate) fn broken_json(
    span: Span,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Box<Diagnostic> {
    Box::new(
        Diagnostic::error("FL0501", Class::Grammar, message)
            .at(span)
            .help(help),
    )
}

pub(crate) fn broken_yaml(
    span: Span,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Box<Diagnostic> {
    Box::new(
        Diagnostic::error("FL0502", Class::Grammar, message)
            .at(span)
            .help(help),
    )
}

#[doc(hidden)]
pub fn fuzz_source(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for grammar in [Grammar::Json, Grammar::Yaml] {
        let mut warnings = Vec::new();
        if let Ok(node) = read(SourceId(1), text, grammar, &mut warnings) {
            check_ranges(&node, text);
        }
    }
}

/// Every range lies inside the text, on boundaries of characters.
fn check_ranges(node: &Node, text: &str) {
    assert!(text.get(node.range.clone()).is_some(), "{:?}", node.range);
    for pair in node.pairs() {
        assert!(text.get(pair.key_range.clone()).is_some(), "{:?}", pair.key_range);
        check_ranges(&pair.value, text);
    }
    node.items().iter().for_each(|item| check_ranges(item, text));
}
