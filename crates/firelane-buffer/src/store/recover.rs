//! Opens a log: a scan over all segments that needs no more memory than a few words for each block.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, RwLock};

use firelane_record::set::RecordSet;

use super::format::{
    BlockImage, Checkpoint, HeaderError, Kind, SEGMENT_HEADER, SettledRange, read_routes, read_settled,
};
use super::scan::{Found, Piece, ScanError, data_is_whole, frame_at, has_frames, scan, scan_frames};
use super::segments::is_new;
use super::{Blocks, Live, Location, Segment, Store, StoreOptions, segment_name, segment_sequence};
use crate::disk::{Disk, DiskFile};

/// A block that was found and is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Its identity.
    pub id: u64,
    /// Which start wrote it.
    pub epoch: u64,
    /// Its partition then.
    pub partition: u16,
    /// Its place in that partition's order.
    pub order: u64,
    /// Records by number that a route is done with, by the route's name.
    pub settled: Vec<(Arc<str>, RecordSet)>,
}

/// Something that a start must tell.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The end of a segment was cut off while it was written: nobody relied on it.
    Torn {
        /// File name.
        file: String,
        /// Where.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// Bytes in the middle of a segment are damaged. What was in them is lost.
    Damaged {
        /// File name.
        file: String,
        /// Where.
        offset: u64,
        /// Bytes.
        len: u64,
        /// Where they were put, unless deleted.
        kept: Option<String>,
    },
    /// A whole file cannot be read.
    Unreadable {
        /// File name.
        file: String,
        /// Why.
        why: String,
        /// Where it was put, unless it was left or deleted.
        kept: Option<String>,
    },
    /// Settlements were damaged: records may be delivered again.
    Again {
        /// File name.
        file: String,
    },
}

/// What a start has found.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Blocks that are needed, in order of epoch, partition and place.
    pub blocks: Vec<Recovered>,
    /// What must be told.
    pub notes: Vec<Note>,
    /// The epoch of this start.
    pub epoch: u64,
    /// The next block's identity.
    pub next_id: u64,
}

/// What the scan knows of a block.
struct Known {
    at: Location,
    /// Where it was written again, in the segment that is scanned now.
    copy: Option<Location>,
    epoch: u64,
    partition: u16,
    order: u64,
    records: u32,
    settled: BTreeMap<u16, RecordSet>,
}

#[derive(Default)]
struct Scan {
    known: HashMap<u64, Known>,
    routes: Vec<Arc<str>>,
    segments: BTreeMap<u64, Segment>,
    notes: Vec<Note>,
    epoch: u64,
    next_id: u64,
}

impl<D: Disk> Store<D> {
    /// Opens the log in `disk`. Damage is told, never an error; errors are the system's.
    pub fn open(disk: D, options: StoreOptions) -> io::Result<(Self, Recovery)> {
        let names = disk.list()?;
        let mut sequences: Vec<u64> = names.iter().filter_map(|name| segment_sequence(name)).collect();
        sequences.sort_unstable();
        let mut state = Scan::default();
        for &sequence in &sequences {
            let newest = sequences.last() == Some(&sequence);
            state.segment(&disk, &options, sequence, newest)?;
        }
        let next_sequence = sequences.last().map_or(1, |last| last + 1);
        let (mut store, recovery) = state.finish(disk, options, next_sequence);
        store.litter = names.into_iter().filter(|name| is_new(name)).collect();
        store.remove_litter();
        Ok((store, recovery))
    }
}

/// One segment while it is scanned. Numbers of routes mean something within it only.
#[derive(Default)]
struct Pass {
    /// From its numbers to ours.
    routes: HashMap<u16, u16>,
    /// The parts of its checkpoint so far; `None` once it is complete or spoilt.
    checkpoint: Option<Checkpoint>,
    damaged: Vec<(u64, u64)>,
    torn: Option<(u64, u64)>,
    /// Where the last frame begins.
    last: u64,
    again: bool,
}

