//! The classic grammar, one file: lines to sections and commands.
//!
//! - `[NAME]` in column 1 opens a section; what follows the `]` is ignored.
//! - The first indented line of a file fixes its indentation; every key line must start with exactly it.
//! - A key ends at the first blank (a tab does not end it); the rest is the value, trimmed, never empty.
//! - `#` in column 1, or first behind the indentation, starts a comment; anywhere else it is data.
//! - `@INCLUDE path` and `@SET k=v` stand in column 1.
//!
//! Source: Fluent Bit's `src/config_format/flb_cf_fluentbit.c`, observed.

use crate::diag::{Class, Diagnostic};
use crate::span::{SourceId, Span, Spanned};
use crate::tree::{Entry, Section, SectionKind};

/// What one line of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A header: the kind and the name as written.
    Header(SectionKind, Spanned<String>),
    /// A property of the open section.
    Entry(Entry),
    /// `@INCLUDE`
    Include(Spanned<String>),
    /// `@SET`
    Set(String, String),
    /// A command that Fluent Bit ignores.
    Ignored(Spanned<String>),
}

/// Reads a file into items; errors are listed and reading goes on behind them.
pub fn read(file: SourceId, text: &str, errors: &mut Vec<Diagnostic>) -> Vec<Item> {
    let mut indent: Option<&str> = None;
    let mut items = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let at = Line {
            file,
            number: index as u32 + 1,
            text: line,
        };
        match at.read(&mut indent) {
            Ok(Some(item)) => items.push(item),
            Ok(None) => {}
            Err(error) => errors.push(*error),
        }
    }
    items
}

#[derive(Clone, Copy)]
struct Line<'a> {
    file: SourceId,
    number: u32,
    text: &'a str,
}

impl<'a> Line<'a> {
    /// The place of `part`, a slice of this line.
    fn span(&self, part: &str) -> Span {
        let offset = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let before = self.text.get(..offset).unwrap_or("");
        let column = before.chars().count() as u32 + 1;
        Span {
            file: self.file,
            line: self.number,
            column,
            len: part.chars().count() as u32,
        }
    }

    fn error(&self, code: &'static str, reason: &str, part: &str, help: &str) -> Box<Diagnostic> {
        Box::new(
            Diagnostic::error(code, Class::Grammar, reason)
                .at(self.span(part))
                .help(help),
        )
    }

    fn read(&self, indent: &mut Option<&'a str>) -> Result<Option<Item>, Box<Diagnostic>> {
        if self.text.trim_matches([' ', '\t']).is_empty() {
            return Ok(None);
        }
        match self.text.as_bytes().first() {
            Some(b'#') => Ok(None),
            Some(b'[') => self.header().map(Some),
            Some(b'@') => self.command(),
            _ => self.entry(indent),
        }
    }

    fn header(&self) -> Result<Item, Box<Diagnostic>> {
        let inner = &self.text[1..];
        let Some(end) = inner.find(']') else {
            return Err(self.error(
                "FL0101",
                "bad header definition",
                self.text,
                "close the header with `]`",
            ));
        };
        let name = &inner[..end];
        let kind = SectionKind::from_header(name.trim());
        Ok(Item::Header(
            kind,
            Spanned::new(name.to_string(), self.span(name)),
        ))
    }

    fn command(&self) -> Result<Option<Item>, Box<Diagnostic>> {
        let Some((command, rest)) = self.text.split_once(' ') else {
            let help = "a command is `@INCLUDE path` or `@SET name=value`";
            return Err(self.error(
                "FL0102",
                "undefined value - a command needs a blank and a value",
                self.text,
                help,
            ));
        };
        let value = rest.trim();
        if command.eq_ignore_ascii_case("@include") {
            return Ok(Some(Item::Include(Spanned::new(
                value.to_string(),
                self.span(value),
            ))));
        }
        if command.eq_ignore_ascii_case("@set") {
            // No blanks are trimmed around the `=`.
            if let Some((name, value)) = rest.split_once('=') {
                return Ok(Some(Item::Set(name.to_string(), value.trim_end().to_string())));
            }
        }
        Ok(Some(Item::Ignored(Spanned::new(
            command.to_string(),
            self.span(command),
        ))))
    }

    fn entry(&self, indent: &mut Option<&'a str>) -> Result<Option<Item>, Box<Diagnostic>> {
        let body = self.text.trim_start_matches([' ', '\t']);
        let blanks = &self.text[..self.text.len() - body.len()];
        if blanks.is_empty() {
            let help = "indent the properties of a section, all by the same blanks";
            return Err(self.error("FL0103", "invalid indentation level", self.text, help));
        }
        let expected = *indent.get_or_insert(blanks);
        if body.starts_with('#') && blanks.starts_with(expected) {
            return Ok(None);
        }
        if blanks != expected {
            let (want, got) = (shape(expected), shape(blanks));
            let help = format!("this file indents by {want}, this line by {got}");
            return Err(self.error("FL0103", "invalid indentation level", body, &help));
        }
        let Some((key, rest)) = body.split_once(' ') else {
            let key = body.split('\t').next().unwrap_or(body);
            let reason = format!("undefined value - property `{key}` has no value");
            let help = match body.contains('\t') {
                true => "put a blank between key and value: a tab does not separate them",
                false => "write `key value`, or delete the line",
            };
            return Err(self.error("FL0104", &reason, body, help));
        };
        let value = rest.trim();
        if value.is_empty() {
            let reason = format!("undefined value - property `{key}` has no value");
            return Err(self.error("FL0104", &reason, key, "give it a value, or delete the line"));
        }
        let key_text = key.trim();
        Ok(Some(Item::Entry(Entry {
            key: Spanned::new(key_text.to_ascii_lowercase(), self.span(key_text)),
            value: Spanned::new(value.to_string(), self.span(value)),
        })))
    }
}

fn shape(indent: &str) -> String {
    let tabs = indent.chars().filter(|&c| c == '\t').count();
    let blanks = indent.len() - tabs;
    match (blanks, tabs) {
        (blanks, 0) => format!("{blanks} blanks"),
        (0, tabs) => format!("{tabs} tabs"),
        (blanks, tabs) => format!("{blanks} blanks and {tabs} tabs"),
    }
}

/// An empty section for a header.
pub(crate) fn open(kind: SectionKind, name: &Spanned<String>) -> Section {
    Section::new(kind, name.span)
}
