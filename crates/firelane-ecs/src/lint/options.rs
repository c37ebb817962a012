//! Options of the containers that log over a Fluent Bit router: what the output takes, needs and refuses.
//!
//! Source: the option tables of Fluent Bit 5.1.1 in [`crate::destinations`]; the agent copies the options
//! unchecked.

use firelane_conf::{Class, Diagnostic, Span, Spanned, suggest};

use super::Subject;
use crate::destinations::{self, Destination, Runtime};
use crate::firelens::{BUFFER_LIMIT, Dialect, EXCLUDE, INCLUDE};
use crate::taskdef::{Container, LogConfiguration};
use crate::text::Text;

/// Options that Docker's own `fluentd` driver has, and others that people expect here.
const DOCKER: &[&str] = &[
    "env",
    "env-regex",
    "fluentd-address",
    "fluentd-async",
    "fluentd-buffer-limit",
    "labels",
    "labels-regex",
    "max-buffer-size",
    "mode",
    "tag",
];
/// What the core takes for every output beyond the tables.
const CORE: &[&str] = &["active", "condition"];

/// The options of one container.
struct User<'a> {
    container: &'a Container,
    log: &'a LogConfiguration,
    output: &'static Destination,
    /// The value of `Name`.
    name: &'a Text,
}

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let Some((router, dialect)) = subject.router() else {
        return;
    };
    for (_, container) in subject.task.users() {
        let Some(log) = &container.log_configuration else {
            continue;
        };
        odd_text(container, log, dialect, found);
        if dialect == Dialect::Fluentd {
            continue;
        }
        keys(container, log, found);
        let Some(name) = log.options.get("Name").filter(|name| !name.open) else {
            continue;
        };
        match destinations::find(name.as_str()) {
            Some(output) => {
                let user = User {
                    container,
                    log,
                    output,
                    name,
                };
                user.unknown(found);
                user.missing(found);
                user.exclusive(found);
                user.tls(found);
            }
            None => unknown_plugin(name, container, router, found),
        }
    }
}

fn stops(why: &str) -> String {
    format!("the router does not start: Fluent Bit says `{why}`; if it is essential, the task stops")
}

/// Values that break the lines of the generated file.
fn odd_text(container: &Container, log: &LogConfiguration, dialect: Dialect, found: &mut Vec<Diagnostic>) {
    for (key, value) in log.options.iter().filter(|(_, value)| !value.open) {
        let text = value.as_str();
        if [key.value.as_str(), text]
            .iter()
            .any(|text| text.contains(['\n', '\r']))
        {
            let message = format!(
                "option `{}` of `{}` holds a line end",
                key.value.escape_debug(),
                container.name()
            );
            let outcome = "the agent writes it as it is: what follows becomes a line of its own in the router's \
                           configuration";
            let diagnostic = Diagnostic::error("FL0771", Class::BadValue, message).at(key.span);
            found.push(diagnostic.outcome(outcome).help("take it out"));
        } else if let Some((first, rest)) = key.value.split_once([' ', '\t']) {
            let message = format!(
                "option `{}` of `{}` has a blank in its name",
                key.value,
                container.name()
            );
            let outcome = format!("the router reads it as `{first}` with the value `{rest} {text}`");
            let help =
                format!("write `\"{first}\": \"{rest} {text}\"` if that is meant, else take the blank out");
            let diagnostic = Diagnostic::warning("FL0770", message).at(key.span);
            found.push(diagnostic.outcome(outcome).help(help));
        } else if text.trim().is_empty() && key.value != BUFFER_LIMIT && dialect == Dialect::FluentBit {
            let message = format!("option `{}` of `{}` is empty", key.value, container.name());
            let diagnostic = Diagnostic::error("FL0772", Class::BadValue, message).at(value.span);
            let outcome = stops("undefined value - check config is in valid classic format");
            found.push(
                diagnostic
                    .outcome(outcome)
                    .help("give it a value, or take it out"),
            );
        }
    }
}

