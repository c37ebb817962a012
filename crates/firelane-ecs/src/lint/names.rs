//! Names and fields that every task definition must have.

use std::collections::HashMap;

use firelane_conf::Diagnostic;

use super::Subject;
use super::shared::{error, is_fragment};
use crate::firelens::refuse::Stage;
use crate::taskdef::{Container, Form};
use crate::text::Text;

/// Longest name of a family or container.
const NAME_MAX: usize = 255;

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    family(subject, found);
    for (index, container) in subject.task.containers.iter().enumerate() {
        required(subject, index, container, found);
        if let Some(name) = &container.name {
            word(
                name,
                "container",
                "Container.name contains invalid characters.",
                found,
            );
        }
    }
    unique(subject, found);
    // In a template the list may come from an intrinsic.
    if subject.task.containers.is_empty() && subject.form == Form::Cli {
        let message = "the task has no container";
        let outcome = Stage::Register.says("Container list cannot be empty.");
        let help = "add the application's container, and a log router: `firelane init` writes both";
        found.push(
            error("FL0723", subject.task.span, message)
                .outcome(outcome)
                .help(help),
        );
    }
}

fn family(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let task = subject.task;
    if let Some(family) = &task.family {
        word(family, "family", "Family contains invalid characters.", found);
    } else if subject.form == Form::Cli && !is_fragment(task) {
        let text = "the AWS CLI refuses it: Parameter validation failed: Missing required parameter in input: \
                    \"family\"";
        let help = "add `family`: the name under which revisions of this task are counted, for example \
                    `\"family\": \"web\"`; or give `--family` on the command line";
        found.push(
            error("FL0721", task.span, "the task definition has no `family`")
                .outcome(text)
                .help(help),
        );
    }
}

fn required(subject: &Subject<'_>, index: usize, container: &Container, found: &mut Vec<Diagnostic>) {
    let who = match container.name() {
        "" => format!("container {}", index + 1),
        name => format!("container `{name}`"),
    };
    let missing = |text: &Option<Text>| text.as_ref().is_none_or(|text| text.is(""));
    for (field, value, help) in [
        (
            "name",
            &container.name,
            "letters, digits, hyphens and underscores, for example `app`",
        ),
        (
            "image",
            &container.image,
            "for example `public.ecr.aws/nginx/nginx:stable`",
        ),
    ] {
        if missing(value) {
            let written = subject.field(field);
            let text = format!("Container.{field} should not be null or empty.");
            let span = value.as_ref().map_or(container.span, |text| text.span);
            found.push(
                error("FL0721", span, format!("{who} has no `{written}`"))
                    .outcome(Stage::Register.says(&text))
                    .help(format!("add `{written}`: {help}")),
            );
        }
    }
    let log = container.log_configuration.as_ref();
    if let Some(log) = log.filter(|log| log.driver.is_none()) {
        let help = "`awsfirelens` sends to the task's log router, `awslogs` to CloudWatch Logs";
        let at = (index, "logConfiguration", "logDriver");
        found.push(inner(subject, &who, at, help).at(log.span));
    }
    let restart = container.restart_policy.as_ref();
    if let Some(restart) = restart.filter(|restart| restart.enabled.is_none()) {
        let at = (index, "restartPolicy", "enabled");
        found.push(inner(subject, &who, at, "true or false").at(restart.span));
    }
}

/// A field that a part of a container must have.
fn inner(
    subject: &Subject<'_>,
    who: &str,
    (index, part, field): (usize, &str, &str),
    help: &str,
) -> Diagnostic {
    let (part, field) = (subject.field(part), subject.field(field));
    let outcome = match subject.form {
        Form::Cli => format!(
            "the AWS CLI refuses it: Parameter validation failed: Missing required parameter in \
             containerDefinitions[{index}].{part}: \"{field}\""
        ),
        Form::Cfn => "CloudFormation refuses the template: the property is required".to_string(),
    };
    error(
        "FL0721",
        subject.task.span,
        format!("`{part}` of {who} has no `{field}`"),
    )
    .outcome(outcome)
    .help(format!("add `{field}`: {help}"))
}

fn word(name: &Text, what: &str, refusal: &str, found: &mut Vec<Diagnostic>) {
    let Some(text) = name.known() else { return };
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if let Some(bad) = text.chars().find(|c| !fits(*c)) {
        let better: String = text.chars().map(|c| if fits(c) { c } else { '-' }).collect();
        let message = format!("the {what} name `{text}` has the character `{bad}`");
        let help = format!("letters, digits, hyphens and underscores are possible: write `{better}`");
        found.push(
            error("FL0722", name.span, message)
                .outcome(Stage::Register.says(refusal))
                .help(help),
        );
    } else if text.chars().count() > NAME_MAX {
        let message = format!("the {what} name is {} characters long", text.chars().count());
        let outcome = format!("RegisterTaskDefinition refuses names of more than {NAME_MAX} characters");
        found.push(
            error("FL0722", name.span, message)
                .outcome(outcome)
                .help("shorten it"),
        );
    }
}

fn unique(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let mut seen = HashMap::new();
    let names = subject
        .task
        .containers
        .iter()
        .filter_map(|container| container.name.as_ref());
    for name in names.filter(|name| name.known().is_some_and(|name| !name.is_empty())) {
        if let Some(first) = seen.insert(name.as_str(), name.span) {
            let message = format!("two containers have the name `{}`", name.as_str());
            let text = "Container names must be unique within a Task Definition.";
            let help = format!("rename one of them; the first is in line {}", first.line);
            found.push(
                error("FL0723", name.span, message)
                    .outcome(Stage::Register.says(text))
                    .help(help),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::lint;

    #[test]
    fn what_is_missing_is_named() {
        let task = "
networkMode: awsvpc
containerDefinitions:
  - image: nginx
  - name: app
    image: ''
    logConfiguration:
      options: {Name: stdout}
    restartPolicy: {ignoredExitCodes: [0]}
";
        insta::assert_snapshot!(lint(task, &["FL0721"]));
    }

    #[test]
    fn a_template_needs_no_family() {
        let task = "
NetworkMode: awsvpc
ContainerDefinitions:
  - Name: app
    LogConfiguration:
      Options: {Name: stdout}
";
        insta::assert_snapshot!(lint(task, &["FL0721"]));
    }

    #[test]
    fn bad_names_are_mended() {
        let task = format!(
            "
family: my task
containerDefinitions:
  - {{name: app.web, image: nginx}}
  - {{name: {}, image: nginx}}
",
            "a".repeat(256)
        );
        insta::assert_snapshot!(lint(&task, &["FL0722"]));
    }

    #[test]
    fn names_are_unique() {
        let task = "
family: web
containerDefinitions:
  - {name: app, image: nginx}
  - {name: app, image: redis}
";
        insta::assert_snapshot!(lint(task, &["FL0723"]));
        insta::assert_snapshot!(lint("family: web\ncontainerDefinitions: []\n", &["FL0723"]));
    }

    #[test]
    fn good_names_and_fragments_pass() {
        let codes = ["FL0721", "FL0722", "FL0723"];
        let task = "
family: Web_1-a
containerDefinitions:
  - {name: app, image: nginx}
  - {name: App, image: nginx}
";
        assert_eq!(lint(task, &codes), "");
        assert_eq!(lint("[{\"name\": \"app\", \"image\": \"nginx\"}]", &codes), "");
    }
}
