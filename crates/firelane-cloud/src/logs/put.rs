//! `PutLogEvents`: checked in one pass, without a tree of values; messages go unescaped into the block that
//! is stored.
//!
//! Refused as a whole: more than 10,000 events, 1,048,576 bytes counting 26 for each event, an event above
//! that, times out of order, a span over 24 hours. Rejected one by one, told by their index: older than 14
//! days or than the retention, more than 2 hours ahead.

use std::sync::Arc;

use firelane_record::json::RawString;
use serde_json::{Value, json};

use super::streams::sequence_token;
use super::{GROUP, STREAM, invalid, make_group, make_stream, no_group, no_stream};
use crate::cloud::{Answer, Call, Inner, ok};
use crate::error::ApiError;
use crate::params::{absent, fault, validation};
use crate::service::Service;
use crate::store::State;
use crate::store::block::Batch;
use crate::store::series::SeriesId;
use crate::wire::Reader;

/// Most events of a request.
const EVENTS_MAX: usize = 10_000;
/// Most bytes of a request.
const BYTES_MAX: usize = 1_048_576;
/// Bytes that count for each event beside its message.
const EVENT_OVERHEAD: usize = 26;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Bodies above this are read on the blocking pool.
const LARGE: usize = 64 << 10;

/// A request as it stands in its body.
#[derive(Debug, Default)]
struct Request<'a> {
    group: Option<String>,
    stream: Option<String>,
    /// At most one more than is allowed.
    events: Option<Vec<Event<'a>>>,
    count: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Event<'a> {
    time: Option<i64>,
    message: Option<RawString<'a>>,
}

/// Events that may be stored, and what was rejected.
#[derive(Debug)]
struct Checked {
    batch: Batch,
    rejected: Rejected,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Rejected {
    too_old_end: Option<usize>,
    expired_end: Option<usize>,
    too_new_start: Option<usize>,
}

pub(super) async fn put(cloud: &Arc<Inner>, call: Call) -> Answer {
    let Call { body, now, .. } = call;
    if body.len() <= LARGE {
        let (place, checked) = prepare(cloud, &body, now)?;
        return store(cloud, place, checked).await;
    }
    let inner = cloud.clone();
    let prepared = tokio::task::spawn_blocking(move || prepare(&inner, &body, now)).await;
    let (place, checked) = prepared.map_err(|error| ApiError::internal(Service::Logs, &error))??;
    store(cloud, place, checked).await
}

/// Reads, finds the stream, checks.
fn prepare(cloud: &Inner, body: &[u8], now: i64) -> Result<(Place, Checked), ApiError> {
    let request = read(body)?;
    let (group, stream) = validate(&request)?;
    let place = Place { group, stream, now };
    let retention = place.retention(cloud)?;
    let checked = check(&request.events.unwrap_or_default(), body.len(), now, retention)?;
    Ok((place, checked))
}

/// Where events go.
#[derive(Debug)]
struct Place {
    group: String,
    stream: String,
    now: i64,
}

impl Place {
    /// The group's retention in days; an error where group or stream are missing and are not made.
    fn retention(&self, cloud: &Inner) -> Result<Option<u32>, ApiError> {
        cloud
            .store
            .look(|state| match state.catalog.groups.get(&self.group) {
                Some(group) if group.streams.contains_key(&self.stream) || cloud.is_creating() => {
                    Ok(group.retention)
                }
                Some(_) => Err(no_stream()),
                None if cloud.is_creating() => Ok(None),
                None => Err(no_group()),
            })
    }

    /// The series of the stream; made where it is missing.
    async fn series(&self, cloud: &Inner) -> Result<SeriesId, ApiError> {
        let known = |state: &mut State| {
            let group = state.catalog.groups.get(&self.group)?;
            group.streams.get(&self.stream).map(|stream| stream.series)
        };
        if let Some(series) = cloud.store.look(known) {
            return Ok(series);
        }
        if !cloud.is_creating() {
            return Err(no_stream());
        }
        let change = |state: &mut State| {
            let tags = std::collections::BTreeMap::new();
            let group = make_group(state, &self.group, self.now, "STANDARD", None, tags);
            (group, make_stream(state, &self.group, &self.stream, self.now))
        };
        let (group_is_new, stream) = cloud.store.change(change).await;
        let (series, is_new) = stream.ok_or_else(no_group)?;
        if group_is_new {
            cloud.note_created("log group", &self.group);
        }
        if is_new {
            cloud.note_created("log stream", &format!("{}:{}", self.group, self.stream));
        }
        Ok(series)
    }
}

async fn store(cloud: &Inner, place: Place, checked: Checked) -> Answer {
    let Checked { batch, rejected } = checked;
    let series = place.series(cloud).await?;
    if batch.summary.count > 0 {
        let room = cloud.store.room(batch.bytes.len()).await;
        let room = room.map_err(|error| ApiError::internal(Service::Logs, &error))?;
        let stored = cloud.store.look(|state| state.append(series, batch, room));
        stored.ok_or_else(no_stream)?;
        cloud.store.appended();
    }
    let mut answer = json!({"nextSequenceToken": sequence_token(series)});
    if let Some(info) = rejected.info() {
        answer["rejectedLogEventsInfo"] = info;
    }
    ok(&answer)
}

fn read(body: &[u8]) -> Result<Request<'_>, ApiError> {
    let mut request = Request::default();
    let mut reader = Reader::new(body)?;
    reader.object(|reader, key| match key {
        b"logGroupName" => {
            request.group = Some(reader.text()?);
            Ok(())
        }
        b"logStreamName" => {
            request.stream = Some(reader.text()?);
            Ok(())
        }
        b"logEvents" => {
            let events = request.events.insert(Vec::new());
            let count = &mut request.count;
            *count = 0;
            reader.list(|reader| {
                let event = event(reader)?;
                *count += 1;
                if events.len() <= EVENTS_MAX {
                    events.push(event);
                }
                Ok(())
            })
        }
        _ => reader.skip(),
    })?;
    reader.end()?;
    Ok(request)
}

