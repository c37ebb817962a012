//! Signature version 4, by `aws-sigv4`.

use std::time::SystemTime;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use sha2::{Digest, Sha256};

use super::Service;
use crate::http::Request;

/// What a signature is made with.
pub(super) struct Signer<'a> {
    pub(super) service: &'a Service,
    pub(super) region: &'a str,
    pub(super) credentials: &'a Credentials,
    pub(super) time: SystemTime,
    /// The `Host` header that will be sent.
    pub(super) host: &'a HeaderValue,
    /// `http` or `https`.
    pub(super) scheme: &'a str,
}

/// Lower-case hexadecimal SHA-256 of a body.
pub(super) fn hash(body: &[u8]) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(body);
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Signer<'_> {
    /// The headers that the signature adds.
    pub(super) fn headers(
        &self,
        request: &Request,
        body_hash: String,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let mut settings = SigningSettings::default();
        if self.service.signs_body_header {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        if self.service.path_as_is {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(&self.service.signing_name)
            .time(self.time)
            .settings(settings)
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let host = self.host.to_str().map_err(|error| error.to_string())?;
        let uri = format!("{}://{host}{}", self.scheme, request.target);
        let own = request
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let headers = own.chain([("host", host)]);
        let signable = SignableRequest::new(
            request.method.as_str(),
            uri,
            headers,
            SignableBody::Precomputed(body_hash),
        )
        .map_err(|error| error.to_string())?;
        let (instructions, _) = sign(signable, &params)
            .map_err(|error| error.to_string())?
            .into_parts();
        let mut carrier = ::http::Request::new(());
        instructions.apply_to_request_http1x(&mut carrier);
        let signed: &HeaderMap = carrier.headers();
        Ok(signed
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect())
    }
}
