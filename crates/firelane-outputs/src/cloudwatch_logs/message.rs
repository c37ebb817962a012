//! The message of an event, as the service counts it, and where a long one may be cut.
//!
//! Without `log_key` it is the record as JSON, without a date: as Fluent Bit prints it, or for `cloudwatch`
//! as Go does. With `log_key` it is the value of that key: a string as it is, anything else as JSON. Bytes
//! that are not UTF-8 become what they become in JSON, since the service takes only UTF-8.

use firelane_record::accessor::Accessor;
use firelane_record::json::JsonOptions;
use firelane_record::msgpack;

use crate::go_json;

/// Whose plugin is meant: the name that the user wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `cloudwatch_logs`
    FluentBit,
    /// `cloudwatch`
    Go,
}

/// How messages are made.
#[derive(Debug)]
pub(super) struct Messages {
    pub(super) dialect: Dialect,
    pub(super) json: JsonOptions,
    pub(super) log_key: Option<Accessor>,
}

/// What a record gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// UTF-8.
    Text(&'a [u8]),
    /// Nothing that could be sent: the service takes no empty message.
    Blank,
    /// It does not have the key.
    NoKey,
}

impl Messages {
    /// The message of an event; `scratch` holds it where it is made.
    pub(super) fn of<'t>(&self, body: &'t [u8], scratch: &'t mut Vec<u8>) -> Message<'t> {
        scratch.clear();
        let text = match &self.log_key {
            None => {
                self.value(body, scratch);
                &scratch[..]
            }
            Some(key) => {
                let Some(raw) = key.lookup(body) else {
                    return Message::NoKey;
                };
                match msgpack::text(raw) {
                    Some(text) if std::str::from_utf8(text).is_ok() => text,
                    Some(text) => {
                        self.mend(text, scratch);
                        &scratch[..]
                    }
                    None => {
                        self.value(raw, scratch);
                        &scratch[..]
                    }
                }
            }
        };
        let text = match (self.dialect, self.log_key.is_some()) {
            (Dialect::Go, true) => text.strip_suffix(b"\n").unwrap_or(text),
            _ => text,
        };
        match text {
            b"" | b"{}" => Message::Blank,
            _ => Message::Text(text),
        }
    }

    /// Appends a raw value as JSON.
    pub(super) fn value(&self, raw: &[u8], out: &mut Vec<u8>) {
        match self.dialect {
            Dialect::FluentBit => self.json.encode_value(raw, out),
            Dialect::Go => go_json::write(raw, out),
        }
    }

    /// Appends the inside of a JSON string.
    #[inline]
    pub(super) fn escape(&self, text: &[u8], out: &mut Vec<u8>) {
        match self.dialect {
            Dialect::FluentBit => self.json.escape(text, out),
            Dialect::Go => go_json::escape(text, out),
        }
    }

    /// Text with bytes that are not UTF-8, by the rule of the dialect's JSON.
    fn mend(&self, text: &[u8], out: &mut Vec<u8>) {
        for chunk in text.utf8_chunks() {
            out.extend_from_slice(chunk.valid().as_bytes());
            match self.dialect {
                Dialect::FluentBit => self.json.escape(chunk.invalid(), out),
                Dialect::Go => chunk
                    .invalid()
                    .iter()
                    .for_each(|_| out.extend_from_slice("\u{fffd}".as_bytes())),
            }
        }
    }
}

/// Where to cut `text` so that at most `max` bytes stand before the cut: never inside of a character, of a
/// JSON escape, or between the two escapes of one character. `text` is longer than `max`, which is at least
/// 32.
pub(super) fn cut(text: &[u8], max: usize) -> usize {
    let mut at = max;
    while text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80) {
        at -= 1;
    }
    // An escape has at most six bytes, so one that reaches over the cut begins in the last five.
    let escape = (at.saturating_sub(5)..at).find(|&start| {
        starts_escape(text, start) && at - start < if text.get(start + 1) == Some(&b'u') { 6 } else { 2 }
    });
    let at = escape.unwrap_or(at);
    let is_high = |unit: &[u8]| {
        matches!(
            unit,
            [
                b'\\',
                b'u',
                b'd' | b'D',
                b'8' | b'9' | b'a' | b'A' | b'b' | b'B',
                ..
            ]
        )
    };
    let before = at.checked_sub(6).filter(|&start| starts_escape(text, start));
    match before {
        Some(start) if is_high(&text[start..]) && text[at..].starts_with(b"\\u") => start,
        _ => at,
    }
}

