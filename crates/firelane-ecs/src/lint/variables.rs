//! The variables that tell a container where the router listens: `FLUENT_HOST`, `FLUENT_PORT`.

use firelane_conf::{Diagnostic, Span};

use super::Subject;
use super::shared::{mode, note, warning};
use crate::firelens::{FORWARD_PORT, Mode};
use crate::taskdef::Container;
use crate::text::Text;

/// What the agent gives to users of the router.
const VARIABLES: [&str; 2] = ["FLUENT_HOST", "FLUENT_PORT"];

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let (Some(mode), Some(_)) = (mode(subject.task), subject.router()) else {
        return;
    };
    for container in &subject.task.containers {
        let open = container.driver().is_some_and(|driver| driver.open);
        if open {
            continue;
        }
        for variable in VARIABLES {
            used(subject, &mode, container, variable, found);
            set(&mode, container, variable, found);
        }
        unexpanded(container, found);
    }
}

/// Commands with a variable that nobody sets.
fn used(
    subject: &Subject<'_>,
    mode: &Mode,
    container: &Container,
    variable: &str,
    found: &mut Vec<Diagnostic>,
) {
    let health = container.health_check.iter().flat_map(|check| &check.command);
    let texts = container
        .entry_point
        .iter()
        .chain(&container.command)
        .chain(health);
    let mut known = texts.filter(|text| !text.open);
    let Some(text) = known.find(|text| refers(text.as_str(), variable)) else {
        return;
    };
    let names = container.environment.iter().map(|pair| &pair.name);
    let secrets = container.secrets.iter().map(|secret| &secret.name);
    let own = names
        .chain(secrets)
        .flatten()
        .any(|name| name.open || name.is(variable));
    if own || !container.environment_files.is_empty() {
        return;
    }
    let name = container.name();
    let (outcome, help) = match (mode, container.uses_firelens()) {
        (Mode::Awsvpc | Mode::Bridge, true) => return,
        (Mode::Other(word), _) => (
            format!("in network mode `{word}` ECS makes no TCP listener for the router and gives nobody `{variable}`: it is empty"),
            format!(
                "log to stdout; or use network mode `awsvpc`; or add a `forward` input to the router's own file and set \
                 `{variable}` in `{}`",
                subject.field("environment")
            ),
        ),
        (Mode::Awsvpc, false) => (
            format!("ECS gives `{variable}` only to containers with the log driver `awsfirelens`: here it is empty"),
            format!("set the log driver `awsfirelens`, or write the address itself: 127.0.0.1, port {FORWARD_PORT}"),
        ),
        (Mode::Bridge, false) => (
            format!("ECS gives `{variable}` only to containers with the log driver `awsfirelens`: here it is empty"),
            "set the log driver `awsfirelens`; the router's address in bridge mode is known from nowhere else".into(),
        ),
    };
    let message = format!("container `{name}` uses `{variable}`, which nothing sets");
    found.push(warning("FL0728", text.span, message).outcome(outcome).help(help));
}

/// Values that the agent replaces.
fn set(mode: &Mode, container: &Container, variable: &str, found: &mut Vec<Diagnostic>) {
    let given = match mode {
        Mode::Awsvpc if variable == "FLUENT_HOST" => "127.0.0.1".to_string(),
        Mode::Bridge if variable == "FLUENT_HOST" => "the router's address".to_string(),
        Mode::Other(_) => return,
        _ => FORWARD_PORT.to_string(),
    };
    let mut pairs = container.environment.iter().filter(|_| container.uses_firelens());
    let pair = pairs.find(|pair| pair.name.as_ref().is_some_and(|name| name.is(variable)));
    let Some(value) = pair
        .and_then(|pair| pair.value.as_ref())
        .filter(|value| !value.open)
    else {
        return;
    };
    if value.as_str() == given {
        return;
    }
    let name = container.name();
    let message = format!(
        "container `{name}` sets `{variable}` to `{}`, but ECS replaces it",
        value.as_str()
    );
    let outcome =
        format!("a container with the log driver `awsfirelens` gets {given} instead of the value here");
    let help = "give the variable another name that the application reads, or leave it to ECS";
    found.push(warning("FL0728", value.span, message).outcome(outcome).help(help));
}

