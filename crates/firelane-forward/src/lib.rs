//! The Forward protocol without I/O: bytes go in, runs of events and owed bytes come out.
//!
//! ```text
//! read ──▶ Session::input ──receive──▶ Run { tag, records, acks }   (one tag, to 64 KiB or one payload)
//!                          └─transmit──▶ HELO, PONG                 acks: once the run's ticket has closed
//! ```
//!
//! Limits: a message, a packed payload and what it decompresses to are at most
//! [`ServerOptions::message_size_max`]; before the handshake a message is at most 16 KiB. On bad bytes
//! everything before them is handed out, then the connection ends with a named error. Not here: sockets, TLS,
//! UDP heartbeats, tags' prefixes. Source: the Forward protocol specification v1.5 and what Fluent Bit 5.1
//! does.

pub mod session;

pub mod auth;
mod inflate;
mod message;

pub use auth::Auth;
pub use session::{Run, ServerOptions, Session, SessionError, write_ack};

/// Feeds bytes to a session in two pieces; what comes out must be checked events, whatever goes in.
#[doc(hidden)]
pub fn fuzz_session(data: &[u8]) {
    fuzz(data, None);
}

/// The same behind a handshake. Its random bytes are always 7, so a PING among the seeds may prove the key
/// `key`, and the user `bob` with `pw` where the first byte is odd; that byte is no part of the stream.
#[doc(hidden)]
pub fn fuzz_handshake(data: &[u8]) {
    let Some((first, data)) = data.split_first() else {
        return;
    };
    let users = (first % 2 == 1).then(|| ("bob".to_string(), b"pw".to_vec()));
    let auth = Auth {
        shared_key: b"key".to_vec(),
        users: users.into_iter().collect(),
        self_hostname: "server".into(),
    };
    fuzz(data, Some(auth));
}

fn fuzz(data: &[u8], auth: Option<Auth>) {
    let options = std::sync::Arc::new(ServerOptions {
        message_size_max: 64 * 1024,
        auth,
    });
    let mut session = Session::new(options, [7; 32]);
    let (head, tail) = data.split_at(data.len() / 2);
    for piece in [head, tail] {
        session.input().extend_from_slice(piece);
        loop {
            match session.receive() {
                Ok(Some(run)) => {
                    assert!(!session.is_greeting(), "events before the key was proved");
                    let again = firelane_record::Records::parse(run.records.bytes().clone());
                    assert_eq!(again.map(|records| records.count()), Ok(run.records.count()));
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(!error.kind().is_empty());
                    return;
                }
            }
        }
    }
}
