//! CloudFormation templates.
use crate::source::Node;
use firelane_conf::{Diagnostic, Span};

/// What stands for parameters and pseudo parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Env {
    /// Values of parameters; also of resources (`LogGroup`), attributes (`Role.Arn`) and exports.
    pub params: Vec<(String, String)>,
    /// `AWS::Region`; without it the pseudo parameter stays open.
    pub region: Option<String>,
    /// `AWS::AccountId`; without it the pseudo parameter stays open.
    pub account: Option<String>,
}

/// A template.
#[derive(Debug)]
pub struct Template {
    root: Node,
}

impl Template {
    /// To be written.
    pub fn read(root: Node, _env: Env, _found: &mut Vec<Diagnostic>) -> Self {
        Self { root }
    }

    /// Where it opens.
    pub fn span(&self) -> Span {
        self.root.span
    }

    /// The task definitions that are made, by logical id, with the place of the id.
    pub fn task_definitions(&self) -> impl Iterator<Item = (&str, Span)> {
        std::iter::empty()
    }

    /// The properties of a resource, intrinsics resolved.
    pub fn properties(&self, _resource: &str, _found: &mut Vec<Diagnostic>) -> Node {
        self.root.clone()
    }
}
