//! The format of the log on disk, version 1. All numbers are little-endian.
//!
//! A log is a folder of segments, `0000000000000001.seg` and so on. A segment is called `….new` until its
//! beginning is durable. It is written at its end only, never again after a restart or an error, and removed
//! when nothing in it is needed.
//!
//! ```text
//! segment  = header frame*
//! header   = "FIRELANE" version:u32 0:u32 sequence:u64 crc:u32 0:u32                             32 bytes
//! frame    = mark:u32 kind:u8 0:u8*3 meta_len:u32 data_len:u32 data_crc:u32 meta_crc:u32
//!            head_crc:u32 meta data                                                          28 + …
//! ```
//!
//! The first two are the CRC32C of `data` and `meta`. `head_crc` is that of the segment's sequence number,
//! the frame's offset and the 24 bytes before it: a frame counts only where it was written, and bytes of
//! records that look like one cost no more than a look at 28 of them.
//!
//! | Kind | Meta | Data |
//! |---|---|---|
//! | 1 block | [`BlockImage`]: identity, place in the order, a table of runs | the runs: raw records |
//! | 2 settled | records of blocks that a route is done with, or that a block is done with for good | |
//! | 3 routes | names of routes; settlements name them by number within the segment | |
//! | 4 checkpoint | every block of *older* segments that is needed, with what is settled of it | |
//! | 5 dead letter | why records were given up; then as a block | the runs |
//!
//! A segment begins with its routes and its checkpoint, which also tells how far numbers are used up. A block
//! of an older segment that the checkpoint does not name is not needed any more: it was settled, or its group
//! of writes failed and came again. So an old segment's settlements may go with it. A block that stands in
//! two segments and is named by the checkpoint between was moved; the older copy was durable before.
//!
//! A frame that is cut off, at the end of a segment, was never synced: nobody relied on it. Elsewhere a
//! `head_crc` that is wrong makes the reader look for the next `mark` that heads a valid frame.

use bytes::Bytes;
use firelane_record::{Records, Tag};

/// First bytes of every segment.
pub const MAGIC: [u8; 8] = *b"FIRELANE";
/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;
/// Bytes of a segment's header.
pub const SEGMENT_HEADER: usize = 32;
/// Bytes of a frame's header.
pub const FRAME_HEADER: usize = 28;
/// First bytes of every frame.
pub const MARK: [u8; 4] = *b"\xf1FRM";

/// In place of a tag's length: the tag of the run before.
const SAME_TAG: u32 = u32::MAX;
/// In place of a route's number: the whole block is done with, for every route.
const ALL_ROUTES: u16 = u16::MAX;
/// Routes' numbers are below.
pub(super) const ROUTES_MAX: u16 = ALL_ROUTES;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Records.
    Block,
    /// Settlements.
    Settled,
    /// Names of routes.
    Routes,
    /// What is needed of older segments.
    Checkpoint,
    /// Records that were given up.
    DeadLetter,
}

impl Kind {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Block,
            2 => Self::Settled,
            3 => Self::Routes,
            4 => Self::Checkpoint,
            5 => Self::DeadLetter,
            _ => return None,
        })
    }

    fn byte(self) -> u8 {
        match self {
            Self::Block => 1,
            Self::Settled => 2,
            Self::Routes => 3,
            Self::Checkpoint => 4,
            Self::DeadLetter => 5,
        }
    }
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What it holds.
    pub kind: Kind,
    /// Bytes of the meta part.
    pub meta: u32,
    /// Bytes of the data part.
    pub data: u32,
    /// CRC32C of the data part.
    pub data_crc: u32,
    /// CRC32C of the meta part.
    pub meta_crc: u32,
}

impl Head {
    /// Bytes of the whole frame.
    pub fn frame_len(&self) -> u64 {
        FRAME_HEADER as u64 + u64::from(self.meta) + u64::from(self.data)
    }
}

/// The header of segment `sequence`.
pub fn segment_header(sequence: u64) -> [u8; SEGMENT_HEADER] {
    let mut out = [0; SEGMENT_HEADER];
    out[..8].copy_from_slice(&MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[16..24].copy_from_slice(&sequence.to_le_bytes());
    let crc = crc32c::crc32c(&out[..24]);
    out[24..28].copy_from_slice(&crc.to_le_bytes());
    out
}

/// What is wrong with a segment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Not a segment of ours, or damaged.
    #[error("it does not begin as a segment of the log does")]
    NotASegment,
    /// Another version of the format.
    #[error("it has version {0} of the format; this program reads version {VERSION}")]
    Version(u32),
}

