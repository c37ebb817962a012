//! Two `AWS::IAM::Role` of a CloudFormation template; roles of other accounts stand below as comments.

use firelane_conf::Sources;

use super::super::{Needs, Role, Trust};
use super::{TASKS, VERSION, comments, one_line, policy_document, quoted, templates, trust_document};

struct Yaml(String);

impl Yaml {
    fn line(&mut self, indent: usize, text: &str) {
        self.0.push_str(&" ".repeat(indent));
        self.0.push_str(text);
        self.0.push('\n');
    }
}

pub(super) fn render(needs: &Needs, sources: &Sources) -> String {
    let mut yaml = Yaml(String::new());
    yaml.line(0, "Resources:");
    role(&mut yaml, "TaskRole", "firelane-task", &needs.task, sources);
    role(
        &mut yaml,
        "ExecutionRole",
        "firelane-execution",
        &needs.execution,
        sources,
    );
    for assumed in &needs.assumed {
        yaml.line(0, "");
        let arn = one_line(&assumed.arn.template);
        yaml.line(
            0,
            &format!("# An output assumes the role {arn}. It needs this policy:"),
        );
        let policy = policy_document(&assumed.role).unwrap_or_default();
        commented(&mut yaml, &format!("{policy:#}"));
        yaml.line(
            0,
            "# and must trust the task role, here by its ARN outside of this template:",
        );
        commented(&mut yaml, &format!("{:#}", trust_document(&assumed.role.trust)));
    }
    yaml.0
}

fn commented(yaml: &mut Yaml, text: &str) {
    text.lines().for_each(|line| yaml.line(0, &format!("#   {line}")));
}

/// A text in which CloudFormation fills words in, if there are any.
fn sub(template: &str) -> String {
    match template.contains("${") {
        true => format!("!Sub {}", quoted(template)),
        false => quoted(template),
    }
}

fn role(yaml: &mut Yaml, id: &str, name: &str, role: &Role, sources: &Sources) {
    yaml.line(2, &format!("{id}:"));
    yaml.line(4, "Type: AWS::IAM::Role");
    yaml.line(4, "Properties:");
    yaml.line(6, "AssumeRolePolicyDocument:");
    yaml.line(8, &format!("Version: {}", quoted(VERSION)));
    yaml.line(8, "Statement:");
    yaml.line(10, "- Effect: Allow");
    yaml.line(12, "Principal:");
    yaml.line(14, &format!("Service: {TASKS}"));
    yaml.line(12, "Action: sts:AssumeRole");
    if let Trust::Tasks {
        source: Some(source), ..
    } = &role.trust
    {
        // The account of the stack is always known to it.
        yaml.line(12, "Condition:");
        yaml.line(14, "StringEquals:");
        yaml.line(16, "aws:SourceAccount: !Ref AWS::AccountId");
        yaml.line(14, "ArnLike:");
        yaml.line(16, &format!("aws:SourceArn: {}", sub(&source.template)));
    }
    if role.statements.is_empty() {
        return;
    }
    yaml.line(6, "Policies:");
    yaml.line(8, &format!("- PolicyName: {name}"));
    yaml.line(10, "PolicyDocument:");
    yaml.line(12, &format!("Version: {}", quoted(VERSION)));
    yaml.line(12, "Statement:");
    for statement in &role.statements {
        for comment in comments(statement, sources) {
            yaml.line(14, &format!("# {comment}"));
        }
        yaml.line(14, &format!("- Sid: {}", statement.sid));
        yaml.line(16, "Effect: Allow");
        yaml.line(16, "Action:");
        for action in &statement.actions {
            yaml.line(18, &format!("- {action}"));
        }
        yaml.line(16, "Resource:");
        for template in templates(&statement.resources) {
            yaml.line(18, &format!("- {}", sub(template)));
        }
    }
}
