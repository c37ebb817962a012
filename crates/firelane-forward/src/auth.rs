//! The handshake: HELO, PING, PONG. H() is SHA-512 in lower-case hex over plain concatenation.
//!
//! Digests are compared in a time that depends on their lengths alone.
//!
//! The nonce and the user salt are written as `bin`: Node's clients fail on Fluent Bit's `str`. Either form
//! is read.

use firelane_record::msgpack::{self, Reader, Token};
use sha2::{Digest, Sha512};
use subtle::{Choice, ConstantTimeEq};

/// What a server asks of its clients.
#[derive(Clone)]
pub struct Auth {
    /// The shared key; may be empty (`empty_shared_key`).
    pub shared_key: Vec<u8>,
    /// Users and passwords; empty: none is asked for.
    pub users: Vec<(String, Vec<u8>)>,
    /// The server's own name, part of its digest.
    pub self_hostname: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("users", &self.users.len())
            .field("self_hostname", &self.self_hostname)
            .finish()
    }
}

/// Why a PING was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Not an array of six that starts with PING.
    #[error("the first message is not a PING")]
    NotPing,
    /// The digest of the shared key is wrong.
    #[error("the shared key does not match")]
    SharedKey,
    /// User or password are wrong.
    #[error("user or password do not match")]
    User,
}

impl AuthError {
    /// The reason in the PONG, as Fluentd writes it.
    fn reason(self) -> &'static str {
        match self {
            Self::NotPing => "invalid ping message",
            Self::SharedKey => "shared_key mismatch",
            Self::User => "username/password mismatch",
        }
    }
}

/// SHA-512 of `parts` behind each other, as 128 hex characters.
pub fn digest(parts: &[&[u8]]) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut hash = Sha512::new();
    for part in parts {
        hash.update(part);
    }
    let mut out = String::with_capacity(128);
    for byte in hash.finalize() {
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
    out
}

/// The nonce and the user salt of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Challenge {
    nonce: [u8; 16],
    salt: [u8; 16],
}

impl Challenge {
    /// From random bytes.
    pub(crate) fn new(random: [u8; 32]) -> Self {
        let (mut nonce, mut salt) = ([0; 16], [0; 16]);
        nonce.copy_from_slice(&random[..16]);
        salt.copy_from_slice(&random[16..]);
        Self { nonce, salt }
    }

    /// Appends the HELO.
    pub(crate) fn helo(&self, auth: &Auth, out: &mut Vec<u8>) {
        msgpack::write_array_head(out, 2);
        msgpack::write_str(out, b"HELO");
        msgpack::write_map_head(out, 3);
        msgpack::write_str(out, b"nonce");
        msgpack::write_bin(out, &self.nonce);
        msgpack::write_str(out, b"auth");
        msgpack::write_bin(out, if auth.users.is_empty() { b"" } else { &self.salt });
        msgpack::write_str(out, b"keepalive");
        msgpack::write_bool(out, true);
    }

    /// Checks a PING and appends the PONG, good or bad.
    pub(crate) fn answer(&self, auth: &Auth, ping: &[u8], out: &mut Vec<u8>) -> Result<(), AuthError> {
        let checked = self.check(auth, ping);
        msgpack::write_array_head(out, 5);
        msgpack::write_str(out, b"PONG");
        msgpack::write_bool(out, checked.is_ok());
        match &checked {
            Ok(client_salt) => {
                msgpack::write_str(out, b"");
                msgpack::write_str(out, auth.self_hostname.as_bytes());
                let parts = [
                    client_salt,
                    auth.self_hostname.as_bytes(),
                    &self.nonce,
                    &auth.shared_key,
                ];
                msgpack::write_str(out, digest(&parts).as_bytes());
            }
            Err(error) => {
                msgpack::write_str(out, error.reason().as_bytes());
                msgpack::write_str(out, b"");
                msgpack::write_str(out, b"");
            }
        }
        checked.map(|_| ())
    }

    /// The client's salt, if the PING proves key and user.
    fn check<'p>(&self, auth: &Auth, ping: &'p [u8]) -> Result<&'p [u8], AuthError> {
        let mut reader = Reader::new(ping);
        if reader.token() != Some(Token::Array(6)) {
            return Err(AuthError::NotPing);
        }
        let mut next = || match reader.token() {
            Some(Token::Str(text) | Token::Bin(text)) => Ok(text),
            _ => Err(AuthError::NotPing),
        };
        let [word, host, salt, key, user, password] = [next()?, next()?, next()?, next()?, next()?, next()?];
        if word != b"PING" {
            return Err(AuthError::NotPing);
        }
        let want = digest(&[salt, host, &self.nonce, &auth.shared_key]);
        if !bool::from(want.as_bytes().ct_eq(key)) {
            return Err(AuthError::SharedKey);
        }
        if auth.users.is_empty() {
            return Ok(salt);
        }
        // Every user is compared, and names by their digests, so that the time does not tell which exist.
        let given = digest(&[&self.salt, user]);
        let mut found = Choice::from(0);
        for (name, secret) in &auth.users {
            let known = digest(&[&self.salt, name.as_bytes()]);
            let want = digest(&[&self.salt, name.as_bytes(), secret]);
            found |= known.as_bytes().ct_eq(given.as_bytes()) & want.as_bytes().ct_eq(password);
        }
        if found.into() {
            Ok(salt)
        } else {
            Err(AuthError::User)
        }
    }
}
