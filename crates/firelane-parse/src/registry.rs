//! The parsers that are defined, by name.

use std::collections::HashMap;
use std::sync::Arc;

use crate::Parser;

/// Parsers by name. Names are case-sensitive, as in Fluent Bit.
#[derive(Default, Clone)]
pub struct Parsers {
    by_name: HashMap<String, Defined>,
}

#[derive(Clone)]
struct Defined {
    parser: Arc<dyn Parser>,
    built_in: bool,
}

/// The name is taken by another parser of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parser named '{0}' already exists")]
pub struct DuplicateParser(pub String);

impl Parsers {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Defines a built-in parser: one of a file takes its place.
    pub fn insert_built_in(&mut self, name: &str, parser: Arc<dyn Parser>) {
        self.by_name.insert(
            name.to_string(),
            Defined {
                parser,
                built_in: true,
            },
        );
    }

    /// Defines a parser of a file.
    ///
    /// # Errors
    /// Where a file has defined the name already.
    pub fn insert(&mut self, name: &str, parser: Arc<dyn Parser>) -> Result<(), DuplicateParser> {
        if self.by_name.get(name).is_some_and(|known| !known.built_in) {
            return Err(DuplicateParser(name.to_string()));
        }
        self.by_name.insert(
            name.to_string(),
            Defined {
                parser,
                built_in: false,
            },
        );
        Ok(())
    }

    /// The parser of a name.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Parser>> {
        self.by_name.get(name).map(|known| known.parser.clone())
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.by_name.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}
