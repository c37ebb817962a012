//! `time_format`: strptime as Fluent Bit has it (BSD's conversions and `%L`), compiled once.
//!
//! A blank of the format takes any run of blanks, also none. Text behind what the format takes is
//! accepted. `%L` takes the digits of a fraction; nine count. What is not given is zero; a format without
//! year takes the present one. A day that the month has not runs over into the next, as C's `timegm`
//! does.

mod civil;

use crate::zones;

pub use civil::Civil;
use civil::{civil_from_days, days_from_civil};

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

    /// Reads a text. `today` gives what a format without year lacks. `strict` off: what was read before
    /// the text and the format part stands.
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
mod tests;
