//! Which directories of a worktree are worth a watch. Authority: derived from the file system; reads only.
//!
//! Invariants: no git directory, no `.handshake` and no nested repository is entered; no symbolic link is followed.
//! Ignored directories are left out, unless git tracks something in them: git's status would not show them either.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use dcc_core::path::RepoPath;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::{DirEntry, WalkBuilder};

/// Directories below `from`, itself included when it counts; `from` is `root` or lies below it. With `tracked`, the
/// directories of those files too.
pub(super) fn directories(root: &Path, from: &Path, common_dir: &Path, tracked: &[RepoPath]) -> BTreeSet<PathBuf> {
    let mut found = walked(root, from, common_dir);
    for path in tracked {
        let mut dir = root.join(path.to_os_path());
        while dir.pop() && dir.starts_with(from) && !found.contains(&dir) {
            if is_real(&dir) {
                found.insert(dir.clone());
            }
        }
    }
    found
}

fn walked(root: &Path, from: &Path, common_dir: &Path) -> BTreeSet<PathBuf> {
    if !is_real(from) {
        return BTreeSet::new();
    }
    let excluded = excluded(root, common_dir);
    // Ignore rules hold for what stands below the start, so the walk begins one level higher and takes one branch only.
    let (start, only) = if from == root { (root, None) } else { (from.parent().unwrap_or(root), Some(from.to_owned())) };
    let wanted = move |entry: &DirEntry| {
        let is_branch = entry.depth() != 1 || only.as_deref().is_none_or(|only| entry.path() == only);
        entry.depth() == 0 || (is_branch && is_dir(entry) && is_ours(entry.path()) && !excluded.matched(entry.path(), true).is_ignore())
    };
    let skip_start = from != root;
    WalkBuilder::new(start)
        .hidden(false)
        .ignore(false)
        .git_global(false)
        // Read by us from the registered directory: the worktree's own `.git` file may name any other.
        .git_exclude(false)
        .follow_links(false)
        .filter_entry(wanted)
        .build()
        .flatten()
        .filter(|entry| !(skip_start && entry.depth() == 0))
        .map(DirEntry::into_path)
        .collect()
}

/// `info/exclude`, read from the registered git directory. One that cannot be read leaves nothing out.
fn excluded(root: &Path, common_dir: &Path) -> Gitignore {
    let mut builder = GitignoreBuilder::new(root);
    let _ = builder.add(common_dir.join("info/exclude"));
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}

fn is_dir(entry: &DirEntry) -> bool {
    entry.file_type().is_some_and(|kind| kind.is_dir())
}

/// Not git's, not DCC's, and not another repository's.
fn is_ours(dir: &Path) -> bool {
    let name = dir.file_name().unwrap_or(OsStr::new(""));
    name != ".git" && name != ".handshake" && dir.join(".git").symlink_metadata().is_err()
}

/// A directory, and no link to one.
pub(super) fn is_real(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lay(root: &Path, dirs: &[&str]) {
        for dir in dirs {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
    }

    fn put(path: PathBuf, text: &str) {
        std::io::Write::write_all(&mut std::fs::OpenOptions::new().create_new(true).write(true).open(path).unwrap(), text.as_bytes()).unwrap();
    }

    fn names(root: &Path, found: &BTreeSet<PathBuf>) -> Vec<String> {
        found.iter().map(|p| p.strip_prefix(root).unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn git_dcc_nested_repositories_and_ignored_directories_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        lay(root, &[".git/info", ".git/objects", ".handshake/gov", ".github/w", "src/deep", "target/debug", "out/kept", "local", "nested/.git/refs", "nested/src"]);
        put(root.join(".gitignore"), "target/\nout/\n");
        put(root.join(".git/info/exclude"), "/local/\n");
        std::os::unix::fs::symlink("src", root.join("link")).unwrap();
        let common = root.join(".git");
        let all = directories(root, root, &common, &[]);
        assert_eq!(names(root, &all), ["", ".github", ".github/w", "src", "src/deep"]);
        let tracked = [RepoPath::new("out/kept/file").unwrap(), RepoPath::new("src/deep/x").unwrap()];
        let with = directories(root, root, &common, &tracked);
        assert_eq!(names(root, &with), ["", ".github", ".github/w", "out", "out/kept", "src", "src/deep"]);
    }

    #[test]
    fn a_branch_alone_obeys_the_same_rules() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        lay(root, &[".git/info", "src/a/b", "src/other", "src/target/x"]);
        put(root.join(".gitignore"), "target/\n");
        let common = root.join(".git");
        assert_eq!(names(root, &directories(root, &root.join("src/a"), &common, &[])), ["src/a", "src/a/b"]);
        assert!(directories(root, &root.join("src/target"), &common, &[]).is_empty());
        assert!(directories(root, &root.join("src/gone"), &common, &[]).is_empty());
    }
}
