//! Sessions as a list.
//!
//! Authority: derived from session records and the recorder.

use serde::{Deserialize, Serialize};

use super::{CostView, WorkspaceRow};

/// The list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionsView {
    pub items: Vec<SessionRow>,
    pub next_cursor: Option<String>,
    /// wp (default), role, model, flat.
    pub group: String,
    /// open (default), all, or one state.
    pub filter: String,
    pub ended: i64,
    /// Workspaces a session can start in.
    pub workspaces: Vec<WorkspaceRow>,
}

/// One session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionRow {
    pub session_id: String,
    pub parent_session_id: Option<String>,
    /// Sessions above it.
    pub depth: i64,
    /// acp, pty, human.
    pub driver: String,
    pub role: String,
    pub agent: String,
    pub model_id: Option<String>,
    pub backend: String,
    pub state: String,
    pub state_reason: Option<String>,
    /// In words, beside the state: `approval: commit 3 paths`, `rate limited until 10:51`.
    pub state_detail: Option<String>,
    pub state_since_at_ms: Option<i64>,
    pub wp_id: Option<String>,
    pub wp_title: Option<String>,
    pub mt_id: Option<String>,
    pub workspace_id: Option<String>,
    pub branch: Option<String>,
    pub purpose: Option<String>,
    pub grants: i64,
    pub approvals: i64,
    pub queued_messages: i64,
    pub tokens_in: Option<i64>,
    pub tokens_out: Option<i64>,
    pub tool_calls: i64,
    pub cost: Option<CostView>,
    /// The limit that is nearest to being used up, of those set for the session itself.
    pub budget: Option<BudgetView>,
    pub sandbox_posture: String,
    pub created_at_ms: i64,
    pub started_at_ms: Option<i64>,
    pub ended_at_ms: Option<i64>,
    pub last_activity_at_ms: Option<i64>,
}

/// How much of a limit is used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BudgetView {
    /// Of the limit, 0 to 100 and more.
    pub percent: i64,
    /// In words: `1.20 of 5.00 USD`.
    pub words: String,
    /// within, soft, hard.
    pub level: String,
}
