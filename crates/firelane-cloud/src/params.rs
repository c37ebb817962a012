//! Members of JSON requests, checked as the services do: all faults of a request in one message.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::service::Service;

/// A pattern as errors print it, and whether a character may stand there.
pub(crate) type Chars = (&'static str, fn(char) -> bool);

/// What a text member may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) min: usize,
    pub(crate) max: usize,
    /// The pattern as errors print it, and the characters that it allows.
    pub(crate) chars: Option<Chars>,
}

impl Rule {
    /// Any text of so many characters.
    pub(crate) const fn any(min: usize, max: usize) -> Self {
        Self {
            min,
            max,
            chars: None,
        }
    }

    /// Why `value` breaks it; empty where it does not.
    pub(crate) fn faults(&self, value: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let len = value.chars().count();
        if len < self.min {
            faults.push(format!(
                "Member must have length greater than or equal to {}",
                self.min
            ));
        }
        if len > self.max {
            faults.push(format!(
                "Member must have length less than or equal to {}",
                self.max
            ));
        }
        if let Some((pattern, allowed)) = self.chars
            && !value.chars().all(allowed)
        {
            faults.push(format!(
                "Member must satisfy regular expression pattern: {pattern}"
            ));
        }
        faults
    }
}

/// The members of a request, and what is wrong with them so far.
#[derive(Debug)]
pub(crate) struct Params {
    service: Service,
    members: Map<String, Value>,
    faults: Vec<String>,
}

/// Longest value that an error repeats.
const SHOWN: usize = 200;

impl Params {
    /// Reads a body; an empty one has no members.
    pub(crate) fn read(service: Service, body: &[u8]) -> Result<Self, ApiError> {
        let members = match body.trim_ascii() {
            [] => Map::new(),
            body => match serde_json::from_slice(body) {
                Ok(Value::Object(members)) => members,
                Ok(_) | Err(_) => return Err(serialization("the request body is no JSON object")),
            },
        };
        Ok(Self {
            service,
            members,
            faults: Vec::new(),
        })
    }

    /// Notes a fault of a member.
    pub(crate) fn fault(&mut self, name: &str, value: &str, constraint: &str) {
        self.faults.push(fault(name, value, constraint));
    }

    /// All faults as one error, if there is any.
    pub(crate) fn check(&mut self) -> Result<(), ApiError> {
        validation(self.service, std::mem::take(&mut self.faults))
    }

    /// Takes a member as it is; `null` is absent.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }

    /// A text that may be absent.
    pub(crate) fn text(&mut self, name: &str, rule: Rule) -> Result<Option<String>, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let Value::String(text) = value else {
            return Err(wrong_type(&value, "String"));
        };
        for constraint in rule.faults(&text) {
            self.fault(name, &text, &constraint);
        }
        Ok(Some(text))
    }

    /// A text that must be there; empty where it is not, which [`check`](Self::check) then tells.
    pub(crate) fn required(&mut self, name: &str, rule: Rule) -> Result<String, ApiError> {
        let text = self.text(name, rule)?;
        if text.is_none() {
            self.faults.push(absent(name));
        }
        Ok(text.unwrap_or_default())
    }

    /// A whole number that may be absent.
    pub(crate) fn number(&mut self, name: &str, min: i64, max: i64) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let number = value.as_i64().or(value.as_f64().map(|float| float as i64));
        let number = number.ok_or_else(|| wrong_type(&value, "Long"))?;
        let shown = number.to_string();
        if number < min {
            self.fault(
                name,
                &shown,
                &format!("Member must have value greater than or equal to {min}"),
            );
        }
        if number > max {
            self.fault(
                name,
                &shown,
                &format!("Member must have value less than or equal to {max}"),
            );
        }
        Ok(Some(number))
    }

    /// A flag that may be absent.
    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong_type(&other, "Boolean")),
        }
    }

    /// One of some words, that may be absent.
    pub(crate) fn word(&mut self, name: &str, words: &[&str]) -> Result<Option<String>, ApiError> {
        let word = self.text(name, Rule::any(0, usize::MAX))?;
        if let Some(word) = word.as_deref().filter(|word| !words.contains(word)) {
            let constraint = format!("Member must satisfy enum value set: [{}]", words.join(", "));
            self.fault(name, word, &constraint);
        }
        Ok(word)
    }

    /// A list of texts that may be absent.
    pub(crate) fn texts(&mut self, name: &str, most: usize) -> Result<Option<Vec<String>>, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let Value::Array(values) = value else {
            return Err(wrong_type(&value, "List"));
        };
        if values.len() > most {
            let shown = Value::Array(values.clone()).to_string();
            self.fault(
                name,
                &shown,
                &format!("Member must have length less than or equal to {most}"),
            );
        }
        let mut texts = Vec::with_capacity(values.len());
        for value in values {
            match value {
                Value::String(text) => texts.push(text),
                other => return Err(wrong_type(&other, "String")),
            }
        }
        Ok(Some(texts))
    }

    /// Tags as a map.
    pub(crate) fn tag_map(&mut self, name: &str) -> Result<BTreeMap<String, String>, ApiError> {
        let members = match self.take(name) {
            None => return Ok(BTreeMap::new()),
            Some(Value::Object(members)) => members,
            Some(other) => return Err(wrong_type(&other, "Map")),
        };
        let mut tags = BTreeMap::new();
        for (key, value) in members {
            let Value::String(value) = value else {
                return Err(wrong_type(&value, "String"));
            };
            self.tag(name, &key, &value);
            tags.insert(key, value);
        }
        self.tag_count(name, tags.len());
        Ok(tags)
    }

    /// Tags as a list of `Key` and `Value`.
    pub(crate) fn tag_list(&mut self, name: &str) -> Result<Vec<(String, String)>, ApiError> {
        let values = match self.take(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values,
            Some(other) => return Err(wrong_type(&other, "List")),
        };
        let mut tags: Vec<(String, String)> = Vec::new();
        for value in values {
            let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
            let Some(key) = text("Key") else {
                return Err(serialization("a tag has no Key"));
            };
            let value = text("Value").unwrap_or_default();
            self.tag(name, &key, &value);
            tags.retain(|(known, _)| *known != key);
            tags.push((key, value));
        }
        self.tag_count(name, tags.len());
        Ok(tags)
    }

    fn tag(&mut self, name: &str, key: &str, value: &str) {
        for constraint in Rule::any(1, 128).faults(key) {
            self.fault(&format!("{name}.key"), key, &constraint);
        }
        for constraint in Rule::any(0, 256).faults(value) {
            self.fault(&format!("{name}.value"), value, &constraint);
        }
    }

    fn tag_count(&mut self, name: &str, count: usize) {
        if count > 50 {
            self.fault(name, "[…]", "Member must have length less than or equal to 50");
        }
    }
}

