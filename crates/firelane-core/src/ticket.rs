//! Tickets: how an input learns that its records are safe.
//!
//! Every run gets a [`Ticket`]. Whoever keeps records of the run keeps a [`Hold`] on it; the ticket closes
//! when every hold was closed. A hold that is dropped without that (the engine ended, a bug) abandons the
//! ticket: it never closes, so nothing that was lost is ever acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

#[derive(Debug, Default)]
struct State {
    holds: AtomicUsize,
    abandoned: AtomicBool,
    notify: Notify,
}

/// The records behind this ticket will never be known to be safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the records were given up before they were safe")]
pub struct TicketError;

/// Tells when all records of a run have left through a door.
#[derive(Debug, Clone)]
#[must_use = "an input acknowledges records only when their ticket has closed"]
pub struct Ticket {
    /// `None`: closed from the start, the usual case with a log in memory.
    state: Option<Arc<State>>,
}

/// A share in a ticket: closed when what is held has left through a door.
#[derive(Debug)]
#[must_use = "a hold that is dropped unclosed abandons its ticket"]
pub struct Hold {
    state: Option<Arc<State>>,
}

impl Ticket {
    /// A ticket that is closed already.
    pub fn closed() -> Self {
        Self { state: None }
    }

    /// An open ticket and its first hold.
    pub fn open() -> (Self, Hold) {
        let state = Arc::new(State {
            holds: AtomicUsize::new(1),
            ..State::default()
        });
        (
            Self {
                state: Some(state.clone()),
            },
            Hold { state: Some(state) },
        )
    }

    /// Whether it is closed now.
    pub fn is_closed(&self) -> bool {
        self.state.as_ref().is_none_or(|state| {
            state.holds.load(Ordering::Acquire) == 0 && !state.abandoned.load(Ordering::Acquire)
        })
    }

    /// Waits until it closes, or is abandoned.
    ///
    /// # Cancel safety
    /// May be cancelled and called again.
    pub async fn wait(&self) -> Result<(), TicketError> {
        let Some(state) = &self.state else { return Ok(()) };
        loop {
            let notified = state.notify.notified();
            if state.holds.load(Ordering::Acquire) == 0 {
                return if state.abandoned.load(Ordering::Acquire) {
                    Err(TicketError)
                } else {
                    Ok(())
                };
            }
            notified.await;
        }
    }
}

impl Hold {
    /// One more hold on the same ticket.
    pub fn share(&self) -> Self {
        if let Some(state) = &self.state {
            state.holds.fetch_add(1, Ordering::AcqRel);
        }
        Self {
            state: self.state.clone(),
        }
    }

    /// What was held has left through a door.
    pub fn close(mut self) {
        if let Some(state) = self.state.take() {
            release(&state);
        }
    }
}

fn release(state: &State) {
    if state.holds.fetch_sub(1, Ordering::AcqRel) == 1 {
        state.notify.notify_waiters();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            state.abandoned.store(true, Ordering::Release);
            release(&state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ticket_closes_with_its_last_hold() {
        let (ticket, hold) = Ticket::open();
        let second = hold.share();
        hold.close();
        assert!(!ticket.is_closed());
        second.close();
        assert!(ticket.is_closed());
        assert_eq!(ticket.wait().await, Ok(()));
    }

    #[tokio::test]
    async fn a_dropped_hold_never_closes_it() {
        let (ticket, hold) = Ticket::open();
        let second = hold.share();
        drop(hold);
        second.close();
        assert!(!ticket.is_closed());
        assert_eq!(ticket.wait().await, Err(TicketError));
    }
}
