//! What an output of Fluentd needs, as far as its options tell: the plugins that AWS's own images have.
//!
//! Options and calls: `fluent-plugin-cloudwatch-logs`, `aws-fluent-plugin-kinesis`, `fluent-plugin-s3`.
//! FireLens writes options flat, so nothing of theirs that takes a section of its own can be meant.

use super::Reason;
use super::arn::Scope;
use super::build::{Builder, Grant, To};
use super::names::{Dialect, Name};
use super::outputs::{self, Output, Sink};

/// The permissions of an output of Fluentd.
pub(super) fn fluentd(builder: &mut Builder<'_>, output: &Output) {
    let (region, kind) = match output.plugin.as_str() {
        "cloudwatch_logs" => ("region", Kind::Logs),
        "kinesis_firehose" => ("region", Kind::Firehose),
        "kinesis_streams" | "kinesis_streams_aggregated" => ("region", Kind::Kinesis),
        "s3" => ("s3_region", Kind::S3),
        "opensearch" | "elasticsearch" | "amazon_es" | "aws-elasticsearch-service" => {
            ("region", Kind::Search)
        }
        _ => return,
    };
    let region = builder.known.region(output.get(region));
    let mut scope = Scope::task().region(&region);
    let mut to = To::Task;
    if let Some(role) = output.get("aws_sts_role_arn") {
        let id = output.get("aws_sts_external_id");
        (to, scope) = outputs::assume(builder, output, role, id, scope);
    }
    let mut sink = Sink {
        builder,
        output,
        to,
        scope,
    };
    match kind {
        Kind::Logs => logs(sink),
        Kind::Firehose => outputs::firehose(sink, "delivery_stream_name", Dialect::Fluentd),
        Kind::Kinesis => outputs::kinesis(sink, "stream_name", Dialect::Fluentd),
        Kind::S3 => s3(sink),
        Kind::Search => {
            let help = "allow `es:ESHttpPost` and `es:ESHttpPut` on the domain if requests are signed";
            sink.unknown("options of FireLens do not tell the domain", help);
        }
    }
}

enum Kind {
    Logs,
    Firehose,
    Kinesis,
    S3,
    Search,
}

/// Looks for group and stream before it writes; makes both with `auto_create_stream`.
fn logs(mut sink: Sink<'_, '_>) {
    let named = |what: &str, by_tag: &str| {
        let tag = sink.output.on(by_tag, false);
        let by_key = sink.output.get(&format!("{what}_key")).is_some();
        let other = (tag || by_key).then(|| Name::any("the record or its tag"));
        other.or_else(|| sink.name(what, Dialect::Fluentd))
    };
    let group = named("log_group_name", "use_tag_as_group");
    let stream = named("log_stream_name", "use_tag_as_stream");
    let (Some(group), Some(stream)) = (group, stream) else {
        sink.unknown(
            "log group or stream is missing",
            "set `log_group_name` and `log_stream_name`",
        );
        return;
    };
    sink.broad("log group", &group);
    let log_group = sink.scope.arn("logs", &format!("log-group:{}", group.pattern));
    let what = format!("log group `{}`", group.pattern);
    let why = || group.why().or(stream.why());
    let resource = format!("{log_group}:log-stream:{}", stream.pattern);
    sink.grant("WriteLogEvents", &["logs:PutLogEvents"], resource, &what, why());
    let every = format!("{log_group}:*");
    sink.grant(
        "PrepareLogGroup",
        &["logs:DescribeLogStreams"],
        every.clone(),
        &what,
        why(),
    );
    if sink.output.on("auto_create_stream", false) {
        const CREATE: &[&str] = &["logs:CreateLogGroup", "logs:CreateLogStream"];
        sink.grant("PrepareLogGroup", CREATE, every.clone(), &what, why());
    }
    if sink.output.get("retention_in_days").is_some() {
        sink.grant(
            "PrepareLogGroup",
            &["logs:PutRetentionPolicy"],
            every,
            &what,
            why(),
        );
    }
    let text = format!(
        "{} looks for its log group among all (`{}`)",
        sink.output.who, sink.output.plugin
    );
    let grant = Grant {
        sid: "FindLogGroups",
        actions: &["logs:DescribeLogGroups"],
        resource: sink.scope.arn("logs", "log-group:*"),
        reason: Reason {
            text,
            span: Some(sink.output.span),
        },
        wildcard: Some("a list of log groups is not of one group"),
    };
    sink.builder.grant(sink.to, grant);
}

/// Looks for the bucket at start and for an object of the same key before it writes.
fn s3(mut sink: Sink<'_, '_>) {
    let Some(bucket) = sink.name("s3_bucket", Dialect::Fluentd) else {
        sink.unknown("the bucket is missing", "set `s3_bucket`");
        return;
    };
    sink.broad("bucket", &bucket);
    let path = sink
        .name("path", Dialect::Fluentd)
        .map_or(String::new(), |path| path.head().pattern);
    let format = sink.name("s3_object_key_format", Dialect::Fluentd);
    let key = match format {
        Some(format) if !format.pattern.starts_with('*') => format.head().and_more(),
        _ => Name {
            pattern: path,
            stars: Vec::new(),
        }
        .and_more(),
    };
    let arn = sink.scope.global("s3", &bucket.pattern);
    let what = format!("bucket `{}`, objects `{}`", bucket.pattern, key.pattern);
    let objects = format!("{arn}/{}", key.pattern);
    sink.grant(
        "WriteObjects",
        &["s3:PutObject"],
        objects.clone(),
        &what,
        key.why(),
    );
    if sink.output.on("check_object", true) {
        sink.grant("WriteObjects", &["s3:GetObject"], objects, &what, key.why());
    }
    if sink.output.on("check_bucket", true) || sink.output.on("check_apikey_on_start", true) {
        sink.grant(
            "CheckBucket",
            &["s3:ListBucket"],
            arn,
            &format!("bucket `{}`", bucket.pattern),
            None,
        );
    }
}
