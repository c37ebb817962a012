//! Our own matcher, for patterns that read a line from left to right.
//!
//! The patterns of log lines are sequences: literals, runs of a class, optional parts. Most of their runs are
//! followed by a byte that the run cannot take, so there is nothing to go back to, and a scan of the line is
//! the match. Where there is a choice, a stack remembers it. The order of trying is that of a backtracking
//! engine, hence the match and its groups are those of the automata.
//!
//! A search does work in proportion to the text and gives up beyond it; the automata are better at saying no.
//! They find where the match starts, and a second try from there may do more work.

mod compile;
mod lower;
mod machine;
#[cfg(test)]
mod samples;
mod set;
#[cfg(test)]
mod tests;

use memchr::memmem::Finder;
use regex_syntax::hir::{Hir, Look};

use compile::{Compiled, Raw};
use lower::Op;
use machine::{Frame, GaveUp, Machine};
use set::Scan;

/// A place that no group has noted.
const NO_MARK: usize = usize::MAX;

/// What a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A match: start and end.
    Match(usize, usize),
    /// There is none.
    None,
    /// It would take too long; ask another engine.
    GaveUp,
}

/// What a search with groups writes to. Keep one and use it again.
#[derive(Debug, Default, Clone)]
pub(super) struct Notes {
    marks: Vec<usize>,
    stack: Vec<Frame>,
}

impl Notes {
    /// The place of group `n` (0: the whole match).
    pub(super) fn get(&self, n: usize) -> Option<(usize, usize)> {
        let at = n.checked_mul(2)?;
        match *self.marks.get(at..at.checked_add(2)?)? {
            [start, end] if start != NO_MARK && end != NO_MARK => Some((start, end)),
            _ => None,
        }
    }

    fn reset(&mut self, slots: usize) {
        self.marks.clear();
        self.marks.resize(slots, NO_MARK);
        self.stack.clear();
    }

    fn finish(&mut self, found: Outcome) -> Outcome {
        match found {
            Outcome::Match(start, end) => self.marks[..2].copy_from_slice(&[start, end]),
            Outcome::None | Outcome::GaveUp => self.clear(),
        }
        found
    }

    /// Forgets the last match.
    pub(super) fn clear(&mut self) {
        self.marks.clear();
    }

    /// Adds the place of the next group of a match that another engine has found.
    pub(super) fn push(&mut self, span: Option<(usize, usize)>) {
        let (start, end) = span.unwrap_or((NO_MARK, NO_MARK));
        self.marks.extend([start, end]);
    }
}

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Program {
    ops: Vec<Op>,
    slots: usize,
    start: Start,
    /// Without these bytes there is no match; kept where a look for them pays.
    required: Option<Box<Finder<'static>>>,
    /// Begins with a run without bound, at this step: what fails at its start fails all along it.
    leading: Option<usize>,
}

/// Where matches can start.
#[derive(Debug)]
enum Start {
    /// At the start of the text.
    Text,
    /// At the start of a line.
    Line,
    /// Where these bytes stand.
    Literal(Box<Finder<'static>>),
    /// At a byte that the scan finds; also at the end of the text if the flag says so.
    Scan(Scan, bool),
}

/// Shortest literal that lines are worth a look for: shorter ones are separators, which most lines have.
const WORD: usize = 4;

/// Work that a search may do, and the part of the text's bytes that it may do besides. A unit is a choice
/// tried; it takes some nanoseconds, as do 2 to 4 bytes in the automata.
#[derive(Debug, Clone, Copy)]
struct Work {
    least: usize,
    bytes_for_one: usize,
}

/// From certain places.
const WORK: Work = Work {
    least: 48,
    bytes_for_one: 16,
};
/// From any place that has one of many bytes.
const WORK_ANYWHERE: Work = Work {
    least: 24,
    bytes_for_one: 64,
};
/// From a few bytes, wherever they stand: the automata know how to find words that start with them.
const WORK_WORDS: Work = Work {
    least: 6,
    bytes_for_one: 256,
};
/// Where a match is known to start: the automata take much longer for its groups.
const WORK_GROUPS: Work = Work {
    least: 512,
    bytes_for_one: 1,
};

impl Program {
    /// Compiles a pattern's tree, if it is of the shape.
    pub(super) fn new(hir: &Hir) -> Option<Self> {
        let Compiled {
            ops: raw,
            slots,
            required,
        } = compile::compile(hir)?;
        let ops = lower::lower(&raw);
        let notes = raw.iter().take_while(|op| matches!(op, Raw::Save { .. })).count();
        let prefix = hir.properties().look_set_prefix();
        let start = if prefix.contains(Look::Start) {
            Start::Text
        } else if prefix.contains(Look::StartLF) {
            Start::Line
        } else if let Some(Raw::Literal(bytes)) = raw.get(notes).filter(|_| !is_short(&raw[notes])) {
            Start::Literal(Box::new(Finder::new(bytes).into_owned()))
        } else {
            let first = lower::first(&raw, 0);
            Start::Scan(Scan::new(&first.set), first.end)
        };
        let endless = matches!(raw.get(notes), Some(Raw::Run(run)) if run.max.is_none());
        let search_first = match start {
            Start::Scan(..) => !required.is_empty(),
            Start::Line => required.len() >= WORD,
            Start::Text | Start::Literal(_) => false,
        };
        Some(Self {
            ops,
            slots,
            start,
            required: search_first.then(|| Box::new(Finder::new(&required).into_owned())),
            leading: endless.then_some(notes),
        })
    }

