//! Decides, from what may follow each step, where a choice has only one outcome.

use regex_syntax::hir::Look;

use super::compile::{Raw, RawRun};
use super::set::{ByteSet, Next, Scan, Table};

/// One step of the program.
#[derive(Debug)]
pub(super) enum Op {
    /// This byte.
    Byte(u8),
    /// At most eight bytes.
    Word(Word),
    /// These bytes.
    Literal(Box<[u8]>),
    /// One byte of the set.
    Set(Box<Table>),
    /// All bytes up to this one, and itself.
    Until(Until),
    /// A repetition of one set.
    Run(Box<Run>),
    /// Notes the position.
    Save {
        /// Where.
        slot: usize,
        /// Going back restores the older note.
        undo: bool,
    },
    /// An assertion.
    Look(Look),
    /// Two ways; the first is preferred.
    Split(Box<Split>),
    /// Goes on elsewhere.
    Jump(usize),
    /// The end of the pattern.
    Match,
}

/// A literal of at most eight bytes, to compare in one go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word {
    /// Its bytes, the first one lowest; others are zero.
    bits: u64,
    /// Ones where it has bytes.
    mask: u64,
    /// Number of its bytes.
    pub(super) len: usize,
}

impl Word {
    fn new(bytes: &[u8]) -> Option<Self> {
        let mut padded = [0; 8];
        padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
        let bits = u64::from_le_bytes(padded);
        let len = bytes.len();
        let mask = u64::MAX.checked_shr(64 - 8 * u32::try_from(len).ok()?)?;
        Some(Self { bits, mask, len })
    }

    /// Whether `text` starts with it.
    #[inline]
    pub(super) fn starts(&self, text: &[u8]) -> bool {
        match text.first_chunk::<8>() {
            Some(chunk) => (u64::from_le_bytes(*chunk) ^ self.bits) & self.mask == 0,
            None => text.starts_with(self.bits.to_le_bytes().get(..self.len).unwrap_or_default()),
        }
    }
}

/// All bytes up to a certain one, and itself: the usual field and its separator.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until {
    /// The byte that ends it.
    pub(super) byte: u8,
    /// Going back restores older notes.
    pub(super) undo: bool,
    /// The slot of its start, if the bytes before the last one are a group; that of its end is the next.
    pub(super) save: Option<u32>,
    /// Fewest bytes before the last one.
    pub(super) min: u32,
    /// The step to go on with.
    pub(super) then: u32,
}

/// A repetition of one set.
#[derive(Debug)]
pub(super) struct Run {
    /// Fewest bytes.
    pub(super) min: usize,
    /// Most bytes; `usize::MAX` where there is no bound.
    pub(super) max: usize,
    /// The slot of its start, if it is all of a group; that of its end is the next.
    pub(super) save: Option<usize>,
    /// Going back restores older notes.
    pub(super) undo: bool,
    /// How its length is chosen.
    pub(super) kind: Kind,
    /// Finds the first byte that is not in the set.
    pub(super) stop: Scan,
}

/// How the length of a run is chosen.
#[derive(Debug)]
pub(super) enum Kind {
    /// As long as can be: no other length can lead to a match.
    Only,
    /// The longest first, then shorter ones.
    Greedy {
        /// What may follow the run.
        next: Next,
        /// Finds a byte of the run that may as well follow it.
        back: Scan,
    },
    /// The shortest first, then longer ones.
    Lazy {
        /// What may follow the run.
        next: Next,
        /// The set itself.
        set: Box<Table>,
        /// Finds a byte that may follow the run, or that is not in the set.
        halt: Scan,
    },
}

/// Two ways; the first is preferred.
#[derive(Debug)]
pub(super) struct Split {
    /// The preferred one.
    pub(super) first: usize,
    /// The other one.
    pub(super) second: usize,
    /// What the first may start with.
    pub(super) first_next: Next,
    /// What the second may start with.
    pub(super) second_next: Next,
}

/// What a match from a step on may start with. More than is true does no harm.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct First {
    /// Its first byte.
    pub(super) set: ByteSet,
    /// The end of the text is possible.
    pub(super) end: bool,
}

impl First {
    fn or(self, other: Self) -> Self {
        Self {
            set: self.set.or(other.set),
            end: self.end || other.end,
        }
    }
}

