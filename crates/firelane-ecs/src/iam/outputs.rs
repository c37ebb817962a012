//! What an output needs: CloudWatch Logs, Firehose, Kinesis, S3, Kafka; the rest is in `search`.

use firelane_conf::Span;

use crate::destinations::{self, Service};
use crate::text::Text;

use super::arn::{PARTITION, Scope};
use super::build::{Builder, Grant, To};
use super::names::{Dialect, Name};
use super::{Reason, notes, search};

/// An output: a container's log options, or a section of the router's configuration.
pub(super) struct Output {
    /// The plugin.
    pub(super) plugin: String,
    /// For reasons: "container `app`".
    pub(super) who: String,
    pub(super) span: Span,
    /// Options, the last one of a name counts.
    pub(super) options: Vec<(String, Text)>,
}

impl Output {
    /// An option that is set; an empty value sets none.
    pub(super) fn get(&self, key: &str) -> Option<&Text> {
        let mut all = self.options.iter().rev();
        let found = all.find(|(known, _)| known.eq_ignore_ascii_case(key));
        found.map(|(_, text)| text).filter(|text| !text.value.is_empty())
    }

    /// Whether a switch is on. What only run time or the deployment knows may be on.
    pub(super) fn on(&self, key: &str, default: bool) -> bool {
        let Some(text) = self.get(key) else {
            return default;
        };
        let value = text.as_str().to_ascii_lowercase();
        matches!(value.as_str(), "true" | "on" | "yes") || value.contains("${")
    }
}

/// An output, and whose permission it uses where.
pub(super) struct Sink<'b, 'a> {
    pub(super) builder: &'b mut Builder<'a>,
    pub(super) output: &'b Output,
    pub(super) to: To,
    pub(super) scope: Scope,
}

impl Sink<'_, '_> {
    pub(super) fn grant(
        &mut self,
        sid: &'static str,
        actions: &'static [&'static str],
        resource: String,
        what: &str,
        why: Option<String>,
    ) {
        let Output { who, plugin, .. } = self.output;
        let mut text = format!("{who} sends to {what} (`{plugin}`)");
        if let Some(why) = why {
            text = format!("{text}; {why}");
        }
        let span = Some(self.output.span);
        let grant = Grant {
            sid,
            actions,
            resource,
            reason: Reason { text, span },
            wildcard: None,
        };
        self.builder.grant(self.to, grant);
    }

    pub(super) fn name(&self, key: &str, dialect: Dialect) -> Option<Name> {
        let text = self.output.get(key)?;
        Some(self.builder.known.name(text, dialect))
    }

    /// Says that a permission cannot be told.
    pub(super) fn unknown(&mut self, what: &str, help: &str) {
        let message = format!(
            "what {} with output `{}` needs cannot be told: {what}",
            self.output.who, self.output.plugin
        );
        let note = notes::unknown(message, help, Some(self.output.span));
        self.builder.diagnostics.push(note);
    }

    pub(super) fn broad(&mut self, what: &str, name: &Name) {
        if name.pattern.starts_with('*') {
            let note = notes::broad(&self.output.who, what, Some(self.output.span));
            self.builder.diagnostics.push(note);
        }
    }
}

