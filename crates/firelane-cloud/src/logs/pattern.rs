//! Filter patterns of `FilterLogEvents` over plain text: terms, quoted phrases, `?` for any of, `-` for
//! none of.
//!
//! Patterns over JSON (`{ $.key = … }`), columns (`[…]`) and regular expressions (`%…%`) are refused by
//! name, not ignored.

use memchr::memmem::Finder;

use super::invalid;
use crate::error::ApiError;

/// A pattern that was read.
#[derive(Debug, Default)]
pub(super) struct Pattern {
    /// All of these.
    all: Vec<Finder<'static>>,
    /// At least one of these, where `all` is empty.
    any: Vec<Finder<'static>>,
    /// None of these.
    none: Vec<Finder<'static>>,
}

impl Pattern {
    pub(super) fn read(text: &str) -> Result<Self, ApiError> {
        let mut pattern = Self::default();
        let mut rest = text.trim();
        if let Some(kind) = rest.chars().next().filter(|c| "{[%".contains(*c)) {
            let what = match kind {
                '{' => "over JSON",
                '[' => "over columns",
                _ => "with regular expressions",
            };
            return Err(invalid(format!(
                "Invalid filter pattern: the local endpoint has no patterns {what}, only terms, \"phrases\", ?term and -term"
            )));
        }
        while !rest.is_empty() {
            let (sign, behind) = match rest.strip_prefix(['?', '-']) {
                Some(behind) => (rest.chars().next(), behind),
                None => (None, rest),
            };
            let (term, after) = term(behind)?;
            let finder = Finder::new(&term).into_owned();
            match sign {
                Some('?') => pattern.any.push(finder),
                Some(_) => pattern.none.push(finder),
                None => pattern.all.push(finder),
            }
            rest = after.trim_start();
        }
        Ok(pattern)
    }

    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let has = |finder: &Finder<'_>| finder.find(text).is_some();
        let wanted = if self.all.is_empty() {
            self.any.is_empty() || self.any.iter().any(has)
        } else {
            self.all.iter().all(has)
        };
        wanted && !self.none.iter().any(has)
    }
}

/// The first term, and what follows it.
fn term(text: &str) -> Result<(String, &str), ApiError> {
    let bad = || invalid("Invalid filter pattern");
    if let Some(quoted) = text.strip_prefix('"') {
        let mut term = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => return Ok((term, quoted.get(at + 1..).unwrap_or_default())),
                '\\' => term.push(chars.next().ok_or_else(bad)?.1),
                char => term.push(char),
            }
        }
        return Err(bad());
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (term, rest) = text.split_at_checked(end).ok_or_else(bad)?;
    let plain = !term.is_empty() && term.chars().all(|c| c.is_alphanumeric() || c == '_');
    if plain {
        Ok((term.to_owned(), rest))
    } else {
        Err(bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, hits: &[&str], misses: &[&str]) {
        let pattern = Pattern::read(pattern).unwrap();
        for text in hits {
            assert!(pattern.matches(text.as_bytes()), "{text}");
        }
        for text in misses {
            assert!(!pattern.matches(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn terms() {
        check("", &["anything", ""], &[]);
        check("ERROR", &["an ERROR here"], &["an error here"]);
        check("ERROR 404", &["404 is an ERROR"], &["ERROR 500"]);
        check(
            "\"GET /a\\\"b\" -health",
            &["GET /a\"b"],
            &["GET /a", "GET /a\"b health"],
        );
        check("?ERROR ?WARN", &["a WARN", "an ERROR"], &["INFO"]);
    }

    #[test]
    fn what_is_not_here_is_refused() {
        for bad in ["{ $.a = 1 }", "[ip, user]", "%4[0-9]%", "a-b", "\"open", "? x"] {
            let error = Pattern::read(bad).unwrap_err();
            assert_eq!(error.code, "InvalidParameterException", "{bad}");
        }
    }
}
