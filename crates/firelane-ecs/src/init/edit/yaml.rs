//! Changes of a YAML text, in the text's own manner: block or flow, its indentation, its quotes.

use serde_json::{Map, Value as Json};

use super::{Change, Patch, Step, line_end, line_start, newline_of, own_line};
use crate::source::{Node, Pair, Value};

/// The manner of a text.
#[derive(Debug, Clone, Copy)]
struct Style {
    newline: &'static str,
    /// Columns from a key to the keys of its map.
    step: usize,
    /// Columns from a key to the dashes of its list.
    dash: usize,
    /// Columns from a dash to its element.
    item: usize,
    /// Whether texts stand in single quotes.
    single: bool,
}

/// The bytes to change for a change of the last node of a trail.
pub(super) fn patch(text: &str, trail: &[&Node], path: &[Step], change: &Change) -> Patch {
    let style = Style::of(text, trail);
    let Some(node) = trail.last() else {
        return Patch::insert(0, "");
    };
    let parent = trail.len().checked_sub(2).and_then(|index| trail.get(index));
    let key = match (parent, path.last()) {
        (Some(parent), Some(Step::Key(key))) => found(parent, key),
        _ => None,
    };
    match change {
        Change::Set(key, value) => set(text, &style, node, key, value),
        Change::Prepend(value) => prepend(text, &style, node, key, value),
        Change::Append(value) => append(text, &style, node, value),
    }
}

fn found<'a>(map: &'a Node, key: &str) -> Option<&'a Pair> {
    map.pairs().iter().rev().find(|pair| pair.key.value == key)
}

fn set(text: &str, style: &Style, map: &Node, key: &str, value: &Json) -> Patch {
    let flow = is_flow(text, map);
    if let Some(pair) = found(map, key) {
        return replace(text, style, pair, flow, value);
    }
    if flow {
        let quoted = is_quoted(text, map);
        let head = if quoted {
            json(key)
        } else {
            style.scalar(key, true)
        };
        let new = format!("{head}: {}", style.flow(value, quoted));
        return match map.pairs().last() {
            Some(last) => Patch::insert(last.value.range.end.max(last.key_range.end), format!(", {new}")),
            None => Patch::replace(&map.range, format!("{{{new}}}")),
        };
    }
    let (Some(first), Some(last)) = (map.pairs().first(), map.pairs().last()) else {
        return Patch::insert(map.range.end, "");
    };
    let indent = column(text, first.key_range.start);
    let mut one = Map::new();
    one.insert(key.to_string(), value.clone());
    let lines = style.block(&Json::Object(one), indent);
    below(text, style, last.value.range.end.max(last.key_range.end), &lines)
}

fn replace(text: &str, style: &Style, pair: &Pair, flow: bool, value: &Json) -> Patch {
    let (key, old) = (pair.key_range.start, &pair.value.range);
    let same_line = line_start(text, key) == line_start(text, old.start);
    if !flow && old.is_empty() {
        let lines = style.block(value, column(text, key) + style.depth(value));
        return below(text, style, pair.key_range.end, &lines);
    }
    if flow || same_line {
        let key = text.get(pair.key_range.clone()).unwrap_or_default();
        let quoted = is_quoted(text, &pair.value) || (flow && key.starts_with('"'));
        return Patch::replace(old, style.flow(value, quoted));
    }
    let indent = match value {
        Json::Array(_) => column(text, key) + style.dash,
        _ => column(text, old.start),
    };
    let lines = style.block(value, indent);
    let body = lines.strip_suffix(style.newline).unwrap_or(&lines);
    Patch::replace(&(line_start(text, old.start)..content_end(text, old.end)), body)
}

fn prepend(text: &str, style: &Style, list: &Node, key: Option<&Pair>, value: &Json) -> Patch {
    if is_flow(text, list) || list.range.is_empty() {
        return flow_list(text, style, list, value, true);
    }
    let dash = dash_of(text, list);
    let lines = style.list_item(value, column(text, dash));
    match key {
        // Above the comments of the element that was the first.
        Some(pair) => below(text, style, pair.key_range.end, &lines),
        None => Patch::insert(line_start(text, dash), lines),
    }
}

fn append(text: &str, style: &Style, list: &Node, value: &Json) -> Patch {
    if is_flow(text, list) || list.range.is_empty() {
        return flow_list(text, style, list, value, false);
    }
    let lines = style.list_item(value, column(text, dash_of(text, list)));
    let end = list.items().last().map_or(list.range.end, |last| last.range.end);
    below(text, style, end, &lines)
}

