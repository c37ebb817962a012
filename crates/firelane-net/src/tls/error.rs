//! Why TLS cannot be set up.

use std::path::PathBuf;

/// Why TLS cannot be set up. Each names the file or property and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file or folder cannot be read.
    #[error("cannot read `{}`: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A PEM file without a certificate.
    #[error("`{}` holds no PEM certificate; expected `-----BEGIN CERTIFICATE-----`", .path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A certificate that cannot be used.
    #[error("`{}` holds an unusable certificate: {reason}", .path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A PEM file without a private key.
    #[error("`{}` holds no PEM private key (PKCS#8, PKCS#1 or SEC1)", .path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A private key under a password that is not given.
    #[error("`{}` is encrypted: set `tls.key_passwd`, for example to `${{KEY_PASSWD}}`", .path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// A private key under another password.
    #[error("`{}` is encrypted and `tls.key_passwd` does not open it; check the password", .path.display())]
    WrongPassword {
        /// The file.
        path: PathBuf,
    },
    /// A private key that is encrypted in the way of old OpenSSL.
    #[error(
        "`{}` is encrypted in the old PEM form (`Proc-Type: 4,ENCRYPTED`), which is not supported; convert it \
         once with `openssl pkcs8 -topk8 -in OLD -out NEW`",
        .path.display()
    )]
    OldEncryption {
        /// The file.
        path: PathBuf,
    },
    /// A private key whose encryption is not supported.
    #[error(
        "`{}` is not encrypted with PBES2 (AES or 3DES; PBKDF2 with SHA-2, or scrypt): {reason}; convert it once with \
         `openssl pkcs8 -topk8 -in OLD -out NEW`",
        .path.display()
    )]
    BadEncryption {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// One of certificate and key is missing.
    #[error("`{have}` is set but `{miss}` is not; both are needed")]
    HalfIdentity {
        /// The property that is set.
        have: &'static str,
        /// The property that is missing.
        miss: &'static str,
    },
    /// A server without certificate.
    #[error("a TLS server needs a certificate: set `tls.crt_file` and `tls.key_file`")]
    NoIdentity,
    /// `tls.verify_client_cert on` without authorities.
    #[error("`tls.verify_client_cert on` needs `tls.ca_file` or `tls.ca_path`")]
    NoClientRoots,
    /// The system has no bundle of authorities.
    #[error("the system has no certificate bundle ({reason}); set `tls.ca_file`")]
    NoSystemRoots {
        /// What was tried.
        reason: String,
    },
    /// A version that does not exist.
    #[error("`{property} {value}` is no TLS version; use `TLSv1.2` or `TLSv1.3`")]
    UnknownProtocol {
        /// The property.
        property: &'static str,
        /// What was written.
        value: String,
    },
    /// Only versions that are broken.
    #[error("`tls.max_version {version}` allows only broken protocol versions; use `TLSv1.2` or `TLSv1.3`")]
    OldProtocol {
        /// What was written.
        version: String,
    },
    /// `tls.min_version` above `tls.max_version`.
    #[error("`tls.min_version` is above `tls.max_version`")]
    NoProtocol,
    /// A name that cannot stand in a certificate.
    #[error("`{name}` is no name or address that a certificate can carry; set `tls.vhost`")]
    BadName {
        /// The name.
        name: String,
    },
    /// rustls refuses the combination.
    #[error("cannot set up TLS: {reason}")]
    Setup {
        /// rustls' words.
        reason: String,
    },
}
