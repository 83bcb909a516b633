//! Health: checks with evidence and one fix each, and the recovery queue.
//!
//! Authority: derived; a check that did not run is `unknown`, never ok.

use serde::{Deserialize, Serialize};

/// The health screen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthView {
    pub groups: Vec<HealthGroup>,
    pub recovery: Vec<RecoveryRow>,
    /// What happened before the recovery queue came to be.
    pub recovery_note: Option<String>,
    pub checked_at_ms: Option<i64>,
    /// Worktrees for which the sandbox can be waived, where none can be had: id and branch.
    pub waivable: Option<Vec<(String, String)>>,
}

/// Checks that belong together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthGroup {
    pub title: String,
    pub note: String,
    pub rows: Vec<HealthRow>,
}

/// One check.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthRow {
    pub name: String,
    /// ok, needs (a person), drift, fault, absent, unknown.
    pub status: String,
    /// Word shown beside the shape; empty uses the status.
    pub word: String,
    pub evidence: String,
    pub since_at_ms: Option<i64>,
    pub fix: Option<FixView>,
    /// The other way to settle it, where there are two.
    pub other: Option<FixView>,
}

/// The one fix of a check.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FixView {
    pub label: String,
    /// An operation (`locus.sync_task_board`) with its parameters as JSON text, or the read `recorder.verify`, or
    pub op: Option<String>,
    pub params: Option<String>,
    pub bindings: Option<String>,
    /// a page, or
    pub href: Option<String>,
    /// a command for a terminal.
    pub command: Option<String>,
}

/// A session or job that needs a person after a crash.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecoveryRow {
    pub session_id: Option<String>,
    pub job_id: Option<String>,
    pub agent: Option<String>,
    pub wp_id: Option<String>,
    pub mt_id: Option<String>,
    /// State word: `crash_recovery`, `stalled`.
    pub state: String,
    pub evidence: String,
    pub since_at_ms: Option<i64>,
    /// False when a pending effect is unknown.
    pub safe_to_resume: bool,
}
