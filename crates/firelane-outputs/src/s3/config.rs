//! Properties of `s3`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use firelane_conf::Diagnostic;
use firelane_conf::units::{ByteSize, Interval, OnOff, Secret};
use firelane_core::{BuildCx, Limits, Order, Output, OutputConfig};
use firelane_net::aws::{AwsSettings, Service};
use firelane_net::{Encoding, HeaderName, HeaderValue};
use firelane_record::json::DateFormat;
use schemars::JsonSchema;
use serde::Deserialize;

use super::calls::Bucket;
use super::encode::Encoder;
use super::key::KeyFormat;
use super::{PART_MIN, S3, Shape};
use crate::aws::client;
use crate::payload::plain_json;
use crate::settings::{refuse, warn};
use crate::squeeze::Coding;

/// Properties of `[OUTPUT] Name s3`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Config {
    /// Name of the bucket.
    bucket: Option<String>,
    /// Its region. Default `us-east-1`, as in Fluent Bit, whatever the environment says.
    region: Option<String>,
    /// Key of an object; begins with `/`. `$TAG`, `$TAG[0]` to `$TAG[9]` (parts of the tag), `$UUID` (8
    /// random letters and digits), `$INDEX` (0, 1, 2 … over restarts), and `strftime` in UTC by the time of
    /// the object's first record. Default `/fluent-bit-logs/$TAG/%Y/%m/%d/%H/%M/%S`. Objects that are put
    /// whole get `-object` and 8 random characters at the end, unless the key has `$UUID` or `$INDEX`; so do
    /// others whose key was used a short time before.
    s3_key_format: Option<String>,
    /// Characters between the parts of a tag. Default `.`.
    s3_key_format_tag_delimiters: Option<String>,
    /// Add nothing to keys: an object replaces the one of the same key. Default off.
    static_file_path: Option<OnOff>,
    /// Size of an object, as it is stored. 1M to 50G, default 100M. Below 10485760 it is as with
    /// `use_put_object`.
    total_file_size: Option<ByteSize>,
    /// Size of the parts of an object, as they are stored. 5242880 to 50000000, at most half of
    /// `total_file_size`. Default 5242880. With `compression` a part comes from as many records as are
    /// expected to compress to that.
    upload_chunk_size: Option<ByteSize>,
    /// Age of an object's first record at which it is finished, whatever its size. Default 10m.
    upload_timeout: Option<Interval>,
    /// Name objects as those that are put whole. One that does not fit into memory is uploaded in parts all
    /// the same. Default off.
    use_put_object: Option<OnOff>,
    /// The records of a tag keep their order. They do with `off` too.
    preserve_data_ordering: Option<OnOff>,
    /// Folder for what must outlive the process: `$INDEX`, and the journal of unfinished uploads. Default
    /// `/tmp/fluent-bit/s3`. Records wait in the log, not here: see `storage.path`.
    store_dir: Option<PathBuf>,
    /// Has no effect: use `storage.total_limit_size`.
    store_dir_limit_size: Option<ByteSize>,
    /// `gzip`, `zstd` or `snappy` (one raw block: each chunk is an object of its own). With `format parquet`
    /// it is that of the columns, and there is no `Content-Encoding`. `parquet` is an old spelling of
    /// `format parquet`.
    compression: Option<String>,
    /// `json_lines` (also written `json`): an object and a newline each. `parquet`, in builds with the
    /// feature `parquet` and with `use_put_object on`: each chunk, of 64 MiB of records at most, is a file of
    /// its own with a column for each key. A column is bool, int64, double or text, as its values in this
    /// file are; maps, arrays and what differs in type become JSON text. `arrow` is not supported.
    format: Option<String>,
    /// Key of the date; `false` leaves it out. Default `date`.
    json_date_key: Option<String>,
    /// `iso8601` (default), `double`, `epoch`, `epoch_ms` or `java_sql_timestamp`.
    json_date_format: Option<String>,
    /// Send this key's value alone: a string as it is, all else as JSON. Records without it are counted as
    /// refused.
    log_key: Option<String>,
    /// `Content-Type` of objects.
    content_type: Option<String>,
    /// `x-amz-acl`: `private`, `bucket-owner-full-control` …
    canned_acl: Option<String>,
    /// `x-amz-storage-class`: `STANDARD_IA` …
    storage_class: Option<String>,
    /// Send `Content-MD5`, which Object Lock needs. Default off.
    send_content_md5: Option<OnOff>,
    /// Ours: `x-amz-server-side-encryption`: `AES256`, `aws:kms` or `aws:kms:dsse`. Where absent, the
    /// bucket's default.
    sse: Option<String>,
    /// Ours: id or ARN of the key for `sse aws:kms`.
    sse_kms_key_id: Option<String>,
    /// Records that are given up become dead letters: see `storage.path` of `[SERVICE]`.
    retry_exhausted_action: Option<String>,
    /// Has no effect: `storage.rejected.limit` of `[SERVICE]` bounds dead letters.
    quarantine_dir_limit_size: Option<ByteSize>,
    /// Host, or URL, in place of the service's; `http://` is without TLS.
    endpoint: Option<String>,
    /// Host or URL of STS for `role_arn`.
    sts_endpoint: Option<String>,
    /// Role to assume.
    role_arn: Option<String>,
    /// External id for `role_arn`.
    external_id: Option<String>,
    /// Profile in the AWS files.
    profile: Option<String>,
    /// Requests without an answer are tried again at once on another connection. They are with `off` too.
    auto_retry_requests: Option<OnOff>,
    /// Not supported: for inputs that give files.
    blob_database_file: Option<String>,
    /// Old name of `upload_chunk_size`.
    part_size: Option<ByteSize>,
    /// Not supported: for inputs that give files.
    file_delivery_attempt_limit: Option<i64>,
    /// Not supported: for inputs that give files.
    part_delivery_attempt_limit: Option<i64>,
    /// Not supported: for inputs that give files.
    upload_parts_timeout: Option<Interval>,
    /// Not supported: for inputs that give files.
    upload_part_freshness_limit: Option<Interval>,
    /// Not supported: for inputs that give files.
    authorization_endpoint_url: Option<String>,
    /// Not supported: for inputs that give files.
    authorization_endpoint_username: Option<String>,
    /// Not supported: for inputs that give files.
    authorization_endpoint_password: Option<Secret>,
    /// Not supported: for inputs that give files.
    authorization_endpoint_bearer_token: Option<Secret>,
}

