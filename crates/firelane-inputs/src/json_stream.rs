//! JSON values out of a stream of bytes: found by structure, not by lines.
//!
//! Values may follow each other with or without blanks, commas or NULs between, be printed over many
//! lines and be cut anywhere. A value that is broken costs itself; text that is no JSON costs its line.
//! (Fluent Bit throws away all that was read with it.) A value over the limit is skipped without being
//! kept.

use bytes::{Buf, BytesMut};
use firelane_record::json::{JsonErrorKind, Scan, Scanner, to_msgpack};

/// Where a stream stands. Offsets of the scanner are those of the buffer as the last call left it.
#[derive(Debug, Default)]
pub(crate) struct JsonStream {
    scanner: Scanner,
    state: State,
    /// The value as MessagePack; kept for its memory.
    value: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a value.
    #[default]
    Between,
    /// In a value whose end the scanner looks for.
    Open,
    /// In a value that is over the limit: its bytes are thrown away.
    Long,
    /// Behind a fault: everything up to the end of the line is thrown away.
    Line,
}

impl JsonStream {
    /// Gives every whole value of `buffer`, as MessagePack, to `take`, which says whether it was a
    /// record, and drops it from the buffer. An open value of more than `limit` bytes is given up.
    /// `ended`: nothing will follow. Gives the number of pieces that were no record.
    pub(crate) fn drain(
        &mut self,
        buffer: &mut BytesMut,
        limit: usize,
        ended: bool,
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> u64 {
        let mut bad = 0;
        let mut at = 0;
        while at < buffer.len() {
            let rest = match self.state {
                State::Line => match memchr::memchr(b'\n', &buffer[at..]) {
                    Some(end) => {
                        self.state = State::Between;
                        at += end + 1;
                        continue;
                    }
                    None => buffer.len(),
                },
                State::Between => {
                    at = self.begin(buffer, at, limit, &mut bad, &mut take);
                    continue;
                }
                State::Open | State::Long => match self.go_on(buffer, limit, ended, &mut bad, &mut take) {
                    Some(end) => {
                        at = end;
                        continue;
                    }
                    None => self.hold(buffer.len(), limit),
                },
            };
            at = rest;
            break;
        }
        if ended && matches!(self.state, State::Open | State::Long) {
            bad += 1;
            at = buffer.len();
            self.state = State::Between;
        }
        buffer.advance(at);
        bad
    }

    /// At `at`, before a value: takes it if it is whole, else leaves it to the scanner. Gives where to go on.
    fn begin(
        &mut self,
        buffer: &[u8],
        at: usize,
        limit: usize,
        bad: &mut u64,
        take: &mut impl FnMut(&[u8]) -> bool,
    ) -> usize {
        match buffer[at] {
            b' ' | b'\t' | b'\n' | b'\r' | b',' | 0 => return at + 1,
            b'{' | b'[' => {
                self.value.clear();
                match to_msgpack(&buffer[at..], &mut self.value) {
                    Ok(len) => {
                        *bad += u64::from(len > limit || !take(&self.value));
                        return at + len;
                    }
                    // Cut, or broken: its end is where its brackets close.
                    Err(_) => self.state = State::Open,
                }
            }
            _ => self.state = State::Open,
        }
        self.scanner.resume_at(at);
        at
    }

    /// In a value: takes it if it is whole now. Gives where to go on; none: more bytes are needed.
    fn go_on(
        &mut self,
        buffer: &[u8],
        limit: usize,
        ended: bool,
        bad: &mut u64,
        take: &mut impl FnMut(&[u8]) -> bool,
    ) -> Option<usize> {
        let found = if ended {
            self.scanner.finish(buffer)
        } else {
            self.scanner.scan(buffer)
        };
        match found {
            Scan::Incomplete => None,
            Scan::Bad { at } => {
                *bad += 1;
                self.state = State::Line;
                Some(at)
            }
            Scan::Value(range) => {
                let too_long = self.state == State::Long || range.len() > limit;
                self.state = State::Between;
                let end = range.end;
                let text = &buffer[range];
                self.value.clear();
                let read = if too_long {
                    Ok(0)
                } else {
                    to_msgpack(text, &mut self.value)
                };
                let taken = !too_long && read.is_ok() && take(&self.value);
                *bad += u64::from(!taken);
                let is_word = !matches!(text.first(), Some(b'{' | b'[' | b'"'));
                let not_json = |error: &firelane_record::json::JsonError| error.kind != JsonErrorKind::Range;
                if is_word && !too_long && read.as_ref().is_err_and(not_json) {
                    self.state = State::Line;
                }
                Some(end)
            }
        }
    }

    /// The open value needs more bytes: how many of `len` may go.
    fn hold(&mut self, len: usize, limit: usize) -> usize {
        let start = self.scanner.start();
        let gone = if self.state == State::Long || len - start > limit {
            self.state = State::Long;
            len
        } else {
            start
        };
        self.scanner.consumed(gone);
        gone
    }
}

#[cfg(test)]
mod tests {
    use firelane_record::msgpack::Reader;
    use proptest::prelude::*;

