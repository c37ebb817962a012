//! The monitoring server.

use firelane_testkit::forward::{message, numbered};
use firelane_testkit::{Answer, Forward, Router, Sink, free_port, http, until};

use crate::{PATIENCE, router};

fn start(sink: &Sink, admin: u16, service: &str) -> Router {
    let server = format!("    HTTP_Server On\n    HTTP_Listen 127.0.0.1\n    HTTP_Port {admin}\n");
    let input = "    Name forward\n    unix_path {dir}/in.sock\n";
    let port = sink.port();
    let output =
        format!("    Name http\n    Match *\n    Host 127.0.0.1\n    Port {port}\n    Format json_lines\n");
    router().start(&format!(
        "[SERVICE]\n    Flush 0.2\n{server}{service}[INPUT]\n{input}[OUTPUT]\n{output}"
    ))
}

fn send(router: &Router, count: u64) {
    let mut client = Forward::unix(&router.path("in.sock")).unwrap();
    for n in 0..count {
        client
            .send(&message("app", numbered(&n.to_string(), 10)), PATIENCE)
            .unwrap();
    }
}

#[track_caller]
fn check(admin: u16, path: &str, status: u16, words: &[&str]) {
    let reply = http::get(admin, path).unwrap();
    assert_eq!(reply.status, status, "{path}: {}", reply.text());
    assert!(
        reply.head.contains("server: Fluent Bit"),
        "{path}: {}",
        reply.head
    );
    for word in words {
        assert!(
            reply.text().contains(word),
            "{path} does not hold `{word}`:\n{}",
            reply.text()
        );
    }
}

#[test]
fn every_path_answers() {
    let (sink, admin) = (Sink::start(), free_port());
    let router = start(&sink, admin, "    storage.metrics On\n    Health_Check On\n");
    send(&router, 7);
    sink.wait_for(7, PATIENCE);
    until("the delivery is counted", PATIENCE, || {
        (router.metric(admin, "fluentbit_output_proc_records_total", "http.0") == 7.0).then_some(())
    });
    check(admin, "/", 200, &["\"fluent-bit\"", "\"version\""]);
    check(admin, "/api/v1/uptime", 200, &["uptime_sec", "uptime_hr"]);
    check(
        admin,
        "/api/v1/metrics",
        200,
        &[
            "\"forward.0\"",
            "\"records\":7",
            "\"http.0\"",
            "\"proc_records\":7",
        ],
    );
    let series = [
        "fluentbit_input_records_total{name=\"forward.0\"} 7",
        "fluentbit_output_proc_records_total{name=\"http.0\"} 7",
    ];
    check(admin, "/api/v1/metrics/prometheus", 200, &series);
    check(admin, "/api/v2/metrics", 200, &["fluentbit_input_records_total"]);
    check(admin, "/api/v2/metrics/prometheus", 200, &series);
    check(admin, "/api/v1/health", 200, &["ok\n"]);
    check(admin, "/api/v2/reload", 200, &["hot_reload_count"]);
    for path in ["/health/live", "/health/ready"] {
        check(admin, path, 200, &[]);
    }
    check(admin, "/health/delivery", 200, &["http.0"]);
    check(admin, "/nothing/here", 404, &[]);
    until("the storage sample", PATIENCE, || {
        (http::get(admin, "/api/v1/storage").ok()?.status == 200).then_some(())
    });
    check(
        admin,
        "/api/v1/storage",
        200,
        &["storage_layer", "input_chunks", "forward.0"],
    );
    let ended = router.stop();
    ended.ledgers().all_delivered("http.0", 7);
}

/// Scenario: errors above `HC_Errors_Count` within the period.
#[test]
fn health_tells_of_refusals() {
    let (sink, admin) = (Sink::start_with(Answer::Status(400)), free_port());
    let router = start(
        &sink,
        admin,
        "    Health_Check On\n    HC_Errors_Count 0\n    HC_Period 30\n",
    );
    check(admin, "/api/v1/health", 200, &["ok\n"]);
    send(&router, 1);
    until("the router is unhealthy", PATIENCE, || {
        (http::get(admin, "/api/v1/health").unwrap().status == 500).then_some(())
    });
    check(admin, "/api/v1/health", 500, &["error\n"]);
    check(admin, "/health/delivery", 503, &["dropped_in_period"]);
    let ended = router.stop();
    let ledgers = ended.ledgers();
    assert_eq!(ledgers.output("http.0").get("delivered"), 0);
}

#[test]
fn health_is_only_there_when_asked_for() {
    let (sink, admin) = (Sink::start(), free_port());
    let router = start(&sink, admin, "");
    assert_eq!(http::get(admin, "/api/v1/health").unwrap().status, 404);
    let refused = http::request(admin, "POST", "/api/v2/reload", "application/json", b"{}").unwrap();
    assert!(refused.text().contains("not enabled"), "{}", refused.text());
    router.stop().ledgers();
}

/// Guarantees: what the HTTP server of an input sees is counted, good clients and bad ones.
#[test]
fn connections_of_the_http_input_are_counted() {
    let (admin, port) = (free_port(), free_port());
    let server = format!("[SERVICE]\n    Flush 0.2\n    HTTP_Server On\n    HTTP_Port {admin}\n");
    let input =
        format!("[INPUT]\n    Name http\n    Listen 127.0.0.1\n    Port {port}\n    Buffer_Max_Size 1000\n");
    let router = router().start(&format!("{server}{input}[OUTPUT]\n    Name null\n    Match *\n"));
    let post = |body: &[u8]| http::request(port, "POST", "/app", "application/json", body);
    let metric = |name| router.metric(admin, name, "http.0");
    assert_eq!(post(b"{\"a\":1}").unwrap().status, 201);
    // The test's own look whether the port is open is a connection too.
    let before = metric("firelane_input_connections_total");
    assert!(before >= 1.0);
    assert_eq!(post(&[b' '; 2000]).unwrap().status, 413);
    assert_eq!(metric("firelane_input_connections_total"), before + 1.0);
    assert!(metric("firelane_input_faults_total") >= 1.0);
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
