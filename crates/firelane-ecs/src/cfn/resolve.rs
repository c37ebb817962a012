//! One walk over a tree: values stay, intrinsics become values.

use firelane_conf::{Diagnostic, Span};

use super::env::PSEUDO;
use super::{Resource, Template, errors, parameters};
use crate::source::{Node, Pair, Value};

/// Work for one call: one unit for a value, and one more for each 32 bytes of its text.
pub(super) const FUEL: usize = 1 << 20;
/// Longest text that an intrinsic may give.
pub(super) const TEXT_MAX: usize = 64 << 10;
/// Deepest nesting, names of other resources included.
const LEVELS_MAX: usize = 160;
/// Most findings for one template.
const FOUND_MAX: usize = 200;

/// What a name stands for.
pub(super) enum Meaning {
    Value(Node),
    /// `AWS::NoValue`
    Nothing,
    /// There is nothing of that name.
    Unknown,
}

/// A walk.
pub(super) struct Resolver<'a, 'f> {
    pub(super) template: &'a Template,
    found: &'f mut Vec<Diagnostic>,
    /// Nothing that is found counts as told.
    quiet: bool,
    fuel: usize,
    pub(super) levels: usize,
    /// The resources inside whose properties the walk is, outermost first.
    pub(super) path: Vec<&'a str>,
    /// Whether the outermost of them is certainly made.
    certain: bool,
    /// How many branches were entered whose condition is not known.
    pub(super) guesses: usize,
    /// In the section `Conditions`, where no resource may be named.
    pub(super) in_conditions: bool,
}

impl<'a, 'f> Resolver<'a, 'f> {
    pub(super) fn new(template: &'a Template, found: &'f mut Vec<Diagnostic>) -> Self {
        Self {
            template,
            found,
            quiet: false,
            fuel: FUEL,
            levels: 0,
            path: Vec::new(),
            certain: false,
            guesses: 0,
            in_conditions: false,
        }
    }

    /// A walk whose findings nobody hears.
    pub(super) fn quiet(template: &'a Template, found: &'f mut Vec<Diagnostic>) -> Self {
        Self {
            quiet: true,
            ..Self::new(template, found)
        }
    }

    /// A walk through the properties of a resource.
    pub(super) fn inside(
        template: &'a Template,
        resource: Resource<'a>,
        found: &'f mut Vec<Diagnostic>,
    ) -> Self {
        Self {
            path: vec![resource.id],
            certain: resource.made == Some(true),
            ..Self::new(template, found)
        }
    }

    /// Resolves a value that cannot be left out.
    pub(super) fn whole(&mut self, node: &Node) -> Node {
        self.node(node).unwrap_or_else(|| null(node))
    }

    /// Resolves a value; nothing for `AWS::NoValue`.
    pub(super) fn node(&mut self, node: &Node) -> Option<Node> {
        let len = match &node.value {
            Value::String(text) | Value::Number(text) => text.len(),
            _ => 0,
        };
        if !self.spend(len, node.span) {
            return Some(blank(node));
        }
        self.levels += 1;
        let out = match &node.value {
            Value::List(items) => {
                let items = items.iter().filter_map(|item| self.node(item)).collect();
                Some(like(node, Value::List(items)))
            }
            Value::Map(pairs) => match pairs.as_slice() {
                [pair] if is_macro(&pair.key.value) => {
                    self.not_run(&pair.key.value, pair.key.span);
                    Some(self.hole_of(&pair.key.value, &[], node))
                }
                [pair] if is_intrinsic(&pair.key.value) => self.call(&pair.key.value, &pair.value, node),
                pairs => Some(self.map(pairs, node)),
            },
            Value::String(text) => {
                let mut out = node.clone();
                out.open |= is_dynamic(text);
                Some(out)
            }
            _ => Some(node.clone()),
        };
        self.levels -= 1;
        out
    }

    fn map(&mut self, pairs: &[Pair], node: &Node) -> Node {
        let mut out = Vec::new();
        for pair in pairs {
            let key = &pair.key;
            if is_macro(&key.value) {
                self.not_run(&key.value, key.span);
            } else if key.value.starts_with("Fn::") {
                let message = format!("`{}` stands beside other keys", parameters::short(&key.value));
                let told = errors::malformed(key.span, message);
                self.tell(told.help("an intrinsic function is the only key of its map"));
            } else if let Some(value) = self.node(&pair.value) {
                out.push(Pair {
                    key: pair.key.clone(),
                    key_range: pair.key_range.clone(),
                    value,
                });
            }
        }
        // With the others gone, `Ref` would look like an intrinsic to whoever comes next.
        if pairs.len() > 1 && matches!(out.as_slice(), [pair] if pair.key.value == "Ref") {
            out.clear();
        }
        like(node, Value::Map(out))
    }

