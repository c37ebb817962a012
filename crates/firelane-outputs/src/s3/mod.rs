//! `s3`: objects of lines in a bucket.
//!
//! A chunk of one tag becomes a whole object, or a part of one that is uploaded in parts (multipart). Parts
//! have 5 MiB or more; a smaller chunk is a whole object, or the last part of one. Chunks end at their
//! size, at `upload_timeout`, where memory is needed, and at the end of the run. An object is finished at
//! `total_file_size`, `upload_timeout` after its first record, with a small part, and at the end of the
//! run.
//!
//! Records in parts of an unfinished object are *parked*: they leave the log, but count as delivered only
//! when the object is there. Before that their part, with its ETag, stands synced in a journal below
//! `store_dir`, so that the next start can finish what a kill has left. An upload that S3 no longer has
//! (aborted by a rule of the bucket) takes its records with it: an error, counted as `upload_lost`. Where
//! `store_dir` cannot be written there are no parts: each chunk is an object of its own.
//!
//! On failure the chunk is sent again under the same key or part number, so a lost answer repeats nothing.
//! What is to be mended by somebody (policy, bucket, region) is tried for as long as `Retry_Limit` says.
//!
//! Other than Fluent Bit: sizes are those of what is stored, compressed or not; keys have the time of the
//! first record at the end of a run too; no key of an object in parts is used twice (the last 4096 are
//! remembered, over restarts too), unless `static_file_path` says so; tags are never read as time patterns.
//! Records wait in the router's log, not in `store_dir`. Parquet is written in builds with the feature
//! `parquet` alone, as whole objects. Not here: `arrow`, blobs, access points, checksums other than MD5.

pub(crate) mod calls;
#[cfg(feature = "parquet")]
mod columns;
mod config;
mod encode;
mod journal;
mod key;
mod store;
mod upload;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use firelane_core::{
    BoxFuture, Cause, CauseKind, Chunk, DeliverCx, Finished, Group, Limits, Outcome, Output, OutputError,
    OutputPlugin, Parked, Phase, Stability,
};
use firelane_record::{Tag, Timestamp};
use tokio::time::Instant;
use tracing::warn;

use self::calls::Bucket;
use self::encode::Encoder;
use self::key::{Ingredients, Key, KeyFormat, with_suffix};
use self::store::{Store, StoreError};
use self::upload::{Object, Recent, Slots};
use crate::squeeze::Coding;
use config::Config;

/// Entry of the fuzz target `uploads`: a journal of any bytes.
pub fn fuzz_uploads(data: &[u8]) {
    journal::fuzz_uploads(data);
}

/// `[OUTPUT] Name s3`
pub static PLUGIN: OutputPlugin =
    OutputPlugin::new::<Config>("s3", "stores objects in Amazon S3", Stability::Beta).network();

/// Smallest part but the last, in bytes.
const PART_MIN: u64 = 5 << 20;
/// Objects up to this size are made of one chunk where they are put whole.
const WHOLE_MAX: u64 = 16 << 20;
/// Fewest and most bytes of records that a chunk is cut to.
const RAW_MIN: u64 = 64 << 10;
const RAW_MAX: u64 = 64 << 20;
/// All calls of a delivery have deadlines of their own; together they may take as long.
const DEADLINE: Duration = Duration::from_secs(1800);
/// How long no parts are made after the journal could not be written.
const JOURNAL_REST: Duration = Duration::from_secs(60);

/// What objects look like.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Bytes of an object, as stored.
    total: u64,
    /// Bytes of a part.
    part: u64,
    timeout: Duration,
    /// Named as objects that are put whole.
    is_put: bool,
    /// Bodies that stand behind each other are no body (snappy, Parquet): a chunk is an object.
    one_chunk: bool,
    /// Bytes stored for 1024 bytes in the log, before anything is known.
    ratio: u64,
}

impl Shape {
    /// What 1024 bytes in the log become, probably.
    fn guess(coding: Option<Coding>, is_bare: bool) -> u64 {
        let lines = if is_bare { 512 } else { 1024 };
        if coding.is_some() { lines / 4 } else { lines }
    }

    /// Whether objects may have several parts.
    fn has_parts(&self) -> bool {
        !(self.one_chunk || self.is_put && self.total <= WHOLE_MAX)
    }

    /// Bytes of records that a chunk is cut to.
    fn raw(&self, ratio: u64) -> usize {
        let stored = if self.has_parts() {
            // A part that comes out a little too small would end its object.
            self.part + self.part / 16
        } else {
            self.total
        };
        let raw = stored.saturating_mul(1024) / ratio.max(1);
        raw.clamp(RAW_MIN, RAW_MAX) as usize
    }
}

