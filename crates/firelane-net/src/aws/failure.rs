//! What an answer other than success means: read from JSON (`__type`), XML (`<Code>`), and headers.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_smithy_types::date_time::{DateTime, Format};

use super::codes::classify;
use super::xml;
use crate::http::Response;

/// Longest wait that a service may ask for: longer ones are no use.
const AFTER_MAX: Duration = Duration::from_secs(86_400);

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Too fast.
    Throttled,
    /// Not now.
    Unavailable,
    /// Credentials have expired, are unknown, or the clock is off: may pass with new ones.
    Credentials,
    /// The role may not do that: passes when somebody changes a policy.
    Denied,
    /// The resource is not there, or is switched off: passes when somebody makes it.
    Missing,
    /// Never, however often it is sent.
    Refused,
}

/// A failure that the service told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// HTTP status.
    pub status: u16,
    /// Its name, as `ThrottlingException`; the status where the service gave none.
    pub code: String,
    /// The service's words.
    pub message: String,
    /// For support.
    pub request_id: Option<String>,
    /// When to come again, if the service said so.
    pub after: Option<Duration>,
    /// What to do about it.
    pub class: Class,
}

impl Failure {
    /// Reads an answer; `None` for success (2xx). `headers` have lower-case names.
    pub fn read<'a>(
        status: u16,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        body: &[u8],
    ) -> Option<Self> {
        if (200..300).contains(&status) {
            return None;
        }
        let (mut request_id, mut typed, mut after) = (None, None, None);
        for (name, value) in headers {
            match name {
                "x-amzn-requestid" | "x-amz-request-id" => request_id = Some(value.to_owned()),
                "x-amzn-errortype" => typed = Some(value),
                "retry-after" => after = wait(value),
                _ => {}
            }
        }
        let words = Words::read(body);
        let code = words
            .code
            .or_else(|| typed.map(short))
            .filter(|code| !code.is_empty())
            .unwrap_or_else(|| status.to_string());
        let class = classify(status, &code);
        Some(Self {
            status,
            code,
            message: words.message.unwrap_or_default(),
            request_id: request_id.or(words.request_id),
            after,
            class,
        })
    }

    /// Reads a response of the client.
    pub fn of(response: &Response) -> Option<Self> {
        let headers = response.headers.iter();
        let headers = headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        Self::read(response.status, headers, &response.body)
    }

    /// Reads the error that stands in the body of an answer with status 200: S3 sends the status of a
    /// `CompleteMultipartUpload` before it is done.
    pub fn within(body: &[u8]) -> Option<Self> {
        if xml::root(&String::from_utf8_lossy(body)) != Some("Error") {
            return None;
        }
        let words = Words::read(body);
        let code = words.code?;
        Some(Self {
            status: 200,
            // The status is of no use: what is not known passes.
            class: classify(500, &code),
            code,
            message: words.message.unwrap_or_default(),
            request_id: words.request_id,
            after: None,
        })
    }

    /// A failure of one record within an answer (`ErrorCode`, `ErrorMessage`).
    pub fn of_record(code: &str, message: &str) -> Self {
        Self {
            status: 200,
            code: code.to_owned(),
            message: message.to_owned(),
            request_id: None,
            after: None,
            class: classify(200, code),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if self.code != self.status.to_string() {
            write!(f, " {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        match &self.request_id {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

/// The name without namespace and link: `com.amazon#Name:http://…`.
fn short(text: &str) -> String {
    let text = text.split(':').next().unwrap_or(text);
    text.rsplit('#').next().unwrap_or(text).to_owned()
}

/// What the body says.
#[derive(Default)]
struct Words {
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
}

impl Words {
    fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        if let Ok(serde_json::Value::Object(map)) = serde_json::from_str(&text) {
            let field = |names: &[&str]| {
                let value = names.iter().find_map(|name| map.get(*name)?.as_str());
                value.map(ToOwned::to_owned)
            };
            return Self {
                code: field(&["__type", "code", "Code"]).map(|code| short(&code)),
                message: field(&["message", "Message", "errorMessage"]),
                request_id: None,
            };
        }
        if xml::root(&text).is_none() {
            return Self::default();
        }
        let element = |names: &[&str]| names.iter().find_map(|name| xml::element(&text, name));
        Self {
            code: element(&["Code"]),
            message: element(&["Message"]),
            request_id: element(&["RequestId", "RequestID"]),
        }
    }
}

/// `Retry-After`: seconds, or a date.
fn wait(text: &str) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = DateTime::from_str(text, Format::HttpDate).ok()?;
            let date = SystemTime::try_from(date).ok()?;
            date.duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Some(wait.min(AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(status: u16, headers: &[(&str, &str)], body: &str) -> Failure {
        Failure::read(status, headers.iter().copied(), body.as_bytes()).expect("a failure")
    }

    #[test]
    fn success_is_none() {
        for status in [200, 204, 299] {
            assert_eq!(
                Failure::read(status, std::iter::empty(), b"{\"__type\":\"X\"}"),
                None
            );
        }
    }

    /// Status, code and message of a body, in its shapes.
    #[track_caller]
    fn says(status: u16, headers: &[(&str, &str)], body: &str, want: (&str, &str)) {
        let failure = read(status, headers, body);
        assert_eq!((failure.code.as_str(), failure.message.as_str()), want, "{body}");
    }

    #[test]
    fn bodies_have_many_shapes() {
        says(400, &[], r#"{"__type":"A","message":"m"}"#, ("A", "m"));
        says(400, &[], r#"{"__type":"com.amazon#A","Message":"m"}"#, ("A", "m"));
        says(
            400,
            &[],
            r#"{"code":"A","message":"m","HTTPErrorCode":400}"#,
            ("A", "m"),
        );
        says(400, &[], r#"{"code":7,"message":{"a":1}}"#, ("400", ""));
        says(400, &[], r#"{"errorMessage":"m"}"#, ("400", "m"));
        says(
            403,
            &[],
            "<?xml version=\"1.0\"?>\n<Error><Code>A</Code><Message>a &lt;b&gt; &amp;amp; &#39;c&quot;</Message></Error>",
            ("A", "a <b> &amp; 'c\""),
        );
        says(
            403,
            &[],
            "<ErrorResponse xmlns=\"u\"><Error><Type>Sender</Type><Code>A</Code><Message/></Error></ErrorResponse>",
            ("A", ""),
        );
        let header = [("x-amzn-errortype", "A:http://internal.amazon.com/x/")];
        says(400, &header, "", ("A", ""));
        says(400, &header, r#"{"message":"m"}"#, ("A", "m"));
        says(400, &header, r#"{"__type":"B"}"#, ("B", ""));
        says(502, &[], "<html><body>Bad Gateway</body></html>", ("502", ""));
        says(500, &[], "", ("500", ""));
        says(500, &[], "[1,2]", ("500", ""));
        says(500, &[], "<Code>cut", ("500", ""));
        says(500, &[], "{\"__type\":\"cut", ("500", ""));
    }

    #[test]
    fn headers_tell_the_rest() {
        let failure = read(
            503,
            &[("x-amzn-requestid", "r-1"), ("retry-after", " 7 ")],
            r#"{"__type":"A","message":"m"}"#,
        );
        assert_eq!(failure.after, Some(Duration::from_secs(7)));
        assert_eq!(failure.to_string(), "503 A: m (request r-1)");
        assert_eq!(
            read(503, &[("x-amz-request-id", "r-2")], "").to_string(),
            "503 (request r-2)"
        );
        for text in ["soon", "-1", "1.5", ""] {
            assert_eq!(read(503, &[("retry-after", text)], "").after, None, "{text}");
        }
        let never = u64::MAX.to_string();
        let after = read(503, &[("retry-after", &never)], "").after;
        assert_eq!(after, Some(Duration::from_secs(86_400)));
    }

    #[test]
    fn the_service_says_when_to_come_again() {
        let after = |value| read(503, &[("retry-after", value)], "").after;
        assert_eq!(after("999999999"), Some(AFTER_MAX));
        assert_eq!(after("Tue, 15 Nov 1994 08:12:31 GMT"), Some(Duration::ZERO));
    }

    #[test]
    fn request_ids_stand_in_xml_too() {
        let failure = read(
            403,
            &[],
            "<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>ExpiredToken</Code>\
             <Message>gone</Message></Error><RequestId>r-3</RequestId></ErrorResponse>",
        );
        assert_eq!(failure.to_string(), "403 ExpiredToken: gone (request r-3)");
    }

    #[test]
    fn classes_by_code_then_status() {
        let table = [
            (400, "ThrottlingException", Class::Throttled),
            (400, "ProvisionedThroughputExceededException", Class::Throttled),
            (503, "SlowDown", Class::Throttled),
            (400, "LimitExceededException", Class::Throttled),
            (429, "", Class::Throttled),
            (400, "ExpiredTokenException", Class::Credentials),
            (403, "ExpiredToken", Class::Credentials),
            (400, "UnrecognizedClientException", Class::Credentials),
            (403, "InvalidClientTokenId", Class::Credentials),
            (403, "RequestTimeTooSkewed", Class::Credentials),
            (403, "SignatureDoesNotMatch", Class::Credentials),
            (400, "InvalidSignatureException", Class::Credentials),
            (400, "AccessDeniedException", Class::Denied),
            (403, "AccessDenied", Class::Denied),
            (403, "", Class::Denied),
            (401, "", Class::Denied),
            (400, "ResourceNotFoundException", Class::Missing),
            (404, "NoSuchBucket", Class::Missing),
            (404, "NoSuchUpload", Class::Missing),
            (400, "KMSDisabledException", Class::Missing),
            (400, "RequestTimeout", Class::Unavailable),
            (400, "OperationAbortedException", Class::Unavailable),
            (400, "ResourceInUseException", Class::Unavailable),
            (500, "InternalFailure", Class::Unavailable),
            (503, "ServiceUnavailableException", Class::Unavailable),
            (301, "PermanentRedirect", Class::Unavailable),
            (408, "", Class::Unavailable),
            (500, "", Class::Unavailable),
            (502, "", Class::Unavailable),
            (400, "InvalidParameterException", Class::Refused),
            (400, "ValidationException", Class::Refused),
            (400, "SerializationException", Class::Refused),
            // A wrong path, or something in between: mended outside, so nothing is given up for it.
            (404, "", Class::Missing),
            (413, "", Class::Refused),
            (400, "EntityTooLarge", Class::Refused),
        ];
        for (status, code, want) in table {
            let body = match code {
                "" => String::new(),
                code => format!(r#"{{"__type":"{code}"}}"#),
            };
            assert_eq!(read(status, &[], &body).class, want, "{status} {code}");
        }
    }

    #[test]
    fn failures_of_records() {
        let class = |code| Failure::of_record(code, "m").class;
        assert_eq!(class("ProvisionedThroughputExceededException"), Class::Throttled);
        assert_eq!(class("InternalFailure"), Class::Unavailable);
        assert_eq!(class("ServiceUnavailableException"), Class::Unavailable);
        assert_eq!(class("KMSAccessDeniedException"), Class::Denied);
        assert_eq!(Failure::of_record("A", "m").to_string(), "200 A: m");
    }

    #[test]
    fn an_error_may_stand_within_a_success() {
        let within =
            |body: &str| Failure::within(body.as_bytes()).map(|failure| (failure.code, failure.class));
        let error = |code| format!("<?xml version=\"1.0\"?>\n\n<Error><Code>{code}</Code></Error>");
        assert_eq!(
            within(&error("InternalError")),
            Some(("InternalError".to_owned(), Class::Unavailable))
        );
        assert_eq!(
            within(&error("SlowDown")),
            Some(("SlowDown".to_owned(), Class::Throttled))
        );
        assert_eq!(
            within(&error("NoSuchUpload")),
            Some(("NoSuchUpload".to_owned(), Class::Missing))
        );
        assert_eq!(
            within("<CompleteMultipartUploadResult><Key>k</Key></CompleteMultipartUploadResult>"),
            None
        );
        assert_eq!(
            within(&error("MalformedXML")),
            Some(("MalformedXML".to_owned(), Class::Refused))
        );
        assert_eq!(within("text with <Error><Code>X</Code></Error>"), None);
        assert_eq!(within("<Error></Error>"), None);
        assert_eq!(within(""), None);
    }

    proptest! {
        #[test]
        fn no_answer_panics(
            status in 0..=u16::MAX,
            name in "(x-amzn-errortype|retry-after|x-amz-request-id)",
            value in "\\PC*",
            body in prop::collection::vec(any::<u8>(), 0..200),
            text in "(<Error>|<Code>|</Code>|<Message>|</Message>|&lt;|&|\\{|\\}|\"__type\":|\"\\PC*\"|#|:){0,12}",
        ) {
            for body in [body.as_slice(), text.as_bytes()] {
                let headers = [(name.as_str(), value.as_str())].into_iter();
                if let Some(failure) = Failure::read(status, headers, body) {
                    let shown = failure.to_string();
                    prop_assert!(shown.starts_with(&status.to_string()));
                }
                Failure::within(body);
            }
        }
    }
}
