//! `tail`: follows files and makes a record of each line.
//!
//! ```text
//!  thread: find, look, read, split, parse ──batches──▶ task: append ──tickets──▶ one task per file: wait
//!     ▲                                                                                        │
//!     └── positions (SQLite) ◀────────────────── settled ──────────────────────────────────────┘
//! ```
//!
//! A position moves only when the records before it were delivered, so what a crash takes from memory is read
//! again. Rotation by rename: the old file is followed on to its end and for `rotate_wait`; the new one is
//! taken up within a second. Rotation by truncation: reading starts at 0 again. A file renamed while nothing
//! ran is looked for in its folder. Lines over `buffer_max_size` go on in pieces marked as Docker marks them,
//! and are never a reason to give a file up.
//!
//! On failure: a file that cannot be opened or read is named and left, the others go on; a database that does
//! not answer is named, and tried again at the next position.
//!
//! Not here: joining lines (`multiline.parser`, `docker_mode`), which is refused by name; compressed files.

mod batch;
mod config;
mod finding;
mod follow;
mod form;
mod lines;
mod naming;
mod positions;
mod source;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::HashMap;
use std::sync::mpsc as commands;

use firelane_core::{
    AckOn, BoxFuture, Input, InputCx, InputError, InputPlugin, Phase, Reason, Stability, Stream, Ticket,
};
use firelane_parse::Regex;
use tokio::sync::{mpsc, oneshot};

use self::batch::{Batch, Mark, Message};
use self::config::Config;
use self::follow::{Settings, Tailer};
use self::form::Form;
use self::naming::Naming;
use self::positions::Positions;
use self::worker::Command;

/// The plugin.
pub static PLUGIN: InputPlugin = InputPlugin::new::<Config>("tail", "Follows log files", Stability::Beta);

/// Batches on their way from the thread to the engine; each is one read of up to 256 KiB.
const BATCHES: usize = 4;
/// Tickets of one file that wait; beyond it reading waits too.
const TICKETS: usize = 16 * 1024;

/// The message about a database; SQLite's reason ends with the path again.
fn cannot_open(path: &str, reason: &str) -> String {
    let reason = reason
        .strip_suffix(path)
        .map_or(reason, |reason| reason.trim_end_matches(": "));
    format!("cannot open database {path}: {reason}")
}

/// A tail input before it runs.
struct Tail {
    settings: Settings,
    form: Form,
    tag_regex: Option<Regex>,
    positions: Option<Positions>,
}

impl Input for Tail {
    fn open(&mut self) -> BoxFuture<'_, Result<(), InputError>> {
        let opened = self.settings.db.as_ref().map(|(path, options)| {
            Positions::open(path, options).map_err(|error| {
                InputError::new(cannot_open(&path.display().to_string(), &error.to_string()))
                    .help("the folder must exist and be writable; `db.locking` allows one process only")
            })
        });
        let opened = opened.transpose().map(|positions| self.positions = positions);
        Box::pin(async { opened })
    }

    fn run(self: Box<Self>, cx: InputCx) -> BoxFuture<'static, Result<(), InputError>> {
        Box::pin(self.follow(cx))
    }

    fn ends_process(&self) -> bool {
        self.settings.exit_on_eof
    }
}

impl Tail {
    async fn follow(self, cx: InputCx) -> Result<(), InputError> {
        let Self {
            settings,
            form,
            tag_regex,
            positions,
        } = self;
        let naming = Naming::new(&cx.tag, tag_regex);
        let durable = positions.is_some();
        let exclusive = settings.db.as_ref().is_some_and(|(_, options)| options.locking);
        let parts = (settings, form, naming);
        let tailer = Tailer::new(cx.name.clone(), cx.counts.clone(), parts, positions);
        let (sender, mut batches) = mpsc::channel(BATCHES);
        let (tell, told) = commands::channel();
        let (done, saved) = oneshot::channel();
        std::thread::Builder::new()
            .name("tail".to_owned())
            .spawn(move || worker::run(tailer, sender, told, done))
            .map_err(|error| InputError::new(format!("cannot start a thread: {error}")))?;

        let mut intake = Intake {
            cx: cx.clone(),
            tell: tell.clone(),
            durable,
            files: HashMap::new(),
        };
        let mut stopping = false;
        loop {
            let message = tokio::select! {
                message = batches.recv() => message,
                () = cx.stop.draining(), if !stopping => {
                    stopping = true;
                    // The thread may have ended by itself.
                    let _ = tell.send(Command::Stop);
                    continue;
                }
                () = cx.stop.over() => break,
            };
            let Some(message) = message else { break };
            if !intake.take(message).await {
                break;
            }
            // The thread ends last, so it hears this.
            let _ = tell.send(Command::Room);
        }
        // The thread saves on until the last ticket's task has gone, and then ends.
        let _ = tell.send(if exclusive && cx.stop.phase() == Phase::Over {
            Command::End
        } else {
            Command::Stop
        });
        drop((intake, tell));
        tokio::select! {
            saved = saved => saved.map_err(|_| InputError::new("the reading thread has ended by a panic"))?,
            () = cx.stop.over() => {}
        }
        Ok(())
    }
}

/// The engine's side of the files.
struct Intake {
    cx: InputCx,
    tell: commands::Sender<Command>,
    /// Positions are kept, so records must be known to be delivered.
    durable: bool,
    files: HashMap<u64, FileIntake>,
}

struct FileIntake {
    stream: Stream,
    /// To the task that waits for the file's tickets in order.
    tickets: Option<mpsc::Sender<(Ticket, Mark)>>,
}

impl Intake {
    /// Appends a batch; false when the engine takes no more.
    async fn take(&mut self, message: Message) -> bool {
        let Batch {
            tag,
            records,
            skipped,
            mark,
        } = match message {
            Message::Batch(batch) => batch,
            Message::Closed(key) => {
                self.files.remove(&key);
                return true;
            }
        };
        let file = self.files.entry(mark.key).or_insert_with(|| {
            let ack_on = if self.durable {
                AckOn::Delivery
            } else {
                AckOn::Append
            };
            let tickets = self.durable.then(|| {
                let (sender, receiver) = mpsc::channel(TICKETS);
                tokio::spawn(settle(receiver, self.tell.clone()));
                sender
            });
            FileIntake {
                stream: self.cx.ingest.stream(ack_on),
                tickets,
            }
        });
        self.cx.counts.received.add(skipped);
        self.cx.counts.dropped.add(Reason::Filtered, skipped);
        let append = self.cx.append(&file.stream, &tag, records);
        let ticket = tokio::select! {
            ticket = append => ticket,
            // Not taken: it is read again by the next start.
            () = self.cx.stop.over() => return false,
        };
        let Ok(ticket) = ticket else { return false };
        if let Some(tickets) = &file.tickets {
            // A task that has gone met an abandoned ticket: positions behind it must not move.
            let _ = tickets.send((ticket, mark)).await;
        }
        true
    }
}

/// Reports the positions of one file as their tickets close, in order. An abandoned ticket ends it: the
/// records behind it may be lost, so the position stays before them.
async fn settle(mut tickets: mpsc::Receiver<(Ticket, Mark)>, tell: commands::Sender<Command>) {
    while let Some((ticket, mark)) = tickets.recv().await {
        if ticket.wait().await.is_err() {
            return;
        }
        if tell.send(Command::Settled(mark)).is_err() {
            return;
        }
    }
}
