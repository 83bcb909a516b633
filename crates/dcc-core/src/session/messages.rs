//! Messages that wait for a session, and what may be done with them (SESSIONS 4). Pure.
//!
//! Invariants: a message is in the queue from the event that brought it until the event that says it was delivered or
//! removed; one whose delivery cannot be told after a crash stays and is never delivered by itself.

use serde::{Deserialize, Serialize};

use crate::ids::{JobId, MessageId, MtId, SessionId, Sha256Hex, WpId};
use crate::ports::sessions::{ApprovalStyle, Driver, Steer};
use crate::principal::Actor;
use crate::time::Timestamp;

use super::Session;

/// Where a message came from. Only the operator's words are trusted as instructions of a person.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    #[default]
    Operator,
    /// Made by DCC from records: a routed packet, a request to go on.
    Dcc,
    /// Another session's words.
    Session,
}

impl Source {
    /// As whose words a message stands in the record once it is delivered.
    pub fn role(self) -> &'static str {
        match self {
            Self::Operator | Self::Dcc => "user",
            Self::Session => "session",
        }
    }
}

/// True for what began a turn: a person's prompt, or another session's.
pub fn is_prompt(role: &str) -> bool {
    matches!(role, "user" | "session")
}

/// How far a waiting message has come.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Delivery {
    #[default]
    Waiting,
    /// It is being handed to the agent as this turn.
    Delivering { turn_job_id: JobId },
    /// DCC ended while it was handed over: the agent may have it or not. A person decides.
    Unknown { turn_job_id: JobId },
}

/// A message that waits for a session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WaitingMessage {
    pub message_id: MessageId,
    pub when: Steer,
    /// Its beginning, for showing; what is delivered is the artifact.
    pub text: String,
    pub text_ref: Sha256Hex,
    pub bytes: u64,
    pub source: Source,
    /// Who sent it; its turn runs in this name.
    pub from: Actor,
    /// The job that brought or changed it last.
    pub job_id: JobId,
    pub queued_at: Timestamp,
    /// Counts what happened to it; of two acts upon one revision the second is refused.
    #[serde(default)]
    pub revision: u32,
    #[serde(default)]
    pub delivery: Delivery,
}

impl WaitingMessage {
    pub fn is_waiting(&self) -> bool {
        self.delivery == Delivery::Waiting
    }
    /// The recorder's key for the next act upon it: whoever writes second is told who was first.
    pub fn next_key(&self) -> String {
        format!("message:{}:{}", self.message_id, self.revision + 1)
    }
}

/// What a person or DCC did to steer a session: the payload of FR-EVT-SESS-STEER-001.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "steer", rename_all = "snake_case")]
pub enum Steering {
    Queued { message: WaitingMessage, position: usize },
    Edited { message: WaitingMessage },
    Removed { message_id: MessageId, why: String },
    Moved { message_id: MessageId, position: usize },
    /// Sent now: to the front, and the turn that runs is stopped for it.
    Hurried { message_id: MessageId },
    /// A boundary was reached, or stop-and-send asked for: the turn is being cancelled politely.
    Interrupted { message_id: MessageId, boundary: String },
    Delivering { message_id: MessageId, turn_job_id: JobId },
    Delivered { message_id: MessageId, turn_job_id: JobId },
    /// Nothing was sent: it waits again.
    Returned { message_id: MessageId, why: String },
    /// DCC ended between handing over and knowing.
    Unsure { message_id: MessageId, turn_job_id: JobId },
    Routed { wp_id: Option<WpId>, mt_id: Option<MtId> },
    /// A pause was asked for while a turn runs; it is reached at the next boundary, at the latest within the bound.
    Pausing { reason: Option<String>, bound_ms: u64 },
    /// The pause was not reached: the session ended before.
    PauseDropped { why: String },
    /// The processes were stopped where they stand, until then at the latest.
    Frozen { until: Timestamp },
    Thawed { why: String },
    /// The turn was cancelled so that the session rests; it is to be taken up again.
    TurnCut { turn_job_id: JobId, why: String },
    Resumed { in_place: bool, notes: Vec<String> },
    Cancel {
        #[serde(default)]
        reason: Option<String>,
        /// Sessions that end with it, nearest first.
        #[serde(default)]
        descendants: Vec<SessionId>,
        /// (worktree, uncommitted paths) that stay on disk.
        #[serde(default)]
        uncommitted: Vec<(String, usize)>,
    },
}

