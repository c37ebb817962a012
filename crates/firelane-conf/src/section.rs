//! A section to a typed value: a serde deserializer that lists every error, each with its place.
//!
//! A property that repeats fills a `Vec`; for any other type it is an error, as in Fluent Bit ("is set 2
//! times").

use std::cell::Cell;
use std::fmt;

use serde::de::value::{StrDeserializer, U32Deserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};

use crate::diag::{Class, Diagnostic};
use crate::redact;
use crate::span::Span;
use crate::suggest::nearest;
use crate::tree::{Entry, Section};
use crate::units::LOCATED;

impl Section {
    /// Reads the properties into `T`. `plugin` names the instance in messages.
    ///
    /// # Errors
    /// One for each property that is unknown, repeated or bad, and for the first one that is missing.
    pub fn parse<T: DeserializeOwned>(&self, plugin: &str) -> Result<T, Vec<Diagnostic>> {
        let mut left = self.clone();
        let mut errors = Vec::new();
        left.entries.retain(|entry| {
            let empty = entry.value.value.is_empty();
            if empty {
                let text = format!("property `{}` has no value", entry.key.value);
                let help = "give it a value (is a variable unset?), or delete the line";
                errors.push(
                    Diagnostic::error("FL0303", Class::BadValue, text)
                        .at(entry.value.span)
                        .help(help),
                );
            }
            !empty
        });
        loop {
            let current = Cell::new(None);
            match T::deserialize(SectionDe {
                section: &left,
                current: &current,
            }) {
                Ok(value) if errors.is_empty() => return Ok(value),
                Ok(_) => break,
                Err(error) => {
                    let key = current
                        .get()
                        .and_then(|at: usize| left.entries.get(at))
                        .map(|e| e.key.value.clone());
                    let in_entry = key.is_some() && !matches!(error, Error::Missing(_));
                    errors.push(diagnose(
                        &error,
                        current.get().and_then(|at| left.entries.get(at)),
                        self.span,
                    ));
                    match key {
                        Some(key) if in_entry => left.entries.retain(|entry| entry.key.value != key),
                        _ => break,
                    }
                }
            }
        }
        Err(errors.into_iter().map(|error| error.plugin(plugin)).collect())
    }
}

fn diagnose(error: &Error, entry: Option<&Entry>, section: Span) -> Diagnostic {
    let key = entry.map_or("", |entry| entry.key.value.as_str());
    let key_span = entry.map_or(section, |entry| entry.key.span);
    let value_span = entry.map_or(section, |entry| entry.value.span);
    match error {
        Error::Unknown(name, known) => {
            let text = format!("unknown configuration property '{name}'");
            let near = nearest(name, known.iter().copied());
            let near = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
            let list = if known.is_empty() {
                "none".to_string()
            } else {
                known.join(", ")
            };
            let help = format!("{near}The following properties are allowed: {list}");
            Diagnostic::error("FL0301", Class::UnknownProperty, text)
                .at(key_span)
                .help(help)
        }
        Error::Missing(name) => {
            let text = format!("property `{name}` is missing");
            let help = format!("add `{name}` to this section");
            Diagnostic::error("FL0302", Class::Init, text)
                .at(section)
                .help(help)
        }
        Error::Repeated(times) => {
            let text = format!("configuration property '{key}' is set {times} times");
            let error = Diagnostic::error("FL0304", Class::UnknownProperty, text).at(key_span);
            error.help("this property takes one value: delete the others")
        }
        Error::Value(reason) => {
            let value = entry.map_or("", |entry| entry.value.value.as_str());
            let reason = match redact::is_secret(key) && !value.is_empty() {
                true => &reason.replace(value, redact::MASK),
                false => reason,
            };
            let text = format!("invalid value for property '{key}': {reason}");
            Diagnostic::error("FL0303", Class::BadValue, text).at(value_span)
        }
    }
}

