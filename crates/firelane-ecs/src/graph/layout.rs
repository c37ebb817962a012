//! Where boxes and arrows of a graph lie: columns from left to right, containers without the router below.
//!
//! A box stands one column behind the last that leads to it, ends stand in the last column. An arrow over
//! several columns gets a lane of its own in each column between, so it crosses no box. Columns are sorted
//! by the middle of their neighbours, before and behind by turns, then rows are moved towards them; without
//! a reason to move, containers stand in the order of the task.

use std::cmp::Ordering;

use super::measure::{LINE, PADDING, lines, size, width};
use super::{Graph, Kind, Node, shown};

/// Height of the title of the router, above its boxes.
const HEAD: f64 = 58.0;

/// Longest line of that title.
pub(super) const ROUTER_MAX: usize = 110;

const MARGIN: f64 = 24.0;
const CAPTIONS: f64 = 30.0;
/// Between two boxes of a column.
const GAP: f64 = 16.0;
/// Between two columns, beside labels.
const COLUMN_GAP: f64 = 72.0;
/// Height of a lane.
const LANE: f64 = 4.0;
/// Deepest that is drawn: more columns than any rewriting makes.
const RANK_MAX: usize = 16;
const LABEL_MAX: usize = 30;
const SWEEPS: usize = 6;

/// A box or area.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) w: f64,
    pub(super) h: f64,
}

/// An arrow: from, over the lanes, to; each point with the way it goes straight on.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Arrow {
    /// Pairs of points that are joined by curves; between them it is straight.
    pub(super) curves: Vec<[(f64, f64); 2]>,
    /// Middle of its label, and the label.
    pub(super) label: Option<((f64, f64), String)>,
}

/// A drawing's measures.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) width: f64,
    pub(super) height: f64,
    /// A box for each node, and its lines.
    pub(super) boxes: Vec<(Rect, Vec<String>)>,
    /// An arrow for each edge whose ends exist.
    pub(super) arrows: Vec<Arrow>,
    /// Around the router's tags and filters.
    pub(super) router: Option<Rect>,
    /// Middle and text of each column's caption.
    pub(super) captions: Vec<(f64, &'static str)>,
}

/// A box or lane in a column.
#[derive(Debug, Default)]
struct Slot {
    rank: usize,
    rect: Rect,
    before: Vec<usize>,
    after: Vec<usize>,
}

struct Placing<'a> {
    graph: &'a Graph,
    slots: Vec<Slot>,
    /// The slots of each edge, its ends first and last.
    ways: Vec<Vec<usize>>,
    /// Slots by column, from top to bottom.
    columns: Vec<Vec<usize>>,
    /// Containers that do not use the router, and where they log to.
    aside: Vec<bool>,
}

/// Lays a graph out.
pub(super) fn layout(graph: &Graph) -> Layout {
    let mut placing = Placing::new(graph);
    placing.order();
    placing.place();
    placing.finish()
}

/// Ranks: the longest way to a box; ends in the last column.
fn ranks(graph: &Graph) -> Vec<usize> {
    let least = |kind| match kind {
        Kind::Container | Kind::Input => 0,
        Kind::Tag => 1,
        Kind::Filters => 2,
        _ => 3,
    };
    let mut ranks: Vec<usize> = graph.nodes.iter().map(|node| least(node.kind)).collect();
    for _ in 0..RANK_MAX {
        for edge in graph.edges() {
            let to = ranks[edge.to].max(ranks[edge.from] + 1);
            if !graph.nodes[edge.from].kind.is_end() {
                ranks[edge.to] = to.min(RANK_MAX);
            }
        }
    }
    let last = ranks.iter().copied().max().unwrap_or(0);
    for (rank, node) in ranks.iter_mut().zip(&graph.nodes) {
        if node.kind.is_end() {
            *rank = last;
        }
    }
    ranks
}

impl<'a> Placing<'a> {
    fn new(graph: &'a Graph) -> Self {
        let ranks = ranks(graph);
        let slots = graph.nodes.iter().zip(&ranks).map(|(node, &rank)| {
            let (w, h) = size(node, &lines(node));
            let rect = Rect {
                w,
                h,
                ..Rect::default()
            };
            Slot {
                rank,
                rect,
                ..Slot::default()
            }
        });
        let mut placing = Self {
            graph,
            slots: slots.collect(),
            ways: Vec::new(),
            columns: Vec::new(),
            aside: Vec::new(),
        };
        placing.aside();
        for edge in graph.edges() {
            placing.way(edge.from, edge.to);
        }
        let columns = ranks.iter().max().map_or(0, |last| last + 1);
        placing.columns = vec![Vec::new(); columns];
        for (index, slot) in placing.slots.iter().enumerate() {
            placing.columns[slot.rank].push(index);
        }
        placing
    }

