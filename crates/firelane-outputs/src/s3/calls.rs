//! The calls of S3 that are needed, path style: `/bucket/key`. Each says what a failure means.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use firelane_core::{Cause, CauseKind, Judgement};
use firelane_net::aws::{AwsClient, BodyHash, Class, Failure, element, encoded};
use firelane_net::{HeaderName, HeaderValue, Method, Request, Response};

use super::encode::Body;
use super::journal::Part;
use crate::aws::{help, judgement};
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

/// A call.
struct Call {
    /// The permission that it needs.
    action: &'static str,
    method: Method,
    /// With its `?`.
    query: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    hash: Option<BodyHash>,
}

impl Call {
    fn new(action: &'static str, method: Method) -> Self {
        Self {
            action,
            method,
            query: String::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            hash: None,
        }
    }

    /// That puts something.
    fn put(method: Method, query: String, headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self {
            query,
            headers,
            ..Self::new("s3:PutObject", method)
        }
    }

    fn with(self, body: &Body) -> Self {
        Self {
            body: body.bytes.clone(),
            hash: Some(body.hash.clone()),
            ..self
        }
    }
}

impl Bucket {
    /// Puts a whole object.
    pub(super) async fn put(&self, key: &str, body: &Body) -> Result<(), Failed> {
        let mut headers = self.headers.clone();
        headers.extend(md5_header(body));
        let call = Call::put(Method::PUT, String::new(), headers);
        self.call(key, call.with(body)).await?;
        Ok(())
    }

    /// Begins an upload in parts; gives its id.
    pub(super) async fn begin(&self, key: &str) -> Result<String, Failed> {
        let headers = self.headers.clone();
        let call = Call::put(Method::POST, "?uploads=".to_owned(), headers);
        let answer = self.call(key, call).await?;
        upload_id(&answer).ok_or_else(|| no_sense("CreateMultipartUpload", "no UploadId"))
    }

    /// Uploads a part; gives its ETag, as S3 wrote it.
    pub(super) async fn part(&self, key: &str, id: &str, number: u32, body: &Body) -> Result<String, Failed> {
        let query = format!("?partNumber={number}&uploadId={}", query_value(id));
        let headers = md5_header(body).into_iter().collect();
        let call = Call::put(Method::PUT, query, headers);
        let answer = self.call(key, call.with(body)).await?;
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
        let call = Call {
            body: body.into(),
            ..Call::put(Method::POST, query, vec![kind])
        };
        let answer = self.call(key, call).await?;
        self.completed(key, &answer)
    }

    fn completed(&self, key: &str, answer: &Response) -> Result<(), Failed> {
        // The head of the answer is sent before the work is done: a failure may stand behind a 200.
        if let Some(failure) = Failure::within(&answer.body) {
            return Err(self.meaning(key, &failure, None));
        }
        let text = String::from_utf8_lossy(&answer.body);
        if text.contains("CompleteMultipartUploadResult") {
            return Ok(());
        }
        Err(no_sense("CompleteMultipartUpload", "no result"))
    }

    /// Throws an upload away.
    pub(super) async fn abort(&self, key: &str, id: &str) -> Result<(), Failed> {
        let query = format!("?uploadId={}", query_value(id));
        let call = Call {
            query,
            ..Call::new("s3:AbortMultipartUpload", Method::DELETE)
        };
        self.call(key, call).await?;
        Ok(())
    }

    /// Whether `key` is an object made of `parts` parts with `stored` bytes in all.
    pub(super) async fn is_made_of(&self, key: &str, parts: usize, stored: u64) -> Result<bool, Failed> {
        let answer = match self.call(key, Call::new("s3:GetObject", Method::HEAD)).await {
            Ok(answer) => answer,
            Err(failed) if failed.what == What::Never => return Ok(false),
            Err(failed) => return Err(failed),
        };
        Ok(says_made_of(&answer, parts, stored))
    }

    async fn call(&self, key: &str, call: Call) -> Result<Response, Failed> {
        let is_head = call.method == Method::HEAD;
        let request = Request {
            method: call.method,
            target: format!("/{}/{}{}", encoded(&self.name), encoded(key), call.query),
            headers: call.headers,
            body: call.body,
        };
        let answer = self.client.send_hashed(request, call.hash).await;
        let answer = answer.map_err(|error| Failed {
            what: What::Again(None),
            why: aws_cause(&error),
        })?;
        match answer.status {
            200..=299 => Ok(answer),
            404 if is_head => Err(Failed {
                what: What::Never,
                why: Cause::new(CauseKind::Refused, "S3 answered 404"),
            }),
            _ => {
                let mut failed = self.failed(key, &answer);
                let resource = format!("s3:::{}/{key}", self.name);
                if let Some(help) = help(&self.client, &answer, Some(call.action), Some(&resource)).await {
                    failed.why.text.push_str("; ");
                    failed.why.text.push_str(&help);
                }
                Err(failed)
            }
        }
    }

    fn failed(&self, key: &str, answer: &Response) -> Failed {
        let Some(failure) = Failure::of(answer) else {
            return no_sense("S3", "no failure in it");
        };
        let region = answer.headers.get("x-amz-bucket-region");
        self.meaning(key, &failure, region.and_then(|region| region.to_str().ok()))
    }

    fn meaning(&self, key: &str, failure: &Failure, region: Option<&str>) -> Failed {
        let code = failure.code.as_str();
        let (what, mut why) = match judgement(self.client.service(), failure) {
            Judgement::Throttled { after, why } => (What::Again(after), why),
            Judgement::Unavailable(why) if code == "NoSuchUpload" => (What::NoUpload, why),
            Judgement::Unavailable(why) if failure.class == Class::Denied => (What::Denied, why),
            Judgement::Refused(why) => (What::Never, why),
            Judgement::Unavailable(why) | Judgement::Partial { why, .. } => (What::Again(None), why),
            Judgement::Accepted => (What::Again(None), no_sense("S3", "no failure in it").why),
        };
        let name = &self.name;
        // Writing to a string cannot fail.
        let _ = match (&what, code, region) {
            // What is missing is said where the call is known.
            (What::Denied, ..) => Ok(()),
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
        Some(bucket.failed("key", answer)),
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
    fn texts_are_escaped() {
        assert_eq!(element(&escaped("<R>"), "R"), None);
        assert_eq!(escaped("a\"<&>"), "a&quot;&lt;&amp;&gt;");
        assert_eq!(query_value("a/b+c=="), "a%2Fb%2Bc%3D%3D");
    }
}
