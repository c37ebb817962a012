//! YAML as CloudFormation takes it: one document, short intrinsics, plain scalars typed.

use std::borrow::Cow;

use firelane_conf::{Diagnostic, SourceId, Span, Spanned};
use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::{DEPTH_MAX, NODES_MAX, Node, Pair, Places, Value, broken_yaml};

type Read<T> = Result<T, Box<Diagnostic>>;
type Events<'a> = Parser<'a, saphyr_parser::StrInput<'a>>;

/// Reads the first document of a text; a second one is an error.
pub(super) fn read(file: SourceId, text: &str) -> Read<Node> {
    let mut builder = Builder {
        places: Places::yaml(file, text),
        anchors: Vec::new(),
        nodes: 0,
    };
    let mut events = Parser::new_from_str(text);
    let mut root = None;
    loop {
        let (event, at) = match events.next() {
            Some(Ok(next)) => next,
            Some(Err(error)) => return Err(builder.broken(&error)),
            None => break,
        };
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            _ if root.is_some() => {
                let help = "put it into a file of its own";
                return Err(broken_yaml(builder.span(at), "a second YAML document", help));
            }
            event => root = Some(builder.node(event, at, &mut events, 0)?),
        }
    }
    root.ok_or_else(|| {
        let place = builder.places.span(0..0);
        broken_yaml(
            place,
            "the file is empty",
            "write a task definition or a template into it",
        )
    })
}

struct Builder<'a> {
    places: Places<'a>,
    anchors: Vec<(usize, Node)>,
    nodes: usize,
}

impl Builder<'_> {
    fn offset(&self, marker: saphyr_parser::Marker) -> usize {
        self.places.offset(marker.line(), marker.col())
    }

    fn range(&self, span: saphyr_parser::Span) -> std::ops::Range<usize> {
        let start = self.offset(span.start);
        start..self.offset(span.end).max(start)
    }

    fn span(&self, span: saphyr_parser::Span) -> Span {
        self.places.span(self.range(span))
    }

    fn broken(&self, error: &saphyr_parser::ScanError) -> Box<Diagnostic> {
        let at = self.offset(*error.marker());
        let message = format!("broken YAML: {}", error.info());
        let help = "YAML nests by blanks: check the indentation of this line and of the one before";
        broken_yaml(self.places.span(at..at + 1), message, help)
    }

    fn next<'b>(&self, events: &mut Events<'b>) -> Read<(Event<'b>, saphyr_parser::Span)> {
        match events.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.broken(&error)),
            None => Err(broken_yaml(
                self.places.span(0..0),
                "the YAML ends too early",
                "check its last lines",
            )),
        }
    }

    fn node<'b>(
        &mut self,
        event: Event<'b>,
        at: saphyr_parser::Span,
        events: &mut Events<'b>,
        depth: usize,
    ) -> Read<Node> {
        let range = self.range(at);
        let span = self.places.span(range.clone());
        self.nodes += 1;
        if depth > DEPTH_MAX || self.nodes > NODES_MAX {
            let help = "no template needs that; aliases count as what they stand for";
            return Err(broken_yaml(span, "nested too deep, or too large", help));
        }
        let (node, anchor, tag) = match event {
            Event::Scalar(text, style, anchor, tag) => (scalar(&text, style, span, range), anchor, tag),
            Event::Alias(anchor) => {
                let found = self.anchors.iter().rev().find(|(id, _)| *id == anchor);
                let mut node = match found {
                    Some((_, node)) => node.clone(),
                    None => Node::new(Value::Null, span, range.clone()),
                };
                (node.span, node.range) = (span, range);
                self.nodes += node.size();
                (node, 0, None)
            }
            Event::SequenceStart(anchor, tag) => (self.list(range, span, events, depth)?, anchor, tag),
            Event::MappingStart(anchor, tag) => (self.map(range, span, events, depth)?, anchor, tag),
            _ => {
                return Err(broken_yaml(
                    span,
                    "a value is expected here",
                    "check the indentation",
                ));
            }
        };
        let node = tagged(node, tag)?;
        if anchor > 0 {
            self.anchors.push((anchor, node.clone()));
        }
        Ok(node)
    }

    fn list(
        &mut self,
        mut range: std::ops::Range<usize>,
        span: Span,
        events: &mut Events<'_>,
        depth: usize,
    ) -> Read<Node> {
        let mut items: Vec<Node> = Vec::new();
        loop {
            let (event, at) = self.next(events)?;
            if matches!(event, Event::SequenceEnd) {
                let last = items.last().map_or(range.start, |item| item.range.end);
                range.end = end_of(self.range(at), last).max(range.start);
                return Ok(Node::new(Value::List(items), span, range));
            }
            items.push(self.node(event, at, events, depth + 1)?);
        }
    }

    fn map(
        &mut self,
        mut range: std::ops::Range<usize>,
        span: Span,
        events: &mut Events<'_>,
        depth: usize,
    ) -> Read<Node> {
        let mut pairs: Vec<Pair> = Vec::new();
        loop {
            let (event, at) = self.next(events)?;
            if matches!(event, Event::MappingEnd) {
                let last = pairs.last().map_or(range.start, |pair| pair.value.range.end);
                range.end = end_of(self.range(at), last).max(range.start);
                return Ok(Node::new(Value::Map(pairs), span, range));
            }
            let key = self.node(event, at, events, depth + 1)?;
            let Some(text) = key.scalar() else {
                let help = "a key is a word before a `:`";
                return Err(broken_yaml(key.span, "a key must be a plain value", help));
            };
            let (key, key_range) = (Spanned::new(text.to_string(), key.span), key.range);
            let (event, at) = self.next(events)?;
            let value = self.node(event, at, events, depth + 1)?;
            pairs.push(Pair {
                key,
                key_range,
                value,
            });
        }
    }
}

