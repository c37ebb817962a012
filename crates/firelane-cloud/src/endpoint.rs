//! Starting and stopping: the socket and what serves it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cloud::{Cloud, Options};
use crate::guard::{Cut, Guarded};
use crate::server::{self, Server};
use crate::store::OpenError;

/// Time for requests in flight when the endpoint stops.
const GRACE: Duration = Duration::from_secs(3);

/// Why an endpoint cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address is taken, unknown or not allowed.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// Which.
        address: String,
        /// The system's words.
        error: io::Error,
    },
    /// The account is not twelve digits.
    #[error("`{0}` is no account: write 12 digits")]
    Account(String),
    /// The region has no such form.
    #[error("`{0}` is no region: write one such as us-east-1")]
    Region(String),
    /// The data cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// A running endpoint. When dropped it ends at once, and its data are written; [`stop`](Self::stop) lets
/// requests end and tells what went wrong.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    cloud: Cloud,
    stop: watch::Sender<bool>,
    served: JoinHandle<io::Result<()>>,
}

impl Endpoint {
    /// Starts on `address`; port 0 takes a free one. Needs a tokio runtime.
    ///
    /// # Errors
    /// Options that cannot be, data that cannot be opened, an address that cannot be bound.
    pub async fn start(address: &str, options: Options) -> Result<Self, StartError> {
        let account = &options.account;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(StartError::Account(account.clone()));
        }
        let region = &options.region;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if region.is_empty() || region.len() > 32 || !region.bytes().all(plain) {
            return Err(StartError::Region(region.clone()));
        }
        let bind = |error| StartError::Bind {
            address: address.to_owned(),
            error,
        };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let opened = tokio::task::spawn_blocking(move || Cloud::open(options)).await;
        let cloud = opened.map_err(|error| bind(io::Error::other(error)))??;
        let (stop, stopped) = watch::channel(false);
        let app = Router::new()
            .fallback(server::handle)
            .with_state(Server::new(cloud.0.clone(), stopped.clone()))
            .into_make_service_with_connect_info::<Cut>();
        let mut told = stopped;
        let served = axum::serve(Guarded::new(listener), app).with_graceful_shutdown(async move {
            let _ = told.wait_for(|stop| *stop).await;
        });
        Ok(Self {
            address,
            cloud,
            stop,
            served: tokio::spawn(async move { served.await }),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:4566`, for `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The inside, to seed it, read it and put faults in.
    pub fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    /// Takes no more connections, lets requests end for three seconds, writes everything.
    ///
    /// # Errors
    /// What could not be written.
    pub async fn stop(mut self) -> io::Result<()> {
        self.stop.send_replace(true);
        if tokio::time::timeout(GRACE, &mut self.served).await.is_err() {
            self.served.abort();
        }
        let cloud = self.cloud.clone();
        let closed = tokio::task::spawn_blocking(move || cloud.0.store.close()).await;
        closed?.map_err(io::Error::other)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.served.abort();
    }
}
