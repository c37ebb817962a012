//! Network modes, ports, links, and the variables that tell containers where the router is.

use std::ops::RangeInclusive;

use firelane_conf::{Diagnostic, suggest};

use super::Subject;
use super::shared::{asked, error, fargate_says, is_fragment, known, list, mode, warning};
use crate::context::LaunchType;
use crate::firelens::refuse::Stage;
use crate::firelens::{FORWARD_PORT, HEALTH_PORT, Mode};
use crate::taskdef::{Container, PortMapping};

/// Network modes of the API.
const MODES: &[&str] = &["awsvpc", "bridge", "default", "host", "none"];
/// Launch types of the API.
const LAUNCH_TYPES: &[&str] = &["EC2", "EXTERNAL", "FARGATE", "MANAGED_INSTANCES"];
/// Port of Fluent Bit's monitoring server.
const HTTP_PORT: u16 = 2020;

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    modes(subject, found);
    external(subject, found);
    let router = subject.task.router().map(|(_, router)| router);
    for container in &subject.task.containers {
        for mapping in &container.port_mappings {
            ports(subject, container, mapping, found);
            if router.is_some_and(|router| router.span == container.span) {
                router_ports(subject, container, mapping, found);
            }
        }
        links(subject, container, found);
    }
}

/// Modes that do not exist, and Fargate's.
fn modes(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let task = subject.task;
    let field = subject.field("networkMode");
    let given = task.network_mode.as_ref().filter(|mode| !mode.value.is_empty());
    if given.is_some_and(|mode| mode.open) || is_fragment(task) {
        return;
    }
    if let Some(mode) = given.filter(|mode| !MODES.contains(&mode.as_str())) {
        let help = match suggest::nearest(mode.as_str(), MODES.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", list(MODES.iter().copied())),
        };
        let message = format!("no network mode is called `{}`", mode.as_str());
        let outcome = "RegisterTaskDefinition refuses it: the field takes the API's own words, in lower case";
        found.push(error("FL0725", mode.span, message).outcome(outcome).help(help));
    } else if subject.is_fargate() && !given.is_some_and(|mode| mode.is("awsvpc")) {
        let (span, message) = match given {
            Some(mode) => (
                mode.span,
                format!("Fargate has no network mode `{}`", mode.as_str()),
            ),
            None => (
                asked(task, "FARGATE").unwrap_or(task.span),
                format!("Fargate needs `{field}`, and none is given: that means bridge"),
            ),
        };
        let text = "Fargate only supports network mode ‘awsvpc’.";
        let help =
            format!("write `{field}: awsvpc`; the service or RunTask then names subnets and security groups");
        found.push(
            error("FL0725", span, message)
                .outcome(fargate_says(subject, text))
                .help(help),
        );
    }
}

/// Launch types that do not exist, and what ECS Anywhere does not have.
fn external(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let task = subject.task;
    for name in task.requires_compatibilities.iter().filter(|name| !name.open) {
        if !LAUNCH_TYPES.contains(&name.as_str()) {
            let help =
                match suggest::nearest(name.as_str(), ["ec2", "external", "fargate", "managed_instances"]) {
                    Some(near) => format!("did you mean `{}`?", near.to_ascii_uppercase()),
                    None => format!("known are {}", list(LAUNCH_TYPES.iter().copied())),
                };
            let message = format!("no launch type is called `{}`", name.as_str());
            let outcome = "RegisterTaskDefinition refuses it: the field takes the API's own words";
            found.push(error("FL0730", name.span, message).outcome(outcome).help(help));
        }
    }
    let external = subject.launch_types().contains(&LaunchType::External);
    let given = task.network_mode.as_ref().filter(|mode| mode.is("awsvpc"));
    if let Some(mode) = given.filter(|_| external) {
        let outcome = match asked(task, "EXTERNAL") {
            Some(_) => {
                "RegisterTaskDefinition refuses it: external instances have no network interfaces of ECS"
            }
            None => "the task is not placed on external instances: they have no network interfaces of ECS",
        };
        let message = "ECS Anywhere has no network mode `awsvpc`";
        let help = "write `bridge`, `host` or `none`; in bridge mode the router has a TCP listener and \
                    `FLUENT_HOST` is given to its users, in the others only the socket is there";
        found.push(error("FL0730", mode.span, message).outcome(outcome).help(help));
    }
}

