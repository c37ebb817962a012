//! The only HTTP send loop: encodes a chunk, sends its requests one after the other, adds up what became of
//! them.
//!
//! A request that got no answer, or "not now", ends the round: what was not sent yet waits for the retry too.
//! Refused records never hold back the others. Where the output keeps an order ([`Order::PerStream`]),
//! records that must be sent again hold back what follows them. An answer that was lost after the whole
//! request went out makes the retry ambiguous. Deadlines are the client's ([`HttpClient`]), or shorter.

use std::sync::Arc;
use std::time::Duration;

use firelane_core::{
    BoxFuture, Cause, CauseKind, Chunk, DeliverCx, GroupBy, HttpOutput, HttpRequest, HttpResponse, Judgement,
    Limits, Order, Outcome, Output, Uncovered,
};
use firelane_net::aws::{AwsClient, AwsError, BodyHash};
use firelane_net::{HeaderName, HeaderValue, HttpClient, HttpError, Method, Request, Response};
use firelane_record::set::RecordSet;
use tracing::debug;

use crate::aws;

/// An output over HTTP as an [`Output`].
pub struct Http<T> {
    output: Arc<T>,
    sender: Sender,
    request_timeout: Option<Duration>,
}

/// How requests are sent.
enum Sender {
    Plain(HttpClient),
    /// With a signature of AWS.
    Signed(AwsClient),
}

impl<T: HttpOutput> Http<T> {
    /// Sends what `output` encodes through `client`.
    pub fn new(output: T, client: HttpClient) -> Self {
        Self {
            output: Arc::new(output),
            sender: Sender::Plain(client),
            request_timeout: None,
        }
    }

    /// Sends what `output` encodes through `client`, signed.
    pub fn signed(output: T, client: AwsClient) -> Self {
        Self {
            output: Arc::new(output),
            sender: Sender::Signed(client),
            request_timeout: None,
        }
    }

    /// Longest time for a whole request, from the connection to the end of the answer.
    #[must_use]
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = Some(limit);
        self
    }

    async fn send_all(&self, chunk: Chunk, cx: DeliverCx) -> Outcome {
        let output = self.output.clone();
        let signed = matches!(self.sender, Sender::Signed(_));
        // The hash is made beside the body, while that is in the processor's cache.
        let encode = move |chunk: &Chunk| {
            let requests = output.encode(chunk);
            let hash = |request: &HttpRequest| signed.then(|| BodyHash::of(&request.body));
            let hashes: Vec<_> = requests.iter().map(hash).collect();
            (requests, hashes)
        };
        let Some((requests, hashes)) = cx.encode(&chunk, encode).await else {
            return Outcome::retry(Cause::new(CauseKind::Panic, "the encoder panicked"));
        };
        let mut tally = Tally::new(&requests, chunk.records(), self.output.limits().order);
        tally.refuse_uncovered(|records| self.output.uncovered(&chunk, records));
        for (request, hash) in requests.into_iter().zip(hashes) {
            let judgement = match self.send(&request, hash, &cx).await {
                Ok(judgement) => judgement,
                Err(cause) => Judgement::Unavailable(cause),
            };
            if !tally.take(&request.covers, judgement) {
                break;
            }
        }
        tally.outcome()
    }

    async fn send(
        &self,
        request: &HttpRequest,
        hash: Option<BodyHash>,
        cx: &DeliverCx,
    ) -> Result<Judgement, Cause> {
        let sending = self.sender.send(message(request), hash);
        let answer = match self.request_timeout {
            None => sending.await?,
            Some(limit) => match tokio::time::timeout(limit, sending).await {
                Ok(answer) => answer?,
                Err(_) => return Err(self.too_late(limit)),
            },
        };
        let headers: Vec<_> = answer
            .headers
            .iter()
            .map(|(name, value)| owned(name, value))
            .collect();
        let response = HttpResponse {
            status: answer.status,
            headers: &headers,
            body: &answer.body,
        };
        let (status, bytes) = (answer.status, request.body.len());
        let endpoint = self.sender.place();
        debug!(target: "output", instance = %cx.name, endpoint, status, bytes, "answered");
        let judgement = self.output.judge(request, &response);
        match self.sender.help(request, &answer).await {
            Some(help) => Ok(explained(judgement, &help)),
            None => Ok(judgement),
        }
    }

    /// The request may have arrived.
    fn too_late(&self, limit: Duration) -> Cause {
        let text = format!(
            "{}: no answer within {} s",
            self.sender.place(),
            limit.as_secs_f32()
        );
        Cause::ambiguous(CauseKind::Timeout, text)
    }
}

