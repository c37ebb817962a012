//! The body of a request as records, sorted by tag. Pure.

use std::collections::HashMap;
use std::time::SystemTime;

use bytes::Bytes;
use firelane_core::InputCx;
use firelane_net::compress::decompress;
use firelane_net::server::ServerRequest;
use firelane_net::{Encoding, HeaderMap, Method, StatusCode, header};
use firelane_record::accessor::Accessor;
use firelane_record::json::to_msgpack;
use firelane_record::msgpack::{self, Reader, Token};
use firelane_record::{MapWriter, RecordsBuf, Tag, Timestamp};

use super::Settings;

/// Why a request is refused.
pub(super) type Refusal = (StatusCode, &'static str);
/// Records by tag, in the order of their first record.
pub(super) type Runs = Vec<(Tag, RecordsBuf)>;

const BAD: StatusCode = StatusCode::BAD_REQUEST;

/// The records of a request by their tags, or none of them.
pub(super) fn decode(settings: &Settings, cx: &InputCx, request: &ServerRequest) -> Result<Runs, Refusal> {
    if request.method != Method::POST {
        return Err((BAD, "invalid HTTP method"));
    }
    let kind = request.headers.get(header::CONTENT_TYPE);
    let kind = kind.ok_or((BAD, "header 'Content-Type' is not set"))?;
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_json = kind.eq_ignore_ascii_case("application/json");
    if !is_json && !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err((BAD, "invalid 'Content-Type'"));
    }
    let body = plain_body(settings, request)?;
    if body.is_empty() {
        return Err((BAD, "no payload found"));
    }
    let address = settings
        .address_key
        .as_deref()
        .zip(forwarded_for(&request.headers));
    let mut sorter = Sorter {
        tag_key: settings.tag_key.as_ref(),
        tag: path_tag(&request.path).unwrap_or_else(|| cx.tag.clone()),
        address,
        now: Timestamp::from_system(SystemTime::now()),
        runs: Vec::new(),
        by_tag: HashMap::new(),
        map: MapWriter::new(),
    };
    if is_json {
        sorter.json(&body)?;
    } else {
        sorter.form(&body)?;
    }
    Ok(sorter.runs)
}

/// The body, decompressed.
fn plain_body(settings: &Settings, request: &ServerRequest) -> Result<Bytes, Refusal> {
    let Some(name) = request.headers.get(header::CONTENT_ENCODING) else {
        return Ok(request.body.clone());
    };
    let name = name.to_str().unwrap_or_default();
    if name.eq_ignore_ascii_case("identity") {
        return Ok(request.body.clone());
    }
    let unknown = (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unknown 'Content-Encoding'");
    let encoding = Encoding::by_name(name).ok_or(unknown)?;
    decompress(encoding, &request.body, settings.body_max)
        .map_err(|_| (BAD, "the compressed body is damaged, or too large"))
}

/// The tag of a path: without the leading `/`, everything but letters, digits, `.` and `_` replaced by `_`.
fn path_tag(path: &str) -> Option<Tag> {
    let path = path.strip_prefix('/').unwrap_or(path);
    clean_tag(path.as_bytes()).filter(|_| !path.is_empty())
}

fn clean_tag(text: &[u8]) -> Option<Tag> {
    let clean = |&byte: &u8| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') {
            byte
        } else {
            b'_'
        }
    };
    Tag::new(text.iter().map(clean).collect::<Vec<_>>()).ok()
}

/// The first address of `X-Forwarded-For`.
fn forwarded_for(headers: &HeaderMap) -> Option<&[u8]> {
    let text = headers.get("x-forwarded-for")?.as_bytes();
    let first = text.split(|&byte| byte == b',').next()?.trim_ascii();
    (!first.is_empty()).then_some(first)
}

/// Sorts records by tag.
struct Sorter<'a> {
    tag_key: Option<&'a Accessor>,
    /// The tag of records that bring none.
    tag: Tag,
    /// A pair for each record that has no such key.
    address: Option<(&'a [u8], &'a [u8])>,
    now: Timestamp,
    runs: Runs,
    by_tag: HashMap<Tag, usize>,
    map: MapWriter,
}

const NO_RECORDS: Refusal = (BAD, "unable to process records");

impl Sorter<'_> {
    /// Objects and arrays of objects, behind each other.
    fn json(&mut self, text: &[u8]) -> Result<(), Refusal> {
        let (mut rest, mut value) = (text.trim_ascii(), Vec::new());
        while !rest.is_empty() {
            value.clear();
            let len = to_msgpack(rest, &mut value).map_err(|_| NO_RECORDS)?;
            rest = rest[len..].trim_ascii_start();
            let mut reader = Reader::new(&value);
            match reader.token() {
                Some(Token::Map(_)) => self.record(&value)?,
                Some(Token::Array(count)) => {
                    for _ in 0..count {
                        self.record(reader.value().ok_or(NO_RECORDS)?)?;
                    }
                }
                _ => return Err(NO_RECORDS),
            }
        }
        Ok(())
    }

    /// `a=1&b=x%20y` as one record of texts.
    fn form(&mut self, text: &[u8]) -> Result<(), Refusal> {
        let mut map = MapWriter::new();
        for pair in text.split(|&byte| byte == b'&') {
            let Some(at) = memchr::memchr(b'=', pair) else {
                continue;
            };
            let (key, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
            if !key.is_empty() {
                map.str(key, &percent_decoded(value));
            }
        }
        if map.count() == 0 {
            return Err(NO_RECORDS);
        }
        let mut body = Vec::new();
        map.write(&mut body);
        self.record(&body)
    }

    /// Appends one record to the run of its tag.
    fn record(&mut self, body: &[u8]) -> Result<(), Refusal> {
        let Some((Token::Map(count), head)) = msgpack::read(body) else {
            return Err(NO_RECORDS);
        };
        let own = self.tag_key.and_then(|key| key.lookup_str(body));
        let tag = own.and_then(clean_tag);
        let index = self.run(tag.as_ref());
        let run = &mut self.runs[index].1;
        match self.address {
            Some((key, address)) if !has_key(body, key) => {
                self.map.clear();
                self.map.str(key, address);
                let map = &self.map;
                run.push_with(self.now, None, |out| {
                    msgpack::write_map_head(out, count.saturating_add(1));
                    out.extend_from_slice(&body[head..]);
                    out.extend_from_slice(map.pairs());
                });
            }
            _ => run.push(self.now, None, body),
        }
        Ok(())
    }

    /// The index of a tag's run.
    fn run(&mut self, tag: Option<&Tag>) -> usize {
        let tag = tag.unwrap_or(&self.tag);
        if let Some(&index) = self.by_tag.get(tag) {
            return index;
        }
        let index = self.runs.len();
        self.runs.push((tag.clone(), RecordsBuf::default()));
        self.by_tag.insert(tag.clone(), index);
        index
    }
}

