//! `simple_aggregation`: texts behind each other, as many as an entry takes.

use firelane_core::ChunkView;
use firelane_record::set::RecordSet;

use super::pack::{Covered, Pack};
use super::press::Press;
use super::{StreamRecords, Tools, records};

/// The texts of the entry that is open.
#[derive(Default)]
struct Joined {
    text: Vec<u8>,
    records: Option<RecordSet>,
}

impl StreamRecords {
    /// Entries of many records each.
    pub(super) fn joined(&self, chunk: ChunkView<'_>, tools: &mut Tools, pack: &mut Pack<'_>) {
        tools.draw.random();
        let room = self.target.entry_max() - tools.draw.key().len();
        let blank = usize::from(self.blank_line);
        // What would not shrink at all must fit too.
        let join_max = tools.press.as_mut().map_or(room, |press| fitting(press, room)) - blank;
        let mut open = Joined::default();
        for (index, event) in records(chunk) {
            if !self.texts.write(&event, &mut tools.scratch) {
                continue;
            }
            let len = tools.scratch.text.len();
            if open.text.len() + len > join_max {
                self.close_lines(&mut open, tools, pack);
            }
            if len > join_max {
                self.alone(index, tools, room, pack);
                continue;
            }
            open.text.extend_from_slice(&tools.scratch.text);
            open.records.get_or_insert_with(RecordSet::none).insert(index);
        }
        self.close_lines(&mut open, tools, pack);
    }

    /// A record that fills an entry: compressed it may fit, or it is cut.
    fn alone(&self, index: u32, tools: &mut Tools, room: usize, pack: &mut Pack<'_>) {
        tools.draw.random();
        let data = self
            .texts
            .fit(&mut tools.scratch.text, room, tools.press.as_mut());
        if let Some(data) = data {
            pack.add(
                data,
                tools.draw.key(),
                Covered::Many(RecordSet::range(index, index + 1)),
            );
        }
    }

    fn close_lines(&self, open: &mut Joined, tools: &mut Tools, pack: &mut Pack<'_>) {
        let Some(records) = open.records.take() else {
            return;
        };
        if self.blank_line {
            open.text.push(b'\n');
        }
        tools.draw.random();
        let data = match &mut tools.press {
            None => &open.text[..],
            Some(press) => {
                press.squeeze(&open.text);
                press.squeezed()
            }
        };
        pack.add(data, tools.draw.key(), Covered::Many(records));
        open.text.clear();
    }
}

/// The longest text that is at most `room` bytes when it is compressed, whatever it holds.
fn fitting(press: &mut Press, room: usize) -> usize {
    let (mut low, mut high) = (0, room);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if press.bound(middle) <= room {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}