fn flow_list(text: &str, style: &Style, list: &Node, value: &Json, front: bool) -> Patch {
    let quoted = list
        .items()
        .iter()
        .any(|item| !item.pairs().is_empty() && is_quoted(text, item));
    let new = style.flow(value, quoted);
    match list.items().last() {
        None => Patch::replace(&list.range, format!("[{new}]")),
        Some(_) if front => {
            let open = list.range.start + 1;
            let behind = text.get(open..).unwrap_or_default();
            let blank = if behind.starts_with([' ', '\n', '\r']) {
                ""
            } else {
                " "
            };
            Patch::insert(open, format!("{new},{blank}"))
        }
        Some(last) => Patch::insert(last.range.end, format!(", {new}")),
    }
}

/// Puts lines below the line that a value ends in.
fn below(text: &str, style: &Style, end: usize, lines: &str) -> Patch {
    let end = line_end(text, content_end(text, end));
    let body = lines.strip_suffix(style.newline).unwrap_or(lines);
    Patch::insert(end, format!("{}{body}", style.newline))
}

/// Where a value really ends: texts of several lines are told to end where the next thing starts.
fn content_end(text: &str, end: usize) -> usize {
    if !own_line(text, end) {
        return end;
    }
    let before = text.get(..end).unwrap_or_default();
    before.trim_end_matches([' ', '\t', '\r', '\n']).len()
}

/// Where the dash of the first element of a list stands. A list whose dashes stand under its key is told to
/// start behind the first of them.
fn dash_of(text: &str, list: &Node) -> usize {
    let start = list.range.start;
    let is_dash = |at: usize| {
        let behind = text.get(at..).and_then(|behind| behind.strip_prefix('-'));
        behind.is_some_and(|behind| behind.is_empty() || behind.starts_with([' ', '\t', '\r', '\n']))
    };
    let first = line_start(text, start) + super::indent_of(text, start).len();
    let before = text.get(..start).unwrap_or_default().trim_end();
    let above = before.len().saturating_sub(1);
    let places = [start, first, above];
    places.into_iter().find(|at| is_dash(*at)).unwrap_or(start)
}

/// Whether a map or list stands in brackets.
fn is_flow(text: &str, node: &Node) -> bool {
    let written = text.get(node.range.clone()).unwrap_or_default();
    match node.items().first() {
        // One without brackets may be told to start where its first element does.
        Some(first) => written.starts_with('[') && first.range.start > node.range.start,
        None => written.starts_with(['{', '[']),
    }
}

/// Whether the keys of a map stand in quotes.
fn is_quoted(text: &str, node: &Node) -> bool {
    let first = node.pairs().first();
    first.is_some_and(|pair| {
        text.get(pair.key_range.clone())
            .unwrap_or_default()
            .starts_with('"')
    })
}

fn column(text: &str, at: usize) -> usize {
    at - line_start(text, at)
}

fn json(text: &str) -> String {
    Json::String(text.to_string()).to_string()
}

/// What is known of the manner so far.
#[derive(Debug, Default)]
struct Seen {
    step: Option<usize>,
    dash: Option<usize>,
    item: Option<usize>,
    single: Option<bool>,
}

impl Seen {
    /// Looks at a tree, nearest to its top first.
    fn look(&mut self, text: &str, node: &Node) {
        if self.step.is_some() && self.dash.is_some() && self.item.is_some() && self.single.is_some() {
            return;
        }
        if let Value::String(_) = node.value
            && let Some(first) = text.as_bytes().get(node.range.start)
            && self.single.is_none()
        {
            self.single = match first {
                b'\'' => Some(true),
                b'"' => Some(false),
                _ => None,
            };
        }
        if !is_flow(text, node) {
            for pair in node.pairs() {
                self.pair(text, pair);
            }
            self.items(text, node);
        }
        let children = node.pairs().iter().map(|pair| &pair.value);
        children
            .chain(node.items())
            .for_each(|child| self.look(text, child));
    }

    fn pair(&mut self, text: &str, pair: &Pair) {
        let (key, start) = (pair.key_range.start, pair.value.range.start);
        if start <= line_end(text, key) || is_flow(text, &pair.value) {
            return;
        }
        let start = match pair.value.value {
            Value::List(_) => dash_of(text, &pair.value),
            _ => start,
        };
        let depth = column(text, start).checked_sub(column(text, key));
        match &pair.value.value {
            Value::Map(_) if own_line(text, start) => self.step = self.step.or(depth.filter(|d| *d > 0)),
            Value::List(_) if own_line(text, start) => self.dash = self.dash.or(depth),
            _ => {}
        }
    }

    fn items(&mut self, text: &str, list: &Node) {
        let dash = column(text, dash_of(text, list));
        for item in list.items() {
            let line = text.get(line_start(text, item.range.start)..item.range.start);
            let blanks = line.and_then(|line| line.get(dash..)?.strip_prefix('-'));
            // A tag or an anchor may stand between.
            if let Some(blanks) = blanks.filter(|blanks| !blanks.is_empty() && blanks.trim().is_empty()) {
                self.item = self.item.or(Some(1 + blanks.len()));
            }
        }
    }
}

