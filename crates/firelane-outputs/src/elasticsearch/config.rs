//! Properties of `es` and `opensearch`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use firelane_conf::Diagnostic;
use firelane_conf::units::{ByteSize, OnOff, Secret};
use firelane_core::{BuildCx, Output, OutputConfig};
use firelane_net::aws::{AwsSettings, Service};
use firelane_net::{Encoding, Endpoint};
use firelane_record::accessor::{Accessor, Template};
use firelane_record::{Fractions, TimeFormat};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Bulk;
use super::encode::{Encoder, Id, Index, Operation};
use crate::aws;
use crate::driver::Http;
use crate::payload::plain_json;
use crate::settings::{Network, limits, refuse, warn};
use crate::squeeze::{Coding, Squeeze};

/// Most documents in a request, so that the answer, with some 200 bytes for each, stays small.
const DOCUMENTS_MAX: u32 = 10_000;
/// Bytes of an answer that are kept.
const ANSWER_KEPT: usize = 8 << 20;

/// Properties of `[OUTPUT] Name es`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Elasticsearch {
    /// Host name or address of the server; 127.0.0.1 where absent.
    host: Option<String>,
    /// Port of the server; 9200 where absent.
    port: Option<u16>,
    /// Path before `/_bulk`.
    path: Option<String>,
    /// Ingest pipeline that the documents go through.
    pipeline: Option<String>,
    /// Name of the index; a `strftime` pattern of the current time (UTC). `opensearch`: also record
    /// accessors. Default `fluent-bit`.
    index: Option<String>,
    /// Document type. Default `_doc`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Leave the document type out, as versions from 8 on want. Default off.
    suppress_type_name: Option<OnOff>,
    /// `create` (default), `index`, `update` or `upsert`; the last two need an id.
    write_operation: Option<String>,
    /// Give each document an id made of its content, so that sending it again cannot repeat it. Default off.
    generate_id: Option<OnOff>,
    /// Record accessor of the document's id.
    id_key: Option<String>,
    /// Name the index `prefix-date`, by the event's time. Default off.
    logstash_format: Option<OnOff>,
    /// Its prefix. Default `logstash`.
    logstash_prefix: Option<String>,
    /// Record accessor of a prefix of the record's own, at most 128 bytes.
    logstash_prefix_key: Option<String>,
    /// Between prefix and date. Default `-`.
    logstash_prefix_separator: Option<String>,
    /// `strftime` pattern of the date. Default `%Y.%m.%d`.
    logstash_dateformat: Option<String>,
    /// Name the index by the current time instead of the event's. Default off.
    current_time_index: Option<OnOff>,
    /// Key of the time. Default `@timestamp`.
    time_key: Option<String>,
    /// `strftime` pattern of the time; the fraction and `Z` follow. Default `%Y-%m-%dT%H:%M:%S`.
    time_key_format: Option<String>,
    /// Nine digits of the fraction instead of three. Default off.
    time_key_nanos: Option<OnOff>,
    /// Put the tag into the document. Default off.
    include_tag_key: Option<OnOff>,
    /// Its key. Default `flb-key`.
    tag_key: Option<String>,
    /// `_` for each `.` in keys, nested ones too. Default off.
    replace_dots: Option<OnOff>,
    /// User for basic authentication.
    http_user: Option<String>,
    /// Password for basic authentication.
    http_passwd: Option<Secret>,
    /// Elastic's API key, as `Authorization: ApiKey`.
    http_api_key: Option<Secret>,
    /// Elastic Cloud's id: gives host and port, and turns TLS on.
    cloud_id: Option<String>,
    /// `user:password` for Elastic Cloud.
    cloud_auth: Option<Secret>,
    /// `gzip`
    compress: Option<String>,
    /// Sign requests with AWS Signature Version 4. Default off.
    aws_auth: Option<OnOff>,
    /// Region for signatures; else the environment's, the profile's or the instance's.
    aws_region: Option<String>,
    /// Service for signatures: `es` (default), or `aoss` for OpenSearch Serverless.
    aws_service_name: Option<String>,
    /// Role to assume.
    aws_role_arn: Option<String>,
    /// External id for the role.
    aws_external_id: Option<String>,
    /// Address of STS for the role.
    aws_sts_endpoint: Option<String>,
    /// Profile of the credentials.
    aws_profile: Option<String>,
    /// Fluent Bit's buffer for answers. At least 8 MiB are read here.
    buffer_size: Option<String>,
    /// Not supported: failures are in the log with their reason.
    trace_output: Option<OnOff>,
    /// Not supported: failures are in the log with their reason.
    trace_error: Option<OnOff>,
    /// File of several servers. Not supported.
    upstream: Option<String>,
}

