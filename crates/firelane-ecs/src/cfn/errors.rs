//! Everything that templates are told: one constructor for each code.

use firelane_conf::{Class, Diagnostic, Span, suggest};

/// Most names that are looked through for a suggestion.
const NAMES_MAX: usize = 500;

/// The known name that was probably meant, whatever its case.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let known = known.take(NAMES_MAX);
    let known: Vec<(String, &str)> = known.map(|name| (name.to_ascii_lowercase(), name)).collect();
    let near = suggest::nearest(name, known.iter().map(|(lower, _)| lower.as_str()))?;
    known
        .iter()
        .find(|(lower, _)| lower == near)
        .map(|(_, name)| *name)
}

/// What CloudFormation answers, word for word where that is known.
pub(super) fn refused(words: impl AsRef<str>) -> String {
    format!("CloudFormation refuses it: {}", words.as_ref())
}

/// Something is named that does not exist.
pub(super) fn unknown(at: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error("FL0511", Class::Missing, message).at(at)
}

/// The arguments of an intrinsic are not what it takes.
pub(super) fn malformed(at: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error("FL0512", Class::BadValue, message).at(at)
}

/// A mapping or a list has nothing at that place.
pub(super) fn missed(at: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error("FL0513", Class::Missing, message).at(at)
}

/// A circle, or more than firelane resolves.
pub(super) fn endless(at: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error("FL0514", Class::Include, message).at(at)
}

/// A parameter has no value.
pub(super) fn unset(at: Span, name: &str, message: impl Into<String>) -> Diagnostic {
    Diagnostic::note("FL0515", message)
        .at(at)
        .help(format!("pass `--param {name}=VALUE`"))
}

/// A parameter, or its value, is wrong.
pub(super) fn parameter(at: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error("FL0516", Class::BadValue, message).at(at)
}

/// What firelane does not do: macros.
pub(super) fn macros(at: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic::warning("FL0517", message).at(at)
}

/// What CloudFormation does only with a transform that the template does not have.
pub(super) fn needs_transform(at: Span, what: &str) -> Diagnostic {
    let message = format!("{what} works only with the transform `AWS::LanguageExtensions`");
    Diagnostic::error("FL0517", Class::BadValue, message)
        .at(at)
        .outcome(refused("without the transform it knows no such thing"))
        .help("write `Transform: AWS::LanguageExtensions` at the top of the template")
}

/// Whether a condition holds is not known.
pub(super) fn undecided(at: Span, name: &str) -> Diagnostic {
    let message = format!("whether the condition `{name}` holds is not known: its first value is taken");
    Diagnostic::note("FL0518", message)
        .at(at)
        .help("pass the parameters that it depends on with `--param NAME=VALUE`")
}
