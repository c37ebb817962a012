//! Sets of bytes: a small form to reckon with, and one to look bytes up in and to scan texts with.

use memchr::{memchr, memchr2, memchr3, memrchr};

/// A set of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ByteSet([u64; 4]);

impl ByteSet {
    /// Every byte.
    pub(super) const ALL: Self = Self([u64::MAX; 4]);

    /// These bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut set = Self::default();
        for &byte in bytes {
            set.add_range(byte, byte);
        }
        set
    }

    /// Adds the bytes `from..=to`.
    pub(super) fn add_range(&mut self, from: u8, to: u8) {
        for byte in from..=to {
            self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
        }
    }

    /// Whether `byte` is in it.
    pub(super) fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    /// The bytes of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] & other.0[i]))
    }

    /// The bytes of either.
    pub(super) fn or(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] | other.0[i]))
    }

    /// The bytes that are not in it.
    pub(super) fn not(self) -> Self {
        Self(self.0.map(|word| !word))
    }

    /// Whether it has no byte.
    pub(super) fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    /// Its bytes, in order.
    pub(super) fn bytes(&self) -> Vec<u8> {
        (0..=u8::MAX).filter(|&byte| self.contains(byte)).collect()
    }
}

/// A set to look bytes up in.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Table([bool; 256]);

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Table")
    }
}

impl Table {
    /// The table of a set.
    pub(super) fn new(set: &ByteSet) -> Self {
        let mut table = [false; 256];
        for byte in set.bytes() {
            table[usize::from(byte)] = true;
        }
        Self(table)
    }

    /// Whether `byte` is in it.
    #[inline]
    pub(super) fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }
}

/// What may come at a place of the text: some bytes, and perhaps the end of the text.
#[derive(Debug, Clone)]
pub(super) struct Next {
    table: Table,
    end: bool,
}

impl Next {
    /// A byte of `set`, or the end of the text if `end`.
    pub(super) fn new(set: &ByteSet, end: bool) -> Self {
        let table = Table::new(set);
        Self { table, end }
    }

    /// Whether what stands at `at` is possible.
    #[inline]
    pub(super) fn fits(&self, text: &[u8], at: usize) -> bool {
        text.get(at).map_or(self.end, |&byte| self.table.has(byte))
    }
}

/// Finds the next byte of a set.
#[derive(Debug, Clone)]
pub(super) enum Scan {
    /// No byte is in it.
    Never,
    /// One byte.
    One(u8),
    /// Two.
    Two(u8, u8),
    /// Three.
    Three(u8, u8, u8),
    /// More.
    Table(Box<Table>),
}

impl Scan {
    /// Looks for the bytes of `set`.
    pub(super) fn new(set: &ByteSet) -> Self {
        match set.bytes()[..] {
            [] => Self::Never,
            [a] => Self::One(a),
            [a, b] => Self::Two(a, b),
            [a, b, c] => Self::Three(a, b, c),
            _ => Self::Table(Box::new(Table::new(set))),
        }
    }

    /// The first place at or after `from` with a byte of the set, or the end of the text.
    #[inline]
    pub(super) fn find(&self, text: &[u8], from: usize) -> usize {
        let tail = text.get(from..).unwrap_or_default();
        let found = match self {
            Self::Never => None,
            Self::One(a) => memchr(*a, tail),
            Self::Two(a, b) => memchr2(*a, *b, tail),
            Self::Three(a, b, c) => memchr3(*a, *b, *c, tail),
            Self::Table(table) => tail.iter().position(|&byte| table.has(byte)),
        };
        found.map_or(text.len(), |at| from + at)
    }

    /// The last place in `text` with a byte of the set.
    pub(super) fn find_last(&self, text: &[u8]) -> Option<usize> {
        match self {
            Self::Never => None,
            Self::One(a) => memrchr(*a, text),
            Self::Two(a, b) => text.iter().rposition(|byte| byte == a || byte == b),
            Self::Three(a, b, c) => text.iter().rposition(|byte| byte == a || byte == b || byte == c),
            Self::Table(table) => text.iter().rposition(|&byte| table.has(byte)),
        }
    }
}
