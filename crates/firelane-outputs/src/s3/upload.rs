//! Objects on their way: which chunk becomes what, and how uploads end.
//!
//! Each tag has a slot, which one delivery or finish holds at a time: the object that is being made, and
//! those that get no more parts and are not finished yet. What stands in a slot is never ahead of the
//! journal, so a delivery may be given up at any point.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use firelane_core::{Cause, CauseKind, Chunk, DeliverCx, Finished, Group, Outcome, Parked, Phase, Rest};
use firelane_record::Tag;
use firelane_record::set::RecordSet;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::calls::{Failed, What};
use super::encode::Body;
use super::journal::{Part, Upload};
use super::key::Key;
use super::store::{KEYS_MAX, Store, wall_ms};
use super::{PART_MIN, S3};
use crate::payload::{Log, logs};

/// Most parts of an upload.
const PARTS_MAX: usize = 10_000;

/// Keys that were used a short time before, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Recent {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Recent {
    /// Whether it is new.
    pub(super) fn note(&mut self, key: u64) -> bool {
        if !self.known.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > KEYS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

/// An object on its way.
#[derive(Debug)]
pub(super) struct Object {
    key: Key,
    /// When its first record came.
    begun: Instant,
    /// Its number in the journal, once its upload was begun.
    number: Option<u64>,
    upload: Upload,
    /// Its key is its own.
    is_reserved: bool,
    /// The upload is gone.
    lost: Option<Cause>,
    /// It may be complete already: an answer was lost, or a process has died.
    maybe_complete: bool,
}

impl Object {
    fn new(key: Key, begun: Instant, tag: &Tag) -> Self {
        let upload = Upload {
            begun: wall_ms().saturating_sub(begun.elapsed().as_millis() as u64),
            tag: tag.as_bytes().into(),
            key: key.plain.clone(),
            ..Upload::default()
        };
        Self {
            key,
            begun,
            number: None,
            upload,
            is_reserved: false,
            lost: None,
            maybe_complete: false,
        }
    }

    /// One that a process has left that is gone.
    pub(super) fn left_behind(number: u64, upload: Upload) -> Self {
        let key = Key {
            plain: upload.key.clone(),
            put: upload.key.clone(),
            lacks_part: false,
        };
        Self {
            key,
            begun: Instant::now(),
            number: Some(number),
            upload,
            is_reserved: true,
            lost: None,
            maybe_complete: true,
        }
    }

    fn has_parts(&self) -> bool {
        !self.upload.parts.is_empty()
    }

    fn is_begun(&self) -> bool {
        !self.upload.id.is_empty()
    }

    fn is_due(&self, timeout: Duration) -> bool {
        self.begun.elapsed() >= timeout
    }
}

/// The objects of one tag.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Gets more parts. Without parts: what a failed delivery will send again, under the same key.
    open: Option<Object>,
    /// Get no more parts.
    closing: Vec<Object>,
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.open.is_none() && self.closing.is_empty()
    }

    /// The open object gets no more parts.
    fn retire(&mut self) {
        self.closing.extend(self.open.take().filter(Object::is_begun));
    }
}

/// The slots by tag.
#[derive(Debug, Default)]
pub(super) struct Slots(StdMutex<HashMap<Tag, Arc<Mutex<Slot>>>>);

impl Slots {
    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<Tag, Arc<Mutex<Slot>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, tag: &Tag) -> Arc<Mutex<Slot>> {
        self.map().entry(tag.clone()).or_default().clone()
    }

    pub(super) fn all(&self) -> Vec<Arc<Mutex<Slot>>> {
        self.map().values().cloned().collect()
    }

    /// Forgets a slot that has nothing in it and that nobody else looks at.
    pub(super) fn tidy(&self, tag: &Tag, slot: Arc<Mutex<Slot>>) {
        let mut map = self.map();
        let unused = slot.try_lock().is_ok_and(|slot| slot.is_empty()) && Arc::strong_count(&slot) == 2;
        if unused {
            map.remove(tag);
        }
    }

    /// Takes up what a process has left. Nobody uses the slots yet.
    pub(super) fn take_up(&self, object: Object) {
        let Ok(tag) = Tag::new(&object.upload.tag) else {
            return;
        };
        if let Ok(mut slot) = self.get(&tag).try_lock_owned() {
            let slot: &mut OwnedMutexGuard<Slot> = &mut slot;
            slot.closing.push(object);
        }
    }

    /// What is parked.
    pub(super) async fn parked(&self, timeout: Duration) -> Vec<Parked> {
        let slots: Vec<_> = self
            .map()
            .iter()
            .map(|(tag, slot)| (tag.clone(), slot.clone()))
            .collect();
        let mut parked = Vec::new();
        for (tag, slot) in slots {
            let slot = slot.lock().await;
            let open = slot.open.as_ref().filter(|open| open.has_parts());
            let records = slot
                .closing
                .iter()
                .chain(open)
                .map(|object| object.upload.records());
            let until = match (slot.closing.is_empty(), open) {
                (false, _) => Duration::ZERO,
                (true, Some(open)) => timeout.saturating_sub(open.begun.elapsed()),
                (true, None) => continue,
            };
            parked.push(Parked {
                group: Group::Tag(tag),
                records: records.sum(),
                until,
            });
        }
        parked
    }
}

