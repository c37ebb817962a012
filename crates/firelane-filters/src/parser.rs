//! `parser`: parses the text of one field into fields.
//!
//! The parsed fields come first; with `reserve_data` all other fields follow in their order, so that a field
//! of the record wins over a parsed one of the same name; with `preserve_key` the parsed field itself stays
//! too. A parsed time becomes the time of the event. What does not parse, is missing or no string, leaves the
//! record as it is.

use std::cell::RefCell;
use std::sync::Arc;

use firelane_conf::units::{Located, OnOff};
use firelane_conf::{Class, Diagnostic};
use firelane_core::plugin::BuiltFilter;
use firelane_core::{BuildCx, Fate, Filter, FilterConfig, FilterCx, FilterPlugin, Stability};
use firelane_parse::Parser;
use firelane_record::accessor::Accessor;
use firelane_record::draft::Draft;
use firelane_record::{MapWriter, msgpack};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::rules::field;

/// The plugin.
pub static PLUGIN: FilterPlugin = FilterPlugin::new::<Config>(
    "parser",
    "Parses the text of a field into fields",
    Stability::Stable,
);

/// Properties of `[FILTER] Name parser`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// The field to parse: a name, or an accessor such as `$a['b']`.
    key_name: Option<Located<String>>,
    /// Name of a parser. May be given several times: the first that succeeds wins.
    parser: Vec<Located<String>>,
    /// Keep the parsed field.
    preserve_key: Option<OnOff>,
    /// Keep the other fields.
    reserve_data: Option<OnOff>,
    /// Without effect, as in Fluent Bit: `decode_field_as` of the parser unescapes.
    unescape_key: Option<Located<String>>,
}

impl FilterConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<BuiltFilter, Vec<Diagnostic>> {
        let missing = |text: &str| Diagnostic::error("FL0340", Class::Init, text).at(cx.section.span);
        let Some(key) = self.key_name else {
            return Err(vec![missing("`key_name` is missing: the field to parse")]);
        };
        let key = field(key.span, key.value.trim()).map_err(|error| vec![error])?;
        if let Some(given) = self.unescape_key {
            let text = "`unescape_key` has no effect: use `decode_field_as escaped` in the parser";
            cx.warnings
                .push(Diagnostic::warning("FL0432", text).at(given.span));
        }
        if self.parser.is_empty() {
            return Err(vec![missing("`parser` is missing: the name of a parser")]);
        }
        let (mut parsers, mut unknown) = (Vec::new(), Vec::new());
        for name in self.parser {
            match cx.parsers.get(name.value.trim()) {
                Some(parser) => parsers.push(parser),
                None => unknown.push(name),
            }
        }
        let not_found = |name: &Located<String>| format!("requested parser '{}' not found", name.value);
        if parsers.is_empty() {
            let error = |name| {
                let error = Diagnostic::error("FL0341", Class::Init, not_found(name));
                error.at(name.span).help("define it in a `parsers_file`")
            };
            return Err(unknown.iter().map(error).collect());
        }
        // Those that are left do without it, as in Fluent Bit.
        for name in unknown {
            let warning = Diagnostic::warning("FL0433", not_found(&name));
            cx.warnings.push(warning.at(name.span));
        }
        let on = |given: Option<OnOff>| given.is_some_and(bool::from);
        let (preserve, reserve) = (on(self.preserve_key), on(self.reserve_data));
        Ok(BuiltFilter::Filter(Box::new(Parse {
            key,
            parsers,
            preserve,
            reserve,
        })))
    }
}

struct Parse {
    key: Accessor,
    parsers: Vec<Arc<dyn Parser>>,
    preserve: bool,
    reserve: bool,
}

thread_local! {
    /// What the parser writes into: one buffer per thread, not one per record.
    static MAP: RefCell<MapWriter> = RefCell::default();
}

impl Filter for Parse {
    fn edit(&self, record: &mut Draft<'_>, _: &FilterCx<'_>) -> Fate {
        MAP.with_borrow_mut(|map| self.parse(record, map));
        Fate::Keep
    }
}

impl Parse {
    fn parse(&self, record: &mut Draft<'_>, map: &mut MapWriter) {
        let Some(value) = self.key.lookup(record) else {
            return;
        };
        let Some(text) = msgpack::str_bytes(value) else {
            return;
        };
        let parsed = self.parsers.iter().find_map(|parser| {
            map.clear();
            parser.parse(text, map).ok()
        });
        let Some(time) = parsed else { return };
        match (self.reserve, self.key.is_top().then(|| self.key.top())) {
            (true, name) => {
                if let (Some(name), false) = (name, self.preserve) {
                    record.remove(name);
                }
                record.prepend(map);
            }
            (false, name) => {
                if let (Some(name), true) = (name, self.preserve) {
                    map.raw(name, value);
                }
                record.replace_all(map);
            }
        }
        if let Some(time) = time {
            record.set_time(time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, fails};

    const RECORD: &str = r#"{"a":"outer","log":"{\"a\":1,\"b\":{\"c\":2}}","z":3}"#;

    #[test]
    fn reserve_and_preserve() {
        let conf = "Key_Name log\nParser j";
        check(&PLUGIN, conf, RECORD, r#"{"a":1,"b":{"c":2}}"#);
        let reserve = format!("{conf}\nReserve_Data On");
        check(
            &PLUGIN,
            &reserve,
            RECORD,
            r#"{"a":1,"b":{"c":2},"a":"outer","z":3}"#,
        );
        let preserve = format!("{conf}\nPreserve_Key On");
        let log = r#""log":"{\"a\":1,\"b\":{\"c\":2}}""#;
        check(
            &PLUGIN,
            &preserve,
            RECORD,
            &format!(r#"{{"a":1,"b":{{"c":2}},{log}}}"#),
        );
        let both = format!("{reserve}\nPreserve_Key yes");
        check(
            &PLUGIN,
            &both,
            RECORD,
            &format!(r#"{{"a":1,"b":{{"c":2}},"a":"outer",{log},"z":3}}"#),
        );
    }

    #[test]
    fn what_does_not_parse_stays() {
        for record in [r#"{"log":"nope","z":1}"#, r#"{"z":2}"#, r#"{"log":5}"#] {
            check(&PLUGIN, "Key_Name log\nParser j", record, record);
        }
    }

    #[test]
    fn the_first_parser_that_succeeds_wins() {
        let conf = "Key_Name log\nParser nope\nParser words\nParser j";
        check(&PLUGIN, conf, r#"{"log":"A x"}"#, r#"{"a":"x"}"#);
        check(&PLUGIN, conf, r#"{"log":"{\"c\":1}"}"#, r#"{"c":1}"#);
    }

    #[test]
    fn a_nested_field_leaves_the_outer_map_whole() {
        let conf = "Key_Name $m['log']\nParser j\nReserve_Data on";
        check(
            &PLUGIN,
            conf,
            r#"{"m":{"log":"{\"c\":1}"}}"#,
            r#"{"c":1,"m":{"log":"{\"c\":1}"}}"#,
        );
    }

    #[test]
    fn mistakes_stop_the_start() {
        fails(
            &PLUGIN,
            "Key_Name log\nParser nope",
            "requested parser 'nope' not found",
        );
        fails(
            &PLUGIN,
            "Key_Name log",
            "`parser` is missing: the name of a parser",
        );
        fails(&PLUGIN, "Parser j", "`key_name` is missing: the field to parse");
    }
}
