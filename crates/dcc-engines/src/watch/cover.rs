//! Which directories are watched, and what a change in one of them means. Authority: ephemeral.
//!
//! Invariants: a watched directory belongs to one place; nothing is watched beyond the given number; what
//! could not be watched is named in the state. On failure a worktree is partly followed and says so, the others go on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use dcc_core::ids::WorkspaceId;
use dcc_core::limits;
use dcc_core::path::RepoPath;
use dcc_core::ports::watch::{Seen, WatchState};
use dcc_core::workspace::WorktreeBinding;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::walk;
use crate::search::ListFiles;

/// A directory that is made while its parent's watch is being set is found by looking again; deeper than this nobody
/// makes directories faster than they are looked at.
const ROUNDS_MAX: usize = 32;

/// What happened to a path, as far as the cover has to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It stands there now and did not before.
    Made,
    /// It is gone from there.
    Gone,
    Changed,
}

/// What a watched directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// A directory of a worktree.
    Tree(WorkspaceId),
    /// A worktree's own git directory; none when the worktree is not followed.
    GitDir(Option<WorkspaceId>),
    /// The repository's shared git directory.
    Common,
    /// `info` in it: what git leaves out.
    Info,
    /// Refs and the list of worktrees.
    Refs,
}

struct Tree {
    binding: WorktreeBinding,
    root: PathBuf,
    git_dir: PathBuf,
}

/// What a batch of changes asks for, gathered.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) seen: Seen,
    /// Directories that appeared, with their worktree.
    branches: BTreeSet<(WorkspaceId, PathBuf)>,
    /// Worktrees whose ignore rules changed, or whose root came or went.
    again: BTreeSet<WorkspaceId>,
    /// Directories of git's appeared.
    git: bool,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.seen.trees.is_empty() && !self.seen.refs && !self.seen.config && !self.seen.sweep
    }
    fn touch(&mut self, id: WorkspaceId, path: Option<RepoPath>) {
        let touched = self.seen.trees.entry(id).or_default();
        match path {
            Some(_) if touched.paths.len() >= limits::WATCH_PATHS_MAX => touched.cut = true,
            Some(path) if !touched.paths.contains(&path) => touched.paths.push(path),
            _ => {}
        }
    }
    fn touch_whole(&mut self, id: WorkspaceId) {
        self.seen.trees.entry(id).or_default().cut = true;
    }
}

/// The one watcher and what it watches.
pub(super) struct Cover {
    watcher: RecommendedWatcher,
    directories_max: usize,
    common_dir: PathBuf,
    list_files: ListFiles,
    trees: BTreeMap<WorkspaceId, Tree>,
    places: HashMap<PathBuf, Place>,
    partial: BTreeMap<WorkspaceId, String>,
    pub(super) overflows: u64,
}

impl Cover {
    pub(super) fn new(watcher: RecommendedWatcher, directories_max: usize, common_dir: PathBuf, list_files: ListFiles) -> Self {
        Self { watcher, directories_max, common_dir, list_files, trees: BTreeMap::new(), places: HashMap::new(), partial: BTreeMap::new(), overflows: 0 }
    }

    pub(super) fn state(&self) -> WatchState {
        WatchState { trees: self.trees.len(), directories: self.places.len(), overflows: self.overflows, partial: self.partial.clone(), fault: None }
    }

    /// Follows exactly these worktrees from now on.
    pub(super) fn follow(&mut self, wanted: Vec<(WorkspaceId, WorktreeBinding)>) {
        let gone: Vec<WorkspaceId> = self.trees.keys().filter(|id| wanted.iter().all(|(w, _)| w != *id)).copied().collect();
        for id in gone {
            self.trees.remove(&id);
            self.partial.remove(&id);
            self.leave(|_, place| place == Place::Tree(id));
        }
        let mut fresh = Vec::new();
        for (id, binding) in wanted {
            if self.trees.get(&id).is_some_and(|tree| tree.binding == binding) {
                continue;
            }
            self.leave(|_, place| place == Place::Tree(id));
            self.trees.insert(id, Tree { root: binding.worktree(), git_dir: binding.git_dir(), binding });
            fresh.push(id);
        }
        self.cover_git();
        for id in fresh {
            self.cover_tree(id);
        }
    }

