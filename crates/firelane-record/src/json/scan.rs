//! Finds where JSON values end in a buffer that grows, without reading any byte twice.
//!
//! Values may follow each other with or without blanks, be printed over many lines, and be cut anywhere. Only
//! brackets and quotes are looked at; [`to_msgpack`](super::to_msgpack) checks the rest.

use std::ops::Range;

use memchr::memchr2;

use super::read::DEPTH_MAX;

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scan {
    /// A value lies there.
    Value(Range<usize>),
    /// The buffer ends before the next value does; scan again when there is more.
    Incomplete,
    /// The byte at `at` cannot be part of JSON there. The scan does not go on by itself: see
    /// [`Scanner::resume_at`].
    Bad {
        /// Offset in the buffer.
        at: usize,
    },
}

/// Where a scan stands. Offsets are those of the buffer, which always begins at the same byte but for
/// [`consumed`](Self::consumed).
#[derive(Debug, Clone, Default)]
pub struct Scanner {
    /// Start of the open value, or of what is not looked at yet.
    start: usize,
    at: usize,
    state: State,
    depth: usize,
    /// The open brackets, innermost lowest: 1 for `{`.
    braces: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Between,
    /// In a container, outside of strings.
    Inside,
    String,
    /// Behind a `\` in a string.
    Escape,
    /// In a number or word that is a value of its own.
    Word,
}

const _: () = assert!(DEPTH_MAX < 32, "the open brackets fit `braces`");

impl Scanner {
    /// A scan at the start of a buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds the end of the next value.
    pub fn scan(&mut self, buf: &[u8]) -> Scan {
        while let Some(&byte) = buf.get(self.at) {
            let found = match self.state {
                State::String => {
                    let rest = &buf[self.at..];
                    let Some(hit) = memchr2(b'"', b'\\', rest) else {
                        self.at = buf.len();
                        break;
                    };
                    self.at += hit + 1;
                    self.end_of_string_run(rest[hit])
                }
                State::Escape => {
                    self.at += 1;
                    self.state = State::String;
                    None
                }
                State::Word if is_word(byte) => {
                    self.at += 1;
                    None
                }
                State::Word => Some(self.value()),
                State::Between | State::Inside => self.structure(byte),
            };
            if let Some(found) = found {
                return found;
            }
        }
        Scan::Incomplete
    }

    /// As [`scan`](Self::scan), where no more bytes will come: a number or word at the end is whole.
    pub fn finish(&mut self, buf: &[u8]) -> Scan {
        match self.scan(buf) {
            Scan::Incomplete if self.state == State::Word => self.value(),
            found => found,
        }
    }

    /// Offset of the first byte that belongs to no value given so far: what lies before it may go.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Whether a value is open at the end of the buffer.
    pub fn is_open(&self) -> bool {
        self.state != State::Between
    }

    /// The first `count` bytes of the buffer were dropped; not more than [`start`](Self::start).
    pub fn consumed(&mut self, count: usize) {
        self.start = self.start.saturating_sub(count);
        self.at = self.at.saturating_sub(count);
    }

    /// Forgets an open value and goes on at an offset.
    pub fn resume_at(&mut self, at: usize) {
        *self = Self {
            start: at,
            at,
            ..Self::default()
        };
    }

    fn value(&mut self) -> Scan {
        let range = self.start..self.at;
        self.start = self.at;
        self.state = State::Between;
        Scan::Value(range)
    }

    fn end_of_string_run(&mut self, byte: u8) -> Option<Scan> {
        if byte == b'\\' {
            self.state = State::Escape;
            return None;
        }
        if self.depth == 0 {
            return Some(self.value());
        }
        self.state = State::Inside;
        None
    }

