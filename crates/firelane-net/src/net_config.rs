//! The `net.*` properties and the limits made from them.
//!
//! No outside call is without a deadline: `net.io_timeout 0s` (the default) still ends a connection on which
//! nothing moved for [`IO_STALL`], and a connect timeout of 0 means [`CONNECT_MAX`].

use std::net::IpAddr;
use std::time::Duration;

use firelane_conf::units::{Interval, OnOff};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::dns::Family;

/// Longest time without any byte moved where `net.io_timeout` is 0.
pub const IO_STALL: Duration = Duration::from_secs(60);
/// Longest time to connect where `net.connect_timeout` is 0.
pub const CONNECT_MAX: Duration = Duration::from_secs(60);

/// Which end of a connection an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It connects: outputs.
    Client,
    /// It listens: inputs.
    Server,
}

/// What only the other side uses, with the reason.
const SERVER_UNUSED: &[(&str, &str)] = &[
    ("net.connect_timeout", CONNECTS),
    ("net.connect_timeout_log_error", CONNECTS),
    ("net.source_address", CONNECTS),
    ("net.keepalive", CONNECTS),
    ("net.keepalive_idle_timeout", CONNECTS),
    ("net.keepalive_max_recycle", CONNECTS),
    ("net.max_worker_connections", CONNECTS),
    ("net.dns.mode", CONNECTS),
    ("net.dns.resolver", CONNECTS),
    ("net.proxy_env_ignore", CONNECTS),
    ("net.io_timeout", "it has no effect here: clients may be silent"),
];
const CLIENT_UNUSED: &[(&str, &str)] = &[
    ("net.share_port", LISTENS),
    ("net.backlog", LISTENS),
    ("net.accept_timeout", LISTENS),
    ("net.accept_timeout_log_error", LISTENS),
];
const CONNECTS: &str = "it has no effect here: it is for outputs, which connect";
const LISTENS: &str = "it has no effect here: it is for inputs, which listen";

/// The `net.*` properties of an input or output.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NetConfig {
    /// Longest time to connect: name look-up, TCP, proxy and TLS handshake together.
    #[serde(rename = "net.connect_timeout")]
    pub connect_timeout: Interval,
    /// Log a connect timeout as an error.
    #[serde(rename = "net.connect_timeout_log_error")]
    pub connect_timeout_log_error: OnOff,
    /// Longest time without any byte read or written on a busy connection. 0 means 60 s.
    #[serde(rename = "net.io_timeout")]
    pub io_timeout: Interval,
    /// Local address to connect from.
    #[serde(rename = "net.source_address")]
    pub source_address: Option<String>,
    /// Keep connections open for the next request.
    #[serde(rename = "net.keepalive")]
    pub keepalive: OnOff,
    /// Close a connection that was not used for this long.
    #[serde(rename = "net.keepalive_idle_timeout")]
    pub keepalive_idle_timeout: Interval,
    /// Close a connection after this many requests; 0 for never.
    #[serde(rename = "net.keepalive_max_recycle")]
    pub keepalive_max_recycle: u32,
    /// Let the system probe idle connections (SO_KEEPALIVE).
    #[serde(rename = "net.tcp_keepalive")]
    pub tcp_keepalive: OnOff,
    /// Seconds of silence before the first probe; -1 for the system's default.
    #[serde(rename = "net.tcp_keepalive_time")]
    pub tcp_keepalive_time: i64,
    /// Seconds between probes; -1 for the system's default.
    #[serde(rename = "net.tcp_keepalive_interval")]
    pub tcp_keepalive_interval: i64,
    /// Unanswered probes before the connection counts as dead; -1 for the system's default.
    #[serde(rename = "net.tcp_keepalive_probes")]
    pub tcp_keepalive_probes: i64,
    /// Most connections at once to the destination; 0 for no limit.
    #[serde(rename = "net.max_worker_connections")]
    pub max_worker_connections: u32,
    /// Transport of DNS queries. UDP with TCP for long answers, always.
    #[serde(rename = "net.dns.mode")]
    pub dns_mode: Option<String>,
    /// `LEGACY` or `ASYNC`. There is one resolver, it never blocks.
    #[serde(rename = "net.dns.resolver")]
    pub dns_resolver: Option<String>,
    /// Ask for IPv6 addresses only where there is no IPv4 address.
    #[serde(rename = "net.dns.prefer_ipv4")]
    pub dns_prefer_ipv4: OnOff,
    /// Ask for IPv4 addresses only where there is no IPv6 address.
    #[serde(rename = "net.dns.prefer_ipv6")]
    pub dns_prefer_ipv6: OnOff,
    /// Ignore `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
    #[serde(rename = "net.proxy_env_ignore")]
    pub proxy_env_ignore: OnOff,
    /// Inputs: let several processes listen on the port (SO_REUSEPORT).
    #[serde(rename = "net.share_port")]
    pub share_port: OnOff,
    /// Inputs: connections that wait to be accepted.
    #[serde(rename = "net.backlog")]
    pub backlog: u32,
    /// Inputs: longest time for the TLS handshake of a new connection, and for the handshake of Forward
    /// behind it. 0 means 60 s.
    #[serde(rename = "net.accept_timeout")]
    pub accept_timeout: Interval,
    /// Inputs: log an accept timeout as an error.
    #[serde(rename = "net.accept_timeout_log_error")]
    pub accept_timeout_log_error: OnOff,
}

