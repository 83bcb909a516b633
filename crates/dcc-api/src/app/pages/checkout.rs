//! What git says of the worktrees, asked a few at a time and remembered for a few seconds, and the workspace rows.
//!
//! Authority: ephemeral; a copy of the world that is at most a few renderings old. Invariants: one rendering of a list
//! asks about eight worktrees at most; what was never asked is unknown, never zero. No lock is held while git runs.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use dcc_core::event::EventCode;
use dcc_core::op::Op;
use dcc_core::ports::version::{CommitFacts, HeadState};
use dcc_core::workspace::{Workspace, WorkspaceHealth, WorkspaceKind, WorkspaceStatus};
use dcc_core::{Code, Oid, WorkspaceId};
use dcc_jobs::repairs::{self, Finding};
use serde_json::json;

use super::super::App;
use super::changes::commit_row;
use super::names::Names;
use super::rows::session_ref;
use crate::view::{FailureView, FixView, WorkspaceRow};

/// Worktrees asked in one rendering.
const ASKED_MAX: usize = 8;
/// Below this age an answer is not asked for again.
const FRESH: Duration = Duration::from_secs(3);
/// Answers kept; worktrees beyond this are asked anew.
const KEPT_MAX: usize = 4_096;

/// How much of a worktree is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Health and changed files.
    Status,
    /// Also the branch against its base and the last commit.
    Whole,
}

/// The state of one worktree as last seen.
#[derive(Clone, Default)]
pub(super) struct Checkout {
    pub health: Option<WorkspaceHealth>,
    pub message: String,
    /// What mends it, when it is broken.
    pub repair: Option<Finding>,
    pub head: Option<HeadState>,
    pub dirty: Option<i64>,
    pub ahead: Option<i64>,
    pub behind: Option<i64>,
    pub last_commit: Option<CommitFacts>,
}

impl Checkout {
    pub fn head_oid(&self) -> Option<&Oid> {
        match self.head.as_ref()? {
            HeadState::Branch { oid, .. } | HeadState::Detached { oid } => Some(oid),
            HeadState::Unborn { .. } => None,
        }
    }
    /// A locked worktree is whole: the lock keeps git from pruning or moving it.
    pub fn is_readable(&self) -> bool {
        matches!(self.health, Some(WorkspaceHealth::Ok | WorkspaceHealth::Locked))
    }
    fn branch(&self) -> Option<String> {
        match self.head.as_ref()? {
            HeadState::Branch { name, .. } | HeadState::Unborn { name } => Some(name.clone()),
            HeadState::Detached { .. } => None,
        }
    }
}

struct Kept {
    at: Instant,
    whole_at: Option<Instant>,
    /// Something changed since; the answer is shown until it is asked again.
    is_moved: bool,
    seen: Checkout,
}

fn cache() -> &'static Mutex<HashMap<WorkspaceId, Kept>> {
    static CACHE: OnceLock<Mutex<HashMap<WorkspaceId, Kept>>> = OnceLock::new();
    CACHE.get_or_init(Mutex::default)
}

/// The answers about these worktrees are old now.
pub(super) fn moved(workspaces: &[WorkspaceId]) {
    let mut kept = cache().lock().unwrap_or_else(PoisonError::into_inner);
    for id in workspaces {
        if let Some(slot) = kept.get_mut(id) {
            slot.is_moved = true;
        }
    }
}

/// Which of these to ask now: the never asked first, then the stalest, at most `max`.
fn due(ages: &[(WorkspaceId, Option<Duration>)], max: usize) -> Vec<WorkspaceId> {
    let mut due: Vec<_> = ages.iter().filter(|(_, age)| age.is_none_or(|a| a > FRESH)).collect();
    due.sort_by_key(|(_, age)| std::cmp::Reverse(age.unwrap_or(Duration::MAX)));
    due.into_iter().take(max).map(|(id, _)| *id).collect()
}

impl App {
    /// The worktrees' states; a few stale ones are asked now, the others answer from memory.
    pub(super) fn checkouts(&self, workspaces: &[&Workspace], depth: Depth) -> HashMap<WorkspaceId, Checkout> {
        let ages: Vec<_> = {
            let kept = cache().lock().unwrap_or_else(PoisonError::into_inner);
            let age = |w: &Workspace| {
                let known = kept.get(&w.workspace_id).filter(|known| !known.is_moved)?;
                let at = if depth == Depth::Whole { known.whole_at? } else { known.at };
                Some(at.elapsed())
            };
            workspaces.iter().filter(|w| w.status != WorkspaceStatus::Archived).map(|w| (w.workspace_id, age(w))).collect()
        };
        for id in due(&ages, ASKED_MAX) {
            if let Some(workspace) = workspaces.iter().find(|w| w.workspace_id == id) {
                self.ask(workspace, depth);
            }
        }
        let kept = cache().lock().unwrap_or_else(PoisonError::into_inner);
        workspaces.iter().filter_map(|w| Some((w.workspace_id, kept.get(&w.workspace_id)?.seen.clone()))).collect()
    }

