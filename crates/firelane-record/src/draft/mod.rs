//! Edits over a raw record, without decoding it.
//!
//! A draft starts as the body's bytes. Appending pairs to it needs no walk: they lie behind each other in the
//! [`Scratch`] and [`Draft::write`] copies old pairs and new pairs in one piece each. The first edit that
//! needs to know the fields (remove, rename, move) indexes them: an entry per field, values untouched where
//! they are. A record that no edit changed is written byte for byte as it came.
//!
//! Repeated keys are legal: look-ups see the last one, as Fluent Bit's do. Keys are compared by their bytes,
//! string or binary; keys of other types match nothing. Nothing is allocated per record once the scratch has
//! grown.

use crate::msgpack::{self, Pairs};
use crate::{Event, MapWriter, RecordsBuf, Timestamp};

pub mod keys;
#[cfg(test)]
mod tests;

/// The buffers of a [`Draft`], to be used again for the next one.
#[derive(Debug, Default)]
pub struct Scratch {
    fields: Vec<Field>,
    /// Bytes of keys and values that do not lie in the body.
    arena: Vec<u8>,
    /// For stable moves.
    moved: Vec<Field>,
    metadata: Vec<u8>,
    metadata_spare: Vec<u8>,
}

impl Scratch {
    /// Empty buffers.
    pub fn new() -> Self {
        Self::default()
    }
}

/// A range of the body, or of the arena when it starts behind the body (see [`resolve`]).
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

#[derive(Debug, Clone, Copy)]
struct Field {
    key: Span,
    value: Span,
}

/// Arena offset 0 is position `body.len() + 1`: the gap keeps runs of the two from looking adjacent.
#[inline]
fn resolve<'s>(body: &'s [u8], arena: &'s [u8], span: Span) -> &'s [u8] {
    let raw = if span.start <= body.len() {
        body.get(span.start..span.end)
    } else {
        let base = body.len() + 1;
        arena.get(span.start - base..span.end - base)
    };
    raw.unwrap_or_default()
}

/// Adds an entry for each of `count` pairs that start at `at` of `raw`, whose offset 0 is position `base`.
fn index_pairs(fields: &mut Vec<Field>, raw: &[u8], mut at: usize, count: u32, base: usize) {
    for _ in 0..count {
        let Ok(mid) = msgpack::skip(raw, at) else { return };
        let Ok(end) = msgpack::skip(raw, mid) else { return };
        let span = |start, end| Span {
            start: base + start,
            end: base + end,
        };
        fields.push(Field {
            key: span(at, mid),
            value: span(mid, end),
        });
        at = end;
    }
}

/// A record being edited.
#[derive(Debug)]
pub struct Draft<'a> {
    scratch: &'a mut Scratch,
    /// The entry as it came; empty for one made here.
    raw: &'a [u8],
    body: &'a [u8],
    metadata: Option<&'a [u8]>,
    time: Timestamp,
    /// Pairs of the body, and where they start.
    body_count: u32,
    body_at: usize,
    /// Whether `scratch.fields` stands for the body's pairs.
    indexed: bool,
    /// Pairs at the end that are not indexed: `tail_count` of them from `tail_at` to the end of the arena.
    tail_at: usize,
    tail_count: u32,
    metadata_edited: bool,
    touched: bool,
}

impl<'a> Draft<'a> {
    /// A draft of `event`.
    #[inline]
    pub fn new(event: &Event<'a>, scratch: &'a mut Scratch) -> Self {
        scratch.fields.clear();
        scratch.arena.clear();
        let (body_count, body_at) = match msgpack::read(event.body) {
            Some((msgpack::Token::Map(count), used)) => (count, used),
            _ => (0, event.body.len()),
        };
        Self {
            scratch,
            raw: event.raw,
            body: event.body,
            metadata: event.metadata,
            time: event.time,
            body_count,
            body_at,
            indexed: false,
            tail_at: 0,
            tail_count: 0,
            metadata_edited: false,
            touched: false,
        }
    }

    /// A draft of a record that is no entry of a run: `body` and `metadata` are checked raw maps.
    pub fn fresh(
        time: Timestamp,
        metadata: Option<&'a [u8]>,
        body: &'a [u8],
        scratch: &'a mut Scratch,
    ) -> Self {
        let event = Event {
            time,
            metadata,
            body,
            raw: &[],
        };
        let mut draft = Self::new(&event, scratch);
        draft.touched = true;
        draft
    }

