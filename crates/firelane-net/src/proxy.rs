//! HTTP proxies: which one to use, and the CONNECT tunnel through it.
//!
//! An explicit `proxy` property wins. Else `HTTPS_PROXY` (for TLS) and `HTTP_PROXY` (for both, as Fluent Bit
//! reads it) are looked at, in capitals and in small letters, unless `NO_PROXY` names the destination or
//! `net.proxy_env_ignore` is on. Only `http://` proxies; what goes through a tunnel is encrypted end to end.

use std::fmt;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::connect::Endpoint;
use crate::net_config::NetConfig;

/// An HTTP proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Value of `Proxy-Authorization`.
    pub(crate) authorization: Option<String>,
}

/// A proxy address that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{name} {value}` is no usable proxy: {reason}; write `http://HOST:PORT`")]
pub struct ProxyError {
    /// The property or environment variable.
    pub name: String,
    /// What was written, without user and password.
    pub value: String,
    /// What is wrong.
    pub reason: &'static str,
}

/// Why a proxy opened no tunnel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelError {
    /// It answered with another status than 2xx.
    #[error("it answered {status}")]
    Status {
        /// For example 407 where it wants a password.
        status: u16,
    },
    /// It did not answer in HTTP.
    #[error("its answer is not HTTP, or its header is longer than {ANSWER_MAX} bytes")]
    NotHttp,
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Longest answer to CONNECT.
const ANSWER_MAX: usize = 8192;

impl Proxy {
    /// The proxy for `endpoint`: `explicit` (property `proxy`), else what the environment says.
    pub fn choose(
        explicit: Option<&str>,
        endpoint: &Endpoint,
        tls: bool,
        net: &NetConfig,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, ProxyError> {
        let (host, port) = match endpoint {
            Endpoint::Tcp { host, port } => (host, *port),
            #[cfg(unix)]
            Endpoint::Unix(_) => return Ok(None),
        };
        if let Some(text) = explicit {
            return Self::parse("proxy", text).map(Some);
        }
        if bool::from(net.proxy_env_ignore) {
            return Ok(None);
        }
        let get = |name: &'static str| Some((name, env(name)?)).filter(|(_, value)| !value.trim().is_empty());
        let secure = || get("HTTPS_PROXY").or_else(|| get("https_proxy"));
        let plain = || get("HTTP_PROXY").or_else(|| get("http_proxy"));
        let Some((name, text)) = (if tls { secure().or_else(plain) } else { plain() }) else {
            return Ok(None);
        };
        let exempt = get("NO_PROXY").or_else(|| get("no_proxy"));
        if exempt.is_some_and(|(_, list)| is_exempt(&list, host, port)) {
            return Ok(None);
        }
        Self::parse(name, &text).map(Some)
    }

    /// Reads `http://[user:password@]host[:port][/]`; the port is 80 where none is given.
    pub fn parse(name: &str, text: &str) -> Result<Self, ProxyError> {
        let text = text.trim();
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => Ok(rest),
            Some(_) => Err("only `http://` proxies are supported"),
            None => Ok(text),
        };
        let shown = text.rsplit_once('@').map_or(text, |(_, shown)| shown);
        let refuse = |reason| ProxyError {
            name: name.to_owned(),
            value: shown.to_owned(),
            reason,
        };
        let rest = rest.map_err(refuse)?;
        let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, address) = rest
            .rsplit_once('@')
            .map_or((None, rest), |(user, rest)| (Some(user), rest));
        let (host, port) = split_port(address);
        let port = match port {
            None => 80,
            Some(text) => text
                .parse()
                .map_err(|_| refuse("its port is not a number from 1 to 65535"))?,
        };
        if host.is_empty() || port == 0 {
            return Err(refuse("it has no host or its port is 0"));
        }
        let authorization = user.map(|user| format!("Basic {}", STANDARD.encode(percent_decoded(user))));
        Ok(Self {
            host: host.to_owned(),
            port,
            authorization,
        })
    }

    /// Asks for a tunnel; afterwards `stream` talks to `endpoint`.
    pub(crate) async fn open_tunnel(
        &self,
        stream: &mut TcpStream,
        endpoint: &Endpoint,
    ) -> Result<(), TunnelError> {
        let mut ask = format!("CONNECT {endpoint} HTTP/1.1\r\nHost: {endpoint}\r\n");
        if let Some(value) = &self.authorization {
            ask.push_str("Proxy-Authorization: ");
            ask.push_str(value);
            ask.push_str("\r\n");
        }
        ask.push_str("User-Agent: Fluent-Bit\r\n\r\n");
        stream.write_all(ask.as_bytes()).await?;
        // Behind the blank line the destination speaks. It speaks second in TLS, so nothing of it is lost
        // here.
        let mut answer = Vec::with_capacity(512);
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= ANSWER_MAX {
                return Err(TunnelError::NotHttp);
            }
            answer.push(stream.read_u8().await?);
        }
        match status(&answer) {
            Some(200..=299) => Ok(()),
            Some(status) => Err(TunnelError::Status { status }),
            None => Err(TunnelError::NotHttp),
        }
    }
}