/// One fault in AWS's words; the member's first letter is small there.
pub(crate) fn fault(name: &str, value: &str, constraint: &str) -> String {
    let shown: String = value.chars().take(SHOWN).collect();
    format!(
        "Value '{shown}' at '{}' failed to satisfy constraint: {constraint}",
        small(name)
    )
}

/// A member that must be there is not.
pub(crate) fn absent(name: &str) -> String {
    format!(
        "Value null at '{}' failed to satisfy constraint: Member must not be null",
        small(name)
    )
}

/// The members of a list `name` of which `count` were sent, where that is from 1 to `most`; else none,
/// and a fault.
pub(crate) fn members<'a, T>(
    name: &str,
    list: Option<&'a [T]>,
    count: usize,
    most: usize,
    faults: &mut Vec<String>,
) -> &'a [T] {
    let constraint = match (list, count) {
        (None, _) => {
            faults.push(absent(name));
            return &[];
        }
        (Some(_), 0) => "Member must have length greater than or equal to 1".to_owned(),
        (Some(_), count) if count > most => format!("Member must have length less than or equal to {most}"),
        (Some(list), _) => return list,
    };
    let value = if count == 0 {
        "[]".to_owned()
    } else {
        format!("[{count} records]")
    };
    faults.push(fault(name, &value, &constraint));
    &[]
}

fn small(name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

/// The error of a service for these faults, if there are any.
pub(crate) fn validation(service: Service, faults: Vec<String>) -> Result<(), ApiError> {
    let noun = match faults.len() {
        0 => return Ok(()),
        1 => "error",
        _ => "errors",
    };
    let code = match service {
        Service::Logs | Service::Ecr => "InvalidParameterException",
        Service::Sts => "ValidationError",
        _ => "ValidationException",
    };
    let text = format!(
        "{} validation {noun} detected: {}",
        faults.len(),
        faults.join("; ")
    );
    Err(ApiError::bad(code, text))
}

/// The body is not what its types say.
pub(crate) fn serialization(message: impl Into<String>) -> ApiError {
    ApiError::bad("SerializationException", message)
}

fn wrong_type(value: &Value, wanted: &str) -> ApiError {
    let found = match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
    };
    serialization(format!("{found} can not be converted to a {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_told_at_once() {
        let mut params = Params::read(Service::Kinesis, br#"{"StreamName":"","Limit":0}"#).unwrap();
        params.required("StreamName", Rule::any(1, 128)).unwrap();
        params.number("Limit", 1, 10).unwrap();
        params.required("ShardId", Rule::any(1, 128)).unwrap();
        let error = params.check().unwrap_err();
        assert_eq!(error.code, "ValidationException");
        assert_eq!(
            error.message,
            "3 validation errors detected: Value '' at 'streamName' failed to satisfy constraint: \
             Member must have length greater than or equal to 1; Value '0' at 'limit' failed to satisfy \
             constraint: Member must have value greater than or equal to 1; Value null at 'shardId' \
             failed to satisfy constraint: Member must not be null"
        );
    }

    #[test]
    fn types_are_checked() {
        let mut params = Params::read(Service::Logs, br#"{"logGroupName":7}"#).unwrap();
        let error = params.required("logGroupName", Rule::any(1, 5)).unwrap_err();
        assert_eq!(error.code, "SerializationException");
        assert_eq!(error.message, "NUMBER_VALUE can not be converted to a String");
        assert!(Params::read(Service::Logs, b"[]").is_err());
    }
}
