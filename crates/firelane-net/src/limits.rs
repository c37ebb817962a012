//! What the outside may take up of a listener: connections, and bytes of what is not finished.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::listen::ListenAddr;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most connections of one listener at once, where the process may open as many files.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Shortest time between two log lines about the same shortage.
const QUIET: Duration = Duration::from_secs(60);

/// Most connections of one listener: [`CONNECTIONS_MAX`], but at most three quarters of the files that this
/// process may open (`ulimit -n`), so that outputs and files have the rest.
pub fn connections_max() -> usize {
    share(files_max())
}

fn share(files: Option<u64>) -> usize {
    let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    (files / 4 * 3).clamp(1, CONNECTIONS_MAX)
}

/// The soft limit of open files; `None` for no limit.
#[cfg(unix)]
fn files_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(not(unix))]
fn files_max() -> Option<u64> {
    None
}

/// Lets one log line through per minute, and tells how many were kept back.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    last: Mutex<Option<(Instant, u64)>>,
}

impl Seldom {
    /// `Some(n)`: say it, `n` were not said since.
    pub(crate) fn may(&self) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last.as_mut() {
            Some((at, kept)) if at.elapsed() < QUIET => {
                *kept += 1;
                None
            }
            _ => {
                let kept = last.map_or(0, |(_, kept)| kept);
                *last = Some((Instant::now(), 0));
                Some(kept)
            }
        }
    }
}

/// Places for the connections of one listener. While all are taken nothing is accepted: clients wait in the
/// system's backlog, none is accepted and closed.
#[derive(Debug, Clone)]
pub struct Slots {
    free: Arc<Semaphore>,
    max: usize,
    said: Arc<Seldom>,
}

/// A place that is taken; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Slots {
    /// So many places.
    pub fn new(max: usize) -> Self {
        let max = max.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(max)),
            max,
            said: Arc::default(),
        }
    }

    /// The next place, waiting for it; `listener` is named in the log.
    ///
    /// # Cancel safety
    /// No place is lost.
    pub async fn take(&self, listener: &ListenAddr) -> Slot {
        if let Ok(permit) = self.free.clone().try_acquire_owned() {
            return Slot {
                _permit: Some(permit),
            };
        }
        if self.said.may().is_some() {
            let max = self.max;
            tracing::warn!(target: "listen", %listener, max,
                "all connections are in use, new ones wait until one ends");
        }
        Slot {
            // The semaphore is never closed.
            _permit: self.free.clone().acquire_owned().await.ok(),
        }
    }
}

/// Bytes of messages and bodies of one listener that have begun and not ended. Beyond the mark, what has
/// taken too long gives way: what stalls for ever must not hold memory for ever.
#[derive(Debug)]
pub struct Unfinished {
    bytes: AtomicUsize,
    mark: usize,
}

impl Unfinished {
    /// Where it gets tight where nothing else is said: 64 MiB.
    pub const MARK: usize = 64 << 20;

    /// A mark.
    pub fn new(mark: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicUsize::new(0),
            mark,
        })
    }

    /// Whether more than the mark is held.
    pub fn is_over(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.mark
    }

    /// The part of one connection, nothing yet.
    pub fn part(self: &Arc<Self>) -> Part {
        Part {
            of: self.clone(),
            bytes: 0,
        }
    }
}

/// What one connection holds of it; given back when dropped.
#[derive(Debug)]
pub struct Part {
    of: Arc<Unfinished>,
    bytes: usize,
}

impl Part {
    /// It holds so much now.
    pub fn set(&mut self, bytes: usize) {
        if bytes == self.bytes {
            return;
        }
        if bytes > self.bytes {
            self.of.bytes.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.of.bytes.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }

    /// See [`Unfinished::is_over`].
    pub fn is_over(&self) -> bool {
        self.of.is_over()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_keep_a_quarter_of_the_files() {
        assert_eq!(share(Some(1024)), 768);
        assert_eq!(share(Some(1 << 20)), CONNECTIONS_MAX);
        assert_eq!(share(None), CONNECTIONS_MAX);
        assert_eq!(share(Some(0)), 1);
    }

    #[tokio::test]
    async fn a_place_comes_back_when_it_is_left() {
        let slots = Slots::new(1);
        let first = slots.take(&ListenAddr::tcp("here", 1)).await;
        let next = slots.clone();
        let waits = tokio::spawn(async move { next.take(&ListenAddr::tcp("here", 1)).await });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        drop(first);
        waits.await.unwrap();
    }

    #[test]
    fn parts_are_summed_and_given_back() {
        let all = Unfinished::new(100);
        let (mut one, mut two) = (all.part(), all.part());
        one.set(60);
        two.set(50);
        assert!(one.is_over());
        one.set(10);
        assert!(!two.is_over());
        one.set(60);
        drop(two);
        assert!(!all.is_over());
    }

    #[test]
    fn a_shortage_is_said_once_in_a_while() {
        let said = Seldom::default();
        assert_eq!((said.may(), said.may(), said.may()), (Some(0), None, None));
    }
}