/// The permissions of an output of Fluent Bit.
pub(super) fn fluent_bit(builder: &mut Builder<'_>, output: &Output) {
    let Some(destination) = destinations::find(&output.plugin) else {
        return;
    };
    let Some(service) = destination.service else {
        return;
    };
    if destination
        .aws_switch()
        .is_some_and(|switch| !output.on(switch, false))
    {
        return;
    }
    let kafka = service == Service::Kafka;
    let (role, external_id, region) = match destination.aws_auth {
        true => ("aws_role_arn", "aws_external_id", "aws_region"),
        false => ("role_arn", "external_id", "region"),
    };
    let region = builder.known.region(output.get(region));
    let mut scope = Scope::task().region(&region);
    let mut to = To::Task;
    if let Some(role) = output.get(role).filter(|_| !kafka) {
        (to, scope) = assume(builder, output, role, output.get(external_id), scope);
    }
    let sink = Sink {
        builder,
        output,
        to,
        scope,
    };
    match service {
        Service::CloudWatchLogs => cloudwatch(sink, destination.name == "cloudwatch"),
        Service::Firehose => firehose(sink, "delivery_stream", Dialect::Plain),
        Service::Kinesis => kinesis(sink, "stream", Dialect::Plain),
        Service::S3 => s3(sink),
        Service::OpenSearch => {
            let serverless = output.get("aws_service_name").is_some_and(|name| name.is("aoss"));
            search::by_service(sink, if serverless { "aoss" } else { "es" });
        }
        Service::ManagedPrometheus => {
            let named = output.get("aws_service").map_or("aps", Text::as_str);
            search::by_service(sink, named);
        }
        Service::Kafka => msk(sink),
        Service::Named => {
            let default = if destination.name == "opentelemetry" {
                "logs"
            } else {
                ""
            };
            search::by_service(sink, output.get("aws_service").map_or(default, Text::as_str));
        }
    }
}

/// The role that an output assumes; its destination is taken to be in that role's account.
pub(super) fn assume(
    builder: &mut Builder<'_>,
    output: &Output,
    role: &Text,
    external_id: Option<&Text>,
    scope: Scope,
) -> (To, Scope) {
    let name = builder.known.name(role, Dialect::Plain);
    let arn = &name.pattern;
    if !arn.starts_with("arn:") && !arn.starts_with("${") {
        let wanted = "arn:aws:iam::ACCOUNT:role/NAME";
        let note = notes::bad_arn("the role", role.as_str(), wanted, Some(role.span));
        builder.diagnostics.push(note);
        return (To::Task, scope);
    }
    let text = format!("{} assumes it (`{}`)", output.who, output.plugin);
    let span = Some(role.span);
    let to = builder.assume(arn, external_id, Reason { text, span });
    let scope = scope.account_of(arn);
    (to, scope)
}

/// Names of log groups, or of streams: the option's, the template's, and the one for records that lack a key.
fn cloudwatch_names(sink: &Sink<'_, '_>, go: bool, what: &str) -> Vec<Name> {
    let mut names: Vec<Name> = sink
        .name(&format!("{what}_name"), Dialect::Go)
        .into_iter()
        .collect();
    if let Some(prefix) = sink.name(&format!("{what}_prefix"), Dialect::Go) {
        let mut name = prefix.and_more();
        name.stars.push("the tag".into());
        names.push(name);
    }
    let stars = names.iter().any(|name| !name.stars.is_empty());
    if go && stars && sink.output.get(&format!("{what}_prefix")).is_none() {
        // Taken when a variable has no value.
        let default = match what {
            "log_group" => "fluentbit-default",
            _ => "/fluentbit-default",
        };
        let given = sink.name(&format!("default_{what}_name"), Dialect::Plain);
        names.push(given.unwrap_or_else(|| Name {
            pattern: default.into(),
            stars: Vec::new(),
        }));
    }
    names.extend(sink.name(&format!("{what}_template"), Dialect::Accessor));
    names
}

/// `PutLogEvents` is checked against the stream, everything else against the group.
fn cloudwatch(mut sink: Sink<'_, '_>, go: bool) {
    let groups = cloudwatch_names(&sink, go, "log_group");
    let streams = cloudwatch_names(&sink, go, "log_stream");
    if groups.is_empty() || streams.is_empty() {
        let help = "set `log_group_name` and `log_stream_prefix`";
        sink.unknown("log group or stream is missing", help);
        return;
    }
    for group in &groups {
        sink.broad("log group", group);
        let log_group = sink.scope.arn("logs", &format!("log-group:{}", group.pattern));
        let what = format!("log group `{}`", group.pattern);
        for stream in &streams {
            let resource = format!("{log_group}:log-stream:{}", stream.pattern);
            let what = format!("{what}, stream `{}`", stream.pattern);
            let why = match (group.why(), stream.why()) {
                (Some(group), Some(stream)) if group != stream => Some(format!("{group}; {stream}")),
                (group, stream) => group.or(stream),
            };
            sink.grant("WriteLogEvents", &["logs:PutLogEvents"], resource, &what, why);
        }
        for (wanted, actions) in on_group(sink.output, go) {
            let every = format!("{log_group}:*");
            if wanted {
                sink.grant("PrepareLogGroup", actions, every, &what, group.why());
            }
        }
        let creates = sink.output.on("auto_create_group", false);
        if go && creates && sink.output.get("new_log_group_tags").is_some() {
            // Tags alone are checked against the group without `:*`.
            let what = format!("{what} and tags it");
            sink.grant(
                "TagLogGroup",
                &["logs:TagResource"],
                log_group,
                &what,
                group.why(),
            );
        }
    }
}

