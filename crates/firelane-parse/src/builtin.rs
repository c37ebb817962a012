//! The parsers that need no definition: the usual names, with the fields that configurations expect of them.
//!
//! They are compiled when a plugin asks for one. One of a file takes the place of the built-in one of its
//! name.

use std::sync::Arc;

use firelane_conf::{Section, SectionKind, Span};

use crate::config::define;
use crate::{Clock, Parser};

/// A built-in parser as its section would say it.
struct BuiltIn {
    name: &'static str,
    format: &'static str,
    regex: &'static str,
    time_key: &'static str,
    time_format: &'static str,
    time_keep: bool,
}

const APACHE_TIME: &str = "%d/%b/%Y:%H:%M:%S %z";
const ISO_TIME: &str = "%Y-%m-%dT%H:%M:%S.%L";
const ISO_TIME_ZONE: &str = "%Y-%m-%dT%H:%M:%S.%L%z";
const SYSLOG_TIME: &str = "%b %d %H:%M:%S";

const fn plain(
    name: &'static str,
    format: &'static str,
    time_format: &'static str,
    time_keep: bool,
) -> BuiltIn {
    BuiltIn {
        name,
        format,
        regex: "",
        time_key: "time",
        time_format,
        time_keep,
    }
}

const fn pattern(
    name: &'static str,
    regex: &'static str,
    time_format: &'static str,
    time_keep: bool,
) -> BuiltIn {
    BuiltIn {
        name,
        format: "regex",
        regex,
        time_key: "time",
        time_format,
        time_keep,
    }
}

