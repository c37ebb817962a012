//! JSON text to MessagePack, in one pass.
//!
//! A number with a point or an exponent is a float, `-0` is 0, whole numbers beyond 64 bits are floats;
//! repeated keys are kept. Any fault makes the whole value invalid and nothing is written.

use super::lex::{JsonError, JsonErrorKind, Lexer, Number, RawString, Token};
use crate::{MapWriter, msgpack};

/// Deepest nesting that is taken: what the walk takes, less what an event and a request put around a body.
pub const DEPTH_MAX: usize = msgpack::DEPTH_MAX - 4;

/// Appends the value at the start of `text` (blanks before it are skipped) as MessagePack to `out`. Gives the
/// offset just behind the value; what follows it is not looked at. On an error `out` is as it was.
#[inline]
pub fn to_msgpack(text: &[u8], out: &mut Vec<u8>) -> Result<usize, JsonError> {
    let before = out.len();
    let mut lexer = Lexer::new(text);
    match value(&mut lexer, out, 0) {
        Ok(()) => Ok(lexer.at()),
        Err(error) => {
            out.truncate(before);
            Err(error)
        }
    }
}

/// Appends the pairs of the object at the start of `text` to `map`; anything but an object is an error.
/// Otherwise as [`to_msgpack`].
pub fn object_to_map(text: &[u8], map: &mut MapWriter) -> Result<usize, JsonError> {
    let mark = map.mark();
    let mut lexer = Lexer::new(text);
    let done = match lexer.peek() {
        Some(b'{') => {
            lexer.bump();
            map.write_pairs(|out| pairs(&mut lexer, out, 0))
        }
        Some(_) => Err(lexer.error(JsonErrorKind::Unexpected)),
        None => Err(lexer.error(JsonErrorKind::End)),
    };
    match done {
        Ok(()) => Ok(lexer.at()),
        Err(error) => {
            map.rewind(mark);
            Err(error)
        }
    }
}

fn value(lexer: &mut Lexer<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), JsonError> {
    // Strings and containers by their first byte; the rest by their token.
    match lexer.peek() {
        Some(b'"') => {
            write_string(&lexer.string()?, out);
            return Ok(());
        }
        Some(b'{' | b'[') if depth >= DEPTH_MAX => return Err(lexer.error(JsonErrorKind::TooDeep)),
        Some(b'{') => {
            lexer.bump();
            return object(lexer, out, depth);
        }
        Some(b'[') => {
            lexer.bump();
            return array(lexer, out, depth);
        }
        _ => {}
    }
    let offset = lexer.at();
    match lexer.token()? {
        Some(Token::Number(Number::Int(n))) => msgpack::write_int(out, n),
        Some(Token::Number(Number::UInt(n))) => msgpack::write_uint(out, n),
        Some(Token::Number(Number::Float(n))) => msgpack::write_f64(out, n),
        Some(Token::Bool(value)) => msgpack::write_bool(out, value),
        Some(Token::Null) => msgpack::write_nil(out),
        Some(_) => {
            let kind = JsonErrorKind::Unexpected;
            return Err(JsonError { offset, kind });
        }
        None => return Err(lexer.error(JsonErrorKind::End)),
    }
    Ok(())
}

#[inline]
fn write_string(string: &RawString<'_>, out: &mut Vec<u8>) {
    if !string.escaped {
        return msgpack::write_str(out, string.raw);
    }
    // The length is known when it is written; the head is mostly as long as that of the raw text.
    let head_at = out.len();
    let (head, guess) = str_head(string.raw.len());
    out.extend_from_slice(&head[..guess]);
    let start = out.len();
    string.unescape_into(out);
    let (head, width) = str_head(out.len() - start);
    if width == guess {
        out[head_at..start].copy_from_slice(&head[..width]);
    } else {
        out.splice(head_at..start, head[..width].iter().copied());
    }
}

/// The head of a string, and its length.
fn str_head(len: usize) -> ([u8; 5], usize) {
    let [a, b, c, d] = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    match len {
        0..=31 => ([0xa0 | d, 0, 0, 0, 0], 1),
        32..=0xff => ([0xd9, d, 0, 0, 0], 2),
        0x100..=0xffff => ([0xda, c, d, 0, 0], 3),
        _ => ([0xdb, a, b, c, d], 5),
    }
}

