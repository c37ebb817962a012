//! Codes of messages (`FL0301`): each has one meaning, so one file that makes it, and a line in the docs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::tidy::{Fault, fault, rust_files};

/// Where users look them up.
const DOCS: &str = "docs/troubleshooting.md";

/// Checks every code that a source makes or that the docs list.
pub(crate) fn check(root: &Path) -> Vec<Fault> {
    let mut files = Vec::new();
    rust_files(&root.join("crates"), &mut files);
    let mut owners: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in files {
        let place = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if place.contains("/tests/") || place.ends_with("/tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        for code in made(&text) {
            owners.entry(code).or_default().insert(place.clone());
        }
    }
    let docs = fs::read_to_string(root.join(DOCS)).unwrap_or_default();
    compare(&owners, &listed(&docs))
}

fn compare(owners: &BTreeMap<String, BTreeSet<String>>, listed: &[String]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (code, files) in owners {
        if files.len() > 1 {
            let files: Vec<_> = files.iter().map(String::as_str).collect();
            let text = format!("one code, one meaning, one file: {}", files.join(", "));
            faults.push(fault(code, text));
        }
        match listed.iter().filter(|known| *known == code).count() {
            0 => faults.push(fault(DOCS, format!("{code} is missing"))),
            1 => {}
            _ => faults.push(fault(DOCS, format!("{code} stands there twice"))),
        }
    }
    for code in listed.iter().filter(|code| !owners.contains_key(*code)) {
        faults.push(fault(DOCS, format!("{code} is made by no source")));
    }
    faults
}

/// The codes in the code of a source: not in comments, not in its unit tests.
fn made(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(codes).collect()
}

/// The codes in the first column of the tables.
fn listed(docs: &str) -> Vec<String> {
    let rows = docs
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    rows.flat_map(codes).collect()
}

/// `FL` and exactly four digits.
fn codes(line: &str) -> Vec<String> {
    let found = line.match_indices("FL").filter_map(|(at, _)| {
        let rest = &line[at + 2..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        (digits == 4).then(|| format!("FL{}", &rest[..4]))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_where_they_are_made() {
        let source = "// FL0001\nerror(\"FL0002\"); eprintln!(\"error[FL0003]\");\n#[cfg(test)]\n\"FL0004\"";
        assert_eq!(made(source).into_iter().collect::<Vec<_>>(), ["FL0002", "FL0003"]);
        assert_eq!(listed("| FL0002 | as FL0003 |\nFL0004\n| FL00055 |"), ["FL0002"]);
    }

    #[test]
    fn shared_missing_and_stale_codes_are_faults() {
        let files = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let owners = BTreeMap::from([
            ("FL0001".to_string(), files(&["a.rs", "b.rs"])),
            ("FL0002".to_string(), files(&["a.rs"])),
        ]);
        let faults = compare(&owners, &["FL0001", "FL0003"].map(String::from));
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            faults,
            [
                "FL0001: one code, one meaning, one file: a.rs, b.rs",
                "docs/troubleshooting.md: FL0002 is missing",
                "docs/troubleshooting.md: FL0003 is made by no source",
            ]
        );
    }
}
