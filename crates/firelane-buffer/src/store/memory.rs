//! A folder in memory, for tests and for the fuzzer.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile};

type Bytes = Arc<Mutex<Vec<u8>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The folder. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    files: Arc<Mutex<BTreeMap<String, Bytes>>>,
    /// Appends that succeed before one fails half-way; `None`: all do.
    appends: Arc<Mutex<Option<u32>>>,
}

impl MemoryDisk {
    /// Puts a file there, or another in its place.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        lock(&self.files).insert(name.to_string(), Arc::new(Mutex::new(bytes)));
    }

    /// A file's bytes.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let files = lock(&self.files);
        files.get(name).map(|bytes| lock(bytes).clone())
    }

    /// The append after so many others writes the half of what it is given, and fails.
    pub fn fail_after(&self, appends: u32) {
        *lock(&self.appends) = Some(appends);
    }
}

/// A file of it.
#[derive(Debug)]
pub struct MemoryFile {
    bytes: Bytes,
    appends: Arc<Mutex<Option<u32>>>,
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn create(&self, name: &str) -> io::Result<MemoryFile> {
        let mut files = lock(&self.files);
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let bytes = Bytes::default();
        files.insert(name.to_string(), bytes.clone());
        let appends = self.appends.clone();
        Ok(MemoryFile { bytes, appends })
    }

    fn open(&self, name: &str) -> io::Result<MemoryFile> {
        let files = lock(&self.files);
        let bytes = files.get(name).ok_or(io::ErrorKind::NotFound)?.clone();
        let appends = self.appends.clone();
        Ok(MemoryFile { bytes, appends })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.files).keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = lock(&self.files).remove(name);
        removed.map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = lock(&self.files);
        let bytes = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_string(), bytes);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut appends = lock(&self.appends);
        if let Some(left) = appends.as_mut() {
            if *left == 0 {
                *appends = None;
                lock(&self.bytes).extend_from_slice(&bytes[..bytes.len() / 2]);
                return Err(io::ErrorKind::StorageFull.into());
            }
            *left -= 1;
        }
        lock(&self.bytes).extend_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = lock(&self.bytes);
        let part = usize::try_from(offset).ok().and_then(|at| bytes.get(at..));
        let part = part.unwrap_or_default();
        let read = part.len().min(buf.len());
        buf[..read].copy_from_slice(&part[..read]);
        Ok(read)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.bytes).len() as u64)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        lock(&self.bytes).truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}