/// Where a list or map ends: a closing bracket has a length, an indented block ends with its last element.
fn end_of(closing: std::ops::Range<usize>, last: usize) -> usize {
    if closing.is_empty() {
        last
    } else {
        closing.end.max(last)
    }
}

fn scalar(text: &str, style: ScalarStyle, span: Span, range: std::ops::Range<usize>) -> Node {
    let plain = style == ScalarStyle::Plain;
    let value = if plain {
        typed(text)
    } else {
        Value::String(text.to_string())
    };
    let mut node = Node::new(value, span, range);
    node.plain = plain;
    node
}

/// A scalar without quotes by the rules of YAML 1.2's core schema; the words that only 1.1 takes for booleans
/// stay texts.
fn typed(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_number(text) => Value::Number(text.to_string()),
        _ => Value::String(text.to_string()),
    }
}

fn is_number(text: &str) -> bool {
    let starts = text
        .trim_start_matches(['-', '+'])
        .starts_with(|c: char| c.is_ascii_digit());
    starts && text.parse::<f64>().is_ok()
}

/// Puts `!Sub x` into its long form.
fn tagged(mut node: Node, tag: Option<Cow<'_, Tag>>) -> Read<Node> {
    let Some(tag) = tag else { return Ok(node) };
    if tag.handle != "!" {
        // A tag of YAML itself, `!!str 10`.
        if tag.suffix == "str"
            && let Some(text) = node.scalar()
        {
            node.value = Value::String(text.to_string());
            node.plain = false;
        }
        return Ok(node);
    }
    let name = match tag.suffix.as_str() {
        name @ ("Ref" | "Condition") => name.to_string(),
        name => format!("Fn::{name}"),
    };
    let (span, range) = (node.span, node.range.clone());
    if let Value::Number(text) = &node.value {
        node.value = Value::String(text.clone());
    }
    let pair = Pair {
        key: Spanned::new(name, span),
        key_range: range.clone(),
        value: node,
    };
    Ok(Node::new(Value::Map(vec![pair]), span, range))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Node {
        read(SourceId(1), text).unwrap()
    }

    #[test]
    fn short_intrinsics_become_long_ones() {
        let root = parsed("a: !Sub '${X}-y'\nb: !GetAtt R.Arn\nc: !If [P, 1, !Ref Q]\nd: !Ref 12\n");
        assert_eq!(
            root.get("a").unwrap().get("Fn::Sub").unwrap().scalar(),
            Some("${X}-y")
        );
        assert_eq!(
            root.get("b").unwrap().get("Fn::GetAtt").unwrap().scalar(),
            Some("R.Arn")
        );
        let items = root.get("c").unwrap().get("Fn::If").unwrap().items();
        assert_eq!(items[2].get("Ref").unwrap().scalar(), Some("Q"));
        assert_eq!(root.get("d").unwrap().get("Ref").unwrap().scalar(), Some("12"));
    }

    #[test]
    fn plain_scalars_are_typed_and_quoted_ones_are_texts() {
        let root = parsed("a: 010\nb: '010'\nc: true\nd: on\ne:\nf: 1.5.0\ng: !!str 3\n");
        let value = |key: &str| root.get(key).unwrap().value.clone();
        assert_eq!(value("a"), Value::Number("010".into()));
        assert_eq!(value("b"), Value::String("010".into()));
        assert_eq!(value("c"), Value::Bool(true));
        assert_eq!(value("d"), Value::String("on".into()));
        assert_eq!(value("e"), Value::Null);
        assert_eq!(value("f"), Value::String("1.5.0".into()));
        assert_eq!(value("g"), Value::String("3".into()));
        assert!(root.get("d").unwrap().plain && !root.get("b").unwrap().plain);
    }

    #[test]
    fn values_know_their_bytes() {
        let text = "# ä\nlist:\n  - a\n  - {b: \"ß\"}\nnext: x\n";
        let root = parsed(text);
        let list = root.get("list").unwrap();
        assert_eq!(&text[list.range.clone()], "- a\n  - {b: \"ß\"}");
        assert_eq!(&text[list.items()[1].range.clone()], "{b: \"ß\"}");
        assert_eq!(list.items()[1].get("b").unwrap().span.column, 9);
        assert_eq!(&text[root.pairs()[1].key_range.clone()], "next");
    }

    #[test]
    fn a_lone_carriage_return_ends_a_line() {
        let text = "a: 1\rb: [x,\r y]\nc: 2\n";
        let root = parsed(text);
        assert_eq!(&text[root.get("b").unwrap().range.clone()], "[x,\r y]");
        assert_eq!(root.get("c").unwrap().span.line, 4);
    }

    #[test]
    fn faults_are_named_where_they_are() {
        let check = |text: &str, line: u32, part: &str| {
            let error = read(SourceId(1), text).unwrap_err();
            assert_eq!(error.span.unwrap().line, line, "{text:?}: {}", error.message);
            assert!(error.message.contains(part), "{}", error.message);
        };
        check("a:\n  b: 1\n c: 2\n", 3, "broken YAML");
        check("a: 1\n---\nb: 2\n", 3, "second YAML document");
        check("", 1, "empty");
        check(&"[".repeat(80), 1, "nested too deep");
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
             c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
             e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f]\n";
        check(bomb, 6, "too large");
    }
}
