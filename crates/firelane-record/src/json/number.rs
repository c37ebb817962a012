//! Numbers as text: integers, and doubles as C's `%.16g` with whole ones as `%.1f`.

use std::fmt::{self, Write as _};

const PAIRS: [u8; 200] = {
    let mut pairs = [0; 200];
    let mut n = 0;
    while n < 100 {
        pairs[2 * n] = b'0' + (n / 10) as u8;
        pairs[2 * n + 1] = b'0' + (n % 10) as u8;
        n += 1;
    }
    pairs
};

/// Writes `n`, below 100, as two digits.
#[inline]
pub(crate) fn two_digits(n: u64) -> [u8; 2] {
    let at = 2 * (n % 100) as usize;
    [PAIRS[at], PAIRS[at + 1]]
}

/// Appends an unsigned integer.
#[inline]
pub(crate) fn write_u64(out: &mut Vec<u8>, mut n: u64) {
    let mut text = [0; 20];
    let mut at = text.len();
    while n >= 100 {
        at -= 2;
        text[at..at + 2].copy_from_slice(&two_digits(n));
        n /= 100;
    }
    if n >= 10 {
        at -= 2;
        text[at..at + 2].copy_from_slice(&two_digits(n));
    } else {
        at -= 1;
        text[at] = b'0' + n as u8;
    }
    out.extend_from_slice(&text[at..]);
}

/// Appends a signed integer.
#[inline]
pub(crate) fn write_i64(out: &mut Vec<u8>, n: i64) {
    if n < 0 {
        out.push(b'-');
    }
    write_u64(out, n.unsigned_abs());
}

