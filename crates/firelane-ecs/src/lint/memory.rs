//! Memory of containers and of the task.

use firelane_conf::Diagnostic;

use super::Subject;
use super::shared::{asked, error, fargate_says, is_fragment, known, note, warning};
use crate::firelens::refuse::Stage;
use crate::taskdef::Container;
use crate::text::Text;

/// Least memory of a container that Docker takes, in MiB.
const CONTAINER_MIN: i64 = 6;

/// Fargate's sizes: CPU units, least memory, most memory, step; in MiB. With 256 units half a GB is possible,
/// too.
const FARGATE: &[(i64, i64, i64, i64)] = &[
    (256, 1024, 2048, 1024),
    (512, 1024, 4096, 1024),
    (1024, 2048, 8192, 1024),
    (2048, 4096, 16384, 1024),
    (4096, 8192, 30720, 1024),
    (8192, 16384, 61440, 4096),
    (16384, 32768, 122_880, 8192),
];

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    for container in &subject.task.containers {
        limits(subject, container, found);
    }
    size(subject, found);
    if let Some(task) = subject.task.memory.as_ref().and_then(mebibytes) {
        sums(subject, task, found);
    }
}

fn limits(subject: &Subject<'_>, container: &Container, found: &mut Vec<Diagnostic>) {
    let name = container.name();
    let (hard_field, soft_field) = (subject.field("memory"), subject.field("memoryReservation"));
    let (hard, soft) = (&container.memory, &container.memory_reservation);
    for (field, limit, text) in [
        (&hard_field, hard, "Minimum memory limit allowed is 6MB"),
        (&soft_field, soft, "Minimum memory reservation allowed is 6MB"),
    ] {
        let small = |mib: &i64| *mib != 0 && *mib < CONTAINER_MIN;
        if let (Some(limit), Some(mib)) = (limit, known(limit).filter(small)) {
            let message = format!("`{field}` of container `{name}` is {mib} MiB");
            let text = format!("CannotCreateContainerError: Error response from daemon: {text}");
            let help = format!("write {CONTAINER_MIN} or more; the number counts MiB");
            found.push(
                error("FL0731", limit.span, message)
                    .outcome(Stage::ContainerCreate.says(&text))
                    .help(help),
            );
        }
    }
    let positive = |mib: &i64| *mib > 0;
    if let (Some(h), Some(s), Some(place)) =
        (known(hard).filter(positive), known(soft).filter(positive), hard)
    {
        let help =
            format!("raise `{hard_field}` above {s}, or lower `{soft_field}`; one of the two is enough");
        if h < s {
            let message =
                format!("`{hard_field}` of container `{name}` ({h}) is below its `{soft_field}` ({s})");
            let outcome =
                "RegisterTaskDefinition refuses it: the hard limit must be greater than the soft one";
            found.push(error("FL0731", place.span, message).outcome(outcome).help(help));
        } else if h == s {
            let message = format!("`{hard_field}` and `{soft_field}` of container `{name}` are both {h}");
            let outcome = "the API's reference wants the hard limit greater than the soft one; equal ones have been taken";
            found.push(note("FL0731", place.span, message).outcome(outcome).help(help));
        }
    }
    let none = |limit| Option::is_none(limit) || known(limit) == Some(0);
    let elsewhere = subject.task.memory.is_some() || is_fragment(subject.task) || subject.is_fargate();
    if none(hard) && none(soft) && !elsewhere {
        let text = format!(
            "Invalid setting for container '{name}'. At least one of 'memory' or 'memoryReservation' must be specified."
        );
        let message =
            format!("container `{name}` has neither `{hard_field}` nor `{soft_field}`, nor has the task");
        let help =
            format!("add `{soft_field}: 100` (MiB that it is sure to get), `{hard_field}` or the task's own");
        found.push(
            error("FL0731", container.name_span(), message)
                .outcome(Stage::Register.says(&text))
                .help(help),
        );
    }
}