const BUILT_INS: &[BuiltIn] = &[
    pattern(
        "apache",
        concat!(
            r#"^(?<host>[^ ]*) [^ ]* (?<user>[^ ]*) \[(?<time>[^\]]*)\] "#,
            r#""(?<method>\S+)(?: +(?<path>[^"]*?)(?: +\S*)?)?" (?<code>[^ ]*) (?<size>[^ ]*)"#,
            r#"(?: "(?<referer>[^"]*)" "(?<agent>[^"]*)")?$"#,
        ),
        APACHE_TIME,
        false,
    ),
    pattern(
        "apache2",
        concat!(
            r#"^(?<host>[^ ]*) [^ ]* (?<user>[^ ]*) \[(?<time>[^\]]*)\] "#,
            r#""(?<method>\S+)(?: +(?<path>[^ ]*) +\S*)?" (?<code>[^ ]*) (?<size>[^ ]*)"#,
            r#"(?: "(?<referer>[^"]*)" "(?<agent>.*)")?$"#,
        ),
        APACHE_TIME,
        false,
    ),
    pattern(
        "apache_error",
        concat!(
            r"^\[[^ ]* (?<time>[^\]]*)\] \[(?<level>[^\]]*)\](?: \[pid (?<pid>[^\]]*)\])?",
            r"(?: \[client (?<client>[^\]]*)\])? (?<message>.*)$",
        ),
        "",
        false,
    ),
    pattern(
        "nginx",
        concat!(
            r#"^(?<remote>[^ ]*) (?<host>[^ ]*) (?<user>[^ ]*) \[(?<time>[^\]]*)\] "#,
            r#""(?<method>\S+)(?: +(?<path>[^"]*?)(?: +\S*)?)?" (?<code>[^ ]*) (?<size>[^ ]*)"#,
            r#"(?: "(?<referer>[^"]*)" "(?<agent>[^"]*)")"#,
        ),
        APACHE_TIME,
        false,
    ),
    pattern(
        "k8s-nginx-ingress",
        concat!(
            r#"^(?<host>[^ ]*) - (?<user>[^ ]*) \[(?<time>[^\]]*)\] "#,
            r#""(?<method>\S+)(?: +(?<path>[^"]*?)(?: +\S*)?)?" (?<code>[^ ]*) (?<size>[^ ]*) "#,
            r#""(?<referer>[^"]*)" "(?<agent>[^"]*)" (?<request_length>[^ ]*) (?<request_time>[^ ]*) "#,
            r"\[(?<proxy_upstream_name>[^ ]*)\] (?:\[(?<proxy_alternative_upstream_name>[^ ]*)\] )?",
            r"(?<upstream_addr>[^ ]*) (?<upstream_response_length>[^ ]*) (?<upstream_response_time>[^ ]*) ",
            r"(?<upstream_status>[^ ]*) (?<reg_id>[^ ]*)",
        ),
        APACHE_TIME,
        false,
    ),
    plain("json", "json", APACHE_TIME, false),
    plain("logfmt", "logfmt", "", false),
    plain("docker", "json", ISO_TIME, true),
    pattern(
        "docker-daemon",
        r#"time="(?<time>[^ ]*)" level=(?<level>[^ ]*) msg="(?<msg>[^ ].*)""#,
        ISO_TIME,
        true,
    ),
    pattern(
        "syslog-rfc5424",
        concat!(
            r"^<(?<pri>[0-9]{1,5})>1 (?<time>[^ ]+) (?<host>[^ ]+) (?<ident>[^ ]+) (?<pid>[-0-9]+) ",
            r"(?<msgid>[^ ]+) (?<extradata>(?:\[(?:.*?)\]|-)) (?<message>.+)$",
        ),
        ISO_TIME_ZONE,
        true,
    ),
    pattern(
        "syslog-rfc3164-local",
        concat!(
            r"^<(?<pri>[0-9]+)>(?<time>[^ ]* {1,2}[^ ]* [^ ]*) (?<ident>[a-zA-Z0-9_/.-]*)",
            r"(?:\[(?<pid>[0-9]+)\])?(?:[^:]*:)? *(?<message>.*)$",
        ),
        SYSLOG_TIME,
        true,
    ),
    pattern(
        "syslog-rfc3164",
        concat!(
            r"^<(?<pri>[0-9]+)>(?<time>[^ ]* {1,2}[^ ]* [^ ]*) (?<host>[^ ]*) (?<ident>[a-zA-Z0-9_/.-]*)",
            r"(?:\[(?<pid>[0-9]+)\])?(?:[^:]*:)? *(?<message>.*)$",
        ),
        SYSLOG_TIME,
        true,
    ),
    pattern(
        "mongodb",
        concat!(
            r"^(?<time>[^ ]*)\s+(?<severity>\w)\s+(?<component>[^ ]+)\s+\[(?<context>[^\]]+)\]\s+",
            r"(?<message>.*?) *(?<ms>\d+)?(?::?ms)?$",
        ),
        ISO_TIME,
        true,
    ),
    BuiltIn {
        time_key: "start_time",
        ..pattern(
            "envoy",
            concat!(
                r#"^\[(?<start_time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>[^"]*?)(?: +\S*)?)? (?<protocol>\S+)" "#,
                r"(?<code>[^ ]*) (?<response_flags>[^ ]*) (?<bytes_received>[^ ]*) (?<bytes_sent>[^ ]*) ",
                r#"(?<duration>[^ ]*) (?<x_envoy_upstream_service_time>[^ ]*) "(?<x_forwarded_for>[^ ]*)" "#,
                r#""(?<user_agent>[^"]*)" "(?<request_id>[^"]*)" "(?<authority>[^ ]*)" "(?<upstream_host>[^ ]*)""#,
            ),
            ISO_TIME_ZONE,
            true,
        )
    },
    BuiltIn {
        time_key: "start_time",
        ..pattern(
            "istio-envoy-proxy",
            concat!(
                r#"^\[(?<start_time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>[^"]*?)(?: +\S*)?)? (?<protocol>\S+)" "#,
                r"(?<response_code>[^ ]*) (?<response_flags>[^ ]*) (?<response_code_details>[^ ]*) ",
                r#"(?<connection_termination_details>[^ ]*) "(?<upstream_transport_failure_reason>[^ ]*)" "#,
                r"(?<bytes_received>[^ ]*) (?<bytes_sent>[^ ]*) (?<duration>[^ ]*) ",
                r#"(?<x_envoy_upstream_service_time>[^ ]*) "(?<x_forwarded_for>[^ ]*)" "(?<user_agent>[^"]*)" "#,
                r#""(?<x_request_id>[^"]*)" "(?<authority>[^ ]*)" "(?<upstream_host>[^ ]*)" "#,
                r"(?<upstream_cluster>[^ ]*) (?<upstream_local_address>[^ ]*) ",
                r"(?<downstream_local_address>[^ ]*) (?<downstream_remote_address>[^ ]*) ",
                r"(?<requested_server_name>[^ ]*) (?<route_name>[^ ]*)$",
            ),
            ISO_TIME_ZONE,
            true,
        )
    },
    pattern(
        "cri",
        r"^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>[^ ]*) (?<message>.*)$",
        ISO_TIME_ZONE,
        true,
    ),
    pattern(
        "kube-custom",
        concat!(
            r"(?<tag>[^.]+)?\.?",
            r"(?<pod_name>[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*)",
            r"_(?<namespace_name>[^_]+)_(?<container_name>.+)-(?<docker_id>[a-z0-9]{64})\.log$",
        ),
        "",
        false,
    ),
];

/// The names of all built-in parsers.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    BUILT_INS.iter().map(|built_in| built_in.name)
}

