//! Log drivers and their options.

use firelane_conf::{Diagnostic, suggest};

use super::Subject;
use super::shared::{asked, error, list};
use crate::context::LaunchType;
use crate::firelens::refuse::Stage;
use crate::firelens::{BUFFER_LIMIT, EXCLUDE, INCLUDE};
use crate::taskdef::{AWSFIRELENS, Container, Form, LogConfiguration, TaskDefinition};
use crate::text::Text;

/// Drivers of the API.
const DRIVERS: &[&str] = &[
    AWSFIRELENS,
    "awslogs",
    "fluentd",
    "gelf",
    "journald",
    "json-file",
    "splunk",
    "syslog",
];
/// Drivers that Fargate has.
const FARGATE: &[&str] = &[AWSFIRELENS, "awslogs", "splunk"];
/// Options that only the log router takes.
const ROUTER_OPTIONS: &[&str] = &[
    "@type",
    "Match",
    "Name",
    BUFFER_LIMIT,
    EXCLUDE,
    INCLUDE,
    "delivery_stream",
    "log_group_name",
    "log_key",
    "log_stream_name",
    "log_stream_prefix",
];
/// Options of Docker that go with several drivers; whether ECS lets all of them through to `awslogs` is not
/// known.
const COMMON: &[&str] = &[
    "env",
    "env-regex",
    "labels",
    "labels-regex",
    "max-buffer-size",
    "mode",
    "tag",
];

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    for container in &subject.task.containers {
        let Some(log) = &container.log_configuration else {
            continue;
        };
        let Some(driver) = log.driver.as_ref().filter(|driver| !driver.open) else {
            continue;
        };
        exists(subject, container, driver, found);
        if driver.as_str() != AWSFIRELENS && DRIVERS.contains(&driver.as_str()) {
            required(subject, container, log, driver, found);
        }
    }
}

/// Options for which the API refuses the task.
pub(crate) fn refused(task: &TaskDefinition, found: &mut Vec<Diagnostic>) {
    for container in &task.containers {
        let Some(log) = &container.log_configuration else {
            continue;
        };
        let driver = log.driver.as_ref().filter(|driver| !driver.open);
        let other = |driver: &&Text| driver.as_str() != AWSFIRELENS && DRIVERS.contains(&driver.as_str());
        if let Some(driver) = driver.filter(other) {
            disallowed(container, log, driver, found);
        }
    }
}

fn exists(subject: &Subject<'_>, container: &Container, driver: &Text, found: &mut Vec<Diagnostic>) {
    let (name, word) = (container.name(), driver.as_str());
    if !DRIVERS.contains(&word) {
        let message = format!("container `{name}` has the log driver `{word}`, which does not exist on ECS");
        let outcome = "RegisterTaskDefinition refuses it: the field takes the API's own words, in lower case";
        let lower = word.to_ascii_lowercase();
        let help = match suggest::nearest(word, DRIVERS.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if ["firelens", "fluent-bit", "fluentbit"]
                .iter()
                .any(|part| lower.contains(part)) =>
            {
                format!("did you mean `{AWSFIRELENS}`? it sends to the task's log router")
            }
            None => format!("known are {}", list(DRIVERS.iter().copied())),
        };
        found.push(error("FL0763", driver.span, message).outcome(outcome).help(help));
    } else if subject.is_fargate() && !FARGATE.contains(&word) {
        let message = format!("container `{name}` has the log driver `{word}`, which Fargate does not have");
        let outcome = match asked(subject.task, "FARGATE") {
            Some(_) => "RegisterTaskDefinition refuses it: tasks for Fargate log with `awslogs`, `splunk` or `awsfirelens`"
                .to_string(),
            None => Stage::Run.says("Task definition does not support launch_type FARGATE."),
        };
        let help = match word {
            "fluentd" => {
                format!("take `{AWSFIRELENS}` with a router that has the output `forward` to your host")
            }
            "gelf" => format!("take `{AWSFIRELENS}` with the output `gelf`"),
            "syslog" => format!("take `{AWSFIRELENS}` with the output `syslog`"),
            _ => format!("take `{AWSFIRELENS}` with a router, or `awslogs`"),
        };
        found.push(error("FL0763", driver.span, message).outcome(outcome).help(help));
    }
}

/// Options that the driver does not take.
fn disallowed(container: &Container, log: &LogConfiguration, driver: &Text, found: &mut Vec<Diagnostic>) {
    let word = driver.as_str();
    let fits = |key: &str| match word {
        "awslogs" => key.starts_with("awslogs-") || COMMON.contains(&key),
        // Of the others only those are named that surely belong to a log router.
        _ => !ROUTER_OPTIONS.contains(&key),
    };
    let bad: Vec<_> = log
        .options
        .iter()
        .map(|(key, _)| key)
        .filter(|key| !fits(&key.value))
        .collect();
    let Some(first) = bad.first() else { return };
    let names: Vec<_> = bad.iter().map(|key| key.value.as_str()).collect();
    let message = format!(
        "container `{}` has options that the log driver `{word}` does not take: {}",
        container.name(),
        list(names.iter().copied())
    );
    let text = format!("Log driver {word} disallows options: {}", names.join(", "));
    let help = match names.iter().any(|name| ROUTER_OPTIONS.contains(name)) {
        true => format!("for a log router write the driver `{AWSFIRELENS}`; for `{word}` take them out"),
        false => format!("take them out; options of `{word}` start with `{word}-`"),
    };
    found.push(
        error("FL0764", first.span, message)
            .outcome(Stage::Register.says(&text))
            .help(help),
    );
}

