//! Values that only the deployment knows, where they would reach the router.

use std::collections::BTreeSet;

use firelane_conf::Diagnostic;

use super::Subject;
use crate::text::Text;

/// Notes each open value once.
pub fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let mut said = BTreeSet::new();
    let task = subject.task;
    let users = task
        .users()
        .filter_map(|(_, container)| container.log_configuration.as_ref());
    let router = task
        .router()
        .and_then(|(_, router)| router.firelens_configuration.as_ref());
    let options = users
        .map(|log| &log.options)
        .chain(router.map(|firelens| &firelens.options));
    for (_, value) in options.flat_map(|options| options.iter()) {
        note(value, &mut said, found);
    }
    if let Some(family) = &task.family {
        note(family, &mut said, found);
    }
}

fn note(value: &Text, said: &mut BTreeSet<String>, found: &mut Vec<Diagnostic>) {
    let parts = value
        .value
        .split("${")
        .skip(1)
        .filter_map(|rest| rest.split_once('}'));
    let names: Vec<_> = parts.map(|(name, _)| name).filter(|_| value.open).collect();
    // Region and account are no riddle: `render` fills them.
    for name in names.into_iter().filter(|name| !name.starts_with("AWS::")) {
        if said.insert(name.to_string()) {
            let message = format!("`${{{name}}}` is known only to the deployment");
            let help = format!("pass `--param '{name}=VALUE'` to see the real text");
            found.push(Diagnostic::note("FL0788", message).at(value.span).help(help));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::lint;

    #[test]
    fn each_is_noted_once() {
        insta::assert_snapshot!(lint(
            "Resources:\n  Group: {Type: AWS::Logs::LogGroup}\n  Task:\n    Type: AWS::ECS::TaskDefinition\n    \
             Properties:\n      ContainerDefinitions:\n      - {Name: r, Image: r, \
             FirelensConfiguration: {Type: \
             fluentbit}}\n      - Name: app\n        Image: a\n        LogConfiguration: {LogDriver: \
             awsfirelens, \
             Options: {Name: cloudwatch_logs, region: !Ref AWS::Region, log_group_name: !Ref Group, \
             log_stream_prefix: !Sub '${Group}/'}}\n",
            &["FL0788"]
        ));
    }
}
