//! The bill of materials: CycloneDX JSON of every package whose code is in the image's binary. Equal
//! sources give equal bytes: there is no time and no number of this writing in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::metadata::{Graph, Names, Package, checksums, in_binary};
use crate::spdx;

/// The package whose binary is shipped.
const BINARY: &str = "firelane";

/// The bill for the binary on `target`.
pub(crate) fn sbom(root: &Path, target: &str) -> Result<String, String> {
    let graph = Graph::load(root, &[target.to_owned()], false)?;
    let all = in_binary(root, BINARY, target, "normal")?;
    let linked = in_binary(root, BINARY, target, "normal,no-proc-macro")?;
    let bill = bill(&graph, &all, &linked, &checksums(root)?, target)?;
    let text = serde_json::to_string_pretty(&bill).map_err(|error| error.to_string())?;
    Ok(text + "\n")
}

/// `all` has macros too, which run in the compiler and whose code is not in the binary: scope `excluded`.
fn bill(
    graph: &Graph,
    all: &Names,
    linked: &Names,
    checksums: &BTreeMap<(String, String), String>,
    target: &str,
) -> Result<Value, String> {
    let key = |package: &Package| (package.name.clone(), package.version.clone());
    let chosen: BTreeMap<&str, &Package> = graph
        .packages
        .iter()
        .filter(|(_, package)| all.contains(&key(package)))
        .map(|(id, package)| (id.as_str(), package))
        .collect();
    if chosen.len() != all.len() {
        return Err(format!(
            "cargo tree has {} packages, of which cargo metadata knows {}",
            all.len(),
            chosen.len()
        ));
    }
    let (own, foreign): (Vec<_>, Vec<_>) = chosen.iter().partition(|(_, package)| package.source.is_none());
    let own_ids: BTreeSet<&str> = own.iter().map(|(id, _)| **id).collect();
    // What a package needs, of what is here; our own crates are one component.
    let needs = |ids: &mut dyn Iterator<Item = &str>| {
        let edges = ids.flat_map(|id| graph.edges.get(id).into_iter().flatten());
        let edges = edges.filter(|edge| edge.is_normal && !own_ids.contains(edge.to.as_str()));
        let names = edges.filter_map(|edge| chosen.get(edge.to.as_str()).map(|package| purl(package)));
        names.collect::<BTreeSet<String>>()
    };
    let mut components = BTreeMap::new();
    let mut dependencies = BTreeMap::new();
    for (id, package) in foreign {
        let sum = checksums.get(&key(package)).ok_or_else(|| {
            format!(
                "Cargo.lock has no checksum of {} {}",
                package.name, package.version
            )
        })?;
        let scope = if linked.contains(&key(package)) {
            "required"
        } else {
            "excluded"
        };
        components.insert(purl(package), component(package, scope, sum)?);
        dependencies.insert(purl(package), needs(&mut std::iter::once(*id)));
    }
    let main = own.iter().find(|(_, package)| package.name == BINARY);
    let (_, main) = main.ok_or_else(|| format!("there is no package `{BINARY}`"))?;
    dependencies.insert(purl(main), needs(&mut own_ids.iter().copied()));
    let dependencies: Vec<_> = dependencies
        .into_iter()
        .map(|(name, needs)| json!({ "ref": name, "dependsOn": needs }))
        .collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": application(main),
            "properties": [{ "name": "cargo:target", "value": target }],
        },
        "components": components.into_values().collect::<Vec<_>>(),
        "dependencies": dependencies,
    }))
}

fn application(package: &Package) -> Value {
    json!({
        "type": "application",
        "bom-ref": purl(package),
        "name": package.name,
        "version": package.version,
        "licenses": [{ "expression": package.license }],
        "purl": purl(package),
    })
}

fn component(package: &Package, scope: &str, checksum: &str) -> Result<Value, String> {
    let license =
        spdx::normal(&package.license).map_err(|why| format!("license of {}: {why}", package.name))?;
    Ok(json!({
        "type": "library",
        "bom-ref": purl(package),
        "name": package.name,
        "version": package.version,
        "scope": scope,
        "hashes": [{ "alg": "SHA-256", "content": checksum }],
        "licenses": [{ "expression": license }],
        "purl": purl(package),
    }))
}

fn purl(package: &Package) -> String {
    // `+` of build metadata stands for a blank where it is not escaped.
    format!(
        "pkg:cargo/{}@{}",
        package.name,
        package.version.replace('+', "%2B")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "x86_64-unknown-linux-gnu";

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    /// Guarantees: the bill has every package of the binary and no other, each with the lock file's checksum;
    /// every end of the graph is a component; writing it again gives the same bytes.
    #[test]
    fn the_bill_is_that_of_the_lock_file() {
        let text = sbom(root(), TARGET).unwrap();
        assert_eq!(text, sbom(root(), TARGET).unwrap());
        let bill: Value = serde_json::from_str(&text).unwrap();
        let sums = checksums(root()).unwrap();
        let mut listed = BTreeSet::new();
        for component in bill["components"].as_array().unwrap() {
            let field = |name: &str| component[name].as_str().unwrap().to_owned();
            let key = (field("name"), field("version"));
            assert_eq!(component["hashes"][0]["content"], sums[&key].as_str(), "{key:?}");
            assert!(listed.insert(key), "listed twice: {component}");
        }
        let tree = in_binary(root(), BINARY, TARGET, "normal").unwrap();
        let foreign = tree.into_iter().filter(|(name, _)| !name.starts_with("firelane"));
        assert_eq!(listed, foreign.collect::<BTreeSet<_>>());
        for name in [
            "proptest",
            "insta",
            "tempfile",
            "toml",
            "windows-sys",
            "clap_mangen",
        ] {
            assert!(
                !listed.iter().any(|(listed, _)| listed == name),
                "{name} is not in the binary"
            );
        }
        let dependencies = bill["dependencies"].as_array().unwrap();
        let refs: BTreeSet<_> = dependencies.iter().map(|d| d["ref"].to_string()).collect();
        assert_eq!(refs.len(), listed.len() + 1);
        for dependency in dependencies {
            for to in dependency["dependsOn"].as_array().unwrap() {
                assert!(refs.contains(&to.to_string()), "{to} of {}", dependency["ref"]);
            }
        }
    }
}
