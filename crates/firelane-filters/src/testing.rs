//! A filter over one record, both as text.

use std::sync::Arc;

use firelane_conf::{Entry, Section, Span, Spanned};
use firelane_core::plugin::{BuiltFilter, Warnings};
use firelane_core::{BuildCx, Fate, Filter, FilterCounts, FilterCx, FilterPlugin, Service};
use firelane_parse::{Parser, Parsers, Unparsed};
use firelane_record::draft::{Draft, Scratch};
use firelane_record::{MapWriter, Records, RecordsBuf, Tag, Timestamp, msgpack};
use serde_json::Value;

/// Lines of `key value`.
fn section(conf: &str) -> Section {
    let spanned = |text: &str| Spanned { value: text.to_owned(), span: Span::default() };
    let entry = |line: &str| {
        let (key, value) = line.trim().split_once(' ').unwrap();
        Entry { key: spanned(key), value: spanned(value.trim()) }
    };
    Section { entries: conf.lines().map(entry).collect(), ..Section::default() }
}

/// JSON objects, for tests that have no parser of their own.
struct Json;

impl Parser for Json {
    fn parse(&self, text: &[u8], out: &mut MapWriter) -> Result<Option<Timestamp>, Unparsed> {
        let Ok(Value::Object(object)) = serde_json::from_slice(text) else { return Err(Unparsed) };
        for (key, value) in &object {
            encode(value, out.key(key.as_bytes()));
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

fn try_build(plugin: &FilterPlugin, conf: &str) -> Result<(Box<dyn Filter>, Vec<String>), Vec<String>> {
    let parsers: Vec<(String, Arc<dyn Parser>)> =
        vec![("j".to_owned(), Arc::new(Json)), ("words".to_owned(), Arc::new(Words))];
    let (section, network) = (section(conf), Section::default());
    let (parsers, service, warnings) = (Arc::new(Parsers(parsers)), Service::default(), Warnings::default());
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
        Ok(BuiltFilter::Filter(filter)) => Ok((filter, texts(warnings.take()))),
        Ok(BuiltFilter::Stage(_)) => panic!("a stage"),
        Err(errors) => Err(texts(errors)),
    }
}

/// The filter of `conf` and the texts of its warnings.
#[track_caller]
pub(crate) fn build(plugin: &FilterPlugin, conf: &str) -> (Box<dyn Filter>, Vec<String>) {
    try_build(plugin, conf).unwrap()
}

/// `record`, JSON, behind the filter; `None` when it was dropped.
#[track_caller]
pub(crate) fn run(plugin: &FilterPlugin, conf: &str, record: &str) -> Option<String> {
    let (filter, _) = build(plugin, conf);
    let (tag, counts) = (Tag::new("test").unwrap(), Arc::new(FilterCounts::default()));
    let mut out = RecordsBuf::default();
    let records = of_json(record);
    let mut scratch = Scratch::new();
    let mut draft = Draft::new(&records.events().next().unwrap(), &mut scratch);
    match filter.edit(&mut draft, &FilterCx { tag: &tag, counts: &counts }) {
        Fate::Keep => draft.write(&mut out),
        _ => return None,
    }
    let written = Records::parse(out.take().bytes().clone()).unwrap();
    let mut text = String::new();
    to_json(written.events().next().unwrap().body, &mut text);
    Some(text)
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

/// A run of one record. Its pairs are read one by one, because repeated keys are legal in records.
fn of_json(record: &str) -> Records {
    let mut map = MapWriter::new();
    for (key, value) in pairs(record) {
        encode(&value, map.key(key.as_bytes()));
    }
    let mut run = RecordsBuf::default();
    run.push_with(Timestamp { secs: 1, nanos: 2 }, None, |out| map.write(out));
    run.take()
}

fn pairs(record: &str) -> Vec<(String, Value)> {
    struct Pairs(Vec<(String, Value)>);
    impl<'de> serde::Deserialize<'de> for Pairs {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visit;
            impl<'de> serde::de::Visitor<'de> for Visit {
                type Value = Pairs;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                    let mut pairs = Vec::new();
                    while let Some(pair) = map.next_entry()? {
                        pairs.push(pair);
                    }
                    Ok(Pairs(pairs))
                }
            }
            deserializer.deserialize_map(Visit)
        }
    }
    serde_json::from_str::<Pairs>(record).unwrap().0
}

fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => msgpack::write_nil(out),
        Value::Bool(value) => msgpack::write_bool(out, *value),
        Value::Number(number) => msgpack::write_int(out, number.as_i64().unwrap()),
        Value::String(text) => msgpack::write_str(out, text.as_bytes()),
        Value::Array(items) => {
            msgpack::write_array_head(out, items.len() as u32);
            items.iter().for_each(|item| encode(item, out));
        }
        Value::Object(object) => {
            msgpack::write_map_head(out, object.len() as u32);
            for (key, value) in object {
                msgpack::write_str(out, key.as_bytes());
                encode(value, out);
            }
        }
    }
}

/// All pairs, repeated keys too.
fn to_json(raw: &[u8], out: &mut String) {
    use msgpack::{Reader, Token};
    match msgpack::read(raw).unwrap().0 {
        Token::Map(_) => {
            let mut comma = "{";
            out.push_str(if msgpack::pairs(raw).next().is_none() { "{" } else { "" });
            for (key, value) in msgpack::pairs(raw) {
                out.push_str(std::mem::replace(&mut comma, ","));
                to_json(key, out);
                out.push(':');
                to_json(value, out);
            }
            out.push('}');
        }
        Token::Array(n) => {
            let mut reader = Reader::new(raw);
            reader.token();
            let items = (0..n).map(|_| {
                let mut text = String::new();
                to_json(reader.value().unwrap(), &mut text);
                text
            });
            let items: Vec<_> = items.collect();
            out.push_str(&format!("[{}]", items.join(",")));
        }
        Token::Str(text) => out.push_str(&Value::from(std::str::from_utf8(text).unwrap()).to_string()),
        Token::Int(n) => out.push_str(&n.to_string()),
        Token::Bool(value) => out.push_str(&value.to_string()),
        Token::Nil => out.push_str("null"),
        other => panic!("{other:?}"),
    }
}
