//! The repository's rules: layers, sizes, complete plugin tables, dependencies, codes, licenses.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{codes, dependencies, docs, supply};

/// Longest source file, in lines.
const FILE_LINES_MAX: usize = 600;
/// Longest function, in lines from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Longest line, in columns.
const LINE_COLUMNS_MAX: usize = 110;
/// Crates that must not appear below layer 2: those layers know no runtime, socket, clock or thread.
const NOT_IN_PURE: &[&str] = &["tokio", "hyper", "rustls", "axum", "tracing"];

/// A broken rule and where.
#[derive(Debug)]
pub(crate) struct Fault {
    place: String,
    text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

pub(crate) fn fault(place: impl fmt::Display, text: impl Into<String>) -> Fault {
    Fault {
        place: place.to_string(),
        text: text.into(),
    }
}

/// Checks everything below `root`, the workspace's folder.
pub(crate) fn check(root: &Path) -> Vec<Fault> {
    let mut faults = layers(root);
    let mut sources = Vec::new();
    for folder in ["crates", "xtask", "tests", "fuzz"] {
        rust_files(&root.join(folder), &mut sources);
    }
    for path in sources {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let place = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        faults.extend(sizes(&place, &text));
    }
    for (krate, table) in [
        ("inputs", "INPUTS"),
        ("filters", "FILTERS"),
        ("outputs", "OUTPUTS"),
    ] {
        faults.extend(plugin_table(root, krate, table));
    }
    faults.extend(dependencies::check(root));
    faults.extend(codes::check(root));
    faults.extend(docs::check(root));
    faults.extend(supply::check(root));
    faults
}

/// Every Rust source below `folder`.
pub(crate) fn rust_files(folder: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            out.push(path);
        }
    }
}

/// A crate may depend only on lower layers; the folder's name is the crate's.
fn layers(root: &Path) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut crates: BTreeMap<String, (i64, Vec<String>)> = BTreeMap::new();
    let Ok(entries) = fs::read_dir(root.join("crates")) else {
        return vec![fault("crates", "the folder cannot be read")];
    };
    for folder in entries.flatten().map(|entry| entry.path()) {
        let manifest = folder.join("Cargo.toml");
        let place = manifest
            .strip_prefix(root)
            .unwrap_or(&manifest)
            .display()
            .to_string();
        let text = fs::read_to_string(&manifest).unwrap_or_default();
        let Ok(toml) = text.parse::<toml::Table>() else {
            faults.push(fault(place, "is missing or is not TOML"));
            continue;
        };
        let package = toml.get("package");
        let name = package
            .and_then(|p| p.get("name"))
            .and_then(|v| v.as_str())
            .unwrap_or_default()
            .to_string();
        if folder.file_name().is_none_or(|file| file != name.as_str()) {
            faults.push(fault(
                &place,
                format!("the folder is not named like its crate `{name}`"),
            ));
        }
        let layer = package.and_then(|p| p.get("metadata")?.get("firelane")?.get("layer")?.as_integer());
        let Some(layer) = layer else {
            faults.push(fault(&place, "has no `package.metadata.firelane.layer`"));
            continue;
        };
        let dependencies = toml.get("dependencies").and_then(|d| d.as_table());
        let dependencies = dependencies
            .map(|d| d.keys().cloned().collect())
            .unwrap_or_default();
        crates.insert(name, (layer, dependencies));
    }
    for (name, (layer, dependencies)) in &crates {
        let place = format!("crates/{name}/Cargo.toml");
        for dependency in dependencies {
            if let Some((below, _)) = crates.get(dependency) {
                if below >= layer {
                    let text = format!("layer {layer} depends on `{dependency}` of layer {below}");
                    faults.push(fault(&place, text));
                }
            } else if *layer < 2 && NOT_IN_PURE.contains(&dependency.as_str()) {
                faults.push(fault(
                    &place,
                    format!("layer {layer} knows no runtime, but depends on `{dependency}`"),
                ));
            }
        }
    }
    faults
}