/// Reads a segment's header: its sequence number.
pub fn read_segment_header(bytes: &[u8]) -> Result<u64, HeaderError> {
    let bytes = bytes.get(..SEGMENT_HEADER).ok_or(HeaderError::NotASegment)?;
    let mut take = Take(bytes);
    let magic = take.slice(8).is_some_and(|magic| magic == MAGIC);
    let version = take.u32().ok_or(HeaderError::NotASegment)?;
    let _ = take.u32();
    let sequence = take.u64().ok_or(HeaderError::NotASegment)?;
    let crc = take.u32().ok_or(HeaderError::NotASegment)?;
    if !magic || crc != crc32c::crc32c(&bytes[..24]) {
        return Err(HeaderError::NotASegment);
    }
    if version != VERSION {
        return Err(HeaderError::Version(version));
    }
    Ok(sequence)
}

fn head_crc((sequence, offset): (u64, u64), head: &[u8]) -> u32 {
    let mut crc = crc32c::crc32c(&sequence.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &offset.to_le_bytes());
    crc32c::crc32c_append(crc, head)
}

/// Appends a frame to `out`, which will stand at `base` of segment `sequence`. `data` in pieces.
///
/// # Panics
/// Where a part is longer than 4 GiB; blocks are cut far below that.
pub fn write_frame<'a>(
    out: &mut Vec<u8>,
    (sequence, base): (u64, u64),
    kind: Kind,
    meta: &[u8],
    data: impl Iterator<Item = &'a [u8]>,
) {
    let start = out.len();
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&[kind.byte(), 0, 0, 0]);
    let meta_len = u32::try_from(meta.len()).expect("a meta part is below 4 GiB");
    out.extend_from_slice(&meta_len.to_le_bytes());
    out.extend_from_slice(&[0; 16]);
    out.extend_from_slice(meta);
    let data_at = out.len();
    data.for_each(|piece| out.extend_from_slice(piece));
    let data_len = u32::try_from(out.len() - data_at).expect("a data part is below 4 GiB");
    let data_crc = crc32c::crc32c(&out[data_at..]);
    out[start + 12..start + 16].copy_from_slice(&data_len.to_le_bytes());
    out[start + 16..start + 20].copy_from_slice(&data_crc.to_le_bytes());
    out[start + 20..start + 24].copy_from_slice(&crc32c::crc32c(meta).to_le_bytes());
    let crc = head_crc((sequence, base + start as u64), &out[start..start + 24]);
    out[start + 24..start + 28].copy_from_slice(&crc.to_le_bytes());
}

/// Reads the header of a frame at an offset of a segment. `None`: none was written there.
pub fn read_head(place: (u64, u64), bytes: &[u8]) -> Option<Head> {
    let bytes = bytes.get(..FRAME_HEADER)?;
    let mut take = Take(bytes);
    if take.slice(4)? != MARK {
        return None;
    }
    let kind = Kind::from_byte(take.u8()?)?;
    let _ = take.slice(3)?;
    let head = Head {
        kind,
        meta: take.u32()?,
        data: take.u32()?,
        data_crc: take.u32()?,
        meta_crc: take.u32()?,
    };
    (head_crc(place, &bytes[..24]) == take.u32()?).then_some(head)
}

/// One run of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its stream: order is kept within a stream and tag. Unique within an epoch.
    pub stream: u64,
    /// When it was appended, in milliseconds since 1970.
    pub wall_ms: u64,
    /// Its tag.
    pub tag: Tag,
    /// Number of records; those of a hollow entry are not there any more.
    pub count: u32,
    /// Bytes of the records, also where only the table was read; 0 in a hollow entry.
    pub len: u32,
    /// The records; `None` in an image of which only the table was read, and for a hollow entry.
    pub records: Option<Records>,
}

impl Entry {
    /// A run with its records.
    pub fn new(stream: u64, wall_ms: u64, tag: Tag, records: Records) -> Self {
        Self {
            stream,
            wall_ms,
            tag,
            count: records.count(),
            len: records.len() as u32,
            records: Some(records),
        }
    }

    /// Takes the records out: nobody needs them any more.
    pub fn hollow(&mut self) {
        self.records = None;
        self.len = 0;
    }
}

/// A block: consecutive runs of one partition, the unit of writing. Its records are numbered from 0, over
/// all runs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BlockImage {
    /// Unique in the log.
    pub id: u64,
    /// Which start of the router wrote it.
    pub epoch: u64,
    /// Its partition in that epoch.
    pub partition: u16,
    /// Its place in the partition's order.
    pub order: u64,
    /// The one route that it is for; `None`: those that its tags lead to.
    pub only: Option<Box<str>>,
    /// The runs.
    pub entries: Vec<Entry>,
}