    /// A container that leads to a log driver only, or nowhere, stands aside; so do the drivers.
    fn aside(&mut self) {
        let nodes = &self.graph.nodes;
        self.aside = nodes
            .iter()
            .map(|node| matches!(node.kind, Kind::Container | Kind::Driver))
            .collect();
        for edge in self.graph.edges() {
            if nodes[edge.to].kind != Kind::Driver {
                self.aside[edge.from] = false;
            }
        }
        for edge in self.graph.edges() {
            if nodes[edge.from].kind != Kind::Container || !self.aside[edge.from] {
                self.aside[edge.to] = false;
            }
        }
    }

    fn is_aside(&self, slot: usize) -> bool {
        self.aside.get(slot).copied().unwrap_or(false)
    }

    /// The way of an edge, with a lane in each column between its ends.
    fn way(&mut self, from: usize, to: usize) {
        let (first, last) = (self.slots[from].rank, self.slots[to].rank);
        let mut way = vec![from];
        if !self.is_aside(from) {
            for rank in first + 1..last {
                let rect = Rect {
                    h: LANE,
                    ..Rect::default()
                };
                self.slots.push(Slot {
                    rank,
                    rect,
                    ..Slot::default()
                });
                way.push(self.slots.len() - 1);
            }
        }
        way.push(to);
        for pair in way.windows(2) {
            self.slots[pair[0]].after.push(pair[1]);
            self.slots[pair[1]].before.push(pair[0]);
        }
        self.ways.push(way);
    }

    /// Sorts the columns, forwards and back by turns. What is faint comes late, what stands aside last.
    fn order(&mut self) {
        #[expect(clippy::cast_precision_loss, reason = "far fewer boxes than a float counts")]
        let place = |place: &mut [f64], column: &[usize]| {
            for (at, &slot) in column.iter().enumerate() {
                place[slot] = at as f64 / column.len() as f64;
            }
        };
        let mut places = vec![0.0; self.slots.len()];
        for sweep in 0..=SWEEPS {
            let (last, forward) = (self.columns.len(), sweep % 2 == 0);
            for at in 0..last {
                let rank = if forward { at } else { last - 1 - at };
                let mut column = std::mem::take(&mut self.columns[rank]);
                column.sort_by_cached_key(|&slot| {
                    let near = self.near(slot, forward);
                    let middle = mean(near.iter().map(|&other| places[other])).unwrap_or(places[slot]);
                    let faint = self.graph.nodes.get(slot).is_some_and(|node| node.faint);
                    (self.is_aside(slot), faint, Sorted(middle))
                });
                place(&mut places, &column);
                self.columns[rank] = column;
            }
        }
    }

    /// The boxes and lanes before or behind one.
    fn near(&self, slot: usize, forward: bool) -> &[usize] {
        let slot = &self.slots[slot];
        if forward { &slot.before } else { &slot.after }
    }

    /// Rows: first packed, then towards the neighbours before and behind by turns.
    fn place(&mut self) {
        for aside in [false, true] {
            let columns: Vec<Vec<usize>> = self
                .columns
                .iter()
                .map(|column| {
                    let same = column
                        .iter()
                        .copied()
                        .filter(|&slot| self.is_aside(slot) == aside);
                    same.collect()
                })
                .collect();
            for sweep in 0..=SWEEPS {
                let forward = sweep % 2 == 0;
                for at in 0..columns.len() {
                    let rank = if forward { at } else { columns.len() - 1 - at };
                    self.settle(&columns[rank], forward);
                }
            }
        }
        let top = MARGIN + CAPTIONS + if self.has_router() { HEAD } else { 0.0 };
        let bottom = self
            .shift(false, top)
            .map_or(top, |bottom| bottom + 2.0 * GAP + PADDING);
        self.shift(true, if self.has_router() { bottom } else { bottom - GAP });
    }

    /// Moves each box of a column towards the middle of its neighbours: as near as all of them together can
    /// be without touching (least squares).
    fn settle(&mut self, column: &[usize], forward: bool) {
        let middle = |&slot: &usize| {
            let Rect { y, h, .. } = self.slots[slot].rect;
            let near = self
                .near(slot, forward)
                .iter()
                .map(|&other| &self.slots[other].rect);
            mean(near.map(|rect| rect.y + rect.h / 2.0)).map_or(y, |middle| middle - h / 2.0)
        };
        let wanted: Vec<f64> = column.iter().map(middle).collect();
        // Runs of boxes that touch: where the first starts, the sum of what all want, how many they are.
        let mut runs: Vec<(f64, f64, f64)> = Vec::new();
        let mut offset = 0.0;
        for (&slot, wanted) in column.iter().zip(wanted) {
            let mut run = (wanted - offset, wanted - offset, 1.0);
            while let Some(above) = runs.pop_if(|above| above.0 >= run.0) {
                let (sum, count) = (above.1 + run.1, above.2 + run.2);
                run = (sum / count, sum, count);
            }
            runs.push(run);
            offset += self.slots[slot].rect.h + GAP;
        }
        let starts = runs.iter().flat_map(|run| (0..run.2 as usize).map(|_| run.0));
        let mut offset = 0.0;
        for (&slot, start) in column.iter().zip(starts) {
            let rect = &mut self.slots[slot].rect;
            rect.y = start + offset;
            offset += rect.h + GAP;
        }
    }

