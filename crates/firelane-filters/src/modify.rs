//! `modify`: rules that set, remove, rename, copy and move fields, under conditions.
//!
//! Rules run in file order, each on the result of the one before. Conditions are tested once, on the record
//! as it came; all must hold. Keys of rules are top-level, exact and case-sensitive; values are strings. Keys
//! of `key_...` conditions may be accessors.

use firelane_conf::units::split_words;
use firelane_conf::{Diagnostic, Entry};
use firelane_core::plugin::BuiltFilter;
use firelane_core::{BuildCx, Fate, Filter, FilterConfig, FilterCx, FilterPlugin, Stability};
use firelane_parse::Regex;
use firelane_record::accessor::Accessor;
use firelane_record::draft::Draft;
use firelane_record::msgpack::{self, Token};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::rules::{field, problem, regex};

/// The plugin.
pub static PLUGIN: FilterPlugin = FilterPlugin::new::<Config>(
    "modify",
    "Sets, removes, renames, copies and moves fields",
    Stability::Stable,
);

/// Properties of `[FILTER] Name modify`. Each may be given several times; they run in file order.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// `KEY VALUE`: adds the field or replaces it; it moves to the end.
    set: Vec<String>,
    /// `KEY VALUE`: adds the field at the end if it is absent.
    add: Vec<String>,
    /// `KEY`: removes the field.
    remove: Vec<String>,
    /// `PREFIX`: removes all fields whose keys start so. A `*` means itself.
    remove_wildcard: Vec<String>,
    /// `REGEX`: removes all fields whose keys match.
    remove_regex: Vec<String>,
    /// `PREFIX`: moves all fields whose keys start so to the start.
    move_to_start: Vec<String>,
    /// `PREFIX`: moves all fields whose keys start so to the end.
    move_to_end: Vec<String>,
    /// `FROM TO`: renames the field in place if FROM is there and TO is not.
    rename: Vec<String>,
    /// `FROM TO`: renames the field in place if FROM is there; an existing TO is removed.
    hard_rename: Vec<String>,
    /// `FROM TO`: copies the field right behind itself if FROM is there once and TO is not.
    copy: Vec<String>,
    /// `FROM TO`: copies the field right behind itself if FROM is there once; an existing TO is removed.
    hard_copy: Vec<String>,
    /// `CONDITION ARGUMENTS`, for example `Key_value_matches log ^ERROR`.
    condition: Vec<String>,
}

impl FilterConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<BuiltFilter, Vec<Diagnostic>> {
        let mut modify = Modify::default();
        let mut errors = Vec::new();
        for entry in &cx.section.entries {
            let key = entry.key.value.as_str();
            let result = if key == "condition" {
                condition(entry).map(|condition| modify.conditions.push(condition))
            } else {
                rule(key, entry).map(|rule| modify.rules.extend(rule))
            };
            errors.extend(result.err());
        }
        if errors.is_empty() {
            Ok(BuiltFilter::Filter(Box::new(modify)))
        } else {
            Err(errors)
        }
    }
}

/// Most words of a rule or condition.
const WORDS_MAX: usize = 3;

/// The rule that an entry writes; `None` for an entry that is no rule.
fn rule(key: &str, entry: &Entry) -> Result<Option<Rule>, Diagnostic> {
    let count = match key {
        "set" | "add" | "rename" | "hard_rename" | "copy" | "hard_copy" => 2,
        "remove" | "remove_wildcard" | "remove_regex" | "move_to_start" | "move_to_end" => 1,
        _ => return Ok(None),
    };
    let words = split_words(&entry.value.value, Some(WORDS_MAX));
    if words.len() != count {
        let text = format!(
            "`{}` takes {}, not {}: `{}`",
            entry.key.value,
            counted(count),
            words.len(),
            entry.value.value
        );
        return Err(problem("FL0338", entry, text).help("double quotes hold words together"));
    }
    let mut words = words.into_iter();
    let first = words.next().unwrap_or_default();
    let second = bytes(words.next().unwrap_or_default());
    let name = bytes(first.clone());
    Ok(Some(match key {
        "set" => Rule::Set(name, second),
        "add" => Rule::Add(name, second),
        "remove" => Rule::Remove(name),
        "remove_wildcard" => Rule::RemovePrefix(name),
        "remove_regex" => Rule::RemoveRegex(regex(entry, &first)?),
        "move_to_start" => Rule::MoveToStart(name),
        "move_to_end" => Rule::MoveToEnd(name),
        "rename" => Rule::Rename {
            from: name,
            to: second,
            hard: false,
        },
        "hard_rename" => Rule::Rename {
            from: name,
            to: second,
            hard: true,
        },
        "copy" => Rule::Copy {
            from: name,
            to: second,
            hard: false,
        },
        _ => Rule::Copy {
            from: name,
            to: second,
            hard: true,
        },
    }))
}