fn ports(subject: &Subject<'_>, container: &Container, mapping: &PortMapping, found: &mut Vec<Diagnostic>) {
    let (name, mode) = (container.name(), mode(subject.task));
    let field = subject.field("portMappings");
    let (inner, outer) = (&mapping.container_port, &mapping.host_port);
    let word = mode.as_ref().map_or("bridge", Mode::name);
    if word == "none" {
        let message = format!("container `{name}` maps a port, but the network mode is `none`");
        let outcome = "RegisterTaskDefinition refuses it: containers without a network have no ports";
        let help = format!("take `{field}` out, or choose another network mode");
        found.push(error("FL0726", mapping.span, message).outcome(outcome).help(help));
        return;
    }
    let text = format!("Invalid 'containerPort' setting for container '{name}'.");
    let invalid = Stage::Register.says(&text);
    let (port_field, host_field) = (subject.field("containerPort"), subject.field("hostPort"));
    match (inner, &mapping.container_port_range) {
        (None, None) => {
            let message = format!("a port mapping of container `{name}` names no port");
            let help = format!("add `{port_field}`; one mapping takes all its fields in one map");
            found.push(
                error("FL0726", mapping.span, message)
                    .outcome(&invalid)
                    .help(help),
            );
        }
        (Some(port), _) if port.known().is_some_and(|port| !(1..=65535).contains(&port)) => {
            let message = format!("container `{name}` maps the port {}", port.value);
            let help = "write a port from 1 to 65535";
            found.push(error("FL0726", port.span, message).outcome(&invalid).help(help));
        }
        (_, Some(range)) if !range.open && ports_of(range.as_str()).is_none() => {
            let message = format!("container `{name}` maps the range of ports `{}`", range.as_str());
            let outcome =
                "RegisterTaskDefinition refuses it: a range is two ports from 1 to 65535, the lower first";
            let help = "write for example `8080-8090`";
            found.push(error("FL0726", range.span, message).outcome(outcome).help(help));
        }
        _ => {}
    }
    let (Some(inside), Some(outside), Some(host)) = (known(inner), known(outer), outer) else {
        return;
    };
    if !(0..=65535).contains(&outside) {
        let message = format!("container `{name}` maps the host port {outside}");
        let outcome = "RegisterTaskDefinition refuses it: a port is at most 65535";
        found.push(
            error("FL0726", host.span, message)
                .outcome(outcome)
                .help("write a port from 1 to 65535"),
        );
    } else if outside != 0 && outside != inside && ["awsvpc", "host"].contains(&word) {
        let message =
            format!("container `{name}` maps port {inside} to host port {outside} in `{word}` mode");
        let text = format!(
            "When networkMode={word}, the host ports and container ports in port mappings must match."
        );
        let help = format!("leave `{host_field}` out: in this mode it is always the container's own port");
        found.push(
            error("FL0726", host.span, message)
                .outcome(Stage::Register.says(&text))
                .help(help),
        );
    }
}

/// First and last port of a range.
fn ports_of(range: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = range.split_once('-')?;
    let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first > 0 && first < last).then_some(first..=last)
}

/// Ports of the router that nobody else should reach.
fn router_ports(
    subject: &Subject<'_>,
    router: &Container,
    mapping: &PortMapping,
    found: &mut Vec<Diagnostic>,
) {
    let Some(mode) = mode(subject.task).filter(|mode| mode.name() != "none") else {
        return;
    };
    let range = mapping.container_port_range.as_ref();
    let ports = range
        .filter(|range| !range.open)
        .and_then(|range| ports_of(range.as_str()));
    for port in [FORWARD_PORT, HEALTH_PORT, HTTP_PORT] {
        let same = |given: Option<i64>| given == Some(i64::from(port));
        let in_range = ports.as_ref().is_some_and(|ports| ports.contains(&port));
        let span = match (&mapping.container_port, &mapping.host_port, range) {
            (Some(inner), ..) if same(inner.known()) => inner.span,
            (_, Some(outer), _) if same(outer.known()) => outer.span,
            (.., Some(range)) if in_range => range.span,
            _ => continue,
        };
        let (outcome, help) = exposed(port, &mode);
        let message = format!("the router `{}` publishes port {port}", router.name());
        found.push(warning("FL0729", span, message).outcome(outcome).help(help));
    }
}

