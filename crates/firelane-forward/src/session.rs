//! The server's side of one connection.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use firelane_record::msgpack::{self, Fault, Walker};
use firelane_record::{Records, RecordsBuf, RecordsError, Tag, TagError};

use crate::auth::{Auth, AuthError, Challenge};
use crate::inflate::{self, Coding, InflateError};
use crate::message::{self, Body, Message, Signal};

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Largest message, payload and decompressed payload, in bytes (`buffer_max_size`).
    pub message_size_max: usize,
    /// The handshake, if there is one.
    pub auth: Option<Auth>,
}

/// Largest message before the handshake is done, in bytes.
const PING_SIZE_MAX: usize = 16 * 1024;
/// Bytes of joined messages after which a run ends.
const RUN_BYTES: usize = 64 * 1024;
/// Payloads from this size on are handed out as they are, without a copy.
const WHOLE_BYTES: usize = 16 * 1024;

/// Events of one tag, as far as they stood one behind the other.
#[derive(Debug)]
pub struct Run {
    /// The sender's tag.
    pub tag: Tag,
    /// The events; may be none where a message held none but wants its ack.
    pub records: Records,
    /// Raw `chunk` options that are owed an ack once the events are safe, in order.
    pub acks: Vec<Bytes>,
    /// Entries that could not be read and are gone.
    pub malformed: u64,
    /// Payloads of metrics or traces that are gone.
    pub not_logs: u64,
}

/// Why a connection ends. What came before the fault was handed out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// A root value that is no array.
    #[error("a message must be an array, this one starts with byte 0x{first:02x}{}", hint(*.first))]
    NotAnArray {
        /// The byte.
        first: u8,
    },
    /// An array of too few elements.
    #[error("a message has too few elements")]
    TooShort,
    /// The tag is no string.
    #[error("the tag is not a string")]
    TagNotString,
    /// The tag is too long.
    #[error("{0}")]
    Tag(TagError),
    /// The time of a Message is none.
    #[error("the time is not an integer or an EventTime")]
    Time,
    /// The record is no map.
    #[error("the record is not a map")]
    RecordNotMap,
    /// The options are no map.
    #[error("the options are not a map")]
    OptionsNotMap,
    /// The `chunk` option is no string.
    #[error("the option `chunk` is not a string")]
    ChunkNotString,
    /// The `metadata` option is no map.
    #[error("the option `metadata` is not a map")]
    MetadataNotMap,
    /// The `fluent_signal` option is not 0, 1 or 2.
    #[error("the option `fluent_signal` is not 0, 1 or 2")]
    Signal,
    /// Not MessagePack.
    #[error("{0}")]
    Msgpack(Fault),
    /// An entry that is none, in Forward mode, or a payload without a single good entry.
    #[error("{0}")]
    Entry(RecordsError),
    /// A payload without entries.
    #[error("the payload is empty")]
    EmptyPayload,
    /// Over the limit.
    #[error("a message of at least {len} bytes, the limit is {limit} (buffer_max_size)")]
    TooLarge {
        /// Bytes, as far as known.
        len: u64,
        /// The limit.
        limit: usize,
    },
    /// A payload that decompresses to too much.
    #[error("a compressed payload holds more than {limit} bytes (buffer_max_size)")]
    Bomb {
        /// The limit.
        limit: usize,
    },
    /// A payload that does not decompress.
    #[error("a compressed payload is broken")]
    Corrupt,
    /// The handshake failed.
    #[error("handshake refused: {0}")]
    Auth(AuthError),
}

fn hint(first: u8) -> &'static str {
    match first {
        b'G' | b'P' | b'H' | b'D' | b'O' => " (an HTTP request? this port speaks Forward)",
        0x16 => " (a TLS client? this port speaks plain Forward)",
        b'{' => " (JSON? use the `tcp` input)",
        _ => "",
    }
}

