//! A generated configuration as text, byte for byte as the agent writes it.
//!
//! Every section starts with an empty line and ends with a line end, values stand as they are, nothing is
//! quoted or escaped. Source: the agent's vendored `go-config-generator-for-fluentd-and-fluentbit`.

use crate::firelens::{Dialect, Generated, Grep, Section};

/// The text of `fluent.conf`.
pub fn text(generated: &Generated) -> String {
    let mut out = Writer(String::new());
    match generated.dialect {
        Dialect::FluentBit => out.fluent_bit(generated),
        Dialect::Fluentd => out.fluentd(generated),
    }
    out.0
}

struct Writer(String);

impl Writer {
    fn line(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.0.push_str(part));
        self.0.push('\n');
    }

    fn pairs(&mut self, indent: &str, pairs: &[(String, String)]) {
        for (key, value) in pairs {
            self.line(&[indent, key, " ", value]);
        }
    }

    fn fluent_bit(&mut self, generated: &Generated) {
        for input in &generated.inputs {
            self.classic("INPUT", "Tag", input);
        }
        for grep in &generated.includes {
            self.classic_grep("Regex  log ", grep);
        }
        for grep in &generated.excludes {
            self.classic_grep("Exclude log ", grep);
        }
        if !generated.metadata.is_empty() {
            self.line(&["\n[FILTER]"]);
            self.line(&["    Name record_modifier"]);
            self.line(&["    Match *"]);
            for (key, value) in &generated.metadata {
                self.line(&["    Record ", key, " ", value]);
            }
        }
        if let Some(path) = &generated.external {
            self.line(&["\n@INCLUDE ", path]);
        }
        for output in &generated.outputs {
            self.classic("OUTPUT", "Match", output);
        }
    }

    fn classic(&mut self, kind: &str, tag_key: &str, section: &Section) {
        self.line(&["\n[", kind, "]"]);
        self.line(&["    Name ", &section.plugin]);
        if let Some(tag) = &section.tag {
            self.line(&["    ", tag_key, " ", tag]);
        }
        self.pairs("    ", &section.options);
    }

    fn classic_grep(&mut self, rule: &str, grep: &Grep) {
        self.line(&["\n[FILTER]"]);
        self.line(&["    Name   grep"]);
        self.line(&["    Match ", &grep.tag]);
        self.line(&["    ", rule, &grep.pattern]);
    }

    fn fluentd(&mut self, generated: &Generated) {
        for input in &generated.inputs {
            self.line(&["\n<source>"]);
            self.line(&["    @type ", &input.plugin]);
            self.pairs("    ", &input.options);
            self.line(&["</source>"]);
        }
        for grep in &generated.includes {
            self.xml_grep("regexp", grep);
        }
        for grep in &generated.excludes {
            self.xml_grep("exclude", grep);
        }
        if !generated.metadata.is_empty() {
            self.line(&["\n<filter **>"]);
            self.line(&["    @type record_transformer"]);
            self.line(&["    <record>"]);
            self.pairs("        ", &generated.metadata);
            self.line(&["    </record>"]);
            self.line(&["</filter>"]);
        }
        if let Some(path) = &generated.external {
            self.line(&["\n@include ", path]);
        }
        for output in &generated.outputs {
            self.line(&["\n<match ", output.tag.as_deref().unwrap_or_default(), ">"]);
            self.line(&["    @type ", &output.plugin]);
            self.pairs("    ", &output.options);
            self.line(&["</match>"]);
        }
    }

    fn xml_grep(&mut self, rule: &str, grep: &Grep) {
        self.line(&["\n<filter ", &grep.tag, ">"]);
        self.line(&["    @type  grep"]);
        self.line(&["    <", rule, ">"]);
        self.line(&["        key log"]);
        self.line(&["        pattern ", &grep.pattern]);
        self.line(&["    </", rule, ">"]);
        self.line(&["</filter>"]);
    }
}