/// The task's own CPU and memory.
fn size(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let task = subject.task;
    for (word, value, good, help) in [
        (
            "cpu",
            &task.cpu,
            task.cpu.as_ref().map(cpu_units),
            "write `256` (units) or `.25 vCPU`",
        ),
        (
            "memory",
            &task.memory,
            task.memory.as_ref().map(mebibytes),
            "write `512` (MiB) or `0.5 GB`",
        ),
    ] {
        if let (Some(text), Some(None)) = (value.as_ref().filter(|text| !text.open), good) {
            let message = format!("`{}` of the task is `{}`", subject.field(word), text.as_str());
            let outcome = Stage::Register.says(&format!("Invalid '{word}' setting for task."));
            found.push(error("FL0732", text.span, message).outcome(outcome).help(help));
            return;
        }
        if value.is_none() && subject.is_fargate() && !is_fragment(task) {
            let message = format!("Fargate needs `{}` of the task", subject.field(word));
            let text = format!("Fargate requires that '{word}' be defined at the task level.");
            found.push(
                error("FL0732", asked(task, "FARGATE").unwrap_or(task.span), message)
                    .outcome(fargate_says(subject, &text))
                    .help(format!(
                        "add it: {help}; the two together must be one of Fargate's sizes"
                    )),
            );
        }
    }
    let (cpu, memory) = (
        task.cpu.as_ref().and_then(cpu_units),
        task.memory.as_ref().and_then(mebibytes),
    );
    let (Some(cpu), Some(mib), Some(place)) = (cpu, memory, &task.memory) else {
        return;
    };
    let row = FARGATE.iter().find(|(units, ..)| *units == cpu);
    let fits = row.is_some_and(|(units, least, most, step)| {
        (*least..=*most).contains(&mib) && mib % step == 0 || (*units == 256 && mib == 512)
    });
    if !fits && subject.is_fargate() {
        let text = format!(
            "No Fargate configuration exists for given values: {cpu} CPU, {mib} memory. See the Amazon ECS \
             documentation for the valid values."
        );
        let message = format!("Fargate has no size with {cpu} CPU units and {mib} MiB");
        found.push(
            error("FL0732", place.span, message)
                .outcome(fargate_says(subject, &text))
                .help(sizes(row)),
        );
    }
}

/// Sizes that Fargate has.
fn sizes(row: Option<&(i64, i64, i64, i64)>) -> String {
    match row {
        Some((256, ..)) => "with 256 CPU units it has 512, 1024 and 2048 MiB".to_string(),
        Some((units, least, most, step)) => {
            format!("with {units} CPU units it has {least} to {most} MiB in steps of {step}")
        }
        None => {
            let units: Vec<_> = FARGATE.iter().map(|(units, ..)| units.to_string()).collect();
            format!("CPU units are one of {}", units.join(", "))
        }
    }
}

/// CPU units of `256`, `.25 vCPU`.
fn cpu_units(text: &Text) -> Option<i64> {
    scaled(text, "vcpu")
}

/// MiB of `512`, `0.5 GB`.
pub(super) fn mebibytes(text: &Text) -> Option<i64> {
    scaled(text, "gb")
}

/// A whole number, or a decimal one with a unit that counts 1024.
fn scaled(text: &Text, unit: &str) -> Option<i64> {
    let text = text.known()?.trim().to_ascii_lowercase();
    match text.strip_suffix(unit) {
        None => text.parse().ok().filter(|number| (1..1 << 40).contains(number)),
        Some(number) => {
            let number: f64 = number
                .trim()
                .parse()
                .ok()
                .filter(|number| *number > 0.0 && *number < 1e6)?;
            Some((number * 1024.0).round() as i64)
        }
    }
}

/// Limits of containers against that of the task.
fn sums(subject: &Subject<'_>, task: i64, found: &mut Vec<Diagnostic>) {
    let hard_field = subject.field("memory");
    let containers = &subject.task.containers;
    let mut single = false;
    for container in containers {
        if let (Some(limit), Some(mib)) = (
            &container.memory,
            known(&container.memory).filter(|mib| *mib > task),
        ) {
            single = true;
            let name = container.name();
            let text = format!("The 'memory' setting for container '{name}' is greater than for the task.");
            let message =
                format!("`{hard_field}` of container `{name}` is {mib} MiB, the whole task has {task}");
            let help = format!("lower it, or raise the task's `{hard_field}`");
            found.push(
                error("FL0733", limit.span, message)
                    .outcome(Stage::Register.says(&text))
                    .help(help),
            );
        }
    }
    let Some(place) = subject.task.memory.as_ref().filter(|_| !single) else {
        return;
    };
    let positive = |mib: &i64| *mib > 0;
    let soft = |container: &Container| known(&container.memory_reservation).filter(positive);
    let hard = |container: &Container| known(&container.memory).filter(positive);
    let reserved: i64 = containers.iter().filter_map(soft).sum();
    let limits: i64 = containers
        .iter()
        .filter_map(|one| hard(one).or_else(|| soft(one)))
        .sum();
    let taken: i64 = containers
        .iter()
        .filter_map(|one| soft(one).or_else(|| hard(one)))
        .sum();
    let help = format!("raise the task's `{hard_field}` to {limits} MiB or more, or lower the containers'");
    if reserved > task {
        let field = subject.field("memoryReservation");
        let text = "The sum of all container 'memoryReservation' values cannot be greater than the value of the task \
                    'memory'.";
        let message = format!("`{field}` of all containers is {reserved} MiB, the task has {task}");
        found.push(
            error("FL0733", place.span, message)
                .outcome(Stage::Register.says(text))
                .help(help),
        );
    } else if limits > task {
        let message = format!("the containers may take {limits} MiB together, the task has {task}");
        let outcome =
            "when they do, the kernel kills one of them: perhaps the router, with the records it holds";
        let make = if taken > task { warning } else { note };
        found.push(make("FL0733", place.span, message).outcome(outcome).help(help));
    }
}

