//! Tests of the module: golden texts, the grammar of policies, what is allowed and what is not, differences.

mod differences;
mod golden;
mod semantics;

use std::path::Path;

use firelane_conf::{SourceId, Sources};
use serde_json::{Value as Json, json};

use super::*;
use crate::context::Given;
use crate::source::Grammar;
use crate::taskdef::{self, load};

const ACCOUNT: &str = "111122223333";

fn given() -> Given {
    Given {
        cluster: Some("prod".into()),
        region: Some("us-west-2".into()),
        account: Some(ACCOUNT.into()),
        ..Given::default()
    }
}

/// A task definition's needs, and the sources its places are in.
fn of_text(text: &str, given: &Given, options: &Options) -> (Needs, Sources) {
    let mut sources = Sources::default();
    let file = sources.add(Path::new("task.json"), text.to_string());
    let loaded = load(file, text, Grammar::Json, &taskdef::Options::default());
    assert!(!loaded.failed(), "{:?}", loaded.diagnostics);
    let task = loaded.task.unwrap();
    let context = Context::new(given, &task);
    (needs(&task, &context, None, options), sources)
}

/// A task whose only container `app` has these log options, beside a router of this kind.
fn with_options(kind: &str, options: Json) -> Json {
    json!({
        "family": "f",
        "containerDefinitions": [
            {"name": "router", "image": "r", "firelensConfiguration": {"type": kind}},
            {"name": "app", "image": "a", "logConfiguration":
                {"logDriver": "awsfirelens", "options": options}},
        ]
    })
}

fn of_json(task: &Json) -> Needs {
    of_text(&task.to_string(), &given(), &Options::default()).0
}

/// `action resource` of every permission of a role, sorted.
fn pairs(role: &Role) -> Vec<String> {
    let mut all = Vec::new();
    for statement in &role.statements {
        for action in &statement.actions {
            let one = |resource: &Resource| format!("{action} {}", resource.arn);
            all.extend(statement.resources.iter().map(one));
        }
    }
    all.sort();
    all
}

/// The role's policy, written and read again.
fn live(role: &Role) -> Policy {
    match policy_document(role) {
        Some(document) => parse_policy(SourceId(1), &document.to_string()).unwrap(),
        None => Policy::default(),
    }
}
