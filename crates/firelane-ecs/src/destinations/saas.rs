//! Services sold per gigabyte.

use super::Destination;

pub(super) const DATADOG: Destination = Destination {
    options: &[
        "apikey",
        "compress",
        "dd_hostname",
        "dd_message_key",
        "dd_service",
        "dd_source",
        "dd_tags",
        "header",
        "include_tag_key",
        "json_date_key",
        "provider",
        "proxy",
        "tag_key",
    ],
    required: &[&["apikey"]],
    secrets: &["apikey"],
    target: &["host"],
    ..Destination::remote("datadog", "Datadog")
};

pub(super) const LOGDNA: Destination = Destination {
    options: &[
        "api_key",
        "app",
        "exclude_promoted_keys",
        "file",
        "hostname",
        "ip",
        "logdna_endpoint",
        "logdna_host",
        "logdna_port",
        "mac",
        "tags",
    ],
    required: &[&["api_key"]],
    secrets: &["api_key"],
    target: &["logdna_host"],
    ..Destination::remote("logdna", "Mezmo (LogDNA)")
};

pub(super) const NEWRELIC: Destination = Destination {
    options: &[
        "apikey",
        "cabundledir",
        "cabundlefile",
        "endpoint",
        "httpclienttimeout",
        "ignoresystemproxy",
        "licensekey",
        "lowdatamode",
        "maxbuffersize",
        "maxrecords",
        "maxtimebetweenflushes",
        "proxy",
        "sendmetrics",
        "validateproxycerts",
    ],
    required: &[&["apikey", "licensekey"]],
    exclusive: &[("apikey", "licensekey")],
    secrets: &["apikey", "licensekey"],
    target: &["endpoint"],
    ..Destination::go("newrelic", "New Relic")
};

pub(super) const NRLOGS: Destination = Destination {
    options: &["api_key", "base_uri", "compress", "license_key"],
    required: &[&["api_key", "license_key"]],
    secrets: &["api_key", "license_key"],
    target: &["base_uri"],
    ..Destination::remote("nrlogs", "New Relic")
};

pub(super) const SLACK: Destination = Destination {
    options: &["webhook"],
    required: &[&["webhook"]],
    secrets: &["webhook"],
    ..Destination::remote("slack", "Slack")
};

pub(super) const SPLUNK: Destination = Destination {
    options: &[
        "auto_extract_timestamp",
        "channel",
        "compress",
        "event_field",
        "event_host",
        "event_index",
        "event_index_key",
        "event_key",
        "event_source",
        "event_sourcetype",
        "event_sourcetype_key",
        "http_buffer_size",
        "http_debug_bad_request",
        "http_passwd",
        "http_user",
        "splunk_send_raw",
        "splunk_token",
    ],
    required: &[&["splunk_token", "http_user"]],
    secrets: &["http_passwd", "splunk_token"],
    target: &["host", "event_index"],
    ..Destination::remote("splunk", "Splunk")
};

pub(super) const TD: Destination = Destination {
    options: &["api", "database", "region", "table"],
    required: &[&["api"], &["database"], &["table"]],
    secrets: &["api"],
    target: &["database", "table"],
    ..Destination::remote("td", "Treasure Data")
};
