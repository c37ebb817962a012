//! The inputs of a running router: started, kept or ended by a reload, drained.

use std::sync::Arc;

use firelane_conf::{Config, Entry, Section};
use firelane_core::{Ingest, InputCounts, InputCx, Phase, StopSource};
use tokio::task::JoinHandle;
use tracing::{error, info};

use crate::budget::InputBudget;
use crate::build::PlannedInput;
use crate::pipeline::InputSink;
use crate::router::{HANDOVER, QUIET, Shared};

/// What the status shows of an input.
#[derive(Clone)]
pub(crate) struct InputInfo {
    pub(crate) name: Arc<str>,
    pub(crate) plugin: &'static str,
    pub(crate) counts: Arc<InputCounts>,
    pub(crate) budget: Arc<InputBudget>,
}

/// An input that runs.
pub(crate) struct Running {
    pub(crate) info: InputInfo,
    /// See [`fingerprint`].
    fingerprint: String,
    stop: StopSource,
    task: JoinHandle<()>,
}

/// The inputs of a router. Each stands in one of the lists, so that no counter goes backwards.
#[derive(Default)]
pub(crate) struct Inputs {
    pub(crate) running: Vec<Running>,
    /// Those that were told to end and have not.
    pub(crate) leaving: Vec<InputInfo>,
    /// Counters of those that have ended.
    pub(crate) ended: Vec<Arc<InputCounts>>,
}

/// An input's section as text, and the parsers where it names one: what a reload compares to tell whether the
/// input may run on.
pub(crate) fn fingerprint(section: &Section, config: &Config) -> String {
    let line = |entry: &Entry| format!("{}\0{}\n", entry.key.value, entry.value.value);
    let names_parser = |entry: &Entry| entry.key.value.to_ascii_lowercase().contains("parser");
    let parsers = config.parsers.iter().chain(&config.multiline_parsers);
    let parsers = parsers.filter(|_| section.entries.iter().any(names_parser));
    let sections = std::iter::once(section).chain(parsers);
    sections
        .flat_map(|section| section.entries.iter().map(line))
        .collect()
}

impl Inputs {
    /// Splits `planned` into inputs that run already (by fingerprint, and not to their end yet), which stay,
    /// and those to start. Takes out the running ones that are not planned any more.
    pub(crate) fn replace(&mut self, planned: Vec<PlannedInput>) -> (Vec<PlannedInput>, Vec<Running>) {
        let mut running = std::mem::take(&mut self.running);
        let mut fresh = Vec::new();
        for input in planned {
            let same = |known: &Running| known.fingerprint == input.fingerprint && !known.task.is_finished();
            match running.iter().position(same) {
                Some(at) => self.running.push(running.remove(at)),
                None => fresh.push(input),
            }
        }
        self.leaving
            .extend(running.iter().map(|input| input.info.clone()));
        (fresh, running)
    }

    /// Takes all of them out.
    pub(crate) fn take(&mut self) -> Vec<Running> {
        self.replace(Vec::new()).1
    }

    /// All that are there.
    pub(crate) fn infos(&self) -> impl Iterator<Item = &InputInfo> {
        self.running.iter().map(|input| &input.info).chain(&self.leaving)
    }

    /// Another pipeline takes their appends: where records lead is not known any more.
    pub(crate) fn forget_routes(&self) {
        self.infos().for_each(|info| info.budget.forget_routes());
    }

    fn ended(&mut self, inputs: &[Running]) {
        for Running { info, .. } in inputs {
            self.leaving
                .retain(|known| !Arc::ptr_eq(&known.counts, &info.counts));
            self.ended.push(info.counts.clone());
        }
    }
}

/// Tells inputs that the drain has begun and waits for them.
pub(crate) async fn drain(inputs: &mut [Running]) {
    for input in inputs.iter() {
        input.stop.advance(Phase::Draining);
    }
    wait(inputs).await;
}

/// Waits for all of them.
async fn wait(inputs: &mut [Running]) {
    for input in inputs.iter_mut().filter(|input| !input.task.is_finished()) {
        // A panic is reported by the task's own error; nothing is left to wait for.
        let _ = (&mut input.task).await;
    }
}

/// Ends inputs that were drained. Appends that wait for memory end too; what they carried is counted.
pub(crate) async fn end(shared: &Shared, mut inputs: Vec<Running>) {
    for input in &inputs {
        input.stop.advance(Phase::Over);
        input.info.budget.close();
    }
    if tokio::time::timeout(QUIET, wait(&mut inputs)).await.is_err() {
        inputs.iter().for_each(|input| input.task.abort());
        wait(&mut inputs).await;
    }
    shared.inputs().ended(&inputs);
}

/// Drains inputs that a reload ended, all at the same time.
pub(crate) async fn retire(shared: &Shared, mut inputs: Vec<Running>) {
    // Clients that never fall silent are cut after the handover time, having been read up to then.
    let _ = tokio::time::timeout(HANDOVER, drain(&mut inputs)).await;
    end(shared, inputs).await;
}

/// Runs an input that was opened.
pub(crate) fn spawn(shared: &Arc<Shared>, planned: PlannedInput) -> Running {
    let PlannedInput {
        name,
        plugin,
        input,
        tag,
        tag_given,
        mem_buf_limit,
        routable,
        durable,
        ack_on_delivery,
        fingerprint,
        ..
    } = planned;
    let counts: Arc<InputCounts> = Arc::default();
    let budget = InputBudget::new(name.clone(), mem_buf_limit, shared.budget.clone(), counts.clone());
    if durable {
        budget.set_durable();
    }
    if ack_on_delivery {
        budget.set_ack_on_delivery();
    }
    let sink = InputSink {
        current: shared.current.clone(),
        budget: budget.clone(),
        counts: counts.clone(),
        routable,
    };
    let (stop, watch) = StopSource::new();
    let cx = InputCx {
        name: name.clone(),
        tag,
        tag_given,
        ingest: Ingest::new(Arc::new(sink)),
        stop: watch,
        counts: counts.clone(),
        quiet: QUIET,
    };
    let ends_process = input.ends_process();
    let (shared, label) = (shared.clone(), name.clone());
    let task = tokio::spawn(async move {
        if let Err(error) = input.run(cx).await {
            let help = error.help.as_deref().unwrap_or("");
            error!(target: "input", instance = %label, %error, help, "the input has ended");
        } else if ends_process {
            info!(target: "input", instance = %label, "end of input");
        }
        if ends_process {
            shared.ended.notify_one();
        }
    });
    let info = InputInfo {
        name,
        plugin,
        counts,
        budget,
    };
    Running {
        info,
        fingerprint,
        stop,
        task,
    }
}
