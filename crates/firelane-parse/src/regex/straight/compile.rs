//! A pattern's tree to a flat program, one operation for each step.
//!
//! What it refuses is left to the automata: classes beyond single bytes, endless repetition of what may be
//! empty, programs that grow large.

use regex_syntax::hir::{Capture, Class, Hir, HirKind, Look, Repetition};

use super::set::ByteSet;

/// Most operations of a program.
const OPS_MAX: usize = 512;
/// Most nodes of the tree that are looked at, copies of a repetition included.
const NODES_MAX: usize = 4096;
/// Highest bound of a counted repetition.
const COUNT_MAX: u32 = 1000;
/// Most bytes that all counted repetitions together may ask for: so the automata stay small as well.
const COUNTS_MAX: u32 = 4000;

/// One step, not yet aware of what follows it.
#[derive(Debug, Clone)]
pub(super) enum Raw {
    /// These bytes.
    Literal(Box<[u8]>),
    /// One byte of the set.
    Set(ByteSet),
    /// A repetition of one set.
    Run(RawRun),
    /// Notes the position.
    Save {
        /// Where.
        slot: usize,
        /// A way around it exists, so that going back has to restore the older note.
        undo: bool,
    },
    /// An assertion.
    Look(Look),
    /// Two ways; the first is preferred.
    Split {
        /// The preferred one.
        first: usize,
        /// The other one.
        second: usize,
    },
    /// Goes on elsewhere.
    Jump(usize),
    /// The end of the pattern.
    Match,
}

/// A repetition of one set.
#[derive(Debug, Clone)]
pub(super) struct RawRun {
    /// The bytes it takes.
    pub(super) set: ByteSet,
    /// Fewest.
    pub(super) min: usize,
    /// Most.
    pub(super) max: Option<usize>,
    /// Prefers more to fewer.
    pub(super) greedy: bool,
    /// The group that it is all of: the slot of its start; that of its end is the next.
    pub(super) save: Option<usize>,
    /// As in [`Raw::Save`].
    pub(super) undo: bool,
}

/// The program of a pattern.
pub(super) struct Compiled {
    /// Its steps.
    pub(super) ops: Vec<Raw>,
    /// Number of slots: two for each group.
    pub(super) slots: usize,
    /// The longest literal that every match holds, empty if there is none.
    pub(super) required: Box<[u8]>,
}

/// The program of a pattern, or nothing where it is refused.
pub(super) fn compile(hir: &Hir) -> Option<Compiled> {
    let mut compiler = Compiler {
        ops: Vec::new(),
        slots: 2,
        nodes: 0,
        counts: 0,
        branches: 0,
        required: Box::default(),
    };
    compiler.emit(hir)?;
    compiler.push(Raw::Match)?;
    let Compiler {
        ops, slots, required, ..
    } = compiler;
    Some(Compiled { ops, slots, required })
}

struct Compiler {
    ops: Vec<Raw>,
    slots: usize,
    nodes: usize,
    counts: u32,
    /// Depth of branches around the present node.
    branches: usize,
    required: Box<[u8]>,
}

impl Compiler {
    fn push(&mut self, op: Raw) -> Option<usize> {
        if self.ops.len() >= OPS_MAX {
            return None;
        }
        self.ops.push(op);
        Some(self.ops.len() - 1)
    }