/// Keys whose case is wrong, or that replace what the agent writes itself.
fn keys(container: &Container, log: &LogConfiguration, found: &mut Vec<Diagnostic>) {
    let name = container.name();
    for (key, _) in log.options.iter() {
        let lower = key.value.to_ascii_lowercase();
        let (message, outcome, help) = match lower.as_str() {
            "match" | "match_regex" => (
                format!(
                    "option `{}` of `{name}` adds a second match to the one that the agent writes",
                    key.value
                ),
                "the output takes records of other containers too, or none",
                "take it out; to route by another tag, write the output into a file of your own".to_string(),
            ),
            "name" if key.value != "Name" && log.options.get("Name").is_some() => (
                format!("option `{}` of `{name}` stands beside `Name`", key.value),
                "Fluent Bit does not mind the case: the output's name is given twice",
                format!("take `{}` out", key.value),
            ),
            "@type" => (
                format!(
                    "option `{}` of `{name}` is for a router of type fluentd",
                    key.value
                ),
                "Fluent Bit takes it for an option that it does not know",
                "name the output by `Name`".to_string(),
            ),
            known if [INCLUDE, EXCLUDE, BUFFER_LIMIT].contains(&known) && key.value != lower => (
                format!(
                    "option `{}` of `{name}` is not `{lower}`: the agent minds the case",
                    key.value
                ),
                "it becomes an option of the output, which does not know it",
                format!("write `{lower}`"),
            ),
            _ => continue,
        };
        let diagnostic = Diagnostic::warning("FL0773", message).at(key.span);
        found.push(diagnostic.outcome(outcome).help(help));
    }
}

fn unknown_plugin(name: &Text, container: &Container, router: &Container, found: &mut Vec<Diagnostic>) {
    let image = router.image.as_ref().map_or("", Text::as_str);
    let official = image.contains("aws-for-fluent-bit") || image.contains("fluent/fluent-bit");
    let known = destinations::DESTINATIONS.iter();
    let near = suggest::nearest(name.as_str(), known.map(|output| output.name));
    let message = format!(
        "`{}` logs to output `{}`, which Fluent Bit does not have",
        container.name(),
        name.as_str()
    );
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`firelane plugins` lists those that firelane has".to_string(),
    };
    let outcome = stops(&format!("Output plugin '{}' cannot be loaded", name.as_str()));
    // An image of one's own may hold plugins of one's own.
    let diagnostic = match official || near.is_some() {
        true => Diagnostic::error("FL0774", Class::UnknownPlugin, message),
        false => Diagnostic::warning("FL0774", message),
    };
    found.push(diagnostic.at(name.span).outcome(outcome).help(help));
}

impl<'a> User<'a> {
    /// The options that reach the output, with the place of their keys; those from secrets too.
    fn given(&self) -> Vec<(&'a str, Span)> {
        let ours = ["Name", INCLUDE, EXCLUDE, BUFFER_LIMIT];
        let plain = self
            .log
            .options
            .iter()
            .map(|(key, _)| (key.value.as_str(), key.span));
        let secret = self
            .log
            .secret_options
            .iter()
            .filter_map(|secret| secret.name.as_ref());
        plain
            .filter(|(key, _)| !ours.contains(key))
            .chain(secret.map(|name| (name.as_str(), name.span)))
            // The router's reader ends a key at its first blank.
            .map(|(key, span)| (key.split([' ', '\t']).next().unwrap_or(key), span))
            .collect()
    }

    fn has(&self, option: &str) -> bool {
        self.given()
            .iter()
            .any(|(key, _)| key.eq_ignore_ascii_case(option))
    }

    /// The plain value of an option in any case.
    fn value(&self, option: &str) -> Option<(&'a Spanned<String>, &'a Text)> {
        self.log
            .options
            .iter()
            .find(|(key, _)| key.value.eq_ignore_ascii_case(option))
    }

    /// Whether an option is set, and for a switch: is on.
    fn is_on(&self, option: &str) -> bool {
        match self.value(option) {
            Some((_, value)) => !["false", "off", "no"]
                .iter()
                .any(|off| value.as_str().eq_ignore_ascii_case(off)),
            None => self.has(option),
        }
    }

    fn owner(&self) -> String {
        format!("output `{}` of `{}`", self.output.name, self.container.name())
    }

