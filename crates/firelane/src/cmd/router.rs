//! `firelane router`: runs a pipeline until it is told to stop.

use std::time::Duration;

use firelane_admin::{HealthCheck, Listener, ReloadRequest, Server, Settings};
use firelane_conf::{Diagnostic, ServiceConfig, Severity, Sources, Span};
use firelane_engine::{Ended, Router, StartError};
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use crate::compat::RouterArgs;
use crate::exit::{Exit, Stage};
use crate::log::{self, Verbosity};
use crate::prepare::{Prepared, prepare};
use crate::privileges;
use crate::report::Bad;
use crate::say;
use crate::signals::{Signal, Signals};

/// How it ended, and when Fluent Bit would have: the two decide its exit code.
pub(crate) type Outcome = (Exit, Stage);

/// Runs, or checks with `--dry-run`.
pub(crate) fn run(args: &RouterArgs) -> Outcome {
    let user = match privileges::switch(args.user.as_deref()) {
        Ok(user) => user,
        Err(refused) => {
            say::line(&log::line("error", &format!("[engine] {}", refused.text)));
            return (refused.exit, Stage::Init);
        }
    };
    if let Some(folder) = &args.workdir
        && let Err(error) = std::env::set_current_dir(folder)
    {
        crate::report::usage(&format!(
            "cannot change to folder `{}`: {error}",
            folder.display()
        ));
        return (Exit::NoInput, Stage::Load);
    }
    let prepared = match prepare(args) {
        Ok(prepared) => prepared,
        Err(bad) => {
            bad.print(
                &crate::report::config_name(args.config.as_deref()),
                args.fluent_bit,
            );
            // A dry run ends with 1 whatever is wrong.
            let stage = if args.dry_run { Stage::Load } else { bad.stage() };
            return (bad.exit, stage);
        }
    };
    if args.dry_run {
        tell(&prepared.warnings, &prepared.sources, args.fluent_bit);
        say::line("configuration test is successful");
        return (Exit::Ok, Stage::Init);
    }
    if let Err(outcome) = start_log(&prepared.service, args) {
        return outcome;
    }
    if let Some(user) = user {
        info!(target: "engine", "runs as {user}, with no rights of root");
    }
    let workers = crate::cpu::workers();
    let mut builder = match workers {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder
        .worker_threads(workers)
        .max_blocking_threads(BLOCKING_MAX)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(target: "engine", %error, "cannot start threads");
            return (Exit::Failed, Stage::Init);
        }
    };
    let exit = runtime.block_on(serve(args, prepared));
    runtime.shutdown_timeout(Duration::from_millis(200));
    (exit, Stage::Init)
}

/// Threads for encoding, compression and files.
const BLOCKING_MAX: usize = 16;

fn start_log(service: &ServiceConfig, args: &RouterArgs) -> Result<(), Outcome> {
    let configured = Verbosity::parse(&service.log_level).unwrap_or(Verbosity::Info);
    let from_env = std::env::var("FLB_LOG_LEVEL")
        .ok()
        .and_then(|word| Verbosity::parse(&word));
    let level = from_env.unwrap_or(configured).more(args.verbose);
    let level = if args.quiet && args.verbose == 0 {
        level.min(Verbosity::Error)
    } else {
        level
    };
    let file = match &service.log_file {
        Some(path) => match std::fs::OpenOptions::new().create(true).append(true).open(path) {
            Ok(file) => Some(file),
            Err(error) => {
                let text = format!("[log] cannot open log file `{path}`: {error}");
                say::line(&log::line("error", &text));
                return Err((Exit::Open, Stage::Init));
            }
        },
        None => None,
    };
    if args.fluent_bit && !args.quiet {
        let (version, own) = (crate::FLUENT_BIT_VERSION, env!("CARGO_PKG_VERSION"));
        say::line(&format!("Fluent Bit v{version} (firelane {own})"));
    }
    log::start(level, file);
    Ok(())
}

/// Says what a dry run found, on standard error: there is no log yet.
fn tell(diagnostics: &[Diagnostic], sources: &Sources, fluent_bit: bool) {
    if !fluent_bit {
        crate::report::print(diagnostics, sources);
        return;
    }
    for diagnostic in diagnostics {
        let level = match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warn",
            Severity::Note => "info",
        };
        let text = format!("[config] {}", log_text(diagnostic, sources));
        say::line(&log::line(level, &text));
    }
}