    fn emit(&mut self, hir: &Hir) -> Option<()> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return None;
        }
        match hir.kind() {
            HirKind::Empty => {}
            HirKind::Literal(literal) => {
                self.push(Raw::Literal(literal.0.clone()))?;
                if self.branches == 0 && literal.0.len() >= self.required.len() {
                    self.required = literal.0.clone();
                }
            }
            HirKind::Class(class) => {
                let set = set_of(class)?;
                self.push(Raw::Set(set))?;
            }
            HirKind::Look(look) => {
                self.push(Raw::Look(supported(*look)?))?;
            }
            HirKind::Repetition(repetition) => self.repetition(repetition)?,
            HirKind::Capture(capture) => self.capture(capture)?,
            HirKind::Concat(parts) => {
                for part in parts {
                    self.emit(part)?;
                }
            }
            HirKind::Alternation(parts) => self.alternation(parts)?,
        }
        Some(())
    }

    fn capture(&mut self, capture: &Capture) -> Option<()> {
        let slot = usize::try_from(capture.index).ok()? * 2;
        self.slots = self.slots.max(slot + 2);
        let undo = self.branches > 0;
        if let HirKind::Repetition(repetition) = capture.sub.kind()
            && let Some(mut run) = self.run(repetition)?
        {
            run.save = Some(slot);
            self.push(Raw::Run(run))?;
            return Some(());
        }
        self.push(Raw::Save { slot, undo })?;
        self.emit(&capture.sub)?;
        self.push(Raw::Save { slot: slot + 1, undo })?;
        Some(())
    }

    /// The repetition as a run, if what it repeats is one byte. The outer `None`: refused.
    fn run(&mut self, repetition: &Repetition) -> Option<Option<RawRun>> {
        let set = match repetition.sub.kind() {
            HirKind::Class(class) => set_of(class)?,
            HirKind::Literal(literal) => match literal.0[..] {
                [byte] => ByteSet::of(&[byte]),
                _ => return Some(None),
            },
            _ => return Some(None),
        };
        let bound = repetition.max.unwrap_or(repetition.min);
        self.counts += bound.min(COUNTS_MAX);
        if self.counts > COUNTS_MAX || bound > COUNT_MAX {
            return None;
        }
        Some(Some(RawRun {
            set,
            min: usize::try_from(repetition.min).ok()?,
            max: repetition.max.map(usize::try_from).transpose().ok()?,
            greedy: repetition.greedy,
            save: None,
            undo: self.branches > 0,
        }))
    }

    fn repetition(&mut self, repetition: &Repetition) -> Option<()> {
        if let Some(run) = self.run(repetition)? {
            self.push(Raw::Run(run))?;
            return Some(());
        }
        let Repetition { min, max, greedy, .. } = *repetition;
        if min > COUNT_MAX || max.is_some_and(|max| max > COUNT_MAX) {
            return None;
        }
        for _ in 0..min {
            self.emit(&repetition.sub)?;
        }
        let Some(max) = max else {
            // A round that takes nothing has rules of its own.
            if repetition
                .sub
                .properties()
                .minimum_len()
                .is_none_or(|len| len == 0)
            {
                return None;
            }
            let split = self.branch(&repetition.sub)?;
            self.push(Raw::Jump(split))?;
            self.close(split, greedy);
            return Some(());
        };
        let mut open = Vec::new();
        for _ in min..max {
            open.push(self.branch(&repetition.sub)?);
        }
        for split in open {
            self.close(split, greedy);
        }
        Some(())
    }

    /// A split and behind it the body that it may go around; [`Self::close`] says where to.
    fn branch(&mut self, body: &Hir) -> Option<usize> {
        let split = self.push(Raw::Split { first: 0, second: 0 })?;
        self.branches += 1;
        self.emit(body)?;
        self.branches -= 1;
        Some(split)
    }

    fn close(&mut self, split: usize, greedy: bool) {
        let (body, around) = (split + 1, self.ops.len());
        let (first, second) = if greedy { (body, around) } else { (around, body) };
        self.ops[split] = Raw::Split { first, second };
    }

    fn alternation(&mut self, parts: &[Hir]) -> Option<()> {
        let (last, others) = parts.split_last()?;
        let mut jumps = Vec::new();
        for part in others {
            let split = self.branch(part)?;
            jumps.push(self.push(Raw::Jump(0))?);
            self.close(split, true);
        }
        self.branches += 1;
        self.emit(last)?;
        self.branches -= 1;
        for jump in jumps {
            self.ops[jump] = Raw::Jump(self.ops.len());
        }
        Some(())
    }
}

fn supported(look: Look) -> Option<Look> {
    let known = matches!(
        look,
        Look::Start | Look::End | Look::StartLF | Look::EndLF | Look::WordAscii | Look::WordAsciiNegate
    );
    known.then_some(look)
}

/// The class as a set of bytes, if it is one.
fn set_of(class: &Class) -> Option<ByteSet> {
    let bytes = match class {
        Class::Bytes(class) => class.clone(),
        Class::Unicode(class) => class.to_byte_class()?,
    };
    let mut set = ByteSet::default();
    for range in bytes.ranges() {
        set.add_range(range.start(), range.end());
    }
    Some(set)
}
