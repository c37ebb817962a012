//! The log on disk: blocks of records and what is settled of them, in segments.
//!
//! One owner writes ([`Store`]); anybody reads blocks ([`Blocks`]). A [`Store::commit`] is one write and one
//! sync: what it was given is durable when it has returned, or none of it counts and the same group is given
//! again. After an error nothing is appended to that segment any more, because nobody knows what it holds.

mod compact;
pub mod dead;
pub mod format;
mod fuzz;
pub mod inspect;
#[doc(hidden)]
pub mod memory;
pub mod recover;
pub mod scan;
mod segments;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use firelane_record::set::RecordSet;

pub use self::compact::Progress;
use self::format::{BlockImage, Kind, SettledRange};
#[doc(hidden)]
pub use self::fuzz::fuzz_segment;
use crate::disk::{Disk, DiskFile};

/// How a log is kept.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// A segment that has so many bytes is followed by another one.
    pub segment_bytes: u64,
    /// Damaged parts are deleted, not set aside (`storage.delete_irrecoverable_chunks`).
    pub delete_damaged: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 32 * 1024 * 1024,
            delete_damaged: false,
        }
    }
}

/// Records of a block, by number in it, that a route is done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The block.
    pub block: u64,
    /// The route's name: the same over restarts.
    pub route: Arc<str>,
    /// First record.
    pub from: u32,
    /// Behind the last record.
    pub to: u32,
}

/// What is written and synced together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Group<'a> {
    /// New blocks.
    pub blocks: &'a [BlockImage],
    /// What routes are done with.
    pub settled: &'a [Settled],
    /// Blocks that every route is done with.
    pub done: &'a [u64],
}

/// Where a block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// Its segment's sequence number.
    pub segment: u64,
    /// Where its frame begins.
    pub offset: u64,
    /// Bytes of its frame.
    pub len: u64,
}

/// A block that is needed.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) at: Location,
    /// Bytes that would be needed if it were written again: at most those of its frame.
    pub(super) needed: u64,
    pub(super) settled: BTreeMap<u16, RecordSet>,
    /// Number of its records.
    pub(super) records: u32,
}

impl Live {
    fn ranges(&self, block: u64, out: &mut Vec<SettledRange>) {
        for (&route, set) in &self.settled {
            let runs = set.runs(0, self.records).filter(|run| run.2);
            out.extend(runs.map(|(from, to, _)| SettledRange {
                block,
                route: Some(route),
                from,
                to,
            }));
        }
    }
}

/// A segment that is there.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Segment {
    pub(super) bytes: u64,
    /// Bytes and number of its blocks that are needed.
    pub(super) live_bytes: u64,
    pub(super) live: u32,
}

#[derive(Debug)]
struct Active<F> {
    sequence: u64,
    file: F,
    len: u64,
}

/// The writing end of a log.
#[derive(Debug)]
pub struct Store<D: Disk> {
    blocks: Arc<Blocks<D>>,
    options: StoreOptions,
    active: Option<Active<D::File>>,
    next_sequence: u64,
    /// The newest segment whose checkpoint is durable: what is older stands by itself.
    checkpointed: u64,
    segments: BTreeMap<u64, Segment>,
    live: BTreeMap<u64, Live>,
    /// Names of routes; their number is their place.
    routes: Vec<Arc<str>>,
    /// Routes that the active segment names.
    routes_written: usize,
    /// This start, and above every block's identity so far: for the next checkpoint.
    epoch: u64,
    next_id: u64,
    /// Files that mean nothing and could not be removed yet.
    litter: Vec<String>,
    /// Reused for every write.
    out: Vec<u8>,
}

/// The reading end of a log. Blocks stay where they are found until they are done with.
#[derive(Debug)]
pub struct Blocks<D: Disk> {
    disk: D,
    places: RwLock<HashMap<u64, Location>>,
}

/// Why a block was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The system.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What stands there is not what was written.
    #[error("the block is damaged (segment {:016x}, offset {})", .0.segment, .0.offset)]
    Damaged(Location),
    /// No such block: all of it was settled.
    #[error("there is no such block")]
    Gone,
}

/// The file of segment `sequence`.
pub fn segment_name(sequence: u64) -> String {
    format!("{sequence:016x}.seg")
}

