//! Who waits for whom, and what that does to the first and last records.

use firelane_conf::{Diagnostic, Span, suggest};

use super::Subject;
use super::shared::{error, is_surely_essential, list, mode, warning};
use crate::firelens::refuse::Stage;
use crate::firelens::{Dialect, Mode};
use crate::plan::order;
use crate::taskdef::{Container, Dependency, Form};
use crate::text::Text;

/// Conditions of the API.
const CONDITIONS: &[&str] = &["START", "COMPLETE", "SUCCESS", "HEALTHY"];

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    for (index, container) in subject.task.containers.iter().enumerate() {
        for (at, dependency) in container.depends_on.iter().enumerate() {
            complete(subject, (index, at), container, dependency, found);
            condition(subject, container, dependency, found);
        }
    }
    let routers = subject.task.containers.iter();
    let mut routers = routers.filter(|container| container.firelens_configuration.is_some());
    // With several the agent takes another one for each purpose; that there are several is another error.
    if let (Some(router), None) = (routers.next(), routers.next()) {
        waiting_router(subject, router, found);
        volumes(subject, router, found);
        own_log(subject, router, found);
    }
}

/// Both fields of a dependency are required.
fn complete(
    subject: &Subject<'_>,
    (index, at): (usize, usize),
    container: &Container,
    dependency: &Dependency,
    found: &mut Vec<Diagnostic>,
) {
    let depends = subject.field("dependsOn");
    for (field, missing, help) in [
        (
            "containerName",
            dependency.container.is_none(),
            "the container that must come first",
        ),
        (
            "condition",
            dependency.condition.is_none(),
            "`START`, `HEALTHY`, `COMPLETE` or `SUCCESS`",
        ),
    ] {
        if !missing {
            continue;
        }
        let field = subject.field(field);
        let outcome = match subject.form {
            Form::Cli => format!(
                "the AWS CLI refuses it: Parameter validation failed: Missing required parameter in \
                 containerDefinitions[{index}].{depends}[{at}]: \"{field}\""
            ),
            Form::Cfn => "RegisterTaskDefinition refuses it: the field is required".to_string(),
        };
        let message = format!(
            "a `{depends}` of container `{}` has no `{field}`",
            container.name()
        );
        found.push(
            error("FL0741", dependency.span, message)
                .outcome(outcome)
                .help(format!("add `{field}`: {help}")),
        );
    }
}

fn condition(
    subject: &Subject<'_>,
    container: &Container,
    dependency: &Dependency,
    found: &mut Vec<Diagnostic>,
) {
    let (Some(condition), Some(target)) = (&dependency.condition, &dependency.container) else {
        return;
    };
    let Some(word) = condition.known() else { return };
    let target = target.known().and_then(|name| subject.task.container(name));
    let (name, span) = (container.name(), condition.span);
    match (word, target) {
        ("START", _) => {}
        ("COMPLETE" | "SUCCESS", Some(target)) if target.firelens_configuration.is_some() => {
            found.push(after_router(name, word, target, span));
        }
        ("COMPLETE" | "SUCCESS", Some(target)) if is_surely_essential(target) => {
            let message = format!(
                "container `{name}` waits for the end of `{}`, which is essential",
                target.name()
            );
            let field = subject.field("essential");
            let help = format!(
                "give `{}` the line `{field}: false`: else the task ends with it; or wait for `START` or `HEALTHY`",
                target.name()
            );
            let text =
                "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container";
            found.push(
                error("FL0742", span, message)
                    .outcome(Stage::Register.says(text))
                    .help(help),
            );
        }
        ("HEALTHY", Some(target)) => healthy(subject, container, target, span, found),
        (word, _) if !CONDITIONS.contains(&word) => {
            let near = CONDITIONS
                .iter()
                .find(|known| known.eq_ignore_ascii_case(word))
                .copied();
            let help = match near.or_else(|| nearest(word)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are {}", list(CONDITIONS.iter().copied())),
            };
            let message =
                format!("container `{name}` waits for the condition `{word}`, which does not exist");
            let outcome = "RegisterTaskDefinition refuses it: the field takes the API's own words";
            found.push(error("FL0741", span, message).outcome(outcome).help(help));
        }
        _ => {}
    }
}

fn nearest(word: &str) -> Option<&'static str> {
    let lower = [
        "start",
        "complete",
        "success",
        "healthy",
        "started",
        "completed",
        "successful",
    ];
    let near = suggest::nearest(word, lower)?;
    let mut known = CONDITIONS.iter().copied();
    known.find(|known| near.starts_with(&known.to_ascii_lowercase()))
}

