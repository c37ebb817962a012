//! Large JSON bodies without a tree of values: members are handed out as they come, strings as slices.

use firelane_record::json::{JsonErrorKind, Lexer, Number, RawString, Token};

use crate::error::ApiError;
use crate::params::serialization;

/// Deepest nesting of members that nobody asked for.
const DEPTH_MAX: usize = 32;

/// Reads one value after the other.
pub(crate) struct Reader<'a> {
    lexer: Lexer<'a>,
}

/// A body is not what it should be.
pub(crate) type Read<T> = Result<T, ApiError>;

impl<'a> Reader<'a> {
    /// A body; it must be UTF-8.
    pub(crate) fn new(body: &'a [u8]) -> Read<Self> {
        match std::str::from_utf8(body) {
            Ok(_) => Ok(Self {
                lexer: Lexer::new(body),
            }),
            Err(_) => Err(serialization("the request body is not UTF-8")),
        }
    }

    fn token(&mut self) -> Read<Token<'a>> {
        let end = self.lexer.error(JsonErrorKind::End);
        match self.lexer.token() {
            Ok(Some(token)) => Ok(token),
            Ok(None) => Err(serialization(end.to_string())),
            Err(error) => Err(serialization(error.to_string())),
        }
    }

    /// Whether the next value is `null`, which is then taken.
    pub(crate) fn null(&mut self) -> Read<bool> {
        let is_null = self.lexer.peek() == Some(b'n');
        if is_null {
            self.token()?;
        }
        Ok(is_null)
    }

    /// An object: `member` takes each value (or [`skip`](Self::skip)s it).
    pub(crate) fn object(&mut self, mut member: impl FnMut(&mut Self, &'a [u8]) -> Read<()>) -> Read<()> {
        match self.token()? {
            Token::ObjectStart => {}
            other => return Err(unexpected(&other, "an object")),
        }
        if self.lexer.peek() == Some(b'}') {
            return self.token().map(|_| ());
        }
        loop {
            let Token::String(key) = self.token()? else {
                return Err(serialization("a member has no name"));
            };
            let Token::Colon = self.token()? else {
                return Err(serialization("a colon is missing"));
            };
            member(self, key.raw)?;
            match self.token()? {
                Token::Comma => {}
                Token::ObjectEnd => return Ok(()),
                other => return Err(unexpected(&other, "`,` or `}`")),
            }
        }
    }

    /// A list: `each` takes each value.
    pub(crate) fn list(&mut self, mut each: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        match self.token()? {
            Token::ArrayStart => {}
            other => return Err(unexpected(&other, "a List")),
        }
        if self.lexer.peek() == Some(b']') {
            return self.token().map(|_| ());
        }
        loop {
            each(self)?;
            match self.token()? {
                Token::Comma => {}
                Token::ArrayEnd => return Ok(()),
                other => return Err(unexpected(&other, "`,` or `]`")),
            }
        }
    }

    /// A string as it stands there.
    pub(crate) fn string(&mut self) -> Read<RawString<'a>> {
        match self.token()? {
            Token::String(string) => Ok(string),
            other => Err(unexpected(&other, "a String")),
        }
    }

    /// A string of its own.
    pub(crate) fn text(&mut self) -> Read<String> {
        let string = self.string()?;
        let mut out = Vec::with_capacity(string.raw.len());
        string.unescape_into(&mut out);
        String::from_utf8(out).map_err(|_| serialization("a string is not UTF-8"))
    }

    /// A whole number.
    pub(crate) fn integer(&mut self) -> Read<i64> {
        match self.token()? {
            Token::Number(Number::Int(number)) => Ok(number),
            Token::Number(Number::UInt(_)) => Ok(i64::MAX),
            Token::Number(Number::Float(number)) => Ok(number as i64),
            other => Err(unexpected(&other, "a Long")),
        }
    }

    /// Passes over a value.
    pub(crate) fn skip(&mut self) -> Read<()> {
        let mut depth = 0;
        loop {
            match self.token()? {
                Token::ObjectStart | Token::ArrayStart if depth < DEPTH_MAX => depth += 1,
                Token::ObjectStart | Token::ArrayStart => return Err(serialization("nested too deep")),
                Token::ObjectEnd | Token::ArrayEnd if depth > 0 => depth -= 1,
                Token::ObjectEnd | Token::ArrayEnd => return Err(serialization("a value is missing")),
                Token::Comma | Token::Colon if depth == 0 => return Err(serialization("a value is missing")),
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Nothing may follow.
    pub(crate) fn end(&mut self) -> Read<()> {
        match self.lexer.peek() {
            None => Ok(()),
            Some(_) => Err(serialization("something follows the request's object")),
        }
    }
}

fn unexpected(found: &Token<'_>, wanted: &str) -> ApiError {
    let found = match found {
        Token::ObjectStart => "START_OBJECT",
        Token::ArrayStart => "START_ARRAY",
        Token::String(_) => "STRING_VALUE",
        Token::Number(_) => "NUMBER_VALUE",
        Token::Bool(true) => "TRUE_VALUE",
        Token::Bool(false) => "FALSE_VALUE",
        Token::Null => "NULL_VALUE",
        Token::ObjectEnd | Token::ArrayEnd | Token::Colon | Token::Comma => "a separator",
    };
    serialization(format!("{found} stands where {wanted} is expected"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn members_come_in_order() {
        let body = br#" {"a":[1,2],"skip":{"x":[{}],"y":"]"},"s":"\u00e9\n","n":null} "#;
        let mut reader = Reader::new(body).unwrap();
        let mut seen = Vec::new();
        reader
            .object(|reader, key| match key {
                b"a" => reader.list(|reader| {
                    seen.push(reader.integer()?.to_string());
                    Ok(())
                }),
                b"s" => {
                    seen.push(reader.text()?);
                    Ok(())
                }
                _ => reader.skip(),
            })
            .unwrap();
        reader.end().unwrap();
        assert_eq!(seen, ["1", "2", "é\n"]);
    }

    proptest! {
        /// Guarantees: what serde_json refuses is refused, and nothing panics.
        #[test]
        fn skipping_agrees_with_an_oracle(text in "[\\[\\]{}:,\"a1 ]{0,24}") {
            let mut reader = Reader::new(text.as_bytes()).unwrap();
            let own = reader.object(|reader, _| reader.skip()).and_then(|()| reader.end());
            let other = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text);
            if other.is_ok() {
                prop_assert!(own.is_ok(), "{:?}", own);
            }
        }
    }
}
