//! A record as Go's encoder prints it, which is what the `cloudwatch` plugin sent: keys sorted, `<`, `>` and
//! `&` escaped, whole doubles without a fraction, no spaces. Text that is not UTF-8 becomes U+FFFD.
//!
//! Of repeated keys the last one is written. Where Go gives up a record (`NaN`, `Inf`) we write `null`.

use std::borrow::Cow;

use firelane_record::json::JsonOptions;
use firelane_record::msgpack::{Reader, Token};

/// Deeper containers print as `null`. Checked records are never as deep; this guards the stack.
const DEPTH_GUARD: usize = 64;

/// A key as text, and the raw value.
type Pair<'a> = (Cow<'a, [u8]>, &'a [u8]);

/// Appends a raw value.
pub(crate) fn write(raw: &[u8], out: &mut Vec<u8>) {
    let mut writer = Writer {
        out,
        pairs: Vec::new(),
    };
    writer.value(&mut Reader::new(raw), 0);
}

struct Writer<'a, 'o> {
    out: &'o mut Vec<u8>,
    /// The pairs of all maps that are open, the innermost last.
    pairs: Vec<Pair<'a>>,
}

impl<'a> Writer<'a, '_> {
    fn value(&mut self, reader: &mut Reader<'a>, depth: usize) {
        let mut at = *reader;
        let Some(token) = reader.token() else {
            return self.out.extend_from_slice(b"null");
        };
        match token {
            Token::Str(text) | Token::Bin(text) => {
                self.out.push(b'"');
                escape(text, self.out);
                self.out.push(b'"');
            }
            Token::F64(n) => float(n, &n, &n, self.out),
            Token::F32(n) => float(f64::from(n), &n, &n, self.out),
            Token::Array(_) | Token::Map(_) if depth >= DEPTH_GUARD => {
                at.value();
                *reader = at;
                self.out.extend_from_slice(b"null");
            }
            Token::Array(count) => {
                self.out.push(b'[');
                for index in 0..count {
                    if reader.is_done() {
                        break;
                    }
                    if index > 0 {
                        self.out.push(b',');
                    }
                    self.value(reader, depth + 1);
                }
                self.out.push(b']');
            }
            Token::Map(count) => self.map(reader, count, depth),
            Token::Nil | Token::Bool(_) | Token::Int(_) | Token::UInt(_) | Token::Ext(..) => {
                JsonOptions::new(false).encode_value(at.value().unwrap_or_default(), self.out);
            }
        }
    }

    fn map(&mut self, reader: &mut Reader<'a>, count: u32, depth: usize) {
        let base = self.pairs.len();
        for _ in 0..count {
            let (Some(key), Some(value)) = (reader.value(), reader.value()) else {
                break;
            };
            self.pairs.push((key_text(key), value));
        }
        // Stable: of equal keys the last one stays the last one.
        self.pairs[base..].sort_by(|a, b| a.0.cmp(&b.0));
        self.out.push(b'{');
        let mut is_first = true;
        for index in base..self.pairs.len() {
            let next = self.pairs.get(index + 1);
            let (key, value) = &self.pairs[index];
            if next.is_some_and(|next| next.0 == *key) {
                continue;
            }
            self.out.extend_from_slice(if is_first { b"\"" } else { b",\"" });
            is_first = false;
            escape(key, self.out);
            self.out.extend_from_slice(b"\":");
            let mut reader = Reader::new(value);
            self.value(&mut reader, depth + 1);
        }
        self.out.push(b'}');
        self.pairs.truncate(base);
    }
}

/// A key: text as it is, anything else as it prints.
fn key_text(raw: &[u8]) -> Cow<'_, [u8]> {
    match Reader::new(raw).token() {
        Some(Token::Str(text) | Token::Bin(text)) => Cow::Borrowed(text),
        _ => {
            let mut text = Vec::new();
            JsonOptions::new(false).encode_value(raw, &mut text);
            Cow::Owned(text)
        }
    }
}

/// A number by Go's rule: shortest digits that give it back, with an exponent only below 1e-6 and from 1e21
/// on. `plain` and `exponent` print the number in its own width.
fn float(n: f64, plain: &dyn std::fmt::Display, exponent: &dyn std::fmt::LowerExp, out: &mut Vec<u8>) {
    let size = n.abs();
    if !n.is_finite() {
        return out.extend_from_slice(b"null");
    }
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{exponent:e}");
        // Go writes the sign of a positive exponent, too.
        let signed = match text.split_once('e') {
            Some((digits, power)) if !power.starts_with('-') => format!("{digits}e+{power}"),
            _ => text,
        };
        return out.extend_from_slice(signed.as_bytes());
    }
    out.extend_from_slice(plain.to_string().as_bytes());
}

/// Whether a byte cannot be copied as it is. The signed comparison takes controls and non-ASCII in one.
#[inline]
fn special(byte: u8) -> bool {
    ((byte as i8) < 0x20)
        | (byte == b'"')
        | (byte == b'\\')
        | (byte == b'<')
        | (byte == b'>')
        | (byte == b'&')
}

