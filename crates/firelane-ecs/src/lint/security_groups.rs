//! In a template: security groups that let others reach the router's port.
//!
//! In `awsvpc` mode the groups of the services that run the task count, in `host` and `bridge` mode those
//! of the instances. The generated configuration listens on loopback in `awsvpc` mode and not at all in
//! `host` mode; the port opens up with the first listener of the user's own, so AWS advises to keep it
//! closed (`docs.aws.amazon.com/AmazonECS/latest/developerguide/using_firelens.html`).

use std::collections::BTreeSet;

use firelane_conf::{Diagnostic, Span};

use super::Subject;
use crate::cfn::{Resource, Template};
use crate::firelens::{FORWARD_PORT, Mode};
use crate::source::Node;

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let (Some((template, task)), Some(_)) = (subject.template, subject.router()) else {
        return;
    };
    let mode = Mode::of(subject.task);
    let attached: BTreeSet<&str> = match mode {
        Mode::Awsvpc => of_services(template, task),
        _ => of_instances(template),
    };
    for rule in ingress(template) {
        if attached.contains(rule.group) && rule.holds(template) {
            found.push(rule.finding(&mode));
        }
    }
}

/// The resources of one type that are made, or may be.
fn of_type<'a>(template: &'a Template, kind: &'a str) -> impl Iterator<Item = Resource<'a>> {
    let made = template
        .resources()
        .filter(|resource| resource.made != Some(false));
    made.filter(move |resource| resource.kind == kind)
}

/// A value below some properties, by a path of keys.
fn below<'a>(node: Option<&'a Node>, path: &[&str]) -> Option<&'a Node> {
    path.iter().try_fold(node?, |node, key| node.get(key))
}

/// The groups in a list of references.
fn groups<'a>(template: &'a Template, list: Option<&Node>) -> Vec<&'a str> {
    let items = list.map(Node::items).unwrap_or_default();
    let group = |item| template.referenced_as(item, GROUP).map(|resource| resource.id);
    items.iter().filter_map(group).collect()
}

const GROUP: &str = "AWS::EC2::SecurityGroup";

/// The groups of the services that run a task definition.
fn of_services<'a>(template: &'a Template, task: &str) -> BTreeSet<&'a str> {
    let services = of_type(template, "AWS::ECS::Service");
    services
        .filter(|service| {
            let reference = below(service.properties, &["TaskDefinition"]);
            let runs = reference.and_then(|node| template.referenced(node));
            runs.is_some_and(|resource| resource.id == task)
        })
        .flat_map(|service| {
            let path = ["NetworkConfiguration", "AwsvpcConfiguration", "SecurityGroups"];
            groups(template, below(service.properties, &path))
        })
        .collect()
}

/// The groups of all instances.
fn of_instances(template: &Template) -> BTreeSet<&str> {
    let mut all = BTreeSet::new();
    let places: [(&str, &[&str]); 4] = [
        ("AWS::EC2::Instance", &["SecurityGroupIds"]),
        ("AWS::EC2::Instance", &["SecurityGroups"]),
        ("AWS::AutoScaling::LaunchConfiguration", &["SecurityGroups"]),
        (
            "AWS::EC2::LaunchTemplate",
            &["LaunchTemplateData", "SecurityGroupIds"],
        ),
    ];
    for (kind, path) in places {
        for resource in of_type(template, kind) {
            all.extend(groups(template, below(resource.properties, path)));
        }
    }
    for template_resource in of_type(template, "AWS::EC2::LaunchTemplate") {
        let interfaces = below(
            template_resource.properties,
            &["LaunchTemplateData", "NetworkInterfaces"],
        );
        for interface in interfaces.map(Node::items).unwrap_or_default() {
            all.extend(groups(template, interface.get("Groups")));
        }
    }
    all
}

/// One rule that lets something in.
struct Ingress<'a> {
    group: &'a str,
    rule: &'a Node,
}

/// The rules of all groups: within them, and resources of their own.
fn ingress(template: &Template) -> Vec<Ingress<'_>> {
    let mut all = Vec::new();
    for resource in of_type(template, GROUP) {
        let rules = below(resource.properties, &["SecurityGroupIngress"]);
        for rule in rules.map(Node::items).unwrap_or_default() {
            all.push(Ingress {
                group: resource.id,
                rule,
            });
        }
    }
    for resource in of_type(template, "AWS::EC2::SecurityGroupIngress") {
        let group = below(resource.properties, &["GroupId"]).or(below(resource.properties, &["GroupName"]));
        let group = group.and_then(|node| template.referenced_as(node, GROUP));
        if let (Some(group), Some(rule)) = (group, resource.properties) {
            all.push(Ingress {
                group: group.id,
                rule,
            });
        }
    }
    all
}

