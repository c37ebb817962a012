//! Partition keys of Kinesis: from a record, else random.
//!
//! Kinesis puts a record where the MD5 of its key falls, so any keys that differ spread evenly. Sent again, a
//! record with a random key gets another one, and so perhaps a shard that is not throttled.

use std::sync::atomic::{AtomicU64, Ordering};

use firelane_record::Event;
use firelane_record::json::JsonOptions;
use firelane_record::msgpack::{self, Token};

/// Bytes of a key: the API takes 256 characters, the Go plugin cuts at so many bytes.
const KEY_MAX: usize = 256;
/// Characters of a random key, six bits each.
const RANDOM_LEN: usize = 8;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// The step of SplitMix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where keys come from.
pub(super) struct Keys {
    source: Source,
    /// Seed of the process, and how many encodings have drawn from it.
    seed: u64,
    draws: AtomicU64,
}

#[derive(Clone)]
enum Source {
    /// There are none: Firehose.
    None,
    Random,
    /// Keys down to the value.
    Path(std::sync::Arc<[Box<[u8]>]>),
}

/// The key of one record after the other, within one encoding.
pub(super) struct Draw {
    source: Source,
    state: u64,
    key: Vec<u8>,
}

impl Keys {
    pub(super) fn none() -> Self {
        Self::of(Source::None, 0)
    }

    /// By `path`; random where there is none, and for records that have nothing there.
    pub(super) fn new(path: Option<&[String]>, seed: u64) -> Self {
        let bytes = |part: &String| part.as_bytes().into();
        match path {
            None => Self::of(Source::Random, seed),
            Some(path) => Self::of(Source::Path(path.iter().map(bytes).collect()), seed),
        }
    }

    fn of(source: Source, seed: u64) -> Self {
        Self {
            source,
            seed,
            draws: AtomicU64::new(0),
        }
    }

    /// Keys for one encoding: nothing is shared from here on.
    pub(super) fn draw(&self) -> Draw {
        let nth = self.draws.fetch_add(1, Ordering::Relaxed);
        Draw {
            source: self.source.clone(),
            state: mix(self.seed ^ mix(nth)),
            key: Vec::with_capacity(KEY_MAX),
        }
    }
}

impl Draw {
    /// The key that was found or drawn last: UTF-8, at most 256 bytes, empty for Firehose alone.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Finds the key of a record, or draws one.
    pub(super) fn find(&mut self, event: &Event<'_>) {
        match self.source {
            Source::None => {}
            Source::Random => self.random(),
            Source::Path(_) => {
                if !self.own(event) {
                    self.random();
                }
            }
        }
    }

    /// Finds the key that a record names; false, and no key, where it names none.
    pub(super) fn own(&mut self, event: &Event<'_>) -> bool {
        self.key.clear();
        let Source::Path(path) = &self.source else {
            return false;
        };
        let step = |value, key: &[u8]| {
            let pairs = msgpack::pairs(value).filter(|(raw, _)| msgpack::text(raw) == Some(key));
            pairs.last().map(|(_, value)| value)
        };
        let Some(value) = path.iter().map(|key| &**key).try_fold(event.body, step) else {
            return false;
        };
        match msgpack::read(value).map(|(token, _)| token) {
            Some(Token::Str(text) | Token::Bin(text)) => match std::str::from_utf8(text) {
                Ok(_) => self.key.extend_from_slice(text),
                Err(_) => self
                    .key
                    .extend_from_slice(String::from_utf8_lossy(text).as_bytes()),
            },
            Some(Token::Int(_) | Token::UInt(_) | Token::Bool(_) | Token::F64(_) | Token::F32(_)) => {
                JsonOptions::default().encode_value(value, &mut self.key);
            }
            _ => return false,
        }
        if self.key.len() > KEY_MAX {
            let mut end = KEY_MAX;
            while end > 0 && self.key[end] & 0xc0 == 0x80 {
                end -= 1;
            }
            self.key.truncate(end);
        }
        !self.key.is_empty()
    }

    /// Draws a key; none for Firehose.
    pub(super) fn random(&mut self) {
        self.key.clear();
        if matches!(self.source, Source::None) {
            return;
        }
        self.state = self.state.wrapping_add(STEP);
        let mut bits = mix(self.state);
        for _ in 0..RANDOM_LEN {
            self.key.push(ALPHABET[(bits & 63) as usize]);
            bits >>= 6;
        }
    }
}

/// The finish of SplitMix64 (Steele, Lea, Flood 2014): every bit of the input moves every bit of the result.
fn mix(mut n: u64) -> u64 {
    n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use firelane_record::json::to_msgpack;
    use firelane_record::{RecordsBuf, Timestamp};
    use md5::{Digest, Md5};

    #[track_caller]
    fn check(path: &[&str], record: &str, want: Option<&str>) {
        let path: Vec<_> = path.iter().map(|&part| part.to_owned()).collect();
        let mut draw = Keys::new(Some(&path), 7).draw();
        let mut body = Vec::new();
        to_msgpack(record.as_bytes(), &mut body).unwrap();
        let mut buf = RecordsBuf::default();
        buf.push(Timestamp::default(), None, &body);
        let records = buf.take();
        let event = records.events().next().unwrap();
        let got = draw
            .own(&event)
            .then(|| String::from_utf8(draw.key().to_vec()).unwrap());
        assert_eq!(got.as_deref(), want, "{record}");
        draw.find(&event);
        assert_eq!(draw.key().len(), want.map_or(RANDOM_LEN, str::len));
    }

    #[test]
    fn keys_come_from_records() {
        check(&["k"], r#"{"k":"one","k":"two"}"#, Some("two"));
        check(&["a", "b"], r#"{"a":{"b":"deep"}}"#, Some("deep"));
        check(&["k"], r#"{"k":-17}"#, Some("-17"));
        check(&["k"], r#"{"k":true}"#, Some("true"));
        check(&["k"], r#"{"k":""}"#, None);
        check(&["k"], r#"{"k":null}"#, None);
        check(&["k"], r#"{"k":{"x":1}}"#, None);
        check(&["a", "b"], r#"{"a":"flat"}"#, None);
        check(&["k"], r#"{"other":1}"#, None);
    }

    #[test]
    fn long_keys_are_cut_between_characters() {
        let long = format!("{{\"k\":\"x{}\"}}", "é".repeat(200));
        let want = format!("x{}", "é".repeat(127));
        check(&["k"], &long, Some(&want));
    }

    /// Guarantees: 64 shards of equal hash ranges get about the same number of records; no key comes twice
    /// in a day's worth of one process, and two processes have other keys.
    #[test]
    fn random_keys_spread_over_shards() {
        let mut shards = [0u32; 64];
        let mut seen = std::collections::HashSet::new();
        for seed in [1, 2] {
            let keys = Keys::new(None, seed);
            for _ in 0..64 {
                let mut draw = keys.draw();
                for _ in 0..500 {
                    draw.random();
                    shards[usize::from(Md5::digest(draw.key())[0] >> 2)] += 1;
                    assert!(seen.insert(draw.key().to_vec()), "a key came twice");
                }
            }
        }
        // 1000 each; six standard deviations are 190.
        let (min, max) = (shards.iter().min().unwrap(), shards.iter().max().unwrap());
        assert!(*min > 810 && *max < 1190, "{min} to {max}");
    }
}
