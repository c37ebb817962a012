//! Segments: how one begins, and how they go.

use std::collections::BTreeMap;
use std::io;

use super::format::{self, Checkpoint, Kind};
use super::{Active, Live, Store, segment_name, write, write_new_routes};
use crate::disk::{Disk, DiskFile};

/// Blocks in one part of a checkpoint.
const CHECKPOINT_PART: usize = 8192;

/// The file of a segment that is not durable yet.
fn new_name(sequence: u64) -> String {
    format!("{sequence:016x}.new")
}

/// Whether a file is the beginning of a segment that nobody relied on.
pub(super) fn is_new(name: &str) -> bool {
    name.strip_suffix(".new")
        .is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl<D: Disk> Store<D> {
    /// A segment to append to: the open one, or a new one that begins with a checkpoint.
    pub(super) fn ensure_active(&mut self) -> io::Result<()> {
        let full = |active: &Active<D::File>| active.len >= self.options.segment_bytes;
        if self.active.as_ref().is_some_and(|active| !full(active)) {
            return Ok(());
        }
        // While the new one is not durable, the old one stays the last. An error may have left a file behind,
        // so no number is tried twice.
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let mut out = format::segment_header(sequence).to_vec();
        let mut routes_written = 0;
        write_new_routes(&mut out, (sequence, 0), &self.routes, &mut routes_written);
        let numbers = (self.epoch, self.next_id);
        write_checkpoint(&mut out, sequence, numbers, &self.live, CHECKPOINT_PART);
        let file = match create(&self.blocks.disk, sequence, &out) {
            Ok(file) => file,
            Err(error) => {
                self.litter.extend([new_name(sequence), segment_name(sequence)]);
                return Err(error);
            }
        };
        self.segments.entry(sequence).or_default().bytes = out.len() as u64;
        self.routes_written = routes_written;
        self.checkpointed = sequence;
        self.active = Some(Active {
            sequence,
            file,
            len: out.len() as u64,
        });
        Ok(())
    }

    /// Leaves the active segment after a write that failed behind its first `durable` bytes. What was written
    /// of the `len` bytes is cut off where that is possible: a full disk needs the room.
    pub(super) fn abandon_active(&mut self, durable: u64, len: u64) {
        let Some(mut active) = self.active.take() else {
            return;
        };
        let cut = active
            .file
            .truncate(durable)
            .and_then(|()| active.file.sync())
            .is_ok();
        let bytes = if cut { durable } else { durable + len };
        self.segments.entry(active.sequence).or_default().bytes = bytes;
    }

    /// Removes segments in which nothing is needed. What cannot be removed now is tried again.
    pub(super) fn trim(&mut self) {
        let (disk, checkpointed) = (&self.blocks.disk, self.checkpointed);
        self.segments.retain(|&sequence, segment| {
            let needed = segment.live > 0 || sequence >= checkpointed;
            needed || !remove(disk, &segment_name(sequence))
        });
        self.remove_litter();
    }

    pub(super) fn remove_litter(&mut self) {
        self.litter.retain(|name| !remove(&self.blocks.disk, name));
    }

    /// Removes all segments, where nothing is needed. The newest knows that, so it goes when the others are
    /// gone for good.
    pub(super) fn clear(&mut self) {
        self.active = None;
        let Some((&newest, _)) = self.segments.last_key_value() else {
            return;
        };
        let disk = &self.blocks.disk;
        self.segments
            .retain(|&sequence, _| sequence == newest || !remove(disk, &segment_name(sequence)));
        if self.segments.len() > 1 || disk.sync_names().is_err() {
            return;
        }
        if remove(disk, &segment_name(newest)) {
            self.segments.clear();
            // Otherwise it comes again after a power loss, and is found empty.
            let _ = disk.sync_names();
        }
    }

    /// Ends the log: removes it all where nothing is needed.
    pub fn close(mut self) {
        if self.live.is_empty() {
            self.clear();
        }
        self.trim();
    }
}

/// A segment gets its name when its beginning is durable: no crash leaves a segment without a checkpoint.
fn create<D: Disk>(disk: &D, sequence: u64, beginning: &[u8]) -> io::Result<D::File> {
    let mut file = disk.create(&new_name(sequence))?;
    write(&mut file, beginning)?;
    disk.rename(&new_name(sequence), &segment_name(sequence))?;
    disk.sync_names()?;
    Ok(file)
}

/// Removes a file; whether it is gone.
pub(super) fn remove<D: Disk>(disk: &D, name: &str) -> bool {
    disk.remove(name)
        .map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |()| true)
}

/// Appends the checkpoint of segment `sequence` in parts of so many blocks. `numbers`: the epoch, and the
/// next block's identity.
pub(super) fn write_checkpoint(
    out: &mut Vec<u8>,
    sequence: u64,
    numbers: (u64, u64),
    live: &BTreeMap<u64, Live>,
    part_max: usize,
) {
    let all: Vec<_> = live.iter().collect();
    let parts = all.chunks(part_max);
    let count = parts.len().max(1);
    let mut parts = parts.map(<[_]>::to_vec);
    for number in 1..=count {
        let part = parts.next().unwrap_or_default();
        let mut checkpoint = Checkpoint {
            last: number == count,
            epoch: numbers.0,
            next_id: numbers.1,
            needed: part.iter().map(|(id, _)| **id).collect(),
            settled: Vec::new(),
        };
        for (id, live) in part {
            live.ranges(*id, &mut checkpoint.settled);
        }
        let mut meta = Vec::new();
        checkpoint.write_meta(&mut meta);
        format::write_frame(out, (sequence, 0), Kind::Checkpoint, &meta, std::iter::empty());
    }
}