impl SessionError {
    /// A short word for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotAnArray { .. } => "not_an_array",
            Self::TooShort => "too_short",
            Self::TagNotString | Self::Tag(_) => "tag",
            Self::Time => "time",
            Self::RecordNotMap => "record",
            Self::OptionsNotMap | Self::ChunkNotString | Self::MetadataNotMap | Self::Signal => "options",
            Self::Msgpack(_) => "msgpack",
            Self::Entry(_) | Self::EmptyPayload => "entry",
            Self::TooLarge { .. } => "too_large",
            Self::Bomb { .. } => "bomb",
            Self::Corrupt => "corrupt",
            Self::Auth(_) => "auth",
        }
    }
}

/// One connection. Feed [`Session::input`], call [`Session::receive`] until it gives `None`, write what
/// [`Session::transmit`] holds.
#[derive(Debug)]
pub struct Session {
    options: Arc<ServerOptions>,
    /// The handshake that is still to be done.
    challenge: Option<Challenge>,
    buf: BytesMut,
    /// The walk over a message that has not ended yet, so that it is walked once however it arrives.
    partial: Option<Box<Walker>>,
    out: Vec<u8>,
    tag: Option<Tag>,
    run: RecordsBuf,
    acks: Vec<Bytes>,
    malformed: u64,
    not_logs: u64,
    failed: Option<SessionError>,
}

/// What is known of a message beside its body, apart from the buffer it stands in.
struct Parts {
    len: usize,
    ack: Option<Bytes>,
    metadata: Option<Vec<u8>>,
    is_logs: bool,
    has_options: bool,
}

/// What became of one message.
enum Step {
    /// It joined the open run.
    Joined,
    /// The open run must be handed out first.
    Before,
    /// It is a run of its own.
    Whole(Run),
}

impl Session {
    /// A fresh connection; `random` is used by the handshake, if there is one.
    pub fn new(options: Arc<ServerOptions>, random: [u8; 32]) -> Self {
        let mut out = Vec::new();
        let challenge = options.auth.as_ref().map(|auth| {
            let challenge = Challenge::new(random);
            challenge.helo(auth, &mut out);
            challenge
        });
        Self {
            options,
            challenge,
            buf: BytesMut::new(),
            partial: None,
            out,
            tag: None,
            run: RecordsBuf::default(),
            acks: Vec::new(),
            malformed: 0,
            not_logs: 0,
            failed: None,
        }
    }

