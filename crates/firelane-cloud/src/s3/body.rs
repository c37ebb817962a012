//! From a request's body to a file: taken apart, counted and checked on the way.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha2::{Digest, Sha256};

use super::Request;
use super::checksum::{Checksum, HEADERS};
use super::chunked::{Dechunker, Malformed};
use crate::auth::{self, Broken, SigningKey, hex};
use crate::cloud::Inner;
use crate::error::ApiError;
use crate::server::piece;
use crate::service::Service;

/// Most bytes of an object that is put at once, and of a part.
pub(super) const PUT_MAX: u64 = 5 << 30;
/// Bytes that are written at once.
const STEP: usize = 1 << 20;

/// A body that was written to a file, and keeps all that was said of it.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) file: u64,
    pub(super) size: u64,
    /// In hex.
    pub(super) etag: String,
    pub(super) checksum: Option<(String, String)>,
}

/// What the request says of its body.
struct Stated {
    length: u64,
    is_chunked: bool,
    md5: Option<[u8; 16]>,
    sha256: Option<String>,
    /// Header and value; a value that comes behind the body is empty.
    checksum: Option<(String, String)>,
}

fn stated(request: &Request) -> Result<Stated, ApiError> {
    let hash = request.header("x-amz-content-sha256").unwrap_or_default();
    let encoding = request.header("content-encoding").unwrap_or_default();
    let is_chunked =
        hash.starts_with("STREAMING-") || encoding.split(',').any(|name| name.trim() == "aws-chunked");
    let known = [
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    ];
    if hash.starts_with("STREAMING-") && !known.contains(&hash) {
        let text = format!(
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a valid sha256 value, or one of {known:?}"
        );
        return Err(ApiError::bad("InvalidArgument", text));
    }
    let name = if is_chunked {
        "x-amz-decoded-content-length"
    } else {
        "content-length"
    };
    let length = request.header(name).and_then(|value| value.parse().ok());
    let absent = || {
        ApiError::new(
            411,
            "MissingContentLength",
            "You must provide the Content-Length HTTP header.",
        )
    };
    let length: u64 = length.ok_or_else(absent)?;
    if length > PUT_MAX {
        let text = "Your proposed upload exceeds the maximum allowed size";
        let error = ApiError::bad("EntityTooLarge", text).with("ProposedSize", length.to_string());
        return Err(error.with("MaxSizeAllowed", PUT_MAX.to_string()));
    }
    Ok(Stated {
        length,
        is_chunked,
        md5: stated_md5(request)?,
        sha256: (hash.len() == 64).then(|| hash.to_owned()),
        checksum: checksum(request)?,
    })
}

/// The digest of `Content-MD5`.
fn stated_md5(request: &Request) -> Result<Option<[u8; 16]>, ApiError> {
    let bad = || ApiError::bad("InvalidDigest", "The Content-MD5 you specified is not valid.");
    let md5 = request.header("content-md5").map(|text| {
        let digest = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        digest.ok_or_else(bad)
    });
    md5.transpose()
}

/// Compares a small body, which is in memory, with what the request says of it.
pub(super) fn check_small(request: &Request, body: &[u8]) -> Result<(), ApiError> {
    let hash = request.header("x-amz-content-sha256").unwrap_or_default();
    if hash.len() == 64 && hash != hex(&Sha256::digest(body)) {
        return Err(other_hash());
    }
    if stated_md5(request)?.is_some_and(|stated| stated != <[u8; 16]>::from(Md5::digest(body))) {
        return Err(other_md5());
    }
    if let Some((name, value)) = checksum(request)?
        && let Some(mut own) = Checksum::of_header(&name)
    {
        own.update(body);
        if own.text() != value {
            return Err(other_checksum(&name));
        }
    }
    Ok(())
}

fn other_hash() -> ApiError {
    let text = "The provided 'x-amz-content-sha256' header does not match what was computed.";
    ApiError::bad("XAmzContentSHA256Mismatch", text)
}

fn other_md5() -> ApiError {
    let text = "The Content-MD5 you specified did not match what we received.";
    ApiError::bad("BadDigest", text)
}

fn other_checksum(header: &str) -> ApiError {
    let kind = header.trim_start_matches("x-amz-checksum-").to_ascii_uppercase();
    let text = format!("The {kind} you specified did not match the calculated checksum.");
    ApiError::bad("BadDigest", text)
}

/// The checksum that the request has, or names as its trailer.
fn checksum(request: &Request) -> Result<Option<(String, String)>, ApiError> {
    let given = HEADERS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), request.header(name)?.to_owned())));
    let given: Vec<_> = given.collect();
    if given.len() > 1 {
        let text = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.";
        return Err(ApiError::bad("InvalidRequest", text));
    }
    if let Some(given) = given.into_iter().next() {
        return Ok(Some(given));
    }
    let Some(trailer) = request.header("x-amz-trailer") else {
        return Ok(None);
    };
    let name = trailer.trim().to_ascii_lowercase();
    match Checksum::of_header(&name) {
        Some(_) => Ok(Some((name, String::new()))),
        None => Err(ApiError::bad(
            "InvalidRequest",
            "The value specified in the x-amz-trailer header is not supported",
        )),
    }
}

