//! A line's groups by a pattern: by `Regex`, and by the automata alone, configured as `Regex` does.
#![expect(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use firelane_parse::regex::{Regex, Slots};
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Input, meta, util::syntax};

const ACCESS: &str = concat!(
    r#"192.168.2.20 - frank [28/Jul/2026:10:27:10 -0300] "GET /cgi-bin/try/?q=a+b HTTP/1.0" 200 3395 "#,
    r#""http://example.com/start.html" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 "#,
    r#"(KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36""#,
);
const APACHE2: &str = concat!(
    r#"^(?<host>[^ ]*) [^ ]* (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>[^ ]*) +\S*)?" "#,
    r#"(?<code>[^ ]*) (?<size>[^ ]*)(?: "(?<referer>[^\"]*)" "(?<agent>.*)")?$"#,
);
const NGINX: &str = concat!(
    r#"^(?<remote>[^ ]*) (?<host>[^ ]*) (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<method>\S+)"#,
    r#"(?: +(?<path>[^\"]*?)(?: +\S*)?)?" (?<code>[^ ]*) (?<size>[^ ]*)"#,
    r#"(?: "(?<referer>[^\"]*)" "(?<agent>[^\"]*)")"#,
);
const CRI: &str = r"^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>[^ ]*) (?<message>.*)$";
const CRI_LINE: &str = concat!(
    "2026-01-02T03:04:05.678901234Z stdout F INFO com.example.shop.checkout.OrderService ",
    "[http-nio-8080-exec-7] order 81723 accepted for customer 5521 in 12.4 ms, total 118.20 EUR",
);
const RFC3164: &str = concat!(
    r"^\<(?<pri>[0-9]+)\>(?<time>[^ ]* {1,2}[^ ]* [^ ]*) (?<host>[^ ]*) ",
    r"(?<ident>[a-zA-Z0-9_\/\.\-]*)(?:\[(?<pid>[0-9]+)\])?(?:[^\:]*\:)? *(?<message>.*)$",
);
const RFC3164_LINE: &str =
    "<34>Oct 11 22:14:15 mymachine su[230]: 'su root' failed for lonvick on /dev/pts/8";
const RFC5424: &str = concat!(
    r"^\<(?<pri>[0-9]{1,5})\>1 (?<time>[^ ]+) (?<host>[^ ]+) (?<ident>[^ ]+) (?<pid>[-0-9]+) ",
    r"(?<msgid>[^ ]+) (?<extradata>(\[(.*?)\]|-)) (?<message>.+)$",
);
const RFC5424_LINE: &str = concat!(
    r#"<165>1 2026-10-11T22:14:15.003Z web1.example.com app 1234 ID47 "#,
    r#"[exampleSDID@32473 iut="3" eventSource="Application"] An application event log entry"#,
);

const LINES: usize = 500;

const CASES: [(&str, &str, &str); 7] = [
    ("apache2", APACHE2, ACCESS),
    ("nginx", NGINX, ACCESS),
    ("cri", CRI, CRI_LINE),
    ("syslog-rfc3164", RFC3164, RFC3164_LINE),
    ("syslog-rfc5424", RFC5424, RFC5424_LINE),
    ("apache2, no match", APACHE2, CRI_LINE),
    (
        "from anywhere, no match",
        r"(?<id>[0-9]+) (?<unit>[a-z]+);",
        CRI_LINE,
    ),
];

fn automata(pattern: &str) -> meta::Regex {
    let escapes = [
        (r"\<", "<"),
        (r"\>", ">"),
        (r"\/", "/"),
        (r"\:", ":"),
        (r"\S", r"[^\t\n\x0B\f\r ]"),
    ];
    let pattern = escapes
        .iter()
        .fold(pattern.to_string(), |text, (from, to)| text.replace(from, to));
    meta::Builder::new()
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .configure(meta::Config::new().utf8_empty(false))
        .build(&format!("(?m){pattern}"))
        .expect("a pattern")
}

/// Lines like `line` whose words are longer here and there, so that no branch can be learnt by heart.
fn variants(line: &str, fits: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let mut seed = 1_u32;
    let mut varied = || {
        let mut text = Vec::new();
        for byte in line.bytes() {
            text.push(byte);
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if seed >> 28 == 0 && byte.is_ascii_alphanumeric() {
                text.push(byte);
            }
        }
        text
    };
    let lines = (0..4000).map(|_| varied()).filter(|text| fits(text));
    lines.take(LINES).collect()
}

/// Nanoseconds of one call, the best of some rounds.
fn nanoseconds(lines: &[Vec<u8>], mut run: impl FnMut(&[u8]) -> bool) -> f64 {
    let rounds = (0..100).map(|_| {
        let start = Instant::now();
        for line in lines {
            black_box(run(black_box(line)));
        }
        start.elapsed().as_secs_f64() * 1e9 / lines.len() as f64
    });
    rounds.fold(f64::MAX, f64::min)
}

fn benches(criterion: &mut Criterion) {
    for (name, pattern, line) in CASES {
        let regex = Regex::new(pattern).expect("a pattern");
        let meta = automata(pattern);
        let matches = meta.is_match(line);
        let lines = variants(line, |text| meta.is_match(text) == matches);
        let mut slots = Slots::default();
        let mut raw: Vec<Option<NonMaxUsize>> = vec![None; regex.groups() * 2];
        let mut straight = |line: &[u8]| regex.captures(line, &mut slots);
        let mut by_automata = |line: &[u8]| meta.search_slots(&Input::new(line), &mut raw).is_some();
        let (ours, theirs) = (
            nanoseconds(&lines, &mut straight),
            nanoseconds(&lines, &mut by_automata),
        );
        println!(
            "{name}: {ours:.0} ns a line, automata {theirs:.0} ns, {:.1} times",
            theirs / ours
        );

        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(lines.len() as u64));
        group.bench_function("straight", |bencher| {
            bencher.iter(|| lines.iter().filter(|line| straight(line)).count());
        });
        group.bench_function("automata", |bencher| {
            bencher.iter(|| lines.iter().filter(|line| by_automata(line)).count());
        });
        group.finish();
    }
}

criterion_group!(parse, benches);
criterion_main!(parse);