/// How an upload ended.
enum End {
    /// The object is there.
    Shown,
    /// Its records are gone.
    Lost(Cause),
    /// It had no records.
    Empty,
    /// It could not be ended now.
    Later(Failed),
}

/// What became of a chunk that S3 has whole.
pub(super) fn delivered(chunk: &Chunk, empty: RecordSet) -> Outcome {
    match without_key(chunk, &empty) {
        Some(why) => Outcome::Discard { records: empty, why },
        None => Outcome::Delivered,
    }
}

/// Says that records had nothing to send.
fn without_key(chunk: &Chunk, empty: &RecordSet) -> Option<Cause> {
    let count = empty.count(chunk.records());
    let text = format!("{count} records have no `log_key`");
    (count > 0).then(|| Cause::new(CauseKind::Refused, text))
}

fn again(failed: Failed) -> Outcome {
    Outcome::Retry {
        done: RecordSet::none(),
        refused: RecordSet::none(),
        after: failed.after(),
        why: failed.why,
    }
}

impl S3 {
    /// Sends a chunk, as a whole object or as a part.
    pub(super) async fn place(&self, slot: &mut Slot, chunk: &Chunk, body: Body, cx: &DeliverCx) -> Outcome {
        let begun = Instant::now();
        let begun = begun.checked_sub(chunk.waited()).unwrap_or(begun);
        // What an earlier chunk has left that was given up: it may have arrived under this key.
        if cx.attempt == 0 && slot.open.as_ref().is_some_and(|open| !open.has_parts()) {
            slot.retire();
        }
        let size = body.bytes.len() as u64;
        // An upload that is gone is found out at most once.
        for _ in 0..2 {
            if slot.open.is_none() {
                let Some(Log { tag, event, .. }) = logs(chunk).next() else {
                    return Outcome::Delivered;
                };
                match self.new_key(tag, event.time).await {
                    Ok(key) => slot.open = Some(Object::new(key, begun, tag)),
                    Err(error) => return Outcome::retry(Cause::new(CauseKind::Io, error.to_string())),
                }
            }
            let Some(store) = self.parts_for(slot, size, cx).cloned() else {
                return self.put(slot, chunk, body).await;
            };
            match self.add(slot, &store, chunk, &body).await {
                Added::Gone(why) => {
                    if let Some(open) = &mut slot.open {
                        open.lost = Some(why);
                    }
                    slot.retire();
                }
                Added::Whole => return self.put(slot, chunk, body).await,
                Added::Done(outcome) => return outcome,
            }
        }
        Outcome::retry(Cause::new(
            CauseKind::Unavailable,
            "S3 has no upload that was just begun",
        ))
    }

    /// The journal, where the chunk becomes a part; else it is an object by itself.
    fn parts_for(&self, slot: &Slot, size: u64, cx: &DeliverCx) -> Option<&Arc<Store>> {
        let open = slot.open.as_ref()?;
        if open.has_parts() {
            return self.store.get();
        }
        let is_object = size < PART_MIN
            || size >= self.shape.total
            || open.is_due(self.shape.timeout)
            || cx.stop.phase() >= Phase::Draining;
        self.journal().filter(|_| !is_object)
    }

    /// Puts the chunk as an object.
    async fn put(&self, slot: &mut Slot, chunk: &Chunk, body: Body) -> Outcome {
        let Some(open) = slot.open.as_ref() else {
            return Outcome::Delivered;
        };
        let key = open.key.put.clone();
        match self.bucket.put(&key, &body).await {
            Ok(()) => {
                debug!(target: "output", instance = %self.bucket.instance, key, bytes = body.bytes.len(), "object put");
                // One that was begun in parts before is thrown away.
                slot.retire();
                delivered(chunk, body.empty)
            }
            Err(failed) if failed.what == What::Never => {
                slot.retire();
                Outcome::discard_all(failed.why)
            }
            Err(failed) => again(failed),
        }
    }

