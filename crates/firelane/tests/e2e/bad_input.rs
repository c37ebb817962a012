//! Bad input: one clear error with its place and a help, and the documented exit code. Under the name
//! `fluent-bit` its codes: 1 where the configuration is read, 255 where plugins start.

use std::fs;
use std::net::TcpListener;

use firelane_testkit::{Ended, RouterBuilder, free_port};

use crate::{router, vectors};

const GOOD_OUTPUT: &str = "[OUTPUT]\n    Name stdout\n    Match *\n";

/// What a bad start must show.
struct Want {
    /// Exit code under our own name.
    ours: i32,
    /// Exit code under the name `fluent-bit`.
    theirs: i32,
    /// What the message must hold: the place, the plugin, the fault.
    words: &'static [&'static str],
}

/// Takes out what differs from run to run: the time, the folder, ports.
fn plain(ended: &Ended, port: u16) -> String {
    let mut out = String::new();
    for line in ended.plain_stderr().lines() {
        let stamp = line.starts_with('[') && line.get(24..26) == Some("] ");
        out.push_str(if stamp { &line[26..] } else { line });
        out.push('\n');
    }
    if port == 0 {
        out
    } else {
        out.replace(&port.to_string(), "[port]")
    }
}

#[track_caller]
fn check_words(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "the message does not hold `{word}`:\n{text}");
    }
}

/// Runs the configuration under both names; the messages under ours are pinned by a snapshot.
#[track_caller]
fn check(name: &str, conf: &str, port: u16, want: &Want) {
    let files = |builder: RouterBuilder| builder.file("router.conf", conf);
    let ended = files(router()).args(&["router", "-c", "router.conf"]).run();
    let text = plain(&ended, port);
    assert_eq!(ended.code, Some(want.ours), "{text}");
    check_words(&text, want.words);
    insta::assert_snapshot!(name, text);

    let ended = files(router()).as_fluent_bit().args(&["-c", "router.conf"]).run();
    let text = plain(&ended, port);
    assert_eq!(
        ended.code,
        Some(want.theirs),
        "under the name fluent-bit:\n{text}"
    );
    check_words(&text, want.words);
}

/// The same by `check` and `--dry-run`, which see configurations and open nothing.
#[track_caller]
fn check_dry(name: &str, conf: &str, want: &Want) {
    check(name, conf, 0, want);
    for args in [
        &["check", "router.conf"][..],
        &["router", "-c", "router.conf", "--dry-run"],
    ] {
        let ended = router().file("router.conf", conf).args(args).run();
        let text = plain(&ended, 0) + &ended.stdout;
        assert_eq!(ended.code, Some(want.ours), "{args:?}:\n{text}");
        check_words(&text, want.words);
    }
    let ended = router()
        .as_fluent_bit()
        .file("router.conf", conf)
        .args(&["-c", "router.conf", "--dry-run"])
        .run();
    assert_eq!(ended.code, Some(1), "fluent-bit --dry-run:\n{}", ended.stderr);
}

#[test]
fn unknown_plugin() {
    let conf = format!("[INPUT]\n    Name forwrd\n    Tag x\n{GOOD_OUTPUT}");
    let words = &["router.conf:2:10", "forwrd", "forward"];
    check_dry(
        "unknown_plugin",
        &conf,
        &Want {
            ours: 78,
            theirs: 1,
            words,
        },
    );
}

#[test]
fn unknown_property() {
    let conf = format!("[INPUT]\n    Name dummy\n    Sampels 3\n{GOOD_OUTPUT}");
    let words = &["router.conf:3:5", "dummy", "ampels", "samples"];
    check_dry(
        "unknown_property",
        &conf,
        &Want {
            ours: 78,
            theirs: 255,
            words,
        },
    );
}

#[test]
fn wrong_unit() {
    let conf = format!("[INPUT]\n    Name dummy\n    Mem_Buf_Limit 5XB\n{GOOD_OUTPUT}");
    let words = &["router.conf:3:", "5XB"];
    check_dry(
        "wrong_unit",
        &conf,
        &Want {
            ours: 78,
            theirs: 1,
            words,
        },
    );
}

#[test]
fn bad_regex() {
    let conf = format!(
        "[INPUT]\n    Name dummy\n[FILTER]\n    Name grep\n    Match *\n    Regex log (open\n{GOOD_OUTPUT}"
    );
    let words = &["router.conf:6:", "grep", "(open"];
    check_dry(
        "bad_regex",
        &conf,
        &Want {
            ours: 78,
            theirs: 255,
            words,
        },
    );
}