/// Logs what was found in the configuration.
fn log_all(diagnostics: &[Diagnostic], sources: &Sources) {
    for diagnostic in diagnostics {
        let text = log_text(diagnostic, sources);
        match diagnostic.severity {
            Severity::Error => error!(target: "config", "{text}"),
            Severity::Warning => warn!(target: "config", "{text}"),
            Severity::Note => info!(target: "config", "{text}"),
        }
    }
}

fn log_text(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let Diagnostic {
        message, span, help, ..
    } = diagnostic;
    let instance = diagnostic
        .plugin
        .as_deref()
        .map_or(String::new(), |name| format!("{name}: "));
    in_one_line(&format!("{instance}{message}"), *span, help.as_deref(), sources)
}

/// A message of the log with its place and help: `message (file:line:column); help`.
fn in_one_line(message: &str, span: Option<Span>, help: Option<&str>, sources: &Sources) -> String {
    let place = span.and_then(|span| sources.place(span));
    let place = place.map_or(String::new(), |place| format!(" ({place})"));
    let help = help.map_or(String::new(), |help| format!("; {help}"));
    format!("{message}{place}{help}")
}

async fn serve(args: &RouterArgs, prepared: Prepared) -> Exit {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            error!(target: "engine", %error, "cannot listen for signals");
            return Exit::Failed;
        }
    };
    let Prepared {
        plan,
        service,
        monitor,
        warnings,
        sources,
    } = prepared;
    log_all(&warnings, &sources);
    for note in &args.notes {
        info!(target: "config", "{note}");
    }
    let (sizes, unlimited) = (plan.sizes(), plan.unlimited_retries());
    // Before the router: inputs take records as soon as they run, and a start that fails must not have any.
    let admin = match bind_admin(&service).await {
        Ok(admin) => admin,
        Err(text) => {
            let help = "choose another `HTTP_Port` or `HTTP_Listen`";
            error!(target: "http_server", "{}", in_one_line(&text, monitor, Some(help), &sources));
            return Exit::Open;
        }
    };
    let router = match Router::start(plan).await {
        Ok(router) => router,
        Err(error) => {
            failed_start(&error, &sources);
            return Exit::Open;
        }
    };
    let (reload_sender, reloads) = mpsc::channel(1);
    let (stop_admin, admin_stopped) = watch::channel(false);
    if let Some(listener) = admin {
        let server = Server::new(listener, router.status(), settings(&service), reload_sender);
        tokio::spawn(run_admin(server, admin_stopped));
    }
    let (inputs, filters, outputs) = sizes;
    say_deviations(&unlimited);
    let config = crate::report::config_name(args.config.as_deref());
    info!(target: "engine", inputs, filters, outputs, %config, "started");
    let ended = until_stop(args, router, &mut signals, reloads).await;
    stop_admin.send_replace(true);
    last_words(&ended)
}

/// Where this router does otherwise than Fluent Bit by default, said once.
fn say_deviations(unlimited: &[std::sync::Arc<str>]) {
    if !unlimited.is_empty() {
        let names: Vec<_> = unlimited.iter().map(AsRef::as_ref).collect();
        let outputs = names.join(",");
        info!(target: "engine", %outputs, "no `Retry_Limit`: failed chunks are retried until they are delivered (Fluent Bit: once)");
    }
}

fn failed_start(failure: &StartError, sources: &Sources) {
    let StartError {
        instance,
        kind,
        message,
        help,
        span,
        ..
    } = failure;
    let text = in_one_line(message, *span, help.as_deref(), sources);
    error!(target: "engine", "failed initialize {kind} {instance}: {text}");
}

/// Binds the address of the monitoring server, where one is asked for; the error says why it cannot listen.
async fn bind_admin(service: &ServiceConfig) -> Result<Option<Listener>, String> {
    if !service.http_server {
        return Ok(None);
    }
    let listen = service.http_listen.as_deref().unwrap_or("127.0.0.1");
    let address = match listen.contains(':') && !listen.starts_with('[') {
        true => format!("[{listen}]:{}", service.http_port),
        false => format!("{listen}:{}", service.http_port),
    };
    match Listener::bind(&address).await {
        Ok(listener) => {
            info!(target: "http_server", %address, "listens");
            Ok(Some(listener))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(format!("cannot listen on {address}: address already in use"))
        }
        Err(error) => Err(format!("cannot listen on {address}: {error}")),
    }
}

