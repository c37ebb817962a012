//! A policy that stands somewhere already: read it, ask it.
//!
//! Grammar: `docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html`. What a condition says
//! is not judged: an Allow with one counts, a Deny with one does not; both are noted.

use firelane_conf::{Diagnostic, Severity, SourceId, Span, Spanned};

use crate::source::{self, Grammar, Node, Value};

use super::notes;
use super::pattern::{LEN_MAX, Pattern, covers};

/// A policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Its statements.
    pub statements: Vec<Stated>,
    /// What in it cannot be judged fully.
    pub notes: Vec<Diagnostic>,
}

/// Whether a statement allows or denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// `Allow`
    Allow,
    /// `Deny`: wins over every `Allow`.
    Deny,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// Its name.
    pub sid: Option<String>,
    /// What it does.
    pub effect: Effect,
    /// `Action`, `NotAction`
    pub actions: Selector,
    /// `Resource`, `NotResource`
    pub resources: Selector,
    /// Whether it has a condition.
    pub conditional: bool,
    /// Where it opens.
    pub span: Span,
}

/// Some patterns, or everything but them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// Everything but.
    pub not: bool,
    /// The patterns.
    pub patterns: Vec<Spanned<String>>,
}

impl Selector {
    fn compiled(&self, action: bool) -> Vec<Pattern> {
        let one = |text: &Spanned<String>| match action {
            true => Pattern::action(&text.value),
            false => Pattern::of_policy(&text.value),
        };
        self.patterns.iter().map(one).collect()
    }

    /// Whether it has all of `wanted`.
    fn has_all(&self, wanted: &Pattern, action: bool) -> bool {
        let patterns = self.compiled(action);
        match self.not {
            true => !patterns.iter().any(|pattern| pattern.overlaps(wanted)),
            false => covers(&patterns, wanted),
        }
    }

    /// Whether it has any of `wanted`.
    fn has_any(&self, wanted: &Pattern, action: bool) -> bool {
        let patterns = self.compiled(action);
        match self.not {
            true => !covers(&patterns, wanted),
            false => patterns.iter().any(|pattern| pattern.overlaps(wanted)),
        }
    }
}

/// How a policy answers to a need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Allowed,
    /// Nothing allows it, or not all of it.
    NotAllowed,
    /// A statement, by index, denies some of it.
    Denied(usize),
}

impl Policy {
    pub(super) fn answer(&self, action: &str, resource: &Pattern) -> Answer {
        let action = Pattern::literal(&action.to_ascii_lowercase());
        let denies = |stated: &Stated| {
            let denies = stated.effect == Effect::Deny && !stated.conditional;
            denies && stated.actions.has_any(&action, true) && stated.resources.has_any(resource, false)
        };
        if let Some(index) = self.statements.iter().position(denies) {
            return Answer::Denied(index);
        }
        let allows = self.statements.iter().filter(|stated| {
            let allows = stated.effect == Effect::Allow;
            allows && stated.actions.has_all(&action, true)
        });
        // Several statements together may cover what none does alone.
        let (mut patterns, mut alone) = (Vec::new(), false);
        for stated in allows {
            match stated.resources.not {
                true => alone |= stated.resources.has_all(resource, false),
                false => patterns.extend(stated.resources.compiled(false)),
            }
        }
        match alone || covers(&patterns, resource) {
            true => Answer::Allowed,
            false => Answer::NotAllowed,
        }
    }
}

/// Whether a policy allows an action on one resource, both without wildcards.
pub fn allows(policy: &Policy, action: &str, resource: &str) -> bool {
    policy.answer(action, &Pattern::literal(resource)) == Answer::Allowed
}

/// Reads a policy document, alone or as the AWS CLI prints it: below `PolicyDocument` (`get-role-policy`),
/// `PolicyVersion.Document` (`get-policy-version`), `policy`, or several of them in a list.
///
/// # Errors
/// What breaks the grammar of JSON or of policies, at its place.
pub fn parse_policy(file: SourceId, text: &str) -> Result<Policy, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let grammar = match text.trim_start().starts_with(['{', '[']) {
        true => Grammar::Json,
        false => Grammar::Yaml,
    };
    let root = source::read(file, text, grammar, &mut found).map_err(|error| vec![*error])?;
    let mut policy = Policy::default();
    document(&root, &mut policy, &mut found);
    if found.iter().any(|d| d.severity == Severity::Error) {
        return Err(found);
    }
    policy.notes.append(&mut found);
    Ok(policy)
}

