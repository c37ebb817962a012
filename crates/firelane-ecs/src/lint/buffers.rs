//! The router's and Docker's buffers against the memory there is.

use std::str::FromStr as _;

use firelane_conf::Diagnostic;
use firelane_conf::units::ByteSize;

use super::Subject;
use super::memory::mebibytes;
use super::shared::{error, known, note, warning};
use crate::firelens::refuse::Stage;
use crate::firelens::{BUFFER_LIMIT, Dialect, buffer_megabytes};
use crate::taskdef::Container;
use crate::text::Text;

/// Least memory in which a router runs, in MiB: the program itself and little more than one chunk.
const ROUTER_MIN: i64 = 50;
/// First value of `log-driver-buffer-limit` that is too large.
const BUFFER_LIMIT_MAX: i64 = 536_870_912;
/// Docker's own buffer limit where none is given.
const BUFFER_LIMIT_DEFAULT: i64 = 1_048_576;
/// Longest piece of a line that Docker makes a record of.
const LINE_MAX: i64 = 16 * 1024;
/// Bytes of a MiB.
const MIB: i64 = 1024 * 1024;

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    for container in &subject.task.containers {
        buffer_limit(container, found);
    }
    if let Some(task) = subject.task.memory.as_ref().and_then(mebibytes) {
        buffers(subject, task, found);
    }
    router(subject, found);
    old_platform(subject, found);
}

/// The router's memory against what it may buffer.
fn router(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let Some((router, Dialect::FluentBit)) = subject.router() else {
        return;
    };
    let open = [&router.memory, &router.memory_reservation];
    if open.into_iter().flatten().any(|limit| limit.known().is_none()) {
        return;
    }
    let field = subject.field("memory");
    let inputs = subject.config.iter().flat_map(|config| &config.inputs);
    let limits = inputs.filter_map(|input| {
        let size = ByteSize::from_str(&input.get("mem_buf_limit")?.value.value).ok()?;
        i64::try_from(size.0).ok()
    });
    let own = limits.fold(0, i64::saturating_add);
    let generated = buffer_megabytes(router);
    let buffers = generated.saturating_mul(1_000_000).saturating_add(own);
    let need = (buffers.saturating_mul(2) / 1_000_000).max(ROUTER_MIN);
    let name = router.name();
    let more = match own {
        0 => String::new(),
        own => format!(", and inputs of the router's own file {}MB", own / 1_000_000),
    };
    let outcome = format!(
        "ECS lets the router's socket input hold {generated}MB (half of the soft limit, else of the hard one, else \
         25MB){more}; what is being sent takes as much again, and at the limit the kernel kills the router \
         with all records in memory"
    );
    let hard = known(&router.memory).filter(|mib| *mib > 0);
    match (&router.memory, hard) {
        (Some(limit), Some(mib)) if mib < need => {
            let message =
                format!("`{field}` of the router `{name}` is {mib} MiB, its buffers may need {need}");
            let soft = subject.field("memoryReservation");
            let help = match known(&router.memory_reservation) {
                // The generated limit grows with the hard one, unless there is a soft one.
                None if own > 0 => format!(
                    "add `{soft}: {}`, which keeps the limit of {generated}MB, and raise `{field}` to {need} or more",
                    generated.saturating_mul(2)
                ),
                _ => format!("raise `{field}` to {need} or more, or leave only `{soft}`"),
            };
            found.push(warning("FL0734", limit.span, message).outcome(outcome).help(help));
        }
        (_, None) => share(subject, router, need, &outcome, found),
        _ => {}
    }
}

/// What the other containers leave to a router without a limit of its own.
fn share(subject: &Subject<'_>, router: &Container, need: i64, outcome: &str, found: &mut Vec<Diagnostic>) {
    let Some(place) = subject.task.memory.as_ref() else {
        return;
    };
    let Some(task) = mebibytes(place) else { return };
    let others = subject
        .task
        .containers
        .iter()
        .filter(|other| other.span != router.span);
    let left = task - others.filter_map(|other| known(&other.memory)).sum::<i64>();
    // Below nothing the sum is the fault, and is named as such.
    if (0..need).contains(&left) {
        let message = format!(
            "the other containers leave {left} MiB of the task's {task} to the router `{}`, its buffers may need {need}",
            router.name()
        );
        let help = format!(
            "raise the task's `{}` by {} MiB or more",
            subject.field("memory"),
            need - left
        );
        found.push(warning("FL0734", place.span, message).outcome(outcome).help(help));
    }
}

fn limit_of(container: &Container) -> Option<&Text> {
    let log = container
        .log_configuration
        .as_ref()
        .filter(|_| container.uses_firelens())?;
    log.options.get(BUFFER_LIMIT)
}

fn lines(limit: &Text) -> Option<i64> {
    let lines: i64 = limit.known()?.parse().ok()?;
    (0..BUFFER_LIMIT_MAX).contains(&lines).then_some(lines)
}

fn buffer_limit(container: &Container, found: &mut Vec<Diagnostic>) {
    let Some(limit) = limit_of(container).filter(|limit| !limit.open && lines(limit).is_none()) else {
        return;
    };
    let message = format!(
        "`{BUFFER_LIMIT}` of container `{}` is `{}`",
        container.name(),
        limit.as_str()
    );
    let outcome = format!(
        "ECS takes a whole number from 0 to {} and refuses the rest",
        BUFFER_LIMIT_MAX - 1
    );
    let help = format!("write digits only, for example `\"{BUFFER_LIMIT_DEFAULT}\"` (Docker's own value)");
    found.push(error("FL0735", limit.span, message).outcome(outcome).help(help));
}

