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
    use crate::aws::Class;
    use proptest::prelude::*;

    fn read(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Option<Failure> {
        Failure::read(status, headers.iter().copied(), body.as_bytes())
    }

    #[track_caller]
    fn check(status: u16, headers: &[(&'static str, &'static str)], body: &str, want: (&str, Class, &str)) {
        let failure = read(status, headers, body).unwrap();
        let (code, class, text) = want;
        assert_eq!((failure.code.as_str(), failure.class), (code, class));
        assert_eq!(failure.to_string(), text);
    }

    #[test]
    fn json_xml_and_headers_are_read() {
        check(
            400,
            &[("x-amzn-requestid", "r-1")],
            r#"{"__type":"com.amazonaws.logs#ThrottlingException","message":"Rate exceeded"}"#,
            (
                "ThrottlingException",
                Class::Throttled,
                "400 ThrottlingException: Rate exceeded (request r-1)",
            ),
        );
        check(
            403,
            &[("x-amz-request-id", "r-2")],
            "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>a &amp; &quot;b&quot;</Message></Error>",
            (
                "AccessDenied",
                Class::Denied,
                "403 AccessDenied: a & \"b\" (request r-2)",
            ),
        );
        check(
            403,
            &[],
            "<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>ExpiredToken</Code>\
             <Message>gone</Message></Error><RequestId>r-3</RequestId></ErrorResponse>",
            (
                "ExpiredToken",
                Class::Credentials,
                "403 ExpiredToken: gone (request r-3)",
            ),
        );
        check(
            400,
            &[("x-amzn-errortype", "ValidationException:http://internal/x")],
            "{}",
            ("ValidationException", Class::Refused, "400 ValidationException"),
        );
        check(
            502,
            &[],
            "<html><Code>no</Code>",
            ("no", Class::Unavailable, "502 no"),
        );
        check(503, &[], "busy", ("503", Class::Unavailable, "503"));
        assert_eq!(read(204, &[], "<Error><Code>X</Code></Error>"), None);
    }

    #[test]
    fn failures_behind_a_success_are_read_where_they_may_be() {
        let within = |body: &str| Failure::within(body.as_bytes());
        let failure = within("<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code></Error>").unwrap();
        assert_eq!(
            (failure.code.as_str(), failure.class),
            ("InternalError", Class::Unavailable)
        );
        let class = |code: &str| {
            within(&format!("<Error><Code>{code}</Code></Error>"))
                .unwrap()
                .class
        };
        assert_eq!(class("NoSuchUpload"), Class::Missing);
        assert_eq!(class("MalformedXML"), Class::Refused);
        for none in [
            "<CompleteMultipartUploadResult/>",
            "",
            "text with <Error><Code>X</Code>",
            "<Error/>",
        ] {
            assert_eq!(within(none), None, "{none}");
        }
    }

    #[test]
    fn the_service_says_when_to_come_again() {
        let after = |value| read(503, &[("retry-after", value)], "").unwrap().after;
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("999999999"), Some(AFTER_MAX));
        assert_eq!(after("Tue, 15 Nov 1994 08:12:31 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
    }

    proptest! {
        /// Guarantees: whatever answers, there is a failure with a name.
        #[test]
        fn any_body_is_read(status in 300u16..600, body in prop::collection::vec(any::<u8>(), 0..200)) {
            let failure = Failure::read(status, std::iter::empty(), &body).unwrap();
            prop_assert!(!failure.code.is_empty());
        }
    }
}
