//! Record accessor: `$key`, `$key['a'][0]`, and templates that hold some among other text.
//!
//! | form | meaning |
//! |---|---|
//! | `key` | in an [`Accessor`]: the top-level key of that name, whatever it holds |
//! | `$key` | top-level key, `[A-Za-z_][A-Za-z0-9_.\-/]*`; in a [`Template`] it ends at a `.` |
//! | `$key['a']['it''s'][2]` | nested keys and indexes; a quote inside is doubled |
//! | `$TAG`, `$TAG[n]` | template: the tag, its nth part |
//! | `$0`..`$9` | template: captures of a rule's regular expression |
//!
//! Look-ups see the last of repeated keys. Subkeys of a top-level value that is neither map nor array are
//! ignored: the value itself is found. In a template a variable ends at `.`, blank, `,`, `"` or the end, and
//! anything else behind it is an error; only `$TAG`, `$TAG[n]` and captures may be followed by anything.

use crate::draft::{Draft, keys};
use crate::json::{JsonOptions, hex, number};
use crate::msgpack::{self, Reader, Token};
use crate::{Event, Tag};

/// A text that is no accessor or template, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at column {column}")]
pub struct AccessorError {
    /// Byte of the text where it stops making sense, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: &'static str,
}

/// A path to one value of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accessor {
    key: Box<[u8]>,
    path: Box<[Step]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(Box<[u8]>),
    Index(u32),
}

/// Something that has top-level fields.
pub trait Fields {
    /// The raw value of the last field of that key.
    fn last(&self, key: &[u8]) -> Option<&[u8]>;
}

impl Fields for Draft<'_> {
    fn last(&self, key: &[u8]) -> Option<&[u8]> {
        self.get(key)
    }
}

/// A raw map.
impl Fields for [u8] {
    fn last(&self, key: &[u8]) -> Option<&[u8]> {
        last_in(self, key)
    }
}

impl Fields for Event<'_> {
    fn last(&self, key: &[u8]) -> Option<&[u8]> {
        last_in(self.body, key)
    }
}

/// The value of the last pair of that key in a raw map.
fn last_in<'r>(map: &'r [u8], key: &[u8]) -> Option<&'r [u8]> {
    msgpack::pairs(map)
        .filter(|(raw, _)| keys::is(raw, key))
        .last()
        .map(|(_, value)| value)
}

impl Accessor {
    /// Parses `$key['a'][0]`, or a plain key: what does not start with `$`.
    pub fn parse(text: &str) -> Result<Self, AccessorError> {
        if !text.starts_with('$') {
            return Ok(Self::key(text));
        }
        let mut parser = Parser { text, at: 1 };
        let accessor = parser.accessor(false)?;
        if parser.at < text.len() {
            return Err(parser.error("unexpected text behind the accessor"));
        }
        Ok(accessor)
    }

    /// The top-level key of that name.
    pub fn key(name: &str) -> Self {
        Self {
            key: name.as_bytes().into(),
            path: Box::new([]),
        }
    }

    /// The top-level key.
    pub fn top(&self) -> &[u8] {
        &self.key
    }

    /// Whether it is a top-level key and no more.
    pub fn is_top(&self) -> bool {
        self.path.is_empty()
    }

    /// The raw value it leads to, in a [`Draft`], an [`Event`] or a raw map.
    #[inline]
    pub fn lookup<'r, R: Fields + ?Sized>(&self, record: &'r R) -> Option<&'r [u8]> {
        let top = record.last(&self.key)?;
        if self.path.is_empty() {
            Some(top)
        } else {
            self.descend(top)
        }
    }

    /// The bytes of the value it leads to, if that is a string.
    #[inline]
    pub fn lookup_str<'r, R: Fields + ?Sized>(&self, record: &'r R) -> Option<&'r [u8]> {
        msgpack::str_bytes(self.lookup(record)?)
    }

    fn descend<'r>(&self, top: &'r [u8]) -> Option<&'r [u8]> {
        let (token, _) = msgpack::read(top)?;
        if !matches!(token, Token::Map(_) | Token::Array(_)) {
            return Some(top);
        }
        self.path.iter().try_fold(top, |value, step| match step {
            Step::Key(key) => last_in(value, key),
            Step::Index(index) => {
                let mut reader = Reader::new(value);
                match reader.token()? {
                    Token::Array(count) if *index < count => {
                        for _ in 0..*index {
                            reader.value()?;
                        }
                        reader.value()
                    }
                    _ => None,
                }
            }
        })
    }
}

/// Text with variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Box<[Part]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<[u8]>),
    Tag,
    TagNth(usize),
    Capture(usize),
    Value(Accessor),
}

impl Template {
    /// Parses a template.
    pub fn parse(text: &str) -> Result<Self, AccessorError> {
        let mut parser = Parser { text, at: 0 };
        let mut parts = Vec::new();
        while let Some(rest) = parser.rest().filter(|rest| !rest.is_empty()) {
            let literal = rest.find('$').unwrap_or(rest.len());
            if literal > 0 {
                parts.push(Part::Text(rest.as_bytes()[..literal].into()));
            }
            parser.at += literal;
            if literal < rest.len() {
                parser.at += 1;
                parts.push(parser.variable()?);
            }
        }
        Ok(Self { parts: parts.into() })
    }

