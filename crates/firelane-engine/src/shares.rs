//! Shares: who gives up records when memory is full and several outputs compete. Nobody does while waiting
//! helps.
//!
//! Until there is a log on disk, and a folder for dead letters, a record that is given up is lost. So:
//!
//! - A route is **dead** when it has settled nothing for [`DEAD_AFTER`] *and* a chunk has failed twice in
//!   that time, or one failure was [`DEAD_AFTER_ONE`] ago. A slow destination, one that still has its first
//!   request under way, and one that failed once are alive: for them the inputs wait (back-pressure).
//! - Only a dead route gives records up, and only **over its share**: `storage.total_limit_size`, at most an
//!   equal part of the limit that is reached. (A larger share could leave nothing for the others.)
//! - Only while a limit is reached **and** a living route would get records through it: for an input's own
//!   limit one that this input feeds, for the process's limit any that got records. With one output, or with
//!   all of them dead, the inputs wait.
//! - Only records that are in the way: of the inputs that wait, needed by dead routes alone, not under way;
//!   the oldest first, until a sixteenth of the limit is free. Counted as `over_share`, and told by name once
//!   per outage.
//!
//! A share counts what a route retains of all inputs, with the bookkeeping of its frames, as the budgets do.
//! The route itself looks after each of its events, and every second while it is dead and a limit is reached:
//! that no input appends any more cannot keep it from making room.

use std::sync::atomic::Ordering;
use std::time::Duration;

use firelane_buffer::{Frame, RouteId};

use crate::budget::InputBudget;
use crate::pipeline::{FrameGuard, Pipeline};

/// What becomes of records that an output cannot have within its `storage.total_limit_size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// The inputs that feed it wait.
    Block,
    /// The oldest ones are dropped.
    DropOldest,
    /// The new ones are dropped.
    DropNewest,
    /// The oldest ones go to the folder of dead letters.
    DeadLetter,
}

impl Overflow {
    /// What an output does that says `given`: `limited` if it has a limit, `alone` if it is the only one,
    /// `buries` if there is a folder for dead letters. Gives a warning too, where what it says cannot be.
    pub fn choose(
        given: Option<Self>,
        limited: bool,
        alone: bool,
        buries: bool,
    ) -> (Self, Option<&'static str>) {
        match given {
            Some(Self::DeadLetter) if !buries => {
                let text = "there is no folder for dead letters, the oldest records are dropped: set `storage.path`, \
                            and not `storage.keep.rejected off`";
                (Self::DropOldest, Some(text))
            }
            Some(overflow) if !limited => {
                let text = "needs `storage.total_limit_size`, which is not set: it has no effect";
                (overflow, Some(text))
            }
            Some(overflow) => (overflow, None),
            None if alone => (Self::Block, None),
            None if buries => (Self::DeadLetter, None),
            None => (Self::DropOldest, None),
        }
    }
}

/// A destination that has settled nothing for so long, and failed again and again, is dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(10);

/// Dead is also who failed once, so long ago, and settled nothing since (it asked for a long pause, say).
pub const DEAD_AFTER_ONE: Duration = Duration::from_secs(60);

/// Whether a frame stands in the way of routes that work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It does, and leaves.
    Leaves,
    /// It would, but living routes need it too: they will make room.
    Shared,
    /// It stays.
    Stays,
}

impl Pipeline {
    /// Whether `frame`, which the dead route `me` holds, stands in the way.
    pub(crate) fn verdict(&self, me: RouteId, frame: &Frame<FrameGuard>) -> Verdict {
        if frame.look(|guard| self.in_the_way(me, guard.budget())) != Some(true) {
            return Verdict::Stays;
        }
        // Which routes have not settled it is not known, only how many.
        let dead = |route: &&RouteId| !self.lives(**route);
        let dead = frame.routing().routes().iter().filter(dead).count();
        if frame.open_routes() as usize <= dead {
            Verdict::Leaves
        } else {
            Verdict::Shared
        }
    }

    /// Whether the dead route `me` holds more than its share of a limit that keeps the input of `budget` from
    /// a living route.
    pub(crate) fn in_the_way(&self, me: RouteId, budget: &InputBudget) -> bool {
        let (own, total) = budget.full();
        let own = own.filter(|_| self.others_live(me, |route| budget.feeds(route)));
        let used = |route: RouteId| self.routes[usize::from(route.0)].counts.routed.get() > 0;
        let total = total.filter(|_| self.others_live(me, used));
        let limit = [own, total].into_iter().flatten().min();
        limit.is_some_and(|limit| self.retained(me) > self.share(me, limit))
    }

    /// The part of `limit` that `route` may hold while it is dead.
    pub(crate) fn share(&self, route: RouteId, limit: usize) -> usize {
        let equal = limit / self.routes.len().max(1);
        let own = self.routes[usize::from(route.0)].share;
        own.map_or(equal, |own| own.min(equal))
    }

    fn retained(&self, route: RouteId) -> usize {
        self.routes[usize::from(route.0)].counts.retained_bytes.get() as usize
    }

    fn others_live(&self, me: RouteId, chosen: impl Fn(RouteId) -> bool) -> bool {
        let ids = (0..self.routes.len()).map(|id| RouteId(id as u16));
        ids.filter(|&route| route != me)
            .any(|route| self.lives(route) && chosen(route))
    }

    fn lives(&self, route: RouteId) -> bool {
        !self.routes[usize::from(route.0)].dead.load(Ordering::Acquire)
    }
}
