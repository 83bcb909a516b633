//! The records as they stand on disk (DATA 1). Unknown enum values and unknown keys are errors on read.

use serde::{Deserialize, Serialize};

use crate::ids::{JobId, MtId, NoteId, Oid, SessionId, Sha256Hex, WpId};
use crate::time::Timestamp;

pub const WP_SCHEMA_ID: &str = "hsk.tracked_work_packet@1";
pub const MT_SCHEMA_ID: &str = "hsk.tracked_micro_task@1";

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident => $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub enum $name { $(#[serde(rename = $text)] $variant,)* }
        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];
            pub fn as_str(self) -> &'static str { match self { $($name::$variant => $text,)* } }
            pub fn parse(text: &str) -> Option<Self> { match text { $($text => Some(Self::$variant),)* _ => None } }
        }
    };
}

words! {
    /// A packet's status; the board's lanes.
    WpStatus { Stub => "stub", Ready => "ready", InProgress => "in_progress", Blocked => "blocked", Gated => "gated", Done => "done", Cancelled => "cancelled" }
}
words! { WpType { Feature => "feature", Bug => "bug", Refactor => "refactor", Docs => "docs", Test => "test", Chore => "chore" } }
words! { Routing { Strict => "GOV_STRICT", Standard => "GOV_STANDARD", Light => "GOV_LIGHT", None => "GOV_NONE" } }
words! { GateStatus { Pending => "pending", Pass => "pass", Fail => "fail", Skip => "skip" } }
words! { GateName { PreWork => "pre_work", PostWork => "post_work" } }
words! {
    NoteType { User => "user", System => "system", Gate => "gate", Plan => "plan", Blocker => "blocker", Handoff => "handoff", Review => "review", Decision => "decision" }
}
words! { MtStatus { Pending => "pending", InProgress => "in_progress", Completed => "completed", Failed => "failed", Blocked => "blocked", Skipped => "skipped" } }
words! {
    /// blocks, blocked_by and depends-on normalise to one direction; the rest are labels without effect on readiness.
    DependencyKind {
        Blocks => "blocks", BlockedBy => "blocked_by", DependsOn => "depends-on", ParentChild => "parent-child", Related => "related",
        DiscoveredFrom => "discovered-from", DuplicateOf => "duplicate-of", Implements => "implements", Tests => "tests", Documents => "documents",
    }
}

impl WpStatus {
    pub fn is_open(self) -> bool {
        !matches!(self, Self::Done | Self::Cancelled)
    }
}

/// The state a gate result was given for; a result whose inputs changed is void.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateInputs {
    pub worktree: Option<String>,
    pub base_oid: Option<Oid>,
    pub head_oid: Option<Oid>,
    pub tree_oid: Option<Oid>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateResult {
    pub status: GateStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validated_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validated_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_ref: Option<Sha256Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<GateInputs>,
}

