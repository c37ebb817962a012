//! Which streams are there, and how they come to be.
//!
//! A stream is created when it is first sent to, without asking whether it exists: creating what is there
//! costs nothing. Only one call at a time for a stream or group; whoever needs it too waits for that one.
//! What is known is bounded; the stream that was used longest ago is forgotten, and created again when it is
//! needed.
//!
//! A role that may not create streams can still write to those that are there: a denial is remembered, and
//! told if the stream turns out missing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use firelane_core::{Cause, CauseKind, Judgement};
use firelane_record::json::JsonOptions;
use tracing::{info, warn};

use super::api::{Answer, Api, Operation, ask};
use super::names::Place;

/// Streams that are remembered.
const STREAMS_MAX: usize = 4096;
/// Groups that are remembered.
const GROUPS_MAX: usize = 1024;

/// What may be created, and how.
#[derive(Debug, Default)]
pub(super) struct Creation {
    /// `auto_create_group`
    pub(super) groups: bool,
    /// `auto_create_stream`
    pub(super) streams: bool,
    /// `log_retention_days`
    pub(super) retention_days: Option<u32>,
    /// `log_group_class`
    pub(super) class: Option<&'static str>,
    /// `new_log_group_tags`
    pub(super) tags: Vec<(String, String)>,
}

/// A bounded table of things that are locked one by one.
#[derive(Debug)]
struct Slots<T> {
    max: usize,
    table: Mutex<Table<T>>,
}

#[derive(Debug)]
struct Table<T> {
    /// Counts uses.
    clock: u64,
    slots: HashMap<Box<str>, Slot<T>>,
}

#[derive(Debug)]
struct Slot<T> {
    used: u64,
    value: Arc<tokio::sync::Mutex<T>>,
}

impl<T: Default> Slots<T> {
    fn new(max: usize) -> Self {
        Self {
            max,
            table: Mutex::new(Table {
                clock: 0,
                slots: HashMap::new(),
            }),
        }
    }

    fn get(&self, key: &str) -> Arc<tokio::sync::Mutex<T>> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.clock += 1;
        let used = table.clock;
        if let Some(slot) = table.slots.get_mut(key) {
            slot.used = used;
            return slot.value.clone();
        }
        if table.slots.len() >= self.max {
            table.forget_half();
        }
        let value = Arc::<tokio::sync::Mutex<T>>::default();
        let slot = Slot {
            used,
            value: value.clone(),
        };
        table.slots.insert(key.into(), slot);
        value
    }
}

impl<T> Table<T> {
    /// Drops the older half of what nobody holds.
    fn forget_half(&mut self) {
        let mut uses: Vec<u64> = self.slots.values().map(|slot| slot.used).collect();
        let middle = uses.len() / 2;
        let (_, middle, _) = uses.select_nth_unstable(middle);
        let middle = *middle;
        self.slots
            .retain(|_, slot| slot.used > middle || Arc::strong_count(&slot.value) > 1);
    }
}

/// What is known of a stream.
#[derive(Debug, Default)]
enum Known {
    #[default]
    Nothing,
    /// It is there.
    There,
    /// Its creation was denied; it may be there.
    Denied(Cause),
}

/// What was done for a group.
#[derive(Debug, Default)]
struct Group {
    /// How often it was created, or found when it should be.
    made: u64,
    retention_due: bool,
}

/// The streams and groups of an instance.
#[derive(Debug)]
pub(super) struct Streams {
    /// For messages.
    instance: String,
    creation: Creation,
    streams: Slots<Known>,
    groups: Slots<Group>,
}

/// Why a stream is not there.
type Failed = Judgement;

impl Streams {
    /// Nothing is known yet.
    pub(super) fn new(instance: &str, creation: Creation) -> Self {
        Self {
            instance: instance.to_owned(),
            creation,
            streams: Slots::new(STREAMS_MAX),
            groups: Slots::new(GROUPS_MAX),
        }
    }

    /// Makes sure that the stream is there, or may be.
    ///
    /// # Cancel safety
    /// What was not finished is begun anew by the next caller.
    pub(super) async fn ensure(&self, api: &dyn Api, place: &Place) -> Result<(), Failed> {
        if !self.creation.streams {
            return Ok(());
        }
        let slot = self.streams.get(&key(place));
        let mut known = slot.lock().await;
        if matches!(*known, Known::Nothing) {
            *known = self.create_stream(api, place).await?;
        }
        Ok(())
    }

    /// The stream is not there, as an answer said. Says what is wrong where nothing can be done about it.
    pub(super) async fn missing(&self, place: &Place, why: Cause) -> Result<(), Failed> {
        if !self.creation.streams {
            let text = format!("{}; `auto_create_stream` is off: create {place}", why.text);
            return Err(Failed::Unavailable(Cause::new(why.kind, text)));
        }
        let slot = self.streams.get(&key(place));
        let mut known = slot.lock().await;
        match std::mem::take(&mut *known) {
            Known::Denied(denial) => Err(Failed::Unavailable(denial)),
            Known::There | Known::Nothing => Ok(()),
        }
    }