/// Names of conditions and how many words follow.
const CONDITIONS: &[(&str, usize)] = &[
    ("key_exists", 1),
    ("key_does_not_exist", 1),
    ("a_key_matches", 1),
    ("no_key_matches", 1),
    ("key_value_equals", 2),
    ("key_value_does_not_equal", 2),
    ("key_value_matches", 2),
    ("key_value_does_not_match", 2),
    ("matching_keys_have_matching_values", 2),
    ("matching_keys_do_not_have_matching_values", 2),
];

fn condition(entry: &Entry) -> Result<Condition, Diagnostic> {
    let words = split_words(&entry.value.value, Some(WORDS_MAX));
    let name = words
        .first()
        .map(|name| name.to_ascii_lowercase())
        .unwrap_or_default();
    let Some(&(_, count)) = CONDITIONS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<_> = CONDITIONS.iter().map(|(known, _)| *known).collect();
        let error = problem("FL0339", entry, format!("`{name}` is no condition"));
        return Err(error.help(format!("one of {}", known.join(", "))));
    };
    if words.len() != count + 1 {
        let text = format!(
            "condition `{name}` takes {}, not {}: `{}`",
            counted(count),
            words.len() - 1,
            entry.value.value
        );
        return Err(problem("FL0338", entry, text).help("double quotes hold words together"));
    }
    let (first, second) = (words[1].as_str(), words.get(2).map_or("", String::as_str));
    let key = || field(entry.value.span, first);
    let negated = name.contains("_not_") || name.starts_with("no_");
    let test = match name.as_str() {
        "key_exists" | "key_does_not_exist" => Test::Exists(key()?),
        "a_key_matches" | "no_key_matches" => Test::KeyMatches(regex(entry, first)?),
        "key_value_equals" | "key_value_does_not_equal" => Test::Equals(key()?, bytes(second.to_owned())),
        "key_value_matches" | "key_value_does_not_match" => Test::Matches(key()?, regex(entry, second)?),
        _ => Test::Pairs(regex(entry, first)?, regex(entry, second)?),
    };
    Ok(Condition { test, negated })
}

fn counted(count: usize) -> &'static str {
    if count == 1 { "one word" } else { "two words" }
}

fn bytes(text: String) -> Box<[u8]> {
    text.into_bytes().into()
}

enum Rule {
    Set(Box<[u8]>, Box<[u8]>),
    Add(Box<[u8]>, Box<[u8]>),
    Remove(Box<[u8]>),
    RemovePrefix(Box<[u8]>),
    RemoveRegex(Regex),
    MoveToStart(Box<[u8]>),
    MoveToEnd(Box<[u8]>),
    Rename {
        from: Box<[u8]>,
        to: Box<[u8]>,
        hard: bool,
    },
    Copy {
        from: Box<[u8]>,
        to: Box<[u8]>,
        hard: bool,
    },
}

