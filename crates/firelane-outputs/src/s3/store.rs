//! The folder below `store_dir`: the journal of this output's unfinished uploads, `$INDEX`, and which keys
//! were used last.
//!
//! `<store_dir>/<bucket>/uploads-….journal` is locked by the output that writes it. One that nobody has
//! locked belongs to a process that is gone: what it says is taken up by the next output that opens the
//! folder. All calls here may wait for the disk.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::warn;

use super::journal::{MAGIC, Part, Upload, replay, write_begin, write_end, write_part, write_upload};

/// Largest journal that is read: a million parts.
const JOURNAL_MAX: u64 = 256 << 20;
/// From here on a journal that holds little is written anew.
const REWRITE_FROM: u64 = 1 << 20;
/// What an entry of a live upload takes at most, usually.
const ENTRY_USUAL: u64 = 512;
/// Keys of objects that are remembered.
pub(super) const KEYS_MAX: usize = 4096;
/// From here on the file of keys is cut to those, in bytes.
const KEYS_FILE_MAX: u64 = 1 << 20;
/// Digits of the number in the file of `$INDEX`.
const INDEX_DIGITS: usize = 20;

/// Name of the file of keys: eight bytes each.
const KEYS: &str = "keys";

/// The folder, with a journal of its own.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    journal: Mutex<Journal>,
}

#[derive(Debug)]
struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes of whole entries.
    length: u64,
    /// A write has failed: what stands behind `length` is junk.
    broken: bool,
    next: u64,
    live: BTreeMap<u64, Upload>,
}

/// A file that could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", .path.display())]
pub(super) struct StoreError {
    path: PathBuf,
    error: io::Error,
}

