//! The `tls*` properties.

use std::path::PathBuf;

use firelane_conf::units::{OnOff, Secret};
use rustls::{SupportedProtocolVersion, version};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{TlsError, key};
use crate::net_config::Side;

/// The `tls*` properties of an input or output.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TlsConfig {
    /// Speak TLS.
    pub tls: OnOff,
    /// Check the peer's certificate chain. `off` accepts any certificate, also a forged one.
    #[serde(rename = "tls.verify")]
    pub verify: OnOff,
    /// Check that the certificate carries the name that was connected to (`tls.vhost`, else the host).
    /// Checked unless this is written as `off` (Fluent Bit checks only when it is written as `on`).
    #[serde(rename = "tls.verify_hostname")]
    pub verify_hostname: Option<OnOff>,
    /// Server side: demand a client certificate signed by `tls.ca_file` or `tls.ca_path`.
    #[serde(rename = "tls.verify_client_cert")]
    pub verify_client_cert: OnOff,
    /// PEM file of the authorities to trust instead of the system's bundle.
    #[serde(rename = "tls.ca_file")]
    pub ca_file: Option<PathBuf>,
    /// Directory of PEM files of authorities to trust (`.pem`, `.crt`, `.cer` and hashed names).
    #[serde(rename = "tls.ca_path")]
    pub ca_path: Option<PathBuf>,
    /// PEM file of our own certificate, with its chain.
    #[serde(rename = "tls.crt_file")]
    pub crt_file: Option<PathBuf>,
    /// PEM file of the private key that belongs to `tls.crt_file`.
    #[serde(rename = "tls.key_file")]
    pub key_file: Option<PathBuf>,
    /// Password of the private key, where `tls.key_file` is encrypted (PKCS#8 with PBES2).
    #[serde(rename = "tls.key_passwd")]
    pub key_passwd: Option<Secret>,
    /// Name to ask for (SNI) and to check, instead of the host.
    #[serde(rename = "tls.vhost")]
    pub vhost: Option<String>,
    /// Lowest protocol version: `TLSv1.2` (default) or `TLSv1.3`.
    #[serde(rename = "tls.min_version")]
    pub min_version: Option<String>,
    /// Highest protocol version: `TLSv1.2` or `TLSv1.3` (default).
    #[serde(rename = "tls.max_version")]
    pub max_version: Option<String>,
    /// Cipher list in OpenSSL's words. Not supported: only strong suites are offered anyway.
    #[serde(rename = "tls.ciphers")]
    pub ciphers: Option<String>,
    /// OpenSSL debug level. Has no effect here.
    #[serde(rename = "tls.debug")]
    pub debug: Option<i64>,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            tls: OnOff::from(false),
            verify: OnOff::from(true),
            verify_hostname: None,
            verify_client_cert: OnOff::from(false),
            ca_file: None,
            ca_path: None,
            crt_file: None,
            key_file: None,
            key_passwd: None,
            vhost: None,
            min_version: None,
            max_version: None,
            ciphers: None,
            debug: None,
        }
    }
}

impl TlsConfig {
    /// Names of the `tls*` properties, for splitting them from a plugin's own.
    pub const KEYS: &[&str] = &[
        "tls",
        "tls.verify",
        "tls.verify_hostname",
        "tls.verify_client_cert",
        "tls.ca_file",
        "tls.ca_path",
        "tls.crt_file",
        "tls.key_file",
        "tls.key_passwd",
        "tls.vhost",
        "tls.min_version",
        "tls.max_version",
        "tls.ciphers",
        "tls.debug",
    ];

    /// `tls on` was written.
    pub fn is_on(&self) -> bool {
        bool::from(self.tls)
    }

