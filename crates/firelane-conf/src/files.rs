//! The only way to configuration files, so that tests and fuzzing need no file system.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Reads configuration files.
pub trait Files {
    /// The text of a file. Bytes that are not UTF-8 are an error.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// Whether it exists.
    fn exists(&self, path: &Path) -> bool;

    /// What makes two names the same file.
    fn identity(&self, path: &Path) -> Option<String>;

    /// The files that a pattern with `*` names, in directory order.
    ///
    /// # Errors
    /// The text of what is wrong with the pattern.
    fn glob(&self, pattern: &Path) -> Result<Vec<PathBuf>, String>;
}

/// Why a file cannot be read, and what to do about it.
pub fn unreadable(error: &io::Error) -> (String, &'static str) {
    let (reason, help) = match error.kind() {
        io::ErrorKind::NotFound => ("no such file", "check the path"),
        io::ErrorKind::PermissionDenied => {
            ("permission denied", "let this user read the file and its folder")
        }
        io::ErrorKind::IsADirectory => ("it is a folder", "name a file in it"),
        io::ErrorKind::InvalidData => ("it is not UTF-8 text", "save it as UTF-8"),
        _ => return (error.to_string(), "check that it is a readable text file"),
    };
    (reason.to_string(), help)
}

/// The file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFiles;

/// Largest configuration file, in bytes (Fluent Bit: 32 MiB a line).
const SIZE_MAX: u64 = 32 << 20;

impl Files for RealFiles {
    fn read(&self, path: &Path) -> io::Result<String> {
        let size = std::fs::metadata(path)?.len();
        if size > SIZE_MAX {
            return Err(io::Error::other(format!("{size} bytes, the limit is {SIZE_MAX}")));
        }
        std::fs::read_to_string(path)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn identity(&self, path: &Path) -> Option<String> {
        std::fs::canonicalize(path)
            .ok()
            .map(|path| path.display().to_string())
    }

    fn glob(&self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        let found = glob::glob(&pattern.to_string_lossy()).map_err(|error| error.to_string())?;
        Ok(found
            .filter_map(Result::ok)
            .filter(|path| path.is_file())
            .collect())
    }
}

/// Files in memory, by name.
impl Files for BTreeMap<PathBuf, String> {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.get(path)
            .cloned()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn exists(&self, path: &Path) -> bool {
        self.contains_key(path)
    }

    fn identity(&self, path: &Path) -> Option<String> {
        self.contains_key(path).then(|| path.display().to_string())
    }

    fn glob(&self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        let pattern = glob::Pattern::new(&pattern.to_string_lossy()).map_err(|error| error.to_string())?;
        Ok(self
            .keys()
            .filter(|path| pattern.matches_path(path))
            .cloned()
            .collect())
    }
}
