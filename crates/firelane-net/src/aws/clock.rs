//! The time of the services, where ours is off: signatures of another time are refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use ::http::{HeaderMap, header};
use aws_smithy_async::time::TimeSource;
use aws_smithy_types::date_time::{DateTime, Format};

/// Seconds: a difference of clocks below this is none.
const SKEW_MIN: i64 = 60;
/// Seconds: years beyond this one are no date of a service (the year 9999).
const YEARS_MAX: i64 = 253_402_300_799;

/// A clock that is set by the services' answers. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock(Arc<AtomicI64>);

impl Clock {
    /// Seconds that the services are ahead of the machine's clock; negative where they are behind.
    pub(super) fn ahead(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Compares the `Date` of an answer with the time `used` (as [`ahead`](Self::ahead) gave it) to sign
    /// its request. Returns the difference of both clocks where the request was signed with a wrong time,
    /// and keeps it.
    pub(super) fn set_by(&self, headers: &HeaderMap, used: i64) -> Option<i64> {
        let date = headers.get(header::DATE)?.to_str().ok()?;
        let ahead = ahead(date, SystemTime::now())?;
        if (ahead - used).abs() < SKEW_MIN {
            return None;
        }
        self.0.store(ahead, Ordering::Relaxed);
        Some(ahead)
    }

    /// The machine's time with `ahead` seconds added.
    pub(super) fn time(ahead: i64) -> SystemTime {
        let now = SystemTime::now();
        let by = Duration::from_secs(ahead.unsigned_abs());
        let there = if ahead < 0 {
            now.checked_sub(by)
        } else {
            now.checked_add(by)
        };
        there.unwrap_or(now)
    }
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        Self::time(self.ahead())
    }
}

/// Seconds that an answer's `Date` is ahead of `now`; none for dates before 1970.
fn ahead(date: &str, now: SystemTime) -> Option<i64> {
    let date = DateTime::from_str(date, Format::HttpDate).ok()?.secs();
    let date = Some(date).filter(|date| (0..=YEARS_MAX).contains(date))?;
    Some(date - DateTime::from(now).secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_tell_the_skew() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(ahead("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(0));
        assert_eq!(ahead("Sun, 06 Nov 1994 08:59:37 GMT", now), Some(600));
        assert_eq!(ahead("Sun, 06 Nov 1994 07:49:37 GMT", now), Some(-3600));
        for date in ["yesterday", "", "Sun, 06 Nov 0001 07:49:37 GMT"] {
            assert_eq!(ahead(date, now), None, "{date}");
        }
    }

    #[test]
    fn it_is_set_where_the_used_time_was_wrong() {
        let clock = Clock::default();
        let answered = |ahead: i64| {
            let date = DateTime::from(Clock::time(ahead));
            let text = date.fmt(Format::HttpDate).unwrap();
            HeaderMap::from_iter([(header::DATE, text.parse().unwrap())])
        };
        assert_eq!(clock.set_by(&answered(30), 0), None);
        assert_eq!(clock.ahead(), 0);
        let ahead = clock.set_by(&answered(600), 0).unwrap();
        assert!((599..=601).contains(&ahead), "{ahead}");
        assert_eq!(clock.ahead(), ahead);
        // A request that was signed before the clock was set.
        assert!(clock.set_by(&answered(600), 0).is_some());
        assert_eq!(clock.set_by(&answered(600), 600), None);
        assert_eq!(clock.set_by(&HeaderMap::new(), 0), None);
    }

    proptest! {
        #[test]
        fn no_date_panics(date in "\\PC*", year in 0..99999i64) {
            let now = SystemTime::now();
            ahead(&date, now);
            if let Some(ahead) = ahead(&format!("Sun, 06 Nov {year:04} 08:49:37 GMT"), now) {
                Clock::time(ahead);
            }
        }
    }
}