/// Values that hope to be expanded.
fn unexpanded(container: &Container, found: &mut Vec<Diagnostic>) {
    let values = container
        .environment
        .iter()
        .filter_map(|pair| pair.value.as_ref());
    for value in values.filter(|value| !value.open) {
        let text = value.as_str();
        let round = VARIABLES
            .iter()
            .find(|variable| text.contains(&format!("$({variable})")));
        if let Some(variable) = round {
            found.push(taken_as_is(container, value, variable, warning));
        } else if let Some(variable) = VARIABLES.iter().find(|variable| refers(text, variable)) {
            found.push(taken_as_is(container, value, variable, note));
        }
    }
}

fn taken_as_is(
    container: &Container,
    value: &Text,
    variable: &str,
    make: fn(&'static str, Span, String) -> Diagnostic,
) -> Diagnostic {
    let message = format!(
        "a variable of container `{}` refers to `{variable}`",
        container.name()
    );
    let outcome = format!(
        "ECS expands nothing in values: the container gets `{}` as it stands here",
        value.as_str()
    );
    let help = "put it together in the container, where the variable is set: in its command with a shell, or in the \
                application";
    make("FL0728", value.span, message).outcome(outcome).help(help)
}

/// Whether a text has `$NAME` or `${NAME…}`.
fn refers(text: &str, variable: &str) -> bool {
    text.match_indices(variable).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + variable.len()..]);
        let goes_on = after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        (before.ends_with('$') || before.ends_with("${")) && !goes_on
    })
}

#[cfg(test)]
mod tests {
    use super::refers;
    use crate::lint::testing::lint;

    const ROUTER: &str = "
  - {name: log_router, image: x, firelensConfiguration: {type: fluentbit}}
  - name: app
    image: y
    logConfiguration: {logDriver: awsfirelens, options: {Name: stdout}}
";

    fn task(mode: &str, rest: &str) -> String {
        format!("family: web\nnetworkMode: {mode}\ncontainerDefinitions:{ROUTER}{rest}")
    }

    #[test]
    fn nothing_is_set_in_host_mode() {
        let command = "    command: [sh, -c, 'send --to $FLUENT_HOST:${FLUENT_PORT}']\n";
        insta::assert_snapshot!(lint(&task("host", command), &["FL0728"]));
        assert_eq!(lint(&task("awsvpc", command), &["FL0728"]), "");
        assert_eq!(lint(&task("bridge", command), &["FL0728"]), "");
        let own = "    command: [sh, -c, 'send $FLUENT_HOST']\n    environment: [{name: FLUENT_HOST, value: logs}]\n";
        assert_eq!(lint(&task("host", own), &["FL0728"]), "");
    }

    #[test]
    fn only_users_are_told() {
        let other = "  - {name: job, image: z, entryPoint: [sh, -c, 'send ${FLUENT_HOST:-x}']}\n";
        insta::assert_snapshot!(lint(&task("awsvpc", other), &["FL0728"]));
        insta::assert_snapshot!(lint(&task("bridge", other), &["FL0728"]));
    }

    #[test]
    fn values_are_replaced_and_never_expanded() {
        let environment = "    environment:
      - {name: FLUENT_HOST, value: logs.example.com}
      - {name: FLUENT_PORT, value: '24224'}
      - {name: LOG_URL, value: 'tcp://$(FLUENT_HOST):24224'}
      - {name: SPRING_URL, value: 'tcp://${FLUENT_HOST}:24224'}
";
        insta::assert_snapshot!(lint(&task("awsvpc", environment), &["FL0728"]));
    }

    #[test]
    fn other_names_are_no_reference() {
        assert!(refers("x $FLUENT_HOST:1", "FLUENT_HOST"));
        assert!(!refers(
            "$FLUENT_HOSTNAME FLUENT_HOST ${MY_FLUENT_HOST}",
            "FLUENT_HOST"
        ));
    }
}
