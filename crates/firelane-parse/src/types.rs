//! `types`: values of named fields as numbers and booleans, by C's rules, as Fluent Bit does it.

use firelane_record::{MapWriter, msgpack};

/// What a value becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Float,
    Bool,
    Hex,
}

/// Fields and what their values become.
#[derive(Debug, Clone, Default)]
pub(crate) struct Types(Vec<(Vec<u8>, Kind)>);

impl Types {
    /// Reads `key:type key:type`. A word that is none of that is given back.
    pub(crate) fn parse(text: &str) -> (Self, Vec<&str>) {
        let (mut types, mut bad) = (Vec::new(), Vec::new());
        for word in text.split_ascii_whitespace() {
            let Some((key, kind)) = word.split_once(':') else {
                bad.push(word);
                continue;
            };
            let kind = match kind.to_ascii_lowercase().as_str() {
                "integer" => Kind::Integer,
                "float" => Kind::Float,
                "bool" => Kind::Bool,
                "hex" => Kind::Hex,
                "string" => Kind::Text,
                _ => {
                    bad.push(word);
                    Kind::Text
                }
            };
            types.push((key.as_bytes().to_vec(), kind));
        }
        (Self(types), bad)
    }

    /// Whether no field is named.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends a pair, its value converted.
    pub(crate) fn write(&self, out: &mut MapWriter, key: &[u8], value: &[u8]) {
        let kind = self.0.iter().find(|(name, _)| name == key).map(|(_, kind)| *kind);
        let buf = out.key(key);
        match kind {
            Some(Kind::Integer) => msgpack::write_int(buf, integer(value)),
            Some(Kind::Hex) => msgpack::write_uint(buf, hex(value)),
            Some(Kind::Float) => msgpack::write_f64(buf, float(value)),
            Some(Kind::Bool) if starts(value, b"true") => msgpack::write_bool(buf, true),
            Some(Kind::Bool) if starts(value, b"false") => msgpack::write_bool(buf, false),
            _ => msgpack::write_str(buf, value),
        }
    }
}

fn starts(value: &[u8], word: &[u8]) -> bool {
    value
        .get(..word.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(word))
}

/// The sign, and what follows it and the blanks before it.
fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text.trim_ascii_start() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    }
}

/// C's `atoll`, but what is too large stays at the end of the range.
fn integer(text: &[u8]) -> i64 {
    let (negative, digits) = sign(text);
    let mut number = 0i64;
    for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        let digit = i64::from(digit - b'0');
        number = number.saturating_mul(10);
        number = if negative {
            number.saturating_sub(digit)
        } else {
            number.saturating_add(digit)
        };
    }
    number
}

/// C's `strtoull` with base 16.
fn hex(text: &[u8]) -> u64 {
    let (negative, digits) = sign(text);
    let digits = match digits {
        [b'0', b'x' | b'X', rest @ ..] if rest.first().is_some_and(u8::is_ascii_hexdigit) => rest,
        digits => digits,
    };
    let mut number = 0u64;
    for digit in digits.iter().map_while(|&byte| char::from(byte).to_digit(16)) {
        let Some(next) = number.checked_mul(16) else {
            return u64::MAX;
        };
        number = next | u64::from(digit);
    }
    if negative { number.wrapping_neg() } else { number }
}

/// C's `atof`: the number at the start, else 0.
fn float(text: &[u8]) -> f64 {
    let text = text.trim_ascii_start();
    let digits = |at: usize| {
        text.get(at..)
            .unwrap_or_default()
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    let start = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let word = |word: &[u8]| starts(text.get(start..).unwrap_or_default(), word);
    if word(b"inf") || word(b"nan") {
        let value = if word(b"inf") { f64::INFINITY } else { f64::NAN };
        return if text.first() == Some(&b'-') {
            -value
        } else {
            value
        };
    }
    let whole = digits(start);
    let mut end = start + whole;
    let mut any = whole;
    if text.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        any += fraction;
        end += 1 + fraction;
    }
    if any == 0 {
        return 0.0;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let number = std::str::from_utf8(&text[..end]).ok();
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_by_the_rules_of_c() {
        for (text, want) in [
            ("12", 12),
            (" -7x", -7),
            ("x", 0),
            ("", 0),
            ("99999999999999999999", i64::MAX),
        ] {
            assert_eq!(integer(text.as_bytes()), want, "{text}");
        }
        assert_eq!(integer(b"-99999999999999999999"), i64::MIN);
        for (text, want) in [("ff", 255), ("0x1F ", 31), ("0x", 0), ("-1", u64::MAX), ("g", 0)] {
            assert_eq!(hex(text.as_bytes()), want, "{text}");
        }
        assert_eq!(hex(b"11111111111111111"), u64::MAX);
        for (text, want) in [
            ("1.5", 1.5),
            (" -2e3x", -2000.0),
            ("1e", 1.0),
            (".5", 0.5),
            ("x", 0.0),
            ("-", 0.0),
        ] {
            assert!((float(text.as_bytes()) - want).abs() < f64::EPSILON, "{text}");
        }
        assert!(float(b"-inf").is_infinite() && float(b"nan").is_nan());
    }

    #[test]
    fn words_that_are_no_types_are_named() {
        let (types, bad) = Types::parse("a:integer b c:what d:BOOL");
        assert_eq!((types.0.len(), bad), (3, vec!["b", "c:what"]));
        assert!(!types.is_empty());
    }
}
