//! The monitoring server: Fluent Bit's API v1 and v2, and our own health checks beside it.
//!
//! It listens where `http_listen`/`http_port` say; without `http_listen` on loopback alone (Fluent Bit: on
//! every address), because it can reload the configuration. Limits: requests of at most 16 KiB, 256
//! connections, 90 s for a request to come (`guard.rs`). It only reads counters, so it cannot slow the data
//! path. Source of the API: <https://docs.fluentbit.io/manual/administration/monitoring>.

mod guard;
mod health;
mod monitor_v1;
mod monitor_v2;
mod prometheus;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::get;
use firelane_engine::Status;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

pub use health::HealthCheck;

/// What the server shows beside the router's own counters.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Version that `/` shows.
    pub version: &'static str,
    /// Names of the plugins that exist: inputs, filters, outputs.
    pub plugins: [Vec<&'static str>; 3],
    /// `health_check` and its `hc_*` keys; `None`: off.
    pub health_check: Option<HealthCheck>,
    /// `storage.metrics`: whether `/api/v1/storage` answers.
    pub storage_metrics: bool,
    /// `hot_reload`: whether `/api/v2/reload` acts.
    pub hot_reload: bool,
    /// Oldest record above which `/health/delivery` fails.
    pub delivery_age_max: Duration,
}

/// Asks the binary to read the configuration again; it answers with what went wrong, if anything.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// What the handlers share.
pub(crate) struct Admin {
    pub(crate) status: Status,
    pub(crate) settings: Settings,
    pub(crate) reload: mpsc::Sender<ReloadRequest>,
    pub(crate) health: health::Window,
    /// Seconds since the epoch at the start.
    pub(crate) started: f64,
}

/// A bound address. Clients that connect before it is served wait.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Binds `address`.
    ///
    /// # Errors
    /// The system's, when the address is taken, unknown or not allowed.
    pub async fn bind(address: &str) -> std::io::Result<Self> {
        TcpListener::bind(address).await.map(Self)
    }
}

/// A server that does not serve yet.
pub struct Server {
    listener: TcpListener,
    app: Router,
    admin: Arc<Admin>,
}

/// Largest request body, in bytes.
const BODY_MAX: usize = 16 * 1024;

impl Server {
    /// A server of what `status` sees. Nothing is served before [`Server::run`].
    pub fn new(
        listener: Listener,
        status: Status,
        settings: Settings,
        reload: mpsc::Sender<ReloadRequest>,
    ) -> Self {
        let Listener(listener) = listener;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let health = health::Window::default();
        let admin = Arc::new(Admin {
            status,
            settings,
            reload,
            health,
            started: since.as_secs_f64(),
        });
        Self {
            listener,
            app: app(admin.clone()),
            admin,
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is done.
    ///
    /// # Errors
    /// The system's, when the listener fails for good.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
        let Self { listener, app, admin } = self;
        let sampler = tokio::spawn(health::sample(admin));
        let guarded = guard::Guarded::new(listener);
        let served = axum::serve(guarded, app).with_graceful_shutdown(stop).await;
        sampler.abort();
        served
    }
}

fn app(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/", get(monitor_v1::root))
        .route("/api/v1/uptime", get(monitor_v1::uptime))
        .route("/api/v1/metrics", get(monitor_v1::metrics))
        .route("/api/v1/metrics/prometheus", get(prometheus::v1))
        .route("/api/v1/storage", get(monitor_v1::storage))
        .route("/api/v1/plugins", get(monitor_v1::plugins))
        .route("/api/v1/health", get(health::v1))
        .route("/api/v2/health", get(health::v2))
        .route("/api/v2/metrics", get(prometheus::v2_text))
        .route("/api/v2/metrics/prometheus", get(prometheus::v2))
        .route(
            "/api/v2/reload",
            get(monitor_v2::reloads)
                .post(monitor_v2::reload)
                .put(monitor_v2::reload),
        )
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/health/delivery", get(health::delivery))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(axum::middleware::map_response(server_header))
        .with_state(admin)
}

/// Scripts look for this header.
async fn server_header(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::SERVER, HeaderValue::from_static("Fluent Bit"));
    response
}
