//! Compression of bodies with compressors and buffers that are kept.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use firelane_net::compress::CompressError;
use firelane_net::{Compressor, Encoding};
use tracing::warn;

/// Compressors that are kept: more than this many chunks at once are rare.
const IDLE_MAX: usize = 8;
/// A kept buffer larger than this is given back.
const BUFFER_KEPT_MAX: usize = 8 << 20;

/// Compresses bodies; keeps compressors and the buffers of what they compress.
pub(crate) struct Squeeze {
    encoding: Encoding,
    level: Option<i32>,
    idle: Mutex<Vec<Scratch>>,
}

struct Scratch {
    compressor: Compressor,
    plain: Vec<u8>,
}

impl Squeeze {
    /// `level` is tried here, so that one out of range stops the start.
    pub(crate) fn new(encoding: Encoding, level: Option<i32>) -> Result<Self, CompressError> {
        Compressor::new(encoding, level)?;
        Ok(Self {
            encoding,
            level,
            idle: Mutex::default(),
        })
    }

    /// The body that `write` makes, compressed; plain where that fails.
    pub(crate) fn body(&self, write: impl FnOnce(&mut Vec<u8>)) -> (Bytes, Option<Encoding>) {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let fresh = || {
            let compressor = Compressor::new(self.encoding, self.level)?;
            Ok(Scratch {
                compressor,
                plain: Vec::new(),
            })
        };
        let mut scratch = match idle.map_or_else(fresh, Ok) {
            Ok(scratch) => scratch,
            Err(error) => return self.plain(&error, write),
        };
        scratch.plain.clear();
        write(&mut scratch.plain);
        let body = match scratch.compressor.compress(&scratch.plain) {
            Ok(body) => (body, Some(self.encoding)),
            Err(error) => return self.plain(&error, |out| out.append(&mut scratch.plain)),
        };
        if scratch.plain.capacity() <= BUFFER_KEPT_MAX {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_MAX {
                idle.push(scratch);
            }
        }
        body
    }

    fn plain(&self, error: &CompressError, write: impl FnOnce(&mut Vec<u8>)) -> (Bytes, Option<Encoding>) {
        warn!(target: "output", %error, "the body goes out uncompressed");
        let mut body = Vec::new();
        write(&mut body);
        (body.into(), None)
    }
}
