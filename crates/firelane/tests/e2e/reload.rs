//! Hot reload under load, by SIGHUP and by the API: no record is lost, no client is cut off.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use firelane_testkit::forward::{message, numbered};
use firelane_testkit::{Forward, Router, Sink, free_port, http, until};

use crate::{PATIENCE, numbers, router};

fn conf(sink: &Sink, admin: u16, filter: &str) -> String {
    let service = format!(
        "    Flush 0.2\n    Hot_Reload On\n    HTTP_Server On\n    HTTP_Listen 127.0.0.1\n    HTTP_Port {admin}\n"
    );
    let input = "    Name forward\n    unix_path {dir}/in.sock\n    Mem_Buf_Limit 50MB\n";
    let output = format!(
        "    Name http\n    Match *\n    Host 127.0.0.1\n    Port {}\n    Format json_lines\n",
        sink.port()
    );
    format!("[SERVICE]\n{service}[INPUT]\n{input}{filter}[OUTPUT]\n{output}")
}

fn reloads(admin: u16) -> u64 {
    let text = http::get(admin, "/api/v2/reload")
        .map(|reply| reply.text())
        .unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// Sends numbered records until `stop`; gives how many.
fn send_until(router: &Router, stop: &AtomicBool) -> u64 {
    let mut client = Forward::unix(&router.path("in.sock")).unwrap();
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let bytes = message("app", numbered(&format!("a-{sent:07}"), 200));
        let result = client.send(&bytes, PATIENCE);
        result.unwrap_or_else(|error| panic!("cut off after {sent} records: {error}\n{}", router.log()));
        sent += 1;
    }
    sent
}

/// Runs `reload` beside a client and a filter that changes; every record arrives once.
fn under_load(wanted: u64, mut reload: impl FnMut(&Router, u16)) {
    const FILTER: &str = "[FILTER]\n    Name record_modifier\n    Match *\n    Record added yes\n";
    let (sink, admin) = (Sink::start(), free_port());
    let router = router().start(&conf(&sink, admin, ""));
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let client = scope.spawn(|| send_until(&router, &stop));
        sink.wait_for(1000, PATIENCE);
        for round in 0..wanted {
            router.write(
                "router.conf",
                &conf(&sink, admin, if round % 2 == 0 { FILTER } else { "" }),
            );
            reload(&router, admin);
            until("the reload is counted", PATIENCE, || {
                (reloads(admin) == round + 1).then_some(())
            });
            let seen = sink.records();
            sink.wait_for(seen + 1000, PATIENCE);
        }
        stop.store(true, Ordering::Relaxed);
        client.join().expect("a client that is never cut off")
    });
    sink.wait_for(sent, PATIENCE);
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    sink.assert_once(numbers("a", sent));
    ended.ledgers().all_delivered("http.0", sent);
}

#[test]
fn by_signal() {
    under_load(2, |router, _| router.reload());
}

#[test]
fn by_the_api() {
    under_load(2, |_, admin| {
        let reply = http::request(admin, "POST", "/api/v2/reload", "application/json", b"{}").unwrap();
        assert_eq!(
            (reply.status, reply.text().contains("\"done\"")),
            (200, true),
            "{}",
            reply.text()
        );
    });
}

/// Guarantees: a bad file is refused with its place, and the old configuration goes on.
#[test]
fn a_bad_configuration_changes_nothing() {
    let (sink, admin) = (Sink::start(), free_port());
    let router = router().start(&conf(&sink, admin, ""));
    router.write(
        "router.conf",
        &conf(&sink, admin, "[FILTER]\n    Name nosuch\n    Match *\n"),
    );
    let reply = http::request(admin, "POST", "/api/v2/reload", "application/json", b"{}").unwrap();
    assert_eq!(reply.status, 400, "{}", reply.text());
    router.reload();
    until("the fault is told", PATIENCE, || {
        (router.log().matches("nosuch").count() >= 2).then_some(())
    });
    assert_eq!(reloads(admin), 0);
    let mut client = Forward::unix(&router.path("in.sock")).unwrap();
    client
        .send(&message("app", numbered("a-0000000", 10)), PATIENCE)
        .unwrap();
    sink.wait_for(1, PATIENCE);
    let ended = router.stop();
    ended.ledgers().all_delivered("http.0", 1);
}

