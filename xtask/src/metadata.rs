//! What cargo knows about the packages of a build: `cargo metadata` and `cargo tree`, read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// One package of the graph.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// An SPDX expression; empty where the manifest has none.
    pub(crate) license: String,
    /// Where it comes from; `None`: a folder of this repository.
    pub(crate) source: Option<String>,
    /// What its manifest asks for: name, requirement, whether only its own tests do, whether it is a folder.
    pub(crate) wants: Vec<Want>,
}

/// One dependency as a manifest asks for it.
#[derive(Debug, Clone)]
pub(crate) struct Want {
    pub(crate) name: String,
    pub(crate) requirement: String,
    pub(crate) for_tests: bool,
    pub(crate) is_folder: bool,
}

/// One edge of the graph: the package's id, and whether the code itself needs it, not its build or its tests.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub(crate) to: String,
    pub(crate) is_normal: bool,
}

/// All packages by cargo's id, and who depends on whom.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) packages: BTreeMap<String, Package>,
    pub(crate) edges: BTreeMap<String, Vec<Edge>>,
}

impl Graph {
    /// Asks cargo for the packages of the whole workspace on `targets`; with `optional` those of all features
    /// too. Nothing is downloaded but what a build of those fetches.
    pub(crate) fn load(root: &Path, targets: &[String], optional: bool) -> Result<Self, String> {
        let mut args = vec!["metadata", "--format-version", "1", "--locked"];
        if optional {
            args.push("--all-features");
        }
        for target in targets {
            args.extend(["--filter-platform", target]);
        }
        Self::parse(&cargo(root, &args)?)
    }

    /// Reads what `cargo metadata` wrote.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let json: Value = serde_json::from_str(text).map_err(|error| format!("cargo metadata: {error}"))?;
        let mut graph = Self::default();
        for value in list(&json["packages"]) {
            graph.packages.insert(string(&value["id"]), package(value));
        }
        for node in list(&json["resolve"]["nodes"]) {
            let edges = list(&node["deps"]).iter().map(|dependency| Edge {
                to: string(&dependency["pkg"]),
                is_normal: list(&dependency["dep_kinds"])
                    .iter()
                    .any(|kind| kind["kind"].is_null()),
            });
            graph.edges.insert(string(&node["id"]), edges.collect());
        }
        // Packages of other targets are listed, but have no node.
        graph.packages.retain(|id, _| graph.edges.contains_key(id));
        Ok(graph)
    }
}

fn package(value: &Value) -> Package {
    let wants = list(&value["dependencies"]).iter().map(|want| Want {
        name: string(&want["name"]),
        requirement: string(&want["req"]),
        for_tests: want["kind"] == "dev",
        is_folder: want["path"].is_string(),
    });
    Package {
        name: string(&value["name"]),
        version: string(&value["version"]),
        license: string(&value["license"]),
        source: value["source"].as_str().map(str::to_owned),
        wants: wants.collect(),
    }
}

/// Name and version of packages.
pub(crate) type Names = BTreeSet<(String, String)>;

/// All packages whose code is in `package`'s binary without its default features, as the image has it.
/// `cargo tree` alone knows: in the metadata the features that tests switch on count for everybody. `edges`:
/// as `cargo tree -e` takes them.
pub(crate) fn in_binary(root: &Path, package: &str, target: &str, edges: &str) -> Result<Names, String> {
    let binary = ["--package", package, "--no-default-features"];
    tree(
        root,
        &[&binary[..], &["--target", target, "--edges", edges]].concat(),
    )
}

/// All packages that a build of the whole workspace with all features compiles for `target`, tests included.
/// The metadata name more: what a dependency's features would bring on other targets.
pub(crate) fn in_any_build(root: &Path, target: &str) -> Result<Names, String> {
    tree(root, &["--workspace", "--all-features", "--target", target])
}

fn tree(root: &Path, choice: &[&str]) -> Result<Names, String> {
    let shape = ["--prefix", "none", "--format", "{p}"];
    let text = cargo(root, &[&["tree", "--locked"], choice, &shape].concat())?;
    let lines = text.lines().filter(|line| !line.is_empty()).map(|line| {
        let mut words = line.split(' ');
        let version = |word: &str| word.strip_prefix('v').map(str::to_owned);
        match (words.next(), words.next().and_then(version)) {
            (Some(name), Some(version)) => Ok((name.to_owned(), version)),
            _ => Err(format!("cargo tree: `{line}` is no name with a version")),
        }
    });
    lines.collect()
}

/// The checksum of each package of the lock file, by name and version.
pub(crate) fn checksums(root: &Path) -> Result<BTreeMap<(String, String), String>, String> {
    let text =
        std::fs::read_to_string(root.join("Cargo.lock")).map_err(|error| format!("Cargo.lock: {error}"))?;
    let lock: toml::Table = text.parse().map_err(|error| format!("Cargo.lock: {error}"))?;
    let packages = lock.get("package").and_then(|list| list.as_array());
    let field = |package: &toml::Value, key: &str| Some(package.get(key)?.as_str()?.to_owned());
    let packages = packages.into_iter().flatten().filter_map(|package| {
        let key = (field(package, "name")?, field(package, "version")?);
        Some((key, field(package, "checksum")?))
    });
    Ok(packages.collect())
}

/// Runs cargo in the workspace; its standard output.
fn cargo(root: &Path, args: &[&str]) -> Result<String, String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(program).args(args).current_dir(root).output();
    let done = done.map_err(|error| format!("cargo {}: {error}", args[0]))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(format!("cargo {}: {}", args[0], said.trim()));
    }
    String::from_utf8(done.stdout).map_err(|error| format!("cargo {}: {error}", args[0]))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
