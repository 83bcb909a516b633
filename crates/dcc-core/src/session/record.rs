//! A session as its events say (SESSIONS 1). Pure.

use serde::{Deserialize, Serialize};

use crate::budget::{Budget, Totals};
use crate::ids::{HandoffId, JobId, MtId, SessionId, Sha256Hex, WorkspaceId, WpId};
use crate::ports::Driver;
use crate::ports::sessions::BackendCapabilities;
use crate::principal::Role;
use crate::time::Timestamp;

use super::{Lane, Need, SessionState, StateReason, WaitingMessage};

/// What DCC knows of how the agent is confined, recorded with the session (GOVERNANCE 7).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Posture {
    /// `namespaces+landlock+seccomp`, `landlock+seccomp`, `none`.
    pub layers: Vec<String>,
    pub landlock_abi: Option<u32>,
    /// Enforced by the kernel or not.
    pub filesystem: bool,
    /// Owner, mode, times and attributes of files outside. Records from before it was looked at say no.
    #[serde(default)]
    pub metadata: bool,
    pub network: bool,
    pub processes: bool,
    pub disk: bool,
    /// What is not enforced and why, in words.
    pub notes: Vec<String>,
}

impl Posture {
    /// True when the kernel holds files and network: without them no agent runs but under a waiver. The other flags are said, and refuse nothing.
    pub fn confines_agents(&self) -> bool {
        self.filesystem && self.network
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProcessIdentity {
    pub pid: u32,
    /// Clock ticks since boot from /proc/PID/stat, so that a reused pid is not taken for the same process.
    pub start_time: u64,
}

/// The last checkpoint: where in the recorder, when, and how many there were.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CheckpointMark {
    pub seq: u64,
    pub at: Timestamp,
    pub count: u64,
}

/// A run of the session that waits for a slot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QueuedRun {
    pub job_id: JobId,
    pub since: Timestamp,
    /// Which limit it waits for.
    pub why: String,
}

/// A pause that was asked for and is not reached yet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pausing {
    pub since: Timestamp,
    pub job_id: Option<JobId>,
}

/// A session as its events say.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Session {
    pub session_id: SessionId,
    pub parent_session_id: Option<SessionId>,
    /// 0 for a session that a person started.
    pub spawn_depth: u32,
    /// The ended session whose work this one takes up again.
    #[serde(default)]
    pub successor_of: Option<SessionId>,
    /// The session that took this one's work up again.
    #[serde(default)]
    pub succeeded_by: Option<SessionId>,
    /// What it is for, in a person's words.
    #[serde(default)]
    pub purpose: Option<String>,
    #[serde(default)]
    pub lane: Lane,
    pub state: SessionState,
    pub state_reason: StateReason,
    pub role: Role,
    /// The preset's name, or the command's first word.
    pub agent: String,
    /// Whose service it uses; counts against the limit of one provider.
    #[serde(default)]
    pub provider: String,
    /// The exact command; never holds a secret.
    pub command: Vec<String>,
    pub model_id: Option<String>,
    pub backend: String,
    pub wp_id: Option<WpId>,
    pub mt_id: Option<MtId>,
    pub workspace_id: Option<WorkspaceId>,
    /// Globs that it may write inside, besides the packet's scope; empty adds nothing. A child's ancestors' hold for it too.
    #[serde(default)]
    pub paths: Vec<String>,
    pub posture: Option<Posture>,
    pub agent_session_id: Option<String>,
    /// The agent's own conversation that has heard DCC's preamble; another one has not.
    #[serde(default)]
    pub briefed: Option<String>,
    /// The agent was handed DCC's tools and takes them.
    #[serde(default)]
    pub tools: bool,
    /// What the running agent can do, by its own offer.
    #[serde(default)]
    pub capabilities: Option<BackendCapabilities>,
    pub process: Option<ProcessIdentity>,
    /// What it may use up, when it was started with limits of its own.
    #[serde(default)]
    pub budget: Option<Budget>,
    pub tool_calls: u64,
    pub turns: u64,
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// What it has used up to its last recorded turn or checkpoint.
    #[serde(default)]
    pub totals: Totals,
    /// Fill of the agent's context now, and its size; may fall, so it is never summed.
    #[serde(default)]
    pub context_used: Option<u64>,
    #[serde(default)]
    pub context_size: Option<u64>,
    pub running_job_id: Option<JobId>,
    #[serde(default)]
    pub queued_run: Option<QueuedRun>,
    /// Messages that wait, in the order of delivery.
    #[serde(default)]
    pub waiting: Vec<WaitingMessage>,
    #[serde(default)]
    pub pausing: Option<Pausing>,
    /// Its processes stand still, until then at the latest.
    #[serde(default)]
    pub frozen_until: Option<Timestamp>,
    /// A turn that was ended before its end: what resuming takes up.
    #[serde(default)]
    pub cut_turn: Option<JobId>,
    /// DCC's own summary of what went before, for an agent that could not take its conversation up; told before the next
    /// prompt.
    #[serde(default)]
    pub seed: Option<Sha256Hex>,
    #[serde(default)]
    pub checkpoint: Option<CheckpointMark>,
    pub handoff_required: bool,
    #[serde(default)]
    pub last_handoff_id: Option<HandoffId>,
    /// The handoff's beginning or the waiver's reason, once closed.
    pub closing: Option<String>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// The last sign that its process lives.
    #[serde(default)]
    pub last_heartbeat_at: Option<Timestamp>,
    /// The last thing that happened in it.
    pub last_activity_at: Timestamp,
    /// Last error for a person: first lines of the agent's standard error, a protocol fault.
    pub fault: Option<String>,
}

