//! A world put back as it was, in place: a test of many cells prepares once and starts each cell from the same state.
//!
//! Invariant: directories that stand in both states are never removed, so that a registered worktree keeps its identity.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::World;

/// Every directory, link and file below the world's directory, with bytes and modes.
pub struct Frozen(BTreeMap<PathBuf, Node>);

#[derive(PartialEq, Eq)]
enum Node {
    Directory,
    Link(PathBuf),
    File { mode: u32, bytes: Vec<u8> },
    /// A socket: it lives with its process and is never put back.
    Special,
}

impl Frozen {
    /// The paths that differ in bytes, mode or kind.
    pub fn difference(&self, other: &Self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = self.0.keys().chain(other.0.keys()).filter(|p| self.0.get(*p) != other.0.get(*p)).cloned().collect();
        paths.sort();
        paths.dedup();
        paths
    }
}

impl World {
    /// The state of now. To be put back later, it has to be taken while no process of the world runs.
    pub fn freeze(&self) -> Frozen {
        let mut all = BTreeMap::new();
        collect(self.path(), &mut all);
        all.retain(|_, node| *node != Node::Special);
        Frozen(all)
    }

    /// Puts the state back. No process of the world may be running.
    pub fn thaw(&self, frozen: &Frozen) {
        let mut now = BTreeMap::new();
        collect(self.path(), &mut now);
        // Children before their directories.
        for (path, node) in now.iter().rev() {
            let wanted = frozen.0.get(path);
            if wanted.is_some_and(|wanted| std::mem::discriminant(wanted) == std::mem::discriminant(node)) {
                continue;
            }
            let removed = if *node == Node::Directory { std::fs::remove_dir(path) } else { std::fs::remove_file(path) };
            removed.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
        for (path, node) in &frozen.0 {
            if now.get(path) != Some(node) {
                restore(path, node).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            }
        }
    }
}

fn restore(path: &Path, node: &Node) -> std::io::Result<()> {
    match node {
        Node::Directory => std::fs::create_dir(path).or_else(|e| if path.is_dir() { Ok(()) } else { Err(e) }),
        Node::Link(target) => {
            let _ = std::fs::remove_file(path);
            std::os::unix::fs::symlink(target, path)
        }
        Node::File { mode, bytes } => {
            // Git's objects are read-only files.
            let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
            std::fs::write(path, bytes)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode))
        }
        Node::Special => Ok(()),
    }
}

fn collect(directory: &Path, all: &mut BTreeMap<PathBuf, Node>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(meta) = path.symlink_metadata() else { continue };
        let kind = meta.file_type();
        let node = if kind.is_dir() {
            collect(&path, all);
            Node::Directory
        } else if kind.is_symlink() {
            Node::Link(std::fs::read_link(&path).unwrap_or_default())
        } else if kind.is_socket() || kind.is_fifo() {
            Node::Special
        } else {
            Node::File { mode: meta.permissions().mode() & 0o7777, bytes: std::fs::read(&path).unwrap_or_default() }
        };
        all.insert(path, node);
    }
}
