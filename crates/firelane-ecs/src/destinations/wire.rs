//! Plain protocols and message queues.

use super::{Destination, Service};

pub(super) const FORWARD: Destination = Destination {
    options: &[
        "add_option",
        "compress",
        "empty_shared_key",
        "fluentd_compat",
        "password",
        "require_ack_response",
        "retain_metadata_in_forward_mode",
        "self_hostname",
        "send_options",
        "shared_key",
        "tag",
        "time_as_integer",
        "unix_path",
        "upstream",
        "username",
    ],
    needs: &[
        ("username", &["shared_key", "empty_shared_key"]),
        ("password", &["shared_key", "empty_shared_key"]),
    ],
    secrets: &["password", "shared_key"],
    target: &["host", "unix_path", "upstream"],
    ..Destination::remote("forward", "Fluentd forward")
};

pub(super) const GELF: Destination = Destination {
    options: &[
        "compress",
        "gelf_full_message_key",
        "gelf_host_key",
        "gelf_level_key",
        "gelf_short_message_key",
        "gelf_tag_key",
        "gelf_timestamp_key",
        "mode",
        "packet_size",
    ],
    target: &["host"],
    ..Destination::remote("gelf", "Graylog (GELF)")
};

pub(super) const HTTP: Destination = Destination {
    options: &[
        "allow_duplicated_headers",
        "aws_auth",
        "aws_external_id",
        "aws_profile",
        "aws_region",
        "aws_role_arn",
        "aws_service",
        "aws_sts_endpoint",
        "body_key",
        "compress",
        "format",
        "gelf_full_message_key",
        "gelf_host_key",
        "gelf_level_key",
        "gelf_short_message_key",
        "gelf_timestamp_key",
        "header",
        "header_tag",
        "headers_key",
        "http.read_idle_timeout",
        "http.response_timeout",
        "http_method",
        "http_passwd",
        "http_user",
        "json_date_format",
        "json_date_key",
        "log_response_payload",
        "oauth2.audience",
        "oauth2.auth_method",
        "oauth2.client_id",
        "oauth2.client_secret",
        "oauth2.connect_timeout",
        "oauth2.enable",
        "oauth2.jwt_aud",
        "oauth2.jwt_cert_file",
        "oauth2.jwt_header",
        "oauth2.jwt_key_file",
        "oauth2.jwt_ttl_seconds",
        "oauth2.refresh_skew_seconds",
        "oauth2.resource",
        "oauth2.scope",
        "oauth2.timeout",
        "oauth2.token_url",
        "oauth2.user_agent",
        "proxy",
        "uri",
    ],
    needs: &[
        ("aws_auth", &["aws_service"]),
        ("aws_auth", &["aws_region"]),
        ("body_key", &["headers_key"]),
        ("oauth2.enable", &["oauth2.token_url"]),
        ("oauth2.enable", &["oauth2.client_id"]),
    ],
    secrets: &["http_passwd", "oauth2.client_secret"],
    target: &["host", "uri"],
    service: Some(Service::Named),
    aws_auth: true,
    ..Destination::remote("http", "HTTP")
};

pub(super) const KAFKA: Destination = Destination {
    network: false,
    options: &[
        "aws_msk_iam",
        "aws_msk_iam_cluster_arn",
        "brokers",
        "client_id",
        "dynamic_topic",
        "format",
        "gelf_full_message_key",
        "gelf_host_key",
        "gelf_level_key",
        "gelf_short_message_key",
        "gelf_timestamp_key",
        "group_id",
        "message_key",
        "message_key_field",
        "otlp_logs_partition_by_resource",
        "queue_full_retries",
        "raw_log_key",
        "rdkafka.*",
        "schema.registry.bearer.token",
        "schema.registry.http.password",
        "schema.registry.http.user",
        "schema.registry.subject",
        "schema.registry.url",
        "schema.registry.version",
        "schema_id",
        "schema_registry_bearer_token",
        "schema_registry_framing",
        "schema_registry_http_passwd",
        "schema_registry_http_user",
        "schema_registry_subject",
        "schema_registry_url",
        "schema_registry_version",
        "schema_str",
        "serializer.framing",
        "timestamp_format",
        "timestamp_key",
        "topic_key",
        "topics",
    ],
    required: &[&["brokers"]],
    needs: &[("aws_msk_iam", &["aws_msk_iam_cluster_arn"])],
    secrets: &[
        "rdkafka.sasl.password",
        "rdkafka.ssl.key.password",
        "schema.registry.bearer.token",
        "schema.registry.http.password",
        "schema_registry_bearer_token",
        "schema_registry_http_passwd",
    ],
    target: &["topics", "brokers"],
    service: Some(Service::Kafka),
    aws_auth: true,
    ..Destination::remote("kafka", "Apache Kafka")
};

pub(super) const KAFKA_REST: Destination = Destination {
    options: &[
        "avro_http_header",
        "include_tag_key",
        "message_key",
        "partition",
        "tag_key",
        "time_key",
        "time_key_format",
        "topic",
        "url_path",
    ],
    target: &["topic", "host"],
    ..Destination::remote("kafka-rest", "Kafka REST Proxy")
};

pub(super) const NATS: Destination = Destination {
    tls: false,
    target: &["host"],
    ..Destination::remote("nats", "NATS")
};

pub(super) const SYSLOG: Destination = Destination {
    options: &[
        "allow_longer_sd_id",
        "mode",
        "syslog_appname_key",
        "syslog_appname_preset",
        "syslog_facility_key",
        "syslog_facility_preset",
        "syslog_format",
        "syslog_hostname_key",
        "syslog_hostname_preset",
        "syslog_maxsize",
        "syslog_message_key",
        "syslog_msgid_key",
        "syslog_msgid_preset",
        "syslog_procid_key",
        "syslog_procid_preset",
        "syslog_sd_key",
        "syslog_severity_key",
        "syslog_severity_preset",
    ],
    target: &["host"],
    ..Destination::remote("syslog", "Syslog")
};

pub(super) const TCP: Destination = Destination {
    options: &["format", "json_date_format", "json_date_key", "raw_message_key"],
    target: &["host"],
    ..Destination::remote("tcp", "TCP")
};

pub(super) const UDP: Destination = Destination {
    tls: false,
    options: &["format", "json_date_format", "json_date_key", "raw_message_key"],
    target: &["host"],
    ..Destination::remote("udp", "UDP")
};

pub(super) const WEBSOCKET: Destination = Destination {
    options: &["format", "header", "json_date_format", "json_date_key", "uri"],
    target: &["host", "uri"],
    ..Destination::remote("websocket", "WebSocket")
};
