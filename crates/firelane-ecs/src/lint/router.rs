//! The router as a container: whether the task ends with it, where its own log goes, as whom it runs.

use firelane_conf::Diagnostic;

use super::Subject;
use super::shared::{error, known, mode, note, warning};
use crate::context::LaunchType;
use crate::firelens::refuse::Stage;
use crate::firelens::{Dialect, External, Mode, external, socket_owner};
use crate::taskdef::{Container, Flag};

/// Seconds that a container has to stop where nothing is said.
const STOP_TIMEOUT: i64 = 30;
/// Seconds that Fluent Bit takes to drain where nothing is said.
const GRACE: i64 = 5;
/// Most exit codes of a restart policy.
const EXIT_CODES_MAX: usize = 50;
/// Files of AWS's images that have a grace of 30 seconds.
const LONG_GRACE: &[&str] = &[
    "/fluent-bit/configs/minimize-log-loss.conf",
    "/fluent-bit/configs/output-metrics-healthcheck.conf",
    "/fluent-bit/configs/parse-json.conf",
];

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    windows(subject, found);
    nothing_essential(subject, found);
    for container in &subject.task.containers {
        restart_policy(subject, container, found);
    }
    let Some((router, dialect)) = subject.router() else {
        return;
    };
    essential(subject, router, found);
    restart(subject, router, found);
    own_log(subject, router, found);
    user(subject, router, dialect, found);
    stop_timeout(subject, router, dialect, found);
}

/// FireLens is for Linux.
fn windows(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let task = subject.task;
    let uses = task.router().is_some() || task.users().next().is_some();
    let os = task
        .runtime_platform
        .as_ref()
        .and_then(|platform| platform.os.as_ref());
    let Some(os) = os.filter(|_| uses && task.is_windows()) else {
        return;
    };
    let message = format!("the task is for `{}`, where there is no FireLens", os.as_str());
    let outcome =
        "agents on Windows do not offer a log router: no instance takes the task, and Fargate refuses it";
    let help = "run Fluent Bit once on each instance as a daemon and let the containers log to it with the driver \
                `fluentd` (127.0.0.1:24224), or use `awslogs`";
    found.push(error("FL0758", os.span, message).outcome(outcome).help(help));
}

/// A task needs one essential container.
fn nothing_essential(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let containers = &subject.task.containers;
    let off = |container: &Container| container.essential.as_ref().and_then(Flag::known) == Some(false);
    let Some(first) = containers.first().filter(|_| containers.iter().all(off)) else {
        return;
    };
    let span = first.essential.as_ref().map_or(first.span, |flag| flag.span);
    let field = subject.field("essential");
    let message = format!(
        "no container of the task is essential, `{}` neither",
        first.name()
    );
    let outcome =
        "RegisterTaskDefinition refuses it: a task ends with its essential containers, so it needs one";
    let help = format!("take `{field}: false` from the application's container, and from the router");
    found.push(error("FL0760", span, message).outcome(outcome).help(help));
}

fn essential(subject: &Subject<'_>, router: &Container, found: &mut Vec<Diagnostic>) {
    let Some(flag) = router
        .essential
        .as_ref()
        .filter(|flag| flag.known() == Some(false))
    else {
        return;
    };
    let field = subject.field("essential");
    let message = format!("the router `{}` has `{field}: false`", router.name());
    let outcome = "when it ends, the task goes on, and the records of its containers are lost without a word";
    let help = format!("write `{field}: true`, or leave it out: a service then replaces the task");
    found.push(warning("FL0754", flag.span, message).outcome(outcome).help(help));
}

