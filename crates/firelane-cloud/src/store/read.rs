//! Reading: records of sources, merged by time, or in the order of their numbers.

use std::collections::BTreeMap;
use std::io;

use memchr::memmem::Finder;

use super::block::{Stored, records};
use super::segment::Frames;
use super::series::{SeriesId, Source};

/// Where a record stands among those of several series: by time, then by series and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) time: i64,
    pub(crate) series: SeriesId,
    pub(crate) seq: u64,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) place: Place,
    pub(crate) arrival: i64,
    pub(crate) key: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

impl Record {
    fn new(series: SeriesId, seq: u64, stored: &Stored<'_>) -> Self {
        Self {
            place: Place {
                time: stored.time,
                series,
                seq,
            },
            arrival: stored.arrival,
            key: stored.key.to_vec(),
            data: stored.data.to_vec(),
        }
    }

    fn size(&self) -> usize {
        self.data.len() + self.key.len() + super::block::HEAD
    }
}

/// How much is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    /// Most records.
    pub(crate) records: usize,
    /// Most bytes of them; the first is given however large it is.
    pub(crate) bytes: usize,
}

/// Calls `each` with the records of a source and their numbers.
pub(crate) fn each(
    frames: &mut Frames,
    source: &Source,
    each: impl FnMut(u64, &Stored<'_>),
) -> io::Result<()> {
    each_if(frames, source, None, each)
}

/// As [`each`]; a block without the needle is passed over as a whole.
fn each_if(
    frames: &mut Frames,
    source: &Source,
    needle: Option<&Finder<'_>>,
    mut each: impl FnMut(u64, &Stored<'_>),
) -> io::Result<()> {
    let from_disk;
    let bytes = match source {
        Source::Disk(frame) => {
            from_disk = frames.read(frame)?;
            &from_disk
        }
        Source::Memory(piece) => &piece.batch.bytes,
    };
    if needle.is_some_and(|needle| needle.find(bytes).is_none()) {
        return Ok(());
    }
    for (seq, stored) in (source.seq()..).zip(records(bytes)) {
        each(seq, &stored);
    }
    Ok(())
}

/// The records of a page by time, among those that `wanted` takes: the first ones forwards, or the last ones
/// backwards (the latest first). No more than a page is held, however much the sources overlap. Also whether
/// there may be more.
pub(crate) fn by_time(
    frames: &mut Frames,
    sources: Vec<(SeriesId, Source)>,
    page: Page,
    backwards: bool,
    wanted: impl Fn(&Place, &Stored<'_>) -> bool,
) -> io::Result<(Vec<Record>, bool)> {
    search(frames, sources, page, (backwards, None), wanted)
}

/// As [`by_time`], only records with a needle in their data: blocks without it are not taken apart.
pub(crate) fn search(
    frames: &mut Frames,
    mut sources: Vec<(SeriesId, Source)>,
    page: Page,
    (backwards, needle): (bool, Option<&Finder<'_>>),
    wanted: impl Fn(&Place, &Stored<'_>) -> bool,
) -> io::Result<(Vec<Record>, bool)> {
    if backwards {
        sources.sort_by_key(|(_, source)| std::cmp::Reverse(source.summary().span.last));
    } else {
        sources.sort_by_key(|(_, source)| source.summary().span.first);
    }
    let mut held: BTreeMap<Place, Record> = BTreeMap::new();
    let (mut bytes, mut more) = (0, false);
    // The nearest that was dropped: nothing at it or behind it is in the page.
    let mut cut: Option<Place> = None;
    for (series, source) in &sources {
        let span = source.summary().span;
        // The page is full, and nothing that comes now can stand before its end.
        let end = if backwards {
            held.first_key_value()
        } else {
            held.last_key_value()
        };
        let beyond = end.is_some_and(|(place, _)| match backwards {
            true => span.last < place.time,
            false => span.first > place.time,
        });
        if beyond && (more || held.len() >= page.records) {
            more = true;
            break;
        }
        each_if(frames, source, needle, |seq, stored| {
            let place = Place {
                time: stored.time,
                series: *series,
                seq,
            };
            let hit = needle.is_none_or(|needle| needle.find(stored.data).is_some());
            if hit && wanted(&place, stored) {
                if cut.is_some_and(|cut| if backwards { place <= cut } else { place >= cut }) {
                    more = true;
                    return;
                }
                let record = Record::new(*series, seq, stored);
                bytes += record.size();
                held.insert(place, record);
                while held.len() > 1 && (held.len() > page.records || bytes > page.bytes) {
                    let gone = if backwards {
                        held.pop_first()
                    } else {
                        held.pop_last()
                    };
                    let Some((place, record)) = gone else { break };
                    bytes -= record.size();
                    (cut, more) = (Some(place), true);
                }
            }
        })?;
    }
    let mut records: Vec<_> = held.into_values().collect();
    if backwards {
        records.reverse();
    }
    Ok((records, more))
}

/// The records of one series from number `seq` on, in their order. Also the number behind the last that was
/// looked at.
pub(crate) fn by_number(
    frames: &mut Frames,
    series: SeriesId,
    sources: &[Source],
    seq: u64,
    page: Page,
) -> io::Result<(Vec<Record>, u64)> {
    let (mut found, mut bytes, mut next, mut full) = (Vec::new(), 0, seq, false);
    for source in sources {
        each(frames, source, |at, stored| {
            if at < next || full {
                return;
            }
            let record = Record::new(series, at, stored);
            full = found.len() >= page.records || (bytes + record.size() > page.bytes && !found.is_empty());
            if !full {
                bytes += record.size();
                next = at + 1;
                found.push(record);
            }
        })?;
        if full {
            break;
        }
    }
    Ok((found, next))
}