/// What an output does to its log groups.
fn on_group(output: &Output, go: bool) -> [(bool, &'static [&'static str]); 4] {
    let creates = output.on("auto_create_group", false);
    let keeps = output.get("log_retention_days").is_some_and(|days| !days.is("0"));
    [
        (
            !go || output.on("auto_create_stream", true),
            &["logs:CreateLogStream"],
        ),
        (go, &["logs:DescribeLogStreams"]),
        (creates, &["logs:CreateLogGroup"]),
        // Set behind an attempt to create the group, and only then.
        (creates && keeps, &["logs:PutRetentionPolicy"]),
    ]
}

pub(super) fn firehose(mut sink: Sink<'_, '_>, key: &str, dialect: Dialect) {
    let Some(name) = sink.name(key, dialect) else {
        sink.unknown("the delivery stream is missing", "name it");
        return;
    };
    sink.broad("delivery stream", &name);
    let resource = sink
        .scope
        .arn("firehose", &format!("deliverystream/{}", name.pattern));
    let what = format!("delivery stream `{}`", name.pattern);
    sink.grant(
        "WriteFirehose",
        &["firehose:PutRecordBatch"],
        resource,
        &what,
        name.why(),
    );
}

pub(super) fn kinesis(mut sink: Sink<'_, '_>, key: &str, dialect: Dialect) {
    let Some(name) = sink.name(key, dialect) else {
        sink.unknown("the data stream is missing", "name it");
        return;
    };
    sink.broad("data stream", &name);
    let resource = sink.scope.arn("kinesis", &format!("stream/{}", name.pattern));
    let what = format!("data stream `{}`", name.pattern);
    sink.grant(
        "WriteKinesis",
        &["kinesis:PutRecords"],
        resource,
        &what,
        name.why(),
    );
}

/// The key of an object when none is said (`plugins/out_s3/s3.h`).
const S3_KEY: &str = "/fluent-bit-logs/$TAG/%Y/%m/%d/%H/%M/%S";

fn s3(mut sink: Sink<'_, '_>) {
    let Some(bucket) = sink.name("bucket", Dialect::Plain) else {
        sink.unknown("the bucket is missing", "set `bucket`");
        return;
    };
    sink.broad("bucket", &bucket);
    let key = sink.name("s3_key_format", Dialect::Key);
    let key = key.unwrap_or_else(|| {
        let text = Text::new(S3_KEY, sink.output.span);
        sink.builder.known.name(&text, Dialect::Key)
    });
    let fixed = sink.output.on("static_file_path", false) && key.stars.is_empty();
    let key = match fixed {
        true => key,
        // Eight random characters end the key of a PutObject unless the path is static.
        false => key.head().and_more(),
    };
    let object = key.pattern.trim_start_matches('/');
    let resource = match bucket.pattern.starts_with("arn:") {
        // An access point.
        true => format!("{}/object/{object}", bucket.pattern),
        false => sink.scope.global("s3", &format!("{}/{object}", bucket.pattern)),
    };
    let what = format!("bucket `{}`, objects `{object}`", bucket.pattern);
    sink.grant(
        "WriteObjects",
        &["s3:PutObject"],
        resource.clone(),
        &what,
        key.why(),
    );
    if sink.output.get("canned_acl").is_some() {
        let what = format!("{what}, with `canned_acl`");
        sink.grant(
            "WriteObjects",
            &["s3:PutObjectAcl"],
            resource.clone(),
            &what,
            key.why(),
        );
    }
    if in_parts(sink.output) {
        // Starting, filling and ending an upload in parts all count as PutObject; giving one up does not.
        let what = format!("{what}, in parts that are given up when they fail");
        sink.grant(
            "WriteObjects",
            &["s3:AbortMultipartUpload"],
            resource,
            &what,
            key.why(),
        );
    }
    bucket_keys(sink);
}

