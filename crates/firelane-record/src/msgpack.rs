//! MessagePack: a skipping walk that checks, a token reader for what is checked, and a writer.
//!
//! Limits: containers nest at most [`DEPTH_MAX`] deep (as in msgpack-c, so Fluent Bit), lengths are bounded
//! by the buffer. The walk is resumable: a message that arrives in pieces is walked once, not once a piece.
//! Source: the MessagePack specification, <https://github.com/msgpack/msgpack/blob/master/spec.md>.

#[cfg(test)]
mod tests;

/// Deepest nesting of arrays and maps that is taken.
pub const DEPTH_MAX: usize = 32;

/// Why bytes are not a MessagePack value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes end inside the value; at least `need` more bytes belong to it.
    #[error("the value is cut short: at least {need} more bytes belong to it")]
    Incomplete {
        /// Lower bound of the missing bytes.
        need: u64,
    },
    /// The type byte `0xc1`, which MessagePack never uses.
    #[error("byte 0xc1 at offset {at} is not MessagePack")]
    Reserved {
        /// Offset of the byte.
        at: usize,
    },
    /// Containers nested over [`DEPTH_MAX`].
    #[error("containers are nested over {DEPTH_MAX} deep at offset {at}")]
    TooDeep {
        /// Offset of the container that is too deep.
        at: usize,
    },
}

