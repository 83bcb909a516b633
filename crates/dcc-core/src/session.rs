//! Sessions: the record as a fold over its events, and the pure machine (SESSIONS 1 and 2).

use serde::{Deserialize, Serialize};

use crate::event::{Event, EventCode};
use crate::failure::{Code, Failure, Outcome};
use crate::ids::{JobId, MtId, SessionId, WorkspaceId, WpId};
use crate::principal::Role;
use crate::time::Timestamp;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SessionState {
    Created,
    Active,
    Paused,
    Blocked,
    Completed,
    Failed,
    Cancelled,
}

impl SessionState {
    pub const ALL: [Self; 7] = [Self::Created, Self::Active, Self::Paused, Self::Blocked, Self::Completed, Self::Failed, Self::Cancelled];
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Active => "ACTIVE",
            Self::Paused => "PAUSED",
            Self::Blocked => "BLOCKED",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// Why a session is in its state; a closed list (SESSIONS 2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateReason {
    Dispatching,
    Running,
    ApprovalWait,
    ConsentMissing,
    ConsentRevoked,
    InputWait,
    ReviewWait,
    LockConflict,
    IsolationMissing,
    CapabilityMissing,
    MergeConflict,
    BudgetSoft,
    BudgetHard,
    RateLimited,
    OperatorPause,
    PolicyPause,
    CrashRecovery,
    CheckpointInvalid,
    DependencyWait,
    ApprovalDenied,
    ApprovalExpired,
    ToolError,
    AgentExit,
    Timeout,
    CancelledByOperator,
    CancelledByParent,
    CancelledByPolicy,
    Done,
}

impl StateReason {
    /// The wire spelling.
    pub fn as_str(self) -> String {
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// One move of the machine (SESSIONS 2). Everything not in the table is refused with HSK-409-ILLEGAL-TRANSITION.
pub fn step(from: SessionState, to: SessionState) -> Outcome<SessionState> {
    use SessionState::{Active, Blocked, Cancelled, Completed, Created, Failed, Paused};
    let legal = match from {
        Created => matches!(to, Active | Blocked | Paused | Failed | Cancelled),
        Active => matches!(to, Blocked | Paused | Completed | Failed | Cancelled),
        Blocked => matches!(to, Active | Blocked | Paused | Completed | Failed | Cancelled),
        Paused => matches!(to, Active | Blocked | Completed | Cancelled | Failed),
        Completed | Failed | Cancelled => false,
    };
    if legal {
        Ok(to)
    } else {
        Err(Failure::new(Code::IllegalTransition, format!("a session cannot go from {} to {}", from.as_str(), to.as_str())))
    }
}

/// What DCC knows of how the agent is confined, recorded with the session (GOVERNANCE 7).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Posture {
    /// `landlock+seccomp`, `bubblewrap+landlock+seccomp`, `none`.
    pub layers: Vec<String>,
    pub landlock_abi: Option<u32>,
    /// Enforced by the kernel or not.
    pub filesystem: bool,
    pub network: bool,
    pub processes: bool,
    pub disk: bool,
    /// What is not enforced and why, in words.
    pub notes: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProcessIdentity {
    pub pid: u32,
    /// Clock ticks since boot from /proc/PID/stat, so that a reused pid is not taken for the same process.
    pub start_time: u64,
}

/// A session as its events say.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Session {
    pub session_id: SessionId,
    pub parent_session_id: Option<SessionId>,
    pub spawn_depth: u32,
    pub state: SessionState,
    pub state_reason: StateReason,
    pub role: Role,
    /// The preset's name, or the command's first word.
    pub agent: String,
    /// The exact command; never holds a secret.
    pub command: Vec<String>,
    pub model_id: Option<String>,
    pub backend: String,
    pub wp_id: Option<WpId>,
    pub mt_id: Option<MtId>,
    pub workspace_id: Option<WorkspaceId>,
    pub posture: Option<Posture>,
    pub agent_session_id: Option<String>,
    pub process: Option<ProcessIdentity>,
    pub tool_calls: u64,
    pub turns: u64,
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub running_job_id: Option<JobId>,
    pub handoff_required: bool,
    /// The handoff's text artifact or the waiver's reason, once closed.
    pub closing: Option<String>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub last_activity_at: Timestamp,
    /// Last error for a person: first lines of the agent's standard error, a protocol fault.
    pub fault: Option<String>,
}

/// Takes the next event of this session in; `None` until the creating event.
pub fn apply(session: &mut Option<Session>, event: &Event) {
    if event.code == EventCode::SessionCreated {
        *session = serde_json::from_value(event.payload["session"].clone()).ok();
        return;
    }
    let Some(s) = session else { return };
    s.last_activity_at = event.ts;
    match event.code {
        EventCode::SessionStateChange | EventCode::SessionCompleted => {
            if let Ok(to) = serde_json::from_value::<SessionState>(event.payload["to"].clone()) {
                s.state = to;
            }
            if let Ok(reason) = serde_json::from_value(event.payload["reason"].clone()) {
                s.state_reason = reason;
            }
            for (key, slot) in [("fault", &mut s.fault), ("closing", &mut s.closing), ("agent_session_id", &mut s.agent_session_id)] {
                if let Some(text) = event.payload[key].as_str() {
                    *slot = Some(text.to_owned());
                }
            }
            if let Ok(process) = serde_json::from_value(event.payload["process"].clone()) {
                s.process = Some(process);
            }
            if let Ok(posture) = serde_json::from_value(event.payload["posture"].clone()) {
                s.posture = Some(posture);
            }
            if let Some(model) = event.payload["model_id"].as_str() {
                s.model_id = Some(model.to_owned());
            }
            if s.state == SessionState::Active {
                s.started_at.get_or_insert(event.ts);
                s.running_job_id = event.job_id;
            } else if s.state != SessionState::Blocked || s.state_reason != StateReason::ApprovalWait {
                s.running_job_id = None;
            }
            if s.state.is_terminal() {
                s.ended_at.get_or_insert(event.ts);
                s.process = None;
            }
        }
        EventCode::SessionMessage
            if event.payload["role"].as_str() == Some("user") => {
                s.turns += 1;
            }
        EventCode::ToolCallStarted => s.tool_calls += 1,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_machine() {
        use SessionState::{Active, Blocked, Cancelled, Completed, Created, Failed, Paused};
        let legal = [
            (Created, vec![Active, Blocked, Paused, Failed, Cancelled]),
            (Active, vec![Blocked, Paused, Completed, Failed, Cancelled]),
            (Blocked, vec![Active, Blocked, Paused, Completed, Failed, Cancelled]),
            (Paused, vec![Active, Blocked, Completed, Cancelled, Failed]),
        ];
        for from in SessionState::ALL {
            for to in SessionState::ALL {
                let want = legal.iter().any(|(f, tos)| *f == from && tos.contains(&to));
                assert_eq!(step(from, to).is_ok(), want, "{from:?} -> {to:?}");
            }
        }
    }
}