/// What comes of it when a port of the router is published, and the cure.
fn exposed(port: u16, mode: &Mode) -> (&'static str, &'static str) {
    match (port, mode) {
        (FORWARD_PORT, Mode::Bridge) => (
            "the router listens there on every address of its own network: whoever reaches the instance on \
             the mapped port can send it records, without a password",
            "take the mapping out: containers of the task use the socket, or `FLUENT_HOST` and `FLUENT_PORT`",
        ),
        (FORWARD_PORT, Mode::Awsvpc) => (
            "ECS binds this listener to 127.0.0.1, so the mapping opens nothing yet; with an input of yours on \
             0.0.0.0 whoever the task's security group lets in can send records, without a password",
            "take the mapping out, and let nothing in on 24224 in the task's security group",
        ),
        (FORWARD_PORT, Mode::Other(_)) => (
            "ECS makes no TCP listener in this mode; an input of yours on this port is reached at the \
             instance's own address, without a password",
            "take the mapping out, and let nothing in on 24224 in the instance's security group",
        ),
        (HEALTH_PORT, Mode::Other(_)) => (
            "ECS makes no listener in this mode: on this port there is only what your own file opens",
            "take the mapping out, unless it is an input of yours that others are to reach",
        ),
        (HEALTH_PORT, _) => (
            "the port is for the router's own health check and listens on 127.0.0.1 only: the mapping leads nowhere",
            "take the mapping out; the health check needs none",
        ),
        _ => (
            "Fluent Bit's monitoring server has no password: whoever reaches it reads metrics and may reload the \
             configuration",
            "take the mapping out (health checks run inside the container), or let in only the address that \
             collects metrics",
        ),
    }
}

fn links(subject: &Subject<'_>, container: &Container, found: &mut Vec<Diagnostic>) {
    let (Some(link), Some(mode)) = (container.links.first(), mode(subject.task)) else {
        return;
    };
    let outcome = match mode.name() {
        "bridge" | "default" => return,
        "awsvpc" => Stage::Register.says("Links are not supported when networkMode=awsvpc."),
        _ => "RegisterTaskDefinition refuses it: links are for bridge mode only".to_string(),
    };
    let field = subject.field("links");
    let message = format!(
        "container `{}` has `{field}` in network mode `{}`",
        container.name(),
        mode.name()
    );
    let help = format!(
        "delete `{field}`: in this mode containers of a task reach each other at 127.0.0.1; for the order of \
         their start use `{}`",
        subject.field("dependsOn")
    );
    let help = match mode.name() {
        "none" => format!("delete `{field}`: containers without a network reach nobody"),
        _ => help,
    };
    found.push(error("FL0727", link.span, message).outcome(outcome).help(help));
}

#[cfg(test)]
mod tests {
    use crate::context::{Given, LaunchType};
    use crate::lint::testing::{lint, lint_with};

    const FARGATE: &str = "
family: web
requiresCompatibilities: [FARGATE]
containerDefinitions: [{name: app, image: nginx}]
";

    #[test]
    fn fargate_has_one_mode() {
        insta::assert_snapshot!(lint(FARGATE, &["FL0725"]));
        let bridge = FARGATE.replace("requires", "networkMode: bridge\nrequires");
        insta::assert_snapshot!(lint(&bridge, &["FL0725"]));
        let awsvpc = FARGATE.replace("requires", "networkMode: awsvpc\nrequires");
        assert_eq!(lint(&awsvpc, &["FL0725"]), "");
    }