/// Lengths of file, functions and lines.
fn sizes(place: &str, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > FILE_LINES_MAX {
        faults.push(fault(
            place,
            format!("{} lines, the limit is {FILE_LINES_MAX}", lines.len()),
        ));
    }
    for (number, line) in lines.iter().enumerate() {
        let columns = line.chars().count();
        // A line that is one long literal or address cannot be broken.
        let has_literal = line.contains('"') || line.contains("http");
        if columns > LINE_COLUMNS_MAX && !has_literal {
            let place = format!("{place}:{}", number + 1);
            faults.push(fault(
                place,
                format!("{columns} columns, the limit is {LINE_COLUMNS_MAX}"),
            ));
        }
    }
    faults.extend(functions(place, &lines));
    faults
}

/// Functions over the limit. rustfmt puts the closing brace at the column of the `fn` line's first character.
fn functions(place: &str, lines: &[&str]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    for (number, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let code = line.trim_start();
        match open {
            Some((start, at)) if indent == at && code.starts_with('}') => {
                let length = number - start + 1;
                if length > FUNCTION_LINES_MAX {
                    let place = format!("{place}:{}", start + 1);
                    faults.push(fault(
                        place,
                        format!("a function of {length} lines, the limit is {FUNCTION_LINES_MAX}"),
                    ));
                }
                open = None;
            }
            // A nested function counts with the one around it.
            None if is_function(code) && !code.ends_with(['}', ';']) => open = Some((number, indent)),
            _ => {}
        }
    }
    faults
}

fn is_function(code: &str) -> bool {
    let mut words = code.split_whitespace();
    let known = ["pub", "async", "const", "unsafe", "extern"];
    words
        .find(|word| !known.contains(word) && !word.starts_with("pub("))
        .is_some_and(|word| word == "fn")
}

/// Every plugin file of a crate stands in its table, and the table is sorted.
fn plugin_table(root: &Path, krate: &str, table: &str) -> Vec<Fault> {
    let place = format!("crates/firelane-{krate}/src/lib.rs");
    let Ok(text) = fs::read_to_string(root.join(&place)) else {
        return vec![fault(place, "cannot be read")];
    };
    let Some(start) = text.find(&format!("static {table}:")) else {
        return vec![fault(place, format!("has no table `{table}`"))];
    };
    let body = &text[start..];
    let body = &body[..body.find("];").unwrap_or(body.len())];
    let listed: Vec<&str> = body
        .split('&')
        .filter_map(|part| part.split_once("::PLUGIN").map(|(name, _)| name))
        .collect();
    let mut faults = Vec::new();
    if !listed.is_sorted() {
        faults.push(fault(&place, format!("`{table}` is not sorted")));
    }
    let src = root.join(format!("crates/firelane-{krate}/src"));
    let modules = text.lines().filter_map(|line| {
        line.trim_start_matches("pub ")
            .strip_prefix("mod ")?
            .strip_suffix(';')
    });
    for module in modules {
        let file = fs::read_to_string(src.join(format!("{module}.rs")));
        let source = file
            .or_else(|_| fs::read_to_string(src.join(module).join("mod.rs")))
            .unwrap_or_default();
        if source.contains("static PLUGIN") && !listed.contains(&module) {
            faults.push(fault(&place, format!("plugin `{module}` is not in `{table}`")));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let faults: Vec<_> = check(root).iter().map(Fault::to_string).collect();
        assert!(
            faults.is_empty(),
            "{} rules are broken:\n{}",
            faults.len(),
            faults.join("\n")
        );
    }

    #[test]
    fn a_long_function_is_found() {
        let body = "    work();\n".repeat(FUNCTION_LINES_MAX);
        let text = format!("impl X {{\n    pub async fn f() {{\n{body}    }}\n}}\nfn g() {{\n{body}}}\n");
        let faults = sizes("x.rs", &text);
        assert_eq!(
            faults.iter().map(|f| f.place.as_str()).collect::<Vec<_>>(),
            ["x.rs:2", "x.rs:75"]
        );
    }

    #[test]
    fn long_lines_and_files_are_found() {
        let long = format!("// {}\n", "x".repeat(LINE_COLUMNS_MAX));
        assert_eq!(sizes("x.rs", &long).len(), 1);
        assert_eq!(sizes("x.rs", &"//\n".repeat(FILE_LINES_MAX + 1)).len(), 1);
    }
}
