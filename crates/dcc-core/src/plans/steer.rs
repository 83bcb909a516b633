//! What a person does to a session that exists: messages, pause, cancel, close, route, handoff (SESSIONS 4).

use serde::{Deserialize, Serialize};

use crate::capability::{Axis, Capability, Tier};
use crate::ids::{MessageId, MtId, SessionId, Sha256Hex, WorkspaceId, WpId};
use crate::plan::{IntentClass, PlanBody, Precondition, Preview, PreviewFact, PreviewItem, Requirement};
use crate::ports::sessions::Steer;
use crate::session::HandoffText;

fn needs(axis: Axis, intent: IntentClass) -> Requirement {
    Requirement::of(Capability::plain(axis), Tier::R1, intent)
}

/// session.send: a new message, or something done with one that waits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SendPlan {
    pub session_id: SessionId,
    pub act: SendAct,
    /// What becomes of it, said before it is sent.
    pub delivery: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
pub enum SendAct {
    New { text: String, text_sha256: Sha256Hex, when: Steer },
    Edit { message_id: MessageId, revision: u32, text: String, text_sha256: Sha256Hex, when: Steer },
    Remove { message_id: MessageId, revision: u32 },
    Move { message_id: MessageId, revision: u32, position: usize },
    /// To the front, and the running turn is stopped for it.
    Now { message_id: MessageId, revision: u32 },
}

impl SendAct {
    /// The waiting message it is about, and as which revision it was seen.
    pub fn about(&self) -> Option<(MessageId, u32)> {
        match self {
            Self::New { .. } => None,
            Self::Edit { message_id, revision, .. } | Self::Remove { message_id, revision } | Self::Move { message_id, revision, .. } | Self::Now { message_id, revision } => {
                Some((*message_id, *revision))
            }
        }
    }
}

impl PlanBody for SendPlan {
    fn preview(&self) -> Preview {
        let name = self.session_id.short();
        let text = |text: &String| vec![PreviewItem::Text { label: "message".into(), text: text.clone() }];
        let one = |id: &MessageId| vec![PreviewItem::Fact { label: "message".into(), value: id.to_string() }];
        let (title, exactly) = match &self.act {
            SendAct::New { text: t, .. } => (format!("Send a message to session {name}"), text(t)),
            SendAct::Edit { text: t, .. } => (format!("Change a waiting message of session {name}"), text(t)),
            SendAct::Remove { message_id, .. } => (format!("Remove a waiting message of session {name}"), one(message_id)),
            SendAct::Move { message_id, position, .. } => (format!("Move a waiting message of session {name} to place {}", position + 1), one(message_id)),
            SendAct::Now { message_id, .. } => (format!("Stop session {name} and send this message now"), one(message_id)),
        };
        Preview {
            title,
            exactly,
            place: vec![PreviewFact::new("delivery", &self.delivery)],
            risk: "the agent works on it in its sandbox".into(),
            undo: "while it waits it can be changed or removed; a turn can be cancelled".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        needs(Axis::SessionSend, IntentClass::SessionControl)
    }
    fn preconditions(&self) -> Vec<Precondition> {
        Vec::new()
    }
}

/// session.pause.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PausePlan {
    pub session_id: SessionId,
    pub reason: Option<String>,
    /// How long the turn's next boundary is waited for.
    pub bound_ms: u64,
    /// How long the processes may stand still after that, before the turn is cancelled.
    pub freeze_ms: u64,
}

impl PlanBody for PausePlan {
    fn preview(&self) -> Preview {
        Preview {
            title: format!("Pause session {}", self.session_id.short()),
            exactly: vec![PreviewItem::Fact {
                label: "how".into(),
                value: format!(
                    "at its next request, at the end of its turn, or, when neither comes within {} s, by stopping its processes for at most {} s and then cancelling the turn",
                    self.bound_ms / 1000,
                    self.freeze_ms / 1000
                ),
            }],
            place: Vec::new(),
            risk: "none: nothing is dispatched until it is resumed".into(),
            undo: "dcc session resume".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        needs(Axis::SessionControl, IntentClass::SessionControl)
    }
    fn preconditions(&self) -> Vec<Precondition> {
        Vec::new()
    }
}

/// A session that ends together with the one that is cancelled.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Descendant {
    pub session_id: SessionId,
    pub agent: String,
    pub state: String,
}

/// What stays in a worktree, uncommitted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Uncommitted {
    pub workspace_id: WorkspaceId,
    pub worktree: String,
    pub count: usize,
    /// The first of them, for showing.
    pub paths: Vec<String>,
}

/// session.cancel, with all that descends from the session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CancelPlan {
    pub session_id: SessionId,
    pub reason: Option<String>,
    /// Nearest first.
    pub descendants: Vec<Descendant>,
    pub uncommitted: Vec<Uncommitted>,
}

