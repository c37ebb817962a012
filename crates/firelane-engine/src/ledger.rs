//! The two ledgers: every record that came in left through a door that has a name.
//!
//! ```text
//! ingest:    received + created + recovered
//!              = filtered + dropped(reason) + joined + unrouted + held + appended
//! per route: routed = delivered + parked + dead-lettered + dropped(reason) + buffered
//! ```
//!
//! The counters are independent: `received` is counted by an input's decoder, `appended` at the log,
//! `delivered` by the route that saw the answer, `buffered` by walking what is there. None is derived from
//! another. What an earlier run has left parked at a destination counts as recovered, appended and routed
//! too, once it is taken up.

use std::fmt;

use firelane_core::{Counter, Dropped, Reason};

/// What the chain and the log counted, for all inputs together.
#[derive(Debug, Default)]
pub struct IngestCounts {
    /// Records that stages made themselves.
    pub created: Counter,
    /// Records of an earlier run that were found on disk.
    pub recovered: Counter,
    /// Records that filters dropped.
    pub dropped: Dropped,
    /// Records that were joined into others.
    pub joined: Counter,
    /// Records whose tag no output matches.
    pub unrouted: Counter,
    /// Gauge: records that stages hold.
    pub held: Counter,
    /// Records appended to the log.
    pub appended: Counter,
}

/// The ingest ledger at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IngestLedger {
    /// Records decoded by inputs.
    pub received: u64,
    /// Records made by stages.
    pub created: u64,
    /// Records of an earlier run that were found on disk.
    pub recovered: u64,
    /// Records dropped by filters' rules.
    pub filtered: u64,
    /// Records dropped otherwise, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// Records joined into others.
    pub joined: u64,
    /// Records without an output.
    pub unrouted: u64,
    /// Records in stages.
    pub held: u64,
    /// Records in the log.
    pub appended: u64,
}

/// The ledger of one route at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteLedger {
    /// The output's name.
    pub name: String,
    /// Records appended for it.
    pub routed: u64,
    /// Records the destination has.
    pub delivered: u64,
    /// Records that the destination holds and does not show yet: parts of uploads that the next run finishes.
    pub parked: u64,
    /// Records in the dead-letter folder.
    pub dead_lettered: u64,
    /// Records dropped, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// Records that wait.
    pub buffered: u64,
}

/// Adds what `from` counted to `to`, by reason.
pub(crate) fn add_dropped(to: &mut Vec<(&'static str, u64)>, from: &Dropped, skip: Option<Reason>) {
    for reason in Reason::ALL {
        let n = from.get(reason);
        if n == 0 || Some(reason) == skip {
            continue;
        }
        match to.iter_mut().find(|(label, _)| *label == reason.label()) {
            Some((_, sum)) => *sum += n,
            None => to.push((reason.label(), n)),
        }
    }
}

fn sum(dropped: &[(&'static str, u64)]) -> u64 {
    dropped.iter().map(|(_, n)| n).sum()
}

impl IngestLedger {
    /// Whether both sides are equal.
    pub fn balances(&self) -> bool {
        let left = self.received + self.created + self.recovered;
        let dropped = self.filtered + sum(&self.dropped);
        left == dropped + self.joined + self.unrouted + self.held + self.appended
    }
}

impl RouteLedger {
    /// Whether both sides are equal.
    pub fn balances(&self) -> bool {
        let left = self.parked + self.buffered;
        self.routed == self.delivered + self.dead_lettered + sum(&self.dropped) + left
    }

    /// Records that did not reach the destination and will not.
    pub fn lost(&self) -> u64 {
        sum(&self.dropped)
    }
}

fn write_dropped(f: &mut fmt::Formatter<'_>, dropped: &[(&'static str, u64)]) -> fmt::Result {
    write!(f, " dropped={}", sum(dropped))?;
    for (label, n) in dropped {
        write!(f, " dropped.{label}={n}")?;
    }
    Ok(())
}

fn verdict(balances: bool) -> &'static str {
    if balances { "balanced" } else { "NOT BALANCED" }
}

impl fmt::Display for IngestLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            received,
            created,
            recovered,
            filtered,
            joined,
            unrouted,
            held,
            appended,
            ..
        } = self;
        write!(
            f,
            "received={received} created={created} recovered={recovered} filtered={filtered}"
        )?;
        write_dropped(f, &self.dropped)?;
        write!(
            f,
            " joined={joined} unrouted={unrouted} held={held} appended={appended}"
        )?;
        write!(f, " ({})", verdict(self.balances()))
    }
}

impl fmt::Display for RouteLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            routed,
            delivered,
            parked,
            dead_lettered,
            buffered,
            ..
        } = self;
        write!(f, "output={name} routed={routed} delivered={delivered}")?;
        if *parked > 0 {
            write!(f, " parked={parked}")?;
        }
        write!(f, " dead_lettered={dead_lettered}")?;
        write_dropped(f, &self.dropped)?;
        write!(f, " buffered={buffered} ({})", verdict(self.balances()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ingest() -> IngestLedger {
        IngestLedger {
            received: 100,
            created: 7,
            recovered: 0,
            filtered: 10,
            dropped: vec![("malformed", 3)],
            joined: 20,
            unrouted: 4,
            held: 5,
            appended: 65,
        }
    }

    /// Guarantees: a fault in any single counter shows.
    #[test]
    fn a_fault_in_any_ingest_counter_unbalances_it() {
        assert!(ingest().balances());
        let faults: [fn(&mut IngestLedger); 9] = [
            |l| l.received += 1,
            |l| l.created += 1,
            |l| l.recovered += 1,
            |l| l.filtered += 1,
            |l| l.dropped[0].1 += 1,
            |l| l.joined += 1,
            |l| l.unrouted += 1,
            |l| l.held += 1,
            |l| l.appended += 1,
        ];
        for fault in faults {
            let mut ledger = ingest();
            fault(&mut ledger);
            assert!(!ledger.balances(), "{ledger}");
        }
    }

    #[test]
    fn a_fault_in_any_route_counter_unbalances_it() {
        let good = RouteLedger {
            name: "http.0".into(),
            routed: 14,
            delivered: 5,
            parked: 4,
            dead_lettered: 1,
            dropped: vec![("refused", 2)],
            buffered: 2,
        };
        assert!(good.balances());
        let faults: [fn(&mut RouteLedger); 6] = [
            |l| l.routed += 1,
            |l| l.delivered += 1,
            |l| l.parked += 1,
            |l| l.dead_lettered += 1,
            |l| l.dropped[0].1 += 1,
            |l| l.buffered += 1,
        ];
        for fault in faults {
            let mut ledger = good.clone();
            fault(&mut ledger);
            assert!(!ledger.balances(), "{ledger}");
        }
        let text = "output=http.0 routed=14 delivered=5 parked=4 dead_lettered=1 dropped=2 dropped.refused=2 buffered=2 (balanced)";
        assert_eq!(good.to_string(), text);
    }
}
