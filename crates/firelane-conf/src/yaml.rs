//! The YAML form: `env`, `service`, `pipeline`, `includes`, `parsers` and the rest, to sections.
//!
//! Every scalar is text (`yes`, `10` and `null` are those words). A list sets its property once for each
//! element. Keys in camelCase without underscore become snake_case.

use saphyr_parser::{Event, Parser};

use crate::diag::{Class, Diagnostic};
use crate::span::{SourceId, Span, Spanned};
use crate::suggest::nearest;
use crate::tree::{Entry, Section, SectionKind};

/// A YAML value.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// A scalar as it stands.
    Scalar(String),
    /// A list.
    List(Vec<Spanned<Node>>),
    /// A map, in order.
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

/// What one YAML file says.
#[derive(Debug, Default)]
pub struct Document {
    /// Sections in order.
    pub sections: Vec<Section>,
    /// Variables.
    pub env: Vec<(Spanned<String>, String)>,
    /// Files to include, in order.
    pub includes: Vec<Spanned<String>>,
}

/// Deepest nesting and most nodes that are taken: aliases can make a small text large.
const DEPTH_MAX: usize = 64;
const NODES_MAX: usize = 1 << 20;

/// Reads a file.
pub fn read(file: SourceId, text: &str, errors: &mut Vec<Diagnostic>) -> Document {
    let mut document = Document::default();
    let root = match tree(file, text) {
        Ok(Some(root)) => root,
        Ok(None) => return document,
        Err(error) => {
            errors.push(*error);
            return document;
        }
    };
    let Node::Map(pairs) = root.value else {
        errors.push(grammar(
            root.span,
            "the file is not a map of `service`, `pipeline` and so on",
        ));
        return document;
    };
    for (key, value) in pairs {
        document.top(key, value, errors);
    }
    document
}

fn grammar(span: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error("FL0105", Class::Grammar, message).at(span)
}

const TOP: &[&str] = &[
    "customs",
    "env",
    "includes",
    "multiline_parsers",
    "parsers",
    "pipeline",
    "plugins",
    "service",
    "stream_processor",
    "upstream_servers",
];

impl Document {
    fn top(&mut self, key: Spanned<String>, value: Spanned<Node>, errors: &mut Vec<Diagnostic>) {
        match key.value.as_str() {
            "env" => self.env(value, errors),
            "includes" => self.includes = strings(value, errors),
            "service" => {
                if let Some(section) = section(SectionKind::Service, key.span, value, errors) {
                    self.sections.push(section);
                }
            }
            "pipeline" => self.pipeline(value, errors),
            "parsers" => self.list(SectionKind::Parser, value, errors),
            "multiline_parsers" => self.list(SectionKind::MultilineParser, value, errors),
            "stream_processor" => self.list(SectionKind::Stream, value, errors),
            "upstream_servers" => self.list(SectionKind::Upstream, value, errors),
            "customs" => self.list(SectionKind::Custom, value, errors),
            "plugins" => {
                let mut section = Section::new(SectionKind::Plugins, key.span);
                for path in strings(value, errors) {
                    section.push("path", &path.value, path.span);
                }
                self.sections.push(section);
            }
            other => {
                let near = nearest(other, TOP.iter().copied()).map(|near| format!("did you mean `{near}`? "));
                let help = format!("{}known are {}", near.unwrap_or_default(), TOP.join(", "));
                errors.push(grammar(key.span, format!("unknown top-level key `{other}`")).help(help));
            }
        }
    }

    fn env(&mut self, value: Spanned<Node>, errors: &mut Vec<Diagnostic>) {
        match value.value {
            Node::Map(pairs) => {
                for (key, value) in pairs {
                    match value.value {
                        Node::Scalar(text) => self.env.push((key, text)),
                        _ => errors.push(grammar(value.span, "a variable needs a plain value")),
                    }
                }
            }
            Node::List(items) => {
                for item in items {
                    let span = item.span;
                    let mut section = section(SectionKind::Other, span, item, errors);
                    let name = section
                        .as_ref()
                        .and_then(|s| s.get("name"))
                        .map(|entry| entry.value.clone());
                    let uri = section
                        .as_mut()
                        .map(|s| s.take(&["uri"]))
                        .filter(|uri| !uri.entries.is_empty());
                    let text = section
                        .as_ref()
                        .and_then(|s| s.get("value"))
                        .map(|entry| entry.value.value.clone());
                    let text = uri
                        .and_then(|uri| Some(uri.entries.first()?.value.value.clone()))
                        .or(text);
                    match (name, text) {
                        (Some(name), Some(text)) => self.env.push((name, text)),
                        _ => errors.push(grammar(span, "a variable needs `name` and `value`")),
                    }
                }
            }
            Node::Scalar(_) => errors.push(grammar(value.span, "`env` is a map of names and values")),
        }
    }