    /// Moves one of the two parts to where it starts; where it ends.
    fn shift(&mut self, aside: bool, top: f64) -> Option<f64> {
        let part: Vec<usize> = (0..self.slots.len())
            .filter(|&slot| self.is_aside(slot) == aside)
            .collect();
        let least = part
            .iter()
            .map(|&slot| self.slots[slot].rect.y)
            .reduce(f64::min)?;
        for &slot in &part {
            self.slots[slot].rect.y += top - least;
        }
        let ends = part
            .iter()
            .map(|&slot| self.slots[slot].rect.y + self.slots[slot].rect.h);
        ends.reduce(f64::max)
    }

    fn has_router(&self) -> bool {
        let inner = |node: &Node| matches!(node.kind, Kind::Tag | Kind::Filters);
        self.graph.nodes.iter().any(inner)
    }

    fn finish(mut self) -> Layout {
        let labels = self.labels();
        let (columns, width) = self.across(&labels);
        let captions = ["Containers", "Tags", "Filters"];
        let last = columns.len().saturating_sub(1);
        let caption = |(rank, &(x, w)): (usize, &(f64, f64))| {
            let text = match rank {
                rank if rank == last => "Destinations",
                0 => captions[0],
                rank => captions[2 - rank % 2],
            };
            (x + w / 2.0, text)
        };
        let captions = columns.iter().enumerate().map(caption);
        let captions =
            captions.filter(|(_, text)| matches!(*text, "Containers" | "Destinations") || self.has_router());
        let captions = captions.collect();
        let bottom = |slot: &Slot| slot.rect.y + slot.rect.h;
        let height = self.slots.iter().map(bottom).fold(MARGIN + CAPTIONS, f64::max);
        let router = self.router(&columns);
        let router_bottom = router.map_or(0.0, |rect| rect.y + rect.h);
        let arrows = self.arrows(&labels, &columns);
        let labels = arrows.iter().filter_map(|arrow| arrow.label.as_ref());
        let height = labels.fold(height, |height, ((_, y), _)| height.max(y + LINE));
        let boxes = self.graph.nodes.iter().zip(&self.slots);
        Layout {
            width,
            height: height.max(router_bottom) + MARGIN,
            boxes: boxes.map(|(node, slot)| (slot.rect, lines(node))).collect(),
            arrows,
            router,
            captions,
        }
    }

    /// The label of each edge; of those that lead to one box with the same words only the first.
    fn labels(&self) -> Vec<Option<String>> {
        let mut seen = std::collections::BTreeSet::new();
        let label = |edge: &super::Edge| {
            let label = edge.label.as_ref()?;
            let new = seen.insert((edge.to, label.clone()));
            new.then(|| shown(label, LABEL_MAX))
        };
        self.graph.edges().map(label).collect()
    }

    /// Gives each column its place; left and width of each, and the width of all.
    fn across(&mut self, labels: &[Option<String>]) -> (Vec<(f64, f64)>, f64) {
        let mut gaps = vec![COLUMN_GAP; self.columns.len()];
        for (way, label) in self.ways.iter().zip(labels) {
            if let Some(label) = label {
                let gap = &mut gaps[self.slots[way[0]].rank];
                *gap = gap.max(width(label) + 48.0);
            }
        }
        let widths = self.columns.iter().map(|column| {
            let widths = column.iter().map(|&slot| self.slots[slot].rect.w);
            widths.fold(0.0, f64::max)
        });
        let mut widths: Vec<f64> = widths.collect();
        if let [_, inner @ .., _] = widths.as_mut_slice() {
            // The router's title must fit.
            let gaps: f64 = gaps.iter().skip(1).take(inner.len().saturating_sub(1)).sum();
            let name = self.graph.router.iter().take(1).cloned();
            let listeners = self.graph.router.get(1..).unwrap_or_default().join("; ");
            let title = name
                .chain([listeners])
                .map(|line| width(&shown(&line, ROUTER_MAX)) * 1.05);
            let missing = title.fold(0.0, f64::max) - inner.iter().sum::<f64>() - gaps;
            if let Some(last) = inner.last_mut().filter(|_| missing > 0.0) {
                *last += missing;
            }
        }
        let mut x = MARGIN;
        let mut columns = Vec::new();
        for (rank, column) in self.columns.iter().enumerate() {
            for &slot in column {
                let rect = &mut self.slots[slot].rect;
                rect.x = x;
                rect.w = widths[rank];
            }
            columns.push((x, widths[rank]));
            x += widths[rank] + gaps[rank];
        }
        let last = gaps.last().copied().unwrap_or(0.0);
        (columns, (x - last).max(MARGIN) + MARGIN)
    }

