//! Health checks, and the time that containers are given.

use firelane_conf::units::OnOff;
use firelane_conf::{Diagnostic, Span};

use super::Subject;
use super::shared::{error, known, mode, note, warning};
use crate::firelens::{Dialect, HEALTH_PORT, Mode, external};
use crate::taskdef::{Container, Form, HealthCheck, Int};
use crate::text::Text;

/// Port of the monitoring server where none is given.
const HTTP_PORT: &str = "2020";
/// The recommended check of a router.
const UPTIME: &str = "[\"CMD-SHELL\", \"curl -f http://127.0.0.1:2020/api/v1/uptime || exit 1\"]";

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    for container in &subject.task.containers {
        if let Some(check) = &container.health_check {
            command(subject, container, check, found);
            ranges(subject, container, check, found);
        }
        timeouts(subject, container, found);
    }
    if let Some((router, dialect)) = subject.router() {
        match &router.health_check {
            Some(check) => router_check(subject, router, dialect, check, found),
            None => no_check(subject, router, dialect, found),
        }
    }
}

fn command(subject: &Subject<'_>, container: &Container, check: &HealthCheck, found: &mut Vec<Diagnostic>) {
    let (name, field) = (container.name(), subject.field("command"));
    let good =
        format!("write for example `{field}`: [\"CMD-SHELL\", \"curl -f http://localhost/ || exit 1\"]");
    let Some(first) = check.command.first() else {
        // In a template the list may come from an intrinsic.
        if subject.form == Form::Cli {
            let message = format!("the health check of container `{name}` has no command");
            let outcome = "the AWS CLI or RegisterTaskDefinition refuses it: the command is required";
            found.push(error("FL0751", check.span, message).outcome(outcome).help(good));
        }
        return;
    };
    let Some(word) = first.known() else { return };
    let rest = &check.command[1..];
    let (message, outcome, help) = match word {
        "NONE" => return,
        "CMD" | "CMD-SHELL" if rest.is_empty() => {
            let message =
                format!("the health check of container `{name}` is only `{word}`, without a command");
            let outcome = "RegisterTaskDefinition refuses it, or every check fails";
            found.push(error("FL0751", first.span, message).outcome(outcome).help(good));
            return;
        }
        "CMD" => match rest {
            [only] if only.known().is_some_and(|text| text.contains(' ')) => (
                format!(
                    "the health check of container `{name}` runs one program called `{}`",
                    only.as_str()
                ),
                "`CMD` starts a program without a shell, and there is none of this name: every check fails",
                "write `CMD-SHELL` for `CMD`, or each word as an element of its own".to_string(),
            ),
            _ => return,
        },
        "CMD-SHELL" if rest.len() > 1 => (
            format!(
                "the health check of container `{name}` gives `CMD-SHELL` {} texts",
                rest.len()
            ),
            "the shell runs the first one alone; the others are no part of the command",
            "write the whole command as one text behind `CMD-SHELL`".to_string(),
        ),
        "CMD-SHELL" => return,
        word => (
            format!("the health check of container `{name}` starts with `{word}`"),
            "the API's reference wants `CMD` or `CMD-SHELL` first; Docker runs no check then, so the container never \
             becomes healthy (on Fargate it has been seen to run)",
            first_word(word),
        ),
    };
    found.push(warning("FL0751", first.span, message).outcome(outcome).help(help));
}

/// What was meant by another first word.
fn first_word(word: &str) -> String {
    let upper = word.trim().to_ascii_uppercase();
    for known in ["CMD-SHELL", "CMD"] {
        match upper.strip_prefix(known) {
            Some("") => return format!("did you mean `{known}`?"),
            Some(rest) if rest.starts_with([' ', ',']) => {
                return format!(
                    "write `{known}` and the command as two elements of the list; the commas are the console's"
                );
            }
            _ => {}
        }
    }
    "put `CMD` (a program and its arguments) or `CMD-SHELL` (one text for the shell) in front".to_string()
}

fn ranges(subject: &Subject<'_>, container: &Container, check: &HealthCheck, found: &mut Vec<Diagnostic>) {
    for (field, value, least, most) in [
        ("interval", &check.interval, 5, 300),
        ("timeout", &check.timeout, 2, 60),
        ("retries", &check.retries, 1, 10),
        ("startPeriod", &check.start_period, 0, 300),
    ] {
        let what = format!(
            "`{}` of the health check of container `{}`",
            subject.field(field),
            container.name()
        );
        range(
            &what,
            value,
            (least, most),
            "RegisterTaskDefinition refuses it",
            found,
        );
    }
}

