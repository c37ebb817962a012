//! `time_format`: strptime as Fluent Bit has it (BSD's conversions and `%L`), compiled once.
//!
//! A blank of the format takes any run of blanks, also none. Text behind what the format takes is accepted. `%L` takes
//! the digits of a fraction; nine count. What is not given is zero; a format without year takes the present one. A day
//! that the month has not runs over into the next, as C's `timegm` does.

use std::fmt;

use crate::zones;

/// A compiled format.
#[derive(Debug, Clone)]
pub struct TimeFormat {
    items: Vec<Item>,
    /// Whether the text brings its year (`%Y`, `%y` or `%s`).
    has_year: bool,
    /// Whether the text brings its zone (`%z`, `%Z`, or a literal `Z` behind the seconds).
    has_zone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    /// Any run of blanks.
    Blanks,
    /// This byte.
    Byte(u8),
    /// A number in a range, of at most as many digits as its end has.
    Number(Field, u16, u16),
    /// A number in a range without meaning: a week.
    Ignored(u16, u16),
    DayName,
    MonthName,
    /// A blank that may stand before a day of one digit.
    OptionalBlank,
    AmPm,
    Epoch,
    /// A character and the digits behind it: the year of a week.
    WeekYear,
    Zone,
    ZoneName,
    Fraction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Year,
    /// Two digits of a year.
    ShortYear,
    Century,
    /// From 1.
    Month,
    Day,
    /// From 1.
    DayOfYear,
    Hour,
    Minute,
    Second,
}

/// A format that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TimeFormatError(pub String);

/// A moment as a text gives it: civil time and distance from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Civil {
    /// Year of the common era.
    pub year: i64,
    /// From 1.
    pub month: i64,
    /// From 1; beyond the month's end it runs over.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 60.
    pub second: i64,
    /// Nanoseconds.
    pub nanos: u32,
    /// Seconds east of UTC.
    pub offset: i64,
}

impl Civil {
    /// Seconds since the epoch, taking `offset` seconds east of UTC as its zone.
    pub fn epoch(&self, offset: i64) -> i64 {
        let days = days_from_civil(self.year, self.month) + self.day - 1;
        days * 86_400 + self.hour * 3600 + self.minute * 60 + self.second - offset
    }

    /// The civil time of `secs` since the epoch, in UTC.
    pub fn from_epoch(secs: i64) -> Self {
        let (days, rest) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        Self {
            year,
            month,
            day,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            ..Self::default()
        }
    }
}

/// Days from the epoch to the first of a month.
fn days_from_civil(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

const DAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
/// Letters of a short name.
const SHORT: usize = 3;

impl TimeFormat {
    /// Compiles a format.
    ///
    /// # Errors
    /// Names the conversion that does not exist.
    pub fn new(format: &str) -> Result<Self, TimeFormatError> {
        let mut items = Vec::new();
        compile(format, &mut items)?;
        let has = |part: &str| format.contains(part);
        Ok(Self {
            items,
            has_year: has("%Y") || has("%y") || has("%s"),
            has_zone: has("%z") || has("%Z") || has("%SZ") || has("%S.%LZ"),
        })
    }

    /// Whether the text brings its year.
    pub fn has_year(&self) -> bool {
        self.has_year
    }

    /// Whether the text brings its zone; else it is the reader's to know.
    pub fn has_zone(&self) -> bool {
        self.has_zone
    }

    /// Reads a text. `today` gives what a format without year lacks. `strict` off: what was read before the text and
    /// the format part stands.
    pub fn parse(&self, text: &[u8], today: impl FnOnce() -> Civil, strict: bool) -> Option<Civil> {
        let mut state = State {
            text,
            at: 0,
            civil: Civil {
                year: 1900,
                month: 1,
                ..Civil::default()
            },
            seen: Seen::default(),
        };
        let today = (!self.has_year).then(|| {
            let today = today();
            state.civil.year = today.year;
            state.civil.month = today.month;
            state.civil.day = today.day;
            state.seen.year = true;
            state.blanks();
            today
        });
        let whole = self.items.iter().all(|item| state.take(*item).is_some());
        if !whole && strict {
            return None;
        }
        state.complete();
        if let Some(today) = today.filter(|_| !state.seen.own_year) {
            state.civil.year += turn_of_the_year(today.month, state.civil.month);
        }
        Some(state.civil)
    }
}

/// A December line read in January is of last year, a January line read in December of the next.
fn turn_of_the_year(now: i64, then: i64) -> i64 {
    match (now, then) {
        (1, 12) => -1,
        (12, 1) => 1,
        _ => 0,
    }
}

impl fmt::Display for TimeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} items", self.items.len())
    }
}

