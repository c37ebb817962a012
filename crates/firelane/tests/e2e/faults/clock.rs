//! The wall clock jumps, by years, while the router runs. A small library (`clock.c`) stands between the
//! router and the system's clock; the router's log lines prove that it saw the jumps.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use firelane_testkit::forward::{forward_with_ack, numbered, record};
use firelane_testkit::{Act, Destination, Router, until};

use super::{connect, http_output, left_out, send, unix_input};
use crate::{PATIENCE, numbers, root, router};

const YEAR: i64 = 365 * 24 * 3600;

/// Compiles the library into the folder; says why not.
fn compile(folder: &Path) -> Result<(), String> {
    let source = root().join("crates/firelane/tests/e2e/faults/clock.c");
    let result = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(folder.join("clock.so"))
        .arg(source)
        .output();
    match result {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(format!("cc: {error}")),
    }
}

/// Shifts the router's clock by so many seconds against the real one.
fn shift(router: &Router, seconds: i64) {
    let mut file = OpenOptions::new().write(true).open(router.path("clock")).unwrap();
    file.write_all(&seconds.to_ne_bytes()).unwrap();
}

/// The years of the router's log lines, each once, in order.
fn years(log: &str) -> Vec<i64> {
    let stamps = log.lines().filter_map(|line| line.strip_prefix('['));
    let mut years: Vec<i64> = stamps
        .filter_map(|line| line.split_once('/')?.0.parse().ok())
        .collect();
    years.dedup();
    years
}

/// Scenario: the clock jumps ten years ahead while a chunk waits for its retry, then twenty back.
/// Guarantees: the retry comes neither earlier nor later than its schedule says; flushes, acks, `tail` and
/// the stop take their usual time; nothing is lost or twice.
#[test]
fn the_clock_jumps_by_years() {
    let destination = Destination::start(|n| if n == 0 { Act::Status(503) } else { Act::Accept });
    let builder = router();
    if let Err(why) = compile(builder.dir()) {
        return left_out("jumps of the clock", &why);
    }
    let folder = builder.dir().display().to_string();
    let tail = "[INPUT]\n    Name tail\n    Tag tail\n    Path {dir}/in.log\n    DB {dir}/in.db\n    Parser json\n    \
                Read_from_Head On\n    Refresh_Interval 1\n";
    let service = "    Flush 0.1\n    scheduler.base 2\n    scheduler.cap 2\n";
    let conf = format!(
        "[SERVICE]\n{service}{}{tail}{}",
        unix_input(""),
        http_output(destination.port(), "")
    );
    let router = builder
        .file("clock", "\0\0\0\0\0\0\0\0")
        .file("in.log", "")
        .env("LD_PRELOAD", &format!("{folder}/clock.so"))
        .env("FIRELANE_TEST_CLOCK", &format!("{folder}/clock"))
        .start(&conf);
    send(&router, "a", 10, 10, Duration::ZERO);
    until("the first request", PATIENCE, || {
        (!destination.requests().is_empty()).then_some(())
    });
    shift(&router, 10 * YEAR);
    destination.wait_for(10, Duration::from_secs(8));
    let requests = destination.requests();
    let waited = requests[1].at - requests[0].at;
    assert!(waited >= Duration::from_secs(3), "tried again after {waited:?}");
    // The log must have a line of that time.
    until("the end of the outage is told", PATIENCE, || {
        router.log().contains("delivers again").then_some(())
    });

    shift(&router, -10 * YEAR);
    let mut client = connect(&router);
    client
        .send(&forward_with_ack("app", &[numbered("b", 10)], "one"), PATIENCE)
        .unwrap();
    let ack = client.receive(Duration::from_secs(5)).unwrap();
    assert_eq!(ack, record(&[("ack", "one")]).bytes());
    drop(client);
    router.write("in.log", "{\"seq\":\"c\"}\n");
    destination.wait_for(12, Duration::from_secs(8));
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.took < Duration::from_secs(5), "it took {:?}", ended.took);
    ended.ledgers().all_delivered("http.0", 12);
    destination.assert_once(numbers("a", 10).chain(["b", "c"].map(String::from)));
    let years = years(&ended.stderr);
    assert!(
        years.windows(2).any(|pair| pair[1] == pair[0] - 20),
        "the clock did not jump: {years:?}"
    );
}
