//! What a person should look at twice before a commit, from names and modes alone. Pure.
//!
//! Authority: none. Invariant: nothing is refused here; each sentence names the paths it is about.

use std::collections::{BTreeMap, BTreeSet};

use dcc_core::path::RepoPath;
use dcc_core::plans::{CommitChange, CommitPath};

/// More sentences of one sort than this are counted, not listed.
const LISTED_MAX: usize = 20;

/// A mode that changes, in words; an added or deleted file changes none.
pub(super) fn mode_change(path: &RepoPath, old: &str, new: &str) -> Option<String> {
    let word = |mode: &str| match mode {
        "100644" => "an ordinary file",
        "100755" => "an executable file",
        "120000" => "a symbolic link",
        "160000" => "a submodule",
        _ => "something else",
    };
    let both_there = !old.trim_matches('0').is_empty() && !new.trim_matches('0').is_empty();
    (both_there && old != new).then(|| format!("{}: the mode changes from {old} to {new}: it was {} and becomes {}", path.display(), word(old), word(new)))
}

/// Added or changed paths that collide with another of the tree where case does not count, and files that usually hold
/// secrets.
pub(super) fn warnings(changed: &[CommitPath], tree: &[RepoPath]) -> Vec<String> {
    let mut folded: BTreeMap<String, Vec<&RepoPath>> = BTreeMap::new();
    for path in tree {
        folded.entry(String::from_utf8_lossy(path.as_bytes()).to_lowercase()).or_default().push(path);
    }
    let mut told: BTreeSet<String> = BTreeSet::new();
    for path in changed.iter().filter(|p| p.change != CommitChange::Deleted).map(|p| &p.path) {
        if let Some(same) = folded.get(&String::from_utf8_lossy(path.as_bytes()).to_lowercase()).filter(|same| same.len() > 1) {
            let names: Vec<String> = same.iter().map(|p| p.display()).collect();
            told.insert(format!("{} differ in case only: where case does not count, one of them is lost", names.join(" and ")));
        }
        if path.usually_holds_secrets() {
            told.insert(format!("{} is a file that usually holds secrets", path.display()));
        }
    }
    let more = told.len().saturating_sub(LISTED_MAX);
    let mut told: Vec<String> = told.into_iter().take(LISTED_MAX).collect();
    if more > 0 {
        told.push(format!("{more} more names to look at twice"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(path: &str) -> CommitPath {
        CommitPath { path: RepoPath::new(path).unwrap(), change: CommitChange::Added, mode: None, oid: None, added: None, deleted: None, renamed_from: None }
    }

    #[test]
    fn names_that_are_one_elsewhere_and_files_of_secrets_are_told() {
        let tree: Vec<RepoPath> = ["CASE", "case", "src/a.rs", "deep/.env"].iter().map(|p| RepoPath::new(*p).unwrap()).collect();
        let told = warnings(&[changed("CASE"), changed("case"), changed("deep/.env"), changed("src/a.rs")], &tree);
        assert_eq!(told, ["CASE and case differ in case only: where case does not count, one of them is lost", "deep/.env is a file that usually holds secrets"]);
        // What was there before is not this commit's.
        assert!(warnings(&[changed("src/a.rs")], &tree).is_empty());
    }

    #[test]
    fn a_mode_is_told_in_words() {
        let path = RepoPath::new("run.sh").unwrap();
        assert!(mode_change(&path, "100644", "100755").unwrap().ends_with("it was an ordinary file and becomes an executable file"));
        assert!(mode_change(&path, "000000", "100755").is_none() && mode_change(&path, "100644", "100644").is_none());
    }
}
