//! Text of a definition: what it says, where, and whether the deployment still has a word in it.

use firelane_conf::{Span, Spanned};

/// A text value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The text; parts that only the deployment knows stand in it as `${LogicalId}` or
    /// `${LogicalId.Attribute}`.
    pub value: String,
    /// Its place.
    pub span: Span,
    /// Whether such parts stand in it.
    pub open: bool,
}

impl Text {
    /// A known text at a place.
    pub fn new(value: impl Into<String>, span: Span) -> Self {
        Self {
            value: value.into(),
            span,
            open: false,
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.value
    }

    /// The text, if nothing in it is left to the deployment.
    pub fn known(&self) -> Option<&str> {
        (!self.open).then_some(self.value.as_str())
    }

    /// Whether it is known to be `other`.
    pub fn is(&self, other: &str) -> bool {
        self.known() == Some(other)
    }
}

/// A map of texts whose keys are the user's own words: options, labels. In the order written; a key that
/// stands there twice has its last value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextMap {
    /// Keys and values.
    pub entries: Vec<(Spanned<String>, Text)>,
}

impl TextMap {
    /// The value of `key`, exactly so written.
    pub fn get(&self, key: &str) -> Option<&Text> {
        self.entry(key).map(|(_, value)| value)
    }

    /// Key and value of `key`, exactly so written.
    pub fn entry(&self, key: &str) -> Option<&(Spanned<String>, Text)> {
        self.entries.iter().find(|(known, _)| known.value == key)
    }

    /// Keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (&Spanned<String>, &Text)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sets a key; an earlier value of it goes.
    pub fn insert(&mut self, key: Spanned<String>, value: Text) {
        match self
            .entries
            .iter_mut()
            .find(|(known, _)| known.value == key.value)
        {
            Some(entry) => *entry = (key, value),
            None => self.entries.push((key, value)),
        }
    }
}
