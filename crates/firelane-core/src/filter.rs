//! Filters: one record in, the same record edited, re-tagged or dropped. Fusable: the engine walks a record
//! once for all filters of its tag.

use std::sync::Arc;

use firelane_record::{Draft, Tag};

use crate::{FilterCounts, Reason};

/// A pure edit of single records.
pub trait Filter: Send + Sync + 'static {
    /// Edits the record and says what becomes of it.
    fn edit(&self, record: &mut Draft<'_>, cx: &FilterCx<'_>) -> Fate;
}

/// What a filter knows besides the record.
#[derive(Clone, Copy)]
pub struct FilterCx<'a> {
    /// The record's tag.
    pub tag: &'a Tag,
    /// This filter's counters, for what the engine cannot count itself.
    pub counts: &'a Arc<FilterCounts>,
}

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Keep,
    /// It starts again at the head of the new tag's list of filters.
    Retag(Tag),
    /// It is gone, counted under the reason.
    Drop(Reason),
}
