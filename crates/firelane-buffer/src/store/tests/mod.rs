//! Tests of the parts; `tests/crash` tests the whole.

mod damage;
mod dead;
mod form;
mod log;

use firelane_record::{Records, RecordsBuf, Tag, Timestamp, msgpack};

use super::format::{BlockImage, Entry};
use super::memory::MemoryDisk;
use super::recover::Recovery;
use super::{Store, StoreOptions};

/// A run of so many records, each with a text.
fn run(count: u32, text: &str) -> Records {
    let mut buf = RecordsBuf::default();
    for number in 0..count {
        let mut body = vec![0x82, 0xa1, b'n'];
        msgpack::write_uint(&mut body, number.into());
        body.extend_from_slice(&[0xa1, b't']);
        msgpack::write_str(&mut body, text.as_bytes());
        buf.push(
            Timestamp {
                secs: 7,
                nanos: number,
            },
            None,
            &body,
        );
    }
    buf.take()
}

fn entry(tag: &str, records: Records) -> Entry {
    Entry::new(3, 1_700_000_000_000, Tag::new(tag).unwrap(), records)
}

/// A block of two runs with five records.
fn block(id: u64) -> BlockImage {
    BlockImage {
        id,
        epoch: 1,
        partition: 2,
        order: id * 10,
        only: None,
        entries: vec![entry("app", run(2, "first")), entry("app", run(3, "second"))],
    }
}

fn open(disk: &MemoryDisk, segment_bytes: u64) -> (Store<MemoryDisk>, Recovery) {
    let options = StoreOptions {
        segment_bytes,
        delete_damaged: false,
    };
    Store::open(disk.clone(), options).unwrap()
}

fn ids(recovery: &Recovery) -> Vec<u64> {
    recovery.blocks.iter().map(|block| block.id).collect()
}
