//! A record as the text that is sent: shaped, printed, cut to a limit.

use firelane_record::json::JsonOptions;
use firelane_record::msgpack::{self, Reader, Token};
use firelane_record::{Event, Timestamp};

use super::press::Press;
use super::{Dialect, Settings, TimeField};
use crate::go_json;

/// Stands behind what is left of a record that was cut.
const SUFFIX: &[u8] = b"[Truncated...]";
/// Tries to cut a text so far that it fits when it is compressed.
const TRIES: usize = 24;

/// Prints records.
pub(super) struct Texts {
    dialect: Dialect,
    json: JsonOptions,
    log_key: Option<Box<[u8]>>,
    data_keys: Option<Vec<Box<[u8]>>>,
    time: Option<TimeField>,
    replace_dots: Option<Box<[u8]>>,
    newline: bool,
    /// Records over the limit are cut, not left out.
    cuts: bool,
}

/// Buffers of one encoding.
#[derive(Default)]
pub(super) struct Scratch {
    /// The record as it was printed last.
    pub(super) text: Vec<u8>,
    map: Vec<u8>,
    time: Vec<u8>,
    /// The second that `time` shows, where its format has no fraction.
    second: Option<i64>,
}

impl Texts {
    pub(super) fn new(settings: Settings) -> Self {
        let bytes = |text: String| text.into_bytes().into_boxed_slice();
        // With `log_key` the rest of the record is not sent.
        let whole = settings.log_key.is_none();
        let keys = settings.data_keys.filter(|_| whole);
        Self {
            dialect: settings.dialect,
            json: settings.json,
            data_keys: keys.map(|keys| keys.into_iter().map(bytes).collect()),
            time: settings.time.filter(|_| whole),
            log_key: settings.log_key.map(bytes),
            replace_dots: settings.replace_dots.map(bytes),
            newline: settings.newline,
            cuts: settings.dialect == Dialect::Go || settings.coding.is_some(),
        }
    }

    /// `log_key`, for messages.
    pub(super) fn log_key(&self) -> String {
        String::from_utf8_lossy(self.log_key.as_deref().unwrap_or_default()).into_owned()
    }

    /// Prints a record into `scratch.text`; false where it has no `log_key`.
    pub(super) fn write(&self, event: &Event<'_>, scratch: &mut Scratch) -> bool {
        let Scratch {
            text,
            map,
            time,
            second,
        } = scratch;
        text.clear();
        let mut body = event.body;
        if self.data_keys.is_some() || self.time.is_some() || self.replace_dots.is_some() {
            if let Some(field) = &self.time {
                print_time(field, event.time, time, second);
            }
            map.clear();
            self.reshape(event.body, time, map);
            body = map;
        }
        match (&self.log_key, self.dialect) {
            (None, Dialect::C) => self.json.encode_body(body, text),
            (None, Dialect::Go) => go_json::write(body, text),
            (Some(key), dialect) => {
                let mut pairs = msgpack::pairs(body).filter(|(raw, _)| msgpack::text(raw) == Some(key));
                let Some((_, value)) = pairs.by_ref().last() else {
                    return false;
                };
                match (msgpack::text(value), dialect) {
                    (Some(string), Dialect::C) => self.json.escape(string, text),
                    (Some(string), Dialect::Go) => text.extend_from_slice(string),
                    (None, Dialect::C) => self.json.encode_value(value, text),
                    (None, Dialect::Go) => go_json::write(value, text),
                }
            }
        }
        if self.newline {
            text.push(b'\n');
        }
        true
    }