    /// Says that a macro in the template is not run.
    pub(super) fn not_run(&mut self, name: &str, at: Span) {
        let message = format!(
            "`{}` is not run: what it makes is not seen",
            parameters::short(name)
        );
        let help = "check what comes out of it: `aws cloudformation get-template --template-stage Processed`";
        self.tell(errors::macros(at, message).help(help));
    }

    /// Takes fuel for one value with a text of `len` bytes; false when there is none, or too much nesting.
    pub(super) fn spend(&mut self, len: usize, at: Span) -> bool {
        let cost = 1 + len / 32;
        if self.fuel < cost {
            self.fuel = 0;
            self.too_much(
                at,
                "the template grows too large: values beyond 2^20 are left out",
            );
            return false;
        }
        self.fuel -= cost;
        if self.levels >= LEVELS_MAX {
            self.too_much(at, "intrinsics and the names they lead to are nested too deep");
            return false;
        }
        true
    }

    fn too_much(&mut self, at: Span, message: &str) {
        let help = "look for an intrinsic that copies a value many times over";
        self.once(message.to_string(), |_| errors::endless(at, message).help(help));
    }

    /// Tells something unless the same was told before.
    pub(super) fn tell(&mut self, told: Diagnostic) {
        let key = format!("{:?} {}", told.span, told.message);
        self.once(key, |_| told);
    }

    /// Tells something once for a template.
    pub(super) fn once(&mut self, key: String, make: impl FnOnce(&Self) -> Diagnostic) {
        if self.quiet {
            return;
        }
        let count = self.template.told.borrow().len();
        if count > FOUND_MAX {
            return;
        }
        if count == FOUND_MAX {
            let message = "too much is wrong with the template: the rest is not told";
            let told = errors::endless(self.template.span, message).help("correct what is told first");
            self.template.told.borrow_mut().insert(message.into());
            self.found.push(told);
            return;
        }
        if !self.template.told.borrow().contains(&key) {
            let told = make(self);
            self.template.told.borrow_mut().insert(key);
            self.found.push(told);
        }
    }

    /// Whether anything that is found would still be told.
    fn is_heard(&self) -> bool {
        !self.quiet && self.template.told.borrow().len() < FOUND_MAX
    }

