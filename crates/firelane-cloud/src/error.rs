//! Errors as AWS gives them, and answers.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::service::{Protocol, Service};
use crate::xml;

/// An error that a client sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
    /// More elements of S3's errors: `BucketName`, `Key` and so on.
    pub(crate) details: Vec<(&'static str, String)>,
}

impl ApiError {
    /// A fault of the client: status 400.
    pub(crate) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: Cow::Borrowed(code),
            message: message.into(),
            details: Vec::new(),
        }
    }

    /// With one more element, for S3.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// The endpoint itself fails: its disk, for example.
    pub(crate) fn internal(service: Service, error: &impl std::fmt::Display) -> Self {
        let code = match service {
            Service::S3 => "InternalError",
            Service::Logs | Service::Firehose => "ServiceUnavailableException",
            Service::SecretsManager => "InternalServiceError",
            Service::Ssm => "InternalServerError",
            _ => "InternalFailure",
        };
        Self::new(500, code, error.to_string())
    }

    /// As its service writes it. `head`: without body.
    pub(crate) fn response(&self, service: Service, request_id: &str, head: bool) -> Response<Body> {
        let (kind, body) = match service.protocol() {
            Protocol::Json => ("application/x-amz-json-1.1", self.json()),
            Protocol::Query => ("text/xml", self.query(request_id)),
            Protocol::RestXml => ("application/xml", self.rest(request_id)),
        };
        let body = if head { String::new() } else { body };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if service.protocol() == Protocol::Json
            && let Ok(code) = HeaderValue::from_str(&self.code)
        {
            headers.insert(HeaderName::from_static("x-amzn-errortype"), code);
        }
        response
    }

    fn json(&self) -> String {
        json!({"__type": self.code, "message": self.message}).to_string()
    }

    fn query(&self, request_id: &str) -> String {
        let kind = if self.status < 500 { "Sender" } else { "Receiver" };
        format!(
            "<ErrorResponse xmlns=\"{}\"><Error><Type>{kind}</Type><Code>{}</Code><Message>{}</Message></Error>\
             <RequestId>{request_id}</RequestId></ErrorResponse>",
            crate::sts::NAMESPACE,
            xml::escape(&self.code),
            xml::escape(&self.message)
        )
    }

    fn rest(&self, request_id: &str) -> String {
        let mut out = String::from(xml::DECLARATION);
        out.push_str("<Error>");
        xml::element(&mut out, "Code", &self.code);
        xml::element(&mut out, "Message", &self.message);
        for (name, value) in &self.details {
            xml::element(&mut out, name, value);
        }
        xml::element(&mut out, "RequestId", request_id);
        xml::element(&mut out, "HostId", crate::s3::HOST_ID);
        out.push_str("</Error>");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_has_its_form() {
        let error = ApiError::bad("NoSuchKey", "a < b").with("Key", "k&k");
        assert_eq!(error.json(), r#"{"__type":"NoSuchKey","message":"a < b"}"#);
        let rest = error.rest("r1");
        let want = "<Error><Code>NoSuchKey</Code><Message>a &lt; b</Message><Key>k&amp;k</Key><RequestId>r1</RequestId>";
        assert!(rest.contains(want), "{rest}");
        assert!(
            error
                .query("r1")
                .contains("<Type>Sender</Type><Code>NoSuchKey</Code>")
        );
    }
}
