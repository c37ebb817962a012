//! `http` against a fake server.

use firelane_core::{CauseKind, Chunk, Order, Outcome};
use firelane_net::{Encoding, compress};
use firelane_record::set::RecordSet;
use firelane_record::{MapWriter, RecordsBuf, Timestamp};

use crate::peers::{self, Act, OK};
use crate::{build, chunk, deliver, part, refusal, retried, tag, try_build};

fn at<'a>(port: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![("host", "127.0.0.1"), ("port", port)];
    all.extend_from_slice(more);
    all
}

#[track_caller]
fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).unwrap()
}

#[tokio::test]
async fn the_default_is_a_json_array() {
    let server = peers::http(vec![OK]).await;
    let port = server.address.port().to_string();
    let output = build("http", &at(&port, &[]));
    assert_eq!(
        deliver(&output, chunk("app", &["é", "b"])).await,
        Outcome::Delivered
    );
    let seen = &server.seen()[0];
    let want = r#"[{"date":1700000000.0,"n":0,"log":"\u00e9"},{"date":1700000000.0,"n":1,"log":"b"}]"#;
    assert_eq!(text(&seen.body), want);
    assert!(seen.head.starts_with("POST / HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!(seen.header("content-type"), ["application/json"]);
    assert_eq!(seen.header("user-agent"), ["Fluent-Bit"]);
    assert_eq!(seen.header("host"), [format!("127.0.0.1:{port}")]);
    assert_eq!(seen.header("content-length"), [want.len().to_string()]);
}

#[tokio::test]
async fn every_format_has_its_body_and_type() {
    for (format, content_type, want) in [
        (
            "json",
            "application/json",
            "[{\"n\":0,\"log\":\"a\"},{\"n\":0,\"log\":\"b\"}]",
        ),
        (
            "json_lines",
            "application/x-ndjson",
            "{\"n\":0,\"log\":\"a\"}\n{\"n\":0,\"log\":\"b\"}\n",
        ),
        (
            "json_stream",
            "application/json",
            "{\"n\":0,\"log\":\"a\"}{\"n\":0,\"log\":\"b\"}",
        ),
    ] {
        let server = peers::http(vec![OK]).await;
        let port = server.address.port().to_string();
        let output = build(
            "http",
            &at(&port, &[("format", format), ("json_date_key", "false")]),
        );
        // Without a header for the tag, tags share a request.
        let both = Chunk::new(vec![part("one", &["a"]), part("two", &["b"])]);
        assert_eq!(deliver(&output, both).await, Outcome::Delivered);
        let seen = &server.seen()[0];
        assert_eq!(text(&seen.body), want, "{format}");
        assert_eq!(seen.header("content-type"), [content_type], "{format}");
    }
}

#[tokio::test]
async fn headers_stand_as_configured() {
    let server = peers::http(vec![OK]).await;
    let port = server.address.port().to_string();
    let properties = [
        ("uri", "ingest?x=1"),
        ("http_method", "put"),
        ("format", "json_lines"),
        ("json_date_key", "ts"),
        ("json_date_format", "iso8601"),
        ("http_user", "u"),
        ("http_passwd", "p:w"),
        ("header", "X-Team blue green"),
        ("header", "X-Two 2"),
        ("header", "X-Two 3"),
        ("header_tag", "X-Tag"),
    ];
    let output = build("http", &at(&port, &properties));
    assert_eq!(deliver(&output, chunk("a\nb", &["x"])).await, Outcome::Delivered);
    let seen = &server.seen()[0];
    assert!(
        seen.head.starts_with("PUT /ingest?x=1 HTTP/1.1\r\n"),
        "{}",
        seen.head
    );
    assert_eq!(seen.header("authorization"), ["Basic dTpwOnc="]);
    assert_eq!(seen.header("x-team"), ["blue green"]);
    assert_eq!(seen.header("x-two"), ["2", "3"]);
    assert_eq!(seen.header("x-tag"), ["a_b"], "no tag can add a header");
    assert_eq!(
        text(&seen.body),
        "{\"ts\":\"2023-11-14T22:13:20.000000Z\",\"n\":0,\"log\":\"x\"}\n"
    );
}

#[tokio::test]
async fn without_duplicates_the_later_header_wins() {
    let server = peers::http(vec![OK]).await;
    let port = server.address.port().to_string();
    let properties = [
        ("allow_duplicated_headers", "off"),
        ("header", "content-type text/x"),
    ];
    let output = build("http", &at(&port, &properties));
    assert_eq!(deliver(&output, chunk("a", &["x"])).await, Outcome::Delivered);
    assert_eq!(server.seen()[0].header("content-type"), ["text/x"]);
}

#[tokio::test]
async fn bodies_are_compressed_and_connections_kept() {
    for (name, encoding) in [("gzip", Encoding::Gzip), ("zstd", Encoding::Zstd)] {
        let server = peers::http(vec![OK]).await;
        let port = server.address.port().to_string();
        let output = build(
            "http",
            &at(&port, &[("compress", name), ("format", "json_lines")]),
        );
        for round in 0..3 {
            let lines: Vec<String> = (0..2000).map(|n| format!("line {n} of round {round}")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            assert_eq!(
                deliver(&output, chunk("t", &lines[..250])).await,
                Outcome::Delivered
            );
        }
        for (round, seen) in server.seen().iter().enumerate() {
            assert_eq!(seen.header("content-encoding"), [name]);
            let body = compress::decompress(encoding, &seen.body, 1 << 20).unwrap();
            let lines: Vec<&str> = text(&body).lines().collect();
            assert_eq!(lines.len(), 250);
            assert!(
                lines[249].ends_with(&format!("\"log\":\"line 249 of round {round}\"}}")),
                "{}",
                lines[249]
            );
        }
        assert_eq!((server.seen().len(), server.connections()), (3, 1));
    }
}

#[tokio::test]
async fn msgpack_is_as_fluent_bit_stores_it() {
    let server = peers::http(vec![OK]).await;
    let port = server.address.port().to_string();
    let output = build("http", &at(&port, &[("format", "msgpack")]));
    assert_eq!(deliver(&output, chunk("t", &["a"])).await, Outcome::Delivered);
    let mut want = vec![0x92, 0x92, 0xd7, 0x00];
    want.extend_from_slice(&1_700_000_000u32.to_be_bytes());
    want.extend_from_slice(&1u32.to_be_bytes());
    want.extend_from_slice(b"\x80\x82\xa1n\x00\xa3log\xa1a");
    assert_eq!(server.seen()[0].body, want);
    assert_eq!(server.seen()[0].header("content-type"), ["application/msgpack"]);
}

#[tokio::test]
async fn a_body_key_makes_a_request_of_each_record() {
    let server = peers::http(vec![OK]).await;
    let port = server.address.port().to_string();
    let output = build(
        "http",
        &at(&port, &[("body_key", "$body"), ("headers_key", "$headers")]),
    );
    let mut buf = RecordsBuf::default();
    let mut headers = MapWriter::new();
    headers.str(b"content-type", b"text/plain");
    let mut raw = Vec::new();
    headers.write(&mut raw);
    for body in [Some("one"), None, Some("two")] {
        let mut map = MapWriter::new();
        map.raw(b"headers", &raw);
        if let Some(body) = body {
            map.str(b"body", body.as_bytes());
        }
        buf.push_with(Timestamp::default(), None, |out| map.write(out));
    }
    let records = buf.take();
    let tag = tag("t");
    let outcome = deliver(&output, Chunk::new(vec![firelane_core::Part { tag, records }])).await;
    let Outcome::Discard { records, why } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(records, RecordSet::range(1, 2));
    assert_eq!(why.text, "1 records have nothing that could be sent");
    let bodies: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| text(&seen.body).to_owned())
        .collect();
    assert_eq!(bodies, ["one", "two"]);
    assert_eq!(server.seen()[0].header("content-type"), ["text/plain"]);
}

#[tokio::test]
async fn refusals_and_retries_follow_the_status() {
    let unavailable = Act::Answer("HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy");
    let server = peers::http(vec![
        unavailable,
        Act::Answer("HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n"),
        OK,
    ])
    .await;
    let port = server.address.port().to_string();
    let output = build("http", &at(&port, &[]));
    let Outcome::Retry { after, why, .. } = deliver(&output, chunk("t", &["a"])).await else {
        panic!("503 is tried again");
    };
    assert_eq!(after.map(|after| after.as_secs()), Some(7));
    assert_eq!(why.text, format!("127.0.0.1:{port} answered 503: busy"));
    assert!(!why.ambiguous);
    let outcome = deliver(&output, chunk("t", &["a"])).await;
    assert!(
        matches!(&outcome, Outcome::Discard { records, .. } if records.is_all(1)),
        "{outcome:?}"
    );
    assert_eq!(deliver(&output, chunk("t", &["a"])).await, Outcome::Delivered);
}

#[tokio::test]
async fn nobody_there_is_tried_again() {
    let port = peers::closed_port().await.port().to_string();
    let output = build("http", &at(&port, &[]));
    let why = retried(&deliver(&output, chunk("t", &["a"])).await);
    assert_eq!((why.kind, why.ambiguous), (CauseKind::Connect, false));
}

#[tokio::test]
async fn a_lost_answer_is_ambiguous_and_a_lost_request_is_not() {
    let server = peers::http(vec![Act::CloseAfterBody]).await;
    let port = server.address.port().to_string();
    let why = retried(&deliver(&build("http", &at(&port, &[])), chunk("t", &["a"])).await);
    assert!(why.ambiguous, "{why:?}");
    // 8 MB do not fit into the socket: the server closes before the request is out.
    let server = peers::http(vec![Act::CloseAfterHead]).await;
    let port = server.address.port().to_string();
    let long = "x".repeat(8 << 20);
    let why = retried(&deliver(&build("http", &at(&port, &[])), chunk("t", &[&long])).await);
    assert!(!why.ambiguous, "{why:?}");
}

#[tokio::test]
async fn a_silent_server_ends_at_the_deadline() {
    let server = peers::http(vec![Act::Hang]).await;
    let port = server.address.port().to_string();
    let output = build("http", &at(&port, &[("http.response_timeout", "1s")]));
    let why = retried(&deliver(&output, chunk("t", &["a"])).await);
    assert_eq!((why.kind, why.ambiguous), (CauseKind::Timeout, true));
}

#[test]
fn bad_values_are_refused_by_name() {
    for (properties, want) in [
        (
            &[("format", "xml")][..],
            "`format xml`: use json, json_lines, json_stream or msgpack",
        ),
        (
            &[("format", "gelf")],
            "`format gelf`: this format is not supported yet",
        ),
        (
            &[("http_method", "GET")],
            "`http_method GET`: only POST and PUT carry a body",
        ),
        (
            &[("compress", "lzma")],
            "`compress lzma`: use gzip, snappy or zstd",
        ),
        (
            &[("compress", "gzip"), ("compress_level", "40")],
            "`compress_level 40`: gzip has no level 40; use 1 to 12",
        ),
        (
            &[("aws_auth", "on")],
            "`aws_service`: is needed with `aws_auth on`",
        ),
        (
            &[("oauth2.enable", "on")],
            "`oauth2.enable on`: OAuth 2 is not supported yet; pass a token by `header`",
        ),
        (&[("body_key", "$b")], "`body_key $b`: needs `headers_key` too"),
        (
            &[("header", "a:b c")],
            "`header a:b c`: `a:b` cannot be the name of a header",
        ),
        (
            &[("tls.proxy.verify", "off")],
            "`tls.proxy.verify off`: a proxy is reached without TLS, only `http://` proxies are supported",
        ),
    ] {
        assert_eq!(refusal("http", properties), want);
    }
}

#[test]
fn what_has_no_effect_is_named() {
    let properties = [
        ("oauth2.client_secret", "hush"),
        ("http.read_idle_timeout", "3s"),
        ("compress_level", "3"),
    ];
    let (output, warnings) = try_build("http", &properties, None).unwrap();
    let texts: Vec<_> = warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(
        texts,
        [
            "`oauth2.client_secret`: has no effect: `oauth2.enable` is off",
            "`http.read_idle_timeout 3s`: has no effect: `http.response_timeout` covers the whole answer",
            "`compress_level 3`: has no effect without `compress`",
        ]
    );
    assert_eq!(output.limits().order, Order::Any);
}

#[tokio::test]
async fn snappy_is_one_raw_block() {
    let server = peers::http(vec![OK]).await;
    let port = server.address.port().to_string();
    let output = build(
        "http",
        &at(&port, &[("compress", "snappy"), ("format", "json_lines")]),
    );
    let text = "again and ".repeat(50);
    assert_eq!(deliver(&output, chunk("t", &[&text])).await, Outcome::Delivered);
    let seen = &server.seen()[0];
    assert_eq!(seen.header("content-encoding"), ["snappy"]);
    let body = snap::raw::Decoder::new().decompress_vec(&seen.body).unwrap();
    let want = format!("{{\"date\":1700000000.0,\"n\":0,\"log\":\"{text}\"}}\n");
    assert_eq!(String::from_utf8(body).unwrap(), want);
    assert!(seen.body.len() < want.len() / 4);
}
