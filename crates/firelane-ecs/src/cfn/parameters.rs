//! `Parameters`: their types, defaults and limits.

use std::collections::BTreeMap;

use firelane_conf::{Diagnostic, Span};

use super::Template;
use super::env::{Env, PSEUDO};
use super::errors;
use super::resolve::Resolver;
use crate::source::{Node, Pair, Value};

/// A parameter of a template.
#[derive(Debug)]
pub(super) struct Parameter {
    /// Whether it is a list, written with commas.
    pub(super) list: bool,
    /// The value: given, or the default.
    pub(super) value: Option<String>,
    /// The SSM parameter that holds the value.
    pub(super) stored_in: Option<String>,
}

/// Reads and checks the section.
pub(super) fn read(section: &[Pair], env: &Env, found: &mut Vec<Diagnostic>) -> BTreeMap<String, Parameter> {
    let read = |pair: &Pair| (pair.key.value.clone(), one(pair, env, found));
    section.iter().map(read).collect()
}

fn one(pair: &Pair, env: &Env, found: &mut Vec<Diagnostic>) -> Parameter {
    let (name, node) = (pair.key.value.as_str(), &pair.value);
    let written = node.get("Type").and_then(Node::scalar).unwrap_or_default();
    if written.is_empty() {
        let message = format!("the parameter `{name}` has no type");
        found.push(errors::parameter(pair.key.span, message).help("write `Type: String`"));
    }
    let stored = written
        .strip_prefix("AWS::SSM::Parameter::Value<")
        .and_then(|rest| rest.strip_suffix('>'));
    let kind = stored.unwrap_or(written);
    let list = kind == "CommaDelimitedList" || kind.starts_with("List<");
    let number = matches!(kind, "Number" | "List<Number>");
    let default = node.get("Default");
    if let Some(node) = default
        && node.scalar().is_none()
    {
        let message = format!("the default of `{name}` is {}, a text is expected", node.kind());
        let told = errors::parameter(node.span, message);
        let told = told.outcome(errors::refused(
            "Template format error: Every Default member must be a string.",
        ));
        found.push(told.help("write a list as one text with commas: `a,b`"));
    }
    let given = env.get(name);
    let default_text = default.and_then(Node::scalar);
    // What the parameter is allowed to be concerns the name in SSM, not the value there.
    if stored.is_none() || given.is_none() {
        let place = match given {
            Some(_) => pair.key.span,
            None => default.map_or(pair.key.span, |node| node.span),
        };
        if let Some(value) = given.or(default_text) {
            let checked = Checked {
                name,
                value,
                given: given.is_some(),
                place,
                list,
            };
            checked.check(node, number && stored.is_none(), found);
        }
    }
    let own = default_text.filter(|_| stored.is_none());
    Parameter {
        list,
        value: given.or(own).map(str::to_string),
        stored_in: stored.and(default_text).map(str::to_string),
    }
}

/// A value that has to fit its parameter.
struct Checked<'a> {
    name: &'a str,
    value: &'a str,
    given: bool,
    place: Span,
    list: bool,
}

