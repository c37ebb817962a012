//! From a request to its answer: which service, who signed, what befalls it, the call.
//!
//! The service is the one of `X-Amz-Target`, else that of the signature's scope, else STS for a form with
//! an `Action`, else S3. JSON bodies have at most 16 MiB; of all bodies that are read at once 512 MiB are
//! held, more wait.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, Response, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, watch};

use crate::auth::{self, Signature, SigningKey};
use crate::cloud::{Call, Inner};
use crate::error::ApiError;
use crate::faults::{self, Fate, Fault};
use crate::guard::Cut;
use crate::service::{Protocol, Service};
use crate::{admin, ecr, firehose, kinesis, logs, s3, secrets, ssm, sts, time, uri};

/// Largest body of a JSON or query request.
pub(crate) const BODY_MAX: usize = 16 << 20;
/// KiB of bodies that are read at once.
const BODIES_KIB: usize = 512 << 10;
/// Longest wait for the next piece of a body.
pub(crate) const PIECE_LIMIT: Duration = Duration::from_secs(60);
/// Longest that a hanging request is held.
const HANG_MAX: Duration = Duration::from_secs(600);

/// What handlers share.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) cloud: Arc<Inner>,
    bodies: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

impl Server {
    pub(crate) fn new(cloud: Arc<Inner>, stop: watch::Receiver<bool>) -> Self {
        let bodies = Arc::new(Semaphore::new(BODIES_KIB));
        Self { cloud, bodies, stop }
    }
}

/// A request whose service is known.
pub(crate) struct Asked {
    pub(crate) head: Parts,
    pub(crate) signature: Option<Signature>,
    /// Now, in ms since the epoch.
    pub(crate) now: i64,
    pub(crate) request_id: String,
}

/// Answers a request.
pub(crate) async fn handle(
    State(server): State<Server>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    if head.uri.path().starts_with(admin::PREFIX) {
        return admin::handle(&server, &head, body).await;
    }
    let request_id = server.cloud.uuid();
    let is_head = head.method == Method::HEAD;
    let named = named(&head);
    let service = named.service;
    let mut fate = server.cloud.injector.next(service);
    if fate.fault == Some(Fault::Hang) {
        server.hang().await;
        cut.now();
        return Response::new(Body::empty());
    }
    let asked = Asked {
        head,
        signature: None,
        now: time::now_ms(),
        request_id: request_id.clone(),
    };
    let answered = server.answer(asked, named, body, &mut fate).await;
    if fate.fault == Some(Fault::Lost) {
        cut.now();
    }
    let mut response = match answered {
        Ok(response) => response,
        Err(error) => error.response(service, &request_id, is_head),
    };
    request_ids(response.headers_mut(), service, &request_id);
    response
}

fn request_ids(headers: &mut axum::http::HeaderMap, service: Service, id: &str) {
    let Ok(id) = HeaderValue::from_str(id) else { return };
    if service == Service::S3 {
        headers.insert(HeaderName::from_static("x-amz-request-id"), id.clone());
        let host = HeaderValue::from_static(s3::HOST_ID);
        headers.insert(HeaderName::from_static("x-amz-id-2"), host);
    }
    headers.insert(HeaderName::from_static("x-amzn-requestid"), id);
}

/// What a request says of its service.
struct Named {
    service: Service,
    /// Of `X-Amz-Target`.
    operation: Option<String>,
    /// The signature as it was read, or why it could not be.
    signature: Result<Option<Signature>, String>,
    /// A name that is none of ours.
    stranger: Option<String>,
}

fn named(head: &Parts) -> Named {
    let signature = Signature::read(head);
    let target = head
        .headers
        .get("x-amz-target")
        .and_then(|value| value.to_str().ok());
    let scope = match &signature {
        Ok(Some(signature)) => Some(signature.service.as_str()),
        _ => None,
    };
    if let Some(target) = target {
        let known = Service::of_target(target);
        let operation = known.map(|(_, operation)| operation.to_owned());
        let guess = scope
            .and_then(|scope| scope.parse().ok())
            .unwrap_or(Service::Logs);
        return Named {
            service: known.map_or(guess, |(service, _)| service),
            stranger: known.is_none().then(|| target.to_owned()),
            operation,
            signature,
        };
    }
    let is_form = head
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    let has_action =
        head.uri.path() == "/" && uri::parameter(head.uri.query().unwrap_or_default(), "Action").is_some();
    let scoped = scope.map(str::parse::<Service>);
    let (service, stranger) = match (scoped, scope) {
        (Some(Ok(service)), _) => (service, None),
        // It is told in JSON: most services speak it.
        (Some(Err(_)), scope) => (Service::Logs, scope.map(|scope| format!("service `{scope}`"))),
        (None, _) if (is_form && head.method == Method::POST) || has_action => (Service::Sts, None),
        (None, _) => (Service::S3, None),
    };
    Named {
        service,
        operation: None,
        signature,
        stranger,
    }
}

