//! What a parser does with the field that holds the time.

use firelane_record::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::Clock;
use crate::timefmt::{Civil, TimeFormat};

/// Where and how a parser finds the time of an event.
#[derive(Debug, Clone)]
pub(crate) struct TimeRule {
    /// The key, `time` where none was given.
    pub(crate) key: Vec<u8>,
    /// How it is written.
    pub(crate) format: TimeFormat,
    /// Whether the field stays.
    pub(crate) keep: bool,
    /// Whether a text must fit the whole format.
    pub(crate) strict: bool,
    /// Where times without zone are.
    pub(crate) zone: Zone,
    /// The present, for formats without year.
    pub(crate) clock: Clock,
}

/// Where a time without zone is.
#[derive(Debug, Clone)]
pub(crate) enum Zone {
    /// Seconds east of UTC.
    Fixed(i64),
    /// By the rules of a place.
    Place(TimeZone),
}

impl TimeRule {
    /// The time that `text` gives. The very start of the epoch counts as none, as in Fluent Bit.
    pub(crate) fn read(&self, text: &[u8]) -> Option<Timestamp> {
        let civil = self.format.parse(text, || self.today(), self.strict)?;
        let secs = match &self.zone {
            _ if self.format.has_zone() => civil.epoch(civil.offset),
            Zone::Fixed(offset) => civil.epoch(*offset),
            Zone::Place(zone) => at_place(&civil, zone)?,
        };
        Timestamp::new(secs, civil.nanos)
    }

    fn today(&self) -> Civil {
        let now = (self.clock)().secs;
        let offset = match &self.zone {
            Zone::Fixed(offset) => *offset,
            Zone::Place(zone) => {
                jiff::Timestamp::from_second(now).map_or(0, |time| i64::from(zone.to_offset(time).seconds()))
            }
        };
        Civil::from_epoch(now + offset)
    }
}

/// Seconds since the epoch of a civil time at a place; where clocks are put forward or back, the later or
/// earlier one.
fn at_place(civil: &Civil, zone: &TimeZone) -> Option<i64> {
    // Days beyond the month and leap seconds run over first.
    let plain = Civil::from_epoch(civil.epoch(0));
    let narrow = |number: i64| i8::try_from(number).ok();
    let date = DateTime::new(
        i16::try_from(plain.year).ok()?,
        narrow(plain.month)?,
        narrow(plain.day)?,
        narrow(plain.hour)?,
        narrow(plain.minute)?,
        narrow(plain.second)?,
        0,
    );
    let moment = zone.to_ambiguous_timestamp(date.ok()?).compatible().ok()?;
    Some(moment.as_second())
}

/// `time_offset`: `+hhmm`, `-hh:mm` or `Z`, in seconds.
pub(crate) fn offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, rest) = match text.as_bytes().split_first()? {
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let digits: Vec<i64> = rest
        .iter()
        .filter(|byte| **byte != b':')
        .map(|byte| byte.is_ascii_digit().then(|| i64::from(byte - b'0')))
        .collect::<Option<_>>()?;
    match digits[..] {
        [a, b, c, d] if c < 6 => Some(sign * ((a * 10 + b) * 3600 + (c * 10 + d) * 60)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets() {
        assert_eq!(offset("+0130"), Some(5400));
        assert_eq!(offset("-08:00"), Some(-28_800));
        assert_eq!(offset("Z"), Some(0));
        for text in ["", "0130", "+1", "+0170", "+aa00"] {
            assert_eq!(offset(text), None, "{text}");
        }
    }

    #[test]
    fn places_and_zones() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let rule = |zone: Zone, format: &str| TimeRule {
            key: b"time".to_vec(),
            format: TimeFormat::new(format).unwrap(),
            keep: false,
            strict: true,
            zone,
            clock: || Timestamp {
                secs: 1_731_000_000,
                nanos: 0,
            },
        };
        let secs = |rule: TimeRule, text: &str| rule.read(text.as_bytes()).map(|time| time.secs);
        let place = || Zone::Place(zone.clone());
        assert_eq!(
            secs(rule(place(), "%F %T"), "2024-05-06 09:08:09"),
            Some(1_714_979_289)
        );
        assert_eq!(
            secs(rule(place(), "%b %d %T"), "May 06 09:08:09"),
            Some(1_714_979_289)
        );
        assert_eq!(
            secs(rule(place(), "%F %T %z"), "2024-05-06 07:08:09 Z"),
            Some(1_714_979_289)
        );
        assert_eq!(
            secs(rule(Zone::Fixed(3600), "%F %T"), "2024-05-06 08:08:09"),
            Some(1_714_979_289)
        );
        assert_eq!(
            secs(rule(Zone::Fixed(3600), "%FT%TZ"), "2024-05-06T07:08:09Z"),
            Some(1_714_979_289 - 3600)
        );
        assert_eq!(secs(rule(Zone::Fixed(0), "%F %T"), "yesterday"), None);
    }
}
