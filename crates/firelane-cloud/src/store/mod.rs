//! What the endpoint holds: records in segments, an index of them, documents about resources, files of
//! objects.
//!
//! ```text
//! DIR/firelane.lock         locked by the process that writes
//! DIR/index.sqlite          a document per resource (JSON), a row per frame (never per record)
//! DIR/segments/00000001.seg append-only: frames of zstd, level 1, each with its header (segment.rs)
//! DIR/objects/000000000001  one file per uploaded S3 object or part
//! ```
//!
//! A handler changes the [`State`] under one short lock. What must outlive the process is queued there, and
//! one thread ([`writer`]) compresses, writes and commits it: documents at once (the handler waits for
//! that, so a resource that was answered is there after a crash of the process), records when 256 KiB of a
//! series are there or after 250 ms. So a kill may lose a quarter of a second of records; a stop loses
//! nothing. Files are not synced: this is a tool for development, not a database. After a restart what lies
//! behind the last indexed frame of a segment is cut.
//!
//! Bounds: 64 MiB of records that are not on disk yet; then requests wait, and after ten seconds they are
//! refused.

pub(crate) mod block;
pub(crate) mod catalog;
pub(crate) mod index;
pub(crate) mod read;
pub(crate) mod segment;
pub(crate) mod series;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};

use block::Batch;
use catalog::{Catalog, Document};
use index::{Index, IndexError, Op};
use series::{Room, Series, SeriesId};

/// Records that may wait for the disk, in bytes.
const WAITING_MAX: usize = 64 << 20;
/// Longest that records wait for more before they are written.
const LINGER: Duration = Duration::from_millis(250);
/// Longest wait for room among them.
const ROOM_LIMIT: Duration = Duration::from_secs(10);

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A folder or file cannot be made or read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// Another endpoint writes into the folder.
    #[error("{}: another endpoint uses this folder", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// The index is damaged, or not ours.
    #[error("{}: {reason}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl OpenError {
    fn file(path: &Path, error: io::Error) -> Self {
        let path = path.to_path_buf();
        Self::File { path, error }
    }

    fn index(path: &Path, error: &IndexError) -> Self {
        Self::Index {
            path: path.to_path_buf(),
            reason: error.to_string(),
        }
    }
}

/// Records cannot be taken: the disk does not keep up, or is full.
#[derive(Debug, thiserror::Error)]
#[error("the local endpoint cannot write its data: {0}")]
pub(crate) struct NoRoom(String);

/// Where the parts of a store are.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
}

impl Layout {
    pub(crate) fn index(&self) -> PathBuf {
        self.root.join("index.sqlite")
    }

    pub(crate) fn segments(&self) -> PathBuf {
        self.root.join("segments")
    }

    pub(crate) fn object(&self, file: u64) -> PathBuf {
        self.objects().join(format!("{file:012}"))
    }

    fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }
}

/// What handlers read and change.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Resources.
    pub(crate) catalog: Catalog,
    /// Records, by the number that a resource's document names.
    pub(crate) series: HashMap<SeriesId, Series>,
    next_series: SeriesId,
    next_file: u64,
    queue: VecDeque<Op>,
    /// Ops ever queued.
    queued: u64,
    /// Series with records that are not on disk, and since when.
    dirty: BTreeSet<SeriesId>,
    dirty_since: Option<Instant>,
    /// Those that need not wait longer.
    full: BTreeSet<SeriesId>,
    /// The writer has something new to do, or to wait for.
    wakes: bool,
    stop: bool,
}

impl State {
    /// Writes a document, or overwrites it.
    pub(crate) fn put<D: Document>(&mut self, parent: &str, name: &str, document: &D) {
        let body = serde_json::to_string(document).unwrap_or_default();
        self.push(Op::Put {
            kind: D::KIND,
            parent: parent.to_owned(),
            name: name.to_owned(),
            body,
        });
    }

