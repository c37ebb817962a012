//! MessagePack to JSON bytes, without a tree of values.

use super::{DateFormat, escape, number};
use crate::Event;
use crate::msgpack::{Reader, Token};

/// Deeper containers print as `null`. Checked records are never as deep; this guards the stack.
const DEPTH_GUARD: usize = 64;

/// How records print as JSON; made once, used for every record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonOptions {
    escape_unicode: bool,
    bare_nan: bool,
    internal: bool,
    date: Option<Date>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Date {
    key: Box<[u8]>,
    /// The key as it prints, quotes and colon included.
    printed: Box<[u8]>,
    format: DateFormat,
}

impl Default for JsonOptions {
    fn default() -> Self {
        Self::new(true)
    }
}

impl JsonOptions {
    /// Without a date. `escape_unicode`: service option `json.escape_unicode`, on by default.
    pub fn new(escape_unicode: bool) -> Self {
        Self {
            escape_unicode,
            bare_nan: false,
            internal: true,
            date: None,
        }
    }

    /// Puts the event's time first, under `key`.
    #[must_use]
    pub fn with_date(mut self, key: &str, format: DateFormat) -> Self {
        let mut printed = Vec::new();
        self.encode_str(key.as_bytes(), &mut printed);
        printed.push(b':');
        self.date = Some(Date {
            key: key.as_bytes().into(),
            printed: printed.into(),
            format,
        });
        self
    }

    /// Whether doubles that are not finite print as `null` (they do unless switched off here), or as `nan`
    /// and `inf`, which no JSON reader takes. Service option `json.convert_nan_to_null`.
    #[must_use]
    pub fn with_nan_to_null(mut self, on: bool) -> Self {
        self.bare_nan = !on;
        self
    }

    /// Whether metadata print as `__internal__` (they do unless switched off here).
    #[must_use]
    pub fn with_internal(mut self, on: bool) -> Self {
        self.internal = on;
        self
    }

    /// Appends an event as one object: date, metadata if any, body.
    #[inline]
    pub fn encode_event(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        self.encode_event_of_group(event, None, out);
    }

    /// [`encode_event`](Self::encode_event) of a group whose attributes are the raw map `group`.
    pub fn encode_event_of_group(&self, event: &Event<'_>, group: Option<&[u8]>, out: &mut Vec<u8>) {
        let mut seen = Seen::new();
        let mut encoder = self.encoder(out);
        encoder.out.push(b'{');
        if let Some(date) = &self.date {
            seen.note(&date.key, encoder.out.len());
            encoder.out.extend_from_slice(&date.printed);
            date.format.write(encoder.out, event.time);
            encoder.out.push(b',');
        }
        let metadata = event.metadata_filled();
        if self.internal && (metadata.is_some() || group.is_some()) {
            seen.note(INTERNAL, encoder.out.len());
            encoder.internal(group, metadata);
        }
        let mut reader = Reader::new(event.body);
        let count = match reader.token() {
            Some(Token::Map(count)) => count,
            _ => 0,
        };
        encoder.pairs(&mut reader, count, &mut seen, 0);
        encoder.close(b'}');
    }

    /// Appends a raw map without date and metadata.
    #[inline]
    pub fn encode_body(&self, body: &[u8], out: &mut Vec<u8>) {
        self.encode_value(body, out);
    }

    /// Appends any raw value.
    pub fn encode_value(&self, raw: &[u8], out: &mut Vec<u8>) {
        self.encoder(out).value(&mut Reader::new(raw), 0);
    }

    /// Appends a string, quoted and escaped.
    pub fn encode_str(&self, text: &[u8], out: &mut Vec<u8>) {
        self.encoder(out).string(text);
    }

    /// Appends the inside of a string: escaped, no quotes.
    pub fn escape(&self, text: &[u8], out: &mut Vec<u8>) {
        escape::write(out, text, self.escape_unicode);
    }

    #[inline]
    fn encoder<'o>(&self, out: &'o mut Vec<u8>) -> Encoder<'o> {
        Encoder {
            out,
            unicode: self.escape_unicode,
            in_key: false,
            bare_nan: self.bare_nan,
        }
    }
}