    /// Looks at everything again, after changes were missed.
    pub(super) fn sweep(&mut self, batch: &mut Batch) {
        batch.seen.sweep = true;
        self.cover_git();
        for id in self.trees.keys().copied().collect::<Vec<_>>() {
            self.cover_tree(id);
            batch.touch_whole(id);
        }
    }

    /// Sorts one change into the batch.
    pub(super) fn take(&mut self, path: &Path, kind: Kind, batch: &mut Batch) {
        if kind == Kind::Gone
            && let Some(place) = self.places.get(path).copied()
        {
            // What moved away would go on telling under its old name.
            self.leave(|dir, there| there == place && dir.starts_with(path));
        }
        let place = path.parent().and_then(|dir| self.places.get(dir)).or_else(|| self.places.get(path)).copied();
        let name = path.file_name().unwrap_or_default().as_bytes();
        match place {
            Some(Place::Tree(id)) => self.in_tree(id, path, kind, batch),
            Some(Place::GitDir(id)) => {
                batch.seen.refs |= name == b"HEAD" || name == b"gitdir";
                batch.seen.config |= name == b"config.worktree";
                if let Some(id) = id {
                    batch.touch(id, None);
                }
            }
            Some(Place::Common) => {
                let is_config = name == b"config" || name == b"config.worktree";
                batch.seen.config |= is_config;
                batch.seen.refs |= matches!(name, b"HEAD" | b"packed-refs" | b"refs" | b"reftable" | b"worktrees");
                batch.git |= kind == Kind::Made;
                if !is_config && let Some(id) = self.main_id() {
                    batch.touch(id, None);
                }
            }
            Some(Place::Info) => {
                batch.again.extend(self.trees.keys());
                self.trees.keys().for_each(|id| batch.touch(*id, None));
            }
            Some(Place::Refs) => {
                batch.seen.refs = true;
                batch.git |= kind != Kind::Changed;
            }
            // A worktree's root went with everything in it, or this is a late word about a directory that was left.
            None => {
                for (id, tree) in self.trees.iter().filter(|(_, tree)| tree.root == path) {
                    self.partial.insert(*id, format!("{} is not there", tree.binding.worktree_path));
                    batch.touch_whole(*id);
                }
            }
        }
    }

    fn in_tree(&self, id: WorkspaceId, path: &Path, kind: Kind, batch: &mut Batch) {
        let Some(tree) = self.trees.get(&id) else { return };
        let Ok(relative) = path.strip_prefix(&tree.root) else { return };
        let relative = relative.as_os_str().as_bytes();
        match relative {
            b".handshake" => {}
            b"" | b".git" => batch.touch_whole(id),
            _ => match RepoPath::new(relative) {
                Ok(relative) => {
                    if relative.file_name() == b".gitignore" {
                        batch.again.insert(id);
                    }
                    batch.touch(id, Some(relative));
                }
                // A name that DCC refuses to touch still changes what git shows.
                Err(_) => batch.touch_whole(id),
            },
        }
        if kind == Kind::Made && walk::is_real(path) {
            batch.branches.insert((id, path.to_owned()));
        }
    }

    /// Watches what the batch brought.
    pub(super) fn settle(&mut self, batch: &mut Batch) {
        if batch.git || batch.seen.refs {
            self.cover_git();
            // A worktree that was away may be back: git writes down where it stands.
            batch.again.extend(self.trees.iter().filter(|(_, tree)| !self.places.contains_key(&tree.root)).map(|(id, _)| *id));
        }
        for (id, path) in std::mem::take(&mut batch.branches) {
            if !batch.again.contains(&id)
                && let Some(root) = self.trees.get(&id).map(|tree| tree.root.clone())
            {
                self.grow(id, |common_dir| walk::directories(&root, &path, common_dir, &[]));
            }
        }
        for id in std::mem::take(&mut batch.again) {
            self.cover_tree(id);
        }
    }

