//! The journal of unfinished uploads, as bytes: what must be known to finish them after a kill.
//!
//! ```text
//! file:   magic "FLS3UP1\n", then entries, appended
//! entry:  length u32 | crc32c of the payload u32 | payload         all little-endian
//! begin:  1u8 | upload u64 | begun, ms since 1970 u64 | tag | key | upload id
//! part:   2u8 | upload u64 | number u32 | bytes stored u64 | records u64 | bytes in the log u64 | etag
//! end:    3u8 | upload u64
//! texts:  length u32 | bytes
//! ```
//!
//! A write that was cut off leaves an entry that is no whole one: it and what follows it counts for nothing,
//! and nobody was told that it had arrived. `end` and `begin` need no sync: an upload that has ended is asked
//! for once more and found gone or complete, one that was never written down is left to the bucket's rules.

use std::collections::BTreeMap;

/// What a file begins with.
pub(super) const MAGIC: &[u8; 8] = b"FLS3UP1\n";
/// Largest payload: a tag of 64 KiB, a key, an id.
const PAYLOAD_MAX: usize = 128 << 10;
/// Most bytes or records of a part that are believed. A part of S3 has 5 GiB at most; of a whole journal no
/// sum overflows.
const AMOUNT_MAX: u64 = 1 << 40;
/// Length and checksum.
const HEAD: usize = 8;

/// An upload that is not finished.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Upload {
    /// When its first record came, in milliseconds since 1970.
    pub(super) begun: u64,
    /// Of its records.
    pub(super) tag: Box<[u8]>,
    pub(super) key: String,
    /// As S3 calls it.
    pub(super) id: String,
    /// The parts that S3 has, in order.
    pub(super) parts: Vec<Part>,
}

/// A part that S3 has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// From 1.
    pub(super) number: u32,
    /// Bytes of it.
    pub(super) stored: u64,
    pub(super) records: u64,
    /// Bytes of its records in the log.
    pub(super) bytes: u64,
    pub(super) etag: String,
}

impl Upload {
    /// Records in its parts.
    pub(super) fn records(&self) -> u64 {
        self.parts.iter().map(|part| part.records).sum()
    }

    /// Bytes of these records in the log.
    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Bytes of its parts.
    pub(super) fn stored(&self) -> u64 {
        self.parts.iter().map(|part| part.stored).sum()
    }
}

/// Appends that an upload was begun.
pub(super) fn write_begin(out: &mut Vec<u8>, number: u64, upload: &Upload) {
    entry(out, |out| {
        out.push(1);
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&upload.begun.to_le_bytes());
        for text in [&upload.tag, upload.key.as_bytes(), upload.id.as_bytes()] {
            write_text(out, text);
        }
    });
}

/// Appends that S3 has a part.
pub(super) fn write_part(out: &mut Vec<u8>, number: u64, part: &Part) {
    entry(out, |out| {
        out.push(2);
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&part.number.to_le_bytes());
        for n in [part.stored, part.records, part.bytes] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        write_text(out, part.etag.as_bytes());
    });
}

/// Appends that an upload is over.
pub(super) fn write_end(out: &mut Vec<u8>, number: u64) {
    entry(out, |out| {
        out.push(3);
        out.extend_from_slice(&number.to_le_bytes());
    });
}

/// Appends an upload with its parts.
pub(super) fn write_upload(out: &mut Vec<u8>, number: u64, upload: &Upload) {
    write_begin(out, number, upload);
    upload.parts.iter().for_each(|part| write_part(out, number, part));
}

fn entry(out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    payload(out);
    let length = (out.len() - start - HEAD) as u32;
    let sum = crc32c::crc32c(&out[start + HEAD..]);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + HEAD].copy_from_slice(&sum.to_le_bytes());
}

fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text);
}

/// What a journal says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Replayed {
    /// The uploads that are not over, by their numbers.
    pub(super) uploads: BTreeMap<u64, Upload>,
    /// Bytes at the end that are no whole entry.
    pub(super) torn: usize,
}