impl Sender {
    async fn send(&self, request: Request, hash: Option<BodyHash>) -> Result<Response, Cause> {
        match self {
            Self::Plain(client) => client.send(request).await.map_err(|error| cause(&error)),
            Self::Signed(client) => {
                let answer = client.send_hashed(request, hash).await;
                answer.map_err(|error| aws_cause(&error))
            }
        }
    }

    /// What to do about a denial.
    async fn help(&self, request: &HttpRequest, answer: &Response) -> Option<String> {
        let Self::Signed(client) = self else { return None };
        let mut headers = request.headers.iter();
        let target = headers.find(|(name, _)| name.eq_ignore_ascii_case("x-amz-target"));
        let action = target.and_then(|(_, target)| client.service().action(target));
        aws::help(client, answer, action.as_deref(), None).await
    }

    fn place(&self) -> String {
        match self {
            Self::Plain(client) => client.endpoint().to_string(),
            Self::Signed(client) => client.service().title.to_owned(),
        }
    }
}

impl<T: HttpOutput> Output for Http<T> {
    fn limits(&self) -> Limits {
        self.output.limits()
    }

    fn group_by(&self) -> GroupBy {
        self.output.group_by()
    }

    fn deliver(&self, chunk: Chunk, cx: DeliverCx) -> BoxFuture<'_, Outcome> {
        Box::pin(self.send_all(chunk, cx))
    }
}

/// A judgement with what to do about a denial.
fn explained(mut judgement: Judgement, help: &str) -> Judgement {
    match &mut judgement {
        Judgement::Partial { why, .. }
        | Judgement::Throttled { why, .. }
        | Judgement::Unavailable(why)
        | Judgement::Refused(why) => {
            why.text.push_str("; ");
            why.text.push_str(help);
        }
        Judgement::Accepted => {}
    }
    judgement
}

/// The request in the client's words. Header names and values that HTTP cannot carry were refused when the
/// output was built; those that come from records are left out here.
fn message(request: &HttpRequest) -> Request {
    let header = |(name, value): &(String, String)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    Request {
        method: Method::from_bytes(request.method.as_bytes()).unwrap_or(Method::POST),
        target: request.target.clone(),
        headers: request.headers.iter().filter_map(header).collect(),
        body: request.body.clone(),
    }
}

fn owned(name: &HeaderName, value: &HeaderValue) -> (String, String) {
    (
        name.as_str().to_owned(),
        String::from_utf8_lossy(value.as_bytes()).into_owned(),
    )
}

/// Why there was no answer to a signed request.
pub(crate) fn aws_cause(error: &AwsError) -> Cause {
    match error {
        AwsError::Http(error) => cause(error),
        other => Cause::new(CauseKind::Auth, other.to_string()),
    }
}

fn cause(error: &HttpError) -> Cause {
    let kind = match error {
        HttpError::Timeout { .. } => CauseKind::Timeout,
        HttpError::Protocol { .. } | HttpError::Target { .. } => CauseKind::Protocol,
        HttpError::Lost { .. } => CauseKind::Unavailable,
        _ => CauseKind::Connect,
    };
    Cause {
        kind,
        text: error.to_string(),
        ambiguous: error.is_ambiguous(),
    }
}

/// What became of the requests of one chunk.
#[derive(Debug)]
struct Tally {
    total: u32,
    order: Order,
    done: RecordSet,
    refused: RecordSet,
    refusal: Option<Cause>,
    after: Option<Duration>,
    failure: Option<Cause>,
}