    /// One worktree, asked now.
    pub(super) fn ask(&self, workspace: &Workspace, depth: Depth) -> Checkout {
        // What changes while git answers makes the answer old again.
        if let Some(slot) = cache().lock().unwrap_or_else(PoisonError::into_inner).get_mut(&workspace.workspace_id) {
            slot.whole_at = slot.whole_at.filter(|_| !slot.is_moved);
            slot.is_moved = false;
        }
        let mut seen = self.look(workspace);
        if depth == Depth::Whole && seen.is_readable() {
            self.look_further(workspace, &mut seen);
        }
        let mut kept = cache().lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        let now = Instant::now();
        let whole = (depth == Depth::Whole).then_some(now);
        let slot = kept.entry(workspace.workspace_id).or_insert_with(|| Kept { at: now, whole_at: None, is_moved: false, seen: Checkout::default() });
        if depth == Depth::Status {
            seen.ahead = slot.seen.ahead;
            seen.behind = slot.seen.behind;
            seen.last_commit = slot.seen.last_commit.take();
        }
        *slot = Kept { at: now, whole_at: whole.or(slot.whole_at), is_moved: slot.is_moved, seen: seen.clone() };
        seen
    }

    fn look(&self, workspace: &Workspace) -> Checkout {
        let version = &self.cx().ports.version;
        let mut seen = Checkout::default();
        match version.probe(&workspace.binding) {
            Ok(probe) => {
                seen.health = Some(probe.health);
                if !repairs::is_whole(&probe) {
                    seen.repair = Some(repairs::worktree_finding(self.cx(), workspace, &probe));
                }
                seen.message = probe.message;
                seen.head = probe.head;
            }
            Err(failure) => seen.message = failure.message,
        }
        if seen.is_readable() {
            match version.status(&workspace.binding) {
                Ok(status) => seen.dirty = Some(status.entries.len() as i64),
                Err(failure) => seen.message = failure.message,
            }
        }
        seen
    }

    fn look_further(&self, workspace: &Workspace, seen: &mut Checkout) {
        let version = &self.cx().ports.version;
        if let (Some(branch), Some(base)) = (seen.branch(), &workspace.base_branch)
            && let Ok(apart) = version.ahead_behind(&workspace.binding.common_dir, &branch, base)
        {
            seen.ahead = Some(i64::from(apart.ahead));
            seen.behind = Some(i64::from(apart.behind));
        }
        seen.last_commit = dcc_jobs::outside::history(self.cx(), &workspace.binding, 1, &[]).ok().and_then(|log| log.into_iter().next());
    }
}

/// One workspace as a row.
pub(super) fn workspace_row(workspace: &Workspace, seen: Option<&Checkout>, names: &Names) -> WorkspaceRow {
    let mut live: Vec<_> = names.sessions.values().filter(|s| s.workspace_id == Some(workspace.workspace_id) && !s.state.is_terminal()).collect();
    live.sort_by_key(|s| s.session_id);
    let path = &workspace.binding.worktree_path;
    WorkspaceRow {
        workspace_id: workspace.workspace_id.to_string(),
        kind: match workspace.kind {
            WorkspaceKind::Root => "root",
            WorkspaceKind::Worktree => "worktree",
        }
        .to_owned(),
        role: workspace.role.as_str().to_owned(),
        name: path.rsplit('/').next().unwrap_or(path).to_owned(),
        path: path.clone(),
        branch: seen.and_then(Checkout::branch).or_else(|| workspace.branch.clone()),
        base_branch: workspace.base_branch.clone(),
        head_oid: seen.and_then(Checkout::head_oid).map(ToString::to_string),
        status: workspace.status.as_str().to_owned(),
        health: seen.and_then(|s| s.health).map_or_else(String::new, |h| h.as_str().to_owned()),
        health_failure: seen.and_then(|seen| health_failure(seen, workspace.workspace_id)),
        repair: seen.and_then(|seen| seen.repair.as_ref()).and_then(|found| repair_view(found, workspace.workspace_id)),
        ahead: seen.and_then(|s| s.ahead),
        behind: seen.and_then(|s| s.behind),
        dirty_files: seen.and_then(|s| s.dirty),
        wp_id: workspace.wp_id.as_ref().map(ToString::to_string),
        wp_title: names.title(workspace.wp_id.as_ref()),
        mt_id: workspace.mt_id.as_ref().map(ToString::to_string),
        sessions: live.into_iter().map(session_ref).collect(),
        approvals: names.pending.iter().filter(|a| a.workspace_id == Some(workspace.workspace_id)).count() as i64,
        disk_bytes: None,
        last_commit: seen.and_then(|s| s.last_commit.as_ref()).map(commit_row),
        last_opened_at_ms: workspace.last_opened_at.map(dcc_core::Timestamp::as_ms),
        created_at_ms: Some(workspace.created_at.as_ms()),
        outside: names.marks.get(&(workspace.workspace_id, EventCode::OutOfBandChange)).cloned(),
        ungated: names.marks.get(&(workspace.workspace_id, EventCode::UngatedEffect)).cloned(),
    }
}