impl Checked<'_> {
    fn check(&self, node: &Node, number: bool, found: &mut Vec<Diagnostic>) {
        let allowed = node.get("AllowedValues").map(Node::items).unwrap_or_default();
        if self.list && allowed.iter().any(|known| known.scalar() == Some(self.value)) {
            return;
        }
        let fault = match self.list {
            true => self
                .value
                .split(',')
                .find_map(|part| self.fault(part.trim(), node, number)),
            false => self.fault(self.value, node, number),
        };
        let Some((message, outcome, help)) = fault else {
            return;
        };
        let own = node.get("ConstraintDescription").and_then(Node::scalar);
        let outcome = match own {
            Some(own) => format!(
                "Parameter {} failed to satisfy constraint: {}",
                self.name,
                short(own)
            ),
            None => outcome,
        };
        let message = match self.given {
            true => format!("`--param {}` {message}", self.name),
            false => format!("the default of `{}` {message}", self.name),
        };
        let told = errors::parameter(self.place, message).outcome(errors::refused(outcome));
        found.push(told.help(help));
    }

    /// What is wrong, what CloudFormation says, what to do.
    fn fault(&self, value: &str, node: &Node, number: bool) -> Option<(String, String, String)> {
        let (name, shown) = (self.name, short(value));
        let amount = value.trim().parse::<f64>().ok();
        if number && amount.is_none() {
            let outcome = format!("Parameter '{name}' must be a number");
            return Some((
                format!("is `{shown}`, a number is expected"),
                outcome,
                "write a number".into(),
            ));
        }
        if let Some(allowed) = node.get("AllowedValues") {
            let texts: Vec<&str> = allowed.items().iter().filter_map(Node::scalar).collect();
            let same =
                |known: &&str| **known == *value || number && known.trim().parse::<f64>().ok() == amount;
            if !texts.iter().any(same) {
                let some: Vec<String> = texts.iter().take(20).map(|text| short(text)).collect();
                let outcome = format!("Parameter '{name}' must be one of AllowedValues");
                return Some((
                    format!("is `{shown}`, which is not allowed"),
                    outcome,
                    format!("allowed are {}", some.join(", ")),
                ));
            }
        }
        let limit = |key: &str| node.get(key)?.scalar()?.trim().parse::<f64>().ok();
        let chars = value.chars().count() as f64;
        let limits = [
            (
                "MinLength",
                Some(chars),
                true,
                "must contain at least",
                " characters",
            ),
            (
                "MaxLength",
                Some(chars),
                false,
                "must contain at most",
                " characters",
            ),
            ("MinValue", amount, true, "must be a number not less than", ""),
            ("MaxValue", amount, false, "must be a number not greater than", ""),
        ];
        limits.into_iter().find_map(|(key, have, least, words, unit)| {
            let (have, limit) = (have?, limit(key)?);
            let broken = if least { have < limit } else { have > limit };
            broken.then(|| {
                let outcome = format!("Parameter '{name}' {words} {limit}{unit}");
                let help = format!("`{key}` is {limit}");
                (format!("{words} {limit}{unit}: `{shown}`"), outcome, help)
            })
        })
    }
}

/// The start of a text, for messages.
pub(super) fn short(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_string(),
    }
}

/// Names of `--param` that mean nothing in a template.
pub(super) fn check_names(template: &Template, found: &mut Vec<Diagnostic>) {
    if template.macros {
        // A macro may make what is named.
        return;
    }
    let known = |name: &str| {
        let base = name.split_once('.').map_or(name, |(base, _)| base);
        template.parameters.contains_key(name)
            || template.resource(base).is_some()
            || PSEUDO.contains(&name) && name != "AWS::NoValue"
    };
    let strange: Vec<&str> = template
        .env
        .params
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let strange: Vec<&str> = strange.into_iter().filter(|name| !known(name)).collect();
    if strange.is_empty() {
        return;
    }
    let imports = Imports::of(template);
    if imports.open {
        return;
    }
    for name in strange {
        if imports.names.iter().any(|known| known == name) {
            continue;
        }
        let all = template.parameters.keys().map(String::as_str).chain(PSEUDO);
        let near = errors::nearest(name, all);
        let help = match (near, template.parameters.is_empty()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, true) => "the template has no parameters; leave it out".into(),
            (None, false) => {
                let some: Vec<String> = template
                    .parameters
                    .keys()
                    .take(20)
                    .map(|name| short(name))
                    .collect();
                format!("parameters are {}", some.join(", "))
            }
        };
        let message = format!("`--param {}`: the template has nothing of that name", short(name));
        found.push(errors::parameter(Span::default(), message).help(help));
    }
}

/// The exports that a template reads.
#[derive(Default)]
struct Imports {
    names: Vec<String>,
    /// Whether the name of one of them is not known.
    open: bool,
}

impl Imports {
    fn of(template: &Template) -> Self {
        let mut imports = Self::default();
        let mut unheard = Vec::new();
        let mut resolver = Resolver::quiet(template, &mut unheard);
        for pair in &template.resources {
            imports.walk(&pair.value, &mut resolver);
        }
        imports
    }

    fn walk(&mut self, node: &Node, resolver: &mut Resolver<'_, '_>) {
        for pair in node.pairs() {
            if pair.key.value == "Fn::ImportValue" {
                let name = resolver.node(&pair.value);
                match name.as_ref().and_then(Node::known) {
                    Some(name) => self.names.push(name.to_string()),
                    None => self.open = true,
                }
            }
            self.walk(&pair.value, resolver);
        }
        node.items().iter().for_each(|item| self.walk(item, resolver));
    }
}

/// A parameter's text as a value.
pub(super) fn value(text: &str, list: bool, at: &Node) -> Node {
    let scalar = |text: &str| Node::new(Value::String(text.into()), at.span, at.range.clone());
    if !list {
        return scalar(text);
    }
    let items = text.split(',').map(|part| scalar(part.trim())).collect();
    Node::new(Value::List(items), at.span, at.range.clone())
}
