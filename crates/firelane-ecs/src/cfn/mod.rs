//! CloudFormation templates: from a tree with intrinsics to values.
//!
//! What only the deployment knows becomes a text with a placeholder in the syntax of `Fn::Sub`, `${LogGroup}`
//! or `${Role.Arn}`, and its node is `open`. Values keep the place where the intrinsic stands; what the
//! branch of an `Fn::If` holds keeps its own. Macros are not run.
//! Limits: 2^20 values for each call, texts of 64 KiB, 160 levels; beyond them stand `${…}` and an error.
//! Every finding is told once for a template, to whoever comes first.

mod condition;
mod env;
mod errors;
mod functions;
mod parameters;
mod resolve;
mod resources;
mod sub;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use firelane_conf::{Diagnostic, SourceId, Span};

pub use env::Env;

use crate::source::{self, Grammar, Node, Pair, Value};
use condition::Memo;
use parameters::Parameter;
use resolve::{Resolver, is_macro};

/// A template.
#[derive(Debug)]
pub struct Template {
    span: Span,
    env: Env,
    parameters: BTreeMap<String, Parameter>,
    mappings: Vec<Pair>,
    conditions: Vec<Pair>,
    resources: Vec<Pair>,
    /// Where a name stands in its section; the last one where it stands there twice.
    index: Index,
    /// Whether macros may make or change anything.
    macros: bool,
    /// Whether the transform `AWS::LanguageExtensions` is there.
    extensions: bool,
    decided: RefCell<BTreeMap<String, Memo>>,
    told: RefCell<BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct Index {
    mappings: BTreeMap<String, usize>,
    conditions: BTreeMap<String, usize>,
    resources: BTreeMap<String, usize>,
}

/// A resource of a template.
#[derive(Debug, Clone, Copy)]
pub struct Resource<'a> {
    /// Its logical id.
    pub id: &'a str,
    /// The place of the id.
    pub span: Span,
    /// Its type, `AWS::Logs::LogGroup`; empty where none stands.
    pub kind: &'a str,
    /// Its properties with their intrinsics.
    pub properties: Option<&'a Node>,
    /// Whether it is made; `None` where its condition is not known.
    pub made: Option<bool>,
}

impl Template {
    /// Takes a template apart and checks what does not depend on one resource: parameters and the values
    /// given for them, conditions, transforms.
    pub fn read(root: Node, env: Env, found: &mut Vec<Diagnostic>) -> Self {
        let mut sections: BTreeMap<String, Node> = BTreeMap::new();
        let span = root.span;
        if let Value::Map(pairs) = root.value {
            for pair in pairs {
                sections.insert(pair.key.value, pair.value);
            }
        }
        let mut section = |name: &str| match sections
            .remove(name)
            .map(|node| (node.kind(), node.span, node.value))
        {
            Some((_, _, Value::Map(pairs))) => pairs,
            None | Some((_, _, Value::Null)) => Vec::new(),
            Some((kind, span, _)) => {
                let message = format!("`{name}` is {kind}, a map is expected");
                found.push(errors::malformed(span, message).help("write names and what they stand for"));
                Vec::new()
            }
        };
        let [parameters, mappings, conditions, resources] =
            ["Parameters", "Mappings", "Conditions", "Resources"].map(&mut section);
        let (macros, extensions) = transforms(sections.get("Transform"), found);
        let all = [&parameters, &mappings, &conditions, &resources];
        let hidden = all.into_iter().flatten().any(|pair| is_macro(&pair.key.value));
        let macros = macros || hidden || sections.contains_key("Fn::Transform");
        let template = Self {
            span,
            parameters: parameters::read(&parameters, &env, found),
            env,
            index: Index {
                mappings: index(&mappings),
                conditions: index(&conditions),
                resources: index(&resources),
            },
            mappings,
            conditions,
            resources,
            macros,
            extensions,
            decided: RefCell::default(),
            told: RefCell::default(),
        };
        parameters::check_names(&template, found);
        Resolver::new(&template, found).decide_all();
        resources::check(&template, found);
        template
    }

    /// Where it opens.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The task definitions that are made, or may be, by logical id, with the place of the id.
    pub fn task_definitions(&self) -> impl Iterator<Item = (&str, Span)> {
        let all = self.resources();
        let wanted = |one: &Resource<'_>| one.kind == "AWS::ECS::TaskDefinition" && one.made != Some(false);
        all.filter(wanted).map(|one| (one.id, one.span))
    }

