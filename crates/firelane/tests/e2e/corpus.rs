//! Seeds and regressions of the fuzz targets, replayed without cargo-fuzz.

use std::fs;

use crate::root;

/// Runs every file of the target's folders through its entry, which panics on a bug.
#[track_caller]
fn replay(target: &str, entry: fn(&[u8])) {
    let mut count = 0;
    for kind in ["corpus", "regressions"] {
        let folder = root().join("fuzz").join(kind).join(target);
        for file in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = file.unwrap().path();
            let data = fs::read(&path).unwrap();
            let result = std::panic::catch_unwind(|| entry(&data));
            assert!(result.is_ok(), "{} fails", path.display());
            count += 1;
        }
    }
    assert!(count >= 5, "only {count} inputs for {target}");
}

#[test]
fn answers() {
    replay("answers", firelane_outputs::fuzz::fuzz_answers);
}

#[test]
fn cloud() {
    replay("cloud", firelane_cloud::fuzz::fuzz_requests);
}

#[test]
fn uploads() {
    replay("uploads", firelane_outputs::fuzz::fuzz_uploads);
}

#[test]
fn msgpack() {
    replay("msgpack", firelane_record::fuzz::fuzz_msgpack);
}

#[test]
fn json() {
    replay("json", firelane_record::fuzz::fuzz_json);
}

#[test]
fn session() {
    replay("session", firelane_forward::fuzz_session);
}

#[test]
fn classic() {
    replay("classic", firelane_conf::fuzz_classic);
}

#[test]
fn parsers() {
    replay("parsers", firelane_parse::fuzz::fuzz_parsers);
}

#[test]
fn yaml() {
    replay("yaml", firelane_conf::fuzz_yaml);
}

#[test]
fn source() {
    replay("source", firelane_ecs::source::fuzz_source);
}

#[test]
fn taskdef() {
    replay("taskdef", firelane_ecs::fuzz::fuzz_taskdef);
}

#[test]
fn template() {
    replay("template", firelane_ecs::cfn::fuzz_template);
}
