//! session.attach: a person at a session's terminal.

use serde::{Deserialize, Serialize};

use crate::capability::{Axis, Capability, Tier};
use crate::ids::SessionId;
use crate::plan::{IntentClass, PlanBody, Precondition, Preview, PreviewFact, PreviewItem, Requirement};
use crate::ports::terminal::TerminalSize;
use crate::session::SessionState;

/// From the first key to the last: one job, whatever is typed in between.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttachPlan {
    pub session_id: SessionId,
    /// The command that reads what is typed.
    pub command: String,
    /// Of the terminal that the person sits at; none for a page, which takes the size as it is.
    pub size: Option<TerminalSize>,
}

impl PlanBody for AttachPlan {
    fn preview(&self) -> Preview {
        Preview {
            title: format!("Type into the terminal of session {}", self.session_id.short()),
            exactly: vec![PreviewItem::Fact { label: "read by".into(), value: self.command.clone() }],
            place: vec![PreviewFact::new("recorded", "how much was typed, and what the terminal showed meanwhile; never the keys")],
            risk: "whatever the command does with what is typed, in its sandbox".into(),
            undo: "its file changes stay for review".into(),
        }
    }
    fn requirement(&self) -> Requirement {
        Requirement::of(Capability::plain(Axis::SessionSend), Tier::R1, IntentClass::SessionControl)
    }
    fn preconditions(&self) -> Vec<Precondition> {
        vec![Precondition::SessionIn { session_id: self.session_id, states: vec![SessionState::Created, SessionState::Active, SessionState::Blocked] }]
    }
}
