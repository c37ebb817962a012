//! The types of properties: sizes, times, booleans, words, secrets.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use crate::span::{SourceId, Span};

/// A value that is not of its type: what is expected instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(pub String);

/// A type that is read from the text of one value.
macro_rules! from_text {
    ($name:ty, $schema:literal, $about:literal) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $schema.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "format": $about})
            }
        }
    };
}

/// Bytes: a number, decimals allowed, and `K`, `KB`, `M`, `MB`, `G`, `GB` in any case, **decimal** multiples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let bad = || {
            UnitError(format!(
                "`{text}` is not a size: write a number of bytes, or one with K, M or G (5M is 5000000)"
            ))
        };
        let trimmed = text.trim();
        if trimmed.eq_ignore_ascii_case("false") {
            return Ok(Self(0));
        }
        let digits = trimmed
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let factor = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1u64,
            "k" | "kb" => 1_000,
            "m" | "mb" => 1_000_000,
            "g" | "gb" => 1_000_000_000,
            _ => return Err(bad()),
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(factor).map(Self).ok_or_else(bad);
        }
        let decimal: f64 = number.parse().map_err(|_| bad())?;
        let bytes = decimal * factor as f64;
        if bytes.is_finite() && bytes < 1.8e19 {
            Ok(Self(bytes as u64))
        } else {
            Err(bad())
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

from_text!(ByteSize, "ByteSize", "size");

/// A time: a number of seconds, decimals allowed, or a number with `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Interval(pub Duration);

impl FromStr for Interval {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let bad = || {
            UnitError(format!(
                "`{text}` is not a time: write seconds, or a number with s, m, h or d"
            ))
        };
        let trimmed = text.trim();
        let digits = trimmed
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let factor = match unit.trim() {
            "" | "s" | "S" => 1.0,
            "ms" => 0.001,
            "m" | "M" => 60.0,
            "h" | "H" => 3600.0,
            "d" | "D" => 86_400.0,
            _ => return Err(bad()),
        };
        let number: f64 = number.parse().map_err(|_| bad())?;
        Duration::try_from_secs_f64(number * factor)
            .map(Self)
            .map_err(|_| bad())
    }
}

impl From<Duration> for Interval {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<Interval> for Duration {
    fn from(interval: Interval) -> Self {
        interval.0
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0.as_secs_f64())
    }
}

from_text!(Interval, "Interval", "time");

/// A boolean: `true`, `on`, `yes`, `false`, `off`, `no`, in any case, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OnOff(pub bool);

impl FromStr for OnOff {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" => Ok(Self(true)),
            "false" | "off" | "no" => Ok(Self(false)),
            _ => Err(UnitError(format!(
                "`{text}` is not a boolean: write on or off (or true, yes, false, no)"
            ))),
        }
    }
}

impl From<bool> for OnOff {
    fn from(on: bool) -> Self {
        Self(on)
    }
}

impl From<OnOff> for bool {
    fn from(on: OnOff) -> Self {
        on.0
    }
}

impl fmt::Display for OnOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "on" } else { "off" })
    }
}

from_text!(OnOff, "OnOff", "boolean");

/// A password, key or token: never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Keeps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        Ok(Self(text.to_string()))
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_string())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

from_text!(Secret, "Secret", "secret");

/// A user and a password, split at blanks; double quotes keep blanks. The password is never shown, nor is a
/// text that is no such pair.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

impl FromStr for Login {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        match <[String; 2]>::try_from(split_words(text, Some(2))) {
            Ok([user, password]) => Ok(Self {
                user,
                password: password.into(),
            }),
            Err(words) => Err(UnitError(format!(
                "{} words, not a user and a password; double quotes keep blanks in one",
                words.len()
            ))),
        }
    }
}

from_text!(Login, "Login", "user and password");

/// At least `MIN` words, split at blanks; double quotes keep blanks and `\"` is a quote. Text behind the
/// `MIN`th word becomes one more word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words<const MIN: usize>(pub Vec<String>);

impl<const MIN: usize> FromStr for Words<MIN> {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let words = split_words(text, Some(MIN));
        if words.len() < MIN {
            let have = words.len();
            return Err(UnitError(format!(
                "`{text}` has {have} of the {MIN} words that are needed; double quotes keep blanks in one"
            )));
        }
        Ok(Self(words))
    }
}

from_text!(Words<1>, "Words", "words");
from_text!(Words<2>, "Words2", "two words or more");
from_text!(Words<3>, "Words3", "three words or more");
from_text!(Words<4>, "Words4", "four words or more");