/// One step through MessagePack: a scalar, or the head of a container whose elements follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Token<'a> {
    /// `nil`
    Nil,
    /// `true`, `false`
    Bool(bool),
    /// Any integer that fits 64 signed bits.
    Int(i64),
    /// An unsigned integer above `i64::MAX`.
    UInt(u64),
    /// 32-bit float.
    F32(f32),
    /// 64-bit float.
    F64(f64),
    /// String: bytes, not checked for UTF-8.
    Str(&'a [u8]),
    /// Binary.
    Bin(&'a [u8]),
    /// Array of so many elements.
    Array(u32),
    /// Map of so many pairs.
    Map(u32),
    /// Extension: type and bytes.
    Ext(i8, &'a [u8]),
}

/// What a head says: bytes of head, bytes of payload after it, elements after that.
struct Head {
    head: usize,
    payload: u64,
    elements: u64,
}

/// The big-endian number of 1, 2, 4 or 8 bytes at `at`.
#[inline(always)]
fn be(buf: &[u8], at: usize, width: usize) -> Option<u64> {
    let rest = buf.get(at..)?;
    Some(match width {
        1 => u64::from(*rest.first()?),
        2 => u64::from(u16::from_be_bytes(*rest.first_chunk()?)),
        4 => u64::from(u32::from_be_bytes(*rest.first_chunk()?)),
        _ => u64::from_be_bytes(*rest.first_chunk()?),
    })
}

fn head(buf: &[u8], at: usize) -> Result<Head, Fault> {
    let Some(&byte) = buf.get(at) else {
        return Err(Fault::Incomplete { need: 1 });
    };
    let plain = |head, payload, elements| {
        Ok(Head {
            head,
            payload,
            elements,
        })
    };
    let sized = |width: usize, extra: u64, per: u64, container: bool| match be(buf, at + 1, width) {
        Some(n) if container => plain(1 + width, 0, n * per),
        Some(n) => plain(1 + width, n + extra, 0),
        None => Err(Fault::Incomplete {
            need: (at + 1 + width - buf.len()) as u64,
        }),
    };
    match byte {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => plain(1, 0, 0),
        0x80..=0x8f => plain(1, 0, u64::from(byte & 0x0f) * 2),
        0x90..=0x9f => plain(1, 0, u64::from(byte & 0x0f)),
        0xa0..=0xbf => plain(1, u64::from(byte & 0x1f), 0),
        0xc1 => Err(Fault::Reserved { at }),
        0xc4 | 0xd9 => sized(1, 0, 0, false),
        0xc5 | 0xda => sized(2, 0, 0, false),
        0xc6 | 0xdb => sized(4, 0, 0, false),
        0xc7 => sized(1, 1, 0, false),
        0xc8 => sized(2, 1, 0, false),
        0xc9 => sized(4, 1, 0, false),
        0xcc | 0xd0 => plain(1, 1, 0),
        0xcd | 0xd1 => plain(1, 2, 0),
        0xca | 0xce | 0xd2 => plain(1, 4, 0),
        0xcb | 0xcf | 0xd3 => plain(1, 8, 0),
        0xd4 => plain(1, 2, 0),
        0xd5 => plain(1, 3, 0),
        0xd6 => plain(1, 5, 0),
        0xd7 => plain(1, 9, 0),
        0xd8 => plain(1, 17, 0),
        0xdc => sized(2, 0, 1, true),
        0xdd => sized(4, 0, 1, true),
        0xde => sized(2, 0, 2, true),
        0xdf => sized(4, 0, 2, true),
    }
}

/// A skipping walk over one value that can stop where the bytes end and go on when more have come.
#[derive(Debug, Clone)]
pub struct Walker {
    /// Offset of the next head, from the start of the value's buffer.
    at: usize,
    /// Elements left on the open levels below the innermost.
    stack: [u64; DEPTH_MAX],
    depth: usize,
    /// Elements left on the innermost level.
    left: u64,
}

impl Walker {
    /// A walk over the value that starts at `at`.
    pub fn new(at: usize) -> Self {
        Self {
            at,
            stack: [0; DEPTH_MAX],
            depth: 0,
            left: 1,
        }
    }

    /// Walks on. `Ok(end)` is the offset just behind the value; `Incomplete` may be retried with the same
    /// bytes and more behind them; any other fault is final.
    #[inline]
    pub fn walk(&mut self, buf: &[u8]) -> Result<usize, Fault> {
        // In locals, so that they stay in registers.
        let (mut at, mut left) = (self.at, self.left);
        let done = loop {
            if left == 0 {
                if self.depth == 0 {
                    break Ok(at);
                }
                self.depth -= 1;
                left = self.stack[self.depth];
                continue;
            }
            if let Some(end) = scalar_end(buf, at) {
                left -= 1;
                at = end;
                continue;
            }
            let (size, elements) = match element(buf, at) {
                Ok(sizes) => sizes,
                Err(fault) => break Err(fault),
            };
            if elements > 0 {
                let Some(slot) = self.stack.get_mut(self.depth) else {
                    break Err(Fault::TooDeep { at });
                };
                *slot = left - 1;
                self.depth += 1;
                left = elements;
            } else {
                left -= 1;
            }
            at += size;
        };
        (self.at, self.left) = (at, left);
        done
    }
}

/// The bytes that lie in the buffer of the head at `at` and its payload, and the elements behind them.
fn element(buf: &[u8], at: usize) -> Result<(usize, u64), Fault> {
    let Head {
        head,
        payload,
        elements,
    } = head(buf, at)?;
    let size = head as u64 + payload;
    let have = (buf.len() - at) as u64;
    if have < size {
        return Err(Fault::Incomplete { need: size - have });
    }
    Ok((size as usize, elements))
}

/// Sizes, by first byte, of the values that the first byte alone tells; 0 for the rest.
const SIZES: [u8; 256] = {
    let mut sizes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        sizes[byte] = match byte {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => 1,
            0xa0..=0xbf => 1 + (byte as u8 & 0x1f),
            0xcc | 0xd0 => 2,
            0xcd | 0xd1 | 0xd4 => 3,
            0xd5 => 4,
            0xca | 0xce | 0xd2 => 5,
            0xd6 => 6,
            0xcb | 0xcf | 0xd3 => 9,
            0xd7 => 10,
            0xd8 => 18,
            _ => 0,
        };
        byte += 1;
    }
    sizes
};

/// The offset behind a value of fixed size or a string below 64 KiB: nearly all values. `None` for anything
/// else, and where the bytes end.
#[inline]
fn scalar_end(buf: &[u8], at: usize) -> Option<usize> {
    let rest = buf.get(at..)?;
    let size = match *rest {
        [0xd9, len, ..] => 2 + usize::from(len),
        [0xda, high, low, ..] => 3 + (usize::from(high) << 8 | usize::from(low)),
        [byte, ..] if SIZES[usize::from(byte)] > 0 => usize::from(SIZES[usize::from(byte)]),
        _ => return None,
    };
    (size <= rest.len()).then_some(at + size)
}

/// The offset just behind the value that starts at `at`.
#[inline]
pub fn skip(buf: &[u8], at: usize) -> Result<usize, Fault> {
    match scalar_end(buf, at) {
        Some(end) => Ok(end),
        None => Walker::new(at).walk(buf),
    }
}

/// The same for a value inside `outer` containers, which count for the depth.
#[inline]
pub fn skip_within(buf: &[u8], at: usize, outer: usize) -> Result<usize, Fault> {
    match scalar_end(buf, at) {
        Some(end) => Ok(end),
        None => {
            let mut walker = Walker::new(at);
            walker.depth = outer.min(DEPTH_MAX);
            walker.walk(buf)
        }
    }
}

/// Reads the token at the start of `buf` and the bytes it takes. `None` where the bytes end or are not
/// MessagePack, which does not happen on checked bytes.
#[inline]
pub fn read(buf: &[u8]) -> Option<(Token<'_>, usize)> {
    let &byte = buf.first()?;
    let bytes = |head: usize, len: usize| buf.get(head..head + len).map(|raw| (raw, head + len));
    let sized = |width: usize| bytes(1 + width, be(buf, 1, width)? as usize);
    let ext = |head: usize, len: usize| {
        let (raw, end) = bytes(head, len + 1)?;
        Some((Token::Ext(*raw.first()? as i8, raw.get(1..)?), end))
    };
    let uint = |width: usize| Some((be(buf, 1, width)?, 1 + width));
    Some(match byte {
        0x00..=0x7f => (Token::Int(i64::from(byte)), 1),
        0xe0..=0xff => (Token::Int(i64::from(byte as i8)), 1),
        0x80..=0x8f => (Token::Map(u32::from(byte & 0x0f)), 1),
        0x90..=0x9f => (Token::Array(u32::from(byte & 0x0f)), 1),
        0xa0..=0xbf => bytes(1, usize::from(byte & 0x1f)).map(|(raw, end)| (Token::Str(raw), end))?,
        0xc0 => (Token::Nil, 1),
        0xc1 => return None,
        0xc2 => (Token::Bool(false), 1),
        0xc3 => (Token::Bool(true), 1),
        0xc4 => sized(1).map(|(raw, end)| (Token::Bin(raw), end))?,
        0xc5 => sized(2).map(|(raw, end)| (Token::Bin(raw), end))?,
        0xc6 => sized(4).map(|(raw, end)| (Token::Bin(raw), end))?,
        0xc7 => ext(2, be(buf, 1, 1)? as usize)?,
        0xc8 => ext(3, be(buf, 1, 2)? as usize)?,
        0xc9 => ext(5, be(buf, 1, 4)? as usize)?,
        0xca => uint(4).map(|(n, end)| (Token::F32(f32::from_bits(n as u32)), end))?,
        0xcb => uint(8).map(|(n, end)| (Token::F64(f64::from_bits(n)), end))?,
        0xcc => uint(1).map(|(n, end)| (Token::Int(n as i64), end))?,
        0xcd => uint(2).map(|(n, end)| (Token::Int(n as i64), end))?,
        0xce => uint(4).map(|(n, end)| (Token::Int(n as i64), end))?,
        0xcf => uint(8).map(|(n, end)| (i64::try_from(n).map_or(Token::UInt(n), Token::Int), end))?,
        0xd0 => uint(1).map(|(n, end)| (Token::Int(i64::from(n as i8)), end))?,
        0xd1 => uint(2).map(|(n, end)| (Token::Int(i64::from(n as i16)), end))?,
        0xd2 => uint(4).map(|(n, end)| (Token::Int(i64::from(n as i32)), end))?,
        0xd3 => uint(8).map(|(n, end)| (Token::Int(n as i64), end))?,
        0xd4 => ext(1, 1)?,
        0xd5 => ext(1, 2)?,
        0xd6 => ext(1, 4)?,
        0xd7 => ext(1, 8)?,
        0xd8 => ext(1, 16)?,
        0xd9 => sized(1).map(|(raw, end)| (Token::Str(raw), end))?,
        0xda => sized(2).map(|(raw, end)| (Token::Str(raw), end))?,
        0xdb => sized(4).map(|(raw, end)| (Token::Str(raw), end))?,
        0xdc => uint(2).map(|(n, end)| (Token::Array(n as u32), end))?,
        0xdd => uint(4).map(|(n, end)| (Token::Array(n as u32), end))?,
        0xde => uint(2).map(|(n, end)| (Token::Map(n as u32), end))?,
        0xdf => uint(4).map(|(n, end)| (Token::Map(n as u32), end))?,
    })
}

/// Reads tokens and skips values one after the other over checked bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    buf: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `buf`.
    pub fn new(buf: &'a [u8]) -> Self {
        Self { buf, at: 0 }
    }

    /// Offset of the next value.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Whether nothing is left.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.at >= self.buf.len()
    }

    /// The next token; container heads are one token, their elements follow. `None` at the end.
    #[inline]
    pub fn token(&mut self) -> Option<Token<'a>> {
        let (token, used) = read(self.buf.get(self.at..)?)?;
        self.at += used;
        Some(token)
    }

    /// The next value if it is a string of less than 64 KiB: the fast way for what most values are. `None`,
    /// and nothing is taken, for anything else.
    #[inline]
    pub fn short_str(&mut self) -> Option<&'a [u8]> {
        let rest = self.buf.get(self.at..)?;
        let (head, len) = match *rest {
            [byte @ 0xa0..=0xbf, ..] => (1, usize::from(byte & 0x1f)),
            [0xd9, len, ..] => (2, usize::from(len)),
            [0xda, high, low, ..] => (3, usize::from(high) << 8 | usize::from(low)),
            _ => return None,
        };
        let text = rest.get(head..head + len)?;
        self.at += head + len;
        Some(text)
    }

    /// The bytes of the next whole value. `None` at the end.
    #[inline]
    pub fn value(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        let end = skip(self.buf, start).ok()?;
        self.at = end;
        self.buf.get(start..end)
    }
}

