//! CloudWatch Logs as a value: the operations that are called, with all limits of the API reference. What
//! breaks one is refused as the service does, and noted, since it must never happen.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use bytes::Bytes;
use firelane_core::BoxFuture;
use firelane_net::aws::AwsError;
use firelane_net::{HeaderMap, HeaderValue, HttpError, Response};
use serde_json::{Value, json};

use super::api::{Api, Operation, Payload};

const HOUR: i64 = 3600 * 1000;
const DAY: i64 = 24 * HOUR;
/// What the service calls "now".
pub(super) const NOW: i64 = 1_700_000_000_000;

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// An error, nothing is done.
    Status(u16, &'static str),
    /// It is done, the answer is lost.
    Lost,
    /// It does not arrive.
    Unsent,
    /// Something else answers 200.
    Stranger,
}

#[derive(Debug, Default)]
pub(super) struct LogGroup {
    pub(super) streams: BTreeMap<String, Vec<(i64, String)>>,
    pub(super) retention: Option<i64>,
    pub(super) class: Option<String>,
    pub(super) tags: Option<Value>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) groups: HashMap<String, LogGroup>,
    /// Calls in order.
    pub(super) calls: Vec<Operation>,
    /// What broke a limit.
    pub(super) violations: Vec<String>,
    /// Faults by operation and how many calls of it went before.
    pub(super) faults: Vec<(Operation, usize, Fault)>,
}

/// The service.
#[derive(Debug, Default)]
pub(super) struct Model(Mutex<State>);

type Failure = (u16, &'static str, String);

impl Model {
    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// With a group, and perhaps a stream of it.
    pub(super) fn with(group: &str, stream: Option<&str>) -> Self {
        let model = Self::default();
        let mut made = LogGroup::default();
        made.streams
            .extend(stream.map(|stream| (stream.to_owned(), Vec::new())));
        model.state().groups.insert(group.to_owned(), made);
        model
    }

    pub(super) fn fault(self, operation: Operation, nth: usize, fault: Fault) -> Self {
        self.state().faults.push((operation, nth, fault));
        self
    }

    /// The events of a stream, as they came.
    pub(super) fn events(&self, group: &str, stream: &str) -> Vec<(i64, String)> {
        let state = self.state();
        state.groups[group].streams[stream].clone()
    }

    fn answer(&self, operation: Operation, body: &[u8]) -> Result<Response, AwsError> {
        let mut state = self.state();
        let nth = state.calls.iter().filter(|call| **call == operation).count();
        state.calls.push(operation);
        let at = state
            .faults
            .iter()
            .position(|fault| (fault.0, fault.1) == (operation, nth));
        let fault = at.map(|at| state.faults.remove(at).2);
        let endpoint = "model".to_owned();
        match fault {
            Some(Fault::Status(status, code)) => return Ok(failed(&(status, code, "scripted".to_owned()))),
            Some(Fault::Stranger) => return Ok(response(200, "<html>", false)),
            Some(Fault::Unsent) => {
                let reason = "scripted".to_owned();
                return Err(HttpError::Unsent { endpoint, reason }.into());
            }
            Some(Fault::Lost) | None => {}
        }
        let done = state.execute(operation, body);
        if let Err((400, "InvalidParameterException", why)) = &done {
            state.violations.push(why.clone());
        }
        match (fault, done) {
            (Some(_), _) => Err(HttpError::Lost {
                endpoint,
                reason: "scripted".to_owned(),
            }
            .into()),
            (None, Ok(body)) => Ok(response(200, &body.to_string(), true)),
            (None, Err(failure)) => Ok(failed(&failure)),
        }
    }
}

impl Api for std::sync::Arc<Model> {
    fn call(&self, operation: Operation, body: Payload) -> BoxFuture<'_, Result<Response, AwsError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.answer(operation, &body.bytes)
        })
    }
}

fn response(status: u16, body: &str, is_service: bool) -> Response {
    let mut headers = HeaderMap::new();
    if is_service {
        headers.insert("x-amzn-requestid", HeaderValue::from_static("00000000-model"));
    }
    Response {
        status,
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
        is_cut: false,
    }
}

fn failed((status, code, message): &Failure) -> Response {
    let body = json!({"__type": format!("com.amazonaws.logs#{code}"), "message": message});
    response(*status, &body.to_string(), true)
}

fn invalid(why: impl Into<String>) -> Failure {
    (400, "InvalidParameterException", why.into())
}

fn missing(what: &str) -> Failure {
    (
        400,
        "ResourceNotFoundException",
        format!("The specified {what} does not exist."),
    )
}

fn exists() -> Failure {
    (400, "ResourceAlreadyExistsException", "it is there".to_owned())
}

fn text<'b>(body: &'b Value, key: &str) -> Result<&'b str, Failure> {
    body[key].as_str().ok_or_else(|| invalid(format!("no `{key}`")))
}

