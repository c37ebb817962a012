//! Messages of a chunk over a connection: handshake when it is new, then the bytes, then the
//! acknowledgements.

use std::sync::Arc;

use firelane_core::{BoxFuture, Cause, CauseKind, Chunk, DeliverCx, GroupBy, Limits, Outcome, Output};
use firelane_record::msgpack;
use firelane_record::set::RecordSet;

use super::encode::{Encoder, Messages, read_ack};
use super::handshake::{Credentials, HandshakeError, ping, read_helo, read_pong};
use crate::wire::{Connection, Wire, kind_of};

/// Longest HELO, PONG or acknowledgement.
const ANSWER_MAX: usize = 16 * 1024;
/// Bytes of the salt, as Fluent Bit's.
const SALT_LEN: usize = 16;

pub(super) struct Forward {
    pub(super) limits: Limits,
    pub(super) wire: Wire,
    pub(super) encoder: Arc<Encoder>,
    /// Where a handshake is wanted.
    pub(super) credentials: Option<Credentials>,
    pub(super) group_by: GroupBy,
}

impl Forward {
    async fn send(&self, chunk: Chunk, cx: DeliverCx) -> Outcome {
        let encoder = self.encoder.clone();
        let Some(messages) = cx.encode(&chunk, move |chunk| encoder.encode(chunk)).await else {
            return Outcome::retry(Cause::new(CauseKind::Panic, "the encoder panicked"));
        };
        if messages.acks.is_empty() {
            return Outcome::Delivered;
        }
        let mut done = RecordSet::none();
        match self.exchange(&messages, &mut done).await {
            Ok(()) => Outcome::Delivered,
            Err(why) => Outcome::Retry {
                done,
                refused: RecordSet::none(),
                after: None,
                why,
            },
        }
    }

    async fn exchange(&self, messages: &Messages, done: &mut RecordSet) -> Result<(), Cause> {
        let _turn = self.wire.turn().await;
        let (mut connection, keepalive) = match self.wire.reuse().await {
            Some(connection) => (connection, true),
            None => self.connect().await?,
        };
        if let Err(broken) = connection.write(&messages.bytes, self.wire.io_limit()).await {
            // A message that was cut off cannot have been taken.
            let whole = match messages.acks.len() {
                1 => broken.written >= messages.bytes.len(),
                _ => broken.written > 0,
            };
            let mut why = self.cause(kind_of(&broken.source), &broken.source.to_string());
            why.ambiguous = whole;
            return Err(why);
        }
        self.acknowledged(&mut connection, messages, done).await?;
        if keepalive {
            self.wire.give_back(connection).await;
        } else {
            connection.close().await;
        }
        Ok(())
    }

    /// Waits for every acknowledgement that was asked for; they come in order.
    async fn acknowledged(
        &self,
        connection: &mut Connection,
        messages: &Messages,
        done: &mut RecordSet,
    ) -> Result<(), Cause> {
        let mut buffer = Vec::new();
        for (id, covers) in &messages.acks {
            let Some(id) = id else { continue };
            let lost = |mut why: Cause| {
                why.ambiguous = true;
                why
            };
            let end = self
                .answer(connection, &mut buffer, "acknowledgement")
                .await
                .map_err(lost)?;
            match read_ack(&buffer) {
                Ok(Some((got, _))) if got == id.as_bytes() => {}
                Ok(_) => {
                    return Err(lost(
                        self.cause(CauseKind::Protocol, "it acknowledges another message"),
                    ));
                }
                Err(text) => return Err(lost(self.cause(CauseKind::Protocol, text))),
            }
            buffer.drain(..end);
            if messages.acks.len() > 1 {
                *done = done.union(covers);
            }
        }
        Ok(())
    }

    /// A new connection, with its handshake done; also whether it may be used again.
    async fn connect(&self) -> Result<(Connection, bool), Cause> {
        let mut connection = self.wire.open().await?;
        let Some(own) = &self.credentials else {
            return Ok((connection, true));
        };
        let refused = |error: HandshakeError| self.cause(CauseKind::Auth, &error.to_string());
        let mut buffer = Vec::new();
        let end = self.answer(&mut connection, &mut buffer, "HELO").await?;
        let helo = read_helo(&buffer[..end]).map_err(refused)?;
        buffer.drain(..end);
        let salt = salt().map_err(|error| self.cause(CauseKind::Io, &error.to_string()))?;
        let written = connection
            .write(&ping(own, &helo, &salt), self.wire.io_limit())
            .await;
        written.map_err(|broken| self.cause(kind_of(&broken.source), &broken.source.to_string()))?;
        let end = self
            .answer(&mut connection, &mut buffer, "PONG (is the shared key right?)")
            .await?;
        read_pong(&buffer[..end], own, &helo, &salt).map_err(refused)?;
        Ok((connection, helo.keepalive))
    }

    /// Reads until `buffer` begins with a whole value, and gives its length.
    async fn answer(
        &self,
        connection: &mut Connection,
        buffer: &mut Vec<u8>,
        what: &str,
    ) -> Result<usize, Cause> {
        let mut piece = [0; 1024];
        loop {
            match msgpack::skip(buffer, 0) {
                Ok(end) if end <= buffer.len() => return Ok(end),
                Err(msgpack::Fault::Incomplete { .. }) if buffer.len() < ANSWER_MAX => {}
                _ => return Err(self.cause(CauseKind::Protocol, &format!("its {what} makes no sense"))),
            }
            match connection.read(&mut piece, self.wire.io_limit()).await {
                Ok(0) => {
                    let text = format!("it closed the connection in place of its {what}");
                    return Err(self.cause(CauseKind::Unavailable, &text));
                }
                Ok(n) => buffer.extend_from_slice(&piece[..n]),
                Err(error) => return Err(self.cause(kind_of(&error), &format!("no {what}: {error}"))),
            }
        }
    }

    fn cause(&self, kind: CauseKind, text: &str) -> Cause {
        Cause::new(kind, format!("{}: {text}", self.wire.place()))
    }
}

/// Text of 16 characters that cannot be foreseen. Letters only, so that every server reads it as a string.
fn salt() -> std::io::Result<[u8; SALT_LEN]> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let random = firelane_net::tls::random::<SALT_LEN>()?;
    Ok(random.map(|byte| LETTERS[usize::from(byte & 63)]))
}

impl Output for Forward {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn group_by(&self) -> GroupBy {
        self.group_by
    }

    fn deliver(&self, chunk: Chunk, cx: DeliverCx) -> BoxFuture<'_, Outcome> {
        Box::pin(self.send(chunk, cx))
    }
}