/// The operation is not here; says what is.
pub(crate) fn unknown_operation(service: Service, operation: &str) -> ApiError {
    let known = service.operations().join(", ");
    let text = format!("`{operation}` is not an operation of the local {service}; it has {known}");
    match service.protocol() {
        Protocol::Json => ApiError::bad("UnknownOperationException", text),
        Protocol::Query => ApiError::bad("InvalidAction", text),
        Protocol::RestXml => ApiError::new(501, "NotImplemented", text),
    }
}

impl Server {
    /// Holds a request until the end.
    async fn hang(&self) {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(HANG_MAX) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    async fn answer(
        &self,
        mut asked: Asked,
        named: Named,
        body: Body,
        fate: &mut Fate,
    ) -> Result<Response<Body>, ApiError> {
        let service = named.service;
        if let Some(stranger) = named.stranger {
            let all = Service::ALL.map(Service::name).join(", ");
            let text = format!("the local endpoint has no {stranger}, only the services {all}");
            return Err(ApiError::bad("UnknownOperationException", text));
        }
        asked.signature = named.signature.map_err(|why| auth::incomplete(service, &why))?;
        if service == Service::S3 {
            return s3::answer(self, asked, body, fate).await;
        }
        let body = self.collect(service, &asked.head, body).await?;
        if service == Service::Sts {
            return self.sts(&asked, &body, fate);
        }
        let kind = asked.head.headers.get(header::CONTENT_TYPE);
        if kind.is_some_and(|kind| kind.as_bytes().windows(4).any(|four| four == b"cbor")) {
            let text =
                "the local endpoint speaks JSON, not CBOR: AWS_CBOR_DISABLE=true makes SDKs for Java use it";
            return Err(ApiError::new(415, "UnsupportedMediaTypeException", text));
        }
        self.authenticate(service, &asked, || Payload::Whole(&body))?;
        befall(service, fate)?;
        let call = Call {
            operation: named.operation.unwrap_or_default(),
            body,
            now: asked.now,
            fate: fate.take(),
        };
        if call.operation.is_empty() {
            return Err(unknown_operation(service, "a request without X-Amz-Target"));
        }
        let answer = self.call(service, call).await?;
        let mut response = Response::new(Body::from(answer));
        let same = asked.head.headers.get(header::CONTENT_TYPE).cloned();
        let kind = same.unwrap_or(HeaderValue::from_static("application/x-amz-json-1.1"));
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        Ok(response)
    }

    async fn call(&self, service: Service, call: Call) -> Result<Bytes, ApiError> {
        let cloud = &self.cloud;
        match service {
            Service::Ecr => ecr::call(cloud, &call),
            Service::Firehose => firehose::call(cloud, call).await,
            Service::Kinesis => kinesis::call(cloud, call).await,
            Service::Logs => logs::call(cloud, call).await,
            Service::SecretsManager => secrets::call(cloud, call).await,
            Service::Ssm => ssm::call(cloud, call).await,
            Service::S3 | Service::Sts => Err(unknown_operation(service, &call.operation)),
        }
    }

    fn sts(&self, asked: &Asked, body: &[u8], fate: &Fate) -> Result<Response<Body>, ApiError> {
        let query = asked.head.uri.query().unwrap_or_default();
        let mut members = uri::form(query);
        members.extend(uri::form(&String::from_utf8_lossy(body)));
        let unsigned = members
            .iter()
            .any(|(name, value)| name == "Action" && value == sts::UNSIGNED);
        if asked.signature.is_some() || !unsigned {
            self.authenticate(Service::Sts, asked, || Payload::Whole(body))?;
        }
        befall(Service::Sts, fate)?;
        let times = (asked.now, asked.request_id.as_str());
        let answer = sts::call(&self.cloud, members, asked.signature.as_ref(), times)?;
        let mut response = Response::new(Body::from(answer));
        let kind = HeaderValue::from_static("text/xml");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        Ok(response)
    }

    /// Checks who signed. `payload` is asked for where the signature is verified. Gives the key with which
    /// the pieces of a body are signed, where that is known.
    pub(crate) fn authenticate<'b>(
        &self,
        service: Service,
        asked: &Asked,
        payload: impl FnOnce() -> Payload<'b>,
    ) -> Result<Option<SigningKey>, ApiError> {
        let signature = asked.signature.as_ref().ok_or_else(|| auth::absent(service))?;
        let known = self.cloud.credentials(&signature.access_key);
        let is_verified = self.cloud.options.credentials.is_some();
        let known = match known {
            Some(known) => known,
            None if is_verified => return Err(auth::unknown_key(service)),
            None => return Ok(None),
        };
        if known.expires_ms.is_some_and(|end| asked.now > end) {
            return Err(auth::expired(service));
        }
        if !is_verified {
            return Ok(None);
        }
        if known.token != signature.token {
            return Err(auth::unknown_key(service));
        }
        let stated = asked.head.headers.get("x-amz-content-sha256");
        let stated = stated.and_then(|value| value.to_str().ok());
        let hash = match payload() {
            Payload::Whole(body) => {
                let hash = auth::hex(&Sha256::digest(body));
                if stated.is_some_and(|stated| stated.len() == 64 && stated != hash) {
                    return Err(auth::refused(service, auth::Broken::Mismatch));
                }
                hash
            }
            Payload::Stated(default) => stated.unwrap_or(default).to_owned(),
        };
        let verified = signature.verify(&known.secret_key, &asked.head, &hash, asked.now);
        verified
            .map(Some)
            .map_err(|broken| auth::refused(service, broken))
    }