    fn router(&self, columns: &[(f64, f64)]) -> Option<Rect> {
        let [_, inner @ .., _] = columns else { return None };
        let (&(left, _), &(right, w)) = (inner.first()?, inner.last()?);
        let slots = || {
            self.slots
                .iter()
                .enumerate()
                .filter(|(slot, _)| !self.is_aside(*slot))
        };
        let bottom = slots()
            .map(|(_, slot)| slot.rect.y + slot.rect.h)
            .reduce(f64::max)?;
        let (x, y) = (left - GAP, MARGIN + CAPTIONS);
        let router = Rect {
            x,
            y,
            w: right + w + GAP - x,
            h: bottom + PADDING - y,
        };
        self.has_router().then_some(router)
    }

    fn arrows(&self, labels: &[Option<String>], columns: &[(f64, f64)]) -> Vec<Arrow> {
        let (starts, ends) = (self.ports(false), self.ports(true));
        let mut arrows: Vec<_> = self
            .ways
            .iter()
            .enumerate()
            .map(|(edge, way)| {
                let point = |at: usize, arrives: bool| {
                    let rect = self.slots[way[at]].rect;
                    let offset = match at {
                        0 => starts[edge],
                        at if at + 1 == way.len() => ends[edge],
                        _ => 0.0,
                    };
                    (
                        rect.x + if arrives { 0.0 } else { rect.w },
                        rect.y + rect.h / 2.0 + offset,
                    )
                };
                let curves: Vec<_> = (1..way.len())
                    .map(|at| [point(at - 1, false), point(at, true)])
                    .collect();
                let label = labels[edge]
                    .clone()
                    .zip(curves.first())
                    .map(|(label, &[from, to])| {
                        let (_, y) = (from.0, f64::midpoint(from.1, to.1));
                        let rank = self.slots[way[0]].rank;
                        let right = columns.get(rank + 1).map_or(to.0, |(x, _)| *x);
                        ((f64::midpoint(from.0, right), y), label)
                    });
                Arrow { curves, label }
            })
            .collect();
        spread(&mut arrows);
        arrows
    }

    /// How far from the middle of a box each edge starts or ends: sorted by where the other side is.
    fn ports(&self, arrives: bool) -> Vec<f64> {
        let mut sides: std::collections::BTreeMap<usize, Vec<(f64, usize)>> =
            std::collections::BTreeMap::new();
        for (edge, way) in self.ways.iter().enumerate() {
            let (own, other) = match arrives {
                true => (way[way.len() - 1], way[way.len() - 2]),
                false => (way[0], way[1]),
            };
            let rect = self.slots[other].rect;
            sides.entry(own).or_default().push((rect.y + rect.h / 2.0, edge));
        }
        let mut ports = vec![0.0; self.ways.len()];
        for (own, mut edges) in sides {
            edges.sort_by(|a, b| a.0.total_cmp(&b.0));
            #[expect(clippy::cast_precision_loss, reason = "far fewer edges than a float counts")]
            let between = (edges.len().max(2) - 1) as f64;
            let step = ((self.slots[own].rect.h - PADDING) / between).clamp(0.0, 10.0);
            let mut offset = match edges.len() {
                1 => 0.0,
                _ => -step * between / 2.0,
            };
            for (_, edge) in edges {
                ports[edge] = offset;
                offset += step;
            }
        }
        ports
    }
}

/// Moves labels of one gap apart.
fn spread(arrows: &mut [Arrow]) {
    let mut labels: Vec<_> = arrows
        .iter_mut()
        .filter_map(|arrow| arrow.label.as_mut().map(|(middle, _)| middle))
        .collect();
    labels.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    for i in 1..labels.len() {
        let (x, y) = *labels[i - 1];
        if (labels[i].0 - x).abs() < 1.0 {
            labels[i].1 = labels[i].1.max(y + LINE);
        }
    }
}

/// A number to sort by.
#[derive(PartialEq)]
struct Sorted(f64);

impl Eq for Sorted {}

impl PartialOrd for Sorted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Sorted {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

fn mean(all: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = all.fold((0.0, 0.0), |(sum, count), y| (sum + y, count + 1.0));
    (count > 0.0).then(|| sum / count)
}
