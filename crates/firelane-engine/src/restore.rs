//! What an earlier run has left on disk comes back into the pipeline: routed again by its stored tags,
//! without what routes of the same name had settled. Records for one route alone that is not there are left
//! where they are: they are dead letters that somebody has put back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError};

use firelane_buffer::store::format::BlockImage;
use firelane_buffer::store::recover::Recovered;
use firelane_buffer::{FoundBlock, RouteId, Routing};
use firelane_record::Tag;
use firelane_record::set::RecordSet;
use tracing::{error, warn};

use crate::pipeline::{Pipeline, retained_len};

/// A run of a block, and what its routes have settled of it.
struct Run {
    /// Every route has settled all of it: only their cursors must know.
    whole: bool,
    /// Its records, by number in the block.
    range: Range<u32>,
    len: u32,
    /// The routes its tag leads to, with the records that each has settled.
    routes: Vec<(RouteId, RecordSet)>,
}

impl Pipeline {
    /// Where records of a block lead: those for one route go there alone, if it is there.
    pub(crate) fn routing_of(&self, tag: &Tag, only: Option<&str>) -> Arc<Routing> {
        match only {
            None => self.chain.routing(tag),
            Some(key) => {
                let at = self.routes.iter().position(|route| &*route.key == key);
                let routes = at.map(|at| RouteId(at as u16)).into_iter().collect();
                Arc::new(Routing::new(routes))
            }
        }
    }

    /// Takes back what was found. Blocks the thread.
    pub(crate) fn restore(&self, found: &[Recovered]) {
        let (Some(journal), Some(backlog)) = (&self.journal, self.backlog()) else {
            return;
        };
        let mut done = Vec::new();
        let mut strange: BTreeMap<Box<str>, u64> = BTreeMap::new();
        for recovered in found {
            let table = match journal.table(recovered.id) {
                Ok(table) => table,
                Err(error) => {
                    error!(target: "storage", block = recovered.id, %error, "records of an earlier run cannot be read");
                    continue;
                }
            };
            if let Some(key) = self.unknown_route(&table) {
                *strange.entry(key.into()).or_default() += u64::from(table.records());
                continue;
            }
            if !self.restore_block(recovered, &table, backlog) {
                done.push(recovered.id);
            }
        }
        journal.settle(&mut Vec::new(), &mut done);
        for (key, records) in strange {
            warn!(target: "storage", %key, records,
                "records wait for an output that is not in the configuration: they stay on disk; give the output \
                 that is to have them this key as `Alias`, and start again");
        }
    }

    /// The key of the one route that a block is for, if there is no such route.
    fn unknown_route<'a>(&self, table: &'a BlockImage) -> Option<&'a str> {
        let only = table.only.as_deref()?;
        let known = self.routes.iter().any(|route| &*route.key == only);
        (!known).then_some(only)
    }

    /// False when nobody needs anything of it.
    fn restore_block(&self, recovered: &Recovered, table: &BlockImage, backlog: usize) -> bool {
        let runs = self.runs(recovered, table);
        let mut bytes: BTreeMap<RouteId, usize> = BTreeMap::new();
        let mut open = 0;
        for run in runs.iter().filter(|run| !run.whole) {
            let count = u64::from(run.range.end - run.range.start);
            self.counts.recovered.add(count);
            if run.routes.is_empty() {
                self.counts.unrouted.add(count);
                continue;
            }
            self.counts.appended.add(count);
            for (route, settled) in &run.routes {
                let left = settled
                    .runs(run.range.start, run.range.end)
                    .filter(|part| !part.2);
                let left: u64 = left.map(|(from, to, _)| u64::from(to - from)).sum();
                if left == 0 {
                    continue;
                }
                open += 1;
                *bytes.entry(*route).or_default() += run.len as usize;
                let counts = &self.routes[usize::from(route.0)].counts;
                counts.routed.add(left);
                counts.retained_bytes.add(retained_len(run.len as usize));
            }
        }
        if open == 0 {
            return false;
        }
        let block = FoundBlock {
            id: recovered.id,
            records: table.records(),
            appended: self
                .wall()
                .back(table.entries.first().map_or(u64::MAX, |entry| entry.wall_ms)),
            open,
            bytes: bytes.into_iter().collect(),
        };
        let numbers = self.partitions[backlog].push_found(block, |_| {});
        self.settle_again(&runs, numbers.start, backlog);
        true
    }

    /// The runs of a block, but for hollow ones: those every route had settled.
    fn runs(&self, recovered: &Recovered, table: &BlockImage) -> Vec<Run> {
        let mut at = 0;
        let mut runs = Vec::new();
        for entry in &table.entries {
            let range = at..at + entry.count;
            at = range.end;
            // A hollow run: every route had settled it.
            if entry.len == 0 {
                continue;
            }
            let routing = self.routing_of(&entry.tag, table.only.as_deref());
            if routing.routes().is_empty() {
                self.warn_unrouted(&entry.tag);
            }
            let settled = |route: &RouteId| {
                let key = &self.routes[usize::from(route.0)].key;
                let known = recovered.settled.iter().find(|(name, _)| name == key);
                (*route, known.map_or_else(RecordSet::none, |(_, set)| set.clone()))
            };
            let routes: Vec<_> = routing.routes().iter().map(settled).collect();
            let whole = |(_, set): &(RouteId, RecordSet)| set.runs(range.start, range.end).all(|part| part.2);
            let whole = !routes.is_empty() && routes.iter().all(whole);
            runs.push(Run {
                range,
                len: entry.len,
                routes,
                whole,
            });
        }
        runs
    }

    /// What was settled before this start is settled for the routes' cursors too.
    fn settle_again(&self, runs: &[Run], first: u64, backlog: usize) {
        for run in runs {
            for (route, settled) in &run.routes {
                let cursors = &self.routes[usize::from(route.0)].cursors;
                let mut cursors = cursors.lock().unwrap_or_else(PoisonError::into_inner);
                for (from, to, _) in settled.runs(run.range.start, run.range.end).filter(|part| part.2) {
                    cursors[backlog].pass(first + u64::from(from)..first + u64::from(to));
                }
            }
        }
    }
}