/// The sequence number of a segment's file.
pub fn segment_sequence(name: &str) -> Option<u64> {
    let sequence = u64::from_str_radix(name.strip_suffix(".seg")?, 16).ok()?;
    // Numbers that this program can never reach would leave no room above them.
    (sequence <= u64::MAX / 2 && name == segment_name(sequence)).then_some(sequence)
}

impl<D: Disk> Blocks<D> {
    /// The folder.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// Where a block stands.
    pub fn place(&self, id: u64) -> Option<Location> {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        places.get(&id).copied()
    }

    /// Reads a block with its records.
    pub fn load(&self, id: u64) -> Result<BlockImage, LoadError> {
        self.read(id, true)
    }

    /// Reads a block's table, without its records.
    pub fn table(&self, id: u64) -> Result<BlockImage, LoadError> {
        self.read(id, false)
    }

    fn read(&self, id: u64, records: bool) -> Result<BlockImage, LoadError> {
        loop {
            let at = self.place(id).ok_or(LoadError::Gone)?;
            match self.read_at(at, records) {
                // It was moved meanwhile, and its old segment removed.
                Err(_) if self.place(id) != Some(at) => {}
                result => return result,
            }
        }
    }

    fn read_at(&self, at: Location, records: bool) -> Result<BlockImage, LoadError> {
        let damaged = LoadError::Damaged(at);
        let file = self.disk.open(&segment_name(at.segment))?;
        let Some(found) = scan::frame_at(&file, at.segment, at.offset, at.offset + at.len)? else {
            return Err(damaged);
        };
        let data = if records {
            let Some(data) = scan::data_of(&file, &found)? else {
                return Err(damaged);
            };
            Some(data)
        } else {
            None
        };
        BlockImage::read(&found.meta, data.as_ref()).map_err(|_| damaged)
    }
}

