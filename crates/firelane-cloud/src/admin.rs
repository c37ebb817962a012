//! The endpoint's own paths, under `/_firelane` (no bucket can be called so): what is there, records as
//! lines, faults. JSON both ways.
//!
//! ```text
//! GET  /_firelane            version, folder, account, region
//! GET  /_firelane/list       what holds records, with counts
//! POST /_firelane/read       {"wanted":{…},"position":{…}} -> {"lines":[…],"position":{…},"more":…}
//! GET  /_firelane/faults     {"faults":[{"service":"kinesis","fault":"partial","percent":5}],"injected":[…]}
//! PUT  /_firelane/faults     the same list: replaces all
//! GET  /_firelane/created    what was made because it was missing
//! ```
//!
//! A page in a browser cannot use them: writing needs a type that browsers ask about first, and a host name
//! with dots in it is refused.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::faults::{Fault, Faults, Share};
use crate::server::Server;
use crate::service::Service;
use crate::view::{self, Plan, Position, Wanted};

/// Where the paths begin.
pub(crate) const PREFIX: &str = "/_firelane";

struct Refused(StatusCode, String);

fn refused(status: StatusCode, text: impl Into<String>) -> Refused {
    Refused(status, text.into())
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
        Self(status, error.message)
    }
}

/// Answers.
pub(crate) async fn handle(server: &Server, head: &Parts, body: Body) -> Response<Body> {
    let (status, value) = match answer(server, head, body).await {
        Ok(value) => (StatusCode::OK, value),
        Err(Refused(status, text)) => (status, json!({"error": text})),
    };
    let mut response = Response::new(Body::from(format!("{value}\n")));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn answer(server: &Server, head: &Parts, body: Body) -> Result<Value, Refused> {
    if !is_local(head) {
        return Err(refused(
            StatusCode::FORBIDDEN,
            "ask by address or by a name without dots",
        ));
    }
    let cloud = &server.cloud;
    let path = head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    match (&head.method, path.trim_end_matches('/')) {
        (&Method::GET, "") => Ok(json!({
            "name": "firelane aws",
            "version": env!("CARGO_PKG_VERSION"),
            "folder": Cloud(cloud.clone()).folder(),
            "account": cloud.options.account,
            "region": cloud.options.region,
        })),
        (&Method::GET, "/list") => Ok(json!(cloud.store.look(|state| view::list(state)))),
        (&Method::POST, "/read") => read(server, json_body(server, head, body).await?).await,
        (&Method::GET, "/faults") => Ok(shown(&Cloud(cloud.clone()))),
        (&Method::PUT, "/faults") => {
            let faults = faults(json_body(server, head, body).await?)?;
            cloud.injector.set(faults);
            Ok(shown(&Cloud(cloud.clone())))
        }
        (&Method::GET, "/created") => {
            let created = Cloud(cloud.clone()).created();
            let created = created
                .iter()
                .map(|made| json!({"kind": made.kind, "name": made.name}));
            Ok(json!(created.collect::<Vec<_>>()))
        }
        _ => Err(refused(StatusCode::NOT_FOUND, "no such path")),
    }
}

/// Whether the host is an address or a plain name: what a foreign page cannot have.
fn is_local(head: &Parts) -> bool {
    let host = head
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<std::net::IpAddr>().is_ok() || !name.contains('.') || name.ends_with(".localhost")
}

async fn json_body<T: for<'de> Deserialize<'de>>(
    server: &Server,
    head: &Parts,
    body: Body,
) -> Result<T, Refused> {
    let kind = head.headers.get(header::CONTENT_TYPE);
    if kind.is_none_or(|kind| !kind.as_bytes().starts_with(b"application/json")) {
        return Err(refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the type must be application/json",
        ));
    }
    let body = server.collect(Service::Logs, head, body).await?;
    serde_json::from_slice(&body).map_err(|error| refused(StatusCode::BAD_REQUEST, error.to_string()))
}

#[derive(Deserialize)]
struct Question {
    wanted: Wanted,
    #[serde(default)]
    position: Position,
}

async fn read(server: &Server, question: Question) -> Result<Value, Refused> {
    let cloud = &server.cloud;
    let Question { wanted, position } = question;
    let plan = cloud.store.look(|state| Plan::new(state, wanted, position));
    let plan = plan.ok_or_else(|| refused(StatusCode::NOT_FOUND, "nothing of this name"))?;
    let layout = cloud.store.shared().layout.clone();
    let page = cloud
        .read(Service::Logs, move |frames| plan.read(frames, &layout))
        .await?;
    Ok(json!(page))
}

#[derive(Deserialize)]
struct Setting {
    faults: Vec<OneFault>,
}

#[derive(Deserialize)]
struct OneFault {
    service: Option<String>,
    fault: String,
    percent: f64,
}

fn faults(setting: Setting) -> Result<Faults, Refused> {
    let bad = |text: String| refused(StatusCode::BAD_REQUEST, text);
    let mut faults = Faults::none();
    for one in setting.faults {
        let service: Option<Service> = match &one.service {
            Some(name) => Some(name.parse().map_err(|error| bad(format!("{error}")))?),
            None => None,
        };
        let known = Fault::ALL.into_iter().find(|fault| fault.name() == one.fault);
        let fault = known.ok_or_else(|| {
            let names = Fault::ALL.map(Fault::name).join(", ");
            bad(format!("there is no fault `{}`, only {names}", one.fault))
        })?;
        let share = Share::percent(one.percent);
        let share = share.ok_or_else(|| bad(format!("{} is no percentage from 0 to 100", one.percent)))?;
        faults.set(service, fault, share);
    }
    Ok(faults)
}

fn shown(cloud: &Cloud) -> Value {
    let set = cloud.faults();
    let set = set.iter().map(|(service, fault, share)| {
        json!({
            "service": service.map(Service::name),
            "fault": fault.name(),
            "percent": share.as_percent(),
        })
    });
    let injected = cloud.injected();
    let injected = injected.iter().map(
        |((service, fault), count)| json!({"service": service.name(), "fault": fault.name(), "count": count}),
    );
    json!({"faults": set.collect::<Vec<_>>(), "injected": injected.collect::<Vec<_>>()})
}
