//! `GetLogEvents` and `FilterLogEvents`: pages of events by time.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::pattern::Pattern;
use super::{STREAM, find, group_name, invalid, no_stream};
use crate::cloud::{Answer, Cloud, Inner, ok};
use crate::error::ApiError;
use crate::params::{Params, Rule};
use crate::service::Service;
use crate::store::read::{Page, Place, Record, by_time};
use crate::store::series::{SeriesId, Source};

/// Most events, and bytes of them, in an answer.
const PAGE: Page = Page {
    records: 10_000,
    bytes: 1 << 20,
};

/// An event of a log stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The event's own time, in ms since the epoch.
    pub time_ms: i64,
    /// When it came, in ms since the epoch.
    pub arrived_ms: i64,
    /// The message.
    pub message: String,
}

impl Cloud {
    /// All events of a log stream, by their times; none where there is no such stream.
    ///
    /// # Errors
    /// The system's, where the data cannot be read.
    pub async fn log_events(&self, group: &str, stream: &str) -> std::io::Result<Vec<Event>> {
        let sources = self.0.store.look(|state| {
            let stream = state.catalog.groups.get(group)?.streams.get(stream)?;
            let series = state.series.get(&stream.series)?;
            Some(
                series
                    .sources()
                    .map(|source| (stream.series, source))
                    .collect::<Vec<_>>(),
            )
        });
        let all = Page {
            records: usize::MAX,
            bytes: usize::MAX,
        };
        let read = self.0.read(Service::Logs, move |frames| {
            by_time(frames, sources.unwrap_or_default(), all, false, |_, _| true)
        });
        let (records, _) = read.await.map_err(|error| std::io::Error::other(error.message))?;
        let event = |record: Record| Event {
            time_ms: record.place.time,
            arrived_ms: record.arrival,
            message: String::from_utf8_lossy(&record.data).into_owned(),
        };
        Ok(records.into_iter().map(event).collect())
    }
}

/// A time range; `to` is not part of it.
fn range(params: &mut Params) -> Result<(i64, i64), ApiError> {
    let from = params.number("startTime", 0, i64::MAX)?.unwrap_or(0);
    let to = params.number("endTime", 0, i64::MAX)?.unwrap_or(i64::MAX);
    Ok((from, to))
}

pub(super) async fn get(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let group = group_name(&mut params)?;
    let stream = params.required("logStreamName", STREAM)?;
    let (from, to) = range(&mut params)?;
    let limit = params.number("limit", 1, 10_000)?.unwrap_or(10_000) as usize;
    let token = params.text("nextToken", Rule::any(1, 2048))?;
    let from_head = params.flag("startFromHead")?.unwrap_or(false);
    params.flag("unmask")?;
    params.check()?;
    let bad = || invalid("The specified nextToken is invalid.");
    let token = token
        .map(|token| Token::read(&token).ok_or_else(bad))
        .transpose()?;
    let (id, sources) = cloud.store.look(|state| {
        let id = find(state, &group)?
            .streams
            .get(&stream)
            .ok_or_else(no_stream)?
            .series;
        let series = state.series.get(&id).ok_or_else(no_stream)?;
        let sources = series.sources_between(from, to);
        Ok::<_, ApiError>((id, sources))
    })?;
    let backwards = match &token {
        Some(token) => token.is_backward,
        None => !from_head,
    };
    let page = Page {
        records: limit,
        ..PAGE
    };
    let bound = token.map(|token| token.at);
    let wanted = move |place: &Place| {
        let at = (place.time, place.seq);
        let inside = place.time >= from && place.time < to;
        inside && bound.is_none_or(|bound| if backwards { at < bound } else { at >= bound })
    };
    let sources = sources.into_iter().map(|source| (id, source)).collect();
    let read = cloud.read(Service::Logs, move |frames| {
        by_time(frames, sources, page, backwards, |place, _| wanted(place))
    });
    let (mut records, _) = read.await?;
    if backwards {
        records.reverse();
    }
    // Without events both tokens stay where they were.
    let rest = bound.unwrap_or((from, 0));
    let first = records
        .first()
        .map_or(rest, |record| (record.place.time, record.place.seq));
    let last = records
        .last()
        .map_or(rest, |record| (record.place.time, record.place.seq + 1));
    let events: Vec<_> = records.iter().map(shown).collect();
    let token = |is_backward, at| Token { is_backward, at }.text();
    ok(&json!({
        "events": events,
        "nextForwardToken": token(false, last),
        "nextBackwardToken": token(true, first),
    }))
}

fn shown(record: &Record) -> Value {
    json!({
        "timestamp": record.place.time,
        "message": String::from_utf8_lossy(&record.data),
        "ingestionTime": record.arrival,
    })
}

/// `f/` or `b/`, then time and number: forwards from there on, backwards before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token {
    is_backward: bool,
    at: (i64, u64),
}

