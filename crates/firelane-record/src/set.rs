//! Compact sets of record numbers: [`RecordSet`] for a part of a chunk, [`IntervalSet`] for what a cursor has
//! settled.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of the records of one chunk, by index from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSet(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    All,
    /// Sorted, not empty, neither overlapping nor adjacent.
    Ranges(Vec<Range<u32>>),
}

impl RecordSet {
    /// Every record, however many there are.
    pub fn all() -> Self {
        Self(Form::All)
    }

    /// No record.
    pub fn none() -> Self {
        Self(Form::Ranges(Vec::new()))
    }

    /// The records `from..to`.
    pub fn range(from: u32, to: u32) -> Self {
        let mut set = Self::none();
        set.insert_range(from..to);
        set
    }

    /// Adds one record.
    pub fn insert(&mut self, index: u32) {
        self.insert_range(index..index.saturating_add(1));
    }

    /// Adds a range of records. Cheap when it lies behind all others.
    pub fn insert_range(&mut self, range: Range<u32>) {
        let Form::Ranges(ranges) = &mut self.0 else {
            return;
        };
        if range.is_empty() {
            return;
        }
        // All that overlap or touch it melt into one.
        let first = ranges.partition_point(|old| old.end < range.start);
        let behind = ranges.partition_point(|old| old.start <= range.end);
        let melted = match ranges.get(first..behind) {
            Some([only]) => only.start.min(range.start)..only.end.max(range.end),
            Some([low, .., high]) => low.start.min(range.start)..high.end.max(range.end),
            _ => range,
        };
        ranges.splice(first..behind, [melted]);
    }

    /// Whether it holds that record.
    pub fn contains(&self, index: u32) -> bool {
        match &self.0 {
            Form::All => true,
            Form::Ranges(ranges) => {
                let at = ranges.partition_point(|range| range.end <= index);
                ranges.get(at).is_some_and(|range| range.contains(&index))
            }
        }
    }

    /// Whether it holds none.
    pub fn is_none(&self) -> bool {
        matches!(&self.0, Form::Ranges(ranges) if ranges.is_empty())
    }

    /// How many of the records `0..total` it holds.
    pub fn count(&self, total: u32) -> u32 {
        self.runs(0, total)
            .filter(|run| run.2)
            .map(|run| run.1 - run.0)
            .sum()
    }

    /// Whether it holds all of the records `0..total`.
    pub fn is_all(&self, total: u32) -> bool {
        self.count(total) == total
    }

    /// What either holds.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        match (&self.0, &other.0) {
            (Form::Ranges(ours), Form::Ranges(theirs)) => {
                let mut all: Vec<_> = ours.iter().chain(theirs).cloned().collect();
                all.sort_unstable_by_key(|range| range.start);
                all.into_iter().collect()
            }
            _ => Self::all(),
        }
    }

    /// What it does not hold of the records `0..total`.
    #[must_use]
    pub fn complement(&self, total: u32) -> Self {
        self.runs(0, total)
            .filter(|run| !run.2)
            .map(|run| run.0..run.1)
            .collect()
    }

    /// The records `from..to` as runs that are wholly inside or wholly outside: `(from, to, inside)`.
    pub fn runs(&self, from: u32, to: u32) -> Runs<'_> {
        let ranges = match &self.0 {
            Form::All => None,
            Form::Ranges(ranges) => {
                let at = ranges.partition_point(|range| range.end <= from);
                Some(ranges.get(at..).unwrap_or_default())
            }
        };
        Runs { ranges, at: from, to }
    }
}

impl FromIterator<Range<u32>> for RecordSet {
    fn from_iter<I: IntoIterator<Item = Range<u32>>>(ranges: I) -> Self {
        let mut set = Self::none();
        ranges.into_iter().for_each(|range| set.insert_range(range));
        set
    }
}

