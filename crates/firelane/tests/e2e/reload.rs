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
