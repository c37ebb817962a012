//! Options of the router itself, and whether anything takes the logs of its users.

use firelane_conf::{Diagnostic, suggest};

use super::Subject;
use crate::firelens::{BUFFER_LIMIT, Dialect, EXCLUDE, INCLUDE, external, go_bool};
use crate::taskdef::FirelensConfiguration;

/// The options that the agent looks at.
const KNOWN: &[&str] = &["config-file-type", "config-file-value", "enable-ecs-log-metadata"];

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let Some((router, dialect)) = subject.router() else {
        return;
    };
    let Some(firelens) = &router.firelens_configuration else {
        return;
    };
    options(firelens, found);
    if external(firelens).is_none() {
        for (_, container) in subject.task.users() {
            let Some(log) = &container.log_configuration else {
                continue;
            };
            let key = dialect.output_key();
            let ours = [INCLUDE, EXCLUDE, BUFFER_LIMIT];
            let mut plain = log.options.iter().map(|(key, _)| key.value.as_str());
            let mut secret = log
                .secret_options
                .iter()
                .filter_map(|secret| secret.name.as_ref());
            let named = log.options.get(key).is_some() || secret.any(|name| name.as_str() == key);
            // With other options the agent refuses it, which is said elsewhere.
            if !named && log.secret_options.is_empty() && plain.all(|key| ours.contains(&key)) {
                found.push(no_output(container.name(), log.span, dialect));
            }
        }
    }
}

fn no_output(name: &str, span: firelane_conf::Span, dialect: Dialect) -> Diagnostic {
    let key = dialect.output_key();
    let message =
        format!("no output takes the logs of `{name}`: it has no `{key}`, the router no file of its own");
    let outcome =
        "the router receives the lines and drops them, unless its image brings a configuration of its own";
    let help = format!("add `{key}` to its options, or give the router a file by `config-file-type`");
    Diagnostic::warning("FL0781", message)
        .at(span)
        .outcome(outcome)
        .help(help)
}

fn options(firelens: &FirelensConfiguration, found: &mut Vec<Diagnostic>) {
    if let Some(value) = firelens
        .options
        .get("enable-ecs-log-metadata")
        .filter(|value| !value.open)
        && go_bool(value.as_str()).is_none()
    {
        let message = format!(
            "`enable-ecs-log-metadata` is `{}`, which is neither true nor false",
            value.as_str()
        );
        let outcome =
            "the agent ignores the value with a warning in its own log, and records get no ECS fields";
        let diagnostic = Diagnostic::warning("FL0782", message).at(value.span);
        found.push(diagnostic.outcome(outcome).help("write `true` or `false`"));
    }
    let kind = firelens.options.get("config-file-type");
    if let (None, Some((key, _))) = (kind, firelens.options.entry("config-file-value")) {
        let message = "`config-file-value` without `config-file-type`";
        let diagnostic = Diagnostic::warning("FL0783", message).at(key.span);
        let outcome = "the agent ignores it: the router runs without your configuration";
        found.push(
            diagnostic
                .outcome(outcome)
                .help("add `config-file-type`: `file` or `s3`"),
        );
    }
    let unknown = firelens
        .options
        .iter()
        .filter(|(key, _)| !KNOWN.contains(&key.value.as_str()));
    for (key, _) in unknown {
        let message = format!("the router has no option `{}`", key.value);
        let help = match suggest::nearest(&key.value, KNOWN.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", KNOWN.join(", ")),
        };
        let diagnostic = Diagnostic::warning("FL0784", message).at(key.span);
        found.push(diagnostic.outcome("the agent ignores it").help(help));
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::lint;

    fn task(options: &str, user: &str) -> String {
        let task = format!(
            "family: web\ncontainerDefinitions:\n- name: log_router\n  image: r\n  firelensConfiguration:\n    \
             type: fluentbit\n    options: {options}\n- name: app\n  image: app\n  logConfiguration: {user}\n"
        );
        lint(&task, &["FL0781", "FL0782", "FL0783", "FL0784"])
    }

    #[test]
    fn findings() {
        let user = "{logDriver: awsfirelens, options: {Name: stdout}}";
        assert_eq!(task("{enable-ecs-log-metadata: 'T'}", user), "");
        insta::assert_snapshot!(task(
            "{enable-ecs-log-metadata: 'yes', config-file-value: /x.conf, config-fle-type: file}",
            user
        ));
        insta::assert_snapshot!(task("{}", "{logDriver: awsfirelens}"));
        assert_eq!(
            task(
                "{config-file-type: file, config-file-value: /x.conf}",
                "{logDriver: awsfirelens}"
            ),
            ""
        );
    }
}
