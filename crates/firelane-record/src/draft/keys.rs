//! Comparing raw keys with text. Case is ASCII's, as in Fluent Bit.

use crate::msgpack;

/// Whether the raw key is exactly `text`.
#[inline]
pub fn is(raw: &[u8], text: &[u8]) -> bool {
    // Most keys are short strings: head and text are compared without reading a token.
    match raw.split_first() {
        Some((&head @ 0xa0..=0xbf, rest)) => usize::from(head & 0x1f) == text.len() && rest == text,
        _ => msgpack::text(raw) == Some(text),
    }
}

/// Whether two texts are the same but for case.
#[inline]
pub fn same_ignore_case(key: &[u8], text: &[u8]) -> bool {
    key.eq_ignore_ascii_case(text)
}

/// Whether `key` starts with `prefix`, whatever the case.
#[inline]
pub fn starts_ignore_case(key: &[u8], prefix: &[u8]) -> bool {
    key.get(..prefix.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// A key as `record_modifier` and `nest` write it: the text itself, or with a trailing `*` what starts with
/// it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPattern {
    text: Box<[u8]>,
    prefix: bool,
    ignore_case: bool,
}

impl KeyPattern {
    /// Compiles `text`.
    pub fn new(text: &str, ignore_case: bool) -> Self {
        let stem = text.strip_suffix('*');
        Self {
            text: stem.unwrap_or(text).as_bytes().into(),
            prefix: stem.is_some(),
            ignore_case,
        }
    }

    /// Whether the text of a key matches.
    #[inline]
    pub fn matches(&self, key: &[u8]) -> bool {
        match (self.prefix, self.ignore_case) {
            (false, false) => *self.text == *key,
            (true, false) => key.starts_with(&self.text),
            (false, true) => same_ignore_case(key, &self.text),
            (true, true) => starts_ignore_case(key, &self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, ignore_case: bool, yes: &[&str], no: &[&str]) {
        let compiled = KeyPattern::new(pattern, ignore_case);
        assert!(
            yes.iter().all(|key| compiled.matches(key.as_bytes())),
            "{pattern}"
        );
        assert!(
            !no.iter().any(|key| compiled.matches(key.as_bytes())),
            "{pattern}"
        );
    }

    #[test]
    fn patterns_are_exact_or_prefixes() {
        check("SECRET", true, &["secret", "Secret"], &["secret_", "secre"]);
        check("tmp_*", true, &["Tmp_1", "tmp_"], &["tmp", "xtmp_"]);
        check("tmp_*", false, &["tmp_1"], &["Tmp_1"]);
        check("a", false, &["a"], &["A", "aa", ""]);
        check("*", true, &["", "x"], &[]);
    }

    #[test]
    fn raw_keys_are_strings_or_binaries() {
        assert!(is(&[0xa1, b'k'], b"k"));
        assert!(is(&[0xd9, 1, b'k'], b"k"));
        assert!(is(&[0xc4, 1, b'k'], b"k"));
        assert!(!is(&[5], b"5"));
        assert!(!is(&[0xa2, b'k', b'x'], b"k"));
    }
}
