//! Properties of `http`.

use firelane_conf::Diagnostic;
use firelane_conf::units::{Interval, OnOff, Secret, Words};
use firelane_core::{BuildCx, Output, OutputConfig};
use firelane_net::aws::{AwsClient, AwsSettings, Service};
use firelane_net::{Encoding, Endpoint};
use firelane_record::accessor::Accessor;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

use super::HttpPost;
use super::encode::{Encoder, Headers, PerRecord};
use crate::aws;
use crate::driver::Http;
use crate::payload::{Format, Payload};
use crate::settings::{Network, limits, refuse, warn};
use crate::squeeze::{Coding, Squeeze};

/// Properties of `[OUTPUT] Name http`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Host name or address of the server; 127.0.0.1 where absent.
    host: Option<String>,
    /// Port of the server; 80 where absent or 0, with TLS too.
    port: Option<u16>,
    /// Path and query; a missing leading slash is added. `/` where absent.
    uri: Option<String>,
    /// `POST` (default) or `PUT`.
    http_method: Option<String>,
    /// `json` (default), `json_lines`, `json_stream` or `msgpack`.
    format: Option<String>,
    /// Key of the date in JSON formats; `false` leaves it out. Default `date`.
    json_date_key: Option<String>,
    /// `double` (default), `epoch`, `epoch_ms`, `iso8601` or `java_sql_timestamp`.
    json_date_format: Option<String>,
    /// A header: its name, then its value. May be repeated.
    header: Vec<Words<1>>,
    /// Header that carries the tag.
    header_tag: Option<String>,
    /// Send headers of one name beside each other; off: the later one takes the place of the earlier one.
    /// Default on.
    allow_duplicated_headers: Option<OnOff>,
    /// User for basic authentication.
    http_user: Option<String>,
    /// Password for basic authentication.
    http_passwd: Option<Secret>,
    /// `gzip`, `zstd` or `snappy` (one raw block).
    compress: Option<String>,
    /// Ours: gzip 1–12, zstd 1–19. Default 1, the best trade of size and time on logs.
    compress_level: Option<i32>,
    /// `http://host:port` of a proxy; else `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` are obeyed.
    proxy: Option<String>,
    /// Show the beginning of the server's answer in messages about failures. Default on.
    log_response_payload: Option<OnOff>,
    /// Longest wait for the whole answer. Default 60s.
    #[serde(rename = "http.response_timeout")]
    response_timeout: Option<Interval>,
    /// Longest silence within an answer. The response timeout covers it.
    #[serde(rename = "http.read_idle_timeout")]
    read_idle_timeout: Option<Interval>,
    /// Record accessor of the value that is the body: one request per record. Needs `headers_key`.
    body_key: Option<String>,
    /// Record accessor of the map that holds the request's headers. Needs `body_key`.
    headers_key: Option<String>,
    /// Sign requests with AWS Signature Version 4. Default off.
    aws_auth: Option<OnOff>,
    /// Service in the signature; needed with `aws_auth on`.
    aws_service: Option<String>,
    /// Region in the signature; else the environment's, the profile's or the instance's.
    aws_region: Option<String>,
    /// Address of STS for the role.
    aws_sts_endpoint: Option<String>,
    /// Role to assume.
    aws_role_arn: Option<String>,
    /// External id for the role.
    aws_external_id: Option<String>,
    /// Profile of the credentials.
    aws_profile: Option<String>,
    /// Not supported yet.
    #[serde(rename = "oauth2.enable")]
    oauth2_enable: Option<OnOff>,
    /// Goes with `oauth2.enable`.
    #[serde(rename = "oauth2.token_url")]
    oauth2_token_url: Option<String>,
    /// Goes with `oauth2.enable`.
    #[serde(rename = "oauth2.client_id")]
    oauth2_client_id: Option<String>,
    /// Goes with `oauth2.enable`.
    #[serde(rename = "oauth2.client_secret")]
    oauth2_client_secret: Option<Secret>,
    /// Goes with `oauth2.enable`.
    #[serde(rename = "oauth2.user_agent")]
    oauth2_user_agent: Option<String>,
    /// Goes with `oauth2.enable`.
    #[serde(rename = "oauth2.scope")]
    oauth2_scope: Option<String>,
    /// Goes with `oauth2.enable`.
    #[serde(rename = "oauth2.audience")]
    oauth2_audience: Option<String>,
    /// Goes with `oauth2.enable`.
    #[serde(rename = "oauth2.resource")]
    oauth2_resource: Option<String>,
    /// Goes with `oauth2.enable`.
    #[serde(rename = "oauth2.auth_method")]
    oauth2_auth_method: Option<String>,
    /// Goes with `oauth2.enable`.
    #[serde(rename = "oauth2.jwt_key_file")]
    oauth2_jwt_key_file: Option<String>,
    /// Goes with `oauth2.enable`.
    #[serde(rename = "oauth2.jwt_cert_file")]
    oauth2_jwt_cert_file: Option<String>,
    /// Goes with `oauth2.enable`.
    #[serde(rename = "oauth2.jwt_aud")]
    oauth2_jwt_aud: Option<String>,
    /// Goes with `oauth2.enable`.
    #[serde(rename = "oauth2.jwt_header")]
    oauth2_jwt_header: Option<String>,
    /// Goes with `oauth2.enable`.
    #[serde(rename = "oauth2.jwt_ttl_seconds")]
    oauth2_jwt_ttl_seconds: Option<i64>,
    /// Goes with `oauth2.enable`.
    #[serde(rename = "oauth2.refresh_skew_seconds")]
    oauth2_refresh_skew_seconds: Option<i64>,
    /// Goes with `oauth2.enable`.
    #[serde(rename = "oauth2.timeout")]
    oauth2_timeout: Option<Interval>,
    /// Goes with `oauth2.enable`.
    #[serde(rename = "oauth2.connect_timeout")]
    oauth2_connect_timeout: Option<Interval>,
    /// Goes with `format gelf`, which is not supported.
    gelf_timestamp_key: Option<String>,
    /// Goes with `format gelf`, which is not supported.
    gelf_host_key: Option<String>,
    /// Goes with `format gelf`, which is not supported.
    gelf_short_message_key: Option<String>,
    /// Goes with `format gelf`, which is not supported.
    gelf_full_message_key: Option<String>,
    /// Goes with `format gelf`, which is not supported.
    gelf_level_key: Option<String>,
}