impl GateResult {
    pub const PENDING: Self = Self { status: GateStatus::Pending, validated_at: None, validated_by: None, reason: None, report_ref: None, inputs: None };
    /// Pass, or skip with its reason.
    pub fn is_passed(&self) -> bool {
        match self.status {
            GateStatus::Pass => true,
            GateStatus::Skip => self.reason.as_deref().is_some_and(|r| !r.trim().is_empty()),
            GateStatus::Pending | GateStatus::Fail => false,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gates {
    pub pre_work: GateResult,
    pub post_work: GateResult,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    pub note_id: NoteId,
    pub ts: Timestamp,
    pub author: String,
    pub note_type: NoteType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_ref: Option<Sha256Hex>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    pub dependency_id: String,
    pub kind: DependencyKind,
    pub to_wp_id: WpId,
    pub created_at: Timestamp,
    pub created_by: String,
}

/// A work packet. Field order is the order on disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkPacket {
    pub schema_id: String,
    pub schema_version: String,
    pub record_id: String,
    pub record_kind: String,
    pub project_profile_kind: String,
    pub updated_at: Timestamp,
    #[serde(default)]
    pub authority_refs: Vec<String>,
    #[serde(default)]
    pub evidence_refs: Vec<String>,
    pub wp_id: WpId,
    /// +1 a mutation; the optimistic lock.
    pub version: u64,
    pub title: String,
    #[serde(default)]
    pub description: String,
    pub status: WpStatus,
    /// Where blocked or gated came from and goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_status: Option<WpStatus>,
    /// Why it is blocked, gated or cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// 0 (highest) to 4.
    pub priority: u8,
    #[serde(rename = "type")]
    pub wp_type: WpType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    pub routing: Routing,
    #[serde(default)]
    pub labels: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    pub reporter: String,
    /// Globs; empty means the whole repository.
    #[serde(default)]
    pub in_scope_paths: Vec<String>,
    #[serde(default)]
    pub acceptance_criteria: Vec<String>,
    pub gates: Gates,
    #[serde(default)]
    pub notes: Vec<Note>,
    #[serde(default)]
    pub dependencies: Vec<Dependency>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_wp_id: Option<WpId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<WpId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closure_verdict: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_packet_path: Option<String>,
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tombstone: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MtFiles {
    #[serde(default)]
    pub read: Vec<String>,
    #[serde(default)]
    pub modify: Vec<String>,
    #[serde(default)]
    pub create: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// exit_zero, exit_nonzero, contains, not_contains.
    pub expect: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    #[serde(default)]
    pub blocking: bool,
}

/// Proof that a micro-task is done: a finished job with its exit code, or a person's statement marked as such.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests_run: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_oid: Option<Oid>,
    #[serde(default)]
    pub artifact_refs: Vec<Sha256Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Iteration {
    pub iteration: u32,
    pub session_id: SessionId,
    pub model_id: Option<String>,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// success, retry, escalate, blocked, skipped.
    pub outcome: String,
    #[serde(default)]
    pub artifact_refs: Vec<Sha256Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A micro-task, keyed by (wp_id, mt_id).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MicroTask {
    pub schema_id: String,
    pub schema_version: String,
    pub record_id: String,
    pub record_kind: String,
    pub project_profile_kind: String,
    pub updated_at: Timestamp,
    pub wp_id: WpId,
    pub mt_id: MtId,
    pub version: u64,
    pub name: String,
    #[serde(default)]
    pub scope: String,
    #[serde(default)]
    pub files: MtFiles,
    /// 1 to 8.
    pub done_criteria: Vec<String>,
    pub status: MtStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    #[serde(default)]
    pub depends_on: Vec<MtId>,
    #[serde(default)]
    pub verify: Vec<Verify>,
    #[serde(default)]
    pub active_session_ids: Vec<SessionId>,
    #[serde(default)]
    pub iterations: Vec<Iteration>,
    /// 1 to 20.
    pub max_iterations: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
}

/// Which record, and where it stands under `gov/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RecordKey {
    Packet { wp_id: WpId },
    MicroTask { wp_id: WpId, mt_id: MtId },
}

impl RecordKey {
    /// `WP-1` or `WP-1/MT-001`.
    pub fn text(&self) -> String {
        match self {
            Self::Packet { wp_id } => wp_id.to_string(),
            Self::MicroTask { wp_id, mt_id } => format!("{wp_id}/{mt_id}"),
        }
    }
    pub fn wp_id(&self) -> &WpId {
        match self {
            Self::Packet { wp_id } | Self::MicroTask { wp_id, .. } => wp_id,
        }
    }
    /// Path below `.handshake/gov/`.
    pub fn relative_path(&self) -> String {
        match self {
            Self::Packet { wp_id } => format!("work_packets/{wp_id}/packet.json"),
            Self::MicroTask { wp_id, mt_id } => format!("micro_tasks/{wp_id}/{mt_id}/packet.json"),
        }
    }
}

/// Either record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    Packet(Box<WorkPacket>),
    MicroTask(Box<MicroTask>),
}

impl Record {
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Packet(p) => RecordKey::Packet { wp_id: p.wp_id.clone() },
            Self::MicroTask(m) => RecordKey::MicroTask { wp_id: m.wp_id.clone(), mt_id: m.mt_id.clone() },
        }
    }
    pub fn version(&self) -> u64 {
        match self {
            Self::Packet(p) => p.version,
            Self::MicroTask(m) => m.version,
        }
    }
    /// The bytes on disk: indented JSON in field order with a final line feed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let json = match self {
            Self::Packet(p) => serde_json::to_vec_pretty(p),
            Self::MicroTask(m) => serde_json::to_vec_pretty(m),
        };
        let mut bytes = json.expect("records hold only JSON-safe values");
        bytes.push(b'\n');
        bytes
    }
}