/// Text on the stack: long enough for any double with 16 digits and an exponent.
#[derive(Default)]
struct Short {
    bytes: [u8; 32],
    len: usize,
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        let slot = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        slot.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Whether `n` is a whole number that an `i64` holds.
fn is_whole(n: f64) -> bool {
    // 2^63 itself is out of range; both bounds are exact doubles.
    (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&n) && (n as i64) as f64 == n
}

/// Appends a double as JSON; `null` for what is not finite.
pub(crate) fn write_f64(out: &mut Vec<u8>, n: f64) {
    if !n.is_finite() {
        out.extend_from_slice(b"null");
        return;
    }
    if n.is_sign_negative() {
        out.push(b'-');
    }
    if is_whole(n) {
        write_u64(out, (n as i64).unsigned_abs());
        out.extend_from_slice(b".0");
    } else if !decimal(out, n.abs()) {
        general(out, n.abs());
    }
}

const TENS: [u64; 19] = {
    let mut tens = [1; 19];
    let mut n = 1;
    while n < tens.len() {
        tens[n] = tens[n - 1] * 10;
        n += 1;
    }
    tens
};

/// Bits of a double's fraction.
const MANTISSA: u32 = 52;

/// [`general`] for what numbers in logs mostly are, from 0.001 to 10^15, not whole: in integers, because
/// a double is a whole number of some power of two. False, and nothing written, for others.
fn decimal(out: &mut Vec<u8>, n: f64) -> bool {
    if !(0.001..1e15).contains(&n) {
        return false;
    }
    let bits = n.to_bits();
    // `n` is `mantissa / 2^shift`; in this range `shift` is 3 to 62.
    let mantissa = bits & ((1 << MANTISSA) - 1) | 1 << MANTISSA;
    let shift = 1023 + MANTISSA - (bits >> MANTISSA) as u32;
    let (mut whole, fraction) = (mantissa >> shift, mantissa & ((1 << shift) - 1));
    // Sixteen digits from the first that is not zero.
    let places = match whole {
        0 if n >= 0.1 => 16,
        0 if n >= 0.01 => 17,
        0 => 18,
        _ => 15 - whole.ilog10() as usize,
    };
    let product = u128::from(fraction) * u128::from(TENS[places]);
    let (mut digits, rest) = ((product >> shift) as u64, product & ((1 << shift) - 1));
    // To the nearest, ties to even, as printf.
    let half = 1 << (shift - 1);
    if rest > half || (rest == half && digits & 1 == 1) {
        digits += 1;
    }
    if digits == TENS[places] {
        whole += 1;
        digits = 0;
    }
    write_u64(out, whole);
    if digits == 0 {
        // Rounded to a whole number: `%.16g` prints no point then.
        return true;
    }
    out.push(b'.');
    let start = out.len();
    out.resize(start + places, b'0');
    for place in out[start..].iter_mut().rev() {
        *place = b'0' + (digits % 10) as u8;
        digits /= 10;
    }
    let kept = out[start..]
        .iter()
        .rposition(|&b| b != b'0')
        .map_or(0, |last| last + 1);
    out.truncate(start + kept);
    true
}

/// Appends `%.16g` of a positive finite double: 16 digits, trailing zeros cut, an exponent below -4 or from
/// 16 on.
fn general(out: &mut Vec<u8>, n: f64) {
    let mut text = Short::default();
    if write!(text, "{n:.15e}").is_err() {
        return;
    }
    // One digit, a point, 15 digits, `e`, the exponent.
    let text = &text.bytes[..text.len];
    let (Some(&first), Some(rest), Some(exponent)) = (text.first(), text.get(2..17), text.get(18..)) else {
        return;
    };
    let exponent: i32 = std::str::from_utf8(exponent)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let mut digits = [b'0'; 16];
    digits[0] = first;
    digits[1..].copy_from_slice(rest);
    let kept = digits.iter().rposition(|&b| b != b'0').map_or(1, |last| last + 1);
    let digits = &digits[..kept];
    match exponent {
        -4..0 => {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
            out.extend_from_slice(digits);
        }
        0..16 => {
            let whole = exponent as usize + 1;
            if kept <= whole {
                out.extend_from_slice(digits);
                out.extend(std::iter::repeat_n(b'0', whole - kept));
            } else {
                out.extend_from_slice(&digits[..whole]);
                out.push(b'.');
                out.extend_from_slice(&digits[whole..]);
            }
        }
        _ => {
            out.push(digits[0]);
            if kept > 1 {
                out.push(b'.');
                out.extend_from_slice(&digits[1..]);
            }
            out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
            if exponent.unsigned_abs() < 10 {
                out.push(b'0');
            }
            write_u64(out, u64::from(exponent.unsigned_abs()));
        }
    }
}

/// Appends a double as C's `%f`: six decimals, `nan`, `inf`.
pub(crate) fn write_fixed(out: &mut Vec<u8>, n: f64) {
    use std::io::Write as _;
    if n.is_finite() {
        // Writing to a Vec does not fail.
        let _ = write!(out, "{n:.6}");
    } else {
        write_not_finite(out, n);
    }
}

/// Appends `nan` or `inf` with its sign, as C's `printf`. It is no JSON.
#[cold]
pub(crate) fn write_not_finite(out: &mut Vec<u8>, n: f64) {
    if n.is_sign_negative() {
        out.push(b'-');
    }
    out.extend_from_slice(if n.is_nan() { b"nan" } else { b"inf" });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[track_caller]
    fn check(n: f64, want: &str) {
        assert_eq!(text(|out| write_f64(out, n)), want);
    }

    #[test]
    fn doubles_are_printed_as_by_c() {
        check(3.0, "3.0");
        check(-0.0, "-0.0");
        check(1e16, "10000000000000000.0");
        check(1e20, "1e+20");
        check(1e-7, "1e-07");
        check(0.1, "0.1");
        check(12.25, "12.25");
        check(8.3, "8.300000000000001");
        check(0.012_345, "0.012345");
        check(1_700_000_000.123_456_7, "1700000000.123457");
        check(1_700_000_000.999_999_8, "1700000001");
        check(999_999_999_999_999.9, "999999999999999.9");
        check(f64::from(0.1f32), "0.1000000014901161");
        check(1.5, "1.5");
        check(-2.25, "-2.25");
        check(1e-9, "1e-09");
        check(0.0001, "0.0001");
        check(0.00001234, "1.234e-05");
        check(1e300, "1e+300");
        check(5e-324, "4.940656458412465e-324");
        check(f64::MAX, "1.797693134862316e+308");
        check(123_456_789.123_456_79, "123456789.1234568");
        check(9_223_372_036_854_775_808.0, "9.223372036854776e+18");
        check(-9_223_372_036_854_775_808.0, "-9223372036854775808.0");
        // A tie at the 17th digit goes to the even one.
        check(1_000_000_000_000_000.5, "1000000000000000");
        check(1_000_000_000_000_001.5, "1000000000000002");
        check(0.999_999_999_999_999_9, "0.9999999999999999");
    }

    #[test]
    fn what_is_not_finite_is_null() {
        check(f64::NAN, "null");
        check(f64::NEG_INFINITY, "null");
    }

    #[test]
    fn six_decimals() {
        let fixed = |n| text(|out| write_fixed(out, n));
        assert_eq!(fixed(1.5), "1.500000");
        assert_eq!(fixed(1e21), "1000000000000000000000.000000");
        assert_eq!(fixed(-1e-9), "-0.000000");
        assert_eq!(fixed(f64::INFINITY), "inf");
    }

    proptest! {
        /// Guarantees: the way in integers prints what the general way prints.
        #[test]
        fn decimals_take_no_other_form(
            n in 0.0005f64..2e15,
            short in 1u64..10_000_000_000,
            scale in 0usize..13,
        ) {
            let (by_ten, by_two) = (TENS[scale] as f64, f64::from(1 << scale));
            for n in [n, short as f64 / by_ten, short as f64 / by_two, n % 1.0, n % 10.0] {
                prop_assume!(n > 0.0 && !is_whole(n));
                let general = text(|out| general(out, n));
                let mut fast = Vec::new();
                if decimal(&mut fast, n) {
                    prop_assert_eq!(String::from_utf8(fast).unwrap(), general);
                }
            }
        }

        #[test]
        fn sixteen_digits_are_near(bits in any::<u64>()) {
            let n = f64::from_bits(bits);
            prop_assume!(n.is_finite());
            let back: f64 = text(|out| write_f64(out, n)).parse().unwrap();
            prop_assert!((back - n).abs() <= n.abs() * 1e-15 || back == n || back.is_infinite());
        }

        #[test]
        fn short_decimals_come_back(digits in -1_000_000_000_000_000i64..0, exponent in -40i32..40) {
            let n: f64 = format!("{digits}e{exponent}").parse().unwrap();
            let back: f64 = text(|out| write_f64(out, n)).parse().unwrap();
            prop_assert_eq!(back, n);
        }

        #[test]
        fn integers(n in any::<i64>(), m in any::<u64>()) {
            prop_assert_eq!(text(|out| write_i64(out, n)), n.to_string());
            prop_assert_eq!(text(|out| write_u64(out, m)), m.to_string());
        }
    }
}
