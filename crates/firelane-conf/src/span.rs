//! Places in source text.

use std::path::{Path, PathBuf};

/// Which file a place is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SourceId(pub u32);

/// A place: file, line and column from 1, and how many characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Span {
    /// The file.
    pub file: SourceId,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Length in characters.
    pub len: u32,
}

impl Span {
    /// The same place after its file's number has moved; places on the command line stay.
    pub fn shift(&mut self, offset: u32) {
        if self.file.0 != 0 {
            self.file.0 += offset;
        }
    }
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// A value at a place.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// Every file that was read. File 0 is the command line.
#[derive(Debug, Clone)]
pub struct Sources {
    files: Vec<(PathBuf, String)>,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            files: vec![("<command line>".into(), String::new())],
        }
    }
}

impl Sources {
    /// Remembers a file.
    pub fn add(&mut self, name: &Path, text: String) -> SourceId {
        self.files.push((name.to_path_buf(), text));
        SourceId(self.files.len() as u32 - 1)
    }

    /// Takes the files of another set behind its own; gives how far their numbers moved.
    pub fn append(&mut self, other: &Self) -> u32 {
        let offset = self.files.len() as u32 - 1;
        self.files.extend(other.files.iter().skip(1).cloned());
        offset
    }

    /// Its name as it was given.
    pub fn name(&self, id: SourceId) -> &Path {
        self.files
            .get(id.0 as usize)
            .map_or(Path::new("?"), |(name, _)| name)
    }

    /// Its text.
    pub fn text(&self, id: SourceId) -> &str {
        self.files.get(id.0 as usize).map_or("", |(_, text)| text)
    }

    /// A place as `file:line:column`, unless it is on the command line.
    pub fn place(&self, span: Span) -> Option<String> {
        let file = Some(span.file).filter(|file| file.0 != 0)?;
        let name = self.name(file).display();
        Some(format!("{name}:{}:{}", span.line, span.column))
    }

    /// A line of it, from 1, without its end.
    pub fn line(&self, id: SourceId, line: u32) -> Option<&str> {
        self.text(id).lines().nth(line.checked_sub(1)? as usize)
    }

    /// All files, in the order they were read.
    pub fn ids(&self) -> impl Iterator<Item = SourceId> {
        (0..self.files.len() as u32).map(SourceId)
    }
}
