//! Runs a program at one place of a text after the other.

use regex_syntax::hir::Look;

use super::lower::{Kind, Op, Run, Until};
use super::{NO_MARK, Program};

/// Most frames at the start of a round of a loop; without loops, the program's length limits them.
const STACK_MAX: usize = 4096;

/// The work or the memory of one search grew beyond its limit.
#[derive(Debug)]
pub(super) struct GaveUp;

/// Something to go back to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Frame {
    /// Another way, from this step at this position.
    Way { at: usize, pos: usize },
    /// The run at this step may end earlier: between `low` and before `pos`.
    Shorter { at: usize, low: usize, pos: usize },
    /// The run at this step may end later: behind `pos`, at most at `high`.
    Longer { at: usize, pos: usize, high: usize },
    /// An older note to restore.
    Note { slot: usize, old: usize },
}

/// One search over a text.
pub(super) struct Machine<'a, const NOTES: bool> {
    /// The program.
    pub(super) program: &'a Program,
    /// The text.
    pub(super) text: &'a [u8],
    /// The places of the groups: start and end.
    pub(super) marks: &'a mut [usize],
    /// What there is to go back to.
    pub(super) stack: &'a mut Vec<Frame>,
    /// Work that may still be done.
    pub(super) budget: usize,
}

impl<const NOTES: bool> Machine<'_, NOTES> {
    /// Tries a match that starts at `start`: its end.
    pub(super) fn attempt(&mut self, start: usize) -> Result<Option<usize>, GaveUp> {
        let program = self.program;
        let (mut at, mut pos) = (0, start);
        loop {
            let reached = match &program.ops[at] {
                Op::Byte(byte) => (self.text.get(pos) == Some(byte)).then_some(pos + 1),
                Op::Word(word) => {
                    let tail = self.text.get(pos..).unwrap_or_default();
                    word.starts(tail).then_some(pos + word.len)
                }
                Op::Until(until) => match self.until(until, pos) {
                    Some(end) => {
                        (at, pos) = (until.then as usize, end);
                        continue;
                    }
                    None => None,
                },
                Op::Literal(bytes) => {
                    let tail = self.text.get(pos..).unwrap_or_default();
                    tail.starts_with(bytes).then_some(pos + bytes.len())
                }
                Op::Set(table) => {
                    let fits = self.text.get(pos).is_some_and(|&byte| table.has(byte));
                    fits.then_some(pos + 1)
                }
                Op::Run(run) => self.run(run, at, pos),
                Op::Save { slot, undo } => {
                    self.note(*slot, pos, *undo);
                    Some(pos)
                }
                Op::Look(look) => self.look(*look, pos).then_some(pos),
                Op::Split(split) => {
                    let second = split.second_next.fits(self.text, pos);
                    if !split.first_next.fits(self.text, pos) {
                        at = split.second;
                    } else {
                        at = split.first;
                        if second {
                            let at = split.second;
                            self.stack.push(Frame::Way { at, pos });
                        }
                    }
                    continue;
                }
                Op::Jump(to) => {
                    // A round of a loop may leave nothing to go back to, where work is counted as well.
                    self.budget = self.budget.saturating_sub(1);
                    if self.stack.len() > STACK_MAX {
                        return Err(GaveUp);
                    }
                    at = *to;
                    continue;
                }
                Op::Match => return Ok(Some(pos)),
            };
            (at, pos) = match reached {
                Some(pos) => (at + 1, pos),
                None => match self.back()? {
                    Some(place) => place,
                    None => return Ok(None),
                },
            };
        }
    }

    /// Forgets what a failed attempt has left.
    pub(super) fn reset(&mut self) {
        self.stack.clear();
        self.marks.fill(NO_MARK);
    }

    /// Takes work off the budget.
    #[inline]
    pub(super) fn charge(&mut self, work: usize) -> Result<(), GaveUp> {
        self.budget = self.budget.checked_sub(work).ok_or(GaveUp)?;
        Ok(())
    }

    #[inline]
    fn note(&mut self, slot: usize, pos: usize, undo: bool) {
        if !NOTES {
            return;
        }
        let old = std::mem::replace(&mut self.marks[slot], pos);
        // With nothing else to go back to, nobody would see the older note.
        if undo && !self.stack.is_empty() {
            self.stack.push(Frame::Note { slot, old });
        }
    }

    /// Notes the group that a run is all of.
    #[inline]
    fn note_run(&mut self, run: &Run, from: usize, to: usize) {
        if let Some(slot) = run.save {
            self.note(slot, from, run.undo);
            self.note(slot + 1, to, run.undo);
        }
    }

    /// Takes the bytes up to a certain one, and that.
    #[inline]
    fn until(&mut self, until: &Until, pos: usize) -> Option<usize> {
        let len = memchr::memchr(until.byte, self.text.get(pos..)?)?;
        if len < until.min as usize {
            return None;
        }
        self.budget = self.budget.saturating_sub(len >> 6);
        if NOTES && let Some(slot) = until.save {
            self.note(slot as usize, pos, until.undo);
            self.note(slot as usize + 1, pos + len, until.undo);
        }
        Some(pos + len + 1)
    }

    /// Takes the preferred length of a run; leaves a frame if there are others.
    #[inline]
    fn run(&mut self, run: &Run, at: usize, pos: usize) -> Option<usize> {
        let low = pos.saturating_add(run.min);
        let high = pos.saturating_add(run.max).min(self.text.len());
        if low > high {
            return None;
        }
        match &run.kind {
            Kind::Only => {
                let end = self.stop(run, pos, high);
                if end < low {
                    return None;
                }
                self.note_run(run, pos, end);
                Some(end)
            }
            Kind::Greedy { next, back } => {
                let end = self.stop(run, pos, high);
                if end < low {
                    return None;
                }
                let to = match next.fits(self.text, end) {
                    true => end,
                    false => low + back.find_last(&self.text[low..end])?,
                };
                self.note_run(run, pos, to);
                if to > low {
                    self.stack.push(Frame::Shorter { at, low, pos: to });
                }
                Some(to)
            }
            Kind::Lazy { .. } => {
                if self.stop(run, pos, low) < low {
                    return None;
                }
                let to = self.lazy(run, low, high)?;
                self.note_run(run, pos, to);
                if to < high {
                    self.stack.push(Frame::Longer { at, pos: to, high });
                }
                Some(to)
            }
        }
    }

    /// Where the run that starts at `pos` ends, at most at `high`.
    #[inline]
    fn stop(&mut self, run: &Run, pos: usize, high: usize) -> usize {
        let end = run.stop.find(&self.text[..high], pos);
        self.budget = self.budget.saturating_sub((end - pos) >> 6);
        end
    }

    /// The first place from `pos` on where a lazy run may end, all before it being of its set.
    fn lazy(&mut self, run: &Run, pos: usize, high: usize) -> Option<usize> {
        let Kind::Lazy { next, halt, .. } = &run.kind else {
            return None;
        };
        let to = halt.find(&self.text[..high], pos);
        self.budget = self.budget.saturating_sub((to - pos) >> 6);
        next.fits(self.text, to).then_some(to)
    }

    /// Goes back to the last choice that is left: step and position.
    fn back(&mut self) -> Result<Option<(usize, usize)>, GaveUp> {
        while let Some(frame) = self.stack.pop() {
            self.charge(1)?;
            match frame {
                Frame::Way { at, pos } => return Ok(Some((at, pos))),
                Frame::Note { slot, old } => {
                    if NOTES {
                        self.marks[slot] = old;
                    }
                }
                Frame::Shorter { at, low, pos } => {
                    if let Some(pos) = self.shorter(at, low, pos) {
                        return Ok(Some((at + 1, pos)));
                    }
                }
                Frame::Longer { at, pos, high } => {
                    if let Some(pos) = self.longer(at, pos, high) {
                        return Ok(Some((at + 1, pos)));
                    }
                }
            }
        }
        Ok(None)
    }

    fn shorter(&mut self, at: usize, low: usize, pos: usize) -> Option<usize> {
        let program = self.program;
        let Op::Run(run) = &program.ops[at] else {
            return None;
        };
        let Kind::Greedy { back, .. } = &run.kind else {
            return None;
        };
        let found = back.find_last(&self.text[low..pos]);
        let to = low + found.unwrap_or(0);
        self.budget = self.budget.saturating_sub((pos - to) >> 6);
        found?;
        self.renote(run, to);
        if to > low {
            self.stack.push(Frame::Shorter { at, low, pos: to });
        }
        Some(to)
    }

    fn longer(&mut self, at: usize, pos: usize, high: usize) -> Option<usize> {
        let program = self.program;
        let Op::Run(run) = &program.ops[at] else {
            return None;
        };
        let Kind::Lazy { set, .. } = &run.kind else {
            return None;
        };
        if !self.text.get(pos).is_some_and(|&byte| set.has(byte)) {
            return None;
        }
        let to = self.lazy(run, pos + 1, high)?;
        self.renote(run, to);
        if to < high {
            self.stack.push(Frame::Longer { at, pos: to, high });
        }
        Some(to)
    }

    /// A run ends elsewhere now; what was noted before it stays on the stack.
    fn renote(&mut self, run: &Run, to: usize) {
        if NOTES && let Some(slot) = run.save {
            self.marks[slot + 1] = to;
        }
    }

    fn look(&self, look: Look, pos: usize) -> bool {
        let before = || pos.checked_sub(1).and_then(|at| self.text.get(at)).copied();
        let after = || self.text.get(pos).copied();
        let word = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match look {
            Look::Start => pos == 0,
            Look::End => pos == self.text.len(),
            Look::StartLF => before().is_none_or(|byte| byte == b'\n'),
            Look::EndLF => after().is_none_or(|byte| byte == b'\n'),
            Look::WordAscii => word(before()) != word(after()),
            Look::WordAsciiNegate => word(before()) == word(after()),
            // The compiler lets no other through.
            _ => false,
        }
    }
}