    /// Removes a document.
    pub(crate) fn delete<D: Document>(&mut self, parent: &str, name: &str) {
        self.push(Op::Delete {
            kind: D::KIND,
            parent: parent.to_owned(),
            name: name.to_owned(),
        });
    }

    /// A new, empty series.
    pub(crate) fn new_series(&mut self) -> SeriesId {
        self.next_series += 1;
        self.series.insert(self.next_series, Series::default());
        self.next_series
    }

    /// Forgets a series and its records.
    pub(crate) fn drop_series(&mut self, id: SeriesId) {
        self.series.remove(&id);
        self.dirty.remove(&id);
        self.full.remove(&id);
        self.push(Op::DropSeries(id));
    }

    /// A number for a new file of an object.
    pub(crate) fn new_file(&mut self) -> u64 {
        self.next_file += 1;
        self.next_file
    }

    /// Removes a file, once what refers to it is gone for good.
    pub(crate) fn remove_file(&mut self, file: u64) {
        self.push(Op::RemoveFile(file));
    }

    /// Appends records to a series; gives the number of the first. `None` where the series has gone.
    pub(crate) fn append(&mut self, id: SeriesId, batch: Batch, room: Room) -> Option<u64> {
        let series = self.series.get_mut(&id)?;
        let first = series.append(batch, room);
        // Otherwise the writer knows already when it has to look.
        self.wakes |= (series.is_full() && self.full.insert(id)) || self.dirty_since.is_none();
        self.dirty.insert(id);
        self.dirty_since.get_or_insert_with(Instant::now);
        Some(first)
    }

    fn push(&mut self, op: Op) {
        self.queue.push_back(op);
        self.queued += 1;
    }
}

/// Shared by handlers and the writer.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    room: Arc<Semaphore>,
    /// Ops that are committed.
    committed: watch::Sender<u64>,
    /// What the disk said last, if it refuses.
    trouble: Mutex<Option<String>>,
    pub(crate) layout: Layout,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of a handler leaves whole entries behind: each change is one insertion.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open store. Ends its writer when dropped.
#[derive(Debug)]
pub(crate) struct Store {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Held while the store is open.
    _lock: Option<File>,
}

impl Store {
    /// Opens or makes a store that is written to.
    pub(crate) fn open(root: &Path) -> Result<Self, OpenError> {
        Self::open_with(root, LINGER)
    }

