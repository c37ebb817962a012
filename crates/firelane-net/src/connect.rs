//! Opening connections: name look-up, TCP or unix socket, proxy, TLS, all within `net.connect_timeout`.
//!
//! Addresses are tried in the resolver's order; each gets its part of the time that is left, so that one
//! silent address does not use up the whole deadline.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

use crate::dns::{Dns, DnsError};
use crate::net_config::{NetConfig, NetError};
use crate::proxy::{Proxy, TunnelError};
use crate::stream::Stream;
use crate::tls::{ClientTls, TlsError};

/// Where a destination is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A host name or literal address, and a port.
    Tcp {
        /// Without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix socket.
    #[cfg(unix)]
    Unix(PathBuf),
}

impl Endpoint {
    /// `host` may carry the brackets of an IPv6 literal.
    pub fn tcp(host: &str, port: u16) -> Self {
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        Self::Tcp {
            host: bare.to_owned(),
            port,
        }
    }

    /// A unix socket.
    #[cfg(unix)]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::Unix(path.into())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            #[cfg(unix)]
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why there is no connection. Nothing was sent, so trying again repeats nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name has no address.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// The system refused: no listener, no route, no permission.
    #[error("cannot connect to {endpoint} ({address}): {source}")]
    Refused {
        /// Where to.
        endpoint: String,
        /// The last address that was tried.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// `net.connect_timeout` passed.
    #[error("cannot connect to {endpoint} within {} s (`net.connect_timeout`)", .limit.as_secs_f32())]
    Timeout {
        /// Where to.
        endpoint: String,
        /// The limit.
        limit: Duration,
    },
    /// The name cannot be checked in a certificate.
    #[error(transparent)]
    Name(#[from] TlsError),
    /// The TLS handshake failed: untrusted certificate, wrong name, no common version.
    #[error("TLS handshake with {endpoint} failed: {source}")]
    Tls {
        /// Where to.
        endpoint: String,
        /// rustls' reason.
        source: io::Error,
    },
    /// The proxy would not open a tunnel.
    #[error("proxy {proxy} opens no tunnel to {endpoint}: {source}")]
    Proxy {
        /// The proxy.
        proxy: String,
        /// Where to.
        endpoint: String,
        /// What it answered.
        source: TunnelError,
    },
}

/// Opens connections to one destination.
#[derive(Debug, Clone)]
pub struct Connector {
    endpoint: Endpoint,
    tls: Option<ClientTls>,
    proxy: Option<Proxy>,
    dns: Dns,
    limit: Duration,
    source: Option<IpAddr>,
    probes: Option<socket2::TcpKeepalive>,
}

impl Connector {
    /// No proxy; see [`with_proxy`](Self::with_proxy).
    pub fn new(endpoint: Endpoint, tls: Option<ClientTls>, net: &NetConfig) -> Result<Self, NetError> {
        Ok(Self {
            endpoint,
            tls,
            proxy: None,
            dns: Dns::new(net.family()),
            limit: net.connect_limit(),
            source: net.source()?,
            probes: net.probes(),
        })
    }

    /// Goes through an HTTP proxy: by a tunnel where TLS is on, else plainly (the caller then writes absolute
    /// URIs).
    #[must_use]
    pub fn with_proxy(mut self, proxy: Option<Proxy>) -> Self {
        self.proxy = proxy;
        self
    }

    /// Where to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether connections are encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The proxy that sees requests in the clear and needs absolute URIs.
    pub(crate) fn plain_proxy(&self) -> Option<&Proxy> {
        if self.tls.is_some() {
            None
        } else {
            self.proxy.as_ref()
        }
    }

    /// Opens a connection; ends within `net.connect_timeout`.
    ///
    /// # Cancel safety
    /// A connection under way is closed.
    pub async fn connect(&self) -> Result<Stream, ConnectError> {
        let deadline = Instant::now() + self.limit;
        match timeout_at(deadline, self.establish(deadline)).await {
            Ok(result) => result,
            Err(_) => Err(self.timed_out()),
        }
    }

    async fn establish(&self, deadline: Instant) -> Result<Stream, ConnectError> {
        let (host, port) = match &self.endpoint {
            Endpoint::Tcp { host, port } => (host.as_str(), *port),
            #[cfg(unix)]
            Endpoint::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await;
                return stream
                    .map(Stream::Unix)
                    .map_err(|source| self.refused(path.display(), source));
            }
        };
        let mut tcp = match &self.proxy {
            Some(proxy) => self.dial(&proxy.host, proxy.port, deadline).await?,
            None => self.dial(host, port, deadline).await?,
        };
        let Some(tls) = &self.tls else {
            return Ok(Stream::Tcp(tcp));
        };
        if let Some(proxy) = &self.proxy {
            let tunnel = proxy.open_tunnel(&mut tcp, &self.endpoint).await;
            tunnel.map_err(|source| ConnectError::Proxy {
                proxy: proxy.to_string(),
                endpoint: self.endpoint.to_string(),
                source,
            })?;
        }
        let name = tls.name(host)?;
        let handshake = tls.connector().await.connect(name, tcp).await;
        let stream = handshake.map_err(|source| ConnectError::Tls {
            endpoint: self.endpoint.to_string(),
            source,
        })?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }

    async fn dial(&self, host: &str, port: u16, deadline: Instant) -> Result<TcpStream, ConnectError> {
        let addresses = self.dns.lookup(host, self.limit).await?;
        self.dial_any(&addresses, port, deadline).await
    }

    async fn dial_any(
        &self,
        addresses: &[IpAddr],
        port: u16,
        deadline: Instant,
    ) -> Result<TcpStream, ConnectError> {
        let mut last = None;
        for (tried, address) in addresses.iter().enumerate() {
            let address = SocketAddr::new(*address, port);
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX).max(1);
            match tokio::time::timeout(share, self.dial_one(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(source)) => last = Some(self.refused(address, source)),
                Err(_) => last = last.or_else(|| Some(self.timed_out())),
            }
        }
        Err(last.unwrap_or_else(|| self.timed_out()))
    }

