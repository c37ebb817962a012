//! The only way to files, so that a test can stand in for them: fail, tear or reorder writes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A folder of append-only files, by name. Nothing is durable before the matching `sync`.
pub trait Disk: Send + Sync {
    /// A file that is open for appending.
    type File: DiskFile;

    /// Creates a new, empty file; an error if it exists.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens an existing file for reading and for appending at its end.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Names of all files, sorted.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, in place of a file that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes creations and removals durable.
    fn sync_names(&self) -> io::Result<()>;
}

/// A file of a [`Disk`].
pub trait DiskFile: Send {
    /// Appends bytes at the end. After an error any part of them may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Reads up to `buf.len()` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether it is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts it to `len` bytes.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Makes what was appended durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// A folder of the real filesystem.
#[derive(Debug, Clone)]
pub struct RealDisk {
    root: PathBuf,
    sync: SyncMode,
    /// Files are opened for reading alone.
    looks: bool,
}

/// What [`DiskFile::sync`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SyncMode {
    /// Bytes and length.
    Data,
    /// All that is known of the file.
    Full,
    /// Nothing: the folder does not outlive the process.
    Never,
}

impl RealDisk {
    /// The folder `root`, which is created if it is missing.
    pub fn new(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        Ok(Self {
            root: root.to_path_buf(),
            sync: SyncMode::Data,
            looks: false,
        })
    }

    /// The folder `root`, which must be there and is not written to: it needs no more than the right to read.
    pub fn looking(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            sync: SyncMode::Never,
            looks: true,
        }
    }

    /// Syncs the files' times too, not only their bytes and lengths (`storage.sync full`).
    #[must_use]
    pub fn with_full_sync(mut self, full_sync: bool) -> Self {
        self.sync = if full_sync { SyncMode::Full } else { SyncMode::Data };
        self
    }

    /// Never syncs: for files that do not outlive the process.
    #[must_use]
    pub fn without_sync(mut self) -> Self {
        self.sync = SyncMode::Never;
        self
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Names come from this program, never from a tag; a separator in one would be a bug that must not
    /// escape.
    fn path(&self, name: &str) -> io::Result<PathBuf> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{name}` is no plain file name"),
            ));
        }
        Ok(self.root.join(name))
    }

    fn file(&self, file: fs::File) -> RealFile {
        RealFile {
            file,
            sync: self.sync,
        }
    }
}

impl Disk for RealDisk {
    type File = RealFile;

    fn create(&self, name: &str) -> io::Result<RealFile> {
        let file = fs::OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .open(self.path(name)?)?;
        Ok(self.file(file))
    }

    fn open(&self, name: &str) -> io::Result<RealFile> {
        Ok(self.file(
            fs::OpenOptions::new()
                .read(true)
                .append(!self.looks)
                .open(self.path(name)?)?,
        ))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name)?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from)?, self.path(to)?)
    }

    fn sync_names(&self) -> io::Result<()> {
        if self.sync == SyncMode::Never {
            return Ok(());
        }
        fs::File::open(&self.root)?.sync_all()
    }
}

/// A file of a [`RealDisk`].
#[derive(Debug)]
pub struct RealFile {
    file: fs::File,
    sync: SyncMode,
}

impl DiskFile for RealFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut self.file, bytes)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let n = std::os::unix::fs::FileExt::read_at(&self.file, &mut buf[done..], offset + done as u64)?;
            if n == 0 {
                break;
            }
            done += n;
        }
        Ok(done)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.sync {
            SyncMode::Data => self.file.sync_data(),
            SyncMode::Full => self.file.sync_all(),
            SyncMode::Never => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_disk_keeps_what_was_appended() {
        let root = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(&root.path().join("new")).unwrap();
        let mut file = disk.create("b").unwrap();
        file.append(b"hello ").unwrap();
        file.append(b"world").unwrap();
        file.truncate(8).unwrap();
        file.append(b"!").unwrap();
        file.sync().unwrap();
        disk.create("a").unwrap();
        disk.sync_names().unwrap();
        assert_eq!(disk.list().unwrap(), ["a", "b"]);
        let mut buf = [0; 16];
        let n = disk.open("b").unwrap().read_at(6, &mut buf).unwrap();
        assert_eq!(&buf[..n], b"wo!");
        disk.remove("a").unwrap();
        disk.rename("b", "c").unwrap();
        assert_eq!(disk.list().unwrap(), ["c"]);
    }

    #[test]
    fn who_looks_reads_alone() {
        let root = tempfile::tempdir().unwrap();
        RealDisk::new(root.path())
            .unwrap()
            .create("a")
            .unwrap()
            .append(b"x")
            .unwrap();
        let disk = RealDisk::looking(root.path());
        let mut file = disk.open("a").unwrap();
        assert_eq!(file.len().unwrap(), 1);
        assert!(file.append(b"y").is_err());
        assert!(RealDisk::looking(&root.path().join("none")).list().is_err());
        assert!(!root.path().join("none").exists());
    }

    #[test]
    fn names_stay_inside_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(root.path()).unwrap();
        for name in ["../x", "a/b", "", ".hidden"] {
            assert!(disk.create(name).is_err(), "{name}");
        }
    }
}
