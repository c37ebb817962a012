//! The usual record straight into a request: its JSON is written as it stands inside of a JSON string, so
//! nothing is escaped twice that is clean.
//!
//! Usual is a map of at most 32 different keys that are short texts. What a text or another value needs
//! escaped goes through a buffer, for that value alone; for any other record the caller makes the message
//! first and escapes it then.

use firelane_record::json::JsonOptions;
use firelane_record::msgpack::{Reader, Token};

use super::message::{Dialect, Messages};

/// Most pairs of a map that is usual.
const PAIRS_MAX: u32 = 32;

#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Text(&'a [u8]),
    /// Any other value, raw.
    Other(&'a [u8]),
}

/// Buffers that are used for one record after the other.
#[derive(Debug, Default)]
pub(super) struct Direct<'a> {
    pairs: Vec<(&'a [u8], Value<'a>)>,
    scratch: Vec<u8>,
}

impl<'a> Direct<'a> {
    /// Appends the record as the inside of a JSON string; gives the length of the message, as it is when
    /// that string is read. `None` where the record is not usual; what was appended then means nothing.
    pub(super) fn write(&mut self, messages: &Messages, body: &'a [u8], out: &mut Vec<u8>) -> Option<usize> {
        self.read(body)?;
        if messages.dialect == Dialect::Go {
            self.pairs.sort_unstable_by_key(|pair| pair.0);
        }
        let mut len = 1;
        let mut before: &[u8] = b"{\\\"";
        for at in 0..self.pairs.len() {
            let (key, value) = self.pairs[at];
            out.extend_from_slice(before);
            len += 2 + self.text(messages, key, out);
            before = b",\\\"";
            len += 2 + match value {
                Value::Text(text) => {
                    out.extend_from_slice(b"\\\":\\\"");
                    let len = self.text(messages, text, out);
                    out.extend_from_slice(b"\\\"");
                    len + 2
                }
                Value::Other(raw) => {
                    out.extend_from_slice(b"\\\":");
                    self.scratch.clear();
                    messages.value(raw, &mut self.scratch);
                    JsonOptions::new(false).escape(&self.scratch, out);
                    self.scratch.len()
                }
            };
        }
        out.push(b'}');
        Some(len)
    }

    /// The pairs of a record, if it is usual.
    fn read(&mut self, body: &'a [u8]) -> Option<()> {
        self.pairs.clear();
        let mut reader = Reader::new(body);
        let Some(Token::Map(count @ 1..=PAIRS_MAX)) = reader.token() else {
            return None;
        };
        // A bit per hash of a key: two keys with one bit may be the same.
        let mut bits = 0u64;
        for _ in 0..count {
            let key = reader.short_str()?;
            let byte = |at: Option<&u8>| at.map_or(0, |&byte| u32::from(byte));
            let hash = byte(key.first()) + 7 * byte(key.last()) + 41 * key.len() as u32;
            let bit = 1 << (hash.wrapping_mul(0x9e37_79b9) >> 26);
            if bits & bit != 0 && self.pairs.iter().any(|pair| pair.0 == key) {
                return None;
            }
            bits |= bit;
            let value = match reader.short_str() {
                Some(text) => Value::Text(text),
                None => Value::Other(reader.value()?),
            };
            self.pairs.push((key, value));
        }
        Some(())
    }

    /// Appends a text; gives its length with one level of escapes. Escapes only make it longer: where it did
    /// not grow there are none.
    fn text(&mut self, messages: &Messages, text: &[u8], out: &mut Vec<u8>) -> usize {
        let from = out.len();
        messages.escape(text, out);
        let len = out.len() - from;
        if len != text.len() {
            self.scratch.clear();
            self.scratch.extend_from_slice(&out[from..]);
            out.truncate(from);
            JsonOptions::new(false).escape(&self.scratch, out);
        }
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firelane_record::{MapWriter, msgpack};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn messages(dialect: Dialect, unicode: bool) -> Messages {
        Messages {
            dialect,
            json: JsonOptions::new(unicode),
            log_key: None,
        }
    }

    fn direct(messages: &Messages, raw: &[u8]) -> Option<(usize, Vec<u8>)> {
        let mut out = Vec::new();
        let len = Direct::default().write(messages, raw, &mut out)?;
        Some((len, out))
    }

    #[test]
    fn unusual_records_are_left_to_the_caller() {
        let usual = messages(Dialect::FluentBit, true);
        assert_eq!(direct(&usual, &[0x80]), None, "a blank one");
        assert_eq!(direct(&usual, b"\x82\xa1a\x01\xa1a\x02"), None, "a repeated key");
        assert_eq!(direct(&usual, b"\x81\x07\x01"), None, "a key that is no text");
        let mut map = MapWriter::new();
        for n in 0..33u8 {
            map.raw(&[b'a' + n / 26, b'a' + n % 26], &[n]);
        }
        let mut raw = Vec::new();
        map.write(&mut raw);
        assert_eq!(direct(&usual, &raw), None, "many keys");
    }

    #[test]
    fn the_text_stands_inside_of_a_string() {
        let mut map = MapWriter::new();
        map.str(b"log", b"say \"x\"\n");
        map.raw(b"a\"", b"\x92\x01\xa1\"");
        let mut raw = Vec::new();
        map.write(&mut raw);
        let want = r#"{\"log\":\"say \\\"x\\\"\\n\",\"a\\\"\":[1,\"\\\"\"]}"#;
        let (len, out) = direct(&messages(Dialect::FluentBit, true), &raw).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), want);
        assert_eq!(len, r#"{"log":"say \"x\"\n","a\"":[1,"\""]}"#.len());
    }

    proptest! {
        /// Guarantees: what is read of it is the message, to the byte.
        #[test]
        fn it_is_the_message_escaped(
            pairs in vec(("[a-z\"é]{0,3}", prop_oneof![vec(any::<u8>(), 0..50), ".{0,9}".prop_map(String::into_bytes)], 0u8..4), 1..9),
            go in any::<bool>(),
            unicode in any::<bool>(),
        ) {
            let mut map = MapWriter::new();
            for (key, text, kind) in &pairs {
                let value = map.key(key.as_bytes());
                match kind {
                    0 => msgpack::write_uint(value, text.len() as u64),
                    1 => {
                        msgpack::write_array_head(value, 1);
                        msgpack::write_str(value, text);
                    }
                    _ => msgpack::write_str(value, text),
                }
            }
            let mut raw = Vec::new();
            map.write(&mut raw);
            let dialect = if go { Dialect::Go } else { Dialect::FluentBit };
            let messages = messages(dialect, unicode);
            let mut message = Vec::new();
            messages.value(&raw, &mut message);
            if let Some((len, out)) = direct(&messages, &raw) {
                prop_assert_eq!(len, message.len());
                let quoted = [&b"\""[..], &out, b"\""].concat();
                let read: String = serde_json::from_slice(&quoted).unwrap();
                prop_assert_eq!(read, String::from_utf8(message).unwrap());
            } else {
                let mut keys: Vec<_> = pairs.iter().map(|pair| &pair.0).collect();
                keys.sort();
                prop_assert!(keys.windows(2).any(|two| two[0] == two[1]));
            }
        }
    }
}