/// Fargate bounds the time that containers have.
fn timeouts(subject: &Subject<'_>, container: &Container, found: &mut Vec<Diagnostic>) {
    if subject.is_fargate() {
        for (field, value) in [
            ("startTimeout", &container.start_timeout),
            ("stopTimeout", &container.stop_timeout),
        ] {
            let what = format!("`{}` of container `{}`", subject.field(field), container.name());
            range(&what, value, (2, 120), "Fargate refuses it", found);
        }
    }
}

fn range(
    what: &str,
    value: &Option<Int>,
    (least, most): (i64, i64),
    refuses: &str,
    found: &mut Vec<Diagnostic>,
) {
    let (Some(place), Some(number)) = (value, known(value)) else {
        return;
    };
    if (least..=most).contains(&number) {
        return;
    }
    let unit = if what.contains("etries`") { "" } else { " seconds" };
    let message = format!("{what} is {number}");
    let outcome = format!("{refuses}: it may be {least} to {most}{unit}");
    let help = format!("write {}", number.clamp(least, most));
    found.push(error("FL0751", place.span, message).outcome(outcome).help(help));
}

fn no_check(subject: &Subject<'_>, router: &Container, dialect: Dialect, found: &mut Vec<Diagnostic>) {
    let field = subject.field("healthCheck");
    let message = format!("the router `{}` has no health check", router.name());
    let outcome = "a router that hangs is not noticed: the task goes on, its records are lost when Docker's buffer is full";
    let help = match (dialect, mode(subject.task)) {
        (Dialect::Fluentd, _) => {
            format!("add `{field}`, for example on a `monitor_agent` source in the router's own file")
        }
        (_, Some(Mode::Awsvpc | Mode::Bridge)) => format!(
            "set `HTTP_Server On` in the router's own file and add `{field}` with {UPTIME}; without a file: \
             [\"CMD-SHELL\", \"echo '{{\\\"health\\\": \\\"check\\\"}}' | nc 127.0.0.1 {HEALTH_PORT} || exit 1\"]"
        ),
        _ => format!("set `HTTP_Server On` in the router's own file and add `{field}` with {UPTIME}"),
    };
    found.push(
        note("FL0752", router.name_span(), message)
            .outcome(outcome)
            .help(help),
    );
}

/// A check of the router that asks where nobody listens.
fn router_check(
    subject: &Subject<'_>,
    router: &Container,
    dialect: Dialect,
    check: &HealthCheck,
    found: &mut Vec<Diagnostic>,
) {
    if is_started_otherwise(router) {
        return;
    }
    let asks = |port: &str| {
        let mut texts = check.command.iter().filter(|text| !text.open);
        texts.find(|text| has_number(text.as_str(), port))
    };
    if let Some(text) = asks(&HEALTH_PORT.to_string()) {
        health_port(subject, router, dialect, text.span, found);
    }
    let Some(text) = asks(HTTP_PORT).filter(|_| dialect == Dialect::FluentBit) else {
        return;
    };
    let name = router.name();
    let file = router
        .firelens_configuration
        .as_ref()
        .and_then(external)
        .is_some();
    let fails =
        "every check fails, the router counts as unhealthy, and a service replaces the task again and again";
    let asks = format!("the health check of the router `{name}` asks port {HTTP_PORT}");
    let diagnostic = match subject.config {
        Some(config) => {
            let Some((why, help)) = http_server(config, text) else { return };
            error("FL0753", text.span, format!("{asks}, but {why}")).help(help)
        }
        None if !file => warning("FL0753", text.span, format!("{asks}, but it has no file of its own")).help(
            "the generated file has no HTTP server: give the router a file with `HTTP_Server On`; or check with `nc \
             127.0.0.1 8877` in awsvpc and bridge mode",
        ),
        None => return,
    };
    found.push(diagnostic.outcome(fails));
}

