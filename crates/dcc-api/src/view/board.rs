//! Board: packets by Locus status.
//!
//! Authority: derived from Locus, workspaces, sessions and pending approvals.

use serde::{Deserialize, Serialize};

use super::{ApprovalRow, FailureView, HealthRow, SessionRef};

/// The whole board.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BoardView {
    /// lanes or list.
    pub layout: String,
    /// all, waits (needs the operator), stale.
    pub filter: String,
    /// Text filter as typed.
    pub q: String,
    /// In order: stub, ready, in_progress, blocked, gated, done, cancelled.
    pub lanes: Vec<LaneView>,
    /// Packets in the project, before filters.
    pub total: i64,
    /// Packets the filters hide.
    pub hidden: i64,
    pub mirror: Option<MirrorView>,
    /// A record or board file that could not be read; the lanes then show the last good state.
    pub failure: Option<FailureView>,
    /// Shown on an empty project only.
    pub machine: Vec<HealthRow>,
}

/// One lane.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LaneView {
    /// Locus status.
    pub status: String,
    pub title: String,
    pub count: i64,
    pub wip_limit: Option<i64>,
    pub cards: Vec<CardView>,
}

/// One packet on the board.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CardView {
    pub wp_id: String,
    pub title: String,
    pub status: String,
    pub priority: i64,
    pub wp_type: String,
    pub labels: Vec<String>,
    pub version: i64,
    /// Its file is not as last accepted.
    pub has_drift: bool,
    /// Derived: workflow family and queue reason (DATA 1).
    pub family: String,
    pub reason: String,
    /// One line: `approval: commit 3 files`, `waits for WP-041`.
    pub why: Option<String>,
    /// Status of each micro-task, in order.
    pub mt_statuses: Vec<String>,
    pub workspace_id: Option<String>,
    pub branch: Option<String>,
    /// Changed files of the worktree; `None` is unknown.
    pub dirty_files: Option<i64>,
    pub sessions: Vec<SessionRef>,
    pub approvals: Vec<ApprovalRow>,
    pub lane_since_at_ms: Option<i64>,
}

/// How the task board file stands to the store.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MirrorView {
    /// synchronized, stale, advisory_edit, normalization_required.
    pub mirror_state: String,
    pub path: String,
    pub message: Option<String>,
    pub checked_at_ms: Option<i64>,
}
