//! Jobs: requests, the record as a fold over its events, and the pure machine (DATA 4).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::event::{Event, EventCode};
use crate::failure::{Code, Failure, Outcome};
use crate::gate::{Basis, GateRecord};
use crate::ids::{ApprovalId, InstanceId, JobId, MtId, SessionId, Sha256Hex, WorkspaceId, WpId};
use crate::op::Op;
use crate::principal::Actor;
use crate::time::Timestamp;

/// What a request or a job is about.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bindings {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wp_id: Option<WpId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mt_id: Option<MtId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<WorkspaceId>,
}

/// An intent, the same from every surface.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    pub op: Op,
    #[serde(default)]
    pub params: Value,
    #[serde(default)]
    pub bindings: Bindings,
    /// Same key, same answer, no second effect. At most 128 characters.
    #[serde(default)]
    pub idempotency_key: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Queued,
    Running,
    AwaitingUser,
    AwaitingValidation,
    Completed,
    CompletedWithIssues,
    Failed,
    Cancelled,
    Stalled,
    Poisoned,
}

impl JobState {
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Running,
        Self::AwaitingUser,
        Self::AwaitingValidation,
        Self::Completed,
        Self::CompletedWithIssues,
        Self::Failed,
        Self::Cancelled,
        Self::Stalled,
        Self::Poisoned,
    ];
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::AwaitingUser => "awaiting_user",
            Self::AwaitingValidation => "awaiting_validation",
            Self::Completed => "completed",
            Self::CompletedWithIssues => "completed_with_issues",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Stalled => "stalled",
            Self::Poisoned => "poisoned",
        }
    }
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::CompletedWithIssues | Self::Failed | Self::Cancelled | Self::Poisoned)
    }
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// One move of the machine (DATA 4). Everything else is refused.
pub fn step(from: JobState, to: JobState) -> Outcome<JobState> {
    use JobState::{AwaitingUser, AwaitingValidation, Cancelled, Completed, CompletedWithIssues, Failed, Poisoned, Queued, Running, Stalled};
    let legal = match from {
        Queued => matches!(to, Running | AwaitingUser | Failed | Cancelled),
        Running => matches!(to, AwaitingUser | AwaitingValidation | Completed | CompletedWithIssues | Failed | Cancelled | Stalled | Poisoned),
        AwaitingUser => matches!(to, Running | Failed | Cancelled),
        AwaitingValidation => matches!(to, Completed | CompletedWithIssues | Failed | AwaitingUser | Cancelled),
        Stalled => matches!(to, Running | Failed | Cancelled),
        Completed | CompletedWithIssues | Failed | Cancelled | Poisoned => false,
    };
    if legal {
        Ok(to)
    } else {
        Err(Failure::new(Code::IllegalTransition, format!("a job cannot go from {} to {}", from.as_str(), to.as_str())))
    }
}

/// A job as its events say.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Job {
    pub job_id: JobId,
    pub op: Op,
    pub params: Value,
    pub params_ref: Option<Sha256Hex>,
    pub actor: Actor,
    pub bindings: Bindings,
    pub state: JobState,
    /// How often the state changed. Part of [`Job::move_key`].
    #[serde(default)]
    pub moves: u32,
    pub attempt: u32,
    pub parent_job_id: Option<JobId>,
    /// The root job of the tree; workflow_run_id on the wire.
    pub root_job_id: JobId,
    pub idempotency_key: Option<String>,
    pub plan_digest: Option<Sha256Hex>,
    pub plan_artifact: Option<Sha256Hex>,
    pub approval_id: Option<ApprovalId>,
    pub basis: Option<Basis>,
    pub gates: Vec<GateRecord>,
    /// The effect named before it happened (an oid, a path), for recovery.
    pub effect: Option<Value>,
    pub result: Map<String, Value>,
    pub failure: Option<Failure>,
    pub inputs: Vec<Sha256Hex>,
    pub outputs: Vec<Sha256Hex>,
    pub instance_id: InstanceId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Job {
    /// The unique key of the next change of state. Whoever judged from the same state asks for the same key, and the
    /// recorder gives it once: of two that move a job at the same time, one is told that he was second.
    pub fn move_key(&self) -> String {
        format!("{MOVE_KEY}{}:{}", self.job_id, self.moves)
    }
    /// The flat form of PRODUCT (CLI): job_id, op, state, approval_id, failure, result ids.
    pub fn flat(&self) -> Value {
        let mut map = self.result.clone();
        map.insert("job_id".into(), self.job_id.to_string().into());
        map.insert("op".into(), self.op.as_str().into());
        map.insert("state".into(), self.state.as_str().into());
        for (key, value) in [
            ("wp_id", self.bindings.wp_id.as_ref().map(ToString::to_string)),
            ("mt_id", self.bindings.mt_id.as_ref().map(ToString::to_string)),
            ("session_id", self.bindings.session_id.map(|v| v.to_string())),
            ("workspace_id", self.bindings.workspace_id.map(|v| v.to_string())),
            ("approval_id", self.approval_id.map(|v| v.to_string())),
        ] {
            if let (Some(value), false) = (value, map.contains_key(key)) {
                map.insert(key.into(), value.into());
            }
        }
        if let Some(failure) = &self.failure {
            map.insert("failure".into(), serde_json::to_value(failure).unwrap_or(Value::Null));
        }
        Value::Object(map)
    }
}