fn event<'a>(reader: &mut Reader<'a>) -> Result<Event<'a>, ApiError> {
    let mut event = Event::default();
    reader.object(|reader, key| {
        match key {
            b"timestamp" if !reader.null()? => event.time = Some(reader.integer()?),
            b"message" if !reader.null()? => event.message = Some(reader.string()?),
            b"timestamp" | b"message" => {}
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(event)
}

/// The group and the stream, if everything has the right form.
fn validate(request: &Request<'_>) -> Result<(String, String), ApiError> {
    let mut faults = Vec::new();
    for (name, value, rule) in [
        ("logGroupName", &request.group, GROUP),
        ("logStreamName", &request.stream, STREAM),
    ] {
        match value {
            None => faults.push(absent(name)),
            Some(value) => {
                let found = rule.faults(value);
                faults.extend(found.iter().map(|constraint| fault(name, value, constraint)));
            }
        }
    }
    match (&request.events, request.count) {
        (None, _) => faults.push(absent("logEvents")),
        (Some(_), 0) => {
            let constraint = "Member must have length greater than or equal to 1";
            faults.push(fault("logEvents", "[]", constraint));
        }
        (Some(_), count) if count > EVENTS_MAX => {
            let constraint = format!("Member must have length less than or equal to {EVENTS_MAX}");
            faults.push(fault("logEvents", &format!("[{count} events]"), &constraint));
        }
        (Some(events), _) => faults.extend(events.iter().enumerate().find_map(event_fault)),
    }
    validation(Service::Logs, faults)?;
    Ok((
        request.group.clone().unwrap_or_default(),
        request.stream.clone().unwrap_or_default(),
    ))
}

fn event_fault((index, event): (usize, &Event<'_>)) -> Option<String> {
    let member = |name: &str| format!("logEvents.{}.member.{name}", index + 1);
    match (event.time, event.message) {
        (None, _) => Some(absent(&member("timestamp"))),
        (Some(time), _) if time < 0 => {
            let constraint = "Member must have value greater than or equal to 0";
            Some(fault(&member("timestamp"), &time.to_string(), constraint))
        }
        (_, None) => Some(absent(&member("message"))),
        (_, Some(message)) if message.raw.is_empty() => {
            let constraint = "Member must have length greater than or equal to 1";
            Some(fault(&member("message"), "", constraint))
        }
        _ => None,
    }
}

fn check(events: &[Event<'_>], body: usize, now: i64, retention: Option<u32>) -> Result<Checked, ApiError> {
    let times = events.iter().map(|event| event.time.unwrap_or_default());
    if !times.clone().is_sorted() {
        return Err(invalid(
            "Log events in a single PutLogEvents request must be in chronological order.",
        ));
    }
    let span = times.clone().next_back().unwrap_or_default() - times.clone().next().unwrap_or_default();
    if span > DAY_MS {
        return Err(invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    let mut batch = Batch::with_capacity(body.min(BYTES_MAX + events.len() * crate::store::block::HEAD));
    let (mut bytes, mut rejected) = (0, Rejected::default());
    let mut scratch = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let (Some(time), Some(message)) = (event.time, event.message) else {
            continue;
        };
        let size = if rejected.note(index, time, now, retention) {
            scratch.clear();
            message.unescape_into(&mut scratch);
            scratch.len()
        } else {
            batch.push(time, now, b"", |out| message.unescape_into(out))
        };
        let size = size + EVENT_OVERHEAD;
        if size > BYTES_MAX {
            return Err(invalid(format!(
                "Log event too large: {size} bytes exceeds limit of {BYTES_MAX}"
            )));
        }
        bytes += size;
    }
    if bytes > BYTES_MAX {
        return Err(invalid(format!(
            "Upload too large: {bytes} bytes exceeds limit of {BYTES_MAX}"
        )));
    }
    Ok(Checked { batch, rejected })
}

impl Rejected {
    /// Whether the event is rejected. They come in the order of their times.
    fn note(&mut self, index: usize, time: i64, now: i64, retention: Option<u32>) -> bool {
        let expired = retention.is_some_and(|days| time < now - i64::from(days) * DAY_MS);
        if time < now - 14 * DAY_MS {
            self.too_old_end = Some(index + 1);
        } else if expired {
            self.expired_end = Some(index + 1);
        } else if time > now + 2 * HOUR_MS {
            self.too_new_start.get_or_insert(index);
        } else {
            return false;
        }
        true
    }

    fn info(self) -> Option<Value> {
        let mut info = json!({});
        for (name, value) in [
            ("tooOldLogEventEndIndex", self.too_old_end),
            ("expiredLogEventEndIndex", self.expired_end),
            ("tooNewLogEventStartIndex", self.too_new_start),
        ] {
            if let Some(value) = value {
                info[name] = json!(value);
            }
        }
        (self != Self::default()).then_some(info)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::block::records;

    const NOW: i64 = 1_767_323_045_678;

    fn body(events: &[(i64, String)]) -> Vec<u8> {
        let events: Vec<_> = events
            .iter()
            .map(|(timestamp, message)| json!({"timestamp": timestamp, "message": message}))
            .collect();
        json!({"logEvents": events, "logGroupName": "g", "logStreamName": "s"})
            .to_string()
            .into_bytes()
    }

    fn run(events: &[(i64, String)], retention: Option<u32>) -> Result<Checked, ApiError> {
        let body = body(events);
        let request = read(&body)?;
        validate(&request)?;
        check(&request.events.unwrap(), body.len(), NOW, retention)
    }

    #[track_caller]
    fn refused(events: &[(i64, String)], words: &str) {
        let error = run(events, None).unwrap_err();
        assert_eq!(error.code, "InvalidParameterException");
        assert!(error.message.contains(words), "{}", error.message);
    }

    #[test]
    fn what_aws_refuses_as_a_whole() {
        let x = || "x".to_string();
        refused(&[(NOW, x()), (NOW - 1, x())], "chronological order");
        refused(&[(NOW - DAY_MS - 1, x()), (NOW, x())], "span more than 24 hours");
        refused(
            &[(NOW, "x".repeat(BYTES_MAX - 25))],
            "Log event too large: 1048577 bytes exceeds limit of 1048576",
        );
        refused(
            &[(NOW, "x".repeat(700_000)), (NOW, "x".repeat(700_000))],
            "Upload too large",
        );
        refused(
            &vec![(NOW, x()); EVENTS_MAX + 1],
            "length less than or equal to 10000",
        );
        refused(&[], "length greater than or equal to 1");
        refused(&[(NOW, String::new())], "logEvents.1.member.message");
        refused(&[(-1, x())], "logEvents.1.member.timestamp");
        assert!(run(&[(NOW, "x".repeat(BYTES_MAX - 26))], None).is_ok());
        assert!(run(&vec![(NOW, x()); EVENTS_MAX], None).is_ok());
    }

    #[test]
    fn what_is_rejected_has_its_index() {
        let x = || "x".to_string();
        let old = NOW - 14 * DAY_MS - 1;
        let checked = run(&[(old, x()), (old + 1, x())], None).unwrap();
        assert_eq!(checked.rejected.too_old_end, Some(1));
        assert_eq!(checked.batch.summary.count, 1);
        let events = [
            (NOW - DAY_MS / 2 - 1, x()),
            (NOW, x()),
            (NOW + 2 * HOUR_MS + 1, x()),
        ];
        let checked = run(&events, Some(1)).unwrap();
        assert_eq!(
            checked.rejected.info().unwrap(),
            json!({"tooNewLogEventStartIndex": 2})
        );
        let checked = run(&[(NOW - DAY_MS - 1, x())], Some(1)).unwrap();
        assert_eq!(checked.rejected.expired_end, Some(1));
    }

    proptest! {
        /// Guarantees: what is taken is stored as it was sent, and the bytes that count are raw bytes plus
        /// 26 each.
        #[test]
        fn messages_are_kept_and_counted(
            messages in prop::collection::vec("\\PC{1,30}[\"\\\\\n]{0,3}", 1..60), scale in 0usize..3000,
        ) {
            let events: Vec<_> = messages
                .iter()
                .map(|message| (NOW, message.repeat(1 + scale / messages.len())))
                .collect();
            let bytes: usize = events.iter().map(|(_, message)| message.len() + 26).sum();
            match run(&events, None) {
                Ok(checked) => {
                    prop_assert!(bytes <= BYTES_MAX);
                    let stored = records(&checked.batch.bytes).map(|record| record.data.to_vec());
                    let sent = events.iter().map(|(_, message)| message.clone().into_bytes());
                    prop_assert_eq!(stored.collect::<Vec<_>>(), sent.collect::<Vec<_>>());
                }
                Err(error) => {
                    prop_assert!(bytes > BYTES_MAX, "{:?}", error);
                }
            }
        }
    }
}