fn object(lexer: &mut Lexer<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), JsonError> {
    let head_at = out.len();
    out.push(0x80);
    let count = pairs(lexer, out, depth)?;
    patch_head(out, head_at, count, msgpack::write_map_head);
    Ok(())
}

/// The pairs behind a `{`, and the `}`; how many.
fn pairs(lexer: &mut Lexer<'_>, out: &mut Vec<u8>, depth: usize) -> Result<u32, JsonError> {
    let mut count = 0u32;
    if lexer.peek() == Some(b'}') {
        lexer.bump();
        return Ok(count);
    }
    loop {
        require(lexer, b'"')?;
        write_string(&lexer.string()?, out);
        require(lexer, b':')?;
        lexer.bump();
        value(lexer, out, depth + 1)?;
        count += 1;
        if !more(lexer, b'}')? {
            return Ok(count);
        }
    }
}

/// Checks that `byte` is next.
#[inline]
fn require(lexer: &mut Lexer<'_>, byte: u8) -> Result<(), JsonError> {
    match lexer.peek() {
        Some(next) if next == byte => Ok(()),
        Some(_) => Err(lexer.error(JsonErrorKind::Unexpected)),
        None => Err(lexer.error(JsonErrorKind::End)),
    }
}

fn array(lexer: &mut Lexer<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), JsonError> {
    let head_at = out.len();
    out.push(0x90);
    let mut count = 0u32;
    if lexer.peek() == Some(b']') {
        lexer.bump();
        return Ok(());
    }
    loop {
        value(lexer, out, depth + 1)?;
        count += 1;
        if more(lexer, b']')? {
            continue;
        }
        patch_head(out, head_at, count, msgpack::write_array_head);
        return Ok(());
    }
}

/// Takes a comma (true) or the closing bracket (false).
#[inline]
fn more(lexer: &mut Lexer<'_>, close: u8) -> Result<bool, JsonError> {
    match lexer.peek() {
        Some(byte) if byte == b',' || byte == close => {
            lexer.bump();
            Ok(byte == b',')
        }
        Some(_) => Err(lexer.error(JsonErrorKind::Unexpected)),
        None => Err(lexer.error(JsonErrorKind::End)),
    }
}

