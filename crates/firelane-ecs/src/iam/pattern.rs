//! Patterns of IAM: `*` is any text, `?` one character; whether some patterns cover another one wholly.
//!
//! Rules: `docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html`. What stands
//! between the colons of an ARN is not told apart: `*` may reach over a colon, as it does in its last part.

use std::collections::{BTreeSet, HashMap};

/// Most positions that one comparison looks at; beyond that it says no.
const WORK_MAX: usize = 1 << 21;

/// Longest text of a pattern, in bytes: what IAM takes for an ARN
/// (`docs.aws.amazon.com/IAM/latest/APIReference/API_Policy.html`).
pub(super) const LEN_MAX: usize = 2048;

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// This character.
    Char(char),
    /// `?`
    One,
    /// `*`
    Many,
    /// A text that only the deployment knows: some one text, not each.
    Unknown,
}

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Token>);

impl Pattern {
    /// As a policy writes it. A variable `${…}` is [any text](Token::Many): what it stands for is not known.
    pub(super) fn of_policy(text: &str) -> Self {
        Self(tokens(text, Token::Many))
    }

    /// As a need writes it, where `${…}` is one text that is not known.
    pub(super) fn of_need(text: &str) -> Self {
        Self(tokens(text, Token::Unknown))
    }

    /// A text without wildcards.
    pub(super) fn literal(text: &str) -> Self {
        Self(text.chars().map(Token::Char).collect())
    }

    /// An action, in which case does not matter.
    pub(super) fn action(text: &str) -> Self {
        Self::of_policy(&text.to_ascii_lowercase())
    }

    /// Whether any text fits both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (&self.0, &other.0);
        let mut seen = BTreeSet::new();
        let mut todo = vec![(0, 0)];
        while let Some((i, j)) = todo.pop() {
            if !seen.insert((i, j)) {
                continue;
            }
            match (a.get(i), b.get(j)) {
                (None, None) => return true,
                (Some(Token::Many | Token::Unknown), _) => {
                    todo.push((i + 1, j));
                    if j < b.len() {
                        todo.push((i, j + 1));
                    }
                }
                (_, Some(Token::Many | Token::Unknown)) => {
                    todo.push((i, j + 1));
                    if i < a.len() {
                        todo.push((i + 1, j));
                    }
                }
                (Some(Token::Char(x)), Some(Token::Char(y))) if x != y => {}
                (Some(_), Some(_)) => todo.push((i + 1, j + 1)),
                _ => {}
            }
        }
        false
    }
}

fn tokens(text: &str, variable: Token) -> Vec<Token> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let end = rest.strip_prefix("${").and_then(|inner| inner.find('}'));
        let (token, len) = match (c, end) {
            (_, Some(end)) => (variable, end + 3),
            ('*', _) => (Token::Many, 1),
            ('?', _) => (Token::One, 1),
            _ => (Token::Char(c), c.len_utf8()),
        };
        out.push(token);
        rest = &rest[len..];
    }
    out
}

/// Positions in several patterns at once: index of the pattern, index of the token.
type Positions = BTreeSet<(usize, usize)>;

struct Cover<'a> {
    /// Those that overlap with what is wanted.
    patterns: Vec<&'a Pattern>,
    wanted: &'a [Token],
    /// Every character that makes a difference, and one that makes none.
    alphabet: Vec<char>,
    known: HashMap<(Positions, usize), bool>,
    /// Positions that may still be looked at.
    work: usize,
}

/// Whether every text that fits `wanted` fits one of `patterns`. Of a text that is not known it is enough
/// that some value of it does.
pub(super) fn covers(patterns: &[Pattern], wanted: &Pattern) -> bool {
    let wildcards = wanted.0.iter().filter(|token| !matches!(token, Token::Char(_)));
    if wildcards.count() > LEN_MAX {
        return false;
    }
    let patterns: Vec<&Pattern> = patterns
        .iter()
        .filter(|pattern| pattern.overlaps(wanted))
        .collect();
    let all = patterns.iter().copied().chain([wanted]);
    let all = all.flat_map(|pattern| &pattern.0);
    let chars = all.filter_map(|token| match token {
        Token::Char(c) => Some(*c),
        _ => None,
    });
    let alphabet: BTreeSet<char> = chars.chain(['\u{1}']).collect();
    let all = (0..patterns.len()).map(|index| (index, 0));
    let mut cover = Cover {
        patterns,
        wanted: &wanted.0,
        alphabet: alphabet.into_iter().collect(),
        known: HashMap::new(),
        work: WORK_MAX,
    };
    let start = cover.closed(all);
    cover.holds(start, 0)
}

