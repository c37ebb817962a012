//! Changes of a text that leave every other byte alone.
//!
//! One change at a time: it is made in the tree and in the text, the text is read again, and both must agree.
//! So a form of YAML that was not thought of ends as an error and never as a broken file.

mod json;
mod yaml;

use std::ops::Range;

use firelane_conf::{Diagnostic, SourceId, Span, Spanned};
use serde_json::Value as Json;

use super::fault;
use crate::source::{self, Grammar, Node, Pair, Value};

/// One step down a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// To the value of a key.
    Key(String),
    /// To an element.
    Item(usize),
}

impl Step {
    /// To the value of a key.
    pub(super) fn key(key: impl Into<String>) -> Self {
        Self::Key(key.into())
    }
}

/// A change of a map or list.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// Sets a key of a map; a new one goes to its end.
    Set(String, Json),
    /// Puts an element to the front of a list.
    Prepend(Json),
    /// Puts an element to the end of a list.
    Append(Json),
}

/// Bytes that go, and what comes for them.
struct Patch {
    range: Range<usize>,
    text: String,
}

impl Patch {
    fn insert(at: usize, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { range: at..at, text }
    }

    fn replace(range: &Range<usize>, text: impl Into<String>) -> Self {
        let (range, text) = (range.clone(), text.into());
        Self { range, text }
    }
}

/// A text under change.
#[derive(Debug)]
pub(super) struct Editor {
    file: SourceId,
    grammar: Grammar,
    text: String,
    root: Node,
}

impl Editor {
    /// Starts with a text.
    pub(super) fn new(file: SourceId, text: &str, grammar: Grammar) -> Result<Self, Box<Diagnostic>> {
        let mut twice = Vec::new();
        let root = source::read(file, text, grammar, &mut twice)?;
        // Which of two equal keys is meant is not for us to say.
        if let Some(span) = twice.first().and_then(|warning| warning.span) {
            let help = "delete one of them first";
            return Err(Box::new(
                fault::place("a key stands twice in one map", span).help(help),
            ));
        }
        Ok(Self {
            file,
            grammar,
            text: text.to_string(),
            root,
        })
    }

    /// The tree as it stands.
    pub(super) fn root(&self) -> &Node {
        &self.root
    }

    /// The text as it stands.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// The value at a path.
    pub(super) fn at(&self, path: &[Step]) -> Option<&Node> {
        walk(&self.root, path)
    }

    /// Makes one change of the map or list at `path`.
    pub(super) fn apply(&mut self, path: &[Step], change: &Change) -> Result<(), Box<Diagnostic>> {
        let trail = self.trail(path)?;
        let Some(node) = trail.last().copied() else {
            return Err(Box::new(fault::internal("a change of nothing")));
        };
        let span = node.span;
        let mut wanted = self.root.clone();
        if !walk_mut(&mut wanted, path).is_some_and(|target| change.make(target)) {
            let message = format!("{} cannot be changed like that", node.kind());
            return Err(Box::new(fault::edit(message, span)));
        }
        let patch = match self.grammar {
            Grammar::Json => json::patch(&self.text, &trail, change),
            Grammar::Yaml => yaml::patch(&self.text, &trail, path, change),
        };
        let (Some(before), Some(behind)) = (
            self.text.get(..patch.range.start),
            self.text.get(patch.range.end..),
        ) else {
            return Err(Box::new(fault::internal("a change outside the text")));
        };
        let text = [before, &patch.text, behind].concat();
        match source::read(self.file, &text, self.grammar, &mut Vec::new()) {
            Ok(root) if same(&root, &wanted) => {
                (self.text, self.root) = (text, root);
                Ok(())
            }
            _ => Err(Box::new(fault::edit("this cannot be changed alone", span))),
        }
    }

    /// The values on the way to a path, from the root.
    fn trail(&self, path: &[Step]) -> Result<Vec<&Node>, Box<Diagnostic>> {
        let mut all = vec![&self.root];
        let mut node = &self.root;
        for step in path {
            let Some(child) = walk(node, std::slice::from_ref(step)) else {
                return Err(Box::new(fault::internal("a change where nothing stands")));
            };
            // What an alias stands for lies elsewhere in the text.
            if child.range.start < node.range.start || child.range.end > node.range.end {
                let message = "this is written elsewhere and only named here";
                return Err(Box::new(fault::edit(message, node.span)));
            }
            all.push(child);
            node = child;
        }
        Ok(all)
    }
}

