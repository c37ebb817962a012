//! TLS by rustls with ring: the `tls*` properties, and the client and server settings made from them.
//!
//! The chain is checked against `tls.ca_file`/`tls.ca_path`, else the system's bundle. The peer's name is
//! checked too unless `tls.verify_hostname off` is *written*: Fluent Bit's default accepts any name that a
//! trusted authority signed; we keep that only for who asks for it. `tls.verify off` accepts anything and is
//! warned about. Not supported, and refused with a reason: encrypted private keys, own cipher lists, TLS
//! below 1.2. All files are read by [`ClientTls::build`] and [`ServerTls::build`]; nothing is read while
//! connections are made.

mod error;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use firelane_conf::units::{OnOff, Secret};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::net_config::Side;
pub use error::TlsError;
use verify::{AnyCertificate, AnyName};

/// The `tls*` properties of an input or output.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TlsConfig {
    /// Speak TLS.
    pub tls: OnOff,
    /// Check the peer's certificate chain. `off` accepts any certificate, also a forged one.
    #[serde(rename = "tls.verify")]
    pub verify: OnOff,
    /// Check that the certificate carries the name that was connected to (`tls.vhost`, else the host).
    /// Checked unless this is written as `off` (Fluent Bit checks only when it is written as `on`).
    #[serde(rename = "tls.verify_hostname")]
    pub verify_hostname: Option<OnOff>,
    /// Server side: demand a client certificate signed by `tls.ca_file` or `tls.ca_path`.
    #[serde(rename = "tls.verify_client_cert")]
    pub verify_client_cert: OnOff,
    /// PEM file of the authorities to trust instead of the system's bundle.
    #[serde(rename = "tls.ca_file")]
    pub ca_file: Option<PathBuf>,
    /// Directory of PEM files of authorities to trust (`.pem`, `.crt`, `.cer` and hashed names).
    #[serde(rename = "tls.ca_path")]
    pub ca_path: Option<PathBuf>,
    /// PEM file of our own certificate, with its chain.
    #[serde(rename = "tls.crt_file")]
    pub crt_file: Option<PathBuf>,
    /// PEM file of the private key that belongs to `tls.crt_file`.
    #[serde(rename = "tls.key_file")]
    pub key_file: Option<PathBuf>,
    /// Password of an encrypted private key. Not supported: decrypt the key first.
    #[serde(rename = "tls.key_passwd")]
    pub key_passwd: Option<Secret>,
    /// Name to ask for (SNI) and to check, instead of the host.
    #[serde(rename = "tls.vhost")]
    pub vhost: Option<String>,
    /// Lowest protocol version: `TLSv1.2` (default) or `TLSv1.3`.
    #[serde(rename = "tls.min_version")]
    pub min_version: Option<String>,
    /// Highest protocol version: `TLSv1.2` or `TLSv1.3` (default).
    #[serde(rename = "tls.max_version")]
    pub max_version: Option<String>,
    /// Cipher list in OpenSSL's words. Not supported: only strong suites are offered anyway.
    #[serde(rename = "tls.ciphers")]
    pub ciphers: Option<String>,
    /// OpenSSL debug level. Has no effect here.
    #[serde(rename = "tls.debug")]
    pub debug: Option<i64>,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            tls: OnOff::from(false),
            verify: OnOff::from(true),
            verify_hostname: None,
            verify_client_cert: OnOff::from(false),
            ca_file: None,
            ca_path: None,
            crt_file: None,
            key_file: None,
            key_passwd: None,
            vhost: None,
            min_version: None,
            max_version: None,
            ciphers: None,
            debug: None,
        }
    }
}

impl TlsConfig {
    /// Names of the `tls*` properties, for splitting them from a plugin's own.
    pub const KEYS: &[&str] = &[
        "tls",
        "tls.verify",
        "tls.verify_hostname",
        "tls.verify_client_cert",
        "tls.ca_file",
        "tls.ca_path",
        "tls.crt_file",
        "tls.key_file",
        "tls.key_passwd",
        "tls.vhost",
        "tls.min_version",
        "tls.max_version",
        "tls.ciphers",
        "tls.debug",
    ];

    /// `tls on` was written.
    pub fn is_on(&self) -> bool {
        bool::from(self.tls)
    }