    fn unknown(&self, found: &mut Vec<Diagnostic>) {
        for (key, span) in self.given() {
            let lower = key.to_ascii_lowercase();
            let accepted = CORE.contains(&lower.as_str());
            // 5.1 takes these for every output, and few heed them.
            let unheeded = lower.starts_with("oauth2.") && !self.output.knows(&lower);
            let said = [
                "match",
                "match_regex",
                "name",
                "@type",
                INCLUDE,
                EXCLUDE,
                BUFFER_LIMIT,
            ];
            if self.output.ignores(&lower) || unheeded {
                let message = format!("{} takes `{key}` but does nothing with it", self.owner());
                let diagnostic = Diagnostic::warning("FL0775", message).at(span);
                found.push(diagnostic.help("take it out"));
            } else if !(accepted || self.output.knows(&lower) || said.contains(&lower.as_str())) {
                found.push(self.unknown_option(key, &lower, span));
            }
        }
    }

    fn unknown_option(&self, key: &str, lower: &str, span: Span) -> Diagnostic {
        let message = format!("{} does not know `{key}`", self.owner());
        let refuses = self.output.refuses_unknown();
        let diagnostic = match refuses {
            true => Diagnostic::error("FL0776", Class::UnknownProperty, message),
            false => Diagnostic::warning("FL0776", message),
        };
        let outcome = match refuses {
            true => stops(&format!("unknown configuration property '{key}'")),
            false => "the plugin ignores it".to_string(),
        };
        diagnostic.at(span).outcome(outcome).help(self.way_out(lower))
    }

    /// What may be meant by an unknown option.
    fn way_out(&self, lower: &str) -> String {
        if DOCKER.contains(&lower) {
            return format!(
                "`{lower}` is an option of Docker's driver, and here every option goes to the output; of Docker's \
                 only `{BUFFER_LIMIT}` can be given"
            );
        }
        let known = self.output.suggestions().chain([INCLUDE, EXCLUDE, BUFFER_LIMIT]);
        if let Some(near) = suggest::nearest(lower, known) {
            return format!("did you mean `{near}`?");
        }
        let others: Vec<_> = destinations::who_knows(lower)
            .map(|output| format!("`{}`", output.name))
            .collect();
        match others.as_slice() {
            [] => "take it out; docs.fluentbit.io lists the options of each output".to_string(),
            [only] => format!("it is an option of {only}"),
            all if all.len() > 5 => "it is an option of other outputs, not of this one".to_string(),
            [first @ .., last] => format!("it is an option of {} and {last}", first.join(", ")),
        }
    }

