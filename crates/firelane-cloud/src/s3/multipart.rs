//! Multipart uploads. A part stays the file that it was written to: completing an upload copies nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use md5::{Digest, Md5};

use super::body::receive;
use super::buckets::{ensure, malformed};
use super::objects::{insert, kept_headers, storage_class};
use super::{Request, empty_answer, set, xml_answer};
use crate::auth::{SigningKey, hex};
use crate::cloud::Inner;
use crate::error::ApiError;
use crate::store::State;
use crate::store::catalog::{Object, PartOf, Upload};
use crate::{time, xml};

/// Highest number of a part.
const PARTS_MAX: u32 = 10_000;
/// Fewest bytes of a part that is not the last.
const PART_MIN: u64 = 5 << 20;
/// Most parts or uploads of an answer.
const PAGE_MAX: usize = 1000;

fn no_upload(id: &str) -> ApiError {
    let text = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";
    ApiError::new(404, "NoSuchUpload", text).with("UploadId", id)
}

/// The upload of a request.
fn find<'s>(state: &'s mut State, request: &Request) -> Result<&'s mut Upload, ApiError> {
    let id = request.param("uploadId").unwrap_or_default();
    let bucket = state.catalog.buckets.get_mut(&request.bucket);
    let bucket = bucket.ok_or_else(|| request.no_bucket())?;
    let upload = bucket
        .uploads
        .get_mut(id)
        .filter(|upload| upload.key == request.key);
    upload.ok_or_else(|| no_upload(id))
}

pub(super) async fn create(cloud: &Arc<Inner>, request: &Request) -> Result<Response<Body>, ApiError> {
    ensure(cloud, request).await?;
    let upload = Upload {
        key: request.key.clone(),
        started: request.asked.now,
        headers: kept_headers(request)?,
        storage_class: storage_class(request)?,
        parts: BTreeMap::new(),
    };
    let id = cloud.letters(64, false);
    let change = cloud.store.change(|state| {
        if !state.catalog.buckets.contains_key(&request.bucket) {
            return Err(request.no_bucket());
        }
        state.put(&request.bucket, &id, &upload);
        let bucket = state.catalog.buckets.get_mut(&request.bucket);
        bucket.map(|bucket| bucket.uploads.insert(id.clone(), upload));
        Ok(())
    });
    change.await?;
    let mut out = String::new();
    xml::element(&mut out, "Bucket", &request.bucket);
    xml::element(&mut out, "Key", &request.key);
    xml::element(&mut out, "UploadId", &id);
    let mut response = xml_answer("InitiateMultipartUploadResult", &out);
    if let Some(algorithm) = request.header("x-amz-checksum-algorithm") {
        set(&mut response, "x-amz-checksum-algorithm", algorithm);
    }
    Ok(response)
}

pub(super) async fn upload(
    cloud: &Arc<Inner>,
    request: &Request,
    signing: Option<SigningKey>,
    body: &mut Body,
) -> Result<Response<Body>, ApiError> {
    let number = request
        .param("partNumber")
        .and_then(|text| text.parse::<u32>().ok());
    let number = number.filter(|number| (1..=PARTS_MAX).contains(number));
    let ready = number.ok_or_else(|| {
        let text = format!("Part number must be an integer between 1 and {PARTS_MAX}, inclusive");
        ApiError::bad("InvalidArgument", text).with("ArgumentName", "partNumber")
    });
    let ready = ready.and_then(|number| cloud.store.look(|state| find(state, request).map(|_| number)));
    let number = match ready {
        Ok(number) => number,
        Err(error) => {
            super::drain(body).await;
            return Err(error);
        }
    };
    let written = receive(cloud, request, signing, body).await?;
    let part = PartOf {
        file: written.file,
        size: written.size,
        etag: written.etag.clone(),
        modified: request.asked.now,
        checksum: written.checksum.clone(),
    };
    let id = request.param("uploadId").unwrap_or_default();
    let change = cloud.store.change(|state| {
        let upload = match find(state, request) {
            Ok(upload) => upload,
            Err(error) => {
                state.remove_file(part.file);
                return Err(error);
            }
        };
        let before = upload.parts.insert(number, part.clone());
        state.put(id, &number.to_string(), &part);
        if let Some(before) = before {
            state.remove_file(before.file);
        }
        Ok(())
    });
    change.await?;
    let mut response = empty_answer(StatusCode::OK);
    set(&mut response, "etag", &format!("\"{}\"", written.etag));
    if let Some((name, value)) = &written.checksum {
        set(&mut response, name, value);
    }
    Ok(response)
}

