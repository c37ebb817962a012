//! `Conditions` and `Fn::If`: true, false, or not known before the deployment.

use firelane_conf::{Diagnostic, Span};

use super::resolve::Resolver;
use super::{errors, parameters};
use crate::source::{Node, Value};

/// How far a condition is decided.
#[derive(Debug, Clone, Copy)]
pub(super) enum Memo {
    Running,
    Done(Option<bool>),
}

impl Resolver<'_, '_> {
    /// Decides every condition of the template.
    pub(super) fn decide_all(&mut self) {
        let template = self.template;
        for pair in &template.conditions {
            if pair.key.value.starts_with("Fn::") {
                self.not_run(&pair.key.value, pair.key.span);
                continue;
            }
            self.decide(&pair.key.value, pair.key.span);
        }
    }

    /// Whether a condition that exists holds.
    fn decide(&mut self, name: &str, at: Span) -> Option<bool> {
        let template = self.template;
        let known = template.decided.borrow().get(name).copied();
        match known {
            Some(Memo::Done(held)) => return held,
            Some(Memo::Running) => {
                let message = format!("the condition `{name}` depends on itself");
                let words = "Template format error: Circular dependency between conditions";
                let told = errors::endless(at, message).outcome(errors::refused(words));
                self.tell(told.help("write one of the conditions without the other"));
                return None;
            }
            None => {}
        }
        let pair = template.conditions.get(*template.index.conditions.get(name)?)?;
        template.decided.borrow_mut().insert(name.into(), Memo::Running);
        let before = std::mem::replace(&mut self.in_conditions, true);
        let held = self.truth(&pair.value);
        self.in_conditions = before;
        template
            .decided
            .borrow_mut()
            .insert(name.into(), Memo::Done(held));
        held
    }

    /// Whether a condition holds that something names.
    fn holds(&mut self, name: &str, at: Span, words: &str) -> Option<bool> {
        let template = self.template;
        if template.index.conditions.contains_key(name) {
            return self.decide(name, at);
        }
        if !template.macros {
            let names = template.index.conditions.keys().map(String::as_str);
            let help = match self.near(name, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "define it under `Conditions`".into(),
            };
            let message = format!("there is no condition `{}`", parameters::short(name));
            let told = errors::unknown(at, message).outcome(errors::refused(words));
            self.tell(told.help(help));
        }
        None
    }

    /// Whether a condition's expression is true.
    fn truth(&mut self, node: &Node) -> Option<bool> {
        if !self.spend(0, node.span) {
            return None;
        }
        self.levels += 1;
        let held = match node.pairs() {
            [pair] => self.operation(&pair.key.value, &pair.value, node),
            _ => {
                let message = format!("a condition is {}, a function is expected", node.kind());
                self.tell(not_a_condition(node, message));
                None
            }
        };
        self.levels -= 1;
        held
    }