fn group_name(body: &Value) -> Result<&str, Failure> {
    let name = text(body, "logGroupName")?;
    let good = |c: char| c.is_ascii_alphanumeric() || "_/.#-".contains(c);
    match name.chars().count() {
        1..=512 if name.chars().all(good) => Ok(name),
        _ => Err(invalid(format!("group name {name:?}"))),
    }
}

fn stream_name(body: &Value) -> Result<&str, Failure> {
    let name = text(body, "logStreamName")?;
    match name.chars().count() {
        1..=512 if !name.contains([':', '*']) => Ok(name),
        _ => Err(invalid(format!("stream name {name:?}"))),
    }
}

impl State {
    fn execute(&mut self, operation: Operation, body: &[u8]) -> Result<Value, Failure> {
        let body: Value = serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))?;
        let group = group_name(&body)?;
        match operation {
            Operation::CreateLogGroup => {
                if self.groups.contains_key(group) {
                    return Err(exists());
                }
                let made = LogGroup {
                    class: body["logGroupClass"].as_str().map(ToOwned::to_owned),
                    tags: body.get("tags").cloned(),
                    ..LogGroup::default()
                };
                self.groups.insert(group.to_owned(), made);
                Ok(json!({}))
            }
            Operation::CreateLogStream => {
                let stream = stream_name(&body)?;
                let group = self.groups.get_mut(group).ok_or_else(|| missing("log group"))?;
                if group.streams.contains_key(stream) {
                    return Err(exists());
                }
                group.streams.insert(stream.to_owned(), Vec::new());
                Ok(json!({}))
            }
            Operation::PutRetentionPolicy => {
                let group = self.groups.get_mut(group).ok_or_else(|| missing("log group"))?;
                group.retention = body["retentionInDays"].as_i64();
                Ok(json!({}))
            }
            Operation::PutLogEvents => {
                let stream = stream_name(&body)?;
                let events = checked(&body)?;
                let group = self.groups.get_mut(group).ok_or_else(|| missing("log group"))?;
                let kept = group.retention;
                let stream = group
                    .streams
                    .get_mut(stream)
                    .ok_or_else(|| missing("log stream"))?;
                Ok(store(stream, events, kept))
            }
        }
    }
}

/// The events of a request, if it keeps every limit.
fn checked(body: &Value) -> Result<Vec<(i64, String)>, Failure> {
    let list = body["logEvents"]
        .as_array()
        .ok_or_else(|| invalid("no `logEvents`"))?;
    if !(1..=10_000).contains(&list.len()) {
        return Err(invalid(format!("{} events", list.len())));
    }
    let mut events: Vec<(i64, String)> = Vec::new();
    let mut counted = 0;
    for event in list {
        let time = event["timestamp"].as_i64().filter(|time| *time >= 0);
        let time = time.ok_or_else(|| invalid(format!("time {}", event["timestamp"])))?;
        let message = text(event, "message")?;
        if message.is_empty() || message.len() + 26 > 1_048_576 {
            return Err(invalid(format!("a message of {} bytes", message.len())));
        }
        if events.last().is_some_and(|(last, _)| *last > time) {
            return Err(invalid(
                "Log events in a single PutLogEvents request must be in chronological order.",
            ));
        }
        counted += message.len() + 26;
        events.push((time, message.to_owned()));
    }
    if counted > 1_048_576 {
        return Err(invalid(format!(
            "Upload too large: {counted} bytes exceeds limit of 1048576"
        )));
    }
    let span = events.last().map_or(0, |last| last.0) - events.first().map_or(0, |first| first.0);
    if span >= DAY {
        return Err(invalid(format!("a span of {span} ms")));
    }
    Ok(events)
}

/// Whether the service leaves out an event of that time, in a group that keeps events for so many days.
pub(super) fn is_left_out(time: i64, kept: Option<i64>) -> bool {
    !(NOW - 14 * DAY..=NOW + 2 * HOUR).contains(&time) || kept.is_some_and(|days| time < NOW - days * DAY)
}

/// Stores what is neither too old nor too new, and answers as the service does.
fn store(stream: &mut Vec<(i64, String)>, events: Vec<(i64, String)>, kept: Option<i64>) -> Value {
    let count = |is_out: &dyn Fn(i64) -> bool| events.iter().filter(|event| is_out(event.0)).count();
    let old = count(&|time| time < NOW - 14 * DAY);
    let expired = kept.map_or(0, |days| count(&|time| time < NOW - days * DAY));
    let new = count(&|time| time > NOW + 2 * HOUR);
    let mut info = serde_json::Map::new();
    if old > 0 {
        info.insert("tooOldLogEventEndIndex".to_owned(), json!(old));
    }
    if expired > 0 {
        info.insert("expiredLogEventEndIndex".to_owned(), json!(expired));
    }
    if new > 0 {
        info.insert("tooNewLogEventStartIndex".to_owned(), json!(events.len() - new));
    }
    stream.extend(events.into_iter().filter(|event| !is_left_out(event.0, kept)));
    if info.is_empty() {
        json!({"nextSequenceToken": "1"})
    } else {
        json!({"nextSequenceToken": "1", "rejectedLogEventsInfo": info})
    }
}