impl Scan {
    fn segment<D: Disk>(
        &mut self,
        disk: &D,
        options: &StoreOptions,
        sequence: u64,
        newest: bool,
    ) -> io::Result<()> {
        let name = segment_name(sequence);
        let mut file = disk.open(&name)?;
        let mut pass = Pass {
            checkpoint: Some(Checkpoint::default()),
            ..Pass::default()
        };
        match scan(&file, |piece| self.piece(sequence, piece, &mut pass)) {
            Ok(told) if told == sequence => {}
            Ok(_) => {
                self.unreadable(disk, options, &name, "it has another segment's number", true);
                return Ok(());
            }
            Err(ScanError::Io(error)) => return Err(error),
            Err(ScanError::Header(HeaderError::NotASegment)) if has_frames(&file, sequence)? => {
                pass.damaged.push((0, SEGMENT_HEADER as u64));
                scan_frames(&file, sequence, |piece| self.piece(sequence, piece, &mut pass))?;
            }
            Err(ScanError::Header(error)) => {
                let ours = error == HeaderError::NotASegment;
                self.unreadable(disk, options, &name, &error.to_string(), ours);
                return Ok(());
            }
        }
        if newest {
            // A process that was killed left unsynced bytes. Best effort: nobody relied on them.
            let _ = file.sync();
        }
        self.segments.entry(sequence).or_default().bytes = file.len()?;
        self.check_data(disk, &file, sequence, newest, &mut pass)?;
        for (offset, len) in std::mem::take(&mut pass.damaged) {
            let kept = keep(disk, options, &file, sequence, offset, len);
            let file = name.clone();
            self.notes.push(Note::Damaged {
                file,
                offset,
                len,
                kept,
            });
        }
        if let Some((offset, len)) = pass.torn {
            let file = name.clone();
            self.notes.push(Note::Torn { file, offset, len });
        }
        if pass.again {
            self.notes.push(Note::Again { file: name });
        }
        Ok(())
    }

    /// Looks at the records of blocks where a write may not have arrived wholly: all of the newest segment,
    /// and those that stand elsewhere too. Others are looked at when they are loaded.
    fn check_data<D: Disk>(
        &mut self,
        disk: &D,
        file: &D::File,
        sequence: u64,
        newest: bool,
        pass: &mut Pass,
    ) -> io::Result<()> {
        let here = |known: &Known| known.copy.is_some() || (newest && known.at.segment == sequence);
        let ids: Vec<u64> = self
            .known
            .iter()
            .filter(|(_, known)| here(known))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let Some(known) = self.known.get_mut(&id) else {
                continue;
            };
            let copy = known.copy.take();
            if let Some(copy) = copy {
                // The older was durable before this one was begun.
                let old = disk.open(&segment_name(known.at.segment))?;
                if !block_is_whole(&old, known.at)? && block_is_whole(file, copy)? {
                    known.at = copy;
                }
                continue;
            }
            let at = known.at;
            if block_is_whole(file, at)? {
                continue;
            }
            self.known.remove(&id);
            if at.offset == pass.last {
                // The last write: nobody was told that it had arrived.
                pass.torn = Some((at.offset, at.len));
            } else {
                pass.damaged.push((at.offset, at.len));
            }
        }
        pass.damaged.sort_unstable();
        Ok(())
    }

    fn unreadable<D: Disk>(
        &mut self,
        disk: &D,
        options: &StoreOptions,
        name: &str,
        why: &str,
        move_away: bool,
    ) {
        let mut kept = None;
        // Where that fails, the file stays and is told of again.
        if move_away && options.delete_damaged {
            let _ = disk.remove(name);
        } else if move_away {
            let bad = name.replace(".seg", ".bad");
            kept = disk.rename(name, &bad).is_ok().then_some(bad);
        }
        self.notes.push(Note::Unreadable {
            file: name.to_string(),
            why: why.to_string(),
            kept,
        });
    }

    fn piece(&mut self, sequence: u64, piece: Piece, pass: &mut Pass) {
        let found = match piece {
            Piece::Frame(found) => found,
            Piece::Damaged { offset, len } => {
                // It may have been settlements.
                pass.again = true;
                pass.checkpoint = None;
                pass.damaged.push((offset, len));
                return;
            }
            Piece::Torn { offset, len } => {
                pass.torn = Some((offset, len));
                return;
            }
        };
        pass.last = found.offset;
        let understood = match found.head.kind {
            Kind::Block => self.block(sequence, &found),
            Kind::Settled => read_settled(&found.meta).map(|ranges| self.settled(&ranges, pass)),
            Kind::Routes => read_routes(&found.meta).map(|(first, names)| {
                for (number, name) in (first..=u16::MAX).zip(names) {
                    let ours = super::route_number(&mut self.routes, &name.into());
                    pass.routes.extend(ours.map(|ours| (number, ours)));
                }
            }),
            Kind::Checkpoint => {
                Checkpoint::read(&found.meta).map(|part| self.checkpoint(sequence, part, pass))
            }
            Kind::DeadLetter => Some(()),
        };
        pass.again |= understood.is_none();
    }

    fn block(&mut self, sequence: u64, found: &Found) -> Option<()> {
        let image = BlockImage::read(&found.meta, None).ok()?;
        let at = Location {
            segment: sequence,
            offset: found.offset,
            len: found.head.frame_len(),
        };
        self.epoch = self.epoch.max(image.epoch);
        self.next_id = self.next_id.max(image.id.saturating_add(1));
        match self.known.get_mut(&image.id) {
            Some(known) if known.epoch == image.epoch => known.copy = Some(at),
            _ => {
                let known = Known {
                    at,
                    copy: None,
                    epoch: image.epoch,
                    partition: image.partition,
                    order: image.order,
                    records: image.records(),
                    settled: BTreeMap::new(),
                };
                self.known.insert(image.id, known);
            }
        }
        Some(())
    }

    fn settled(&mut self, ranges: &[SettledRange], pass: &mut Pass) {
        for range in ranges {
            match range.route {
                None => {
                    self.known.remove(&range.block);
                }
                Some(number) => {
                    let Some(&route) = pass.routes.get(&number) else {
                        pass.again = true;
                        continue;
                    };
                    if let Some(known) = self.known.get_mut(&range.block) {
                        let set = known.settled.entry(route).or_insert_with(RecordSet::none);
                        set.insert_range(range.from..range.to.min(known.records));
                    }
                }
            }
        }
    }

    /// With its last part a checkpoint says all about older segments.
    fn checkpoint(&mut self, sequence: u64, part: Checkpoint, pass: &mut Pass) {
        self.epoch = self.epoch.max(part.epoch);
        self.next_id = self.next_id.max(part.next_id);
        let Some(so_far) = &mut pass.checkpoint else {
            return;
        };
        so_far.needed.extend(part.needed);
        so_far.settled.extend(part.settled);
        if !part.last {
            return;
        }
        let Some(whole) = pass.checkpoint.take() else {
            return;
        };
        let needed: std::collections::HashSet<u64> = whole.needed.into_iter().collect();
        self.known
            .retain(|id, known| known.at.segment >= sequence || needed.contains(id));
        self.settled(&whole.settled, pass);
    }

    fn finish<D: Disk>(mut self, disk: D, options: StoreOptions, next_sequence: u64) -> (Store<D>, Recovery) {
        let mut blocks: Vec<Recovered> = Vec::with_capacity(self.known.len());
        let mut live = BTreeMap::new();
        let mut places = HashMap::with_capacity(self.known.len());
        for (id, known) in self.known {
            let segment = self.segments.entry(known.at.segment).or_default();
            segment.live += 1;
            segment.live_bytes += known.at.len;
            places.insert(id, known.at);
            let named =
                |(&route, set): (&u16, &RecordSet)| (self.routes[usize::from(route)].clone(), set.clone());
            blocks.push(Recovered {
                id,
                epoch: known.epoch,
                partition: known.partition,
                order: known.order,
                settled: known.settled.iter().map(named).collect(),
            });
            live.insert(
                id,
                Live {
                    at: known.at,
                    needed: known.at.len,
                    settled: known.settled,
                    records: known.records,
                },
            );
        }
        blocks.sort_unstable_by_key(|block| (block.epoch, block.partition, block.order, block.id));
        let (epoch, next_id) = (self.epoch.saturating_add(1), self.next_id.max(1));
        let recovery = Recovery {
            blocks,
            notes: self.notes,
            epoch,
            next_id,
        };
        let store = Store {
            blocks: Arc::new(Blocks {
                disk,
                places: RwLock::new(places),
            }),
            options,
            active: None,
            next_sequence,
            checkpointed: 0,
            segments: self.segments,
            live,
            routes: self.routes,
            routes_written: 0,
            epoch,
            next_id,
            litter: Vec::new(),
            out: Vec::new(),
        };
        (store, recovery)
    }
}

