//! S3 as SDKs other than boto3 use it: chunks, trailers, hosts, 100-continue.

use std::time::Duration;

use firelane_cloud::{Credentials, Missing, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{PATIENCE, call, s3, signed};
use crate::start;

const STREAMED: &str = "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\ncontent-encoding: gzip,aws-chunked\r\n\
    x-amz-trailer: x-amz-checksum-crc32\r\n";

async fn creating() -> firelane_cloud::Endpoint {
    start(Options {
        missing: Missing::Create,
        ..Options::default()
    })
    .await
}

/// Guarantees: the chunks' frames are no part of the object, its trailing checksum is checked, and what it is
/// encoded with stays.
#[tokio::test]
async fn chunks_with_a_trailer() {
    let endpoint = creating().await;
    let address = endpoint.address();
    // CRC-32 of "123456789" is cbf43926.
    let body = b"4\r\n1234\r\n5\r\n56789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n";
    let headers = format!("{STREAMED}x-amz-decoded-content-length: 9\r\n");
    let put = s3(address, "PUT", "/bucket/key", &headers, body).await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert!(
        put.head.contains("x-amz-checksum-crc32: y/q5jg=="),
        "{}",
        put.head
    );
    let got = s3(
        address,
        "GET",
        "/bucket/key",
        "x-amz-checksum-mode: ENABLED\r\n",
        b"",
    )
    .await;
    assert_eq!(got.body, b"123456789");
    assert!(got.head.contains("content-encoding: gzip\r\n"), "{}", got.head);
    assert!(
        got.head.contains("x-amz-checksum-crc32: y/q5jg=="),
        "{}",
        got.head
    );
    let wrong = body.map(|byte| if byte == b'7' { b'8' } else { byte });
    for (path, headers, body, code) in [
        ("/bucket/wrong", headers.clone(), &wrong[..], "BadDigest"),
        ("/bucket/short", headers.clone(), &body[..12], "IncompleteBody"),
        (
            "/bucket/long",
            format!("{STREAMED}x-amz-decoded-content-length: 8\r\n"),
            body,
            "IncompleteBody",
        ),
        ("/bucket/none", STREAMED.to_owned(), body, "MissingContentLength"),
        (
            "/bucket/end",
            headers,
            b"9\r\n123456789\r\n0\r\n\r\n",
            "MalformedTrailerError",
        ),
    ] {
        let refused = s3(address, "PUT", path, &headers, body).await;
        assert_eq!(refused.code(), code, "{path}");
        let gone = s3(address, "GET", path, "", b"").await;
        assert_eq!(gone.code(), "NoSuchKey", "{path}");
    }
    let files = std::fs::read_dir(endpoint.cloud().folder().join("objects")).unwrap();
    assert_eq!(files.count(), 1, "refused bodies leave no files");
}

/// Guarantees: virtual hosts name the bucket; a body waits for 100-continue.
#[tokio::test]
async fn hosts_and_continue() {
    let endpoint = creating().await;
    let address = endpoint.address();
    let put = s3(
        address,
        "PUT",
        "/a/b",
        "host: logs.s3.us-east-1.amazonaws.com\r\n",
        b"x",
    )
    .await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(
        endpoint.cloud().object("logs", "a/b").await.unwrap().unwrap(),
        b"x"
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "PUT /logs/c HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{}expect: 100-continue\r\ncontent-length: 4\r\n\r\n",
        signed("s3")
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = vec![0; 25];
    let read = stream.read_exact(&mut seen);
    tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
    assert_eq!(seen, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").await.unwrap();
    let mut rest = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(rest.starts_with("HTTP/1.1 200"), "{rest}");
    assert_eq!(
        endpoint.cloud().object("logs", "c").await.unwrap().unwrap(),
        b"body"
    );
}

/// Scenario: the client goes away in the middle of a body. Guarantees: no object, no file.
#[tokio::test]
async fn a_cut_body_leaves_nothing() {
    let endpoint = creating().await;
    let mut stream = TcpStream::connect(endpoint.address()).await.unwrap();
    let head = format!(
        "PUT /bucket/cut HTTP/1.1\r\nhost: x\r\n{}content-length: 3000000\r\n\r\n",
        signed("s3")
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; 2_000_000]).await.unwrap();
    let folder = endpoint.cloud().folder().join("objects");
    let files = || std::fs::read_dir(&folder).unwrap().count();
    while files() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    let gone = async {
        while files() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    assert!(endpoint.cloud().object_keys("bucket").is_empty());
}

/// The example of AWS's documentation of chunked uploads with Signature Version 4, whose time is long past.
/// Guarantees: the time is looked at; with known credentials nothing is taken for its form.
#[tokio::test]
async fn old_signatures_are_refused() {
    let credentials = Credentials {
        access_key: "AKIAIOSFODNN7EXAMPLE".into(),
        secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
        token: None,
        expires_ms: None,
    };
    let endpoint = start(Options {
        credentials: Some(credentials),
        ..Options::default()
    })
    .await;
    let address = endpoint.address();
    let head = "host: s3.amazonaws.com\r\nx-amz-date: 20130524T000000Z\r\nx-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\r\n\
        authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class,Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9\r\n";
    let answer = crate::client::raw(address, &crate::client::request("PUT", "/b/k", head, b""))
        .await
        .unwrap();
    assert_eq!(answer.code(), "RequestTimeTooSkewed");
    let answer = call(address, "Logs_20140328.DescribeLogGroups", &serde_json::json!({}))
        .await
        .unwrap();
    assert_eq!(answer.code(), "UnrecognizedClientException");
}