impl Tally {
    fn new(requests: &[HttpRequest], total: u32, order: Order) -> Self {
        let mut covered = RecordSet::none();
        for request in requests {
            add(&mut covered, &request.covers, total);
        }
        Self {
            total,
            order,
            done: RecordSet::none(),
            refused: covered.complement(total),
            refusal: None,
            after: None,
            failure: None,
        }
    }

    /// Records that no request carries are refused, but for those that `ask` says need none.
    fn refuse_uncovered(&mut self, ask: impl FnOnce(&RecordSet) -> Uncovered) {
        if self.refused.is_none() {
            return;
        }
        let Uncovered { done, why } = ask(&self.refused);
        add(&mut self.done, &done, self.total);
        let left = self.refused.complement(self.total).union(&done);
        self.refused = left.complement(self.total);
        let count = self.refused.count(self.total);
        if count > 0 {
            let text = why.unwrap_or_else(|| format!("{count} records have nothing that could be sent"));
            self.refusal = Some(Cause::new(CauseKind::Refused, text));
        }
    }

    /// Notes an answer; says whether to go on with the next request.
    fn take(&mut self, covers: &RecordSet, judgement: Judgement) -> bool {
        match judgement {
            Judgement::Accepted => add(&mut self.done, covers, self.total),
            Judgement::Partial { again, refused, why } => {
                let kept = covers.complement(self.total).union(&again).union(&refused);
                add(&mut self.done, &kept.complement(self.total), self.total);
                add(&mut self.refused, &refused, self.total);
                if again.is_none() {
                    self.refusal.get_or_insert(why);
                } else {
                    self.failure.get_or_insert(why);
                    return self.order == Order::Any;
                }
            }
            Judgement::Refused(why) => {
                add(&mut self.refused, covers, self.total);
                self.refusal.get_or_insert(why);
            }
            Judgement::Throttled { after, why } => {
                self.after = after;
                self.failure = Some(why);
                return false;
            }
            Judgement::Unavailable(why) => {
                self.failure = Some(why);
                return false;
            }
        }
        true
    }

    fn outcome(self) -> Outcome {
        match (self.failure, self.refusal) {
            (Some(why), _) => Outcome::Retry {
                done: self.done,
                refused: self.refused,
                after: self.after,
                why,
            },
            (None, Some(why)) => Outcome::Discard {
                records: self.refused,
                why,
            },
            (None, None) => Outcome::Delivered,
        }
    }
}

