//! `grep`: keeps or drops records by regular expressions over their fields.
//!
//! `logical_op legacy` (the default): rules run in file order; a `regex` that matches keeps the record at
//! once, one that does not drops it, an `exclude` that matches drops it, and who passes all is kept. So only
//! the first `regex` ever decides. `and`, `or`: all rules are of one kind; the record is kept (`regex`) or
//! dropped (`exclude`) if all, or any, match. Only strings match; a missing field does not.

use firelane_conf::{Class, Diagnostic, Entry};
use firelane_core::plugin::BuiltFilter;
use firelane_core::{BuildCx, Fate, Filter, FilterConfig, FilterCx, FilterPlugin, Reason, Stability};
use firelane_parse::Regex;
use firelane_record::accessor::Accessor;
use firelane_record::draft::Draft;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::rules::{entries, field, problem, regex};

/// The plugin.
pub static PLUGIN: FilterPlugin = FilterPlugin::new::<Config>(
    "grep",
    "Keeps or drops records by regular expressions",
    Stability::Stable,
);

/// Properties of `[FILTER] Name grep`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// `KEY REGEX`: what to keep. KEY is a name, or an accessor such as `$a['b'][0]`. May be given several
    /// times.
    regex: Vec<String>,
    /// `KEY REGEX`: what to drop. May be given several times.
    exclude: Vec<String>,
    /// How rules go together.
    logical_op: Op,
}

impl FilterConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<BuiltFilter, Vec<Diagnostic>> {
        let mut errors = Vec::new();
        let mut rules = Vec::new();
        for entry in entries(cx, &["regex", "exclude"]) {
            match rule(entry) {
                Ok(rule) => rules.push(rule),
                Err(error) => errors.push(error),
            }
        }
        let op = self.logical_op;
        let excludes = rules.iter().filter(|rule| rule.exclude).count();
        if op != Op::Legacy && excludes > 0 && excludes < rules.len() {
            let text = "`regex` and `exclude` rules cannot be mixed under `logical_op and` or `or`";
            let error = Diagnostic::error("FL0335", Class::BadValue, text).at(cx.section.span);
            errors.push(error.help("use two grep filters, one for each kind"));
        }
        if errors.is_empty() {
            Ok(BuiltFilter::Filter(Box::new(Grep {
                rules: rules.into(),
                op,
            })))
        } else {
            Err(errors)
        }
    }
}

/// Only the first blank separates: the others belong to the expression.
fn rule(entry: &Entry) -> Result<Rule, Diagnostic> {
    let text = entry.value.value.trim();
    let Some((key, pattern)) = text.split_once([' ', '\t']) else {
        let text = format!("`{} {text}` has no regular expression", entry.key.value);
        return Err(problem("FL0337", entry, text).help("`KEY REGEX`, for example `log ^ERROR`"));
    };
    Ok(Rule {
        exclude: entry.key.value == "exclude",
        field: grep_field(entry, key)?,
        regex: regex(entry, pattern.trim())?,
    })
}

/// Here the `$` of an accessor may be left out.
fn grep_field(entry: &Entry, key: &str) -> Result<Accessor, Diagnostic> {
    if key.contains("['") && !key.starts_with('$') {
        field(entry.value.span, &format!("${key}"))
    } else {
        field(entry.value.span, key)
    }
}

/// How rules go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Op {
    /// The first `regex`, or `exclude` that matches, decides.
    #[default]
    Legacy,
    /// All rules must match.
    And,
    /// Any rule must match.
    Or,
}

struct Rule {
    exclude: bool,
    field: Accessor,
    regex: Regex,
}

impl Rule {
    #[inline]
    fn matches(&self, record: &Draft<'_>) -> bool {
        self.field
            .lookup_str(record)
            .is_some_and(|text| self.regex.is_match(text))
    }
}

struct Grep {
    rules: Box<[Rule]>,
    op: Op,
}