/// A part as a client names it when it completes an upload.
struct Named {
    number: u32,
    etag: String,
    /// Checksum's header and value.
    checksum: Option<(String, String)>,
}

fn named(body: &[u8]) -> Result<Vec<Named>, ApiError> {
    let text = std::str::from_utf8(body).map_err(|_| malformed())?;
    let parts = xml::all(text, "Part").ok_or_else(malformed)?;
    let read = parts.into_iter().map(|part| {
        let number = xml::text(part, "PartNumber")?.parse().ok()?;
        let etag = xml::text(part, "ETag")?.trim_matches('"').to_owned();
        let checksum = super::checksum::HEADERS.iter().find_map(|header| {
            let kind = header.trim_start_matches("x-amz-checksum-").to_ascii_uppercase();
            let value = xml::text(part, &format!("Checksum{kind}"))?;
            Some(((*header).to_owned(), value))
        });
        Some(Named {
            number,
            etag,
            checksum,
        })
    });
    let read: Option<Vec<_>> = read.collect();
    read.filter(|parts| !parts.is_empty()).ok_or_else(malformed)
}

/// The parts that make the object, in order, if they may.
fn choose(upload: &Upload, named: &[Named]) -> Result<Vec<PartOf>, ApiError> {
    if !named.iter().map(|part| part.number).is_sorted_by(|a, b| a < b) {
        let text = "The list of parts was not in ascending order. Parts must be ordered by part number.";
        return Err(ApiError::bad("InvalidPartOrder", text));
    }
    let mut chosen = Vec::with_capacity(named.len());
    for part in named {
        let found = upload.parts.get(&part.number).filter(|found| {
            let both = part.checksum.as_ref().zip(found.checksum.as_ref());
            found.etag == part.etag && both.is_none_or(|(named, own)| named.0 != own.0 || named.1 == own.1)
        });
        let found = found.ok_or_else(|| {
            let text = "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.";
            let error = ApiError::bad("InvalidPart", text).with("PartNumber", part.number.to_string());
            error.with("ETag", &*part.etag)
        })?;
        chosen.push(found.clone());
    }
    let before_last = chosen.len().saturating_sub(1);
    let small = chosen
        .iter()
        .take(before_last)
        .position(|part| part.size < PART_MIN);
    if let Some((part, named)) = small.and_then(|at| chosen.get(at).zip(named.get(at))) {
        let text = "Your proposed upload is smaller than the minimum allowed size";
        let error = ApiError::bad("EntityTooSmall", text).with("ProposedSize", part.size.to_string());
        let error = error.with("MinSizeAllowed", PART_MIN.to_string());
        return Err(error
            .with("PartNumber", named.number.to_string())
            .with("ETag", &*part.etag));
    }
    Ok(chosen)
}

/// The tag of an object made of parts.
fn joined_etag(parts: &[PartOf]) -> String {
    let mut md5 = Md5::new();
    for part in parts {
        let pairs = part.etag.as_bytes().chunks_exact(2);
        let digest = pairs.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        md5.update(digest.collect::<Vec<_>>());
    }
    format!("{}-{}", hex(&md5.finalize()), parts.len())
}

/// Forgets an upload and the files of the parts that are not `kept`.
fn forget(state: &mut State, request: &Request, kept: &[PartOf]) {
    let id = request.param("uploadId").unwrap_or_default();
    let bucket = state.catalog.buckets.get_mut(&request.bucket);
    let Some(upload) = bucket.and_then(|bucket| bucket.uploads.remove(id)) else {
        return;
    };
    state.delete::<Upload>(&request.bucket, id);
    for (number, part) in upload.parts {
        state.delete::<PartOf>(id, &number.to_string());
        if !kept.iter().any(|kept| kept.file == part.file) {
            state.remove_file(part.file);
        }
    }
}

