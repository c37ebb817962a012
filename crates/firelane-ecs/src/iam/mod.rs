//! What a task may do: the policies of its two roles, least privilege, a reason for each statement.
//!
//! The containers' outputs, the files of the init process and the dumps of the debug image use the **task
//! role**; what ECS itself fetches before a container runs (image, secrets, environment files, the router's
//! file on S3) and the log driver `awslogs` use the **execution role**. An output with `role_arn` uses a role
//! of its own.
//!
//! Sources. Actions, resource types and forms of ARNs: the Service Authorization Reference
//! (`docs.aws.amazon.com/service-authorization/latest/reference`). That a log group is named with `:*` behind
//! it in policies, but for its tags: the guide of CloudWatch Logs (`iam-access-control-overview-cwl`). Which
//! calls an output makes: Fluent Bit 5.1.1 (`plugins/out_*`, `src/aws`) and the Go plugins. Which role
//! fetches what: the ECS guide (`task-iam-roles`, `task_execution_IAM_role`) and the agent.
//!
//! Not here: what the application itself calls, and the instance's role.

mod arn;
mod build;
mod diff;
mod execution;
mod fluentd;
mod names;
mod notes;
mod outputs;
mod pattern;
mod policy;
mod render;
mod router;
mod search;

#[cfg(test)]
mod tests;

use firelane_conf::{Config, Diagnostic, Span};

use crate::context::Context;
use crate::taskdef::TaskDefinition;

pub use arn::Resource;
pub use diff::{Diff, Excess, Missing, Why, diff};
pub use policy::{Effect, Policy, Selector, Stated, allows, parse_policy};
pub use render::{Format, policy_document, render, trust_document};

/// What the policies hold beside what the task definition tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// ARNs of the customer's keys that secrets and files on S3 are encrypted with.
    pub secret_keys: Vec<String>,
    /// ARNs of the customer's keys that buckets of the output `s3` encrypt with.
    pub bucket_keys: Vec<String>,
    /// Whether ECS Exec may open a shell in the containers.
    pub exec: bool,
}

/// What a task needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// The role of its containers.
    pub task: Role,
    /// The role of ECS on its behalf.
    pub execution: Role,
    /// Roles that outputs assume.
    pub assumed: Vec<Assumed>,
    /// What is to be known about them.
    pub diagnostics: Vec<Diagnostic>,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// What it is allowed; sorted by action, then resource.
    pub statements: Vec<Statement>,
    /// Who may take it.
    pub trust: Trust,
}

/// A role that an output assumes, often in another account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assumed {
    /// Its ARN.
    pub arn: Resource,
    /// What it must be allowed, and whom it must trust.
    pub role: Role,
}

/// Who may take a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Tasks of ECS.
    Tasks {
        /// The account, if it is known.
        account: Option<String>,
        /// `arn:P:ecs:R:A:*`: only tasks of this account, so that no one else's takes the role by way of ECS
        /// (`docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html`, confused deputy). The
        /// guide has this condition for the task role alone; the execution role goes without.
        source: Option<Resource>,
    },
    /// The task role.
    TaskRole {
        /// Its ARN.
        arn: Resource,
        /// The external id it must say.
        external_id: Option<String>,
    },
}

/// One statement: each of the actions on each of the resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its name, letters and digits.
    pub sid: String,
    /// Actions, sorted.
    pub actions: Vec<&'static str>,
    /// Resources, sorted.
    pub resources: Vec<Resource>,
    /// What needs it.
    pub reasons: Vec<Reason>,
    /// Why a resource is `*`.
    pub wildcard: Option<&'static str>,
}

/// What needs a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// For people.
    pub text: String,
    /// Where it was written.
    pub span: Option<Span>,
}

/// What a task needs, the outputs of the router's own configuration included.
///
/// A part of a name that only run time knows is `*` in the ARN, and the reason says which. A word that only
/// the deployment knows stands in the ARN as `${LogicalId}`.
pub fn needs(task: &TaskDefinition, context: &Context, config: Option<&Config>, options: &Options) -> Needs {
    let mut builder = build::Builder::new(task, context, options);
    router::outputs(&mut builder, task, config);
    router::init(&mut builder, task, config.is_some());
    router::exec(&mut builder);
    execution::all(&mut builder, task);
    builder.finish()
}