/// Puts the right head in place of the one byte at `head_at`.
fn patch_head(out: &mut Vec<u8>, head_at: usize, count: u32, write: impl Fn(&mut Vec<u8>, u32)) {
    if count <= 15 {
        out[head_at] |= count as u8;
        return;
    }
    let mut head = Vec::with_capacity(5);
    write(&mut head, count);
    out.splice(head_at..=head_at, head);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::json::JsonOptions;

    /// Through MessagePack and back.
    fn again(text: &[u8]) -> Result<String, JsonError> {
        let mut raw = Vec::new();
        let used = to_msgpack(text, &mut raw)?;
        assert_eq!(msgpack::skip(&raw, 0), Ok(raw.len()), "a whole value");
        let mut out = Vec::new();
        JsonOptions::new(false).encode_value(&raw, &mut out);
        assert!(used <= text.len());
        Ok(String::from_utf8(out).unwrap())
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(again(text.as_bytes()).as_deref(), Ok(want), "{text}");
    }

    #[track_caller]
    fn check_bad(text: &str, offset: usize, kind: JsonErrorKind) {
        assert_eq!(again(text.as_bytes()), Err(JsonError { offset, kind }), "{text}");
    }

    #[test]
    fn numbers() {
        check("-0", "0");
        check("-0.0", "-0.0");
        check("1e3", "1000.0");
        check("9223372036854775807", "9223372036854775807");
        check("-9223372036854775808", "-9223372036854775808");
        check("18446744073709551615", "18446744073709551615");
        check("18446744073709551616", "1.844674407370955e+19");
        check("-9223372036854775809", "-9223372036854775808.0");
        check("1e-400", "0.0");
        check_bad("1e400", 0, JsonErrorKind::Range);
        for text in [
            "01", "1.", ".5", "-", "1e", "+1", "1a", "0x1", "1.2.3", "--1", "1e+",
        ] {
            assert!(again(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn strings() {
        check(r#""a\"\\\/\b\f\n\r\t""#, r#""a\"\\/\b\f\n\r\t""#);
        check(r#""\u00e9\u20AC\ud83d\ude00""#, "\"é€😀\"");
        check(r#""\ud83dx\ude00""#, "\"\u{fffd}x\u{fffd}\"");
        check("\"raw\ttab\"", r#""raw\ttab""#);
        let long = "x".repeat(300);
        check(&format!("\"{long}\\n\""), &format!("\"{long}\\n\""));
        // 32 bytes as text, 31 resolved: the head is shorter than guessed.
        let text = format!("\"{}\\n\"", "y".repeat(30));
        check(&text, &text);
        check_bad(r#""a\x""#, 2, JsonErrorKind::Escape);
        check_bad(r#""\u12g4""#, 1, JsonErrorKind::Escape);
        check_bad(r#""abc"#, 4, JsonErrorKind::End);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_kept() {
        let mut raw = Vec::new();
        to_msgpack(b"\"a\xff\"", &mut raw).unwrap();
        assert_eq!(raw, [0xa2, b'a', 0xff]);
    }

    #[test]
    fn containers() {
        check(
            r#" { "a" : [ 1 , { } , [ ] , null ] } "#,
            r#"{"a":[1,{},[],null]}"#,
        );
        let many = format!(
            "[{}]",
            (0..70_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
        );
        check(&many, &many);
        check_bad("[1,]", 3, JsonErrorKind::Unexpected);
        check_bad(r#"{"a" 1}"#, 5, JsonErrorKind::Unexpected);
        check_bad("{1:2}", 1, JsonErrorKind::Unexpected);
        check_bad(r#"{"a":1"#, 6, JsonErrorKind::End);
        check_bad("tru", 0, JsonErrorKind::End);
        check_bad("not json", 0, JsonErrorKind::Unexpected);
        check_bad("", 0, JsonErrorKind::End);
    }

    #[test]
    fn depth_is_limited() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        check(&nested(DEPTH_MAX), &nested(DEPTH_MAX));
        check_bad(&nested(DEPTH_MAX + 1), DEPTH_MAX, JsonErrorKind::TooDeep);
        assert!(again("[".repeat(1 << 20).as_bytes()).is_err());
    }

    #[test]
    fn what_follows_is_left() {
        let mut raw = Vec::new();
        assert_eq!(to_msgpack(br#" {"a":1}{"b":2}"#, &mut raw), Ok(8));
        assert_eq!(raw, [0x81, 0xa1, b'a', 1]);
    }

    #[test]
    fn an_object_becomes_pairs() {
        let mut map = MapWriter::new();
        map.str(b"k", b"v");
        assert_eq!(object_to_map(br#" {"a":1,"b":{"c":2}} rest"#, &mut map), Ok(20));
        assert_eq!(map.count(), 3);
        for text in ["[1]", "7", "", "{\"x\":}", "{\"x\":1"] {
            assert!(object_to_map(text.as_bytes(), &mut map).is_err(), "{text}");
        }
        let mut raw = Vec::new();
        map.write(&mut raw);
        let mut out = Vec::new();
        JsonOptions::default().encode_value(&raw, &mut out);
        assert_eq!(out, br#"{"k":"v","a":1,"b":{"c":2}}"#);
    }

    #[test]
    fn an_error_leaves_the_output() {
        let mut raw = vec![1, 2];
        assert!(to_msgpack(b"[1,2,", &mut raw).is_err());
        assert_eq!(raw, [1, 2]);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[ -~\\\\\"]{0,50}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..20).prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_come_back(value in json(), pretty in any::<bool>()) {
            let text = if pretty {
                serde_json::to_vec_pretty(&value).unwrap()
            } else {
                serde_json::to_vec(&value).unwrap()
            };
            let back: Value = serde_json::from_str(&again(&text).unwrap()).unwrap();
            prop_assert_eq!(back, value);
        }

        /// Takes what serde_json takes; beyond that only control characters and invalid UTF-8 in strings.
        #[test]
        fn agrees_with_serde(text in "[\\[\\]{},:\"0-9eE.+\\- a\\\\untrf]{0,14}") {
            let ours = again(text.as_bytes()).is_ok();
            let mut theirs = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
            let theirs = matches!(theirs.next(), Some(Ok(_)));
            if ours {
                prop_assert!(theirs || text.contains("\\u"), "{}", text);
            }
            if serde_json::from_str::<Value>(&text).is_ok() {
                prop_assert!(ours, "{}", text);
            }
        }
    }
}
