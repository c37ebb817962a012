//! String bytes into JSON text. Clean runs are found by words and copied whole.
//!
//! Escaped: `"`, `\`, controls and DEL; with `unicode` all that is not ASCII. A byte 0xNN that is not UTF-8
//! becomes the private code point U+E0NN (raw) with `unicode`, so that it can be told; else a broken sequence
//! becomes U+FFFD. `/` is never escaped.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Whether a byte cannot be copied as it is. The signed comparison takes controls and non-ASCII in one.
#[inline]
fn special(byte: u8) -> bool {
    ((byte as i8) < 0x20) | (byte == b'"') | (byte == b'\\') | (byte == 0x7f)
}

/// Index of the first special byte of a word (its lowest byte first), if any. Borrows and carries reach only
/// the bytes above the first special one, so the first hit is exact.
#[inline]
fn special_in(word: u64) -> Option<usize> {
    let hits = hits(word);
    (hits != 0).then(|| hits.trailing_zeros() as usize / 8)
}

/// The high bit of the first byte of a word that is special, and of some behind it; 0 where none is.
#[inline]
fn hits(word: u64) -> u64 {
    let zero = |x: u64| x.wrapping_sub(ONES) & !x;
    let quote = zero(word ^ (ONES * 0x22));
    let backslash = zero(word ^ (ONES * 0x5c));
    let control = word.wrapping_sub(ONES * 0x20);
    let del = word.wrapping_add(ONES);
    (quote | backslash | control | del | word) & HIGHS
}

/// How many bytes at the start can be copied as they are.
#[inline]
fn clean_len(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(block) = text.get(at..).and_then(|rest| rest.first_chunk::<32>()) {
        // In words: whether a loop over bytes becomes vector compares depends on the build (the image's
        // was four times slower).
        let (words, _) = block.as_chunks::<8>();
        if words
            .iter()
            .fold(0, |any, &word| any | hits(u64::from_le_bytes(word)))
            != 0
        {
            break;
        }
        at += 32;
    }
    while let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk()) {
        if let Some(hit) = special_in(u64::from_le_bytes(*word)) {
            return at + hit;
        }
        at += 8;
    }
    at + clean_len_short(text, at)
}

/// [`clean_len`] of the last bytes, fewer than 8, from `at` on. What lies before them is clean, so a word may
/// begin there.
#[inline]
fn clean_len_short(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let word = match (text.last_chunk(), rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        (Some(word), ..) => u64::from_le_bytes(*word),
        (None, Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        _ => rest.iter().fold(u64::from_le_bytes(*b"        "), |word, &byte| {
            word << 8 | u64::from(byte)
        }),
    };
    if special_in(word).is_none() {
        return rest.len();
    }
    rest.iter().position(|&byte| special(byte)).unwrap_or(rest.len())
}

/// Appends `text`, escaped, without quotes.
#[inline]
pub(super) fn write(out: &mut Vec<u8>, text: &[u8], unicode: bool) {
    let clean = clean_len(text);
    if clean == text.len() {
        out.extend_from_slice(text);
    } else {
        mixed(out, text, clean, unicode);
    }
}

fn mixed(out: &mut Vec<u8>, mut text: &[u8], mut clean: usize, unicode: bool) {
    loop {
        let (run, rest) = text.split_at(clean);
        out.extend_from_slice(run);
        let Some(&byte) = rest.first() else { return };
        let used = if byte < 0x80 {
            ascii(out, byte);
            1
        } else {
            let end = rest.iter().position(u8::is_ascii).unwrap_or(rest.len());
            beyond_ascii(out, &rest[..end], unicode);
            end
        };
        text = &rest[used..];
        clean = clean_len(text);
    }
}

#[inline]
fn ascii(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\t' => b't',
        b'\r' => b'r',
        0x08 => b'b',
        0x0c => b'f',
        _ => return code_unit(out, u16::from(byte)),
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn code_unit(out: &mut Vec<u8>, unit: u16) {
    let hex = |shift: u16| b"0123456789abcdef"[usize::from(unit >> shift & 0xf)];
    out.extend_from_slice(&[b'\\', b'u', hex(12), hex(8), hex(4), hex(0)]);
}

/// A run of bytes from 0x80 on.
fn beyond_ascii(out: &mut Vec<u8>, run: &[u8], unicode: bool) {
    for chunk in run.utf8_chunks() {
        if unicode {
            chunk.valid().encode_utf16().for_each(|unit| code_unit(out, unit));
            for &byte in chunk.invalid() {
                // U+E080..=U+E0FF in UTF-8.
                out.extend_from_slice(&[0xee, 0x80 | byte >> 6, 0x80 | byte & 0x3f]);
            }
        } else {
            out.extend_from_slice(chunk.valid().as_bytes());
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &[u8], escaped: &str, raw: &str) {
        for (unicode, want) in [(true, escaped), (false, raw)] {
            let mut out = Vec::new();
            write(&mut out, text, unicode);
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }

    #[test]
    fn escapes() {
        check(
            b"tab\tnl\ncr\rq\"b\\s/",
            r#"tab\tnl\ncr\rq\"b\\s/"#,
            r#"tab\tnl\ncr\rq\"b\\s/"#,
        );
        check(
            b"\x01\x1f\x7f\x08\x0c",
            r"\u0001\u001f\u007f\b\f",
            r"\u0001\u001f\u007f\b\f",
        );
        check("é€😀".as_bytes(), r"\u00e9\u20ac\ud83d\ude00", "é€😀");
    }

    #[test]
    fn bytes_that_are_not_utf8() {
        check(b"a\xffb", "a\u{e0ff}b", "a\u{fffd}b");
        check(b"\xe2\x82x\x80", "\u{e0e2}\u{e082}x\u{e080}", "\u{fffd}x\u{fffd}");
        check(b"\xc3\xa9\xc3", "\\u00e9\u{e0c3}", "é\u{fffd}");
    }

    proptest! {
        #[test]
        fn the_words_agree_with_the_bytes(text in prop::collection::vec(any::<u8>(), 0..80)) {
            let want = text.iter().position(|&b| special(b)).unwrap_or(text.len());
            prop_assert_eq!(clean_len(&text), want);
        }

        #[test]
        fn rare_specials_are_found(mut text in "[a-zA-Z ~!]{0,120}", at in 0usize..120, with in any::<char>()) {
            if at <= text.len() {
                text.insert(at, with);
            }
            for unicode in [true, false] {
                let mut out = vec![b'"'];
                write(&mut out, text.as_bytes(), unicode);
                out.push(b'"');
                prop_assert_eq!(&serde_json::from_slice::<String>(&out).unwrap(), &text);
            }
        }
    }
}