/// Reads a journal; any bytes are one.
pub(super) fn replay(file: &[u8]) -> Replayed {
    let mut replayed = Replayed::default();
    let mut rest = match file.strip_prefix(MAGIC) {
        Some(rest) => rest,
        None => {
            replayed.torn = file.len();
            return replayed;
        }
    };
    while let Some((payload, next)) = next_entry(rest) {
        let Some(entry) = Entry::read(payload) else {
            break;
        };
        entry.apply(&mut replayed.uploads);
        rest = next;
    }
    replayed.torn = rest.len();
    replayed
}

fn next_entry(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = Reader(rest);
    let (length, sum) = (reader.u32()? as usize, reader.u32()?);
    if length > PAYLOAD_MAX {
        return None;
    }
    let payload = reader.take(length)?;
    (crc32c::crc32c(payload) == sum).then_some((payload, reader.0))
}

/// What an entry says.
enum Entry {
    Begin(u64, Upload),
    Part(u64, Part),
    End(u64),
}

impl Entry {
    /// `None` where the payload is no whole one, or more than one.
    fn read(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader(payload);
        let entry = match (reader.u8()?, reader.u64()?) {
            (1, number) => {
                let upload = Upload {
                    begun: reader.u64()?,
                    tag: reader.text()?.into(),
                    key: reader.string()?,
                    id: reader.string()?,
                    parts: Vec::new(),
                };
                Self::Begin(number, upload)
            }
            (2, number) => {
                let part = Part {
                    number: reader.u32()?,
                    stored: reader.u64()?,
                    records: reader.u64()?,
                    bytes: reader.u64()?,
                    etag: reader.string()?,
                };
                if part.stored.max(part.records).max(part.bytes) > AMOUNT_MAX {
                    return None;
                }
                Self::Part(number, part)
            }
            (3, number) => Self::End(number),
            _ => return None,
        };
        reader.0.is_empty().then_some(entry)
    }