impl Cover<'_> {
    fn token(&self, (pattern, at): (usize, usize)) -> Option<Token> {
        self.patterns[pattern].0.get(at).copied()
    }

    /// The positions, and those behind their `*`.
    fn closed(&self, positions: impl Iterator<Item = (usize, usize)>) -> Positions {
        let mut out = Positions::new();
        let mut todo: Vec<_> = positions.collect();
        while let Some(position) = todo.pop() {
            let new = out.insert(position);
            if new && matches!(self.token(position), Some(Token::Many | Token::Unknown)) {
                todo.push((position.0, position.1 + 1));
            }
        }
        out
    }

    /// The positions behind a character; none when the work is too much.
    fn step(&mut self, from: &Positions, c: char) -> Positions {
        self.work = self.work.saturating_sub(from.len() + 1);
        if self.work == 0 {
            return Positions::new();
        }
        let next = from
            .iter()
            .filter_map(|&(pattern, at)| match self.token((pattern, at))? {
                Token::Char(known) => (known == c).then_some((pattern, at + 1)),
                Token::One => Some((pattern, at + 1)),
                Token::Many | Token::Unknown => Some((pattern, at)),
            });
        self.closed(next)
    }

    /// Every set of positions that some text leads to; none at all when there are too many.
    fn reachable(&mut self, from: Positions) -> Option<Vec<Positions>> {
        let mut seen = BTreeSet::from([from.clone()]);
        let mut todo = vec![from];
        while let Some(positions) = todo.pop() {
            for next in self.steps(&positions) {
                if seen.insert(next.clone()) {
                    todo.push(next);
                }
            }
            if self.work == 0 {
                return None;
            }
        }
        Some(seen.into_iter().collect())
    }

    /// The sets of positions behind each character.
    fn steps(&mut self, from: &Positions) -> Vec<Positions> {
        let alphabet = std::mem::take(&mut self.alphabet);
        let all = alphabet.iter().map(|&c| self.step(from, c)).collect();
        self.alphabet = alphabet;
        all
    }

    fn holds(&mut self, mut from: Positions, mut at: usize) -> bool {
        // The work left counts down here too: many sets may lead to one that is known.
        self.work = self.work.saturating_sub(1);
        while let Some(&Token::Char(c)) = self.wanted.get(at) {
            from = self.step(&from, c);
            at += 1;
            if from.is_empty() {
                return false;
            }
        }
        if self.work == 0 {
            return false;
        }
        let Some(&token) = self.wanted.get(at) else {
            let ends = |&(pattern, at): &(usize, usize)| at == self.patterns[pattern].0.len();
            return from.iter().any(ends);
        };
        if let Some(&known) = self.known.get(&(from.clone(), at)) {
            return known;
        }
        let holds = match token {
            Token::Unknown => {
                let all = self.reachable(from.clone()).unwrap_or_default();
                all.into_iter().any(|next| self.holds(next, at + 1))
            }
            Token::Many => match self.reachable(from.clone()) {
                Some(all) => all.into_iter().all(|next| self.holds(next, at + 1)),
                None => false,
            },
            _ => {
                let all = self.steps(&from);
                all.into_iter().all(|next| self.holds(next, at + 1))
            }
        };
        self.known.insert((from, at), holds);
        holds
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(patterns: &[&str], wanted: &str, want: bool) {
        let all: Vec<_> = patterns.iter().map(|text| Pattern::of_policy(text)).collect();
        assert_eq!(
            covers(&all, &Pattern::of_need(wanted)),
            want,
            "{patterns:?} {wanted}"
        );
    }

    #[test]
    fn patterns_cover_patterns() {
        check(&["*"], "a*b?", true);
        check(&["a*"], "*", false);
        check(&["a*b"], "ab", true);
        check(&["a*b"], "a*b", true);
        check(&["a*b"], "a*", false);
        check(&["a*", "b*"], "?*", false);
        check(&["*a", "*b"], "x*b", true);
        check(&["a?"], "a*", false);
        check(&["a", "a?*"], "a*", true);
        check(&["secret-??????"], "secret-AbCdEf", true);
        check(&["secret-AbCdEf"], "secret-??????", false);
        check(&["a:111:b"], "a:${Account}:b", true);
        check(&["a:111:b"], "a:*:b", false);
        check(&["a:111:b"], "a:${Account}:c", false);
        check(&["arn:${aws:PrincipalTag/x}:b"], "arn:x:b", true);
    }

    /// Scenario: patterns made to be slow. Guarantees: an answer in bounded work, no when it is not found.
    #[test]
    fn hostile_patterns_end() {
        let wide: Vec<_> = (0..20).map(|n| "*a?".repeat(20 + n)).collect();
        let wide: Vec<_> = wide.iter().map(|text| Pattern::of_policy(text)).collect();
        assert!(!covers(&wide, &Pattern::of_need(&"*b?a".repeat(20))));
        assert!(!covers(&wide, &Pattern::of_need(&"${x}?b".repeat(20))));
    }

    proptest! {
        /// Scenario: small patterns over a small alphabet. Guarantees: what is covered contains no text that
        /// does not fit, tried with every text of up to four characters; and whatever overlaps shares a text.
        #[test]
        fn covering_is_inclusion(a in "[ab*?]{0,4}", b in "[ab*?]{0,4}", wanted in "[ab*?]{0,4}") {
            let all = [Pattern::of_policy(&a), Pattern::of_policy(&b)];
            let need = Pattern::of_policy(&wanted);
            let fits = |pattern: &Pattern, text: &str| pattern.overlaps(&Pattern::literal(text));
            let texts = (0..=5).flat_map(|len| (0..3_usize.pow(len)).map(move |mut n| {
                let mut text = String::new();
                for _ in 0..len {
                    text.push(char::from(b"abc"[n % 3]));
                    n /= 3;
                }
                text
            }));
            let inside = texts.clone().filter(|text| fits(&need, text))
                .all(|text| all.iter().any(|pattern| fits(pattern, &text)));
            // Five characters tell all such patterns apart unless four of them are `?`.
            prop_assert_eq!(covers(&all, &need), inside);
            let both = texts.clone().any(|text| fits(&need, &text) && fits(&all[0], &text));
            prop_assert!(!both || need.overlaps(&all[0]));
        }
    }
}
