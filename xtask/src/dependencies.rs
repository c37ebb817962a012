//! Every dependency is used by who names it, and stands in ARCHITECTURE.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::tidy::{Fault, fault, rust_files};

/// Checks the workspace's list and every crate's own.
pub(crate) fn check(root: &Path) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut named = BTreeSet::new();
    for folder in crates(root) {
        let Some(manifest) = manifest(&folder) else {
            continue;
        };
        let place = folder.strip_prefix(root).unwrap_or(&folder).join("Cargo.toml");
        let own = sources(&folder, &["src"]);
        let tests = sources(&folder, &["src", "tests", "benches", "examples"]);
        for (table, text) in [("dependencies", &own), ("dev-dependencies", &tests)] {
            for name in names(&manifest, table) {
                if !names_crate(text, &name) {
                    let text = format!("`{name}` of [{table}] is not used");
                    faults.push(fault(place.display(), text));
                }
                named.insert(name);
            }
        }
    }
    let workspace = manifest(root);
    let listed = workspace
        .as_ref()
        .and_then(|toml| toml.get("workspace")?.as_table())
        .map(|workspace| names(workspace, "dependencies"))
        .unwrap_or_default();
    for name in listed.iter().filter(|name| !named.contains(*name)) {
        faults.push(fault("Cargo.toml", format!("`{name}` is used by no crate")));
    }
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap_or_default();
    let reasons = architecture.split("## Dependencies").nth(1).unwrap_or_default();
    for name in named.iter().filter(|name| !name.starts_with("firelane-")) {
        // `rustls-native-certs, -pki-types` stand together.
        let short = name.strip_prefix("rustls").unwrap_or(name);
        if !names_crate(reasons, name) && !reasons.contains(&format!(", {short}")) {
            let text = format!("the table of dependencies lacks `{name}`");
            faults.push(fault("ARCHITECTURE.md", text));
        }
    }
    faults
}

fn crates(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join("crates")).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries.map(|entry| entry.path()).collect();
    folders.push(root.join("xtask"));
    folders.sort();
    folders
}

fn manifest(folder: &Path) -> Option<toml::Table> {
    fs::read_to_string(folder.join("Cargo.toml")).ok()?.parse().ok()
}

fn names(toml: &toml::Table, table: &str) -> Vec<String> {
    let table = toml.get(table).and_then(|table| table.as_table());
    table
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

fn sources(folder: &Path, parts: &[&str]) -> String {
    let mut files = Vec::new();
    for part in parts {
        rust_files(&folder.join(part), &mut files);
    }
    let texts = files
        .iter()
        .map(|path| fs::read_to_string(path).unwrap_or_default());
    texts.collect::<Vec<_>>().join("\n")
}

/// Whether the text has the crate's name as a word, in either spelling.
fn names_crate(text: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    [name.to_string(), name.replace('-', "_")].iter().any(|word| {
        text.match_indices(word.as_str()).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_whole_word() {
        assert!(names_crate("use fancy_regex::Regex;", "fancy-regex"));
        assert!(names_crate("| fancy-regex | parse |", "fancy-regex"));
        assert!(!names_crate("use my_serde::X; serde_json::Value", "serde"));
    }
}
