//! One message: `[tag, time, record, options?]`, `[tag, entries, options?]` or `[tag, payload, options?]`.

use std::ops::Range;

use firelane_record::Timestamp;
use firelane_record::msgpack::{self, Fault, Reader, Token};

use crate::session::SessionError;

/// A message taken apart. Ranges are offsets in its bytes.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) tag: &'a [u8],
    pub(crate) body: Body,
    pub(crate) options: Options<'a>,
    /// Its length.
    pub(crate) len: usize,
}

/// What a message carries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    /// Message mode: time and record, behind each other.
    One {
        time: Timestamp,
        both: Range<usize>,
        record: usize,
    },
    /// Forward mode: the entries behind each other.
    Entries(Range<usize>),
    /// Packed modes: the payload.
    Packed(Range<usize>),
}

/// The options that mean something.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Options<'a> {
    /// An options map is there.
    pub(crate) present: bool,
    pub(crate) chunk: Option<&'a [u8]>,
    pub(crate) metadata: Option<&'a [u8]>,
    pub(crate) signal: Signal,
}

/// What kind of data a payload holds (`fluent_signal`).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    #[default]
    Logs,
    Other,
}

/// Takes the message at the start of `data` apart; `Ok(Err(..))` when it does not end there yet.
pub(crate) fn read(data: &[u8]) -> Result<Result<Message<'_>, Fault>, SessionError> {
    let mut reader = Head { data, at: 0 };
    let Some(head) = reader.token() else {
        return Ok(Err(Fault::Incomplete { need: 1 }));
    };
    let Token::Array(count) = head else {
        return Err(SessionError::NotAnArray { first: data[0] });
    };
    if count < 2 {
        return Err(SessionError::TooShort);
    }
    let tag = match reader.token() {
        Some(Token::Str(tag)) => tag,
        Some(_) => return Err(SessionError::TagNotString),
        None => return reader.incomplete(),
    };
    let start = reader.at;
    let body = match reader.token() {
        Some(Token::Array(_)) => Body::Entries(reader.at..0),
        Some(Token::Str(text) | Token::Bin(text)) => Body::Packed(reader.at - text.len()..reader.at),
        Some(token @ (Token::Int(_) | Token::UInt(_) | Token::Ext(..))) => {
            let time = Timestamp::from_token(&token)
                .filter(|time| time.secs >= 0)
                .ok_or(SessionError::Time)?;
            Body::One {
                time,
                both: start..0,
                record: reader.at,
            }
        }
        Some(_) => return Err(SessionError::Time),
        None => return reader.incomplete(),
    };
    let (body, rest) = match body {
        Body::Entries(range) => {
            let end = match msgpack::skip(data, start) {
                Ok(end) => end,
                Err(fault) => return fault_or_wait(fault),
            };
            reader.at = end;
            (Body::Entries(range.start..end), count - 2)
        }
        Body::One { time, both, record } => {
            if count < 3 {
                return Err(SessionError::TooShort);
            }
            match data.get(record) {
                Some(0x80..=0x8f | 0xde | 0xdf) => {}
                Some(_) => return Err(SessionError::RecordNotMap),
                None => return reader.incomplete(),
            }
            let end = match msgpack::skip(data, record) {
                Ok(end) => end,
                Err(fault) => return fault_or_wait(fault),
            };
            reader.at = end;
            (
                Body::One {
                    time,
                    both: both.start..end,
                    record,
                },
                count - 3,
            )
        }
        packed => (packed, count - 2),
    };
    let mut options = Options::default();
    for index in 0..rest {
        let end = match msgpack::skip(data, reader.at) {
            Ok(end) => end,
            Err(fault) => return fault_or_wait(fault),
        };
        if index == 0 {
            options = read_options(&data[reader.at..end])?;
        }
        reader.at = end;
    }
    Ok(Ok(Message {
        tag,
        body,
        options,
        len: reader.at,
    }))
}

/// Faults that more bytes may mend, and those that end the connection.
fn fault_or_wait<T>(fault: Fault) -> Result<Result<T, Fault>, SessionError> {
    match fault {
        Fault::Incomplete { .. } => Ok(Err(fault)),
        fault => Err(SessionError::Msgpack(fault)),
    }
}

struct Head<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Head<'a> {
    fn token(&mut self) -> Option<Token<'a>> {
        let (token, used) = msgpack::read(self.data.get(self.at..)?)?;
        self.at += used;
        Some(token)
    }

    /// No token here: the bytes end, or are not MessagePack.
    fn incomplete<T>(&self) -> Result<Result<T, Fault>, SessionError> {
        match msgpack::skip(self.data, self.at) {
            Err(fault) => fault_or_wait(fault),
            Ok(_) => Ok(Err(Fault::Incomplete { need: 1 })),
        }
    }
}

fn read_options(raw: &[u8]) -> Result<Options<'_>, SessionError> {
    let mut options = Options {
        present: true,
        ..Options::default()
    };
    match Reader::new(raw).token() {
        Some(Token::Map(0)) => return Ok(options),
        Some(Token::Map(_)) => {}
        Some(Token::Nil) => return Ok(Options::default()),
        _ => return Err(SessionError::OptionsNotMap),
    }
    for (key, value) in msgpack::pairs(raw) {
        let token = Reader::new(value).token();
        match (msgpack::str_bytes(key), token) {
            (Some(b"chunk"), Some(Token::Str(_))) => options.chunk = Some(value),
            (Some(b"chunk"), _) => return Err(SessionError::ChunkNotString),
            (Some(b"metadata"), Some(Token::Map(_))) => options.metadata = Some(value),
            (Some(b"metadata"), _) => return Err(SessionError::MetadataNotMap),
            (Some(b"fluent_signal"), Some(Token::Int(0))) => {}
            (Some(b"fluent_signal"), Some(Token::Int(1 | 2))) => options.signal = Signal::Other,
            (Some(b"fluent_signal"), _) => return Err(SessionError::Signal),
            _ => {}
        }
    }
    Ok(options)
}
