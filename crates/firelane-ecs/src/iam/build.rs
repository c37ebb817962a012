//! Collects single permissions and makes statements of them.

use std::collections::{BTreeMap, BTreeSet};

use firelane_conf::{Diagnostic, Span};

use crate::context::Context;
use crate::taskdef::TaskDefinition;
use crate::text::Text;

use super::arn::{ACCOUNT, Resource, Scope};
use super::names::Known;
use super::pattern::{Pattern, covers};
use super::{Assumed, Needs, Options, Reason, Role, Statement, Trust, notes};

/// Whose permission it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Task,
    Execution,
    /// Index of a role that is assumed.
    Assumed(usize),
}

/// Some actions on one resource, for one reason.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    /// Becomes the statement's name.
    pub(super) sid: &'static str,
    pub(super) actions: &'static [&'static str],
    /// The resource's ARN; the task's own region and account as pseudo parameters.
    pub(super) resource: String,
    pub(super) reason: Reason,
    /// Why the resource is `*`.
    pub(super) wildcard: Option<&'static str>,
}

pub(super) struct Builder<'a> {
    pub(super) known: Known<'a>,
    pub(super) options: &'a Options,
    pub(super) diagnostics: Vec<Diagnostic>,
    task: Vec<Grant>,
    execution: Vec<Grant>,
    assumed: Vec<(Resource, Option<String>, Vec<Grant>)>,
    task_role: Option<&'a Text>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(task: &'a TaskDefinition, context: &'a Context, options: &'a Options) -> Self {
        let router = task.router().map(|(_, router)| router);
        let env = router.into_iter().flat_map(|router| &router.environment);
        let env = env.filter_map(|pair| Some((pair.name.as_ref()?.known()?, pair.value.as_ref()?)));
        Self {
            known: Known {
                context,
                env: env.collect(),
            },
            options,
            diagnostics: Vec::new(),
            task: Vec::new(),
            execution: Vec::new(),
            assumed: Vec::new(),
            task_role: task.task_role_arn.as_ref(),
        }
    }

    pub(super) fn grant(&mut self, to: To, grant: Grant) {
        match to {
            To::Task => self.task.push(grant),
            To::Execution => self.execution.push(grant),
            To::Assumed(index) => self.assumed[index].2.push(grant),
        }
    }

    /// The role of this ARN, which the task role assumes.
    pub(super) fn assume(&mut self, arn: &str, external_id: Option<&Text>, reason: Reason) -> To {
        let role = Resource::new(arn.to_string(), self.known.context);
        let id = external_id.map(|id| id.value.clone());
        let same = |(known, known_id, _): &(Resource, Option<String>, _)| *known == role && *known_id == id;
        let index = self.assumed.iter().position(same).unwrap_or_else(|| {
            self.assumed.push((role, id.clone(), Vec::new()));
            self.assumed.len() - 1
        });
        self.grant(
            To::Task,
            Grant {
                sid: "AssumeRole",
                actions: &["sts:AssumeRole"],
                resource: arn.to_string(),
                reason,
                wildcard: None,
            },
        );
        To::Assumed(index)
    }

    pub(super) fn finish(mut self) -> Needs {
        let context = self.known.context;
        let source = Resource::new(Scope::task().arn("ecs", "*"), context);
        let tasks = |source: Option<Resource>| Trust::Tasks {
            account: context.account.clone(),
            source,
        };
        let role = |grants: &[Grant], trust: Trust| Role {
            statements: statements(grants, context),
            trust,
        };
        let principal = self.principal();
        let assumed = self.assumed.iter().map(|(arn, external_id, grants)| {
            let trust = Trust::TaskRole {
                arn: principal.clone(),
                external_id: external_id.clone(),
            };
            Assumed {
                arn: arn.clone(),
                role: role(grants, trust),
            }
        });
        let assumed = assumed.collect();
        let task = role(&self.task, tasks(Some(source)));
        let execution = role(&self.execution, tasks(None));
        self.say_what_is_open();
        Needs {
            task,
            execution,
            assumed,
            diagnostics: self.diagnostics,
        }
    }

    /// The task role, as another role's trust policy names it; `TaskRole` where the task has none yet.
    fn principal(&self) -> Resource {
        let text = self.task_role.map_or("TaskRole", Text::as_str);
        let template = match text.starts_with("arn:") || text.starts_with("${") {
            true => text.to_string(),
            false => {
                let mut scope = Scope::task();
                scope.region = String::new();
                scope.arn("iam", &format!("role/{text}"))
            }
        };
        Resource::new(template, self.known.context)
    }

    fn say_what_is_open(&mut self) {
        let assumed = self.assumed.iter().flat_map(|(_, _, grants)| grants);
        let all: Vec<&Grant> = self.task.iter().chain(&self.execution).chain(assumed).collect();
        let context = self.known.context;
        let mut named = all.iter().any(|grant| grant.resource.contains(ACCOUNT));
        named |= !self.assumed.is_empty() && self.principal().template.contains(ACCOUNT);
        let account_unknown = context.account.is_none() && named;
        let mut words = Vec::new();
        let mut span: Option<Span> = None;
        for grant in &all {
            let arn = Resource::new(grant.resource.clone(), context).arn;
            for piece in arn.split("${").skip(1) {
                let word = format!("${{{}}}", piece.split('}').next().unwrap_or_default());
                if !words.contains(&word) {
                    span = span.or(grant.reason.span);
                    words.push(word);
                }
            }
        }
        if account_unknown {
            self.diagnostics.push(notes::account());
        }
        if !words.is_empty() {
            self.diagnostics.push(notes::open(&words, span));
        }
    }
}

