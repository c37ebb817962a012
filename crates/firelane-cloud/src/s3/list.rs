//! `ListObjectsV2` and `ListObjects`.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;

use super::{Request, xml_answer};
use crate::cloud::Inner;
use crate::error::ApiError;
use crate::store::catalog::Object;
use crate::{time, uri, xml};

/// Most keys of an answer.
const KEYS_MAX: usize = 1000;

/// Keys and common prefixes of a page.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    keys: Vec<String>,
    prefixes: Vec<String>,
    /// What the next page begins behind, where there is one.
    next: Option<String>,
}

/// The first `most` entries behind `after`. Keys that hold the delimiter behind the prefix stand together
/// as one.
fn page<T>(objects: &BTreeMap<String, T>, prefix: &str, delimiter: &str, after: &str, most: usize) -> Page {
    let mut page = Page::default();
    let mut last = String::new();
    let mut from = if after < prefix {
        (prefix.to_owned(), true)
    } else {
        (after.to_owned(), false)
    };
    loop {
        let bound = match from.1 {
            true => Bound::Included(from.0.as_str()),
            false => Bound::Excluded(from.0.as_str()),
        };
        let next = objects.range::<str, _>((bound, Bound::Unbounded)).next();
        let Some((key, _)) = next.filter(|(key, _)| key.starts_with(prefix)) else {
            return page;
        };
        let common = common(key, prefix, delimiter);
        if common.is_none_or(|common| common > after) {
            if page.keys.len() + page.prefixes.len() >= most {
                page.next = Some(last);
                return page;
            }
            last = common.unwrap_or(key).to_owned();
            match common {
                Some(common) => page.prefixes.push(common.to_owned()),
                None => page.keys.push(key.clone()),
            }
        }
        from = match common {
            // Behind everything that begins so.
            Some(common) => (format!("{common}{}", char::MAX), true),
            None => (key.clone(), false),
        };
    }
}

/// What a key has in common with its neighbours: up to the delimiter behind the prefix.
fn common<'k>(key: &'k str, prefix: &str, delimiter: &str) -> Option<&'k str> {
    if delimiter.is_empty() {
        return None;
    }
    let at = key.get(prefix.len()..)?.find(delimiter)?;
    key.get(..prefix.len() + at + delimiter.len())
}

/// What a request asks for.
struct Asked<'r> {
    request: &'r Request,
    is_v2: bool,
    prefix: &'r str,
    delimiter: &'r str,
    most: usize,
    /// Of the second version: where an earlier page ended.
    token: Option<&'r str>,
    after: String,
    /// Keys come percent-encoded.
    encodes: bool,
}

impl<'r> Asked<'r> {
    fn read(request: &'r Request) -> Result<Self, ApiError> {
        let bad = |text: &str| ApiError::bad("InvalidArgument", text);
        let param = |name: &str| request.param(name).unwrap_or_default();
        let is_v2 = param("list-type") == "2";
        let most = match request.param("max-keys").map(str::parse::<u32>) {
            None => KEYS_MAX,
            Some(Ok(number)) => (number as usize).min(KEYS_MAX),
            Some(Err(_)) => {
                return Err(bad(
                    "Argument maxKeys must be an integer between 0 and 2147483647",
                ));
            }
        };
        let token = request.param("continuation-token").filter(|_| is_v2);
        let after = match token {
            Some(token) => {
                let text = URL_SAFE
                    .decode(token)
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok());
                text.ok_or_else(|| bad("The continuation token provided is incorrect"))?
            }
            None => param(if is_v2 { "start-after" } else { "marker" }).to_owned(),
        };
        let encodes = match request.param("encoding-type") {
            None => false,
            Some("url") => true,
            Some(_) => return Err(bad("Invalid Encoding Method specified in Request")),
        };
        Ok(Self {
            request,
            is_v2,
            prefix: param("prefix"),
            delimiter: param("delimiter"),
            most,
            token,
            after,
            encodes,
        })
    }

    fn shown(&self, text: &str) -> String {
        if self.encodes {
            uri::encode(text.as_bytes(), true)
        } else {
            text.to_owned()
        }
    }

    /// What stands before the entries.
    fn head(&self) -> String {
        let mut out = String::new();
        xml::element(&mut out, "Name", &self.request.bucket);
        xml::element(&mut out, "Prefix", &self.shown(self.prefix));
        if !self.delimiter.is_empty() {
            xml::element(&mut out, "Delimiter", &self.shown(self.delimiter));
        }
        xml::element(&mut out, "MaxKeys", &self.most.to_string());
        if self.encodes {
            xml::element(&mut out, "EncodingType", "url");
        }
        out
    }

    /// What stands behind them: where the next page begins.
    fn tail(&self, page: &Page, out: &mut String) {
        for prefix in &page.prefixes {
            out.push_str("<CommonPrefixes>");
            xml::element(out, "Prefix", &self.shown(prefix));
            out.push_str("</CommonPrefixes>");
        }
        // A page of no keys is never cut: there would be no end.
        let next = page.next.as_ref().filter(|_| self.most > 0);
        xml::element(out, "IsTruncated", if next.is_some() { "true" } else { "false" });
        if !self.is_v2 {
            xml::element(out, "Marker", &self.shown(&self.after));
            if let Some(next) = next.filter(|_| !self.delimiter.is_empty()) {
                xml::element(out, "NextMarker", &self.shown(next));
            }
            return;
        }
        let count = page.keys.len() + page.prefixes.len();
        xml::element(out, "KeyCount", &count.to_string());
        if let Some(token) = self.token {
            xml::element(out, "ContinuationToken", token);
        }
        if let Some(start) = self.request.param("start-after") {
            xml::element(out, "StartAfter", &self.shown(start));
        }
        if let Some(next) = next {
            xml::element(out, "NextContinuationToken", &URL_SAFE.encode(next));
        }
    }
}

