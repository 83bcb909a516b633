//! Derived: devcc.db and workspace.json. May be deleted at any time.

use serde::{Deserialize, Serialize};

use crate::approval::{Approval, ApprovalStatus, Grant};
use crate::event::Event;
use crate::failure::Outcome;
use crate::gate::Cleared;
use crate::ids::{ApprovalId, GrantId, JobId, SessionId, WorkspaceId, WpId};
use crate::job::{Job, JobState};
use crate::locus::{MicroTask, WorkPacket};
use crate::op::Op;
use crate::plans::RepairPlan;
use crate::ports::sessions::{FulfilledWrite, Observed, ToolReport};
use crate::session::Session;
use crate::time::Timestamp;
use crate::workspace::Workspace;

/// Filter over jobs; all given parts must match. Newest first.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JobFilter {
    pub states: Vec<JobState>,
    pub op: Option<Op>,
    pub wp_id: Option<WpId>,
    pub mt_id: Option<crate::ids::MtId>,
    pub session_id: Option<SessionId>,
    pub workspace_id: Option<WorkspaceId>,
    pub root_job_id: Option<JobId>,
    /// Opaque: the last item's job_id of the page before.
    pub cursor: Option<String>,
    /// 0 means `limits::PAGE_MAX`.
    pub limit: usize,
}

/// One row of the tool-call ledger (SESSIONS 6).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ToolCall {
    pub tool: ToolReport,
    pub session_id: Option<SessionId>,
    pub workspace_id: Option<WorkspaceId>,
    pub wp_id: Option<WpId>,
    pub job_id: Option<JobId>,
    pub approval_id: Option<ApprovalId>,
    pub observed: Observed,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub seq: u64,
    /// What DCC wrote for it, in the order of the writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<FulfilledWrite>,
}

/// One message of a session; the text stands in an artifact when large.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    pub seq: u64,
    pub session_id: SessionId,
    /// user, agent, thought, system.
    pub role: String,
    pub text: String,
    pub text_ref: Option<crate::ids::Sha256Hex>,
    pub ts: Timestamp,
    pub job_id: Option<JobId>,
}

/// What stands at the place of a worktree's `workspace.json`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JsonStanding {
    Absent,
    /// Of the version that this program writes: it is refreshed by itself.
    Known,
    /// Of the version before: it is brought up to date by itself. What it says is a hint.
    VersionZero(JsonBefore),
    /// Of a version this program does not know, or malformed: left alone.
    Unknown { bytes: Vec<u8>, why: String },
    /// A link, a pipe, a directory, too large: a sentence.
    Refused(String),
}

/// What a `workspace.json` of version 0 says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JsonBefore {
    pub workspace_id: WorkspaceId,
    pub project_id: crate::ids::ProjectId,
    pub branch: Option<String>,
    pub linked_wp_id: Option<String>,
    /// When the file was last changed: it was made then at the latest.
    pub modified_at: Timestamp,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoreHealth {
    pub path: String,
    /// `ok`, `rebuilt`, `read_only_newer`, with a sentence.
    pub status: String,
    pub message: String,
    /// Last recorder sequence applied.
    pub cursor: u64,
    pub bytes: u64,
    pub schema_version: u32,
}

/// The projections. `apply` is idempotent by sequence; every row is a fold of `dcc-core` over events, so a rebuild from
/// the recorder and Locus gives the same rows.
pub trait Store: Send + Sync {
    /// Applies events in order; those at or below the cursor are skipped. A gap is refused with HSK-500-ENGINE and the
    /// caller feeds the missing ones.
    fn apply(&self, events: &[Event]) -> Outcome<()>;
    /// Replaces the packet projections of these records (Locus is their canon, not the recorder).
    fn put_packets(&self, packets: &[WorkPacket], micro_tasks: &[MicroTask], all: bool) -> Outcome<()>;
    fn cursor(&self) -> Outcome<u64>;
    fn health(&self) -> StoreHealth;
    /// Drops all rows and starts again from sequence 0; the caller then feeds everything.
    fn reset(&self) -> Outcome<()>;

    fn jobs(&self, filter: &JobFilter) -> Outcome<Vec<Job>>;
    fn job(&self, id: JobId) -> Outcome<Option<Job>>;
    /// Newest first; `None` for all.
    fn approvals(&self, status: Option<ApprovalStatus>, limit: usize) -> Outcome<Vec<Approval>>;
    /// Every request that nobody has decided, newest first, however many there are.
    fn pending_approvals(&self) -> Outcome<Vec<Approval>>;
    fn approval(&self, id: ApprovalId) -> Outcome<Option<Approval>>;
    fn grants(&self, limit: usize) -> Outcome<Vec<Grant>>;
    fn grant(&self, id: GrantId) -> Outcome<Option<Grant>>;
    fn sessions(&self, limit: usize) -> Outcome<Vec<Session>>;
    /// Every session that has not ended, newest first, however many there are.
    fn open_sessions(&self) -> Outcome<Vec<Session>>;
    fn session(&self, id: SessionId) -> Outcome<Option<Session>>;
    fn tool_calls(&self, session: Option<SessionId>, after_seq: u64, limit: usize) -> Outcome<Vec<ToolCall>>;
    fn messages(&self, session: SessionId, after_seq: u64, limit: usize) -> Outcome<Vec<Message>>;
    fn workspaces(&self) -> Outcome<Vec<Workspace>>;
    fn workspace(&self, id: WorkspaceId) -> Outcome<Option<Workspace>>;
    /// Substring search over packets, micro-tasks, sessions, workspaces: (kind, id, title), at most `limit`.
    fn find_objects(&self, text: &str, limit: usize) -> Outcome<Vec<(String, String, String)>>;
    /// Ids that end or start with this text, for short ids: (kind, id).
    fn resolve_short(&self, text: &str) -> Outcome<Vec<(String, String)>>;
    /// What stands there, without changing it.
    fn look_workspace_json(&self, workspace: &Workspace) -> Outcome<JsonStanding>;
    /// Keeps the planned bytes under their other name and makes the file anew. HSK-409-STALE-PREVIEW when it holds
    /// something else by now.
    fn reinit_workspace_json(&self, cleared: Cleared<RepairPlan>, workspace: &Workspace, head: Option<&crate::ids::Oid>) -> Outcome<()>;
    /// Writes or refreshes a worktree's `workspace.json` by the rules of DATA 7; a sentence when it was left alone.
    fn write_workspace_json(&self, workspace: &Workspace, head: Option<&crate::ids::Oid>) -> Outcome<Option<String>>;
}