/// Without user and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Endpoint::tcp(&self.host, self.port).fmt(f)
    }
}

/// Without user and password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// The process's environment, for [`Proxy::choose`].
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

/// `host:port`, `[v6]:port`, `host`, `[v6]`, `v6`.
fn split_port(address: &str) -> (&str, Option<&str>) {
    if let Some((host, after)) = address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, after.strip_prefix(':'));
    }
    match address.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (address, None),
    }
}

/// `NO_PROXY`: `*`, a host, a domain (with or without leading dot) and all below it, each with or without
/// port.
fn is_exempt(list: &str, host: &str, port: u16) -> bool {
    let host = host.to_ascii_lowercase();
    list.split([',', ' '])
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            let entry = entry.to_ascii_lowercase();
            let (name, only) = split_port(&entry);
            let name = name.trim_start_matches("*.").trim_start_matches('.');
            let below = || host.strip_suffix(name).is_some_and(|front| front.ends_with('.'));
            let named = name == "*" || host == name || (!name.is_empty() && below());
            named && only.is_none_or(|only| only.parse() == Ok(port))
        })
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let hex = |digit: &u8| char::from(*digit).to_digit(16);
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if hex(high).is_some() && hex(low).is_some() => {
                let value = hex(high).unwrap_or_default() * 16 + hex(low).unwrap_or_default();
                out.push(value as u8);
                rest = after;
            }
            _ => out.push(*first),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parsed(text: &str, want: Result<(&str, u16, Option<&str>), &str>) {
        let got = Proxy::parse("proxy", text);
        match (&got, want) {
            (Ok(proxy), Ok((host, port, auth))) => {
                assert_eq!(
                    (proxy.host.as_str(), proxy.port, proxy.authorization.as_deref()),
                    (host, port, auth)
                );
            }
            (Err(error), Err(want)) => assert_eq!(error.to_string(), want),
            _ => panic!("{text}: {got:?}"),
        }
    }

    #[test]
    fn proxies_are_read() {
        parsed("http://proxy:3128/", Ok(("proxy", 3128, None)));
        parsed("proxy.local", Ok(("proxy.local", 80, None)));
        parsed("http://[::1]:8080", Ok(("::1", 8080, None)));
        parsed(
            "http://me:p%40ss@proxy:1",
            Ok(("proxy", 1, Some("Basic bWU6cEBzcw=="))),
        );
        parsed(
            "socks5://u:secret@proxy:1",
            Err(
                "`proxy proxy:1` is no usable proxy: only `http://` proxies are supported; \
                 write `http://HOST:PORT`",
            ),
        );
        parsed(
            "http://proxy:99999",
            Err(
                "`proxy http://proxy:99999` is no usable proxy: its port is not a number from 1 to 65535; \
                 write `http://HOST:PORT`",
            ),
        );
    }

    #[track_caller]
    fn chosen(env: &[(&str, &str)], host: &str, tls: bool, want: Option<&str>) {
        let get = |name: &str| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let got = Proxy::choose(None, &Endpoint::tcp(host, 443), tls, &NetConfig::default(), &get).unwrap();
        assert_eq!(got.map(|proxy| proxy.to_string()).as_deref(), want);
    }

    #[test]
    fn the_environment_chooses() {
        let both = [
            ("HTTP_PROXY", "http://a:1"),
            ("https_proxy", "http://b:2"),
            ("NO_PROXY", "x.org, .y.org:443,[::1]"),
        ];
        chosen(&both, "z.org", false, Some("a:1"));
        chosen(&both, "z.org", true, Some("b:2"));
        chosen(&both[..1], "z.org", true, Some("a:1"));
        chosen(&both, "x.org", true, None);
        chosen(&both, "deep.X.org", true, None);
        chosen(&both, "notx.org", true, Some("b:2"));
        chosen(&both, "y.org", true, None);
        chosen(&both, "::1", true, None);
        chosen(
            &[("HTTP_PROXY", "http://a:1"), ("no_proxy", "*")],
            "z.org",
            false,
            None,
        );
        chosen(&[("HTTP_PROXY", "  ")], "z.org", false, None);
    }

    #[test]
    fn statuses_are_read_from_http_only() {
        assert_eq!(status(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407\r\n\r\n"), Some(407));
        assert_eq!(status(b"SSH-2.0-x\r\n\r\n"), None);
    }
}