    async fn dial_one(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if let Some(source) = self.source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        if let Some(probes) = &self.probes {
            socket2::SockRef::from(&stream).set_tcp_keepalive(probes)?;
        }
        Ok(stream)
    }

    fn refused(&self, address: impl fmt::Display, source: io::Error) -> ConnectError {
        ConnectError::Refused {
            endpoint: self.endpoint.to_string(),
            address: address.to_string(),
            source,
        }
    }

    fn timed_out(&self) -> ConnectError {
        ConnectError::Timeout {
            endpoint: self.endpoint.to_string(),
            limit: self.limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_print_as_people_write_them() {
        assert_eq!(Endpoint::tcp("[::1]", 80).to_string(), "[::1]:80");
        assert_eq!(
            Endpoint::tcp("logs.example.com", 24224).to_string(),
            "logs.example.com:24224"
        );
        #[cfg(unix)]
        assert_eq!(
            Endpoint::unix("/var/run/fluent.sock").to_string(),
            "unix:/var/run/fluent.sock"
        );
    }

    #[tokio::test]
    async fn a_closed_port_is_refused_and_named() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let connector =
            Connector::new(Endpoint::tcp("127.0.0.1", port), None, &NetConfig::default()).unwrap();
        let error = connector.connect().await.unwrap_err();
        assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
        assert!(
            error
                .to_string()
                .starts_with(&format!("cannot connect to 127.0.0.1:{port}")),
            "{error}"
        );
    }

    #[tokio::test]
    async fn the_next_address_is_tried() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connector = Connector::new(Endpoint::tcp("two", port), None, &NetConfig::default()).unwrap();
        let addresses = ["127.0.0.2".parse().unwrap(), "127.0.0.1".parse().unwrap()];
        let deadline = Instant::now() + Duration::from_secs(10);
        let stream = connector.dial_any(&addresses, port, deadline).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_silent_address_ends_at_the_deadline() {
        // Scenario: the TLS handshake is never answered. Guarantees: the deadline covers it.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls: crate::TlsConfig = serde_json::from_str(r#"{"tls.verify": "off"}"#).unwrap();
        let tls = ClientTls::build(&tls).unwrap();
        let net = NetConfig {
            connect_timeout: Duration::from_millis(50).into(),
            ..NetConfig::default()
        };
        let connector = Connector::new(Endpoint::tcp("127.0.0.1", port), Some(tls), &net).unwrap();
        let error = connector.connect().await.unwrap_err();
        assert!(matches!(error, ConnectError::Timeout { .. }), "{error:?}");
    }
}
