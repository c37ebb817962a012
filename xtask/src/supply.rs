//! What may enter the build: the lists of `deny.toml`, enforced without `cargo deny` and without a network.
//!
//! Licenses, denied crates with their wrappers, wildcards and sources. Not here: advisories, which need a
//! database. A key that this check does not know is a fault, so that no rule stands there without effect.

use std::collections::BTreeSet;
use std::path::Path;

use crate::metadata::{Graph, Names, Package, in_any_build};
use crate::spdx;
use crate::tidy::{Fault, fault};

const RULES: &str = "deny.toml";
/// All keys that have a meaning here.
const KNOWN: &[(&str, &[&str])] = &[
    ("graph", &["targets"]),
    ("licenses", &["allow"]),
    (
        "bans",
        &["multiple-versions", "wildcards", "allow-wildcard-paths", "deny"],
    ),
    ("sources", &["unknown-registry", "unknown-git"]),
];

/// Checks all packages of the workspace, optional ones too, against `deny.toml`.
pub(crate) fn check(root: &Path) -> Vec<Fault> {
    let rules = match Rules::load(root) {
        Ok(rules) => rules,
        Err(why) => return vec![fault(RULES, why)],
    };
    match packages(root, &rules.targets) {
        Ok(graph) => rules.check(&graph),
        Err(why) => vec![fault("Cargo.lock", why)],
    }
}

/// The packages of the usual build, and those that optional features add to what is compiled for `targets`.
fn packages(root: &Path, targets: &[String]) -> Result<Graph, String> {
    let usual = Graph::load(root, targets, false)?;
    let mut all = Graph::load(root, targets, true)?;
    let mut built = Names::new();
    for target in targets {
        built.extend(in_any_build(root, target)?);
    }
    all.packages.retain(|id, package| {
        let is_built = || built.contains(&(package.name.clone(), package.version.clone()));
        usual.packages.contains_key(id) || is_built()
    });
    Ok(all)
}

/// The lists.
#[derive(Debug, Default)]
struct Rules {
    targets: Vec<String>,
    licenses: BTreeSet<String>,
    banned: Vec<Ban>,
}

/// A crate that nobody but its wrappers may depend on; without wrappers: nobody.
#[derive(Debug)]
struct Ban {
    name: String,
    wrappers: Vec<String>,
    reason: String,
}

impl Rules {
    fn load(root: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(root.join(RULES)).map_err(|error| error.to_string())?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
        for (section, keys) in &table {
            let known = KNOWN
                .iter()
                .find(|(name, _)| name == section)
                .map(|(_, keys)| *keys);
            let known = known.ok_or_else(|| format!("`xtask/src/supply.rs` does not check [{section}]"))?;
            let keys = keys.as_table().ok_or("a section is no table")?;
            if let Some(key) = keys.keys().find(|key| !known.contains(&key.as_str())) {
                return Err(format!(
                    "`xtask/src/supply.rs` does not check `{key}` of [{section}]"
                ));
            }
        }
        let get = |section: &str, key: &str| table.get(section)?.get(key);
        for (section, key) in [
            ("bans", "wildcards"),
            ("sources", "unknown-registry"),
            ("sources", "unknown-git"),
        ] {
            if get(section, key).and_then(|value| value.as_str()) != Some("deny") {
                return Err(format!("`{key}` of [{section}] is not \"deny\""));
            }
        }
        let mut rules = Self {
            targets: strings(get("graph", "targets")),
            licenses: strings(get("licenses", "allow")).into_iter().collect(),
            banned: Vec::new(),
        };
        for ban in get("bans", "deny")
            .and_then(|list| list.as_array())
            .into_iter()
            .flatten()
        {
            let field = |key: &str| ban.get(key).and_then(|value| value.as_str()).map(str::to_owned);
            rules.banned.push(Ban {
                name: field("crate").ok_or("an entry of `deny` names no `crate`")?,
                wrappers: strings(ban.get("wrappers")),
                reason: field("reason").ok_or("an entry of `deny` has no `reason`")?,
            });
        }
        Ok(rules)
    }

    fn check(&self, graph: &Graph) -> Vec<Fault> {
        let mut faults = Vec::new();
        for package in graph.packages.values() {
            let place = format!("{} {}", package.name, package.version);
            let told = [self.license(package), source(package)];
            faults.extend(told.into_iter().flatten().map(|text| fault(&place, text)));
            faults.extend(wildcards(package).map(|text| fault(&place, text)));
        }
        for (id, edges) in &graph.edges {
            let Some(package) = graph.packages.get(id) else {
                continue;
            };
            for to in edges.iter().filter_map(|edge| graph.packages.get(&edge.to)) {
                let bans = self.banned.iter().filter(|ban| ban.name == to.name);
                for ban in bans.filter(|ban| !ban.wrappers.contains(&package.name)) {
                    let text = format!("depends on `{}`, which {RULES} denies: {}", ban.name, ban.reason);
                    faults.push(fault(format!("{} {}", package.name, package.version), text));
                }
            }
        }
        faults
    }