/// Default of `total_file_size`.
const TOTAL: u64 = 100_000_000;
/// Below it objects are put whole.
const TOTAL_PARTS_MIN: u64 = 10_485_760;
const TOTAL_MIN: u64 = 1_000_000;
const TOTAL_MAX: u64 = 50_000_000_000;
const TOTAL_PUT_MAX: u64 = 1_000_000_000;
const PART_MAX: u64 = 50_000_000;
const PART_PACKED_MAX: u64 = 5_000_000_000;
const TIMEOUT: Duration = Duration::from_secs(600);
const KEY_FORMAT: &str = "/fluent-bit-logs/$TAG/%Y/%m/%d/%H/%M/%S";
const STORE_DIR: &str = "/tmp/fluent-bit/s3";
/// Uploads at once, of different tags: one takes a tenth of a second and longer.
const AT_ONCE: usize = 8;

fn is_on(given: Option<OnOff>) -> bool {
    given.is_some_and(bool::from)
}

impl OutputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        let mut errors = self.unsupported(cx);
        self.warn(cx);
        let mut note = |error: Diagnostic| errors.push(error);
        let name = self.bucket_name(cx).map_err(&mut note);
        let coding = self.coding(cx).map_err(&mut note);
        let format = self.format(cx).map_err(&mut note);
        let keys = self.keys(cx).map_err(&mut note);
        let content = Content {
            format: format.unwrap_or(Format::Lines),
            coding: coding.ok().flatten(),
        };
        let shape = self.shape(cx, content).map_err(&mut note);
        let headers = self.headers(cx, content);
        let headers = headers.map_err(|more| errors.extend(more));
        let settings = self.settings();
        let client = client(cx, Service::S3, settings).map_err(|more| errors.extend(more));
        let (Ok(name), Ok(coding), Ok(_), Ok(keys), Ok(shape), Ok(headers), Ok(client), true) = (
            name,
            coding,
            format,
            keys,
            shape,
            headers,
            client,
            errors.is_empty(),
        ) else {
            return Err(errors);
        };
        let folder = self.store_dir.clone().unwrap_or_else(|| STORE_DIR.into());
        let date = self.date(cx);
        let plain = plain_json(cx);
        let encoder = Encoder {
            #[cfg(feature = "parquet")]
            columns: (content.format == Format::Parquet)
                .then(|| super::columns::Columns::new(plain.clone(), date.clone(), coding)),
            json: match date {
                Some((key, format)) => plain.with_date(&key, format),
                None => plain,
            },
            log_key: self.log_key.map(|key| key.into_bytes().into()),
            coding,
            md5: is_on(self.send_content_md5),
        };
        let in_flight_max = cx.workers.unwrap_or(AT_ONCE).max(1);
        let limits = Limits {
            linger: Some(shape.timeout),
            order: Order::PerStream,
            in_flight_max,
            ..Limits::default()
        };
        let bucket = Bucket {
            client,
            headers,
            name: name.clone(),
            instance: cx.instance.to_owned(),
        };
        let has_folder = self.store_dir.is_some();
        Ok(Arc::new(S3::new(
            limits,
            shape,
            keys,
            Arc::new(encoder),
            bucket,
            (folder.join(name), has_folder),
        )))
    }
}

