//! JSON as Go's `encoding/json` prints maps: keys sorted, `<`, `>` and `&` escaped, whole doubles without a
//! point, UTF-8 as it is. Of repeated keys the last one counts. What Go cannot print (`NaN`) is `null`.

use std::io::Write as _;

use firelane_record::json::JsonOptions;
use firelane_record::msgpack::{self, Reader, Token};

/// Prints values; keeps its buffers.
#[derive(Default)]
pub(super) struct GoJson {
    /// Pairs of the open maps; each map sorts its own at the end.
    pairs: Vec<Pair>,
    /// Keys that are no strings, as they print.
    odd: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Pair {
    /// Where the key's text is, in the record, or in `odd`.
    key: (usize, usize),
    is_odd: bool,
    /// Where the raw value is.
    value: (usize, usize),
}

impl Pair {
    fn key<'r>(&self, raw: &'r [u8], odd: &'r [u8]) -> &'r [u8] {
        let place = if self.is_odd { odd } else { raw };
        place.get(self.key.0..self.key.1).unwrap_or_default()
    }
}

impl GoJson {
    /// Appends a raw value.
    pub(super) fn write(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        self.pairs.clear();
        self.odd.clear();
        self.value(raw, (0, raw.len()), out);
    }

    /// The value at `place` of `raw`. Records nest as deep as MessagePack is taken, which bounds the
    /// recursion.
    fn value(&mut self, raw: &[u8], place: (usize, usize), out: &mut Vec<u8>) {
        let value = raw.get(place.0..place.1).unwrap_or_default();
        let Some((token, head)) = msgpack::read(value) else {
            return out.extend_from_slice(b"null");
        };
        match token {
            Token::Str(text) | Token::Bin(text) => string(text, out),
            Token::F64(n) => double(n, out),
            Token::F32(n) => single(n, out),
            Token::Map(count) => self.map(raw, (place.0 + head, place.1), count, out),
            Token::Array(count) => self.array(raw, (place.0 + head, place.1), count, out),
            // Integers, booleans, nil and extensions have one form.
            _ => JsonOptions::new(false).encode_value(value, out),
        }
    }

    fn array(&mut self, raw: &[u8], inside: (usize, usize), count: u32, out: &mut Vec<u8>) {
        out.push(b'[');
        let mut reader = Reader::new(raw.get(inside.0..inside.1).unwrap_or_default());
        for index in 0..count {
            if index > 0 {
                out.push(b',');
            }
            let start = inside.0 + reader.at();
            reader.value();
            self.value(raw, (start, inside.0 + reader.at()), out);
        }
        out.push(b']');
    }

    fn map(&mut self, raw: &[u8], inside: (usize, usize), count: u32, out: &mut Vec<u8>) {
        let base = self.pairs.len();
        self.scan(raw, inside, count);
        let odd = &self.odd;
        // Equal keys in their order, so that the last one can be told.
        self.pairs[base..].sort_unstable_by(|a, b| {
            let keys = a.key(raw, odd).cmp(b.key(raw, odd));
            keys.then(a.value.0.cmp(&b.value.0))
        });
        out.push(b'{');
        let empty = out.len();
        let end = self.pairs.len();
        for at in base..end {
            let pair = self.pairs[at];
            let key = pair.key(raw, &self.odd);
            if at + 1 < end && self.pairs[at + 1].key(raw, &self.odd) == key {
                continue;
            }
            if out.len() > empty {
                out.push(b',');
            }
            string(key, out);
            out.push(b':');
            self.value(raw, pair.value, out);
        }
        self.pairs.truncate(base);
        out.push(b'}');
    }

    /// Notes the pairs that lie at `inside` of `raw`.
    fn scan(&mut self, raw: &[u8], inside: (usize, usize), count: u32) {
        let mut reader = Reader::new(raw.get(inside.0..inside.1).unwrap_or_default());
        for _ in 0..count {
            let Some(key) = reader.value() else { return };
            let key_end = inside.0 + reader.at();
            let (key, is_odd) = match msgpack::text(key) {
                Some(text) => ((key_end - text.len(), key_end), false),
                None => {
                    let from = self.odd.len();
                    JsonOptions::new(false).encode_value(key, &mut self.odd);
                    ((from, self.odd.len()), true)
                }
            };
            if reader.value().is_none() {
                return;
            }
            self.pairs.push(Pair {
                key,
                is_odd,
                value: (key_end, inside.0 + reader.at()),
            });
        }
    }
}

/// A double as Go prints it: shortest digits, an exponent below 1e-6 and from 1e21 on.
fn double(n: f64, out: &mut Vec<u8>) {
    // Writing to a Vec does not fail.
    let _ = match n.abs() {
        _ if !n.is_finite() => out.write_all(b"null"),
        size if size != 0.0 && !(1e-6..1e21).contains(&size) => exponent(format_args!("{n:e}"), out),
        _ => write!(out, "{n}"),
    };
}

/// [`double`] for 32 bits.
fn single(n: f32, out: &mut Vec<u8>) {
    let _ = match n.abs() {
        _ if !n.is_finite() => out.write_all(b"null"),
        size if size != 0.0 && !(1e-6..1e21).contains(&size) => exponent(format_args!("{n:e}"), out),
        _ => write!(out, "{n}"),
    };
}

/// `1e21` is `1e+21` in Go.
fn exponent(text: std::fmt::Arguments<'_>, out: &mut Vec<u8>) -> std::io::Result<()> {
    let from = out.len();
    write!(out, "{text}")?;
    let mark = out[from..].iter().position(|&byte| byte == b'e');
    if let Some(at) = mark.map(|at| from + at + 1)
        && out.get(at) != Some(&b'-')
    {
        out.insert(at, b'+');
    }
    Ok(())
}

/// Whether a byte cannot be copied as it is.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        special[byte] =
            byte < 0x20 || byte >= 0x80 || matches!(byte as u8, b'"' | b'\\' | b'<' | b'>' | b'&');
        byte += 1;
    }
    special
};

