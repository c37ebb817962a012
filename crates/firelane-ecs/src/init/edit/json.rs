//! Changes of a JSON text, in the text's own manner.

use serde_json::Value as Json;

use super::{Change, Patch, indent_of, newline_of, own_line};
use crate::source::Node;

/// The manner of a text.
struct Style {
    newline: &'static str,
    /// One level.
    unit: String,
    /// Between key and value.
    colon: String,
    /// Between two elements in one line.
    comma: String,
    /// Whether the text has several lines of elements.
    lines: bool,
}

/// The bytes to change for a change of the last node of a trail.
pub(super) fn patch(text: &str, trail: &[&Node], change: &Change) -> Patch {
    let style = trail
        .first()
        .map_or_else(Style::plain, |root| Style::of(text, root));
    let Some(node) = trail.last() else {
        return Patch::insert(0, "");
    };
    match change {
        Change::Set(key, value) => set(text, &style, node, key, value),
        Change::Prepend(value) => prepend(text, &style, node, value),
        Change::Append(value) => append(text, &style, node, node.items().last(), "", value),
    }
}

fn set(text: &str, style: &Style, map: &Node, key: &str, value: &Json) -> Patch {
    let found = map.pairs().iter().rev().find(|pair| pair.key.value == key);
    if let Some(pair) = found {
        let old = &pair.value.range;
        let broken = text.get(old.clone()).is_some_and(|old| old.contains('\n'));
        let lines = broken || own_line(text, pair.key_range.start);
        let indent = lines.then(|| indent_of(text, pair.key_range.start));
        return Patch::replace(old, style.print(value, indent));
    }
    let head = Json::String(key.to_string()).to_string() + &style.colon;
    let Some(last) = map.pairs().last() else {
        return fill(text, style, map, &head, value);
    };
    let start = last.key_range.start;
    behind(text, style, map, start, last.value.range.end, &head, value)
}

fn append(text: &str, style: &Style, list: &Node, last: Option<&Node>, head: &str, value: &Json) -> Patch {
    match last {
        Some(last) => behind(text, style, list, last.range.start, last.range.end, head, value),
        None => fill(text, style, list, head, value),
    }
}

/// Puts an element behind the last one.
fn behind(
    text: &str,
    style: &Style,
    whole: &Node,
    start: usize,
    end: usize,
    head: &str,
    value: &Json,
) -> Patch {
    let broken = text
        .get(whole.range.clone())
        .is_some_and(|all| all.contains('\n'));
    let new = if own_line(text, start) {
        let indent = indent_of(text, start);
        let value = style.print(value, Some(indent));
        format!(",{}{indent}{head}{value}", style.newline)
    } else {
        let indent = broken.then(|| indent_of(text, whole.range.start));
        format!("{}{head}{}", style.comma, style.print(value, indent))
    };
    Patch::insert(end, new)
}

fn prepend(text: &str, style: &Style, list: &Node, value: &Json) -> Patch {
    let Some(first) = list.items().first() else {
        return fill(text, style, list, "", value);
    };
    let start = first.range.start;
    let broken = text.get(list.range.clone()).is_some_and(|all| all.contains('\n'));
    let new = if own_line(text, start) {
        let indent = indent_of(text, start);
        format!("{},{}{indent}", style.print(value, Some(indent)), style.newline)
    } else {
        let indent = broken.then(|| indent_of(text, list.range.start));
        style.print(value, indent) + &style.comma
    };
    Patch::insert(start, new)
}

/// Puts the first element into an empty list or map.
fn fill(text: &str, style: &Style, whole: &Node, head: &str, value: &Json) -> Patch {
    let all = text.get(whole.range.clone()).unwrap_or_default();
    let (open, close) = if all.starts_with('{') {
        ("{", "}")
    } else {
        ("[", "]")
    };
    let new = if style.lines {
        let outer = indent_of(text, whole.range.start);
        let inner = outer.to_string() + &style.unit;
        let value = style.print(value, Some(&inner));
        let newline = style.newline;
        format!("{open}{newline}{inner}{head}{value}{newline}{outer}{close}")
    } else {
        format!("{open}{head}{}{close}", style.print(value, None))
    };
    Patch::replace(&whole.range, new)
}

impl Style {
    fn plain() -> Self {
        Self {
            newline: "\n",
            unit: "  ".into(),
            colon: ": ".into(),
            comma: ", ".into(),
            lines: true,
        }
    }

    fn of(text: &str, root: &Node) -> Self {
        let mut style = Self::plain();
        style.newline = newline_of(text);
        style.colon = colon(text, root).unwrap_or(style.colon);
        // A text without a blank after its colons has none after its commas.
        if style.colon == ":" {
            style.comma = ",".into();
        }
        let unit = unit(text, root);
        style.lines = unit.is_some();
        style.unit = unit.unwrap_or(style.unit);
        style
    }

    /// A value; in lines below an indentation, or in one line.
    fn print(&self, value: &Json, indent: Option<&str>) -> String {
        let mut out = String::new();
        self.write(value, indent, &mut out);
        out
    }

    fn write(&self, value: &Json, indent: Option<&str>, out: &mut String) {
        let (open, close, parts): (_, _, Vec<(String, &Json)>) = match value {
            Json::Object(map) if !map.is_empty() => {
                let key = |key: &String| Json::String(key.clone()).to_string() + &self.colon;
                (
                    '{',
                    '}',
                    map.iter().map(|(name, value)| (key(name), value)).collect(),
                )
            }
            Json::Array(items) if !items.is_empty() => {
                ('[', ']', items.iter().map(|item| (String::new(), item)).collect())
            }
            scalar => {
                out.push_str(&scalar.to_string());
                return;
            }
        };
        let inner = indent.map(|indent| indent.to_string() + &self.unit);
        out.push(open);
        for (index, (head, value)) in parts.into_iter().enumerate() {
            match &inner {
                Some(inner) => {
                    let comma = if index > 0 { "," } else { "" };
                    out.extend([comma, self.newline, inner]);
                }
                None if index > 0 => out.push_str(&self.comma),
                None => {}
            }
            out.push_str(&head);
            self.write(value, inner.as_deref(), out);
        }
        if let Some(indent) = indent {
            out.extend([self.newline, indent]);
        }
        out.push(close);
    }
}

/// What stands between the first key and its value.
fn colon(text: &str, node: &Node) -> Option<String> {
    let own = node.pairs().iter().find_map(|pair| {
        let between = text.get(pair.key_range.end..pair.value.range.start)?;
        let plain = between.bytes().all(|byte| matches!(byte, b':' | b' '));
        plain.then(|| between.to_string())
    });
    own.or_else(|| node.items().iter().find_map(|item| colon(text, item)))
}

/// One level of indentation, from the first element on a line of its own that is deeper than its parent's.
fn unit(text: &str, node: &Node) -> Option<String> {
    let outer = indent_of(text, node.range.start);
    let starts = node.pairs().iter().map(|pair| pair.key_range.start);
    let mut starts = starts.chain(node.items().iter().map(|item| item.range.start));
    let own = starts.find_map(|start| {
        let inner = own_line(text, start).then(|| indent_of(text, start))?;
        let unit = inner.strip_prefix(outer).filter(|unit| !unit.is_empty())?;
        (start > super::line_end(text, node.range.start)).then(|| unit.to_string())
    });
    let pairs = || node.pairs().iter().map(|pair| &pair.value);
    own.or_else(|| pairs().chain(node.items()).find_map(|child| unit(text, child)))
}
