//! Flight Recorder events: the closed registry of codes and the row (DATA 5). Pure.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::ids::{ApprovalId, EventId, InstanceId, JobId, MtId, ProjectId, SessionId, Sha256Hex, WorkspaceId, WpId};
use crate::principal::{Actor, ActorKind};
use crate::time::Timestamp;

/// Audit events are never purged; telemetry payloads may be, after 30 days.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventClass {
    Audit,
    Telemetry,
}

macro_rules! events {
    ($($name:ident $code:literal $label:literal $class:ident;)*) => {
        /// One code of the closed registry.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum EventCode { $($name,)* }
        impl EventCode {
            pub const ALL: &'static [EventCode] = &[$(EventCode::$name,)*];
            pub fn as_str(self) -> &'static str { match self { $(EventCode::$name => $code,)* } }
            pub fn name(self) -> &'static str { match self { $(EventCode::$name => $label,)* } }
            pub fn class(self) -> EventClass { match self { $(EventCode::$name => EventClass::$class,)* } }
            pub fn parse(text: &str) -> Option<Self> { match text { $($code => Some(EventCode::$name),)* _ => None } }
        }
    };
}

events! {
    WpCreated "FR-EVT-WP-001" "wp_created" Audit;
    WpUpdated "FR-EVT-WP-002" "wp_updated" Audit;
    WpGated "FR-EVT-WP-003" "wp_gated" Audit;
    WpCompleted "FR-EVT-WP-004" "wp_completed" Audit;
    WpDeleted "FR-EVT-WP-005" "wp_deleted" Audit;
    WpStatusChanged "FR-EVT-WP-006" "wp_status_changed" Audit;
    WpNoteAdded "FR-EVT-WP-007" "wp_note_added" Audit;
    WpEditAccepted "FR-EVT-WP-008" "wp_edit_accepted" Audit;
    MtRegistered "FR-EVT-MT-001" "mt_registered" Audit;
    MtStatusChanged "FR-EVT-MT-002" "mt_status_changed" Audit;
    MtCompleted "FR-EVT-MT-003" "mt_completed" Audit;
    DependencyAdded "FR-EVT-DEP-001" "dependency_added" Audit;
    DependencyRemoved "FR-EVT-DEP-002" "dependency_removed" Audit;
    BoardWritten "FR-EVT-TB-001" "board_written" Audit;
    BoardEdited "FR-EVT-TB-002" "board_edited_by_hand" Audit;
    BoardImported "FR-EVT-TB-003" "board_imported" Audit;
    SyncStarted "FR-EVT-SYNC-001" "sync_started" Telemetry;
    SyncFinished "FR-EVT-SYNC-002" "sync_finished" Telemetry;
    SyncRefused "FR-EVT-SYNC-003" "sync_refused" Audit;
    JobAccepted "FR-EVT-JOB-001" "job_accepted" Audit;
    JobStateChange "FR-EVT-JOB-002" "job_state_change" Audit;
    JobPlanned "FR-EVT-JOB-003" "job_planned" Audit;
    EffectPlanned "FR-EVT-JOB-004" "effect_planned" Audit;
    EffectObserved "FR-EVT-JOB-005" "effect_observed" Audit;
    JobFinished "FR-EVT-JOB-006" "job_finished" Audit;
    GateDecided "FR-EVT-GATE-001" "gate_decided" Audit;
    CapabilityAction "FR-EVT-CAP-001" "capability_action" Audit;
    ApprovalRequested "FR-EVT-APPR-001" "approval_requested" Audit;
    ApprovalPresented "FR-EVT-APPR-002" "approval_presented" Audit;
    ApprovalDecided "FR-EVT-APPR-003" "approval_decided" Audit;
    ApprovalExpired "FR-EVT-APPR-004" "approval_expired" Audit;
    ApprovalStale "FR-EVT-APPR-005" "approval_stale" Audit;
    ApprovalConsumed "FR-EVT-APPR-006" "approval_consumed" Audit;
    GrantIssued "FR-EVT-APPR-007" "grant_issued" Audit;
    GrantRevoked "FR-EVT-APPR-008" "grant_revoked" Audit;
    GrantUsed "FR-EVT-APPR-009" "grant_used" Audit;
    WorkspaceCreated "FR-EVT-WS-001" "workspace_created" Audit;
    WorkspaceImported "FR-EVT-WS-002" "workspace_imported" Audit;
    WorkspaceOpened "FR-EVT-WS-003" "workspace_opened" Audit;
    WorkspaceClosed "FR-EVT-WS-004" "workspace_closed" Audit;
    WorkspaceArchived "FR-EVT-WS-005" "workspace_archived" Audit;
    WorkspacePruned "FR-EVT-WS-006" "workspace_pruned" Audit;
    WorkspaceLinked "FR-EVT-WS-007" "workspace_linked" Audit;
    OutOfBandChange "FR-EVT-WS-008" "out_of_band_change" Audit;
    WorkspaceRepaired "FR-EVT-WS-009" "workspace_repaired" Audit;
    Committed "FR-EVT-VCS-001" "committed" Audit;
    Reverted "FR-EVT-VCS-002" "reverted" Audit;
    Merged "FR-EVT-VCS-003" "merged" Audit;
    Restored "FR-EVT-VCS-004" "restored" Audit;
    BackupRef "FR-EVT-VCS-005" "backup_ref" Audit;
    HeadMoved "FR-EVT-VCS-006" "head_moved" Audit;
    SessionCreated "FR-EVT-SESS-001" "session_created" Audit;
    SessionStateChange "FR-EVT-SESS-002" "session_state_change" Audit;
    SessionCompleted "FR-EVT-SESS-003" "session_completed" Audit;
    SessionMessage "FR-EVT-SESS-004" "session_message" Audit;
    SessionBudgetWarning "FR-EVT-SESS-005" "session_budget_warning" Audit;
    BudgetSet "FR-EVT-BUDGET-001" "budget_set" Audit;
    SessionUpdate "FR-EVT-SESS-006" "session_update" Telemetry;
    MoveRefused "FR-EVT-SESS-008" "session_move_refused" Audit;
    SessionNoted "FR-EVT-SESS-009" "session_noted" Audit;
    SessionHeartbeat "FR-EVT-SESS-010" "session_heartbeat" Telemetry;
    SessionSucceeded "FR-EVT-SESS-011" "session_succeeded" Audit;
    SessionSteered "FR-EVT-SESS-STEER-001" "session_steered" Audit;
    RunQueued "FR-EVT-SESS-SCHED-001" "run_queued" Audit;
    RunDispatched "FR-EVT-SESS-SCHED-002" "run_dispatched" Audit;
    RunDropped "FR-EVT-SESS-SCHED-003" "run_dropped" Audit;
    ChildSpawned "FR-EVT-SESS-SPAWN-001" "child_spawned" Audit;
    ChildEnded "FR-EVT-SESS-SPAWN-002" "child_ended" Audit;
    SessionCheckpoint "FR-EVT-SESS-CKPT-001" "session_checkpoint" Telemetry;
    ToolCallStarted "FR-EVT-TOOL-001" "tool_call_started" Audit;
    ToolCallProgress "FR-EVT-TOOL-002" "tool_call_progress" Telemetry;
    ToolCallFinished "FR-EVT-TOOL-003" "tool_call_finished" Audit;
    RecipeFinished "FR-EVT-TOOL-004" "recipe_finished" Audit;
    CommandFinished "FR-EVT-TOOL-005" "command_finished" Audit;
    HandoffWritten "FR-EVT-HANDOFF-001" "handoff_written" Audit;
    HandoffWaived "FR-EVT-HANDOFF-002" "handoff_waived" Audit;
    RecoveryStarted "FR-EVT-RECOVERY-001" "recovery_started" Audit;
    RecoveryResolved "FR-EVT-RECOVERY-002" "recovery_resolved" Audit;
    RebuildStarted "FR-EVT-REBUILD-001" "rebuild_started" Audit;
    RebuildFinished "FR-EVT-REBUILD-002" "rebuild_finished" Audit;
    DriftFound "FR-EVT-DRIFT-001" "drift_found" Audit;
    DriftSettled "FR-EVT-DRIFT-002" "drift_settled" Audit;
    PolicyChanged "FR-EVT-POLICY-001" "policy_changed" Audit;
    ProjectOpened "FR-EVT-SEC-001" "project_opened" Audit;
    ClockWentBack "FR-EVT-SEC-002" "clock_went_back" Audit;
    ConfigChanged "FR-EVT-SEC-003" "repository_config_changed" Audit;
    UngatedEffect "FR-EVT-SEC-004" "ungated_effect" Audit;
    ArtifactStored "FR-EVT-SEC-005" "artifact_stored" Telemetry;
    ProjectCreated "FR-EVT-SEC-006" "project_created" Audit;
    ConfigAccepted "FR-EVT-SEC-007" "repository_config_accepted" Audit;
    SandboxWaived "FR-EVT-SEC-008" "sandbox_waived" Audit;
    SandboxWaiverEnded "FR-EVT-SEC-009" "sandbox_waiver_ended" Audit;
}

