//! API v1: JSON, as Fluent Bit writes it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::Admin;

type Shared = State<Arc<Admin>>;

/// A JSON answer. Keys keep their order.
pub(crate) fn answer(status: StatusCode, value: &Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
        .into_response()
}

/// `GET /`
pub(crate) async fn root(State(admin): Shared) -> Response {
    let version = admin.settings.version;
    answer(
        StatusCode::OK,
        &json!({"fluent-bit": {"version": version, "edition": "firelane", "flags": ["FLB_HAVE_TLS", "FLB_HAVE_METRICS"]}}),
    )
}

/// `GET /api/v1/uptime`
pub(crate) async fn uptime(State(admin): Shared) -> Response {
    let secs = admin.status.uptime().as_secs();
    answer(
        StatusCode::OK,
        &json!({"uptime_sec": secs, "uptime_hr": uptime_text(secs)}),
    )
}

/// `Fluent Bit has been running:  0 day, 0 hour, 0 minute and 8 seconds`
pub(crate) fn uptime_text(secs: u64) -> String {
    let one = |n: u64, unit: &str| format!("{n} {unit}{}", if n > 1 { "s" } else { "" });
    let (days, hours, minutes) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60);
    let parts = [one(days, "day"), one(hours, "hour"), one(minutes, "minute")].join(", ");
    let seconds = secs % 60;
    let ending = if seconds == 1 { "" } else { "s" };
    format!("Fluent Bit has been running:  {parts} and {seconds} second{ending}")
}

/// `GET /api/v1/metrics`
pub(crate) async fn metrics(State(admin): Shared) -> Response {
    let mut inputs = Map::new();
    for input in admin.status.inputs() {
        let (records, bytes) = (input.counts.records.get(), input.counts.bytes.get());
        inputs.insert(
            input.name.to_string(),
            json!({"records": records, "bytes": bytes}),
        );
    }
    let mut filters = Map::new();
    for filter in admin.status.filters() {
        let counts = &filter.counts;
        let value = json!({
            "drop_records": counts.drop_records.get(),
            "add_records": counts.add_records.get(),
            "records": counts.records.get(),
            "bytes": counts.bytes.get(),
            "drop_bytes": counts.drop_bytes.get(),
        });
        filters.insert(filter.name.to_string(), value);
    }
    let mut outputs = Map::new();
    for output in admin.status.outputs() {
        let counts = &output.counts;
        let value = json!({
            "proc_records": counts.proc_records.get(),
            "proc_bytes": counts.proc_bytes.get(),
            "errors": counts.errors.get(),
            "retries": counts.retries.get(),
            "retries_failed": counts.retries_failed.get(),
            "dropped_records": counts.dropped.total(),
            "retried_records": counts.retried_records.get(),
        });
        outputs.insert(output.name.to_string(), value);
    }
    answer(
        StatusCode::OK,
        &json!({"input": inputs, "filter": filters, "output": outputs}),
    )
}

/// `GET /api/v1/plugins`
pub(crate) async fn plugins(State(admin): Shared) -> Response {
    let [inputs, filters, outputs] = &admin.settings.plugins;
    let value = json!({"plugins": {"inputs": inputs, "filters": filters, "outputs": outputs}});
    answer(StatusCode::OK, &value)
}

/// `GET /api/v1/storage`: only with `storage.metrics`.
pub(crate) async fn storage(State(admin): Shared) -> Response {
    if !admin.settings.storage_metrics {
        return StatusCode::NOT_FOUND.into_response();
    }
    let log = admin.status.log();
    let inputs = admin.status.inputs();
    let mut input_chunks = Map::new();
    for input in &inputs {
        let size = |bytes: usize| format!("{bytes}b");
        let status = json!({
            "overlimit": input.over_limit,
            "mem_size": size(input.mem_bytes),
            "mem_limit": size(input.mem_limit.unwrap_or(0)),
        });
        let up = u64::from(input.mem_bytes > 0);
        let chunks =
            json!({"total": up, "up": up, "down": 0, "busy": up, "busy_size": size(input.mem_bytes)});
        input_chunks.insert(
            input.name.to_string(),
            json!({"status": status, "chunks": chunks}),
        );
    }
    let (frames, cold) = (log.frames, log.cold);
    let layer = json!({
        "total_chunks": frames + cold, "mem_chunks": frames, "fs_chunks": cold, "fs_chunks_up": 0, "fs_chunks_down": cold,
    });
    answer(
        StatusCode::OK,
        &json!({"storage_layer": {"chunks": layer}, "input_chunks": input_chunks}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_reads_as_fluent_bit_writes_it() {
        let text = "Fluent Bit has been running:  0 day, 0 hour, 0 minute and 8 seconds";
        assert_eq!(uptime_text(8), text);
        let text = "Fluent Bit has been running:  2 days, 1 hour, 1 minute and 1 second";
        assert_eq!(uptime_text(2 * 86_400 + 3661), text);
    }
}
