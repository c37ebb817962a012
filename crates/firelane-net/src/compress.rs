//! Compression of request bodies, and decompression that hostile input cannot blow up.
//!
//! A [`Compressor`] keeps its tables between bodies: make one per route and reuse it. gzip is written as one
//! member with mtime 0 (like Fluent Bit's), zstd as one frame that tells its size.
//!
//! [`decompress`] stops at an explicit number of output bytes, whatever the input announces: gzip (any number
//! of members one after the other), zlib, raw deflate, zstd (any number of frames, window at most 8 MiB or
//! the limit). snappy is not here.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// A `Content-Encoding` that can be written and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// `gzip`, `x-gzip`.
    Gzip,
    /// `deflate`: zlib by the standard, raw deflate by many clients. Read only.
    Deflate,
    /// `zstd`.
    Zstd,
}

impl Encoding {
    /// By its name in `Content-Encoding` or the property `compress`; upper and lower case.
    pub fn by_name(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Its name in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }
}

/// Why a body could not be compressed. The body itself is untouched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// Only gzip and zstd are written.
    #[error("`{name}` cannot be written, only `gzip` and `zstd`")]
    ReadOnly {
        /// The encoding.
        name: &'static str,
    },
    /// A level that the format has not.
    #[error("{name} has no level {level}; use {low} to {high}")]
    Level {
        /// The encoding.
        name: &'static str,
        /// What was asked for.
        level: i32,
        /// Lowest.
        low: i32,
        /// Highest.
        high: i32,
    },
    /// The compressor failed.
    #[error("{name} failed: {reason}")]
    Failed {
        /// The encoding.
        name: &'static str,
        /// Its words.
        reason: String,
    },
}

/// Why a body could not be decompressed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DecompressError {
    /// More output than allowed: a zip bomb, or a limit that is too low.
    #[error("{name} data expands to more than {limit} bytes")]
    TooLarge {
        /// The encoding.
        name: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Damaged or cut short.
    #[error("{name} data is damaged: {reason}")]
    Damaged {
        /// The encoding.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// Level where none is given: the best size × time on JSON log lines (see `examples/compressors.rs`).
pub const GZIP_LEVEL: i32 = 1;
/// Level where none is given.
pub const ZSTD_LEVEL: i32 = 1;
/// Compressed output starts with room for this part of the input.
const GUESS: usize = 4;
/// Largest zstd window where the output limit is smaller: what usual encoders use for streams.
const WINDOW_LOG_MIN: u32 = 23;
/// Largest zstd window at all.
const WINDOW_LOG_MAX: u32 = 27;

/// Compresses bodies one after the other.
pub struct Compressor {
    engine: Engine,
}

enum Engine {
    Gzip {
        deflate: Box<libdeflater::Compressor>,
        buffer: Vec<u8>,
    },
    Zstd(zstd::bulk::Compressor<'static>),
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor")
            .field("encoding", &self.encoding())
            .finish_non_exhaustive()
    }
}

impl Compressor {
    /// `level`: gzip 1–12, zstd 1–19; `None` for the fast default.
    pub fn new(encoding: Encoding, level: Option<i32>) -> Result<Self, CompressError> {
        let name = encoding.name();
        let checked = |level: i32, high: i32| {
            let valid = (1..=high).contains(&level);
            if valid {
                Ok(level)
            } else {
                Err(CompressError::Level {
                    name,
                    level,
                    low: 1,
                    high,
                })
            }
        };
        let engine = match encoding {
            Encoding::Deflate => return Err(CompressError::ReadOnly { name }),
            Encoding::Gzip => {
                let level = checked(level.unwrap_or(GZIP_LEVEL), 12)?;
                let level = libdeflater::CompressionLvl::new(level).map_err(|_| CompressError::Level {
                    name,
                    level,
                    low: 1,
                    high: 12,
                })?;
                let deflate = Box::new(libdeflater::Compressor::new(level));
                Engine::Gzip {
                    deflate,
                    buffer: Vec::new(),
                }
            }
            Encoding::Zstd => {
                let level = checked(level.unwrap_or(ZSTD_LEVEL), 19)?;
                let zstd = zstd::bulk::Compressor::new(level);
                Engine::Zstd(zstd.map_err(|error| failed(name, &error))?)
            }
        };
        Ok(Self { engine })
    }

    /// What it writes, for `Content-Encoding`.
    pub fn encoding(&self) -> Encoding {
        match self.engine {
            Engine::Gzip { .. } => Encoding::Gzip,
            Engine::Zstd(_) => Encoding::Zstd,
        }
    }

    /// The compressed body, in a buffer of its own size.
    pub fn compress(&mut self, body: &[u8]) -> Result<Bytes, CompressError> {
        match &mut self.engine {
            Engine::Gzip { deflate, buffer } => {
                // The worst case is slightly above the input; the buffer stays, the result is copied at its
                // own size.
                let bound = deflate.gzip_compress_bound(body.len());
                if buffer.len() < bound {
                    buffer.resize(bound, 0);
                }
                let written = deflate
                    .gzip_compress(body, buffer)
                    .map_err(|error| CompressError::Failed {
                        name: "gzip",
                        reason: error.to_string(),
                    })?;
                Ok(Bytes::copy_from_slice(buffer.get(..written).unwrap_or_default()))
            }
            Engine::Zstd(zstd) => {
                let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(body.len()));
                zstd.compress_to_buffer(body, &mut out)
                    .map_err(|error| failed("zstd", &error))?;
                out.shrink_to_fit();
                Ok(out.into())
            }
        }
    }
}

/// The content of `body`, at most `limit` bytes.
pub fn decompress(encoding: Encoding, body: &[u8], limit: usize) -> Result<Bytes, DecompressError> {
    let mut out = Vec::with_capacity(body.len().saturating_mul(GUESS).min(limit));
    let name = encoding.name();
    match encoding {
        Encoding::Gzip => capped(MultiGzDecoder::new(body), limit, name, &mut out)?,
        Encoding::Deflate if is_zlib(body) => capped(ZlibDecoder::new(body), limit, name, &mut out)?,
        Encoding::Deflate => capped(DeflateDecoder::new(body), limit, name, &mut out)?,
        Encoding::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(body).map_err(|e| damaged(name, &e))?;
            let needed = usize::BITS - limit.leading_zeros();
            let window = needed.clamp(WINDOW_LOG_MIN, WINDOW_LOG_MAX);
            decoder
                .window_log_max(window)
                .map_err(|error| damaged(name, &error))?;
            capped(decoder, limit, name, &mut out)?;
        }
    }
    Ok(out.into())
}

