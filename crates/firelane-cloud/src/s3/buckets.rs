//! Buckets: made, listed, found, removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Response, StatusCode};

use super::{Request, empty_answer, set, xml_answer};
use crate::cloud::{Cloud, Inner};
use crate::error::ApiError;
use crate::store::State;
use crate::store::catalog::Bucket;
use crate::{time, xml};

/// Whether a bucket may have this name.
pub(super) fn is_name(name: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-';
    let is_address = name.parse::<std::net::Ipv4Addr>().is_ok();
    (3..=63).contains(&name.len())
        && edge(name.bytes().next())
        && edge(name.bytes().next_back())
        && name.bytes().all(inner)
        && !name.contains("..")
        && !is_address
}

/// Makes a bucket; false where it is there.
pub(super) fn make(state: &mut State, name: &str, region: &str, now: i64) -> bool {
    if state.catalog.buckets.contains_key(name) {
        return false;
    }
    let bucket = Bucket {
        created: now,
        region: region.to_owned(),
        objects: BTreeMap::new(),
        uploads: BTreeMap::new(),
    };
    state.put("", name, &bucket);
    state.catalog.buckets.insert(name.to_owned(), bucket);
    true
}

impl Cloud {
    /// Makes a bucket, if there is none of this name.
    pub async fn make_bucket(&self, name: &str) {
        let region = self.0.options.region.clone();
        let change = self
            .0
            .store
            .change(|state| make(state, name, &region, time::now_ms()));
        change.await;
    }
}

/// Makes sure that the bucket of a request is there: an error, or it is made.
pub(super) async fn ensure(cloud: &Arc<Inner>, request: &Request) -> Result<(), ApiError> {
    let name = &request.bucket;
    if cloud.store.look(|state| state.catalog.buckets.contains_key(name)) {
        return Ok(());
    }
    if !cloud.is_creating() || !is_name(name) {
        return Err(request.no_bucket());
    }
    let now = request.asked.now;
    let change = cloud
        .store
        .change(|state| make(state, name, &cloud.options.region, now));
    if change.await {
        cloud.note_created("bucket", name);
    }
    Ok(())
}

pub(super) async fn create(
    cloud: &Arc<Inner>,
    request: &Request,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let name = &request.bucket;
    if !is_name(name) {
        let error = ApiError::bad("InvalidBucketName", "The specified bucket is not valid.");
        return Err(error.with("BucketName", &**name));
    }
    let text = String::from_utf8_lossy(body);
    let constraint = xml::text(&text, "LocationConstraint").filter(|region| !region.is_empty());
    if !body.trim_ascii().is_empty()
        && xml::all(&text, "CreateBucketConfiguration").is_none_or(|all| all.is_empty())
    {
        return Err(malformed());
    }
    let own = &cloud.options.region;
    let region = constraint.unwrap_or_else(|| own.clone());
    let now = request.asked.now;
    let is_new = cloud.store.change(|state| make(state, name, &region, now)).await;
    // us-east-1 takes it again, as it always did.
    if !is_new && own != "us-east-1" {
        let text = "Your previous request to create the named bucket succeeded and you already own it.";
        let error = ApiError::new(409, "BucketAlreadyOwnedByYou", text);
        return Err(error.with("BucketName", &**name));
    }
    let mut response = empty_answer(StatusCode::OK);
    set(&mut response, "location", &format!("/{name}"));
    Ok(response)
}

/// A body that is not the XML of its operation.
pub(super) fn malformed() -> ApiError {
    ApiError::bad(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

pub(super) fn list(cloud: &Arc<Inner>) -> Response<Body> {
    let mut out = String::from("<Owner>");
    xml::element(&mut out, "ID", &cloud.options.account);
    out.push_str("</Owner><Buckets>");
    cloud.store.look(|state| {
        for (name, bucket) in &state.catalog.buckets {
            out.push_str("<Bucket>");
            xml::element(&mut out, "Name", name);
            xml::element(&mut out, "CreationDate", &time::iso(bucket.created));
            out.push_str("</Bucket>");
        }
    });
    out.push_str("</Buckets>");
    xml_answer("ListAllMyBucketsResult", &out)
}

fn region(cloud: &Inner, request: &Request) -> Result<String, ApiError> {
    let found = |state: &mut State| {
        let bucket = state.catalog.buckets.get(&request.bucket)?;
        Some(bucket.region.clone())
    };
    cloud.store.look(found).ok_or_else(|| request.no_bucket())
}

pub(super) fn location(cloud: &Arc<Inner>, request: &Request) -> Result<Response<Body>, ApiError> {
    let region = region(cloud, request)?;
    // The oldest region has no name here.
    let text = if region == "us-east-1" { "" } else { &region };
    Ok(xml_answer("LocationConstraint", &xml::escape(text)))
}

pub(super) fn head(cloud: &Arc<Inner>, request: &Request) -> Result<Response<Body>, ApiError> {
    let region = region(cloud, request)?;
    let mut response = empty_answer(StatusCode::OK);
    set(&mut response, "x-amz-bucket-region", &region);
    set(&mut response, "x-amz-access-point-alias", "false");
    Ok(response)
}

pub(super) async fn delete(cloud: &Arc<Inner>, request: &Request) -> Result<Response<Body>, ApiError> {
    let name = &request.bucket;
    let change = cloud.store.change(|state| {
        let bucket = state
            .catalog
            .buckets
            .get(name)
            .ok_or_else(|| request.no_bucket())?;
        if !bucket.objects.is_empty() || !bucket.uploads.is_empty() {
            let text = "The bucket you tried to delete is not empty";
            return Err(ApiError::new(409, "BucketNotEmpty", text).with("BucketName", &**name));
        }
        state.catalog.buckets.remove(name);
        state.delete::<Bucket>("", name);
        Ok(())
    });
    change.await?;
    Ok(empty_answer(StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["abc", "my.logs-1", &"a".repeat(63)] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "ab",
            "Abc",
            "-ab",
            "ab-",
            "a..b",
            "192.168.0.1",
            "a_b",
            &"a".repeat(64),
            "é12",
        ] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
