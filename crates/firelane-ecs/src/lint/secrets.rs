//! Secrets in plain sight, and references to secrets that cannot be read.

use firelane_conf::{Class, Diagnostic};

use super::Subject;
use crate::destinations;
use crate::firelens::{Dialect, secret_provider};
use crate::taskdef::{Container, LogConfiguration};
use crate::text::Text;

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    for container in &subject.task.containers {
        if let Some(log) = &container.log_configuration {
            if container.uses_firelens() {
                plain(subject, container, log, found);
            }
            let twice = log
                .secret_options
                .iter()
                .filter_map(|secret| secret.name.as_ref());
            for name in twice.filter(|name| log.options.get(name.as_str()).is_some()) {
                let message = format!(
                    "`{}` of `{}` is a plain option and a secret",
                    name.as_str(),
                    container.name()
                );
                let diagnostic = Diagnostic::warning("FL0785", message).at(name.span);
                found.push(
                    diagnostic
                        .outcome("the secret wins")
                        .help("take the plain option out"),
                );
            }
        }
        let log = container
            .log_configuration
            .iter()
            .flat_map(|log| &log.secret_options);
        for secret in container.secrets.iter().chain(log) {
            if let Some(from) = &secret.value_from {
                reference(from, found);
            }
        }
    }
}

/// Options whose values are secrets, but stand in the definition.
fn plain(subject: &Subject<'_>, container: &Container, log: &LogConfiguration, found: &mut Vec<Diagnostic>) {
    let dialect = subject.router().map(|(_, dialect)| dialect);
    let name = dialect.unwrap_or(Dialect::FluentBit).output_key();
    let output = log
        .options
        .get(name)
        .and_then(|name| destinations::find(name.as_str()));
    for (key, value) in log.options.iter() {
        let secret = match output {
            Some(output) => output.is_secret(&key.value),
            None => destinations::looks_secret(&key.value),
        };
        let resolved = value.value.contains("{{resolve:");
        let nothing = value.value.is_empty() || (value.open && !resolved) || value.value.contains("${");
        if !secret || nothing {
            continue;
        }
        let what = match resolved {
            true => "CloudFormation writes the value into the task definition",
            false => "the value stands in the task definition",
        };
        let message = format!(
            "`{}` of `{}` is a secret in plain sight",
            key.value,
            container.name()
        );
        let outcome = format!("{what}: whoever may call DescribeTaskDefinition reads it, in every revision");
        let field = subject.field("secretOptions");
        let help = format!(
            "put the value into Secrets Manager or the Parameter Store and write `{field}`: {{{}: \"{}\", {}: \
             \"arn:…\"}}; the execution role must be able to read it",
            subject.field("name"),
            key.value,
            subject.field("valueFrom"),
        );
        found.push(
            Diagnostic::warning("FL0786", message)
                .at(value.span)
                .outcome(outcome)
                .help(help),
        );
    }
}

/// ARNs of Secrets Manager whose tail cannot be read.
fn reference(from: &Text, found: &mut Vec<Diagnostic>) {
    let Some(text) = from.known() else { return };
    let parts: Vec<_> = text.split(':').collect();
    let bad = |reason: &str, help: &str| {
        let message = format!("`{text}` is no reference to a secret: {reason}");
        let outcome = "the task stops: the secret cannot be fetched";
        Diagnostic::error("FL0787", Class::BadValue, message)
            .at(from.span)
            .outcome(outcome)
            .help(help)
    };
    if secret_provider(text) == "asm" {
        // arn:aws:secretsmanager:region:account:secret:name[:json-key:version-stage:version-id]
        if !matches!(parts.len(), 7 | 10) || parts.get(5) != Some(&"secret") {
            let help = "write the secret's ARN, or behind it all three of `:json-key:version-stage:version-id`, \
                        empty ones too: `arn:…:secret:name-AbCdEf:key::`";
            found.push(bad("the ARN has a tail of the wrong length", help));
        }
    } else if text.starts_with("arn:") {
        let is_parameter = parts.len() == 6 && parts.get(2) == Some(&"ssm");
        if !is_parameter || !parts.get(5).is_some_and(|part| part.starts_with("parameter/")) {
            let help = "write the ARN of a secret (`arn:aws:secretsmanager:…`) or of a parameter \
                        (`arn:aws:ssm:region:account:parameter/name`), or a parameter's name";
            found.push(bad(
                "the ARN is neither of Secrets Manager nor of the Parameter Store",
                help,
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::lint;

    fn task(log: &str) -> String {
        let task = format!(
            "family: web\ncontainerDefinitions:\n- name: log_router\n  image: r\n  firelensConfiguration: \
             {{type: fluentbit}}\n- name: app\n  image: app\n  logConfiguration:\n    logDriver: awsfirelens\n{log}"
        );
        lint(&task, &["FL0785", "FL0786", "FL0787"])
    }

    #[test]
    fn findings() {
        insta::assert_snapshot!(task("    options: {Name: datadog, apikey: 0123abcd, Host: h}\n"));
        insta::assert_snapshot!(task(
            "    options: {Name: splunk, Splunk_Token: '{{resolve:secretsmanager:x}}'}\n    secretOptions:\n    - \
             {name: Splunk_Token, valueFrom: 'arn:aws:secretsmanager:r:1:secret:x-AbCdEf:key'}\n    - \
             {name: x, \
             valueFrom: 'arn:aws:s3:::b/k'}\n"
        ));
    }

    #[test]
    fn references_and_variables_are_fine() {
        let secrets = [
            "/app/key",
            "arn:aws:ssm:r:1:parameter/x",
            "arn:aws:secretsmanager:r:1:secret:x-AbCdEf:k::",
        ];
        for secret in secrets {
            let log = format!(
                "    options: {{Name: datadog, tls.key_passwd: '${{PASS}}'}}\n    secretOptions: [{{name: apikey, \
                 valueFrom: '{secret}'}}]\n"
            );
            assert_eq!(task(&log), "", "{secret}");
        }
    }
}
