//! The filters of a tag, fused: a record is walked once for all filters between two stages.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use firelane_buffer::{RouteId, Routing};
use firelane_core::{AckOn, Fate, Filter, FilterCounts, FilterCx, Hold, Reason};
use firelane_parse::regex::Regex;
use firelane_record::draft::{Draft, Scratch};
use firelane_record::pattern::Match;
use firelane_record::{Records, RecordsBuf, Tag};

use crate::budget::InputBudget;
use crate::ledger::IngestCounts;
use crate::stages::StageSlot;

/// How a filter or output chooses tags: either may match (Fluent Bit's rule).
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    /// `Match`
    pub pattern: Option<Match>,
    /// `Match_Regex`, anchored at the start of the tag.
    pub regex: Option<Arc<Regex>>,
}

impl Matcher {
    /// Whether it chooses `tag`.
    pub fn matches(&self, tag: &Tag) -> bool {
        let pattern = self.pattern.as_ref().is_some_and(|pattern| pattern.matches(tag));
        pattern
            || self
                .regex
                .as_ref()
                .is_some_and(|regex| regex.is_match_at_start(tag.as_bytes()))
    }
}

/// What a filter slot holds.
pub enum FilterKind {
    /// Edits single records.
    Filter(Box<dyn Filter>),
    /// Keeps records back or makes new ones.
    Stage(StageSlot),
}

/// A filter in the pipeline.
pub struct FilterSlot {
    /// Instance name or alias.
    pub name: Arc<str>,
    /// Which tags it edits.
    pub matcher: Matcher,
    /// The filter.
    pub kind: FilterKind,
    /// Its counters.
    pub counts: Arc<FilterCounts>,
}

/// One step of a tag's path.
enum Step {
    /// Filters that are fused, by index.
    Filters(Box<[usize]>),
    /// A stage, by index.
    Stage(usize),
}

/// Steps and routes that a tag leads to.
struct Path {
    steps: Box<[Step]>,
    routing: Arc<Routing>,
}

/// A run on its way through the chain.
pub struct Run {
    /// Its stream.
    pub stream: u64,
    /// Its tag.
    pub tag: Tag,
    /// The records.
    pub records: Records,
    /// What it is charged to.
    pub budget: Arc<InputBudget>,
    /// The tickets that wait for it.
    pub holds: Vec<Hold>,
    /// What they wait for.
    pub ack_on: AckOn,
}

/// A run that has passed the chain, and where it goes; that may be nowhere.
pub struct Routed {
    /// What is left of the run, under its last tag.
    pub run: Run,
    /// Its routes.
    pub routing: Arc<Routing>,
}

/// All filters and the routing of a pipeline.
pub struct Chain {
    filters: Vec<FilterSlot>,
    /// Which tags each route takes, by route number.
    routes: Vec<Matcher>,
    paths: RwLock<HashMap<Tag, Arc<Path>>>,
}

/// Tags whose path is remembered; beyond it the memory starts anew, so that tags made from data stay
/// harmless.
const PATHS_MAX: usize = 16 * 1024;
/// Most re-taggings of one record.
const HOPS_MAX: u32 = 16;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

impl Chain {
    /// A chain of `filters`, in file order, in front of `routes`.
    pub fn new(filters: Vec<FilterSlot>, routes: Vec<Matcher>) -> Self {
        Self {
            filters,
            routes,
            paths: RwLock::default(),
        }
    }

    /// The filters.
    pub fn filters(&self) -> &[FilterSlot] {
        &self.filters
    }

    /// Whether there is any stage.
    pub fn has_stages(&self) -> bool {
        self.filters
            .iter()
            .any(|slot| matches!(slot.kind, FilterKind::Stage(_)))
    }

    /// Whether records of `tag` may be held back by a stage.
    pub fn may_hold(&self, tag: &Tag) -> bool {
        self.path(tag)
            .steps
            .iter()
            .any(|step| matches!(step, Step::Stage(_)))
    }

    /// Where records lead that have passed the filters under `tag`.
    pub fn routing(&self, tag: &Tag) -> Arc<Routing> {
        self.path(tag).routing.clone()
    }

    fn path(&self, tag: &Tag) -> Arc<Path> {
        if let Some(path) = self.paths.read().unwrap_or_else(PoisonError::into_inner).get(tag) {
            return path.clone();
        }
        let routes = (0..self.routes.len())
            .filter(|&i| self.routes[i].matches(tag))
            .map(|i| RouteId(i as u16));
        let routing = Arc::new(Routing::new(routes.collect()));
        let path = Arc::new(Path {
            steps: self.steps(tag),
            routing,
        });
        let mut paths = self.paths.write().unwrap_or_else(PoisonError::into_inner);
        if paths.len() >= PATHS_MAX {
            paths.clear();
        }
        paths.insert(tag.clone(), path.clone());
        path
    }

