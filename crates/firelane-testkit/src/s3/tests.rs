use super::*;
use crate::http;

fn ask(s3: &S3, method: &str, target: &str, body: &[u8]) -> (u16, String) {
    let reply = http::request(s3.port(), method, target, "text/plain", body).unwrap();
    (reply.status, reply.text().to_string())
}

fn begin(s3: &S3) -> &'static str {
    let (status, text) = ask(s3, "POST", "/b/k?uploads=", b"");
    assert!(status == 200 && text.contains("<UploadId>upload/1+x<"), "{text}");
    "uploadId=upload%2F1%2Bx"
}

fn completion(parts: &[(u32, &str)]) -> String {
    let parts = parts
        .iter()
        .map(|(number, etag)| format!("<Part><ETag>{etag}</ETag><PartNumber>{number}</PartNumber></Part>"));
    format!(
        "<CompleteMultipartUpload>{}</CompleteMultipartUpload>",
        parts.collect::<String>()
    )
}

fn etag(body: &[u8]) -> String {
    S3::start().state().piece(body.to_vec()).etag
}

#[test]
fn objects_are_put_and_replaced() {
    let s3 = S3::start();
    for text in ["{\"seq\":\"a\"}", "{\"seq\":\"b\"}"] {
        assert_eq!(ask(&s3, "PUT", "/b/a%20b/c", text.as_bytes()).0, 200);
    }
    s3.assert_once(["b".to_owned()]);
    assert_eq!(s3.replaced(), ["b/a b/c"]);
    assert_eq!(s3.objects()["b/a b/c"].parts, 0);
}

#[test]
fn uploads_keep_the_rules() {
    let s3 = S3::start();
    let id = begin(&s3);
    let (large, small) = (vec![b'x'; PART_MIN], b"small".to_vec());
    for (number, body) in [(1, &large), (2, &small), (3, &small)] {
        let target = format!("/b/k?partNumber={number}&{id}");
        assert_eq!(ask(&s3, "PUT", &target, body).0, 200);
    }
    let (one, two) = (etag(&large), etag(&small));
    let complete = |parts: &[(u32, &str)]| {
        let (status, text) = ask(&s3, "POST", &format!("/b/k?{id}"), completion(parts).as_bytes());
        let code = text.split_once("<Code>").map_or("", |(_, rest)| rest);
        (status, code.split('<').next().unwrap_or_default().to_owned())
    };
    assert_eq!(complete(&[(1, &two)]).1, "InvalidPart");
    assert_eq!(complete(&[(2, &two), (1, &one)]).1, "InvalidPartOrder");
    assert_eq!(complete(&[(2, &two), (3, &two)]).1, "EntityTooSmall");
    assert_eq!(complete(&[(1, &one), (1, &one)]).1, "InvalidPartOrder");
    assert_eq!(complete(&[(1, &one), (2, &two), (3, &two)]).1, "EntityTooSmall");
    assert_eq!(s3.unfinished(), [("b/k".to_owned(), 3)]);
    assert_eq!(complete(&[(1, &one), (3, &two)]).0, 200);
    assert_eq!(complete(&[(1, &one), (3, &two)]).1, "NoSuchUpload");
    let object = &s3.objects()["b/k"];
    assert_eq!((object.parts, object.length), (2, PART_MIN + 5));
    assert_eq!(ask(&s3, "DELETE", &format!("/b/k?{id}"), b"").0, 404);
}

#[test]
fn a_script_is_followed() {
    let s3 = S3::start();
    s3.script(|call, before| match (&call.op, before) {
        (Op::Put, 0) => Fault::Refuse(503, "SlowDown"),
        (Op::Put, 1) => Fault::Lost,
        _ => Fault::None,
    });
    assert_eq!(ask(&s3, "PUT", "/b/k", b"x").0, 503);
    assert!(s3.objects().is_empty());
    assert!(http::request(s3.port(), "PUT", "/b/k", "text/plain", b"x").is_err());
    assert_eq!(s3.objects().len(), 1);
    assert_eq!((s3.count(&Op::Put), s3.calls()[0].status), (2, Some(503)));
}
