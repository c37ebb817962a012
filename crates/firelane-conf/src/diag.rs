//! Diagnostics: what is wrong, where, and what to do about it.

use std::fmt::Write as _;

use crate::redact;
use crate::span::{Sources, Span};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Works, but perhaps not as meant.
    Warning,
    /// Cannot run.
    Error,
}

/// The kind of an error: it decides Fluent Bit's exit code and text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// The text does not follow the grammar.
    Grammar,
    /// A file that was named is missing or cannot be read.
    NoFile,
    /// An include that cannot be: a circle, too many, a mix of formats.
    Include,
    /// A section lacks what it needs to be a plugin.
    Missing,
    /// No such plugin.
    UnknownPlugin,
    /// A bad value of a property that every plugin has.
    CoreValue,
    /// No such property.
    UnknownProperty,
    /// A bad value.
    BadValue,
    /// The plugin cannot be built.
    Init,
}

impl Class {
    /// Whether Fluent Bit meets it while it reads the configuration (exit code 1) and not while it
    /// initialises plugins (255).
    pub fn is_load(self) -> bool {
        matches!(
            self,
            Self::Grammar
                | Self::NoFile
                | Self::Include
                | Self::Missing
                | Self::UnknownPlugin
                | Self::CoreValue
        )
    }
}

/// One message for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code, `FL` and four digits: 00 the command line, 01 grammar and files, 02 plugins and core
    /// properties, 03 properties and values, 04 warnings, 05 task definitions and templates, 06 policies and
    /// new definitions, 07 and 08 what becomes of a task on ECS.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Its kind.
    pub class: Class,
    /// What happened: lower case, no final dot.
    pub message: String,
    /// Where.
    pub span: Option<Span>,
    /// The plugin instance it is about.
    pub plugin: Option<Box<str>>,
    /// What comes of it elsewhere: which service refuses it, when, with which words.
    pub outcome: Option<Box<str>>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error.
    pub fn error(code: &'static str, class: Class, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code,
            severity: Severity::Error,
            class,
            message,
            span: None,
            plugin: None,
            outcome: None,
            help: None,
        }
    }

    /// A warning.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, Class::BadValue, message)
        }
    }

    /// A note.
    pub fn note(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Note,
            ..Self::error(code, Class::BadValue, message)
        }
    }

    /// Where it is.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Which plugin instance it is about.
    #[must_use]
    pub fn plugin(mut self, plugin: impl Into<String>) -> Self {
        self.plugin = Some(plugin.into().into_boxed_str());
        self
    }

    /// What comes of it elsewhere.
    #[must_use]
    pub fn outcome(mut self, outcome: impl Into<String>) -> Self {
        self.outcome = Some(outcome.into().into_boxed_str());
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Of which kind it is.
    #[must_use]
    pub fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// Moves the number of the file its place is in.
    pub fn shift(&mut self, offset: u32) {
        if let Some(span) = &mut self.span {
            span.shift(offset);
        }
    }

    /// `file:line:column`, if it has a place in a file.
    pub fn place(&self, sources: &Sources) -> Option<String> {
        sources.place(self.span?)
    }

    /// As text for a terminal without colours, several lines, ending with a line end.
    pub fn render(&self, sources: &Sources) -> String {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let mut out = format!("{word}[{}]: {}\n", self.code, self.message);
        // Writing to a String cannot fail.
        if let Some(span) = self.span {
            if let Some(place) = self.place(sources) {
                let _ = writeln!(out, "  --> {place}");
                if let Some(line) = sources.line(span.file, span.line) {
                    let shown = redact::line(line);
                    let (at, len) = shown.place(span.column as usize - 1, span.len as usize);
                    let (line, before) = window(&shown.text, at);
                    let marks = "^".repeat(len.clamp(1, 100));
                    let blanks: String = before
                        .into_iter()
                        .map(|c| if c == '\t' { c } else { ' ' })
                        .collect();
                    let number = span.line.to_string();
                    let _ = writeln!(out, "   | {number} {line}");
                    let _ = writeln!(out, "   | {:width$} {blanks}{marks}", "", width = number.len());
                }
            } else {
                let _ = writeln!(out, "  --> command line");
            }
        }
        if let Some(plugin) = &self.plugin {
            let _ = writeln!(out, "   = in {plugin}");
        }
        if let Some(outcome) = &self.outcome {
            let _ = writeln!(out, "   = {outcome}");
        }
        if let Some(help) = &self.help {
            let _ = writeln!(out, "   help: {help}");
        }
        out
    }
}

/// Longest line that is shown whole, in characters: minified files are one line.
const LINE_MAX: usize = 240;
/// How much of a longer line is shown on each side of a place.
const AROUND: usize = 80;

/// The part of a line around a character, and what of that part stands before it.
fn window(line: &str, at: usize) -> (String, Vec<char>) {
    if line.chars().nth(LINE_MAX).is_none() {
        return (line.to_string(), line.chars().take(at).collect());
    }
    let from = at.saturating_sub(AROUND);
    let head = if from > 0 { "…" } else { "" };
    let rest = line.chars().nth(from + 2 * AROUND);
    let tail = if rest.is_some() { "…" } else { "" };
    let part: String = line.chars().skip(from).take(2 * AROUND).collect();
    let shown = format!("{head}{part}{tail}");
    let before = shown.chars().take(head.chars().count() + at - from).collect();
    (shown, before)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let mut sources = Sources::default();
        let file = sources.add(Path::new("f.conf"), "    http_passwd hunter2\n".to_string());
        let span = Span {
            file,
            line: 1,
            column: 17,
            len: 7,
        };
        let shown = Diagnostic::note("FL0000", "here").at(span).render(&sources);
        assert!(
            shown.contains("http_passwd ***\n") && shown.contains(" ^^^\n"),
            "{shown}"
        );
    }

    #[test]
    fn of_a_long_line_only_the_place_is_shown() {
        let mut sources = Sources::default();
        let text = format!("{{{}\"here\"{}}}", "x".repeat(1000), "y".repeat(1000));
        let file = sources.add(Path::new("t.json"), text);
        let span = Span {
            file,
            line: 1,
            column: 1002,
            len: 6,
        };
        let shown = Diagnostic::note("FL0000", "here").at(span).render(&sources);
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines[2].chars().count() < 180, "{shown}");
        let at = lines[3].chars().position(|c| c == '^').unwrap();
        assert_eq!(lines[2].chars().skip(at).take(6).collect::<String>(), "\"here\"");
    }
}