impl Token {
    fn text(self) -> String {
        let (time, seq) = self.at;
        let way = if self.is_backward { 'b' } else { 'f' };
        format!("{way}/3{:020}{seq:035}", time.max(0))
    }

    fn read(text: &str) -> Option<Self> {
        let is_backward = match text.get(..3)? {
            "f/3" => false,
            "b/3" => true,
            _ => return None,
        };
        let digits = text.get(3..).filter(|digits| digits.len() == 55)?;
        let (time, seq) = digits.split_at_checked(20)?;
        Some(Self {
            is_backward,
            at: (time.parse().ok()?, seq.parse().ok()?),
        })
    }
}

/// Which streams a search looks at.
struct Searched {
    names: HashMap<SeriesId, String>,
    sources: Vec<(SeriesId, Source)>,
}

pub(super) async fn filter(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let group = group_name(&mut params)?;
    let names = params.texts("logStreamNames", 100)?;
    let prefix = params.text("logStreamNamePrefix", STREAM)?;
    let (from, to) = range(&mut params)?;
    let pattern = params.text("filterPattern", Rule::any(0, 1024))?;
    let token = params.text("nextToken", Rule::any(1, 2048))?;
    let limit = params.number("limit", 1, 10_000)?.unwrap_or(10_000) as usize;
    params.flag("interleaved")?;
    params.flag("unmask")?;
    params.check()?;
    if names.is_some() && prefix.is_some() {
        return Err(invalid(
            "Parameters logStreamNames and logStreamNamePrefix cannot be used together.",
        ));
    }
    let pattern = Pattern::read(pattern.as_deref().unwrap_or_default())?;
    let bad = || invalid("The specified nextToken is invalid.");
    let after = token
        .map(|token| read_place(&token).ok_or_else(bad))
        .transpose()?;
    // Here the end is part of the range.
    let to = to.saturating_add(1);
    let searched = search(cloud, &group, names.as_deref(), prefix.as_deref(), (from, to))?;
    let page = Page {
        records: limit,
        ..PAGE
    };
    let Searched { names, sources } = searched;
    let read = cloud.read(Service::Logs, move |frames| {
        by_time(frames, sources, page, false, |place, stored| {
            let inside = place.time >= from && place.time < to;
            inside && after.is_none_or(|after| *place > after) && pattern.matches(stored.data)
        })
    });
    let (records, more) = read.await?;
    let events = records.iter().map(|record| {
        let Place { time, series, seq } = record.place;
        let mut event = shown(record);
        event["logStreamName"] = json!(names.get(&series));
        event["eventId"] = json!(format!("3{:020}{series:010}{seq:025}", time.max(0)));
        event
    });
    let mut answer = json!({"events": events.collect::<Vec<_>>(), "searchedLogStreams": []});
    if let Some(last) = records.last().filter(|_| more) {
        answer["nextToken"] = json!(place_text(&last.place));
    }
    ok(&answer)
}

fn search(
    cloud: &Inner,
    group: &str,
    names: Option<&[String]>,
    prefix: Option<&str>,
    (from, to): (i64, i64),
) -> Result<Searched, ApiError> {
    cloud.store.look(|state| {
        let streams = &find(state, group)?.streams;
        if let Some(names) = names
            && names.iter().any(|name| !streams.contains_key(name))
        {
            return Err(no_stream());
        }
        let wanted = streams.iter().filter(|(name, _)| {
            names.is_none_or(|names| names.contains(name))
                && prefix.is_none_or(|prefix| name.starts_with(prefix))
        });
        let names: HashMap<_, _> = wanted
            .map(|(name, stream)| (stream.series, name.clone()))
            .collect();
        let mut sources = Vec::new();
        for id in names.keys() {
            let found = state
                .series
                .get(id)
                .map(|series| series.sources_between(from, to));
            sources.extend(found.into_iter().flatten().map(|source| (*id, source)));
        }
        Ok(Searched { names, sources })
    })
}

fn place_text(place: &Place) -> String {
    format!("{}-{}-{}", place.time, place.series, place.seq)
}

fn read_place(text: &str) -> Option<Place> {
    let mut parts = text.splitn(3, '-');
    let mut next = || parts.next();
    Some(Place {
        time: next()?.parse().ok()?,
        series: next()?.parse().ok()?,
        seq: next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_and_junk_does_not() {
        let token = Token {
            is_backward: true,
            at: (1_767_323_045_678, 42),
        };
        assert_eq!(Token::read(&token.text()), Some(token));
        for junk in [
            "",
            "f/",
            "f/3x",
            "q/3",
            "é",
            "f/3é00000000000000000000000000000000000000000000000000000",
        ] {
            assert_eq!(Token::read(junk), None, "{junk}");
        }
        let place = Place {
            time: 5,
            series: 6,
            seq: 7,
        };
        assert_eq!(read_place(&place_text(&place)), Some(place));
        assert_eq!(read_place("5-6"), None);
    }
}
