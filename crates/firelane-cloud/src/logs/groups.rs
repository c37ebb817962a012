//! Groups: made, described, removed; their retention and tags.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{GROUP, find, group_of, invalid, make_group, no_group};
use crate::cloud::{Answer, Inner, done, ok};
use crate::error::ApiError;
use crate::params::{Params, Rule};
use crate::service::Service;
use crate::store::catalog::{LogGroup, LogStream};

/// Days that retention may have.
pub(super) const RETENTION: [u32; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];
const CLASSES: [&str; 3] = ["STANDARD", "INFREQUENT_ACCESS", "DELIVERY"];

pub(super) async fn create(cloud: &Arc<Inner>, mut params: Params, now: i64) -> Answer {
    let name = params.required("logGroupName", GROUP)?;
    let kms = params.text("kmsKeyId", Rule::any(0, 256))?;
    let class = params.word("logGroupClass", &CLASSES)?;
    let tags = params.tag_map("tags")?;
    params.check()?;
    if name.starts_with("aws/") {
        return Err(invalid("Log groups starting with AWS/ are reserved for AWS."));
    }
    let class = class.unwrap_or_else(|| "STANDARD".into());
    let change = |state: &mut _| make_group(state, &name, now, &class, kms, tags);
    if cloud.store.change(change).await {
        done()
    } else {
        Err(ApiError::bad(
            "ResourceAlreadyExistsException",
            "The specified log group already exists",
        ))
    }
}

pub(super) async fn delete(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let name = params.required("logGroupName", GROUP)?;
    params.check()?;
    let change = cloud.store.change(|state| {
        let group = state.catalog.groups.remove(&name).ok_or_else(no_group)?;
        for (stream, LogStream { series, .. }) in &group.streams {
            state.delete::<LogStream>(&name, stream);
            state.drop_series(*series);
        }
        state.delete::<LogGroup>("", &name);
        Ok(())
    });
    change.await?;
    done()
}

pub(super) fn describe(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let prefix = params.text("logGroupNamePrefix", GROUP)?;
    let pattern = params.text("logGroupNamePattern", Rule::any(0, 512))?;
    let class = params.word("logGroupClass", &CLASSES)?;
    let limit = params.number("limit", 1, 50)?.unwrap_or(50) as usize;
    let token = params.text("nextToken", Rule::any(1, 2048))?;
    params.check()?;
    if prefix.is_some() && pattern.is_some() {
        return Err(invalid(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ));
    }
    let pattern = pattern.map(|pattern| pattern.to_lowercase());
    let (groups, next) = cloud.store.look(|state| {
        let wanted = state.catalog.groups.iter().filter(|(name, group)| {
            prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix))
                && pattern
                    .as_ref()
                    .is_none_or(|part| name.to_lowercase().contains(part))
                && class.as_ref().is_none_or(|class| group.class == *class)
                && token.as_ref().is_none_or(|token| *name > token)
        });
        let mut found: Vec<_> = wanted.take(limit + 1).collect();
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(name, _)| (*name).clone());
        let stored = |group: &LogGroup| -> u64 {
            let all = group
                .streams
                .values()
                .filter_map(|stream| state.series.get(&stream.series));
            all.map(|series| series.totals.payload).sum()
        };
        let groups = found
            .iter()
            .map(|(name, group)| shown(cloud, name, group, stored(group)));
        (groups.collect::<Vec<_>>(), next)
    });
    let mut answer = json!({"logGroups": groups});
    if let Some(next) = next {
        answer["nextToken"] = json!(next);
    }
    ok(&answer)
}

fn shown(cloud: &Inner, name: &str, group: &LogGroup, stored: u64) -> Value {
    let arn = cloud.arn(Service::Logs, &format!("log-group:{name}"));
    let mut out = json!({
        "arn": format!("{arn}:*"),
        "logGroupArn": arn,
        "logGroupName": name,
        "logGroupClass": group.class,
        "creationTime": group.created,
        "metricFilterCount": 0,
        "storedBytes": stored,
    });
    if let Some(days) = group.retention {
        out["retentionInDays"] = json!(days);
    }
    if let Some(key) = &group.kms {
        out["kmsKeyId"] = json!(key);
    }
    out
}

pub(super) async fn put_retention(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let name = params.required("logGroupName", GROUP)?;
    let days = params.number("retentionInDays", i64::MIN, i64::MAX)?;
    match days {
        None => params.fault("retentionInDays", "null", "Member must not be null"),
        Some(days) if !RETENTION.iter().any(|known| i64::from(*known) == days) => {
            let all = RETENTION.map(|days| days.to_string()).join(", ");
            params.fault(
                "retentionInDays",
                &days.to_string(),
                &format!("Member must satisfy enum value set: [{all}]"),
            );
        }
        Some(_) => {}
    }
    params.check()?;
    retain(cloud, &name, days.and_then(|days| u32::try_from(days).ok())).await
}

pub(super) async fn delete_retention(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let name = params.required("logGroupName", GROUP)?;
    params.check()?;
    retain(cloud, &name, None).await
}

async fn retain(cloud: &Arc<Inner>, name: &str, days: Option<u32>) -> Answer {
    change(cloud, name, no_group(), |group| group.retention = days).await
}

/// Changes a group and writes it.
async fn change(
    cloud: &Arc<Inner>,
    name: &str,
    absent: ApiError,
    change: impl FnOnce(&mut LogGroup),
) -> Answer {
    let changed = cloud.store.change(|state| {
        let Ok(group) = find(state, name) else {
            return false;
        };
        change(group);
        let document = shallow(group);
        state.put("", name, &document);
        true
    });
    if changed.await { done() } else { Err(absent) }
}

/// A copy without the streams.
fn shallow(group: &LogGroup) -> LogGroup {
    LogGroup {
        created: group.created,
        class: group.class.clone(),
        retention: group.retention,
        kms: group.kms.clone(),
        tags: group.tags.clone(),
        streams: std::collections::BTreeMap::new(),
    }
}

/// A resource that tags belong to.
fn tagged(params: &mut Params, member: &str) -> Result<String, ApiError> {
    let rule = if member == "logGroupName" {
        GROUP
    } else {
        Rule::any(1, 1011)
    };
    Ok(group_of(&params.required(member, rule)?).to_owned())
}

pub(super) async fn tag(cloud: &Arc<Inner>, mut params: Params, member: &str) -> Answer {
    let name = tagged(&mut params, member)?;
    let tags = params.tag_map("tags")?;
    if tags.is_empty() {
        params.fault("tags", "{}", "Member must have length greater than or equal to 1");
    }
    params.check()?;
    change(cloud, &name, no_group(), |group| group.tags.extend(tags)).await
}

pub(super) async fn untag(cloud: &Arc<Inner>, mut params: Params, member: &str, keys: &str) -> Answer {
    let name = tagged(&mut params, member)?;
    let keys = params.texts(keys, 50)?.unwrap_or_default();
    params.check()?;
    change(cloud, &name, no_group(), |group| {
        group.tags.retain(|key, _| !keys.contains(key));
    })
    .await
}

pub(super) fn tags(cloud: &Arc<Inner>, mut params: Params, member: &str) -> Answer {
    let name = tagged(&mut params, member)?;
    params.check()?;
    let tags = cloud
        .store
        .look(|state| find(state, &name).map(|group| group.tags.clone()))?;
    let tags: Map<_, _> = tags.into_iter().map(|(key, value)| (key, json!(value))).collect();
    ok(&json!({"tags": tags}))
}
