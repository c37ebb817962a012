//! CloudWatch Logs: groups, streams, retention, tags; `put.rs` takes events, `read.rs` gives them.
//!
//! Limits and words are those of <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/>. Not
//! here: metric filters, subscriptions, Insights. Retention is kept at the door (older events are rejected as
//! expired), but nothing is removed when it gets old.

mod groups;
mod pattern;
mod put;
mod read;
mod streams;

use std::sync::Arc;

use crate::cloud::{Answer, Call, Cloud, Inner};
use crate::error::ApiError;
use crate::params::{Params, Rule};
use crate::service::Service;
use crate::store::catalog::{LogGroup, LogStream};
use crate::store::series::SeriesId;
use crate::store::{State, catalog::Tags};
use crate::time;

pub use read::Event;

pub(crate) const OPERATIONS: &[&str] = &[
    "CreateLogGroup",
    "CreateLogStream",
    "DeleteLogGroup",
    "DeleteLogStream",
    "DeleteRetentionPolicy",
    "DescribeLogGroups",
    "DescribeLogStreams",
    "FilterLogEvents",
    "GetLogEvents",
    "ListTagsForResource",
    "ListTagsLogGroup",
    "PutLogEvents",
    "PutRetentionPolicy",
    "TagLogGroup",
    "TagResource",
    "UntagLogGroup",
    "UntagResource",
];

/// Name of a group.
const GROUP: Rule = Rule {
    min: 1,
    max: 512,
    chars: Some(("[\\.\\-_/#A-Za-z0-9]+", |c| {
        c.is_ascii_alphanumeric() || "._-/#".contains(c)
    })),
};
/// Name of a stream.
const STREAM: Rule = Rule {
    min: 1,
    max: 512,
    chars: Some(("[^:*]*", |c| c != ':' && c != '*')),
};

pub(crate) async fn call(cloud: &Arc<Inner>, call: Call) -> Answer {
    if call.operation == "PutLogEvents" {
        return put::put(cloud, call).await;
    }
    let params = Params::read(Service::Logs, &call.body)?;
    let now = call.now;
    match call.operation.as_str() {
        "CreateLogGroup" => groups::create(cloud, params, now).await,
        "CreateLogStream" => streams::create(cloud, params, now).await,
        "DeleteLogGroup" => groups::delete(cloud, params).await,
        "DeleteLogStream" => streams::delete(cloud, params).await,
        "DeleteRetentionPolicy" => groups::delete_retention(cloud, params).await,
        "DescribeLogGroups" => groups::describe(cloud, params),
        "DescribeLogStreams" => streams::describe(cloud, params),
        "FilterLogEvents" => read::filter(cloud, params).await,
        "GetLogEvents" => read::get(cloud, params).await,
        "ListTagsForResource" => groups::tags(cloud, params, "resourceArn"),
        "ListTagsLogGroup" => groups::tags(cloud, params, "logGroupName"),
        "PutRetentionPolicy" => groups::put_retention(cloud, params).await,
        "TagLogGroup" => groups::tag(cloud, params, "logGroupName").await,
        "TagResource" => groups::tag(cloud, params, "resourceArn").await,
        "UntagLogGroup" => groups::untag(cloud, params, "logGroupName", "tags").await,
        "UntagResource" => groups::untag(cloud, params, "resourceArn", "tagKeys").await,
        other => Err(crate::server::unknown_operation(Service::Logs, other)),
    }
}

/// The name in an ARN of a group, or the text as it is.
fn group_of(identifier: &str) -> &str {
    let name = identifier
        .split_once(":log-group:")
        .map_or(identifier, |(_, name)| name);
    name.strip_suffix(":*").unwrap_or(name)
}

/// The group's name, given as a name or as an identifier; exactly one of them.
fn group_name(params: &mut Params) -> Result<String, ApiError> {
    let name = params.text("logGroupName", GROUP)?;
    let identifier = params.text("logGroupIdentifier", Rule::any(1, 2048))?;
    match (name, identifier) {
        (Some(name), None) => Ok(name),
        (None, Some(identifier)) => Ok(group_of(&identifier).to_owned()),
        (Some(_), Some(_)) => Err(invalid(
            "LogGroup name and LogGroup identifier are mutually exclusive parameters.",
        )),
        (None, None) => Err(invalid(
            "Either logGroupName or logGroupIdentifier must be specified.",
        )),
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::bad("InvalidParameterException", message)
}

fn no_group() -> ApiError {
    ApiError::bad(
        "ResourceNotFoundException",
        "The specified log group does not exist.",
    )
}

fn no_stream() -> ApiError {
    ApiError::bad(
        "ResourceNotFoundException",
        "The specified log stream does not exist.",
    )
}

fn find<'s>(state: &'s mut State, group: &str) -> Result<&'s mut LogGroup, ApiError> {
    state.catalog.groups.get_mut(group).ok_or_else(no_group)
}

impl Cloud {
    /// Makes a log group, if there is none of this name; with a stream, that too.
    pub async fn make_log_group(&self, name: &str, stream: Option<&str>) {
        let now = time::now_ms();
        let change = |state: &mut State| {
            make_group(state, name, now, "STANDARD", None, Tags::new());
            stream.map(|stream| make_stream(state, name, stream, now));
        };
        self.0.store.change(change).await;
    }
}

/// Makes a group; false where it is there.
pub(crate) fn make_group(
    state: &mut State,
    name: &str,
    now: i64,
    class: &str,
    kms: Option<String>,
    tags: Tags,
) -> bool {
    if state.catalog.groups.contains_key(name) {
        return false;
    }
    let group = LogGroup {
        created: now,
        class: class.to_owned(),
        retention: None,
        kms,
        tags,
        streams: std::collections::BTreeMap::new(),
    };
    state.put("", name, &group);
    state.catalog.groups.insert(name.to_owned(), group);
    true
}

/// The series of a stream, which is made where it is not there; `None` without its group.
pub(crate) fn make_stream(state: &mut State, group: &str, name: &str, now: i64) -> Option<(SeriesId, bool)> {
    if let Some(stream) = state.catalog.groups.get(group)?.streams.get(name) {
        return Some((stream.series, false));
    }
    let series = state.new_series();
    let stream = LogStream { created: now, series };
    state.put(group, name, &stream);
    let group = state.catalog.groups.get_mut(group)?;
    group.streams.insert(name.to_owned(), stream);
    Some((series, true))
}