    fn pipeline(&mut self, value: Spanned<Node>, errors: &mut Vec<Diagnostic>) {
        let Node::Map(pairs) = value.value else {
            errors.push(grammar(
                value.span,
                "`pipeline` is a map of `inputs`, `filters` and `outputs`",
            ));
            return;
        };
        for (key, value) in pairs {
            let kind = match key.value.as_str() {
                "inputs" => SectionKind::Input,
                "filters" => SectionKind::Filter,
                "outputs" => SectionKind::Output,
                other => {
                    let help = "a pipeline has `inputs`, `filters` and `outputs`";
                    errors.push(grammar(key.span, format!("unknown key `{other}` in `pipeline`")).help(help));
                    continue;
                }
            };
            self.list(kind, value, errors);
        }
    }

    fn list(&mut self, kind: SectionKind, value: Spanned<Node>, errors: &mut Vec<Diagnostic>) {
        let items = match value.value {
            Node::List(items) => items,
            Node::Map(_) => vec![value],
            Node::Scalar(ref text) if text.is_empty() || text == "~" => Vec::new(),
            Node::Scalar(_) => {
                errors.push(grammar(
                    value.span,
                    "a list of maps is expected, each item behind a `-`",
                ));
                return;
            }
        };
        let sections = items
            .into_iter()
            .filter_map(|item| section(kind, item.span, item, errors));
        let sections: Vec<_> = sections.collect();
        self.sections.extend(sections);
    }
}

fn strings(value: Spanned<Node>, errors: &mut Vec<Diagnostic>) -> Vec<Spanned<String>> {
    let items = match value.value {
        Node::List(items) => items,
        _ => vec![value],
    };
    let mut out = Vec::new();
    for item in items {
        match item.value {
            Node::Scalar(text) => out.push(Spanned::new(text, item.span)),
            _ => errors.push(grammar(item.span, "a list of plain values is expected")),
        }
    }
    out
}

/// A map as a section.
fn section(
    kind: SectionKind,
    span: Span,
    value: Spanned<Node>,
    errors: &mut Vec<Diagnostic>,
) -> Option<Section> {
    let pairs = match value.value {
        Node::Map(pairs) => pairs,
        Node::Scalar(text) if text.is_empty() || text == "~" => Vec::new(),
        _ => {
            errors.push(grammar(value.span, "a map of properties is expected"));
            return None;
        }
    };
    let mut section = Section::new(kind, span);
    for (key, value) in pairs {
        property(&mut section, key, value, errors);
    }
    Some(section)
}

fn property(section: &mut Section, key: Spanned<String>, value: Spanned<Node>, errors: &mut Vec<Diagnostic>) {
    let name = snake_case(&key.value);
    if name == "processors" {
        section.processors = Some(key.span);
        return;
    }
    let mut add = |text: String, span: Span| {
        let key = Spanned::new(name.clone(), key.span);
        section.entries.push(Entry {
            key,
            value: Spanned::new(text, span),
        });
    };
    match value.value {
        Node::Scalar(text) => add(text, value.span),
        Node::List(items) => {
            for item in items {
                match item.value {
                    Node::Scalar(text) => add(text, item.span),
                    Node::Map(pairs) if name == "rules" => add(rule(pairs), item.span),
                    _ => errors.push(grammar(
                        item.span,
                        format!("an element of `{name}` is not a plain value"),
                    )),
                }
            }
        }
        Node::Map(_) => {
            let message = format!("property `{name}` is a map, a plain value or a list is expected");
            errors.push(grammar(value.span, message));
        }
    }
}

/// A multiline rule as the classic form writes it: `"state" "/regex/" "next"`.
fn rule(pairs: Vec<(Spanned<String>, Spanned<Node>)>) -> String {
    let text = |name: &str| {
        let found = pairs
            .iter()
            .find(|(key, _)| key.value == name)
            .map(|(_, value)| &value.value);
        match found {
            Some(Node::Scalar(text)) => text.replace('"', "\\\""),
            _ => String::new(),
        }
    };
    format!(
        "\"{}\" \"{}\" \"{}\"",
        text("state"),
        text("regex"),
        text("next_state")
    )
}