/// Why a worktree cannot be used now, and the command that mends it; none when it can.
pub(super) fn health_failure(seen: &Checkout, id: WorkspaceId) -> Option<FailureView> {
    let (what, fix) = match (seen.health, &seen.repair) {
        (Some(WorkspaceHealth::Ok), _) => return None,
        (Some(WorkspaceHealth::Locked), _) => ("the worktree is locked", "git worktree unlock".to_owned()),
        (_, Some(found)) => ("the worktree does not stand as registered", match command_of(found, id) {
            Some(command) => format!("{command} would {}", found.would),
            None => found.would.clone(),
        }),
        (_, None) => ("the worktree could not be read", "look at it in a terminal: git status".to_owned()),
    };
    let message = if seen.message.is_empty() { what.to_owned() } else { seen.message.clone() };
    Some(FailureView { code: Code::VcsRepoInvalid.as_str().to_owned(), message, hint: Some(fix) })
}

/// The command of a finding's repair, with the workspace's own id.
pub(super) fn command_of(found: &Finding, id: WorkspaceId) -> Option<String> {
    Some(format!("dcc ws repair {} --{}", id.short(), found.fix?.replace('_', "-")))
}

/// The control of a finding's repair.
pub(super) fn repair_view(found: &Finding, id: WorkspaceId) -> Option<FixView> {
    let fix = found.fix?;
    let label = match fix {
        "untrack_json" => "Stop tracking it",
        "reinit_json" => "Make it anew",
        "relocate" => "Repair: relocate",
        "reregister" => "Repair: register again",
        "recreate" => "Repair: check out again",
        _ => "Repair",
    };
    Some(FixView {
        label: label.to_owned(),
        op: Some(Op::WorkspaceRepair.as_str().to_owned()),
        params: Some(json!({ "fix": fix }).to_string()),
        bindings: Some(json!({ "workspace_id": id }).to_string()),
        ..FixView::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unknown_and_the_stalest_are_asked_first() {
        let id = |n: u128| WorkspaceId::from(dcc_core::SessionId::from(serde_json::from_value::<dcc_core::SessionId>(format!("{n:032x}").into()).unwrap().0).0);
        let ages = [(id(1), Some(Duration::from_secs(5))), (id(2), None), (id(3), Some(Duration::from_secs(1))), (id(4), Some(Duration::from_secs(9)))];
        assert_eq!(due(&ages, 2), [id(2), id(4)]);
        assert_eq!(due(&ages, 9), [id(2), id(4), id(1)]);
    }

    #[test]
    fn a_checkout_that_was_not_read_is_a_failure() {
        let id = "0198c0de-0000-7000-8000-000000000001".parse::<WorkspaceId>().unwrap();
        assert!(health_failure(&Checkout::default(), id).is_some());
        assert!(health_failure(&Checkout { health: Some(WorkspaceHealth::Ok), ..Checkout::default() }, id).is_none());
        let repair = Some(Finding { name: "worktree", evidence: "moved".into(), fix: Some("relocate"), would: "follow it".into() });
        let moved = Checkout { health: Some(WorkspaceHealth::Moved), message: "it stands elsewhere".into(), repair, ..Checkout::default() };
        let said = health_failure(&moved, id).unwrap();
        assert_eq!(said.hint.unwrap(), format!("dcc ws repair {} --relocate would follow it", id.short()));
    }
}
