//! Times as AWS writes them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in ms since the epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Seconds with a part, as JSON protocols have them.
pub(crate) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// A date's parts in UTC.
struct Civil {
    year: i64,
    month: u32,
    day: u32,
    weekday: usize,
    hour: i64,
    minute: i64,
    second: i64,
    ms: i64,
}

fn civil(ms: i64) -> Civil {
    let days = ms.div_euclid(86_400_000);
    let rest = ms.rem_euclid(86_400_000);
    // Years begin in March here, so that the leap day is the last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    Civil {
        year: year + era * 400 + i64::from(month <= 2),
        month: month as u32,
        day: day as u32,
        weekday: (days + 4).rem_euclid(7) as usize,
        hour: rest / 3_600_000,
        minute: rest / 60_000 % 60,
        second: rest / 1000 % 60,
        ms: rest % 1000,
    }
}

/// `2026-01-02T03:04:05.678Z`.
pub(crate) fn iso(ms: i64) -> String {
    let c = civil(ms);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        c.year, c.month, c.day, c.hour, c.minute, c.second, c.ms
    )
}

/// `2026-01-02T03:04:05Z`.
pub(crate) fn iso_seconds(ms: i64) -> String {
    let text = iso(ms);
    format!("{}Z", text.get(..19).unwrap_or(&text))
}

/// `Fri, 02 Jan 2026 03:04:05 GMT`.
pub(crate) fn http(ms: i64) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let c = civil(ms);
    let day = DAYS.get(c.weekday).unwrap_or(&"Sun");
    let month = MONTHS.get(c.month.saturating_sub(1) as usize).unwrap_or(&"Jan");
    format!(
        "{day}, {:02} {month} {:04} {:02}:{:02}:{:02} GMT",
        c.day, c.year, c.hour, c.minute, c.second
    )
}

/// `20260102T030405Z` to ms.
pub(crate) fn parse_basic(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        all.then(|| digits.parse::<i64>().ok()).flatten()
    };
    if text.len() != 16 || text.get(8..9)? != "T" || !text.ends_with('Z') {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let of_year = (153 * m + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms() {
        let ms = 1_767_323_045_678;
        assert_eq!(iso(ms), "2026-01-02T03:04:05.678Z");
        assert_eq!(iso_seconds(ms), "2026-01-02T03:04:05Z");
        assert_eq!(http(ms), "Fri, 02 Jan 2026 03:04:05 GMT");
        assert_eq!(parse_basic("20260102T030405Z"), Some(1_767_323_045_000));
        assert_eq!(parse_basic("20261302T030405Z"), None);
        assert_eq!(iso(951_782_400_000), "2000-02-29T00:00:00.000Z");
    }

    proptest! {
        #[test]
        fn basic_form_comes_back(secs in 0i64..4_000_000_000) {
            let text = iso_seconds(secs * 1000).replace(['-', ':'], "");
            prop_assert_eq!(parse_basic(&text), Some(secs * 1000));
        }
    }
}
