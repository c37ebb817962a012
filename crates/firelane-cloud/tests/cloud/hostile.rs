//! Requests that are wrong, or meant to be.

use firelane_cloud::Options;
use serde_json::json;

use crate::client::{call, raw, request, s3, signed};
use crate::start;

/// Guarantees: whatever comes, the endpoint answers with an error of its service, and goes on.
#[tokio::test]
async fn wrong_requests_are_answered() {
    let endpoint = start(Options::default()).await;
    let address = endpoint.address();
    let target = |name: &str| {
        format!(
            "{}x-amz-target: {name}\r\ncontent-type: application/x-amz-json-1.1\r\n",
            signed("logs")
        )
    };
    let put = target("Logs_20140328.PutLogEvents");
    let deep = format!("{{\"x\":{}}}", "[".repeat(100_000));
    for (headers, body, code) in [
        (put.clone(), "{", "SerializationException"),
        (put.clone(), "[]", "SerializationException"),
        (put.clone(), "{\"logEvents\":7}", "SerializationException"),
        (
            put.clone(),
            "{\"logEvents\":[{\"message\":\"x\"}]}",
            "InvalidParameterException",
        ),
        (put.clone(), "{\"logGroupName\":null}", "SerializationException"),
        (put, &deep, "SerializationException"),
        (target("Logs_20140328.Nothing"), "{}", "UnknownOperationException"),
        (target("Other_1.Put"), "{}", "UnknownOperationException"),
        (target("x"), "{}", "UnknownOperationException"),
        (signed("logs"), "{}", "UnknownOperationException"),
        (signed("dynamodb"), "{}", "UnknownOperationException"),
        (
            "x-amz-target: Logs_20140328.DescribeLogGroups\r\n".into(),
            "{}",
            "MissingAuthenticationTokenException",
        ),
        (
            "authorization: Basic x\r\nx-amz-target: Logs_20140328.DescribeLogGroups\r\n".into(),
            "{}",
            "IncompleteSignatureException",
        ),
        (
            "content-type: application/x-www-form-urlencoded\r\n".into(),
            "Action=AssumeRole",
            "MissingAuthenticationToken",
        ),
        (
            format!(
                "{}content-type: application/x-www-form-urlencoded\r\n",
                signed("sts")
            ),
            "Action=No",
            "InvalidAction",
        ),
    ] {
        let answer = raw(address, &request("POST", "/", &headers, body.as_bytes()))
            .await
            .unwrap();
        assert_eq!(answer.code(), code, "{headers} {}", answer.text());
        assert!((400..500).contains(&answer.status), "{}", answer.status);
    }
    let known = call(address, "Logs_20140328.Nothing", &json!({})).await.unwrap();
    assert!(
        known.text().contains("it has CreateLogGroup, CreateLogStream"),
        "{}",
        known.text()
    );
}

/// Guarantees: a body over the limit is refused before it is read, and JSON that is not UTF-8 as well.
#[tokio::test]
async fn bodies_have_limits() {
    let endpoint = start(Options::default()).await;
    let headers = format!("{}x-amz-target: Logs_20140328.PutLogEvents\r\n", signed("logs"));
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: 99999999\r\n\r\n"
    );
    let answer = raw(endpoint.address(), head.as_bytes()).await.unwrap();
    assert_eq!(
        (answer.status, &*answer.code()),
        (413, "RequestEntityTooLargeException")
    );
    let answer = raw(
        endpoint.address(),
        &request("POST", "/", &headers, b"{\"a\":\"\xff\"}"),
    )
    .await
    .unwrap();
    assert_eq!(answer.code(), "SerializationException");
}

/// Guarantees: S3's paths stay inside of the folder, and what is not here is named.
#[tokio::test]
async fn paths_are_names_only() {
    let endpoint = start(Options::default()).await;
    let address = endpoint.address();
    s3(address, "PUT", "/bucket", "", b"").await;
    for key in ["..%2f..%2fetc%2fpasswd", "a%00b", "%2e%2e/x", "con%C3%A9"] {
        let path = format!("/bucket/{key}");
        assert_eq!(
            s3(address, "PUT", &path, "", b"inside").await.status,
            200,
            "{key}"
        );
        assert_eq!(s3(address, "GET", &path, "", b"").await.body, b"inside", "{key}");
    }
    assert_eq!(endpoint.cloud().object_keys("bucket").len(), 4);
    for path in ["/bucket?acl", "/bucket/k?tagging", "/bucket?versioning"] {
        let answer = s3(address, "GET", path, "", b"").await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (501, "NotImplemented"),
            "{path}"
        );
    }
    let copy = s3(
        address,
        "PUT",
        "/bucket/to",
        "x-amz-copy-source: /bucket/from\r\n",
        b"",
    )
    .await;
    assert_eq!(copy.code(), "NotImplemented");
    assert_eq!(
        s3(address, "GET", "/bucket/%ff", "", b"").await.code(),
        "InvalidURI"
    );
}

/// Guarantees: a page in a browser can neither read through a name of its own nor change faults.
#[tokio::test]
async fn foreign_pages_are_kept_out() {
    let endpoint = start(Options::default()).await;
    let address = endpoint.address();
    let ask = |host: &str, method: &str, kind: &str, body: &str| {
        let headers = format!("host: {host}\r\ncontent-type: {kind}\r\n");
        let path = if method == "GET" {
            "/_firelane/list"
        } else {
            "/_firelane/faults"
        };
        let bytes = request(method, path, &headers, body.as_bytes());
        async move { raw(address, &bytes).await.unwrap().status }
    };
    let json = "application/json";
    assert_eq!(ask("127.0.0.1:4566", "GET", json, "").await, 200);
    assert_eq!(ask("localhost:4566", "GET", json, "").await, 200);
    assert_eq!(ask("evil.example:4566", "GET", json, "").await, 403);
    let faults = r#"{"faults":[{"service":"s3","fault":"throttle","percent":100}]}"#;
    assert_eq!(ask("127.0.0.1", "PUT", "text/plain", faults).await, 415);
    assert_eq!(
        ask(
            "127.0.0.1",
            "PUT",
            json,
            r#"{"faults":[{"fault":"none","percent":1}]}"#
        )
        .await,
        400
    );
    assert_eq!(ask("127.0.0.1", "PUT", json, faults).await, 200);
    let refused = s3(address, "GET", "/", "", b"").await;
    assert_eq!((refused.status, &*refused.code()), (503, "SlowDown"));
}