    /// The option that an unknown one was probably meant to be.
    fn meant(&self, key: &str) -> Option<&'static str> {
        let lower = key.to_ascii_lowercase();
        let unknown = !self.output.knows(&lower);
        unknown.then(|| suggest::nearest(&lower, self.output.suggestions()))?
    }

    fn missing(&self, found: &mut Vec<Diagnostic>) {
        let lists = self.output.required.iter().copied();
        let conditional = self.output.needs.iter().filter(|(option, _)| self.is_on(option));
        let all = lists
            .map(|list| (None, list))
            .chain(conditional.map(|(option, list)| (Some(*option), *list)));
        let meant: Vec<_> = self
            .given()
            .into_iter()
            .filter_map(|(key, _)| self.meant(key))
            .collect();
        let given = |option: &&str| self.has(option) || meant.contains(option);
        for (because, list) in all.filter(|(_, list)| !list.iter().any(given)) {
            let words: Vec<_> = list.iter().map(|option| format!("`{option}`")).collect();
            let because = because.map_or(String::new(), |option| format!(", because of `{option}`"));
            let message = format!("{} needs {}{because}", self.owner(), words.join(" or "));
            let outcome = match self.output.name {
                "kafka" if !because.is_empty() => "the router starts, but connects without IAM".to_string(),
                _ => "the router does not start; if it is essential, the task stops".to_string(),
            };
            let first = list.first().copied().unwrap_or_default();
            let help = match self.output.is_secret(first) {
                true => {
                    format!("add it to `secretOptions`: {{\"name\": \"{first}\", \"valueFrom\": \"arn:…\"}}")
                }
                false => format!("add it to the options, for example `\"{first}\": \"…\"`"),
            };
            let diagnostic = Diagnostic::error("FL0777", Class::Missing, message).at(self.name.span);
            found.push(diagnostic.outcome(outcome).help(help));
        }
    }

    fn exclusive(&self, found: &mut Vec<Diagnostic>) {
        let pairs = self.output.exclusive.iter();
        for (first, second) in pairs.filter(|(first, second)| self.is_on(first) && self.is_on(second)) {
            let message = format!(
                "{} has `{first}` and `{second}`, of which it takes one",
                self.owner()
            );
            let span = self.value(second).map_or(self.name.span, |(key, _)| key.span);
            let diagnostic = Diagnostic::error("FL0778", Class::BadValue, message).at(span);
            let outcome = "the router does not start; if it is essential, the task stops";
            found.push(diagnostic.outcome(outcome).help("take one of them out"));
        }
    }

    fn tls(&self, found: &mut Vec<Diagnostic>) {
        let Some((key, value)) = self.value("tls").filter(|(_, value)| !value.open) else {
            return;
        };
        let on = ["on", "true", "yes"]
            .iter()
            .any(|on| value.as_str().eq_ignore_ascii_case(on));
        if on && !self.output.tls && self.output.runtime == Runtime::Core {
            let message = format!("{} cannot be told to use TLS", self.owner());
            let diagnostic = Diagnostic::error("FL0779", Class::BadValue, message).at(key.span);
            let help = match self.output.service {
                Some(_) => "take `tls` out: this output always uses TLS",
                None => "take `tls` out: this output has none",
            };
            let outcome = stops(&format!("{} does not support TLS", self.output.name));
            found.push(diagnostic.outcome(outcome).help(help));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::lint;

    fn options(options: &str) -> String {
        let task = format!(
            "family: web\ncontainerDefinitions:\n- name: log_router\n  image: amazon/aws-for-fluent-bit:stable\n  \
             firelensConfiguration: {{type: fluentbit}}\n- name: app\n  image: app\n  logConfiguration:\n    \
             logDriver: awsfirelens\n    options: {options}\n"
        );
        lint(
            &task,
            &[
                "FL0771", "FL0772", "FL0773", "FL0774", "FL0775", "FL0776", "FL0777", "FL0778", "FL0779",
            ],
        )
    }

    #[test]
    fn good_options_say_nothing() {
        let good = [
            "{Name: kinesis_firehose, region: us-west-2, delivery_stream: s, retry_limit: '2'}",
            "{Name: cloudwatch, region: us-west-2, log_group_name: $(tag), log_stream_name: x, auto_create_group: 'true'}",
            "{Name: datadog, apikey: k, TLS: 'on', Host: h, provider: ecs, include-pattern: x}",
            "{Name: http, Host: h, Port: '80', oauth2.enable: 'off'}",
        ];
        for good in good {
            assert_eq!(options(good), "", "{good}");
        }
    }

    #[test]
    fn unknown_options() {
        insta::assert_snapshot!(options("{Name: kinesis_firehose, region: r, delivery_streem: s}"));
        insta::assert_snapshot!(options(
            "{Name: cloudwatch, region: r, log_group_name: g, log_stream_name: s, log_group_template: t}"
        ));
        insta::assert_snapshot!(options(
            "{Name: stdout, tag: x, delivery_stream: y, apikey: z, zzzzzz: q, host: h}"
        ));
    }

    #[test]
    fn missing_and_exclusive_options() {
        insta::assert_snapshot!(options(
            "{Name: cloudwatch_logs, region: r, log_group_name: g, log_stream_name: a, log_stream_prefix: b}"
        ));
        insta::assert_snapshot!(options("{Name: datadog}"));
        insta::assert_snapshot!(options(
            "{Name: kinesis_firehose, region: r, delivery_stream: s, tls: 'on'}"
        ));
    }

    #[test]
    fn options_that_do_nothing() {
        insta::assert_snapshot!(options("{Name: stdout, oauth2.scope: x}"));
    }

    #[test]
    fn odd_keys_and_values() {
        insta::assert_snapshot!(options("{Name: stdout, match: '*', name: x, Include-Pattern: a}"));
        insta::assert_snapshot!(options(
            "{Name: stdout, format: '', exclude-pattern: \"a\\nb\", 'a b': c}"
        ));
        insta::assert_snapshot!(options("{Name: cloudwach_logs, region: r}"));
    }
}