impl Config {
    fn unsupported(&self, cx: &BuildCx<'_>) -> Vec<Diagnostic> {
        let given = [
            ("blob_database_file", self.blob_database_file.is_some()),
            (
                "file_delivery_attempt_limit",
                self.file_delivery_attempt_limit.is_some(),
            ),
            (
                "part_delivery_attempt_limit",
                self.part_delivery_attempt_limit.is_some(),
            ),
            ("upload_parts_timeout", self.upload_parts_timeout.is_some()),
            (
                "upload_part_freshness_limit",
                self.upload_part_freshness_limit.is_some(),
            ),
            (
                "authorization_endpoint_url",
                self.authorization_endpoint_url.is_some(),
            ),
            (
                "authorization_endpoint_username",
                self.authorization_endpoint_username.is_some(),
            ),
            (
                "authorization_endpoint_password",
                self.authorization_endpoint_password.is_some(),
            ),
            (
                "authorization_endpoint_bearer_token",
                self.authorization_endpoint_bearer_token.is_some(),
            ),
        ];
        let given = given.iter().filter(|(_, given)| *given);
        let reason = "not supported: it is for inputs that give files (blobs), and there are none";
        given.map(|(key, _)| refuse(cx, key, reason)).collect()
    }

    fn warn(&self, cx: &BuildCx<'_>) {
        let said = [
            (
                "store_dir_limit_size",
                self.store_dir_limit_size.is_some_and(|size| size.0 > 0),
                "has no effect: records wait in the router's log; `storage.total_limit_size` of this output bounds them",
            ),
            (
                "store_dir",
                self.store_dir.is_some(),
                "only `$INDEX` and the journal of unfinished uploads are kept there; records wait in the router's log, \
                 which outlives the process with `storage.path` of [SERVICE]",
            ),
            (
                "quarantine_dir_limit_size",
                self.quarantine_dir_limit_size.is_some_and(|size| size.0 > 0),
                "has no effect: `storage.rejected.limit` of [SERVICE] bounds dead letters",
            ),
            (
                "retry_exhausted_action",
                self.retry_exhausted_action.is_some(),
                "has no effect: with `storage.path` of [SERVICE], what is given up becomes dead letters, else it is dropped",
            ),
            (
                "preserve_data_ordering",
                self.preserve_data_ordering.is_some_and(|on| !on.0),
                "has no effect: the records of a tag always keep their order",
            ),
            (
                "auto_retry_requests",
                self.auto_retry_requests.is_some_and(|on| !on.0),
                "has no effect: a connection that turns out closed is always replaced at once",
            ),
            (
                "part_size",
                self.part_size.is_some(),
                "has no effect: use `upload_chunk_size`",
            ),
            (
                "compression",
                is_parquet(self.compression.as_deref()),
                "is the old spelling of `format parquet`; beside that, `compression` may be gzip, zstd or snappy",
            ),
            (
                "upload_chunk_size",
                self.upload_chunk_size.is_some() && is_parquet(self.format.as_deref()),
                "has no effect with `format parquet`: files have no parts",
            ),
            (
                "sse_kms_key_id",
                self.sse_kms_key_id.is_some()
                    && !self.sse.as_ref().is_some_and(|sse| sse.starts_with("aws:kms")),
                "has no effect without `sse aws:kms`",
            ),
        ];
        for (key, _, reason) in said.iter().filter(|(_, is, _)| *is) {
            warn(cx, key, reason);
        }
    }

