//! Byte offsets to lines and columns and back, also in a template that is one long line.

use std::ops::Range;

use firelane_conf::{SourceId, Span};

/// Bytes between two counted places.
const STEP: usize = 512;

/// Where the lines of a text start, and how many characters stand before every 512th byte.
#[derive(Debug)]
pub struct Places<'a> {
    file: SourceId,
    text: &'a str,
    starts: Vec<usize>,
    counts: Vec<usize>,
}

impl<'a> Places<'a> {
    /// The lines of `text`.
    pub fn new(file: SourceId, text: &'a str) -> Self {
        Self::with_ends(file, text, |bytes, at| bytes[at] == b'\n')
    }

    /// The lines of `text` as YAML counts them: a lone carriage return ends one too.
    pub fn yaml(file: SourceId, text: &'a str) -> Self {
        Self::with_ends(file, text, |bytes, at| match bytes[at] {
            b'\n' => true,
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        })
    }

    fn with_ends(file: SourceId, text: &'a str, ends: fn(&[u8], usize) -> bool) -> Self {
        let bytes = text.as_bytes();
        let ends = (0..bytes.len()).filter(|at| ends(bytes, *at));
        let starts = std::iter::once(0).chain(ends.map(|at| at + 1)).collect();
        let mut counts = vec![0];
        for chunk in text.as_bytes().chunks(STEP) {
            counts.push(counts.last().copied().unwrap_or_default() + chars(chunk));
        }
        Self {
            file,
            text,
            starts,
            counts,
        }
    }

    /// Characters before a byte.
    fn before(&self, at: usize) -> usize {
        let at = at.min(self.text.len());
        let rest = self.text.as_bytes().get(at - at % STEP..at).unwrap_or_default();
        self.counts.get(at / STEP).copied().unwrap_or_default() + chars(rest)
    }

    /// The place of some bytes; one that goes over its line is cut at the line's end.
    pub fn span(&self, range: Range<usize>) -> Span {
        let line = self.starts.partition_point(|start| *start <= range.start).max(1) - 1;
        let start = self.starts.get(line).copied().unwrap_or_default();
        let end = self.starts.get(line + 1).map_or(self.text.len(), |next| next - 1);
        let at = self.before(range.start);
        let len = self.before(range.end.min(end)).saturating_sub(at);
        Span {
            file: self.file,
            line: line as u32 + 1,
            column: (at - self.before(start)) as u32 + 1,
            len: len.max(1) as u32,
        }
    }

    /// The byte at a line (from 1) and a column in characters (from 0).
    pub fn offset(&self, line: usize, column: usize) -> usize {
        let Some(start) = line
            .checked_sub(1)
            .and_then(|line| self.starts.get(line))
            .copied()
        else {
            return self.text.len();
        };
        let wanted = self.before(start) + column;
        let block = self.counts.partition_point(|count| *count <= wanted).max(1) - 1;
        let mut at = (block * STEP).min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at += 1;
        }
        let skip = wanted - self.before(at).min(wanted);
        let mut rest = self.text.get(at..).unwrap_or_default().char_indices();
        rest.nth(skip).map_or(self.text.len(), |(offset, _)| at + offset)
    }
}

/// How many characters start in some bytes.
fn chars(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_and_ranges_bytes() {
        let text = "{\n  \"ä\": \"öß\",\n}";
        let places = Places::new(SourceId(1), text);
        let at = text.find("\"öß\"").unwrap();
        let span = places.span(at..at + 6);
        assert_eq!((span.line, span.column, span.len), (2, 8, 4));
        assert_eq!(places.offset(2, 7), at);
        assert_eq!(places.offset(9, 0), text.len());
    }

    /// Guarantees: there and back is the same, in every line and over the counted places.
    #[test]
    fn there_and_back() {
        let text = format!("{}\nß{}\n", "aöß€".repeat(700), "x".repeat(2000));
        let places = Places::new(SourceId(1), &text);
        for (at, _) in text.char_indices() {
            let span = places.span(at..at + 1);
            assert_eq!(places.offset(span.line as usize, span.column as usize - 1), at);
        }
    }
}