/// Docker's buffers of all users against the task's memory.
fn buffers(subject: &Subject<'_>, task: i64, found: &mut Vec<Diagnostic>) {
    let limits: Vec<_> = subject
        .task
        .users()
        .filter_map(|(_, user)| limit_of(user))
        .collect();
    let sum: i64 = limits.iter().filter_map(|limit| lines(limit)).sum();
    let (Some(first), true) = (
        limits.first(),
        sum.saturating_mul(LINE_MAX) > task.saturating_mul(MIB),
    ) else {
        return;
    };
    let users = limits.len();
    let as_lines = size(sum.saturating_mul(LINE_MAX));
    let message = match users {
        1 => format!(
            "`{BUFFER_LIMIT}` of container `{}` is {sum}: more than the task's memory may hold",
            subject
                .task
                .users()
                .find_map(|(_, user)| limit_of(user).map(|_| user.name()))
                .unwrap_or_default()
        ),
        _ => format!(
            "`{BUFFER_LIMIT}` of {users} containers is {sum} in all: more than the task's memory may hold"
        ),
    };
    let outcome = format!(
        "AWS's guide counts log lines, of up to 16 KiB each: {as_lines} while the router does not take them, where \
         the task has {}; older texts count bytes: {}",
        size(task.saturating_mul(MIB)),
        size(sum)
    );
    let help = format!(
        "allow {} lines or fewer in all; without the option Docker holds up to {BUFFER_LIMIT_DEFAULT} for each container",
        task.saturating_mul(MIB) / LINE_MAX
    );
    let default = BUFFER_LIMIT_DEFAULT.saturating_mul(users as i64);
    let make = if sum > default || sum > task.saturating_mul(MIB) {
        warning
    } else {
        note
    };
    found.push(make("FL0736", first.span, message).outcome(outcome).help(help));
}

/// Bytes for people.
fn size(bytes: i64) -> String {
    match bytes {
        0..MIB => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / MIB),
    }
}

/// Fargate before 1.4.0 has no buffer limit.
fn old_platform(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let version = subject.context.platform_version.as_deref();
    let Some(version) = version.filter(|version| subject.is_fargate() && is_before_1_4(version)) else {
        return;
    };
    for (_, user) in subject.task.users() {
        if let Some(limit) = limit_of(user) {
            let text = "The specified platform does not satisfy the task definition's required capabilities.";
            let message = format!(
                "container `{}` has `{BUFFER_LIMIT}`, which Fargate's platform {version} does not know",
                user.name()
            );
            let help = "use platform version 1.4.0 or LATEST, or leave the option out";
            found.push(
                error("FL0736", limit.span, message)
                    .outcome(Stage::Run.says(text))
                    .help(help),
            );
        }
    }
}

fn is_before_1_4(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < (1, 4),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::context::{Given, LaunchType};
    use crate::lint::testing::{lint, lint_with};

    fn routed(task: &str, router: &str, options: &str) -> String {
        format!(
            "family: web\n{task}containerDefinitions:
  - {{name: log_router, image: x, firelensConfiguration: {{type: fluentbit}}{router}}}
  - name: app
    image: y
    memory: 400
    logConfiguration: {{logDriver: awsfirelens, options: {{Name: stdout{options}}}}}
"
        )
    }

    #[test]
    fn the_router_needs_room_for_its_buffers() {
        let lint = |task, router| lint(&routed(task, router, ""), &["FL0734"]);
        insta::assert_snapshot!(lint("", ", memory: 32"));
        insta::assert_snapshot!(lint("memory: '440'\n", ""));
        assert_eq!(lint("", ", memoryReservation: 50"), "");
        assert_eq!(lint("", ", memory: 100"), "");
        assert_eq!(lint("memory: '512'\n", ""), "");
    }

    #[test]
    fn inputs_of_the_user_s_file_count() {
        let config = "[INPUT]\n    Name tcp\n    Tag x\n    Mem_Buf_Limit 100MB\n";
        let task = routed("", ", memory: 200", "");
        insta::assert_snapshot!(lint_with(&task, &["FL0734"], &Given::default(), Some(config)));
    }

    #[test]
    fn docker_s_buffer_has_a_range() {
        let lint = |task, limit: &str| {
            let options = format!(", log-driver-buffer-limit: '{limit}'");
            lint(
                &routed(task, ", memoryReservation: 50", &options),
                &["FL0735", "FL0736"],
            )
        };
        insta::assert_snapshot!(lint("", "2MB"));
        insta::assert_snapshot!(lint("", "536870912"));
        insta::assert_snapshot!(lint("memory: '1024'\n", "2097152"));
        insta::assert_snapshot!(lint("memory: '1024'\n", "100000"));
        assert_eq!(lint("", "2097152"), "");
        assert_eq!(lint("memory: '1024'\n", "10000"), "");
    }

    #[test]
    fn old_platforms_have_no_buffer_limit() {
        let given = |version: &str| Given {
            launch_type: Some(LaunchType::Fargate),
            platform_version: Some(version.to_string()),
            ..Given::default()
        };
        let task = routed("", "", ", log-driver-buffer-limit: '1000'");
        insta::assert_snapshot!(lint_with(&task, &["FL0736"], &given("1.3.0"), None));
        assert_eq!(lint_with(&task, &["FL0736"], &given("1.4.0"), None), "");
        assert_eq!(lint_with(&task, &["FL0736"], &given("LATEST"), None), "");
    }
}