impl Steering {
    /// The message it is about.
    pub fn message_id(&self) -> Option<MessageId> {
        match self {
            Self::Queued { message, .. } | Self::Edited { message } => Some(message.message_id),
            Self::Removed { message_id, .. }
            | Self::Moved { message_id, .. }
            | Self::Hurried { message_id }
            | Self::Interrupted { message_id, .. }
            | Self::Delivering { message_id, .. }
            | Self::Delivered { message_id, .. }
            | Self::Returned { message_id, .. }
            | Self::Unsure { message_id, .. } => Some(*message_id),
            _ => None,
        }
    }
}

/// Where a new message stands in the queue: at once before all others, for the boundary before the patient ones.
pub fn position_of(waiting: &[WaitingMessage], when: Steer) -> usize {
    match when {
        Steer::Now => 0,
        Steer::Boundary => waiting.iter().take_while(|m| m.when != Steer::Queue).count(),
        Steer::Queue => waiting.len(),
    }
}

/// What will become of a message sent this way now, said before it is sent; an error when it cannot be done at all.
pub fn delivery_of(session: &Session, when: Steer) -> Result<String, String> {
    let driver = session.capabilities.as_ref().map_or(Driver::Acp, |c| c.driver);
    if session.state.is_terminal() {
        return Err(format!("the session has ended ({})", session.state.as_str()));
    }
    if driver == Driver::Human {
        return Err("a person works in this session; no agent takes messages".to_owned());
    }
    let is_running = session.has_turn();
    if session.state == super::SessionState::Paused {
        return Ok("it waits until the session is resumed".to_owned());
    }
    if driver == Driver::Pty {
        return Ok("it is typed into the terminal, with a return behind it; nothing tells when the command has done with it".to_owned());
    }
    if !is_running {
        return Ok(if session.waiting.iter().any(WaitingMessage::is_waiting) { "it is delivered behind what waits already".to_owned() } else { "it is delivered at once".to_owned() });
    }
    let asks = session.capabilities.as_ref().is_some_and(|c| c.approvals == ApprovalStyle::Interactive);
    Ok(match when {
        Steer::Queue => "it is delivered when the running turn ends".to_owned(),
        Steer::Boundary if asks => "the running turn is cancelled at its next request or finished tool call, then it is delivered".to_owned(),
        // Such an agent never asks, so only what it reports as finished can be a boundary.
        Steer::Boundary => "this agent asks for nothing: the running turn is cancelled at the next tool call that it reports as finished, or it ends before; then it is delivered".to_owned(),
        Steer::Now => "the running turn is cancelled, pending requests are answered as cancelled, then it is delivered".to_owned(),
    })
}

/// The queue after one act.
pub(super) fn apply(waiting: &mut Vec<WaitingMessage>, steering: &Steering) {
    if let Steering::Queued { message, position } = steering {
        waiting.insert((*position).min(waiting.len()), message.clone());
        return;
    }
    let Some(at) = steering.message_id().and_then(|id| waiting.iter().position(|m| m.message_id == id)) else { return };
    waiting[at].revision += 1;
    match steering {
        Steering::Edited { message } => {
            let revision = waiting[at].revision;
            waiting[at] = WaitingMessage { revision, ..message.clone() };
        }
        Steering::Removed { .. } | Steering::Delivered { .. } => {
            waiting.remove(at);
        }
        Steering::Moved { position, .. } => {
            let message = waiting.remove(at);
            waiting.insert((*position).min(waiting.len()), message);
        }
        Steering::Hurried { .. } => {
            let mut message = waiting.remove(at);
            message.when = Steer::Now;
            message.delivery = Delivery::Waiting;
            waiting.insert(0, message);
        }
        Steering::Delivering { turn_job_id, .. } => waiting[at].delivery = Delivery::Delivering { turn_job_id: *turn_job_id },
        Steering::Unsure { turn_job_id, .. } => waiting[at].delivery = Delivery::Unknown { turn_job_id: *turn_job_id },
        Steering::Returned { .. } => waiting[at].delivery = Delivery::Waiting,
        _ => {}
    }
}