    fn bucket_name(&self, cx: &BuildCx<'_>) -> Result<String, Diagnostic> {
        let name = self.bucket.as_deref().unwrap_or_default();
        if name.is_empty() {
            return Err(refuse(
                cx,
                "bucket",
                "it is missing: write the name of the bucket",
            ));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if name.starts_with('.') || !name.chars().all(fits) {
            let reason = "a bucket's name has letters, digits, `-` and `.`; access points are not supported";
            return Err(refuse(cx, "bucket", reason));
        }
        Ok(name.to_owned())
    }

    fn coding(&self, cx: &BuildCx<'_>) -> Result<Option<Coding>, Diagnostic> {
        let Some(name) = self.compression.as_deref() else {
            return Ok(None);
        };
        match name.to_ascii_lowercase().as_str() {
            "gzip" => Ok(Some(Coding::Stream(Encoding::Gzip))),
            "zstd" => Ok(Some(Coding::Stream(Encoding::Zstd))),
            "snappy" => Ok(Some(Coding::Snappy)),
            "parquet" => Ok(None),
            "arrow" => Err(refuse(cx, "compression", NO_ARROW)),
            _ => Err(refuse(cx, "compression", "use gzip, zstd or snappy")),
        }
    }

    fn format(&self, cx: &BuildCx<'_>) -> Result<Format, Diagnostic> {
        if is_parquet(self.compression.as_deref()) {
            if self.format.is_some() && !is_parquet(self.format.as_deref()) {
                let reason = "it is the old spelling of `format parquet`, and `format` says something else";
                return Err(refuse(cx, "compression", reason));
            }
            return self.parquet(cx, "compression");
        }
        let format = self.format.as_deref().unwrap_or("json_lines");
        match format.to_ascii_lowercase().as_str() {
            "json_lines" | "json" => Ok(Format::Lines),
            "parquet" => self.parquet(cx, "format"),
            "arrow" => Err(refuse(cx, "format", NO_ARROW)),
            "otlp_json" | "otlp_json_pretty" => Err(refuse(
                cx,
                "format",
                "this format is not supported yet; use json_lines",
            )),
            _ => Err(refuse(cx, "format", "use json_lines or parquet")),
        }
    }

    /// Whether there can be columns, which the property `key` asks for.
    fn parquet(&self, cx: &BuildCx<'_>, key: &str) -> Result<Format, Diagnostic> {
        if !cfg!(feature = "parquet") {
            return Err(refuse(cx, key, NOT_BUILT));
        }
        if !self.is_put() {
            let reason = "the parts of an upload are no Parquet files: objects must be put whole, set `use_put_object on`";
            return Err(refuse(cx, key, reason));
        }
        if self.log_key.is_some() {
            let reason = "one value alone has no columns: leave it out, or use `format json_lines`";
            return Err(refuse(cx, "log_key", reason));
        }
        #[cfg(feature = "parquet")]
        if self.json_date_key.as_deref() == Some(super::columns::MORE) {
            let reason = "with `format parquet` what finds no column stands under this name: use another";
            return Err(refuse(cx, "json_date_key", reason));
        }
        Ok(Format::Parquet)
    }

    /// Whether objects are put whole.
    fn is_put(&self) -> bool {
        is_on(self.use_put_object) || self.total() < TOTAL_PARTS_MIN
    }

    fn total(&self) -> u64 {
        self.total_file_size.map_or(TOTAL, |size| size.0)
    }

    /// Key and format of the date.
    fn date(&self, cx: &BuildCx<'_>) -> Option<(String, DateFormat)> {
        let format = match self.json_date_format.as_deref() {
            None => DateFormat::Iso8601,
            Some(name) => DateFormat::from_name(name).unwrap_or_else(|| {
                warn(cx, "json_date_format", "no such format, `iso8601` is used");
                DateFormat::Iso8601
            }),
        };
        let key = self.json_date_key.as_deref().unwrap_or("date");
        let is_off = |word: &&str| key.eq_ignore_ascii_case(word);
        let is_off = ["false", "off", "no"].iter().any(is_off);
        (!is_off).then(|| (key.to_owned(), format))
    }

    fn keys(&self, cx: &BuildCx<'_>) -> Result<KeyFormat, Diagnostic> {
        let format = self.s3_key_format.as_deref().unwrap_or(KEY_FORMAT);
        let delimiters = self.s3_key_format_tag_delimiters.as_deref().unwrap_or(".");
        let is_static = is_on(self.static_file_path);
        let keys = KeyFormat::parse(format, delimiters, is_static);
        let keys = keys.map_err(|reason| refuse(cx, "s3_key_format", reason))?;
        if is_static && keys.is_constant() {
            let reason = "every object of a tag replaces the one before: put a time or `$INDEX` into `s3_key_format` to keep them";
            warn(cx, "static_file_path", reason);
        }
        Ok(keys)
    }

    fn shape(&self, cx: &BuildCx<'_>, content: Content) -> Result<Shape, Diagnostic> {
        let Content { format, coding } = content;
        let (total, is_put) = (self.total(), self.is_put());
        let key = "total_file_size";
        if total < TOTAL_MIN {
            return Err(refuse(cx, key, "use 1M or more"));
        }
        if total > TOTAL_MAX {
            return Err(refuse(cx, key, "use 50G or less"));
        }
        if is_on(self.use_put_object) && total > TOTAL_PUT_MAX {
            return Err(refuse(cx, key, "with `use_put_object` use 1G or less"));
        }
        let part = self.upload_chunk_size.map_or(PART_MIN, |size| size.0);
        let part_max = coding.map_or(PART_MAX, |_| PART_PACKED_MAX);
        let key = "upload_chunk_size";
        if part < PART_MIN {
            return Err(refuse(cx, key, "S3 takes no smaller parts than 5242880 bytes"));
        }
        if part > part_max {
            return Err(refuse(cx, key, "use 50000000 (5G with `compression`) or less"));
        }
        if !is_put && part > total / 2 {
            return Err(refuse(cx, key, "use half of `total_file_size` or less"));
        }
        let timeout = self.upload_timeout.map_or(TIMEOUT, |timeout| timeout.0);
        if timeout.is_zero() {
            return Err(refuse(cx, "upload_timeout", "use 1s or more"));
        }
        Ok(Shape {
            total,
            part,
            timeout,
            is_put,
            one_chunk: coding == Some(Coding::Snappy) || format == Format::Parquet,
            ratio: Shape::guess(coding, self.log_key.is_some()),
        })
    }

    fn headers(
        &self,
        cx: &BuildCx<'_>,
        content: Content,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Vec<Diagnostic>> {
        if let Some(sse) = &self.sse
            && !["AES256", "aws:kms", "aws:kms:dsse"].contains(&sse.as_str())
        {
            return Err(vec![refuse(cx, "sse", "use AES256, aws:kms or aws:kms:dsse")]);
        }
        let kms = self
            .sse_kms_key_id
            .as_deref()
            .filter(|_| self.sse.as_ref().is_some_and(|sse| sse.starts_with("aws:kms")));
        // Columns are compressed, the file is not.
        let coding = content.coding.filter(|_| content.format == Format::Lines);
        let wanted = [
            ("content_type", "content-type", self.content_type.as_deref()),
            ("compression", "content-encoding", coding.map(Coding::name)),
            ("canned_acl", "x-amz-acl", self.canned_acl.as_deref()),
            (
                "storage_class",
                "x-amz-storage-class",
                self.storage_class.as_deref(),
            ),
            ("sse", "x-amz-server-side-encryption", self.sse.as_deref()),
            (
                "sse_kms_key_id",
                "x-amz-server-side-encryption-aws-kms-key-id",
                kms,
            ),
        ];
        let (mut headers, mut errors) = (Vec::new(), Vec::new());
        for (key, name, value) in wanted {
            let Some(value) = value else { continue };
            match HeaderValue::from_str(value) {
                Ok(value) => headers.push((HeaderName::from_static(name), value)),
                Err(_) => errors.push(refuse(cx, key, "it cannot stand in a header")),
            }
        }
        if errors.is_empty() {
            Ok(headers)
        } else {
            Err(errors)
        }
    }

    fn settings(&self) -> AwsSettings {
        AwsSettings {
            region: Some(self.region.clone().unwrap_or_else(|| "us-east-1".to_owned())),
            profile: self.profile.clone(),
            role_arn: self.role_arn.clone(),
            external_id: self.external_id.clone(),
            sts_endpoint: self.sts_endpoint.clone(),
            endpoint: self.endpoint.clone(),
            ..AwsSettings::default()
        }
    }
}

/// What `format` and `compression` say together.
#[derive(Debug, Clone, Copy)]
struct Content {
    format: Format,
    /// Of the object, or of its columns.
    coding: Option<Coding>,
}

/// What an object is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Lines,
    Parquet,
}

fn is_parquet(word: Option<&str>) -> bool {
    word.is_some_and(|word| word.eq_ignore_ascii_case("parquet"))
}

const NOT_BUILT: &str = "parquet is not in this build: make one with `cargo build --release --features parquet`, \
     or use `format json_lines` and let Athena or a Glue job convert";
const NO_ARROW: &str = "arrow is not supported: Athena and Glue read no Arrow files from S3; use `format json_lines` or `format parquet`";