impl Style {
    /// The manner around the last node of a trail.
    fn of(text: &str, trail: &[&Node]) -> Self {
        let mut seen = Seen::default();
        let mut below = None;
        for (index, node) in trail.iter().enumerate().rev() {
            if index + 1 < trail.len() && below.is_some() {
                // The way down is not among the children that are looked at first.
                node.pairs().iter().for_each(|pair| {
                    if below.is_some_and(|child| std::ptr::eq(child, &pair.value)) && !is_flow(text, node) {
                        seen.pair(text, pair);
                    }
                });
                seen.items(text, node);
            }
            seen.look(text, node);
            below = Some(*node);
        }
        let step = seen.step.unwrap_or(2);
        Self {
            newline: newline_of(text),
            step,
            dash: seen.dash.unwrap_or(step),
            item: seen.item.unwrap_or(2),
            single: seen.single.unwrap_or(false),
        }
    }

    /// How deep the lines of a value stand below its key.
    fn depth(&self, value: &Json) -> usize {
        if value.is_array() { self.dash } else { self.step }
    }

    /// A value in lines, each at `indent` or deeper.
    fn block(&self, value: &Json, indent: usize) -> String {
        match value {
            Json::Object(map) if !map.is_empty() && tag(value).is_none() => map
                .iter()
                .map(|(key, value)| self.pair(key, value, indent))
                .collect(),
            Json::Array(items) if !items.is_empty() => {
                items.iter().map(|item| self.list_item(item, indent)).collect()
            }
            _ => format!("{}{}{}", " ".repeat(indent), self.short(value), self.newline),
        }
    }

    fn pair(&self, key: &str, value: &Json, indent: usize) -> String {
        let head = format!("{}{}:", " ".repeat(indent), self.scalar(key, false));
        if is_short(value) {
            return format!("{head} {}{}", self.short(value), self.newline);
        }
        head + self.newline + &self.block(value, indent + self.depth(value))
    }

    /// An element with its dash at `indent`.
    fn list_item(&self, value: &Json, indent: usize) -> String {
        let dash = format!("{}-{}", " ".repeat(indent), " ".repeat(self.item - 1));
        let inner = indent + self.item;
        let lines = self.block(value, inner);
        dash + lines.get(inner..).unwrap_or_default()
    }

    /// A scalar, an empty list or map, or an intrinsic, behind a key or dash.
    fn short(&self, value: &Json) -> String {
        if let Some((tag, text)) = tag(value) {
            return format!("{tag} {}", self.scalar(text, false));
        }
        match value {
            Json::String(text) => self.scalar(text, false),
            other => other.to_string(),
        }
    }

    /// A value in brackets; as JSON writes it where the neighbours are quoted.
    fn flow(&self, value: &Json, quoted: bool) -> String {
        if let Some((tag, text)) = tag(value).filter(|_| !quoted) {
            return format!("{tag} {}", self.scalar(text, true));
        }
        match value {
            Json::String(text) if !quoted => self.scalar(text, true),
            Json::Object(map) => {
                let pair = |(key, value): (&String, &Json)| {
                    let key = if quoted { json(key) } else { self.scalar(key, true) };
                    format!("{key}: {}", self.flow(value, quoted))
                };
                format!("{{{}}}", map.iter().map(pair).collect::<Vec<_>>().join(", "))
            }
            Json::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| self.flow(item, quoted)).collect();
                format!("[{}]", items.join(", "))
            }
            other => other.to_string(),
        }
    }

    /// A text, quoted where it must be.
    fn scalar(&self, text: &str, flow: bool) -> String {
        if is_plain(text) && !(flow && text.contains("::")) {
            return text.to_string();
        }
        if self.single && !text.contains('\'') && !text.chars().any(char::is_control) {
            return format!("'{text}'");
        }
        json(text)
    }
}

/// The short form of the intrinsics that are written here.
fn tag(value: &Json) -> Option<(&'static str, &str)> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    let (key, text) = map.iter().next()?;
    let tag = match key.as_str() {
        "Ref" => "!Ref",
        "Fn::Sub" => "!Sub",
        _ => return None,
    };
    Some((tag, text.as_str()?))
}

fn is_short(value: &Json) -> bool {
    match value {
        Json::Object(map) => map.is_empty() || tag(value).is_some(),
        Json::Array(items) => items.is_empty(),
        _ => true,
    }
}

/// Whether a text may stand without quotes and stays a text, in YAML 1.1 and 1.2.
fn is_plain(text: &str) -> bool {
    const WORDS: &[&str] = &["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let inner = |c: char| c.is_ascii_alphanumeric() || "_./@$%+-:".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '_'))
        && text.chars().all(inner)
        && !text.ends_with(':')
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}