fn walk<'a>(root: &'a Node, path: &[Step]) -> Option<&'a Node> {
    path.iter().try_fold(root, |node, step| match step {
        Step::Key(key) => node.get(key),
        Step::Item(index) => node.items().get(*index),
    })
}

fn walk_mut<'a>(root: &'a mut Node, path: &[Step]) -> Option<&'a mut Node> {
    path.iter()
        .try_fold(root, |node, step| match (&mut node.value, step) {
            (Value::Map(pairs), Step::Key(key)) => {
                let mut all = pairs.iter_mut().rev();
                all.find(|pair| pair.key.value == *key)
                    .map(|pair| &mut pair.value)
            }
            (Value::List(items), Step::Item(index)) => items.get_mut(*index),
            _ => None,
        })
}

impl Change {
    /// Makes it in a tree; whether it could be made.
    fn make(&self, target: &mut Node) -> bool {
        match (self, &mut target.value) {
            (Self::Set(key, value), Value::Map(pairs)) => {
                let value = node(value);
                match pairs.iter_mut().rev().find(|pair| pair.key.value == *key) {
                    Some(pair) => pair.value = value,
                    None => pairs.push(pair(key, value)),
                }
            }
            (Self::Prepend(value), Value::List(items)) => items.insert(0, node(value)),
            (Self::Append(value), Value::List(items)) => items.push(node(value)),
            _ => return false,
        }
        true
    }
}

fn pair(key: &str, value: Node) -> Pair {
    Pair {
        key: Spanned::new(key.to_string(), Span::default()),
        key_range: 0..0,
        value,
    }
}

/// A value without a place.
fn node(value: &Json) -> Node {
    let value = match value {
        Json::Null => Value::Null,
        Json::Bool(on) => Value::Bool(*on),
        Json::Number(number) => Value::Number(number.to_string()),
        Json::String(text) => Value::String(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(node).collect()),
        Json::Object(map) => Value::Map(map.iter().map(|(key, value)| pair(key, node(value))).collect()),
    };
    Node::new(value, Span::default(), 0..0)
}

/// Whether two trees say the same, wherever it stands.
pub(super) fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            let pairs = |(a, b): (&Pair, &Pair)| a.key.value == b.key.value && same(&a.value, &b.value);
            a.len() == b.len() && a.iter().zip(b).all(pairs)
        }
        (a, b) => a == b,
    }
}

/// Whether a tree says what a JSON value says; the order of keys and the writing of scalars do not count.
pub(super) fn says(tree: &Node, value: &Json) -> bool {
    match value {
        Json::Object(map) => {
            let pairs = tree.pairs();
            let kept = |(key, value): (&String, &Json)| tree.get(key).is_some_and(|node| says(node, value));
            matches!(tree.value, Value::Map(_)) && pairs.len() == map.len() && map.iter().all(kept)
        }
        Json::Array(items) => {
            let all = tree.items();
            matches!(tree.value, Value::List(_))
                && all.len() == items.len()
                && all.iter().zip(items).all(|(a, b)| says(a, b))
        }
        Json::Null => tree.value == Value::Null,
        Json::String(text) => tree.scalar() == Some(text),
        scalar => tree.scalar() == Some(scalar.to_string().as_str()),
    }
}

/// Where the line of a byte begins.
fn line_start(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    before.rfind('\n').map_or(0, |newline| newline + 1)
}

/// Where the line of a byte ends, before its line end.
fn line_end(text: &str, at: usize) -> usize {
    let behind = text.get(at..).unwrap_or_default();
    match behind.find('\n') {
        Some(0) => at,
        Some(newline) if behind[..newline].ends_with('\r') => at + newline - 1,
        Some(newline) => at + newline,
        None => text.len(),
    }
}

/// The blanks that a line begins with.
fn indent_of(text: &str, at: usize) -> &str {
    let line = text.get(line_start(text, at)..).unwrap_or_default();
    let blanks = line.len() - line.trim_start_matches([' ', '\t']).len();
    &line[..blanks]
}

/// Whether only blanks stand before it in its line.
fn own_line(text: &str, at: usize) -> bool {
    let before = text.get(line_start(text, at)..at).unwrap_or_default();
    before.bytes().all(|byte| matches!(byte, b' ' | b'\t'))
}

/// The line end of a text.
fn newline_of(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}