    /// Where read bytes go, at the end.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.buf
    }

    /// Bytes owed to the peer; the caller writes and clears them. To be written also when `receive` failed.
    pub fn transmit(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Whether the handshake is still to be done: the peer has proved nothing yet.
    pub fn is_greeting(&self) -> bool {
        self.challenge.is_some()
    }

    /// Bytes of a message that has not ended: at the end of the connection they are lost, as they were never
    /// acknowledged.
    pub fn fragment(&self) -> usize {
        self.buf.len()
    }

    /// The next run. `Ok(None)`: more bytes are needed.
    ///
    /// # Errors
    /// The fault that ends the connection, after everything before it was handed out.
    pub fn receive(&mut self) -> Result<Option<Run>, SessionError> {
        if let Some(error) = self.failed.clone() {
            return Err(error);
        }
        let mut at = 0;
        loop {
            match self.step(&mut at) {
                Ok(Some(Step::Joined)) => {
                    if self.run.len() >= RUN_BYTES {
                        return Ok(self.hand_out(at));
                    }
                }
                Ok(Some(Step::Before)) | Ok(None) => return Ok(self.hand_out(at)),
                Ok(Some(Step::Whole(run))) => {
                    if at > 0 {
                        let _ = self.buf.split_to(at);
                    }
                    return Ok(Some(run));
                }
                Err(error) => {
                    self.failed = Some(error.clone());
                    return match self.hand_out(at) {
                        Some(run) => Ok(Some(run)),
                        None => Err(error),
                    };
                }
            }
        }
    }

    /// Whether something waits to be handed out.
    fn is_open(&self) -> bool {
        !self.run.is_empty() || !self.acks.is_empty() || self.malformed > 0 || self.not_logs > 0
    }

    /// Ends the open run and forgets the bytes before `at`.
    fn hand_out(&mut self, at: usize) -> Option<Run> {
        if at > 0 {
            let _ = self.buf.split_to(at);
        }
        let tag = self.tag.clone().filter(|_| self.is_open())?;
        Some(Run {
            tag,
            records: self.run.take(),
            acks: std::mem::take(&mut self.acks),
            malformed: std::mem::take(&mut self.malformed),
            not_logs: std::mem::take(&mut self.not_logs),
        })
    }

    /// Takes the message at `at`; `None` when it is not all there.
    fn step(&mut self, at: &mut usize) -> Result<Option<Step>, SessionError> {
        while self.buf.get(*at) == Some(&0xc0) {
            *at += 1;
        }
        if *at >= self.buf.len() {
            return Ok(None);
        }
        if let Some(walker) = &mut self.partial {
            match walker.walk(&self.buf[*at..]) {
                Ok(_) => self.partial = None,
                Err(Fault::Incomplete { need }) => return self.wait(*at, need).map(|()| None),
                Err(fault) => return Err(SessionError::Msgpack(fault)),
            }
        }
        if let Some(challenge) = &self.challenge {
            return handshake(challenge.clone(), self, at);
        }
        let data = &self.buf[*at..];
        let message = match message::read(data)? {
            Ok(message) => message,
            Err(_) => {
                let mut walker = Box::new(Walker::new(0));
                let need = match walker.walk(data) {
                    Err(Fault::Incomplete { need }) => need,
                    Err(fault) => return Err(SessionError::Msgpack(fault)),
                    Ok(_) => 1,
                };
                self.partial = Some(walker);
                return self.wait(*at, need).map(|()| None);
            }
        };
        if message.len > self.options.message_size_max {
            let limit = self.options.message_size_max;
            return Err(SessionError::TooLarge {
                len: message.len as u64,
                limit,
            });
        }
        let same = self.tag.as_ref().is_some_and(|tag| tag.as_bytes() == message.tag);
        if !same {
            if self.is_open() {
                return Ok(Some(Step::Before));
            }
            self.tag = Some(Tag::new(message.tag).map_err(SessionError::Tag)?);
        }
        let Message {
            body, options, len, ..
        } = message;
        let parts = Parts {
            len,
            ack: options.chunk.map(Bytes::copy_from_slice),
            metadata: options.metadata.map(|raw| raw.to_vec()),
            is_logs: options.signal == Signal::Logs,
            has_options: options.present,
        };
        take(body, parts, self, at).map(Some)
    }

    /// The message at `at` goes on for at least `need` bytes: may it?
    fn wait(&self, at: usize, need: u64) -> Result<(), SessionError> {
        let limit = if self.challenge.is_some() {
            PING_SIZE_MAX
        } else {
            self.options.message_size_max
        };
        let len = (self.buf.len() - at) as u64 + need;
        if len > limit as u64 {
            Err(SessionError::TooLarge { len, limit })
        } else {
            Ok(())
        }
    }
}

/// Answers the first message.
fn handshake(
    challenge: Challenge,
    session: &mut Session,
    at: &mut usize,
) -> Result<Option<Step>, SessionError> {
    let data = &session.buf[*at..];
    let end = match msgpack::skip(data, 0) {
        Ok(end) => end,
        Err(Fault::Incomplete { need }) => return session.wait(*at, need).map(|()| None),
        Err(fault) => return Err(SessionError::Msgpack(fault)),
    };
    if let Some(auth) = &session.options.auth {
        challenge
            .answer(auth, &data[..end], &mut session.out)
            .map_err(SessionError::Auth)?;
    }
    session.challenge = None;
    *at += end;
    Ok(Some(Step::Joined))
}

