//! The calls of S3 that are needed, path style: `/bucket/key`. Each says what a failure means.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use firelane_core::{Cause, CauseKind, HttpResponse, Judgement};
use firelane_net::aws::{AwsClient, Class, Failure};
use firelane_net::{HeaderName, HeaderValue, Method, Request, Response};

use super::encode::Body;
use super::journal::Part;
use super::key::encoded;
use crate::aws::judgement;
use crate::driver::aws_cause;

/// A bucket, and how objects are made in it.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) client: AwsClient,
    pub(crate) name: String,
    /// The output, for messages.
    pub(crate) instance: String,
    /// Headers of whole objects and of begun uploads: type, encoding, ACL, storage class, encryption.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why a call did not do what it should.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failed {
    pub(super) what: What,
    pub(super) why: Cause,
}

/// What a failure means.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// Again; not before so long where S3 said so.
    Again(Option<Duration>),
    /// Never.
    Never,
    /// The upload is not there: complete, aborted, or thrown away by a rule of the bucket.
    NoUpload,
    /// The role may not ask that.
    Denied,
}

/// Codes of status 400 that say nothing about the request.
const AGAIN: [&str; 5] = [
    "RequestTimeout",
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "IncompleteBody",
    "OperationAborted",
];

impl Bucket {
    /// Puts a whole object.
    pub(super) async fn put(&self, key: &str, body: &Body) -> Result<(), Failed> {
        let mut headers = self.headers.clone();
        headers.extend(md5_header(body));
        self.call(Method::PUT, key, "", headers, body.bytes.clone())
            .await?;
        Ok(())
    }

    /// Begins an upload in parts; gives its id.
    pub(super) async fn begin(&self, key: &str) -> Result<String, Failed> {
        let headers = self.headers.clone();
        let answer = self
            .call(Method::POST, key, "?uploads=", headers, Bytes::new())
            .await?;
        upload_id(&answer).ok_or_else(|| no_sense("CreateMultipartUpload", "no UploadId"))
    }

    /// Uploads a part; gives its ETag, as S3 wrote it.
    pub(super) async fn part(&self, key: &str, id: &str, number: u32, body: &Body) -> Result<String, Failed> {
        let query = format!("?partNumber={number}&uploadId={}", query_value(id));
        let headers = md5_header(body).into_iter().collect();
        let answer = self
            .call(Method::PUT, key, &query, headers, body.bytes.clone())
            .await?;
        let etag = answer.headers.get("etag").and_then(|etag| etag.to_str().ok());
        etag.map(ToOwned::to_owned)
            .ok_or_else(|| no_sense("UploadPart", "no ETag"))
    }

    /// Makes an object of the parts.
    pub(super) async fn complete(&self, key: &str, id: &str, parts: &[Part]) -> Result<(), Failed> {
        let mut body = String::from("<CompleteMultipartUpload>");
        for Part { number, etag, .. } in parts {
            let etag = etag.trim_matches('"');
            // Writing to a string cannot fail.
            let _ = write!(
                body,
                "<Part><ETag>{}</ETag><PartNumber>{number}</PartNumber></Part>",
                escaped(etag)
            );
        }
        body.push_str("</CompleteMultipartUpload>");
        let query = format!("?uploadId={}", query_value(id));
        let kind = (
            HeaderName::from_static("content-type"),
            HeaderValue::from_static("application/xml"),
        );
        let answer = self
            .call(Method::POST, key, &query, vec![kind], body.into())
            .await?;
        self.completed(key, &answer)
    }

    fn completed(&self, key: &str, answer: &Response) -> Result<(), Failed> {
        let text = String::from_utf8_lossy(&answer.body);
        // The head of the answer is sent before the work is done: a failure may stand behind a 200.
        if text.contains("<Error>") {
            return Err(self.failed(key, 500, answer));
        }
        if text.contains("CompleteMultipartUploadResult") {
            return Ok(());
        }
        Err(no_sense("CompleteMultipartUpload", "no result"))
    }

    /// Throws an upload away.
    pub(super) async fn abort(&self, key: &str, id: &str) -> Result<(), Failed> {
        let query = format!("?uploadId={}", query_value(id));
        self.call(Method::DELETE, key, &query, Vec::new(), Bytes::new())
            .await?;
        Ok(())
    }

    /// Whether `key` is an object made of `parts` parts with `stored` bytes in all.
    pub(super) async fn is_made_of(&self, key: &str, parts: usize, stored: u64) -> Result<bool, Failed> {
        let answer = match self.call(Method::HEAD, key, "", Vec::new(), Bytes::new()).await {
            Ok(answer) => answer,
            Err(failed) if failed.what == What::Never => return Ok(false),
            Err(failed) => return Err(failed),
        };
        Ok(says_made_of(&answer, parts, stored))
    }

    async fn call(
        &self,
        method: Method,
        key: &str,
        query: &str,
        headers: Vec<(HeaderName, HeaderValue)>,
        body: Bytes,
    ) -> Result<Response, Failed> {
        let is_head = method == Method::HEAD;
        let request = Request {
            method,
            target: format!("/{}/{}{query}", encoded(&self.name), encoded(key)),
            headers,
            body,
        };
        let answer = self.client.send(request).await.map_err(|error| Failed {
            what: What::Again(None),
            why: aws_cause(&error),
        })?;
        match answer.status {
            200..=299 => Ok(answer),
            404 if is_head => Err(Failed {
                what: What::Never,
                why: Cause::new(CauseKind::Refused, "S3 answered 404"),
            }),
            status => Err(self.failed(key, status, &answer)),
        }
    }

