//! The two ways to look: into a folder, and at a running endpoint.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use firelane_net::{Endpoint, HttpClient, HttpError, Method, NetConfig, Request, header};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Listed, Page, Plan, Position, Wanted, list};
use crate::admin::PREFIX;
use crate::cloud::Cloud;
use crate::store::segment::Frames;
use crate::store::{OpenError, State, Store};

/// Largest answer of an endpoint that is taken.
const ANSWER_MAX: usize = 128 << 20;
/// Longest wait for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// There is no such group, stream or bucket.
    #[error("there is no {kind} `{name}`")]
    Missing {
        /// What was looked for.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The data cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The data cannot be read.
    #[error("cannot read the data: {0}")]
    Read(#[from] std::io::Error),
    /// No address of an endpoint.
    #[error("`{0}` is no address of an endpoint: write one such as http://127.0.0.1:4566")]
    Address(String),
    /// The endpoint does not answer.
    #[error("the endpoint does not answer: {0}")]
    Http(#[from] HttpError),
    /// What answers is no endpoint of ours, or refuses.
    #[error("{url} answers {status}: {text}")]
    Answer {
        /// What was asked.
        url: String,
        /// HTTP status.
        status: u16,
        /// The beginning of the answer.
        text: String,
    },
}

fn missing(wanted: &Wanted) -> ViewError {
    let name = match &wanted.stream {
        Some(stream) => format!("{}:{stream}", wanted.name),
        None => wanted.name.clone(),
    };
    ViewError::Missing {
        kind: wanted.kind.name(),
        name,
    }
}

/// A folder of data. Blocking.
#[derive(Debug)]
pub struct Local {
    root: PathBuf,
}

impl Local {
    /// The folder that `firelane aws --data` was given.
    pub fn new(root: &Path) -> Self {
        let root = root.to_path_buf();
        Self { root }
    }

    /// What is there.
    ///
    /// # Errors
    /// The folder has no data, or they cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, ViewError> {
        Ok(list(&Store::peek(&self.root)?.1))
    }

    /// Lines from a position on.
    ///
    /// # Errors
    /// There is no such thing, or it cannot be read.
    pub fn page(&self, wanted: &Wanted, position: Position) -> Result<Page, ViewError> {
        let (layout, state) = Store::peek(&self.root)?;
        let plan = Plan::new(&state, wanted.clone(), position).ok_or_else(|| missing(wanted))?;
        Ok(plan.read(&mut Frames::new(layout.segments()), &layout)?)
    }
}

impl Cloud {
    /// What holds records.
    pub fn list(&self) -> Vec<Listed> {
        self.0.store.look(|state| list(state))
    }

    /// Lines from a position on, as [`Remote::page`] gives them.
    ///
    /// # Errors
    /// There is no such thing, or it cannot be read.
    pub async fn page(&self, wanted: &Wanted, position: Position) -> Result<Page, ViewError> {
        let plan = |state: &mut State| Plan::new(state, wanted.clone(), position);
        let plan = self.0.store.look(plan).ok_or_else(|| missing(wanted))?;
        let layout = self.0.store.shared().layout.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut frames = Frames::new(layout.segments());
            plan.read(&mut frames, &layout)
        });
        Ok(read.await.map_err(std::io::Error::other)??)
    }
}

/// A running endpoint.
#[derive(Debug)]
pub struct Remote {
    url: String,
    client: HttpClient,
}

impl Remote {
    /// By its address, such as `http://127.0.0.1:4566`.
    ///
    /// # Errors
    /// The address has not this form.
    pub fn new(url: &str) -> Result<Self, ViewError> {
        let bad = || ViewError::Address(url.to_owned());
        let rest = url
            .trim_end_matches('/')
            .strip_prefix("http://")
            .ok_or_else(bad)?;
        let (host, port) = rest.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().map_err(|_| bad())?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let endpoint = Endpoint::tcp(host, port);
        let client = HttpClient::new(endpoint, None, &NetConfig::default(), None).map_err(|_| bad())?;
        Ok(Self {
            url: format!("http://{rest}"),
            client: client.response_limit(ANSWER_MAX).response_timeout(ANSWER_LIMIT),
        })
    }

    /// What is there.
    ///
    /// # Errors
    /// The endpoint does not answer as it should.
    pub async fn list(&self) -> Result<Vec<Listed>, ViewError> {
        let answer = self.ask(Method::GET, "/list", Bytes::new()).await?;
        answer.ok_or_else(|| self.strange(404, "not found"))
    }

    /// Lines from a position on.
    ///
    /// # Errors
    /// There is no such thing, or the endpoint does not answer as it should.
    pub async fn page(&self, wanted: &Wanted, position: Position) -> Result<Page, ViewError> {
        let body = json!({"wanted": wanted, "position": position}).to_string();
        let page = self.ask(Method::POST, "/read", body.into()).await?;
        page.ok_or_else(|| missing(wanted))
    }

    fn strange(&self, status: u16, text: &str) -> ViewError {
        ViewError::Answer {
            url: self.url.clone(),
            status,
            text: text.chars().take(200).collect(),
        }
    }

    /// `None`: 404.
    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Option<T>, ViewError> {
        let kind = header::HeaderValue::from_static("application/json");
        let request = Request {
            method,
            target: format!("{PREFIX}{path}"),
            headers: vec![(header::CONTENT_TYPE, kind)],
            body,
        };
        let response = self.client.send(request).await?;
        let text = || String::from_utf8_lossy(&response.body).into_owned();
        match response.status {
            200 => match serde_json::from_slice(&response.body) {
                Ok(answer) => Ok(Some(answer)),
                Err(error) => Err(self.strange(200, &format!("{error}"))),
            },
            404 if text().contains("nothing of this name") => Ok(None),
            status => Err(self.strange(status, &text())),
        }
    }
}
