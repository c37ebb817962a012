//! The calls of CloudWatch Logs, and what its answers mean.

use bytes::Bytes;
use firelane_core::{BoxFuture, Cause, CauseKind, HttpResponse, Judgement};
use firelane_net::aws::{AwsClient, AwsError, BodyHash, Class, Failure, Service};
use firelane_net::{HeaderName, HeaderValue, Method, Request, Response, header};
use firelane_record::accessor::Accessor;
use firelane_record::json;
use firelane_record::msgpack::{self, Token};

use crate::aws;
use crate::driver::aws_cause;

/// An operation of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    CreateLogGroup,
    CreateLogStream,
    PutLogEvents,
    PutRetentionPolicy,
}

impl Operation {
    /// As `X-Amz-Target` names it.
    pub(super) fn target(self) -> &'static str {
        match self {
            Self::CreateLogGroup => "Logs_20140328.CreateLogGroup",
            Self::CreateLogStream => "Logs_20140328.CreateLogStream",
            Self::PutLogEvents => "Logs_20140328.PutLogEvents",
            Self::PutRetentionPolicy => "Logs_20140328.PutRetentionPolicy",
        }
    }
}

/// A body, and its hash where that was made beside it.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    pub(super) bytes: Bytes,
    pub(super) hash: Option<BodyHash>,
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            bytes: bytes.into(),
            hash: None,
        }
    }
}

/// Who answers: the service, or a model of it in tests.
pub(super) trait Api: Send + Sync + 'static {
    /// Sends a request; the answer may have any status.
    fn call(&self, operation: Operation, body: Payload) -> BoxFuture<'_, Result<Response, AwsError>>;

    /// What to do about a denial, if the answer is one.
    fn help<'a>(&'a self, _operation: Operation, _answer: &'a Response) -> BoxFuture<'a, Option<String>> {
        Box::pin(async { None })
    }
}

/// Calls, and reads the answer.
pub(super) async fn ask(api: &dyn Api, operation: Operation, body: impl Into<Payload>) -> Answer {
    let answer = api.call(operation, body.into()).await;
    let help = match &answer {
        Ok(answer) => api.help(operation, answer).await,
        Err(_) => None,
    };
    match (Answer::read(answer), help) {
        (Answer::Denied(mut why), Some(help)) => {
            why.text.push_str("; ");
            why.text.push_str(&help);
            Answer::Denied(why)
        }
        (answer, _) => answer,
    }
}

/// The service itself.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) client: AwsClient,
    /// `log_format`, as header `x-amzn-logs-format`.
    pub(super) format: Option<HeaderValue>,
    /// A request that certainly did not arrive is sent a second time at once.
    pub(super) second_try: bool,
}

impl Api for Remote {
    fn call(&self, operation: Operation, body: Payload) -> BoxFuture<'_, Result<Response, AwsError>> {
        Box::pin(async move {
            let mut headers = vec![
                (
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("application/x-amz-json-1.1"),
                ),
                (
                    HeaderName::from_static("x-amz-target"),
                    HeaderValue::from_static(operation.target()),
                ),
            ];
            if let (Operation::PutLogEvents, Some(format)) = (operation, &self.format) {
                headers.push((HeaderName::from_static("x-amzn-logs-format"), format.clone()));
            }
            let request = Request {
                method: Method::POST,
                target: "/".to_owned(),
                headers,
                body: body.bytes,
            };
            match self.client.send_hashed(request.clone(), body.hash.clone()).await {
                Err(error @ AwsError::Http(_)) if self.second_try && !error.is_ambiguous() => {
                    self.client.send_hashed(request, body.hash).await
                }
                answer => answer,
            }
        })
    }

    fn help<'a>(&'a self, operation: Operation, answer: &'a Response) -> BoxFuture<'a, Option<String>> {
        Box::pin(async move {
            let action = Service::LOGS.action(operation.target());
            aws::help(&self.client, answer, action.as_deref(), None).await
        })
    }
}

/// What an answer means.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// It is done. For `PutLogEvents`: but for these events.
    Done(Rejected),
    /// What should be created is there.
    Exists,
    /// The group or stream is not there.
    Missing(Cause),
    /// The role may not do it.
    Denied(Cause),
    /// Anything else, as all AWS outputs read it.
    Other(Judgement),
}