const INTERNAL: &[u8] = b"__internal__";

/// Maps with more keys are sorted instead: comparing all with all is for small ones.
const SEEN_MAX: usize = 32;

/// Keys of the map being written, to find repeated ones. Every pair ends in a comma, so that an earlier one
/// can be cut out of the text.
struct Seen<'a> {
    /// A bit per hash of a key: most maps are told to have no repeated key by this alone.
    bits: u64,
    len: usize,
    /// Keys, `None` for one that is no text, and where their pairs start in the output.
    pairs: [(Option<&'a [u8]>, usize); SEEN_MAX],
}

impl<'a> Seen<'a> {
    fn new() -> Self {
        Self {
            bits: 0,
            len: 0,
            pairs: [(None, 0); SEEN_MAX],
        }
    }

    #[inline]
    fn bit(key: &[u8]) -> u64 {
        let byte = |at: Option<&u8>| at.map_or(0, |&b| u32::from(b));
        let hash = byte(key.first()) + 7 * byte(key.last()) + 41 * key.len() as u32;
        1 << (hash.wrapping_mul(0x9e37_79b9) >> 26)
    }

    /// Notes a key; the index of its earlier occurrence if there is one.
    #[inline]
    fn note(&mut self, key: &'a [u8], start: usize) -> Option<usize> {
        let bit = Self::bit(key);
        let known = self.pairs.get(..self.len).unwrap_or_default();
        let earlier = if self.bits & bit == 0 {
            None
        } else {
            known.iter().position(|pair| pair.0 == Some(key))
        };
        self.bits |= bit;
        self.add(Some(key), start);
        earlier
    }

    #[inline]
    fn add(&mut self, key: Option<&'a [u8]>, start: usize) {
        if let Some(slot) = self.pairs.get_mut(self.len) {
            *slot = (key, start);
            self.len += 1;
        }
    }

    /// Cuts the pair at `index` out of the output; what follows it moves up.
    #[cold]
    fn cut(&mut self, index: usize, out: &mut Vec<u8>) {
        let start = self.pairs[index].1;
        let next = self.pairs[..self.len].get(index + 1);
        let end = next.map_or(out.len(), |pair| pair.1);
        out.drain(start..end);
        self.pairs.copy_within(index + 1..self.len, index);
        self.len -= 1;
        for pair in &mut self.pairs[index..self.len] {
            pair.1 -= end - start;
        }
    }
}

struct Encoder<'o> {
    out: &'o mut Vec<u8>,
    unicode: bool,
    /// Within a key that is a container.
    in_key: bool,
    /// `nan` and `inf` as they are.
    bare_nan: bool,
}