#[derive(Debug)]
enum Error {
    Unknown(String, &'static [&'static str]),
    Missing(&'static str),
    Repeated(usize),
    Value(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Value(message.to_string())
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::Unknown(field.to_string(), expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let near = nearest(variant, expected.iter().copied());
        let near = near.map_or(String::new(), |near| format!(", did you mean `{near}`?"));
        Self::Value(format!("`{variant}` is not one of {}{near}", expected.join(", ")))
    }
}

#[derive(Clone, Copy)]
struct SectionDe<'a> {
    section: &'a Section,
    /// Index of the entry that is being read.
    current: &'a Cell<Option<usize>>,
}

impl<'de> Deserializer<'de> for SectionDe<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let value = visitor.visit_map(Keys {
            de: self,
            next: 0,
            fields: &[],
        })?;
        self.current.set(None);
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Keys {
            de: self,
            next: 0,
            fields,
        })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The keys of a section, each once, with all its values.
struct Keys<'a> {
    de: SectionDe<'a>,
    next: usize,
    /// The properties that exist; serde's own list serves where this is empty.
    fields: &'static [&'static str],
}

impl<'de> MapAccess<'de> for Keys<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let entries = &self.de.section.entries;
        while let Some(entry) = entries.get(self.next) {
            let key = entry.key.value.as_str();
            let first = entries.iter().position(|other| other.key.value == key);
            if first == Some(self.next) {
                self.de.current.set(Some(self.next));
                if !self.fields.is_empty() && !self.fields.contains(&key) {
                    return Err(Error::Unknown(key.to_string(), self.fields));
                }
                let key: StrDeserializer<'_, Error> = key.into_deserializer();
                return seed.deserialize(key).map(Some);
            }
            self.next += 1;
        }
        // What fails from here on is about the section as a whole.
        self.de.current.set(None);
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let entries = &self.de.section.entries;
        let key = entries
            .get(self.next)
            .map_or("", |entry| entry.key.value.as_str());
        let values: Vec<&Entry> = entries.iter().filter(|entry| entry.key.value == key).collect();
        self.next += 1;
        seed.deserialize(Values(&values))
    }
}

/// All values of one property.
#[derive(Clone, Copy)]
struct Values<'a>(&'a [&'a Entry]);

impl<'a> Values<'a> {
    fn one(self) -> Result<&'a Entry, Error> {
        match self.0 {
            [entry] => Ok(entry),
            entries => Err(Error::Repeated(entries.len())),
        }
    }

    fn text(self) -> Result<&'a str, Error> {
        Ok(self.one()?.value.value.as_str())
    }

    fn number<T: std::str::FromStr>(self, what: &str) -> Result<T, Error> {
        let text = self.text()?;
        text.trim()
            .parse()
            .map_err(|_| Error::Value(format!("`{text}` is not {what}")))
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $what:literal,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.number($what)?)
        })*
    };
}

impl<'de> Deserializer<'de> for Values<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let on: crate::units::OnOff = self.text()?.parse().map_err(de::Error::custom)?;
        visitor.visit_bool(on.0)
    }

    numbers! {
        deserialize_i8 visit_i8 "a whole number from -128 to 127",
        deserialize_i16 visit_i16 "a whole number from -32768 to 32767",
        deserialize_i32 visit_i32 "a whole number of 32 bits",
        deserialize_i64 visit_i64 "a whole number of 64 bits",
        deserialize_u8 visit_u8 "a whole number from 0 to 255",
        deserialize_u16 visit_u16 "a whole number from 0 to 65535",
        deserialize_u32 visit_u32 "a whole number from 0 to 4294967295",
        deserialize_u64 visit_u64 "a whole number of 0 or more",
        deserialize_f32 visit_f32 "a number",
        deserialize_f64 visit_f64 "a number",
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Items(self.0.iter()))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == LOCATED {
            return visitor.visit_seq(Place {
                span: self.one()?.value.span,
                values: self,
                step: 0,
            });
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let text = self.text()?;
        let known = variants
            .iter()
            .find(|name| name.eq_ignore_ascii_case(text.trim()));
        visitor.visit_enum(Variant(known.copied().unwrap_or(text)))
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple map struct identifier ignored_any
    }
}

