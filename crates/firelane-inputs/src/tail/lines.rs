//! Bytes of a file to lines, wherever the reads happen to cut them.
//!
//! LF ends a line; one CR before it is cut where the line has other content. At most [`Splitter::new`]'s
//! `max` bytes of an unfinished line are held. Offsets are bytes from the start of the file.

use memchr::memchr;

/// What becomes of a line over the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum LongLines {
    /// It goes on in pieces, each marked with its [`Part`]: nothing is lost.
    #[default]
    Split,
    /// It is left out and counted in [`Splitter::take_skipped`].
    Skip,
    /// Its head goes on, the rest is left out.
    Truncate,
}

/// Which piece of a long line this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Offset of the whole line: names it within its file.
    pub(super) line: u64,
    /// Position among the pieces, from 1.
    pub(super) ordinal: u32,
    /// Whether the line ends here.
    pub(super) last: bool,
}

/// A line, or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The text without its line end.
    pub(super) text: &'a [u8],
    /// Offset of its first byte.
    pub(super) offset: u64,
    /// Set on pieces of a long line.
    pub(super) part: Option<Part>,
}

/// Splits the bytes of one file.
#[derive(Debug)]
pub(super) struct Splitter {
    max: usize,
    long: LongLines,
    /// The unfinished line or piece; `carry.len() <= max`.
    carry: Vec<u8>,
    /// Offset of the first byte of `carry`.
    start: u64,
    /// Bytes of the unfinished line that were left out behind `carry`.
    left_out: u64,
    /// The long line that is being split: its offset and the pieces so far.
    inside: Option<(u64, u32)>,
    skipped: u64,
}

impl Splitter {
    /// A splitter at the byte `offset` of a file, for lines of up to `max` bytes (at least 1).
    pub(super) fn new(offset: u64, max: usize, long: LongLines) -> Self {
        Self {
            max: max.max(1),
            long,
            carry: Vec::new(),
            start: offset,
            left_out: 0,
            inside: None,
            skipped: 0,
        }
    }

    /// Where a restart has to read from: everything before was given out.
    pub(super) fn safe(&self) -> u64 {
        self.start
    }

    /// Offset of the byte to feed next.
    pub(super) fn next(&self) -> u64 {
        self.start + self.carry.len() as u64 + self.left_out
    }