impl Rule {
    fn apply(&self, record: &mut Draft<'_>) {
        match self {
            Self::Set(key, value) => record.set_str(key, value),
            Self::Add(key, value) => {
                if !record.contains(key) {
                    record.push_str(key, value);
                }
            }
            Self::Remove(key) => {
                record.remove(key);
            }
            Self::RemovePrefix(prefix) => {
                record.remove_where(|key| key.starts_with(prefix));
            }
            Self::RemoveRegex(regex) => {
                record.remove_where(|key| regex.is_match(key));
            }
            Self::MoveToStart(prefix) => record.move_to_start_where(|key| key.starts_with(prefix)),
            Self::MoveToEnd(prefix) => record.move_to_end_where(|key| key.starts_with(prefix)),
            Self::Rename { from, to, hard } => {
                if from != to && record.contains(from) && make_room(record, to, *hard) {
                    record.rename(from, to);
                }
            }
            Self::Copy { from, to, hard } => {
                if from != to
                    && record.count(from) == 1
                    && make_room(record, to, *hard)
                    && let Some(index) = record.position(from)
                {
                    record.copy_after(index, to);
                }
            }
        }
    }
}

/// Whether `key` is free; a hard rule frees it.
fn make_room(record: &mut Draft<'_>, key: &[u8], hard: bool) -> bool {
    if hard {
        record.remove(key);
        true
    } else {
        !record.contains(key)
    }
}

enum Test {
    Exists(Accessor),
    KeyMatches(Regex),
    Equals(Accessor, Box<[u8]>),
    Matches(Accessor, Regex),
    /// Every key that matches has a value that matches; true where no key does.
    Pairs(Regex, Regex),
}

struct Condition {
    test: Test,
    negated: bool,
}

impl Condition {
    fn holds(&self, record: &Draft<'_>) -> bool {
        let key_matches =
            |key: &[u8], regex: &Regex| msgpack::text(key).is_some_and(|key| regex.is_match(key));
        let found = match &self.test {
            Test::Exists(field) => field.lookup(record).is_some(),
            Test::KeyMatches(regex) => record.fields().any(|(key, _)| key_matches(key, regex)),
            // A missing key makes both the condition and its negation false.
            Test::Equals(field, want) => match field.lookup(record) {
                Some(value) => msgpack::str_bytes(value) == Some(want),
                None => return false,
            },
            Test::Matches(field, regex) => match field.lookup(record) {
                Some(value) => value_matches(value, regex),
                None => return false,
            },
            Test::Pairs(keys, values) => record
                .fields()
                .filter(|(key, _)| key_matches(key, keys))
                .all(|(_, value)| value_matches(value, values)),
        };
        found != self.negated
    }
}

/// Strings match, and booleans by their names.
fn value_matches(value: &[u8], regex: &Regex) -> bool {
    match msgpack::read(value) {
        Some((Token::Str(text), _)) => regex.is_match(text),
        Some((Token::Bool(value), _)) => regex.is_match(if value { b"true" } else { b"false" }),
        _ => false,
    }
}

#[derive(Default)]
struct Modify {
    conditions: Vec<Condition>,
    rules: Vec<Rule>,
}

impl Filter for Modify {
    fn edit(&self, record: &mut Draft<'_>, _: &FilterCx<'_>) -> Fate {
        if self.conditions.iter().all(|condition| condition.holds(record)) {
            for rule in &self.rules {
                rule.apply(record);
            }
        }
        Fate::Keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, fails, run};

    /// Whether a condition holds for each of `records`.
    #[track_caller]
    fn holds(condition: &str, records: &[(&str, bool)]) {
        for (record, want) in records {
            let conf = format!("Condition {condition}\nSet yes 1");
            let got = run(&PLUGIN, &conf, record).is_some_and(|record| record.contains("yes"));
            assert_eq!(got, *want, "{condition}: {record}");
        }
    }

    #[test]
    fn every_rule_sees_the_result_of_those_before() {
        let rules = "Add added 1\nAdd log never\nSet log replaced\nRename old new\nRename a log\nHard_rename b c\n\
                     Copy new copied\nHard_copy c d\nRemove gone\nRemove_wildcard tmp\n\
                     Remove_regex ^x[0-9]$\nRename added renamed";
        let record =
            r#"{"log":"l","old":1,"a":2,"b":3,"c":4,"d":5,"gone":6,"tmp":7,"tmp_a":8,"x1":9,"x12":10}"#;
        let want = r#"{"new":1,"copied":1,"a":2,"c":3,"d":3,"x12":10,"renamed":"1","log":"replaced"}"#;
        check(&PLUGIN, rules, record, want);
    }

