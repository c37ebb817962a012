//! `forward`: the Forward protocol over TCP or a unix socket, as Docker's `fluentd` driver, Fluentd, Fluent
//! Bit and the fluent-logger clients speak it.
//!
//! Limits: a message or payload of at most `buffer_max_size`. Under back-pressure it stops reading and keeps
//! every connection (Fluent Bit closes them all). Acks are sent when the records are in the log. A fault ends
//! the one connection it came from; what came before it is kept. Not here: UDP heartbeats.
//!
//! A silent client is never closed, with two exceptions: before it has proved the key it has
//! `net.accept_timeout`; and a message of 64 KiB or more that nobody ends gives way after a minute, once
//! more than 64 MiB of such are held.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use firelane_conf::Diagnostic;
use firelane_conf::units::{ByteSize, Login, OnOff, Secret};
use firelane_core::{
    AckOn, BoxFuture, BuildCx, Input, InputConfig, InputCx, InputError, InputPlugin, Reason, Stability,
    Ticket, TicketError,
};
use firelane_forward::{Auth, Run, ServerOptions, Session, write_ack};
use firelane_net::limits::Part;
use firelane_net::listen::{ListenAddr, Peer, parse_unix_perm};
use firelane_net::{Stream, Unfinished, tls};
use firelane_record::Tag;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::serve::{Got, Server, read, refuse, without_effect};

/// The plugin.
pub static PLUGIN: InputPlugin = InputPlugin::new::<Config>(
    "forward",
    "Forward protocol over TCP or a unix socket",
    Stability::Stable,
)
.network();

/// Properties of `[INPUT] Name forward`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Config {
    /// Address to listen on.
    #[serde(default = "any_address")]
    listen: String,
    /// Port to listen on.
    #[serde(default = "default_port")]
    port: u16,
    /// Path of a unix socket; `listen` and `port` are then not used.
    unix_path: Option<String>,
    /// Permissions of the unix socket, in octal, for example `0666`.
    unix_perm: Option<String>,
    /// Text put in front of every tag, without a dot between; wins over `tag`.
    tag_prefix: Option<String>,
    /// Key of the handshake.
    shared_key: Option<Secret>,
    /// Handshake with the empty key.
    #[serde(default)]
    empty_shared_key: OnOff,
    /// Name of this server in the handshake.
    #[serde(default = "localhost")]
    self_hostname: String,
    /// `user password`; repeatable.
    #[serde(default, rename = "security.users")]
    users: Vec<Login>,
    /// Buffers grow by themselves: no effect.
    #[expect(dead_code, reason = "named in a warning")]
    buffer_chunk_size: Option<ByteSize>,
    /// Largest message, payload and decompressed payload.
    #[serde(default = "default_max")]
    buffer_max_size: ByteSize,
    /// Every connection is a task of its own: no effect.
    #[expect(dead_code, reason = "named in a warning")]
    workers: Option<u32>,
    /// Used by clients only: no effect.
    #[expect(dead_code, reason = "named in a warning")]
    host: Option<String>,
}

fn any_address() -> String {
    "0.0.0.0".into()
}

fn default_port() -> u16 {
    24224
}

fn localhost() -> String {
    "localhost".into()
}

fn default_max() -> ByteSize {
    ByteSize(6_144_000)
}

const UNUSED: &[(&str, &str)] = &[
    (
        "buffer_chunk_size",
        "buffers grow with what comes, up to 128 KiB and the open message",
    ),
    ("workers", "every connection is a task of its own"),
    ("host", "a server listens on `listen`"),
];

impl InputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Box<dyn Input>, Vec<Diagnostic>> {
        without_effect(cx, UNUSED);
        let address = self.address(cx).map_err(|error| vec![error])?;
        let auth = self.auth(cx).map_err(|error| vec![error])?;
        let message_size_max = usize::try_from(self.buffer_max_size.0)
            .unwrap_or(usize::MAX)
            .max(1024);
        Ok(Box::new(Forward {
            server: Server::read(cx, address)?,
            options: Arc::new(ServerOptions {
                message_size_max,
                auth,
            }),
            prefix: self.tag_prefix.map(String::into_bytes),
        }))
    }
}