/// The built-in parser of a name.
pub(crate) fn get(name: &str, clock: Clock) -> Option<Arc<dyn Parser>> {
    let built_in = BUILT_INS.iter().find(|built_in| built_in.name == name)?;
    let mut section = Section::new(SectionKind::Parser, Span::default());
    let keep = if built_in.time_keep { "on" } else { "off" };
    for (key, value) in [
        ("name", built_in.name),
        ("format", built_in.format),
        ("regex", built_in.regex),
        ("time_key", built_in.time_key),
        ("time_format", built_in.time_format),
        ("time_keep", keep),
    ] {
        if !value.is_empty() {
            section.push(key, value, Span::default());
        }
    }
    define(&section, clock).ok().map(|defined| defined.parser)
}

#[cfg(test)]
mod tests {
    use firelane_record::{MapWriter, Timestamp, text};

    use super::*;

    fn clock() -> Timestamp {
        Timestamp {
            secs: 1_731_000_000,
            nanos: 0,
        }
    }

    #[track_caller]
    fn check(name: &str, line: &str, secs: i64, want: &str) {
        let parser = get(name, clock).unwrap();
        let mut map = MapWriter::new();
        let time = parser.parse(line.as_bytes(), &mut map).expect(line);
        let (mut raw, mut out) = (Vec::new(), Vec::new());
        map.write(&mut raw);
        text::write_value(&mut out, &raw);
        assert_eq!(String::from_utf8_lossy(&out), want);
        assert_eq!(time.map_or(0, |time| time.secs), secs, "{line}");
    }

    #[test]
    fn all_of_them_compile() {
        for name in names() {
            assert!(get(name, clock).is_some(), "{name}");
        }
    }

    #[test]
    fn lines_of_servers() {
        check(
            "apache2",
            r#"10.0.0.1 - bob [06/May/2024:07:08:09 +0000] "GET /a?b HTTP/1.1" 200 17 "http://from/" "agent (x)""#,
            1_714_979_289,
            concat!(
                r#"{"host"=>"10.0.0.1", "user"=>"bob", "method"=>"GET", "path"=>"/a?b", "code"=>"200", "#,
                r#""size"=>"17", "referer"=>"http://from/", "agent"=>"agent (x)"}"#,
            ),
        );
        check(
            "nginx",
            r#"10.0.0.1 - - [06/May/2024:07:08:09 +0000] "GET / HTTP/1.1" 304 0 "-" "curl""#,
            1_714_979_289,
            concat!(
                r#"{"remote"=>"10.0.0.1", "host"=>"-", "user"=>"-", "method"=>"GET", "path"=>"/", "#,
                r#""code"=>"304", "size"=>"0", "referer"=>"-", "agent"=>"curl"}"#,
            ),
        );
        check(
            "apache_error",
            "[Mon May 06 07:08:09.123 2024] [core:error] [pid 7] [client 10.0.0.1:9] File does not exist",
            0,
            concat!(
                r#"{"time"=>"May 06 07:08:09.123 2024", "level"=>"core:error", "pid"=>"7", "#,
                r#""client"=>"10.0.0.1:9", "message"=>"File does not exist"}"#,
            ),
        );
    }

    #[test]
    fn lines_of_systems() {
        check(
            "syslog-rfc5424",
            r#"<165>1 2024-05-06T07:08:09.5Z host app 12 ID47 [a@1 b="c"] said something"#,
            1_714_979_289,
            concat!(
                r#"{"pri"=>"165", "time"=>"2024-05-06T07:08:09.5Z", "host"=>"host", "ident"=>"app", "pid"=>"12", "#,
                r#""msgid"=>"ID47", "extradata"=>"[a@1 b="c"]", "message"=>"said something"}"#,
            ),
        );
        check(
            "syslog-rfc3164",
            "<34>May  6 07:08:09 host su[12]: failed",
            1_714_979_289,
            concat!(
                r#"{"pri"=>"34", "time"=>"May  6 07:08:09", "host"=>"host", "ident"=>"su", "pid"=>"12", "#,
                r#""message"=>"failed"}"#,
            ),
        );
        check(
            "cri",
            "2024-05-06T07:08:09.123456789+00:00 stderr F what it said",
            1_714_979_289,
            concat!(
                r#"{"time"=>"2024-05-06T07:08:09.123456789+00:00", "stream"=>"stderr", "logtag"=>"F", "#,
                r#""message"=>"what it said"}"#,
            ),
        );
        check(
            "docker",
            r#"{"log":"x\n","stream":"stdout","time":"2024-05-06T07:08:09.5Z"}"#,
            1_714_979_289,
            "{\"log\"=>\"x\n\", \"stream\"=>\"stdout\", \"time\"=>\"2024-05-06T07:08:09.5Z\"}",
        );
    }
}
