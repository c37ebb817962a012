//! `record_modifier`: removes or allows keys, then appends constant fields and a UUID.
//!
//! Top-level keys only, compared without case, a trailing `*` means what starts so. An existing key is not
//! replaced but repeated: the last one counts wherever records are read or written as JSON. A record left
//! without any key is dropped. Appended fields are encoded once, at build; a record gets them by one copy.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

use firelane_conf::units::{Located, Words};
use firelane_conf::{Class, Diagnostic};
use firelane_core::plugin::BuiltFilter;
use firelane_core::{BuildCx, Fate, Filter, FilterConfig, FilterCx, FilterPlugin, Reason, Stability};
use firelane_record::MapWriter;
use firelane_record::draft::Draft;
use firelane_record::draft::keys::KeyPattern;
use schemars::JsonSchema;
use serde::Deserialize;

/// The plugin.
pub static PLUGIN: FilterPlugin =
    FilterPlugin::new::<Config>("record_modifier", "Appends and removes fields", Stability::Stable);

/// Properties of `[FILTER] Name record_modifier`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// A field to append, `KEY VALUE`; a value with blanks stands in double quotes. May be given several
    /// times.
    record: Vec<Located<Words<2>>>,
    /// A key to remove, or `PREFIX*`. May be given several times; not together with `allowlist_key`.
    remove_key: Vec<String>,
    /// A key to keep, or `PREFIX*`: all others are removed. May be given several times.
    allowlist_key: Vec<String>,
    /// The older name of `allowlist_key`.
    whitelist_key: Vec<String>,
    /// A key to append with a fresh random UUID in each record.
    uuid_key: Option<String>,
}

impl FilterConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<BuiltFilter, Vec<Diagnostic>> {
        let allowed: Vec<_> = self.allowlist_key.iter().chain(&self.whitelist_key).collect();
        let pattern = |key: &String| KeyPattern::new(key, true);
        let keys = match (self.remove_key.is_empty(), allowed.is_empty()) {
            (true, true) => Keys::All,
            (false, true) => Keys::Remove(self.remove_key.iter().map(pattern).collect()),
            (true, false) => Keys::Allow(allowed.into_iter().map(pattern).collect()),
            (false, false) => {
                let text = "`remove_key` and `allowlist_key` exclude each other";
                let error = Diagnostic::error("FL0331", Class::BadValue, text).at(cx.section.span);
                return Err(vec![error.help("an allow list removes every other key already")]);
            }
        };
        let records = constants(&self.record, cx);
        Ok(BuiltFilter::Filter(Box::new(RecordModifier {
            keys,
            pairs: records.pairs().into(),
            count: records.count(),
            uuid_key: self.uuid_key.map(|key| key.into_bytes().into()),
        })))
    }
}

/// The appended fields. A value of several words is refused alone, as Fluent Bit does.
fn constants(records: &[Located<Words<2>>], cx: &BuildCx<'_>) -> MapWriter {
    let mut constants = MapWriter::new();
    for record in records {
        match &record.value.0[..] {
            [key, value] => constants.str(key.as_bytes(), value.as_bytes()),
            words => {
                let key = words.first().map_or("", String::as_str);
                let text = format!("`record {key}` has more than one word as value: it is left out");
                let warning = Diagnostic::warning("FL0431", text).at(record.span);
                cx.warnings.push(warning.help("put the value into double quotes"));
            }
        }
    }
    constants
}

/// Which of the record's own keys stay.
enum Keys {
    All,
    Remove(Box<[KeyPattern]>),
    Allow(Box<[KeyPattern]>),
}

struct RecordModifier {
    keys: Keys,
    /// Encoded pairs.
    pairs: Box<[u8]>,
    count: u32,
    uuid_key: Option<Box<[u8]>>,
}

impl Filter for RecordModifier {
    fn edit(&self, record: &mut Draft<'_>, _: &FilterCx<'_>) -> Fate {
        let any = |patterns: &[KeyPattern], key: &[u8]| patterns.iter().any(|pattern| pattern.matches(key));
        match &self.keys {
            Keys::All => {}
            Keys::Remove(patterns) => {
                record.remove_where(|key| any(patterns, key));
            }
            Keys::Allow(patterns) => {
                record.retain_where(|key| any(patterns, key));
            }
        }
        record.push_pairs(&self.pairs, self.count);
        if let Some(key) = &self.uuid_key {
            record.push_str(key, &uuid());
        }
        if record.is_empty() {
            Fate::Drop(Reason::Filtered)
        } else {
            Fate::Keep
        }
    }
}