impl Config {
    fn address(&self, cx: &BuildCx<'_>) -> Result<ListenAddr, Diagnostic> {
        let Some(path) = &self.unix_path else {
            return Ok(ListenAddr::tcp(&self.listen, self.port));
        };
        let perm = self.unix_perm.as_deref().map(parse_unix_perm).transpose();
        let perm = perm.map_err(|error| refuse(cx, "unix_perm", &error.to_string()))?;
        Ok(ListenAddr::unix(path, perm))
    }

    fn auth(&self, cx: &BuildCx<'_>) -> Result<Option<Auth>, Diagnostic> {
        let key = match (&self.shared_key, self.empty_shared_key.0) {
            (Some(key), _) => key.expose().as_bytes().to_vec(),
            (None, true) => Vec::new(),
            (None, false) if self.users.is_empty() => return Ok(None),
            (None, false) => {
                let error = refuse(cx, "security.users", "users need a handshake");
                return Err(error.help("add `Shared_Key`, or `Empty_Shared_Key on`"));
            }
        };
        let users = self.users.iter();
        let users = users.map(|login| (login.user.clone(), login.password.expose().as_bytes().to_vec()));
        Ok(Some(Auth {
            shared_key: key,
            users: users.collect(),
            self_hostname: self.self_hostname.clone(),
        }))
    }
}

struct Forward {
    server: Server,
    options: Arc<ServerOptions>,
    prefix: Option<Vec<u8>>,
}

impl Input for Forward {
    fn open(&mut self) -> BoxFuture<'_, Result<(), InputError>> {
        Box::pin(self.server.open())
    }

    fn run(self: Box<Self>, cx: InputCx) -> BoxFuture<'static, Result<(), InputError>> {
        let Self {
            server,
            options,
            prefix,
        } = *self;
        let prefix = Arc::new(prefix);
        let greeting_max = server.handshake_limit();
        let unfinished = Unfinished::new(Unfinished::MARK);
        Box::pin(server.run(cx, move |stream, peer, cx| {
            let tags = Tags {
                prefix: prefix.clone(),
                fixed: cx.tag_given.clone(),
                last: None,
            };
            let (options, unfinished) = (options.clone(), unfinished.part());
            async move {
                let random = match tls::random() {
                    Ok(random) => random,
                    Err(error) => {
                        tracing::warn!(target: "input", instance = %cx.name, %error, "connection refused");
                        return;
                    }
                };
                let connection = Connection {
                    stream,
                    session: Session::new(options, random),
                    tags,
                    acks: VecDeque::new(),
                    greeting_max,
                    unfinished,
                    since: Instant::now(),
                };
                connection.run(peer, cx).await;
            }
        }))
    }
}

/// The tag of a run: `tag_prefix` before the sender's tag, else the fixed `tag`, else the sender's.
struct Tags {
    prefix: Arc<Option<Vec<u8>>>,
    fixed: Option<Tag>,
    /// The last tag of the sender and what became of it.
    last: Option<(Tag, Tag)>,
}

impl Tags {
    fn of(&mut self, sent: &Tag) -> Tag {
        match (self.prefix.as_ref(), &self.fixed) {
            (None, None) => sent.clone(),
            (None, Some(fixed)) => fixed.clone(),
            (Some(prefix), _) => match &self.last {
                Some((known, tag)) if known == sent => tag.clone(),
                _ => {
                    // A tag that grows over the limit stays as it was sent.
                    let joined =
                        Tag::new([prefix, sent.as_bytes()].concat()).unwrap_or_else(|_| sent.clone());
                    self.last = Some((sent.clone(), joined.clone()));
                    joined
                }
            },
        }
    }
}

/// Runs whose ack is still owed; beyond this many the connection is not read.
const ACKS_MAX: usize = 256;

/// Waits until the ticket closes; without one, for ever.
async fn closed(ticket: Option<&Ticket>) -> Result<(), TicketError> {
    match ticket {
        Some(ticket) => ticket.wait().await,
        None => std::future::pending().await,
    }
}