fn string(mut text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    while let Some(clean) = text.iter().position(|&byte| SPECIAL[usize::from(byte)]) {
        let (run, rest) = text.split_at(clean);
        out.extend_from_slice(run);
        let end = match rest.first() {
            Some(0x80..) => {
                let end = rest.iter().position(u8::is_ascii).unwrap_or(rest.len());
                beyond_ascii(&rest[..end], out);
                end
            }
            Some(&byte) => {
                ascii(byte, out);
                1
            }
            None => 0,
        };
        text = &rest[end..];
    }
    out.extend_from_slice(text);
    out.push(b'"');
}

fn ascii(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let hex = |n: u8| b"0123456789abcdef"[usize::from(n & 0xf)];
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte)]);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// The line separators of Unicode are escaped, what is no UTF-8 is U+FFFD.
fn beyond_ascii(run: &[u8], out: &mut Vec<u8>) {
    for chunk in run.utf8_chunks() {
        let mut valid = chunk.valid();
        while let Some(at) = valid.find(['\u{2028}', '\u{2029}']) {
            let (before, rest) = valid.split_at(at);
            out.extend_from_slice(before.as_bytes());
            let is_line = rest.starts_with('\u{2028}');
            out.extend_from_slice(if is_line { b"\\u2028" } else { b"\\u2029" });
            valid = &rest['\u{2028}'.len_utf8()..];
        }
        out.extend_from_slice(valid.as_bytes());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firelane_record::json::to_msgpack;

    #[track_caller]
    fn check_raw(raw: &[u8], want: &str) {
        let mut out = Vec::new();
        let mut go = GoJson::default();
        go.write(raw, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[track_caller]
    fn check(json: &str, want: &str) {
        let mut raw = Vec::new();
        to_msgpack(json.as_bytes(), &mut raw).unwrap();
        check_raw(&raw, want);
    }

    #[test]
    fn keys_are_sorted_in_every_map() {
        check(
            r#"{"b":1,"a":[{"z":1,"y":{"d":1,"c":2}},3],"B":null,"":true}"#,
            r#"{"":true,"B":null,"a":[{"y":{"c":2,"d":1},"z":1},3],"b":1}"#,
        );
        check(r#"{"m":{},"l":[]}"#, r#"{"l":[],"m":{}}"#);
    }

    #[test]
    fn of_equal_keys_the_last_counts() {
        check(
            r#"{"a":1,"b":2,"a":{"a":5,"a":6},"c":3}"#,
            r#"{"a":{"a":6},"b":2,"c":3}"#,
        );
    }

    #[test]
    fn strings_are_safe_for_html() {
        check(
            r#"{"s":"<a href=\"x\">&\n\t\r\b\u0001/\\é世😀"}"#,
            r#"{"s":"\u003ca href=\"x\"\u003e\u0026\n\t\r\u0008\u0001/\\é世😀"}"#,
        );
        check_raw(
            &[0xa7, b'a', 0xff, 0x7f, 0xe2, 0x80, 0xa8, 0xc3],
            "\"a\\ufffd\u{7f}\\u2028\\ufffd\"",
        );
    }

    #[test]
    fn numbers_are_as_short_as_can_be() {
        check(
            "[3.0,0.1,-0.0,1e20,1e21,1.5e300,1e-6,1e-7,-2.5e-9,18446744073709551615,-7]",
            "[3,0.1,-0,100000000000000000000,1e+21,1.5e+300,0.000001,1e-7,-2.5e-9,18446744073709551615,-7]",
        );
        check_raw(&[0xca, 0x3d, 0xcc, 0xcc, 0xcd], "0.1");
        check_raw(&[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], "null");
    }

    #[test]
    fn other_keys_are_quoted() {
        // {5: "a", nil: "b", "4": "c"}
        check_raw(
            &[0x83, 5, 0xa1, b'a', 0xc0, 0xa1, b'b', 0xa1, b'4', 0xa1, b'c'],
            r#"{"4":"c","5":"a","null":"b"}"#,
        );
    }
}
