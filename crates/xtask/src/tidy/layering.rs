//! Which crate may import which. The rule is the table under "Imports" in ARCHITECTURE.md; the fact is the manifests.
//!
//! Invariants: every workspace member has a row and every row a member; `dcc-testkit` is imported for development only;
//! a library of the second table is named by the listed crates only, tests aside.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use toml::{Table, Value};

use super::Finding;
use crate::tree;

const TESTKIT: &str = "dcc-testkit";

/// What the document allows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rules {
    imports: BTreeMap<String, BTreeSet<String>>,
    /// What a crate's tests may import besides.
    tests: BTreeMap<String, BTreeSet<String>>,
    /// Library to the crates that may name it.
    libraries: BTreeMap<String, BTreeSet<String>>,
}

/// One manifest's direct dependencies.
struct Manifest {
    name: String,
    path: String,
    normal: BTreeSet<String>,
    development: BTreeSet<String>,
}

/// Findings of the whole workspace.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let rules = rules(&tree::load(root, "ARCHITECTURE.md")?)?;
    Ok(judge(&rules, &manifests(root)?))
}

fn rules(text: &str) -> Result<Rules> {
    let rules = Rules { imports: table(text, "| crate | may import |"), tests: table(text, "| crate | its tests may import besides |"), libraries: table(text, "| library | named only by |") };
    if rules.imports.is_empty() || rules.libraries.is_empty() {
        bail!("ARCHITECTURE.md has no table of imports, or none of libraries");
    }
    Ok(rules)
}

/// Rows of a two-column table: the word in backticks, then the words in backticks.
fn table(text: &str, head: &str) -> BTreeMap<String, BTreeSet<String>> {
    let rows = text.lines().skip_while(|l| l.trim() != head).skip(2).take_while(|l| l.starts_with('|'));
    rows.filter_map(|row| {
        let mut cells = row.trim_matches('|').split('|');
        let name = ticked(cells.next()?).into_iter().next()?;
        Some((name, ticked(cells.next()?)))
    })
    .collect()
}

fn ticked(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn manifests(root: &Path) -> Result<Vec<Manifest>> {
    tree::files(root, "crates", &["Cargo.toml"])?.iter().map(|file| read(&file.path, &file.text)).collect()
}

fn read(path: &str, text: &str) -> Result<Manifest> {
    let manifest: Table = text.parse().with_context(|| path.to_owned())?;
    let name = manifest["package"]["name"].as_str().context("a package has a name")?.to_owned();
    let mut normal = BTreeSet::new();
    let mut development = BTreeSet::new();
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values).filter_map(Value::as_table);
    for part in std::iter::once(&manifest).chain(targets) {
        normal.extend(keys(part, "dependencies"));
        normal.extend(keys(part, "build-dependencies"));
        development.extend(keys(part, "dev-dependencies"));
    }
    Ok(Manifest { name, path: path.to_owned(), normal, development })
}

/// Names of the packages, also when an entry renames one.
fn keys(part: &Table, section: &str) -> Vec<String> {
    let entries = part.get(section).and_then(Value::as_table);
    entries.into_iter().flatten().map(|(key, value)| value.get("package").and_then(Value::as_str).unwrap_or(key).to_owned()).collect()
}

fn judge(rules: &Rules, manifests: &[Manifest]) -> Vec<Finding> {
    let members: BTreeSet<&str> = manifests.iter().map(|m| m.name.as_str()).collect();
    let mut findings: Vec<Finding> = rules
        .imports
        .keys()
        .filter(|name| !members.contains(name.as_str()))
        .map(|name| format!("ARCHITECTURE.md: the table names {name}, which is no crate of the workspace"))
        .collect();
    for manifest in manifests {
        let Some(allowed) = rules.imports.get(&manifest.name) else {
            findings.push(format!("{}: {} has no row in the table of ARCHITECTURE.md", manifest.path, manifest.name));
            continue;
        };
        let all = manifest.normal.iter().map(|d| (d, false)).chain(manifest.development.iter().map(|d| (d, true)));
        for (import, is_development) in all {
            let is_ours = members.contains(import.as_str());
            let is_allowed = allowed.contains(import) || (is_development && (import == TESTKIT || rules.tests.get(&manifest.name).is_some_and(|t| t.contains(import))));
            if is_ours && !is_allowed {
                let section = if is_development { "dev-dependencies" } else { "dependencies" };
                findings.push(format!("{}: {} imports {import} ({section}), which the table of ARCHITECTURE.md does not allow", manifest.path, manifest.name));
            }
            // Tests may look into a file that the product reaches through a port only.
            let users = rules.libraries.get(import).filter(|users| !is_development && !users.contains(&manifest.name));
            if let Some(users) = users {
                let users: Vec<&str> = users.iter().map(String::as_str).collect();
                findings.push(format!("{}: {} names {import}; only {} may", manifest.path, manifest.name, users.join(", ")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "text\n\n| crate | may import |\n|---|---|\n| `core` | nothing |\n| `web` | `core` |\n| `dcc-testkit` | `core` |\n\n| crate | its tests may import besides |\n|---|---|\n| `web` | `core` |\n\n| library | named only by |\n|---|---|\n| `rusqlite` | `core` |\n";

    fn found(manifest: &str) -> Vec<Finding> {
        let all = [
            read("core/Cargo.toml", "[package]\nname = \"core\"\n[dependencies]\nrusqlite = \"1\"\n").unwrap(),
            read("testkit/Cargo.toml", "[package]\nname = \"dcc-testkit\"\n[dependencies]\ncore.workspace = true\n").unwrap(),
            read("web/Cargo.toml", &format!("[package]\nname = \"web\"\n{manifest}")).unwrap(),
        ];
        judge(&rules(DOCUMENT).unwrap(), &all)
    }

    #[test]
    fn what_the_table_allows_passes() {
        assert!(found("[dependencies]\ncore.workspace = true\nserde = \"1\"\n[dev-dependencies]\ndcc-testkit.workspace = true\n").is_empty());
    }

    #[test]
    fn what_it_does_not_allow_is_named() {
        assert!(found("[dependencies]\ndcc-testkit.workspace = true\n")[0].contains("web imports dcc-testkit (dependencies)"));
        assert!(found("[dependencies]\nx = { package = \"dcc-testkit\", path = \"..\" }\n")[0].contains("web imports dcc-testkit"));
        assert!(found("[target.'cfg(unix)'.dependencies]\nrusqlite = \"1\"\n")[0].contains("web names rusqlite; only core may"));
    }

    #[test]
    fn crates_and_rows_are_the_same_set() {
        let only_core = [read("core/Cargo.toml", "[package]\nname = \"core\"\n").unwrap(), read("new/Cargo.toml", "[package]\nname = \"new\"\n").unwrap()];
        let findings = judge(&rules(DOCUMENT).unwrap(), &only_core);
        assert!(findings.iter().any(|f| f.contains("names web")) && findings.iter().any(|f| f.contains("new has no row")));
        assert!(rules("no table").is_err());
    }
}