    /// Properties that are set but change nothing or weaken the connection: name and reason, to be warned
    /// about. `given` tells whether a property was written.
    pub fn unsupported(&self, side: Side, given: impl Fn(&str) -> bool) -> Vec<(&'static str, &'static str)> {
        let set = Self::KEYS.iter().filter(|key| **key != "tls" && given(key));
        if !self.is_on() {
            return set.map(|key| (*key, "it has no effect: `tls` is off")).collect();
        }
        let demands = bool::from(self.verify_client_cert);
        let unused = set.filter_map(|&key| match (side, key) {
            (Side::Client, "tls.verify_client_cert") => Some((key, "it has no effect: it is for inputs")),
            (Side::Server, "tls.verify" | "tls.verify_hostname" | "tls.vhost") => Some((
                key,
                "it has no effect on an input; `tls.verify_client_cert on` asks clients for certificates",
            )),
            (Side::Server, "tls.ca_file" | "tls.ca_path") if !demands => {
                Some((key, "it has no effect without `tls.verify_client_cert on`"))
            }
            _ => None,
        });
        let mut list: Vec<_> = unused.collect();
        if self.key_passwd.is_some() {
            list.push(("tls.key_passwd", "it has no effect: keys are read unencrypted"));
        }
        if self.debug.is_some() {
            list.push(("tls.debug", "there is no OpenSSL to debug; it has no effect"));
        }
        if self.ciphers.is_some() {
            list.push((
                "tls.ciphers",
                "only strong cipher suites are offered; the list has no effect",
            ));
        }
        if side == Side::Client && !bool::from(self.verify) {
            list.push((
                "tls.verify",
                "certificates are not checked: anybody on the path can read and change data",
            ));
        }
        list
    }

    fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
        let lowest = protocol("tls.min_version", self.min_version.as_deref())?;
        let highest = protocol("tls.max_version", self.max_version.as_deref())?;
        let min = lowest.unwrap_or(Protocol::Tls12).max(Protocol::Tls12);
        let max = highest.unwrap_or(Protocol::Tls13);
        if max < Protocol::Tls12 {
            return Err(TlsError::OldProtocol {
                version: self.max_version.clone().unwrap_or_default(),
            });
        }
        let all = [
            (Protocol::Tls12, &version::TLS12),
            (Protocol::Tls13, &version::TLS13),
        ];
        let chosen: Vec<_> = all
            .iter()
            .filter(|(p, _)| (min..=max).contains(p))
            .map(|(_, v)| *v)
            .collect();
        if chosen.is_empty() {
            Err(TlsError::NoProtocol)
        } else {
            Ok(chosen)
        }
    }

    /// Our own certificate and key; both or neither.
    fn identity(&self) -> Result<Option<Identity>, TlsError> {
        let (crt, key) = match (&self.crt_file, &self.key_file) {
            (None, None) => return Ok(None),
            (Some(crt), Some(key)) => (crt, key),
            (Some(_), None) => {
                return Err(TlsError::HalfIdentity {
                    have: "tls.crt_file",
                    miss: "tls.key_file",
                });
            }
            (None, Some(_)) => {
                return Err(TlsError::HalfIdentity {
                    have: "tls.key_file",
                    miss: "tls.crt_file",
                });
            }
        };
        let chain = certificates(crt)?;
        let pem = read(key)?;
        let key_der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
            let encrypted = pem.windows(9).any(|part| part == b"ENCRYPTED");
            let path = key.clone();
            if encrypted {
                TlsError::EncryptedKey { path }
            } else {
                TlsError::NoKey { path }
            }
        })?;
        Ok(Some(Identity {
            chain,
            key: key_der,
            crt_file: crt.clone(),
        }))
    }

    /// Authorities named by the configuration; `None` where it names none.
    fn own_roots(&self) -> Result<Option<RootCertStore>, TlsError> {
        if self.ca_file.is_none() && self.ca_path.is_none() {
            return Ok(None);
        }
        let mut roots = RootCertStore::empty();
        if let Some(file) = &self.ca_file {
            add_roots(&mut roots, file, certificates(file)?)?;
        }
        if let Some(folder) = &self.ca_path {
            let unreadable = |source| TlsError::Read {
                path: folder.clone(),
                source,
            };
            let mut paths: Vec<PathBuf> = Vec::new();
            for entry in std::fs::read_dir(folder).map_err(unreadable)? {
                paths.push(entry.map_err(unreadable)?.path());
            }
            paths.sort();
            // The folder is the system administrator's: files that hold no certificate are none of our
            // business.
            for path in paths.iter().filter(|path| path.is_file()) {
                if let Ok(found) = certificates(path) {
                    roots.add_parsable_certificates(found);
                }
            }
            if roots.is_empty() {
                return Err(TlsError::NoCertificate { path: folder.clone() });
            }
        }
        Ok(Some(roots))
    }
}