fn after_router(name: &str, word: &str, router: &Container, span: Span) -> Diagnostic {
    let router_name = router.name();
    let outcome = match is_surely_essential(router) {
        true => Stage::Register.says(
            "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container",
        ),
        false => format!("`{name}` starts only when the router has ended: nothing takes its records"),
    };
    let message = format!("container `{name}` waits with `{word}` for the router `{router_name}` to end");
    error("FL0744", span, message)
        .outcome(outcome)
        .help("write `START`, or `HEALTHY` where the router has a health check")
}

/// A container without a health check never becomes healthy.
fn healthy(
    subject: &Subject<'_>,
    container: &Container,
    target: &Container,
    span: Span,
    found: &mut Vec<Diagnostic>,
) {
    let check = target.health_check.as_ref();
    let none = |command: &[Text]| command.first().is_some_and(|word| word.is("NONE"));
    if check.is_some_and(|check| !none(&check.command)) {
        return;
    }
    let (name, other) = (container.name(), target.name());
    let message =
        format!("container `{name}` waits until `{other}` is healthy, but `{other}` has no health check");
    let text = format!(
        "TaskDependencyError: Task dependencies cannot be resolved, taskArn: {}",
        subject.context.task_arn
    );
    let outcome = format!(
        "`{other}` never becomes healthy (a HEALTHCHECK of its image does not count); {}",
        Stage::TaskInit.says(&text)
    );
    let field = subject.field("healthCheck");
    let help = match subject.router().filter(|(router, _)| router.span == target.span) {
        Some((_, dialect)) => router_check(subject, dialect, &field),
        None => format!("give `{other}` a `{field}`, or write `START`"),
    };
    found.push(error("FL0743", span, message).outcome(outcome).help(help));
}

/// The health check for a router that has none.
fn router_check(subject: &Subject<'_>, dialect: Dialect, field: &str) -> String {
    let command = subject.field("command");
    let uptime = "[\"CMD-SHELL\", \"curl -f http://127.0.0.1:2020/api/v1/uptime || exit 1\"]";
    match (dialect, mode(subject.task)) {
        (Dialect::Fluentd, _) => format!(
            "write `START`; a `{field}` of a fluentd router needs a monitoring source in its own file, which ECS \
             does not generate"
        ),
        (_, None | Some(Mode::Other(_))) => format!(
            "write `START`; or set `HTTP_Server On` in the router's own file and add `{field}` with `{command}`: {uptime}"
        ),
        _ => format!(
            "add `{field}` to the router with `{command}`: [\"CMD-SHELL\", \"echo '{{\\\"health\\\": \\\"check\\\"}}' | nc \
             127.0.0.1 8877 || exit 1\"] (ECS generates the input for it); or, with `HTTP_Server On` in the router's own \
             file, {uptime}"
        ),
    }
}

/// A router that waits for anything is not waited for.
fn waiting_router(subject: &Subject<'_>, router: &Container, found: &mut Vec<Diagnostic>) {
    let Some(first) = router.predecessors().next() else {
        return;
    };
    let task = subject.task;
    let users = task
        .users()
        .map(|(_, user)| user)
        .filter(|user| user.span != router.span);
    let alone: Vec<_> = users
        .filter(|user| !reaches(subject, user, router.name()))
        .map(Container::name)
        .collect();
    if alone.is_empty() {
        return;
    }
    let router_name = router.name();
    let span = router.depends_on.first().map(|dependency| dependency.span);
    let span = span.or_else(|| router.volumes_from.first().map(|from| from.span));
    let span = span
        .or_else(|| router.links.first().map(|link| link.span))
        .unwrap_or(router.span);
    let message = format!(
        "the router `{router_name}` waits for `{first}`, and {} not wait for the router",
        match alone.as_slice() {
            [one] => format!("container `{one}` does"),
            _ => format!("containers {} do", list(alone.iter().copied())),
        }
    );
    let because =
        "ECS lets users of a router wait for its start only where the router itself waits for nothing";
    let waits = |name: &&&str| reaches(subject, router, name);
    let help = match alone.iter().find(waits) {
        Some(user) => format!("let the router not wait for `{user}`, whose records it is to take"),
        None => format!(
            "add to {}: {}",
            list(alone.iter().copied()),
            start(subject, router)
        ),
    };
    let diagnostic = match mode(task) {
        Some(Mode::Bridge) => error("FL0745", span, message).outcome(format!(
            "{because}; {}",
            Stage::ContainerCreate.says("DockerClientConfigError: unable to get BridgeIP for task in bridge mode")
        )),
        _ => warning("FL0745", span, message).outcome(format!(
            "{because}; they may start first: what Docker's buffer cannot hold until the router comes is lost, as is \
             what they write after the router was stopped beside them; agents before 1.91.0 do not start them at all"
        )),
    };
    found.push(diagnostic.help(help));
}