/// Why a check fails in the monitoring server of a configuration, and the cure.
fn http_server(config: &firelane_conf::Config, check: &Text) -> Option<(String, String)> {
    let value = |key: &str| {
        let entry = config.service.as_ref()?.get(key)?;
        Some(entry.value.value.as_str())
    };
    let on = |key: &str| {
        value(key)
            .and_then(|text| text.parse::<OnOff>().ok())
            .is_some_and(|on| on.0)
    };
    let health = ["/api/v1/health", "/api/v2/health"]
        .iter()
        .any(|path| check.as_str().contains(path));
    let (why, help) = match value("http_port").map_or(HTTP_PORT, str::trim) {
        _ if !on("http_server") => (
            "`HTTP_Server` is not on in its file".to_string(),
            "set `HTTP_Server On` in the `[SERVICE]` of the router's own file; images of AWS have one ready: \
             `/fluent-bit/configs/output-metrics-healthcheck.conf`"
                .to_string(),
        ),
        port if port != HTTP_PORT => (
            format!("its file has `HTTP_Port {port}`"),
            format!("ask port {port}, or write `HTTP_Port {HTTP_PORT}`"),
        ),
        _ if health && !on("health_check") => (
            "`Health_Check` is not on in its file".to_string(),
            "set `Health_Check On` in the `[SERVICE]` of the router's own file, or ask `/api/v1/uptime`".to_string(),
        ),
        _ => return None,
    };
    Some((why, help))
}

fn health_port(
    subject: &Subject<'_>,
    router: &Container,
    dialect: Dialect,
    span: Span,
    found: &mut Vec<Diagnostic>,
) {
    let file = router
        .firelens_configuration
        .as_ref()
        .and_then(external)
        .is_some();
    let why = match (dialect, mode(subject.task)) {
        (Dialect::Fluentd, _) => "ECS generates no such input for fluentd".to_string(),
        (_, Some(Mode::Other(word))) => format!("ECS generates no such input in network mode `{word}`"),
        _ => return,
    };
    // A file of the user's own may have the input; one that is read tells.
    let inputs = subject.config.iter().flat_map(|config| &config.inputs);
    let mut ports = inputs.filter_map(|input| input.get("port"));
    if ports.any(|port| port.value.value.trim() == HEALTH_PORT.to_string()) {
        return;
    }
    let message = format!(
        "the health check of the router `{}` asks port {HEALTH_PORT}, but {why}",
        router.name()
    );
    let outcome =
        "every check fails, the router counts as unhealthy, and a service replaces the task again and again";
    let help = match dialect {
        Dialect::FluentBit => {
            format!("set `HTTP_Server On` in the router's own file and check with {UPTIME}")
        }
        Dialect::Fluentd => {
            "ask a source of the router's own file, for example `monitor_agent` on port 24220".to_string()
        }
    };
    let sure = !file || subject.config.is_some();
    let diagnostic = match sure {
        true => error("FL0753", span, message),
        false => warning("FL0753", span, message),
    };
    found.push(diagnostic.outcome(outcome).help(help));
}

/// Whether the router may run with another configuration than the generated one.
fn is_started_otherwise(router: &Container) -> bool {
    let init = |name: &Text| name.as_str().to_ascii_lowercase().contains("aws_fluent_bit_init");
    let mut names = router.environment.iter().filter_map(|pair| pair.name.as_ref());
    !router.command.is_empty() || !router.entry_point.is_empty() || names.any(init)
}

/// Whether a number stands in a text, not as a part of a longer one.
fn has_number(text: &str, number: &str) -> bool {
    text.match_indices(number).any(|(at, _)| {
        let digit = |c: char| c.is_ascii_digit();
        !text[..at].ends_with(digit) && !text[at + number.len()..].starts_with(digit)
    })
}

#[cfg(test)]
mod tests {
    use crate::context::Given;
    use crate::lint::testing::{lint, lint_with};

    fn app(check: &str) -> String {
        format!("family: web\ncontainerDefinitions:\n  - {{name: app, image: y, healthCheck: {{{check}}}}}\n")
    }

    #[test]
    fn commands_say_how_they_run() {
        let lint = |check| lint(&app(check), &["FL0751"]);
        insta::assert_snapshot!(lint("command: []"));
        insta::assert_snapshot!(lint("command: [CMD-SHELL]"));
        insta::assert_snapshot!(lint("command: [curl, -f, 'http://localhost/']"));
        insta::assert_snapshot!(lint(
            "command: ['CMD-SHELL, curl -f http://localhost/ || exit 1']"
        ));
        insta::assert_snapshot!(lint("command: [cmd-shell, curl localhost]"));
        insta::assert_snapshot!(lint("command: [CMD, curl -f http://localhost/]"));
        insta::assert_snapshot!(lint("command: [CMD-SHELL, curl, -f, 'http://localhost/']"));
        assert_eq!(lint("command: [CMD, /healthcheck]"), "");
        assert_eq!(lint("command: [CMD-SHELL, curl localhost || exit 1]"), "");
    }

