//! Appending a block to a file: whole, or not at all, or it says how much.
//!
//! The file is opened for each block (a block is a chunk, up to 2 MB, written in pieces): a rotated or
//! removed file is never written to by accident, and tags from outside cannot use up file descriptors.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Why a block was not appended whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// Nothing of it is in the file.
    #[error("cannot {doing} {path}: {source}")]
    Nothing {
        /// `open`, `write` …
        doing: &'static str,
        /// The file.
        path: String,
        /// The system's words.
        source: io::Error,
    },
    /// There can be no such file below the folder: what a tag from outside asks for must not stop the others.
    #[error("cannot open {path}, made of a tag: {reason}")]
    Never {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The first bytes are in the file and could not be taken back.
    #[error("cannot write {path}: {source}; {written} bytes of the block stay in it")]
    Part {
        /// Bytes of the block that are in the file.
        written: usize,
        /// The file.
        path: String,
        /// The system's words.
        source: io::Error,
    },
}

/// Opens `path` for appending, creating it, and its folders where `mkdir` says so. Also says whether it is
/// empty.
pub(super) fn open(path: &Path, mkdir: bool) -> Result<(File, bool), WriteError> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    let mut opened = options.open(path);
    if mkdir
        && let Err(error) = &opened
        && error.kind() == io::ErrorKind::NotFound
        && let Some(parent) = path.parent()
    {
        std::fs::create_dir_all(parent).map_err(|source| nothing("create the folder of", path, source))?;
        opened = options.open(path);
    }
    let file = opened.map_err(|source| nothing("open", path, source))?;
    let is_empty = file
        .metadata()
        .is_ok_and(|meta| meta.is_file() && meta.len() == 0);
    Ok((file, is_empty))
}

/// The same for a file whose name was made of a tag. It stays below `folder`, also where links lead; what
/// only another tag would mend is [`WriteError::Never`].
pub(super) fn open_below(folder: &Path, path: &Path, mkdir: bool) -> Result<(File, bool), WriteError> {
    let never = |reason: &str| WriteError::Never {
        path: path.display().to_string(),
        reason: reason.to_owned(),
    };
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let folder = match folder.canonicalize() {
        Err(error) if mkdir && error.kind() == io::ErrorKind::NotFound => {
            let made = std::fs::create_dir_all(folder).and_then(|()| folder.canonicalize());
            made.map_err(|source| nothing("create the folder of", path, source))?
        }
        found => found.map_err(|source| nothing("open", path, source))?,
    };
    if leaves(&folder, path) {
        return Err(never("a symbolic link leads out of `path`"));
    }
    open(path, mkdir).map_err(|error| match error {
        WriteError::Nothing { source, .. } if is_of_name(source.kind()) => never(&match source.kind() {
            io::ErrorKind::NotFound => format!("{source}; `mkdir on` makes folders"),
            _ => source.to_string(),
        }),
        other => other,
    })
}

/// Whether the file, or the lowest folder above it that exists, is elsewhere when links are followed.
fn leaves(folder: &Path, path: &Path) -> bool {
    // A link to nothing would be followed by the opening.
    let dangles = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_symlink());
    for part in path.ancestors() {
        match part.canonicalize() {
            Ok(real) => return !real.starts_with(folder),
            Err(_) if dangles(part) => return true,
            Err(_) => {}
        }
    }
    // A relative path of one component: it stands in the working folder, which is `folder`.
    false
}

/// Errors that a name has and a disk has not, once the folder is there.
fn is_of_name(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{AlreadyExists, InvalidFilename, IsADirectory, NotADirectory, NotFound};
    matches!(
        kind,
        AlreadyExists | InvalidFilename | IsADirectory | NotADirectory | NotFound
    )
}

/// Appends a piece of a block of which `before` bytes are in the file. What a failed write left behind (a
/// full disk) is cut off again, the pieces before it too, so that the next try repeats nothing; where
/// that is not possible the error says how much of the block stayed.
pub(super) fn append(file: &mut File, path: &Path, piece: &[u8], before: usize) -> Result<(), WriteError> {
    let mut written = 0;
    while written < piece.len() {
        match file.write(&piece[written..]) {
            Ok(0) => {
                return Err(take_back(
                    file,
                    path,
                    before + written,
                    io::ErrorKind::WriteZero.into(),
                ));
            }
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(take_back(file, path, before + written, error)),
        }
    }
    Ok(())
}

