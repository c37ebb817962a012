//! A tree back to classic text.

use std::fmt::Write as _;

use crate::tree::{Config, Section};

/// The whole configuration in the classic form; reading it again gives the same tree, places aside, as long
/// as no value spans lines.
pub fn classic(config: &Config) -> String {
    let Config {
        service,
        parsers,
        multiline_parsers,
        inputs,
        filters,
        outputs,
        others,
        ..
    } = config;
    let lists = [others, parsers, multiline_parsers, inputs, filters, outputs];
    let sections = service.iter().chain(lists.into_iter().flatten());
    sections.map(section).collect::<Vec<_>>().join("\n")
}

/// One section in the classic form.
pub fn section(section: &Section) -> String {
    let mut out = format!("[{}]\n", section.kind.name());
    for entry in &section.entries {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "    {} {}",
            entry.key.value,
            entry.value.value.replace(['\n', '\r'], " ")
        );
    }
    out
}