    fn apply(self, uploads: &mut BTreeMap<u64, Upload>) {
        match self {
            Self::Begin(number, upload) => {
                uploads.insert(number, upload);
            }
            Self::Part(number, part) => {
                if let Some(upload) = uploads.get_mut(&number) {
                    upload.parts.push(part);
                }
            }
            Self::End(number) => {
                uploads.remove(&number);
            }
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    fn string(&mut self) -> Option<String> {
        String::from_utf8(self.text()?.to_vec()).ok()
    }
}

/// For the fuzz target `uploads`: a journal of any bytes is read up to where it is whole, and what was
/// read is written and read again as it was.
///
/// The first byte says what the others are: the file as it is, or (bit 0) payloads, each behind its length in
/// a byte, that get a true head.
pub(super) fn fuzz_uploads(data: &[u8]) {
    let Some((form, data)) = data.split_first() else {
        return;
    };
    let file = if form & 1 == 0 {
        data.to_vec()
    } else {
        sealed(data)
    };
    let replayed = replay(&file);
    assert!(replayed.torn <= file.len());
    let whole = &file[..file.len() - replayed.torn];
    let again = replay(whole);
    assert_eq!(
        (again.torn, &again.uploads),
        (0, &replayed.uploads),
        "the whole part"
    );
    let cut = replay(&file[..file.len() / 2]);
    assert!(cut.torn <= file.len() / 2 && file.len() / 2 - cut.torn <= whole.len());
    let mut written = MAGIC.to_vec();
    for (number, upload) in &replayed.uploads {
        write_upload(&mut written, *number, upload);
        assert!(upload.records() >= upload.parts.iter().map(|part| part.records).max().unwrap_or(0));
        assert!(upload.stored() >= upload.parts.iter().map(|part| part.stored).max().unwrap_or(0));
        assert!(upload.bytes() >= upload.parts.iter().map(|part| part.bytes).max().unwrap_or(0));
    }
    let read = replay(&written);
    assert_eq!(
        (read.torn, read.uploads),
        (0, replayed.uploads),
        "what was written"
    );
}

/// A journal of the payloads.
fn sealed(mut data: &[u8]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    while let Some((&length, rest)) = data.split_first() {
        let (payload, rest) = rest.split_at(rest.len().min(length.into()));
        entry(&mut file, |out| out.extend_from_slice(payload));
        data = rest;
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    fn upload() -> impl Strategy<Value = Upload> {
        let part = (
            "[a-z0-9\"-]{0,40}",
            0..=AMOUNT_MAX,
            0..1_000_000u64,
            0..1_000_000u64,
        );
        let texts = (vec(any::<u8>(), 0..30), "\\PC{0,20}", "[A-Za-z0-9._-]{1,60}");
        (any::<u64>(), texts, vec(part, 0..5)).prop_map(|(begun, (tag, key, id), parts)| Upload {
            begun,
            tag: tag.into(),
            key,
            id,
            parts: (1..)
                .zip(parts)
                .map(|(number, (etag, stored, records, bytes))| Part {
                    number,
                    stored,
                    records,
                    bytes,
                    etag,
                })
                .collect(),
        })
    }

    /// The journal of uploads, the end of some of them, and where each entry ends.
    fn journal(uploads: &[(Upload, bool)]) -> (Vec<u8>, Vec<usize>) {
        let mut out = MAGIC.to_vec();
        let mut ends = vec![out.len()];
        for (number, (upload, ended)) in (0..).zip(uploads) {
            write_begin(&mut out, number, upload);
            ends.push(out.len());
            for part in &upload.parts {
                write_part(&mut out, number, part);
                ends.push(out.len());
            }
            if *ended {
                write_end(&mut out, number);
                ends.push(out.len());
            }
        }
        (out, ends)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(uploads in vec((upload(), any::<bool>()), 0..6)) {
            let (bytes, _) = journal(&uploads);
            let replayed = replay(&bytes);
            prop_assert_eq!(replayed.torn, 0);
            let live = (0..).zip(&uploads).filter(|(_, (_, ended))| !ended);
            let want: BTreeMap<u64, Upload> = live.map(|(n, (upload, _))| (n, upload.clone())).collect();
            prop_assert_eq!(&replayed.uploads, &want);
            let mut again = MAGIC.to_vec();
            replayed.uploads.iter().for_each(|(n, upload)| write_upload(&mut again, *n, upload));
            prop_assert_eq!(replay(&again).uploads, want);
        }

        /// Guarantees: a tail that was cut off costs the entry that it was in, and nothing before it.
        #[test]
        fn a_torn_tail_costs_only_itself(
            uploads in vec((upload(), any::<bool>()), 1..5),
            at in any::<Index>(),
        ) {
            let (bytes, ends) = journal(&uploads);
            let cut = at.index(bytes.len() + 1);
            let whole = ends.iter().copied().filter(|end| *end <= cut).max().unwrap_or(0);
            let torn = replay(&bytes[..cut]);
            prop_assert_eq!(torn.torn, cut - whole);
            prop_assert_eq!(torn.uploads, replay(&bytes[..whole]).uploads);
        }

        #[test]
        fn a_flipped_bit_is_seen(
            uploads in vec((upload(), Just(false)), 1..4),
            at in any::<Index>(),
            bit in 0..8u8,
        ) {
            let (mut bytes, ends) = journal(&uploads);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let before = ends.iter().copied().filter(|end| *end <= at).max().unwrap_or(0);
            let (all, whole) = (replay(&bytes), replay(&bytes[..before]));
            prop_assert_eq!(all.uploads, whole.uploads);
            prop_assert!(all.torn > 0);
        }

        #[test]
        fn junk_never_panics(junk in vec(any::<u8>(), 0..300), magic: bool) {
            let mut bytes = if magic { MAGIC.to_vec() } else { Vec::new() };
            bytes.extend(junk);
            replay(&bytes);
        }
    }
}
