//! The folder of the log: that of `storage.path`, which outlives the process, or one of our own below the
//! folder for temporary files, into which records go that do not fit into memory.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use firelane_buffer::Store;
use firelane_buffer::disk::RealDisk;
use firelane_buffer::store::StoreOptions;
use firelane_buffer::store::dead::DeadLetters;
use firelane_buffer::store::recover::{Note, Recovered, Recovery};
use firelane_conf::StorageConfig;
use tracing::{debug, error, info, warn};

use crate::budget::Budget;
use crate::journal::Journal;

/// The lock: one router for each folder.
const LOCK: &str = "firelane.lock";
/// The log's folder inside `storage.path`.
pub const LOG: &str = "log";
/// Folders of our own below that for temporary files begin so.
const SPILL: &str = "firelane-spill-";
/// Bytes of a log that is ours alone, without `firelane.storage_limit`.
const SPILL_LIMIT: u64 = 1 << 30;
/// With less memory for records nothing is spilled unless told so: what was just written counts against the
/// limit of a container too, and waiting clients are better than a router that is killed.
const SPILL_MEMORY_MIN: usize = 32 << 20;
/// Bytes of dead letters without `storage.rejected.limit`.
const REJECTED_LIMIT: u64 = 256 << 20;
/// Largest and smallest segment, in bytes.
const SEGMENT_MAX: u64 = 32 << 20;
const SEGMENT_MIN: u64 = 256 << 10;

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StorageError {
    /// What happened, with the path.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// An open log.
pub(crate) struct Opened {
    pub(crate) store: Store<RealDisk>,
    pub(crate) recovery: Recovery,
    pub(crate) dead: Option<DeadLetters<RealDisk>>,
    /// Bytes that it may have; `u64::MAX`: as the disk allows.
    pub(crate) limit: u64,
    pub(crate) folder: Folder,
}

/// The folder and its lock, held as long as the log is open.
#[derive(Debug)]
pub(crate) struct Folder {
    _lock: File,
    root: PathBuf,
    /// Whether it outlives the process.
    pub(crate) keeps: bool,
}

impl Folder {
    /// Removes a folder of our own.
    pub(crate) fn close(self) {
        if !self.keeps {
            // What stays is removed by the next start.
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

/// The log on disk of a running router.
pub(crate) struct OpenStorage {
    pub(crate) journal: Arc<Journal>,
    thread: std::thread::JoinHandle<()>,
    folder: Folder,
}

impl OpenStorage {
    /// Writes what is there, and ends.
    pub(crate) async fn close(self) {
        let Self {
            journal,
            thread,
            folder,
        } = self;
        journal.end();
        let end = move || {
            if thread.join().is_err() {
                error!(target: "storage", "a bug: the commit thread has panicked");
            }
            folder.close();
        };
        // It cannot be cancelled before the process ends.
        let _ = tokio::task::spawn_blocking(end).await;
    }
}

/// Opens the log that `config` asks for and starts its thread. Gives what an earlier run has left, too.
pub(crate) async fn open_with_thread(
    config: &StorageConfig,
    budget: &Arc<Budget>,
) -> Result<(Option<OpenStorage>, Vec<Recovered>), StorageError> {
    let (config, budget) = (config.clone(), budget.clone());
    let opened = tokio::task::spawn_blocking(move || start(&config, budget)).await;
    opened.unwrap_or_else(|error| {
        Err(StorageError {
            message: format!("a bug while the log was opened: {error}"),
            help: "please report it".into(),
        })
    })
}

fn start(
    config: &StorageConfig,
    budget: Arc<Budget>,
) -> Result<(Option<OpenStorage>, Vec<Recovered>), StorageError> {
    let Some(opened) = open(config, budget.limit())? else {
        return Ok((None, Vec::new()));
    };
    let Opened {
        store,
        recovery,
        dead,
        limit,
        folder,
    } = opened;
    if folder.keeps {
        budget.set_kept();
    }
    let numbers = (recovery.epoch, recovery.next_id);
    let journal = Journal::new(store.blocks(), dead, budget, numbers, (folder.keeps, limit));
    let thread = crate::commit::start(journal.clone(), store).map_err(|error| StorageError {
        message: format!("cannot start the thread that writes the log: {error}"),
        help: "look at the limits of processes and threads".into(),
    })?;
    let storage = OpenStorage {
        journal,
        thread,
        folder,
    };
    Ok((Some(storage), recovery.blocks))
}

/// Opens the log that `config` asks for. `None`: there is none, records stay in memory.
/// `memory`: bytes that records may have in memory.
pub(crate) fn open(config: &StorageConfig, memory: usize) -> Result<Option<Opened>, StorageError> {
    match &config.path {
        Some(path) => open_kept(Path::new(path), config).map(Some),
        None if config.spill_path.is_none() && memory < SPILL_MEMORY_MIN => {
            debug!(target: "storage", memory, "memory is small: nothing is spilled unless `firelane.spill_path` is set");
            Ok(None)
        }
        None => Ok(open_spill(config)),
    }
}

fn open_kept(root: &Path, config: &StorageConfig) -> Result<Opened, StorageError> {
    let failed = |what: &str, error: &io::Error| StorageError {
        message: format!("{what} `{}`: {error}", root.display()),
        help: "`storage.path` needs a folder in which this user may write".into(),
    };
    fs::create_dir_all(root).map_err(|error| failed("cannot make the folder", &error))?;
    let lock = match lock(root) {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            return Err(StorageError {
                message: format!("another router uses `{}`", root.display()),
                help: "give each router a `storage.path` of its own".into(),
            });
        }
        Err(error) => return Err(failed("cannot lock the folder", &error)),
    };
    tell_foreign(root);
    let disk = RealDisk::new(&root.join(LOG)).map_err(|error| failed("cannot make the log in", &error))?;
    // A folder that somebody else made keeps the rights that they gave it.
    let _ = restrict(&root.join(LOG));
    let disk = disk.with_full_sync(config.full_sync);
    let limit = config.limit.unwrap_or(u64::MAX);
    let options = options(config, limit);
    let (store, recovery) =
        Store::open(disk, options).map_err(|error| failed("cannot read the log in", &error))?;
    tell(&root.join(LOG), &recovery);
    let dead = if config.keep_rejected.unwrap_or(true) {
        let disk = RealDisk::new(&root.join(&config.rejected_path));
        let _ = restrict(&root.join(&config.rejected_path));
        let open = |disk| DeadLetters::open(disk, config.rejected_limit.unwrap_or(REJECTED_LIMIT));
        let dead = disk.and_then(open);
        Some(dead.map_err(|error| failed("cannot open the dead letters in", &error))?)
    } else {
        None
    };
    Ok(Opened {
        store,
        recovery,
        dead,
        limit,
        folder: Folder {
            _lock: lock,
            root: root.to_path_buf(),
            keeps: true,
        },
    })
}

/// A log that holds what does not fit into memory, as long as the process lives. Where there can be none,
/// inputs wait instead.
fn open_spill(config: &StorageConfig) -> Option<Opened> {
    let named = config.spill_path.as_deref();
    if named.is_some_and(|path| path.eq_ignore_ascii_case("off")) {
        return None;
    }
    let base = named.map_or_else(std::env::temp_dir, PathBuf::from);
    if named.is_none() && is_in_memory(&base) {
        debug!(target: "storage", path = %base.display(), "temporary files are in memory: nothing is spilled there");
        return None;
    }
    remove_stale(&base);
    match try_spill(&base, config) {
        Ok(opened) => Some(opened),
        Err(error) => {
            let path = base.display();
            match named {
                Some(_) => {
                    warn!(target: "storage", %path, %error, "cannot write into `firelane.spill_path`: at the limit of memory inputs wait");
                }
                None => {
                    debug!(target: "storage", %path, %error, "nothing can be spilled: at the limit of memory inputs wait");
                }
            }
            None
        }
    }
}

fn try_spill(base: &Path, config: &StorageConfig) -> io::Result<Opened> {
    let pid = std::process::id();
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos());
    let root = base.join(format!("{SPILL}{pid}-{nanos:x}"));
    fs::create_dir(&root)?;
    restrict(&root)?;
    let lock = lock(&root)?.ok_or_else(|| io::Error::other("the new folder is locked already"))?;
    let disk = RealDisk::new(&root.join(LOG))?.without_sync();
    let limit = config.limit.unwrap_or(SPILL_LIMIT);
    let (store, recovery) = Store::open(disk, options(config, limit))?;
    Ok(Opened {
        store,
        recovery,
        dead: None,
        limit,
        folder: Folder {
            _lock: lock,
            root,
            keeps: false,
        },
    })
}

/// Logs are for nobody else.
fn restrict(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

fn options(config: &StorageConfig, limit: u64) -> StoreOptions {
    StoreOptions {
        segment_bytes: (limit / 8).clamp(SEGMENT_MIN, SEGMENT_MAX),
        delete_damaged: config.delete_damaged,
    }
}

/// Locks a folder; `None`: somebody else has. The system gives the lock back when a process dies.
fn lock(root: &Path) -> io::Result<Option<File>> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(root.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes folders that a router left when it was killed. What was in them was in memory only, to its
/// clients.
fn remove_stale(base: &Path) {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(SPILL)) {
        let root = entry.path();
        if let Ok(Some(_lock)) = lock(&root) {
            // It may be another user's.
            let _ = fs::remove_dir_all(&root);
        }
    }
}

/// Whether a folder is of a filesystem that keeps its files in memory. Source: proc(5), mountinfo.
fn is_in_memory(folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else {
        return false;
    };
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mount = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let (at, kind) = (words.next()?.to_string(), words.next()?.to_string());
        folder.starts_with(&at).then_some((at.len(), kind))
    };
    let innermost = mounts.lines().filter_map(mount).max_by_key(|(len, _)| *len);
    innermost.is_some_and(|(_, kind)| kind == "tmpfs" || kind == "ramfs")
}

/// Fluent Bit's own chunks are not read.
fn tell_foreign(root: &Path) {
    let folders = fs::read_dir(root).into_iter().flatten().flatten();
    let mut files = folders
        .filter_map(|entry| fs::read_dir(entry.path()).ok())
        .flatten()
        .flatten();
    if files.any(|entry| entry.path().extension().is_some_and(|end| end == "flb")) {
        warn!(target: "storage", path = %root.display(),
            "chunks of Fluent Bit lie here and are not read: let Fluent Bit deliver them, or delete them");
    }
}

/// Says what a start has found.
fn tell(folder: &Path, recovery: &Recovery) {
    let path = folder.display();
    for note in &recovery.notes {
        match note {
            Note::Torn { file, offset, len } => {
                info!(target: "storage", %path, %file, offset, bytes = len, "the last write was cut off, nothing in it had been acknowledged");
            }
            Note::Damaged {
                file,
                offset,
                len,
                kept,
            } => {
                let kept = kept.as_deref().unwrap_or("nothing");
                error!(target: "storage", %path, %file, offset, bytes = len, %kept, "a part of the log is damaged: its records are lost, all others are not");
            }
            Note::Unreadable { file, why, kept } => {
                let kept = kept.as_deref().unwrap_or("nothing");
                error!(target: "storage", %path, %file, %why, %kept, "a segment of the log cannot be read: its records are not delivered");
            }
            Note::Again { file } => {
                warn!(target: "storage", %path, %file, "some settlements are damaged: records may be delivered again");
            }
            _ => {}
        }
    }
    if !recovery.blocks.is_empty() {
        let blocks = recovery.blocks.len();
        info!(target: "storage", %path, blocks, "records of an earlier run are on disk and will be delivered first");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_router_for_each_folder() {
        let root = tempfile::tempdir().unwrap();
        let config = StorageConfig {
            path: Some(root.path().display().to_string()),
            ..StorageConfig::default()
        };
        let first = open(&config, 1 << 30).unwrap().unwrap();
        assert!(first.folder.keeps && first.dead.is_some());
        for folder in [LOG, "rejected"] {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(root.path().join(folder))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o700, "{folder} is for others too");
        }
        let second = open(&config, 1 << 30).err().unwrap();
        assert!(second.message.starts_with("another router uses"), "{second}");
        drop(first);
        assert!(open(&config, 1 << 30).is_ok());
    }

    #[test]
    fn a_folder_of_our_own_goes_with_us_and_stale_ones_at_the_next_start() {
        let base = tempfile::tempdir().unwrap();
        let config = StorageConfig {
            spill_path: Some(base.path().display().to_string()),
            ..StorageConfig::default()
        };
        let count = || fs::read_dir(base.path()).unwrap().count();
        let killed = open(&config, 1 << 30).unwrap().unwrap();
        drop(killed);
        assert_eq!(count(), 1);
        let next = open(&config, 1 << 30).unwrap().unwrap();
        assert_eq!(count(), 1, "the stale one is gone");
        next.folder.close();
        assert_eq!(count(), 0);
        let off = StorageConfig {
            spill_path: Some("off".into()),
            ..StorageConfig::default()
        };
        assert!(open(&off, 1 << 30).unwrap().is_none());
        assert!(
            open(&StorageConfig::default(), 1 << 20).unwrap().is_none(),
            "memory is small"
        );
    }
}