impl OutputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        let mut errors = Vec::new();
        self.waiting(cx, &mut errors);
        let network = Network::read(cx).map_err(|more| errors.extend(more));
        let payload = self.payload(cx).map_err(|error| errors.push(error));
        let method = self.method(cx).map_err(|error| errors.push(error));
        let squeeze = self.squeeze(cx).map_err(|error| errors.push(error));
        let per_record = self.per_record(cx).map_err(|error| errors.push(error));
        let headers = self.headers(cx).map_err(|error| errors.push(error));
        let endpoint = Endpoint::tcp(
            self.host.as_deref().unwrap_or("127.0.0.1"),
            self.port.filter(|&port| port != 0).unwrap_or(80),
        );
        let place = endpoint.to_string();
        let (Ok(network), Ok(payload), Ok(method), Ok(squeeze), Ok(per_record), Ok(headers)) =
            (network, payload, method, squeeze, per_record, headers)
        else {
            return Err(errors);
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        let output = HttpPost {
            limits: limits(cx, 2),
            encoder: Encoder::new(method, self.target(), headers, payload, squeeze, per_record),
            place,
            log_payload: is_on(self.log_response_payload, true),
        };
        if is_on(self.aws_auth, false) {
            let service = Service::named(self.aws_service.as_deref().unwrap_or_default());
            let client = aws::client_at(cx, service, self.aws(), network, &endpoint)?;
            return Ok(Arc::new(Http::signed(output, self.timed(client))));
        }
        let client = network.http(cx, endpoint, self.proxy.as_deref())?;
        let client = match self.response_timeout {
            Some(limit) => client.response_timeout(limit.into()),
            None => client,
        };
        Ok(Arc::new(Http::new(output, client)))
    }
}

fn is_on(given: Option<OnOff>, default: bool) -> bool {
    given.map_or(default, bool::from)
}