    #[test]
    fn fargate_of_the_context_counts() {
        let given = Given {
            launch_type: Some(LaunchType::Fargate),
            ..Given::default()
        };
        let task = "family: web\ncontainerDefinitions: [{name: app, image: nginx}]\n";
        insta::assert_snapshot!(lint_with(task, &["FL0725"], &given, None));
        assert_eq!(lint(task, &["FL0725"]), "");
        assert_eq!(lint_with("[{\"name\": \"app\"}]", &["FL0725"], &given, None), "");
    }

    #[test]
    fn words_are_the_api_s() {
        let task = "
family: web
networkMode: AWSVPC
requiresCompatibilities: [EC2, fargate]
containerDefinitions: [{name: app, image: nginx}]
";
        insta::assert_snapshot!(lint(task, &["FL0725", "FL0730"]));
    }

    fn mapped(mode: &str, mappings: &str) -> String {
        format!(
            "family: web\nnetworkMode: {mode}\ncontainerDefinitions:
  - name: app
    image: nginx
    portMappings:
{mappings}"
        )
    }

    #[test]
    fn bad_mappings_are_refused() {
        let mappings = "
      - {containerPort: 80, hostPort: 8080}
      - {containerPort: 70000}
      - {hostPort: 443}
      - {containerPort: 81, hostPort: 70000}
      - {containerPortRange: 90-80}
";
        insta::assert_snapshot!(lint(&mapped("awsvpc", mappings), &["FL0726"]));
        insta::assert_snapshot!(lint(
            &mapped("host", "      - {containerPort: 80, hostPort: 8080}"),
            &["FL0726"]
        ));
        insta::assert_snapshot!(lint(&mapped("none", "      - {containerPort: 80}"), &["FL0726"]));
    }

    #[test]
    fn good_mappings_pass() {
        let mappings =
            "      - {containerPort: 80, hostPort: 8080}\n      - {containerPort: 81, hostPort: 0}\n";
        assert_eq!(lint(&mapped("bridge", mappings), &["FL0726"]), "");
        let mappings = "      - {containerPort: 80, hostPort: 80}\n      - {containerPortRange: 90-99}\n";
        assert_eq!(lint(&mapped("awsvpc", mappings), &["FL0726"]), "");
    }

    #[test]
    fn links_are_for_bridge_mode() {
        let task = |mode: &str| {
            format!(
                "family: web\nnetworkMode: {mode}\ncontainerDefinitions:
  - {{name: db, image: redis}}
  - {{name: app, image: nginx, links: [db]}}
"
            )
        };
        insta::assert_snapshot!(lint(&task("awsvpc"), &["FL0727"]));
        insta::assert_snapshot!(lint(&task("host"), &["FL0727"]));
        assert_eq!(lint(&task("bridge"), &["FL0727"]), "");
    }

    fn routed(mode: &str, mappings: &str) -> String {
        format!(
            "family: web\nnetworkMode: {mode}\ncontainerDefinitions:
  - name: log_router
    image: x
    firelensConfiguration: {{type: fluentbit}}
    portMappings: {mappings}
  - {{name: app, image: y, logConfiguration: {{logDriver: awsfirelens, options: {{Name: stdout}}}}}}
"
        )
    }

    #[test]
    fn the_router_keeps_its_ports_to_itself() {
        let lint = |mode, mappings| lint(&routed(mode, mappings), &["FL0729"]);
        insta::assert_snapshot!(lint("bridge", "[{containerPort: 24224, hostPort: 24224}]"));
        insta::assert_snapshot!(lint("awsvpc", "[{containerPort: 24224}, {containerPort: 8877}]"));
        insta::assert_snapshot!(lint("host", "[{containerPort: 24224}]"));
        insta::assert_snapshot!(lint("awsvpc", "[{containerPortRange: 2000-2100}]"));
        assert_eq!(lint("bridge", "[{containerPort: 25888}]"), "");
    }

    #[test]
    fn external_instances_have_no_awsvpc() {
        let task = "
family: web
networkMode: awsvpc
requiresCompatibilities: [EXTERNAL]
containerDefinitions: [{name: app, image: nginx}]
";
        insta::assert_snapshot!(lint(task, &["FL0730"]));
        assert_eq!(lint(&task.replace("awsvpc", "bridge"), &["FL0730"]), "");
    }
}