    /// Lines skipped since the last call.
    pub(super) fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }

    /// Takes the next bytes of the file and gives out every line that ends in them.
    pub(super) fn feed(&mut self, chunk: &[u8], each: &mut impl FnMut(Line<'_>)) {
        let mut rest = chunk;
        while let Some(end) = memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            if self.carry.is_empty() && self.inside.is_none() && line.len() <= self.max {
                each(Line {
                    text: without_cr(line),
                    offset: self.start,
                    part: None,
                });
                self.start += line.len() as u64 + 1;
            } else {
                self.hold(line, each);
                self.complete(1, each);
            }
            rest = after.get(1..).unwrap_or_default();
        }
        self.hold(rest, each);
    }

    /// Gives out what still waits for its line end: the file is gone or was cut.
    pub(super) fn finish(&mut self, each: &mut impl FnMut(Line<'_>)) {
        if self.next() > self.start || self.inside.is_some() {
            self.complete(0, each);
        }
    }

    fn hold(&mut self, bytes: &[u8], each: &mut impl FnMut(Line<'_>)) {
        let mut rest = bytes;
        loop {
            let room = self.max - self.carry.len();
            let (fits, over) = rest.split_at(room.min(rest.len()));
            self.carry.extend_from_slice(fits);
            if over.is_empty() {
                return;
            }
            if self.long != LongLines::Split {
                self.left_out += over.len() as u64;
                return;
            }
            self.give_piece(false, each);
            self.start += self.carry.len() as u64;
            self.carry.clear();
            rest = over;
        }
    }

    fn give_piece(&mut self, last: bool, each: &mut impl FnMut(Line<'_>)) {
        let (line, done) = self.inside.unwrap_or((self.start, 0));
        let ordinal = done.saturating_add(1);
        let text = if last {
            self.carry.strip_suffix(b"\r").unwrap_or(&self.carry)
        } else {
            &self.carry
        };
        each(Line {
            text,
            offset: self.start,
            part: Some(Part { line, ordinal, last }),
        });
        self.inside = Some((line, ordinal));
    }

    /// Ends the line in `carry`, whose line end takes `line_end` bytes.
    fn complete(&mut self, line_end: u64, each: &mut impl FnMut(Line<'_>)) {
        if self.inside.is_some() {
            self.give_piece(true, each);
        } else if self.left_out > 0 && self.long == LongLines::Skip {
            self.skipped += 1;
        } else {
            each(Line {
                text: if self.left_out == 0 {
                    without_cr(&self.carry)
                } else {
                    &self.carry
                },
                offset: self.start,
                part: None,
            });
        }
        self.start = self.next() + line_end;
        self.inside = None;
        self.left_out = 0;
        self.carry.clear();
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    match line {
        [rest @ .., b'\r'] if !rest.is_empty() => rest,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Got = Vec<(Vec<u8>, u64, Option<(u32, bool)>)>;

    /// Everything given out of `pieces`, with `finish` at the end, and the splitter.
    fn split(pieces: &[&[u8]], max: usize, long: LongLines) -> (Got, Splitter) {
        let mut splitter = Splitter::new(0, max, long);
        let mut got = Got::new();
        let mut each = |line: Line<'_>| {
            got.push((
                line.text.to_vec(),
                line.offset,
                line.part.map(|part| (part.ordinal, part.last)),
            ));
        };
        for piece in pieces {
            splitter.feed(piece, &mut each);
        }
        (got, splitter)
    }

    #[track_caller]
    fn check(input: &[u8], want: &[(&str, u64)]) {
        let (got, _) = split(&[input], 1000, LongLines::Split);
        let want: Got = want
            .iter()
            .map(|(text, at)| (text.as_bytes().to_vec(), *at, None))
            .collect();
        assert_eq!(got, want);
    }

    #[test]
    fn lines_end_at_lf_and_lose_one_cr() {
        check(
            b"one\ntwo\r\n\nfour\nno newline",
            &[("one", 0), ("two", 4), ("", 9), ("four", 10)],
        );
        check(b"\r\nx\r\r\n", &[("\r", 0), ("x\r", 2)]);
        check(b"", &[]);
    }

    #[test]
    fn a_line_without_its_end_waits_and_is_read_again_after_a_restart() {
        let (got, mut splitter) = split(&[b"a\nbc"], 9, LongLines::Split);
        assert_eq!(got.len(), 1);
        assert_eq!((splitter.safe(), splitter.next()), (2, 4));
        let mut rest = Vec::new();
        splitter.finish(&mut |line| rest.push(line.text.to_vec()));
        assert_eq!(rest, [b"bc".to_vec()]);
        assert_eq!((splitter.safe(), splitter.next()), (4, 4));
        splitter.finish(&mut |_| panic!("nothing waits any more"));
    }

    #[test]
    fn a_long_line_goes_on_in_marked_pieces() {
        let (got, splitter) = split(&[b"abcdefgh\nxyz\n"], 3, LongLines::Split);
        let piece = |text: &str, at, part| (text.as_bytes().to_vec(), at, part);
        assert_eq!(
            got,
            [
                piece("abc", 0, Some((1, false))),
                piece("def", 3, Some((2, false))),
                piece("gh", 6, Some((3, true))),
                piece("xyz", 9, None),
            ]
        );
        assert_eq!(splitter.safe(), 13);
    }

    #[test]
    fn a_long_line_is_skipped_or_truncated_when_asked() {
        let (got, mut splitter) = split(&[b"abcde\nxy\n"], 3, LongLines::Skip);
        assert_eq!(got, [(b"xy".to_vec(), 6, None)]);
        assert_eq!((splitter.take_skipped(), splitter.take_skipped()), (1, 0));
        let (got, _) = split(&[b"abcde\r\nxy\n"], 3, LongLines::Truncate);
        assert_eq!(got, [(b"abc".to_vec(), 0, None), (b"xy".to_vec(), 7, None)]);
    }

    fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![3 => Just(b'a'), 1 => Just(b'\n'), 1 => Just(b'\r')];
        proptest::collection::vec(byte, 0..most)
    }

    proptest! {
        /// Wherever the input is cut, the same comes out, and no byte is lost or moved.
        #[test]
        fn the_cuts_do_not_matter(
            input in bytes(80),
            cuts in proptest::collection::vec(0usize..80, 0..6),
            max in 1usize..12,
            long in prop_oneof![Just(LongLines::Split), Just(LongLines::Skip), Just(LongLines::Truncate)],
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
            cuts.extend([0, input.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &input[pair[0]..pair[1]]).collect();
            let (whole, mut one) = split(&[&input], max, long);
            let (cut, mut many) = split(&pieces, max, long);
            prop_assert_eq!(&whole, &cut);
            prop_assert_eq!((one.safe(), one.next()), (many.safe(), many.next()));
            prop_assert_eq!(one.take_skipped(), many.take_skipped());
            prop_assert_eq!(one.next(), input.len() as u64);
            for (text, at, _) in &whole {
                let at = *at as usize;
                prop_assert_eq!(&input[at..at + text.len()], &text[..]);
            }
        }

        /// A restart at the safe offset goes on with exactly the lines that were not given out.
        #[test]
        fn a_restart_at_the_safe_offset_loses_nothing(
            input in bytes(60),
            cut in 0usize..60,
        ) {
            let cut = cut.min(input.len());
            let (mut got, first) = split(&[&input[..cut]], 1000, LongLines::Split);
            let mut again = Splitter::new(first.safe(), 1000, LongLines::Split);
            let rest = &input[first.safe() as usize..];
            again.feed(rest, &mut |line| got.push((line.text.to_vec(), line.offset, None)));
            prop_assert_eq!(got, split(&[&input], 1000, LongLines::Split).0);
        }
    }
}
