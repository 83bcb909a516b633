//! What the file watcher tells. No port: the binary starts the watcher and hands over what it says.
//!
//! Authority: ephemeral. What is told is a reason to look, never a fact: whoever is told asks git or the file system.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::WorkspaceId;
use crate::path::RepoPath;

/// Changes of one short while, told together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// Worktrees in which something changed.
    pub trees: BTreeMap<WorkspaceId, Touched>,
    /// A HEAD, a ref or the list of worktrees may have moved.
    pub refs: bool,
    /// A configuration file of the repository may have changed.
    pub config: bool,
    /// Changes were missed: everything must be looked at again.
    pub sweep: bool,
    /// How the watcher stands after them.
    pub state: WatchState,
}

/// What changed in one worktree.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Touched {
    /// Files of the worktree, at most `limits::WATCH_PATHS_MAX`; empty when only git's own files of it changed.
    pub paths: Vec<RepoPath>,
    /// True when more changed than the list holds, or when it cannot be said what.
    pub cut: bool,
}

/// How the watcher stands, for the health page.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct WatchState {
    /// Worktrees that are followed.
    pub trees: usize,
    /// Directories watched, those of git included.
    pub directories: usize,
    /// How often the kernel's queue ran over since the start.
    pub overflows: u64,
    /// Worktrees that are not followed as a whole, each with the reason.
    pub partial: BTreeMap<WorkspaceId, String>,
    /// Why nothing is watched at all.
    pub fault: Option<String>,
}
