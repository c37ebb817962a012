//! The patterns of Fluent Bit's parsers file, facts of its format, and lines for them.

pub(super) const APACHE: &str = concat!(
    r#"^(?<host>[^ ]*) [^ ]* (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>[^\"]*?)(?:"#,
    r#" +\S*)?)?" (?<code>[^ ]*) (?<size>[^ ]*)(?: "(?<referer>[^\"]*)" "(?<agent>[^\"]*)")?$"#,
);
pub(super) const APACHE2: &str = concat!(
    r#"^(?<host>[^ ]*) [^ ]* (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>[^ ]*) +\S*"#,
    r#")?" (?<code>[^ ]*) (?<size>[^ ]*)(?: "(?<referer>[^\"]*)" "(?<agent>.*)")?$"#,
);
pub(super) const APACHE_ERROR: &str = concat!(
    r#"^\[[^ ]* (?<time>[^\]]*)\] \[(?<level>[^\]]*)\](?: \[pid (?<pid>[^\]]*)\])?( \[client (?<client>"#,
    r#"[^\]]*)\])? (?<message>.*)$"#,
);
pub(super) const NGINX: &str = concat!(
    r#"^(?<remote>[^ ]*) (?<host>[^ ]*) (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>"#,
    r#"[^\"]*?)(?: +\S*)?)?" (?<code>[^ ]*) (?<size>[^ ]*)(?: "(?<referer>[^\"]*)" "(?<agent>[^\"]*)")"#,
);
pub(super) const INGRESS: &str = concat!(
    r#"^(?<host>[^ ]*) - (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>[^\"]*?)(?: +\S"#,
    r#"*)?)?" (?<code>[^ ]*) (?<size>[^ ]*) "(?<referer>[^\"]*)" "(?<agent>[^\"]*)" (?<request_length>["#,
    r#"^ ]*) (?<request_time>[^ ]*) \[(?<proxy_upstream_name>[^ ]*)\] (\[(?<proxy_alternative_upstream_"#,
    r#"name>[^ ]*)\] )?(?<upstream_addr>[^ ]*) (?<upstream_response_length>[^ ]*) (?<upstream_response_"#,
    r#"time>[^ ]*) (?<upstream_status>[^ ]*) (?<reg_id>[^ ]*).*$"#,
);
pub(super) const RFC5424: &str = concat!(
    r#"^\<(?<pri>[0-9]{1,5})\>1 (?<time>[^ ]+) (?<host>[^ ]+) (?<ident>[^ ]+) (?<pid>[-0-9]+) (?<msgid>"#,
    r#"[^ ]+) (?<extradata>(\[(.*?)\]|-)) (?<message>.+)$"#,
);
pub(super) const RFC3164_LOCAL: &str = concat!(
    r#"^\<(?<pri>[0-9]+)\>(?<time>[^ ]* {1,2}[^ ]* [^ ]*) (?<ident>[a-zA-Z0-9_\/\.\-]*)(?:\[(?<pid>[0-9"#,
    r#"]+)\])?(?:[^\:]*\:)? *(?<message>.*)$"#,
);
pub(super) const RFC3164: &str = concat!(
    r#"/^\<(?<pri>[0-9]+)\>(?<time>[^ ]* {1,2}[^ ]* [^ ]*) (?<host>[^ ]*) (?<ident>[a-zA-Z0-9_\/\.\-]*)"#,
    r#"(?:\[(?<pid>[0-9]+)\])?(?:[^\:]*\:)? *(?<message>.*)$/"#,
);
pub(super) const CRI: &str = r#"^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>[^ ]*) (?<message>.*)$"#;
pub(super) const DOCKER_DAEMON: &str = r#"time="(?<time>[^ ]*)" level=(?<level>[^ ]*) msg="(?<msg>[^ ].*)""#;
pub(super) const MONGODB: &str = concat!(
    r#"^(?<time>[^ ]*)\s+(?<severity>\w)\s+(?<component>[^ ]+)\s+\[(?<context>[^\]]+)]\s+(?<message>.*?"#,
    r#") *(?<ms>(\d+))?(:?ms)?$"#,
);
pub(super) const ENVOY: &str = concat!(
    r#"^\[(?<start_time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>[^\"]*?)(?: +\S*)?)? (?<protocol>\S+)" (?"#,
    r#"<code>[^ ]*) (?<response_flags>[^ ]*) (?<bytes_received>[^ ]*) (?<bytes_sent>[^ ]*) (?<duration>"#,
    r#"[^ ]*) (?<x_envoy_upstream_service_time>[^ ]*) "(?<x_forwarded_for>[^ ]*)" "(?<user_agent>[^\"]*"#,
    r#")" "(?<request_id>[^\"]*)" "(?<authority>[^ ]*)" "(?<upstream_host>[^ ]*)""#,
);
pub(super) const ISTIO: &str = concat!(
    r#"^\[(?<start_time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>[^\"]*?)(?: +\S*)?)? (?<protocol>\S+)" (?"#,
    r#"<response_code>[^ ]*) (?<response_flags>[^ ]*) (?<response_code_details>[^ ]*) (?<connection_ter"#,
    r#"mination_details>[^ ]*) (?<upstream_transport_failure_reason>[^ ]*) (?<bytes_received>[^ ]*) (?<"#,
    r#"bytes_sent>[^ ]*) (?<duration>[^ ]*) (?<x_envoy_upstream_service_time>[^ ]*) "(?<x_forwarded_for"#,
    r#">[^ ]*)" "(?<user_agent>[^\"]*)" "(?<x_request_id>[^\"]*)" (?<authority>[^ ]*)" "(?<upstream_hos"#,
    r#"t>[^ ]*)" (?<upstream_cluster>[^ ]*) (?<upstream_local_address>[^ ]*) (?<downstream_local_addres"#,
    r#"s>[^ ]*) (?<downstream_remote_address>[^ ]*) (?<requested_server_name>[^ ]*) (?<route_name>[^  ]"#,
    r#"*)"#,
);
pub(super) const KUBE_CUSTOM: &str = concat!(
    r#"(?<tag>[^.]+)?\.?(?<pod_name>[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"#,
    r#")_(?<namespace_name>[^_]+)_(?<container_name>.+)-(?<docker_id>[a-z0-9]{64})\.log$"#,
);
pub(super) const ACCESS: &str = concat!(
    r#"192.168.2.20 - frank [28/Jul/2026:10:27:10 -0300] "GET /cgi-bin/try/?q=a+b HTTP/1.0" 200 3395 "h"#,
    r#"ttp://example.com/start.html" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like G"#,
    r#"ecko) Chrome/126.0""#,
);
pub(super) const ACCESS_SHORT: &str = r#"10.0.0.7 - - [28/Jul/2026:10:27:10 -0300] "-" 408 0"#;
pub(super) const ACCESS_ODD: &str = r#"h - u [t] "GET /a"b" c" 200 1 "r" "agent \"x\" y""#;
pub(super) const ERROR_LINE: &str = concat!(
    r#"[Fri Mar 31 13:45:30.123456 2026] [core:error] [pid 12:tid 34] [client 10.1.2.3:5555] AH00126: I"#,
    r#"nvalid URI in request GET / HTTP/1.1"#,
);
pub(super) const INGRESS_LINE: &str = concat!(
    r#"10.1.2.3 - - [28/Jul/2026:10:27:10 +0000] "POST /api/v1/orders HTTP/2.0" 201 512 "-" "curl/8.5.0"#,
    r#"" 713 0.012 [shop-api-80] [] 10.4.0.9:8080 512 0.012 201 4bf92f3577b34da6"#,
);
pub(super) const RFC5424_LINE: &str = concat!(
    r#"<165>1 2026-10-11T22:14:15.003Z web1.example.com app 1234 ID47 [exampleSDID@32473 iut="3" eventS"#,
    r#"ource="Application"] An application event"#,
);
pub(super) const RFC5424_DASH: &str =
    r#"<34>1 2026-10-11T22:14:15.003Z web1 su 77 - - su root failed [x] for lonvick"#;
