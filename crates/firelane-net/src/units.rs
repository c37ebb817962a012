//! Stand-in for `firelane_conf::units` until that module lands; same names, same meaning.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error};

/// A boolean as configurations write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
pub struct OnOff(bool);

impl From<bool> for OnOff {
    fn from(value: bool) -> Self {
        Self(value)
    }
}

impl From<OnOff> for bool {
    fn from(value: OnOff) -> Self {
        value.0
    }
}

impl<'de> Deserialize<'de> for OnOff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" => Ok(Self(true)),
            "off" | "false" | "no" => Ok(Self(false)),
            _ => Err(D::Error::custom("expected on or off")),
        }
    }
}

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
pub struct Interval(Duration);

impl From<Duration> for Interval {
    fn from(value: Duration) -> Self {
        Self(value)
    }
}

impl From<Interval> for Duration {
    fn from(value: Interval) -> Self {
        value.0
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.trim_end_matches(|last: char| last.is_ascii_alphabetic());
        let factor = match &text[digits.len()..] {
            "" | "s" | "S" => 1,
            "m" | "M" => 60,
            "h" | "H" => 3600,
            "d" | "D" => 86_400,
            _ => return Err(D::Error::custom("expected a number with s, m, h or d")),
        };
        let seconds: u64 = digits.parse().map_err(D::Error::custom)?;
        Ok(Self(Duration::from_secs(seconds.saturating_mul(factor))))
    }
}

/// A text that is never shown.
#[derive(Clone, Deserialize, JsonSchema)]
pub struct Secret(#[expect(dead_code, reason = "stand-in")] String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}
