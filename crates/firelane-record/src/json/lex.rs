//! The JSON lexer: tokens with offsets over bytes.
//!
//! Strict as RFC 8259, but for what logs need: strings may hold raw control characters and bytes that are not
//! UTF-8, both kept as they are. A lone surrogate escape becomes U+FFFD.

use memchr::memchr2;

/// Why a text is not JSON, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at offset {offset}")]
pub struct JsonError {
    /// Offset of the byte in the text.
    pub offset: usize,
    /// What is wrong there.
    pub kind: JsonErrorKind,
}

/// What is wrong with a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonErrorKind {
    /// The text ends inside a value.
    #[error("unexpected end")]
    End,
    /// A byte that cannot stand there.
    #[error("unexpected character")]
    Unexpected,
    /// A number that breaks the grammar, for example `01` or `1.`.
    #[error("malformed number")]
    Number,
    /// A number beyond the range of a double.
    #[error("number out of range")]
    Range,
    /// A `\` followed by what is no escape.
    #[error("invalid escape")]
    Escape,
    /// Containers nested over [`DEPTH_MAX`](super::DEPTH_MAX).
    #[error("nested too deep")]
    TooDeep,
}

/// A number as JSON inputs understand it: a float where it has a point or an exponent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number up to 64 signed bits.
    Int(i64),
    /// A whole number above `i64::MAX`.
    UInt(u64),
    /// Anything else, whole numbers beyond 64 bits too.
    Float(f64),
}

/// The inside of a string as it stands in the text; its escapes are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawString<'a> {
    /// The bytes between the quotes.
    pub raw: &'a [u8],
    /// Whether it holds escapes.
    pub escaped: bool,
}

/// One token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Token<'a> {
    /// `{`
    ObjectStart,
    /// `}`
    ObjectEnd,
    /// `[`
    ArrayStart,
    /// `]`
    ArrayEnd,
    /// `:`
    Colon,
    /// `,`
    Comma,
    /// A string.
    String(RawString<'a>),
    /// A number.
    Number(Number),
    /// `true`, `false`
    Bool(bool),
    /// `null`
    Null,
}

/// Reads tokens one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    /// A lexer at the start of `text`.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// Offset behind the last token.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Skips blanks; the offset of the next token, or of the end.
    #[inline]
    pub fn skip_blanks(&mut self) -> usize {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
        self.at
    }

    /// The next byte that is no blank, not taken.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        self.skip_blanks();
        self.text.get(self.at).copied()
    }

    /// Takes the byte that [`peek`](Self::peek) gave.
    #[inline]
    pub(super) fn bump(&mut self) {
        self.at += 1;
    }

    /// An error here.
    pub fn error(&self, kind: JsonErrorKind) -> JsonError {
        JsonError {
            offset: self.at,
            kind,
        }
    }

    /// The next token; `None` at the end.
    #[inline]
    pub fn token(&mut self) -> Result<Option<Token<'a>>, JsonError> {
        let Some(byte) = self.peek() else {
            return Ok(None);
        };
        let token = match byte {
            b'{' => Token::ObjectStart,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayStart,
            b']' => Token::ArrayEnd,
            b':' => Token::Colon,
            b',' => Token::Comma,
            b'"' => return self.string().map(|string| Some(Token::String(string))),
            b'-' | b'0'..=b'9' => return self.number().map(|number| Some(Token::Number(number))),
            b't' => return self.word(b"true", Token::Bool(true)),
            b'f' => return self.word(b"false", Token::Bool(false)),
            b'n' => return self.word(b"null", Token::Null),
            _ => return Err(self.error(JsonErrorKind::Unexpected)),
        };
        self.at += 1;
        Ok(Some(token))
    }

    /// Whether a number or word may end before `at`.
    fn ends_at(&self, at: usize) -> bool {
        matches!(
            self.text.get(at),
            None | Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b']' | b'}' | b'[' | b'{' | b'"')
        )
    }

    fn word(&mut self, word: &[u8], token: Token<'a>) -> Result<Option<Token<'a>>, JsonError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if rest.starts_with(word) && self.ends_at(self.at + word.len()) {
            self.at += word.len();
            return Ok(Some(token));
        }
        let cut = word.starts_with(rest);
        Err(self.error(if cut {
            JsonErrorKind::End
        } else {
            JsonErrorKind::Unexpected
        }))
    }

    /// The string whose opening quote is next.
    #[inline]
    pub(super) fn string(&mut self) -> Result<RawString<'a>, JsonError> {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            let rest = self.text.get(at..).unwrap_or_default();
            let Some(hit) = quote_or_backslash(rest) else {
                self.at = self.text.len();
                return Err(self.error(JsonErrorKind::End));
            };
            at += hit;
            if rest[hit] == b'"' {
                self.at = at + 1;
                let raw = &self.text[start..at];
                return Ok(RawString { raw, escaped });
            }
            escaped = true;
            at += self.escape_len(at)?;
        }
    }

    /// Checks the escape at `at`: how many bytes it takes.
    fn escape_len(&mut self, at: usize) -> Result<usize, JsonError> {
        let fail = |kind| Err(JsonError { offset: at, kind });
        match self.text.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
            Some(b'u') => match self.text.get(at + 2..at + 6) {
                Some(hex) if hex.iter().all(u8::is_ascii_hexdigit) => Ok(6),
                Some(_) => fail(JsonErrorKind::Escape),
                None => fail(JsonErrorKind::End),
            },
            Some(_) => fail(JsonErrorKind::Escape),
            None => fail(JsonErrorKind::End),
        }
    }

    fn number(&mut self) -> Result<Number, JsonError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let digits = |at: usize| rest[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let negative = rest.first() == Some(&b'-');
        let start = usize::from(negative);
        let whole = digits(start);
        let mut len = start + whole;
        let mut is_float = false;
        let mut good = whole == 1 || (whole > 1 && rest[start] != b'0');
        if rest.get(len) == Some(&b'.') {
            let count = digits(len + 1);
            good &= count > 0;
            len += 1 + count;
            is_float = true;
        }
        if let Some(b'e' | b'E') = rest.get(len) {
            let sign = usize::from(matches!(rest.get(len + 1), Some(b'+' | b'-')));
            let count = digits(len + 1 + sign);
            good &= count > 0;
            len += 1 + sign + count;
            is_float = true;
        }
        if !good || !self.ends_at(self.at + len) {
            return Err(self.error(JsonErrorKind::Number));
        }
        let number = if is_float {
            None
        } else {
            integer(negative, &rest[start..len])
        };
        let number = match number {
            Some(number) => number,
            None => Number::Float(float(&rest[..len]).ok_or(self.error(JsonErrorKind::Range))?),
        };
        self.at += len;
        Ok(number)
    }
}

