//! What is written, in the spelling of the API.

use serde_json::{Map, Value as Json, json};

use super::output::{Chosen, Facts};
use crate::firelens::Dialect;

/// The name of a new router.
pub(super) const ROUTER: &str = "log_router";
/// Seconds that an application has to stop; the agent's own default.
pub(super) const APP_STOP_TIMEOUT: i64 = 30;
/// Most seconds that Fargate allows.
const STOP_TIMEOUT_MAX: i64 = 120;
/// MiB kept for the router. The agent lets its socket input buffer half of it.
pub(super) const RESERVATION: i64 = 100;

/// The network of the task, as far as it matters to the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// `awsvpc`.
    Awsvpc,
    /// `bridge`, or none given.
    Bridge,
    /// One of the two: the file does not say which.
    Either,
    /// `host` or `none`.
    Host,
    /// One that only the deployment knows.
    Open,
}

/// Whether a new router gets a health check: the generated configuration must have the input for it.
pub(super) fn has_health_check(kind: Dialect, mode: Mode) -> bool {
    kind == Dialect::FluentBit && !matches!(mode, Mode::Host | Mode::Open)
}

/// A new router. `stop` is the longest that one of its users may take to stop.
pub(super) fn router(kind: Dialect, mode: Mode, facts: &Facts, stop: i64) -> Json {
    let image = match kind {
        Dialect::FluentBit => "public.ecr.aws/aws-observability/aws-for-fluent-bit:stable",
        Dialect::Fluentd => "fluent/fluentd:v1.16-debian-1",
    };
    let mut all = Map::new();
    all.insert("name".into(), ROUTER.into());
    all.insert("image".into(), image.into());
    all.insert("essential".into(), true.into());
    all.insert("user".into(), "0".into());
    all.insert("memoryReservation".into(), RESERVATION.into());
    let firelens = json!({"type": kind.name(), "options": {"enable-ecs-log-metadata": "true"}});
    all.insert("firelensConfiguration".into(), firelens);
    if has_health_check(kind, mode) {
        all.insert("healthCheck".into(), health_check());
    }
    // A restart may change the router's address on the bridge, and nobody tells its users.
    if matches!(mode, Mode::Awsvpc | Mode::Host) {
        all.insert("restartPolicy".into(), json!({"enabled": true}));
    }
    let stop = (stop + 30).min(STOP_TIMEOUT_MAX);
    all.insert("stopTimeout".into(), stop.into());
    let own_log = json!({
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": facts.group,
            "awslogs-region": facts.region,
            "awslogs-stream-prefix": "firelens",
            "awslogs-create-group": "true",
        },
    });
    all.insert("logConfiguration".into(), own_log);
    Json::Object(all)
}

/// Asks the input that the agent's configuration has for it.
fn health_check() -> Json {
    json!({
        "command": ["CMD-SHELL", "echo '{\"health\": \"check\"}' | nc 127.0.0.1 8877 || exit 1"],
        "interval": 10,
        "timeout": 5,
        "retries": 2,
        "startPeriod": 30,
    })
}

/// One element of `dependsOn`.
pub(super) fn dependency(router: &str, condition: &str) -> Json {
    json!({"containerName": router, "condition": condition})
}

/// The log configuration of a container.
pub(super) fn log_configuration(chosen: &Chosen) -> Json {
    let options: Map<_, _> = chosen.options.iter().cloned().collect();
    let mut all = Map::new();
    all.insert("logDriver".into(), crate::taskdef::AWSFIRELENS.into());
    all.insert("options".into(), Json::Object(options));
    if !chosen.secrets.is_empty() {
        let secret = |(name, from): &(String, String)| json!({"name": name, "valueFrom": from});
        let secrets = chosen.secrets.iter().map(secret).collect();
        all.insert("secretOptions".into(), Json::Array(secrets));
    }
    Json::Object(all)
}
