//! From the paths a person ticked to what stands at each. Authority: derived.
//!
//! Invariants: nothing is selected that was not named, except the old half of a rename whose new half was; every path is
//! looked at without following links; nested repositories are not entered.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ids::Oid;
use dcc_core::limits;
use dcc_core::path::RepoPath;

use super::Entry;
use crate::files::{Node, Root, refuse_own_state};
use crate::git::builder::{Access, Repo};
use crate::git::{GitCli, raw};

/// What a selected path becomes in the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Becomes {
    Deleted,
    File,
    Symlink,
    /// A submodule: its recorded commit.
    Gitlink,
}

/// The selection in order, each path once.
pub(super) type Selection = BTreeMap<RepoPath, Becomes>;

/// Entries by path, none for deleted.
pub(super) type Staged = HashMap<RepoPath, Option<Entry>>;

pub(super) fn denied(path: &RepoPath, why: &str) -> Failure {
    Failure::new(Code::VcsPathDenied, format!("{} {why}", path.display())).hint("leave it out, or look again: dcc vcs diff")
}

/// Bounds, doubles, DCC's own directory.
pub(super) fn check(paths: &[RepoPath]) -> Outcome<BTreeSet<RepoPath>> {
    if paths.is_empty() {
        return Err(Failure::invalid("no path is selected").hint("name the paths to commit"));
    }
    if paths.len() > limits::COMMIT_PATHS_MAX {
        return Err(Failure::invalid(format!("{} paths are selected; at most {} fit one commit", paths.len(), limits::COMMIT_PATHS_MAX)));
    }
    paths.iter().try_for_each(refuse_own_state)?;
    Ok(paths.iter().cloned().collect())
}

impl GitCli {
    /// Adds the old half of every rename whose new half is selected, as the diff shows them: one row.
    pub(super) fn with_renames(&self, repo: &Repo, parent: &Oid, mut paths: BTreeSet<RepoPath>) -> Outcome<BTreeSet<RepoPath>> {
        let out = self
            .tool
            .command(repo, Access::Read, "diff")
            .args(["--raw", "-z", "--no-abbrev", "--find-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty"])
            .arg(parent.as_str())
            .paths(&[])
            .output()?;
        for record in raw::parse(&out)?.records.iter().filter(|r| r.letter == 'R') {
            let (Ok(new), Some(Ok(old))) = (RepoPath::new(record.path), record.from.map(RepoPath::new)) else { continue };
            if paths.contains(&new) {
                paths.insert(old);
            }
        }
        Ok(paths)
    }

    /// Where the user's index differs from the parent, intent-to-add left out. Unmerged selected paths are refused.
    pub(super) fn staged(&self, repo: &Repo, parent: &Oid, index: Option<&std::path::Path>, selected: &BTreeSet<RepoPath>) -> Outcome<Staged> {
        let mut cmd = self.tool.command(repo, Access::Read, "diff");
        if let Some(index) = index {
            cmd = cmd.env("GIT_INDEX_FILE", index);
        }
        let out = cmd
            .args(["--cached", "--raw", "-z", "--no-abbrev", "--no-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty"])
            .arg(parent.as_str())
            .paths(&[])
            .output()?;
        let mut staged = Staged::new();
        for record in raw::parse(&out)?.records {
            let Ok(path) = RepoPath::new(record.path) else { continue };
            if record.letter == 'U' {
                if selected.contains(&path) {
                    return Err(Failure::new(Code::VcsConflict, format!("{} has conflicts that are not resolved", path.display())).hint("resolve it and run git add on it, then select it again"));
                }
                continue;
            }
            let entry = record.new_oid.clone().map(|oid| (record.new_mode.to_owned(), oid));
            staged.insert(path, entry);
        }
        Ok(staged)
    }

    /// The parent's entries of the selected paths.
    pub(super) fn parent_entries(&self, repo: &Repo, parent: &Oid, selected: &BTreeSet<RepoPath>) -> Outcome<HashMap<RepoPath, Entry>> {
        let out = self.tool.command(repo, Access::Read, "ls-tree").args(["-r", "-z", "--full-tree", parent.as_str()]).output()?;
        let mut found = HashMap::new();
        for line in out.split(|b| *b == 0).filter(|l| !l.is_empty()) {
            let unknown = || Failure::engine("git ls-tree answered in an unknown form");
            let tab = line.iter().position(|b| *b == b'\t').ok_or_else(unknown)?;
            let Ok(path) = RepoPath::new(&line[tab + 1..]) else { continue };
            if !selected.contains(&path) {
                continue;
            }
            let head = std::str::from_utf8(&line[..tab]).map_err(|_| unknown())?;
            let mut parts = head.split(' ');
            let (mode, oid) = (parts.next().ok_or_else(unknown)?, parts.nth(1).ok_or_else(unknown)?);
            found.insert(path, (mode.to_owned(), Oid::parse(oid)?));
        }
        Ok(found)
    }

