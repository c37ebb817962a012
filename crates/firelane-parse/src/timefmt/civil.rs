//! Civil time and seconds since the epoch, in the Gregorian calendar.

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
pub(super) fn days_from_civil(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

pub(super) fn civil_from_days(days: i64) -> (i64, i64, i64) {
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