/// The output.
struct S3 {
    limits: Limits,
    shape: Shape,
    keys: KeyFormat,
    encoder: Arc<Encoder>,
    bucket: Bucket,
    folder: PathBuf,
    /// The user has named the folder: it must be usable.
    folder_given: bool,
    store: OnceLock<Arc<Store>>,
    /// The journal could not be written: no parts until then.
    rests_until: Mutex<Option<Instant>>,
    slots: Slots,
    recent: Mutex<Recent>,
    /// Bytes stored for 1024 bytes in the log, as learnt.
    ratio: AtomicU64,
    told_part: AtomicBool,
}

impl S3 {
    fn new(
        limits: Limits,
        shape: Shape,
        keys: KeyFormat,
        encoder: Arc<Encoder>,
        bucket: Bucket,
        (folder, folder_given): (PathBuf, bool),
    ) -> Self {
        Self {
            limits,
            shape,
            keys,
            encoder,
            bucket,
            folder,
            folder_given,
            store: OnceLock::new(),
            rests_until: Mutex::default(),
            slots: Slots::default(),
            recent: Mutex::default(),
            ratio: AtomicU64::new(shape.ratio),
            told_part: AtomicBool::new(false),
        }
    }

    /// Opens the folder, where it is needed or something was left in it.
    async fn open_store(&self) -> Result<(), OutputError> {
        let must = self.keys.needs_index() || self.folder_given && self.shape.has_parts();
        if !must && !self.shape.has_parts() && !self.folder.is_dir() {
            return Ok(());
        }
        let folder = self.folder.clone();
        let open = move || {
            let (store, left) = Store::open(&folder)?;
            let keys = store.known_keys()?;
            Ok((store, left, keys))
        };
        let opened = tokio::task::spawn_blocking(open).await;
        let opened: Result<_, StoreError> =
            opened.map_err(|error| OutputError::new(error.to_string(), "this is a bug"))?;
        match opened {
            Ok((store, left, keys)) => {
                let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
                keys.into_iter().for_each(|key| {
                    recent.note(key);
                });
                drop(recent);
                for (number, upload) in left {
                    self.slots.take_up(Object::left_behind(number, upload));
                }
                // Nobody opens it twice.
                let _ = self.store.set(Arc::new(store));
                Ok(())
            }
            Err(error) if must => Err(OutputError::new(
                format!("`store_dir` cannot be used: {error}"),
                "give it a folder that can be written: a volume, or a tmpfs",
            )),
            Err(error) => {
                let folder = self.folder.display();
                warn!(target: "output", instance = %self.bucket.instance, %error, "`store_dir` ({folder}) cannot be written: each chunk becomes an object of its own; set `store_dir` for larger ones");
                Ok(())
            }
        }
    }

    /// The folder, where there may be parts now.
    fn journal(&self) -> Option<&Arc<Store>> {
        let rests = self.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
        let rests = rests.is_some_and(|until| until > Instant::now());
        self.store.get().filter(|_| !rests && self.shape.has_parts())
    }

    /// The journal has failed: objects are whole for a while.
    fn rest(&self, error: &StoreError) {
        let mut rests = self.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
        *rests = Some(Instant::now() + JOURNAL_REST);
        warn!(target: "output", instance = %self.bucket.instance, %error, "the journal of uploads cannot be written: for a minute each chunk becomes an object of its own");
    }

