//! JSON, strictly: the AWS CLI and CloudFormation take nothing else.

use firelane_conf::{Diagnostic, SourceId, Span, Spanned};
use firelane_record::json::{JsonError, JsonErrorKind, Lexer, RawString, Token};

use super::{DEPTH_MAX, Node, Pair, Places, Value, broken_json};

type Read<T> = Result<T, Box<Diagnostic>>;

/// Reads a text to its end.
pub(super) fn read(file: SourceId, text: &str) -> Read<Node> {
    let bytes = text.as_bytes();
    let mark = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut reader = Reader {
        places: Places::new(file, text),
        text: bytes,
        mark,
        lexer: Lexer::new(&bytes[mark..]),
    };
    let (token, at) = reader.next("a value")?;
    let root = reader.value(token, at, 0)?;
    let at = reader.at_next();
    match reader.lexer.token() {
        Ok(None) => Ok(root),
        _ => Err(reader.fail(
            at,
            "something stands behind the end of the JSON value",
            "delete it",
        )),
    }
}

struct Reader<'a> {
    places: Places<'a>,
    text: &'a [u8],
    /// Bytes of a byte order mark at the start.
    mark: usize,
    lexer: Lexer<'a>,
}

impl<'a> Reader<'a> {
    /// Offset of the next token.
    fn at_next(&mut self) -> usize {
        self.lexer.skip_blanks() + self.mark
    }

    /// Offset behind the last token.
    fn at(&self) -> usize {
        self.lexer.at() + self.mark
    }

    fn span(&self, from: usize, to: usize) -> Span {
        self.places.span(from..to)
    }

    fn fail(&self, at: usize, message: &str, help: &str) -> Box<Diagnostic> {
        broken_json(self.span(at, at + 1), message, help)
    }

    fn broken(&self, error: JsonError) -> Box<Diagnostic> {
        let at = error.offset + self.mark;
        let rest = self.text.get(at..).unwrap_or_default();
        let (message, help) = match (error.kind, rest.first()) {
            (JsonErrorKind::End, _) => (
                "the JSON ends too early",
                "a `\"`, `}` or `]` is missing; the place is the end of the file",
            ),
            (_, Some(b'\'')) => ("JSON has no single quotes", "write `\"` instead of `'`"),
            (_, Some(b'/' | b'#')) => ("JSON has no comments", "delete the comment"),
            (_, Some(b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$')) => (
                "a word without quotes",
                "put keys and texts into double quotes; only true, false and null stand without",
            ),
            (JsonErrorKind::Escape, _) => (
                "no such escape in a JSON text",
                "write `\\\\` for one backslash: a regular expression needs every backslash doubled",
            ),
            (JsonErrorKind::Number | JsonErrorKind::Range, _) => (
                "no number that JSON knows",
                "numbers have no leading zeros; put texts into double quotes",
            ),
            _ => (
                "this character cannot stand here",
                "check the line and the one before",
            ),
        };
        self.fail(at, message, help)
    }

    /// The next token and its offset.
    fn next(&mut self, wanted: &str) -> Read<(Token<'a>, usize)> {
        let at = self.at_next();
        match self.lexer.token() {
            Ok(Some(token)) => Ok((token, at)),
            Ok(None) => {
                let message = format!("the JSON ends where {wanted} should stand");
                Err(self.fail(at, &message, "a `}` or `]` is missing, or the file is empty"))
            }
            Err(error) => Err(self.broken(error)),
        }
    }

    fn value(&mut self, token: Token<'a>, start: usize, depth: usize) -> Read<Node> {
        if depth > DEPTH_MAX {
            return Err(self.fail(start, "nested too deep", "no task definition needs that"));
        }
        let value = match token {
            Token::ObjectStart => Value::Map(self.map(depth)?),
            Token::ArrayStart => Value::List(self.list(depth)?),
            Token::String(raw) => Value::String(self.text(raw, start)?),
            Token::Number(_) => {
                let written = self.text.get(start..self.at()).unwrap_or_default();
                Value::Number(String::from_utf8_lossy(written).into_owned())
            }
            Token::Bool(on) => Value::Bool(on),
            Token::Null => Value::Null,
            Token::Comma => return Err(self.fail(start, "a comma too many", "delete the comma")),
            _ => return Err(self.fail(start, "a value is expected here", "check the brackets and commas")),
        };
        let end = self.at();
        let span = match value {
            Value::Map(_) | Value::List(_) => self.span(start, start + 1),
            _ => self.span(start, end),
        };
        Ok(Node::new(value, span, start..end))
    }

    fn text(&self, raw: RawString<'_>, start: usize) -> Read<String> {
        if let Some(at) = raw.raw.iter().position(|byte| *byte < 0x20) {
            let message = "a raw control character, such as a line end, in a text";
            let help = "is the closing `\"` missing? Else write `\\n` for a line end, `\\t` for a tab";
            return Err(self.fail(start + 1 + at, message, help));
        }
        let mut out = Vec::with_capacity(raw.raw.len());
        raw.unescape_into(&mut out);
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    fn list(&mut self, depth: usize) -> Read<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            let (token, at) = self.next("an element or `]`")?;
            match token {
                Token::ArrayEnd if items.is_empty() => return Ok(items),
                Token::ArrayEnd => return Err(self.trailing_comma(at)),
                token => items.push(self.value(token, at, depth + 1)?),
            }
            if self.ends(Token::ArrayEnd, "]")? {
                return Ok(items);
            }
        }
    }

