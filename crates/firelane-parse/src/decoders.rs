//! `decode_field` and `decode_field_as`: what stands in a field of the parsed map, decoded.
//!
//! The rules of one key run in order. A success ends them, unless it says `do_next`; a failure ends them,
//! unless it says `try_next` or `do_next`. `decode_field_as` puts what it decoded in the place of the
//! value, where the next rule finds it; `decode_field` adds the keys of a decoded object at the end.

use std::cell::RefCell;

use firelane_record::json::to_msgpack;
use firelane_record::msgpack::{self, Token};
use firelane_record::{MapWriter, Timestamp};

use crate::{Unparsed, escapes};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    Json,
    Escaped,
    EscapedUtf8,
    MysqlQuoted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Stop,
    TryNext,
    DoNext,
}

#[derive(Debug, Clone)]
struct Rule {
    backend: Backend,
    /// In the value's place, not beside it.
    replaces: bool,
    action: Action,
}

/// The rules, by key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Decoders(Vec<(Vec<u8>, Vec<Rule>)>);

thread_local! {
    /// Where a map is written anew: one buffer per thread, not one per record.
    static MAP: RefCell<MapWriter> = RefCell::default();
}

impl Decoders {
    /// Adds `BACKEND KEY [try_next|do_next]`.
    ///
    /// # Errors
    /// What is wrong with the words.
    pub(crate) fn add(&mut self, replaces: bool, text: &str) -> Result<(), String> {
        let words: Vec<_> = text.split_ascii_whitespace().collect();
        let (backend, key, action) = match words[..] {
            [backend, key] => (backend, key, None),
            [backend, key, action] => (backend, key, Some(action)),
            _ => return Err("takes two or three words: a decoder, a key, and perhaps an action".into()),
        };
        let backend = match backend.to_ascii_lowercase().as_str() {
            "json" => Backend::Json,
            "escaped" => Backend::Escaped,
            "escaped_utf8" => Backend::EscapedUtf8,
            "mysql_quoted" => Backend::MysqlQuoted,
            other => return Err(format!("field decoder '{other}' unknown")),
        };
        let action = match action.map(str::to_ascii_lowercase).as_deref() {
            None => Action::Stop,
            Some("try_next") => Action::TryNext,
            Some("do_next") => Action::DoNext,
            Some(other) => return Err(format!("action '{other}' unknown")),
        };
        let rule = Rule {
            backend,
            replaces,
            action,
        };
        match self.0.iter_mut().find(|(known, _)| known == key.as_bytes()) {
            Some((_, rules)) => rules.push(rule),
            None => self.0.push((key.as_bytes().to_vec(), vec![rule])),
        }
        Ok(())
    }

    /// Whether there is no rule.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn rules(&self, key: &[u8]) -> Option<&[Rule]> {
        let key = msgpack::str_bytes(key)?;
        self.0
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, rules)| rules.as_slice())
    }

    /// Runs the rules over the pairs that `out` has got since `mark`.
    pub(crate) fn run(&self, out: &mut MapWriter, mark: (usize, u32)) {
        let own = &out.pairs()[mark.0..];
        let count = out.count() - mark.1;
        if !msgpack::bare_pairs(own, count).any(|(key, _)| self.rules(key).is_some()) {
            return;
        }
        MAP.with_borrow_mut(|map| self.rewrite(out, mark, map));
    }

    /// The end of a parser that has read fields since `mark`: unfit where it failed or found none, else the
    /// rules run.
    pub(crate) fn finish(
        &self,
        out: &mut MapWriter,
        mark: (usize, u32),
        read: Result<Option<Timestamp>, Unparsed>,
    ) -> Result<Option<Timestamp>, Unparsed> {
        if read.is_err() || out.mark() == mark {
            out.rewind(mark);
            return Err(Unparsed);
        }
        if !self.0.is_empty() {
            self.run(out, mark);
        }
        read
    }

    fn rewrite(&self, out: &mut MapWriter, mark: (usize, u32), map: &mut MapWriter) {
        map.clear();
        let mut added = MapWriter::new();
        for (key, value) in msgpack::bare_pairs(&out.pairs()[mark.0..], out.count() - mark.1) {
            match self.rules(key).zip(msgpack::str_bytes(value)) {
                Some((rules, text)) => decode(rules, key, text, value, map, &mut added),
                None => map.raw_pair(key, value),
            }
        }
        out.rewind(mark);
        for part in [&*map, &added] {
            for (key, value) in msgpack::bare_pairs(part.pairs(), part.count()) {
                out.raw_pair(key, value);
            }
        }
    }
}

/// Runs the rules of one key over its text.
fn decode(rules: &[Rule], key: &[u8], text: &[u8], value: &[u8], map: &mut MapWriter, added: &mut MapWriter) {
    let mut text = text.to_vec();
    // What takes the value's place: an object, or text as it then stands in `text`.
    let mut object = None;
    let mut replaced = false;
    let mut extra = None;
    for rule in rules {
        if object.is_some() || (!rule.replaces && rule.action == Action::DoNext && extra.is_some()) {
            continue;
        }
        let Some(decoded) = rule.backend.decode(&text) else {
            if rule.action == Action::Stop {
                break;
            }
            continue;
        };
        match (rule.replaces, decoded) {
            (true, Decoded::Object(raw)) => object = Some(raw),
            (true, Decoded::Text(decoded)) => {
                text = decoded;
                replaced = true;
            }
            (false, Decoded::Object(raw)) => extra = Some(raw),
            // A text has no keys to add.
            (false, Decoded::Text(_)) => {}
        }
        if rule.action != Action::DoNext {
            break;
        }
    }
    match object {
        Some(raw) => map.raw_pair(key, &raw),
        None if replaced => {
            let mut raw = Vec::with_capacity(text.len() + 5);
            msgpack::write_str(&mut raw, &text);
            map.raw_pair(key, &raw);
        }
        None => map.raw_pair(key, value),
    }
    for (key, value) in extra.iter().flat_map(|raw| msgpack::pairs(raw)) {
        added.raw_pair(key, value);
    }
}

enum Decoded {
    Text(Vec<u8>),
    /// A raw map.
    Object(Vec<u8>),
}

impl Backend {
    fn decode(self, text: &[u8]) -> Option<Decoded> {
        let plain: fn(&[u8], &mut Vec<u8>) = match self {
            Self::Json => return object(text).map(Decoded::Object),
            Self::Escaped => escapes::escaped,
            Self::EscapedUtf8 => escapes::escaped_utf8,
            Self::MysqlQuoted => escapes::mysql_quoted,
        };
        let mut out = Vec::with_capacity(text.len());
        plain(text, &mut out);
        Some(Decoded::Text(out))
    }
}

/// The one JSON object of a text.
fn object(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let end = to_msgpack(text, &mut out).ok()?;
    let is_map = matches!(msgpack::read(&out), Some((Token::Map(_), _)));
    (is_map && to_msgpack(&text[end..], &mut Vec::new()).is_err()).then_some(out)
}
