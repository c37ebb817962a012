//! Reads a segment frame by frame, over what is torn or damaged.

use std::io;

use bytes::Bytes;

use super::format::{FRAME_HEADER, Head, HeaderError, MARK, SEGMENT_HEADER, read_head, read_segment_header};
use crate::disk::DiskFile;

/// Bytes read at once while looking for the next frame, and of data while checking it.
const STEP: usize = 64 * 1024;

/// A frame whose header and meta part are whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it begins.
    pub offset: u64,
    /// Its header.
    pub head: Head,
    /// Its meta part.
    pub meta: Vec<u8>,
}

/// What stands in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A frame.
    Frame(Found),
    /// Bytes that are no frame, with frames behind them.
    Damaged {
        /// Where they begin.
        offset: u64,
        /// How many they are.
        len: u64,
    },
    /// Bytes at the end that are no frame: a write that was cut off.
    Torn {
        /// Where they begin.
        offset: u64,
        /// How many they are.
        len: u64,
    },
}

/// Why a segment was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// The system.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its header.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// Calls `visit` for everything in a segment, in order; gives its sequence number.
pub fn scan<F: DiskFile>(file: &F, visit: impl FnMut(Piece)) -> Result<u64, ScanError> {
    let mut header = [0; SEGMENT_HEADER];
    let read = file.read_at(0, &mut header)?;
    let sequence = read_segment_header(&header[..read])?;
    scan_frames(file, sequence, visit)?;
    Ok(sequence)
}

/// Calls `visit` for everything behind the header of segment `sequence`, in order.
pub fn scan_frames<F: DiskFile>(file: &F, sequence: u64, mut visit: impl FnMut(Piece)) -> io::Result<()> {
    let len = file.len()?;
    let mut at = SEGMENT_HEADER as u64;
    while at < len {
        if let Some(found) = frame_at(file, sequence, at, len)? {
            at += found.head.frame_len();
            visit(Piece::Frame(found));
            continue;
        }
        match next_frame(file, sequence, at + 1, len)? {
            Some(next) => {
                visit(Piece::Damaged {
                    offset: at,
                    len: next - at,
                });
                at = next;
            }
            None => {
                visit(Piece::Torn {
                    offset: at,
                    len: len - at,
                });
                at = len;
            }
        }
    }
    Ok(())
}

/// Whether a frame of segment `sequence` stands in a file, wherever.
pub fn has_frames<F: DiskFile>(file: &F, sequence: u64) -> io::Result<bool> {
    let first = next_frame(file, sequence, SEGMENT_HEADER as u64, file.len()?)?;
    Ok(first.is_some())
}

/// The frame that begins at `offset` and ends within `len`, if its header and meta part are whole.
pub fn frame_at<F: DiskFile>(file: &F, sequence: u64, offset: u64, len: u64) -> io::Result<Option<Found>> {
    let mut header = [0; FRAME_HEADER];
    if file.read_at(offset, &mut header)? < FRAME_HEADER {
        return Ok(None);
    }
    let Some(head) = read_head((sequence, offset), &header) else {
        return Ok(None);
    };
    if offset.saturating_add(head.frame_len()) > len {
        return Ok(None);
    }
    let mut meta = vec![0; head.meta as usize];
    if file.read_at(offset + FRAME_HEADER as u64, &mut meta)? < meta.len() {
        return Ok(None);
    }
    let whole = crc32c::crc32c(&meta) == head.meta_crc;
    Ok(whole.then_some(Found { offset, head, meta }))
}

/// Where the first whole frame at or behind `from` begins.
fn next_frame<F: DiskFile>(file: &F, sequence: u64, from: u64, len: u64) -> io::Result<Option<u64>> {
    let mut buf = vec![0; STEP];
    let mut at = from;
    while at < len {
        let read = file.read_at(at, &mut buf)?;
        let window = &buf[..read];
        let marks = window
            .windows(MARK.len())
            .enumerate()
            .filter(|(_, four)| *four == MARK);
        for (start, _) in marks {
            let start = at + start as u64;
            if frame_at(file, sequence, start, len)?.is_some() {
                return Ok(Some(start));
            }
        }
        if read < buf.len() {
            return Ok(None);
        }
        // A mark may lie across two windows.
        at += (read - (MARK.len() - 1)) as u64;
    }
    Ok(None)
}

/// Reads a frame's data part. `None`: it is not what was written.
pub fn data_of<F: DiskFile>(file: &F, found: &Found) -> io::Result<Option<Bytes>> {
    let mut data = vec![0; found.head.data as usize];
    let at = found.offset + (FRAME_HEADER + found.meta.len()) as u64;
    let read = file.read_at(at, &mut data)?;
    let whole = read == data.len() && crc32c::crc32c(&data) == found.head.data_crc;
    Ok(whole.then(|| data.into()))
}

/// Whether a frame's data part is what was written; reads it in small steps.
pub fn data_is_whole<F: DiskFile>(file: &F, found: &Found) -> io::Result<bool> {
    let mut left = found.head.data as usize;
    let mut buf = vec![0; STEP.min(left)];
    let mut at = found.offset + (FRAME_HEADER + found.meta.len()) as u64;
    let mut crc = 0;
    while left > 0 {
        let step = buf.len().min(left);
        let read = file.read_at(at, &mut buf[..step])?;
        if read == 0 {
            return Ok(false);
        }
        crc = crc32c::crc32c_append(crc, &buf[..read]);
        at += read as u64;
        left -= read;
    }
    Ok(crc == found.head.data_crc)
}