/// The block's part of a file is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the block's table makes no sense")]
pub struct ImageError;

impl BlockImage {
    /// Number of records.
    pub fn records(&self) -> u32 {
        self.entries.iter().map(|entry| entry.count).sum()
    }

    /// Bytes of the records, also where only the table was read.
    pub fn len(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.len)).sum()
    }

    /// Whether it has no bytes of records.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the records.
    pub fn bytes(&self) -> usize {
        self.data().map(<[u8]>::len).sum()
    }

    /// The data part, in pieces.
    pub fn data(&self) -> impl Iterator<Item = &[u8]> {
        let records = self.entries.iter().filter_map(|entry| entry.records.as_ref());
        records.map(|records| records.bytes().as_ref())
    }

    /// The meta part.
    pub fn write_meta(&self, out: &mut Vec<u8>) {
        for number in [self.id, self.epoch, self.order] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.partition.to_le_bytes());
        write_text(out, self.only.as_deref().unwrap_or(""));
        out.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        let mut last: Option<&Tag> = None;
        for entry in &self.entries {
            out.extend_from_slice(&entry.stream.to_le_bytes());
            out.extend_from_slice(&entry.wall_ms.to_le_bytes());
            out.extend_from_slice(&entry.count.to_le_bytes());
            let len = entry.records.as_ref().map_or(0, Records::len);
            out.extend_from_slice(&(len as u32).to_le_bytes());
            if last == Some(&entry.tag) {
                out.extend_from_slice(&SAME_TAG.to_le_bytes());
            } else {
                out.extend_from_slice(&(entry.tag.as_bytes().len() as u32).to_le_bytes());
                out.extend_from_slice(entry.tag.as_bytes());
            }
            last = Some(&entry.tag);
        }
    }

    /// Reads a meta part, and the records where `data` is given.
    pub fn read(meta: &[u8], data: Option<&Bytes>) -> Result<Self, ImageError> {
        Self::take(&mut Take(meta), data).ok_or(ImageError)
    }

    fn take(take: &mut Take<'_>, data: Option<&Bytes>) -> Option<Self> {
        let (id, epoch, order) = (take.u64()?, take.u64()?, take.u64()?);
        let partition = take.u16()?;
        let only = take.text()?;
        let count = take.u32()?;
        let mut image = Self {
            id,
            epoch,
            partition,
            order,
            only: (!only.is_empty()).then(|| only.into()),
            // An entry takes at least 28 bytes: no more room than the text can fill.
            entries: Vec::with_capacity((count as usize).min(take.0.len() / 28 + 1)),
        };
        let (mut at, mut total) = (0usize, 0u32);
        for _ in 0..count {
            let (stream, wall_ms) = (take.u64()?, take.u64()?);
            let (count, len, tag_len) = (take.u32()?, take.u32()? as usize, take.u32()?);
            let tag = if tag_len == SAME_TAG {
                image.entries.last()?.tag.clone()
            } else {
                Tag::new(take.slice(tag_len as usize)?).ok()?
            };
            total = total.checked_add(count)?;
            let end = at.checked_add(len)?;
            let records = match data.filter(|_| len > 0) {
                None => None,
                Some(data) => {
                    (end <= data.len()).then_some(())?;
                    let records = Records::parse(data.slice(at..end)).ok()?;
                    Some(records).filter(|records| records.count() == count)?.into()
                }
            };
            at = end;
            image.entries.push(Entry {
                stream,
                wall_ms,
                tag,
                count,
                len: len as u32,
                records,
            });
        }
        let whole = data.is_none_or(|data| data.len() == at) && take.0.is_empty();
        whole.then_some(image)
    }
}

/// Records of one block, by number in the block, that one route is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettledRange {
    /// The block.
    pub block: u64,
    /// The route, by its number in the segment; `None`: the block is done with for every route, and the
    /// range means nothing.
    pub route: Option<u16>,
    /// First record.
    pub from: u32,
    /// Behind the last record.
    pub to: u32,
}

/// Writes the meta part of settlements.
pub fn write_settled(out: &mut Vec<u8>, settled: &[SettledRange]) {
    out.extend_from_slice(&(settled.len() as u32).to_le_bytes());
    for range in settled {
        out.extend_from_slice(&range.block.to_le_bytes());
        out.extend_from_slice(&range.route.unwrap_or(ALL_ROUTES).to_le_bytes());
        out.extend_from_slice(&range.from.to_le_bytes());
        out.extend_from_slice(&range.to.to_le_bytes());
    }
}

