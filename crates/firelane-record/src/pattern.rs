//! `Match`: Fluent Bit's tag wildcard. `*` is any run of bytes, dots and none at all included; it may stand
//! anywhere and several times; all else is literal and case-sensitive. There is no `?`, no class, no list.
//!
//! A match takes time linear in the tag: the parts between the stars are searched leftmost, which is never
//! wrong because a star takes anything. `Match_Regex` lives in the parse crate.

use std::fmt;

use memchr::memmem::Finder;

use crate::Tag;

/// A compiled `Match` pattern.
#[derive(Clone)]
pub struct Match {
    text: Box<str>,
    form: Form,
}

#[derive(Clone)]
enum Form {
    /// Only stars.
    All,
    /// No star: the text itself.
    Exact,
    /// One star, at the end: the text before it.
    Prefix(Box<[u8]>),
    /// Anything else: text before the first star, parts between stars, text after the last one.
    Parts {
        prefix: Box<[u8]>,
        middle: Box<[Finder<'static>]>,
        suffix: Box<[u8]>,
    },
}

impl Match {
    /// Compiles a pattern; every text is one.
    pub fn new(pattern: &str) -> Self {
        let bytes = pattern.as_bytes();
        let form = match bytes.iter().position(|&b| b == b'*') {
            None => Form::Exact,
            Some(first) => {
                let last = bytes.iter().rposition(|&b| b == b'*').unwrap_or(first);
                let (prefix, suffix) = (&bytes[..first], &bytes[last + 1..]);
                let middle: Box<[_]> = bytes[first..=last]
                    .split(|&b| b == b'*')
                    .filter(|part| !part.is_empty())
                    .map(|part| Finder::new(part).into_owned())
                    .collect();
                match (prefix, &*middle, suffix) {
                    ([], [], []) => Form::All,
                    (prefix, [], []) => Form::Prefix(prefix.into()),
                    (prefix, _, suffix) => Form::Parts {
                        prefix: prefix.into(),
                        middle,
                        suffix: suffix.into(),
                    },
                }
            }
        };
        let text = pattern.into();
        Self { text, form }
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches every tag.
    pub fn is_all(&self) -> bool {
        matches!(self.form, Form::All)
    }

    /// Whether `tag` matches.
    pub fn matches(&self, tag: &Tag) -> bool {
        self.matches_bytes(tag.as_bytes())
    }

    /// Whether a tag of these bytes matches.
    pub fn matches_bytes(&self, tag: &[u8]) -> bool {
        match &self.form {
            Form::All => true,
            Form::Exact => tag == self.text.as_bytes(),
            Form::Prefix(prefix) => tag.starts_with(prefix),
            Form::Parts {
                prefix,
                middle,
                suffix,
            } => {
                let Some(rest) = tag.strip_prefix(&**prefix) else {
                    return false;
                };
                let Some(mut rest) = rest.strip_suffix(&**suffix) else {
                    return false;
                };
                middle.iter().all(|part| match part.find(rest) {
                    Some(at) => {
                        rest = &rest[at + part.needle().len()..];
                        true
                    }
                    None => false,
                })
            }
        }
    }
}

impl Default for Match {
    /// `*`
    fn default() -> Self {
        Self::new("*")
    }
}

impl PartialEq for Match {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Match {}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Match({:?})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let compiled = Match::new(pattern);
        for tag in yes {
            assert!(
                compiled.matches_bytes(tag.as_bytes()),
                "{pattern} should match {tag}"
            );
        }
        for tag in no {
            assert!(
                !compiled.matches_bytes(tag.as_bytes()),
                "{pattern} should not match {tag}"
            );
        }
    }

    #[test]
    fn stars_match_any_run() {
        check("*", &["", "a", "a.b"], &[]);
        check("**", &["", "a.b"], &[]);
        check("app.*", &["app.", "app.web.log"], &["app", "xapp.web", "APP.x"]);
        check("*.log", &["a.log", ".log"], &["log", "a.log.gz"]);
        check("a*c*e", &["ace", "abcde", "acce"], &["ac", "aec", "acef"]);
        check("a*a", &["aa", "aba"], &["a"]);
        check("*b*", &["b", "abc"], &["", "ac"]);
    }

    #[test]
    fn all_else_is_literal() {
        check("app", &["app"], &["app.", "ap", "App", ""]);
        check("a?[b]", &["a?[b]"], &["ax[b]", "a?b"]);
        check("", &[""], &["a"]);
    }

    #[test]
    fn a_hostile_pattern_is_linear() {
        let pattern = format!("{}b", "a*".repeat(500));
        assert!(!Match::new(&pattern).matches_bytes("a".repeat(60_000).as_bytes()));
    }

    /// The definition, without regard to time.
    fn model(pattern: &[u8], tag: &[u8]) -> bool {
        match pattern.split_first() {
            None => tag.is_empty(),
            Some((b'*', rest)) => (0..=tag.len()).any(|at| model(rest, &tag[at..])),
            Some((byte, rest)) => tag.first() == Some(byte) && model(rest, &tag[1..]),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*]{0,7}", tag in "[ab]{0,10}") {
            let got = Match::new(&pattern).matches_bytes(tag.as_bytes());
            prop_assert_eq!(got, model(pattern.as_bytes(), tag.as_bytes()));
        }
    }
}