    /// The name that was probably meant.
    pub(super) fn near<'n>(&self, name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
        match self.is_heard() {
            true => errors::nearest(name, known),
            false => None,
        }
    }

    /// Everything that may be named.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let resources = self.template.index.resources.keys();
        let all = self.template.parameters.keys().chain(resources);
        PSEUDO.into_iter().chain(all.map(String::as_str))
    }

    /// A text that an intrinsic gave, at its place.
    pub(super) fn text(&mut self, value: String, open: bool, at: &Node) -> Node {
        if !self.spend(value.len(), at.span) {
            return blank(at);
        }
        if value.len() > TEXT_MAX {
            let message = format!(
                "a text of {} bytes comes out of this, 65536 are taken",
                value.len()
            );
            self.tell(errors::endless(at.span, message).help("shorten what goes into it"));
            return blank(at);
        }
        let mut out = like(at, Value::String(value));
        out.open = open || out.scalar().is_some_and(is_dynamic);
        out
    }

    /// A placeholder for what only the deployment knows.
    pub(super) fn hole(&mut self, name: &str, at: &Node) -> Node {
        self.text(format!("${{{name}}}"), true, at)
    }

    /// A placeholder for what a function would give, told apart by what goes into it.
    pub(super) fn hole_of(&mut self, function: &str, parts: &[&Node], at: &Node) -> Node {
        let mut name = function.to_string();
        let parts = parts.iter().filter_map(|part| part.scalar());
        for part in parts.filter(|part| !part.is_empty()) {
            name.push('.');
            let kept = part.chars().filter(|c| !matches!(c, '$' | '{' | '}')).take(200);
            name.extend(kept);
        }
        self.hole(&name, at)
    }

    /// What a name stands for: a pseudo parameter, a parameter or a resource.
    pub(super) fn meaning(&mut self, name: &str, at: &Node) -> Meaning {
        if name.starts_with("AWS::") {
            return self.pseudo(name, at);
        }
        let template = self.template;
        if let Some(parameter) = template.parameters.get(name) {
            return Meaning::Value(match &parameter.value {
                Some(text) if self.spend(text.len(), at.span) => parameters::value(text, parameter.list, at),
                Some(_) => blank(at),
                None => self.unset(name, parameter, at),
            });
        }
        match template.resource(name) {
            Some(resource) => Meaning::Value(self.named(resource, None, at)),
            None => Meaning::Unknown,
        }
    }

    fn pseudo(&mut self, name: &str, at: &Node) -> Meaning {
        match name {
            "AWS::NoValue" => Meaning::Nothing,
            _ if !PSEUDO.contains(&name) => Meaning::Unknown,
            _ => Meaning::Value(match self.template.env.pseudo(name) {
                Some(value) => parameters::value(&value, name == "AWS::NotificationARNs", at),
                None => self.hole(name, at),
            }),
        }
    }

    fn unset(&mut self, name: &str, parameter: &parameters::Parameter, at: &Node) -> Node {
        self.once(format!("unset {name}"), |_| {
            let message = match &parameter.stored_in {
                Some(path) => {
                    let path = parameters::short(path);
                    format!("the value of the parameter `{name}` stands in `{path}` of the Parameter Store")
                }
                None => format!("the parameter `{name}` has neither a value nor a default"),
            };
            errors::unset(at.span, name, message)
        });
        self.hole(name, at)
    }

    /// What stands for a resource or one of its attributes.
    pub(super) fn named(&mut self, resource: Resource<'a>, attribute: Option<&str>, at: &Node) -> Node {
        let (id, span) = (resource.id, at.span);
        let name = match attribute {
            Some(attribute) => format!("{id}.{attribute}"),
            None => id.to_string(),
        };
        if self.in_conditions {
            let message = format!("the resource `{id}` is named in a condition");
            let words = format!(
                "Template format error: Unresolved dependencies [{id}]. \
                 Cannot reference resources in the Conditions block of the template"
            );
            let told = errors::unknown(span, message).outcome(errors::refused(words));
            self.tell(told.help("a condition may name parameters and other conditions"));
            return self.hole(&name, at);
        }
        if self.path.contains(&id) {
            let mut circle = self.path.clone();
            circle.push(id);
            let message = match self.path.as_slice() {
                [_] => format!("the resource `{id}` names itself"),
                _ => format!(
                    "the resources `{}` name each other in a circle",
                    circle.join("` → `")
                ),
            };
            let words = format!(
                "Circular dependency between resources: [{}]",
                self.path.join(", ")
            );
            let told = errors::endless(span, message).outcome(errors::refused(words));
            self.tell(told.help("write one of the names out"));
            return self.hole(&name, at);
        }
        if resource.made == Some(false) && self.certain && self.path.len() == 1 && self.guesses == 0 {
            let message = format!("the resource `{id}` is not made: its condition is false");
            let words = format!(
                "Template format error: Unresolved resource dependencies [{id}] in the Resources block of the template"
            );
            let told = errors::unknown(span, message).outcome(errors::refused(words));
            self.tell(told.help("choose with `Fn::If` and the same condition"));
            return self.hole(&name, at);
        }
        self.physical(resource, attribute, &name, at)
    }
}

/// A value of another kind at the same place.
pub(super) fn like(node: &Node, value: Value) -> Node {
    Node::new(value, node.span, node.range.clone())
}

/// Nothing, at the same place.
pub(super) fn null(node: &Node) -> Node {
    like(node, Value::Null)
}

/// Stands where a limit was met; said to be open, so that nobody complains a second time.
fn blank(node: &Node) -> Node {
    let mut out = like(node, Value::String("${…}".into()));
    out.open = true;
    out
}

pub(super) fn is_macro(key: &str) -> bool {
    key == "Fn::Transform" || key.starts_with("Fn::ForEach")
}

fn is_intrinsic(key: &str) -> bool {
    key == "Ref" || key.starts_with("Fn::")
}

/// A value that came from elsewhere, at the place where it is used.
pub(super) fn placed(mut value: Node, at: &Node) -> Node {
    value.span = at.span;
    value.range = at.range.clone();
    value.plain = false;
    value.value = match value.value {
        Value::List(items) => Value::List(items.into_iter().map(|item| placed(item, at)).collect()),
        Value::Map(pairs) => {
            let pairs = pairs.into_iter().map(|pair| Pair {
                value: placed(pair.value, at),
                ..pair
            });
            Value::Map(pairs.collect())
        }
        scalar => scalar,
    };
    value
}

/// Whether CloudFormation puts something else into a text when it makes the stack.
pub(super) fn is_dynamic(text: &str) -> bool {
    text.contains("{{resolve:")
}
