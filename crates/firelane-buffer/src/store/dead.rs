//! Dead letters: records that were given up, each with the reason, in a folder of their own. The files have
//! the form of segments, so that the same tools read them.

use std::collections::BTreeMap;
use std::io;

use super::format::{self, BlockImage, Epitaph, Kind};
use super::scan::{Piece, ScanError, scan};
use super::segments::remove;
use super::{segment_name, segment_sequence};
use crate::disk::{Disk, DiskFile};

/// A file that has so many bytes is followed by another one.
const FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Nor has a file more than this part of the limit.
const FILES_MIN: u64 = 4;

/// The writing end of a folder of dead letters.
#[derive(Debug)]
pub struct DeadLetters<D: Disk> {
    disk: D,
    /// Bytes of all files together, beyond which the oldest go.
    bytes_max: u64,
    active: Option<(u64, D::File)>,
    /// Bytes and records of each file.
    files: BTreeMap<u64, (u64, u64)>,
    next: u64,
}

impl<D: Disk> DeadLetters<D> {
    /// Opens the folder. What cannot be read in it is left alone.
    pub fn open(disk: D, bytes_max: u64) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        let mut next = 1;
        for name in disk.list()? {
            let Some(sequence) = segment_sequence(&name) else {
                continue;
            };
            next = next.max(sequence + 1);
            let file = disk.open(&name)?;
            let mut records = 0;
            let counted = scan(&file, |piece| {
                if let Piece::Frame(found) = piece {
                    records += read(&found.meta).map_or(0, |(_, image)| u64::from(image.records()));
                }
            });
            match counted {
                Ok(_) => {
                    files.insert(sequence, (file.len()?, records));
                }
                Err(ScanError::Io(error)) => return Err(error),
                Err(ScanError::Header(_)) => {}
            }
        }
        Ok(Self {
            disk,
            bytes_max,
            active: None,
            files,
            next,
        })
    }

    /// Records that are there.
    pub fn records(&self) -> u64 {
        self.files.values().map(|(_, records)| records).sum()
    }

    /// Bytes that are there.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|(bytes, _)| bytes).sum()
    }

    /// Writes and syncs records with the reason. Gives how many older ones had to go for the limit's sake.
    pub fn bury(&mut self, epitaph: &Epitaph, image: &BlockImage) -> io::Result<u64> {
        let (sequence, mut file) = match self.active.take() {
            Some(active) => active,
            None => self.create()?,
        };
        let (bytes, records) = self.files.get(&sequence).copied().unwrap_or_default();
        let mut meta = Vec::new();
        epitaph.write_meta(&mut meta);
        image.write_meta(&mut meta);
        let mut out = Vec::with_capacity(image.bytes() + meta.len() + format::FRAME_HEADER);
        format::write_frame(&mut out, (sequence, bytes), Kind::DeadLetter, &meta, image.data());
        if let Err(error) = file.append(&out).and_then(|()| file.sync()) {
            // Nothing more is appended to this file: nobody knows what it holds.
            let _ = file.truncate(bytes);
            if records == 0 {
                self.discard(sequence);
            }
            return Err(error);
        }
        let now = (bytes + out.len() as u64, records + u64::from(image.records()));
        self.files.insert(sequence, now);
        if now.0 < FILE_BYTES.min(self.bytes_max / FILES_MIN) {
            self.active = Some((sequence, file));
        }
        Ok(self.trim())
    }

    fn create(&mut self) -> io::Result<(u64, D::File)> {
        // An error may have left a file behind: no number is tried twice.
        let sequence = self.next;
        self.next += 1;
        let header = format::segment_header(sequence);
        self.files.insert(sequence, (header.len() as u64, 0));
        let create = || {
            let mut file = self.disk.create(&segment_name(sequence))?;
            file.append(&header)?;
            self.disk.sync_names()?;
            Ok(file)
        };
        match create() {
            Ok(file) => Ok((sequence, file)),
            Err(error) => {
                self.discard(sequence);
                Err(error)
            }
        }
    }

    /// Removes a file in which there is nothing. One that stays goes with the oldest.
    fn discard(&mut self, sequence: u64) {
        if remove(&self.disk, &segment_name(sequence)) {
            self.files.remove(&sequence);
        }
    }

    /// Removes the oldest files until the rest is within the limit; the newest stays.
    fn trim(&mut self) -> u64 {
        let mut gone = 0;
        while self.files.len() > 1 && self.bytes() > self.bytes_max {
            let Some((&sequence, &(_, records))) = self.files.first_key_value() else {
                break;
            };
            if !remove(&self.disk, &segment_name(sequence)) {
                break;
            }
            self.files.remove(&sequence);
            gone += records;
        }
        gone
    }
}

/// A dead letter's meta part: why, and the table of its runs.
pub fn read(meta: &[u8]) -> Option<(Epitaph, BlockImage)> {
    let (epitaph, rest) = Epitaph::read(meta)?;
    Some((epitaph, BlockImage::read(rest, None).ok()?))
}
