//! A live policy against what a role needs.

use firelane_conf::Span;

use super::pattern::{Pattern, covers};
use super::policy::{Answer, Effect, Policy, Stated};
use super::{Reason, Role};

/// Where a policy and a role's needs differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// Needed, not allowed.
    pub missing: Vec<Missing>,
    /// Allowed, not needed.
    pub excess: Vec<Excess>,
}

impl Diff {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.excess.is_empty()
    }
}

/// A permission that is needed and not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The action.
    pub action: &'static str,
    /// The resource.
    pub resource: String,
    /// Why it is not there.
    pub why: Why,
    /// What needs it.
    pub reasons: Vec<Reason>,
}

/// Why a permission is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No statement allows it, or none all of it.
    NotAllowed,
    /// The statement there denies it, or some of it.
    Denied(Span),
    /// The policy names the log group without `:*` behind it, which counts for its tags alone.
    BareLogGroup,
}

/// A permission that is there and not needed, at least not so wide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excess {
    /// The action, as the policy writes it.
    pub action: String,
    /// The resource, as the policy writes it.
    pub resource: String,
    /// The statement's name.
    pub sid: Option<String>,
    /// Where the policy writes the action.
    pub span: Span,
    /// What of it is needed, action and resource; nothing: none of it.
    pub needed: Vec<(&'static str, String)>,
}

/// One need.
struct Need<'a> {
    action: &'static str,
    resource: &'a str,
    reasons: &'a [Reason],
    pattern: Pattern,
}

/// Compares a policy with what a role needs. A resource that several statements allow together counts as
/// allowed. A word that only the deployment knows, or an account that is not known, may be what the policy
/// says.
pub fn diff(policy: &Policy, role: &Role) -> Diff {
    let mut needs = Vec::new();
    for statement in &role.statements {
        for action in &statement.actions {
            needs.extend(statement.resources.iter().map(|resource| Need {
                action,
                resource: &resource.arn,
                reasons: &statement.reasons,
                pattern: Pattern::of_need(&unknown_account(&resource.arn, &resource.template)),
            }));
        }
    }
    let mut diff = Diff::default();
    for need in &needs {
        let why = match policy.answer(need.action, &need.pattern) {
            Answer::Allowed => continue,
            Answer::Denied(index) => Why::Denied(policy.statements[index].span),
            Answer::NotAllowed if bare_log_group(policy, need) => Why::BareLogGroup,
            Answer::NotAllowed => Why::NotAllowed,
        };
        diff.missing.push(Missing {
            action: need.action,
            resource: need.resource.to_string(),
            why,
            reasons: need.reasons.to_vec(),
        });
    }
    let allows = policy
        .statements
        .iter()
        .filter(|stated| stated.effect == Effect::Allow);
    for stated in allows {
        diff.excess.extend(excess(stated, &needs));
    }
    diff
}

/// The ARN, with the account left open where it is not known.
fn unknown_account(arn: &str, template: &str) -> String {
    use super::arn::{ACCOUNT, split};
    let (fields, templates) = (split(arn), split(template));
    match (fields.get(4), templates.get(4)) {
        (Some(&"*"), Some(&ACCOUNT)) => {
            let mut fields = fields.clone();
            fields[4] = ACCOUNT;
            fields.join(":")
        }
        _ => arn.to_string(),
    }
}

/// Whether the policy would allow it, had it `:*` behind its log groups.
fn bare_log_group(policy: &Policy, need: &Need<'_>) -> bool {
    let bare = need
        .resource
        .strip_suffix(":*")
        .filter(|bare| bare.contains(":log-group:"));
    bare.is_some_and(|bare| policy.answer(need.action, &Pattern::of_need(bare)) == Answer::Allowed)
}

fn excess(stated: &Stated, needs: &[Need<'_>]) -> Vec<Excess> {
    let mut out = Vec::new();
    if stated.actions.not || stated.resources.not {
        // Everything but some: too wide as a whole.
        let first = stated.actions.patterns.first();
        let list = |patterns: &[firelane_conf::Spanned<String>], not: bool| {
            let all: Vec<_> = patterns.iter().map(|text| text.value.as_str()).collect();
            format!("{}{}", if not { "all but " } else { "" }, all.join(", "))
        };
        out.push(Excess {
            action: list(&stated.actions.patterns, stated.actions.not),
            resource: list(&stated.resources.patterns, stated.resources.not),
            sid: stated.sid.clone(),
            span: first.map_or(stated.span, |text| text.span),
            needed: Vec::new(),
        });
        return out;
    }
    for action in &stated.actions.patterns {
        let pattern = Pattern::action(&action.value);
        let exact = !action.value.contains(['*', '?']);
        let of_action: Vec<&Need<'_>> = needs
            .iter()
            .filter(|need| pattern.overlaps(&Pattern::literal(&need.action.to_ascii_lowercase())))
            .collect();
        for resource in &stated.resources.patterns {
            let allowed = Pattern::of_policy(&resource.value);
            let tight = exact && !of_action.is_empty() && fits(&of_action, &resource.value, &allowed);
            if tight {
                continue;
            }
            let inside = of_action.iter().filter(|need| allowed.overlaps(&need.pattern));
            out.push(Excess {
                action: action.value.clone(),
                resource: resource.value.clone(),
                sid: stated.sid.clone(),
                span: action.span,
                needed: inside
                    .map(|need| (need.action, need.resource.to_string()))
                    .collect(),
            });
        }
    }
    out
}

/// Whether the needs of one action cover all that a policy allows of it.
fn fits(needs: &[&Need<'_>], resource: &str, allowed: &Pattern) -> bool {
    let patterns: Vec<Pattern> = needs.iter().map(|need| need.pattern.clone()).collect();
    // A log group without `:*` is no more than the one with it.
    let same_group = || {
        let group = format!("{resource}:*");
        resource.contains(":log-group:") && covers(&patterns, &Pattern::of_policy(&group))
    };
    covers(&patterns, allowed) || same_group()
}
