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
    /// A private key under a password.
    #[error(
        "`{}` is encrypted and `tls.key_passwd` is not supported; decrypt it once with \
         `openssl pkey -in OLD -out NEW` and protect the file by its permissions",
        .path.display()
    )]
    EncryptedKey {
        /// The file.
        path: PathBuf,
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
