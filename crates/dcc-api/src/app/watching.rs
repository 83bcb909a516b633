//! What the file watcher tells, passed on to the open pages and to those who compare.
//!
//! Authority: ephemeral. Invariant: nothing is recorded as having happened because the watcher said so; it is a reason to
//! compare the world with the record.

use std::sync::PoisonError;

use dcc_core::WorkspaceId;
use dcc_core::ports::watch::{Seen, WatchState};
use dcc_jobs::outside;

use super::App;

impl App {
    /// Takes in changes of files and refs: what is remembered of the worktrees is old now, and pages that show them read
    /// them again.
    pub fn seen(&self, seen: &Seen) {
        self.watching_is(seen.state.clone());
        let touched: Vec<WorkspaceId> = if seen.refs || seen.sweep {
            // A moved branch changes how far the others are ahead of it.
            self.cx().ports.store.workspaces().unwrap_or_default().iter().map(|w| w.workspace_id).collect()
        } else {
            seen.trees.keys().copied().collect()
        };
        super::pages::moved(&touched);
        self.hub.touch(&touched);
        self.look_outside(seen);
    }

    /// Asks git and the files what was done without DCC.
    fn look_outside(&self, seen: &Seen) {
        if (seen.refs || seen.sweep)
            && let Err(failure) = outside::look(self.cx())
        {
            eprintln!("dcc: heads could not be compared with the record: {failure}");
        }
        if seen.config || seen.sweep {
            dcc_jobs::repo_config::look(self.cx());
        }
        for (id, touched) in &seen.trees {
            let told = (!touched.cut).then_some(touched.paths.as_slice());
            if told.is_none_or(|paths| !paths.is_empty()) {
                outside::look_at_told_files(self.cx(), *id, told);
            }
        }
    }

    /// How the file watcher stands.
    pub fn watching_is(&self, state: WatchState) {
        *self.watching.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }

    /// None when this process watches no files.
    pub(crate) fn watching(&self) -> Option<WatchState> {
        self.watching.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
