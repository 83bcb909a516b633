//! What a denied job must leave byte-identical: the git directory, the worktrees, Locus and the board.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::World;

/// Every file with its bytes and every directory, below the places that matter.
#[derive(PartialEq, Eq, Debug)]
pub struct Snapshot(BTreeMap<PathBuf, Option<Vec<u8>>>);

impl World {
    /// Refs, index, objects, worktrees, Locus and board; the recorder and derived files are left out.
    pub fn snapshot(&self) -> Snapshot {
        let mut all = BTreeMap::new();
        collect(&self.repo(), &mut all);
        collect(&self.path().join("repo.wt"), &mut all);
        all.retain(|path, _| {
            let text = path.to_string_lossy();
            let derived = text.contains("/.handshake/") && !text.contains("/.handshake/gov/");
            !derived
        });
        Snapshot(all)
    }
}

impl Snapshot {
    /// The paths that differ.
    pub fn difference(&self, other: &Self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = self.0.keys().chain(other.0.keys()).filter(|p| self.0.get(*p) != other.0.get(*p)).cloned().collect();
        paths.sort();
        paths.dedup();
        paths
    }
}

fn collect(directory: &Path, all: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            all.insert(path.clone(), None);
            collect(&path, all);
        } else if kind.is_symlink() {
            all.insert(path.clone(), std::fs::read_link(&path).ok().map(|t| t.to_string_lossy().into_owned().into_bytes()));
        } else {
            all.insert(path.clone(), std::fs::read(&path).ok());
        }
    }
}