    fn steps(&self, tag: &Tag) -> Box<[Step]> {
        let (mut steps, mut fused) = (Vec::new(), Vec::new());
        for (index, slot) in self
            .filters
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.matcher.matches(tag))
        {
            match slot.kind {
                FilterKind::Filter(_) => fused.push(index),
                FilterKind::Stage(_) => {
                    if !fused.is_empty() {
                        steps.push(Step::Filters(std::mem::take(&mut fused).into()));
                    }
                    steps.push(Step::Stage(index));
                }
            }
        }
        if !fused.is_empty() {
            steps.push(Step::Filters(fused.into()));
        }
        steps.into()
    }

    /// Runs a run of one tag through its filters and hands what is left, by tag, to `out`. Without a filter
    /// the run passes untouched.
    pub fn run(&self, run: Run, counts: &IngestCounts, out: &mut dyn FnMut(Routed)) {
        let path = self.path(&run.tag);
        self.walk(&path, 0, run, counts, 0, out);
    }

    /// Lets stages emit what has waited long enough at `now`, and runs it through the rest of its path.
    pub fn expire(&self, now: Instant, counts: &IngestCounts, out: &mut dyn FnMut(Routed)) {
        for (index, slot) in self.filters.iter().enumerate() {
            let FilterKind::Stage(stage) = &slot.kind else {
                continue;
            };
            for run in stage.expire(now, counts) {
                let path = self.path(&run.tag);
                let at = path
                    .steps
                    .iter()
                    .position(|step| matches!(step, Step::Stage(i) if *i == index));
                let next = at.map_or(path.steps.len(), |at| at + 1);
                self.walk(&path, next, run, counts, 0, out);
            }
        }
    }

    /// When [`Chain::expire`] should be called next.
    pub fn deadline(&self) -> Option<Instant> {
        let stages = self.filters.iter().filter_map(|slot| match &slot.kind {
            FilterKind::Stage(stage) => stage.deadline(),
            FilterKind::Filter(_) => None,
        });
        stages.min()
    }

    fn walk(
        &self,
        path: &Path,
        from: usize,
        mut run: Run,
        counts: &IngestCounts,
        hop: u32,
        out: &mut dyn FnMut(Routed),
    ) {
        for step in path.steps.get(from..).unwrap_or_default() {
            match step {
                Step::Filters(chosen) => {
                    let mut retagged = Vec::new();
                    run.records = self.edit(chosen, &run.tag, &run.records, counts, &mut retagged);
                    self.start_again(&run, retagged, counts, hop, out);
                }
                Step::Stage(index) => {
                    let slot = &self.filters[*index];
                    if let FilterKind::Stage(stage) = &slot.kind {
                        run = stage.push(run, &slot.counts, counts);
                    }
                }
            }
            if run.records.is_empty() {
                run.holds.into_iter().for_each(Hold::close);
                return;
            }
        }
        out(Routed {
            run,
            routing: path.routing.clone(),
        });
    }

    /// Sends re-tagged records through the filters of their new tags.
    fn start_again(
        &self,
        run: &Run,
        retagged: Vec<(Tag, RecordsBuf)>,
        counts: &IngestCounts,
        hop: u32,
        out: &mut dyn FnMut(Routed),
    ) {
        for (tag, mut buf) in retagged {
            let records = buf.take();
            if hop >= HOPS_MAX {
                counts.dropped.add(Reason::TagLoop, u64::from(records.count()));
                tracing::warn!(target: "filter", %tag, "tags lead in a circle, records dropped");
                continue;
            }
            let holds = run.holds.iter().map(Hold::share).collect();
            let path = self.path(&tag);
            let Run {
                stream,
                ref budget,
                ack_on,
                ..
            } = *run;
            let run = Run {
                stream,
                tag,
                records,
                budget: budget.clone(),
                holds,
                ack_on,
            };
            self.walk(&path, 0, run, counts, hop + 1, out);
        }
    }

    /// Edits every record of a run by the filters at `chosen`.
    fn edit(
        &self,
        chosen: &[usize],
        tag: &Tag,
        records: &Records,
        counts: &IngestCounts,
        retagged: &mut Vec<(Tag, RecordsBuf)>,
    ) -> Records {
        let mut out = RecordsBuf::with_capacity(records.len() + records.len() / 2 + 64);
        let slots = chosen.iter().map(|&index| &self.filters[index]);
        let mut fused: Vec<_> = slots
            .filter_map(|slot| match &slot.kind {
                FilterKind::Filter(filter) => Some((filter.as_ref(), &slot.counts, Tally::default())),
                FilterKind::Stage(_) => None,
            })
            .collect();
        SCRATCH.with_borrow_mut(|scratch| {
            for event in records.events() {
                let size = event.raw.len() as u64;
                let mut draft = Draft::new(&event, scratch);
                let mut fate = Fate::Keep;
                for (filter, filter_counts, tally) in &mut fused {
                    tally.records += 1;
                    tally.bytes += size;
                    fate = filter.edit(
                        &mut draft,
                        &FilterCx {
                            tag,
                            counts: filter_counts,
                        },
                    );
                    match &fate {
                        Fate::Keep => {}
                        Fate::Drop(reason) => {
                            tally.drop_records += 1;
                            tally.drop_bytes += size;
                            counts.dropped.add(*reason, 1);
                            break;
                        }
                        Fate::Retag(_) => break,
                    }
                }
                match fate {
                    Fate::Keep => draft.write(&mut out),
                    Fate::Drop(_) => {}
                    Fate::Retag(to) => draft.write(run_of(retagged, to)),
                }
            }
        });
        for (_, filter_counts, tally) in fused {
            tally.add_to(filter_counts);
        }
        out.take()
    }
}

/// The run of `tag` among the re-tagged ones.
fn run_of(retagged: &mut Vec<(Tag, RecordsBuf)>, tag: Tag) -> &mut RecordsBuf {
    let at = retagged
        .iter()
        .position(|(known, _)| *known == tag)
        .unwrap_or_else(|| {
            retagged.push((tag, RecordsBuf::default()));
            retagged.len() - 1
        });
    &mut retagged[at].1
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    records: u64,
    bytes: u64,
    drop_records: u64,
    drop_bytes: u64,
}

impl Tally {
    fn add_to(self, counts: &FilterCounts) {
        counts.records.add(self.records);
        counts.bytes.add(self.bytes);
        counts.drop_records.add(self.drop_records);
        counts.drop_bytes.add(self.drop_bytes);
    }
}
