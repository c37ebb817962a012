//! A chunk as the bytes of an object or of a part of one: lines, compressed or not.
//!
//! gzip and zstd are written in pieces of a mebibyte, each a member or frame of its own: so no more of the
//! lines than that stands in memory beside the chunk, and parts that stand behind each other are one stream.
//! With the feature `parquet` a chunk may be a file of columns instead, see `columns`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use firelane_core::Chunk;
use firelane_net::aws::BodyHash;
use firelane_net::compress::CompressError;
use firelane_net::{Compressor, Encoding};
use firelane_record::json::JsonOptions;
use firelane_record::msgpack;
use firelane_record::set::RecordSet;
use md5::{Digest as _, Md5};

#[cfg(feature = "parquet")]
use super::columns::Columns;
use crate::payload::{Log, logs};
use crate::squeeze::Coding;

/// Bytes of lines that are compressed at once.
const PIECE: usize = 1 << 20;
/// Room in a compressed body at first, of the lines.
const GUESS: usize = 6;

/// How records become bytes.
#[derive(Debug)]
pub(super) struct Encoder {
    pub(super) json: JsonOptions,
    /// Only this key's value, bare.
    pub(super) log_key: Option<Box<[u8]>>,
    pub(super) coding: Option<Coding>,
    /// Say the body's MD5.
    pub(super) md5: bool,
    /// Columns in place of lines.
    #[cfg(feature = "parquet")]
    pub(super) columns: Option<Columns>,
}

/// The bytes of a chunk.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// For the signature; made here, while the bytes are in the processor's cache.
    pub(super) hash: BodyHash,
    /// Its MD5 in base64, where that was asked for.
    pub(super) md5: Option<String>,
    /// Records that have nothing to send.
    pub(super) empty: RecordSet,
}

impl Encoder {
    /// The body of a chunk.
    ///
    /// # Errors
    /// Where the compressor fails: a bug, or no memory.
    pub(super) fn body(&self, chunk: &Chunk) -> Result<Body, CompressError> {
        let mut empty = RecordSet::none();
        let bytes = match self.file(chunk) {
            Some(file) => file?,
            None => self.lines_of(chunk, &mut empty)?,
        };
        Ok(Body {
            hash: BodyHash::of(&bytes),
            md5: self.md5.then(|| BASE64_STANDARD.encode(Md5::digest(&bytes))),
            bytes: bytes.into(),
            empty,
        })
    }

    /// The chunk as columns, where that is wanted.
    #[cfg(feature = "parquet")]
    fn file(&self, chunk: &Chunk) -> Option<Result<Vec<u8>, CompressError>> {
        let file = self.columns.as_ref()?.file(chunk);
        Some(file.map_err(|error| CompressError::Failed {
            name: "parquet",
            reason: error.to_string(),
        }))
    }

    #[cfg(not(feature = "parquet"))]
    fn file(&self, _: &Chunk) -> Option<Result<Vec<u8>, CompressError>> {
        None
    }

    fn lines_of(&self, chunk: &Chunk, empty: &mut RecordSet) -> Result<Vec<u8>, CompressError> {
        match self.coding {
            None => {
                let mut out = Vec::with_capacity(self.estimate(chunk));
                self.lines(chunk, empty, &mut out, |_| Ok(()))?;
                Ok(out)
            }
            Some(Coding::Snappy) => {
                let mut lines = Vec::with_capacity(self.estimate(chunk));
                self.lines(chunk, empty, &mut lines, |_| Ok(()))?;
                let packed = snap::raw::Encoder::new().compress_vec(&lines);
                packed.map_err(|error| CompressError::Failed {
                    name: "snappy",
                    reason: error.to_string(),
                })
            }
            Some(Coding::Stream(encoding)) => self.packed(chunk, encoding, empty),
        }
    }

    fn packed(
        &self,
        chunk: &Chunk,
        encoding: Encoding,
        empty: &mut RecordSet,
    ) -> Result<Vec<u8>, CompressError> {
        let mut compressor = Compressor::new(encoding, None)?;
        let mut out = Vec::with_capacity(chunk.bytes() / GUESS);
        let mut lines = Vec::with_capacity(PIECE.min(self.estimate(chunk)) + PIECE / 8);
        let mut flush = |lines: &mut Vec<u8>| {
            if !lines.is_empty() {
                out.extend_from_slice(&compressor.compress(lines)?);
                lines.clear();
            }
            Ok(())
        };
        self.lines(chunk, empty, &mut lines, |lines| {
            if lines.len() < PIECE { Ok(()) } else { flush(lines) }
        })?;
        flush(&mut lines)?;
        Ok(out)
    }

