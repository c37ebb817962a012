//! Objects: put, got (with ranges and conditions), removed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use md5::{Digest, Md5};

use super::body::receive;
use super::buckets::{ensure, make, malformed};
use super::{Request, empty_answer, set, xml_answer};
use crate::auth::{SigningKey, hex};
use crate::cloud::{Cloud, Inner};
use crate::error::ApiError;
use crate::store::catalog::{Bucket, Object};
use crate::store::{Layout, State};
use crate::{time, xml};

const CLASSES: [&str; 10] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "OUTPOSTS",
    "GLACIER_IR",
    "EXPRESS_ONEZONE",
];
/// Headers that come back with an object, beside `x-amz-meta-*`.
const KEPT: [&str; 7] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    "x-amz-server-side-encryption",
];
/// Most bytes of `x-amz-meta-*`.
const META_MAX: usize = 2048;
/// Bytes of an object that are read at once.
const STEP: u64 = 256 << 10;
/// Most keys of a `DeleteObjects`.
const DELETE_MAX: usize = 1000;

/// The headers of a request that are kept with its object.
pub(super) fn kept_headers(request: &Request) -> Result<BTreeMap<String, String>, ApiError> {
    let mut kept = BTreeMap::new();
    let mut meta = 0;
    for (name, value) in request.headers() {
        let name = name.as_str();
        let is_meta = name.starts_with("x-amz-meta-");
        if !is_meta && !KEPT.contains(&name) {
            continue;
        }
        let mut value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if name == "content-encoding" {
            // How the body was sent, not what it is.
            let parts = value
                .split(',')
                .map(str::trim)
                .filter(|part| *part != "aws-chunked");
            value = parts.collect::<Vec<_>>().join(",");
        }
        if is_meta {
            meta += name.len() - "x-amz-meta-".len() + value.len();
        }
        if !value.is_empty() {
            kept.insert(name.to_owned(), value);
        }
    }
    if meta > META_MAX {
        let text = "Your metadata headers exceed the maximum allowed metadata size";
        let error = ApiError::bad("MetadataTooLarge", text).with("Size", meta.to_string());
        return Err(error.with("MaxSizeAllowed", META_MAX.to_string()));
    }
    kept.entry("content-type".into())
        .or_insert_with(|| "binary/octet-stream".into());
    Ok(kept)
}

/// The storage class of a request.
pub(super) fn storage_class(request: &Request) -> Result<String, ApiError> {
    let class = request.header("x-amz-storage-class").unwrap_or("STANDARD");
    if CLASSES.contains(&class) {
        Ok(class.to_owned())
    } else {
        let text = "The storage class you specified is not valid";
        Err(ApiError::bad("InvalidStorageClass", text).with("StorageClassRequested", class))
    }
}

/// Puts an object into a bucket; the one before it goes. False where the bucket has gone.
pub(super) fn insert(state: &mut State, bucket: &str, key: &str, object: Object) -> bool {
    if !state.catalog.buckets.contains_key(bucket) {
        object.files.iter().for_each(|(file, _)| state.remove_file(*file));
        return false;
    }
    state.put(bucket, key, &object);
    let place = state.catalog.buckets.get_mut(bucket);
    let before = place.and_then(|place| place.objects.insert(key.to_owned(), object));
    let files = before.into_iter().flat_map(|before| before.files);
    files.for_each(|(file, _)| state.remove_file(file));
    true
}

impl Cloud {
    /// Puts an object; its bucket is made where it is missing.
    ///
    /// # Errors
    /// The system's, where it cannot be written.
    pub async fn put_object(&self, bucket: &str, key: &str, body: &[u8]) -> std::io::Result<()> {
        let now = time::now_ms();
        let file = self.0.store.look(State::new_file);
        std::fs::write(self.0.store.shared().layout.object(file), body)?;
        let object = Object {
            modified: now,
            etag: hex(&Md5::digest(body)),
            files: vec![(file, body.len() as u64)],
            headers: BTreeMap::from([("content-type".into(), "binary/octet-stream".into())]),
            checksum: None,
            storage_class: "STANDARD".into(),
        };
        let region = self.0.options.region.clone();
        let change = self.0.store.change(|state| {
            make(state, bucket, &region, now);
            insert(state, bucket, key, object)
        });
        change.await;
        Ok(())
    }