#[test]
fn missing_include() {
    let conf = format!("[INPUT]\n    Name dummy\n@INCLUDE nope.conf\n{GOOD_OUTPUT}");
    let words = &["router.conf:3:", "nope.conf"];
    check_dry(
        "missing_include",
        &conf,
        &Want {
            ours: 66,
            theirs: 1,
            words,
        },
    );
}

#[test]
fn missing_parsers_file() {
    let conf = format!("[SERVICE]\n    Parsers_File nope.conf\n[INPUT]\n    Name dummy\n{GOOD_OUTPUT}");
    let words = &["router.conf:2:", "nope.conf"];
    check_dry(
        "missing_parsers_file",
        &conf,
        &Want {
            ours: 66,
            theirs: 1,
            words,
        },
    );
}

/// Guarantees: 66 says that files are all that is wrong; with another error it is the configuration, 78.
#[test]
fn a_missing_file_beside_another_error() {
    let conf = "[INPUT]\n    Name dummy\n    Rate\n@INCLUDE nope.conf\n";
    let ended = router()
        .file("router.conf", conf)
        .args(&["check", "router.conf"])
        .run();
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    check_words(
        &ended.stderr,
        &["router.conf:3:5", "`Rate`", "router.conf:4:10", "nope.conf"],
    );
}

/// Guarantees: warnings name the instance they are about, by its alias if it has one, and stop nothing.
#[test]
fn warnings_name_their_plugin() {
    let conf = format!("[INPUT]\n    Name dummy\n    Alias numbers\n    Threaded on\n{GOOD_OUTPUT}");
    let ended = router()
        .file("router.conf", &conf)
        .args(&["check", "router.conf"])
        .run();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    check_words(
        &ended.stderr,
        &["warning[FL0403]", "router.conf:4:5", "= in numbers"],
    );
    assert!(
        ended.stdout.contains("router.conf: 0 errors, 1 warning"),
        "{}",
        ended.stdout
    );
}

/// Guarantees: of a repeated property of every plugin the last counts, with a warning that does not say its
/// value.
#[test]
fn repeated_core_properties() {
    let conf = "[INPUT]\n    Name dummy\n    Tag a\n    Tag b\n    Tag c\n[OUTPUT]\n    Name http\n    Match *\n    \
                Host x\n    Host y\n    tls on\n    tls.key_passwd one\n    tls.key_passwd two\n";
    let run = |builder: RouterBuilder, args: &[&str]| builder.file("router.conf", conf).args(args).run();
    let ended = run(router(), &["check", "router.conf"]);
    let warned = [
        "warning[FL0407]: `tag` is set 3 times: the last one counts",
        "router.conf:5:5",
        "= in dummy.0",
        "warning[FL0407]: `host` is set 2 times",
        "router.conf:10:5",
        "`tls.key_passwd` is set 2 times",
    ];
    check_words(&ended.stderr, &warned);
    assert!(!ended.stderr.contains("one\n"), "{}", ended.stderr);
    // A property of the plugin's own stays an error.
    let conf = format!("[INPUT]\n    Name dummy\n    Rate 1\n    Rate 2\n{GOOD_OUTPUT}");
    let ended = router()
        .file("own.conf", &conf)
        .args(&["check", "own.conf"])
        .run();
    check_words(&ended.stderr, &["error[FL0304]", "'rate' is set 2 times"]);
}

