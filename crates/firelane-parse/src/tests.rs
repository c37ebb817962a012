//! Parsers as a file defines them, over lines.

use firelane_conf::{Diagnostic, Section, SectionKind, Span};
use firelane_record::{MapWriter, Timestamp, text};
use proptest::prelude::*;

use crate::Parsers;

fn clock() -> Timestamp {
    Timestamp {
        secs: 1_731_000_000,
        nanos: 0,
    }
}

fn section(conf: &str) -> Section {
    let mut section = Section::new(SectionKind::Parser, Span::default());
    for line in conf.lines() {
        let (key, value) = line.trim().split_once(' ').unwrap();
        section.push(key, value.trim(), Span::default());
    }
    section
}

fn texts(found: &[Diagnostic]) -> Vec<&str> {
    found.iter().map(|each| each.message.as_str()).collect()
}

/// What the parser of `conf` makes of a line: `seconds.nanoseconds {map}`, or nothing.
fn parse(conf: &str, line: &[u8]) -> Option<String> {
    let mut parsers = Parsers::new();
    let section = section(&format!("Name p\n{conf}"));
    parsers.define(&section, clock).unwrap();
    let mut map = MapWriter::new();
    map.str(b"before", b"x");
    let before = map.mark();
    let parsed = parsers.get("p").unwrap().parse(line, &mut map);
    let Ok(time) = parsed else {
        assert_eq!(map.mark(), before, "nothing was written");
        return None;
    };
    let (mut raw, mut out) = (Vec::new(), Vec::new());
    map.write(&mut raw);
    text::write_value(&mut out, &raw);
    let map = String::from_utf8_lossy(&out)
        .replace("\"before\"=>\"x\"", "")
        .replace("{, ", "{");
    Some(match time {
        Some(time) => format!("{}.{:09} {map}", time.secs, time.nanos),
        None => map,
    })
}

#[track_caller]
fn check(conf: &str, line: &str, want: Option<&str>) {
    assert_eq!(parse(conf, line.as_bytes()).as_deref(), want, "{line}");
}

