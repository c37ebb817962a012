//! Segments: append-only files of frames.
//!
//! ```text
//! frame:  "FLAW" | len u32 | raw u32 | count u32 | crc32c u32 | series u64 | seq u64 | zstd      little-endian
//! ```
//!
//! `len` and `crc32c` are of the compressed bytes. A segment is left at 64 MiB. The index says which frames
//! there are; the header is checked against it when a frame is read.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::series::{Frame, SeriesId};

const MAGIC: &[u8; 4] = b"FLAW";
/// Bytes before the compressed ones.
pub(crate) const HEADER: usize = 36;
/// Size at which a segment is left.
const SEGMENT: u64 = 64 << 20;
/// Largest block that is read back, whatever a header says.
const RAW_MAX: u32 = 64 << 20;

fn path(folder: &Path, segment: u32) -> PathBuf {
    folder.join(format!("{segment:08}.seg"))
}

/// The header of a frame.
pub(crate) fn header(series: SeriesId, frame: &Frame, compressed: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let fields: [&[u8]; 7] = [
        MAGIC,
        &(compressed.len() as u32).to_le_bytes(),
        &frame.raw.to_le_bytes(),
        &frame.summary.count.to_le_bytes(),
        &crc32c::crc32c(compressed).to_le_bytes(),
        &series.to_le_bytes(),
        &frame.seq.to_le_bytes(),
    ];
    let bytes = fields.into_iter().flatten();
    header
        .iter_mut()
        .zip(bytes)
        .for_each(|(place, byte)| *place = *byte);
    header
}

/// The segment that is written.
#[derive(Debug)]
pub(crate) struct Writing {
    folder: PathBuf,
    number: u32,
    file: Option<File>,
    offset: u64,
}

impl Writing {
    fn new(folder: &Path, number: u32) -> Self {
        Self {
            folder: folder.to_path_buf(),
            number,
            file: None,
            offset: 0,
        }
    }

    /// Appends bytes: the segment's number, and where in it they begin. After an error a new segment is
    /// begun.
    pub(crate) fn append(&mut self, parts: [&[u8]; 2]) -> io::Result<(u32, u64)> {
        let done = self.try_append(parts);
        if done.is_err() {
            self.next();
        }
        done
    }

    fn try_append(&mut self, parts: [&[u8]; 2]) -> io::Result<(u32, u64)> {
        if self.offset >= SEGMENT {
            self.next();
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut options = OpenOptions::new();
                let file = options
                    .create(true)
                    .write(true)
                    .truncate(true)
                    .open(path(&self.folder, self.number))?;
                none.insert(file)
            }
        };
        for part in parts {
            file.write_all(part)?;
        }
        let at = self.offset;
        self.offset += parts.iter().map(|part| part.len() as u64).sum::<u64>();
        Ok((self.number, at))
    }

    fn next(&mut self) {
        self.number += 1;
        self.offset = 0;
        self.file = None;
    }
}

/// Cuts torn tails, removes segments without frames, and gives the next one to write.
pub(crate) fn tidy(folder: &Path, frames: &HashMap<SeriesId, Vec<Frame>>) -> io::Result<Writing> {
    let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
    for frame in frames.values().flatten() {
        let end = ends.entry(frame.segment).or_default();
        *end = (*end).max(frame.offset + u64::from(frame.len));
    }
    let mut last = ends.keys().last().copied().unwrap_or(0);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(".seg")?.parse().ok());
        let Some(number) = number else { continue };
        last = last.max(number);
        match ends.get(&number) {
            None => fs::remove_file(entry.path())?,
            Some(end) if entry.metadata()?.len() > *end => {
                OpenOptions::new().write(true).open(entry.path())?.set_len(*end)?;
            }
            Some(_) => {}
        }
    }
    Ok(Writing::new(folder, last + 1))
}

/// Reads frames; keeps the segment open that it read last.
#[derive(Debug)]
pub(crate) struct Frames {
    folder: PathBuf,
    open: Option<(u32, File)>,
}

impl Frames {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, open: None }
    }

    /// The records of a frame.
    pub(crate) fn read(&mut self, frame: &Frame) -> io::Result<Vec<u8>> {
        let damaged = |what: &str| {
            let place = format!("segment {} at {}: {what}", frame.segment, frame.offset);
            io::Error::new(io::ErrorKind::InvalidData, place)
        };
        if frame.raw > RAW_MAX {
            return Err(damaged("too large"));
        }
        let mut bytes = vec![0; frame.len as usize];
        let file = self.segment(frame.segment)?;
        file.seek(SeekFrom::Start(frame.offset))?;
        file.read_exact(&mut bytes)?;
        let (header, compressed) = bytes.split_at_checked(HEADER).ok_or(damaged("cut short"))?;
        let crc = header.get(16..20).and_then(|crc| crc.try_into().ok());
        let crc = crc.map(u32::from_le_bytes);
        if !header.starts_with(MAGIC) || crc != Some(crc32c::crc32c(compressed)) {
            return Err(damaged("the checksum is wrong"));
        }
        let raw = zstd::bulk::decompress(compressed, frame.raw as usize)?;
        if raw.len() == frame.raw as usize {
            Ok(raw)
        } else {
            Err(damaged("the length is wrong"))
        }
    }

    fn segment(&mut self, number: u32) -> io::Result<&mut File> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != number) {
            self.open = Some((number, File::open(path(&self.folder, number))?));
        }
        match &mut self.open {
            Some((_, file)) => Ok(file),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