/// Properties of `[OUTPUT] Name opensearch`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Opensearch(Elasticsearch);

/// What differs between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Elasticsearch,
    Opensearch,
}

impl OutputConfig for Elasticsearch {
    fn build(self, cx: &BuildCx<'_>) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        self.output(cx, Dialect::Elasticsearch)
    }
}

impl OutputConfig for Opensearch {
    fn build(self, cx: &BuildCx<'_>) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        self.0.output(cx, Dialect::Opensearch)
    }
}

fn is_on(given: Option<OnOff>) -> bool {
    given.is_some_and(bool::from)
}

impl Elasticsearch {
    fn output(self, cx: &BuildCx<'_>, dialect: Dialect) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        let mut errors = Vec::new();
        self.unsupported(cx, dialect, &mut errors);
        let is_cloud = self.cloud_id.is_some();
        let network = if is_cloud {
            Network::read_forced(cx)
        } else {
            Network::read(cx)
        };
        let network = network.map_err(|more| errors.extend(more));
        let endpoint = self.endpoint(cx).map_err(|error| errors.push(error));
        let encoder = self.encoder(cx, dialect).map_err(|error| errors.push(error));
        let (Ok(network), Ok(endpoint), Ok(encoder)) = (network, endpoint, encoder) else {
            return Err(errors);
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut limits = limits(cx, 2);
        limits.records_max = DOCUMENTS_MAX;
        let output = Bulk {
            limits,
            encoder,
            place: endpoint.to_string(),
        };
        if is_on(self.aws_auth) {
            let service = Service::named(self.aws_service_name.as_deref().unwrap_or("es"));
            let client = aws::client_at(cx, service, self.settings(), network, &endpoint)?;
            return Ok(Arc::new(Http::signed(output, client.answer_kept(ANSWER_KEPT))));
        }
        let client = network.http(cx, endpoint, None)?.response_limit(ANSWER_KEPT);
        Ok(Arc::new(Http::new(output, client)))
    }

    fn settings(&self) -> AwsSettings {
        AwsSettings {
            region: self.aws_region.clone(),
            profile: self.aws_profile.clone(),
            role_arn: self.aws_role_arn.clone(),
            external_id: self.aws_external_id.clone(),
            sts_endpoint: self.aws_sts_endpoint.clone(),
            ..AwsSettings::default()
        }
    }

    /// What is accepted without effect is said, what would change records is refused.
    fn unsupported(&self, cx: &BuildCx<'_>, dialect: Dialect, errors: &mut Vec<Diagnostic>) {
        if self.upstream.is_some() {
            errors.push(refuse(
                cx,
                "upstream",
                "several servers are not supported: name a load balancer",
            ));
        }
        if let Some(size) = self.buffer_size.as_deref() {
            match size.parse::<ByteSize>() {
                Ok(_) => warn(
                    cx,
                    "buffer_size",
                    "has no effect: up to 8 MiB of an answer are read",
                ),
                Err(_) if size.eq_ignore_ascii_case("false") => {}
                Err(error) => errors.push(refuse(cx, "buffer_size", &error.to_string())),
            }
        }
        for (key, is_set) in [
            ("trace_output", is_on(self.trace_output)),
            ("trace_error", is_on(self.trace_error)),
        ] {
            if is_set {
                warn(cx, key, "has no effect: failures are logged with their reason");
            }
        }
        if !is_on(self.aws_auth) {
            let settings = [
                ("aws_region", self.aws_region.is_some()),
                ("aws_service_name", self.aws_service_name.is_some()),
                ("aws_role_arn", self.aws_role_arn.is_some()),
                ("aws_external_id", self.aws_external_id.is_some()),
                ("aws_sts_endpoint", self.aws_sts_endpoint.is_some()),
                ("aws_profile", self.aws_profile.is_some()),
            ];
            for (key, _) in settings.iter().filter(|(_, is_set)| *is_set) {
                warn(cx, key, "has no effect: `aws_auth` is off");
            }
        }
        let elastic = [
            ("http_api_key", self.http_api_key.is_some()),
            ("cloud_id", self.cloud_id.is_some()),
            ("cloud_auth", self.cloud_auth.is_some()),
            ("upstream", self.upstream.is_some()),
        ];
        for (key, _) in elastic
            .iter()
            .filter(|(_, is_set)| *is_set && dialect == Dialect::Opensearch)
        {
            errors.push(refuse(cx, key, "is for `es` only"));
        }
    }

    fn endpoint(&self, cx: &BuildCx<'_>) -> Result<Endpoint, Diagnostic> {
        if let Some(id) = &self.cloud_id {
            let (host, port) = cloud_host(id).ok_or_else(|| refuse(cx, "cloud_id", "is no cloud id"))?;
            return Ok(Endpoint::tcp(&host, port));
        }
        let port = self.port.filter(|&port| port != 0).unwrap_or(9200);
        Ok(Endpoint::tcp(self.host.as_deref().unwrap_or("127.0.0.1"), port))
    }

    fn encoder(&self, cx: &BuildCx<'_>, dialect: Dialect) -> Result<Encoder, Diagnostic> {
        let pattern = |given: &Option<String>, default: &str| {
            TimeFormat::new(given.as_deref().unwrap_or(default), Fractions::None)
        };
        let id = self.id(cx, dialect)?;
        Ok(Encoder {
            target: self.target(dialect),
            headers: self.headers(cx)?,
            operation: self.operation(cx, &id)?,
            index: self.index(cx, dialect)?,
            kind: (!is_on(self.suppress_type_name))
                .then(|| self.kind.clone().unwrap_or_else(|| "_doc".to_owned())),
            id,
            time_key: self.time_key.clone().unwrap_or_else(|| "@timestamp".to_owned()),
            time_format: pattern(&self.time_key_format, "%Y-%m-%dT%H:%M:%S"),
            time_nanos: is_on(self.time_key_nanos),
            tag_key: is_on(self.include_tag_key)
                .then(|| self.tag_key.clone().unwrap_or_else(|| "flb-key".to_owned())),
            replace_dots: is_on(self.replace_dots),
            json: plain_json(cx),
            squeeze: self.squeeze(cx)?,
        })
    }

    fn target(&self, dialect: Dialect) -> String {
        let path = self.path.as_deref().unwrap_or_default().trim_matches('/');
        let path = if path.is_empty() {
            String::new()
        } else {
            format!("/{path}")
        };
        match (&self.pipeline, dialect) {
            (None, _) => format!("{path}/_bulk"),
            (Some(name), Dialect::Elasticsearch) => format!("{path}/_bulk?pipeline={name}"),
            (Some(name), Dialect::Opensearch) => format!("{path}/_bulk/?pipeline={name}"),
        }
    }

    fn headers(&self, cx: &BuildCx<'_>) -> Result<Vec<(String, String)>, Diagnostic> {
        let pair = |name: &str, value: String| (name.to_owned(), value);
        let mut headers = vec![pair("Content-Type", "application/x-ndjson".to_owned())];
        if is_on(self.aws_auth) {
            return Ok(headers);
        }
        headers.push(pair("User-Agent", "Fluent-Bit".to_owned()));
        let basic =
            |user: &str, password: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        if let Some(auth) = &self.cloud_auth {
            let (user, password) = auth
                .expose()
                .split_once(':')
                .ok_or_else(|| refuse(cx, "cloud_auth", "use user:password"))?;
            headers.push(pair("Authorization", basic(user, password)));
        } else if let Some(user) = &self.http_user {
            let password = self.http_passwd.as_ref().map_or("", Secret::expose);
            headers.push(pair("Authorization", basic(user, password)));
        } else if let Some(key) = &self.http_api_key {
            headers.push(pair("Authorization", format!("ApiKey {}", key.expose())));
        } else if self.http_passwd.is_some() {
            warn(cx, "http_passwd", "has no effect without `http_user`");
        }
        Ok(headers)
    }

    fn operation(&self, cx: &BuildCx<'_>, id: &Id) -> Result<Operation, Diagnostic> {
        let name = self.write_operation.as_deref().unwrap_or("create");
        let operation = match name.to_ascii_lowercase().as_str() {
            "create" => Operation::Create,
            "index" => Operation::Index,
            "update" => Operation::Update,
            "upsert" => Operation::Upsert,
            _ => {
                return Err(refuse(
                    cx,
                    "write_operation",
                    "use create, index, update or upsert",
                ));
            }
        };
        if matches!(operation, Operation::Update | Operation::Upsert) && matches!(id, Id::None) {
            return Err(refuse(
                cx,
                "write_operation",
                "needs `id_key` or `generate_id on`",
            ));
        }
        Ok(operation)
    }

    fn id(&self, cx: &BuildCx<'_>, dialect: Dialect) -> Result<Id, Diagnostic> {
        match (&self.id_key, is_on(self.generate_id)) {
            (Some(_), true) => Err(refuse(cx, "id_key", "cannot go with `generate_id on`")),
            (None, false) => Ok(Id::None),
            (None, true) => Ok(Id::Hash {
                upper: dialect == Dialect::Opensearch,
            }),
            (Some(key), false) => Accessor::parse(key)
                .map(Id::Key)
                .map_err(|error| refuse(cx, "id_key", &error.to_string())),
        }
    }

    fn index(&self, cx: &BuildCx<'_>, dialect: Dialect) -> Result<Index, Diagnostic> {
        let name = self.index.as_deref().unwrap_or("fluent-bit");
        if is_on(self.logstash_format) {
            let or =
                |given: &Option<String>, default: &str| given.clone().unwrap_or_else(|| default.to_owned());
            let key = self
                .logstash_prefix_key
                .as_deref()
                .map(Accessor::parse)
                .transpose();
            return Ok(Index::Logstash {
                prefix: or(&self.logstash_prefix, "logstash"),
                key: key.map_err(|error| refuse(cx, "logstash_prefix_key", &error.to_string()))?,
                separator: or(&self.logstash_prefix_separator, "-"),
                date: TimeFormat::new(&or(&self.logstash_dateformat, "%Y.%m.%d"), Fractions::None),
                now: is_on(self.current_time_index),
            });
        }
        if dialect == Dialect::Opensearch && name.contains('$') {
            let template = Template::parse(name).map_err(|error| refuse(cx, "index", &error.to_string()))?;
            return Ok(Index::Template(template, "fluent-bit".to_owned()));
        }
        Ok(Index::Pattern(TimeFormat::new(name, Fractions::None)))
    }

    fn squeeze(&self, cx: &BuildCx<'_>) -> Result<Option<Squeeze>, Diagnostic> {
        match self.compress.as_deref() {
            None => Ok(None),
            Some(name) if name.eq_ignore_ascii_case("gzip") => {
                Squeeze::new(Coding::Stream(Encoding::Gzip), None)
                    .map(Some)
                    .map_err(|error| refuse(cx, "compress", &error.to_string()))
            }
            Some(_) => Err(refuse(cx, "compress", "use gzip")),
        }
    }
}

/// Host and port in a cloud id: `name:base64(domain[:port]$uuid[:port]$…)`.
fn cloud_host(id: &str) -> Option<(String, u16)> {
    let (_, encoded) = id.split_once(':')?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let mut parts = text.split('$');
    let (domain, host) = (parts.next()?, parts.next()?);
    let split = |text: &str| match text.split_once(':') {
        Some((name, port)) => (name.to_owned(), port.parse::<u16>().ok()),
        None => (text.to_owned(), None),
    };
    let ((domain, outer), (host, inner)) = (split(domain), split(host));
    if domain.is_empty() || host.is_empty() {
        return None;
    }
    Some((format!("{host}.{domain}"), inner.or(outer).unwrap_or(443)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cloud_ids() {
        let id = |text: &str| format!("name:{}", STANDARD.encode(text));
        let plain = cloud_host(&id("us-east-1.aws.found.io$abc$def"));
        assert_eq!(plain, Some(("abc.us-east-1.aws.found.io".to_owned(), 443)));
        let ports = cloud_host(&id("found.io:9243$abc$def"));
        assert_eq!(ports, Some(("abc.found.io".to_owned(), 9243)));
        let own = cloud_host(&id("found.io:9243$abc:9244"));
        assert_eq!(own, Some(("abc.found.io".to_owned(), 9244)));
        for bad in ["", "name", "name:???", &id("only")] {
            assert_eq!(cloud_host(bad), None, "{bad}");
        }
    }
}