/// Whether the router comes back by itself, and whether it should.
fn restart(subject: &Subject<'_>, router: &Container, found: &mut Vec<Diagnostic>) {
    let field = subject.field("restartPolicy");
    let name = router.name();
    let enabled = router
        .restart_policy
        .as_ref()
        .and_then(|policy| policy.enabled.as_ref());
    if enabled.is_some_and(|flag| flag.known().is_none()) {
        return;
    }
    match (mode(subject.task), enabled.filter(|flag| flag.value)) {
        (Some(Mode::Bridge), Some(flag)) => {
            let message = format!("the router `{name}` is restarted in bridge mode");
            let outcome = "the restarted router may get another address, while its users keep the old one in \
                           `FLUENT_HOST`: what they send there is lost";
            let help = format!(
                "take `{field}` out and let the task end with the router; or use network mode `awsvpc`, where the \
                 address stays; it does no harm where containers log to stdout only"
            );
            found.push(warning("FL0755", flag.span, message).outcome(outcome).help(help));
        }
        // In bridge mode none is right.
        (None | Some(Mode::Bridge), _) | (_, Some(_)) => {}
        (_, None) => {
            let message = format!("the router `{name}` has no restart policy");
            let outcome = match router.is_essential() {
                true => "when it ends, the whole task ends and is replaced",
                false => "when it ends, it does not come back",
            };
            let enabled = subject.field("enabled");
            let help = format!(
                "`{field}: {{{enabled}: true}}` starts the router alone again, if it has run for 300 seconds"
            );
            found.push(
                note("FL0755", router.name_span(), message)
                    .outcome(outcome)
                    .help(help),
            );
        }
    }
}

/// Where messages of the router itself go.
fn own_log(subject: &Subject<'_>, router: &Container, found: &mut Vec<Diagnostic>) {
    if router.log_configuration.is_some() {
        return;
    }
    let field = subject.field("logConfiguration");
    let message = format!("the router `{}` has no `{field}` of its own", router.name());
    let help = format!(
        "add `{field}` with the driver `awslogs`: it tells why a destination refuses records, when they cannot go there"
    );
    let diagnostic = match subject.context.launch_type {
        LaunchType::Fargate => warning("FL0756", router.name_span(), message)
            .outcome("its messages are lost: nobody sees why records do not arrive"),
        _ => note("FL0756", router.name_span(), message)
            .outcome("its messages stay on the instance, in Docker's own log, and go with the container"),
    };
    found.push(diagnostic.help(help));
}

/// A router that does not run as root.
fn user(subject: &Subject<'_>, router: &Container, dialect: Dialect, found: &mut Vec<Diagnostic>) {
    let Some(user) = router.user.as_ref().filter(|user| !user.value.is_empty()) else {
        return;
    };
    let owner = user.known().and_then(|user| socket_owner(user).ok());
    if owner.is_none_or(|owner| owner.starts_with("0:")) {
        return;
    }
    let message = format!(
        "the router `{}` does not run as root, but as `{}`",
        router.name(),
        user.as_str()
    );
    let text = "If 'user' field is specified on firelens container, then 'UID' has to be '0'.";
    let fluentd = match dialect {
        Dialect::Fluentd => "; fluentd is given `FLUENT_UID=0` all the same",
        Dialect::FluentBit => "",
    };
    let outcome = format!(
        "agents before 1.96.0 leave the socket's folder to root, so that the router cannot make its socket there and \
         gets no records{fluentd}; the API may refuse it as well: {}",
        Stage::Register.says(text)
    );
    let field = subject.field("user");
    let help = format!(
        "leave `{field}` out, unless all instances have agent 1.96.0 or newer and the image can run so"
    );
    found.push(warning("FL0757", user.span, message).outcome(outcome).help(help));
}

