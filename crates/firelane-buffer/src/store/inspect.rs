//! Looks into a folder of segments that nobody needs to stop writing for: what is there ([`Inspection`],
//! [`letters`]), what is damaged ([`check`]), and back into the log with dead letters ([`replay`]), which
//! alone writes.
//!
//! A log is read by the code that a start runs, over a [`Look`], which changes nothing. Memory holds a few
//! words for each block that is needed, and the records of one block at a time. While a router runs, files
//! grow and vanish: what is told was true a moment ago.

pub mod check;
pub mod look;
pub mod replay;
#[cfg(test)]
mod tests;
pub mod totals;

use std::collections::HashMap;
use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use firelane_record::set::RecordSet;

pub use self::look::Look;
use super::format::{BlockImage, Entry, Epitaph, Kind, SEGMENT_HEADER};
use super::recover::{Note, Recovered, Recovery};
use super::scan::{Found, Piece, ScanError, data_of, frame_at, scan};
use super::{Blocks, LoadError, Store, StoreOptions, segment_name, segment_sequence};
use crate::disk::{Disk, DiskFile};

/// A log whose segments vanish while they are read is read again, at most so many times.
const TRIES: usize = 20;

/// A log as a start would find it.
#[derive(Debug)]
pub struct Inspection<'a, D: Disk> {
    look: Look<'a, D>,
    blocks: Arc<Blocks<Look<'a, D>>>,
    recovery: Recovery,
    /// From a block's identity to its place in `recovery.blocks`.
    places: HashMap<u64, usize>,
}

/// What is in one segment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SegmentSummary {
    /// File name.
    pub file: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// Blocks in it, and those of them that are needed.
    pub blocks: u64,
    /// Blocks that are needed.
    pub needed_blocks: u64,
    /// Records of all blocks.
    pub records: u64,
    /// Records that are needed.
    pub needed: u64,
    /// Bytes of the runs that these records are in.
    pub needed_bytes: u64,
    /// When the first and the last needed run was appended, in milliseconds since 1970.
    pub times: Option<(u64, u64)>,
    /// Bytes at the end of a write that was cut off.
    pub torn: u64,
    /// Bytes that are damaged, as far as a start looks.
    pub damaged: u64,
    /// Why it cannot be read at all.
    pub problem: Option<String>,
}

/// A block that some route needs, with what is settled of it.
#[derive(Debug, Clone, Copy)]
pub struct Needed<'a> {
    /// The block; without its records where only tables are read.
    pub image: &'a BlockImage,
    settled: &'a [(Arc<str>, RecordSet)],
}

/// What could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unread {
    /// Blocks or dead letters whose bytes are damaged.
    pub damaged: u64,
    /// Blocks or files that have gone since: moved, or not needed any more.
    pub gone: u64,
}

/// A dead letter: records that were given up, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// Why.
    pub epitaph: Epitaph,
    /// The records; only the table where tables are read.
    pub image: BlockImage,
    /// Where its frame begins.
    pub offset: u64,
}

impl<'a, D: Disk> Inspection<'a, D> {
    /// Reads the tables of a log.
    pub fn open(look: Look<'a, D>) -> io::Result<Self> {
        let mut tries = 1;
        let (store, recovery) = loop {
            match Store::open(look, StoreOptions::default()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => {
                    // A segment has gone. What has taken its place stands behind it. A folder that is not
                    // there is found to be so here.
                    look.list()?;
                    tries += 1;
                }
                opened => break opened?,
            }
        };
        let numbered = recovery.blocks.iter().enumerate();
        Ok(Self {
            look,
            blocks: store.blocks(),
            places: numbered.map(|(at, block)| (block.id, at)).collect(),
            recovery,
        })
    }

    /// What a start would tell.
    pub fn notes(&self) -> &[Note] {
        &self.recovery.notes
    }