    use super::*;

    /// The objects of a text that arrives in pieces, as the number under their first key, and the faults.
    fn read(pieces: &[&[u8]], limit: usize) -> (Vec<i64>, u64) {
        let mut stream = JsonStream::default();
        let mut buffer = BytesMut::new();
        let (mut found, mut bad) = (Vec::new(), 0);
        for (index, piece) in pieces.iter().enumerate() {
            buffer.extend_from_slice(piece);
            let ended = index + 1 == pieces.len();
            bad += stream.drain(&mut buffer, limit, ended, |raw| {
                let mut reader = Reader::new(raw);
                let number = match (reader.token(), reader.token(), reader.token()) {
                    (
                        Some(firelane_record::msgpack::Token::Map(_)),
                        Some(_),
                        Some(firelane_record::msgpack::Token::Int(n)),
                    ) => Some(n),
                    _ => None,
                };
                found.extend(number);
                number.is_some()
            });
        }
        assert!(buffer.is_empty(), "nothing stays behind");
        (found, bad)
    }

    #[track_caller]
    fn check(text: &str, want: &[i64], bad: u64) {
        assert_eq!(
            read(&[text.as_bytes()], 100),
            (want.to_vec(), bad),
            "in one piece: {text}"
        );
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        if !bytes.is_empty() {
            assert_eq!(read(&bytes, 100), (want.to_vec(), bad), "byte by byte: {text}");
        }
    }

    #[test]
    fn values_by_structure() {
        check("", &[], 0);
        check("{\"a\":1}\n{\"a\":2}{\"a\":3}\r\n", &[1, 2, 3], 0);
        check("{\"a\":1},{\"a\":2}\0{\"a\":3}\0", &[1, 2, 3], 0);
        check("{\n  \"a\": 1\n}\n{\n  \"a\": 2\n}", &[1, 2], 0);
    }

    #[test]
    fn a_fault_costs_itself() {
        check("not json\n{\"a\":1}\n", &[1], 1);
        check("{\"a\":1}\nnot json {\"a\":7}\n{\"a\":2}", &[1, 2], 1);
        check("{\"a\":01}{\"a\":2}", &[2], 1);
        check("{\"a\":1]\n{\"a\":2}", &[2], 1);
        check("}\n{\"a\":2}", &[2], 1);
        check("\"text\" 12 true\n{\"a\":2}", &[2], 3);
        check("\u{1}\u{2}\n{\"a\":2}", &[2], 1);
        check("{\"a\":1}{\"a\":", &[1], 1);
    }

    #[test]
    fn a_long_value_is_skipped_and_not_kept() {
        let text = format!("{{\"a\":1}}{{\"b\":\"{}\"}}{{\"a\":2}}", "x}".repeat(300));
        let mut stream = JsonStream::default();
        let mut buffer = BytesMut::new();
        let (mut taken, mut bad) = (0, 0);
        for piece in text.as_bytes().chunks(10) {
            buffer.extend_from_slice(piece);
            bad += stream.drain(&mut buffer, 100, false, |_| {
                taken += 1;
                true
            });
            assert!(buffer.len() <= 100, "{} bytes are kept", buffer.len());
        }
        assert_eq!((taken, bad), (2, 1));
    }

    proptest! {
        /// Scenario: any text arrives in any pieces. Guarantees: the same values and faults as in one piece.
        #[test]
        fn pieces_do_not_matter(
            text in "(\\{\"a\":[0-9]\\}|[\\[\\]{}\"\\\\,: a1\n]|\\{\"b\":\"\\}\"\\}){0,16}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(read(&pieces, 1000), read(&[bytes], 1000));
        }
    }
}