    /// All resources in the order written.
    pub fn resources(&self) -> impl Iterator<Item = Resource<'_>> {
        let own = |(at, pair): &(usize, &Pair)| self.index.resources.get(&pair.key.value) == Some(at);
        let all = self.resources.iter().enumerate().filter(own);
        all.filter_map(|(_, pair)| self.as_resource(pair))
    }

    /// A resource by its logical id.
    pub fn resource(&self, id: &str) -> Option<Resource<'_>> {
        let at = *self.index.resources.get(id)?;
        self.as_resource(self.resources.get(at)?)
    }

    fn as_resource<'a>(&'a self, pair: &'a Pair) -> Option<Resource<'a>> {
        if !matches!(pair.value.value, Value::Map(_)) || pair.key.value.starts_with("Fn::") {
            return None;
        }
        let made = match pair.value.get("Condition").map(Node::scalar) {
            None => Some(true),
            Some(name) => name.and_then(|name| self.holds(name)),
        };
        Some(Resource {
            id: &pair.key.value,
            span: pair.key.span,
            kind: pair.value.get("Type").and_then(Node::scalar).unwrap_or_default(),
            properties: pair.value.get("Properties"),
            made,
        })
    }

    /// Whether a condition holds; `None` where that is not known, or there is none of that name.
    pub fn holds(&self, condition: &str) -> Option<bool> {
        match self.decided.borrow().get(condition) {
            Some(Memo::Done(held)) => *held,
            _ => None,
        }
    }

    /// The properties of a resource with their intrinsics.
    pub fn raw(&self, resource: &str) -> Option<&Node> {
        self.resource(resource)?.properties
    }

    /// The properties of a resource, intrinsics resolved; `null` where it has none.
    pub fn properties(&self, resource: &str, found: &mut Vec<Diagnostic>) -> Node {
        let Some(resource) = self.resource(resource) else {
            return Node::new(Value::Null, self.span, 0..0);
        };
        match resource.properties {
            Some(properties) => Resolver::inside(self, resource, found).whole(properties),
            None => Node::new(Value::Null, resource.span, 0..0),
        }
    }

    /// A value, intrinsics in it resolved; `null` for `AWS::NoValue`.
    pub fn resolve(&self, node: &Node, found: &mut Vec<Diagnostic>) -> Node {
        Resolver::new(self, found).whole(node)
    }

    /// The resource that a value with intrinsics stands for: by `Ref`, `Fn::GetAtt` or an `Fn::Sub` with one
    /// reference, through the branch of `Fn::If` that is taken, by the name or ARN that it is given, or as
    /// the only resource in an ARN that is put together.
    pub fn referenced<'a>(&'a self, node: &Node) -> Option<Resource<'a>> {
        self.referenced_as(node, "")
    }

    /// The same, of resources of one type only: several may have one name. The empty type is any.
    pub fn referenced_as<'a>(&'a self, node: &Node, kind: &str) -> Option<Resource<'a>> {
        resources::referenced(self, node, kind)
    }
}

fn index(section: &[Pair]) -> BTreeMap<String, usize> {
    let all = section.iter().enumerate();
    all.map(|(at, pair)| (pair.key.value.clone(), at)).collect()
}

/// Whether there are macros that are not run, and the extensions of the language.
fn transforms(node: Option<&Node>, found: &mut Vec<Diagnostic>) -> (bool, bool) {
    let Some(node) = node else {
        return (false, false);
    };
    let one = std::slice::from_ref(node);
    let all = match &node.value {
        Value::List(items) => items,
        _ => one,
    };
    let (mut macros, mut extensions) = (false, false);
    for node in all {
        let name = node.scalar().or_else(|| node.get("Name")?.scalar());
        if name == Some("AWS::LanguageExtensions") {
            extensions = true;
            continue;
        }
        macros = true;
        let name = parameters::short(name.unwrap_or("?"));
        let message = format!("the transform `{name}` is not run: what it makes or changes is not seen");
        let help = "check what comes out of it: `aws cloudformation get-template --template-stage Processed`";
        found.push(errors::macros(node.span, message).help(help));
    }
    (macros, extensions)
}

#[doc(hidden)]
pub fn fuzz_template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for grammar in [Grammar::Json, Grammar::Yaml] {
        let Ok(root) = source::read(SourceId(1), text, grammar, &mut Vec::new()) else {
            continue;
        };
        let env = Env {
            params: vec![("P".into(), "a,b".into()), ("AWS::StackName".into(), "s".into())],
            region: Some("eu-central-1".into()),
            account: None,
        };
        let mut found = Vec::new();
        let template = Template::read(root, env, &mut found);
        let ids: Vec<&str> = template.resources().map(|resource| resource.id).take(8).collect();
        for id in ids {
            let resolved = template.properties(id, &mut found);
            assert!(resolved.size() <= resolve::FUEL, "{} values", resolved.size());
            assert_resolved(&resolved);
            if let Some(raw) = template.raw(id) {
                let named = template.referenced(raw);
                assert!(named.is_none_or(|named| template.resource(named.id).is_some()));
            }
        }
        assert!(found.iter().all(|told| !told.message.is_empty()));
    }
}

/// No intrinsic is left, and no text is larger than the limit unless it was so written.
fn assert_resolved(node: &Node) {
    for pair in node.pairs() {
        let left = pair.key.value == "Ref" && node.pairs().len() == 1;
        assert!(!left && !pair.key.value.starts_with("Fn::"), "{}", pair.key.value);
        assert_resolved(&pair.value);
    }
    node.items().iter().for_each(assert_resolved);
}