/// The line that lets a container wait for the router.
fn start(subject: &Subject<'_>, router: &Container) -> String {
    let [depends, name, condition] =
        ["dependsOn", "containerName", "condition"].map(|field| subject.field(field));
    format!("`{depends}: [{{{name}: {}, {condition}: START}}]`", router.name())
}

/// Whether a container waits, perhaps over others, for the start of another.
fn reaches(subject: &Subject<'_>, container: &Container, wanted: &str) -> bool {
    let mut open = vec![container];
    let mut seen: Vec<&str> = Vec::new();
    while let Some(container) = open.pop() {
        for wait in order::explicit(container)
            .iter()
            .filter(|wait| wait.condition != "CREATE")
        {
            if wait.container == wanted {
                return true;
            }
            if let Some(next) = subject
                .task
                .container(&wait.container)
                .filter(|next| !seen.contains(&next.name()))
            {
                seen.push(next.name());
                open.push(next);
            }
        }
    }
    false
}

/// Volumes of the router weaken the wait for it.
fn volumes(subject: &Subject<'_>, router: &Container, found: &mut Vec<Diagnostic>) {
    let name = router.name();
    for (_, user) in subject.task.users().filter(|(_, user)| user.span != router.span) {
        let mut from = user
            .volumes_from
            .iter()
            .filter_map(|from| from.container.as_ref());
        let Some(from) = from
            .find(|from| from.is(name))
            .filter(|_| !reaches(subject, user, name))
        else {
            continue;
        };
        let field = subject.field("volumesFrom");
        let message = format!(
            "container `{}` has `{field}` of the router `{name}`: so it waits until the router is made, not until it runs",
            user.name()
        );
        let bridge = "in bridge mode the router then may have no address yet, and";
        let outcome = match mode(subject.task) {
            Some(Mode::Bridge) => format!(
                "{bridge} {}",
                Stage::ContainerCreate
                    .says("DockerClientConfigError: unable to get BridgeIP for task in bridge mode")
            ),
            _ => "it may start first: what Docker's buffer cannot hold until the router runs is lost"
                .to_string(),
        };
        let help = format!("add to `{}`: {}", user.name(), start(subject, router));
        found.push(warning("FL0746", from.span, message).outcome(outcome).help(help));
    }
}