    /// The folder.
    pub fn look(&self) -> Look<'a, D> {
        self.look
    }

    /// A block that stands at `offset` of a segment, if it is needed and counts there.
    fn needed_at(&self, sequence: u64, offset: u64, id: u64) -> Option<&Recovered> {
        let place = self.blocks.place(id)?;
        let here = place.segment == sequence && place.offset == offset;
        self.recovery.blocks.get(*self.places.get(&id)?).filter(|_| here)
    }

    /// Calls `visit` for every block that is needed, in the order in which a start delivers them; without
    /// `records` their tables alone are read.
    pub fn blocks(
        &self,
        records: bool,
        mut visit: impl FnMut(&Needed<'_>) -> ControlFlow<()>,
    ) -> io::Result<Unread> {
        let mut unread = Unread::default();
        for recovered in &self.recovery.blocks {
            let read = match records {
                true => self.blocks.load(recovered.id),
                false => self.blocks.table(recovered.id),
            };
            match read {
                Ok(image) => {
                    let needed = Needed {
                        image: &image,
                        settled: &recovered.settled,
                    };
                    if visit(&needed).is_break() {
                        break;
                    }
                }
                Err(LoadError::Damaged(_)) => unread.damaged += 1,
                Err(LoadError::Gone) => unread.gone += 1,
                Err(LoadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => unread.gone += 1,
                Err(LoadError::Io(error)) => return Err(error),
            }
        }
        Ok(unread)
    }

    /// Calls `visit` for every segment that is there, the oldest first.
    pub fn segments(&self, mut visit: impl FnMut(SegmentSummary)) -> io::Result<()> {
        for_each_file(&self.look, |sequence, name, file| {
            let summary = self.segment(sequence, &name, file)?;
            visit(SegmentSummary {
                file: name,
                ..summary
            });
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(())
    }

    fn segment<F: DiskFile>(&self, sequence: u64, name: &str, file: &F) -> io::Result<SegmentSummary> {
        let mut summary = SegmentSummary {
            bytes: file.len()?,
            ..SegmentSummary::default()
        };
        let scanned = scan(file, |piece| {
            if let Piece::Frame(found) = piece
                && found.head.kind == Kind::Block
                && let Ok(image) = BlockImage::read(&found.meta, None)
            {
                let recovered = self.needed_at(sequence, found.offset, image.id);
                summary.note(&image, recovered.map(|recovered| recovered.settled.as_slice()));
            }
        });
        match scanned {
            Err(ScanError::Io(error)) => return Err(error),
            Err(ScanError::Header(error)) => summary.problem = Some(error.to_string()),
            Ok(_) => {}
        }
        for note in &self.recovery.notes {
            match note {
                Note::Torn { file, len, .. } if file == name => summary.torn += len,
                Note::Damaged { file, len, .. } if file == name => summary.damaged += len,
                Note::Unreadable { file, why, .. } if file == name => summary.problem = Some(why.clone()),
                _ => {}
            }
        }
        Ok(summary)
    }
}

impl SegmentSummary {
    fn note(&mut self, image: &BlockImage, settled: Option<&[(Arc<str>, RecordSet)]>) {
        self.blocks += 1;
        self.records += u64::from(image.records());
        let Some(settled) = settled else {
            return;
        };
        self.needed_blocks += 1;
        let needed = Needed { image, settled };
        for (range, entry) in needed.runs() {
            let left = needed.left_in(range);
            if left > 0 {
                self.needed += left;
                self.needed_bytes += u64::from(entry.len);
                join(&mut self.times, entry.wall_ms);
            }
        }
    }
}

/// Makes `times` include `time`.
pub fn join(times: &mut Option<(u64, u64)>, time: u64) {
    let (first, last) = times.unwrap_or((time, time));
    *times = Some((first.min(time), last.max(time)));
}

impl<'a> Needed<'a> {
    /// The runs that hold records, with the numbers that these have in the block.
    pub fn runs(&self) -> impl Iterator<Item = (Range<u32>, &'a Entry)> {
        let mut at = 0;
        let numbered = self.image.entries.iter().map(move |entry| {
            let from = at;
            at += entry.count;
            (from..at, entry)
        });
        numbered.filter(|(_, entry)| entry.len > 0)
    }

    /// Whether a start delivers record `number`: that of a block for one route until that has settled it,
    /// others until the block is done with for all. Which routes those are, only a configuration says.
    pub fn is_left(&self, number: u32) -> bool {
        !self.only().is_some_and(|set| set.contains(number))
    }

    /// How many of the records in `range` a start delivers.
    pub fn left_in(&self, range: Range<u32>) -> u64 {
        let gone = self.only().map_or(0, |set| count(set, range.clone()));
        u64::from(range.end - range.start) - gone
    }

    /// What the one route that the block is for has settled.
    fn only(&self) -> Option<&'a RecordSet> {
        let only = self.image.only.as_deref()?;
        let (_, set) = self.settled.iter().find(|(key, _)| **key == *only)?;
        Some(set)
    }

    /// The routes that have settled some of its records, by key.
    pub fn settled(&self) -> impl Iterator<Item = (&'a str, &'a RecordSet)> {
        self.settled.iter().map(|(key, set)| (&**key, set))
    }
}

/// How many records of `range` a set holds.
pub fn count(set: &RecordSet, range: Range<u32>) -> u64 {
    let inside = set.runs(range.start, range.end).filter(|run| run.2);
    inside.map(|(from, to, _)| u64::from(to - from)).sum()
}

/// Calls `visit` with sequence number, name and file of every segment in a folder; gives how many have
/// vanished meanwhile.
fn for_each_file<D: Disk>(
    disk: &D,
    mut visit: impl FnMut(u64, String, &D::File) -> io::Result<ControlFlow<()>>,
) -> io::Result<u64> {
    let mut gone = 0;
    let mut sequences: Vec<u64> = disk
        .list()?
        .iter()
        .filter_map(|name| segment_sequence(name))
        .collect();
    sequences.sort_unstable();
    for sequence in sequences {
        let name = segment_name(sequence);
        match disk.open(&name) {
            Ok(file) => {
                if visit(sequence, name, &file)?.is_break() {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => gone += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(gone)
}

/// Whether a folder holds dead letters, not a log: the first file that begins with a frame says so.
pub fn holds_letters<D: Disk>(look: Look<'_, D>) -> io::Result<bool> {
    let mut kind = None;
    for_each_file(&look, |sequence, _, file| {
        kind = frame_at(file, sequence, SEGMENT_HEADER as u64, file.len()?)?.map(|found| found.head.kind);
        Ok(match kind {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        })
    })?;
    Ok(kind == Some(Kind::DeadLetter))
}

/// Calls `visit` with the file's name for every dead letter in a folder, the oldest first; without `records`
/// their tables alone are read. A file that cannot be read counts as one that is damaged.
pub fn letters<D: Disk>(
    look: Look<'_, D>,
    records: bool,
    mut visit: impl FnMut(&str, &Letter) -> ControlFlow<()>,
) -> io::Result<Unread> {
    let mut damaged = 0;
    let gone = for_each_file(&look, |_, name, file| {
        let (mut flow, mut failed) = (ControlFlow::Continue(()), None);
        let scanned = scan(file, |piece| {
            if flow.is_break() || failed.is_some() {
                return;
            }
            let letter = match piece {
                Piece::Frame(found) => read_letter(file, &found, records),
                Piece::Damaged { .. } => Ok(Read::Damaged),
                Piece::Torn { .. } => return,
            };
            match letter {
                Ok(Read::Letter(letter)) => flow = visit(&name, &letter),
                Ok(Read::Damaged) => damaged += 1,
                Ok(Read::Other) => {}
                Err(error) => failed = Some(error),
            }
        });
        match (scanned, failed) {
            (Err(ScanError::Io(error)), _) | (_, Some(error)) => return Err(error),
            // Shorter than a header: somebody died while it was made.
            (Err(ScanError::Header(_)), _) => damaged += u64::from(file.len()? >= SEGMENT_HEADER as u64),
            (Ok(_), None) => {}
        }
        Ok(flow)
    })?;
    Ok(Unread { damaged, gone })
}

/// A frame of a folder of dead letters.
enum Read {
    Letter(Letter),
    Damaged,
    Other,
}

fn read_letter<F: DiskFile>(file: &F, found: &Found, records: bool) -> io::Result<Read> {
    if found.head.kind != Kind::DeadLetter {
        return Ok(Read::Other);
    }
    let data = match records {
        true => data_of(file, found)?,
        false => None,
    };
    if records && data.is_none() {
        return Ok(Read::Damaged);
    }
    let letter = Epitaph::read(&found.meta).and_then(|(epitaph, rest)| {
        let image = BlockImage::read(rest, data.as_ref()).ok()?;
        Some(Letter {
            epitaph,
            image,
            offset: found.offset,
        })
    });
    Ok(letter.map_or(Read::Damaged, Read::Letter))
}