/// Bounds of restart policies, of any container.
fn restart_policy(subject: &Subject<'_>, container: &Container, found: &mut Vec<Diagnostic>) {
    let Some(policy) = &container.restart_policy else {
        return;
    };
    let name = container.name();
    let period = known(&policy.attempt_period).filter(|period| !(60..=1800).contains(period));
    if let (Some(place), Some(period)) = (&policy.attempt_period, period) {
        let message = format!(
            "`{}` of container `{name}` is {period}",
            subject.field("restartAttemptPeriod")
        );
        let outcome = "RegisterTaskDefinition refuses it: it may be 60 to 1800 seconds";
        let help = format!("write {}", period.clamp(60, 1800));
        found.push(error("FL0759", place.span, message).outcome(outcome).help(help));
    }
    if let Some(first) = policy.ignored_exit_codes.get(EXIT_CODES_MAX) {
        let count = policy.ignored_exit_codes.len();
        let message = format!(
            "`{}` of container `{name}` has {count} numbers",
            subject.field("ignoredExitCodes")
        );
        let outcome = format!("RegisterTaskDefinition refuses it: {EXIT_CODES_MAX} are possible");
        found.push(
            error("FL0759", first.span, message)
                .outcome(outcome)
                .help("leave the rest out"),
        );
    }
}

/// Time to send what is left when the task stops.
fn stop_timeout(subject: &Subject<'_>, router: &Container, dialect: Dialect, found: &mut Vec<Diagnostic>) {
    if dialect != Dialect::FluentBit
        || router
            .stop_timeout
            .as_ref()
            .is_some_and(|stop| stop.known().is_none())
    {
        return;
    }
    let stop = known(&router.stop_timeout).unwrap_or(STOP_TIMEOUT);
    let firelens = router.firelens_configuration.as_ref();
    let file = match firelens.and_then(external) {
        Some(External::File(path)) => path.known(),
        _ => None,
    };
    let service = subject.config.and_then(|config| config.service.as_ref());
    let own = service.and_then(|service| service.get("grace")?.value.value.trim().parse::<i64>().ok());
    let (grace, whose) = match own {
        Some(grace) => (grace, "its own file says so"),
        None if subject.config.is_none() && file.is_some_and(|path| LONG_GRACE.contains(&path)) => {
            (30, "its file in the image says so")
        }
        None => (GRACE, "Fluent Bit's own value"),
    };
    if stop >= grace {
        return;
    }
    let field = subject.field("stopTimeout");
    let name = router.name();
    let span = router
        .stop_timeout
        .as_ref()
        .map_or(router.name_span(), |stop| stop.span);
    let message = format!(
        "the router `{name}` has {stop} seconds to stop, but takes up to {grace} to send what is left"
    );
    let outcome = format!(
        "after {stop} seconds it is killed with the records it still holds (`Grace` is {grace}: {whose})"
    );
    let help = match subject.is_fargate() {
        true => format!(
            "set `{field}` of the router to {} or more, at most 120",
            (grace.saturating_add(5)).min(120)
        ),
        false => format!(
            "set `{field}` of the router to {} or more",
            grace.saturating_add(5)
        ),
    };
    let diagnostic = match own {
        None if grace != GRACE => note("FL0759", span, message),
        _ => warning("FL0759", span, message),
    };
    found.push(diagnostic.outcome(outcome).help(help));
}

#[cfg(test)]
mod tests {
    use crate::context::{Given, LaunchType};
    use crate::lint::testing::{lint, lint_with};

    fn task(mode: &str, router: &str) -> String {
        format!(
            "family: web\nnetworkMode: {mode}\ncontainerDefinitions:
  - {{name: log_router, image: x, firelensConfiguration: {{type: fluentbit}}{router}}}
  - {{name: app, image: y, logConfiguration: {{logDriver: awsfirelens, options: {{Name: stdout}}}}}}
"
        )
    }

    #[test]
    fn a_router_is_essential() {
        insta::assert_snapshot!(lint(&task("awsvpc", ", essential: false"), &["FL0754", "FL0755"]));
        assert_eq!(lint(&task("awsvpc", ", essential: true"), &["FL0754"]), "");
    }