impl Policy {
    /// Adds the statements of a document that is read already, of a template for example.
    ///
    /// # Errors
    /// What breaks the grammar of policies.
    pub fn add(&mut self, document: &Node) -> Result<(), Vec<Diagnostic>> {
        let mut found = Vec::new();
        self::document(document, self, &mut found);
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    /// Adds a statement that allows actions on everything.
    pub fn allow(&mut self, actions: &[&str], span: Span) {
        let spanned = |text: &&str| Spanned::new((*text).to_string(), span);
        let selector = |patterns| Selector { not: false, patterns };
        self.statements.push(Stated {
            sid: None,
            effect: Effect::Allow,
            actions: selector(actions.iter().map(spanned).collect()),
            resources: selector(vec![spanned(&"*")]),
            conditional: false,
            span,
        });
    }
}

fn document(node: &Node, policy: &mut Policy, found: &mut Vec<Diagnostic>) {
    if let Some(statements) = node.get("Statement") {
        match &statements.value {
            Value::List(items) => items.iter().for_each(|item| statement(item, policy, found)),
            _ => statement(statements, policy, found),
        }
        return;
    }
    if let Value::List(items) = &node.value {
        items.iter().for_each(|item| document(item, policy, found));
        return;
    }
    const WRAPPERS: [&str; 6] = [
        "PolicyDocument",
        "PolicyVersion",
        "Document",
        "policyDocument",
        "policy",
        "Policy",
    ];
    match WRAPPERS.iter().find_map(|key| node.get(key)) {
        Some(inner) => document(inner, policy, found),
        None => {
            let message = format!("this is no policy: {} without `Statement`", node.kind());
            let help = "a policy is `{\"Version\": \"2012-10-17\", \"Statement\": […]}`";
            found.push(notes::bad_policy(node.span, message, help));
        }
    }
}

fn statement(node: &Node, policy: &mut Policy, found: &mut Vec<Diagnostic>) {
    let bad = |span, message: &str, help: &str| notes::bad_policy(span, message, help);
    if node.get("Principal").or(node.get("NotPrincipal")).is_some() {
        let message = "a statement with a principal is no part of a role's policy";
        found.push(bad(
            node.span,
            message,
            "give the policy of the role, not the trust policy",
        ));
        return;
    }
    let effect = match node.get("Effect").and_then(Node::scalar) {
        Some("Allow") => Effect::Allow,
        Some("Deny") => Effect::Deny,
        _ => {
            found.push(bad(
                node.span,
                "a statement without an effect",
                "`Effect` is `Allow` or `Deny`",
            ));
            return;
        }
    };
    let (Some(actions), Some(resources)) = (
        selector(node, "Action", "NotAction", found),
        selector(node, "Resource", "NotResource", found),
    ) else {
        return;
    };
    let stated = Stated {
        sid: node.get("Sid").and_then(Node::scalar).map(str::to_string),
        effect,
        actions,
        resources,
        conditional: node.get("Condition").is_some(),
        span: node.span,
    };
    policy.notes.extend(unjudged(&stated));
    policy.statements.push(stated);
}

fn unjudged(stated: &Stated) -> Vec<Diagnostic> {
    let mut notes = Vec::new();
    if stated.conditional {
        let taken = match stated.effect {
            Effect::Allow => "it is taken to hold",
            Effect::Deny => "the statement is left out",
        };
        let message = format!("a condition is not judged: {taken}");
        notes.push(notes::unjudged(stated.span, message));
    }
    if stated.effect == Effect::Allow && (stated.actions.not || stated.resources.not) {
        let message = "everything but some is allowed: what of it is too much is not told one by one";
        notes.push(notes::unjudged(stated.span, message));
    }
    notes
}

/// One text or a list of them.
fn selector(node: &Node, key: &str, not: &str, found: &mut Vec<Diagnostic>) -> Option<Selector> {
    let (value, negative) = match (node.get(key), node.get(not)) {
        (Some(value), None) => (value, false),
        (None, Some(value)) => (value, true),
        (both, _) => {
            let message = match both {
                Some(_) => format!("a statement with both `{key}` and `{not}`"),
                None => format!("a statement without `{key}`"),
            };
            found.push(notes::bad_policy(node.span, message, format!("give `{key}`")));
            return None;
        }
    };
    let items = match &value.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(value),
    };
    let mut patterns = Vec::new();
    for item in items {
        let Value::String(text) = &item.value else {
            let message = format!("`{key}` holds {}, a text is expected", item.kind());
            found.push(notes::bad_policy(
                item.span,
                message,
                "write a text, or a list of texts",
            ));
            return None;
        };
        if text.len() > LEN_MAX {
            let message = format!("`{key}` has {} bytes, the limit is {LEN_MAX}", text.len());
            found.push(notes::bad_policy(item.span, message, "IAM refuses it, too"));
            return None;
        }
        patterns.push(Spanned::new(text.clone(), item.span));
    }
    Some(Selector {
        not: negative,
        patterns,
    })
}