    /// Number of groups, the whole match included.
    pub(super) fn groups(&self) -> usize {
        self.slots / 2
    }

    /// Whether it is quick at saying that a text does not match: the automata look at the bytes in vectors
    /// where a match may start anywhere.
    pub(super) fn is_quick_test(&self) -> bool {
        !matches!(self.start, Start::Scan(..))
    }

    /// Whether `text` has no match because it lacks bytes that every match holds.
    pub(super) fn lacks(&self, text: &[u8]) -> bool {
        let required = self.required.as_ref();
        required.is_some_and(|required| required.find(text).is_none())
    }

    /// Whether it matches anywhere in `text`, and where.
    pub(super) fn find(&self, text: &[u8]) -> Outcome {
        let mut stack = Vec::new();
        self.search(&mut self.machine::<false>(text, self.work(), &mut [], &mut stack))
    }

    /// The match that starts at the start of `text`.
    pub(super) fn find_at_start(&self, text: &[u8]) -> Outcome {
        let mut stack = Vec::new();
        let mut machine = self.machine::<false>(text, WORK, &mut [], &mut stack);
        outcome(0, machine.attempt(0))
    }

    /// Finds the first match and notes the places of its groups.
    pub(super) fn captures(&self, text: &[u8], notes: &mut Notes) -> Outcome {
        notes.reset(self.slots);
        let mut machine = self.machine::<true>(text, self.work(), &mut notes.marks, &mut notes.stack);
        let found = self.search(&mut machine);
        notes.finish(found)
    }

    /// Notes the places of the groups of the match that starts at `start`.
    pub(super) fn captures_from(&self, text: &[u8], start: usize, notes: &mut Notes) -> Outcome {
        notes.reset(self.slots);
        let mut machine = self.machine::<true>(text, WORK_GROUPS, &mut notes.marks, &mut notes.stack);
        let found = outcome(start, machine.attempt(start));
        notes.finish(found)
    }

    fn work(&self) -> Work {
        match self.start {
            Start::Scan(Scan::Table(_), _) => WORK_ANYWHERE,
            Start::Scan(..) => WORK_WORDS,
            _ => WORK,
        }
    }

    fn machine<'a, const NOTES: bool>(
        &'a self,
        text: &'a [u8],
        work: Work,
        marks: &'a mut [usize],
        stack: &'a mut Vec<Frame>,
    ) -> Machine<'a, NOTES> {
        Machine {
            program: self,
            text,
            marks,
            stack,
            budget: work.least + text.len() / work.bytes_for_one,
        }
    }

    fn search<const NOTES: bool>(&self, machine: &mut Machine<'_, NOTES>) -> Outcome {
        if self.lacks(machine.text) {
            return Outcome::None;
        }
        let mut from = 0;
        while let Some(start) = self.next_start(machine.text, from) {
            match machine
                .charge(1 + ((start - from) >> 4))
                .and_then(|()| machine.attempt(start))
            {
                Ok(Some(end)) => return Outcome::Match(start, end),
                Ok(None) => {
                    from = self.after(machine.text, start);
                    machine.reset();
                }
                Err(GaveUp) => return Outcome::GaveUp,
            }
        }
        Outcome::None
    }

    /// The next place at or after `from` where a match can start.
    fn next_start(&self, text: &[u8], from: usize) -> Option<usize> {
        let tail = text.get(from..)?;
        match &self.start {
            Start::Text => (from == 0).then_some(0),
            Start::Line if from == 0 => Some(0),
            Start::Line => memchr::memchr(b'\n', &text[from - 1..]).map(|at| from + at),
            Start::Literal(finder) => finder.find(tail).map(|at| from + at),
            Start::Scan(scan, end) => {
                let at = scan.find(text, from);
                (at < text.len() || *end).then_some(at)
            }
        }
    }

    /// Where to look on after nothing matched from `start`.
    fn after(&self, text: &[u8], start: usize) -> usize {
        let run_end = self.leading.and_then(|at| match &self.ops[at] {
            Op::Run(run) => Some(run.stop.find(text, start)),
            _ => None,
        });
        run_end.unwrap_or(start) + 1
    }
}

fn outcome(start: usize, found: Result<Option<usize>, GaveUp>) -> Outcome {
    match found {
        Ok(Some(end)) => Outcome::Match(start, end),
        Ok(None) => Outcome::None,
        Err(GaveUp) => Outcome::GaveUp,
    }
}

/// Too short for a search of its own to pay.
fn is_short(op: &Raw) -> bool {
    matches!(op, Raw::Literal(bytes) if bytes.len() < 2)
}
