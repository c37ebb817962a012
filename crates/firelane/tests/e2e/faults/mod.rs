//! The fault suite: destinations, names, clocks, outputs and ends that fail, through the real binary. Nothing
//! is lost; what comes twice is at most a request that the destination has read and whose answer was lost.

mod clock;
mod disk;
mod dns;
mod durable;
mod ends;
mod kills;
mod limits;
mod plugins;
mod refuse;

pub(crate) use durable::soak;
pub(crate) use kills::Dice;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, thread};

use firelane_testkit::forward::{message, numbered};
use firelane_testkit::{Destination, Ended, Forward, Router, RouterBuilder};

use crate::{PATIENCE, numbers};

/// Short waits, and time for a drain.
const SERVICE: &str = "    Flush 0.1\n    Grace 10\n    scheduler.base 1\n    scheduler.cap 2\n";

/// The program with the plugins of `examples/faulty-router`, in an empty folder.
fn faulty() -> RouterBuilder {
    RouterBuilder::new(faulty_binary())
}

/// `examples/faulty-router`, which Cargo builds with all tests.
fn faulty_binary() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let folder = tests.ancestors().nth(2).unwrap().join("examples");
    let binary = folder.join("faulty-router");
    let help = "build it: `cargo build -p firelane --example faulty-router` (plain `cargo test` does)";
    assert!(binary.exists(), "{} is not there; {help}", binary.display());
    let stale = newer_source(&folder.join("faulty-router.d"), &binary);
    assert_eq!(
        stale,
        None,
        "{} is older than its source; {help}",
        binary.display()
    );
    binary
}

/// A source in the make file `rule` that is newer than what was made of it.
fn newer_source(rule: &Path, made: &Path) -> Option<PathBuf> {
    let changed = |path: &Path| -> Option<SystemTime> { fs::metadata(path).ok()?.modified().ok() };
    let made = changed(made)?;
    let rule = fs::read_to_string(rule).ok()?;
    let (_, sources) = rule.split_once(": ")?;
    let mut sources = sources.split_whitespace().map(PathBuf::from);
    sources.find(|source| changed(source).is_some_and(|changed| changed > made))
}

/// Says that something cannot be tested here; in CI that is a failure.
#[track_caller]
fn left_out(what: &str, why: &str) {
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "{what} must run in CI: {why}"
    );
    eprintln!("LEFT OUT: {what}: {why}");
}

/// Runs the router in a mount namespace of its own: `script` mounts in its folder and becomes what follows.
fn with_mount(builder: RouterBuilder, script: &str) -> Result<RouterBuilder, String> {
    let can = std::process::Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh", "true"])
        .current_dir(builder.dir())
        .output()
        .map_err(|error| format!("unshare: {error}"))?;
    if !can.status.success() {
        return Err(String::from_utf8_lossy(&can.stderr).into_owned());
    }
    Ok(builder.wrapped(&["unshare", "-m", "sh", "-c", script, "sh"]))
}

/// `[OUTPUT] Name http` to a port of the loopback.
fn http_output(port: u16, more: &str) -> String {
    format!(
        "[OUTPUT]\n    Name http\n    Match *\n    Host 127.0.0.1\n    Port {port}\n    Format json_lines\n{more}"
    )
}

/// `[INPUT] Name forward` on the socket `in.sock`.
fn unix_input(more: &str) -> String {
    format!("[INPUT]\n    Name forward\n    unix_path {{dir}}/in.sock\n{more}")
}

/// The monitoring server, in `[SERVICE]`.
fn monitor(port: u16) -> String {
    format!("    HTTP_Server On\n    HTTP_Listen 127.0.0.1\n    HTTP_Port {port}\n")
}

fn connect(router: &Router) -> Forward {
    Forward::unix(&router.path("in.sock")).unwrap()
}

/// Sends `count` numbered records over one connection that must never break, so long after each other.
#[track_caller]
fn send(router: &Router, name: &str, count: u64, pad: usize, pause: Duration) {
    let mut client = connect(router);
    for sequence in numbers(name, count) {
        let sent = client.send(&message(name, numbered(&sequence, pad)), PATIENCE);
        sent.unwrap_or_else(|error| panic!("disconnected at {sequence}: {error}\n{}", router.log()));
        thread::sleep(pause);
    }
}

/// Stops a router whose only output has everything; both ledgers say so.
#[track_caller]
fn stop_after_all(router: Router, destination: &Destination, count: u64) -> Ended {
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.ledgers().all_delivered("http.0", count);
    assert_eq!(destination.taken(), count);
    ended
}
