//! API v2: hot reload.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use tokio::sync::oneshot;

use crate::Admin;
use crate::monitor_v1::answer;

/// Longest that a caller waits for a reload to end.
const RELOAD_WAIT: Duration = Duration::from_secs(30);

/// `GET /api/v2/reload`
pub(crate) async fn reloads(State(admin): State<Arc<Admin>>) -> Response {
    answer(
        StatusCode::OK,
        &json!({"hot_reload_count": admin.status.reloads()}),
    )
}

/// `POST` or `PUT /api/v2/reload`: reads the configuration again.
pub(crate) async fn reload(State(admin): State<Arc<Admin>>) -> Response {
    if !admin.settings.hot_reload {
        return answer(
            StatusCode::BAD_REQUEST,
            &json!({"reload": "not enabled", "status": -1}),
        );
    }
    let (sender, receiver) = oneshot::channel();
    if admin.reload.try_send(sender).is_err() {
        return answer(
            StatusCode::CONFLICT,
            &json!({"reload": "in progress", "status": -2}),
        );
    }
    match tokio::time::timeout(RELOAD_WAIT, receiver).await {
        Ok(Ok(Ok(()))) => answer(StatusCode::OK, &json!({"reload": "done", "status": 0})),
        Ok(Ok(Err(why))) => answer(
            StatusCode::BAD_REQUEST,
            &json!({"reload": "failed", "status": -3, "error": why}),
        ),
        Ok(Err(_)) | Err(_) => answer(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({"reload": "no answer", "status": -4}),
        ),
    }
}