pub(super) fn objects(cloud: &Arc<Inner>, request: &Request) -> Result<Response<Body>, ApiError> {
    let asked = Asked::read(request)?;
    let owner = !asked.is_v2 || request.param("fetch-owner") == Some("true");
    let mut out = asked.head();
    let found = cloud.store.look(|state| {
        let bucket = state.catalog.buckets.get(&request.bucket)?;
        let found = page(
            &bucket.objects,
            asked.prefix,
            asked.delimiter,
            &asked.after,
            asked.most,
        );
        for key in &found.keys {
            if let Some(object) = bucket.objects.get(key) {
                contents(&mut out, &asked.shown(key), object, cloud, owner);
            }
        }
        Some(found)
    });
    let page = found.ok_or_else(|| request.no_bucket())?;
    asked.tail(&page, &mut out);
    Ok(xml_answer("ListBucketResult", &out))
}

fn contents(out: &mut String, key: &str, object: &Object, cloud: &Inner, owner: bool) {
    let size: u64 = object.files.iter().map(|(_, size)| size).sum();
    out.push_str("<Contents>");
    xml::element(out, "Key", key);
    xml::element(out, "LastModified", &time::iso(object.modified));
    xml::element(out, "ETag", &format!("\"{}\"", object.etag));
    if let Some((name, _)) = &object.checksum {
        let kind = name.trim_start_matches("x-amz-checksum-").to_ascii_uppercase();
        xml::element(out, "ChecksumAlgorithm", &kind);
        xml::element(out, "ChecksumType", "FULL_OBJECT");
    }
    xml::element(out, "Size", &size.to_string());
    if owner {
        out.push_str("<Owner>");
        xml::element(out, "ID", &cloud.options.account);
        out.push_str("</Owner>");
    }
    xml::element(out, "StorageClass", &object.storage_class);
    out.push_str("</Contents>");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Guarantees: pages one after the other give every key once, rolled up, in order, however small
        /// they are.
        #[test]
        fn pages_give_everything_once(
            keys in prop::collection::btree_set("[ab/]{1,6}", 0..40), prefix in "[a/]{0,2}", most in 1usize..6,
            delimiter in "/?",
        ) {
            let objects: BTreeMap<_, _> = keys.iter().map(|key| (key.clone(), ())).collect();
            let mut seen = Vec::new();
            let mut after = String::new();
            loop {
                let page = page(&objects, &prefix, &delimiter, &after, most);
                prop_assert!(page.keys.len() + page.prefixes.len() <= most);
                let mut both: Vec<_> = page.keys.into_iter().chain(page.prefixes).collect();
                both.sort();
                seen.extend(both);
                match page.next {
                    Some(next) => after = next,
                    None => break,
                }
            }
            let inside = keys.iter().filter(|key| key.starts_with(&prefix));
            let want: BTreeSet<_> = inside
                .map(|key| common(key, &prefix, &delimiter).unwrap_or(key).to_owned())
                .collect();
            prop_assert_eq!(seen, want.into_iter().collect::<Vec<_>>());
        }
    }
}
