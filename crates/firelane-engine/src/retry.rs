//! When a failed chunk is sent again.

use std::time::Duration;

/// How often a chunk is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryLimit {
    /// Until it is delivered (`no_limits`, `false`, `off`, and the default).
    Unlimited,
    /// So many times after the first try (`Retry_Limit N`; `no_retries` is 0).
    Times(u32),
}

impl RetryLimit {
    /// From the property's text, as Fluent Bit reads it: a number of 0 or less, or junk, is 1.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        if ["no_limits", "false", "off"]
            .iter()
            .any(|word| text.eq_ignore_ascii_case(word))
        {
            return Self::Unlimited;
        }
        if text.eq_ignore_ascii_case("no_retries") {
            return Self::Times(0);
        }
        Self::Times(
            text.parse::<i64>()
                .ok()
                .filter(|&n| n > 0)
                .map_or(1, |n| n.min(i64::from(u32::MAX)) as u32),
        )
    }

    /// Whether a chunk that failed `attempts` times may be sent again.
    pub fn allows(self, attempts: u32) -> bool {
        match self {
            Self::Unlimited => true,
            Self::Times(n) => attempts <= n,
        }
    }
}

/// Fluent Bit's schedule: the wait before retry `n` is 1 + a random number of seconds in `[base, min(cap,
/// base * 2^n)]`.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// `scheduler.base`, in seconds.
    pub base: u64,
    /// `scheduler.cap`, in seconds.
    pub cap: u64,
}

impl Schedule {
    /// The wait before retry `n` (1, 2, …); `random` is any number.
    pub fn wait(self, n: u32, random: u64) -> Duration {
        let top = self
            .base
            .saturating_mul(1u64.checked_shl(n).unwrap_or(u64::MAX))
            .min(self.cap)
            .max(self.base);
        let spread = top - self.base + 1;
        let millis = random % spread.saturating_mul(1000).max(1);
        Duration::from_secs(1 + self.base) + Duration::from_millis(millis.min((spread - 1) * 1000))
    }
}

/// A small generator (xorshift64*) for jitter; not for secrets.
#[derive(Debug)]
pub struct Rng(u64);

impl Rng {
    /// Seeded; any seed will do.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_as_fluent_bit_reads_them() {
        let cases = [
            ("no_limits", RetryLimit::Unlimited),
            ("False", RetryLimit::Unlimited),
            ("no_retries", RetryLimit::Times(0)),
            ("5", RetryLimit::Times(5)),
            ("0", RetryLimit::Times(1)),
            ("-3", RetryLimit::Times(1)),
            ("junk", RetryLimit::Times(1)),
        ];
        for (text, want) in cases {
            assert_eq!(RetryLimit::parse(text), want, "{text}");
        }
        assert!(RetryLimit::Times(1).allows(1) && !RetryLimit::Times(1).allows(2));
        assert!(!RetryLimit::Times(0).allows(1));
    }

    #[test]
    fn waits_stay_between_base_and_cap() {
        let schedule = Schedule { base: 5, cap: 2000 };
        let mut rng = Rng::new(7);
        for n in 1..80 {
            for _ in 0..50 {
                let wait = schedule.wait(n, rng.draw());
                let top = 5u64
                    .saturating_mul(1u64.checked_shl(n).unwrap_or(u64::MAX))
                    .min(2000);
                assert!(
                    wait >= Duration::from_secs(6) && wait <= Duration::from_secs(1 + top),
                    "{n}: {wait:?}"
                );
            }
        }
        assert_eq!(
            Schedule { base: 1, cap: 1 }.wait(9, 12345),
            Duration::from_secs(2)
        );
    }
}