    /// When it happened.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// Sets the time.
    pub fn set_time(&mut self, time: Timestamp) {
        self.touched |= self.time != time;
        self.time = time;
    }

    /// The raw metadata map; `None` in the `[time, body]` shape.
    pub fn metadata(&self) -> Option<&[u8]> {
        if self.metadata_edited {
            Some(&self.scratch.metadata)
        } else {
            self.metadata
        }
    }

    /// Appends a pair to the metadata; `raw` is one checked value.
    pub fn add_metadata(&mut self, key: &[u8], raw: &[u8]) {
        let mut old = std::mem::take(&mut self.scratch.metadata_spare);
        old.clear();
        old.extend_from_slice(self.metadata().unwrap_or(&[0x80]));
        let (count, used) = match msgpack::read(&old) {
            Some((msgpack::Token::Map(count), used)) => (count, used),
            _ => (0, old.len()),
        };
        let out = &mut self.scratch.metadata;
        out.clear();
        msgpack::write_map_head(out, count + 1);
        out.extend_from_slice(&old[used..]);
        msgpack::write_str(out, key);
        out.extend_from_slice(raw);
        self.scratch.metadata_spare = old;
        self.metadata_edited = true;
        self.touched = true;
    }

    /// Replaces the metadata by a checked raw map.
    pub fn set_metadata(&mut self, map: &[u8]) {
        self.scratch.metadata.clear();
        self.scratch.metadata.extend_from_slice(map);
        self.metadata_edited = true;
        self.touched = true;
    }

    /// Whether nothing was changed.
    pub fn is_untouched(&self) -> bool {
        !self.touched
    }

    /// Fields, repeated keys counted each.
    pub fn len(&self) -> usize {
        let old = if self.indexed {
            self.scratch.fields.len()
        } else {
            self.body_count as usize
        };
        old + self.tail_count as usize
    }

    /// Whether it has no field.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Indexes the fields now: worth it ahead of several look-ups.
    pub fn index(&mut self) {
        let Scratch { fields, arena, .. } = &mut *self.scratch;
        if !self.indexed {
            index_pairs(fields, self.body, self.body_at, self.body_count, 0);
            self.indexed = true;
        }
        if self.tail_count > 0 {
            index_pairs(fields, arena, self.tail_at, self.tail_count, self.body.len() + 1);
            self.tail_count = 0;
        }
        self.tail_at = arena.len();
    }