/// The pairs of the map in `raw`: raw key, raw value; none for anything but a map.
#[inline]
pub fn pairs(raw: &[u8]) -> Pairs<'_> {
    match read(raw) {
        Some((Token::Map(count), used)) => bare_pairs(raw.get(used..).unwrap_or_default(), count),
        _ => bare_pairs(&[], 0),
    }
}

/// The `count` pairs that lie behind each other in `raw`, without a map head.
#[inline]
pub fn bare_pairs(raw: &[u8], count: u32) -> Pairs<'_> {
    Pairs {
        reader: Reader::new(raw),
        left: count,
    }
}

/// Iterator over pairs given as raw bytes: raw key, raw value.
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    reader: Reader<'a>,
    left: u32,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some((self.reader.value()?, self.reader.value()?))
    }
}

/// The text of a raw string or binary value; `None` for other types.
#[inline]
pub fn text(raw: &[u8]) -> Option<&[u8]> {
    match read(raw)?.0 {
        Token::Str(text) | Token::Bin(text) => Some(text),
        _ => None,
    }
}

/// The bytes of a raw value if it is a string (not binary).
#[inline]
pub fn str_bytes(raw: &[u8]) -> Option<&[u8]> {
    match read(raw)?.0 {
        Token::Str(text) => Some(text),
        _ => None,
    }
}