impl StoreError {
    /// The call itself failed.
    pub(super) fn of_task(error: tokio::task::JoinError) -> Self {
        Self {
            path: PathBuf::from("store_dir"),
            error: io::Error::other(error),
        }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_path_buf();
    move |error| StoreError { path, error }
}

/// Milliseconds since 1970.
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

impl Store {
    /// Opens the folder and takes up what processes that are gone have left; gives the uploads that are not
    /// finished, by their numbers.
    pub(super) fn open(folder: &Path) -> Result<(Self, BTreeMap<u64, Upload>), StoreError> {
        fs::create_dir_all(folder).map_err(at(folder))?;
        let left = leftovers(folder)?;
        let mut live = BTreeMap::new();
        for (number, upload) in (0..).zip(left.iter().flat_map(|left| left.uploads.values())) {
            // One that two journals name is one.
            let known = |known: &Upload| known.id == upload.id && known.key == upload.key;
            if !live.values().any(known) {
                live.insert(number, upload.clone());
            }
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("uploads-{:x}-{}-{count}.journal", wall_ms(), std::process::id());
        let path = folder.join(name);
        let (file, length) = write_whole(&path, &live)?;
        for left in left {
            // What is damaged is kept for people. One that stays is taken up once more, and found finished.
            let gone = match left.is_torn {
                true => fs::rename(&left.path, left.path.with_extension("bad")),
                false => fs::remove_file(&left.path),
            };
            if let Err(error) = gone {
                warn!(target: "output", file = %left.path.display(), %error, "an old journal of uploads cannot be removed");
            }
        }
        let journal = Journal {
            path,
            file,
            length,
            broken: false,
            next: live.last_key_value().map_or(0, |(number, _)| number + 1),
            live: live.clone(),
        };
        let store = Self {
            folder: folder.to_path_buf(),
            journal: Mutex::new(journal),
        };
        Ok((store, live))
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes down that an upload was begun; gives its number. Not synced.
    pub(super) fn begin(&self, upload: Upload) -> Result<u64, StoreError> {
        let mut journal = self.journal();
        let number = journal.next;
        let mut entry = Vec::new();
        write_begin(&mut entry, number, &upload);
        journal.append(&entry, false)?;
        journal.next += 1;
        journal.live.insert(number, upload);
        Ok(number)
    }

    /// Takes down that S3 has a part; on disk when this returns.
    pub(super) fn part(&self, number: u64, part: Part) -> Result<(), StoreError> {
        let mut journal = self.journal();
        let mut entry = Vec::new();
        write_part(&mut entry, number, &part);
        journal.append(&entry, true)?;
        if let Some(upload) = journal.live.get_mut(&number) {
            upload.parts.push(part);
        }
        Ok(())
    }

    /// Takes down that an upload is over. Not synced. One that cannot be written is asked for again by the
    /// next start.
    pub(super) fn end(&self, number: u64) -> Result<(), StoreError> {
        let mut journal = self.journal();
        journal.live.remove(&number);
        let mut entry = Vec::new();
        write_end(&mut entry, number);
        journal.append(&entry, false)?;
        journal.tidy()
    }

    /// Removes a journal that says nothing. The store is not used any more.
    pub(super) fn close(&self) {
        let journal = self.journal();
        if journal.live.is_empty() {
            // One that stays behind is empty, and the next start removes it.
            let _ = fs::remove_file(&journal.path);
        }
    }

    /// Remembers that an object has a key, by its number. Not synced.
    pub(super) fn note_key(&self, key: u64) -> Result<(), StoreError> {
        let path = self.folder.join(KEYS);
        let write = || {
            let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
            file.write_all(&key.to_le_bytes())
        };
        write().map_err(at(&path))
    }

    /// The keys that were noted last, oldest first.
    pub(super) fn known_keys(&self) -> Result<Vec<u64>, StoreError> {
        let path = self.folder.join(KEYS);
        last_keys(&path).map_err(at(&path))
    }

    /// The next number for `$INDEX`: 0, 1, 2 … over restarts. On disk when this returns, so that none is used
    /// twice. `name` tells formats apart.
    pub(super) fn next_index(&self, name: u64) -> Result<u64, StoreError> {
        let path = self.folder.join(format!("index-{name:016x}"));
        next_number(&path).map_err(at(&path))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

impl Journal {
    fn append(&mut self, entry: &[u8], sync: bool) -> Result<(), StoreError> {
        if self.broken {
            self.rewrite()?;
        }
        let write = || {
            self.file.write_all(entry)?;
            if sync { self.file.sync_data() } else { Ok(()) }
        };
        let mut write = write;
        match write() {
            Ok(()) => {
                self.length += entry.len() as u64;
                Ok(())
            }
            Err(error) => {
                // It may stand there whole or in part; the next write begins with a new file.
                self.broken = true;
                Err(at(&self.path)(error))
            }
        }
    }

    /// Keeps the file small.
    fn tidy(&mut self) -> Result<(), StoreError> {
        let entries: usize = self.live.values().map(|upload| 1 + upload.parts.len()).sum();
        let needed = entries as u64 * ENTRY_USUAL;
        if self.length > REWRITE_FROM && needed < self.length / 2 {
            return self.rewrite();
        }
        Ok(())
    }

    /// Puts a file in place of this one that says only what is needed.
    fn rewrite(&mut self) -> Result<(), StoreError> {
        let (file, length) = write_whole(&self.path, &self.live)?;
        (self.file, self.length, self.broken) = (file, length, false);
        Ok(())
    }
}

/// Writes a journal, locked and synced, before it has its name; gives it, ready to be appended to.
fn write_whole(path: &Path, live: &BTreeMap<u64, Upload>) -> Result<(File, u64), StoreError> {
    let fresh = path.with_extension("new");
    let write = || {
        let mut file = File::create(&fresh)?;
        file.lock()?;
        let mut bytes = MAGIC.to_vec();
        for (number, upload) in live {
            write_upload(&mut bytes, *number, upload);
        }
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok((file, bytes.len() as u64))
    };
    write().map_err(at(path))
}

/// A journal of a process that is gone; locked as long as this lives.
struct Leftover {
    path: PathBuf,
    uploads: BTreeMap<u64, Upload>,
    is_torn: bool,
    _lock: File,
}

fn leftovers(folder: &Path) -> Result<Vec<Leftover>, StoreError> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .map_err(at(folder))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "journal"))
        .collect();
    paths.sort_unstable();
    let mut left = Vec::new();
    for path in paths {
        match leftover(&path) {
            Ok(found) => left.extend(found),
            Err(error) => {
                warn!(target: "output", file = %path.display(), %error, "a journal of unfinished uploads cannot be read, it is left alone");
            }
        }
    }
    Ok(left)
}

/// What a journal says, unless it is somebody's who lives.
fn leftover(path: &Path) -> io::Result<Option<Leftover>> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let metadata = file.metadata()?;
    if fs::metadata(path)?.ino() != metadata.ino() {
        // Somebody who lives has put another one in its place.
        return Ok(None);
    }
    if metadata.len() > JOURNAL_MAX {
        return Err(io::Error::other(format!("it is larger than {JOURNAL_MAX} bytes")));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    if bytes.len() >= MAGIC.len() && !bytes.starts_with(MAGIC) {
        return Err(io::Error::other("it is of another version, or no journal"));
    }
    let replayed = replay(&bytes);
    if replayed.torn > 0 {
        warn!(target: "output", file = %path.display(), bytes = replayed.torn, "a journal of uploads is not whole: what stands behind that place counts for nothing; it is kept as `.bad`");
    }
    Ok(Some(Leftover {
        path: path.to_path_buf(),
        uploads: replayed.uploads,
        is_torn: replayed.torn > 0,
        _lock: file,
    }))
}

/// Reads the end of the file of keys, and cuts the file to that where it has become large.
fn last_keys(path: &Path) -> io::Result<Vec<u64>> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.lock()?;
    let length = file.metadata()?.len();
    let whole = length - length % 8;
    let from = whole.saturating_sub(KEYS_MAX as u64 * 8);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    (&mut file).take(whole - from).read_to_end(&mut bytes)?;
    if length > KEYS_FILE_MAX || length != whole {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&bytes)?;
    }
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).ok();
    Ok(bytes.chunks_exact(8).filter_map(number).collect())
}