impl PlanBody for CancelPlan {
    fn preview(&self) -> Preview {
        let mut exactly: Vec<PreviewItem> = self
            .descendants
            .iter()
            .map(|d| PreviewItem::Fact { label: "ends with it".into(), value: format!("session {} ({}, {})", d.session_id.short(), d.agent, d.state) })
            .collect();
        for left in &self.uncommitted {
            let more = if left.count > left.paths.len() { ", ..." } else { "" };
            exactly.push(PreviewItem::Fact { label: format!("stays uncommitted in {}", left.worktree), value: format!("{} paths: {}{more}", left.count, left.paths.join(", ")) });
        }
        if exactly.is_empty() {
            exactly.push(PreviewItem::Fact { label: "ends with it".into(), value: "no other session; nothing uncommitted".into() });
        }
        Preview {
            title: match self.descendants.len() {
                0 => format!("Cancel session {}", self.session_id.short()),
                n => format!("Cancel session {} and {n} spawned from it", self.session_id.short()),
            },
            exactly,
            place: Vec::new(),
            risk: "ends the processes; no file is removed".into(),
            undo: "dcc session retry starts a successor; its files stay for review".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        needs(Axis::SessionControl, IntentClass::SessionControl)
    }
    fn preconditions(&self) -> Vec<Precondition> {
        Vec::new()
    }
}

/// session.close: with a handoff, or a reason why there is none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClosePlan {
    pub session_id: SessionId,
    pub ending: Ending,
    /// A running turn is cancelled first.
    pub stop: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "ending", rename_all = "snake_case")]
pub enum Ending {
    Handoff { handoff: HandoffText },
    Waived { reason: String },
    /// The last handoff that was written for it stands.
    Written { handoff_id: crate::ids::HandoffId },
}

/// A handoff as text for a preview.
fn in_words(handoff: &HandoffText) -> String {
    let lists = [
        ("done", &handoff.done),
        ("remaining", &handoff.remaining),
        ("decisions", &handoff.decisions),
        ("uncertainties", &handoff.uncertainties),
        ("blockers", &handoff.blockers),
    ];
    let mut lines: Vec<String> = lists.iter().flat_map(|(name, points)| points.iter().map(move |p| format!("{name}: {p}"))).collect();
    lines.extend(handoff.evidence.iter().map(|e| format!("evidence: {}", e.reference)));
    lines.join("\n")
}

impl PlanBody for ClosePlan {
    fn preview(&self) -> Preview {
        let exactly = match &self.ending {
            Ending::Handoff { handoff } => PreviewItem::Text { label: "handoff".into(), text: in_words(handoff) },
            Ending::Waived { reason } => PreviewItem::Text { label: "handoff waived".into(), text: reason.clone() },
            Ending::Written { handoff_id } => PreviewItem::Fact { label: "handoff".into(), value: handoff_id.to_string() },
        };
        Preview {
            title: format!("Close session {}", self.session_id.short()),
            exactly: vec![exactly],
            place: vec![PreviewFact::new("running turn", if self.stop { "is cancelled first" } else { "there must be none" })],
            risk: "ends the agent; no file is removed".into(),
            undo: "a new session can be started in the same worktree".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        needs(Axis::SessionControl, IntentClass::SessionControl)
    }
    fn preconditions(&self) -> Vec<Precondition> {
        Vec::new()
    }
}

/// session.route: a packet or micro-task becomes the session's, and a message says so to the agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RoutePlan {
    pub session_id: SessionId,
    pub wp_id: WpId,
    pub mt_id: Option<MtId>,
    /// Made from the records.
    pub text: String,
    pub text_sha256: Sha256Hex,
    pub when: Steer,
    pub delivery: String,
}

impl PlanBody for RoutePlan {
    fn preview(&self) -> Preview {
        let what = self.mt_id.as_ref().map_or_else(|| self.wp_id.to_string(), |mt| format!("{}/{mt}", self.wp_id));
        Preview {
            title: format!("Route {what} to session {}", self.session_id.short()),
            exactly: vec![PreviewItem::Text { label: "message".into(), text: self.text.clone() }],
            place: vec![PreviewFact::new("delivery", &self.delivery)],
            risk: "the agent works on it in its sandbox".into(),
            undo: "route something else; remove the message while it waits".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        needs(Axis::SessionSend, IntentClass::SessionControl)
    }
    fn preconditions(&self) -> Vec<Precondition> {
        Vec::new()
    }
}

/// handoff.write: for a session that goes on, or for a packet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HandoffPlan {
    pub session_id: Option<SessionId>,
    pub wp_id: Option<WpId>,
    pub handoff: HandoffText,
}

impl PlanBody for HandoffPlan {
    fn preview(&self) -> Preview {
        let of = match (self.session_id, &self.wp_id) {
            (Some(session), _) => format!("session {}", session.short()),
            (None, Some(wp)) => wp.to_string(),
            (None, None) => "the project".to_owned(),
        };
        Preview {
            title: format!("Write a handoff of {of}"),
            exactly: vec![PreviewItem::Text { label: "handoff".into(), text: in_words(&self.handoff) }],
            place: Vec::new(),
            risk: "none: it is advisory and changes no status".into(),
            undo: "write another; the earlier one stays in the recorder".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        needs(Axis::LocusReport, IntentClass::LocusWrite)
    }
    fn preconditions(&self) -> Vec<Precondition> {
        Vec::new()
    }
}
