//! Patterns of Fluent Bit's parsers file on real lines, and any pattern of the shape on any text: the match
//! and its groups are those of the automata.

use proptest::prelude::*;

use super::samples::*;
use super::*;
use crate::regex::automata::Automata;
use crate::regex::translate::translate;
use crate::regex::{Regex, Slots};

fn both(pattern: &str) -> Automata {
    let translated = translate(pattern);
    assert!(!translated.fancy, "{pattern}");
    Automata::new(translated.pattern, translated.unicode).unwrap()
}

/// Compares all searches of a text. True: the straight matcher gave all answers itself.
#[track_caller]
fn agree(automata: &Automata, pattern: &str, text: &[u8]) -> bool {
    let Some(program) = automata.straight() else {
        return false;
    };
    let want = automata.captures_by_meta(text);
    let shown = String::from_utf8_lossy(text);
    let mut notes = Notes::default();
    let captured = program.captures(text, &mut notes);
    let mut slots = Slots::default();
    let groups = |get: &dyn Fn(usize) -> Option<(usize, usize)>| (0..automata.groups()).map(get).collect();
    let whole = automata
        .captures(text, &mut slots)
        .then(|| groups(&|n| slots.get(n)));
    assert_eq!(whole, want, "{pattern} on {shown:?}, whichever engine");
    assert_eq!(
        automata.is_match(text),
        want.is_some(),
        "{pattern} on {shown:?}, whichever engine"
    );
    let outcomes = [captured, program.find(text), program.find_at_start(text)];
    let found = match captured {
        Outcome::Match(..) => Some(groups(&|n| notes.get(n))),
        Outcome::None => None,
        Outcome::GaveUp => want.clone(),
    };
    assert_eq!(found, want, "{pattern} on {shown:?}");
    if let Some(start) = want.as_ref().and_then(|spans| spans[0]).map(|span| span.0)
        && program.captures_from(text, start, &mut notes) != Outcome::GaveUp
    {
        assert_eq!(
            Some(groups(&|n| notes.get(n))),
            want,
            "{pattern} from {start} of {shown:?}"
        );
    }
    if want.is_none() {
        for start in [0, text.len() / 2] {
            let found = program.captures_from(text, start, &mut notes);
            assert!(
                !matches!(found, Outcome::Match(..)),
                "{pattern} from {start} of {shown:?}"
            );
        }
    }
    if let Outcome::Match(start, end) = outcomes[1] {
        assert_eq!(
            want.map(|spans| spans[0]),
            Some(Some((start, end))),
            "{pattern} on {shown:?}"
        );
    } else if outcomes[1] == Outcome::None {
        assert_eq!(want, None, "{pattern} on {shown:?}");
    }
    let at_start = match outcomes[2] {
        Outcome::Match(_, end) => Some(end),
        Outcome::None => None,
        Outcome::GaveUp => automata.end_by_meta(text),
    };
    assert_eq!(
        at_start,
        automata.end_by_meta(text),
        "{pattern} at the start of {shown:?}"
    );
    !outcomes.contains(&Outcome::GaveUp)
}

/// The line matches, by our own matcher alone, and every beginning and every change of it has the answer of
/// the automata.
#[track_caller]
fn check(pattern: &str, line: &str, want: &[(&str, &str)]) {
    let automata = both(pattern);
    assert!(automata.straight().is_some(), "{pattern}");
    assert!(agree(&automata, pattern, line.as_bytes()), "gave up");
    for cut in 0..line.len() {
        agree(&automata, pattern, &line.as_bytes()[..cut]);
        agree(&automata, pattern, &line.as_bytes()[cut..]);
        for with in [b' ', b'"', b'\n', b']', 0xff] {
            let mut changed = line.as_bytes().to_vec();
            changed[cut] = with;
            agree(&automata, pattern, &changed);
        }
    }
    let named = Regex::new(pattern).unwrap();
    let groups = named.named(line.as_bytes()).expect("a match");
    for (name, value) in want {
        let found = groups.iter().find(|(key, _)| key == name).unwrap().1;
        let found = found.map(|value| std::str::from_utf8(value).unwrap());
        assert_eq!(found.unwrap_or("(unset)"), *value, "{name}");
    }
}