    fn operation(&mut self, name: &str, argument: &Node, node: &Node) -> Option<bool> {
        let items = argument.items();
        match name {
            "Condition" => match &argument.value {
                Value::String(name) => {
                    let words = format!("Template format error: Unresolved dependencies [{name}]");
                    self.holds(name, argument.span, &words)
                }
                _ => {
                    self.tell(not_a_condition(
                        node,
                        "`Condition` takes the name of a condition".into(),
                    ));
                    None
                }
            },
            "Fn::Equals" if items.len() == 2 => self.equal(items),
            "Fn::And" | "Fn::Or" if (2..=10).contains(&items.len()) => {
                let held: Vec<Option<bool>> = items.iter().map(|item| self.truth(item)).collect();
                let decisive = name == "Fn::Or";
                let decided = held.contains(&Some(decisive));
                let open = held.contains(&None);
                match (decided, open) {
                    (true, _) => Some(decisive),
                    (false, true) => None,
                    (false, false) => Some(!decisive),
                }
            }
            "Fn::Not" if items.len() == 1 => items.iter().find_map(|item| self.truth(item)).map(|held| !held),
            _ => {
                let (message, words) = match name {
                    "Fn::Equals" => (
                        "`Fn::Equals` takes a list of two values",
                        "a list of 2 string parameters",
                    ),
                    "Fn::And" | "Fn::Or" => {
                        let message = "`Fn::And` and `Fn::Or` take a list of two to ten conditions";
                        (message, "a list of at least 2 and at most 10 boolean parameters")
                    }
                    "Fn::Not" => ("`Fn::Not` takes a list of one condition", "one boolean parameter"),
                    _ => {
                        let message = format!("`{}` decides nothing", parameters::short(name));
                        self.tell(not_a_condition(node, message));
                        return None;
                    }
                };
                let words = format!("Template error: every {name} object requires {words}.");
                let told = errors::malformed(node.span, message).outcome(errors::refused(words));
                self.tell(told.help(format!(
                    "write `!{}` and the list",
                    name.trim_start_matches("Fn::")
                )));
                None
            }
        }
    }

    /// Whether two values are the same text.
    fn equal(&mut self, items: &[Node]) -> Option<bool> {
        let values: Vec<Node> = items.iter().map(|item| self.whole(item)).collect();
        let [left, right] = values.as_slice() else {
            return None;
        };
        match (left.scalar(), right.scalar()) {
            // The same placeholders give the same text, whatever that is.
            (Some(a), Some(b)) if a == b => Some(true),
            (Some(_), Some(_)) if !left.open && !right.open => Some(false),
            (None, None) => plain(left).zip(plain(right)).map(|(a, b)| a == b),
            _ => None,
        }
    }

    /// `Fn::If`: the branch that is taken.
    pub(super) fn choose(&mut self, argument: &Node, node: &Node) -> Option<Node> {
        let (name, yes, no) = match argument.items() {
            [name, yes, no] => (name, yes, no),
            _ => {
                let told = errors::malformed(node.span, "`Fn::If` takes a list of three values");
                let help = "write the name of a condition, the value if it holds, the value if not";
                self.tell(told.help(help));
                return Some(self.hole("Fn::If", node));
            }
        };
        let Value::String(condition) = &name.value else {
            let message = format!(
                "`Fn::If` has {} for a condition, its name is expected",
                name.kind()
            );
            let help = "define the condition under `Conditions` and write its name";
            self.tell(errors::malformed(name.span, message).help(help));
            return self.guess(yes);
        };
        let words = format!("Template error: unresolved condition dependency {condition} in Fn::If");
        match self.holds(condition, name.span, &words) {
            Some(true) => self.node(yes),
            Some(false) => self.node(no),
            None => {
                if self.template.index.conditions.contains_key(condition) {
                    let key = format!("undecided {condition}");
                    self.once(key, |_| errors::undecided(name.span, condition));
                }
                self.guess(yes)
            }
        }
    }

    fn guess(&mut self, branch: &Node) -> Option<Node> {
        self.guesses += 1;
        let out = self.node(branch);
        self.guesses -= 1;
        out
    }
}

/// The texts of a list with nothing open in it.
fn plain(node: &Node) -> Option<Vec<&str>> {
    match &node.value {
        Value::List(items) => items.iter().map(Node::known).collect(),
        _ => None,
    }
}

fn not_a_condition(node: &Node, message: String) -> Diagnostic {
    let help = "conditions are made of `Fn::Equals`, `Fn::And`, `Fn::Or`, `Fn::Not` and `Condition`";
    errors::malformed(node.span, message).help(help)
}

impl Resolver<'_, '_> {
    /// Checks the condition that a resource names.
    pub(super) fn check_condition(&mut self, name: &str, node: &Node) {
        let words = format!(
            "Template format error: Unresolved condition dependency {name} in the Resources block of the template"
        );
        self.holds(name, node.span, &words);
    }
}
