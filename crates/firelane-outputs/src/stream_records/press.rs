//! Compression of single entries, with compressors and buffers that are kept.

use std::sync::{Mutex, PoisonError};

use firelane_net::{Compressor, Encoding};
use tracing::warn;

/// Compressors that are kept: as many as calls are encoded at once.
const IDLE_MAX: usize = 8;
/// A kept buffer larger than this is given back.
const BUFFER_KEPT_MAX: usize = 4 << 20;
/// Level of gzip and zlib: the best size × time on log lines.
const LEVEL: i32 = firelane_net::compress::GZIP_LEVEL;

/// A form of compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// gzip, one member.
    Gzip,
    /// zlib.
    Zlib,
    /// zstd, one frame.
    Zstd,
    /// snappy, one raw block.
    Snappy,
}

/// Compresses one text after the other.
pub(super) struct Press {
    engine: Engine,
    coding: Coding,
    out: Vec<u8>,
    len: usize,
}

enum Engine {
    Deflate(libdeflater::Compressor),
    Zstd(Compressor),
    Snappy(Box<snap::raw::Encoder>),
}

impl Press {
    fn new(coding: Coding) -> Option<Self> {
        let deflate = || libdeflater::CompressionLvl::new(LEVEL).ok();
        let engine = match coding {
            Coding::Gzip | Coding::Zlib => Engine::Deflate(libdeflater::Compressor::new(deflate()?)),
            Coding::Zstd => Engine::Zstd(Compressor::new(Encoding::Zstd, None).ok()?),
            Coding::Snappy => Engine::Snappy(Box::new(snap::raw::Encoder::new())),
        };
        Some(Self {
            engine,
            coding,
            out: Vec::new(),
            len: 0,
        })
    }

    /// Compresses `text`, and says how long that is. What cannot be compressed stays plain, as in Fluent Bit.
    pub(super) fn squeeze(&mut self, text: &[u8]) -> usize {
        self.len = match self.try_squeeze(text) {
            Ok(len) => len,
            Err(error) => {
                warn!(target: "output", error, "a record goes out uncompressed");
                self.out.clear();
                self.out.extend_from_slice(text);
                text.len()
            }
        };
        self.len
    }

    /// What [`squeeze`](Self::squeeze) made.
    pub(super) fn squeezed(&self) -> &[u8] {
        self.out.get(..self.len).unwrap_or_default()
    }

    fn try_squeeze(&mut self, text: &[u8]) -> Result<usize, String> {
        let bound = self.bound(text.len());
        if self.out.len() < bound {
            self.out.resize(bound, 0);
        }
        match (&mut self.engine, self.coding) {
            (Engine::Deflate(deflate), Coding::Zlib) => deflate
                .zlib_compress(text, &mut self.out)
                .map_err(|error| error.to_string()),
            (Engine::Deflate(deflate), _) => deflate
                .gzip_compress(text, &mut self.out)
                .map_err(|error| error.to_string()),
            (Engine::Snappy(snappy), _) => snappy
                .compress(text, &mut self.out)
                .map_err(|error| error.to_string()),
            (Engine::Zstd(zstd), _) => {
                let packed = zstd.compress(text).map_err(|error| error.to_string())?;
                self.out.clear();
                self.out.extend_from_slice(&packed);
                Ok(packed.len())
            }
        }
    }

    /// The most that a text of `len` bytes can become.
    pub(super) fn bound(&mut self, len: usize) -> usize {
        match (&mut self.engine, self.coding) {
            (Engine::Deflate(deflate), Coding::Zlib) => deflate.zlib_compress_bound(len),
            (Engine::Deflate(deflate), _) => deflate.gzip_compress_bound(len),
            (Engine::Snappy(_), _) => snap::raw::max_compress_len(len),
            // As the format's documentation has it: 1/256, and some more for short texts.
            (Engine::Zstd(_), _) => len + len / 256 + 512,
        }
    }
}

/// The compressors of one output.
pub(super) struct Presses {
    coding: Coding,
    idle: Mutex<Vec<Press>>,
}

impl Presses {
    pub(super) fn new(coding: Coding) -> Self {
        Self {
            coding,
            idle: Mutex::default(),
        }
    }

    /// An idle compressor, or a new one.
    pub(super) fn take(&self) -> Option<Press> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.or_else(|| Press::new(self.coding))
    }

    /// Keeps it for later.
    pub(super) fn give(&self, press: Press) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && press.out.capacity() <= BUFFER_KEPT_MAX {
            idle.push(press);
        }
    }
}