/// Events of a request that the service did not take, for their times: `0..old`, of which `0..expired` are
/// older than the group keeps them, and `new..`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rejected {
    pub(super) old: usize,
    pub(super) expired: usize,
    pub(super) new: usize,
}

impl Rejected {
    pub(super) const NONE: Self = Self {
        old: 0,
        expired: 0,
        new: usize::MAX,
    };

    /// From the body of a success.
    fn read(body: &[u8]) -> Self {
        let read = || {
            let mut raw = Vec::new();
            json::to_msgpack(body, &mut raw).ok()?;
            let info = Accessor::key("rejectedLogEventsInfo").lookup(raw.as_slice())?;
            let index = |key: &str| match msgpack::read(Accessor::key(key).lookup(info)?)?.0 {
                Token::Int(index) => usize::try_from(index).ok(),
                _ => None,
            };
            Some(Self {
                old: index("tooOldLogEventEndIndex").unwrap_or(0),
                expired: index("expiredLogEventEndIndex").unwrap_or(0),
                new: index("tooNewLogEventStartIndex").unwrap_or(usize::MAX),
            })
        };
        read().unwrap_or(Self::NONE)
    }

    /// Whether the event at `index` was left out.
    pub(super) fn holds(self, index: usize) -> bool {
        index < self.old.max(self.expired) || index >= self.new
    }
}

impl Answer {
    /// Reads what came of a call.
    pub(super) fn read(answer: Result<Response, AwsError>) -> Self {
        let response = match answer {
            Ok(response) => response,
            Err(error) => return Self::Other(Judgement::Unavailable(aws_cause(&error))),
        };
        let headers: Vec<_> = response
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        let plain = HttpResponse {
            status: response.status,
            headers: &headers,
            body: &response.body,
        };
        if let Some(failure) = aws::failure(&plain) {
            return Self::failed(&failure);
        }
        if !response.headers.contains_key("x-amzn-requestid") {
            // A captive portal, or a proxy that strips headers.
            let text = "an answer came that is not from CloudWatch Logs: it has no request id";
            return Self::Other(Judgement::Unavailable(Cause::ambiguous(
                CauseKind::Protocol,
                text,
            )));
        }
        Self::Done(Rejected::read(&response.body))
    }

    fn failed(failure: &Failure) -> Self {
        let cause = |kind| Cause::new(kind, format!("CloudWatch Logs answered {failure}"));
        match (failure.code.as_str(), failure.class) {
            ("ResourceAlreadyExistsException", _) => Self::Exists,
            // Of the time when streams had sequence tokens: these events are there.
            ("DataAlreadyAcceptedException", _) => Self::Done(Rejected::NONE),
            // Two calls at once; a token that nobody asked for.
            ("OperationAbortedException" | "InvalidSequenceTokenException", _) => {
                Self::Other(Judgement::Unavailable(cause(CauseKind::Unavailable)))
            }
            (_, Class::Missing) => Self::Missing(cause(CauseKind::Unavailable)),
            (_, Class::Denied) => Self::Denied(cause(CauseKind::Auth)),
            _ => Self::Other(aws::judgement(&Service::LOGS, failure)),
        }
    }
}

/// For the fuzz target `answers`: no answer panics, and only a success leaves events out.
pub(crate) fn fuzz_answer(answer: Response) {
    let is_success = (200..300).contains(&answer.status);
    match Answer::read(Ok(answer)) {
        Answer::Done(rejected) => {
            assert!(is_success || rejected == Rejected::NONE, "{rejected:?}");
            let (from, to) = (rejected.old.max(rejected.expired), rejected.new);
            for index in [0, from.saturating_sub(1), from, to, usize::MAX] {
                assert_eq!(rejected.holds(index), index < from || index >= to);
            }
        }
        Answer::Exists | Answer::Missing(_) | Answer::Denied(_) => assert!(!is_success),
        Answer::Other(judgement) => assert!(judgement != Judgement::Accepted, "nothing was read as done"),
    }
}
