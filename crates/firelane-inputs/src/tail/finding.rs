//! Which paths an input means.

use std::borrow::Cow;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::positions::FileId;
use super::source::id_of;

/// As the C library's `glob`: a `*` takes no leading dot.
const OPTIONS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// The paths that match a pattern and no exclusion. Folders that cannot be read count as empty.
pub(super) fn find(patterns: &[String], exclude: &[glob::Pattern]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for pattern in patterns {
        let Ok(paths) = glob::glob_with(pattern, OPTIONS) else {
            continue;
        };
        found.extend(paths.flatten().filter(|path| !is_excluded(exclude, path)));
    }
    found
}

/// Whether [`find`] would give `path`, were there such a file.
pub(super) fn matches(patterns: &[String], exclude: &[glob::Pattern], path: &Path) -> bool {
    let fits = |pattern: &String| {
        glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches_path_with(path, OPTIONS))
    };
    patterns.iter().any(fits) && !is_excluded(exclude, path)
}

/// As `fnmatch` without flags: here a `*` takes slashes too.
fn is_excluded(exclude: &[glob::Pattern], path: &Path) -> bool {
    exclude.iter().any(|pattern| pattern.matches_path(path))
}

/// A file under another name.
pub(super) struct Renamed {
    pub(super) id: FileId,
    pub(super) path: PathBuf,
    pub(super) file: File,
}

/// The file with `inode` that was called `path` and is now called otherwise in the same folder.
pub(super) fn renamed(path: &Path, inode: u64) -> Option<Renamed> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = std::fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
    entries.flatten().find_map(|entry| {
        let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let id = id_of(&metadata);
        let file = (id.inode == inode).then(|| File::open(entry.path()).ok())??;
        Some(Renamed {
            id,
            path: entry.path(),
            file,
        })
    })
}

/// The bytes of a path.
pub(super) fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// A path as text for the database.
pub(super) fn name_of(path: &Path) -> Cow<'_, str> {
    path.to_string_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_files_but_not_hidden_or_excluded_ones() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.log", "a.log", ".hidden.log", "skip1.log", "a.txt"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        let root = dir.path().display();
        let patterns = [
            format!("{root}/*.log"),
            format!("{root}/a.txt"),
            format!("{root}/none"),
        ];
        let exclude = [glob::Pattern::new("*/skip*.log").unwrap()];
        let found = find(&patterns, &exclude);
        let names: Vec<_> = found
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["a.log", "b.log", "a.txt"]);
        assert!(found.iter().all(|path| matches(&patterns, &exclude, path)));
        assert!(!matches(&patterns, &exclude, &dir.path().join("skip2.log")));
    }

    #[test]
    fn a_renamed_file_is_found_by_its_inode() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("a.log"), dir.path().join("a.log.1"));
        std::fs::write(&old, "x").unwrap();
        let inode = id_of(&std::fs::metadata(&old).unwrap()).inode;
        std::fs::rename(&old, &new).unwrap();
        assert_eq!(renamed(&old, inode).unwrap().path, new);
        assert!(renamed(&old, inode + 1_000_000).is_none());
    }
}
