//! An outage: from the first failed delivery to the next record that is settled.

use std::time::Duration;

use tokio::time::Instant;

use crate::shares::{DEAD_AFTER, DEAD_AFTER_ONE};

/// Shortest time between two log lines about failed deliveries of one route.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// The wait of a first try after two failures in a row; it doubles with each further one.
const TRY_FIRST: Duration = Duration::from_secs(1);
/// Longest wait of a first try.
const TRY_MAX: Duration = Duration::from_secs(30);

/// What a route knows of its destination's failures.
#[derive(Debug, Default)]
pub(super) struct Outage {
    current: Option<Current>,
    /// When a failure was told last.
    told: Option<Instant>,
    /// When it was told last that a limit makes records go.
    told_limit: Option<Instant>,
}

#[derive(Debug)]
struct Current {
    since: Instant,
    last: Instant,
    failures: u32,
    /// A chunk has failed twice, or was given up.
    again: bool,
    /// Its begin was told.
    told: bool,
    /// It was told that records had to be given up for others.
    told_shed: bool,
}

/// What to say about a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tell {
    /// Nothing: the outage is known.
    Nothing,
    /// The outage has begun.
    Begun,
    /// It goes on: failures so far, and since when.
    GoesOn(u32, Duration),
}

/// An outage that is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Over {
    pub(super) failures: u32,
    pub(super) lasted: Duration,
    /// Its begin was told, so its end should be.
    pub(super) told: bool,
    pub(super) was_dead: bool,
}

impl Outage {
    /// A delivery has failed; `again`: not its first one, or its last.
    pub(super) fn failed(&mut self, now: Instant, again: bool) -> Tell {
        let quiet = self
            .told
            .is_some_and(|told| now.saturating_duration_since(told) < TELL_EVERY);
        let current = self.current.get_or_insert(Current {
            since: now,
            last: now,
            failures: 0,
            again: false,
            told: false,
            told_shed: false,
        });
        current.last = now;
        current.failures = current.failures.saturating_add(1);
        current.again |= again;
        if quiet {
            return Tell::Nothing;
        }
        self.told = Some(now);
        if std::mem::replace(&mut current.told, true) || current.failures > 1 {
            return Tell::GoesOn(current.failures, now.saturating_duration_since(current.since));
        }
        Tell::Begun
    }

    /// The destination has answered for some records. Gives the outage that this ends.
    pub(super) fn settled(&mut self, now: Instant) -> Option<Over> {
        let was_dead = self.is_dead(now);
        let current = self.current.take()?;
        Some(Over {
            failures: current.failures,
            lasted: now.saturating_duration_since(current.since),
            told: current.told,
            was_dead,
        })
    }

    /// Whether nothing was settled since a delivery failed.
    pub(super) fn is_on(&self) -> bool {
        self.current.is_some()
    }

    /// Whether the destination is dead, as [`crate::shares`] has it.
    pub(super) fn is_dead(&self, now: Instant) -> bool {
        self.dies_at().is_some_and(|at| at <= now)
    }

    /// When the destination is dead, if it stays like this.
    pub(super) fn dies_at(&self) -> Option<Instant> {
        let current = self.current.as_ref()?;
        let after = if current.again { DEAD_AFTER } else { DEAD_AFTER_ONE };
        Some(current.since + after)
    }

    /// When a chunk may be tried that was not tried before. One failure says little: the next chunk may pass.
    /// After more of them each try only makes another chunk that waits.
    pub(super) fn next_try(&self) -> Option<Instant> {
        let current = self.current.as_ref()?;
        let wait = match current.failures {
            0 | 1 => Duration::ZERO,
            n => TRY_FIRST.saturating_mul(1 << (n - 2).min(8)).min(TRY_MAX),
        };
        Some(current.last + wait)
    }

    /// Whether giving up records at the limit is news.
    pub(super) fn tell_limit(&mut self, now: Instant) -> bool {
        let told = self
            .told_limit
            .is_some_and(|told| now.saturating_duration_since(told) < TELL_EVERY);
        if !told {
            self.told_limit = Some(now);
        }
        !told
    }

    /// Whether giving up records for others is news in this outage.
    pub(super) fn tell_shed(&mut self) -> bool {
        let current = self.current.as_mut();
        current.is_some_and(|current| !std::mem::replace(&mut current.told_shed, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn dead_is_who_fails_again_and_settles_nothing() {
        let start = Instant::now();
        let mut outage = Outage::default();
        outage.failed(start, false);
        assert!(!outage.is_dead(start + secs(59)) && outage.is_dead(start + secs(60)));
        outage.failed(start + secs(6), true);
        assert!(!outage.is_dead(start + secs(9)) && outage.is_dead(start + secs(10)));
        assert!(outage.settled(start + secs(11)).is_some_and(|over| over.was_dead));
        outage.failed(start + secs(12), true);
        assert!(!outage.is_dead(start + secs(21)), "it settled 10 s ago");
    }

    /// Guarantees: an outage is a line, one a minute, and one at its end; many short ones are no more.
    #[test]
    fn a_line_per_outage_and_minute() {
        let start = Instant::now();
        let mut outage = Outage::default();
        let told = (0..1200u64)
            .map(|n| outage.failed(start + secs(n) / 10, n > 0))
            .filter(|tell| *tell != Tell::Nothing)
            .collect::<Vec<_>>();
        assert_eq!(told, [Tell::Begun, Tell::GoesOn(601, secs(60))]);
        assert!(outage.settled(start + secs(120)).is_some_and(|over| over.told));
        let mut lines = 0;
        for n in 1200..2400u64 {
            let at = start + secs(n) / 10;
            lines += u32::from(outage.failed(at, false) != Tell::Nothing);
            lines += u32::from(outage.settled(at).is_some_and(|over| over.told));
        }
        assert_eq!(lines, 4, "two outages of the 1,200 are told, with their ends");
    }

    #[test]
    fn first_tries_wait_longer_and_longer() {
        let start = Instant::now();
        let mut outage = Outage::default();
        assert_eq!(outage.next_try(), None);
        for wait in [0, 1, 2, 4, 8, 16, 30, 30] {
            outage.failed(start, true);
            assert_eq!(outage.next_try(), Some(start + secs(wait)));
        }
        outage.settled(start);
        assert_eq!(outage.next_try(), None);
    }
}