#[test]
fn access_logs() {
    for pattern in [APACHE, APACHE2] {
        let agent = (
            "agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0",
        );
        let want = [
            ("host", "192.168.2.20"),
            ("path", "/cgi-bin/try/?q=a+b"),
            ("code", "200"),
            agent,
        ];
        check(pattern, ACCESS, &want);
        check(
            pattern,
            ACCESS_SHORT,
            &[("method", "-"), ("path", "(unset)"), ("agent", "(unset)")],
        );
    }
    check(APACHE2, ACCESS_ODD, &[("agent", r#"agent \"x\" y"#)]);
    check(
        NGINX,
        ACCESS,
        &[
            ("remote", "192.168.2.20"),
            ("host", "-"),
            ("user", "frank"),
            ("size", "3395"),
        ],
    );
    check(
        INGRESS,
        INGRESS_LINE,
        &[
            ("proxy_upstream_name", "shop-api-80"),
            ("reg_id", "4bf92f3577b34da6"),
        ],
    );
    check(
        APACHE_ERROR,
        ERROR_LINE,
        &[("level", "core:error"), ("client", "10.1.2.3:5555")],
    );
}

#[test]
fn proxies() {
    check(
        ENVOY,
        ENVOY_LINE,
        &[("path", "/productpage?u=1"), ("upstream_host", "10.0.1.5:9080")],
    );
    check(
        ISTIO,
        ISTIO_LINE,
        &[("response_code", "418"), ("route_name", "default")],
    );
}

#[test]
fn syslog() {
    let data = r#"[exampleSDID@32473 iut="3" eventSource="Application"]"#;
    check(
        RFC5424,
        RFC5424_LINE,
        &[
            ("pri", "165"),
            ("extradata", data),
            ("message", "An application event"),
        ],
    );
    check(
        RFC5424,
        RFC5424_DASH,
        &[("extradata", "-"), ("message", "su root failed [x] for lonvick")],
    );
    check(
        RFC3164,
        RFC3164_LINE,
        &[("host", "mymachine"), ("ident", "su"), ("pid", "230")],
    );
    let want = [
        ("time", "Oct  1 22:14:15"),
        ("ident", "systemd"),
        ("message", "Started Session 12 of user root."),
    ];
    check(RFC3164_LOCAL, RFC3164_LOCAL_LINE, &want);
}

#[test]
fn containers_and_daemons() {
    check(CRI, CRI_LINE, &[("stream", "stdout"), ("logtag", "F")]);
    check(
        DOCKER_DAEMON,
        DAEMON_LINE,
        &[
            ("level", "info"),
            ("msg", r#"loading plugin "io.containerd" done"#),
        ],
    );
    check(
        MONGODB,
        MONGO_LINE,
        &[("severity", "I"), ("context", "conn12"), ("ms", "102")],
    );
    check(
        KUBE_CUSTOM,
        KUBE_TAG,
        &[("namespace_name", "shop"), ("container_name", "app")],
    );
}

#[test]
fn lines_anchors_and_case() {
    let texts: [&[u8]; 8] = [
        b"",
        b"\n",
        b"a\nb",
        b"b\n",
        b"ab\nB b\n\nb",
        b"\xff\nb\xff",
        b"x b",
        b"aab",
    ];
    let patterns = [
        "^b$",
        r"\Ab",
        r"b\z",
        r"b\Z",
        "^",
        "$",
        "(?i)B+",
        r"\bb\b",
        r"\Bb",
        "(^|x )b",
        "(a|b)+?b",
        "(?:a*b)*",
        "(a)?b",
        "((a)|b)+",
        "a{2}b",
        ".*?b",
        ".{2,3}b",
        "(?m).b",
        "b|x|^a",
        "(a?)?b",
        "(a{0,2}?)(a*)",
        "a+b",
    ];
    for pattern in patterns {
        let automata = both(pattern);
        for text in texts {
            agree(&automata, pattern, text);
        }
    }
}

#[test]
fn what_is_not_of_the_shape_is_left_to_the_automata() {
    for pattern in [
        "(a*)*",
        "é[^ ]*",
        r"\p{L}+",
        "(?:ab{300}){300}",
        ".{2000}",
        "(?:(?:a|b){99}c){99}",
    ] {
        assert!(Regex::new(pattern).is_ok(), "{pattern}");
        assert!(both(pattern).straight().is_none(), "{pattern}");
    }
    assert!(both("é+-x").straight().is_some());
}

#[test]
fn a_search_that_takes_too_long_is_left_to_the_automata() {
    let pattern = "(?<a>.*),(?<b>.*),(?<c>.*),(?<d>.*)[;:]";
    let automata = both(pattern);
    let text = ",".repeat(500);
    let mut notes = Notes::default();
    let outcome = automata.straight().unwrap().captures(text.as_bytes(), &mut notes);
    assert_eq!(outcome, Outcome::GaveUp);
    let regex = Regex::new(pattern).unwrap();
    assert!(regex.named(text.as_bytes()).is_none());
    assert!(regex.named(format!("{text};").as_bytes()).is_some());
}

#[test]
fn work_is_in_proportion_to_the_text() {
    let text = "ab".repeat(1 << 19);
    for pattern in [
        "(?:ab)+c",
        "^(a|b|ab)*c",
        r"(\S+\s?)+;",
        "(?:a|b)*?;",
        "(a*b*)(b*a*)(a*b*)[;:]",
    ] {
        let automata = both(pattern);
        let program = automata.straight().unwrap();
        let start = std::time::Instant::now();
        let mut notes = Notes::default();
        program.captures(text.as_bytes(), &mut notes);
        program.captures_from(text.as_bytes(), 0, &mut notes);
        assert!(notes.stack.capacity() < 20_000, "{pattern}");
        assert!(start.elapsed().as_secs() < 5, "{pattern}");
    }
}

fn pattern() -> impl Strategy<Value = String> {
    let class = prop::sample::select(vec![
        "a",
        "b",
        "-",
        " ",
        "\"",
        ".",
        r"\S",
        r"\s",
        r"\d",
        r"\w",
        "[^ ]",
        "[ab]",
        "[^a]",
        r"[^\]]",
        "[-1]",
        r#"[^\n\"]"#,
        "(?i:A)",
        r"\xFF",
        r"\n",
        "[^-a-z]",
    ]);
    let count = prop::sample::select(vec![
        "", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,3}", "{2,}", "{1,3}?",
    ]);
    let unit = (class, count).prop_map(|(class, count)| format!("{class}{count}"));
    let look = prop::sample::select(vec!["^", "$", r"\A", r"\z", r"\b", r"\B"]);
    let leaf = prop_oneof![8 => unit, 2 => Just("ab".to_string()), 1 => look.prop_map(String::from)];
    let node = leaf.prop_recursive(3, 16, 4, |inner| {
        let sequence = prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat());
        let counts = prop::sample::select(vec!["", "", "?", "??", "{2}", "{1,2}", "*", "+", "+?"]);
        let open = prop::sample::select(vec!["(", "(", "(?:"]);
        let either = (sequence.clone(), sequence.clone()).prop_map(|(a, b)| format!("{a}|{b}"));
        let body = prop_oneof![3 => sequence, 1 => either];
        (open, body, counts).prop_map(|(open, body, count)| format!("{open}{body}){count}"))
    });
    let start = prop::sample::select(vec!["", "", "^", r"\A"]);
    let end = prop::sample::select(vec!["", "", "$", r"\z"]);
    (start, prop::collection::vec(node, 1..6), end)
        .prop_map(|(start, parts, end)| format!("{start}{}{end}", parts.concat()))
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select(b"aaabbAB  --1\"]\n\xff\xc3".to_vec());
    prop_oneof![9 => 0..40_usize, 1 => 200..300_usize]
        .prop_flat_map(move |len| prop::collection::vec(byte.clone(), len))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_agrees_with_the_automata(pattern in pattern(), texts in prop::collection::vec(text(), 1..12)) {
        let translated = translate(&pattern);
        prop_assume!(!translated.fancy);
        let automata = Automata::new(translated.pattern, translated.unicode).unwrap();
        for text in &texts {
            agree(&automata, &pattern, text);
        }
    }
}
