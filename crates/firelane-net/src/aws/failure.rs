//! What an answer other than success means.

use std::fmt;
use std::time::Duration;

use crate::http::Response;

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
                "retry-after" => after = value.trim().parse().ok().map(seconds),
                _ => {}
            }
        }
        let (code, message) = words(body);
        let code = code
            .or_else(|| typed.map(short))
            .unwrap_or_else(|| status.to_string());
        let class = classify(status, &code);
        Some(Self {
            status,
            code,
            message: message.unwrap_or_default(),
            request_id,
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
        let text = std::str::from_utf8(body).ok()?;
        if !text.contains("<Error>") {
            return None;
        }
        let (code, message) = words(body);
        let code = code?;
        Some(Self {
            status: 200,
            class: classify(200, &code),
            code,
            message: message.unwrap_or_default(),
            request_id: None,
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

/// A wait that a service asks for; longer ones than a day are no use.
fn seconds(count: u64) -> Duration {
    Duration::from_secs(count.min(86_400))
}

/// The name without namespace and link: `com.amazon#Name:http://…`.
fn short(text: &str) -> String {
    let text = text.split(':').next().unwrap_or(text);
    text.rsplit('#').next().unwrap_or(text).to_owned()
}

/// Code and message of a JSON or XML body.
fn words(body: &[u8]) -> (Option<String>, Option<String>) {
    let text = String::from_utf8_lossy(body);
    if let Ok(serde_json::Value::Object(map)) = serde_json::from_str(&text) {
        let field = |names: &[&str]| {
            let value = names.iter().find_map(|name| map.get(*name)?.as_str());
            value.map(ToOwned::to_owned)
        };
        let code = field(&["__type", "code", "Code"]).map(|code| short(&code));
        return (code, field(&["message", "Message", "errorMessage"]));
    }
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (value, _) = rest.split_once(&format!("</{name}>"))?;
        Some(unescaped(value))
    };
    (element("Code"), element("Message"))
}

/// Text of XML without entities.
fn unescaped(text: &str) -> String {
    let known = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&#34;", "\""),
    ];
    let text = known
        .iter()
        .fold(text.to_owned(), |text, (entity, char)| text.replace(entity, char));
    text.replace("&amp;", "&")
}

/// What codes mean, whatever their status.
const CODES: &[(Class, &[&str])] = &[
    (
        Class::Throttled,
        &[
            "ThrottlingException",
            "Throttling",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "TooManyRequestsException",
            "RequestLimitExceeded",
            "EC2ThrottledException",
            "TransactionInProgressException",
            "LimitExceededException",
            "BandwidthLimitExceeded",
            "SlowDown",
            "PriorRequestNotComplete",
            "ProvisionedThroughputExceededException",
            "KMSThrottlingException",
        ],
    ),
    (
        Class::Credentials,
        &[
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidToken",
            "InvalidClientTokenId",
            "UnrecognizedClientException",
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "InvalidSignature",
            "IncompleteSignature",
            "IncompleteSignatureException",
            "RequestExpired",
            "RequestTimeTooSkewed",
            "AuthFailure",
            "InvalidAccessKeyId",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "TokenRefreshRequired",
        ],
    ),
    (
        Class::Denied,
        &[
            "AccessDenied",
            "AccessDeniedException",
            "UnauthorizedOperation",
            "AllAccessDisabled",
            "KMSAccessDeniedException",
            "KMSOptInRequired",
            "NotAuthorized",
            "OptInRequired",
        ],
    ),
    // The last are keys that are switched off, or gone.
    (
        Class::Missing,
        &[
            "ResourceNotFoundException",
            "NoSuchBucket",
            "ResourceNotFound",
            "ParameterNotFound",
            "NoSuchKey",
            "NoSuchUpload",
            "KMSDisabledException",
            "KMSInvalidStateException",
            "KMSNotFoundException",
            "KMS.DisabledException",
            "KMS.KMSInvalidStateException",
            "KMS.NotFoundException",
        ],
    ),
    // Some services send these with a status of 400.
    (
        Class::Unavailable,
        &[
            "RequestTimeout",
            "RequestTimeoutException",
            "OperationAborted",
            "OperationAbortedException",
            "ResourceInUseException",
            "IncompleteBody",
            "InternalError",
            "InternalFailure",
            "InternalFailureException",
            "InternalServerError",
            "InternalServiceError",
            "InternalServiceException",
            "ServiceUnavailable",
            "ServiceUnavailableException",
        ],
    ),
];

fn classify(status: u16, code: &str) -> Class {
    let known = CODES.iter().find(|(_, codes)| codes.contains(&code));
    match (known, status) {
        (Some((class, _)), _) => *class,
        (None, 429) => Class::Throttled,
        (None, 401 | 403) => Class::Denied,
        (None, 408 | 409) => Class::Unavailable,
        (None, 400..=499) => Class::Refused,
        (None, _) => Class::Unavailable,
    }
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
            (404, "", Class::Refused),
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
                let headers = [(name.as_str(), value.as_str())];
                if let Some(failure) = Failure::read(status, headers.into_iter(), body) {
                    let shown = failure.to_string();
                    prop_assert!(shown.starts_with(&status.to_string()));
                }
                Failure::within(body);
            }
        }
    }
}