    /// Runs a call of the store on a thread that may wait for the disk.
    async fn stored<T: Send + 'static>(
        store: &Arc<Store>,
        call: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = store.clone();
        match tokio::task::spawn_blocking(move || call(&store)).await {
            Ok(done) => done,
            Err(error) => Err(StoreError::of_task(error)),
        }
    }

    /// A key for an object whose first record this is.
    async fn new_key(&self, tag: &Tag, time: Timestamp) -> Result<Key, StoreError> {
        let index = match self.store.get().filter(|_| self.keys.needs_index()) {
            Some(store) => {
                let name = self.keys.fingerprint();
                Self::stored(store, move |store| store.next_index(name)).await?
            }
            None => 0,
        };
        let mut key = self.keys.render(Ingredients { tag, time, index });
        if key.lacks_part && !self.told_part.swap(true, Ordering::Relaxed) {
            warn!(target: "output", instance = %self.bucket.instance, %tag, "`s3_key_format` asks for a part that this tag has not: the whole tag stands there");
        }
        if self.shape.is_put {
            key.plain.clone_from(&key.put);
        }
        Ok(key)
    }

    /// Takes a key for an object that is uploaded in parts, where nothing random stands in it: one that was
    /// used a short time before gets something.
    async fn reserve(&self, key: &str) -> String {
        let (key, number) = {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            let mut key = key.to_owned();
            if !recent.note(key::fnv(&key)) && !self.keys.is_static() {
                key = with_suffix(&key);
            }
            let number = key::fnv(&key);
            (key, number)
        };
        if let Some(store) = self.store.get()
            && let Err(error) = Self::stored(store, move |store| store.note_key(number)).await
        {
            warn!(target: "output", instance = %self.bucket.instance, %error, "a key that was used cannot be written down: another run might use it again");
        }
        key
    }

    /// What becomes of bytes in the log, from a chunk that is large enough to tell. It follows the tags whose
    /// records become smallest: a part that is too small would end its object.
    fn learn(&self, raw: usize, stored: usize) {
        if (raw as u64) < RAW_MIN {
            return;
        }
        let seen = (stored as u64 * 1024 / raw as u64).max(1);
        let known = self.ratio.load(Ordering::Relaxed);
        let next = if seen < known {
            seen
        } else {
            known + (seen - known) / 4
        };
        self.ratio.store(next, Ordering::Relaxed);
    }

    async fn send(&self, chunk: Chunk, cx: DeliverCx) -> Outcome {
        let Some(tag) = chunk.tag().cloned() else {
            return Outcome::Delivered;
        };
        let encoder = self.encoder.clone();
        let body = match cx.encode(&chunk, move |chunk| encoder.body(chunk)).await {
            Some(Ok(body)) => body,
            Some(Err(error)) => return Outcome::retry(Cause::new(CauseKind::Io, error.to_string())),
            None => return Outcome::retry(Cause::new(CauseKind::Panic, "the encoder panicked")),
        };
        if body.bytes.is_empty() {
            return upload::delivered(&chunk, body.empty);
        }
        self.learn(chunk.bytes(), body.bytes.len());
        let slot = self.slots.get(&tag);
        let outcome = {
            let mut slot = slot.lock().await;
            self.place(&mut slot, &chunk, body, &cx).await
        };
        self.slots.tidy(&tag, slot);
        outcome
    }

    async fn finish_group(&self, group: Group, give_up: bool, cx: DeliverCx) -> Finished {
        let Group::Tag(tag) = group else {
            return Finished::default();
        };
        let slot = self.slots.get(&tag);
        let finished = {
            let mut slot = slot.lock().await;
            self.finish_slot(&mut slot, give_up, &cx).await
        };
        self.slots.tidy(&tag, slot);
        finished
    }

    async fn tidy_up(&self, cx: DeliverCx) {
        if cx.stop.phase() < Phase::Over {
            for slot in self.slots.all() {
                self.abort_empty(&mut *slot.lock().await).await;
            }
        }
        if let Some(store) = self.store.get().cloned() {
            // It removes a file; one that stays says nothing.
            let _ = tokio::task::spawn_blocking(move || store.close()).await;
        }
    }
}

impl Output for S3 {
    fn limits(&self) -> Limits {
        Limits {
            bytes_max: self.shape.raw(self.ratio.load(Ordering::Relaxed)),
            ..self.limits
        }
    }

    fn open(&self) -> BoxFuture<'_, Result<(), OutputError>> {
        Box::pin(self.open_store())
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    fn deliver(&self, chunk: Chunk, cx: DeliverCx) -> BoxFuture<'_, Outcome> {
        Box::pin(self.send(chunk, cx))
    }

    fn parked(&self) -> BoxFuture<'_, Vec<Parked>> {
        Box::pin(self.slots.parked(self.shape.timeout))
    }

    fn finish(&self, group: Group, give_up: bool, cx: DeliverCx) -> BoxFuture<'_, Finished> {
        Box::pin(self.finish_group(group, give_up, cx))
    }

    fn close(&self, cx: DeliverCx) -> BoxFuture<'_, ()> {
        Box::pin(self.tidy_up(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firelane_net::Encoding;

    fn shape(total: u64, part: u64, is_put: bool, coding: Option<Coding>) -> Shape {
        Shape {
            total,
            part,
            timeout: Duration::from_secs(1),
            is_put,
            one_chunk: coding == Some(Coding::Snappy),
            ratio: Shape::guess(coding, false),
        }
    }

    /// Guarantees: what a chunk becomes, as far as it is known, is a part that S3 takes, or the whole object.
    #[test]
    fn chunks_are_cut_to_what_they_become() {
        let parts = shape(100_000_000, PART_MIN, false, None);
        for ratio in [100, 500, 1024, 1300, 5000] {
            let stored = parts.raw(ratio) as u64 * ratio / 1024;
            assert!(
                (PART_MIN..=PART_MIN * 5 / 4).contains(&stored),
                "{ratio}: {stored}"
            );
        }
        assert_eq!(parts.raw(1) as u64, RAW_MAX);
        let small = shape(1_000_000, PART_MIN, true, None);
        assert!(!small.has_parts());
        assert_eq!(small.raw(2048), 500_000);
        assert!(shape(100_000_000, PART_MIN, true, None).has_parts());
        assert!(!shape(100_000_000, PART_MIN, false, Some(Coding::Snappy)).has_parts());
        let packed = Some(Coding::Stream(Encoding::Gzip));
        assert!(shape(100_000_000, PART_MIN, false, packed).raw(Shape::guess(packed, false)) > 20_000_000);
    }
}