impl Config {
    /// What later work will bring: refused where it is switched on, warned about where it only lies around.
    fn waiting(&self, cx: &BuildCx<'_>, errors: &mut Vec<Diagnostic>) {
        if is_on(self.aws_auth, false) {
            let given = [
                (
                    "aws_service",
                    self.aws_service.is_none(),
                    "is needed with `aws_auth on`",
                ),
                (
                    "http_user",
                    self.http_user.is_some(),
                    "cannot go with `aws_auth on`: the signature takes its header",
                ),
                (
                    "proxy",
                    self.proxy.is_some(),
                    "does not go with `aws_auth on`: use HTTP_PROXY or HTTPS_PROXY",
                ),
            ];
            let bad = given.iter().filter(|(_, is_bad, _)| *is_bad);
            errors.extend(bad.map(|(key, _, why)| refuse(cx, key, why)));
        }
        if is_on(self.oauth2_enable, false) {
            errors.push(refuse(
                cx,
                "oauth2.enable",
                "OAuth 2 is not supported yet; pass a token by `header`",
            ));
        }
        let groups = [
            (
                &self.aws_settings()[..],
                "`aws_auth` is off",
                is_on(self.aws_auth, false),
            ),
            (&self.oauth_settings(), "`oauth2.enable` is off", false),
            (&self.gelf_settings(), "`format gelf` is not supported", false),
        ];
        for (settings, why, heeded) in groups {
            for (key, _) in settings.iter().filter(|(_, is_set)| *is_set && !heeded) {
                warn(cx, key, &format!("has no effect: {why}"));
            }
        }
        if self.read_idle_timeout.is_some() {
            warn(
                cx,
                "http.read_idle_timeout",
                "has no effect: `http.response_timeout` covers the whole answer",
            );
        }
    }

    fn timed(&self, client: AwsClient) -> AwsClient {
        match self.response_timeout {
            Some(limit) => client.response_timeout(limit.into()),
            None => client,
        }
    }

    fn aws(&self) -> AwsSettings {
        AwsSettings {
            region: self.aws_region.clone(),
            profile: self.aws_profile.clone(),
            role_arn: self.aws_role_arn.clone(),
            external_id: self.aws_external_id.clone(),
            sts_endpoint: self.aws_sts_endpoint.clone(),
            ..AwsSettings::default()
        }
    }

