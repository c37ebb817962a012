//! Streams: made, described, removed.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{GROUP, STREAM, find, group_name, invalid, make_stream, no_group, no_stream};
use crate::cloud::{Answer, Inner, done, ok};
use crate::error::ApiError;
use crate::params::{Params, Rule};
use crate::service::Service;
use crate::store::State;
use crate::store::catalog::LogStream;

pub(super) async fn create(cloud: &Arc<Inner>, mut params: Params, now: i64) -> Answer {
    let group = params.required("logGroupName", GROUP)?;
    let name = params.required("logStreamName", STREAM)?;
    params.check()?;
    let change = |state: &mut State| make_stream(state, &group, &name, now).ok_or_else(no_group);
    let (_, is_new) = cloud.store.change(change).await?;
    if is_new {
        done()
    } else {
        Err(ApiError::bad(
            "ResourceAlreadyExistsException",
            "The specified log stream already exists",
        ))
    }
}

pub(super) async fn delete(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let group = params.required("logGroupName", GROUP)?;
    let name = params.required("logStreamName", STREAM)?;
    params.check()?;
    let change = cloud.store.change(|state| {
        let stream = find(state, &group)?.streams.remove(&name).ok_or_else(no_stream)?;
        state.delete::<LogStream>(&group, &name);
        state.drop_series(stream.series);
        Ok(())
    });
    change.await?;
    done()
}

pub(super) fn describe(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let group = group_name(&mut params)?;
    let prefix = params.text("logStreamNamePrefix", STREAM)?;
    let order = params.word("orderBy", &["LogStreamName", "LastEventTime"])?;
    let descending = params.flag("descending")?.unwrap_or(false);
    let limit = params.number("limit", 1, 50)?.unwrap_or(50) as usize;
    let token = params.text("nextToken", Rule::any(1, 2048))?;
    params.check()?;
    let by_time = order.as_deref() == Some("LastEventTime");
    if by_time && prefix.is_some() {
        return Err(invalid(
            "Cannot order by LastEventTime with a logStreamNamePrefix.",
        ));
    }
    let start = match token.as_deref().map(|token| token.parse::<usize>()) {
        None => 0,
        Some(Ok(start)) => start,
        Some(Err(_)) => return Err(invalid("The specified nextToken is invalid.")),
    };
    let (streams, more) = cloud.store.look(|state| -> Result<_, ApiError> {
        let times = |state: &State, stream: &LogStream| {
            let series = state.series.get(&stream.series);
            series.map(|series| series.totals).unwrap_or_default()
        };
        find(state, &group)?;
        let all = state.catalog.groups.get(&group).map(|group| &group.streams);
        let mut wanted: Vec<_> = all
            .into_iter()
            .flatten()
            .filter(|(name, _)| prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix)))
            .collect();
        if by_time {
            wanted.sort_by_key(|(_, stream)| times(state, stream).times().map_or(0, |(_, last)| last));
        }
        if descending {
            wanted.reverse();
        }
        let more = wanted.len() > start + limit;
        let page = wanted.into_iter().skip(start).take(limit);
        let page = page.map(|(name, stream)| {
            let resource = format!("log-group:{group}:log-stream:{name}");
            let mut out = json!({
                "arn": cloud.arn(Service::Logs, &resource),
                "logStreamName": name,
                "creationTime": stream.created,
                "storedBytes": 0,
                "uploadSequenceToken": sequence_token(stream.series),
            });
            let totals = times(state, stream);
            if let Some((first, last)) = totals.times() {
                out["firstEventTimestamp"] = json!(first);
                out["lastEventTimestamp"] = json!(last);
                out["lastIngestionTime"] = json!(totals.arrived);
            }
            out
        });
        Ok((page.collect::<Vec<Value>>(), more))
    })?;
    let mut answer = json!({"logStreams": streams});
    if more {
        answer["nextToken"] = json!((start + limit).to_string());
    }
    ok(&answer)
}

/// Tokens are given and never looked at, as AWS does since 2023.
pub(super) fn sequence_token(series: u64) -> String {
    format!("49{series:054}")
}