fn take_back(file: &mut File, path: &Path, written: usize, source: io::Error) -> WriteError {
    if written == 0 || cut(file, written).is_ok() {
        return nothing("write", path, source);
    }
    WriteError::Part {
        written,
        path: path.display().to_string(),
        source,
    }
}

/// Cuts our own `written` bytes off the end. Refuses where someone else appended behind them, and on pipes.
fn cut(file: &mut File, written: usize) -> io::Result<()> {
    use std::io::Seek;
    let meta = file.metadata()?;
    let end = file.stream_position()?;
    if !meta.is_file() || meta.len() != end || end < written as u64 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    file.set_len(end - written as u64)
}

fn nothing(doing: &'static str, path: &Path, source: io::Error) -> WriteError {
    WriteError::Nothing {
        doing,
        path: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c.log");
        let error = open(&path, false).unwrap_err();
        assert!(
            matches!(error, WriteError::Nothing { doing: "open", .. }),
            "{error}"
        );
        let (mut file, is_empty) = open(&path, true).unwrap();
        assert!(is_empty);
        append(&mut file, &path, b"one\n", 0).unwrap();
        let (mut file, is_empty) = open(&path, false).unwrap();
        assert!(!is_empty);
        append(&mut file, &path, b"two\n", 0).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn a_part_is_cut_off_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let (mut file, _) = open(&path, false).unwrap();
        append(&mut file, &path, b"kept\nhalf", 0).unwrap();
        let error = take_back(&mut file, &path, 4, io::ErrorKind::StorageFull.into());
        assert!(matches!(error, WriteError::Nothing { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"kept\n");
    }

    #[test]
    fn what_another_wrote_is_not_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let (mut file, _) = open(&path, false).unwrap();
        append(&mut file, &path, b"half", 0).unwrap();
        let (mut other, _) = open(&path, false).unwrap();
        append(&mut other, &path, b"theirs", 0).unwrap();
        let error = take_back(&mut file, &path, 4, io::ErrorKind::StorageFull.into());
        assert!(matches!(error, WriteError::Part { written: 4, .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"halftheirs");
    }

    #[cfg(unix)]
    #[test]
    fn links_do_not_lead_out_of_the_folder() {
        use std::os::unix::fs::symlink;

        let dir = tempfile::tempdir().unwrap();
        let (folder, outside) = (dir.path().join("logs"), dir.path().join("outside"));
        std::fs::create_dir_all(folder.join("real")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("file"), "").unwrap();
        symlink("../outside", folder.join("away")).unwrap();
        symlink("../outside/file", folder.join("leaf")).unwrap();
        symlink("../outside/new", folder.join("dangling")).unwrap();
        symlink("real", folder.join("within")).unwrap();
        for name in ["away/x", "away/x/y", "leaf", "dangling"] {
            let error = open_below(&folder, &folder.join(name), true).unwrap_err();
            assert!(matches!(error, WriteError::Never { .. }), "{name}: {error}");
        }
        assert_eq!(
            std::fs::read_dir(&outside).unwrap().count(),
            1,
            "nothing was made there"
        );
        open_below(&folder, &folder.join("within/x"), false).unwrap();
        assert!(folder.join("real/x").exists());
    }

    /// Scenario: tags that no file can have. Guarantees: they are told from a disk that fails, so that they
    /// are given up and the others go on.
    #[test]
    fn impossible_names_are_told_from_failing_disks() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        open_below(dir.path(), &at("a"), true).unwrap();
        let deep = "x/".repeat(3000);
        for (name, mkdir) in [("a/b", true), (&*deep, true), ("no/b", false)] {
            let error = open_below(dir.path(), &at(name), mkdir).unwrap_err();
            assert!(matches!(error, WriteError::Never { .. }), "{error}");
        }
        std::fs::create_dir(at("d")).unwrap();
        let error = open_below(dir.path(), &at("d"), true).unwrap_err();
        assert!(matches!(error, WriteError::Never { .. }), "{error}");
        let missing = at("missing");
        let error = open_below(&missing, &missing.join("t"), false).unwrap_err();
        assert!(matches!(error, WriteError::Nothing { .. }), "{error}");
        open_below(&missing, &missing.join("t"), true).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_device_takes_nothing() {
        let path = Path::new("/dev/full");
        let (mut file, _) = open(path, false).unwrap();
        let error = append(&mut file, path, b"x", 0).unwrap_err();
        assert!(
            matches!(error, WriteError::Nothing { doing: "write", .. }),
            "{error}"
        );
    }
}