    #[test]
    fn fields_move() {
        check(
            &PLUGIN,
            "Move_to_start k",
            r#"{"a":1,"k1":2,"b":3,"k2":4}"#,
            r#"{"k1":2,"k2":4,"a":1,"b":3}"#,
        );
        check(
            &PLUGIN,
            "Move_to_end k",
            r#"{"k1":2,"b":3,"k2":4,"a":1}"#,
            r#"{"b":3,"a":1,"k1":2,"k2":4}"#,
        );
        check(
            &PLUGIN,
            "Set a \"two words\"",
            r#"{"a":1,"b":2}"#,
            r#"{"b":2,"a":"two words"}"#,
        );
        check(
            &PLUGIN,
            "Remove_wildcard t*",
            r#"{"t*x":1,"tx":2}"#,
            r#"{"tx":2}"#,
        );
    }

    #[test]
    fn a_key_that_occurs_twice_is_not_copied() {
        check(
            &PLUGIN,
            "Copy a b\nHard_copy a c",
            r#"{"a":1,"a":2,"c":3}"#,
            r#"{"a":1,"a":2,"c":3}"#,
        );
        check(
            &PLUGIN,
            "Hard_rename a a\nHard_copy a a",
            r#"{"a":1}"#,
            r#"{"a":1}"#,
        );
    }

    #[test]
    fn conditions_about_keys() {
        holds("Key_exists a", &[(r#"{"a":null}"#, true), (r#"{"A":1}"#, false)]);
        holds(
            "Key_exists $a['b'][0]",
            &[(r#"{"a":{"b":[1]}}"#, true), (r#"{"a":{"b":[]}}"#, false)],
        );
        holds("Key_does_not_exist a", &[(r#"{"a":null}"#, false), ("{}", true)]);
        holds(
            "A_key_matches ^z",
            &[(r#"{"zed":1}"#, true), (r#"{"az":1}"#, false)],
        );
        holds("No_key_matches ^z", &[(r#"{"zed":1}"#, false), ("{}", true)]);
    }

    #[test]
    fn conditions_about_values() {
        let one = r#"{"a":"one"}"#;
        let number = r#"{"a":1}"#;
        holds(
            "Key_value_equals a one",
            &[(one, true), (number, false), ("{}", false)],
        );
        holds(
            "Key_value_does_not_equal a one",
            &[(one, false), (number, true), ("{}", false)],
        );
        holds(
            "Key_value_matches a ^on",
            &[(one, true), (number, false), ("{}", false)],
        );
        holds("Key_value_matches a ^tr", &[(r#"{"a":true}"#, true)]);
        holds(
            "Key_value_does_not_match a ^on",
            &[(one, false), (number, true), ("{}", false)],
        );
    }

    #[test]
    fn conditions_about_pairs() {
        let (both, one) = (r#"{"m1":"v1","m2":"v2"}"#, r#"{"m1":"v1","m2":"x"}"#);
        holds(
            "Matching_keys_have_matching_values ^m ^v",
            &[(both, true), (one, false), ("{}", true)],
        );
        holds(
            "Matching_keys_do_not_have_matching_values ^m ^v",
            &[(both, false), (one, true), ("{}", false)],
        );
    }

    #[test]
    fn conditions_see_the_record_as_it_came() {
        check(
            &PLUGIN,
            "Set b 1\nCondition Key_does_not_exist b\nSet c 2",
            "{}",
            r#"{"b":"1","c":"2"}"#,
        );
    }

    #[test]
    fn mistakes_stop_the_start() {
        fails(
            &PLUGIN,
            "Rename onlyone",
            "`rename` takes two words, not 1: `onlyone`",
        );
        fails(&PLUGIN, "Set k a b", "`set` takes two words, not 3: `k a b`");
        fails(
            &PLUGIN,
            "Condition Key_exists",
            "condition `key_exists` takes one word, not 0: `Key_exists`",
        );
        fails(&PLUGIN, "Condition Sometimes x", "`sometimes` is no condition");
    }
}
