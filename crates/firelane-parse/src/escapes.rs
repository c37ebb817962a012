//! Backslash escapes of field decoders: `escaped`, `escaped_utf8`, `mysql_quoted`.

/// `\n \a \b \t \v \f \r \\`; before anything else the backslash goes.
pub(crate) fn escaped(text: &[u8], out: &mut Vec<u8>) {
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(next) => out.push(control(next).unwrap_or(next)),
            None => return,
        }
    }
}

fn control(letter: u8) -> Option<u8> {
    Some(match letter {
        b'n' => b'\n',
        b'a' => 0x07,
        b'b' => 0x08,
        b't' => b'\t',
        b'v' => 0x0b,
        b'f' => 0x0c,
        b'r' => b'\r',
        _ => return None,
    })
}

/// As [`escaped`], and characters by number: `\101`, `\x41`, `\u00e9` (pairs of surrogates too),
/// `\U0001F600`. Half a pair, and a number that is no character, become U+FFFD.
pub(crate) fn escaped_utf8(text: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(hit) = memchr::memchr(b'\\', text.get(at..).unwrap_or_default()) {
        out.extend_from_slice(&text[at..at + hit]);
        at += hit + 1;
        let Some(&letter) = text.get(at) else {
            // A lone backslash at the end stays.
            out.push(b'\\');
            return;
        };
        if let Some(byte) = control(letter) {
            out.push(byte);
            at += 1;
            continue;
        }
        let (char, len) = numbered(&text[at..], letter);
        match char {
            Some(char) => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            None => out.push(letter),
        }
        at += len;
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
}

/// The character that a number names, and the bytes it takes with its letter; none: the letter itself.
fn numbered(text: &[u8], letter: u8) -> (Option<char>, usize) {
    let (skip, radix, most) = match letter {
        b'0'..=b'7' => (0, 8, 3),
        b'x' => (1, 16, 2),
        b'u' => (1, 16, 4),
        b'U' => (1, 16, 8),
        _ => return (None, 1),
    };
    let (number, digits) = number(&text[skip..], radix, most);
    if digits == 0 {
        return (None, 1);
    }
    let len = skip + digits;
    let invalid = (Some(char::REPLACEMENT_CHARACTER), len);
    if letter == b'u' && digits < 4 {
        return invalid;
    }
    if letter != b'u' || !(0xd800..0xdc00).contains(&number) {
        return char::from_u32(number).map_or(invalid, |char| (Some(char), len));
    }
    let Some(second) = text.get(len..).and_then(|rest| rest.strip_prefix(b"\\u")) else {
        return invalid;
    };
    let (low, digits) = self::number(second, 16, 4);
    if digits < 4 || !(0xdc00..0xe000).contains(&low) {
        return (Some(char::REPLACEMENT_CHARACTER), len + 2 + digits);
    }
    let pair = 0x10000 + ((number - 0xd800) << 10) + (low - 0xdc00);
    (char::from_u32(pair), len + 6)
}

fn number(text: &[u8], radix: u32, most: usize) -> (u32, usize) {
    let digits = text
        .iter()
        .take(most)
        .map_while(|&byte| char::from(byte).to_digit(radix));
    digits.fold((0u32, 0), |(number, count), digit| {
        (number.wrapping_mul(radix).wrapping_add(digit), count + 1)
    })
}

/// A text in quotes of either kind, escapes as MySQL writes them; a text without stays as it is.
pub(crate) fn mysql_quoted(text: &[u8], out: &mut Vec<u8>) {
    let inner = match text {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        plain => return out.extend_from_slice(plain),
    };
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        let next = if byte == b'\\' { bytes.next() } else { None };
        match next {
            None => out.push(byte),
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(b'0') => out.push(0),
            Some(b'Z') => out.push(0x1a),
            Some(same @ (b'\\' | b'\'' | b'"')) => out.push(same),
            Some(other) => out.extend_from_slice(&[b'\\', other]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(decode: fn(&[u8], &mut Vec<u8>), text: &str, want: &str) {
        let mut out = Vec::new();
        decode(text.as_bytes(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), want, "{text}");
    }

    #[test]
    fn plain_escapes() {
        check(escaped, r#"a\nb\tc \"q\" \\n \u00e9"#, "a\nb\tc \"q\" \\n u00e9");
        check(escaped, r"end\", "end");
    }

    #[test]
    fn characters_by_number() {
        check(escaped_utf8, r#"a\nb \"q\" \\ \/"#, "a\nb \"q\" \\ /");
        check(escaped_utf8, r"\u00e9 \x41 \101 \U0001F600", "é A A 😀");
        check(
            escaped_utf8,
            r"\ud83d\ude00 \ud83d! \ude00 \u12 \q \xg",
            "😀 \u{fffd}! \u{fffd} \u{fffd} q xg",
        );
        check(escaped_utf8, r"end\", "end\\");
    }

    #[test]
    fn quotes_of_mysql() {
        check(mysql_quoted, r"'it\'s\n\%'", "it's\n\\%");
        check(mysql_quoted, r#""a\\b""#, "a\\b");
        check(mysql_quoted, "plain", "plain");
        check(mysql_quoted, "'", "'");
    }
}