    fn map(&mut self, depth: usize) -> Read<Vec<Pair>> {
        let mut pairs: Vec<Pair> = Vec::new();
        loop {
            let (token, at) = self.next("a key or `}`")?;
            let key = match token {
                Token::ObjectEnd if pairs.is_empty() => return Ok(pairs),
                Token::ObjectEnd => return Err(self.trailing_comma(at)),
                Token::String(raw) => self.text(raw, at)?,
                _ => {
                    return Err(self.fail(at, "a key in double quotes is expected here", "check the commas"));
                }
            };
            let key_range = at..self.at();
            let key = Spanned::new(key, self.span(at, self.at()));
            let (token, at) = self.next("`:`")?;
            if token != Token::Colon {
                let message = format!("a `:` is missing behind the key `{}`", key.value);
                return Err(self.fail(at, &message, "write `\"key\": value`"));
            }
            let (token, at) = self.next("a value")?;
            let value = self.value(token, at, depth + 1)?;
            pairs.push(Pair {
                key,
                key_range,
                value,
            });
            if self.ends(Token::ObjectEnd, "}")? {
                return Ok(pairs);
            }
        }
    }

    /// Behind an element: whether the container ends, or a comma follows.
    fn ends(&mut self, end: Token<'_>, bracket: &str) -> Read<bool> {
        let behind = self.at();
        let (token, at) = self.next(&format!("`,` or `{bracket}`"))?;
        match token {
            Token::Comma => Ok(false),
            token if token == end => Ok(true),
            Token::String(_) => Err(self.fail(
                behind.saturating_sub(1),
                "a comma is missing behind this",
                "add `,`",
            )),
            _ => {
                let message = format!("a `,` or `{bracket}` is expected here");
                Err(self.fail(at, &message, "check the brackets of what stands before"))
            }
        }
    }

    fn trailing_comma(&self, at: usize) -> Box<Diagnostic> {
        let before = self.text.get(..at).unwrap_or_default();
        let comma = before.iter().rposition(|byte| *byte == b',').unwrap_or(at);
        self.fail(comma, "a comma before the closing bracket", "delete the comma")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, line: u32, column: u32, message: &str) {
        let error = read(SourceId(1), text).unwrap_err();
        let span = error.span.unwrap();
        assert_eq!(
            (span.line, span.column, error.message.as_str()),
            (line, column, message),
            "{text:?}"
        );
    }

    #[test]
    fn faults_are_named_where_they_are() {
        check("{\"a\": 1,}", 1, 8, "a comma before the closing bracket");
        check("{\"a\": 1\n \"b\": 2}", 1, 7, "a comma is missing behind this");
        check("{\"a\" 1}", 1, 6, "a `:` is missing behind the key `a`");
        check("{'a': 1}", 1, 2, "JSON has no single quotes");
        check("{\"a\": 1 // x\n}", 1, 9, "JSON has no comments");
        check("{a: 1}", 1, 2, "a word without quotes");
        check("{\"a\": \"\\d\"}", 1, 8, "no such escape in a JSON text");
        check("{\"a\": 01}", 1, 7, "no number that JSON knows");
        check(
            "{\"a\": \"x\n\"}",
            1,
            9,
            "a raw control character, such as a line end, in a text",
        );
        check("{\"a\": [1, 2}", 1, 12, "a `,` or `]` is expected here");
        check("{} {}", 1, 4, "something stands behind the end of the JSON value");
        check("", 1, 1, "the JSON ends where a value should stand");
        check(&"[".repeat(70), 1, 66, "nested too deep");
    }

    #[test]
    fn values_know_their_bytes() {
        let text = "\u{feff}{\"ä\": [1.50, \"x\\u00e9\"], \"b\": {\"c\": null}}";
        let root = read(SourceId(1), text).unwrap();
        assert_eq!(&text[root.range.clone()], &text[3..]);
        let list = root.get("ä").unwrap();
        assert_eq!(&text[list.range.clone()], "[1.50, \"x\\u00e9\"]");
        assert_eq!(list.items()[0].value, Value::Number("1.50".into()));
        assert_eq!(list.items()[1].scalar(), Some("xé"));
        assert_eq!(&text[root.pairs()[1].key_range.clone()], "\"b\"");
    }
}
