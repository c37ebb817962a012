//! The finite automata behind a pattern, and our own matcher before them.

use std::sync::OnceLock;

use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, PatternID, meta};
use regex_syntax::hir::Hir;

use super::straight::{Outcome, Program};
use super::{RegexError, Slots, one_line};

/// Longest compiled automaton, in bytes.
const SIZE_MAX: usize = 10 << 20;

/// A pattern without look-around and the like.
#[derive(Debug)]
pub(super) struct Automata {
    pattern: String,
    unicode: bool,
    groups: usize,
    straight: Option<Box<Program>>,
    /// Built when first needed: most patterns with a straight matcher never ask.
    meta: OnceLock<Option<Box<meta::Regex>>>,
}

impl Automata {
    /// Compiles a translated pattern.
    pub(super) fn new(pattern: String, unicode: bool) -> Result<Self, RegexError> {
        let hir = parse(&pattern, unicode)?;
        let meta = OnceLock::new();
        let straight = Program::new(&hir).map(Box::new);
        let groups = match &straight {
            Some(program) => program.groups(),
            None => {
                let built = build(&hir)?;
                let groups = built.group_info().group_len(PatternID::ZERO);
                meta.get_or_init(|| Some(Box::new(built)));
                groups
            }
        };
        Ok(Self {
            pattern,
            unicode,
            groups,
            straight,
            meta,
        })
    }

    /// The automata. A pattern that has a straight matcher is small, and they can be built for it.
    fn meta(&self) -> Option<&meta::Regex> {
        let built = self.meta.get_or_init(|| {
            let hir = parse(&self.pattern, self.unicode).ok()?;
            build(&hir).ok().map(Box::new)
        });
        built.as_deref()
    }

    /// Number of groups, the whole match included.
    pub(super) fn groups(&self) -> usize {
        self.groups
    }

    /// Whether it matches anywhere in `text`.
    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        let outcome = match &self.straight {
            Some(program) if program.is_quick_test() => program.find(text),
            Some(program) if program.lacks(text) => Outcome::None,
            _ => Outcome::GaveUp,
        };
        match outcome {
            Outcome::Match(..) => true,
            Outcome::None => false,
            Outcome::GaveUp => self.meta().is_some_and(|regex| regex.is_match(text)),
        }
    }

    /// Where the match that starts at the start of `text` ends.
    pub(super) fn end_at_start(&self, text: &[u8]) -> Option<usize> {
        let straight = self.straight.as_ref();
        match straight.map_or(Outcome::GaveUp, |program| program.find_at_start(text)) {
            Outcome::Match(_, end) => Some(end),
            Outcome::None => None,
            Outcome::GaveUp => {
                let found = self.meta()?.search(&Input::new(text).anchored(Anchored::Yes));
                found.map(|found| found.end())
            }
        }
    }

    /// Finds the first match and the places of its groups, by number.
    pub(super) fn captures(&self, text: &[u8], slots: &mut Slots) -> bool {
        let straight = self.straight.as_deref();
        match straight.map_or(Outcome::GaveUp, |program| {
            program.captures(text, &mut slots.notes)
        }) {
            Outcome::Match(..) => true,
            Outcome::None => false,
            Outcome::GaveUp => {
                let Some(meta) = self.meta() else { return false };
                match straight {
                    Some(program) => captures_by_both(program, meta, text, slots),
                    None => captures_of(meta, text, slots),
                }
            }
        }
    }
}

/// The automata say whether there is a match and where, the straight matcher where its groups are.
fn captures_by_both(program: &Program, meta: &meta::Regex, text: &[u8], slots: &mut Slots) -> bool {
    let Some(found) = meta.search(&Input::new(text)) else {
        return false;
    };
    match program.captures_from(text, found.start(), &mut slots.notes) {
        Outcome::Match(..) => true,
        Outcome::None | Outcome::GaveUp => captures_of(meta, text, slots),
    }
}

fn captures_of(regex: &meta::Regex, text: &[u8], slots: &mut Slots) -> bool {
    slots.raw.clear();
    slots
        .raw
        .resize(regex.group_info().group_len(PatternID::ZERO) * 2, None);
    if regex.search_slots(&Input::new(text), &mut slots.raw).is_none() {
        return false;
    }
    for pair in slots.raw.chunks(2) {
        slots.notes.push(match pair {
            [Some(start), Some(end)] => Some((start.get(), end.get())),
            _ => None,
        });
    }
    true
}

/// The tree of a translated pattern, which both matchers are compiled from.
fn parse(pattern: &str, unicode: bool) -> Result<Hir, RegexError> {
    let syntax = syntax::Config::new().unicode(unicode).utf8(false);
    syntax::parse_with(pattern, &syntax).map_err(|error| RegexError {
        message: match error {
            regex_syntax::Error::Parse(error) => error.kind().to_string(),
            regex_syntax::Error::Translate(error) => error.kind().to_string(),
            other => one_line(&other),
        },
    })
}

fn build(hir: &Hir) -> Result<meta::Regex, RegexError> {
    let config = meta::Config::new()
        .utf8_empty(false)
        .nfa_size_limit(Some(SIZE_MAX));
    let built = meta::Builder::new().configure(config).build_from_hir(hir);
    built.map_err(|error| RegexError {
        message: one_line(&error),
    })
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    impl Automata {
        /// The straight matcher, if the pattern has one.
        pub(in crate::regex) fn straight(&self) -> Option<&Program> {
            self.straight.as_deref()
        }

        /// The groups as the automata alone find them.
        pub(in crate::regex) fn captures_by_meta(&self, text: &[u8]) -> Option<Vec<Option<(usize, usize)>>> {
            let mut slots = Slots::default();
            let found = captures_of(self.meta().unwrap(), text, &mut slots);
            found.then(|| (0..self.groups).map(|n| slots.get(n)).collect())
        }

        /// The end of a match at the start as the automata alone find it.
        pub(in crate::regex) fn end_by_meta(&self, text: &[u8]) -> Option<usize> {
            let input = Input::new(text).anchored(Anchored::Yes);
            self.meta().unwrap().search(&input).map(|found| found.end())
        }
    }
}
