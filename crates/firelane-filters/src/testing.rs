//! A filter over one record, both as text.

use std::sync::Arc;

use firelane_conf::{Section, SectionKind, Span};
use firelane_core::plugin::{BuiltFilter, Warnings};
use firelane_core::{BuildCx, Fate, Filter, FilterCounts, FilterCx, FilterPlugin, Service};
use firelane_parse::{Parser, Parsers, Unparsed};
use firelane_record::draft::{Draft, Scratch};
use firelane_record::json::{JsonOptions, to_msgpack};
use firelane_record::{MapWriter, Records, RecordsBuf, Tag, Timestamp, msgpack};

/// Lines of `key value`.
fn section(conf: &str) -> Section {
    let mut section = Section::new(SectionKind::Filter, Span::default());
    for line in conf.lines() {
        let (key, value) = line.trim().split_once(' ').unwrap();
        section.push(key, value.trim(), Span::default());
    }
    section
}

/// JSON objects, for tests that have no parser of their own.
struct Json;

impl Parser for Json {
    fn parse(&self, text: &[u8], out: &mut MapWriter) -> Result<Option<Timestamp>, Unparsed> {
        let mut map = Vec::new();
        to_msgpack(text, &mut map).map_err(|_| Unparsed)?;
        for (key, value) in msgpack::pairs(&map) {
            out.raw_pair(key, value);
        }
        Ok(None)
    }
}

/// `A <a>`
struct Words;

impl Parser for Words {
    fn parse(&self, text: &[u8], out: &mut MapWriter) -> Result<Option<Timestamp>, Unparsed> {
        out.str(b"a", text.strip_prefix(b"A ").ok_or(Unparsed)?);
        Ok(None)
    }
}

/// A filter and the texts of the warnings on the way to it.
pub(crate) struct Built {
    filter: Box<dyn Filter>,
    pub(crate) warnings: Vec<String>,
}

fn try_build(plugin: &FilterPlugin, conf: &str) -> Result<Built, Vec<String>> {
    let mut parsers = Parsers::new();
    parsers.insert("j", Arc::new(Json)).unwrap();
    parsers.insert("words", Arc::new(Words)).unwrap();
    let (section, network) = (section(conf), section(""));
    let (parsers, service, warnings) = (Arc::new(parsers), Service::default(), Warnings::default());
    let cx = BuildCx {
        instance: "test.0",
        section: &section,
        network: &network,
        workers: None,
        parsers: &parsers,
        service: &service,
        warnings: &warnings,
    };
    let texts = |list: Vec<firelane_conf::Diagnostic>| list.into_iter().map(|each| each.message).collect();
    match plugin.build(&section, &cx) {
        Ok(BuiltFilter::Filter(filter)) => Ok(Built {
            filter,
            warnings: texts(warnings.take()),
        }),
        Ok(BuiltFilter::Stage(_)) => panic!("a stage"),
        Err(errors) => Err(texts(errors)),
    }
}

/// The filter of `conf`.
#[track_caller]
pub(crate) fn build(plugin: &FilterPlugin, conf: &str) -> Built {
    try_build(plugin, conf).unwrap()
}

/// `record`, JSON, behind the filter; `None` when it was dropped.
#[track_caller]
pub(crate) fn run(plugin: &FilterPlugin, conf: &str, record: &str) -> Option<String> {
    let Built { filter, .. } = build(plugin, conf);
    let (tag, counts) = (Tag::new("test").unwrap(), Arc::new(FilterCounts::default()));
    let mut out = RecordsBuf::default();
    let records = of_json(record);
    let mut scratch = Scratch::new();
    let mut draft = Draft::new(&records.events().next().unwrap(), &mut scratch);
    match filter.edit(
        &mut draft,
        &FilterCx {
            tag: &tag,
            counts: &counts,
        },
    ) {
        Fate::Keep => draft.write(&mut out),
        _ => return None,
    }
    let written = Records::parse(out.take().bytes().clone()).unwrap();
    Some(to_json(written.events().next().unwrap().body))
}

/// What the filter makes of `record` is `want`.
#[track_caller]
pub(crate) fn check(plugin: &FilterPlugin, conf: &str, record: &str, want: &str) {
    assert_eq!(run(plugin, conf, record).as_deref(), Some(want), "{conf}");
}

/// The filter is refused for this reason.
#[track_caller]
pub(crate) fn fails(plugin: &FilterPlugin, conf: &str, want: &str) {
    let errors = try_build(plugin, conf).err();
    assert_eq!(errors, Some(vec![want.to_owned()]), "{conf}");
}

/// A run of one record; repeated keys are legal in records.
fn of_json(record: &str) -> Records {
    let mut run = RecordsBuf::default();
    run.push_with(Timestamp { secs: 1, nanos: 2 }, None, |out| {
        to_msgpack(record.as_bytes(), out).unwrap();
    });
    run.take()
}

/// All pairs, of repeated keys too.
fn to_json(body: &[u8]) -> String {
    let json = |raw| {
        let mut out = Vec::new();
        JsonOptions::default().encode_value(raw, &mut out);
        String::from_utf8(out).unwrap()
    };
    let pairs: Vec<_> = msgpack::pairs(body)
        .map(|(key, value)| format!("{}:{}", json(key), json(value)))
        .collect();
    format!("{{{}}}", pairs.join(","))
}