    /// The fields in order: raw key, raw value.
    #[inline]
    pub fn fields(&self) -> Fields<'_> {
        let tail = self.scratch.arena.get(self.tail_at..).unwrap_or_default();
        let (body_count, indexed) = if self.indexed {
            (0, &*self.scratch.fields)
        } else {
            (self.body_count, &[][..])
        };
        Fields {
            body: self.body,
            arena: &self.scratch.arena,
            pairs: msgpack::bare_pairs(self.body.get(self.body_at..).unwrap_or_default(), body_count),
            indexed: indexed.iter(),
            tail: msgpack::bare_pairs(tail, self.tail_count),
        }
    }

    /// The field at an index: raw key, raw value.
    pub fn field(&self, index: usize) -> Option<(&[u8], &[u8])> {
        self.fields().nth(index)
    }

    /// The raw value of the last field of that key.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.fields()
            .filter(|(raw, _)| keys::is(raw, key))
            .last()
            .map(|(_, value)| value)
    }

    /// The bytes of the last value of that key if it is a string.
    #[inline]
    pub fn get_str(&self, key: &[u8]) -> Option<&[u8]> {
        msgpack::str_bytes(self.get(key)?)
    }

    /// Whether a field has that key.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.fields().any(|(raw, _)| keys::is(raw, key))
    }

    /// How many fields have that key.
    pub fn count(&self, key: &[u8]) -> usize {
        self.fields().filter(|(raw, _)| keys::is(raw, key)).count()
    }

    /// The index of the last field of that key.
    pub fn position(&self, key: &[u8]) -> Option<usize> {
        self.fields()
            .enumerate()
            .filter(|(_, (raw, _))| keys::is(raw, key))
            .last()
            .map(|(index, _)| index)
    }

    /// Appends a field; `raw` is one checked value.
    #[inline]
    pub fn push(&mut self, key: &[u8], raw: &[u8]) {
        self.push_with(key, |out| out.extend_from_slice(raw));
    }

    /// Appends a field with a string value.
    #[inline]
    pub fn push_str(&mut self, key: &[u8], text: &[u8]) {
        self.push_with(key, |out| msgpack::write_str(out, text));
    }

    /// Appends a field whose value `write` appends: exactly one.
    #[inline]
    pub fn push_with(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        msgpack::write_str(&mut self.scratch.arena, key);
        write(&mut self.scratch.arena);
        self.tail_count += 1;
        self.touched = true;
    }

    /// Appends `count` pairs that were encoded before: what is constant costs one copy.
    #[inline]
    pub fn push_pairs(&mut self, pairs: &[u8], count: u32) {
        self.scratch.arena.extend_from_slice(pairs);
        self.tail_count += count;
        self.touched |= count > 0;
    }

    /// Removes all fields of that key and appends it anew; `raw` is one checked value.
    pub fn set(&mut self, key: &[u8], raw: &[u8]) {
        self.remove(key);
        self.push(key, raw);
    }

    /// [`set`](Self::set) to a string.
    pub fn set_str(&mut self, key: &[u8], text: &[u8]) {
        self.remove(key);
        self.push_str(key, text);
    }

    /// Removes all fields of exactly that key; how many.
    pub fn remove(&mut self, key: &[u8]) -> usize {
        self.retain_raw(|raw| !keys::is(raw, key))
    }

    /// Removes the fields whose key text `pred` chooses; how many. Keys that are no text stay.
    pub fn remove_where(&mut self, mut pred: impl FnMut(&[u8]) -> bool) -> usize {
        self.retain_raw(|key| !msgpack::text(key).is_some_and(&mut pred))
    }

    /// Keeps only the fields whose key text `pred` chooses; how many went. Keys that are no text go.
    pub fn retain_where(&mut self, mut pred: impl FnMut(&[u8]) -> bool) -> usize {
        self.retain_raw(|key| msgpack::text(key).is_some_and(&mut pred))
    }

    fn retain_raw(&mut self, mut keep: impl FnMut(&[u8]) -> bool) -> usize {
        self.index();
        let Scratch { fields, arena, .. } = &mut *self.scratch;
        let before = fields.len();
        fields.retain(|field| keep(resolve(self.body, arena, field.key)));
        let gone = before - fields.len();
        self.touched |= gone > 0;
        gone
    }

    /// Puts bytes into the arena that no pair of the tail is part of. The fields are indexed.
    fn stash(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        debug_assert!(self.indexed && self.tail_count == 0, "stash only behind index()");
        let base = self.body.len() + 1;
        let arena = &mut self.scratch.arena;
        let start = base + arena.len();
        write(arena);
        self.tail_at = arena.len();
        self.touched = true;
        Span {
            start,
            end: base + self.tail_at,
        }
    }

    /// Renames all fields of a key in place; how many.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> usize {
        if !self.contains(from) {
            return 0;
        }
        self.index();
        let key = self.stash(|arena| msgpack::write_str(arena, to));
        let Scratch { fields, arena, .. } = &mut *self.scratch;
        let mut renamed = 0;
        for field in fields.iter_mut() {
            if keys::is(resolve(self.body, arena, field.key), from) {
                field.key = key;
                renamed += 1;
            }
        }
        renamed
    }

    /// Inserts a field behind the one at `index`, at the end where there is none; `raw` is one checked value.
    pub fn insert_after(&mut self, index: usize, key: &[u8], raw: &[u8]) {
        self.index();
        let key = self.stash(|arena| msgpack::write_str(arena, key));
        let value = self.stash(|arena| arena.extend_from_slice(raw));
        self.insert_at(index.saturating_add(1), Field { key, value });
    }

    /// Inserts a copy of the field at `index` behind it, under another key. False where there is none.
    pub fn copy_after(&mut self, index: usize, key: &[u8]) -> bool {
        self.index();
        let Some(&Field { value, .. }) = self.scratch.fields.get(index) else {
            return false;
        };
        let key = self.stash(|arena| msgpack::write_str(arena, key));
        self.insert_at(index + 1, Field { key, value });
        true
    }

    fn insert_at(&mut self, index: usize, field: Field) {
        let fields = &mut self.scratch.fields;
        fields.insert(index.min(fields.len()), field);
    }

    /// Moves the fields whose key text `pred` chooses to the start; their order and that of the rest stay.
    pub fn move_to_start_where(&mut self, pred: impl FnMut(&[u8]) -> bool) {
        self.partition(pred, true);
    }

    /// Moves the fields whose key text `pred` chooses to the end; their order and that of the rest stay.
    pub fn move_to_end_where(&mut self, pred: impl FnMut(&[u8]) -> bool) {
        self.partition(pred, false);
    }

    fn partition(&mut self, mut pred: impl FnMut(&[u8]) -> bool, to_start: bool) {
        self.index();
        let Scratch {
            fields, arena, moved, ..
        } = &mut *self.scratch;
        moved.clear();
        fields.retain(|field| {
            let chosen = msgpack::text(resolve(self.body, arena, field.key)).is_some_and(&mut pred);
            if chosen {
                moved.push(*field);
            }
            !chosen
        });
        self.touched |= !moved.is_empty();
        if to_start {
            std::mem::swap(fields, moved);
        }
        fields.append(moved);
    }

    /// Replaces all fields by those of `pairs`.
    pub fn replace_all(&mut self, pairs: &MapWriter) {
        self.scratch.fields.clear();
        self.scratch.arena.clear();
        self.indexed = true;
        self.tail_at = 0;
        self.tail_count = 0;
        self.touched = true;
        self.push_pairs(pairs.pairs(), pairs.count());
    }

    /// Puts the fields of `pairs` before all others.
    pub fn prepend(&mut self, pairs: &MapWriter) {
        self.index();
        let span = self.stash(|arena| arena.extend_from_slice(pairs.pairs()));
        let base = self.body.len() + 1;
        let Scratch { fields, arena, .. } = &mut *self.scratch;
        let before = fields.len();
        index_pairs(fields, arena, span.start - base, pairs.count(), base);
        fields.rotate_left(before);
    }

    /// Appends the event to a run: as it came where nothing was changed.
    #[inline]
    pub fn write(&self, out: &mut RecordsBuf) {
        if self.touched {
            out.push_with(self.time, self.metadata(), |out| self.body_into(out));
        } else {
            out.push_event(&Event {
                time: self.time,
                metadata: self.metadata,
                body: self.body,
                raw: self.raw,
            });
        }
    }

    /// Appends the body, one map, to `out`.
    #[inline]
    pub fn body_into(&self, out: &mut Vec<u8>) {
        if !self.touched {
            out.extend_from_slice(self.body);
            return;
        }
        msgpack::write_map_head(out, u32::try_from(self.len()).unwrap_or(u32::MAX));
        if self.indexed {
            self.fields_into(out);
        } else {
            out.extend_from_slice(self.body.get(self.body_at..).unwrap_or_default());
        }
        out.extend_from_slice(self.scratch.arena.get(self.tail_at..).unwrap_or_default());
    }

    /// Copies the indexed fields, adjacent ones in one piece.
    fn fields_into(&self, out: &mut Vec<u8>) {
        let Scratch { fields, arena, .. } = &*self.scratch;
        let mut run = Span { start: 0, end: 0 };
        for span in fields.iter().flat_map(|field| [field.key, field.value]) {
            if span.start == run.end {
                run.end = span.end;
            } else {
                out.extend_from_slice(resolve(self.body, arena, run));
                run = span;
            }
        }
        out.extend_from_slice(resolve(self.body, arena, run));
    }
}

/// Iterator over the fields of a [`Draft`].
#[derive(Debug, Clone)]
pub struct Fields<'d> {
    body: &'d [u8],
    arena: &'d [u8],
    pairs: Pairs<'d>,
    indexed: std::slice::Iter<'d, Field>,
    tail: Pairs<'d>,
}

impl<'d> Iterator for Fields<'d> {
    type Item = (&'d [u8], &'d [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(field) = self.indexed.next() {
            let key = resolve(self.body, self.arena, field.key);
            return Some((key, resolve(self.body, self.arena, field.value)));
        }
        self.pairs.next().or_else(|| self.tail.next())
    }
}