/// Whether the byte at `start` is a backslash that begins an escape, not one that ends `\\`.
fn starts_escape(text: &[u8], start: usize) -> bool {
    text.get(start) == Some(&b'\\')
        && text[..start]
            .iter()
            .rev()
            .take_while(|&&byte| byte == b'\\')
            .count()
            % 2
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn messages(dialect: Dialect, log_key: Option<&str>) -> Messages {
        Messages {
            dialect,
            json: JsonOptions::new(true),
            log_key: log_key.map(Accessor::key),
        }
    }

    fn body(json: &str) -> Vec<u8> {
        let mut raw = Vec::new();
        firelane_record::json::to_msgpack(json.as_bytes(), &mut raw).unwrap();
        raw
    }

    #[track_caller]
    fn check(dialect: Dialect, log_key: Option<&str>, raw: &[u8], want: &str) {
        let mut scratch = Vec::new();
        match messages(dialect, log_key).of(raw, &mut scratch) {
            Message::Text(text) => assert_eq!(std::str::from_utf8(text).unwrap(), want),
            Message::Blank => assert_eq!("BLANK", want),
            Message::NoKey => assert_eq!("NO KEY", want),
        }
    }

    #[test]
    fn the_name_decides_how_a_record_prints() {
        let raw = body(r#"{"log":"<é>","a":1.0}"#);
        check(Dialect::FluentBit, None, &raw, r#"{"log":"<\u00e9>","a":1.0}"#);
        check(Dialect::Go, None, &raw, r#"{"a":1,"log":"\u003cé\u003e"}"#);
    }

    #[test]
    fn a_key_gives_its_text() {
        let raw =
            body(r#"{"lo":"no","log":"say \"é\"\n","n":12345,"m":{"b":1,"a":2},"e":"","o":{},"nl":"\n"}"#);
        check(Dialect::FluentBit, Some("log"), &raw, "say \"é\"\n");
        check(Dialect::Go, Some("log"), &raw, "say \"é\"");
        check(Dialect::FluentBit, Some("n"), &raw, "12345");
        check(Dialect::FluentBit, Some("m"), &raw, r#"{"b":1,"a":2}"#);
        check(Dialect::Go, Some("m"), &raw, r#"{"a":2,"b":1}"#);
        check(Dialect::FluentBit, Some("l"), &raw, "NO KEY");
        for dialect in [Dialect::FluentBit, Dialect::Go] {
            check(dialect, Some("e"), &raw, "BLANK");
            check(dialect, Some("o"), &raw, "BLANK");
            check(dialect, None, &body("{}"), "BLANK");
        }
        check(Dialect::FluentBit, Some("nl"), &raw, "\n");
        check(Dialect::Go, Some("nl"), &raw, "BLANK");
    }

    #[test]
    fn what_is_not_utf8_becomes_so() {
        let raw = b"\x81\xa3log\xa4a\xffb\xc3";
        check(Dialect::FluentBit, Some("log"), raw, "a\u{e0ff}b\u{e0c3}");
        check(Dialect::Go, Some("log"), raw, "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn cuts_keep_characters_and_escapes_whole() {
        let text = |tail: &str| ["x".repeat(32 - 2), tail.to_owned(), "y".repeat(40)].concat();
        for (tail, want) in [
            ("ab", 32),
            ("aé", 31),
            ("\u{1f600}", 30),
            ("a\\n", 31),
            ("\\nb", 32),
            ("\\u00e9", 30),
            ("\\\\n", 32),
            ("a\\\\", 31),
        ] {
            assert_eq!(cut(text(tail).as_bytes(), 32), want, "{tail}");
        }
        let pair = ["x".repeat(26), "\\ud83d\\ude00".to_owned(), "y".repeat(9)].concat();
        for max in 32..38 {
            assert_eq!(cut(pair.as_bytes(), max), 26, "{max}");
        }
        assert_eq!(cut(pair.as_bytes(), 38), 38);
    }

    proptest! {
        /// Guarantees: JSON text is cut only where all before the cut has whole characters and escapes.
        #[test]
        fn no_escape_is_split(text in "([\\\\a\"é\u{1f600}\u{1}]|\\\\u[0-9]){20,60}", max in 32usize..50) {
            let mut json = Vec::new();
            JsonOptions::new(true).escape(text.as_bytes(), &mut json);
            if json.len() > max {
                let at = cut(&json, max);
                prop_assert!(at <= max && at + 12 > max, "{} of {}", at, max);
                for half in [&json[..at], &json[at..]] {
                    let quoted = [b"\"", half, b"\""].concat();
                    prop_assert!(serde_json::from_slice::<String>(&quoted).is_ok());
                }
            }
        }
    }
}