/// Appends a string, whatever its bytes.
#[inline]
pub fn write_str(out: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        n @ 0..=31 => out.push(0xa0 | n as u8),
        n @ 32..=0xff => out.extend_from_slice(&[0xd9, n as u8]),
        n @ 0x100..=0xffff => out.extend_from_slice(&[0xda, (n >> 8) as u8, n as u8]),
        n => head32(out, 0xdb, n),
    }
    out.extend_from_slice(text);
}

/// Appends a binary.
pub fn write_bin(out: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        n @ 0..=0xff => out.extend_from_slice(&[0xc4, n as u8]),
        n @ 0x100..=0xffff => out.extend_from_slice(&[0xc5, (n >> 8) as u8, n as u8]),
        n => head32(out, 0xc6, n),
    }
    out.extend_from_slice(bytes);
}

fn head32(out: &mut Vec<u8>, kind: u8, n: usize) {
    let n = u32::try_from(n).unwrap_or(u32::MAX);
    out.push(kind);
    out.extend_from_slice(&n.to_be_bytes());
}

/// Appends a signed integer in its shortest form.
pub fn write_int(out: &mut Vec<u8>, n: i64) {
    match n {
        0.. => write_uint(out, n as u64),
        -32..0 => out.push(n as u8),
        -0x80..-32 => out.extend_from_slice(&[0xd0, n as u8]),
        -0x8000..-0x80 => {
            out.push(0xd1);
            out.extend_from_slice(&(n as i16).to_be_bytes());
        }
        -0x8000_0000..-0x8000 => {
            out.push(0xd2);
            out.extend_from_slice(&(n as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend_from_slice(&n.to_be_bytes());
        }
    }
}

/// Appends an unsigned integer in its shortest form.
pub fn write_uint(out: &mut Vec<u8>, n: u64) {
    match n {
        0..=0x7f => out.push(n as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, n as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(n as u32).to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&n.to_be_bytes());
        }
    }
}

/// Appends a double.
pub fn write_f64(out: &mut Vec<u8>, n: f64) {
    out.push(0xcb);
    out.extend_from_slice(&n.to_be_bytes());
}

/// Appends `true` or `false`.
pub fn write_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0xc3 } else { 0xc2 });
}

/// Appends `nil`.
pub fn write_nil(out: &mut Vec<u8>) {
    out.push(0xc0);
}

/// Appends the head of an array of `n` elements, which the caller writes next.
pub fn write_array_head(out: &mut Vec<u8>, n: u32) {
    match n {
        0..=15 => out.push(0x90 | n as u8),
        16..=0xffff => out.extend_from_slice(&[0xdc, (n >> 8) as u8, n as u8]),
        _ => head32(out, 0xdd, n as usize),
    }
}

/// Appends the head of a map of `n` pairs, which the caller writes next.
#[inline]
pub fn write_map_head(out: &mut Vec<u8>, n: u32) {
    match n {
        0..=15 => out.push(0x80 | n as u8),
        16..=0xffff => out.extend_from_slice(&[0xde, (n >> 8) as u8, n as u8]),
        _ => head32(out, 0xdf, n as usize),
    }
}
