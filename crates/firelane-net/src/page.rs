//! Single pages by their URLs: metadata, credentials, health. Not for destinations: those keep their
//! connections ([`HttpClient`]).

use std::net::IpAddr;
use std::time::Duration;

use ::http::Method;
use bytes::Bytes;

use crate::aws::{AwsEndpoint, EndpointError};
use crate::connect::Endpoint;
use crate::http::{HttpClient, Request, Response};
use crate::net_config::NetConfig;
use crate::proxy::{Proxy, process_env};
use crate::tls::{ClientTls, TlsConfig};

/// Most bytes of a page that are kept.
const PAGE_MAX: usize = 1 << 20;

/// Gets a page, whatever its status. `limit`: for the connection, and again for the whole answer. What
/// stands beside us (loopback, link-local) is never asked through a proxy; all else through that of the
/// environment.
///
/// # Errors
/// The text is no URL of `http` or `https`, or there is no answer: for people.
pub async fn get(url: &str, limit: Duration) -> Result<Response, String> {
    let (place, target) = parts(url).map_err(|error| error.to_string())?;
    let client = client(&place, limit)?.response_timeout(limit);
    client
        .send(request(target))
        .await
        .map_err(|error| error.to_string())
}

/// A request for a page.
pub(crate) fn request(target: String) -> Request {
    Request {
        method: Method::GET,
        target,
        headers: Vec::new(),
        body: Bytes::new(),
    }
}

/// Where a URL leads, and its path with the query.
pub(crate) fn parts(url: &str) -> Result<(AwsEndpoint, String), EndpointError> {
    let at = url.find("://").map_or(0, |at| at + 3);
    let path = url[at..].find('/').map_or(url.len(), |slash| at + slash);
    let target = if path == url.len() { "/" } else { &url[path..] };
    Ok((AwsEndpoint::parse(&url[..path], None)?, target.to_owned()))
}

/// TLS with the system's roots.
pub(crate) fn tls() -> Result<ClientTls, String> {
    let config = TlsConfig {
        tls: true.into(),
        ..TlsConfig::default()
    };
    ClientTls::build(&config).map_err(|error| error.to_string())
}

/// A client for one call.
pub(crate) fn client(place: &AwsEndpoint, limit: Duration) -> Result<HttpClient, String> {
    let net = NetConfig {
        connect_timeout: limit.into(),
        keepalive: false.into(),
        ..NetConfig::default()
    };
    let endpoint = Endpoint::tcp(&place.host, place.port);
    let proxy = match is_near(&place.host) {
        true => None,
        false => Proxy::choose(None, &endpoint, place.is_tls, &net, &process_env)
            .map_err(|error| error.to_string())?,
    };
    let tls = place.is_tls.then(tls).transpose()?;
    let client = HttpClient::new(endpoint, tls, &net, proxy).map_err(|error| error.to_string())?;
    Ok(client.response_limit(PAGE_MAX))
}

/// This machine, or what stands beside it (container and instance metadata): never behind a proxy, and
/// their tokens are none of its business.
fn is_near(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_link_local(),
        // fd00:ec2::/32 is that of the instance and of EKS.
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback() || ip.is_unicast_link_local() || ip.segments()[..2] == [0xfd00, 0xec2]
        }
        Err(_) => bare.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_two_parts() {
        let (place, target) = parts("http://[::1]:80/a?b=/c").unwrap();
        assert_eq!((place.host.as_str(), target.as_str()), ("[::1]", "/a?b=/c"));
        let (place, target) = parts("https://host").unwrap();
        assert_eq!((place.port, place.is_tls, target.as_str()), (443, true, "/"));
        assert!(parts("ftp://host/").is_err());
    }

    #[test]
    fn neighbours_are_known() {
        for host in [
            "127.0.0.1",
            "169.254.170.2",
            "169.254.169.254",
            "[::1]",
            "[fd00:ec2::254]",
            "LocalHost",
        ] {
            assert!(is_near(host), "{host}");
        }
        for host in ["10.0.0.1", "sts.us-east-1.amazonaws.com", "[fd00:ec3::254]"] {
            assert!(!is_near(host), "{host}");
        }
    }
}
