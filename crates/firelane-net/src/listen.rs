//! Listening on TCP and unix sockets.
//!
//! [`Listener::bind`] has all the effects (and all the errors worth a message); accepting comes later. A TLS
//! handshake belongs to the connection's own task ([`Incoming::establish`]), so a slow client holds up
//! nobody. A unix socket's file replaces a socket left by an earlier run, never a file of another kind, and
//! goes away with the listener unless another process has put its own there meanwhile.

use std::fmt;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use crate::dns::{Dns, DnsError};
use crate::limits::Seldom;
use crate::net_config::NetConfig;
use crate::stream::Stream;
use crate::tls::ServerTls;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddr {
    /// An address or host name, and a port; 0 lets the system choose.
    Tcp {
        /// Without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix socket.
    #[cfg(unix)]
    Unix {
        /// Its file.
        path: PathBuf,
        /// `unix_perm`, for example `0o666`; the process's umask decides where it is not given.
        perm: Option<u32>,
    },
}

impl ListenAddr {
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
    pub fn unix(path: impl Into<PathBuf>, perm: Option<u32>) -> Self {
        Self::Unix {
            path: path.into(),
            perm,
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            #[cfg(unix)]
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Reads `unix_perm`: octal digits, `0644` or `644`.
pub fn parse_unix_perm(text: &str) -> Result<u32, PermError> {
    let digits = text.trim().trim_start_matches("0o");
    let valid = digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    u32::from_str_radix(digits, 8)
        .ok()
        .filter(|perm| valid && *perm <= 0o777)
        .ok_or_else(|| PermError {
            text: text.to_owned(),
        })
}

/// A `unix_perm` that is none.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`unix_perm {text}` is no file mode; write three octal digits, such as 0660")]
pub struct PermError {
    /// What was written.
    pub text: String,
}

/// Why nobody can listen there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is taken.
    #[error("cannot listen on {address}: address already in use")]
    InUse {
        /// Where.
        address: String,
    },
    /// The system does not let this user.
    #[error("cannot listen on {address}: permission denied")]
    Denied {
        /// Where.
        address: String,
    },
    /// The host name has no address.
    #[error("cannot listen on {address}: {source}")]
    Name {
        /// Where.
        address: String,
        /// Why not.
        source: DnsError,
    },
    /// The unix socket's folder is not there.
    #[error("cannot listen on {address}: its folder does not exist")]
    NoFolder {
        /// Where.
        address: String,
    },
    /// Something that is no socket stands where the socket should be.
    #[error("cannot listen on {address}: the file exists and is no socket")]
    NotASocket {
        /// Where.
        address: String,
    },
    /// TLS on a unix socket.
    #[error("cannot listen on {address}: TLS is not supported on unix sockets")]
    TlsOnUnix {
        /// Where.
        address: String,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Io {
        /// Where.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl BindError {
    /// What to do about it, for a `help:` line.
    pub fn help(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "stop the other process (`ss -ltnp` shows it) or choose another port",
            Self::Denied { .. } => {
                "ports below 1024 need privileges, a unix socket needs a folder that this user may write to"
            }
            Self::Name { .. } => "use an address of this machine, such as 0.0.0.0 or 127.0.0.1",
            Self::NoFolder { .. } => "make the folder, or choose another `unix_path`",
            Self::NotASocket { .. } => "choose another `unix_path`, or remove the file if nobody needs it",
            Self::TlsOnUnix { .. } => "remove `tls on`, or listen on TCP",
            Self::Io { .. } => "check that the address belongs to this machine",
        }
    }

    fn new(at: &ListenAddr, source: io::Error) -> Self {
        let address = at.to_string();
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address },
            io::ErrorKind::PermissionDenied => Self::Denied { address },
            #[cfg(unix)]
            io::ErrorKind::NotFound if matches!(at, ListenAddr::Unix { .. }) => Self::NoFolder { address },
            _ => Self::Io { address, source },
        }
    }
}

/// Who connected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a unix socket; they have no name.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: ListenAddr,
    tls: Option<ServerTls>,
    handshake_limit: Duration,
    probes: Option<socket2::TcpKeepalive>,
    shortage: Seldom,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(
        UnixListener,
        /// Removes the socket's file when dropped.
        Option<SocketFile>,
    ),
}

/// Wait after the system ran out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Listener {
    /// Binds and listens; from now on clients may connect and wait in the backlog. Needs a tokio runtime.
    pub async fn bind(
        address: ListenAddr,
        tls: Option<ServerTls>,
        net: &NetConfig,
    ) -> Result<Self, BindError> {
        let socket = match &address {
            ListenAddr::Tcp { host, port } => Socket::Tcp(bind_tcp(&address, host, *port, net).await?),
            #[cfg(unix)]
            ListenAddr::Unix { .. } if tls.is_some() => {
                return Err(BindError::TlsOnUnix {
                    address: address.to_string(),
                });
            }
            #[cfg(unix)]
            ListenAddr::Unix { path, perm } => bind_unix(&address, path, *perm)?,
        };
        Ok(Self {
            socket,
            address,
            tls,
            handshake_limit: net.accept_limit(),
            probes: net.probes(),
            shortage: Seldom::default(),
        })
    }

    /// What was asked for.
    pub fn address(&self) -> &ListenAddr {
        &self.address
    }

    /// The address that the system chose; `None` for unix sockets.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Socket::Unix(..) => None,
        }
    }

    /// Refuses clients that come from now on; those that wait can still be accepted. False over TCP:
    /// there only the end of the listener refuses anybody.
    pub fn refuse_new(&mut self) -> bool {
        match &mut self.socket {
            Socket::Tcp(_) => false,
            #[cfg(unix)]
            Socket::Unix(_, file) => {
                *file = None;
                true
            }
        }
    }

    /// The next connection. Where the system is short of descriptors it waits and goes on.
    ///
    /// # Cancel safety
    /// No connection is lost.
    pub async fn accept(&self) -> Incoming {
        loop {
            let accepted = match &self.socket {
                Socket::Tcp(listener) => listener
                    .accept()
                    .await
                    .map(|(stream, peer)| (Raw::Tcp(stream), Peer::Tcp(peer))),
                #[cfg(unix)]
                Socket::Unix(listener, _) => listener
                    .accept()
                    .await
                    .map(|(stream, _)| (Raw::Unix(stream), Peer::Unix)),
            };
            match accepted {
                Ok((raw, peer)) => {
                    return Incoming {
                        raw,
                        peer,
                        tls: self.tls.clone(),
                        limit: self.handshake_limit,
                        probes: self.probes.clone(),
                    };
                }
                Err(error) if is_clients_fault(&error) => {}
                Err(error) => {
                    if let Some(kept) = self.shortage.may() {
                        tracing::warn!(%error, address = %self.address, since_then = kept,
                            "cannot accept a connection, trying again every 0.1 s");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// A connection that has come in; [`establish`](Self::establish) it in its own task.
#[derive(Debug)]
pub struct Incoming {
    raw: Raw,
    /// Who connected.
    pub peer: Peer,
    tls: Option<ServerTls>,
    limit: Duration,
    probes: Option<socket2::TcpKeepalive>,
}

#[derive(Debug)]
enum Raw {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Why a connection that came in cannot be used. Only that client is concerned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The handshake took longer than `net.accept_timeout`.
    #[error("TLS handshake with {peer} took longer than {} s (`net.accept_timeout`)", .limit.as_secs_f32())]
    Timeout {
        /// Who.
        peer: Peer,
        /// The limit.
        limit: Duration,
    },
    /// The client hung up without a byte, as health checks of load balancers do.
    #[error("{peer} hung up without a word")]
    Silent {
        /// Who.
        peer: Peer,
    },
    /// No TLS, no certificate, no common version, or the connection broke.
    #[error("TLS handshake with {peer} failed: {source}")]
    Failed {
        /// Who.
        peer: Peer,
        /// The reason.
        source: io::Error,
    },
}

impl Incoming {
    /// The usable connection: at once, or after the TLS handshake within `net.accept_timeout`.
    ///
    /// # Cancel safety
    /// When dropped, the connection is closed.
    pub async fn establish(self) -> Result<(Stream, Peer), HandshakeError> {
        let Self {
            raw,
            peer,
            tls,
            limit,
            probes,
        } = self;
        let tcp = match raw {
            #[cfg(unix)]
            Raw::Unix(stream) => return Ok((Stream::Unix(stream), peer)),
            Raw::Tcp(stream) => stream,
        };
        // A client that is gone already shows at the first read; options are no reason to lose the others.
        let _ = tcp.set_nodelay(true);
        if let Some(probes) = &probes {
            let _ = socket2::SockRef::from(&tcp).set_tcp_keepalive(probes);
        }
        let Some(tls) = tls else {
            return Ok((Stream::Tcp(tcp), peer));
        };
        let handshake = async {
            if matches!(tcp.peek(&mut [0]).await, Ok(0)) {
                return Ok(None);
            }
            tls.acceptor().await.accept(tcp).await.map(Some)
        };
        match tokio::time::timeout(limit, handshake).await {
            Ok(Ok(None)) => Err(HandshakeError::Silent { peer }),
            Ok(Ok(Some(stream))) => Ok((Stream::Tls(Box::new(stream.into())), peer)),
            Ok(Err(source)) => Err(HandshakeError::Failed { peer, source }),
            Err(_) => Err(HandshakeError::Timeout { peer, limit }),
        }
    }
}

fn is_clients_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

async fn bind_tcp(
    address: &ListenAddr,
    host: &str,
    port: u16,
    net: &NetConfig,
) -> Result<TcpListener, BindError> {
    let found = Dns::new(net.family()).lookup(host, net.connect_limit()).await;
    let found = found.map_err(|source| BindError::Name {
        address: address.to_string(),
        source,
    })?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for ip in found {
        match listen_tcp(SocketAddr::new(ip, port), net) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(BindError::new(address, last))
}

fn listen_tcp(address: SocketAddr, net: &NetConfig) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A port in TIME_WAIT after a restart is free; on Windows the option would steal a port in use.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    #[cfg(unix)]
    if bool::from(net.share_port) {
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    socket.listen(net.backlog.max(1))
}

#[cfg(unix)]
fn bind_unix(address: &ListenAddr, path: &Path, perm: Option<u32>) -> Result<Socket, BindError> {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};

    let failed = |source| BindError::new(address, source);
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path).map_err(failed)?,
        Ok(_) => {
            return Err(BindError::NotASocket {
                address: address.to_string(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    let file = SocketFile::new(path).map_err(failed)?;
    if let Some(perm) = perm {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(perm)).map_err(failed)?;
    }
    Ok(Socket::Unix(listener, Some(file)))
}

/// The file of our socket, known by its inode.
#[cfg(unix)]
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

#[cfg(unix)]
impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            id: Self::id(path)?,
        })
    }

    fn id(path: &Path) -> io::Result<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::symlink_metadata(path)?;
        Ok((found.dev(), found.ino()))
    }
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else's socket may stand there by now, after a reload for example.
        if Self::id(&self.path).is_ok_and(|id| id == self.id) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
