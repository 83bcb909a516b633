//! Jobs: history and inspector.
//!
//! Authority: derived from job records and recorder events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ApprovalRow, EventRow, FactView, FailureView, JobRow};

/// The history.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobsView {
    pub items: Vec<JobRow>,
    pub next_cursor: Option<String>,
    pub filter: JobsFilter,
    /// Operation names that occur, for the filter.
    pub ops: Vec<String>,
    pub total: Option<i64>,
}

/// Filters as they stand in the address.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobsFilter {
    pub state: Option<String>,
    pub op: Option<String>,
    pub wp_id: Option<String>,
    pub mt_id: Option<String>,
    pub session_id: Option<String>,
    pub workspace_id: Option<String>,
}

/// One job, opened.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobView {
    pub job: JobRow,
    pub idempotency_key: Option<String>,
    pub instance_id: String,
    pub plan_digest: Option<String>,
    /// plan, gate, approve, apply, record with what happened in each.
    pub phases: Vec<PhaseView>,
    pub gates: Vec<GateDecision>,
    /// Preview of the plan as lines of name and value.
    pub plan: Vec<FactView>,
    /// Parameters as formatted JSON.
    pub params_json: String,
    pub approvals: Vec<ApprovalRow>,
    pub inputs: Vec<RefView>,
    pub outputs: Vec<RefView>,
    pub attempts: Vec<AttemptView>,
    pub children: Vec<JobRow>,
    pub events: Vec<EventRow>,
    /// Result ids by name: wp_id, commit_oid, path, ...
    pub results: BTreeMap<String, String>,
    /// Captured output, shortened.
    pub output: Option<OutputView>,
    /// What a person can do now, in a sentence.
    pub next_step: Option<String>,
    pub cancellable: bool,
}

/// One phase.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PhaseView {
    pub phase: String,
    /// done, running, waiting, failed, open, skipped.
    pub status: String,
    pub at_ms: Option<i64>,
    pub detail: Option<String>,
}

/// What one gate said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GateDecision {
    pub gate: String,
    /// allow, ask, deny.
    pub decision: String,
    pub reason: Option<String>,
    pub decided_at_ms: Option<i64>,
}

/// A stored payload by hash.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RefView {
    pub name: String,
    pub sha256: String,
    pub bytes: Option<i64>,
}

/// One attempt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttemptView {
    pub attempt: i64,
    pub state: String,
    pub started_at_ms: i64,
    pub ended_at_ms: Option<i64>,
    pub failure: Option<FailureView>,
}

/// Captured output of a command.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutputView {
    pub exit_code: Option<i64>,
    pub text: String,
    pub truncated: bool,
    pub sha256: Option<String>,
}