thread_local! {
    /// State of a SplitMix64 generator, seeded by the system.
    static RANDOM: Cell<u64> = Cell::new(RandomState::new().hash_one(std::process::id()));
}

fn random() -> u64 {
    RANDOM.with(|state| {
        state.set(state.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut z = state.get();
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// A random UUID (version 4) as text. Unique, not secret.
fn uuid() -> [u8; 36] {
    let bits = u128::from(random()) << 64 | u128::from(random());
    let bits = bits & !(0xf000_u128 << 64) & !(0xc0_u128 << 56) | 0x4000_u128 << 64 | 0x80_u128 << 56;
    let mut text = [b'-'; 36];
    let places = (0..36).filter(|at| ![8, 13, 18, 23].contains(at));
    for (digit, at) in places.enumerate() {
        let nibble = (bits >> (124 - 4 * digit)) as usize & 0xf;
        text[at] = b"0123456789abcdef"[nibble];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{build, check, fails, run};

    #[test]
    fn records_are_appended_and_repeated_keys_stay() {
        let conf = "Record host h-1\nRecord q \"quo ted\"\nRecord a new";
        check(
            &PLUGIN,
            conf,
            r#"{"a":1}"#,
            r#"{"a":1,"host":"h-1","q":"quo ted","a":"new"}"#,
        );
    }

    #[test]
    fn a_value_of_several_words_is_left_out_with_a_warning() {
        let conf = "Record bad a b c\nRecord good x";
        check(&PLUGIN, conf, "{}", r#"{"good":"x"}"#);
        let warnings = build(&PLUGIN, conf).warnings;
        assert_eq!(
            warnings,
            ["`record bad` has more than one word as value: it is left out"]
        );
    }

    #[test]
    fn keys_are_removed_whatever_their_case() {
        let conf = "Remove_key SECRET\nRemove_key tmp_*";
        let record = r#"{"a":1,"secret":2,"Tmp_1":3,"tmp_":4,"tmp":5,"b":{"secret":6}}"#;
        check(&PLUGIN, conf, record, r#"{"a":1,"tmp":5,"b":{"secret":6}}"#);
    }

    #[test]
    fn only_allowed_keys_stay() {
        let conf = "Allowlist_key log\nWhitelist_key k8s*\nRecord n 1";
        check(
            &PLUGIN,
            conf,
            r#"{"LOG":"l","k8sa":1,"K8SB":2,"z":0}"#,
            r#"{"LOG":"l","k8sa":1,"K8SB":2,"n":"1"}"#,
        );
    }

    #[test]
    fn a_record_without_keys_is_dropped() {
        assert_eq!(run(&PLUGIN, "Remove_key *", r#"{"a":1}"#), None);
        assert_eq!(run(&PLUGIN, "Remove_key a", r#"{}"#), None);
    }

    #[test]
    fn a_uuid_is_fresh_each_time() {
        let one = run(&PLUGIN, "Uuid_key id", "{}").unwrap();
        let two = run(&PLUGIN, "Uuid_key id", "{}").unwrap();
        assert_ne!(one, two);
        let text = one
            .strip_prefix(r#"{"id":""#)
            .unwrap()
            .strip_suffix(r#""}"#)
            .unwrap();
        assert_eq!((text.len(), &text[14..15]), (36, "4"));
        assert!(["8", "9", "a", "b"].contains(&&text[19..20]), "{text}");
    }

    #[test]
    fn mistakes_stop_the_start() {
        let text = "`host` has 1 of the 2 words that are needed; double quotes keep blanks in one";
        fails(
            &PLUGIN,
            "Record host",
            &format!("invalid value for property 'record': {text}"),
        );
        fails(
            &PLUGIN,
            "Remove_key a\nAllowlist_key b",
            "`remove_key` and `allowlist_key` exclude each other",
        );
    }
}