/// What a match from step `at` on may start with.
pub(super) fn first(ops: &[Raw], at: usize) -> First {
    let mut seen = vec![false; ops.len()];
    let mut todo = vec![at];
    let mut result = First::default();
    while let Some(at) = todo.pop() {
        if std::mem::replace(&mut seen[at], true) {
            continue;
        }
        let only = |set| First { set, end: false };
        let found = match &ops[at] {
            Raw::Literal(bytes) => only(bytes.first().map_or(ByteSet::ALL, |&byte| ByteSet::of(&[byte]))),
            Raw::Set(set) => only(*set),
            Raw::Run(run) => {
                if run.min == 0 {
                    todo.push(at + 1);
                }
                only(run.set)
            }
            Raw::Look(Look::End) => First {
                set: ByteSet::default(),
                end: true,
            },
            Raw::Look(Look::EndLF) => First {
                set: ByteSet::of(b"\n"),
                end: true,
            },
            Raw::Save { .. } | Raw::Look(_) => {
                todo.push(at + 1);
                First::default()
            }
            Raw::Split { first, second } => {
                todo.extend([*first, *second]);
                First::default()
            }
            Raw::Jump(to) => {
                todo.push(*to);
                First::default()
            }
            Raw::Match => First {
                set: ByteSet::ALL,
                end: true,
            },
        };
        result = result.or(found);
    }
    result
}

/// The program to run; each step keeps its number.
pub(super) fn lower(raw: &[Raw]) -> Vec<Op> {
    let mut ops: Vec<Op> = (0..raw.len()).map(|at| lower_one(raw, at)).collect();
    for at in 0..raw.len() {
        if let Some((until, rest)) = until(raw, at) {
            ops[at] = Op::Until(until);
            if !rest.is_empty() {
                ops[at + 1] = literal(rest);
            }
        }
    }
    ops
}

fn lower_one(raw: &[Raw], at: usize) -> Op {
    match &raw[at] {
        Raw::Literal(bytes) => literal(bytes),
        Raw::Set(set) => Op::Set(Box::new(Table::new(set))),
        Raw::Run(run) => Op::Run(Box::new(lower_run(run, first(raw, at + 1)))),
        &Raw::Save { slot, undo } => Op::Save { slot, undo },
        Raw::Look(look) => Op::Look(*look),
        &Raw::Split { first: one, second } => {
            let (a, b) = (first(raw, one), first(raw, second));
            Op::Split(Box::new(Split {
                first: one,
                second,
                first_next: Next::new(&a.set, a.end),
                second_next: Next::new(&b.set, b.end),
            }))
        }
        Raw::Jump(to) => Op::Jump(*to),
        Raw::Match => Op::Match,
    }
}

fn literal(bytes: &[u8]) -> Op {
    match (bytes, Word::new(bytes)) {
        (&[byte], _) => Op::Byte(byte),
        (_, Some(word)) => Op::Word(word),
        _ => Op::Literal(bytes.into()),
    }
}

/// The run at this step and the first byte of the literal behind it as one step, where the run takes all but
/// that byte; also what is left of the literal.
fn until(raw: &[Raw], at: usize) -> Option<(Until, &[u8])> {
    let (Raw::Run(run), Raw::Literal(bytes)) = (&raw[at], raw.get(at + 1)?) else {
        return None;
    };
    let (&byte, rest) = bytes.split_first()?;
    let jumps_between = raw.iter().any(|op| match op {
        Raw::Split { first, second } => *first == at + 1 || *second == at + 1,
        Raw::Jump(to) => *to == at + 1,
        _ => false,
    });
    if run.set.not() != ByteSet::of(&[byte]) || run.max.is_some() || jumps_between {
        return None;
    }
    let then = if rest.is_empty() { at + 2 } else { at + 1 };
    let until = Until {
        byte,
        undo: run.undo,
        save: run.save.map(u32::try_from).transpose().ok()?,
        min: u32::try_from(run.min).ok()?,
        then: u32::try_from(then).ok()?,
    };
    Some((until, rest))
}

fn lower_run(run: &RawRun, next: First) -> Run {
    let shared = run.set.and(next.set);
    let kind = if shared.is_empty() || run.max == Some(run.min) {
        // A shorter run would be followed by a byte of the set, which nothing behind it takes.
        Kind::Only
    } else if run.greedy {
        Kind::Greedy {
            next: Next::new(&next.set, next.end),
            back: Scan::new(&shared),
        }
    } else {
        Kind::Lazy {
            next: Next::new(&next.set, next.end),
            set: Box::new(Table::new(&run.set)),
            halt: Scan::new(&run.set.not().or(next.set)),
        }
    };
    Run {
        min: run.min,
        max: run.max.unwrap_or(usize::MAX),
        save: run.save,
        undo: run.undo,
        kind,
        stop: Scan::new(&run.set.not()),
    }
}