    /// Appends the lines of a chunk; after each, `full` may take away what is there.
    fn lines(
        &self,
        chunk: &Chunk,
        empty: &mut RecordSet,
        out: &mut Vec<u8>,
        mut full: impl FnMut(&mut Vec<u8>) -> Result<(), CompressError>,
    ) -> Result<(), CompressError> {
        let Some(key) = &self.log_key else {
            for Log { event, group, .. } in logs(chunk) {
                self.json.encode_event_of_group(&event, group, out);
                out.push(b'\n');
                full(out)?;
            }
            return Ok(());
        };
        for (index, (_, event)) in (0..).zip(chunk.events()) {
            if event.time.is_group_marker() {
                continue;
            }
            // The last one wins where a key stands there twice.
            let value = msgpack::pairs(event.body).filter(|(name, _)| msgpack::text(name) == Some(key));
            match value.last() {
                Some((_, value)) => {
                    match msgpack::text(value) {
                        Some(text) => out.extend_from_slice(text),
                        None => self.json.encode_value(value, out),
                    }
                    out.push(b'\n');
                    full(out)?;
                }
                None => empty.insert(index),
            }
        }
        Ok(())
    }

    /// Bytes of the lines of a chunk, roughly and rather too many: JSON has quotes and a date that
    /// MessagePack has not.
    fn estimate(&self, chunk: &Chunk) -> usize {
        match self.log_key {
            Some(_) => chunk.bytes(),
            None => chunk.bytes() + chunk.bytes() / 4 + chunk.records() as usize * 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firelane_core::Part;
    use firelane_net::compress::decompress;
    use firelane_record::json::DateFormat;
    use firelane_record::{MapWriter, RecordsBuf, Tag, Timestamp};

    fn encoder(coding: Option<Coding>, log_key: Option<&str>) -> Encoder {
        Encoder {
            json: JsonOptions::new(true).with_date("date", DateFormat::Iso8601),
            log_key: log_key.map(|key| key.as_bytes().into()),
            coding,
            md5: true,
            #[cfg(feature = "parquet")]
            columns: None,
        }
    }

    fn chunk(count: u32) -> Chunk {
        let mut buf = RecordsBuf::default();
        for n in 0..count {
            let mut map = MapWriter::new();
            if n % 3 != 2 {
                map.str(b"log", format!("line {n}").as_bytes());
            } else {
                map.str(b"lo", b"x");
            }
            buf.push_with(
                Timestamp {
                    secs: 7,
                    nanos: 5_000,
                },
                None,
                |out| map.write(out),
            );
        }
        let tag = Tag::new("t").unwrap();
        let records = buf.take();
        Chunk::new(vec![Part { tag, records }])
    }

    #[test]
    fn lines_begin_with_the_date() {
        let body = encoder(None, None).body(&chunk(1)).unwrap();
        let want = "{\"date\":\"1970-01-01T00:00:07.000005Z\",\"log\":\"line 0\"}\n";
        assert_eq!(body.bytes, want);
        assert!(body.empty.is_none());
    }

    #[test]
    fn md5_is_of_the_body_in_base64() {
        let encoder = encoder(None, Some("absent"));
        // RFC 1321: of nothing.
        let body = encoder.body(&chunk(1)).unwrap();
        assert_eq!(body.md5.as_deref(), Some("1B2M2Y8AsgTpgAmY7PhCfg=="));
        assert!(body.bytes.is_empty() && body.empty.is_all(1));
    }

    #[test]
    fn with_log_key_other_records_are_named() {
        let body = encoder(None, Some("log")).body(&chunk(5)).unwrap();
        assert_eq!(body.bytes, "line 0\nline 1\nline 3\nline 4\n");
        assert_eq!(body.empty, RecordSet::range(2, 3));
    }

    /// Guarantees: bodies of several pieces are one stream for any reader.
    #[test]
    fn compressed_bodies_come_back() {
        let chunk = chunk(40_000);
        let plain = encoder(None, None).body(&chunk).unwrap().bytes;
        assert!(plain.len() > 2 * PIECE, "{}", plain.len());
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let body = encoder(Some(Coding::Stream(encoding)), None)
                .body(&chunk)
                .unwrap();
            assert!(body.bytes.len() < plain.len() / 4);
            assert_eq!(decompress(encoding, &body.bytes, plain.len()).unwrap(), plain);
        }
        let body = encoder(Some(Coding::Snappy), None).body(&chunk).unwrap();
        let back = snap::raw::Decoder::new().decompress_vec(&body.bytes).unwrap();
        assert_eq!(back, plain);
    }
}