/// Where the next `"` or `\` is. Keys are short, so two words are looked at before the vector search starts
/// up.
#[inline]
fn quote_or_backslash(text: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The first hit is exact: a borrow reaches only the bytes above it.
    let zero = |x: u64| x.wrapping_sub(ONES) & !x & (ONES << 7);
    for at in [0, 8] {
        let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk()) else {
            break;
        };
        let word = u64::from_le_bytes(*word);
        let hits = zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c));
        if hits != 0 {
            return Some(at + hits.trailing_zeros() as usize / 8);
        }
    }
    memchr2(b'"', b'\\', text)
}

/// A whole number that fits 64 bits; `-0` is 0.
fn integer(negative: bool, digits: &[u8]) -> Option<Number> {
    let n = digits.iter().try_fold(0u64, |n, &digit| {
        n.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })?;
    if negative {
        0i64.checked_sub_unsigned(n).map(Number::Int)
    } else {
        Some(i64::try_from(n).map_or(Number::UInt(n), Number::Int))
    }
}

/// The nearest double; `None` beyond its range.
fn float(text: &[u8]) -> Option<f64> {
    let n: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    n.is_finite().then_some(n)
}

impl RawString<'_> {
    /// Appends the string's bytes, escapes resolved.
    #[inline]
    pub fn unescape_into(&self, out: &mut Vec<u8>) {
        if self.escaped {
            unescape(self.raw, out);
        } else {
            out.extend_from_slice(self.raw);
        }
    }
}

fn unescape(mut rest: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let escape = rest.get(at + 1).copied().unwrap_or_default();
        let mut used = 2;
        match escape {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'u' => {
                let (char, len) = code_point(&rest[at..]);
                let mut utf8 = [0; 4];
                out.extend_from_slice(char.encode_utf8(&mut utf8).as_bytes());
                used = len;
            }
            other => out.push(other),
        }
        rest = rest.get(at + used..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// The character of the `\u` escape (or two of a surrogate pair) at the start of `text`, and the bytes it
/// takes.
fn code_point(text: &[u8]) -> (char, usize) {
    let unit = |at: usize| {
        let hex = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
    };
    let first = unit(0).unwrap_or(0xfffd);
    match (first, unit(6)) {
        (0xd800..=0xdbff, Some(second @ 0xdc00..=0xdfff)) => {
            let char = char::decode_utf16([first, second]).next();
            (
                char.and_then(Result::ok).unwrap_or(char::REPLACEMENT_CHARACTER),
                12,
            )
        }
        _ => (
            char::from_u32(u32::from(first)).unwrap_or(char::REPLACEMENT_CHARACTER),
            6,
        ),
    }
}
