//! `firelane buffer fsck`: every checksum.

use std::path::Path;

use firelane_buffer::store::inspect::Inspection;
use firelane_buffer::store::inspect::check::{self, Checked, Fault, Then, What};

use super::Trouble;
use super::place::{Folder, Place};
use super::text::{bytes, number};
use crate::exit::Exit;
use crate::say::Stream;

/// What was found in all folders.
#[derive(Default)]
struct Sum {
    files: u64,
    frames: u64,
    bytes: u64,
    damaged: u64,
    cut_off: u64,
    records: u64,
    /// In some part the number of records cannot be told.
    more: bool,
}

/// Checks everything.
pub(super) fn run(path: &Path) -> Result<Exit, Trouble> {
    let place = Place::find(path)?;
    let (mut sum, mut stream) = (Sum::default(), Stream::new());
    let mut tell = |folder: &Folder, fault: &Fault| {
        // Where nobody reads, the exit code still tells.
        let _ = stream.push(told(&folder.file(&fault.file), fault).as_bytes());
    };
    for (folder, is_log) in place
        .log
        .iter()
        .map(|folder| (folder, true))
        .chain(place.dead.iter().map(|folder| (folder, false)))
    {
        let (look, each) = (folder.look(), &mut sum);
        let visit = |fault: Fault| {
            each.note(&fault);
            tell(folder, &fault);
        };
        let checked = match is_log {
            true => Inspection::open(look).and_then(|log| check::log(&log, visit)),
            false => check::letters(look, visit),
        };
        sum.add(checked.map_err(place.unreadable())?);
    }
    let _ = stream.push(sum.told().as_bytes());
    let exit = if sum.damaged > 0 { Exit::LeftOver } else { Exit::Ok };
    Ok(stream.end().max(exit))
}

impl Sum {
    fn add(&mut self, checked: Checked) {
        self.files += checked.files;
        self.frames += checked.frames;
        self.bytes += checked.bytes;
    }

    fn note(&mut self, fault: &Fault) {
        if !fault.what.is_damage() {
            self.cut_off += 1;
            return;
        }
        self.damaged += 1;
        self.records += fault.records.unwrap_or(0);
        self.more |= fault.records.is_none();
    }

    fn told(&self) -> String {
        let files = number(self.files, "file", "files");
        let frames = number(self.frames, "frame is", "frames are");
        let mut out = format!("{files}, {}: {frames} whole", bytes(self.bytes));
        match (self.damaged, self.more) {
            (0, _) => out.push_str(", nothing is damaged"),
            (damaged, more) => {
                let parts = number(damaged, "part is", "parts are");
                let least = if more { "at least " } else { "" };
                let records = number(self.records, "record", "records");
                out.push_str(&format!(", {parts} damaged, with {least}{records}"));
            }
        }
        if self.cut_off > 0 {
            let cut = number(self.cut_off, "write", "writes");
            out.push_str(&format!(
                "; {cut} cut off at the end of a file, which loses nothing"
            ));
        }
        out.push('\n');
        out
    }
}

fn told(file: &str, fault: &Fault) -> String {
    let what = match &fault.what {
        What::CutOff => "the end of a write is missing".to_string(),
        What::Header(why) => format!("the file's header is damaged: {why}"),
        What::Head => "a frame's header or table is damaged".to_string(),
        What::Records => "records are damaged".to_string(),
        _ => "a frame whose checksums are right makes no sense".to_string(),
    };
    let records = match (&fault.what, fault.records) {
        (What::CutOff, _) => String::new(),
        (_, None) => ", records: unknown".to_string(),
        (_, Some(records)) => format!(", {}", number(records, "record", "records")),
    };
    let then = match &fault.then {
        Then::NotNeeded => "a start does nothing: no output needs it any more".to_string(),
        Then::PassedOver => {
            "a start passes over it: nobody was told that what stood there is safe, unless it was damaged later"
                .to_string()
        }
        Then::SetAside(Some(bad)) => {
            format!("a start loses it, keeps the bytes in {bad}, and may deliver other records again")
        }
        Then::SetAside(None) => "a start loses it, and may deliver other records again".to_string(),
        Then::Dropped => "a start keeps it; the outputs that need it count its records as dropped".to_string(),
        Then::Again => "a start may deliver records again".to_string(),
        Then::WholeFile(Some(bad)) => format!("a start renames the file to {bad} and delivers nothing of it"),
        Then::WholeFile(None) => "a start leaves the file and delivers nothing of it".to_string(),
        _ => "`cat`, `export` and `replay` pass over it".to_string(),
    };
    let Fault { offset, len, .. } = fault;
    let len = number(*len, "byte", "bytes");
    format!("{file}: offset {offset}, {len}: {what}{records}\n    {then}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_what_a_start_does() {
        let faults = [
            (What::CutOff, None, Then::PassedOver),
            (What::Head, None, Then::SetAside(Some("1.bad".into()))),
            (What::Head, Some(7), Then::SetAside(None)),
            (What::Records, Some(1), Then::Dropped),
            (What::Records, Some(100), Then::NotNeeded),
            (What::Nonsense, None, Then::Again),
            (What::Header("no".into()), None, Then::WholeFile(None)),
            (
                What::Header("no".into()),
                None,
                Then::WholeFile(Some("1.bad".into())),
            ),
            (What::Records, Some(3), Then::Letter),
        ];
        let mut sum = Sum::default();
        let mut text = sum.told();
        for (what, records, then) in faults {
            let fault = Fault {
                file: "1.seg".into(),
                offset: 32,
                len: 300,
                what,
                records,
                then,
            };
            sum.note(&fault);
            text.push_str(&told("log/1.seg", &fault));
        }
        sum.add(Checked {
            files: 2,
            frames: 10,
            bytes: 5000,
        });
        text.push_str(&sum.told());
        insta::assert_snapshot!(text);
    }
}