impl Default for NetConfig {
    fn default() -> Self {
        let seconds = |n| Interval::from(Duration::from_secs(n));
        Self {
            connect_timeout: seconds(10),
            connect_timeout_log_error: OnOff::from(true),
            io_timeout: seconds(0),
            source_address: None,
            keepalive: OnOff::from(true),
            keepalive_idle_timeout: seconds(30),
            keepalive_max_recycle: 2000,
            tcp_keepalive: OnOff::from(false),
            tcp_keepalive_time: -1,
            tcp_keepalive_interval: -1,
            tcp_keepalive_probes: -1,
            max_worker_connections: 0,
            dns_mode: None,
            dns_resolver: None,
            dns_prefer_ipv4: OnOff::from(false),
            dns_prefer_ipv6: OnOff::from(false),
            proxy_env_ignore: OnOff::from(false),
            share_port: OnOff::from(false),
            backlog: 128,
            accept_timeout: seconds(10),
            accept_timeout_log_error: OnOff::from(true),
        }
    }
}

/// A `net.*` value that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// `net.source_address` is not an address.
    #[error("`net.source_address {value}` is not an IP address")]
    SourceAddress {
        /// What was written.
        value: String,
    },
}

impl NetConfig {
    /// Names of the `net.*` properties, for splitting them from a plugin's own.
    pub const KEYS: &[&str] = &[
        "net.connect_timeout",
        "net.connect_timeout_log_error",
        "net.io_timeout",
        "net.source_address",
        "net.keepalive",
        "net.keepalive_idle_timeout",
        "net.keepalive_max_recycle",
        "net.tcp_keepalive",
        "net.tcp_keepalive_time",
        "net.tcp_keepalive_interval",
        "net.tcp_keepalive_probes",
        "net.max_worker_connections",
        "net.dns.mode",
        "net.dns.resolver",
        "net.dns.prefer_ipv4",
        "net.dns.prefer_ipv6",
        "net.proxy_env_ignore",
        "net.share_port",
        "net.backlog",
        "net.accept_timeout",
        "net.accept_timeout_log_error",
    ];

    /// Properties that are set but change nothing: name and reason, to be warned about. `given` tells whether
    /// a property was written.
    pub fn unsupported(&self, side: Side, given: impl Fn(&str) -> bool) -> Vec<(&'static str, &'static str)> {
        let unused = match side {
            Side::Client => CLIENT_UNUSED,
            Side::Server => SERVER_UNUSED,
        };
        let mut list: Vec<_> = unused.iter().filter(|(key, _)| given(key)).copied().collect();
        match side {
            Side::Client => self.client_unsupported(&mut list),
            Side::Server if bool::from(self.accept_timeout_log_error) => {}
            Side::Server => list.push((
                "net.accept_timeout_log_error",
                "failed handshakes are always logged",
            )),
        }
        list
    }

    fn client_unsupported(&self, list: &mut Vec<(&'static str, &'static str)>) {
        if self
            .dns_mode
            .as_deref()
            .is_some_and(|mode| !mode.eq_ignore_ascii_case("udp"))
        {
            list.push((
                "net.dns.mode",
                "names are asked for by UDP, and by TCP where the answer is long",
            ));
        }
        if self.dns_resolver.is_some() {
            list.push(("net.dns.resolver", "there is one resolver, it never blocks"));
        }
        if !bool::from(self.connect_timeout_log_error) {
            list.push((
                "net.connect_timeout_log_error",
                "failed connections are always logged",
            ));
        }
    }

