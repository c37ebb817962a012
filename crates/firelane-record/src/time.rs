//! The time of an event and its forms on the wire.

use crate::json::number::{two_digits, write_i64};
use crate::msgpack::{self, Token};

/// Seconds and nanoseconds since 1970-01-01T00:00:00Z. Never goes through a float on its way, unless it came
/// as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Whole seconds; negative before 1970.
    pub secs: i64,
    /// `0 <= nanos < 1_000_000_000`
    pub nanos: u32,
}

/// Nanoseconds in a second.
pub const NANOS: u32 = 1_000_000_000;

impl Timestamp {
    /// A time from its parts; `None` when `nanos` is a second or more.
    pub fn new(secs: i64, nanos: u32) -> Option<Self> {
        (nanos < NANOS).then_some(Self { secs, nanos })
    }

    /// From seconds as a double, as JSON inputs and old clients write them; `None` if not finite or out of
    /// range.
    pub fn from_f64(secs: f64) -> Option<Self> {
        if !secs.is_finite() || secs.abs() > 9.0e18 {
            return None;
        }
        let whole = secs.floor();
        let nanos = ((secs - whole) * f64::from(NANOS)).min(f64::from(NANOS - 1)) as u32;
        Some(Self {
            secs: whole as i64,
            nanos,
        })
    }

    /// As seconds in a double: about 0.24 µs of precision at present times.
    pub fn to_f64(self) -> f64 {
        self.secs as f64 + f64::from(self.nanos) / f64::from(NANOS)
    }

    /// From a wall clock.
    pub fn from_system(time: std::time::SystemTime) -> Self {
        match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => Self {
                secs: since.as_secs() as i64,
                nanos: since.subsec_nanos(),
            },
            Err(_) => Self::default(),
        }
    }

    /// Appends `seconds.nanoseconds`, the latter with nine digits, as Fluent Bit's text outputs print it.
    pub fn write_text(self, out: &mut Vec<u8>) {
        write_i64(out, self.secs);
        let n = u64::from(self.nanos);
        out.extend_from_slice(&[b'.', b'0' + (n / 100_000_000 % 10) as u8]);
        for pair in [n / 1_000_000, n / 10_000, n / 100, n] {
            out.extend_from_slice(&two_digits(pair));
        }
    }

    /// Milliseconds since the epoch, cut.
    pub fn millis(self) -> i64 {
        self.secs
            .saturating_mul(1000)
            .saturating_add(i64::from(self.nanos / 1_000_000))
    }

    /// Appends the MessagePack form: EventTime (ext type 0, 8 bytes) where the seconds fit 32 bits, else an
    /// integer.
    pub fn write(self, out: &mut Vec<u8>) {
        match u32::try_from(self.secs) {
            Ok(secs) => {
                let mut raw = [0xd7, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                raw[2..6].copy_from_slice(&secs.to_be_bytes());
                raw[6..10].copy_from_slice(&self.nanos.to_be_bytes());
                out.extend_from_slice(&raw);
            }
            Err(_) => msgpack::write_int(out, self.secs),
        }
    }

    /// Reads any legal form: integer, float, EventTime. `None` for another type, ext type or length, or a
    /// nanosecond part of a second or more.
    pub fn from_token(token: &Token<'_>) -> Option<Self> {
        match *token {
            Token::Int(secs) => Some(Self { secs, nanos: 0 }),
            Token::UInt(secs) => Some(Self {
                secs: i64::try_from(secs).unwrap_or(i64::MAX),
                nanos: 0,
            }),
            Token::F32(secs) => Self::from_f64(f64::from(secs)),
            Token::F64(secs) => Self::from_f64(secs),
            Token::Ext(0, raw) => {
                let raw: &[u8; 8] = raw.try_into().ok()?;
                let (secs, nanos) = raw.split_at(4);
                let secs = u32::from_be_bytes(secs.try_into().ok()?);
                Self::new(i64::from(secs), u32::from_be_bytes(nanos.try_into().ok()?))
            }
            _ => None,
        }
    }

    /// Whether this is one of Fluent Bit's group markers: seconds `0xFFFFFFFF` (start) or `0xFFFFFFFE` (end).
    pub fn is_group_marker(self) -> bool {
        self.nanos == 0 && (self.secs == 0xFFFF_FFFF || self.secs == 0xFFFF_FFFE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_nine_decimals() {
        for (secs, nanos, want) in [
            (7, 8, "7.000000008"),
            (-1, 123_456_789, "-1.123456789"),
            (0, 999_999_999, "0.999999999"),
        ] {
            let mut out = Vec::new();
            Timestamp { secs, nanos }.write_text(&mut out);
            assert_eq!(out, want.as_bytes());
        }
    }

    #[track_caller]
    fn round_trip(time: Timestamp) {
        let mut out = Vec::new();
        time.write(&mut out);
        let (token, used) = msgpack::read(&out).unwrap();
        assert_eq!((Timestamp::from_token(&token), used), (Some(time), out.len()));
    }

    #[test]
    fn every_time_comes_back() {
        round_trip(Timestamp {
            secs: 1_700_000_000,
            nanos: 999_999_999,
        });
        round_trip(Timestamp { secs: 0, nanos: 0 });
        round_trip(Timestamp { secs: -5, nanos: 0 });
        round_trip(Timestamp {
            secs: 1_700_000_000_000,
            nanos: 0,
        });
    }

    #[test]
    fn floats_keep_their_fraction() {
        assert_eq!(
            Timestamp::from_f64(1.5),
            Some(Timestamp {
                secs: 1,
                nanos: 500_000_000
            })
        );
        assert_eq!(Timestamp::from_f64(f64::NAN), None);
        assert_eq!(
            Timestamp::from_f64(-0.5),
            Some(Timestamp {
                secs: -1,
                nanos: 500_000_000
            })
        );
    }
}