impl Encoder<'_> {
    #[inline]
    fn string(&mut self, text: &[u8]) {
        self.out.push(b'"');
        escape::write(self.out, text, self.unicode);
        self.out.push(b'"');
    }

    #[inline]
    fn double(&mut self, n: f64) {
        if self.bare_nan && !n.is_finite() {
            number::write_not_finite(self.out, n);
        } else {
            number::write_f64(self.out, n);
        }
    }

    fn value(&mut self, reader: &mut Reader<'_>, depth: usize) {
        let at = *reader;
        let Some(token) = reader.token() else {
            return self.out.extend_from_slice(b"null");
        };
        match token {
            Token::Str(text) | Token::Bin(text) => self.string(text),
            Token::Int(n) => number::write_i64(self.out, n),
            Token::UInt(n) => number::write_u64(self.out, n),
            Token::F64(n) => self.double(n),
            Token::F32(n) => self.double(f64::from(n)),
            Token::Nil => self.out.extend_from_slice(b"null"),
            Token::Bool(true) => self.out.extend_from_slice(b"true"),
            Token::Bool(false) => self.out.extend_from_slice(b"false"),
            Token::Ext(_, bytes) => self.hex(bytes),
            Token::Array(_) | Token::Map(_) if depth >= DEPTH_GUARD => {
                *reader = at;
                reader.value();
                self.out.extend_from_slice(b"null");
            }
            Token::Array(count) => {
                self.out.push(b'[');
                for _ in 0..count {
                    if reader.is_done() {
                        break;
                    }
                    self.value(reader, depth + 1);
                    self.out.push(b',');
                }
                self.close(b']');
            }
            Token::Map(count) => {
                self.out.push(b'{');
                self.pairs(reader, count, &mut Seen::new(), depth);
                self.close(b'}');
            }
        }
    }

    /// Ends a container: the comma behind its last element makes room.
    #[inline]
    fn close(&mut self, bracket: u8) {
        match self.out.last_mut() {
            Some(last @ b',') => *last = bracket,
            _ => self.out.push(bracket),
        }
    }

    fn pairs<'a>(&mut self, reader: &mut Reader<'a>, count: u32, seen: &mut Seen<'a>, depth: usize) {
        if count as usize + seen.len > SEEN_MAX {
            return self.many_pairs(reader, count, seen, depth);
        }
        for _ in 0..count {
            let start = self.out.len();
            let key = *reader;
            let text = reader.short_str().or_else(|| match reader.token()? {
                Token::Str(text) | Token::Bin(text) => Some(text),
                _ => None,
            });
            if let Some(text) = text {
                if let Some(earlier) = seen.note(text, start) {
                    seen.cut(earlier, self.out);
                }
                self.out.push(b'"');
                escape::write(self.out, text, self.unicode);
                self.out.extend_from_slice(b"\":");
            } else if key.is_done() {
                return;
            } else {
                seen.add(None, start);
                *reader = key;
                self.odd_key(reader, depth);
            }
            if let Some(text) = reader.short_str() {
                self.out.push(b'"');
                escape::write(self.out, text, self.unicode);
                self.out.extend_from_slice(b"\",");
            } else {
                self.value(reader, depth + 1);
                self.out.push(b',');
            }
        }
    }

    /// A map with many keys: which pairs a later one overrides is found by sorting.
    #[cold]
    fn many_pairs<'a>(&mut self, reader: &mut Reader<'a>, count: u32, seen: &mut Seen<'a>, depth: usize) {
        let mut scout = *reader;
        let mut keys: Vec<(&[u8], u32)> = Vec::new();
        for index in 0..count {
            let key = scout.value().and_then(crate::msgpack::text);
            keys.extend(key.map(|key| (key, index)));
            if scout.value().is_none() {
                break;
            }
        }
        keys.sort_unstable();
        // The injected pairs at the front, from the last one back.
        for index in (0..seen.len).rev() {
            let key = seen.pairs[index].0.unwrap_or_default();
            let at = keys.partition_point(|known| known.0 < key);
            if keys.get(at).is_some_and(|known| known.0 == key) {
                seen.cut(index, self.out);
            }
        }
        let mut overridden: Vec<u32> = keys
            .windows(2)
            .filter_map(|two| (two[0].0 == two[1].0).then_some(two[0].1))
            .collect();
        overridden.sort_unstable();
        let mut overridden = overridden.into_iter().peekable();
        for index in 0..count {
            if reader.is_done() {
                return;
            }
            if overridden.next_if_eq(&index).is_some() {
                reader.value();
                reader.value();
                continue;
            }
            self.odd_key(reader, depth);
            self.value(reader, depth + 1);
            self.out.push(b',');
        }
    }

    /// A key of any type, as a string, and the colon: what is no string is printed and then quoted. A
    /// container that is a key within a container that is a key prints as `null`: quoting again at each
    /// level would double the text, so that some hundred bytes would become gigabytes.
    fn odd_key(&mut self, reader: &mut Reader<'_>, depth: usize) {
        let start = self.out.len();
        let mut ahead = *reader;
        let is_container = matches!(ahead.token(), Some(Token::Array(_) | Token::Map(_)));
        if is_container && self.in_key {
            reader.value();
            self.out.extend_from_slice(b"null");
        } else {
            self.in_key |= is_container;
            self.value(reader, depth + 1);
            self.in_key &= !is_container;
        }
        if self.out.get(start) != Some(&b'"') {
            let printed = self.out.split_off(start);
            self.string(&printed);
        }
        self.out.push(b':');
    }

    fn hex(&mut self, bytes: &[u8]) {
        self.out.push(b'"');
        hex(self.out, bytes);
        self.out.push(b'"');
    }

    #[cold]
    fn internal(&mut self, group: Option<&[u8]>, metadata: Option<&[u8]>) {
        self.string(INTERNAL);
        self.out.extend_from_slice(b":{");
        let parts = [
            (&b"group_attributes"[..], group),
            (&b"log_metadata"[..], metadata),
        ];
        for (key, raw) in parts {
            let Some(raw) = raw else { continue };
            self.string(key);
            self.out.push(b':');
            self.value(&mut Reader::new(raw), 1);
            self.out.push(b',');
        }
        self.close(b'}');
        self.out.push(b',');
    }
}