    /// The raw map with the keys that are wanted, without dots in them, and the time behind.
    fn reshape(&self, body: &[u8], time: &[u8], out: &mut Vec<u8>) {
        let wanted = |key: &[u8]| {
            let Some(keys) = &self.data_keys else {
                return true;
            };
            msgpack::text(key).is_some_and(|key| keys.iter().any(|wanted| **wanted == *key))
        };
        let kept = msgpack::pairs(body).filter(|(key, _)| wanted(key)).count() as u32;
        msgpack::write_map_head(out, kept + u32::from(self.time.is_some()));
        for (key, value) in msgpack::pairs(body).filter(|(key, _)| wanted(key)) {
            match &self.replace_dots {
                None => {
                    out.extend_from_slice(key);
                    out.extend_from_slice(value);
                }
                Some(with) => {
                    without_dots(key, with, out);
                    copy(&mut Reader::new(value), with, out);
                }
            }
        }
        if let Some(field) = &self.time {
            msgpack::write_str(out, field.key.as_bytes());
            msgpack::write_str(out, time);
        }
    }

    /// The text as it is sent, at most `room` bytes; `None` where that cannot be.
    pub(super) fn fit<'t>(
        &self,
        text: &'t mut Vec<u8>,
        room: usize,
        press: Option<&'t mut Press>,
    ) -> Option<&'t [u8]> {
        let Some(press) = press else {
            if text.len() > room {
                if !self.cuts {
                    return None;
                }
                self.cut(text, room)?;
            }
            return Some(text);
        };
        for _ in 0..TRIES {
            let packed = press.squeeze(text);
            if packed <= room {
                return Some(press.squeezed());
            }
            // Somewhat less than the part that fits: what is cut off may be what compressed best.
            let fitting = (text.len() as u128 * room as u128 / packed.max(1) as u128) as usize;
            self.cut(text, fitting - fitting / 10)?;
        }
        None
    }

    /// Cuts a text to `room` bytes at most, between characters. The newline stays at its end.
    fn cut(&self, text: &mut Vec<u8>, room: usize) -> Option<()> {
        let newline = usize::from(self.newline);
        let keep = room.checked_sub(SUFFIX.len() + newline)?;
        let is_within = |byte: Option<&u8>| byte.is_some_and(|byte| byte & 0xc0 == 0x80);
        // A character has three such bytes at most; more of them are no text.
        let back = (0..3.min(keep)).take_while(|&back| is_within(text.get(keep - back)));
        let keep = keep - back.count();
        text.truncate(keep);
        text.extend_from_slice(SUFFIX);
        if self.newline {
            text.push(b'\n');
        }
        Some(())
    }
}

/// Leaves the time's text in `out`, which shows `second` already where that is the same.
fn print_time(field: &TimeField, time: Timestamp, out: &mut Vec<u8>, second: &mut Option<i64>) {
    if *second == Some(time.secs) {
        return;
    }
    out.clear();
    field.format.write(out, time);
    *second = (!field.format.has_fraction()).then_some(time.secs);
}

/// A raw key with `with` in place of each dot, if it is a string.
fn without_dots(key: &[u8], with: &[u8], out: &mut Vec<u8>) {
    match msgpack::text(key) {
        Some(text) if text.contains(&b'.') => {
            let parts: Vec<_> = text.split(|&byte| byte == b'.').collect();
            msgpack::write_str(out, &parts.join(with));
        }
        _ => out.extend_from_slice(key),
    }
}

/// Copies a value with [`without_dots`] for every key in it. Records nest as deep as MessagePack is taken,
/// which bounds the recursion.
fn copy(reader: &mut Reader<'_>, with: &[u8], out: &mut Vec<u8>) {
    let mut ahead = *reader;
    match ahead.token() {
        Some(Token::Map(count)) => {
            *reader = ahead;
            msgpack::write_map_head(out, count);
            for _ in 0..count {
                without_dots(reader.value().unwrap_or(&[0xc0]), with, out);
                copy(reader, with, out);
            }
        }
        Some(Token::Array(count)) => {
            *reader = ahead;
            msgpack::write_array_head(out, count);
            for _ in 0..count {
                copy(reader, with, out);
            }
        }
        _ => out.extend_from_slice(reader.value().unwrap_or(&[0xc0])),
    }
}