    /// Takes one byte outside of strings.
    fn structure(&mut self, byte: u8) -> Option<Scan> {
        let between = self.state == State::Between;
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {
                self.at += 1;
                if between {
                    self.start = self.at;
                }
            }
            b'"' => {
                self.at += 1;
                self.state = State::String;
            }
            b'{' | b'[' if self.depth < DEPTH_MAX => {
                self.at += 1;
                self.depth += 1;
                self.braces = self.braces << 1 | u32::from(byte == b'{');
                self.state = State::Inside;
            }
            b'}' | b']' if self.depth > 0 && (self.braces & 1 == 1) == (byte == b'}') => {
                self.at += 1;
                self.depth -= 1;
                self.braces >>= 1;
                if self.depth == 0 {
                    return Some(self.value());
                }
            }
            b'{' | b'[' | b'}' | b']' => return Some(Scan::Bad { at: self.at }),
            b',' | b':' if !between => self.at += 1,
            _ if is_word(byte) => {
                self.at += 1;
                if between {
                    self.state = State::Word;
                }
            }
            _ => return Some(Scan::Bad { at: self.at }),
        }
        None
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All values of `text`, fed in pieces that end at `cuts`; drops what was consumed after each piece.
    fn values(text: &[u8], cuts: &[usize]) -> Result<Vec<Vec<u8>>, usize> {
        let mut scanner = Scanner::new();
        let mut found = Vec::new();
        let (mut buf, mut dropped) = (Vec::new(), 0);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        for cut in cuts.windows(2) {
            buf.extend_from_slice(&text[cut[0]..cut[1]]);
            loop {
                match scanner.scan(&buf) {
                    Scan::Value(range) => found.push(buf[range].to_vec()),
                    Scan::Incomplete => break,
                    Scan::Bad { at } => return Err(dropped + at),
                }
            }
            let gone = scanner.start();
            buf.drain(..gone);
            dropped += gone;
            scanner.consumed(gone);
        }
        match scanner.finish(&buf) {
            Scan::Value(range) => found.push(buf[range].to_vec()),
            Scan::Incomplete => {}
            Scan::Bad { at } => return Err(dropped + at),
        }
        Ok(found)
    }

    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        let got = values(text.as_bytes(), &[]).unwrap();
        let got: Vec<_> = got.iter().map(|value| str::from_utf8(value).unwrap()).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn values_follow_each_other() {
        check(
            "{\"a\":1}\n{\"a\":2}{\"a\":3}",
            &["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"],
        );
        check(
            " [1,[2]] 12 \"x\\\"}\" true{}",
            &["[1,[2]]", "12", "\"x\\\"}\"", "true", "{}"],
        );
        check("{\"s\":\"}{\\\\\"}", &["{\"s\":\"}{\\\\\"}"]);
        check("{\n \"a\": [\n  1\n ]\n}\n", &["{\n \"a\": [\n  1\n ]\n}"]);
        check("7", &["7"]);
        check(" \n", &[]);
        check("{\"cut\":", &[]);
    }

    #[test]
    fn brackets_must_match() {
        assert_eq!(values(b"{]", &[]), Err(1));
        assert_eq!(values(b"1 }", &[]), Err(2));
        assert_eq!(values(b"{} ,", &[]), Err(3));
        assert_eq!(values("[".repeat(99).as_bytes(), &[]), Err(DEPTH_MAX));
    }

    #[test]
    fn a_scan_goes_on_behind_a_fault() {
        let mut scanner = Scanner::new();
        let text = b"{] {\"a\":1}";
        assert_eq!(scanner.scan(text), Scan::Bad { at: 1 });
        scanner.resume_at(2);
        assert_eq!(scanner.scan(text), Scan::Value(3..10));
    }

    proptest! {
        /// Scenario: any text arrives in any pieces. Guarantees: the same values as in one piece.
        #[test]
        fn pieces_do_not_matter(
            text in "([\\[\\]{}\"\\\\,: a1]|\\{\"a\":\\[1\\]\\}|\"\\\\\"\"){0,12}",
            cuts in prop::collection::vec(any::<usize>(), 0..6),
        ) {
            prop_assert_eq!(values(text.as_bytes(), &cuts), values(text.as_bytes(), &[]));
        }
    }
}