/// Puts the events of a message where they belong.
fn take(body: Body, parts: Parts, session: &mut Session, at: &mut usize) -> Result<Step, SessionError> {
    let Parts {
        len,
        ack,
        metadata,
        is_logs,
        has_options,
    } = parts;
    let start = *at;
    match body {
        Body::One { time, both, record } => {
            if session.run.is_empty() {
                session
                    .run
                    .reserve((session.buf.len() - start).min(RUN_BYTES) + len);
            }
            let data = &session.buf[start..];
            match metadata {
                Some(metadata) => session.run.push(time, Some(&metadata), &data[record..both.end]),
                None => session.run.push_time_and_body(&data[both]),
            }
            session.acks.extend(ack);
            *at += len;
            Ok(Step::Joined)
        }
        Body::Packed(_) if !is_logs => {
            session.not_logs += 1;
            session.acks.extend(ack);
            *at += len;
            Ok(Step::Joined)
        }
        Body::Entries(range) => entries(session, at, len, range, ack, false),
        Body::Packed(range) => {
            let data = &session.buf[start..];
            let coding = if has_options {
                inflate::coding(&data[range.clone()])
            } else {
                Coding::Plain
            };
            if coding == Coding::Plain {
                return entries(session, at, len, range, ack, true);
            }
            let limit = session.options.message_size_max;
            let payload = inflate::inflate(coding, &data[range], limit).map_err(|error| match error {
                InflateError::Bomb => SessionError::Bomb { limit },
                InflateError::Corrupt => SessionError::Corrupt,
            })?;
            *at += len;
            whole(session, Records::parse_prefix(payload.into()), ack, true)
        }
    }
}

/// Entries that stand in the buffer at `at + range`.
fn entries(
    session: &mut Session,
    at: &mut usize,
    len: usize,
    range: std::ops::Range<usize>,
    ack: Option<Bytes>,
    packed: bool,
) -> Result<Step, SessionError> {
    let bytes = if range.len() >= WHOLE_BYTES {
        if session.is_open() {
            return Ok(Step::Before);
        }
        // The message leaves the buffer; its entries are a slice of it.
        let _ = session.buf.split_to(*at);
        *at = 0;
        session.buf.split_to(len).freeze().slice(range)
    } else {
        let bytes = Bytes::copy_from_slice(&session.buf[*at..][range]);
        *at += len;
        bytes
    };
    whole(session, Records::parse_prefix(bytes), ack, packed)
}

/// Hands out a payload, or joins a small one to the run. A bad entry ends Forward mode; a packed payload
/// keeps what was good before it.
fn whole(
    session: &mut Session,
    (records, fault): (Records, Option<RecordsError>),
    ack: Option<Bytes>,
    packed: bool,
) -> Result<Step, SessionError> {
    let mut acks: Vec<Bytes> = ack.into_iter().collect();
    let mut malformed = 0;
    match fault {
        None if records.is_empty() && packed => return Err(SessionError::EmptyPayload),
        None => {}
        Some(fault) if packed && records.is_empty() => return Err(SessionError::Entry(fault)),
        Some(fault) => {
            // How many entries the rest was meant to hold cannot be known: it counts as one.
            malformed = 1;
            if !packed {
                acks.clear();
                session.failed = Some(SessionError::Entry(fault));
            }
        }
    }
    if records.len() < WHOLE_BYTES && session.failed.is_none() {
        session.run.extend(&records);
        session.acks.append(&mut acks);
        session.malformed += malformed;
        return Ok(Step::Joined);
    }
    // The caller has left the tag of this message in place, and no run is open beside a failure's own prefix.
    let mut run = std::mem::take(&mut session.run);
    run.extend(&records);
    let records = if run.count() == records.count() {
        records
    } else {
        run.take()
    };
    let mut all = std::mem::take(&mut session.acks);
    all.append(&mut acks);
    let Some(tag) = session.tag.clone() else {
        return Ok(Step::Joined);
    };
    let malformed = std::mem::take(&mut session.malformed) + malformed;
    Ok(Step::Whole(Run {
        tag,
        records,
        acks: all,
        malformed,
        not_logs: std::mem::take(&mut session.not_logs),
    }))
}

/// Appends the ack of a raw `chunk` option: `{"ack": chunk}`.
pub fn write_ack(out: &mut Vec<u8>, chunk: &[u8]) {
    msgpack::write_map_head(out, 1);
    msgpack::write_str(out, b"ack");
    out.extend_from_slice(chunk);
}
