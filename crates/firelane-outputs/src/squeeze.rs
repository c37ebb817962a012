//! Compression of bodies with compressors and buffers that are kept. snappy is the raw block, as Fluent
//! Bit's.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use firelane_net::compress::CompressError;
use firelane_net::{Compressor, Encoding};
use tracing::warn;

/// Compressors that are kept: more than this many chunks at once are rare.
const IDLE_MAX: usize = 8;
/// A kept buffer larger than this is given back.
const BUFFER_KEPT_MAX: usize = 8 << 20;

/// A form of compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// gzip or zstd.
    Stream(Encoding),
    /// snappy, one raw block.
    Snappy,
}

impl Coding {
    /// Its name in `Content-Encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stream(encoding) => encoding.name(),
            Self::Snappy => "snappy",
        }
    }

    fn engine(self, level: Option<i32>) -> Result<Engine, CompressError> {
        match (self, level) {
            (Self::Stream(encoding), _) => Compressor::new(encoding, level).map(Engine::Stream),
            (Self::Snappy, None) => Ok(Engine::Snappy(Box::new(snap::raw::Encoder::new()))),
            (Self::Snappy, Some(_)) => Err(CompressError::Failed {
                name: self.name(),
                reason: "it has no levels".to_owned(),
            }),
        }
    }
}

enum Engine {
    Stream(Compressor),
    Snappy(Box<snap::raw::Encoder>),
}

impl Engine {
    fn compress(&mut self, body: &[u8]) -> Result<Bytes, CompressError> {
        match self {
            Self::Stream(compressor) => compressor.compress(body),
            Self::Snappy(encoder) => match encoder.compress_vec(body) {
                Ok(packed) => Ok(packed.into()),
                Err(error) => Err(CompressError::Failed {
                    name: "snappy",
                    reason: error.to_string(),
                }),
            },
        }
    }
}

/// Compresses bodies; keeps compressors and the buffers of what they compress.
pub(crate) struct Squeeze {
    coding: Coding,
    level: Option<i32>,
    idle: Mutex<Vec<Scratch>>,
}

struct Scratch {
    engine: Engine,
    plain: Vec<u8>,
}

impl Squeeze {
    /// `level` is tried here, so that one out of range stops the start.
    pub(crate) fn new(coding: Coding, level: Option<i32>) -> Result<Self, CompressError> {
        coding.engine(level)?;
        Ok(Self {
            coding,
            level,
            idle: Mutex::default(),
        })
    }

    /// The body that `write` makes, compressed; plain where that fails.
    pub(crate) fn body(&self, write: impl FnOnce(&mut Vec<u8>)) -> (Bytes, Option<Coding>) {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let fresh = || {
            let engine = self.coding.engine(self.level)?;
            Ok(Scratch {
                engine,
                plain: Vec::new(),
            })
        };
        let mut scratch = match idle.map_or_else(fresh, Ok) {
            Ok(scratch) => scratch,
            Err(error) => return plain(&error, write),
        };
        scratch.plain.clear();
        write(&mut scratch.plain);
        let body = match scratch.engine.compress(&scratch.plain) {
            Ok(body) => (body, Some(self.coding)),
            Err(error) => return plain(&error, |out| out.append(&mut scratch.plain)),
        };
        if scratch.plain.capacity() <= BUFFER_KEPT_MAX {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_MAX {
                idle.push(scratch);
            }
        }
        body
    }
}

fn plain(error: &CompressError, write: impl FnOnce(&mut Vec<u8>)) -> (Bytes, Option<Coding>) {
    warn!(target: "output", %error, "the body goes out uncompressed");
    let mut body = Vec::new();
    write(&mut body);
    (body.into(), None)
}
