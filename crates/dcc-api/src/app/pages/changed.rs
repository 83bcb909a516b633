//! Which files of a worktree differ from the last commit, remembered while nobody tells of a change: the page of a busy
//! session is read again many times a second, and git need not be asked as often.
//!
//! Authority: ephemeral. Invariant: an answer is used again only while the file watcher covers the worktree, and is dropped
//! when it tells of a change there; one that was asked for before the change is never kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use dcc_core::ports::version::{DiffSource, FileDiff};
use dcc_core::workspace::Workspace;
use dcc_core::{Outcome, WorkspaceId};

use super::super::App;

/// The watcher may be told late, so an answer is never older than this.
const FRESH: Duration = Duration::from_secs(3);
/// Answers kept; a session's page shows one.
const KEPT_MAX: usize = 64;

#[derive(Default)]
struct Kept {
    changes: u64,
    seen: HashMap<WorkspaceId, (Instant, Arc<Vec<FileDiff>>)>,
}

fn kept() -> &'static Mutex<Kept> {
    static KEPT: OnceLock<Mutex<Kept>> = OnceLock::new();
    KEPT.get_or_init(Mutex::default)
}

/// Files of these worktrees may have changed.
pub(super) fn forget(workspaces: &[WorkspaceId]) {
    let mut kept = kept().lock().unwrap_or_else(PoisonError::into_inner);
    kept.changes += 1;
    for id in workspaces {
        kept.seen.remove(id);
    }
}

impl App {
    /// The files with changes that are not committed, with counts.
    pub(super) fn changed_files(&self, workspace: &Workspace) -> Outcome<Arc<Vec<FileDiff>>> {
        let id = workspace.workspace_id;
        let is_followed = self.watching().is_some_and(|state| state.fault.is_none() && !state.partial.contains_key(&id));
        let changes = {
            let kept = kept().lock().unwrap_or_else(PoisonError::into_inner);
            match kept.seen.get(&id) {
                Some((at, files)) if is_followed && at.elapsed() < FRESH => return Ok(Arc::clone(files)),
                _ => kept.changes,
            }
        };
        let at = Instant::now();
        let files = Arc::new(self.cx().ports.version.diff(&workspace.binding, &DiffSource::Uncommitted, &[], false)?);
        let mut kept = kept().lock().unwrap_or_else(PoisonError::into_inner);
        if is_followed && kept.changes == changes {
            if kept.seen.len() >= KEPT_MAX {
                kept.seen.clear();
            }
            kept.seen.insert(id, (at, Arc::clone(&files)));
        }
        Ok(files)
    }
}