/// Scenario: the output whose destination is dead has filled the memory; a reload puts a file in its place.
/// Guarantees: the new output gets what comes; what the old one owed is named.
#[test]
fn a_dead_output_is_replaced() {
    let (admin, dead) = (free_port(), free_port());
    let conf = |output: &str| {
        format!(
            "[SERVICE]\n    Flush 0.2\n    Grace 2\n    firelane.spill_path off\n    Hot_Reload On\n    HTTP_Server On\n    HTTP_Listen 127.0.0.1\n    HTTP_Port {admin}\n\
             [INPUT]\n    Name forward\n    unix_path {{dir}}/in.sock\n    Mem_Buf_Limit 500k\n[OUTPUT]\n    Match *\n{output}"
        )
    };
    let http_output = format!("    Name http\n    Host 127.0.0.1\n    Port {dead}\n");
    let router = router().start(&conf(&http_output));
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let client = scope.spawn(|| send_until(&router, &stop));
        until("the memory is full", PATIENCE, || {
            router.log().contains("paused (mem buf overlimit)").then_some(())
        });
        let folder = router.path("");
        let file = format!("    Name file\n    Path {}\n    File out.txt\n", folder.display());
        router.write("router.conf", &conf(&file));
        router.reload();
        until("the old output is seen", PATIENCE, || {
            let health = http::get(admin, "/health/delivery").ok()?;
            health.text().contains("http.0 (replaced)").then_some(())
        });
        until("the new output gets records", PATIENCE, || {
            let out = std::fs::read(router.path("out.txt")).unwrap_or_default();
            (out.len() > 2_000_000).then_some(())
        });
        let health = http::get(admin, "/health/delivery").unwrap();
        assert!(
            health.status == 503,
            "what was dropped is not told: {}",
            health.text()
        );
        stop.store(true, Ordering::Relaxed);
        client.join().expect("a client that is never cut off")
    });
    let ended = router.stop();
    let ledgers = ended.ledgers();
    let owed = ledgers.output("http.0");
    assert_eq!(owed.get("dropped.stopped"), owed.get("routed"));
    let got = ledgers.output("file.0");
    assert_eq!(got.get("delivered"), sent - owed.get("routed"));
}

/// Scenario: a reload changes an input while its client goes on, so that it ends late.
/// Guarantees: until then it stands in the metrics.
#[test]
fn an_input_that_ends_is_still_counted() {
    let (sink, admin) = (Sink::start(), free_port());
    let before = conf(&sink, admin, "");
    let router = router().start(&before);
    let records = || router.metric(admin, "fluentbit_input_records_total", "forward.0");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = Forward::unix(&router.path("in.sock")).unwrap();
            while !stop.load(Ordering::Relaxed)
                && client
                    .send(&message("app", numbered("a-0", 200)), PATIENCE)
                    .is_ok()
            {
                thread::sleep(std::time::Duration::from_millis(10));
            }
        });
        sink.wait_for(100, PATIENCE);
        router.write("router.conf", &before.replace("50MB", "60MB"));
        router.reload();
        until("its socket is given up", PATIENCE, || {
            (!router.path("in.sock").exists()).then_some(())
        });
        let first = records();
        thread::sleep(std::time::Duration::from_millis(500));
        assert!(
            first > 0.0 && records() > first,
            "{first} records, then {}",
            records()
        );
        stop.store(true, Ordering::Relaxed);
    });
    until("the reload is counted", PATIENCE, || {
        (reloads(admin) == 1).then_some(())
    });
    router.stop().ledgers();
}

/// Scenario: a reload changes a parser, and nothing in the input that uses it.
#[test]
fn a_changed_parser_is_taken() {
    let (sink, admin) = (Sink::start(), free_port());
    let text = conf(&sink, admin, "");
    let at = text.find("[INPUT]").unwrap();
    let end = text.find("[OUTPUT]").unwrap();
    let text = format!(
        "{}    Parsers_File parsers.conf\n[INPUT]\n    Name tail\n    Path {{dir}}/in.log\n    Read_from_Head On\n    Parser p\n    Refresh_Interval 1\n{}",
        &text[..at],
        &text[end..]
    );
    let parser = |key: &str| format!("[PARSER]\n    Name p\n    Format regex\n    Regex ^(?<{key}>.*)$\n");
    let router = router()
        .file("parsers.conf", &parser("old"))
        .file("in.log", "")
        .start(&text);
    until("the router runs", PATIENCE, || {
        http::get(admin, "/health/ready")
            .ok()
            .filter(|reply| reply.status == 200)
    });
    router.write("parsers.conf", &parser("seq"));
    router.reload();
    until("the reload is counted", PATIENCE, || {
        (reloads(admin) == 1).then_some(())
    });
    router.write("in.log", "a-0000000\n");
    sink.wait_for(1, PATIENCE);
    router.stop().ledgers().all_delivered("http.0", 1);
}