impl FromIterator<u32> for RecordSet {
    fn from_iter<I: IntoIterator<Item = u32>>(indexes: I) -> Self {
        let mut set = Self::none();
        indexes.into_iter().for_each(|index| set.insert(index));
        set
    }
}

/// Iterator of [`RecordSet::runs`].
#[derive(Debug, Clone)]
pub struct Runs<'a> {
    /// What is not behind `at` yet; `None` where all is inside.
    ranges: Option<&'a [Range<u32>]>,
    at: u32,
    to: u32,
}

impl Iterator for Runs<'_> {
    type Item = (u32, u32, bool);

    fn next(&mut self) -> Option<Self::Item> {
        let from = self.at;
        if from >= self.to {
            return None;
        }
        let (end, inside) = match self.ranges {
            None => (self.to, true),
            Some([]) => (self.to, false),
            Some([range, rest @ ..]) if range.start <= from => {
                self.ranges = Some(rest);
                (range.end, true)
            }
            Some([range, ..]) => (range.start, false),
        };
        self.at = end.min(self.to);
        Some((from, self.at, inside))
    }
}

/// A growing set of numbers that is whole but for a few gaps: everything below [`low_water`](Self::low_water)
/// and some islands above. Insertion at an end costs no search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IntervalSet {
    low: u64,
    /// Start to end, none overlapping or adjacent, all above `low`.
    islands: BTreeMap<u64, u64>,
}

impl IntervalSet {
    /// No number.
    pub fn new() -> Self {
        Self::default()
    }

    /// All numbers below `low`.
    pub fn below(low: u64) -> Self {
        Self {
            low,
            islands: BTreeMap::new(),
        }
    }

    /// The first number that is not in it.
    pub fn low_water(&self) -> u64 {
        self.low
    }

    /// Runs of numbers above the low-water mark.
    pub fn islands(&self) -> impl Iterator<Item = Range<u64>> {
        self.islands.iter().map(|(&start, &end)| start..end)
    }

