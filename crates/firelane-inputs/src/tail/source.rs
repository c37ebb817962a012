//! One followed file: reading it, and what its size and name say about it.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use firelane_record::Tag;

use super::lines::Splitter;
use super::positions::{FileId, Head};

/// A file that is read as it grows.
#[derive(Debug)]
pub(super) struct Source {
    /// Which file.
    pub(super) id: FileId,
    /// Where it was found, or where it was moved to.
    pub(super) path: PathBuf,
    /// Tag of its records; that of its first path, also after a rotation.
    pub(super) tag: Tag,
    /// The raw path pair of its records.
    pub(super) path_pair: Vec<u8>,
    pub(super) file: File,
    pub(super) splitter: Splitter,
    /// How often it was cut; positions of earlier lives mean nothing.
    pub(super) life: u32,
    /// Since when its path has led to another file or to none.
    pub(super) rotated: Option<Instant>,
    /// Its row in the database.
    pub(super) row: Option<i64>,
    /// Fingerprint that the database knows.
    pub(super) head: Head,
    /// Fingerprint of what was read: a file cut and refilled between two looks may have grown.
    pub(super) seen: Head,
    /// Position that the database knows, or is about to.
    pub(super) delivered: u64,
    /// Whether reading has reached the end once.
    pub(super) caught_up: bool,
}

/// What a file's size says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// Nothing to read.
    None,
    /// So many bytes to read.
    More(u64),
    /// It is shorter than what was read: cut, and perhaps written again.
    Cut,
}

/// What a size says where the next byte to read is `next`.
pub(super) fn growth(next: u64, size: u64) -> Growth {
    match size.checked_sub(next) {
        None => Growth::Cut,
        Some(0) => Growth::None,
        Some(more) => Growth::More(more),
    }
}

/// What becomes of a file after a look at its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Its path leads to it.
    Follow,
    /// Its path has just begun to lead elsewhere.
    Rotated,
    /// It is followed for the rest of the waiting time.
    Linger,
    /// Nothing more is expected of it.
    Close,
}

/// Whether to go on with a file. It is never closed before its end was read.
pub(super) fn step(
    path_leads_here: bool,
    rotated: Option<Instant>,
    at_end: bool,
    now: Instant,
    wait: Duration,
) -> Step {
    match rotated {
        _ if path_leads_here => Step::Follow,
        None => Step::Rotated,
        Some(since) if at_end && now.saturating_duration_since(since) >= wait => Step::Close,
        Some(_) => Step::Linger,
    }
}

/// The identity of what `metadata` describes.
pub(super) fn id_of(metadata: &Metadata) -> FileId {
    FileId {
        device: metadata.dev(),
        inode: metadata.ino(),
    }
}

impl Source {
    /// Whether its path leads to it.
    pub(super) fn path_leads_here(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|found| id_of(&found) == self.id)
    }

    /// Whether it begins as it did when it was read.
    pub(super) fn begins_as_before(&self) -> bool {
        self.seen.len == 0 || head_of(&self.file, self.seen.len) == Some(self.seen)
    }

    /// Reads what follows into `buf`; 0 at the end.
    pub(super) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read_at(buf, self.splitter.next()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

/// The fingerprint of a file's first `upto` bytes, where that tells more than `known`; else `known`.
pub(super) fn longer_head(file: &File, known: Head, upto: u64) -> Head {
    let len = upto.min(Head::LEN_MAX);
    let longer = (len > known.len).then(|| head_of(file, len)).flatten();
    longer.unwrap_or(known)
}

/// The fingerprint of the first `len` bytes of `file`; `None` where it has fewer.
pub(super) fn head_of(file: &File, len: u64) -> Option<Head> {
    let mut head = [0; Head::LEN_MAX as usize];
    let head = head.get_mut(..len.min(Head::LEN_MAX) as usize)?;
    file.read_exact_at(head, 0).ok()?;
    Some(Head::of(head))
}

/// Where a file of this size, found with this row, is read from. A row about another file counts for nothing:
/// the number of its inode was used again, or the file was cut.
pub(super) fn resume(offset: u64, known: Head, now: Option<Head>, size: u64) -> u64 {
    let same = known.len == 0 || now == Some(known);
    if same && offset <= size { offset } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_tell_growth_from_cutting() {
        assert_eq!(growth(5, 5), Growth::None);
        assert_eq!(growth(5, 9), Growth::More(4));
        assert_eq!(growth(5, 4), Growth::Cut);
        assert_eq!(growth(5, 0), Growth::Cut);
    }

    #[test]
    fn a_renamed_file_is_followed_for_the_waiting_time_and_to_its_end() {
        let start = Instant::now();
        let wait = Duration::from_secs(5);
        let later = start + wait;
        assert_eq!(step(true, None, true, start, wait), Step::Follow);
        assert_eq!(step(false, None, true, start, wait), Step::Rotated);
        assert_eq!(step(false, Some(start), true, start, wait), Step::Linger);
        assert_eq!(step(false, Some(start), false, later, wait), Step::Linger);
        assert_eq!(step(false, Some(start), true, later, wait), Step::Close);
        assert_eq!(step(true, Some(start), true, later, wait), Step::Follow);
    }

    #[test]
    fn a_stale_position_is_not_used() {
        let (one, other) = (Head::of(b"one"), Head::of(b"two"));
        assert_eq!(resume(10, one, Some(one), 20), 10);
        assert_eq!(resume(10, Head::default(), None, 20), 10);
        assert_eq!(resume(10, one, Some(other), 20), 0);
        assert_eq!(resume(10, one, None, 20), 0);
        assert_eq!(resume(10, one, Some(one), 9), 0);
    }
}