impl Serialize for EventCode {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}
impl<'de> Deserialize<'de> for EventCode {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("unknown event code {text:?}")))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventOutcome {
    Ok,
    Allow,
    Ask,
    Deny,
    Failed,
    Unknown,
}

impl EventOutcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Ok, Self::Allow, Self::Ask, Self::Deny, Self::Failed, Self::Unknown].into_iter().find(|o| o.as_str() == text)
    }
}

/// The indexed columns that join events to objects.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Correlation {
    pub wp_id: Option<WpId>,
    pub mt_id: Option<MtId>,
    pub session_id: Option<SessionId>,
    /// The recorder's column is wsid; on the wire workspace_id.
    pub workspace_id: Option<WorkspaceId>,
    pub job_id: Option<JobId>,
    pub workflow_run_id: Option<JobId>,
    pub approval_id: Option<ApprovalId>,
    pub tool_call_id: Option<String>,
}

/// An event before it is written. The recorder adds sequence, id, time, redaction and hashes.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub code: EventCode,
    pub actor: Actor,
    pub outcome: EventOutcome,
    pub correlation: Correlation,
    pub capability_id: Option<String>,
    pub policy_digest: Option<Sha256Hex>,
    /// At most `limits::EVENT_PAYLOAD_BYTES_MAX` after redaction; a JSON object.
    pub payload: Value,
    /// A fact that may be recorded once only: `decided:<approval>`, `accepted:<key>`, `consumed:<approval>`. The second
    /// writer is told which event holds it.
    pub unique_key: Option<String>,
}