fn capped(
    reader: impl Read,
    limit: usize,
    name: &'static str,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    let over = limit.saturating_add(1) as u64;
    reader
        .take(over)
        .read_to_end(out)
        .map_err(|error| damaged(name, &error))?;
    if out.len() > limit {
        Err(DecompressError::TooLarge { name, limit })
    } else {
        Ok(())
    }
}

/// A zlib header: method 8 and a checksum over two bytes; raw deflate does not look like that.
fn is_zlib(body: &[u8]) -> bool {
    let [cmf, flags, ..] = body else { return false };
    cmf & 0x0f == 8 && (u16::from(*cmf) * 256 + u16::from(*flags)) % 31 == 0
}

fn damaged(name: &'static str, error: &io::Error) -> DecompressError {
    DecompressError::Damaged {
        name,
        reason: error.to_string(),
    }
}

fn failed(name: &'static str, error: &io::Error) -> CompressError {
    CompressError::Failed {
        name,
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use proptest::prelude::*;

    fn packed(encoding: Encoding, body: &[u8]) -> Bytes {
        Compressor::new(encoding, None).unwrap().compress(body).unwrap()
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_back(
            first in proptest::collection::vec(any::<u8>(), 0..4000),
            second in proptest::collection::vec(0u8..4, 0..9000),
            gzip: bool,
        ) {
            let encoding = if gzip { Encoding::Gzip } else { Encoding::Zstd };
            let mut compressor = Compressor::new(encoding, Some(3)).unwrap();
            for body in [&first, &second] {
                let packed = compressor.compress(body).unwrap();
                let back = decompress(encoding, &packed, body.len()).unwrap();
                prop_assert_eq!(&back[..], &body[..]);
            }
        }

        #[test]
        fn junk_never_panics_or_grows(junk in proptest::collection::vec(any::<u8>(), 0..500), kind in 0..3) {
            let encoding = [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd][kind as usize];
            if let Ok(out) = decompress(encoding, &junk, 100) {
                prop_assert!(out.len() <= 100);
            }
        }
    }

    #[test]
    fn members_and_frames_one_after_the_other_are_joined() {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let both = [packed(encoding, b"one "), packed(encoding, b"two")].concat();
            assert_eq!(decompress(encoding, &both, 7).unwrap(), "one two", "{encoding:?}");
        }
    }

    #[test]
    fn bombs_end_at_the_limit() {
        let bomb = vec![0u8; 50 << 20];
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let error = decompress(encoding, &packed(encoding, &bomb), 1 << 20).unwrap_err();
            let want = format!("{} data expands to more than 1048576 bytes", encoding.name());
            assert_eq!(error.to_string(), want);
        }
    }

    #[test]
    fn a_cut_body_is_damaged_not_short() {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let whole = packed(encoding, &b"log line ".repeat(100));
            let error = decompress(encoding, &whole[..whole.len() - 5], 1 << 20).unwrap_err();
            assert!(matches!(error, DecompressError::Damaged { .. }), "{error:?}");
        }
    }

    #[test]
    fn deflate_is_read_in_both_meanings() {
        let level = flate2::Compression::fast();
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), level);
        zlib.write_all(b"text text text").unwrap();
        let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), level);
        raw.write_all(b"text text text").unwrap();
        for body in [zlib.finish().unwrap(), raw.finish().unwrap()] {
            assert_eq!(
                decompress(Encoding::Deflate, &body, 100).unwrap(),
                "text text text"
            );
        }
    }

    #[test]
    fn gzip_has_the_plain_header() {
        let out = packed(Encoding::Gzip, b"x");
        assert_eq!(
            out[..8],
            [0x1f, 0x8b, 8, 0, 0, 0, 0, 0],
            "magic, deflate, no flags, mtime 0"
        );
    }

    #[test]
    fn levels_are_checked() {
        let error = Compressor::new(Encoding::Gzip, Some(13)).unwrap_err();
        assert_eq!(error.to_string(), "gzip has no level 13; use 1 to 12");
        assert!(Compressor::new(Encoding::Deflate, None).is_err());
    }
}
