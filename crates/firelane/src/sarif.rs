//! Diagnostics as SARIF 2.1.0, which code hosts show beside the lines of a change.
//!
//! Format: `docs.oasis-open.org/sarif/sarif/v2.1.0`.

use std::collections::BTreeMap;

use firelane_conf::{Diagnostic, Severity, Sources};
use serde_json::{Value, json};

/// One log with one run.
pub(crate) fn log<'a>(found: impl Iterator<Item = (&'a Diagnostic, &'a Sources)>) -> Value {
    let mut rules: BTreeMap<&str, &Diagnostic> = BTreeMap::new();
    let mut results = Vec::new();
    for (diagnostic, sources) in found {
        rules.entry(diagnostic.code).or_insert(diagnostic);
        results.push(result(diagnostic, sources));
    }
    let rules: Vec<_> = rules.into_iter().map(|(code, first)| rule(code, first)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "firelane",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

fn rule(code: &str, first: &Diagnostic) -> Value {
    json!({
        "id": code,
        "defaultConfiguration": {"level": level(first.severity)},
        "help": {"text": first.help.as_deref().unwrap_or("see docs/troubleshooting.md")},
    })
}

fn result(diagnostic: &Diagnostic, sources: &Sources) -> Value {
    let mut text = diagnostic.message.clone();
    if let Some(outcome) = &diagnostic.outcome {
        text.push_str(&format!("\n{outcome}"));
    }
    if let Some(help) = &diagnostic.help {
        text.push_str(&format!("\nhelp: {help}"));
    }
    let mut result = json!({
        "ruleId": diagnostic.code,
        "level": level(diagnostic.severity),
        "message": {"text": text},
    });
    // Places on the command line have no file.
    let span = diagnostic.span.filter(|span| span.file.0 != 0);
    if let (Some(span), Some(map)) = (span, result.as_object_mut()) {
        let uri = uri(&sources.name(span.file).to_string_lossy());
        let region = json!({
            "startLine": span.line,
            "startColumn": span.column,
            "endColumn": span.column + span.len.max(1),
        });
        let place = json!({"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}});
        map.insert("locations".into(), json!([place]));
    }
    result
}

/// A path as a relative reference: what a URI cannot hold is percent-encoded.
fn uri(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(byte.into())
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
