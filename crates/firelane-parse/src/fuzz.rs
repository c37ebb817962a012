//! The entry for the fuzz target, beside what it tests: it asserts invariants and panics only on a bug.

use std::sync::OnceLock;

use firelane_conf::{Section, SectionKind, Span};
use firelane_record::{MapWriter, Timestamp, msgpack};

use crate::{Parser, Parsers};

/// Parsers of every format, with time formats, types and decoders.
const DEFINITIONS: &[&str] = &[
    "Name a\nFormat json\nTime_Format %Y-%m-%dT%H:%M:%S.%L%z\nTime_Keep on",
    "Name b\nFormat json\nTime_Key a\nTime_Format %c\nDecode_Field_As escaped a do_next\nDecode_Field json a",
    "Name c\nFormat ltsv\nTime_Key a\nTime_Format %s\nTypes b:integer c:float d:bool e:hex",
    "Name d\nFormat logfmt\nTime_Key a\nTime_Format %d/%b/%Y %I:%M:%S %p %Z\nTime_Strict off",
    "Name e\nFormat logfmt\nLogfmt_No_Bare_Keys on\nDecode_Field_As escaped_utf8 a try_next\nDecode_Field json a",
    "Name f\nFormat regex\nRegex ^(?<a>[^ ]*) (?<b>.*)$\nDecode_Field_As mysql_quoted a\nTypes b:float",
    "Name g\nFormat regex\nRegex (?<time>\\d+)(?=x)(?<a>.)\\k<a>\nTime_Format %y%m%d%H%M%S\nTime_Offset +0530",
    "Name h\nFormat regex\nRegex (?<time>.+)\nTime_Format %A %B %e %T %G %u %j\nSkip_Empty_Values off",
];

/// Any bytes as a line for parsers of every format and the built-in ones. What stands before a first empty
/// line is taken for the definition of one more (`Format json`, a property a line).
pub fn fuzz_parsers(data: &[u8]) {
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (definition, line) = match end {
        Some(end) => (&data[..end], &data[end + 2..]),
        None => (&[][..], data),
    };
    if let Some(parser) = define(&String::from_utf8_lossy(definition)) {
        check(&*parser, line);
    }
    for parser in known() {
        check(&**parser, line);
    }
}

type Known = Vec<std::sync::Arc<dyn Parser>>;

fn known() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let own = DEFINITIONS.iter().map(|text| {
            let parser = define(text);
            assert!(parser.is_some(), "no parser:\n{text}");
            parser
        });
        let built_in = Parsers::built_in(clock);
        let rest = built_in.names().into_iter().map(|name| built_in.get(name));
        own.chain(rest).flatten().collect()
    })
}

fn clock() -> Timestamp {
    Timestamp {
        secs: 1_731_000_000,
        nanos: 0,
    }
}

/// The parser of a text of properties, if it is one.
fn define(text: &str) -> Option<std::sync::Arc<dyn Parser>> {
    let mut section = Section::new(SectionKind::Parser, Span::default());
    for line in text.lines() {
        let (key, value) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        section.push(key, value.trim(), Span::default());
    }
    let defined = crate::config::define(&section, clock);
    if let Err(errors) = &defined {
        assert!(!errors.is_empty(), "an error says nothing");
    }
    defined.ok().map(|defined| defined.parser)
}

/// What is written is whole; what does not fit leaves the map as it was; the same line gives the same again.
fn check(parser: &dyn Parser, line: &[u8]) {
    let parse = || {
        let mut map = MapWriter::new();
        map.str(b"before", b"x");
        let mark = map.mark();
        let time = parser.parse(line, &mut map);
        if time.is_err() {
            assert_eq!(map.mark(), mark, "a text that does not fit wrote something");
        }
        let mut raw = Vec::new();
        map.write(&mut raw);
        (time, raw)
    };
    let (time, raw) = parse();
    assert_eq!(msgpack::skip(&raw, 0), Ok(raw.len()), "one whole map");
    if let Ok(Some(time)) = time {
        assert!(time.nanos < 1_000_000_000, "a fraction of a second");
    }
    assert_eq!(parse(), (time, raw), "a second reading differs");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes(line in prop::collection::vec(any::<u8>(), 0..80), words in "([a-c]=?\"?[ \t:\\\\]?){0,12}") {
            super::fuzz_parsers(&line);
            super::fuzz_parsers(words.as_bytes());
        }

        #[test]
        fn any_definition(format in "(json|ltsv|logfmt|regex|x)", time in "(%?[a-zA-Z%0 :]){0,6}", regex in "[(?<>a)\\\\d.*+|\\[\\]^$]{0,12}") {
            let text = format!("Name p\nFormat {format}\nRegex {regex}\nTime_Format {time}\n\na=1\ta:2 {{\"a\":3}}");
            super::fuzz_parsers(text.as_bytes());
        }
    }
}
