//! Checks every checksum of a folder, and says what a start makes of what is wrong.

use std::io;
use std::ops::ControlFlow;

use super::{Inspection, Look, for_each_file};
use crate::disk::{Disk, DiskFile};
use crate::store::format::{
    BlockImage, Checkpoint, Epitaph, FRAME_HEADER, Kind, MARK, SEGMENT_HEADER, read_routes, read_settled,
};
use crate::store::recover::Note;
use crate::store::scan::{Found, Piece, ScanError, data_of, scan};

/// A part of a file that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// File name.
    pub file: String,
    /// Where it begins.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// What is wrong.
    pub what: What,
    /// Records in it, settled ones too; `None`: that cannot be told.
    pub records: Option<u64>,
    /// What a start does.
    pub then: Then,
}

/// What is wrong with a part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// The end of a write is missing: no damage.
    CutOff,
    /// The file's header: why.
    Header(String),
    /// A frame's header or table.
    Head,
    /// Records.
    Records,
    /// A frame is whole and makes no sense: a bug, or somebody else's.
    Nonsense,
}

impl What {
    /// Whether something is lost or changed that was whole before.
    pub fn is_damage(&self) -> bool {
        *self != Self::CutOff
    }
}

/// What a start does about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Then {
    /// Nothing: no output needs it any more.
    NotNeeded,
    /// It takes it for a write that was cut off: nobody was told that the records are safe.
    PassedOver,
    /// The part is put into this file, if it is not to be deleted; its records are lost, and some that were
    /// delivered may be delivered again.
    SetAside(Option<String>),
    /// The outputs that read it find it, and count its records as dropped.
    Dropped,
    /// Records that were delivered may be delivered again.
    Again,
    /// The whole file is left or renamed to this; nothing in it is delivered.
    WholeFile(Option<String>),
    /// It is a dead letter: it is passed over by whoever reads them.
    Letter,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Files.
    pub files: u64,
    /// Frames that are whole.
    pub frames: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

/// Checks the log, calling `visit` for all that is wrong.
pub fn log<D: Disk>(inspection: &Inspection<'_, D>, visit: impl FnMut(Fault)) -> io::Result<Checked> {
    folder(inspection.look(), Some(inspection), visit)
}

/// Checks a folder of dead letters.
pub fn letters<D: Disk>(look: Look<'_, D>, visit: impl FnMut(Fault)) -> io::Result<Checked> {
    folder(look, None, visit)
}

