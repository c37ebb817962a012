//! What a path means: the folder of `storage.path`, a folder of segments, or one segment.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use firelane_buffer::disk::{Disk as _, RealDisk};
use firelane_buffer::store::inspect::{Look, holds_letters};
use firelane_buffer::store::segment_sequence;
use firelane_engine::storage::LOG;

use super::Trouble;

/// The file that a running router has locked.
pub(super) const LOCK: &str = "firelane.lock";

/// A folder of segments.
#[derive(Debug)]
pub(super) struct Folder {
    /// Its name inside the folder that was given; empty where it is that folder.
    pub(super) label: String,
    pub(super) path: PathBuf,
    disk: RealDisk,
    /// The one file that counts.
    only: Option<String>,
}

impl Folder {
    fn new(label: &str, path: &Path, only: Option<String>) -> Self {
        Self {
            label: label.into(),
            path: path.to_path_buf(),
            disk: RealDisk::looking(path),
            only,
        }
    }

    /// The folder, to look at.
    pub(super) fn look(&self) -> Look<'_, RealDisk> {
        match &self.only {
            Some(file) => Look::only(&self.disk, file),
            None => Look::new(&self.disk),
        }
    }

    /// A file in it, for people.
    pub(super) fn file(&self, name: &str) -> String {
        match self.label.as_str() {
            "" => name.into(),
            label => format!("{label}/{name}"),
        }
    }
}

/// A log and its dead letters.
#[derive(Debug)]
pub(super) struct Place {
    /// What was given.
    pub(super) path: PathBuf,
    /// Whether that is the folder of `storage.path`.
    pub(super) is_root: bool,
    pub(super) log: Option<Folder>,
    /// Dead letters, in one folder mostly: the name can be changed.
    pub(super) dead: Vec<Folder>,
}

impl Place {
    /// Looks what is there.
    pub(super) fn find(path: &Path) -> Result<Self, Trouble> {
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Trouble::nothing(path),
            _ => Trouble::unreadable(path, &error),
        };
        if fs::metadata(path).map_err(unreadable)?.is_file() {
            return Self::one_file(path);
        }
        let mut place = Self {
            path: path.to_path_buf(),
            is_root: true,
            log: None,
            dead: Vec::new(),
        };
        let whole = Folder::new("", path, None);
        if has_segments(&whole).map_err(unreadable)? {
            return place.with(whole).map_err(unreadable);
        }
        let mut names: Vec<_> = fs::read_dir(path)
            .map_err(unreadable)?
            .filter_map(|entry| Some(entry.ok()?.file_name()))
            .collect();
        names.sort_unstable();
        for name in names {
            let folder = path.join(&name);
            if !folder.is_dir() {
                continue;
            }
            let folder = Folder::new(&name.to_string_lossy(), &folder, None);
            if name == LOG {
                // Empty or not, it must be readable.
                has_segments(&folder).map_err(unreadable)?;
                place.log = Some(folder);
            } else if has_segments(&folder).is_ok_and(|has| has)
                && holds_letters(folder.look()).map_err(unreadable)?
            {
                place.dead.push(folder);
            }
        }
        let used = place.log.is_some() || !place.dead.is_empty() || path.join(LOCK).exists();
        if used {
            return Ok(place);
        }
        // The folder of the log or of the dead letters, and nothing in it.
        if path.parent().is_some_and(|root| root.join(LOCK).exists()) {
            place.is_root = false;
            return Ok(place);
        }
        Err(Trouble::nothing(path))
    }

    fn one_file(path: &Path) -> Result<Self, Trouble> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        if segment_sequence(&name).is_none() {
            return Err(Trouble::nothing(path));
        }
        let place = Self {
            path: path.to_path_buf(),
            is_root: false,
            log: None,
            dead: Vec::new(),
        };
        let folder = Folder::new("", folder, Some(name.into()));
        place
            .with(folder)
            .map_err(|error| Trouble::unreadable(path, &error))
    }

    /// With a folder that holds one kind of segments.
    fn with(mut self, folder: Folder) -> io::Result<Self> {
        self.is_root = false;
        if holds_letters(folder.look())? {
            self.dead.push(folder);
        } else {
            self.log = Some(folder);
        }
        Ok(self)
    }

    /// An error of the system while the place was read.
    pub(super) fn unreadable(&self) -> impl Fn(io::Error) -> Trouble {
        |error| Trouble::unreadable(&self.path, &error)
    }
}

fn has_segments(folder: &Folder) -> io::Result<bool> {
    let names = folder.look().list()?;
    Ok(names.iter().any(|name| segment_sequence(name).is_some()))
}