fn settings(service: &ServiceConfig) -> Settings {
    let health_check = service.health_check.then_some(HealthCheck {
        errors: service.hc_errors_count,
        retries_failed: service.hc_retry_failure_count,
        period: service.hc_period,
    });
    Settings {
        version: crate::FLUENT_BIT_VERSION,
        plugins: crate::registry::names(),
        health_check,
        storage_metrics: service.storage_metrics,
        hot_reload: service.hot_reload,
        delivery_age_max: DELIVERY_AGE_MAX,
    }
}

async fn run_admin(server: Server, mut stopped: watch::Receiver<bool>) {
    let stop = async move {
        // An error means that the sender is gone: that is the end too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    if let Err(error) = server.run(stop).await {
        error!(target: "http_server", %error, "the monitoring server has ended");
    }
}

/// Oldest record above which `/health/delivery` fails.
const DELIVERY_AGE_MAX: Duration = Duration::from_secs(60);

/// Runs until a signal, or the end of an input, says stop; reloads on the way.
async fn until_stop(
    args: &RouterArgs,
    mut router: Router,
    signals: &mut Signals,
    mut reloads: mpsc::Receiver<ReloadRequest>,
) -> Ended {
    loop {
        let ended = router.ended();
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Reload => {
                    // Its result was logged.
                    let _ = reload(args, &mut router).await;
                }
                Signal::Stop(name) => {
                    info!(target: "engine", "caught signal ({name})");
                    break;
                }
            },
            Some(answer) = reloads.recv() => {
                let result = reload(args, &mut router).await;
                // The caller may have hung up.
                let _ = answer.send(result);
            }
            () = ended => break,
        }
    }
    let hurry = async {
        loop {
            if let Signal::Stop(name) = signals.next().await {
                warn!(target: "engine", "caught signal ({name}) again, not waiting any longer");
                return;
            }
        }
    };
    router.stop(hurry).await
}

/// Reads the configuration again and puts it in place. A bad one changes nothing.
async fn reload(args: &RouterArgs, router: &mut Router) -> Result<(), String> {
    info!(target: "reload", "reading the configuration again");
    // Files, and perhaps secrets from far away: not on a thread that reads sockets.
    let own = args.clone();
    let prepared = tokio::task::spawn_blocking(move || prepare(&own));
    let prepared = prepared.await.map_err(|error| error.to_string())?;
    let prepared = prepared.map_err(|bad: Bad| {
        log_all(&bad.diagnostics, &bad.sources);
        error!(target: "reload", "the new configuration is wrong: the old one runs on");
        "the new configuration is wrong, see the log".to_string()
    })?;
    log_all(&prepared.warnings, &prepared.sources);
    router.reload(prepared.plan).await.map_err(|error| {
        failed_start(&error, &prepared.sources);
        error.to_string()
    })?;
    info!(target: "reload", "done");
    Ok(())
}

/// The exit lines with the two ledgers, and the exit code.
fn last_words(ended: &Ended) -> Exit {
    info!(target: "engine", "ledger ingest: {}", ended.ingest);
    for route in &ended.routes {
        info!(target: "engine", "ledger {route}");
    }
    let (left, lost) = (ended.left(), ended.lost());
    if !ended.balances() {
        error!(target: "engine", "a ledger does not balance: please report this with the lines above");
    }
    let safe = ended.is_safe();
    if left > 0 && safe {
        info!(target: "engine", records = left, "records could not be delivered within the grace period: they are on disk, the next run delivers them");
    } else if left > 0 {
        let (records, kept) = (left, ended.kept);
        let unsaved = if kept { ended.unsaved } else { left };
        error!(target: "engine", records, unsaved, "records could not be delivered within the grace period; those that are not on disk are lost");
    }
    if lost > 0 {
        error!(target: "engine", records = lost, "records were dropped by outputs: the ledgers say why");
    }
    info!(target: "engine", "service has stopped ({} pending records)", left);
    if !safe || lost > 0 {
        Exit::LeftOver
    } else {
        Exit::Ok
    }
}