    fn license(&self, package: &Package) -> Option<String> {
        match spdx::satisfied(&package.license, &|name| self.licenses.contains(name)) {
            Ok(true) => None,
            Ok(false) => Some(format!(
                "`{}`: {RULES} does not allow that license",
                package.license
            )),
            Err(why) => Some(format!("its license cannot be told: {why}")),
        }
    }
}

/// Packages come from this repository or from crates.io.
fn source(package: &Package) -> Option<String> {
    let source = package.source.as_deref()?;
    let known = source.starts_with("registry+") && source.ends_with("/crates.io-index");
    (!known).then(|| format!("comes from {source}; {RULES} allows crates.io alone"))
}

/// `*` takes any version. Between folders of this repository that is none; tests of others are not built
/// here.
fn wildcards(package: &Package) -> impl Iterator<Item = String> {
    let is_ours = package.source.is_none();
    let built = package
        .wants
        .iter()
        .filter(move |want| is_ours || !want.for_tests);
    built
        .filter(|want| want.requirement == "*" && !want.is_folder)
        .map(|want| format!("takes any version of `{}`: name one", want.name))
}

fn strings(value: Option<&toml::Value>) -> Vec<String> {
    let list = value.and_then(|value| value.as_array()).into_iter().flatten();
    list.filter_map(|value| value.as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES_TEXT: &str = r#"
        graph = { targets = ["a"] }
        licenses = { allow = ["MIT"] }
        sources = { unknown-registry = "deny", unknown-git = "deny" }
        [bans]
        wildcards = "deny"
        deny = [{ crate = "tls", wrappers = ["net"], reason = "net owns TLS" }, { crate = "ssl", reason = "no" }]
    "#;

    fn package(name: &str, license: &str, source: &str, wants: &str) -> String {
        format!(
            r#"{{"id":"{name}","name":"{name}","version":"1.0.0","license":"{license}","source":{source},
            "dependencies":[{wants}]}}"#
        )
    }

    #[test]
    fn every_rule_finds_its_fault() {
        let index = r#""registry+x/crates.io-index""#;
        let star = r#"{"name":"tls","req":"*","kind":null}"#;
        let packages = [
            package("net", "MIT", "null", ""),
            package(
                "app",
                "MIT",
                "null",
                r#"{"name":"net","req":"*","kind":null,"path":"net"}"#,
            ),
            package("tls", "GPL-3.0 OR MIT", index, ""),
            package("ssl", "GPL-3.0", index, star),
            package("elsewhere", "MIT", r#""git+x""#, ""),
            package("other-target", "GPL-3.0", index, ""),
        ];
        let node = |id: &str, to: &str| {
            let deps: Vec<_> = to
                .split_whitespace()
                .map(|to| format!(r#"{{"pkg":"{to}","dep_kinds":[]}}"#))
                .collect();
            format!(r#"{{"id":"{id}","deps":[{}]}}"#, deps.join(","))
        };
        let nodes = [
            node("net", "tls"),
            node("app", "net tls ssl"),
            node("tls", ""),
            node("ssl", ""),
            node("elsewhere", ""),
        ];
        let text = format!(
            r#"{{"packages":[{}],"resolve":{{"nodes":[{}]}}}}"#,
            packages.join(","),
            nodes.join(",")
        );
        let rules = Rules::parse(RULES_TEXT).unwrap();
        let faults = rules.check(&Graph::parse(&text).unwrap());
        let faults: Vec<_> = faults.iter().map(Fault::to_string).collect();
        assert_eq!(
            faults,
            [
                "elsewhere 1.0.0: comes from git+x; deny.toml allows crates.io alone",
                "ssl 1.0.0: `GPL-3.0`: deny.toml does not allow that license",
                "ssl 1.0.0: takes any version of `tls`: name one",
                "app 1.0.0: depends on `tls`, which deny.toml denies: net owns TLS",
                "app 1.0.0: depends on `ssl`, which deny.toml denies: no",
            ]
        );
    }

    /// Guarantees: what a feature brings is looked at, also where no default build has it.
    #[test]
    fn optional_packages_are_checked() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let graph = packages(root, &["x86_64-unknown-linux-gnu".to_owned()]).unwrap();
        let has = |name: &str| graph.packages.values().any(|package| package.name == name);
        assert!(has("parquet") && has("twox-hash") && has("tokio"));
        assert!(!has("tiny-keccak"), "only a build for wasm has it");
    }

    #[test]
    fn rules_without_effect_are_faults() {
        for (from, to, why) in [
            ("[bans]", "advisories = {}\n[bans]", "does not check [advisories]"),
            (
                "allow =",
                "exceptions = [], allow =",
                "does not check `exceptions` of [licenses]",
            ),
            (
                "unknown-git = \"deny\"",
                "unknown-git = \"allow\"",
                "`unknown-git` of [sources] is not \"deny\"",
            ),
        ] {
            let error = Rules::parse(&RULES_TEXT.replace(from, to)).unwrap_err();
            assert!(error.ends_with(why), "{error}");
        }
    }
}
