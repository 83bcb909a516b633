//! Health rows about what happens outside DCC: the repository's configuration, and how the file watcher stands.
//!
//! Authority: ephemeral. Invariant: what is not followed is said, never left out.

use dcc_core::ports::watch::WatchState;
use dcc_jobs::repo_config;
use serde_json::json;

use super::super::App;
use super::rows::counted;
use crate::view::{FixView, HealthRow};

impl App {
    pub(super) fn outside_rows(&self) -> Vec<HealthRow> {
        let mut rows = self.config_rows();
        rows.extend(self.watching().map(|state| self.watch_row(&state)));
        rows
    }

    fn config_rows(&self) -> Vec<HealthRow> {
        let row = |status: &str, evidence: String| HealthRow { name: "Repository configuration".to_owned(), status: status.to_owned(), evidence, ..HealthRow::default() };
        match repo_config::unaccepted(self.cx()) {
            Ok(found) if found.is_empty() => vec![row("ok", "as it was accepted; what it names is not run by DCC".to_owned())],
            Ok(found) => found
                .into_iter()
                .map(|one| {
                    let place = if one.is_shared { String::new() } else { format!(" in {}", one.workspace.branch.clone().unwrap_or_default()) };
                    let accept = FixView {
                        label: "Accept it".to_owned(),
                        op: Some("workspace.repair".to_owned()),
                        params: Some(json!({ "fix": "accept_config" }).to_string()),
                        bindings: Some(json!({ "workspace_id": one.workspace.workspace_id }).to_string()),
                        ..FixView::default()
                    };
                    HealthRow { fix: Some(accept), ..row("needs", format!("{}{place}; nothing writes git until you accept it or change it back", one.message)) }
                })
                .collect(),
            Err(failure) => vec![row("unknown", failure.message)],
        }
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