    async fn create_stream(&self, api: &dyn Api, place: &Place) -> Result<Known, Failed> {
        let slot = self.groups.get(&place.group);
        let made = slot.lock().await.made;
        let mut answer = self.call_create_stream(api, place).await;
        if let Answer::Missing(why) = &answer {
            if !self.creation.groups {
                let text = format!(
                    "{}; create group `{}`, or set `auto_create_group on`",
                    why.text, place.group
                );
                return Err(Failed::Unavailable(Cause::new(why.kind, text)));
            }
            self.create_group(api, place, made).await?;
            answer = self.call_create_stream(api, place).await;
        }
        match answer {
            Answer::Done(_) | Answer::Exists => {
                let mut group = slot.lock().await;
                self.keep_retention(api, &place.group, &mut group).await?;
                Ok(Known::There)
            }
            Answer::Denied(why) => Ok(Known::Denied(why)),
            Answer::Missing(why) => Err(Failed::Unavailable(why)),
            Answer::Other(judgement) => Err(judgement),
        }
    }

    async fn call_create_stream(&self, api: &dyn Api, place: &Place) -> Answer {
        let mut body = object("logGroupName", &place.group);
        member("logStreamName", &place.stream, &mut body);
        ask(api, Operation::CreateLogStream, closed(body)).await
    }

    /// Creates a group, unless somebody did since it was `made` so often.
    async fn create_group(&self, api: &dyn Api, place: &Place, made: u64) -> Result<(), Failed> {
        let slot = self.groups.get(&place.group);
        let mut group = slot.lock().await;
        if group.made != made {
            return Ok(());
        }
        match ask(api, Operation::CreateLogGroup, self.group_body(&place.group)).await {
            Answer::Done(_) => {
                info!(target: "output", instance = %self.instance, group = place.group, "log group created");
            }
            Answer::Exists => {}
            // A refusal is about class or tags, not about the records: they wait until that is mended.
            Answer::Other(Judgement::Refused(why)) => {
                return Err(Failed::Unavailable(Cause::new(CauseKind::Unavailable, why.text)));
            }
            Answer::Missing(why) | Answer::Denied(why) => return Err(Failed::Unavailable(why)),
            Answer::Other(judgement) => return Err(judgement),
        }
        group.made += 1;
        group.retention_due = self.creation.retention_days.is_some();
        self.keep_retention(api, &place.group, &mut group).await
    }

    fn group_body(&self, name: &str) -> Vec<u8> {
        let mut body = object("logGroupName", name);
        if let Some(class) = self.creation.class {
            member("logGroupClass", class, &mut body);
        }
        if !self.creation.tags.is_empty() {
            body.extend_from_slice(b",\"tags\":{");
            for (index, (key, value)) in self.creation.tags.iter().enumerate() {
                if index > 0 {
                    body.push(b',');
                }
                pair(key, value, &mut body);
            }
            body.push(b'}');
        }
        closed(body)
    }

    /// Sets how long the group keeps events, where that is still to be done. A role that may not do it does
    /// not hold up the logs.
    async fn keep_retention(&self, api: &dyn Api, name: &str, group: &mut Group) -> Result<(), Failed> {
        let Some(days) = self.creation.retention_days.filter(|_| group.retention_due) else {
            return Ok(());
        };
        let mut body = object("logGroupName", name);
        body.extend_from_slice(format!(",\"retentionInDays\":{days}").as_bytes());
        match ask(api, Operation::PutRetentionPolicy, closed(body)).await {
            Answer::Done(_) | Answer::Exists => {}
            Answer::Denied(why) | Answer::Other(Judgement::Refused(why)) => {
                warn!(target: "output", instance = %self.instance, group = name, days, cause = %why, "the group keeps its events for ever: `log_retention_days` cannot be set");
            }
            Answer::Missing(why) => return Err(Failed::Unavailable(why)),
            Answer::Other(judgement) => return Err(judgement),
        }
        group.retention_due = false;
        Ok(())
    }
}

fn key(place: &Place) -> String {
    // No group's name holds a line break.
    format!("{}\n{}", place.group, place.stream)
}

fn object(key: &str, value: &str) -> Vec<u8> {
    let mut body = vec![b'{'];
    pair(key, value, &mut body);
    body
}

fn member(key: &str, value: &str, body: &mut Vec<u8>) {
    body.push(b',');
    pair(key, value, body);
}

fn pair(key: &str, value: &str, body: &mut Vec<u8>) {
    let json = JsonOptions::new(false);
    json.encode_str(key.as_bytes(), body);
    body.push(b':');
    json.encode_str(value.as_bytes(), body);
}

fn closed(mut body: Vec<u8>) -> Vec<u8> {
    body.push(b'}');
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_bounded_and_what_is_held_is_kept() {
        let slots = Slots::<u32>::new(8);
        let held = slots.get("held");
        for n in 0..100 {
            slots.get(&format!("k{n}"));
            assert!(slots.table.lock().unwrap().slots.len() <= 8);
            slots.get("used");
        }
        let table = slots.table.lock().unwrap();
        assert!(table.slots.contains_key("used") && table.slots.contains_key("k99"));
        assert!(Arc::ptr_eq(&table.slots["held"].value, &held));
        assert!(!table.slots.contains_key("k0"));
    }
}
