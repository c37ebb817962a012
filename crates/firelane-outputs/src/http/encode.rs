//! Requests of a chunk. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use firelane_core::{Chunk, HttpRequest};
use firelane_net::{HeaderName, HeaderValue};
use firelane_record::accessor::Accessor;
use firelane_record::msgpack;
use firelane_record::set::RecordSet;
use firelane_record::{Event, Tag};

use crate::payload::Payload;
use crate::squeeze::{Coding, Squeeze};

/// What Fluent Bit calls itself; servers have rules for it.
const USER_AGENT: &str = "Fluent-Bit";
/// Turns chunks into requests.
pub(super) struct Encoder {
    method: &'static str,
    target: String,
    headers: Headers,
    payload: Payload,
    squeeze: Option<Squeeze>,
    per_record: Option<PerRecord>,
}

/// Accessors of `body_key` and `headers_key`.
pub(super) struct PerRecord {
    pub(super) body: Accessor,
    pub(super) headers: Accessor,
}

impl Encoder {
    pub(super) fn new(
        method: &'static str,
        target: String,
        headers: Headers,
        payload: Payload,
        squeeze: Option<Squeeze>,
        per_record: Option<PerRecord>,
    ) -> Self {
        Self {
            method,
            target,
            headers,
            payload,
            squeeze,
            per_record,
        }
    }

    /// Whether the tag shows in a request, so that a chunk must be of one tag.
    pub(super) fn needs_one_tag(&self) -> bool {
        self.headers.tag.is_some()
    }

    pub(super) fn requests(&self, chunk: &Chunk) -> Vec<HttpRequest> {
        if let Some(keys) = &self.per_record {
            let events = (0..).zip(chunk.events());
            return events
                .filter_map(|(index, (tag, event))| self.one(keys, index, tag, &event))
                .collect();
        }
        let Some(tag) = chunk.tag() else {
            return Vec::new();
        };
        let encode = |out: &mut Vec<u8>| {
            out.reserve(self.payload.estimate(chunk));
            self.payload.encode(chunk, out);
        };
        let content_type = Some(self.payload.content_type());
        vec![self.request(tag, content_type, Vec::new(), RecordSet::all(), encode)]
    }

    /// The request of one record; none where it has no text for a body or no map of headers.
    fn one(&self, keys: &PerRecord, index: u32, tag: &Tag, event: &Event<'_>) -> Option<HttpRequest> {
        let body = msgpack::text(keys.body.lookup(event)?)?;
        let map = keys.headers.lookup(event)?;
        if !matches!(msgpack::read(map), Some((msgpack::Token::Map(_), _))) {
            return None;
        }
        let text = |raw| Some(String::from_utf8_lossy(msgpack::text(raw)?).into_owned());
        let own = msgpack::pairs(map).filter_map(|(key, value)| Some((text(key)?, text(value)?)));
        let covers = RecordSet::range(index, index + 1);
        let copy = |out: &mut Vec<u8>| out.extend_from_slice(body);
        Some(self.request(tag, None, own.collect(), covers, copy))
    }

    fn request(
        &self,
        tag: &Tag,
        content_type: Option<&'static str>,
        own: Vec<(String, String)>,
        covers: RecordSet,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> HttpRequest {
        let (body, coding) = match &self.squeeze {
            Some(squeeze) => squeeze.body(write),
            None => {
                let mut body = Vec::new();
                write(&mut body);
                (body.into(), None)
            }
        };
        HttpRequest {
            method: self.method,
            target: self.target.clone(),
            headers: self.headers.all(tag, content_type, coding, own),
            body,
            covers,
            units: Vec::new(),
        }
    }
}

/// The headers of every request.
pub(super) struct Headers {
    fixed: Vec<(String, String)>,
    tag: Option<String>,
    /// Of one name, keep all; else the last.
    repeat: bool,
}

impl Headers {
    pub(super) fn new(repeat: bool) -> Self {
        Self {
            fixed: Vec::new(),
            tag: None,
            repeat,
        }
    }

    /// Adds a header of the configuration.
    pub(super) fn add(&mut self, name: &str, value: &str) -> Result<(), String> {
        check_name(name)?;
        HeaderValue::from_str(value).map_err(|_| format!("`{name}` has a value that no header can carry"))?;
        self.fixed.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Names the header that carries the tag.
    pub(super) fn tag(&mut self, name: &str) -> Result<(), String> {
        check_name(name)?;
        self.tag = Some(name.to_owned());
        Ok(())
    }

    pub(super) fn basic_auth(&mut self, user: &str, password: &str) {
        let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        self.fixed.push(("Authorization".to_owned(), value));
    }

    fn all(
        &self,
        tag: &Tag,
        content_type: Option<&str>,
        coding: Option<Coding>,
        own: Vec<(String, String)>,
    ) -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        let before = [
            content_type.and_then(|value| pair("Content-Type", value)),
            coding.and_then(|coding| pair("Content-Encoding", coding.name())),
            self.tag.as_ref().map(|name| (name.clone(), tag_value(tag))),
            pair("User-Agent", USER_AGENT),
        ];
        let list = before
            .into_iter()
            .flatten()
            .chain(self.fixed.iter().cloned())
            .chain(own);
        if self.repeat {
            return list.collect();
        }
        let mut all: Vec<(String, String)> = Vec::new();
        for (name, value) in list {
            all.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
            all.push((name, value));
        }
        all
    }
}

fn check_name(name: &str) -> Result<(), String> {
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("`{name}` cannot be the name of a header")),
    }
}

/// The tag without what would end the header.
fn tag_value(tag: &Tag) -> String {
    tag.to_text()
        .chars()
        .map(|c| if c.is_control() { '_' } else { c })
        .collect()
}