impl Ingress<'_> {
    /// Whether it lets TCP to the router's port in. What only the deployment knows lets nothing in.
    fn holds(&self, template: &Template) -> bool {
        // What is wrong with the values is said where CloudFormation would say it.
        let rule = template.resolve(self.rule, &mut Vec::new());
        let text = |key: &str| {
            rule.get(key)
                .and_then(|node| node.known().map(str::to_ascii_lowercase))
        };
        let port = |key: &str| text(key).and_then(|text| text.parse::<i64>().ok());
        match text("IpProtocol").as_deref() {
            Some("-1" | "all") => true,
            Some("tcp" | "6") => match (port("FromPort"), port("ToPort")) {
                (Some(-1), _) => true,
                (Some(from), Some(to)) => (from..=to).contains(&i64::from(FORWARD_PORT)),
                _ => false,
            },
            _ => false,
        }
    }

    /// Where to point: the first port, else the rule.
    fn span(&self) -> Span {
        let at = ["FromPort", "IpProtocol"]
            .iter()
            .find_map(|key| self.rule.get(key));
        at.map_or(self.rule.span, |node| node.span)
    }

    fn finding(&self, mode: &Mode) -> Diagnostic {
        let who = match mode {
            Mode::Awsvpc => "the task",
            _ => "its instance",
        };
        let message = format!(
            "security group `{}` of {who} lets others in on port {FORWARD_PORT}, the log router's",
            self.group
        );
        let outcome = match mode {
            Mode::Awsvpc => {
                "the generated file listens on loopback only, but a listener in a file of your own would take logs \
                 from everyone whom this rule lets in"
            }
            Mode::Bridge => "with the port mapped, everyone whom this rule lets in can write logs",
            Mode::Other(_) => "a listener of the router takes logs from everyone whom this rule lets in",
        };
        let help = format!(
            "open only the ports that the application serves; none of the ranges should hold {FORWARD_PORT}"
        );
        Diagnostic::warning("FL0794", message)
            .at(self.span())
            .outcome(outcome)
            .help(help)
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::lint;

    const TASK: &str = "Parameters:\n  Low: {Type: Number, Default: 20000}\nResources:\n  Task:\n    \
        Type: AWS::ECS::TaskDefinition\n    Properties:\n      NetworkMode: MODE\n      \
        ContainerDefinitions:\n      \
        - {Name: log_router, Image: r, FirelensConfiguration: {Type: fluentbit}}\n      - Name: app\n        \
        Image: a\n        LogConfiguration: {LogDriver: awsfirelens, Options: {Name: stdout}}\n";

    fn template(mode: &str, rest: &str) -> String {
        lint(&(TASK.replace("MODE", mode) + rest), &["FL0794"])
    }

    const SERVICE: &str = "  Service:\n    Type: AWS::ECS::Service\n    Properties:\n      TaskDefinition: !Ref Task\n      \
        NetworkConfiguration:\n        AwsvpcConfiguration:\n          SecurityGroups: [!GetAtt Group.GroupId]\n";

    fn group(rule: &str) -> String {
        format!(
            "  Group:\n    Type: AWS::EC2::SecurityGroup\n    Properties:\n      SecurityGroupIngress:\n      - {rule}\n"
        )
    }

    #[test]
    fn a_range_that_holds_the_port_is_found() {
        let rule = group("{IpProtocol: tcp, FromPort: !Ref Low, ToPort: 30000, CidrIp: 0.0.0.0/0}");
        insta::assert_snapshot!(template("awsvpc", &(rule.clone() + SERVICE)));
        assert_eq!(template("awsvpc", &rule), "", "the group of nothing");
        let instance = "  Instance:\n    Type: AWS::EC2::Instance\n    Properties:\n      SecurityGroupIds: [!Ref Group]\n";
        insta::assert_snapshot!(template("host", &(rule + instance)));
        let own = "  In:\n    Type: AWS::EC2::SecurityGroupIngress\n    Properties: {GroupId: !Ref Group, IpProtocol: -1}\n";
        let other = group("{IpProtocol: tcp, FromPort: 80, ToPort: 80}");
        insta::assert_snapshot!(template("awsvpc", &(other.clone() + SERVICE + own)));
        assert_eq!(template("awsvpc", &(other + SERVICE)), "");
    }
}