    /// Adds the chunk to the open object as a part.
    async fn add(&self, slot: &mut Slot, store: &Arc<Store>, chunk: &Chunk, body: &Body) -> Added {
        let Some(open) = slot.open.as_mut() else {
            return Added::Whole;
        };
        if !open.is_begun()
            && let Err(added) = self.begin(open, store).await
        {
            return added;
        }
        let Some(upload_number) = open.number else {
            return Added::Whole;
        };
        let number = open.upload.parts.len() as u32 + 1;
        let sent = self
            .bucket
            .part(&open.upload.key, &open.upload.id, number, body)
            .await;
        let etag = match sent {
            Ok(etag) => etag,
            Err(failed) => {
                return match failed.what {
                    What::NoUpload => Added::Gone(failed.why),
                    What::Never => Added::Done(Outcome::discard_all(failed.why)),
                    What::Again(_) | What::Denied => Added::Done(again(failed)),
                };
            }
        };
        let records = u64::from(chunk.records() - body.empty.count(chunk.records()));
        let part = Part {
            number,
            stored: body.bytes.len() as u64,
            records,
            bytes: chunk.bytes() as u64,
            etag,
        };
        let written = part.clone();
        if let Err(error) = Self::stored(store, move |store| store.part(upload_number, written)).await {
            self.rest(&error);
            slot.retire();
            return Added::Done(Outcome::retry(Cause::new(CauseKind::Io, error.to_string())));
        }
        open.upload.parts.push(part);
        let is_last = (body.bytes.len() as u64) < PART_MIN
            || open.upload.stored() >= self.shape.total
            || open.upload.parts.len() >= PARTS_MAX
            || open.is_due(self.shape.timeout);
        let mut until = self.shape.timeout.saturating_sub(open.begun.elapsed());
        if is_last {
            slot.retire();
        }
        if !slot.closing.is_empty() {
            until = Duration::ZERO;
        }
        Added::Done(Outcome::Parked {
            why: without_key(chunk, &body.empty),
            refused: body.empty.clone(),
            until,
        })
    }

    async fn begin(&self, open: &mut Object, store: &Arc<Store>) -> Result<(), Added> {
        if !open.is_reserved {
            open.upload.key = self.reserve(&open.upload.key).await;
            open.is_reserved = true;
        }
        let id = self.bucket.begin(&open.upload.key).await;
        let id = id.map_err(|failed| {
            Added::Done(match failed.what {
                What::Never => Outcome::discard_all(failed.why),
                _ => again(failed),
            })
        })?;
        open.upload.id = id;
        let upload = open.upload.clone();
        match Self::stored(store, move |store| store.begin(upload)).await {
            Ok(number) => {
                open.number = Some(number);
                Ok(())
            }
            Err(error) => {
                self.rest(&error);
                Err(Added::Whole)
            }
        }
    }

    /// Ends what gets no more parts, and the open object where it is due.
    pub(super) async fn finish_slot(&self, slot: &mut Slot, give_up: bool, cx: &DeliverCx) -> Finished {
        let at_end = give_up || cx.stop.phase() >= Phase::Draining;
        let is_due = |open: &Object| open.has_parts() && (at_end || open.is_due(self.shape.timeout));
        if slot.open.as_ref().is_some_and(is_due) {
            slot.retire();
        }
        let mut finished = Finished::default();
        let mut at = 0;
        while let Some(object) = slot.closing.get_mut(at) {
            let records = object.upload.records();
            match self.end(object, give_up).await {
                End::Shown => {
                    finished.delivered += records;
                    finished.bytes += object.upload.bytes();
                }
                End::Lost(why) => {
                    finished.lost += records;
                    finished.lost_why = Some(why);
                }
                End::Empty => {}
                End::Later(failed) => {
                    let after = failed.after();
                    let why = failed.why;
                    finished.rest = Rest::Retry { after, why };
                    at += 1;
                    continue;
                }
            }
            let object = slot.closing.remove(at);
            self.note_end(object.number).await;
        }
        let open = slot.open.as_ref().filter(|open| open.has_parts());
        if let (Rest::Nothing, Some(open)) = (&finished.rest, open) {
            finished.rest = Rest::Until(self.shape.timeout.saturating_sub(open.begun.elapsed()));
        }
        finished
    }