    /// An object's bytes; `None` where there is none.
    ///
    /// # Errors
    /// The system's, where it cannot be read.
    pub async fn object(&self, bucket: &str, key: &str) -> std::io::Result<Option<Vec<u8>>> {
        let found = self.0.store.look(|state| {
            let bucket = state.catalog.buckets.get(bucket)?;
            bucket.objects.get(key).map(|object| object.files.clone())
        });
        let Some(files) = found else { return Ok(None) };
        let layout = self.0.store.shared().layout.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            for (file, _) in files {
                all.extend(std::fs::read(layout.object(file))?);
            }
            Ok(Some(all))
        });
        read.await?
    }

    /// The keys of a bucket, in order.
    pub fn object_keys(&self, bucket: &str) -> Vec<String> {
        self.0.store.look(|state| {
            let bucket = state.catalog.buckets.get(bucket);
            bucket
                .map(|bucket| bucket.objects.keys().cloned().collect())
                .unwrap_or_default()
        })
    }
}

pub(super) async fn put(
    cloud: &Arc<Inner>,
    request: &Request,
    signing: Option<SigningKey>,
    body: &mut Body,
) -> Result<Response<Body>, ApiError> {
    let ready = async {
        ensure(cloud, request).await?;
        if request.header("if-none-match") == Some("*") && find(cloud, request).is_ok() {
            let text = "At least one of the pre-conditions you specified did not hold";
            return Err(ApiError::new(412, "PreconditionFailed", text).with("Condition", "If-None-Match"));
        }
        Ok((kept_headers(request)?, storage_class(request)?))
    };
    let (headers, storage_class) = match ready.await {
        Ok(ready) => ready,
        Err(error) => {
            super::drain(body).await;
            return Err(error);
        }
    };
    let written = receive(cloud, request, signing, body).await?;
    let object = Object {
        modified: request.asked.now,
        etag: written.etag.clone(),
        files: vec![(written.file, written.size)],
        headers,
        checksum: written.checksum.clone(),
        storage_class,
    };
    let change = cloud
        .store
        .change(|state| insert(state, &request.bucket, &request.key, object));
    if !change.await {
        return Err(request.no_bucket());
    }
    let mut response = empty_answer(StatusCode::OK);
    set(&mut response, "etag", &format!("\"{}\"", written.etag));
    if let Some((name, value)) = &written.checksum {
        set(&mut response, name, value);
        set(&mut response, "x-amz-checksum-type", "FULL_OBJECT");
    }
    Ok(response)
}

fn find(cloud: &Inner, request: &Request) -> Result<Object, ApiError> {
    cloud.store.look(|state| {
        let bucket = state.catalog.buckets.get(&request.bucket);
        let bucket = bucket.ok_or_else(|| request.no_bucket())?;
        bucket
            .objects
            .get(&request.key)
            .cloned()
            .ok_or_else(|| request.no_key())
    })
}

/// A part of an object's bytes, the end not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: u64,
    to: u64,
}

/// The range that a header asks for: `Ok(None)` for all of it, an error where it lies behind the end.
fn range(header: Option<&str>, size: u64) -> Result<Option<Span>, ()> {
    let Some((from, to)) = header
        .and_then(|text| text.trim().strip_prefix("bytes="))
        .and_then(|text| text.split_once('-'))
    else {
        return Ok(None);
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let span = match (number(from), number(to)) {
        (Some(from), Some(to)) if from <= to => Span {
            from,
            to: to.saturating_add(1).min(size),
        },
        (Some(from), None) if to.trim().is_empty() => Span { from, to: size },
        (None, Some(last)) if from.trim().is_empty() => Span {
            from: size.saturating_sub(last),
            to: if last == 0 { 0 } else { size },
        },
        // Not a range that S3 knows: all of it.
        _ => return Ok(None),
    };
    if span.from < span.to {
        Ok(Some(span))
    } else {
        Err(())
    }
}

/// The bytes of a part.
fn part(object: &Object, number: &str) -> Result<Span, ApiError> {
    let at = number
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_sub(1));
    let size = at.and_then(|at| object.files.get(at)).map(|(_, size)| *size);
    let bad = || {
        ApiError::new(
            416,
            "InvalidPartNumber",
            "The requested partnumber is not satisfiable",
        )
    };
    let (at, size) = at.zip(size).ok_or_else(bad)?;
    let from = object.files.iter().take(at).map(|(_, size)| size).sum();
    Ok(Span {
        from,
        to: from + size,
    })
}

