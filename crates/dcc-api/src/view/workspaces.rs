//! Workspaces: git worktrees and what is bound to them.
//!
//! Authority: derived from git and the binding events. Unknown counts stay unknown.

use serde::{Deserialize, Serialize};

use super::{CommitRow, FailureView, FixView, SessionRef, WpRef};

/// The list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkspacesView {
    pub items: Vec<WorkspaceRow>,
    pub next_cursor: Option<String>,
    pub archived_shown: bool,
    pub archived: i64,
    /// Worktrees git knows and DCC does not.
    pub importable: Vec<String>,
    /// Packets that have no worktree yet, for the create form.
    pub packets: Vec<WpRef>,
}

/// One workspace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkspaceRow {
    pub workspace_id: String,
    /// root or worktree.
    pub kind: String,
    /// human, coder, validator.
    pub role: String,
    /// Last part of the path.
    pub name: String,
    pub path: String,
    pub branch: Option<String>,
    pub base_branch: Option<String>,
    pub head_oid: Option<String>,
    /// active, paused, archived.
    pub status: String,
    /// ok, missing, moved, registration_lost, locked, foreign.
    pub health: String,
    /// Sentence and one fix where health is not ok.
    pub health_failure: Option<FailureView>,
    /// The repair that fits, where there is one.
    pub repair: Option<FixView>,
    pub ahead: Option<i64>,
    pub behind: Option<i64>,
    pub dirty_files: Option<i64>,
    pub wp_id: Option<String>,
    pub wp_title: Option<String>,
    pub mt_id: Option<String>,
    pub sessions: Vec<SessionRef>,
    pub approvals: i64,
    pub disk_bytes: Option<i64>,
    pub last_commit: Option<CommitRow>,
    pub last_opened_at_ms: Option<i64>,
    pub created_at_ms: Option<i64>,
    /// Moves of HEAD and edits outside the scope that were made without DCC.
    pub outside: Option<MarkView>,
    /// What agents changed here without asking.
    pub ungated: Option<MarkView>,
}

/// How often something was recorded, and the last time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MarkView {
    pub count: i64,
    /// What the last one says.
    pub message: String,
    pub last_at_ms: i64,
}
