//! One work packet with everything bound to it.
//!
//! Authority: derived from Locus, the recorder and the stores of jobs, sessions and approvals.

use serde::{Deserialize, Serialize};

use super::{ActionView, ApprovalRow, CommitRow, EventRow, FailureView, FileDiff, JobRow, SessionRow, WorkspaceRow, WpRef};

/// The packet screen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PacketView {
    pub wp_id: String,
    pub title: String,
    pub description: Option<String>,
    pub status: String,
    pub priority: i64,
    pub wp_type: String,
    pub phase: Option<String>,
    pub routing: String,
    pub labels: Vec<String>,
    pub assignee: Option<String>,
    pub reporter: String,
    pub version: i64,
    pub family: String,
    pub reason: String,
    /// Why it waits, in words, and since when.
    pub why: Option<String>,
    pub why_since_at_ms: Option<i64>,
    pub in_scope_paths: Vec<String>,
    pub acceptance_criteria: Vec<CriterionView>,
    pub closure_verdict: Option<String>,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
    pub started_at_ms: Option<i64>,
    pub completed_at_ms: Option<i64>,
    pub due_at_ms: Option<i64>,
    pub pre_work: GateView,
    pub post_work: GateView,
    pub micro_tasks: Vec<MtRow>,
    pub notes: Vec<NoteView>,
    pub dependencies: Vec<DependencyView>,
    pub workspaces: Vec<WorkspaceRow>,
    pub sessions: Vec<SessionRow>,
    pub approvals: Vec<ApprovalRow>,
    pub commits: Vec<CommitRow>,
    pub jobs: Vec<JobRow>,
    /// What stands between this packet and done.
    pub readiness: Vec<ReadinessView>,
    /// The last ten, newest first.
    pub events: Vec<EventRow>,
    /// An op that is not listed is drawn as possible; the server still decides.
    pub actions: Vec<ActionView>,
    /// What a close would say now; `None` when it may close.
    pub close_refusal: Option<FailureView>,
    /// Records of this packet whose file is not as accepted.
    pub drift: Vec<DriftView>,
    /// Jobs that can serve as evidence of a micro-task, newest first.
    pub evidence_jobs: Vec<EvidenceView>,
}

/// One acceptance criterion.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CriterionView {
    pub text: String,
    /// met, open.
    pub status: String,
    /// What it rests on: `MT-003, 44 tests`.
    pub proof: Option<String>,
}

/// One of the two gates of a packet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GateView {
    /// pending, pass, fail, skip, void (its inputs changed).
    pub status: String,
    pub reason: Option<String>,
    pub validated_by: Option<String>,
    pub validated_at_ms: Option<i64>,
}

/// One micro-task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MtRow {
    pub mt_id: String,
    pub name: String,
    pub scope: Option<String>,
    /// pending, in_progress, completed, failed, blocked, skipped.
    pub status: String,
    pub done_criteria: Vec<String>,
    pub depends_on: Vec<String>,
    pub files: Vec<String>,
    pub iterations: i64,
    pub max_iterations: i64,
    /// Last agent that worked on it.
    pub agent: Option<String>,
    pub session_ids: Vec<String>,
    pub evidence: Option<EvidenceView>,
    /// What it waits for when there is no evidence yet.
    pub waits: Option<String>,
    pub failure: Option<FailureView>,
}

/// A proof: command, exit, tests, commit, age.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EvidenceView {
    pub job_id: Option<String>,
    pub command: Option<String>,
    pub exit_code: Option<i64>,
    /// Zero is drawn red and is never a pass; `None` where nothing counted tests.
    pub tests_run: Option<i64>,
    pub commit_oid: Option<String>,
    /// A person's statement, marked as such.
    pub statement: Option<String>,
    pub recorded_at_ms: Option<i64>,
}

/// One note; notes are append-only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NoteView {
    pub note_id: String,
    pub written_at_ms: i64,
    pub author: String,
    /// An agent's note is shown as a claim.
    pub author_kind: String,
    pub note_type: String,
    pub body: String,
}

/// One edge to another packet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DependencyView {
    pub dependency_id: String,
    /// As seen from this packet: blocks, blocked_by, parent-child, related, discovered-from, ...
    pub kind: String,
    pub wp: WpRef,
}

/// One thing that must hold before the packet can close.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadinessView {
    pub name: String,
    /// done, open, failed.
    pub status: String,
    pub detail: Option<String>,
}

/// A record whose file was changed outside DCC, with the two ways to settle it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DriftView {
    pub wp_id: String,
    pub mt_id: Option<String>,
    /// What is wrong, in a sentence.
    pub message: String,
    /// Hash of what stands there; `None` when nothing that can be read does.
    pub found_sha256: Option<String>,
    /// From the accepted lines to those of the file.
    pub diff: FileDiff,
    /// Why the edit cannot be accepted; `None` when it may.
    pub refusal: Option<FailureView>,
}