    /// As [`open`](Self::open); records wait at most `linger` for more.
    fn open_with(root: &Path, linger: Duration) -> Result<Self, OpenError> {
        let layout = Layout {
            root: root.to_path_buf(),
        };
        for folder in [layout.segments(), layout.objects()] {
            fs::create_dir_all(&folder).map_err(|error| OpenError::file(&folder, error))?;
        }
        let lock = lock(&layout)?;
        let path = layout.index();
        let fault = |error: IndexError| OpenError::index(&path, &error);
        let mut index = Index::open(&path).map_err(fault)?;
        let loaded = index.load().map_err(fault)?;
        let segment = segment::tidy(&layout.segments(), &loaded.frames)
            .map_err(|error| OpenError::file(&layout.segments(), error))?;
        let mut state = state(loaded);
        clean_objects(&layout, &mut state).map_err(|error| OpenError::file(&layout.objects(), error))?;
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            wake: Condvar::new(),
            room: Arc::new(Semaphore::new(WAITING_MAX)),
            committed: watch::channel(0).0,
            trouble: Mutex::default(),
            layout,
        });
        let writer = writer::Writer::new(shared.clone(), index, segment, linger);
        let writer = std::thread::Builder::new()
            .name("cloud-writer".into())
            .spawn(move || writer.run())
            .map_err(|error| OpenError::file(root, error))?;
        Ok(Self {
            shared,
            writer: Mutex::new(Some(writer)),
            _lock: Some(lock),
        })
    }

    /// Reads what is on disk in `root`, whether an endpoint runs there or not. Nothing is written.
    pub(crate) fn peek(root: &Path) -> Result<(Layout, State), OpenError> {
        let layout = Layout {
            root: root.to_path_buf(),
        };
        let path = layout.index();
        if !path.is_file() {
            let error = io::Error::new(io::ErrorKind::NotFound, "there is no data of `firelane aws`");
            return Err(OpenError::file(root, error));
        }
        let fault = |error: IndexError| OpenError::index(&path, &error);
        let loaded = Index::peek(&path).map_err(fault)?.load().map_err(fault)?;
        Ok((layout, state(loaded)))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Looks at the state, or changes it without anything that must be written.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.shared.lock())
    }

    /// Changes the state; what was queued is committed when this is done.
    ///
    /// # Cancel safety
    /// The change is made as soon as this is polled; only the wait ends early.
    pub(crate) async fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (done, upto) = {
            let mut state = self.shared.lock();
            let before = state.queued;
            let done = change(&mut state);
            let after = state.queued;
            (done, (after > before).then_some(after))
        };
        if let Some(upto) = upto {
            self.shared.wake.notify_one();
            let mut committed = self.shared.committed.subscribe();
            // A disk that refuses is told by the writer; the answer does not wait for it forever.
            let wait = committed.wait_for(|committed| *committed >= upto);
            let _ = tokio::time::timeout(ROOM_LIMIT, wait).await;
        }
        done
    }

    /// Waits for room for `bytes` of records.
    pub(crate) async fn room(&self, bytes: usize) -> Result<Room, NoRoom> {
        if self.shared.lock().stop {
            return Err(NoRoom("it stops".into()));
        }
        let bytes = u32::try_from(bytes.clamp(1, WAITING_MAX / 2)).unwrap_or(1);
        let permit = self.shared.room.clone().acquire_many_owned(bytes);
        match tokio::time::timeout(ROOM_LIMIT, permit).await {
            Ok(Ok(permit)) => Ok(Room::new(permit)),
            _ => {
                let trouble = self.shared.trouble().clone();
                Err(NoRoom(
                    trouble.unwrap_or_else(|| "the disk does not keep up".into()),
                ))
            }
        }
    }

    /// Wakes the writer where that is needed.
    pub(crate) fn appended(&self) {
        if std::mem::take(&mut self.shared.lock().wakes) {
            self.shared.wake.notify_one();
        }
    }

    /// Writes everything and ends the writer. The error tells what stayed behind.
    pub(crate) fn close(&self) -> Result<(), String> {
        self.shared.lock().stop = true;
        self.shared.wake.notify_one();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            writer.join().map_err(|_| "the writer panicked".to_string())?;
        }
        match self.shared.trouble().take() {
            Some(trouble) => Err(trouble),
            None => Ok(()),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Whoever wants to know closes it.
        let _ = self.close();
    }
}

fn lock(layout: &Layout) -> Result<File, OpenError> {
    let path = layout.root.join("firelane.lock");
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| OpenError::file(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::Locked { path }),
        Err(fs::TryLockError::Error(error)) => Err(OpenError::file(&path, error)),
    }
}

fn state(loaded: index::Loaded) -> State {
    let mut state = State {
        next_series: loaded.next_series,
        ..State::default()
    };
    for (id, frames) in loaded.frames {
        state.series.insert(id, Series::loaded(frames));
    }
    state.catalog = loaded.catalog;
    for id in state.catalog.series() {
        state.series.entry(id).or_default();
        state.next_series = state.next_series.max(id);
    }
    state
}

/// Removes files that no object or part refers to, and finds the next number.
fn clean_objects(layout: &Layout, state: &mut State) -> io::Result<()> {
    let known: BTreeSet<u64> = state.catalog.files().collect();
    state.next_file = known.last().copied().unwrap_or(0);
    for entry in fs::read_dir(layout.objects())? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if number.is_some_and(|number: u64| !known.contains(&number)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