    /// Reads a body of at most [`BODY_MAX`].
    pub(crate) async fn collect(
        &self,
        service: Service,
        head: &Parts,
        body: Body,
    ) -> Result<Bytes, ApiError> {
        let too_large = || {
            let text = format!("the request body has more than {BODY_MAX} bytes");
            ApiError::new(413, "RequestEntityTooLargeException", text)
        };
        let announced = head.headers.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|bytes| bytes > BODY_MAX) {
            return Err(too_large());
        }
        let kib = announced.unwrap_or(BODY_MAX) / 1024 + 1;
        let held = self.bodies.acquire_many(u32::try_from(kib).unwrap_or(1)).await;
        let _held = held.map_err(|error| ApiError::internal(service, &error))?;
        let mut body = body;
        let (mut first, mut all) = (Bytes::new(), BytesMut::new());
        while let Some(data) = piece(service, &mut body).await? {
            if first.len() + all.len() + data.len() > BODY_MAX {
                return Err(too_large());
            }
            if first.is_empty() && all.is_empty() {
                first = data; // often the only piece: no copy
                continue;
            }
            if all.is_empty() {
                all.reserve(announced.unwrap_or_default().max(first.len() + data.len()));
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
        Ok(if all.is_empty() { first } else { all.freeze() })
    }
}

/// What a signature says of the body.
pub(crate) enum Payload<'b> {
    /// All of it.
    Whole(&'b [u8]),
    /// What the header states; else this.
    Stated(&'static str),
}

/// The next piece of a body.
pub(crate) async fn piece(service: Service, body: &mut Body) -> Result<Option<Bytes>, ApiError> {
    let broken = |text: &str| match service {
        Service::S3 => ApiError::bad("IncompleteBody", text),
        _ => ApiError::bad("SerializationException", text),
    };
    loop {
        let frame = tokio::time::timeout(PIECE_LIMIT, body.frame()).await;
        let slow = || match service {
            Service::S3 => ApiError::bad(
                "RequestTimeout",
                "Your socket connection to the server was not read from or written to within the timeout period.",
            ),
            _ => broken("the request body did not come in time"),
        };
        match frame.map_err(|_| slow())? {
            None => return Ok(None),
            Some(Err(_)) => return Err(broken("the request body ended before its announced length")),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data()
                    && !data.is_empty()
                {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// The error of a fault that befalls the whole request, if one does.
pub(crate) fn befall(service: Service, fate: &Fate) -> Result<(), ApiError> {
    match fate.fault.and_then(|fault| faults::error(service, fault)) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
