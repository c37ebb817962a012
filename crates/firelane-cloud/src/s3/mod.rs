//! S3: buckets, objects, multipart uploads. Path style and virtual-host style.
//!
//! Bodies go to files as they come, up to 5 GiB; `aws-chunked` bodies are taken apart, their signatures,
//! trailing checksums and lengths checked. Not here: versions, ACLs (`x-amz-acl` has no effect),
//! encryption, copies, tags, lifecycle: requests for those are refused by name, with NotImplemented.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/>

mod body;
mod buckets;
mod checksum;
mod chunked;
mod list;
mod multipart;
mod objects;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use bytes::Bytes;

use crate::auth;
use crate::error::ApiError;
use crate::faults::Fate;
use crate::server::{Asked, Payload, Server, befall, piece, unknown_operation};
use crate::service::Service;
use crate::uri;

pub(crate) const OPERATIONS: &[&str] = &[
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CreateBucket",
    "CreateMultipartUpload",
    "DeleteBucket",
    "DeleteObject",
    "DeleteObjects",
    "GetBucketLocation",
    "GetObject",
    "HeadBucket",
    "HeadObject",
    "ListBuckets",
    "ListMultipartUploads",
    "ListObjects",
    "ListObjectsV2",
    "ListParts",
    "PutObject",
    "UploadPart",
];

/// What stands for the host that answered.
pub(crate) const HOST_ID: &str = "firelane-local";
/// Namespace of answers.
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
/// Most bytes of a key.
const KEY_MAX: usize = 1024;
/// Bytes of a refused body that are read, so that the client sees the answer.
const DRAIN_MAX: usize = 64 << 20;

/// A request to S3, taken apart.
pub(crate) struct Request {
    pub(crate) asked: Asked,
    /// Empty for the list of buckets.
    bucket: String,
    /// Empty for the bucket itself.
    key: String,
    query: Vec<(String, String)>,
}

impl Request {
    fn read(asked: Asked) -> Result<Self, ApiError> {
        let path = uri::decode(asked.head.uri.path());
        let bad = || ApiError::bad("InvalidURI", "Couldn't parse the specified URI.");
        let path = String::from_utf8(path).map_err(|_| bad())?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let host = asked
            .head
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let (bucket, key) = match virtual_bucket(host.unwrap_or_default()) {
            Some(bucket) => (bucket.to_owned(), path.to_owned()),
            None => {
                let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                (bucket.to_owned(), key.to_owned())
            }
        };
        let owned = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let query = uri::pairs(asked.head.uri.query().unwrap_or_default());
        let query = query.map(|(name, value)| (owned(name), owned(value))).collect();
        if key.len() > KEY_MAX {
            let error = ApiError::bad("KeyTooLongError", "Your key is too long");
            return Err(error
                .with("Size", key.len().to_string())
                .with("MaxSizeAllowed", KEY_MAX.to_string()));
        }
        Ok(Self {
            asked,
            bucket,
            key,
            query,
        })
    }

    fn param(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.param(name).is_some()
    }