/// Guarantees: two instances of a kind never share a name. Under Fluent Bit's name it is tolerated.
#[test]
fn equal_names() {
    let conf = "[INPUT]\n    Name dummy\n    Alias a\n[OUTPUT]\n    Name stdout\n    Alias a\n    Match *\n[OUTPUT]\n    \
                Name null\n    Alias a\n    Match *\n";
    let run = |builder: RouterBuilder, args: &[&str]| builder.file("router.conf", conf).args(args).run();
    let ended = run(router(), &["check", "router.conf"]);
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    let words = [
        "error[FL0210]: another output is called `a`",
        "router.conf:10:11",
        "help: ",
    ];
    check_words(&ended.stderr, &words);
    let ended = run(router().as_fluent_bit(), &["-c", "router.conf", "--dry-run"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    check_words(
        &ended.stderr,
        &["another output is called `a`: this one is called `null.1`"],
    );
}

/// Scenario: a.conf includes b.conf, b.conf includes a.conf.
#[test]
fn cyclic_include() {
    let run = |builder: RouterBuilder| {
        let builder = builder.file("router.conf", "@INCLUDE a.conf\n[INPUT]\n    Name dummy\n");
        let ended = builder
            .file("a.conf", "@INCLUDE b.conf\n")
            .file("b.conf", "\n@INCLUDE a.conf\n")
            .run();
        (ended.code, plain(&ended, 0))
    };
    let (code, text) = run(router().args(&["router", "-c", "router.conf"]));
    assert_eq!(code, Some(78), "{text}");
    check_words(&text, &["b.conf:2:", "a.conf"]);
    insta::assert_snapshot!("cyclic_include", text);
    let (code, text) = run(router().as_fluent_bit().args(&["-c", "router.conf"]));
    assert_eq!(code, Some(1), "{text}");
}

#[test]
fn missing_configuration() {
    let ended = router().args(&["router", "-c", "missing.conf"]).run();
    assert_eq!(ended.code, Some(66), "{}", ended.stderr);
    check_words(&ended.stderr, &["missing.conf"]);
    insta::assert_snapshot!("missing_configuration", plain(&ended, 0));
    let ended = router().as_fluent_bit().args(&["-c", "missing.conf"]).run();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
}

/// Scenario: the path of the configuration is a folder, which nobody can read as a file, root included.
#[test]
fn unreadable_configuration() {
    let ended = router()
        .file("folder/x", "")
        .args(&["router", "-c", "folder"])
        .run();
    assert_eq!(ended.code, Some(66), "{}", ended.stderr);
    check_words(&ended.stderr, &["folder"]);
    insta::assert_snapshot!("unreadable_configuration", plain(&ended, 0));
}

#[test]
fn bad_yaml() {
    let run = |builder: RouterBuilder| {
        let conf = "pipeline:\n  inputs:\n    - name: dummy\n   tag: x\n";
        let ended = builder.file("router.yaml", conf).run();
        (ended.code, plain(&ended, 0))
    };
    let (code, text) = run(router().args(&["router", "-c", "router.yaml"]));
    assert_eq!(code, Some(78), "{text}");
    check_words(&text, &["router.yaml:4:"]);
    insta::assert_snapshot!("bad_yaml", text);
    let (code, text) = run(router().as_fluent_bit().args(&["-c", "router.yaml"]));
    assert_eq!(code, Some(1), "{text}");
}

#[test]
fn port_in_use() {
    let held = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = held.local_addr().unwrap().port();
    let conf = format!("[INPUT]\n    Name forward\n    Listen 127.0.0.1\n    Port {port}\n{GOOD_OUTPUT}");
    let words = &["forward.0", "127.0.0.1:[port]", "in use"];
    check(
        "port_in_use",
        &conf,
        port,
        &Want {
            ours: 71,
            theirs: 255,
            words,
        },
    );
    let ended = router()
        .file("router.conf", &conf)
        .args(&["check", "router.conf"])
        .run();
    assert_eq!(ended.code, Some(0), "a check opens nothing:\n{}", ended.stderr);
}

#[test]
fn admin_port_in_use() {
    let held = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = held.local_addr().unwrap().port();
    let service = format!("[SERVICE]\n    HTTP_Server On\n    HTTP_Listen 127.0.0.1\n    HTTP_Port {port}\n");
    let conf = format!("{service}[INPUT]\n    Name dummy\n{GOOD_OUTPUT}");
    let words = &["127.0.0.1:[port]", "in use"];
    check(
        "admin_port_in_use",
        &conf,
        port,
        &Want {
            ours: 71,
            theirs: 255,
            words,
        },
    );
}

#[test]
fn unusable_socket_path() {
    let conf = format!("[INPUT]\n    Name forward\n    unix_path {{dir}}/no/such/folder/in\n{GOOD_OUTPUT}");
    let words = &["forward.0", "no/such/folder/in"];
    check(
        "unusable_socket_path",
        &conf,
        0,
        &Want {
            ours: 71,
            theirs: 255,
            words,
        },
    );
}

#[test]
fn unusable_position_database() {
    let conf = format!(
        "[INPUT]\n    Name tail\n    Path {{dir}}/*.log\n    DB {{dir}}/no/such/folder/p.db\n{GOOD_OUTPUT}"
    );
    let words = &["tail.0", "no/such/folder/p.db"];
    check(
        "unusable_position_database",
        &conf,
        0,
        &Want {
            ours: 71,
            theirs: 255,
            words,
        },
    );
}

/// Guarantees: one run lists every error, not the first.
#[test]
fn all_errors_are_listed() {
    let conf = "[SERVICE]\n    Flush never\n[INPUT]\n    Name dummy\n    Rat 3\n[FILTER]\n    Name grepp\n    Match *\n\
                [FILTER]\n    Name grep\n    Match *\n    Regex log (\n[OUTPUT]\n    Name http\n    Match *\n    Port high\n";
    let words = &[
        "router.conf:2:",
        "router.conf:5:",
        "router.conf:7:",
        "router.conf:12:",
        "router.conf:16:",
    ];
    for args in [
        &["check", "router.conf"][..],
        &["router", "-c", "router.conf", "--dry-run"],
    ] {
        let ended = router().file("router.conf", conf).args(args).run();
        let text = plain(&ended, 0) + &ended.stdout;
        assert_eq!(ended.code, Some(78), "{args:?}:\n{text}");
        check_words(&text, words);
        insta::assert_snapshot!("all_errors_are_listed", text);
    }
    let ended = router()
        .as_fluent_bit()
        .file("router.conf", conf)
        .args(&["-c", "router.conf", "--dry-run"])
        .run();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    check_words(&ended.stderr, words);
}

#[test]
fn bad_command_line() {
    let ended = router().args(&["router", "--nonsense"]).run();
    assert_eq!(ended.code, Some(64), "{}", ended.stderr);
    check_words(&ended.stderr, &["--nonsense"]);
    let ended = router().as_fluent_bit().args(&["--nonsense"]).run();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
}

/// Guarantees: the golden `bad-*` cases, which ask only for a code, fail for the reason that they are about.
#[test]
fn golden_cases_fail_for_the_right_reason() {
    let cases: &[(&str, &[&str])] = &[
        ("bad-001-unknown-plugin", &["fluent-bit.conf:10:", "nosuch"]),
        (
            "bad-002-unknown-property",
            &["fluent-bit.conf:12:", "ilee", "file"],
        ),
        ("bad-003-no-value", &["fluent-bit.conf:16:", "atch"]),
        ("bad-004-indent", &["fluent-bit.conf:3:", "inden"]),
        ("bad-005-include-missing", &["fluent-bit.conf:9:", "nope.conf"]),
        ("bad-006-missing-name", &["fluent-bit.conf:5:", "ame"]),
        ("bad-007-bool", &["fluent-bit.conf:14:", "maybe"]),
        ("bad-008-no-parser", &["fluent-bit.conf:13:", "nope"]),
        ("bad-023-modify-op", &["fluent-bit.conf:12:", "onlyone"]),
        ("bad-024-storage-type", &["fluent-bit.conf:9:", "disk"]),
        ("bad-028-config-missing", &["missing.conf"]),
        ("bad-035-yaml-indent", &["fluent-bit.yaml:"]),
        ("bad-039-storage-path", &["storage.path"]),
    ];
    let folder = vectors().join("router");
    let mut known: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    known.retain(|name| name.starts_with("bad-"));
    known.sort();
    assert_eq!(
        known,
        cases.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        "every golden case is looked at"
    );
    let mut wrong = String::new();
    for (name, words) in cases {
        let mut builder = router().as_fluent_bit();
        let mut config = "fluent-bit.conf";
        for entry in fs::read_dir(folder.join(name)).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap().to_string();
            let text = fs::read_to_string(&path)
                .unwrap()
                .replace("@@PORT1@@", &free_port().to_string());
            if file == "fluent-bit.yaml" {
                config = "fluent-bit.yaml";
            }
            builder = builder.file(&file, &text);
        }
        let config = if *name == "bad-028-config-missing" {
            "missing.conf"
        } else {
            config
        };
        let ended = builder.args(&["-c", config]).run();
        let missing: Vec<_> = words
            .iter()
            .filter(|word| !ended.stderr.contains(**word))
            .collect();
        if ended.code == Some(0) || !missing.is_empty() {
            wrong += &format!(
                "{name}: code {:?}, without {missing:?}:\n{}\n",
                ended.code, ended.stderr
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