fn has_key(body: &[u8], key: &[u8]) -> bool {
    msgpack::pairs(body).any(|(name, _)| msgpack::str_bytes(name) == Some(key))
}

/// `+` is a blank, `%41` a byte; a text with a broken `%` stays as it is.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match byte {
            b'+' => out.push(b' '),
            b'%' => match (digit(bytes.next()), digit(bytes.next())) {
                (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
                _ => return text.to_vec(),
            },
            byte => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use firelane_record::text;

    use firelane_net::HeaderValue;

    use super::*;

    fn sorter<'a>(key: Option<&'a Accessor>, address: Option<(&'a [u8], &'a [u8])>) -> Sorter<'a> {
        Sorter {
            tag_key: key,
            tag: Tag::new("path").unwrap(),
            address,
            now: Timestamp::default(),
            runs: Vec::new(),
            by_tag: HashMap::new(),
            map: MapWriter::new(),
        }
    }

    /// `tag: record` for each.
    fn print(sorter: Sorter<'_>) -> Vec<String> {
        let mut lines = Vec::new();
        for (tag, mut run) in sorter.runs {
            for event in run.take().events() {
                let mut out = Vec::new();
                text::write_value(&mut out, event.body);
                lines.push(format!("{tag}: {}", String::from_utf8_lossy(&out)));
            }
        }
        lines
    }

    #[track_caller]
    fn json(key: Option<&str>, sent: &str, want: &[&str]) {
        let key = key.map(|key| Accessor::parse(key).unwrap());
        let mut sorter = sorter(key.as_ref(), None);
        sorter.json(sent.as_bytes()).unwrap();
        assert_eq!(print(sorter), want, "{sent}");
    }

    #[test]
    fn json_bodies() {
        json(None, "{\"a\":1}", &[r#"path: {"a"=>1}"#]);
        json(
            None,
            "[{\"a\":1},{\"a\":2}] {\"a\":3}\n",
            &[r#"path: {"a"=>1}"#, r#"path: {"a"=>2}"#, r#"path: {"a"=>3}"#],
        );
        json(None, "[]", &[]);
        let sent = "[{\"t\":\"x y\"},{\"t\":5},{\"t\":\"x y\",\"n\":2}]";
        let want = [
            r#"x_y: {"t"=>"x y"}"#,
            r#"x_y: {"t"=>"x y", "n"=>2}"#,
            r#"path: {"t"=>5}"#,
        ];
        json(Some("t"), sent, &want);
        json(
            Some("$k['t']"),
            "{\"k\":{\"t\":\"in\"}}",
            &[r#"in: {"k"=>{"t"=>"in"}}"#],
        );
    }

    #[test]
    fn bad_json_gives_nothing() {
        for sent in ["no", "{\"a\":1", "7", "[1]", "[{\"a\":1},2]", "{\"a\":1} no"] {
            assert!(sorter(None, None).json(sent.as_bytes()).is_err(), "{sent}");
        }
    }

    #[test]
    fn forms() {
        let mut form = sorter(None, None);
        form.form(b"a=1&b=x%20y+z&=no&c&d=%zz&e=").unwrap();
        assert_eq!(
            print(form),
            [r#"path: {"a"=>"1", "b"=>"x y z", "d"=>"%zz", "e"=>""}"#]
        );
        assert!(sorter(None, None).form(b"none").is_err());
    }

    #[test]
    fn the_address_is_added_once() {
        let mut adds = sorter(None, Some((b"from", b"10.0.0.7")));
        adds.json(b"{\"a\":1}{\"from\":\"x\"}").unwrap();
        assert_eq!(
            print(adds),
            [r#"path: {"a"=>1, "from"=>"10.0.0.7"}"#, r#"path: {"from"=>"x"}"#]
        );
        let mut headers = HeaderMap::new();
        assert_eq!(forwarded_for(&headers), None);
        headers.insert(
            "x-forwarded-for",
            HeaderValue::from_static(" 10.0.0.7 , 10.0.0.8"),
        );
        assert_eq!(forwarded_for(&headers), Some(&b"10.0.0.7"[..]));
    }

    #[test]
    fn tags_of_paths() {
        let tag = |path| path_tag(path).map(|tag| tag.to_text().into_owned());
        assert_eq!(tag("/app/web-1.log"), Some("app_web_1.log".into()));
        assert_eq!(tag("/"), None);
        assert_eq!(tag(""), None);
    }
}
