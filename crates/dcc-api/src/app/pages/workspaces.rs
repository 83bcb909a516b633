//! Workspaces as a list.
//!
//! Authority: derived. Failure: a worktree that cannot be read keeps its row, with its health unknown.

use dcc_core::locus::WpStatus;
use dcc_core::workspace::{Workspace, WorkspaceKind, WorkspaceStatus};
use dcc_core::{Outcome, WpId};

use super::super::App;
use super::checkout::{Depth, workspace_row};
use crate::view::{WorkspacesView, WpRef};

impl App {
    pub(super) fn workspaces_view(&self, archived_shown: bool) -> Outcome<WorkspacesView> {
        let all = self.cx().ports.store.workspaces()?;
        let names = self.names();
        let archived = all.iter().filter(|w| w.status == WorkspaceStatus::Archived).count() as i64;
        let mut shown: Vec<&Workspace> = all.iter().filter(|w| archived_shown || w.status != WorkspaceStatus::Archived).collect();
        shown.sort_by_key(|w| (w.kind == WorkspaceKind::Worktree, w.status == WorkspaceStatus::Archived, std::cmp::Reverse(w.last_opened_at.unwrap_or(w.created_at))));
        let seen = self.checkouts(&shown, Depth::Whole);
        Ok(WorkspacesView {
            items: shown.iter().map(|w| workspace_row(w, seen.get(&w.workspace_id), &names)).collect(),
            next_cursor: None,
            archived_shown,
            archived,
            importable: Vec::new(),
            packets: self.free_packets(&all),
        })
    }

    /// Open packets without an active worktree.
    pub(super) fn free_packets(&self, workspaces: &[Workspace]) -> Vec<WpRef> {
        let bound: Vec<&WpId> = workspaces.iter().filter(|w| w.status == WorkspaceStatus::Active && w.kind == WorkspaceKind::Worktree).filter_map(|w| w.wp_id.as_ref()).collect();
        let packets = self.cx().ports.locus.packets().unwrap_or_default();
        packets
            .into_iter()
            .map(|entry| entry.record)
            .filter(|p| p.status.is_open() && p.status != WpStatus::Stub && !bound.contains(&&p.wp_id))
            .map(|p| WpRef { wp_id: p.wp_id.to_string(), title: p.title, status: p.status.as_str().to_owned() })
            .collect()
    }
}