fn folder<D: Disk>(
    look: Look<'_, D>,
    inspection: Option<&Inspection<'_, D>>,
    mut visit: impl FnMut(Fault),
) -> io::Result<Checked> {
    let mut checked = Checked::default();
    for_each_file(&look, |sequence, name, file| {
        let context = Context {
            inspection,
            sequence,
            name: &name,
            file,
        };
        checked.files += 1;
        checked.bytes += file.len()?;
        let mut failed = None;
        let scanned = scan(file, |piece| {
            if failed.is_some() {
                return;
            }
            match context.piece(&piece) {
                Ok(Some(fault)) => visit(fault),
                Ok(None) => checked.frames += 1,
                Err(error) => failed = Some(error),
            }
        });
        match (scanned, failed) {
            (Err(ScanError::Io(error)), _) | (_, Some(error)) => return Err(error),
            (Err(ScanError::Header(error)), _) => visit(context.header(error.to_string())?),
            (Ok(told), None) if told != sequence => {
                visit(context.header("it has another segment's number".into())?);
            }
            (Ok(_), None) => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(checked)
}

/// A file that is checked.
struct Context<'a, 'b, D: Disk, F> {
    /// `None`: it holds dead letters.
    inspection: Option<&'a Inspection<'b, D>>,
    sequence: u64,
    name: &'a str,
    file: &'a F,
}

impl<D: Disk, F: DiskFile> Context<'_, '_, D, F> {
    fn piece(&self, piece: &Piece) -> io::Result<Option<Fault>> {
        match piece {
            Piece::Frame(found) => self.frame(found),
            Piece::Damaged { offset, len } => {
                let records = self.guess(*offset, *len)?;
                let then = self.told(*offset).unwrap_or_else(|| self.otherwise());
                Ok(Some(self.fault(*offset, *len, What::Head, records, then)))
            }
            Piece::Torn { offset, len } => {
                let what = match self.is_cut_off(*offset, *len)? {
                    true => What::CutOff,
                    false => What::Head,
                };
                let records = self.guess(*offset, *len)?;
                let then = match self.inspection {
                    Some(_) => Then::PassedOver,
                    None => Then::Letter,
                };
                Ok(Some(self.fault(*offset, *len, what, records, then)))
            }
        }
    }

    fn frame(&self, found: &Found) -> io::Result<Option<Fault>> {
        let meta = &found.meta;
        let block = match found.head.kind {
            Kind::Block => Some(meta.as_slice()),
            Kind::DeadLetter => Epitaph::read(meta).map(|(_, rest)| rest),
            Kind::Settled => return Ok(self.sense(found, read_settled(meta).is_some())),
            Kind::Routes => return Ok(self.sense(found, read_routes(meta).is_some())),
            Kind::Checkpoint => return Ok(self.sense(found, Checkpoint::read(meta).is_some())),
        };
        let Some((block, table)) = block.and_then(|meta| Some((meta, BlockImage::read(meta, None).ok()?)))
        else {
            return Ok(self.sense(found, false));
        };
        let what = match data_of(self.file, found)? {
            None => What::Records,
            Some(data) if BlockImage::read(block, Some(&data)).is_err() => What::Nonsense,
            Some(_) => return Ok(None),
        };
        let then = match (found.head.kind, self.inspection) {
            (Kind::Block, Some(log)) => self.told(found.offset).unwrap_or_else(|| {
                match log.needed_at(self.sequence, found.offset, table.id) {
                    Some(_) => Then::Dropped,
                    None => Then::NotNeeded,
                }
            }),
            _ => Then::Letter,
        };
        let (len, records) = (found.head.frame_len(), u64::from(table.records()));
        Ok(Some(self.fault(found.offset, len, what, Some(records), then)))
    }

    /// A frame without records is whole: what if it makes no sense?
    fn sense(&self, found: &Found, sense: bool) -> Option<Fault> {
        let (offset, len) = (found.offset, found.head.frame_len());
        (!sense).then(|| self.fault(offset, len, What::Nonsense, None, self.otherwise()))
    }

    fn otherwise(&self) -> Then {
        match self.inspection {
            Some(_) => Then::Again,
            None => Then::Letter,
        }
    }

    /// What a start tells of this place.
    fn told(&self, at: u64) -> Option<Then> {
        let notes = self.inspection?.notes().iter();
        notes
            .filter_map(|note| match note {
                Note::Torn { file, offset, .. } if file == self.name && *offset == at => {
                    Some(Then::PassedOver)
                }
                Note::Damaged {
                    file, offset, kept, ..
                } if file == self.name && *offset == at => Some(Then::SetAside(kept.clone())),
                _ => None,
            })
            .next()
    }

    fn header(&self, why: String) -> io::Result<Fault> {
        let len = self.file.len()?;
        // A start that died while it made the file.
        if len < SEGMENT_HEADER as u64 {
            return Ok(self.fault(0, len, What::CutOff, None, Then::PassedOver));
        }
        let told = self.inspection.and_then(|log| {
            log.notes().iter().find_map(|note| match note {
                Note::Unreadable { file, kept, .. } if file == self.name => Some(kept.clone()),
                _ => None,
            })
        });
        let then = match (told, self.told(0)) {
            (Some(kept), _) => Then::WholeFile(kept),
            (None, Some(then)) => then,
            (None, None) if self.inspection.is_some() => Then::WholeFile(None),
            (None, None) => Then::Letter,
        };
        Ok(self.fault(0, len, What::Header(why), None, then))
    }

    fn fault(&self, offset: u64, len: u64, what: What, records: Option<u64>, then: Then) -> Fault {
        Fault {
            file: self.name.to_string(),
            offset,
            len,
            what,
            records,
            then,
        }
    }

    /// The lengths that a frame at `at` claims to have, if its first bytes can be read: of meta and data.
    fn claimed(&self, at: u64) -> io::Result<Option<(u8, u64, u64)>> {
        let mut head = [0; FRAME_HEADER];
        if self.file.read_at(at, &mut head)? < head.len() || head[..4] != MARK {
            return Ok(None);
        }
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        Ok(Some((head[4], number(8).into(), number(12).into())))
    }

    /// Whether bytes at the end of a file look like a write whose end is missing.
    fn is_cut_off(&self, at: u64, len: u64) -> io::Result<bool> {
        if len < FRAME_HEADER as u64 {
            return Ok(true);
        }
        if let Some((_, meta, data)) = self.claimed(at)? {
            return Ok(FRAME_HEADER as u64 + meta + data > len);
        }
        // A system that died may have made the file longer and not filled it.
        let mut buf = vec![0; 64 * 1024];
        let mut done = 0;
        while done < len {
            let read = self.file.read_at(at + done, &mut buf)?;
            if read == 0 {
                break;
            }
            if buf[..read].iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            done += read as u64;
        }
        Ok(true)
    }

    /// Records in frames whose checksum is wrong and whose table can be read all the same. `None`: not so.
    fn guess(&self, from: u64, len: u64) -> io::Result<Option<u64>> {
        let (mut at, mut records) = (from, 0);
        while at < from + len {
            let Some((kind, meta_len, data)) = self.claimed(at)? else {
                return Ok(None);
            };
            let next = at + FRAME_HEADER as u64 + meta_len + data;
            if next > from + len {
                return Ok(None);
            }
            let mut meta = vec![0; meta_len as usize];
            if self.file.read_at(at + FRAME_HEADER as u64, &mut meta)? < meta.len() {
                return Ok(None);
            }
            let table = match kind {
                1 => Some(meta.as_slice()),
                5 => Epitaph::read(&meta).map(|(_, rest)| rest),
                _ => None,
            };
            if matches!(kind, 1 | 5) {
                let Some(table) = table.and_then(|meta| BlockImage::read(meta, None).ok()) else {
                    return Ok(None);
                };
                records += u64::from(table.records());
            }
            at = next;
        }
        Ok(Some(records))
    }
}