    fn failed(&self, key: &str, status: u16, answer: &Response) -> Failed {
        let headers: Vec<_> = answer
            .headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes());
                (name.as_str().to_owned(), value.into_owned())
            })
            .collect();
        let response = HttpResponse {
            status,
            headers: &headers,
            body: &answer.body,
        };
        let Some(failure) = crate::aws::failure(&response) else {
            return no_sense("S3", "no failure in it");
        };
        let region = headers.iter().find(|(name, _)| name == "x-amz-bucket-region");
        let region = region.map(|(_, region)| region.as_str());
        self.meaning(key, &failure, region)
    }

    fn meaning(&self, key: &str, failure: &Failure, region: Option<&str>) -> Failed {
        let code = failure.code.as_str();
        let (what, mut why) = match judgement(self.client.service(), failure) {
            Judgement::Throttled { after, why } => (What::Again(after), why),
            Judgement::Unavailable(why) if code == "NoSuchUpload" => (What::NoUpload, why),
            Judgement::Unavailable(why) if failure.class == Class::Denied => (What::Denied, why),
            Judgement::Refused(mut why) if AGAIN.contains(&code) => {
                why.kind = CauseKind::Unavailable;
                (What::Again(None), why)
            }
            Judgement::Refused(why) => (What::Never, why),
            Judgement::Unavailable(why) | Judgement::Partial { why, .. } => (What::Again(None), why),
            Judgement::Accepted => (What::Again(None), no_sense("S3", "no failure in it").why),
        };
        let name = &self.name;
        // Writing to a string cannot fail.
        let _ = match (&what, code, region) {
            (What::Denied, ..) => write!(
                why.text,
                "; the role needs `s3:PutObject` and `s3:AbortMultipartUpload` on `arn:aws:s3:::{name}/*`"
            ),
            (_, "NoSuchBucket", _) => write!(why.text, "; make the bucket `{name}`, or mend `bucket`"),
            (_, _, Some(region)) if matches!(failure.status, 301 | 307 | 400) => {
                write!(
                    why.text,
                    "; the bucket `{name}` is in `{region}`: write that as `region`"
                )
            }
            _ => write!(why.text, "; object `{key}` of `{name}`"),
        };
        Failed { what, why }
    }
}

impl Failed {
    /// When to try again, if S3 said so.
    pub(super) fn after(&self) -> Option<Duration> {
        match self.what {
            What::Again(after) => after,
            _ => None,
        }
    }
}

fn no_sense(call: &str, what: &str) -> Failed {
    Failed {
        what: What::Again(None),
        // What it was that answered, it may have done it.
        why: Cause::ambiguous(
            CauseKind::Protocol,
            format!("the answer to {call} makes no sense: {what}"),
        ),
    }
}

fn md5_header(body: &Body) -> Option<(HeaderName, HeaderValue)> {
    let value = HeaderValue::from_str(body.md5.as_deref()?).ok()?;
    Some((HeaderName::from_static("content-md5"), value))
}

/// A text in a query: the slash too is encoded.
fn query_value(text: &str) -> String {
    encoded(text).replace('/', "%2F")
}

/// Whether the answer to `HeadObject` is about an object of `parts` parts and `stored` bytes.
fn says_made_of(answer: &Response, parts: usize, stored: u64) -> bool {
    let header = |name: &str| answer.headers.get(name)?.to_str().ok();
    let length = header("content-length").and_then(|length| length.parse::<u64>().ok());
    let etag = header("etag").unwrap_or_default().trim_matches('"');
    let count = etag.rsplit_once('-').map_or("", |(_, count)| count);
    length == Some(stored) && count.parse() == Ok(parts)
}

/// The id in the answer to `CreateMultipartUpload`.
fn upload_id(answer: &Response) -> Option<String> {
    let text = String::from_utf8_lossy(&answer.body);
    element(&text, "UploadId").filter(|id| !id.is_empty())
}

/// The text of an element of XML.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let plain = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ];
    let unescaped = plain
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    Some(unescaped)
}

/// A text within XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// For the fuzz target `answers`: no answer panics, a failure has a reason, and an id stands in a query
/// whole.
pub(crate) fn fuzz_answer(bucket: &Bucket, answer: &Response) {
    if let Some(id) = upload_id(answer) {
        let query = query_value(&id);
        assert!(query.bytes().all(|byte| byte.is_ascii_graphic()), "{query}");
        assert!(!query.contains(['/', '&', '=', '?', '#']), "{query}");
    }
    says_made_of(answer, 2, 10);
    for failed in [
        bucket.completed("key", answer).err(),
        Some(bucket.failed("key", answer.status, answer)),
    ] {
        let Some(failed) = failed else { continue };
        assert!(!failed.why.text.is_empty());
        assert!(
            failed.after().is_none() || matches!(failed.what, What::Again(_)),
            "only what is sent again has a time"
        );
    }
    let text = String::from_utf8_lossy(&answer.body);
    let written = format!("<Key>{}</Key>", escaped(&text));
    // What is no character of XML is not our doing.
    assert_eq!(element(&written, "Key").as_deref(), Some(&*text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read() {
        let xml = "<R><UploadId>a&amp;b&lt;.-</UploadId><Key>k</Key></R>";
        assert_eq!(element(xml, "UploadId").as_deref(), Some("a&b<.-"));
        assert_eq!(element(xml, "ETag"), None);
        assert_eq!(element("<UploadId>x", "UploadId"), None);
        assert_eq!(escaped("a\"<&>"), "a&quot;&lt;&amp;&gt;");
        assert_eq!(query_value("a/b+c=="), "a%2Fb%2Bc%3D%3D");
    }
}
