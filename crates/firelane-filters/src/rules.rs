//! What rules of several filters have in common: their order, their regular expressions and fields.

use firelane_conf::{Class, Diagnostic, Entry, Span};
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
    Diagnostic::error(code, Class::BadValue, text).at(entry.value.span)
}

/// Compiles a regular expression of `entry`.
pub(crate) fn regex(entry: &Entry, pattern: &str) -> Result<Regex, Diagnostic> {
    Regex::new(pattern).map_err(|error| {
        let text = format!("invalid regular expression `{pattern}`: {error}");
        problem("FL0333", entry, text).help("a `\\` before a character takes it as it is, for example `\\(`")
    })
}

/// The field that a rule looks at: an accessor where `text` starts with `$`, else a top-level name.
pub(crate) fn field(at: Span, text: &str) -> Result<Accessor, Diagnostic> {
    Accessor::parse(text).map_err(|error| {
        let text = format!("invalid record accessor `{text}`: {error}");
        let error = Diagnostic::error("FL0334", Class::BadValue, text).at(at);
        error.help("for example `$a['b'][0]`")
    })
}
