//! A series: the records of one log stream, delivery stream or shard, in the order in which they came.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::block::{Batch, Span, Summary};

/// The number of a series.
pub(crate) type SeriesId = u64;

/// Bytes at which records need not wait for more before they are compressed.
pub(crate) const BLOCK: usize = 256 << 10;
/// Small batches join the piece before them up to this size.
const PIECE: usize = 64 << 10;

/// Room among the bytes that wait for the disk; given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Room(Option<OwnedSemaphorePermit>);

impl Room {
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Some(permit))
    }

    fn join(&mut self, other: Self) {
        match (&mut self.0, other.0) {
            (Some(own), Some(other)) => own.merge(other),
            (own @ None, other) => *own = other,
            (Some(_), None) => {}
        }
    }
}

/// Records on disk: where, and what is known of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Number of its first record.
    pub(crate) seq: u64,
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    /// Bytes on disk, with its header.
    pub(crate) len: u32,
    /// Bytes of its records.
    pub(crate) raw: u32,
    pub(crate) summary: Summary,
}

/// Records in memory.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) seq: u64,
    pub(crate) batch: Batch,
}

/// Where records are.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Disk(Frame),
    Memory(Arc<Piece>),
}

impl Source {
    pub(crate) fn seq(&self) -> u64 {
        match self {
            Self::Disk(frame) => frame.seq,
            Self::Memory(piece) => piece.seq,
        }
    }

    pub(crate) fn summary(&self) -> &Summary {
        match self {
            Self::Disk(frame) => &frame.summary,
            Self::Memory(piece) => &piece.batch.summary,
        }
    }

    /// Number behind its last record.
    pub(crate) fn end(&self) -> u64 {
        self.seq() + u64::from(self.summary().count)
    }
}

/// What a series has taken in all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Totals {
    pub(crate) count: u64,
    pub(crate) payload: u64,
    pub(crate) span: Span,
    pub(crate) arrived: i64,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            count: 0,
            payload: 0,
            span: Span::NONE,
            arrived: i64::MIN,
        }
    }
}

impl Totals {
    fn add(&mut self, summary: &Summary) {
        self.count += u64::from(summary.count);
        self.payload += summary.payload;
        self.span.add(summary.span);
        self.arrived = self.arrived.max(summary.arrived);
    }

    /// The first and the last event's time, if there is any.
    pub(crate) fn times(&self) -> Option<(i64, i64)> {
        (self.count > 0).then_some((self.span.first, self.span.last))
    }
}

/// One series.
#[derive(Debug, Default)]
pub(crate) struct Series {
    next: u64,
    pub(crate) frames: Vec<Frame>,
    /// Taken by the writer, not on disk yet.
    sealing: Vec<Arc<Piece>>,
    open: VecDeque<Arc<Piece>>,
    open_bytes: usize,
    open_room: Room,
    pub(crate) totals: Totals,
}

/// What the writer takes of a series.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) pieces: Vec<Arc<Piece>>,
    /// Given back when these are written.
    pub(crate) room: Room,
}

impl Sealed {
    pub(crate) fn summary(&self) -> Summary {
        let mut all = Summary::NONE;
        self.pieces.iter().for_each(|piece| all.add(&piece.batch.summary));
        all
    }
}

impl Series {
    /// As an index tells it, in the order of their numbers.
    pub(crate) fn loaded(frames: Vec<Frame>) -> Self {
        let mut series = Self::default();
        for frame in &frames {
            series.totals.add(&frame.summary);
            series.next = series.next.max(frame.seq + u64::from(frame.summary.count));
        }
        series.frames = frames;
        series
    }

    /// Appends records; the number of the first.
    pub(super) fn append(&mut self, batch: Batch, room: Room) -> u64 {
        let first = self.next;
        self.next += u64::from(batch.summary.count);
        self.totals.add(&batch.summary);
        self.open_bytes += batch.bytes.len();
        self.open_room.join(room);
        let last = self.open.back_mut().and_then(Arc::get_mut);
        match last.filter(|last| last.batch.bytes.len() + batch.bytes.len() <= PIECE) {
            Some(last) => {
                last.batch.bytes.extend_from_slice(&batch.bytes);
                last.batch.summary.add(&batch.summary);
            }
            None => self.open.push_back(Arc::new(Piece { seq: first, batch })),
        }
        first
    }

    pub(super) fn is_full(&self) -> bool {
        self.open_bytes >= BLOCK
    }

    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Number that the next record gets.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next
    }

    /// Takes what is open, up to a block; `None` where nothing is.
    pub(super) fn seal(&mut self) -> Option<Sealed> {
        let mut pieces = Vec::new();
        let mut bytes = 0;
        while bytes < BLOCK
            && let Some(piece) = self.open.pop_front()
        {
            bytes += piece.batch.bytes.len();
            pieces.push(piece);
        }
        if pieces.is_empty() {
            return None;
        }
        self.open_bytes = self.open_bytes.saturating_sub(bytes);
        self.sealing.extend(pieces.iter().cloned());
        let mut room = std::mem::take(&mut self.open_room);
        if !self.open.is_empty()
            && let Some(permit) = &mut room.0
        {
            // What stays open keeps its part.
            let kept = permit.split(self.open_bytes.min(permit.num_permits()));
            self.open_room = Room(kept);
        }
        Some(Sealed { pieces, room })
    }

    /// A piece of [`seal`](Self::seal) is on disk.
    pub(super) fn written(&mut self, frame: Frame) {
        let end = frame.seq + u64::from(frame.summary.count);
        self.sealing
            .retain(|piece| piece.seq < frame.seq || piece.seq >= end);
        self.frames.push(frame);
    }

    /// The writer could not write it: it is open again.
    pub(super) fn unseal(&mut self, sealed: Sealed) {
        for piece in sealed.pieces.into_iter().rev() {
            self.sealing.retain(|other| other.seq != piece.seq);
            self.open_bytes += piece.batch.bytes.len();
            self.open.push_front(piece);
        }
        self.open_room.join(sealed.room);
    }

    /// Everything in the order of its numbers.
    pub(crate) fn sources(&self) -> impl DoubleEndedIterator<Item = Source> {
        let frames = self.frames.iter().copied().map(Source::Disk);
        let pieces = self.sealing.iter().chain(&self.open).cloned();
        frames.chain(pieces.map(Source::Memory))
    }

    /// What may hold records of `from..to`, in ms.
    pub(crate) fn sources_between(&self, from: i64, to: i64) -> Vec<Source> {
        self.sources()
            .filter(|source| source.summary().span.meets(from, to))
            .collect()
    }

    /// What holds records from number `seq` on; at most `most`.
    pub(crate) fn sources_from(&self, seq: u64, most: usize) -> Vec<Source> {
        let at = self
            .frames
            .partition_point(|frame| frame.seq + u64::from(frame.summary.count) <= seq);
        let frames = self.frames.get(at..).unwrap_or_default();
        let frames = frames.iter().copied().map(Source::Disk);
        let pieces = self.sealing.iter().chain(&self.open).cloned();
        frames
            .chain(pieces.map(Source::Memory))
            .filter(|source| source.end() > seq)
            .take(most)
            .collect()
    }
}
