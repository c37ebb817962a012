//! `forward`: the Forward protocol, to Fluent Bit, Fluentd or another firelane.
//!
//! Bytes: `[tag, [[time, record], …]]`; with metadata, and only there, `[[time, metadata], record]` (Fluent
//! Bit since 5.0.5 writes that form always, and Fluentd up to 1.19 refuses it). Options follow where
//! something needs them; gzip packs the entries. A tag made of the record's fields makes a message of each
//! record.
//!
//! On failure (connection, TLS, handshake, write, a missing or wrong acknowledgement) the chunk is sent again
//! with the same id; a lost acknowledgement is ambiguous. Without `require_ack_response` what the system took
//! over counts as delivered, as in Fluent Bit: set it where no record may be lost.
//!
//! Deliberately not here: `upstream` (several nodes), metrics and traces.

mod encode;
mod handshake;
mod send;

use std::sync::Arc;

use firelane_conf::Diagnostic;
use firelane_conf::units::{OnOff, Secret, Words};
use firelane_core::{BuildCx, GroupBy, Output, OutputConfig, OutputPlugin, Stability};
use firelane_net::{Encoding, Endpoint};
use firelane_record::accessor::Template;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::settings::{Network, limits, refuse, warn};
use crate::squeeze::{Coding, Squeeze};
use crate::wire::Wire;
use encode::Encoder;
use handshake::Credentials;
use send::Forward;

/// `[OUTPUT] Name forward`
pub static PLUGIN: OutputPlugin = OutputPlugin::new::<Config>(
    "forward",
    "sends records by the Forward protocol",
    Stability::Beta,
)
.network();

/// Properties of `[OUTPUT] Name forward`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Host name or address; 127.0.0.1 where absent.
    host: Option<String>,
    /// Port; 24224 where absent or 0.
    port: Option<u16>,
    /// Unix socket in place of host and port.
    unix_path: Option<String>,
    /// Integer seconds in place of EventTime. Default off.
    time_as_integer: Option<OnOff>,
    /// Keep metadata of records that have any. Default on.
    retain_metadata_in_forward_mode: Option<OnOff>,
    /// Key that both sides know.
    shared_key: Option<Secret>,
    /// Do the handshake with an empty key. Default off.
    empty_shared_key: Option<OnOff>,
    /// Our name in the handshake. Default `localhost`.
    self_hostname: Option<String>,
    /// User for servers that ask for one.
    username: Option<String>,
    /// Password of the user.
    password: Option<Secret>,
    /// Write the options map even where nothing needs it. Default off.
    send_options: Option<OnOff>,
    /// Wait for the server's acknowledgement of each chunk. Default off.
    require_ack_response: Option<OnOff>,
    /// Tag in place of the records' own: text, or text with record accessors (`svc.$app`).
    tag: Option<String>,
    /// `text` (default) or `gzip`.
    compress: Option<String>,
    /// Ours: gzip 1–12. Default 1.
    compress_level: Option<i32>,
    /// Pairs that are added to the options: key, then value. May be repeated.
    add_option: Vec<Words<2>>,
    /// For metrics and traces only, which this output does not carry.
    fluentd_compat: Option<OnOff>,
    /// Not supported yet: a file with several nodes.
    upstream: Option<String>,
}

fn is_on(given: Option<OnOff>, default: bool) -> bool {
    given.map_or(default, bool::from)
}

impl OutputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        let mut errors = Vec::new();
        if self.upstream.is_some() {
            errors.push(refuse(
                cx,
                "upstream",
                "several nodes are not supported yet; name one with `host`",
            ));
        }
        if self.fluentd_compat.is_some() {
            warn(
                cx,
                "fluentd_compat",
                "has no effect: it is for metrics and traces",
            );
        }
        let network = Network::read(cx).map_err(|more| errors.extend(more));
        let credentials = self.credentials(cx).map_err(|error| errors.push(error));
        let encoder = self.encoder(cx).map_err(|error| errors.push(error));
        let (Ok(network), Ok(credentials), Ok(encoder), true) =
            (network, credentials, encoder, errors.is_empty())
        else {
            return Err(errors);
        };
        let limits = limits(cx, 2);
        let connector = network.connector(cx, self.endpoint(cx, &network))?;
        let group_by = match &encoder.tag {
            Some(_) => GroupBy::All,
            None => GroupBy::Tag,
        };
        Ok(Arc::new(Forward {
            limits,
            wire: Wire::new(connector, &network.net, limits.in_flight_max),
            encoder: Arc::new(encoder),
            credentials,
            group_by,
        }))
    }
}