/// Appends bytes as lower-case hex.
pub(crate) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |n: u8| b"0123456789abcdef"[usize::from(n & 0xf)];
    out.extend(bytes.iter().flat_map(|&b| [digit(b >> 4), digit(b)]));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::json::to_msgpack;
    use crate::{MapWriter, RecordsBuf, Timestamp, msgpack};

    fn msgpack_of(json: &str) -> Vec<u8> {
        let mut out = Vec::new();
        to_msgpack(json.as_bytes(), &mut out).unwrap();
        out
    }

    #[track_caller]
    fn check_raw(raw: &[u8], want: &str) {
        let mut out = Vec::new();
        JsonOptions::default().encode_value(raw, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[track_caller]
    fn check(json: &str, want: &str) {
        check_raw(&msgpack_of(json), want);
    }

    #[track_caller]
    fn check_event(options: &JsonOptions, metadata: Option<&str>, body: &str, want: &str) {
        let mut run = RecordsBuf::default();
        let metadata = metadata.map(msgpack_of);
        let time = Timestamp {
            secs: 1_700_000_000,
            nanos: 123_456_789,
        };
        run.push(time, metadata.as_deref(), &msgpack_of(body));
        let run = run.take();
        let mut out = Vec::new();
        options.encode_event(&run.events().next().unwrap(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn values() {
        check(
            r#"{"a":1,"f":{"$f":1.5},"l":[],"m":{},"n":null}"#,
            r#"{"a":1,"f":{"$f":1.5},"l":[],"m":{},"n":null}"#,
        );
        check(
            "[18446744073709551615,-9223372036854775808,3.0,1e3,1e-9]",
            "[18446744073709551615,-9223372036854775808,3.0,1000.0,1e-09]",
        );
        check_raw(&[0xca, 0x3d, 0xcc, 0xcc, 0xcd], "0.1000000014901161");
        check_raw(&[0xc4, 2, b'a', b'"'], r#""a\"""#);
        check_raw(&[0xc7, 2, 5, 1, 0xfe], r#""01fe""#);
        check_raw(&[0x82, 5, 0xa1, b'a', 0xc0, 0x91, 1], r#"{"5":"a","null":[1]}"#);
        check_raw(&[0x81, 0x91, 0xa1, b'x', 1], r#"{"[\"x\"]":1}"#);
    }

    #[test]
    fn containers_as_keys_are_quoted_once() {
        // {{{1: 2}: 3}: 4}
        check_raw(&[0x81, 0x81, 0x81, 1, 2, 3, 4], r#"{"{\"null\":3}":4}"#);
        let mut raw = vec![0x81; 24];
        raw.extend_from_slice(&[1; 25]);
        let mut out = Vec::new();
        JsonOptions::default().encode_value(&raw, &mut out);
        assert!(out.len() < 1000, "{} bytes of 49", out.len());
    }

    #[test]
    fn what_is_not_finite_is_null_unless_asked_for() {
        let mut raw = vec![0x94];
        for n in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            msgpack::write_f64(&mut raw, n);
        }
        check_raw(&raw, "[null,null,null,null]");
        let mut out = Vec::new();
        let bare = JsonOptions::default().with_nan_to_null(false);
        bare.encode_value(&raw, &mut out);
        assert_eq!(out, b"[nan,-nan,inf,-inf]");
    }

    #[test]
    fn the_last_of_repeated_keys_stays_at_its_place() {
        check(r#"{"a":1,"b":2,"a":3}"#, r#"{"b":2,"a":3}"#);
        check(r#"{"a":1,"a":2,"a":3}"#, r#"{"a":3}"#);
        check(
            r#"{"a":{"x":1,"x":[2,"a"],"y":0},"b":1,"a":{"x":1,"x":2},"c":4}"#,
            r#"{"b":1,"a":{"x":2},"c":4}"#,
        );
        // Beside a key that is no text.
        check_raw(
            &[0x84, 0xa0, 1, 0xc0, 2, 0xa0, 3, 0xc0, 4],
            r#"{"null":2,"":3,"null":4}"#,
        );
    }

    #[test]
    fn date_and_metadata_come_first() {
        let options = JsonOptions::default().with_date("date", DateFormat::Double);
        check_event(
            &options,
            None,
            r#"{"a":1}"#,
            r#"{"date":1700000000.123457,"a":1}"#,
        );
        check_event(&options, None, "{}", r#"{"date":1700000000.123457}"#);
        check_event(
            &options,
            None,
            r#"{"a":1,"date":"own","b":2}"#,
            r#"{"a":1,"date":"own","b":2}"#,
        );
        check_event(
            &options,
            Some("{}"),
            r#"{"a":1}"#,
            r#"{"date":1700000000.123457,"a":1}"#,
        );
        let want = r#"{"date":1700000000.123457,"__internal__":{"log_metadata":{"m":1}},"a":1}"#;
        check_event(&options, Some(r#"{"m":1}"#), r#"{"a":1}"#, want);
        let without = options.with_internal(false);
        check_event(
            &without,
            Some(r#"{"m":1}"#),
            r#"{"a":1}"#,
            r#"{"date":1700000000.123457,"a":1}"#,
        );
        check_event(&JsonOptions::default(), None, "{}", "{}");
    }

    #[test]
    fn deep_values_do_not_overflow_the_stack() {
        let mut raw = vec![0x91; 1 << 20];
        raw.push(1);
        let mut out = Vec::new();
        JsonOptions::default().encode_value(&raw, &mut out);
        assert!(out.len() < 1000);
    }

    proptest! {
        /// Small maps by comparing, large ones by sorting: both keep the last of each key in order.
        #[test]
        fn repeated_keys_in_maps_of_any_size(keys in prop::collection::vec("[a-c]{0,3}|date", 0..60)) {
            let mut map = MapWriter::new();
            for (index, key) in keys.iter().enumerate() {
                msgpack::write_uint(map.key(key.as_bytes()), index as u64);
            }
            let mut body = Vec::new();
            map.write(&mut body);
            let mut run = RecordsBuf::default();
            run.push(Timestamp::default(), None, &body);
            let run = run.take();
            let mut out = Vec::new();
            let options = JsonOptions::default().with_date("date", DateFormat::Epoch);
            options.encode_event(&run.events().next().unwrap(), &mut out);
            let mut want: Vec<_> = keys
                .iter()
                .enumerate()
                .filter(|&(index, key)| !keys[index + 1..].contains(key))
                .map(|(index, key)| format!("\"{key}\":{index}"))
                .collect();
            if !keys.iter().any(|key| key == "date") {
                want.insert(0, "\"date\":0".to_owned());
            }
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("{{{}}}", want.join(",")));
        }

        /// What comes out is valid JSON and UTF-8, whatever goes in.
        #[test]
        fn any_bytes_print(raw in prop::collection::vec(any::<u8>(), 0..60), unicode in any::<bool>()) {
            let Ok(end) = msgpack::skip(&raw, 0) else { return Ok(()) };
            let mut out = Vec::new();
            JsonOptions::new(unicode).encode_value(&raw[..end], &mut out);
            prop_assert!(serde_json::from_slice::<Value>(&out).is_ok(), "{}", String::from_utf8_lossy(&out));
        }
    }
}
