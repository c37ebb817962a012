//! The crate over real loopback sockets: peers that behave, and peers that do not.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy exempts only the tests themselves"
)]

mod aws_calls;
mod aws_chain;
mod aws_mock;
mod aws_network;
mod aws_renewal;
mod aws_sigv4;
mod aws_sources;
mod aws_sts;
mod certs;
mod http_client;
mod http_server;
mod listen;
mod peer;
mod proxies;
mod tls;
mod tls_reload;
