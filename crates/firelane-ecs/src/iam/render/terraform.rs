//! Terraform: two roles with their policies; of roles of other accounts the documents alone.
//!
//! Attributes: `registry.terraform.io/providers/hashicorp/aws`, data sources `aws_iam_policy_document`,
//! `aws_partition`, `aws_region`, `aws_caller_identity`. `id` of a region is its name in every version.

use firelane_conf::Sources;

use super::super::arn::{ACCOUNT, PARTITION, REGION};
use super::super::{Needs, Role, Trust};
use super::{TASKS, comments, one_line, quoted, templates};

/// What stands for the task's own partition, region and account.
const REFERENCES: [(&str, &str, &str); 3] = [
    (
        PARTITION,
        "aws_partition",
        "${data.aws_partition.current.partition}",
    ),
    (REGION, "aws_region", "${data.aws_region.current.id}"),
    (
        ACCOUNT,
        "aws_caller_identity",
        "${data.aws_caller_identity.current.account_id}",
    ),
];

pub(super) fn render(needs: &Needs, sources: &Sources) -> String {
    let mut body = String::new();
    role(&mut body, "task", &needs.task, sources);
    role(&mut body, "execution", &needs.execution, sources);
    for (index, assumed) in needs.assumed.iter().enumerate() {
        let name = format!("assumed_{}", index + 1);
        let arn = one_line(&assumed.arn.template);
        line(
            &mut body,
            &format!("# An output assumes the role {arn}: its trust, its policy."),
        );
        trust(&mut body, &name, &assumed.role.trust);
        policy(&mut body, &name, &assumed.role, sources);
    }
    let mut out = String::new();
    for (_, source, reference) in REFERENCES {
        if body.contains(reference) || body.contains(reference.trim_matches(['$', '{', '}'])) {
            line(&mut out, &format!("data \"{source}\" \"current\" {{}}"));
            line(&mut out, "");
        }
    }
    out.push_str(body.trim_end());
    out.push('\n');
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// A text in quotes; what is not meant as a reference is no template to Terraform.
fn text(template: &str) -> String {
    let mut text = quoted(template).replace("${", "$${").replace("%{", "%%{");
    for (word, _, reference) in REFERENCES {
        text = text.replace(&format!("${word}"), reference);
    }
    text
}

fn role(out: &mut String, name: &str, role: &Role, sources: &Sources) {
    line(out, &format!("resource \"aws_iam_role\" \"{name}\" {{"));
    line(out, &format!("  name_prefix        = \"firelane-{name}-\""));
    let trusted = format!("data.aws_iam_policy_document.{name}_trust.json");
    line(out, &format!("  assume_role_policy = {trusted}"));
    line(out, "}\n");
    trust(out, name, &role.trust);
    if role.statements.is_empty() {
        return;
    }
    policy(out, name, role, sources);
    line(out, &format!("resource \"aws_iam_role_policy\" \"{name}\" {{"));
    line(out, &format!("  name   = \"firelane-{name}\""));
    line(out, &format!("  role   = aws_iam_role.{name}.id"));
    line(
        out,
        &format!("  policy = data.aws_iam_policy_document.{name}.json"),
    );
    line(out, "}\n");
}

fn trust(out: &mut String, name: &str, trust: &Trust) {
    line(
        out,
        &format!("data \"aws_iam_policy_document\" \"{name}_trust\" {{"),
    );
    line(out, "  statement {");
    line(out, "    actions = [\"sts:AssumeRole\"]\n");
    line(out, "    principals {");
    match trust {
        Trust::Tasks { source, .. } => {
            line(out, "      type        = \"Service\"");
            line(out, &format!("      identifiers = [{}]", quoted(TASKS)));
            line(out, "    }");
            if let Some(source) = source {
                condition(out, "StringEquals", "aws:SourceAccount", &text(ACCOUNT));
                condition(out, "ArnLike", "aws:SourceArn", &text(&source.template));
            }
        }
        Trust::TaskRole { external_id, .. } => {
            line(out, "      type        = \"AWS\"");
            line(out, "      identifiers = [aws_iam_role.task.arn]");
            line(out, "    }");
            if let Some(id) = external_id {
                condition(out, "StringEquals", "sts:ExternalId", &text(id));
            }
        }
    }
    line(out, "  }");
    line(out, "}\n");
}

fn condition(out: &mut String, test: &str, variable: &str, value: &str) {
    line(out, "\n    condition {");
    line(out, &format!("      test     = {}", quoted(test)));
    line(out, &format!("      variable = {}", quoted(variable)));
    line(out, &format!("      values   = [{value}]"));
    line(out, "    }");
}

fn policy(out: &mut String, name: &str, role: &Role, sources: &Sources) {
    line(out, &format!("data \"aws_iam_policy_document\" \"{name}\" {{"));
    for (index, statement) in role.statements.iter().enumerate() {
        if index > 0 {
            line(out, "");
        }
        for comment in comments(statement, sources) {
            line(out, &format!("  # {comment}"));
        }
        line(out, "  statement {");
        line(out, &format!("    sid = {}\n", quoted(&statement.sid)));
        line(out, "    actions = [");
        for action in &statement.actions {
            line(out, &format!("      {},", quoted(action)));
        }
        line(out, "    ]\n");
        line(out, "    resources = [");
        for template in templates(&statement.resources) {
            line(out, &format!("      {},", text(template)));
        }
        line(out, "    ]");
        line(out, "  }");
    }
    line(out, "}\n");
}