/// Bytes copied at once.
const COPY_STEP: usize = 64 * 1024;

/// Puts damaged bytes into a file of their own, once. `None`: they are not kept.
pub(super) fn keep<D: Disk>(
    disk: &D,
    options: &StoreOptions,
    file: &D::File,
    sequence: u64,
    offset: u64,
    len: u64,
) -> Option<String> {
    if options.delete_damaged {
        return None;
    }
    let name = format!("{sequence:016x}-{offset:x}.bad");
    match disk.create(&name) {
        Ok(mut copy) => {
            let copied = copy_part(file, &mut copy, offset, len).and_then(|()| copy.sync());
            if copied.is_err() {
                // Half of it would be taken for the whole at the next start.
                let _ = disk.remove(&name);
            }
            copied.is_ok().then_some(name)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Some(name),
        Err(_) => None,
    }
}

fn copy_part<F: DiskFile>(file: &F, copy: &mut F, offset: u64, len: u64) -> io::Result<()> {
    let (mut at, mut buf) = (offset, vec![0; COPY_STEP]);
    while at < offset + len {
        let step = COPY_STEP.min((offset + len - at) as usize);
        let read = file.read_at(at, &mut buf[..step])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        copy.append(&buf[..read])?;
        at += read as u64;
    }
    Ok(())
}

fn block_is_whole<F: DiskFile>(file: &F, at: Location) -> io::Result<bool> {
    let found = frame_at(file, at.segment, at.offset, at.offset + at.len)?;
    let whole = found.map(|found| data_is_whole(file, &found)).transpose()?;
    Ok(whole == Some(true))
}
