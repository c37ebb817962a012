//! The command line under both names.

use std::time::Duration;

use firelane_testkit::until;

use crate::{PATIENCE, router};

const CONF: &str = "[SERVICE]\n    Flush 0.2\n[INPUT]\n    Name dummy\n    Samples 3\n    Rate 100\n[OUTPUT]\n    Name stdout\n    Match *\n";

#[test]
fn versions_and_help() {
    for (fluent_bit, args) in [
        (false, "--version"),
        (false, "--help"),
        (true, "-V"),
        (true, "--version"),
        (true, "-h"),
    ] {
        let builder = if fluent_bit {
            router().as_fluent_bit()
        } else {
            router()
        };
        let ended = builder.args(&[args]).run();
        assert_eq!(ended.code, Some(0), "{args}: {}", ended.stderr);
        assert!(!ended.stdout.is_empty(), "{args} says nothing");
    }
}

/// Guarantees: scripts that look for Fluent Bit's words find them.
#[test]
fn a_good_configuration_is_said_so() {
    let ended = router()
        .as_fluent_bit()
        .file("router.conf", CONF)
        .args(&["-c", "router.conf", "--dry-run"])
        .run();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("configuration test is successful"),
        "{}",
        ended.stderr
    );
    for args in [
        &["check", "router.conf"][..],
        &["router", "-c", "router.conf", "--dry-run"],
    ] {
        let ended = router().file("router.conf", CONF).args(args).run();
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
    }
}

/// Scenario: a pipeline from the command line alone, and a Go plugin that ECS images name.
#[test]
fn a_pipeline_without_a_file() {
    let line = "-e /fluent-bit/firehose.so -i dummy -t app -p samples=2 -p rate=100 -o stdout -m app -f 0.2";
    let args: Vec<&str> = line.split(' ').collect();
    let running = router().as_fluent_bit().args(&args).spawn();
    let stdout = running.path("stdout.txt");
    until("two records on stdout", PATIENCE, || {
        (std::fs::read_to_string(&stdout)
            .unwrap_or_default()
            .matches("message")
            .count()
            == 2)
            .then_some(())
    });
    let ended = running.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("firehose.so"),
        "the plugin file is mentioned:\n{}",
        ended.stderr
    );
    ended.ledgers().all_delivered("stdout.0", 2);
}

/// Guarantees: idle, the router ends at once, not after its grace period.
#[test]
fn an_idle_router_stops_at_once() {
    let running = router().start(CONF);
    until("three records on stdout", PATIENCE, || {
        let text = std::fs::read_to_string(running.path("stdout.txt")).unwrap_or_default();
        (text.matches("message").count() == 3).then_some(())
    });
    let ended = running.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.took < Duration::from_secs(3), "it took {:?}", ended.took);
    ended.ledgers().all_delivered("stdout.0", 3);
}

#[test]
fn plugins_are_listed_with_their_properties() {
    let list = router().args(&["plugins"]).run();
    assert_eq!(list.code, Some(0), "{}", list.stderr);
    for name in ["forward", "tail", "grep", "modify", "http", "stdout"] {
        assert!(list.stdout.contains(name), "{name} is not in:\n{}", list.stdout);
    }
    let show = router().args(&["plugins", "show", "http"]).run();
    assert_eq!(show.code, Some(0), "{}", show.stderr);
    assert!(show.stdout.contains("json_date_key"), "{}", show.stdout);
}

/// Scenario: what reads the text has gone, as behind `| head -1`. Guarantees: an end, not a panic.
#[test]
fn a_closed_pipe_is_an_end() {
    const BAD: &str = "[INPUT]\n    Name dumy\n";
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("bad.conf");
    std::fs::write(&conf, BAD).unwrap();
    let conf = conf.to_str().unwrap();
    let cases: [(&[&str], i32); 9] = [
        (&["plugins"], 0),
        (&["plugins", "show", "http"], 0),
        (&["plugins", "show", "none"], 64),
        (&["completions", "bash"], 0),
        (&["man"], 0),
        (&["--help"], 0),
        (&["check", conf], 78),
        (&["check", "--format", "json", conf], 78),
        (&["router", "--dry-run", "-c", conf], 78),
    ];
    for (args, code) in cases {
        let closed = || {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            writer
        };
        let binary =
            std::env::var_os("FIRELANE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_firelane").into());
        let status = std::process::Command::new(binary)
            .args(args)
            .stdout(closed())
            .stderr(closed())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(code), "{args:?}");
    }
}