pub(super) const RFC3164_LINE: &str =
    r#"<34>Oct 11 22:14:15 mymachine su[230]: 'su root' failed for lonvick on /dev/pts/8"#;
pub(super) const RFC3164_LOCAL_LINE: &str =
    r#"<30>Oct  1 22:14:15 systemd[1]: Started Session 12 of user root."#;
pub(super) const CRI_LINE: &str = concat!(
    r#"2026-01-02T03:04:05.678901234Z stdout F INFO com.example.shop.OrderService order 81723 accepted "#,
    r#"in 12.4 ms"#,
);
pub(super) const DAEMON_LINE: &str = concat!(
    r#"Jul 28 host dockerd: time="2026-07-28T10:27:10Z" level=info msg="loading plugin "io.containerd" "#,
    r#"done""#,
);
pub(super) const MONGO_LINE: &str = concat!(
    r#"2026-07-28T10:27:10.123+0000 I COMMAND  [conn12] command test.$cmd command: ping { ping: 1 } key"#,
    r#"Updates:0 protocol:op_query 102ms"#,
);
pub(super) const ENVOY_LINE: &str = concat!(
    r#"[2026-07-28T10:27:10.123Z] "GET /productpage?u=1 HTTP/1.1" 200 - 0 1024 35 34 "-" "curl/8.5.0" ""#,
    r#"7c8b9d" "shop.example.com" "10.0.1.5:9080""#,
);
pub(super) const ISTIO_LINE: &str = concat!(
    r#"[2026-07-28T10:27:10.123Z] "GET /status/418 HTTP/1.1" 418 - via_upstream - "-" 0 135 3 1 "-" "cu"#,
    r#"rl/8.5.0" "84961386-6d84" httpbin:8000" "10.44.1.27:80" outbound|8000||httpbin 10.44.1.23:37652 "#,
    r#"10.0.45.184:8000 10.44.1.23:46520 - default"#,
);
pub(super) const KUBE_TAG: &str = concat!(
    r#"kube.var.log.containers.web-7d4b9c6f5-x2x9z_shop_app-0123456789abcdef0123456789abcdef0123456789a"#,
    r#"bcdef0123456789abcdef.log"#,
);