/// From this size on a message that does not end may give way. Docker's are smaller.
const STALLED_MIN: usize = 64 * 1024;
/// Longest time without the end of a message while too much is unfinished.
const STALLED_MAX: Duration = Duration::from_secs(60);
/// Longest time for the last word to a peer whose bytes were bad.
const LAST_WORD_MAX: Duration = Duration::from_secs(10);

/// Waits until then; without a time, for ever.
async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

struct Connection {
    stream: Stream,
    session: Session,
    tags: Tags,
    acks: VecDeque<(Ticket, Vec<Bytes>)>,
    /// Longest handshake.
    greeting_max: Duration,
    /// Our bytes of a message that has not ended.
    unfinished: Part,
    /// When we began to wait for the peer: at the start, at the end of a message, after our own delays.
    since: Instant,
}

/// Why a connection is over.
enum End {
    /// Hung up, or told to stop.
    Done,
    /// The socket failed.
    Io(io::Error),
    /// The peer's bytes are bad.
    Fault(firelane_forward::SessionError),
    /// The engine takes no more.
    Stopped,
    /// No handshake within the time.
    Slow(Duration),
    /// A message that does not end, while memory is tight.
    Stalled,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Connection {
    async fn run(mut self, peer: Peer, cx: InputCx) {
        let end = match self.serve(&cx).await {
            Ok(()) => End::Done,
            Err(end) => end,
        };
        let fragment = self.session.fragment();
        if fragment > 0 && !matches!(end, End::Fault(_) | End::Slow(_)) {
            // The rest of the message never came: what is here of it was no record yet, and was never acked.
            cx.counts.faults.add(1);
            tracing::warn!(target: "input", instance = %cx.name, %peer, bytes = fragment,
                "connection ended inside a message, which is lost");
        }
        match end {
            End::Done | End::Stopped => {}
            End::Io(error) => {
                tracing::debug!(target: "input", instance = %cx.name, %peer, %error, "connection lost");
            }
            End::Fault(fault) => {
                cx.counts.faults.add(1);
                tracing::warn!(target: "input", instance = %cx.name, %peer, kind = fault.kind(), error = %fault,
                    "bad data, connection closed");
                // What is owed (a PONG that says no) goes out first, if the peer takes it.
                let _ = tokio::time::timeout(LAST_WORD_MAX, self.transmit()).await;
            }
            End::Slow(limit) => {
                cx.counts.faults.add(1);
                tracing::warn!(target: "input", instance = %cx.name, %peer, seconds = limit.as_secs_f32(),
                    "no handshake within `net.accept_timeout`, connection closed");
            }
            End::Stalled => {
                tracing::warn!(target: "input", instance = %cx.name, %peer, seconds = STALLED_MAX.as_secs(),
                    "a message did not end while many others are unfinished, connection closed");
            }
        }
    }

    async fn serve(&mut self, cx: &InputCx) -> Result<(), End> {
        let stream = cx.ingest.stream(AckOn::Append);
        loop {
            self.transmit().await?;
            let may_read = self.acks.len() < ACKS_MAX;
            let front = self.acks.front().map(|(ticket, _)| ticket.clone());
            let deadline = self.deadline(may_read);
            let got = tokio::select! {
                got = read(&mut self.stream, self.session.input(), cx), if may_read => got?,
                closed = closed(front.as_ref()) => {
                    // Records that were given up are not acknowledged, nor is anything behind them.
                    closed.map_err(|_| End::Stopped)?;
                    self.write_acks();
                    continue;
                }
                () = reached(deadline) => {
                    self.overdue()?;
                    continue;
                }
            };
            if got == Got::Bytes {
                self.receive(&stream, cx).await?;
                continue;
            }
            // Nothing more comes; what is owed is still paid.
            while let Some((ticket, _)) = self.acks.front() {
                let ticket = ticket.clone();
                tokio::select! {
                    closed = ticket.wait() => closed.map_err(|_| End::Stopped)?,
                    () = cx.stop.over() => return Err(End::Stopped),
                }
                self.write_acks();
            }
            self.transmit().await?;
            return Ok(());
        }
    }

    /// When the peer must have said more.
    fn deadline(&mut self, may_read: bool) -> Option<Instant> {
        if self.session.is_greeting() {
            return Some(self.since + self.greeting_max);
        }
        let fragment = self.session.fragment();
        self.unfinished.set(fragment);
        if !may_read {
            // It is us who do not read.
            self.since = Instant::now();
            return None;
        }
        (fragment >= STALLED_MIN).then(|| self.since + STALLED_MAX)
    }

    /// The deadline has passed: is that the end?
    fn overdue(&mut self) -> Result<(), End> {
        if self.session.is_greeting() {
            return Err(End::Slow(self.greeting_max));
        }
        if self.unfinished.is_over() {
            return Err(End::Stalled);
        }
        // There is room: asked again later.
        self.since = Instant::now();
        Ok(())
    }

    /// Appends every run that the buffer holds.
    async fn receive(&mut self, stream: &firelane_core::Stream, cx: &InputCx) -> Result<(), End> {
        loop {
            let run = match self.session.receive() {
                Ok(Some(run)) => run,
                Ok(None) => break,
                Err(fault) => {
                    self.write_acks();
                    return Err(End::Fault(fault));
                }
            };
            let Run {
                tag,
                records,
                acks,
                malformed,
                not_logs,
            } = run;
            cx.counts.received.add(malformed + not_logs);
            cx.counts.dropped.add(Reason::Malformed, malformed);
            cx.counts.dropped.add(Reason::NotLogs, not_logs);
            let tag = self.tags.of(&tag);
            let ticket = cx.append(stream, &tag, records).await.map_err(|_| End::Stopped)?;
            self.since = Instant::now();
            if !acks.is_empty() {
                self.acks.push_back((ticket, acks));
            }
        }
        self.write_acks();
        Ok(())
    }

    /// Puts the acks of closed tickets into the session's owed bytes, in order.
    fn write_acks(&mut self) {
        while self.acks.front().is_some_and(|(ticket, _)| ticket.is_closed()) {
            if let Some((_, acks)) = self.acks.pop_front() {
                for ack in acks {
                    write_ack(self.session.transmit(), &ack);
                }
            }
        }
    }

    async fn transmit(&mut self) -> io::Result<()> {
        let owed = self.session.transmit();
        if !owed.is_empty() {
            let owed = std::mem::take(owed);
            self.stream.write_all(&owed).await?;
            self.stream.flush().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection in which `bytes` of a message stand, while `mark` may be unfinished.
    async fn connection(bytes: usize, mark: usize) -> (Connection, tokio::net::TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let options = ServerOptions {
            message_size_max: 1 << 20,
            auth: None,
        };
        let mut session = Session::new(options.into(), [0; 32]);
        session.input().resize(bytes, 0x91);
        let connection = Connection {
            stream: Stream::Tcp(listener.accept().await.unwrap().0),
            session,
            tags: Tags {
                prefix: Arc::new(None),
                fixed: None,
                last: None,
            },
            acks: VecDeque::new(),
            greeting_max: Duration::from_secs(1),
            unfinished: Unfinished::new(mark).part(),
            since: Instant::now(),
        };
        (connection, client)
    }

    #[tokio::test]
    async fn large_messages_that_stall_give_way_when_there_are_many() {
        let (mut tight, _client) = connection(STALLED_MIN, STALLED_MIN - 1).await;
        assert!(tight.deadline(true).is_some());
        assert!(matches!(tight.overdue(), Err(End::Stalled)));
        let (mut roomy, _client) = connection(STALLED_MIN, STALLED_MIN).await;
        assert!(roomy.deadline(true).is_some());
        assert!(roomy.overdue().is_ok());
        // While it is us who do not read, and for messages of Docker's size, there is no deadline.
        assert!(roomy.deadline(false).is_none());
        let (mut small, _client) = connection(STALLED_MIN - 1, 0).await;
        assert!(small.deadline(true).is_none());
    }
}
