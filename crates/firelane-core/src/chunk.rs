//! A chunk: what one delivery carries. References into the log, no copy.

use std::time::Duration;

use firelane_record::{Event, Records, Tag};

/// A run of records of one tag within a chunk.
#[derive(Debug, Clone)]
pub struct Part {
    /// Their tag.
    pub tag: Tag,
    /// The records.
    pub records: Records,
}

/// What one delivery carries: runs in the order they came. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    parts: std::sync::Arc<[Part]>,
    records: u32,
    bytes: usize,
    waited: Duration,
}

/// A chunk as an encoder sees it.
pub type ChunkView<'a> = &'a Chunk;

impl Chunk {
    /// A chunk of `parts`.
    pub fn new(parts: Vec<Part>) -> Self {
        let records = parts.iter().map(|part| part.records.count()).sum();
        let bytes = parts.iter().map(|part| part.records.len()).sum();
        Self {
            parts: parts.into(),
            records,
            bytes,
            waited: Duration::ZERO,
        }
    }

    /// The same, whose first record has waited so long for the others.
    #[must_use]
    pub fn after(self, waited: Duration) -> Self {
        Self { waited, ..self }
    }

    /// How long its first record has waited: since the chunk was begun, failed deliveries included.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The runs.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Number of records.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Bytes of raw records.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All events with their tags, in order; the position in this iteration is the index in a
    /// [`firelane_record::set::RecordSet`].
    pub fn events(&self) -> impl Iterator<Item = (&Tag, Event<'_>)> {
        self.parts
            .iter()
            .flat_map(|part| part.records.events().map(move |event| (&part.tag, event)))
    }

    /// The tag of the first run: of all runs, where the output groups by tag.
    pub fn tag(&self) -> Option<&Tag> {
        self.parts.first().map(|part| &part.tag)
    }
}
