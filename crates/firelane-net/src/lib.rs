//! The outside world: connections, listeners, HTTP/1.1 both ways, TLS, names, compression.
//!
//! Only this crate knows hyper, rustls and hickory. Plugins describe what they want with
//! [`NetConfig`] and [`TlsConfig`] (their field docs are the manual of the `net.*` and `tls.*` properties),
//! build the runtime values without any effect but reading files ([`ClientTls`], [`ServerTls`],
//! [`Connector`], [`HttpClient`]), and do I/O with them. Every call to the outside has a deadline; every
//! buffer has a bound.
//!
//! ```text
//! out:  NetConfig + TlsConfig -> Connector -> Stream          HttpClient = Connector + pool + HTTP/1.1
//! in:   NetConfig + TlsConfig -> Listener  -> Incoming -> Stream    server::serve = Listener + HTTP/1.1
//! ```
//!
//! Not here: retries beyond the one that cannot repeat anything (the engine's), what a status means (the
//! plugin's).

pub mod aws;
pub mod compress;
pub mod connect;
pub mod dns;
pub mod http;
pub mod limits;
pub mod listen;
pub mod net_config;
pub mod page;
pub mod proxy;
pub mod server;
pub mod stream;
pub mod tls;

pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
pub use compress::{Compressor, Encoding};
pub use connect::{ConnectError, Connector, Endpoint};
pub use dns::{Dns, DnsError};
pub use http::{HttpClient, HttpError, Request, Response};
pub use limits::{Slots, Unfinished};
pub use listen::{BindError, Incoming, ListenAddr, Listener, Peer};
pub use net_config::{NetConfig, NetError, Side};
pub use proxy::{Proxy, ProxyError};
pub use stream::Stream;
pub use tls::{ClientTls, ServerTls, TlsConfig, TlsError};
