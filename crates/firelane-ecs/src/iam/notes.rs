//! What is said beside the policies, each code in this file.

use firelane_conf::{Class, Diagnostic, Span};

/// The account is not known, so ARNs have `*` in its place.
pub(super) fn account() -> Diagnostic {
    Diagnostic::note("FL0601", "the account is not known: ARNs have `*` in its place")
        .help("give it in the context (`account`) or by `--account`")
}

/// Resources hold words that only the deployment knows.
pub(super) fn open(words: &[String], span: Option<Span>) -> Diagnostic {
    let (are, stand) = match words {
        [_] => ("is", "stands in the ARNs as it is"),
        _ => ("are", "stand in the ARNs as they are"),
    };
    let words = words.join("`, `");
    let message = format!("`{words}` {are} known only to the deployment and {stand} written");
    let help = "the CloudFormation form makes `!Sub` of it; for the others give a value of the parameter";
    placed(Diagnostic::note("FL0602", message).help(help), span)
}

/// A name is a variable from its first character on.
pub(super) fn broad(who: &str, what: &str, span: Option<Span>) -> Diagnostic {
    let message = format!("{who} may write to any {what}: its name begins with a variable");
    let help = "let the name begin with a text that stays the same, so the policy can name it";
    placed(Diagnostic::note("FL0603", message).help(help), span)
}

/// An output or image needs a permission that cannot be told.
pub(super) fn unknown(message: String, help: &str, span: Option<Span>) -> Diagnostic {
    placed(
        Diagnostic::warning("FL0604", message)
            .class(Class::Missing)
            .help(help),
        span,
    )
}

/// Keys of the customer's own are not told by a task definition.
pub(super) fn keys(what: &str, actions: &str, span: Option<Span>) -> Diagnostic {
    let message = format!("{what} encrypted with a customer key of KMS: {actions} on that key is needed too");
    let help = "pass the key's ARN (`--secret-key`, `--bucket-key`), and a statement is made; AWS' own key needs none";
    placed(Diagnostic::note("FL0605", message).help(help), span)
}

/// A text that should be an ARN is none.
pub(super) fn bad_arn(what: &str, text: &str, wanted: &str, span: Option<Span>) -> Diagnostic {
    let message = format!("{what} `{text}` is no ARN of a kind that is known: no permission is given for it");
    placed(
        Diagnostic::warning("FL0606", message).help(format!("write it as {wanted}")),
        span,
    )
}

/// A text that is no policy.
pub(super) fn bad_policy(span: Span, message: impl Into<String>, help: impl Into<String>) -> Diagnostic {
    Diagnostic::error("FL0607", Class::Grammar, message)
        .at(span)
        .help(help)
}

/// A part of a policy that cannot be judged fully.
pub(super) fn unjudged(span: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic::note("FL0608", message).at(span)
}

/// Outputs that stand in a file that was not handed in.
pub(super) fn unread(what: &str, span: Option<Span>) -> Diagnostic {
    let message = format!("{what} is not read here: what its outputs need is not in the policies");
    placed(
        Diagnostic::note("FL0609", message)
            .help("put the file beside the task definition, or pass `--router-config FILE`"),
        span,
    )
}

fn placed(diagnostic: Diagnostic, span: Option<Span>) -> Diagnostic {
    match span {
        Some(span) => diagnostic.at(span),
        None => diagnostic,
    }
}