    /// Properties that are set but change nothing or weaken the connection: name and reason, to be warned
    /// about. `given` tells whether a property was written.
    pub fn unsupported(&self, side: Side, given: impl Fn(&str) -> bool) -> Vec<(&'static str, &'static str)> {
        let set = Self::KEYS.iter().filter(|key| **key != "tls" && given(key));
        if !self.is_on() {
            return set.map(|key| (*key, "it has no effect: `tls` is off")).collect();
        }
        let demands = bool::from(self.verify_client_cert);
        let unused = set.filter_map(|&key| match (side, key) {
            (Side::Client, "tls.verify_client_cert") => Some((key, "it has no effect: it is for inputs")),
            (Side::Server, "tls.verify" | "tls.verify_hostname" | "tls.vhost") => Some((
                key,
                "it has no effect on an input; `tls.verify_client_cert on` asks clients for certificates",
            )),
            (Side::Server, "tls.ca_file" | "tls.ca_path") if !demands => {
                Some((key, "it has no effect without `tls.verify_client_cert on`"))
            }
            _ => None,
        });
        let mut list: Vec<_> = unused.collect();
        if self.key_passwd.is_some() && !self.has_encrypted_key() {
            let reason = "it has no effect: there is no encrypted `tls.key_file`; is another file meant?";
            list.push(("tls.key_passwd", reason));
        }
        if self.debug.is_some() {
            list.push(("tls.debug", "there is no OpenSSL to debug; it has no effect"));
        }
        if self.ciphers.is_some() {
            list.push((
                "tls.ciphers",
                "only strong cipher suites are offered; the list has no effect",
            ));
        }
        if side == Side::Client && !bool::from(self.verify) {
            list.push((
                "tls.verify",
                "certificates are not checked: anybody on the path can read and change data",
            ));
        }
        list
    }

    /// Whether the private key is under a password. A file that cannot be read is told by `build`.
    fn has_encrypted_key(&self) -> bool {
        let Some(path) = &self.key_file else { return false };
        std::fs::read(path).map_or(true, |pem| key::is_encrypted(&pem))
    }

    /// The protocol versions between `tls.min_version` and `tls.max_version`.
    pub(super) fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
        let lowest = protocol("tls.min_version", self.min_version.as_deref())?;
        let highest = protocol("tls.max_version", self.max_version.as_deref())?;
        let min = lowest.unwrap_or(Protocol::Tls12).max(Protocol::Tls12);
        let max = highest.unwrap_or(Protocol::Tls13);
        if max < Protocol::Tls12 {
            return Err(TlsError::OldProtocol {
                version: self.max_version.clone().unwrap_or_default(),
            });
        }
        let all = [
            (Protocol::Tls12, &version::TLS12),
            (Protocol::Tls13, &version::TLS13),
        ];
        let chosen: Vec<_> = all
            .iter()
            .filter(|(p, _)| (min..=max).contains(p))
            .map(|(_, v)| *v)
            .collect();
        if chosen.is_empty() {
            Err(TlsError::NoProtocol)
        } else {
            Ok(chosen)
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Protocol {
    Older,
    Tls12,
    Tls13,
}

fn protocol(property: &'static str, written: Option<&str>) -> Result<Option<Protocol>, TlsError> {
    let Some(text) = written else { return Ok(None) };
    let version = match text
        .to_ascii_lowercase()
        .trim_start_matches("tls")
        .trim_start_matches('v')
    {
        "1" | "1.0" | "1.1" => Protocol::Older,
        "1.2" => Protocol::Tls12,
        "1.3" => Protocol::Tls13,
        _ => {
            return Err(TlsError::UnknownProtocol {
                property,
                value: text.to_owned(),
            });
        }
    };
    Ok(Some(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_keys_is_the_struct() {
        let schema = schemars::schema_for!(TlsConfig);
        let properties = schema
            .get("properties")
            .and_then(|value| value.as_object())
            .unwrap();
        let mut fields: Vec<&str> = properties.keys().map(String::as_str).collect();
        let mut keys = TlsConfig::KEYS.to_vec();
        fields.sort_unstable();
        keys.sort_unstable();
        assert_eq!(fields, keys);
    }
}
