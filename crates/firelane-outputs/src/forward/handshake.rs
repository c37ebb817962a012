//! HELO, PING, PONG as the client sees them. Pure: bytes in, bytes out.

use std::fmt::Write as _;

use firelane_record::msgpack::{self, Reader, Token};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

/// What proves who we are.
pub(super) struct Credentials {
    pub(super) shared_key: String,
    pub(super) hostname: String,
    pub(super) username: String,
    pub(super) password: String,
}

/// What the server said first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Helo {
    nonce: Vec<u8>,
    auth: Vec<u8>,
    /// Whether it takes more than one message per connection.
    pub(super) keepalive: bool,
}

/// Why a server is not the one that we look for, or does not want us.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HandshakeError {
    /// Not the expected message.
    #[error("the server's {0} makes no sense")]
    Malformed(&'static str),
    /// It said no.
    #[error("the server refuses us: {0}")]
    Refused(String),
    /// It does not know the shared key itself.
    #[error("the server does not know the shared key")]
    Impostor,
}

/// Reads `["HELO", {"nonce", "auth", "keepalive"}]`; strings and binaries mean the same, what is missing is
/// empty or true.
pub(super) fn read_helo(raw: &[u8]) -> Result<Helo, HandshakeError> {
    let bad = HandshakeError::Malformed("HELO");
    let mut reader = Reader::new(raw);
    let (Some(Token::Array(2)), Some(Token::Str(b"HELO"))) = (reader.token(), reader.token()) else {
        return Err(bad);
    };
    let options = raw.get(reader.at()..).unwrap_or_default();
    if !matches!(msgpack::read(options), Some((Token::Map(_), _))) {
        return Err(bad);
    }
    let mut helo = Helo {
        nonce: Vec::new(),
        auth: Vec::new(),
        keepalive: true,
    };
    for (key, value) in msgpack::pairs(options) {
        let bytes = || msgpack::text(value).unwrap_or_default().to_vec();
        match msgpack::text(key) {
            Some(b"nonce") => helo.nonce = bytes(),
            Some(b"auth") => helo.auth = bytes(),
            Some(b"keepalive") => {
                helo.keepalive = !matches!(msgpack::read(value), Some((Token::Bool(false), _)))
            }
            _ => {}
        }
    }
    Ok(helo)
}

/// `["PING", hostname, salt, digest of the key, username, digest of the password]`
pub(super) fn ping(own: &Credentials, helo: &Helo, salt: &[u8]) -> Vec<u8> {
    let digest = hex(&[
        salt,
        own.hostname.as_bytes(),
        &helo.nonce,
        own.shared_key.as_bytes(),
    ]);
    let password = match helo.auth.is_empty() {
        true => String::new(),
        false => hex(&[&helo.auth, own.username.as_bytes(), own.password.as_bytes()]),
    };
    let user = if helo.auth.is_empty() { "" } else { &own.username };
    let mut out = vec![0x96];
    for text in [
        b"PING",
        own.hostname.as_bytes(),
        salt,
        digest.as_bytes(),
        user.as_bytes(),
        password.as_bytes(),
    ] {
        msgpack::write_str(&mut out, text);
    }
    out
}

/// Reads `["PONG", accepted, reason, hostname, digest]` and checks that the server knows the key too.
pub(super) fn read_pong(
    raw: &[u8],
    own: &Credentials,
    helo: &Helo,
    salt: &[u8],
) -> Result<(), HandshakeError> {
    let bad = HandshakeError::Malformed("PONG");
    let mut reader = Reader::new(raw);
    let (Some(Token::Array(5)), Some(Token::Str(b"PONG"))) = (reader.token(), reader.token()) else {
        return Err(bad);
    };
    let Some(Token::Bool(accepted)) = reader.token() else {
        return Err(bad);
    };
    let mut text = || msgpack::text(reader.value()?);
    let (Some(reason), Some(hostname), Some(digest)) = (text(), text(), text()) else {
        return Err(bad);
    };
    if !accepted {
        return Err(HandshakeError::Refused(
            String::from_utf8_lossy(reason).into_owned(),
        ));
    }
    let want = hex(&[salt, hostname, &helo.nonce, own.shared_key.as_bytes()]);
    if want.as_bytes().ct_eq(digest).into() {
        Ok(())
    } else {
        Err(HandshakeError::Impostor)
    }
}

/// SHA-512 of the parts behind each other, as lower-case hex.
fn hex(parts: &[&[u8]]) -> String {
    let mut hash = Sha512::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize()
        .iter()
        .fold(String::with_capacity(128), |mut out, byte| {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Credentials {
        Credentials {
            shared_key: "key".to_owned(),
            hostname: "me".to_owned(),
            username: "u".to_owned(),
            password: "p".to_owned(),
        }
    }

    fn pong(accepted: bool, digest: &str) -> Vec<u8> {
        let mut out = vec![0x95];
        msgpack::write_str(&mut out, b"PONG");
        msgpack::write_bool(&mut out, accepted);
        for text in ["no such user", "server", digest] {
            msgpack::write_str(&mut out, text.as_bytes());
        }
        out
    }

    #[test]
    fn helo_is_read_in_every_form() {
        let want = Helo {
            nonce: b"nn".to_vec(),
            auth: Vec::new(),
            keepalive: true,
        };
        assert_eq!(read_helo(b"\x92\xa4HELO\x81\xa5nonce\xc4\x02nn"), Ok(want));
        let full = read_helo(b"\x92\xa4HELO\x83\xa5nonce\xa2nn\xa4auth\xa1a\xa9keepalive\xc2").unwrap();
        assert_eq!((&full.auth[..], full.keepalive), (&b"a"[..], false));
        assert_eq!(
            read_helo(b"\x81\xa3ack\xa1x"),
            Err(HandshakeError::Malformed("HELO"))
        );
        assert_eq!(read_helo(b""), Err(HandshakeError::Malformed("HELO")));
    }

    #[test]
    fn users_are_named_only_where_the_server_asks() {
        let asks = read_helo(b"\x92\xa4HELO\x82\xa5nonce\xa2nn\xa4auth\xa1a").unwrap();
        let asks_not = read_helo(b"\x92\xa4HELO\x82\xa5nonce\xa2nn\xa4auth\xa0").unwrap();
        assert!(ping(&own(), &asks, b"salt").starts_with(b"\x96\xa4PING\xa2me\xa4salt\xd9\x80"));
        assert!(ping(&own(), &asks_not, b"salt").ends_with(b"\xa0\xa0"));
    }

    #[test]
    fn only_the_server_that_knows_the_key_is_believed() {
        let helo = read_helo(b"\x92\xa4HELO\x81\xa5nonce\xa2nn").unwrap();
        let check = |raw: &[u8]| read_pong(raw, &own(), &helo, b"salt");
        let good = hex(&[b"salt", b"server", b"nn", b"key"]);
        assert_eq!(check(&pong(true, &good)), Ok(()));
        assert_eq!(check(&pong(true, "00")), Err(HandshakeError::Impostor));
        let refused = HandshakeError::Refused("no such user".to_owned());
        assert_eq!(check(&pong(false, "")), Err(refused));
        assert_eq!(check(b"\x90"), Err(HandshakeError::Malformed("PONG")));
    }

    #[test]
    fn digests_are_sha512_in_hex() {
        let empty = hex(&[]);
        assert!(
            empty.starts_with("cf83e1357eefb8bdf1542850d66d8007d620e405"),
            "{empty}"
        );
        assert_eq!(hex(&[b"a", b"b"]), hex(&[b"ab"]));
    }
}