    #[test]
    fn numbers_have_ranges() {
        let check = "command: [CMD, /c], interval: 1, timeout: 120, retries: 11, startPeriod: 301";
        insta::assert_snapshot!(lint(&app(check), &["FL0751"]));
        let good = "command: [CMD, /c], interval: 5, timeout: 60, retries: 1, startPeriod: 0";
        assert_eq!(lint(&app(good), &["FL0751"]), "");
    }

    #[test]
    fn fargate_bounds_timeouts() {
        let task = "
family: web
requiresCompatibilities: [FARGATE]
containerDefinitions:
  - {name: app, image: y, stopTimeout: 300, startTimeout: 1}
";
        insta::assert_snapshot!(lint(task, &["FL0751"]));
        assert_eq!(lint(&task.replace("FARGATE", "EC2"), &["FL0751"]), "");
    }

    fn routed(mode: &str, router: &str) -> String {
        format!(
            "family: web\nnetworkMode: {mode}\ncontainerDefinitions:
  - {{name: log_router, image: x, firelensConfiguration: {{type: fluentbit}}{router}}}
  - {{name: app, image: y, logConfiguration: {{logDriver: awsfirelens, options: {{Name: stdout}}}}}}
"
        )
    }

    const TCP: &str = ", healthCheck: {command: [CMD-SHELL, echo x | nc 127.0.0.1 8877 || exit 1]}";
    const HTTP: &str =
        ", healthCheck: {command: [CMD-SHELL, 'curl -f http://127.0.0.1:2020/api/v1/health || exit 1']}";

    #[test]
    fn a_router_should_have_a_check() {
        insta::assert_snapshot!(lint(&routed("awsvpc", ""), &["FL0752"]));
        insta::assert_snapshot!(lint(&routed("host", ""), &["FL0752"]));
        insta::assert_snapshot!(lint(
            &routed("awsvpc", "").replace("fluentbit", "fluentd"),
            &["FL0752"]
        ));
        assert_eq!(lint(&routed("awsvpc", TCP), &["FL0752"]), "");
    }

    #[test]
    fn the_health_port_is_not_everywhere() {
        insta::assert_snapshot!(lint(&routed("host", TCP), &["FL0753"]));
        let fluentd = routed("awsvpc", TCP).replace("fluentbit", "fluentd");
        insta::assert_snapshot!(lint(&fluentd, &["FL0753"]));
        let file = routed("host", TCP).replace(
            "{type: fluentbit}",
            "{type: fluentbit, options: {config-file-type: file, config-file-value: /extra.conf}}",
        );
        insta::assert_snapshot!(lint(&file, &["FL0753"]));
        assert_eq!(lint(&routed("awsvpc", TCP), &["FL0753"]), "");
        assert_eq!(lint(&routed("bridge", TCP), &["FL0753"]), "");
    }

    #[test]
    fn the_monitoring_server_is_off_by_default() {
        insta::assert_snapshot!(lint(&routed("awsvpc", HTTP), &["FL0753"]));
        let with = |config| {
            lint_with(
                &routed("awsvpc", HTTP),
                &["FL0753"],
                &Given::default(),
                Some(config),
            )
        };
        insta::assert_snapshot!(with("[SERVICE]\n    Flush 1\n"));
        insta::assert_snapshot!(with("[SERVICE]\n    HTTP_Server On\n    HTTP_Port 2021\n"));
        insta::assert_snapshot!(with("[SERVICE]\n    HTTP_Server On\n"));
        assert_eq!(with("[SERVICE]\n    HTTP_Server On\n    Health_Check On\n"), "");
    }

    #[test]
    fn what_cannot_be_seen_is_not_judged() {
        let other = format!("{HTTP}, command: [/fluent-bit/bin/fluent-bit, -c, /alt.conf]");
        assert_eq!(lint(&routed("awsvpc", &other), &["FL0753"]), "");
        let init =
            format!("{HTTP}, environment: [{{name: aws_fluent_bit_init_s3_1, value: 'arn:aws:s3:::b/c'}}]");
        assert_eq!(lint(&routed("awsvpc", &init), &["FL0753"]), "");
    }
}