/// Statements: what has the same actions stands in one; no resource stands beside one that covers it.
fn statements(grants: &[Grant], context: &Context) -> Vec<Statement> {
    type Key = (&'static str, Resource);
    let service = |action: &'static str| action.split(':').next().unwrap_or(action);
    let mut by_resource: BTreeMap<Key, (BTreeSet<&'static str>, Vec<&Grant>)> = BTreeMap::new();
    for grant in grants {
        let resource = match grant.resource.as_str() {
            "*" => Resource::any(),
            template => Resource::new(template.to_string(), context),
        };
        for action in grant.actions {
            let entry = by_resource
                .entry((service(action), resource.clone()))
                .or_default();
            entry.0.insert(*action);
        }
        let first = grant.actions.first().map_or("", |action| service(action));
        by_resource.entry((first, resource)).or_default().1.push(grant);
    }
    let mut by_actions: BTreeMap<BTreeSet<&'static str>, (BTreeSet<Resource>, Vec<&Grant>)> = BTreeMap::new();
    for ((_, resource), (actions, grants)) in by_resource {
        let entry = by_actions.entry(actions).or_default();
        entry.0.insert(resource);
        entry.1.extend(grants);
    }
    let mut out: Vec<Statement> = by_actions
        .into_iter()
        .map(|(actions, (resources, grants))| Statement {
            sid: grants.first().map_or("", |grant| grant.sid).to_string(),
            actions: actions.into_iter().collect(),
            resources: slim(resources),
            reasons: reasons(&grants),
            wildcard: grants.iter().find_map(|grant| grant.wildcard),
        })
        .collect();
    out.sort_by(|a, b| (&a.actions, &a.resources).cmp(&(&b.actions, &b.resources)));
    number(&mut out);
    out
}

fn reasons(grants: &[&Grant]) -> Vec<Reason> {
    let mut out: Vec<Reason> = Vec::new();
    for grant in grants {
        if !out.contains(&grant.reason) {
            out.push(grant.reason.clone());
        }
    }
    out.sort_by_key(|reason| reason.span);
    out
}

/// Without those that another one covers.
fn slim(resources: BTreeSet<Resource>) -> Vec<Resource> {
    let covered = |one: &Resource| {
        let need = Pattern::of_need(&one.arn);
        let wider =
            |other: &&Resource| other.arn != one.arn && other.arn.contains(['*', '?']) && !other.is_open();
        let patterns: Vec<_> = resources
            .iter()
            .filter(wider)
            .map(|other| Pattern::of_policy(&other.arn))
            .collect();
        // A word of the deployment may be anything: such a resource stays.
        !one.is_open()
            && patterns
                .iter()
                .any(|other| covers(std::slice::from_ref(other), &need))
    };
    resources.iter().filter(|one| !covered(one)).cloned().collect()
}

/// Sids are unique in a policy.
fn number(statements: &mut [Statement]) {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for statement in statements {
        let count = seen.entry(statement.sid.clone()).or_default();
        *count += 1;
        if *count > 1 {
            statement.sid.push_str(&count.to_string());
        }
    }
}