/// Options that the driver must have.
fn required(
    subject: &Subject<'_>,
    container: &Container,
    log: &LogConfiguration,
    driver: &Text,
    found: &mut Vec<Diagnostic>,
) {
    // In a template the options may come from an intrinsic.
    if log.options.is_empty() && subject.form == Form::Cfn {
        return;
    }
    let secret = |key: &str| {
        log.secret_options
            .iter()
            .any(|secret| secret.name.as_ref().is_some_and(|name| name.is(key)))
    };
    let missing = |keys: &[&'static str]| -> Vec<&'static str> {
        let absent = |key: &&&str| log.options.get(key).is_none() && !secret(key);
        keys.iter().filter(absent).copied().collect()
    };
    let (name, word) = (container.name(), driver.as_str());
    let needs: &[&'static str] = match word {
        "awslogs" => &["awslogs-region", "awslogs-group"],
        "splunk" => &["splunk-token", "splunk-url"],
        _ => return,
    };
    let lacks = missing(needs);
    let message = |keys: &[&str]| {
        format!(
            "the log driver `{word}` of container `{name}` lacks {}",
            list(keys.iter().copied())
        )
    };
    if !lacks.is_empty() {
        let text = format!("Log driver {word} requires options: {}", lacks.join(", "));
        let help = match word {
            "awslogs" => format!(
                "add them to `{}`, for example `awslogs-group: /ecs/web`, `awslogs-region: {}`",
                subject.field("options"),
                subject.context.region
            ),
            _ => format!(
                "add them; a token belongs into `{}`",
                subject.field("secretOptions")
            ),
        };
        found.push(
            error("FL0764", driver.span, message(&lacks))
                .outcome(Stage::Register.says(&text))
                .help(help),
        );
    }
    let prefix = missing(&["awslogs-stream-prefix"]);
    let fargate =
        subject.context.launch_type == LaunchType::Fargate || asked(subject.task, "FARGATE").is_some();
    if word == "awslogs" && fargate && !prefix.is_empty() {
        let text = "Fargate requires log configuration options to include awslogs-stream-prefix to support log driver awslogs.";
        let outcome = match asked(subject.task, "FARGATE") {
            Some(_) => Stage::Register.says(text),
            None => Stage::Run.says("Task definition does not support launch_type FARGATE."),
        };
        found.push(
            error("FL0764", driver.span, message(&prefix))
                .outcome(outcome)
                .help("add it, for example `awslogs-stream-prefix: web`: streams are called prefix/container/task"),
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::lint;

    fn task(head: &str, log: &str) -> String {
        format!(
            "family: web\n{head}containerDefinitions:\n  - {{name: app, image: y, logConfiguration: {{{log}}}}}\n"
        )
    }

    const FARGATE: &str = "requiresCompatibilities: [FARGATE]\n";

    #[test]
    fn drivers_are_the_api_s() {
        let lint = |driver: &str| lint(&task("", &format!("logDriver: {driver}")), &["FL0763"]);
        insta::assert_snapshot!(lint("awsLogs"));
        insta::assert_snapshot!(lint("awsfirelense"));
        insta::assert_snapshot!(lint("firelens"));
        insta::assert_snapshot!(lint("none"));
        for driver in super::DRIVERS {
            assert_eq!(lint(driver), "", "{driver}");
        }
    }

    #[test]
    fn fargate_has_three() {
        let lint = |driver: &str| lint(&task(FARGATE, &format!("logDriver: {driver}")), &["FL0763"]);
        insta::assert_snapshot!(lint("fluentd"));
        insta::assert_snapshot!(lint("json-file"));
        assert_eq!(lint("splunk"), "");
    }

    #[test]
    fn options_belong_to_drivers() {
        let options = "options: {awslogs-group: g, awslogs-region: r, Name: cloudwatch_logs, log_key: log}";
        insta::assert_snapshot!(lint(
            &task("", &format!("logDriver: awslogs, {options}")),
            &["FL0764"]
        ));
        let size = "logDriver: awslogs, options: {awslogs-group: g, awslogs-region: r, max-size: 10m}";
        insta::assert_snapshot!(lint(&task("", size), &["FL0764"]));
        let json = "logDriver: json-file, options: {max-size: 10m, log-driver-buffer-limit: '100'}";
        insta::assert_snapshot!(lint(&task("", json), &["FL0764"]));
        let good = "logDriver: awslogs, options: {awslogs-group: g, awslogs-region: r, awslogs-create-group: 'true', \
                    mode: non-blocking, max-buffer-size: 25m}";
        assert_eq!(lint(&task("", good), &["FL0764"]), "");
        let good = "logDriver: fluentd, options: {fluentd-address: 'host:24224', tag: app}";
        assert_eq!(lint(&task("", good), &["FL0764"]), "");
    }

    #[test]
    fn some_options_are_required() {
        insta::assert_snapshot!(lint(&task("", "logDriver: awslogs"), &["FL0764"]));
        insta::assert_snapshot!(lint(
            &task("", "logDriver: awslogs, options: {awslogs-group: g}"),
            &["FL0764"]
        ));
        let both = "logDriver: awslogs, options: {awslogs-group: g, awslogs-region: r}";
        insta::assert_snapshot!(lint(&task(FARGATE, both), &["FL0764"]));
        insta::assert_snapshot!(lint(
            &task("", "logDriver: splunk, options: {splunk-url: u}"),
            &["FL0764"]
        ));
        let secret = "logDriver: splunk, options: {splunk-url: u}, secretOptions: [{name: splunk-token, valueFrom: /t}]";
        assert_eq!(lint(&task("", secret), &["FL0764"]), "");
        assert_eq!(lint(&task("", both), &["FL0764"]), "");
    }
}