/// The beginning of every [`Job::move_key`].
pub const MOVE_KEY: &str = "job:";

/// Takes the next event of this job in; `None` until it was accepted. What is terminal stays so: logs of before the move
/// keys may hold a beginning after an end.
pub fn apply(job: &mut Option<Job>, event: &Event) {
    if event.code == EventCode::JobAccepted {
        *job = serde_json::from_value(event.payload["job"].clone()).ok();
        return;
    }
    let Some(j) = job else { return };
    let payload = &event.payload;
    match event.code {
        EventCode::JobStateChange | EventCode::JobFinished => {
            if j.state.is_terminal() {
                return;
            }
            j.moves += 1;
            if let Some(state) = payload["to"].as_str().and_then(JobState::parse) {
                j.state = state;
            }
            if let Some(attempt) = payload["attempt"].as_u64() {
                j.attempt = attempt as u32;
            }
            if let Ok(failure) = serde_json::from_value(payload["failure"].clone()) {
                j.failure = Some(failure);
            }
            if let Some(result) = payload["result"].as_object() {
                j.result.extend(result.clone());
            }
            if let Ok(outputs) = serde_json::from_value(payload["outputs"].clone()) {
                j.outputs = outputs;
            }
            if let Ok(basis) = serde_json::from_value(payload["basis"].clone()) {
                j.basis = Some(basis);
            }
            if let Ok(instance) = serde_json::from_value(payload["instance_id"].clone()) {
                j.instance_id = instance;
            }
        }
        EventCode::JobPlanned => {
            j.plan_digest = serde_json::from_value(payload["plan_digest"].clone()).ok();
            j.plan_artifact = serde_json::from_value(payload["plan_artifact"].clone()).ok();
            if let Ok(inputs) = serde_json::from_value(payload["inputs"].clone()) {
                j.inputs = inputs;
            }
            if let Ok(bindings) = serde_json::from_value(payload["bindings"].clone()) {
                j.bindings = bindings;
            }
        }
        EventCode::GateDecided => {
            if let Ok(record) = serde_json::from_value(payload["gate"].clone()) {
                j.gates.push(record);
            }
        }
        EventCode::EffectPlanned => j.effect = Some(payload["effect"].clone()),
        EventCode::ApprovalRequested => j.approval_id = event.approval_id,
        _ => {}
    }
    j.updated_at = event.ts;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_machine() {
        use JobState::{AwaitingUser, AwaitingValidation, Cancelled, Completed, CompletedWithIssues, Failed, Poisoned, Queued, Running, Stalled};
        let legal = [
            (Queued, vec![Running, AwaitingUser, Failed, Cancelled]),
            (Running, vec![AwaitingUser, AwaitingValidation, Completed, CompletedWithIssues, Failed, Cancelled, Stalled, Poisoned]),
            (AwaitingUser, vec![Running, Failed, Cancelled]),
            (AwaitingValidation, vec![Completed, CompletedWithIssues, Failed, AwaitingUser, Cancelled]),
            (Stalled, vec![Running, Failed, Cancelled]),
        ];
        for from in JobState::ALL {
            for to in JobState::ALL {
                let want = legal.iter().any(|(f, tos)| *f == from && tos.contains(&to));
                assert_eq!(step(from, to).is_ok(), want, "{from:?} -> {to:?}");
            }
        }
    }
}
