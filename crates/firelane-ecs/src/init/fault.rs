//! What can be wrong with the wish or the file. All codes of this module stand here.

use firelane_conf::{Class, Diagnostic, Span};

/// No such output, or one that options cannot describe.
pub(super) fn destination(message: impl Into<String>) -> Diagnostic {
    Diagnostic::error("FL0611", Class::UnknownPlugin, message)
}

/// An option that the output does not take, or not so.
pub(super) fn option(message: impl Into<String>) -> Diagnostic {
    Diagnostic::error("FL0612", Class::UnknownProperty, message)
}

/// An option that the output cannot do without.
pub(super) fn missing(message: impl Into<String>) -> Diagnostic {
    Diagnostic::error("FL0613", Class::Missing, message)
}

/// A secret as plain text.
pub(super) fn secret(message: impl Into<String>) -> Diagnostic {
    Diagnostic::error("FL0614", Class::BadValue, message)
}

/// The file has no task definition that can be amended.
pub(super) fn place(message: impl Into<String>, span: Span) -> Diagnostic {
    Diagnostic::error("FL0615", Class::Missing, message).at(span)
}

/// A container that is not there, or cannot be meant.
pub(super) fn container(message: impl Into<String>) -> Diagnostic {
    Diagnostic::error("FL0616", Class::BadValue, message)
}

/// A task that cannot have the router that is asked for.
pub(super) fn router(message: impl Into<String>, span: Span) -> Diagnostic {
    Diagnostic::error("FL0617", Class::BadValue, message).at(span)
}

/// A spot of the text that cannot be changed alone.
pub(super) fn edit(message: impl Into<String>, span: Span) -> Diagnostic {
    Diagnostic::error("FL0618", Class::BadValue, message)
        .at(span)
        .help("change this spot by hand first: an anchor, an alias or an unusual form of YAML stands there")
}

/// The code of mistakes of ours.
pub(crate) const INTERNAL: &str = "FL0619";

/// A mistake of ours: what was written is not what was meant, so it is not given out.
pub(super) fn internal(message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(INTERNAL, Class::Init, message)
        .outcome("nothing was written")
        .help("this is a mistake in firelane: please report it with the file")
}
