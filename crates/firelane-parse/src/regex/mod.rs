//! Regular expressions in Fluent Bit's dialect (Onigmo with Ruby syntax) over bytes.
//!
//! Three engines behind one type: our own matcher for patterns that read a line from left to right, finite
//! automata (linear time) for others, a backtracking one with a limit for look-around, backreferences and
//! possessive repetition. The first two agree on every match and its groups.
//!
//! A pattern of ASCII alone works on bytes, so text that is not UTF-8 matches like any other; one with other
//! characters works on UTF-8. A search, not a full match.

mod automata;
mod straight;
mod translate;

use automata::Automata;
use regex_automata::util::primitives::NonMaxUsize;
use straight::Notes;
use translate::Translated;

/// A pattern that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RegexError {
    /// What is wrong with it.
    pub message: String,
}

/// A compiled regular expression.
#[derive(Debug)]
pub struct Regex {
    engine: Engine,
    /// Named groups: name and number, in order; names may repeat.
    names: Vec<(String, usize)>,
    groups: usize,
    source: String,
}

#[derive(Debug)]
enum Engine {
    Automata(Box<Automata>),
    Fancy(Box<fancy_regex::Regex>),
}

/// Where the groups of a match lie: start and end, by group number. Keep one and use it again.
#[derive(Debug, Default, Clone)]
pub struct Slots {
    notes: Notes,
    raw: Vec<Option<NonMaxUsize>>,
}

impl Slots {
    /// The place of group `n` (0: the whole match).
    pub fn get(&self, n: usize) -> Option<(usize, usize)> {
        self.notes.get(n)
    }
}

/// Most steps back of the backtracking engine over one text; beyond it there is no match.
const BACKTRACK_MAX: usize = 200_000;

/// A named group of a match: the name, and the text where the group took part.
pub type NamedGroup<'s, 't> = (&'s str, Option<&'t [u8]>);

impl Regex {
    /// Compiles a pattern, also of the form `/pattern/imx`.
    ///
    /// # Errors
    /// What is wrong with the pattern, as the engine says it.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        let Translated {
            pattern: text,
            names,
            fancy,
            unicode,
        } = translate::translate(pattern);
        let engine = if fancy {
            let mut builder = fancy_regex::RegexBuilder::new(&text);
            let built = builder.backtrack_limit(BACKTRACK_MAX).build();
            Engine::Fancy(Box::new(built.map_err(|error| RegexError {
                message: one_line(&error),
            })?))
        } else {
            Engine::Automata(Box::new(Automata::new(text, unicode)?))
        };
        let groups = match &engine {
            Engine::Automata(regex) => regex.groups(),
            Engine::Fancy(regex) => regex.captures_len(),
        };
        Ok(Self {
            engine,
            names,
            groups,
            source: pattern.to_string(),
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Named groups: name and number, in order; names may repeat.
    pub fn names(&self) -> &[(String, usize)] {
        &self.names
    }

    /// Number of groups, the whole match included.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Whether it matches anywhere in `text`.
    pub fn is_match(&self, text: &[u8]) -> bool {
        match &self.engine {
            Engine::Automata(regex) => regex.is_match(text),
            Engine::Fancy(regex) => with_text(text, |text, _| regex.is_match(text).unwrap_or(false)),
        }
    }

    /// Whether a non-empty match starts at the start of `text`: the rule of `Match_Regex`.
    pub fn is_match_at_start(&self, text: &[u8]) -> bool {
        match &self.engine {
            Engine::Automata(regex) => regex.end_at_start(text).is_some_and(|end| end > 0),
            Engine::Fancy(regex) => with_text(text, |text, _| {
                let found = regex.find(text).ok().flatten();
                found.is_some_and(|found| found.start() == 0 && found.end() > 0)
            }),
        }
    }

    /// Finds the first match and the places of its groups.
    pub fn captures(&self, text: &[u8], slots: &mut Slots) -> bool {
        slots.notes.clear();
        match &self.engine {
            Engine::Automata(regex) => regex.captures(text, slots),
            Engine::Fancy(regex) => with_text(text, |text, offset| {
                let Ok(Some(found)) = regex.captures(text) else {
                    return false;
                };
                let span = |n| {
                    found
                        .get(n)
                        .map(|group| (offset(group.start()), offset(group.end())))
                };
                (0..self.groups).map(span).for_each(|span| slots.notes.push(span));
                true
            }),
        }
    }

    /// The named groups of the first match, in order: the name, and the text where the group took part.
    pub fn named<'s, 't>(&'s self, text: &'t [u8]) -> Option<Vec<NamedGroup<'s, 't>>> {
        let mut slots = Slots::default();
        if !self.captures(text, &mut slots) {
            return None;
        }
        let group = |(name, number): &'s (String, usize)| {
            let value = slots.get(*number).and_then(|(start, end)| text.get(start..end));
            (name.as_str(), value)
        };
        Some(self.names.iter().map(group).collect())
    }
}