#[cfg(test)]
mod tests {
    use crate::context::{Given, LaunchType};
    use crate::lint::testing::{lint, lint_with};

    #[test]
    fn limits_of_containers() {
        let task = "
family: web
containerDefinitions:
  - {name: a, image: x, memory: 128, memoryReservation: 256}
  - {name: b, image: x, memory: 4}
  - {name: c, image: x, memoryReservation: 5}
  - {name: d, image: x, memory: 64, memoryReservation: 64}
  - {name: e, image: x, memoryReservation: 0}
";
        insta::assert_snapshot!(lint(task, &["FL0731"]));
    }

    #[test]
    fn memory_may_stand_elsewhere() {
        let codes = ["FL0731"];
        let task = "family: web\nmemory: '512'\ncontainerDefinitions: [{name: a, image: x}]\n";
        assert_eq!(lint(task, &codes), "");
        assert_eq!(lint("[{\"name\": \"a\", \"image\": \"x\"}]", &codes), "");
        let task =
            "family: web\ncontainerDefinitions: [{name: a, image: x, memory: 300, memoryReservation: 128}]\n";
        assert_eq!(lint(task, &codes), "");
    }

    fn fargate(cpu: &str, memory: &str) -> String {
        let field = |name: &str, value: &str| match value {
            "" => String::new(),
            value => format!("{name}: '{value}'\n"),
        };
        format!(
            "family: web\nnetworkMode: awsvpc\nrequiresCompatibilities: [FARGATE]\n{}{}containerDefinitions: \
         [{{name: a, image: x}}]\n",
            field("cpu", cpu),
            field("memory", memory)
        )
    }

    #[test]
    fn fargate_has_sizes() {
        let lint = |cpu, memory| lint(&fargate(cpu, memory), &["FL0732"]);
        insta::assert_snapshot!(lint("", ""));
        insta::assert_snapshot!(lint("256", "4096"));
        insta::assert_snapshot!(lint("1024", "2500"));
        insta::assert_snapshot!(lint("300", "512"));
        insta::assert_snapshot!(lint("256", "512 MB"));
        for (cpu, memory) in [
            ("256", "512"),
            (".25 vCPU", "0.5 GB"),
            ("1 vcpu", "2 gb"),
            ("4096", "30720"),
            ("8 vCPU", "60GB"),
            ("16384", "122880"),
        ] {
            assert_eq!(lint(cpu, memory), "", "{cpu} {memory}");
        }
    }

    #[test]
    fn fargate_of_the_context_refuses_later() {
        let given = Given {
            launch_type: Some(LaunchType::Fargate),
            ..Given::default()
        };
        let task =
            "family: web\nnetworkMode: awsvpc\ncontainerDefinitions: [{name: a, image: x, memory: 512}]\n";
        insta::assert_snapshot!(lint_with(task, &["FL0732"], &given, None));
        assert_eq!(lint(task, &["FL0732"]), "");
    }

    #[test]
    fn containers_fit_into_the_task() {
        let task = |first: &str, second: &str| {
            format!(
                "family: web\nmemory: '512'\ncontainerDefinitions:\n  - {{name: a, image: x, {first}}}\n  \
             - {{name: b, image: x, {second}}}\n"
            )
        };
        let lint = |first, second| lint(&task(first, second), &["FL0733"]);
        insta::assert_snapshot!(lint("memory: 1024", "memory: 256"));
        insta::assert_snapshot!(lint("memoryReservation: 300", "memoryReservation: 300"));
        insta::assert_snapshot!(lint("memory: 400", "memory: 256"));
        insta::assert_snapshot!(lint("memory: 400, memoryReservation: 100", "memory: 256"));
        assert_eq!(lint("memory: 256", "memory: 256"), "");
    }
}