    async fn end(&self, object: &mut Object, give_up: bool) -> End {
        let Upload { key, id, parts, .. } = &object.upload;
        if let Some(why) = object.lost.take() {
            return if parts.is_empty() {
                End::Empty
            } else {
                End::Lost(why)
            };
        }
        if parts.is_empty() {
            return match self.bucket.abort(key, id).await {
                Err(failed) if matches!(failed.what, What::Again(_)) && !give_up => End::Later(failed),
                // What may not be aborted, or is gone, is left to the rules of the bucket.
                _ => End::Empty,
            };
        }
        let failed = match self.bucket.complete(key, id, parts).await {
            Ok(()) => {
                let (bytes, parts) = (object.upload.stored(), parts.len());
                debug!(target: "output", instance = %self.bucket.instance, key, parts, bytes, "object complete");
                return End::Shown;
            }
            Err(failed) => failed,
        };
        object.maybe_complete |= failed.why.ambiguous;
        match failed.what {
            What::NoUpload if object.maybe_complete => self.look(object, failed, give_up).await,
            What::NoUpload => End::Lost(failed.why),
            What::Again(_) | What::Denied if !give_up => End::Later(failed),
            _ => {
                // Its parts cost money as long as they are there.
                if let Err(error) = self.bucket.abort(key, id).await {
                    warn!(target: "output", instance = %self.bucket.instance, key, upload = id, cause = %error.why, "an upload that is given up could not be aborted");
                }
                End::Lost(failed.why)
            }
        }
    }

    /// The upload is not there: whether the object is.
    async fn look(&self, object: &Object, failed: Failed, give_up: bool) -> End {
        let Upload { key, parts, .. } = &object.upload;
        match self
            .bucket
            .is_made_of(key, parts.len(), object.upload.stored())
            .await
        {
            Ok(true) => {
                info!(target: "output", instance = %self.bucket.instance, key, "the object was complete already");
                End::Shown
            }
            Ok(false) => End::Lost(failed.why),
            Err(error) if error.what == What::Denied => {
                warn!(target: "output", instance = %self.bucket.instance, key, "an upload is gone, most likely complete; without `s3:GetObject` nobody can say");
                End::Shown
            }
            Err(error) if give_up => End::Lost(error.why),
            Err(error) => End::Later(error),
        }
    }

    async fn note_end(&self, number: Option<u64>) {
        let (Some(number), Some(store)) = (number, self.store.get()) else {
            return;
        };
        if let Err(error) = Self::stored(store, move |store| store.end(number)).await {
            warn!(target: "output", instance = %self.bucket.instance, %error, "the journal of uploads cannot be written; the next start looks at this upload once more");
        }
    }

    /// Aborts uploads without parts; those with parts stay for the next start.
    pub(super) async fn abort_empty(&self, slot: &mut Slot) {
        if slot.open.as_ref().is_some_and(|open| !open.has_parts()) {
            slot.retire();
        }
        let mut at = 0;
        while let Some(object) = slot.closing.get_mut(at) {
            if object.has_parts() || matches!(self.end(object, true).await, End::Later(_)) {
                at += 1;
                continue;
            }
            let object = slot.closing.remove(at);
            self.note_end(object.number).await;
        }
    }
}

/// What came of adding a part.
enum Added {
    /// Nothing more is to do.
    Done(Outcome),
    /// S3 does not have the upload any more.
    Gone(Cause),
    /// There can be no parts now: the chunk is an object by itself.
    Whole,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_remembered_for_a_while() {
        let mut recent = Recent::default();
        assert!(recent.note(1_000_000) && !recent.note(1_000_000));
        for n in 0..KEYS_MAX as u64 {
            recent.note(n);
        }
        assert!(
            !recent.note(5) && recent.note(1_000_000),
            "the first was forgotten"
        );
        assert_eq!(recent.known.len(), recent.order.len());
    }

    #[test]
    fn slots_are_forgotten_when_they_are_empty() {
        let (slots, tag) = (Slots::default(), Tag::new("t").unwrap());
        let (one, two) = (slots.get(&tag), slots.get(&tag));
        slots.tidy(&tag, one);
        assert_eq!(slots.map().len(), 1, "somebody looks at it");
        slots.tidy(&tag, two);
        assert!(slots.map().is_empty());
        slots.take_up(Object::left_behind(
            0,
            Upload {
                tag: b"t"[..].into(),
                ..Upload::default()
            },
        ));
        let slot = slots.get(&tag);
        slots.tidy(&tag, slot);
        assert_eq!(slots.map().len(), 1);
    }
}
