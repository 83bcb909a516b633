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
    pub filter: SessionsFilter,
    /// Backends that occur, for the filter.
    pub backends: Vec<String>,
    pub ended: i64,
    /// How many the filter leaves out.
    pub hidden: i64,
    /// What was used, by project, packet, provider and session, up to each session's last turn or checkpoint.
    pub costs: Vec<CostRow>,
    /// Workspaces a session can start in.
    pub workspaces: Vec<WorkspaceRow>,
}

/// Which sessions are shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionsFilter {
    /// open (also when empty), all, needs for those that wait for a person, or one state.
    pub state: String,
    pub role: Option<String>,
    pub backend: Option<String>,
}

/// One session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionRow {
    pub session_id: String,
    pub parent_session_id: Option<String>,
    /// Sessions above it.
    pub depth: i64,
    /// Sessions that it spawned and that are open.
    pub open_children: i64,
    /// Open sessions below it, all of which end with it.
    pub cascade: i64,
    /// Why it can spawn no more, or only one more.
    pub near_limit: Option<String>,
    /// PRIMARY, VALIDATION, SUBAGENT, BACKGROUND.
    pub lane: String,
    pub provider: String,
    /// It works, and nothing was heard of it for a while.
    pub quiet: Option<QuietView>,
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

/// A working session that nothing is heard of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuietView {
    pub for_ms: i64,
    /// The last tool call: `command npm test`.
    pub last_tool: Option<String>,
    /// That call has not ended.
    pub tool_runs: bool,
}

/// What was used of one scope, beside its limits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CostRow {
    /// project, packet, provider, session.
    pub scope: String,
    pub name: String,
    pub href: Option<String>,
    pub sessions: i64,
    pub tokens_in: i64,
    pub tokens_out: i64,
    pub cost: Option<CostView>,
    /// Costs in another currency stand beside this one and are not in it.
    pub mixed: bool,
    /// Time in turns.
    pub wall_ms: i64,
    pub budget: Option<BudgetView>,
    /// Where the warning comes, in percent of each limit.
    pub soft_percent: Option<i64>,
}