/// Whether a condition lets the object be given: a status where it does not.
fn condition(request: &Request, object: &Object) -> Option<StatusCode> {
    let names = |header: &str| {
        header
            .split(',')
            .any(|tag| tag.trim() == "*" || tag.trim().trim_matches('"') == object.etag)
    };
    if request.header("if-match").is_some_and(|header| !names(header)) {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    if request.header("if-none-match").is_some_and(names) {
        return Some(StatusCode::NOT_MODIFIED);
    }
    None
}

pub(super) fn get(cloud: &Arc<Inner>, request: &Request) -> Result<Response<Body>, ApiError> {
    let object = find(cloud, request)?;
    match condition(request, &object) {
        Some(StatusCode::NOT_MODIFIED) => {
            let mut response = empty_answer(StatusCode::NOT_MODIFIED);
            set(&mut response, "etag", &format!("\"{}\"", object.etag));
            return Ok(response);
        }
        Some(_) => {
            let text = "At least one of the pre-conditions you specified did not hold";
            return Err(ApiError::new(412, "PreconditionFailed", text).with("Condition", "If-Match"));
        }
        None => {}
    }
    let size: u64 = object.files.iter().map(|(_, size)| size).sum();
    let asked = match request.param("partNumber") {
        Some(number) => Some(part(&object, number)?),
        None => range(request.header("range"), size).map_err(|()| {
            let error = ApiError::new(416, "InvalidRange", "The requested range is not satisfiable");
            error.with("ActualObjectSize", size.to_string())
        })?,
    };
    let span = asked.unwrap_or(Span { from: 0, to: size });
    let is_head = request.asked.head.method == Method::HEAD;
    let body = match is_head || span.from >= span.to {
        true => Body::empty(),
        false => stream(cloud.store.shared().layout.clone(), object.files.clone(), span),
    };
    let mut response = Response::new(body);
    if asked.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let text = format!("bytes {}-{}/{size}", span.from, span.to.saturating_sub(1));
        set(&mut response, "content-range", &text);
    }
    describe(&mut response, request, &object, asked.is_none());
    set(
        &mut response,
        "content-length",
        &(span.to - span.from).to_string(),
    );
    Ok(response)
}

/// The headers of an object.
fn describe(response: &mut Response<Body>, request: &Request, object: &Object, is_whole: bool) {
    for (name, value) in &object.headers {
        set(response, name, value);
    }
    for name in ["type", "disposition", "encoding", "language"] {
        if let Some(value) = request.param(&format!("response-content-{name}")) {
            set(response, &format!("content-{name}"), value);
        }
    }
    for name in ["cache-control", "expires"] {
        if let Some(value) = request.param(&format!("response-{name}")) {
            set(response, name, value);
        }
    }
    if request.has("partNumber") && object.files.len() > 1 {
        set(response, "x-amz-mp-parts-count", &object.files.len().to_string());
    }
    set(response, "etag", &format!("\"{}\"", object.etag));
    set(response, "last-modified", &time::http(object.modified));
    set(response, "accept-ranges", "bytes");
    if object.storage_class != "STANDARD" {
        set(response, "x-amz-storage-class", &object.storage_class);
    }
    // A checksum of the whole says nothing of a part.
    let wants = request
        .header("x-amz-checksum-mode")
        .is_some_and(|mode| mode.eq_ignore_ascii_case("enabled"));
    if let Some((name, value)) = object.checksum.as_ref().filter(|_| wants && is_whole) {
        set(response, name, value);
        set(response, "x-amz-checksum-type", "FULL_OBJECT");
    }
}