/// What a file is written through.
struct Sink {
    file: File,
    size: u64,
    md5: Md5,
    sha256: Option<Sha256>,
    checksum: Option<Checksum>,
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        self.md5.update(bytes);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
        Ok(())
    }
}

/// Removes a file that nobody refers to yet, unless it is kept.
struct Pending {
    path: PathBuf,
    is_kept: bool,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.is_kept {
            // The next start removes what this leaves.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Writes the body of a request to a new file. Where it fails, or breaks what was said of it, the file is
/// gone.
pub(super) async fn receive(
    cloud: &Arc<Inner>,
    request: &Request,
    key: Option<SigningKey>,
    body: &mut Body,
) -> Result<Written, ApiError> {
    let stated = match stated(request) {
        Ok(stated) => stated,
        Err(error) => {
            super::drain(body).await;
            return Err(error);
        }
    };
    let internal = |error: &dyn std::fmt::Display| ApiError::internal(Service::S3, &error.to_string());
    let number = cloud.store.look(crate::store::State::new_file);
    let path = cloud.store.shared().layout.object(number);
    let mut pending = Pending {
        path: path.clone(),
        is_kept: false,
    };
    let sink = Sink {
        file: File::create(&path).map_err(|error| internal(&error))?,
        size: 0,
        md5: Md5::new(),
        sha256: stated.sha256.as_ref().map(|_| Sha256::new()),
        checksum: stated
            .checksum
            .as_ref()
            .and_then(|(name, _)| Checksum::of_header(name)),
    };
    let mut dechunker = stated.is_chunked.then(|| {
        let hash = request.header("x-amz-content-sha256").unwrap_or_default();
        let signature = request.asked.signature.as_ref();
        let signature = signature.map(|signature| signature.value.clone());
        let signed = hash.starts_with("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
        Dechunker::new(key.zip(signature).filter(|_| signed))
    });
    let sink = copy(body, dechunker.as_mut(), sink, stated.length).await?;
    let trailers = match dechunker {
        Some(dechunker) => dechunker.finish().map_err(malformed)?,
        None => Vec::new(),
    };
    let written = check(sink, number, stated, &trailers)?;
    pending.is_kept = true;
    Ok(written)
}

/// Copies a body, taken apart where it is chunked; more than `most` bytes of it are an error.
async fn copy(
    body: &mut Body,
    mut dechunker: Option<&mut Dechunker>,
    mut sink: Sink,
    most: u64,
) -> Result<Sink, ApiError> {
    let internal = |error: &dyn std::fmt::Display| ApiError::internal(Service::S3, &error.to_string());
    let (mut buffer, mut total) = (Vec::new(), 0);
    loop {
        let data = piece(Service::S3, body).await?;
        let is_last = data.is_none();
        if let Some(data) = data {
            let before = buffer.len();
            match &mut dechunker {
                Some(dechunker) => dechunker.push(&data, &mut buffer).map_err(malformed)?,
                None => buffer.extend_from_slice(&data),
            }
            total += (buffer.len() - before) as u64;
        }
        if total > most {
            return Err(incomplete());
        }
        if buffer.len() >= STEP || (is_last && !buffer.is_empty()) {
            let written = tokio::task::spawn_blocking(move || {
                let done = sink.write(&buffer);
                buffer.clear();
                (sink, buffer, done)
            });
            let done;
            (sink, buffer, done) = written.await.map_err(|error| internal(&error))?;
            done.map_err(|error| internal(&error))?;
        }
        if is_last {
            return Ok(sink);
        }
    }
}

fn incomplete() -> ApiError {
    ApiError::bad(
        "IncompleteBody",
        "You did not provide the number of bytes specified by the Content-Length HTTP header",
    )
}

fn malformed(why: Malformed) -> ApiError {
    match why {
        Malformed::Form => ApiError::bad("IncompleteBody", "The request body terminated unexpectedly"),
        Malformed::Signature => auth::refused(Service::S3, Broken::Mismatch),
    }
}

/// Compares what came with what was said.
fn check(sink: Sink, file: u64, stated: Stated, trailers: &[(String, String)]) -> Result<Written, ApiError> {
    if sink.size != stated.length {
        return Err(incomplete());
    }
    if let (Some(own), Some(stated)) = (sink.sha256, &stated.sha256)
        && hex(&own.finalize()) != *stated
    {
        return Err(other_hash());
    }
    let digest: [u8; 16] = sink.md5.finalize().into();
    if stated.md5.is_some_and(|stated| stated != digest) {
        return Err(other_md5());
    }
    let checksum = match (stated.checksum, sink.checksum) {
        (Some((name, value)), Some(own)) => {
            let trailer = trailers.iter().find(|(known, _)| *known == name);
            let value = trailer.map_or(value, |(_, value)| value.clone());
            let kind = name.trim_start_matches("x-amz-checksum-").to_ascii_uppercase();
            if value.is_empty() {
                let text = format!("The {kind} that x-amz-trailer announced did not come.");
                return Err(ApiError::bad("MalformedTrailerError", text));
            }
            if own.text() != value {
                return Err(other_checksum(&name));
            }
            Some((name, value))
        }
        _ => None,
    };
    Ok(Written {
        file,
        size: sink.size,
        etag: hex(&digest),
        checksum,
    })
}
