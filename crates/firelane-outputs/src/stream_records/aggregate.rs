//! `aggregation`: many records in one, as the Kinesis Producer Library writes them and the consumer libraries
//! take them apart.
//!
//! Limits: [`AGGREGATE_MAX`] for an aggregate of several; a record that is alone goes out plain, which
//! consumers take as well. All records of an aggregate have one partition key, that of the aggregate: a
//! consumer throws away what by its own key belongs to another shard. So with `partition_key` there is an
//! aggregate for each key; without it an aggregate has a random one. No explicit hash keys: none are needed
//! where the keys agree.
//! Source: the file `aggregation-format.md` of awslabs/amazon-kinesis-producer.
//!
//! ```text
//! F3 89 9A C2 | AggregatedRecord | MD5 of AggregatedRecord
//! AggregatedRecord: 1: partition key, repeated   3: Record, repeated
//! Record:           1: index of the partition key   3: data
//! ```

use std::collections::HashMap;
use std::ops::Range;

use firelane_core::ChunkView;
use firelane_record::set::RecordSet;
use md5::{Digest, Md5};

use super::pack::{Covered, Pack};
use super::{StreamRecords, Tools, records};

/// Most bytes of an aggregate, with its partition key. As in the Kinesis Producer Library: two of the units
/// that AWS charges for.
const AGGREGATE_MAX: usize = 51_200;
const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const MD5_LEN: usize = 16;
/// Tags of the fields: number and type (2: bytes, 0: number).
const PARTITION_KEY: u8 = 1 << 3 | 2;
const RECORD: u8 = 3 << 3 | 2;
const KEY_INDEX: u8 = 1 << 3;
const DATA: u8 = 3 << 3 | 2;

/// An aggregate that may grow.
struct Open {
    key: Vec<u8>,
    bytes: Vec<u8>,
    /// Where the data of the first record is.
    first: Range<usize>,
    records: RecordSet,
    count: u32,
}

impl Open {
    fn new(key: &[u8]) -> Self {
        let mut bytes = MAGIC.to_vec();
        bytes.push(PARTITION_KEY);
        varint(key.len(), &mut bytes);
        bytes.extend_from_slice(key);
        Self {
            key: key.to_vec(),
            bytes,
            first: 0..0,
            records: RecordSet::none(),
            count: 0,
        }
    }

    /// Whether a record of `len` bytes fits in too.
    fn takes(&self, len: usize) -> bool {
        let inner = 3 + varint_len(len) + len;
        let end = self.bytes.len() + 1 + varint_len(inner) + inner + MD5_LEN;
        end + self.key.len() <= AGGREGATE_MAX
    }

    fn push(&mut self, data: &[u8], index: u32) {
        self.bytes.push(RECORD);
        varint(3 + varint_len(data.len()) + data.len(), &mut self.bytes);
        self.bytes.extend_from_slice(&[KEY_INDEX, 0, DATA]);
        varint(data.len(), &mut self.bytes);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(data);
        if self.count == 0 {
            self.first = start..self.bytes.len();
        }
        self.records.insert(index);
        self.count += 1;
    }

    fn close(mut self, pack: &mut Pack<'_>) {
        if self.count > 1 {
            let sum = Md5::digest(&self.bytes[MAGIC.len()..]);
            self.bytes.extend_from_slice(&sum);
            pack.add(&self.bytes, &self.key, Covered::Many(self.records));
        } else if self.count == 1 {
            pack.add(&self.bytes[self.first], &self.key, Covered::Many(self.records));
        }
    }
}

/// The open aggregates, the one that was begun first in front. A key that is empty stands for a random one.
#[derive(Default)]
struct Aggregates {
    open: Vec<Option<Open>>,
    by_key: HashMap<Vec<u8>, usize>,
}

impl Aggregates {
    fn take(&mut self, wanted: &[u8]) -> Option<Open> {
        let at = self.by_key.remove(wanted)?;
        self.open.get_mut(at)?.take()
    }

    fn put(&mut self, wanted: &[u8], open: Open) {
        self.by_key.insert(wanted.to_vec(), self.open.len());
        self.open.push(Some(open));
    }

    fn get(&mut self, wanted: &[u8]) -> Option<&mut Open> {
        let at = *self.by_key.get(wanted)?;
        self.open.get_mut(at)?.as_mut()
    }
}

impl StreamRecords {
    /// Entries of many records each, in the format of the Kinesis Producer Library.
    pub(super) fn aggregated(&self, chunk: ChunkView<'_>, tools: &mut Tools, pack: &mut Pack<'_>) {
        let Tools { scratch, draw, press } = tools;
        let mut aggregates = Aggregates::default();
        let mut wanted = Vec::new();
        for (index, event) in records(chunk) {
            if !self.texts.write(&event, scratch) {
                continue;
            }
            wanted.clear();
            if draw.own(&event) {
                wanted.extend_from_slice(draw.key());
            } else {
                draw.random();
            }
            let room = self.target.entry_max() - draw.key().len();
            let Some(data) = self.texts.fit(&mut scratch.text, room, press.as_mut()) else {
                continue;
            };
            if let Some(open) = aggregates.get(&wanted).filter(|open| open.takes(data.len())) {
                open.push(data, index);
                continue;
            }
            if let Some(full) = aggregates.take(&wanted) {
                full.close(pack);
            }
            let mut fresh = Open::new(draw.key());
            fresh.push(data, index);
            aggregates.put(&wanted, fresh);
        }
        for open in aggregates.open.into_iter().flatten() {
            open.close(pack);
        }
    }
}

/// Appends a number of Protocol Buffers: seven bits a byte, the lowest first.
fn varint(mut n: usize, out: &mut Vec<u8>) {
    while n > 0x7f {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn varint_len(n: usize) -> usize {
    (usize::BITS - (n | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_length() {
        for (n, want) in [
            (0, &[0][..]),
            (127, &[127]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (16_384, &[0x80, 0x80, 1]),
        ] {
            let mut out = Vec::new();
            varint(n, &mut out);
            assert_eq!(out, want);
            assert_eq!(varint_len(n), want.len(), "{n}");
        }
        assert_eq!(varint_len(usize::MAX), 10);
    }
}
