//! Puts dead letters back into the log, for the route that gave them up. Nobody else may write to either
//! folder meanwhile.
//!
//! A letter is in the log, synced, before it leaves its file. A crash between repeats it and loses nothing.

use std::io;

use super::{Letter, Read, for_each_file, read_letter};
use crate::disk::{Disk, DiskFile};
use crate::store::format::{FRAME_HEADER, Kind, SEGMENT_HEADER, segment_header, write_frame};
use crate::store::recover::{Note, keep};
use crate::store::scan::{Piece, ScanError, data_of, scan};
use crate::store::{Group, Store, StoreOptions};

/// The end of the name of a file that is to take another's place.
const TEMPORARY: &str = ".tmp";

/// The log that dead letters go back to.
pub struct Replay<D: Disk> {
    store: Store<D>,
    epoch: u64,
    next_id: u64,
    /// Records so far: the next block's place in the order.
    order: u64,
}

/// What became of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Returned {
    /// Letters and records that are in the log now.
    pub letters: u64,
    /// Records that are in the log now.
    pub records: u64,
    /// Letters that stay where they are.
    pub left: u64,
    /// Parts that are damaged; they stay, in files of their own where the file has changed.
    pub damaged: u64,
}

impl<D: Disk> Replay<D> {
    /// Opens the log as a start does. Also gives what a start would tell.
    pub fn open(log: D) -> io::Result<(Self, Vec<Note>)> {
        let (store, recovery) = Store::open(log, StoreOptions::default())?;
        let replay = Self {
            store,
            epoch: recovery.epoch,
            next_id: recovery.next_id,
            order: 0,
        };
        Ok((replay, recovery.notes))
    }

    /// Moves the letters of a folder that `take` wants, file by file; one without the key of a route stays.
    /// `now_ms`: milliseconds since 1970. The waits and ages of retries begin anew.
    pub fn folder(
        &mut self,
        dead: &D,
        now_ms: u64,
        take: impl Fn(&Letter) -> bool,
        mut done: impl FnMut(Returned),
    ) -> io::Result<()> {
        for name in dead.list()?.iter().filter(|name| name.ends_with(TEMPORARY)) {
            // Of a replay that was killed.
            dead.remove(name)?;
        }
        for_each_file(dead, |sequence, name, file| {
            done(self.file(dead, (sequence, &name), file, now_ms, &take)?);
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
        Ok(())
    }

    fn file(
        &mut self,
        dead: &D,
        (sequence, name): (u64, &str),
        file: &D::File,
        now_ms: u64,
        take: &impl Fn(&Letter) -> bool,
    ) -> io::Result<Returned> {
        let mut returned = Returned::default();
        let (mut images, mut stay, mut bad) = (Vec::new(), Vec::new(), Vec::new());
        let (mut torn, mut failed) = (None, None);
        let scanned = scan(file, |piece| match piece {
            Piece::Damaged { offset, len } => bad.push((offset, len)),
            Piece::Torn { offset, len } => torn = Some((offset, len)),
            Piece::Frame(found) => match read_letter(file, &found, true) {
                Ok(Read::Letter(letter)) if letter.image.only.is_some() && take(&letter) => {
                    images.push(letter.image);
                }
                Ok(Read::Letter(_)) => stay.push(found.offset),
                Ok(Read::Damaged) => bad.push((found.offset, found.head.frame_len())),
                Ok(Read::Other) => {}
                Err(error) => failed = Some(error),
            },
        });
        match (scanned, failed) {
            (Err(ScanError::Io(error)), _) | (_, Some(error)) => return Err(error),
            (Err(ScanError::Header(_)), _) => {
                returned.damaged = u64::from(file.len()? >= SEGMENT_HEADER as u64);
                return Ok(returned);
            }
            (Ok(_), None) => {}
        }
        (returned.left, returned.damaged) = (stay.len() as u64, bad.len() as u64);
        if images.is_empty() {
            return Ok(returned);
        }
        for (offset, len) in bad.into_iter().chain(torn) {
            let kept = keep(dead, &StoreOptions::default(), file, sequence, offset, len);
            kept.ok_or_else(|| io::Error::other("a damaged part cannot be set aside"))?;
        }
        for image in &mut images {
            (image.id, image.epoch, image.order, image.partition) = (self.next_id, self.epoch, self.order, 0);
            image.entries.iter_mut().for_each(|entry| entry.wall_ms = now_ms);
            self.next_id += 1;
            self.order += u64::from(image.records());
            returned.letters += 1;
            returned.records += u64::from(image.records());
        }
        self.store.commit(&Group {
            blocks: &images,
            ..Group::default()
        })?;
        if !stay.is_empty() {
            rewrite(dead, (sequence, name), file, &stay)?;
        } else {
            dead.remove(name)?;
        }
        dead.sync_names()?;
        Ok(returned)
    }
}

/// Leaves the letters that begin at `stay` in a file.
fn rewrite<D: Disk>(dead: &D, (sequence, name): (u64, &str), file: &D::File, stay: &[u64]) -> io::Result<()> {
    let temporary = format!("{sequence:016x}{TEMPORARY}");
    let mut copy = dead.create(&temporary)?;
    copy.append(&segment_header(sequence))?;
    let (mut at, mut failed) = (SEGMENT_HEADER as u64, None);
    let scanned = scan(file, |piece| {
        let Piece::Frame(found) = piece else { return };
        if failed.is_some() || stay.binary_search(&found.offset).is_err() {
            return;
        }
        let copied = data_of(file, &found).and_then(|data| {
            let data = data.ok_or_else(|| io::Error::other("a dead letter has changed"))?;
            let mut out = Vec::with_capacity(FRAME_HEADER + found.meta.len() + data.len());
            let place = (sequence, at);
            let data = std::iter::once(data.as_ref());
            write_frame(&mut out, place, Kind::DeadLetter, &found.meta, data);
            at += out.len() as u64;
            copy.append(&out)
        });
        failed = copied.err();
    });
    match (scanned, failed) {
        (_, Some(error)) | (Err(ScanError::Io(error)), _) => return Err(error),
        (Err(ScanError::Header(error)), _) => return Err(io::Error::other(error)),
        (Ok(_), None) => {}
    }
    copy.sync()?;
    dead.rename(&temporary, name)
}
