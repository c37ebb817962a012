//! The properties of the four names, and what they mean.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use firelane_conf::Diagnostic;
use firelane_conf::units::{CommaList, Interval, OnOff};
use firelane_core::{BuildCx, Limits, Order, Output};
use firelane_net::HeaderValue;
use firelane_net::aws::AwsSettings;
use firelane_record::{Fractions, TimeFormat};

use super::{Coding, Dialect, ENTRIES_MAX, Join, Settings, StreamRecords, Target, TimeField};
use crate::driver::Http;
use crate::payload::plain_json;
use crate::settings::{refuse, warn};

/// Format of times where none is given.
const TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%S";
/// Calls under way at once where `workers` is not given: with 500 records each and answers after 50 ms these
/// are 160,000 records a second.
const IN_FLIGHT: usize = 16;
/// The same where calls hold many more records.
const IN_FLIGHT_JOINED: usize = 4;
/// Raw bytes of a chunk. 500 records are mostly less; larger ones make calls of about half their limit.
const CHUNK_BYTES: usize = 1_000_000;
/// Raw bytes of a chunk that is joined: as Fluent Bit's, mostly one call.
const CHUNK_BYTES_JOINED: usize = 2_000_000;
/// How user agents of Fluent Bit's AWS plugins begin.
const USER_AGENT: &str = "aws-fluent-bit-plugin";