fn compile(format: &str, items: &mut Vec<Item>) -> Result<(), TimeFormatError> {
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c.is_ascii_whitespace() {
            if items.last() != Some(&Item::Blanks) {
                items.push(Item::Blanks);
            }
            continue;
        }
        if c != '%' {
            let mut utf8 = [0; 4];
            items.extend(c.encode_utf8(&mut utf8).bytes().map(Item::Byte));
            continue;
        }
        let mut conversion = chars.next();
        // Alternative forms of a locale: the same here.
        while let Some('E' | 'O') = conversion {
            conversion = chars.next();
        }
        let Some(conversion) = conversion else {
            return Err(TimeFormatError("ends in a lone `%`".into()));
        };
        convert(conversion, items)?;
    }
    Ok(())
}

fn convert(conversion: char, items: &mut Vec<Item>) -> Result<(), TimeFormatError> {
    let item = match conversion {
        '%' => Item::Byte(b'%'),
        'c' => return compile("%a %b %e %H:%M:%S %Y", items),
        'D' | 'x' => return compile("%m/%d/%y", items),
        'F' => return compile("%Y-%m-%d", items),
        'R' => return compile("%H:%M", items),
        'r' => return compile("%I:%M:%S %p", items),
        'T' | 'X' => return compile("%H:%M:%S", items),
        'A' | 'a' => Item::DayName,
        'B' | 'b' | 'h' => Item::MonthName,
        'C' => Item::Number(Field::Century, 0, 99),
        'd' => Item::Number(Field::Day, 1, 31),
        'e' => {
            items.push(Item::OptionalBlank);
            Item::Number(Field::Day, 1, 31)
        }
        'H' | 'k' => Item::Number(Field::Hour, 0, 23),
        'I' | 'l' => Item::Number(Field::Hour, 1, 12),
        'j' => Item::Number(Field::DayOfYear, 1, 366),
        'M' => Item::Number(Field::Minute, 0, 59),
        'm' => Item::Number(Field::Month, 1, 12),
        'p' => Item::AmPm,
        'S' => Item::Number(Field::Second, 0, 60),
        's' => Item::Epoch,
        'U' | 'W' | 'V' => Item::Ignored(0, 53),
        'w' => Item::Ignored(0, 6),
        'u' => Item::Ignored(1, 7),
        'g' => Item::Ignored(0, 99),
        'G' => Item::WeekYear,
        'Y' => Item::Number(Field::Year, 0, 9999),
        'y' => Item::Number(Field::ShortYear, 0, 99),
        'Z' => Item::ZoneName,
        'z' => Item::Zone,
        'n' | 't' => Item::Blanks,
        'L' if !items.contains(&Item::Fraction) => Item::Fraction,
        'L' => return Err(TimeFormatError("`%L` may stand once".into())),
        other => return Err(TimeFormatError(format!("there is no conversion `%{other}`"))),
    };
    items.push(item);
    Ok(())
}

/// What a text has given so far.
#[derive(Default, Clone, Copy)]
struct Seen {
    year: bool,
    /// The year is the text's own.
    own_year: bool,
    month: bool,
    day: bool,
    day_of_year: Option<i64>,
    short_year: Option<i64>,
    century: Option<i64>,
}

struct State<'t> {
    text: &'t [u8],
    at: usize,
    civil: Civil,
    seen: Seen,
}

