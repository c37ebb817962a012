//! What a platform does with a log router, where it is worth a word.

use firelane_conf::{Diagnostic, Span};

use super::Subject;
use super::shared::{asked, list, note};
use crate::source::{Node, Value};

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    if subject.router().is_none() {
        return;
    }
    bottlerocket(subject, found);
    managed_instances(subject, found);
}

/// Old Bottlerocket has no FireLens.
fn bottlerocket(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let Some(span) = subject
        .task
        .extra
        .iter()
        .find_map(|extra| names_bottlerocket(&extra.node))
    else {
        return;
    };
    let message = "the task is for Bottlerocket and has a log router";
    let outcome = "Bottlerocket runs FireLens since version 1.13.0 (March 2023); on older instances the task is not placed: \
                   they lack the attribute `ecs.capability.firelens.fluentbit` or `…fluentd`";
    let help = "update instances that are older; nothing is to be changed here";
    found.push(note("FL0798", span, message).outcome(outcome).help(help));
}

/// The place of a text that names Bottlerocket.
fn names_bottlerocket(node: &Node) -> Option<Span> {
    match &node.value {
        Value::String(text) => text
            .to_ascii_lowercase()
            .contains("bottlerocket")
            .then_some(node.span),
        Value::List(items) => items.iter().find_map(names_bottlerocket),
        Value::Map(pairs) => pairs.iter().find_map(|pair| {
            let key = pair.key.value.to_ascii_lowercase().contains("bottlerocket");
            key.then_some(pair.key.span)
                .or_else(|| names_bottlerocket(&pair.value))
        }),
        _ => None,
    }
}

/// Managed instances have started the router too early.
fn managed_instances(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let Some(span) = asked(subject.task, "MANAGED_INSTANCES") else {
        return;
    };
    let users = subject.task.users().map(|(_, user)| user);
    let secret = users.filter(|user| {
        let log = user.log_configuration.as_ref();
        log.is_some_and(|log| !log.secret_options.is_empty())
    });
    let names: Vec<_> = secret.map(|user| user.name()).collect();
    if names.is_empty() {
        return;
    }
    let field = subject.field("secretOptions");
    let message = format!(
        "the task is for managed instances, and `{field}` of {} go through the router",
        list(names)
    );
    let outcome = "a race has been reported there (aws/amazon-ecs-agent issue 5084): the router starts before it has the \
                   variables of the secrets, and sends without them";
    let help = format!(
        "if the destination refuses records after a start, give the router the same values by its own `{}`, and use \
         these in its own file",
        subject.field("secrets")
    );
    found.push(note("FL0798", span, message).outcome(outcome).help(help));
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::lint;

    fn task(head: &str, secret: &str) -> String {
        format!(
            "family: web\n{head}containerDefinitions:
  - {{name: log_router, image: x, firelensConfiguration: {{type: fluentbit}}}}
  - name: app
    image: y
    logConfiguration: {{logDriver: awsfirelens, options: {{Name: datadog}}{secret}}}
"
        )
    }

    const BOTTLEROCKET: &str = "
placementConstraints:
  - {type: memberOf, expression: 'attribute:bottlerocket.variant == aws-ecs-2'}
";

    #[test]
    fn bottlerocket_must_be_new_enough() {
        insta::assert_snapshot!(lint(&task(BOTTLEROCKET, ""), &["FL0798"]));
        let plain = format!("family: web\n{BOTTLEROCKET}containerDefinitions: [{{name: app, image: y}}]\n");
        assert_eq!(lint(&plain, &["FL0798"]), "");
    }

    #[test]
    fn managed_instances_may_start_early() {
        let secret = ", secretOptions: [{name: apikey, valueFrom: /key}]";
        let managed = "requiresCompatibilities: [MANAGED_INSTANCES]\n";
        insta::assert_snapshot!(lint(&task(managed, secret), &["FL0798"]));
        assert_eq!(lint(&task(managed, ""), &["FL0798"]), "");
        assert_eq!(lint(&task("", secret), &["FL0798"]), "");
    }
}
