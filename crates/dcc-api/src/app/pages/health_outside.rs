//! Health rows about what happens outside DCC: how the file watcher stands.
//!
//! Authority: ephemeral. Invariant: what is not followed is said, never left out.

use dcc_core::ports::watch::WatchState;

use super::super::App;
use super::rows::counted;
use crate::view::HealthRow;

impl App {
    pub(super) fn outside_rows(&self) -> Vec<HealthRow> {
        self.watching().map(|state| self.watch_row(&state)).into_iter().collect()
    }

    fn watch_row(&self, state: &WatchState) -> HealthRow {
        let row = |status: &str, evidence: String| HealthRow { name: "File watching".to_owned(), status: status.to_owned(), evidence, ..HealthRow::default() };
        if let Some(fault) = &state.fault {
            return row("needs", format!("{fault}; pages show changed files when they are loaded"));
        }
        let missed = if state.overflows == 0 { String::new() } else { format!("; the queue ran over {}, and everything was looked at again", counted(state.overflows as usize, "time")) };
        let said = format!("{} in {} followed{missed}", counted(state.trees, "worktree"), directories(state.directories));
        match state.partial.iter().next() {
            None => row("ok", said),
            Some((id, why)) => {
                let name = self.workspace(*id).ok().and_then(|w| w.branch).unwrap_or_else(|| id.short());
                let more = if state.partial.len() == 1 { String::new() } else { format!(", and {} more", state.partial.len() - 1) };
                row("needs", format!("{said}; not wholly: {name}{more}: {why}"))
            }
        }
    }
}

fn directories(n: usize) -> String {
    if n == 1 { "1 directory".to_owned() } else { format!("{n} directories") }
}
