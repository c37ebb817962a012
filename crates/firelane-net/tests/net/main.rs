//! The crate over real loopback sockets: peers that behave, and peers that do not.

mod certs;
mod http_client;
mod http_server;
mod listen;
mod peer;
mod proxies;
mod tls;
