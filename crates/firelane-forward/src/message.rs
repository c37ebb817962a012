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
    match take_apart(data) {
        Ok(message) => Ok(Ok(message)),
        Err(Stop::Wait(fault)) => Ok(Err(fault)),
        Err(Stop::Bad(error)) => Err(error),
    }
}

/// Why a message is not taken apart.
enum Stop {
    /// More bytes may mend it.
    Wait(Fault),
    /// It ends the connection.
    Bad(SessionError),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Incomplete { .. } => Self::Wait(fault),
            fault => Self::Bad(SessionError::Msgpack(fault)),
        }
    }
}

impl From<SessionError> for Stop {
    fn from(error: SessionError) -> Self {
        Self::Bad(error)
    }
}

fn take_apart(data: &[u8]) -> Result<Message<'_>, Stop> {
    let mut head = Head { data, at: 0 };
    let count = match head.token() {
        Some(Token::Array(count)) => count,
        Some(_) => return Err(SessionError::NotAnArray { first: data[0] }.into()),
        None => return Err(Stop::Wait(Fault::Incomplete { need: 1 })),
    };
    if count < 2 {
        return Err(SessionError::TooShort.into());
    }
    let tag = match head.token() {
        Some(Token::Str(tag)) => tag,
        Some(_) => return Err(SessionError::TagNotString.into()),
        None => return Err(head.incomplete()),
    };
    let body = head.body(count)?;
    let taken = if matches!(body, Body::One { .. }) { 3 } else { 2 };
    let options = head.options(count.saturating_sub(taken))?;
    Ok(Message {
        tag,
        body,
        options,
        len: head.at,
    })
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
    fn incomplete(&self) -> Stop {
        match msgpack::skip(self.data, self.at) {
            Err(fault) => fault.into(),
            Ok(_) => Stop::Wait(Fault::Incomplete { need: 1 }),
        }
    }

    fn body(&mut self, count: u32) -> Result<Body, Stop> {
        let start = self.at;
        let time = match self.token() {
            Some(Token::Array(_)) => {
                let first = self.at;
                self.at = msgpack::skip(self.data, start)?;
                return Ok(Body::Entries(first..self.at));
            }
            Some(Token::Str(text) | Token::Bin(text)) => {
                return Ok(Body::Packed(self.at - text.len()..self.at));
            }
            Some(token @ (Token::Int(_) | Token::UInt(_) | Token::Ext(..))) => Timestamp::from_token(&token),
            Some(_) => None,
            None => return Err(self.incomplete()),
        };
        let time = time.filter(|time| time.secs >= 0).ok_or(SessionError::Time)?;
        if count < 3 {
            return Err(SessionError::TooShort.into());
        }
        let record = self.at;
        match self.data.get(record) {
            Some(0x80..=0x8f | 0xde | 0xdf) => {}
            Some(_) => return Err(SessionError::RecordNotMap.into()),
            None => return Err(self.incomplete()),
        }
        // In the message and in the run it stands inside one array.
        self.at = msgpack::skip_within(self.data, record, 1)?;
        Ok(Body::One {
            time,
            both: start..self.at,
            record,
        })
    }

    /// The `rest` elements behind the body: the options, and what later versions may put there.
    fn options(&mut self, rest: u32) -> Result<Options<'a>, Stop> {
        let mut options = Options::default();
        for index in 0..rest {
            let start = self.at;
            self.at = msgpack::skip_within(self.data, start, 1)?;
            if index == 0 {
                options = read_options(&self.data[start..self.at])?;
            }
        }
        Ok(options)
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
