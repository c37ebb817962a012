//! Times as text by `strftime` patterns: UTC, C locale, with the fractions that log routers add.
//!
//! Known: `%a %A %b %B %C %c %D %d %e %F %g %G %H %h %I %j %k %l %M %m %n %P %p %R %r %S %s %T %t %U %u %V %W %w
//! %X %x %Y %y %Z %z %%`, and of fractions what [`Fractions`] says. Anything else prints as it is written, as
//! glibc does.

use crate::Timestamp;
use crate::json::date::civil;
use crate::json::number::write_i64;

/// Which fractions of a second a pattern knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fractions {
    /// None, as in C.
    None,
    /// Fluent Bit: `%3N` milliseconds, `%6N` microseconds, `%9N`, `%N` and `%L` nanoseconds.
    FluentBit,
    /// The Go plugins: `%L` milliseconds, `%f` microseconds.
    Go,
}

/// A pattern, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeFormat {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<[u8]>),
    Field(u8),
    /// So many digits of the fraction.
    Fraction(u32),
}

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const FIELDS: &[u8] = b"aAbBCcDdeFgGHhIjklMmnPpRrSsTtUuVWwXxYyZz";

impl TimeFormat {
    /// Reads a pattern; every text is one.
    pub fn new(pattern: &str, fractions: Fractions) -> Self {
        let mut pieces = Vec::new();
        let mut text = Vec::new();
        let mut rest = pattern.as_bytes();
        while let Some((&first, tail)) = rest.split_first() {
            let (piece, used) = match (first, tail.first()) {
                (b'%', Some(b'%')) => (None, 2),
                (b'%', Some(_)) => match field(tail, fractions) {
                    Some((piece, used)) => (Some(piece), used + 1),
                    None => (None, 1),
                },
                _ => (None, 1),
            };
            match piece {
                Some(piece) => {
                    if !text.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut text).into()));
                    }
                    pieces.push(piece);
                }
                None => text.push(first),
            }
            rest = &rest[used..];
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.into()));
        }
        Self { pieces }
    }

    /// Whether it prints the same text at all times.
    pub fn is_constant(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }

    /// Whether its text changes within a second.
    pub fn has_fraction(&self) -> bool {
        self.pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Fraction(_)))
    }

    /// Appends `time`.
    pub fn write(&self, out: &mut Vec<u8>, time: Timestamp) {
        let parts = Parts::of(time.secs);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Field(letter) => parts.write(out, *letter),
                Piece::Fraction(digits) => {
                    let value = u64::from(time.nanos) / 10_u64.pow(9 - digits);
                    padded(out, value as i64, *digits as usize, b'0');
                }
            }
        }
    }

    /// `time` as a string.
    pub fn text(&self, time: Timestamp) -> String {
        let mut out = Vec::new();
        self.write(&mut out, time);
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// The field at the start of what follows a `%`, and its length.
fn field(tail: &[u8], fractions: Fractions) -> Option<(Piece, usize)> {
    let first = *tail.first()?;
    match (fractions, first, tail.get(1)) {
        (Fractions::FluentBit, b'3' | b'6' | b'9', Some(b'N')) => {
            return Some((Piece::Fraction(u32::from(first - b'0')), 2));
        }
        (Fractions::FluentBit, b'L' | b'N', _) => return Some((Piece::Fraction(9), 1)),
        (Fractions::Go, b'L', _) => return Some((Piece::Fraction(3), 1)),
        (Fractions::Go, b'f', _) => return Some((Piece::Fraction(6), 1)),
        _ => {}
    }
    // Alternative forms are those of the C locale: the same.
    let skipped = usize::from(matches!(first, b'E' | b'O'));
    let letter = *tail.get(skipped)?;
    FIELDS
        .contains(&letter)
        .then_some((Piece::Field(letter), skipped + 1))
}

/// A time in the calendar.
struct Parts {
    secs: i64,
    year: i64,
    /// 1 to 12.
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    /// 0 is Sunday.
    weekday: i64,
    /// 0 is the first of January.
    yearday: i64,
}

impl Parts {
    fn of(secs: i64) -> Self {
        let days = secs.div_euclid(86_400);
        let of_day = secs.rem_euclid(86_400);
        let (year, month, day) = civil(days);
        let (month, day) = (month as i64, day as i64);
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let leap = i64::from(is_leap(year) && month > 2);
        let start = before.get(month as usize - 1).copied().unwrap_or(0);
        Self {
            secs,
            year,
            month,
            day,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            weekday: (days + 4).rem_euclid(7),
            yearday: start + leap + day - 1,
        }
    }

    fn write(&self, out: &mut Vec<u8>, letter: u8) {
        let name = |names: &[&'static str], at: i64| names.get(at as usize).copied().unwrap_or("?");
        let (day_name, month_name) = (name(&DAYS, self.weekday), name(&MONTHS, self.month - 1));
        let hour12 = (self.hour + 11) % 12 + 1;
        let many = |out: &mut Vec<u8>, letters: &[u8]| {
            for &part in letters {
                match part {
                    letter if letter.is_ascii_alphabetic() => self.write(out, letter),
                    other => out.push(other),
                }
            }
        };
        let two = |out: &mut Vec<u8>, value: i64| padded(out, value, 2, b'0');
        match letter {
            b'a' => out.extend_from_slice(&day_name.as_bytes()[..3]),
            b'A' => out.extend_from_slice(day_name.as_bytes()),
            b'b' | b'h' => out.extend_from_slice(&month_name.as_bytes()[..3]),
            b'B' => out.extend_from_slice(month_name.as_bytes()),
            b'C' => two(out, self.year.div_euclid(100)),
            b'c' => many(out, b"a b e T Y"),
            b'D' | b'x' => many(out, b"m/d/y"),
            b'd' => two(out, self.day),
            b'e' => padded(out, self.day, 2, b' '),
            b'F' => many(out, b"Y-m-d"),
            b'G' => write_i64(out, self.iso_week().0),
            b'g' => two(out, self.iso_week().0.rem_euclid(100)),
            b'H' => two(out, self.hour),
            b'I' => two(out, hour12),
            b'j' => padded(out, self.yearday + 1, 3, b'0'),
            b'k' => padded(out, self.hour, 2, b' '),
            b'l' => padded(out, hour12, 2, b' '),
            b'M' => two(out, self.minute),
            b'm' => two(out, self.month),
            b'n' => out.push(b'\n'),
            b'P' => out.extend_from_slice(if self.hour < 12 { b"am" } else { b"pm" }),
            b'p' => out.extend_from_slice(if self.hour < 12 { b"AM" } else { b"PM" }),
            b'R' => many(out, b"H:M"),
            b'r' => many(out, b"I:M:S p"),
            b'S' => two(out, self.second),
            b's' => write_i64(out, self.secs),
            b'T' | b'X' => many(out, b"H:M:S"),
            b't' => out.push(b'\t'),
            b'U' => two(out, (self.yearday + 7 - self.weekday) / 7),
            b'u' => write_i64(out, (self.weekday + 6) % 7 + 1),
            b'V' => two(out, self.iso_week().1),
            b'W' => two(out, (self.yearday + 7 - (self.weekday + 6) % 7) / 7),
            b'w' => write_i64(out, self.weekday),
            b'Y' => write_i64(out, self.year),
            b'y' => two(out, self.year.rem_euclid(100)),
            b'Z' => out.extend_from_slice(b"GMT"),
            b'z' => out.extend_from_slice(b"+0000"),
            _ => {}
        }
    }

    /// Year and number of the ISO 8601 week: that of its Thursday.
    fn iso_week(&self) -> (i64, i64) {
        let thursday = self.yearday + 3 - (self.weekday + 6) % 7;
        let length = |year| 365 + i64::from(is_leap(year));
        if thursday < 0 {
            return (self.year - 1, (thursday + length(self.year - 1)) / 7 + 1);
        }
        if thursday >= length(self.year) {
            return (self.year + 1, 1);
        }
        (self.year, thursday / 7 + 1)
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn padded(out: &mut Vec<u8>, value: i64, width: usize, with: u8) {
    let from = out.len();
    write_i64(out, value);
    for _ in out.len() - from..width {
        out.insert(from, with);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, fractions: Fractions, (secs, nanos): (i64, u32), want: &str) {
        let format = TimeFormat::new(pattern, fractions);
        assert_eq!(format.text(Timestamp { secs, nanos }), want, "{pattern}");
    }

    #[test]
    fn every_field_is_as_in_c() {
        let time = (1_709_618_828, 0);
        let none = |pattern, want| check(pattern, Fractions::None, time, want);
        none(
            "%a %A %b %B %h %C %c",
            "Tue Tuesday Mar March Mar 20 Tue Mar  5 06:07:08 2024",
        );
        none("%D %d %e %F %x %X", "03/05/24 05  5 2024-03-05 03/05/24 06:07:08");
        none("%g %G %V %u %w %U %W %j", "24 2024 10 2 2 09 10 065");
        none("%H %I %k %l %M %m %P %p", "06 06  6  6 07 03 am AM");
        none(
            "%R|%r|%S|%s|%T|%Y|%y|%Z|%z",
            "06:07|06:07:08 AM|08|1709618828|06:07:08|2024|24|GMT|+0000",
        );
        none("%n%t%%%Ey%Od", "\n\t%2405");
        none("%Q %E %", "%Q %E %");
        none("plain", "plain");
    }

    #[test]
    fn iso_weeks_at_the_turn_of_years() {
        check("%G-%V", Fractions::None, (1_609_459_200, 0), "2020-53");
        check("%G-%V", Fractions::None, (1_735_603_200, 0), "2025-01");
        check("%G-%V %j", Fractions::None, (1_704_067_200, 0), "2024-01 001");
        check("%j", Fractions::None, (1_735_603_200, 0), "366");
    }

    #[test]
    fn fractions_go_by_the_dialect() {
        let time = (0, 123_456_789);
        check(
            "%S.%3N %6N %9N %N %L",
            Fractions::FluentBit,
            time,
            "00.123 123456 123456789 123456789 123456789",
        );
        check("%S.%L %f", Fractions::Go, time, "00.123 123456");
        check("%L %3N", Fractions::None, time, "%L %3N");
        check("%L", Fractions::Go, (0, 4_000_000), "004");
    }

    #[test]
    fn extremes_print_something() {
        for secs in [i64::MIN, -1, 0, i64::MAX] {
            let format = TimeFormat::new("%c %j %U %W %V %G", Fractions::None);
            assert!(!format.text(Timestamp { secs, nanos: 0 }).is_empty());
        }
        check("%F %T", Fractions::None, (-1, 0), "1969-12-31 23:59:59");
    }
}