/// Takes the next number from a file of its own.
fn next_number(path: &Path) -> io::Result<u64> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    // Other outputs, and other routers, may use the same one.
    file.lock()?;
    let mut text = String::new();
    (&mut file).take(64).read_to_string(&mut text)?;
    let number: u64 = match text.trim() {
        "" => 0,
        digits => digits.parse().map_err(|_| {
            io::Error::other(format!("`{digits}` is no number; remove the file to begin at 0"))
        })?,
    };
    file.seek(SeekFrom::Start(0))?;
    let next = number.saturating_add(1);
    file.write_all(format!("{next:0INDEX_DIGITS$}\n").as_bytes())?;
    file.sync_data()?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(key: &str) -> Upload {
        Upload {
            begun: 5,
            tag: b"t"[..].into(),
            key: key.into(),
            id: format!("id-{key}"),
            parts: Vec::new(),
        }
    }

    fn part(number: u32) -> Part {
        Part {
            number,
            stored: 6_000_000,
            records: 10,
            bytes: 5_000_000,
            etag: format!("etag-{number}"),
        }
    }

    fn journals(folder: &Path) -> usize {
        let entries = fs::read_dir(folder).unwrap().flatten();
        entries
            .filter(|entry| entry.path().extension().is_some_and(|e| e == "journal"))
            .count()
    }

    /// Lets go of a store as a kill does.
    fn kill(store: Store) {
        let folder = store.folder.clone();
        let path = store.journal().path.clone();
        let bytes = fs::read(&path).unwrap();
        drop(store);
        fs::write(folder.join("uploads-killed.journal"), bytes).unwrap();
        // It may be gone already, where it said nothing.
        let _ = fs::remove_file(path);
    }

    #[test]
    fn what_a_process_left_is_taken_up_once() {
        let folder = tempfile::tempdir().unwrap();
        let (store, left) = Store::open(folder.path()).unwrap();
        assert!(left.is_empty());
        let a = store.begin(upload("a")).unwrap();
        let b = store.begin(upload("b")).unwrap();
        store.part(a, part(1)).unwrap();
        store.part(b, part(1)).unwrap();
        store.part(a, part(2)).unwrap();
        store.end(b).unwrap();
        let (other, left) = Store::open(folder.path()).unwrap();
        assert!(left.is_empty(), "it belongs to somebody who lives");
        drop(other);
        kill(store);
        let (store, left) = Store::open(folder.path()).unwrap();
        let left: Vec<_> = left.into_iter().collect();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].1.parts, [part(1), part(2)]);
        assert_eq!((left[0].1.records(), left[0].1.stored()), (20, 12_000_000));
        assert_eq!(journals(folder.path()), 1);
        store.end(left[0].0).unwrap();
        drop(store);
        assert_eq!(journals(folder.path()), 0, "nothing is left of it");
    }

    #[test]
    fn what_is_no_whole_journal_is_kept_for_people() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path()).unwrap();
        let a = store.begin(upload("a")).unwrap();
        store.part(a, part(1)).unwrap();
        kill(store);
        let path = folder.path().join("uploads-killed.journal");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], b"half"].concat()).unwrap();
        let later = folder.path().join("uploads-later.journal");
        fs::write(&later, "FLS3UP9\n...").unwrap();
        let (store, left) = Store::open(folder.path()).unwrap();
        assert_eq!(left.values().next().unwrap().parts, [part(1)]);
        assert!(!path.exists() && folder.path().join("uploads-killed.bad").exists());
        assert!(later.exists(), "a later version may know it");
        drop(store);
    }

    #[test]
    fn a_journal_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path()).unwrap();
        let kept = store.begin(upload("kept")).unwrap();
        store.part(kept, part(1)).unwrap();
        let long = "k".repeat(1000);
        for _ in 0..2500 {
            let number = store.begin(upload(&long)).unwrap();
            store.end(number).unwrap();
        }
        let length = fs::metadata(&store.journal().path).unwrap().len();
        assert!(length <= REWRITE_FROM + 4096, "{length}");
        kill(store);
        let (_, left) = Store::open(folder.path()).unwrap();
        assert_eq!(left.values().next().unwrap().parts, [part(1)]);
    }

    #[test]
    fn a_write_that_failed_does_not_spoil_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path()).unwrap();
        let a = store.begin(upload("a")).unwrap();
        {
            let mut journal = store.journal();
            let path = journal.path.clone();
            // As a full disk leaves it: half an entry, and no way to write.
            fs::write(&path, [fs::read(&path).unwrap(), vec![7; 3]].concat()).unwrap();
            journal.file = File::open(&path).unwrap();
        }
        assert!(store.part(a, part(1)).is_err());
        store.part(a, part(1)).unwrap();
        kill(store);
        let (_, left) = Store::open(folder.path()).unwrap();
        assert_eq!(left.values().next().unwrap().parts, [part(1)]);
    }

    #[test]
    fn keys_are_remembered_and_their_file_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path()).unwrap();
        assert_eq!(store.known_keys().unwrap(), [0_u64; 0]);
        store.note_key(7).unwrap();
        store.note_key(u64::MAX).unwrap();
        assert_eq!(store.known_keys().unwrap(), [7, u64::MAX]);
        let path = folder.path().join(KEYS);
        let junk = vec![1; KEYS_FILE_MAX as usize + 11];
        fs::write(&path, junk).unwrap();
        let known = store.known_keys().unwrap();
        assert_eq!(known, vec![0x0101_0101_0101_0101; KEYS_MAX]);
        assert_eq!(fs::metadata(&path).unwrap().len(), KEYS_MAX as u64 * 8);
    }

    #[test]
    fn the_index_counts_over_restarts_and_formats() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path()).unwrap();
        assert_eq!(store.next_index(1).unwrap(), 0);
        assert_eq!(store.next_index(1).unwrap(), 1);
        assert_eq!(store.next_index(2).unwrap(), 0);
        drop(store);
        let (store, _) = Store::open(folder.path()).unwrap();
        assert_eq!(store.next_index(1).unwrap(), 2);
        fs::write(folder.path().join("index-0000000000000001"), "junk").unwrap();
        let error = store.next_index(1).unwrap_err().to_string();
        assert!(
            error.contains("index-0000000000000001") && error.contains("no number"),
            "{error}"
        );
    }
}