    /// Whether it holds no variable.
    pub fn is_constant(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Whether it depends on nothing but the tag.
    pub fn needs_record(&self) -> bool {
        let of_record = |part: &Part| matches!(part, Part::Value(_) | Part::Capture(_));
        self.parts.iter().any(of_record)
    }

    /// Appends the text for a record. `captures`: what `$0`..`$9` stand for. What is missing adds nothing;
    /// false if anything was.
    pub fn render<R: Fields + ?Sized>(
        &self,
        tag: &Tag,
        record: &R,
        captures: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> bool {
        let mut complete = true;
        for part in &self.parts {
            let text = match part {
                Part::Text(text) => Some(&**text),
                Part::Tag => Some(tag.as_bytes()),
                Part::TagNth(n) => tag.part(*n),
                Part::Capture(n) => captures.get(*n).copied(),
                Part::Value(accessor) => {
                    let value = accessor.lookup(record);
                    complete &= value.is_some_and(|raw| write_plain(out, raw));
                    continue;
                }
            };
            complete &= text.is_some();
            out.extend_from_slice(text.unwrap_or_default());
        }
        complete
    }
}

/// Appends a value as templates print it: a string as it is, whole numbers, floats as `%f`, `true`, `false`,
/// `null`, maps as JSON, binaries as hex. False, and nothing, for an array or an extension.
pub fn write_plain(out: &mut Vec<u8>, raw: &[u8]) -> bool {
    let Some((token, _)) = msgpack::read(raw) else {
        return false;
    };
    match token {
        Token::Str(text) => out.extend_from_slice(text),
        Token::Int(n) => number::write_i64(out, n),
        Token::UInt(n) => number::write_u64(out, n),
        Token::F32(n) => number::write_fixed(out, f64::from(n)),
        Token::F64(n) => number::write_fixed(out, n),
        Token::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Token::Nil => out.extend_from_slice(b"null"),
        Token::Map(_) => JsonOptions::default().encode_value(raw, out),
        Token::Bin(bytes) => hex(out, bytes),
        Token::Array(_) | Token::Ext(..) => return false,
    }
    true
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> Option<&'t str> {
        self.text.get(self.at..)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn error(&self, message: &'static str) -> AccessorError {
        AccessorError {
            column: self.at + 1,
            message,
        }
    }

    /// What stands behind a `$` of a template.
    fn variable(&mut self) -> Result<Part, AccessorError> {
        if let Some(digit @ b'0'..=b'9') = self.peek() {
            self.at += 1;
            return Ok(Part::Capture(usize::from(digit - b'0')));
        }
        if self.rest().is_some_and(|rest| rest.starts_with("TAG")) {
            self.at += 3;
            if self.peek() != Some(b'[') {
                return Ok(Part::Tag);
            }
            self.at += 1;
            let part = self.index()?;
            return Ok(Part::TagNth(part as usize));
        }
        let accessor = self.accessor(true)?;
        match self.peek() {
            None | Some(b'.' | b' ' | b'\t' | b',' | b'"') => Ok(Part::Value(accessor)),
            Some(_) => Err(self.error("a variable ends at `.`, blank, `,`, `\"` or the end")),
        }
    }

    /// Key and subkeys behind a `$`.
    fn accessor(&mut self, in_template: bool) -> Result<Accessor, AccessorError> {
        let start = self.at;
        while let Some(byte) = self.peek() {
            let inner =
                byte.is_ascii_digit() || matches!(byte, b'-' | b'/') || (byte == b'.' && !in_template);
            let good = byte.is_ascii_alphabetic() || byte == b'_' || (inner && self.at > start);
            if !good {
                break;
            }
            self.at += 1;
        }
        if self.at == start {
            return Err(self.error("a key must stand behind `$`, starting with a letter or `_`"));
        }
        let key = self.text.as_bytes()[start..self.at].into();
        let mut path = Vec::new();
        while self.peek() == Some(b'[') {
            self.at += 1;
            path.push(match self.peek() {
                Some(b'\'') => Step::Key(self.quoted()?),
                _ => Step::Index(self.index()?),
            });
        }
        Ok(Accessor {
            key,
            path: path.into(),
        })
    }

    /// A quoted subkey and its `]`.
    fn quoted(&mut self) -> Result<Box<[u8]>, AccessorError> {
        let opening = self.at;
        let mut key = Vec::new();
        loop {
            self.at += 1;
            match self.peek() {
                Some(b'\'') => {
                    self.at += 1;
                    if self.peek() != Some(b'\'') {
                        break;
                    }
                    key.push(b'\'');
                }
                Some(byte) => key.push(byte),
                None => {
                    self.at = opening;
                    return Err(self.error("a quoted key does not end"));
                }
            }
        }
        self.close()?;
        Ok(key.into())
    }

    /// A number and its `]`.
    fn index(&mut self) -> Result<u32, AccessorError> {
        let digits = self
            .rest()
            .map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
        let number = self.text.get(self.at..self.at + digits).unwrap_or_default();
        let number = number
            .parse()
            .map_err(|_| self.error("expected a quoted key or a number"))?;
        self.at += digits;
        self.close()?;
        Ok(number)
    }

    fn close(&mut self) -> Result<(), AccessorError> {
        if self.peek() != Some(b']') {
            return Err(self.error("expected `]`"));
        }
        self.at += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::to_msgpack;

    fn body(json: &str) -> Vec<u8> {
        let mut raw = Vec::new();
        to_msgpack(json.as_bytes(), &mut raw).unwrap();
        raw
    }

    #[track_caller]
    fn check(accessor: &str, json: &str, want: Option<&str>) {
        let body = body(json);
        let found = Accessor::parse(accessor).unwrap().lookup(&*body).map(|raw| {
            let mut out = Vec::new();
            JsonOptions::default().encode_value(raw, &mut out);
            String::from_utf8(out).unwrap()
        });
        assert_eq!(found.as_deref(), want, "{accessor}");
    }

    #[test]
    fn look_ups() {
        let json = r#"{"a":1,"a.b":2,"m":{"x":{"y":3},"it's":4,"x.y":[5,[6]]},"a":7,"s":"text"}"#;
        check("a", json, Some("7"));
        check("$a", json, Some("7"));
        check("$a.b", json, Some("2"));
        check("a.b", json, Some("2"));
        check("$m['x']['y']", json, Some("3"));
        check("$m['it''s']", json, Some("4"));
        check("$m['x.y'][1][0]", json, Some("6"));
        check("$m['x.y'][2]", json, None);
        check("$m['nope']['y']", json, None);
        check("$m[0]", json, None);
        check("$m['x']['y']['z']", json, None);
        // Subkeys of a plain top-level value are ignored.
        check("$s['x'][1]", json, Some("\"text\""));
        check("$nope", json, None);
        check("m['x']", json, None);
    }

    #[track_caller]
    fn check_bad(text: &str, column: usize) {
        let error = Template::parse(text).unwrap_err();
        assert_eq!(error.column, column, "{text}: {error}");
    }

    #[test]
    fn faults_have_a_place() {
        check_bad("$a:$b", 3);
        check_bad("$a-$b", 4);
        check_bad("$a/$b", 4);
        check_bad("x $a$b", 5);
        check_bad("$", 2);
        check_bad("a $ b", 4);
        check_bad("$a['x", 4);
        check_bad("$a['x'", 7);
        check_bad("$a[x]", 4);
        check_bad("$TAG[x]", 6);
        assert_eq!(Accessor::parse("$a b").unwrap_err().column, 3);
        assert_eq!(Accessor::parse("$9").unwrap_err().column, 2);
    }

    #[track_caller]
    fn check_template(template: &str, want: &str, complete: bool) {
        let body = body(
            r#"{"k":"0xyz","A":"a","B":"b","m":{"k":"mk","a.b":"dot"},"n":-5,"f":1.5,"b":true,
                "l":["x"],"nul":null,"big":1e21}"#,
        );
        let tag = Tag::new("t1.t2.t3").unwrap();
        let mut out = Vec::new();
        let template = Template::parse(template).unwrap();
        let got = template.render(&tag, &*body, &[b"all", b"one"], &mut out);
        assert_eq!((String::from_utf8(out).unwrap().as_str(), got), (want, complete));
    }

    #[test]
    fn templates() {
        check_template("$A.$B", "a.b", true);
        check_template("$TAG", "t1.t2.t3", true);
        check_template("q.$TAG[0]", "q.t1", true);
        check_template("x-$TAG[1]-$TAG[2]", "x-t2-t3", true);
        check_template("$1$0x$TAGS", "oneallxt1.t2.t3S", true);
        check_template("$n.x", "-5.x", true);
        check_template("$nope.x", ".x", false);
        check_template("pre.$m['k'].post", "pre.mk.post", true);
        check_template("$m['a.b'] $f,$b\"$nul", "dot 1.500000,true\"null", true);
        check_template("$l $big", " 1000000000000000000000.000000", false);
        check_template("$m", r#"{"k":"mk","a.b":"dot"}"#, true);
        check_template("$TAG[7]$2", "", false);
        check_template("plain", "plain", true);
    }

    #[test]
    fn a_draft_is_looked_into_as_edited() {
        let raw = body(r#"{"a":1}"#);
        let mut scratch = crate::Scratch::new();
        let mut draft = Draft::fresh(crate::Timestamp::default(), None, &raw, &mut scratch);
        draft.push(b"a", &body(r#"{"x":[8]}"#));
        let accessor = Accessor::parse("$a['x'][0]").unwrap();
        assert_eq!(accessor.lookup(&draft), Some(&[8][..]));
    }
}
