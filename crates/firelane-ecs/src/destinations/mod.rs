//! What is known of Fluent Bit's outputs: their options, and where they send.
//!
//! From the option tables and start-up checks of Fluent Bit 5.1.1 (`plugins/out_*`, `src/flb_output.c`,
//! `src/flb_upstream.c`); the Go plugins from their own sources. Left out: `calyptia`, which a configuration
//! may not name, and `lib`, which starts only inside a program. So are options of one build only
//! (`tls.windows.*`, `_debug.http.*`), and `oauth2.*` where 5.1 takes it without heeding it.

mod aws;
mod cloud;
mod local;
mod saas;
mod search;
mod telemetry;
mod wire;

#[cfg(test)]
mod tests;

/// Who runs an output, and so what an unknown option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// Fluent Bit itself: an unknown option stops it at start.
    Core,
    /// A Go plugin, of the aws-for-fluent-bit image or one's own: an unknown option is ignored.
    Go,
}

/// An AWS service an output calls, and so needs permission for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// CloudWatch Logs (`logs`).
    CloudWatchLogs,
    /// Data Firehose (`firehose`).
    Firehose,
    /// Kinesis Data Streams (`kinesis`).
    Kinesis,
    /// S3 (`s3`).
    S3,
    /// OpenSearch Service (`es`), or Serverless with `aws_service_name aoss`.
    OpenSearch,
    /// Managed Service for Prometheus (`aps`).
    ManagedPrometheus,
    /// Managed Streaming for Kafka (`kafka-cluster`).
    Kafka,
    /// The one the option `aws_service` names.
    Named,
}

/// An output plugin. Option names are in lower case and sorted; a trailing `*` makes one a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// As in `Name`.
    pub name: &'static str,
    /// Other spellings of `Name` (5.1 on).
    pub aliases: &'static [&'static str],
    /// For people and graphs.
    pub title: &'static str,
    /// Who runs it.
    pub runtime: Runtime,
    /// Whether it heeds any of [`NETWORK`]; the others take them and ignore them.
    pub network: bool,
    /// Whether `tls on` is allowed; elsewhere it stops Fluent Bit at start. The AWS plugins without it
    /// always use TLS.
    pub tls: bool,
    /// Its own options, without [`GENERIC`] and [`NETWORK`].
    pub options: &'static [&'static str],
    /// Of each list one option must be set, or the output does not start. What an environment variable of
    /// the router can give instead (Google's credentials) is not here.
    pub required: &'static [&'static [&'static str]],
    /// Of the second list one option must be set once the first option is (for a switch: is on). Else the
    /// output does not start; `kafka` starts, without IAM.
    pub needs: &'static [(&'static str, &'static [&'static str])],
    /// Pairs of options of which only one may be set (for a switch: on), or the output does not start.
    pub exclusive: &'static [(&'static str, &'static str)],
    /// Options whose values belong in `secretOptions`.
    pub secrets: &'static [&'static str],
    /// Options that say where it sends, most telling first.
    pub target: &'static [&'static str],
    /// The AWS service it calls.
    pub service: Option<Service>,
    /// Whether it calls the service only with [`Self::aws_switch`] on.
    pub aws_auth: bool,
}

/// Options every output takes.
pub static GENERIC: &[&str] = &[
    "alias",
    "log_level",
    "log_suppress_interval",
    "match",
    "match_regex",
    "name",
    "retry_limit",
    "storage.total_limit_size",
    "workers",
];

/// Options of connections, which the core takes for every output too.
pub static NETWORK: &[&str] = &[
    "host",
    "ipv6",
    "net.connect_timeout",
    "net.connect_timeout_log_error",
    "net.dns.mode",
    "net.dns.prefer_ipv4",
    "net.dns.prefer_ipv6",
    "net.dns.resolver",
    "net.io_timeout",
    "net.keepalive",
    "net.keepalive_idle_timeout",
    "net.keepalive_max_recycle",
    "net.max_worker_connections",
    "net.proxy_env_ignore",
    "net.source_address",
    "net.tcp_keepalive",
    "net.tcp_keepalive_interval",
    "net.tcp_keepalive_probes",
    "net.tcp_keepalive_time",
    "port",
    "tls",
    "tls.ca_file",
    "tls.ca_path",
    "tls.ciphers",
    "tls.crt_file",
    "tls.debug",
    "tls.key_file",
    "tls.key_passwd",
    "tls.max_version",
    "tls.min_version",
    "tls.proxy.ca_file",
    "tls.proxy.ca_path",
    "tls.proxy.verify",
    "tls.proxy.verify_hostname",
    "tls.verify",
    "tls.verify_hostname",
    "tls.vhost",
];