    /// Adds a range.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() || range.end <= self.low {
            return;
        }
        if range.start <= self.low {
            self.low = range.end;
            self.absorb();
            return;
        }
        let Range { mut start, mut end } = range;
        // The island below that reaches it, then those above that it reaches.
        if let Some((&at, &old_end)) = self.islands.range(..=start).next_back()
            && old_end >= start
        {
            start = at;
            end = end.max(old_end);
        }
        while let Some((&at, &old_end)) = self.islands.range(start..=end).next() {
            self.islands.remove(&at);
            end = end.max(old_end);
        }
        self.islands.insert(start, end);
    }

    /// Takes in the islands that the low-water mark has reached.
    fn absorb(&mut self) {
        while let Some(first) = self.islands.first_entry()
            && *first.key() <= self.low
        {
            self.low = self.low.max(first.remove());
        }
    }

    /// Whether it holds that number.
    pub fn contains(&self, number: u64) -> bool {
        number < self.low
            || self
                .islands
                .range(..=number)
                .next_back()
                .is_some_and(|(_, &end)| number < end)
    }

    /// The first number above all that it holds.
    pub fn end(&self) -> u64 {
        self.islands.last_key_value().map_or(self.low, |(_, &end)| end)
    }

    /// What it does not hold of a range, in order.
    pub fn gaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let mut at = range.start.max(self.low);
        let first = self
            .islands
            .range(..=at)
            .next_back()
            .map_or(at, |(&start, _)| start);
        let mut islands = self.islands.range(first..);
        let end = range.end;
        std::iter::from_fn(move || {
            while at < end {
                let (&start, &island_end) = islands.next().unwrap_or((&end, &end));
                let gap = at..start.min(end);
                at = at.max(island_end);
                if !gap.is_empty() {
                    return Some(gap);
                }
            }
            None
        })
    }

    /// Whether it holds all of a range.
    pub fn is_covered(&self, range: Range<u64>) -> bool {
        range.is_empty()
            || range.end <= self.low
            || self
                .islands
                .range(..=range.start.max(self.low))
                .next_back()
                .is_some_and(|(&start, &end)| start <= range.start && range.end <= end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_needs_no_total() {
        let all = RecordSet::all();
        assert_eq!(all.count(7), 7);
        assert_eq!(all.runs(2, 5).collect::<Vec<_>>(), [(2, 5, true)]);
        assert_eq!(all.union(&RecordSet::none()), all);
        assert!(all.complement(9).is_none());
    }

    #[test]
    fn runs_alternate() {
        let set: RecordSet = [1..3, 5..6].into_iter().collect();
        let runs: Vec<_> = set.runs(0, 7).collect();
        assert_eq!(
            runs,
            [
                (0, 1, false),
                (1, 3, true),
                (3, 5, false),
                (5, 6, true),
                (6, 7, false)
            ]
        );
        assert_eq!(set.runs(2, 5).collect::<Vec<_>>(), [(2, 3, true), (3, 5, false)]);
        assert_eq!(RecordSet::none().runs(3, 3).count(), 0);
    }

    #[test]
    fn settling_in_order_leaves_no_islands() {
        let mut set = IntervalSet::new();
        set.insert(10..20);
        assert_eq!(set.low_water(), 0);
        assert!(set.is_covered(12..20) && !set.is_covered(9..11));
        set.insert(0..10);
        assert_eq!((set.low_water(), set.islands().count()), (20, 0));
    }

    fn ranges() -> impl Strategy<Value = Vec<(u32, u32)>> {
        prop::collection::vec((0u32..40, 0u32..12), 0..12)
    }

    proptest! {
        #[test]
        fn record_sets_agree(ours in ranges(), theirs in ranges(), from in 0u32..50, to in 0u32..60) {
            let build = |list: &[(u32, u32)]| {
                let set: RecordSet = list.iter().map(|&(at, len)| at..at + len).collect();
                let model: BTreeSet<u32> = list.iter().flat_map(|&(at, len)| at..at + len).collect();
                (set, model)
            };
            let (set, model) = build(&ours);
            let (other, other_model) = build(&theirs);
            let listed = |set: &RecordSet| (0..60).filter(|&n| set.contains(n)).collect::<BTreeSet<_>>();
            prop_assert_eq!(&listed(&set), &model);
            prop_assert_eq!(set.count(60) as usize, model.len());
            prop_assert_eq!(listed(&set.union(&other)), &model | &other_model);
            prop_assert_eq!(listed(&set.complement(60)), (0..60).filter(|n| !model.contains(n)).collect());
            let mut at = from;
            for (start, end, inside) in set.runs(from, to) {
                prop_assert!(start == at && start < end);
                prop_assert!((start..end).all(|n| model.contains(&n) == inside));
                at = end;
            }
            prop_assert_eq!(at, from.max(to.max(from)));
        }

        #[test]
        fn interval_sets_agree(list in ranges(), from in 0u64..50, len in 0u64..12) {
            let mut set = IntervalSet::new();
            let mut model = BTreeSet::new();
            for (at, len) in list {
                let range = u64::from(at)..u64::from(at + len);
                set.insert(range.clone());
                model.extend(range);
            }
            prop_assert!((0..60).all(|n| set.contains(n) == model.contains(&n)));
            prop_assert_eq!(set.end(), model.last().map_or(0, |last| last + 1));
            prop_assert_eq!(set.low_water(), (0..).find(|n| !model.contains(n)).unwrap());
            let range = from..from + len;
            prop_assert_eq!(set.is_covered(range.clone()), range.clone().all(|n| model.contains(&n)));
            let gaps: Vec<_> = set.gaps(range.clone()).collect();
            prop_assert!(gaps.windows(2).all(|two| two[0].end < two[1].start));
            let open: Vec<u64> = gaps.into_iter().flatten().collect();
            prop_assert_eq!(open, range.filter(|n| !model.contains(n)).collect::<Vec<_>>());
        }
    }
}