/// Runs `run` over the text as a string, with a function from its offsets to those in the bytes. Bytes that
/// are not UTF-8 stand for one character each.
fn with_text<T>(text: &[u8], run: impl FnOnce(&str, &dyn Fn(usize) -> usize) -> T) -> T {
    if let Ok(text) = std::str::from_utf8(text) {
        return run(text, &|offset| offset);
    }
    let wide: String = text.iter().map(|&byte| char::from(byte)).collect();
    let offset = |at: usize| wide.get(..at).map_or(text.len(), |head| head.chars().count());
    run(&wide, &offset)
}

fn one_line(error: &dyn std::fmt::Display) -> String {
    error
        .to_string()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &[u8], want: Option<&[(&str, Option<&str>)]>) {
        let regex = Regex::new(pattern).unwrap();
        let found = regex.named(text);
        let found: Option<Vec<_>> = found.map(|groups| {
            groups
                .into_iter()
                .map(|(name, value)| (name, value.map(|v| String::from_utf8_lossy(v).into_owned())))
                .collect()
        });
        let want = want.map(|groups| {
            groups
                .iter()
                .map(|(n, v)| (*n, v.map(String::from)))
                .collect::<Vec<_>>()
        });
        assert_eq!(found, want, "{pattern}");
        assert_eq!(regex.is_match(text), want.is_some());
    }

    #[test]
    fn groups_are_found_by_both_engines() {
        check(
            r"(?<a>\d+)-(?<b>x)?",
            b"z 12-",
            Some(&[("a", Some("12")), ("b", None)]),
        );
        check(
            r"(?<a>\d+)(?=-)-(?<b>x)?",
            b"z 12-x",
            Some(&[("a", Some("12")), ("b", Some("x"))]),
        );
        check(r"^(?<a>b)$", b"a\nb\nc", Some(&[("a", Some("b"))]));
        check(r"\A(?<a>b)", b"a\nb", None);
    }

    #[test]
    fn bytes_that_are_not_utf8_match_too() {
        check(
            r"^(?<a>[^ ]*) (?<b>.*)$",
            b"x\xff y\xfe",
            Some(&[("a", Some("x\u{fffd}")), ("b", Some("y\u{fffd}"))]),
        );
        check(r"(?<a>y)(?!z)", b"\xff\xffy", Some(&[("a", Some("y"))]));
    }

    #[test]
    fn match_regex_is_anchored_at_the_start() {
        let regex = Regex::new("app|web").unwrap();
        assert!(regex.is_match_at_start(b"web.1"));
        assert!(!regex.is_match_at_start(b"my.web"));
        assert!(!Regex::new("x*").unwrap().is_match_at_start(b"web"));
    }

    #[test]
    fn bad_patterns_say_why() {
        assert_eq!(Regex::new("(a").unwrap_err().to_string(), "unclosed group");
        assert_eq!(
            Regex::new("[a").unwrap_err().to_string(),
            "unclosed character class"
        );
        assert!(Regex::new("a(?=b").is_err());
    }
}
