//! The order to stop: running, draining, over.

use tokio::sync::watch;

/// How far the stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Normal work.
    Running,
    /// Take what is still coming, start nothing new.
    Draining,
    /// End now.
    Over,
}

/// Waits for the order to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<Phase>);

/// Gives the order to stop.
#[derive(Debug)]
pub struct StopSource(watch::Sender<Phase>);

impl StopSource {
    /// A source in [`Phase::Running`] and its first receiver.
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(Phase::Running);
        (Self(sender), Stop(receiver))
    }

    /// Moves on to `phase`; never back.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }

    /// Another receiver.
    pub fn subscribe(&self) -> Stop {
        Stop(self.0.subscribe())
    }
}

impl Stop {
    /// How far the stop has come. [`Phase::Over`] when the source is gone.
    pub fn phase(&self) -> Phase {
        if self.0.has_changed().is_err() {
            Phase::Over
        } else {
            *self.0.borrow()
        }
    }

    /// Waits until the phase is at least `phase`, or the source is gone.
    ///
    /// # Cancel safety
    /// May be cancelled and called again.
    pub async fn reached(&self, phase: Phase) {
        let mut receiver = self.0.clone();
        // An error means that the source is gone: that is the end too.
        let _ = receiver.wait_for(|now| *now >= phase).await;
    }

    /// Waits for [`Phase::Draining`].
    pub async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Waits for [`Phase::Over`].
    pub async fn over(&self) {
        self.reached(Phase::Over).await;
    }
}