/// A body that reads files as the client takes it.
fn stream(layout: Layout, files: Vec<(u64, u64)>, span: Span) -> Body {
    let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(2);
    tokio::spawn(async move {
        if let Err(error) = send(&layout, files, span, &mut sender).await {
            sender.abort(error);
        }
    });
    Body::new(body)
}

async fn send(
    layout: &Layout,
    files: Vec<(u64, u64)>,
    span: Span,
    sender: &mut Sender<Bytes, std::io::Error>,
) -> std::io::Result<()> {
    let mut start = 0;
    for (number, size) in files {
        let (from, to) = (span.from.max(start), span.to.min(start + size));
        if from < to {
            let path = layout.object(number);
            let (mut at, end) = (from - start, to - start);
            // Opened at once: an object that is removed meanwhile is given to its end.
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(at))?;
            while at < end {
                let step = STEP.min(end - at);
                let read = tokio::task::spawn_blocking(move || {
                    let mut data = vec![0; step as usize];
                    let done = file.read_exact(&mut data);
                    (file, done.map(|()| data))
                });
                let (back, data) = read.await?;
                file = back;
                if sender.send_data(data?.into()).await.is_err() {
                    return Ok(()); // the client has gone
                }
                at += step;
            }
        }
        start += size;
    }
    Ok(())
}

fn remove(state: &mut State, bucket: &str, key: &str) {
    let place: Option<&mut Bucket> = state.catalog.buckets.get_mut(bucket);
    let object = place.and_then(|place| place.objects.remove(key));
    if let Some(object) = object {
        state.delete::<Object>(bucket, key);
        object.files.iter().for_each(|(file, _)| state.remove_file(*file));
    }
}

pub(super) async fn delete(cloud: &Arc<Inner>, request: &Request) -> Result<Response<Body>, ApiError> {
    let change = cloud.store.change(|state| {
        let is_there = state.catalog.buckets.contains_key(&request.bucket);
        remove(state, &request.bucket, &request.key);
        is_there
    });
    // An object that is not there is removed just as well.
    match change.await {
        true => Ok(empty_answer(StatusCode::NO_CONTENT)),
        false => Err(request.no_bucket()),
    }
}

pub(super) async fn delete_many(
    cloud: &Arc<Inner>,
    request: &Request,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let text = std::str::from_utf8(body).map_err(|_| malformed())?;
    let objects = xml::all(text, "Object").ok_or_else(malformed)?;
    let keys: Option<Vec<_>> = objects.iter().map(|object| xml::text(object, "Key")).collect();
    let keys = keys
        .filter(|keys| (1..=DELETE_MAX).contains(&keys.len()))
        .ok_or_else(malformed)?;
    let quiet = xml::text(text, "Quiet").is_some_and(|quiet| quiet == "true");
    let change = cloud.store.change(|state| {
        let is_there = state.catalog.buckets.contains_key(&request.bucket);
        keys.iter().for_each(|key| remove(state, &request.bucket, key));
        is_there
    });
    if !change.await {
        return Err(request.no_bucket());
    }
    let mut out = String::new();
    for key in keys.iter().filter(|_| !quiet) {
        out.push_str("<Deleted>");
        xml::element(&mut out, "Key", key);
        out.push_str("</Deleted>");
    }
    Ok(xml_answer("DeleteResult", &out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let span = |from, to| Ok(Some(Span { from, to }));
        assert_eq!(range(Some("bytes=0-3"), 10), span(0, 4));
        assert_eq!(range(Some("bytes=5-"), 10), span(5, 10));
        assert_eq!(range(Some("bytes=-3"), 10), span(7, 10));
        assert_eq!(range(Some("bytes=-30"), 10), span(0, 10));
        assert_eq!(range(Some("bytes=8-99"), 10), span(8, 10));
        assert_eq!(range(Some("bytes=10-"), 10), Err(()));
        assert_eq!(range(Some("bytes=-0"), 10), Err(()));
        for all in [
            None,
            Some("bytes=5-2"),
            Some("items=1-2"),
            Some("bytes=1-2,4-5"),
            Some("bytes=x-"),
        ] {
            assert_eq!(range(all, 10), Ok(None), "{all:?}");
        }
    }
}
