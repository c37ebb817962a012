//! Signatures of version 4: who signed for which service, and, where the secret key is known, whether it
//! holds.
//!
//! Pure: times are arguments. Header form and presigned form. Without a secret key any signature is taken,
//! as long as it has the form. Version 2 (`AWS AKID:…`, `AWSAccessKeyId=`) is taken only then.

use axum::http::request::Parts;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::ApiError;
use crate::service::{Protocol, Service};
use crate::time;
use crate::uri;

/// A clock may differ by so much, in ms.
const SKEW_MS: i64 = 15 * 60 * 1000;
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A signature as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) access_key: String,
    /// `20260102`
    date: String,
    pub(crate) region: String,
    /// The service as the scope names it.
    pub(crate) service: String,
    signed_headers: Vec<String>,
    pub(crate) value: String,
    /// `20260102T030405Z`
    pub(crate) time: String,
    pub(crate) token: Option<String>,
    /// Of a presigned address: seconds for which it holds.
    expires: Option<i64>,
    /// Of version 2: it cannot be verified here.
    is_old: bool,
}

impl Signature {
    /// Reads the signature of a request; `None` where it has none.
    pub(crate) fn read(head: &Parts) -> Result<Option<Self>, String> {
        let query = head.uri.query().unwrap_or_default();
        let header = |name: &str| {
            let value = head.headers.get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        if let Some(authorization) = header("authorization") {
            if let Some(old) = authorization.strip_prefix("AWS ") {
                return Ok(Some(Self::old(old.split(':').next().unwrap_or_default())));
            }
            let time = header("x-amz-date")
                .or_else(|| header("date"))
                .unwrap_or_default();
            let token = header("x-amz-security-token");
            return Self::of_header(&authorization, time, token).map(Some);
        }
        let value = |name: &str| uri::parameter(query, name);
        if let Some(credential) = value("X-Amz-Credential") {
            let need = |name: &str| value(name).ok_or(format!("the query has no {name}"));
            let mut signature = Self::scope(&credential)?;
            signature.signed_headers = split_headers(&need("X-Amz-SignedHeaders")?);
            signature.value = need("X-Amz-Signature")?;
            signature.time = need("X-Amz-Date")?;
            signature.token = value("X-Amz-Security-Token");
            let expires = need("X-Amz-Expires")?;
            let expires: i64 = expires
                .parse()
                .map_err(|_| "X-Amz-Expires is no number".to_string())?;
            signature.expires = Some(expires);
            return Ok(Some(signature));
        }
        match (value("AWSAccessKeyId"), value("Signature")) {
            (Some(key), Some(_)) => Ok(Some(Self::old(&key))),
            _ => Ok(None),
        }
    }

    fn old(access_key: &str) -> Self {
        Self {
            access_key: access_key.to_owned(),
            date: String::new(),
            region: String::new(),
            service: "s3".into(),
            signed_headers: Vec::new(),
            value: String::new(),
            time: String::new(),
            token: None,
            expires: None,
            is_old: true,
        }
    }

    fn of_header(authorization: &str, time: String, token: Option<String>) -> Result<Self, String> {
        let rest = authorization.strip_prefix(ALGORITHM);
        let rest = rest.ok_or("Unsupported AWS 'algorithm' in the Authorization header")?;
        let mut fields = [None; 3];
        for field in rest.split(',') {
            let (name, value) = field.trim().split_once('=').unwrap_or_default();
            let at = ["Credential", "SignedHeaders", "Signature"]
                .iter()
                .position(|known| *known == name);
            if let Some(place) = at.and_then(|at| fields.get_mut(at)) {
                *place = Some(value);
            }
        }
        let [credential, headers, value] = fields;
        let need = |value: Option<&str>, name: &str| {
            let absent = format!("Authorization header requires '{name}' parameter.");
            value.map(str::to_owned).ok_or(absent)
        };
        let mut signature = Self::scope(&need(credential, "Credential")?)?;
        signature.signed_headers = split_headers(&need(headers, "SignedHeaders")?);
        signature.value = need(value, "Signature")?;
        if time.is_empty() {
            return Err(
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.".into(),
            );
        }
        signature.time = time;
        signature.token = token;
        Ok(signature)
    }

    /// `AKID/20260102/us-east-1/logs/aws4_request`
    fn scope(credential: &str) -> Result<Self, String> {
        let mut parts = credential.rsplitn(5, '/');
        let mut next = || parts.next().filter(|part| !part.is_empty());
        let bad = || format!("Credential must have 5 slash-separated elements, `{credential}` has not");
        let end = next().ok_or_else(bad)?;
        let (service, region) = (next().ok_or_else(bad)?, next().ok_or_else(bad)?);
        let (date, access_key) = (next().ok_or_else(bad)?, next().ok_or_else(bad)?);
        if end != "aws4_request" {
            return Err(bad());
        }
        let mut signature = Self::old(access_key);
        signature.is_old = false;
        signature.date = date.to_owned();
        signature.region = region.to_owned();
        signature.service = service.to_owned();
        Ok(signature)
    }

    fn scope_text(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }

    /// Checks it with the secret key. `payload`: the hash of the body as the request states it, or of the
    /// body itself. `now` in ms.
    pub(crate) fn verify(
        &self,
        secret: &str,
        head: &Parts,
        payload: &str,
        now: i64,
    ) -> Result<SigningKey, Broken> {
        if self.is_old {
            return Err(Broken::Old);
        }
        let stated = time::parse_basic(&self.time).ok_or(Broken::Mismatch)?;
        if !self.time.starts_with(&self.date) {
            return Err(Broken::Mismatch);
        }
        let late = match self.expires {
            Some(seconds) => now > stated.saturating_add(seconds.saturating_mul(1000)),
            None => now.saturating_sub(stated) > SKEW_MS,
        };
        if late || stated.saturating_sub(now) > SKEW_MS {
            return Err(Broken::Skewed(self.expires.is_some()));
        }
        let key = SigningKey::new(secret, self);
        let canonical = self.canonical(head, payload);
        let text = format!(
            "{ALGORITHM}\n{}\n{}\n{}",
            self.time,
            self.scope_text(),
            hex(&Sha256::digest(canonical.as_bytes()))
        );
        if key.sign(&text).as_bytes().ct_eq(self.value.as_bytes()).into() {
            Ok(key)
        } else {
            Err(Broken::Mismatch)
        }
    }

    fn canonical(&self, head: &Parts, payload: &str) -> String {
        let path = head.uri.path();
        let path = if self.service == "s3" {
            uri::encode(&uri::decode(path), true)
        } else {
            uri::encode(path.as_bytes(), true)
        };
        let query = head.uri.query().unwrap_or_default();
        let mut pairs: Vec<(String, String)> = uri::pairs(query)
            .filter(|(name, _)| self.expires.is_none() || name != b"X-Amz-Signature")
            .map(|(name, value)| (uri::encode(&name, false), uri::encode(&value, false)))
            .collect();
        pairs.sort();
        let query: Vec<_> = pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut headers = String::new();
        for name in &self.signed_headers {
            let values = head.headers.get_all(name).iter().map(|value| {
                let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
                text.split_whitespace().collect::<Vec<_>>().join(" ")
            });
            headers.push_str(&format!("{name}:{}\n", values.collect::<Vec<_>>().join(",")));
        }
        format!(
            "{}\n{path}\n{}\n{headers}\n{}\n{payload}",
            head.method,
            query.join("&"),
            self.signed_headers.join(";")
        )
    }
}

fn split_headers(text: &str) -> Vec<String> {
    text.split(';').map(str::to_ascii_lowercase).collect()
}

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It is another one than ours.
    Mismatch,
    /// Its time is too far away; whether it was a presigned address.
    Skewed(bool),
    /// Version 2.
    Old,
}