/// Every output, by name.
pub static DESTINATIONS: &[Destination] = &[
    cloud::AZURE,
    cloud::AZURE_BLOB,
    cloud::AZURE_KUSTO,
    cloud::AZURE_LOGS_INGESTION,
    cloud::BIGQUERY,
    cloud::CHRONICLE,
    aws::CLOUDWATCH,
    aws::CLOUDWATCH_LOGS,
    local::COUNTER,
    saas::DATADOG,
    search::ES,
    local::EXIT,
    local::FILE,
    aws::FIREHOSE,
    local::FLOWCOUNTER,
    wire::FORWARD,
    cloud::GCS,
    wire::GELF,
    wire::HTTP,
    search::INFLUXDB,
    wire::KAFKA,
    wire::KAFKA_REST,
    aws::KINESIS,
    aws::KINESIS_FIREHOSE,
    aws::KINESIS_STREAMS,
    saas::LOGDNA,
    search::LOKI,
    wire::NATS,
    saas::NEWRELIC,
    saas::NRLOGS,
    local::NULL,
    search::OPENSEARCH,
    telemetry::OPENTELEMETRY,
    cloud::ORACLE_LOG_ANALYTICS,
    search::PGSQL,
    local::PLOT,
    telemetry::PROMETHEUS_EXPORTER,
    telemetry::PROMETHEUS_REMOTE_WRITE,
    local::RETRY,
    aws::S3,
    search::SKYWALKING,
    saas::SLACK,
    saas::SPLUNK,
    cloud::STACKDRIVER,
    local::STDOUT,
    wire::SYSLOG,
    wire::TCP,
    saas::TD,
    wire::UDP,
    telemetry::VIVO_EXPORTER,
    wire::WEBSOCKET,
];

/// The output of this name or alias, in any case.
pub fn find(name: &str) -> Option<&'static Destination> {
    DESTINATIONS
        .iter()
        .find(|destination| destination.name.eq_ignore_ascii_case(name) || holds(destination.aliases, name))
}

/// The outputs that have `option` as their own, for "that is an option of `cloudwatch`".
pub fn who_knows(option: &str) -> impl Iterator<Item = &'static Destination> {
    DESTINATIONS
        .iter()
        .filter(move |destination| holds(destination.options, option))
}

impl Destination {
    const fn remote(name: &'static str, title: &'static str) -> Self {
        Self {
            name,
            aliases: &[],
            title,
            runtime: Runtime::Core,
            network: true,
            tls: true,
            options: &[],
            required: &[],
            needs: &[],
            exclusive: &[],
            secrets: &[],
            target: &[],
            service: None,
            aws_auth: false,
        }
    }

    const fn local(name: &'static str, title: &'static str) -> Self {
        Self {
            network: false,
            tls: false,
            ..Self::remote(name, title)
        }
    }

    const fn go(name: &'static str, title: &'static str) -> Self {
        Self {
            runtime: Runtime::Go,
            ..Self::local(name, title)
        }
    }

    /// Whether an option it does not know stops Fluent Bit at start. `pgsql` alone of the core has no table
    /// of options to check against.
    pub fn refuses_unknown(&self) -> bool {
        self.runtime == Runtime::Core && self.name != "pgsql"
    }

    /// Whether it takes the option, in any case, be it only to ignore it ([`Self::ignores`]).
    pub fn knows(&self, option: &str) -> bool {
        holds(self.options, option) || holds(GENERIC, option) || holds(NETWORK, option)
    }

    /// Whether it takes the option without heeding it: a connection's, where it opens none that way.
    pub fn ignores(&self, option: &str) -> bool {
        !self.network && holds(NETWORK, option) && !holds(self.options, option)
    }

    /// Whether the option's value belongs in `secretOptions`.
    pub fn is_secret(&self, option: &str) -> bool {
        holds(self.secrets, option) || looks_secret(option)
    }

    /// The option that turns on calls to [`Self::service`]; `None` when it always calls it, or has none.
    pub fn aws_switch(&self) -> Option<&'static str> {
        match self.service {
            Some(Service::Kafka) if self.aws_auth => Some("aws_msk_iam"),
            Some(_) if self.aws_auth => Some("aws_auth"),
            _ => None,
        }
    }

    /// Names to compare a misspelt option with.
    pub fn suggestions(&self) -> impl Iterator<Item = &'static str> {
        let network = if self.network { NETWORK } else { &[] };
        [self.options, GENERIC, network]
            .into_iter()
            .flatten()
            .copied()
            .filter(|option| !option.ends_with('*'))
    }
}

/// Whether an option's name looks like that of a secret, whatever the plugin.
///
/// `tls.key_passwd` and `licenseKey` do; `tls.key_file`, `token_url` and `partition_key` do not.
pub fn looks_secret(option: &str) -> bool {
    const SECRET: &[&str] = &[
        "passwd",
        "password",
        "passphrase",
        "secret",
        "token",
        "apikey",
        "accesskey",
        "licensekey",
        "privatekey",
        "secretkey",
        "sharedkey",
    ];
    const KEY_OF: &[&str] = &["access", "account", "api", "license", "private", "shared"];
    // What is about a secret without being one: where it is found, its name, its life.
    const ABOUT: &[&str] = &[
        "arn", "endpoint", "field", "file", "header", "id", "name", "path", "seconds", "timeout", "ttl",
        "type", "uri", "url",
    ];
    let option = option.to_ascii_lowercase();
    let words: Vec<&str> = option.split(['.', '_', '-']).collect();
    if words.first() == Some(&"empty") || words.last().is_some_and(|last| ABOUT.contains(last)) {
        return false;
    }
    let ends_secret = |word: &&str| SECRET.iter().any(|secret| word.ends_with(secret));
    words.iter().any(ends_secret)
        || words
            .windows(2)
            .any(|pair| pair[1] == "key" && KEY_OF.contains(&pair[0]))
}

fn holds(known: &[&str], option: &str) -> bool {
    known.iter().any(|known| match known.strip_suffix('*') {
        // A prefix alone names nothing.
        Some(prefix) => {
            option.len() > prefix.len()
                && option.is_char_boundary(prefix.len())
                && option[..prefix.len()].eq_ignore_ascii_case(prefix)
        }
        None => known.eq_ignore_ascii_case(option),
    })
}
