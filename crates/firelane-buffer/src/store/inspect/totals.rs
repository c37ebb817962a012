//! Sums over a log and over a folder of dead letters.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;

use firelane_record::Tag;

use super::{Inspection, Look, Unread, count, for_each_file, join, letters};
use crate::disk::{Disk, DiskFile};

/// Tags and routes that are told apart; the rest is summed up.
const NAMES_MAX: usize = 10_000;

/// Records of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// Records.
    pub records: u64,
    /// Bytes of the runs they are in.
    pub bytes: u64,
}

/// What one route has to do with the records that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteSum {
    /// Records that it has settled; others still need them, or the rest of their block is needed.
    pub settled: u64,
    /// Records that wait for it alone: dead letters that were put back.
    pub alone: u64,
}

/// What waits in a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    /// Blocks that are needed.
    pub blocks: u64,
    /// Records that are needed, and bytes of the runs they are in.
    pub sum: Sum,
    /// When the first and the last needed run was appended, in milliseconds since 1970.
    pub times: Option<(u64, u64)>,
    /// By tag.
    pub tags: BTreeMap<Tag, Sum>,
    /// Of tags beyond the most that are told apart.
    pub other_tags: Sum,
    /// By the route's key.
    pub routes: BTreeMap<Box<str>, RouteSum>,
    /// What could not be read.
    pub unread: Unread,
}

impl Totals {
    /// Adds up a log.
    pub fn of<D: Disk>(inspection: &Inspection<'_, D>) -> io::Result<Self> {
        let mut totals = Self::default();
        totals.unread = inspection.blocks(false, |needed| {
            totals.blocks += 1;
            for (range, entry) in needed.runs() {
                for (key, set) in needed.settled() {
                    let settled = count(set, range.clone());
                    if settled > 0 {
                        totals.routes.entry(key.into()).or_default().settled += settled;
                    }
                }
                let records = needed.left_in(range);
                if records == 0 {
                    continue;
                }
                if let Some(key) = needed.image.only.as_deref() {
                    totals.routes.entry(key.into()).or_default().alone += records;
                }
                join(&mut totals.times, entry.wall_ms);
                let known = totals.tags.len() < NAMES_MAX || totals.tags.contains_key(&entry.tag);
                let tag = match known {
                    true => totals.tags.entry(entry.tag.clone()).or_default(),
                    false => &mut totals.other_tags,
                };
                for sum in [tag, &mut totals.sum] {
                    sum.records += records;
                    sum.bytes += u64::from(entry.len);
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(totals)
    }
}

/// A file of dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LetterFile {
    /// File name.
    pub file: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// Letters in it.
    pub letters: u64,
    /// Their records.
    pub records: u64,
}

/// Who gave records up, and under which reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grave {
    /// The route's name.
    pub route: Box<str>,
    /// Its key in the log; `None`: it cannot be put back.
    pub key: Option<Box<str>>,
    /// The reason's label.
    pub reason: Box<str>,
}

/// Dead letters of one [`Grave`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GraveSum {
    /// Letters.
    pub letters: u64,
    /// Their records.
    pub records: u64,
    /// When the first and the last was given up, in milliseconds since 1970.
    pub times: Option<(u64, u64)>,
    /// What the last one says.
    pub cause: Box<str>,
}

/// What lies in a folder of dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Graves {
    /// Its files.
    pub files: Vec<LetterFile>,
    /// By route and reason.
    pub graves: BTreeMap<Grave, GraveSum>,
    /// What could not be read.
    pub unread: Unread,
}

impl Graves {
    /// Adds up the letters of a folder that `wanted` takes. Reads no records.
    pub fn of<D: Disk>(look: Look<'_, D>, wanted: impl Fn(&super::Letter) -> bool) -> io::Result<Self> {
        let mut graves = Self::default();
        for_each_file(&look, |_, file, open| {
            let bytes = open.len()?;
            graves.files.push(LetterFile {
                file,
                bytes,
                ..LetterFile::default()
            });
            Ok(ControlFlow::Continue(()))
        })?;
        let mut at = 0;
        graves.unread = letters(look, false, |file, letter| {
            if !wanted(letter) {
                return ControlFlow::Continue(());
            }
            let records = u64::from(letter.image.records());
            // Both go through the files in order.
            while graves.files.get(at).is_some_and(|known| *known.file < *file) {
                at += 1;
            }
            if let Some(known) = graves.files.get_mut(at).filter(|known| known.file == file) {
                known.letters += 1;
                known.records += records;
            }
            let grave = Grave {
                route: letter.epitaph.route.clone(),
                key: letter.image.only.clone(),
                reason: letter.epitaph.reason.clone(),
            };
            let sum = graves.graves.entry(grave).or_default();
            sum.letters += 1;
            sum.records += records;
            join(&mut sum.times, letter.epitaph.wall_ms);
            sum.cause = letter.epitaph.cause.clone();
            ControlFlow::Continue(())
        })?;
        Ok(graves)
    }

    /// Adds those of another folder.
    pub fn add(&mut self, other: Self) {
        self.files.extend(other.files);
        for (grave, sum) in other.graves {
            let known = self.graves.entry(grave).or_default();
            known.letters += sum.letters;
            known.records += sum.records;
            for time in sum.times.into_iter().flat_map(|(first, last)| [first, last]) {
                join(&mut known.times, time);
            }
            known.cause = sum.cause;
        }
        self.unread.add(other.unread);
    }
}

impl Unread {
    /// Adds what could not be read elsewhere.
    pub fn add(&mut self, other: Self) {
        self.damaged += other.damaged;
        self.gone += other.gone;
    }
}
