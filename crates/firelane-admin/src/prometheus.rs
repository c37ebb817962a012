//! The Prometheus text: an interface that users parse (`exec` with `curl | grep`), written by hand and sorted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use firelane_core::Reason;

use crate::Admin;

/// Series by metric name, each with its labels and value.
#[derive(Default)]
struct Page {
    metrics: BTreeMap<String, Metric>,
}

struct Metric {
    kind: &'static str,
    help: &'static str,
    series: Vec<(String, f64)>,
}

impl Page {
    fn add(
        &mut self,
        name: &str,
        kind: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        let metric = self.metrics.entry(name.to_string()).or_insert(Metric {
            kind,
            help,
            series: Vec::new(),
        });
        let mut text = String::new();
        for (key, value) in labels {
            let separator = if text.is_empty() { "" } else { "," };
            // Writing to a String cannot fail.
            let _ = write!(text, "{separator}{key}=\"{}\"", escape(value));
        }
        metric.series.push((text, value));
    }

    fn counter(&mut self, name: &str, instance: &str, value: u64) {
        self.add(
            name,
            "counter",
            "Fluentbit metrics.",
            &[("name", instance)],
            value as f64,
        );
    }

    fn gauge(&mut self, name: &str, instance: &str, value: f64) {
        self.add(name, "gauge", "Fluentbit metrics.", &[("name", instance)], value);
    }