pub(super) async fn complete(
    cloud: &Arc<Inner>,
    request: &Request,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let named = named(body)?;
    let change = cloud.store.change(|state| {
        let upload = find(state, request)?;
        let parts = choose(upload, &named)?;
        let etag = joined_etag(&parts);
        let object = Object {
            modified: request.asked.now,
            etag: etag.clone(),
            files: parts.iter().map(|part| (part.file, part.size)).collect(),
            headers: upload.headers.clone(),
            checksum: None,
            storage_class: upload.storage_class.clone(),
        };
        forget(state, request, &parts);
        insert(state, &request.bucket, &request.key, object);
        Ok(etag)
    });
    let etag = change.await?;
    let mut out = String::new();
    let host = request.header("host").unwrap_or("localhost");
    xml::element(
        &mut out,
        "Location",
        &format!("http://{host}/{}/{}", request.bucket, request.key),
    );
    xml::element(&mut out, "Bucket", &request.bucket);
    xml::element(&mut out, "Key", &request.key);
    xml::element(&mut out, "ETag", &format!("\"{etag}\""));
    Ok(xml_answer("CompleteMultipartUploadResult", &out))
}

pub(super) async fn abort(cloud: &Arc<Inner>, request: &Request) -> Result<Response<Body>, ApiError> {
    let change = cloud.store.change(|state| {
        find(state, request)?;
        forget(state, request, &[]);
        Ok(())
    });
    change.await?;
    Ok(empty_answer(StatusCode::NO_CONTENT))
}

/// How many entries an answer may have.
fn most(request: &Request, name: &str) -> Result<usize, ApiError> {
    match request.param(name).map(str::parse::<usize>) {
        None => Ok(PAGE_MAX),
        Some(Ok(most)) => Ok(most.min(PAGE_MAX)),
        Some(Err(_)) => Err(ApiError::bad(
            "InvalidArgument",
            format!("Argument {name} must be an integer"),
        )),
    }
}

pub(super) fn parts(cloud: &Arc<Inner>, request: &Request) -> Result<Response<Body>, ApiError> {
    let most = most(request, "max-parts")?;
    let marker = request.param("part-number-marker").unwrap_or("0");
    let after: u32 = marker.parse().unwrap_or(0);
    let (page, more, class) = cloud.store.look(|state| {
        let upload = find(state, request)?;
        let mut behind = upload.parts.range(after.saturating_add(1)..);
        let page: Vec<_> = behind
            .by_ref()
            .take(most)
            .map(|(number, part)| (*number, part.clone()))
            .collect();
        Ok::<_, ApiError>((page, behind.next().is_some(), upload.storage_class.clone()))
    })?;
    let mut out = String::new();
    xml::element(&mut out, "Bucket", &request.bucket);
    xml::element(&mut out, "Key", &request.key);
    xml::element(
        &mut out,
        "UploadId",
        request.param("uploadId").unwrap_or_default(),
    );
    xml::element(&mut out, "PartNumberMarker", &after.to_string());
    let last = page.last().map_or(after, |(number, _)| *number);
    xml::element(&mut out, "NextPartNumberMarker", &last.to_string());
    xml::element(&mut out, "MaxParts", &most.to_string());
    xml::element(&mut out, "IsTruncated", if more { "true" } else { "false" });
    for (number, part) in &page {
        out.push_str("<Part>");
        xml::element(&mut out, "PartNumber", &number.to_string());
        xml::element(&mut out, "LastModified", &time::iso(part.modified));
        xml::element(&mut out, "ETag", &format!("\"{}\"", part.etag));
        xml::element(&mut out, "Size", &part.size.to_string());
        if let Some((name, value)) = &part.checksum {
            let kind = name.trim_start_matches("x-amz-checksum-").to_ascii_uppercase();
            xml::element(&mut out, &format!("Checksum{kind}"), value);
        }
        out.push_str("</Part>");
    }
    xml::element(&mut out, "StorageClass", &class);
    Ok(xml_answer("ListPartsResult", &out))
}