    /// Watches the worktree as it is now, and nothing of it that no longer counts.
    fn cover_tree(&mut self, id: WorkspaceId) {
        let Some(tree) = self.trees.get(&id) else { return };
        self.partial.remove(&id);
        if !walk::is_real(&tree.root) {
            self.partial.insert(id, format!("{} is not there", tree.binding.worktree_path));
            self.leave(|_, place| place == Place::Tree(id));
            return;
        }
        let root = tree.root.clone();
        // Without git's list only directories that are ignored and tracked all the same are missing.
        let tracked = (self.list_files)(&tree.binding).unwrap_or_default();
        let wanted = walk::directories(&root, &root, &self.common_dir, &tracked);
        self.leave(|dir, place| place == Place::Tree(id) && !wanted.contains(dir));
        self.grow(id, |common_dir| walk::directories(&root, &root, common_dir, &tracked));
    }

    /// Watches what `find` finds, again until it finds nothing new.
    fn grow(&mut self, id: WorkspaceId, find: impl Fn(&Path) -> BTreeSet<PathBuf>) {
        for _ in 0..ROUNDS_MAX {
            let common_dir = self.common_dir.clone();
            let fresh: Vec<PathBuf> = find(&common_dir).into_iter().filter(|dir| !self.places.contains_key(dir)).collect();
            if fresh.is_empty() {
                return;
            }
            for dir in fresh {
                if let Err(why) = self.watch(dir, Place::Tree(id)) {
                    self.partial.insert(id, why);
                    return;
                }
            }
        }
    }

    /// The shared git directory: HEAD, config, refs, the worktrees' own git directories. Never the objects.
    fn cover_git(&mut self) {
        let common = self.common_dir.clone();
        let mut wanted: Vec<(PathBuf, Place)> = vec![(common.clone(), Place::Common), (common.join("info"), Place::Info)];
        for name in ["refs", "reftable", "worktrees"] {
            wanted.push((common.join(name), Place::Refs));
        }
        let mut at = 2;
        while let Some((dir, place)) = wanted.get(at).cloned() {
            at += 1;
            let is_list = dir == common.join("worktrees");
            if place == Place::Refs {
                for child in children(&dir) {
                    let place = if is_list { Place::GitDir(self.trees.iter().find(|(_, t)| t.git_dir == child).map(|(id, _)| *id)) } else { Place::Refs };
                    wanted.push((child, place));
                }
            }
        }
        for (dir, place) in wanted {
            // A worktree that is followed now had its git directory watched before.
            if let Some(there) = self.places.get_mut(&dir) {
                *there = place;
            } else if let Err(why) = self.watch(dir, place) {
                self.trees.keys().for_each(|id| drop(self.partial.insert(*id, why.clone())));
                return;
            }
        }
    }

    fn main_id(&self) -> Option<WorkspaceId> {
        self.trees.iter().find(|(_, tree)| tree.git_dir == self.common_dir).map(|(id, _)| *id)
    }

    /// A directory that is not there is no failure: its parent tells when it comes.
    fn watch(&mut self, dir: PathBuf, place: Place) -> Result<(), String> {
        if !walk::is_real(&dir) {
            return Ok(());
        }
        if self.places.len() >= self.directories_max {
            return Err(format!("{} directories are watched already, the most that DCC takes", self.directories_max));
        }
        match self.watcher.watch(&dir, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.places.insert(dir, place);
                Ok(())
            }
            Err(e) => match e.kind {
                notify::ErrorKind::PathNotFound => Ok(()),
                notify::ErrorKind::MaxFilesWatch => Err("the kernel gives this user no more watches; raise fs.inotify.max_user_watches".to_owned()),
                _ => Err(format!("{} cannot be watched: {e}", dir.display())),
            },
        }
    }

    fn leave(&mut self, is_left: impl Fn(&Path, Place) -> bool) {
        let left: Vec<PathBuf> = self.places.iter().filter(|(dir, place)| is_left(dir, **place)).map(|(dir, _)| dir.clone()).collect();
        for dir in left {
            self.places.remove(&dir);
            // A directory that is gone took its watch along.
            let _ = self.watcher.unwatch(&dir);
        }
    }
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).filter(|path| walk::is_real(path)).collect()
}
