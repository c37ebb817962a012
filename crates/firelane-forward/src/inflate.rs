//! Decompression of payloads, capped.

use std::io::Read;

/// How a payload is compressed: its first bytes tell, whatever the options say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Plain,
    Gzip,
    Zstd,
}

/// Why a payload cannot be decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InflateError {
    /// Over the limit.
    Bomb,
    /// Broken or cut short.
    Corrupt,
}

pub(crate) fn coding(payload: &[u8]) -> Coding {
    match payload {
        [0x1f, 0x8b, ..] => Coding::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Coding::Zstd,
        _ => Coding::Plain,
    }
}

/// Decompresses up to `limit` bytes. Concatenated gzip members and zstd frames are read one behind the other.
pub(crate) fn inflate(coding: Coding, payload: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
    let mut out = Vec::new();
    let mut read = |reader: &mut dyn Read| {
        let limit = limit as u64 + 1;
        reader
            .take(limit)
            .read_to_end(&mut out)
            .map_err(|_| InflateError::Corrupt)
    };
    match coding {
        Coding::Plain => read(&mut &payload[..])?,
        Coding::Gzip => read(&mut flate2::read::MultiGzDecoder::new(payload))?,
        Coding::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(payload).map_err(|_| InflateError::Corrupt)?;
            // A frame may ask for a window of gigabytes: as large as the payload may be is enough.
            decoder.window_log_max(27).map_err(|_| InflateError::Corrupt)?;
            read(&mut decoder)?
        }
    };
    if out.len() > limit {
        Err(InflateError::Bomb)
    } else {
        Ok(out)
    }
}