impl<D: Disk> Store<D> {
    /// The reading end.
    pub fn blocks(&self) -> Arc<Blocks<D>> {
        self.blocks.clone()
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    /// Number of segments.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Whether a block is there and needed.
    pub fn has(&self, id: u64) -> bool {
        self.live.contains_key(&id)
    }

    /// Number of blocks that are needed.
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// Writes and syncs a group. After an error none of its blocks counts, and the whole group may be given
    /// again; settlements may be repeated without harm.
    pub fn commit(&mut self, group: &Group<'_>) -> io::Result<()> {
        if let Err(error) = self.ensure_active() {
            self.release(group.done, &error);
            return Err(error);
        }
        let Some(active) = &mut self.active else {
            return Err(io::Error::other("no segment is open"));
        };
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let place = (active.sequence, active.len);
        let mut locations = Vec::with_capacity(group.blocks.len());
        let mut meta = Vec::new();
        for image in group.blocks {
            self.next_id = self.next_id.max(image.id.saturating_add(1));
            let start = out.len();
            meta.clear();
            image.write_meta(&mut meta);
            format::write_frame(&mut out, place, Kind::Block, &meta, image.data());
            locations.push(Location {
                segment: active.sequence,
                offset: active.len + start as u64,
                len: (out.len() - start) as u64,
            });
        }
        let ranges = settled_ranges(&mut self.routes, &self.live, group);
        write_new_routes(&mut out, place, &self.routes, &mut self.routes_written);
        if !ranges.is_empty() {
            meta.clear();
            format::write_settled(&mut meta, &ranges);
            format::write_frame(&mut out, place, Kind::Settled, &meta, std::iter::empty());
        }
        let written = write(&mut active.file, &out);
        let (sequence, durable, len) = (active.sequence, active.len, out.len() as u64);
        out.shrink_to(1 << 20);
        self.out = out;
        if let Err(error) = written {
            self.abandon_active(durable, len);
            self.release(group.done, &error);
            return Err(error);
        }
        active.len += len;
        self.segments.entry(sequence).or_default().bytes = active.len;
        self.note(group.blocks, &locations, &ranges);
        self.trim();
        Ok(())
    }

    /// Forgets blocks without writing that down: the next checkpoint does not name them. A disk that is full
    /// gets room by it, even where there is none for that checkpoint.
    fn release(&mut self, done: &[u64], error: &io::Error) {
        if error.kind() != io::ErrorKind::StorageFull {
            return;
        }
        let mut places = self.blocks.places.write().unwrap_or_else(PoisonError::into_inner);
        for id in done {
            if let Some(old) = self.live.remove(id) {
                forget(&mut self.segments, &old);
                places.remove(id);
            }
        }
        drop(places);
        if self.live.is_empty() {
            self.clear();
        }
        self.trim();
    }

    /// What a group that is durable has changed.
    fn note(&mut self, blocks: &[BlockImage], locations: &[Location], ranges: &[SettledRange]) {
        let mut places = self.blocks.places.write().unwrap_or_else(PoisonError::into_inner);
        for (image, &at) in blocks.iter().zip(locations) {
            if let Some(old) = self.live.remove(&image.id) {
                forget(&mut self.segments, &old);
            }
            let segment = self.segments.entry(at.segment).or_default();
            segment.live += 1;
            segment.live_bytes += at.len;
            let (settled, records) = (BTreeMap::new(), image.records());
            let needed = at.len;
            let live = Live {
                at,
                needed,
                settled,
                records,
            };
            self.live.insert(image.id, live);
            places.insert(image.id, at);
        }
        for range in ranges {
            match range.route {
                Some(route) => {
                    if let Some(live) = self.live.get_mut(&range.block) {
                        let set = live.settled.entry(route).or_insert_with(RecordSet::none);
                        set.insert_range(range.from..range.to);
                    }
                }
                None => {
                    if let Some(old) = self.live.remove(&range.block) {
                        forget(&mut self.segments, &old);
                        places.remove(&range.block);
                    }
                }
            }
        }
    }
}

fn write<F: DiskFile>(file: &mut F, bytes: &[u8]) -> io::Result<()> {
    file.append(bytes)?;
    file.sync()
}

fn forget(segments: &mut BTreeMap<u64, Segment>, old: &Live) {
    if let Some(segment) = segments.get_mut(&old.at.segment) {
        segment.live = segment.live.saturating_sub(1);
        segment.live_bytes = segment.live_bytes.saturating_sub(old.needed);
    }
}

/// The group's settlements as they are written: neighbours joined, those of blocks that are done with or not
/// on disk left out.
fn settled_ranges(
    routes: &mut Vec<Arc<str>>,
    live: &BTreeMap<u64, Live>,
    group: &Group<'_>,
) -> Vec<SettledRange> {
    let new: HashSet<u64> = group.blocks.iter().map(|image| image.id).collect();
    let known = |id: u64| live.contains_key(&id) || new.contains(&id);
    let done: HashSet<u64> = group.done.iter().copied().collect();
    let mut ranges: Vec<SettledRange> = Vec::new();
    for settled in group.settled {
        if done.contains(&settled.block) || !known(settled.block) {
            continue;
        }
        // Without a number it is not written: after a restart the route gets the records again.
        let Some(number) = route_number(routes, &settled.route) else {
            continue;
        };
        let route = Some(number);
        match ranges.last_mut() {
            Some(last) if last.block == settled.block && last.route == route && last.to == settled.from => {
                last.to = settled.to;
            }
            _ => ranges.push(SettledRange {
                block: settled.block,
                route,
                from: settled.from,
                to: settled.to,
            }),
        }
    }
    let done = group.done.iter().filter(|&&id| known(id));
    ranges.extend(done.map(|&block| SettledRange {
        block,
        route: None,
        from: 0,
        to: 0,
    }));
    ranges
}

/// A route's number. `None`: there are no more.
fn route_number(routes: &mut Vec<Arc<str>>, name: &Arc<str>) -> Option<u16> {
    let number = routes
        .iter()
        .position(|known| known == name)
        .unwrap_or(routes.len());
    let number = u16::try_from(number)
        .ok()
        .filter(|number| *number < format::ROUTES_MAX)?;
    if usize::from(number) == routes.len() {
        routes.push(name.clone());
    }
    Some(number)
}

fn write_new_routes(out: &mut Vec<u8>, place: (u64, u64), routes: &[Arc<str>], written: &mut usize) {
    let new = routes.get(*written..).unwrap_or_default();
    if !new.is_empty() {
        let mut meta = Vec::new();
        format::write_routes(&mut meta, *written as u16, new);
        format::write_frame(out, place, Kind::Routes, &meta, std::iter::empty());
        *written = routes.len();
    }
}
