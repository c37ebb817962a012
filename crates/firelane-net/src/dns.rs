//! Names to addresses, through hickory: `/etc/hosts`, `/etc/resolv.conf` with its search list, UDP then TCP.
//!
//! Literal addresses and `localhost` never ask anybody. Answers are kept a few seconds only: connections are
//! pooled, so look-ups are rare, and a container's address may change long before Docker's 600 s TTL ends;
//! "no such name" is not kept at all, since at start-up the other container may just not be there yet.
//! Each look-up ends at the caller's deadline.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;

/// Why a name has no address.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DnsError {
    /// The resolver cannot start: `/etc/resolv.conf` is missing or malformed.
    #[error("cannot resolve `{host}`: the system resolver configuration is unusable: {reason}")]
    Config {
        /// The name asked for.
        host: String,
        /// The resolver's words.
        reason: String,
    },
    /// No server knows the name, or none answered.
    #[error("cannot resolve `{host}`: {reason}")]
    NoAddress {
        /// The name asked for.
        host: String,
        /// The resolver's words.
        reason: String,
    },
    /// The deadline passed first.
    #[error("cannot resolve `{host}`: no answer within {} s", .limit.as_secs_f32())]
    Timeout {
        /// The name asked for.
        host: String,
        /// How long it was waited for.
        limit: Duration,
    },
}

/// Which address family goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// Ask for both, IPv4 addresses first.
    #[default]
    Both,
    /// Ask for IPv6 only where there is no IPv4 address.
    PreferV4,
    /// Ask for IPv4 only where there is no IPv6 address.
    PreferV6,
}

/// A resolver; cheap to clone, starts at the first name that needs it.
#[derive(Clone, Default)]
pub struct Dns {
    family: Family,
    resolver: Arc<OnceLock<Result<TokioResolver, String>>>,
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dns")
            .field("family", &self.family)
            .finish_non_exhaustive()
    }
}

/// Longest time that an answer is believed.
const KEEP_ANSWER: Duration = Duration::from_secs(5);
/// Wait for one server's answer before the next is asked.
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);

impl Dns {
    /// A resolver that puts `family` first.
    pub fn new(family: Family) -> Self {
        Self {
            family,
            resolver: Arc::default(),
        }
    }

    /// All addresses of `host`, best first, never empty. `host` may be a literal, in brackets or not.
    ///
    /// # Cancel safety
    /// Nothing is lost but the answer.
    pub async fn lookup(&self, host: &str, limit: Duration) -> Result<Vec<IpAddr>, DnsError> {
        if let Some(known) = shortcut(host, self.family) {
            return Ok(known);
        }
        let resolver = self.resolver.get_or_init(|| start(self.family)).as_ref();
        let resolver = resolver.map_err(|reason| DnsError::Config {
            host: host.to_owned(),
            reason: reason.clone(),
        })?;
        let no_address = |reason: String| DnsError::NoAddress {
            host: host.to_owned(),
            reason,
        };
        let answer = tokio::time::timeout(limit, resolver.lookup_ip(host))
            .await
            .map_err(|_| DnsError::Timeout {
                host: host.to_owned(),
                limit,
            })?
            .map_err(|error| no_address(error.to_string()))?;
        let mut addresses: Vec<IpAddr> = answer.iter().collect();
        if addresses.is_empty() {
            return Err(no_address("the name has no address".to_owned()));
        }
        // Stable: the server's own order (round robin) is kept within a family.
        addresses.sort_by_key(|address| address.is_ipv6() != (self.family == Family::PreferV6));
        Ok(addresses)
    }
}

/// Addresses that need no resolver.
fn shortcut(host: &str, family: Family) -> Option<Vec<IpAddr>> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    if let Ok(address) = bare.parse() {
        return Some(vec![address]);
    }
    let (v4, v6) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
    let local = host.eq_ignore_ascii_case("localhost");
    local.then(|| {
        if family == Family::PreferV6 {
            vec![v6, v4]
        } else {
            vec![v4, v6]
        }
    })
}

fn start(family: Family) -> Result<TokioResolver, String> {
    let mut builder = TokioResolver::builder_tokio().map_err(|error| error.to_string())?;
    let options = builder.options_mut();
    options.ip_strategy = match family {
        Family::Both => LookupIpStrategy::Ipv4AndIpv6,
        Family::PreferV4 => LookupIpStrategy::Ipv4thenIpv6,
        Family::PreferV6 => LookupIpStrategy::Ipv6thenIpv4,
    };
    options.timeout = SERVER_TIMEOUT;
    options.try_tcp_on_error = true;
    options.positive_max_ttl = Some(KEEP_ANSWER);
    options.negative_max_ttl = Some(Duration::ZERO);
    builder.build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, family: Family, want: Option<&[&str]>) {
        let got = shortcut(host, family);
        let want = want.map(|list| {
            list.iter()
                .map(|text| text.parse().unwrap())
                .collect::<Vec<IpAddr>>()
        });
        assert_eq!(got, want, "{host}");
    }

    #[test]
    fn literals_and_localhost_need_no_server() {
        check("127.0.0.1", Family::Both, Some(&["127.0.0.1"]));
        check("::1", Family::Both, Some(&["::1"]));
        check("[fe80::1]", Family::PreferV4, Some(&["fe80::1"]));
        check("LocalHost", Family::Both, Some(&["127.0.0.1", "::1"]));
        check("localhost", Family::PreferV6, Some(&["::1", "127.0.0.1"]));
        check("logs.example.com", Family::Both, None);
        check("", Family::Both, None);
    }

    #[tokio::test]
    async fn a_bad_name_is_an_error_that_names_it() {
        let error = Dns::default()
            .lookup("not a name..", Duration::from_millis(200))
            .await
            .unwrap_err();
        assert!(
            error.to_string().starts_with("cannot resolve `not a name..`"),
            "{error}"
        );
    }
}
