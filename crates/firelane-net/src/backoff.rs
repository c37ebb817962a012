//! Waiting times: Fluent Bit's retry wait, and jitter for anything periodic.
//!
//! Pure: randomness is an argument ([`Random`]), nothing here sleeps.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// A source of random numbers, given by the caller so that tests can seed it.
pub trait Random {
    /// The next 64 random bits.
    fn next_u64(&mut self) -> u64;

    /// A number in `low..=high` (`low` where the range is empty).
    fn between(&mut self, low: u64, high: u64) -> u64 {
        match high.checked_sub(low) {
            None | Some(0) => low,
            Some(u64::MAX) => self.next_u64(),
            // Scaling instead of a remainder: no visible bias for the small ranges used here.
            Some(span) => low + ((u128::from(self.next_u64()) * u128::from(span + 1)) >> 64) as u64,
        }
    }
}

/// SplitMix64: small, fast, good enough to spread retries. Not for secrets.
#[derive(Debug, Clone)]
pub struct Jitter {
    state: u64,
}

impl Jitter {
    /// A reproducible sequence.
    pub fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A sequence that differs in every process and call (seeded from the standard library's hash keys).
    pub fn from_entropy() -> Self {
        Self::seeded(RandomState::new().build_hasher().finish())
    }
}

impl Random for Jitter {
    fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Service keys `scheduler.base` and `scheduler.cap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryWait {
    /// Smallest wait before the constant second that is always added.
    pub base: Duration,
    /// Largest wait before that second.
    pub cap: Duration,
}

impl Default for RetryWait {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(5),
            cap: Duration::from_secs(2000),
        }
    }
}

impl RetryWait {
    /// Wait before retry `n` (1, 2, …): 1 s + a random whole number of seconds in
    /// `[base, min(cap, base * 2^n)]`. A cap below the base wins.
    pub fn before(&self, n: u32, random: &mut impl Random) -> Duration {
        let base = self.base.as_secs();
        let cap = self.cap.as_secs();
        let grown = 1u64
            .checked_shl(n)
            .and_then(|factor| base.checked_mul(factor))
            .unwrap_or(cap);
        let high = grown.min(cap);
        Duration::from_secs(random.between(base.min(high), high).saturating_add(1))
    }
}

/// `wait` shortened by a random part of up to `percent` (0–100), so that many waiters do not wake at once.
pub fn spread(wait: Duration, percent: u8, random: &mut impl Random) -> Duration {
    let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
    let most = nanos / 100 * u64::from(percent.min(100));
    Duration::from_nanos(nanos - random.between(0, most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Fixed(u64);

    impl Random for Fixed {
        fn next_u64(&mut self) -> u64 {
            self.0
        }
    }

    #[track_caller]
    fn check(n: u32, base: u64, cap: u64, want: std::ops::RangeInclusive<u64>) {
        let wait = RetryWait {
            base: Duration::from_secs(base),
            cap: Duration::from_secs(cap),
        };
        assert_eq!(wait.before(n, &mut Fixed(0)).as_secs(), *want.start(), "lowest");
        assert_eq!(
            wait.before(n, &mut Fixed(u64::MAX)).as_secs(),
            *want.end(),
            "highest"
        );
    }

    #[test]
    fn retry_waits_grow_to_the_cap() {
        check(1, 5, 2000, 6..=11);
        check(2, 5, 2000, 6..=21);
        check(8, 5, 2000, 6..=1281);
        check(9, 5, 2000, 6..=2001);
        check(64, 5, 2000, 6..=2001);
        check(u32::MAX, 5, 2000, 6..=2001);
        check(1, 1, 1, 2..=2);
        check(3, 10, 2, 3..=3);
        check(1, 0, 0, 1..=1);
    }

    #[test]
    fn a_seed_repeats_and_entropy_differs() {
        let draw = |mut random: Jitter| [random.next_u64(), random.next_u64()];
        assert_eq!(draw(Jitter::seeded(17)), draw(Jitter::seeded(17)));
        assert_ne!(draw(Jitter::from_entropy()), draw(Jitter::from_entropy()));
    }

    proptest! {
        #[test]
        fn between_stays_in_range(seed: u64, low: u64, span: u64) {
            let high = low.saturating_add(span);
            let got = Jitter::seeded(seed).between(low, high);
            prop_assert!((low..=high).contains(&got));
        }

        #[test]
        fn spread_only_shortens(seed: u64, millis in 0u64..10_000_000, percent: u8) {
            let wait = Duration::from_millis(millis);
            let got = spread(wait, percent, &mut Jitter::seeded(seed));
            prop_assert!(got <= wait);
            prop_assert!(wait - got <= wait * u32::from(percent.min(100)) / 100);
        }
    }
}