impl Session {
    /// What drives it; until the agent said so, the protocol.
    pub fn driver(&self) -> Driver {
        self.capabilities.as_ref().map_or(Driver::Acp, |c| c.driver)
    }
    /// What it needs of a person now. A command in a terminal, and a person who works himself, wait for nobody's message: a
    /// false alarm costs more than it tells.
    pub fn need(&self) -> Option<Need> {
        if self.state.is_terminal() || (self.state_reason == StateReason::InputWait && self.driver() != Driver::Acp) {
            return None;
        }
        self.state_reason.need()
    }
    /// A session before its first event: nothing but its names.
    pub fn new(session_id: SessionId, agent: &str, role: Role, now: Timestamp) -> Self {
        Self {
            session_id,
            parent_session_id: None,
            spawn_depth: 0,
            successor_of: None,
            succeeded_by: None,
            purpose: None,
            lane: Lane::usual(role, false),
            state: SessionState::Created,
            state_reason: StateReason::Dispatching,
            role,
            agent: agent.to_owned(),
            provider: super::provider_of(agent),
            command: Vec::new(),
            model_id: None,
            backend: "local".into(),
            wp_id: None,
            mt_id: None,
            workspace_id: None,
            paths: Vec::new(),
            posture: None,
            agent_session_id: None,
            briefed: None,
            tools: false,
            capabilities: None,
            process: None,
            budget: None,
            tool_calls: 0,
            turns: 0,
            tokens_in: 0,
            tokens_out: 0,
            totals: Totals::default(),
            context_used: None,
            context_size: None,
            running_job_id: None,
            queued_run: None,
            waiting: Vec::new(),
            pausing: None,
            frozen_until: None,
            cut_turn: None,
            seed: None,
            checkpoint: None,
            handoff_required: true,
            last_handoff_id: None,
            closing: None,
            created_at: now,
            started_at: None,
            ended_at: None,
            last_heartbeat_at: None,
            last_activity_at: now,
            fault: None,
        }
    }

    /// A turn of it executes, or waits inside for a decision.
    pub fn has_turn(&self) -> bool {
        self.state == SessionState::Active || (self.state == SessionState::Blocked && self.state_reason == StateReason::ApprovalWait)
    }

    /// It waits for a slot: shown as QUEUED (SESSIONS 2).
    pub fn is_queued(&self) -> bool {
        self.queued_run.is_some() && matches!(self.state, SessionState::Created | SessionState::Blocked)
    }

    /// The next message to be delivered.
    pub fn next_message(&self) -> Option<&WaitingMessage> {
        self.waiting.iter().find(|m| m.is_waiting())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_agent_of_the_protocol_waits_for_a_message() {
        let id = "0198c0de-0000-7000-8000-000000000001".parse().unwrap();
        let mut session = Session::new(id, "x", Role::Coder, Timestamp(1));
        (session.state, session.state_reason) = (SessionState::Blocked, StateReason::InputWait);
        assert_eq!(session.need(), Some(Need::Message));
        for driver in [Driver::Pty, Driver::Human] {
            session.capabilities = Some(BackendCapabilities { driver, ..BackendCapabilities::default() });
            assert_eq!(session.need(), None, "{driver:?}");
        }
        session.state_reason = StateReason::ReviewWait;
        assert_eq!(session.need(), Some(Need::Review));
        session.state = SessionState::Failed;
        assert_eq!(session.need(), None);
    }

    #[test]
    fn files_and_network_are_what_confines() {
        let all = Posture { filesystem: true, metadata: true, network: true, processes: true, disk: true, ..Posture::default() };
        assert!(all.confines_agents());
        assert!(Posture { metadata: false, processes: false, disk: false, ..all.clone() }.confines_agents(), "agents run where only these are not held");
        assert!(!Posture { network: false, ..all.clone() }.confines_agents());
        assert!(!Posture { filesystem: false, ..all }.confines_agents());
    }
}
