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

fn classify(status: u16, code: &str) -> Class {
    match code {
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "EC2ThrottledException"
        | "TransactionInProgressException"
        | "LimitExceededException"
        | "BandwidthLimitExceeded"
        | "SlowDown"
        | "PriorRequestNotComplete"
        | "ProvisionedThroughputExceededException"
        | "KMSThrottlingException" => Class::Throttled,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidToken"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "InvalidSignature"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "AuthFailure"
        | "InvalidAccessKeyId"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "TokenRefreshRequired" => Class::Credentials,
        "AccessDenied"
        | "AccessDeniedException"
        | "UnauthorizedOperation"
        | "AllAccessDisabled"
        | "KMSAccessDeniedException"
        | "KMSOptInRequired"
        | "NotAuthorized"
        | "OptInRequired" => Class::Denied,
        "ResourceNotFoundException"
        | "NoSuchBucket"
        | "ResourceNotFound"
        | "ParameterNotFound"
        | "NoSuchKey"
        | "NoSuchUpload"
        // A key that is switched off, or gone.
        | "KMSDisabledException"
        | "KMSInvalidStateException"
        | "KMSNotFoundException"
        | "KMS.DisabledException"
        | "KMS.KMSInvalidStateException"
        | "KMS.NotFoundException" => Class::Missing,
        // With a status of 400 in some services.
        "RequestTimeout"
        | "RequestTimeoutException"
        | "OperationAborted"
        | "OperationAbortedException"
        | "ResourceInUseException"
        | "IncompleteBody"
        | "InternalError"
        | "InternalFailure"
        | "InternalFailureException"
        | "InternalServerError"
        | "InternalServiceError"
        | "InternalServiceException"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => Class::Unavailable,
        _ => match status {
            429 => Class::Throttled,
            401 | 403 => Class::Denied,
            408 | 409 => Class::Unavailable,
            400..=499 => Class::Refused,
            _ => Class::Unavailable,
        },
    }
}