    /// Git would not take an ignored file without being forced; neither do we. What the index holds was forced before.
    pub(super) fn refuse_ignored(&self, repo: &Repo, new_paths: &[&RepoPath]) -> Outcome<()> {
        if new_paths.is_empty() {
            return Ok(());
        }
        // `check-ignore` would read names as patterns with magic.
        let out = self.tool.command(repo, Access::Read, "ls-files").args(["--cached", "--others", "--exclude-standard", "-z"]).output()?;
        let known: HashSet<&[u8]> = out.split(|b| *b == 0).collect();
        match new_paths.iter().find(|p| !known.contains(p.as_bytes())) {
            None => Ok(()),
            Some(path) => Err(denied(path, "is ignored by git").hint("if it is meant, stage it once yourself: git add -f -- PATH")),
        }
    }

    /// A path under a filter would be stored raw, because filters do not run here.
    pub(super) fn refuse_filtered(&self, repo: &Repo, paths: &[&RepoPath]) -> Outcome<()> {
        let filtered = self.filtered(repo, paths)?;
        match filtered.iter().min() {
            None => Ok(()),
            Some((path, driver)) => Err(Failure::new(Code::VcsUnsupportedConfig, format!("{} is under the filter {driver:?}, which would have to run a program", path.display()))
                .hint("commit this path with git itself; DCC does not run filters and never stores raw bytes in their place")),
        }
    }
}

/// Looks at each selected path.
pub(super) fn look(root: &Root, paths: &BTreeSet<RepoPath>, parent: &HashMap<RepoPath, Entry>, staged: &Staged, seen: &HashSet<&RepoPath>) -> Outcome<Selection> {
    let mut nested = Nested { root, seen: HashMap::new() };
    let mut selection = Selection::new();
    for path in paths {
        let in_parent = parent.get(path);
        let becomes = match root.look(path)? {
            Node::Regular { .. } => Becomes::File,
            Node::Symlink(_) => Becomes::Symlink,
            Node::Absent | Node::ThroughLink if in_parent.is_some() => Becomes::Deleted,
            Node::Directory => directory(path, in_parent, staged, &mut nested)?,
            Node::Absent if staged.get(path).is_some_and(Option::is_some) => {
                // Added to the index, removed from the worktree: the index has a third version.
                return Err(diverged(path));
            }
            Node::Absent => {
                return Err(absent(path, seen.contains(path)));
            }
            Node::ThroughLink => return Err(denied(path, "leads through a symbolic link")),
            Node::Special => return Err(denied(path, "is not a file that git can store")),
        };
        if becomes != Becomes::Deleted && nested.holds(path) {
            return Err(denied(path, "lies in a nested repository"));
        }
        selection.insert(path.clone(), becomes);
    }
    Ok(selection)
}

fn directory(path: &RepoPath, in_parent: Option<&Entry>, staged: &Staged, nested: &mut Nested<'_>) -> Outcome<Becomes> {
    let is_gitlink = |entry: &Entry| entry.0 == "160000";
    let in_index = match staged.get(path) {
        Some(entry) => entry.as_ref(),
        None => in_parent,
    };
    if in_index.is_some_and(is_gitlink) {
        return Ok(Becomes::Gitlink);
    }
    if nested.has_repository(path.as_bytes()) {
        return Err(denied(path, "is a nested repository; git knows no submodule there"));
    }
    match in_parent {
        Some(_) => Ok(Becomes::Deleted),
        None => Err(denied(path, "is a directory; select the files in it")),
    }
}

/// A path that was seen is gone since; one that was only written down is a mistake.
fn absent(path: &RepoPath, was_seen: bool) -> Failure {
    let message = format!("{} is neither in the worktree nor in the parent commit", path.display());
    if was_seen {
        return Failure::new(Code::StalePreview, message).hint("it was removed since; look again and select anew");
    }
    Failure::new(Code::VcsPathDenied, message).hint("a path is relative to the worktree's root: dcc vcs status --ws WS lists what differs")
}

pub(super) fn diverged(path: &RepoPath) -> Failure {
    Failure::new(Code::VcsIndexDiverged, format!("{} is staged in a third version, neither the parent's nor the worktree's", path.display()))
        .hint("choose one: git add -- PATH takes the worktree's version, git restore --staged -- PATH drops the staged one")
}

/// Directories that hold a `.git` of their own, remembered.
struct Nested<'a> {
    root: &'a Root,
    seen: HashMap<Vec<u8>, bool>,
}

impl Nested<'_> {
    /// True when a directory above the path, below the root, is a repository.
    fn holds(&mut self, path: &RepoPath) -> bool {
        let bytes = path.as_bytes();
        let ends: Vec<usize> = bytes.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| i).collect();
        ends.into_iter().any(|end| self.has_repository(&bytes[..end]))
    }
    fn has_repository(&mut self, dir: &[u8]) -> bool {
        if let Some(known) = self.seen.get(dir) {
            return *known;
        }
        let found = self.root.has_dot_git(dir);
        self.seen.insert(dir.to_vec(), found);
        found
    }
}

/// Paths that come into the tree as content.
pub(super) fn contents(selection: &Selection) -> Vec<&RepoPath> {
    selection.iter().filter(|(_, b)| **b == Becomes::File).map(|(p, _)| p).collect()
}
