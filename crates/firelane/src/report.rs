//! Diagnostics on standard error, in our own form or in Fluent Bit's.

use std::path::Path;

use firelane_conf::{Class, Diagnostic, Severity, Sources};

use crate::exit::{Exit, Stage};
use crate::{log, say};

/// A configuration that cannot run: everything that is wrong with it.
#[derive(Debug)]
pub(crate) struct Bad {
    /// Errors and warnings.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The texts they are in.
    pub(crate) sources: Sources,
    /// The exit code.
    pub(crate) exit: Exit,
}

impl Bad {
    /// From what was found.
    pub(crate) fn new(diagnostics: Vec<Diagnostic>, sources: Sources) -> Self {
        let errors: Vec<_> = diagnostics
            .iter()
            .filter(|d| d.severity == Severity::Error)
            .collect();
        let only_missing = !errors.is_empty() && errors.iter().all(|d| d.class == Class::NoFile);
        let exit = if only_missing { Exit::NoInput } else { Exit::Config };
        Self {
            diagnostics,
            sources,
            exit,
        }
    }

    /// When Fluent Bit would have met the first error.
    pub(crate) fn stage(&self) -> Stage {
        let errors = self.diagnostics.iter().filter(|d| d.severity == Severity::Error);
        let mut load = errors.filter(|d| d.class.is_load());
        if load.next().is_some() {
            Stage::Load
        } else {
            Stage::Init
        }
    }

    /// Writes everything about the configuration `name` to standard error.
    pub(crate) fn print(&self, name: &str, fluent_bit: bool) {
        if fluent_bit {
            self.print_fluent_bit();
        } else {
            print(&self.diagnostics, &self.sources);
            say::line(&summary(name, &self.diagnostics));
        }
    }

    fn print_fluent_bit(&self) {
        let mut in_file = false;
        for diagnostic in &self.diagnostics {
            let level = if diagnostic.severity == Severity::Error {
                "error"
            } else {
                "warn"
            };
            say::line(&log::line(level, &fluent_bit_text(diagnostic, &self.sources)));
            in_file |= is_grammar(diagnostic.class) && diagnostic.span.is_some();
        }
        let text = match (self.exit, in_file) {
            (_, true) => "configuration file contains errors, aborting.",
            (Exit::NoInput, false) => "could not open configuration file, aborting.",
            _ => return,
        };
        say::line(&log::line("error", text));
    }
}

/// Whether Fluent Bit's reader of the file finds it.
fn is_grammar(class: Class) -> bool {
    matches!(class, Class::Grammar | Class::NoFile | Class::Include)
}

/// One diagnostic as a line of Fluent Bit's log, with the place and the help behind it.
fn fluent_bit_text(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let Diagnostic {
        message,
        class,
        plugin,
        help,
        ..
    } = diagnostic;
    let place = diagnostic.place(sources);
    let mut text = match (class, &place, plugin) {
        (class, Some(place), _) if is_grammar(*class) => format!("[config] error in {place}: {message}"),
        (_, _, Some(plugin)) => {
            let name = plugin.split('.').next().unwrap_or(plugin);
            format!("[config] {name}: {message}")
        }
        _ => format!("[config] {message}"),
    };
    if let (Some(place), false) = (&place, is_grammar(*class)) {
        text.push_str(&format!(" ({place})"));
    }
    if let Some(help) = help {
        text.push_str(&format!("; {help}"));
    }
    text
}

/// The last line about a configuration: `router.conf: 1 error, 2 warnings`.
pub(crate) fn summary(name: &str, diagnostics: &[Diagnostic]) -> String {
    let counted = |severity: Severity, noun: &str| {
        let n = diagnostics.iter().filter(|d| d.severity == severity).count();
        format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
    };
    let (errors, warnings) = (
        counted(Severity::Error, "error"),
        counted(Severity::Warning, "warning"),
    );
    format!("{name}: {errors}, {warnings}")
}

/// Writes diagnostics to standard error in our own form.
pub(crate) fn print(diagnostics: &[Diagnostic], sources: &Sources) {
    for diagnostic in diagnostics {
        say::line(&diagnostic.render(sources));
    }
}

/// One diagnostic as JSON, for `check --format json`.
pub(crate) fn json(diagnostic: &Diagnostic, sources: &Sources) -> serde_json::Value {
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let span = diagnostic.span.filter(|span| span.file.0 != 0);
    let file = span.map(|span| sources.name(span.file).display().to_string());
    serde_json::json!({
        "code": diagnostic.code,
        "severity": severity,
        "message": diagnostic.message,
        "file": file,
        "line": span.map(|span| span.line),
        "column": span.map(|span| span.column),
        "plugin": diagnostic.plugin,
        "outcome": diagnostic.outcome,
        "help": diagnostic.help,
    })
}

/// An error about the command line.
pub(crate) fn usage(message: &str) {
    say::line(&format!(
        "error[FL0001]: {message}\n   help: `firelane --help` lists commands and options"
    ));
}

/// The name of a configuration for messages.
pub(crate) fn config_name(path: Option<&Path>) -> String {
    path.map_or_else(|| "the command line".into(), |path| path.display().to_string())
}
