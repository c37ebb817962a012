//! Quotas of ECS.

use firelane_conf::Diagnostic;

use super::Subject;
use super::shared::error;
use crate::firelens::refuse::Stage;

/// Most containers of a task.
const CONTAINERS_MAX: usize = 10;

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let containers = &subject.task.containers;
    let Some(first) = containers.get(CONTAINERS_MAX).filter(|_| subject.quota) else {
        return;
    };
    let message = format!(
        "the task has {} containers, ECS takes {CONTAINERS_MAX}; `{}` is the first too many",
        containers.len(),
        first.name()
    );
    let help =
        "move containers that need not share a host into a task of their own; the quota cannot be raised";
    found.push(
        error("FL0724", first.name_span(), message)
            .outcome(Stage::Register.says("Too many containers."))
            .help(help),
    );
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::lint;

    fn task(containers: usize) -> String {
        let names = (1..=containers).map(|n| format!("  - {{name: c{n}, image: x}}\n"));
        format!(
            "family: web\ncontainerDefinitions:\n{}",
            names.collect::<String>()
        )
    }

    #[test]
    fn the_eleventh_container_is_too_many() {
        assert_eq!(lint(&task(10), &["FL0724"]), "");
        insta::assert_snapshot!(lint(&task(12), &["FL0724"]));
    }
}