/// Whether objects may go in parts: files below 10 MiB never do.
fn in_parts(output: &Output) -> bool {
    const LEAST: u64 = 10_485_760;
    let size = output.get("total_file_size").and_then(Text::known);
    let small = size.and_then(bytes).is_some_and(|size| size < LEAST);
    !output.on("use_put_object", false) && !small
}

/// `100M`, in powers of 1000.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = match text[digits..].trim().to_ascii_lowercase().trim_end_matches('b') {
        "" => 1,
        "k" => 1_000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

fn bucket_keys(mut sink: Sink<'_, '_>) {
    const ACTIONS: &[&str] = &["kms:Decrypt", "kms:GenerateDataKey"];
    if sink.builder.options.bucket_keys.is_empty() {
        let what = "the bucket of an output may be";
        let note = notes::keys(
            what,
            "`kms:GenerateDataKey` and `kms:Decrypt`",
            Some(sink.output.span),
        );
        let known = |old: &firelane_conf::Diagnostic| old.message == note.message;
        if !sink.builder.diagnostics.iter().any(known) {
            sink.builder.diagnostics.push(note);
        }
    }
    for key in &sink.builder.options.bucket_keys {
        sink.grant(
            "EncryptObjects",
            ACTIONS,
            key.clone(),
            "a bucket with a key of its own",
            None,
        );
    }
}

/// IAM of MSK: the topics' ARNs follow from the cluster's
/// (`docs.aws.amazon.com/msk/latest/developerguide/kafka-actions.html`).
fn msk(mut sink: Sink<'_, '_>) {
    let cluster = sink.name("aws_msk_iam_cluster_arn", Dialect::Plain);
    let Some(cluster) = cluster.map(|name| name.pattern) else {
        sink.unknown("the cluster is missing", "set `aws_msk_iam_cluster_arn`");
        return;
    };
    sink.grant(
        "ConnectKafka",
        &["kafka-cluster:Connect"],
        cluster.clone(),
        "the Kafka cluster",
        None,
    );
    if sink.output.on("rdkafka.enable.idempotence", false) {
        const ACTIONS: &[&str] = &["kafka-cluster:WriteDataIdempotently"];
        sink.grant(
            "ConnectKafka",
            ACTIONS,
            cluster.clone(),
            "the Kafka cluster, idempotently",
            None,
        );
    }
    const ACTIONS: &[&str] = &["kafka-cluster:DescribeTopic", "kafka-cluster:WriteData"];
    let Some((head, tail)) = cluster
        .split_once(":cluster/")
        .filter(|_| cluster.starts_with("arn:"))
    else {
        // What makes topics of a cluster's ARN cannot be done to a word of the deployment.
        let resource = format!(
            "arn:{PARTITION}:kafka:{}:{}:topic/*",
            sink.scope.region, sink.scope.account
        );
        sink.grant(
            "WriteKafka",
            ACTIONS,
            resource,
            "topics of a cluster that is not known here",
            None,
        );
        return;
    };
    let any = sink.output.on("dynamic_topic", false);
    let topics = match sink.name("topics", Dialect::Plain) {
        Some(topics) if !any => topics.pattern,
        None if !any => "fluent-bit".into(),
        _ => "*".into(),
    };
    for topic in topics.split(',').map(str::trim).filter(|topic| !topic.is_empty()) {
        let why = any.then(|| "`dynamic_topic` takes the topic from the record".to_string());
        let what = format!("topic `{topic}`");
        sink.grant(
            "WriteKafka",
            ACTIONS,
            format!("{head}:topic/{tail}/{topic}"),
            &what,
            why,
        );
    }
}
