//! The one thread that writes: compresses blocks, appends them to a segment, commits the index.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::block::{Summary, records};
use super::index::{FrameOp, Index, Op};
use super::segment::{self, Frames, Writing};
use super::series::{BLOCK, Frame, Sealed, SeriesId};
use super::{Shared, State};

/// Wait after the disk refused.
const PAUSE: Duration = Duration::from_secs(1);
/// zstd's level: fast.
const LEVEL: i32 = 1;
/// So many small frames behind each other become one.
pub(super) const MERGE: usize = 32;

/// What a round takes from the state.
#[derive(Debug, Default)]
struct Work {
    ops: Vec<Op>,
    upto: u64,
    sealed: Vec<(SeriesId, Sealed)>,
    last: bool,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    index: Index,
    segment: Writing,
    linger: Duration,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    out: Vec<u8>,
    joined: Vec<u8>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, index: Index, segment: Writing, linger: Duration) -> Self {
        Self {
            shared,
            index,
            segment,
            linger,
            zstd: None,
            out: Vec::new(),
            joined: Vec::new(),
        }
    }

    /// Runs until the store is closed.
    pub(super) fn run(mut self) {
        loop {
            let work = self.wait();
            let last = work.last;
            let done = self.round(work);
            *self.shared.trouble() = done.as_ref().err().cloned();
            match done {
                Ok(more) if last && !more => return,
                Ok(_) => {}
                // What could not be written is lost with the process, and `close` tells it.
                Err(_) if last => return,
                Err(trouble) => {
                    tracing::warn!(error = %trouble, "the local endpoint cannot write its data");
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }

    /// Waits for something to do.
    fn wait(&self) -> Work {
        let mut state = self.shared.lock();
        loop {
            let due = state
                .dirty_since
                .map(|since| self.linger.saturating_sub(since.elapsed()));
            let is_due = due.is_some_and(|left| left.is_zero());
            if state.stop || is_due || !state.queue.is_empty() || !state.full.is_empty() {
                return take(&mut state, is_due);
            }
            let left = due.unwrap_or(Duration::from_secs(60));
            let waited = self.shared.wake.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Writes; whether there is more to do.
    fn round(&mut self, mut work: Work) -> Result<bool, String> {
        let mut added = Vec::new();
        let sealed = std::mem::take(&mut work.sealed);
        let mut failed = None;
        let mut rest = sealed.into_iter();
        let mut written = Vec::new();
        for (id, sealed) in rest.by_ref() {
            match self.write(id, &sealed) {
                Ok(frame) => {
                    added.push(FrameOp::Add(id, frame));
                    written.push((id, sealed, frame));
                }
                Err(error) => {
                    failed = Some((error.to_string(), (id, sealed)));
                    break;
                }
            }
        }
        let committed = self.index.commit(&work.ops, &added);
        let mut state = self.shared.lock();
        let mut failure = failed.map(|(text, first)| {
            put_back(&mut state, std::iter::once(first).chain(rest));
            text
        });
        if let Err(error) = &committed {
            failure.get_or_insert_with(|| error.to_string());
            put_back(
                &mut state,
                written.into_iter().map(|(id, sealed, _)| (id, sealed)),
            );
            work.ops.drain(..).rev().for_each(|op| state.queue.push_front(op));
        } else {
            for (id, _, frame) in &written {
                if let Some(series) = state.series.get_mut(id) {
                    series.written(*frame);
                }
            }
            self.shared.committed.send_replace(work.upto);
        }
        let more = !state.queue.is_empty() || !state.dirty.is_empty();
        drop(state);
        if committed.is_ok() {
            self.remove_files(&work.ops);
            if !added.is_empty() {
                let ids = added.iter().filter_map(|op| match op {
                    FrameOp::Add(id, _) => Some(*id),
                    FrameOp::Remove(..) => None,
                });
                ids.for_each(|id| self.merge(id));
            }
        }
        failure.map_or(Ok(more), Err)
    }

    fn write(&mut self, id: SeriesId, sealed: &Sealed) -> io::Result<Frame> {
        let seq = sealed.pieces.first().map_or(0, |piece| piece.seq);
        let mut joined = std::mem::take(&mut self.joined);
        joined.clear();
        let done = match sealed.pieces.as_slice() {
            [one] => self.frame(id, seq, &one.batch.bytes, sealed.summary()),
            many => {
                many.iter()
                    .for_each(|piece| joined.extend_from_slice(&piece.batch.bytes));
                self.frame(id, seq, &joined, sealed.summary())
            }
        };
        if joined.capacity() <= 4 * BLOCK {
            self.joined = joined;
        }
        done
    }

    fn frame(&mut self, id: SeriesId, seq: u64, raw: &[u8], summary: Summary) -> io::Result<Frame> {
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(zstd::bulk::Compressor::new(LEVEL)?),
        };
        self.out.clear();
        self.out.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        zstd.compress_to_buffer(raw, &mut self.out)?;
        let mut frame = Frame {
            seq,
            segment: 0,
            offset: 0,
            len: (segment::HEADER + self.out.len()) as u32,
            raw: raw.len() as u32,
            summary,
        };
        let header = segment::header(id, &frame, &self.out);
        (frame.segment, frame.offset) = self.segment.append([&header, &self.out])?;
        self.out.shrink_to(4 * BLOCK);
        Ok(frame)
    }

    fn remove_files(&self, ops: &[Op]) {
        for op in ops {
            if let Op::RemoveFile(file) = op
                && let Err(error) = fs::remove_file(self.shared.layout.object(*file))
            {
                // The next start removes it.
                tracing::debug!(%error, file, "a file of the local endpoint stays");
            }
        }
    }

    /// Joins small frames at the end of a series, so that a quiet stream has no row for each quarter of a
    /// second. A failure leaves them as they are.
    fn merge(&mut self, id: SeriesId) {
        let small: Vec<Frame> = {
            let state = self.shared.lock();
            let frames = state.series.get(&id).map(|series| series.frames.as_slice());
            let tail = frames.unwrap_or_default().iter().rev();
            let mut tail: Vec<_> = tail
                .take_while(|frame| (frame.raw as usize) < BLOCK / MERGE)
                .copied()
                .collect();
            tail.reverse();
            tail
        };
        let Some(first) = small.first().filter(|_| small.len() >= MERGE) else {
            return;
        };
        let merged = self.read_all(&small).and_then(|(raw, summary)| {
            let frame = self.frame(id, first.seq, &raw, summary)?;
            let rest = small.iter().skip(1);
            let mut ops: Vec<_> = rest.map(|frame| FrameOp::Remove(id, frame.seq)).collect();
            ops.push(FrameOp::Add(id, frame));
            self.index.commit(&[], &ops).map_err(io::Error::other)?;
            Ok(frame)
        });
        match merged {
            Ok(frame) => {
                if let Some(series) = self.shared.lock().series.get_mut(&id) {
                    let kept = series.frames.len().saturating_sub(small.len());
                    series.frames.truncate(kept);
                    series.frames.push(frame);
                }
            }
            Err(error) => tracing::debug!(%error, "small frames of the local endpoint stay apart"),
        }
    }

    fn read_all(&self, frames: &[Frame]) -> io::Result<(Vec<u8>, Summary)> {
        let mut reader = Frames::new(self.shared.layout.segments());
        let (mut raw, mut summary) = (Vec::new(), Summary::NONE);
        for frame in frames {
            let block = reader.read(frame)?;
            if records(&block).count() != frame.summary.count as usize {
                return Err(io::ErrorKind::InvalidData.into());
            }
            raw.extend_from_slice(&block);
            summary.add(&frame.summary);
        }
        Ok((raw, summary))
    }
}

fn take(state: &mut State, is_due: bool) -> Work {
    let mut work = Work {
        ops: state.queue.drain(..).collect(),
        upto: state.queued,
        last: state.stop,
        ..Work::default()
    };
    let all = is_due || state.stop;
    let ids = if all {
        state.full.clear();
        std::mem::take(&mut state.dirty)
    } else {
        std::mem::take(&mut state.full)
    };
    let mut left = HashMap::new();
    for id in ids {
        let Some(series) = state.series.get_mut(&id) else {
            continue;
        };
        if let Some(sealed) = series.seal() {
            work.sealed.push((id, sealed));
        }
        left.insert(id, series.is_full());
        if series.has_open() {
            state.dirty.insert(id);
        } else {
            state.dirty.remove(&id);
        }
    }
    state
        .full
        .extend(left.into_iter().filter(|(_, full)| *full).map(|(id, _)| id));
    if all {
        state.dirty_since = (!state.dirty.is_empty()).then(Instant::now);
    } else if state.dirty.is_empty() {
        state.dirty_since = None;
    }
    work
}

fn put_back(state: &mut State, sealed: impl Iterator<Item = (SeriesId, Sealed)>) {
    // Last first, so that they stand in their order again.
    for (id, sealed) in sealed.collect::<Vec<_>>().into_iter().rev() {
        if let Some(series) = state.series.get_mut(&id) {
            series.unseal(sealed);
            state.dirty.insert(id);
            state.dirty_since.get_or_insert_with(Instant::now);
        }
    }
}
