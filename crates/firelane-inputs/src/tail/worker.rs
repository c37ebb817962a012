//! The thread of one input: looks at its files every 20 to 250 ms, more seldom while nothing happens.
//!
//! Polling sees what inotify sees, on every file system, for two system calls per file and look.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::batch::{Mark, Message, Outbox};
use super::follow::Tailer;

/// Between two looks while files grow.
const POLL_MIN: Duration = Duration::from_millis(20);
/// Between two looks while nothing grows.
const POLL_MAX: Duration = Duration::from_millis(250);
/// What a look costs per file, times 100: with very many files looks are more seldom, so that they take 1 %
/// at most.
const POLL_PER_FILE: Duration = Duration::from_micros(300);
/// Between two looks at where the paths lead.
const PATHS_MIN: Duration = Duration::from_millis(250);
/// The same with very many files.
const PATHS_MAX: Duration = Duration::from_secs(5);
/// Between two transactions.
const SAVE_EVERY: Duration = Duration::from_millis(250);

/// After a failed one.
const SAVE_AGAIN: Duration = Duration::from_secs(5);

/// What the thread is told. It ends when nobody is left to tell it anything.
#[derive(Debug)]
pub(super) enum Command {
    /// A batch was taken: there is room for another.
    Room,
    /// The records before this position are safe.
    Settled(Mark),
    /// Read no more; positions are still saved.
    Stop,
    /// End now.
    End,
}

/// The thread's state besides the files.
struct Worker {
    tailer: Tailer,
    /// `None`: no more reading.
    out: Option<Outbox>,
    commands: Receiver<Command>,
    ending: bool,
    wait: Duration,
    next_scan: Instant,
    next_paths: Instant,
    next_save: Instant,
}

/// Follows the files until told to stop, then saves positions until the last ticket has closed; `done` is
/// told behind the last save, and dropped untold by a panic.
pub(super) fn run(
    tailer: Tailer,
    sender: mpsc::Sender<Message>,
    commands: Receiver<Command>,
    done: oneshot::Sender<()>,
) {
    let now = Instant::now();
    let worker = Worker {
        tailer,
        out: Some(Outbox::new(sender)),
        commands,
        ending: false,
        wait: Duration::ZERO,
        next_scan: now,
        next_paths: now,
        next_save: now,
    };
    worker.run();
    // Nobody may be listening any more.
    let _ = done.send(());
}

impl Worker {
    fn run(mut self) {
        loop {
            let told = self.commands.recv_timeout(self.pause());
            let mut over = matches!(told, Err(RecvTimeoutError::Disconnected));
            if let Ok(command) = told {
                self.obey(command);
            }
            while let Ok(command) = self.commands.try_recv() {
                self.obey(command);
            }
            over |= self.ending;
            let now = Instant::now();
            if self.tailer.is_behind() && (over || now >= self.next_save) {
                let saved = self.tailer.save();
                self.next_save = now + if saved { SAVE_EVERY } else { SAVE_AGAIN };
            }
            if over {
                return;
            }
            self.look(now);
        }
    }

    /// How long to wait for a command.
    fn pause(&self) -> Duration {
        match &self.out {
            None if self.tailer.is_behind() => self.next_save.saturating_duration_since(Instant::now()),
            None => Duration::from_secs(3600),
            // Room is announced.
            Some(out) if out.is_full() => POLL_MAX,
            Some(_) => self.wait,
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Room => {}
            Command::Settled(mark) => self.tailer.settled(mark),
            Command::Stop => {
                self.out = None;
                self.next_save = Instant::now();
            }
            Command::End => {
                self.out = None;
                self.ending = true;
            }
        }
    }

    /// Finds files, follows renames, reads.
    fn look(&mut self, now: Instant) {
        let Some(out) = &mut self.out else { return };
        out.flush();
        let files = u32::try_from(self.tailer.files()).unwrap_or(u32::MAX);
        if now >= self.next_paths {
            self.next_paths = now + PATHS_MIN.max(POLL_PER_FILE.saturating_mul(files)).min(PATHS_MAX);
            if self.tailer.check_paths(now, out) {
                // The new file of a rotated name is not left to the usual interval.
                self.next_scan = now;
            }
        }
        if now >= self.next_scan {
            self.next_scan = now + self.tailer.settings().refresh;
            self.tailer.scan(now);
        }
        if out.is_full() {
            return;
        }
        let progress = self.tailer.poll(out);
        let slowest = POLL_MAX
            .max(POLL_PER_FILE.saturating_mul(files))
            .min(Duration::from_secs(5));
        self.wait = match progress {
            true if !self.tailer.is_caught_up() => Duration::ZERO,
            true => POLL_MIN,
            false => (self.wait * 2).clamp(POLL_MIN, slowest),
        };
        if !progress && self.tailer.settings().exit_on_eof {
            self.tailer.finish(out);
            if !out.is_full() {
                self.out = None;
            }
        }
    }
}