/// Signs pieces of a body after the request's own signature.
#[derive(Clone)]
pub(crate) struct SigningKey {
    key: [u8; 32],
    /// Time and scope, a line each.
    pub(crate) context: String,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    fn new(secret: &str, signature: &Signature) -> Self {
        let first = format!("AWS4{secret}");
        let parts = [
            &*signature.date,
            &*signature.region,
            &*signature.service,
            "aws4_request",
        ];
        let key = parts.into_iter().fold(first.into_bytes(), |key, part| {
            mac(&key, part.as_bytes()).to_vec()
        });
        Self {
            key: key.try_into().unwrap_or_default(),
            context: format!("{}\n{}", signature.time, signature.scope_text()),
        }
    }

    /// In hex.
    pub(crate) fn sign(&self, text: &str) -> String {
        hex(&mac(&self.key, text.as_bytes()))
    }
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length.
    Hmac::<Sha256>::new_from_slice(key)
        .map(|mac| mac.chain_update(text).finalize().into_bytes().into())
        .unwrap_or_default()
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a fault of the signature is called by a service.
pub(crate) fn refused(service: Service, broken: Broken) -> ApiError {
    let mismatch = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.";
    match (service.protocol(), broken) {
        (Protocol::RestXml, Broken::Old) => ApiError::bad(
            "InvalidRequest",
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        ),
        (Protocol::RestXml, Broken::Skewed(true)) => {
            ApiError::new(403, "AccessDenied", "Request has expired")
        }
        (Protocol::RestXml, Broken::Skewed(false)) => ApiError::new(
            403,
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
        ),
        (Protocol::RestXml | Protocol::Query, Broken::Mismatch) => {
            ApiError::new(403, "SignatureDoesNotMatch", mismatch)
        }
        (Protocol::Query, _) => ApiError::new(403, "SignatureDoesNotMatch", "Signature expired"),
        (Protocol::Json, Broken::Skewed(_)) => {
            ApiError::bad("InvalidSignatureException", "Signature expired")
        }
        (Protocol::Json, _) => ApiError::bad("InvalidSignatureException", mismatch),
    }
}

/// The request has no signature.
pub(crate) fn absent(service: Service) -> ApiError {
    match service.protocol() {
        Protocol::RestXml => ApiError::new(403, "AccessDenied", "Access Denied"),
        Protocol::Query => ApiError::new(
            403,
            "MissingAuthenticationToken",
            "Request is missing Authentication Token",
        ),
        Protocol::Json => ApiError::bad(
            "MissingAuthenticationTokenException",
            "Missing Authentication Token",
        ),
    }
}

/// The signature has not the form.
pub(crate) fn incomplete(service: Service, why: &str) -> ApiError {
    match service.protocol() {
        Protocol::RestXml => ApiError::bad("AuthorizationHeaderMalformed", why),
        Protocol::Query => ApiError::bad("IncompleteSignature", why),
        Protocol::Json => ApiError::bad("IncompleteSignatureException", why),
    }
}

/// Nobody knows the access key, or its token is another one.
pub(crate) fn unknown_key(service: Service) -> ApiError {
    let token = "The security token included in the request is invalid.";
    match service.protocol() {
        Protocol::RestXml => ApiError::new(
            403,
            "InvalidAccessKeyId",
            "The AWS Access Key Id you provided does not exist in our records.",
        ),
        Protocol::Query => ApiError::new(403, "InvalidClientTokenId", token),
        Protocol::Json => ApiError::bad("UnrecognizedClientException", token),
    }
}

/// The credentials were good once.
pub(crate) fn expired(service: Service) -> ApiError {
    match service.protocol() {
        Protocol::RestXml => ApiError::bad("ExpiredToken", "The provided token has expired."),
        Protocol::Query => ApiError::new(
            403,
            "ExpiredToken",
            "The security token included in the request is expired",
        ),
        Protocol::Json => ApiError::bad(
            "ExpiredTokenException",
            "The security token included in the request is expired",
        ),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn head(request: axum::http::request::Builder) -> Parts {
        request.body(()).unwrap().into_parts().0
    }

    /// The example of AWS's own documentation of Signature Version 4 (get-vanilla-query-order-key-case).
    #[test]
    fn a_known_request_is_verified() {
        let credential = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
        let signature = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500";
        let authorization = format!(
            "{ALGORITHM} Credential={credential}, SignedHeaders=host;x-amz-date, Signature={signature}"
        );
        let build = |param: &str| {
            head(
                Request::get(format!("/?Param2=value2&{param}"))
                    .header("host", "example.amazonaws.com")
                    .header("x-amz-date", "20150830T123600Z")
                    .header("authorization", &authorization),
            )
        };
        let empty = hex(&Sha256::digest(b""));
        let now = time::parse_basic("20150830T124000Z").unwrap();
        let good = build("Param1=value1");
        let read = Signature::read(&good).unwrap().unwrap();
        assert_eq!((&*read.service, &*read.region), ("service", "us-east-1"));
        read.verify(SECRET, &good, &empty, now).unwrap();
        let bad = build("Param1=value3");
        assert_eq!(
            read.verify(SECRET, &bad, &empty, now).unwrap_err(),
            Broken::Mismatch
        );
        let late = now + SKEW_MS;
        assert_eq!(
            read.verify(SECRET, &good, &empty, late).unwrap_err(),
            Broken::Skewed(false)
        );
    }

    #[test]
    fn forms_that_are_wrong_are_named() {
        let read = |authorization: &str| {
            let request = Request::post("/").header("authorization", authorization);
            Signature::read(&head(request.header("x-amz-date", "20150830T123600Z")))
        };
        assert!(read("Bearer x").unwrap_err().contains("algorithm"));
        let text = format!("{ALGORITHM} Credential=a/b/c/d/aws4_request, Signature=x");
        assert!(read(&text).unwrap_err().contains("'SignedHeaders'"));
        let text = format!("{ALGORITHM} Credential=a/b, SignedHeaders=host, Signature=x");
        assert!(read(&text).unwrap_err().contains("5 slash-separated"));
        assert_eq!(Signature::read(&head(Request::post("/"))).unwrap(), None);
    }

    #[test]
    fn presigned_addresses_name_their_service() {
        let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=K%2F20150830%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00";
        let head = head(Request::get(format!("/b/k?{query}")));
        let signature = Signature::read(&head).unwrap().unwrap();
        assert_eq!((&*signature.service, &*signature.region), ("s3", "eu-west-1"));
        let now = time::parse_basic("20150830T123701Z").unwrap();
        let error = signature
            .verify(SECRET, &head, "UNSIGNED-PAYLOAD", now)
            .unwrap_err();
        assert_eq!(error, Broken::Skewed(true));
    }
}