/// TLS for connections that we open. Cheap to clone; keeps session tickets for resumption.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    vhost: Option<ServerName<'static>>,
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls")
            .field("vhost", &self.vhost)
            .finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Reads the files and checks that they fit together. Does not look at `tls on|off`.
    pub fn build(config: &TlsConfig) -> Result<Self, TlsError> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&config.versions()?)
            .map_err(setup)?;
        let verifier: Arc<dyn ServerCertVerifier> = if bool::from(config.verify) {
            let roots = match config.own_roots()? {
                Some(roots) => roots,
                None => system_roots()?,
            };
            let inner = WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
                .build()
                .map_err(|error| TlsError::Setup {
                    reason: error.to_string(),
                })?;
            let any_name = config.verify_hostname.is_some_and(|check| !bool::from(check));
            if any_name {
                Arc::new(AnyName { inner })
            } else {
                inner
            }
        } else {
            Arc::new(AnyCertificate { provider })
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let client = match config.identity()? {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(own.chain, own.key)
                .map_err(bad(&own.crt_file))?,
        };
        let vhost = config.vhost.as_deref().map(server_name).transpose()?;
        Ok(Self {
            config: client.into(),
            vhost,
        })
    }

    /// Settings for a connection.
    pub(crate) fn connector(&self) -> tokio_rustls::TlsConnector {
        self.config.clone().into()
    }

    /// Name to ask for and check when connecting to `host`.
    pub(crate) fn name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        self.vhost.clone().map_or_else(|| server_name(host), Ok)
    }
}

/// TLS for connections that we accept. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads the files and checks that they fit together. Does not look at `tls on|off`.
    pub fn build(config: &TlsConfig) -> Result<Self, TlsError> {
        let provider = provider();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&config.versions()?)
            .map_err(setup)?;
        let builder = if bool::from(config.verify_client_cert) {
            let roots = config.own_roots()?.ok_or(TlsError::NoClientRoots)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                .build()
                .map_err(|error| TlsError::Setup {
                    reason: error.to_string(),
                })?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let own = config.identity()?.ok_or(TlsError::NoIdentity)?;
        let server = builder
            .with_single_cert(own.chain, own.key)
            .map_err(bad(&own.crt_file))?;
        Ok(Self {
            config: server.into(),
        })
    }

    /// Settings for a connection.
    pub(crate) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        self.config.clone().into()
    }
}

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    crt_file: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Protocol {
    Older,
    Tls12,
    Tls13,
}

fn protocol(property: &'static str, written: Option<&str>) -> Result<Option<Protocol>, TlsError> {
    let Some(text) = written else { return Ok(None) };
    let version = match text
        .to_ascii_lowercase()
        .trim_start_matches("tls")
        .trim_start_matches('v')
    {
        "1" | "1.0" | "1.1" => Protocol::Older,
        "1.2" => Protocol::Tls12,
        "1.3" => Protocol::Tls13,
        _ => {
            return Err(TlsError::UnknownProtocol {
                property,
                value: text.to_owned(),
            });
        }
    };
    Ok(Some(version))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn setup(error: rustls::Error) -> TlsError {
    TlsError::Setup {
        reason: error.to_string(),
    }
}

fn bad(path: &Path) -> impl FnOnce(rustls::Error) -> TlsError {
    let path = path.to_owned();
    move |error| TlsError::BadCertificate {
        path,
        reason: error.to_string(),
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::BadName {
        name: host.to_owned(),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let list: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::BadCertificate {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    if list.is_empty() {
        Err(TlsError::NoCertificate {
            path: path.to_owned(),
        })
    } else {
        Ok(list)
    }
}

fn add_roots(
    roots: &mut RootCertStore,
    path: &Path,
    list: Vec<CertificateDer<'static>>,
) -> Result<(), TlsError> {
    for certificate in list {
        roots.add(certificate).map_err(bad(path))?;
    }
    Ok(())
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = found
            .errors
            .first()
            .map_or_else(|| "none found".to_owned(), ToString::to_string);
        return Err(TlsError::NoSystemRoots { reason });
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_keys_is_the_struct() {
        let schema = schemars::schema_for!(TlsConfig);
        let properties = schema
            .get("properties")
            .and_then(|value| value.as_object())
            .unwrap();
        let mut fields: Vec<&str> = properties.keys().map(String::as_str).collect();
        let mut keys = TlsConfig::KEYS.to_vec();
        fields.sort_unstable();
        keys.sort_unstable();
        assert_eq!(fields, keys);
    }
}
