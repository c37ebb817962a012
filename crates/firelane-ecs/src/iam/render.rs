//! Policies as texts: JSON, a CloudFormation template's resources, Terraform.

mod cloudformation;
mod terraform;

use firelane_conf::Sources;
use serde_json::{Value as Json, json};

use super::{Needs, Reason, Resource, Role, Statement, Trust};

/// A form to render.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One document with policy, trust policy and reasons of every role.
    Json,
    /// `Resources` of a CloudFormation template, YAML.
    CloudFormation,
    /// Terraform's HCL.
    Terraform,
}

/// The version of the policy language (`reference_policies_elements_version.html`).
const VERSION: &str = "2012-10-17";
/// The service that takes the roles of tasks.
const TASKS: &str = "ecs-tasks.amazonaws.com";

/// Renders every role. Reasons name their place by the sources; policies of IAM hold no comments, so in JSON
/// they stand beside.
pub fn render(needs: &Needs, format: Format, sources: &Sources) -> String {
    match format {
        Format::Json => json_text(needs, sources),
        Format::CloudFormation => cloudformation::render(needs, sources),
        Format::Terraform => terraform::render(needs, sources),
    }
}

/// The policy of a role, as `aws iam put-role-policy` takes it; `None` where it needs nothing: a policy
/// without statements is refused.
pub fn policy_document(role: &Role) -> Option<Json> {
    let statements: Vec<Json> = role.statements.iter().map(statement).collect();
    (!statements.is_empty()).then(|| json!({"Version": VERSION, "Statement": statements}))
}

fn statement(statement: &Statement) -> Json {
    let mut resources: Vec<&str> = statement.resources.iter().map(|r| r.arn.as_str()).collect();
    resources.dedup();
    json!({
        "Sid": statement.sid,
        "Effect": "Allow",
        "Action": statement.actions,
        "Resource": resources,
    })
}

/// The trust policy of a role, as `aws iam create-role` takes it.
pub fn trust_document(trust: &Trust) -> Json {
    let (principal, condition) = match trust {
        Trust::Tasks { account, source } => {
            let condition = account.as_ref().zip(source.as_ref()).map(|(account, source)| {
                json!({
                    "StringEquals": {"aws:SourceAccount": account},
                    "ArnLike": {"aws:SourceArn": source.arn},
                })
            });
            (json!({"Service": TASKS}), condition)
        }
        Trust::TaskRole { arn, external_id } => {
            let id = external_id.as_ref();
            let condition = id.map(|id| json!({"StringEquals": {"sts:ExternalId": id}}));
            (json!({"AWS": arn.arn}), condition)
        }
    };
    let mut statement = json!({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"});
    if let Some(condition) = condition {
        statement["Condition"] = condition;
    }
    json!({"Version": VERSION, "Statement": [statement]})
}

fn json_text(needs: &Needs, sources: &Sources) -> String {
    let assumed = needs.assumed.iter().map(|assumed| {
        let mut document = json!({"role": assumed.arn.arn});
        let mut rest = role(&assumed.role, sources);
        if let (Some(into), Some(from)) = (document.as_object_mut(), rest.as_object_mut()) {
            into.append(from);
        }
        document
    });
    let document = json!({
        "taskRole": role(&needs.task, sources),
        "executionRole": role(&needs.execution, sources),
        "assumedRoles": assumed.collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

fn role(role: &Role, sources: &Sources) -> Json {
    let mut reasons = Vec::new();
    for statement in &role.statements {
        for reason in &statement.reasons {
            let mut entry = json!({"sid": statement.sid, "reason": reason.text});
            if let Some(place) = reason.span.and_then(|span| sources.place(span)) {
                entry["place"] = place.into();
            }
            reasons.push(entry);
        }
        if let Some(why) = statement.wildcard {
            reasons.push(json!({"sid": statement.sid, "wildcard": why}));
        }
    }
    json!({"policy": policy_document(role), "trust": trust_document(&role.trust), "reasons": reasons})
}

/// The comments above a statement, without their sign.
fn comments(statement: &Statement, sources: &Sources) -> Vec<String> {
    let one = |reason: &Reason| {
        let place = reason.span.and_then(|span| sources.place(span));
        let place = place.map_or(String::new(), |place| format!(" ({place})"));
        one_line(&format!("{}{place}", reason.text))
    };
    let wildcard = statement.wildcard.map(|why| format!("`*`: {why}"));
    statement.reasons.iter().map(one).chain(wildcard).collect()
}

/// A comment ends with its line.
fn one_line(text: &str) -> String {
    text.replace(
        |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}'),
        " ",
    )
}

/// A text in double quotes: what JSON, YAML and HCL have in common.
fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

/// Templates of resources, each once.
fn templates(resources: &[Resource]) -> Vec<&str> {
    let mut all: Vec<&str> = resources.iter().map(|r| r.template.as_str()).collect();
    all.sort_unstable();
    all.dedup();
    all
}