/// A router that is its own user.
fn own_log(subject: &Subject<'_>, router: &Container, found: &mut Vec<Diagnostic>) {
    let Some(driver) = router.driver().filter(|_| router.uses_firelens()) else {
        return;
    };
    let message = format!(
        "the router `{}` sends its own log to `awsfirelens`, that is, to itself",
        router.name()
    );
    let help = "give the router `awslogs`, so that its errors are seen when it cannot send";
    let diagnostic = match mode(subject.task) {
        Some(Mode::Bridge) => {
            let text = "DockerClientConfigError: unable to get BridgeIP for task in bridge mode";
            error("FL0747", driver.span, message).outcome(Stage::ContainerCreate.says(text))
        }
        _ => warning("FL0747", driver.span, message).outcome(
            "each line that it writes comes back to it as a record: an error while it sends makes more records and \
             more errors, and nobody sees them",
        ),
    };
    found.push(diagnostic.help(help));
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::lint;

    fn task(mode: &str, containers: &str) -> String {
        format!("family: web\nnetworkMode: {mode}\ncontainerDefinitions:\n{containers}")
    }

    fn user(rest: &str) -> String {
        format!(
            "  - {{name: app, image: y, logConfiguration: {{logDriver: awsfirelens, options: {{Name: stdout}}}}{rest}}}\n"
        )
    }

    fn router(rest: &str) -> String {
        format!("  - {{name: log_router, image: x, firelensConfiguration: {{type: fluentbit}}{rest}}}\n")
    }

    #[test]
    fn conditions_are_the_api_s() {
        let containers = "
  - {name: db, image: x}
  - name: app
    image: y
    dependsOn:
      - {containerName: db, condition: start}
      - {containerName: db, condition: SUCESS}
      - {containerName: db, condition: COMPLETED}
      - {containerName: db, condition: RUNNING}
      - {containerName: db}
      - {condition: START}
";
        insta::assert_snapshot!(lint(&task("awsvpc", containers), &["FL0741"]));
    }

    #[test]
    fn nobody_waits_for_the_end_of_an_essential_container() {
        let containers = |essential| {
            format!(
                "  - {{name: migrate, image: x{essential}}}\n  - {{name: app, image: y, dependsOn: \
                 [{{containerName: migrate, condition: SUCCESS}}]}}\n"
            )
        };
        insta::assert_snapshot!(lint(&task("awsvpc", &containers("")), &["FL0742"]));
        assert_eq!(
            lint(&task("awsvpc", &containers(", essential: false")), &["FL0742"]),
            ""
        );
    }

    #[test]
    fn healthy_needs_a_health_check() {
        let db = "  - {name: db, image: x}\n  - {name: app, image: y, dependsOn: [{containerName: db, condition: HEALTHY}]}\n";
        insta::assert_snapshot!(lint(&task("awsvpc", db), &["FL0743"]));
        let with = db.replace("image: x", "image: x, healthCheck: {command: [CMD, /check]}");
        assert_eq!(lint(&task("awsvpc", &with), &["FL0743"]), "");
        let app = user(", dependsOn: [{containerName: log_router, condition: HEALTHY}]");
        let both = router("") + &app;
        insta::assert_snapshot!(lint(&task("awsvpc", &both), &["FL0743"]));
        insta::assert_snapshot!(lint(&task("host", &both), &["FL0743"]));
        insta::assert_snapshot!(lint(
            &task("awsvpc", &both.replace("fluentbit", "fluentd")),
            &["FL0743"]
        ));
    }

    #[test]
    fn nobody_waits_for_the_end_of_the_router() {
        let app = user(", dependsOn: [{containerName: log_router, condition: COMPLETE}]");
        insta::assert_snapshot!(lint(&task("awsvpc", &(router("") + &app)), &["FL0742", "FL0744"]));
        let free = router(", essential: false") + &app;
        insta::assert_snapshot!(lint(&task("awsvpc", &free), &["FL0744"]));
    }

    #[test]
    fn a_router_that_waits_is_not_waited_for() {
        let waits = "  - {name: config, image: z, essential: false}\n".to_string()
            + &router(", dependsOn: [{containerName: config, condition: SUCCESS}]");
        insta::assert_snapshot!(lint(&task("bridge", &(waits.clone() + &user(""))), &["FL0745"]));
        insta::assert_snapshot!(lint(&task("awsvpc", &(waits.clone() + &user(""))), &["FL0745"]));
        let explicit = waits + &user(", dependsOn: [{containerName: log_router, condition: START}]");
        assert_eq!(lint(&task("bridge", &explicit), &["FL0745"]), "");
        assert_eq!(lint(&task("bridge", &(router("") + &user(""))), &["FL0745"]), "");
        let backwards = router(", dependsOn: [{containerName: app, condition: START}]") + &user("");
        insta::assert_snapshot!(lint(&task("awsvpc", &backwards), &["FL0745"]));
    }

    #[test]
    fn volumes_are_a_weak_wait() {
        let from = router("") + &user(", volumesFrom: [{sourceContainer: log_router}]");
        insta::assert_snapshot!(lint(&task("bridge", &from), &["FL0746"]));
        insta::assert_snapshot!(lint(&task("awsvpc", &from), &["FL0746"]));
        let both = from.replace(
            "volumesFrom",
            "dependsOn: [{containerName: log_router, condition: START}], volumesFrom",
        );
        assert_eq!(lint(&task("bridge", &both), &["FL0746"]), "");
    }

    #[test]
    fn the_router_does_not_log_to_itself() {
        let own = router(", logConfiguration: {logDriver: awsfirelens, options: {Name: stdout}}") + &user("");
        insta::assert_snapshot!(lint(&task("bridge", &own), &["FL0747"]));
        insta::assert_snapshot!(lint(&task("awsvpc", &own), &["FL0747"]));
    }

    #[test]
    fn what_waits_for_itself_is_a_circle() {
        let own = "  - {name: app, image: y, dependsOn: [{containerName: app, condition: START}]}\n";
        insta::assert_snapshot!(lint(&task("awsvpc", own), &["FL0716"]));
    }
}
