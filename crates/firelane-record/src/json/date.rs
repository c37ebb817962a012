//! The injected date of an event: always UTC, fractions cut to microseconds (but for `double`, which rounds).

use super::number::{two_digits, write_f64, write_i64};
use crate::Timestamp;

/// `json_date_format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DateFormat {
    /// Seconds with a fraction, `1700000000.123457`.
    #[default]
    Double,
    /// Whole seconds.
    Epoch,
    /// Whole milliseconds.
    EpochMs,
    /// `2023-11-14T22:13:20.123456Z`
    Iso8601,
    /// `2023-11-14 22:13:20.123456`
    JavaSqlTimestamp,
}

impl DateFormat {
    /// Names, aliases included, as Fluent Bit takes them.
    pub const NAMES: [(&'static str, Self); 7] = [
        ("double", Self::Double),
        ("epoch", Self::Epoch),
        ("epoch_ms", Self::EpochMs),
        ("epoch_millis", Self::EpochMs),
        ("epoch_milliseconds", Self::EpochMs),
        ("iso8601", Self::Iso8601),
        ("java_sql_timestamp", Self::JavaSqlTimestamp),
    ];

    /// The format of that name, whatever its case.
    pub fn from_name(name: &str) -> Option<Self> {
        let known = |known: &&(&str, Self)| known.0.eq_ignore_ascii_case(name);
        Self::NAMES.iter().find(known).map(|known| known.1)
    }

    /// Appends the time as a JSON value.
    #[inline]
    pub fn write(self, out: &mut Vec<u8>, time: Timestamp) {
        match self {
            Self::Double => write_f64(out, time.to_f64()),
            Self::Epoch => write_i64(out, time.secs),
            Self::EpochMs => write_i64(out, time.millis()),
            Self::Iso8601 => date_time(out, time, b'T', b"Z\""),
            Self::JavaSqlTimestamp => date_time(out, time, b' ', b"\""),
        }
    }
}

/// Days since 1970-01-01 as year, month, day of the Gregorian calendar. Counts in eras of 400 years that
/// begin on the first of March, so that the leap day is the last of its year.
pub(crate) fn civil(days: i64) -> (i64, u64, u64) {
    const ERA_DAYS: i64 = 146_097;
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(ERA_DAYS);
    let day_of_era = days.rem_euclid(ERA_DAYS) as u64;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era as i64 + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn date_time(out: &mut Vec<u8>, time: Timestamp, between: u8, end: &[u8]) {
    let (year, month, day) = civil(time.secs.div_euclid(86_400));
    let of_day = time.secs.rem_euclid(86_400) as u64;
    let micros = u64::from(time.nanos / 1_000);
    out.push(b'"');
    if (0..10_000).contains(&year) {
        out.extend_from_slice(&two_digits(year as u64 / 100));
        out.extend_from_slice(&two_digits(year as u64));
    } else {
        write_i64(out, year);
    }
    let mut text = *b"-00-00T00:00:00.000000";
    let fields = [
        (1, month),
        (4, day),
        (7, of_day / 3_600),
        (10, of_day / 60 % 60),
        (13, of_day % 60),
        (16, micros / 10_000),
        (18, micros / 100),
        (20, micros),
    ];
    for (at, value) in fields {
        text[at..at + 2].copy_from_slice(&two_digits(value));
    }
    text[6] = between;
    out.extend_from_slice(&text);
    out.extend_from_slice(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: &str, secs: i64, nanos: u32, want: &str) {
        let mut out = Vec::new();
        let format = DateFormat::from_name(format).unwrap();
        format.write(&mut out, Timestamp { secs, nanos });
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn every_format() {
        check("double", 1_700_000_000, 123_456_789, "1700000000.123457");
        check("Epoch", 1_700_000_000, 999_999_999, "1700000000");
        check("epoch_ms", 1_709_618_828, 123_999_999, "1709618828123");
        check("epoch_millis", 1, 0, "1000");
        check(
            "iso8601",
            1_700_000_000,
            123_456_789,
            r#""2023-11-14T22:13:20.123456Z""#,
        );
        check(
            "java_sql_timestamp",
            1_700_000_000,
            0,
            r#""2023-11-14 22:13:20.000000""#,
        );
        assert_eq!(DateFormat::from_name("rfc3339"), None);
    }

    #[test]
    fn the_calendar() {
        check("iso8601", 0, 999_999_999, r#""1970-01-01T00:00:00.999999Z""#);
        check("iso8601", -1, 0, r#""1969-12-31T23:59:59.000000Z""#);
        check("iso8601", 951_782_400, 0, r#""2000-02-29T00:00:00.000000Z""#);
        check("iso8601", 4_107_542_400, 0, r#""2100-03-01T00:00:00.000000Z""#);
        check("iso8601", 253_402_300_800, 0, r#""10000-01-01T00:00:00.000000Z""#);
        check("iso8601", i64::MAX, 0, r#""292277026596-12-04T15:30:07.000000Z""#);
    }
}
