//! From a file to one task definition: which kind of document it is, and which resource of a template.

use firelane_conf::{Class, Diagnostic, Severity, SourceId, Span};

use super::field::{Field as _, Reader};
use super::{Form, TaskDefinition};
use crate::cfn::{Env, Template};
use crate::source::{self, Grammar, Node, Value};

/// How a document is read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The logical id of the task definition in a template.
    pub resource: Option<String>,
    /// What stands for parameters and pseudo parameters.
    pub env: Env,
}

/// A document and what was found in it.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The task definition, if there is one that can be read.
    pub task: Option<TaskDefinition>,
    /// How it is spelled.
    pub form: Form,
    /// The template around it.
    pub template: Option<Template>,
    /// The logical id of the task definition in the template.
    pub resource: Option<String>,
    /// What was found.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// Whether an error was found.
    pub fn failed(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }
}

/// Reads a document: the JSON (or YAML) of `register-task-definition` or `describe-task-definition`, a
/// bare list of container definitions as Terraform has it, or a CloudFormation template.
pub fn load(file: SourceId, text: &str, grammar: Grammar, options: &Options) -> Loaded {
    let mut loaded = Loaded {
        task: None,
        form: Form::Cli,
        template: None,
        resource: None,
        diagnostics: Vec::new(),
    };
    let root = match source::read(file, text, grammar, &mut loaded.diagnostics) {
        Ok(root) => root,
        Err(error) => {
            loaded.diagnostics.push(*error);
            return loaded;
        }
    };
    if root.get("Resources").is_some() {
        template(&mut loaded, root, options);
    } else {
        plain(&mut loaded, &root, options);
    }
    loaded
}

fn plain(loaded: &mut Loaded, root: &Node, options: &Options) {
    if let Some(resource) = &options.resource {
        let message = format!("`--resource {resource}` is given, but the file is no CloudFormation template");
        loaded
            .diagnostics
            .push(not_one(root.span, message, "leave it out"));
    }
    if let Some((name, _)) = options.env.params.first() {
        let message = format!("`--param {name}=…` has no effect: the file is no CloudFormation template");
        let unused = Diagnostic::warning("FL0519", message).help("leave it out");
        loaded.diagnostics.push(unused);
    }
    let inner = root.get("taskDefinition").unwrap_or(root);
    if let Value::List(_) = inner.value {
        // Only the containers: read them as such.
        let mut reader = Reader::new(Form::Cli);
        let mut task = TaskDefinition {
            span: inner.span,
            ..TaskDefinition::default()
        };
        super::field::Slot::fill(&mut task.containers, inner, &mut reader);
        loaded.diagnostics.append(&mut reader.diagnostics);
        loaded.task = Some(task);
        return;
    }
    let pascal = inner.get("ContainerDefinitions").is_some();
    if inner.get("containerDefinitions").is_none() && !pascal {
        let help = "a task definition has `containerDefinitions`; a template has `Resources`";
        let message = "this is neither a task definition nor a CloudFormation template";
        loaded.diagnostics.push(not_one(inner.span, message, help));
        return;
    }
    // The properties of a resource alone, without the template around them.
    let form = if pascal { Form::Cfn } else { Form::Cli };
    read(loaded, inner, form);
}

fn template(loaded: &mut Loaded, root: Node, options: &Options) {
    let template = Template::read(root, options.env.clone(), &mut loaded.diagnostics);
    if let Some(resource) = choose(&template, options.resource.as_deref(), &mut loaded.diagnostics) {
        let properties = template.properties(&resource, &mut loaded.diagnostics);
        read(loaded, &properties, Form::Cfn);
        loaded.resource = Some(resource);
    }
    loaded.form = Form::Cfn;
    loaded.template = Some(template);
}

/// The logical id of the task definition that is meant.
fn choose(template: &Template, wanted: Option<&str>, found: &mut Vec<Diagnostic>) -> Option<String> {
    let all: Vec<_> = template.task_definitions().collect();
    let names = || all.iter().map(|(id, _)| *id).collect::<Vec<_>>().join(", ");
    match (wanted, all.as_slice()) {
        (_, []) => {
            let help = "the type is `AWS::ECS::TaskDefinition`; a condition may leave it out";
            let message = "the template has no task definition";
            found.push(not_one(template.span(), message, help));
            None
        }
        (Some(wanted), all) => {
            let hit = all.iter().find(|(id, _)| *id == wanted);
            if hit.is_none() {
                let message = format!("the template has no task definition `{wanted}`");
                found.push(not_one(template.span(), message, format!("it has {}", names())));
            }
            hit.map(|(id, _)| (*id).to_string())
        }
        (None, [(id, _)]) => Some((*id).to_string()),
        (None, [(_, span), ..]) => {
            let message = format!("the template has {} task definitions", all.len());
            found.push(not_one(
                *span,
                message,
                format!("choose one with `--resource`: {}", names()),
            ));
            None
        }
    }
}

fn read(loaded: &mut Loaded, node: &Node, form: Form) {
    let mut reader = Reader::new(form);
    loaded.form = form;
    loaded.task = TaskDefinition::read(node, &mut reader);
    loaded.diagnostics.append(&mut reader.diagnostics);
}

fn not_one(span: Span, message: impl Into<String>, help: impl Into<String>) -> Diagnostic {
    Diagnostic::error("FL0504", Class::Missing, message)
        .at(span)
        .help(help)
}
