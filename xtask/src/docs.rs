//! `docs/compat.md`, made of `compat/compat.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::tidy::{Fault, fault};

const TABLE: &str = "compat/compat.toml";
const PAGE: &str = "docs/compat.md";

const HEAD: &str = "\
# Properties of Fluent Bit

Every property of Fluent Bit 5.1.1 for the plugins that are here. Made of `compat/compat.toml` by
`cargo xtask docs`; a test compares it with what the plugins do. A plugin that is not here is an error
(`firelane plugins` lists those that are). What a property means: `firelane plugins show NAME`.

- *partial*: it has a part of Fluent Bit's meaning, or another default.
- *warned*: it is taken and does nothing; the start says so.
- *refused*: it is an error, since ignored it would change records or lose them.
";

/// Writes the page; the error says why not.
pub(crate) fn write(root: &Path) -> Result<(), String> {
    let page = page(root)?;
    fs::write(root.join(PAGE), page).map_err(|error| format!("{PAGE}: {error}"))
}

/// Checks that the page is that of the table.
pub(crate) fn check(root: &Path) -> Vec<Fault> {
    match page(root) {
        Err(error) => vec![fault(TABLE, error)],
        Ok(page) if fs::read_to_string(root.join(PAGE)).is_ok_and(|text| text == page) => Vec::new(),
        Ok(_) => vec![fault(PAGE, "is stale: run `cargo xtask docs`")],
    }
}

fn page(root: &Path) -> Result<String, String> {
    let text = fs::read_to_string(root.join(TABLE)).map_err(|error| error.to_string())?;
    let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
    let mut out = HEAD.to_string();
    for (title, properties) in sections(&table)? {
        out.push_str(&format!("\n## {title}\n"));
        let (plain, others): (Vec<_>, Vec<_>) =
            properties.iter().partition(|(_, state)| **state == "supported");
        let names: Vec<_> = plain.iter().map(|(key, _)| format!("`{key}`")).collect();
        if !names.is_empty() {
            out.push_str(&format!("\nSupported: {}.\n", names.join(", ")));
        }
        if !others.is_empty() {
            out.push_str("\n| Property | | Why |\n|---|---|---|\n");
        }
        for (key, state) in others {
            let (state, why) = state
                .split_once(": ")
                .filter(|(state, _)| ["partial", "warned", "refused"].contains(state))
                .ok_or_else(|| format!("{title}, {key}: `{state}` is no state with a reason"))?;
            out.push_str(&format!("| `{key}` | {state} | {why} |\n"));
        }
    }
    Ok(out)
}

/// Properties with what becomes of them.
type States<'t> = BTreeMap<&'t str, &'t str>;

/// Sections by title, with their properties: the service first, then what every plugin has, then plugins.
fn sections(table: &toml::Table) -> Result<Vec<(String, States<'_>)>, String> {
    let mut list = Vec::new();
    for (kind, value) in table {
        let value = value.as_table().ok_or("a section is no table")?;
        if kind == "service" {
            list.push(((0, 0), "`[SERVICE]`".to_string(), properties(value)?));
            continue;
        }
        let place = ["input", "filter", "output"]
            .iter()
            .position(|known| known == kind);
        let place = place.ok_or_else(|| format!("`{kind}` is no kind of plugin"))?;
        for (name, value) in value {
            let value = value.as_table().ok_or("a plugin is no table")?;
            let (order, title) = match name.as_str() {
                "common" => (1, format!("Every {kind}")),
                "network" => (2, format!("Every {kind} with network")),
                name => (3, format!("{kind} `{name}`")),
            };
            list.push(((order, place), title, properties(value)?));
        }
    }
    list.sort_by_key(|(order, ..)| *order);
    Ok(list
        .into_iter()
        .map(|(_, title, properties)| (title, properties))
        .collect())
}

fn properties(table: &toml::Table) -> Result<States<'_>, String> {
    let pairs = table.iter().map(|(key, value)| {
        let state = value
            .as_str()
            .ok_or_else(|| format!("{key}: its state is no text"))?;
        Ok((key.as_str(), state))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_in_order() {
        let text = "[output.tcp]\nhost = \"supported\"\n[service]\nflush = \"warned: x\"\n[output.common]\n";
        let table = text.parse().unwrap();
        let titles: Vec<_> = sections(&table)
            .unwrap()
            .into_iter()
            .map(|(title, _)| title)
            .collect();
        assert_eq!(titles, ["`[SERVICE]`", "Every output", "output `tcp`"]);
        assert!(sections(&"[output.tcp]\nhost = 1\n".parse().unwrap()).is_err());
    }
}
