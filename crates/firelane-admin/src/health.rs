//! Health: Fluent Bit's error counts within a period, and our own live, ready and delivery checks.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::Admin;
use crate::monitor_v1::answer;

/// `health_check` with its limits: unhealthy when, within the period, a count is *above* its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthCheck {
    /// `hc_errors_count`: chunks refused for good, all outputs together.
    pub errors: u64,
    /// `hc_retry_failure_count`: chunks whose retries were used up.
    pub retries_failed: u64,
    /// `hc_period`
    pub period: Duration,
}

/// One look at the counters.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    errors: u64,
    retries_failed: u64,
    dropped: u64,
}

/// The counters of the last period, a sample a second.
#[derive(Debug, Default)]
pub(crate) struct Window(Mutex<VecDeque<(Instant, Sample)>>);

/// Longest period that is kept: a day of seconds would be a waste, an hour is not.
const PERIOD_MAX: Duration = Duration::from_secs(3600);

impl Window {
    fn add(&self, now: Instant, sample: Sample, period: Duration) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back((now, sample));
        // The last sample before the period stays: differences are taken against it.
        while samples
            .get(1)
            .is_some_and(|(at, _)| now.duration_since(*at) >= period)
        {
            samples.pop_front();
        }
    }

    /// What was counted since the start of the period.
    fn since(&self, now: Sample) -> Sample {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = samples.front().map(|(_, sample)| *sample).unwrap_or_default();
        Sample {
            errors: now.errors.saturating_sub(first.errors),
            retries_failed: now.retries_failed.saturating_sub(first.retries_failed),
            dropped: now.dropped.saturating_sub(first.dropped),
        }
    }
}

fn look(admin: &Admin) -> Sample {
    let mut sample = Sample::default();
    let outputs = admin.status.outputs().into_iter();
    let past = admin.status.past_outputs();
    for counts in outputs.map(|output| output.counts).chain(past) {
        sample.errors += counts.errors.get();
        sample.retries_failed += counts.retries_failed.get();
        sample.dropped += counts.dropped.total() + counts.dead_lettered.get();
    }
    sample
}

fn period(admin: &Admin) -> Duration {
    admin
        .settings
        .health_check
        .map_or(Duration::from_secs(60), |check| check.period)
        .min(PERIOD_MAX)
}

/// Takes a sample a second, for ever.
pub(crate) async fn sample(admin: Arc<Admin>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tick.tick().await;
        admin.health.add(Instant::now(), look(&admin), period(&admin));
    }
}

/// `GET /api/v1/health`: only with `health_check`.
pub(crate) async fn v1(State(admin): State<Arc<Admin>>) -> Response {
    let Some(check) = admin.settings.health_check else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if healthy(check, admin.health.since(look(&admin))) {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "error\n").into_response()
    }
}

/// `GET /api/v2/health`
pub(crate) async fn v2(State(admin): State<Arc<Admin>>) -> Response {
    let Some(check) = admin.settings.health_check else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let counted = admin.health.since(look(&admin));
    let ok = healthy(check, counted);
    let status = if ok {
        StatusCode::OK
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
    let body = json!({
        "status": if ok { "ok" } else { "error" },
        "errors": counted.errors,
        "retries_failed": counted.retries_failed,
        "error_limit": check.errors,
        "retry_failure_limit": check.retries_failed,
        "period_limit": check.period.as_secs(),
    });
    answer(status, &body)
}

fn healthy(check: HealthCheck, counted: Sample) -> bool {
    counted.errors <= check.errors && counted.retries_failed <= check.retries_failed
}

/// `GET /health/live`: the process answers.
pub(crate) async fn live() -> Response {
    (StatusCode::OK, "live\n").into_response()
}

/// `GET /health/ready`: sockets are bound and records are taken.
pub(crate) async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    if admin.status.is_ready() {
        (StatusCode::OK, "ready\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    }
}

/// `GET /health/delivery`: no output's oldest record is too old, and nothing was dropped or became a dead
/// letter within the period.
pub(crate) async fn delivery(State(admin): State<Arc<Admin>>) -> Response {
    let oldest_max = admin.settings.delivery_age_max;
    let mut late = false;
    let mut outputs = serde_json::Map::new();
    let replaced = admin.status.replaced_outputs().into_iter();
    for (output, replaced) in admin
        .status
        .outputs()
        .into_iter()
        .map(|output| (output, false))
        .chain(replaced.map(|output| (output, true)))
    {
        late |= output.oldest > oldest_max;
        let counts = &output.counts;
        let value = json!({
            "oldest_unsent_seconds": output.oldest.as_secs_f64(),
            "retained_bytes": counts.retained_bytes.get(),
            "delivered_records": counts.proc_records.get(),
            "dropped_records": counts.dropped.total(),
            "parked_records": counts.parked.get(),
            "dead_lettered_records": counts.dead_lettered.get(),
            "retries": counts.retries.get(),
        });
        let name = output.name.to_string();
        // Of a configuration that a reload has replaced, with records that are still to be delivered.
        outputs.insert(if replaced { name + " (replaced)" } else { name }, value);
    }
    let dropped = admin.health.since(look(&admin)).dropped;
    let ok = !late && dropped == 0;
    let status = if ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let disk = admin.status.log().disk.map(|disk| {
        json!({
            "used_bytes": disk.used, "limit_bytes": disk.limit, "full": disk.full,
            "dead_letters": disk.dead_letters,
        })
    });
    let body = json!({
        "status": if ok { "ok" } else { "error" },
        "dropped_in_period": dropped,
        "disk": disk,
        "oldest_unsent_limit_seconds": oldest_max.as_secs(),
        "outputs": outputs,
    });
    answer(status, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees: limits are strict, and what lies before the period no longer counts.
    #[test]
    fn errors_count_within_the_period() {
        let check = HealthCheck {
            errors: 5,
            retries_failed: 5,
            period: Duration::from_secs(10),
        };
        let window = Window::default();
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let errors = |errors: u64| Sample {
            errors,
            ..Sample::default()
        };
        window.add(at(0), errors(0), check.period);
        assert!(healthy(check, window.since(errors(5))));
        assert!(!healthy(check, window.since(errors(6))));
        for second in 1..30 {
            window.add(at(second), errors(6), check.period);
        }
        assert!(healthy(check, window.since(errors(6))));
        assert!(window.0.lock().unwrap().len() <= 12);
    }
}