impl Config {
    fn endpoint(&self, cx: &BuildCx<'_>, network: &Network) -> Endpoint {
        #[cfg(unix)]
        if let Some(path) = &self.unix_path {
            if network.tls.is_some() {
                warn(cx, "tls", "has no effect: a unix socket is not encrypted");
            }
            for (key, is_set) in [("host", self.host.is_some()), ("port", self.port.is_some())] {
                if is_set {
                    warn(cx, key, "has no effect beside `unix_path`");
                }
            }
            return Endpoint::unix(path);
        }
        Endpoint::tcp(
            self.host.as_deref().unwrap_or("127.0.0.1"),
            self.port.filter(|&port| port != 0).unwrap_or(24224),
        )
    }

    fn credentials(&self, cx: &BuildCx<'_>) -> Result<Option<Credentials>, Diagnostic> {
        let key = match &self.shared_key {
            Some(key) => key.expose(),
            None if is_on(self.empty_shared_key, false) => "",
            None if self.username.is_some() => {
                return Err(refuse(
                    cx,
                    "username",
                    "needs `shared_key`, or `empty_shared_key on`",
                ));
            }
            None if self.password.is_some() => {
                return Err(refuse(
                    cx,
                    "password",
                    "needs `shared_key`, or `empty_shared_key on`",
                ));
            }
            None => {
                if self.self_hostname.is_some() {
                    warn(cx, "self_hostname", "has no effect without `shared_key`");
                }
                return Ok(None);
            }
        };
        Ok(Some(Credentials {
            shared_key: key.to_owned(),
            hostname: self
                .self_hostname
                .clone()
                .unwrap_or_else(|| "localhost".to_owned()),
            username: self.username.clone().unwrap_or_default(),
            password: self.password.as_ref().map_or("", Secret::expose).to_owned(),
        }))
    }

    fn encoder(&self, cx: &BuildCx<'_>) -> Result<Encoder, Diagnostic> {
        let tag = self.tag.as_deref().map(Template::parse).transpose();
        let tag = tag.map_err(|error| refuse(cx, "tag", &error.to_string()))?;
        let squeeze = self.squeeze(cx)?;
        let time_as_integer = is_on(self.time_as_integer, false);
        if squeeze.is_some() && time_as_integer {
            return Err(refuse(cx, "compress", "cannot be used with `time_as_integer`"));
        }
        if squeeze.is_some() && tag.as_ref().is_some_and(|tag| !tag.is_constant()) {
            return Err(refuse(
                cx,
                "compress",
                "cannot be used with a `tag` that is made per record",
            ));
        }
        let pair = |words: &Words<2>| match &words.0[..] {
            [key, value, rest @ ..] => {
                let value = rest
                    .iter()
                    .fold(value.clone(), |value, word| format!("{value} {word}"));
                Some((key.clone(), value))
            }
            _ => None,
        };
        Ok(Encoder {
            tag,
            time_as_integer,
            keep_metadata: is_on(self.retain_metadata_in_forward_mode, true) && !time_as_integer,
            squeeze,
            send_options: is_on(self.send_options, false),
            ack: is_on(self.require_ack_response, false),
            extra: self.add_option.iter().filter_map(pair).collect(),
        })
    }

    fn squeeze(&self, cx: &BuildCx<'_>) -> Result<Option<Squeeze>, Diagnostic> {
        let name = self.compress.as_deref().unwrap_or("text");
        match name.to_ascii_lowercase().as_str() {
            "text" => {
                if self.compress_level.is_some() {
                    warn(cx, "compress_level", "has no effect without `compress gzip`");
                }
                Ok(None)
            }
            "gzip" => Squeeze::new(Coding::Stream(Encoding::Gzip), self.compress_level)
                .map(Some)
                .map_err(|error| refuse(cx, "compress_level", &error.to_string())),
            _ => Err(refuse(cx, "compress", "use text or gzip")),
        }
    }
}