pub(super) fn uploads(cloud: &Arc<Inner>, request: &Request) -> Result<Response<Body>, ApiError> {
    let most = most(request, "max-uploads")?;
    let param = |name: &str| request.param(name).unwrap_or_default();
    let (prefix, key_marker, id_marker) = (param("prefix"), param("key-marker"), param("upload-id-marker"));
    if request.has("delimiter") {
        let text = "ListMultipartUploads with a delimiter";
        return Err(crate::server::unknown_operation(
            crate::service::Service::S3,
            text,
        ));
    }
    let mut all = cloud.store.look(|state| {
        let bucket = state.catalog.buckets.get(&request.bucket)?;
        let all = bucket
            .uploads
            .iter()
            .filter(|(_, upload)| upload.key.starts_with(prefix));
        let all = all.map(|(id, upload)| {
            (
                upload.key.clone(),
                id.clone(),
                upload.started,
                upload.storage_class.clone(),
            )
        });
        Some(all.collect::<Vec<_>>())
    });
    let all = all.as_mut().ok_or_else(|| request.no_bucket())?;
    all.sort();
    all.retain(|(key, id, ..)| {
        key.as_str() > key_marker || (key == key_marker && !id_marker.is_empty() && id.as_str() > id_marker)
    });
    let more = all.len() > most;
    all.truncate(most);
    let mut out = String::new();
    xml::element(&mut out, "Bucket", &request.bucket);
    xml::element(&mut out, "KeyMarker", key_marker);
    xml::element(&mut out, "UploadIdMarker", id_marker);
    if let Some((key, id, ..)) = all.last().filter(|_| more) {
        xml::element(&mut out, "NextKeyMarker", key);
        xml::element(&mut out, "NextUploadIdMarker", id);
    }
    xml::element(&mut out, "Prefix", prefix);
    xml::element(&mut out, "MaxUploads", &most.to_string());
    xml::element(&mut out, "IsTruncated", if more { "true" } else { "false" });
    for (key, id, started, class) in all.iter() {
        out.push_str("<Upload>");
        xml::element(&mut out, "Key", key);
        xml::element(&mut out, "UploadId", id);
        xml::element(&mut out, "StorageClass", class);
        xml::element(&mut out, "Initiated", &time::iso(*started));
        out.push_str("</Upload>");
    }
    Ok(xml_answer("ListMultipartUploadsResult", &out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(sizes: &[u64]) -> Upload {
        let parts = sizes.iter().zip(1..).map(|(size, number)| {
            let part = PartOf {
                file: u64::from(number),
                size: *size,
                etag: format!("{number:032x}"),
                modified: 0,
                checksum: None,
            };
            (number, part)
        });
        Upload {
            key: "k".into(),
            started: 0,
            headers: BTreeMap::new(),
            storage_class: "STANDARD".into(),
            parts: parts.collect(),
        }
    }

    fn name(numbers: &[u32]) -> Vec<Named> {
        let named = numbers.iter().map(|number| Named {
            number: *number,
            etag: format!("{number:032x}"),
            checksum: None,
        });
        named.collect()
    }

    #[track_caller]
    fn refused(sizes: &[u64], numbers: &[u32], code: &str) {
        let error = choose(&upload(sizes), &name(numbers)).unwrap_err();
        assert_eq!(error.code, code);
    }

    #[test]
    fn what_completes_an_upload() {
        refused(&[PART_MIN, 1], &[2, 1], "InvalidPartOrder");
        refused(&[PART_MIN, 1], &[1, 1], "InvalidPartOrder");
        refused(&[PART_MIN, 1], &[1, 3], "InvalidPart");
        refused(&[PART_MIN - 1, 1], &[1, 2], "EntityTooSmall");
        assert_eq!(choose(&upload(&[PART_MIN, 1]), &name(&[1, 2])).unwrap().len(), 2);
        assert_eq!(
            choose(&upload(&[1]), &name(&[1])).unwrap().len(),
            1,
            "the last may be small"
        );
        let mut other = name(&[1]);
        other[0].etag = "x".into();
        assert_eq!(choose(&upload(&[1]), &other).unwrap_err().code, "InvalidPart");
    }

    #[test]
    fn bodies_that_name_parts() {
        let body = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"a\"</ETag>\
            <ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part></CompleteMultipartUpload>";
        let parts = named(body).unwrap();
        assert_eq!((parts[0].number, parts[0].etag.as_str()), (1, "a"));
        assert_eq!(parts[0].checksum.as_ref().unwrap().0, "x-amz-checksum-crc32");
        for bad in [&b""[..], b"<x/>", b"<Part></Part>", b"\xff"] {
            assert_eq!(named(bad).err().unwrap().code, "MalformedXML");
        }
    }
}