struct Items<'a>(std::slice::Iter<'a, &'a Entry>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        self.0
            .next()
            .map(|entry| seed.deserialize(Values(&[*entry])))
            .transpose()
    }
}

/// A place, then the value at it.
struct Place<'a> {
    span: Span,
    values: Values<'a>,
    step: u8,
}

impl<'de> SeqAccess<'de> for Place<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        self.step += 1;
        match self.step {
            1 => {
                let Span {
                    file,
                    line,
                    column,
                    len,
                } = self.span;
                let numbers = [file.0, line, column, len].into_iter();
                let numbers = numbers.map(<u32 as IntoDeserializer<'_, Error>>::into_deserializer);
                let seq = de::value::SeqDeserializer::<_, Error>::new(numbers.map(Number));
                seed.deserialize(seq).map(Some)
            }
            2 => seed.deserialize(self.values).map(Some),
            _ => Ok(None),
        }
    }
}

struct Number(U32Deserializer<Error>);

impl<'de> IntoDeserializer<'de, Error> for Number {
    type Deserializer = U32Deserializer<Error>;

    fn into_deserializer(self) -> Self::Deserializer {
        self.0
    }
}

struct Variant<'a>(&'a str);

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let name: StrDeserializer<'_, Error> = self.0.into_deserializer();
        seed.deserialize(name).map(|value| (value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _: S) -> Result<S::Value, Error> {
        Err(Error::Value("a plain word is expected".into()))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(Error::Value("a plain word is expected".into()))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Error> {
        Err(Error::Value("a plain word is expected".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::SectionKind;
    use crate::units::{ByteSize, Located, OnOff, Words};
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq, Default)]
    #[serde(rename_all = "lowercase")]
    enum Format {
        #[default]
        Json,
        Text,
    }

    #[derive(Debug, Deserialize)]
    struct Sample {
        host: String,
        #[serde(default)]
        port: u16,
        size: Option<ByteSize>,
        #[serde(default)]
        record: Vec<Located<Words<2>>>,
        #[serde(default)]
        format: Format,
        #[serde(rename = "tls.verify")]
        verify: Option<OnOff>,
    }

    fn section(lines: &[(&str, &str)]) -> Section {
        let mut section = Section::new(
            SectionKind::Output,
            Span {
                line: 1,
                column: 1,
                len: 8,
                ..Span::default()
            },
        );
        for (index, (key, value)) in lines.iter().enumerate() {
            section.push(
                key,
                value,
                Span {
                    line: index as u32 + 2,
                    column: 5,
                    len: 4,
                    ..Span::default()
                },
            );
        }
        section
    }

    #[test]
    fn properties_fill_fields() {
        let lines = [
            ("host", "h"),
            ("port", "80"),
            ("size", "5M"),
            ("record", "a 1"),
            ("record", "b 2"),
            ("format", "TEXT"),
        ];
        let sample: Sample = section(&lines).parse("x.0").unwrap();
        assert_eq!(
            (sample.host.as_str(), sample.port, sample.size),
            ("h", 80, Some(ByteSize(5_000_000)))
        );
        assert_eq!(sample.format, Format::Text);
        assert_eq!(sample.verify, None);
        let places: Vec<_> = sample
            .record
            .iter()
            .map(|record| (record.span.line, record.value.0[0].as_str()))
            .collect();
        assert_eq!(places, [(5, "a"), (6, "b")]);
    }

    #[test]
    fn all_errors_are_listed_with_their_places() {
        let lines = [
            ("hots", "h"),
            ("port", "70000"),
            ("size", "5X"),
            ("format", "jsn"),
            ("record", "one"),
            ("tls.verify", "maybe"),
            ("host", "a"),
            ("host", "b"),
        ];
        let errors = section(&lines).parse::<Sample>("x.0").unwrap_err();
        let found: Vec<_> = errors
            .iter()
            .map(|error| format!("{}:{} {}", error.span.unwrap().line, error.code, error.message))
            .collect();
        insta::assert_snapshot!("all_errors", found.join("\n"));
        assert!(
            errors[0]
                .help
                .as_deref()
                .unwrap()
                .starts_with("did you mean `host`?")
        );
    }
}