    /// What goes with `aws_auth`, and whether it is set.
    fn aws_settings(&self) -> [(&'static str, bool); 6] {
        [
            ("aws_service", self.aws_service.is_some()),
            ("aws_region", self.aws_region.is_some()),
            ("aws_sts_endpoint", self.aws_sts_endpoint.is_some()),
            ("aws_role_arn", self.aws_role_arn.is_some()),
            ("aws_external_id", self.aws_external_id.is_some()),
            ("aws_profile", self.aws_profile.is_some()),
        ]
    }

    /// What goes with `oauth2.enable`, and whether it is set.
    fn oauth_settings(&self) -> [(&'static str, bool); 16] {
        [
            ("oauth2.token_url", self.oauth2_token_url.is_some()),
            ("oauth2.client_id", self.oauth2_client_id.is_some()),
            ("oauth2.client_secret", self.oauth2_client_secret.is_some()),
            ("oauth2.user_agent", self.oauth2_user_agent.is_some()),
            ("oauth2.scope", self.oauth2_scope.is_some()),
            ("oauth2.audience", self.oauth2_audience.is_some()),
            ("oauth2.resource", self.oauth2_resource.is_some()),
            ("oauth2.auth_method", self.oauth2_auth_method.is_some()),
            ("oauth2.jwt_key_file", self.oauth2_jwt_key_file.is_some()),
            ("oauth2.jwt_cert_file", self.oauth2_jwt_cert_file.is_some()),
            ("oauth2.jwt_aud", self.oauth2_jwt_aud.is_some()),
            ("oauth2.jwt_header", self.oauth2_jwt_header.is_some()),
            ("oauth2.jwt_ttl_seconds", self.oauth2_jwt_ttl_seconds.is_some()),
            (
                "oauth2.refresh_skew_seconds",
                self.oauth2_refresh_skew_seconds.is_some(),
            ),
            ("oauth2.timeout", self.oauth2_timeout.is_some()),
            ("oauth2.connect_timeout", self.oauth2_connect_timeout.is_some()),
        ]
    }

    /// What goes with `format gelf`, and whether it is set.
    fn gelf_settings(&self) -> [(&'static str, bool); 5] {
        [
            ("gelf_timestamp_key", self.gelf_timestamp_key.is_some()),
            ("gelf_host_key", self.gelf_host_key.is_some()),
            ("gelf_short_message_key", self.gelf_short_message_key.is_some()),
            ("gelf_full_message_key", self.gelf_full_message_key.is_some()),
            ("gelf_level_key", self.gelf_level_key.is_some()),
        ]
    }

    fn payload(&self, cx: &BuildCx<'_>) -> Result<Payload, Diagnostic> {
        let format = match self.format.as_deref() {
            None => Format::Json,
            Some(name) => Format::by_name(name).map_err(|reason| refuse(cx, "format", &reason))?,
        };
        Ok(Payload::new(
            cx,
            format,
            self.json_date_key.as_deref(),
            self.json_date_format.as_deref(),
        ))
    }

    fn method(&self, cx: &BuildCx<'_>) -> Result<&'static str, Diagnostic> {
        match self
            .http_method
            .as_deref()
            .unwrap_or("POST")
            .to_ascii_uppercase()
            .as_str()
        {
            "POST" => Ok("POST"),
            "PUT" => Ok("PUT"),
            _ => Err(refuse(cx, "http_method", "only POST and PUT carry a body")),
        }
    }

    fn target(&self) -> String {
        match self.uri.as_deref().unwrap_or("/") {
            uri if uri.starts_with('/') => uri.to_owned(),
            uri => format!("/{uri}"),
        }
    }

    fn squeeze(&self, cx: &BuildCx<'_>) -> Result<Option<Squeeze>, Diagnostic> {
        let Some(name) = self.compress.as_deref() else {
            if self.compress_level.is_some() {
                warn(cx, "compress_level", "has no effect without `compress`");
            }
            return Ok(None);
        };
        let coding = match name.to_ascii_lowercase().as_str() {
            "gzip" => Coding::Stream(Encoding::Gzip),
            "zstd" => Coding::Stream(Encoding::Zstd),
            "snappy" => Coding::Snappy,
            _ => return Err(refuse(cx, "compress", "use gzip, snappy or zstd")),
        };
        Squeeze::new(coding, self.compress_level)
            .map(Some)
            .map_err(|error| refuse(cx, "compress_level", &error.to_string()))
    }

    fn per_record(&self, cx: &BuildCx<'_>) -> Result<Option<PerRecord>, Diagnostic> {
        let (body, headers) = match (self.body_key.as_deref(), self.headers_key.as_deref()) {
            (None, None) => return Ok(None),
            (Some(body), Some(headers)) => (body, headers),
            (Some(_), None) => return Err(refuse(cx, "body_key", "needs `headers_key` too")),
            (None, Some(_)) => return Err(refuse(cx, "headers_key", "needs `body_key` too")),
        };
        let accessor = |key: &str, text: &str| {
            Accessor::parse(text).map_err(|error| refuse(cx, key, &error.to_string()))
        };
        Ok(Some(PerRecord {
            body: accessor("body_key", body)?,
            headers: accessor("headers_key", headers)?,
        }))
    }

    fn headers(&self, cx: &BuildCx<'_>) -> Result<Headers, Diagnostic> {
        let mut headers = Headers::new(is_on(self.allow_duplicated_headers, true));
        if let Some(name) = &self.header_tag {
            headers
                .tag(name)
                .map_err(|reason| refuse(cx, "header_tag", &reason))?;
        }
        let password = self.http_passwd.as_ref().map_or("", Secret::expose);
        match &self.http_user {
            Some(user) => headers.basic_auth(user, password),
            None if self.http_passwd.is_some() => {
                warn(cx, "http_passwd", "has no effect without `http_user`")
            }
            None => {}
        }
        for words in &self.header {
            let mut words = words.0.iter();
            let name = words.next().map_or("", String::as_str);
            let value = words.map(String::as_str).collect::<Vec<_>>().join(" ");
            headers
                .add(name, &value)
                .map_err(|reason| refuse(cx, "header", &reason))?;
        }
        Ok(headers)
    }
}
