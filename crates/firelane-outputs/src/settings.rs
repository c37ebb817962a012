//! What the outputs' `build` functions share: network settings, workers, warnings and refusals with their
//! place.

use firelane_conf::{Class, Diagnostic, redact};
use firelane_core::{BuildCx, Limits, Order};
use firelane_net::{ClientTls, Connector, Endpoint, HttpClient, NetConfig, Proxy, Side, TlsConfig};

/// The `net.*` and `tls.*` properties of an instance, checked.
pub(crate) struct Network {
    /// `net.*`
    pub(crate) net: NetConfig,
    /// Where `tls on`.
    pub(crate) tls: Option<ClientTls>,
}

impl Network {
    /// Reads them, warning about what has no effect.
    pub(crate) fn read(cx: &BuildCx<'_>) -> Result<Self, Vec<Diagnostic>> {
        Self::read_as(cx, false)
    }

    /// As [`read`](Self::read), for outputs that speak TLS whatever `tls` says (AWS).
    pub(crate) fn read_forced(cx: &BuildCx<'_>) -> Result<Self, Vec<Diagnostic>> {
        Self::read_as(cx, true)
    }

    fn read_as(cx: &BuildCx<'_>, forced: bool) -> Result<Self, Vec<Diagnostic>> {
        let mut rest = cx.network.clone();
        let mut errors = Vec::new();
        let own = rest.take(TlsConfig::KEYS);
        for entry in rest.take_where(|key| key.starts_with("tls.")).entries {
            let reason = match entry.key.value.to_ascii_lowercase() {
                key if key.starts_with("tls.proxy.") => {
                    "a proxy is reached without TLS, only `http://` proxies are supported"
                }
                key if key.starts_with("tls.windows.") => "the Windows certificate store is not supported",
                _ => "there is no such property",
            };
            errors.push(refuse(cx, &entry.key.value, reason));
        }
        let tls = own
            .parse::<TlsConfig>(cx.instance)
            .map_err(|more| errors.extend(more));
        let net = rest
            .parse::<NetConfig>(cx.instance)
            .map_err(|more| errors.extend(more));
        let (Ok(mut tls), Ok(net)) = (tls, net) else {
            return Err(errors);
        };
        if forced {
            if cx.network.get("tls").is_some() && !tls.is_on() {
                warn(
                    cx,
                    "tls",
                    "has no effect: TLS is on unless `endpoint` says `http://`",
                );
            }
            tls.tls = true.into();
        }
        let given = |key: &str| cx.network.get(key).is_some();
        let unused = net.unsupported(Side::Client, given);
        for (key, reason) in unused.into_iter().chain(tls.unsupported(Side::Client, given)) {
            warn(cx, key, reason);
        }
        if let Err(error) = net.source() {
            errors.push(refuse(cx, "net.source_address", &error.to_string()));
        }
        let client = tls.is_on().then(|| ClientTls::build(&tls)).transpose();
        let client = client.map_err(|error| errors.push(refuse(cx, "tls", &error.to_string())));
        match client {
            Ok(tls) if errors.is_empty() => Ok(Self { net, tls }),
            _ => Err(errors),
        }
    }

    /// A connector to `endpoint`, without a proxy.
    pub(crate) fn connector(
        &self,
        cx: &BuildCx<'_>,
        endpoint: Endpoint,
    ) -> Result<Connector, Vec<Diagnostic>> {
        if cx.network.get("net.proxy_env_ignore").is_some() {
            let reason = "it has no effect: only `http` goes through a proxy";
            warn(cx, "net.proxy_env_ignore", reason);
        }
        Connector::new(endpoint, self.tls.clone(), &self.net)
            .map_err(|error| vec![refuse(cx, "net.source_address", &error.to_string())])
    }

    /// An HTTP client for `endpoint`, through `proxy` or the one that the environment names.
    pub(crate) fn http(
        &self,
        cx: &BuildCx<'_>,
        endpoint: Endpoint,
        proxy: Option<&str>,
    ) -> Result<HttpClient, Vec<Diagnostic>> {
        let env = firelane_net::proxy::process_env;
        let proxy = Proxy::choose(proxy, &endpoint, self.tls.is_some(), &self.net, &env)
            .map_err(|error| vec![refuse(cx, "proxy", &error.to_string())])?;
        HttpClient::new(endpoint, self.tls.clone(), &self.net, proxy)
            .map_err(|error| vec![refuse(cx, "net.source_address", &error.to_string())])
    }
}

/// An error at the property `key`, or at the section where it was not written.
pub(crate) fn refuse(cx: &BuildCx<'_>, key: &str, reason: &str) -> Diagnostic {
    let entry = cx.section.get(key);
    let span = entry.map_or(cx.section.span, |entry| entry.value.span);
    Diagnostic::error("FL0310", Class::Init, format!("{}: {reason}", written(cx, key)))
        .at(span)
        .plugin(cx.instance)
}

/// A warning at the property `key`: accepted, but not as the user may think.
pub(crate) fn warn(cx: &BuildCx<'_>, key: &str, reason: &str) {
    let entry = cx.section.get(key);
    let span = entry.map_or(cx.section.span, |entry| entry.key.span);
    let warning = Diagnostic::warning("FL0405", format!("{}: {reason}", written(cx, key))).at(span);
    cx.warnings.push(warning.plugin(cx.instance));
}

fn written(cx: &BuildCx<'_>, key: &str) -> String {
    match cx.section.get(key) {
        Some(entry) if !redact::is_secret(key) => {
            format!("`{key} {}`", redact::value(key, &entry.value.value))
        }
        _ => format!("`{key}`"),
    }
}

/// Limits of an output that Fluent Bit gives `default` workers: with one, order is kept.
pub(crate) fn limits(cx: &BuildCx<'_>, default: usize) -> Limits {
    let workers = cx.workers.unwrap_or(default).max(1);
    Limits {
        order: if workers == 1 {
            Order::PerStream
        } else {
            Order::Any
        },
        in_flight_max: workers,
        ..Limits::default()
    }
}

/// Limits of an output whose chunks must follow each other, whatever `workers` says.
pub(crate) fn serial(cx: &BuildCx<'_>) -> Limits {
    if cx.workers.is_some_and(|workers| workers > 1) {
        warn(
            cx,
            "workers",
            "this output writes one chunk after the other to keep their order",
        );
    }
    Limits::default()
}