    /// Sorted by name and labels, with the time in milliseconds behind each value where `stamp` is given.
    fn render(&self, stamp: Option<u128>) -> String {
        let mut out = String::new();
        for (name, metric) in &self.metrics {
            let _ = writeln!(out, "# HELP {name} {}", metric.help);
            let _ = writeln!(out, "# TYPE {name} {}", metric.kind);
            let mut series: Vec<_> = metric.series.iter().collect();
            series.sort_by(|a, b| a.0.cmp(&b.0));
            for (labels, value) in series {
                let braces = if labels.is_empty() {
                    String::new()
                } else {
                    format!("{{{labels}}}")
                };
                let _ = match stamp {
                    Some(stamp) => writeln!(out, "{name}{braces} {value} {stamp}"),
                    None => writeln!(out, "{name}{braces} {value}"),
                };
            }
        }
        out
    }
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// The series of API v1.
fn v1_page(admin: &Admin) -> Page {
    let mut page = Page::default();
    for input in admin.status.inputs() {
        page.counter(
            "fluentbit_input_records_total",
            &input.name,
            input.counts.records.get(),
        );
        page.counter(
            "fluentbit_input_bytes_total",
            &input.name,
            input.counts.bytes.get(),
        );
    }
    for filter in admin.status.filters() {
        let (name, counts) = (&filter.name, &filter.counts);
        page.counter("fluentbit_filter_records_total", name, counts.records.get());
        page.counter("fluentbit_filter_bytes_total", name, counts.bytes.get());
        page.counter(
            "fluentbit_filter_add_records_total",
            name,
            counts.add_records.get(),
        );
        page.counter(
            "fluentbit_filter_drop_records_total",
            name,
            counts.drop_records.get(),
        );
        page.counter("fluentbit_filter_drop_bytes_total", name, counts.drop_bytes.get());
    }
    for output in admin.status.outputs() {
        let (name, counts) = (&output.name, &output.counts);
        page.counter(
            "fluentbit_output_proc_records_total",
            name,
            counts.proc_records.get(),
        );
        page.counter("fluentbit_output_proc_bytes_total", name, counts.proc_bytes.get());
        page.counter("fluentbit_output_errors_total", name, counts.errors.get());
        page.counter("fluentbit_output_retries_total", name, counts.retries.get());
        page.counter(
            "fluentbit_output_retries_failed_total",
            name,
            counts.retries_failed.get(),
        );
        page.counter(
            "fluentbit_output_dropped_records_total",
            name,
            counts.dropped.total(),
        );
        page.counter(
            "fluentbit_output_retried_records_total",
            name,
            counts.retried_records.get(),
        );
    }
    let uptime = admin.status.uptime().as_secs() as f64;
    page.add(
        "fluentbit_uptime",
        "counter",
        "Number of seconds that Fluent Bit has been running.",
        &[],
        uptime,
    );
    let help = "Start time of the process since unix epoch in seconds.";
    page.add(
        "process_start_time_seconds",
        "gauge",
        help,
        &[],
        admin.started.floor(),
    );
    let labels = [("version", admin.settings.version), ("edition", "firelane")];
    page.add(
        "fluentbit_build_info",
        "gauge",
        "Build version information.",
        &labels,
        1.0,
    );
    page
}

/// The series that v2 has beside those of v1; ours start with `firelane_`.
fn v2_page(admin: &Admin) -> Page {
    let mut page = v1_page(admin);
    for input in admin.status.inputs() {
        let (name, counts) = (&input.name, &input.counts);
        page.gauge(
            "fluentbit_input_ingestion_paused",
            name,
            counts.paused.get() as f64,
        );
        page.gauge(
            "fluentbit_input_storage_overlimit",
            name,
            f64::from(u8::from(input.over_limit)),
        );
        page.gauge(
            "fluentbit_input_storage_memory_bytes",
            name,
            input.mem_bytes as f64,
        );
        page.counter(
            "fluentbit_input_files_opened_total",
            name,
            counts.files_opened.get(),
        );
        page.counter(
            "fluentbit_input_files_closed_total",
            name,
            counts.files_closed.get(),
        );
        page.counter(
            "fluentbit_input_files_rotated_total",
            name,
            counts.files_rotated.get(),
        );
        page.counter(
            "firelane_input_received_records_total",
            name,
            counts.received.get(),
        );
        page.counter("firelane_input_connections_total", name, counts.connections.get());
        page.counter("firelane_input_faults_total", name, counts.faults.get());
        page.counter("firelane_input_pauses_total", name, counts.pauses.get());
        dropped(
            &mut page,
            "firelane_input_dropped_records_total",
            name,
            &counts.dropped,
        );
    }
    for output in admin.status.outputs() {
        let (name, counts) = (&output.name, &output.counts);
        page.counter("firelane_output_routed_records_total", name, counts.routed.get());
        page.counter(
            "firelane_output_ambiguous_chunks_total",
            name,
            counts.ambiguous.get(),
        );
        page.gauge(
            "firelane_output_retained_bytes",
            name,
            counts.retained_bytes.get() as f64,
        );
        page.gauge(
            "firelane_output_in_flight_chunks",
            name,
            counts.in_flight.get() as f64,
        );
        page.gauge(
            "firelane_output_oldest_unsent_seconds",
            name,
            output.oldest.as_secs_f64(),
        );
        dropped(
            &mut page,
            "firelane_output_dropped_records_total",
            name,
            &counts.dropped,
        );
    }
    let ledger = admin.status.ingest_ledger();
    let sides = [
        ("received", ledger.received),
        ("appended", ledger.appended),
        ("unrouted", ledger.unrouted),
    ];
    for (door, value) in sides {
        let help = "Records by the door they took into the log.";
        page.add(
            "firelane_ingest_records_total",
            "counter",
            help,
            &[("door", door)],
            value as f64,
        );
    }
    let log = admin.status.log();
    page.add(
        "fluentbit_storage_mem_chunks",
        "gauge",
        "Chunks in memory.",
        &[],
        log.frames as f64,
    );
    page.add(
        "firelane_memory_bytes",
        "gauge",
        "Bytes of records in memory.",
        &[],
        log.used as f64,
    );
    page.add(
        "firelane_memory_limit_bytes",
        "gauge",
        "Budget for records in memory.",
        &[],
        log.limit as f64,
    );
    let help = "Reloads of the configuration.";
    page.add(
        "fluentbit_hot_reloaded_times",
        "gauge",
        help,
        &[],
        admin.status.reloads() as f64,
    );
    page
}

fn dropped(page: &mut Page, metric: &str, instance: &str, counts: &firelane_core::counts::Dropped) {
    for reason in Reason::ALL {
        let n = counts.get(reason);
        if n > 0 {
            let labels = [("name", instance), ("reason", reason.label())];
            page.add(
                metric,
                "counter",
                "Records dropped, by reason.",
                &labels,
                n as f64,
            );
        }
    }
}

fn text(body: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], body).into_response()
}

/// `GET /api/v1/metrics/prometheus`: with the time behind each value.
pub(crate) async fn v1(State(admin): State<Arc<Admin>>) -> Response {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    text(v1_page(&admin).render(Some(now)))
}

/// `GET /api/v2/metrics/prometheus`
pub(crate) async fn v2(State(admin): State<Arc<Admin>>) -> Response {
    text(v2_page(&admin).render(None))
}

/// `GET /api/v2/metrics`: the same series, a line each, without comments.
pub(crate) async fn v2_text(State(admin): State<Arc<Admin>>) -> Response {
    let page = v2_page(&admin).render(None);
    let lines: Vec<_> = page.lines().filter(|line| !line.starts_with('#')).collect();
    text(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_sorted_and_escaped() {
        let mut page = Page::default();
        page.counter("b_total", "z\"1", 3);
        page.counter("b_total", "a", 2);
        page.add("a", "gauge", "A.", &[], 0.5);
        let want = "# HELP a A.\n# TYPE a gauge\na 0.5 7\n# HELP b_total Fluentbit metrics.\n\
                    # TYPE b_total counter\nb_total{name=\"a\"} 2 7\nb_total{name=\"z\\\"1\"} 3 7\n";
        assert_eq!(page.render(Some(7)), want);
    }
}