/// Adds `more`; a chunk may have as many requests as records, so each costs only what it covers.
fn add(set: &mut RecordSet, more: &RecordSet, total: u32) {
    for (from, to, inside) in more.runs(0, total) {
        if inside {
            set.insert_range(from..to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn requests(covers: &[(u32, u32)]) -> Vec<HttpRequest> {
        let request = |&(from, to): &(u32, u32)| HttpRequest {
            method: "POST",
            target: "/".to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            covers: RecordSet::range(from, to),
            units: Vec::new(),
        };
        covers.iter().map(request).collect()
    }

    fn why(text: &str) -> Cause {
        Cause::new(CauseKind::Unavailable, text)
    }

    #[track_caller]
    fn check(covers: &[(u32, u32)], answers: Vec<Judgement>, want: &Outcome) {
        check_in(Order::Any, covers, answers, want);
    }

    #[track_caller]
    fn check_in(order: Order, covers: &[(u32, u32)], answers: Vec<Judgement>, want: &Outcome) {
        let requests = requests(covers);
        let mut tally = Tally::new(&requests, 10, order);
        tally.refuse_uncovered(|_| Uncovered {
            done: RecordSet::range(8, 9),
            why: None,
        });
        for (request, answer) in requests.iter().zip(answers) {
            if !tally.take(&request.covers, answer) {
                break;
            }
        }
        assert_eq!(&tally.outcome(), want);
    }

    #[test]
    fn outcomes_add_up() {
        check(&[(0, 10)], vec![Judgement::Accepted], &Outcome::Delivered);
        check(
            &[(0, 4), (4, 10)],
            vec![Judgement::Refused(why("no")), Judgement::Accepted],
            &Outcome::Discard {
                records: RecordSet::range(0, 4),
                why: why("no"),
            },
        );
        let throttled = Judgement::Throttled {
            after: Some(Duration::from_secs(3)),
            why: why("slow"),
        };
        check(
            &[(0, 4), (4, 6), (6, 10)],
            vec![Judgement::Accepted, throttled, Judgement::Accepted],
            &Outcome::Retry {
                done: RecordSet::range(0, 4),
                refused: RecordSet::none(),
                after: Some(Duration::from_secs(3)),
                why: why("slow"),
            },
        );
        check(
            &[(0, 5), (5, 10)],
            vec![
                Judgement::Partial {
                    again: RecordSet::range(1, 2),
                    refused: RecordSet::range(2, 3),
                    why: why("one"),
                },
                Judgement::Refused(why("two")),
            ],
            &Outcome::Retry {
                done: RecordSet::range(1, 3)
                    .union(&RecordSet::range(5, 10))
                    .complement(10),
                refused: RecordSet::range(2, 3).union(&RecordSet::range(5, 10)),
                after: None,
                why: why("one"),
            },
        );
    }

    /// Guarantees: in order, nothing behind a record that must be sent again goes out before it.
    #[test]
    fn what_failed_holds_back_the_rest_where_order_is_kept() {
        let partial = || Judgement::Partial {
            again: RecordSet::range(1, 2),
            refused: RecordSet::none(),
            why: why("one"),
        };
        let outcome = |done| Outcome::Retry {
            done,
            refused: RecordSet::none(),
            after: None,
            why: why("one"),
        };
        let covers = [(0, 5), (5, 10)];
        let (first, all) = (
            RecordSet::from_iter([0..1, 2..5]),
            RecordSet::from_iter([0..1, 2..10]),
        );
        let answers = || vec![partial(), Judgement::Accepted];
        check_in(Order::PerStream, &covers, answers(), &outcome(first));
        check_in(Order::Any, &covers, answers(), &outcome(all));
    }

    #[test]
    fn markers_need_no_request() {
        check(
            &[(0, 8), (9, 10)],
            vec![Judgement::Accepted; 2],
            &Outcome::Delivered,
        );
        check(
            &[(0, 7)],
            vec![Judgement::Accepted],
            &Outcome::Discard {
                records: RecordSet::from_iter([7..8, 9..10]),
                why: Cause::new(CauseKind::Refused, "2 records have nothing that could be sent"),
            },
        );
    }

    #[test]
    fn records_without_a_request_are_refused() {
        check(
            &[(0, 9)],
            vec![Judgement::Accepted],
            &Outcome::Discard {
                records: RecordSet::range(9, 10),
                why: Cause::new(CauseKind::Refused, "1 records have nothing that could be sent"),
            },
        );
    }

    /// An output of one request per chunk.
    struct One;

    impl HttpOutput for One {
        fn limits(&self) -> Limits {
            Limits::default()
        }

        fn encode(&self, _chunk: &Chunk) -> Vec<HttpRequest> {
            requests(&[(0, u32::MAX)])
        }

        fn judge(&self, _request: &HttpRequest, _response: &HttpResponse<'_>) -> Judgement {
            Judgement::Accepted
        }
    }

    #[tokio::test]
    async fn a_request_ends_at_its_own_limit() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let endpoint = firelane_net::Endpoint::tcp("127.0.0.1", port);
        let client = HttpClient::new(endpoint, None, &firelane_net::NetConfig::default(), None).unwrap();
        let http = Http::new(One, client).request_timeout(Duration::from_millis(50));
        let (_source, stop) = firelane_core::StopSource::new();
        let cx = DeliverCx {
            name: "one.0".into(),
            attempt: 0,
            stop,
            counts: Arc::default(),
        };
        let outcome = http.deliver(Chunk::new(Vec::new()), cx).await;
        let Outcome::Retry { why, .. } = outcome else {
            panic!("{outcome:?}");
        };
        assert!(why.ambiguous && why.kind == CauseKind::Timeout, "{why:?}");
        assert!(why.text.ends_with("no answer within 0.05 s"), "{why}");
    }
}
