//! Secrets are in no error, warning, failure or debug text.

use firelane_core::Outcome;

use crate::{build, chunk, deliver, try_build};

/// The secret in every value below.
const SECRET: &str = "hunter2";

type Properties<'a> = &'a [(&'a str, &'a str)];

/// What a configuration is told, good or bad.
fn told(name: &str, properties: Properties<'_>) -> String {
    match try_build(name, properties, None) {
        Ok((_, warnings)) => format!("{warnings:?}"),
        Err(errors) => format!("{errors:?}"),
    }
}

#[test]
fn warnings_and_errors_do_not_show_them() {
    let cases: &[(&str, Properties<'_>, &str)] = &[
        ("http", &[("http_passwd", "hunter2")], "`http_passwd`"),
        (
            "http",
            &[("header", "Authorization Bearer hunter2\u{7f}")],
            "`header Authorization ***`",
        ),
        (
            "http",
            &[("header", "X-Api-Key hunter2\u{7f}")],
            "`header X-Api-Key ***`",
        ),
        ("http", &[("proxy", "https://bob:hunter2@proxy:1")], "`proxy http"),
        (
            "http",
            &[("proxy", "http://bob:hunter2@proxy:port")],
            "proxy:port",
        ),
        (
            "http",
            &[("oauth2.client_secret", "hunter2")],
            "oauth2.client_secret",
        ),
        ("http", &[("tls.key_passwd", "hunter2")], "`tls.key_passwd`"),
        (
            "http",
            &[("tls", "on"), ("tls.key_passwd", "hunter2")],
            "`tls.key_passwd`",
        ),
        ("forward", &[("password", "hunter2")], "`password`"),
        (
            "forward",
            &[("shared_key", "hunter2"), ("shared_key", "hunter2")],
            "set 2 times",
        ),
        ("tcp", &[("tls.key_passwd", "hunter2")], "`tls.key_passwd`"),
    ];
    for (name, properties, want) in cases {
        let told = told(name, properties);
        assert!(told.contains(want), "{name} {properties:?}: {told}");
        assert!(!told.contains(SECRET), "{name} {properties:?}: {told}");
    }
}

#[tokio::test]
async fn failures_do_not_show_them() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    drop(socket);
    let at = [("host", "127.0.0.1"), ("port", port.as_str())];
    let http = [
        ("http_user", "bob"),
        ("http_passwd", SECRET),
        ("header", "X-Token hunter2"),
        ("uri", "/in?api_key=hunter2"),
    ];
    let proxy = format!("http://bob:hunter2@127.0.0.1:{port}");
    let proxied = [("proxy", proxy.as_str()), ("tls", "on"), ("tls.verify", "off")];
    let forward = [("shared_key", SECRET), ("username", "bob"), ("password", SECRET)];
    let cases: [(&str, Properties<'_>); 3] = [("http", &http), ("http", &proxied), ("forward", &forward)];
    for (name, more) in cases {
        let output = build(name, &[&at, more].concat());
        let Outcome::Retry { why, .. } = deliver(&output, chunk("t", &["x"])).await else {
            panic!("{name} did not fail");
        };
        assert!(why.text.contains(&port), "{}", why.text);
        assert!(!format!("{why:?}").contains(SECRET), "{}", why.text);
    }
}
