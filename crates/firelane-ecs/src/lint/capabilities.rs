//! Instances whose agent is too old for what the router asks of it.

use firelane_conf::Diagnostic;

use super::Subject;
use crate::context::LaunchType;
use crate::plan::capabilities::required;

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    if subject.context.launch_type == LaunchType::Fargate {
        return;
    }
    let newer = required(subject.task)
        .into_iter()
        .filter_map(|need| Some((need.since?, need)));
    // Every agent in use has what came with 1.31.0 (2019).
    let mut newer: Vec<_> = newer.filter(|(since, _)| *since != "1.31.0").collect();
    newer.sort_by_key(|(since, _)| *since);
    if let Some((since, need)) = newer.pop() {
        let message = format!("the task needs instances whose agent is {since} or later");
        let outcome = format!(
            "older ones lack the attribute `{}`: RunTask fails with the reason ATTRIBUTE, a service places no task",
            need.name
        );
        let diagnostic = Diagnostic::note("FL0799", message).at(need.span);
        found.push(
            diagnostic
                .outcome(outcome)
                .help("update instances that are older"),
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::lint;

    fn task(head: &str, user: &str) -> String {
        let task = format!(
            "family: web\n{head}containerDefinitions:\n- {{name: log_router, image: r, memory: 64{user}, \
             firelensConfiguration: {{type: fluentbit}}}}\n- name: app\n  image: a\n  memory: 64\n  \
             logConfiguration:\n    \
             logDriver: awsfirelens\n    options: {{Name: stdout, log-driver-buffer-limit: '4096'}}\n"
        );
        lint(&task, &["FL0799"])
    }

    #[test]
    fn the_newest_need_is_told() {
        insta::assert_snapshot!(task("", ""));
        insta::assert_snapshot!(task("", ", user: '1000'"));
        assert_eq!(
            task("networkMode: awsvpc\nrequiresCompatibilities: [FARGATE]\n", ""),
            ""
        );
    }
}