    /// Longest time without progress on a busy connection; never zero.
    pub fn io_limit(&self) -> Duration {
        or(self.io_timeout.into(), IO_STALL)
    }

    /// Longest time to connect; never zero.
    pub fn connect_limit(&self) -> Duration {
        or(self.connect_timeout.into(), CONNECT_MAX)
    }

    /// Longest handshake of an accepted connection; never zero.
    pub fn accept_limit(&self) -> Duration {
        or(self.accept_timeout.into(), CONNECT_MAX)
    }

    /// Close a connection that was idle for this long.
    pub fn idle_limit(&self) -> Duration {
        self.keepalive_idle_timeout.into()
    }

    /// Which address family the resolver puts first.
    pub fn family(&self) -> Family {
        match (bool::from(self.dns_prefer_ipv4), bool::from(self.dns_prefer_ipv6)) {
            (true, _) => Family::PreferV4,
            (false, true) => Family::PreferV6,
            (false, false) => Family::Both,
        }
    }

    /// The parsed `net.source_address`.
    pub fn source(&self) -> Result<Option<IpAddr>, NetError> {
        let Some(text) = &self.source_address else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|_| NetError::SourceAddress { value: text.clone() })
    }

    /// Probes to switch on, if any.
    pub(crate) fn probes(&self) -> Option<socket2::TcpKeepalive> {
        if !bool::from(self.tcp_keepalive) {
            return None;
        }
        let set = |value: i64| u32::try_from(value).ok().filter(|n| *n > 0);
        let mut probes = socket2::TcpKeepalive::new();
        if let Some(seconds) = set(self.tcp_keepalive_time) {
            probes = probes.with_time(Duration::from_secs(seconds.into()));
        }
        if let Some(seconds) = set(self.tcp_keepalive_interval) {
            probes = probes.with_interval(Duration::from_secs(seconds.into()));
        }
        if let Some(count) = set(self.tcp_keepalive_probes) {
            probes = probes.with_retries(count);
        }
        Some(probes)
    }
}

fn or(value: Duration, fallback: Duration) -> Duration {
    if value.is_zero() { fallback } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> NetConfig {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn defaults_are_fluent_bits_and_never_endless() {
        let net = config("{}");
        assert_eq!(net.connect_limit(), Duration::from_secs(10));
        assert_eq!(net.io_limit(), IO_STALL);
        assert_eq!(net.idle_limit(), Duration::from_secs(30));
        assert_eq!((net.keepalive_max_recycle, net.backlog), (2000, 128));
        assert_eq!(net.unsupported(Side::Client, |_| false), []);
        assert_eq!(net.unsupported(Side::Server, |_| false), []);
        assert_eq!(net.family(), Family::Both);
        let zero = config(r#"{"net.connect_timeout": "0s", "net.io_timeout": "5s"}"#);
        assert_eq!(
            (zero.connect_limit(), zero.io_limit()),
            (CONNECT_MAX, Duration::from_secs(5))
        );
    }

    #[test]
    fn what_changes_nothing_is_named() {
        let net = config(
            r#"{"net.dns.mode": "TCP", "net.dns.resolver": "LEGACY", "net.connect_timeout_log_error": "off",
                "net.source_address": "here"}"#,
        );
        let unsupported = net.unsupported(Side::Client, |key| key == "net.backlog");
        let names: Vec<_> = unsupported.into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            [
                "net.backlog",
                "net.dns.mode",
                "net.dns.resolver",
                "net.connect_timeout_log_error"
            ]
        );
        let listening = net.unsupported(Side::Server, |key| key == "net.keepalive");
        assert_eq!(listening.first().map(|(name, _)| *name), Some("net.keepalive"));
        assert_eq!(
            net.source().unwrap_err().to_string(),
            "`net.source_address here` is not an IP address"
        );
    }

    #[test]
    fn the_list_of_keys_is_the_struct() {
        let schema = schemars::schema_for!(NetConfig);
        let properties = schema
            .get("properties")
            .and_then(|value| value.as_object())
            .unwrap();
        let mut fields: Vec<&str> = properties.keys().map(String::as_str).collect();
        let mut keys = NetConfig::KEYS.to_vec();
        fields.sort_unstable();
        keys.sort_unstable();
        assert_eq!(fields, keys);
    }
}