/// Defines `Config`: the properties of one service, and those that both have.
macro_rules! config {
    ($(#[$doc:meta])* { $($(#[$own_doc:meta])* $own:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
        #[serde(default)]
        #[schemars(inline)]
        pub struct Config {
            $($(#[$own_doc])* $own: $type,)*
            /// AWS region; where absent that of the environment, the profile or the instance.
            region: Option<String>,
            /// Puts the record's time into it, as the last key. Cannot go with `log_key`.
            time_key: Option<String>,
            /// `strftime` pattern for `time_key`, in UTC. Default `%Y-%m-%dT%H:%M:%S`. Fractions of a second:
            /// `%3N`, `%6N`, `%9N` and `%L` (nanoseconds); under the Go plugins' names `%L` is milliseconds
            /// and `%f` microseconds.
            time_key_format: Option<String>,
            /// Sends only the value of this key, not the record. The C plugins send a string with the escapes
            /// of JSON and without quotes, the Go plugins send it as it is; other values are JSON. Records
            /// without the key are refused.
            log_key: Option<String>,
            /// Comma list: keeps only these keys. A `time_key` is kept without standing here.
            data_keys: Option<firelane_conf::units::CommaList>,
            /// Puts this text in place of each `.` in keys, those of nested maps and lists too.
            replace_dots: Option<String>,
            /// Compresses what each entry of a call holds: `gzip`, `zlib`, `zstd` or `snappy` (one raw
            /// block). What is too large then is cut, with `[Truncated...]` at its end.
            compression: Option<String>,
            /// Puts as many records into one entry as fit, a newline behind each. Saves entries, which are
            /// limited and charged for. Default off.
            simple_aggregation: Option<firelane_conf::units::OnOff>,
            /// ARN of a role to assume.
            role_arn: Option<String>,
            /// External id for `role_arn`.
            external_id: Option<String>,
            /// Host name or URL of the service, in place of that of the region. `http://` is without TLS.
            endpoint: Option<String>,
            /// Port for an `endpoint` that names none. Default 443.
            port: Option<u16>,
            /// Host name or URL of STS, for `role_arn`.
            sts_endpoint: Option<String>,
            /// URL that gives credentials, in place of the usual chain.
            credentials_endpoint: Option<String>,
            /// Profile in the files of the AWS CLI.
            profile: Option<String>,
            /// Stands behind `aws-fluent-bit-plugin-` in the user agent.
            extra_user_agent: Option<String>,
            /// Repeats a request at once that cannot have arrived. That is always done; off is warned about.
            auto_retry_requests: Option<firelane_conf::units::OnOff>,
        }

        impl Config {
            /// Takes what both services have.
            fn common(&mut self) -> $crate::stream_records::Common {
                $crate::stream_records::Common {
                    region: self.region.take(),
                    time_key: self.time_key.take(),
                    time_key_format: self.time_key_format.take(),
                    log_key: self.log_key.take(),
                    data_keys: self.data_keys.take(),
                    replace_dots: self.replace_dots.take(),
                    compression: self.compression.take(),
                    simple_aggregation: self.simple_aggregation.take(),
                    role_arn: self.role_arn.take(),
                    external_id: self.external_id.take(),
                    endpoint: self.endpoint.take(),
                    port: self.port.take(),
                    sts_endpoint: self.sts_endpoint.take(),
                    credentials_endpoint: self.credentials_endpoint.take(),
                    profile: self.profile.take(),
                    extra_user_agent: self.extra_user_agent.take(),
                    auto_retry_requests: self.auto_retry_requests.take(),
                }
            }
        }
    };
}
pub(crate) use config;

/// What both services have.
#[derive(Debug, Default)]
pub(crate) struct Common {
    pub(crate) region: Option<String>,
    pub(crate) time_key: Option<String>,
    pub(crate) time_key_format: Option<String>,
    pub(crate) log_key: Option<String>,
    pub(crate) data_keys: Option<CommaList>,
    pub(crate) replace_dots: Option<String>,
    pub(crate) compression: Option<String>,
    pub(crate) simple_aggregation: Option<OnOff>,
    pub(crate) role_arn: Option<String>,
    pub(crate) external_id: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) sts_endpoint: Option<String>,
    pub(crate) credentials_endpoint: Option<String>,
    pub(crate) profile: Option<String>,
    pub(crate) extra_user_agent: Option<String>,
    pub(crate) auto_retry_requests: Option<OnOff>,
}

/// What one service has.
pub(crate) struct Own {
    pub(crate) target: Target,
    pub(crate) dialect: Dialect,
    /// Name of the stream, and of the property that it stands in.
    pub(crate) stream: Option<String>,
    pub(crate) stream_property: &'static str,
    /// Longest name.
    pub(crate) stream_max: usize,
    /// A newline behind each record.
    pub(crate) newline: bool,
    pub(crate) aggregation: bool,
    pub(crate) partition_key: Option<String>,
    pub(crate) request_timeout: Option<Interval>,
}

impl Common {
    /// The output of a service with these properties.
    pub(crate) fn build(self, own: Own, cx: &BuildCx<'_>) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        let mut errors = Vec::new();
        self.warn(&own, cx);
        let stream = own.stream(cx).map_err(|error| errors.push(error));
        let time = self.time(&own, cx).map_err(|error| errors.push(error));
        let coding = self.coding(cx).map_err(|error| errors.push(error));
        let join = self.join(&own, cx).map_err(|error| errors.push(error));
        let path = own.path(cx).map_err(|error| errors.push(error));
        let settings = self.aws(cx).map_err(|error| errors.push(error));
        let (Ok(stream), Ok(time), Ok(coding), Ok(join), Ok(partition_key), Ok(settings)) =
            (stream, time, coding, join, path, settings)
        else {
            return Err(errors);
        };
        let output = StreamRecords::new(Settings {
            target: own.target,
            dialect: own.dialect,
            stream,
            json: plain_json(cx),
            log_key: self.log_key,
            data_keys: self.data_keys.map(|keys| keys.0),
            time,
            replace_dots: self.replace_dots,
            // Without a newline, joined texts could not be told apart.
            newline: own.newline || join == Join::Lines,
            coding,
            join,
            partition_key,
            seed: seed(),
            limits: limits(cx, join),
        });
        let client = crate::aws::client(cx, own.target.service(), settings)?;
        let http = Http::signed(output, client);
        let limit = own.request_timeout.filter(|limit| !limit.0.is_zero());
        Ok(Arc::new(match limit {
            Some(limit) => http.request_timeout(limit.into()),
            None => http,
        }))
    }

    /// What has no effect.
    fn warn(&self, own: &Own, cx: &BuildCx<'_>) {
        let whole = "has no effect with `log_key`, which sends one value";
        if self.log_key.is_some() && self.data_keys.is_some() {
            warn(cx, "data_keys", whole);
        }
        if self.log_key.is_some() && self.time_key.is_some() && own.dialect == Dialect::Go {
            warn(cx, "time_key", whole);
        }
        if self.time_key.is_none() && self.time_key_format.is_some() {
            warn(cx, "time_key_format", "has no effect without `time_key`");
        }
        if self.role_arn.is_none() && self.external_id.is_some() {
            warn(cx, "external_id", "has no effect without `role_arn`");
        }
        if self.auto_retry_requests.is_some_and(|on| !on.0) {
            let reason = "has no effect: a request that cannot have arrived is repeated at once";
            warn(cx, "auto_retry_requests", reason);
        }
    }

    fn time(&self, own: &Own, cx: &BuildCx<'_>) -> Result<Option<TimeField>, Diagnostic> {
        let Some(key) = &self.time_key else {
            return Ok(None);
        };
        let fractions = match own.dialect {
            Dialect::C if self.log_key.is_some() => {
                return Err(refuse(cx, "time_key", "cannot go with `log_key`: leave one out"));
            }
            Dialect::C => Fractions::FluentBit,
            Dialect::Go => Fractions::Go,
        };
        let format = self.time_key_format.as_deref().unwrap_or(TIME_FORMAT);
        Ok(Some(TimeField {
            key: key.clone(),
            format: TimeFormat::new(format, fractions),
        }))
    }

    fn coding(&self, cx: &BuildCx<'_>) -> Result<Option<Coding>, Diagnostic> {
        let Some(name) = &self.compression else {
            return Ok(None);
        };
        Ok(Some(match name.to_ascii_lowercase().as_str() {
            "gzip" => Coding::Gzip,
            "zlib" => Coding::Zlib,
            "zstd" => Coding::Zstd,
            "snappy" => Coding::Snappy,
            "arrow" | "parquet" => {
                let reason = "a file per record is of no use; let Firehose convert the format";
                return Err(refuse(cx, "compression", reason));
            }
            _ => return Err(refuse(cx, "compression", "use gzip, snappy, zlib or zstd")),
        }))
    }

    fn join(&self, own: &Own, cx: &BuildCx<'_>) -> Result<Join, Diagnostic> {
        let simple = self.simple_aggregation.is_some_and(bool::from);
        match (simple, own.aggregation) {
            (true, true) => Err(refuse(
                cx,
                "simple_aggregation",
                "cannot go with `aggregation`: leave one out",
            )),
            (true, _) if own.partition_key.is_some() => Err(refuse(
                cx,
                "simple_aggregation",
                "joins records whatever their `partition_key`; use `aggregation`, which keeps keys apart",
            )),
            (true, false) => Ok(Join::Lines),
            (false, true) => Ok(Join::Kpl),
            (false, false) => Ok(Join::Never),
        }
    }

    fn aws(&self, cx: &BuildCx<'_>) -> Result<AwsSettings, Diagnostic> {
        let user_agent = match &self.extra_user_agent {
            None => String::new(),
            Some(extra) if HeaderValue::from_str(extra).is_ok() => format!("{USER_AGENT}-{extra}"),
            Some(_) => return Err(refuse(cx, "extra_user_agent", "no header can carry it")),
        };
        Ok(AwsSettings {
            region: self.region.clone(),
            profile: self.profile.clone(),
            role_arn: self.role_arn.clone(),
            external_id: self.external_id.clone(),
            sts_endpoint: self.sts_endpoint.clone(),
            endpoint: self.endpoint.clone(),
            port: self.port.filter(|&port| port != 0),
            credentials_endpoint: self.credentials_endpoint.clone(),
            user_agent,
        })
    }
}

impl Own {
    fn stream(&self, cx: &BuildCx<'_>) -> Result<String, Diagnostic> {
        let name = self.stream.as_deref().unwrap_or_default();
        let key = self.stream_property;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() {
            return Err(refuse(cx, key, "is required: the name of the stream"));
        }
        if name.len() > self.stream_max || !name.chars().all(is_plain) {
            let max = self.stream_max;
            let reason =
                format!("no stream has that name: 1 to {max} letters, digits, `_`, `-` or `.`, no ARN");
            return Err(refuse(cx, key, &reason));
        }
        Ok(name.to_owned())
    }

    /// `a->b` as keys.
    fn path(&self, cx: &BuildCx<'_>) -> Result<Option<Vec<String>>, Diagnostic> {
        let Some(text) = &self.partition_key else {
            return Ok(None);
        };
        let path: Vec<_> = text.split("->").map(|key| key.trim().to_owned()).collect();
        if path.iter().any(String::is_empty) {
            let reason = "a key is missing; write `key`, or `outer->inner` for a nested one";
            return Err(refuse(cx, "partition_key", reason));
        }
        Ok(Some(path))
    }
}

/// Many calls at once, unless `workers` says how many; one after the other keeps the order.
fn limits(cx: &BuildCx<'_>, join: Join) -> Limits {
    let (records_max, bytes_max, in_flight) = match join {
        Join::Never => (ENTRIES_MAX as u32, CHUNK_BYTES, IN_FLIGHT),
        Join::Lines | Join::Kpl => (u32::MAX, CHUNK_BYTES_JOINED, IN_FLIGHT_JOINED),
    };
    let workers = cx.workers.filter(|&workers| workers > 0);
    Limits {
        bytes_max,
        records_max,
        order: match workers {
            Some(1) => Order::PerStream,
            _ => Order::Any,
        },
        in_flight_max: workers.unwrap_or(in_flight),
        ..Limits::default()
    }
}

/// A number that differs in each process: routers that start together must not use the same keys.
fn seed() -> u64 {
    match firelane_net::tls::random::<8>() {
        Ok(bytes) => u64::from_le_bytes(bytes),
        Err(_) => RandomState::new().hash_one(0),
    }
}
