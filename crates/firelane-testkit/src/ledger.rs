//! The ledgers that a router prints when it ends, read from its lines.
//!
//! ```text
//! ... ledger ingest: received=5 created=0 recovered=0 filtered=0 dropped=0 … appended=5 (balanced)
//! ... ledger output=http.0 routed=5 delivered=5 dead_lettered=0 dropped=0 buffered=0 (balanced)
//! ```

use std::collections::BTreeMap;

/// One ledger: counts by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    counts: BTreeMap<String, u64>,
    balanced: bool,
}

impl Ledger {
    fn parse(text: &str) -> Self {
        let mut ledger = Self {
            balanced: text.contains("(balanced)"),
            ..Self::default()
        };
        for (key, value) in text.split_whitespace().filter_map(|word| word.split_once('=')) {
            if let Ok(n) = value.parse() {
                ledger.counts.insert(key.to_string(), n);
            }
        }
        ledger
    }

    /// A count; 0 if the ledger does not name it.
    pub fn get(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    fn sum(&self, names: &[&str]) -> u64 {
        names.iter().map(|name| self.get(name)).sum()
    }
}

/// All ledgers of one run.
#[derive(Debug, Clone, Default)]
pub struct Ledgers {
    /// Records that came in.
    pub ingest: Ledger,
    /// By output: the sum over the configurations that the run had.
    pub outputs: BTreeMap<String, Ledger>,
}

impl Ledgers {
    /// Reads the lines of a router that ended.
    ///
    /// # Panics
    /// If the lines are missing, or a ledger does not balance, by the router's word or by our sum.
    #[track_caller]
    pub fn read(log: &str) -> Self {
        let mut ledgers = Self::default();
        let mut found = false;
        for line in log.lines() {
            if let Some((_, text)) = line.split_once("ledger ingest:") {
                assert!(!found, "two ingest ledgers:\n{log}");
                found = true;
                ledgers.ingest = Ledger::parse(text);
            } else if let Some((_, text)) = line.split_once("ledger output=") {
                let (name, text) = text.split_once(' ').unwrap_or((text, ""));
                let ledger = Ledger::parse(text);
                ledgers.add(name, ledger);
            }
        }
        assert!(found, "no ingest ledger was printed:\n{log}");
        ledgers.check(log);
        ledgers
    }

    fn add(&mut self, name: &str, ledger: Ledger) {
        let sum = self.outputs.entry(name.to_string()).or_insert(Ledger {
            balanced: true,
            ..Ledger::default()
        });
        sum.balanced &= ledger.balanced;
        for (key, n) in ledger.counts {
            *sum.counts.entry(key).or_default() += n;
        }
    }

    #[track_caller]
    fn check(&self, log: &str) {
        let out = ["filtered", "dropped", "joined", "unrouted", "held", "appended"];
        let ingest = &self.ingest;
        assert!(ingest.balanced, "the ingest ledger is not balanced:\n{log}");
        assert_eq!(
            ingest.sum(&["received", "created", "recovered"]),
            ingest.sum(&out),
            "the ingest ledger:\n{log}"
        );
        for (name, ledger) in &self.outputs {
            let out = ["delivered", "parked", "dead_lettered", "dropped", "buffered"];
            assert!(ledger.balanced, "the ledger of {name} is not balanced:\n{log}");
            assert_eq!(
                ledger.get("routed"),
                ledger.sum(&out),
                "the ledger of {name}:\n{log}"
            );
        }
    }

    /// The ledger of an output.
    ///
    /// # Panics
    /// If there is none of that name.
    #[track_caller]
    pub fn output(&self, name: &str) -> &Ledger {
        let known: Vec<_> = self.outputs.keys().collect();
        self.outputs
            .get(name)
            .unwrap_or_else(|| panic!("no ledger of {name}; there are {known:?}"))
    }

    /// Asserts that `n` records came in and that `output` delivered every one.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn all_delivered(&self, output: &str, n: u64) {
        assert_eq!(self.ingest.get("received"), n, "received: {self:?}");
        assert_eq!(self.ingest.get("appended"), n, "appended: {self:?}");
        assert_eq!(self.output(output).get("delivered"), n, "delivered: {self:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INGEST: &str = "ledger ingest: received=5 created=0 filtered=1 dropped=1 dropped.malformed=1 joined=0 unrouted=0 held=0 appended=3";

    fn log(ingest: &str, output: &str) -> String {
        format!(
            "[t] [ info] [x] {ingest} (balanced)\n[t] [ info] [x] ledger output=http.0 {output} (balanced)\n"
        )
    }

    #[test]
    fn lines_are_read() {
        let good = "routed=3 delivered=1 dead_lettered=0 dropped=1 dropped.refused=1 buffered=1";
        let ledgers = Ledgers::read(&log(INGEST, good));
        assert_eq!(ledgers.ingest.get("dropped.malformed"), 1);
        assert_eq!(ledgers.output("http.0").get("dropped.refused"), 1);
    }

    #[test]
    #[should_panic(expected = "the ledger of http.0")]
    fn a_sum_that_differs_is_found() {
        Ledgers::read(&log(
            INGEST,
            "routed=4 delivered=1 dead_lettered=0 dropped=1 buffered=1",
        ));
    }

    #[test]
    #[should_panic(expected = "no ingest ledger")]
    fn a_missing_ledger_is_found() {
        Ledgers::read("[t] [ info] nothing\n");
    }
}
