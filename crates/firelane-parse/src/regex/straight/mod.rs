//! Our own matcher, for patterns that read a line from left to right.
//!
//! The patterns of log lines are sequences: literals, runs of a class, optional parts. Most of their runs are
//! followed by a byte that the run cannot take, so there is nothing to go back to, and a scan of the line is
//! the match. Where there is a choice, a stack remembers it. The order of trying is that of a backtracking
//! engine, hence the match and its groups are those of the automata.
//!
//! A search does work in proportion to the text. One that would need more gives up, and the automata do it.

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

use compile::Raw;
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

/// Work that every search may do, in bytes scanned at a time (16) or choices tried.
const WORK_LEAST: usize = 512;
/// Work for each byte of the text.
const WORK_PER_BYTE: usize = 4;

impl Program {
    /// Compiles a pattern's tree, if it is of the shape.
    pub(super) fn new(hir: &Hir) -> Option<Self> {
        let (raw, slots) = compile::compile(hir)?;
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
        Some(Self {
            ops,
            slots,
            start,
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
        match &self.start {
            Start::Text | Start::Line | Start::Literal(_) => true,
            Start::Scan(scan, _) => scan.is_quick() && !matches!(self.ops[0], Op::Split(_)),
        }
    }

    /// Whether it matches anywhere in `text`, and where.
    pub(super) fn find(&self, text: &[u8]) -> Outcome {
        let mut stack = Vec::new();
        self.search(&mut self.machine::<false>(text, &mut [], &mut stack))
    }

    /// The match that starts at the start of `text`.
    pub(super) fn find_at_start(&self, text: &[u8]) -> Outcome {
        let mut stack = Vec::new();
        match self.machine::<false>(text, &mut [], &mut stack).attempt(0) {
            Ok(Some(end)) => Outcome::Match(0, end),
            Ok(None) => Outcome::None,
            Err(GaveUp) => Outcome::GaveUp,
        }
    }

    /// Finds the first match and notes the places of its groups.
    pub(super) fn captures(&self, text: &[u8], notes: &mut Notes) -> Outcome {
        notes.clear();
        notes.marks.resize(self.slots, NO_MARK);
        notes.stack.clear();
        let outcome = self.search(&mut self.machine::<true>(text, &mut notes.marks, &mut notes.stack));
        match outcome {
            Outcome::Match(start, end) => {
                notes.marks[0] = start;
                notes.marks[1] = end;
            }
            Outcome::None | Outcome::GaveUp => notes.clear(),
        }
        outcome
    }

    fn machine<'a, const NOTES: bool>(
        &'a self,
        text: &'a [u8],
        marks: &'a mut [usize],
        stack: &'a mut Vec<Frame>,
    ) -> Machine<'a, NOTES> {
        Machine {
            program: self,
            text,
            marks,
            stack,
            budget: WORK_LEAST + text.len().saturating_mul(WORK_PER_BYTE),
        }
    }

    fn search<const NOTES: bool>(&self, machine: &mut Machine<'_, NOTES>) -> Outcome {
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

/// Too short for a search of its own to pay.
fn is_short(op: &Raw) -> bool {
    matches!(op, Raw::Literal(bytes) if bytes.len() < 2)
}
