//! The parsers that are defined, by name.

use std::collections::HashMap;
use std::sync::Arc;

use firelane_conf::{Class, Diagnostic, Section};

use crate::config::{Defined, define};
use crate::{Clock, Parser, builtin};

/// Parsers by name. Names are case-sensitive, as in Fluent Bit.
#[derive(Default, Clone)]
pub struct Parsers {
    by_name: HashMap<String, Arc<dyn Parser>>,
    /// With a clock the built-in ones are there too.
    clock: Option<Clock>,
}

/// The name is taken by another parser.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parser named '{0}' already exists")]
pub struct DuplicateParser(pub String);

impl Parsers {
    /// None at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// The built-in ones. `clock` tells the present, for times without year.
    pub fn built_in(clock: Clock) -> Self {
        Self {
            by_name: HashMap::new(),
            clock: Some(clock),
        }
    }

    /// Defines a parser; a built-in one of the name gives way.
    ///
    /// # Errors
    /// Where the name has been defined already.
    pub fn insert(&mut self, name: &str, parser: Arc<dyn Parser>) -> Result<(), DuplicateParser> {
        if self.by_name.contains_key(name) {
            return Err(DuplicateParser(name.to_string()));
        }
        self.by_name.insert(name.to_string(), parser);
        Ok(())
    }

    /// Defines the parser of a `[PARSER]` section; gives the warnings.
    ///
    /// # Errors
    /// All that is wrong with it; the name may be taken.
    pub fn define(&mut self, section: &Section, clock: Clock) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        let Defined {
            name,
            parser,
            warnings,
        } = define(section, clock)?;
        self.insert(&name, parser).map_err(|error| {
            let span = section.name().map_or(section.span, |entry| entry.value.span);
            let error = Diagnostic::error("FL0323", Class::Init, error.to_string()).at(span);
            vec![error.help("give it another name, or delete one of the two")]
        })?;
        Ok(warnings)
    }

    /// The parser of a name. A built-in one is compiled now.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Parser>> {
        let own = self.by_name.get(name).cloned();
        own.or_else(|| builtin::get(name, self.clock?))
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
        for name in builtin::names() {
            if self.clock.is_some() {
                names.push(name);
            }
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}