/// Splits at blanks; double quotes keep blanks, `\"` within them is a quote. With `most`, what follows that
/// many words becomes one more word, quotes removed if it is quoted whole.
pub fn split_words(text: &str, most: Option<usize>) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if most.is_some_and(|most| words.len() >= most) && !rest.starts_with('"') {
            words.push(rest.to_string());
            break;
        }
        let (word, left) = next_word(rest);
        words.push(word);
        rest = left.trim_start();
    }
    words
}

fn next_word(text: &str) -> (String, &str) {
    if let Some(inner) = text.strip_prefix('"') {
        let mut word = String::new();
        let mut chars = inner.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' if matches!(chars.peek(), Some((_, '"'))) => {
                    word.push('"');
                    chars.next();
                }
                '"' => return (word, &inner[at + 1..]),
                c => word.push(c),
            }
        }
        // The quote is never closed: it is data.
    }
    let end = text.find([' ', '\t']).unwrap_or(text.len());
    (text[..end].to_string(), &text[end..])
}

/// A list, separated by commas, each element trimmed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommaList(pub Vec<String>);

impl FromStr for CommaList {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        Ok(Self(items.map(String::from).collect()))
    }
}

from_text!(CommaList, "CommaList", "list, separated by commas");

/// A value that keeps its place, for errors that are found later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

/// The name under which the section's deserializer hands out places.
pub(crate) const LOCATED: &str = "$firelane_conf::Located";

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Located<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Parts<T> {
            type Value = Located<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value with its place")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Located<T>, A::Error> {
                let missing = || de::Error::custom("no place");
                let (file, line, column, len) = seq.next_element()?.ok_or_else(missing)?;
                let span = Span {
                    file: SourceId(file),
                    line,
                    column,
                    len,
                };
                let value = seq.next_element()?.ok_or_else(missing)?;
                Ok(Located { value, span })
            }
        }

        deserializer.deserialize_tuple_struct(LOCATED, 2, Parts(std::marker::PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Located<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal() {
        let size = |text: &str| text.parse::<ByteSize>().map(|size| size.0).ok();
        assert_eq!(size("25MB"), Some(25_000_000));
        assert_eq!(size("1.5k"), Some(1500));
        assert_eq!(size("32768"), Some(32_768));
        assert_eq!(size("4G"), Some(4_000_000_000));
        assert_eq!(size("false"), Some(0));
        for bad in ["", "x", "5X", "-1", "1..2", "99999999999999999999G"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_have_units() {
        let time = |text: &str| text.parse::<Interval>().map(|time| time.0.as_millis()).ok();
        assert_eq!(time("0.2"), Some(200));
        assert_eq!(time("2m"), Some(120_000));
        assert_eq!(time("1d"), Some(86_400_000));
        assert_eq!(time("soon"), None);
        assert_eq!(time("-1"), None);
    }

    #[test]
    fn booleans_are_six_words() {
        assert_eq!("On".parse(), Ok(OnOff(true)));
        assert_eq!("NO".parse(), Ok(OnOff(false)));
        assert!("1".parse::<OnOff>().is_err() && "maybe".parse::<OnOff>().is_err());
    }

    #[test]
    fn words_keep_quoted_blanks() {
        let words = |text: &str| text.parse::<Words<2>>().map(|words| words.0).ok();
        let want = |words: &[&str]| Some(words.iter().map(|word| word.to_string()).collect::<Vec<_>>());
        assert_eq!(words("key value"), want(&["key", "value"]));
        assert_eq!(words("key  two words"), want(&["key", "two", "words"]));
        assert_eq!(words("key a b c"), want(&["key", "a", "b c"]));
        assert_eq!(words(r#"key "two words""#), want(&["key", "two words"]));
        assert_eq!(words(r#"key "a \"b\" c""#), want(&["key", r#"a "b" c"#]));
        assert_eq!(words(r#"key "open"#), want(&["key", "\"open"]));
        assert_eq!(words("key"), None);
    }

    #[test]
    fn secrets_are_never_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** Secret(***)");
        assert_eq!(secret.expose(), "hunter2");
        let login: Login = "bob \"hunter 2\"".parse().unwrap();
        assert_eq!(
            (login.user.as_str(), login.password.expose()),
            ("bob", "hunter 2")
        );
        assert!(!format!("{login:?}").contains("hunter"));
        for bad in ["hunter2", "bob hunter 2", ""] {
            let error = bad.parse::<Login>().unwrap_err().to_string();
            assert!(
                error.contains("not a user and a password") && !error.contains("hunter"),
                "{error}"
            );
        }
    }
}
