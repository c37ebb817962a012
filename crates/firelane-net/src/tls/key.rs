//! Private keys, plain and under a password.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use firelane_conf::units::Secret;
use pkcs8::EncryptedPrivateKeyInfo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::TlsError;

const BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
/// What OpenSSL before 1.0 wrote at the head of an encrypted key.
const OLD: &str = "Proc-Type: 4,ENCRYPTED";

/// What protects the key of a PEM file.
#[derive(Debug, PartialEq, Eq)]
enum Form<'t> {
    /// Nothing.
    Plain,
    /// PKCS#8: the base64 text between the two lines.
    Pkcs8(&'t str),
    /// The old form, whose password can be tried out at full speed.
    Old,
}

fn form(pem: &str) -> Form<'_> {
    if let Some((_, rest)) = pem.split_once(BEGIN) {
        return Form::Pkcs8(rest.split_once(END).map_or(rest, |(text, _)| text));
    }
    if pem.contains(OLD) { Form::Old } else { Form::Plain }
}

/// Whether the key in a PEM text is under a password.
pub(super) fn is_encrypted(pem: &[u8]) -> bool {
    form(&String::from_utf8_lossy(pem)) != Form::Plain
}

/// The first private key of a PEM text; `path` is where it comes from.
pub(super) fn read(
    path: &Path,
    pem: &[u8],
    password: Option<&Secret>,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    let path = || path.to_owned();
    let text = String::from_utf8_lossy(pem);
    let body = match form(&text) {
        Form::Plain => {
            return PrivateKeyDer::from_pem_slice(pem).map_err(|_| TlsError::NoKey { path: path() });
        }
        Form::Old => return Err(TlsError::OldEncryption { path: path() }),
        Form::Pkcs8(body) => body,
    };
    let Some(password) = password else {
        return Err(TlsError::EncryptedKey { path: path() });
    };
    let packed: String = body.split_ascii_whitespace().collect();
    let der = STANDARD
        .decode(packed)
        .map_err(|_| TlsError::NoKey { path: path() })?;
    let info = EncryptedPrivateKeyInfo::try_from(der.as_slice()).map_err(|_| TlsError::BadEncryption {
        path: path(),
        reason: "it is damaged, or its cipher is none of those",
    })?;
    // The crate's reasons tell nothing that these two do not; its text never holds the password.
    let key = info.decrypt(password.expose()).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(
            pkcs8::pkcs5::Error::NoPbes1CryptSupport | pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. },
        ) => TlsError::BadEncryption {
            path: path(),
            reason: "its cipher is none of those",
        },
        _ => TlsError::WrongPassword { path: path() },
    })?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by OpenSSL 3: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 |
    /// openssl pkcs8 -topk8 -passout pass:hunter2`, with the options named. Protects nothing.
    const PBKDF2: &str = include_str!("testdata/pbkdf2-aes256.pem");
    /// `-v2 des3`, as `openssl req` does by itself.
    const DES3: &str = include_str!("testdata/pbkdf2-3des.pem");
    /// `-scrypt -scrypt_N 1024`.
    const SCRYPT: &str = include_str!("testdata/scrypt-aes256.pem");
    /// `-v1 PBE-MD5-DES`, as OpenSSL before 1.1 did.
    const PBES1: &str = include_str!("testdata/pbes1-des.pem");

    fn open(pem: &str, password: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
        let password = password.map(Secret::from);
        read(Path::new("tls.key"), pem.as_bytes(), password.as_ref()).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_that_openssl_encrypted_are_opened() {
        for pem in [PBKDF2, DES3, SCRYPT] {
            let key = open(pem, Some("hunter2")).unwrap();
            rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        }
        let wrong = open(PBKDF2, Some("hunter3")).unwrap_err();
        assert!(
            wrong.contains("`tls.key` is encrypted and `tls.key_passwd`"),
            "{wrong}"
        );
        assert!(!wrong.contains("hunter"), "{wrong}");
        let none = open(PBKDF2, None).unwrap_err();
        assert!(none.contains("set `tls.key_passwd`"), "{none}");
    }

    #[test]
    fn other_encryptions_are_refused_with_the_way_out() {
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n\
            -----END RSA PRIVATE KEY-----\n";
        let cut = PBKDF2.replace("\nMIHs", "\n");
        for pem in [old, PBES1, &cut] {
            let error = open(pem, Some("hunter2")).unwrap_err();
            assert!(error.contains("openssl pkcs8 -topk8"), "{error}");
            assert!(is_encrypted(pem.as_bytes()));
        }
        let garbage = open(&format!("{BEGIN}\n!!!!\n{END}\n"), Some("x")).unwrap_err();
        assert!(garbage.contains("holds no PEM private key"), "{garbage}");
    }
}
