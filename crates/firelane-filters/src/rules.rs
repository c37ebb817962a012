//! What rules of several filters have in common: their words, their order, their regular expressions and fields.

use firelane_conf::{Class, Diagnostic, Entry};
use firelane_core::BuildCx;
use firelane_parse::Regex;
use firelane_record::accessor::Accessor;

/// The entries under one of `keys`, in file order: what a struct of lists cannot tell.
pub(crate) fn entries<'s>(
    cx: &BuildCx<'s>,
    keys: &'static [&'static str],
) -> impl Iterator<Item = &'s Entry> {
    let known = |entry: &&Entry| keys.iter().any(|key| entry.key.value.eq_ignore_ascii_case(key));
    cx.section.entries.iter().filter(known)
}

/// An error at the value of an entry.
pub(crate) fn problem(code: &'static str, entry: &Entry, text: impl Into<String>) -> Diagnostic {
    Diagnostic::error(code, Class::BadValue, text.into()).at(entry.value.span)
}

/// Compiles a regular expression of `entry`.
pub(crate) fn regex(entry: &Entry, pattern: &str) -> Result<Regex, Diagnostic> {
    Regex::new(pattern).map_err(|error| {
        problem(
            "FL0333",
            entry,
            format!("invalid regular expression `{pattern}`: {error}"),
        )
    })
}

/// The field that a rule looks at: an accessor where `text` starts with `$`, else a top-level name.
pub(crate) fn field(entry: &Entry, text: &str) -> Result<Accessor, Diagnostic> {
    Accessor::parse(text).map_err(|error| {
        problem(
            "FL0334",
            entry,
            format!("invalid record accessor `{text}`: {error}"),
        )
        .help("for example `$a['b'][0]`")
    })
}

/// Blank-separated words; double quotes keep blanks, and `\"` within them is a quote. At most `max` words and one
/// more that holds the rest, as Fluent Bit counts them.
pub(crate) fn words(text: &str, max: usize) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_matches(' ');
    while !rest.is_empty() {
        if words.len() == max {
            words.push(rest.to_owned());
            break;
        }
        let (word, after) = quoted(rest).unwrap_or_else(|| {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            (word.to_owned(), after)
        });
        words.push(word);
        rest = after.trim_start_matches(' ');
    }
    words
}

/// The quoted word at the start of `text`; `None` where there is none that ends.
fn quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut word = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((word, inner.get(at + 1..)?)),
            '\\' if inner.get(at + 1..).is_some_and(|rest| rest.starts_with('"')) => {
                chars.next();
                word.push('"');
            }
            c => word.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, max: usize, want: &[&str]) {
        assert_eq!(words(text, max), want, "{text}");
    }

    #[test]
    fn words_are_split_at_blanks_outside_quotes() {
        check("  a   b ", 2, &["a", "b"]);
        check("k \"quo ted\"", 2, &["k", "quo ted"]);
        check(r#"k "a \"b\" c""#, 2, &["k", r#"a "b" c"#]);
        check("k a b  c", 2, &["k", "a", "b  c"]);
        check(r#"k "open end"#, 3, &["k", "\"open", "end"]);
        check(r#"k """#, 2, &["k", ""]);
        check("", 2, &[]);
    }
}
