//! The Prometheus text: an interface that users parse (`exec` with `curl | grep`), written by hand and
//! sorted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use firelane_core::{Counter, Reason};

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

    fn counters(&mut self, instance: &str, counters: &[(&str, &Counter)]) {
        for (name, counter) in counters {
            self.counter(name, instance, counter.get());
        }
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
        let counts = &input.counts;
        let counters = [
            ("fluentbit_input_records_total", &counts.records),
            ("fluentbit_input_bytes_total", &counts.bytes),
        ];
        page.counters(&input.name, &counters);
    }
    for filter in admin.status.filters() {
        let counts = &filter.counts;
        let counters = [
            ("fluentbit_filter_records_total", &counts.records),
            ("fluentbit_filter_bytes_total", &counts.bytes),
            ("fluentbit_filter_add_records_total", &counts.add_records),
            ("fluentbit_filter_drop_records_total", &counts.drop_records),
            ("fluentbit_filter_drop_bytes_total", &counts.drop_bytes),
        ];
        page.counters(&filter.name, &counters);
    }
    for output in admin.status.outputs() {
        let (name, counts) = (&output.name, &output.counts);
        let counters = [
            ("fluentbit_output_proc_records_total", &counts.proc_records),
            ("fluentbit_output_proc_bytes_total", &counts.proc_bytes),
            ("fluentbit_output_errors_total", &counts.errors),
            ("fluentbit_output_retries_total", &counts.retries),
            ("fluentbit_output_retries_failed_total", &counts.retries_failed),
            ("fluentbit_output_retried_records_total", &counts.retried_records),
        ];
        page.counters(name, &counters);
        // Fluent Bit counts what it keeps as rejected here too.
        let dropped = counts.dropped.total() + counts.dead_lettered.get();
        page.counter("fluentbit_output_dropped_records_total", name, dropped);
    }
    let uptime = admin.status.uptime().as_secs() as f64;
    let help = "Number of seconds that Fluent Bit has been running.";
    page.add("fluentbit_uptime", "counter", help, &[], uptime);
    let help = "Start time of the process since unix epoch in seconds.";
    let started = admin.started.floor();
    page.add("process_start_time_seconds", "gauge", help, &[], started);
    let labels = [("version", admin.settings.version), ("edition", "firelane")];
    let help = "Build version information.";
    page.add("fluentbit_build_info", "gauge", help, &labels, 1.0);
    page
}

/// The series that v2 has beside those of v1; ours start with `firelane_`.
fn v2_page(admin: &Admin) -> Page {
    let mut page = v1_page(admin);
    v2_inputs(&mut page, admin);
    v2_outputs(&mut page, admin);
    v2_engine(&mut page, admin);
    page
}

fn v2_inputs(page: &mut Page, admin: &Admin) {
    for input in admin.status.inputs() {
        let (name, counts) = (&input.name, &input.counts);
        let over = f64::from(u8::from(input.over_limit));
        page.gauge("fluentbit_input_storage_overlimit", name, over);
        let memory = input.mem_bytes as f64;
        page.gauge("fluentbit_input_storage_memory_bytes", name, memory);
        let paused = counts.paused.get() as f64;
        page.gauge("fluentbit_input_ingestion_paused", name, paused);
        let counters = [
            ("fluentbit_input_files_opened_total", &counts.files_opened),
            ("fluentbit_input_files_closed_total", &counts.files_closed),
            ("fluentbit_input_files_rotated_total", &counts.files_rotated),
            ("firelane_input_received_records_total", &counts.received),
            ("firelane_input_connections_total", &counts.connections),
            ("firelane_input_faults_total", &counts.faults),
            ("firelane_input_pauses_total", &counts.pauses),
        ];
        page.counters(name, &counters);
        dropped(
            page,
            "firelane_input_dropped_records_total",
            name,
            &counts.dropped,
        );
    }
}

fn v2_outputs(page: &mut Page, admin: &Admin) {
    for output in admin.status.outputs() {
        let (name, counts) = (&output.name, &output.counts);
        let counters = [
            ("firelane_output_routed_records_total", &counts.routed),
            ("firelane_output_ambiguous_chunks_total", &counts.ambiguous),
        ];
        page.counters(name, &counters);
        let retained = counts.retained_bytes.get() as f64;
        page.gauge("firelane_output_retained_bytes", name, retained);
        page.counter(
            "firelane_output_dead_lettered_records_total",
            name,
            counts.dead_lettered.get(),
        );
        let parked = counts.parked.get() as f64;
        page.gauge("firelane_output_parked_records", name, parked);
        let in_flight = counts.in_flight.get() as f64;
        page.gauge("firelane_output_in_flight_chunks", name, in_flight);
        let oldest = output.oldest.as_secs_f64();
        page.gauge("firelane_output_oldest_unsent_seconds", name, oldest);
        dropped(
            page,
            "firelane_output_dropped_records_total",
            name,
            &counts.dropped,
        );
    }
}

fn v2_engine(page: &mut Page, admin: &Admin) {
    let ledger = admin.status.ingest_ledger();
    let sides = [
        ("received", ledger.received),
        ("appended", ledger.appended),
        ("unrouted", ledger.unrouted),
    ];
    for (door, value) in sides {
        let (metric, labels) = ("firelane_ingest_records_total", [("door", door)]);
        let help = "Records by the door they took into the log.";
        page.add(metric, "counter", help, &labels, value as f64);
    }
    let log = admin.status.log();
    let gauges = [
        (
            "fluentbit_storage_mem_chunks",
            "Chunks in memory.",
            log.frames as f64,
        ),
        (
            "firelane_memory_bytes",
            "Bytes of records in memory.",
            log.used as f64,
        ),
        (
            "firelane_memory_limit_bytes",
            "Budget for records in memory.",
            log.limit as f64,
        ),
        (
            "fluentbit_hot_reloaded_times",
            "Reloads of the configuration.",
            admin.status.reloads() as f64,
        ),
    ];
    for (metric, help, value) in gauges {
        page.add(metric, "gauge", help, &[], value);
    }
    let Some(disk) = log.disk else { return };
    let gauges = [
        (
            "fluentbit_storage_fs_chunks",
            "Chunks on disk only.",
            log.cold as f64,
        ),
        (
            "firelane_disk_bytes",
            "Bytes of the log on disk.",
            disk.used as f64,
        ),
        (
            "firelane_disk_full",
            "1 while nothing more can be written to the log on disk.",
            f64::from(u8::from(disk.full)),
        ),
        (
            "firelane_dead_letters",
            "Records in the folder of dead letters.",
            disk.dead_letters.unwrap_or(0) as f64,
        ),
    ];
    for (metric, help, value) in gauges {
        page.add(metric, "gauge", help, &[], value);
    }
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
