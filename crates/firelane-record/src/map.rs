//! Builds one map pair by pair, as parsers do: the number of pairs need not be known first.

use crate::msgpack;

/// A map under construction. Keep one and [`clear`](Self::clear) it, so that its buffer is allocated once.
#[derive(Debug, Default, Clone)]
pub struct MapWriter {
    pairs: Vec<u8>,
    count: u32,
}

impl MapWriter {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all pairs, keeps the buffer.
    pub fn clear(&mut self) {
        self.pairs.clear();
        self.count = 0;
    }

    /// Pairs so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The raw pairs, without a map head.
    pub fn pairs(&self) -> &[u8] {
        &self.pairs
    }

    /// Appends a string pair.
    #[inline]
    pub fn str(&mut self, key: &[u8], value: &[u8]) {
        msgpack::write_str(self.key(key), value);
    }

    /// Appends a pair whose value is raw MessagePack: exactly one checked value.
    #[inline]
    pub fn raw(&mut self, key: &[u8], value: &[u8]) {
        self.key(key).extend_from_slice(value);
    }

    /// Appends a raw key and a raw value.
    #[inline]
    pub fn raw_pair(&mut self, key: &[u8], value: &[u8]) {
        self.pairs.extend_from_slice(key);
        self.pairs.extend_from_slice(value);
        self.count += 1;
    }

    /// Appends a key; the caller writes exactly one value into the buffer it gets.
    #[inline]
    pub fn key(&mut self, key: &[u8]) -> &mut Vec<u8> {
        msgpack::write_str(&mut self.pairs, key);
        self.count += 1;
        &mut self.pairs
    }

    /// Appends pairs that `write` writes; it gives their number.
    pub fn write_pairs<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<u32, E>) -> Result<(), E> {
        let before = self.pairs.len();
        match write(&mut self.pairs) {
            Ok(count) => {
                self.count += count;
                Ok(())
            }
            Err(error) => {
                self.pairs.truncate(before);
                Err(error)
            }
        }
    }

    /// A point to come back to with [`rewind`](Self::rewind).
    pub fn mark(&self) -> (usize, u32) {
        (self.pairs.len(), self.count)
    }

    /// Drops all pairs since `mark`.
    pub fn rewind(&mut self, mark: (usize, u32)) {
        self.pairs.truncate(mark.0);
        self.count = mark.1;
    }

    /// Takes away the pair that lies at `range` of [`pairs`](Self::pairs): exactly one.
    pub fn remove_pair(&mut self, range: std::ops::Range<usize>) {
        self.pairs.drain(range);
        self.count = self.count.saturating_sub(1);
    }

    /// Appends the whole map, head and pairs.
    pub fn write(&self, out: &mut Vec<u8>) {
        msgpack::write_map_head(out, self.count);
        out.extend_from_slice(&self.pairs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_counted_and_taken_back() {
        let mut map = MapWriter::new();
        map.str(b"a", b"b");
        let mark = map.mark();
        map.raw(b"c", &[1]);
        map.key(b"d").push(0xc0);
        map.rewind(mark);
        map.raw_pair(&[0xa1, b'e'], &[2]);
        let refused: Result<(), ()> = map.write_pairs(|out| {
            out.push(7);
            Err(())
        });
        assert!(refused.is_err());
        let mut out = Vec::new();
        map.write(&mut out);
        assert_eq!(out, [0x82, 0xa1, b'a', 0xa1, b'b', 0xa1, b'e', 2]);
        map.clear();
        assert_eq!((map.count(), map.pairs()), (0, &[][..]));
    }
}