    fn headers(&self) -> &HeaderMap {
        &self.asked.head.headers
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    fn no_bucket(&self) -> ApiError {
        ApiError::new(404, "NoSuchBucket", "The specified bucket does not exist")
            .with("BucketName", &*self.bucket)
    }

    fn no_key(&self) -> ApiError {
        ApiError::new(404, "NoSuchKey", "The specified key does not exist.").with("Key", &*self.key)
    }
}

/// The bucket in a host name such as `logs.s3.us-east-1.amazonaws.com` or `logs.localhost:4566`.
fn virtual_bucket(host: &str) -> Option<&str> {
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    let local = host
        .strip_suffix(".localhost")
        .or_else(|| host.strip_suffix(".localhost.localdomain"));
    if let Some(bucket) = local {
        let bucket = bucket.strip_suffix(".s3").unwrap_or(bucket);
        return (bucket != "s3").then_some(bucket);
    }
    let at = host.find(".s3.").or_else(|| host.find(".s3-"))?;
    host.get(..at).filter(|bucket| !bucket.is_empty())
}

/// Query members that select a part of S3 that is not here.
const FOREIGN: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "attributes",
    "cors",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "tagging",
    "torrent",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Answers a request.
pub(crate) async fn answer(
    server: &Server,
    asked: Asked,
    mut body: Body,
    fate: &mut Fate,
) -> Result<Response<Body>, ApiError> {
    let checked = Request::read(asked).and_then(|request| {
        let payload = || {
            Payload::Stated(if request.has("X-Amz-Signature") {
                "UNSIGNED-PAYLOAD"
            } else {
                EMPTY
            })
        };
        let key = server.authenticate(Service::S3, &request.asked, payload)?;
        befall(Service::S3, fate)?;
        Ok((request, key))
    });
    let (request, key) = match checked {
        Ok(checked) => checked,
        Err(error) => {
            drain(&mut body).await;
            return Err(error);
        }
    };
    route(server, request, key, &mut body).await
}

/// SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

async fn route(
    server: &Server,
    request: Request,
    key: Option<auth::SigningKey>,
    body: &mut Body,
) -> Result<Response<Body>, ApiError> {
    let method = request.asked.head.method.clone();
    if let Some(name) = FOREIGN.iter().find(|name| request.has(name)) {
        drain(body).await;
        return Err(unknown_operation(Service::S3, &format!("{method} ?{name}")));
    }
    let cloud = &server.cloud;
    let at_key = !request.key.is_empty();
    match (method, at_key) {
        (Method::GET, false) if request.bucket.is_empty() => Ok(buckets::list(cloud)),
        (Method::GET, false) if request.has("location") => buckets::location(cloud, &request),
        (Method::GET, false) if request.has("uploads") => multipart::uploads(cloud, &request),
        (Method::GET, false) => list::objects(cloud, &request),
        (Method::HEAD, false) => buckets::head(cloud, &request),
        (Method::PUT, false) => {
            let given = collect(server, &request, body).await?;
            buckets::create(cloud, &request, &given).await
        }
        (Method::DELETE, false) => buckets::delete(cloud, &request).await,
        (Method::POST, false) if request.has("delete") => {
            let given = collect(server, &request, body).await?;
            objects::delete_many(cloud, &request, &given).await
        }
        (Method::GET, true) if request.has("uploadId") => multipart::parts(cloud, &request),
        (Method::GET | Method::HEAD, true) => objects::get(cloud, &request),
        (Method::PUT, true) if request.headers().contains_key("x-amz-copy-source") => {
            Err(unknown_operation(Service::S3, "CopyObject"))
        }
        (Method::PUT, true) if request.has("uploadId") || request.has("partNumber") => {
            multipart::upload(cloud, &request, key, body).await
        }
        (Method::PUT, true) => objects::put(cloud, &request, key, body).await,
        (Method::POST, true) if request.has("uploads") => multipart::create(cloud, &request).await,
        (Method::POST, true) if request.has("uploadId") => {
            let given = collect(server, &request, body).await?;
            multipart::complete(cloud, &request, &given).await
        }
        (Method::DELETE, true) if request.has("uploadId") => multipart::abort(cloud, &request).await,
        (Method::DELETE, true) => objects::delete(cloud, &request).await,
        (method, _) => Err(unknown_operation(
            Service::S3,
            &format!("{method} {}", request.asked.head.uri.path()),
        )),
    }
}

/// Reads a small body, and checks it against what the request says of it.
async fn collect(server: &Server, request: &Request, body: &mut Body) -> Result<Bytes, ApiError> {
    let given = std::mem::take(body);
    let given = server.collect(Service::S3, &request.asked.head, given).await?;
    body::check_small(request, &given)?;
    Ok(given)
}

/// Reads what a refused request still sends, within bounds.
async fn drain(body: &mut Body) {
    let mut read = 0;
    while read < DRAIN_MAX
        && let Ok(Some(data)) = piece(Service::S3, body).await
    {
        read += data.len();
    }
}

/// An answer of XML: `root` with the namespace, and what is in it.
fn xml_answer(root: &str, inside: &str) -> Response<Body> {
    let text = format!(
        "{}<{root} xmlns=\"{NAMESPACE}\">{inside}</{root}>",
        crate::xml::DECLARATION
    );
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("application/xml");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// An answer without body.
fn empty_answer(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Sets a header, where its value can be one.
fn set(response: &mut Response<Body>, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (
        HeaderName::try_from(name),
        HeaderValue::from_bytes(value.as_bytes()),
    ) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_in_host_names() {
        for (host, want) in [
            ("127.0.0.1:4566", None),
            ("[::1]:4566", None),
            ("localhost:4566", None),
            ("s3.localhost:4566", None),
            ("logs.localhost:4566", Some("logs")),
            ("my.logs.s3.localhost", Some("my.logs")),
            ("logs.s3.amazonaws.com", Some("logs")),
            ("logs.s3.eu-west-1.amazonaws.com:443", Some("logs")),
            ("logs.s3-eu-west-1.amazonaws.com", Some("logs")),
            ("s3.us-east-1.amazonaws.com", None),
            ("", None),
        ] {
            assert_eq!(virtual_bucket(host), want, "{host}");
        }
    }
}