/// `keyName` to `key_name`, when it starts in lower case and holds no underscore; else lower case.
fn snake_case(key: &str) -> String {
    let starts_low = key.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts_low || key.contains('_') {
        return key.to_ascii_lowercase();
    }
    let mut out = String::new();
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// The tree of the first document.
fn tree(file: SourceId, text: &str) -> Result<Option<Spanned<Node>>, Box<Diagnostic>> {
    let mut builder = Builder {
        file,
        anchors: Vec::new(),
        nodes: 0,
    };
    let mut parser = Parser::new_from_str(text);
    loop {
        let (event, span) = match parser.next() {
            Some(Ok(next)) => next,
            Some(Err(error)) => return Err(Box::new(builder.scan_error(&error))),
            None => return Ok(None),
        };
        match event {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            Event::StreamEnd | Event::DocumentEnd => return Ok(None),
            event => {
                let root = builder.node(event, span, &mut parser, 0)?;
                // The rest is read too, so that an error in it is found.
                for next in parser.by_ref() {
                    next.map_err(|error| Box::new(builder.scan_error(&error)))?;
                }
                return Ok(Some(root));
            }
        }
    }
}

struct Builder {
    file: SourceId,
    anchors: Vec<(usize, Node)>,
    nodes: usize,
}

type Events<'a> = Parser<'a, saphyr_parser::StrInput<'a>>;

impl Builder {
    fn span(&self, span: saphyr_parser::Span) -> Span {
        let one_line = span.start.line() == span.end.line();
        let len = if one_line {
            span.end.col().saturating_sub(span.start.col())
        } else {
            1
        };
        self.place(span.start, len.max(1) as u32)
    }

    fn place(&self, marker: saphyr_parser::Marker, len: u32) -> Span {
        let (line, column) = (marker.line().max(1) as u32, marker.col() as u32 + 1);
        Span {
            file: self.file,
            line,
            column,
            len,
        }
    }

    fn scan_error(&self, error: &saphyr_parser::ScanError) -> Diagnostic {
        let help = "YAML nests by blanks: check the indentation of this line and the one before";
        grammar(
            self.place(*error.marker(), 1),
            format!("broken YAML: {}", error.info()),
        )
        .help(help)
    }

    fn next<'a>(&self, parser: &mut Events<'a>) -> Result<(Event<'a>, saphyr_parser::Span), Box<Diagnostic>> {
        match parser.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(Box::new(self.scan_error(&error))),
            None => Err(Box::new(grammar(
                Span {
                    file: self.file,
                    ..Span::default()
                },
                "the YAML ends too early",
            ))),
        }
    }

    fn node<'a>(
        &mut self,
        event: Event<'a>,
        at: saphyr_parser::Span,
        parser: &mut Events<'a>,
        depth: usize,
    ) -> Result<Spanned<Node>, Box<Diagnostic>> {
        let span = self.span(at);
        self.nodes += 1;
        if depth > DEPTH_MAX || self.nodes > NODES_MAX {
            return Err(Box::new(grammar(
                span,
                "the YAML is nested too deep or too large",
            )));
        }
        let (node, anchor) = match event {
            Event::Scalar(text, _, anchor, _) => (Node::Scalar(text.into_owned()), anchor),
            Event::Alias(anchor) => {
                let found = self.anchors.iter().rev().find(|(id, _)| *id == anchor);
                let node = found.map_or(Node::Scalar(String::new()), |(_, node)| node.clone());
                self.nodes += size(&node);
                (node, 0)
            }
            Event::SequenceStart(anchor, _) => (self.list(parser, depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.map(parser, depth)?, anchor),
            _ => return Err(Box::new(grammar(span, "a value is expected here"))),
        };
        if anchor > 0 {
            self.anchors.push((anchor, node.clone()));
        }
        Ok(Spanned::new(node, span))
    }

    fn list(&mut self, parser: &mut Events<'_>, depth: usize) -> Result<Node, Box<Diagnostic>> {
        let mut items = Vec::new();
        loop {
            let (event, at) = self.next(parser)?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Node::List(items));
            }
            items.push(self.node(event, at, parser, depth + 1)?);
        }
    }

    fn map(&mut self, parser: &mut Events<'_>, depth: usize) -> Result<Node, Box<Diagnostic>> {
        let mut pairs = Vec::new();
        loop {
            let (event, at) = self.next(parser)?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Node::Map(pairs));
            }
            let key = self.node(event, at, parser, depth + 1)?;
            let Node::Scalar(text) = key.value else {
                return Err(Box::new(grammar(key.span, "a key must be a plain value")));
            };
            let (event, at) = self.next(parser)?;
            let value = self.node(event, at, parser, depth + 1)?;
            pairs.push((Spanned::new(text, key.span), value));
        }
    }
}

fn size(node: &Node) -> usize {
    match node {
        Node::Scalar(_) => 1,
        Node::List(items) => items.iter().map(|item| size(&item.value)).sum::<usize>() + 1,
        Node::Map(pairs) => pairs.iter().map(|(_, value)| size(&value.value)).sum::<usize>() + 1,
    }
}
