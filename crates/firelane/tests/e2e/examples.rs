//! Every file of `examples/` passes `check` and runs.

use std::fs;

use firelane_testkit::{free_port, until};

use crate::{PATIENCE, root, router};

#[test]
fn every_example_runs() {
    let mut files: Vec<_> = fs::read_dir(root().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|ending| ending == "conf" || ending == "yaml")
    });
    files.sort();
    assert!(files.len() >= 4, "{files:?}");
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let start = |args: &[&str]| {
            let builder = router().file(name, &text).args(args);
            let dir = builder.dir().display().to_string();
            builder
                .env("DIR", &dir)
                .env("PORT", &free_port().to_string())
                .env("HTTP_PORT", &free_port().to_string())
        };
        let checked = start(&["check", name]).run();
        assert_eq!(checked.code, Some(0), "{name}: {}", checked.stderr);
        let running = start(&["router", "-c", name]).spawn();
        until(name, PATIENCE, || {
            running.log().contains("[engine] started").then_some(())
        });
        let ended = running.stop();
        // 75: the destination of an example does not exist here.
        assert!(
            matches!(ended.code, Some(0 | 75)),
            "{name}: {:?}\n{}",
            ended.code,
            ended.stderr
        );
        ended.ledgers();
    }
}

/// Guarantees: the quick start of the README shows records at once.
#[test]
fn the_quick_start_prints_records() {
    let text = fs::read_to_string(root().join("examples/quick-start.conf")).unwrap();
    let running = router()
        .file("quick-start.conf", &text)
        .args(&["router", "-c", "quick-start.conf"])
        .spawn();
    until("records on stdout", PATIENCE, || {
        fs::read_to_string(running.path("stdout.txt"))
            .unwrap_or_default()
            .contains("hello")
            .then_some(())
    });
    let ended = running.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.ledgers().ingest.get("received") > 0);
}