    #[test]
    fn a_restart_keeps_the_address_or_not() {
        let policy = ", restartPolicy: {enabled: true}";
        insta::assert_snapshot!(lint(&task("bridge", policy), &["FL0755"]));
        insta::assert_snapshot!(lint(&task("awsvpc", ""), &["FL0755"]));
        assert_eq!(lint(&task("awsvpc", policy), &["FL0755"]), "");
        assert_eq!(lint(&task("bridge", ""), &["FL0755"]), "");
    }

    #[test]
    fn the_router_s_own_log_goes_elsewhere() {
        let fargate = Given {
            launch_type: Some(LaunchType::Fargate),
            ..Given::default()
        };
        insta::assert_snapshot!(lint(&task("awsvpc", ""), &["FL0756"]));
        insta::assert_snapshot!(lint_with(&task("awsvpc", ""), &["FL0756"], &fargate, None));
        let own = ", logConfiguration: {logDriver: awslogs}";
        assert_eq!(lint(&task("awsvpc", own), &["FL0756"]), "");
    }

    #[test]
    fn the_router_runs_as_root() {
        insta::assert_snapshot!(lint(&task("awsvpc", ", user: '1000:1000'"), &["FL0757"]));
        insta::assert_snapshot!(lint(
            &task("awsvpc", ", user: '100'").replace("fluentbit", "fluentd"),
            &["FL0757"]
        ));
        for user in ["'0'", "'0:0'", "''", "root"] {
            assert_eq!(
                lint(&task("awsvpc", &format!(", user: {user}")), &["FL0757"]),
                "",
                "{user}"
            );
        }
    }

    #[test]
    fn there_is_no_router_on_windows() {
        let windows =
            task("awsvpc", "") + "runtimePlatform: {operatingSystemFamily: WINDOWS_SERVER_2022_CORE}\n";
        insta::assert_snapshot!(lint(&windows, &["FL0758"]));
        let plain = "
family: web
runtimePlatform: {operatingSystemFamily: WINDOWS_SERVER_2022_CORE}
containerDefinitions: [{name: app, image: y}]
";
        assert_eq!(lint(plain, &["FL0758"]), "");
    }

    #[test]
    fn policies_have_bounds() {
        let codes: Vec<_> = (1..=51).map(|code| code.to_string()).collect();
        let policy = format!(
            ", restartPolicy: {{enabled: true, restartAttemptPeriod: 30, ignoredExitCodes: [{}]}}",
            codes.join(", ")
        );
        insta::assert_snapshot!(lint(&task("awsvpc", &policy), &["FL0759"]));
        let good = ", restartPolicy: {enabled: true, restartAttemptPeriod: 60, ignoredExitCodes: [0]}";
        assert_eq!(lint(&task("awsvpc", good), &["FL0759"]), "");
    }

    #[test]
    fn the_router_has_time_to_send() {
        insta::assert_snapshot!(lint(&task("awsvpc", ", stopTimeout: 2"), &["FL0759"]));
        let file = "{type: fluentbit, options: {config-file-type: file, config-file-value: \
                    /fluent-bit/configs/parse-json.conf}}";
        let aws = task("awsvpc", ", stopTimeout: 10").replace("{type: fluentbit}", file);
        insta::assert_snapshot!(lint(&aws, &["FL0759"]));
        let own = "[SERVICE]\n    Grace 60\n";
        insta::assert_snapshot!(lint_with(
            &task("awsvpc", ""),
            &["FL0759"],
            &Given::default(),
            Some(own)
        ));
        assert_eq!(lint(&task("awsvpc", ""), &["FL0759"]), "");
        assert_eq!(
            lint(
                &task("awsvpc", ", stopTimeout: 30").replace("{type: fluentbit}", file),
                &["FL0759"]
            ),
            ""
        );
    }

    #[test]
    fn something_is_essential() {
        let task = "
family: web
containerDefinitions:
  - {name: app, image: y, essential: false}
  - {name: job, image: z, essential: false}
";
        insta::assert_snapshot!(lint(task, &["FL0760"]));
        assert_eq!(lint(&task.replace("z, essential: false", "z"), &["FL0760"]), "");
    }
}
