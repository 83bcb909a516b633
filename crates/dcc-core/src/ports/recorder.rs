//! Canon: the event log and the artifact store.

use serde::{Deserialize, Serialize};

use crate::event::{Event, EventCode, EventOutcome, NewEvent};
use crate::failure::Outcome;
use crate::ids::{ApprovalId, EventId, JobId, MtId, ProjectId, SessionId, Sha256Hex, WorkspaceId, WpId};
use crate::principal::ActorKind;
use crate::time::Timestamp;

/// What became of an append.
#[derive(Clone, Debug)]
pub enum Appended {
    /// All of them, in order, durable.
    Written(Vec<Event>),
    /// None of them: this event already holds one of the unique keys.
    Taken { key: String, by: Box<Event> },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChainHead {
    /// 0 for an empty log.
    pub seq: u64,
    pub hash: Sha256Hex,
}

/// A copy of the head kept outside; proves a cut tail.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    pub seq: u64,
    pub hash: Sha256Hex,
    pub at: Timestamp,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    #[default]
    Ascending,
    Descending,
}

/// A slice of the log. All given parts must match; paging is by sequence and stable.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EventFilter {
    /// Exclusive lower bound.
    pub after_seq: Option<u64>,
    /// Exclusive upper bound.
    pub before_seq: Option<u64>,
    pub wp_id: Option<WpId>,
    pub mt_id: Option<MtId>,
    pub session_id: Option<SessionId>,
    pub workspace_id: Option<WorkspaceId>,
    pub job_id: Option<JobId>,
    pub workflow_run_id: Option<JobId>,
    pub approval_id: Option<ApprovalId>,
    pub tool_call_id: Option<String>,
    /// Any of these; empty means all.
    pub codes: Vec<EventCode>,
    pub actor_kind: Option<ActorKind>,
    pub actor_id: Option<String>,
    /// operator, agent or system.
    pub principal: Option<String>,
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
    pub parent_span_id: Option<String>,
    pub project_id: Option<ProjectId>,
    pub policy_digest: Option<Sha256Hex>,
    pub outcome: Option<EventOutcome>,
    pub capability_id: Option<String>,
    /// Substring of the payload's JSON text or the event's name, without regard to ASCII case.
    pub text: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub order: Order,
    /// 0 means the page limit; never more than `limits::PAGE_MAX`.
    pub limit: usize,
}

/// Result of walking the whole chain.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VerifyReport {
    pub ok: bool,
    pub events: u64,
    pub head: ChainHead,
    /// The first sequence that does not hold, and why.
    pub first_bad_seq: Option<u64>,
    pub problem: Option<String>,
    /// Payloads purged by retention; their hashes still hold.
    pub purged_payloads: u64,
    /// The external checkpoint that was compared, if any.
    pub checkpoint: Option<Checkpoint>,
}

impl VerifyReport {
    /// What outside the log it was held against, in words.
    pub fn held_against(&self) -> String {
        self.checkpoint.map_or_else(|| "no checkpoint is kept outside".to_owned(), |kept| format!("held against the checkpoint outside at {}", kept.seq))
    }
}

/// Where the chain's head is kept outside the log, signed. Evidence, not prevention: who can write that place and read its
/// key can forge it.
pub trait OutsideHead: Send + Sync {
    /// As it stands there; none when none was kept. HSK-500-INTEGRITY when it is not what was kept.
    fn load(&self) -> Outcome<Option<Checkpoint>>;
    /// Replaces it atomically.
    fn keep(&self, head: Checkpoint) -> Outcome<()>;
}

/// The Flight Recorder.
pub trait Recorder: Send + Sync {
    /// Writes all or none, redacted, chained, and durable (fsync) when it returns. At most
    /// `limits::APPEND_BATCH_MAX`. HSK-500-RECORDER when it cannot write, HSK-400-INVALID-EVENT for a bad payload.
    fn append(&self, events: Vec<NewEvent>) -> Outcome<Appended>;
    fn head(&self) -> Outcome<ChainHead>;
    fn read(&self, filter: &EventFilter) -> Outcome<Vec<Event>>;
    fn event(&self, id: EventId) -> Outcome<Option<Event>>;
    fn by_seq(&self, seq: u64) -> Outcome<Option<Event>>;
    /// The event that holds a unique key.
    fn by_unique_key(&self, key: &str) -> Outcome<Option<Event>>;
    /// Walks the whole chain. Without an external checkpoint it is held against the one kept outside, when the recorder
    /// knows a place for it; one that cannot be trusted there is a finding.
    fn verify(&self, external: Option<Checkpoint>) -> Outcome<VerifyReport>;
    /// False after a write failed or when the log was opened read-only; jobs then refuse before any effect.
    fn is_writable(&self) -> bool;
}

/// Content-addressed payloads, `.handshake/artifacts/sha256/ab/cdef...`, mode 0600.
pub trait ArtifactStore: Send + Sync {
    /// Stores and syncs; storing the same bytes again is free. At most `limits::ARTIFACT_BYTES_MAX`.
    fn put(&self, bytes: &[u8]) -> Outcome<Sha256Hex>;
    /// Reads and verifies: HSK-404-ARTIFACT when absent, HSK-500-INTEGRITY when the bytes do not match their name.
    fn get(&self, sha256: Sha256Hex) -> Outcome<Vec<u8>>;
    fn has(&self, sha256: Sha256Hex) -> bool;
}
