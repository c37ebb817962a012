//! The router's own configuration file: listeners that others can reach, and those that are taken already.

use firelane_conf::{Class, Diagnostic, Entry, Section};

use super::Subject;
use crate::firelens::{FORWARD_PORT, HEALTH_PORT, Mode};

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let Some(config) = subject.config else { return };
    let mode = Mode::of(subject.task);
    for input in &config.inputs {
        listener(input, &mode, found);
    }
    if let Some(service) = &config.service {
        server(service, &mode, found);
    }
}

fn text<'a>(section: &'a Section, keys: &[&str]) -> Option<&'a Entry> {
    keys.iter().find_map(|key| section.get(key))
}

/// Whether others can reach an address.
fn is_open(address: Option<&str>) -> bool {
    !address.is_some_and(|address| address.starts_with("127.") || ["localhost", "::1"].contains(&address))
}

/// Port on which an input listens when it says nothing.
fn default_port(plugin: &str) -> Option<u16> {
    Some(match plugin {
        "forward" => FORWARD_PORT,
        "tcp" => 5170,
        "udp" => 5170,
        "syslog" => 5140,
        "http" => 9880,
        "splunk" => 8088,
        "elasticsearch" => 9200,
        "opentelemetry" => 4318,
        "mqtt" => 1883,
        "statsd" => 8125,
        _ => return None,
    })
}

fn listener(input: &Section, mode: &Mode, found: &mut Vec<Diagnostic>) {
    let Some(plugin) = input.name().map(|name| name.value.value.to_ascii_lowercase()) else {
        return;
    };
    let on_socket = text(input, &["unix_path", "path"]).is_some() && text(input, &["port"]).is_none();
    let Some(default) = default_port(&plugin).filter(|_| !on_socket) else {
        return;
    };
    let port_entry = text(input, &["port"]);
    let port = match port_entry.map(|entry| entry.value.value.parse::<u16>()) {
        Some(Ok(port)) => port,
        Some(Err(_)) => return,
        None => default,
    };
    let listen = text(input, &["listen"]);
    let address = listen.map(|entry| entry.value.value.as_str());
    let span = listen.or(port_entry).map_or(input.span, |entry| entry.value.span);
    let taken = [FORWARD_PORT, HEALTH_PORT].contains(&port) && plugin != "udp";
    if taken && mode.listen().is_some() {
        let message =
            format!("input `{plugin}` listens on port {port}, on which the generated file listens already");
        let outcome = "the router does not start: Fluent Bit says `bind: Address already in use`";
        let help = format!("take another port; {FORWARD_PORT} and {HEALTH_PORT} are in the generated file");
        let diagnostic = Diagnostic::error("FL0791", Class::Init, message).at(span);
        found.push(diagnostic.outcome(outcome).help(help));
    } else if is_open(address) {
        let who = match mode {
            Mode::Awsvpc => "everything that the task's security group lets in",
            Mode::Bridge => "every container on the instance's bridge, and, where the port is mapped, more",
            Mode::Other(mode) if mode == "host" => "everything that the instance's security group lets in",
            Mode::Other(_) => return,
        };
        let message = format!("input `{plugin}` listens on port {port} of every address");
        let outcome = format!("{who} can write logs, without a password");
        let help = match mode {
            Mode::Bridge => {
                "open the port to no more than you need; `shared_key` protects `forward`".to_string()
            }
            _ => "write `Listen 127.0.0.1`: the containers of the task reach it there".to_string(),
        };
        found.push(
            Diagnostic::warning("FL0792", message)
                .at(span)
                .outcome(outcome)
                .help(help),
        );
    }
}

/// The monitoring server.
fn server(service: &Section, mode: &Mode, found: &mut Vec<Diagnostic>) {
    let on = service.get("http_server").is_some_and(|entry| {
        ["on", "true", "yes"]
            .iter()
            .any(|on| entry.value.value.eq_ignore_ascii_case(on))
    });
    let listen = service.get("http_listen");
    let address = listen.map(|entry| entry.value.value.as_str());
    if !on || !is_open(address) || *mode == Mode::Bridge || mode.name() == "none" {
        return;
    }
    let span = listen
        .or(service.get("http_server"))
        .map_or(service.span, |entry| entry.value.span);
    let message = "the monitoring server listens on every address";
    let outcome = "whoever the security group lets in can read metrics, and reload where that is on";
    let help = "write `HTTP_Listen 127.0.0.1`: a health check runs inside the container";
    found.push(
        Diagnostic::warning("FL0793", message)
            .at(span)
            .outcome(outcome)
            .help(help),
    );
}

#[cfg(test)]
mod tests {
    use crate::context::Given;
    use crate::lint::testing::lint_with;

    fn config(mode: &str, config: &str) -> String {
        let task = format!(
            "family: web\nnetworkMode: {mode}\ncontainerDefinitions:\n- name: log_router\n  image: r\n  \
             firelensConfiguration:\n    type: fluentbit\n    options: {{config-file-type: file, \
             config-file-value: /extra.conf}}\n- name: app\n  image: app\n  logConfiguration: {{logDriver: \
             awsfirelens}}\n"
        );
        lint_with(
            &task,
            &["FL0791", "FL0792", "FL0793"],
            &Given::default(),
            Some(config),
        )
    }

    #[test]
    fn findings() {
        let service = "[SERVICE]\n    HTTP_Server On\n    HTTP_Listen 0.0.0.0\n";
        insta::assert_snapshot!(config(
            "awsvpc",
            &format!(
                "{service}[INPUT]\n    Name forward\n    Listen 0.0.0.0\n    Port 24224\n[INPUT]\n    Name tcp\n    Port 5170\n"
            )
        ));
        insta::assert_snapshot!(config(
            "host",
            "[INPUT]\n    Name forward\n    Listen 0.0.0.0\n    Port 24224\n"
        ));
        insta::assert_snapshot!(config(
            "bridge",
            &format!("{service}[INPUT]\n    Name tcp\n    Listen 0.0.0.0\n    Port 25888\n")
        ));
    }

    #[test]
    fn what_listens_on_loopback_or_a_socket_is_fine() {
        let fine = "[INPUT]\n    Name tcp\n    Listen 127.0.0.1\n    Port 5170\n[INPUT]\n    Name forward\n    \
                    unix_path /x.sock\n[INPUT]\n    Name tail\n    Path /var/log/*\n";
        assert_eq!(config("awsvpc", fine), "");
    }
}