impl NewEvent {
    pub fn new(code: EventCode, actor: Actor, payload: Value) -> Self {
        Self {
            code,
            actor,
            outcome: EventOutcome::Ok,
            correlation: Correlation::default(),
            capability_id: None,
            policy_digest: None,
            payload,
            unique_key: None,
        }
    }
    #[must_use]
    pub fn about(mut self, correlation: &Correlation) -> Self {
        self.correlation = correlation.clone();
        self
    }
    #[must_use]
    pub fn outcome(mut self, outcome: EventOutcome) -> Self {
        self.outcome = outcome;
        self
    }
    #[must_use]
    pub fn once(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(key.into());
        self
    }
}

/// A recorded event.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    pub seq: u64,
    pub event_id: EventId,
    pub ts: Timestamp,
    pub code: EventCode,
    pub name: String,
    pub actor_kind: ActorKind,
    pub actor_id: String,
    /// Surface and attendance with the principal.
    pub actor: Actor,
    #[serde(flatten)]
    pub correlation: Correlation,
    pub capability_id: Option<String>,
    pub policy_digest: Option<Sha256Hex>,
    pub outcome: EventOutcome,
    pub payload: Value,
    pub payload_sha256: Sha256Hex,
    pub unique_key: Option<String>,
    pub project_id: ProjectId,
    pub instance_id: InstanceId,
    pub prev_hash: Sha256Hex,
    pub hash: Sha256Hex,
}

impl std::ops::Deref for Event {
    type Target = Correlation;
    /// The joining ids read as the event's own.
    fn deref(&self) -> &Correlation {
        &self.correlation
    }
}