/// How many bytes at the start can be copied as they are.
#[inline]
fn clean_len(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(block) = text.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        // Branch-free, so that the compiler makes vector compares of it.
        if block.iter().fold(0, |any, &byte| any | u8::from(special(byte))) != 0 {
            break;
        }
        at += 16;
    }
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().position(|&byte| special(byte)).unwrap_or(rest.len())
}

/// Appends the inside of a string.
#[inline]
pub(crate) fn escape(text: &[u8], out: &mut Vec<u8>) {
    let clean = clean_len(text);
    if clean == text.len() {
        out.extend_from_slice(text);
    } else {
        mixed(text, clean, out);
    }
}

fn mixed(text: &[u8], mut clean: usize, out: &mut Vec<u8>) {
    let mut rest = text;
    loop {
        let (run, behind) = rest.split_at(clean);
        out.extend_from_slice(run);
        let Some(&byte) = behind.first() else { return };
        let used = if byte < 0x80 {
            ascii(byte, out);
            1
        } else {
            let end = behind.iter().position(u8::is_ascii).unwrap_or(behind.len());
            beyond_ascii(&behind[..end], out);
            end
        };
        rest = &behind[used..];
        clean = clean_len(rest);
    }
}

fn ascii(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let hex = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 0xf)];
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte)]);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// A run of bytes from 0x80 on. The two line separators are escaped: JavaScript takes them for line ends.
fn beyond_ascii(run: &[u8], out: &mut Vec<u8>) {
    for chunk in run.utf8_chunks() {
        let valid = chunk.valid();
        let mut from = 0;
        for (at, c) in valid.match_indices(['\u{2028}', '\u{2029}']) {
            out.extend_from_slice(&valid.as_bytes()[from..at]);
            out.extend_from_slice(if c == "\u{2028}" { b"\\u2028" } else { b"\\u2029" });
            from = at + c.len();
        }
        out.extend_from_slice(&valid.as_bytes()[from..]);
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firelane_record::msgpack;
    use proptest::prelude::*;

    fn print(raw: &[u8]) -> String {
        let mut out = Vec::new();
        write(raw, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[track_caller]
    fn check(json: &str, want: &str) {
        let mut raw = Vec::new();
        firelane_record::json::to_msgpack(json.as_bytes(), &mut raw).unwrap();
        assert_eq!(print(&raw), want);
    }

    #[test]
    fn keys_are_sorted_on_every_level_and_the_last_of_equal_ones_wins() {
        check(
            r#"{"b":1,"a":{"z":[{"y":1,"x":2},3],"c":null},"B":true}"#,
            r#"{"B":true,"a":{"c":null,"z":[{"x":2,"y":1},3]},"b":1}"#,
        );
        check(r#"{"k":1,"a":2,"k":{"k":3}}"#, r#"{"a":2,"k":{"k":3}}"#);
        check("{}", "{}");
        check("[]", "[]");
    }

    #[test]
    fn strings_are_safe_in_html() {
        check(
            r#""<a href=\"x\">&\u2028\u2029é\u007f""#,
            "\"\\u003ca href=\\\"x\\\"\\u003e\\u0026\\u2028\\u2029é\u{7f}\"",
        );
        check(r#""\n\r\t\b\u0001\\/""#, r#""\n\r\t\u0008\u0001\\/""#);
        assert_eq!(print(b"\xa3a\xffb"), r#""a\ufffdb""#);
        assert_eq!(print(b"\xa2\xe2\x82"), r#""\ufffd\ufffd""#);
    }

    #[test]
    fn numbers_have_the_shortest_form() {
        check(
            "[3.0,0.1,-0.5,1e20,1e21,1.5e-7,0.000001]",
            "[3,0.1,-0.5,100000000000000000000,1e+21,1.5e-7,0.000001]",
        );
        check(
            "[18446744073709551615,-9223372036854775808]",
            "[18446744073709551615,-9223372036854775808]",
        );
        let mut raw = vec![0xca];
        raw.extend_from_slice(&0.1f32.to_be_bytes());
        assert_eq!(print(&raw), "0.1");
        let mut raw = Vec::new();
        msgpack::write_f64(&mut raw, f64::NAN);
        assert_eq!(print(&raw), "null");
    }

    #[test]
    fn keys_that_are_no_text_are_quoted() {
        assert_eq!(print(&[0x82, 0x07, 0x01, 0xc0, 0x02]), r#"{"7":1,"null":2}"#);
    }

    proptest! {
        /// Guarantees: valid JSON of the same value, whatever the text.
        #[test]
        fn text_comes_back(key in any::<String>(), text in any::<String>()) {
            let mut map = firelane_record::MapWriter::new();
            map.str(key.as_bytes(), text.as_bytes());
            let mut raw = Vec::new();
            map.write(&mut raw);
            let back: serde_json::Value = serde_json::from_str(&print(&raw)).unwrap();
            prop_assert_eq!(&back[&key], &serde_json::Value::from(text));
        }
    }
}