impl State<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        while self
            .peek()
            .is_some_and(|byte| byte.is_ascii_whitespace() || byte == 0x0b)
        {
            self.at += 1;
        }
    }

    /// Reads what one item takes; none: the text does not fit it.
    #[inline]
    fn take(&mut self, item: Item) -> Option<()> {
        if item == Item::Blanks {
            self.blanks();
            return Some(());
        }
        let next = self.peek()?;
        match item {
            Item::Blanks => {}
            Item::Byte(byte) => {
                if byte != next {
                    return None;
                }
                self.at += 1;
            }
            Item::Number(field, low, high) => {
                let number = self.number(low, high)?;
                self.set(field, i64::from(number));
            }
            Item::Ignored(low, high) => {
                self.number(low, high)?;
            }
            Item::DayName => {
                self.name(&DAYS)?;
            }
            Item::MonthName => {
                let month = self.name(&MONTHS)?;
                self.set(Field::Month, month as i64 + 1);
            }
            Item::OptionalBlank => self.at += usize::from(next.is_ascii_whitespace()),
            Item::AmPm => self.am_pm()?,
            Item::Epoch => self.epoch()?,
            Item::WeekYear => {
                self.at += 1;
                self.at += self.rest().iter().take_while(|b| b.is_ascii_digit()).count();
            }
            Item::Zone => self.zone()?,
            Item::ZoneName => self.zone_name()?,
            Item::Fraction => self.fraction()?,
        }
        Some(())
    }

    /// A number of at most as many digits as `high` has, and no more than keep it below `high`.
    #[inline]
    fn number(&mut self, low: u16, high: u16) -> Option<u16> {
        let (low, high) = (u32::from(low), u32::from(high));
        let (mut number, mut left) = (0u32, high);
        loop {
            let digit = self.peek().filter(u8::is_ascii_digit)?;
            number = number * 10 + u32::from(digit - b'0');
            self.at += 1;
            left /= 10;
            let more = number * 10 <= high && left > 0;
            if !more || !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                break;
            }
        }
        (low..=high).contains(&number).then_some(number as u16)
    }

    fn set(&mut self, field: Field, number: i64) {
        match field {
            Field::Year => {
                self.civil.year = number;
                self.seen.year = true;
                self.seen.own_year = true;
                self.seen.short_year = None;
            }
            Field::ShortYear => self.seen.short_year = Some(number),
            Field::Century => self.seen.century = Some(number * 100),
            Field::Month => {
                self.civil.month = number;
                self.seen.month = true;
            }
            Field::Day => {
                self.civil.day = number;
                self.seen.day = true;
            }
            Field::DayOfYear => self.seen.day_of_year = Some(number),
            Field::Hour => self.civil.hour = number,
            Field::Minute => self.civil.minute = number,
            Field::Second => self.civil.second = number,
        }
    }

    /// A name, whole or its first three letters, in any case.
    fn name(&mut self, names: &[&str]) -> Option<usize> {
        let rest = self.rest();
        let starts = |name: &str| {
            rest.get(..name.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(name.as_bytes()))
        };
        let (index, len) = names.iter().enumerate().find_map(|(index, name)| {
            if starts(name) {
                return Some((index, name.len()));
            }
            starts(&name[..SHORT]).then_some((index, SHORT))
        })?;
        self.at += len;
        Some(index)
    }

    fn am_pm(&mut self) -> Option<()> {
        let hour = self.civil.hour;
        let pm = match self.rest().get(..2)? {
            head if head.eq_ignore_ascii_case(b"am") => false,
            head if head.eq_ignore_ascii_case(b"pm") => true,
            _ => return None,
        };
        if hour > 12 {
            return None;
        }
        self.civil.hour = hour % 12 + if pm { 12 } else { 0 };
        self.at += 2;
        Some(())
    }

    fn epoch(&mut self) -> Option<()> {
        let digits = self
            .rest()
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let text = std::str::from_utf8(&self.rest()[..digits]).ok()?;
        let secs: i64 = text.parse().ok()?;
        // Beyond this the civil form has no year.
        if secs > 253_402_300_799 {
            return None;
        }
        self.at += digits;
        let nanos = self.civil.nanos;
        self.civil = Civil::from_epoch(secs);
        self.civil.nanos = nanos;
        self.seen = Seen {
            year: true,
            own_year: true,
            month: true,
            day: true,
            ..Seen::default()
        };
        Some(())
    }

    /// `Z`, `UT`, `UTC`, `GMT`, `+hhmm`, `+hh:mm`, `+hh`, or a name of North America.
    fn zone(&mut self) -> Option<()> {
        self.blanks();
        let rest = self.rest();
        let sign = match rest.first()? {
            b'+' => 1,
            b'-' => -1,
            b'Z' => return self.zone_at(1, 0),
            b'G' => return rest.starts_with(b"GMT").then(|| self.zone_at(3, 0))?,
            b'U' if rest.starts_with(b"UTC") => return self.zone_at(3, 0),
            b'U' => return rest.starts_with(b"UT").then(|| self.zone_at(2, 0))?,
            _ => {
                let name = rest.get(..3)?;
                let american = matches!(
                    name.to_ascii_uppercase().as_slice(),
                    [b'E' | b'C' | b'M' | b'P', b'S' | b'D', b'T']
                );
                let offset = zones::by_name(name).filter(|_| american)?;
                return self.zone_at(3, i64::from(offset));
            }
        };
        let digit = |at: usize| {
            rest.get(at)
                .filter(|byte| byte.is_ascii_digit())
                .map(|byte| i64::from(byte - b'0'))
        };
        let mut offset = (digit(1)? * 10 + digit(2)?) * 3600;
        let mut at = 3 + usize::from(rest.get(3) == Some(&b':'));
        if let Some(tens) = digit(at) {
            offset += (tens * 10 + digit(at + 1)?) * 60;
            at += 2;
        }
        self.zone_at(at, sign * offset)
    }

    fn zone_at(&mut self, len: usize, offset: i64) -> Option<()> {
        self.at += len;
        self.civil.offset = offset;
        Some(())
    }

    fn zone_name(&mut self) -> Option<()> {
        let rest = self.rest();
        let len = rest
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric())
            .count();
        if let Some(offset) = zones::by_name(&rest[..len]) {
            return self.zone_at(len, i64::from(offset));
        }
        let utc = rest.starts_with(b"GMT") || rest.starts_with(b"UTC");
        utc.then(|| self.zone_at(3, 0))?
    }

    /// Digits of a fraction: nine count, all are taken.
    fn fraction(&mut self) -> Option<()> {
        let rest = self.rest();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let mut nanos = 0;
        for at in 0..9 {
            let digit = rest
                .get(at)
                .filter(|_| at < digits)
                .map_or(0, |byte| u32::from(byte - b'0'));
            nanos = nanos * 10 + digit;
        }
        self.civil.nanos = nanos;
        self.at += digits;
        Some(())
    }

    /// Works out what follows from the rest: the year of two digits, month and day from the day of the year.
    fn complete(&mut self) {
        if let Some(short) = self.seen.short_year {
            let base = self.seen.century.unwrap_or(if short <= 68 { 2000 } else { 1900 });
            self.civil.year = base + short;
            self.seen.year = true;
            self.seen.own_year = true;
        }
        if let Some(day) = self.seen.day_of_year.filter(|_| self.seen.year) {
            let first = days_from_civil(self.civil.year, 1);
            let (_, month, of_month) = civil_from_days(first + day - 1);
            if !self.seen.month {
                self.civil.month = month;
            }
            if !self.seen.day {
                self.civil.day = of_month;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn today() -> Civil {
        Civil::from_epoch(1_731_000_000)
    }

    #[track_caller]
    fn check(format: &str, text: &str, want: Option<&str>) {
        let format = TimeFormat::new(format).unwrap();
        let got = format.parse(text.as_bytes(), today, true);
        let print = |civil: Civil| format!("{}.{:09}", civil.epoch(civil.offset), civil.nanos);
        assert_eq!(got.map(print).as_deref(), want, "{text}");
    }

    #[test]
    fn usual_formats() {
        let seven = Some("1714979289.000000000");
        check("%Y-%m-%d %H:%M:%S", "2024-05-06 07:08:09", seven);
        check("%d/%b/%Y:%H:%M:%S %z", "06/May/2024:07:08:09 +0000", seven);
        check("%a, %d %b %Y %H:%M:%S %Z", "Mon, 06 May 2024 07:08:09 GMT", seven);
        check("%Y%m%d%H%M%S", "20240506070809", seven);
        check("%FT%T", "2024-05-06T07:08:09", seven);
        check("%e %B %Y %H:%M:%S", " 6 May 2024   07:08:09", seven);
        check("%c", "Mon May  6 07:08:09 2024", seven);
        check("%D %r", "05/06/24 07:08:09 AM", seven);
        check("%Y-%j %T", "2024-127 07:08:09", seven);
        check(
            "%Y-%m-%d %I:%M:%S %p",
            "2024-05-06 07:08:09 PM",
            Some("1715022489.000000000"),
        );
        check("%C%y-%m-%d %T", "2024-05-06 07:08:09", seven);
        check("%s", "1714979289", seven);
        check("%G-W%V-%u %F %T", "2024-W19-1 2024-05-06 07:08:09", seven);
    }

    #[test]
    fn fractions_and_zones() {
        check("%s.%L", "1700000123.75", Some("1700000123.750000000"));
        check(
            "%FT%T.%LZ",
            "2024-05-06T07:08:09.1234567891Z",
            Some("1714979289.123456789"),
        );
        check(
            "%FT%T.%L%z",
            "2024-05-06T07:08:09.5+01:30",
            Some("1714973889.500000000"),
        );
        check(
            "%T %z %F",
            "07:08:09 -08 2024-05-06",
            Some("1715008089.000000000"),
        );
        check(
            "%F %T %Z",
            "2024-05-06 07:08:09 CEST tail",
            Some("1714972089.000000000"),
        );
        check(
            "%F %T %z",
            "2024-05-06 07:08:09 PDT",
            Some("1715004489.000000000"),
        );
        check("%FT%T.%LZ", "2024-05-06T07:08:09.Z", None);
        check("%F %T %Z", "2024-05-06 07:08:09 Nowhere", None);
    }

    #[test]
    fn what_does_not_fit() {
        check("%Y-%m-%d", "2024-13-01", None);
        check("%Y-%m-%d", "2024-05", None);
        check("%H:%M:%S", "24:00:00", None);
        check("%H %p", "13 PM", None);
        check("%Y-%m-%d", "2024-05-06 and more", Some("1714953600.000000000"));
        check("%Y-%m-%d", "2024-02-31", Some("1709337600.000000000"));
        let format = TimeFormat::new("%Y-%m-%d %H:%M").unwrap();
        let loose = format.parse(b"2024-05-06", today, false).unwrap();
        assert_eq!((loose.year, loose.month, loose.day, loose.hour), (2024, 5, 6, 0));
    }

    #[test]
    fn a_format_without_year_takes_the_present_one() {
        check("%b %d %H:%M:%S", "May  6 07:08:09", Some("1714979289.000000000"));
        check("%H:%M:%S", "17:20:00", Some("1731000000.000000000"));
        let format = TimeFormat::new("%b %d").unwrap();
        let year = |now: i64, text: &str| {
            let today = || Civil::from_epoch(now);
            format.parse(text.as_bytes(), today, true).unwrap().year
        };
        assert_eq!(
            year(1_735_700_000, "Dec 31"),
            2024,
            "read on the first of January 2025"
        );
        assert_eq!(
            year(1_735_600_000, "Jan 1"),
            2025,
            "read on the last of December 2024"
        );
    }

    #[test]
    fn bad_formats_are_named() {
        for (format, want) in [
            ("%Q", "there is no conversion `%Q`"),
            ("%H:%", "ends in a lone `%`"),
            ("%L%L", "`%L` may stand once"),
        ] {
            assert_eq!(TimeFormat::new(format).unwrap_err().to_string(), want);
        }
    }

    proptest! {
        /// Guarantees: civil time and seconds go back and forth.
        #[test]
        fn civil_and_back(secs in -60_000_000_000i64..200_000_000_000) {
            prop_assert_eq!(Civil::from_epoch(secs).epoch(0), secs);
        }

        /// Guarantees: what is printed is read; any text is read without a panic.
        #[test]
        fn printed_and_read(secs in 0i64..253_402_300_799, nanos in 0u32..1_000_000_000, junk in ".{0,20}") {
            let civil = Civil::from_epoch(secs);
            let text = format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{nanos:09}Z",
                civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second,
            );
            let format = TimeFormat::new("%Y-%m-%dT%H:%M:%S.%L%z").unwrap();
            let read = format.parse(text.as_bytes(), today, true).unwrap();
            prop_assert_eq!((read.epoch(read.offset), read.nanos), (secs, nanos));
            for format in ["%c %Z", "%s.%L %z", "%G %u %e%p%j"] {
                let _ = TimeFormat::new(format).unwrap().parse(junk.as_bytes(), today, false);
            }
        }
    }
}