impl Filter for Grep {
    fn edit(&self, record: &mut Draft<'_>, _: &FilterCx<'_>) -> Fate {
        let keep = match (self.op, self.rules.first()) {
            (_, None) => true,
            (Op::Legacy, _) => legacy(&self.rules, record),
            (Op::And, Some(first)) => self.rules.iter().all(|rule| rule.matches(record)) != first.exclude,
            (Op::Or, Some(first)) => self.rules.iter().any(|rule| rule.matches(record)) != first.exclude,
        };
        if keep {
            Fate::Keep
        } else {
            Fate::Drop(Reason::Filtered)
        }
    }
}

fn legacy(rules: &[Rule], record: &Draft<'_>) -> bool {
    for rule in rules {
        match (rule.exclude, rule.matches(record)) {
            (false, matched) => return matched,
            (true, true) => return false,
            (true, false) => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{fails, run};

    #[track_caller]
    fn check(conf: &str, kept: &[&str], dropped: &[&str]) {
        for record in kept {
            assert_eq!(run(&PLUGIN, conf, record).as_deref(), Some(*record), "{conf}");
        }
        for record in dropped {
            assert_eq!(run(&PLUGIN, conf, record), None, "{conf}: {record}");
        }
    }

    #[test]
    fn in_legacy_mode_the_first_regex_decides() {
        let conf = "Regex log ^ERROR\nRegex lvl 5";
        let kept = [r#"{"log":"ERROR x","lvl":"1"}"#, r#"{"log":"ERROR y"}"#];
        check(
            conf,
            &kept,
            &[r#"{"log":"INFO","lvl":"5"}"#, r#"{"lvl":"5"}"#, r#"{"log":5}"#],
        );
        check(
            "Exclude log DEBUG\nRegex lvl 5",
            &[r#"{"lvl":"5"}"#],
            &[r#"{"log":"DEBUG","lvl":"5"}"#, r#"{"log":"x"}"#],
        );
        check(
            "Exclude log DEBUG",
            &[r#"{"log":"x"}"#, r#"{"log":true}"#, "{}"],
            &[r#"{"log":"a DEBUG"}"#],
        );
    }

    #[test]
    fn nested_fields_and_line_anchors() {
        let conf = "Regex $k8s['labels']['app'] ^web$\nExclude $arr[1] b";
        let kept = [
            r#"{"k8s":{"labels":{"app":"web"}},"arr":["a","b"]}"#,
            r#"{"k8s":{"labels":{"app":"x\nweb"}}}"#,
            r#"{"k8s":"web"}"#,
        ];
        check(
            conf,
            &kept,
            &[r#"{"k8s":{"labels":{"app":"web2"}}}"#, r#"{"k8s":{"app":"web"}}"#],
        );
    }

    #[test]
    fn and_and_or() {
        let records = [r#"{"a":"1","b":"2"}"#, r#"{"a":"1"}"#, r#"{"c":"1"}"#];
        let [both, one, none] = records;
        check("Logical_Op AND\nRegex a 1\nRegex b 2", &[both], &[one, none]);
        check("Logical_Op or\nRegex a 1\nRegex b 2", &[both, one], &[none]);
        check("Logical_Op and\nExclude a 1\nExclude b 2", &[one, none], &[both]);
        check("Logical_Op OR\nExclude a 1\nExclude b 2", &[none], &[both, one]);
        check(
            "Logical_Op or\nRegex a /^Abc$/i",
            &[r#"{"a":"aBC"}"#],
            &[r#"{"a":"aBCd"}"#],
        );
    }

    #[test]
    fn the_expression_keeps_its_blanks() {
        check(
            "Regex log  a b  c",
            &[r#"{"log":"a b  c"}"#],
            &[r#"{"log":"a b c"}"#],
        );
    }

    #[test]
    fn mistakes_stop_the_start() {
        fails(&PLUGIN, "Regex log", "`regex log` has no regular expression");
        fails(
            &PLUGIN,
            "Logical_Op xor\nRegex a b",
            "invalid value for property 'logical_op': `xor` is not one of legacy, and, or, did you mean `or`?",
        );
        let mixed = "`regex` and `exclude` rules cannot be mixed under `logical_op and` or `or`";
        fails(&PLUGIN, "Logical_Op and\nRegex a b\nExclude c d", mixed);
    }
}
