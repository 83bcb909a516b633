//! Rows and references that several screens share.
//!
//! Authority: derived. Failure: an unknown count is `None` and is drawn as unknown, never as zero.

use serde::{Deserialize, Serialize};

/// A stable failure code with one sentence and one next step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailureView {
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
}

/// A path inside a repository: text, or base64 (standard alphabet, padded) when it is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PathView {
    Text(String),
    Bytes { b64: String },
}

impl Default for PathView {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl From<&str> for PathView {
    fn from(path: &str) -> Self {
        Self::Text(path.to_owned())
    }
}

/// Whether one operation may be asked for right now, and why not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ActionView {
    /// Operation name, such as `locus.close_wp`; `locus.gate_wp:post_work` where a parameter matters.
    pub op: String,
    pub enabled: bool,
    /// Code and sentence when it is not enabled.
    pub failure: Option<FailureView>,
}

/// A packet named beside something else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WpRef {
    pub wp_id: String,
    pub title: String,
    pub status: String,
}

/// A session named beside something else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionRef {
    pub session_id: String,
    pub agent: String,
    pub role: String,
    /// CREATED, ACTIVE, PAUSED, BLOCKED, COMPLETED, FAILED, CANCELLED.
    pub state: String,
    pub state_reason: Option<String>,
    /// When the present state began.
    pub since_at_ms: Option<i64>,
}

/// Spent money with the source of the number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CostView {
    /// Amount with two digits and no sign of currency: `1.84`.
    pub amount: String,
    /// ISO code, `USD`.
    pub currency: String,
    /// reported, computed or estimated.
    pub source: String,
}

/// One approval as a row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApprovalRow {
    pub approval_id: String,
    /// pending, approved, denied, expired, stale, cancelled, superseded, consumed.
    pub status: String,
    /// R0, R1, R2, R3.
    pub tier: String,
    pub op: String,
    /// One sentence that says exactly what would happen: `Commit 3 paths on dcc/WP-041-ingest`.
    pub title: String,
    pub wp_id: Option<String>,
    pub mt_id: Option<String>,
    pub session_id: Option<String>,
    pub agent: Option<String>,
    pub workspace_id: Option<String>,
    pub job_id: Option<String>,
    pub requested_at_ms: i64,
    pub expires_at_ms: Option<i64>,
    pub decided_at_ms: Option<i64>,
    /// Scope of an approval: once, job, session, workspace.
    pub scope: Option<String>,
    pub decided_by: Option<String>,
    pub reason: Option<String>,
    /// What came of it, in words: `ran in 0.8 s`, `exit 0`.
    pub outcome: Option<String>,
    pub failure: Option<FailureView>,
}

/// One recorder event as a row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventRow {
    pub seq: i64,
    pub event_id: String,
    pub recorded_at_ms: i64,
    /// `FR-EVT-APPR-requested`.
    pub code: String,
    pub name: String,
    /// ok, error, denied, waiting, running or empty where the code has no outcome.
    pub outcome: Option<String>,
    /// One line in words.
    pub what: String,
    /// human, agent, system.
    pub actor_kind: String,
    pub actor_id: String,
    /// gated, reported, inferred where the code carries it.
    pub observed: Option<String>,
    pub wp_id: Option<String>,
    pub mt_id: Option<String>,
    pub session_id: Option<String>,
    pub workspace_id: Option<String>,
    pub job_id: Option<String>,
    pub approval_id: Option<String>,
    pub tool_call_id: Option<String>,
}

/// One job as a row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobRow {
    pub job_id: String,
    pub op: String,
    /// queued, running, awaiting_user, awaiting_validation, completed, completed_with_issues, failed,
    /// cancelled, stalled, poisoned.
    pub state: String,
    /// One line in words: what it does or did.
    pub summary: String,
    pub actor_kind: String,
    pub actor_id: String,
    pub wp_id: Option<String>,
    pub mt_id: Option<String>,
    pub session_id: Option<String>,
    pub workspace_id: Option<String>,
    pub approval_id: Option<String>,
    pub parent_job_id: Option<String>,
    pub attempt: i64,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
    pub finished_at_ms: Option<i64>,
    pub failure: Option<FailureView>,
}

/// One tool call of an agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ToolCallRow {
    pub tool_call_id: String,
    pub started_at_ms: i64,
    /// Short kind: read, edit, search, recipe, commit, command.
    pub tool: String,
    /// Path, command or pattern.
    pub target: String,
    /// READ, WRITE, EXECUTE.
    pub side_effect: String,
    /// requested, held, running, ok, error, denied, cancelled, timed_out, unknown.
    pub status: String,
    /// Words beside the status: `61 tests`, `exit 100`.
    pub result: Option<String>,
    pub duration_ms: Option<i64>,
    /// gated, reported, inferred.
    pub observed: String,
    pub approval_id: Option<String>,
    pub job_id: Option<String>,
    /// Arguments and result in text, redacted; shown when the row is opened.
    pub detail: Option<String>,
    pub failure: Option<FailureView>,
}

/// One standing grant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GrantRow {
    pub grant_id: String,
    /// active, expired, used_up, revoked.
    pub status: String,
    pub capability_id: String,
    /// job, session, workspace.
    pub scope: String,
    /// What it covers, in words.
    pub covers: String,
    pub approval_id: Option<String>,
    pub wp_id: Option<String>,
    pub session_id: Option<String>,
    pub workspace_id: Option<String>,
    pub agent: Option<String>,
    pub issued_at_ms: i64,
    pub expires_at_ms: Option<i64>,
    pub revoked_at_ms: Option<i64>,
    pub uses: i64,
    pub max_uses: Option<i64>,
}

/// One changed file, without its lines.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileRow {
    pub path: PathView,
    pub old_path: Option<PathView>,
    /// modified, added, deleted, renamed, untracked, type_changed, mode_changed, conflicted, submodule.
    pub kind: String,
    /// Its own plain line where lines say nothing: `binary, 41 KB to 44 KB`, `mode 644 to 755`.
    pub plain: Option<String>,
    pub additions: Option<i64>,
    pub deletions: Option<i64>,
    /// Blob id of the file now, or `deleted`: what a commit of this path is bound to.
    pub blob_oid: String,
    /// source, supporting (tests, generated, lock files), unexpected (outside the packet's scope).
    pub group: String,
    pub in_scope: bool,
    /// Who touched it last, in words: `claude, turn 7`.
    pub touched_by: Option<String>,
}

/// The changed lines of one file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileDiff {
    pub file: FileRow,
    pub hunks: Vec<HunkView>,
    /// Said where lines were left out: `first 2,000 of 20,000 lines`.
    pub truncated: Option<String>,
    pub failure: Option<FailureView>,
}

/// One hunk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HunkView {
    /// The whole `@@ -1,2 +3,4 @@ context` line.
    pub header: String,
    pub note: Option<String>,
    pub lines: Vec<DiffLine>,
}

/// One line of a hunk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiffLine {
    /// context, add, del, no_newline.
    pub kind: String,
    pub old_number: Option<i64>,
    pub new_number: Option<i64>,
    pub text: String,
    /// Byte ranges of `text` (start, end) that differ at word level.
    pub marks: Vec<(usize, usize)>,
}

/// One commit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommitRow {
    pub commit_oid: String,
    pub subject: String,
    pub author: String,
    pub committed_at_ms: i64,
    pub job_id: Option<String>,
    pub approval_id: Option<String>,
    /// False for a commit that did not pass through a gate.
    pub governed: bool,
}