#[test]
fn json_objects() {
    check(
        "Format json",
        " {\"a\":1,\"a\":2} tail",
        Some(r#"{"a"=>1, "a"=>2}"#),
    );
    for line in [
        "{\"a\":1} {\"b\":2}",
        "{\"a\":1} 5",
        "[1]",
        "5",
        "",
        "{\"a\":",
        "no",
    ] {
        check("Format json", line, None);
    }
    let time = "Format json\nTime_Format %Y-%m-%d";
    check(
        time,
        "{\"time\":\"2024-05-06\",\"a\":1}",
        Some(r#"1714953600.000000000 {"a"=>1}"#),
    );
    check(
        time,
        "{\"time\":\"today\",\"a\":1}",
        Some(r#"{"time"=>"today", "a"=>1}"#),
    );
    check(time, "{\"time\":7,\"a\":1}", Some(r#"{"time"=>7, "a"=>1}"#));
    let keep = format!("{time}\nTime_Keep on\nTime_Key at");
    check(
        &keep,
        "{\"at\":\"2024-05-06\"}",
        Some(r#"1714953600.000000000 {"at"=>"2024-05-06"}"#),
    );
}

#[test]
fn named_groups() {
    let conf = "Format regex\nRegex ^(?<a>\\S*) (?<b>\\S*)(?: (?<n>\\S+))?$\nTypes n:integer";
    check(conf, "x y 12z", Some(r#"{"a"=>"x", "b"=>"y", "n"=>12}"#));
    check(conf, "x ", Some(r#"{"a"=>"x"}"#));
    check(conf, "xy", None);
    let all = "Format regex\nRegex ^(?<a>\\S*) (?<b>\\S*)$\nSkip_Empty_Values off";
    check(all, "x ", Some(r#"{"a"=>"x", "b"=>""}"#));
    check("Format regex\nRegex ^x", "x", None);
    let time = "Format regex\nRegex ^(?<t>\\S+) (?<m>.*)$\nTime_Key t\nTime_Format %s.%L";
    check(time, "7.5 m", Some(r#"7.500000000 {"m"=>"m"}"#));
    check(time, "no m", Some(r#"{"m"=>"m"}"#));
}

#[test]
fn labelled_values() {
    check(
        "Format ltsv",
        "a:1\tb:\tc:x:y",
        Some(r#"{"a"=>"1", "b"=>"", "c"=>"x:y"}"#),
    );
    check("Format ltsv", "a:1\tno label:2\tc:3", Some(r#"{"a"=>"1"}"#));
    check("Format ltsv", "a:1\r\nb:2", Some(r#"{"a"=>"1"}"#));
    check("Format ltsv", ":1\ta:2", Some(r#"{"a"=>"2"}"#));
    check("Format ltsv", "no label here", None);
    let time = "Format ltsv\nTime_Format %Y-%m-%d\nTypes n:float";
    check(
        time,
        "time:2024-05-06\tn:1.5",
        Some("1714953600.000000000 {\"n\"=>1.500000}"),
    );
    check(time, "time:today\tn:1.5", None);
    check(time, "time:2024-05-06", None);
}

#[test]
fn keys_and_values() {
    let plain = "Format logfmt";
    check(
        plain,
        r#"a=1 b="x \"y\" \u00e9" c d= e="""#,
        Some(r#"{"a"=>"1", "b"=>"x "y" é", "c"=>true, "d"=>true, "e"=>""}"#),
    );
    check(plain, "a=b=c", Some(r#"{"a"=>"b", "c"=>true}"#));
    check(plain, "a=1\nb=2", Some(r#"{"a"=>"1"}"#));
    check(plain, "k=\"open", Some(r#"{"k"=>"open"}"#));
    check(plain, "  ", None);
    check("Format logfmt\nLogfmt_No_Bare_Keys true", "a=1 b", None);
    let types = "Format logfmt\nTypes n:integer";
    check(types, r#"n=5 m="\n" b"#, Some(r#"{"n"=>5, "m"=>"\n", "b"=>""}"#));
    let time = "Format logfmt\nTime_Key ts\nTime_Format %Y-%m-%d";
    check(
        time,
        "ts=2024-05-06 a=1",
        Some(r#"1714953600.000000000 {"a"=>"1"}"#),
    );
    check(time, "ts=soon a=1", None);
}

#[test]
fn decoders_of_fields() {
    let json = "Format json\nDecode_Field_As json in";
    check(
        json,
        r#"{"in":"{\"x\":1}","o":2}"#,
        Some(r#"{"in"=>{"x"=>1}, "o"=>2}"#),
    );
    check(json, r#"{"in":"[1]"}"#, Some(r#"{"in"=>"[1]"}"#));
    let beside = "Format json\nDecode_Field json in";
    check(
        beside,
        r#"{"in":"{\"x\":1}","o":2}"#,
        Some(r#"{"in"=>"{"x":1}", "o"=>2, "x"=>1}"#),
    );
    let chain = "Format json\nDecode_Field_As escaped in do_next\nDecode_Field_As json in";
    check(chain, r#"{"in":"{\\\"x\\\":1}"}"#, Some(r#"{"in"=>{"x"=>1}}"#));
    check(chain, r#"{"in":"a\\nb"}"#, Some("{\"in\"=>\"a\nb\"}"));
    let either = "Format json\nDecode_Field_As json in try_next\nDecode_Field_As escaped in";
    check(either, r#"{"in":"a\\tb"}"#, Some("{\"in\"=>\"a\tb\"}"));
    check(
        either,
        r#"{"in":"{\"x\":\"\\\\t\"}"}"#,
        Some("{\"in\"=>{\"x\"=>\"\\t\"}}"),
    );
}

#[test]
fn wrong_definitions_are_all_named() {
    let mut parsers = Parsers::new();
    let mut errors = |conf: &str| {
        let found = parsers.define(&section(conf), clock).unwrap_err();
        texts(&found).join("; ")
    };
    assert_eq!(errors("Format json"), "no parser 'name' found");
    assert_eq!(errors("Name p"), "no parser 'format' found for 'p'");
    assert_eq!(errors("Name p\nFormat xml"), "parser 'p': invalid format `xml`");
    assert_eq!(errors("Name p\nFormat regex"), "no parser 'regex' found for 'p'");
    assert!(errors("Name p\nFormat regex\nRegex (open").contains("invalid regular expression `(open`"));
    assert_eq!(
        errors("Name p\nFormat json\nTime_Format %Q\nTime_Keep maybe\nDecode_Field_As xml log"),
        "`time_keep`: `maybe` is not a boolean: write on or off (or true, yes, false, no); \
         `time_format` `%Q`: there is no conversion `%Q`; `decode_field_as`: field decoder 'xml' unknown"
    );
    assert_eq!(
        errors("Name p\nFormat json\nTime_Offset soon\nTime_Format %s"),
        "`time_offset` `soon` is no distance from UTC"
    );
}

#[test]
fn what_is_ignored_is_said() {
    let mut parsers = Parsers::new();
    let conf = section("Name p\nFormat ltsv\nTypes a:number\nTime_Keeep on");
    let warnings = parsers.define(&conf, clock).unwrap();
    let want = [
        "unknown parser property `time_keeep` is ignored",
        "`types`: `a:number` is taken as text",
    ];
    assert_eq!(texts(&warnings), want);
    assert_eq!(warnings[0].help.as_deref(), Some("did you mean `time_keep`?"));
}

#[test]
fn names_are_unique_and_built_ins_give_way() {
    let mut parsers = Parsers::built_in(clock);
    assert!(parsers.get("apache2").is_some() && parsers.get("nobody").is_none());
    let conf = section("Name json\nFormat ltsv");
    parsers.define(&conf, clock).unwrap();
    let mut map = MapWriter::new();
    assert!(parsers.get("json").unwrap().parse(b"a:1", &mut map).is_ok());
    let again = parsers.define(&conf, clock).unwrap_err();
    assert_eq!(texts(&again), ["parser named 'json' already exists"]);
    assert_eq!(parsers.names().iter().filter(|name| **name == "json").count(), 1);
}

proptest! {
    /// Scenario: any bytes. Guarantees: no panic, and nothing written where the text does not fit
    /// (`parse` checks it).
    #[test]
    fn any_bytes(line in prop::collection::vec(any::<u8>(), 0..80), words in "([a-c]=?\"?[ \t:\\\\]?){0,12}") {
        for format in [
            "Format json\nTime_Format %c",
            "Format ltsv\nTime_Key a\nTime_Format %s",
            "Format logfmt\nTime_Key a\nTime_Format %Y%z\nTime_Strict off",
            "Format logfmt\nDecode_Field_As escaped_utf8 a try_next\nDecode_Field json a",
            "Format regex\nRegex (?<a>[^ ]*) (?<b>.)\nDecode_Field_As mysql_quoted a",
        ] {
            parse(format, &line);
            parse(format, words.as_bytes());
        }
    }
}
