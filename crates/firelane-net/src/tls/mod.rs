//! TLS by rustls with ring: the `tls*` properties, and the client and server settings made from them.
//!
//! The chain is checked against `tls.ca_file`/`tls.ca_path`, else the system's bundle. The peer's name is
//! checked too unless `tls.verify_hostname off` is *written*: Fluent Bit's default accepts any name that a
//! trusted authority signed; we keep that only for who asks for it. `tls.verify off` accepts anything and is
//! warned about. Not supported: own cipher lists, TLS below 1.2, private keys encrypted in other ways than
//! PKCS#8 with PBES2.
//!
//! All files are read by [`ClientTls::build`] and [`ServerTls::build`], and again when they have changed and
//! a connection is made (`fresh.rs`); the system's bundle is read once.

mod config;
mod error;
mod files;
mod fresh;
mod key;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;

pub use config::TlsConfig;
pub use error::TlsError;
use fresh::Fresh;
pub use fresh::LOOK_PERIOD;
use verify::{AnyCertificate, AnyName};

/// TLS for connections that we open. Cheap to clone; keeps session tickets for resumption.
#[derive(Clone)]
pub struct ClientTls {
    settings: Fresh<Arc<ClientConfig>>,
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
        Self::build_with(config, LOOK_PERIOD)
    }

    /// The same, with another time between two looks at the files.
    pub fn build_with(config: &TlsConfig, period: Duration) -> Result<Self, TlsError> {
        Ok(Self {
            settings: Fresh::new(config, period, client)?,
            vhost: config.vhost.as_deref().map(server_name).transpose()?,
        })
    }

    /// Settings for a new connection.
    pub(crate) async fn connector(&self) -> tokio_rustls::TlsConnector {
        self.settings.current().await.into()
    }

    /// Name to ask for and check when connecting to `host`.
    pub(crate) fn name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        self.vhost.clone().map_or_else(|| server_name(host), Ok)
    }
}

/// TLS for connections that we accept. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    settings: Fresh<Arc<ServerConfig>>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads the files and checks that they fit together. Does not look at `tls on|off`.
    pub fn build(config: &TlsConfig) -> Result<Self, TlsError> {
        Self::build_with(config, LOOK_PERIOD)
    }

    /// The same, with another time between two looks at the files.
    pub fn build_with(config: &TlsConfig, period: Duration) -> Result<Self, TlsError> {
        Ok(Self {
            settings: Fresh::new(config, period, server)?,
        })
    }

    /// Settings for a new connection.
    pub(crate) async fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        self.settings.current().await.into()
    }
}

fn client(config: &TlsConfig) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&config.versions()?)
        .map_err(setup)?;
    let verifier: Arc<dyn ServerCertVerifier> = if bool::from(config.verify) {
        let roots = match files::own_roots(config)? {
            Some(roots) => roots,
            None => files::system_roots()?,
        };
        let inner = WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .map_err(setup)?;
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
    let client = match files::identity(config)? {
        None => builder.with_no_client_auth(),
        Some(own) => builder
            .with_client_auth_cert(own.chain, own.key)
            .map_err(files::bad(&own.crt_file))?,
    };
    Ok(client.into())
}

fn server(config: &TlsConfig) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&config.versions()?)
        .map_err(setup)?;
    let builder = if bool::from(config.verify_client_cert) {
        let roots = files::own_roots(config)?.ok_or(TlsError::NoClientRoots)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .map_err(setup)?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let own = files::identity(config)?.ok_or(TlsError::NoIdentity)?;
    let server = builder
        .with_single_cert(own.chain, own.key)
        .map_err(files::bad(&own.crt_file))?;
    Ok(server.into())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn setup(error: impl std::fmt::Display) -> TlsError {
    TlsError::Setup {
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

/// `N` bytes that nobody can guess, from the system.
pub fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes);
    filled.map_err(|_| std::io::Error::other("the system gives no random bytes"))?;
    Ok(bytes)
}