/// Reads the meta part of settlements.
pub fn read_settled(meta: &[u8]) -> Option<Vec<SettledRange>> {
    let mut take = Take(meta);
    let count = take.u32()? as usize;
    (take.0.len() == count.checked_mul(18)?).then_some(())?;
    let range = |_| {
        let (block, route) = (take.u64()?, take.u16()?);
        Some(SettledRange {
            block,
            route: (route != ALL_ROUTES).then_some(route),
            from: take.u32()?,
            to: take.u32()?,
        })
    };
    (0..count).map(range).collect()
}

/// A part of a checkpoint. Parts follow each other in one segment; the last one says so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// No part follows.
    pub last: bool,
    /// Which start of the router wrote it.
    pub epoch: u64,
    /// Above every block's identity so far.
    pub next_id: u64,
    /// Blocks that are needed.
    pub needed: Vec<u64>,
    /// What is settled of them.
    pub settled: Vec<SettledRange>,
}

impl Checkpoint {
    /// The meta part.
    pub fn write_meta(&self, out: &mut Vec<u8>) {
        out.push(self.last.into());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.next_id.to_le_bytes());
        out.extend_from_slice(&(self.needed.len() as u32).to_le_bytes());
        for id in &self.needed {
            out.extend_from_slice(&id.to_le_bytes());
        }
        write_settled(out, &self.settled);
    }

    /// Reads a meta part.
    pub fn read(meta: &[u8]) -> Option<Self> {
        let mut take = Take(meta);
        let last = take.u8()? != 0;
        let (epoch, next_id) = (take.u64()?, take.u64()?);
        let count = take.u32()? as usize;
        let mut ids = Take(take.slice(count.checked_mul(8)?)?);
        let needed = (0..count).map(|_| ids.u64()).collect::<Option<_>>()?;
        let settled = read_settled(take.0)?;
        Some(Self {
            last,
            epoch,
            next_id,
            needed,
            settled,
        })
    }
}

/// Writes the meta part of routes: the names, numbered from `first`.
pub fn write_routes(out: &mut Vec<u8>, first: u16, names: &[impl AsRef<str>]) {
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&(names.len() as u16).to_le_bytes());
    names.iter().for_each(|name| write_text(out, name.as_ref()));
}

/// Reads the meta part of routes: the number of the first, and the names.
pub fn read_routes(meta: &[u8]) -> Option<(u16, Vec<Box<str>>)> {
    let mut take = Take(meta);
    let (first, count) = (take.u16()?, take.u16()?);
    let names = (0..count)
        .map(|_| take.text().map(Into::into))
        .collect::<Option<_>>()?;
    take.0.is_empty().then_some((first, names))
}

/// Why records were given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epitaph {
    /// The route that gave them up.
    pub route: Box<str>,
    /// The reason's label in the ledgers, such as `refused`.
    pub reason: Box<str>,
    /// What the destination or the system said.
    pub cause: Box<str>,
    /// Failed deliveries.
    pub attempts: u32,
    /// When, in milliseconds since 1970.
    pub wall_ms: u64,
}

/// Longest text that is kept of a cause, in bytes.
const CAUSE_MAX: usize = 4096;

impl Epitaph {
    /// The meta part of a dead letter, in front of the block's.
    pub fn write_meta(&self, out: &mut Vec<u8>) {
        write_text(out, &self.route);
        write_text(out, &self.reason);
        let mut end = self.cause.len().min(CAUSE_MAX);
        while !self.cause.is_char_boundary(end) {
            end -= 1;
        }
        write_text(out, &self.cause[..end]);
        out.extend_from_slice(&self.attempts.to_le_bytes());
        out.extend_from_slice(&self.wall_ms.to_le_bytes());
    }

    /// Reads a dead letter's meta part: the reason and the block's part.
    pub fn read(meta: &[u8]) -> Option<(Self, &[u8])> {
        let mut take = Take(meta);
        let epitaph = Self {
            route: take.text()?.into(),
            reason: take.text()?.into(),
            cause: take.text()?.into(),
            attempts: take.u32()?,
            wall_ms: take.u64()?,
        };
        Some((epitaph, take.0))
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.extend_from_slice(&(end as u16).to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..end]);
}

/// Takes numbers off the front of a slice.
struct Take<'a>(&'a [u8]);

impl<'a> Take<'a> {
    fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(front)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.slice(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = self.u16()?;
        std::str::from_utf8(self.slice(len.into())?).ok()
    }
}
