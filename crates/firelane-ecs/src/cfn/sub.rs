//! `Ref`, `Fn::GetAtt` and `Fn::Sub`: everything that names something else.

use firelane_conf::{Diagnostic, Span};

use super::resolve::{Meaning, Resolver, TEXT_MAX, is_macro};
use super::{errors, parameters};
use crate::source::{Node, Value};

/// A part of a text of `Fn::Sub`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    /// As it stands.
    Plain(&'t str),
    /// `${!…}` without the mark.
    Escaped(&'t str),
    /// `${…}`: the name, and the offset of the `$`.
    Name(&'t str, usize),
}

/// Takes a text of `Fn::Sub` apart.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut out = Vec::new();
    let (mut rest, mut at) = (text, 0);
    while let Some((plain, tail)) = rest.split_once("${")
        && let Some((inner, behind)) = tail.split_once('}')
    {
        if !plain.is_empty() {
            out.push(Piece::Plain(plain));
        }
        out.push(match inner.strip_prefix('!') {
            Some(literal) => Piece::Escaped(literal),
            None => Piece::Name(inner, at + plain.len()),
        });
        at += rest.len() - behind.len();
        rest = behind;
    }
    if !rest.is_empty() {
        out.push(Piece::Plain(rest));
    }
    out
}

/// The place of a part of a text, if the text stands in one line as it is; else the place of the text.
fn part_span(node: &Node, text: &str, at: usize, len: usize) -> Span {
    let quote = match node.range.len().checked_sub(text.len()) {
        Some(0) => 0,
        Some(2) => 1,
        _ => return node.span,
    };
    let count = |text: &str| text.chars().count() as u32;
    let (Some(before), Some(part)) = (text.get(..at), text.get(at..at + len)) else {
        return node.span;
    };
    if node.span.len != count(text) + 2 * quote {
        return node.span;
    }
    Span {
        column: node.span.column + quote + count(before),
        len: count(part),
        ..node.span
    }
}

/// What CloudFormation says of a name that it does not know.
fn unresolved(name: &str) -> String {
    errors::refused(format!(
        "Template format error: Unresolved resource dependencies [{name}] in the Resources block of the template"
    ))
}

impl<'a> Resolver<'a, '_> {
    /// Tells that a name is unknown; where macros may make it, only as a warning.
    fn unknown(&mut self, told: Diagnostic) {
        self.tell(match self.template.macros {
            false => told,
            true => Diagnostic {
                severity: firelane_conf::Severity::Warning,
                outcome: Some("a macro may make it; macros are not run".into()),
                ..told
            },
        });
    }

    /// `Ref`
    pub(super) fn reference(&mut self, argument: &Node, node: &Node) -> Option<Node> {
        let Value::String(name) = &argument.value else {
            let message = format!("`Ref` names {}, a name is expected", argument.kind());
            let words = "Template format error: Every Ref object must have a single String value.";
            let told = errors::malformed(node.span, message).outcome(errors::refused(words));
            self.tell(told.help("write the name of a parameter or the logical id of a resource"));
            return Some(self.hole("Ref", node));
        };
        match self.meaning(name, node) {
            Meaning::Value(value) => Some(value),
            Meaning::Nothing => None,
            Meaning::Unknown => {
                let help = match (self.near(name, self.names()), name.split_once('.')) {
                    (_, Some((id, _))) if self.template.resource(id).is_some() => {
                        format!("write `!GetAtt {name}` for an attribute")
                    }
                    (Some(near), _) => format!("did you mean `{near}`?"),
                    (None, _) => "define it under `Parameters` or `Resources`".into(),
                };
                let shown = parameters::short(name);
                let message = format!("there is neither a parameter nor a resource `{shown}`");
                let told = errors::unknown(argument.span, message).outcome(unresolved(&shown));
                self.unknown(told.help(help));
                Some(self.hole(name, node))
            }
        }
    }

    /// `Fn::GetAtt`
    pub(super) fn attribute(&mut self, argument: &Node, node: &Node) -> Option<Node> {
        let (id, attribute) = match &argument.value {
            Value::String(text) => match text.split_once('.') {
                Some((id, attribute)) => (id.to_string(), Some(attribute.to_string())),
                None => (text.clone(), None),
            },
            Value::List(items) => {
                let texts: Vec<Node> = items.iter().map(|item| self.whole(item)).collect();
                let mut texts = texts.iter().map(|text| text.scalar().unwrap_or_default());
                let id = texts.next().unwrap_or_default().to_string();
                let rest: Vec<&str> = texts.collect();
                (id, (!rest.is_empty()).then(|| rest.join(".")))
            }
            _ => (String::new(), None),
        };
        let attribute = attribute.filter(|attribute| !attribute.is_empty() && !id.is_empty());
        let Some(attribute) = attribute else {
            let words = "Template error: every Fn::GetAtt object requires two non-empty parameters, \
                         the resource name and the resource attribute";
            let message = "`Fn::GetAtt` takes a logical id and an attribute";
            let told = errors::malformed(node.span, message).outcome(errors::refused(words));
            let id = if id.is_empty() { "Role" } else { &id };
            self.tell(told.help(format!("write `!GetAtt {}.Arn`", parameters::short(id))));
            return Some(self.hole("Fn::GetAtt", node));
        };
        Some(self.attribute_of(&id, &attribute, node).unwrap_or_else(|| {
            let shown = parameters::short(&id);
            let words =
                format!("Template error: instance of Fn::GetAtt references undefined resource {shown}");
            self.no_resource(&shown, argument.span, words, None);
            self.hole(&format!("{id}.{attribute}"), node)
        }))
    }

    fn attribute_of(&mut self, id: &str, attribute: &str, at: &Node) -> Option<Node> {
        let template = self.template;
        let resource = template.resource(id)?;
        Some(self.named(resource, Some(attribute), at))
    }

    fn no_resource(&mut self, id: &str, at: Span, words: String, hint: Option<String>) {
        let near = self.near(id, self.template.index.resources.keys().map(String::as_str));
        let help = match near {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None if self.template.parameters.contains_key(id) => {
                Some("it is a parameter, which has no attributes".to_string())
            }
            None => None,
        };
        let help = [help, hint].into_iter().flatten().collect::<Vec<_>>().join("; ");
        let told = errors::unknown(at, format!("there is no resource `{id}`"));
        let told = told.outcome(errors::refused(words));
        self.unknown(match help.as_str() {
            "" => told.help("define it under `Resources`"),
            help => told.help(help),
        });
    }

    /// `Fn::Sub`
    pub(super) fn substitute(&mut self, argument: &Node, node: &Node) -> Option<Node> {
        let (template, own) = match argument.items() {
            [] => (argument, None),
            [template] => (template, None),
            [template, own] if matches!(own.value, Value::Map(_)) => (template, Some(own)),
            _ => return self.bad_sub(node),
        };
        let text = match (&template.value, template.pairs()) {
            (Value::String(text), _) => text,
            // A macro gives the text.
            (_, [pair]) if is_macro(&pair.key.value) => return self.node(template),
            _ => return self.bad_sub(node),
        };
        let mut variables = Vec::new();
        for pair in own.map(Node::pairs).unwrap_or_default() {
            let value = self.whole(&pair.value);
            variables.push((pair.key.value.as_str(), value));
        }
        let (mut out, mut open) = (String::new(), false);
        if !self.spend(text.len(), node.span) {
            return Some(self.hole("Fn::Sub", node));
        }
        for piece in pieces(text) {
            match piece {
                Piece::Plain(plain) => out.push_str(plain),
                Piece::Escaped(literal) => {
                    out.push_str("${");
                    out.push_str(literal);
                    out.push('}');
                }
                Piece::Name(name, at) => {
                    let spot = Node::new(
                        Value::Null,
                        part_span(template, text, at, name.len() + 3),
                        node.range.clone(),
                    );
                    let value = self.variable(name.trim(), &variables, &spot);
                    out.push_str(value.scalar().unwrap_or_default());
                    open |= value.open;
                }
            }
            if out.len() > TEXT_MAX {
                break;
            }
        }
        Some(self.text(out, open, node))
    }

    fn bad_sub(&mut self, node: &Node) -> Option<Node> {
        let words = "Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. \
                     Specify a string as first argument, and an optional second argument to specify a \
                     mapping of values to replace in the string";
        let message = "`Fn::Sub` takes a text, or a list of a text and a map";
        let told = errors::malformed(node.span, message).outcome(errors::refused(words));
        self.tell(told.help("write the text itself; intrinsics go into the map"));
        Some(self.hole("Fn::Sub", node))
    }

    /// The value of `${name}`, a scalar.
    fn variable(&mut self, name: &str, variables: &[(&str, Node)], spot: &Node) -> Node {
        let own = variables.iter().rev().find(|(known, _)| *known == name);
        let value = match own {
            Some((_, value)) => value.clone(),
            None => self.outer(name, spot),
        };
        if value.scalar().is_some() {
            return value;
        }
        let shown = parameters::short(name);
        let message = format!("`{shown}` is {}, a text is expected in `Fn::Sub`", value.kind());
        let words =
            format!("Template error: variable {shown} in Fn::Sub expression does not resolve to a string");
        let told = errors::malformed(spot.span, message).outcome(errors::refused(words));
        self.tell(told.help("make one text of a list with `Fn::Join`"));
        self.hole(name, spot)
    }

    /// The value of a name that is defined outside of the `Fn::Sub`.
    fn outer(&mut self, name: &str, spot: &Node) -> Node {
        let shown = parameters::short(name);
        let hint = format!("write `${{!{shown}}}` if Fluent Bit shall see it");
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':');
        if name.is_empty() || !name.chars().all(word) {
            let message = format!("`${{{shown}}}` is no name for `Fn::Sub`");
            let words = "Template error: variable names in Fn::Sub syntax must contain only alphanumeric \
                         characters, underscores, periods, and colons";
            let told = errors::malformed(spot.span, message).outcome(errors::refused(words));
            self.tell(told.help(hint));
            return self.hole_of("Fn::Sub", &[], spot);
        }
        if let Some((id, attribute)) = name.split_once('.') {
            return self.attribute_of(id, attribute, spot).unwrap_or_else(|| {
                let words = format!(
                    "Template error: instance of Fn::Sub references invalid resource attribute {shown}"
                );
                self.no_resource(&parameters::short(id), spot.span, words, Some(hint));
                self.hole(name, spot)
            });
        }
        match self.meaning(name, spot) {
            Meaning::Value(value) => value,
            // Nothing in a text is the empty text.
            Meaning::Nothing => super::resolve::like(spot, Value::String(String::new())),
            Meaning::Unknown => {
                let help = match self.near(name, self.names()) {
                    Some(near) => format!("did you mean `{near}`? Else {hint}"),
                    None => hint,
                };
                let message = format!("there is neither a parameter nor a resource `{shown}`");
                let told = errors::unknown(spot.span, message).outcome(unresolved(&shown));
                self.unknown(told.help(help));
                self.hole(name, spot)
            }
        }
    }
}
